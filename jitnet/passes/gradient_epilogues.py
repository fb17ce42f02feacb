"""gradient_epilogues: products of a training step, with the work around them that the GPU's library does as it stores.

    p = x @ w + b;  c = p <= 0;  h = where(c, 0, p);  ...  dp = where(c, 0, dy @ v)
        ->  h, bits = product(x, w, b, epilogue="relu_aux_bias");  dp = product(dy, v, bits, epilogue="drelu")
    h = gelu(p);  ...  dp = gelu'(p) * (dy @ v)
        ->  h, p = product(x, w, b, epilogue="gelu_aux_bias");  dp = product(dy, v, p, epilogue="dgelu")
    db = sum(dp, axis=0)                     ->  dp, db = product(..., epilogue="drelu_bgrad")       or dgelu_bgrad
    dw = x.T @ d;  db = sum(d, axis=0)       ->  dw, db = product(x.T, d, d, epilogue="bgrad_b")     of d.T @ x: bgrad_a

Before fusion, for float32; x may have leading axes, whose rows are joined, w is one matrix. Each is done only where all of it
goes through the library: a value that something else reads too is left as it is. What a product with an epilogue means stands
in its parameter `after`, as for all of them.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..codegen.epilogues import bits_leading
from ..ir import Atom, Const, Eqn, Graph, Var, definitions, uses
from ..op import OPS
from ..op_kinds import Elementwise
from ..types import F32
from .epilogue import gelu_forms, product_op, texts
from .rewrite import Rewriter, scalar

NEAR = 64   # equations around a tanh among which its gradient is looked for
POWERS = Const(2 ** np.arange(8, dtype=np.int32))
Has = Callable[[str, Sequence[Atom], dict[Var, Eqn]], bool]


def gradient_epilogues(graph: Graph, known: Callable[[], Collection[str]], has: Has) -> Graph:
    """The graph with such products, of the epilogues that `known()` gives.

    has(epilogue, operands, definitions): whether the library has an algorithm for that product.
    """
    if not any(map(is_plain, graph.eqns)):
        return graph
    finder = Finder(graph, known, has)
    for eqn in graph.eqns:
        if eqn.op is OPS["less_equal"]:
            finder.relu(eqn)
        elif eqn.op is OPS["tanh"]:
            finder.gelu(eqn)
    for eqn in graph.eqns:
        if is_row_sum(eqn):
            finder.row_sum(eqn)
    if not finder.made:
        return graph
    eqns = [finder.made.get(id(eqn), eqn) for eqn in graph.eqns if id(eqn) not in finder.gone]
    return graph.replace("gradient_epilogues", eqns=tuple(eqns))


def is_plain(eqn: Eqn | None) -> bool:
    """Is this a product of rows with one matrix, of float32?"""
    return eqn is not None and eqn.op is OPS["matmul"] and eqn.inputs[1].type.ndim == 2 and all(
        a.type.dtype == F32 and a.type.size for a in (*eqn.inputs, *eqn.outputs))


def is_row_sum(eqn: Eqn | None) -> bool:
    """Is this the sum of rows of float32?"""
    if eqn is None or eqn.op is not OPS["sum"] or eqn.inputs[0].type.dtype != F32:
        return False
    return eqn.params["axis"] == leading_axes(eqn.inputs[0]) != ()


def leading_axes(x: Atom) -> tuple[int, ...]:
    """All axes but the last."""
    return tuple(range(x.type.ndim - 1))


@dataclass(frozen=True)
class Layer:
    """A product and the bias added to it, up to `p`, what an activation is given."""

    product: Eqn
    bias: tuple[Var, ...]
    eqns: tuple[Eqn, ...]   # the product and the sum
    p: Var


class Finder:
    """Looks for products of one graph: `made` are equations in the place of old ones, `gone` those that are part of others."""

    def __init__(self, graph: Graph, known: Callable[[], Collection[str]], has: Has):
        self.graph, self.known, self.has = graph, known, has
        self.readers, self.definition = uses(graph), definitions(graph)
        self.place = {id(eqn): k for k, eqn in enumerate(graph.eqns)}
        self.made: dict[int, Eqn] = {}
        self.gone: set[int] = set()

    def free(self, eqn: Eqn | None) -> bool:
        """Is this a product that nothing was done with yet?"""
        return is_plain(eqn) and id(eqn) not in self.gone and id(eqn) not in self.made

    def layer(self, p: Atom) -> Layer | None:
        """The layer whose product, with its bias, is p."""
        eqn = self.definition.get(p) if type(p) is Var else None
        if self.free(eqn):
            return Layer(eqn, (), (eqn,), p)
        if eqn is None or eqn.op is not OPS["add"]:
            return None
        for x, bias in (eqn.inputs, eqn.inputs[::-1]):
            origin = self.definition.get(x) if type(x) is Var else None
            if self.free(origin) and self.readers[x] == [eqn] and type(bias) is Var and bias.type.shape == p.type.shape[-1:]:
                return Layer(origin, (bias,), (origin, eqn), p)
        return None

    def can(self, *products: tuple[str, Eqn]) -> bool:
        """Whether all these epilogues are known, and the library has them for these products."""
        return {name for name, _ in products} <= set(self.known()) and all(
            self.has(name, eqn.inputs, self.definition) for name, eqn in products)

    def relu(self, mask: Eqn) -> None:
        """where(p <= 0, 0, p) of a layer, with the products whose results pass the same mask."""
        (c,), (p, zero) = mask.outputs, mask.inputs
        layer = self.layer(p) if is_zero(zero) else None
        if layer is None or not all(is_masked(eqn, c) for eqn in self.readers[c]):
            return
        forward = [eqn for eqn in self.readers[c] if eqn.inputs[2] is p]
        backward = [(eqn, self.definition.get(eqn.inputs[2])) for eqn in self.readers[c] if eqn.inputs[2] is not p]
        if len(forward) != 1 or not backward or not {*map(id, self.readers[p])} <= {id(mask), id(forward[0])}:
            return
        if not all(self.free(product) and self.readers[eqn.inputs[2]] == [eqn] for eqn, product in backward):
            return
        name = "relu_aux_bias" if layer.bias else "relu_aux"
        gradients = [(eqn, product, self.sum_of(eqn)) for eqn, product in backward]
        if self.can((name, layer.product), *((named("drelu", total), product) for _, product, total in gradients)):
            bits = self.forward(layer, forward[0], (mask, forward[0]), name, with_bits)
            for eqn, product, total in gradients:
                self.backward(product, eqn, (eqn,), total, bits, "drelu", where_bits)

    def gelu(self, tanh: Eqn) -> None:
        """gelu of a layer, in its form with tanh, with the product that its gradient is multiplied with."""
        inner, forms = self.definition.get(tanh.inputs[0]), gelu_forms("h", "s")
        total = next((self.definition.get(a) for a in inner.inputs if type(a) is Var), None) if inner is not None else None
        for p in total.inputs if total is not None and total.op is OPS["add"] else ():
            layer = self.layer(p)
            near = self.near(p) if layer is not None else []
            if texts(near, {p: "h"}).get(tanh.outputs[0]) != forms["tanh"]:
                continue
            for s in dict.fromkeys(a for eqn in near for a in eqn.inputs if a is not p and self.free(self.definition.get(a))):
                found = {text: self.definition[v] for v, text in texts(near, {p: "h", s: "s"}).items() if v not in (p, s)}
                if forms["gelu"] in found and forms["dgelu"] in found:
                    self.gelu_pair(layer, s, found[forms["gelu"]], found[forms["dgelu"]])
                    return

    def gelu_pair(self, layer: Layer, s: Var, forward: Eqn, backward: Eqn) -> None:
        """Takes a gelu and its gradient, when nothing else reads what stands between."""
        there = self.between(forward, (layer.p,)), self.between(backward, (layer.p, s))
        inner = {id(eqn) for eqns in there for eqn in eqns}
        ends = {id(forward), id(backward)}
        read = [layer.p, s, *(eqn.outputs[0] for eqns in there for eqn in eqns if id(eqn) not in ends)]
        if not all(eqn is not None and id(eqn) in inner for v in read for eqn in self.readers[v]):
            return
        product, total = self.definition[s], self.sum_of(backward)
        name = "gelu_aux_bias" if layer.bias else "gelu_aux"
        if self.can((name, layer.product), (named("dgelu", total), product)):
            aux = self.forward(layer, forward, there[0], name, with_argument)
            body = Graph((s, layer.p), there[1], backward.outputs, "dgelu")
            self.backward(product, backward, there[1], total, aux, "dgelu", lambda writer, atoms: writer.inline(body, atoms)[0])

    def near(self, p: Var) -> list[Eqn]:
        """The elementwise equations that p goes into, at any distance, the nearest ones."""
        found: dict[int, Eqn] = {}
        pending = [p]
        while pending and len(found) < NEAR:
            for eqn in self.readers[pending.pop(0)]:
                if eqn is not None and isinstance(eqn.op, Elementwise) and id(eqn) not in found:
                    found[id(eqn)] = eqn
                    pending.append(eqn.outputs[0])
        return sorted(found.values(), key=lambda eqn: self.place[id(eqn)])

    def between(self, end: Eqn, starts: Sequence[Var]) -> tuple[Eqn, ...]:
        """The equations that compute the result of one from some values, in order."""
        found, pending = {id(end): end}, [end]
        while pending:
            for atom in pending.pop().inputs:
                eqn = self.definition.get(atom) if type(atom) is Var and atom not in starts else None
                if eqn is not None and id(eqn) not in found:
                    found[id(eqn)] = eqn
                    pending.append(eqn)
        return tuple(sorted(found.values(), key=lambda eqn: self.place[id(eqn)]))

    def sum_of(self, eqn: Eqn) -> Eqn | None:
        """The equation that sums the rows of a result: the gradient of a bias."""
        return next((reader for reader in self.readers[eqn.outputs[0]] if is_row_sum(reader)), None)

    # New equations

    def forward(self, layer: Layer, end: Eqn, between: tuple[Eqn, ...], name: str, keep: Callable) -> Var:
        """Puts the product of a layer with its activation in the place of `end`; returns what it keeps for the gradient."""
        inputs = (layer.product.outputs[0], *layer.bias)
        fresh, writer = [Var(v.type) for v in inputs], Rewriter()
        body = Graph(inputs, (*layer.eqns[1:], *between), (end.outputs[0], layer.p), name)
        outputs = keep(writer, *writer.inline(body, fresh))
        after = Graph(tuple(fresh), tuple(writer.eqns), tuple(outputs), name)
        kept = Var(outputs[1].type)
        inputs, outputs = (*layer.product.inputs, *layer.bias), (end.outputs[0], kept)
        self.take(end, product_equation(name, inputs, after, outputs, end), (*layer.eqns, *between))
        return kept

    def backward(self, product: Eqn, end: Eqn, between: tuple[Eqn, ...], total: Eqn | None, aux: Var, name: str,
                 write: Callable) -> None:
        """Puts the product of a gradient with the derivative of an activation, and its sums if wanted, where `end` stands."""
        fresh, writer = (Var(product.outputs[0].type), Var(aux.type)), Rewriter()
        results = [write(writer, fresh)]
        if total is not None:
            results.append(writer.emit(OPS["sum"], (results[0],), axis=leading_axes(results[0])))
        name, totals = named(name, total), () if total is None else (total,)
        after = Graph(fresh, tuple(writer.eqns), tuple(results), name)
        outputs = (*end.outputs, *(v for eqn in totals for v in eqn.outputs))
        self.take(end, product_equation(name, (*product.inputs, aux), after, outputs, end), (product, *between, *totals))

    def row_sum(self, total: Eqn) -> None:
        """The sum of rows, by a product that runs over the same rows."""
        (d,) = total.inputs
        if id(total) in self.gone or type(d) is not Var:
            return
        flat = (d.type.size // max(d.type.shape[-1], 1), d.type.shape[-1])
        joined = [d] if d.type.ndim == 2 else [v for v in self.read_by(d, "reshape") if v.type.shape == flat]
        pairs = [("bgrad_b", eqn, v) for v in joined for eqn in self.readers[v] if self.free(eqn) and eqn.inputs[1] is v]
        pairs += [("bgrad_a", eqn, v) for v in joined for t in self.read_by(v, "transpose") for eqn in self.readers[t]
                  if self.free(eqn) and eqn.inputs[0] is t]
        for name, product, d in pairs:
            last = max(product, total, key=lambda eqn: self.place[id(eqn)])
            outputs = (*product.outputs, *total.outputs)
            first = min([self.place.get(id(eqn), len(self.place)) for v in outputs for eqn in self.readers[v]], default=0)
            if first > self.place[id(last)] and self.can((name, product)):
                p, rows, writer = Var(product.outputs[0].type), Var(d.type), Rewriter()
                after = Graph((p, rows), (), (p, writer.emit(OPS["sum"], (rows,), axis=(0,))), name)
                after = after.replace(eqns=tuple(writer.eqns))
                self.take(last, product_equation(name, (*product.inputs, d), after, outputs, product), (product, total))
                return

    def read_by(self, v: Var, name: str) -> list[Var]:
        """The results of an op on a value."""
        return [eqn.outputs[0] for eqn in self.readers[v] if eqn is not None and eqn.op is OPS[name]]

    def take(self, at: Eqn, new: Eqn, parts: Sequence[Eqn]) -> None:
        """Puts an equation in the place of one, and of others that are part of it."""
        self.gone.update(id(eqn) for eqn in parts if eqn is not at)
        self.made[id(at)] = new


def product_equation(name: str, inputs: Sequence[Atom], after: Graph, outputs: Sequence[Var], like: Eqn) -> Eqn:
    return Eqn(product_op, tuple(inputs), {"epilogue": name, "after": after}, tuple(outputs), like.source)


def named(name: str, total: Eqn | None) -> str:
    """The name of a gradient's epilogue, with the sums of its rows if these are wanted."""
    return name if total is None else f"{name}_bgrad"


