"""A compiled graph on a GPU: the steps that the CPU's Program has, enqueued on the device's stream.

    part  ::=  Straight (operations)  |  Decided  |  HostLoop  |  HostSwitch  |  HostCall

Operations that follow one another without a decision are one Straight part. It is captured into a CUDA graph, which later runs
launch at once (capture.py). Loops of a fixed number of rounds are unrolled into such parts, as long as they are not too long.
A `while_loop` and a `switch` are nodes of such a graph where the driver knows these (Decided, conditional.py). Where it does
not, the host waits for the condition in every round, and for the index. An op that runs through NumPy waits for its operands.
"""
from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import Source, TraceIndexError
from ..program import KernelStep, LoopStep, Slot, Step, SwitchStep
from .buffer import DeviceBuffer, whole
from .capture import Straight
from .conditional import OLDEST, Decided, Switch, While
from .memory import Seat, rounded
from .operations import HostOp, Operation, Place, operation
from .stream import Gpu
from .together import grouped, one_launch
from .transfer import as_bytes, host_bytes, send, send_numbers

MOST_UNROLLED = 4096   # operations of a loop that become one part; a longer loop is run round by round


@dataclasses.dataclass(frozen=True)
class Around:
    """Where steps stand: the rounds that unrolled loops are in, and the loops that the host runs."""

    rounds: tuple[tuple[int, int], ...] = ()                  # (level, round)
    places: tuple[Callable[[Slot], Slot], ...] = ()           # where slots lie in a round of a loop with places that take turns

    def place(self, slot: Slot, bases: dict[tuple[str, int], int]) -> Place:
        """The slot as base, offset and strides over the levels of loops that the host runs."""
        for move in self.places:
            slot = move(slot)
        rounds = dict(self.rounds)
        offset = slot.offset + sum(rounds[level] * stride for level, stride in slot.strides if level in rounds)
        moving = tuple((level, stride) for level, stride in slot.strides if level not in rounds and stride)
        return Place(bases[slot.kind, slot.index], offset, moving)

    def inside(self, step: LoopStep, round: int | None, odd: bool) -> Around:
        """In a round of a loop (None: any, the host counts)."""
        rounds = self.rounds if round is None else (*self.rounds, (step.level, round))
        return Around(rounds, (*self.places, step.odd) if odd else self.places)


class Planner:
    """Steps -> parts."""

    def __init__(self, gpu: Gpu, bases: dict[tuple[str, int], int], labels: dict[int, tuple[str, Source | None]]):
        self.gpu, self.bases, self.labels = gpu, bases, dict(labels)
        self.launches: dict[int, tuple] = {}   # id of some steps -> these steps, and what is launched for them
        self.shared: dict[int, str] = {}       # id of a step -> the name of the one in whose launch it is
        self.deciding: dict[int, list] = {}   # id of a step -> the parts that it became, if these decide something

    def parts(self, steps: Sequence[Step], around: Around = Around()) -> list:
        """The parts of some steps, in order."""
        parts: list = []
        self.add(steps, around, parts)
        return joined(parts) if self.gpu.driver.version() >= OLDEST else parts

    def note(self, step: Step, part):
        """The part, which decides what a step does."""
        self.deciding.setdefault(id(step), []).append(part)
        return part

    def together(self, steps: Sequence[Step]) -> list[Step]:
        """The steps with those that can be one launch as one."""
        if id(steps) not in self.launches:
            groups = grouped(steps, self.gpu.properties)
            self.launches[id(steps)] = steps, list(map(one_launch, groups))
            for group, step in zip(groups, self.launches[id(steps)][1]):
                if len(group.steps) > 1:
                    name, source = self.label(group.steps[0])
                    self.labels[id(step)] = f"{name} with {len(group.steps) - 1} more", source
                    self.shared.update((id(other), name) for other in group.steps[1:])
        return self.launches[id(steps)][1]

    def add(self, steps: Sequence[Step], around: Around, parts: list) -> None:
        for step in self.together(steps):
            if isinstance(step, KernelStep) and isinstance(step.kernel, HostOp):
                parts.append(HostCall(step.kernel, [around.place(s, self.bases) for s in step.buffers], self.label(step)))
            elif isinstance(step, KernelStep):
                if not parts or not isinstance(parts[-1], Straight):
                    parts.append(Straight())
                parts[-1].operations.append(self.operation(step, around))
            elif isinstance(step, SwitchStep):
                index = around.place(step.index, self.bases)
                parts.append(self.note(step, HostSwitch(index, [self.parts(branch, around) for branch in step.branches])))
            elif isinstance(step.count, int) and step.count * operations(step.body) <= MOST_UNROLLED:
                for round in range(step.count):
                    self.add(step.body, around.inside(step, round, bool(step.turns) and round % 2 == 1), parts)
            else:
                parts.append(self.note(step, self.loop(step, around)))

    def operation(self, step: KernelStep, around: Around) -> Operation:
        return operation(self.gpu, step, tuple(around.place(s, self.bases) for s in step.buffers), *self.label(step))

    def label(self, step: KernelStep) -> tuple[str, Source | None]:
        return self.labels.get(id(step), ("a step", None))

    def loop(self, step: LoopStep, around: Around) -> HostLoop:
        count = around.place(step.count, self.bases) if isinstance(step.count, Slot) else step.count
        cond = around.place(step.cond, self.bases) if step.cond is not None else None
        bodies = [self.parts(step.body, around.inside(step, None, odd)) for odd in ((False, True) if step.turns else (False,))]
        return HostLoop(step.level, count, cond, self.parts(step.before, around.inside(step, None, False)), bodies)


