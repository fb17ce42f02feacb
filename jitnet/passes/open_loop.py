"""A scan taken apart, for passes that move work between the loop and what stands around it."""
from __future__ import annotations

from ..ir import Atom, Eqn, Graph, Var, definitions
from ..ops import add, reshape, transpose
from ..transforms.values import live
from .rewrite import Rewriter

STACK_BYTES = 64 << 20  # what a pass adds to one loop as arrays over all its rounds is no larger


class OpenScan:
    """The pieces of a scan. consts, carries and xs are pairs: the Var in the body, the atom outside."""

    def __init__(self, eqn: Eqn):
        p, self.eqn = eqn.params, eqn
        self.body, self.length = p["body"], p["length"]
        n_consts, n_carry = p["num_consts"], p["num_carry"]
        pairs = list(zip(self.body.inputs, eqn.inputs, strict=True))
        self.consts, self.carries, self.xs = pairs[:n_consts], pairs[n_consts:n_consts + n_carry], pairs[n_consts + n_carry:]
        self.next, self.ys = list(self.body.outputs[:n_carry]), list(self.body.outputs[n_carry:])
        self.last, self.stacks = list(eqn.outputs[:n_carry]), list(eqn.outputs[n_carry:])  # Vars outside
        self.eqns = list(self.body.eqns)
        self.results: dict[Atom, Atom] = {}  # output of the old equation -> what stands for it now
        self.after = Rewriter()  # equations that read the loop's results
        self.added = 0  # bytes of stacks that were not there before

    def graph(self) -> Graph:
        """The body as it is now."""
        inputs = tuple([v for v, _ in (*self.consts, *self.carries, *self.xs)])
        return self.body.replace(inputs=inputs, eqns=tuple(self.eqns), outputs=(*self.next, *self.ys))

    def reached(self, pairs) -> set[Atom]:
        """The Vars of the body that depend on these inputs."""
        known: set[Atom] = {v for v, _ in pairs}
        for eqn in self.eqns:
            if any(a in known for a in eqn.inputs):
                known.update(eqn.outputs)
        return known

    def sweep(self) -> None:
        """Drops the equations that nothing reads any more."""
        self.eqns = list(live(self.graph()).eqns)

    # Stacks: a value of the body in all rounds, along a new first axis

    def new_bytes(self, atom: Atom, definition: dict[Var, Eqn]) -> int:
        """Bytes that the stack of an atom would add to those that are there."""
        while not self.known(atom) and atom in definition and definition[atom].op in (reshape, transpose):
            atom = definition[atom].inputs[0]
        return 0 if self.known(atom) else self.length * atom.type.nbytes

    def known(self, atom: Atom) -> Atom | None:
        """The stack of an atom where there is one: it is an x, or a y."""
        pairs = [*self.xs, *zip(self.ys, self.stacks)]
        return next((outer for inner, outer in pairs if inner is atom), None)

    def stack(self, atom: Var, definition: dict[Var, Eqn]) -> Atom:
        """The stack of an atom, for equations in `after`; reshaped and transposed outside, where it costs nothing."""
        outer = self.known(atom)
        if outer is not None:
            return outer
        eqn = definition.get(atom)
        if eqn is not None and eqn.op is reshape:
            return self.after.emit(reshape, [self.stack(eqn.inputs[0], definition)], shape=(self.length, *atom.type.shape))
        if eqn is not None and eqn.op is transpose:
            axes = (0, *[a + 1 for a in eqn.params["axes"]])
            return self.after.emit(transpose, [self.stack(eqn.inputs[0], definition)], axes=axes)
        outer = Var(atom.type.with_shape((self.length, *atom.type.shape)))
        self.ys.append(atom)
        self.stacks.append(outer)
        self.added += outer.type.nbytes
        return outer

    # Changes

    def add_terms(self, terms: list[Atom]) -> Var:
        """The sum of atoms of the body, computed at its end."""
        total = terms[0]
        for a in terms[1:]:
            out = Var(total.type)
            self.eqns.append(Eqn(add, (total, a), {}, (out,), self.eqn.source))
            total = out
        return total

    def constant_carries(self) -> None:
        """A carry that every round hands on as it is becomes a const."""
        for k in reversed(range(len(self.carries))):
            if self.next[k] is self.carries[k][0]:
                self.results[self.last[k]] = self.carries[k][1]
                self.consts.append(self.carries[k])
                del self.carries[k], self.next[k], self.last[k]

    def known_stacks(self) -> None:
        """A y that is an x needs no loop."""
        table: dict[Atom, Atom] = dict(self.xs)
        for k in reversed(range(len(self.ys))):
            if self.ys[k] in table:
                self.results[self.stacks[k]] = table[self.ys[k]]
                del self.ys[k], self.stacks[k]

    def close(self, out: Rewriter) -> bool:
        """Writes the equation of the scan as it is now, and those after it; whether anything changed."""
        body = live(self.graph())
        read = {a for eqn in body.eqns for a in eqn.inputs} | set(body.outputs)
        self.consts, self.xs = ([pair for pair in pairs if pair[0] in read] for pairs in (self.consts, self.xs))
        pairs = [*self.consts, *self.carries, *self.xs]
        inputs, outputs = tuple([a for _, a in pairs]), (*self.last, *self.stacks)
        old = self.eqn.inputs, self.eqn.outputs, self.body.eqns, self.body.outputs
        if (inputs, outputs, body.eqns, body.outputs) == old and not self.after.eqns:
            out.add(self.eqn)
            return False
        if outputs:
            params = {**self.eqn.params, "body": self.graph().replace(eqns=body.eqns),
                      "num_consts": len(self.consts), "num_carry": len(self.carries)}
            out.add(self.eqn.replace(inputs=inputs, params=params, outputs=outputs))
        out.env.update(self.results)
        for eqn in self.after.eqns:
            out.add(out.renamed(eqn))
        return True


def definitions_of(loop: OpenScan) -> dict[Var, Eqn]:
    """Var -> the equation of the body that computes it."""
    return definitions(loop.graph())
