"""What every writer of CPU kernels shares: names, run-time sizes, scalars, addresses, and the loop over grid points.

A grid point is the unit that threads share: a row, a block of a row, a strip of columns, a chunk of a reduction, or a combination. Its number is taken
apart into those once, at its start.
"""
from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np

from ..types import short_dtype
from .affine import Affine, Axis
from .nest import Access, Block, LoopNest, Node, Stage, Store

PREFIXES = {"input": "x", "output": "out", "scratch": "out", "status": "status"}


@dataclass(frozen=True)
class Source:
    """The text of a kernel with what one use of it needs: run-time sizes, number of grid points, elements touched per grid point."""

    text: str
    sizes: tuple[int, ...]
    extent: int
    work: int


def scalar_bits(value, dtype) -> int:
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


class KernelWriter:
    """Writes the source of one nest. Abstract: each form of nest has a writer."""

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
        self.fixed: list[Axis] = []       # axes that a grid point fixes
        self.bounds: dict[str, tuple[str, str]] = {}
        self.base_depth = 2
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
        self.sizes.append(scalar_bits(node.value, node.dtype))
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
        if node.kind == "load":
            text = self.load(node.access, depth)
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

    def load(self, access: Access, depth: int) -> str:
        """The text that reads an element."""
        return f"{self.buffer_names[access.buffer]}[{self.address(access, depth)}]"

    def store(self, store, depth: int) -> None:
        target = f"{self.buffer_names[store.access.buffer]}[{self.address(store.access, depth)}]"
        value = self.names[id(store.node)]
        self.put(depth, f"{target} = {target} + {value}" if store.add else f"{target} = {value}")

    # The whole

    def dimensions(self) -> list[tuple[str, str, int]]:
        """The grid from the outermost: (what a number of it is called, name of its extent, extent)."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def body(self, depth: int) -> None:
        """Writes what happens at a grid point."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def write(self) -> Source:
        nest = self.nest
        for buffer in nest.buffers:
            self.buffer_names[buffer] = f"{PREFIXES[buffer.role]}" + (str(self.count(PREFIXES[buffer.role])) if buffer.role != "status" else "")
        self.loop_over(self.dimensions())
        self.body(self.base_depth)
        buffers = [f"    {name} = buffer_{'i64' if b.role == 'status' else short_dtype(b.dtype)}(buffers, {k})"
                   for k, (b, name) in enumerate(self.buffer_names.items())]
        checks = (["    bad = b1(0)"], ["    if bad:", "        status[0] = i64(1)"]) if nest.checks else ([], [])
        text = "\n".join(["def kernel(buffers, sizes, start, stop):", *buffers, *self.header, *checks[0], *self.lines, *checks[1]]) + "\n"
        return Source(text, tuple(self.sizes), self.extent, self.work)

    def row_dimensions(self, rows: list[Axis]) -> list[tuple[str, str, int]]:
        """The grid dimensions of row axes."""
        dims = []
        for k, axis in enumerate(rows):
            self.axis_names[axis] = f"d{k}"
            dims.append((f"d{k}", self.extent_of(axis), axis.extent))
        self.fixed = list(rows)
        return dims

    def loop_over(self, dims) -> None:
        """Writes the loop over grid points and takes their numbers apart."""
        for _, _, n in dims:
            self.extent *= n
        only = dims[0][0] if len(dims) == 1 else "g"
        self.put(1, f"for {only} in range(start, stop):")
        self.decode(dims, 2)

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

    # Parts of a body

    def statements(self, block: Block, depth: int) -> None:
        for node in block.nodes:
            self.node(node, depth)
        for store in block.stores:
            self.store(store, depth)

    def prepare(self, part: Stage | Block) -> None:
        """Writes the row bases of the addresses that a loop will use, before the loop."""
        accesses = [node.access for node in (part.nodes if isinstance(part, Stage) else part.strip)] + [s.access for s in part.stores]
        accesses += part.reloads.values() if isinstance(part, Stage) else ()
        for access in accesses:
            if access is not None:
                self.base(access, self.base_depth)

    def stage_body(self, stage: Stage, depth: int) -> None:
        for node in stage.nodes:
            if node in stage.reloads:
                name = self.names[id(node)] = f"t{self.count('t')}"
                access = stage.reloads[node]
                self.put(depth, f"{name} = {self.buffer_names[access.buffer]}[{self.address(access, depth)}]")
            else:
                self.node(node, depth)
        for store in stage.stores:
            self.store(store, depth)
