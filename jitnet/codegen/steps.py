"""Equations of a fused graph -> steps of a Program: kernels, library calls, copies, loops.

A step writes into planned storage. How an op without a kernel of its own runs is one function here, found by the op's name.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import Source as UserSource
from ..ir import Atom, Const, Eqn, Graph, Var, definitions
from ..op import OPS, Op
from ..passes.kernel import is_view, kernel_op
from ..passes.pipeline import pipeline
from ..passes.plan import Arena, contiguous_base, last_uses, output_places, overwrites
from ..runtime.cache import LazyKernel
from ..runtime.program import CallbackKernel, KernelStep, Slot
from ..sizes import computed, deferred
from ..symbols import SymScalar
from ..types import ArrayType
from .affine import Affine, Axis
from .cpu import cpu_source
from .in_place import join_buffers, reads_in_step
from .loops import lower
from .memory import LANES
from .nest import LoopNest, Region, Scatter, is_out_of_bounds, strided
from .spans import period, spans

SERIAL_BELOW = 100_000   # work units (about one element of light arithmetic) under which threads cost more than they save
GRAIN = 32_768           # work units in one chunk


@dataclass(frozen=True)
class KernelInfo:
    """A step for people: what runs, its text, the equations it computes, and the bytes it moves."""

    name: str
    kind: str                 # "kernel", "blas", "copy", "callback", "loop"
    source: str
    eqns: tuple[Eqn, ...]
    reads: int
    writes: int
    nest: LoopNest | None = None
    note: str = ""
    step: object = None


class Builder:
    """Builds the steps of a graph. Nested graphs (loop bodies) get a Builder that shares arena, constants and infos."""

    replaces = True   # may a kernel's output lie where an operand did?
    parts = 1         # arrays of one shape that a kernel puts together at most
    lowerings: Mapping[str, Callable[[Builder, Eqn], None]]   # how ops without a kernel of their own become steps

    def __init__(self, graph: Graph, parent: Builder | None = None, level: int = 0, arena: Arena | None = None):
        self.graph, self.level, self.outermost = graph, level, parent is None
        self.arena = arena if arena is not None else parent.arena if parent else Arena()
        self.consts = parent.consts if parent else []
        self.const_slots = parent.const_slots if parent else {}
        self.infos: list[KernelInfo] = parent.infos if parent else []
        self.checks: list[UserSource | None] = parent.checks if parent else []
        self.definition = definitions(graph)
        self.slots: dict[Var, Slot] = {}
        self.steps: list = []
        self.temporary: list[tuple[int, int]] = []   # blocks that live during one equation
        self.status_offset = parent.status_offset if parent else None
        self.part = 0   # of the steps being built: KernelStep

    def inner(self, graph: Graph, level: int) -> Builder:
        """The builder of a graph inside this one."""
        return type(self)(graph, self, level)

    def passes(self, graph: Graph) -> list[tuple[str, Graph]]:
        """A graph inside this one after every pass."""
        return pipeline(graph)

    # Storage

    def slot(self, atom: Atom) -> Slot:
        """Where a value lies; scalars and arrays that are constants lie beside the program."""
        if type(atom) is Const:
            known = self.const_slots.get(id(atom))
            if known is None:
                known = self.const_slots[id(atom)] = atom, Slot("const", len(self.consts))
                scalar = type(atom.value) is SymScalar
                self.consts.append(atom.value if scalar else np.require(atom.value, requirements="CA"))
            return known[1]
        return self.slots[atom]

    def allocate(self, type) -> Slot:
        return Slot("arena", 0, self.arena.allocate(type.nbytes))

    def build(self, inputs: list[Slot], outputs: list[Slot | None], fixed: Mapping[Var, Slot] | None = None) -> list:
        """The steps that compute the outputs into their slots; `fixed`: where values lie that have a place already."""
        graph = self.graph
        self.slots.update(zip(graph.inputs, inputs))
        places, dying = output_places(graph), last_uses(graph)
        targets = {v: outputs[k] for v, k in places.items() if outputs[k] is not None} | dict(fixed or {})
        for atom, slot in zip(graph.outputs, outputs):   # first, for a loop writes its next carry over these
            if slot is not None and atom in graph.inputs:
                self.copy(self.slots[atom], slot, atom.type.nbytes)
        if self.outermost:   # elsewhere an output may be where an old carry still lies
            self.extend(targets, dying)
        self.given = set(targets)   # values whose storage is not theirs to free: the caller's, or passed on
        for k, eqn in enumerate(graph.eqns):
            if eqn.op.kind == "movement" and is_view(eqn):
                if eqn.op.name == "reshape" and eqn.inputs[0] in self.slots:
                    self.slots[eqn.outputs[0]] = self.slot(eqn.inputs[0])
                continue   # otherwise a strided view: its reader looks through it
            for v in eqn.outputs:
                self.slots[v] = targets.get(v) or self.taken_over(eqn, v, dying.get(k, ())) or self.allocate(v.type)
            self.equation(eqn)
            while self.temporary:
                self.arena.free(*self.temporary.pop())
            for v in dying.get(k, ()):
                self.release(v)
        for k, atom in enumerate(graph.outputs):
            if outputs[k] is not None and atom not in graph.inputs and (type(atom) is Const or self.slots[atom] != outputs[k]):
                self.copy(self.slot(atom), outputs[k], atom.type.nbytes)
        for v in dying.get(len(graph.eqns), ()):
            self.release(v)
        return self.steps

    def taken_over(self, eqn: Eqn, v: Var, dying) -> Slot | None:
        """The slot of a dying temporary that the equation may overwrite with its output v."""
        old = overwrites(eqn, self.definition, dying) or self.replaced(eqn, v, dying)
        slot = self.slots.get(old)
        if slot is None or slot.kind != "arena" or slot.strides or old not in self.definition or old in self.given:
            return None
        self.given.add(old)   # its bytes live on under another name
        return slot

    def replaced(self, eqn: Eqn, v: Var, dying) -> Var | None:
        """The dying operand of a kernel that its output v may replace element by element: what was read is in the cache."""
        if eqn.op is not kernel_op or not self.replaces:
            return None
        bases = [contiguous_base(a, self.definition) for a in eqn.inputs]
        return next((old for old in bases if old in dying and old in self.definition and old not in self.given
                     and old.type == v.type and reads_in_step(eqn, v, old, self.definition)), None)

    def extend(self, targets: dict[Var, Slot], dying: Mapping[int, list[Var]]) -> None:
        """Adds temporaries that outputs replace element by element: they are computed where the output will be."""
        self.given = set(targets)
        place = {id(eqn): k for k, eqn in enumerate(self.graph.eqns)}
        for v, slot in list(targets.items()):
            while slot.kind == "output" and v in self.definition:
                eqn = self.definition[v]
                v = self.replaced(eqn, v, dying.get(place[id(eqn)], ()))
                if v is None:
                    break
                targets[v] = slot
                self.given.add(v)

    def release(self, v: Var) -> None:
        slot = self.slots.get(v)
        if slot is not None and slot.kind == "arena" and v in self.definition and v not in self.given:
            self.arena.free(slot.offset, v.type.nbytes)

    # Steps

    def equation(self, eqn: Eqn) -> None:
        if eqn.op is kernel_op:
            self.fused(eqn)
        elif eqn.op.name in self.lowerings:
            self.lowerings[eqn.op.name](self, eqn)
        else:
            self.callback(eqn)

    def fused(self, eqn: Eqn) -> None:
        body = eqn.params["body"]
        nest = lower(body, eqn.params["domain"], eqn.params["reduce"])
        slots = {v: self.slot(a) for v, a in zip(body.inputs, eqn.inputs)}
        slots |= {v: self.slots[o] for v, o in zip(body.outputs, eqn.outputs)}
        self.nest(nest, slots, body.eqns, eqn.source)

    def nest(self, nest: LoopNest, slots: dict[Atom, Slot], eqns, source, serial: bool = False) -> None:
        """One step that runs a loop nest on these slots."""
        if is_out_of_bounds(nest):
            self.failure(source)
            return
        reads = sum(b.atom.type.nbytes for b in nest.buffers if b.role == "input")
        buffers = self.buffers(nest, slots, source)
        kernel = cpu_source(nest)
        chunk = 0 if serial else computed(grain, kernel.extent, kernel.work, weight(nest))
        step = KernelStep(LazyKernel(kernel.text), tuple(buffers), kernel.sizes, kernel.extent, chunk, spans(nest),
                          period(nest, kernel.extent))
        writes = sum(b.atom.type.nbytes for b in nest.buffers if b.role in ("output", "scratch"))
        self.steps.append(step)
        name = f"kernel_{len(self.infos)}"
        self.infos.append(KernelInfo(name, "kernel", kernel.text, tuple(eqns), reads, writes, nest, step=step))

    def buffers(self, nest: LoopNest, slots: dict[Atom, Slot], source) -> list[Slot]:
        """Where the buffers of a nest lie; those that lie in one place are one buffer from then on."""
        return join_buffers(nest, [self.check(source) if b.role == "status" else slots[b.atom] if b.atom in slots
                                   else self.slot(b.atom) for b in nest.buffers])

    def failure(self, source) -> None:
        """A step that says of an index that it is out of bounds, in the place of a kernel that could only find that."""
        self.copy(self.slot(Const(np.int64(1), ArrayType((), np.dtype(np.int64)))), self.check(source), 8)

    def check(self, source) -> Slot:
        """A status cell for a kernel that checks indices."""
        if self.status_offset is None:
            raise AssertionError("a kernel checks indices, but the program was given no status cells")
        self.checks.append(source)
        return Slot("arena", 0, self.status_offset + 8 * (len(self.checks) - 1))

    def copy(self, source: Slot, target: Slot, nbytes: int) -> None:
        if nbytes and source != target:
            step = KernelStep(LazyKernel(COPY), (source, target), (), nbytes, 1 << 20 if nbytes > 1 << 21 else 0)
            self.steps.append(step)
            self.infos.append(KernelInfo("copy", "copy", COPY, (), nbytes, nbytes, step=step))

    def place(self, atom: Atom, target: Var, start, step) -> None:
        """Writes a stored value into a strided region of another."""
        x, out, body = copying(atom.type, atom.type.shape, "place")
        nest = lower(body, atom.type.shape, (), {out: Region(target.type.shape, start, step)})
        self.nest(nest, {x: self.slot(atom), out: self.slots[target]}, self.graph_eqns(target), None)

    def fill(self, atom: Atom, target: Var) -> None:
        """Fills a whole array with a scalar."""
        x, out, body = copying(atom.type, target.type.shape, "fill")
        nest = lower(body, target.type.shape, ())
        self.nest(nest, {x: self.slot(atom), out: self.slots[target]}, self.graph_eqns(target), None)

    def view(self, atom: Atom) -> tuple[Atom, list[Eqn]]:
        """(the stored value that an atom is a view of, the movements between), from the stored value on."""
        movements: list[Eqn] = []
        while type(atom) is Var and atom not in self.slots:
            movements.insert(0, self.definition[atom])
            atom = movements[0].inputs[0]
        return atom, movements

    def strided(self, atom: Atom) -> tuple[Atom, tuple[int, ...], int]:
        """A value as a strided view of a stored one: (stored value, stride per axis, offset), in elements."""
        base, movements = self.view(atom)
        axes = [Axis(n) for n in atom.type.shape]
        index = [Affine.of(a) for a in axes]
        for eqn in reversed(movements):
            index = eqn.op.index_map(index, eqn.inputs[0].type, eqn.params)
        strides, offset = strided(base.type.shape, index)
        return base, tuple(strides.get(a, 0) for a in axes), offset

    def stored(self, atom: Atom) -> Slot:
        """The slot of a value in row-major order; a strided view is copied into the arena first."""
        base, movements = self.view(atom)
        if not movements:
            return self.slot(atom)
        table = {v: Var(v.type) for v in (base, *(eqn.outputs[0] for eqn in movements))}
        eqns = [eqn.replace(inputs=(table[eqn.inputs[0]],), outputs=(table[eqn.outputs[0]],)) for eqn in movements]
        body = Graph((table[base],), tuple(eqns), (table[atom],), "copy")
        slot = self.allocate(atom.type)
        self.temporary.append((slot.offset, atom.type.nbytes))
        self.nest(lower(body, atom.type.shape, ()), {table[base]: self.slot(base), table[atom]: slot}, movements, None)
        return slot

    def graph_eqns(self, v: Var) -> tuple[Eqn, ...]:
        return (self.definition[v],) if v in self.definition else ()

    def callback(self, eqn: Eqn) -> None:
        """Runs the NumPy body of an op from the native program."""
        atoms = [*eqn.inputs, *eqn.outputs]
        op = eqn.op
        kernel = deferred(callback_kernel, op, dict(eqn.params), len(eqn.inputs), [(a.type.shape, a.type.dtype) for a in atoms])
        step = KernelStep(kernel, tuple(self.stored(a) for a in atoms), (), 1)
        reads, writes = sum(a.type.nbytes for a in eqn.inputs), sum(v.type.nbytes for v in eqn.outputs)
        self.steps.append(step)
        self.infos.append(KernelInfo(op.name, "callback", f"# NumPy: {op.name}\n", (eqn,), reads, writes,
                                     note=f"{op.name} runs through NumPy", step=step))


def callback_kernel(op: Op, params: dict, n: int, arguments: list[tuple]) -> CallbackKernel:
    """The NumPy body of an op on buffers of these shapes and dtypes, the first n of them its operands."""
    def run(*arrays):
        for target, value in zip(arrays[n:], op.evaluate([a.copy() for a in arrays[:n]], params)):
            target[...] = value

    run.__qualname__, run.params = op.name, params
    return CallbackKernel(run, arguments)


def copying(type: ArrayType, shape: tuple[int, ...], name: str) -> tuple[Var, Var, Graph]:
    """(input, output, graph) of a copy, broadcast to a shape."""
    x, out = Var(type), Var(ArrayType(shape, type.dtype))
    return x, out, Graph((x,), (Eqn(OPS["broadcast_to"], (x,), {"shape": shape}, (out,)),), (out,), name)


COPY = """def kernel(buffers, sizes, start, stop):
    x = buffer_u8(buffers, 0)
    out = buffer_u8(buffers, 1)
    for i in range(start, stop):
        out[i] = x[i]
