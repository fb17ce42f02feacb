"""Factors, inverses and determinants of matrices, which lie in the last two axes: calls of NumPy, and with it of LAPACK.

Derivatives: M. B. Giles, "An extended collection of matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); of qr S. F. Walter and L. Lehmann (2010) and, for wide matrices, D. A. O. Roberts and L. R. Roberts
(2020); of cholesky I. Murray (2016); of svd J. Townsend (2016). Where two eigenvalues or singular values are equal, their
vectors have no derivative: that part is left out, and what depends on the vectors' span alone stays right.
"""
from __future__ import annotations

import numpy as np

from ..errors import DerivativeError, TraceTypeError
from ..op_kinds import batches_aligned, between, call, unbroadcast
from ..promotion import float_rule
from ..types import ArrayType, broadcast_shapes, promote
from .contraction import matmul, swap
from .logical import where
from .movement import concatenate, reshape, slice_axis
from .reduction import sum


def _floats(dtypes):
    return [float_rule(promote(*dtypes))] * len(dtypes)


def _need_matrices(name: str, t: ArrayType, square: bool = True) -> tuple[int, int]:
    if t.ndim < 2 or (square and t.shape[-1] != t.shape[-2]):
        raise TraceTypeError(f"{name}: needs {'square ' * square}matrices in the last two axes, not {t}",
                             "line the axes up with `reshape`, or take `x[:, None]` of a vector")
    return t.shape[-2:]


def _square(name: str):
    """Type rule of a square matrix for a square matrix."""
    def rule(types, params):
        _need_matrices(name, types[0])
        return types[0]
    return rule


def _stacked(op):
    """Batch rule of one operand: the batch is one more axis in front."""
    return lambda size, inputs, batched, params: _listed(op()(*inputs, **params))


def _listed(out) -> list:
    return list(out) if isinstance(out, (tuple, list)) else [out]


# Pieces of rules

def _symmetric(x):
    return (x + swap(x)) * np.asarray(0.5, x.dtype)


def _below(x, k: int = 0):
    """The lower triangle, up to diagonal k."""
    return where(np.tri(x.shape[-2], x.shape[-1], k, dtype=bool), x, np.zeros((), x.dtype))


def _half_below(x):
    """The lower triangle, with half of the diagonal."""
    return (_below(x) + _below(x, -1)) * np.asarray(0.5, x.dtype)


def _filled(x):
    """The symmetric matrix whose lower triangle is that of x."""
    return _below(x) + swap(_below(x, -1))


def _diagonal(x):
    return sum(x * np.eye(x.shape[-1], dtype=x.dtype), axis=(len(x.shape) - 1,))


def _rows(v):
    """A vector as a row per matrix."""
    return reshape(v, shape=(*v.shape[:-1], 1, v.shape[-1]))


def _columns(v):
    return reshape(v, shape=(*v.shape, 1))


def _per_matrix(v):
    """A number per matrix, to multiply matrices with."""
    return reshape(v, shape=(*v.shape, 1, 1))


def _trace_of(x, y):
    """trace(x y) per matrix."""
    n = len(x.shape)
    return sum(x * swap(y), axis=(n - 2, n - 1))


def _one_over_differences(v):
    """1 / (v[j] - v[i]) at (i, j); 0 where the two are equal."""
    d = _rows(v) - _columns(v)
    same = d == np.zeros((), v.dtype)
    return where(same, np.zeros((), v.dtype), np.ones((), v.dtype) / where(same, np.ones((), v.dtype), d))


# Systems of equations

def _solve_type(types, params):
    a, b = types
    n, _ = _need_matrices("solve", a)
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if b.ndim < 2 or b.shape[-2] != n or batch is None:
        raise TraceTypeError(f"solve: shapes do not fit: {a} and {b}", "the right side has as many rows as the matrix")
    return ArrayType((*batch, n, b.shape[-1]), a.dtype)


def _solve_jvp(ts, out, a, b):
    da, db = ts
    right = db if da is None else -matmul(da, out) if db is None else db - matmul(da, out)
    return solve(a, right)


def _solve_vjp(ct, out, a, b):
    right = solve(swap(a), ct)
    return unbroadcast(-matmul(right, swap(out)), a.shape), unbroadcast(right, b.shape)


def _solve_batch(size, inputs, batched, params):
    return [solve(*batches_aligned(inputs, batched))]


@call(type_rule=_solve_type, dtype_rule=_floats, jvp=_solve_jvp, vjp=_solve_vjp, batch=_solve_batch, samples=between(-2, 2))
def solve(a, b):
    """The x with a x = b, (..., n, n) and (..., n, k) -> (..., n, k); leading axes broadcast. LinAlgError: a is singular."""
    return np.linalg.solve(a, b)


