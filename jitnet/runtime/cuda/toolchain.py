"""What turns loop nests into kernels for a GPU: codegen/cuda.py writes their source, runtime/cuda_compile.py assembles it."""
from __future__ import annotations

import functools
from dataclasses import dataclass

from ...codegen.cuda import cuda_kernel
from ...codegen.cuda_launch import DeviceProperties, Launch, LaunchShape, launch_shape
from .driver import Properties
from .module import GpuKernel


class Toolchain:
    """The CUDA toolchain: source of kernels by jitnet, PTX by LLVM, machine code by NVIDIA's assembler."""

    @functools.cached_property
    def version(self) -> str:
        """What decides the machine code of a kernel besides its source."""
        from importlib import metadata

        found = []
        for package in ("nvidia-nvjitlink", "nvidia-cuda-nvcc"):
            try:
                found.append(f"{package} {metadata.version(package)}")
            except metadata.PackageNotFoundError:
                continue
        return ", ".join(found)

    def kernel(self, nest) -> GpuKernel:
        """The kernel of a loop nest."""
        made = cuda_kernel(nest)
        return GpuKernel(made.source, made.name, made.sizes, Launcher(made.launch), made.by_pointer)

    def image(self, source: str, name: str, capability: tuple[int, int]) -> bytes:
        """The machine code of a kernel's source for a compute capability."""
        from ..cuda_compile import compile_kernel

        return compile_kernel(source, capability, name)


@dataclass(frozen=True)
class Launcher:
    """The launch of a kernel of that shape, by device."""

    shape: LaunchShape

    def __call__(self, properties: Properties) -> Launch:
        return launch_shape(self.shape, DeviceProperties(properties.multiprocessors, properties.max_threads_per_multiprocessor))
