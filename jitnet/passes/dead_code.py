"""dead_code: equations whose results nobody reads go away, also inside loops and branches.

The inputs of the graph itself stay: the user passes them. The Graphs inside equations lose inputs and outputs too:

    switch, call   outputs that nobody reads; operands that no branch reads
    scan           ys that nobody reads; carries neither read outside nor needed by what is; consts and xs that are not read
    while_loop     carries that neither the condition nor a wanted result needs; consts that are not read
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir import Atom, Eqn, Graph, Var

Flags = list[bool]


def select(values: Sequence, flags: Sequence[bool]) -> tuple:
    """The values that are marked."""
    return tuple([v for v, f in zip(values, flags, strict=True) if f])


class Liveness:
    """Which Vars of a graph are needed, grown output by output. A loop is looked at each time more of it is needed."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.producer = {v: eqn for eqn in graph.eqns for v in eqn.outputs}
        self.needed: set[Var] = set()

    def need(self, atoms: Iterable[Atom]) -> None:
        pending, loops = [a for a in atoms if type(a) is Var], {}
        while pending or loops:
            if not pending:
                eqn, _ = loops.popitem()
                pending += select(eqn.inputs, needed_operands(eqn, [v in self.needed for v in eqn.outputs])[0])
                continue
            var = pending.pop()
            if type(var) is not Var or var in self.needed:
                continue
            self.needed.add(var)
            eqn = self.producer.get(var)
            if eqn is not None and eqn.op.kind == "control":
                loops[eqn] = True
            elif eqn is not None:
                pending += eqn.inputs

    def flags(self) -> Flags:
        """Which inputs of the graph are needed."""
        return [v in self.needed for v in self.graph.inputs]


# What is needed of an equation that holds Graphs: per op a rule (eqn, outputs wanted) -> (operands, outputs) to keep

def _of_graphs(graphs: Sequence[Graph], wanted: Flags) -> Flags:
    """The inputs that some of the graphs need for the wanted outputs."""
    needed = [False] * len(graphs[0].inputs)
    for graph in graphs:
        live = Liveness(graph)
        live.need(select(graph.outputs, wanted))
        needed = [a or b for a, b in zip(needed, live.flags())]
    return needed


def _switch(eqn: Eqn, wanted: Flags) -> tuple[Flags, Flags]:
    return [True, *_of_graphs(eqn.params["branches"], wanted)], wanted


def _call(eqn: Eqn, wanted: Flags) -> tuple[Flags, Flags]:
    if eqn.params["rule"] is not None:  # a derivative rule is written for all operands
        return [True] * len(eqn.inputs), [True] * len(eqn.outputs)
    return _of_graphs((eqn.params["graph"],), wanted), wanted


def _grow(live: Liveness, keep: Flags, carry_in: Sequence[Var], carry_out: Sequence[Atom]) -> None:
    """Marks in `keep` the carries that are needed: their value at the start of a round is read by something needed."""
    live.need(select(carry_out, keep))
    new = [-1]
    while new:  # each time round keeps at least one carry more
        new = [k for k, v in enumerate(carry_in) if not keep[k] and v in live.needed]
        for k in new:
            keep[k] = True
        live.need([carry_out[k] for k in new])


def _scan(eqn: Eqn, wanted: Flags) -> tuple[Flags, Flags]:
    body, start = eqn.params["body"], eqn.params["num_consts"]
    n = eqn.params["num_carry"]
    live, keep = Liveness(body), wanted[:n]
    live.need(select(body.outputs[n:], wanted[n:]))
    _grow(live, keep, body.inputs[start:start + n], body.outputs[:n])
    inputs = live.flags()
    inputs[start:start + n] = keep
    return inputs, [*keep, *wanted[n:]]