def operations(steps: Sequence[Step]) -> int:
    """How many operations some steps are when loops are unrolled; very many where the host has to decide or to compute."""
    total = 0
    for step in steps:
        if isinstance(step, LoopStep):
            total += step.count * operations(step.body) if isinstance(step.count, int) else MOST_UNROLLED + 1
        elif isinstance(step, SwitchStep) or isinstance(step.kernel, HostOp):
            total += MOST_UNROLLED + 1
        else:
            total += 1
    return total


def joined(parts: list) -> list:
    """The parts, those that the device can decide by itself as one with what stands before and after them."""
    out: list = []
    for same, group in itertools.groupby(((part, items_of([part])) for part in parts), key=lambda pair: pair[1] is not None):
        group = list(group)
        if not same or all(type(part) is Straight for part, _ in group):
            out += [part for part, _ in group]
        else:
            made = Decided([item for _, items in group for item in items], [part for part, _ in group])
            for part, _ in group:
                part.decided = made
            out.append(made)
    return out


def items_of(parts: list) -> list | None:
    """What the parts are as items of a graph; None where the host has something to do in them."""
    found = [part.as_items() for part in parts]
    return None if None in found else [item for items in found for item in items]


@dataclasses.dataclass
class HostLoop:
    """Rounds counted by the host; with a condition it waits for that in every round. Bodies take turns."""

    level: int
    count: Place | int | None
    cond: Place | None
    before: list
    bodies: list[list]
    decided: Decided | None = None   # what does the same without the host

    def as_items(self) -> list | None:
        """A loop whose rounds only a condition counts, and in which nothing moves."""
        if self.count is not None or self.cond.strides:
            return None
        before, body = items_of(self.before), items_of(self.bodies[0])
        return None if before is None or body is None else [While(self.cond, before, body)]

    def run(self, run: Run) -> None:
        count = self.count if isinstance(self.count, int | None) else int(run.read(self.count, np.dtype(np.int64)))
        done = 0
        while count is None or done < count:
            run.rounds[self.level] = done
            run.parts(self.before)
            if self.cond is not None and not run.read(self.cond, np.dtype(np.bool_)):
                break
            run.parts(self.bodies[done % len(self.bodies)])
            done += 1
        run.rounds.pop(self.level, None)


@dataclasses.dataclass
class HostSwitch:
    """The branch that a value says; the host waits for it."""

    index: Place
    branches: list[list]
    decided: Decided | None = None   # what does the same without the host

    def as_items(self) -> list | None:
        branches = [items_of(branch) for branch in self.branches]
        return None if self.index.strides or None in branches else [Switch(self.index, branches)]

    def run(self, run: Run) -> None:
        index = int(run.read(self.index, np.dtype(np.int64)))
        run.parts(self.branches[min(max(index, 0), len(self.branches) - 1)])


@dataclasses.dataclass
class HostCall:
    """An op that runs through NumPy: the host waits for its operands, and sends what it computed."""

    op: HostOp
    places: list[Place]
    label: tuple[str, Source | None]

    def as_items(self) -> None:
        """Nothing that a device could run."""

    def run(self, run: Run) -> None:
        run.gpu.now(*self.label)
        inputs = [run.read(place, dtype, shape) for place, (shape, dtype) in zip(self.places, self.op.inputs)]
        outputs = self.op.function(inputs)
        for place, value, (shape, dtype) in zip(self.places[len(inputs):], outputs, self.op.outputs):
            run.write(place, np.broadcast_to(np.asarray(value, dtype), shape))


