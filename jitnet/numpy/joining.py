"""Arrays put together, taken apart and repeated."""
from __future__ import annotations

import itertools

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..ops.movement import slice_axis
from ..sizes import integer
from ..types import normalize_axes, normalize_axis, promote
from .protocol import as_array, astype, fresh, implements, into, is_special
from .shapes import grown, moveaxis, swapaxes


@implements(np.concatenate, np.concat)
def concatenate(arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind"):
    """Arrays one after the other along an axis; flattened first for axis None.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> jnp.concatenate([np.zeros(2), np.ones(1)])
    array([0., 0., 1.])
    """
    arrays = [as_array(a, dtype) for a in arrays]
    if not arrays:
        raise TraceValueError("concatenate: needs at least one array", "pass a list of arrays")
    if axis is None:
        arrays, axis = [ops.reshape(a, shape=(-1,)) for a in arrays], 0
    if arrays[0].ndim == 0:
        raise TraceValueError("concatenate: 0-d arrays have no axis", "use `stack`")
    value = fresh(arrays[0]) if len(arrays) == 1 else ops.concatenate(*arrays, axis=axis)
    return into(out, value, "concatenate")


@implements(np.stack)
def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    """Arrays of one shape side by side along a new axis."""
    arrays = [as_array(a, dtype) for a in arrays]
    if len({a.shape for a in arrays}) > 1:
        raise TraceValueError("stack: arrays have several shapes: " + " and ".join(str(a.shape) for a in arrays),
                              "broadcast them first")
    axis = normalize_axis(axis, arrays[0].ndim + 1, "stack")
    shape = (*arrays[0].shape[:axis], 1, *arrays[0].shape[axis:])
    return concatenate([ops.reshape(a, shape=shape) for a in arrays], axis, out)


def array(object, dtype=None, *, copy=True, ndmin=0):
    """A new array of numbers, arrays and traced values, nested in lists."""
    if isinstance(object, (list, tuple)) and is_special(object):
        parts = [array(o) for o in object]
        common = promote(*(p.dtype if not _weak(o) else _weak(o) for p, o in zip(parts, object)))
        x = stack([astype(p, common) for p in parts])
    else:
        x = as_array(object)
        x = fresh(x) if copy else x
    x = as_array(x, dtype)
    return ops.reshape(x, shape=(*(1,) * (ndmin - x.ndim), *x.shape)) if x.ndim < ndmin else x


def _weak(value):
    return type(value) if type(value) in (int, float, bool) else getattr(value, "weak", None)


@implements(np.vstack)
def vstack(tup, *, dtype=None, casting="same_kind"):
    """Arrays stacked as rows."""
    return concatenate([grown(as_array(a), 2) for a in tup], 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup, *, dtype=None, casting="same_kind"):
    """Arrays side by side along the second axis (the first of 1-d arrays)."""
    arrays = [grown(as_array(a), 1) for a in tup]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype)


@implements(np.dstack)
def dstack(tup):
    """Arrays stacked along the third axis."""
    return concatenate([grown(as_array(a), 3) for a in tup], 2)


@implements(np.column_stack)
def column_stack(tup):
    """1-d arrays as the columns of a matrix."""
    arrays = [as_array(a) for a in tup]
    return concatenate([ops.reshape(a, shape=(-1, 1)) if a.ndim < 2 else a for a in arrays], 1)


@implements(np.append)
def append(arr, values, axis=None):
    """values after arr along an axis; both flattened for axis None."""
    return concatenate([arr, values], axis)


# Taking apart, repeating

@implements(np.array_split)
def array_split(ary, indices_or_sections, axis=0):
    """Parts along an axis: at the given places, or into n parts of almost the same size."""
    x = as_array(ary)
    axis = normalize_axis(axis, x.ndim, "split")
    n = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        count = int(indices_or_sections)
        if count < 1:
            raise TraceValueError(f"split: an array has no {count} parts", "ask for one at least")
        size, longer = divmod(n, count)
        sizes = [size + 1 if k < longer else size for k in range(count)]
        ends = list(itertools.accumulate(sizes))[:-1]
    else:
        ends = [integer(k) for k in indices_or_sections]
    key = (slice(None),) * axis
    return [x[(*key, slice(a, b))] for a, b in zip([None, *ends], [*ends, None])]


