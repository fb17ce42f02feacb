"""`self` of a compiled method, taken apart: attributes that hold arrays are arguments, all others are static.

Objects of the user's own classes in attributes are taken apart the same way, however deep: a model may be made of layers. An
object that stands in two places, or refers back to one it is part of, is one object inside the function too.
"""
from __future__ import annotations

import functools
import inspect
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from . import tree
from .errors import TraceTypeError
from .runtime.array import Array
from .static_values import StaticValue, by_value_or_identity
from .types import BF16, NUMPY_CHARS

_ABSENT = object()


class Instance:
    """`self` of a compiled method, as a container of the arrays in it."""

    __slots__ = ("object",)

    def __init__(self, object):
        self.object = object


@dataclass(frozen=True)
class InstanceKind:
    """The static part of an object: its class, the structure of its attributes, and what their leaves are.

    A part is None for an array, an InstanceKind for an object that is taken apart too, the number of an object met before,
    or a static value.
    """

    cls: type
    structure: tuple
    parts: tuple[StaticValue | InstanceKind | int | None, ...]

    def named(self) -> list[tuple[str, StaticValue | InstanceKind | int | None]]:
        """(path of an attribute, its part): `.n`, `.layers[0]`."""
        names = [path for key, child in zip(self.structure[1], self.structure[-1]) for path in tree.paths(child, f".{key}")]
        return list(zip(names, self.parts, strict=True))

    def paths(self) -> list[str]:
        """The paths of the arrays, in order."""
        return [path + inner for path, part in self.named()
                for inner in ([""] if part is None else part.paths() if isinstance(part, InstanceKind) else [])]

    def changes(self, old: InstanceKind, path: str) -> list[str]:
        """What differs from an older one, one line per attribute."""
        if (self.cls, self.structure) != (old.cls, old.structure):
            return [f"`{path}`: {_described(old)} became {_described(self)}"]
        lines = []
        for (name, now), was in zip(self.named(), old.parts, strict=True):
            if isinstance(now, InstanceKind) and isinstance(was, InstanceKind):
                lines += now.changes(was, path + name)
            elif now != was:
                lines.append(f"`{path}{name}`: {_described(was)} became {_described(now)}")
        return lines


def _described(part) -> str:
    if isinstance(part, InstanceKind):
        return f"{part.cls.__name__} with {', '.join(name.lstrip('.') for name, _ in part.named()) or 'no attributes'}"
    return "an array" if part is None else "an object met before" if isinstance(part, int) else repr(part)


def _is_argument(value) -> bool:
    """Whether an attribute is an array that a compiled function can be given."""
    if isinstance(value, np.ndarray):
        return value.dtype.char in NUMPY_CHARS or value.dtype == BF16
    return isinstance(value, Array)


