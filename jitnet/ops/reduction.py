"""Reductions: elements combined along axes that vanish."""
from __future__ import annotations

import math

import numpy as np

from ..op_kinds import between, reduction
from .creation import cast
from .logical import equal
from .movement import broadcast_to, flip, pad, reshape, slice_axis, transpose


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


def _others(x, axis):
    """At each element the product of all others that are reduced with it: exact where some are zero, to any order of
    derivative."""
    from .cumulative import cumprod

    kept = tuple(a for a in range(len(x.shape)) if a not in axis)
    order = kept + axis
    rows = reshape(transpose(x, axes=order), shape=(*(x.shape[a] for a in kept), count(x.shape, axis)))
    last = len(kept)
    before = cumprod(_shift(rows, last, 1), axis=last)
    after = flip(cumprod(_shift(flip(rows, last), last, 1), axis=last), last)
    back = tuple(sorted(range(len(order)), key=order.__getitem__))
    return transpose(reshape(before * after, shape=tuple(x.shape[a] for a in order)), axes=back)


def _shift(x, axis, fill):
    """x moved one place on along the axis, `fill` coming in."""
    zero = tuple(0 for _ in x.shape)
    low = tuple(1 if a == axis else 0 for a in range(len(x.shape)))
    return pad(slice_axis(x, axis, 0, x.shape[axis] - 1), np.asarray(fill, x.dtype), low=low, high=zero) if x.shape[axis] else x


@reduction("mul_reduce_", identity=lambda d: 1, dtypes="sum", jvp=lambda t, out, x, axis: sum(t * _others(x, axis), axis=axis),
           vjp=lambda ct, out, x, axis: keep_axes(ct, x.shape, axis) * _others(x, axis), samples=between(-2, 2))
def prod(x, *, axis=None):
    """Product over axes."""
    return np.prod(x, axis=axis, dtype=x.dtype)


def _share_ties(x, out, axis):
    """Ones at the extreme elements, divided by how many there are."""
    ties = cast(equal(x, keep_axes(out, x.shape, axis)), dtype=x.dtype)
    return ties / keep_axes(sum(ties, axis=axis), x.shape, axis)


def _extreme_jvp(t, out, x, axis):
    return sum(t * _share_ties(x, out, axis), axis=axis)


def _extreme_vjp(ct, out, x, axis):
    return keep_axes(ct, x.shape, axis) * _share_ties(x, out, axis)


@reduction("max_reduce_", jvp=_extreme_jvp, vjp=_extreme_vjp, samples=between(-3, 3))
def max(x, *, axis=None):
    """Largest element over axes, NaN when there is one; ties share the gradient evenly."""
    return np.max(x, axis=axis)


@reduction("min_reduce_", jvp=_extreme_jvp, vjp=_extreme_vjp, samples=between(-3, 3))
def min(x, *, axis=None):
    """Smallest element over axes, NaN when there is one; ties share the gradient evenly."""
    return np.min(x, axis=axis)


@reduction("add_reduce_", identity=lambda d: 0, dtypes="bool", samples=between(-1, 1, integers=True))
def any(x, *, axis=None):
    """Whether an element over the axes holds (is not zero)."""
    return np.any(x, axis=axis)


@reduction("mul_reduce_", identity=lambda d: 1, dtypes="bool", samples=between(-1, 1, integers=True))
def all(x, *, axis=None):
    """Whether all elements over the axes hold."""
    return np.all(x, axis=axis)


def _place(function, x, axis):
    """The position that a NumPy function finds along one axis, or in row-major order along several."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    if len(axes) == 1:
        return function(x, axis=axes[0])
    kept = [a for a in range(x.ndim) if a not in axes]
    return function(np.transpose(x, (*kept, *axes)).reshape(*(x.shape[a] for a in kept), count(x.shape, axes)), axis=-1)


@reduction("argmax", dtypes="index", samples=between(-3, 3))
def argmax(x, *, axis):
    """Position of the largest element along axes (in row-major order), the first of equals; NaN counts as largest."""
    return _place(np.argmax, x, axis)


@reduction("argmin", dtypes="index", samples=between(-3, 3))
def argmin(x, *, axis):
    """Position of the smallest element along axes (in row-major order), the first of equals; NaN counts as smallest."""
    return _place(np.argmin, x, axis)


def count(shape, axis) -> int:
    """How many elements a reduction over `axis` combines."""
    return math.prod(shape[a] for a in axis)
