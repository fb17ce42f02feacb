"""Kernels on a GPU: source -> cubin, kept on disk per compute capability -> loaded function, one per structure and device.

    GpuKernel    the text of a kernel, the numbers for one use of it, and its launch shape on a given device
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...codegen.cuda_launch import Launch
from ...errors import DeviceError, Source
from .. import cache
from .driver import DriverError, Properties
from .stream import Gpu


@dataclass(frozen=True, eq=False)
class GpuKernel:
    """One use of a kernel. Its parameters are the addresses of its buffers, then `sizes`, each of them in a word of 8 bytes.

    source: the text, which with `name`, the entry's, decides the compiled kernel. by_pointer: the sizes come as one array in
    the device's memory instead, as the last parameter. launch(properties): how many threads run it on a device.
    """

    source: str
    name: str
    sizes: tuple[int, ...]
    launch: Callable[[Properties], Launch]
    by_pointer: bool = False


def load(gpu: Gpu, kernel: GpuKernel, shared: int, source: Source | None = None) -> int:
    """The kernel's function on a device: compiled, or read from disk, when it was not loaded there before."""
    key = kernel.source, kernel.name
    function, allowed = gpu.functions.get(key, (0, 0))
    if not function or shared > allowed:
        with gpu.lock, gpu.doing(f"loading {kernel.name}", source):
            function = function or _load(gpu, kernel, source)
            if shared > allowed:
                gpu.driver.allow_shared(function, shared)
            gpu.functions[key] = function, max(shared, allowed)
    return function


def _load(gpu: Gpu, kernel: GpuKernel, source: Source | None) -> int:
    toolchain, capability = gpu.driver.toolchain, gpu.properties.compute_capability
    key = cache.object_key(f"{toolchain.version} sm_{capability[0]}{capability[1]} {kernel.name}\n{kernel.source}")

    def build() -> bytes:
        try:
            return toolchain.image(kernel.source, kernel.name, capability)
        except DeviceError:
            raise
        except Exception as error:  # whatever Numba, NVVM or the assembler raise
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DeviceError(f"{gpu.device}: {kernel.name} does not compile for compute capability "
                              f"{capability[0]}.{capability[1]}: {first}",
                              "run on `jitnet.cpu()`, and report it with the text of `f.source(..., device='cuda')`",
                              source) from error

    try:
        module = gpu.with_memory(gpu.driver.load_module, cache.get_image(key, build))
    except DriverError as error:
        if error.out_of_memory or error.lost:
            raise
        cache.forget(key)   # a sound file that this driver does not load: made by something else than this code
        module = gpu.driver.load_module(cache.get_image(key, build))
    return gpu.driver.function(module, kernel.name)
