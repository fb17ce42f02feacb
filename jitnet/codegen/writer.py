"""What every writer of CPU kernels shares: names, run-time sizes, scalars, addresses, and the loop over grid points.

A grid point is the unit that threads share: a row, a block of a row, a strip of columns, a chunk of a reduction, or a
combination. Its number is taken apart into those once, at its start.
"""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..sizes import computed, largest
from ..types import is_float, short_dtype
from .affine import Axis
from .nest import Access, Block, LoopNest, Node, Stage, Store
from .signs import is_nonpositive

PREFIXES = {"input": "x", "output": "out", "scratch": "out"}   # role of a buffer -> what its name begins with

CALL = re.compile(r"\w+\(|\{cast\}\(")                 # an expression that is a call: its result has its operands' dtype
OPERATOR = re.compile(r"-?\{\w+\}( [-+*] \{\w+\})?")   # one that is a single operator which may overflow


@dataclass(frozen=True)
class KernelSource:
    """The text of a kernel with what one use of it needs: run-time sizes, number of grid points, elements per grid point."""

    text: str
    sizes: tuple[int, ...]
    extent: int
    work: int


class Dimension(NamedTuple):
    """One dimension of the grid: what a number along it is called, what its extent is called, and the extent."""

    name: str
    count: str
    extent: int


def scalar_bits(value, dtype: np.dtype) -> int:
    """A scalar as the 64-bit integer that `sizes` can hold."""
    scalar = np.asarray(value, dtype)
    return int((scalar.view(f"i{dtype.itemsize}") if is_float(dtype) else scalar).astype(np.int64))


def wrapping(expr: str, names: list[str], dtype: str) -> tuple[str, list[str]]:
    """(expression, operands) in integers that wrap around.

    Numba's operators widen narrow integers, and overflow of an int64 is undefined to LLVM.
    """
    if dtype == "i64" and OPERATOR.fullmatch(expr):
        names = [f"u64({name})" for name in names]
    return f"{dtype}({expr})", names


def total(terms: list[str]) -> str:
    """The sum of some terms, as text."""
    return " + ".join(terms).replace("+ -", "- ")


