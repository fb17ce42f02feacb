"""Arrays on a GPU, shared with other libraries without a copy: `__cuda_array_interface__` version 3, and DLPack.

Streams: whoever takes an array waits on its own stream, on the device, for what the giver's stream is doing. Memory that went
out is reused only after the taker's stream; memory that came in is let go of when our stream is done with it.
"""
from __future__ import annotations

import ctypes
import functools
import math

import numpy as np

from ...errors import TraceTypeError, TraceValueError
from ...types import BF16, known_dtype
from .. import dlpack, llvm
from .buffer import DeviceBuffer
from .driver import DriverError, driver
from .memory import Foreign
from .stream import Gpu, open_gpu

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13   # DLDeviceType
INT, UINT, FLOAT, BFLOAT, BOOL = 0, 1, 2, 4, 6       # DLDataTypeCode
KINDS = {"i": INT, "u": UINT, "f": FLOAT, "b": BOOL}
LEGACY_STREAM = 1                                    # how both protocols call CUDA's default stream
COPIED, READ_ONLY = 2, 1                             # flags of a versioned tensor


class DLTensor(ctypes.Structure):
    """An array as DLPack describes it."""

    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class Managed(ctypes.Structure):
    """What a capsule named `dltensor` holds."""

    _fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class ManagedVersioned(ctypes.Structure):
    """What a capsule named `dltensor_versioned` holds."""

    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
                ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", DLTensor)]


Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
CapsuleDestructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_python = ctypes.pythonapi
_exported: dict[int, tuple] = {}   # address of what a capsule holds -> what keeps it and its memory alive


def _python_function(name: str, result, *arguments):
    prototype = ctypes.PYFUNCTYPE(result, *arguments)
    return prototype((name, _python))


