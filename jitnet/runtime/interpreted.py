"""Eager operations on bfloat16, for which NumPy has no rules: traced and interpreted, they mean what compiled code does."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import tree
from ..tracer import current_trace
from ..types import BF16
from .cuda.buffer import DeviceBuffer

# functions and methods that compute; those that only move elements, or say what an array is, are NumPy's
COMPUTING = {
    "average", "clip", "convolve", "corrcoef", "correlate", "cov", "cross", "cumprod", "cumsum", "cumulative_prod",
    "cumulative_sum", "diff", "dot", "einsum", "gradient", "inner", "interp", "isclose", "allclose", "kron",
    "matrix_power", "mean", "median", "multi_dot", "nan_to_num", "nancumprod",
    "nancumsum", "nanmean", "nanmedian", "nanpercentile", "nanprod",
    "nanquantile", "nanstd", "nansum", "nanvar", "norm", "outer", "percentile", "polyval", "prod", "ptp", "quantile", "round",
    "sinc", "std", "sum", "tensordot", "trace", "trapezoid", "var", "vdot", "vecdot", "where"}
METHOD_NAMES = ("clip", "cumprod", "cumsum", "dot", "mean", "prod", "round", "std", "sum", "trace", "var")


def apply(function: Callable, args: tuple, kwargs: dict):
    """function(*args, **kwargs) of NumPy arrays: as NumPy runs it, or interpreted where one of them is a bfloat16."""
    if not _is_ours(function, args, kwargs):
        return function(*args, **kwargs)
    from ..transforms.values import staged

    leaves, structure = tree.flatten((args, kwargs), ordered=True)
    places = [k for k, x in enumerate(leaves) if isinstance(x, (np.ndarray, np.generic))]

    def call(*arrays):
        values = list(leaves)
        for k, array in zip(places, arrays, strict=True):
            values[k] = array
        args, kwargs = tree.unflatten(structure, values)
        return function(*args, **kwargs)

    return staged(call, tuple([leaves[k] for k in places]), getattr(function, "__name__", "call"))


def _is_ours(function: Callable, args: tuple, kwargs: dict) -> bool:
    if kwargs.get("out") is not None or current_trace() is not None or not any(map(_is_bfloat16, args)):
        return False
    if any(type(x) is DeviceBuffer for x in args):   # on a GPU everything is compiled
        return False
    of_ufunc = isinstance(function, np.ufunc) or isinstance(getattr(function, "__self__", None), np.ufunc)
    return of_ufunc or getattr(function, "__name__", "") in COMPUTING


def _is_bfloat16(x) -> bool:
    if isinstance(x, (tuple, list)):
        return any(map(_is_bfloat16, x))
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype == BF16


class _Method:
    """The method of that name, as a function of the array first."""

    def __init__(self, name: str):
        self.__name__ = name

    def __call__(self, x, *args, **kwargs):
        return getattr(x, self.__name__)(*args, **kwargs)


METHODS = {name: _Method(name) for name in METHOD_NAMES}
