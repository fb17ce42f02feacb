"""A GPU made of this machine's memory: programs for a GPU run, and can be tested, where there is none.

    with fake_gpus() as driver:
        f(jitnet.asarray(x, device="gpu"))
        driver.calls["synchronize"]

It is asynchronous as a real one: what is enqueued runs when somebody waits, and not before, so that a value read too early is
a wrong value. Freed memory is overwritten, and addresses outside of what is allocated crash the device. Kernels are those of
the CPU. Failures can be planted: `driver.plant("allocate", 3, "OUT_OF_MEMORY")`.
"""
from __future__ import annotations

import collections
import contextlib
import ctypes
import itertools
import threading
from collections.abc import Callable, Iterator

import numpy as np

from .codegen.cpu import cpu_source
from .codegen.cuda_launch import Launch
from .runtime.cache import get_kernel
from .runtime.cuda import driver as cuda_driver
from .runtime.cuda import stream as cuda_stream
from .runtime.cuda.driver import DriverError, Properties
from .runtime.cuda.module import GpuKernel
from .testing_gpu_graphs import FakeGraphs
from .testing_gpu_products import FakeProducts

FREED, FRESH = 0xDB, 0xCB   # what bytes are before and after their time
GUARD = 64                  # bytes before and after a block that belong to nobody


def one_thread(properties: Properties) -> Launch:
    """The launch of any kernel."""
    return Launch((1, 1, 1), (1, 1, 1))


class FakeToolchain:
    """Kernels of the CPU, launched as one thread that does all."""

    version = "fake 1"

    def kernel(self, nest) -> GpuKernel:
        made = cpu_source(nest)
        text = f"# {len(nest.buffers)} buffers\n{made.text}"
        return GpuKernel(text, "kernel", (*made.sizes, made.extent), one_thread)

    def image(self, text: str, name: str, capability: tuple[int, int]) -> bytes:
        return text.encode()


class FakeDevice:
    """One device: blocks of memory, and why it is lost."""

    def __init__(self, index: int, memory: int):
        self.index, self.memory, self.lost = index, memory, ""
        self.default = FakeStream(self)
        self.blocks: dict[int, np.ndarray] = {}   # address -> memory, with guards around it
        self.used = 0


class FakeStream:
    """Work in order; `done` counts what has run."""

    def __init__(self, device: FakeDevice):
        self.device, self.done = device, 0
        self.work: collections.deque[Callable[[], None]] = collections.deque()

    @property
    def enqueued(self) -> int:
        return self.done + len(self.work)

    def run(self, until: int) -> None:
        """Runs what was enqueued, up to a count."""
        while self.done < until and self.work:
            self.work.popleft()()
            self.done += 1


