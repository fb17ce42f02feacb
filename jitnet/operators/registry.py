"""Operator, the record of one operator of MXNet 1.x: one record is both `nd.name(...)` and `sym.name(...)`.

    @operator("expand_dims", params={"axis": Int()})
    def expand_dims(data, *, axis):
        '''`data` with an axis of size 1 put in before `axis`.'''
        return np.expand_dims(data, axis)

The body is NumPy code (or jitnet ops): it runs on NumPy arrays as it stands, and on traced values to become equations of a
Graph. Its positional parameters are the operator's inputs (those with a default of None may be left out), its keywords are the
parameters. It returns the output, or a tuple of the outputs and then the new values of the auxiliary states.

Names are those of MXNet's JSON; `aliases` are further names of the same record under `nd`, `sym` and in JSON.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import OperatorError
from ..jit import JitFunction, jit
from ..tracer import trace
from ..types import ArrayType
from . import infer
from .params import Int, Param, Schema

OPERATORS: dict[str, Operator] = {}  # every name and alias -> record
MOST_KEPT = 512  # programs, and inferred types, of one operator
KEY = ArrayType((2,), np.dtype(np.uint64))  # what a random operator draws from: the seed's key and the position in its stream


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator. Its body is the meaning; the rest is what frontends need to know to call, name, infer and save it."""

    name: str
    body: Callable
    input_names: tuple[str, ...]
    schema: Schema
    aliases: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()            # inputs that may be absent
    input_rule: Callable | None = None        # params -> names of the inputs in use
    variadic: str | None = None               # the parameter that counts the inputs
    aux_names: tuple[str, ...] = ()           # inputs that are state: the body returns their new values after the outputs
    aux_rule: Callable | None = None          # params -> names of the inputs that are state, where that depends on them
    output_count: int | Callable = 1          # or params -> int
    output_rule: Callable | tuple = ()        # names of the outputs: params -> names; by default "output" or "output0", ...
    visible: int | Callable | None = None     # how many outputs a user sees; None: all
    shape_rule: Callable = infer.forward      # (operator, ins, outs, params) -> (ins, outs); see infer.py
    type_rule: Callable = infer.same_type
    sized: Callable | None = None             # (params, inferred output shape) -> params: what a symbol left open filled in
    same_dtype: bool = True                   # mixed dtypes among the inputs are an error
    mode: bool = False                        # the body takes `training`
    random: bool | Callable = False           # the body takes `key`, an array of type KEY; or params -> whether it draws
    kernels: bool = True                      # False: its body always runs at once, through NumPy, on the host
    on_gpu: bool = False                      # one without kernels has some on a GPU: sorts of short rows
    copies: bool = False                      # it cuts, which NumPy does as fast: no program per place that it cuts at
    growth: Callable | None = None            # (arrays, params) -> elements of the output, where these may outnumber the inputs
    loss: bool = False                        # a head of a network: it needs no gradient from behind
    method: bool = False                      # a method of NDArray and Symbol as well
    step: bool = False                        # of an optimizer: elementwise, on (weight, gradient, states that it writes)
    _programs: dict = field(default_factory=dict, repr=False)  # what `program` gives, the oldest first
    _types: dict = field(default_factory=dict, repr=False)     # what `abstract` gives

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    def __reduce__(self):
        return find, (self.name,)

    @property
    def hint(self) -> str:
        """What automatic names of a symbol start with when it is made under the operator's own name."""
        return self.name.lower()

    # Inputs and outputs

    def inputs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the inputs in use, auxiliary states last."""
        if self.variadic is not None:
            return tuple([f"arg{k}" for k in range(params[self.variadic])])
        return tuple(self.input_rule(params)) if self.input_rule is not None else self.input_names

    def states(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the inputs in use that are auxiliary states."""
        if self.aux_rule is not None:
            return self.aux_rule(params)
        return tuple([name for name in self.inputs(params) if name in self.aux_names]) if self.aux_names else ()

    def arguments(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the inputs in use that are no auxiliary states."""
        states = self.states(params)
        return tuple([name for name in self.inputs(params) if name not in states])

    def num_outputs(self, params: Mapping[str, Any]) -> int:
        """How many outputs there are, hidden ones included."""
        return self.output_count(params) if callable(self.output_count) else self.output_count

    def num_visible(self, params: Mapping[str, Any]) -> int:
        """How many of the outputs, the first ones, a user sees."""
        if self.visible is None:
            return self.num_outputs(params)
        return self.visible(params) if callable(self.visible) else self.visible

    def draws(self, params: Mapping[str, Any]) -> bool:
        """Whether the body draws random numbers with these parameters; else its key is None."""
        return self.random(params) if callable(self.random) else self.random

    def output_names(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """What follows `<name>_` in the names of the outputs."""
        names = self.output_rule(params) if callable(self.output_rule) else self.output_rule
        count = self.num_outputs(params)
        return tuple(names) or (("output",) if count == 1 else tuple([f"output{k}" for k in range(count)]))

    def check_inputs(self, count: int, params: Mapping[str, Any]) -> None:
        """OperatorError when this is no number of inputs for the operator."""
        names = self.inputs(params)
        if count != len(names) and not (len(names) > count >= len([n for n in names if n not in self.optional])):
            raise OperatorError(f"{self.name}: expects {len(names)} inputs, but got {count}",
                                f"its inputs are {', '.join(names)}" + (f"; optional: {', '.join(self.optional)}"
                                                                        if self.optional else ""))

    # Inference

    def infer_shape(self, ins: Sequence, params: Mapping[str, Any], outs: Sequence | None = None, name: str = ""):
        """(input shapes, output shapes), completed as far as they follow from one another.

        A shape is a tuple, in which 0 is an unknown size, or None when nothing is known. The inputs are those of
        `inputs(params)`, auxiliary states included. MXNetError, which names the node `name`, when shapes contradict.
        """
        outs = list(outs) if outs is not None else [None] * self.num_outputs(params)
        with infer.named(name or self.name):
            return self.shape_rule(self, list(ins), outs, params)

    def infer_type(self, ins: Sequence, params: Mapping[str, Any], outs: Sequence | None = None, name: str = ""):
        """(input dtypes, output dtypes), completed as far as they follow from one another; None is an unknown one."""
        outs = list(outs) if outs is not None else [None] * self.num_outputs(params)
        with infer.named(name or self.name):
            return self.type_rule(self, list(ins), outs, params)

    def abstract(self, types: Sequence[ArrayType], params: Mapping[str, Any]) -> list[ArrayType]:
        """Types of what the body returns for inputs of these types; the body is traced, nothing runs."""
        key = (*types, *map(params.__getitem__, self.schema.names))
        known = self._types.get(key)
        if known is None:
            types = [*types, *[KEY] * self.draws(params)]
            graph = trace(self._flat(params, len(types)), types, self.name).graph
            if len(self._types) >= MOST_KEPT:
                self._types.clear()
            known = self._types[key] = list(graph.output_types)
        return known

    def _flat(self, params: Mapping[str, Any], count: int) -> Callable:
        """The body as a function of arrays alone (the key last), which returns a list."""
        options = dict(params)
        if self.mode:
            options.setdefault("training", False)
        if self.random:
            options["key"] = None
        draws = self.draws(options)

        def flat(*arrays):
            if draws:
                arrays, options["key"] = arrays[:-1], arrays[-1]
            out = self.body(*arrays, **options)
            return list(out) if isinstance(out, (tuple, list)) else [out]
        return flat

    # Running

    def program(self, params: Mapping[str, Any], in_place: bool = False) -> JitFunction:
        """The compiled body with these parameters: a function of the arrays, then the values of `schema.scalars`, then the
        key of a random operator. `params` of an operator with `mode` holds `training`. `in_place`: it writes its result into
        the first array and new states into theirs, and returns nothing."""
        scalars = self.schema.scalars
        key = ("in place" if in_place else "program", *[value for name, value in params.items() if name not in scalars])
        function = self._programs.get(key)
        if function is None:
            body = self._positional(dict(params))
            if len(self._programs) >= MOST_KEPT:
                self._programs.pop(next(iter(self._programs)), None)
            function = self._programs[key] = jit(_writing(body, self.input_names) if in_place else body)
        return function

    def _positional(self, params: dict[str, Any]) -> Callable:
        scalars, draws, body = self.schema.scalars, self.draws(params), self.body
        fixed = {name: value for name, value in params.items() if name not in scalars}

        def run(*values):
            options = dict(fixed)
            if self.random:
                options["key"] = None
            if draws:
                values, options["key"] = values[:-1], values[-1]
            count = len(values) - len(scalars)
            options.update(zip(scalars, values[count:]))
            return body(*values[:count], **options)
        run.__name__ = run.__qualname__ = self.name
        return run


def _writing(body: Callable, inputs: Sequence[str]) -> Callable:
    def run(*values):
        out = body(*values)
        out = out if isinstance(out, tuple) else (out,)
        for target, value in zip((values[0], *values[len(inputs) - len(out) + 1:]), out):
            target[...] = value
    run.__name__ = run.__qualname__ = body.__name__
    return run


def operator(name: str, *, params: Mapping[str, Param] | None = None, aliases: Sequence[str] = (), aux: Sequence[str] = (),
             inputs: Callable | None = None, variadic: str | None = None, **fields) -> Callable[[Callable], Operator]:
    """Decorator: the function is the body of the operator of that name, which is registered.

    inputs: params -> names of the inputs in use, where that depends on them. variadic: name of the parameter that counts the
    inputs of an operator with any number of them (its body takes `*data`). Other fields: those of Operator.
    """
    def register(body: Callable) -> Operator:
        signature = inspect.signature(body).parameters.values()
        arrays = [p for p in signature if p.kind is p.POSITIONAL_OR_KEYWORD]
        kinds = dict(params or {})
        if variadic is not None:
            kinds.setdefault(variadic, Int(default=0))
        record = Operator(name, body, tuple([p.name for p in arrays]), Schema(name, kinds), tuple(aliases),
                          optional=tuple([p.name for p in arrays if p.default is None]), aux_names=tuple(aux),
                          input_rule=inputs, variadic=variadic, **fields)
        for known in (name, *aliases):
            if known in OPERATORS:
                raise ValueError(f"two operators are named {known}")
            OPERATORS[known] = record
        return record
    return register


def find(name: str) -> Operator:
    """The operator of that name or alias; OperatorError when there is none."""
    record = OPERATORS.get(name)
    if record is None:
        import difflib

        near = difflib.get_close_matches(name, OPERATORS, 3)
        raise OperatorError(f"there is no operator {name!r}", f"did you mean {' or '.join(near)}?" if near
                            else "`jitnet.operators.OPERATORS` holds them all")
    return record
