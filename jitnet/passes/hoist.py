"""hoist: work that is the same in every round of a loop, or independent of the rounds before, is done in front of it.

    what reads consts alone          -> computed once, a const of the loop
    matmul(x_t, w)                   -> matmul(X, w) for all rounds at once; its rows are new xs
    c_t+1 = c_t                      -> a const
    c_t+1 = c_t + matmul(x_t, y_t)   -> one product after the loop: `sink`

Cheap elementwise work stays where it is: it melts into the kernels of the body, while its result in front of the loop would
have to be stored and read. Inner loops come first, so what leaves one is work of the body around it and may go on from there.
"""
from __future__ import annotations

from .. import ops
from ..ir import Atom, Const, Eqn, Graph, Var
from ..transforms.values import is_cheap, live
from .fuse import fusible, is_view
from .open_loop import STACK_BYTES, OpenScan
from .rewrite import Rewriter, everywhere
from .sink import sink_sums

TURNED_BYTES = 64 << 10  # a transposed operand of a product is copied once rather than walked in every round up to this size
MAPPED = ("elementwise", "movement", "reduction", "contraction", "creation", "gather")  # what has a form for all rounds
HARMLESS = ("elementwise", "movement", "reduction", "contraction", "creation")  # what cannot fail in a loop of no rounds


def _read_from_memory(eqns, definition: dict[Var, Eqn]) -> list[Var]:
    """Defined values that equations read from memory: what melts into kernels would be written there in every round."""
    found = []
    for eqn in eqns:
        atoms = eqn.inputs if not fusible(eqn) else eqn.inputs[:1] if eqn.op is ops.gather else ()
        found += [a for a in atoms if a in definition and _must_be_written(eqn, a, definition)]
    return found


def _must_be_written(reader: Eqn, atom: Var, definition: dict[Var, Eqn]) -> bool:
    """Whether an operand is more than a view of something that lies in memory, as its reader sees it."""
    inner, reshaped = atom, True
    while inner in definition and is_view(definition[inner]):
        reshaped = reshaped and definition[inner].op is ops.reshape
        inner = definition[inner].inputs[0]
    if inner in definition:
        return True
    return not reshaped and (reader.op.kind != "contraction" or atom.type.nbytes <= TURNED_BYTES)


def take_out(out: Rewriter, consts: list[tuple[Var, Atom]], graph: Graph, kinds=None) -> Graph:
    """The body of a loop without what consts alone decide: that is written to `out`; `consts` gets the new ones."""
    known: set[Atom] = {v for v, _ in consts}
    before, roots, rest = [], [], []
    for eqn in graph.eqns:
        fixed = all(a in known or type(a) is Const for a in eqn.inputs) and (kinds is None or eqn.op.kind in kinds)
        if fixed:
            known.update(eqn.outputs)
            before.append(eqn)
        if fixed and not is_cheap(eqn.op):
            roots += eqn.outputs
        else:
            rest.append(eqn)
    definition = {v: eqn for eqn in before for v in eqn.outputs}
    more = set(_read_from_memory([eqn for eqn in rest if eqn not in before], definition)).difference(roots)
    rest = live(graph.replace(eqns=tuple([eqn for eqn in rest if not more.intersection(eqn.outputs)])))
    read = {a for eqn in rest.eqns for a in eqn.inputs} | set(rest.outputs)
    roots = [v for v in definition if v in read and (v in more or v in roots)]
    if not roots:
        return graph
    start = live(Graph(tuple([v for v, _ in consts]), tuple(before), tuple(roots), "before"))
    consts += zip(roots, out.inline(start, [a for _, a in consts]), strict=True)
    return rest


# scan

def _scan(out: Rewriter, eqn: Eqn) -> bool:
    loop = OpenScan(eqn)
    loop.constant_carries()
    sink_sums(loop, out.definition)
    loop.eqns = list(take_out(out, loop.consts, loop.graph()).eqns)
    _all_rounds(out, loop)
    sink_sums(loop, out.definition, (False,))  # of products that are xs now
    loop.known_stacks()
    return loop.close(out)


