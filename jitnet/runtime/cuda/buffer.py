"""DeviceBuffer: what an Array on a GPU holds in the place of a NumPy array.

It has a NumPy array's attributes; what computes (ufuncs, functions, methods, indexing) runs as compiled programs on its device
(eager.py), what asks for values (`item`, `tolist`, float(), printing) waits and copies them to the host. Elements are
contiguous; reshaping shares memory, everything else makes new arrays.
"""
from __future__ import annotations

import math

import numpy as np

from ...types import short_dtype
from ..device import Device

HOST_METHODS = ("item", "tolist", "tobytes", "dump", "dumps", "tofile", "tostring")   # they ask for the values


class Kind:
    """What buffers of one device, shape and dtype have in common. One object each per device in use, so that calls find their
    program by identity."""

    __slots__ = ("dtype", "gpu", "nbytes", "shape", "size")

    def __init__(self, gpu, shape: tuple[int, ...], dtype: np.dtype):
        self.gpu, self.shape, self.dtype = gpu, shape, dtype
        self.size = math.prod(shape)
        self.nbytes = dtype.itemsize * self.size


class DeviceBuffer:
    """Contiguous elements in a device's memory: `shape` and `dtype` of what starts `offset` bytes into `block`."""

    __slots__ = ("__weakref__", "block", "kind", "pointer")

    def __init__(self, gpu, block, shape: tuple[int, ...], dtype: np.dtype, offset: int = 0):
        self.kind, self.block, self.pointer = gpu.kind(shape, dtype), block, block.pointer + offset

    @property
    def gpu(self):
        return self.kind.gpu

    @property
    def shape(self) -> tuple[int, ...]:
        return self.kind.shape

    @property
    def dtype(self) -> np.dtype:
        return self.kind.dtype

    @property
    def device(self) -> Device:
        return self.kind.gpu.device

    @property
    def ndim(self) -> int:
        return len(self.kind.shape)

    @property
    def size(self) -> int:
        return self.kind.size

    @property
    def itemsize(self) -> int:
        return self.kind.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.kind.nbytes

    @property
    def writeable(self) -> bool:
        """Whether elements can be changed; not those of another library that says so."""
        return not self.block.read_only

    @property
    def T(self):
        return self if self.ndim < 2 else self._method("transpose")

    @property
    def mT(self):
        return self._method("swapaxes", -1, -2)

    def __repr__(self) -> str:
        text = repr(self.host())
        return f"{text[:-1]}, device={self.device})"

    def __str__(self) -> str:
        return str(self.host())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    # Values

    def host(self) -> np.ndarray:
        """The values as a fresh NumPy array; waits for them."""
        from .transfer import to_host

        return to_host(self)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError(f"the elements are on {self.device}: NumPy cannot have them without a copy")
        values = self.host()
        return values if dtype is None else values.astype(dtype, copy=False)

    def __bool__(self) -> bool:
        return bool(self.host())

    def __int__(self) -> int:
        return int(self.host())

    def __float__(self) -> float:
        return float(self.host())

    def __complex__(self) -> complex:
        return complex(self.host())

    def __index__(self) -> int:
        return self.host().__index__()

    def __round__(self, ndigits: int | None = None):
        return round(self.host()[()], ndigits)

    def __format__(self, spec: str) -> str:
        return format(self.host(), spec)

    def __contains__(self, item) -> bool:
        return item in self.host()

    def __reduce__(self):
        return restored, (self.host(), str(self.device.kind), self.device.index)

    def __deepcopy__(self, memo) -> DeviceBuffer:
        return self.copy()

    # Memory

    def same_memory(self, shape: tuple[int, ...]) -> DeviceBuffer:
        """The elements in the same order under another shape."""
        return DeviceBuffer(self.gpu, self.block, shape, self.dtype, self.pointer - self.block.pointer)

    def copy(self, order="C") -> DeviceBuffer:
        """A copy on the same device."""
        from .transfer import copied

        return copied(self)

    def assign(self, value) -> None:
        """Writes a value of this shape and dtype into these elements, on the device."""
        from .transfer import write

        write(self, value)

    def overlaps(self, other: DeviceBuffer) -> bool:
        """Whether two buffers share memory."""
        return (self.gpu is other.gpu and self.pointer < other.pointer + other.nbytes
                and other.pointer < self.pointer + self.nbytes)

    # NumPy's protocols: what computes, computes on the device

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        from .eager import run_ufunc

        return run_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        from .eager import run

        return run(function, args, kwargs)

    def __getitem__(self, key):
        from .eager import get_item

        return get_item(self, key)

    def __setitem__(self, key, value) -> None:
        from .eager import set_item

        set_item(self, key, value)

    def reshape(self, *shape, order="C"):
        """The elements under another shape; they share memory."""
        if order != "C":
            return self._method("reshape", *shape, order=order)
        wanted = shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape
        return self.same_memory(np.broadcast_to(np.empty((), np.int8), self.shape).reshape(wanted).shape if -1 in wanted
                                or math.prod(wanted) != self.size else tuple(map(int, wanted)))

    def fill(self, value) -> None:
        """Gives all elements one value."""
        self[...] = value

    def _method(self, name: str, *args, **kwargs):
        from .eager import run_method

        return run_method(name, (self, *args), kwargs)

    def __getattr__(self, name: str):
        if name.startswith("__"):   # a protocol that this is no part of, such as `__array_interface__`
            raise AttributeError(f"an array on {self.device} has no {name}")
        if name in HOST_METHODS:
            return lambda *args, **kwargs: getattr(self.host(), name)(*args, **kwargs)
        if not hasattr(np.ndarray, name):
            raise AttributeError(f"an array on {self.device} has no attribute {name!r}")
        return lambda *args, **kwargs: self._method(name, *args, **kwargs)

    # What other libraries see

    @property
    def __cuda_array_interface__(self) -> dict:
        from .interop import array_interface

        return array_interface(self)

    def __dlpack__(self, **options):
        from .interop import export

        return export(self, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        from .interop import CUDA

        return CUDA, self.gpu.index

    @property
    def type_text(self) -> str:
        """`f32[3,4] on gpu(0)`"""
        return f"{short_dtype(self.dtype)}[{','.join(map(str, self.shape))}] on {self.device}"


def whole(kind: Kind, block) -> DeviceBuffer:
    """The buffer of that kind at the start of a block."""
    made = _new(DeviceBuffer)
    made.kind, made.block, made.pointer = kind, block, block.pointer
    return made


_new = object.__new__


def restored(values: np.ndarray, kind: str, index: int) -> DeviceBuffer:
    """A pickled buffer, on the device it came from."""
    from .transfer import to_gpu

    return to_gpu(values, Device(kind, index))
