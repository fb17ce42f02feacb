"""Loops: `scan` runs a Graph a known number of times, with derivatives both ways; `while_loop` until a condition fails.

The types of the operands are exactly those of the Graphs' inputs. Rules as in `control.py`.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import DerivativeError, GraphError
from ..ir import Graph, Var, eval_graph
from ..tracer import bind, current_trace
from .control import ControlOp, check_operands, either, flags_of, given_only, scatter


def fixpoint(step: Callable[[list[bool]], Sequence[bool]], start: Sequence[bool]) -> list[bool]:
    """The flags of the carry, grown until going round the loop once more adds none."""
    flags = list(start)
    while True:
        grown = either(flags, step(flags))
        if grown == flags:
            return flags
        flags = grown


def parts(values: Sequence, *sizes: int) -> list[list]:
    """The values cut into lists of these sizes, and a last one with the rest."""
    cut, start = [], 0
    for n in sizes:
        cut.append(list(values[start:start + n]))
        start += n
    return [*cut, list(values[start:])]


def stacked(t, length: int):
    """The type of `length` values of a type, one after the other along a new first axis."""
    return t.with_shape((length, *t.shape))


def interleave(graph: Graph, sizes: Sequence[int], marks: Sequence[bool], out_sizes: Sequence[int],
               out_marks: Sequence[bool]) -> Graph:
    """A jvp graph (inputs, then tangents -> outputs, then tangents) with the tangents of each group behind the group."""
    n, m = len(marks), len(out_marks)
    groups = parts(graph.inputs[:n], *sizes)
    tangents = parts(scatter(marks, graph.inputs[n:]), *sizes)
    outs = parts(graph.outputs[:m], *out_sizes)
    out_tangents = parts(scatter(out_marks, graph.outputs[m:]), *out_sizes)
    return graph.replace(inputs=tuple(v for g, t in zip(groups, tangents) for v in [*g, *given_only(t)]),
                         outputs=tuple(v for g, t in zip(outs, out_tangents) for v in [*g, *given_only(t)]))


# scan

class Scan(ControlOp):
    """scan(*consts, *init, *xs, body, num_consts, num_carry, length, reverse): body(*consts, *carry, *x) -> (*carry, *y).

    Outputs: the last carry, then every y stacked along a first axis. reverse: from the last x to the first.
    """

    def out_types(self, types, params):
        body, nc, nk, length = (params[k] for k in ("body", "num_consts", "num_carry", "length"))
        consts, init, xs = parts(types, nc, nk)
        if any(not t.shape or t.shape[0] != length for t in xs):
            raise GraphError(f"scan: of length {length} over ({', '.join(map(str, xs))})")
        check_operands("scan", body, [*consts, *init, *(t.with_shape(t.shape[1:]) for t in xs)])
        outs = body.output_types
        if [(t.shape, t.dtype) for t in outs[:nk]] != [(t.shape, t.dtype) for t in init]:
            raise GraphError(f"scan: the carry goes in as {[str(t) for t in init]} and comes out as "
                             f"{[str(t) for t in outs[:nk]]}")
        return [*outs[:nk], *(stacked(t, length) for t in outs[nk:])]

    def _grow(self, rule, marks, params) -> tuple[list, list, list, list]:
        """(marks of consts, carry, xs, ys), those of the carry grown to a fixpoint; rule(input marks) -> output marks."""
        nk = params["num_carry"]
        consts, init, xs = parts(marks, params["num_consts"], nk)
        carry = fixpoint(lambda flags: rule([*consts, *flags, *xs])[:nk], init)
        return consts, carry, xs, rule([*consts, *carry, *xs])[nk:]

    def active_outputs(self, active, params):
        from ..transforms.values import active_graph_outputs

        _, carry, _, ys = self._grow(lambda marks: active_graph_outputs(params["body"], marks), active, params)
        return [*carry, *ys]

    def pushforward(self, inputs, tangents, params):
        from ..transforms.jvp import jvp_graph
        from ..transforms.values import active_graph_outputs, or_zeros

        body, nc, nk = params["body"], params["num_consts"], params["num_carry"]
        cm, km, xm, ym = self._grow(lambda marks: active_graph_outputs(body, marks), flags_of(tangents), params)
        marks, out_marks = [*cm, *km, *xm], [*km, *ym]
        pushed = interleave(jvp_graph(body, marks, out_marks), (nc, nk), marks, (nk,), out_marks)
        groups, tangent_groups = parts(inputs, nc, nk), parts(tangents, nc, nk)
        tangent_groups[1] = [or_zeros(t, x.type) if k else None for t, x, k in zip(tangent_groups[1], groups[1], km)]
        operands = [x for g, t in zip(groups, tangent_groups) for x in [*g, *given_only(t)]]
        outs = bind_scan(operands, pushed, nc + sum(cm), nk + sum(km), params["length"], params["reverse"])
        carry, carry_t, ys, ys_t = parts(outs, nk, sum(km), len(ym))
        return [*carry, *ys], [*scatter(km, carry_t), *scatter(ym, ys_t)]

    def pullback(self, inputs, needed, params):
        from ..transforms.values import active_graph_outputs, or_zeros
        from ..transforms.vjp import split_vjp

        body, nc, nk, length = (params[k] for k in ("body", "num_consts", "num_carry", "length"))
        cn, kn, xn, yn = self._grow(lambda marks: active_graph_outputs(body, marks), needed, params)
        given = [*kn, *yn]
        free = [k < nc or k >= nc + nk for k in range(len(body.inputs))]
        split = split_vjp(body, [*cn, *kn, *xn], given, free_inputs=free, free_outputs=[k >= nk for k in range(len(given))],
                          recompute=True)
        outs = bind_scan(inputs, split.forward, nc, nk, length, params["reverse"])
        primal, saved = outs[:len(given)], outs[len(given):]
        residuals = split.residuals(inputs, primal, saved)
        constant = [kind == "in" and i < nc for kind, i in split.sources]
        types = [a.type for a in body.outputs]
        const_types = [v.type for v, n in zip(body.inputs, cn) if n]

        def pull(cts):
            ct_carry, ct_ys = parts([or_zeros(ct, x.type) if g else None for ct, x, g in zip(cts, primal, given)], nk)
            ct_carry, ct_ys = given_only(ct_carry), given_only(ct_ys)
            sums = [or_zeros(None, t) for t in const_types]
            sizes = (sum(constant), len(ct_carry), len(sums), len(constant) - sum(constant))
            backward = _backward_body(split.backward, constant, sizes, [t for t, g in zip(types, given) if g], const_types)
            operands = [*(r for r, c in zip(residuals, constant) if c), *ct_carry, *sums,
                        *(r for r, c in zip(residuals, constant) if not c), *ct_ys]
            found = bind_scan(operands, backward, sizes[0], sizes[1] + sizes[2], length, not params["reverse"])
            ct_init, ct_consts, ct_xs = parts(found, len(ct_carry), len(sums))
            return [*scatter(cn, ct_consts), *scatter(kn, ct_init), *scatter(xn, ct_xs)]

        return list(primal), pull

    def batch_some(self, size, inputs, batched, params):
        from ..transforms.vmap import batched_outputs, move_axis, spread, vmap_graph

        body, nc, nk = params["body"], params["num_consts"], params["num_carry"]
        cb, kb, xb, yb = self._grow(lambda marks: batched_outputs(body, marks, size), batched, params)
        consts, init, xs = parts(inputs, nc, nk)
        init = [spread(x, size) if b and not was else x for x, b, was in zip(init, kb, batched[nc:])]
        xs = [move_axis(x, 0, 1) if b else x for x, b in zip(xs, xb)]
        graph = vmap_graph(body, [*cb, *kb, *xb], size, [*kb, *yb])
        carry, ys = parts(bind_scan([*consts, *init, *xs], graph, nc, nk, params["length"], params["reverse"]), nk)
        return [*carry, *(move_axis(y, 1, 0) if b else y for y, b in zip(ys, yb))], [*kb, *yb]


def _backward_body(backward: Graph, constant: Sequence[bool], sizes: Sequence[int], ct_types: Sequence,
                   const_types: Sequence) -> Graph:
    """The body of the reverse scan: (constant residuals; cotangents of the carry, sums of those of the consts; residuals of the
    step, cotangents of y) -> (cotangents of the carry, sums; cotangents of x)."""
    from ..tracer import inline, trace
    from ..transforms.values import add_derivatives

    num_cts = len(ct_types)
    res_types = [v.type for v in backward.inputs[num_cts:]]

    def run(*values):
        fixed, ct_carry, sums, moving, ct_ys = parts(values, *sizes)
        fixed, moving = iter(fixed), iter(moving)
        residuals = [next(fixed) if c else next(moving) for c in constant]
        found = inline(backward, [*ct_carry, *ct_ys, *residuals])
        ct_consts, ct_carry, ct_xs = parts(found, sizes[2], sizes[1])
        return [*ct_carry, *(add_derivatives(a, b) for a, b in zip(sums, ct_consts)), *ct_xs]

    types = [*(t for t, c in zip(res_types, constant) if c), *ct_types[:sizes[1]], *const_types,
             *(t for t, c in zip(res_types, constant) if not c), *ct_types[sizes[1]:]]
    return trace(run, types, backward.name).graph


def bind_scan(operands: Sequence, body: Graph, num_consts: int, num_carry: int, length: int, reverse: bool) -> list:
    """The outputs of a scan in the current trace; expensive equations of consts alone are computed once, before it."""
    from ..transforms.values import live

    body, extra = hoist(live(body), num_consts, operands[:num_consts])
    return list(bind(scan, [*operands[:num_consts], *extra, *operands[num_consts:]],
                     {"body": body, "num_consts": num_consts + len(extra), "num_carry": num_carry, "length": length,
                      "reverse": reverse}))


def hoist(body: Graph, num_consts: int, consts: Sequence) -> tuple[Graph, list]:
    """(the body with the results of its expensive equations of consts alone as further consts, these results)."""
    from ..tracer import inline
    from ..transforms.values import is_cheap, live

    known = set(body.inputs[:num_consts])
    roots, before, rest = [], [], []
    for eqn in body.eqns:
        reached = [a for a in eqn.inputs if type(a) is Var]
        if reached and all(a in known for a in reached):
            known.update(eqn.outputs)
            before.append(eqn)
            if not is_cheap(eqn.op):
                roots += eqn.outputs
                continue
        rest.append(eqn)
    inner = live(body.replace(eqns=tuple(rest)))
    used = {a for eqn in inner.eqns for a in eqn.inputs} | set(inner.outputs)
    roots = [v for v in roots if v in used]
    if not roots:
        return body, []
    start = live(Graph(body.inputs[:num_consts], tuple(before), tuple(roots), f"before {body.name}"))
    return inner.replace(inputs=(*body.inputs[:num_consts], *roots, *body.inputs[num_consts:])), inline(start, consts)


def _scan(*operands, body, num_consts, num_carry, length, reverse):
    """The last carry and the stacked ys of `length` rounds of the body."""
    consts, carry, xs = parts(operands, num_consts, num_carry)
    ys = [np.empty((length, *a.type.shape), a.type.dtype) for a in body.outputs[num_carry:]]
    for i in (range(length - 1, -1, -1) if reverse else range(length)):
        outs = eval_graph(body, *consts, *carry, *(x[i] for x in xs))
        carry = outs[:num_carry]
        for stack, y in zip(ys, outs[num_carry:]):
            stack[i] = y
    return [*carry, *ys]


_scan.__name__ = _scan.__qualname__ = "scan"
scan = Scan(_scan)


# while_loop

class WhileLoop(ControlOp):
    """while_loop(*cond_consts, *body_consts, *carry, cond, body, cond_consts, body_consts): rounds until cond is false.

    cond(*cond_consts, *carry) -> bool; body(*body_consts, *carry) -> carry. The numbers of consts are static. Outputs: the last
    carry.
    """

    def out_types(self, types, params):
        cond_in, body_in, carry = parts(types, params["cond_consts"], params["body_consts"])
        check_operands("while_loop", params["cond"], [*cond_in, *carry])
        check_operands("while_loop", params["body"], [*body_in, *carry])
        check_operands("while_loop", params["body"].replace(inputs=params["body"].outputs), carry)
        return carry

    def _grow(self, rule, marks, params) -> tuple[list, list]:
        """(marks of the body's consts, marks of the carry grown to a fixpoint)."""
        _, consts, carry = parts(marks, params["cond_consts"], params["body_consts"])
        return consts, fixpoint(lambda flags: rule([*consts, *flags]), carry)

    def active_outputs(self, active, params):
        from ..transforms.values import active_graph_outputs

        return self._grow(lambda marks: active_graph_outputs(params["body"], marks), active, params)[1]

    def pushforward(self, inputs, tangents, params):
        from ..transforms.jvp import jvp_graph
        from ..transforms.values import active_graph_outputs, or_zeros

        cond, body, nb = params["cond"], params["body"], params["body_consts"]
        bm, km = self._grow(lambda marks: active_graph_outputs(body, marks), flags_of(tangents), params)
        cond_in, body_in, init = parts(inputs, params["cond_consts"], nb)
        _, body_t, init_t = parts(tangents, params["cond_consts"], nb)
        pushed = interleave(jvp_graph(body, [*bm, *km], km), (nb,), [*bm, *km], (), km)
        init_t = [or_zeros(t, x.type) for t, x, k in zip(init_t, init, km) if k]
        cond = cond.replace(inputs=(*cond.inputs, *(Var(t.type) for t in init_t)))
        outs = bind(self, [*cond_in, *body_in, *given_only(body_t), *init, *init_t],
                    params | {"cond": cond, "body": pushed, "body_consts": nb + sum(bm)})
        return list(outs[:len(init)]), scatter(km, outs[len(init):])

    def pullback(self, inputs, needed, params):
        def pull(cts):
            raise DerivativeError("while_loop: it has no reverse derivative, as the number of its rounds is not known",
                                  "use `fori_loop` with fixed bounds or `scan`, or forward mode: `jvp`, `jacfwd`",
                                  current_trace().source)

        return list(bind(self, inputs, params)), pull

    def batch_some(self, size, inputs, batched, params):
        from ..transforms.vmap import batched_outputs, spread, vmap_graph

        cond, body, nc, nb = (params[k] for k in ("cond", "body", "cond_consts", "body_consts"))
        cb = list(batched[:nc])
        bb, kb = self._grow(lambda marks: batched_outputs(body, marks, size), batched, params)
        cond_in, body_in, init = parts(inputs, nc, nb)
        lanes = batched_outputs(cond, [*cb, *kb], size)[0]
        kb = [True] * len(kb) if lanes else kb
        init = [spread(x, size) if b and not was else x for x, b, was in zip(init, kb, batched[nc + nb:])]
        if lanes:
            return self._batch_lanes(size, cond_in, body_in, init, cb, bb, params), kb
        graphs = {"cond": vmap_graph(cond, [*cb, *kb], size, [False]), "body": vmap_graph(body, [*bb, *kb], size, kb)}
        return list(bind(self, [*cond_in, *body_in, *init], params | graphs)), kb

    def _batch_lanes(self, size, cond_in, body_in, init, cb, bb, params) -> list:
        """Rounds until the condition fails in every lane; a lane where it has keeps its values. Conditions are carried."""
        from ..tracer import trace
        from ..transforms.vmap import batch_all
        from . import any, logical_and, reshape, where

        cond, body, nc, nb = (params[k] for k in ("cond", "body", "cond_consts", "body_consts"))
        marks = [True] * len(init)

        def going(consts, carry):
            return batch_all(cond, [*consts, *carry], [*cb, *marks], size)[0]

        def step(*values):
            cond_values, body_values, (on, *carry) = parts(values, nc, nb)
            new = batch_all(body, [*body_values, *carry], [*bb, *marks], size)
            new = [where(reshape(on, shape=(size, *(1,) * (x.ndim - 1))), y, x) for x, y in zip(carry, new)]
            return [logical_and(on, going(cond_values, new)), *new]

        on = going(cond_in, init)
        carried = [on.type, *(x.type for x in init)]
        outs = bind(self, [*cond_in, *body_in, on, *init], {
            "cond": trace(lambda on, *_: [any(on, axis=(0,))], carried, cond.name).graph, "cond_consts": 0,
            "body": trace(step, [*(x.type for x in (*cond_in, *body_in)), *carried], body.name).graph, "body_consts": nc + nb})
        return list(outs[1:])


def _while_loop(*operands, cond, body, cond_consts, body_consts):
    """The carry after the last round of the body."""
    cond_in, body_in, carry = parts(operands, cond_consts, body_consts)
    while eval_graph(cond, *cond_in, *carry)[0]:
        carry = eval_graph(body, *body_in, *carry)
    return carry


_while_loop.__name__ = _while_loop.__qualname__ = "while_loop"
while_loop = WhileLoop(_while_loop)
