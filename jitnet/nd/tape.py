"""The tape of `autograd`: what was computed with NDArrays while recording, and its gradients as one compiled program.

    Node    one operator call: its signature, the values it took, where they came from
    Value   an output of a node that has not run yet

A backward pass cuts the nodes below its heads into runs (one, unless a `Function` written in Python stands between), and calls
the program of each (plan.py). Where the nodes have not run yet, the same program computes what they give. Where they have, the
values that they took are its arguments: only what no node kept is computed again. A gradient that is recorded itself is a node
whose operator is a Plan, so any order of derivative works.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from ..errors import OperatorError, Source
from .base import Base
from .plan import plan

CONSTANT = (None, "null")  # requests of arrays that have no gradient
NUMBERS = (bool, int, float, np.generic)
_count = itertools.count().__next__
in_order = attrgetter("serial")


class Node:
    """One recorded call. `call`: a Signature, or a Plan. `values`: for each input an array, a number, or the Value that it
    will be. `sources`: for each input the (node, output) or the marked array it is, None for a constant. `line`: where the user
    called it. `queue`: what it waited in, if it did. `small`: it was no work for kernels. `serial` grows from node to node."""

    __slots__ = ("call", "freed", "key", "line", "outputs", "queue", "scalars", "serial", "small", "sources", "values")

    def __init__(self, call, scalars: tuple, key, values: Sequence, sources: Sequence, outputs: int,
                 line: Source | None = None, queue=None, small: bool = False):
        self.call, self.scalars, self.key = call, scalars, key
        self.values, self.sources, self.outputs, self.freed = values, sources, outputs, False
        self.line, self.queue, self.small, self.serial = line, queue, small, _count()

    def free(self) -> None:
        """Drops what only a backward pass needs."""
        self.freed, self.values, self.sources = True, (), ()


class PythonNode(Node):
    """A recorded call of a `Function`: its gradient is Python code, called with the gradients of the outputs. `call` is its
    name, `made` are its outputs."""

    __slots__ = ("made", "pull")

    def free(self) -> None:
        super().free()
        self.pull = self.made = None


class Value:
    """An output of a node: what its NDArrays hold until the node has run. Then `node` is None, and `data` or `error` is set."""

    __slots__ = ("data", "dtype", "error", "index", "node", "shape")

    def __init__(self, node: Node, index: int, shape: tuple[int, ...], dtype: np.dtype):
        self.node, self.index, self.shape, self.dtype = node, index, shape, dtype
        self.data = self.error = None

    def settled(self) -> np.ndarray:
        """The array, for which everything runs that waits in the same queue. Raises what went wrong with it."""
        node = self.node
        if node is not None:
            node.queue.run()
        if self.error is not None:
            raise self.error.with_traceback(None)
        return self.data


def source_of(array: Base):
    """What an array is on the tape: (node, output), itself when it is marked, or None."""
    if array._node is not None:
        return array._node
    return array if array._grad_req not in CONSTANT else None


class Arguments:
    """The arrays and numbers that a plan is called with, each once."""

    def __init__(self):
        self.list: list = []
        self.sources: list = []  # for a gradient that is recorded: what each of them is on the tape
        self._places: dict[int, int] = {}

    def place(self, value, source=None) -> int:
        """Where an array stands among them; it is put there when it is new."""
        key = id(value), id(source)  # `x` and `x.detach()` are one array, and two arguments: the second is a constant
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.list)
            self.list.append(value)
            self.sources.append(source)
        return place

    def number(self, value) -> int:
        """Where a number stands: each has a place of its own."""
        self.list.append(value)
        self.sources.append(None)
        return len(self.list) - 1


def below(heads: Iterable) -> list[Node]:
    """The nodes that (node, output) pairs come from, inputs before what uses them."""
    found: dict[int, Node] = {}
    stack = [head[0] for head in heads if type(head) is tuple]
    while stack:
        node = stack.pop()
        if id(node) in found:
            continue
        if node.freed:
            raise OperatorError("backward: the recorded graph was freed by an earlier backward",
                                "pass retain_graph=True to the first one, or record again")
        found[id(node)] = node
        stack += [source[0] for source in node.sources if type(source) is tuple]
    return sorted(found.values(), key=in_order)


def runs(nodes: Sequence[Node]) -> list[list[Node]]:
    """The nodes cut where a PythonNode stands; in reverse order of running."""
    out: list[list[Node]] = [[]]
    for node in nodes:
        if isinstance(node, PythonNode):
            out += [[node], []]
        else:
            out[-1].append(node)
    return [run for run in reversed(out) if run]


class Gradients:
    """The gradients under way in one backward pass, by what they are gradients of."""

    def __init__(self):
        self.values: dict = {}
        self.objects: dict = {}  # key -> (node, output) or marked array
        self.ones: set = set()

    @staticmethod
    def key(source) -> tuple:
        return (id(source[0]), source[1]) if type(source) is tuple else (id(source),)

    def head(self, source, ct) -> None:
        """Adds a gradient given from outside; None stands for ones."""
        key = self.key(source)
        self.objects[key] = source
        if ct is None and key not in self.values and key not in self.ones and type(source) is tuple:
            self.ones.add(key)
            return
        self.values.setdefault(key, []).append(ct)

    def add(self, source, ct) -> None:
        """Adds what a run of nodes found."""
        key = self.key(source)
        self.objects[key] = source
        self.values.setdefault(key, []).append(ct)


class Steps:
    """Nodes written down as the steps of a plan. steps: the fields of each Step. numbers: id of node -> its step. targets: the
    sources outside; like: for each the place of an array of its shape. below: for each step the bits of all steps whose
    gradients those of its outputs lead to, its own among them."""

    __slots__ = ("_target_of", "arguments", "below", "like", "numbers", "steps", "targets")

    def __init__(self):
        self.steps, self.targets, self.like, self.below = [], [], [], []
        self.numbers: dict[int, int] = {}
        self.arguments = Arguments()
        self._target_of: dict = {}

    def add(self, node: Node, constant: bool = False) -> bool:
        """Writes one more node down; False when it waits for one that is not here. `constant`: no gradients flow through it.

        This is most of what a recorded operator costs in Python besides being one.
        """
        arguments, numbers, number = self.arguments, self.numbers, len(self.steps)
        values, sources, below = [], [], 1 << number
        for value, source in zip(node.values, node.sources):
            if type(value) is Value:
                maker = value.node
                if maker is None:
                    place = arguments.place(value.settled(), source)
                elif (step := numbers.get(id(maker))) is None:
                    return False
                else:
                    place = step, value.index
                    if type(source) is tuple and source[0] is maker and not constant:  # as it is mostly
                        below |= self.below[step]
                        values.append(place)
                        sources.append(place)
                        continue
            elif type(value) is np.ndarray or not isinstance(value, NUMBERS):
                place = arguments.place(value, source)
            else:
                place = arguments.number(value)
            values.append(place)
            if source is None or constant:
                sources.append(None)
            elif type(source) is tuple and (step := numbers.get(id(source[0]))) is not None:
                sources.append((step, source[1]))
                below |= self.below[step]
            else:
                sources.append(self._target(source, place))
        scalars = tuple([arguments.number(s) for s in node.scalars]) if node.scalars else ()
        key = None if node.key is None else arguments.place(node.key)
        numbers[id(node)] = number
        self.steps.append((node.call, tuple(values), scalars, key, tuple(sources), node.outputs))
        self.below.append(below)
        return True

    def places(self, wanted: Iterable[tuple[Value, Node]]) -> tuple[tuple[int, int], ...]:
        """Where values of nodes are in the plan."""
        return tuple([(self.numbers[id(node)], value.index) for value, node in wanted])

    def _target(self, source, place) -> tuple[str, int]:
        key = Gradients.key(source) if type(source) is tuple else id(source)
        target = self._target_of.get(key)
        if target is None:
            target = self._target_of[key] = "target", len(self.targets)
            self.targets.append(source)
            self.like.append(place)
        return target


def steps_of(nodes: Sequence[Node], pulled=None) -> Steps | None:
    """The nodes as steps; None when they wait for others. pulled: ids of the nodes that gradients flow through (None: all)."""
    made = Steps()
    for node in nodes:
        if not made.add(node, pulled is not None and id(node) not in pulled):
            return None
    return made


def given_of(grads: Gradients, made: Steps) -> tuple:
    """What a plan is given: (step, output, place of its gradient among the arguments, None for ones); taken out of `grads`."""
    given = []
    for key, source in list(grads.objects.items()):
        step = made.numbers.get(id(source[0])) if type(source) is tuple else None
        if step is None:
            continue
        if key in grads.ones:
            given.append((step, source[1], None))
        given += [(step, source[1], made.arguments.place(ct.value, ct.source)) for ct in grads.values.pop(key, ())]
        del grads.objects[key]
    return tuple(given)


def run_backward(run: Sequence[Node], grads: Gradients, call: Callable) -> list[tuple]:
    """[(source outside the run, its gradient)], by the plan of the run, which `call(plan, arguments)` runs. Gradients of
    outputs of the run are taken out of `grads`."""
    made = steps_of(run)
    given = given_of(grads, made)
    if not given or not made.targets:
        return []
    return list(zip(made.targets, call(plan(run, made.steps, (), given, tuple(made.like)), made.arguments)))


@dataclass(frozen=True, eq=False)
class Given:
    """A gradient in a backward pass: its value, and what it is on the tape."""

    value: np.ndarray
    source: Any = None
