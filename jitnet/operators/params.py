"""The static parameters of operators: typed, read from Python values and from the strings that MXNet's JSON holds, checked.

    kind    ::=  Int | Float | Bool | Shape | Enum | DType | Str | Scalar
    Schema  ::=  {name: kind}          parse: what the user wrote -> a full dict of canonical values
"""
from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import OperatorError


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@dataclass(frozen=True)
class Param:
    """One parameter. Abstract: use a kind. `optional`: None is a value too."""

    default: Any = REQUIRED
    optional: bool = False
    doc: str = ""
    type_name: ClassVar[str] = ""

    def parse(self, value) -> Any:
        """The canonical value; ValueError or TypeError with the reason when it is none."""
        if value is None or (type(value) is str and value == "None"):
            if self.optional or self.default is None:
                return None
            raise ValueError(f"expected {self.describe()}, got None")
        return self.convert(value)

    def convert(self, value) -> Any:
        raise TypeError(f"{type(self).__name__} is abstract")

    def describe(self) -> str:
        """The kind in words, for messages."""
        return self.type_name + (" or None" if self.optional or self.default is None else "")

    def declaration(self) -> str:
        """How a list of parameters shows it."""
        return f"{self.describe()}, " + ("required" if self.default is REQUIRED else f"default {self.default!r}")


@dataclass(frozen=True)
class Int(Param):
    """A whole number, between `low` and `high` where these are given."""

    low: int | None = None
    high: int | None = None
    type_name: ClassVar[str] = "int"

    def convert(self, value) -> int:
        if isinstance(value, str):
            value = ast.literal_eval(value)
        number = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        if isinstance(number, float) and number == int(number):
            number = int(number)
        if not isinstance(number, int):
            raise ValueError(f"expected {self.describe()}, got {value!r}")
        return _bounded(int(number), self.low, self.high)


@dataclass(frozen=True)
class Float(Param):
    """A real number, between `low` and `high` where these are given."""

    low: float | None = None
    high: float | None = None
    type_name: ClassVar[str] = "float"

    def convert(self, value) -> float:
        return _bounded(float(value), self.low, self.high)


@dataclass(frozen=True)
class Scalar(Param):
    """A number that may differ from call to call: compiled code takes it as an argument, so no new value compiles anything."""

    low: float | None = None
    high: float | None = None
    type_name: ClassVar[str] = "number"

    def convert(self, value) -> int | float:
        if isinstance(value, str):
            lower = value.strip().lower()
            value = int(lower) if lower.lstrip("+-").isdigit() else float(lower)
        if isinstance(value, (np.generic, np.ndarray)):
            value = value.item()
        return _bounded(int(value) if isinstance(value, (bool, int)) else float(value), self.low, self.high)


@dataclass(frozen=True)
class Bool(Param):
    """True or False, also written 1 and 0, "True", "true" and "1"."""

    type_name: ClassVar[str] = "boolean"

    def convert(self, value) -> bool:
        if isinstance(value, str):
            known = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
            if known is None:
                raise ValueError(f"expected {self.describe()}, got {value!r}")
            return known
        return bool(value)


@dataclass(frozen=True)
class Shape(Param):
    """A tuple of whole numbers; a single one is a tuple of one. `holes`: elements may be None."""

    holes: bool = False
    scalar: bool = False  # a single number stays one
    floats: bool = False  # real numbers too
    type_name: ClassVar[str] = "Shape(tuple)"

    def convert(self, value) -> tuple | int:
        if isinstance(value, str):
            value = ast.literal_eval(value)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not isinstance(value, (tuple, list)):
            return self._element(value) if self.scalar else (self._element(value),)
        return tuple([self._element(v) for v in value])

    def _element(self, value):
        if value is None and self.holes:
            return None
        if self.floats:
            return float(value)
        try:
            return value.__index__()
        except AttributeError:
            if isinstance(value, float) and value == int(value):
                return int(value)
            raise ValueError(f"expected {self.describe()}, got an element {value!r}") from None


