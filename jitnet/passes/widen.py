"""widen: what computes with float16 or bfloat16 does so in float32.

    f(x, y)   -> cast(f(cast(x, f32), cast(y, f32)), f16)

Each result is rounded to its dtype, here and not where a kernel happens to store it: the values of a program do not depend on
what is fused. Between the casts every later pass sees float32. Products of matrices stay products of halves where the device's
library has them (`widen_all_but_products`): summed in float32 and rounded once, they mean the same.
"""
from __future__ import annotations

from .. import ops
from ..ir import Atom, Const, Eqn, Graph, Var
from ..types import F32, HALVES
from .rewrite import Rewriter, everywhere

# of halves these give halves: who computes with the result need not see it rounded
EXACT = {ops.negative, ops.abs, ops.sign, ops.copysign, ops.maximum, ops.minimum, ops.fmax, ops.fmin, ops.floor, ops.ceil,
         ops.trunc, ops.rint, ops.max, ops.min, ops.cummax, ops.cummin, ops.sort}


@everywhere
def widen(graph: Graph) -> Graph:
    """The graph with the ops that compute with halves between casts from and to them."""
    return _widen(graph, ())


@everywhere
def widen_all_but_products(graph: Graph) -> Graph:
    """The graph with the ops that compute with halves between casts from and to them, except products of matrices."""
    return _widen(graph, (ops.matmul,))


def _widen(graph: Graph, kept: tuple) -> Graph:
    wanted = {eqn for eqn in graph.eqns
              if eqn.op.widens and eqn.op not in kept and any(a.type.dtype in HALVES for a in eqn.inputs)}
    if not wanted:
        return graph
    out, known = Rewriter(), {}
    for eqn in graph.eqns:
        if eqn in wanted:
            _widened(out, eqn, known)
        else:
            out.add(eqn)
    return out.graph(graph, "widen")


def _widened(out: Rewriter, eqn: Eqn, known: dict[Atom, Atom]) -> None:
    """Appends the equation in float32, and casts of what it gives; `known` holds the operands that were cast before."""
    out.source = eqn.source
    inputs = tuple([_wide(out, a, known) for a in eqn.inputs])
    types = eqn.op.out_types([a.type for a in inputs], eqn.params)
    outs = tuple([v if v.type.dtype == t.dtype else Var(t) for v, t in zip(eqn.outputs, types, strict=True)])
    out.add(Eqn(eqn.op, inputs, eqn.params, outs, eqn.source))
    for v, wide in zip(eqn.outputs, outs):
        if v is not wide:
            if eqn.op in EXACT:
                known[v] = wide
            out.add(Eqn(ops.cast, (wide,), {"dtype": v.type.dtype}, (v,), eqn.source))


def _wide(out: Rewriter, atom: Atom, known: dict[Atom, Atom]) -> Atom:
    """The atom in float32 when it is a half."""
    if atom.type.dtype not in HALVES:
        return atom
    if atom not in known:
        small = type(atom) is Const and atom.is_scalar
        known[atom] = Const(atom.value.astype(F32)) if small else out.emit(ops.cast, [atom], dtype=F32)
    return known[atom]
