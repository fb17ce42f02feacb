"""Functions of `nd` that MXNet wrote in Python: they call operators."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import OperatorError
from ..operators import find
from . import indexing
from .invoke import invoke
from .memory import host, placed, wait
from .ndarray import NDArray
from .pending import run_all


def waitall() -> None:
    """Returns once everything that was started is done; errors of operators that waited, or ran on a GPU, come up here."""
    run_all()
    wait()


def concatenate(arrays: Sequence[NDArray], axis: int = 0, always_copy: bool = True) -> NDArray:
    """The arrays one after the other along an axis."""
    if len(arrays) == 1 and not always_copy:
        return arrays[0]
    return invoke(find("Concat"), list(arrays), {"dim": axis, "num_args": len(arrays)})


def moveaxis(tensor: NDArray, source: int | Sequence[int], destination: int | Sequence[int]) -> NDArray:
    """The array with axes moved to other places; the others stay in order."""
    def axes(given) -> list[int]:
        given = [given] if isinstance(given, int) else list(given)
        wrong = next((k for k in given if not -tensor.ndim <= k < tensor.ndim), None)
        if wrong is not None:
            raise OperatorError(f"moveaxis: axis {wrong} is out of bounds for {tensor.ndim} axes", "count from 0, or from -1")
        given = [k % tensor.ndim for k in given]
        if len(set(given)) != len(given):
            raise OperatorError(f"moveaxis: repeated axis in {given}", "name each axis once")
        return given
    sources, destinations = axes(source), axes(destination)
    if len(sources) != len(destinations):
        raise OperatorError("moveaxis: `source` and `destination` arguments must have the same number of elements",
                            f"they have {len(sources)} and {len(destinations)}")
    order = [k for k in range(tensor.ndim) if k not in sources]
    for place, axis in sorted(zip(destinations, sources)):
        order.insert(place, axis)
    return invoke(find("transpose"), (tensor,), {"axes": tuple(order)})


def split_v2(ary: NDArray, indices_or_sections, axis: int = 0, squeeze_axis: bool = False):
    """Parts along an axis: so many equal ones, or cut at the indices of a tuple."""
    return ary.split_v2(indices_or_sections, axis, squeeze_axis)


def histogram(a: NDArray, bins=10, range=None) -> tuple[NDArray, NDArray]:
    """(how many elements fall into each bin, edges of the bins)."""
    edges = host(bins._data) if isinstance(bins, NDArray) else bins
    counts, edges = np.histogram(host(a._data), edges, range)
    return NDArray(placed(counts, a._ctx), a._ctx), NDArray(placed(edges.astype(a._data.dtype), a._ctx), a._ctx)


def onehot_encode(indices: NDArray, out: NDArray) -> NDArray:
    """`out` with 1 at the position that each index names along its last axis, 0 elsewhere."""
    op = find("one_hot")
    return invoke(op, (indices,), op.schema.parse({"depth": out.shape[1], "dtype": out.dtype}), out)


def boolean_mask(data: NDArray, index: NDArray, axis: int = 0) -> NDArray:
    """The slices of `data` along an axis where `index` differs from 0."""
    return indexing.read(data, (slice(None),) * axis + (host(index._data) != 0,))


def isnan(data: NDArray) -> NDArray:
    """1 where an element is NaN, else 0."""
    return data != data


def isinf(data: NDArray) -> NDArray:
    """1 where an element is an infinity, else 0."""
    return data.abs() == np.inf


def isfinite(data: NDArray) -> NDArray:
    """1 where an element is neither NaN nor an infinity, else 0."""
    return data.abs() < np.inf
