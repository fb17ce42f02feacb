"""Sizes that remember how they were computed: one trace with them serves every size for which its decisions come out the same.

    SymInt     ::=  sum of (coefficient * product of atoms)     a size, or an integer computed from sizes
    SymFloat   ::=  atom                                        1 / n
    SymScalar  ::=  atom                                        a 0-d NumPy value: such a number as a constant of a graph
    atom       ::=  size of an argument  |  op(values)          a // b, min(a, b), a / b, where a buffer lies, f(values)

They are no subclasses of int and float, so nothing reads their value unseen: arithmetic keeps the formula, a comparison that
the formulas leave open becomes a *guard*, and whatever needs the number itself (range(n), a NumPy function, text, a hash)
*pins* the formula to its value, which is a guard too. `isinstance(n, int)` says True all the same.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .scope import Scope, Symbol, Terms, key

LEAST = 2   # sizes of 0 and 1 broadcast and vanish: they are never left open


def _compare(op: str):
    def method(self, other):
        other = int(other) if isinstance(other, np.integer) else _number(other)
        return NotImplemented if other is None else compare(op, self, other)
    return method


class SymInt(Symbol):
    """An integer with its formula: a sum of products of atoms."""

    __slots__ = ("terms",)
    __hash__ = Symbol.__hash__

    def __init__(self, scope: Scope, terms: Terms, value: int):
        self.scope, self.terms, self.value = scope, terms, value

    @property
    def formula(self) -> tuple:
        return "n", *sorted(self.terms.items())

    @property
    def __class__(self):
        return int

    __eq__, __ne__ = _compare("=="), _compare("!=")
    __lt__, __le__, __gt__, __ge__ = _compare("<"), _compare("<="), _compare(">"), _compare(">=")

    def __bool__(self):
        return not compare("==", self, 0)

    def __add__(self, other):
        if type(other) is SymInt and other.scope is self.scope:
            return _sum(self, other, 1)
        if type(other) is int:
            if not other:
                return self
            terms = dict(self.terms)
            terms[()] = terms.get((), 0) + other
            return _integer(self.scope, terms, self.value + other)
        return _arithmetic("+", self, other)

    def __radd__(self, other):
        return self + other if type(other) is int else _arithmetic("+", other, self)

    def __neg__(self):
        return _integer(self.scope, {m: -k for m, k in self.terms.items()}, -self.value)

    def __pos__(self):
        return self

    def __abs__(self):
        return self if self >= 0 else -self

    def __sub__(self, other):
        if type(other) is SymInt and other.scope is self.scope:
            return _sum(self, other, -1)
        return self + -other if type(other) is int else _arithmetic("-", self, other)

    def __rsub__(self, other):
        return -self + other if type(other) is int else _arithmetic("-", other, self)

    def __mul__(self, other):
        if type(other) is int:
            if other == 1:
                return self
            return _integer(self.scope, {m: k * other for m, k in self.terms.items()}, self.value * other)
        if type(other) is SymInt and other.scope is self.scope:
            terms: Terms = {}
            for m, k in self.terms.items():
                for n, j in other.terms.items():
                    product = tuple(sorted(m + n)) if m and n else m or n
                    terms[product] = terms.get(product, 0) + k * j
            return _integer(self.scope, terms, self.value * other.value)
        return _arithmetic("*", self, other)

    def __rmul__(self, other):
        return self * other if type(other) is int else _arithmetic("*", other, self)

    def __floordiv__(self, other):
        other = _number(other)
        if type(other) is int and other:
            if all(k % other == 0 for k in self.terms.values()):
                return _integer(self.scope, {m: k // other for m, k in self.terms.items()}, self.value // other)
        elif type(other) is SymInt and other.scope is self.scope:
            exact = _exact_quotient(self, other)
            if exact is not None:
                return exact
        return _quotient("//", self, other)

    def __rfloordiv__(self, other):
        return _quotient("//", _number(other), self)

    def __mod__(self, other):
        other = _number(other)
        if type(other) is int and other and all(k % other == 0 for k in self.terms.values()):
            return 0
        if type(other) is SymInt and other.scope is self.scope and _exact_quotient(self, other) is not None:
            return 0
        return _quotient("%", self, other)

    def __rmod__(self, other):
        return _quotient("%", _number(other), self)

    def __divmod__(self, other):
        return self // other, self % other

    def __rdivmod__(self, other):
        return other // self, other % self

    def __truediv__(self, other):
        return _arithmetic("/", self, other)

    def __rtruediv__(self, other):
        return _arithmetic("/", other, self)

    def __pow__(self, other, modulo=None):
        if modulo is None and type(other) is int and 0 <= other <= 4:
            out = 1
            for _ in range(other):
                out = self * out
            return out
        return pow(self.read(), other, modulo) if modulo is not None else _arithmetic("**", self, other)

    def __rpow__(self, other):
        return _arithmetic("**", other, self)

    def __round__(self, digits=None):
        return self if digits is None else round(self.read(), digits)

    def __trunc__(self):
        return self

    __floor__ = __ceil__ = __trunc__


def _bits(op: str):
    return lambda self, other: getattr(self.read(), op)(other.read() if isinstance(other, Symbol) else other)


def _read(name: str):
    return lambda self, *args: getattr(self.read(), name)(*args)


for _name in ("and", "or", "xor", "lshift", "rshift"):
    setattr(SymInt, f"__{_name}__", _bits(f"__{_name}__"))
    setattr(SymInt, f"__r{_name}__", _bits(f"__r{_name}__"))
SymInt.__invert__ = lambda self: -self - 1


class SymFloat(Symbol):
    """A Python float computed from sizes."""

    __slots__ = ("number",)
    __hash__ = Symbol.__hash__

    def __init__(self, scope: Scope, number: int, value: float):
        self.scope, self.number, self.value = scope, number, value

    @property
    def formula(self) -> tuple:
        return "a", self.number

    @property
    def __class__(self):
        return float

    __eq__, __ne__ = _compare("=="), _compare("!=")
    __lt__, __le__, __gt__, __ge__ = _compare("<"), _compare("<="), _compare(">"), _compare(">=")

    def __bool__(self):
        return not compare("==", self, 0)

    def __neg__(self):
        return _arithmetic("*", -1.0, self)

    def __pos__(self):
        return self


def _operator(op: str, swap: bool):
    return (lambda self, other: _arithmetic(op, other, self)) if swap else (lambda self, other: _arithmetic(op, self, other))


for _name, _op in (("add", "+"), ("sub", "-"), ("mul", "*"), ("truediv", "/"), ("pow", "**"), ("floordiv", "//"), ("mod", "%")):
    setattr(SymFloat, f"__{_name}__", _operator(_op, False))
    setattr(SymFloat, f"__r{_name}__", _operator(_op, True))


for _name in ("abs", "round", "floor", "ceil", "trunc", "divmod", "rdivmod"):
    setattr(SymFloat, f"__{_name}__", _read(f"__{_name}__"))


class SymScalar(np.lib.mixins.NDArrayOperatorsMixin, Symbol):
    """A NumPy scalar computed from sizes: what np.sqrt(n) gives, and what a constant of a graph holds."""

    __slots__ = ("number",)
    __hash__ = Symbol.__hash__
    shape, ndim, size = (), 0, 1

    def __init__(self, scope: Scope, function: Callable, args: tuple):
        self.scope = scope
        self.value = np.asarray(function(*map(plain, args)))
        self.number = scope.atom("call", (function, *args), None, ("call", function, *map(key, args)))

    @property
    def formula(self) -> tuple:
        return "a", self.number

    @property
    def dtype(self):
        return self.value.dtype

    @property
    def nbytes(self):
        return self.value.nbytes

    @property
    def itemsize(self):
        return self.value.itemsize

    @property
    def is_float(self) -> bool:
        """Whether it stands for a float: what NumPy's functions of numbers give, where that is a float64, is one."""
        return self.value.dtype == np.float64 and isinstance(self.scope.atoms[self.number].args[0], np.ufunc)

    def astype(self, dtype) -> SymScalar:
        return SymScalar(self.scope, astype, (self, dtype))

    def __getitem__(self, key):
        return self if key == () else self.read()[key]

    def __bool__(self):
        return self.scope.decide("!=", self, 0, self.value != 0)

    def __round__(self, digits=0):
        return np.round(self.read(), digits)


