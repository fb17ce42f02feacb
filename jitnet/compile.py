"""Graph -> Compiled: the passes, the kernels and the native program of a traced function."""
from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .codegen import control_steps, matmul_steps  # noqa: F401  register how these ops become steps
from .codegen.steps import Builder
from .errors import Source, TraceIndexError
from .ir import Graph
from .passes.pipeline import pipeline
from .runtime.cache import get_kernels
from .runtime.device import CPU, Device
from .runtime.program import Program, Slot, StatusError

MAX_CHECKS = 64  # kernels of one program that check indices each have a status cell


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled graph: `run(arrays)` gives its outputs; the rest is for looking inside."""

    graph: Graph
    stages: tuple[tuple[str, Graph], ...]
    program: object
    kernels: tuple
    checks: tuple[Source | None, ...]

    def __repr__(self) -> str:
        return f"<compiled {self.graph.name}: kernels {', '.join(k.name for k in self.kernels) or 'none'}>"

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for C-contiguous inputs of the graph's types; TraceIndexError for an index out of bounds."""
        try:
            return self.program.run(arrays)
        except StatusError as error:
            raise self.index_error(error) from None

    def index_error(self, error) -> TraceIndexError:
        """The error of the user's terms for a status that a kernel left."""
        source = next((s for s, cell in zip(self.checks, error.cells) if cell), None)
        return TraceIndexError("an index is out of bounds for the axis it picks from",
                               "check the index array, or clip it to the size of the axis", source)


def compile_graph(graph: Graph, device: Device = CPU) -> Compiled:
    """The compiled form of a graph, for a device."""
    with without_garbage_collection():
        return _compile(graph) if device.kind == "cpu" else _compile_for_gpu(graph, device)


@contextlib.contextmanager
def without_garbage_collection():
    """Keeps the cycle collector off: compiling makes many small objects and no garbage worth 20 ms of looking for it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _compile(graph: Graph) -> Compiled:
    stages, builder, steps = _build(graph, Builder)
    final = stages[-1][1]
    get_kernels([info.source for info in builder.infos if info.kind in ("kernel", "copy")])
    checks = tuple(builder.checks)
    program = Program(steps, final.input_types, final.output_types, builder.arena.size, builder.consts,
                      Slot("arena", 0, builder.status_offset) if checks else None, status_size=max(1, len(checks)))
    return Compiled(graph, tuple(stages), program, tuple(builder.infos), checks)


def _compile_for_gpu(graph: Graph, device: Device) -> Compiled:
    from .codegen.gpu_steps import GpuBuilder
    from .runtime.cuda.program import GpuProgram
    from .runtime.cuda.stream import open_gpu

    gpu = open_gpu(device.index)
    stages, builder, steps = _build(graph, functools.partial(GpuBuilder, toolchain=gpu.driver.toolchain))
    final = stages[-1][1]
    labels = {id(info.step): (info.name, next((e.source for e in info.eqns if e.source is not None), None))
              for info in builder.infos}
    status = Slot("arena", 0, builder.status_offset)
    program = GpuProgram(gpu, graph.name, steps, final.input_types, final.output_types, builder.arena.size, builder.consts,
                         status, builder.checks, labels)
    return Compiled(graph, tuple(stages), program, tuple(builder.infos), tuple(builder.checks))


def _build(graph: Graph, make: Callable[[Graph], Builder]) -> tuple[list, Builder, list]:
    """(stages of the passes, builder, steps) of a graph."""
    stages = pipeline(graph)
    final = stages[-1][1]
    builder = make(final)
    builder.status_offset = builder.arena.allocate(8 * MAX_CHECKS)
    inputs, outputs = ([Slot(kind, k) for k in range(len(atoms))]
                       for kind, atoms in (("input", final.inputs), ("output", final.outputs)))
    return stages, builder, builder.build(inputs, outputs)
