"""Order statistics, covariances, and reductions that pass over NaN."""
from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..errors import TraceIndexError, TraceValueError
from ..ops.indexing import take_along
from ..ops.movement import slice_axis
from ..sizes import computed, constant, largest
from ..types import I64, is_float, normalize_axes, promote
from .einsum import diagonal
from .elementwise import isnan
from .products import matmul
from .protocol import as_array, astype, implements, into
from .reductions import NO_VALUE, argmax, argmin, count_of, given, var
from .reductions import max as max_of
from .reductions import mean as mean_of
from .reductions import min as min_of
from .reductions import prod as prod_of
from .reductions import sum as sum_of
from .running import cumprod, cumsum

BETWEEN = ("linear", "midpoint")  # methods that return numbers between elements, so floats


def _float(x):
    x = as_array(x)
    return x if is_float(x.dtype) else astype(x, np.float64)


def _sorted_last(x, axis):
    """(x sorted with the reduced axes made one last axis, the shape with them kept as 1)."""
    axes = normalize_axes(axis, x.ndim, "quantile")
    kept = tuple(k for k in range(x.ndim) if k not in axes)
    rows = *(x.shape[k] for k in kept), math.prod(x.shape[k] for k in axes)
    flat = ops.reshape(ops.transpose(x, axes=kept + axes), shape=rows)
    return ops.sort(flat, axis=flat.ndim - 1), tuple(1 if k in axes else n for k, n in enumerate(x.shape))


def _place(position: float, method: str) -> int:
    """The element at or next to a position."""
    return int(np.floor(position) if method in ("linear", "lower", "midpoint") else
               np.ceil(position) if method == "higher" else np.round(position))


def _at(rows, position, method, dtype):
    """Elements of sorted rows at a position between 0 and n - 1, which need not be whole, in the dtype."""
    n = rows.shape[-1]
    low = computed(_place, position, method)
    take = lambda k: ops.reshape(slice_axis(rows, rows.ndim - 1, k, 1), shape=rows.shape[:-1])
    part = position - low
    if method not in BETWEEN or part == 0 or low + 1 >= n:
        return astype(take(low), dtype)
    return _between(take(low), take(low + 1), constant(0.5 if method == "midpoint" else part, dtype))


def _between(a, b, part):
    """The number between a and b, part of the way; part is neither 0 nor 1."""
    gap = b - a
    # an infinite end is the result, as is one between equal infinities, whose gap is NaN
    return ops.where(ops.isfinite(gap), a + gap * part, a * (1 - part) + b * part)


def _quantile_dtype(x, q):
    return x.dtype if type(q) in (int, float) else promote(x.dtype, np.asarray(q).dtype)


def _quantiles(a, q, axis, out, method, keepdims, name):
    x = _float(a) if method in BETWEEN else as_array(a)
    dtype = _quantile_dtype(x, q) if method in BETWEEN else x.dtype
    if method not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise TraceValueError(f"{name}: method {method!r} is not compiled", "use linear, lower, higher, nearest or midpoint")
    if any(not 0 <= fraction <= 1 for fraction in np.ravel(q)):
        raise TraceValueError(f"{name}: {q} is no fraction", "fractions go from 0 to 1, those of `percentile` to 100")
    rows, kept = _sorted_last(x, axis)
    n = rows.shape[-1]
    if n == 0:
        raise TraceIndexError(f"{name}: no elements along the axis: the shape is {x.shape}", "check the size before")
    last = ops.reshape(slice_axis(rows, rows.ndim - 1, n - 1, 1), shape=rows.shape[:-1])
    values = []
    for fraction in np.ravel(q):
        value = _at(rows, float(fraction) * (n - 1), method, dtype)
        if is_float(x.dtype):
            value = ops.where(ops.isnan(last), astype(last, dtype), value)  # a NaN sorts last, and makes the quantile NaN
        values.append(ops.reshape(value, shape=kept) if keepdims else value)
    return into(out, _stacked(values, q), name)


def _stacked(values, q):
    """The values, one per element of q, in the shape of q."""
    if np.ndim(q) == 0:
        return values[0]
    stacked = ops.concatenate(*(ops.reshape(v, shape=(1, *v.shape)) for v in values), axis=0)
    return ops.reshape(stacked, shape=(*np.shape(q), *values[0].shape))


@implements(np.quantile)
def quantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
    """The values below which given fractions of the elements lie; q is known when the function is traced."""
    if weights is not None:
        raise TraceValueError("quantile: weights= is not compiled", "repeat the elements")
    return _quantiles(a, q, axis, out, method, keepdims, "quantile")


