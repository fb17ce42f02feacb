"""Elements picked by integer arrays, and written or added at such places.

The index arrays have one shape; out[k..., r...] = x[.., i0[k...], .., i1[k...], .., r...]: the index axes come first, then
the other axes of x in their order. An index below 0 or beyond its axis raises IndexError when the program runs.
"""
from __future__ import annotations

import math

import numpy as np

from ..errors import TraceTypeError
from ..op_kinds import between, gather_op
from ..types import I64, normalize_axis
from .creation import full, iota, zeros_like
from .logical import equal, where
from .movement import broadcast_to, reshape, slice_axis, to_front, transpose


def _check(types, params, name, first):
    x, indices = types[0], types[first:]
    axes = tuple(normalize_axis(a, x.ndim, name) for a in params["axes"])
    if len(axes) != len(indices) or len(set(axes)) != len(axes) or not axes:
        raise TraceTypeError(f"{name}: {len(indices)} index arrays for the axes {axes} of {x}",
                             "give one index array per axis, each axis once")
    if len({t.shape for t in indices}) != 1:
        raise TraceTypeError(f"{name}: index arrays of several shapes: " + " and ".join(map(str, indices)),
                             "broadcast them to one shape first")
    out = picked_shape(x.shape, indices[0].shape, axes)
    if first == 2 and types[1].shape != out:
        raise TraceTypeError(f"{name}: values are {types[1]}, the places have the shape {out}", "broadcast the values first")
    if first == 2:
        return {"axes": axes}
    along = params["along"]
    if along is not None and (axes != tuple(range(x.ndim)) or out[:along] + out[along + 1:] != x.shape[:along]
                              + x.shape[along + 1:]):
        raise TraceTypeError(f"{name}: along={along} does not fit {x} and index arrays {indices[0]}", "use `take_along_axis`")
    return {"axes": axes, "along": along}


def picked_shape(shape, index_shape, axes) -> tuple[int, ...]:
    """The shape that `gather` gives: index axes, then the other axes."""
    return (*index_shape, *(n for a, n in enumerate(shape) if a not in axes))


def _dtypes(first):
    def rule(dtypes):
        for d in dtypes[first:]:
            if d is float or d is bool or (not isinstance(d, type) and d.kind not in "iu"):
                raise TraceTypeError("gather: an index array must hold integers",
                                     "convert it with `astype(np.int64)`; for a mask use `where`")
        return [dtypes[0]] * first + [I64] * (len(dtypes) - first)
    return rule


def _key(x, indices, axes):
    """The NumPy index of these places, checked: NumPy would wrap negative ones."""
    for i, a in zip(indices, axes):
        if i.size and not (i.min() >= 0 and i.max() < x.shape[a]):
            bad = i.min() if i.min() < 0 else i.max()
            raise IndexError(f"index {bad} is out of bounds for axis {a} with size {x.shape[a]}")
    return tuple(indices)


def _front(x, axes):
    return np.moveaxis(x, axes, range(len(axes)))


def _batched_indices(size, indices, batched, axes):
    """Index arrays with the batch axis in front and one more for the batch axis of x; and their axes."""
    indices = [to_front(i, size, b) for i, b in zip(indices, batched)]
    return [iota(shape=indices[0].shape, axis=0, dtype=I64), *indices], (0, *(a + 1 for a in axes))


def _gather_batch(size, inputs, batched, params):
    (x, *indices), axes, along = inputs, params["axes"], params["along"]
    if not any(batched[1:]):  # the batch axis of x comes after the index axes
        out = gather(x, *indices, axes=tuple(a + 1 for a in axes))
        k = indices[0].ndim
        return [transpose(out, axes=(k, *range(k), *range(k + 1, out.ndim)))]
    if not batched[0]:
        return [gather(x, *(to_front(i, size, b) for i, b in zip(indices, batched[1:])), axes=axes)]
    indices, axes = _batched_indices(size, indices, batched[1:], axes)
    return [gather(x, *indices, axes=axes, along=None if along is None else along + 1)]


SELECTED = 4  # so many places along an axis are found by comparing: such a loop joins its neighbours, a scatter cannot


def _gather_vjp(ct, out, x, *indices, axes, along):
    if along is not None and ct.shape[along] <= SELECTED:
        position, total = iota(shape=x.shape, axis=along, dtype=I64), None
        for k in range(ct.shape[along]):
            here = equal(position, slice_axis(indices[along], along, k, 1))
            term = where(here, slice_axis(ct, along, k, 1), np.zeros((), ct.dtype))
            total = term if total is None else total + term
        return [zeros_like(x) if total is None else total, *[None] * len(indices)]
    return [scatter_add(zeros_like(x), ct, *indices, axes=axes), *[None] * len(indices)]


