"""Shapes: reshape, transpose and their kin. They give views, which write through as NumPy's do."""
from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..tracer import Tracer
from ..types import broadcast_shapes, normalize_axes, normalize_axis
from .protocol import as_array, fresh, implements

# Strides of views, to know when NumPy's reshape gives a view and when a copy

def strides_of(x) -> tuple[int, ...] | None:
    """The strides of a traced array in elements; None when it is contiguous."""
    view = x._view if isinstance(x, Tracer) else None
    return None if view is None else view.strides


def contiguous(shape) -> tuple[int, ...]:
    """The strides of a contiguous array."""
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def plain(strides, shape):
    """None when the strides are those of a contiguous array, else the strides."""
    if strides is None:
        return None
    return None if all(n == 1 or s == c for n, s, c in zip(shape, strides, contiguous(shape))) or 0 in shape else strides


def reshaped_strides(shape, strides, new_shape):
    """The strides after a reshape without a copy; None when there are none (NumPy copies then)."""
    axes = [(n, s) for n, s in zip(shape, strides) if n != 1]
    sizes = [n for n in new_shape if n != 1]
    out, i, j = [], 0, 0
    while i < len(axes) and j < len(sizes):
        n_old, n_new, first_i, first_j = axes[i][0], sizes[j], i, j
        while n_old != n_new:
            if n_old < n_new:
                i += 1
                n_old *= axes[i][0]
            else:
                j += 1
                n_new *= sizes[j]
        if any(axes[k][1] != axes[k + 1][1] * axes[k + 1][0] for k in range(first_i, i)):
            return None
        step, group = axes[i][1], []
        for k in range(j, first_j - 1, -1):
            group.append(step)
            step *= sizes[k]
        out += reversed(group)
        i, j = i + 1, j + 1
    rest = iter(out)
    return tuple(next(rest) if n != 1 else 0 for n in new_shape)


# Views

def _shape_argument(shape):
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = shape[0]
    for n in shape:
        if not hasattr(n, "__index__"):
            raise TraceTypeError(f"reshape: {n!r} is no size", "give whole numbers, one of which may be -1")
    return tuple(n if isinstance(n, int) else n.__index__() for n in shape)


@implements(np.reshape)
def reshape(a, /, shape=None, order="C", *, newshape=None, copy=None):
    """The same elements in another shape; one size may be -1."""
    shape = newshape if shape is None else shape
    shape = _shape_argument((shape,) if not isinstance(shape, (tuple, list)) else shape)
    x = as_array(a)
    if order in ("F",):
        return reshape(x.transpose(), tuple(reversed(shape))).transpose()
    if order not in ("C", "A", "K"):
        raise TraceValueError(f"reshape: order {order!r} is not known", "use 'C' or 'F'")
    if not isinstance(x, Tracer):
        return ops.reshape(x, shape=shape)
    if -1 in shape:
        shape = ops.reshape.canonical((x.type,), {"shape": shape})["shape"]
    old, strides = x.shape, strides_of(x)
    if strides is not None:
        strides = reshaped_strides(old, strides, shape) if x.size else contiguous(shape)
        if strides is None:  # NumPy copies here
            if copy is False:
                raise TraceValueError(f"reshape: {x.type} cannot take the shape {shape} without a copy", "leave copy=False out")
            return ops.reshape(x, shape=shape)
    if copy:
        return ops.reshape(x, shape=shape) if shape != old else fresh(x)
    return x.alias(lambda base: ops.reshape(base, shape=shape) if shape != base.shape else fresh(base),
                  lambda base, new: ops.reshape(new, shape=base.shape), key=("reshape", shape), strides=plain(strides, shape))


def method_reshape(x, *shape, order="C", copy=None):
    """The method `x.reshape(3, -1)`."""
    return reshape(x, _shape_argument(shape), order=order, copy=copy)


@implements(np.ravel, method="ravel")
def ravel(a, order="C"):
    """The elements in one axis."""
    return reshape(as_array(a), (-1,), order)


def flatten(x, order="C"):
    """A copy of the elements in one axis."""
    return fresh(ravel(x, order))


@implements(np.transpose)
def transpose(a, axes=None):
    """Axes in another order, by default reversed."""
    x = as_array(a)
    n = x.ndim
    axes = tuple(reversed(range(n))) if axes is None else tuple(normalize_axis(k, n, "transpose") for k in axes)
    if sorted(axes) != list(range(n)):
        shown = getattr(x, "type", x.shape)
        raise TraceTypeError(f"transpose: {axes} is no order of the axes of {shown}",
                             f"name each of 0 to {n - 1} once" if n else "a 0-d array has no axes")
    if not isinstance(x, Tracer):
        return ops.transpose(x, axes=axes)
    if axes == tuple(range(n)):
        return x.alias(fresh, lambda base, new: new, key=("same",), strides=strides_of(x))
    back = tuple(sorted(range(n), key=axes.__getitem__))
    old = strides_of(x) or contiguous(x.shape)
    strides = tuple(old[k] for k in axes)
    return x.alias(lambda base: ops.transpose(base, axes=axes), lambda base, new: ops.transpose(new, axes=back),
                   key=("transpose", axes),
                  strides=plain(strides, tuple(x.shape[k] for k in axes)))