def _while_loop(eqn: Eqn, wanted: Flags) -> tuple[Flags, Flags]:
    cond, body, n_cond, n_body = (eqn.params[k] for k in ("cond", "body", "cond_consts", "body_consts"))
    test = _of_graphs((cond,), [True] * len(cond.outputs))
    live, keep = Liveness(body), [a or b for a, b in zip(wanted, test[n_cond:], strict=True)]
    _grow(live, keep, body.inputs[n_body:], body.outputs)
    return [*test[:n_cond], *live.flags()[:n_body], *keep], keep


OPERANDS = {"switch": _switch, "call": _call, "scan": _scan, "while_loop": _while_loop}


def needed_operands(eqn: Eqn, wanted: Flags) -> tuple[Flags, Flags]:
    """(operands, outputs) of an equation that are needed when these outputs are wanted: all of them where there is no rule."""
    rule = OPERANDS.get(eqn.op.name)
    return rule(eqn, wanted) if rule else ([True] * len(eqn.inputs), [True] * len(eqn.outputs))


# The parameters that are left

def _narrow(graph: Graph, inputs: Flags, outputs: Flags) -> Graph:
    """The graph with only the marked inputs and outputs and what these need; the same object when that is all of it."""
    outs = select(graph.outputs, outputs)
    eqns, changed = _sweep(graph.eqns, {a for a in outs if type(a) is Var})
    if not changed and all(inputs) and all(outputs):
        return graph
    return graph.replace(inputs=select(graph.inputs, inputs), outputs=outs, eqns=eqns)


def _scan_params(p, inputs: Flags, outputs: Flags) -> dict:
    start, n = p["num_consts"], p["num_carry"]
    return {"body": _narrow(p["body"], inputs, outputs), "num_consts": sum(inputs[:start]), "num_carry": sum(outputs[:n])}


def _while_params(p, inputs: Flags, outputs: Flags) -> dict:
    n_cond = p["cond_consts"]
    cond_consts, rest = inputs[:n_cond], inputs[n_cond:]
    cond = _narrow(p["cond"], [*cond_consts, *outputs], [True] * len(p["cond"].outputs))
    return {"cond": cond, "body": _narrow(p["body"], rest, outputs),
            "cond_consts": sum(cond_consts), "body_consts": sum(rest[:p["body_consts"]])}


PARAMS = {
    "switch": lambda p, inputs, outputs: {"branches": tuple([_narrow(g, inputs[1:], outputs) for g in p["branches"]])},
    "call": lambda p, inputs, outputs: {"graph": _narrow(p["graph"], inputs, outputs)},
    "scan": _scan_params, "while_loop": _while_params,
}


def _narrowed(eqn: Eqn, wanted: Flags) -> Eqn:
    """The equation with only the operands, outputs and inner equations that are needed; itself when that is all."""
    inputs, outputs = needed_operands(eqn, wanted)
    params = {**eqn.params, **PARAMS[eqn.op.name](eqn.params, inputs, outputs)}
    if all(inputs) and all(outputs) and params == eqn.params:
        return eqn
    return eqn.replace(inputs=select(eqn.inputs, inputs), outputs=select(eqn.outputs, outputs), params=params)


def _sweep(eqns: Sequence[Eqn], needed: set[Var]) -> tuple[tuple[Eqn, ...], bool]:
    """(the equations that the needed Vars come from, whether anything changed); walks backwards."""
    kept, changed = [], False
    for eqn in reversed(eqns):
        for v in eqn.outputs:
            if v in needed:
                break
        else:
            changed = True
            continue
        if eqn.op.name in PARAMS and eqn.op.kind == "control":
            new = _narrowed(eqn, [v in needed for v in eqn.outputs])
            eqn, changed = new, changed or new is not eqn
        kept.append(eqn)
        needed.update(eqn.inputs)  # constants among them do no harm
    return tuple(reversed(kept)), changed


def dead_code(graph: Graph) -> Graph:
    """The graph without the equations, loop carries, branch outputs and operands that no output needs."""
    eqns, changed = _sweep(graph.eqns, {a for a in graph.outputs if type(a) is Var})
    return graph.replace("dead_code", eqns=eqns) if changed else graph