@call(type_rule=_square("inv"), dtype_rule=_floats, batch=_stacked(lambda: inv), samples=between(-2, 2),
      jvp=lambda ts, out, a: -matmul(matmul(out, ts[0]), out),
      vjp=lambda ct, out, a: -matmul(matmul(swap(out), ct), swap(out)))
def inv(a):
    """The inverses. LinAlgError: one is singular."""
    return np.linalg.inv(a)


def _numbers(name: str, count: int):
    def rule(types, params):
        _need_matrices(name, types[0])
        out = ArrayType(types[0].shape[:-2], types[0].dtype)
        return out if count == 1 else [out] * count
    return rule


@call(type_rule=_numbers("det", 1), dtype_rule=_floats, batch=_stacked(lambda: det), samples=between(-2, 2),
      jvp=lambda ts, out, a: out * _trace_of(inv(a), ts[0]), vjp=lambda ct, out, a: _per_matrix(ct * out) * swap(inv(a)))
def det(a):
    """The determinants; of a singular matrix it has a value and no derivative (LinAlgError)."""
    return np.linalg.det(a)


@call(type_rule=_numbers("slogdet", 2), dtype_rule=_floats, batch=_stacked(lambda: slogdet), samples=between(-2, 2),
      jvp=lambda ts, outs, a: (None, _trace_of(inv(a), ts[0])), multiple_outputs=True,
      vjp=lambda cts, outs, a: _per_matrix(cts[1]) * swap(inv(a)))
def slogdet(a):
    """(sign, logarithm of the absolute value) of the determinants."""
    return tuple(np.linalg.slogdet(a))


# Factors

def _cholesky_jvp(ts, out, a):
    inverse = inv(out)
    return matmul(out, _half_below(matmul(matmul(inverse, _symmetric(ts[0])), swap(inverse))))


def _cholesky_vjp(ct, out, a):
    inverse, inner = inv(out), _half_below(matmul(swap(out), _below(ct)))
    return _symmetric(matmul(matmul(swap(inverse), inner), inverse))


@call(type_rule=_square("cholesky"), dtype_rule=_floats, batch=_stacked(lambda: cholesky), samples=between(-2, 2),
      jvp=_cholesky_jvp, vjp=_cholesky_vjp)
def cholesky(a):
    """The lower triangular l with l lᵀ = a, for symmetric positive definite a, of which the lower triangle is read.

    The derivative is that along symmetric changes. LinAlgError: a is not positive definite.
    """
    return np.linalg.cholesky(a)


def _qr_types(types, params):
    m, n = _need_matrices("qr", types[0], square=False)
    *batch, _, _ = types[0].shape
    k = m if params["complete"] else min(m, n)
    return [ArrayType((*batch, m, k), types[0].dtype), ArrayType((*batch, k, n), types[0].dtype)]


def _thin(complete: bool, a) -> None:
    if complete and a.shape[-2] > a.shape[-1]:
        raise DerivativeError("qr: the columns of q beyond those of the matrix have no derivative", "use mode='reduced'")


def _qr_jvp(ts, outs, a, complete):
    _thin(complete, a)
    (q, r), (da,) = outs, ts
    m, n = a.shape[-2:]
    square, axis = slice_axis(r, len(r.shape) - 1, 0, min(m, n)), len(r.shape) - 1
    dx = da if m >= n else slice_axis(da, axis, 0, m)
    step = matmul(dx, inv(square))
    inner = matmul(swap(q), step)
    turn = _below(inner, -1) - swap(_below(inner, -1))
    dq = matmul(q, turn - inner) + step
    dr = matmul(inner - turn, square)
    if m >= n:
        return dq, dr
    rest = matmul(swap(q), slice_axis(da, axis, m, n - m) - matmul(dq, slice_axis(r, axis, m, n - m)))
    return dq, concatenate(dr, rest, axis=axis)


def _qr_vjp(cts, outs, a, complete):
    _thin(complete, a)
    (ct_q, ct_r), (q, r) = cts, outs
    m, n = a.shape[-2:]
    axis = len(r.shape) - 1
    if m >= n:
        return _square_qr_vjp(ct_q, ct_r, q, r)
    ct_rest = slice_axis(ct_r, axis, m, n - m)
    ct_q = ct_q + matmul(slice_axis(a, axis, m, n - m), swap(ct_rest))
    left = _square_qr_vjp(ct_q, slice_axis(ct_r, axis, 0, m), q, slice_axis(r, axis, 0, m))
    return concatenate(left, matmul(q, ct_rest), axis=axis)


def _square_qr_vjp(ct_q, ct_r, q, r):
    inner = _filled(matmul(r, swap(ct_r)) - matmul(swap(ct_q), q))
    return matmul(ct_q + matmul(q, inner), swap(inv(r)))


