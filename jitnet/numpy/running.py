"""Running sums and products, differences, sorting and searching, padding and windows."""
from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import TraceValueError
from ..op import has_priority
from ..ops.movement import flip as flip_axes
from ..ops.movement import slice_axis
from ..tracer import Tracer
from ..types import is_float, known_dtype, normalize_axis, promote
from .joining import concatenate
from .protocol import ACCUMULATORS, as_array, astype, implements, into
from .reductions import sum as sum_of
from .shapes import grown


def _flat(x, axis):
    """(x, axis) with x flattened for axis None."""
    return (ops.reshape(x, shape=(-1,)), 0) if axis is None else (x, normalize_axis(axis, x.ndim, "axis"))


def _running(ufunc_name, op, like, name):
    def running(a, axis=None, dtype=None, out=None):
        x, axis = _flat(as_array(a, dtype), axis)
        if dtype is None and like is not None:
            x = as_array(x, like.operand_dtypes([x.dtype])[0])
        value = op(x, axis=axis)
        return into(out, value if dtype is None else as_array(value, known_dtype(dtype)), name)
    running.__name__, running.__doc__ = name, op.__doc__
    ACCUMULATORS[ufunc_name] = running
    return running


cumsum = implements(np.cumsum, method="cumsum")(_running("add", ops.cumsum, ops.sum, "cumsum"))
cumprod = implements(np.cumprod, method="cumprod")(_running("multiply", ops.cumprod, ops.prod, "cumprod"))
_running("maximum", ops.cummax, None, "maximum.accumulate")
_running("minimum", ops.cummin, None, "minimum.accumulate")


