"""New arrays. While a function is traced they are equations, never large constants; outside they are NumPy's."""
from __future__ import annotations

import builtins
import functools
import math

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..op import NUMPY_FUNCTIONS
from ..runtime.device import is_away, known_device
from ..sizes import constant, integer, largest
from ..tracer import Tracer, current_trace
from ..types import F32, HALVES, I64, is_float, known_dtype, promote
from .joining import array, stack
from .protocol import any_special, as_array, fresh, implements, is_special
from .shapes import moveaxis


def creates(numpy_function):
    """Decorator: outside a trace and without traced arguments the function is NumPy's; its result goes to a GPU that `device=`
    or a `with` block names."""
    def register(function):
        NUMPY_FUNCTIONS[numpy_function] = function

        @functools.wraps(function)
        def public(*args, **kwargs):
            device = kwargs.pop("device", None)
            if current_trace() is not None:
                return function(*args, **kwargs)
            if any_special(args, kwargs):
                return function(*args, **kwargs) if device is None else placed(function(*args, **kwargs), device)
            made = numpy_function(*args, **kwargs)
            return made if device is None and not is_away() else placed(made, device)
        return public
    return register


def placed(made, device):
    """What was made on the host, as an Array on a GPU if the device is one (None: the default device)."""
    device = known_device(device)
    if device.kind == "cpu" and not is_special(made):
        return made
    from ..runtime.array import asarray

    return tuple(asarray(x, device=device) for x in made) if isinstance(made, tuple) else asarray(made, device=device)


def _shape(shape):
    for n in shape if isinstance(shape, (tuple, list)) else (shape,):
        if isinstance(n, Tracer):
            raise TraceTypeError("a shape must be known when the function is traced, not a traced value",
                                 "mark the size static with `static_argnames`")
    sizes = tuple(integer(n) for n in shape) if isinstance(shape, (tuple, list)) else (integer(shape),)
    if any(n < 0 for n in sizes):
        raise TraceValueError(f"there is no array of shape {sizes}", "sizes are 0 or more")
    return sizes


def _full(shape, value, dtype):
    """A new array that may be written into."""
    return as_tracer(ops.full(shape, value, dtype))


def as_tracer(x):
    """x as a traced array, so that traced values can be written into it."""
    trace = current_trace()
    return x if isinstance(x, Tracer) or trace is None else Tracer(trace, trace.atom(x))


@creates(np.zeros)
def zeros(shape, dtype=None, order="C", *, like=None):
    """Zeros, float64 by default."""
    return _full(_shape(shape), 0, known_dtype(dtype or np.float64))


@creates(np.ones)
def ones(shape, dtype=None, order="C", *, like=None):
    """Ones, float64 by default."""
    return _full(_shape(shape), 1, known_dtype(dtype or np.float64))


@creates(np.empty)
def empty(shape, dtype=None, order="C", *, like=None):
    """An array to be written into; it starts as zeros."""
    return _full(_shape(shape), 0, known_dtype(dtype or np.float64))


@creates(np.full)
def full(shape, fill_value, dtype=None, order="C", *, like=None):
    """An array filled with one value."""
    value = as_array(fill_value, dtype)
    return as_tracer(fresh(ops.broadcast_to(value, shape=_shape(shape)))) if isinstance(value, Tracer) or value.ndim else \
        _full(_shape(shape), value, known_dtype(value.dtype))


def _like(numpy_function, fill):
    @creates(numpy_function)
    def like(a, dtype=None, order="K", subok=True, shape=None, *, device=None):
        if current_trace() is None:   # an Array has one of its own kind made
            return numpy_function(a, dtype, order, subok, shape)
        x = as_array(a)
        return _full(x.shape if shape is None else _shape(shape), fill, known_dtype(dtype or x.dtype))
    like.__name__ = numpy_function.__name__
    like.__doc__ = f"An array of the shape and dtype of another, filled with {fill}."
    return like


zeros_like, ones_like, empty_like = _like(np.zeros_like, 0), _like(np.ones_like, 1), _like(np.empty_like, 0)


@creates(np.full_like)
def full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None, *, device=None):
    """An array of the shape and dtype of another, filled with one value."""
    if current_trace() is None:
        return np.full_like(a, fill_value, dtype, order, subok, shape)
    x = as_array(a)
    return full(x.shape if shape is None else shape, fill_value, dtype or x.dtype)


