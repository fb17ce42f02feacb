"""What jitnet's own code asks of sizes, so that they may be left open (symbols.py): no guard where a formula does.

Of plain numbers, every function here is what its first line says in Python.
"""
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .scope import key
from .symbols import SYMBOLS, SymInt, SymScalar, integer_atom, known, plain


def constant(value, dtype=None):
    """A number as a 0-d array of a dtype; of one that is computed from sizes, a SymScalar."""
    if type(value) is SymScalar:
        return value if dtype is None or value.dtype == dtype else value.astype(dtype)
    return SymScalar(value.scope, np.asarray, (value, dtype)) if type(value) in SYMBOLS else np.asarray(value, dtype)


def smallest(*values):
    """min(values); of sizes, a formula."""
    return _extreme("min", values)


def largest(*values):
    """max(values); of sizes, a formula."""
    return _extreme("max", values)


def _extreme(op: str, values):
    first, *rest = values
    for x in rest:
        first = _extreme_of_two(op, first, x)
    return first


def _extreme_of_two(op: str, a, b):
    if SymInt not in (type(a), type(b)):
        return min(a, b) if op == "min" else max(a, b)
    scope = a.scope if type(a) is SymInt else b.scope
    less = known(scope, "<=", a - b)
    if less is not None:
        return a if less == (op == "min") else b
    bounds = [scope.low(x.terms) if type(x) is SymInt else x for x in (a, b)]
    lows = [n for n in bounds if n is not None]
    bound = (min(lows) if len(lows) == 2 else None) if op == "min" else max(lows, default=None)
    value = min(a.value if type(a) is SymInt else a, plain(b)) if op == "min" else max(plain(a), plain(b))
    if not scope.open:
        return value
    return integer_atom(scope, op, (a, b), value, bound, (op, key(a), key(b)))


def computed(function: Callable, *args) -> int:
    """function(*args), an integer; of sizes, as a formula that calls the function again for others."""
    scope = next((a.scope for a in args if type(a) in SYMBOLS), None)
    value = function(*map(plain, args))
    return value if scope is None or not scope.open else integer_atom(scope, "call", (function, *args), value)


def integer(value) -> int:
    """int(value), which a size stays as it is."""
    return value if type(value) is SymInt else int(value)


def index(value) -> int:
    """operator.index(value), which a size stays as it is."""
    return value if type(value) is SymInt else operator.index(value)


def slice_range(part: slice, n: int) -> tuple[int, int, int, int]:
    """(start, stop, step, count) of the elements that a slice takes of n; TypeError where its parts are no integers."""
    if SymInt not in (type(n), type(part.start), type(part.stop)):
        start, stop, step = part.indices(n)
        return start, stop, step, len(range(start, stop, step))
    step = slice(None, None, part.step).indices(1)[2]
    ends = (0, n) if step > 0 else (n - 1, -1)
    start, stop = (end if at is None else _within(at, n, step) for at, end in zip((part.start, part.stop), ends))
    if (start >= stop) if step > 0 else (start <= stop):
        return start, stop, step, 0
    return start, stop, step, -((start - stop) // step)


def _within(at: int, n: int, step: int) -> int:
    """An end of a slice, counted from the front and moved into the range of n elements."""
    at = at if type(at) is SymInt else operator.index(at)
    low, high = (0, n) if step > 0 else (-1, n - 1)
    if at < 0:
        at = at + n
        return at if at >= low else low
    return at if at <= high else high


class Deferred(NamedTuple):
    """A call of jitnet's own with sizes among its arguments, made when these are known."""

    function: Callable
    args: tuple
    kwargs: dict


def deferred(function: Callable, *args, **kwargs):
    """function(*args, **kwargs), or where sizes that are open are among them, a Deferred."""
    return Deferred(function, args, kwargs) if is_open((args, kwargs)) else function(*args, **kwargs)


def is_open(value) -> bool:
    """Whether a value (or a part of a tuple, list, dict or dataclass) is known as a formula only."""
    kind = type(value)
    if kind in SYMBOLS:
        return True
    if kind in (int, str, float, bool, np.dtype, type(None)):
        return False
    if kind is dict:
        return any(is_open(v) for v in value.values())
    if kind is Deferred:
        return True
    if isinstance(value, (tuple, list)):
        return any(is_open(v) for v in value)
    names = getattr(kind, "__dataclass_fields__", ())
    return any(is_open(getattr(value, name)) for name in names)
