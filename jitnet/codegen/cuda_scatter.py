"""The GPU kernels of writes at places that are data.

    ordered   writes to one place happen in the order of the index array, as on the CPU: the same bits, the last value stays.
              A thread owns some places of a sequence (those whose number is its own modulo the owners), walks over all indices
              and writes its own.
    atomic    sums of integers, where order means nothing: every thread adds its element in one step. Sums of floats too, where
              JITNET_GPU_ATOMICS allows it: faster where many places are written, and the last bits differ from run to run.
"""
from __future__ import annotations

import math

from .cuda_launch import LaunchShape
from .cuda_map import FlatWriter, GridWriter, PointWriter
from .cuda_writer import CudaWriter
from .loops import divided
from .nest import Access, LoopNest, Store, postorder
from .writer import Dimension, KernelWriter, total

UNROLL = 4         # indices that a thread loads before it writes
EXACT = ("i", "u")   # kinds whose sums do not depend on the order


def scatters(nest: LoopNest) -> bool:
    """Does a store of this map go to places that are data?"""
    return any(s.access.dynamic or s.add for stage in nest.stages for s in stage.stores)


def scatter_writer(nest: LoopNest, atomics: bool) -> CudaWriter:
    """The writer for such a nest; atomics: may sums of floats depend on the order?"""
    stores = [s for stage in nest.stages for s in stage.stores]
    dtypes = [s.access.buffer.dtype for s in stores]
    wide = all(d.itemsize >= 4 for d in dtypes)   # narrower ones have no atomic addition
    if all(s.add for s in stores) and wide and all(d.kind in EXACT or atomics for d in dtypes):
        return (AtomicPoint if not nest.inner else AtomicGrid if nest.rows else AtomicFlat)(nest)
    return OrderedWriter(nest)


class AtomicStores(CudaWriter):
    """A map whose stores add. Abstract."""

    def store(self, store: Store, depth: int) -> None:
        buffer, at = self.buffer_names[store.access.buffer], self.address(store.access, depth)
        self.put(depth, f"atomic_add_({buffer}, {at}, {self.names[store.node]})")


class AtomicPoint(AtomicStores, PointWriter):
    """Writes additions of one element."""


class AtomicFlat(AtomicStores, FlatWriter):
    """Writes additions along one axis."""


class AtomicGrid(AtomicStores, GridWriter):
    """Writes additions over rows."""


class OrderedWriter(CudaWriter):
    """Writes stores in the order of their indices."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        (self.stage,), (self.block,) = nest.stages, nest.blocks
        (self.target,) = self.stage.stores
        picks = [node for node, _, _ in self.target.access.dynamic]
        varying = frozenset().union(*(n.axes for n in picks))
        axes = [*nest.rows, *nest.inner]
        self.serial = [a for a in axes if a in varying]
        self.parallel = [a for a in axes if a not in varying]
        self.first = list(postorder(picks, ()))   # what the indices need
        self.rest = [n for n in (*self.block.nodes, *self.stage.nodes) if n not in self.first]

    def launch(self) -> LaunchShape:
        outer, inner = (math.prod(a.extent for a in axes) for axes in (self.parallel, self.serial))
        return LaunchShape("ordered", outer=outer, inner=inner)

    def lines_of(self) -> None:
        dims = self.row_dimensions(self.parallel)
        self.base_depth = 2
        self.put(1, "owner = block_y() * threads_y() + thread_y()")
        self.put(1, "owners = blocks_y() * threads_y()")
        self.put(1, "p = block_x() * threads_x() + thread_x()")
        self.put(1, f"while p < {self.count(dims) if dims else 1}:")
        self.take_apart("p", dims, 2)
        self.prepare(self.stage)
        for node in self.block.nodes:   # steady along the inner axis; met first behind an `if`, a base would stand in it
            if node.access is not None:
                self.base(node.access)
        still, self.first = divided(self.first, frozenset(self.serial))
        self.statements(still, [], 2)
        count = self.serial_count()
        self.put(2, "q = 0")
        if UNROLL > 1:
            self.put(2, f"while q + {UNROLL - 1} < {count}:")
            self.visit(["q", *(f"(q + {k})" for k in range(1, UNROLL))], 3)
        self.put(2, f"while q < {count}:")
        self.visit(["q"], 3)
        self.put(2, "p += blocks_x() * threads_x()")

    def serial_count(self) -> str:
        """The number of indices, by name."""
        if not self.serial:
            return "1"
        if len(self.serial) == 1:
            return self.extent_of(self.serial[0])
        return self.size(("serial",), math.prod(a.extent for a in self.serial), "n")

    def visit(self, positions: list[str], depth: int) -> None:
        """Writes the work on indices at these positions: all of them are loaded, then each is written by its owner."""
        known, lanes, places = self.names, [dict(self.names) for _ in positions], []
        for self.names, position in zip(lanes, positions):
            places.append(self.place(position, depth))
            self.axis_names.update(places[-1])
            self.statements(self.first, [], depth)
        access = self.target.access
        for self.names, place in zip(lanes, places):
            self.axis_names.update(place)
            picks = self.picks(access, depth)
            owner = picks[0].split(" ")[0] if picks else "0"
            self.put(depth, f"if ({owner} & (owners - 1)) == owner:")
            self.statements([n for n in self.rest if n not in self.names], [], depth + 1)
            self.write(picks, depth + 1)
        self.names = known
        self.put(depth, f"q += {len(positions)}")

    def place(self, position: str, depth: int) -> dict:
        """The serial axes at a position; writes the lines that take it apart."""
        if len(self.serial) <= 1:
            return dict.fromkeys(self.serial, position)
        dims = [Dimension(self.fresh("r"), self.extent_of(a), a.extent) for a in self.serial]
        name = self.fresh("q")
        self.put(depth, f"{name} = {position}")
        self.take_apart(name, dims, depth)
        return {axis: dim.name for axis, dim in zip(self.serial, dims)}

    def write(self, picks: list[str], depth: int) -> None:
        """The store at places that have been checked."""
        access, base = self.target.access, self.base(self.target.access)
        terms = [base] if base else []
        terms += [self.term(access, a) for a in self.serial if a in access.strides]
        element = f"{self.buffer_names[access.buffer]}[{total([*terms, *picks]) or '0'}]"
        value = self.names[self.target.node]
        self.put(depth, f"{element} = {element} + {value}" if self.target.add else f"{element} = {value}")

    def base(self, access: Access) -> str:
        if access is self.target.access:   # its picks belong to each index: the axes that a thread fixes alone
            return KernelWriter.base(self, access)
        return super().base(access)
