"""Histograms: how many elements fall into each bin."""
from __future__ import annotations

import builtins
import operator

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..ops.movement import slice_axis
from ..tracer import current_trace
from ..types import I64, is_float
from .creation import linspace
from .protocol import as_array, astype, implements
from .reductions import sum as sum_of
from .shapes import ravel


def _count(bins) -> int | None:
    """The number of bins where `bins` is one, None where it holds edges."""
    if isinstance(bins, (list, tuple)) or getattr(bins, "ndim", 0):
        return None
    return operator.index(bins)


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a, bins=10, range=None, weights=None):
    """The edges of `bins` bins of one width; bins that are edges already are returned."""
    if isinstance(bins, str):
        raise TraceTypeError(f"histogram: bins={bins!r} depends on the values of a traced array",
                             "pass a number of bins, or their edges")
    count = _count(bins)
    if count is None:
        return as_array(bins)
    if count < 1:
        raise TraceValueError(f"histogram: {count} bins", "pass at least one")
    x = ravel(as_array(a))
    x = x if is_float(x.dtype) else astype(x, np.float64)
    low, high = (ops.min(x, axis=0), ops.max(x, axis=0)) if range is None else map(x.dtype.type, range)
    flat = ops.equal(low, high)  # NumPy widens an empty range by one
    return linspace(ops.where(flat, low - 0.5, low), ops.where(flat, high + 0.5, high), count + 1)


def _bins_of(x, edges):
    """(the bin of each element, whether there is one); the last bin includes its right edge."""
    n = edges.shape[0] - 1
    place = ops.searchsorted(edges, x, side="right") - 1
    place = ops.where(ops.equal(x, edges[n]), n - 1, place)
    inside = ops.logical_and(ops.greater_equal(place, 0), ops.less(place, n))
    return ops.minimum(ops.maximum(place, 0), n - 1), inside


def _widths(edges):
    n = edges.shape[0] - 1
    return slice_axis(edges, 0, 1, n) - slice_axis(edges, 0, 0, n)


@implements(np.histogram)
def histogram(a, bins=10, range=None, density=None, weights=None):
    """(how many elements fall into each bin, the edges); the last bin includes its right edge."""
    x, edges = ravel(as_array(a)), histogram_bin_edges(a, bins, range)
    place, inside = _bins_of(x, edges)
    w = ops.full(x.shape, 1, I64) if weights is None else ravel(as_array(weights))
    w = ops.where(inside, w, np.zeros((), w.dtype))
    counts = ops.scatter_add(ops.full((edges.shape[0] - 1,), 0, w.dtype), w, place, axes=(0,))
    if density:
        counts = counts / _widths(edges) / sum_of(counts)
    return counts, edges


@implements(np.histogramdd)
def histogramdd(sample, bins=10, range=None, density=None, weights=None):
    """(counts as float64, one axis per coordinate; the list of edges) of the points in the rows of `sample`."""
    columns = [as_array(c) for c in sample] if isinstance(sample, (list, tuple)) else None
    if columns is None:
        x = as_array(sample)
        columns = list(x.T) if x.ndim == 2 else [x]
    d = len(columns)
    bins = [bins] * d if _count(bins) is not None else list(bins)
    if len(bins) != d or (range is not None and len(range) != d):
        raise TraceValueError(f"histogramdd: {len(bins)} bins for points with {d} coordinates", "name bins for each of them")
    edges = [histogram_bin_edges(x, b, r) for x, b, r in zip(columns, bins, range if range is not None else [None] * d)]
    w = ops.full(columns[0].shape, 1.0, np.float64) if weights is None else astype(ravel(as_array(weights)), np.float64)
    places = []
    for x, e in zip(columns, edges):
        place, inside = _bins_of(x, e)
        places.append(place)
        w = ops.where(inside, w, 0.0)
    shape = tuple(e.shape[0] - 1 for e in edges)
    counts = ops.scatter_add(ops.full(shape, 0.0, np.float64), w, *places, axes=tuple(builtins.range(d)))
    if density:
        counts = counts / sum_of(counts)
        for k, e in enumerate(edges):
            counts = counts / ops.reshape(_widths(e), shape=tuple(n if j == k else 1 for j, n in enumerate(shape)))
    return counts, edges


@implements(np.histogram2d)
def histogram2d(x, y, bins=10, range=None, density=None, weights=None):
    """(counts as float64, edges of x, edges of y) of points in the plane; bins: one number, the edges of both, or a pair."""
    if _count(bins) is None and len(bins) not in (1, 2):
        bins = [bins, bins]
    counts, (x_edges, y_edges) = histogramdd([x, y], bins, range, density, weights)
    return counts, x_edges, y_edges


@implements(np.bincount)
def bincount(x, /, weights=None, minlength=0):
    """How often each number below `minlength` occurs (or the sum of its weights); larger numbers are an error.

    A traced x needs `minlength`, as the size of the result must be known when the function is traced.
    """
    if minlength == 0:
        if current_trace() is None:
            return np.bincount(x, weights)
        raise TraceTypeError("bincount: the size of the result depends on the values of a traced array",
                             "pass minlength=, larger than every element")
    x = as_array(x)
    x = x if x.dtype != np.bool_ else astype(x, I64)
    w = ops.full(x.shape, 1, I64) if weights is None else astype(as_array(weights), np.float64)
    return ops.scatter_add(ops.full((minlength,), 0, w.dtype), w, x, axes=(0,))


@implements(np.digitize)
def digitize(x, bins, right=False):
    """The number of the bin that each element falls into; the edges ascend or descend."""
    x, edges = as_array(x), as_array(bins)
    if edges.ndim != 1:
        raise TraceValueError(f"digitize: edges of shape {edges.shape}", "give them in one axis")
    n, side = edges.shape[0], "left" if right else "right"
    if n < 2:
        return ops.searchsorted(edges, x, side=side)
    falling = n - ops.searchsorted(edges[::-1], x, side=side)
    return ops.where(ops.greater(edges[0], edges[n - 1]), falling, ops.searchsorted(edges, x, side=side))
