"""The tape of `autograd`: what was computed with NDArrays while recording, and its gradients as one compiled program.

    Node    one operator call: its record, the values it took, where they came from
    Plan    a run of nodes without their values: operators, parameters, wiring. It is a function of arrays, traced and
            compiled as any other; plans of the same structure are one object: the second iteration of a loop compiles nothing

A backward pass cuts the nodes below its heads into runs (one, unless a `Function` written in Python stands between), and calls
the program of each. The values that the forward pass computed are its arguments: only what no node kept is computed again.
A gradient that is recorded itself is a node whose operator is a Plan, so any order of derivative works.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import numpy as jnp
from ..errors import OperatorError
from ..jit import JitFunction, jit
from ..operators import Operator
from ..transforms import vjp
from .base import Base

NUMBERS = (bool, int, float, np.generic)
PLANS_KEPT = 1024  # structures of loops whose programs are kept; the oldest goes first


class Node:
    """One recorded call. `sources`: for each input the (node, output) or the marked array it is, None for a constant."""

    __slots__ = ("freed", "key", "operator", "options", "outputs", "scalars", "sources", "values")

    def __init__(self, operator, options: Mapping[str, Any], scalars: tuple, key, values: Sequence, sources: Sequence,
                 outputs: int):
        self.operator, self.options, self.scalars, self.key = operator, options, scalars, key
        self.values, self.sources, self.outputs, self.freed = list(values), list(sources), outputs, False

    def free(self) -> None:
        """Drops what only a backward pass needs."""
        self.freed, self.values, self.sources = True, (), ()


class PythonNode(Node):
    """A recorded call of a `Function`: its gradient is Python code, called with the gradients of the outputs."""

    __slots__ = ("pull",)

    def free(self) -> None:
        super().free()
        self.pull = self.options = None


def source_of(array: Base):
    """What an array is on the tape: (node, output), itself when it is marked, or None."""
    if array._node is not None:
        return array._node
    return array if array._grad_req not in (None, "null") else None


@dataclass(frozen=True, eq=False)
class Step:
    """A node of a plan: places of its values among the arguments, of its scalars and key, and where its inputs came from."""

    operator: Any
    options: tuple[tuple[str, Any], ...]
    values: tuple[int, ...]
    scalars: tuple[int, ...]
    key: int | None
    sources: tuple[tuple | None, ...]  # (step, output) or ("target", k) of this plan
    outputs: int

    def apply(self, values: Sequence, arguments: Sequence) -> list:
        """The outputs for these values, traced."""
        if isinstance(self.operator, Plan):
            return self.operator.pull(values)
        options = dict(self.options)
        options.update(zip(self.operator.schema.scalars, [arguments[k] for k in self.scalars]))
        if self.operator.random:
            options["key"] = None if self.key is None else arguments[self.key]
        out = self.operator.body(*values, **options)
        return (list(out) if isinstance(out, (tuple, list)) else [out])[:self.outputs]


@dataclass(frozen=True, eq=False)
class Plan:
    """A run of nodes as a function: arguments -> the gradients of the targets, zeros where nothing reaches one.

    `given`: (step, output, place of its gradient among the arguments, or None for ones); `like`: place of an array of the
    shape of each target. `requests`: how each target's gradient is written into the array at the end of the arguments, or ().
    """

    steps: tuple[Step, ...]
    given: tuple[tuple, ...]
    like: tuple[int, ...]
    requests: tuple[str, ...]
    program: list = field(default_factory=list)

    def compiled(self) -> JitFunction:
        """The program, made when first asked for."""
        if not self.program:
            def backward(*arguments):
                if not self.requests:
                    return self.pull(arguments)
                buffers = arguments[len(arguments) - len(self.requests):]
                for buffer, request, ct in zip(buffers, self.requests, self.pull(arguments)):
                    buffer[...] = ct if request == "write" else buffer + ct
                return ()
            self.program.append(jit(backward))
        return self.program[0]

    def pull(self, arguments: Sequence) -> list:
        """The gradients of the targets, traced: each node is pulled back at the values it had."""
        cts: dict[tuple, Any] = {}
        ones = set()
        for step, output, place in self.given:
            if place is None:
                ones.add((step, output))
            else:
                _add(cts, (step, output), arguments[place])
        for number in range(len(self.steps) - 1, -1, -1):
            self._pull_step(number, cts, ones, arguments)
        found = [cts.get(("target", k)) for k in range(len(self.like))]
        return [jnp.zeros_like(arguments[place]) if ct is None else ct for ct, place in zip(found, self.like)]

    def _pull_step(self, number: int, cts: dict, ones: set, arguments: Sequence) -> None:
        step = self.steps[number]
        live = [k for k in range(step.outputs) if (number, k) in cts or (number, k) in ones]
        values = [arguments[place] for place in step.values]
        wanted = [i for i, source in enumerate(step.sources) if source is not None and values[i].dtype.kind == "f"]
        if not live or not wanted:
            return

        def outputs(*chosen):
            every = list(values)
            for i, x in zip(wanted, chosen):
                every[i] = x
            outs = step.apply(every, arguments)
            return tuple([outs[k] for k in live])

        outs, pullback = vjp(outputs, *[values[i] for i in wanted])
        heads = []
        for k, out in zip(live, outs):
            ct = jnp.ones_like(out) if (number, k) in ones else None
            more = cts.pop((number, k), None)
            ct = more if ct is None else ct if more is None else ct + more
            heads.append(ct if ct.dtype == out.dtype or out.dtype.kind != "f" else ct.astype(out.dtype))
        if all(out.dtype.kind != "f" for out in outs):
            return
        for i, ct in zip(wanted, pullback(tuple(heads))):
            _add(cts, step.sources[i], ct)


def _add(cts: dict, place, ct) -> None:
    cts[place] = cts[place] + ct if place in cts else ct


_plans: dict[tuple, Plan] = {}
_making = threading.Lock()


def _interned(steps: list[tuple], given: tuple, like: tuple, requests: tuple) -> Plan:
    """The plan of that structure: the one that exists, if there is one."""
    key = (tuple(steps), given, like, requests)
    plan = _plans.get(key)
    if plan is None:
        with _making:
            if len(_plans) >= PLANS_KEPT:
                del _plans[next(iter(_plans))]
            plan = _plans.setdefault(key, Plan(tuple([Step(*s) for s in steps]), given, like, requests))
    return plan


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
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(head[0], False) for head in heads if type(head) is tuple]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.freed:
            raise OperatorError("backward: the recorded graph was freed by an earlier backward",
                                "pass retain_graph=True to the first one, or record again")
        stack.append((node, True))
        stack += [(s[0], False) for s in reversed(node.sources) if type(s) is tuple and id(s[0]) not in seen]
    return order


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


def _steps(run: Sequence[Node], numbers: Mapping[int, int], target_of: Mapping[tuple, int],
           arguments: Arguments) -> tuple[list[tuple], list[int | None]]:
    """(fields of the steps of a plan, for each target the place of an array of its shape); fills the arguments.

    This loop is most of what a backward pass costs in Python.
    """
    steps, like = [], [None] * len(target_of)
    put, number = arguments.place, arguments.number
    for node in run:
        values, sources = [], []
        for value, source in zip(node.values, node.sources):
            place = put(value, source) if type(value) is np.ndarray or not isinstance(value, NUMBERS) else number(value)
            values.append(place)
            if source is None:
                sources.append(None)
                continue
            inner = type(source) is tuple
            step = numbers.get(id(source[0])) if inner else None
            if step is not None:
                sources.append((step, source[1]))
                continue
            k = target_of.get((id(source[0]), source[1]) if inner else (id(source),))
            sources.append(None if k is None else ("target", k))
            if k is not None:
                like[k] = place
        scalars = tuple([number(s) for s in node.scalars]) if node.scalars else ()
        key = None if node.key is None else put(node.key)
        steps.append((node.operator, node.options, tuple(values), scalars, key, tuple(sources), node.outputs))
    return steps, like


def run_backward(run: Sequence[Node], grads: Gradients, targets: Sequence, requests: Sequence[str], buffers: Sequence,
                 call: Callable) -> list:
    """The gradients that a run of nodes gives for `targets` (sources outside it), by its plan.

    `call(plan, arguments)` runs it. Gradients of outputs of the run are taken out of `grads`.
    """
    numbers = {id(node): n for n, node in enumerate(run)}
    arguments = Arguments()
    steps, like = _steps(run, numbers, {Gradients.key(t): k for k, t in enumerate(targets)}, arguments)
    given = []
    for key in list(grads.objects):
        source = grads.objects[key]
        if type(source) is not tuple or id(source[0]) not in numbers:
            continue
        step = numbers[id(source[0])]
        if key in grads.ones:
            given.append((step, source[1], None))
        given += [(step, source[1], arguments.place(ct.value, ct.source)) for ct in grads.values.pop(key, ())]
        del grads.objects[key]
    reached = [k for k, place in enumerate(like) if place is not None]
    if len(reached) < len(targets):  # those that the run does not lead to have no gradient from it
        renumber = {k: n for n, k in enumerate(reached)}
        steps = [(*s[:5], tuple([("target", renumber[r[1]]) if r is not None and r[0] == "target" else r for r in s[5]]), s[6])
                 for s in steps]
    if not given or not reached:
        return [None] * len(targets)
    plan = _interned(steps, tuple(given), tuple([like[k] for k in reached]),
                     tuple([requests[k] for k in reached]) if requests else ())
    for k in reached if requests else ():
        arguments.number(buffers[k])
    found = iter(call(plan, arguments) or [None] * len(reached))
    return [next(found) if place is not None else None for place in like]


@dataclass(frozen=True, eq=False)
class Given:
    """A gradient in a backward pass: its value, and what it is on the tape."""

    value: np.ndarray
    source: Any = None


def record_options(op: Operator, params: Mapping[str, Any]) -> tuple[tuple, tuple]:
    """(parameters fixed in a plan, values of those that may differ from call to call)."""
    scalars = op.schema.scalars
    if not scalars:
        return tuple(params.items()), ()
    return tuple([item for item in params.items() if item[0] not in scalars]), tuple([params[name] for name in scalars])
