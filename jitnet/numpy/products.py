"""Products of vectors and matrices: matmul, dot, tensordot, einsum and their kin, all over one op."""
from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..types import is_float, normalize_axis, promote
from .einsum import contract, diagonal, einsum
from .protocol import as_array, fresh, implements, into
from .reductions import sum as sum_of


def same_dtype(x, y):
    x, y = as_array(x), as_array(y)
    dtype = promote(getattr(x, "weak", None) or x.dtype, getattr(y, "weak", None) or y.dtype)
    return as_array(x, dtype), as_array(y, dtype)


def _text(*arrays) -> str:
    return " and ".join(str(getattr(a, "type", a.shape)) for a in arrays)


@implements(np.matmul, np.linalg.matmul, eager=np.matmul)
def matmul(x, y):
    """Matrix product of the last two axes; a 1-d operand is a row or a column, and its axis vanishes."""
    x, y = as_array(x), as_array(y)
    if x.ndim == 0 or y.ndim == 0:
        raise TraceTypeError(f"matmul: a 0-d array has no matrix product: {_text(x, y)}", "use `*`")
    if x.ndim >= 2 and y.ndim >= 2:
        return ops.matmul(x, y)
    row, column = x.ndim == 1, y.ndim == 1
    if x.shape[-1] != y.shape[-1 if column else -2]:
        raise TraceTypeError(f"matmul: shapes do not fit: {_text(x, y)}",
                             "the last axis of the first must equal the second-last (or only) of the second")
    x = ops.reshape(x, shape=(1, *x.shape)) if row else x
    y = ops.reshape(y, shape=(*y.shape, 1)) if column else y
    out = ops.matmul(x, y)
    shape = out.shape[:-2] + (() if row else out.shape[-2:-1]) + (() if column else out.shape[-1:])
    return ops.reshape(out, shape=shape)


@implements(np.dot, method="dot")
def dot(a, b, out=None):
    """Inner product of vectors, matrix product of matrices; of more axes the sum over the last of a and the second-last of
    b."""
    x, y = same_dtype(a, b)
    if x.ndim == 0 or y.ndim == 0:
        value = x * y
    elif x.ndim <= 2 and y.ndim <= 2:
        value = matmul(x, y)
    else:
        value = tensordot(x, y, ((-1,), (-2 if y.ndim > 1 else -1,)))
    return into(out, value, "dot")


@implements(np.vdot)
def vdot(a, b):
    """Inner product of all elements."""
    x, y = same_dtype(a, b)
    return matmul(ops.reshape(x, shape=(-1,)), ops.reshape(y, shape=(-1,)))


@implements(np.inner)
def inner(a, b):
    """Sums of products over the last axes."""
    x, y = same_dtype(a, b)
    return x * y if x.ndim == 0 or y.ndim == 0 else tensordot(x, y, ((-1,), (-1,)))


@implements(np.outer)
def outer(a, b, out=None):
    """All products of an element of a and one of b, as a matrix."""
    x, y = as_array(a), as_array(b)
    return into(out, ops.reshape(x, shape=(-1, 1)) * ops.reshape(y, shape=(1, -1)), "outer")


@implements(np.linalg.outer)
def linalg_outer(x1, x2):
    """The outer product of two vectors."""
    return outer(x1, x2)


@implements(np.vecdot, np.linalg.vecdot, eager=np.vecdot)
def vecdot(x1, x2, *, axis=-1):
    """Sums of products along one axis."""
    x, y = same_dtype(x1, x2)
    return ops.any(x * y, axis=axis) if x.dtype == np.bool_ else sum_of(x * y, axis, x.dtype)


@implements(np.matvec)
def matvec(x1, x2):
    """Matrices times vectors, over the last axes."""
    x2 = as_array(x2)
    return ops.reshape(out := ops.matmul(x1, ops.reshape(x2, shape=(*x2.shape, 1))), shape=out.shape[:-1])


@implements(np.vecmat)
def vecmat(x1, x2):
    """Vectors times matrices, over the last axes."""
    x1 = as_array(x1)
    out = ops.matmul(ops.reshape(x1, shape=(*x1.shape[:-1], 1, x1.shape[-1])), x2)
    return ops.reshape(out, shape=(*out.shape[:-2], out.shape[-1]))


