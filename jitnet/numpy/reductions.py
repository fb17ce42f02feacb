"""Reductions with all of NumPy's options: axis, keepdims, dtype, out, initial, where."""
from __future__ import annotations

import builtins
import math

import numpy as np

from .. import ops
from ..errors import TraceOverflowError, TraceTypeError
from ..half import in_float32
from ..promotion import float_rule
from ..sizes import constant as constant_of
from ..types import F32, HALVES, is_float, known_dtype, normalize_axes, normalize_axis, promote
from .elementwise import isfinite
from .protocol import REDUCERS, as_array, implements, into

NO_VALUE = np._NoValue


def given(value) -> bool:
    """Whether an option was passed (NumPy marks the others with `_NoValue`)."""
    return value is not NO_VALUE and value is not None


def _axes(axis, x, name):
    if axis is NO_VALUE or (x.ndim == 0 and type(axis) is int and axis in (0, -1)):   # an array without axes has a first one
        axis = None
    return normalize_axes(axis, x.ndim, name)


def _keep(value, x, axes, keepdims):
    """The result with its reduced axes put back as size 1 where keepdims says so."""
    if not (given(keepdims) and keepdims):
        return value
    return ops.reshape(value, shape=tuple(1 if a in axes else n for a, n in enumerate(x.shape)))


def _like(value, x):
    return constant_of(value, x.dtype)


def _start(name: str, initial, value):
    """`initial` in the dtype of a result; TraceOverflowError for a Python int beyond it."""
    if type(initial) is not int:
        return as_array(initial, value.dtype)
    try:
        return _like(initial, value)
    except OverflowError as error:
        raise TraceOverflowError(f"{name}: {error}", "use a wider dtype") from None


def check_condition(name: str, where) -> None:
    """TraceTypeError unless what selects elements is of bools."""
    dtype = as_array(where).dtype
    if dtype != np.bool_:
        raise TraceTypeError(f"{name}: where= is of {dtype}, not of bools", "compare: `where=x > 0`")


def _reduction(ufunc_name, op, combine, fill, name, *, widen=False):
    """A reduction with NumPy's options; fill: dtype -> what stands at masked-out places."""
    def reduction(a, axis=None, dtype=None, out=None, keepdims=NO_VALUE, initial=NO_VALUE, where=NO_VALUE):
        x = as_array(a, dtype)
        if widen and dtype is None:
            x = as_array(x, op.operand_dtypes([x.dtype])[0])
        if given(where) and where is not True:
            check_condition(name, where)
            if fill is None and not given(initial):
                raise TraceTypeError(f"{name}: with where= it needs initial=",
                                     "pass `initial=`, the result where nothing is selected")
            x = ops.where(where, x, _like(fill(x.dtype) if fill else initial, x))
        axes = _axes(axis, x, name)
        if given(initial) and fill is None and builtins.any(x.shape[k] == 0 for k in axes):
            value = ops.full(tuple(n for k, n in enumerate(x.shape) if k not in axes), initial, x.dtype)
        else:
            value = op(x, axis=axes)
            if given(initial):
                value = combine(value, _start(name, initial, value))
        if dtype is not None:
            value = as_array(value, known_dtype(dtype))  # narrow integers were summed in 64 bits: their sum, wrapped around
        return into(out, _keep(value, x, axes, keepdims), name)
    reduction.__name__, reduction.__doc__ = name, op.__doc__
    REDUCERS[ufunc_name] = reduction
    return reduction


_sum = _reduction("add", ops.sum, ops.add, lambda d: 0, "sum", widen=True)
_prod = _reduction("multiply", ops.prod, ops.multiply, lambda d: 1, "prod", widen=True)
_max = _reduction("maximum", ops.max, ops.maximum, None, "max")
_min = _reduction("minimum", ops.min, ops.minimum, None, "min")


@implements(np.sum, method="sum")
def sum(a, axis=None, dtype=None, out=None, keepdims=NO_VALUE, initial=NO_VALUE, where=NO_VALUE):
    """Sum over axes; bools and small integers add up in 64 bits.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> jnp.sum(np.ones((2, 3), np.float32), axis=1)
    array([3., 3.], dtype=float32)
    """
    return _sum(a, axis, dtype, out, keepdims, initial, where)


@implements(np.prod, method="prod")
def prod(a, axis=None, dtype=None, out=None, keepdims=NO_VALUE, initial=NO_VALUE, where=NO_VALUE):
    """Product over axes; bools and small integers multiply in 64 bits."""
    return _prod(a, axis, dtype, out, keepdims, initial, where)


