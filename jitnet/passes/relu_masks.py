"""relu_masks: gradients of relu look at what relu gave instead of at what it was given.

    h = relu(p); ... p <= 0   ->   h <= 0        p = x @ w + b, which then nobody needs but relu
    h = relu(p); ... p > 0    ->   h > 0

Each is true for the same elements as before, and false for NaN. In a training step a dense layer becomes one product with an
epilogue that way, where a GPU's library has a relu that keeps NaN. Elsewhere the gradient still reads one array instead of an
array and the bias, and the product is needed no longer once relu was computed, which lies where the product lay.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir import Atom, Const, Eqn, Graph, Var, definitions, uses
from ..op import OPS
from .kernel import kernel_op


def relu_masks(graph: Graph, relu: Callable[[Eqn, dict[Var, Eqn]], tuple[Var, Atom | None] | None]) -> Graph:
    """The graph whose kernels read h in the place of p. `relu(eqn, definitions)`: (the product, the bias or None) of a kernel
    that computes a relu, None for other kernels."""
    readers, definition = uses(graph), definitions(graph)
    place = {id(eqn): k for k, eqn in enumerate(graph.eqns)}
    eqns = list(graph.eqns)
    for k, eqn in enumerate(graph.eqns):
        found = relu(eqn, definition) if eqn.op is kernel_op else None
        if found is None:
            continue
        others = [place.get(id(reader), -1) for reader in readers[found[0]] if reader is not eqn]   # -1: an output
        new = {j: _masked(eqns[j], *found, eqn.outputs[0]) if j > k else None for j in others}
        if None not in new.values():
            for j, reader in new.items():
                eqns[j] = reader
    return graph if all(a is b for a, b in zip(eqns, graph.eqns)) else graph.replace("relu_masks", eqns=tuple(eqns))


def _masked(eqn: Eqn, x: Var, bias: Atom | None, h: Var) -> Eqn | None:
    """The kernel that reads h where it read the product x, if it only asks for the sign of x + bias; else None."""
    if eqn.op is not kernel_op or eqn.inputs.count(x) != 1:
        return None
    body, inside = eqn.params["body"], dict(zip(eqn.inputs, eqn.params["body"].inputs))
    readers, p, added = uses(body), inside[x], None
    if bias is not None:
        if readers[p] == [None] or len(readers[p]) != 1 or bias not in inside:
            return None
        (added,) = readers[p]
        if added.op is not OPS["add"] or set(added.inputs) != {p, inside[bias]}:
            return None
        p = added.outputs[0]
    if not all(_asks_for_sign(reader, p) for reader in readers[p]):
        return None
    result = inside.get(h) or Var(h.type)
    inputs = []
    for atom, var in zip(eqn.inputs, body.inputs):
        if atom is x:
            inputs += [] if h in inside else [(h, result)]
        elif atom is not bias or readers[var] != [added]:
            inputs.append((atom, var))
    inner = tuple([e.replace(inputs=(result, e.inputs[1])) if e.inputs and e.inputs[0] is p else e
                   for e in body.eqns if e is not added])
    body = body.replace(inputs=tuple([var for _, var in inputs]), eqns=inner)
    return eqn.replace(inputs=tuple([atom for atom, _ in inputs]), params={**eqn.params, "body": body})


def _asks_for_sign(eqn: Eqn | None, p: Var) -> bool:
    """Is this p <= 0 or p > 0?"""
    if eqn is None or eqn.op not in (OPS["less_equal"], OPS["greater"]):
        return False
    left, right = eqn.inputs
    return (left is p and type(right) is Const and right.is_scalar and type(right.value) is np.ndarray
            and float(right.value) == 0)
