"""running: running sums, products and extremes as reductions, for a GPU: their calls of NumPy would bring the host in.

    r[j] = reduce(where(k <= j, x[k], identity), k)                     along a short axis
    r[part, j] = combine(upto[part], r[part, j] of each part alone)      along a longer one

upto[part], what the parts before it give together, is a running reduction of the parts' own results, with k < j. The order of
all additions follows from the length.
"""
from __future__ import annotations

import numpy as np

from .. import ops
from ..ir import Atom, Eqn, Graph
from ..types import BOOL, F32, HALVES, is_float
from .rewrite import Rewriter, everywhere, rewrite, scalar

PART = 64   # elements of a short axis: every one of them is read for each

RUNNING = {"cumsum": (ops.sum, ops.add), "cumprod": (ops.prod, ops.multiply), "cummax": (ops.max, ops.maximum),
           "cummin": (ops.min, ops.minimum)}
"""op -> (what reduces, what combines two)."""


def identity(name: str, dtype: np.dtype):
    """What changes nothing when it is combined."""
    if name in ("cumsum", "cumprod"):
        return int(name == "cumprod")
    if dtype == BOOL:
        return name == "cummin"
    if is_float(dtype):
        return np.inf if name == "cummin" else -np.inf
    return np.iinfo(dtype).max if name == "cummin" else np.iinfo(dtype).min


def _position(out: Rewriter, count: int, axis: int, rank: int) -> Atom:
    shape = tuple(count if a == axis else 1 for a in range(rank))
    return out.emit(ops.iota, [], shape=shape, axis=axis, dtype=np.dtype(np.int32))


def _reduce(out: Rewriter, name: str, x: Atom, axis: int) -> Atom:
    """The reduction along an axis, in the dtype of the elements: sums of narrow integers are wide."""
    total = out.emit(RUNNING[name][0], [x], axis=(axis,))
    return total if total.type.dtype == x.type.dtype else out.emit(ops.cast, [total], dtype=x.type.dtype)


def _short(out: Rewriter, name: str, x: Atom, axis: int, upto) -> Atom:
    """The running reduction along a short axis; upto: `less_equal`, or `less` to leave out each element itself."""
    shape, count, dtype = x.type.shape, x.type.shape[axis], x.type.dtype
    x = out.emit(ops.reshape, [x], shape=(*shape[:axis], 1, *shape[axis:]))
    of, place = (_position(out, count, a, len(shape) + 1) for a in (axis + 1, axis))
    chosen = out.emit(ops.where, [out.emit(upto, [of, place]), x, scalar(identity(name, dtype), dtype)])
    return _reduce(out, name, chosen, axis + 1)


def _run(out: Rewriter, name: str, x: Atom, axis: int, upto=ops.less_equal) -> Atom:
    """The running reduction along an axis."""
    shape, count = x.type.shape, x.type.shape[axis]
    if count <= PART:
        return _short(out, name, x, axis, upto)
    before, after, parts = shape[:axis], shape[axis + 1:], -(-count // PART)
    if parts * PART > count:
        high = tuple(parts * PART - count if a == axis else 0 for a in range(len(shape)))
        x = out.emit(ops.pad, [x, scalar(identity(name, x.type.dtype), x.type.dtype)], low=(0,) * len(shape), high=high)
    x = out.emit(ops.reshape, [x], shape=(*before, parts, PART, *after))
    ends = _run(out, name, _reduce(out, name, x, axis + 1), axis, ops.less)
    ends = out.emit(ops.reshape, [ends], shape=(*before, parts, 1, *after))
    whole = out.emit(RUNNING[name][1], [ends, _short(out, name, x, axis + 1, upto)])
    whole = out.emit(ops.reshape, [whole], shape=(*before, parts * PART, *after))
    if parts * PART == count:
        return whole
    return out.emit(ops.slice, [whole], start=(0,) * len(shape), size=shape, step=(1,) * len(shape))


def _rule(out: Rewriter, eqn: Eqn) -> list[Atom]:
    """The new value, in a list; halves run in float32, and are rounded once."""
    (x,), axis = eqn.inputs, eqn.params["axis"]
    dtype = x.type.dtype
    if dtype not in HALVES:
        return [_run(out, eqn.op.name, x, axis)]
    return [out.emit(ops.cast, [_run(out, eqn.op.name, out.emit(ops.cast, [x], dtype=F32), axis)], dtype=dtype)]


RULES = dict.fromkeys(RUNNING, (lambda eqn: bool(eqn.inputs[0].type.size), _rule))


@everywhere
def running(graph: Graph) -> Graph:
    """The graph with running sums, products and extremes as reductions."""
    return rewrite(graph, RULES, "running")
