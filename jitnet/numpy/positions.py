"""Positions: of elements in flattened arrays, of triangles and diagonals, of grids, and in sorted order."""
from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..ops.indexing import take_along
from ..types import I64, normalize_axis
from .protocol import as_array, astype, implements
from .taking import check_positions


@implements(np.unravel_index)
def unravel_index(indices, shape, order="C"):
    """The position along each axis of places in the flattened array; places outside of it are not noticed."""
    i, out = as_array(indices), []
    check_positions("unravel_index", i)
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    for n in sizes if order == "F" else sizes[::-1]:
        out.append(ops.remainder(i, n))
        i = ops.floor_divide(i, n)
    return tuple(out if order == "F" else out[::-1])


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index, dims, mode="raise", order="C"):
    """Places in the flattened array of positions along each axis.

    mode: "wrap" and "clip" bring positions that lie outside into the array, for all axes or one mode per axis; with "raise"
    they are not noticed.
    """
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    modes = (mode,) * len(dims) if isinstance(mode, str) else tuple(mode)
    total, pairs = 0, list(zip(multi_index, dims, modes, strict=True))
    for i, n, how in reversed(pairs) if order == "F" else pairs:
        i = astype(as_array(i), I64)
        if how == "wrap":
            i = ops.remainder(i, n)
        elif how == "clip":
            i = ops.minimum(ops.maximum(i, 0), n - 1)
        total = total * n + i
    return total


def _of_shape(numpy_function, positions):
    @implements(numpy_function)
    def indices_from(arr, k=0):
        if arr.ndim != 2:
            raise TraceValueError(f"{numpy_function.__name__}: takes a matrix, not {arr.ndim} axes", "pass two axes")
        return positions(arr.shape[0], k, arr.shape[1])
    indices_from.__name__ = numpy_function.__name__
    indices_from.__doc__ = f"{positions.__name__} of the shape of a matrix."
    return indices_from


tril_indices_from = _of_shape(np.tril_indices_from, np.tril_indices)
triu_indices_from = _of_shape(np.triu_indices_from, np.triu_indices)


@implements(np.diag_indices_from)
def diag_indices_from(arr):
    """The positions of the main diagonal of an array whose axes have one size."""
    if arr.ndim < 2 or len(set(arr.shape)) > 1:
        raise TraceValueError(f"diag_indices_from: the axes of {arr.type} have several sizes, or there is one axis",
                              "pass a square array")
    return np.diag_indices(arr.shape[0], arr.ndim)


@implements(np.ix_)
def ix_(*args):
    """The sequences as arrays that index their grid: each along an axis of its own."""
    out = []
    for k, sequence in enumerate(args):
        i = as_array(sequence)
        if i.ndim != 1:
            raise TraceValueError(f"ix_: takes 1-d sequences, not {i.ndim}-d", "flatten them first")
        if i.dtype == np.bool_:
            if not isinstance(i, np.ndarray):
                raise TraceTypeError("ix_: the size of the result depends on the values of a traced mask",
                                     "index with the mask itself, or use `jitnet.where`")
            i = np.flatnonzero(i)
        out.append(ops.reshape(i, shape=tuple(i.shape[0] if j == k else 1 for j in range(len(args)))))
    return tuple(out)


@implements(np.lexsort)
def lexsort(keys, axis=-1):
    """Positions that sort by several keys along an axis, the last key first; equals keep their order."""
    keys = [as_array(k) for k in keys]
    if len({k.shape for k in keys}) > 1:
        raise TraceValueError("lexsort: keys of the shapes " + " and ".join(str(k.shape) for k in keys),
                              "give all keys one shape")
    axis = normalize_axis(axis, keys[0].ndim, "lexsort")
    order = ops.argsort(keys[0], axis=axis)
    for key in keys[1:]:
        order = take_along(order, ops.argsort(take_along(key, order, axis), axis=axis), axis)
    return order


def _shifted(numpy_function, halves):
    @implements(numpy_function)
    def shift(x, axes=None):
        from .joining import roll

        x = as_array(x)
        axes = tuple(range(x.ndim)) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
        return roll(x, tuple(halves(x.shape[k]) for k in axes), axes)
    shift.__name__ = numpy_function.__name__
    return shift


fftshift, ifftshift = _shifted(np.fft.fftshift, lambda n: n // 2), _shifted(np.fft.ifftshift, lambda n: -(n // 2))
fftshift.__doc__ = "x with the middle of its axes where their ends were: frequency 0 in the middle."
ifftshift.__doc__ = "The inverse of `fftshift`."
