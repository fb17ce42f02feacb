"""Linear algebra: systems of equations, factors, determinants and norms of the matrices in the last two axes.

What is no sum of products is a call of NumPy and LAPACK from the compiled program; `explain` names it.
"""
import math

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..promotion import float_rule
from ..types import I64
from . import products
from .products import matmul as matmul
from .products import matrix_norm as matrix_norm
from .products import matrix_power as matrix_power
from .products import multi_dot as multi_dot
from .products import norm as norm
from .products import same_dtype
from .products import tensordot as tensordot
from .products import vecdot as vecdot
from .products import vector_norm as vector_norm
from .protocol import as_array, astype, implements
from .shapes import matrix_transpose as matrix_transpose
from .shapes import moveaxis

cross, diagonal, outer, trace = (products.linalg_cross, products.linalg_diagonal, products.linalg_outer,
                                 products.linalg_trace)

EighResult, QRResult, SlogdetResult, SVDResult = (
    type(f(np.eye(1))) for f in (np.linalg.eigh, np.linalg.qr, np.linalg.slogdet, np.linalg.svd))


def _matrices(x):
    """x as an array of floats."""
    x = as_array(x)
    return astype(x, float_rule(x.dtype))


@implements(np.linalg.solve)
def solve(a, b):
    """The x with a x = b: b is one vector (1-d), or has a right side per column."""
    a, b = same_dtype(_matrices(a), _matrices(b))
    if b.ndim != 1:
        return ops.solve(a, b)
    x = ops.solve(a, ops.reshape(b, shape=(*b.shape, 1)))
    return ops.reshape(x, shape=x.shape[:-1])


@implements(np.linalg.inv)
def inv(a):
    """The inverses of square matrices."""
    return ops.inv(_matrices(a))


@implements(np.linalg.det)
def det(a):
    """The determinants of square matrices."""
    return ops.det(_matrices(a))


@implements(np.linalg.slogdet)
def slogdet(a):
    """(sign, logabsdet) of the determinants of square matrices."""
    return SlogdetResult(*ops.slogdet(_matrices(a)))


@implements(np.linalg.tensorsolve)
def tensorsolve(a, b, axes=None):
    """The x for which the sums of a * x over the last axes of a, as many as x has, are b."""
    a, b = as_array(a), as_array(b)
    if axes is not None:
        a = moveaxis(a, tuple(axes), tuple(range(a.ndim - len(axes), a.ndim)))
    shape = a.shape[b.ndim:]
    x = solve(ops.reshape(a, shape=(-1, math.prod(shape))), ops.reshape(b, shape=(-1,)))
    return ops.reshape(x, shape=shape)


@implements(np.linalg.tensorinv)
def tensorinv(a, ind=2):
    """The inverse of a for `tensordot` over its first `ind` axes."""
    a = as_array(a)
    shape = a.shape[ind:] + a.shape[:ind]
    return ops.reshape(inv(ops.reshape(a, shape=(math.prod(a.shape[:ind]), -1))), shape=shape)


@implements(np.linalg.cholesky)
def cholesky(a, /, *, upper=False):
    """The lower (or `upper`) triangular factors of symmetric positive definite matrices."""
    a = _matrices(a)
    return matrix_transpose(ops.cholesky(matrix_transpose(a))) if upper else ops.cholesky(a)


@implements(np.linalg.qr)
def qr(a, mode="reduced"):
    """(Q, R) of matrices; R alone for mode="r"."""
    if mode not in ("reduced", "complete", "r"):
        raise TraceValueError(f"qr: there is no mode {mode!r} here", "use 'reduced', 'complete' or 'r'")
    q, r = ops.qr(_matrices(a), complete=mode == "complete")
    return r if mode == "r" else QRResult(q, r)


@implements(np.linalg.svd)
def svd(a, full_matrices=True, compute_uv=True, hermitian=False):
    """(U, S, Vh) of matrices, or S alone. `hermitian` asks for nothing more: the general method runs."""
    if not compute_uv:
        return svdvals(a)
    return SVDResult(*ops.svd(_matrices(a), full_matrices=bool(full_matrices)))