def _cumulative(numpy_function, run, start):
    @implements(numpy_function)
    def cumulative(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
        x = as_array(x)
        if axis is None and x.ndim > 1:
            raise TraceValueError(f"{numpy_function.__name__}: axis= is needed for more than one axis", "name the axis")
        axis = normalize_axis(0 if axis is None else axis, x.ndim, numpy_function.__name__)
        value = run(x, axis, dtype)
        if include_initial:
            low = tuple(int(k == axis) for k in range(value.ndim))
            value = ops.pad(value, np.asarray(start, value.dtype), low=low, high=(0,) * value.ndim)
        return into(out, value, numpy_function.__name__)
    cumulative.__name__, cumulative.__doc__ = numpy_function.__name__, run.__doc__
    return cumulative


cumulative_sum, cumulative_prod = _cumulative(np.cumulative_sum, cumsum, 0), _cumulative(np.cumulative_prod, cumprod, 1)


@implements(np.diff)
def diff(a, n=1, axis=-1, prepend=np._NoValue, append=np._NoValue):
    """Differences of neighbours along an axis, n times.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> jnp.diff(np.array([1.0, 4.0, 9.0]))
    array([3., 5.])
    """
    x = as_array(a)
    axis = normalize_axis(axis, x.ndim, "diff")
    ends = []
    for end in (prepend, append):
        if end is not np._NoValue and end is not None:
            end = as_array(end)
            end = end if end.ndim else ops.broadcast_to(end, shape=tuple(1 if k == axis else m for k, m in enumerate(x.shape)))
        ends.append(end)
    if any(e is not np._NoValue and e is not None for e in ends):
        x = concatenate([e for e in (ends[0], x, ends[1]) if e is not np._NoValue and e is not None], axis)
    if n < 0:
        raise TraceValueError(f"diff: there is no difference of order {n}", "the order is 0 or more")
    for _ in range(n):
        m = x.shape[axis]
        difference = ops.not_equal if x.dtype == np.bool_ else ops.subtract
        x = difference(slice_axis(x, axis, min(1, m), max(m - 1, 0)), slice_axis(x, axis, 0, max(m - 1, 0)))
    return x


@implements(np.ediff1d)
def ediff1d(ary, to_end=None, to_begin=None):
    """Differences of neighbours of the flattened array."""
    x = diff(ops.reshape(as_array(ary), shape=(-1,)))
    parts = [e if e is None else ops.reshape(as_array(e, x.dtype), shape=(-1,)) for e in (to_begin, to_end)]
    return concatenate([p for p in (parts[0], x, parts[1]) if p is not None])


@implements(np.gradient)
def gradient(f, *varargs, axis=None, edge_order=1):
    """Central differences along each axis, one-sided at the ends, of second order in the spacing there with edge_order=2.

    Spacing: one number for all axes, or per axis a number or the coordinates along it.
    """
    x = as_array(f)
    x = x if is_float(x.dtype) else astype(x, np.float64)
    axes = tuple(range(x.ndim)) if axis is None else tuple(normalize_axis(k, x.ndim, "gradient")
                                                           for k in (axis if isinstance(axis, tuple) else (axis,)))
    steps = varargs if len(varargs) == len(axes) else varargs * len(axes) if varargs else (1.0,) * len(axes)
    if len(steps) != len(axes) or edge_order not in (1, 2):
        raise TraceValueError(f"gradient: {len(varargs)} spacings for {len(axes)} axes, edge_order={edge_order}",
                              "pass one spacing, or one per axis; the order is 1 or 2")
    for k in axes:
        if x.shape[k] <= edge_order:
            raise TraceValueError(f"gradient: an axis of {x.shape[k]} is too short", "it needs edge_order + 1 elements")
    out = [_slope(x, k, h, edge_order) for k, h in zip(axes, steps)]
    return out[0] if len(out) == 1 else tuple(out)


def _slope(x, axis, spacing, edge_order):
    n = x.shape[axis]
    part = lambda start, size: slice_axis(x, axis, start, size)
    if isinstance(spacing, (list, tuple)) or getattr(spacing, "ndim", 0):
        d = diff(as_array(spacing))
        at = lambda start, size: ops.reshape(slice_axis(d, 0, start, size), shape=(size, *(1,) * (x.ndim - axis - 1)))
        before, after = at(0, n - 2), at(1, n - 2)
        inner = _through(before, after, 0, part(0, n - 2), part(1, n - 2), part(2, n - 2))
    else:
        at = lambda start, size: spacing
        inner = (part(2, n - 2) - part(0, n - 2)) / (2.0 * spacing)
    if edge_order == 1:
        first, last = (part(1, 1) - part(0, 1)) / at(0, 1), (part(n - 1, 1) - part(n - 2, 1)) / at(n - 2, 1)
    else:
        first = _through(at(0, 1), at(1, 1), -1, *(part(k, 1) for k in (0, 1, 2)))
        last = _through(at(n - 3, 1), at(n - 2, 1), 1, *(part(k, 1) for k in (n - 3, n - 2, n - 1)))
    return ops.concatenate(first, inner, last, axis=axis)


def _through(h, k, where, a, b, c):
    """The slope of the parabola through three points, h and k apart, at the first (-1), second (0) or third (1) of them."""
    if where == 0:
        return -(k / (h * (h + k))) * a + (k - h) / (h * k) * b + h / (k * (h + k)) * c
    if where < 0:
        return -((2.0 * h + k) / (h * (h + k))) * a + (h + k) / (h * k) * b - h / (k * (h + k)) * c
    return k / (h * (h + k)) * a - (h + k) / (h * k) * b + (2.0 * k + h) / (k * (h + k)) * c


@implements(np.trapezoid)
def trapezoid(y, x=None, dx=1.0, axis=-1):
    """Integral along an axis by the trapezoidal rule."""
    y = as_array(y)
    axis = normalize_axis(axis, y.ndim, "trapezoid")
    n = y.shape[axis]
    if n == 0:
        return sum_of(y / 2.0, axis)
    if x is not None:
        x = as_array(x)
        dx = diff(x, axis=axis if x.ndim == y.ndim else 0)
        dx = dx if x.ndim != 1 else ops.reshape(dx, shape=tuple(n - 1 if k == axis else 1 for k in range(y.ndim)))
    return sum_of((slice_axis(y, axis, 1, n - 1) + slice_axis(y, axis, 0, n - 1)) * dx / 2.0, axis)


# Sorting and searching

@implements(np.sort)
def sort(a, axis=-1, kind=None, order=None, *, stable=None, descending=False):
    """A sorted copy along an axis, NaN last."""
    x, axis = _flat(as_array(a), axis)
    out = ops.sort(x, axis=axis)
    return flip_axes(out, axis) if descending else out


@implements(np.argsort, method="argsort")
def argsort(a, axis=-1, kind=None, order=None, *, stable=None, descending=False):
    """Positions that sort along an axis; equals keep their order. Of a number, [0]."""
    x = as_array(a)
    x, axis = _flat(x if x.ndim else ops.reshape(x, shape=(1,)), axis)
    if not descending:
        return ops.argsort(x, axis=axis)
    n = x.shape[axis]
    return flip_axes((n - 1) - ops.argsort(flip_axes(x, axis), axis=axis), axis)


@implements(np.partition)
def partition(a, kth, axis=-1, kind="introselect", order=None):
    """An array whose kth element along an axis is where sorting puts it (jitnet sorts all of them)."""
    return sort(a, axis)


@implements(np.argpartition)
def argpartition(a, kth, axis=-1, kind="introselect", order=None):
    """Positions that partition (jitnet sorts all of them)."""
    return argsort(a, axis)


def sort_in_place(x: Tracer, axis=-1, kind=None, order=None, *, stable=None) -> None:
    """Sorts x itself, as the method `x.sort()` does."""
    x.assign(ops.sort(x, axis=normalize_axis(axis, x.ndim, "sort")))


@implements(np.searchsorted, method="searchsorted")
def searchsorted(a, v, side="left", sorter=None):
    """Where the elements of v would stand in the sorted 1-d array a."""
    x = as_array(a)
    if sorter is not None:
        from .taking import take

        x = take(x, sorter)
    v = as_array(v)
    return ops.searchsorted(x, v, side=side)


@implements(np.interp)
def interp(x, xp, fp, left=None, right=None, period=None):
    """Values at x of the piecewise linear function through the points (xp, fp); xp ascends, or is taken modulo a period."""
    x, xp, fp = (astype(as_array(v), np.float64) for v in (x, xp, fp))
    if xp.ndim != 1 or fp.shape != xp.shape:
        raise TraceValueError(f"interp: points of the shapes {xp.shape} and {fp.shape}", "give both in one axis, of one size")
    n = xp.shape[0]
    if n == 0:
        raise TraceValueError("interp: no points", "check the size before")
    if period is not None:
        left = right = None
        x, xp = ops.remainder(x, period), ops.remainder(xp, period)
        order = ops.argsort(xp, axis=0)
        xp, fp = ops.gather(xp, order, axes=(0,)), ops.gather(fp, order, axes=(0,))
        xp, fp = concatenate([xp[n - 1:] - period, xp, xp[:1] + period]), concatenate([fp[n - 1:], fp, fp[:1]])
        n += 2
    hi = ops.minimum(ops.maximum(ops.searchsorted(xp, x, side="right"), 1), n - 1)
    x0, x1, y0, y1 = (ops.gather(v, i, axes=(0,)) for v in (xp, fp) for i in (ops.maximum(hi - 1, 0), hi))
    width = ops.where(ops.equal(x1, x0), np.ones(()), x1 - x0)
    y = y0 + (x - x0) / width * (y1 - y0)
    first, last = slice_axis(xp, 0, 0, 1), slice_axis(xp, 0, n - 1, 1)
    first, last = ops.reshape(first, shape=()), ops.reshape(last, shape=())
    y = ops.where(ops.less(x, first), fp[0] if left is None else left, y)
    return ops.where(ops.greater(x, last), fp[n - 1] if right is None else right, y)


@implements(np.isin)
def isin(element, test_elements, assume_unique=False, invert=False, *, kind=None):
    """Whether each element is among others."""
    x, y = as_array(element), as_array(test_elements)
    found = ops.any(ops.equal(ops.reshape(x, shape=(*x.shape, 1)), ops.reshape(y, shape=(-1,))), axis=(x.ndim,))
    return ops.logical_not(found) if invert else found


# Padding and windows

@implements(np.pad)
def pad(array, pad_width, mode="constant", **options):
    """array with its axes made longer: by a constant, or by its own elements ("edge", "reflect", "symmetric", "wrap",
    "empty")."""
    x = as_array(array)
    widths = [(int(a), int(b)) for a, b in np.broadcast_to(np.asarray(_pad_widths(pad_width, x.ndim)), (x.ndim, 2))]
    if mode in ("constant", "empty"):
        return _pad_constant(x, widths, options.get("constant_values", 0))
    if mode not in ("edge", "reflect", "symmetric", "wrap") or options.get("reflect_type", "even") != "even":
        raise TraceValueError(f"pad: mode {mode!r} is not compiled", "use constant, edge, reflect, symmetric or wrap")
    for axis, (a, b) in enumerate(widths):
        if a or b:
            places = np.pad(np.arange(x.shape[axis]), (a, b), mode=mode)
            x = ops.gather(x if axis == 0 else ops.transpose(x, axes=_swap_first(x.ndim, axis)), places, axes=(0,))
            x = x if axis == 0 else ops.transpose(x, axes=_swap_first(x.ndim, axis))
    return x


def _swap_first(n, axis):
    order = list(range(n))
    order[0], order[axis] = axis, 0
    return tuple(order)


def _pad_widths(pad_width, ndim):
    if isinstance(pad_width, dict):
        return [(v, v) if isinstance(v, int) else v for v in (pad_width.get(k, pad_width.get(k - ndim, (0, 0)))
                                                              for k in range(ndim))]
    return pad_width


def _pad_constant(x, widths, values):
    if any(a < 0 or b < 0 for a, b in widths):
        raise TraceValueError("pad: index can't contain negative values", "take a slice instead")
    low, high = zip(*widths) if widths else ((), ())
    if has_priority(values) or np.ndim(values) == 0:
        return ops.pad(x, values, low=low, high=high)
    n = x.ndim
    for axis, (a, b) in enumerate(np.broadcast_to(np.asarray(values), (n, 2))):
        for value, at_low in ((a, True), (b, False)):
            width = tuple((low if at_low else high)[axis] if k == axis else 0 for k in range(n))
            x = ops.pad(x, np.asarray(value, x.dtype), low=width if at_low else (0,) * n, high=(0,) * n if at_low else width)
    return x


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x, window_shape, axis=None, *, subok=False, writeable=False):
    """All windows of a size along axes, as new last axes."""
    x = as_array(x)
    sizes = window_shape if isinstance(window_shape, (tuple, list)) else (window_shape,)
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    for axis, size in zip((normalize_axis(k, x.ndim, "sliding_window_view") for k in axes), sizes, strict=True):
        count = x.shape[axis] - size + 1
        if count < 1:
            raise TraceValueError(f"sliding_window_view: a window of {size} is longer than the axis of {x.shape[axis]}",
                                  "use a smaller window")
        parts = [ops.reshape(s, shape=(*s.shape, 1)) for s in (slice_axis(x, axis, k, count) for k in range(size))]
        x = ops.concatenate(*parts, axis=-1)
    return x


