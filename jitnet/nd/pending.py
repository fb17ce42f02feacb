"""Operators that have been recorded and not run: they run together when a value is asked for, or with the backward pass.

    defer         `autograd` hands an operator over: NDArrays of the right shapes come back at once, without values
    Recording     what one `record()` defers, written down as a plan meanwhile: mostly a backward pass runs just that
    Queue.run     what a thread has deferred and somebody still holds, as one program. Who reads `_data` comes here, so there is
                  no reader that could forget to
    before_write  said before the memory of NDArrays is written: what is waiting to read it runs first

What nobody holds is not computed: the queue knows its NDArrays weakly, and they hold the nodes that they come from. Memory that
NumPy or another library can write behind our back (`memory.expose`) is copied when an operator takes it.
"""
from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import speaking_of, user_source
from ..operators import Operator, dispatch
from ..runtime.forks import renewed
from . import late, memory
from .base import Base, pending_array
from .plan import MISSING, plan, signature
from .tape import CONSTANT, Arguments, Node, Steps, Value, in_order, steps_of

FRAMES = 4  # of jitnet on top of the user's: the function that was called, `invoke`, the recorder, `defer`
LONGEST = 2000  # operators that wait at most: a loop that never asks for a value does not fill the memory

_queues: list[weakref.ref] = []  # of all threads that record
_publishing = renewed(threading.Lock())


class Recording(Steps):
    """The nodes that wait, in the order in which they came, as steps. It holds them, so it ends with its `record()`.

    open: whether it has all of them. It is given up when a node takes what waited before it began.
    """

    __slots__ = ("nodes", "open")

    def __init__(self):
        super().__init__()
        self.nodes: list[Node] = []
        self.open = True

    def write(self, node: Node) -> None:
        """Writes a node down, if it can be."""
        if self.open and self.add(node):
            self.nodes.append(node)
        else:
            self.open, self.nodes, self.arguments = False, [], Arguments()

    def under(self, sources: Iterable) -> bool:
        """Whether it is all that there is below these (node, output), each of them below one of these."""
        below = 0
        for source in sources:
            step = self.numbers.get(id(source[0])) if type(source) is tuple else None
            if step is None:
                return False
            below |= self.below[step]
        return self.open and below + 1 == 1 << len(self.nodes) and not any(type(t) is tuple for t in self.targets)


class Queue:
    """What one thread has deferred: weakly, the NDArrays that wait for values; and the recording under way."""

    __slots__ = ("__weakref__", "arrays", "length", "recording")

    def __init__(self):
        self.arrays: list[weakref.ref] = []
        self.length = 0
        self.recording: Recording | None = None
        global _queues
        with _publishing:  # a new list: another thread may be going through the old one
            _queues = [*(ref for ref in _queues if ref() is not None), weakref.ref(self)]

    def waiting(self) -> list[Base]:
        """The arrays that somebody holds and that have no values yet."""
        found = [ref() for ref in self.arrays]
        return [a for a in found if a is not None and a._pending is not None]

    def run(self) -> None:
        """Computes everything that waits. An operator that fails leaves its error in its outputs and in what uses them."""
        seen = len(self.arrays)
        arrays = self.waiting()
        if arrays:
            nodes = below([a._pending for a in arrays])
            wanted = needed(arrays, nodes)
            if all(node.small for node in nodes):
                run_apart(nodes, wanted)
            else:
                _run_together(nodes, wanted)
            publish(arrays)
        self.forget(seen)

    def forget(self, count: int) -> None:
        """Drops the first arrays, which have their values; others may have come behind them meanwhile."""
        del self.arrays[:count]
        self.length, self.recording = 0, None

    def reads(self, arrays: Iterable[Base]) -> bool:
        """Whether something that waits takes values that lie in the memory of one of these."""
        owners = memory.owners_of(arrays)
        taken = [v.data if type(v) is Value else v for node in below([a._pending for a in self.waiting()]) for v in node.values]
        return any(id(memory.owner_of(v)) in owners for v in taken if v is not None)


class _Own(threading.local):
    queue: Queue | None = None


_own = _Own()


def own_queue() -> Queue:
    """The queue of this thread."""
    queue = _own.queue
    if queue is None:
        queue = _own.queue = Queue()
    return queue


def start_recording() -> None:
    """Said when a `record()` begins: what the one before holds of nodes that nobody asks for is let go."""
    queue = _own.queue
    if queue is not None:
        queue.recording = None


def is_foreign(array: Base) -> bool:
    """Whether another thread has deferred what the array waits for."""
    node = array._pending.node
    return node is not None and node.queue is not own_queue()


def run_all() -> None:
    """Runs what this thread has deferred; raises what went wrong with an array that somebody holds."""
    queue = _own.queue
    if queue is not None and queue.arrays:
        arrays = queue.waiting()
        queue.run()
        for array in arrays:
            array._data  # noqa: B018  raises its error


