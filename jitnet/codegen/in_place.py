"""Which arguments that a function writes into can be computed where they lie, without a new array and a copy back.

    x += y                 one kernel, which reads every element of x where it writes it
    x[1:-1] = v            the slice alone is written
    x[:] = f(x)            the last value of x is computed by a kernel after which nothing reads the old one

Everything else is computed beside x and copied into it: `x[1:] = 2 * x[:-1]` reads elements that it has written already.
A program that may fail, by an index out of bounds or inside Python, changes no argument before it is done. On a GPU an index
out of bounds shows later than that.
"""
from __future__ import annotations

from ..ir import Eqn, Graph, Var, definitions
from ..passes.kernel import is_view, kernel_op
from ..passes.plan import base_of, contiguous_base, last_uses, overwrites
from .affine import Axis
from .loops import lower
from .nest import Access, Block, LoopNest, Stage


def values_in(graph: Graph, k: int, var: Var, gpu: bool = False) -> list[Var] | None:
    """The values that lie in the input `var`, one after the other, when output k does; None when it cannot.

    Outputs that are `var` as it came in are no hindrance: they are copied before the first equation. gpu: is it for a GPU?
    """
    definition, dying = definitions(graph), last_uses(graph)
    position = {id(eqn): i for i, eqn in enumerate(graph.eqns)}
    value = contiguous_base(graph.outputs[k], definition)
    chain: list[Var] = []
    while type(value) is Var and value is not var:
        eqn = definition.get(value)
        if eqn is None or is_view(eqn):
            return None
        chain.append(value)
        before = overwrites(eqn, definition, dying.get(position[id(eqn)], []))
        if before is None:
            break
        value = before
    if not chain:
        return None
    first = definition[chain[-1]]
    at = position[id(first)]
    late = [a for eqn in graph.eqns[at + 1:] for a in eqn.inputs] + [a for a in graph.outputs if a is not var]
    if any(base_of(a, definition) is var for a in late):
        return None
    return chain if value is var or reads_in_step(first, chain[-1], var, definition, gpu) else None


def reads_in_step(eqn: Eqn, out: Var, var: Var, definition: dict[Var, Eqn], gpu: bool = False) -> bool:
    """Does an equation read `var`, if at all, element by element where it writes the output `out`?"""
    reads = [a for a in eqn.inputs if base_of(a, definition) is var]
    if not reads:
        return True
    if eqn.op is not kernel_op or any(contiguous_base(a, definition) is not var for a in reads):
        return False
    body = eqn.params["body"]
    nest = lower(body, eqn.params["domain"], eqn.params["reduce"])
    operands = {v for v, a in zip(body.inputs, eqn.inputs) if a in reads}
    written = body.outputs[eqn.outputs.index(out)]
    return same_places(nest, operands, written) and (not gpu or by_one_thread(nest, {*operands, written}))


def same_places(nest: LoopNest, operands: set[Var], written: Var) -> bool:
    """Is every load of the operands at the place where an output is stored, and none in a later loop than a store?"""
    loads = [a for a in nest.accesses if a.buffer.atom in operands]
    stored: list[Access] = []
    for part in (part for pair in zip(nest.blocks, nest.stages) for part in pair):
        nodes = (*part.nodes, *part.strip) if isinstance(part, Block) else [n for n in part.nodes if n not in part.reloads]
        if stored and any(n.access in loads for n in nodes):
            return False
        stored += [s.access for s in part.stores if s.access.buffer.atom is written and not s.add]
    return bool(stored) and all(same_place(load, store) for load in loads for store in stored)


def by_one_thread(nest: LoopNest, values: set[Var]) -> bool:
    """On a GPU, does one thread alone meet each element of these values?

    That is so in the loops of a stage, for what has no element twice. What stands before them, all threads of a row compute:
    one would read what another one has written.
    """
    if not nest.inner:
        return True   # a kernel of one thread
    axes = {axis for axis in (*nest.rows, *nest.inner, nest.column) if axis is not None and axis.extent > 1}
    before = [access for block in nest.blocks for access in accesses_of(block)]
    inside = [access for stage in nest.stages for access in accesses_of(stage)]
    if any(a.buffer.atom in values for a in before):
        return False
    # in a reduction, what is the same along the inner axes stands before the loops of a stage
    return all(axes <= moving(a).keys() and (nest.form == "map" or not moving(a).keys().isdisjoint(nest.inner))
               for a in inside if a.buffer.atom in values)


def accesses_of(part: Block | Stage) -> list[Access]:
    """Where a part of a nest reads and writes."""
    nodes = (*part.nodes, *part.strip) if isinstance(part, Block) else part.nodes
    return [n.access for n in nodes if n.access is not None] + [s.access for s in part.stores]


def same_place(a: Access, b: Access) -> bool:
    """Do two accesses meet the same element in every round?"""
    return not a.dynamic and not b.dynamic and a.base == b.base and moving(a) == moving(b) and a.buffer.dtype == b.buffer.dtype


def moving(access: Access) -> dict[Axis, int]:
    """The axes along which an access moves, and how far."""
    return {axis: stride for axis, stride in access.strides.items() if stride and axis.extent > 1}


def join_buffers(nest: LoopNest, slots: list) -> list:
    """The slots of a nest whose inputs that lie where an output does become loads from that output: no two aliases."""
    outputs = {slot: b for slot, b in zip(slots, nest.buffers) if b.role in ("output", "scratch")}
    joined = {id(b): outputs[slot] for slot, b in zip(slots, nest.buffers) if b.role == "input" and slot in outputs}
    if not joined:
        return slots
    for access in nest.accesses:
        access.buffer = joined.get(id(access.buffer), access.buffer)
    kept = [(slot, b) for slot, b in zip(slots, nest.buffers) if id(b) not in joined]
    nest.buffers[:] = [b for _, b in kept]
    return [slot for slot, _ in kept]
