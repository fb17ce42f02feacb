"""Python's operators and conversions on traced values: an operator does what the NumPy ufunc of that meaning does, and what
would need the value says so."""
from __future__ import annotations

import dis
import sys
from collections.abc import Callable

import numpy as np

from .errors import TraceBranchError, TraceTypeError
from .op import NUMPY_FUNCTIONS
from .op_kinds import Elementwise
from .symbols import SymFloat, SymInt, SymScalar
from .tracebacks import cutting
from .types import broadcast_shapes, known_dtype, same_kind, short_dtype

NUMBERS = {int: int, float: float, bool: bool, SymInt: int, SymFloat: float}
_OPERANDS = (np.ndarray, np.generic, SymScalar, int, float, list, tuple)
_NEVER = (complex, str, bytes, type(None), dict, set)  # an error with the user's line, not Python's


def operand_dtype(value, name: str):
    """The dtype of an operand that is no tracer, or its class when it is a weak Python scalar."""
    kind = type(value)
    if kind in NUMBERS:
        return NUMBERS[kind]
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return known_dtype(dtype, name)
    if isinstance(value, (list, tuple)):
        return known_dtype(np.asarray(value).dtype, name)
    if isinstance(value, (int, float)):  # subclasses, such as IntEnum
        return int if isinstance(value, int) else float
    if isinstance(value, complex):
        raise TraceTypeError(f"{name}: an operand is a complex number, which jitnet does not compile",
                             "compute with real and imaginary parts apart")
    raise TraceTypeError(f"{name}: an operand is a {kind.__name__}, not an array or a number",
                         "pass NumPy arrays, jitnet arrays or Python numbers")


def _weak_class(value) -> type | None:
    """bool, int or float for a Python number, or a traced one; None for arrays."""
    return NUMBERS.get(type(value)) or getattr(value, "weak", None)


def _weak_result(operands, out) -> type | None:
    """The class of a result of Python scalars alone (weak), None as soon as an array takes part."""
    for o in operands:
        if _weak_class(o) is None:
            return None
    return {"b": bool, "i": int, "f": float}.get(out.dtype.kind)


def operator(ufunc: np.ufunc, reflected: bool = False) -> Callable:
    """A Python operator of Tracer: what the ufunc does with traced values."""
    handler = bind = None

    @cutting
    def method(self, *others):
        nonlocal handler, bind
        if handler is None:
            from . import numpy  # noqa: F401  fills the table
            from .tracer import bind

            handler = NUMPY_FUNCTIONS[ufunc]
        for other in others:
            kind = type(other)
            if kind not in NUMBERS and not hasattr(kind, "__jitnet_bind__") and not isinstance(other, _OPERANDS):
                if isinstance(other, _NEVER) and ufunc not in (np.equal, np.not_equal):
                    operand_dtype(other, ufunc.__name__)
                return NotImplemented
        operands = (*others, self) if reflected else (self, *others)
        out = bind(handler, operands, handler.statics) if isinstance(handler, Elementwise) else handler(*operands)
        if self.weak is not None:
            for part in out if isinstance(out, tuple) else (out,):
                part.weak = _weak_result(operands, part)
        return out
    return method


def in_place(ufunc: np.ufunc) -> Callable:
    """An augmented assignment of Tracer: writes into the array itself, as NumPy does."""
    plain = operator(ufunc)

    @cutting
    def method(self, other):
        out = plain(self, other)
        if out is NotImplemented or not self.mutable:
            return out
        return write_into(self, out, ufunc.__name__)
    return method


def write_into(target, value, name: str):
    """`target` after `value` was written into it: cast with NumPy's "same_kind" rule, broadcast to its shape."""
    from .ops import broadcast_to
    from .tracer import Tracer, current_trace

    if not same_kind(value.dtype, target.dtype):
        raise TraceTypeError(f"{name}: a {short_dtype(value.dtype)} result cannot be written into a "
                             f"{short_dtype(target.dtype)} array",
                             "convert the array first: `x = x.astype(...)`")
    if value.shape != target.shape:
        if broadcast_shapes(value.shape, target.shape) != target.shape:
            raise TraceTypeError(f"{name}: a result of type {value.type} does not fit into {target.type}",
                                 "assign it to a new name instead")
        value = broadcast_to(value, shape=target.shape)
    trace = current_trace() or target.owner
    target.assign(Tracer(trace, trace.atom(value, target.dtype)))
    return target


