"""Movements: the same elements in other places. Each has an index map, by which it melts into the kernel that reads it."""
from __future__ import annotations

import math

import numpy as np

from ..codegen.affine import Affine, reshape_index
from ..errors import TraceTypeError
from ..op import between, movement, unbroadcast
from ..types import broadcast_shapes


def _reshape_shape(types, params):
    (t,), shape = types, tuple(params["shape"])
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise TraceTypeError(f"reshape: {shape} has more than one unknown size", "leave at most one size to be inferred with -1")
    if -1 in shape:
        known = -math.prod(shape)
        if known == 0 or t.size % known:
            raise TraceTypeError(f"reshape: {t} does not fit into shape {shape}", f"it has {t.size} elements")
        shape = tuple(t.size // known if n == -1 else n for n in shape)
    if math.prod(shape) != t.size:
        raise TraceTypeError(f"reshape: {t} does not fit into shape {shape}", f"it has {t.size} elements")
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
        raise TraceTypeError(f"transpose: {params['axes']} is no order of the axes of {types[0]}", f"name each of 0 to {ndim - 1} once")
    return {"axes": axes}


def _inverse(axes):
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


@movement(type_rule=lambda types, p: types[0].with_shape(types[0].shape[a] for a in p["axes"]), canonical_rule=_transpose_axes, jvp="linear",
          vjp=lambda ct, out, x, axes: transpose(ct, axes=_inverse(axes)), samples=between(-3, 3),
          batch=_batch_first(lambda x, p: transpose(x, axes=(0, *(a + 1 for a in p["axes"])))),
          index_map=lambda index, t, p: [index[k] for k in _inverse(p["axes"])])
def transpose(x, *, axes=None):
    """Axes in another order (reversed for None)."""
    return np.transpose(x, axes)


def _broadcast_shape(types, params):
    shape = tuple(params["shape"])
    if len(shape) < types[0].ndim or broadcast_shapes(types[0].shape, shape) != shape:
        raise TraceTypeError(f"broadcast_to: {types[0]} does not broadcast to shape {shape}", "sizes must be equal, or 1 in the array")
    return {"shape": shape}


def _broadcast_index(index, t, p):
    return [Affine() if n == 1 else i for n, i in zip(t.shape, index[len(index) - t.ndim:])]


def _broadcast_batch(x, p):
    inner = x.shape[1:]
    return broadcast_to(reshape(x, shape=(x.shape[0], *(1,) * (len(p["shape"]) - len(inner)), *inner)), shape=(x.shape[0], *p["shape"]))


@movement(type_rule=lambda types, p: types[0].with_shape(p["shape"]), canonical_rule=_broadcast_shape, jvp="linear",
          vjp=lambda ct, out, x, shape: unbroadcast(ct, x.shape), samples=between(-3, 3), batch=_batch_first(_broadcast_batch),
          index_map=_broadcast_index)
def broadcast_to(x, *, shape):
    """The elements repeated along new axes and axes of size 1."""
    return np.broadcast_to(x, shape)
