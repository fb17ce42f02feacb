"""Node, one operator or variable of a symbolic graph, and walks over the graph."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import Source, user_source
from ..operators import Operator

Entry = tuple["Node", int]  # an output of a node


class Node:
    """One operator applied to outputs of other nodes, or a variable (no operator). Nodes do not change, but for attributes.

    given: the parameters that the user gave, as strings; params: all of them, parsed. attrs: everything else.
    """

    __slots__ = ("__weakref__", "attrs", "given", "inputs", "name", "op", "params", "source")

    def __init__(self, op: Operator | None, name: str, inputs: Sequence[Entry] = (), given: Mapping[str, str] | None = None,
                 params: Mapping[str, Any] | None = None, attrs: Mapping[str, str] | None = None, source: Source | None = None):
        self.op, self.name, self.inputs = op, name, tuple(inputs)
        self.given, self.params, self.attrs = dict(given or {}), dict(params or {}), dict(attrs or {})
        self.source = source if source is not None else user_source()

    def __repr__(self) -> str:
        return f"<{self.op.name if self.op else 'variable'} {self.name}>"

    @property
    def num_outputs(self) -> int:
        """How many outputs there are, hidden ones included."""
        return 1 if self.op is None else self.op.num_outputs(self.params)

    @property
    def num_visible(self) -> int:
        """How many outputs a user sees."""
        return 1 if self.op is None else self.op.num_visible(self.params)

    def output_name(self, k: int) -> str:
        """The name of output k."""
        return self.name if self.op is None else f"{self.name}_{self.op.output_names(self.params)[k]}"

    def auxiliary(self) -> list[Node]:
        """The variables among the inputs that are auxiliary states."""
        states = () if self.op is None else self.op.states(self.params)
        if not states:
            return []
        return [entry[0] for name, entry in zip(self.op.inputs(self.params), self.inputs) if name in states]

    def all_attrs(self) -> dict[str, str]:
        """Parameters and attributes together, as JSON holds them."""
        return {**self.attrs, **self.given}

    def replaced(self, inputs: Sequence[Entry], name: str | None = None) -> Node:
        """The node with other inputs."""
        return Node(self.op, name or self.name, inputs, self.given, self.params, self.attrs, self.source)


def order(entries: Iterable[Entry]) -> list[Node]:
    """All nodes that the entries need, each after its inputs, in the order of a depth-first walk."""
    out: list[Node] = []
    seen: set[int] = set()
    for head, _ in entries:
        stack = [(head, iter(head.inputs))] if id(head) not in seen else []
        seen.add(id(head))
        while stack:
            node, rest = stack[-1]
            child = next((entry[0] for entry in rest if id(entry[0]) not in seen), None)
            if child is None:
                out.append(node)
                stack.pop()
            else:
                seen.add(id(child))
                stack.append((child, iter(child.inputs)))
    return out


def versions(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """Id of node -> for each input, how often it was written when the node reads it: an operator writes its states."""
    written: dict[int, int] = {}
    found = {}
    for node in nodes:
        states = {id(state) for state in node.auxiliary()}
        for place in states:
            written[place] = written.get(place, 0) + 1
        found[id(node)] = [written.get(id(n), 0) for n, _ in node.inputs]
    return found


def rebuilt(entries: Sequence[Entry], change: Callable[[Node, list[Entry]], Entry | Node]) -> list[Entry]:
    """The entries over a graph in which change(node, new inputs) stands for each node: a node, or an entry for its output 0."""
    new: dict[int, Node | Entry] = {}

    def moved(entry: Entry) -> Entry:
        found = new[id(entry[0])]
        return found if type(found) is tuple else (found, entry[1])

    for node in order(entries):
        new[id(node)] = change(node, [moved(e) for e in node.inputs])
    return [moved(e) for e in entries]