class Run:
    """One run of a program: addresses of its bases, and the rounds of the loops that the host is in."""

    __slots__ = ("bases", "gpu", "rounds")

    def __init__(self, gpu: Gpu, bases: list[int]):
        self.gpu, self.bases, self.rounds = gpu, bases, {}

    def parts(self, parts: list) -> None:
        for part in parts:
            part.run(self)

    def address(self, place: Place) -> int:
        return place.address(self.bases, self.rounds)

    def read(self, place: Place, dtype: np.dtype, shape: tuple[int, ...] = ()) -> np.ndarray:
        """A value on the host. This waits."""
        gpu, nbytes = self.gpu, dtype.itemsize * math.prod(shape)
        out = np.empty(shape, dtype)
        if nbytes:
            pinned, size = gpu.pinned.take(nbytes)
            try:
                gpu.driver.copy(pinned, self.address(place), nbytes, gpu.stream)
                gpu.driver.synchronize(gpu.stream)
            except BaseException:   # Ctrl-C above all
                gpu.pinned.put(pinned, size)
                raise
            as_bytes(out)[:] = host_bytes(pinned, nbytes)
            gpu.pinned.put_at_once(pinned, size)
        return out

    def write(self, place: Place, value: np.ndarray) -> None:
        """Puts a value of the host where a buffer lies."""
        (sent,) = send(self.gpu, [value])
        self.gpu.driver.copy(self.address(place), sent.pointer, value.nbytes, self.gpu.stream)