@implements(np.percentile)
def percentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
    """`quantile` with q in percent."""
    return quantile(a, _fraction(q), axis, out, overwrite_input, method, keepdims, weights=weights)


def _fraction(percent):
    return percent / 100 if type(percent) in (int, float) else np.asarray(percent) / 100


@implements(np.median)
def median(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    """The middle of the sorted elements, the mean of the middle two of an even number."""
    x = _float(a)
    axes = normalize_axes(axis, x.ndim, "median")
    if any(x.shape[k] == 0 for k in axes):
        return into(out, mean_of(x, axes, keepdims=keepdims), "median")   # NaN, where there are places for it
    return _quantiles(x, 0.5, axes, out, "linear", keepdims, "median")


@implements(np.cov)
def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None):
    """Covariances of variables (rows, or columns for rowvar=False)."""
    if fweights is not None or aweights is not None:
        raise TraceValueError("cov: weights are not compiled", "weight the observations first")
    x = _rows(m, rowvar, dtype)
    if y is not None:
        x = ops.concatenate(x, _rows(y, rowvar, dtype), axis=0)
    n = x.shape[1]
    left = n - ((0 if bias else 1) if ddof is None else ddof)
    d = x - mean_of(x, axis=1, keepdims=True)
    value = matmul(d, ops.transpose(d, axes=(1, 0))) / constant(largest(left, 0), x.dtype)
    return ops.reshape(value, shape=()) if value.shape == (1, 1) else value


def _rows(m, rowvar, dtype):
    x = as_array(m)
    x = as_array(x, promote(x.dtype, np.dtype(np.float64)) if dtype is None else dtype)
    if x.ndim == 0 or x.ndim > 2:
        raise TraceValueError("cov: takes 1-d and 2-d arrays", "reshape to (variables, observations)")
    x = ops.reshape(x, shape=(1, -1)) if x.ndim == 1 else x
    return x if rowvar or x.shape[0] == 1 else ops.transpose(x, axes=(1, 0))


