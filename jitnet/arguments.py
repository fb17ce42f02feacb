"""From the arguments of a call to leaves and a key: what decides which compiled program runs.

    call  ->  Plan, statics, structure, leaves      values bound to parameters, static ones split off, containers flattened
    leaf  ->  (shape, dtype, scalar)                an array (scalar: None), or the class of a Python or NumPy scalar
"""
from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import tree
from .errors import DeviceError, StaticArgumentError, TraceOverflowError, TraceTypeError, TraceValueError
from .methods import Instance, Owner, goes_by_attributes
from .runtime.array import Array
from .runtime.cuda.buffer import DeviceBuffer
from .runtime.device import CPU, Device, default_device
from .static_values import StaticValue, static_value
from .text import a_type, short_number
from .types import BF16, BOOL, F64, I64, NUMPY_CHARS, known_dtype

WEAK = {bool: BOOL, int: I64, float: F64}


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The parameters that a call binds, in order, and whether each is static; one object per form and function."""

    args: tuple[tuple[str, bool], ...]
    kwargs: tuple[tuple[str, bool], ...]

    def __str__(self) -> str:
        return "(" + ", ".join([name for name, _ in self.args] + [f"{name}=" for name, _ in self.kwargs]) + ")"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How the values of one form of call, (*args, *kwargs.values()), go to parameters. Numbers are indices of values.

    args, kwargs: what the function is called with, (number, parameter); statics: those of them that are static; traced_args,
    traced_kwargs: the others; form: the same for calls that bind alike, such as f(x, y) and f(x, b=y).
    """

    args: tuple[tuple[int, str], ...]
    kwargs: tuple[tuple[int, str], ...]
    statics: tuple[tuple[int, str], ...]
    traced_args: tuple[int, ...]
    traced_kwargs: tuple[tuple[int, str], ...]
    form: Form
    plain: bool  # everything is passed by position, and nothing is static

    def dynamic(self, values: tuple) -> tuple[tuple, dict]:
        """(args, kwargs) without the static values."""
        return tuple([values[n] for n in self.traced_args]), {name: values[n] for n, name in self.traced_kwargs}

    def rebuild(self, dynamic: tuple[tuple, dict], statics: tuple) -> tuple[list, dict]:
        """What the function is called with: `dynamic` with the static values put back."""
        values = {n: s.value for (n, _), s in zip(self.statics, statics, strict=True)}
        rest = iter(dynamic[0])
        args = [values[n] if n in values else next(rest) for n, _ in self.args]
        return args, {name: values[n] if n in values else dynamic[1][name] for n, name in self.kwargs}


class Binder:
    """Signature and static parameters of a function; `plan` says how a form of call binds to them."""

    def __init__(self, function: Callable, static_argnames, static_argnums):
        self.name = getattr(function, "__name__", type(function).__name__)
        try:
            self.signature = inspect.signature(function)
        except (TypeError, ValueError):  # some built-in functions have none
            self.signature = inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
                                                inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])
        parameters = self.signature.parameters
        names = list(parameters)
        self.positions = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.variadic = next((n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL), None)
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        wanted = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames or ())
        for name in wanted:
            if name not in parameters and not open_ended:
                raise StaticArgumentError(f"jit: `{self.name}` has no parameter {name!r} that could be static",
                                          f"its parameters are {', '.join(names) or 'none'}")
        numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums or ())
        for number in numbers:
            if not -len(self.positions) <= number < len(self.positions):
                raise StaticArgumentError(
                    f"jit: `{self.name}` has no positional parameter number {number} that could be static",
                    f"its positional parameters are {', '.join(self.positions) or 'none'}")
        self.static = frozenset(wanted) | {self.positions[k] for k in numbers}
        # Of a method, an object in front whose class is no container is taken apart by attributes.
        self.is_method = self.positions[:1] in (["self"], ["cls"])
        self._plans: dict[tuple, Plan] = {}
        self._forms: dict[tuple, Form] = {}

    def parse(self, args: tuple, kwargs: dict) -> tuple[Plan, tuple[StaticValue, ...], tuple, list]:
        """(plan, static values, structure, leaves) of a call."""
        if self.is_method and args:
            if isinstance(args[0], type):
                args = (Owner(args[0]), *args[1:])
            elif goes_by_attributes(args[0]):
                args = (Instance(args[0]), *args[1:])
        plan = self.plan(len(args), tuple(kwargs))
        if plan.plain:
            dynamic, statics = (args, {}), ()
        else:
            values = (*args, *kwargs.values())
            dynamic = plan.dynamic(values)
            statics = tuple([static_value(self.name, name, values[n]) for n, name in plan.statics])
        leaves, structure = tree.flatten(dynamic, ordered=True)
        return plan, statics, structure, leaves

    def plan(self, count: int, keywords: tuple[str, ...]) -> Plan:
        """The plan for `count` positional arguments and these keywords; TypeError as Python raises it when they do not fit."""
        plan = self._plans.get((count, keywords))
        if plan is None:
            plan = self._plans[count, keywords] = self._make_plan(count, keywords)
        return plan

    def _make_plan(self, count: int, keywords: tuple[str, ...]) -> Plan:
        try:
            bound = self.signature.bind(*range(count), **{name: count + k for k, name in enumerate(keywords)})
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None
        args = [(n, self.positions[k] if k < len(self.positions) else f"{self.variadic}[{k - len(self.positions)}]")
                for k, n in enumerate(bound.args)]
        kwargs = [(n, name) for name, n in bound.kwargs.items()]
        statics = tuple((n, name) for n, name in args + kwargs if name.partition("[")[0] in self.static)
        static = dict(statics)
        form = tuple((name, n in static) for n, name in args), tuple((name, n in static) for n, name in kwargs)
        form = self._forms.setdefault(form, Form(*form))
        traced_args = tuple(n for n, _ in args if n not in static)
        traced_kwargs = tuple((n, name) for n, name in kwargs if n not in static)
        return Plan(tuple(args), tuple(kwargs), statics, traced_args, traced_kwargs, form, not keywords and not statics)


