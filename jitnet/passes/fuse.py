"""Fusion: a Graph of ops becomes a Graph of kernels.

1. Some values must be stored; they are the roots: outputs of the graph, results of reductions, operands of library calls and
   loops, arrays that gathers pick from, values that cost too much to compute again for every reader, or grew too large.
   Everything else melts into its readers.
2. Every root starts a kernel. Its domain is the shape it loops over: the root's own, or that of what a reduction combines.
3. Kernels grow together over one domain: a root joins the kernel of what it reads when it reads at its own place
   (elementwise), or per row what was reduced over the same axes (softmax, layer norm); siblings join that read the same array.
   What follows a reduction over its rows alone (an epilogue) joins it too. A join that would close a cycle is refused.
4. On a GPU, where every launch costs, arrays of one shape are computed by the kernel that puts them together: its domain is the
   shape of a part, and it computes an element of each part at a time.

Decisions look at which sizes are equal or 1, and whether a reader has more elements than what it reads, but at no size itself:
a new batch size has the same kernels.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from ..codegen.affine import Affine, Axis
from ..ir import Atom, Const, Eqn, Graph, Var, definitions, uses
from ..op_kinds import Elementwise
from .kernel import fusible, is_view, kernel_op, operand_indices, picks_from

INLINE_COST = 6        # arithmetic that may be computed again in every reader rather than stored
EXPENSIVE = 10         # cost of one transcendental function
MAX_DEPTH, MAX_COST = 60, 400   # bounds of what melts into one value: they keep compile time linear
MAX_BUFFERS, MAX_EQNS = 28, 160  # bounds of one kernel
MAX_PARTS = 16         # arrays that a kernel puts together at most: it has a pointer and a place in the output for each

# How a root reads a stored value: at its own place, per row (the axes of the domain that the place leaves out), or otherwise
Relation = str | tuple[int, ...]
ELEMENT, OTHER = "element", "other"


def fuse(graph: Graph, gpu: bool = False) -> Graph:
    """The graph with its equations grouped into kernels."""
    fuser = Fuser(graph, gpu)
    fuser.choose_roots()
    fuser.build()
    return fuser.result()


class Group:
    """A kernel under construction, or an equation that is none (domain None)."""

    __slots__ = ("ancestors", "count", "domain", "id", "reads", "reduce", "roots")

    def __init__(self, id: int, domain: tuple[int, ...] | None, reduce: tuple[int, ...], root: Var):
        self.id, self.domain, self.reduce, self.roots = id, domain, reduce, [root]
        self.reads: dict[Var, set[Relation]] = {}
        self.count = 0       # of the equations that it computes
        self.ancestors = 0   # the ids of all groups that it depends on, as bits

    @property
    def rows(self) -> tuple[int, ...]:
        """The domain without the reduced axes."""
        return tuple(n for k, n in enumerate(self.domain) if k not in self.reduce)


class Fuser:
    """Decides roots and kernels of one graph."""

    def __init__(self, graph: Graph, gpu: bool):
        self.graph, self.definition, self.uses, self.gpu = graph, definitions(graph), uses(graph), gpu
        self.joining: set[Var] = set()     # the concatenations that a kernel does
        self.cost: dict[Var, int] = {}     # arithmetic between a value and the roots it is computed from
        self.depth: dict[Var, int] = {}
        self.roots: set[Var] = set()
        self.groups: dict[int, Group] = {}
        self.group_of: dict[Var, Group] = {}
        self.readers_of: dict[tuple, list[int]] = defaultdict(list)   # (value, domain) -> groups that read it

    # Which values are stored

    def choose_roots(self) -> None:
        for eqn in self.graph.eqns:   # what leaves the kernels
            if self.gpu and is_stack(eqn):
                continue   # decided below, once it is known what it reads
            if not fusible(eqn):
                for atom in eqn.inputs:
                    self.store(atom, strided=eqn.op.kind in ("contraction", "product"))
            elif eqn.op.name == "gather":
                self.store(eqn.inputs[0])
        for atom in self.graph.outputs:
            if type(atom) is Var and atom in self.definition and fusible(self.definition[atom]):
                self.roots.add(atom)
        for eqn in self.graph.eqns:
            if self.gpu and is_stack(eqn):
                self.stack(eqn)
            elif fusible(eqn):
                (v,) = eqn.outputs
                if eqn.op.kind == "reduction" or eqn.op.name == "stored":
                    self.roots.add(v)
                self.weigh(eqn, v)

    def fusible(self, eqn: Eqn) -> bool:
        """Can this equation be part of a kernel?"""
        return fusible(eqn) or eqn.outputs[0] in self.joining

    def stack(self, eqn: Eqn) -> None:
        """Decides whether a kernel puts arrays of one shape together: it may not read too many."""
        reads, cost = self.reads(eqn, eqn.inputs[0].type.shape, ())
        if len(eqn.inputs) <= MAX_PARTS and len(reads) < MAX_BUFFERS and cost <= MAX_EQNS:
            self.joining.add(eqn.outputs[0])
            self.roots.add(eqn.outputs[0])
        else:
            for atom in eqn.inputs:
                self.store(atom)

    def store(self, atom: Atom, strided: bool = False) -> None:
        """Roots the value behind an operand that is read from memory.

        Reshapes of it stay views; so does every affine movement where the reader can walk `strided` memory.
        """
        while type(atom) is Var and atom in self.definition:
            eqn = self.definition[atom]
            if not is_view(eqn) or not (strided or eqn.op.name == "reshape"):
                if fusible(eqn):
                    self.roots.add(atom)
                return
            atom = eqn.inputs[0]

    def weigh(self, eqn: Eqn, v: Var) -> None:
        """Notes the cost and depth of a value, and roots it when it should not be computed in every reader."""
        inner = [a for a in eqn.inputs if type(a) is Var and a in self.cost and a not in self.roots]
        cost = own_cost(eqn) + sum(self.cost[a] for a in inner)
        depth = 1 + max((self.depth[a] for a in inner), default=0)
        if v not in self.roots and eqn.op.kind != "movement":
            readers = self.readers(v)
            shared = len(readers) > 1 or any(e is not None and repeats(v, e) for e in readers)
            if (shared and cost > INLINE_COST) or depth > MAX_DEPTH or cost > MAX_COST:
                self.roots.add(v)
        self.cost[v], self.depth[v] = cost, depth

    def readers(self, var: Var) -> list[Eqn | None]:
        """The equations that read a value, seen through movements; None for an output of the graph."""
        found, pending = [], [var]
        while pending:
            for eqn in self.uses[pending.pop()]:
                if eqn is not None and eqn.op.kind == "movement" and fusible(eqn) and eqn.outputs[0] not in self.roots:
                    pending.append(eqn.outputs[0])
                else:
                    found.append(eqn)
        return found

    # Kernels

    def build(self) -> None:
        """Puts every root, and every equation that cannot be in a kernel, into a group."""
        for eqn in self.graph.eqns:
            if self.fusible(eqn) and eqn.outputs[0] in self.roots:
                self.place(eqn)
            elif is_view(eqn):
                source = eqn.inputs[0]
                if source in self.group_of:
                    self.group_of[eqn.outputs[0]] = self.group_of[source]
            elif not self.fusible(eqn):
                group = Group(len(self.groups), None, (), eqn.outputs[0])
                group.ancestors = self.ancestors(a for a in eqn.inputs if type(a) is Var)
                self.groups[group.id] = group
                self.group_of.update((v, group) for v in eqn.outputs)

    def ancestors(self, variables: Iterable[Var]) -> int:
        """The groups that these values depend on, as bits."""
        mask = 0
        for v in variables:
            group = self.group_of.get(v)
            if group is not None:
                mask |= group.ancestors | 1 << group.id
        return mask

    def place(self, eqn: Eqn) -> None:
        """Joins the kernel of a root with an earlier one, or makes it a new one."""
        (v,) = eqn.outputs
        reduces = eqn.op.kind == "reduction"
        group = Group(len(self.groups), eqn.inputs[0].type.shape if reduces or v in self.joining else v.type.shape,
                      eqn.params["axis"] if reduces else (), v)
        group.reads, group.count = self.reads(eqn, group.domain, group.reduce)
        group.ancestors = self.ancestors(group.reads)
        target = next((t for t in self.candidates(group) if self.may_join(t, group)), None)
        if target is None:
            self.groups[group.id] = target = group
        else:
            self.join(target, group)
        self.group_of[v] = target
        for u in group.reads:
            siblings = self.readers_of[u, group.domain]
            if target.id not in siblings:
                siblings.append(target.id)

    def reads(self, eqn: Eqn, domain, reduce) -> tuple[dict[Var, set[Relation]], int]:
        """(the stored values that a root reads, and how; the number of equations between)."""
        axes = [Axis(n) for n in domain]
        place, reduced = [Affine.of(a) for a in axes], [axes[k] for k in reduce]
        start = [place[k] for k in range(len(domain)) if k not in reduce]
        found: dict[Var, set[Relation]] = defaultdict(set)
        seen, count = set(), 0
        pending = [(eqn, start)]
        while pending:
            e, index = pending.pop()
            count += 1
            for atom, where in zip(e.inputs, operand_indices(e, index, reduced)):
                if type(atom) is not Var:
                    continue
                inner = self.definition.get(atom)
                if where is None or inner is None or atom in self.roots or not self.fusible(inner):
                    found[atom].add(relation(where, place, atom))
                elif (atom, tuple(where)) not in seen:
                    seen.add((atom, tuple(where)))
                    pending.append((inner, where))
        return found, count

    def candidates(self, group: Group) -> Iterator[Group]:
        """Kernels to join: first those of what it reads, then the last ones that read the same over the same domain."""
        seen = set()
        for u in group.reads:
            producer = self.group_of.get(u)
            if producer is not None and producer.id not in seen and producer.domain is not None:
                seen.add(producer.id)
                yield producer
        for u in group.reads:
            for id in self.readers_of[u, group.domain][-4:]:
                if id not in seen:
                    seen.add(id)
                    yield self.groups[id]

    def may_join(self, target: Group, group: Group) -> bool:
        """Can the root of `group` be computed in the loops of `target`?"""
        buffers = len(target.reads.keys() | group.reads.keys()) + len(target.roots) + 1
        if buffers > MAX_BUFFERS or target.count + group.count > MAX_EQNS:
            return False
        if (target.reduce or group.reduce) and not self.joining.isdisjoint((*target.roots, *group.roots)):
            return False
        own = {u for u in group.reads if self.group_of.get(u) is target}
        if not own.isdisjoint(self.joining):   # each point of the loops knows other parts of it
            return False
        if any(self.ancestors([u]) >> target.id & 1 for u in group.reads.keys() - own):
            return False   # would close a cycle
        if not own <= set(target.roots):   # a view of something the kernel stores
            return False
        if group.domain == target.domain:
            return self.may_join_elements(target, group, own)
        return bool(own) and self.may_join_rows(target, group, own)

    def may_join_elements(self, target: Group, group: Group, own: set[Var]) -> bool:
        """Do the kernels reduce the same axes, and does one read the other's values where they are known?"""
        if target.reduce and group.reduce and target.reduce != group.reduce:
            return False
        reduce = target.reduce or group.reduce
        for u in own:
            per_row = self.definition[u].op.kind == "reduction" or u.type.shape != target.domain
            if group.reads[u] != {reduce if per_row else ELEMENT}:
                return False
            if per_row and len(reduce) == len(target.domain):   # a single row: nothing would run in parallel
                return False
        return True

    def may_join_rows(self, target: Group, group: Group, own: set[Var]) -> bool:
        """Is this an elementwise root over the rows of a reduction (its epilogue)?"""
        keepdims = tuple(1 if k in target.reduce else n for k, n in enumerate(target.domain))
        if group.reduce or not target.reduce or group.domain not in (target.rows, keepdims):
            return False
        kept = group.domain != target.rows
        return all(group.reads[u] == {target.reduce if kept and u.type.shape == target.rows else ELEMENT} for u in own)

    def join(self, target: Group, group: Group) -> None:
        target.roots += group.roots
        target.count += group.count
        if group.domain == target.domain:
            target.reduce = target.reduce or group.reduce
        for u, relations in group.reads.items():
            if self.group_of.get(u) is not target:
                target.reads.setdefault(u, set()).update(relations)
        added = group.ancestors & ~(1 << target.id) & ~target.ancestors
        target.ancestors |= added
        if added:
            for other in self.groups.values():
                if other.ancestors >> target.id & 1:
                    other.ancestors |= target.ancestors

    # The graph of kernels

    def result(self) -> Graph:
        """The graph of kernels, of what cannot be in one, and of views of what these store."""
        position = {eqn: k for k, eqn in enumerate(self.graph.eqns)}
        groups = [group for group in self.groups.values() if group.domain is not None]
        stored = {v for group in groups for v in group.roots}
        members = [self.members(group, stored) for group in groups]
        opaque = [eqn for eqn in self.graph.eqns if not self.fusible(eqn) and not is_view(eqn)]
        outer = [*(a for _, inputs in members for a in inputs), *(a for eqn in opaque for a in eqn.inputs), *self.graph.outputs]
        views = self.views(outer, stored)
        read = {*outer, *(eqn.inputs[0] for eqn in views)}
        kernels = [kernel_eqn(group, sorted(eqns, key=position.__getitem__), inputs, [v for v in group.roots if v in read])
                   for group, (eqns, inputs) in zip(groups, members)]
        ordered = order([*kernels, *opaque, *views], lambda eqn: position[self.definition[eqn.outputs[0]]])
        return self.graph.replace("fuse", eqns=tuple(ordered))

    def members(self, group: Group, stored: set[Var]) -> tuple[list[Eqn], list[Atom]]:
        """The equations that a kernel computes, and the arrays it reads."""
        own = set(group.roots)
        eqns: dict[Eqn, None] = {}
        inputs: dict[Atom, None] = {}
        pending = list(group.roots)
        while pending:
            eqn = self.definition[pending.pop()]
            if eqn in eqns:
                continue
            eqns[eqn] = None
            for k, atom in enumerate(eqn.inputs):
                if type(atom) is Const:
                    if not atom.is_scalar:
                        inputs[atom] = None
                    continue
                inner = self.definition.get(atom)
                melts = inner is not None and self.fusible(inner) and atom not in stored and not picks_from(eqn, k)
                if atom in own or melts:
                    pending.append(atom)
                else:
                    inputs[atom] = None
        return list(eqns), list(inputs)

    def views(self, wanted: Iterable[Atom], stored: set[Var]) -> list[Eqn]:
        """Movements that stay outside kernels because something reads their result from memory."""
        found: dict[Eqn, None] = {}
        pending = list(wanted)
        while pending:
            atom = pending.pop()
            eqn = self.definition.get(atom)
            if eqn is not None and atom not in stored and is_view(eqn) and eqn not in found:
                found[eqn] = None
                pending.append(eqn.inputs[0])
        return list(found)