def defer(op: Operator, arrays: Sequence, params: Mapping[str, Any], kind: type, draw_key) -> list[Base] | None:
    """The outputs of an operator, a node on the tape that waits; None when it must run at once: no gradient flows through it,
    it has no kernels or writes states, the arrays are on a GPU or of another class than `kind`, or they do not fit and running
    it says why.

    draw_key(context): called when the operator draws random numbers.
    """
    queue = _own.queue or own_queue()
    sources, values, types, constant = [], [], [], True
    for array in arrays:
        if type(array) is not kind:
            return None
        source = array._node
        if source is None and array._grad_req not in CONSTANT:
            source = array
        if source is not None:
            constant = False
        sources.append(source)
    if constant:
        return None
    call, scalars = signature(op, params)
    ctx = arrays[0]._ctx
    for array in arrays:
        value = array._pending
        if value is None or (node := value.node) is None or node.queue is not queue:
            value = array._data
            if type(value) is not np.ndarray:
                return None
            if memory.exposed and memory.is_exposed(value):
                value = value.copy()
        if array._ctx is not ctx and array._ctx != ctx:
            return None
        values.append(value)
        types += value.shape, value.dtype
    for scalar in scalars:
        types.append(type(scalar))
    types = tuple(types)
    made = call.known.get(types, MISSING)
    if made is MISSING:
        made = call.outputs(types, scalars)
    if made is None:
        return None
    key = draw_key(ctx) if call.draws else None
    node = Node(call, scalars, key, values, sources, call.visible, user_source(FRAMES), queue, made.small)
    recording = queue.recording
    if recording is None:
        recording = queue.recording = Recording()
    recording.write(node)
    outs = []
    for k, (shape, dtype) in enumerate(made.types):
        array = pending_array(kind, Value(node, k, shape, dtype), ctx)
        array._node = (node, k)
        outs.append(array)
        queue.arrays.append(weakref.ref(array))
    queue.length += 1
    if queue.length >= LONGEST:
        queue.run()
    return outs


def share(array: Base) -> Base:
    """Another NDArray of the same memory, which no recording has seen."""
    value = array._pending
    if value is None or (node := value.node) is None:
        return type(array)(array._data, array._ctx)
    other = pending_array(type(array), value, array._ctx)
    node.queue.arrays.append(weakref.ref(other))
    if value.node is None:  # it ran meanwhile, in another thread
        publish([other])
    return other


def before_write(*arrays: Base, besides: Queue | None = None) -> None:
    """Runs what waits to read the memory of these arrays, in any thread, and makes the copies of it that are late."""
    if late.known:
        late.before_write(arrays)
    for ref in _queues:
        queue = ref()
        if queue is not None and queue.arrays and queue is not besides and queue.reads(arrays):
            queue.run()


# What has to run

def below(values: Iterable[Value]) -> list[Node]:
    """The nodes that have to run for these values, in the order in which they were recorded."""
    found: dict[int, Node] = {}
    stack = [v.node for v in values]
    while stack:
        node = stack.pop()
        if node is not None and id(node) not in found:
            found[id(node)] = node
            stack += [v.node for v in node.values if type(v) is Value]
    return sorted(found.values(), key=in_order)


def needed(arrays: Sequence[Base], nodes: Sequence[Node], freed: Collection[int] = ()) -> list[tuple[Value, Node]]:
    """The values that are stored, with their nodes: those of the arrays, and what a later backward pass takes of the nodes.

    freed: ids of nodes that will not be gone through again.
    """
    values = {id(a._pending): a._pending for a in arrays}
    stack = [a._node[0] for a in arrays if a._node is not None and id(a._node[0]) not in freed]
    known, seen = ({id(node) for node in nodes}, set(freed)) if stack else ((), set())
    while stack:
        node = stack.pop()
        if id(node) in seen or id(node) not in known:
            continue
        seen.add(id(node))
        values.update((id(v), v) for v in node.values if type(v) is Value)
        stack += [source[0] for source in node.sources if type(source) is tuple]
    return [(v, node) for v in values.values() if (node := v.node) is not None]


# Running

def _run_together(nodes: Sequence[Node], wanted: Sequence[tuple[Value, Node]]) -> None:
    """The nodes as one program; when that fails, one after the other, which finds out whose error it is."""
    made = steps_of(nodes, pulled=())
    try:
        found = plan(nodes, made.steps, made.places(wanted)).compiled()(*made.arguments.list)
    except Exception:
        if run_apart(nodes, wanted):
            raise
        return
    settle(wanted, found)


def run_apart(nodes: Sequence[Node], wanted: Sequence[tuple[Value, Node]]) -> bool:
    """The nodes one after the other; whether all went well. The errors name the line of the operator."""
    results: dict[int, Any] = {}
    well = True
    for node in nodes:
        found = [_result(v, results) if type(v) is Value else v for v in node.values]
        error = next((v for v in found if isinstance(v, BaseException)), None)
        if error is None:
            try:
                with speaking_of(node.line):
                    outs = dispatch.run(node.call.operator, found, node.call.params(node.scalars), node.key)
                outs = outs if isinstance(outs, (tuple, list)) else (outs,)
                results[id(node)] = [memory.fresh(np.asarray(out), found) for out in outs]
                continue
            except Exception as failed:
                error = failed
        results[id(node)], well = [error] * node.outputs, False
    settle(wanted, [results[id(node)][value.index] for value, node in wanted])
    return well


def _result(value: Value, results: Mapping[int, list]):
    """The array or the error that a value is by now."""
    node = value.node
    return results[id(node)][value.index] if node is not None else value.error or value.data


def settle(wanted: Sequence[tuple[Value, Node]], results: Sequence) -> None:
    """Puts arrays or errors in the place of values, of those that another thread has not settled meanwhile."""
    with _publishing:
        for (value, _), result in zip(wanted, results, strict=True):
            if value.node is not None:
                if isinstance(result, BaseException):
                    value.error = result
                else:
                    value.data = np.asarray(result)
                value.node = None


def publish(arrays: Iterable[Base]) -> None:
    """Gives the arrays their values; those that have none keep their error."""
    for array in arrays:
        value = array._pending
        if value is not None and value.data is not None:
            array._data = value.data
            array._pending = None