@implements(np.convolve)
def convolve(a, v, mode="full"):
    """Convolution of two 1-d arrays."""
    x, y = _vectors("convolve", a, v)
    x, y = (x, y) if x.shape[0] >= y.shape[0] else (y, x)
    return _correlated(x, flip_axes(y, 0), mode)


@implements(np.correlate)
def correlate(a, v, mode="valid"):
    """Correlation of two 1-d arrays: sums of products as v slides along a."""
    x, y = _vectors("correlate", a, v)
    if x.shape[0] >= y.shape[0]:
        return _correlated(x, y, mode)
    return flip_axes(_correlated(y, x, mode), 0)


def _vectors(name, a, v):
    x, y = (grown(as_array(u), 1) for u in (a, v))
    if x.ndim > 1 or y.ndim > 1:
        raise TraceValueError(f"{name}: takes 1-d arrays, not {x.ndim}-d and {y.ndim}-d", "apply it to one row at a time")
    if x.shape[0] == 0 or y.shape[0] == 0:
        raise TraceValueError(f"{name}: one of the arrays is empty", "check the sizes before")
    return x, y


def _correlated(x, y, mode):
    n, m = x.shape[0], y.shape[0]
    total = n + m - 1
    before, size = {"full": (m - 1, total), "same": ((m - 1) // 2 if m % 2 else m // 2 - 0, n), "valid": (0, n - m + 1)}[mode]
    before = m - 1 - (total - n) // 2 if mode == "same" else before
    after = size + m - 1 - n - before
    dtype = promote(x.dtype, y.dtype)
    x = ops.pad(as_array(x, dtype), np.zeros((), dtype), low=(before,), high=(after,))
    windows = sliding_window_view(x, m)
    return ops.reshape(ops.matmul(windows, ops.reshape(as_array(y, dtype), shape=(m, 1))), shape=(size,))
