"""Sorting and searching: calls of NumPy."""
from __future__ import annotations

import numpy as np

from ..errors import TraceTypeError
from ..op_kinds import between, call
from ..types import I64, normalize_axis, promote
from .creation import zeros_like
from .indexing import along_axis, scatter_add, take_along


def _axis(types, params):
    return {"axis": normalize_axis(params["axis"], types[0].ndim, "sort")}


def _sort_vjp(ct, out, x, axis):
    places = along_axis(argsort(x, axis=axis), axis, x.shape)
    return scatter_add(zeros_like(x), ct, *places, axes=tuple(range(len(x.shape))))


@call(type_rule=lambda types, p: types[0], canonical_rule=_axis, vjp=_sort_vjp, samples=between(-3, 3),
      jvp=lambda ts, out, x, axis: take_along(ts[0], argsort(x, axis=axis), axis),
      batch=lambda size, inputs, batched, p: [sort(inputs[0], axis=p["axis"] + 1)])
def sort(x, *, axis):
    """Elements in ascending order along an axis, NaN last; equals keep their order."""
    return np.sort(x, axis=axis, kind="stable")


@call(type_rule=lambda types, p: types[0].with_dtype(I64), canonical_rule=_axis, samples=between(-3, 3),
      batch=lambda size, inputs, batched, p: [argsort(inputs[0], axis=p["axis"] + 1)])
def argsort(x, *, axis):
    """Positions that sort x along an axis; equals keep their order."""
    return np.argsort(x, axis=axis, kind="stable")


def _search_type(types, params):
    x, v = types
    if x.ndim != 1:
        raise TraceTypeError(f"searchsorted: the sorted array must be 1-d, not {x}",
                             "search the rows one by one with `jitnet.vmap`")
    return v.with_dtype(I64)


def _search_batch(size, inputs, batched, params):
    from .logical import less, less_equal
    from .movement import reshape, to_front
    from .reduction import sum

    x, v = inputs
    if not batched[0]:
        return [searchsorted(x, v, side=params["side"])]
    v = to_front(v, size, batched[1])
    below = less if params["side"] == "left" else less_equal
    rows = reshape(x, shape=(size, *(1,) * (v.ndim - 1), x.shape[1]))
    from .creation import cast

    return [sum(cast(below(rows, reshape(v, shape=(*v.shape, 1))), dtype=I64), axis=(v.ndim,))]


@call(type_rule=_search_type, samples=between(-3, 3), batch=_search_batch, dtype_rule=lambda dtypes: [promote(*dtypes)] * 2)
def searchsorted(x, v, *, side="left"):
    """Where each element of v would stand in the sorted 1-d array x: before its equals ("left") or after them ("right")."""
    return np.searchsorted(x, v, side=side)
