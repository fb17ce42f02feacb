"""MXNet's `autograd`: what runs inside `record()` is put on a tape, and `backward` computes gradients along it.

>>> import jitnet as mx
>>> x = mx.nd.array([1.0, 2.0, 3.0])
>>> x.attach_grad()
>>> with mx.autograd.record():
...     y = (x * x).sum()
>>> y.backward()
>>> x.grad
<BLANKLINE>
[2. 4. 6.]
<NDArray 3 @cpu(0)>

The tape is differentiated, fused and compiled as one program; a loop that records the same steps again runs that program.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .errors import MXNetError, OperatorError
from .nd import tape
from .nd.base import Base
from .nd.invoke import execute, hooks, state
from .nd.memory import owner_of, placed
from .nd.ndarray import NDArray
from .nd.tape import Given, Gradients, Node, PythonNode, source_of
from .runtime.array import Array
from .runtime.cuda.buffer import DeviceBuffer

REQUESTS = ("write", "add", "null")


# What is being recorded

def is_recording() -> bool:
    """Whether operators are put on the tape."""
    return state.recorder is not None


def is_training() -> bool:
    """Whether layers that behave differently in training do so."""
    return state.training


def set_recording(is_record: bool) -> bool:
    """Switches recording on or off; returns what it was."""
    before = is_recording()
    state.recorder = _record if is_record else None
    return before


def set_training(train_mode: bool) -> bool:
    """Switches training mode on or off; returns what it was."""
    before, state.training = state.training, bool(train_mode)
    return before


class _Scope:
    """A `with` block that switches recording and training; None leaves one as it is."""

    __slots__ = ("before", "recording", "training")

    def __init__(self, recording: bool | None, training: bool | None):
        self.recording, self.training = recording, training

    def __enter__(self) -> None:
        self.before = state.recorder, state.training
        if self.recording is not None:
            state.recorder = _record if self.recording else None
        if self.training is not None:
            state.training = self.training

    def __exit__(self, *error) -> None:
        state.recorder, state.training = self.before


def record(train_mode: bool = True):
    """Inside this `with`, operators on arrays with a gradient are recorded; by default in training mode."""
    return _Scope(True, train_mode)


def pause(train_mode: bool = False):
    """Inside this `with`, nothing is recorded."""
    return _Scope(False, train_mode)


def train_mode():
    """Inside this `with`, layers behave as in training."""
    return _Scope(None, True)


def predict_mode():
    """Inside this `with`, layers behave as in prediction."""
    return _Scope(None, False)


def _record(op, arrays, params, out):
    """`invoke` under `record()`: runs the operator, and puts it on the tape when a gradient may flow through it."""
    if op.mode:
        params = {"training": state.training, **params}
    sources = [source_of(a) if type(a) is NDArray or isinstance(a, Base) else None for a in arrays]
    outs = () if out is None else out if isinstance(out, (list, tuple)) else (out,)
    for target in outs:
        _check_target(op.name, target)
    if sources.count(None) == len(sources):
        return execute(op, arrays, params, out)
    written = {id(o._data) for o in outs} if outs else ()
    values = [a._data.copy() if id(a._data) in written else a._data for a in arrays]
    key = hooks.draw_key(arrays[0]._ctx) if op.draws(params) else None
    result = execute(op, arrays, params, out, key)
    node = Node(op, *tape.record_options(op, params), key, values, sources, op.num_visible(params))
    if type(result) is not list:
        result._node = (node, 0)
        return result
    for k, array in enumerate(result):
        array._node = (node, k)
    return result


def _check_target(name: str, target) -> None:
    """OperatorError when an array that is about to be written is on the tape, where others count on its values."""
    if isinstance(target, Base) and source_of(target) is not None:
        raise OperatorError(f"{name}: inplace operations (+=, -=, x[:]=, out=) are not supported when recording with "
                            "autograd", "make a new array (`x = x + y`), or write inside `autograd.pause()`")


def _record_copy(array: NDArray, target: NDArray) -> None:
    """Puts a copy from one array to another, maybe on another context, on the tape: its gradient is the copy back."""
    _check_target("copyto", target)
    source = source_of(array)
    if source is not None:
        ctx = array._ctx
        _add_python(PythonNode("copyto", (), (), None, [array._data], [source], 1), [target], lambda ct: ct.as_in_context(ctx))


def _add_python(node: PythonNode, outs: Sequence[NDArray], pull: Callable) -> None:
    node.options, node.pull = [NDArray(o._data, o._ctx) for o in outs], pull
    for k, out in enumerate(outs):
        out._node = (node, k)


hooks.record_copy = _record_copy


# Arrays with a gradient

def mark_variables(variables, gradients, grad_reqs="write") -> None:
    """Gives arrays a place for their gradient; what was recorded of them is forgotten.

    grad_reqs: "write", "add" or "null", one for all or one for each.
    """
    if isinstance(variables, NDArray):
        variables, gradients = [variables], [gradients]
    requests = [grad_reqs] * len(variables) if isinstance(grad_reqs, str) else list(grad_reqs)
    if not len(variables) == len(gradients) == len(requests):
        raise MXNetError(f"mark_variables: {len(variables)} variables, {len(gradients)} gradients and {len(requests)} requests",
                         "give one gradient and one request for each variable")
    for variable, gradient, request in zip(variables, gradients, requests):
        if request not in REQUESTS:
            raise MXNetError(f"grad_req {request!r} is unknown", f"use one of {', '.join(map(repr, REQUESTS))}")
        if gradient is not None and gradient.shape != variable.shape:
            raise MXNetError(f"mark_variables: a gradient of shape {gradient.shape} for a variable of shape {variable.shape}",
                             "give it the shape of the variable")
        variable._node, variable._grad, variable._grad_req = None, gradient, "null" if gradient is None else request


def _attach_grad(self: NDArray, grad_req: str = "write", stype: str | None = None) -> None:
    """Gives the array a gradient of zeros, which `backward` writes (or adds to), and makes it the start of a recording."""
    mark_variables([self], [NDArray(_full(self, 0), self._ctx)], grad_req)


def _full(array: NDArray, value: int):
    """What an array of one number in the shape, dtype and place of another holds."""
    return placed(np.full(array._data.shape, value, array._data.dtype), array._ctx)


def _backward(self: NDArray, out_grad: NDArray | None = None, retain_graph: bool = False, train_mode: bool = True) -> None:
    """Computes the gradients of this array with respect to the arrays with one; see `autograd.backward`."""
    backward([self], [out_grad], retain_graph, train_mode)


NDArray.attach_grad, NDArray.backward = _attach_grad, _backward
NDArray.grad = property(lambda self: self._grad if self._grad_req != "null" else None,
                        doc="The gradient that `backward` writes; None without `attach_grad`.")
NDArray.drop_grad = lambda self: mark_variables([self], [None], "null")
NDArray.drop_grad.__doc__ = "Takes the gradient away from the array."


# Gradients

def backward(heads, head_grads=None, retain_graph: bool = False, train_mode: bool = True) -> None:
    """Writes the gradients of the heads into the `.grad` of the arrays that they were computed from.

    head_grads: the gradient of something else with respect to each head (None: ones). retain_graph: keep the recording for
    another backward.
    """
    heads, given = _heads(heads, head_grads)
    grads = _start(heads, given, record=False)
    nodes = tape.below([source_of(h) for h in heads])
    _sweep(nodes, grads, [], record=False, train=train_mode)
    if not retain_graph:
        for node in nodes:
            node.free()


def grad(heads, variables, head_grads=None, retain_graph: bool | None = None, create_graph: bool = False,
         train_mode: bool = True):
    """The gradients of the heads with respect to the variables, a list of new arrays; `.grad` stays as it is.

    The list has one element for a single variable too, as in MXNet: `g, = autograd.grad(y, x)`.

    create_graph: record the computation of the gradients too, so that they can be differentiated, to any order.
    """
    variables = [variables] if isinstance(variables, NDArray) else list(variables)
    heads, given = _heads(heads, head_grads)
    targets = [source_of(v) for v in variables]
    for k, source in enumerate(targets):
        if source is None:
            raise OperatorError(f"grad: cannot differentiate with respect to variable {k}: it has no gradient",
                                "call `attach_grad()` on it before recording")
    grads = _start(heads, given, record=create_graph)
    nodes = tape.below([source_of(h) for h in heads])
    _sweep(nodes, grads, targets, record=create_graph, train=train_mode)
    results = [_total(grads.found.get(Gradients.key(source), ()), variable, create_graph)
               for variable, source in zip(variables, targets)]
    if not (create_graph if retain_graph is None else retain_graph):
        for node in nodes:
            node.free()
    return results


def _heads(heads, head_grads) -> tuple[list[NDArray], list[NDArray | None]]:
    if isinstance(heads, NDArray):
        heads, head_grads = [heads], [head_grads]
    heads = list(heads)
    given = [None] * len(heads) if head_grads is None else list(head_grads)
    if len(given) != len(heads):
        raise OperatorError(f"backward: {len(heads)} heads and {len(given)} head gradients",
                            "give one gradient (or None) for each head")
    for k, (head, ct) in enumerate(zip(heads, given)):
        if source_of(head) is None:
            raise OperatorError(f"backward: cannot differentiate head {k}: it is not in a recorded graph",
                                "compute it inside `with autograd.record():` from arrays with `attach_grad()`")
        if ct is not None and ct.shape != head.shape:
            raise OperatorError(f"backward: head {k} has the shape {head.shape}, its gradient {ct.shape}",
                                "give the gradient the shape of the head")
    return heads, given


def _start(heads: Sequence[NDArray], given: Sequence, record: bool) -> Gradients:
    grads = Gradients()
    grads.found = {}
    for head, ct in zip(heads, given):
        source = source_of(head)
        if ct is None and type(source) is not tuple:
            grads.head(source, Given(_full(head, 1)))
        else:
            grads.head(source, None if ct is None else Given(ct._data, source_of(ct) if record else None))
    return grads


def _sweep(nodes: list[Node], grads: Gradients, wanted: list, record: bool, train: bool) -> None:
    """Runs the tape backwards. With `wanted`, gradients of these sources are collected in `grads.found`; else those of marked
    arrays are written into their `.grad`."""
    runs = tape.runs(nodes)
    if not wanted and len(runs) == 1 and _written_at_once(runs[0], grads):
        return
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
        inside = {id(node) for node in run}
        targets = {Gradients.key(s): s for node in run for s in node.sources
                   if s is not None and not (type(s) is tuple and id(s[0]) in inside)}
        sources = list(targets.values())
        found = tape.run_backward(run, grads, sources, (), (), _run_recorded if record else _run)
        for source, ct in zip(sources, found):
            if ct is not None:
                grads.add(source, ct if isinstance(ct, Given) else Given(ct))
    for source in list(grads.objects.values()):
        _collect(grads, source, keep)
    if not wanted:
        _write(leaves, grads)


def _written_at_once(run: list[Node], grads: Gradients) -> bool:
    """Runs the tape backwards by a program that writes into the gradients itself, where there is one run and no gradient
    shares memory with another one or with what the program reads."""
    if isinstance(run[0], PythonNode) or not all(type(s) is tuple for s in grads.objects.values()):
        return False
    leaves = list({id(s): s for node in run for s in node.sources if s is not None and type(s) is not tuple}.values())
    owners = {id(owner_of(s._grad._data)) for s in leaves}
    read = [v for node in run for v in node.values] + [ct.value for cts in grads.values.values() for ct in cts]
    if len(owners) < len(leaves) or not owners.isdisjoint([id(owner_of(v)) for v in read]):
        return False
    tape.run_backward(run, grads, leaves, [s._grad_req for s in leaves], [s._grad._data for s in leaves], _run)
    return True


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


def _total(parts: Sequence, variable: NDArray, record: bool) -> NDArray:
    """The sum of gradients of one variable, recorded if asked for."""
    arrays = []
    for part in parts:
        array = NDArray(_full(variable, 1) if part is None else part.value.copy(), variable._ctx)
        if record and part is not None and type(part.source) is tuple:
            array._node = part.source
        elif record and part is not None and part.source is not None:
            array = part.source  # a marked array that was given as a head gradient
        arrays.append(array)
    if not arrays:
        return NDArray(_full(variable, 0), variable._ctx)
    with _Scope(record, None):
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
    return total


def _write(leaves: dict, grads: Gradients) -> None:
    """Writes what was found into the gradients of the marked arrays."""
    for source in {**leaves, **{id(s): s for s in grads.objects.values() if type(s) is not tuple}}.values():
        parts, grad = grads.values.get(Gradients.key(source), ()), source._grad
        if source._grad_req == "add":
            parts = [Given(grad._data), *parts]
        grad._data[...] = placed(_total(parts, source, False)._data, grad._ctx)


def _run(plan: tape.Plan, arguments: tape.Arguments):
    values = arguments.list
    gpu = next((v.device for v in values if type(v) is DeviceBuffer), None)
    if gpu is None:
        return plan.compiled()(*values)
    with gpu:
        found = plan.compiled()(*[Array(v) if type(v) is DeviceBuffer else v for v in values])
    return [x._data for x in found or ()]


def _run_recorded(plan: tape.Plan, arguments: tape.Arguments) -> list[Given]:
    results = _run(plan, arguments)
    node = Node(plan, (), (), None, arguments.list, arguments.sources, len(results))
    return [Given(r, (node, k)) for k, r in enumerate(results)]


def _pull_python(node: PythonNode, grads: Gradients, record: bool, train: bool) -> None:
    """Calls the backward of a Function with the gradients of its outputs."""
    outs = []
    for k, like in enumerate(node.options):
        key = (id(node), k)
        parts = grads.values.pop(key, [])
        if key in grads.ones:
            parts = [None, *parts]
        grads.objects.pop(key, None)
        outs.append(_total(parts, like, record))
    with _Scope(record, train):
        found = node.pull(*outs)
    found = [found] if isinstance(found, NDArray) else list(found)
    if len(found) != len(node.sources):
        raise OperatorError(f"{node.operator}.backward returned {len(found)} gradients for {len(node.sources)} inputs",
                            "return one for each argument of forward")
    for source, value, ct in zip(node.sources, node.values, found):
        if source is not None and ct is not None:
            if ct.shape != value.shape:
                raise OperatorError(f"{node.operator}.backward returned a gradient of shape {ct.shape} for an input of shape "
                                    f"{value.shape}", "give each gradient the shape of its input")
            grads.add(source, Given(ct._data, source_of(ct) if record else None))


# Functions with a gradient of their own

class Function:
    """An operation written in Python with a gradient written in Python: override `forward` and `backward`, on NDArrays.

    >>> import jitnet as mx
    >>> class Square(mx.autograd.Function):
    ...     def forward(self, x):
    ...         self.save_for_backward(x)
    ...         return x * x
    ...     def backward(self, dy):
    ...         x, = self.saved_tensors
    ...         return 2 * x * dy
    >>> x = mx.nd.array([3.0])
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = Square()(x)
    >>> y.backward()
    >>> x.grad.asscalar()
    np.float32(6.0)
    """

    def __init__(self):
        self.saved_tensors: tuple = ()

    def save_for_backward(self, *arrays: NDArray) -> None:
        """Keeps arrays for `backward`, which finds them in `saved_tensors`."""
        self.saved_tensors = arrays

    def forward(self, *inputs: NDArray):
        """The outputs for the inputs: an NDArray or a tuple of them."""
        raise TypeError(f"{type(self).__name__} is abstract: it has no forward")

    def backward(self, *output_grads: NDArray):
        """The gradients of the inputs for those of the outputs."""
        raise TypeError(f"{type(self).__name__} is abstract: it has no backward")

    def __call__(self, *inputs: NDArray):
        with pause(train_mode=is_training()):
            result = self.forward(*inputs)
        sources = [source_of(x) for x in inputs]
        if not is_recording() or all(s is None for s in sources):
            return result
        # what forward saved of its outputs is then on the tape too, which a second derivative needs
        outs = [o.copy() if source_of(o) is not None else o for o in ([result] if isinstance(result, NDArray) else result)]
        node = PythonNode(type(self).__name__, (), (), None, [x._data for x in inputs], sources, len(outs))
        _add_python(node, outs, self.backward)
        return outs[0] if isinstance(result, NDArray) else outs
