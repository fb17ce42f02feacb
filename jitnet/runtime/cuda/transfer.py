"""Copies: NumPy arrays to a GPU, back to the host, within a GPU and between two.

What goes to a device is copied into page-locked memory first, so that the caller may change his array at once and nobody waits
for the device. What comes back has to be waited for: `to_host` is where a program's values are asked for.
"""
from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from ...errors import TraceValueError
from ..device import Device
from .buffer import DeviceBuffer
from .stream import Gpu, open_gpu

CHUNK = 16 << 20   # bytes copied at once through page-locked memory: large enough for full speed, two of them overlap
ALIGNMENT = 256    # of arrays that travel together
MOST_NUMBERS = 256   # that stay on a device


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


def send_numbers(gpu: Gpu, values: Sequence[np.ndarray]) -> list[DeviceBuffer]:
    """Numbers on a GPU. One that comes for the second time stays there; one that comes once, such as a rate of learning that
    changes, would take addresses with it that graphs know. Within `gpu.doing`."""
    keys = [(value.dtype.char, value.tobytes()) for value in values]
    found = [gpu.numbers.get(key) for key in keys]
    if None in found:
        missing = {key: value for key, value, buffer in zip(keys, values, found) if buffer is None}
        sent = dict(zip(missing, send(gpu, list(missing.values()))))
        for key, buffer in sent.items():
            _put(gpu.numbers if key in gpu.seen else gpu.seen, key, buffer if key in gpu.seen else None)
        found = [sent[key] if buffer is None else buffer for key, buffer in zip(keys, found)]
    return found


def _put(table: dict, key, value) -> None:
    """Adds an entry; the oldest of too many goes."""
    table[key] = value
    if len(table) > MOST_NUMBERS:
        del table[next(iter(table))]


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
    parts: list[Part] = []
    try:
        with gpu.lock, gpu.doing(f"copying {buffer.type_text} to the host"):
            for start in range(0, nbytes, CHUNK):
                if len(parts) > 1:   # one on its way while the other is taken out
                    parts[-2].receive(gpu, values)
                parts.append(Part(gpu, start, min(CHUNK, nbytes - start)))
                parts[-1].send(gpu, buffer.pointer)
        gpu.wait()
        with gpu.lock, gpu.doing(f"copying {buffer.type_text} to the host"):
            for part in parts[-2:]:
                part.receive(gpu, values)
    except BaseException:   # Ctrl-C above all
        if not gpu.lost:
            with gpu.lock, gpu.doing("giving a copy up"):
                for part in parts:
                    part.give_up(gpu)
        raise
    return out


class Part:
    """A piece of a buffer on its way to page-locked memory."""

    def __init__(self, gpu: Gpu, start: int, nbytes: int):
        self.start, self.nbytes, self.busy, self.pinned = start, nbytes, gpu.pinned.busy, 0
        self.event = gpu.take_event()
        self.pinned, self.size = gpu.pinned.take(nbytes)   # 0 once it was given back

    def send(self, gpu: Gpu, pointer: int) -> None:
        """Starts the copy out of a buffer."""
        gpu.driver.copy(self.pinned, pointer + self.start, self.nbytes, gpu.stream)
        gpu.driver.record(self.event, gpu.stream)

    def receive(self, gpu: Gpu, values: np.ndarray) -> None:
        """Puts the bytes where they belong once they are here."""
        if not gpu.driver.is_done(self.event):
            gpu.driver.wait_for(self.event)
        values[self.start:self.start + self.nbytes] = host_bytes(self.pinned, self.nbytes)
        pinned, self.pinned = self.pinned, 0
        gpu.events.append(self.event)
        gpu.pinned.put_at_once(pinned, self.size)

    def give_up(self, gpu: Gpu) -> None:
        """Gives the memory back once the copy, if there is one under way, is done with it."""
        if self.pinned:
            gpu.driver.record(self.event, gpu.stream)
            self.busy.append((self.event, self.pinned, self.size))
            self.pinned = 0

    def __del__(self):   # nobody asked for the values: the event tells when the memory is free. Here nothing may be called
        if self.pinned:
            self.busy.append((self.event, self.pinned, self.size))


class Coming:
    """The values that a buffer has when its device gets here, on their way to the host: `values()` waits for them alone."""

    def __init__(self, buffer: DeviceBuffer):
        gpu = self.gpu = buffer.gpu
        self.shape, self.dtype, self.what = buffer.shape, buffer.dtype, f"copying {buffer.type_text} to the host"
        self.parts: list[Part] = []
        with gpu.lock, gpu.doing(self.what):
            for start in range(0, buffer.nbytes, CHUNK):
                self.parts.append(Part(gpu, start, min(CHUNK, buffer.nbytes - start)))
                self.parts[-1].send(gpu, buffer.pointer)

    def values(self) -> np.ndarray:
        """The values as a fresh NumPy array, once."""
        gpu, out = self.gpu, np.empty(self.shape, self.dtype)
        for part in self.parts:
            if gpu.lost:
                gpu.refuse()
            gpu.wait_for_event(part.event)
            with gpu.lock, gpu.doing(self.what):
                part.receive(gpu, as_bytes(out))
        return out


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
