"""The rules of `simplify` for movements (two become one, one that moves nothing vanishes), and for sums over nothing."""
from __future__ import annotations

from .. import ops
from ..ir import Atom, Const, Eqn
from ..scope import key
from ..sizes import is_open
from ..types import is_float
from .rewrite import scalar


def _repeated(s, eqn: Eqn) -> Eqn | None:
    """A movement of one value repeated everywhere is that value repeated in the new shape."""
    (x,) = eqn.inputs
    value = s.splat(x) if x.type.shape else None
    return s.becomes(eqn, ops.broadcast_to, value, shape=eqn.outputs[0].type.shape) if value is not None else None


def _reshape(s, eqn):
    (x,) = eqn.inputs
    shape = eqn.params["shape"]
    if x.type.shape == shape:
        return x  # reshape(x, its shape) -> x
    u = s.operand_of(ops.reshape, x)
    if u is not None:
        return s.becomes(eqn, ops.reshape, u, shape=shape)  # reshape(reshape(u)) -> reshape(u)
    return _repeated(s, eqn)


def _transpose(s, eqn):
    (x,) = eqn.inputs
    axes = eqn.params["axes"]
    if axes == tuple(range(len(axes))):
        return x  # transpose(x, the order it has) -> x
    inner = s.made_by(ops.transpose, x)
    if inner is not None:
        before = inner.params["axes"]
        axes = tuple([before[a] for a in axes])
        return s.becomes(eqn, ops.transpose, inner.inputs[0], axes=axes)  # transpose(transpose(u)) -> transpose(u)
    product = s.made_by(ops.matmul, x)
    if product is not None and axes == _swapped(len(axes)) and s.read_once(x):
        a, b = [s.emit(ops.transpose, [u], axes=_swapped(u.type.ndim)) for u in reversed(product.inputs)]
        return s.becomes(eqn, ops.matmul, a, b)  # (u @ v).T -> v.T @ u.T: a product reads either way, its result is in place
    return _repeated(s, eqn)


def _swapped(ndim: int) -> tuple[int, ...]:
    return (*range(ndim - 2), ndim - 1, ndim - 2)


def _broadcast_to(s, eqn):
    (x,) = eqn.inputs
    shape = eqn.params["shape"]
    if x.type.shape == shape:
        return x  # broadcast_to(x, its shape) -> x
    u = s.unspread(x)
    if u is x:
        return None
    return s.becomes(eqn, ops.broadcast_to, u, shape=shape)  # broadcast_to(broadcast_to(u)) -> broadcast_to(u)


# Slices. A region is start, size, step per axis.

def _region(eqn: Eqn):
    p = eqn.params
    return p["start"], p["size"], p["step"]


def _last(start: int, size: int, step: int) -> int:
    return start + (size - 1) * step


def _slice(s, eqn):
    (x,) = eqn.inputs
    start, size, step = _region(eqn)
    if size == x.type.shape and not any(start) and all(k == 1 or n < 2 for k, n in zip(step, size)):
        return x  # slice(x, all of it) -> x
    inner = s.definition.get(x)
    rule = _OF_SLICE.get(inner.op) if inner is not None else None
    if rule is not None and 0 not in size:
        new = rule(s, eqn, inner)
        if new is not None:
            return new
    return _repeated(s, eqn)


def _slice_of_slice(s, eqn, inner):
    start, size, step = _region(eqn)
    at, _, by = _region(inner)
    return s.becomes(eqn, ops.slice, inner.inputs[0], start=tuple([a + n * k for a, n, k in zip(at, start, by)]), size=size,
                     step=tuple([k * m for k, m in zip(step, by)]))  # slice(slice(u)) -> slice(u)


def _inside(eqn: Eqn, low, shape) -> tuple[int, ...] | None:
    """The start of a slice counted from `low` when all it takes lies in the block of that shape that begins there."""
    start, size, step = _region(eqn)
    for first, n, k, begin, extent in zip(start, size, step, low, shape):
        last = _last(first, n, k)
        if not (begin <= min(first, last) and max(first, last) < begin + extent):
            return None
    return tuple([a - b for a, b in zip(start, low)])


