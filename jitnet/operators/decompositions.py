"""Linear algebra of stacks of matrices, `linalg_*`: the last two axes are rows and columns, all others count matrices."""
from __future__ import annotations

import numpy as np

from ..errors import OperatorError
from ..types import normalize_axis
from . import infer
from .params import Bool, Float, Int
from .registry import operator


def _square(x, name: str):
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise OperatorError(f"argument {name}: {infer.show(x.shape)} holds no square matrices", "the last two axes must agree")
    return x


def _turned(x, transpose: bool):
    return np.swapaxes(x, -1, -2) if transpose else x


def _rows_last(axis: int, *arrays):
    """Stacks whose rows lie on another axis than the last but one, brought into order."""
    return [x if normalize_axis(axis, x.ndim, "gemm") == x.ndim - 2 else np.moveaxis(x, axis, -2) for x in arrays]


GEMM = {"transpose_a": Bool(False), "transpose_b": Bool(False), "alpha": Float(1.0), "axis": Int(-2)}


@operator("_linalg_gemm", params={**GEMM, "beta": Float(1.0)}, aliases=("linalg_gemm",))
def gemm(A, B, C, *, transpose_a, transpose_b, alpha, beta, axis):
    """alpha A B + beta C, with A or B transposed on demand."""
    a, b, c = _rows_last(axis, A, B, C)
    out = np.matmul(_turned(a, transpose_a), _turned(b, transpose_b)) * A.dtype.type(alpha) + c * A.dtype.type(beta)
    return out if normalize_axis(axis, C.ndim, "gemm") == C.ndim - 2 else np.moveaxis(out, -2, axis)


@operator("_linalg_gemm2", params=GEMM, aliases=("linalg_gemm2",))
def gemm2(A, B, *, transpose_a, transpose_b, alpha, axis):
    """alpha A B, with A or B transposed on demand."""
    a, b = _rows_last(axis, A, B)
    out = np.matmul(_turned(a, transpose_a), _turned(b, transpose_b)) * A.dtype.type(alpha)
    return out if normalize_axis(axis, A.ndim, "gemm2") == A.ndim - 2 else np.moveaxis(out, -2, axis)


@operator("_linalg_syrk", params={"transpose": Bool(False), "alpha": Float(1.0)}, aliases=("linalg_syrk",))
def syrk(A, *, transpose, alpha):
    """alpha A Aᵀ, or alpha Aᵀ A with `transpose`."""
    a = _turned(A, transpose)
    return np.matmul(a, _turned(a, True)) * A.dtype.type(alpha)


TRIANGULAR = {"transpose": Bool(False), "rightside": Bool(False), "lower": Bool(True), "alpha": Float(1.0)}


@operator("_linalg_trmm", params=TRIANGULAR, aliases=("linalg_trmm",))
def trmm(A, B, *, transpose, rightside, lower, alpha):
    """alpha A B (or alpha B A with `rightside`), where only one triangle of A counts."""
    a = _turned(np.tril(A) if lower else np.triu(A), transpose)
    return (np.matmul(B, a) if rightside else np.matmul(a, B)) * A.dtype.type(alpha)


def _second(op, ins, outs, params):
    shape = infer.merge(ins[1], outs[0], "B")
    return [ins[0], shape], [shape]


@operator("_linalg_trsm", params=TRIANGULAR, aliases=("linalg_trsm",), shape_rule=_second, kernels=False)
def trsm(A, B, *, transpose, rightside, lower, alpha):
    """The X with A X = alpha B (or X A = alpha B with `rightside`), where only one triangle of A counts."""
    a = _turned(np.tril(_square(A, "A")) if lower else np.triu(_square(A, "A")), transpose)
    scaled = B * A.dtype.type(alpha)
    if rightside:
        return _turned(np.linalg.solve(_turned(a, True), _turned(scaled, True)), True)
    return np.linalg.solve(a, scaled)


@operator("_linalg_potrf", params={"lower": Bool(True)}, aliases=("linalg_potrf",), shape_rule=infer.elementwise, kernels=False)
def potrf(A, *, lower):
    """The lower triangular L with L Lᵀ = A, for a symmetric positive definite A; without `lower` the upper U with Uᵀ U = A."""
    try:
        return _turned(np.linalg.cholesky(_square(A, "A")), not lower)
    except np.linalg.LinAlgError as error:
        raise OperatorError(f"argument A: {str(error).lower()}", "pass a symmetric positive definite matrix") from None


def _inverse(x):
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError as error:
        raise OperatorError(f"argument A: {str(error).lower()}", "pass a matrix that has an inverse") from None


@operator("_linalg_potri", params={"lower": Bool(True)}, aliases=("linalg_potri",), shape_rule=infer.elementwise, kernels=False)
def potri(A, *, lower):
    """The inverse of L Lᵀ, for the lower triangular L that A holds; without `lower` of Uᵀ U, for the upper U that it holds."""
    inverse = _inverse(np.tril(_turned(_square(A, "A"), not lower)))
    return np.matmul(_turned(inverse, True), inverse)


@operator("_linalg_inverse", aliases=("linalg_inverse",), shape_rule=infer.elementwise, kernels=False)
def inverse(A):
    """The inverse."""
    return _inverse(_square(A, "A"))


