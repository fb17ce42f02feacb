"""Op, the record of one operation. One op = one place.

An op is made by a decorator of its kind (op_kinds.py): the function's name, signature and docstring are public API, its body is
the meaning in NumPy, the decorator gives scalar expression, derivative rules and samples. The kind supplies the rest: dtypes,
shapes, broadcasting, batching, and what the code generator and the tests need to know.

    @elementwise("sin_({x})", dtypes="float", jvp=(lambda t, out, x: t * cos(x),), samples=between(-3, 3))
    def sin(x):
        '''Sine of each element; x in radians.'''
        return np.sin(x)

Rules are written with public ops on public values: they run on traced values (to build a Graph) and on NumPy arrays alike.
Dispatch knows nothing of tracing: the class of an argument may define `__jitnet_bind__(op, arrays, params)` and a
`__jitnet_priority__`; without one the NumPy body runs.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .errors import TraceTypeError
from .half import in_float32
from .types import ArrayType, promote

OPS: dict[str, Op] = {}            # name -> op: every primitive, for printing, tests and docs
NUMPY_FUNCTIONS: dict[Any, Any] = {}  # NumPy function -> what runs when it meets a traced value
METHODS: dict[str, Any] = {}          # name of an array method -> function(x, ...)
_priorities: dict[type, int] = {}  # class of an argument -> its __jitnet_priority__ (0: the NumPy body runs)
p_empty = inspect.Parameter.empty


@dataclass(frozen=True)
class Samples:
    """Where the tests draw arguments from: one (low, high) per array argument; `integers` when only integers make sense."""

    ranges: tuple[tuple[float, float], ...]
    integers: bool = False


class Op:
    """One operation. Abstract: use a kind. Called like the function it was made from."""

    kind: ClassVar[str] = "op"
    multiple_outputs = False
    widens = False   # does it compute with halves in float32? It takes them as they are where it only moves or chooses

    def __init__(self, body: Callable, *, jvp=None, vjp=None, samples: Samples | None = None, register: bool = True,
                 widens: bool | None = None):
        self.widens = self.widens if widens is None else widens
        self.name, self.__doc__, self.__name__ = body.__name__.strip("_"), body.__doc__, body.__name__
        self.body = in_float32(body, picks=self.kind == "gather") if self.widens else body
        self.__module__, self.__qualname__, self.__wrapped__ = body.__module__, body.__qualname__, body
        self.__signature__ = inspect.signature(body)
        self.jvp_rule, self.vjp_rule, self.samples = jvp, vjp, samples
        parameters = list(self.__signature__.parameters.values())
        self.variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self.array_names = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY and p.default is p_empty)
        self.statics = {p.name: p.default for p in parameters if p.name not in self.array_names}
        self._arity = -1 if self.variadic or p_empty in self.statics.values() else len(self.array_names)
        if register:
            if self.name in OPS:
                raise ValueError(f"two ops are named {self.name}")
            OPS[self.name] = self

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self):
        return _op_named, (self.name,)

    def __call__(self, *args, **kwargs):
        if not kwargs and len(args) == self._arity:
            arrays, params = args, self.statics
        else:
            arrays, params = self.split(args, kwargs)
        best, priority = None, 0
        for a in arrays:
            kind = type(a)
            p = _priorities.get(kind)
            if p is None:
                p = _priorities[kind] = getattr(kind, "__jitnet_priority__", 0)
            if p > priority:
                best, priority = a, p
        if best is None:
            return self.body(*args, **kwargs)
        return best.__jitnet_bind__(self, arrays, params)

    def split(self, args: tuple, kwargs: dict) -> tuple[Sequence, dict]:
        """(array arguments, static parameters) of a call."""
        if (self.variadic or len(args) == len(self.array_names)) and kwargs.keys() <= self.statics.keys():
            params = self.statics | kwargs
            if p_empty not in params.values():
                return args, params
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise TraceTypeError(f"{self.name}: {error}", f"its signature is {self.name}{self.__signature__}") from None
        arguments = bound.arguments
        arrays: list = []
        for name in self.array_names:
            arrays.extend(arguments.get(name, ())) if name == self.variadic else arrays.append(arguments[name])
        return arrays, {name: arguments.get(name, default) for name, default in self.statics.items()}

    # What a kind supplies

    def operand_dtypes(self, dtypes: Sequence) -> Sequence[np.dtype]:
        """The dtype each operand is converted to. A Python scalar comes as its class (bool, int, float): weak."""
        return [promote(d) if isinstance(d, type) else d for d in dtypes]

    def canonical(self, types: Sequence[ArrayType], params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The static parameters in the one form that equations hold (axes counted from the front, ...)."""
        return params

    def out_types(self, types: Sequence[ArrayType], params: Mapping[str, Any]) -> Sequence[ArrayType]:
        """The types of the outputs."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def evaluate(self, arrays: Sequence[np.ndarray], params: Mapping[str, Any]) -> list[np.ndarray]:
        """The outputs by the NumPy body."""
        out = self.body(*arrays, **params)
        return [np.asarray(o) for o in out] if self.multiple_outputs else [np.asarray(out)]

    def jvp(self, tangents, outs, inputs, params) -> list:
        """Tangents of the outputs; `tangents` holds None where an input has none."""
        raise TypeError(f"{self.name} has no jvp")

    def vjp(self, cts, outs, inputs, params, needed) -> list:
        """Cotangents of the inputs for which `needed` is true (None: zero)."""
        raise TypeError(f"{self.name} has no vjp")

    def batch(self, size, inputs, batched, params) -> list:
        """The outputs for inputs with a leading batch axis where `batched` says so; all outputs get that axis."""
        raise TypeError(f"{self.name} cannot be batched")


def has_priority(value) -> bool:
    """Whether jitnet computes with this value itself: it is traced, or a jitnet array."""
    kind = type(value)
    p = _priorities.get(kind)
    if p is None:
        p = _priorities[kind] = getattr(kind, "__jitnet_priority__", 0)
    return p > 0


def _op_named(name: str) -> Op:
    return OPS[name]
