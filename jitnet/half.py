"""Arithmetic of float16 and bfloat16: the op in float32 on the converted operands, its result rounded once.

That is what NumPy does for float16, and it makes an op of halves a few ops of float32 with casts around them, which is how
`passes/widen.py` writes it into graphs: a value has the same bits in whichever kernel it is computed. Sums and products of
matrices accumulate in float32, and are rounded at the end alone. Ops that only move or choose elements take halves as they are.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np

from .types import F32, HALVES, is_float, promote


def in_float32(function: Callable, *, picks: bool = False) -> Callable:
    """The function of arrays, traced or not, which computes with halves in float32 and rounds its floats to their dtype.

    picks: integers among the arrays are indices, and have no part in that dtype.
    """
    @wraps(function)
    def run(*arrays, **params):
        dtypes = [getattr(a, "dtype", None) for a in arrays]
        if HALVES.isdisjoint(dtypes):
            return function(*arrays, **params)
        wide = [a.astype(F32) if d in HALVES else a for a, d in zip(arrays, dtypes)]
        dtype = promote(*[d for d in dtypes if isinstance(d, np.dtype) and (is_float(d) or not picks)])
        with np.errstate(over="ignore"):  # to infinity, as the kernels do
            out = function(*wide, **params)
            return tuple([_rounded(o, dtype) for o in out]) if isinstance(out, (tuple, list)) else _rounded(out, dtype)
    return run


def _rounded(out, dtype: np.dtype):
    return out.astype(dtype) if is_float(out.dtype) and out.dtype != dtype else out
