"""What is enqueued on a stream: kernels, copies, matrix products. Each knows where its buffers lie, relative to bases.

    base     the start of the arena, of an input, an output or a constant; its address is known in each run
    Place    a base, an offset, and strides over the rounds of loops that the host runs
"""
from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import Source
from ...op import Op
from ..program import KernelStep
from . import module
from .stream import Gpu
from .transfer import send


@dataclass(frozen=True, slots=True)
class Place:
    """Where a buffer lies."""

    base: int
    offset: int
    strides: tuple[tuple[int, int], ...] = ()   # (loop level, bytes per round)

    def address(self, bases: Sequence[int], rounds: dict[int, int]) -> int:
        """The address in a run."""
        address = bases[self.base] + self.offset
        for level, stride in self.strides:
            address += rounds[level] * stride
        return address


class Operation:
    """Something that a stream does. Abstract. `name` and `source`, the user's line, are for errors."""

    can_patch = False   # whether a captured one can be given other addresses

    def __init__(self, places: tuple[Place, ...], name: str, source: Source | None):
        self.places, self.name, self.source = places, name, source
        self.moves = any(place.strides for place in places)

    def enqueue(self, gpu: Gpu, addresses: Sequence[int]) -> None:
        """Puts it on the stream."""
        raise TypeError(f"{type(self).__name__} is abstract")


class Launch(Operation):
    """A kernel."""

    can_patch = True

    def __init__(self, gpu: Gpu, kernel: module.GpuKernel, places: tuple[Place, ...], sizes: tuple[int, ...], name: str,
                 source: Source | None):
        super().__init__(places, name, source)
        launch = kernel.launch(gpu.properties)
        self.shape = launch.grid, launch.block, launch.shared_bytes
        self.function = module.load(gpu, kernel, launch.shared_bytes, source)
        if kernel.by_pointer:
            with gpu.lock, gpu.doing(f"copying the sizes of {name}", source):
                (self.sizes,) = send(gpu, [np.array(sizes, np.int64)])
            sizes = (self.sizes.pointer,)
        self.words = (ctypes.c_int64 * (len(places) + len(sizes)))(*[0] * len(places), *sizes)
        start = ctypes.addressof(self.words)
        self._parameters = (ctypes.c_void_p * len(self.words))(*[start + 8 * k for k in range(len(self.words))])
        self.parameters = ctypes.addressof(self._parameters)

    def enqueue(self, gpu: Gpu, addresses: Sequence[int]) -> None:
        self.words[:len(addresses)] = addresses
        gpu.driver.launch(self.function, *self.shape, gpu.stream, self.parameters)

    def patch(self, gpu: Gpu, executable: int, node: int, addresses: Sequence[int]) -> None:
        """Gives its captured self other addresses."""
        self.words[:len(addresses)] = addresses
        gpu.driver.set_kernel_node(executable, node, self.function, *self.shape, self.parameters)


@dataclass(frozen=True)
class Copy:
    """The `kernel` of a step that copies bytes from its first buffer to its second."""

    nbytes: int
    source: str = "# a copy\n"


class CopyOperation(Operation):
    """A copy within the device."""

    def __init__(self, copy: Copy, places: tuple[Place, ...], name: str, source: Source | None):
        super().__init__(places, name, source)
        self.nbytes = copy.nbytes

    def enqueue(self, gpu: Gpu, addresses: Sequence[int]) -> None:
        gpu.driver.copy(addresses[1], addresses[0], self.nbytes, gpu.stream)


@dataclass(frozen=True, eq=False)
class HostOp:
    """The `kernel` of a step that runs through NumPy: an op with its params, and (shape, dtype) of operands and results."""

    op: Op
    params: dict
    inputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    source: str = ""

    def function(self, arrays: list[np.ndarray]) -> Sequence[np.ndarray]:
        """The results."""
        return self.op.evaluate(arrays, self.params)


def operation(gpu: Gpu, step: KernelStep, places: tuple[Place, ...], name: str, source: Source | None) -> Operation:
    """The operation of a step on a device."""
    if isinstance(step.kernel, module.GpuKernel):
        return Launch(gpu, step.kernel, places, step.sizes, name, source)
    if isinstance(step.kernel, Copy):
        return CopyOperation(step.kernel, places, name, source)
    return step.kernel.operation(gpu, places, name, source)
