"""x[key] and x[key] = value: static slices are views, integer arrays gather and scatter, masks become `where`.

A key is taken apart once (`parse`): the static part (integers, slices, None, Ellipsis) is one slice and one reshape, the
index arrays are one gather on what the slice leaves.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import ops
from ..errors import TraceIndexError, TraceOverflowError, TraceValueError
from ..op import has_priority
from ..ops.indexing import take_along
from ..ops.movement import flip
from ..sizes import integer, slice_range
from ..text import a_type
from ..tracer import Tracer
from ..types import I64, broadcast_shapes
from .masked import Masked, check_mask, same, taken
from .protocol import as_array, astype, fresh
from .shapes import contiguous, plain, strides_of


@dataclass(frozen=True)
class Key:
    """A parsed index. Per axis of the array start, size and step; `shape`: the shape after it, dropped and new axes done;
    `arrays`: (axis of that shape, index array); `first`: whether the index axes come first in the result."""

    start: tuple[int, ...]
    size: tuple[int, ...]
    step: tuple[int, ...]
    shape: tuple[int, ...]
    kept: tuple[int | None, ...]  # axis of the array behind each axis of `shape`, None for a new one
    arrays: tuple[tuple[int, object], ...]
    scalar: bool                  # an integer per axis and no Ellipsis: NumPy gives a scalar, not a view

    @property
    def static(self) -> tuple:
        return self.start, self.size, self.step, self.shape


def _is_array(k) -> bool:
    return isinstance(k, (list, np.ndarray)) or has_priority(k)


def _integer(k):
    """k as an int when it is one index known while tracing, else None."""
    if isinstance(k, (bool, np.bool_)):
        return None
    if isinstance(k, (int, np.integer)) or (isinstance(k, np.ndarray) and k.ndim == 0 and k.dtype.kind in "iu"):
        return integer(k)
    return None


def _expanded(key, x) -> list:
    """The key as a list with one entry per axis (and None for new ones): Ellipsis replaced, masks with known values made
    integers."""
    key = key if isinstance(key, tuple) else (key,)
    out, used, dots, masks = [], 0, None, []
    for k in key:
        if k is None:
            out.append(None)
        elif k is Ellipsis:
            if dots is not None:
                raise TraceIndexError("an index can only have a single ellipsis ('...')", "leave one of them out")
            dots = len(out)
            out.append(k)
        elif isinstance(k, slice) or _integer(k) is not None:
            out.append(k)
            used += 1
        elif _is_array(k) or isinstance(k, (bool, np.bool_)):
            k = as_array(k)
            if k.dtype == np.bool_:
                parts = _mask(k, x)
                masks.append((len(out), k.shape))
                out += parts
                used += len(parts)
            else:
                out.append(_index_array(k, x))
                used += 1
        else:
            raise TraceIndexError(f"{a_type(k)} cannot index an array",
                                  "use integers, slices, None, ..., integer arrays or masks")
    if used > x.ndim:
        raise TraceIndexError(f"too many indices: {used} for an array of {x.ndim} dimensions",
                              f"give {x.ndim} at most" if x.ndim else "a 0-d array takes `x[()]` and `x[...]` alone")
    fill = [slice(None)] * (x.ndim - used)
    for at, shape in masks:
        axis = sum(k is not None and k is not Ellipsis for k in out[:at]) + (len(fill) if dots is not None and dots < at else 0)
        if shape != x.shape[axis:axis + len(shape)]:
            raise TraceIndexError(f"a mask of shape {shape} does not fit axes of shape {x.shape[axis:axis + len(shape)]}",
                                  "give the mask the shape of the axes that it selects from")
    return out[:dots] + fill + out[dots + 1:] if dots is not None else out + fill


def _index_array(k, x):
    if k.size == 0 and not has_priority(k):
        return k.astype(np.int64)
    if k.dtype.kind not in "iu":
        raise TraceIndexError(f"an array of {k.dtype} cannot index",
                              "convert it with `astype(np.int64)`; for a mask use a bool array")
    return k


def _mask(k, x) -> list:
    if has_priority(k):
        raise TraceIndexError("a traced mask among other indices: the size of the result depends on its values",
                              "use `jitnet.where(mask, x, other)`, or a mask alone: `x[:, 0][mask] = value`")
    if k.ndim == 0:
        raise TraceIndexError("a single bool cannot index a traced array", "use `if`, or `jitnet.where`")
    return list(k.nonzero())


def parse(key, x) -> Key:
    """The parsed key for an array; TraceIndexError where it does not fit."""
    parts = _expanded(key, x)
    start, size, step, shape, kept, arrays = [], [], [], [], [], []
    axis, scalar = 0, Ellipsis not in [k for k in (key if isinstance(key, tuple) else (key,)) if not _is_array(k)]
    for k in parts:
        if k is None:
            shape.append(1)
            kept.append(None)
            scalar = False
            continue
        n = x.shape[axis]
        number = _integer(k)
        if isinstance(k, slice):
            try:
                first, _, by, count = slice_range(k, n)
            except TypeError:
                raise TraceIndexError("a slice needs integers known while tracing",
                                      "use `jitnet.numpy.take` with an index array, or "
                                      "`x[i + jitnet.numpy.arange(n)]` for n elements from a traced i") from None
            start.append(first if count else 0)
            size.append(count)
            step.append(by if count > 1 else 1)
            scalar = False
        elif number is not None:
            if not -n <= number < n:
                raise TraceIndexError(f"index {number} is out of bounds for axis {axis} with size {n}",
                                      f"indices go from {-n} to {n - 1}" if n else
                                      "the axis is empty")
            start.append(number if number >= 0 else number + n)
            size.append(1)
            step.append(1)
            axis += 1
            continue
        else:
            arrays.append((len(shape), k))
            start.append(0)
            size.append(n)
            step.append(1)
            scalar = False
        shape.append(size[-1])
        kept.append(axis)
        axis += 1
    return Key(tuple(start), tuple(size), tuple(step), tuple(shape), tuple(kept), tuple(arrays), scalar)


# Static part: a slice and a reshape

def _read(base, key: Key):
    part = base if key.size == base.shape and all(k == 1 for k in key.step) else ops.slice(base, start=key.start,
                                                                                           size=key.size, step=key.step)
    if part.shape != key.shape:
        return ops.reshape(part, shape=key.shape)
    return fresh(part) if part is base else part


def _write(base, key: Key, new):
    """base with the region of the key replaced by `new`."""
    if new.shape != key.size:
        new = ops.reshape(new, shape=key.size)
    start, step = key.start, key.step
    if any(k < 0 for k in step):
        new = flip(new, *(a for a, k in enumerate(step) if k < 0))
        start = tuple(s + (n - 1) * k if k < 0 else s for s, n, k in zip(start, key.size, step))
        step = tuple(map(abs, step))
    if key.size == base.shape:
        return new
    return ops.update_slice(base, new, start=start, step=step)


def _view_strides(x, key: Key):
    old = strides_of(x) or contiguous(x.shape)
    return plain(tuple(0 if a is None else old[a] * key.step[a] for a in key.kept), key.shape)


# Index arrays: one gather on what the static part leaves

def wrapped_index(i, n: int, axis: int):
    """Index array with negative entries counted from the end, as int64; checked now when its values are known."""
    if not has_priority(i):
        i = np.asarray(i, np.int64)
        if i.size and not (-n <= i.min() and i.max() < n):
            bad = i.min() if i.min() < -n else i.max()
            raise TraceIndexError(f"index {bad} is out of bounds for axis {axis} with size {n}",
                                  f"indices go from {-n} to {n - 1}")
        return np.where(i < 0, i + n, i)
    unsigned = i.dtype.kind == "u"
    i = astype(i, I64)
    return i if unsigned else ops.where(ops.less(i, 0), i + n, i)


def _places(key: Key):
    """(index arrays of one shape, their axes, where the index axes stand in the result)."""
    axes = tuple(a for a, _ in key.arrays)
    indices = [wrapped_index(i, key.shape[a], a) for a, i in key.arrays]
    shape = broadcast_shapes(*(i.shape for i in indices))
    if shape is None:
        raise TraceIndexError("index arrays do not broadcast: " + " and ".join(str(i.shape) for i in indices),
                              "give them shapes that broadcast")
    indices = [i if i.shape == shape else ops.broadcast_to(i, shape=shape) for i in indices]
    together = axes[-1] - axes[0] == len(axes) - 1
    return indices, axes, axes[0] if together else 0


def getitem(x: Tracer, raw):
    """x[raw]: a view for a static key, a gather for index arrays, a `Masked` for a traced mask."""
    if has_priority(raw) and raw.dtype == np.bool_ and isinstance(x, Tracer):
        return taken(x, raw)
    key = parse(raw, x)
    if not key.arrays:
        if key.scalar and not key.shape:
            return _read(Tracer(x.owner, x.current(), mutable=False) if isinstance(x, Tracer) else x, key)
        if not isinstance(x, Tracer):
            return _read(x, key)
        out = x.alias(lambda base: _read(base, key), lambda base, new: _write(base, key, new), key=key.static,
                      strides=_view_strides(x, key))
        out.mutable = True
        return out
    if isinstance(x, Tracer) and all(i.ndim == 0 for _, i in key.arrays) and len(key.shape) > len(key.arrays):
        # an integer known only when the program runs: a view, as with a plain integer
        return x.alias(lambda base: _gather(base, raw, key), lambda base,
                       new: _scattered_into(base, raw, key, new, ops.scatter_set))
    return _gather(x, raw, key)


def _own_position(i, n: int) -> bool:
    """Whether an index array is 0, 1, ... n - 1: an `arange`, with known values or traced."""
    if isinstance(i, Tracer):
        return i.owner.created.get(i._atom) == (n,)
    return i.shape == (n,) and bool((i == np.arange(n)).all())


def _gather(x, raw, key: Key):
    if len(key.arrays) == 2 and len(key.shape) == 2:
        (_, rows), (_, places) = key.arrays
        if places.ndim == 1 and places.shape[0] == key.shape[0] and _own_position(rows, key.shape[0]):
            # x[arange(n), i]: one element of each row, whose derivative needs no scatter
            picked = take_along(_read(x, key), ops.reshape(wrapped_index(places, key.shape[1], 1), shape=(-1, 1)), 1)
            return ops.reshape(picked, shape=(-1,))
    indices, axes, place = _places(key)
    place = 0 if _scattered(raw, x) else place
    return move_index_axes(ops.gather(_read(x, key), *indices, axes=axes), indices[0].ndim, place)


def _scattered(raw, x) -> bool:
    """Whether the index axes go first because slices or None stand between index arrays and integers (which NumPy counts as
    index arrays)."""
    advanced = [k is not None and not isinstance(k, slice) for k in _expanded(raw, x)]
    first, last = advanced.index(True), len(advanced) - 1 - advanced[::-1].index(True)
    return not all(advanced[first:last + 1])


def move_index_axes(out, rank: int, place: int):
    """A gather's result with its first `rank` axes moved to `place`."""
    if place == 0 or rank == 0:
        return out
    rest = list(range(rank, out.ndim))
    return ops.transpose(out, axes=(*rest[:place], *range(rank), *rest[place:]))


