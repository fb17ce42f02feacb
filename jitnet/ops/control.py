"""Choice and calls: ops that hold Graphs. `switch` runs one of several Graphs, `call` one Graph with rules of its own.

A control op computes outputs and derivatives together, so its rules differ from those of other ops:

    pushforward(inputs, tangents, params)   -> (outputs, their tangents)                 None: a zero tangent
    pullback(inputs, needed, params)        -> (outputs, function from cotangents of the outputs to those of the inputs)
    batch_some(size, inputs, batched, ...)  -> (outputs, which of them are batched)

The types of the operands are exactly those of the Graph's inputs.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import GraphError
from ..ir import Graph, eval_graph
from ..op_kinds import Control, elementwise
from ..tracer import bind
from ..types import is_float, promote


class ControlOp(Control):
    """An op that holds Graphs. Abstract: every op of this kind is a subclass with one instance."""

    def jvp(self, tangents, outs, inputs, params):
        return self.pushforward(inputs, tangents, params)[1]

    def vjp(self, cts, outs, inputs, params, needed):
        return self.pullback(inputs, needed, params)[1](cts)

    def batch(self, size, inputs, batched, params):
        from ..transforms.vmap import spread

        outs, flags = self.batch_some(size, inputs, batched, params)
        return [x if b else spread(x, size) for x, b in zip(outs, flags)]

    def active_outputs(self, active, params) -> list[bool]:
        """Which outputs have a derivative with respect to the inputs marked active."""
        raise TypeError(f"{type(self).__name__} is abstract")


def check_operands(name: str, graph: Graph, types: Sequence) -> None:
    """GraphError when the operands are not of the types of the graph's inputs."""
    expected = graph.input_types
    if [(t.shape, t.dtype) for t in types] != [(t.shape, t.dtype) for t in expected]:
        raise GraphError(f"{name}: `{graph.name}` takes ({', '.join(map(str, expected))}), its operands are "
                         f"({', '.join(map(str, types))})")


def given_only(values: Sequence) -> list:
    """The values without the None among them."""
    return [v for v in values if v is not None]


def flags_of(values: Sequence) -> list[bool]:
    """Which values are not None."""
    return [v is not None for v in values]


def scatter(flags: Sequence[bool], values: Sequence) -> list:
    """The values at the places that are marked, None elsewhere."""
    rest = iter(values)
    return [next(rest) if f else None for f in flags]


def either(a: Sequence[bool], b: Sequence[bool]) -> list[bool]:
    """Element by element: a or b."""
    return [x or y for x, y in zip(a, b, strict=True)]


# switch

class Switch(ControlOp):
    """switch(index, *operands, branches): the outputs of branches[index], the index clamped to the branches there are."""

    def out_types(self, types, params):
        for graph in params["branches"]:
            check_operands("switch", graph, types[1:])
        return params["branches"][0].output_types

    def active_outputs(self, active, params):
        from ..transforms.values import active_graph_outputs

        found = [False] * len(params["branches"][0].outputs)
        for graph in params["branches"]:
            found = either(found, active_graph_outputs(graph, active[1:]))
        return found

    def pushforward(self, inputs, tangents, params):
        from ..transforms.jvp import jvp_graph

        given = flags_of(tangents[1:])
        wanted = self.active_outputs([False, *given], params)
        branches = tuple(jvp_graph(g, given, wanted) for g in params["branches"])
        outs = bind(self, [*inputs, *given_only(tangents[1:])], {"branches": branches})
        return outs[:len(wanted)], scatter(wanted, outs[len(wanted):])

    def pullback(self, inputs, needed, params):
        from ..transforms.values import or_zeros
        from ..transforms.vjp import split_vjp

        branches, needed = params["branches"], needed[1:]
        given = self.active_outputs([False, *needed], params)
        splits = [split_vjp(g, needed, given, recompute=True) for g in branches]
        slots, places = _shared_slots(splits)
        n = len(given)
        forward = tuple(_with_slots(s.forward, n, place, slots) for s, place in zip(splits, places))
        outs = bind(self, inputs, {"branches": forward})
        primal, saved = outs[:n], outs[n:]

        pools = {"in": inputs[1:], "out": primal, "new": saved}
        wants = [[(kind, place[i] if kind == "new" else i) for kind, i in s.sources] for s, place in zip(splits, places)]
        carried = list(dict.fromkeys(w for want in wants for w in want))
        residuals = [pools[kind][i] for kind, i in carried]
        ct_types = [branches[0].outputs[i].type for i, g in enumerate(given) if g]

        def pull(cts):
            backward = tuple(_backward_branch(s.backward, ct_types, want, carried, residuals) for s, want in zip(splits, wants))
            seeds = [or_zeros(ct, t) for ct, t in zip([ct for ct, g in zip(cts, given) if g], ct_types)]
            found = bind(self, [inputs[0], *seeds, *residuals], {"branches": backward}) if any(needed) else ()
            return [None, *scatter(needed, found)]

        return list(primal), pull

    def batch_some(self, size, inputs, batched, params):
        from ..transforms.vmap import batch_all, batched_outputs, vmap_graph
        from . import greater_equal, reshape, where

        branches = params["branches"]
        if not batched[0]:
            flags = [False] * len(branches[0].outputs)
            for g in branches:
                flags = either(flags, batched_outputs(g, batched[1:], size))
            graphs = tuple(vmap_graph(g, batched[1:], size, flags) for g in branches)
            return list(bind(self, inputs, {"branches": graphs})), flags
        outs = batch_all(branches[0], inputs[1:], batched[1:], size)
        for k, g in enumerate(branches[1:], 1):
            chosen = greater_equal(inputs[0], np.asarray(k, inputs[0].dtype))
            others = batch_all(g, inputs[1:], batched[1:], size)
            outs = [where(reshape(chosen, shape=(size, *(1,) * (x.ndim - 1))), y, x) for x, y in zip(outs, others)]
        return outs, [True] * len(outs)


