"""The kernels of reductions.

    rows       scalar accumulators; a float sum is taken in blocks, and the blocks' sums are added with more precision
    columns    an accumulator per column of a strip, on the stack; several rows join per visit
"""
from __future__ import annotations

import math

import numpy as np

from ..sizes import largest, smallest
from ..types import is_float, short_dtype
from .affine import Affine, Axis
from .nest import Access, Node, Stage, Store
from .streaming import StreamingWriter, computes
from .writer import Dimension

VISITS = ((8, 2), (4, 16))   # (rows that a strip takes at a time, nodes of a stage at most): text and registers grow with both
STRIP = 1024       # columns at most that one strip accumulates on the stack
LEAST_STRIP = 64   # and at least, when there are few columns and many threads could share them
STRIPS = 8         # strips that are wanted when columns are all there is to share: wider ones walk memory pages longer
SEARCH = 256       # elements among which the first place of something is looked for at a time
WHOLE = 64         # elements at a time that need no mask: four vectors of 64 bytes
KEPT = 16384       # elements of a row at most that wait on the stack for the next pass
SUM_BLOCK = 4096   # elements summed in lanes before they join the compensated total: as accurate as pairwise


class ReduceWriter(StreamingWriter):
    """What rows and columns share. Abstract."""

    def dimensions(self) -> list[Dimension]:
        """The grid of rows, and of chunks when the reduction is cut."""
        nest = self.nest
        dims = self.row_dimensions(nest.rows)
        if nest.split:
            dims.append(self.cut("chunk", nest.inner[0], nest.split))
            self.axis_names[nest.chunk] = "chunk"
            self.fixed.append(nest.chunk)
        return dims

    def reduced_elements(self) -> int:
        """Elements that one grid point reduces for each of its results."""
        inner = self.nest.inner
        elements = math.prod(axis.extent for axis in inner)
        return elements * self.nest.split // largest(1, inner[0].extent) if self.nest.split else elements

    # Totals of float sums

    def start(self, stage: Stage, depth: int) -> None:
        """Writes the start values of accumulators, and of the totals of float sums."""
        for node in stage.reductions:
            name = self.names[node]
            if not is_float_sum(node):
                self.put(depth, f"{name} = {self.start_value(node)}")
                continue
            self.put(depth, f"total_{name} = f64(0)")
            if node.dtype.itemsize == 8:
                self.put(depth, f"error_{name} = f64(0)")

    def join_total(self, name: str, dtype: np.dtype, depth: int) -> None:
        """Adds the sum of some elements to the total: in double for float32, compensated (Kahan) for float64."""
        if dtype.itemsize < 8:
            self.put(depth, f"total_{name} = total_{name} + f64({name})")
            return
        self.put(depth, f"term_{name} = {name} - error_{name}")
        self.put(depth, f"next_{name} = total_{name} + term_{name}")
        self.put(depth, f"error_{name} = (next_{name} - total_{name}) - term_{name}")
        self.put(depth, f"error_{name} = select_(error_{name} == error_{name}, error_{name}, f64(0))   # inf - inf: no error")
        self.put(depth, f"total_{name} = next_{name}")

    # Loops

    def bounds(self, axis: Axis) -> tuple[str, str]:
        """The first number of a reduced axis at a grid point, and the one past its last."""
        if self.nest.split and axis is self.nest.inner[0]:
            return "chunk_start", "chunk_stop"
        return "0", self.extent_of(axis)

    def loop(self, axis: Axis, depth: int) -> None:
        """Writes the head of the loop over a reduced axis."""
        low, high = self.bounds(axis)
        self.put(depth, f"for {self.axis_names[axis]} in range({high if low == '0' else f'{low}, {high}'}):")

    def approach(self, stage: Stage, depth: int) -> None:
        """Names the reduced axes, and writes the bases of addresses that their loops will use."""
        self.axis_names.update((axis, f"r{k}") for k, axis in enumerate(self.nest.inner))
        self.base_depth = depth
        self.prepare(stage)

    def outer_loops(self, depth: int) -> int:
        """Writes the loops over all reduced axes but the last; returns the depth inside them."""
        for axis in self.nest.inner[:-1]:
            self.loop(axis, depth)
            depth += 1
        return depth

    def leave(self) -> None:
        """Forgets the names of the reduced axes: outside of their loops no address depends on them."""
        for axis in self.nest.inner:
            del self.axis_names[axis]

    # Combining

    def start_value(self, node: Node) -> str:
        """What an accumulator starts with: the identity of the combination."""
        dtype, combine = node.dtype, node.eqn.op.combine
        if combine in ("add_reduce_", "or"):
            return f"{short_dtype(dtype)}(0)"
        if combine in ("mul_reduce_", "and"):
            return f"{short_dtype(dtype)}(1)"
        lowest = combine == "min_reduce_"   # is what is looked for: anything is below the start
        if is_float(dtype):
            value = np.inf if lowest else -np.inf
        elif dtype.kind == "b":
            value = lowest
        else:
            value = np.iinfo(dtype).max if lowest else np.iinfo(dtype).min
        return self.scalar(("start", combine, dtype), value, dtype, "e")

    @staticmethod
    def combined(node: Node, accumulator: str, term: str) -> str:
        combine = node.eqn.op.combine
        if combine in ("or", "and"):
            return f"{accumulator} {'|' if combine == 'or' else '&'} {term}"
        return f"{combine}({accumulator}, {term})"