def _apart(eqn: Eqn, low, shape, by) -> bool:
    """Whether a slice takes nothing of the region: on some axis their ranges do not meet."""
    start, size, step = _region(eqn)
    for first, n, k, begin, extent, stride in zip(start, size, step, low, shape, by):
        last = _last(first, n, k)
        if extent == 0 or max(first, last) < begin or min(first, last) > _last(begin, extent, stride):
            return True
    return False


def _slice_of(s, eqn, source: Atom, start):
    return s.becomes(eqn, ops.slice, source, start=start, size=eqn.params["size"], step=eqn.params["step"])


def _slice_of_pad(s, eqn, inner):
    x = inner.inputs[0]
    start = _inside(eqn, inner.params["low"], x.type.shape)
    return _slice_of(s, eqn, x, start) if start is not None else None  # slice(pad(u), within u) -> slice(u)


def _slice_of_concatenate(s, eqn, inner):
    axis = inner.params["axis"]
    begin = 0
    first = min(eqn.params["start"][axis], _last(eqn.params["start"][axis], eqn.params["size"][axis], eqn.params["step"][axis]))
    for piece in inner.inputs:
        n = piece.type.shape[axis]
        if first < begin + n:
            low = tuple([begin if a == axis else 0 for a in range(piece.type.ndim)])
            start = _inside(eqn, low, piece.type.shape)
            if start is None:
                return None
            return _slice_of(s, eqn, piece, start)  # slice(concatenate(.., u, ..), within u) -> slice(u)
        begin += n
    return None


def _slice_of_update(s, eqn, inner):
    x, v = inner.inputs
    at, by = inner.params["start"], inner.params["step"]
    if _region(eqn) == (at, v.type.shape, by):
        return v  # slice(update_slice(u, v), the region that was written) -> v
    if _apart(eqn, at, v.type.shape, by):
        return _slice_of(s, eqn, x, eqn.params["start"])  # slice(update_slice(u, v), outside of it) -> slice(u)
    if all(k == 1 for k in by):
        start = _inside(eqn, at, v.type.shape)
        if start is not None:
            return _slice_of(s, eqn, v, start)  # slice(update_slice(u, v), within v) -> slice(v)
    return None


_OF_SLICE = {ops.slice: _slice_of_slice, ops.pad: _slice_of_pad, ops.concatenate: _slice_of_concatenate,
             ops.update_slice: _slice_of_update}


def _update_slice(s, eqn):
    x, v = eqn.inputs
    start, step = eqn.params["start"], eqn.params["step"]
    if v.type.shape == x.type.shape:
        return v  # update_slice(x, v) -> v when v covers it
    if 0 in v.type.shape:
        return x  # update_slice(x, nothing) -> x
    inner = s.made_by(ops.update_slice, x)
    same = inner is not None and (inner.params["start"], inner.params["step"]) == (start, step)
    if same and inner.inputs[1].type.shape == v.type.shape:
        # update_slice(update_slice(u, w), v) -> update_slice(u, v), of one region
        return s.becomes(eqn, ops.update_slice, inner.inputs[0], v, start=start, step=step)
    inner = s.made_by(ops.slice, v)
    if inner is not None and inner.inputs[0] is x and _region(inner) == (start, v.type.shape, step):
        return x  # update_slice(x, what stands there) -> x
    return None


def _same_bits(a: Atom, b: Atom) -> bool:
    """Whether two 0-d atoms are one value."""
    if type(a) is not Const or type(b) is not Const:
        return a is b
    if a.type.dtype != b.type.dtype:
        return False
    if is_open((a.value, b.value)):   # of sizes: one formula, or a guard that they differ
        return key(a.value) == key(b.value) or bool(a.value[()] == b.value[()])
    return a.value.tobytes() == b.value.tobytes()


