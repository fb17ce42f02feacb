"""LoopNest -> the Python source of one CPU kernel, for Numba.

    def kernel(buffers, sizes, start, stop)       works on the rows (or strips, chunks, blocks) from start to stop

The text is the identity of a kernel: everything that differs from call to call (extents, strides, offsets, scalar constants) stands in
`sizes`, so one kernel serves every size, and equal structures share one kernel. Strides of 0, 1 and -1 are written out: they decide how it vectorizes.
"""
from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np

from ..types import short_dtype
from .affine import Affine, Axis
from .loops import Access, Block, LoopNest, Node, Stage
from .memory import EDGE

UNROLL = 4         # rows that a strip adds at a time
STRIP = 1024       # columns at most that one strip of the columns form accumulates on the stack
LEAST_STRIP = 64   # and at least, when there are few columns and many threads could share them
STRIPS = 16        # strips that are wanted when columns are all there is to share
SUM_BLOCK = 4096   # elements summed in lanes before they join the compensated total: as accurate as pairwise
MAP_BLOCK = 16384  # elements of the innermost axis in one block of a map with rows
PREFIXES = {"input": "x", "output": "out", "scratch": "out", "status": "status"}
SQUARE = 128       # a transposing map reads and writes squares of this edge: runs of 512 bytes, few pages at a time
MOST_TURNED = 3    # squares of one kernel that wait on the stack


@dataclass(frozen=True)
class Source:
    """The text of a kernel with what one use of it needs: run-time sizes, number of grid points, elements touched per grid point."""

    text: str
    sizes: tuple[int, ...]
    extent: int
    work: int


def _bits(value, dtype) -> int:
    """A scalar as the 64-bit integer that `sizes` can hold."""
    if dtype.kind == "f":
        return struct.unpack("<q" if dtype.itemsize == 8 else "<i", struct.pack("<d" if dtype.itemsize == 8 else "<f", value))[0]
    return int(np.asarray(value).astype(np.int64))


CALL = re.compile(r"\w+\(|\{cast\}\(")              # an expression that is a call: its result has the dtype of its operands
OPERATOR = re.compile(r"-?\{\w+\}( [-+*] \{\w+\})?")   # one that is a single operator which may overflow


def wrapping(expr: str, names: list[str], dtype: str) -> tuple[str, list[str]]:
    """The expression in integers that wrap around: Numba's operators widen narrow ones, and overflow of an int64 is undefined to LLVM."""
    if dtype == "i64" and OPERATOR.fullmatch(expr):
        names = [f"u64({name})" for name in names]
    return f"{dtype}({expr})", names


