"""Constants of a trace: numbers and arrays of the user's as Consts, one for each however often it is used."""
from __future__ import annotations

import numpy as np

from .errors import TraceOverflowError
from .ir import Const
from .sizes import constant
from .symbols import SYMBOLS, SymScalar
from .types import known_dtype, promote


class Constants:
    """What a trace has made Consts of."""

    __slots__ = ("_arrays", "_numbers")

    def __init__(self):
        self._arrays: dict[tuple, tuple] = {}  # id of the user's object, dtype -> (the object, kept alive; its Const)
        self._numbers: dict[tuple, Const] = {}

    def atom(self, value, dtype: np.dtype | None, name: str) -> Const:
        """The Const of an array-like value in a dtype, by default its own. name: what errors call it."""
        if type(value) in SYMBOLS:
            return self._formula(value, dtype)
        if isinstance(value, (bool, int, float)):
            return self._number(value, dtype, name)
        array = np.asarray(value) if not hasattr(value, "__jitnet_numpy__") else value.__jitnet_numpy__()
        target = dtype if dtype is not None else known_dtype(array.dtype, name)
        known = self._arrays.get((id(value), target))
        if known is None or not _same_bits(array, known[1].value):  # the user may write into an array between two uses
            known = value, Const(np.array(array, target))  # a copy: later writes of the user do not reach the graph
            self._arrays[id(value), target] = known
        return known[1]

    def _formula(self, value, dtype) -> Const:
        number = constant(value, dtype if dtype is not None or type(value) is SymScalar else promote(value.__class__))
        if type(value) is SymScalar and not value.is_float:   # one constant where numbers are one, in `_number`
            return self._arrays.setdefault((id(value), dtype), (value, Const(number)))[1]
        return self._numbers.setdefault(("formula", number.formula, dtype), Const(number))

    def _number(self, value, dtype, name: str) -> Const:
        key = (value, type(value), dtype) if value else None  # zeros have two signs, and 0 == False
        if key in self._numbers:
            return self._numbers[key]
        try:
            known = Const(np.asarray(value, dtype if dtype is not None else promote(type(value))))
        except OverflowError as error:
            raise TraceOverflowError(f"{name}: {error}", "use a wider dtype") from None
        return self._numbers.setdefault(key, known) if key else known


def _same_bits(array: np.ndarray, copied: np.ndarray) -> bool:
    """Whether an array still holds what was copied from it, to the sign of a zero."""
    if not array.flags.writeable:
        return True
    if array.shape != copied.shape:
        return False
    now = np.ascontiguousarray(array, copied.dtype)
    return bool((now.reshape(-1).view(np.uint8) == copied.reshape(-1).view(np.uint8)).all())
