"""Values that are part of a key: what a compiled function was traced with, and is traced anew without."""
from __future__ import annotations

import numpy as np

from .errors import StaticArgumentError
from .text import a_type


class StaticValue:
    """A static value as part of a key: equal when class and value are, so 1, 1.0 and True differ."""

    __slots__ = ("_hash", "_key", "value")

    def __init__(self, value):
        self.value, self._key = value, _static_key(value)
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other) -> bool:
        return isinstance(other, StaticValue) and self._key == other._key

    def __repr__(self) -> str:
        return repr(self.value)


class SameObject(StaticValue):
    """A value that cannot be hashed, as part of a key: equal only to itself."""

    __slots__ = ()

    def __init__(self, value):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other) -> bool:
        return isinstance(other, SameObject) and self.value is other.value


def _static_key(value):
    kind = type(value)
    if kind is tuple or kind is frozenset:
        return kind, kind(map(_static_key, value))
    if kind is float:  # the zeros of both signs are equal, and NaN equals nothing: floats are told apart by their bits
        return kind, value.hex()
    return kind, value.tobytes() if isinstance(value, np.floating) else value


def by_value_or_identity(value) -> StaticValue:
    """The value as part of a key: by what it equals where it can be hashed, else by which object it is."""
    try:
        return StaticValue(value)
    except TypeError:
        return SameObject(value)


def static_value(name: str, parameter: str, value) -> StaticValue:
    """The value as part of a key; StaticArgumentError when it cannot be hashed."""
    try:
        return StaticValue(value)
    except TypeError:
        hint = {list: "pass a tuple instead of a list", dict: "pass a tuple of its items instead of a dict",
                np.ndarray: f"arrays are never static: take {parameter!r} out of the static names"}
        what = f"{name}: the static argument `{parameter}` is {a_type(value)}, which cannot be hashed"
        raise StaticArgumentError(what, hint.get(type(value), "pass a value that has `__hash__` and `__eq__`")) from None
