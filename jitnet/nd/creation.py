"""New NDArrays. Their dtype is float32 unless one is named; they are made on the current context unless `ctx` names one."""
from __future__ import annotations

import numpy as np

from ..context import Context, known_context
from ..errors import MXNetError, OperatorError
from . import memory
from .ndarray import NDArray


def _shape(shape) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, (int, np.integer)) else tuple([int(n) for n in shape])


def _dtype(dtype) -> np.dtype:
    return np.dtype(np.float32 if dtype is None else dtype)


def _dense(stype: str | None) -> None:
    if stype not in (None, "default"):
        raise MXNetError(f"arrays are dense, there is no storage type {stype!r}", "leave stype out")


def _made(data: np.ndarray, ctx: Context | None, out: NDArray | None = None) -> NDArray:
    """An NDArray of new memory, or `out` with these values."""
    if out is not None:
        if out.shape != data.shape:
            raise OperatorError(f"out has the shape {list(out.shape)}, the values {list(data.shape)}", "give out their shape")
        out[:] = data
        return out
    ctx = known_context(ctx)
    return NDArray(memory.placed(data, ctx), ctx)


def array(source_array, ctx: Context | None = None, dtype=None) -> NDArray:
    """A new NDArray of a list, a number or an array. Its dtype is that of an NDArray given, else float32, unless one is named.

    >>> import jitnet as mx
    >>> mx.nd.array([[1, 2], [3, 4]]).dtype
    <class 'numpy.float32'>
    """
    if isinstance(source_array, NDArray):
        dtype = source_array._data.dtype if dtype is None else dtype
        source_array = memory.host(source_array._data)
    try:
        data = np.array(source_array, _dtype(dtype), order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(f"source_array must be array like object: {error}") from None
    return _made(data, ctx)


def zeros(shape, ctx: Context | None = None, dtype=None, stype: str | None = None, out: NDArray | None = None) -> NDArray:
    """Zeros, in a new array or in `out`. The shape is a tuple, or a number for one axis."""
    _dense(stype)
    return _made(np.zeros(_shape(shape), _dtype(dtype)), ctx, out)


def ones(shape, ctx: Context | None = None, dtype=None, stype: str | None = None, out: NDArray | None = None) -> NDArray:
    """Ones, in a new array or in `out`. The shape is a tuple, or a number for one axis."""
    _dense(stype)
    return _made(np.ones(_shape(shape), _dtype(dtype)), ctx, out)


def full(shape, val, ctx: Context | None = None, dtype=None, out: NDArray | None = None) -> NDArray:
    """An array with `val` everywhere."""
    return _made(np.full(_shape(shape), val, _dtype(dtype)), ctx, out)


def empty(shape, ctx: Context | None = None, dtype=None) -> NDArray:
    """An array whose elements are whatever was in memory."""
    return _made(np.empty(_shape(shape), _dtype(dtype)), ctx)


def arange(start, stop=None, step=1.0, repeat: int = 1, infer_range=None, ctx: Context | None = None, dtype=None) -> NDArray:
    """Numbers from `start` up to `stop` (not included) in steps, each `repeat` times."""
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise OperatorError("arange: step is 0", "pass a step that leads from start to stop")
    data = np.arange(start, stop, step, dtype=np.float64)
    if _dtype(dtype).kind in "iu":  # as many numbers, in whole steps: as in NumPy and MXNet
        data = int(start) + int(step) * np.arange(len(data))
    data = data.astype(_dtype(dtype))
    return _made(np.repeat(data, repeat) if repeat != 1 else data, ctx)


def linspace(start, stop, num: int, endpoint: bool = True, ctx: Context | None = None, dtype=None) -> NDArray:
    """`num` numbers at even distances from `start` to `stop`."""
    return _made(np.linspace(start, stop, num, endpoint=endpoint).astype(_dtype(dtype)), ctx)


def eye(N, M=0, k=0, ctx: Context | None = None, dtype=None, out: NDArray | None = None) -> NDArray:
    """Ones on the diagonal number k, zeros elsewhere; N rows and M columns (M = 0: N)."""
    return _made(np.eye(int(N), int(M) or None, int(k), dtype=_dtype(dtype)), ctx, out)


def from_numpy(ndarray: np.ndarray, zero_copy: bool = True) -> NDArray:
    """An NDArray that shares the memory of a NumPy array (of a copy where it does not lie in one piece)."""
    return _shared(ndarray) if zero_copy else NDArray(np.array(ndarray, order="C"), known_context(None))


def from_dlpack(dlpack) -> NDArray:
    """An NDArray that shares the memory of an array of any library with DLPack, or of a DLPack capsule."""
    return _shared(np.from_dlpack(dlpack) if hasattr(dlpack, "__dlpack__") else np.asarray(_Capsule(dlpack)))


def to_dlpack_for_read(data: NDArray):
    """A DLPack capsule that shares the memory of an array, for a library that reads it. Most take the array itself."""
    return data.to_dlpack_for_read()


to_dlpack_for_write = to_dlpack_for_read


class _Capsule:
    """The array of a DLPack capsule on the CPU as an object that NumPy takes; it may be written, as in MXNet."""

    def __init__(self, capsule):
        self.capsule = capsule
        self.array = np.from_dlpack(self)  # which is read-only: capsules of the old kind do not say whether they may be written
        self.__array_interface__ = self.array.__array_interface__ | {"data": (self.array.ctypes.data, False)}

    def __dlpack__(self, **_):
        return self.capsule

    def __dlpack_device__(self):
        return 1, 0


def _shared(data: np.ndarray) -> NDArray:
    """An NDArray of memory that others have too."""
    data = np.ascontiguousarray(data)
    memory.expose(data)
    return NDArray(data, known_context(None))
