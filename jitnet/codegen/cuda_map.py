"""The GPU kernels of a map: elementwise work over all axes.

    point     no axes: one thread
    flat      one axis: tiles of contiguous elements; a thread loads, computes and stores vectors of 16 bytes, several at a time
    grid      rows: threads along the innermost axis, and over the rows
    squares   a load runs along another axis than the stores: squares of 32 by 32 are turned through shared memory, or as many
              elements in longer and narrower pieces where one of the two axes is short
    planes    the same where squares would be mostly empty, as of a batch of small matrices (cuda_planes.py)

Vectors are used where the addresses at hand are aligned for them, which the kernel finds out; what is left over at the end of a
row goes one by one.
"""
from __future__ import annotations

from ..sizes import computed
from ..types import short_dtype
from .affine import Axis
from .cuda_launch import BLOCK, SQUARE, WARP, LaunchShape, square_edge
from .cuda_names import VECTOR_BYTES
from .cuda_planes import PlanesWriter, has_small_planes
from .cuda_writer import SHORT, CudaWriter, most_lanes
from .nest import Access, LoopNest, Node

IN_FLIGHT = 64     # bytes that a thread loads before it waits
MOST_VECTORS = 24  # places of vectors in a kernel: the addresses of more, and what the vectors hold, fill the registers
TURNED = SQUARE // BLOCK   # elements of a square that a thread turns
MOST_SHARED = SQUARE + BLOCK   # elements of a square in shared memory, with what lies between its rows


def map_writer(nest: LoopNest) -> CudaWriter:
    """The writer for a nest of the form "map"."""
    if not nest.inner:
        return PointWriter(nest)
    if nest.tile is not None and any(turns(nest, a) for a in nest.accesses):
        return PlanesWriter(nest) if has_small_planes(nest) else SquareWriter(nest)
    return GridWriter(nest) if nest.rows else FlatWriter(nest)


class PointWriter(CudaWriter):
    """Writes maps without axes."""

    def launch(self) -> LaunchShape:
        return LaunchShape("point")

    def lines_of(self) -> None:
        (stage,), (block,) = self.nest.stages, self.nest.blocks
        self.statements(block.nodes, block.stores, 1)
        self.stage_body(stage, 1)