class FakeDriver(FakeGraphs):
    """The methods of `runtime.cuda.driver.Driver` on host memory; `calls` counts them, `plant` makes one fail."""

    def __init__(self, devices: int = 1, memory: int = 1 << 30, capability: tuple[int, int] = (9, 0),
                 version: tuple[int, int] = (13, 0)):
        self.devices = [FakeDevice(k, memory) for k in range(devices)]
        self.capability, self.cuda = capability, version
        self.calls: collections.Counter[str] = collections.Counter()
        self.planted: dict[str, tuple[int, str]] = {}
        self.crash_in: int | None = None   # a kernel that many launches from now crashes when it runs
        self.things: dict[int, object] = {}   # handle -> stream, event, module, function, graph, executable
        self.pinned: dict[int, np.ndarray] = {}
        self.capturing: dict[int, int] = {}   # stream -> the graph that what is enqueued there goes to
        self.conditions: dict[int, int] = {}  # handle of a conditional node -> its value
        self.current = threading.local()
        self.toolchain = FakeToolchain()
        self._lock, self._handles = threading.RLock(), itertools.count(1 << 20)

    def plant(self, call: str, nth: int, name: str) -> None:
        """The nth call from now of that method fails with that error of CUDA's."""
        self.planted[call] = self.calls[call] + nth, name

    def _count(self, call: str) -> None:
        self.calls[call] += 1
        at, name = self.planted.get(call, (0, ""))
        if self.calls[call] == at:
            del self.planted[call]
            raise DriverError(name, name.lower().replace("_", " "), call)

    def _new(self, thing) -> int:
        handle = next(self._handles)
        self.things[handle] = thing
        return handle

    def _here(self) -> FakeDevice:
        device = self.devices[getattr(self.current, "context", 0) - 1000]
        if device.lost:
            raise DriverError(device.lost, device.lost.lower().replace("_", " "))
        return device

    def _stream(self, stream: int) -> FakeStream:
        """The stream of a handle; 1 is the default stream of the current device."""
        device = self._here()
        return device.default if stream == 1 else self.things[stream]

    # Devices

    def version(self) -> tuple[int, int]:
        return self.cuda

    def device_count(self) -> int:
        return len(self.devices)

    def properties(self, index: int) -> Properties:
        return Properties("Fake GPU", self.capability, self.devices[index].memory, 4, 1024, 2048, 227 << 10, 32, 50 << 20)

    def open(self, index: int) -> int:
        self._count("open")
        self.devices[index].lost = ""
        return 1000 + index

    def reset(self, index: int) -> None:
        self._count("reset")
        self.devices[index].blocks.clear()
        self.devices[index].used = 0

    def make_current(self, context: int) -> int:
        before = getattr(self.current, "context", 0)
        self.current.context = context
        return before

    def memory_info(self) -> tuple[int, int]:
        device = self._here()
        return device.memory - device.used, device.memory

    # Streams and events

    def new_stream(self) -> int:
        return self._new(FakeStream(self._here()))

    def synchronize(self, stream: int) -> None:
        self._count("synchronize")
        self._run(self._stream(stream))

    def _run(self, stream: FakeStream, until: int | None = None) -> None:
        with self._lock:
            stream.run(stream.enqueued if until is None else until)

    def new_event(self) -> int:
        return self._new([None, 0])

    def record(self, event: int, stream: int) -> None:
        with self._lock:   # while nothing runs: what is being run is counted neither as done nor as work to do
            self.things[event][:] = self._stream(stream), self._stream(stream).enqueued

    def is_done(self, event: int) -> bool:
        self._here()
        stream, until = self.things[event]
        return stream is None or stream.done >= until

    def wait_for(self, event: int) -> None:
        self._count("wait_for")
        self._here()
        self._run(*self.things[event])

    def stream_waits(self, stream: int, event: int) -> None:
        other, until = self.things[event]
        self._enqueue(stream, lambda: other.run(until))

    # Memory

    def use_pool(self, index: int) -> None:
        self._count("use_pool")

    def trim_pool(self, index: int) -> None:
        self._count("trim_pool")

    def allocate(self, nbytes: int, stream: int) -> int:
        self._count("allocate")
        device = self._here()
        if device.used + nbytes > device.memory:
            raise DriverError("OUT_OF_MEMORY", "out of memory", "allocate")
        device.used += nbytes
        memory = np.full(nbytes + 2 * GUARD + 512, FRESH, np.uint8)
        address = -(-(memory.ctypes.data + GUARD) // 512) * 512
        device.blocks[address] = memory
        memory[address - memory.ctypes.data + nbytes:] = FREED
        self.things[address] = nbytes
        return address

    def free(self, pointer: int, stream: int) -> None:
        self._count("free")
        device = self._here()
        nbytes = self.things.pop(pointer)
        device.used -= nbytes
        memory = device.blocks.pop(pointer)
        end = pointer - memory.ctypes.data + nbytes

        def gone():
            if (memory[end:] != FREED).any():
                raise AssertionError(f"something wrote behind a block of {nbytes} bytes")
            memory[:] = FREED

        self._enqueue(stream, gone)

    def allocate_pinned(self, nbytes: int) -> int:
        self._count("allocate_pinned")
        memory = np.full(nbytes, FRESH, np.uint8)
        self.pinned[memory.ctypes.data] = memory
        return memory.ctypes.data

    def free_pinned(self, pointer: int) -> None:
        self._count("free_pinned")
        self.pinned.pop(pointer)[:] = FREED

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._count("copy")
        device = self._stream(stream).device
        for address in (target, source):
            self._check(device, address, nbytes)
            if nbytes and any(d is not device and self._holds(d, address, nbytes) for d in self.devices):
                raise DriverError("INVALID_VALUE", "memory of another device's pool", "copy")
        self._enqueue(stream, lambda t, s: ctypes.memmove(t, s, nbytes), target, source)

    def copy_peer(self, target: int, target_context: int, source: int, source_context: int, nbytes: int, stream: int) -> None:
        self._count("copy_peer")
        for address, context in ((target, target_context), (source, source_context)):
            if not self._holds(self.devices[context - 1000], address, nbytes):
                raise DriverError("INVALID_VALUE", "not in that context", "copy_peer")
        self._enqueue(stream, lambda t, s: ctypes.memmove(t, s, nbytes), target, source)

    def fill(self, target: int, byte: int, nbytes: int, stream: int) -> None:
        self._count("fill")
        self._check(self._stream(stream).device, target, nbytes)
        self._enqueue(stream, lambda t: ctypes.memset(t, byte, nbytes), target)

    def device_of(self, pointer: int) -> int:
        return next(d.index for d in self.devices if self._holds(d, pointer, 1))

    def _holds(self, device: FakeDevice, address: int, nbytes: int) -> bool:
        return any(start <= address and address + nbytes <= start + self.things[start] for start in device.blocks)

    def _check(self, device: FakeDevice, address: int, nbytes: int = 1) -> None:
        """Crashes the device when an address is in no memory that it may use."""
        known = any(self._holds(d, address, nbytes) for d in self.devices)
        known = known or any(start <= address and address + nbytes <= start + len(m) for start, m in self.pinned.items())
        if nbytes and not known:
            self._lose(device, "ILLEGAL_ADDRESS")

    def _lose(self, device: FakeDevice, name: str):
        device.lost = name
        raise DriverError(name, name.lower().replace("_", " "))

    # Kernels

    def load_module(self, image: bytes) -> int:
        self._count("load_module")
        if b".entry" in image:
            return self._new(image.decode())
        head, _, text = image.decode().partition("\n")
        if not head.startswith("# "):
            raise DriverError("INVALID_IMAGE", "device kernel image is invalid", "load_module")
        return self._new((int(head.split()[1]), text))

    def function(self, module: int, name: str) -> int:
        if isinstance(self.things[module], str):
            return self._new((1, 2 if name == "while_condition" else 3, self._set_condition))
        count, text = self.things[module]
        kernel = get_kernel(text)
        native = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(kernel.address)

        def call(shape, words):
            buffers, sizes = (ctypes.c_int64 * count)(*words[:count]), (ctypes.c_int64 * (len(words) - count))(*words[count:])
            native(ctypes.addressof(buffers), ctypes.addressof(sizes), 0, words[-1])

        return self._new((count, count + text.count("sizes[") + 1, call))

    def allow_shared(self, function: int, nbytes: int) -> None:
        self._count("allow_shared")

    def launch(self, function: int, grid, block, shared: int, stream: int, parameters: int) -> None:
        self._count("launch")
        kernel = self._kernel(self._stream(stream).device, function, (grid, block, shared), parameters)
        self._enqueue(stream, *kernel, patchable=True)

    def _kernel(self, device: FakeDevice, function: int, shape: tuple, parameters: int) -> tuple:
        """(what runs a kernel, its parameters as they are now)"""
        count, total, call = self.things[function]
        words = [ctypes.c_int64.from_address(ctypes.c_int64.from_address(parameters + 8 * k).value).value for k in range(total)]
        crash = False
        if self.crash_in is not None:
            self.crash_in -= 1
            crash = self.crash_in < 0
            self.crash_in = None if crash else self.crash_in

        def run(*words):
            if crash:
                self._lose(device, "ILLEGAL_ADDRESS")
            for address in words[:count]:
                if address:   # an array without elements lies nowhere
                    self._check(device, address)
            call(shape, words)

        return run, *words

    def _enqueue(self, stream: int, function, *args, patchable: bool = False) -> None:
        self._here()
        if stream in self.capturing:
            self.things[self.capturing[stream]].append([function, args, patchable, ()])
        else:
            self._stream(stream).work.append(lambda: function(*args))

    # Products

    def products(self, gpu) -> FakeProducts:
        return FakeProducts(self, gpu)


@contextlib.contextmanager
def driven_by(driver):
    """The driver, which is this process' while the context lasts: its GPUs are there, and those from before are closed."""
    before = cuda_driver._driver
    cuda_stream.close_all()
    cuda_driver.use(driver)
    try:
        yield driver
    finally:
        cuda_stream.close_all()
        cuda_driver.use(before)


@contextlib.contextmanager
def fake_gpus(devices: int = 1, memory: int = 1 << 30, capability: tuple[int, int] = (9, 0),
              version: tuple[int, int] = (13, 0)) -> Iterator[FakeDriver]:
    """The driver of a machine with that many GPUs of that much memory, for that CUDA, while the context lasts.

    >>> import numpy as np, jitnet
    >>> from jitnet.testing_gpu import fake_gpus
    >>> with fake_gpus():
    ...     x = jitnet.asarray(np.arange(3.0), device="gpu")
    ...     print(x + 1)
    [1. 2. 3.]
    """
    with driven_by(FakeDriver(devices, memory, capability, version)) as made:
        yield made