def is_float_sum(node: Node) -> bool:
    return node.eqn.op.combine == "add_reduce_" and is_float(node.dtype)


class RowsWriter(ReduceWriter):
    """Writes nests of the form "rows"."""

    place: Node | None = None   # in a search: the node that is the place

    def body(self, depth: int) -> None:
        passes, self.kept = 0, self.keep()
        for block, stage in zip(self.nest.blocks, self.nest.stages):
            self.statements(block.nodes, block.stores, depth)
            if stage.stores or stage.reductions:
                self.stage(stage, depth)
                passes += 1
        self.work = largest(1, self.reduced_elements() * passes)

    def stage(self, stage: Stage, depth: int) -> None:
        """One pass over the reduced axes of a row."""
        for node in stage.reductions:
            self.names[node] = self.fresh("acc")
        last, sums = self.nest.inner[-1], [r for r in stage.reductions if is_float_sum(r)]
        self.approach(stage, depth)
        self.start(stage, depth)
        self.place = searched_place(stage, self.nest.inner)
        if self.place is not None:
            self.search(stage, depth)
            return
        inside, store = self.outer_loops(depth), None if stage.reductions else self.large_store(stage, last)
        if store is not None:
            self.stream(store, last, inside, *self.bounds(last), lambda depth: self.stage_body(stage, depth))
            self.leave()
            return
        if sums:
            low, high = self.bounds(last)
            self.put(inside, f"for first in range({low}, {high}, {SUM_BLOCK}):")
            inside += 1
            for node in sums:
                self.put(inside, f"{self.names[node]} = {short_dtype(node.dtype)}(0)")
            self.over_row(stage, inside, "first", f"min(first + {SUM_BLOCK}, {high})")
        else:
            self.over_row(stage, inside, *self.bounds(last))
        for node in sums:
            self.join_total(self.names[node], node.dtype, inside)
        for node in sums:
            self.put(depth, f"{self.names[node]} = {short_dtype(node.dtype)}(total_{self.names[node]})")
        self.leave()

    def keep(self) -> dict[tuple[Access, Node], str]:
        """Arrays on the stack for values that would wait in an output for the next pass, if that goes past the caches."""
        kept: dict[tuple[Access, Node], str] = {}
        if len(self.nest.inner) != 1 or self.nest.split:
            return kept
        (axis,) = self.nest.inner
        for stage in self.nest.stages:
            store = None if stage.reductions else self.large_store(stage, axis)
            for node, access in stage.reloads.items():
                if store is not None and store.access is access and axis.extent <= KEPT:
                    name = kept[access, node] = self.fresh("kept")
                    self.header.append(f"    {name} = local_{short_dtype(node.dtype)}({KEPT})")
        return kept

    def store(self, store: Store, depth: int) -> None:
        name = self.kept.get((store.access, store.node))
        if name:
            self.put(depth, f"{name}[{self.axis_names[self.nest.inner[0]]}] = {self.names[store.node]}")
        else:
            super().store(store, depth)

    def reload(self, node: Node, access: Access, depth: int) -> str:
        name = self.kept.get((access, node))
        return f"{name}[{self.axis_names[self.nest.inner[0]]}]" if name else super().reload(node, access, depth)

    def search(self, stage: Stage, depth: int) -> None:
        """One pass that looks for the first place of something: block by block, until one has it.

        Places within a block come from a table. LLVM would compute them in vectors of int64 and narrow those: half as fast.
        """
        (node,), (low, high) = stage.reductions, self.bounds(self.nest.inner[0])
        found, name, start = self.names[node], self.axis_names[self.nest.inner[0]], self.start_value(node)
        self.header += [f"    places = local_i32({SEARCH})", f"    for i in range({SEARCH}):", "        places[i] = i32(i)"]
        self.put(depth, f"first = {low}")
        self.put(depth, f"while (first < {high}) & ({found} == {start}):")
        self.put(depth + 1, f"last = min(first + {SEARCH}, {high})")
        self.put(depth + 1, f"for {name} in range(first, last):")
        self.stage_body(stage, depth + 2)
        self.put(depth + 2, f"{found} = {self.combined(node, found, self.names[node.operands[0]])}")
        self.put(depth + 1, f"if {found} != {start}:")
        self.put(depth + 2, f"{found} = i32({found} + first)")
        self.put(depth + 1, "first = last")
        self.leave()

    def index(self, node: Node, depth: int) -> str:
        return f"places[{self.axis_names[self.nest.inner[0]]} - first]" if node is self.place else super().index(node, depth)

    def over_row(self, stage: Stage, depth: int, low: str, high: str) -> None:
        """Writes the innermost loop over a part of a row.

        Where it computes what takes long, the last elements are a loop of their own, which is one masked vector or a few: one
        by one, ten elements of exp take as long as a hundred and sixty.
        """
        name = self.axis_names[self.nest.inner[-1]]
        if not computes(stage):
            self.put(depth, f"for {name} in range({high if low == '0' else f'{low}, {high}'}):")
            self.row_body(stage, depth + 1)
            return
        count = high if low == "0" else f"({high} - {low})"
        self.put(depth, f"whole = {'' if low == '0' else f'{low} + '}({count} & -{WHOLE})")
        self.put(depth, f"for {name} in range({low}, whole):")
        self.row_body(stage, depth + 1)
        self.put(depth, f"for {name} in range(whole, {high}):")
        self.row_body(stage, depth + 1)
        self.put(depth + 1, "masked_()")

    def row_body(self, stage: Stage, depth: int) -> None:
        """Writes what happens to one element of a row."""
        self.stage_body(stage, depth)
        for node in stage.reductions:
            name = self.names[node]
            self.put(depth, f"{name} = {self.combined(node, name, self.names[node.operands[0]])}")


