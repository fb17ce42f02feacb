"""What a trace with open sizes notes: how values were computed (atoms), what they decided (guards), what was read (pins).

The values are symbols; their classes are in symbols.py.
"""
from __future__ import annotations

import linecache
import os
import sys
from typing import Any, NamedTuple

import numpy as np

from .errors import Source

_PACKAGE = os.path.dirname(__file__) + os.sep
_TABLES = (*(os.path.join(_PACKAGE, name, "") for name in ("passes", "codegen", "transforms", "ops", "numpy")),
           *(os.path.join(_PACKAGE, name) for name in ("tracer.py", "ir.py", "op.py", "types.py")))
_WAYS_OUT = {"len(x)": "x.shape[0]", "math.sqrt(n)": "np.sqrt(n)", "np.zeros(n)": "jitnet.numpy.zeros(n)",
             "np.ones(n)": "jitnet.numpy.ones(n)", "np.arange(n)": "jitnet.numpy.arange(n)"}
Terms = dict[tuple[int, ...], int]   # product of atoms -> coefficient; () -> the constant


class Atom(NamedTuple):
    """A value that is no sum of products: how it is computed, and a lower bound where one is known."""

    op: str          # "size", "block", "arena", a binary operator, "min", "max", "call"
    args: tuple
    bound: int | None


class Guard(NamedTuple):
    """A comparison that came out so: left op right."""

    op: str
    left: Any
    right: Any
    outcome: bool


class Pin(NamedTuple):
    """A formula whose value was read, and the file and line that did."""

    value: Any
    where: str


class Scope:
    """The formulas and guards of one trace. Once closed, its symbols are plain numbers to whoever still holds one."""

    def __init__(self):
        self.atoms: list[Atom] = []
        self.known: dict[tuple, int] = {}
        self.guards: dict[tuple, Guard] = {}
        self.pins: list[Pin] = []
        self.open = True

    def atom(self, op: str, args: tuple, bound: int | None = None, key: tuple | None = None) -> int:
        """The number of an atom; the same for equal keys."""
        number = self.known.get(key) if key is not None else None
        if number is None:
            number = len(self.atoms)
            self.atoms.append(Atom(op, args, bound))
            if key is not None:
                self.known[key] = number
        return number

    def decide(self, op: str, left, right, outcome) -> bool:
        """The outcome of a comparison, as a guard."""
        outcome = bool(outcome)
        if self.open:
            self.guards.setdefault((op, key(left), key(right)), Guard(op, left, right, outcome))
        return outcome

    def pin(self, symbol) -> None:
        """Notes that a value was read: from here on the trace holds for this value alone."""
        if self.open:
            guard = ("==", key(symbol), key(symbol.value))
            if guard not in self.guards:
                self.guards[guard] = Guard("==", symbol, symbol.value, True)
                self.pins.append(Pin(symbol, _reader()))

    def low(self, terms: Terms) -> int | None:
        """A lower bound of a sum, None when none is known."""
        total = 0
        for product, k in terms.items():
            if k < 0 and product:
                return None
            for number in product:
                bound = self.atoms[number].bound
                if bound is None or bound < 0:
                    return None
                k *= bound
            total += k
        return total


def _reader() -> str:
    """File and line of the first frame outside of jitnet, and a way out where the line has one."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_PACKAGE, "<string>")):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    path, line = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(path, line)
    hint = next((f" (`{use}` in place of `{found}` does not)" for found, use in _WAYS_OUT.items()
                 if found.partition("(")[0] + "(" in text), "")
    return f"{Source(path, line).place}{hint}"


def key(value) -> tuple:
    """Equal for values with equal formulas."""
    return value.formula if isinstance(value, Symbol) else (type(value), repr(value))


class Symbol:
    """What is known as a formula: `value` is what it comes to at the sizes of the trace. Abstract."""

    __slots__ = ("scope", "value")
    __array_priority__ = 500

    @property
    def formula(self) -> tuple:
        """What is equal for equal formulas."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def __hash__(self):
        # Tables of the compiler find what is there already, no more; elsewhere a table may mean something: n in {1, 3}.
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_name == "__hash__":   # of a dataclass
            frame = frame.f_back
        if frame is None or not frame.f_code.co_filename.startswith(_TABLES):
            self.scope.pin(self)
        return hash(self.value)

    def read(self):
        """The value, which the trace now holds for alone."""
        self.scope.pin(self)
        return self.value

    def __getattr__(self, name: str):
        if name.startswith("__jitnet"):
            raise AttributeError(name)
        return getattr(self.read(), name)

    def __index__(self):
        return self.read().__index__()

    def __int__(self):
        return int(self.read())

    def __float__(self):
        return float(self.read())

    def __complex__(self):
        return complex(self.read())

    def __repr__(self):
        return repr(self.read())

    def __str__(self):
        return str(self.read())

    def __format__(self, spec):
        return format(self.read(), spec)

    def __reduce__(self):
        return type(self.value), (self.read(),)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.read(), dtype)
