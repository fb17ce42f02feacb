"""What a kernel of rows keeps in shared memory between its passes over a row.

Softmax reads a row three times: for the maximum, for the sum of exponentials, for the quotients. A thread keeps what it loaded
or computed for its elements where it alone reads them again, so no pass waits for another. Rows that are too long are read
again from where they lie, through the same pointers: which of the two is a number that the kernel is given.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..types import short_dtype
from .nest import Access, LoopNest, Node, Store

MOST_BYTES = 44 * 1024   # of a block: with the scratch of combinations, what every GPU gives without being asked for more


@dataclass(eq=False)
class Kept:
    """A value per element of a row, from the pass that has it first to the last one that reads it."""

    node: Node
    access: Access    # where it lies when the row is too long to be kept
    first: int
    last: int
    slot: int = 0     # which part of the shared memory
    store: Store | None = None   # that puts it there; None: it is loaded from there

    @property
    def itemsize(self) -> int:
        return self.access.buffer.dtype.itemsize


def kept_values(nest: LoopNest) -> list[Kept]:
    """What passes over the rows of a nest share, with a slot for each."""
    if len(nest.inner) != 1 or nest.split:
        return []
    (axis,) = nest.inner
    passes: dict[Node, list[int]] = {}
    for k, stage in enumerate(nest.stages):
        for node in stage.nodes:
            passes.setdefault(node, []).append(k)
    found = []
    for node, stages in passes.items():
        if len(stages) < 2:
            continue
        access = next((s.reloads[node] for s in nest.stages if node in s.reloads), node.access)
        if access is None or access.dynamic or access.strides.get(axis) != 1:
            continue
        if any(node in s.reloads for s in nest.stages):
            store = next((t for t in nest.stages[stages[0]].stores if t.access is access and t.node is node), None)
            if store is not None:
                found.append(Kept(node, access, stages[0], stages[-1], store=store))
        elif node.kind == "load":
            found.append(Kept(node, access, stages[0], stages[-1]))
    share_slots(found)
    return found


def share_slots(values: Sequence[Kept]) -> None:
    """Gives every value a slot: one whose value is read for the last time in the pass that has this one, or a new one."""
    slots: list[Kept] = []   # what lies in each slot now
    for value in sorted(values, key=lambda v: (v.first, v.last)):
        free = [k for k, old in enumerate(slots) if old.last <= value.first and old.itemsize == value.itemsize]
        if free:
            value.slot = free[0]
            slots[value.slot] = value
        else:
            value.slot = len(slots)
            slots.append(value)


def slot_sizes(values: Sequence[Kept]) -> list[int]:
    """Bytes of an element in each slot."""
    return [next(v.itemsize for v in values if v.slot == k) for k in range(1 + max((v.slot for v in values), default=-1))]


def pointer(value: Kept, sizes: Sequence[int], length: str, buffer: str) -> str:
    """The expression for the memory of a value: the part of shared memory behind that of wider elements, or a buffer."""
    wider = [size for k, size in enumerate(sizes) if (size, -k) > (sizes[value.slot], -value.slot)]
    offset = f"threads_y() * {length} * {sum(wider)}" if wider else "0"
    return f"either_(keep, kept_{short_dtype(value.access.buffer.dtype)}({offset}), {buffer})"
