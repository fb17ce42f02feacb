"""Array methods whose signature differs from that of the function of the same name."""
from __future__ import annotations

import numpy as np

from ..errors import TraceTypeError
from ..op import METHODS
from . import creation, running, shapes, taking
from .protocol import as_array


def method_compress(x, condition, axis=None, out=None):
    """The method `x.compress(condition)`."""
    return taking.compress(condition, x, axis, out)


def view(x, dtype=None):
    """A second array on the same elements; their bytes as another dtype are not compiled."""
    if dtype is not None and np.dtype(dtype) != x.dtype:
        raise TraceTypeError(f"view: the bytes of {x.type} as {np.dtype(dtype)} are not compiled",
                             "convert the values with `astype`")
    return x[...]


def conj(x):
    """x itself, as the method `x.conj()` of a real array is; `np.conj(x)` is a copy, and integers of bools."""
    return x


def to_device(x, device=None, **_):
    """x itself: a traced value lives where the program runs."""
    return as_array(x)


METHODS |= {
    "reshape": shapes.method_reshape, "transpose": shapes.method_transpose, "flatten": shapes.flatten, "fill": creation.fill,
    "compress": method_compress, "sort": running.sort_in_place, "view": view, "conj": conj, "conjugate": conj,
    "to_device": to_device,
}
