"""common_subexpressions: of equations that compute the same thing, the first stays and the others become its result.

Two equations are the same when op, operands and parameters are: constants by their bits, Graphs by their structure, the
operands of operations that commute exactly in any order. Numbers stand for what was seen before, so a key is a short tuple of
them and the pass is linear. A call that computes something a second time on purpose (the derivative of `checkpoint`) is left
alone.
"""
from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from .. import ops
from ..ir import Atom, Const, Eqn, Graph, Var
from ..symbols import SymInt, SymScalar
from ..types import is_float
from .rewrite import Rewriter, everywhere

MAX_DIGEST = 1 << 20  # bytes of an array that is compared by its contents; larger ones are the same when they are one object

COMMUTATIVE = {ops.add, ops.multiply, ops.equal, ops.not_equal, ops.logical_and, ops.logical_or, ops.logical_xor,
               ops.bitwise_and, ops.bitwise_or, ops.bitwise_xor}
COMMUTATIVE_INTEGERS = {ops.maximum, ops.minimum, ops.gcd, ops.lcm}  # of floats, maximum(0.0, -0.0) depends on their order


class _Keys:
    """Small numbers for atoms, constants and Graphs: equal numbers mean equal values."""

    def __init__(self):
        self.number: dict[Atom, int] = {}
        self.known: dict[tuple, int] = {}  # key of a constant, a Graph or an equation -> number
        self.graphs: dict[int, int] = {}
        self.count = 0

    def fresh(self) -> int:
        self.count += 1
        return self.count

    def intern(self, key: tuple) -> int:
        number = self.known.get(key)
        if number is None:
            number = self.known[key] = self.fresh()
        return number

    def atom(self, atom: Atom) -> int:
        number = self.number.get(atom)
        if number is None:
            number = self.number[atom] = self.intern(self.constant(atom)) if type(atom) is Const else self.fresh()
        return number

    @staticmethod
    def constant(const: Const) -> tuple:
        value = const.value
        if type(value) is SymScalar:
            return "formula", value.dtype, value.formula
        if not value.shape:
            return "scalar", value.dtype, value.tobytes()
        if value.nbytes > MAX_DIGEST:
            return "array", id(value)
        return "array", value.dtype, value.shape, hashlib.blake2b(np.ascontiguousarray(value)).digest()

    def params(self, params: Mapping) -> tuple:
        """The parameters as something that can be hashed, in the order of their names."""
        if not params:
            return ()
        if len(params) == 1:
            ((name, value),) = params.items()
            return name, self.static(value)
        return tuple([(name, self.static(params[name])) for name in sorted(params)])

    def static(self, value):
        kind = type(value)
        if kind is int or kind is SymInt or kind is str or value is None or isinstance(value, np.dtype):
            return value
        if kind is tuple or kind is list:
            return tuple([v if type(v) is int or type(v) is SymInt else self.static(v) for v in value])
        if kind is Graph:
            return "graph", self.graph(value)
        if kind is dict:
            return "dict", self.params(value)
        if isinstance(value, np.ndarray):
            return "array", value.dtype, value.shape, value.tobytes()
        if isinstance(value, (bool, float, np.generic)):  # True is not 1, and 0.0 is not -0.0
            return kind, np.asarray(value).tobytes()
        return kind, id(value)

    def graph(self, graph: Graph) -> int:
        """One number for all Graphs of the same structure."""
        number = self.graphs.get(id(graph))
        if number is None:
            inner: dict[Var, int] = {v: -1 - k for k, v in enumerate(graph.inputs)}
            inner_key = lambda a: inner[a] if type(a) is Var else self.atom(a)
            parts: list = [tuple([(t.shape, t.dtype) for t in graph.input_types])]
            for eqn in graph.eqns:
                parts.append((eqn.op, self.params(eqn.params), tuple([inner_key(a) for a in eqn.inputs])))
                for v in eqn.outputs:
                    inner[v] = -1 - len(inner)
            parts.append(tuple([inner_key(a) for a in graph.outputs]))
            number = self.graphs[id(graph)] = self.intern(tuple(parts))
        return number

    def equation(self, eqn: Eqn) -> tuple:
        numbers = [self.atom(a) for a in eqn.inputs]
        op = eqn.op
        if op in COMMUTATIVE or (op in COMMUTATIVE_INTEGERS and not is_float(eqn.inputs[0].type.dtype)):
            numbers.sort()
        return op, self.params(eqn.params), *numbers


def protected(eqn: Eqn) -> bool:
    """Whether an equation must stay apart from an equal one."""
    return eqn.op.kind == "control" and eqn.params.get("kind") == "recompute"


@everywhere
def common_subexpressions(graph: Graph) -> Graph:
    """The graph with equal equations computed once."""
    out, keys = Rewriter(), _Keys()
    env, number = out.env, keys.number
    first: dict[tuple, Eqn] = {}
    arrays: dict[int, Const] = {}
    for eqn in graph.eqns:
        for atom in eqn.inputs:
            if type(atom) is Const and atom.type.shape:
                same = arrays.setdefault(keys.atom(atom), atom)
                if same is not atom:
                    env[atom] = same
        key = keys.equation(eqn)
        same = first.setdefault(key, eqn)
        if same is not eqn and not protected(eqn):
            for v, w in zip(eqn.outputs, same.outputs):
                env[v] = env.get(w, w)
                number[v] = keys.atom(w)
            continue
        out.eqns.append(out.renamed(eqn) if env else eqn)
    return out.graph(graph, "common_subexpressions") if env else graph
