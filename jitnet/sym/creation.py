"""Symbols that make arrays, and functions of `sym` that MXNet wrote in Python."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import OperatorError
from ..operators import find
from .make import function
from .symbol import Symbol

_ZEROS, _ONES, _FULL, _EYE, _ARANGE, _LINSPACE, _SPLIT = (
    function(find(name), name) for name in ("_zeros", "_ones", "_full", "_eye", "_arange", "_linspace", "_split_v2"))


def _name(dtype) -> str:
    return "float32" if dtype is None else np.dtype(dtype).name


def zeros(shape, dtype=None, **kwargs) -> Symbol:
    """Zeros, float32 unless a dtype is named. A size of 0 is inferred from what the symbol is used with.

    >>> import jitnet as mx
    >>> (mx.sym.zeros((0, 3)) + mx.sym.Variable("x")).infer_shape(x=(2, 3))[1]
    [(2, 3)]
    """
    return _ZEROS(shape=shape, dtype=_name(dtype), **kwargs)


def ones(shape, dtype=None, **kwargs) -> Symbol:
    """Ones, float32 unless a dtype is named. A size of 0 is inferred."""
    return _ONES(shape=shape, dtype=_name(dtype), **kwargs)


def full(shape, val, dtype=None, **kwargs) -> Symbol:
    """An array with `val` everywhere. A size of 0 is inferred."""
    return _FULL(shape=shape, dtype=_name(dtype), value=float(val), **kwargs)


def eye(N, M=0, k=0, dtype=None, **kwargs) -> Symbol:
    """Ones on the diagonal number k, zeros elsewhere; N rows and M columns (M = 0: N)."""
    return _EYE(N=N, M=M, k=k, dtype=_name(dtype), **kwargs)


def arange(start, stop=None, step=1.0, repeat: int = 1, infer_range: bool = False, name: str | None = None, dtype=None,
           **kwargs) -> Symbol:
    """Numbers from `start` up to `stop` (not included) in steps, each `repeat` times; without a stop from 0 up to `start`.

    infer_range: without a stop, `start` is the first number, and how many there are is inferred.
    """
    if step == 0:
        raise OperatorError("arange: step is 0", "pass a step that leads from start to stop")
    return _ARANGE(start=start, stop=stop, step=step, repeat=repeat, infer_range=infer_range, dtype=_name(dtype), name=name,
                   **kwargs)


def linspace(start, stop, num: int, endpoint: bool = True, name: str | None = None, dtype=None, **kwargs) -> Symbol:
    """`num` numbers at even distances from `start` to `stop`."""
    return _LINSPACE(start=start, stop=stop, num=num, endpoint=endpoint, dtype=_name(dtype), name=name, **kwargs)


def split_v2(ary: Symbol, indices_or_sections: int | Sequence[int], axis: int = 0, squeeze_axis: bool = False,
             **kwargs) -> Symbol:
    """Parts along an axis: so many equal ones, or cut at the indices of a tuple."""
    whole = isinstance(indices_or_sections, int)
    cuts = [] if whole else [0, *indices_or_sections]
    return _SPLIT(ary, indices=str(cuts), axis=axis, squeeze_axis=squeeze_axis,
                  sections=indices_or_sections if whole else 0, **kwargs)


Symbol.split_v2 = split_v2