def _all_rounds(out: Rewriter, loop: OpenScan) -> None:
    """Products that do not depend on the carry, with what they need, for all rounds at once."""
    from ..transforms.vmap import vmap_graph

    moving, fixed = loop.reached(loop.xs), loop.reached(loop.carries)
    free: list[Eqn] = []
    for eqn in loop.eqns:
        if any(a in fixed for a in eqn.inputs) or eqn.op.kind not in MAPPED:
            fixed.update(eqn.outputs)
        else:
            free.append(eqn)
    roots, total = {}, loop.added
    for eqn in free:
        if eqn.op is ops.matmul and eqn.outputs[0] in moving and eqn.inputs[0].type.shape[-1] > 1:
            total += loop.length * sum([a.type.nbytes for a in (*eqn.inputs, *eqn.outputs) if a in moving])
            if total <= STACK_BYTES:
                roots[eqn.outputs[0]] = None
    if not roots:
        return
    inputs = [*loop.consts, *loop.xs]
    needed = live(Graph(tuple([v for v, _ in inputs]), tuple(free), tuple(roots), loop.body.name)).eqns
    kept = [v for eqn in needed if not is_cheap(eqn.op) for v in eqn.outputs if v in moving]
    rest = [eqn for eqn in loop.eqns if not any(v in kept for v in eqn.outputs)]
    rest = live(Graph((), tuple(rest), (*loop.next, *loop.ys)))
    read = {a for eqn in rest.eqns for a in eqn.inputs} | set(rest.outputs)
    wanted = [v for v in kept if v in read]
    if not wanted:
        return
    graph = live(Graph(tuple([v for v, _ in inputs]), tuple(needed), tuple(wanted), loop.body.name))
    mapped = vmap_graph(graph, [False] * len(loop.consts) + [True] * len(loop.xs), loop.length)
    loop.xs += zip(wanted, out.inline(mapped, [a for _, a in inputs]), strict=True)
    loop.eqns = list(rest.eqns)


# while_loop

def _while_loop(out: Rewriter, eqn: Eqn) -> bool:
    p = eqn.params
    cond, body, n_cond, n_body = p["cond"], p["body"], p["cond_consts"], p["body_consts"]
    init = eqn.inputs[n_cond + n_body:]
    in_cond, in_body = list(zip(cond.inputs, eqn.inputs)), list(zip(body.inputs, eqn.inputs[n_cond:]))
    del in_cond[n_cond:], in_body[n_body:]
    kept = []
    for k, (new, var) in enumerate(zip(body.outputs, body.inputs[n_body:], strict=True)):
        if new is var:  # handed on as it is
            in_cond.append((cond.inputs[n_cond + k], init[k]))
            in_body.append((var, init[k]))
            out.env[eqn.outputs[k]] = init[k]
        else:
            kept.append(k)
    new_cond = take_out(out, in_cond, cond, HARMLESS)
    new_body = take_out(out, in_body, body, HARMLESS)
    if len(kept) == len(init) and new_cond is cond and new_body is body:
        out.add(eqn)
        return False
    pick = lambda values, first=0: tuple([values[first + k] for k in kept])
    new_cond = new_cond.replace(inputs=(*[v for v, _ in in_cond], *pick(cond.inputs, n_cond)))
    new_body = new_body.replace(inputs=(*[v for v, _ in in_body], *pick(body.inputs, n_body)), outputs=pick(body.outputs))
    params = {"cond": new_cond, "cond_consts": len(in_cond), "body": new_body, "body_consts": len(in_body)}
    inputs = (*[a for _, a in in_cond], *[a for _, a in in_body], *pick(init))
    out.add(eqn.replace(inputs=inputs, params={**p, **params}, outputs=pick(eqn.outputs)))
    return True


def _applies(eqn: Eqn) -> bool:
    return eqn.op.name == "while_loop" or (eqn.op.name == "scan" and eqn.params["length"] > 0)


@everywhere
def hoist(graph: Graph) -> Graph:
    """The graph with the work that its loops need not do in every round in front of them, or after them."""
    if not any(_applies(eqn) for eqn in graph.eqns):
        return graph
    out, changed = Rewriter(), False
    for eqn in graph.eqns:
        new = out.renamed(eqn) if out.env else eqn
        if _applies(eqn):
            out.source = eqn.source
            changed |= (_scan if eqn.op.name == "scan" else _while_loop)(out, new)
        else:
            out.add(new)
    return out.graph(graph, "hoist") if changed else graph