_new_capsule = _python_function("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_is_valid = _python_function("PyCapsule_IsValid", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
_get_pointer = _python_function("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_set_name = _python_function("PyCapsule_SetName", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
# A capsule that dies is no object to be referred to any more: its destructor works on the bare address.
_dying_is_valid = _python_function("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_dying_pointer = _python_function("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)


# Out

def array_interface(buffer: DeviceBuffer) -> dict:
    """The `__cuda_array_interface__` of a buffer; its taker waits for our stream. It has no bfloat16: AttributeError."""
    if buffer.dtype == BF16:
        raise AttributeError("__cuda_array_interface__ has no bfloat16; DLPack has")
    gpu = buffer.gpu
    with gpu.lock, gpu.doing("handing an array over"):
        gpu.stream_waits(LEGACY_STREAM)   # nothing says which stream the taker uses: mostly this one, and torch looks at none
    lend(buffer, LEGACY_STREAM)
    return {"shape": buffer.shape, "typestr": buffer.dtype.str, "version": 3, "strides": None, "stream": gpu.stream,
            "data": (buffer.pointer if buffer.size else 0, not buffer.writeable)}


def lend(buffer: DeviceBuffer, stream: int) -> None:
    """Remembers that a stream may be using a buffer: its memory is reused only after what is on that stream then."""
    buffer.block.lend(stream)


def export(buffer: DeviceBuffer, *, stream=None, max_version=None, dl_device=None, copy=None):
    """A DLPack capsule of a buffer. stream: the taker's, which will wait for ours; None: the default one; -1: it need not.

    dl_device: where the taker wants it; the CPU gets a copy, which waits, unless copy is False. BufferError for other places.
    """
    gpu = buffer.gpu
    if dl_device is not None and tuple(dl_device) == (CPU, 0) and copy is not False:
        return dlpack.export(buffer.host(), max_version=max_version)
    if dl_device is not None and tuple(dl_device) != (CUDA, gpu.index):
        raise BufferError(f"the array is on {gpu.device}: move it first with `to`")
    versioned = max_version is not None and tuple(max_version) >= (1, 0)
    if copy:
        buffer = buffer.copy()
    if not (versioned or buffer.writeable):
        raise BufferError("the array is read-only, which DLPack can tell from version 1.0 on: pass a copy")
    if stream != -1:
        taker = LEGACY_STREAM if stream is None else int(stream)
        with gpu.lock, gpu.doing("handing an array over"):
            gpu.stream_waits(taker)
        lend(buffer, taker)
    return _capsule(buffer, versioned, (COPIED if copy else 0) | (0 if buffer.writeable else READ_ONLY))


def _code(dtype: np.dtype) -> int:
    return BFLOAT if dtype == BF16 else KINDS[dtype.kind]


def _capsule(buffer: DeviceBuffer, versioned: bool, flags: int):
    ndim = buffer.ndim
    shape = (ctypes.c_int64 * max(ndim, 1))(*buffer.shape)
    steps = [math.prod(buffer.shape[k + 1:]) for k in range(ndim)]
    strides = (ctypes.c_int64 * max(ndim, 1))(*steps)
    tensor = DLTensor(buffer.pointer if buffer.size else None, CUDA, buffer.gpu.index, ndim, _code(buffer.dtype),
                      8 * buffer.dtype.itemsize, 1, shape, strides, 0)
    deleter = ctypes.cast(_deleter, ctypes.c_void_p).value
    managed = ManagedVersioned(1, 0, None, deleter, flags, tensor) if versioned else Managed(tensor, None, deleter)
    address = ctypes.addressof(managed)
    _exported[address] = managed, shape, strides, buffer.block
    return _new_capsule(address, b"dltensor_versioned" if versioned else b"dltensor", _destructor())


# Takers call these when the interpreter ends, too, after this module's names are gone: what they need is their own.
@Deleter
def _deleter(address, exported=_exported):
    """Called by the taker when it is done with an array of ours."""
    exported.pop(address, None)


@CapsuleDestructor
def _destroy(capsule, exported=_exported, is_valid=_dying_is_valid, pointer=_dying_pointer):
    """Called when a capsule dies: one that nobody took still owns its array."""
    for name in (b"dltensor", b"dltensor_versioned"):
        if is_valid(capsule, name):
            exported.pop(pointer(capsule, name), None)


for _function in (_deleter, _destroy):   # code that C may call is never freed
    _python.Py_IncRef(ctypes.py_object(_function))

ASIDE = """
define void @jitnet_destroy(ptr %capsule) {{
  %kind = alloca ptr
  %value = alloca ptr
  %where = alloca ptr
  call void inttoptr (i64 {PyErr_Fetch} to ptr)(ptr %kind, ptr %value, ptr %where)
  call void inttoptr (i64 {destroy} to ptr)(ptr %capsule)
  %error = load ptr, ptr %kind
  %its.value = load ptr, ptr %value
  %its.place = load ptr, ptr %where
  call void inttoptr (i64 {PyErr_Restore} to ptr)(ptr %error, ptr %its.value, ptr %its.place)
  ret void
}}
"""


@functools.cache
def _destructor() -> int:
    """The address of what a dying capsule calls: `_destroy`, with the error of a taker that refused the capsule put aside, for
    Python code cannot run before an error has been seen."""
    places = {name: ctypes.cast(getattr(_python, name), ctypes.c_void_p).value for name in ("PyErr_Fetch", "PyErr_Restore")}
    text = ASIDE.format(destroy=ctypes.cast(_destroy, ctypes.c_void_p).value, **places)
    loaded = llvm.LoadedObject(llvm.emit_object([text], vectorize=False), ("jitnet_destroy",))
    _python.Py_IncRef(ctypes.py_object(loaded))
    return loaded.address["jitnet_destroy"]


# In

def take_in(value) -> DeviceBuffer:
    """A buffer of another library's array on a GPU, without a copy."""
    if hasattr(value, "__dlpack__"):
        kind, index = value.__dlpack_device__()
        if kind not in (CUDA, CUDA_MANAGED):
            raise TraceTypeError(f"asarray: a {type(value).__name__} lies on a device of DLPack's kind {int(kind)}, which "
                                 f"jitnet does not know", "copy it to the CPU or to a CUDA device first")
        gpu = open_gpu(index)
        try:
            capsule = value.__dlpack__(stream=gpu.stream, max_version=(1, 0))
        except TypeError:   # a producer older than versions
            capsule = value.__dlpack__(stream=gpu.stream)
        return _from_capsule(gpu, capsule, type(value).__name__)
    return _from_interface(value)


class _Taken:
    """A tensor that was taken out of its capsule: freed when this goes."""

    def __init__(self, deleter: int, address: int, capsule):
        self.deleter, self.address, self.capsule = deleter, address, capsule

    def __del__(self, function=Deleter):   # also when the interpreter ends, and this module's names are gone
        if self.deleter:
            function(self.deleter)(self.address)


def _from_capsule(gpu: Gpu, capsule, name: str) -> DeviceBuffer:
    versioned = bool(_is_valid(capsule, b"dltensor_versioned"))
    address = _get_pointer(capsule, b"dltensor_versioned" if versioned else b"dltensor")
    managed = (ManagedVersioned if versioned else Managed).from_address(address)
    if versioned and managed.major > 1:
        raise TraceTypeError(f"asarray: a {name} speaks DLPack {managed.major}, which is newer than 1",
                             "hand it over by `__cuda_array_interface__`")
    t = managed.tensor
    shape = tuple(t.shape[k] for k in range(t.ndim))
    strides = tuple(t.strides[k] for k in range(t.ndim)) if t.strides else None
    dtype = _dtype(t.code, t.bits, t.lanes, name)
    _check_contiguous(shape, strides, name)
    _set_name(capsule, b"used_dltensor_versioned" if versioned else b"used_dltensor")   # from here on it is ours to delete
    owner, read_only = _Taken(managed.deleter, address, capsule), versioned and bool(managed.flags & READ_ONLY)
    return DeviceBuffer(gpu, Foreign(gpu, (t.data or 0) + t.byte_offset, owner, read_only), shape, dtype)


def _dtype(code: int, bits: int, lanes: int, name: str) -> np.dtype:
    if (code, bits, lanes) == (BFLOAT, 16, 1):
        return BF16
    letter = next((k for k, c in KINDS.items() if c == code), None)
    if letter is None or lanes != 1 or bits % 8:
        raise TraceTypeError(f"asarray: a {name} has a dtype that jitnet does not compile (DLPack's code {code}, {bits} bits)",
                             "convert it first")
    return known_dtype(f"{letter}{bits // 8}", "asarray")


def _from_interface(value) -> DeviceBuffer:
    table, name = value.__cuda_array_interface__, type(value).__name__
    shape, dtype = tuple(table["shape"]), known_dtype(table["typestr"], "asarray")
    strides = table.get("strides")
    _check_contiguous(shape, strides and tuple(s // dtype.itemsize for s in strides), name)
    if table.get("mask") is not None:
        raise TraceTypeError(f"asarray: a {name} with a mask", "fill it first")
    pointer = table["data"][0]
    nbytes = dtype.itemsize * math.prod(shape)
    gpu = open_gpu(_device_of(pointer, name) if nbytes else 0)
    if table.get("stream") is not None:
        with gpu.lock, gpu.doing("taking an array over"):
            gpu.wait_for_stream(table["stream"])
    return DeviceBuffer(gpu, Foreign(gpu, pointer, value, bool(table["data"][1])), shape, dtype)


def _device_of(pointer: int, name: str) -> int:
    """The number of the device that an address belongs to."""
    try:
        return driver().device_of(pointer)
    except DriverError as error:
        if error.name != "INVALID_CONTEXT":
            raise TraceValueError(f"asarray: a {name} at an address that is on no GPU of this process",
                                  "hand it over by DLPack, or copy it first") from None
    first = open_gpu(0)   # a thread that has used no device yet may not ask
    with first.lock, first.doing("asking where an array is"):
        return first.driver.device_of(pointer)


def _check_contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None, name: str) -> None:
    """TraceValueError unless the elements follow one another in row-major order."""
    step = 1
    for n, stride in reversed(list(zip(shape, strides or ()))):
        if n > 1 and stride != step and 0 not in shape:
            raise TraceValueError(f"asarray: a {name} of shape {list(shape)} on a GPU is not contiguous",
                                  "make it so first: `x.contiguous()` or `ascontiguousarray(x)`")
        step *= n
