"""Reductions: elements combined along axes that vanish."""
from __future__ import annotations

import math

import numpy as np

from ..op import between, reduction
from .movement import broadcast_to, reshape


def keep_axes(x, like_shape, axis):
    """x with its reduced axes put back with size 1: what broadcasts against the array that was reduced."""
    return reshape(x, shape=tuple(1 if i in axis else n for i, n in enumerate(like_shape)))


def _spread(ct, x, axis):
    return broadcast_to(keep_axes(ct, x.shape, axis), shape=x.shape)


@reduction("add_reduce_", identity=lambda d: 0, dtypes="sum", jvp=lambda t, out, x, axis: sum(t, axis=axis),
           vjp=lambda ct, out, x, axis: _spread(ct, x, axis), samples=between(-3, 3))
def sum(x, *, axis=None):
    """Sum over axes (all of them for None)."""
    return np.sum(x, axis=axis, dtype=x.dtype)


def _share_ties(x, out, axis):
    """Ones at the extreme elements, divided by how many there are."""
    from .arithmetic import equal
    from .creation import cast

    ties = cast(equal(x, keep_axes(out, x.shape, axis)), dtype=x.dtype)
    return ties / keep_axes(sum(ties, axis=axis), x.shape, axis)


@reduction("max_reduce_", jvp=lambda t, out, x, axis: sum(t * _share_ties(x, out, axis), axis=axis),
           vjp=lambda ct, out, x, axis: keep_axes(ct, x.shape, axis) * _share_ties(x, out, axis), samples=between(-3, 3))
def max(x, *, axis=None):
    """Largest element over axes, NaN when there is one; ties share the gradient evenly."""
    return np.max(x, axis=axis)


def count(shape, axis) -> int:
    """How many elements a reduction over `axis` combines."""
    return math.prod(shape[a] for a in axis)
