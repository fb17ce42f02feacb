"""Reverse mode: a Graph replayed on traced values, with a pullback from cotangents of its outputs to cotangents of its inputs.

    forward     every equation is written again; those that depend on a differentiated input are remembered
    pullback    they are gone through backwards, each rule writing the equations of its cotangents

A zero cotangent is None and is never written. Every rule is written with public ops, so the result is Graph again and
can be differentiated again.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import DerivativeError
from ..ir import Eqn, Graph, Var
from ..op_kinds import Control
from ..ops import reshape
from ..tracer import Trace, Tracer, current_trace, inline, trace
from ..types import is_float
from .values import active_outputs, add_derivatives, fresh, fresh_all, is_cheap, live, or_zeros, trace_flat


@dataclass(frozen=True, slots=True)
class Step:
    """An equation of the forward pass that cotangents go back through, with its operands and results."""

    eqn: Eqn
    values: list[Tracer]
    outs: Sequence[Tracer]
    flags: list[bool]         # the operands whose cotangents are wanted
    pullback: Callable | None  # of control flow, which knows its own way back

    def cotangents(self, cts: list) -> Sequence:
        """The cotangents of the operands from those of the results; None: zero, or not wanted."""
        eqn = self.eqn
        if self.pullback is None and eqn.op.multiple_outputs:
            cts = [or_zeros(ct, v.type) for ct, v in zip(cts, eqn.outputs)]
        found = eqn.op.vjp(cts, self.outs, self.values, eqn.params, self.flags) if self.pullback is None else self.pullback(cts)
        for atom, ct, flag in zip(eqn.inputs, found, self.flags, strict=True):
            if flag and ct is not None and (ct.shape != atom.type.shape or ct.dtype != atom.type.dtype):
                raise DerivativeError(f"{eqn.op.name}: its vjp rule gives {ct.type} for an input of type {atom.type}",
                                      "the rule must give a cotangent of the type of each input")
        return found


def vjp_values(graph: Graph, args: Sequence, needed: Sequence[bool]) -> tuple[list, Callable]:
    """(outputs, pullback) of a graph applied to traced values.

    `needed` marks the inputs whose cotangents are wanted. pullback(cts) takes one cotangent per output (None: zero) and gives
    one per input (None: zero, or not needed). It may be called any number of times, also inside a trace within this one.
    """
    here = current_trace()
    outer = here.source
    env: dict[Var, Tracer] = dict(zip(graph.inputs, fresh_all(args, graph.input_types)))
    active = {v for v, n in zip(graph.inputs, needed, strict=True) if n}
    tape: list[Step] = []
    try:
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
                else:
                    outs = here.emit(eqn.op, [v._atom for v in values], eqn.params, eqn.source)
                tape.append(Step(eqn, values, outs, flags, pull))
                active.update(v for v, a in zip(eqn.outputs, outs_active) if a)
            env.update(zip(eqn.outputs, outs))
    finally:
        here.source = outer

    def pullback(cts: Sequence) -> list:
        table = _seed(graph, cts, active)
        here = current_trace()
        outer = here.source
        try:
            for step in reversed(tape):
                out_cts = [table.pop(v, None) for v in step.eqn.outputs]
                if all(ct is None for ct in out_cts):
                    continue
                here.source = step.eqn.source
                for atom, ct, flag in zip(step.eqn.inputs, step.cotangents(out_cts), step.flags, strict=True):
                    if flag and ct is not None:
                        table[atom] = add_derivatives(table.get(atom), ct)
        finally:
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
    given = [is_float(v.type.dtype) for v in graph.outputs] if cts is None else list(cts)
    n = len(graph.inputs)

    def both(*values):
        outs, pullback = vjp_values(graph, values[:n], needed)
        rest = iter(values[n:])
        ct_ins = pullback([next(rest) if g else None for g in given])
        return [*outs, *(or_zeros(ct, v.type) for ct, v, need in zip(ct_ins, graph.inputs, needed) if need)]

    types = [*graph.input_types, *(t for t, g in zip(graph.output_types, given) if g)]
    traced = trace(both, types, f"vjp of {graph.name}")
    return live(traced.graph).replace(provenance=(*graph.provenance, "vjp"))


# Forward and backward as two Graphs

@dataclass(frozen=True)
class Split:
    """A graph and its pullback as two Graphs, for what is run apart: the two sides of a loop or branch.

    forward: inputs -> (outputs, new residuals). backward: (cotangents of the outputs marked, residuals) -> cotangents of the
    needed inputs, zeros written out. sources: where each residual comes from: ("in", i) an input, ("out", i) an output, ("new",
    k) one of the new.
    """

    forward: Graph
    backward: Graph
    sources: tuple[tuple[str, int], ...]

    @property
    def num_new(self) -> int:
        return sum(kind == "new" for kind, _ in self.sources)

    def residuals(self, inputs: Sequence, outputs: Sequence, new: Sequence) -> list:
        """The residuals in the order that `backward` takes them."""
        return [{"in": inputs, "out": outputs, "new": new}[kind][i] for kind, i in self.sources]


def split_vjp(graph: Graph, needed: Sequence[bool], given: Sequence[bool], *, free_inputs: Sequence[bool] | None = None,
              free_outputs: Sequence[bool] | None = None, recompute: bool = False) -> Split:
    """Forward and backward Graphs of a graph. `given` marks the outputs that have a cotangent.

    Residuals that are inputs or outputs marked free (default: all) are not saved again; with `recompute`, neither is what cheap
    operations make of free inputs: the backward graph computes it anew.
    """
    with Trace(f"forward of {graph.name}") as t:
        args = [t.input(v.type, v.name) for v in graph.inputs]
        outs, pull = vjp_values(graph, args, needed)
        places = [i for i, g in enumerate(given) if g]

        def pulled(*cts):
            every: list = [None] * len(outs)
            for i, ct in zip(places, cts):
                every[i] = ct
            return [or_zeros(ct, v.type) for ct, v, n in zip(pull(every), graph.inputs, needed) if n]

        backward, captured = trace_flat(pulled, [outs[i].type for i in places], f"backward of {graph.name}")
        forward = t.graph([x.current() for x in outs])
    saved = [x.current() for x in captured]
    free = {v for k, v in enumerate(forward.inputs) if free_inputs is None or free_inputs[k]}
    if recompute:
        backward, saved = _recompute_cheap(forward, backward, saved, free)
    known = {v: ("out", k) for k, v in enumerate(forward.outputs) if free_outputs is None or free_outputs[k]}
    known |= {v: ("in", k) for k, v in enumerate(forward.inputs) if v in free}
    new = [v for v in saved if v not in known]
    known |= {v: ("new", k) for k, v in enumerate(new)}
    return Split(live(forward.replace(outputs=(*forward.outputs, *new))), backward, tuple(known[v] for v in saved))


def _recompute_cheap(forward: Graph, backward: Graph, saved: list, free: set) -> tuple[Graph, list]:
    """(the backward graph that computes what cheap operations make of free inputs, the residuals that it then takes).

    Of a reshaped value the value is kept: a kernel stores that as it is computed, a reshape of it would be a kernel of its own.
    """
    shaped = {eqn.outputs[0]: eqn.inputs[0] for eqn in forward.eqns if eqn.op is reshape and type(eqn.inputs[0]) is Var}
    free = free | {shaped[v] for v in saved if v in shaped}
    made, cheap = set(free), []
    for eqn in forward.eqns:
        if is_cheap(eqn.op) and all(type(a) is not Var or a in made for a in eqn.inputs):
            cheap.append(eqn)
            made.update(eqn.outputs)
    again = [v for v in saved if v in made and v not in free]
    if not again:
        return backward, saved
    prelude = live(Graph(tuple(free), tuple(cheap), tuple(again)))
    sources = tuple(dict.fromkeys(a for eqn in prelude.eqns for a in eqn.inputs if a in free))
    kept = [v for v in saved if v not in made or v in free]
    kept += [v for v in sources if v not in kept]
    num_cts = len(backward.inputs) - len(saved)

    def pulled(*values):
        env = dict(zip(kept, values[num_cts:]))
        env |= dict(zip(again, inline(prelude.replace(inputs=sources), [env[v] for v in sources])))
        return inline(backward, [*values[:num_cts], *(env[v] for v in saved)])

    traced = trace(pulled, [*(v.type for v in backward.inputs[:num_cts]), *(v.type for v in kept)], backward.name)
    return traced.graph, kept


def pull_graph(graph: Graph, needed: Sequence[bool], given: Sequence[bool]) -> Graph:
    """The Graph (inputs, cotangents of the outputs marked `given`) -> cotangents of the needed inputs, all in one."""
    both = vjp_graph(graph, needed, given)
    return live(both.replace(outputs=both.outputs[len(graph.outputs):]))
