"""What of CUDA this machine has, in words for errors: packages, driver, devices, and what the environment hides of them."""
from __future__ import annotations

import ctypes
import os
import sys


def report() -> str:
    """What of CUDA this machine has: packages, driver, devices."""
    from importlib import metadata

    found = []
    for package in ("cuda-bindings", "nvidia-nvjitlink", "nvidia-cublas"):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {package}")
    return f"{driver_report()}{visible()}; found {', '.join(found)}"


def visible() -> str:
    """What the environment lets this process see of the devices, for messages; empty where it lets it see all."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if chosen is None else f" (CUDA_VISIBLE_DEVICES={chosen!r} decides what it sees)"


def driver_report() -> str:
    """What the driver's library says, asked without any package."""
    library = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return f"looked for the CUDA driver ({library}): not found"
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return f"the CUDA driver ({library}) is there and finds no GPU"
    cuda.cuDriverGetVersion(ctypes.byref(version))
    number = version.value
    return f"the CUDA driver ({library}, for CUDA {number // 1000}.{number % 1000 // 10}) finds {count.value}"
