"""Products of matrices with MXNet's rules for axes."""
from __future__ import annotations

import numpy as np

from ..errors import OperatorError
from . import infer
from .params import Bool
from .registry import operator

BLAS_THREADS_FROM = 2**18  # multiplications: from there on NumPy's BLAS wakes threads of its own, which spin and wait


def work(multiplications: int) -> int:
    """The `growth` of a product: what makes it run as a kernel where NumPy's BLAS would use threads."""
    return multiplications * 16384 // BLAS_THREADS_FROM


def _dot_work(arrays, params) -> int:
    lhs, rhs = arrays
    return work(lhs.size * rhs.size // max(rhs.shape[-1 if params.get("transpose_b") else 0] if rhs.ndim else 1, 1))


def _stack_work(arrays, params) -> int:
    lhs, rhs = arrays
    return work(lhs.size * (rhs.shape[-2 if params.get("transpose_b") else -1] if rhs.ndim > 1 else 1))


TRANSPOSED = {"transpose_a": Bool(False), "transpose_b": Bool(False)}


@operator("dot", params=TRANSPOSED, growth=_dot_work, method=True)
def dot(lhs, rhs, *, transpose_a, transpose_b):
    """The last axis of lhs summed against the first axis of rhs; vectors give the shape (1,).

    transpose_a takes the first axis of lhs instead of the last, transpose_b the last of rhs instead of the first.
    """
    if lhs.ndim == rhs.ndim == 2 and lhs.shape[not transpose_a] == rhs.shape[transpose_b]:
        return np.matmul(lhs.T if transpose_a else lhs, rhs.T if transpose_b else rhs)
    if lhs.ndim == 0 or rhs.ndim == 0:
        raise OperatorError("a 0-d array has no axis to sum over", "multiply with `*`")
    a = np.moveaxis(lhs, 0, -1) if transpose_a and lhs.ndim > 1 else lhs
    b = np.moveaxis(rhs, -1, 0) if transpose_b and rhs.ndim > 1 else rhs
    if a.shape[-1] != b.shape[0]:
        raise OperatorError(f"dot shape error: {infer.show(lhs.shape)} X {infer.show(rhs.shape)}",
                            "the last axis of lhs and the first of rhs are summed over: their sizes must agree")
    n = a.shape[-1]
    out = np.matmul(a.reshape((-1, n)) if a.ndim != 2 else a, b.reshape((n, -1)) if b.ndim != 2 else b) if n else \
        np.zeros((a.size, b.size), a.dtype)
    return out.reshape((*a.shape[:-1], *b.shape[1:]) or (1,))


@operator("batch_dot", params=TRANSPOSED, growth=_stack_work, method=True)
def batch_dot(lhs, rhs, *, transpose_a, transpose_b):
    """Products of the matrices in two stacks: (..., m, k) and (..., k, n) give (..., m, n)."""
    if lhs.ndim != rhs.ndim or lhs.ndim < 3 or lhs.shape[:-2] != rhs.shape[:-2]:
        raise OperatorError(f"batch_dot shape error: {infer.show(lhs.shape)} X {infer.show(rhs.shape)}",
                            "both need at least three axes, and the same sizes in front of the last two")
    a = np.swapaxes(lhs, -1, -2) if transpose_a else lhs
    b = np.swapaxes(rhs, -1, -2) if transpose_b else rhs
    if a.shape[-1] != b.shape[-2]:
        raise OperatorError(f"batch_dot shape error: {infer.show(lhs.shape)} X {infer.show(rhs.shape)}",
                            "columns of each left matrix and rows of the right one must agree")
    return np.matmul(a, b)


@operator("_matmul", aliases=("matmul",), growth=_stack_work)
def matmul(lhs, rhs):
    """NumPy's matrix product: stacks broadcast, vectors are rows or columns as needed."""
    return np.matmul(lhs, rhs)
