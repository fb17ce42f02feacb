"""Running sums, products and extremes along an axis, whose derivatives are running operations again.

Compiled for a CPU they are kernels of their own (codegen/running_steps.py), on a GPU calls of NumPy.
"""
from __future__ import annotations

import numpy as np

from ..op_kinds import between, call
from ..types import I64, normalize_axis
from .creation import iota
from .indexing import along_axis, scatter_add, take_along
from .logical import equal, where
from .movement import flip, pad, slice_axis, to_front


def _axis(types, params):
    return {"axis": normalize_axis(params["axis"], types[0].ndim, "cumulative")}


def _batch_axis(op):
    """Batch rule: the batch axis stays in front."""
    return lambda size, inputs, batched, p: [op()(*(to_front(x, size, b) for x, b in zip(inputs, batched)), axis=p["axis"] + 1)]


def _same(types, params):
    return types[0]


def shift(x, axis: int, fill):
    """x moved one place on along the axis, `fill` coming in."""
    n = x.shape[axis]
    if n == 0:
        return x
    low = tuple(1 if a == axis else 0 for a in range(len(x.shape)))
    return pad(slice_axis(x, axis, 0, n - 1), np.asarray(fill, x.dtype), low=low, high=(0,) * len(low))


@call(type_rule=_same, canonical_rule=_axis, batch=_batch_axis(lambda: cumsum), jvp="linear", samples=between(-3, 3),
      vjp=lambda ct, out, x, axis: flip(cumsum(flip(ct, axis), axis=axis), axis))
def cumsum(x, *, axis):
    """Sums of all elements up to each one along an axis.

    Floats along the last axis are added in short segments, whose sums are added up then: more exact than one after the other,
    and the same bits with any number of threads. Along other axes the order is NumPy's.
    """
    return np.cumsum(x, axis=axis, dtype=x.dtype)


def _recurrence_vjp(ct, out, a, b, axis):
    # r[k] = ct[k] + a[k+1] * r[k+1]: the same recurrence, run backwards
    r = flip(linear_recurrence(shift(flip(a, axis), axis, 0), flip(ct, axis), axis=axis), axis)
    return r * shift(out, axis, 0), r


def _recurrence_jvp(ts, out, a, b, axis):
    da, db = ts
    step = db if da is None else da * shift(out, axis, 0)
    return linear_recurrence(a, step if da is None or db is None else step + db, axis=axis)


@call(type_rule=_same, canonical_rule=_axis, batch=_batch_axis(lambda: linear_recurrence), jvp=_recurrence_jvp,
      vjp=_recurrence_vjp,
      samples=between(-1, 1))
def linear_recurrence(a, b, *, axis):
    """s[k] = a[k] * s[k-1] + b[k] along an axis, from s[-1] = 0; a and b have one shape."""
    out = np.array(b)
    a, s = np.moveaxis(a, axis, 0), np.moveaxis(out, axis, 0)
    for k in range(1, len(s)):
        s[k] += a[k] * s[k - 1]
    return out


@call(type_rule=_same, canonical_rule=_axis, batch=_batch_axis(lambda: cumprod), samples=between(-2, 2),
      jvp=lambda ts, out, x, axis: linear_recurrence(x, ts[0] * shift(out, axis, 1), axis=axis),
      vjp=lambda ct, out, x, axis: _recurrence_vjp(ct, out, x, out, axis)[1] * shift(out, axis, 1))
def cumprod(x, *, axis):
    """Products of all elements up to each one along an axis."""
    return np.cumprod(x, axis=axis, dtype=x.dtype)


def _place_of_extreme(x, out, axis):
    """Where along the axis the extreme that holds at each element was last met."""
    position = iota(shape=x.shape, axis=axis, dtype=I64)
    return cummax(where(equal(x, out), position, np.zeros((), I64)), axis=axis)


def _extreme_jvp(ts, out, x, axis):
    return take_along(ts[0], _place_of_extreme(x, out, axis), axis)


def _extreme_vjp(ct, out, x, axis):
    from .creation import zeros_like

    places = along_axis(_place_of_extreme(x, out, axis), axis, x.shape)
    return scatter_add(zeros_like(x), ct, *places, axes=tuple(range(len(x.shape))))


@call(type_rule=_same, canonical_rule=_axis, batch=_batch_axis(lambda: cummax), jvp=_extreme_jvp, vjp=_extreme_vjp,
      samples=between(-3, 3))
def cummax(x, *, axis):
    """Largest of all elements up to each one along an axis."""
    return np.maximum.accumulate(x, axis=axis)


@call(type_rule=_same, canonical_rule=_axis, batch=_batch_axis(lambda: cummin), jvp=_extreme_jvp, vjp=_extreme_vjp,
      samples=between(-3, 3))
def cummin(x, *, axis):
    """Smallest of all elements up to each one along an axis."""
    return np.minimum.accumulate(x, axis=axis)
