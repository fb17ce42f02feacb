"""Reverse mode: a Graph replayed on traced values, with a pullback from cotangents of its outputs to cotangents of its inputs.

    forward     every equation is written again; those that depend on a differentiated input are remembered
    pullback    they are gone through backwards, each rule writing the equations of its cotangents

A zero cotangent is None and is never written. Every rule is written with public ops, so the result is Graph again and
can be differentiated again.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import DerivativeError
from ..ir import Graph, Var
from ..op import Control
from ..tracer import Tracer, current_trace, trace
from .values import active_outputs, add_derivatives, fresh, fresh_all, live, or_zeros


def vjp_values(graph: Graph, args: Sequence, needed: Sequence[bool]) -> tuple[list, Callable]:
    """(outputs, pullback) of a graph applied to traced values.

    `needed` marks the inputs whose cotangents are wanted. pullback(cts) takes one cotangent per output (None: zero) and gives one per input
    (None: zero, or not needed). It may be called any number of times, also inside a trace within this one.
    """
    here = current_trace()
    outer = here.source
    env: dict[Var, Tracer] = dict(zip(graph.inputs, fresh_all(args, graph.input_types)))
    active = {v for v, n in zip(graph.inputs, needed, strict=True) if n}
    tape: list[tuple] = []
    for eqn in graph.eqns:
        atoms = eqn.inputs
        values = [env[a] if type(a) is Var else Tracer(here, a) for a in atoms]
        flags = [a in active for a in atoms]
        outs_active = active_outputs(eqn, flags) if True in flags else ()
        if True not in outs_active:
            outs = here.emit(eqn.op, [v._atom for v in values], eqn.params, eqn.source)
        else:
            pull = None
            if isinstance(eqn.op, Control):
                here.source = eqn.source
                outs, pull = eqn.op.pullback(values, flags, eqn.params)
                here.source = outer
            else:
                outs = here.emit(eqn.op, [v._atom for v in values], eqn.params, eqn.source)
            tape.append((eqn, values, outs, flags, pull))
            active.update(v for v, a in zip(eqn.outputs, outs_active) if a)
        env.update(zip(eqn.outputs, outs))

    def pullback(cts: Sequence) -> list:
        table = _seed(graph, cts, active)
        here = current_trace()
        outer = here.source
        for eqn, values, outs, flags, pull in reversed(tape):
            out_cts = [table.pop(v, None) for v in eqn.outputs]
            if not any(ct is not None for ct in out_cts):
                continue
            here.source = eqn.source
            if pull is not None:
                in_cts = pull(out_cts)
            else:
                if eqn.op.multiple_outputs:
                    out_cts = [or_zeros(ct, v.type) for ct, v in zip(out_cts, eqn.outputs)]
                in_cts = eqn.op.vjp(out_cts, outs, values, eqn.params, flags)
            for atom, ct, flag in zip(eqn.inputs, in_cts, flags, strict=True):
                if flag and ct is not None:
                    if ct.shape != atom.type.shape or ct.dtype != atom.type.dtype:
                        raise DerivativeError(f"{eqn.op.name}: its vjp rule gives {ct.type} for an input of type {atom.type}",
                                              "the rule must give a cotangent of the type of each input")
                    table[atom] = add_derivatives(table.get(atom), ct)
        here.source = outer
        return [table.get(v) if n else None for v, n in zip(graph.inputs, needed)]

    return [env[a] if type(a) is Var else Tracer(here, a) for a in graph.outputs], pullback


def _seed(graph: Graph, cts: Sequence, active: set) -> dict[Var, Tracer]:
    """Var -> cotangent, from the cotangents of the outputs."""
    table: dict[Var, Tracer] = {}
    for atom, ct in zip(graph.outputs, cts, strict=True):
        if ct is not None and atom in active:
            table[atom] = add_derivatives(table.get(atom), fresh(ct, atom.type.dtype))
    return table


def vjp_graph(graph: Graph, needed: Sequence[bool], cts: Sequence[bool] | None = None) -> Graph:
    """The Graph (inputs, cotangents) -> (outputs, cotangents of the needed inputs).

    `needed` marks the inputs to differentiate by, `cts` the outputs that have a cotangent (default: all that are float). Zero
    cotangents are written out.
    """
    given = [v.type.dtype.kind == "f" for v in graph.outputs] if cts is None else list(cts)
    n = len(graph.inputs)

    def both(*values):
        outs, pullback = vjp_values(graph, values[:n], needed)
        rest = iter(values[n:])
        ct_ins = pullback([next(rest) if g else None for g in given])
        return [*outs, *(or_zeros(ct, v.type) for ct, v, need in zip(ct_ins, graph.inputs, needed) if need)]

    types = [*graph.input_types, *(t for t, g in zip(graph.output_types, given) if g)]
    traced = trace(both, types, f"vjp of {graph.name}")
    return live(traced.graph).replace(provenance=(*graph.provenance, "vjp"))