def own_cost(eqn: Eqn) -> int:
    """The cost of an equation alone: 1 for light arithmetic, 0 for a movement."""
    if (isinstance(eqn.op, Elementwise) and not eqn.op.cheap) or eqn.op.name == "gather":
        return EXPENSIVE
    return 0 if eqn.op.kind == "movement" else 1


def is_stack(eqn: Eqn) -> bool:
    """Does the equation put arrays of one shape together?"""
    first, *others = eqn.inputs if eqn.op.name == "concatenate" else [None]
    return bool(others) and all(a.type.shape == first.type.shape for a in others)


def repeats(v: Var, eqn: Eqn) -> bool:
    """Does the equation read the value at more places than it has elements (broadcast)?"""
    if eqn.op.name == "concatenate":
        return False
    read = eqn.inputs[0].type.size if eqn.op.kind == "reduction" else eqn.outputs[0].type.size
    return read > v.type.size


def relation(where: list[Affine] | None, place: list[Affine], u: Var) -> Relation:
    """How the index at which `u` is read relates to the place of the loops."""
    if where is None:
        return OTHER
    if list(where) == place:
        return ELEMENT
    where = [w for w, n in zip(where, u.type.shape) if w.terms or w.const or n != 1]   # reduced axes may be kept with size 1
    positions = {p: k for k, p in enumerate(place)}
    found = [positions.get(w, -1) for w in where]
    if -1 in found or found != sorted(set(found)):
        return OTHER
    return tuple(k for k in range(len(place)) if k not in found)


