"""The GPU kernels of a map that turns many small planes, such as x.swapaxes(1, 2) of a batch of 3 by 3 matrices.

Squares that are turned through shared memory (`cuda_map.py`) would be mostly empty. Here neighbouring threads write
neighbouring elements, whatever planes these are in: what a warp reads lies close together, if not in that order, and the first
cache keeps the rest of it for the warps beside. A thread has a few elements, each so many after the one before.
"""
from __future__ import annotations

import math

from ..sizes import computed
from .cuda_launch import BLOCK, SQUARE, LaunchShape, ceil_div, square_edge
from .cuda_writer import SHORT, CudaWriter, most_lanes
from .nest import Access, LoopNest

MOST_PLANE = 2048   # elements of a plane that stays in the first cache while it is read in any order
PLACES = 8          # that a thread has in a tile: it finds the first by divisions, the others by additions
# Cycles of a multiprocessor per 32 elements, reckoned: 55 instructions of each thread of a full square, 43 of an element here,
# at four a cycle; a warp reads as often as its addresses meet in one of 32 banks. Memory takes 15 for 4 bytes in and out.
SQUARE_CYCLES, CYCLES, BANKS = 14, 11, 32


def squares_pay(read: int, written: int) -> int:
    """1 where planes of these extents, along the axis that is read and the one that is written, are turned in squares."""
    plane, edge = read * written, square_edge(read, written)
    if not 0 < plane <= MOST_PLANE:
        return 1
    squares = ceil_div(read, edge) * ceil_div(written, SQUARE // edge)
    meetings = min(written, BANKS) * math.gcd(read, BANKS) // BANKS
    return int(2 * SQUARE_CYCLES * SQUARE * squares < 3 * plane * max(CYCLES, meetings + 2))


def quotient(a: int, b: int) -> int:
    """a // b, where there are any."""
    return a // max(1, b)


def rest(a: int, b: int) -> int:
    """a % b, where there are any."""
    return a % max(1, b)


def has_small_planes(nest: LoopNest) -> bool:
    """Does the nest turn many planes for which squares do not pay?"""
    if len(nest.rows) == 1 or any(a.dynamic for a in nest.accesses):
        return False
    return computed(squares_pay, nest.tile.extent, nest.inner[0].extent) == 0


class PlanesWriter(CudaWriter):
    """Writes maps that turn small planes."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        (self.stage,), (self.block,) = nest.stages, nest.blocks
        self.nodes = [*self.block.nodes, *self.stage.nodes]
        self.stores = [*self.block.stores, *self.stage.stores]
        self.dims = self.row_dimensions([*nest.rows, nest.inner[0]])
        self.fixed, self.elements = [], self.points(self.dims)
        self.short = self.elements < SHORT
        self.lanes = most_lanes(self.stage, PLACES)
        self.place = ""   # in the row-major order of the axes

    def launch(self) -> LaunchShape:
        return LaunchShape("flat", inner=self.elements, lanes=self.lanes)

    def lines_of(self) -> None:
        tile, count = BLOCK * self.lanes, self.count(self.dims)
        self.put(1, "thread = block_x() * threads_x() + thread_x()")
        self.statements([n for n in self.nodes if not n.axes], [], 1)
        self.nodes = [n for n in self.nodes if n.axes]
        self.put(1, f"whole = {count} // {tile} * {tile}")
        self.put(1, f"i = {self.position(f'block_x() * {tile} + thread_x()')}")
        self.put(1, "while i < whole:")
        places = [self.first(2)]
        while len(places) < self.lanes:
            places.append(self.next(places[-1], 2))
        self.elements_at(places, 2)
        self.put(2, f"i = {self.position(f'i + blocks_x() * {tile}')}")
        self.put(1, f"i = {self.position('whole + thread')}")
        self.put(1, f"while i < {count}:")
        self.elements_at([self.first(2)], 2)
        self.put(2, f"i = {self.position('i + blocks_x() * threads_x()')}")

    def first(self, depth: int) -> list[str]:
        """Writes the place of element i along every axis."""
        names, left = [self.fresh("p") for _ in self.dims], "i"
        for k, dim in reversed(list(enumerate(self.dims))):
            if k > 0:
                self.put(depth, f"g{k} = {self.position(f'div_({left}, {dim.count})')}")
                self.put(depth, f"{names[k]} = {self.position(f'{left} - g{k} * {dim.count}')}")
                left = f"g{k}"
        self.put(depth, f"{names[0]} = {left}")
        return names

    def next(self, before: list[str], depth: int) -> list[str]:
        """Writes the place BLOCK elements after another one: a sum per axis, from the innermost on, and what is carried on."""
        names, step, carried = [self.fresh("p") for _ in self.dims], BLOCK, ""
        for k, dim in reversed(list(enumerate(self.dims))):
            more = self.size(("step", k), computed(rest, step, dim.extent) if k else step, "w")
            self.put(depth, f"{names[k]} = {self.position(f'{before[k]} + {more}{carried}')}")
            if k > 0:
                step = computed(quotient, step, dim.extent)
                self.put(depth, f"over = {names[k]} >= {dim.count}")
                self.put(depth, f"{names[k]} = {self.position(f'{names[k]} - either_(over, {dim.count}, 0)')}")
                carried = " + either_(over, 1, 0)"
        return names

    def elements_at(self, places: list[list[str]], depth: int) -> None:
        """Writes the work on the elements at these places: all loads before the first store."""
        known, lanes = self.names, [dict(self.names) for _ in places]

        def at(k):
            self.names, self.place = lanes[k], "i" if k == 0 else f"(i + {k * BLOCK})"
            self.axis_names = dict(zip((*self.nest.rows, self.nest.inner[0]), places[k]))

        for node in self.nodes:
            for k in range(len(places)):
                at(k)
                self.node(node, depth)
        for store in self.stores:
            for k in range(len(places)):
                at(k)
                self.store(store, depth)
        self.names = known

    def address(self, access: Access, depth: int) -> str:
        if self.in_order(access):
            base = self.base(access)
            return f"{base} + {self.place}" if base else self.place
        return super().address(access, depth)

    def in_order(self, access: Access) -> bool:
        """Do the elements of an access lie in the row-major order of the axes, without gaps?"""
        step = 1
        for axis in reversed([*self.nest.rows, self.nest.inner[0]]):
            if access.strides.get(axis, 0) != step:
                return False
            step = step * axis.extent
        return True
