"""What a compiled function keeps: a Record per program, in Variants, by the types of the arguments."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .arguments import WEAK, Call
from .away import builder, number, taker
from .families import Family
from .runtime.array import Array
from .runtime.cuda.buffer import DeviceBuffer
from .runtime.device import CPU
from .tracer import Traced
from .writes import lodgers

MOST_TRIED = 4   # structures of arguments on a GPU that a function tries in turn


@dataclass(eq=False)
class Record:
    """A function compiled for one key: its program and the structure of its result.

    The program's last outputs are the new values of the arguments that the function writes into, `written`, but for those
    that the program writes itself, `compiled.in_place`. What a template gave has no graph: `traced` is None.
    """

    traced: Traced | None
    out_structure: tuple
    written: tuple[int, ...]
    compiled: object = None
    counts: bool = True  # was the function traced for it?
    limits: tuple[tuple[int, np.dtype], ...] = ()  # arguments that are Python integers, and dtypes that they must fit into
    why: str = ""  # why its sizes needed a trace
    runs: int = 0  # runs from Python
    build: Callable | None = None   # buffers -> the result, where `away` below has the record
    numbers: tuple[int, ...] = ()   # the leaves that are Python numbers, there

    def run(self, call: Call) -> list:
        """The outputs as NumPy arrays and scalars, or as buffers of a GPU."""
        arrays = [np.asarray(leaf, WEAK[type(leaf)]) if type(leaf) in WEAK else leaf for leaf in call.prepared]
        outs = self.compiled.run(arrays)
        for k in self.compiled.in_place:
            target = call.leaves[k]._data if type(call.leaves[k]) is Array else call.leaves[k]
            if arrays[k] is not target:   # a copy of it, contiguous or aligned
                np.copyto(target, arrays[k])
        return outs if call.place is not CPU else [out if out.ndim else out[()] for out in outs]

    def is_free(self, leaves: list) -> bool:
        """Whether nothing has to be checked before it runs on these buffers of a GPU, and numbers."""
        return not (self.written and lodgers(leaves))

    def run_away(self, leaves: list):
        """The result for buffers of a GPU, and numbers."""
        program = self.compiled.program
        return self.build(program.run_with_numbers(leaves, self.numbers) if self.numbers else program.run_on(leaves))

    @property
    def copied(self) -> tuple[int, ...]:
        """The arguments whose new values are outputs of the program."""
        return tuple(k for k in self.written if k not in self.compiled.in_place)


@dataclass(eq=False)
class Variant:
    """Programs for one form, structure and set of static values, by the types of the leaves."""

    records: dict[tuple, Record] = field(default_factory=dict)
    entry: object = None  # native, over the leaves; its programs agree in the next three
    out_structure: tuple | None = None
    written: tuple[int, ...] = ()
    copied: tuple[int, ...] = ()
    away: dict[tuple, Record] = field(default_factory=dict)   # kinds of buffers on a GPU, classes of numbers -> record
    take: Callable | None = None    # arguments by position -> (kinds, buffers) where that is all there is to look at
    away_before: bool = False
    families: dict[tuple, Family] = field(default_factory=dict)  # ranks and dtypes of the leaves -> programs by sizes

    def add_away(self, call: Call, record: Record, tried: tuple[Variant, ...], is_method: bool) -> tuple[Variant, ...]:
        """Makes a program reachable for arrays of these kinds on a GPU; returns the variants whose `take` is to be tried."""
        numbers = {k: type(leaf) for k, leaf in enumerate(call.prepared) if type(leaf) is not DeviceBuffer}
        record.build, record.numbers = builder(record.out_structure), tuple(numbers)
        self.away[tuple([numbers.get(k) or leaf.kind for k, leaf in enumerate(call.prepared)])] = record
        if not self.away_before and call.plan.plain and not is_method:
            self.take = taker(call.structure[1][0], numbers)
        self.away_before = True
        return tried if self.take is None or self in tried else (self, *tried)[:MOST_TRIED]

    def found_away(self, leaves: list):
        """(record, buffers) when all leaves are numbers or on a GPU, of kinds seen there before; (None, None) otherwise."""
        try:
            found = [leaf._data if type(leaf) is Array else number(leaf) for leaf in leaves]
        except OverflowError:
            return None, None
        kinds = [getattr(b, "kind", None) if type(leaf) is Array else type(leaf) for leaf, b in zip(leaves, found)]
        record = self.away.get(tuple(kinds))
        return (None, None) if record is None else (record, found)