class Writer:
    """Writes the source of one nest."""

    def __init__(self, nest: LoopNest):
        self.nest = nest
        self.sizes: list[int] = []
        self.size_names: dict[object, str] = {}
        self.header: list[str] = []
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.buffer_names: dict[object, str] = {}
        self.axis_names: dict[Axis, str] = {}
        self.row_bases: dict[int, str] = {}
        self.tiles: dict[int, str] = {}
        self.turned: list[Access] = []
        self.extent, self.work = 1, 1

    # Names

    def size(self, key, value: int, prefix: str) -> str:
        """The name of a run-time number; one per key."""
        name = self.size_names.get(key)
        if name is None:
            name = self.size_names[key] = f"{prefix}{sum(1 for n in self.size_names.values() if n.startswith(prefix))}"
            self.header.append(f"    {name} = sizes[{len(self.sizes)}]")
            self.sizes.append(int(value))
        return name

    def extent_of(self, axis: Axis) -> str:
        return self.size(("extent", id(axis)), axis.extent, "n")

    def stride(self, access: Access, axis: Axis) -> str:
        value = access.strides[axis]
        if value in (1, -1):
            return str(value)
        return self.size(("stride", id(access.buffer), id(axis), value), value, "s")

    def term(self, access: Access, axis: Axis) -> str:
        stride, name = self.stride(access, axis), self.axis_names[axis]
        return name if stride == "1" else f"-{name}" if stride == "-1" else f"{name} * {stride}"

    def constant(self, node: Node) -> str:
        key = ("const", id(node))
        if key in self.size_names:
            return self.size_names[key]
        name = self.size_names[key] = f"c{sum(1 for k in self.size_names if k[0] == 'const')}"
        dtype = short_dtype(node.dtype)
        read = f"sizes[{len(self.sizes)}]"
        self.sizes.append(_bits(node.value, node.dtype))
        self.header.append(f"    {name} = " + (f"{dtype}_bits({read})" if dtype[0] == "f" else f"{dtype}({read})"))
        return name

    def put(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    # Scalars

    def base(self, access: Access, depth: int) -> str:
        """The part of an address that a row fixes, as a name or a number."""
        known = self.row_bases.get(id(access))
        if known is None:
            parts = [self.size(("base", id(access)), access.base, "o")] if access.base else []
            parts += [self.term(access, a) for a in self.fixed if a in access.strides]
            if len(parts) > 1 or (parts and "*" in parts[0]):
                known = f"at{self.count('at')}"
                self.put(depth, f"{known} = " + " + ".join(parts).replace("+ -", "- "))
            else:
                known = parts[0] if parts else ""
            self.row_bases[id(access)] = known
        return known

    def address(self, access: Access, depth: int) -> str:
        parts = [self.base(access, self.base_depth)] if self.base(access, self.base_depth) else []
        parts += [self.term(access, a) for a in self.axis_names if a not in self.fixed and a in access.strides]
        for node, stride, extent in access.dynamic:
            parts.append(self.picked(node, stride, extent, access, depth))
        return " + ".join(parts).replace("+ -", "- ") or "0"

    def picked(self, node: Node, stride: int, extent: int, access: Access, depth: int) -> str:
        """The term of an index that is data: checked, clamped, times its stride."""
        limit = self.size(("limit", id(access), id(node)), extent, "m")
        pick = f"k{self.count('k')}"
        index = self.names[id(node)]
        self.put(depth, f"bad = bad | ({index} < 0) | ({index} >= {limit})")
        self.put(depth, f"{pick} = maximum_(minimum_({index}, {limit} - 1), i64(0))")
        if stride == 1:
            return pick
        return f"{pick} * {self.size(('pick', id(access), id(node)), stride, 's')}"

    def count(self, prefix: str) -> int:
        self.counters = getattr(self, "counters", {})
        self.counters[prefix] = self.counters.get(prefix, -1) + 1
        return self.counters[prefix]

    def affine(self, where: Affine) -> str:
        parts = [self.size(("index", id(where)), where.const, "o")] if where.const else []
        for axis, k in where.terms:
            name = self.axis_names[axis]
            parts.append(name if k == 1 else f"{name} * {self.size(('index', id(where), id(axis)), k, 's')}")
        return " + ".join(parts) or "0"

    def node(self, node: Node, depth: int) -> None:
        """Writes the statement that computes a node."""
        if node.kind == "const":
            self.names[id(node)] = self.constant(node)
            return
        if node.kind == "load" and id(node.access) in self.tiles:
            text = f"{self.tiles[id(node.access)]}[(j - square_start) * {SQUARE} + i - block_start]"
        elif node.kind == "load":
            text = f"{self.buffer_names[node.access.buffer]}[{self.address(node.access, depth)}]"
        elif node.kind == "index":
            text = f"{short_dtype(node.dtype)}({self.affine(node.value)})"
        else:
            op = node.eqn.op
            expr, names = op.expression([a.type for a in node.eqn.inputs]), [self.names[id(o)] for o in node.operands]
            if node.dtype.kind in "iu" and not CALL.match(expr):
                expr, names = wrapping(expr, names, short_dtype(node.dtype))
            fields = dict(zip(op.array_names, names))
            fields |= {k: short_dtype(v) if k == "dtype" else v for k, v in node.eqn.params.items()}
            text = expr.format(**fields, cast=short_dtype(node.dtype))
        name = self.names[id(node)] = f"t{self.count('t')}"
        self.put(depth, f"{name} = {text}")

    def store(self, store, depth: int) -> None:
        target = f"{self.buffer_names[store.access.buffer]}[{self.address(store.access, depth)}]"
        value = self.names[id(store.node)]
        self.put(depth, f"{target} = {target} + {value}" if store.add else f"{target} = {value}")

    # The whole

    def write(self) -> Source:
        nest = self.nest
        for buffer in nest.buffers:
            self.buffer_names[buffer] = f"{PREFIXES[buffer.role]}" + (str(self.count(PREFIXES[buffer.role])) if buffer.role != "status" else "")
        self.fixed: list[Axis] = []
        self.base_depth = 2
        depth = self.grid()
        self.base_depth = depth
        {"map": self.write_map, "rows": self.write_rows, "columns": self.write_columns}[nest.form](depth)
        buffers = [f"    {name} = buffer_{'i64' if b.role == 'status' else short_dtype(b.dtype)}(buffers, {k})"
                   for k, (b, name) in enumerate(self.buffer_names.items())]
        checks = (["    bad = b1(0)"], ["    if bad:", "        status[0] = i64(1)"]) if nest.checks else ([], [])
        text = "\n".join(["def kernel(buffers, sizes, start, stop):", *buffers, *self.header, *checks[0], *self.lines, *checks[1]]) + "\n"
        return Source(text, tuple(self.sizes), self.extent, self.work)

    def grid(self) -> int:
        """The loop over grid points, and which row, chunk and block each is; returns the depth inside it."""
        nest = self.nest
        dims: list[tuple[str, str | None]] = []   # (what, size name) from the outermost; the first needs no size
        rows = list(nest.rows)
        if nest.tile is not None:
            rows.remove(nest.tile)
        for k, axis in enumerate(rows):
            self.axis_names[axis] = f"d{k}"
            dims.append((f"d{k}", self.extent_of(axis), axis.extent))
        self.fixed = list(rows)
        self.bounds: dict[str, tuple[str, str]] = {}
        if nest.split:
            dims.append(("chunk", *self.chunked("chunk", nest.inner[0], nest.split)))
            self.axis_names[nest.chunk] = "chunk"
            self.fixed.append(nest.chunk)
        if nest.tile is not None:
            self.turned = [a for a in nest.accesses if self.turns(a)][:MOST_TURNED]
            dims.append(("square", *self.chunked("square", nest.tile, SQUARE)))
        if nest.form == "map" and nest.inner and (nest.rows or nest.tile is not None):
            width = SQUARE if nest.tile is not None else min(MAP_BLOCK, max(nest.inner[0].extent, 1))
            dims.append(("block", *self.chunked("block", nest.inner[0], width)))
        elif nest.form == "columns":
            width = STRIP if nest.split else min(STRIP, max(LEAST_STRIP, -(-nest.column.extent // (STRIPS * LEAST_STRIP)) * LEAST_STRIP))
            dims.append(("strip", *self.chunked("strip", nest.column, width)))
            self.strip_width = min(width, max(1, nest.column.extent))
        self.extent = 1
        for _, _, n in dims:
            self.extent *= n
        if nest.form == "map" and len(dims) == 0 and nest.inner:   # one flat axis: the grid is the axis itself
            axis = nest.inner[0]
            self.axis_names[axis] = "i"
            self.extent = axis.extent
            self.put(1, "for i in range(start, stop):")
            self.flat = True
            return 2
        self.flat = False
        only = dims[0][0] if len(dims) == 1 else "g"
        self.put(1, f"for {only} in range(start, stop):")
        self.decode(dims, 2)
        return 2

    def chunked(self, what: str, axis: Axis, width: int) -> tuple[str, int]:
        """Grid dimension that cuts an axis in pieces; notes the bounds of a piece. Returns (name of the number of pieces, the number)."""
        pieces = max(1, -(-axis.extent // width))
        count = self.size((what, "pieces"), pieces, "p")
        step = self.size((what, "width"), width, "w")
        self.bounds[what] = step, self.extent_of(axis)
        return count, pieces

    def decode(self, dims, depth: int) -> None:
        left = "g"
        for k, (what, count, _) in reversed(list(enumerate(dims))):
            if len(dims) > 1:
                if k == 0:
                    self.put(depth, f"{what} = {left}")
                else:
                    rest = f"g{k}"
                    self.put(depth, f"{rest} = {left} // {count}")
                    self.put(depth, f"{what} = {left} - {rest} * {count}")
                    left = rest
            if what in self.bounds:
                step, end = self.bounds[what]
                self.put(depth, f"{what}_start = {what} * {step}")
                self.put(depth, f"{what}_stop = min({what}_start + {step}, {end})")

    def write_map(self, depth: int) -> None:
        nest = self.nest
        (stage,), (block,) = nest.stages, nest.blocks
        if not nest.inner:
            self.statements(block, depth)
            self.stage_body(stage, depth)
            return
        inner = nest.inner[0]
        if self.flat:
            hoisted = self.lines.pop()
            self.base_depth = 1
            self.statements(block, 1)
            self.prepare(stage)
            self.lines.append(hoisted)
            self.work = 1
            self.stage_body(stage, depth)
            return
        if nest.tile is not None:
            self.statements_free_of(nest.tile, block, depth)
            self.axis_names[nest.tile], self.axis_names[inner] = "j", "i"
            for access in self.turned:
                self.turn(access, depth)
            self.put(depth, "for j in range(square_start, square_stop):")
            depth += 1
            self.fixed.append(nest.tile)
            self.base_depth = depth
            del self.axis_names[inner]
            self.late_statements(block, depth)
        else:
            self.statements(block, depth)
        self.axis_names[inner] = "i"
        self.prepare(stage)
        self.put(depth, "for i in range(block_start, block_stop):")
        self.stage_body(stage, depth + 1)
        self.work = max(1, min(MAP_BLOCK, inner.extent) if nest.tile is None else min(SQUARE, inner.extent) * min(SQUARE, nest.tile.extent))

    # Tiles

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

    def statements(self, block: Block, depth: int) -> None:
        for node in block.nodes:
            self.node(node, depth)
        for store in block.stores:
            self.store(store, depth)

    def statements_free_of(self, axis: Axis, block: Block, depth: int) -> None:
        for node in block.nodes:
            if axis not in node.axes:
                self.node(node, depth)

    def late_statements(self, block: Block, depth: int) -> None:
        for node in block.nodes:
            if id(node) not in self.names:
                self.node(node, depth)

    def prepare(self, part: Stage | Block) -> None:
        """Writes the row bases of the addresses that a loop will use, before the loop."""
        accesses = [node.access for node in (part.nodes if isinstance(part, Stage) else part.strip)] + [s.access for s in part.stores]
        accesses += part.reloads.values() if isinstance(part, Stage) else ()
        for access in accesses:
            if access is not None and id(access) not in self.tiles:
                self.base(access, self.base_depth)

    def stage_body(self, stage: Stage, depth: int) -> None:
        for node in stage.nodes:
            if id(node) in stage.reloads:
                name = self.names[id(node)] = f"t{self.count('t')}"
                access = stage.reloads[id(node)]
                self.put(depth, f"{name} = {self.buffer_names[access.buffer]}[{self.address(access, depth)}]")
            else:
                self.node(node, depth)
        for store in stage.stores:
            self.store(store, depth)

    # Reductions

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
            self.sizes.append(_bits(value, dtype) if name != "u64" else int(np.uint64(value).view(np.int64)))
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

    def write_rows(self, depth: int) -> None:
        nest = self.nest
        for k, (block, stage) in enumerate(zip(nest.blocks, nest.stages)):
            self.statements(block, depth)
            if stage.stores or stage.reductions:
                self.stage_rows(stage, depth, k)
        self.work = 1
        for axis in nest.inner:
            self.work *= axis.extent
        if nest.split:
            self.work = self.work * nest.split // max(1, nest.inner[0].extent)
        self.work = max(1, self.work * sum(1 for s in nest.stages if s.stores or s.reductions))

    def stage_rows(self, stage: Stage, depth: int, number: int) -> None:
        """One pass over the reduced axes of a row."""
        nest, sums = self.nest, [r for r in stage.reductions if self.summed(r)]
        for node in stage.reductions:
            self.names[id(node)] = f"acc{self.count('acc')}"
        names = {id(r): self.names[id(r)] for r in stage.reductions}
        row_depth = depth
        for axis in nest.inner:
            self.axis_names[axis] = f"r{nest.inner.index(axis)}"
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
        for axis in nest.inner[:-1]:
            self.put(depth, f"for {self.axis_names[axis]} in range({self.range_of(axis)}):")
            depth += 1
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
        for axis in nest.inner:
            del self.axis_names[axis]

    def join_total(self, name: str, dtype, depth: int) -> None:
        """Adds a block's sum to the total: in double for float32, compensated (Kahan) for float64."""
        if dtype.itemsize < 8:
            self.put(depth, f"total_{name} = total_{name} + f64({name})")
            return
        self.put(depth, f"term_{name} = {name} - error_{name}")
        self.put(depth, f"next_{name} = total_{name} + term_{name}")
        self.put(depth, f"error_{name} = (next_{name} - total_{name}) - term_{name}")
        self.put(depth, f"total_{name} = next_{name}")

    def range_of(self, axis: Axis) -> str:
        if self.nest.split and axis is self.nest.inner[0]:
            return "chunk_start, chunk_stop"
        return self.extent_of(axis)

    def write_columns(self, depth: int) -> None:
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
                self.stage_columns(stage, depth, loop)
        self.work = self.strip_width
        for axis in nest.inner:
            self.work *= axis.extent
        if nest.split:
            self.work = self.work * nest.split // max(1, nest.inner[0].extent)
        self.work = max(1, self.work)

    def stage_columns(self, stage: Stage, depth: int, loop: str) -> None:
        nest = self.nest
        row_depth = depth
        if stage.reductions:
            self.put(depth, loop)
            for node in stage.reductions:
                self.put(depth + 1, f"{self.names[id(node)]} = {self.start_value(node)}")
        for axis in nest.inner:
            self.axis_names[axis] = f"r{nest.inner.index(axis)}"
        self.base_depth = row_depth
        self.prepare(stage)
        *outer, last = nest.inner
        for axis in outer:
            self.put(depth, f"for {self.axis_names[axis]} in range({self.range_of(axis)}):")
            depth += 1
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
        for axis in nest.inner:
            del self.axis_names[axis]

    def bounds_of(self, axis: Axis) -> tuple[str, str]:
        low, comma, high = self.range_of(axis).partition(", ")
        return (low, high) if comma else ("0", low)

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


def cpu_source(nest: LoopNest) -> Source:
    """The kernel of a loop nest, and the numbers for this use of it."""
    return Writer(nest).write()
