"""Base, what an NDArray holds; its methods stand in ndarray.py."""
from __future__ import annotations

import numpy as np

from ..context import Context


class Base:
    """An array on a context: `_data` lies in one piece, views of other NDArrays share their memory.

    _mask: it came from a comparison, so as an index it selects. _grad, _grad_req and _node belong to autograd: the gradient,
    how it is written, and what computed this array. _pending: while nothing has computed it yet, the Value that it waits for;
    `_data` is then empty, and whoever reads it has it computed.
    """

    __slots__ = ("__weakref__", "_ctx", "_data", "_grad", "_grad_req", "_mask", "_node", "_pending")

    def __init__(self, data: np.ndarray, ctx: Context):
        self._data, self._ctx, self._mask = data, ctx, False
        self._grad = self._grad_req = self._node = self._pending = None

    def __getattr__(self, name: str):
        if name != "_data":
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        value = self._pending
        if value is not None:
            self._data = data = value.settled()
            self._pending = None
            return data
        return object.__getattribute__(self, name)  # another thread has just filled it


def pending_array(kind: type, value, ctx: Context) -> Base:
    """An array of a class that waits for a Value."""
    array = kind.__new__(kind)
    array._pending, array._ctx, array._mask = value, ctx, False
    array._grad = array._grad_req = array._node = None
    return array
