"""The kernel of a map in which some load runs along another axis than the output: it works in tiles of the two.

What such a load needs of a tile is turned on the stack first; then the rows of the tile are ordinary loops.
"""
from __future__ import annotations

from ..sizes import largest, smallest
from ..types import short_dtype
from .cpu_map import MapWriter
from .memory import EDGE, LANES
from .nest import Access, LoopNest, Node, Stage
from .streaming import computes
from .writer import Dimension

TILE = 32, 128     # rows of a tile and elements of each: what was turned stays in the first cache
LARGE = 128, 128   # where the output is past the caches: runs of 512 bytes each way, few pages at a time
ROWS_AHEAD = 8     # rows of a large tile that are asked for before they are read
MOST_TURNED = 3    # loads of one kernel that are turned


class TilesWriter(MapWriter):
    """Writes nests of the form "map" that have a tile axis."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.turned = [a for a in nest.accesses if self.turns(a)][:MOST_TURNED]
        self.tiles: dict[Access, str] = {}   # the stack array that holds a load's tile, turned
        self.large = any(store.is_large for store in nest.stages[0].stores)
        self.height, self.width = LARGE if self.large else TILE

    def dimensions(self) -> list[Dimension]:
        nest = self.nest
        rows = self.row_dimensions([a for a in nest.rows if a is not nest.tile])
        tiles = [self.cut("tile", nest.tile, self.height), self.cut("block", nest.inner[0], self.width)]
        straight = [a for a in nest.accesses if a.strides.get(nest.inner[0]) == 1]
        if self.large and len(self.turned) >= len(straight):
            tiles.reverse()
        return [*rows, *tiles]   # tiles that follow one another lie side by side in as many arrays as can be

    def body(self, depth: int) -> None:
        """Turns the tile of every load that runs along the tile axis, then walks the tile by rows of the output."""
        (stage,), (block,), tile, inner = self.nest.stages, self.nest.blocks, self.nest.tile, self.nest.inner[0]
        self.statements([node for node in block.nodes if tile not in node.axes], [], depth)
        self.axis_names[tile], self.axis_names[inner] = "j", "i"
        for access in self.turned:
            self.turn(access, depth)
        self.put(depth, "for j in range(tile_start, tile_stop):")
        self.fixed.append(tile)
        self.base_depth = depth + 1
        del self.axis_names[inner]
        self.statements([node for node in block.nodes if tile in node.axes], [], depth + 1)
        self.inner_loop(stage, depth + 1, "block_start", "block_stop")
        self.work = largest(1, smallest(self.width, inner.extent) * smallest(self.height, tile.extent))

    def inner_loop(self, stage: Stage, depth: int, low: str, high: str) -> None:
        """The loop over a row of a tile, which goes past the caches as a whole."""
        axis = self.nest.inner[0]
        self.axis_names[axis] = self.streamed_axis = "i"
        self.prepare(stage)
        if self.large:
            self.ask_ahead(stage, depth)
        self.streamed, self.first = None if computes(stage) else self.large_store(stage, axis), low
        self.put(depth, f"for i in range({low}, {high}):")
        self.stage_body(stage, depth + 1)
        if self.streamed is not None:
            dtype, out = self.streamed_names(self.streamed)
            place = self.renamed(self.streamed.access, axis, low, depth)
            self.put(depth, f"stream_{dtype}({out}, {place}, line, {high} - {low})")

    def ask_ahead(self, stage: Stage, depth: int) -> None:
        """Asks for what rows further down will load: runs this short end before the processor sees them coming."""
        tile, inner = self.nest.tile, self.nest.inner[0]
        for access in (node.access for node in stage.nodes if node.kind == "load"):
            if access.strides.get(inner) == 1 and tile in access.strides and not access.dynamic:
                dtype, per_line = access.buffer.dtype, LANES // access.buffer.dtype.itemsize
                place = f"{self.renamed(access, inner, 'block_start', depth)} + {ROWS_AHEAD} * {self.stride(access, tile)}"
                self.put(depth, f"prefetch_{short_dtype(dtype)}({self.buffer_names[access.buffer]}, {place}, {per_line}, "
                                f"{self.width // per_line})")

    def load(self, node: Node, depth: int) -> str:
        if node.access in self.tiles:
            return f"{self.tiles[node.access]}[{self.place('i')}]"
        return super().load(node, depth)

    def base(self, access: Access) -> str:
        return "" if access in self.tiles else super().base(access)

    # What is turned

    def turns(self, access: Access) -> bool:
        """Is this load contiguous along the tile axis, strided along the inner one, and of a dtype that registers can turn?"""
        inner, tile = self.nest.inner[0], self.nest.tile
        return (access.buffer.role == "input" and short_dtype(access.buffer.dtype) in EDGE and not access.dynamic
                and access.strides.get(tile) == 1 and abs(access.strides.get(inner, 0)) > 1)

    def turn(self, access: Access, depth: int) -> None:
        """Writes the copy of a load's tile to the stack, turned so that the inner axis is contiguous.

        Blocks of EDGE by EDGE elements are turned in registers; the rest, at the ends of the array, one by one.
        """
        dtype, source = short_dtype(access.buffer.dtype), self.buffer_names[access.buffer]
        edge, number = EDGE[dtype], len(self.tiles)
        tile, full_i, full_j = (f"{name}{number}" for name in ("turned", "full_i", "full_j"))
        self.header.append(f"    {tile} = local_{dtype}({self.height * self.width})")
        address, stride = self.address(access, depth), self.stride(access, self.nest.inner[0])
        self.put(depth, f"{full_i} = block_start + (block_stop - block_start) // {edge} * {edge}")
        self.put(depth, f"{full_j} = tile_start + (tile_stop - tile_start) // {edge} * {edge}")
        self.put(depth, f"for i in range(block_start, {full_i}, {edge}):")
        self.put(depth + 1, f"for j in range(tile_start, {full_j}, {edge}):")
        if self.large:
            self.put(depth + 2, f"prefetch_{dtype}({source}, {address} + {edge} * {stride}, {stride}, {edge})")
        self.put(depth + 2, f"transpose_{dtype}({source}, {address}, {stride}, {tile}, {self.place('i')}, {self.width})")
        self.put(depth + 1, f"for j in range({full_j}, tile_stop):")
        self.put(depth + 2, f"for k in range(i, i + {edge}):")
        self.put(depth + 3, f"{tile}[{self.place('k')}] = {source}[{self.renamed(access, self.nest.inner[0], 'k', depth)}]")
        self.put(depth, f"for i in range({full_i}, block_stop):")
        self.put(depth + 1, "for j in range(tile_start, tile_stop):")
        self.put(depth + 2, f"{tile}[{self.place('i')}] = {source}[{address}]")
        self.tiles[access] = tile

    def place(self, i: str) -> str:
        """The position of element (j, i) in a turned tile."""
        return f"(j - tile_start) * {self.width} + {i} - block_start"
