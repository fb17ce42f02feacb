"""The GPU kernels of reductions.

    rows       the threads of one thread_y share a row: each takes every threads_x()-th element or vector, then they combine by
               row_add_ (`cuda_rows.py`)
    columns    the threads of one thread_x share a column: each takes every threads_y()-th row, then they combine by column_add_

A thread adds up some hundred elements at a time and joins those sums with more precision; threads combine as a tree. The order
of all additions follows from the sizes, so the bits are the same in every run and on every GPU. A row or column out of range
has no elements, and nothing of it is stored: all threads of a block must reach where it waits.
"""
from __future__ import annotations

import math
from collections import defaultdict

from ..sizes import smallest
from ..types import HALVES, short_dtype
from .affine import Axis
from .cpu_reduce import ReduceWriter, is_float_sum
from .cuda_launch import LaunchShape
from .cuda_writer import CudaWriter, most_lanes
from .loops import divided
from .nest import Block, LoopNest, Node, Stage, Store
from .writer import Dimension

IN_FLIGHT = 32     # bytes that a thread loads before it adds them up
LEAST_LANES, MOST_LANES = 4, 16
LEAN = 3           # nodes of a pass whose threads have so many bytes on the way, if it stores nothing; half as many in others
SUM_BLOCK = 256    # elements of a float sum that a thread adds up before they join its total

TREE = {"add_reduce_": "add", "or": "add", "mul_reduce_": "mul", "and": "mul", "max_reduce_": "max", "min_reduce_": "min"}
"""How a reduction combines -> the name of the combination across threads."""


