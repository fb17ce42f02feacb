"""The kernels of reductions: along rows (scalar accumulators) and down columns (an accumulator per column of a strip, on the stack)."""
from __future__ import annotations

import math

import numpy as np

from ..types import short_dtype
from .affine import Axis
from .nest import Node, Stage
from .writer import KernelWriter, scalar_bits

UNROLL = 4         # rows that a strip adds at a time
STRIP = 1024       # columns at most that one strip accumulates on the stack
LEAST_STRIP = 64   # and at least, when there are few columns and many threads could share them
STRIPS = 16        # strips that are wanted when columns are all there is to share
SUM_BLOCK = 4096   # elements summed in lanes before they join the compensated total: as accurate as pairwise


class ReduceWriter(KernelWriter):
    """What rows and columns share. Abstract."""

    def reduce_dimensions(self) -> list[tuple[str, str, int]]:
        """The grid dimensions of rows, and of chunks when the reduction is split."""
        nest = self.nest
        dims = self.row_dimensions(nest.rows)
        if nest.split:
            dims.append(("chunk", *self.chunked("chunk", nest.inner[0], nest.split)))
            self.axis_names[nest.chunk] = "chunk"
            self.fixed.append(nest.chunk)
        return dims

    def reduced_elements(self) -> int:
        """Elements that one grid point reduces for each of its results."""
        nest = self.nest
        elements = math.prod(axis.extent for axis in nest.inner)
        return elements * nest.split // max(1, nest.inner[0].extent) if nest.split else elements

    def name_inner(self) -> None:
        for k, axis in enumerate(self.nest.inner):
            self.axis_names[axis] = f"r{k}"

    def forget_inner(self) -> None:
        for axis in self.nest.inner:
            del self.axis_names[axis]

    def outer_loops(self, depth: int) -> int:
        """Writes the loops over all reduced axes but the last; returns the depth inside them."""
        for axis in self.nest.inner[:-1]:
            self.put(depth, f"for {self.axis_names[axis]} in range({self.range_of(axis)}):")
            depth += 1
        return depth

    def start_value(self, node: Node) -> str:
        dtype, combine = node.dtype, node.eqn.op.combine
        name = short_dtype(dtype)
        if combine in ("add_reduce_", "or"):
            return f"{name}(0)"
        if combine in ("mul_reduce_", "and"):
            return f"{name}(1)"
        low = combine == "max_reduce_"
        if dtype.kind == "f":
            value = -np.inf if low else np.inf
        elif dtype.kind == "b":
            value = not low
        else:
            value = np.iinfo(dtype).min if low else np.iinfo(dtype).max
        key = ("start", combine, name)
        if key not in self.size_names:
            self.size_names[key] = f"e{sum(1 for k in self.size_names if k[0] == 'start')}"
            read = f"sizes[{len(self.sizes)}]"
            self.sizes.append(scalar_bits(value, dtype) if name != "u64" else int(np.uint64(value).view(np.int64)))
            self.header.append(f"    {self.size_names[key]} = " + (f"{name}_bits({read})" if name[0] == "f" else f"{name}({read})"))
        return self.size_names[key]

    @staticmethod
    def combined(node: Node, total: str, term: str) -> str:
        combine = node.eqn.op.combine
        if combine in ("or", "and"):
            return f"{total} {'|' if combine == 'or' else '&'} {term}"
        return f"{combine}({total}, {term})"

    @staticmethod
    def summed(node: Node) -> bool:
        return node.eqn.op.combine == "add_reduce_" and node.dtype.kind == "f"

    def range_of(self, axis: Axis) -> str:
        if self.nest.split and axis is self.nest.inner[0]:
            return "chunk_start, chunk_stop"
        return self.extent_of(axis)

    def bounds_of(self, axis: Axis) -> tuple[str, str]:
        low, comma, high = self.range_of(axis).partition(", ")
        return (low, high) if comma else ("0", low)


class RowsWriter(ReduceWriter):
    """Writes nests of the form "rows"."""

    def dimensions(self):
        return self.reduce_dimensions()

    def body(self, depth: int) -> None:
        passes = 0
        for block, stage in zip(self.nest.blocks, self.nest.stages):
            self.statements(block, depth)
            if stage.stores or stage.reductions:
                self.row_stage(stage, depth)
                passes += 1
        self.work = max(1, self.reduced_elements() * passes)

    def row_stage(self, stage: Stage, depth: int) -> None:
        """One pass over the reduced axes of a row."""
        nest, sums = self.nest, [r for r in stage.reductions if self.summed(r)]
        for node in stage.reductions:
            self.names[id(node)] = f"acc{self.count('acc')}"
        names = {id(r): self.names[id(r)] for r in stage.reductions}
        row_depth = depth
        self.name_inner()
        self.base_depth = row_depth
        self.prepare(stage)
        for node in stage.reductions:
            name = names[id(node)]
            if node in sums:
                self.put(depth, f"total_{name} = f64(0)")
                if node.dtype.itemsize == 8:
                    self.put(depth, f"error_{name} = f64(0)")
            else:
                self.put(depth, f"{name} = {self.start_value(node)}")
        depth = self.outer_loops(depth)
        last = nest.inner[-1]
        if sums:
            low, high = self.bounds_of(last)
            self.put(depth, f"for first in range({low}, {high}, {SUM_BLOCK}):")
            depth += 1
            for node in sums:
                self.put(depth, f"{names[id(node)]} = {short_dtype(node.dtype)}(0)")
            self.put(depth, f"for {self.axis_names[last]} in range(first, min(first + {SUM_BLOCK}, {high})):")
        else:
            self.put(depth, f"for {self.axis_names[last]} in range({self.range_of(last)}):")
        depth += 1
        self.stage_body(stage, depth)
        for node in stage.reductions:
            self.put(depth, f"{names[id(node)]} = {self.combined(node, names[id(node)], self.names[id(node.operands[0])])}")
        for node in sums:
            self.join_total(names[id(node)], node.dtype, depth - 1)
        for node in sums:
            name = names[id(node)]
            self.put(row_depth, f"{name} = {short_dtype(node.dtype)}(total_{name})")
        self.forget_inner()

    def join_total(self, name: str, dtype, depth: int) -> None:
        """Adds a block's sum to the total: in double for float32, compensated (Kahan) for float64."""
        if dtype.itemsize < 8:
            self.put(depth, f"total_{name} = total_{name} + f64({name})")
            return
        self.put(depth, f"term_{name} = {name} - error_{name}")
        self.put(depth, f"next_{name} = total_{name} + term_{name}")
        self.put(depth, f"error_{name} = (next_{name} - total_{name}) - term_{name}")
        self.put(depth, f"total_{name} = next_{name}")


