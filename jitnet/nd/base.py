"""Base, what an NDArray holds; its methods stand in ndarray.py."""
from __future__ import annotations

import numpy as np

from ..context import Context


class Base:
    """An array on a context: `_data` lies in one piece, views of other NDArrays share their memory.

    _mask: it came from a comparison, so as an index it selects. _grad, _grad_req and _node belong to autograd: the gradient,
    how it is written, and what computed this array.
    """

    __slots__ = ("__weakref__", "_ctx", "_data", "_grad", "_grad_req", "_mask", "_node")

    def __init__(self, data: np.ndarray, ctx: Context):
        self._data, self._ctx, self._mask = data, ctx, False
        self._grad = self._grad_req = self._node = None