@gather_op(type_rule=lambda types, p: types[0].with_shape(picked_shape(types[0].shape, types[1].shape, p["axes"])),
           canonical_rule=lambda types, p: _check(types, p, "gather", 1), dtype_rule=_dtypes(1), batch=_gather_batch,
           jvp=lambda ts, out, x, *indices, **p: None if ts[0] is None else gather(ts[0], *indices, **p), vjp=_gather_vjp,
           samples=between(-3, 3))
def gather(x, *indices, axes, along=None):
    """Elements of x at the places that integer arrays of one shape give for `axes`; index axes first, then the rest of x.

    along: set by `take_along`, whose index arrays hold each element's own position on all axes but this one. It changes no
    value; a derivative may then compare positions in place of scattering.
    """
    return _front(x, axes)[_key(x, indices, axes)]


def _scatter_batch(op):
    def rule(size, inputs, batched, params):
        x, v = (to_front(a, size, b) for a, b in zip(inputs[:2], batched))
        indices, axes = _batched_indices(size, inputs[2:], batched[2:], params["axes"])
        return [op()(x, v, *indices, axes=axes)]
    return rule


def _pair(ts, x, v):
    return (zeros_like(a) if t is None else t for t, a in zip(ts, (x, v)))


@gather_op(type_rule=lambda types, p: types[0], canonical_rule=lambda types, p: _check(types, p, "scatter_add", 2),
           dtype_rule=_dtypes(2), widens=True,
           batch=_scatter_batch(lambda: scatter_add), samples=between(-3, 3),
           jvp=lambda ts, out, x, v, *indices, axes: scatter_add(*_pair(ts, x, v), *indices, axes=axes),
           vjp=lambda ct, out, x, v, *indices, axes: [ct, gather(ct, *indices, axes=axes), *[None] * len(indices)])
def scatter_add(x, v, *indices, axes):
    """x with the elements of v added at the places that `gather` would pick; a place named twice gets both."""
    out = np.array(x)
    np.add.at(_front(out, axes), _key(x, indices, axes), v)
    return out


def _set_vjp(ct, out, x, v, *indices, axes):
    into_x = scatter_set(ct, zeros_like(v), *indices, axes=axes)
    into_v = gather(ct, *indices, axes=axes)
    # a place named twice holds the last value: the others have no derivative
    shape = indices[0].shape
    size = math.prod(shape)
    order = reshape(iota(shape=(size,), axis=0, dtype=I64), shape=shape)
    places = full(tuple(x.shape[a] for a in axes), 0, I64)
    every = tuple(range(len(axes)))
    wins = equal(gather(scatter_set(places, order, *indices, axes=every), *indices, axes=every), order)
    wins = reshape(wins, shape=(*shape, *(1,) * (len(v.shape) - len(shape))))
    return [into_x, where(wins, into_v, np.zeros((), ct.dtype)), *[None] * len(indices)]


@gather_op(type_rule=lambda types, p: types[0], canonical_rule=lambda types, p: _check(types, p, "scatter_set", 2),
           dtype_rule=_dtypes(2),
           batch=_scatter_batch(lambda: scatter_set), samples=between(-3, 3), vjp=_set_vjp,
           jvp=lambda ts, out, x, v, *indices, axes: scatter_set(*_pair(ts, x, v), *indices, axes=axes))
def scatter_set(x, v, *indices, axes):
    """x with the elements of v written at the places that `gather` would pick; of a place named twice the last value stays."""
    out = np.array(x)
    _front(out, axes)[_key(x, indices, axes)] = v
    return out


def along_axis(indices, axis: int, shape) -> list:
    """Index arrays of one shape for all axes: `indices` on one of them, each element's own position on the others."""
    shape = tuple(n if a == axis else m for a, (n, m) in enumerate(zip(indices.shape, shape)))
    indices = indices if indices.shape == shape else broadcast_to(indices, shape=shape)
    return [indices if a == axis else iota(shape=shape, axis=a, dtype=I64) for a in range(len(shape))]


def take_along(x, indices, axis: int):
    """x[.., indices[..], ..] along one axis, elementwise on the others."""
    return gather(x, *along_axis(indices, axis, x.shape), axes=tuple(range(len(x.shape))), along=axis)
