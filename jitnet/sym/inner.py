"""What is inside a symbol, for monitors: the values that its operators read and write, and their gradients."""
from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..operators import find
from .node import Entry, Node, rebuilt
from .symbol import Symbol

ADD = find("elemwise_add")


def named_values(values: Mapping[tuple[int, int], object], entries: list[Entry],
                 everything: bool) -> Iterator[tuple[str, object]]:
    """(name, value) of every output of an operator, in order; with `everything` also of every input, in front of the outputs.

    values: those of the entries, by id of the node and number of the output. An input is named after the operator and the
    input; where it is a variable it comes under its own name too.
    """
    for node, k in entries:
        if node.op is None:
            continue
        if everything and k == 0:
            for name, (source, place) in zip(node.op.inputs(node.params), node.inputs):
                if (id(source), place) in values:
                    value = values[id(source), place]
                    if source.op is None:
                        yield source.name, value
                    yield f"{node.name}_{name}", value
        yield node.output_name(k), values[id(node), k]


def with_edges(symbol: Symbol, known: Mapping[tuple[int, int], object]) -> tuple[Symbol, list[tuple[str, Node, Entry]]]:
    """(the symbol with a variable added to every input of its operators, [(name, that variable, the input), ...]).

    Where the variables are 0 nothing changes, and their gradients are what the operators' gradients are: of each input apart
    from all others that read the same value. Named as MXNet names the outputs of backward, the last operator first. Auxiliary
    states, and what is not among the `known` values, get none.
    """
    edges: list[list[tuple[str, Node, Entry]]] = []

    def change(node: Node, inputs: list[Entry]) -> Node:
        if node.op is None:
            return node
        states, names = node.op.states(node.params), node.op.inputs(node.params)
        added, found = [], []
        for k, (name, old, new) in enumerate(zip(names, node.inputs, inputs)):
            if name in states or (id(old[0]), old[1]) not in known:
                added.append(new)
                continue
            label = f"{node.name}_backward_output{k if len(inputs) - len(states) > 1 else ''}"
            variable = Node(None, label, source=node.source)
            found.append((label, variable, old))
            added.append((Node(ADD, f"{label}_added", [new, (variable, 0)], source=node.source), 0))
        edges.insert(0, found)
        return node.replaced(added)

    return Symbol(rebuilt(symbol._entries, change)), [edge for found in edges for edge in found]