@implements(np.corrcoef)
def corrcoef(x, y=None, rowvar=True, *, dtype=None):
    """Correlation coefficients of variables."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    s = ops.sqrt(diagonal(c))
    return ops.maximum(ops.minimum(c / ops.reshape(s, shape=(-1, 1)) / ops.reshape(s, shape=(1, -1)), 1), -1)


# NaN left out

def _selected(a, where):
    """(the array, where its numbers are)."""
    x = as_array(a)
    numbers = ops.logical_not(isnan(x))
    return x, ops.logical_and(numbers, where) if given(where) and where is not True else numbers


@implements(np.nansum)
def nansum(a, axis=None, dtype=None, out=None, keepdims=NO_VALUE, initial=NO_VALUE, where=NO_VALUE):
    """Sum of the numbers, NaN left out."""
    x, numbers = _selected(a, where)
    return sum_of(x, axis, dtype, out, keepdims, initial, numbers)


@implements(np.nanprod)
def nanprod(a, axis=None, dtype=None, out=None, keepdims=NO_VALUE, initial=NO_VALUE, where=NO_VALUE):
    """Product of the numbers, NaN left out."""
    x, numbers = _selected(a, where)
    return prod_of(x, axis, dtype, out, keepdims, initial, numbers)


@implements(np.nanmean)
def nanmean(a, axis=None, dtype=None, out=None, keepdims=NO_VALUE, *, where=NO_VALUE):
    """Mean of the numbers, NaN left out."""
    x, numbers = _selected(a, where)
    return mean_of(x, axis, dtype, out, keepdims, where=numbers)


@implements(np.nanvar)
def nanvar(a, axis=None, dtype=None, out=None, ddof=0, keepdims=NO_VALUE, *, where=NO_VALUE, mean=NO_VALUE,
           correction=NO_VALUE):
    """Variance of the numbers, NaN left out; NaN where there are not more of them than ddof."""
    x, numbers = _selected(a, where)
    value = var(x, axis, dtype, None, ddof, True, where=numbers, mean=mean, correction=correction)
    axes = normalize_axes(axis, x.ndim, "nanvar")
    enough = ops.greater(count_of(x, axes, numbers, True), correction if given(correction) else ddof)
    value = ops.where(enough, value, np.asarray(np.nan, value.dtype))
    shape = value.shape if given(keepdims) and keepdims else tuple(n for k, n in enumerate(x.shape) if k not in axes)
    return into(out, ops.reshape(value, shape=shape), "nanvar")


@implements(np.nanstd)
def nanstd(a, axis=None, dtype=None, out=None, ddof=0, keepdims=NO_VALUE, *, where=NO_VALUE, mean=NO_VALUE,
           correction=NO_VALUE):
    """Standard deviation of the numbers, NaN left out."""
    return into(out, ops.sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)),
                "nanstd")


def _nan_extreme(numpy_function, reduce, far):
    @implements(numpy_function)
    def extreme(a, axis=None, out=None, keepdims=NO_VALUE, initial=NO_VALUE, where=NO_VALUE):
        x, numbers = _selected(a, where)
        if not is_float(x.dtype):
            return reduce(x, axis, out, keepdims, initial, where)
        value = reduce(ops.where(numbers, x, np.asarray(far, x.dtype)), axis, None, keepdims, initial)
        some = ops.any(numbers, axis=normalize_axes(axis, x.ndim, numpy_function.__name__))
        value = ops.where(ops.reshape(some, shape=value.shape), value, np.asarray(np.nan, x.dtype))
        return into(out, value, numpy_function.__name__)
    extreme.__name__ = numpy_function.__name__
    extreme.__doc__ = f"{reduce.__name__} of the numbers, NaN left out; NaN where there are none."
    return extreme


nanmax, nanmin = _nan_extreme(np.nanmax, max_of, -np.inf), _nan_extreme(np.nanmin, min_of, np.inf)


def _nan_position(numpy_function, op, far):
    @implements(numpy_function)
    def position(a, axis=None, out=None, *, keepdims=NO_VALUE):
        x, numbers = _selected(a, None)
        x = ops.where(numbers, x, np.asarray(far, x.dtype)) if is_float(x.dtype) else x
        return (argmax if op is ops.argmax else argmin)(x, axis, out, keepdims=keepdims)
    position.__name__ = numpy_function.__name__
    position.__doc__ = f"{op.__name__} of the numbers; NaN is passed over."
    return position


nanargmax, nanargmin = _nan_position(np.nanargmax, ops.argmax, -np.inf), _nan_position(np.nanargmin, ops.argmin, np.inf)


def _nan_running(numpy_function, run, neutral):
    @implements(numpy_function)
    def running(a, axis=None, dtype=None, out=None):
        x, numbers = _selected(a, None)
        x = ops.where(numbers, x, np.asarray(neutral, x.dtype))
        return run(x, axis, dtype, out)
    running.__name__ = numpy_function.__name__
    running.__doc__ = f"{run.__name__} that counts NaN as {neutral}."
    return running


nancumsum, nancumprod = _nan_running(np.nancumsum, cumsum, 0), _nan_running(np.nancumprod, cumprod, 1)


@implements(np.nanquantile)
def nanquantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
    """`quantile` of the numbers, NaN left out (linear method)."""
    if method != "linear" or weights is not None:
        raise TraceValueError("nanquantile: only the linear method without weights is compiled", "use `method='linear'`")
    x = _float(a)
    dtype = _quantile_dtype(x, q)
    rows, kept = _sorted_last(x, axis)
    n, shape = rows.shape[-1], kept if keepdims else rows.shape[:-1]
    if n == 0:
        return into(out, ops.full((*np.shape(q), *shape), np.nan, dtype), "nanquantile")
    count = sum_of(ops.logical_not(isnan(rows)), -1, keepdims=True)
    values = []
    for fraction in np.ravel(q):
        position = ops.maximum(count - 1, 0) * float(fraction)
        low = ops.floor(position)
        i = astype(low, I64)
        first, second = (astype(take_along(rows, k, rows.ndim - 1), dtype) for k in (i, ops.minimum(i + 1, n - 1)))
        part = astype(position - low, dtype)
        value = ops.where(ops.equal(part, 0), first, _between(first, second, part))
        values.append(ops.reshape(value, shape=shape))
    return into(out, _stacked(values, q), "nanquantile")


@implements(np.nanpercentile)
def nanpercentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
    """`percentile` of the numbers, NaN left out."""
    return nanquantile(a, _fraction(q), axis, out, overwrite_input, method, keepdims, weights=weights)


@implements(np.nanmedian)
def nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    """The middle of the numbers, NaN left out."""
    return nanquantile(a, 0.5, axis, out, keepdims=bool(keepdims))