def setitem(x: Tracer, raw, value) -> None:
    """x[raw] = value: the rest of x stays; the value is cast to the dtype of x and broadcast."""
    x.check_writable()
    mask = as_array(raw) if isinstance(raw, list) or not isinstance(raw, (tuple, slice, type(None), type(Ellipsis),
                                                                          int)) else None
    if mask is not None and mask.dtype == np.bool_ and (
            has_priority(mask) or (mask.ndim and (isinstance(value, Masked) or as_array(value).ndim == 0))):
        return _set_masked(x, mask, value)
    key = parse(raw, x)
    if not key.arrays:
        view = value._view if isinstance(value, Tracer) else None
        if view is not None and view.base is x and view.key == key.static:
            value.current()
            return None  # `x[a:b] += v`: the view has written itself already
        x.assign(plain_value(x, _write(now(x), key, fitted(value, x, key.shape))))
        return None
    _scatter(x, raw, key, value, ops.scatter_set)
    return None


def add_at(x: Tracer, raw, value) -> None:
    """np.add.at(x, raw, value): a place named several times gets every addend."""
    x.check_writable()
    key = parse(raw, x)
    if key.arrays:
        _scatter(x, raw, key, value, ops.scatter_add)
    else:
        x[raw] += value


def now(x: Tracer) -> Tracer:
    return Tracer(x.owner, x.current())