class TeamWriter(CudaWriter, ReduceWriter):
    """What rows and columns share: a team of threads walks over the reduced axes. Abstract."""

    across = ""          # combines over a team: "row" or "column"
    member = ""          # number of a thread in its team
    members = ""         # threads of a team
    store_if = ""        # the condition under which a thread stores what belongs to the team

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.dims: list[Dimension] = self.dimensions()
        self.number = 0   # of the stage that is written
        self.width = 1    # elements of a vector
        self.strides: dict[Axis, str] = {}
        self.inverses: dict[tuple[Node, str], str] = {}   # of divisors that are the same for a row
        self.readers: dict[Node, list[Node | None]] | None = None

    def reduced_elements(self) -> int:
        whole = math.prod(a.extent for a in self.nest.inner)   # a chunk may be larger
        return smallest(super().reduced_elements(), whole)

    def parts(self) -> None:
        """Writes the blocks and the stages of a grid point."""
        start, stop = self.range_of_positions()
        self.put(2, f"stop = {self.position(f'{stop} if live else {start[:-3] or 0}')}")
        for k, (block, stage) in enumerate(zip(self.nest.blocks, self.nest.stages)):
            self.number = k
            self.statements(block.nodes, [], 2)
            if block.stores:
                self.block_stores(block)
            if stage.stores or stage.reductions:
                self.stage(stage)

    def block_stores(self, block: Block) -> None:
        """Writes the stores of one thread of the team."""
        self.prepare(block)
        self.statements(block.strip, [], 2)
        self.put(2, f"if {self.store_if}:")
        self.statements([], block.stores, 3)

    def note_bad(self, condition: str, depth: int) -> None:
        super().note_bad(condition if depth > 2 else f"(live & ({condition}))", depth)   # loops have no round of others

    # One pass over the reduced axes

    def stage(self, stage: Stage) -> None:
        for node in stage.reductions:
            self.names[node] = self.fresh("acc")
        sums = [r for r in stage.reductions if is_float_sum(r)]
        self.axis_names.update((axis, f"r{k}") for k, axis in enumerate(self.nest.inner))
        self.prepare(stage)
        self.leave()
        still, moving = divided(stage.nodes, frozenset(self.nest.inner))
        self.statements(still, [], 2)
        for node in moving:
            if is_quotient_of_row(node, stage, moving):
                self.inverse(node)
        self.start(stage, 2)
        start, _ = self.range_of_positions()
        if self.width == 1:
            self.walk(stage, moving, start, "stop", sums)
        else:
            whole = f"{start}((stop - {start[:-3]}) & -{self.width})" if start else f"stop & -{self.width}"
            self.put(2, f"whole = {self.position(whole)}")
            self.put(2, f"vectors = whole if {self.alignment(stage)} else {self.position(start[:-3] or '0')}")
            self.walk(stage, moving, start, "vectors", sums)
            width, self.width = self.width, 1
            self.put(2, "# the same elements one by one, where vectors are not aligned")
            self.walk(stage, moving, None, "whole", sums, width)
            self.put(2, "# what is left of the row")
            self.walk(stage, moving, "whole + ", "stop", sums, 1)
            self.width = width
        self.combine(stage)
        self.leave()

    def walk(self, stage: Stage, moving: list[Node], start: str | None, stop: str, sums: list[Node], run: int = 0) -> None:
        """Writes the loops of a thread over its share of a range of positions.

        start: a term to add to, None where positions go on from where they are. run: elements that a thread takes one by one,
        side by side, before it steps to the next ones; 1 where few are left, 0: as many at a time as is good.
        """
        step = f"{self.width} * {self.members}" if self.width > 1 else self.members
        if start is not None:
            q = f"{start}{self.member}{f' * {self.width}' if self.width > 1 else ''}"
            self.put(2, f"q = {self.position(q)}")
        first, depth = self.first_place(), 2
        if sums:
            if run != 1:
                self.put(2, f"while q < {stop}:")
                depth = 3
            for node in sums:
                self.put(depth, f"{self.names[node]} = {short_dtype(node.dtype)}(0)")
            if run != 1:
                end = f"min(q + {SUM_BLOCK} * {self.members}, {stop})"
                self.put(3, f"end = {self.position(end)}")
                stop = "end"
        together = 1 if run else self.visits(stage, moving)
        if together > 1:
            last = f"q + {together - 1} * {step}".replace(" 1 * ", " ")
            self.put(depth, f"while {self.position(last)} < {stop}:")
            self.visit(stage, moving, first, together, depth + 1)
            self.advance(f"{together * self.width} * {self.members}", depth + 1)
        self.put(depth, f"while q < {stop}:")
        if run > 1:
            self.put(depth + 1, f"for p in range(q, q + {run}):")
            self.visit(stage, moving, dict.fromkeys(first, "p"), 1, depth + 2)
            self.advance(f"{run} * {self.members}", depth + 1)
        else:
            self.visit(stage, moving, first, 1, depth + 1)
            self.advance(step, depth + 1)
        for node in sums:
            self.join_total(self.names[node], node.dtype, depth)

    def advance(self, step: str, depth: int) -> None:
        """Writes a thread's step."""
        self.put(depth, f"q = i32(q + {step})" if self.short else f"q += {step}")

    def visits(self, stage: Stage, moving: list[Node]) -> int:
        """How many positions, or vectors, a thread visits at a time."""
        lean = len(stage.nodes) <= LEAN and not stage.stores
        loaded = sum(n.dtype.itemsize for n in moving if n.kind == "load") or IN_FLIGHT
        visits = IN_FLIGHT // (loaded * self.width)
        if self.width > 1:
            return min(max(visits, 2), LEAST_LANES) if lean else 1
        return most_lanes(stage, min(max(visits if lean else visits // 2, LEAST_LANES), MOST_LANES))

    def alignment(self, stage: Stage) -> str:
        """The condition under which the vectors of this pass are aligned."""
        return "True"

    def range_of_positions(self) -> tuple[str, str]:
        """The first position of the team, as a term to add to, and the end: along a single axis, else in row-major order."""
        inner = self.nest.inner
        low, high = self.bounds(inner[0])
        if len(inner) == 1:
            return ("" if low == "0" else f"{low} + "), high
        rest = self.size(("rest",), math.prod(a.extent for a in inner[1:]), "n")
        return ("" if low == "0" else f"{low} * {rest} + "), f"{high} * {rest}"

    def visit(self, stage: Stage, moving: list[Node], first: dict[Axis, str], count: int, depth: int) -> None:
        """Writes the work on so many positions or vectors, all loads first."""
        places = self.places(first, count, depth)
        known, lanes = self.names, [dict(self.names) for _ in places]
        for node in moving:
            source = self.vector_source(node, stage)
            if source is not None:
                self.load_vectors(node, source, lanes, places, depth)
                continue
            if len(lanes) > 1 and is_quotient_of_row(node, stage, moving):
                self.quotients(node, lanes, depth)
                continue
            for self.names, place in zip(lanes, places):
                self.axis_names.update(place)
                kept = self.kept_element(node)
                if kept:
                    self.assign(node, kept, depth)
                elif node in stage.reloads:
                    self.assign(node, self.element(stage.reloads[node], depth), depth)
                else:
                    self.node(node, depth)
        self.keep(lanes, places, depth)
        for store in stage.stores:
            self.store_all(store, lanes, places, depth)
        self.names = known
        for node in stage.reductions:
            for lane in lanes:
                name = self.names[node]
                self.put(depth, f"{name} = {self.combined(node, name, lane[node.operands[0]])}")
        if len(first) > 1:
            for axis, name in self.next_place(places[-1], depth).items():
                self.put(depth, f"{first[axis]} = {name}")

    def vector_source(self, node: Node, stage: Stage) -> tuple[str, str] | None:
        """(buffer, what its positions are added to) of a node that is loaded by vectors; None for others."""
        return None

    def load_vectors(self, node: Node, source: tuple[str, str], lanes: list[dict], places: list[dict], depth: int) -> None:
        """Writes the loads of a node, a vector at a time."""
        buffer, base = source
        for k in range(0, len(lanes), self.width):
            names = [self.fresh("t") for _ in range(self.width)]
            for lane, name in zip(lanes[k:], names):
                lane[node] = name
            (place,) = places[k].values()
            self.put(depth, f"{', '.join(names)} = load_vector_({buffer}, {base}{place}, {self.width})")

    def inverse(self, node: Node) -> tuple[str, str]:
        """(what the divisor of a whole row divides with, written once; the kind of halves that are divided) of a quotient."""
        divisor, kind = node.operands[1], self.halves(node)
        if (divisor, kind) not in self.inverses:
            name = self.inverses[divisor, kind] = self.fresh("inverse")
            self.put(2, f"{name} = inverse_{kind}({self.names[divisor]})")
        return self.inverses[divisor, kind], kind

    def halves(self, node: Node) -> str:
        """`f16_` or `bf16_` of a quotient of such halves in float32 that is nothing but rounded to one; empty of any other."""
        if self.readers is None:
            self.readers = readers(self.nest)
        dtypes = {n.operands[0].dtype if is_cast(n) else n.dtype for n in node.operands}
        dtypes |= {n.dtype if n is not None and is_cast(n) else None for n in self.readers[node]}
        (dtype, *others) = dtypes
        return f"{short_dtype(dtype)}_" if not others and dtype in HALVES else ""

    def quotients(self, node: Node, lanes: list[dict], depth: int) -> None:
        """Writes the quotients of several elements by a divisor that they share."""
        dividend, divisor = node.operands
        width = self.width if self.width > 1 else len(lanes)
        for k in range(0, len(lanes), width):
            names, given = [self.fresh("t") for _ in range(width)], ", ".join(lane[dividend] for lane in lanes[k:k + width])
            for lane, name in zip(lanes[k:], names):
                lane[node] = name
            inverse, kind = self.inverse(node)
            self.put(depth, f"{', '.join(names)} = quotients_{kind}(({given}), {self.names[divisor]}, {inverse})")

    def store_all(self, store: Store, lanes: list[dict], places: list[dict], depth: int) -> None:
        """Writes a store at all places."""
        for self.names, place in zip(lanes, places):
            self.axis_names.update(place)
            self.store(store, depth)

    def kept_element(self, node: Node) -> str:
        """Where an earlier pass over a row left this value; empty when none did."""
        return ""

    def keep(self, lanes: list[dict[Node, str]], places: list[dict[Axis, str]], depth: int) -> None:
        """Writes what leaves the loads of this pass to later ones."""

    # Positions of several axes, row-major: a thread counts along them as an odometer does, for divisions cost more than loads

    def first_place(self) -> dict[Axis, str]:
        """Writes the reduced axes at a thread's first position; their names, which the loops go on with."""
        *outer, last = self.nest.inner
        if not outer:
            return {last: "q"}
        place, left = {}, "q"
        for axis in (last, *reversed(outer[1:])):
            name, quotient = self.fresh("r"), self.fresh("q")
            self.put(2, f"{quotient} = div_({left}, {self.extent_of(axis)})")
            self.put(2, f"{name} = {left} - {quotient} * {self.extent_of(axis)}")
            place[axis], left = name, quotient
        place[outer[0]] = self.fresh("r")
        self.put(2, f"{place[outer[0]]} = {left}")
        return place

    def steps(self) -> dict[Axis, str]:
        """How far each axis moves from a thread's position to its next one; written once, in front of all loops."""
        if not self.strides:
            left = self.members
            for axis in reversed(self.nest.inner[1:]):
                name, quotient = self.fresh("step"), self.fresh("q")
                self.header.append(f"    {quotient} = div_({left}, {self.extent_of(axis)})")
                self.header.append(f"    {name} = {left} - {quotient} * {self.extent_of(axis)}")
                self.strides[axis], left = name, quotient
            self.strides[self.nest.inner[0]] = left
        return self.strides

    def next_place(self, place: dict[Axis, str], depth: int) -> dict[Axis, str]:
        """Writes a thread's next position; its names."""
        after, carry, steps = {}, "", self.steps()
        for axis in reversed(self.nest.inner):
            name = after[axis] = self.fresh("r")
            self.put(depth, f"{name} = {place[axis]} + {steps[axis]}{carry}")
            if axis is not self.nest.inner[0]:
                over, extent = self.fresh("over"), self.extent_of(axis)
                self.put(depth, f"{over} = i64({name} >= {extent})")
                self.put(depth, f"{name} = {name} - {over} * {extent}")
                carry = f" + {over}"
        return after

    def places(self, first: dict[Axis, str], count: int, depth: int) -> list[dict[Axis, str]]:
        """The places of that many positions of a thread."""
        if len(first) == 1:
            ((axis, start),) = first.items()
            steps = ["", *(f" + {k * self.width} * {self.members}" for k in range(1, count))]
            offsets = ["", *(f" + {k}" for k in range(1, self.width))]
            ends = [f"{step}{offset}".replace(" 1 * ", " ") for step in steps for offset in offsets]
            return [{axis: f"({start}{end})" if end else start} for end in ends]
        places = [first]
        while len(places) < count:
            places.append(self.next_place(places[-1], depth))
        return places

    # Accumulators

    def combine(self, stage: Stage) -> None:
        """Writes the combination over the team; every thread has the results."""
        for node in stage.reductions:
            name, tree = self.names[node], f"{self.across}_{TREE[node.eqn.op.combine]}_"
            if is_float_sum(node):
                self.put(2, f"{name} = {short_dtype(node.dtype)}({tree}(total_{name}))")
            else:
                self.put(2, f"{name} = {tree}({name})")

    def leave(self) -> None:
        for axis in self.nest.inner:
            self.axis_names.pop(axis, None)


def is_cast(node: Node) -> bool:
    return node.kind == "expr" and node.eqn.op.name == "cast"


def readers(nest: LoopNest) -> dict[Node, list[Node | None]]:
    """The nodes that read each node; None for a store."""
    found: dict[Node, list[Node | None]] = defaultdict(list)
    for part in (*nest.stages, *nest.blocks):
        nodes = [*part.nodes, *(part.reductions if isinstance(part, Stage) else part.strip)]
        for node in nodes:
            for operand in node.reads:
                found[operand].append(node)
        for store in part.stores:
            for needed in store.needs:
                found[needed].append(None)
    return found


def is_quotient_of_row(node: Node, stage: Stage, moving: list[Node]) -> bool:
    """Is this a quotient whose divisor does not change along the loops of a stage that computes it?"""
    if node.kind != "expr" or node.eqn.op.name != "divide" or node in stage.reloads:
        return False
    dividend, divisor = node.operands
    return dividend in moving and divisor not in moving


class ColumnsWriter(TeamWriter):
    """Writes nests of the form "columns"."""

    across, member, members, store_if = "column", "thread_y()", "threads_y()", "live & (thread_y() == 0)"

    def launch(self) -> LaunchShape:
        return LaunchShape("columns", outer=self.points(self.dims), inner=self.reduced_elements(),
                           columns=self.nest.column.extent)

    def lines_of(self) -> None:
        columns = self.extent_of(self.nest.column)
        self.base_depth = 2
        self.put(1, f"strips = div_({columns} + threads_x() - 1, threads_x())")
        self.put(1, "g = block_x()")
        self.put(1, f"while g < {f'{self.count(self.dims)} * ' if self.dims else ''}strips:")
        self.take_apart("g", [*self.dims, Dimension("strip", "strips", 0)], 2)
        self.put(2, "j = strip * threads_x() + thread_x()")
        self.put(2, f"live = j < {columns}")
        self.put(2, f"j = min(j, {columns} - 1)")
        self.axis_names[self.nest.column] = "j"
        self.fixed.append(self.nest.column)
        self.parts()
        self.put(2, "g += blocks_x()")
