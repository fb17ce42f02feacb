"""Functions that programs use now and then: questions about dtypes, writes by function, blocks, histograms, positions."""
from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..ops.movement import slice_axis
from ..types import I64, is_float, normalize_axis
from .elementwise import isinf
from .indexing import setitem
from .joining import concatenate, split
from .protocol import as_array, astype, implements
from .reductions import sum as sum_of
from .shapes import grown, ravel

# Dtypes

def _stand_in(x):
    """What NumPy asks about instead of a traced value: its weak Python number, or its dtype."""
    weak = getattr(x, "weak", None)
    return weak(0) if weak is not None else x.dtype if hasattr(x, "shape") else x


@implements(np.result_type)
def result_type(*arrays_and_dtypes):
    """The dtype NumPy gives an operation on these."""
    return np.result_type(*map(_stand_in, arrays_and_dtypes))


@implements(np.can_cast)
def can_cast(from_, to, casting="safe"):
    """Whether a dtype can be converted under a rule."""
    return np.can_cast(_stand_in(from_), to, casting)


@implements(np.iscomplexobj)
def iscomplexobj(x):
    """False: all arrays of jitnet are real."""
    return False


@implements(np.isrealobj)
def isrealobj(x):
    """True: all arrays of jitnet are real."""
    return True


@implements(np.isreal)
def isreal(x):
    """True everywhere."""
    return ops.full(as_array(x).shape, True, np.bool_)


@implements(np.isposinf)
def isposinf(x, out=None):
    """Whether x is positive infinity."""
    return ops.logical_and(isinf(x), ops.greater(as_array(x), np.zeros((), as_array(x).dtype)))


@implements(np.isneginf)
def isneginf(x, out=None):
    """Whether x is negative infinity."""
    return ops.logical_and(isinf(x), ops.less(as_array(x), np.zeros((), as_array(x).dtype)))


@implements(np.array_equiv)
def array_equiv(a1, a2):
    """Whether two arrays are equal once broadcast."""
    same = ops.equal(as_array(a1), as_array(a2))
    return ops.all(same, axis=tuple(range(same.ndim)))


# Writes

@implements(np.copyto)
def copyto(dst, src, casting="same_kind", where=True) -> None:
    """Writes src into dst where a condition holds."""
    setitem(dst, Ellipsis, src if where is True else ops.where(where, astype(as_array(src), dst.dtype), dst))


@implements(np.putmask)
def putmask(a, mask, values) -> None:
    """Writes values into a where the mask holds; values have the shape of a, or are one number."""
    copyto(a, values, where=mask)


@implements(np.fill_diagonal)
def fill_diagonal(a, val, wrap=False) -> None:
    """Writes val on the diagonal of a."""
    if wrap or (len(set(a.shape)) > 1 and a.ndim > 2):
        raise TraceValueError("fill_diagonal: wrap=True is not compiled", "write the diagonal by its indices")
    n = min(a.shape)
    a[(np.arange(n),) * a.ndim] = val


# Putting together and taking apart

@implements(np.block)
def block(arrays):
    """One array from nested lists of blocks: the innermost lists run along the last axis."""
    def depth_of(part):
        return 1 + max(map(depth_of, part), default=0) if isinstance(part, list) else 0

    def put(part, level):
        if not isinstance(part, list):
            return grown(as_array(part), rank) if rank <= 3 else as_array(part)
        return concatenate([put(p, level + 1) for p in part], axis=level - depth)

    def rank_of(part):
        return max(map(rank_of, part)) if isinstance(part, list) else as_array(part).ndim

    depth = depth_of(arrays)
    rank = max(depth, rank_of(arrays), 1)
    return put(arrays, 0)


@implements(np.dsplit)
def dsplit(ary, indices_or_sections):
    """Parts along the third axis."""
    return split(ary, indices_or_sections, 2)


@implements(np.delete)
def delete(arr, obj, axis=None):
    """arr without the elements at places known while tracing."""
    x = as_array(arr)
    x, axis = (ravel(x), 0) if axis is None else (x, normalize_axis(axis, x.ndim, "delete"))
    kept = np.delete(np.arange(x.shape[axis]), obj)
    return x[(slice(None),) * axis + (kept,)]


@implements(np.insert)
def insert(arr, obj, values, axis=None):
    """arr with values before the place obj, one integer known while tracing."""
    x = as_array(arr)
    x, axis = (ravel(x), 0) if axis is None else (x, normalize_axis(axis, x.ndim, "insert"))
    n = x.shape[axis]
    place = int(obj) + n if int(obj) < 0 else int(obj)
    v = astype(as_array(values), x.dtype)
    rest = x.shape[:axis] + x.shape[axis + 1:]
    count = v.shape[0] if v.ndim == 1 and x.ndim == 1 else 1
    v = ops.broadcast_to(v if x.ndim == 1 else ops.reshape(ops.broadcast_to(v, shape=rest),
                                                           shape=(*rest[:axis], 1, *rest[axis:])),
                         shape=(*x.shape[:axis], count, *x.shape[axis + 1:]))
    return ops.concatenate(slice_axis(x, axis, 0, place), v, slice_axis(x, axis, place, n - place), axis=axis)


