"""Executor: a symbol with arrays bound to its variables. Forward and backward are compiled programs on these arrays."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .context import Context
from .errors import MXNetError, OperatorError, OperatorIndexError, ReshapeError, TraceIndexError
from .jit import JitFunction
from .nd import NDArray, zeros
from .nd.invoke import hooks
from .nd.late import Late
from .nd.pending import before_write
from .runtime.array import Array
from .sym.inner import named_values, with_edges
from .sym.program import programs
from .sym.symbol import Symbol
from .text import Text
from .types import ArrayType


@dataclass(frozen=True, eq=False)
class Call:
    """A program and the arrays that it is called with.

    key: where among them the key of the random numbers stands, None when there are none. residuals: those of them that keep
    what the gradients need. late: (place, what says where the values lie) of those whose copy may not have been made.
    """

    run: JitFunction
    row: list
    key: int | None
    residuals: list
    late: list[tuple[int, Late]]

    def __call__(self, *cts) -> None:
        """Runs it, after the gradients of outputs on what is bound."""
        row = self.row
        for place, late in self.late:
            row[place] = late.current
        self.run(*cts, *row)


class Executor:
    """Runs a symbol on bound arrays. Made by `Symbol.bind` and `Symbol.simple_bind`.

    Arrays are not copied: what is written into them is seen by the next forward. `outputs` and gradients keep their memory too;
    an output that is a variable is the array bound to it.

    >>> import jitnet as mx
    >>> x = mx.sym.Variable("x")
    >>> ex = (x * x).bind(mx.cpu(), {"x": mx.nd.array([3.0])}, args_grad={"x": mx.nd.zeros((1,))})
    >>> ex.forward(is_train=True)[0].asscalar()
    np.float32(9.0)
    >>> ex.backward(mx.nd.ones((1,)))
    >>> ex.grad_dict["x"].asscalar()
    np.float32(6.0)
    """

    def __init__(self, symbol: Symbol, ctx: Context, args: Sequence[NDArray], grads: Sequence[NDArray | None],
                 requests: Sequence[str], states: Sequence[NDArray], group2ctx: Mapping[str, Context] | None = None):
        self._symbol, self._ctx, self._group2ctx = symbol, ctx, group2ctx
        self.arg_arrays, self.aux_arrays = list(args), list(states)
        self.grad_arrays = [g if r != "null" else None for g, r in zip(grads, requests)]
        self._requests = ["null" if g is None else "write" if r == "inplace" else r for g, r in zip(self.grad_arrays, requests)]
        nodes = symbol._arguments(), symbol._auxiliaries()
        self._arg_names, self._aux_names = [n.name for n in nodes[0]], [n.name for n in nodes[1]]
        self._output_names = symbol.list_outputs()
        types = [ArrayType(a.shape, np.dtype(a.dtype)) for a in (*args, *states)]
        self._programs = programs(symbol._entries, *nodes, types, [r != "null" for r in self._requests],
                                  symbol.name or "group")
        bound = {id(n): a for n, a in zip((*nodes[0], *nodes[1]), (*args, *states))}
        made = self._programs.graph(False).output_types
        self.outputs = [bound[id(node)] if node.op is None else zeros(t.shape, context_of(node, ctx, group2ctx), t.dtype)
                        for (node, _), t in zip(symbol._entries, made)]
        floats = self._programs.needed
        self._wanted = [k for k, r in enumerate(self._requests) if r != "null" and floats[k]]
        self._zeroed = [self.grad_arrays[k] for k, r in enumerate(self._requests) if r == "write" and not floats[k]]
        self._last: tuple = (True, None)  # training and key of the last forward
        self._kept: Call | None = None    # the last forward, when it kept what the gradients need
        self._calls: dict = {}
        self._monitor: tuple[Callable, bool] | None = None
        self._shown: Executor | None = None
        self._edges: tuple[Executor, list] | None = None

    # Arrays by name

    @property
    def arg_dict(self) -> dict[str, NDArray]:
        """Name -> bound array, of the arguments."""
        return self._named(self._arg_names, self.arg_arrays, "arguments")

    @property
    def grad_dict(self) -> dict[str, NDArray | None]:
        """Name of an argument -> its gradient, None where there is none."""
        return self._named(self._arg_names, self.grad_arrays, "arguments")

    @property
    def aux_dict(self) -> dict[str, NDArray]:
        """Name -> array, of the auxiliary states."""
        return self._named(self._aux_names, self.aux_arrays, "auxiliary states")

    @property
    def output_dict(self) -> dict[str, NDArray]:
        """Name -> array, of the outputs."""
        return self._named(self._output_names, self.outputs, "outputs")

    @staticmethod
    def _named(names: Sequence[str], arrays: Sequence, what: str) -> dict:
        found = dict(zip(names, arrays))
        if len(found) != len(names):
            raise ValueError(f"Duplicate names detected among the {what}: {', '.join(names)}")
        return found

    # Running

    def forward(self, is_train: bool = False, **kwargs) -> list[NDArray]:
        """Computes the outputs, which are returned. Arrays given by name are copied into the bound ones first.

        is_train: layers behave as in training, and what `backward` needs is kept. When it fails, all arrays are as before.
        """
        training = bool(is_train)
        if not kwargs and self._monitor is None:
            self._run(training, training and bool(self._wanted))
            return self.outputs
        before = self._take(kwargs)
        try:
            key = None
            if self._monitor is not None:
                key = self._show_internals(training)
            self._run(training, training and bool(self._wanted), key)
        except BaseException:
            for target, value in before:
                target[:] = value
            raise
        return self.outputs

    def __getstate__(self) -> dict:
        """Its arrays, without compiled calls; gradients that are asked for next begin with a forward pass."""
        return {**vars(self), "_calls": {}, "_kept": None}

    def _take(self, given: Mapping[str, object]) -> list[tuple[NDArray, NDArray]]:
        """Writes arrays into the bound ones; (bound array, a copy of what it held) for each, where a program may yet fail."""
        known = self.arg_dict
        ready = []
        for name, value in given.items():
            target = known.get(name)
            if target is None:
                raise TypeError(f"Unknown argument {name}; the arguments are {', '.join(known)}")
            if not isinstance(value, (NDArray, np.ndarray)):
                raise ValueError("only accept keyword argument of NDArrays and numpy.ndarray")
            if tuple(value.shape) != target.shape:
                raise ValueError(f"Shape not match! Argument {name}, need: {target.shape}, received: {tuple(value.shape)}")
            ready.append((target, value))
        before = [(target, target.copy()) for target, _ in ready] if self._programs.may_fail else []
        for target, value in ready:
            target[:] = value
        return before

    def _run(self, training: bool, keep: bool, key: np.ndarray | None = None) -> None:
        call = self._calls.get((training, keep))
        if call is None:
            call = self._calls[training, keep] = self._forward_call(training, keep)
        if call.key is not None:
            key = call.row[call.key] = hooks.draw_key(self._ctx) if key is None else key
        self._kept = None
        before_write(*self.outputs, *self.aux_arrays)
        try:
            call()
        except np.linalg.LinAlgError as error:
            raise OperatorError(f"{self._symbol.name or 'group'}: {error}",
                                "look at the matrices that the operators of linear algebra get") from None
        except TraceIndexError as error:
            raise OperatorIndexError(error.what, error.hint, error.source) from None
        self._last = training, key
        self._kept = call if keep else None

    def _forward_call(self, training: bool, keep: bool) -> Call:
        program = self._programs.forward(training, keep)
        residuals = [_value(zeros(t.shape, self._ctx, t.dtype)) for t in program.residuals]
        row = [_value(a) for a in (*self.arg_arrays, *self.aux_arrays)]
        key = len(row) if program.random else None
        row += [np.zeros(2, np.uint64)] * program.random
        row += [_value(self.outputs[k]) for k in self._programs.computed]
        return Call(program.run, row + residuals, key, residuals, self._late_places(row))

    def _late_places(self, row: Sequence) -> list[tuple[int, Late]]:
        """Where inputs stand in a row of arrays that may lie elsewhere."""
        lates = {id(a._pending.home): a._pending for a in self.arg_arrays if type(a._pending) is Late}
        return [(k, lates[id(x)]) for k, x in enumerate(row) if id(x) in lates]

    def backward(self, out_grads=None, is_train: bool = True) -> None:
        """Computes the gradients, from those of the outputs: an NDArray, a list, or a dict by name of the output.

        Heads that are losses (SoftmaxOutput, MakeLoss, ...) need none. They are gradients of the last forward as it was;
        without one it runs one in training. Arguments of integers have the gradient 0.
        """
        if not self._wanted and not self._zeroed:
            return
        training, key = self._last
        cts = self._head_grads(out_grads, training)
        given = tuple([ct is not None for ct in cts])
        if self._kept is None and self._wanted:
            self._run(training, True, key)
        if self._wanted:
            call = self._calls.get((training, given)) or self._backward_call(training, given)
            before_write(*[self.grad_arrays[k] for k in self._wanted])
            call(*[_value(ct) for ct in cts if ct is not None])
        for array in self._zeroed:
            array[:] = 0
        if self._monitor is not None:
            self._show_gradients(cts)

    def _backward_call(self, training: bool, given: tuple[bool, ...]) -> Call:
        arrays: list[NDArray] = []
        requests = []
        for k in self._wanted:  # one array may take several gradients
            array = self.grad_arrays[k]
            place = next((n for n, a in enumerate(arrays) if a._data is array._data), len(arrays))
            arrays += [array] * (place == len(arrays))
            requests.append((self._requests[k], place))
        values = [_value(a) for a in (*self.arg_arrays, *self.aux_arrays)]
        kept = self._programs.split(training).residuals(values, [_value(o) for o in self.outputs], self._kept.residuals)
        program = self._programs.backward(training, tuple(requests), given)
        call = self._calls[training, given] = Call(program, [*kept, *map(_value, arrays)], None, [], self._late_places(kept))
        return call

    def _head_grads(self, out_grads, training: bool) -> list[NDArray | None]:
        """One gradient for each output, None for those that need none."""
        names, outputs = self._output_names, self.outputs
        if isinstance(out_grads, dict):
            unknown = [n for n in out_grads if n not in names]
            if unknown:
                raise MXNetError(f"backward: there is no output {unknown[0]!r}", f"the outputs are {', '.join(names)}")
            out_grads = [out_grads.get(name) for name in names]
        given = [out_grads] if isinstance(out_grads, NDArray) else list(out_grads or ())
        if len(given) > len(names):
            raise MXNetError(f"backward: {len(given)} gradients for {len(names)} outputs",
                             f"the outputs are {', '.join(names)}")
        given += [None] * (len(names) - len(given))
        for k, ct in enumerate(given):
            if ct is None:
                if self._programs.needs_head_grad(training, k):
                    raise MXNetError(f"backward: the head_gradient of output {names[k]} is required: it is no loss",
                                     "pass `out_grads`, or pass the symbol through `sym.make_loss`",
                                     self._symbol._entries[k][0].source)
            elif not isinstance(ct, NDArray):
                raise TypeError("inputs must be instances of NDArray")
            elif ct.shape != outputs[k].shape:
                raise MXNetError(f"backward: output {names[k]} has the shape {outputs[k].shape}, its gradient {ct.shape}",
                                 "give the gradient the shape of the output")
            elif ct._data.dtype != outputs[k]._data.dtype:
                given[k] = ct.astype(outputs[k].dtype)
        return [ct if out._data.dtype.kind == "f" else None for ct, out in zip(given, outputs)]

    # Parameters and shapes

    def copy_params_from(self, arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray] | None = None,
                         allow_extra_params: bool = False) -> None:
        """Copies arrays by name into the bound arguments and states."""
        parts = (("arguments", arg_params, self.arg_dict), ("auxiliary states", aux_params or {}, self.aux_dict))
        for what, given, known in parts:
            for name, value in given.items():
                if name not in known:
                    if not allow_extra_params:
                        raise ValueError(f'Find name "{name}" that is not in the {what}')
                    continue
                if value.shape != known[name].shape:
                    raise OperatorError(f"Shape not match! {name}, need: {known[name].shape}, received: {value.shape}",
                                        "copy an array of the shape that is bound")
        for _, given, known in parts:
            for name, value in given.items():
                if name in known:
                    known[name][:] = value.astype(known[name].dtype)

    def reshape(self, partial_shaping: bool = False, allow_up_sizing: bool = False, **kwargs) -> Executor:
        """An executor for other shapes, which shares the arrays whose shape stays (and the memory of those that shrink).

        partial_shaping: shapes that were not named may change. allow_up_sizing: arrays may grow, into new memory.
        """
        shapes, _, state_shapes = self._symbol.infer_shape_partial(**kwargs)

        def fitted(name: str, array: NDArray | None, shape: tuple[int, ...]) -> NDArray | None:
            if array is None or array.shape == shape or (name not in kwargs and (not shape or 0 in shape)):
                return array
            if not partial_shaping and name not in kwargs:
                raise ReshapeError(f"Shape of unspecified array {name} changed. This can cause the new executor to not share "
                                   "parameters with the old one. Please check for error in network.",
                                   "If this is intended, set partial_shaping=True.")
            size = int(np.prod(shape))
            if size > array.size:
                if not allow_up_sizing:
                    raise ReshapeError(f"New shape of {name} larger than original. First making a big executor and then down "
                                       "sizing it is more efficient than the reverse.",
                                       "If you really want to up size, set allow_up_sizing=True: new arrays are allocated.")
                return zeros(shape, array.context, array.dtype)
            return array.reshape((-1,))[:size].reshape(shape)

        args = [fitted(*parts) for parts in zip(self._arg_names, self.arg_arrays, shapes)]
        grads = [fitted(*parts) for parts in zip(self._arg_names, self.grad_arrays, shapes)]
        states = [fitted(*parts) for parts in zip(self._aux_names, self.aux_arrays, state_shapes)]
        return Executor(self._symbol, self._ctx, args, grads, self._requests, states, self._group2ctx)

    # Looking inside

    def set_monitor_callback(self, callback: Callable[[str, NDArray], None] | None, monitor_all: bool = False) -> None:
        """Calls callback(name, array) for every inner output at each forward, and at each backward for the gradient that each
        operator gives each of its inputs, `fc1_backward_output0`; with monitor_all for the inputs of the operators too.
        None: no more."""
        self._monitor = None if callback is None else (callback, monitor_all)

    def _show_internals(self, training: bool) -> np.ndarray:
        """Shows what is inside the next forward; the key that this draws from."""
        callback, everything = self._monitor
        inner = self._symbol.get_internals()
        if self._shown is None:
            none = [None] * len(self.arg_arrays)
            self._shown = Executor(inner, self._ctx, self.arg_arrays, none, ["null"] * len(none),
                                   [a.copy() for a in self.aux_arrays], self._group2ctx)
        shown, key = self._shown, hooks.draw_key(self._ctx)
        for copied, state in zip(shown.aux_arrays, self.aux_arrays):
            copied[:] = state
        shown._run(training, False, key)
        for name, array in named_values(shown._values(), inner._entries, everything):
            callback(name, array)
        return key

    def _values(self) -> dict[tuple[int, int], NDArray]:
        """(id of a node, number of its output) -> array, of the outputs."""
        return {(id(node), k): array for (node, k), array in zip(self._symbol._entries, self.outputs)}

    def _show_gradients(self, cts: Sequence[NDArray | None]) -> None:
        """Shows the gradients inside the last backward, which were computed from `cts`."""
        if self._shown is None:
            return  # the forward came before the monitor
        training, key = self._last
        if self._edges is None:
            symbol, edges = with_edges(self._symbol, self._shown._values())
            values = self._shown._values()
            bound = dict(zip(map(id, self._symbol._arguments()), self.arg_arrays))
            bound |= {id(node): values[id(source), k].zeros_like() for _, node, (source, k) in edges}
            new = {id(node) for _, node, _ in edges}
            nodes = symbol._arguments()
            args = [bound[id(node)] for node in nodes]
            inner = Executor(symbol, self._ctx, args, [a.zeros_like() if id(n) in new else None for n, a in zip(nodes, args)],
                             ["write" if id(n) in new else "null" for n in nodes], [a.copy() for a in self.aux_arrays],
                             self._group2ctx)
            found = dict(zip(map(id, nodes), inner.grad_arrays))
            self._edges = inner, [(name, found[id(node)]) for name, node, _ in edges]
        inner, named = self._edges
        for copied, state in zip(inner.aux_arrays, self.aux_arrays):
            copied[:] = state
        inner._run(training, True, key)
        inner.backward(list(cts))
        for name, gradient in named:
            self._monitor[0](name, gradient)

    def graph(self, is_train: bool = False):
        """The Graph of a forward pass."""
        return self._programs.graph(is_train)

    def explain(self, is_train: bool = True) -> Text:
        """The kernels of a forward and, in training, of a backward pass: which operators they hold, what they move."""
        return self._look("explain", is_train)

    def source(self, is_train: bool = True) -> Text:
        """The source of the kernels: Python text that runs."""
        return self._look("source", is_train)

    def _look(self, what: str, is_train: bool) -> Text:
        keep = is_train and bool(self._wanted)
        call = self._calls.get((is_train, keep)) or self._forward_call(is_train, keep)
        parts = [getattr(call.run, what)(*call.row)]
        if keep:
            cts = [o if self._programs.needs_head_grad(is_train, k) else None for k, o in enumerate(self.outputs)]
            before, self._kept = self._kept, call
            back = self._backward_call(is_train, tuple([ct is not None for ct in cts]))
            self._kept = before
            parts.append(getattr(back.run, what)(*[_value(ct) for ct in cts if ct is not None], *back.row))
        return Text("\n".join(map(str, parts)))

    def debug_str(self) -> str:
        """The nodes of the symbol."""
        return self._symbol.debug_str()

    def __repr__(self) -> str:
        return f"<Executor of {self._symbol!r} on {self._ctx}>"


def context_of(node, ctx: Context, group2ctx: Mapping[str, Context] | None) -> Context:
    """Where the arrays of a node are: where its attribute `ctx_group` is mapped to, else on `ctx`."""
    return (group2ctx or {}).get(node.attrs.get("__ctx_group__"), ctx)


def _value(array):
    """What a compiled function takes for an NDArray: its NumPy array, or its buffer on a GPU."""
    data = array._pending.home if type(array._pending) is Late else array._data
    return data if type(data) is np.ndarray else Array(data)