def plain_value(x: Tracer, value) -> Tracer:
    return Tracer(x.owner, x.owner.atom(value, x.dtype))


def fitted(value, x, shape):
    """The value cast to the dtype of x and broadcast to a shape, as an assignment does."""
    try:
        value = np.asarray(value, x.dtype) if type(value) is int else as_array(value, x.dtype)
    except OverflowError as error:
        raise TraceOverflowError(f"assignment: {error}", "use a wider dtype") from None
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = ops.reshape(value, shape=value.shape[1:])
    if value.shape == shape:
        return value
    if len(value.shape) > len(shape) or broadcast_shapes(value.shape, shape) != shape:
        raise TraceValueError(f"could not broadcast a value of shape {value.shape} into a region of shape {shape}",
                              "give the value the shape of the region")
    # an equation, even of a constant: as an array, it would be kept beside the program, one for every size
    return ops.broadcast_to(plain_value(x, value) if isinstance(x, Tracer) and not isinstance(value, Tracer) else value,
                            shape=shape)


def _scattered_into(base, raw, key: Key, value, op):
    """base with the value written (or added) at the places of a key with index arrays."""
    part = _read(base, key)
    indices, axes, place = _places(key)
    place = 0 if _scattered(raw, base) else place
    rank = indices[0].ndim
    rest = tuple(n for a, n in enumerate(part.shape) if a not in axes)
    value = fitted(value, base, (*rest[:place], *indices[0].shape, *rest[place:]))
    if place and rank:
        value = ops.transpose(value, axes=(*range(place, place + rank), *range(place), *range(place + rank, value.ndim)))
    return _write(base, key, op(part, value, *indices, axes=axes))