def _pad(s, eqn):
    x, value = eqn.inputs
    low, high = eqn.params["low"], eqn.params["high"]
    if not any(low) and not any(high):
        return x  # pad(x, by nothing) -> x
    repeated = s.splat(x) if x.type.shape and 0 not in x.type.shape else None
    if repeated is not None and _same_bits(repeated, value):
        return s.becomes(eqn, ops.broadcast_to, value, shape=eqn.outputs[0].type.shape)  # pad(c everywhere, c) -> c everywhere
    inner = s.made_by(ops.pad, x)
    if inner is not None and _same_bits(inner.inputs[1], value):  # pad(pad(u, c), c) -> pad(u, c)
        return s.becomes(eqn, ops.pad, inner.inputs[0], value, low=tuple([a + b for a, b in zip(inner.params["low"], low)]),
                         high=tuple([a + b for a, b in zip(inner.params["high"], high)]))
    return None


def _concatenate(s, eqn):
    axis = eqn.params["axis"]
    pieces = tuple([a for a in eqn.inputs if a.type.shape[axis]])
    if len(pieces) == 1:
        return pieces[0]  # concatenate(x) -> x
    if pieces and len(pieces) < len(eqn.inputs):
        return s.becomes(eqn, ops.concatenate, *pieces, axis=axis)  # concatenate(x, nothing, y) -> concatenate(x, y)
    if not pieces:
        return None
    value = s.splat(pieces[0])
    if value is not None and all((other := s.splat(a)) is not None and _same_bits(value, other) for a in pieces[1:]):
        # concatenate(c everywhere, c everywhere) -> c everywhere
        return s.becomes(eqn, ops.broadcast_to, value, shape=eqn.outputs[0].type.shape)
    return _rejoined(s, eqn, pieces, axis)


def _rejoined(s, eqn, pieces, axis):
    """concatenate(slice(u, :k), slice(u, k:)) -> u: slices of one array, each going on where the one before it ends."""
    first = s.made_by(ops.slice, pieces[0])
    if first is None:
        return None
    at = first.params["start"]
    end = at[axis]
    for piece in pieces:
        part = s.made_by(ops.slice, piece)
        if part is None or part.inputs[0] is not first.inputs[0] or any(k != 1 for k in part.params["step"]):
            return None
        start = part.params["start"]
        if start[axis] != end or any(a != b for k, (a, b) in enumerate(zip(start, at)) if k != axis):
            return None
        end += piece.type.shape[axis]
    return s.becomes(eqn, ops.slice, first.inputs[0], start=at, size=eqn.outputs[0].type.shape, step=None)


# Reductions

def _reduction(s, eqn):
    (x,) = eqn.inputs
    if not eqn.params["axis"]:
        if eqn.op is ops.sum and is_float(x.type.dtype):
            return s.becomes(eqn, ops.add, x, scalar(0, x.type.dtype))  # sum(x, no axes) -> x + 0.0: the sum of -0.0 is 0.0
        return x if x.type.dtype == eqn.outputs[0].type.dtype else None  # max(x, no axes) -> x
    if eqn.op in (ops.max, ops.min, ops.any, ops.all) and 0 not in x.type.shape:
        value = s.splat(x)
        if value is not None and value.type.dtype == eqn.outputs[0].type.dtype:
            return s.shaped(eqn, value)  # max(c everywhere) -> c
    return None


def _matmul(s, eqn):
    x, (out,) = eqn.inputs[0], eqn.outputs
    if x.type.shape[-1] == 0:   # matmul(x[.., 0], y[0, ..]) -> zeros: the GPU's library takes no such product
        return s.becomes(eqn, ops.broadcast_to, scalar(0, out.type.dtype), shape=out.type.shape)
    return None


RULES = {
    ops.matmul: _matmul, ops.reshape: _reshape, ops.transpose: _transpose, ops.broadcast_to: _broadcast_to, ops.slice: _slice,
    ops.update_slice: _update_slice, ops.pad: _pad, ops.concatenate: _concatenate,
    **dict.fromkeys((ops.sum, ops.prod, ops.max, ops.min, ops.any, ops.all), _reduction),
}
