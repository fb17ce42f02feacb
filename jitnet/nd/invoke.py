"""`invoke`, through which every operator on NDArrays goes: at once, or into whatever records."""
from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..context import Context, context_named
from ..errors import DeviceError, OperatorError
from ..operators import Operator, dispatch
from ..runtime.device import Device
from .base import Base
from .memory import fresh, placed
from .pending import before_write, start_recording
from .plan import Params, in_mode


class State(threading.local):
    """What `invoke` asks in each thread.

    recorder: None, or called as recorder(op, arrays, params, out) in place of `execute`, which it may call itself.
    training: whether layers that behave differently in training do so.
    """

    recorder: Callable | None = None
    training: bool = False


state = State()


class Hooks:
    """What modules above this one provide.

    array_type: what is returned where no input says it. recorder: what records, as in State. draw_key: the next key of a
    context's random stream. record_copy(array, target): called while recording, before one NDArray is copied to another.
    """

    array_type: type = Base
    recorder: Callable
    draw_key: Callable[[Context], np.ndarray]
    record_copy: Callable[[Base, Base], None]


hooks = Hooks()


class Scope:
    """A `with` block that switches recording and training; None leaves one as it is."""

    __slots__ = ("before", "recording", "training")

    def __init__(self, recording: bool | None, training: bool | None):
        self.recording, self.training = recording, training

    def __enter__(self) -> None:
        self.before = state.recorder, state.training
        if self.recording is not None:
            if self.recording and state.recorder is None:
                start_recording()
            state.recorder = hooks.recorder if self.recording else None
        if self.training is not None:
            state.training = self.training

    def __exit__(self, *error) -> None:
        state.recorder, state.training = self.before


def invoke(op: Operator, arrays: Sequence, params: Mapping[str, Any], out=None):
    """The outputs of an operator on NDArrays: an NDArray, or a list of them when a user sees several.

    `params` come from `op.schema.parse`. `out`: an NDArray (or a list of them) that takes the values and is returned.
    """
    recorder = state.recorder
    return execute(op, arrays, params, out) if recorder is None else recorder(op, arrays, params, out)


def execute(op: Operator, arrays: Sequence, params: Mapping[str, Any], out=None, key: np.ndarray | None = None):
    """`invoke` without recording; `key` is what a random operator draws from, by default the next of the global stream."""
    if op.step and out is not None and out is arrays[0] and _stepped(op, arrays, params):
        return out
    values, ctx = operands(op, arrays, params)
    if isinstance(out, Base):
        before_write(out)
    elif isinstance(out, (tuple, list)):
        before_write(*[o for o in out if isinstance(o, Base)])
    if op.aux_names:
        before_write(*[a for a, name in zip(arrays, op.inputs(params)) if name in op.aux_names])
    if op.mode:
        params = in_mode(params, state.training)
    if out is not None and arrays and out is arrays[0] and dispatch.run_in_place(op, values, params):
        if op.step and type(params) is Params:
            params.in_place = out._data.dtype, op.program(params, in_place=True), [params[name] for name in op.schema.scalars]
        return out
    if key is None and op.draws(params):
        key = hooks.draw_key(ctx)
    if ctx.kind == "gpu":
        return finish(op, arrays, params, dispatch.run_on(Device("gpu", ctx.index), op, values, params, key), ctx, out)
    results = dispatch.run(op, values, params, key)
    if type(results) is np.ndarray and out is None:
        return _fresh(results, values, ctx, type(arrays[0]) if arrays else hooks.array_type)
    return finish(op, arrays, params, results, ctx, out)


def _stepped(op: Operator, arrays: Sequence, params: Mapping[str, Any]) -> bool:
    """Whether a step of an optimizer was done by the shortest way: it ran with these parameters before, and the arrays are of
    one shape, dtype and context, each with memory of its own. What else there is goes the long way."""
    if type(params) is not Params or params.in_place is None:
        return False
    dtype, function, scalars = params.in_place
    target, values = arrays[0], []
    kind, ctx, shape = type(target), target._ctx, target.shape
    for array in arrays:
        if type(array) is not kind or array._ctx is not ctx:
            return False
        value = array._data
        if type(value) is not np.ndarray or value.base is not None or value.dtype is not dtype or value.shape != shape:
            return False
        values.append(value)
    if len(set(map(id, values))) < len(values):
        return False
    before_write(target, *arrays[len(arrays) - len(op.aux_names):])
    function(*values, *scalars)
    return True


