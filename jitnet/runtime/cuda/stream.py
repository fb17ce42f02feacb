"""Gpu: a device in use. Its stream, on which everything happens in order; what went wrong on it, told where somebody waits.

    with gpu.lock, gpu.doing("what, for errors", source):   the device's context is this thread's, failures get their message
        ...calls of gpu.driver...

The host runs ahead of the device and waits in `wait` alone. Errors that only the device finds come up there: an index out of
bounds, from the status cells that the last runs left in host memory, and a kernel's crash, which loses the device: its memory
is given back, its arrays say so from then on, other devices and the CPU go on.
"""
from __future__ import annotations

import collections
import functools
import os
import threading
import weakref
from collections.abc import Sequence

from ...errors import DeviceError, DeviceMemoryError, Source
from ...text import size_text
from ..device import Device
from ..forks import renewed
from .buffer import DeviceBuffer, Kind
from .driver import OLD_DRIVER, TOOLKIT, DriverError, absent, driver
from .memory import PinnedPool, Pool

MOST_KINDS = 65_536
RECENT = 8   # launched programs that the error of a lost device names


class Gpu:
    """One device in use by this process, with one stream for everything that jitnet does there."""

    def __init__(self, index: int):
        self.driver, self.index, self.device = driver(), index, Device("gpu", index)
        self.lock = threading.RLock()
        self.lost = ""                                   # why the device cannot be used any more
        self.pool, self.pinned = Pool(self), PinnedPool(self)
        self.kinds: dict[tuple, Kind] = {}
        self.events: list[int] = []                      # free ones
        self.kept: collections.deque = collections.deque()   # (event, owner): memory of others that this device may be using
        self.dying: collections.deque = collections.deque()  # owners whose event is not recorded yet
        self.dead_graphs: collections.deque[tuple[int, int]] = collections.deque()   # (executable, graph) of dead programs
        self.numbers: dict[tuple[str, bytes], DeviceBuffer] = {}   # numbers that lie there: (dtype, bytes) -> where
        self.seen: dict[tuple[str, bytes], None] = {}    # numbers that came once
        self.functions: dict[tuple[str, str], tuple[int, int]] = {}   # (source, name) -> kernel, shared bytes
        self.programs: weakref.WeakSet = weakref.WeakSet()   # they hold arenas and graphs, and give them back when asked
        self.checks: dict[object, None] = {}             # programs run since the last wait whose status cells nobody looked at
        self.recent: collections.deque[tuple[str, Source | None]] = collections.deque(maxlen=RECENT)
        self._what, self._source, self._before = "", None, []
        self.context = self.stream = 0
        with self.lock, self.doing("opening the device"):
            self.properties = self.driver.properties(index)
            self.driver.use_pool(index)
            self.stream = self.driver.new_stream()

    def __repr__(self) -> str:
        return f"<{self.device} in use>"

    @functools.cached_property
    def products(self):
        """The library of matrix products on this device: `plan(product, count, strides)`."""
        with self.lock, self.doing("loading its library of matrix products"):
            return self.driver.products(self)

    # Work

    def doing(self, what: str, source: Source | None = None) -> Gpu:
        """The context in which the driver is called: `with gpu.lock, gpu.doing("copying"):`.

        `with` takes the lock itself: a Ctrl-C that came between taking it here and the block would leave it taken.
        """
        if self.lost:
            self.refuse()
        if not self._before:
            self._what, self._source = what, source
        return self

    def refuse(self) -> None:
        """Raises what use of a lost device is."""
        raise self.gone()

    def gone(self) -> DeviceError:
        """The error that use of a lost device is."""
        return DeviceError(f"{self.device} was lost, and with it the arrays there: {self.lost}",
                           "make them again: the device is opened anew; if that fails, start the process again")

    def now(self, what: str, source: Source | None) -> None:
        """Says more closely what is being done, within `doing`."""
        self._what, self._source = what, source

    def __enter__(self) -> Gpu:
        try:
            if not self.context:
                self.context = self.driver.open(self.index)
            self._before.append(self.driver.make_current(self.context))
        except DriverError as error:
            raise self.failure(error) from None
        return self

    def __exit__(self, kind, error, trace) -> None:
        before = self._before.pop()
        if error is None and not self.lost and (before == self.context or not before):
            return
        try:
            failed = error if isinstance(error, DriverError) else absent(error)
            if failed is not None:
                raise self.failure(failed) from None
        finally:
            if self.lost and before == self.context:
                before = 0   # no context at all is better than one that is gone
            if before != self.context and (before or self.lost):
                self.driver.make_current(before)

    def failure(self, error: DriverError) -> DeviceError:
        """What to raise for a failed call of the driver."""
        what = f"{self.device}: {self._what}"
        if error.out_of_memory:
            return DeviceMemoryError(f"{what}: out of memory; jitnet holds {size_text(self.pool.allocated)} there",
                                     "let go of arrays, work in smaller parts, or see with `nvidia-smi` what else uses it",
                                     self._source)
        if error.lost:
            return self.lose(error)
        if error.name == "DEVICE_UNAVAILABLE":
            return DeviceError(f"{what}: the device is there, but not for this process: another one has it for itself, or its "
                               f"compute mode forbids to use it",
                               "see `nvidia-smi -q -d COMPUTE`, wait for that process, or use another device", self._source)
        if error.name in OLD_DRIVER or (error.name == "INVALID_IMAGE" and self.driver.version() < TOOLKIT):
            version, needed = (".".join(map(str, v)) for v in (self.driver.version(), TOOLKIT))
            return DeviceError(f"{what}: the driver, for CUDA {version}, is older than the toolkit that compiled the kernel",
                               f"install a driver for CUDA {needed} or newer (580 and later; `nvidia-smi` shows which it is)",
                               self._source)
        return DeviceError(f"{what}: CUDA says {error.name.lower().replace('_', ' ')} ({error.text})",
                           "run with CUDA_LAUNCH_BLOCKING=1 to see which call it is", self._source)

    def lose(self, error: DriverError) -> DeviceError:
        """Takes the device out of use after an error that ruined its context; other devices do not notice."""
        if self.lost:   # told already, to another thread
            return self.gone()
        text = error.text or error.name.lower().replace("_", " ")
        names = ", ".join(dict.fromkeys(name for name, _ in self.recent)) or self._what
        source = next((s for _, s in reversed(self.recent) if s is not None), None) or self._source
        self.lost = text
        if _open.get(self.index) is self:
            del _open[self.index]
        self.checks.clear()
        self.kept.clear()
        self.dying.clear()
        self.dead_graphs.clear()
        self.driver.reset(self.index)
        return DeviceError(f"{self.device} is lost: {text}; run since the last wait: {names}",
                           "its arrays are gone, other devices are not; CUDA_LAUNCH_BLOCKING=1 finds the kernel", source)

    def wait(self) -> None:
        """Waits until everything that is on the stream now is done, and raises what went wrong there since the last time.

        Other threads may go on using the device meanwhile.
        """
        with self.lock, self.doing("waiting"):
            event = self.take_event()
            self.driver.record(event, self.stream)
            checks, self.checks = list(self.checks), {}   # what other threads start from here on is for the next wait
        try:
            self.wait_for_event(event)
        except KeyboardInterrupt:   # the next wait tells what went wrong
            self.checks = dict.fromkeys(checks) | self.checks
            self.events.append(event)
            raise
        with self.lock, self.doing("waiting"):
            self.events.append(event)
            self.pinned.collect()
            self.let_go()
            self.recent.clear()
            errors = [error for program in checks if (error := program.take_index_error()) is not None]
        if errors:
            raise errors[0]

    def wait_for_event(self, event: int) -> None:
        """Waits for an event with the device's context, but without its lock."""
        before = 0
        try:
            before = self.driver.make_current(self.context)
            self.driver.wait_for(event)
        except DriverError as error:
            with self.lock:
                raise self.failure(error) from None
        finally:
            if before and before != self.context:
                self.driver.make_current(before)

    # Other streams

    def take_event(self) -> int:
        """An event that nobody uses."""
        return self.events.pop() if self.events else self.driver.new_event()

    def wait_for_stream(self, stream: int) -> None:
        """What comes next on this device's stream waits, there, for what is on another stream now."""
        event = self.take_event()
        self.driver.record(event, stream)
        self.driver.stream_waits(self.stream, event)
        self.events.append(event)

    def stream_waits(self, stream: int) -> None:
        """What comes next on another stream waits, there, for what is on this device's stream now."""
        event = self.take_event()
        self.driver.record(event, self.stream)
        self.driver.stream_waits(stream, event)
        self.events.append(event)

    def precedes(self, other: Gpu) -> None:
        """What comes next on another device's stream waits, there, for what is on this one's now."""
        with self.lock, self.doing("finishing before another device"):
            event = self.take_event()
            self.driver.record(event, self.stream)
        with other.lock, other.doing("waiting for another device"):
            other.driver.stream_waits(other.stream, event)
        self.events.append(event)

    def keep(self, owner, users: Sequence[int]) -> None:
        """Keeps an owner of foreign memory until what is on the stream now is done, and on the streams of others that had it
        from here. Called when objects die: calls nothing."""
        if not self.lost:
            self.dying.append((owner, users))

    def let_go(self) -> None:
        """Lets go of owners of foreign memory that this device is done with, and of graphs of programs that died."""
        while self.dead_graphs:
            executable, graph = self.dead_graphs.popleft()
            self.driver.free_executable(executable)
            self.driver.free_graph(graph)
        while self.dying:
            owner, users = self.dying.popleft()
            for stream in users:
                self.wait_for_stream(stream)
            event = self.take_event()
            self.driver.record(event, self.stream)
            self.kept.append((event, owner))
        while self.kept and self.driver.is_done(self.kept[0][0]):
            self.events.append(self.kept.popleft()[0])

    # Memory

    def kind(self, shape: tuple[int, ...], dtype) -> Kind:
        """What buffers of this shape and dtype here have in common."""
        found = self.kinds.get((shape, dtype))
        if found is None:
            if len(self.kinds) >= MOST_KINDS:
                self.kinds.clear()
            found = self.kinds.setdefault((shape, dtype), Kind(self, shape, dtype))
        return found

    def with_memory(self, call, *arguments):
        """What a call of the driver gives; where memory is short, after memory that is not in use went back to the system."""
        try:
            return call(*arguments)
        except DriverError as error:
            if not error.out_of_memory:
                raise
        self.give_back()
        return call(*arguments)

    def memory_info(self) -> tuple[int, int]:
        """(free, total) bytes of the device."""
        with self.lock, self.doing("asking for its memory"):
            return self.driver.memory_info()

    def give_back(self) -> None:
        """Gives all memory that is not in use back to the system: idle arenas, graphs, blocks that wait for reuse."""
        with self.lock, self.doing("giving memory back"):
            for program in list(self.programs):
                program.give_back()
            self.pool.give_back()
            self.driver.synchronize(self.stream)   # until then the driver's pool cannot give it to anyone else
            self.let_go()
            self.pinned.give_back()
            self.driver.trim_pool(self.index)


_open: dict[int, Gpu] = {}
_opening = renewed(threading.Lock())


def open_gpu(index: int) -> Gpu:
    """The device of that number, opened when it is first used, and again after it was lost."""
    found = _open.get(index)
    if found is None:
        with _opening:
            found = _open.get(index)
            if found is None:
                found = _open[index] = Gpu(index)
    return found


def wait_all() -> None:
    """Returns once all GPUs in use have done what they were asked for; their errors come up here."""
    for gpu in list(_open.values()):
        gpu.wait()


def close_all() -> None:
    """Forgets all devices in use, and what they keep alive: the driver is about to be another one."""
    while _open:
        _, gpu = _open.popitem()
        gpu.dying.clear()
        gpu.kept.clear()


def _forked() -> None:
    """In a forked child no device of the parent can be used: CUDA does not live on there."""
    for gpu in _open.values():
        gpu.lost = "this process was forked from the one that opened the device; start processes by `spawn`"
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