class ColumnsWriter(ReduceWriter):
    """Writes nests of the form "columns"."""

    def dimensions(self):
        nest, columns = self.nest, self.nest.column.extent
        self.width = STRIP if nest.split else min(STRIP, max(LEAST_STRIP, -(-columns // (STRIPS * LEAST_STRIP)) * LEAST_STRIP))
        return [*self.reduce_dimensions(), ("strip", *self.chunked("strip", nest.column, self.width))]

    def body(self, depth: int) -> None:
        nest = self.nest
        column = nest.column
        accumulators = [r for stage in nest.stages for r in stage.reductions]
        arrays = {}
        for node in accumulators:
            arrays[id(node)] = f"acc{self.count('acc')}"
            self.header.append(f"    {arrays[id(node)]} = local_{short_dtype(node.dtype)}({STRIP})")
        for node in accumulators:
            self.names[id(node)] = f"{arrays[id(node)]}[j - strip_start]"
        loop = "for j in range(strip_start, strip_stop):"
        for block, stage in zip(nest.blocks, nest.stages):
            self.axis_names.pop(column, None)
            for node in block.nodes:
                self.node(node, depth)
            self.axis_names[column] = "j"
            if block.stores:
                self.prepare(block)
                self.put(depth, loop)
                for node in block.strip:
                    self.node(node, depth + 1)
                for store in block.stores:
                    self.store(store, depth + 1)
            if stage.stores or stage.reductions:
                self.column_stage(stage, depth, loop)
        self.work = max(1, min(self.width, column.extent) * self.reduced_elements())

    def column_stage(self, stage: Stage, depth: int, loop: str) -> None:
        nest = self.nest
        row_depth = depth
        if stage.reductions:
            self.put(depth, loop)
            for node in stage.reductions:
                self.put(depth + 1, f"{self.names[id(node)]} = {self.start_value(node)}")
        self.name_inner()
        self.base_depth = row_depth
        self.prepare(stage)
        depth, last = self.outer_loops(depth), nest.inner[-1]
        name, (low, high) = self.axis_names[last], self.bounds_of(last)
        sums = all(r.eqn.op.combine == "add_reduce_" and r.dtype.kind != "b" for r in stage.reductions)
        if stage.stores or len(stage.nodes) * UNROLL > 64 or not sums:
            self.put(depth, f"for {name} in range({low}, {high}):")
            self.column_pass(stage, depth + 1, loop, [name])
        else:   # several rows per visit of an accumulator: its loads and stores are what costs
            self.put(depth, f"even = {low} + ({high} - {low}) // {UNROLL} * {UNROLL}" if low != "0" else f"even = {high} // {UNROLL} * {UNROLL}")
            self.put(depth, f"for {name} in range({low}, even, {UNROLL}):")
            self.column_pass(stage, depth + 1, loop, [name, *(f"({name} + {k})" for k in range(1, UNROLL))])
            self.put(depth, f"for {name} in range(even, {high}):")
            self.column_pass(stage, depth + 1, loop, [name])
        self.forget_inner()

    def column_pass(self, stage: Stage, depth: int, loop: str, rows: list[str]) -> None:
        """The columns of a strip, for one row or several at a time."""
        last = self.nest.inner[-1]
        terms: dict[int, list[str]] = {id(r): [] for r in stage.reductions}
        self.put(depth, loop)
        for row in rows:
            self.axis_names[last] = row
            self.stage_body(stage, depth + 1)
            for node in stage.reductions:
                terms[id(node)].append(self.names[id(node.operands[0])])
        self.axis_names[last] = rows[0]
        for node in stage.reductions:
            acc, parts = self.names[id(node)], terms[id(node)]
            if node.eqn.op.combine == "add_reduce_" and node.dtype.kind in "iu":
                combined = acc
                for part in parts:
                    combined = f"add_reduce_({combined}, {part})"
            elif self.summed(node):
                combined = f"{acc} + {parts[0]}" if len(parts) == 1 else f"{acc} + (({parts[0]} + {parts[1]}) + ({parts[2]} + {parts[3]}))"
            else:
                combined = self.combined(node, acc, parts[0])
            self.put(depth + 1, f"{acc} = {combined}")