def open_size(scope: Scope, value: int) -> SymInt:
    """A size of an argument, left open."""
    return SymInt(scope, {(scope.atom("size", (), LEAST),): 1}, value)


def integer_atom(scope: Scope, op: str, args: tuple, value: int, bound: int | None = None, key: tuple | None = None) -> SymInt:
    """An integer that is an atom."""
    return SymInt(scope, {(scope.atom(op, args, bound, key),): 1}, value)


def _ufunc(self, ufunc, method, *inputs, **kwargs):
    """A NumPy function of numbers: a formula; of arrays, and whatever else there is, one of values."""
    if any(getattr(type(x), "__jitnet_priority__", 0) for x in inputs):
        return NotImplemented
    numbers = all(type(x) in SYMBOLS or isinstance(x, (bool, int, float, np.generic)) for x in inputs)
    if method == "__call__" and numbers and not kwargs and ufunc.nout == 1 and self.scope.open:
        return SymScalar(self.scope, ufunc, inputs)
    return getattr(ufunc, method)(*[x.read() if isinstance(x, Symbol) else x for x in inputs], **kwargs)


SymInt.__array_ufunc__ = SymFloat.__array_ufunc__ = SymScalar.__array_ufunc__ = _ufunc
SYMBOLS = frozenset((SymInt, SymFloat, SymScalar))


