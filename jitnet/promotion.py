"""Which dtypes an operation computes in: NumPy's own rules, asked of NumPy's ufuncs."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import TraceTypeError
from .types import F64, I64, short_dtype


def float_rule(name: str, dtype: np.dtype) -> np.dtype:
    """The float dtype that a function of floats computes in, as NumPy's ufuncs choose it."""
    if dtype.kind == "f":
        return dtype
    if dtype.itemsize == 1:
        raise _half(name, [dtype])
    return np.dtype(np.float32) if dtype.itemsize == 2 else F64


def _half(name: str, dtypes) -> TraceTypeError:
    kinds = " and ".join(map(_dtype_text, dtypes))
    return TraceTypeError(f"{name}: of {kinds} is a float16 in NumPy, which jitnet does not compile",
                          "convert the array first: `x.astype(np.float32)`")


def ufunc_rule(name: str, ufunc: np.ufunc, dtypes: tuple) -> tuple[Sequence[np.dtype], np.dtype]:
    """(operand dtypes, output dtype) of the loop that NumPy itself would run."""
    if set(dtypes) == {int}:
        dtypes = (I64,) * len(dtypes)  # NumPy compares two Python ints as objects, of any size; here they have 64 bits
    try:
        *operands, out = ufunc.resolve_dtypes((*(np.dtype(bool) if d is bool else d for d in dtypes), None))
    except TypeError:
        hint = _DTYPE_HINTS.get(name, "convert the array first: `x.astype(...)`")
        raise TraceTypeError(f"{name}: NumPy has no {name} of {' and '.join(map(_dtype_text, dtypes))}", hint) from None
    if out.char == "e":
        raise _half(name, dtypes)
    return operands, out


def _dtype_text(dtype) -> str:
    return f"a Python {dtype.__name__}" if isinstance(dtype, type) else short_dtype(dtype)


_DTYPE_HINTS = {"subtract": "of bools, `x ^ y` is the difference", "negative": "of bools, `~x` is the negation"}
