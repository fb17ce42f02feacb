"""Plans: runs of the tape's nodes without their values, as functions that are traced and compiled as any other.

    Params      the parameters of a call that comes again, with what was found out about them
    Signature   an operator with its fixed parameters, and the types that it gives for types
    Step        a node of a plan: which arguments, or outputs of other steps, it takes
    Plan        steps; which of their outputs are returned; which gradients, of what, are computed

Plans of the same structure are one object, so the second iteration of a loop compiles nothing. Sizes and numbers are no part of
the structure.
"""
from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import numpy as jnp
from ..errors import Source, speaking_of
from ..jit import JitFunction, jit
from ..operators import Operator
from ..operators.dispatch import COMPILE_FROM
from ..runtime.forks import renewed
from ..transforms.products import vjp_of_traced
from ..types import SHORT_NAMES, ArrayType

PLANS_KEPT = 1024  # structures of loops whose programs are kept; the oldest goes first
SIGNATURES_KEPT = 8192
TYPES_KEPT = 256  # of one signature

MISSING = object()  # what `known` of a signature has not got
Place = int | tuple[int, int]  # where a value is: number of an argument, or (step, output)


class Params(dict):
    """The parameters of one operator, kept for calls that come again. signature: what `signature` gives for them. modes: the
    same with `training`, by its value. in_place: (dtype, compiled step, its scalars) of an optimizer's step, once it ran so."""

    __slots__ = ("in_place", "modes", "signature")

    def __init__(self, values: Mapping[str, Any]):
        super().__init__(values)
        self.in_place = self.modes = self.signature = None


