"""Shapes and dtypes of a whole symbol, inferred in both directions until nothing more follows."""
from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import OperatorError
from ..operators.infer import is_known, merge
from .node import Entry, Node, order

DTYPE_NUMBERS = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.uint8, 4: np.int32, 5: np.int8, 6: np.int64, 7: np.bool_}


def variable_shape(node: Node) -> tuple[int, ...] | None:
    """The shape that a variable was declared with."""
    text = node.attrs.get("__shape__")
    return None if text is None else tuple(ast.literal_eval(text))


def variable_dtype(node: Node) -> np.dtype | None:
    """The dtype that a variable was declared with."""
    text = node.attrs.get("__dtype__")
    if text is None:
        return None
    return np.dtype(DTYPE_NUMBERS[int(text)]) if text.lstrip("-").isdigit() and int(text) >= 0 else None


def shapes(entries: Sequence[Entry], known: Mapping[int, tuple[int, ...]]) -> dict[tuple[int, int], Any]:
    """(id of node, output) -> shape, from those of variables (id of node -> shape). A size 0 is unknown, as is a shape None."""
    nodes = order(entries)
    found: dict[tuple[int, int], Any] = {}
    for node in nodes:
        if node.op is None:
            given = known.get(id(node))  # a shape that is given whole counts more than the declared one, as in MXNet
            found[id(node), 0] = given if is_known(given) else merge(given, variable_shape(node), node.name)

    def step(node: Node, ins: list, outs: list):
        return node.op.infer_shape(ins, node.params, outs, node.name)

    return _fixed_point(nodes, found, step, lambda s: s is not None and is_known(s))


def dtypes(entries: Sequence[Entry], known: Mapping[int, Any]) -> dict[tuple[int, int], Any]:
    """(id of node, output) -> dtype, from those of variables (id of node -> dtype); None where nothing says it."""
    nodes = order(entries)
    found: dict[tuple[int, int], Any] = {}
    for node in nodes:
        if node.op is None:
            given = known.get(id(node))  # counts more than the declared one, as in MXNet
            found[id(node), 0] = variable_dtype(node) if given is None else np.dtype(given)

    def step(node: Node, ins: list, outs: list):
        return node.op.infer_type(ins, node.params, outs, node.name)

    return _fixed_point(nodes, found, step, lambda d: d is not None)


def _fixed_point(nodes: Sequence[Node], found: dict, step, complete) -> dict:
    """Runs the rules of all nodes, forwards and backwards, until no rule tells more."""
    operators = [node for node in nodes if node.op is not None]
    open_nodes = operators
    while True:
        changed = False
        for sweep in (open_nodes, reversed(open_nodes)):
            for node in sweep:
                keys = [(id(n), k) for n, k in node.inputs]
                outs = [(id(node), k) for k in range(node.num_outputs)]
                try:
                    new_ins, new_outs = step(node, [found.get(k) for k in keys], [found.get(k) for k in outs])
                except OperatorError as error:
                    raise OperatorError(error.what, error.hint, node.source) from None  # the line that made the node
                for key, value in zip((*keys, *outs), (*new_ins, *new_outs)):
                    # NumPy takes None for float64 in comparisons
                    if value is not None and (found.get(key) is None or found[key] != value):
                        found[key] = value
                        changed = True
        open_nodes = [node for node in open_nodes
                      if not all(complete(found.get((id(n), k))) for n, k in node.inputs)
                      or not all(complete(found.get((id(node), k))) for k in range(node.num_outputs))]
        if not changed or not open_nodes:
            return found