def operands(op: Operator, arrays: Sequence, params: Mapping[str, Any]) -> tuple[list, Context]:
    """(values of the NDArrays, their context); errors for arrays on several devices or of several dtypes."""
    if not arrays:
        if not op.input_names and op.variadic is None:
            return [], context_named(params.get("ctx"))
        raise OperatorError(f"{op.name}: it needs at least one array",
                            f"its inputs are {', '.join(op.input_names) or 'any number of arrays'}")
    values, ctx = [], None
    for array in arrays:
        if not isinstance(array, Base):
            name = dict(enumerate(op.input_names)).get(len(values), f"arg{len(values)}")
            raise OperatorError(f"{op.name}: argument {name} must be an NDArray, got {type(array).__name__}",
                                "in a compiled function use NumPy's functions" if type(array).__name__ == "Tracer" else
                                "make one with `nd.array`")
        values.append(array._data)
        if ctx is None:
            ctx = array._ctx
        elif array._ctx is not ctx and array._ctx != ctx:
            raise DeviceError(f"{op.name}: arrays are on different devices: {ctx} and {array._ctx}",
                              f"copy one over: `x.as_in_context(mx.{ctx})`")
    if len(values) > 1 and op.same_dtype:
        expected = values[0].dtype
        for k, value in enumerate(values):
            if value.dtype is not expected and value.dtype != expected:
                raise dispatch.failure(op, values, f"argument {op.input_names[k] if k < len(op.input_names) else f'arg{k}'}: "
                                       f"expected {expected}, got {value.dtype}", "convert one: `x.astype(...)`")
    return values, ctx


def _fresh(result: np.ndarray, values: Sequence, ctx: Context, kind: type):
    """A new NDArray of a result, which is copied where it shows an input's memory."""
    return kind(placed(result, ctx) if ctx.kind == "gpu" else fresh(result, values), ctx)


def finish(op: Operator, arrays: Sequence, params: Mapping[str, Any], results, ctx: Context, out=None):
    """What `invoke` returns for the values that the body gave: new states are written, `out` is filled."""
    results = [np.asarray(r) if isinstance(r, np.generic) else r
               for r in (results if isinstance(results, (tuple, list)) else [results])]
    visible = results[:op.num_visible(params)]
    targets = None if out is None else list(out) if isinstance(out, (tuple, list)) else [out]
    if targets is not None:
        check_out(op.name, targets, visible)  # before anything is written
    if op.aux_names:
        states = [a for a, name in zip(arrays, op.inputs(params)) if name in op.aux_names]
        for array, new in zip(states, results[op.num_outputs(params):], strict=True):
            if new is not array._data:
                array._data[...] = placed(new, array._ctx)
    if targets is None:
        kind = type(arrays[0]) if arrays else hooks.array_type
        values = [a._data for a in arrays]
        targets = [_fresh(r, values, ctx, kind) for r in visible]
    else:
        if len(visible) > 1:  # parts of an input, which the first write may change
            visible = [r.copy() if getattr(r, "base", None) is not None else r for r in visible]
        for target, value in zip(targets, visible):
            target._data[...] = placed(value, target._ctx)
    return targets[0] if len(targets) == 1 else targets


def check_out(name: str, targets: Sequence, values: Sequence) -> None:
    """OperatorError when results do not fit into the arrays of `out=`."""
    if len(targets) != len(values):
        raise OperatorError(f"{name}: out= has {len(targets)} arrays for {len(values)} outputs", "pass one for each")
    for target, value in zip(targets, values):
        if not isinstance(target, Base):
            raise OperatorError(f"{name}: out= must be an NDArray, got {type(target).__name__}", "make one with `nd.empty`")
        if target._data.shape != value.shape:
            raise OperatorError(f"{name}: out= has the shape {list(target._data.shape)}, the result {list(value.shape)}",
                                "give `out` the shape of the result")
        if target._data.dtype != value.dtype:
            raise OperatorError(f"{name}: out= expected {value.dtype}, got {target._data.dtype}",
                                "give `out` the dtype of the result")
