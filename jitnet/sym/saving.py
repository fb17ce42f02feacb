"""Symbols as JSON, in the layout of MXNet 1.9.1: files go both ways."""
from __future__ import annotations

import json

from .. import attribute
from ..errors import MXNetError, OperatorError
from ..operators import find
from .node import Entry, Node, order, versions

VERSION = 10901  # of MXNet, whose layout this is


def to_json(entries: list[Entry], remove_amp_cast: bool = True) -> str:
    """The graph as text."""
    nodes = order(entries)
    number = {id(node): k for k, node in enumerate(nodes)}
    rows, pointer, version = [], [0], versions(nodes)
    for node in nodes:
        row: dict = {"op": "null" if node.op is None else node.op.name, "name": node.name}
        attrs = node.all_attrs()
        if attrs:
            row["attrs"] = dict(sorted(attrs.items()))
        row["inputs"] = [[number[id(n)], k, v] for (n, k), v in zip(node.inputs, version[id(node)])]
        rows.append(row)
        pointer.append(pointer[-1] + node.num_outputs)
    whole = {"nodes": rows, "arg_nodes": [k for k, node in enumerate(nodes) if node.op is None], "node_row_ptr": pointer,
             "heads": [[number[id(n)], k, 0] for n, k in entries], "attrs": {"mxnet_version": ["int", VERSION]}}
    return _written(whole, 0, wide=True)


def _written(value, depth: int, wide: bool = False) -> str:
    """JSON laid out as MXNet writes it: short lists and dicts of one entry stand on one line, and commas end in a blank."""
    def line(parts: list[str], ends: str) -> str:
        if not wide:
            return ends[0] + ", ".join(parts) + ends[1]
        pad = "\n" + "  " * (depth + 1)
        return ends[0] + pad + f", {pad}".join(parts) + pad[:-2] + ends[1]

    if isinstance(value, dict):
        return line([f"{json.dumps(key, ensure_ascii=False)}: {_written(item, depth + 1, _is_wide(key, item))}"
                     for key, item in value.items()], "{}")
    if isinstance(value, list):
        return line([_written(item, depth + 1, isinstance(item, dict)) for item in value], "[]")
    return json.dumps(value, ensure_ascii=False)


def _is_wide(key: str, value) -> bool:
    """Whether MXNet writes what stands under this key over several lines."""
    if isinstance(value, list):
        return key == "nodes" or len(value) > 10
    return isinstance(value, dict) and len(value) > 1


def from_json(text: str) -> list[Entry]:
    """The entries of a graph saved as text, by this library or by any MXNet 1.x; MXNetError when it is none."""
    try:
        whole = json.loads(text)
        rows, heads = whole["nodes"], whole["heads"]
    except (ValueError, KeyError, TypeError) as error:
        raise MXNetError(f"load_json: this is no symbol: {type(error).__name__}: {error}",
                         "pass the text that `Symbol.tojson` returns") from None
    nodes: list[Node] = []
    for row in rows:
        # older versions call them "param" and "attr"
        attrs = {**row.get("param", {}), **row.get("attr", {}), **row.get("attrs", {})}
        try:
            inputs = [(nodes[entry[0]], entry[1]) for entry in row["inputs"]]
        except IndexError:
            raise MXNetError(f"load_json: node {row.get('name')!r} stands before its inputs", "the file is damaged") from None
        if row["op"] == "null":
            nodes.append(Node(None, row["name"], inputs, attrs=attribute.stored(attrs)))
            continue
        op = find(row["op"])
        given = {name: value for name, value in attrs.items() if name in op.schema.kinds}
        rest = attribute.stored({name: value for name, value in attrs.items() if name not in given})
        params = op.schema.parse(given)
        names = op.inputs(params)
        missing = names[len(inputs):]
        if len(inputs) > len(names) or any(name not in op.states(params) for name in missing):
            raise OperatorError(f"load_json: node {row['name']!r} has {len(inputs)} inputs, {op.name} takes {len(names)}",
                                "the file is damaged, or from a version with other operators")
        for name, (variable, _) in zip(names, inputs):  # `weight_lr_mult` of an old file is the `lr_mult` of its weight
            for key in [f"{name}_{hidden}" for hidden in attribute.HIDDEN if f"{name}_{hidden}" in rest]:
                variable.attrs[f"__{key.removeprefix(f'{name}_')}__"] = rest.pop(key)
        # files of before 1.0 do not mention states
        inputs += [(Node(None, f"{row['name']}_{name}", attrs={**rest, **given}), 0) for name in missing]
        nodes.append(Node(op, row["name"], inputs, given, params, rest))
    return [(nodes[head[0]], head[1]) for head in heads]
