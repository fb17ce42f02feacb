"""Symbols bound to arrays: `bind`, `simple_bind` and `eval` of Symbol."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .context import known_context
from .errors import DeviceError, MXNetError
from .nd import NDArray, zeros
from .sym.symbol import Symbol

if TYPE_CHECKING:  # it is built on `sym`, which loads this module for the methods of Symbol
    from .executor import Executor

REQUESTS = ("write", "add", "null", "inplace")


def _arrays(what: str, names: Sequence[str], given, partial: bool = False) -> list[NDArray | None]:
    """The arrays in the order of the names, from a list or a dict."""
    if isinstance(given, Mapping):
        missing = [n for n in names if n not in given]
        if missing and not partial:
            raise ValueError(f"key `{missing[0]}` is missing in `{what}`")
        found = [given.get(n) for n in names]
    else:
        found = list(given)
        if len(found) != len(names):
            kind = "auxiliary states" if what == "aux_states" else "arguments"
            raise ValueError(f"Length of {what} does not match the number of {kind}: {len(found)} for {len(names)} "
                             f"({', '.join(names)})")
    for name, array in zip(names, found):
        if not isinstance(array, NDArray) and not (partial and array is None):
            raise TypeError(f"Only accept list of NDArrays or dict of str to NDArray: {what} has a {type(array).__name__} for "
                            f"{name}")
    return found


def _requests(names: Sequence[str], grad_req) -> list[str]:
    """How each argument's gradient is written."""
    if isinstance(grad_req, str):
        found = [grad_req] * len(names)
    elif isinstance(grad_req, Mapping):
        found = [grad_req.get(name, "null") for name in names]
    elif isinstance(grad_req, (list, tuple)):
        found = list(grad_req)
        if len(found) != len(names):
            raise ValueError(f"grad_req has {len(found)} entries for {len(names)} arguments ({', '.join(names)})")
    else:
        raise TypeError("grad_req must be a str, a list or a dict")
    for request in found:
        if request not in REQUESTS:
            raise ValueError(f"grad_req must be in {', '.join(REQUESTS)}: got {request!r}")
    return found


def _check_duplicates(names: Sequence[str]) -> None:
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise ValueError(f"Find duplicated argument name, please make the weight name non-duplicated (using name arguments): "
                         f"{twice[0]}; arguments are {names}")


def bind(self: Symbol, ctx, args, args_grad=None, grad_req="write", aux_states=None, group2ctx=None,
         shared_exec=None) -> Executor:
    """An Executor on these arrays, which it shares: lists in the order of `list_arguments`, or dicts by name.

    args_grad: where gradients go; without it there are none. grad_req: "write", "add" or "null", for all, in a list, or in a
    dict (absent: "null"). group2ctx, shared_exec: taken, with no effect on results.
    """
    ctx = known_context(ctx)
    names, states = self.list_arguments(), self.list_auxiliary_states()
    if isinstance(args, Mapping):
        _check_duplicates(names)
    arrays = _arrays("args", names, args)
    requests = _requests(names, grad_req)
    grads = [None] * len(names) if args_grad is None else _arrays("args_grad", names, args_grad, partial=True)
    found = _arrays("aux_states", states, aux_states if aux_states is not None else []) if states or aux_states else []
    for name, array in (*zip((*names, *states), (*arrays, *found)), *zip(names, grads)):
        if array is not None and array.context != ctx and (group2ctx is None or "gpu" in (array.context.kind, ctx.kind)):
            raise DeviceError(f"bind: {name} is on {array.context}, the executor on {ctx}",
                              f"copy it over: `x.as_in_context(mx.{ctx})`")
    for name, array, grad in zip(names, arrays, grads):
        if grad is not None and (grad.shape != array.shape or grad.dtype != array.dtype):
            raise MXNetError(f"bind: {name} is {np.dtype(array.dtype)}{list(array.shape)}, its gradient "
                             f"{np.dtype(grad.dtype)}{list(grad.shape)}",
                             "give the gradient the shape and dtype of its argument")
    from .executor import Executor

    given = list(zip((*names, *states), (*arrays, *found)))
    self.infer_shape_partial(**{n: a.shape for n, a in given if 0 not in a.shape})
    self.infer_type_partial(**{n: a.dtype for n, a in given})
    return Executor(self, ctx, arrays, grads, requests, found, group2ctx)


def simple_bind(self: Symbol, ctx=None, grad_req="write", type_dict=None, stype_dict=None, group2ctx=None,
                shared_arg_names=None, shared_exec: Executor | None = None, shared_buffer: dict | None = None,
                **kwargs) -> Executor:
    """An Executor on new arrays of zeros, whose shapes follow from those given by name.

    Names that the symbol does not know are passed over, as in MXNet: one dict of shapes may serve several symbols. type_dict:
    dtypes by name. shared_exec: an executor whose arrays of the same name, shape and dtype are used. shared_buffer: a dict of
    arrays by name to take from and to add to.
    """
    from .executor import Executor, context_of

    ctx = known_context(ctx)
    names, states = self.list_arguments(), self.list_auxiliary_states()
    _check_duplicates(names)
    given, kwargs = kwargs, {name: shape for name, shape in kwargs.items() if name in names or name in states}
    found = self.infer_shape_partial(**kwargs)
    shapes = dict(zip((*names, *states), (*found[0], *found[2])))
    nodes = {n.name: n for n in (*self._arguments(), *self._auxiliaries())}
    scalar = {*kwargs, *(name for name, node in nodes.items() if node.attrs.get("__shape__") == "()")}  # () may be meant
    unknown = {n: s for n, s in shapes.items() if (not s and n not in scalar) or 0 in s}
    if unknown:
        raise RuntimeError("simple_bind error: cannot decide the shapes of "
                           + ", ".join(f"{n}: {s or None}" for n, s in unknown.items())
                           + "; given are " + (", ".join(f"{n}: {s}" for n, s in given.items()) or "none"))
    kinds = self.infer_type_partial(**(type_dict or {}))
    dtypes = {n: np.dtype(np.float32 if d is None else d) for n, d in zip((*names, *states), (*kinds[0], *kinds[2]))}
    requests = _requests(names, grad_req)
    places = {name: context_of(node, ctx, group2ctx) for name, node in nodes.items()}
    shared = {} if shared_exec is None else {**shared_exec.arg_dict, **shared_exec.aux_dict}
    buffer = {} if shared_buffer is None else shared_buffer

    def made(name: str) -> NDArray:
        for source in (shared, buffer):
            array = source.get(name)
            if array is not None and array.shape == shapes[name] and np.dtype(array.dtype) == dtypes[name]:
                return array
        array = zeros(shapes[name], places[name], dtypes[name])
        if shared_buffer is not None and name not in kwargs:
            buffer[name] = array
        return array

    grads = [zeros(shapes[n], places[n], dtypes[n]) if r != "null" else None for n, r in zip(names, requests)]
    return Executor(self, ctx, [made(n) for n in names], grads, requests, [made(n) for n in states], group2ctx)


def evaluate(self: Symbol, ctx=None, **kwargs: NDArray) -> list[NDArray]:
    """The outputs for arrays given by name."""
    return self.bind(known_context(ctx), kwargs).forward()


Symbol.bind, Symbol.simple_bind, Symbol.eval = bind, simple_bind, evaluate
