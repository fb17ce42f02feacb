"""A fused kernel -> LoopNest.

Values become Nodes, scalars in a graph, by asking for the outputs at the place of the loops: a movement asks its operand at
another place and is gone. Then every node is put into the block or the stage where it is needed; what depends on row axes alone
is computed once per row.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from ..ir import Atom, Const, Eqn, Graph, Var, definitions
from ..passes.kernel import operand_indices
from ..sizes import largest
from .affine import Affine, Axis
from .nest import Access, Block, Buffer, LoopNest, Node, Region, Scatter, Stage, Store, postorder, row_major, strided

Placements = Mapping[Var, Region | Scatter]   # where outputs lie that are parts of larger arrays


def lower(body: Graph, domain: Sequence[int], reduce: Sequence[int], placements: Placements | None = None) -> LoopNest:
    """The loop nest of a fused kernel."""
    return Lowering(body, domain, reduce, placements or {}).nest()


class Lowering:
    """One kernel equation -> LoopNest."""

    def __init__(self, body: Graph, domain: Sequence[int], reduce: Sequence[int], placements: Placements):
        self.body, self.definition, self.placements = body, definitions(body), placements
        self.domain = [Axis(n, f"i{k}") for k, n in enumerate(domain)]
        self.reduce = [self.domain[k] for k in reduce]
        self.kept = [a for a in self.domain if a not in self.reduce]
        self.memo: dict[tuple, Node] = {}
        self.buffers: list[Buffer] = []
        self.buffer_of: dict[Atom, Buffer] = {}
        self.accesses: list[Access] = []
        self.index_nodes: list[Node] = []
        self.stepped: set[Axis] = set()   # that skip places of some array
        self.checks = False
        cut = next((e for e in body.eqns if "chunk" in e.params), None)   # a partial reduction (passes/split.py)
        self.chunk = Axis(cut.outputs[0].type.shape[0], "chunk") if cut else None
        self.chunk_elements = cut.params["chunk"] if cut else 0

    # Nodes

    def buffer(self, atom: Atom, role: str) -> Buffer:
        known = self.buffer_of.get(atom)
        if known is None:
            known = self.buffer_of[atom] = Buffer(atom, atom.type.dtype, role)
            self.buffers.append(known)
        return known

    def access(self, buffer: Buffer, shape, index: Sequence[Affine], dynamic=()) -> Access:
        access = Access(buffer, *strided(shape, index), dynamic)
        self.accesses.append(access)
        self.stepped.update(a for where in index for a, k in where.terms if abs(k) != 1)
        return access

    def load(self, atom: Atom, index: Sequence[Affine], dynamic=()) -> Node:
        """The element of a stored array at an index."""
        key = (atom, tuple(index), tuple((id(n), s) for n, s, _ in dynamic))
        node = self.memo.get(key)
        if node is None:
            access = self.access(self.buffer(atom, "input"), atom.type.shape, index, dynamic)
            picks = tuple(n for n, _, _ in dynamic)
            axes = frozenset(access.strides).union(*(n.axes for n in picks))
            round = max((n.round for n in picks), default=0)
            node = self.memo[key] = Node("load", atom.type.dtype, picks, axes, round, access=access)
        return node

    def value(self, atom: Atom, index: Sequence[Affine]) -> Node:
        """The scalar that an atom holds at an index."""
        if type(atom) is Const and atom.is_scalar:
            key = ("const", id(atom))
            if key not in self.memo:
                self.memo[key] = Node("const", atom.type.dtype, value=atom.value[()])
            return self.memo[key]
        eqn = self.definition.get(atom)
        if eqn is None:
            return self.load(atom, index)
        key = (atom, tuple(index))
        node = self.memo.get(key)
        if node is None:
            node = self.memo[key] = self.compute(eqn, list(index))
        return node

    def compute(self, eqn: Eqn, index: list[Affine]) -> Node:
        """The scalar that an equation computes at an index."""
        op, dtype = eqn.op, eqn.outputs[0].type.dtype
        if op.kind == "reduction":
            return self.reduction(eqn, index)
        if op.kind == "creation":
            where = index[eqn.params["axis"]]
            node = Node("index", dtype, axes=frozenset(a for a, _ in where.terms), value=where)
            self.index_nodes.append(node)
            return node
        indices = operand_indices(eqn, index)
        if op.kind == "movement":
            return self.value(eqn.inputs[0], indices[0])
        if op.name == "gather":
            return self.gather(eqn, index, indices)
        operands = tuple(self.value(a, where) for a, where in zip(eqn.inputs, indices))
        axes = frozenset().union(*(o.axes for o in operands))
        return Node("expr", dtype, operands, axes, max((o.round for o in operands), default=0), eqn=eqn)

    def gather(self, eqn: Eqn, index, indices) -> Node:
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

    def reduction(self, eqn: Eqn, index: list[Affine]) -> Node:
        """The result of a reduction, which is known only at its own place."""
        kept = [Affine.of(a) for a in self.kept]
        own = [Affine.of(self.chunk), *kept] if self.chunk else kept
        if list(map(varying, index)) != list(map(varying, own)):
            raise AssertionError(f"{eqn.op.name} is read at {index}, its kernel computes it at {own}")
        key = ("reduction", id(eqn))
        node = self.memo.get(key)
        if node is None:
            (place,) = operand_indices(eqn, kept, self.reduce)
            operand = self.value(eqn.inputs[0], place)
            dtype = eqn.outputs[0].type.dtype
            node = self.memo[key] = Node("reduction", dtype, (operand,), frozenset(self.kept), operand.round + 1, eqn=eqn)
        return node

    def output(self, v: Var) -> list[Store]:
        """The stores of an output: one, or of a concatenation one for each part."""
        eqn = self.definition[v]
        if eqn.op.name != "concatenate":
            return [self.store(v, v, self.output_index(v))]
        axis, stores, start = eqn.params["axis"], [], 0
        for part in eqn.inputs:
            stores.append(self.store(v, part, self.output_index(part), axis, start))
            start += part.type.shape[axis]
        return stores

    def store(self, v: Var, value: Atom, index: list[Affine], axis: int = 0, start: int = 0) -> Store:
        """The store of a value into an output, from `start` along an axis on."""
        placement = self.placements.get(v)
        node, shape, dynamic, add = self.value(value, index), v.type.shape, (), False
        if start:
            index = [where + start if k == axis else where for k, where in enumerate(index)]
        if isinstance(placement, Region):
            shape = placement.shape
            index = [i * k + s for i, s, k in zip(index, placement.start, placement.step)]
        elif isinstance(placement, Scatter):
            n, shape, add = placement.indices[0].type.ndim, placement.shape, placement.add
            picks = [self.value(i, index[:n]) for i in placement.indices]
            index, dynamic = self.picks(shape, placement.axes, picks, index[n:])
        return Store(self.access(self.buffer(v, "output"), shape, index, dynamic), node, add)

    def output_index(self, v: Atom) -> list[Affine]:
        """The place of the loops in an output, which has all axes of the domain or those that are not reduced."""
        shape, kept = v.type.shape, [Affine.of(a) for a in self.kept]
        if v in self.definition and self.definition[v].op.kind == "reduction":
            return [Affine.of(self.chunk), *kept] if self.chunk else kept
        if shape == tuple(a.extent for a in self.domain):
            return [Affine.of(a) for a in self.domain]
        if shape == tuple(a.extent for a in self.kept):
            return kept
        index: list[Affine] = []   # reduced axes kept with size 1
        rest = list(self.kept)
        for n in reversed(shape):
            index.insert(0, Affine.of(rest.pop()) if rest and rest[-1].extent == n else Affine())
        return index

    # Loops

    def nest(self) -> LoopNest:
        """The loop nest."""
        stores = [store for v in self.body.outputs for store in self.output(v)]
        form = "map" if not self.reduce else "rows" if not self.kept or self.domain[-1] in self.reduce else "columns"
        self.merge()
        rows, inner, column = list(self.kept), list(self.reduce), None
        if form == "map":
            inner = [rows.pop()] if rows else []
        elif form == "columns":
            column = rows.pop()
        if self.checks:
            self.buffers.append(Buffer(None, None, "status"))
        in_loops = [form == "map" or not s.node.axes.isdisjoint(inner) or not s.access.strides.keys().isdisjoint(inner)
                    for s in stores]
        stages, blocks = [], []
        for k in range(max((s.node.round for s in stores), default=0) + 1):
            now = [(s, looped) for s, looped in zip(stores, in_loops) if s.node.round == k]
            blocks.append(Block([], [], [s for s, looped in now if not looped]))
            stages.append(Stage([], reductions(stores, k + 1), [s for s, looped in now if looped]))
        nest = LoopNest(form, rows, inner, column, stages, blocks, self.buffers, self.accesses, self.checks)
        if self.chunk:
            nest.chunk = self.chunk
            nest.split = self.chunk_elements // largest(1, math.prod(a.extent for a in inner[1:]))
        self.place(nest)
        nest.tile = tile_axis(nest)
        return nest

    def place(self, nest: LoopNest) -> None:
        """Puts every node into the block or the stage where it is needed."""
        moving = frozenset(nest.inner) if nest.column is None else frozenset((*nest.inner, nest.column))
        once: set[Node] = set()           # computed once per row, so far
        costly: dict[Node, Stage] = {}    # where a costly node is computed first
        for k, (block, stage) in enumerate(zip(nest.blocks, nest.stages)):
            needed = (n for s in block.stores for n in s.needs)
            block.nodes, block.strip = divided(postorder(needed, once), moving)
            once.update(block.nodes)
            needed = [*(r.operands[0] for r in stage.reductions), *(n for s in stage.stores for n in s.needs)]
            fixed, stage.nodes = divided(postorder(needed, once, partial(self.reload, nest, k, costly)), moving)
            block.nodes += fixed
            once.update(fixed)
            for node in stage.nodes:
                if node.kind != "expr":
                    continue
                if not node.eqn.op.cheap or (node.eqn.op.name == "cast" and node.operands[0] in costly):
                    costly.setdefault(node, stage)

    def reload(self, nest: LoopNest, k: int, costly: dict[Node, Stage], node: Node) -> bool:
        """Can stage k read a costly value of an earlier stage? That one then leaves it in an output that is written later.

        Not down the columns of a large output: writing and reading it costs more than computing the value again.
        """
        if node not in costly or (nest.column is not None and any(s.is_large for stage in nest.stages for s in stage.stores)):
            return False
        for stage in nest.stages[k:]:
            for store in stage.stores:
                access = store.access
                if (access.buffer.dtype == node.dtype and access.buffer.role == "output" and store.node is not node
                        and not access.dynamic and self.covers(access)):
                    access.buffer.role = "scratch"
                    costly[node].stores.append(Store(access, node))
                    nest.stages[k].reloads[node] = access
                    return True
        return False

    def covers(self, access: Access) -> bool:
        """Does the output have an element of its own for every point of the domain?"""
        return all(a in access.strides or a.extent == 1 for a in self.domain)

    # Merging axes

    def merge(self) -> None:
        """Joins neighbouring axes that every access walks as one.

        Where the inner one skips places (`x[:, ::2]`), that depends on the size being even. These are two kernels, for rows of
        4 elements are 5 times faster as one loop; one row alone is as fast either way, and stays as it is.
        """
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
        if outer.extent == 1 and inner in self.stepped:
            return False
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


def varying(index: Affine) -> Affine:
    """The index without the axes of extent 1, along which it stays as it is."""
    return Affine(tuple((a, k) for a, k in index.terms if a.extent != 1), index.const)


def reductions(stores: list[Store], round: int) -> list[Node]:
    """The reductions of a round that the stores need."""
    found, seen, pending = [], set(), [n for s in stores for n in s.needs]
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.kind == "reduction" and node.round == round:
            found.append(node)
        pending += node.operands
    return found[::-1]


def divided(nodes: Iterable[Node], moving: frozenset[Axis]) -> tuple[list[Node], list[Node]]:
    """The nodes in two lists: those that stay as they are along the moving axes, and the others."""
    fixed: list[Node] = []
    others: list[Node] = []
    for node in nodes:
        (fixed if node.axes.isdisjoint(moving) else others).append(node)
    return fixed, others


def tile_axis(nest: LoopNest) -> Axis | None:
    """The row axis along which some load is contiguous while the innermost loop strides: the pair is walked in tiles."""
    if nest.form != "map" or not nest.rows or not nest.inner:
        return None
    for access in nest.accesses:
        if access.buffer.role == "input" and abs(access.strides.get(nest.inner[0], 0)) > 1:
            unit = next((a for a in nest.rows if access.strides.get(a, 0) == 1), None)
            if unit is not None:
                return unit
    return None
