"""Which dtypes an operation computes in: NumPy's own rules, asked of NumPy's ufuncs."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import TraceTypeError
from .types import BF16, F16, F32, F64, I8, I64, WEAK_SAMPLES, is_float, promote, short_dtype


def float_rule(dtype: np.dtype) -> np.dtype:
    """The float dtype that a function of floats has for operands of this dtype, as NumPy's ufuncs choose it."""
    if is_float(dtype):
        return dtype
    return F16 if dtype.itemsize == 1 else F32 if dtype.itemsize == 2 else F64


def ufunc_rule(name: str, ufunc: np.ufunc, dtypes: tuple) -> tuple[Sequence[np.dtype], np.dtype]:
    """(operand dtypes, output dtype) of the loop that NumPy itself would run."""
    if set(dtypes) == {int}:
        dtypes = (I64,) * len(dtypes)  # NumPy compares two Python ints as objects, of any size; here they have 64 bits
    back = {}
    asked = tuple(np.dtype(bool) if d is bool else d for d in dtypes)
    if BF16 in dtypes:  # NumPy knows nothing of it: float16 stands in, and the smallest integers, which do not widen that
        back = {F16: BF16} if promote(*dtypes) == BF16 else {}
        asked = tuple((F16 if back else F32) if d == BF16 else I8 if back and d not in WEAK_SAMPLES else d for d in asked)
    try:
        *operands, out = ufunc.resolve_dtypes((*asked, None))
    except TypeError:
        hint = _DTYPE_HINTS.get(name, "convert the array first: `x.astype(...)`")
        raise TraceTypeError(f"{name}: NumPy has no {name} of {' and '.join(map(_dtype_text, dtypes))}", hint) from None
    return [back.get(d, d) for d in operands], back.get(out, out)


def _dtype_text(dtype) -> str:
    return f"a Python {dtype.__name__}" if isinstance(dtype, type) else short_dtype(dtype)


_DTYPE_HINTS = {"subtract": "of bools, `x ^ y` is the difference", "negative": "of bools, `~x` is the negation"}