def in_mode(params: Mapping[str, Any], training: bool) -> Mapping[str, Any]:
    """The parameters of an operator that behaves differently in training."""
    if type(params) is not Params:
        return {"training": training, **params}
    if params.modes is None:
        params.modes = {mode: Params({"training": mode, **params}) for mode in (False, True)}
    return params.modes[training]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What an operator gives for inputs of certain types: (shape, dtype) of each output; small: it is no work for kernels."""

    types: tuple[tuple[tuple[int, ...], np.dtype], ...]
    small: bool


class Signature:
    """An operator with its fixed parameters. There is one object for each."""

    __slots__ = ("draws", "known", "operator", "options", "visible")

    def __init__(self, operator: Operator, options: tuple):
        self.operator, self.options = operator, options
        params = dict(options)
        self.draws, self.visible = operator.draws(params), operator.num_visible(params)
        self.known: dict[tuple, Outputs | None] = {}

    def params(self, scalars: Sequence) -> dict[str, Any]:
        """All parameters of a call."""
        return {**dict(self.options), **dict(zip(self.operator.schema.scalars, scalars))}

    def outputs(self, types: tuple, scalars: Sequence) -> Outputs | None:
        """The outputs for inputs of these types, (shape, dtype) one after the other, and the types of the scalars; None when
        the operator has no kernels, writes states, or does not take such inputs (which running it tells best)."""
        if len(self.known) >= TYPES_KEPT:
            self.known.clear()
        found = self.known[types] = self._inferred(types, scalars)
        return found

    def _inferred(self, types: tuple, scalars: Sequence) -> Outputs | None:
        op = self.operator
        pairs = list(zip(types[:len(types) - len(scalars):2], types[1::2]))
        dtypes = {dtype for _, dtype in pairs}
        if not op.kernels or op.aux_names or (op.same_dtype and len(dtypes) > 1) or not dtypes <= SHORT_NAMES.keys():
            return None
        try:
            made = op.abstract([ArrayType(*pair) for pair in pairs], self.params(scalars))[:self.visible]
        except Exception:  # whatever it is, it comes again from the operator itself, in its own words
            return None
        found = tuple([(t.shape, t.dtype) for t in made])
        small = all(int(np.prod(shape)) < COMPILE_FROM for shape, _ in (*pairs, *found))
        return Outputs(found, small)


_signatures: dict[tuple, Signature] = {}


def signature(op: Operator, params: Mapping[str, Any]) -> tuple[Signature, tuple]:
    """(the signature of a call, its scalars: values of the parameters that may differ from call to call)."""
    kept = type(params) is Params
    if kept and params.signature is not None:
        return params.signature
    names = op.schema.scalars
    if names:
        options = tuple([item for item in params.items() if item[0] not in names])
        scalars = tuple([params[name] for name in names])
    else:
        options, scalars = tuple(params.items()), ()
    found = _signatures.get((op, options))
    if found is None:
        if len(_signatures) >= SIGNATURES_KEPT:
            _signatures.pop(next(iter(_signatures)), None)
        found = _signatures.setdefault((op, options), Signature(op, options))
    if kept:
        params.signature = found, scalars
    return found, scalars


@dataclass(frozen=True, eq=False)
class Step:
    """A node of a plan: where its values, scalars and key are, and what its inputs are in the gradient."""

    call: Any  # a Signature, or a Plan: the gradient of a gradient
    values: tuple[Place, ...]
    scalars: tuple[int, ...]
    key: int | None
    sources: tuple[tuple | None, ...]  # (step, output) or ("target", k) of this plan; None: a constant
    outputs: int

    def apply(self, values: Sequence, arguments: Sequence) -> list:
        """The outputs for these values, traced."""
        call = self.call
        if isinstance(call, Plan):
            return call.pull(values, {})
        options = call.params([arguments[k] for k in self.scalars])
        if call.operator.random:
            options["key"] = None if self.key is None else arguments[self.key]
        out = call.operator.body(*values, **options)
        return (list(out) if isinstance(out, (tuple, list)) else [out])[:self.outputs]


@dataclass(frozen=True, eq=False)
class Plan:
    """A run of nodes as a function: arguments -> `outputs` of steps, then the gradients of the targets, zeros where nothing
    reaches one.

    `given`: (step, output, place of its gradient among the arguments, or None for ones); `like`: place of an array of the
    shape of each target. `requests`: how each target's gradient is written into the array at the end of the arguments, or ():
    they are returned. `lines`: where the user wrote each step when the plan was first made.
    """

    steps: tuple[Step, ...]
    outputs: tuple[tuple[int, int], ...]
    given: tuple[tuple, ...]
    like: tuple[Place, ...]
    requests: tuple[str, ...]
    lines: tuple[Source | None, ...]
    program: list = field(default_factory=list)

    def compiled(self) -> JitFunction:
        """The program, made when first asked for."""
        if not self.program:
            def tape(*arguments):
                values = self.forward(arguments)
                found = self.pull(arguments, values)
                outs = [values[place] for place in self.outputs]
                if not self.requests:
                    return (*outs, *found)
                for buffer, request, ct in zip(arguments[len(arguments) - len(self.requests):], self.requests, found):
                    buffer[...] = ct if request == "write" else buffer + ct
                return tuple(outs)
            self.program.append(jit(tape))
        return self.program[0]

    def forward(self, arguments: Sequence) -> dict[tuple[int, int], Any]:
        """The outputs of all steps that the plan computes itself, traced: those that are returned or that other steps take."""
        wanted = {place[0] for step in self.steps for place in step.values if type(place) is tuple}
        wanted.update(place[0] for place in self.outputs)
        values: dict[tuple[int, int], Any] = {}
        for number, step in enumerate(self.steps):
            if number in wanted:
                with speaking_of(self.lines[number]):
                    outs = step.apply([_at(place, arguments, values) for place in step.values], arguments)
                values.update({(number, k): out for k, out in enumerate(outs)})
        return values

    def pull(self, arguments: Sequence, values: Mapping) -> list:
        """The gradients of the targets, traced: each node is pulled back at the values it had."""
        cts: dict[tuple, Any] = {}
        ones = set()
        for step, output, place in self.given:
            if place is None:
                ones.add((step, output))
            else:
                _add(cts, (step, output), arguments[place])
        for number in range(len(self.steps) - 1, -1, -1):
            with speaking_of(self.lines[number]):
                self._pull_step(number, cts, ones, arguments, values)
        found = [cts.get(("target", k)) for k in range(len(self.like))]
        return [jnp.zeros_like(_at(place, arguments, values)) if ct is None else ct for ct, place in zip(found, self.like)]

    def _pull_step(self, number: int, cts: dict, ones: set, arguments: Sequence, known: Mapping) -> None:
        step = self.steps[number]
        live = [k for k in range(step.outputs) if (number, k) in cts or (number, k) in ones]
        if not live:
            return
        values = [_at(place, arguments, known) for place in step.values]
        wanted = [i for i, source in enumerate(step.sources) if source is not None and values[i].dtype.kind == "f"]
        if not wanted:
            return

        def outputs(*chosen):
            every = list(values)
            for i, x in zip(wanted, chosen):
                every[i] = x
            outs = step.apply(every, arguments)
            return tuple([outs[k] for k in live])

        outs, pullback = vjp_of_traced(outputs, *[values[i] for i in wanted])
        heads = []
        for k, out in zip(live, outs):
            ct = jnp.ones_like(out) if (number, k) in ones else None
            more = cts.pop((number, k), None)
            ct = more if ct is None else ct if more is None else ct + more
            heads.append(None if out.dtype.kind != "f" else ct if ct.dtype == out.dtype else ct.astype(out.dtype))
        for i, ct in zip(wanted, pullback(heads)):
            if ct is not None:  # else nothing passes, as through BlockGrad: zeros would become NaN next to infinities
                _add(cts, step.sources[i], ct)


def _at(place: Place, arguments: Sequence, values: Mapping):
    return arguments[place] if type(place) is int else values[place]


def _add(cts: dict, place, ct) -> None:
    cts[place] = cts[place] + ct if place in cts else ct


_plans: dict[tuple, Plan] = {}
_making = renewed(threading.Lock())


def plan(nodes: Sequence, steps: Sequence[tuple], outputs: tuple, given: tuple = (), like: tuple = (),
         requests: tuple = ()) -> Plan:
    """The plan of that structure: the one that exists, if there is one. `steps` are the fields of the Step of each node."""
    key = (tuple(steps), outputs, given, like, requests)
    found = _plans.get(key)
    if found is None:
        with _making:
            if len(_plans) >= PLANS_KEPT:
                del _plans[next(iter(_plans))]
            lines = tuple([node.line for node in nodes])
            found = _plans.setdefault(key, Plan(tuple([Step(*s) for s in steps]), outputs, given, like, requests, lines))
    return found