def is_zero(atom: Atom) -> bool:
    return type(atom) is Const and atom.is_scalar and float(atom.value) == 0


def is_masked(eqn: Eqn | None, c: Var) -> bool:
    """Is this where(c, 0, a matrix)?"""
    return eqn is not None and eqn.op is OPS["where"] and eqn.inputs[0] is c and is_zero(eqn.inputs[1]) and (
        eqn.inputs[2].type.shape == c.type.shape)


# What epilogues mean

def with_argument(writer: Rewriter, h: Atom, p: Atom) -> tuple[Atom, Atom]:
    """An activation with what it was given."""
    return h, p


def with_bits(writer: Rewriter, h: Atom, p: Atom) -> tuple[Atom, Atom]:
    """A relu with a bit per element, 1 where the gradient passes: rows of whole 16 bytes, the first bit the lowest."""
    *rows, columns = p.type.shape
    leading = bits_leading(columns)
    passes = writer.emit(OPS["logical_not"], (writer.emit(OPS["less_equal"], (p, scalar(0, F32))),))
    ones = writer.emit(OPS["cast"], (passes,), dtype=np.dtype(np.int32))
    if leading > columns:
        ones = writer.emit(OPS["pad"], (ones, scalar(0, np.int32)), low=(0,) * p.type.ndim,
                           high=(*(0 for _ in rows), leading - columns))
    eights = writer.emit(OPS["reshape"], (ones,), shape=(*rows, leading // 8, 8))
    summed = writer.emit(OPS["sum"], (writer.emit(OPS["multiply"], (eights, POWERS)),), axis=(p.type.ndim,))
    return h, writer.emit(OPS["cast"], (summed,), dtype=np.dtype(np.uint8))


def where_bits(writer: Rewriter, inputs: Sequence[Atom]) -> Atom:
    """A gradient where the bit of its element is 1, else 0."""
    g, bits = inputs
    wide = writer.emit(OPS["cast"], (bits,), dtype=np.dtype(np.int32))
    eights = writer.emit(OPS["reshape"], (wide,), shape=(*bits.type.shape, 1))
    ones = writer.emit(OPS["not_equal"], (writer.emit(OPS["bitwise_and"], (eights, POWERS)), scalar(0, np.int32)))
    flat = writer.emit(OPS["reshape"], (ones,), shape=(*bits.type.shape[:-1], 8 * bits.type.shape[-1]))
    n = g.type.ndim
    passes = writer.emit(OPS["slice"], (flat,), start=(0,) * n, size=g.type.shape, step=(1,) * n)
    return writer.emit(OPS["where"], (passes, g, scalar(0, F32)))