def _scatter(x: Tracer, raw, key: Key, value, op) -> None:
    x.assign(plain_value(x, _scattered_into(now(x), raw, key, value, op)))


def _set_masked(x: Tracer, mask, value) -> None:
    """x[mask] = value for a traced mask of leading axes: every element is written where the mask holds."""
    check_mask(x, mask)
    if isinstance(value, Masked):   # as many as the places, if it is the same mask
        if value.values.shape != x.shape or not same(mask, value.mask):
            value.refuse()
        x.assign(plain_value(x, ops.where(value.spread(), astype(value.values, x.dtype), now(x))))
        return
    value = astype(as_array(value), x.dtype)
    rest = x.shape[mask.ndim:]
    if broadcast_shapes(value.shape, (1, *rest)) != (1, *rest):
        raise TraceIndexError(f"x[mask] = value: a value of shape {value.shape} would be spread over an unknown number of "
                              f"places",
                              "assign one value (or one per trailing axis), or use `jitnet.where(mask, value, x)` with a "
                              "value for every element")
    value = ops.reshape(value, shape=value.shape[value.ndim - len(rest):]) if value.ndim > len(rest) else value
    mask = ops.reshape(mask, shape=(*mask.shape, *(1,) * len(rest)))
    x.assign(plain_value(x, ops.where(mask, value, now(x))))