@implements(np.max, np.amax, method="max")
def max(a, axis=None, out=None, keepdims=NO_VALUE, initial=NO_VALUE, where=NO_VALUE):
    """Largest element over axes, NaN when there is one; ties share the gradient evenly."""
    return _max(a, axis, None, out, keepdims, initial, where)


@implements(np.min, np.amin, method="min")
def min(a, axis=None, out=None, keepdims=NO_VALUE, initial=NO_VALUE, where=NO_VALUE):
    """Smallest element over axes, NaN when there is one; ties share the gradient evenly."""
    return _min(a, axis, None, out, keepdims, initial, where)


def _truth(name, ufunc_name, op, neutral, numpy_function):
    def truth(a, axis=None, out=None, keepdims=NO_VALUE, *, where=NO_VALUE, initial=NO_VALUE):
        x = as_array(a)
        if given(where) and where is not True:
            check_condition(name, where)
            x = ops.where(where, as_array(x, np.bool_), np.asarray(neutral))
        axes = _axes(axis, x, name)
        return into(out, _keep(op(x, axis=axes), x, axes, keepdims), name)
    truth.__name__, truth.__doc__ = name, op.__doc__
    REDUCERS[ufunc_name] = truth
    return implements(numpy_function, method=name)(truth)


any = _truth("any", "logical_or", ops.any, False, np.any)
all = _truth("all", "logical_and", ops.all, True, np.all)
for _short, _long in (("any", "bitwise_or"), ("all", "bitwise_and")):  # of bools, as `np.bitwise_or.reduce` is used
    def _bitwise(x, axis=0, keepdims=False, _run={"any": any, "all": all}[_short], _name=_long, **options):
        if as_array(x).dtype != np.bool_:
            raise TraceTypeError(f"{_name}.reduce: jitnet reduces bools only", "convert the array first: `x.astype(bool)`")
        return _run(x, axis=axis, keepdims=keepdims, **options)
    REDUCERS[_long] = _bitwise


def _position(name, op, numpy_function):
    def position(a, axis=None, out=None, *, keepdims=NO_VALUE):
        x = as_array(a)
        if axis is None or x.ndim == 0:
            _axes(axis, x, name)
            value = op(ops.reshape(x, shape=(-1,)), axis=0)
            axes = tuple(range(x.ndim))
        else:
            axes = (normalize_axis(axis, x.ndim, name),)
            value = op(x, axis=axes)
        return into(out, _keep(value, x, axes, keepdims), name)
    position.__name__, position.__doc__ = name, op.__doc__
    return implements(numpy_function, method=name)(position)


argmax = _position("argmax", ops.argmax, np.argmax)
argmin = _position("argmin", ops.argmin, np.argmin)


@implements(np.count_nonzero)
def count_nonzero(a, axis=None, *, keepdims=False):
    """How many elements are not zero."""
    return _sum(ops.not_equal(as_array(a), _like(0, as_array(a))), axis, None, None, keepdims)


# Means and spread

def count_of(x, axes, where, keepdims):
    """How many elements are combined: a number, or an array when `where` selects them."""
    if given(where) and where is not True:
        return _sum(ops.broadcast_to(as_array(where, np.bool_), shape=x.shape), axes, None, None, keepdims)
    return math.prod(x.shape[a] for a in axes)


def _divided(total, n, dtype):
    """total / n in the dtype of a mean; by zero it is NaN, as in NumPy."""
    if isinstance(n, int):
        return total / (_like(n, total) if n else _like(np.nan, total))
    return total / as_array(n, dtype)


@implements(np.mean, method="mean")
def mean(a, axis=None, dtype=None, out=None, keepdims=NO_VALUE, *, where=NO_VALUE):
    """Arithmetic mean over axes; of integers and bools in float64.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> jnp.mean(np.array([[1, 2], [3, 4]]), axis=0)
    array([2., 3.])
    """
    x = as_array(a)
    if dtype is None and not is_float(x.dtype):
        dtype = np.float64
    axes = _axes(axis, x, "mean")
    if dtype is None and x.dtype in HALVES:  # the sum may be beyond their range
        return into(out, as_array(mean(x, axes, F32, None, keepdims, where=where), x.dtype), "mean")
    total = _sum(x, axes, dtype, None, keepdims, NO_VALUE, where)
    return into(out, _divided(total, count_of(x, axes, where, keepdims), total.dtype), "mean")


def _squeezed(value, axes, keepdims):
    """value, whose reduced axes have size 1, without them (unless keepdims)."""
    if given(keepdims) and keepdims:
        return value
    return ops.reshape(value, shape=tuple(n for a, n in enumerate(value.shape) if a not in axes))


