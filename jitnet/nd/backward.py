"""The tape run backwards: from the gradients of heads to those of the arrays that they were computed from."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import OperatorError
from ..runtime.array import Array
from ..runtime.cuda.buffer import DeviceBuffer
from . import pending
from .invoke import Scope
from .memory import owner_of, placed
from .ndarray import NDArray
from .plan import Plan, plan
from .tape import Arguments, Given, Gradients, Node, PythonNode, Steps, given_of, in_order, run_backward, source_of, steps_of
from .tape import runs as runs_of


def full(array: NDArray, value: int):
    """What an array of one number in the shape, dtype and place of another holds."""
    return placed(np.full(array.shape, value, array.dtype), array._ctx)


def start(heads: Sequence[NDArray], given: Sequence, record: bool) -> Gradients:
    """The gradients that a backward pass starts with; None stands for ones."""
    grads = Gradients()
    grads.found = {}
    for head, ct in zip(heads, given):
        source = source_of(head)
        if head._pending is not None and pending.is_foreign(head):
            head.wait_to_read()
        if ct is None and (type(source) is not tuple or Gradients.key(source) in grads.ones):
            grads.head(source, Given(full(head, 1)))
        else:
            grads.head(source, None if ct is None else Given(ct._data, source_of(ct) if record else None))
    return grads


def sweep(nodes: list[Node], grads: Gradients, wanted: list, record: bool, train: bool) -> None:
    """Runs the tape backwards. With `wanted`, gradients of these sources are collected in `grads.found`; else those of marked
    arrays are written into their `.grad`."""
    runs = runs_of(nodes)
    if not wanted and len(runs) == 1 and _written_at_once(runs[0], grads):
        return
    pending.run_all()
    keep = {Gradients.key(t) for t in wanted}
    leaves = {id(s): s for node in nodes for s in node.sources if s is not None and type(s) is not tuple}
    cut = {key for key in keep if len(key) == 2}
    for run in _split_at(runs, cut) if cut else runs:
        for node in run if keep else ():
            for k in range(node.outputs):
                _collect(grads, (node, k), keep)
        if isinstance(run[0], PythonNode):
            _pull_python(run[0], grads, record, train)
            continue
        for source, ct in run_backward(run, grads, _run_recorded if record else _run):
            grads.add(source, ct if isinstance(ct, Given) else Given(ct))
    for source in list(grads.objects.values()):
        _collect(grads, source, keep)
    if not wanted:
        _write(leaves, grads)


def run_recording(heads: Sequence[NDArray], given: Sequence) -> bool:
    """Whether the backward pass of heads was done by the program that the recording has become by itself: all of it waits and
    is below the heads, whose gradients are ones. That is what a training step does; its tape is then used up."""
    queue = pending.own_queue()
    recording, sources = queue.recording, [head._node for head in heads]
    if recording is None or any(ct is not None for ct in given) or not recording.under(sources):
        return False
    if len(set(sources)) < len(sources):
        return False
    arrays, nodes, numbers = queue.waiting(), recording.nodes, recording.numbers
    values = {id(value): (value, value.node) for a in arrays if (value := a._pending) is not None}
    if not {id(node) for _, node in values.values()} <= numbers.keys():
        return False
    ones = [(numbers[id(node)], k, None) for node, k in sources]
    if not _write_gradients(queue, arrays, nodes, recording, lambda: ones, values.values):
        return False
    for node in nodes:
        node.free()
    return True


def _written_at_once(run: list[Node], grads: Gradients) -> bool:
    """Runs the tape backwards by a program that writes into the gradients itself, where there is one run and no gradient
    shares memory with another one or with what the program reads."""
    if isinstance(run[0], PythonNode) or not all(type(s) is tuple for s in grads.objects.values()):
        return False
    queue = pending.own_queue()
    arrays = queue.waiting()
    nodes, pulled, made = run, {id(node) for node in run}, None
    if all(id(a._pending.node) in pulled for a in arrays):
        made = steps_of(run)
    if made is None:  # others wait too
        others = [node for node in pending.below([a._pending for a in arrays]) if id(node) not in pulled]
        nodes = sorted([*run, *others], key=in_order)
        made = steps_of(nodes, pulled)
    read = [ct.value for cts in grads.values.values() for ct in cts]
    return _write_gradients(queue, arrays, nodes, made, lambda: given_of(grads, made),
                            lambda: pending.needed(arrays, nodes, pulled) if arrays else (), read)


def _write_gradients(queue: pending.Queue, arrays: list[NDArray], nodes: list[Node], made: Steps, given: Callable,
                     wanted: Callable, read: Sequence = ()) -> bool:
    """Runs nodes forward, as far as they wait, and backward, by one program that writes the gradients where they lie; False
    when these share memory, or one was taken away meanwhile.

    arrays: those that wait. given(): the `given` of the plan. wanted(): the values that are stored, with their nodes.
    """
    leaves, arguments = made.targets, made.arguments.list
    requests = tuple([s._grad_req for s in leaves])
    if not leaves or "null" in requests:
        return False
    buffers = [s._grad._data for s in leaves]
    if not _apart(buffers, [*arguments, *read]):
        return False
    pending.before_write(*[s._grad for s in leaves], besides=queue)
    seen, stored = len(queue.arrays), list(wanted())
    step = plan(nodes, made.steps, made.places(stored), tuple(given()), tuple(made.like), requests)
    arguments += buffers
    try:
        found = _run(step, made.arguments)
    except Exception:
        pending.run_all()  # raises what is wrong with an operator that waited, if one is to blame
        raise
    if arrays:
        pending.settle(stored, found)
        pending.publish(arrays)
    queue.forget(seen)
    return True


def _apart(written: Sequence, read: Sequence) -> bool:
    """Whether no array that is written shares memory with another one or with what is read."""
    owners = {id(owner_of(a)) for a in written}
    if len(owners) < len(written):
        return False
    return owners.isdisjoint([id(a if type(a) is np.ndarray and a.base is None else owner_of(a)) for a in read])


def _split_at(runs: list[list[Node]], cut: set) -> list[list[Node]]:
    """The runs cut below the nodes whose outputs' gradients are wanted, so that these appear between two runs."""
    out = []
    for run in runs:
        pieces: list[list[Node]] = [[]]
        for node in run:
            pieces[-1].append(node)
            if any((id(node), k) in cut for k in range(node.outputs)):
                pieces.append([])
        out += [piece for piece in reversed(pieces) if piece]
    return out