class VectorWriter(CudaWriter):
    """What flat maps and maps over rows share. Abstract."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        (self.stage,), (self.block,) = nest.stages, nest.blocks
        self.axis = nest.inner[0]
        loads = [n.access for n in self.stage.nodes if n.kind == "load" and self.contiguous(n.access, self.axis)]
        stores = [s.access for s in self.stage.stores if self.contiguous(s.access, self.axis)]
        self.vectors = [*loads, *stores]
        widest = max((a.buffer.dtype.itemsize for a in self.vectors), default=VECTOR_BYTES)
        self.width = most_lanes(self.stage, max(1, VECTOR_BYTES // widest))
        if any(s.add for s in self.stage.stores) or len(self.vectors) > MOST_VECTORS:
            self.width = 1
        loaded = sum(a.buffer.dtype.itemsize for a in loads)
        vectors = max(1, min(4, IN_FLIGHT // max(1, loaded * self.width)))
        lanes = most_lanes(self.stage, self.width * vectors)
        self.unroll = max(1, lanes // self.width)   # vectors at a time; of three, less than one may be left

    def alignment(self) -> str:
        """The condition under which vectors may be used: the first element of every contiguous access is aligned for them."""
        checks = [f"aligned_({self.buffer_names[a.buffer]}, {self.base(a) or '0'})" for a in self.vectors]
        return " & ".join(dict.fromkeys(checks))

    def vector_body(self, starts: list[str], depth: int) -> None:
        """Writes the work on a vector at each of these places: all loads first, then the rest."""
        width, axis = self.width, self.axis
        places = [place if k == 0 else f"({place} + {k})" for place in starts for k in range(width)]
        loads = [n for n in self.stage.nodes if n.kind == "load" and width > 1 and self.contiguous(n.access, axis)]
        known, given = self.names, [{} for _ in places]
        for group, start in enumerate(starts):
            for node in loads:
                names = [self.fresh("t") for _ in range(width)]
                for lane, name in zip(given[group * width:], names):
                    lane[node] = name
                self.axis_names[axis] = start
                source = f"{self.buffer_names[node.access.buffer]}, {self.address(node.access, depth)}"
                self.put(depth, f"{', '.join(names)} = load_vector_({source}, {width})")
        self.names = dict(known)
        lanes = [{**lane, **more} for lane, more in zip([dict(known) for _ in places], given)]
        for node in self.stage.nodes:
            for lane, place in zip(lanes, places):
                if node not in lane:
                    self.names, self.axis_names[axis] = lane, place
                    self.node(node, depth)
        for store in self.stage.stores:
            for group, start in enumerate(starts):
                mine = slice(group * width, (group + 1) * width)
                if width > 1 and self.contiguous(store.access, axis):
                    self.axis_names[axis] = start
                    target = f"{self.buffer_names[store.access.buffer]}, {self.address(store.access, depth)}"
                    self.put(depth, f"store_vector_({target}, ({', '.join(lane[store.node] for lane in lanes[mine])}))")
                else:
                    self.lane_stores([store], lanes[mine], places[mine], axis, depth)
        self.names = known


class FlatWriter(VectorWriter):
    """Writes maps over one axis."""

    def launch(self) -> LaunchShape:
        return LaunchShape("flat", inner=self.axis.extent, lanes=self.width * self.unroll)

    def lines_of(self) -> None:
        stage, block, count = self.stage, self.block, self.extent_of(self.axis)
        self.put(1, "thread = block_x() * threads_x() + thread_x()")
        self.put(1, "threads = blocks_x() * threads_x()")
        self.statements(block.nodes, block.stores, 1)
        self.prepare(stage)
        if self.width * self.unroll > 1:
            self.tiles(count)
            self.put(1, "i = whole + thread")
        else:
            self.put(1, "i = thread")
        self.put(1, f"while i < {count}:")
        self.axis_names[self.axis] = "i"
        self.stage_body(stage, 2)
        self.put(2, "i += threads")

    def tiles(self, count: str) -> None:
        """The part of the axis that whole tiles cover, `whole` elements; a tile is the work of a block at a time."""
        width, tile, alignment = self.width, BLOCK * self.width * self.unroll, self.alignment()
        self.put(1, f"whole = {count} // {tile} * {tile}")
        if alignment and width > 1:
            self.put(1, f"if not ({alignment}):")
            self.put(2, "whole = 0")
        self.put(1, f"i = block_x() * {tile} + thread_x(){f' * {width}' if width > 1 else ''}")
        self.put(1, "while i < whole:")
        self.vector_body(["i" if k == 0 else f"(i + {k * BLOCK * width})" for k in range(self.unroll)], 2)
        self.put(2, f"i += blocks_x() * {tile}")


class GridWriter(VectorWriter):
    """Writes maps over rows."""

    def launch(self) -> LaunchShape:
        rows = 1
        for axis in self.nest.rows:
            rows *= axis.extent
        return LaunchShape("grid", outer=rows, inner=self.axis.extent, lanes=self.width, together=self.unroll)

    def lines_of(self) -> None:
        stage, block, count = self.stage, self.block, self.extent_of(self.axis)
        dims = self.row_dimensions(self.nest.rows)
        first = dims[0].name if len(dims) == 1 else "row"
        self.short = self.axis.extent < SHORT
        self.put(1, f"thread = {self.position('block_x() * threads_x() + thread_x()')}")
        self.put(1, f"threads = {self.position('blocks_x() * threads_x()')}")
        if self.width > 1:
            self.put(1, f"whole = {self.position(f'{count} & -{self.width}')}")
        self.put(1, f"{first} = block_y() * threads_y() + thread_y()")
        self.put(1, f"while {first} < {self.count(dims)}:")
        self.take_apart(first, dims, 2)
        self.base_depth = 2
        self.statements(block.nodes, block.stores, 2)
        self.prepare(stage)
        if self.width > 1:
            self.whole_vectors()
        else:
            self.put(2, "i = thread")
        self.put(2, f"while i < {count}:")
        self.axis_names[self.axis] = "i"
        self.stage_body(stage, 3)
        self.put(3, f"i = {self.position('i + threads')}")
        self.put(2, f"{first} += blocks_y() * threads_y()")

    def whole_vectors(self) -> None:
        """The part of a row that vectors cover, several at a time and then one by one; `i` goes on with what is left."""
        width = self.width
        self.put(2, "i = thread")
        self.put(2, f"if {self.alignment()}:")
        self.put(3, f"i = {self.position(f'thread * {width}')}")
        for together in (self.unroll, 1) if self.unroll > 1 else (1,):
            places = ["i", *(f"(i + {k * width} * threads)" for k in range(1, together))]
            self.put(3, f"while {self.position(places[-1].strip('()')) if together > 1 else 'i'} < whole:")
            self.vector_body(places, 4)
            self.put(4, f"i = {self.position(f'i + {together * width} * threads')}")
        self.put(3, f"i = {self.position('whole + thread')}")


def turns(nest: LoopNest, access: Access) -> bool:
    """Is this load contiguous along the tile axis and strided along the inner one?"""
    return (access.buffer.role == "input" and not access.dynamic
            and access.strides.get(nest.tile) == 1 and abs(access.strides.get(nest.inner[0], 0)) > 1)


MOST_SQUARES = 4   # that one kernel turns; further loads are strided


class SquareWriter(CudaWriter):
    """Writes maps that turn what they load."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        (self.stage,), (self.block,) = nest.stages, nest.blocks
        self.tile, self.inner = nest.tile, nest.inner[0]
        self.turned = [a for a in nest.accesses if turns(nest, a)][:MOST_SQUARES]
        self.squares: dict[Access, str] = {}
        self.far: dict[Access, str] = {}   # accesses to the place that the tile axis gives, where that is not j

    def launch(self) -> LaunchShape:
        return LaunchShape("squares", outer=self.points(self.dims), inner=self.edge)

    def lines_of(self) -> None:
        tile, inner = self.tile, self.inner
        self.edge = computed(square_edge, tile.extent, inner.extent)
        self.between = computed(pitch, self.edge)
        # of nothing nothing may be read
        squares, blocks = self.cut("square", tile, self.edge, 0), self.cut("block", inner, SQUARE // self.edge, 0)
        (height, _), (width, _) = self.pieces["square"], self.pieces["block"]
        self.pitch = self.size(("pitch",), self.between, "w")
        self.dims = [*self.row_dimensions([a for a in self.nest.rows if a is not tile]), squares, blocks]
        self.put(1, "thread = thread_y() * threads_x() + thread_x()")
        self.put(1, f"down = div_(thread, {width})")
        self.put(1, f"along = thread - down * {width}")
        self.put(1, "g = block_x()")
        self.put(1, f"while g < {self.count(self.dims)}:")
        self.take_apart("g", self.dims, 2)
        self.base_depth = 2
        self.statements([n for n in self.block.nodes if tile not in n.axes], [], 2)
        self.axis_names[tile], self.axis_names[inner] = "j", "i"
        self.put(2, f"whole = (square_stop - square_start == {height}) & (block_stop - block_start == {width})")
        for access in self.turned:
            self.read(access, 2)
        self.prepare(self.stage)
        for part in (*self.block.nodes, *self.block.stores):
            if part.access is not None:
                self.base(part.access)
        self.put(2, "sync()")
        self.write(2)
        self.put(2, "sync()")
        self.put(2, "g += blocks_x()")

    def write(self, depth: int) -> None:
        """Writes the work on the elements of a square, along the inner axis. Each place is some steps after the one before."""
        self.put(depth, "i = block_start + along")
        self.put(depth, "j = square_start + down")
        self.put(depth, f"row = down * {self.pitch} + along")
        accesses = [n.access for n in self.stage.nodes if n.kind == "load"] + [s.access for s in self.stage.stores]
        for access in dict.fromkeys(accesses):
            if access not in self.squares and abs(access.strides.get(self.tile, 0)) > 1:
                name, term = self.fresh("far"), self.term(access, self.tile)
                self.put(depth, f"{name} = {term}")
                self.far[access] = name
        self.put(depth, f"for _ in range({TURNED}):")
        self.put(depth + 1, "if (i < block_stop) & (j < square_stop):")
        self.statements([n for n in self.block.nodes if self.tile in n.axes], self.block.stores, depth + 2)
        self.stage_body(self.stage, depth + 2)
        rows = self.edge // TURNED   # that the threads of a block write together
        self.put(depth + 1, f"j += {self.size(('rows',), rows, 'w')}")
        self.put(depth + 1, f"row += {self.size(('rows apart',), rows * self.between, 'w')}")
        for access, name in self.far.items():
            self.put(depth + 1, f"{name} += {self.leap(access, self.tile, rows)}")

    def leap(self, access: Access, axis: Axis, count: int) -> str:
        """Elements between places of an access that many steps apart along an axis, by name."""
        return self.size(("leap", access.buffer, axis, access.strides[axis]), count * access.strides[axis], "s")

    def term(self, access: Access, axis: Axis) -> str:
        return self.far[access] if axis is self.tile and access in self.far else super().term(access, axis)

    def read(self, access: Access, depth: int) -> None:
        """Writes the copy of a load's square to shared memory: read along the tile axis, all loads before the first write."""
        number, dtype, source = len(self.squares), short_dtype(access.buffer.dtype), self.buffer_names[access.buffer]
        square = f"square{number}"
        self.header.append(f"    {square} = shared_{dtype}({MOST_SHARED}, {number})")
        places = [plus("thread_y()", k, "threads_y()") for k in range(TURNED)]
        self.base(access)
        self.put(depth, "j = square_start + thread_x()")
        self.put(depth, "if whole:")
        self.put(depth + 1, "i = block_start + thread_y()")
        self.put(depth + 1, f"at = {self.address(access, depth)}")
        leap = self.leap(access, self.inner, BLOCK // self.edge)
        for k in range(TURNED):
            self.put(depth + 1, f"a{k} = {source}[{plus('at', k, leap)}]")
        self.put(depth, "else:")
        self.put(depth + 1, "j = min(j, square_stop - 1)")
        for k, place in enumerate(places):
            self.put(depth + 1, f"i = min(block_start + {place}, block_stop - 1)")
            self.put(depth + 1, f"a{k} = {source}[{self.address(access, depth)}]")
        for k, place in enumerate(places):
            self.put(depth, f"{square}[thread_x() * {self.pitch} + {place}] = a{k}")
        self.squares[access] = square

    def load(self, node: Node, depth: int) -> str:
        if node.access in self.squares:
            return f"{self.squares[node.access]}[row]"
        return super().load(node, depth)

    def base(self, access: Access) -> str:
        return "" if access in self.squares else super().base(access)


def plus(first: str, count: int, step: str) -> str:
    """The number that is so many steps after the first, as text."""
    return first if count == 0 else f"{first} + {step}" if count == 1 else f"{first} + {count} * {step}"


def pitch(edge: int) -> int:
    """Elements from row to row of a square in shared memory, so that neither those that a warp writes there together nor those
    that it reads lie in one bank: rows are written across, `edge` of them by a warp, and read along."""
    return SQUARE // edge + max(1, WARP // edge)
