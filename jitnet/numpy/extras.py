"""Functions that programs use now and then: questions about dtypes, writes by function, blocks, functions along axes."""
from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..ops.movement import slice_axis
from ..transforms.vmap import vmap
from ..types import broadcast_shapes, is_float, normalize_axis
from .elementwise import isinf
from .indexing import setitem, wrapped_index
from .joining import concatenate, split
from .protocol import as_array, astype, implements, into, is_special
from .shapes import expand_dims, grown, moveaxis, ravel, reshape
from .taking import take

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


@implements(np.iscomplex)
def iscomplex(x):
    """False everywhere."""
    return ops.full(as_array(x).shape, False, np.bool_)


@implements(np.real_if_close)
def real_if_close(a, tol=100):
    """a itself: all arrays of jitnet are real."""
    return as_array(a)


@implements(np.isposinf)
def isposinf(x, out=None):
    """Whether x is positive infinity."""
    value = ops.logical_and(isinf(x), ops.greater(as_array(x), np.zeros((), as_array(x).dtype)))
    return into(out, value, "isposinf", broadcast=True)


@implements(np.isneginf)
def isneginf(x, out=None):
    """Whether x is negative infinity."""
    value = ops.logical_and(isinf(x), ops.less(as_array(x), np.zeros((), as_array(x).dtype)))
    return into(out, value, "isneginf", broadcast=True)


@implements(np.array_equiv)
def array_equiv(a1, a2):
    """Whether two arrays are equal once broadcast; False where they do not broadcast."""
    x, y = as_array(a1), as_array(a2)
    if broadcast_shapes(x.shape, y.shape) is None:
        return np.bool_(False)
    same = ops.equal(x, y)
    return ops.all(same, axis=tuple(range(same.ndim)))


# Writes

@implements(np.copyto)
def copyto(dst, src, casting="same_kind", where=True) -> None:
    """Writes src into dst where a condition holds; TraceTypeError where the rule of casting does not allow their dtypes."""
    if hasattr(src, "dtype") and not np.can_cast(src.dtype, dst.dtype, casting):
        raise TraceTypeError(f"copyto: {src.dtype} does not go into {dst.dtype} by the rule {casting!r}",
                             "convert it with `astype`, or pass casting='unsafe'")
    setitem(dst, Ellipsis, src if where is True else ops.where(where, astype(as_array(src), dst.dtype), dst))


@implements(np.putmask)
def putmask(a, mask, values) -> None:
    """Writes values into a where the mask holds; values of another shape are repeated to that of a."""
    values = as_array(values)
    copyto(a, values if values.shape in ((), a.shape) else resize(values, a.shape), where=mask)


@implements(np.place)
def place(arr, mask, vals) -> None:
    """Writes values into arr where the mask holds, one after the other, and again from the first when they run out."""
    vals, mask = ravel(as_array(vals)), astype(as_array(mask), np.bool_)
    turn = ops.cumsum(astype(ravel(mask), np.int64), axis=0) - 1   # -1 before the first place, where nothing is written
    chosen = ops.gather(vals, ops.remainder(turn, vals.shape[0]), axes=(0,))
    copyto(arr, ops.reshape(chosen, shape=arr.shape), where=ops.reshape(mask, shape=arr.shape))


@implements(np.put, method="put")
def put(a, ind, v, mode="raise") -> None:
    """Writes values at positions of the flattened array; fewer values than positions are repeated."""
    i, v, n = ravel(as_array(ind)), as_array(v), a.size
    if mode != "raise":
        i = ops.remainder(i, n) if mode == "wrap" else ops.minimum(ops.maximum(i, 0), n - 1)
    if i.size:
        reshape(a, (-1,))[i] = v if v.size == 1 else resize(v, i.shape)


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


def _along(arr, axis, name):
    """(arr, the axis), with arr flattened for axis None."""
    x = as_array(arr)
    return (ravel(x), 0) if axis is None else (x, normalize_axis(axis, x.ndim, name))