def kernel_eqn(group: Group, eqns: list[Eqn], inputs: list[Atom], outputs: list[Var]) -> Eqn:
    """The equation of a kernel; its body has Vars of its own."""
    read = {a: Var(a.type, getattr(a, "name", "")) for a in inputs}
    made = {v: Var(v.type, v.name) for eqn in eqns for v in eqn.outputs}

    def operand(eqn: Eqn, k: int, atom: Atom) -> Atom:
        # A view may be both: a gather picks from it in memory, others compute its elements.
        if atom in read and (atom not in made or picks_from(eqn, k)):
            return read[atom]
        return made.get(atom, atom)

    body_eqns = tuple(eqn.replace(inputs=tuple(operand(eqn, k, a) for k, a in enumerate(eqn.inputs)),
                                  outputs=tuple(made[v] for v in eqn.outputs)) for eqn in eqns)
    body = Graph(tuple(read.values()), body_eqns, tuple(made[v] for v in outputs), "kernel")
    params = {"body": body, "domain": tuple(group.domain), "reduce": tuple(group.reduce)}
    return Eqn(kernel_op, tuple(inputs), params, tuple(outputs), eqns[-1].source)


def order(eqns: list[Eqn], rank: Callable[[Eqn], int]) -> list[Eqn]:
    """The equations in an order in which everything is defined before it is read, as close to that of `rank` as can be."""
    producer = {v: eqn for eqn in eqns for v in eqn.outputs}
    result, seen = [], set()
    for root in sorted(eqns, key=rank):
        stack = [(root, False)]
        while stack:
            eqn, ready = stack.pop()
            if ready:
                result.append(eqn)
            elif eqn not in seen:
                seen.add(eqn)
                stack.append((eqn, True))
                needed = (producer[a] for a in reversed(eqn.inputs) if a in producer)
                stack += [(e, False) for e in needed if e not in seen]
    return result