@functools.lru_cache(1024)
def _taken_apart(cls: type) -> bool:
    """Whether objects of this class are taken apart: a class of the user's own whose objects are what their attributes are.

    One with a hash of its own is a value; one of an installed library may refer to anything.
    """
    if cls.__new__ is not object.__new__ or cls.__hash__ not in (object.__hash__, None) or not cls.__dictoffset__:
        return False
    if any(vars(base).get("__slots__") for base in cls.__mro__):
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is None or not os.path.abspath(file).startswith(_installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    """The folders of installed libraries, and jitnet's own."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {os.path.dirname(__file__)}
    return tuple(os.path.abspath(folder) + os.sep for folder in folders)


def goes_by_attributes(value) -> bool:
    """Whether a method's `self` is taken apart by attributes: `tree` knows no structure of it, or it is a dataclass with
    fields that are neither arrays nor numbers."""
    if not hasattr(value, "__dict__") or isinstance(value, type):
        return False
    leaves, structure = tree.flatten(value)
    if structure == tree.LEAF:
        return True
    fit = [_is_argument(leaf) or isinstance(leaf, (bool, int, float, np.generic)) for leaf in leaves]
    return structure[0] == "dataclass" and not all(fit)


def unbound(function: Callable) -> tuple[Callable, object] | None:
    """(function, object) of a bound method, or of an object that is called, where the object is one to be taken apart."""
    owner = getattr(function, "__self__", function)
    inner = function.__func__ if inspect.ismethod(function) else inspect.getattr_static(type(function), "__call__", None)
    known = isinstance(inner, types.FunctionType) and not isinstance(function, types.FunctionType)
    return (inner, owner) if known and _taken_apart(type(owner)) else None


def _flatten(instance: Instance) -> tuple[list, InstanceKind]:
    arrays: list = []
    return arrays, _take_apart(instance.object, arrays, {})


def _take_apart(value, arrays: list, numbers: dict[int, int]) -> InstanceKind:
    """The static part of an object; its arrays go to the list. numbers: of the objects met, by id."""
    numbers[id(value)] = len(numbers)
    leaves, structure = tree.flatten(vars(value))
    parts: list = []
    for leaf in leaves:
        if _is_argument(leaf):
            arrays.append(leaf)
            parts.append(None)
        elif not _taken_apart(type(leaf)):
            parts.append(by_value_or_identity(leaf))
        else:
            met = numbers.get(id(leaf))
            parts.append(_take_apart(leaf, arrays, numbers) if met is None else met)
    return InstanceKind(type(value), structure, tuple(parts))


def _unflatten(kind: InstanceKind, children):
    return _put_together(kind, iter(children), [])


def _put_together(kind: InstanceKind, arrays: Iterator, made: list):
    instance = object.__new__(kind.cls)
    made.append(instance)
    leaves = []
    for part in kind.parts:
        if part is None:
            leaves.append(next(arrays))
        elif isinstance(part, InstanceKind):
            leaves.append(_put_together(part, arrays, made))
        else:
            leaves.append(made[part] if isinstance(part, int) else part.value)
    instance.__dict__.update(tree.unflatten(kind.structure, leaves))
    return instance


tree.register(Instance, _flatten, _unflatten)


class Owner:
    """The class that a compiled class method is called on; it is static."""

    __slots__ = ("cls",)

    def __init__(self, cls: type):
        self.cls = cls


tree.register(Owner, lambda owner: ((), owner.cls), lambda cls, children: cls)


def is_instance(structure: tuple) -> bool:
    """Whether the first argument is the object of a compiled method."""
    args = structure[1][0][1]
    return bool(args) and args[0][0] == "registered" and isinstance(args[0][2], InstanceKind)


def attributes_stay(function: str, instance) -> Callable[[], None]:
    """A check, to be made when the method has run: TraceTypeError if it set an attribute of the object or of one in it."""
    before = {path: (value, dict(vars(value))) for path, value in _objects(instance, "self", set())}

    def check() -> None:
        for path, (value, attributes) in before.items():
            now = vars(value)
            for name in now.keys() | attributes.keys():
                if now.get(name, _ABSENT) is not attributes.get(name, _ABSENT):
                    raise TraceTypeError(
                        f"{function}: the compiled method sets the attribute `{path}.{name}`, which would hold a traced value",
                        "return the new value, and set the attribute outside; or write into the array: `self.x[:] = ...`")
    return check


def _objects(value, path: str, met: set[int]) -> Iterator[tuple[str, object]]:
    """(path, object) of an object and of those in it that are taken apart too."""
    met.add(id(value))
    yield path, value
    leaves, structure = tree.flatten(vars(value))
    names = [p for key, child in zip(structure[1], structure[-1]) for p in tree.paths(child, f"{path}.{key}")]
    for name, leaf in zip(names, leaves, strict=True):
        if _taken_apart(type(leaf)) and id(leaf) not in met:
            yield from _objects(leaf, name, met)


def importable(function) -> bool:
    """Whether another process finds a function, or a method, in the module that it says it is of."""
    found = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function and function.__module__ != "__main__"
