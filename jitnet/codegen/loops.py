"""The body of one kernel as a LoopNest: which loops, which loads and stores, which scalars where. Knows no target.

    nest    ::=  rows { block_0; stage_0; block_1; stage_1; ... block_n }     for every row
    stage   ::=  inner loops { scalars; accumulations; stores }
    block   ::=  scalars; stores                                              once per row, between the stages

Three forms, by where the innermost axis of the domain lies:

    map       no reduction: one stage, the innermost axis is its loop
    rows      the innermost axis is reduced: every row has its accumulators, the reduced axes are the inner loops
    columns   an outer axis is reduced and the innermost is kept: a row is a strip of columns, each with its accumulator

Values are scalars in a graph of Nodes first; then each is put into the block or the stage where it is needed. A value that depends
on row axes alone is computed once per row. Loads are affine: base + sum(stride * axis), with strides that are numbers here and
become run-time sizes (0, 1 and -1 excepted) in the source of a target.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..ir import Atom, Const, Graph, Var, definitions
from ..passes.fuse import operand_indices
from .affine import Affine, Axis


class Node:
    """One scalar: a load, a constant, an index, an expression or the result of a reduction."""

    __slots__ = ("kind", "dtype", "operands", "axes", "round", "expr", "access", "value", "eqn", "name")

    def __init__(self, kind, dtype, operands=(), axes=frozenset(), round=0, **fields):
        self.kind, self.dtype, self.operands, self.axes, self.round = kind, dtype, operands, axes, round
        self.expr = self.access = self.value = self.eqn = self.name = None
        for name, value in fields.items():
            setattr(self, name, value)


@dataclass
class Access:
    """Where a buffer is read or written: base + sum(strides[axis] * axis) + sum(dynamic node * stride), in elements."""

    buffer: Buffer
    strides: dict[Axis, int]
    base: int
    dynamic: list[tuple[Node, int, int]] = field(default_factory=list)  # (index node, stride, extent it is checked against)


@dataclass(eq=False)
class Buffer:
    """A buffer of the kernel. role: input, output, scratch (an output that holds something else in between), status."""

    atom: Atom
    dtype: object
    role: str
    position: int = 0


@dataclass
class Store:
    """Writes a node; `add`: adds it to what is there."""

    access: Access
    node: Node
    add: bool = False

    @property
    def needs(self) -> list[Node]:
        return [self.node, *(n for n, _, _ in self.access.dynamic)]


@dataclass(frozen=True)
class Region:
    """A strided part of a larger array, as the place of an output."""

    shape: tuple[int, ...]
    start: tuple[int, ...]
    step: tuple[int, ...]


@dataclass(frozen=True)
class Scatter:
    """Places in a larger array that index arrays give for some of its axes, as the place of an output."""

    shape: tuple[int, ...]
    indices: tuple[Var, ...]
    axes: tuple[int, ...]
    add: bool


@dataclass
class Stage:
    """Inner loops: the nodes computed in them in order, what is accumulated and what is stored."""

    nodes: list[Node]
    reductions: list[Node]
    stores: list[Store]
    reloads: dict[int, Access] = field(default_factory=dict)   # id(node) -> where an earlier stage left its value


@dataclass
class Block:
    """What happens between two stages: nodes once per row, and once per column of the strip (columns form), then stores."""

    nodes: list[Node]
    strip: list[Node]
    stores: list[Store]


@dataclass
class LoopNest:
    """One kernel. `inner`: axes of the stages, outermost first; `column`: the kept innermost axis of the columns form; `split`: only part of
    the outermost reduced axis is reduced by each row (its chunk), into an output with a leading axis of chunks."""

    form: str
    rows: list[Axis]
    inner: list[Axis]
    column: Axis | None
    stages: list[Stage]
    blocks: list[Block]
    buffers: list[Buffer]
    split: int = 0
    checks: bool = False
    accesses: list[Access] = field(default_factory=list)
    tile: Axis | None = None
    chunk: Axis | None = None   # which chunk a grid point works on, when split


def row_major(shape: Sequence[int]) -> list[int]:
    """Strides of a contiguous array, in elements."""
    strides, step = [0] * len(shape), 1
    for k in range(len(shape) - 1, -1, -1):
        strides[k] = step
        step *= shape[k]
    return strides


def varying(index: Affine) -> Affine:
    """The index without the axes of extent 1, along which it stays as it is."""
    return Affine(tuple((a, k) for a, k in index.terms if a.extent != 1), index.const)


class Lowering:
    """One kernel equation -> LoopNest."""

    def __init__(self, body: Graph, domain: Sequence[int], reduce: Sequence[int], placements=None):
        self.body, self.definition = body, definitions(body)
        self.domain = [Axis(n, f"i{k}") for k, n in enumerate(domain)]
        self.reduce = [self.domain[k] for k in reduce]
        self.kept = [a for a in self.domain if a not in self.reduce]
        self.memo: dict[tuple, Node] = {}
        self.buffers: list[Buffer] = []
        self.buffer_of: dict[Atom, Buffer] = {}
        self.accesses: list[Access] = []
        self.index_nodes: list[Node] = []
        self.checks = False
        self.split = next((e.params["chunk"] for e in body.eqns if e.params.get("chunk")), 0)
        self.chunk = Axis(next((e.outputs[0].type.shape[0] for e in body.eqns if e.params.get("chunk")), 1), "chunk")
        self.placements = placements or {}

    # Nodes

    def buffer(self, atom: Atom, role: str) -> Buffer:
        known = self.buffer_of.get(atom)
        if known is None:
            known = self.buffer_of[atom] = Buffer(atom, atom.type.dtype, role, len(self.buffers))
            self.buffers.append(known)
        return known

    def load(self, atom: Atom, index: Sequence[Affine], dynamic=()) -> Node:
        key = (atom, tuple(index), tuple((id(n), s) for n, s, _ in dynamic))
        node = self.memo.get(key)
        if node is None:
            access = self.access(self.buffer(atom, "input"), atom.type.shape, index, list(dynamic))
            axes = frozenset(access.strides).union(*(n.axes for n, _, _ in dynamic))
            round = max((n.round for n, _, _ in dynamic), default=0)
            node = self.memo[key] = Node("load", atom.type.dtype, tuple(n for n, _, _ in dynamic), axes, round, access=access)
        return node

    def access(self, buffer: Buffer, shape, index: Sequence[Affine], dynamic=()) -> Access:
        strides: dict[Axis, int] = {}
        base = 0
        for stride, where in zip(row_major(shape), index, strict=True):
            base += stride * where.const
            for axis, k in where.terms:
                strides[axis] = strides.get(axis, 0) + stride * k
        access = Access(buffer, strides, base, list(dynamic))
        self.accesses.append(access)
        return access

    def value(self, atom: Atom, index: Sequence[Affine]) -> Node:
        """The scalar that an atom holds at an index."""
        if type(atom) is Const and atom.is_scalar:
            key = ("const", id(atom))
            if key not in self.memo:
                self.memo[key] = Node("const", atom.type.dtype, value=atom.value[()])
            return self.memo[key]
        eqn = self.definition.get(atom) if type(atom) is Var else None
        if eqn is None:
            return self.load(atom, index)
        key = (atom, tuple(index))
        node = self.memo.get(key)
        if node is None:
            node = self.memo[key] = self.compute(eqn, atom, list(index))
        return node

    def compute(self, eqn, atom: Var, index: list[Affine]) -> Node:
        op = eqn.op
        if op.kind == "reduction":
            return self.reduction(eqn, index)
        indices = operand_indices(eqn, index, ())
        if op.kind == "movement":
            return self.value(eqn.inputs[0], indices[0])
        if op.kind == "creation":
            where = index[eqn.params["axis"]]
            node = Node("index", atom.type.dtype, axes=frozenset(a for a, _ in where.terms), value=where, eqn=eqn)
            self.index_nodes.append(node)
            return node
        if op.name == "gather":
            return self.gather(eqn, index, indices)
        operands = tuple(self.value(a, where) for a, where in zip(eqn.inputs, indices))
        axes = frozenset().union(*(o.axes for o in operands))
        return Node("expr", atom.type.dtype, operands, axes, max((o.round for o in operands), default=0), eqn=eqn)

    def gather(self, eqn, index, indices) -> Node:
        """A load at a place that depends on data; checked and clamped, never outside of the array."""
        source = eqn.inputs[0]
        picks = [self.value(a, where) for a, where in zip(eqn.inputs[1:], indices[1:])]
        place, dynamic = self.picks(source.type.shape, eqn.params["axes"], picks, index[eqn.inputs[1].type.ndim:])
        return self.load(source, place, dynamic)

    def picks(self, shape, axes, nodes: list[Node], rest: Sequence[Affine]) -> tuple[list[Affine], tuple]:
        """The affine part of a place that data decides for some axes, and its dynamic part."""
        self.checks = True
        remaining, strides = iter(rest), row_major(shape)
        place = [Affine() if k in axes else next(remaining) for k in range(len(shape))]
        return place, tuple((n, strides[k], shape[k]) for n, k in zip(nodes, axes))

    def reduction(self, eqn, index) -> Node:
        kept = [Affine.of(a) for a in self.kept]
        if self.split:
            index = index[1:]
        if list(map(varying, index)) != list(map(varying, kept)):
            raise AssertionError(f"{eqn.op.name} is read at {index}, its kernel computes it at {kept}")
        key = ("reduction", id(eqn))
        node = self.memo.get(key)
        if node is None:
            rest, inner, axes = iter(kept), iter(self.reduce), eqn.params["axis"]
            place = [Affine.of(next(inner)) if k in axes else next(rest) for k in range(eqn.inputs[0].type.ndim)]
            operand = self.value(eqn.inputs[0], place)
            node = self.memo[key] = Node("reduction", eqn.outputs[0].type.dtype, (operand,), frozenset(self.kept), operand.round + 1, eqn=eqn)
        return node

    # Loops

    def nest(self) -> LoopNest:
        stores = [self.output(v) for v in self.body.outputs]
        form = "map" if not self.reduce else "rows" if not self.kept or self.domain[-1] in self.reduce else "columns"
        self.merge()
        rows, inner, column = list(self.kept), list(self.reduce), None
        if form == "map":
            inner = [rows.pop()] if rows else []
        elif form == "columns":
            column = rows.pop()
        if self.checks:
            self.buffers.append(Buffer(None, None, "status", len(self.buffers)))
        looped = frozenset(inner)
        rounds = max([s.node.round for s in stores] + [0])
        stages, blocks, done = [], [], set()
        for k in range(rounds + 1):
            row_stores = [s for s in stores if s.node.round == k and not self.in_stage(s, looped, form)]
            own = [s for s in stores if s.node.round == k and self.in_stage(s, looped, form)]
            reductions = self.reductions(stores, k + 1)
            blocks.append(Block([], [], row_stores))
            stages.append(Stage([], reductions, own))
        split = self.split // max(1, math.prod(a.extent for a in inner[1:])) if self.split else 0
        nest = LoopNest(form, rows, inner, column, stages, blocks, self.buffers, split, self.checks, self.accesses,
                        chunk=self.chunk if split else None)
        self.place(nest, looped)
        self.find_tile(nest)
        return nest

    @staticmethod
    def in_stage(store: Store, looped, form) -> bool:
        return form == "map" or bool(looped & set(store.access.strides)) or bool(looped & store.node.axes)

    def reductions(self, stores, round: int) -> list[Node]:
        found, seen, pending = [], set(), [n for s in stores for n in s.needs]
        while pending:
            node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if node.kind == "reduction" and node.round == round:
                found.append(node)
            pending += node.operands
        return found[::-1]

    def output(self, v: Var) -> Store:
        shape = v.type.shape
        kept, domain = [Affine.of(a) for a in self.kept], [Affine.of(a) for a in self.domain]
        eqn = self.definition[v]
        if eqn.op.kind == "reduction":
            index = [Affine.of(self.chunk), *kept] if self.split else kept
        elif len(shape) == len(domain) and shape == tuple(a.extent for a in self.domain):
            index = domain
        elif len(shape) == len(kept) and shape == tuple(a.extent for a in self.kept):
            index = kept
        else:   # reduced axes kept with size 1
            index, rest = [], list(self.kept)
            for n in reversed(shape):
                index.insert(0, Affine.of(rest.pop()) if rest and rest[-1].extent == n else Affine())
        node = self.value(v, index)
        placement = self.placements.get(v)
        if placement is None:
            return Store(self.access(self.buffer(v, "output"), shape, index), node)
        if isinstance(placement, Region):
            place = [i * k + s for i, s, k in zip(index, placement.start, placement.step)]
            return Store(self.access(self.buffer(v, "output"), placement.shape, place), node)
        n = placement.indices[0].type.ndim
        place, dynamic = self.picks(placement.shape, placement.axes, [self.value(i, index[:n]) for i in placement.indices], index[n:])
        return Store(self.access(self.buffer(v, "output"), placement.shape, place, dynamic), node, placement.add)

    def place(self, nest: LoopNest, looped) -> None:
        """Puts every node into the block or stage where it is needed."""
        columns = nest.form == "columns"
        row_done: set[int] = set()
        kept: dict[int, tuple[int, Node]] = {}    # costly nodes of earlier stages

        def visit(node: Node, k: int, out: list[Node], inner: set[int]) -> None:
            stack = [(node, False)]
            while stack:
                n, ready = stack.pop()
                per_row = not n.axes & looped and not (columns and nest.column in n.axes)
                done = row_done if per_row else inner
                if id(n) in done:
                    continue
                if ready or n.kind == "reduction":
                    done.add(id(n))
                    if n.kind != "reduction":
                        (nest.blocks[k].nodes if per_row else out).append(n)
                    continue
                if out is nest.stages[k].nodes and self.reload(nest, n, k, kept):
                    done.add(id(n))
                    out.append(n)
                    continue
                stack.append((n, True))
                stack += [(o, False) for o in reversed(n.operands)]

        for k, (block, stage) in enumerate(zip(nest.blocks, nest.stages)):
            inner: set[int] = set()
            for node in [n for s in block.stores for n in s.needs]:
                visit(node, k, block.strip if columns else block.nodes, inner)
            inner = set()
            for node in [r.operands[0] for r in stage.reductions] + [n for s in stage.stores for n in s.needs]:
                visit(node, k, stage.nodes, inner)
            for n in stage.nodes:
                if n.kind == "expr" and not n.eqn.op.cheap:
                    kept.setdefault(id(n), (k, n))

    def reload(self, nest: LoopNest, node: Node, k: int, kept) -> bool:
        """Can a costly value be left in an output that is written later, and be read again in stage k rather than computed again?"""
        if id(node) not in kept:
            return False
        first, _ = kept[id(node)]
        for stage in nest.stages[k:]:
            for store in stage.stores:
                access = store.access
                if access.buffer.dtype == node.dtype and not access.dynamic and access.buffer.role == "output" and store.node is not node \
                        and self.covers(access, node):
                    access.buffer.role = "scratch"
                    nest.stages[first].stores.append(Store(access, node))
                    nest.stages[k].reloads[id(node)] = access
                    return True
        return False

    def covers(self, access: Access, node: Node) -> bool:
        """Does the output have an element of its own for every point of the domain?"""
        return all(a in access.strides or a.extent == 1 for a in self.domain)

    # Merging axes and tiles

    def merge(self) -> None:
        """Joins neighbouring axes that every access walks as one."""
        k = 0
        while k + 1 < len(self.domain):
            outer, inner = self.domain[k], self.domain[k + 1]
            if (outer in self.reduce) == (inner in self.reduce) and self.mergeable(outer, inner):
                self.join(outer, inner)
            else:
                k += 1

    def mergeable(self, outer: Axis, inner: Axis) -> bool:
        strides = [(a.strides.get(outer, 0), a.strides.get(inner, 0)) for a in self.accesses]
        strides += [(n.value.coefficient(outer), n.value.coefficient(inner)) for n in self.index_nodes]
        return all(o == i * inner.extent for o, i in strides)

    def join(self, outer: Axis, inner: Axis) -> None:
        """The inner axis takes over the outer one's range."""
        inner.extent *= outer.extent
        for access in self.accesses:
            access.strides.pop(outer, None)
        for node in self.index_nodes:
            node.value = Affine(tuple((a, c) for a, c in node.value.terms if a is not outer), node.value.const)
        for node in self.memo.values():
            if outer in node.axes:
                node.axes = (node.axes - {outer}) | {inner}
        for axes in (self.domain, self.kept, self.reduce):
            if outer in axes:
                axes.remove(outer)

    def find_tile(self, nest: LoopNest) -> None:
        """The row axis along which some load is contiguous while the innermost loop strides: the pair is walked in tiles."""
        if nest.form != "map" or not nest.rows or not nest.inner:
            return
        inner = nest.inner[0]
        for access in self.accesses:
            if access.buffer.role == "input" and abs(access.strides.get(inner, 0)) > 1:
                unit = next((a for a in nest.rows if access.strides.get(a, 0) == 1), None)
                if unit is not None:
                    nest.tile = unit
                    return


def lower(body: Graph, domain, reduce, placements=None) -> LoopNest:
    """The loop nest of a fused kernel."""
    return Lowering(body, domain, reduce, placements).nest()
