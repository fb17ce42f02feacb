"""Bodies whose gradient MXNet defines otherwise than calculus does: losses that ignore what comes after them."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import speaking_of, stated_source
from ..half import in_float32
from ..transforms import custom_vjp
from ..types import F32, HALVES


def with_gradient(forward: Callable, backward: Callable) -> Callable:
    """forward(*arrays), whose gradients are backward(arrays, out, ct): one for each array, None for zeros.

    Both compute with halves in float32: what they count and scale by has no place in 16 bits.
    """
    forward = in_float32(forward)

    def call(*arrays):
        # NumPy arrays are computed with at once: nobody differentiates them
        return forward(*arrays) if all(type(a) is np.ndarray for a in arrays) else _ruled(forward, backward)(*arrays)
    return call


def _ruled(forward: Callable, backward: Callable) -> Callable:
    """`forward` with its rule, for traced arrays."""
    function = custom_vjp(forward)
    source = stated_source()  # the rules run later: they still speak of the line that a symbol was made at

    def fwd(*arrays):
        with speaking_of(source):
            out = forward(*arrays)
        return out, (arrays, out)

    def bwd(residuals, ct):
        arrays, out = residuals
        with speaking_of(source):
            grads = backward([_wide(a) for a in arrays], _wide(out), _wide(ct))
            return tuple([g if g is None or g.dtype == a.dtype else g.astype(a.dtype) for g, a in zip(grads, arrays)])

    function.defvjp(fwd, bwd)
    return function


def _wide(x):
    return x.astype(F32) if x.dtype in HALVES else x


def one_hot(index, size: int, dtype):
    """1 at the position that `index` holds along a new last axis, 0 elsewhere; zeros for a position that is not there."""
    positions = np.arange(size).astype(index.dtype)
    return (index[..., None] == positions).astype(dtype)


def count(shape: Sequence[int]) -> int:
    """How many elements a shape has."""
    out = 1
    for n in shape:
        out *= n
    return out