class GpuProgram:
    """Steps, planned, for one GPU: `run(arrays)` gives the outputs at once, while the device computes them.

    Like Program: types of inputs and outputs, bytes of the arena, constants, status cells in the arena, here with the user's
    line of each (`checks`). labels: id of a step -> (name, the user's line), for errors. in_place: the inputs that it writes.
    """

    def __init__(self, gpu: Gpu, name: str, steps: Sequence[Step], inputs: Sequence, outputs: Sequence, arena_bytes: int,
                 consts: Sequence[np.ndarray], status: Slot | None, checks: Sequence[Source | None], labels: dict,
                 in_place: tuple[int, ...] = ()):
        self.gpu, self.name, self.steps, self.checks, self.in_place = gpu, name, tuple(steps), tuple(checks), in_place
        self.inputs = tuple((tuple(t.shape), np.dtype(t.dtype)) for t in inputs)
        self.outputs = tuple((tuple(t.shape), np.dtype(t.dtype)) for t in outputs)
        self.arena_bytes, self.status, self.consts = arena_bytes, status, tuple(consts)
        self.source = next((source for _, source in labels.values() if source is not None), None)
        counts = {"arena": 1, "input": len(self.inputs), "output": len(self.outputs), "const": len(self.consts)}
        keys = [(kind, k) for kind, count in counts.items() for k in range(count)]
        planner = Planner(gpu, {key: n for n, key in enumerate(keys)}, labels)
        self.parts, self.deciding, self.shared = planner.parts(self.steps), planner.deciding, planner.shared
        self.arena, self.running = None, False
        self.graph = self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Straight) else None   # all of it
        self.cells: tuple[int, int] | None = None   # (address, size) of host memory where the status cells arrive
        with gpu.lock, gpu.doing(f"copying the constants of {name}"):
            self.const_buffers = send(gpu, self.consts)
        self.const_pointers = [b.pointer for b in self.const_buffers]
        kinds = [gpu.kind(shape, dtype) for shape, dtype in self.outputs]
        single = type(self.graph) is Straight and len(self.graph.operations) == 1   # not captured, so any addresses do
        sizes = [rounded(kind.nbytes) if kind.nbytes else 0 for kind in kinds]
        self.results = [(kind, size, None if single or not size else Seat(size)) for kind, size in zip(kinds, sizes)]
        self.doing, self.label = f"running {name}", (name, self.source)
        gpu.programs.add(self)

    @property
    def address(self) -> int:
        return id(self)

    def run(self, arrays: Sequence[DeviceBuffer | np.ndarray]) -> list[DeviceBuffer]:
        """The outputs, on the device. NumPy arrays among the inputs are copied there, and back if the program writes them."""
        with self.gpu.lock, self.gpu.doing(self.doing, self.source):
            inputs = self.on_device(arrays)
            outputs = self.run_on(inputs)
        for k in self.in_place:
            if inputs[k] is not arrays[k]:
                np.copyto(arrays[k], inputs[k].host())
        return outputs

    def run_on(self, inputs: Sequence[DeviceBuffer]) -> list[DeviceBuffer]:
        """The outputs for inputs on the device, of the right kinds."""
        gpu = self.gpu
        with gpu.lock, gpu.doing(self.doing, self.source):
            pool = gpu.pool
            outputs = [whole(kind, pool.take_at(seat) if seat is not None else pool.take_size(size) if size else pool.take(0))
                       for kind, size, seat in self.results]
            if self.arena is None:
                self.take_arena()
            bases = [self.arena.pointer, *[b.pointer for b in inputs], *[b.pointer for b in outputs], *self.const_pointers]
            gpu.recent.append(self.label)
            if self.graph is None or not self.graph.launched(gpu, bases):
                self.run_parts(bases)
            if self.checks:
                gpu.driver.copy(self.cells[0], self.arena.pointer + self.status.offset, 8 * len(self.checks), gpu.stream)
                gpu.checks[self] = None
        return outputs

    def run_with_numbers(self, inputs: list[DeviceBuffer | np.ndarray], numbers: Sequence[int]) -> list[DeviceBuffer]:
        """The outputs for inputs of the right kinds, on the device but for the numbers at these places."""
        with self.gpu.lock, self.gpu.doing(self.doing, self.source):
            for k, sent in zip(numbers, send_numbers(self.gpu, [inputs[k] for k in numbers])):
                inputs[k] = sent
            return self.run_on(inputs)

    def run_parts(self, bases: list[int]) -> None:
        """Enqueues all steps, one part after the other."""
        self.running = True
        try:
            Run(self.gpu, bases).parts(self.parts)
        finally:
            self.running = False

    def on_device(self, arrays: Sequence[DeviceBuffer | np.ndarray]) -> list[DeviceBuffer]:
        """The inputs on the device."""
        if len(arrays) != len(self.inputs):
            raise ValueError(f"the program takes {len(self.inputs)} arrays, not {len(arrays)}")
        for k, (array, (shape, dtype)) in enumerate(zip(arrays, self.inputs)):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"argument {k} of the program is a {dtype}{list(shape)}, not {array.dtype}{list(array.shape)}")
            if isinstance(array, DeviceBuffer) and array.gpu is not self.gpu:
                array.gpu.refuse()   # other devices were told apart before: this one was lost and is open anew
        host = [k for k, a in enumerate(arrays) if not isinstance(a, DeviceBuffer)]
        inputs = list(arrays)
        for k, sent in zip(host, send(self.gpu, [arrays[k] for k in host])):
            inputs[k] = sent
        return inputs

    def take_arena(self) -> None:
        gpu = self.gpu
        arena = gpu.pool.take(max(self.arena_bytes, 8))
        if self.checks:
            self.cells = self.cells or gpu.pinned.take(8 * len(self.checks))
            host_bytes(self.cells[0], 8 * len(self.checks))[:] = 0
            gpu.driver.fill(arena.pointer + self.status.offset, 0, 8 * len(self.checks), gpu.stream)
        self.arena = arena

    def take_index_error(self) -> TraceIndexError | None:
        """The error that the status cells tell of after a wait, once."""
        n = 8 * len(self.checks)
        cells = host_bytes(self.cells[0], n).view(np.int64)
        if not cells.any():
            return None
        source = next(s for s, cell in zip(self.checks, cells) if cell)
        cells[:] = 0
        if self.arena is not None:
            self.gpu.driver.fill(self.arena.pointer + self.status.offset, 0, n, self.gpu.stream)
        return TraceIndexError("an index is out of bounds for the axis it picks from",
                               "check the index array, or clip it to the size of the axis", source)

    def launched_with(self, step: Step) -> str:
        """The name of the kernel in whose launch a step is; empty where it has its own."""
        return self.shared.get(id(step), "")

    def decision(self, step: Step) -> str:
        """Who decides what a loop or switch does, and why, for people; empty where there is nothing to decide."""
        parts = [part for part in self.deciding.get(id(step), ()) if not isinstance(getattr(part, "count", None), int)]
        if not parts:
            return ""
        refused = next((part.decided.refused for part in parts if part.decided is not None and part.decided.refused), "")
        if all(part.decided is not None for part in parts) and not refused:
            return "decided on the device"
        version = self.gpu.driver.version()
        old = f"the driver, for CUDA {version[0]}.{version[1]}, has no conditional nodes" if version < OLDEST else ""
        why = f"the driver refused its graph: {refused}" if refused else old or "something in it runs on the host"
        return f"the host waits for it: {why}"

    def give_back(self) -> None:
        """Lets go of the arena and the graphs, which the next run makes anew; not while it runs."""
        if self.running:
            return
        self.arena = None
        for part in self.all_parts(self.parts):
            part.forget()

    def all_parts(self, parts: list):
        """The Straight parts at any depth."""
        for part in parts:
            if isinstance(part, Straight):
                yield part
                yield from self.all_parts(part.host if isinstance(part, Decided) else [])
            elif isinstance(part, HostLoop):
                yield from self.all_parts(part.before)
                for body in part.bodies:
                    yield from self.all_parts(body)
            elif isinstance(part, HostSwitch):
                for branch in part.branches:
                    yield from self.all_parts(branch)
