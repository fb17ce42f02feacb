"""Fusion: a Graph of ops becomes a Graph of kernels.

1. Some values must be stored (they are the roots): outputs, operands of library calls and loops, sources of gathers, results of reductions, values that
   several readers share and that cost too much to compute twice. Everything else melts into its readers.
2. Every root starts a kernel. Its domain is the shape it loops over; a reduction adds the axes it reduces.
3. Kernels over one domain grow together: a reader joins the kernel of what it reads when it reads at its own place (elementwise), or reads per row
   what was reduced over the same axes (softmax, layer norm); siblings join that read the same array. A join that would close a cycle is refused.

No decision depends on a size (only on which sizes are equal or 1), so a new batch size has the same kernels.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ..codegen.affine import Affine, Axis
from ..ir import Atom, Const, Eqn, Graph, Var, definitions, eval_graph, uses
from ..op import Control, Elementwise

INLINE_COST = 6        # arithmetic that may be computed again in every reader rather than stored
EXPENSIVE = 10         # cost of one transcendental function
MAX_DEPTH, MAX_COST = 60, 400   # bounds of what melts into one value: they keep compile time linear
MAX_BUFFERS, MAX_EQNS = 28, 160  # bounds of one kernel


class KernelOp(Control):
    """One fused kernel. params: body (Graph), domain (the shape it loops over), reduce (axes of the domain that its reductions combine)."""

    kind = "kernel"

    def out_types(self, types, params):
        return [a.type for a in params["body"].outputs]

    def evaluate(self, arrays, params):
        return eval_graph(params["body"], *arrays)


def kernel(*arrays, body, domain, reduce):
    """The outputs of a fused body."""
    return eval_graph(body, *arrays)


kernel_op = KernelOp(kernel)


def fusible(eqn: Eqn) -> bool:
    """Can this equation be part of a kernel?"""
    kind = eqn.op.kind
    if kind == "movement":
        return maps_index(eqn)
    return kind in ("elementwise", "creation", "reduction") or eqn.op.name == "gather"


def maps_index(eqn: Eqn) -> bool:
    """Is this movement an affine index map?"""
    if eqn.op.index_map is None:
        return False
    index = [Affine.of(Axis(n)) for n in eqn.outputs[0].type.shape]
    return eqn.op.index_map(index, eqn.inputs[0].type, eqn.params) is not None


def is_view(eqn: Eqn) -> bool:
    """Is this a movement that the reader of a stored array can see through: an affine map, or a reshape of contiguous memory?"""
    return eqn.op.kind == "movement" and (eqn.op.name == "reshape" or maps_index(eqn))


def operand_index(index: list[Affine], shape: tuple[int, ...], out_shape: tuple[int, ...]) -> list[Affine]:
    """The index at which an operand of that shape is read when its broadcast result is wanted at `index`."""
    offset = len(out_shape) - len(shape)
    return [Affine() if n == 1 and out_shape[offset + k] != 1 else index[offset + k] for k, n in enumerate(shape)]


def operand_indices(eqn: Eqn, index: list[Affine], reduce_axes: list[Axis] = ()) -> list[list[Affine] | None]:
    """Per operand the index it is read at; None for the array a gather picks from (its place depends on data)."""
    op = eqn.op
    if op.kind == "movement":
        return [op.index_map(index, eqn.inputs[0].type, eqn.params)]
    if op.kind == "reduction":
        rest, inner = iter(index), iter(reduce_axes)
        axes = eqn.params["axis"]
        return [[Affine.of(next(inner)) if k in axes else next(rest) for k in range(eqn.inputs[0].type.ndim)]]
    if op.name == "gather":
        n = eqn.inputs[1].type.ndim
        return [None] + [index[:n]] * (len(eqn.inputs) - 1)
    return [operand_index(index, a.type.shape, eqn.outputs[0].type.shape) for a in eqn.inputs]


class _Kernel:
    """A kernel under construction."""

    __slots__ = ("id", "domain", "reduce", "roots", "ancestors", "reads", "cost")

    def __init__(self, id: int, domain, reduce, root: Var):
        self.id, self.domain, self.reduce, self.roots = id, domain, reduce, [root]
        self.ancestors = 0
        self.reads: dict[Var, set[str]] = {}
        self.cost = 0

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(n for k, n in enumerate(self.domain) if k not in self.reduce)


class Fuser:
    """Decides roots and kernels of one graph."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.definition = definitions(graph)
        self.uses = uses(graph)
        self.cost: dict[Var, int] = {}
        self.depth: dict[Var, int] = {}
        self.roots: set[Var] = set()
        self.kernel_of: dict[Var, _Kernel] = {}
        self.kernels: dict[int, _Kernel] = {}

    # Which values are stored

    def readers(self, var: Var) -> list[tuple[Eqn | None, Var]]:
        """(equation, operand) of everything that reads a value, seen through movements."""
        found, pending = [], [var]
        while pending:
            v = pending.pop()
            for eqn in self.uses[v]:
                if eqn is not None and eqn.op.kind == "movement" and fusible(eqn) and eqn.outputs[0] not in self.roots:
                    pending.append(eqn.outputs[0])
                else:
                    found.append((eqn, v))
        return found

    def choose_roots(self) -> None:
        for eqn in self.graph.eqns:   # forced: what leaves the kernels
            if not fusible(eqn):
                for atom in eqn.inputs:
                    self._store(atom, strided=eqn.op.kind == "contraction")
            elif eqn.op.name == "gather":
                self._store(eqn.inputs[0])
        for atom in self.graph.outputs:
            if type(atom) is Var and atom in self.definition and fusible(self.definition[atom]):
                self.roots.add(atom)
        for eqn in self.graph.eqns:
            if fusible(eqn):
                for v in eqn.outputs:
                    if eqn.op.kind == "reduction" or eqn.op.name == "stored":
                        self.roots.add(v)
                    self._weigh(eqn, v)

    def _store(self, atom: Atom, strided: bool = False) -> None:
        """Roots the value behind an operand that is read from memory; reshapes of it (any affine movement if it may be strided) stay views."""
        while type(atom) is Var and atom in self.definition:
            eqn = self.definition[atom]
            if not is_view(eqn) or not (strided or eqn.op.name == "reshape"):
                if fusible(eqn):
                    self.roots.add(atom)
                return
            atom = eqn.inputs[0]

    def _weigh(self, eqn: Eqn, v: Var) -> None:
        own = EXPENSIVE if isinstance(eqn.op, Elementwise) and not eqn.op.cheap or eqn.op.name == "gather" else eqn.op.kind != "movement"
        inner = [a for a in eqn.inputs if type(a) is Var and a in self.cost and a not in self.roots]
        cost = own + sum(self.cost[a] for a in inner)
        depth = 1 + max((self.depth[a] for a in inner), default=0)
        if v not in self.roots and eqn.op.kind != "movement":
            readers = self.readers(v)
            shared = len(readers) > 1 and cost > INLINE_COST
            spread = cost > INLINE_COST and any(e is not None and self._repeats(v, e) for e, _ in readers)
            if shared or spread or depth > MAX_DEPTH or cost > MAX_COST:
                self.roots.add(v)
        self.cost[v], self.depth[v] = cost, depth

    def _repeats(self, v: Var, eqn: Eqn) -> bool:
        """Is the value read at more places than it has elements (broadcast)?"""
        read = eqn.inputs[0].type.size if eqn.op.kind == "reduction" else eqn.outputs[0].type.size
        return read > v.type.size

    # Kernels

    def build(self) -> None:
        self.choose_roots()
        opaque: dict[Eqn, _Kernel] = {}
        by_read: dict[tuple, list[int]] = defaultdict(list)
        for eqn in self.graph.eqns:
            if not fusible(eqn):
                if is_view(eqn):
                    self.kernel_of_view(eqn)
                    continue
                node = _Kernel(len(self.kernels), None, (), eqn.outputs[0])
                self.kernels[node.id] = node
                opaque[eqn] = node
                for v in eqn.outputs:
                    self.kernel_of[v] = node
                node.ancestors = self._ancestors(a for a in eqn.inputs if type(a) is Var)
                continue
            for v in eqn.outputs:
                if v in self.roots:
                    self._place(eqn, v, by_read)
                elif is_view(eqn):
                    self.kernel_of_view(eqn)

    def kernel_of_view(self, eqn: Eqn) -> None:
        source = eqn.inputs[0]
        if type(source) is Var and source in self.kernel_of:
            self.kernel_of[eqn.outputs[0]] = self.kernel_of[source]

    def _ancestors(self, variables: Iterable[Var]) -> int:
        mask = 0
        for v in variables:
            node = self.kernel_of.get(v)
            if node is not None:
                mask |= node.ancestors | 1 << node.id
        return mask

    def _place(self, eqn: Eqn, v: Var, by_read) -> None:
        reduce = eqn.params["axis"] if eqn.op.kind == "reduction" else ()
        domain = eqn.inputs[0].type.shape if reduce or eqn.op.kind == "reduction" else v.type.shape
        node = _Kernel(len(self.kernels), domain, reduce, v)
        node.reads, node.cost = self._reads(eqn, v, domain, reduce)
        node.ancestors = self._ancestors(node.reads)
        target = None
        for candidate in self._candidates(node, by_read):
            if self._may_join(candidate, node):
                target = candidate
                break
        if target is None:
            self.kernels[node.id] = target = node
        else:
            self._join(target, node)
        self.kernel_of[v] = target
        for u in node.reads:
            siblings = by_read[u, node.domain]
            if target.id not in siblings:
                siblings.append(target.id)

    def _reads(self, eqn: Eqn, v: Var, domain, reduce) -> tuple[dict[Var, set[str]], int]:
        """The stored values this root reads, and how: "element" (at its own place), "row" (its place less the reduced axes), "other"."""
        axes = [Axis(n) for n in domain]
        place = [Affine.of(a) for a in axes]
        start = [place[k] for k in range(len(domain)) if k not in reduce] if eqn.op.kind == "reduction" else place
        reads: dict[Var, set] = defaultdict(set)
        seen, cost = set(), 0
        pending = [(eqn, start)]
        while pending:
            e, index = pending.pop()
            cost += 1
            for atom, where in zip(e.inputs, operand_indices(e, index, [axes[k] for k in reduce])):
                if type(atom) is not Var:
                    continue
                inner = self.definition.get(atom)
                if where is not None and inner is not None and fusible(inner) and atom not in self.roots:
                    if (atom, tuple(where)) not in seen:
                        seen.add((atom, tuple(where)))
                        pending.append((inner, where))
                else:
                    reads[atom].add(tuple(where) if where is not None else None)
        return {u: {self._relation(w, place, u) for w in where} for u, where in reads.items()}, cost

    @staticmethod
    def _relation(where, place, u):
        """How an index relates to the place of the loops: ("element", ()), ("row", dropped axes), or "other"."""
        if where is None:
            return "other"
        if list(where) == place:
            return "element", ()
        where = [w for w, n in zip(where, u.type.shape) if w.terms or w.const or n != 1]   # reduced axes may be kept with size 1
        positions = {p: k for k, p in enumerate(place)}
        found = [positions.get(w, -1) for w in where]
        if -1 in found or found != sorted(set(found)):
            return "other"
        return "row", tuple(k for k in range(len(place)) if k not in found)

    def _candidates(self, node: _Kernel, by_read):
        seen = set()
        for u in node.reads:
            producer = self.kernel_of.get(u)
            if producer is not None and producer.id not in seen and producer.domain is not None:
                seen.add(producer.id)
                yield producer
        for u in node.reads:
            for id in by_read[u, node.domain][-4:]:
                if id in self.kernels and id not in seen:
                    seen.add(id)
                    yield self.kernels[id]

    def _may_join(self, target: _Kernel, node: _Kernel) -> bool:
        if node.domain != target.domain:
            return self._may_join_rows(target, node)
        if target.reduce and node.reduce and target.reduce != node.reduce:
            return False
        reduce = target.reduce or node.reduce
        if self._too_large(target, node):
            return False
        for u, relations in node.reads.items():
            if self.kernel_of.get(u) is not target:
                if target.id == self._id(u) or self._ancestors([u]) >> target.id & 1:
                    return False
                continue
            if u not in target.roots:   # a view of something this kernel stores
                return False
            for relation in relations:
                if relation == "other":
                    return False
                is_row = self.definition[u].op.kind == "reduction" or u.type.shape != target.domain
                if is_row and (relation != ("row", reduce) or not self._has_rows(target.domain, reduce)):
                    return False
                if not is_row and relation != ("element", ()):
                    return False
        return True

    @staticmethod
    def _has_rows(domain, reduce) -> bool:
        return len(reduce) < len(domain)

    def _may_join_rows(self, target: _Kernel, node: _Kernel) -> bool:
        """Does an elementwise root over the rows of a reduction join it (its epilogue)?"""
        if node.reduce or not target.reduce or self._too_large(target, node):
            return False
        keep = tuple(1 if k in target.reduce else n for k, n in enumerate(target.domain))
        if node.domain not in (target.rows, keep):
            return False
        kept = node.domain != target.rows
        for u, relations in node.reads.items():
            if self.kernel_of.get(u) is target:
                if u not in target.roots or u.type.shape == target.domain and not kept and target.rows != target.domain:
                    return False
                wanted = ("row", target.reduce) if kept and u.type.shape == target.rows else ("element", ())
                if any(r != wanted for r in relations):
                    return False
            elif self._ancestors([u]) >> target.id & 1:
                return False
        return any(self.kernel_of.get(u) is target for u in node.reads)

    def _id(self, u: Var) -> int:
        node = self.kernel_of.get(u)
        return -1 if node is None else node.id

    @staticmethod
    def _too_large(target, node) -> bool:
        return (len(target.reads.keys() | node.reads.keys()) + len(target.roots) + 1 > MAX_BUFFERS
                or target.cost + node.cost > MAX_EQNS)

    def _join(self, target: _Kernel, node: _Kernel) -> None:
        target.roots += node.roots
        target.cost += node.cost
        if node.domain == target.domain:
            target.reduce = target.reduce or node.reduce
        for u, relations in node.reads.items():
            if self.kernel_of.get(u) is not target:
                target.reads.setdefault(u, set()).update(relations)
        new = node.ancestors & ~(1 << target.id)
        added = new & ~target.ancestors
        target.ancestors |= new
        if added:
            for other in self.kernels.values():
                if other.ancestors >> target.id & 1:
                    other.ancestors |= target.ancestors

    # The graph of kernels

    def result(self) -> Graph:
        position = {eqn: k for k, eqn in enumerate(self.graph.eqns)}
        nodes = [node for node in self.kernels.values() if node.domain is not None]
        stored = {v for node in nodes for v in node.roots}
        members = [self._members(node, stored) for node in nodes]
        opaque = [eqn for eqn in self.graph.eqns if not fusible(eqn) and not is_view(eqn)]
        outer = [a for _, inputs in members for a in inputs] + [a for eqn in opaque for a in eqn.inputs] + list(self.graph.outputs)
        views = self._views(outer, stored)
        read = {*outer, *(eqn.inputs[0] for eqn in views)}
        emitted = [self._kernel_eqn(node, sorted(eqns, key=position.__getitem__), inputs, [v for v in node.roots if v in read])
                   for node, (eqns, inputs) in zip(nodes, members)]
        ordered = order([*emitted, *opaque, *views], lambda eqn: position[self.definition[eqn.outputs[0]]])
        return self.graph.replace("fuse", eqns=tuple(ordered))

    def _members(self, node: _Kernel, stored: set[Var]) -> tuple[list[Eqn], list[Atom]]:
        """The equations that a kernel computes, and the arrays it reads."""
        own, eqns, inputs = set(node.roots), {}, {}
        pending = list(node.roots)
        while pending:
            eqn = self.definition[pending.pop()]
            if eqn in eqns:
                continue
            eqns[eqn] = True
            for k, atom in enumerate(eqn.inputs):
                if type(atom) is Const:
                    if not atom.is_scalar:
                        inputs[atom] = True
                    continue
                inner = self.definition.get(atom)
                picked_from = eqn.op.name == "gather" and k == 0
                if atom in own or not picked_from and inner is not None and fusible(inner) and atom not in stored:
                    pending.append(atom)
                else:
                    inputs[atom] = True
        return list(eqns), list(inputs)

    def _kernel_eqn(self, node: _Kernel, eqns: list[Eqn], inputs: list[Atom], outputs: list[Var]) -> Eqn:
        """The equation of a kernel; its body has Vars of its own."""
        read = {a: Var(a.type, getattr(a, "name", "")) for a in inputs}
        made = {v: Var(v.type, v.name) for eqn in eqns for v in eqn.outputs}

        def operand(e: Eqn, k: int, a: Atom) -> Atom:   # a view may be both: a gather picks from it in memory, others compute its elements
            return read[a] if a in read and (a not in made or e.op.name == "gather" and k == 0) else made.get(a, a)

        body = Graph(tuple(read.values()),
                     tuple(e.replace(inputs=tuple(operand(e, k, a) for k, a in enumerate(e.inputs)), outputs=tuple(made[v] for v in e.outputs))
                           for e in eqns),
                     tuple(made[v] for v in outputs), "kernel")
        params = {"body": body, "domain": tuple(node.domain), "reduce": tuple(node.reduce)}
        return Eqn(kernel_op, tuple(inputs), params, tuple(outputs), eqns[-1].source)

    def _views(self, wanted, stored) -> list[Eqn]:
        """Movements that stay outside kernels because something reads their result from memory."""
        views, pending = {}, list(wanted)
        while pending:
            a = pending.pop()
            eqn = self.definition.get(a) if type(a) is Var else None
            if eqn is not None and a not in stored and is_view(eqn) and eqn not in views:
                views[eqn] = True
                pending.append(eqn.inputs[0])
        return list(views)


def order(eqns: list[Eqn], rank) -> list[Eqn]:
    """The equations in an order in which everything is defined before it is read, as close to that of `rank` as can be."""
    producer = {v: eqn for eqn in eqns for v in eqn.outputs}
    result, state = [], set()
    for root in sorted(eqns, key=rank):
        stack = [(root, False)]
        while stack:
            eqn, ready = stack.pop()
            if ready:
                result.append(eqn)
            elif eqn not in state:
                state.add(eqn)
                stack.append((eqn, True))
                stack += [(producer[a], False) for a in reversed(eqn.inputs) if type(a) is Var and a in producer and producer[a] not in state]
    return result


def fuse(graph: Graph) -> Graph:
    """The graph with its equations grouped into kernels."""
    fuser = Fuser(graph)
    fuser.build()
    return fuser.result()