class KernelWriter:
    """Writes the source of one nest. Abstract: each form of nest has a writer."""

    def __init__(self, nest: LoopNest):
        self.nest = nest
        self.sizes: list[int] = []                 # what this use of the kernel passes
        self.size_names: dict[tuple, str] = {}     # what a size stands for -> its name
        self.header: list[str] = []                # lines before the loops
        self.lines: list[str] = []
        self.footer: list[str] = []                # lines after the loops
        self.counter: Counter[str] = Counter()
        self.names: dict[Node, str] = {}
        self.buffer_names: dict[object, str] = {}
        self.axis_names: dict[Axis, str] = {}
        self.fixed: list[Axis] = []                # axes that a grid point fixes
        self.bases: dict[Access, str] = {}         # the part of an address that the fixed axes give
        self.base_depth = 2                        # where the lines that compute such a part go
        self.pieces: dict[str, tuple[str, str]] = {}   # name of a cut dimension -> (width of a piece, extent of the axis)
        self.extent, self.work = 1, 1

    # Names

    def put(self, depth: int, text: str) -> None:
        """Writes a line."""
        self.lines.append("    " * depth + text)

    def fresh(self, prefix: str) -> str:
        """A name with that prefix and the next number."""
        self.counter[prefix] += 1
        return f"{prefix}{self.counter[prefix] - 1}"

    def size(self, key: tuple, value: int, prefix: str) -> str:
        """The name of a run-time number; one per key."""
        if key not in self.size_names:
            name = self.size_names[key] = self.fresh(prefix)
            self.header.append(f"    {name} = sizes[{len(self.sizes)}]")
            self.sizes.append(value)
        return self.size_names[key]

    def scalar(self, key: tuple, value, dtype: np.dtype, prefix: str) -> str:
        """The name of a run-time scalar of any dtype; one per key."""
        if key not in self.size_names:
            name, kind = self.fresh(prefix), short_dtype(dtype)
            self.size_names[key] = name
            self.header.append(f"    {name} = {kind}{'_bits' if is_float(dtype) else ''}(sizes[{len(self.sizes)}])")
            self.sizes.append(computed(scalar_bits, value, dtype))
        return self.size_names[key]

    def extent_of(self, axis: Axis) -> str:
        return self.size(("extent", axis), axis.extent, "n")

    # Addresses

    def stride(self, access: Access, axis: Axis) -> str:
        """The stride of an access along an axis; 1 and -1 stand in the text, for they decide how it vectorizes."""
        value = access.strides[axis]
        return str(value) if value in (1, -1) else self.size(("stride", access.buffer, axis, value), value, "s")

    def term(self, access: Access, axis: Axis) -> str:
        stride, name = self.stride(access, axis), self.axis_names[axis]
        return name if stride == "1" else f"-{name}" if stride == "-1" else f"{name} * {stride}"

    def base(self, access: Access) -> str:
        """The part of an address that the fixed axes give: a name or a number, empty for 0."""
        if access not in self.bases:
            terms = [self.size(("base", access), access.base, "o")] if access.base else []
            terms += [self.term(access, a) for a in self.fixed if a in access.strides]
            base = total(terms)
            if len(terms) > 1 or "*" in base:
                name = self.fresh("at")
                self.put(self.base_depth, f"{name} = {base}")
                base = name
            self.bases[access] = base
        return self.bases[access]

    def address(self, access: Access, depth: int) -> str:
        """The position of an element, in elements; writes the lines that an index which is data needs."""
        base = self.base(access)
        terms = [base] if base else []
        terms += [self.term(access, a) for a in self.axis_names if a not in self.fixed and a in access.strides]
        return total([*terms, *self.picks(access, depth)]) or "0"

    def picks(self, access: Access, depth: int) -> list[str]:
        """The terms of the indices that are data, as far as they are not in the base."""
        return [self.picked(k, access, depth) for k in range(len(access.dynamic))]

    def picked(self, k: int, access: Access, depth: int) -> str:
        """The term of the kth index that is data: checked, clamped, times its stride. One node may pick along several axes."""
        node, stride, extent = access.dynamic[k]
        limit = self.size(("limit", access, k), extent, "m")
        pick, index = self.fresh("k"), self.names[node]
        self.note_bad(f"({index} < 0) | ({index} >= {limit})", depth)
        self.put(depth, f"{pick} = maximum_(minimum_({index}, {limit} - 1), i64(0))")
        return pick if stride == 1 else f"{pick} * {self.size(('pick', access, k), stride, 's')}"

    def note_bad(self, condition: str, depth: int) -> None:
        """Writes that an index is out of bounds under a condition."""
        self.put(depth, f"bad = bad | {condition}")

    def element(self, access: Access, depth: int) -> str:
        return f"{self.buffer_names[access.buffer]}[{self.address(access, depth)}]"

    # Scalars

    def node(self, node: Node, depth: int) -> None:
        """Writes the statement that computes a node."""
        if node.kind == "const":
            self.names[node] = self.scalar(("const", node), node.value, node.dtype, "c")
            return
        text = {"load": self.load, "index": self.index, "expr": self.expression}[node.kind](node, depth)
        self.assign(node, text, depth)

    def assign(self, node: Node, text: str, depth: int) -> None:
        self.names[node] = self.fresh("t")
        self.put(depth, f"{self.names[node]} = {text}")

    def load(self, node: Node, depth: int) -> str:
        return self.element(node.access, depth)

    def reload(self, node: Node, access: Access, depth: int) -> str:
        """The value of a node that an earlier stage left in an output."""
        return self.element(access, depth)

    def index(self, node: Node, depth: int) -> str:
        where = node.value
        terms = [self.size(("index", node), where.const, "o")] if where.const else []
        for axis, k in where.terms:
            name = self.axis_names[axis]
            terms.append(name if k == 1 else f"{name} * {self.size(('index', node, axis), k, 's')}")
        return f"{short_dtype(node.dtype)}({' + '.join(terms) or '0'})"

    def expression(self, node: Node, depth: int) -> str:
        op, dtype = node.eqn.op, short_dtype(node.dtype)
        if op.name == "exp" and is_nonpositive(node.operands[0]):
            return f"exp_nonpositive_({self.names[node.operands[0]]})"
        expr, names = op.expression([a.type for a in node.eqn.inputs]), [self.names[o] for o in node.operands]
        if node.dtype.kind in "iu" and not CALL.match(expr):
            expr, names = wrapping(expr, names, dtype)
        params = {k: short_dtype(v) if k == "dtype" else v for k, v in node.eqn.params.items()}
        return expr.format(**dict(zip(op.array_names, names)), **params, cast=dtype)

    def store(self, store: Store, depth: int) -> None:
        target, value = self.element(store.access, depth), self.names[store.node]
        self.put(depth, f"{target} = {target} + {value}" if store.add else f"{target} = {value}")

    # The whole

    def dimensions(self) -> list[Dimension]:
        """The grid, from the outermost dimension."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def body(self, depth: int) -> None:
        """Writes what happens at a grid point."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def write(self) -> KernelSource:
        """The source."""
        nest = self.nest
        for buffer in nest.buffers:
            self.buffer_names[buffer] = "status" if buffer.role == "status" else self.fresh(PREFIXES[buffer.role])
        self.loop_over(self.dimensions())
        self.body(self.base_depth)
        dtypes = ["i64" if b.role == "status" else short_dtype(b.dtype) for b in nest.buffers]
        lines = ["def kernel(buffers, sizes, start, stop):"]
        lines += [f"    {self.buffer_names[b]} = buffer_{dtype}(buffers, {k})"
                  for k, (b, dtype) in enumerate(zip(nest.buffers, dtypes))]
        lines += [*self.header, *(["    bad = b1(0)"] if nest.checks else []), *self.lines, *self.footer]
        lines += ["    if bad:", "        status[0] = i64(1)"] if nest.checks else []
        return KernelSource("\n".join(lines) + "\n", tuple(self.sizes), self.extent, self.work)

    def row_dimensions(self, rows: list[Axis]) -> list[Dimension]:
        """The grid dimensions of row axes."""
        self.axis_names.update((axis, f"d{k}") for k, axis in enumerate(rows))
        self.fixed = list(rows)
        return [Dimension(self.axis_names[axis], self.extent_of(axis), axis.extent) for axis in rows]

    def cut(self, name: str, axis: Axis, width: int, least: int = 1) -> Dimension:
        """The grid dimension of an axis cut in pieces of that width; the names of a piece's ends begin with `name`.

        least: the pieces of an axis of no elements.
        """
        pieces = largest(least, -(-axis.extent // width))
        count = self.size((name, "pieces"), pieces, "p")
        self.pieces[name] = self.size((name, "width"), width, "w"), self.extent_of(axis)
        return Dimension(name, count, pieces)

    def loop_over(self, dims: list[Dimension]) -> None:
        """Writes the loop over grid points, and takes their numbers apart."""
        for dim in dims:
            self.extent *= dim.extent
        left = dims[0].name if len(dims) == 1 else "g"
        self.put(1, f"for {left} in range(start, stop):")
        for k, (name, count, _) in reversed(list(enumerate(dims))):
            if k > 0:
                self.put(2, f"g{k} = {left} // {count}")
                self.put(2, f"{name} = {left} - g{k} * {count}")
                left = f"g{k}"
            elif len(dims) > 1:
                self.put(2, f"{name} = {left}")
            if name in self.pieces:
                width, end = self.pieces[name]
                self.put(2, f"{name}_start = {name} * {width}")
                self.put(2, f"{name}_stop = min({name}_start + {width}, {end})")

    # Parts of a body

    def statements(self, nodes: list[Node], stores: list[Store], depth: int) -> None:
        """Writes what computes these nodes, and these stores."""
        for node in nodes:
            self.node(node, depth)
        for store in stores:
            self.store(store, depth)

    def prepare(self, part: Stage | Block) -> None:
        """Writes the bases of the addresses that a loop will use, before the loop."""
        nodes, reloads = (part.nodes, part.reloads) if isinstance(part, Stage) else (part.strip, {})
        for access in (*(n.access for n in nodes), *(s.access for s in part.stores), *reloads.values()):
            if access is not None:
                self.base(access)

    def in_loop(self, stage: Stage) -> list[Node]:
        """The nodes that an iteration of a stage's loops computes."""
        return stage.nodes

    def stage_body(self, stage: Stage, depth: int) -> None:
        """Writes what one iteration of a stage's loops does."""
        for node in self.in_loop(stage):
            if node in stage.reloads:
                self.assign(node, self.reload(node, stage.reloads[node], depth), depth)
            else:
                self.node(node, depth)
        self.statements([], stage.stores, depth)
