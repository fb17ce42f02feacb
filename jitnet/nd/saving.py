"""`nd.save` and `nd.load`: MXNet's own file of arrays, byte for byte.

    file   ::=  u64 0x112, u64 0, u64 count, array*, u64 count of names, name*
    name   ::=  u64 length, bytes
    array  ::=  u32 magic, i32 storage (0: dense), shape, i32 device kind, i32 device number, i32 dtype, elements
    shape  ::=  i32 ndim, i64 size*          V2 (0xF993FAC9) and V3 (0xF993FACA)
             |  i32 ndim, i64 size*          V1 (0xF993FAC8), without `storage`; older still: the magic is ndim, sizes are u32

In V2 an array without axes means "no array"; a 0-d array or one with a size of 0 is written as V3, as MXNet does with NumPy's
shapes. Numbers are little-endian.
"""
from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from ..context import cpu
from ..errors import MXNetError
from .memory import host
from .ndarray import NDArray

LIST_MAGIC, V1, V2, V3 = 0x112, 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DTYPES = {0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool", 8: "int16",
          9: "uint16", 10: "uint32", 11: "uint64"}
NUMBERS = {np.dtype(name): number for number, name in DTYPES.items()}


def save(fname: str | os.PathLike, data) -> None:
    """Writes an NDArray, a list of them or a dict of name to NDArray into a file that MXNet reads as well.

    >>> import jitnet as mx, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.params")
    >>> mx.nd.save(path, {"w": mx.nd.ones((2, 2))})
    >>> mx.nd.load(path)["w"].shape
    (2, 2)
    """
    content = dumps(data)
    part = f"{os.fspath(fname)}.{os.getpid()}.part"
    try:
        with open(part, "wb") as file:
            file.write(content)
        os.replace(part, fname)  # a reader sees the old file or the new one
    except BaseException:
        if os.path.exists(part):
            os.remove(part)
        raise


def dumps(data) -> bytes:
    """The bytes of the file for an NDArray, a list or a dict of them."""
    if isinstance(data, NDArray):
        data = [data]
    if isinstance(data, Mapping):
        names, arrays = list(data), list(data.values())
    elif isinstance(data, Sequence) and not isinstance(data, str):
        names, arrays = [], list(data)
    else:
        raise ValueError(f"data needs to either be a NDArray, dict of str, NDArray pairs or a list of NDarrays, not "
                         f"{type(data).__name__}")
    if not all(isinstance(a, NDArray) for a in arrays) or not all(isinstance(n, str) for n in names):
        raise TypeError("save only accepts NDArrays, and names that are strings")
    parts = [struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays)), *map(_array_bytes, arrays), struct.pack("<Q", len(names))]
    for name in names:
        encoded = name.encode()
        parts.append(struct.pack("<Q", len(encoded)) + encoded)
    return b"".join(parts)


def _array_bytes(array: NDArray) -> bytes:
    data = host(array._data)
    number = NUMBERS.get(data.dtype)
    if number is None:
        raise MXNetError(f"nd.save: the file has no code for the dtype {data.dtype}", "convert with `astype` first")
    magic = V3 if not data.ndim or not data.size else V2
    head = struct.pack(f"<Iii{data.ndim}q", magic, 0, data.ndim, *data.shape)
    return head + struct.pack("<iii", 1, 0, number) + data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()


def load(fname: str | os.PathLike) -> list[NDArray] | dict[str, NDArray]:
    """The arrays of a file that `save`, or MXNet, wrote: a dict when they have names, else a list."""
    with open(fname, "rb") as file:
        return _loads(file.read(), os.fspath(fname))


def load_frombuffer(buf: bytes) -> list[NDArray] | dict[str, NDArray]:
    """The arrays in bytes that a file of `save` would hold."""
    return _loads(bytes(buf), "buffer")


class _Reader:
    def __init__(self, content: bytes, source: str):
        self.content, self.source, self.at = content, source, 0

    def bytes(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.content):
            raise self.broken("it ends too early")
        self.at += count
        return self.content[self.at - count:self.at]

    def numbers(self, code: str) -> tuple:
        return struct.unpack("<" + code, self.bytes(struct.calcsize("<" + code)))

    def broken(self, why: str) -> MXNetError:
        return MXNetError(f"nd.load: {self.source} is no file of arrays, or a damaged one: {why}", "write it with `nd.save`")


def _loads(content: bytes, source: str):
    reader = _Reader(content, source)
    magic, _, count = reader.numbers("QQQ")
    if magic != LIST_MAGIC:
        raise reader.broken("Invalid NDArray file format")
    arrays = [_read_array(reader) for _ in range(count)]
    (names,) = reader.numbers("Q")
    if not names:
        return arrays
    if names != count:
        raise reader.broken(f"{names} names for {count} arrays")
    return {reader.bytes(*reader.numbers("Q")).decode(): array for array in arrays}


def _read_array(reader: _Reader) -> NDArray:
    (magic,) = reader.numbers("I")
    if magic in (V2, V3):
        (storage,) = reader.numbers("i")
        if storage != 0:
            raise reader.broken(f"it holds a sparse array (storage type {storage}); arrays are dense here")
    ndim, code = (reader.numbers("i")[0], "q") if magic in (V1, V2, V3) else (magic, "I")
    if not 0 <= ndim <= 64:
        raise reader.broken(f"an array with {ndim} axes")
    shape = reader.numbers(f"{ndim}{code}")
    if not ndim and magic != V3:
        return NDArray(np.zeros(0, np.float32), cpu())
    _, _, number = reader.numbers("iii")
    if number not in DTYPES or min(shape, default=0) < 0:
        raise reader.broken(f"dtype number {number}, shape {shape}")
    dtype = np.dtype(DTYPES[number]).newbyteorder("<")
    size = int(np.prod(shape, dtype=object)) if shape else 1
    data = np.frombuffer(reader.bytes(size * dtype.itemsize), dtype).reshape(shape)
    return NDArray(data.astype(DTYPES[number]), cpu())
