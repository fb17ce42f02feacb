"""What turns loop nests into kernels for a GPU: codegen/cuda.py writes their source, cuda_compile.py assembles it."""
from __future__ import annotations

from ...errors import DeviceError
from .module import GpuKernel


class Toolchain:
    """The CUDA toolchain: source of kernels by jitnet, PTX by Numba, machine code by the toolkit's assembler."""

    version = "none"

    def kernel(self, nest) -> GpuKernel:
        """The kernel of a loop nest."""
        raise DeviceError("this version of jitnet compiles kernels for the CPU alone", "run on `jitnet.cpu()`")

    def image(self, text: str, name: str, capability: tuple[int, int]) -> bytes:
        """The machine code of a kernel's source for a compute capability."""
        raise DeviceError("this version of jitnet compiles kernels for the CPU alone", "run on `jitnet.cpu()`")
