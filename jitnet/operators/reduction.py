"""Reductions, with `axis`, `keepdims` and `exclude`. A reduction of everything has the shape (1,). The dtype stays."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..numpy.protocol import astype
from ..types import normalize_axes
from . import infer
from .params import Bool, DType, Int, Shape
from .registry import operator

REDUCED = {"axis": Shape(None, scalar=False), "keepdims": Bool(False), "exclude": Bool(False)}


def chosen_axes(data, axis, exclude: bool, name: str) -> tuple[int, ...]:
    """The axes to reduce: those named, or with `exclude` all others; () and None name all."""
    if not axis:
        return tuple(range(data.ndim))
    axes = normalize_axes(axis, data.ndim, name)
    return tuple(k for k in range(data.ndim) if k not in axes) if exclude else axes


def shaped(out, data, keepdims: bool):
    """The result of a reduction in MXNet's shape: (1,) in place of ()."""
    return out if out.ndim or not data.ndim else out.reshape((1,))


def reduction(name: str, function: Callable, doc: str, aliases: Sequence[str] = ()) -> None:
    """Registers a reduction function(data, axes, keepdims)."""
    def body(data, *, axis, keepdims, exclude):
        axes = chosen_axes(data, axis, exclude, name)
        out = function(data, axes, keepdims)
        if type(out) is not np.ndarray and type(data) is np.ndarray:
            out = np.asarray(out)
        out = shaped(out, data, keepdims)
        return out if out.dtype is data.dtype else astype(out, data.dtype)
    body.__doc__ = doc
    operator(name, params=REDUCED, aliases=aliases, method=True)(body)


def _extreme(function: Callable) -> Callable:
    """The extreme along axes, whose derivative is 1 at every element that equals it."""
    def reduce(x, axes, keepdims):
        if type(x) is np.ndarray:
            return function(x, axis=axes, keepdims=keepdims)
        return tied(function, x, axes, keepdims)
    return reduce


def tied(function: Callable, x, axes, keepdims: bool):
    """function(x) as a sum over the elements that are equal to it, so that each gets the whole derivative."""
    from ..transforms import custom_jvp

    @custom_jvp
    def extreme(x):
        return function(x, axis=axes, keepdims=keepdims)

    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        top = function(x, axis=axes, keepdims=True)
        return extreme(x), np.sum(np.where(x == top, t, np.zeros((), t.dtype)), axis=axes, keepdims=keepdims)
    extreme.defjvp(rule)
    return extreme(x)


def _nan_to(value: float) -> Callable:
    return lambda x: np.where(np.not_equal(x, x), x.dtype.type(value), x)


reduction("sum", lambda x, axes, keepdims: np.add.reduce(x, axis=axes, keepdims=keepdims), "Sum along axes.", ("sum_axis",))
reduction("mean", lambda x, axes, keepdims: np.mean(x, axis=axes, keepdims=keepdims), "Mean along axes.")
reduction("prod", lambda x, axes, keepdims: np.prod(x, axis=axes, keepdims=keepdims), "Product along axes.")
reduction("nansum", lambda x, axes, keepdims: np.sum(_nan_to(0)(x), axis=axes, keepdims=keepdims),
          "Sum along axes of what is not NaN.")
reduction("nanprod", lambda x, axes, keepdims: np.prod(_nan_to(1)(x), axis=axes, keepdims=keepdims),
          "Product along axes of what is not NaN.")
reduction("max", _extreme(np.max), "The largest element along axes; every tie gets the whole derivative.", ("max_axis",))
reduction("min", _extreme(np.min), "The smallest element along axes; every tie gets the whole derivative.", ("min_axis",))


@operator("cumsum", params={"axis": Int(None), "dtype": DType(None)}, aliases=("_np_cumsum",))
def cumsum(a, *, axis, dtype):
    """Running sums along an axis (None: of the flattened array)."""
    out_dtype = dtype or a.dtype
    return astype(np.cumsum(astype(a, out_dtype), axis=axis), out_dtype)


@operator("moments", params={"axes": Shape(None), "keepdims": Bool(False)}, output_count=2)
def moments(data, *, axes, keepdims):
    """Mean and variance along axes."""
    mean = np.mean(data, axis=axes, keepdims=True)
    square = data - mean
    variance = np.mean(square * square, axis=axes, keepdims=keepdims)
    return tuple([shaped(x if type(data) is not np.ndarray else np.asarray(x), data, keepdims)
                  for x in (mean if keepdims else np.mean(data, axis=axes), variance)])


def _one_number(op, ins, outs, params):
    return list(ins), [infer.merge(outs[0], (1,), "output")]


@operator("all_finite", params={"init_output": Bool(True)}, shape_rule=_one_number)
def all_finite(data, *, init_output):
    """1 when every element is finite, else 0, as an array of one."""
    return np.all(np.isfinite(data)).reshape((1,)).astype(np.float32)


@operator("multi_sum_sq", variadic="num_arrays",
          shape_rule=lambda op, ins, outs, p: (list(ins), [infer.merge(outs[0], (p["num_arrays"],), "output")]))
def multi_sum_sq(*data, num_arrays):
    """The sum of squares of each array, one number for each."""
    return np.stack([np.sum(x * x) for x in data])


@operator("norm", params={"ord": Int(2, low=1, high=2), "axis": Shape(None), "keepdims": Bool(False), "out_dtype": DType(None)},
          method=True)
def norm(data, *, ord, axis, keepdims, out_dtype):
    """The norm along axes: square root of the sum of squares (ord 2) or sum of absolute values (ord 1)."""
    axes = normalize_axes(axis if axis else None, data.ndim, "norm")
    out = np.sum(data * data if ord == 2 else np.absolute(data), axis=axes, keepdims=keepdims)
    out = shaped(np.sqrt(out) if ord == 2 else out, data, keepdims)
    return astype(out, data.dtype if out_dtype is None else out_dtype)
