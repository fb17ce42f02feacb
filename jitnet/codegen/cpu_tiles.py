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
LONG = 512         # bytes of a row of a large tile, in the direction in which tiles follow one another;
MOST_LONG = 256    # and at most as many elements
ROWS_AHEAD = 16    # rows of a large tile that are asked for before they are read
MOST_TURNED = 3    # loads of one kernel that are turned


class TilesWriter(MapWriter):
    """Writes nests of the form "map" that have a tile axis."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.turned = [a for a in nest.accesses if self.turns(a)][:MOST_TURNED]
        self.tiles: dict[Access, str] = {}   # the stack array that holds a load's tile, turned
        self.large = any(store.is_large for store in nest.stages[0].stores)
        self.straight = [a for a in nest.accesses if a.strides.get(nest.inner[0]) == 1]
        self.along = len(self.turned) >= len(self.straight)  # tiles that follow one another lie side by side in as many arrays
        self.height, self.width = self.large_tile() if self.large else TILE   # as can be: along what is turned, or not
        self.pitch = self.width            # elements from one row of a turned tile to the next
        self.turned_stop = "block_stop"    # where what is turned of a row ends

    def large_tile(self) -> tuple[int, int]:
        """Rows and elements of a tile of an output past the caches.

        The processor foresees loads along few long rows, not along many short ones: what goes on in the next tile is long,
        what does not is short, and what is turned stays in the first cache.
        """
        size = self.turned[0].buffer.dtype.itemsize if self.turned else 4
        long = min(LONG // size, MOST_LONG)
        if not self.along:
            return long // 2, long
        line = max(LANES // store.node.dtype.itemsize for store in self.nest.stages[0].stores)
        return long, max(long // (4 if len(self.turned) > len(self.straight) else 2), line)

    def dimensions(self) -> list[Dimension]:
        nest = self.nest
        rows = self.row_dimensions([a for a in nest.rows if a is not nest.tile])
        tiles = [self.cut("tile", nest.tile, self.height), self.cut("block", nest.inner[0], self.width)]
        if self.along:
            tiles.reverse()
        return [*rows, *tiles]

    def body(self, depth: int) -> None:
        """Turns the tile of every load that runs along the tile axis, then walks the tile by rows of the output."""
        (stage,), (block,), tile, inner = self.nest.stages, self.nest.blocks, self.nest.tile, self.nest.inner[0]
        self.statements([node for node in block.nodes if tile not in node.axes], [], depth)
        self.axis_names[tile], self.axis_names[inner] = "j", "i"
        self.streamed = self.large_store(stage, inner) if self.large and not computes(stage) else None
        if self.large and self.turned:
            self.whole_lines_in(depth)
        if self.streamed is not None:
            self.whole_lines_out(depth)
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
        """The loop over a row of a tile, which goes past the caches as a whole: from one cache line's start to another's."""
        axis = self.nest.inner[0]
        self.axis_names[axis] = self.streamed_axis = "i"
        self.prepare(stage)
        if self.large:
            self.ask_ahead(stage, depth)
        if self.streamed is None:
            self.put(depth, f"for i in range({low}, {high}):")
            self.stage_body(stage, depth + 1)
            return
        access, (dtype, out) = self.streamed.access, self.streamed_names(self.streamed)
        row = self.renamed(access, axis, "0", depth)
        for name, place in (("first", low), ("last", high)):
            self.put(depth, f"{name} = lines_{dtype}({out}, {row}, {place}, {self.extent_of(axis)})")
        self.put(depth, "for i in range(first, last):")
        self.stage_body(stage, depth + 1)
        self.put(depth, f"stream_{dtype}({out}, {self.renamed(access, axis, 'first', depth)}, line, last - first)")

    def ask_ahead(self, stage: Stage, depth: int) -> None:
        """Asks for what rows further down, or the first ones of the next tile, will load.

        Runs this short end before the processor sees them coming.
        """
        tile, inner = self.nest.tile, self.nest.inner[0]
        for access in (node.access for node in stage.nodes if node.kind == "load"):
            if access.strides.get(inner) == 1 and tile in access.strides and not access.dynamic:
                dtype, per_line = access.buffer.dtype, LANES // access.buffer.dtype.itemsize
                step = self.stride(access, tile)
                hop = f"{ROWS_AHEAD} * {step}"
                if not self.along:
                    first = f"{self.width} + ({ROWS_AHEAD} - tile_stop + tile_start) * {step}"
                    hop = f"select_(j + {ROWS_AHEAD} < tile_stop, {hop}, {first})"
                place = f"{self.renamed(access, inner, 'block_start', depth)} + {hop} + {per_line - 1}"
                self.put(depth, f"prefetch_{short_dtype(dtype)}({self.buffer_names[access.buffer]}, {place}, {per_line}, "
                                f"{largest(1, self.width // per_line)})")

    def load(self, node: Node, depth: int) -> str:
        if node.access in self.tiles:
            return f"{self.tiles[node.access]}[{self.place('i')}]"
        return super().load(node, depth)

    def base(self, access: Access) -> str:
        return "" if access in self.tiles else super().base(access)

    # What is turned

    def whole_lines_in(self, depth: int) -> None:
        """Moves the ends of a tile to where cache lines of a turned load begin, so that no line is needed by two tiles.

        NumPy's arrays begin 16 bytes behind such a place. The tile at the start of the axis becomes longer by less than a line.
        """
        access, extent = self.turned[0], self.extent_of(self.nest.tile)
        dtype, source = short_dtype(access.buffer.dtype), self.buffer_names[access.buffer]
        place = self.in_tile(access, "0", depth)
        for end in ("tile_start", "tile_stop"):
            self.put(depth, f"{end} = lines_{dtype}({source}, {place}, {end}, {extent})")

    def whole_lines_out(self, depth: int) -> None:
        """Turns a line more than the tile, where rows of the output do not all begin where a cache line does.

        Each row of the tile is written from the first start of a line to that behind its end.
        """
        access, line = self.streamed.access, LANES // self.streamed.access.buffer.dtype.itemsize
        self.pitch = self.line = self.width + line
        dtype, out, inner = short_dtype(access.buffer.dtype), self.buffer_names[access.buffer], self.nest.inner[0]
        apart = f"apart_{dtype}({out}, {self.in_tile(access, 'tile_start', depth)}, {self.stride(access, self.nest.tile)})"
        self.put(depth, f"turned_stop = min(block_stop + {apart}, {self.extent_of(inner)})")
        self.turned_stop = "turned_stop"

    def in_tile(self, access: Access, j: str, depth: int) -> str:
        """The address of the first element of row j in a tile."""
        self.axis_names[self.nest.tile] = j
        place = self.renamed(access, self.nest.inner[0], "block_start", depth)
        self.axis_names[self.nest.tile] = "j"
        self.bases.pop(access, None)   # further in, it holds the row too
        return place

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
        height = self.height + (LANES // access.buffer.dtype.itemsize if self.large else 0)
        self.header.append(f"    {tile} = local_{dtype}({height * self.pitch})")
        address, stride = self.address(access, depth), self.stride(access, self.nest.inner[0])
        self.put(depth, f"{full_i} = block_start + ({self.turned_stop} - block_start) // {edge} * {edge}")
        self.put(depth, f"{full_j} = tile_start + (tile_stop - tile_start) // {edge} * {edge}")
        self.put(depth, f"for i in range(block_start, {full_i}, {edge}):")
        if self.large:   # the next rows are asked for, or the first ones of the next tile
            hop, below = self.fresh("hop"), f"{edge} * {stride}"
            first = f"select_(i + {edge} < {full_i}, {below}, {self.height} - (i - block_start) * {stride})"
            self.put(depth + 1, f"{hop} = {first if self.along else below}")
        self.put(depth + 1, f"for j in range(tile_start, {full_j}, {edge}):")
        if self.large:
            self.put(depth + 2, f"prefetch_{dtype}({source}, {address} + {hop} + {edge - 1}, {stride}, {edge})")
        self.put(depth + 2, f"transpose_{dtype}({source}, {address}, {stride}, {tile}, {self.place('i')}, {self.pitch})")
        self.put(depth + 1, f"for j in range({full_j}, tile_stop):")
        self.put(depth + 2, f"for k in range(i, i + {edge}):")
        self.put(depth + 3, f"{tile}[{self.place('k')}] = {source}[{self.renamed(access, self.nest.inner[0], 'k', depth)}]")
        self.put(depth, f"for i in range({full_i}, {self.turned_stop}):")
        self.put(depth + 1, "for j in range(tile_start, tile_stop):")
        self.put(depth + 2, f"{tile}[{self.place('i')}] = {source}[{address}]")
        self.tiles[access] = tile

    def place(self, i: str) -> str:
        """The position of element (j, i) in a turned tile."""
        return f"(j - tile_start) * {self.pitch} + {i} - block_start"
