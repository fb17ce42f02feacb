"""A symbol as compiled programs: one predicts, one predicts and keeps what the gradients need, one computes the gradients.

Programs write into arrays that are passed to them, so an executor's outputs and gradients keep their memory. Executors of
symbols with the same graph, types and gradients share them.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MXNetError, OperatorError
from ..ir import Graph
from ..jit import JitFunction, jit
from ..operators import KEY
from ..random import fold_in
from ..tracer import inline, trace
from ..transforms.vjp import Split, split_vjp
from ..types import ArrayType
from . import infer
from .node import Entry, Node, order

KEPT = 256  # symbols whose programs are kept; the oldest goes first


def body(entries: Sequence[Entry], arguments: Sequence[Node], states: Sequence[Node], types: Sequence[ArrayType],
         training: bool, random: bool) -> Callable:
    """The symbol as a function of arrays: (arguments, states, a key if `random`) -> (outputs, new states)."""
    nodes = order(entries)
    filled = open_parameters(entries, [*arguments, *states], types)

    def run(*arrays):
        key = arrays[-1] if random else None
        variables = [*arguments, *states]
        values: dict[tuple[int, int], object] = {(id(n), 0): a for n, a in zip(variables, arrays)}
        for number, node in enumerate(nodes):
            if node.op is None:
                continue
            options = dict(filled.get(id(node), node.params))
            if node.op.mode:
                options["training"] = training
            if node.op.random:
                options["key"] = fold_in(key, number) if node.op.draws(options) else None
            results = node.op.body(*[values[id(n), k] for n, k in node.inputs], **options)
            results = results if isinstance(results, (tuple, list)) else (results,)
            count = node.num_outputs
            values.update({(id(node), k): r for k, r in enumerate(results[:count])})
            values.update({(id(n), 0): r for n, r in zip(node.auxiliary(), results[count:])})
        return [*(values[id(n), k] for n, k in entries), *(values[id(n), 0] for n in states)]
    return run


def open_parameters(entries: Sequence[Entry], variables: Sequence[Node], types: Sequence[ArrayType]) -> dict[int, dict]:
    """Id of node -> its parameters, of the nodes that leave a size open: it follows from where they are used."""
    nodes = [node for node in order(entries) if node.op is not None and node.op.sized is not None]
    if not nodes:
        return {}
    shapes = infer.shapes(entries, {id(n): t.shape for n, t in zip(variables, types) if 0 not in t.shape})
    found = {id(node): (node, shapes.get((id(node), 0))) for node in nodes}
    unknown = next((node for node, shape in found.values() if shape is None), None)
    if unknown is not None:
        raise OperatorError(f"Error in operator {unknown.name}: nothing says what shape it has", "give it a shape",
                            unknown.source)
    return {place: node.op.sized(node.params, shape) for place, (node, shape) in found.items()}


def draws(entries: Sequence[Entry], training: bool) -> bool:
    """Whether the symbol draws random numbers."""
    return any(n.op is not None and n.op.draws({**n.params, "training": training}) for n in order(entries))


@dataclass(frozen=True, eq=False)
class Forward:
    """Outputs and new states, written into arrays: run(arguments, states, key?, output arrays, residual arrays).

    residuals: types of what a training forward keeps for the gradients.
    """

    random: bool
    run: JitFunction
    outputs: tuple[ArrayType, ...]
    residuals: tuple[ArrayType, ...] = ()


class Programs:
    """The compiled programs of one symbol for arrays of given types."""

    def __init__(self, entries: Sequence[Entry], arguments: Sequence[Node], states: Sequence[Node], types: Sequence[ArrayType],
                 needed: Sequence[bool], name: str):
        self.entries, self.arguments, self.states, self.types = tuple(entries), tuple(arguments), tuple(states), tuple(types)
        self.needed = [n and t.dtype.kind == "f" for n, t in zip(needed, types)]
        self.name = name or "symbol"
        self._made: dict[tuple, object] = {}
        self._graphs: dict[bool, Graph] = {}

    def graph(self, training: bool) -> Graph:
        """The forward Graph: arguments, states and a key if anything is drawn -> outputs, new states."""
        found = self._graphs.get(training)
        if found is None:
            random = draws(self.entries, training)
            function = body(self.entries, self.arguments, self.states, self.types, training, random)
            found = trace(function, [*self.types, *[KEY] * random], self.name,
                          names=[_identifier(n.name) for n in (*self.arguments, *self.states)]).graph
            for node, old, new in zip(self.states, self.types[len(self.arguments):], found.output_types[len(self.entries):]):
                if old.shape != new.shape:
                    raise MXNetError(f"{node.name}: its new value has the shape {new.shape}, not {old.shape}",
                                     "bind a state of the shape that infer_shape gives")
            self._graphs[training] = found
        return found

    def forward(self, training: bool) -> Forward:
        """The program of a forward pass; one for training keeps what the gradients need."""
        found = self._made.get(("forward", training))
        if found is None:
            graph = self.split(training).forward if training and any(self.needed) else self.graph(training)
            found = self._made["forward", training] = self._compiled_forward(graph, training)
        return found

    def _compiled_forward(self, graph: Graph, training: bool) -> Forward:
        ins, outs, states = len(graph.inputs), len(self.entries), len(self.states)
        arguments = len(self.arguments)

        def forward(*arrays):
            values = inline(graph, arrays[:ins])
            for target, value in zip(arrays[ins:], [*values[:outs], *values[outs + states:]]):
                target[...] = value
            for target, value in zip(arrays[arguments:], values[outs:outs + states]):
                target[...] = value
            return ()

        forward.__name__ = forward.__qualname__ = f"{self.name} forward"
        types = graph.output_types
        return Forward(draws(self.entries, training), jit(forward), tuple(types[:outs]), tuple(types[outs + states:]))

    def split(self, training: bool) -> Split:
        """Forward and backward as two Graphs, with what passes from one to the other."""
        found = self._made.get(("split", training))
        if found is None:
            graph = self.graph(training)
            states = len(graph.inputs) - len(self.needed)
            outs = len(self.entries)
            given = [k < outs and t.dtype.kind == "f" for k, t in enumerate(graph.output_types)]
            # states change in the forward pass: what the gradients need of them is kept
            free = [k < len(self.arguments) for k in range(len(graph.inputs))]
            found = split_vjp(graph, [*self.needed, *[False] * states], given, free_inputs=free,
                              free_outputs=[k < outs for k in range(len(given))], recompute=True)
            self._made["split", training] = found
        return found

    def backward(self, training: bool, requests: tuple[str, ...], given: tuple[bool, ...]) -> JitFunction:
        """The program of the gradients: run(cotangents given, residuals, gradient arrays); requests are "write" or "add"."""
        found = self._made.get(("backward", training, requests, given))
        if found is None:
            split = self.split(training)
            graph = split.backward
            floats = [k for k, (node, out) in enumerate(self.entries) if self.graph(training).output_types[k].dtype.kind == "f"]
            heads = sum(given)

            def backward(*arrays):
                cts = iter(arrays[:heads])
                rest = len(graph.inputs) - len(floats)
                every = [next(cts) if given[k] else np.ones(t.shape, t.dtype)
                         for k, t in zip(floats, graph.input_types)]
                found = inline(graph, [*every, *arrays[heads:heads + rest]])
                for target, request, value in zip(arrays[heads + rest:], requests, found, strict=True):
                    if request == "write":
                        target[...] = value
                    else:
                        target += value
                return ()

            backward.__name__ = backward.__qualname__ = f"{self.name} backward"
            found = self._made["backward", training, requests, given] = jit(backward)
        return found


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


_known: dict[tuple, Programs] = {}


def structure(entries: Sequence[Entry]) -> tuple:
    """The graph without its names: what is computed of what."""
    nodes = order(entries)
    number = {id(node): k for k, node in enumerate(nodes)}
    rows = [(node.op, tuple(node.params.items()), tuple([(number[id(n)], k) for n, k in node.inputs])) for node in nodes]
    return tuple(rows), tuple([(number[id(n)], k) for n, k in entries])


def programs(entries: Sequence[Entry], arguments: Sequence[Node], states: Sequence[Node], types: Sequence[ArrayType],
             needed: Sequence[bool], name: str) -> Programs:
    """The programs of a symbol: those that exist for the same graph, types and gradients, if any do."""
    key = (structure(entries), tuple(types), tuple(needed))
    found = _known.get(key)
    if found is None:
        if len(_known) >= KEPT:
            del _known[next(iter(_known))]
        found = _known[key] = Programs(entries, arguments, states, types, needed, name)
    return found
