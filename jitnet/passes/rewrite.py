"""What the passes are written with: `Rewriter`, a Graph being written from another one, and passes that reach inner Graphs too.

A pass walks the equations once, in order. `env` says which atom stands for a Var of the old graph (itself where nothing
changed); Vars that keep their meaning keep their identity, so most equations go over as they are.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

import numpy as np

from ..ir import Atom, Const, Eqn, Graph, Var
from ..types import ArrayType


class Rewriter:
    """A Graph being written: its equations, what they define, and which atom stands for which Var of the old graph."""

    __slots__ = ("definition", "env", "eqns", "source")

    def __init__(self):
        self.eqns: list[Eqn] = []
        self.env: dict[Var, Atom] = {}
        self.definition: dict[Atom, Eqn] = {}
        self.source = None  # of the equation that is being rewritten

    def renamed(self, eqn: Eqn) -> Eqn:
        """The equation reading the atoms that stand for its inputs."""
        env = self.env
        for atom in eqn.inputs:
            if atom in env:
                return Eqn(eqn.op, tuple([env.get(a, a) for a in eqn.inputs]), eqn.params, eqn.outputs, eqn.source)
        return eqn

    def add(self, eqn: Eqn) -> None:
        """Appends an equation as it is."""
        self.eqns.append(eqn)
        for out in eqn.outputs:
            self.definition[out] = eqn

    def emit(self, op, inputs: Sequence[Atom], **params) -> Var:
        """Appends op(inputs) and returns its (one) output."""
        params = op.canonical([a.type for a in inputs], params) if params else params
        (type_,) = op.out_types([a.type for a in inputs], params)
        out = Var(type_)
        self.add(Eqn(op, tuple(inputs), params, (out,), self.source))
        return out

    def inline(self, graph: Graph, args: Sequence[Atom]) -> list[Atom]:
        """Appends the equations of a graph, applied to atoms, under fresh Vars; returns its outputs."""
        table: dict[Atom, Atom] = dict(zip(graph.inputs, args, strict=True))
        for eqn in graph.eqns:
            outs = tuple([Var(v.type, v.name) for v in eqn.outputs])
            table.update(zip(eqn.outputs, outs))
            self.add(Eqn(eqn.op, tuple([table.get(a, a) for a in eqn.inputs]), eqn.params, outs, eqn.source or self.source))
        return [table.get(a, a) for a in graph.outputs]

    def graph(self, old: Graph, name: str) -> Graph:
        """The old graph with the equations written here."""
        return old.replace(name, eqns=tuple(self.eqns), outputs=tuple([self.env.get(a, a) for a in old.outputs]))


def scalar(value, dtype: np.dtype) -> Const:
    """A 0-d constant."""
    return Const(np.asarray(value, dtype))


def same_type(a: ArrayType, b: ArrayType) -> bool:
    """Whether two types have the same shape and dtype."""
    return a.shape == b.shape and a.dtype == b.dtype


def map_subgraphs(eqn: Eqn, transform: Callable[[Graph], Graph]) -> Eqn:
    """The equation with `transform` applied to the Graphs among its parameters; the same object when none of them changed."""
    changes = {}
    for name, value in eqn.params.items():
        if isinstance(value, Graph):
            new = transform(value)
            if new is not value:
                changes[name] = new
        elif isinstance(value, tuple) and value and isinstance(value[0], Graph):
            new = tuple([transform(g) for g in value])
            if any(a is not b for a, b in zip(new, value)):
                changes[name] = new
    return eqn.replace(params={**eqn.params, **changes}) if changes else eqn


def map_inner(graph: Graph, transform: Callable[[Graph], Graph]) -> Graph:
    """The graph with `transform` applied to the Graphs inside its equations; the same object when none of them changed."""
    if not any(eqn.op.kind == "control" for eqn in graph.eqns):
        return graph
    eqns = tuple([map_subgraphs(eqn, transform) if eqn.op.kind == "control" else eqn for eqn in graph.eqns])
    return graph if all(a is b for a, b in zip(eqns, graph.eqns)) else graph.replace(eqns=eqns)


def everywhere(transform: Callable[[Graph], Graph]) -> Callable[[Graph], Graph]:
    """The pass that applies `transform` to a graph and, before that, to the Graphs inside it, each once."""
    @wraps(transform)
    def run(graph: Graph) -> Graph:
        done: dict[int, tuple[Graph, Graph]] = {}  # id -> (graph, which keeps the id taken; result)

        def visit(g: Graph) -> Graph:
            if id(g) not in done:
                done[id(g)] = g, transform(map_inner(g, visit))
            return done[id(g)][1]

        return visit(graph)
    return run


def rewrite(graph: Graph, rules: dict, name: str) -> Graph:
    """The graph with each equation that a rule applies to replaced by what the rule emits.

    rules: op's name -> (does it apply to this equation, the rule: (Rewriter, equation) -> the new values).
    """
    wanted = {eqn for eqn in graph.eqns if eqn.op.name in rules and rules[eqn.op.name][0](eqn)}
    if not wanted:
        return graph
    out = Rewriter()
    for eqn in graph.eqns:
        new = out.renamed(eqn)
        if eqn in wanted:
            out.source = eqn.source
            out.env.update(zip(eqn.outputs, rules[eqn.op.name][1](out, new), strict=True))
        else:
            out.add(new)
    return out.graph(graph, name)