def _collect(grads: Gradients, source, keep: set) -> None:
    """Notes the gradients of a wanted source before a run takes them."""
    key = Gradients.key(source)
    if key in keep and key not in grads.found:
        parts = list(grads.values.get(key, ()))
        if key in grads.ones:
            parts.append(None)
        if parts:
            grads.found[key] = parts


def total(parts: Sequence, variable: NDArray, record: bool) -> NDArray:
    """The sum of gradients of one variable, recorded if asked for."""
    arrays = []
    for part in parts:
        array = NDArray(full(variable, 1) if part is None else part.value.copy(), variable._ctx)
        if record and part is not None and type(part.source) is tuple:
            array._node = part.source
        elif record and part is not None and part.source is not None:
            array = part.source  # a marked array that was given as a head gradient
        arrays.append(array)
    if not arrays:
        return NDArray(full(variable, 0), variable._ctx)
    with Scope(record, None):
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
    return total


def _write(leaves: dict, grads: Gradients) -> None:
    """Writes what was found into the gradients of the marked arrays."""
    for source in {**leaves, **{id(s): s for s in grads.objects.values() if type(s) is not tuple}}.values():
        parts, grad = grads.values.get(Gradients.key(source), ()), source._grad
        if source._grad_req == "null":  # since it was recorded
            continue
        if source._grad_req == "add":
            parts = [Given(grad._data), *parts]
        pending.before_write(grad)
        grad._data[...] = placed(total(parts, source, False)._data, grad._ctx)


def _run(made: Plan, arguments: Arguments):
    values = arguments.list
    if DeviceBuffer not in map(type, values):
        return made.compiled()(*values)
    with next(v.device for v in values if type(v) is DeviceBuffer):
        found = made.compiled()(*[Array(v) if type(v) is DeviceBuffer else v for v in values])
    return [x._data for x in found or ()]


def _run_recorded(made: Plan, arguments: Arguments) -> list[Given]:
    results = _run(made, arguments)
    node = Node(made, (), None, arguments.list, arguments.sources, len(results))
    return [Given(r, (node, k)) for k, r in enumerate(results)]


def _pull_python(node: PythonNode, grads: Gradients, record: bool, train: bool) -> None:
    """Calls the backward of a Function with the gradients of its outputs."""
    outs = []
    for k, like in enumerate(node.made):
        key = (id(node), k)
        parts = grads.values.pop(key, [])
        if key in grads.ones:
            parts = [None, *parts]
        grads.objects.pop(key, None)
        outs.append(total(parts, like, record))
    with Scope(record, train):
        found = node.pull(*outs)
    found = [found] if isinstance(found, NDArray) else list(found)
    if len(found) != len(node.sources):
        raise OperatorError(f"{node.call}.backward returned {len(found)} gradients for {len(node.sources)} inputs",
                            "return one for each argument of forward")
    for source, value, ct in zip(node.sources, node.values, found):
        if source is not None and ct is not None:
            if ct.shape != value.shape:
                raise OperatorError(f"{node.call}.backward returned a gradient of shape {ct.shape} for an input of shape "
                                    f"{value.shape}", "give each gradient the shape of its input")
            grads.add(source, Given(ct._data, source_of(ct) if record else None))
