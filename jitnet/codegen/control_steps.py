"""Control flow -> steps: loops and branches that the native program runs without Python.

A loop's carry lives in the slots of the loop's outputs. A round writes its new carry over the old one where nothing reads that
any more, else beside it: then the two places take turns, or, where the number of rounds is not known, the carry is copied. What
is stacked over rounds is read and written in place, through slots that move with the loop.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir import Eqn, Graph, Var, subgraphs
from ..op import OPS
from ..passes.plan import updated_in_place, written_after_reads
from ..runtime.program import LoopStep, Slot, SwitchStep
from ..types import BOOL, I64, ArrayType
from .loops import lower
from .steps import Builder, lowering


def nested(builder: Builder, graph: Graph, inputs: list[Slot], outputs: list[Slot], level: int) -> tuple:
    """The steps of a graph inside another."""
    return tuple(builder.inner(builder.passes(graph)[-1][1], level).build(inputs, outputs))


def moving(slot: Slot, level: int, nbytes: int, length: int, reverse: bool) -> Slot:
    """The part of a stacked array that belongs to the round of a loop."""
    offset = slot.offset + (length - 1) * nbytes if reverse and length else slot.offset
    return replace(slot, offset=offset, strides=(*slot.strides, (level, -nbytes if reverse else nbytes)))


def in_place(body: Graph, k: int, var: Var) -> bool:
    """May output k of a loop's body lie where the input `var` does, whose next value it is?"""
    return body.outputs[k] is var or updated_in_place(body, k, var) or written_after_reads(body, k, var)


class Carry:
    """The carry of a loop: where a round reads it, where it writes the next one, and how that becomes what is read."""

    def __init__(self, builder: Builder, init, outputs, body: Graph, first: int, rounds: int | None = None):
        """The carry starts as the `init` atoms, ends in the slots of `outputs`; in `body` it is the inputs from `first` on.

        Given the number of rounds, the two places of a carry take turns; otherwise the next carry is copied.
        """
        self.builder = builder
        self.types = [v.type for v in outputs]
        self.fixed = [in_place(body, k, body.inputs[first + k]) for k in range(len(outputs))]
        self.read = [builder.slots[v] for v in outputs]
        self.write = [slot if fixed else builder.allocate(t) for slot, t, fixed in zip(self.read, self.types, self.fixed)]
        self.spare = [(slot.offset, t.nbytes) for slot, t, fixed in zip(self.write, self.types, self.fixed) if not fixed]
        if rounds is not None and rounds % 2:  # the last round writes to the outputs
            self.read, self.write = self.write, self.read
        self.turns = [] if rounds is None else [
            (a, b, t.nbytes) for a, b, t, fixed in zip(self.read, self.write, self.types, self.fixed) if not fixed]
        for atom, slot in zip(init, self.read):
            builder.copy(builder.stored(atom), slot, atom.type.nbytes)

    def copies(self) -> tuple:
        """Steps that make the new carry the carry."""
        before = len(self.builder.steps)
        for new, slot, t in zip(self.write, self.read, self.types):
            self.builder.copy(new, slot, t.nbytes)
        steps = tuple(self.builder.steps[before:])
        del self.builder.steps[before:]
        return steps

    def free(self) -> None:
        for block in self.spare:
            self.builder.arena.free(*block)


def holds_loops(graph: Graph) -> bool:
    """Whether a graph holds loops, at any depth."""
    return any(eqn.op.name in ("scan", "while_loop") or any(holds_loops(g) for _, g in subgraphs(eqn)) for eqn in graph.eqns)


@lowering("scan")
def scan(builder: Builder, eqn: Eqn) -> None:
    p, level = eqn.params, builder.level + 1
    n_consts, n_carry, length, reverse = p["num_consts"], p["num_carry"], p["length"], p["reverse"]
    body = builder.passes(p["body"])[-1][1]
    consts = [builder.stored(a) for a in eqn.inputs[:n_consts]]
    stacked = [moving(builder.stored(a), level, v.type.nbytes, length, reverse)
               for a, v in zip(eqn.inputs[n_consts + n_carry:], body.inputs[n_consts + n_carry:])]
    ys = [moving(builder.slots[v], level, a.type.nbytes, length, reverse)
          for v, a in zip(eqn.outputs[n_carry:], body.outputs[n_carry:])]
    innermost = not holds_loops(body)  # a body whose places take turns stands twice in the program
    init, rounds = eqn.inputs[n_consts:n_consts + n_carry], length if innermost else None
    carry = Carry(builder, init, eqn.outputs[:n_carry], body, n_consts, rounds)
    steps = builder.inner(body, level).build([*consts, *carry.read, *stacked], [*carry.write, *ys])
    if not carry.turns:
        steps += carry.copies()
    builder.steps.append(LoopStep(length, None, (), tuple(steps), level, tuple(carry.turns)))
    carry.free()


@lowering("while_loop")
def while_loop(builder: Builder, eqn: Eqn) -> None:
    p, level = eqn.params, builder.level + 1
    n_cond, n_body = p["cond_consts"], p["body_consts"]
    cond_consts = [builder.stored(a) for a in eqn.inputs[:n_cond]]
    body_consts = [builder.stored(a) for a in eqn.inputs[n_cond:n_cond + n_body]]
    body = builder.passes(p["body"])[-1][1]
    carry = Carry(builder, eqn.inputs[n_cond + n_body:], eqn.outputs, body, n_body)
    test = builder.allocate(ArrayType((), BOOL))
    before = nested(builder, p["cond"], [*cond_consts, *carry.read], [test], level)
    steps = builder.inner(body, level).build([*body_consts, *carry.read], carry.write)
    builder.steps.append(LoopStep(None, test, before, (*steps, *carry.copies()), level))
    builder.arena.free(test.offset, 1)
    carry.free()


@lowering("switch")
def switch(builder: Builder, eqn: Eqn) -> None:
    index, *operands = eqn.inputs
    place = builder.stored(index)
    if index.type.dtype != I64:
        place = widened(builder, index)
    inputs = [builder.stored(a) for a in operands]
    outputs = [builder.slots[v] for v in eqn.outputs]
    branches = tuple(nested(builder, graph, inputs, outputs, builder.level) for graph in eqn.params["branches"])
    builder.steps.append(SwitchStep(place, branches))


def widened(builder: Builder, index) -> Slot:
    """The slot of an int64 copy of a scalar."""
    x, out = Var(index.type), Var(ArrayType((), I64))
    body = Graph((x,), (Eqn(OPS["cast"], (x,), {"dtype": np.dtype(np.int64)}, (out,)),), (out,), "index")
    slot = builder.allocate(out.type)
    builder.temporary.append((slot.offset, 8))
    builder.nest(lower(body, (), ()), {x: builder.stored(index), out: slot}, (), None)
    return slot


@lowering("call")
def call(builder: Builder, eqn: Eqn) -> None:
    """A graph kept whole for the passes' sake (checkpoint): its steps run in line."""
    inputs, outputs = [builder.stored(a) for a in eqn.inputs], [builder.slots[v] for v in eqn.outputs]
    builder.steps += nested(builder, eqn.params["graph"], inputs, outputs, builder.level)