@implements(np.resize)
def resize(a, new_shape):
    """a repeated until it fills a shape."""
    x = ravel(as_array(a))
    shape = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    size = math.prod(shape)
    copies = concatenate([x] * -(-size // x.shape[0])) if size else x
    return ops.reshape(slice_axis(copies, 0, 0, size), shape=shape)


@implements(np.piecewise)
def piecewise(x, condlist, funclist, *args, **kw):
    """Each element by the function (or number) of the last condition that holds there; a last extra function for the others."""
    x = as_array(x)
    conditions = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    otherwise = funclist[-1] if len(funclist) == len(conditions) + 1 else 0
    apply = lambda f: astype(as_array(f(x, *args, **kw) if callable(f) else f), x.dtype)
    out = ops.broadcast_to(apply(otherwise), shape=x.shape)
    for condition, function in zip(conditions, funclist):
        out = ops.where(condition, apply(function), out)
    return out


@implements(np.unwrap)
def unwrap(p, discont=None, axis=-1, *, period=2 * math.pi):
    """p with jumps of more than half a period taken out by adding whole periods."""
    x = as_array(p)
    x = x if is_float(x.dtype) else astype(x, np.float64)
    axis = normalize_axis(axis, x.ndim, "unwrap")
    n, half = x.shape[axis], period / 2
    if n == 0:
        return x
    d = slice_axis(x, axis, 1, n - 1) - slice_axis(x, axis, 0, n - 1)
    turned = ops.remainder(d + half, period) - half
    turned = ops.where(ops.logical_and(ops.equal(turned, -half), ops.greater(d, 0)), half, turned)
    step = ops.where(ops.less(ops.abs(d), half if discont is None else max(discont, half)), np.zeros((), x.dtype), turned - d)
    return ops.concatenate(slice_axis(x, axis, 0, 1), slice_axis(x, axis, 1, n - 1) + ops.cumsum(step, axis=axis), axis=axis)


# Counting and positions

@implements(np.histogram_bin_edges)
def histogram_bin_edges(a, bins=10, range=None, weights=None):
    """The edges of `bins` bins of one width; bins that are edges already are returned."""
    from .creation import linspace

    if not isinstance(bins, int):
        if isinstance(bins, str):
            raise TraceTypeError(f"histogram: bins={bins!r} depends on the values of a traced array",
                                 "pass a number of bins, or their edges")
        return as_array(bins)
    x = ravel(as_array(a))
    x = x if is_float(x.dtype) else astype(x, np.float64)
    low, high = (ops.min(x, axis=0), ops.max(x, axis=0)) if range is None else map(x.dtype.type, range)
    flat = ops.equal(low, high)  # NumPy widens an empty range by one
    return linspace(ops.where(flat, low - 0.5, low), ops.where(flat, high + 0.5, high), bins + 1)


@implements(np.histogram)
def histogram(a, bins=10, range=None, density=None, weights=None):
    """(how many elements fall into each bin, the edges); the last bin includes its right edge."""
    x, edges = ravel(as_array(a)), histogram_bin_edges(a, bins, range)
    n = edges.shape[0] - 1
    place = ops.searchsorted(edges, x, side="right") - 1
    place = ops.where(ops.equal(x, edges[n]), n - 1, place)
    inside = ops.logical_and(ops.greater_equal(place, 0), ops.less(place, n))
    w = ops.full(x.shape, 1, I64) if weights is None else ravel(as_array(weights))
    w = ops.where(inside, w, np.zeros((), w.dtype))
    counts = ops.scatter_add(ops.full((n,), 0, w.dtype), w, ops.minimum(ops.maximum(place, 0), n - 1), axes=(0,))
    if density:
        widths = slice_axis(edges, 0, 1, n) - slice_axis(edges, 0, 0, n)
        counts = counts / widths / sum_of(counts)
    return counts, edges


@implements(np.unravel_index)
def unravel_index(indices, shape, order="C"):
    """The position along each axis of places in the flattened array."""
    i, out = as_array(indices), []
    for n in reversed((shape,) if isinstance(shape, int) else shape):
        out.append(ops.remainder(i, n))
        i = ops.floor_divide(i, n)
    return tuple(reversed(out))


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index, dims, mode="raise", order="C"):
    """Places in the flattened array of positions along each axis."""
    total = 0
    for i, n in zip(multi_index, dims, strict=True):
        total = total * n + astype(as_array(i), I64)
    return total
