"""Copies: NumPy arrays to a GPU, back to the host, within a GPU and between two.

What goes to a device is copied into page-locked memory first, so that the caller may change his array at once and nobody waits
for the device. What comes back has to be waited for: `to_host` is where a program's values are asked for.
"""
from __future__ import annotations

import collections
import ctypes
from collections.abc import Sequence

import numpy as np

from ...errors import TraceValueError
from ..device import Device
from .buffer import DeviceBuffer
from .stream import Gpu, open_gpu

CHUNK = 16 << 20   # bytes copied at once through page-locked memory: large enough for full speed, two of them overlap
ALIGNMENT = 256    # of arrays that travel together


def host_bytes(pointer: int, nbytes: int) -> np.ndarray:
    """Host memory at an address as bytes."""
    return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(pointer), np.uint8)


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The bytes of a contiguous array."""
    return array.reshape(-1).view(np.uint8)


def to_gpu(array: np.ndarray, device: Device) -> DeviceBuffer:
    """A copy of a NumPy array on a GPU."""
    gpu = open_gpu(device.index)
    with gpu.lock, gpu.doing(f"copying {array.dtype}{list(array.shape)} there"):
        return send(gpu, [array])[0]


def send(gpu: Gpu, arrays: Sequence[np.ndarray]) -> list[DeviceBuffer]:
    """Copies of NumPy arrays on a GPU; small ones travel together, empty ones lie nowhere. Within `gpu.doing`."""
    gpu.let_go()
    buffers: list[DeviceBuffer | None] = [None] * len(arrays)
    small = [k for k, a in enumerate(arrays) if 0 < a.nbytes <= CHUNK // 4]
    offsets, total = [], 0
    for k in small:
        offsets.append(total)
        total += -(-arrays[k].nbytes // ALIGNMENT) * ALIGNMENT
    if total:
        block = gpu.pool.take_for_host(total)
        pinned, size = gpu.pinned.take(total)
        staging = host_bytes(pinned, total)
        for k, offset in zip(small, offsets):
            a = np.ascontiguousarray(arrays[k])
            staging[offset:offset + a.nbytes] = as_bytes(a)
            buffers[k] = DeviceBuffer(gpu, block, arrays[k].shape, a.dtype, offset)
        gpu.driver.copy(block.pointer, pinned, total, gpu.stream)
        gpu.pinned.put(pinned, size)
    for k, a in enumerate(arrays):
        if buffers[k] is None:
            buffers[k] = DeviceBuffer(gpu, gpu.pool.take_for_host(a.nbytes), a.shape, a.dtype)
            _send_large(gpu, buffers[k].pointer, as_bytes(np.ascontiguousarray(a)))
    return buffers


def _send_large(gpu: Gpu, pointer: int, values: np.ndarray) -> None:
    for start in range(0, len(values), CHUNK):
        part = values[start:start + CHUNK]
        pinned, size = gpu.pinned.take(len(part))
        host_bytes(pinned, len(part))[:] = part
        gpu.driver.copy(pointer + start, pinned, len(part), gpu.stream)
        gpu.pinned.put(pinned, size)


def to_host(buffer: DeviceBuffer) -> np.ndarray:
    """The values as a fresh NumPy array. Waits, and raises what went wrong on the device."""
    gpu, nbytes = buffer.gpu, buffer.nbytes
    out = np.empty(buffer.shape, buffer.dtype)
    values = as_bytes(out)
    parts: collections.deque[Part] = collections.deque()
    with gpu.lock, gpu.doing(f"copying {buffer.type_text} to the host"):
        for start in range(0, nbytes, CHUNK):
            if len(parts) == 2:   # one on its way while the other is taken out
                parts.popleft().receive(gpu, values)
            parts.append(Part(gpu, buffer.pointer, start, min(CHUNK, nbytes - start)))
    gpu.wait()
    with gpu.lock, gpu.doing(f"copying {buffer.type_text} to the host"):
        for part in parts:
            part.receive(gpu, values)
    return out


class Part:
    """A piece of a buffer on its way to page-locked memory."""

    def __init__(self, gpu: Gpu, pointer: int, start: int, nbytes: int):
        self.start, self.nbytes = start, nbytes
        self.pinned, self.size = gpu.pinned.take(nbytes)
        gpu.driver.copy(self.pinned, pointer + start, nbytes, gpu.stream)
        self.event = gpu.take_event()
        gpu.driver.record(self.event, gpu.stream)

    def receive(self, gpu: Gpu, values: np.ndarray) -> None:
        """Puts the bytes where they belong once they are here."""
        if not gpu.driver.is_done(self.event):
            gpu.driver.wait_for(self.event)
        gpu.events.append(self.event)
        values[self.start:self.start + self.nbytes] = host_bytes(self.pinned, self.nbytes)
        gpu.pinned.put_at_once(self.pinned, self.size)


def copied(buffer: DeviceBuffer, device: Device | None = None) -> DeviceBuffer:
    """A copy on the same GPU, or on another one."""
    source = buffer.gpu
    gpu = source if device is None or device == source.device else open_gpu(device.index)
    with gpu.lock, gpu.doing(f"copying {buffer.type_text}"):
        out = DeviceBuffer(gpu, gpu.pool.take(buffer.nbytes), buffer.shape, buffer.dtype)
    if gpu is not source:
        source.precedes(gpu)
    with gpu.lock, gpu.doing(f"copying {buffer.type_text}"):
        if buffer.nbytes and gpu is source:
            gpu.driver.copy(out.pointer, buffer.pointer, buffer.nbytes, gpu.stream)
        elif buffer.nbytes:
            gpu.driver.copy_peer(out.pointer, gpu.context, buffer.pointer, source.context, buffer.nbytes, gpu.stream)
    if gpu is not source:
        gpu.precedes(source)   # the source's memory may be used for something else after this copy alone
    return out


def write(target: DeviceBuffer, value: DeviceBuffer | np.ndarray) -> None:
    """Writes a value of the same shape and dtype into a buffer, on its device."""
    gpu = target.gpu
    if not target.writeable:
        raise TraceValueError(f"{target.type_text} is read-only: the library that it comes from says so",
                              "write into a copy: `x.copy()`")
    with gpu.lock, gpu.doing(f"writing {target.type_text}"):
        if not isinstance(value, DeviceBuffer):
            (value,) = send(gpu, [np.broadcast_to(np.asarray(value, target.dtype), target.shape)])
        elif value.gpu is not gpu:
            value = copied(value, gpu.device)
        if target.nbytes:
            gpu.driver.copy(target.pointer, value.pointer, target.nbytes, gpu.stream)