def plain(value):
    """The number that a symbol comes to at the sizes of its trace; other values as they are. For formulas alone."""
    return value.value if type(value) in SYMBOLS else value


def astype(x, dtype):
    """x in another dtype."""
    return np.asarray(x).astype(dtype)


def _number(value):
    """A symbol, int or float as it is; None for what is no Python number, such as NumPy's, with whom NumPy computes."""
    kind = type(value)
    if kind is int or kind is float:
        return value
    if kind is SymInt or kind is SymFloat:
        return value if value.scope.open else value.value   # of a trace that is over: somebody kept it
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):   # subclasses, such as an IntEnum
        return int(value) if isinstance(value, int) else float(value)
    return None


def _operands(a, b) -> tuple:
    """Two Python numbers, the symbols among them of one trace; (None, None) when one is no number."""
    a, b = _number(a), _number(b)
    if a is None or b is None:
        return None, None
    if isinstance(a, Symbol) and isinstance(b, Symbol) and a.scope is not b.scope:
        b = b.read()
    return a, b


def _integer(scope: Scope, terms: Terms, value: int) -> SymInt | int:
    """A sum as a SymInt, or as an int when it is constant."""
    if not scope.open:
        return value
    if 0 in terms.values():
        terms = {m: k for m, k in terms.items() if k}
    if not terms or (len(terms) == 1 and () in terms):
        return value
    return SymInt(scope, terms, value)


def _sum(a: SymInt, b: SymInt, sign: int) -> SymInt | int:
    terms = dict(a.terms)
    for m, k in b.terms.items():
        terms[m] = terms.get(m, 0) + sign * k
    return _integer(a.scope, terms, a.value + sign * b.value)


def _exact_quotient(a: SymInt, b: SymInt) -> SymInt | int | None:
    """a / b where b is a single product that divides every term of a, and is not zero; None elsewhere."""
    if len(b.terms) != 1 or b == 0:
        return None
    ((product, factor),) = b.terms.items()
    terms: Terms = {}
    for m, k in a.terms.items():
        rest = list(m)
        for number in product:
            if number not in rest:
                return None
            rest.remove(number)
        if k % factor:
            return None
        terms[tuple(rest)] = k // factor
    return _integer(a.scope, terms, a.value // b.value)


_PYTHON = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
           "**": lambda a, b: a ** b, "//": lambda a, b: a // b, "%": lambda a, b: a % b, "==": lambda a, b: a == b,
           "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b,
           ">=": lambda a, b: a >= b}