@implements(np.linalg.svdvals)
def svdvals(x, /):
    """The singular values of matrices, in descending order."""
    return ops.svd(_matrices(x), full_matrices=False)[1]


@implements(np.linalg.eigh)
def eigh(a, UPLO="L"):
    """(eigenvalues in ascending order, eigenvectors) of symmetric matrices, of which the lower ("L") or upper triangle is
    read."""
    return EighResult(*ops.eigh(_matrices(a), lower=UPLO.upper() == "L"))


@implements(np.linalg.eigvalsh)
def eigvalsh(a, UPLO="L"):
    """The eigenvalues of symmetric matrices, in ascending order."""
    return eigh(a, UPLO)[0]


def _small(s, rtol, shape):
    """Which singular values count as zero: those up to rtol times the largest."""
    rtol = max(shape) * np.finfo(s.dtype).eps if rtol is None else rtol
    return ops.less_equal(s, s[..., :1] * _per_matrix(rtol, s.dtype))


def _per_matrix(limit, dtype):
    """One limit, or one per matrix, to be compared with singular values in the last axis."""
    limit = astype(as_array(limit), dtype)
    return ops.reshape(limit, shape=(*limit.shape, 1))


@implements(np.linalg.pinv)
def pinv(a, rcond=None, hermitian=False, *, rtol=None):
    """The pseudo-inverses of matrices; singular values up to `rtol` (1e-15) times the largest count as zero."""
    a = _matrices(a)
    cutoff = rtol if rtol is not None else rcond if rcond is not None else 1e-15
    u, s, vh = ops.svd(a, full_matrices=False)
    zero = _small(s, cutoff, a.shape[-2:])
    one = np.ones((), s.dtype)
    inverse = ops.where(zero, np.zeros((), s.dtype), one / ops.where(zero, one, s))
    return ops.matmul(matrix_transpose(vh) * inverse[..., None, :], matrix_transpose(u))


@implements(np.linalg.matrix_rank)
def matrix_rank(A, tol=None, hermitian=False, *, rtol=None):
    """How many singular values are larger than `tol`, or than `rtol` times the largest."""
    a = _matrices(A)
    if a.ndim < 2:
        return ops.cast(ops.any(ops.not_equal(a, np.zeros((), a.dtype)), axis=tuple(range(a.ndim))), dtype=I64)
    s = svdvals(a)
    zero = ops.less_equal(s, _per_matrix(tol, s.dtype)) if tol is not None else _small(s, rtol, a.shape[-2:])
    return ops.sum(ops.cast(ops.logical_not(zero), dtype=I64), axis=(zero.ndim - 1,))


@implements(np.linalg.cond)
def cond(x, p=None):
    """The condition numbers of matrices in the norm of order p (None: 2)."""
    a = _matrices(x)
    if p in (None, 2, -2):
        s = svdvals(a)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return norm(a, p, (-2, -1)) * norm(inv(a), p, (-2, -1))


@implements(np.linalg.lstsq)
def lstsq(a, b, rcond=None):
    """(x, residuals, rank, s): the x of least norm for which |a x - b| is least.

    Residuals are there when a has more rows than columns; NumPy leaves them out for a matrix of lower rank, which shows only
    when the program runs.
    """
    a, b = same_dtype(_matrices(a), _matrices(b))
    if a.ndim != 2 or b.ndim not in (1, 2) or a.shape[0] != b.shape[0]:
        raise TraceTypeError(f"lstsq: shapes do not fit: {a.shape} and {b.shape}",
                             "a is a matrix, b a vector or a matrix with as many rows")
    columns = ops.reshape(b, shape=(*b.shape, 1)) if b.ndim == 1 else b
    rtol = max(a.shape) * np.finfo(a.dtype).eps if rcond is None else rcond
    x = ops.matmul(pinv(a, rtol=rtol), columns)
    left = ops.matmul(a, x) - columns
    residuals = ops.sum(left * left, axis=(0,)) if a.shape[0] > a.shape[1] else np.zeros(0, a.dtype)
    s = svdvals(a)
    x = ops.reshape(x, shape=x.shape[:-1]) if b.ndim == 1 else x
    return x, residuals, astype(matrix_rank(a, rtol=rtol), np.int32), s