def _spread(a, axis, dtype, ddof, keepdims, where, given_mean, correction, name):
    x = as_array(a)
    if dtype is None and not is_float(x.dtype):
        dtype = np.float64
    if dtype is None and x.dtype in HALVES:
        return as_array(_spread(x, axis, F32, ddof, keepdims, where, given_mean, correction, name), x.dtype)
    x = as_array(x, dtype)
    axes = _axes(axis, x, name)
    if given(given_mean):
        center = as_array(given_mean)
    else:
        center = _divided(_sum(x, axes, None, None, True, NO_VALUE, where), count_of(x, axes, where, True), x.dtype)
    d = x - center
    left = count_of(x, axes, where, keepdims) - (correction if given(correction) else ddof)
    left = _like(builtins.max(left, 0), x) if isinstance(left, (int, float)) else as_array(ops.maximum(left, 0), x.dtype)
    return _sum(d * d, axes, None, None, keepdims, NO_VALUE, where) / left


@implements(np.var, method="var")
def var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=NO_VALUE, *, where=NO_VALUE, mean=NO_VALUE, correction=NO_VALUE):
    """Mean squared distance from the mean, divided by n - ddof."""
    return into(out, _spread(a, axis, dtype, ddof, keepdims, where, mean, correction, "var"), "var")


@implements(np.std, method="std")
def std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=NO_VALUE, *, where=NO_VALUE, mean=NO_VALUE, correction=NO_VALUE):
    """Square root of the variance."""
    return into(out, ops.sqrt(_spread(a, axis, dtype, ddof, keepdims, where, mean, correction, "std")), "std")


@implements(np.average)
def average(a, axis=None, weights=None, returned=False, *, keepdims=NO_VALUE):
    """Weighted mean over axes."""
    x = as_array(a)
    if weights is None:
        value = mean(x, axis, None, None, keepdims)
        total = ops.full(value.shape, math.prod(x.shape) // math.prod(value.shape) if math.prod(value.shape) else 0,
                         value.dtype)
        return (value, total) if returned else value
    w = as_array(weights)
    if w.shape != x.shape:
        if axis is None or not isinstance(axis, int) or w.ndim != 1:
            raise TraceTypeError(f"average: weights of shape {w.shape} do not fit an array of shape {x.shape}",
                                 "name the one axis they belong to")
        axis = normalize_axis(axis, x.ndim, "average")
        w = ops.broadcast_to(ops.reshape(w, shape=(-1, *(1,) * (x.ndim - 1 - axis))), shape=x.shape)
    dtype = promote(x.dtype, w.dtype) if is_float(x.dtype) or is_float(w.dtype) else np.dtype(np.float64)
    x, w = as_array(x, dtype), as_array(w, dtype)
    total = _sum(w, axis, None, None, keepdims)
    value = _sum(x * w, axis, None, None, keepdims) / total
    return (value, total) if returned else value


@implements(np.ptp)
def ptp(a, axis=None, out=None, keepdims=NO_VALUE):
    """Largest less smallest element."""
    return into(out, _max(a, axis, None, None, keepdims) - _min(a, axis, None, None, keepdims), "ptp")


# Logarithms of sums

@in_float32
def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False):
    """log(sum(b * exp(a))) over axes, without overflow on the way; b must keep the sums positive.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> float(jnp.logsumexp(np.array([1000.0, 1000.0])))
    1000.6931471805599
    """
    if return_sign:
        raise TraceTypeError("logsumexp: return_sign= is not compiled", "use positive weights b")
    x = as_array(a)
    x = x if is_float(x.dtype) else as_array(x, np.float64)
    axes = _axes(axis, x, "logsumexp")
    top = stop_at_infinity(ops.max(x, axis=axes), x, axes)
    e = ops.exp(x - top)
    total = _sum(e if b is None else e * b, axes, None, None, True)
    return _squeezed(ops.log(total) + top, axes, keepdims)


def stop_at_infinity(top, x, axes):
    """The largest elements, axes kept, 0 where they are infinite; what is subtracted before exp. No derivative flows through
    it."""
    top = _keep(top, x, axes, True)
    return ops.stop_gradient(ops.where(isfinite(top), top, _like(0, top)))


def _logsumexp_reduce(x, axis=0, keepdims=False):
    x = as_array(x)
    x = as_array(x, float_rule(x.dtype))
    axes = _axes(axis, x, "logaddexp.reduce")
    if builtins.any(x.shape[k] == 0 for k in axes):
        return _keep(ops.full(tuple(n for k, n in enumerate(x.shape) if k not in axes), -np.inf, x.dtype), x, axes, keepdims)
    return logsumexp(x, axes, keepdims=keepdims)


REDUCERS["logaddexp"] = _logsumexp_reduce