@call(type_rule=_qr_types, dtype_rule=_floats, batch=_stacked(lambda: qr), samples=between(-2, 2), jvp=_qr_jvp, vjp=_qr_vjp,
      multiple_outputs=True)
def qr(a, *, complete=False):
    """(q, r) with q r = a: columns of q orthonormal, r upper triangular, as many as the smaller side of a (`complete`: as many
    as its rows). The derivative wants full rank."""
    return tuple(np.linalg.qr(a, "complete" if complete else "reduced"))


def _eigh_types(types, params):
    _need_matrices("eigh", types[0])
    return [ArrayType(types[0].shape[:-1], types[0].dtype), types[0]]


def _eigh_jvp(ts, outs, a, lower):
    w, v = outs
    inner = matmul(matmul(swap(v), _symmetric(ts[0])), v)
    return _diagonal(inner), matmul(v, _one_over_differences(w) * inner)


def _eigh_vjp(cts, outs, a, lower):
    (ct_w, ct_v), (w, v) = cts, outs
    inner = _columns(ct_w) * np.eye(w.shape[-1], dtype=w.dtype) + _one_over_differences(w) * matmul(swap(v), ct_v)
    return _symmetric(matmul(matmul(v, inner), swap(v)))


@call(type_rule=_eigh_types, dtype_rule=_floats, batch=_stacked(lambda: eigh), samples=between(-2, 2), jvp=_eigh_jvp,
      vjp=_eigh_vjp, multiple_outputs=True)
def eigh(a, *, lower=True):
    """(eigenvalues in ascending order, eigenvectors as columns) of symmetric matrices, of which one triangle is read.

    The derivative is that along symmetric changes.
    """
    return tuple(np.linalg.eigh(a, "L" if lower else "U"))


def _svd_types(types, params):
    m, n = _need_matrices("svd", types[0], square=False)
    (*batch, _, _), dtype, k = types[0].shape, types[0].dtype, min(m, n)
    full = params["full_matrices"]
    return [ArrayType((*batch, m, m if full else k), dtype), ArrayType((*batch, k), dtype),
            ArrayType((*batch, n if full else k, n), dtype)]


def _svd_parts(outs, a, full_matrices):
    """(u, s, v, s as a row, 1 / differences of squares, 1 / s), of the reduced form."""
    if full_matrices and a.shape[-2] != a.shape[-1]:
        raise DerivativeError("svd: vectors without a singular value have no derivative", "use full_matrices=False")
    u, s, vh = outs
    one, zero = np.ones((), s.dtype), np.zeros((), s.dtype)
    inverse = where(s > zero, one / where(s > zero, s, one), zero)
    return u, s, swap(vh), _rows(s), _one_over_differences(s * s), _rows(inverse)


def _svd_jvp(ts, outs, a, full_matrices):
    u, _, v, s, f, inverse = _svd_parts(outs, a, full_matrices)
    (da,) = ts
    inner = matmul(matmul(swap(u), da), v)
    du = matmul(u, f * (inner * s + swap(inner * s)))
    dv = matmul(v, f * (swap(s_times(s, inner)) + s_times(s, inner)))
    beyond_u, beyond_v = matmul(da, v) * inverse, matmul(swap(da), u) * inverse
    du = du + beyond_u - matmul(u, matmul(swap(u), beyond_u))
    dv = dv + beyond_v - matmul(v, matmul(swap(v), beyond_v))
    return du, _diagonal(inner), swap(dv)


def s_times(s, x):
    """diag(s) x, for s as a row."""
    return swap(s) * x


def _svd_vjp(cts, outs, a, full_matrices):
    u, _, v, s, f, inverse = _svd_parts(outs, a, full_matrices)
    ct_u, ct_s, ct_v = cts[0], cts[1], swap(cts[2])
    turn_u, turn_v = matmul(swap(u), ct_u), matmul(swap(v), ct_v)
    inner = (f * (turn_u - swap(turn_u))) * s + s_times(s, f * (turn_v - swap(turn_v)))
    inner = inner + _columns(ct_s) * np.eye(ct_s.shape[-1], dtype=a.dtype)
    beyond_u = (ct_u - matmul(u, turn_u)) * inverse
    beyond_v = (ct_v - matmul(v, turn_v)) * inverse
    return matmul(matmul(u, inner) + beyond_u, swap(v)) + matmul(u, swap(beyond_v))


@call(type_rule=_svd_types, dtype_rule=_floats, batch=_stacked(lambda: svd), samples=between(-2, 2), jvp=_svd_jvp, vjp=_svd_vjp,
      multiple_outputs=True)
def svd(a, *, full_matrices=True):
    """(u, s, vh) with u diag(s) vh = a: orthonormal columns of u and rows of vh, s in descending order."""
    return tuple(np.linalg.svd(a, full_matrices))