def searched_place(stage: Stage, inner: list[Axis]) -> Node | None:
    """The node of the place, in a stage that computes nothing but min(where(hit, place, the largest int32)): argmax, argmin."""
    if stage.stores or len(stage.reductions) != 1 or len(inner) != 1:
        return None
    (least,) = stage.reductions
    (chosen,) = least.operands
    if least.eqn.op.combine != "min_reduce_" or chosen.kind != "expr" or chosen.eqn.op.name != "where":
        return None
    _, place, other = chosen.operands
    alone = all(node is chosen or place not in node.operands for node in stage.nodes)
    if (place.kind == "index" and place.dtype == np.int32 and place.value == Affine.of(inner[0]) and alone
            and other.kind == "const" and other.value == np.iinfo(np.int32).max):
        return place
    return None


class ColumnsWriter(ReduceWriter):
    """Writes nests of the form "columns"."""

    COLUMNS = "for j in range(strip_start, strip_stop):"

    def dimensions(self) -> list[Dimension]:
        columns = self.nest.column.extent
        fair = -(-columns // (STRIPS * LEAST_STRIP)) * LEAST_STRIP
        self.width = STRIP if self.nest.split else smallest(STRIP, largest(LEAST_STRIP, fair))
        return [*super().dimensions(), self.cut("strip", self.nest.column, self.width)]

    def body(self, depth: int) -> None:
        nest = self.nest
        for node in (r for stage in nest.stages for r in stage.reductions):
            array = self.fresh("acc")
            self.header.append(f"    {array} = local_{short_dtype(node.dtype)}({STRIP})")
            self.names[node] = f"{array}[j - strip_start]"
        for block, stage in zip(nest.blocks, nest.stages):
            self.axis_names.pop(nest.column, None)
            self.statements(block.nodes, [], depth)
            self.axis_names[nest.column] = "j"
            if block.stores:
                self.prepare(block)
                self.put(depth, self.COLUMNS)
                self.statements(block.strip, block.stores, depth + 1)
            if stage.stores or stage.reductions:
                self.stage(stage, depth)
        self.work = largest(1, smallest(self.width, nest.column.extent) * self.reduced_elements())

    def stage(self, stage: Stage, depth: int) -> None:
        """One pass over the reduced axes of a strip."""
        last = self.nest.inner[-1]
        self.start(stage, depth)
        self.steady_values(stage, depth)
        self.approach(stage, depth)
        depth = self.outer_loops(depth)
        name, (low, high) = self.axis_names[last], self.bounds(last)
        rows = 1 if stage.stores else next((rows for rows, most in VISITS if len(stage.nodes) <= most), 1)
        if rows == 1:
            self.put(depth, f"for {name} in range({low}, {high}):")
            self.columns(stage, depth + 1, [name])
        else:   # several rows per visit of an accumulator: its loads and stores are what costs
            count = high if low == "0" else f"({high} - {low})"
            self.put(depth, f"even = {'' if low == '0' else f'{low} + '}{count} // {rows} * {rows}")
            self.put(depth, f"for {name} in range({low}, even, {rows}):")
            self.columns(stage, depth + 1, [name, *(f"({name} + {k})" for k in range(1, rows))])
            self.put(depth, f"for {name} in range(even, {high}):")
            self.columns(stage, depth + 1, [name])
        self.leave()

    def start(self, stage: Stage, depth: int) -> None:
        """Writes the start values of all columns."""
        if stage.reductions:
            self.put(depth, self.COLUMNS)
            for node in stage.reductions:
                self.put(depth + 1, f"{self.names[node]} = {self.start_value(node)}")

    def steady_values(self, stage: Stage, depth: int) -> None:
        """Computes what is the same for all rows of a column once, into arrays on the stack."""
        inner = frozenset(self.nest.inner)
        self.steady = {node for node in stage.nodes if node.axes.isdisjoint(inner) and node not in stage.reloads}
        others = [node for node in stage.nodes if node not in self.steady]
        read = {o for node in (*others, *stage.reductions) for o in node.reads} | {n for s in stage.stores for n in s.needs}
        for node in reversed(stage.nodes):   # a load stays in the loop, but not the index that it is at
            if node in self.steady & read and node.kind != "expr":
                read.update(node.reads)
        arrays = {node: self.fresh("col") for node in stage.nodes if node in self.steady & read and node.kind == "expr"}
        if arrays:
            self.base_depth = depth
            self.prepare(stage)
            self.put(depth, self.COLUMNS)
            self.statements([node for node in stage.nodes if node in self.steady], [], depth + 1)
        for node, array in arrays.items():
            self.header.append(f"    {array} = local_{short_dtype(node.dtype)}({STRIP})")
            self.put(depth + 1, f"{array}[j - strip_start] = {self.names[node]}")
            self.names[node] = f"{array}[j - strip_start]"
        self.steady -= {node for node in read if node.kind != "expr"}   # loads and positions are as cheap as such an array

    def in_loop(self, stage: Stage) -> list[Node]:
        return [node for node in stage.nodes if node not in self.steady]

    def columns(self, stage: Stage, depth: int, rows: list[str]) -> None:
        """The columns of a strip, for one row or several at a time."""
        last, column = self.nest.inner[-1], self.nest.column
        store = None if stage.reductions else self.large_store(stage, column)
        if store is not None:
            self.axis_names[last] = rows[0]
            self.stream(store, column, depth, "strip_start", "strip_stop", lambda depth: self.stage_body(stage, depth))
            return
        terms: dict[Node, list[str]] = {r: [] for r in stage.reductions}
        self.put(depth, self.COLUMNS)
        for row in rows:
            self.axis_names[last] = row
            self.stage_body(stage, depth + 1)
            for node in stage.reductions:
                terms[node].append(self.names[node.operands[0]])
        self.axis_names[last] = rows[0]
        for node in stage.reductions:
            self.put(depth + 1, f"{self.names[node]} = {self.accumulated(node, terms[node])}")

    def accumulated(self, node: Node, terms: list[str]) -> str:
        """The accumulator of a column with the terms of one row or several rows added; floats in pairs, as a tree."""
        accumulator = self.names[node]
        if is_float_sum(node):
            pairs = [f"({a} + {b})" for a, b in zip(terms[::2], terms[1::2])]
            return f"{accumulator} + {terms[0] if len(terms) == 1 else '(' + ' + '.join(pairs) + ')'}"
        for term in terms:
            accumulator = self.combined(node, accumulator, term)
        return accumulator
