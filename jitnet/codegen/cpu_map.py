"""The kernel of a map: elementwise work over all axes, in blocks of the innermost one.

Where some load runs along another axis, it works in squares of the two, and turns what it loads on the stack.
"""
from __future__ import annotations

from ..sizes import largest, smallest
from ..types import short_dtype
from .memory import EDGE
from .nest import Access, Block, LoopNest, Node, Stage
from .writer import Dimension, KernelWriter

MAP_BLOCK = 16384  # elements of the innermost axis in one block of a map with rows
SQUARE = 128       # a transposing map reads and writes squares of this edge: runs of 512 bytes, few pages at a time
MOST_TURNED = 3    # squares of one kernel that wait on the stack


class MapWriter(KernelWriter):
    """Writes nests of the form "map"."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.flat = bool(nest.inner) and not nest.rows
        self.turned = [a for a in nest.accesses if self.turns(a)][:MOST_TURNED] if nest.tile is not None else []
        self.tiles: dict[Access, str] = {}   # the stack array that holds a load's square, turned

    def dimensions(self) -> list[Dimension]:
        nest = self.nest
        dims = self.row_dimensions([a for a in nest.rows if a is not nest.tile])
        if nest.tile is not None:
            dims.append(self.cut("square", nest.tile, SQUARE))
        if nest.inner and not self.flat:
            width = SQUARE if nest.tile is not None else smallest(MAP_BLOCK, largest(nest.inner[0].extent, 1))
            dims.append(self.cut("block", nest.inner[0], width))
        return dims

    def loop_over(self, dims: list[Dimension]) -> None:
        if self.flat:   # the grid is the one axis itself
            self.extent = self.nest.inner[0].extent
        else:
            super().loop_over(dims)

    def body(self, depth: int) -> None:
        nest = self.nest
        (stage,), (block,) = nest.stages, nest.blocks
        if nest.tile is not None:
            self.square_body(stage, block, depth)
            return
        if self.flat:
            depth = self.base_depth = 1
        self.statements(block.nodes, block.stores, depth)
        if self.flat:
            self.inner_loop(stage, depth, "start, stop")
        elif nest.inner:
            self.inner_loop(stage, depth, "block_start, block_stop")
            self.work = largest(1, smallest(MAP_BLOCK, nest.inner[0].extent))
        else:
            self.stage_body(stage, depth)

    def inner_loop(self, stage: Stage, depth: int, bounds: str) -> None:
        self.axis_names[self.nest.inner[0]] = "i"
        self.prepare(stage)
        self.put(depth, f"for i in range({bounds}):")
        self.stage_body(stage, depth + 1)

    # Squares

    def square_body(self, stage: Stage, block: Block, depth: int) -> None:
        """Turns the square of every load that runs along the tile axis, then walks the square by rows of the output."""
        tile, inner = self.nest.tile, self.nest.inner[0]
        self.statements([node for node in block.nodes if tile not in node.axes], [], depth)
        self.axis_names[tile], self.axis_names[inner] = "j", "i"
        for access in self.turned:
            self.turn(access, depth)
        self.put(depth, "for j in range(square_start, square_stop):")
        self.fixed.append(tile)
        self.base_depth = depth + 1
        del self.axis_names[inner]
        self.statements([node for node in block.nodes if tile in node.axes], [], depth + 1)
        self.inner_loop(stage, depth + 1, "block_start, block_stop")
        self.work = largest(1, smallest(SQUARE, inner.extent) * smallest(SQUARE, tile.extent))

    def load(self, node: Node, depth: int) -> str:
        if node.access in self.tiles:
            return f"{self.tiles[node.access]}[{place_in_square('i')}]"
        return super().load(node, depth)

    def base(self, access: Access) -> str:
        return "" if access in self.tiles else super().base(access)

    def turns(self, access: Access) -> bool:
        """Is this load contiguous along the tile axis, strided along the inner one, and of a dtype that registers can turn?"""
        inner, tile = self.nest.inner[0], self.nest.tile
        return (access.buffer.role == "input" and short_dtype(access.buffer.dtype) in EDGE and not access.dynamic
                and access.strides.get(tile) == 1 and abs(access.strides.get(inner, 0)) > 1)

    def turn(self, access: Access, depth: int) -> None:
        """Writes the copy of a load's square to the stack, turned so that the inner axis is contiguous.

        Blocks of EDGE by EDGE elements are turned in registers; the rest, at the ends of the array, one by one.
        """
        dtype, source = short_dtype(access.buffer.dtype), self.buffer_names[access.buffer]
        edge, tile, number = EDGE[dtype], f"tile{len(self.tiles)}", len(self.tiles)
        self.header.append(f"    {tile} = local_{dtype}({SQUARE * SQUARE})")
        address, stride = self.address(access, depth), self.stride(access, self.nest.inner[0])
        full_i, full_j, place = f"full_i{number}", f"full_j{number}", place_in_square("i")
        self.put(depth, f"{full_i} = block_start + (block_stop - block_start) // {edge} * {edge}")
        self.put(depth, f"{full_j} = square_start + (square_stop - square_start) // {edge} * {edge}")
        self.put(depth, f"for i in range(block_start, {full_i}, {edge}):")
        self.put(depth + 1, f"for j in range(square_start, {full_j}, {edge}):")
        self.put(depth + 2, f"transpose_{dtype}({source}, {address}, {stride}, {tile}, {place}, {SQUARE})")
        self.put(depth + 1, f"for j in range({full_j}, square_stop):")
        self.put(depth + 2, f"for k in range(i, i + {edge}):")
        self.put(depth + 3, f"{tile}[{place_in_square('k')}] = {source}[{self.renamed(access, 'k', depth)}]")
        self.put(depth, f"for i in range({full_i}, block_stop):")
        self.put(depth + 1, "for j in range(square_start, square_stop):")
        self.put(depth + 2, f"{tile}[{place}] = {source}[{address}]")
        self.tiles[access] = tile

    def renamed(self, access: Access, name: str, depth: int) -> str:
        """The address of a load with the inner axis under another name."""
        inner = self.nest.inner[0]
        self.axis_names[inner], kept = name, self.axis_names[inner]
        text = self.address(access, depth)
        self.axis_names[inner] = kept
        return text


def place_in_square(i: str) -> str:
    """The position of element (j, i) in a turned square."""
    return f"(j - square_start) * {SQUARE} + {i} - block_start"
