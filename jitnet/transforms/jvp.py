"""Forward mode: a Graph replayed on traced values, each equation followed by that of its tangent. A zero tangent is None."""
from __future__ import annotations

from collections.abc import Sequence

from ..errors import DerivativeError
from ..ir import Graph, Var
from ..op_kinds import Control
from ..tracer import Tracer, current_trace, trace
from ..types import is_float
from .values import active_outputs, fresh, fresh_all, live, or_zeros


def jvp_values(graph: Graph, args: Sequence, tangents: Sequence, *, apart: bool = False) -> tuple[list, list]:
    """(outputs, tangents of the outputs) of a graph applied to traced values; a tangent may be None: zero.

    apart: no output depends on a tangent, not even one of a loop or a branch. These compute both in one equation; then
    another one computes the outputs alone.
    """
    here = current_trace()
    env: dict[Var, Tracer] = dict(zip(graph.inputs, fresh_all(args, graph.input_types)))
    table = {v: fresh(t, v.type.dtype) for v, t in zip(graph.inputs, tangents, strict=True) if t is not None}
    outer = here.source
    try:
        for eqn in graph.eqns:
            atoms = eqn.inputs
            values = [env[a] if type(a) is Var else Tracer(here, a) for a in atoms]
            ins = [table.get(a) for a in atoms]
            flags = [t is not None for t in ins]
            outs_active = active_outputs(eqn, flags) if True in flags else ()
            out_tangents: Sequence = ()
            if True in outs_active and isinstance(eqn.op, Control):
                here.source = eqn.source
                outs, out_tangents = eqn.op.pushforward(values, ins, eqn.params)
                if apart:
                    outs = here.emit(eqn.op, [v._atom for v in values], eqn.params, eqn.source)
            else:
                outs = here.emit(eqn.op, [v._atom for v in values], eqn.params, eqn.source)
                if True in outs_active:
                    here.source = eqn.source
                    out_tangents = eqn.op.jvp(ins, outs, values, eqn.params)
            env.update(zip(eqn.outputs, outs))
            for var, t, flag in zip(eqn.outputs, out_tangents, outs_active):
                if flag and t is not None:
                    if t.shape != var.type.shape or t.dtype != var.type.dtype:
                        raise DerivativeError(f"{eqn.op.name}: its jvp rule gives {t.type} for an output of type {var.type}",
                                              "the rule must give a tangent of the type of each output")
                    table[var] = t
    finally:
        here.source = outer
    return [env[a] if type(a) is Var else Tracer(here, a) for a in graph.outputs], [table.get(a) for a in graph.outputs]


def jvp_graph(graph: Graph, given: Sequence[bool], wanted: Sequence[bool] | None = None, *, apart: bool = False) -> Graph:
    """The Graph (inputs, tangents of those marked `given`) -> (outputs, tangents of those `wanted`, or of all floats).

    apart: as for jvp_values.
    """
    n = len(graph.inputs)
    kept = [is_float(t.dtype) for t in graph.output_types] if wanted is None else wanted

    def both(*values):
        rest = iter(values[n:])
        outs, tangents = jvp_values(graph, values[:n], [next(rest) if g else None for g in given], apart=apart)
        return [*outs, *(or_zeros(t, a.type) for t, a, k in zip(tangents, graph.outputs, kept) if k)]

    types = [*graph.input_types, *(t for t, g in zip(graph.input_types, given) if g)]
    traced = trace(both, types, f"jvp of {graph.name}")
    return live(traced.graph).replace(provenance=(*graph.provenance, "jvp"))