"""


def weight(nest: LoopNest) -> float:
    """Cost of one element of a nest in work units: loads, stores and arithmetic."""
    total = 0.0
    for stage in nest.stages:
        for node in stage.nodes:
            total += 0.25 if node.kind != "expr" else 0.25 if node.eqn.op.cheap else 4
        total += 0.5 * len(stage.stores) + 0.25 * len(stage.reductions)
    return max(1.0, total)


def grain(extent: int, points: int, weight: float) -> int:
    """Grid points per chunk; 0 when the whole is too small for threads. Depends on sizes alone.

    extent: grid points; points: elements in one; weight: work units of an element.
    """
    work = extent * points * weight
    if work < SERIAL_BELOW or extent < 2:
        return 0
    chunk = math.ceil(GRAIN * extent / work)
    if chunk > 16 * LANES:   # single elements, perhaps: chunks begin where cache lines do
        chunk = math.ceil(chunk / LANES) * LANES
    return max(1, min(extent // 2, chunk))


LOWERINGS: dict[str, Callable[[Builder, Eqn], None]] = {}
Builder.lowerings = LOWERINGS


def lowering(name: str):
    """Registers how equations of an op become steps."""
    def register(function):
        LOWERINGS[name] = function
        return function
    return register


@lowering("concatenate")
def concatenate(builder: Builder, eqn: Eqn) -> None:
    """A kernel for each part, or where launches cost for several of one shape that follow one another."""
    (out,), axis, start = eqn.outputs, eqn.params["axis"], 0
    atoms = [atom for atom in eqn.inputs if atom.type.size]
    builder.part = len(builder.steps) + 1
    while atoms:
        first, count = atoms[0].type, 1
        while count < min(builder.parts, len(atoms)) and atoms[count].type.shape == first.shape:
            count += 1
        some, atoms = atoms[:count], atoms[count:]
        place = Region(out.type.shape, tuple(start if k == axis else 0 for k in range(first.ndim)), (1,) * first.ndim)
        start += count * first.shape[axis]
        if count == 1:
            builder.place(some[0], out, place.start, place.step)
            continue
        xs = tuple(Var(atom.type) for atom in some)
        whole = Var(first.with_shape(n * count if k == axis else n for k, n in enumerate(first.shape)))
        body = Graph(xs, (Eqn(OPS["concatenate"], xs, {"axis": axis}, (whole,)),), (whole,), "place")
        slots = dict(zip((*xs, whole), (*map(builder.slot, some), builder.slots[out])))
        builder.nest(lower(body, first.shape, (), {whole: place}), slots, (eqn,), None)
    builder.part = 0


@lowering("pad")
def pad(builder: Builder, eqn: Eqn) -> None:
    x, value = eqn.inputs
    builder.fill(value, eqn.outputs[0])
    if x.type.size:
        builder.place(x, eqn.outputs[0], tuple(eqn.params["low"]), (1,) * x.type.ndim)


@lowering("update_slice")
def update_slice(builder: Builder, eqn: Eqn) -> None:
    x, v = eqn.inputs
    builder.copy(builder.stored(x), builder.slots[eqn.outputs[0]], x.type.nbytes)
    if v.type.size:
        builder.place(v, eqn.outputs[0], tuple(eqn.params["start"]), tuple(eqn.params["step"]))


@lowering("scatter_add")
def scatter_add(builder: Builder, eqn: Eqn, add: bool = True) -> None:
    """A copy of the array, then one value after the other: the order, and with it the bits, never changes."""
    x, v, *indices = eqn.inputs
    (out,) = eqn.outputs
    builder.copy(builder.stored(x), builder.slots[out], x.type.nbytes)
    if not v.type.size:
        return
    value, result, body = copying(v.type, v.type.shape, eqn.op.name)
    places = tuple(Var(i.type) for i in indices)
    nest = lower(body.replace(inputs=(value, *places)), v.type.shape, (),
                 {result: Scatter(x.type.shape, places, eqn.params["axes"], add)})
    slots = {value: builder.stored(v), result: builder.slots[out]} | {p: builder.stored(i) for p, i in zip(places, indices)}
    builder.nest(nest, slots, (eqn,), eqn.source, serial=True)


@lowering("scatter_set")
def scatter_set(builder: Builder, eqn: Eqn) -> None:
    scatter_add(builder, eqn, add=False)