_OPPOSITE = {"!=": "==", ">=": "<", ">": "<="}


def _quotient(op: str, a, b):
    """a // b or a % b."""
    a, b = _operands(a, b)
    if a is None:
        return NotImplemented
    if not {type(a), type(b)} <= {int, SymInt} or SymInt not in (type(a), type(b)):
        return _arithmetic(op, a, b)
    scope = a.scope if type(a) is SymInt else b.scope
    value = _PYTHON[op](plain(a), plain(b))
    if not scope.open:
        return value
    positive = all(known(scope, "<", x) is False for x in ((a, b) if op == "//" else (b,)))
    return integer_atom(scope, op, (a, b), value, 0 if positive else None, (op, key(a), key(b)))


def _arithmetic(op: str, a, b):
    """a op b of ints and floats; a SymFloat unless Python gives an int."""
    a, b = _operands(a, b)
    if a is None:
        return NotImplemented
    if not isinstance(a, Symbol) and not isinstance(b, Symbol):
        return _PYTHON[op](a, b)
    scope = a.scope if isinstance(a, Symbol) else b.scope
    if op == "**" and _is_power_pinned(a, b):
        return _PYTHON[op](*(x.read() if isinstance(x, Symbol) else x for x in (a, b)))
    value = _PYTHON[op](plain(a), plain(b))
    if type(value) is int:
        if op in ("+", "-", "*"):   # of a bool or a subclass of int, which _number made an int
            return _PYTHON[op](a, b)
        return integer_atom(scope, op, (a, b), value, None, (op, key(a), key(b)))
    if type(value) is not float:
        return _PYTHON[op](*(x.read() if isinstance(x, Symbol) else x for x in (a, b)))
    return SymFloat(scope, scope.atom(op, (a, b), None, (op, key(a), key(b))), value)


def _is_power_pinned(a, b) -> bool:
    """Whether a ** b may be a float at some sizes and complex at others. Whether it is an int becomes a guard."""
    if type(b) in (float, SymFloat):
        return compare("<", a, 0)   # (-2) ** 2.0 is a float, (-2) ** 2.5 is complex
    compare("<", b, 0)              # 2 ** 1 is an int, 2 ** -1 a float
    return False


def compare(op: str, a, b) -> bool:
    """The outcome of a comparison: from the formulas where these decide it, else a guard."""
    a, b = _operands(a, b)
    if not isinstance(a, Symbol) and not isinstance(b, Symbol):
        return _PYTHON[op](a, b)
    scope = a.scope if isinstance(a, Symbol) else b.scope
    if op in _OPPOSITE and not (type(a) is SymFloat or type(b) in (float, SymFloat)):
        return not compare(_OPPOSITE[op], a, b)
    if {type(a), type(b)} <= {int, SymInt}:
        outcome = known(scope, op, a - b)
        if outcome is not None:
            return outcome
    elif key(a) == key(b) and a.value == a.value:
        return op in ("==", "<=", ">=")
    return scope.decide(op, a, b, _PYTHON[op](plain(a), plain(b)))


def known(scope: Scope, op: str, difference) -> bool | None:
    """Whether difference op 0, for ==, < and <=; None when it depends on the sizes."""
    if type(difference) is int:
        return _PYTHON[op](difference, 0)
    low = scope.low(difference.terms)
    if low is not None and (low > 0 or (op == "<" and low == 0)):
        return False
    high = scope.low({m: -k for m, k in difference.terms.items()})   # of its negative
    if high is not None and (high > 0 or (op == "<=" and high == 0)):
        return op != "=="
    return None
