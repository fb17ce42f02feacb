"""Reductions that pair rows with rows, turned so that they vectorize over the pairs.

In sum((x[:, None, :] - y[None, :, :]) ** 2, axis=2) every pair (i, j) has a short sum of its own along memory. With y stored
transposed, the loops are i, k, j: x[i, k] is one number, y[k, :] is contiguous, and a strip of sums grows at a time, as in a
matrix product. Turning y costs one pass over y, which every i uses again.
"""
from __future__ import annotations

import numpy as np

from ..codegen.affine import Affine, Axis
from ..ir import Atom, Eqn, Graph, Var, definitions
from ..op_kinds import elementwise
from ..ops import transpose
from .kernel import fusible, operand_indices
from .rewrite import Rewriter

MOST_EQNS = 100   # equations of an operand that are looked through


@elementwise("{x}", dtypes="same", jvp=(lambda t, out, x: t,))
def stored(x):
    """x itself, in memory of its own (never melted into what reads it)."""
    return np.array(x)


def turn_reductions(graph: Graph) -> Graph:
    """The graph with its pairwise reductions turned."""
    definition = definitions(graph)
    found = {eqn: leaves for eqn in graph.eqns if (leaves := pairwise_leaves(eqn, definition))}
    if not found:
        return graph
    writer = Rewriter()
    for eqn in graph.eqns:
        writer.source = eqn.source
        if eqn in found:
            writer.add(turned(eqn, found[eqn], definition, writer))
        else:
            writer.add(writer.renamed(eqn))
    return writer.graph(graph, "turn_reductions")


def pairwise_leaves(eqn: Eqn, definition) -> list[Var]:
    """The arrays to store transposed for a reduction over the last axis; empty when its rows do not pair."""
    if eqn.op.kind != "reduction" or eqn.op.combine not in ("add_reduce_", "max_reduce_", "min_reduce_", "mul_reduce_"):
        return []
    shape = eqn.inputs[0].type.shape
    if len(shape) < 3 or eqn.params["axis"] != (len(shape) - 1,):
        return []
    axes = [Axis(n) for n in shape]
    last, inner = axes[-2], axes[-1]
    turn: dict[Var, None] = {}
    others = False     # does something else depend on the reduced axis? Else no strip of sums shares anything
    pending, count = [(eqn.inputs[0], [Affine.of(a) for a in axes])], 0
    while pending:
        atom, index = pending.pop()
        producer = definition.get(atom) if type(atom) is Var else None
        if producer is not None and melts(producer):
            count += 1
            if count > MOST_EQNS:
                return []
            pending += [(a, where) for a, where in zip(producer.inputs, operand_indices(producer, index)) if type(a) is Var]
            continue
        if type(atom) is not Var:
            continue
        used = {a for where in index for a, _ in where.terms}
        plain = len(index) >= 2 and index[-1] == Affine.of(inner) and index[-2] == Affine.of(last)
        if plain and not set(axes[:-2]) <= used:
            turn[atom] = None
        elif last in used and inner in used:
            return []      # depends on every axis, or lies otherwise: nothing would be used again
        else:
            others = others or inner in used
    return list(turn) if others else []


def melts(eqn: Eqn) -> bool:
    """Is this equation computed in the kernel of the reduction that reads it?"""
    return fusible(eqn) and eqn.op.kind != "reduction" and eqn.op.name not in ("gather", "stored")


def turned(eqn: Eqn, leaves: list[Var], definition, writer: Rewriter) -> Eqn:
    """The reduction of the operand with its last two axes exchanged, and the leaves stored that way."""
    table: dict[Var, Var] = {}
    for leaf in leaves:
        source = writer.env.get(leaf, leaf)
        table[leaf] = swap(writer, writer.emit(stored, [swap(writer, source)]))
    operand = swap(writer, again(eqn.inputs[0], table, definition, writer))
    return eqn.replace(inputs=(operand,), params={**eqn.params, "axis": (operand.type.ndim - 2,)})


def swap(writer: Rewriter, atom: Atom) -> Var:
    """An array with its last two axes exchanged."""
    n = atom.type.ndim
    return writer.emit(transpose, [atom], axes=(*range(n - 2), n - 1, n - 2))


def again(root: Var, table: dict, definition, writer: Rewriter) -> Var:
    """What computes `root`, written once more on the arrays of `table`."""
    stack = [(root, False)]
    while stack:
        atom, ready = stack.pop()
        eqn = definition.get(atom) if type(atom) is Var else None
        if atom in table or eqn is None or not fusible(eqn) or eqn.op.kind == "reduction":
            continue
        if not ready:
            stack.append((atom, True))
            stack += [(a, False) for a in eqn.inputs]
        elif any(a in table for a in eqn.inputs):
            inputs = [table.get(a, writer.env.get(a, a)) for a in eqn.inputs]
            table[atom] = Var(atom.type, atom.name)
            writer.add(Eqn(eqn.op, tuple(inputs), eqn.params, (table[atom],), eqn.source))
    return table.get(root, writer.env.get(root, root))