@implements(np.split)
def split(ary, indices_or_sections, axis=0):
    """Parts along an axis: at the given places, or into n parts of one size."""
    n = as_array(ary).shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)) and n % indices_or_sections:
        raise TraceValueError(f"split: an axis of {n} has no {indices_or_sections} equal parts", "use `array_split`")
    return array_split(ary, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary, indices_or_sections):
    """Parts along the second axis (the first of a 1-d array)."""
    return split(ary, indices_or_sections, 0 if ary.ndim == 1 else 1)


@implements(np.vsplit)
def vsplit(ary, indices_or_sections):
    """Parts along the first axis."""
    return split(ary, indices_or_sections, 0)


@implements(np.unstack)
def unstack(x, /, *, axis=0):
    """The arrays along an axis, as a tuple."""
    x = moveaxis(as_array(x), axis, 0)
    return tuple(x[i] for i in range(x.shape[0]))


@implements(np.tile)
def tile(A, reps):
    """A repeated as a whole along each axis."""
    x = as_array(A)
    reps = tuple(reps) if isinstance(reps, (tuple, list)) else (reps,)
    n = max(x.ndim, len(reps))
    reps, shape = (1,) * (n - len(reps)) + reps, (1,) * (n - x.ndim) + x.shape
    mixed = ops.broadcast_to(ops.reshape(x, shape=tuple(k for m in shape for k in (1, m))),
                             shape=tuple(k for r, m in zip(reps, shape) for k in (r, m)))
    return ops.reshape(mixed, shape=tuple(r * m for r, m in zip(reps, shape)))


@implements(np.repeat, method="repeat")
def repeat(a, repeats, axis=None):
    """Each element repeated along an axis; flattened first for axis None."""
    x = as_array(a)
    if axis is None:
        x, axis = ops.reshape(x, shape=(-1,)), 0
    axis = normalize_axis(axis, x.ndim, "repeat")
    if is_special(repeats):
        raise TraceTypeError("repeat: the size of the result depends on a traced `repeats`",
                             "pass numbers known when the function is traced")
    counts = np.asarray(repeats)
    if counts.ndim == 0 or counts.size == 1:
        k, shape = int(counts.reshape(())), x.shape
        wide = ops.broadcast_to(ops.reshape(x, shape=(*shape[:axis + 1], 1, *shape[axis + 1:])),
                                shape=(*shape[:axis + 1], k, *shape[axis + 1:]))
        return ops.reshape(wide, shape=(*shape[:axis], shape[axis] * k, *shape[axis + 1:]))
    from .taking import take

    return take(x, np.repeat(np.arange(x.shape[axis]), counts), axis)


@implements(np.flip)
def flip(m, axis=None):
    """m with the order along axes reversed (all for None)."""
    x = as_array(m)
    axes = normalize_axes(axis, x.ndim, "flip")
    return x[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(x.ndim))]


@implements(np.flipud)
def flipud(m):
    """m with its first axis reversed."""
    return flip(m, 0)


@implements(np.fliplr)
def fliplr(m):
    """m with its second axis reversed."""
    return flip(m, 1)


@implements(np.rot90)
def rot90(m, k=1, axes=(0, 1)):
    """m turned by k quarter turns in the plane of two axes."""
    x = as_array(m)
    a, b = (normalize_axis(v, x.ndim, "rot90") for v in axes)
    k %= 4
    if k == 0:
        return x
    if k == 2:
        return flip(x, (a, b))
    return flip(swapaxes(x, a, b), a) if k == 1 else swapaxes(flip(x, a), a, b)


@implements(np.roll)
def roll(a, shift, axis=None):
    """Elements moved along axes, those that leave at one end coming in at the other."""
    x = as_array(a)
    if axis is None:
        return ops.reshape(roll(ops.reshape(x, shape=(-1,)), shift, 0), shape=x.shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    axes = axes * len(shifts) if len(axes) == 1 else axes
    for k, s in zip(axes, shifts, strict=True):
        k = normalize_axis(k, x.ndim, "roll")
        n = x.shape[k]
        s = s % n if n else 0
        if s:
            x = ops.concatenate(slice_axis(x, k, n - s, s), slice_axis(x, k, 0, n - s), axis=k)
    return fresh(x) if x is a else x
