"""A symbol as compiled programs: one predicts, one predicts and keeps what the gradients need, one computes the gradients.

Programs write into arrays that are passed to them, so an executor's outputs and gradients keep their memory. Executors of
symbols with the same graph, types and gradients share them.
"""
from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MXNetError, OperatorError, speaking_of
from ..ir import Graph, subgraphs
from ..jit import JitFunction, jit
from ..op_kinds import Call
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
    """The symbol as a function that is traced: (arguments, states, a key if `random`) -> (outputs, new states)."""
    nodes = order(entries)
    filled = open_parameters(entries, [*arguments, *states], types)

    def run(*arrays):
        key = arrays[-1] if random else None
        variables = [*arguments, *states]
        values: dict[tuple[int, int], object] = {(id(n), 0): a for n, a in zip(variables, arrays)}
        draw = itertools.count()
        for node in nodes:
            if node.op is None:
                continue
            options = dict(filled.get(id(node), node.params))
            if node.op.mode:
                options["training"] = training
            if node.op.random:
                number = next(draw)  # among those that may draw: whatever else is in the graph, the numbers stay the same
                options["key"] = fold_in(key, number) if node.op.draws(options) else None
            with speaking_of(node.source):  # equations and errors point at the line that made the node
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

    Outputs that are variables are not among the arrays. residuals: types of what is kept for the gradients.
    """

    random: bool
    run: JitFunction
    residuals: tuple[ArrayType, ...] = ()


class Programs:
    """The compiled programs of one symbol for arrays of given types."""

    def __init__(self, entries: Sequence[Entry], arguments: Sequence[Node], states: Sequence[Node], types: Sequence[ArrayType],
                 needed: Sequence[bool], name: str):
        self.entries, self.arguments, self.states, self.types = tuple(entries), tuple(arguments), tuple(states), tuple(types)
        self.needed = [n and t.dtype.kind == "f" for n, t in zip(needed, types)]
        self.computed = [k for k, (node, _) in enumerate(self.entries) if node.op is not None]  # outputs that are no variables
        self.name = name or "symbol"
        self._made: dict[tuple, object] = {}
        self._graphs: dict[bool, Graph] = {}

    def __reduce__(self):
        """How to find or make them again: what is compiled is not pickled."""
        return programs, (self.entries, self.arguments, self.states, self.types, self.needed, self.name)

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

    @functools.cached_property
    def may_fail(self) -> bool:
        """Whether a run may raise an error, as a decomposition does for a matrix that has none."""
        def calls(graph: Graph) -> bool:
            return any(isinstance(eqn.op, Call) or any(calls(inner) for _, inner in subgraphs(eqn)) for eqn in graph.eqns)
        return calls(self.graph(False))

    def forward(self, training: bool, keep: bool) -> Forward:
        """The program of a forward pass; `keep`: one that keeps what the gradients need."""
        found = self._made.get(("forward", training, keep))
        if found is None:
            graph = self.split(training).forward if keep else self.graph(training)
            found = self._made["forward", training, keep] = self._compiled_forward(graph, training)
        return found

    def _compiled_forward(self, graph: Graph, training: bool) -> Forward:
        ins, outs, states = len(graph.inputs), len(self.entries), len(self.states)
        arguments = len(self.arguments)

        def forward(*arrays):
            values = inline(graph, arrays[:ins])
            for target, value in zip(arrays[ins:], [*[values[k] for k in self.computed], *values[outs + states:]], strict=True):
                target[...] = value
            for k in range(states):
                if graph.outputs[outs + k] is not graph.inputs[arguments + k]:  # it stays as it is in prediction
                    arrays[arguments + k][...] = values[outs + k]
            return ()

        forward.__name__ = forward.__qualname__ = f"{self.name} forward"
        return Forward(draws(self.entries, training), jit(forward), tuple(graph.output_types[outs + states:]))

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

    def _float_outputs(self) -> list[int]:
        return [k for k in range(len(self.entries)) if self.graph(False).output_types[k].dtype.kind == "f"]

    def needs_head_grad(self, training: bool, output: int) -> bool:
        """Whether the gradients depend on that of this output, and it is no loss, whose gradient stands for itself."""
        node = self.entries[output][0]
        if (node.op is not None and node.op.loss and not node.params.get("out_grad")) or not any(self.needed):
            return False
        used = self._made.get(("used", training))
        if used is None:
            graph = self.split(training).backward
            read = {a for eqn in graph.eqns for a in eqn.inputs} | set(graph.outputs)
            used = self._made["used", training] = {k for k, v in zip(self._float_outputs(), graph.inputs) if v in read}
        return output in used

    def backward(self, training: bool, requests: tuple[tuple[str, int], ...], given: tuple[bool, ...]) -> JitFunction:
        """The program of the gradients: run(cotangents given, residuals, gradient arrays).

        requests: how each gradient goes into which of the arrays, "write" or "add". Those not given are ones.
        """
        found = self._made.get(("backward", training, requests, given))
        if found is None:
            graph, floats, heads = self.split(training).backward, self._float_outputs(), sum(given)
            rest = heads + len(graph.inputs) - len(floats)

            def backward(*arrays):
                cts = iter(arrays[:heads])
                every = [next(cts) if given[k] else np.ones(t.shape, t.dtype) for k, t in zip(floats, graph.input_types)]
                found = inline(graph, [*every, *arrays[heads:rest]])
                for (request, place), value in zip(requests, found, strict=True):
                    if request == "write":
                        arrays[rest + place][...] = value
                    else:
                        arrays[rest + place][...] += value
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
