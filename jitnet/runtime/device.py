"""Devices: where arrays live and programs run. `with gpu(0):` makes one the default of this thread."""
from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass

from ..errors import DeviceError
from .forks import renewed


class _Defaults(threading.local):
    """The devices that `with` made the default, the innermost last; one list per thread."""

    def __init__(self):
        self.stack: list[Device] = []


_defaults = _Defaults()
_lock = renewed(threading.Lock())
_away = 0   # `with` blocks under way, in any thread, whose device is not the CPU
_followers: weakref.WeakSet = weakref.WeakSet()   # what has a shortcut for the CPU: `.follow(away)` is told when not to take it


@dataclass(frozen=True, slots=True)
class Device:
    """A place for arrays: its kind, "cpu" or "gpu", and its number. As a context it is the default device of this thread.

    >>> import jitnet
    >>> with jitnet.cpu():
    ...     jitnet.asarray([1, 2]).device
    cpu(0)
    """

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}({self.index})"

    __repr__ = __str__

    def __enter__(self) -> Device:
        _defaults.stack.append(Device("gpu", self.index) if self.kind == "gpu" else CPU)
        if self.kind == "gpu":
            _count(1)
        return self

    def __exit__(self, *_) -> None:
        _defaults.stack.pop()
        if self.kind == "gpu":
            _count(-1)

    @property
    def properties(self):
        """What a GPU is: `name`, `compute_capability`, `total_memory` in bytes, `multiprocessors` and more; DeviceError for a
        CPU."""
        return self._gpu("properties").properties

    @property
    def memory_info(self) -> tuple[int, int]:
        """(free, total) bytes of a GPU's memory; DeviceError for a CPU."""
        return self._gpu("memory_info").memory_info()

    def synchronize(self) -> Device:
        """The device, once everything that was started there is done; errors of what ran there are raised here."""
        if self.kind == "gpu":
            self._gpu("synchronize").wait()
        return self

    def release_memory(self) -> None:
        """Gives memory of a GPU that waits for reuse back to the system, so that other programs can have it."""
        if self.kind == "gpu":
            self._gpu("release_memory").give_back()

    def _gpu(self, what: str):
        if self.kind != "gpu":
            raise DeviceError(f"{what}: the CPU has none", "ask a GPU: `jitnet.gpu(0)`")
        from .cuda.stream import open_gpu

        return open_gpu(self.index)


def _count(change: int) -> None:
    """Counts blocks that are away from the CPU; the first and the last one are told to the followers."""
    global _away
    with _lock:
        before, _away = _away, _away + change
        if (before == 0) != (_away == 0):
            for follower in list(_followers):
                follower.follow(_away > 0)


def follow(follower) -> None:
    """From now on `follower.follow(away)` is told when some thread's default device becomes another than the CPU, and when
    all are the CPU again; also now, if one is already."""
    with _lock:
        _followers.add(follower)
        if _away:
            follower.follow(True)


def is_away() -> bool:
    """Whether some thread has a default device that is not the CPU."""
    return _away > 0


CPU = Device("cpu", 0)


def cpu(index: int = 0) -> Device:
    """The CPU; all its cores are one device, `cpu(0)`."""
    if index != 0:
        raise DeviceError(f"cpu({index}): there is one CPU device, with all cores", "use `jitnet.cpu()`")
    return CPU


def gpu(index: int = 0) -> Device:
    """GPU number `index`; DeviceError, which says what was looked for and found, when there is none that jitnet can use."""
    from .cuda import driver, report

    try:
        count = driver.driver().device_count()
    except DeviceError as error:
        if "cuda-bindings" in error.what:
            raise DeviceError(f"gpu({index}): there is no GPU that jitnet can use",
                              f"{report.report()}; {driver.INSTALL}, or use `jitnet.cpu()`") from None
        raise DeviceError(f"gpu({index}): {error.what}", error.hint) from None
    if count == 0:
        raise DeviceError(f"gpu({index}): there is no GPU that jitnet can use", f"{report.report()}; use `jitnet.cpu()`")
    if not 0 <= index < count:
        known = "gpu(0)" if count == 1 else f"gpu(0) to gpu({count - 1})"
        raise DeviceError(f"gpu({index}): this machine has {known}{report.visible()}", "use one of these")
    return Device("gpu", index)


def num_gpus() -> int:
    """How many GPUs jitnet can use; DeviceError in a process forked from one that uses GPUs, which can use none of them."""
    from .cuda import driver

    try:
        return driver.driver().device_count()
    except DeviceError:
        if driver.forked():
            raise
        return 0


def devices() -> list[Device]:
    """Every device that arrays can be on: the CPU, then the GPUs that jitnet can use (why there is none: `jitnet.gpu()` says).

    >>> import jitnet
    >>> jitnet.devices()[0]
    cpu(0)
    """
    return [CPU, *(Device("gpu", k) for k in range(num_gpus()))]


def default_device() -> Device:
    """Where arrays go when no device is named: that of the innermost `with`, else the CPU."""
    stack = _defaults.stack
    return stack[-1] if stack else CPU


def known_device(device, name: str = "device") -> Device:
    """The Device that an argument names: a Device, "cpu", "gpu" (or "cuda"), "gpu:1", or None for the default."""
    if device is None:
        return default_device()
    if isinstance(device, Device):
        return Device("gpu", device.index) if device.kind == "gpu" else CPU
    if isinstance(device, str):
        kind, _, index = device.partition(":")
        if kind in ("cpu", "gpu", "cuda") and (index or "0").isdigit():
            return (cpu if kind == "cpu" else gpu)(int(index or 0))
    raise DeviceError(f"{name}: {device!r} is no device", "use `jitnet.cpu()` or `jitnet.gpu(0)`")


def is_gpu(device, name: str = "device") -> bool:
    """Whether an argument names a GPU: `"cuda"`, `"gpu"` or a Device, which need not be there to look at code for it."""
    if isinstance(device, str) and device.partition(":")[0] in ("gpu", "cuda"):
        return True
    return known_device(device, name).kind == "gpu"