# Leaves

def prepare(value, names: Sequence[str], k: int):
    """The leaf as the compiled program takes it: a contiguous, aligned, native array of a known dtype, or a Python scalar.

    names[k] is what errors call the argument.
    """
    kind = type(value)
    if kind is float or kind is bool:
        return value
    if kind is int:
        if not -1 << 63 <= value < 1 << 63:
            raise TraceValueError(f"{names[k]} is {short_number(value)}, which does not fit into 64 bits", "pass a float")
        return value
    if kind is Array:
        value = value._data
        if type(value) is DeviceBuffer:
            return value
    elif kind is not np.ndarray:
        value = _convert(value, names, k)
        if type(value) is not np.ndarray:
            return value
    dtype, flags = value.dtype, value.flags
    if (dtype.char in NUMPY_CHARS or dtype is BF16) and dtype.isnative and flags.c_contiguous and flags.aligned:
        return value
    return np.array(value, known_dtype(dtype, names[k]), order="C")  # a copy: contiguous, aligned, native


def _convert(value, names: Sequence[str], k: int):
    """A leaf that is neither ndarray nor Array as an ndarray or Python scalar; TraceTypeError when it is neither."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, (bool, int, float)):  # subclasses, such as an IntEnum
        return prepare(next(k for k in (bool, int, float) if isinstance(value, k))(value), names, k)
    kind = a_type(value)
    if isinstance(value, np.ma.MaskedArray):
        raise TraceTypeError(f"{names[k]} is a masked array, which jitnet does not compile", "fill it first: `x.filled(0)`")
    if isinstance(value, np.matrix):
        raise TraceTypeError(f"{names[k]} is a matrix, which jitnet does not compile", "make it an array: `np.asarray(x)`")
    if isinstance(value, np.ndarray):  # memmap, recarray fields and other plain subclasses
        return value.view(np.ndarray)
    if hasattr(value, "asnumpy"):
        raise TraceTypeError(f"{names[k]} is {kind}, which `nd` and `autograd` compute with", "pass its values: `x.asnumpy()`")
    if hasattr(value, "__array__") or hasattr(value, "__dlpack__"):
        raise TraceTypeError(f"{names[k]} is {kind}, an array of another library", "convert it first: `np.asarray(x)`")
    if isinstance(value, complex):
        raise TraceTypeError(f"{names[k]} is a complex number, which jitnet does not compile",
                             "pass real and imaginary parts apart")
    if isinstance(value, (np.random.Generator, np.random.RandomState)):
        raise TraceTypeError(f"{names[k]} is {kind} of NumPy's, whose state compiled code cannot carry",
                             "pass a `jitnet.random.Generator(seed)`: it draws as NumPy's does")
    inside = re.search(r"[.[]", names[k].partition("`")[2])
    if inside:
        hint = "pass it as an argument of its own, named in `static_argnames`"
    elif hasattr(value, "__dict__") and not callable(value):  # an object of a class that somebody wrote
        hint = "name it in `static_argnames`; if it holds arrays, make its class a dataclass, or `jitnet.tree.register` it"
    else:
        hint = "name it in `static_argnames`, or pass an array, a number or a container of them"
    raise TraceTypeError(f"{names[k]} is {kind}, which is no array and no number", hint)


def leaf_type(leaf, prepared) -> tuple:
    """(shape, dtype, scalar) of a leaf, its part of the key; scalar: class of a Python or NumPy scalar, None for an array."""
    kind = type(prepared)
    if kind is DeviceBuffer:
        return prepared.shape, prepared.dtype, None
    if kind is np.ndarray:
        return prepared.shape, prepared.dtype, type(leaf) if isinstance(leaf, np.generic) else None
    return (), WEAK[kind], kind


def placement(device: Device | None, leaves: Sequence, names: LeafNames) -> Device:
    """Where the program for these arguments runs: on `device` if one is given, else where the Arrays are, else by default.

    DeviceError when an Array is somewhere else. NumPy arrays and numbers are nowhere in particular.
    """
    place, by = device, None
    for k, leaf in enumerate(leaves):
        if type(leaf) is Array:
            here = leaf.device
            if place is None:
                place, by = here, k
            elif here != place:
                where = f"jit(device={place})" if by is None else f"`{names.paths()[by]}` on {place}"
                raise DeviceError(f"{names[k]} is on {here}, which does not go together with {where}",
                                  f"move it first: `x.to({place.kind!r})`" if place.index == 0 else
                                  f"move it first: `x.to(jitnet.{place})`")
    return place if place is not None else default_device()


def check_limits(limits: Sequence[tuple[int, np.dtype]], leaves: list, names: Sequence[str]) -> None:
    """TraceOverflowError when a Python integer is beyond the range of an array that it meets in the function, as in NumPy."""
    for k, dtype in limits:
        value, info = leaves[k], np.iinfo(dtype)
        if isinstance(value, int) and not info.min <= value <= info.max:
            raise TraceOverflowError(f"{names[k]}: Python integer {value} out of bounds for {dtype}",
                                     f"pass an array for it: `np.int64({value})`")


class LeafNames(Sequence):
    """How errors name the leaves of a call, worked out when asked for: `x`, `params['w']`, `pair[0]`."""

    def __init__(self, function: str, plan: Plan, structure: tuple):
        self.function, self.plan, self.structure = function, plan, structure

    def arguments(self, structure: tuple) -> dict[str, tuple]:
        """Parameter -> structure of what was passed for it, static ones left out."""
        _, (args, kwargs) = structure
        names = [name for n, name in self.plan.args if n in self.plan.traced_args]
        return dict([*zip(names, args[-1], strict=True), *zip(kwargs[1], kwargs[-1], strict=True)])

    def paths(self) -> list[str]:
        return [path for name, child in self.arguments(self.structure).items() for path in tree.paths(child, name)]

    def __len__(self) -> int:
        return tree.size(self.structure)

    def __getitem__(self, k: int) -> str:
        return f"{self.function}: argument `{self.paths()[k]}`"


class Call:
    """One call, taken apart. `leaves` are the caller's own, `prepared` what a program takes in their place, `place` is where
    it runs."""

    __slots__ = ("leaves", "names", "place", "plan", "prepared", "statics", "structure", "types")

    def __init__(self, name: str, plan: Plan, statics: tuple[StaticValue, ...], structure: tuple, leaves: list,
                 place: Device = CPU):
        self.plan, self.statics, self.structure, self.leaves, self.place = plan, statics, structure, leaves, place
        self.names = LeafNames(name, plan, structure)
        self.prepared = [prepare(leaf, self.names, k) for k, leaf in enumerate(leaves)]
        self.types = tuple(map(leaf_type, leaves, self.prepared))

    @property
    def key(self) -> tuple:
        return self.plan.form, self.statics, self.structure

    @property
    def place_and_types(self) -> tuple:
        """What decides the program under one key: the types, and the device unless it is the CPU."""
        return self.types if self.place is CPU else (self.opened, *self.types)

    @property
    def family(self) -> tuple:
        """What decides under one key which programs differ by sizes alone: the device, ranks and dtypes."""
        return self.opened, *[(len(shape), dtype, scalar) for shape, dtype, scalar in self.types]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of all arrays, one after the other."""
        return tuple([n for shape, _, _ in self.types for n in shape])

    @property
    def opened(self):
        """The CPU, or the GPU as it was opened: another one when it was lost since."""
        if self.place is CPU:
            return CPU
        from .runtime.cuda.stream import open_gpu

        return open_gpu(self.place.index)

    @property
    def numbers_only(self) -> bool:
        """Whether no argument is an array: then results are jitnet Arrays."""
        return all(scalar in WEAK for _, _, scalar in self.types)

    def guards(self) -> tuple[dict[int, type], dict[int, object]] | None:
        """(position -> class of a scalar, position -> object that must stand there); None when native code cannot tell."""
        _, (args, kwargs) = self.structure
        if kwargs[1] or self.plan.kwargs:
            return None
        statics = {n: s.value for (n, _), s in zip(self.plan.statics, self.statics)}
        types, children = iter(self.types), iter(args[1])
        scalars, same = dict[int, type](), dict[int, object]()
        for position in range(len(self.plan.args)):
            child = tree.NONE if position in statics else next(children)
            if child == tree.NONE:
                same[position] = statics.get(position)
            elif child == tree.LEAF:
                scalar = next(types)[2]
                if scalar is not None:
                    scalars[position] = scalar
            else:
                return None
        return scalars, same