@implements(np.tensordot, np.linalg.tensordot, eager=np.tensordot)
def tensordot(a, b, axes=2):
    """Sums of products over pairs of axes: the last `axes` of a with the first of b, or lists of both."""
    x, y = same_dtype(a, b)
    if isinstance(axes, int):
        ax, ay = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    else:
        ax, ay = (tuple(v) if isinstance(v, (tuple, list)) else (v,) for v in axes)
        ax, ay = tuple(normalize_axis(k, x.ndim, "tensordot") for k in ax), tuple(normalize_axis(k, y.ndim, "tensordot")
                                                                                  for k in ay)
    if len(ax) != len(ay) or any(x.shape[i] != y.shape[j] for i, j in zip(ax, ay)):
        raise TraceTypeError(f"tensordot: shapes do not fit: {_text(x, y)} over the axes {ax} and {ay}",
                             "summed axes must have equal sizes")
    names = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    xs, ys = [next(names) for _ in x.shape], [next(names) for _ in y.shape]
    for i, j in zip(ax, ay):
        ys[j] = xs[i]
    out = [n for k, n in enumerate(xs) if k not in ax] + [n for k, n in enumerate(ys) if k not in ay]
    return contract(x, xs, y, ys, out)


@implements(np.kron)
def kron(a, b):
    """Kronecker product: a with each element replaced by itself times b."""
    x, y = as_array(a), as_array(b)
    n = max(x.ndim, y.ndim)
    sx, sy = (1,) * (n - x.ndim) + x.shape, (1,) * (n - y.ndim) + y.shape
    product = ops.reshape(x, shape=tuple(k for m in sx for k in (m, 1))) * ops.reshape(y, shape=tuple(k for m in sy
                                                                                                      for k in (1, m)))
    return ops.reshape(product, shape=tuple(m * k for m, k in zip(sx, sy)))


