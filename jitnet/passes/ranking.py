"""ranking: sorts of short rows and searches in them as reductions, for a GPU: their calls of NumPy would bring the host in.

rank[i] = sum over j (x[j] stands before x[i])                 where NaN is last and equals keep their order
sort(x)[k] = max over i (where(rank[i] == k, x[i], least));    argsort(x)[k] = sum over i (where(rank[i] == k, i, 0))
searchsorted(x, v)[i] = sum over j (x[j] stands before v[i])

Every element is compared with every other one of its row: soon done where there are thousands, and no more.
"""
from __future__ import annotations

import numpy as np

from .. import ops
from ..ir import Atom, Eqn, Graph
from ..types import F32, HALVES, I64, is_float
from .rewrite import Rewriter, everywhere, rewrite, scalar
from .running import identity

LONGEST = 2048   # elements of a row: four million comparisons of one
I32 = np.dtype(np.int32)


def _apart(out: Rewriter, x: Atom, axis: int, at: int) -> Atom:
    """x with an axis of one element at `axis` or behind it: what is compared along the other one."""
    shape = x.type.shape
    return out.emit(ops.reshape, [x], shape=(*shape[:axis + at], 1, *shape[axis + at:]))


def _iota(out: Rewriter, count: int, axis: int, rank: int, dtype=I32) -> Atom:
    return out.emit(ops.iota, [], shape=tuple(count if a == axis else 1 for a in range(rank)), axis=axis, dtype=dtype)


def _before(out: Rewriter, a: Atom, b: Atom, ties) -> Atom:
    """Whether a stands before b. ties(equal): what that is for equals."""
    before, equal = out.emit(ops.less, [a, b]), out.emit(ops.equal, [a, b])
    if is_float(a.type.dtype):
        nan_a, nan_b = (out.emit(ops.not_equal, [x, x]) for x in (a, b))
        both = out.emit(ops.logical_and, [nan_a, nan_b])
        last = out.emit(ops.logical_and, [out.emit(ops.logical_not, [nan_a]), nan_b])
        before, equal = out.emit(ops.logical_or, [before, last]), out.emit(ops.logical_or, [equal, both])
    found = ties(equal)
    return before if found is None else out.emit(ops.logical_or, [before, found])


def _count(out: Rewriter, bits: Atom, axis: int, dtype=I32) -> Atom:
    total = out.emit(ops.sum, [out.emit(ops.cast, [bits], dtype=dtype)], axis=(axis,))
    return total if total.type.dtype == dtype else out.emit(ops.cast, [total], dtype=dtype)


def _chosen(out: Rewriter, x: Atom, axis: int) -> Atom:
    """Whether element i is the one that comes to place k: i along `axis`, k along the next one."""
    count, rank = x.type.shape[axis], x.type.ndim + 1
    j, i = _iota(out, count, axis, rank), _iota(out, count, axis + 1, rank)
    before = _before(out, _apart(out, x, axis, 1), _apart(out, x, axis, 0),
                     lambda equal: out.emit(ops.logical_and, [equal, out.emit(ops.less, [j, i])]))
    ranks = _apart(out, _count(out, before, axis), axis, 1)
    return out.emit(ops.equal, [ranks, i])


def _sort(out: Rewriter, eqn: Eqn) -> list[Atom]:
    (x,), axis, dtype = eqn.inputs, eqn.params["axis"], eqn.inputs[0].type.dtype
    x = out.emit(ops.cast, [x], dtype=F32) if dtype in HALVES else x
    least = scalar(identity("cummax", x.type.dtype), x.type.dtype)
    placed = out.emit(ops.where, [_chosen(out, x, axis), _apart(out, x, axis, 1), least])
    found = out.emit(ops.max, [placed], axis=(axis,))
    return [out.emit(ops.cast, [found], dtype=dtype) if dtype in HALVES else found]


def _argsort(out: Rewriter, eqn: Eqn) -> list[Atom]:
    (x,), axis = eqn.inputs, eqn.params["axis"]
    i = _iota(out, x.type.shape[axis], axis, x.type.ndim + 1, I64)
    placed = out.emit(ops.where, [_chosen(out, x, axis), i, scalar(0, I64)])
    return [out.emit(ops.sum, [placed], axis=(axis,))]


def _searchsorted(out: Rewriter, eqn: Eqn) -> list[Atom]:
    (x, v), right = eqn.inputs, eqn.params["side"] == "right"
    v = out.emit(ops.reshape, [v], shape=(*v.type.shape, 1))
    before = _before(out, x, v, lambda equal: equal if right else None)
    return [_count(out, before, v.type.ndim - 1, I64)]


def _short(eqn: Eqn) -> bool:
    shape = eqn.inputs[0].type.shape
    return 0 < shape[eqn.params.get("axis", 0)] <= LONGEST and all(a.type.size for a in eqn.inputs)


RULES = {"sort": (_short, _sort), "argsort": (_short, _argsort), "searchsorted": (_short, _searchsorted)}


@everywhere
def ranking(graph: Graph) -> Graph:
    """The graph with sorts of short rows, and searches in them, as reductions."""
    return rewrite(graph, RULES, "ranking")
