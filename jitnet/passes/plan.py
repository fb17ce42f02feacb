"""The static memory plan: where every value of a fused graph lies.

    storage ::= input i | output i | constant i | arena bytes [offset, offset + size)

Temporaries share one arena: a block is free again after the last equation that reads it, so values whose lives do not overlap
use the same bytes. A reshape is a view of what it reshapes. A graph output is computed in the output itself. An equation that
changes some elements of a value which nothing reads afterwards changes them in place.
"""
from __future__ import annotations

from bisect import insort

from ..ir import Atom, Eqn, Graph, Var, definitions
from .kernel import is_view

ALIGNMENT = 64
# Freed blocks wait before they are used again, for what is computed meanwhile may run beside what read them
# (runtime/joining.py): so many, of so many bytes. Small values, like sums of parts, lie apart from large ones.
RESTING, RESTING_BYTES, SMALL = 4, 2 << 20, 16 << 10


class Arena:
    """Blocks of one growing region: best fit, freed neighbours joined. `rests`: freed blocks wait."""

    def __init__(self, rests: bool = False):
        self.size, self.rests = 0, rests
        self._free: list[tuple[int, int]] = []   # (offset, bytes), sorted, never adjacent
        self._waiting: list[tuple[int, int]] = []   # the blocks that were freed last
        self._small: list[tuple[int, int]] = []     # the small ones

    def allocate(self, nbytes: int) -> int:
        """The offset of a free block of that size: the smallest that is large enough, else the end of the region grows."""
        nbytes = aligned(nbytes)
        most = SMALL if self.rests and nbytes <= SMALL else self.size
        offset, size = min((block for block in self._free if nbytes <= block[1] <= most), key=lambda b: b[1],
                           default=(self.size, 0))
        if not size and self._free and sum(self._free[-1]) == self.size:
            offset, size = self._free[-1]   # a free end becomes a part of the block
        if size:
            self._free.remove((offset, size))
        if size > nbytes:
            insort(self._free, (offset + nbytes, size - nbytes))
        self.size = max(self.size, offset + nbytes)
        return offset

    def free(self, offset: int, nbytes: int) -> None:
        """Gives a block back."""
        nbytes = aligned(nbytes)
        if not self.rests:
            self._join(offset, nbytes)
            return
        waiting, count, most = (self._small, 4 * RESTING, SMALL) if nbytes <= SMALL else (self._waiting, RESTING, RESTING_BYTES)
        waiting.append((offset, nbytes))
        while len(waiting) > count or sum(size for _, size in waiting) > most:
            self._join(*waiting.pop(0))

    def _join(self, offset: int, nbytes: int) -> None:
        insort(self._free, (offset, nbytes))
        merged: list[tuple[int, int]] = []
        for start, size in self._free:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        self._free = merged


def aligned(nbytes: int) -> int:
    """The size of the block for that many bytes; not even an empty value has none, so blocks of live values never coincide."""
    return max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)


def base_of(atom: Atom, definition: dict[Var, Eqn]) -> Atom:
    """The stored value that an atom is a view of (itself when it is none)."""
    while atom in definition and is_view(definition[atom]):
        atom = definition[atom].inputs[0]
    return atom


def contiguous_base(atom: Atom, definition: dict[Var, Eqn]) -> Atom:
    """Like `base_of`, through reshapes only: the same bytes in the same order."""
    while type(atom) is Var and atom in definition and definition[atom].op.name == "reshape":
        atom = definition[atom].inputs[0]
    return atom


def last_uses(graph: Graph) -> dict[int, list[Var]]:
    """Position of an equation -> the stored values that nothing reads after it."""
    definition = definitions(graph)
    last: dict[Var, int] = {}
    for k, eqn in enumerate(graph.eqns):
        for v in eqn.outputs:
            if base_of(v, definition) is v:
                last[v] = k
        for atom in eqn.inputs:
            base = base_of(atom, definition)
            if type(base) is Var:
                last[base] = k
    for atom in graph.outputs:
        base = base_of(atom, definition)
        if type(base) is Var:
            last[base] = len(graph.eqns)
    table: dict[int, list[Var]] = {}
    for v, k in last.items():
        table.setdefault(k, []).append(v)
    return table


def output_places(graph: Graph) -> dict[Var, int]:
    """Computed values that can be computed right in an output: Var -> position of that output."""
    definition = definitions(graph)
    places: dict[Var, int] = {}
    for k, atom in enumerate(graph.outputs):
        base = contiguous_base(atom, definition)
        if type(base) is Var and base in definition and not is_view(definition[base]) and base not in places:
            places[base] = k
    return places


IN_PLACE = ("scatter_add", "scatter_set", "update_slice")   # ops whose output is their first operand with some elements changed


def overwrites(eqn: Eqn, definition: dict[Var, Eqn], dying: list[Var]) -> Var | None:
    """The stored value whose bytes an equation may change into its output, because nothing reads it afterwards."""
    if eqn.op.name not in IN_PLACE:
        return None
    base = contiguous_base(eqn.inputs[0], definition)
    others = {base_of(a, definition) for a in eqn.inputs[1:]}
    return base if type(base) is Var and base in dying and base not in others else None


def updated_in_place(graph: Graph, k: int, var: Var) -> bool:
    """Does output k change the input `var` in a way that can happen in its own bytes?"""
    definition = definitions(graph)
    out = graph.outputs[k]
    eqn = definition.get(out) if type(out) is Var else None
    if eqn is None:
        return False
    position = next(i for i, e in enumerate(graph.eqns) if e is eqn)
    return overwrites(eqn, definition, last_uses(graph).get(position, [])) is var


def written_after_reads(graph: Graph, k: int, var: Var) -> bool:
    """Is output k computed whole, straight into its place, by an equation after which nothing reads the input `var`?

    Other outputs may be `var` as it came in: those are copied before the first equation.
    """
    definition = definitions(graph)
    base = contiguous_base(graph.outputs[k], definition)
    if type(base) is not Var or output_places(graph).get(base) != k:
        return False
    position = next(i for i, eqn in enumerate(graph.eqns) if base in eqn.outputs)
    late = [a for eqn in graph.eqns[position:] for a in eqn.inputs] + [a for a in graph.outputs if a is not var]
    return not any(base_of(a, definition) is var for a in late)
