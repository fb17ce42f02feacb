"""Array methods whose signature differs from that of the function of the same name."""
from __future__ import annotations

from ..errors import TraceTypeError
from ..op import METHODS
from . import creation, running, shapes
from .protocol import as_array


def put(x, indices, values, mode="raise") -> None:
    """Writes values at positions of the flattened array."""
    shapes.reshape(x, (-1,))[indices] = values


def view(x, dtype=None):
    """A second array on the same elements; their bytes as another dtype are not compiled."""
    if dtype is not None and dtype != x.dtype:
        raise TraceTypeError(f"view: the bytes of {x.type} as {dtype} are not compiled", "convert the values with `astype`")
    return x[...]


def to_device(x, device=None, **_):
    """x itself: a traced value lives where the program runs."""
    return as_array(x)


METHODS |= {
    "reshape": shapes.method_reshape, "transpose": shapes.method_transpose, "flatten": shapes.flatten, "fill": creation.fill,
    "sort": running.sort_in_place, "put": put, "view": view, "to_device": to_device,
}
