"""The kernel of a map: elementwise work over all axes, in blocks of the innermost one; large outputs go past the caches.

Where some load runs along another axis, it works in squares of the two, and turns what it loads on the stack.
"""
from __future__ import annotations

import math

from ..sizes import largest, smallest
from ..types import short_dtype
from .memory import EDGE, STREAM
from .nest import Access, Block, LoopNest, Node, Stage, Store
from .writer import Dimension, KernelWriter

MAP_BLOCK = 16384  # elements of the innermost axis in one block of a map with rows
SQUARE = 128       # a transposing map reads and writes squares of this edge: runs of 512 bytes, few pages at a time
MOST_TURNED = 3    # squares of one kernel that wait on the stack
PAST_CACHES = 32 << 20   # bytes of an output that the caches will not keep: it is written past them, by a kernel of its own
LEAST_PIECE = 512        # bytes of a contiguous piece that are worth it



class MapWriter(KernelWriter):
    """Writes nests of the form "map"."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.flat = bool(nest.inner) and not nest.rows
        self.turned = [a for a in nest.accesses if self.turns(a)][:MOST_TURNED] if nest.tile is not None else []
        self.tiles: dict[Access, str] = {}   # the stack array that holds a load's square, turned
        self.streamed: Store | None = None   # the store that goes to a line on the stack first

    def dimensions(self) -> list[Dimension]:
        nest = self.nest
        dims = self.row_dimensions([a for a in nest.rows if a is not nest.tile])
        if nest.inner and not self.flat:
            width = SQUARE if nest.tile is not None else smallest(MAP_BLOCK, largest(nest.inner[0].extent, 1))
            dims.append(self.cut("block", nest.inner[0], width))
        if nest.tile is not None:   # last: squares side by side in memory that is read follow one another
            dims.append(self.cut("square", nest.tile, SQUARE))
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
            self.put(depth, f"line[i - first] = {self.names[store.node]}")
        else:
            super().store(store, depth)

    def large_store(self, stage: Stage) -> Store | None:
        """The store of consecutive elements whose output is too large to stay in the caches, in long enough pieces.

        None beside costly work, where the loads of the next piece would not go on meanwhile, and in place: what is read is in
        the caches anyway.
        """
        if any(node.kind == "expr" and not node.eqn.op.cheap for node in stage.nodes):
            return None
        inner, elements = self.nest.inner[0], math.prod(axis.extent for axis in (*self.nest.rows, *self.nest.inner))
        for store in stage.stores:
            itemsize, access = store.node.dtype.itemsize, store.access
            if (elements * itemsize >= PAST_CACHES and inner.extent * itemsize >= LEAST_PIECE
                    and access.strides.get(inner) == 1 and not store.add and not access.dynamic
                    and not any(node.access and node.access.buffer is access.buffer for node in stage.nodes)):
                return store
        return None

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
        self.inner_loop(stage, depth + 1, "block_start", "block_stop")
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
