"""fold: equations that only read constants become constants, computed by NumPy now instead of by every run.

Scalars and small arrays only. What makes values from nothing but a shape (iota, broadcast_to) stays an equation: inside a
kernel it is free, as an array it would have to be stored and read.
"""
from __future__ import annotations

import functools

import numpy as np

from .. import ops
from ..ir import Const, Eqn, Graph
from ..sizes import is_open
from ..symbols import SymScalar
from .rewrite import Rewriter, everywhere

MAX_SIZE = 1024  # elements of an array that is computed here
_NEVER = ("control", "creation")
# what an op raises for values that it refuses (an integer to a negative power, an index out of bounds), or without SciPy
_REFUSALS = (ArithmeticError, ValueError, TypeError, LookupError, ImportError)


def evaluate(eqn: Eqn, inputs: list[Const]) -> list[Const] | None:
    """The outputs of an equation of constants; None where they are too large, or refused by the op (a run reports that)."""
    if eqn.op.kind in _NEVER or eqn.op is ops.broadcast_to:
        return None
    if any(a.type.size > MAX_SIZE for a in (*inputs, *eqn.outputs)):
        return None
    if any(type(a.value) is SymScalar for a in inputs):
        return _of_sizes(eqn, inputs)
    try:
        with np.errstate(all="ignore"):
            values = eqn.op.evaluate([a.value for a in inputs], eqn.params)
    except _REFUSALS:
        return None
    if any((x.shape, x.dtype) != (v.type.shape, v.type.dtype) for x, v in zip(values, eqn.outputs, strict=True)):
        return None
    return [Const(np.array(x, order="C")) for x in values]


def _of_sizes(eqn: Eqn, inputs: list[Const]) -> list[Const] | None:
    """The output of an equation of scalars that are known as formulas."""
    if eqn.op.multiple_outputs or any(a.type.shape for a in (*inputs, *eqn.outputs)) or is_open(dict(eqn.params)):
        return None
    values = [a.value for a in inputs]
    scope = next(v.scope for v in values if type(v) is SymScalar)
    try:
        value = SymScalar(scope, functools.partial(_scalar, eqn.op, dict(eqn.params)), tuple(values))
    except _REFUSALS:
        return None
    return [Const(value)]


def _scalar(op, params, *values):
    with np.errstate(all="ignore"):
        return op.evaluate([np.asarray(v) for v in values], params)[0]


@everywhere
def fold(graph: Graph) -> Graph:
    """The graph with its constant equations computed."""
    out = Rewriter()
    env = out.env
    for eqn in graph.eqns:
        for atom in eqn.inputs:
            if type(atom) is not Const and atom not in env:
                break
        else:
            if eqn.inputs:
                values = evaluate(eqn, [env.get(a, a) for a in eqn.inputs])
                if values is not None:
                    env.update(zip(eqn.outputs, values))
                    continue
        out.eqns.append(out.renamed(eqn) if env else eqn)
    return out.graph(graph, "fold") if env else graph