def method_transpose(x, *axes):
    """The method `x.transpose(1, 0)`."""
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        return transpose(x, axes[0])
    return transpose(x, axes or None)


@implements(np.matrix_transpose)
def matrix_transpose(x):
    """x with its last two axes exchanged."""
    x = as_array(x)
    if x.ndim < 2:
        raise TraceValueError(f"matrix_transpose: {getattr(x, 'type', x.shape)} has fewer than two axes", "add an axis first")
    return swapaxes(x, -1, -2)


@implements(np.swapaxes, method="swapaxes")
def swapaxes(a, axis1, axis2):
    """a with two axes exchanged."""
    x = as_array(a)
    i, j = normalize_axis(axis1, x.ndim, "swapaxes"), normalize_axis(axis2, x.ndim, "swapaxes")
    return transpose(x, tuple(j if k == i else i if k == j else k for k in range(x.ndim)))


@implements(np.moveaxis)
def moveaxis(a, source, destination):
    """a with axes moved to other places, the others in their order."""
    x = as_array(a)
    source, destination = ([normalize_axis(k, x.ndim, "moveaxis") for k in (v if isinstance(v, (tuple, list)) else (v,))]
                           for v in (source, destination))
    if len(source) != len(destination):
        raise TraceValueError("moveaxis: source and destination have different lengths", "name as many places as axes")
    order = [k for k in range(x.ndim) if k not in source]
    for place, k in sorted(zip(destination, source)):
        order.insert(place, k)
    return transpose(x, order)


@implements(np.rollaxis)
def rollaxis(a, axis, start=0):
    """a with one axis moved before another."""
    x = as_array(a)
    axis = normalize_axis(axis, x.ndim, "rollaxis")
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


@implements(np.expand_dims)
def expand_dims(a, axis):
    """a with axes of size 1 at these places of the result."""
    x = as_array(a)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = normalize_axes(tuple(axes), x.ndim + len(axes), "expand_dims")
    rest = iter(x.shape)
    return reshape(x, tuple(1 if k in axes else next(rest) for k in range(x.ndim + len(axes))))


@implements(np.squeeze, method="squeeze")
def squeeze(a, axis=None):
    """a without its axes of size 1 (or without the ones named)."""
    x = as_array(a)
    axes = tuple(k for k, n in enumerate(x.shape) if n == 1) if axis is None else normalize_axes(axis, x.ndim, "squeeze")
    if any(x.shape[k] != 1 for k in axes):
        raise TraceValueError(f"squeeze: an axis among {axes} of shape {x.shape} has not size 1", "name axes of size 1 only")
    return reshape(x, tuple(n for k, n in enumerate(x.shape) if k not in axes))


def _read_only(base, new):
    raise TraceValueError("a broadcast array is read-only, as in NumPy", "copy it first: `x.copy()`")


@implements(np.broadcast_to)
def broadcast_to(array, shape, subok=False):
    """array repeated along new axes and axes of size 1; read-only."""
    x = as_array(array)
    shape = _shape_argument((shape,) if not isinstance(shape, (tuple, list)) else shape)
    if not isinstance(x, Tracer):
        return ops.broadcast_to(x, shape=shape)
    return x.alias(lambda base: ops.broadcast_to(base, shape=shape), _read_only, key=("broadcast", shape),
                   strides=(0,) * len(shape))


@implements(np.broadcast_arrays)
def broadcast_arrays(*args, subok=False):
    """The arrays broadcast against one another."""
    arrays = [as_array(a) for a in args]
    shape = broadcast_shapes(*(a.shape for a in arrays))
    if shape is None:
        raise TraceTypeError("broadcast_arrays: shapes do not broadcast: " + " and ".join(str(a.shape) for a in arrays),
                             "line the axes up with `reshape`")
    return tuple(broadcast_to(a, shape) for a in arrays)


def _at_least(n):
    def at_least(*arrays):
        out = [grown(as_array(a), n) for a in arrays]
        return out[0] if len(out) == 1 else tuple(out)
    at_least.__name__ = f"atleast_{n}d"
    at_least.__doc__ = f"The arrays with axes of size 1 added up to {n}."
    return at_least


def grown(x, n):
    """x with axes of size 1 added up to n, where NumPy's `atleast_nd` puts them."""
    if x.ndim >= n:
        return x
    if n == 3 and x.ndim == 2:
        return expand_dims(x, 2)
    return reshape(x, {0: (1,) * n, 1: (x.size,) if n == 1 else (1, x.size) if n == 2 else (1, x.size, 1)}[x.ndim])


atleast_1d, atleast_2d, atleast_3d = (implements(f)(_at_least(n)) for n, f in ((1, np.atleast_1d), (2, np.atleast_2d),
                                                                               (3, np.atleast_3d)))
