"""dead_code: equations whose results nobody reads go away, also inside loops and branches.

The inputs of the graph itself stay: the user passes them. The Graphs inside equations lose inputs and outputs too:

    switch, call   outputs that nobody reads; operands that no branch reads
    scan           ys that nobody reads; carries that are neither read outside nor needed by what is; consts and xs that are not read
    while_loop     carries that neither the condition nor a wanted result needs; consts that are not read
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..ir import Atom, Eqn, Graph, Var


class _Liveness:
    """Which equations and Vars of a graph are needed, grown output by output: in all, each equation is visited once."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.producer = {v: eqn for eqn in graph.eqns for v in eqn.outputs}
        self.needed: set[Var] = set()

    def need(self, atoms: Iterable[Atom]) -> None:
        pending = [a for a in atoms if type(a) is Var]
        while pending:
            var = pending.pop()
            if var not in self.needed:
                self.needed.add(var)
                eqn = self.producer.get(var)
                if eqn is not None:
                    pending += [a for a in eqn.inputs if type(a) is Var and a not in self.needed]

    def flags(self) -> list[bool]:
        """Which inputs of the graph are needed."""
        return [v in self.needed for v in self.graph.inputs]


def select(values: Sequence, flags: Sequence[bool]) -> tuple:
    """The values that are marked."""
    return tuple([v for v, f in zip(values, flags, strict=True) if f])


def _narrow(graph: Graph, inputs: Sequence[bool], outputs: Sequence[bool]) -> Graph:
    """The graph with only the marked inputs and outputs, and without what these do not need; the same object when it needs it all."""
    outs = select(graph.outputs, outputs)
    eqns, changed = _sweep(graph.eqns, {a for a in outs if type(a) is Var})
    if not changed and all(inputs) and all(outputs):
        return graph
    return graph.replace(inputs=select(graph.inputs, inputs), outputs=outs, eqns=eqns)


# Control flow: per op a rule (eqn, which outputs are wanted) -> eqn

def _several(eqn: Eqn, graphs: Sequence[Graph], wanted: list[bool], first: int, replaced: Callable) -> Eqn:
    """A switch or call: the graphs take all operands from `first` on and return all outputs."""
    needed: list[bool] = [False] * (len(eqn.inputs) - first)
    for graph in graphs:
        live = _Liveness(graph)
        live.need(select(graph.outputs, wanted))
        needed = [a or b for a, b in zip(needed, live.flags())]
    graphs = tuple([_narrow(g, needed, wanted) for g in graphs])
    inputs = (*eqn.inputs[:first], *select(eqn.inputs[first:], needed))
    return eqn.replace(inputs=inputs, outputs=select(eqn.outputs, wanted), params={**eqn.params, **replaced(graphs)})


def _switch(eqn: Eqn, wanted: list[bool]) -> Eqn:
    return _several(eqn, eqn.params["branches"], wanted, 1, lambda graphs: {"branches": graphs})


def _call(eqn: Eqn, wanted: list[bool]) -> Eqn:
    if eqn.params["rule"] is not None:
        return eqn
    return _several(eqn, (eqn.params["graph"],), wanted, 0, lambda graphs: {"graph": graphs[0]})


def _grow(live: _Liveness, keep: list[bool], carry_in: Sequence[Var], carry_out: Sequence[Atom]) -> None:
    """Marks in `keep` the carries that are needed: those whose value at the start of a turn something needed reads, and so on."""
    live.need(select(carry_out, keep))
    grown = True
    while grown:  # each round keeps at least one carry more; the liveness only grows
        new = [k for k, v in enumerate(carry_in) if not keep[k] and v in live.needed]
        for k in new:
            keep[k] = True
        live.need([carry_out[k] for k in new])
        grown = bool(new)


def _scan(eqn: Eqn, wanted: list[bool]) -> Eqn:
    p = eqn.params
    body, n_consts, n_carry = p["body"], p["num_consts"], p["num_carry"]
    carry_in, carry_out = body.inputs[n_consts:n_consts + n_carry], body.outputs[:n_carry]
    live = _Liveness(body)
    live.need(select(body.outputs[n_carry:], wanted[n_carry:]))
    keep = list(wanted[:n_carry])
    _grow(live, keep, carry_in, carry_out)
    flags = live.flags()
    n_xs = len(body.inputs) - n_consts - n_carry
    inputs = [*flags[:n_consts], *keep, *flags[n_consts + n_carry:]]
    outputs = [*keep, *wanted[n_carry:]]
    if n_xs and not any(inputs[n_consts + n_carry:]) and p.get("length") is None:
        inputs[n_consts + n_carry] = True  # the length is that of the xs: one has to stay
    params = {**p, "body": _narrow(body, inputs, outputs), "num_consts": sum(inputs[:n_consts]), "num_carry": sum(keep)}
    return eqn.replace(inputs=select(eqn.inputs, inputs), outputs=select(eqn.outputs, outputs), params=params)


def _while_loop(eqn: Eqn, wanted: list[bool]) -> Eqn:
    p = eqn.params
    cond, body, n_cond, n_body = p["cond"], p["body"], p["cond_consts"], p["body_consts"]
    test = _Liveness(cond)
    test.need(cond.outputs)
    read = test.flags()
    live = _Liveness(body)
    keep = [a or b for a, b in zip(wanted, read[n_cond:], strict=True)]
    _grow(live, keep, body.inputs[n_body:], body.outputs)
    consts = live.flags()[:n_body]
    params = {**p, "cond": _narrow(cond, [*read[:n_cond], *keep], [True] * len(cond.outputs)), "body": _narrow(body, [*consts, *keep], keep),
              "cond_consts": sum(read[:n_cond]), "body_consts": sum(consts)}
    return eqn.replace(inputs=select(eqn.inputs, [*read[:n_cond], *consts, *keep]), outputs=select(eqn.outputs, keep), params=params)


RULES = {"switch": _switch, "call": _call, "scan": _scan, "while_loop": _while_loop}


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
        if eqn.op.kind == "control" and eqn.op.name in RULES:
            new = RULES[eqn.op.name](eqn, [v in needed for v in eqn.outputs])
            if new.params != eqn.params or len(new.inputs) < len(eqn.inputs):
                eqn, changed = new, True
        kept.append(eqn)
        needed.update(eqn.inputs)  # constants among them do no harm
    return tuple(reversed(kept)), changed


def dead_code(graph: Graph) -> Graph:
    """The graph without the equations, loop carries, branch outputs and operands that no output needs."""
    eqns, changed = _sweep(graph.eqns, {a for a in graph.outputs if type(a) is Var})
    return graph.replace("dead_code", eqns=eqns) if changed else graph
