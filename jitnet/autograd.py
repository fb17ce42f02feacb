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

Operators on the tape do not run when they are called, but together, when a value is asked for or with `backward`: forward and
backward are then one program, fused and compiled. A loop that records the same steps again runs that program.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from .errors import MXNetError, OperatorError, user_source
from .nd import pending, tape
from .nd.backward import full, run_recording, start, sweep, total
from .nd.base import Base
from .nd.invoke import Scope, execute, hooks, state
from .nd.ndarray import NDArray
from .nd.plan import in_mode, signature
from .nd.tape import Gradients, Node, PythonNode, source_of

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


def record(train_mode: bool = True):
    """Inside this `with`, operators on arrays with a gradient are recorded; by default in training mode."""
    return Scope(True, train_mode)


def pause(train_mode: bool = False):
    """Inside this `with`, nothing is recorded."""
    return Scope(False, train_mode)


def train_mode():
    """Inside this `with`, layers behave as in training."""
    return Scope(None, True)


def predict_mode():
    """Inside this `with`, layers behave as in prediction."""
    return Scope(None, False)


def _record(op, arrays, params, out):
    """`invoke` under `record()`: puts the operator on the tape when a gradient may flow through it, to be run when somebody
    asks for what it gives; else runs it."""
    if op.mode:
        params = in_mode(params, state.training)
    if out is None:
        result = pending.defer(op, arrays, params, NDArray, hooks.draw_key)
        if result is not None:
            return result[0] if len(result) == 1 else result
    outs = () if out is None else out if isinstance(out, (list, tuple)) else (out,)
    for target in outs:
        _check_target(op.name, target)
    sources = [source_of(a) if isinstance(a, Base) else None for a in arrays]
    if all(source is None for source in sources):
        return execute(op, arrays, params, out)
    written = {id(o._data) for o in outs} if outs else ()
    values = [a._data.copy() if id(a._data) in written else a._data for a in arrays]
    key = hooks.draw_key(arrays[0]._ctx) if op.draws(params) else None
    result = execute(op, arrays, params, out, key)
    call, scalars = signature(op, params)
    node = Node(call, scalars, key, values, sources, call.visible, user_source())
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
        _add_python(PythonNode("copyto", (), None, [array._data], [source], 1), [target], lambda ct: ct.as_in_context(ctx))


def _add_python(node: PythonNode, outs: Sequence[NDArray], pull: Callable) -> None:
    node.made, node.pull = [NDArray(o._data, o._ctx) for o in outs], pull
    for k, out in enumerate(outs):
        out._node = (node, k)


hooks.recorder, hooks.record_copy = _record, _record_copy


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
    if stype not in (None, "default"):
        raise MXNetError(f"attach_grad: gradients are dense, there is no storage type {stype!r}", "leave stype out")
    mark_variables([self], [NDArray(full(self, 0), self._ctx)], grad_req)


def _backward(self: NDArray, out_grad: NDArray | None = None, retain_graph: bool = False, train_mode: bool = True) -> None:
    """Computes the gradients of this array with respect to the arrays with one; see `autograd.backward`."""
    backward([self], [out_grad], retain_graph, train_mode)


NDArray.attach_grad, NDArray.backward = _attach_grad, _backward
NDArray.grad = property(lambda self: self._grad, doc="The gradient that `backward` writes; None without `attach_grad`.")
NDArray.drop_grad = lambda self: mark_variables([self], [None], "null")
NDArray.drop_grad.__doc__ = "Takes the gradient away from the array."


# Gradients

def backward(heads, head_grads=None, retain_graph: bool = False, train_mode: bool = True) -> None:
    """Writes the gradients of the heads into the `.grad` of the arrays that they were computed from.

    head_grads: the gradient of something else with respect to each head (None: ones). retain_graph: keep the recording for
    another backward.
    """
    heads, given = _heads(heads, head_grads)
    if not retain_graph and run_recording(heads, given):
        return
    grads = start(heads, given, record=False)
    if retain_graph:
        pending.run_all()  # what the next backward needs is kept
    nodes = tape.below([source_of(h) for h in heads])
    sweep(nodes, grads, [], record=False, train=train_mode)
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
    grads = start(heads, given, record=create_graph)
    nodes = tape.below([source_of(h) for h in heads])
    sweep(nodes, grads, targets, record=create_graph, train=train_mode)
    results = [total(grads.found.get(Gradients.key(source), ()), variable, create_graph)
               for variable, source in zip(variables, targets)]
    if not (create_graph if retain_graph is None else retain_graph):
        for node in nodes:
            node.free()
    return results


def get_symbol(x: NDArray):
    """The Symbol of what was recorded to compute an array: arrays are its variables var0, var1, ... in the order of their use.

    >>> import jitnet as mx
    >>> x = mx.nd.ones(2)
    >>> x.attach_grad()
    >>> with mx.autograd.record():
    ...     y = mx.nd.exp(x) * 2
    >>> mx.autograd.get_symbol(y).list_arguments()
    ['var0']
    """
    from .sym import make, var

    head = source_of(x)
    if head is None:
        raise OperatorError("get_symbol: the array is not in a recorded graph", "compute it inside `with autograd.record():`")
    made: dict[tuple, object] = {}  # key of a source, or id of a constant -> its symbol

    def symbol_of(source, value):
        key = ("constant", id(value)) if source is None else Gradients.key(source)
        if key not in made:
            made[key] = var(f"var{sum(len(k) == 1 or k[0] == 'constant' for k in made)}")
        return made[key]

    for number, node in enumerate(tape.below([head])):
        if isinstance(node, PythonNode) or not hasattr(node.call, "operator"):
            raise OperatorError(f"get_symbol: step {number} is a Function or a recorded gradient, which is no operator",
                                "ask for the symbol of what it was computed from; `Symbol.gradient` gives gradients as symbols")
        op = node.call.operator
        given = {name: value for name, value in node.call.params(node.scalars).items() if name in op.schema.names}
        outs = make.apply(op, [symbol_of(s, v) for s, v in zip(node.sources, node.values)], given, f"node_{number}")
        made |= {(id(node), k): outs[k] for k in range(len(outs))}
    return symbol_of(head, x)


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
        node = PythonNode(type(self).__name__, (), None, [x._data for x in inputs], sources, len(outs))
        _add_python(node, outs, self.backward)
        return outs[0] if isinstance(result, NDArray) else outs
