"""A compiled function as the Python text of its GPU kernels and their launches; it runs in Numba's CUDA simulator.

    @simulated
    def kernel_0(x0: "f32*", out0: "f32*", n0: "i64"):
        ...

    def f(x):
        out_0 = np.empty((64,), np.float32)
        kernel_0[(1, 1, 1), (256, 1, 1), 0, 0](flat(x, np.float32), flat(out_0, np.float32), 64)
        return out_0

The grid is the one for an H200; on other GPUs it differs, and gives the same bits.
"""
from __future__ import annotations

import numpy as np

from .codegen.cuda import cuda_kernel
from .codegen.cuda_launch import launch_shape
from .codegen.cuda_names import parameters
from .codegen.cuda_writer import CudaKernel
from .printing import identifier
from .source import HEADER, Program, buffer_dtypes, places
from .types import DTYPES

CUDA_HEADER = HEADER.replace("codegen.intrinsics import *", "codegen.cuda_simulator import simulated")


def cuda_source_text(name: str, compiled) -> str:
    """The text for a compiled graph."""
    kernels: dict[str, str] = {}  # source -> name of its function
    made = {id(info.step): cuda_kernel(info.nest) for info in compiled.kernels if info.nest is not None}
    parts = [CUDA_HEADER]
    for info in compiled.kernels:
        kernel = made.get(id(info.step))
        source, note = (kernel.source, "@simulated\n") if kernel else (info.source, "# On a GPU this is a call of cuBLASLt.\n")
        if source not in kernels and (kernel or (info.kind == "blas" and "def kernel(" in source)):
            function = info.name if info.name not in kernels.values() else f"{info.name}_{len(kernels)}"
            kernels[source] = function
            comments = "".join(f"# {line}\n" for line in places(info.eqns))
            parts.append(f"{comments}{note}{source.strip().replace('def kernel(', f'def {function}(', 1)}\n")
    parts.append(CudaProgram(compiled, kernels, made).text(identifier(name, "function")))
    return "\n\n".join(parts)


class CudaProgram(Program):
    """The steps of a program as statements that launch kernels."""

    def __init__(self, compiled, kernels: dict[str, str], made: dict[int, CudaKernel]):
        super().__init__(compiled, kernels)
        self.made = made

    def call(self, step, depth: int) -> None:
        info, kernel = self.infos.get(id(step)), self.made.get(id(step))
        if kernel is not None:
            self.put(depth, self.launch(step, info, kernel))
        elif info is not None and info.kind == "copy":
            source, target = (self.flat(slot, "np.uint8") for slot in step.buffers)
            self.put(depth, f"{target}[:{step.extent}] = {source}[:{step.extent}]")
        else:
            super().call(step, depth)

    def launch(self, step, info, kernel: CudaKernel) -> str:
        """The launch of a kernel on the step's buffers."""
        views = [self.flat(slot, dtype) for slot, dtype in zip(step.buffers, buffer_dtypes(info))]
        if kernel.by_pointer:
            numbers = [f"np.array({list(kernel.sizes)})"]
        else:
            kinds = [dtype for _, dtype in parameters(kernel.source)[len(views):]]
            numbers = [number_text(word, dtype) for word, dtype in zip(kernel.sizes, kinds, strict=True)]
        launch = launch_shape(kernel.launch)
        sizes = f"{launch.grid}, {launch.block}, 0, {launch.shared_bytes}"
        return f"{self.kernels[kernel.source]}[{sizes}]({', '.join([*views, *numbers])})"


def number_text(word: int, dtype: str) -> str:
    """The number whose bits stand in the low bytes of a word, as an expression."""
    kind = DTYPES[dtype]
    value = np.array([word]).view(np.uint8)[:kind.itemsize].view(kind)[0]
    if dtype == "i64":
        return str(value)
    return f"np.{kind.name}({value!s})" if np.isfinite(value) else f"np.{kind.name}('{value!s}')"
