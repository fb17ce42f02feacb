"""Elements taken and put at integer positions; what has no known size."""
from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import TraceIndexError, TraceTypeError, TraceValueError
from ..op import has_priority
from ..ops.indexing import along_axis, take_along
from ..tracer import current_trace
from ..types import I64, broadcast_shapes, normalize_axis
from .indexing import fitted, move_index_axes, now, plain_value, wrapped_index
from .protocol import as_array, astype, implements, into, is_special


def check_positions(name: str, i, x=None) -> None:
    """TraceIndexError unless an array holds integers; TraceValueError unless it has as many axes as x."""
    if i.dtype.kind not in "iu":
        raise TraceIndexError(f"{name}: an array of {i.dtype} cannot index", "convert it with `astype(np.int64)`")
    if x is not None and i.ndim != x.ndim:
        raise TraceValueError(f"{name}: positions of {i.ndim} dimensions for an array of {x.ndim}",
                              "give both as many axes: those that are missing may be of size 1")


@implements(np.take, method="take")
def take(a, indices, axis=None, out=None, mode="raise"):
    """Elements of a at integer positions along an axis; of the flattened array for axis None."""
    x = as_array(a)
    if axis is None:
        x, axis = ops.reshape(x, shape=(-1,)), 0
    axis = normalize_axis(axis, x.ndim, "take")
    i, n = as_array(indices), x.shape[axis]
    if i.size == 0 and not has_priority(i):
        i = i.astype(np.int64)
    check_positions("take", i)
    if mode not in ("raise", "clip", "wrap"):
        raise TraceValueError(f"take: mode {mode!r} is not known", "use 'raise', 'clip' or 'wrap'")
    if mode == "clip":
        i = ops.maximum(ops.minimum(astype(i, I64), n - 1), 0)
    elif mode == "wrap":
        i = ops.remainder(astype(i, I64), n)
    else:
        i = wrapped_index(i, n, axis)
    return into(out, move_index_axes(ops.gather(x, i, axes=(axis,)), i.ndim, axis), "take")


@implements(np.take_along_axis)
def take_along_axis(arr, indices, axis=-1):
    """Elements of arr at the positions that `indices` gives along one axis, for every place along the others.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> jnp.take_along_axis(np.array([[1, 2], [3, 4]]), np.array([[1], [0]]), axis=1).ravel()
    array([2, 3])
    """
    x, i = as_array(arr), as_array(indices)
    if axis is None:
        x, axis = ops.reshape(x, shape=(-1,)), 0
    axis = normalize_axis(axis, x.ndim, "take_along_axis")
    check_positions("take_along_axis", i, x)
    i = wrapped_index(i, x.shape[axis], axis)
    shape = tuple(n if a != axis else i.shape[a] for a, n in enumerate(broadcast_shapes(
        *(tuple(1 if a == axis else n for a, n in enumerate(s)) for s in (x.shape, i.shape)))))
    wide = tuple(x.shape[a] if a == axis else n for a, n in enumerate(shape))
    return take_along(x if x.shape == wide else ops.broadcast_to(x, shape=wide), i, axis)


@implements(np.put_along_axis)
def put_along_axis(arr, indices, values, axis):
    """Writes values into arr at the positions that `indices` gives along one axis."""
    axis = normalize_axis(axis, arr.ndim, "put_along_axis")
    indices = as_array(indices)
    check_positions("put_along_axis", indices, arr)
    places = along_axis(wrapped_index(indices, arr.shape[axis], axis), axis, arr.shape)
    value = fitted(values, arr, places[0].shape)
    arr.assign(plain_value(arr, ops.scatter_set(now(arr), value, *places, axes=tuple(range(arr.ndim)))))


@implements(np.choose, method="choose")
def choose(a, choices, out=None, mode="raise"):
    """For each element the choice whose number stands in a. A number without a choice is an error; with mode="clip" it
    counts as the nearest one, with "wrap" as its remainder."""
    i, n = as_array(a), len(choices)
    parts = [as_array(c) for c in choices]
    if mode == "wrap":
        i = ops.remainder(i, n)
    elif mode == "raise":
        i = ops.gather(np.arange(n), i, axes=(0,))
    value = parts[-1]
    for k in range(len(parts) - 2, -1, -1):
        value = ops.where(ops.less_equal(i, k), parts[k], value)
    return into(out, value, "choose")


def _size_error(name: str) -> TraceTypeError:
    return TraceTypeError(f"{name}: the size of the result depends on the values of a traced array",
                          "use `jitnet.where` with a value for every element, or call it outside the compiled function")


@implements(np.compress)
def compress(condition, a, axis=None, out=None):
    """The elements of a along an axis where a condition known while tracing holds."""
    if is_special(condition):
        if current_trace() is None:
            return np.compress(condition, a, axis, out)
        raise _size_error("compress")
    return take(a, np.flatnonzero(condition), axis, out)


@implements(np.extract)
def extract(condition, arr):
    """The elements of the flattened array where a condition known while tracing holds."""
    if is_special(condition):
        if current_trace() is None:
            return np.extract(condition, arr)
        raise _size_error("extract")
    return take(arr, np.flatnonzero(condition))


def _unknown_size(numpy_function, method=None):
    @implements(numpy_function, method=method)
    def outside(*args, **kwargs):
        if current_trace() is None:   # of Arrays, which hand it to NumPy
            return numpy_function(*args, **kwargs)
        raise _size_error(numpy_function.__name__)
    outside.__name__ = numpy_function.__name__
    outside.__doc__ = f"NumPy's `{numpy_function.__name__}`; of traced values an error: the size of the result is not known."
    return outside


nonzero = _unknown_size(np.nonzero, "nonzero")
flatnonzero, argwhere, unique, trim_zeros = map(_unknown_size, (np.flatnonzero, np.argwhere, np.unique, np.trim_zeros))
unique_all, unique_counts = map(_unknown_size, (np.unique_all, np.unique_counts))
unique_inverse, unique_values = map(_unknown_size, (np.unique_inverse, np.unique_values))
intersect1d, setdiff1d, setxor1d, union1d = map(_unknown_size, (np.intersect1d, np.setdiff1d, np.setxor1d, np.union1d))