@dataclass(frozen=True)
class Enum(Param):
    """One of a set of words."""

    choices: tuple[str, ...] = ()
    type_name: ClassVar[str] = "string"

    def convert(self, value) -> str:
        if value not in self.choices:
            raise ValueError(f"invalid input {value!r}, valid values are {', '.join(map(repr, self.choices))}")
        return str(value)

    def describe(self) -> str:
        return "{" + ", ".join(map(repr, self.choices)) + "}" + (" or None" if self.optional or self.default is None else "")


@dataclass(frozen=True)
class DType(Param):
    """The name of a dtype: "float32", np.float32 and np.dtype("f4") are the same."""

    type_name: ClassVar[str] = "dtype"

    def convert(self, value) -> str:
        return np.dtype(value).name


@dataclass(frozen=True)
class Str(Param):
    """Any text."""

    type_name: ClassVar[str] = "string"

    def convert(self, value) -> str:
        return str(value)


def _bounded(value, low, high):
    if (low is not None and not value >= low) or (high is not None and not value <= high):  # so is NaN
        bounds = f"[{'-inf' if low is None else low}, {'inf' if high is None else high}]"
        raise ValueError(f"value {value} exceeds the bounds {bounds}")
    return value


class Schema:
    """The parameters of one operator, in the order in which they may be passed by position."""

    def __init__(self, operator: str, kinds: Mapping[str, Param]):
        self.operator, self.kinds = operator, dict(kinds)
        self.names = tuple(self.kinds)
        self.required = tuple(name for name, kind in self.kinds.items() if kind.default is REQUIRED)
        self.defaults = {name: kind.default for name, kind in self.kinds.items() if kind.default is not REQUIRED}
        self.scalars = tuple(name for name, kind in self.kinds.items() if isinstance(kind, Scalar))

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for every parameter, those not given at their defaults; OperatorError says what does not fit."""
        values = dict(self.defaults)
        kinds = self.kinds
        for name, value in given.items():
            kind = kinds.get(name)
            if kind is None:
                raise OperatorError(f"{self.operator}: there is no parameter {name!r}", self._valid())
            try:
                values[name] = kind.parse(value)
            except (ValueError, TypeError, SyntaxError) as error:
                reason = error if str(error).startswith(("expected", "invalid", "value")) else \
                    f"expected {kind.describe()}, got {value!r}"
                raise OperatorError(f"{self.operator}: parameter {name}: {reason}", kind.doc or self._valid()) from None
        for name in self.required:
            if name not in values:
                raise OperatorError(f"{self.operator}: required parameter {name} ({kinds[name].describe()}) is missing",
                                    f"pass `{name}=...`")
        return values

    def format(self, given: Mapping[str, Any]) -> dict[str, str]:
        """The parameters as the strings that MXNet's JSON holds: what the user gave, and only that."""
        return {name: value if isinstance(value, str) else self._text(self.kinds.get(name), value)
                for name, value in given.items()}

    def takes_none(self, name: str) -> bool:
        """Whether None is a value of the parameter (of one that does not exist too: it is an error of its own)."""
        kind = self.kinds.get(name)
        return kind is None or kind.optional or kind.default is None

    @staticmethod
    def _text(kind: Param | None, value) -> str:
        if isinstance(kind, DType) and value is not None:
            return kind.convert(value)
        if isinstance(value, list):
            value = tuple(value)
        return str(value.item() if isinstance(value, np.generic) else value)

    def bind(self, positional: Sequence, given: dict[str, Any]) -> dict[str, Any]:
        """`given` with parameters that were passed by position under their names."""
        if len(positional) > len(self.names):
            raise OperatorError(f"{self.operator}: takes {len(self.names)} parameters by position, got {len(positional)}",
                                self._valid())
        for name, value in zip(self.names, positional):
            if name in given:
                raise OperatorError(f"{self.operator}: parameter {name} is given twice", "once by position, once by name")
            given[name] = value
        return given

    def _valid(self) -> str:
        if not self.kinds:
            return "it has no parameters"
        return "valid parameters: " + "; ".join(f"{name}: {kind.declaration()}" for name, kind in self.kinds.items())