@creates(np.arange)
def arange(start, stop=None, step=1, dtype=None, *, like=None):
    """start, start + step, ... below stop."""
    if any_special((start, stop, step), {}):
        raise TraceTypeError("arange: the size of the result depends on a traced value",
                             "mark the size static with `static_argnames`")
    start, stop = (0, start) if stop is None else (start, stop)
    kind = promote(*(constant(v).dtype for v in (start, stop, step)))
    dtype = known_dtype(dtype) if dtype is not None else known_dtype(kind)
    whole = all(isinstance(v, int) for v in (start, stop, step))
    size = largest(0, -((start - stop) // step) if whole else math.ceil((stop - start) / step))
    work = F32 if dtype in HALVES else dtype if dtype != np.bool_ else np.dtype(np.int64)
    if dtype.kind in "iu" and is_float(kind):  # NumPy's own odd rule: start and step are truncated first
        start, step = int(start), int(start + step) - int(start)
    x = ops.iota(shape=(size,), axis=0, dtype=work)
    if step != 1:
        x = x * constant(step, work)
    if start != 0:
        x = x + constant(start, work)
    return as_array(x, dtype)


@creates(np.linspace)
def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    """num values from start to stop, evenly spaced.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> jnp.linspace(0, 1, 3)
    array([0. , 0.5, 1. ])
    """
    low, high = as_array(start), as_array(stop)
    kind = promote(*(type(v) if type(v) in (bool, int, float) else getattr(v, "weak", None) or as_array(v).dtype
                     for v in (start, stop)),
                   float)
    low, high = as_array(low, kind), as_array(high, kind)
    shape = np.broadcast_shapes(low.shape, high.shape)
    parts = num - 1 if endpoint else num
    i = ops.reshape(ops.iota(shape=(num,), axis=0, dtype=kind), shape=(num, *(1,) * len(shape)))
    step = (high - low) / parts if parts > 0 else high - low + np.nan
    x = i * step + low if parts > 0 else ops.broadcast_to(low, shape=(num, *shape)) + i * 0
    if endpoint and num > 1:  # the end is exact
        x = ops.where(ops.equal(i, np.asarray(num - 1, kind)), high, x)
    if axis:
        x = moveaxis(x, 0, axis)
    dtype = known_dtype(dtype or kind)
    x = as_array(ops.floor(x) if dtype.kind in "iu" else x, dtype)
    return (x, step) if retstep else x


@creates(np.logspace)
def logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0):
    """base to the powers that `linspace` gives."""
    return as_array(ops.power(base, linspace(start, stop, num, endpoint, axis=axis)), dtype)


@creates(np.geomspace)
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """num values from start to stop, each the same factor above the one before; both ends positive."""
    low, high = (as_array(v, np.float64) for v in (start, stop))
    x = ops.exp(linspace(ops.log(low), ops.log(high), num, endpoint, axis=axis))
    return as_array(x, dtype)


@creates(np.eye)
def eye(N, M=None, k=0, dtype=float, order="C", *, like=None):
    """Ones on the k-th diagonal, zeros elsewhere."""
    shape = (integer(N), integer(N if M is None else M))
    return ops.cast(_diagonal_mask(shape, k, ops.equal), dtype=known_dtype(dtype or float))


@creates(np.identity)
def identity(n, dtype=None, *, like=None):
    """The n by n identity matrix."""
    return eye(n, dtype=dtype or float)


@creates(np.tri)
def tri(N, M=None, k=0, dtype=float, *, like=None):
    """Ones at and below the k-th diagonal, zeros above."""
    return ops.cast(_diagonal_mask((integer(N), integer(N if M is None else M)), k, ops.greater_equal),
                    dtype=known_dtype(dtype or float))


def _diagonal_mask(shape, k, compare):
    """compare(row + k, column) for the last two axes."""
    rows, columns = (ops.iota(shape=shape[-2:], axis=a, dtype=np.dtype(np.int64)) for a in (0, 1))
    return compare(rows + k if k else rows, columns)


@implements(np.tril)
def tril(m, k=0):
    """m with zeros above its k-th diagonal."""
    return _triangle(m, k, ops.greater_equal, "tril")


@implements(np.triu)
def triu(m, k=0):
    """m with zeros below its k-th diagonal."""
    return _triangle(m, k, ops.less_equal, "triu")


def _triangle(m, k, compare, name):
    x = as_array(m)
    if x.ndim == 0:
        raise TraceTypeError(f"{name}: a 0-d array has no triangle", "pass a matrix")
    shape = x.shape if x.ndim > 1 else x.shape * 2  # a vector counts as the rows of a square
    return ops.where(_diagonal_mask(shape, k, compare), x, np.zeros((), x.dtype))


@implements(np.diag)
def diag(v, k=0):
    """The k-th diagonal of a matrix; of a vector the matrix that has it there."""
    from .einsum import diagonal

    x = as_array(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise TraceTypeError(f"diag: takes 1-d and 2-d arrays, not {x.ndim}-d", "use `diagonal` for more axes")
    n = x.shape[0] + abs(k)
    rows = ops.pad(x, np.zeros((), x.dtype), low=(builtins.max(-k, 0),), high=(builtins.max(k, 0),))
    return ops.where(_diagonal_mask((n, n), k, ops.equal), ops.reshape(rows, shape=(n, 1)), np.zeros((), x.dtype))


@implements(np.diagflat)
def diagflat(v, k=0):
    """The matrix with the elements of v on its k-th diagonal."""
    return diag(ops.reshape(as_array(v), shape=(-1,)), k)


@implements(np.vander)
def vander(x, N=None, increasing=False):
    """Columns of the powers of x."""
    x = as_array(x)
    x, count = as_array(x, promote(x.dtype, I64)), x.shape[0] if N is None else N
    if count == 0:
        return ops.full((x.shape[0], 0), 0, x.dtype)
    columns = [ops.full(x.shape, 1, x.dtype)]
    for _ in range(count - 1):
        columns.append(columns[-1] * x)
    return stack(columns if increasing else columns[::-1], 1)


@implements(np.meshgrid)
def meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    """Coordinate arrays of a grid from the coordinates along each axis."""
    arrays = [ops.reshape(as_array(x), shape=(-1,)) for x in xi]
    n = len(arrays)
    if indexing not in ("xy", "ij"):
        raise TraceValueError(f"meshgrid: indexing {indexing!r} is not known", "use 'xy' or 'ij'")
    order = list(range(n))
    if indexing == "xy" and n > 1:
        order[0], order[1] = 1, 0
    shape = [0] * n
    for x, axis in zip(arrays, order):
        shape[axis] = x.shape[0]
    grids = [ops.reshape(x, shape=tuple(x.shape[0] if k == axis else 1 for k in range(n))) for x, axis in zip(arrays, order)]
    return tuple(grids) if sparse else tuple(ops.broadcast_to(g, shape=tuple(shape)) for g in grids)


@creates(np.indices)
def indices(dimensions, dtype=int, sparse=False):
    """The position along each axis, for all places of a grid."""
    shape = _shape(dimensions)
    grids = [ops.iota(shape=shape, axis=k, dtype=known_dtype(dtype)) for k in range(len(shape))]
    return stack(grids)


@creates(np.asarray)
def asarray(a, dtype=None, order=None, *, copy=None, like=None):
    """a as an array, copied only where it must be."""
    x = array(a, copy=False) if isinstance(a, (list, tuple)) else as_array(a)
    x = as_array(x, dtype)
    return fresh(x) if copy else x


@implements(np.copy, method="copy")
def copy(a, order="K", subok=False):
    """A new array with the same elements."""
    return fresh(as_array(a))


@creates(np.array)
def new_array(object, dtype=None, *, copy=True, order="K", subok=False, ndmin=0, like=None):
    """A new array of numbers, arrays and traced values, nested in lists."""
    return array(object, dtype, copy=copy, ndmin=ndmin)


@implements(np.astype, method="astype")
def astype(x, dtype, order="K", casting="unsafe", subok=True, copy=True, *, device=None):
    """x converted to a dtype; a copy."""
    x = as_array(x)
    y = as_array(x, known_dtype(dtype, "astype"))
    return fresh(y) if y is x and copy else y


@implements(np.shape)
def shape(a):
    """The sizes of the axes."""
    return as_array(a).shape


@implements(np.ndim)
def ndim(a):
    """The number of axes."""
    return as_array(a).ndim


@implements(np.size)
def size(a, axis=None):
    """The number of elements, or of those along one axis or several."""
    x = as_array(a)
    return math.prod(x.shape[k] for k in (range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)))


@implements(np.array_equal)
def array_equal(a1, a2, equal_nan=False):
    """Whether two arrays have one shape and equal elements."""
    x, y = as_array(a1), as_array(a2)
    if x.shape != y.shape:
        return np.bool_(False)
    same = ops.equal(x, y)
    if equal_nan:
        from .elementwise import isnan

        same = ops.logical_or(same, ops.logical_and(isnan(x), isnan(y)))
    return ops.all(same, axis=tuple(range(x.ndim)))


@implements(np.allclose)
def allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether all elements are close."""
    from .elementwise import isclose

    close = isclose(a, b, rtol, atol, equal_nan)
    return ops.all(close, axis=tuple(range(close.ndim)))


def fill(x, value) -> None:
    """Sets every element to a value."""
    x[...] = value
