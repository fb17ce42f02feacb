"""simplify: local algebra. A rule looks at one equation and what makes its operands, and gives an equal equation or atom.

Every rule is exact: it keeps dtype, NaN, infinities and the sign of zero (of a NaN only that it is one). Only the third power
may differ from NumPy's, in the last place, and the sums of matrix products, whose order no library promises. No rule looks at
a size other than to find a movement that moves nothing or a sum over nothing: the same rules fire for every batch size.

One walk over the equations: operands are simple already when an equation is reached, and its rules run until none fires.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from .. import ops
from ..ir import Atom, Const, Eqn, Graph, Var
from ..op_kinds import Elementwise
from ..types import broadcast_shapes
from .rewrite import Rewriter, everywhere
from .simplify_elementwise import RULES as ELEMENTWISE
from .simplify_movement import RULES as MOVEMENT

MAX_STEPS = 16  # rewrites of one equation: far more than any chain of rules, a bound all the same

Rule = Callable[["Simplifier", Eqn], "Atom | Eqn | None"]


class Simplifier(Rewriter):
    """A Graph being simplified: what rules ask, and what they answer with."""

    __slots__ = ("changed", "old", "readers", "uniform")

    def __init__(self, old: Graph):
        super().__init__()
        self.old = old
        self.readers: Counter[Atom] | None = None
        self.changed = False
        self.uniform: dict[Const, Const | None] = {}

    # What rules ask

    def made_by(self, op, atom: Atom) -> Eqn | None:
        """The equation that computes an atom, when it is one of this op."""
        eqn = self.definition.get(atom)
        return eqn if eqn is not None and eqn.op is op else None

    def operand_of(self, op, atom: Atom) -> Atom | None:
        """u for an atom that is op(u)."""
        eqn = self.definition.get(atom)
        return eqn.inputs[0] if eqn is not None and eqn.op is op else None

    def read_once(self, atom: Atom) -> bool:
        """Whether the graph that is simplified reads an atom in one place."""
        if self.readers is None:
            self.readers = Counter(self.old.outputs)
            for eqn in self.old.eqns:
                self.readers.update(eqn.inputs)
        return self.readers[atom] == 1

    def unspread(self, atom: Atom) -> Atom:
        """What an atom repeats: the operand of a broadcast, the one value of a uniform array; otherwise the atom itself."""
        if type(atom) is Const:
            return (self._uniform_value(atom) or atom) if atom.type.shape else atom
        eqn = self.definition.get(atom)
        if eqn is None:
            return atom
        spreads = eqn.op is ops.broadcast_to or (eqn.op is ops.reshape and not eqn.inputs[0].type.shape)
        return eqn.inputs[0] if spreads else atom

    def splat(self, atom: Atom) -> Atom | None:
        """The 0-d atom that an array repeats everywhere; None when it is not such an array."""
        source = self.unspread(atom)
        return source if not source.type.shape else None

    def _uniform_value(self, const: Const) -> Const | None:
        if const not in self.uniform:
            bits = np.ascontiguousarray(const.value).reshape(-1).view(f"u{const.value.itemsize}")
            same = bits.size > 0 and bits[0] == bits[-1] and bool((bits == bits[0]).all())
            self.uniform[const] = Const(const.value.flat[0]) if same else None
        return self.uniform[const]

    # What they answer with

    def becomes(self, eqn: Eqn, op, *inputs: Atom, **params) -> Eqn:
        """The same output, computed by op(inputs)."""
        return Eqn(op, inputs, op.canonical([a.type for a in inputs], params) if params else {}, eqn.outputs, eqn.source)

    def shaped(self, eqn: Eqn, atom: Atom) -> Atom | Eqn:
        """The atom in the shape of the output: itself, or a broadcast of it."""
        shape = eqn.outputs[0].type.shape
        return atom if atom.type.shape == shape else self.becomes(eqn, ops.broadcast_to, atom, shape=shape)

    def emit(self, op, inputs: Sequence[Atom], **params) -> Atom:
        """op(inputs), simplified, as an atom."""
        params = op.canonical([a.type for a in inputs], params) if params else params
        (type_,) = op.out_types([a.type for a in inputs], params)
        return self.place(Eqn(op, tuple(inputs), params, (Var(type_),), self.source))

    def place(self, eqn: Eqn) -> Atom:
        """The atom that stands for the output of an equation, which is written down unless a rule finds that atom elsewhere."""
        for _ in range(MAX_STEPS):
            for rule in RULES[eqn.op]:
                new = rule(self, eqn)
                if new is not None:
                    break
            else:
                break
            self.changed = True
            if type(new) is not Eqn:
                return new
            eqn = new
        self.add(eqn)
        return eqn.outputs[0]


def read_through_broadcasts(s: Simplifier, eqn: Eqn) -> Atom | Eqn | None:
    """f(broadcast_to(x), y) -> f(x, y), and f(broadcast_to(x)) -> broadcast_to(f(x)): operands broadcast by themselves."""
    inputs = eqn.inputs
    sources = [s.unspread(a) for a in inputs]
    for a, b in zip(inputs, sources):
        if a is not b:
            break
    else:
        return None
    shape = broadcast_shapes(*[a.type.shape for a in sources])
    if shape == eqn.outputs[0].type.shape:
        return Eqn(eqn.op, tuple(sources), eqn.params, eqn.outputs, eqn.source)
    return s.shaped(eqn, s.emit(eqn.op, sources, **eqn.params))


class _Rules(dict):
    """op -> its rules: those of the tables, and for elementwise ops (users' own too) first the one above."""

    def __missing__(self, op) -> tuple[Rule, ...]:
        general = (read_through_broadcasts,) if isinstance(op, Elementwise) else ()
        special = ELEMENTWISE.get(op) or MOVEMENT.get(op)
        self[op] = rules = (*general, special) if special else general
        return rules


RULES = _Rules()


@everywhere
def simplify(graph: Graph) -> Graph:
    """The graph after local algebra."""
    s = Simplifier(graph)
    env = s.env
    for eqn in graph.eqns:
        new = s.renamed(eqn) if env else eqn
        if not RULES[new.op]:
            s.add(new)
            continue
        s.source = eqn.source
        atom = s.place(new)
        if atom is not eqn.outputs[0]:
            env[eqn.outputs[0]] = atom
    return s.graph(graph, "simplify") if s.changed else graph
