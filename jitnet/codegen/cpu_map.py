"""The kernel of a map: elementwise work over all axes, in blocks of the innermost one; large outputs go past the caches."""
from __future__ import annotations

import math

from ..sizes import largest, smallest
from ..types import short_dtype
from .memory import STREAM
from .nest import Access, LoopNest, Stage, Store
from .writer import Dimension, KernelWriter

MAP_BLOCK = 16384  # elements of the innermost axis in one block of a map with rows
PAST_CACHES = 32 << 20   # bytes of an output that the caches will not keep: it is written past them, by a kernel of its own
LEAST_PIECE = 512        # bytes of a contiguous piece that are worth it


class MapWriter(KernelWriter):
    """Writes nests of the form "map"."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.flat = bool(nest.inner) and not nest.rows
        self.streamed: Store | None = None   # the store that goes to a line on the stack first
        self.first = "first"                 # the name of the place that the line begins with

    def dimensions(self) -> list[Dimension]:
        nest = self.nest
        dims = self.row_dimensions(nest.rows)
        if nest.inner and not self.flat:
            dims.append(self.cut("block", nest.inner[0], smallest(MAP_BLOCK, largest(nest.inner[0].extent, 1))))
        return dims

    def loop_over(self, dims: list[Dimension]) -> None:
        if self.flat:   # the grid is the one axis itself
            self.extent = self.nest.inner[0].extent
        else:
            super().loop_over(dims)

    def body(self, depth: int) -> None:
        nest = self.nest
        (stage,), (block,) = nest.stages, nest.blocks
        if self.flat:
            depth = self.base_depth = 1
        self.statements(block.nodes, block.stores, depth)
        if self.flat:
            self.inner_loop(stage, depth, "start", "stop")
        elif nest.inner:
            self.inner_loop(stage, depth, "block_start", "block_stop")
            self.work = largest(1, smallest(MAP_BLOCK, nest.inner[0].extent))
        else:
            self.stage_body(stage, depth)

    def inner_loop(self, stage: Stage, depth: int, low: str, high: str) -> None:
        """The loop over the innermost axis; a large output is written past the caches, some cache lines at a time."""
        self.axis_names[self.nest.inner[0]] = "i"
        self.prepare(stage)
        store = self.streamed = self.large_store(stage)
        if store is None:
            self.put(depth, f"for i in range({low}, {high}):")
            self.stage_body(stage, depth + 1)
            return
        dtype, out = short_dtype(store.access.buffer.dtype), self.buffer_names[store.access.buffer]
        place = self.renamed(store.access, "first", depth)
        self.header.append(f"    line = local_{dtype}({STREAM})")
        self.put(depth, f"first = {low}")
        self.put(depth, f"last = min(first + ahead_{dtype}({out}, {place}), {high})")
        self.put(depth, f"while first < {high}:")
        self.put(depth + 1, "for i in range(first, last):")
        self.stage_body(stage, depth + 2)
        self.put(depth + 1, f"stream_{dtype}({out}, {place}, line, last - first)")
        self.put(depth + 1, "first = last")
        self.put(depth + 1, f"last = min(first + {STREAM}, {high})")
        self.footer.append("    fence_()")

    def store(self, store: Store, depth: int) -> None:
        if store is self.streamed:
            self.put(depth, f"line[i - {self.first}] = {self.names[store.node]}")
        else:
            super().store(store, depth)

    def large_store(self, stage: Stage) -> Store | None:
        """The store of consecutive elements whose output is too large to stay in the caches, in long enough pieces.

        None beside costly work, where the loads of the next piece would not go on meanwhile, and in place: what is read is in
        the caches anyway.
        """
        if any(node.kind == "expr" and not node.eqn.op.cheap for node in stage.nodes):
            return None
        inner = self.nest.inner[0]
        for store in stage.stores:
            access = store.access
            if (self.is_large(store) and inner.extent * store.node.dtype.itemsize >= LEAST_PIECE
                    and access.strides.get(inner) == 1 and not store.add and not access.dynamic
                    and not any(node.access and node.access.buffer is access.buffer for node in stage.nodes)):
                return store
        return None

    def is_large(self, store: Store) -> bool:
        """Is the output too large to stay in the caches?"""
        elements = math.prod(axis.extent for axis in (*self.nest.rows, *self.nest.inner))
        return elements * store.node.dtype.itemsize >= PAST_CACHES

    def renamed(self, access: Access, name: str, depth: int) -> str:
        """The address of a load with the inner axis under another name."""
        inner = self.nest.inner[0]
        self.axis_names[inner], kept = name, self.axis_names[inner]
        text = self.address(access, depth)
        self.axis_names[inner] = kept
        return text
