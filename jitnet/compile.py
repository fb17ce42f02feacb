"""Graph -> Compiled: the passes, the kernels and the native program of a traced function."""
from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .codegen import control_steps, matmul_steps, running_steps  # noqa: F401  register how these ops become steps
from .codegen.in_place import values_in
from .codegen.steps import LOWERINGS, Builder
from .collector import without_garbage_collection
from .errors import TraceIndexError, TraceTypeError
from .ir import Graph, Var, definitions
from .passes.fuse import MAX_PARTS
from .passes.pipeline import pipeline
from .passes.plan import Arena, base_of
from .passes.widen import widen
from .runtime.cache import get_kernels
from .runtime.device import CPU, Device
from .runtime.program import Program, Slot, StatusError
from .scope import Scope
from .symbols import SymInt
from .templates import OpenArena, Plan

MAX_CHECKS = 64  # kernels of one program that check indices each have a status cell


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled graph: `run(arrays)` gives its outputs; the rest is for looking inside."""

    graph: Graph | None   # None: a template made the program, and there is nothing to look into
    stages: tuple[tuple[str, Graph], ...]
    program: object
    kernels: tuple
    in_place: tuple[int, ...] = ()   # the inputs that the program writes into
    written: tuple[int, ...] = ()    # the inputs whose new values are the last outputs of `graph`
    arrays: Collection[int] = ()     # the inputs that are arrays

    def __repr__(self) -> str:
        name = self.graph.name if self.graph is not None else "by a template"
        return f"<compiled {name}: kernels {', '.join(k.name for k in self.kernels) or 'none'}>"

    def __copy__(self) -> Compiled:
        return self

    def __deepcopy__(self, memo) -> Compiled:
        return self

    def __reduce__(self):
        raise TraceTypeError(f"{self!r} cannot be pickled: it is native code of this process",
                             "pickle the function, or `f.graph(...)`; the kernels are found in the cache again")

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return not isinstance(self.program, Program)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for C-contiguous inputs of the graph's types; TraceIndexError for an index out of bounds."""
        try:
            return self.program.run(arrays)
        except StatusError as error:
            raise index_error(error) from None


def index_error(error: StatusError) -> TraceIndexError:
    """The error of the user's terms for a status that a kernel left."""
    return TraceIndexError("an index is out of bounds for the axis it picks from",
                           "check the index array, or clip it to the size of the axis", error.check)


def compile_graph(graph: Graph, written: Sequence[int] = (), arrays: Collection[int] = (),
                  device: Device = CPU) -> Compiled:
    """The compiled form of a graph, whose last outputs are the new values of its inputs at the positions `written`.

    The program itself writes those of them that are among `arrays` into the inputs, if no run can fail half-way: then they are
    no outputs of the program. `device`: where it runs.
    """
    with without_garbage_collection():
        if device.kind == "cpu":
            return _compile(graph, tuple(written), arrays)
        return _compile_for_gpu(graph, tuple(written), arrays, device)


def of_program(program: Program, in_place: tuple[int, ...]) -> Compiled:
    """The compiled form of what a template made: its program alone."""
    return Compiled(None, (), program, (), in_place)


def open_plan(graph: Graph, written: Sequence[int], arrays: Collection[int], scope: Scope, sizes: Sequence[SymInt]) -> Plan:
    """The plan of a program for a graph whose sizes are open; otherwise like `compile_graph`."""
    with without_garbage_collection():
        builder, steps, outputs, stages, in_place = _build(graph, tuple(written), arrays, lambda: OpenArena(scope, True))
        status = Slot("arena", 0, builder.status_offset) if builder.checks else None
        inputs = stages[-1][1].input_types
        return Plan(scope, tuple(sizes), builder.arena, tuple(steps), inputs, outputs, builder.consts, status,
                    tuple(builder.checks), in_place)


def _compile(graph: Graph, written: tuple[int, ...], arrays: Collection[int]) -> Compiled:
    builder, steps, outputs, stages, in_place = _build(graph, written, arrays, functools.partial(Arena, True))
    checks = tuple(builder.checks)
    program = Program(steps, stages[-1][1].input_types, outputs, builder.arena.size, builder.consts,
                      Slot("arena", 0, builder.status_offset) if checks else None, status_size=max(1, len(checks)),
                      checks=checks)
    return Compiled(graph, tuple(stages), program, tuple(builder.infos), in_place, written, arrays)


def _build(graph: Graph, written: tuple[int, ...], arrays: Collection[int], arena: Callable[[], Arena]) -> tuple:
    """(builder, steps, types of the outputs of the program, stages, inputs written in place) of a graph."""
    stages = pipeline(graph)
    builder, steps, outputs, in_place = _written_steps(stages[-1][1], written, arrays, arena, Builder)
    get_kernels([info.source for info in builder.infos if info.kind in ("kernel", "copy")])
    return builder, steps, outputs, stages, in_place


def _written_steps(graph: Graph, written: tuple[int, ...], arrays: Collection[int], arena: Callable[[], Arena],
                   make: Callable[..., Builder], gpu: bool = False) -> tuple:
    """(builder, steps, types of the outputs of the program, inputs written in place) of a graph after all passes."""
    targets = written_targets(graph, written, arrays, gpu)
    builder, steps, outputs = _steps(graph, targets, arena(), make)
    fails = (builder.checks and not gpu) or any(info.kind == "callback" for info in builder.infos)
    if targets and fails:
        targets = {}   # a call that fails leaves its arguments as they were
        builder, steps, outputs = _steps(graph, targets, arena(), make)
    return builder, steps, outputs, tuple(graph.inputs.index(v) for v, _ in targets.values())