def _shared_slots(splits) -> tuple[list, list]:
    """(types of the slots that hold the residuals of the branch that ran, per branch the slot of each new residual)."""
    slots: list = []
    places = []
    for split in splits:
        taken: set[int] = set()
        place = []
        for atom in split.forward.outputs[len(split.forward.outputs) - split.num_new:]:
            slot = next((k for k, t in enumerate(slots) if k not in taken
                         and (t.shape, t.dtype) == (atom.type.shape, atom.type.dtype)), None)
            if slot is None:
                slot = len(slots)
                slots.append(atom.type)
            taken.add(slot)
            place.append(slot)
        places.append(place)
    return slots, places


def _with_slots(forward: Graph, num_outs: int, place: Sequence[int], slots: Sequence) -> Graph:
    """The forward graph of a branch with one output per slot: its residuals where it has some, zeros elsewhere."""
    from ..tracer import inline, trace
    from ..transforms.values import or_zeros

    def run(*values):
        outs = inline(forward, values)
        held = dict(zip(place, outs[num_outs:]))
        return [*outs[:num_outs], *(or_zeros(held.get(k), t) for k, t in enumerate(slots))]

    return trace(run, forward.input_types, forward.name).graph


def _backward_branch(backward: Graph, ct_types, want, carried, residuals) -> Graph:
    """The backward graph of a branch as a function of the cotangents and of the residuals that all branches carry."""
    from ..tracer import inline, trace

    places = [carried.index(w) for w in want]
    n = len(ct_types)

    def run(*values):
        return inline(backward, [*values[:n], *(values[n + p] for p in places)])

    return trace(run, [*ct_types, *(x.type for x in residuals)], backward.name).graph


def _switch(index, *operands, branches):
    """The outputs of branches[index]; an index out of range takes the first or the last branch."""
    return eval_graph(branches[int(np.clip(index, 0, len(branches) - 1))], *operands)


_switch.__name__ = _switch.__qualname__ = "switch"
switch = Switch(_switch)


# call

class CallGraph(ControlOp):
    """call(*operands, graph, kind, rule): the outputs of one Graph, kept whole.

    kind says why: "checkpoint" (its residuals are not kept: the derivative computes them anew), "recompute" (such a derivative:
    a barrier, or common subexpressions would undo it), "custom_vjp" and "custom_jvp" (`rule` gives the derivatives). All but
    "recompute" may be inlined when no more derivatives are taken.
    """

    def out_types(self, types, params):
        check_operands("call", params["graph"], types)
        return params["graph"].output_types

    def active_outputs(self, active, params):
        from ..transforms.values import active_graph_outputs

        if params["rule"] is not None:
            return [any(active) and is_float(a.type.dtype) for a in params["graph"].outputs]
        return active_graph_outputs(params["graph"], active)

    def pushforward(self, inputs, tangents, params):
        from ..transforms.jvp import jvp_graph

        if params["rule"] is not None:
            return params["rule"].pushforward(inputs, tangents, params["graph"])
        given = flags_of(tangents)
        wanted = self.active_outputs(given, params)
        outs = bind(self, [*inputs, *given_only(tangents)], params | {"graph": jvp_graph(params["graph"], given, wanted)})
        return list(outs[:len(wanted)]), scatter(wanted, outs[len(wanted):])

    def pullback(self, inputs, needed, params):
        from ..transforms.vjp import pull_graph

        graph = params["graph"]
        if params["rule"] is not None:
            return params["rule"].pullback(inputs, needed, graph)

        def pull(cts):
            backward = pull_graph(graph, needed, flags_of(cts))
            found = bind(self, [*inputs, *given_only(cts)], {"graph": backward, "kind": "recompute", "rule": None})
            return scatter(needed, found)

        return list(bind(self, inputs, params)), pull

    def batch_some(self, size, inputs, batched, params):
        from ..transforms.vmap import batched_outputs, vmap_graph

        graph, rule = params["graph"], params["rule"]
        flags = batched_outputs(graph, batched, size) if rule is None else [True] * len(graph.outputs)
        rule = None if rule is None else rule.batched(size, batched)
        return list(bind(self, inputs, params | {"graph": vmap_graph(graph, batched, size, flags), "rule": rule})), flags


def _call(*operands, graph, kind, rule=None):
    """The outputs of the graph."""
    return eval_graph(graph, *operands)


_call.__name__ = _call.__qualname__ = "call"
call: Callable = CallGraph(_call)


def _any_dtype(dtypes):
    return [promote(*dtypes)], promote(*dtypes)


@elementwise("{x}", dtypes=_any_dtype, widens=False, jvp=(None,))
def stop_gradient(x):
    """x itself, through which no derivative passes."""
    return np.array(x)


