"""The language that every function becomes: first the grammar, then the data, the evaluator and the checker.

    atom   ::=  Var | Const
    eqn    ::=  Var, ... = op(atom, ..., name=static, ...)
    graph  ::=  (Var, ...) -> eqn; ... -> (atom, ...)

Equations stand in the order they run. Arrays are positional, everything static is a keyword; control flow holds Graphs
in its parameters. All of it is immutable: a pass builds a new Graph.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import GraphError, Source
from .symbols import SymScalar
from .types import ArrayType


class Var:
    """A value with a type and nothing else; two Vars are the same only when they are one object."""

    __slots__ = ("name", "type")

    def __init__(self, type: ArrayType, name: str = ""):
        self.type, self.name = type, name

    def __repr__(self) -> str:
        return f"{self.name or 'v'}:{self.type}"


class Const:
    """A value known at trace time: a scalar (written into kernels) or a whole array (kept beside the program)."""

    __slots__ = ("type", "value")

    def __init__(self, value, type: ArrayType | None = None):
        self.value = value if isinstance(value, SymScalar) else np.asarray(value)
        self.type = type if type is not None else ArrayType(self.value.shape, self.value.dtype)

    @property
    def is_scalar(self) -> bool:
        return not self.type.shape

    def __repr__(self) -> str:
        return repr(self.value[()]) if self.is_scalar else f"const:{self.type}"


Atom = Var | Const


@dataclass(frozen=True, slots=True, eq=False)
class Eqn:
    """outputs = op(inputs, **params), written by the user at `source`."""

    op: Any
    inputs: tuple[Atom, ...]
    params: Mapping[str, Any]
    outputs: tuple[Var, ...]
    source: Source | None = None

    def replace(self, **changes) -> Eqn:
        values = {name: getattr(self, name) for name in self.__slots__}
        return Eqn(**(values | changes))


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A function of arrays: inputs, equations in order, outputs. `provenance` names the passes that made it."""

    inputs: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    outputs: tuple[Atom, ...]
    name: str = "graph"
    provenance: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        from .printing import print_graph

        return print_graph(self)

    def __repr__(self) -> str:
        return str(self)

    @property
    def input_types(self) -> tuple[ArrayType, ...]:
        return tuple(v.type for v in self.inputs)

    @property
    def output_types(self) -> tuple[ArrayType, ...]:
        return tuple(a.type for a in self.outputs)

    def replace(self, passname: str | None = None, **changes) -> Graph:
        values = {name: getattr(self, name) for name in self.__slots__}
        if passname:
            values["provenance"] = (*self.provenance, passname)
        return Graph(**(values | changes))

    def __call__(self, *arrays):
        """The outputs, computed with NumPy: `eval_graph`."""
        return eval_graph(self, *arrays)


# Evaluating

def interpret(graph: Graph, args, apply: Callable[[Eqn, list], Any], constant: Callable[[Const], Any]) -> list:
    """The outputs of a graph whose equations `apply(eqn, inputs)` computes; every evaluator and inliner is this loop."""
    env: dict[Var, Any] = dict(zip(graph.inputs, args, strict=True))
    for eqn in graph.eqns:
        results = apply(eqn, [env[a] if type(a) is Var else constant(a) for a in eqn.inputs])
        env.update(zip(eqn.outputs, results, strict=True))
    return [env[a] if type(a) is Var else constant(a) for a in graph.outputs]


def eval_graph(graph: Graph, *arrays) -> list[np.ndarray]:
    """What the graph means: its outputs computed by the NumPy bodies of its ops."""
    return interpret(graph, [np.asarray(a) for a in arrays], lambda eqn, xs: eqn.op.evaluate(xs, eqn.params), lambda c: c.value)


# Looking

def subgraphs(eqn: Eqn) -> Iterator[tuple[str, Graph]]:
    """The Graphs among an equation's parameters, with their names."""
    for name, value in eqn.params.items():
        if isinstance(value, Graph):
            yield name, value
        elif isinstance(value, tuple) and value and all(isinstance(v, Graph) for v in value):
            for k, graph in enumerate(value):
                yield f"{name}_{k}", graph


def uses(graph: Graph) -> dict[Var, list[Eqn | None]]:
    """Var -> the equations that read it (None stands for an output of the graph)."""
    table: dict[Var, list[Eqn | None]] = {v: [] for v in graph.inputs}
    for eqn in graph.eqns:
        for out in eqn.outputs:
            table[out] = []
        for atom in eqn.inputs:
            if type(atom) is Var:
                table[atom].append(eqn)
    for atom in graph.outputs:
        if type(atom) is Var:
            table[atom].append(None)
    return table


def definitions(graph: Graph) -> dict[Var, Eqn]:
    """Var -> the equation that computes it (inputs have none)."""
    return {out: eqn for eqn in graph.eqns for out in eqn.outputs}


# Checking

def check_graph(graph: Graph) -> Graph:
    """The graph itself when every Var is defined once and before its use, and every type is what its op says."""
    known = set()

    def define(var: Var, where: str):
        if not isinstance(var, Var):
            raise GraphError(f"{graph.name}: {where}: {var!r} is not a Var")
        if var in known:
            raise GraphError(f"{graph.name}: {where}: {var!r} is defined twice")
        known.add(var)

    def check_use(atom: Atom, where: str):
        if type(atom) is Var and atom not in known:
            raise GraphError(f"{graph.name}: {where}: {atom!r} is used before it is defined")
        if type(atom) is Const and (atom.value.shape, atom.value.dtype) != (atom.type.shape, atom.type.dtype):
            held = f"{atom.value.dtype}{atom.value.shape}"
            raise GraphError(f"{graph.name}: {where}: a constant of type {atom.type} holds {held}")

    for var in graph.inputs:
        define(var, "inputs")
    for eqn in graph.eqns:
        where = eqn.op.name
        for atom in eqn.inputs:
            check_use(atom, where)
        expected = eqn.op.out_types([a.type for a in eqn.inputs], eqn.params)
        found = [v.type for v in eqn.outputs]
        if [(t.shape, t.dtype) for t in expected] != [(t.shape, t.dtype) for t in found]:
            raise GraphError(f"{graph.name}: {where}: outputs are {found}, the op says {list(expected)}")
        for _, inner in subgraphs(eqn):
            check_graph(inner)
        for var in eqn.outputs:
            define(var, where)
    for atom in graph.outputs:
        check_use(atom, "outputs")
    return graph