def written_targets(graph: Graph, written: tuple[int, ...], arrays: Collection[int], gpu: bool = False) -> dict[int, tuple]:
    """Output -> (the input it is the new value of, the values that can lie in that input one after the other).

    No values: the output is computed elsewhere and copied at the end. An output that is an input, or a view of one, is left
    out: that input may be written too.
    """
    definition, first, found = definitions(graph), len(graph.outputs) - len(written), {}
    for k, position in enumerate(written, first):
        var, base = graph.inputs[position], base_of(graph.outputs[k], definition)
        if position in arrays and type(base) is Var and base in definition:
            found[k] = var, values_in(graph, k, var, gpu) or ()
    taken: set[Var] = set()
    for k, (var, values) in found.items():
        if not taken.isdisjoint(values):   # one value for two arguments
            found[k] = var, ()
        taken.update(values)
    return found


def _steps(graph: Graph, targets: dict[int, tuple], arena: Arena, make: Callable[..., Builder]) -> tuple:
    """(builder, steps, types of the outputs of the program) of a graph whose outputs `targets` are written into inputs."""
    builder = make(graph, arena=arena)
    builder.status_offset = builder.arena.allocate(8 * MAX_CHECKS)
    inputs = [Slot("input", k) for k in range(len(graph.inputs))]
    kept = [k for k in range(len(graph.outputs)) if k not in targets]
    outputs = [None if k in targets else Slot("output", kept.index(k)) for k in range(len(graph.outputs))]
    place = dict(zip(graph.inputs, inputs))
    steps = builder.build(inputs, outputs, {v: place[var] for var, values in targets.values() for v in values})
    for k, (var, values) in targets.items():
        if not values:
            builder.copy(builder.stored(graph.outputs[k]), place[var], var.type.nbytes)
    return builder, steps, [graph.outputs[k].type for k in kept]


@dataclass(frozen=True)
class Shown:
    """The steps of a program that is looked at, and not run."""

    steps: tuple
    inputs: tuple
    outputs: tuple
    arena_bytes: int
    consts: tuple


class ShownBuilder(Builder):
    """Builds the steps that a GPU runs, without one: products are the CPU's."""

    replaces, parts = False, MAX_PARTS   # as on a GPU

    def passes(self, graph: Graph) -> list[tuple[str, Graph]]:
        return pipeline(graph, gpu=True)


ShownBuilder.lowerings = {name: lower for name, lower in LOWERINGS.items() if lower is not running_steps.running}


def as_on_gpu(graph: Graph, written: tuple[int, ...] = (), arrays: Collection[int] = ()) -> Compiled:
    """What a GPU runs for a graph, to be looked at anywhere: without epilogues of products, products of halves in float32."""
    stages = pipeline(widen(graph), gpu=True)
    final = stages[-1][1]
    builder, steps, outputs, in_place = _written_steps(final, written, arrays, Arena, ShownBuilder, gpu=True)
    kinds = [tuple([(tuple(t.shape), np.dtype(t.dtype)) for t in types]) for types in (final.input_types, outputs)]
    program = Shown(tuple(steps), *kinds, builder.arena.size, tuple(builder.consts))
    return Compiled(graph, tuple(stages), program, tuple(builder.infos), in_place, written, arrays)


def _compile_for_gpu(graph: Graph, written: tuple[int, ...], arrays: Collection[int], device: Device) -> Compiled:
    from .runtime.cuda.program import GpuProgram
    from .runtime.cuda.stream import open_gpu

    gpu = open_gpu(device.index)
    builder, steps, outputs, in_place, stages, labels = _build_for_gpu(graph, gpu, written, arrays, Arena)
    status = Slot("arena", 0, builder.status_offset)
    program = GpuProgram(gpu, graph.name, steps, stages[-1][1].input_types, outputs, builder.arena.size, builder.consts, status,
                         builder.checks, labels, in_place)
    return Compiled(graph, tuple(stages), program, tuple(builder.infos), in_place, written, arrays)


def _build_for_gpu(graph: Graph, gpu, written: tuple[int, ...], arrays: Collection[int], arena: Callable[[], Arena]) -> tuple:
    """(builder, steps, types of the outputs of the program, inputs written in place, stages, labels: id of a step -> name and
    the user's line) of a graph."""
    from .codegen.gpu_steps import GpuBuilder, gpu_pipeline

    stages = gpu_pipeline(graph, gpu)
    built = _written_steps(stages[-1][1], written, arrays, arena, functools.partial(GpuBuilder, gpu=gpu), gpu=True)
    labels = {id(info.step): (info.name, next((e.source for e in info.eqns if e.source is not None), None))
              for info in built[0].infos}
    return *built, stages, labels


def open_plan_for_gpu(graph: Graph, written: Sequence[int], arrays: Collection[int], device: Device, scope: Scope,
                      sizes: Sequence[SymInt]):
    """The plan of a GPU's program for a graph whose sizes are open."""
    from .runtime.cuda.stream import open_gpu
    from .templates_gpu import GpuPlan

    with without_garbage_collection():
        gpu = open_gpu(device.index)
        builder, steps, outputs, in_place, stages, labels = _build_for_gpu(graph, gpu, tuple(written), arrays,
                                                                           lambda: OpenArena(scope))
        status = Slot("arena", 0, builder.status_offset)
        return GpuPlan(scope, tuple(sizes), builder.arena, tuple(steps), stages[-1][1].input_types, outputs, builder.consts,
                       status, tuple(builder.checks), in_place, gpu, graph.name, labels)
