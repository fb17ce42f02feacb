"""The kernel of a map: elementwise work over all axes, in blocks of the innermost one; large outputs go past the caches."""
from __future__ import annotations

from ..sizes import largest, smallest
from .nest import LoopNest, Stage
from .streaming import StreamingWriter, computes
from .writer import Dimension

MAP_BLOCK = 16384  # elements of the innermost axis in one block of a map with rows


class MapWriter(StreamingWriter):
    """Writes nests of the form "map"."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.flat = bool(nest.inner) and not nest.rows

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
        """The loop over the innermost axis; a large output is written past the caches.

        Not beside costly work, where the loads of the next piece would not go on meanwhile.
        """
        axis = self.nest.inner[0]
        self.axis_names[axis] = "i"
        self.prepare(stage)
        store = None if computes(stage) else self.large_store(stage, axis)
        if store is not None:
            self.stream(store, axis, depth, low, high, lambda depth: self.stage_body(stage, depth))
            return
        self.put(depth, f"for i in range({low}, {high}):")
        self.stage_body(stage, depth + 1)
