"""The kernel of a map: elementwise work over all axes, in blocks of the innermost one; in squares when some load runs along another axis."""
from __future__ import annotations

from ..types import short_dtype
from .nest import Access, Block, Stage
from .memory import EDGE
from .writer import KernelWriter

MAP_BLOCK = 16384  # elements of the innermost axis in one block of a map with rows
SQUARE = 128       # a transposing map reads and writes squares of this edge: runs of 512 bytes, few pages at a time
MOST_TURNED = 3    # squares of one kernel that wait on the stack


class MapWriter(KernelWriter):
    """Writes nests of the form "map"."""

    def __init__(self, nest):
        super().__init__(nest)
        self.tiles: dict[int, str] = {}   # id(access) -> the stack array that holds its square, turned
        self.flat = bool(nest.inner) and not nest.rows
        self.turned = [a for a in nest.accesses if self.turns(a)][:MOST_TURNED] if nest.tile is not None else []

    def dimensions(self):
        nest = self.nest
        if self.flat:   # one axis: the grid is the axis itself
            self.extent = nest.inner[0].extent
            return []
        dims = self.row_dimensions([a for a in nest.rows if a is not nest.tile])
        if nest.tile is not None:
            dims.append(("square", *self.chunked("square", nest.tile, SQUARE)))
        if nest.inner:
            width = SQUARE if nest.tile is not None else min(MAP_BLOCK, max(nest.inner[0].extent, 1))
            dims.append(("block", *self.chunked("block", nest.inner[0], width)))
        return dims

    def loop_over(self, dims) -> None:
        if not self.flat:
            super().loop_over(dims)

    def body(self, depth: int) -> None:
        nest = self.nest
        (stage,), (block,) = nest.stages, nest.blocks
        if self.flat:
            self.flat_body(stage, block)
        elif not nest.inner:
            self.statements(block, depth)
            self.stage_body(stage, depth)
        elif nest.tile is not None:
            self.square_body(stage, block, depth)
        else:
            self.statements(block, depth)
            self.block_loop(stage, depth)
            self.work = max(1, min(MAP_BLOCK, nest.inner[0].extent))

    def flat_body(self, stage: Stage, block: Block) -> None:
        self.base_depth = 1
        self.axis_names[self.nest.inner[0]] = "i"
        self.statements(block, 1)
        self.prepare(stage)
        self.put(1, "for i in range(start, stop):")
        self.stage_body(stage, 2)

    def block_loop(self, stage: Stage, depth: int) -> None:
        self.axis_names[self.nest.inner[0]] = "i"
        self.prepare(stage)
        self.put(depth, "for i in range(block_start, block_stop):")
        self.stage_body(stage, depth + 1)

    # Squares

    def square_body(self, stage: Stage, block: Block, depth: int) -> None:
        """Turns the square of every load that runs along the tile axis, then walks the square by rows of the output."""
        tile, inner = self.nest.tile, self.nest.inner[0]
        for node in block.nodes:
            if tile not in node.axes:
                self.node(node, depth)
        self.axis_names[tile], self.axis_names[inner] = "j", "i"
        for access in self.turned:
            self.turn(access, depth)
        self.put(depth, "for j in range(square_start, square_stop):")
        self.fixed.append(tile)
        self.base_depth = depth + 1
        del self.axis_names[inner]
        for node in block.nodes:
            if id(node) not in self.names:
                self.node(node, depth + 1)
        self.block_loop(stage, depth + 1)
        self.work = max(1, min(SQUARE, inner.extent) * min(SQUARE, tile.extent))

    def load(self, access: Access, depth: int) -> str:
        if id(access) in self.tiles:
            return f"{self.tiles[id(access)]}[(j - square_start) * {SQUARE} + i - block_start]"
        return super().load(access, depth)

    def base(self, access: Access, depth: int) -> str:
        return "" if id(access) in self.tiles else super().base(access, depth)

    def renamed(self, access: Access, name: str, depth: int) -> str:
        """The address of a load with the inner axis under another name."""
        inner = self.nest.inner[0]
        self.axis_names[inner], kept = name, self.axis_names[inner]
        text = self.address(access, depth)
        self.axis_names[inner] = kept
        return text

    def turns(self, access: Access) -> bool:
        """Is this load contiguous along the tile axis, strided along the inner one, and of a dtype that registers can turn?"""
        inner, tile = self.nest.inner[0], self.nest.tile
        return (access.buffer.role == "input" and access.strides.get(tile) == 1 and abs(access.strides.get(inner, 0)) > 1 and not access.dynamic
                and short_dtype(access.buffer.dtype) in EDGE)

    def turn(self, access: Access, depth: int) -> None:
        """Copies the tile of a load to the stack, turned so that the inner axis is contiguous."""
        dtype, source = short_dtype(access.buffer.dtype), self.buffer_names[access.buffer]
        edge, tile, number = EDGE[dtype], f"tile{self.count('turned')}", self.count("full")
        self.header.append(f"    {tile} = local_{dtype}({SQUARE * SQUARE})")
        address, stride = self.address(access, depth), self.stride(access, self.nest.inner[0])
        full_i, full_j = f"full_i{number}", f"full_j{number}"
        place = f"(j - square_start) * {SQUARE} + i - block_start"
        self.put(depth, f"{full_i} = block_start + (block_stop - block_start) // {edge} * {edge}")
        self.put(depth, f"{full_j} = square_start + (square_stop - square_start) // {edge} * {edge}")
        self.put(depth, f"for i in range(block_start, {full_i}, {edge}):")
        self.put(depth + 1, f"for j in range(square_start, {full_j}, {edge}):")
        self.put(depth + 2, f"transpose_{dtype}({source}, {address}, {stride}, {tile}, {place}, {SQUARE})")
        self.put(depth + 1, f"for j in range({full_j}, square_stop):")
        self.put(depth + 2, f"for k in range(i, i + {edge}):")
        self.put(depth + 3, f"{tile}[{place.replace('i -', 'k -')}] = {source}[{self.renamed(access, 'k', depth)}]")
        self.put(depth, f"for i in range({full_i}, block_stop):")
        self.put(depth + 1, "for j in range(square_start, square_stop):")
        self.put(depth + 2, f"{tile}[{place}] = {source}[{address}]")
        self.tiles[id(access)] = tile
