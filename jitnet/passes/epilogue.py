"""epilogue: a product and the kernel after it become one, where the GPU's library can do the kernel's work as it stores.

    x @ w + b   ->  product(x, w, b, epilogue="bias")
    relu(...)   ->  product(..., epilogue="relu_bias")        also without b; likewise gelu in its form with tanh
    cast(x, f32) @ cast(w, f32)  ->  product(x, w, epilogue="")   of halves x and w: tensor cores, and half the bytes

For float32: narrower floats would be rounded less often than each op by itself is. Of a product that is read elsewhere too,
as derivatives often do, nothing changes, except that gradients of relu can do without it (relu_masks.py).
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from ..codegen.epilogues import GELU
from ..ir import Atom, Const, Eqn, Graph, Var, definitions, eval_graph, uses
from ..op import OPS
from ..op_kinds import Control
from ..types import F32, HALVES
from .kernel import kernel_op
from .relu_masks import relu_masks

COMMUTATIVE = ("add", "multiply", "maximum")
MOST_LETTERS = 4000   # of an expression: x * x * x ... would double with every step
LONGEST = 16   # equations of a kernel that is looked at: gelu of a sum has 10

class ProductOp(Control):
    """A matrix product with an epilogue. inputs: x, y and what the epilogue reads; params: epilogue, its name in
    codegen/epilogues.py, and `after`, the Graph of what it does to the product and those."""

    kind = "product"

    def out_types(self, types, params):
        return [a.type for a in params["after"].outputs]

    def evaluate(self, arrays, params):
        return product(*arrays, **params)


def product(x, y, *more, epilogue, after):
    """The results of what follows the product of two matrices."""
    return eval_graph(after, np.matmul(wide(x), wide(y)), *more)


def wide(x: np.ndarray) -> np.ndarray:
    """The array in float32 when it holds halves."""
    return x.astype(F32) if x.dtype in HALVES else x


product_op = ProductOp(product, register=False)


def epilogue(graph: Graph, known: Callable[[], Collection[str]]) -> Graph:
    """The graph with products and what follows them as one, for the epilogues that `known()` gives."""
    if not any(eqn.op is OPS["matmul"] for eqn in graph.eqns):
        return graph
    graph = relu_masks(of_halves(graph), relu)
    readers, definition = uses(graph), definitions(graph)
    gone: set[int] = set()   # ids of products that became part of another equation
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        made = fused(eqn, readers, definition, known) if eqn.op is kernel_op else None
        if made is not None:
            gone.add(id(definition[made[0]]))
        eqns.append(eqn if made is None else made[1])
    return graph.replace("epilogue", eqns=tuple(e for e in eqns if id(e) not in gone))


def of_halves(graph: Graph) -> Graph:
    """The graph with products in float32 of two casts from the same half dtype as products of what was cast."""
    definition = definitions(graph)
    eqns: list[Eqn] = []
    casts: list[Eqn] = []
    for eqn in graph.eqns:
        origins = [definition.get(a) if type(a) is Var else None for a in eqn.inputs] if eqn.op is OPS["matmul"] else [None]
        if all(map(is_cast, origins)) and len({o.inputs[0].type.dtype for o in origins}) == 1:
            casts += origins
            p = Var(eqn.outputs[0].type)
            after = Graph((p,), (), (p,), "product")
            x, y = (o.inputs[0] for o in origins)
            eqn = Eqn(product_op, (x, y), {"epilogue": "", "after": after}, eqn.outputs, eqn.source)
        eqns.append(eqn)
    if not casts:
        return graph
    read = {a for eqn in eqns for a in eqn.inputs} | set(graph.outputs)
    unread = {id(o) for o in casts if o.outputs[0] not in read}
    return graph.replace("of_halves", eqns=tuple([eqn for eqn in eqns if id(eqn) not in unread]))


def is_cast(eqn: Eqn | None) -> bool:
    """Is this a kernel that casts an array of halves to float32, and does nothing else?"""
    if eqn is None or eqn.op is not kernel_op or len(eqn.params["body"].eqns) != 1 or len(eqn.inputs) != 1:
        return False
    (inner,), (x,), (out,) = eqn.params["body"].eqns, eqn.inputs, eqn.outputs
    return inner.op is OPS["cast"] and x.type.dtype in HALVES and out.type.dtype == F32 and x.type.shape == out.type.shape


def is_product(eqn: Eqn | None) -> bool:
    """Is this a product with nothing after it?"""
    return eqn is not None and (eqn.op is OPS["matmul"] or (eqn.op is product_op and not eqn.params["epilogue"]))


def fused(eqn: Eqn, readers: dict, definition: dict[Var, Eqn], known: Callable) -> tuple[Var, Eqn] | None:
    """(the product's Var, the equation of product and kernel in one), where there is one."""
    k, name = named(eqn, definition) or (0, "")
    atom, body = eqn.inputs[k] if eqn.inputs else None, eqn.params["body"]
    if not name or readers[atom] != [eqn] or name not in known():
        return None
    bias = [j for j in range(len(eqn.inputs)) if j != k]
    after = body.replace(inputs=(body.inputs[k], *(body.inputs[j] for j in bias)))
    origin = definition[atom]
    inputs = (*origin.inputs, *(eqn.inputs[j] for j in bias))
    return atom, Eqn(product_op, inputs, {"epilogue": name, "after": after}, eqn.outputs, eqn.source or origin.source)


def relu(eqn: Eqn, definition: dict[Var, Eqn]) -> tuple[Var, Atom | None] | None:
    """(the product, the bias or None) of a kernel that computes what the epilogues `relu` or `relu_bias` do."""
    k, name = named(eqn, definition) or (0, "")
    if name not in ("relu", "relu_bias"):
        return None
    return eqn.inputs[k], eqn.inputs[1 - k] if name == "relu_bias" else None


def named(eqn: Eqn, definition: dict[Var, Eqn]) -> tuple[int, str] | None:
    """(which operand is a product, the epilogue that does what the kernel does to it), where there is one."""
    body = eqn.params["body"]
    if len(body.outputs) != 1 or eqn.params["reduce"] or len(eqn.inputs) > 2 or len(body.eqns) > LONGEST:
        return None
    for k, atom in enumerate(eqn.inputs):
        origin = definition.get(atom) if type(atom) is Var else None
        if not is_product(origin) or atom.type.dtype != F32:
            continue
        shape, bias = body.outputs[0].type.shape, [v for j, v in enumerate(body.inputs) if j != k]
        if shape != atom.type.shape or atom.type.size == 0 or any(b.type.shape != shape[-1:] for b in bias):
            continue
        spelled = texts(body.eqns, {body.inputs[k]: "x", **dict.fromkeys(bias, "b")})
        name = FORMS.get(spelled.get(body.outputs[0], "?"))
        if name is not None:
            return k, name
    return None


def texts(eqns: Sequence[Eqn], names: dict[Var, str]) -> dict[Var, str]:
    """Value -> the expression that it is in terms of the named ones, as text: equal for equal expressions, also with the
    operands of a sum exchanged. Of equations in order; `?` stands for anything else."""
    found = dict(names)

    def text(atom: Atom) -> str:
        if type(atom) is Const:   # a number that follows from open sizes is another one for other sizes
            return f"{float(atom.value):.6g}" if atom.is_scalar and type(atom.value) is np.ndarray else "?"
        return found.get(atom, "?")

    for eqn in eqns:
        spelled = call(eqn.op.name, *map(text, eqn.inputs)) if not eqn.params else "?"
        found.update((out, spelled if len(spelled) < MOST_LETTERS else "?") for out in eqn.outputs if out not in names)
    return found


def call(name: str, *parts: str) -> str:
    return f"{name}({', '.join(sorted(parts) if name in COMMUTATIVE else parts)})"


def gelu_forms(h: str, s: str = "s") -> dict[str, str]:
    """The expressions of gelu of h, in its form with tanh: the tanh in it, itself, and its derivative times s."""
    half, cubic, scale = (f"{c:.6g}" for c in GELU)
    square = call("multiply", h, h)
    inner = call("multiply", scale, call("add", h, call("multiply", cubic, call("multiply", square, h))))
    tanh = f"tanh({inner})"
    side = call("multiply", scale, call("multiply", call("multiply", call("multiply", half, h), s),
                                        call("subtract", "1", call("multiply", tanh, tanh))))
    third = call("multiply", cubic, side)
    cube = call("multiply", call("multiply", third, h), h)
    parts = call("add", call("add", call("add", side, call("multiply", square, third)), cube), cube)
    ends = call("multiply", half, call("multiply", s, call("add", "1", tanh)))
    return {"tanh": tanh, "gelu": call("multiply", call("multiply", half, h), call("add", "1", tanh)),
            "dgelu": call("add", parts, ends)}


def _forms() -> dict[str, str]:
    """Expression -> name of the epilogue that computes it."""
    table = {}
    for end, h in (("", "x"), ("bias", call("add", "x", "b"))):
        relus = (f"where(less_equal({h}, 0), 0, {h})", call("maximum", h, "0"))
        if end:
            table[h] = end
        for name, forms in (("relu", relus), ("gelu", (gelu_forms(h)["gelu"],))):
            table |= dict.fromkeys(forms, f"{name}_{end}" if end else name)
    return table


FORMS = _forms()
