"""Pictures of symbols: a table as text, and a graph by the package graphviz. Public as `jitnet.viz` too."""
from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from .errors import MXNetError
from .sym.symbol import Symbol

STATES = ("_moving_mean", "_moving_var", "_running_mean", "_running_var")
WEIGHTS = ("_weight", "_bias", "_beta", "_gamma", *STATES)
COLORS = {"null": "#8dd3c7", "FullyConnected": "#fb8072", "Activation": "#ffffb3", "LeakyReLU": "#ffffb3",
          "BatchNorm": "#bebada", "Concat": "#fdb462", "Flatten": "#fdb462", "Reshape": "#fdb462", "softmax": "#b3de69"}
OTHER = "#fccde5"


def _nodes(symbol: Symbol) -> list[dict]:
    if not isinstance(symbol, Symbol):
        raise TypeError(f"symbol must be a Symbol, got {type(symbol).__name__}")
    return json.loads(symbol.tojson())["nodes"]


def _inferred(symbol: Symbol, given: Mapping | None, method: str) -> dict[str, object]:
    """Shape or dtype of every variable and output, by name; none without `given`."""
    if given is None:
        return {}
    internals = symbol.get_internals()
    args, outs, states = getattr(internals, method)(**given)
    if outs is None:
        raise ValueError("Input shape is incomplete" if method == "infer_shape" else "Input type is incomplete")
    return {**dict(zip(internals.list_arguments(), args)), **dict(zip(internals.list_auxiliary_states(), states)),
            **dict(zip(internals.list_outputs(), outs))}


def _of(found: Mapping[str, object], node: dict):
    """What was found of a node's (first) output, or None."""
    name = node["name"]
    names = (name,) if node["op"] == "null" else (f"{name}_output", f"{name}_output0")
    return next((found[n] for n in names if n in found), None)


def _is_layer(node: dict, inputs: set[str]) -> bool:
    return node["op"] != "null" or node["name"] in inputs


def print_summary(symbol: Symbol, shape: Mapping[str, tuple] | None = None, line_length: int = 120,
                  positions: Sequence[float] = (.44, .64, .74, 1.)) -> None:
    """Prints a table of layers: name and operator, output shape without the batch, number of parameters, previous layers.

    shape: shapes of inputs by name, from which the others follow; without it, no sizes are shown.

    >>> import jitnet as mx
    >>> net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    >>> mx.viz.print_summary(net, {"data": (2, 4)}, line_length=80)
    ________________________________________________________________________________
    Layer (type)                       Output Shape    Param # Previous Layer
    ================================================================================
    data(null)                         4               0
    ________________________________________________________________________________
    fc(FullyConnected)                 3               15      data
    ================================================================================
    Total params: 15
    ________________________________________________________________________________
    """
    nodes, sizes = _nodes(symbol), _inferred(symbol, shape, "infer_shape")
    columns = [int(line_length * p) for p in positions] if positions[-1] <= 1 else list(positions)
    rule = "_" * line_length
    inputs = {n["name"] for n in nodes if n["op"] == "null" and not n["name"].endswith((*WEIGHTS, "_label"))}
    weights = {n["name"] for n in nodes if n["op"] == "null"} - inputs
    counted = {name for name in weights if not name.endswith((*STATES, "_label"))}
    print(rule)
    _print_row(("Layer (type)", "Output Shape", "Param #", "Previous Layer"), columns)
    print("=" * line_length)
    total = 0
    layers = [n for n in nodes if _is_layer(n, inputs)]
    for k, node in enumerate(layers):
        sources = [nodes[i[0]] for i in node["inputs"]]
        count = sum(math.prod(sizes[s["name"]]) for s in sources if s["name"] in counted and s["name"] in sizes)
        total += count
        counted -= {s["name"] for s in sources}  # weights that layers share count once
        out = _of(sizes, node)
        previous = [s["name"] for s in sources if _is_layer(s, inputs)]
        _print_row((f"{node['name']}({node['op']})", "x".join(map(str, out[1:])) if out else "", str(count),
                    previous[0] if previous else ""), columns)
        for name in previous[1:]:
            _print_row(("", "", "", name), columns)
        print(rule if k + 1 < len(layers) else "=" * line_length)
    print(f"Total params: {total}")
    print(rule)


def _print_row(fields: Sequence[str], columns: Sequence[int]) -> None:
    line = ""
    for field, column in zip(fields, columns):
        line = (line + field)[:column].ljust(column)
    print(line)


def plot_network(symbol: Symbol, title: str = "plot", save_format: str = "pdf", shape: Mapping[str, tuple] | None = None,
                 dtype: Mapping[str, object] | None = None, node_attrs: Mapping[str, str] | None = None,
                 hide_weights: bool = True):
    """The graph of a symbol as a `graphviz.Digraph`, with shapes (and dtypes) on its edges; `.render()` writes it to a file.

    MXNetError when the package graphviz is not installed.
    """
    try:
        from graphviz import Digraph
    except ImportError:
        raise MXNetError("plot_network: the package graphviz is not installed",
                         "`pip install graphviz`, or see `jitnet.viz.print_summary`") from None
    nodes = _nodes(symbol)
    sizes, kinds = _inferred(symbol, shape, "infer_shape"), _inferred(symbol, dtype, "infer_type")
    twice = [name for name, count in Counter(n["name"] for n in nodes).items() if count > 1]
    if twice:
        logging.warning("several nodes have one name, the picture shows them as one: %s", ", ".join(twice))
    look = {"shape": "box", "fixedsize": "true", "width": "1.3", "height": "0.8034", "style": "filled", **(node_attrs or {})}
    hidden = {n["name"] for n in nodes if hide_weights and n["op"] == "null" and n["name"].endswith(WEIGHTS)}
    dot = Digraph(name=title, format=save_format)
    for node in nodes:
        if node["name"] not in hidden:
            oval = {"shape": "oval"} if node["op"] == "null" else {}
            dot.node(name=node["name"], label=_label(node), **{**look, **oval, "fillcolor": COLORS.get(node["op"], OTHER)})
    for node in nodes:
        for source in [nodes[i[0]] for i in node["inputs"]]:
            if source["name"] in hidden:
                continue
            size, kind = _of(sizes, source), _of(kinds, source)
            label = "x".join(map(str, size[1:])) if size else ""
            dot.edge(tail_name=node["name"], head_name=source["name"], dir="back", arrowtail="open",
                     label=label + (f"({kind.__name__})" if kind is not None else ""))
    return dot


def _label(node: dict) -> str:
    """What a node's box says: its name, or the operator with what matters most about it."""
    attrs = node.get("attrs", {})
    told = {"FullyConnected": "num_hidden", "Activation": "act_type", "LeakyReLU": "act_type"}.get(node["op"])
    return f"{node['op']}\n{attrs.get(told, 'leaky')}" if told else node["name"]