@implements(np.cross)
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """Cross product of vectors with 3 elements."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = ops_moveaxis(as_array(a), axisa, -1), ops_moveaxis(as_array(b), axisb, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise TraceValueError(f"cross: vectors must have 3 elements: {_text(x, y)}", "pad 2-d vectors with a zero")
    x0, x1, x2 = (x[..., k] for k in range(3))
    y0, y1, y2 = (y[..., k] for k in range(3))
    from .joining import stack

    return ops_moveaxis(stack([x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0], -1), -1, axisc)


@implements(np.linalg.cross)
def linalg_cross(x1, x2, /, *, axis=-1):
    """Cross product of vectors with 3 elements along an axis."""
    return cross(x1, x2, axis=axis)


def ops_moveaxis(x, source, destination):
    from .shapes import moveaxis

    return moveaxis(x, source, destination)


# Diagonals

@implements(np.linalg.diagonal)
def linalg_diagonal(x, /, *, offset=0):
    """The diagonals of the last two axes."""
    return diagonal(x, offset, -2, -1)


@implements(np.trace, method="trace")
def trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    """Sum along the diagonal of two axes."""
    return sum_of(diagonal(a, offset, axis1, axis2), -1, dtype, out)


@implements(np.linalg.trace)
def linalg_trace(x, /, *, offset=0, dtype=None):
    """Sums along the diagonals of the last two axes."""
    return trace(x, offset, -2, -1, dtype)


# Norms and powers

@implements(np.linalg.norm)
def norm(x, ord=None, axis=None, keepdims=False):
    """Norm of vectors (any order) or of matrices ('fro', 'nuc', 1, -1, 2, -2, inf, -inf)."""
    a = as_array(x)
    a = a if is_float(a.dtype) else as_array(a, np.float64)
    if axis is None:
        if ord is None:
            a, axis = (a, tuple(range(a.ndim))) if keepdims else (ops.reshape(a, shape=(-1,)), (0,))
        else:
            axis = tuple(range(a.ndim))
    axes = tuple(normalize_axis(k, a.ndim, "norm") for k in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(axes) == 1 and isinstance(ord, str):
        raise TraceValueError(f"norm: vectors have no norm of order {ord!r}", "use a number, inf or -inf")
    if len(axes) == 1 or ord is None:
        return vector_norm_over(a, axes, 2 if ord is None else ord, keepdims)
    if ord == "fro":
        return vector_norm_over(a, axes, 2, keepdims)
    if ord not in (1, -1, 2, -2, "nuc", np.inf, -np.inf) or len(axes) != 2:
        raise TraceValueError(f"norm: a matrix has no norm of order {ord!r}", "use 'fro', 'nuc', 1, -1, 2, -2, inf or -inf")
    if ord in (2, -2, "nuc"):
        return _spectral_norm(a, axes, ord, keepdims)
    rows, columns = axes if abs(ord) == 1 else axes[::-1]
    sums = sum_of(ops.abs(a), rows, keepdims=True)
    both = (ops.max if ord > 0 else ops.min)(sums, axis=(rows, columns))
    return ops.reshape(both, shape=tuple(1 if k in axes else n for k, n in enumerate(a.shape))) if keepdims else both


def _spectral_norm(a, axes, ord, keepdims):
    """The largest (2), smallest (-2) or sum ("nuc") of the singular values of the matrices in two axes."""
    rest = tuple(k for k in range(a.ndim) if k not in axes)
    s = ops.svd(ops.transpose(a, axes=(*rest, *axes)), full_matrices=False)[1]
    out = {2: ops.max, -2: ops.min, "nuc": ops.sum}[ord](s, axis=(s.ndim - 1,))
    return ops.reshape(out, shape=tuple(1 if k in axes else n for k, n in enumerate(a.shape))) if keepdims else out


def vector_norm_over(a, axes, ord, keepdims):
    """The norm of that order of the vectors along axes."""
    from .reductions import max as max_of
    from .reductions import min as min_of

    if ord == 2:
        return ops.sqrt(sum_of(a * a, axes, keepdims=keepdims))
    if ord == np.inf:
        return max_of(ops.abs(a), axes, keepdims=keepdims)
    if ord == -np.inf:
        return min_of(ops.abs(a), axes, keepdims=keepdims)
    if ord == 0:
        return sum_of(ops.cast(ops.not_equal(a, np.zeros((), a.dtype)), dtype=a.dtype), axes, keepdims=keepdims)
    if ord == 1:
        return sum_of(ops.abs(a), axes, keepdims=keepdims)
    powers = sum_of(ops.power(ops.abs(a), np.asarray(ord, a.dtype)), axes, keepdims=keepdims)
    return ops.power(powers, np.asarray(1 / ord, a.dtype))


@implements(np.linalg.vector_norm)
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):
    """Norm of the vectors along axes (all of them for None)."""
    a = as_array(x)
    a = a if is_float(a.dtype) else as_array(a, np.float64)
    axes = tuple(range(a.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return vector_norm_over(a, tuple(normalize_axis(k, a.ndim, "vector_norm") for k in axes), ord, keepdims)


@implements(np.linalg.matrix_norm)
def matrix_norm(x, /, *, keepdims=False, ord="fro"):
    """Norm of the matrices in the last two axes."""
    return norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.matrix_power)
def matrix_power(a, n):
    """A square matrix times itself, n times; its inverse for a negative n."""
    x = as_array(a)
    if n < 0:
        x, n = ops.inv(x), -n
    if n == 0:
        from .creation import eye

        return ops.broadcast_to(eye(x.shape[-1], dtype=x.dtype), shape=x.shape)
    result = None
    while n:
        if n & 1:
            result = x if result is None else ops.matmul(result, x)
        n >>= 1
        x = ops.matmul(x, x) if n else x
    return fresh(result)


@implements(np.linalg.multi_dot)
def multi_dot(arrays, *, out=None):
    """The product of several matrices, in the order that costs least."""
    arrays = [as_array(a) for a in arrays]
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [letters[k:k + 2] for k in range(len(arrays))]
    first, last = arrays[0].ndim == 1, arrays[-1].ndim == 1
    names[0], names[-1] = names[0][1:] if first else names[0], names[-1][:1] if last else names[-1]
    target = ("" if first else letters[0]) + ("" if last else letters[len(arrays)])
    return into(out, einsum(",".join(names) + "->" + target, *arrays), "multi_dot")