_square, _power = operator(np.square), operator(np.power)


def _raised(self, exponent):
    """x ** y: the square of bools is int8, as NumPy's operator computes it; `np.power` makes int64 of them."""
    return _square(self) if self.dtype.kind == "b" and self.ndim and type(exponent) is int and exponent == 2 else \
        _power(self, exponent)


def _rounded(self, ndigits: int | None = None):
    """round(x) of one number: a Python integer, or with ndigits a number of the dtype of x."""
    if self.shape:
        raise TraceTypeError(f"round() of a traced {self.type}", "use `np.round`")
    out = np.round(self, ndigits or 0)
    if ndigits is None:
        out = out.astype(np.int64)
    out.weak = int if ndigits is None else self.weak
    return out


_BRANCH = "use `jitnet.where`, `jitnet.cond` or `jitnet.while_loop`"
_LOOP = "use `jitnet.fori_loop` for a loop, `jitnet.numpy.take` to pick from a list"
_KEEP = "keep the array: `astype`, functions of NumPy in place of `math`, `jitnet.numpy.zeros` for an array that is written to"
_LIKEWISE = ("use the function of `jitnet.numpy` of that name (`stack` for `np.array([...])`, `zeros` for an array that is "
             "written to)")


def _no_value(what: str, instead: str) -> Callable:
    """A method that would need the value of a traced array: it raises TraceBranchError."""
    @cutting
    def method(self, *_, **__):
        _refuse_to_be_stored(self)
        raise TraceBranchError(f"{what} needs the value of a traced {self.type}, which is known only when the compiled "
                               f"function runs", f"{instead}, or mark the argument static with `static_argnames`")
    return method


@cutting
def _no_array(self, *_, **__):
    """The method `__array__`, by which NumPy asks for the values."""
    _refuse_to_be_stored(self)
    raise TraceBranchError(f"a NumPy function needs the values of a traced {self.type}, which are known only when the "
                           f"compiled function runs", _LIKEWISE)


def _refuse_to_be_stored(value) -> None:
    """TraceBranchError in the words of `array[key] = value`, when that is what the line does that asks for the value."""
    frame = sys._getframe(3)  # this function, the method and `cutting` are between
    if dis.opname[frame.f_code.co_code[frame.f_lasti]] in ("STORE_SUBSCR", "STORE_SLICE"):
        raise TraceBranchError(f"an array that is written to is not traced, and cannot hold a traced {value.type}",
                               "make it inside the function with `jitnet.numpy.zeros` or `jitnet.numpy.array`, or pass it "
                               "as an argument")


class Operators:
    """Python's operators and conversions, as methods: the base of Tracer."""

    __slots__ = ()
    __array__ = _no_array
    __bool__ = _no_value("`if`, `while`, `and`, `or`, `not` or bool()", _BRANCH)
    __int__ = _no_value("int()", _KEEP)
    __float__ = _no_value("float()", _KEEP)
    __complex__ = _no_value("complex()", _KEEP)
    __index__ = _no_value("an index, a size or range()", _LOOP)
    item = _no_value("item()", _KEEP)
    tolist = _no_value("tolist()", _KEEP)


BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
          "mod": np.remainder,
          "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "lshift": np.left_shift,
          "rshift": np.right_shift, "matmul": np.matmul}
COMPARE = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal}
UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.abs, "invert": np.invert}
for _name, _ufunc in BINARY.items():
    setattr(Operators, f"__{_name}__", operator(_ufunc))
    setattr(Operators, f"__r{_name}__", operator(_ufunc, reflected=True))
    setattr(Operators, f"__i{_name}__", in_place(_ufunc))
for _name, _ufunc in (COMPARE | UNARY).items():
    setattr(Operators, f"__{_name}__", operator(_ufunc))
Operators.__pow__, Operators.__round__ = _raised, _rounded
Operators.__divmod__, Operators.__rdivmod__ = operator(np.divmod), operator(np.divmod, reflected=True)