@implements(np.delete)
def delete(arr, obj, axis=None):
    """arr without the elements at places known while tracing, or at one place that is traced."""
    x, axis = _along(arr, axis, "delete")
    n = x.shape[axis]
    if not is_special(obj):
        kept = np.delete(np.arange(n), obj)
    elif as_array(obj).ndim or as_array(obj).dtype == np.bool_:
        raise TraceTypeError("delete: the size of the result depends on the values of a traced array",
                             "pass places known when the function is traced, or one traced integer")
    else:
        gone, kept = wrapped_index(as_array(obj), n, axis), np.arange(n - 1)
        kept = kept + astype(ops.greater_equal(kept, gone), np.int64)
    return take(x, kept, axis)


@implements(np.insert)
def insert(arr, obj, values, axis=None):
    """arr with values before the places obj, which are known while tracing."""
    if is_special(obj):
        raise TraceTypeError("insert: the place is a traced value", "pass a place known when the function is traced")
    x, axis = _along(arr, axis, "insert")
    n, places = x.shape[axis], np.arange(x.shape[axis])[obj] if isinstance(obj, slice) else np.asarray(obj)
    v = astype(as_array(values), x.dtype)
    v = ops.reshape(v, shape=(*(1,) * (x.ndim - v.ndim), *v.shape))
    v = moveaxis(v, 0, axis) if places.ndim == 0 else v
    count = v.shape[axis] if places.size == 1 else int(np.sum(places)) if places.dtype == np.bool_ else places.size
    v = ops.broadcast_to(v, shape=(*x.shape[:axis], count, *x.shape[axis + 1:]))
    return take(ops.concatenate(x, v, axis=axis), np.insert(np.arange(n), places, n + np.arange(count)), axis)


@implements(np.resize)
def resize(a, new_shape):
    """a repeated until it fills a shape."""
    x = ravel(as_array(a))
    shape = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    if any(n < 0 for n in shape):
        raise TraceValueError(f"resize: there is no shape {shape}", "sizes are 0 or more")
    size = math.prod(shape)
    if not x.shape[0]:
        return ops.full(shape, 0, x.dtype)
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
    axis = normalize_axis(axis, x.ndim, "unwrap")
    n, half = x.shape[axis], period / 2
    dtype = x.dtype if is_float(x.dtype) else np.dtype(np.float64)
    if n == 0:
        return astype(x, dtype)
    d = astype(slice_axis(x, axis, 1, n - 1) - slice_axis(x, axis, 0, n - 1), dtype)   # of integers it may wrap, as in NumPy
    x = astype(x, dtype)
    turned = ops.remainder(d + half, period) - half
    turned = ops.where(ops.logical_and(ops.equal(turned, -half), ops.greater(d, 0)), half, turned)
    step = ops.where(ops.less(ops.abs(d), half if discont is None else max(discont, half)), np.zeros((), x.dtype), turned - d)
    return ops.concatenate(slice_axis(x, axis, 0, 1), slice_axis(x, axis, 1, n - 1) + ops.cumsum(step, axis=axis), axis=axis)


# Functions applied along axes

@implements(np.apply_along_axis)
def apply_along_axis(func1d, axis, arr, *args, **kwargs):
    """func1d(row, *args, **kwargs) of every 1-d slice along an axis; the axes of what it gives take the place of that axis.

    The function is traced once, for all slices.
    """
    x = as_array(arr)
    axis = normalize_axis(axis, x.ndim, "apply_along_axis")
    x = moveaxis(x, axis, -1)
    apply = lambda row: as_array(func1d(row, *args, **kwargs))
    out = vmap(apply)(reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])))
    out = reshape(out, (*x.shape[:-1], *out.shape[1:]))
    added = out.ndim - (x.ndim - 1)
    return moveaxis(out, tuple(range(x.ndim - 1, out.ndim)), tuple(range(axis, axis + added)))


@implements(np.apply_over_axes)
def apply_over_axes(func, a, axes):
    """func(a, axis) applied over several axes, one after the other; each keeps its place, with size 1."""
    x = as_array(a)
    for axis in (axes,) if np.ndim(axes) == 0 else axes:
        axis = normalize_axis(axis, x.ndim, "apply_over_axes")
        out = func(x, axis)
        x = out if out.ndim == x.ndim else expand_dims(out, axis)
    return x
