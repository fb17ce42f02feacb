"""Devices: where arrays live and programs run."""
from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass

from ..errors import DeviceError


@dataclass(frozen=True, slots=True)
class Device:
    """A place for arrays: its kind, "cpu" or "gpu", and its number."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}({self.index})"

    __repr__ = __str__


CPU = Device("cpu", 0)


def cpu(index: int = 0) -> Device:
    """The CPU; all its cores are one device, `cpu(0)`."""
    if index != 0:
        raise DeviceError(f"cpu({index}): there is one CPU device, with all cores", "use `jitnet.cpu()`")
    return CPU


def gpu(index: int = 0) -> Device:
    """GPU number `index`; DeviceError, which says what was found, when there is none that jitnet can use."""
    raise DeviceError(f"gpu({index}): there is no GPU that jitnet can use", f"{_driver_report()}; use `jitnet.cpu()`")


def num_gpus() -> int:
    """How many GPUs jitnet can use."""
    return 0


def default_device() -> Device:
    """Where arrays go when no device is named."""
    return CPU


def known_device(device, name: str = "device") -> Device:
    """The Device that an argument names: a Device, "cpu", "gpu", "cpu:0", or None for the default."""
    if device is None:
        return default_device()
    if isinstance(device, Device):
        return device
    if isinstance(device, str):
        kind, _, index = device.partition(":")
        if kind in ("cpu", "gpu") and (index or "0").isdigit():
            return (cpu if kind == "cpu" else gpu)(int(index or 0))
    raise DeviceError(f"{name}: {device!r} is no device", "use `jitnet.cpu()` or `jitnet.gpu(0)`")


def is_gpu(device, name: str = "device") -> bool:
    """Whether an argument names a GPU: `"cuda"`, `"gpu"` or a Device, which need not be there to look at code for it."""
    if device == "cuda" or (isinstance(device, str) and device.partition(":")[0] == "gpu"):
        return True
    return known_device(device, name).kind == "gpu"


@functools.cache
def _driver_report() -> str:
    """What the CUDA driver says about GPUs of this machine."""
    library = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return f"looked for the CUDA driver ({library}): not found"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return f"the CUDA driver ({library}) is there and finds no GPU"
    return f"the CUDA driver finds {count.value}, but this version compiles for the CPU alone"
