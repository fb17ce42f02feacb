"""Movements: the same elements in other places. Each has an index map, by which it melts into the kernel that reads it."""
from __future__ import annotations

import builtins
import math

import numpy as np

from ..codegen.affine import Affine, reshape_index
from ..errors import TraceTypeError
from ..op_kinds import between, movement, unbroadcast
from ..types import broadcast_shapes, normalize_axis, promote
from .creation import zeros_like


def _reshape_shape(types, params):
    (t,), shape = types, tuple(params["shape"])
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise TraceTypeError(f"reshape: {shape} has more than one unknown size",
                             "leave at most one size to be inferred with -1")
    if -1 in shape:
        known = -math.prod(shape)
        if known and t.size % known == 0:
            shape = tuple(t.size // known if n == -1 else n for n in shape)
    if math.prod(shape) != t.size or -1 in shape:
        raise TraceTypeError(f"reshape: {t} does not fit into shape {shape}",
                             f"it has {t.size} elements: give sizes whose product is that")
    return {"shape": shape}


def _batch_first(function):
    """A batch rule for movements of one array whose batch axis can simply stay in front: function(x, params) -> params."""
    return lambda size, inputs, batched, params: [function(inputs[0], params)]


@movement(type_rule=lambda types, p: types[0].with_shape(p["shape"]), canonical_rule=_reshape_shape, jvp="linear",
          vjp=lambda ct, out, x, shape: reshape(ct, shape=x.shape), samples=between(-3, 3),
          batch=_batch_first(lambda x, p: reshape(x, shape=(x.shape[0], *p["shape"]))),
          index_map=lambda index, t, p: reshape_index(index, p["shape"], t.shape))
def reshape(x, *, shape):
    """The same elements, in row-major order, in another shape; one size may be -1."""
    return np.reshape(x, shape)


def _transpose_axes(types, params):
    axes = params["axes"]
    ndim = types[0].ndim
    axes = tuple(reversed(range(ndim))) if axes is None else tuple(a % ndim if -ndim <= a < ndim else a for a in axes)
    if sorted(axes) != list(range(ndim)):
        raise TraceTypeError(f"transpose: {params['axes']} is no order of the axes of {types[0]}",
                             f"name each of 0 to {ndim - 1} once")
    return {"axes": axes}


def _inverse(axes):
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


@movement(type_rule=lambda types, p: types[0].with_shape(types[0].shape[a] for a in p["axes"]), canonical_rule=_transpose_axes,
          jvp="linear",
          vjp=lambda ct, out, x, axes: transpose(ct, axes=_inverse(axes)), samples=between(-3, 3),
          batch=_batch_first(lambda x, p: transpose(x, axes=(0, *(a + 1 for a in p["axes"])))),
          index_map=lambda index, t, p: [index[k] for k in _inverse(p["axes"])])
def transpose(x, *, axes=None):
    """Axes in another order (reversed for None)."""
    return np.transpose(x, axes)


def _broadcast_shape(types, params):
    shape = tuple(params["shape"])
    if len(shape) < types[0].ndim or broadcast_shapes(types[0].shape, shape) != shape:
        raise TraceTypeError(f"broadcast_to: {types[0]} does not broadcast to shape {shape}",
                             "sizes must be equal, or 1 in the array")
    return {"shape": shape}


def _broadcast_index(index, t, p):
    return [Affine() if n == 1 else i for n, i in zip(t.shape, index[len(index) - t.ndim:])]


def _broadcast_batch(x, p):
    inner = x.shape[1:]
    return broadcast_to(reshape(x, shape=(x.shape[0], *(1,) * (len(p["shape"]) - len(inner)), *inner)),
                        shape=(x.shape[0], *p["shape"]))


@movement(type_rule=lambda types, p: types[0].with_shape(p["shape"]), canonical_rule=_broadcast_shape, jvp="linear",
          vjp=lambda ct, out, x, shape: unbroadcast(ct, x.shape), samples=between(-3, 3), batch=_batch_first(_broadcast_batch),
          index_map=_broadcast_index)
def broadcast_to(x, *, shape):
    """The elements repeated along new axes and axes of size 1."""
    return np.broadcast_to(x, shape)


def _slice_params(types, params):
    (t,), start, size = types, tuple(params["start"]), tuple(params["size"])
    step = (1,) * t.ndim if params["step"] is None else tuple(params["step"])
    if not len(start) == len(size) == len(step) == t.ndim:
        raise TraceTypeError(f"slice: start {start}, size {size} and step {step} do not fit {t}", "give one of each per axis")
    for n, first, count, k in zip(t.shape, start, size, step):
        if k == 0 or count < 0 or (count and not (0 <= first < n and 0 <= first + (count - 1) * k < n)):
            raise TraceTypeError(f"slice: start {start}, size {size}, step {step} leave the bounds of {t}",
                                 "every element must lie inside")
    return {"start": start, "size": size, "step": step}


def _slice_vjp(ct, out, x, start, size, step):
    if any(k < 0 for k in step):  # turned to run forward
        back = tuple(a for a, k in enumerate(step) if k < 0)
        start = tuple(s + (n - 1) * k if k < 0 else s for s, n, k in zip(start, size, step))
        return _slice_vjp(flip(ct, *back), out, x, start, size, tuple(abs(k) for k in step))
    if all(k == 1 for k in step):
        return pad(ct, np.zeros((), ct.dtype), low=start, high=tuple(n - s - c for n, s, c in zip(x.shape, start, size)))
    return update_slice(zeros_like(x), ct, start=start, step=step)


@movement(type_rule=lambda types, p: types[0].with_shape(p["size"]), canonical_rule=_slice_params, jvp="linear", vjp=_slice_vjp,
          samples=between(-3, 3), index_map=lambda index, t, p: [i * k + s for i, s, k in zip(index, p["start"], p["step"])],
          batch=_batch_first(lambda x, p: slice(x, start=(0, *p["start"]), size=(x.shape[0], *p["size"]),
                                                step=(1, *p["step"]))))
def slice(x, *, start, size, step=None):
    """Per axis `size` elements from `start` on, `step` apart (which may be negative)."""
    step = (1,) * len(size) if step is None else step
    stops = [s + n * k for s, n, k in zip(start, size, step)]
    return x[tuple(builtins.slice(s, None if e < 0 else e, k) if n else builtins.slice(0, 0)
                   for s, n, k, e in zip(start, size, step, stops))]


def slice_axis(x, axis: int, start: int, size: int, step: int = 1):
    """A slice along one axis; x itself where that is all of it."""
    n = len(x.shape)
    if start == 0 and size == x.shape[axis] and step == 1:
        return x
    return slice(x, start=tuple(start if a == axis else 0 for a in range(n)),
                 size=tuple(size if a == axis else x.shape[a] for a in range(n)),
                 step=tuple(step if a == axis else 1 for a in range(n)))


def flip(x, *axes: int):
    """x with the order along these axes reversed."""
    shape = x.shape
    return slice(x, start=tuple(max(n - 1, 0) if a in axes else 0 for a, n in enumerate(shape)), size=shape,
                 step=tuple(-1 if a in axes else 1 for a in range(len(shape))))


def _pad_params(types, params):
    t, low, high = types[0], tuple(params["low"]), tuple(params["high"])
    if not len(low) == len(high) == t.ndim or any(n < 0 for n in low + high) or types[1].shape:
        raise TraceTypeError(f"pad: {t} cannot be padded by {low} and {high}",
                             "give one size of 0 or more per axis, and a 0-d value")
    return {"low": low, "high": high}


def _pad_vjp(ct, out, x, value, low, high):
    inner = slice(ct, start=low, size=x.shape)
    return inner, sum_all(ct) - sum_all(inner)


def sum_all(x):
    from .reduction import sum

    return sum(x, axis=tuple(range(len(x.shape))))


def to_front(x, size: int, batched: bool):
    """x with a batch axis in front: its own, or one along which it is repeated."""
    return x if batched else broadcast_to(x, shape=(size, *x.shape))


def _pad_batch(size, inputs, batched, params):
    x, value = inputs
    low, high = params["low"], params["high"]
    if not batched[1]:
        return [pad(x, value, low=(0, *low), high=(0, *high))]
    x = to_front(x, size, batched[0])
    shape = (size, *(n + a + b for n, a, b in zip(x.shape[1:], low, high)))
    return [update_slice(broadcast_to(reshape(value, shape=(size, *(1,) * len(low))), shape=shape), x, start=(0, *low))]


def _first_dtype(dtypes):
    """Both operands in the dtype of the first."""
    return [promote(dtypes[0]) if isinstance(dtypes[0], type) else dtypes[0]] * len(dtypes)


@movement(type_rule=lambda types, p: types[0].with_shape(n + a + b for n, a, b in zip(types[0].shape, p["low"], p["high"])),
          canonical_rule=_pad_params, dtype_rule=_first_dtype, jvp="linear", vjp=_pad_vjp, batch=_pad_batch,
          samples=between(-3, 3))
def pad(x, value, *, low, high):
    """x with `low` elements of a 0-d value before it and `high` after it, per axis."""
    return np.pad(x, tuple(zip(low, high)), constant_values=value) if x.ndim else x


def _concatenate_params(types, params):
    axis = normalize_axis(params["axis"], types[0].ndim, "concatenate")
    for t in types:
        if t.ndim != types[0].ndim or any(n != m and a != axis for a, (n, m) in enumerate(zip(t.shape, types[0].shape))):
            raise TraceTypeError("concatenate: shapes do not fit: " + " and ".join(map(str, types)),
                                 f"all axes but axis {axis} must be equal")
    return {"axis": axis}


def _concatenate_type(types, params):
    axis = params["axis"]
    total = builtins.sum(t.shape[axis] for t in types)
    return types[0].with_shape(total if a == axis else n for a, n in enumerate(types[0].shape))


def _concatenate_vjp(ct, out, *arrays, axis):
    start, cts = 0, []
    for x in arrays:
        cts.append(slice_axis(ct, axis, start, x.shape[axis]))
        start += x.shape[axis]
    return cts


def _concatenate_batch(size, inputs, batched, params):
    return [concatenate(*(to_front(x, size, b) for x, b in zip(inputs, batched)), axis=params["axis"] + 1)]


@movement(type_rule=_concatenate_type, canonical_rule=_concatenate_params,
          dtype_rule=lambda dtypes: [promote(*dtypes)] * len(dtypes),
          jvp="linear", vjp=_concatenate_vjp, batch=_concatenate_batch, samples=between(-3, 3))
def concatenate(*arrays, axis=0):
    """Arrays one after the other along an axis they already have."""
    return np.concatenate(arrays, axis=axis)


def _update_params(types, params):
    x, v = types
    start = tuple(params["start"])
    step = (1,) * x.ndim if params["step"] is None else tuple(params["step"])
    fits = v.ndim == x.ndim == len(start) == len(step)
    if not fits or any(k < 1 or s < 0 or (n and s + (n - 1) * k >= m) for m, n, s, k in zip(x.shape, v.shape, start, step)):
        raise TraceTypeError(f"update_slice: {v} at {start} with steps {step} leaves the bounds of {x}",
                             "every element must lie inside")
    return {"start": start, "step": step}


def _update_vjp(ct, out, x, v, start, step):
    return update_slice(ct, zeros_like(v), start=start, step=step), slice(ct, start=start, size=v.shape, step=step)


def _update_batch(size, inputs, batched, params):
    x, v = (to_front(a, size, b) for a, b in zip(inputs, batched))
    return [update_slice(x, v, start=(0, *params["start"]), step=(1, *params["step"]))]


@movement(type_rule=lambda types, p: types[0], canonical_rule=_update_params, dtype_rule=_first_dtype, jvp="linear",
          vjp=_update_vjp, batch=_update_batch, samples=between(-3, 3))
def update_slice(x, v, *, start, step=None):
    """x with v in place of the region that begins at `start` and takes every `step`-th element (at least 1) per axis."""
    out = np.array(x)
    step = (1,) * v.ndim if step is None else step
    out[tuple(builtins.slice(s, s + n * k, k) for s, n, k in zip(start, v.shape, step))] = v
    return out