def _one_per_matrix(op, ins, outs, params):
    if not infer.is_known(ins[0]):
        return list(ins), list(outs)
    return list(ins), [infer.merge(out, ins[0][:-2] or (1,), "output") for out in outs]


def _per_matrix(x):
    x = np.asarray(x) if not hasattr(x, "ndim") or isinstance(x, np.generic) else x
    return x if x.ndim else x.reshape((1,))


@operator("_linalg_det", aliases=("linalg_det",), shape_rule=_one_per_matrix, kernels=False)
def det(A):
    """The determinant of each matrix."""
    return _per_matrix(np.linalg.det(_square(A, "A")))


@operator("_linalg_slogdet", aliases=("linalg_slogdet",), output_count=2, shape_rule=_one_per_matrix, kernels=False)
def slogdet(A):
    """Sign of the determinant and logarithm of its absolute value."""
    sign, logarithm = np.linalg.slogdet(_square(A, "A"))
    return _per_matrix(sign), _per_matrix(logarithm)


def _lq_shapes(op, ins, outs, params):
    if not infer.is_known(ins[0]):
        return list(ins), list(outs)
    *stack, m, _ = ins[0]
    return list(ins), [infer.merge(outs[0], ins[0], "Q"), infer.merge(outs[1], (*stack, m, m), "L")]


@operator("_linalg_gelqf", aliases=("linalg_gelqf",), output_count=2, shape_rule=_lq_shapes, kernels=False)
def gelqf(A):
    """(Q, L) with A = L Q: rows of Q are orthonormal, L is lower triangular. A has no more rows than columns."""
    q, r = np.linalg.qr(_turned(A, True))
    return _turned(q, True), _turned(r, True)


def _eigen_shapes(op, ins, outs, params):
    if not infer.is_known(ins[0]):
        return list(ins), list(outs)
    return list(ins), [infer.merge(outs[0], ins[0], "U"), infer.merge(outs[1], ins[0][:-1], "L")]


@operator("_linalg_syevd", aliases=("linalg_syevd",), output_count=2, shape_rule=_eigen_shapes, kernels=False)
def syevd(A):
    """(U, L) with A = Uᵀ diag(L) U for a symmetric A: rows of U are eigenvectors, L their eigenvalues in ascending order.

    The element of a row that is largest in size is positive.
    """
    values, vectors = np.linalg.eigh(_square(A, "A"))
    rows = _turned(vectors, True)
    low, high = np.min(rows, axis=-1, keepdims=True), np.max(rows, axis=-1, keepdims=True)
    return np.where(-low > high, -rows, rows), values


@operator("_linalg_sumlogdiag", aliases=("linalg_sumlogdiag",))
def sumlogdiag(A):
    """The sum of the logarithms of the diagonal."""
    out = np.sum(np.log(np.diagonal(_square(A, "A"), 0, -2, -1)), axis=-1)
    return _per_matrix(out)


@operator("_linalg_extractdiag", params={"offset": Int(0)}, aliases=("linalg_extractdiag",))
def extractdiag(A, *, offset):
    """The diagonal number `offset`."""
    return np.diagonal(A, offset, -2, -1)


@operator("_linalg_makediag", params={"offset": Int(0)}, aliases=("linalg_makediag",))
def makediag(A, *, offset):
    """Matrices with the last axis on the diagonal number `offset`, zero elsewhere."""
    n = A.shape[-1] + abs(offset)
    k = np.arange(n)
    on_diagonal = k[None, :] - k[:, None] == offset
    row = np.pad(A, [(0, 0)] * (A.ndim - 1) + [(max(offset, 0), max(-offset, 0))])  # by column
    return np.where(on_diagonal, row[..., None, :], A.dtype.type(0))


def _triangle(n: int, offset: int, lower: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a triangle, in the order in which they are packed: lower ones by rows, upper ones by columns."""
    if lower if offset == 0 else offset < 0:
        return np.tril_indices(n, offset)
    return np.tril_indices(n, -offset)[::-1]


@operator("_linalg_extracttrian", params={"offset": Int(0), "lower": Bool(True)}, aliases=("linalg_extracttrian",))
def extracttrian(A, *, offset, lower):
    """The triangle below (or above) the diagonal number `offset`, packed: lower ones row by row, upper ones by columns."""
    rows, columns = _triangle(_square(A, "A").shape[-1], offset, lower)
    n = A.shape[-1]
    return np.take(A.reshape((*A.shape[:-2], n * n)), rows * n + columns, axis=-1)


@operator("_linalg_maketrian", params={"offset": Int(0), "lower": Bool(True)}, aliases=("linalg_maketrian",))
def maketrian(A, *, offset, lower):
    """Matrices with a triangle unpacked from the last axis, zero elsewhere."""
    count = A.shape[-1]
    n = next((n for n in range(1, count + abs(offset) + 2) if len(_triangle(n, offset, lower)[0]) == count), None)
    if n is None:
        raise OperatorError(f"argument A: {count} elements make no triangle with the offset {offset}", "pack n (n + 1) / 2")
    rows, columns = _triangle(n, offset, lower)
    source = np.full(n * n, count)
    source[rows * n + columns] = np.arange(count)
    padded = np.pad(A, [(0, 0)] * (A.ndim - 1) + [(0, 1)])
    return np.take(padded, source, axis=-1).reshape((*A.shape[:-1], n, n))
