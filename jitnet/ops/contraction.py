"""Matrix products."""
from __future__ import annotations

import math

import numpy as np

from ..errors import TraceTypeError
from ..op_kinds import batches_aligned, between, contraction, unbroadcast
from ..types import ArrayType, broadcast_shapes
from .movement import reshape, transpose


def _matmul_type(types, params):
    x, y = types
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-2]:
        raise TraceTypeError(f"matmul: shapes do not fit: {x} and {y}",
                             "the last axis of the first must equal the second-last of the second")
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    if batch is None:
        raise TraceTypeError(f"matmul: batch axes do not broadcast: {x} and {y}",
                             "line the axes before the last two up with `reshape`")
    return ArrayType((*batch, x.shape[-2], y.shape[-1]), x.dtype)


def swap(x):
    """x with its last two axes exchanged."""
    n = len(x.shape)
    return transpose(x, axes=(*range(n - 2), n - 1, n - 2))


def _matmul_vjp(ct, out, x, y):
    """Of a layer's weights, one matrix for the whole batch, the gradient is one product over all rows of the batch: not one
    per element, of which each would be as large as the weights."""
    dx = unbroadcast(matmul(ct, swap(y)), x.shape)
    if len(x.shape) > 2 and x.shape[:-2] == ct.shape[:-2] and all(n == 1 for n in y.shape[:-2]):
        rows = math.prod(x.shape[:-1])
        flat_x, flat_ct = (reshape(a, shape=(rows, a.shape[-1])) for a in (x, ct))
        dy = matmul(swap(flat_x), flat_ct)
        dy = dy if len(y.shape) == 2 else reshape(dy, shape=y.shape)
    else:
        dy = unbroadcast(matmul(swap(x), ct), y.shape)
    return dx, dy


def _matmul_jvp(tangents, out, x, y):
    dx, dy = tangents
    if dx is None or dy is None:
        return matmul(x, dy) if dx is None else matmul(dx, y)
    return matmul(dx, y) + matmul(x, dy)


def _matmul_batch(size, inputs, batched, params):
    return [matmul(*batches_aligned(inputs, batched))]


@contraction(type_rule=_matmul_type, jvp=_matmul_jvp, vjp=_matmul_vjp, batch=_matmul_batch, samples=between(-2, 2))
def matmul(x, y):
    """Matrix products of the last two axes, (..., m, k) by (..., k, n) -> (..., m, n); leading axes broadcast. At least 2-d
    each."""
    return np.matmul(x, y)
