"""Nested arguments flattened and rebuilt: tuple, list, dict, named tuple, dataclass, None and registered classes.

A structure is a nested tuple that compares and hashes, so it can be part of a cache key. Dicts with the same keys have the same
structure, leaves in the order of the sorted keys; rebuilt, a dict has its own order again.
"""
from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from typing import Any

_registry: dict[type, tuple] = {}  # class -> (flatten, unflatten)
_leaf_kinds: set[type] = set()     # classes found to be no containers: to find it out takes longer than a call's other work
MOST_LEAF_KINDS = 64               # it keeps them alive
LEAF = ("leaf",)
NONE = ("none",)


class Keys(tuple):
    """The sorted keys of a dict; `order` is how they stood, which plays no part in comparison."""

    order: tuple


def register(cls: type, flatten, unflatten) -> type:
    """Makes a class a container: flatten(obj) -> (children, static), unflatten(static, children) -> obj; returns the class."""
    _registry[cls] = (flatten, unflatten)
    _leaf_kinds.discard(cls)
    return cls


register(defaultdict, lambda d: (d.values(), (d.default_factory, *d)),
         lambda static, children: defaultdict(static[0], zip(static[1:], children)))


def registered_children(obj) -> list:
    """The children of an instance of a registered class."""
    return list(_registry[type(obj)][0](obj)[0])


def flatten(tree, ordered: bool = False) -> tuple[list, tuple]:
    """(leaves, structure) of a nested container. ordered: the order of a dict's keys is part of its structure.

    >>> from jitnet import tree
    >>> tree.flatten({"w": 1, "b": (2, None)})[0]
    [2, 1]
    """
    leaves: list = []
    return leaves, _flatten(tree, leaves, ordered)


def _flatten(node, leaves: list, ordered: bool) -> tuple:
    kind = type(node)
    if kind in _leaf_kinds:
        leaves.append(node)
        return LEAF
    if kind is tuple or kind is list:
        return (kind, tuple([_flatten(child, leaves, ordered) for child in node]))
    if kind is dict or kind is OrderedDict:
        keys = tuple(node) if ordered or kind is OrderedDict else _keys(node)
        return (kind, keys, tuple([_flatten(node[key], leaves, ordered) for key in keys]))
    if node is None:
        return NONE
    if kind in _registry:
        children, static = _registry[kind][0](node)
        return ("registered", kind, static, tuple([_flatten(child, leaves, ordered) for child in children]))
    if isinstance(node, tuple) and hasattr(kind, "_fields"):
        return ("named", kind, tuple([_flatten(child, leaves, ordered) for child in node]))
    if dataclasses.is_dataclass(kind) and not isinstance(node, type):
        names = tuple(f.name for f in dataclasses.fields(kind))
        return ("dataclass", kind, names, tuple([_flatten(getattr(node, n), leaves, ordered) for n in names]))
    if len(_leaf_kinds) < MOST_LEAF_KINDS:
        _leaf_kinds.add(kind)
    leaves.append(node)
    return LEAF


def _keys(node: dict) -> tuple:
    order = tuple(node)
    try:
        keys = Keys(sorted(order))
    except TypeError:  # keys of several kinds: insertion order
        return order
    keys.order = order
    return order if keys == order else keys


def unflatten(structure: tuple, leaves) -> Any:
    """The container of that structure with these leaves."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: tuple, leaves) -> Any:
    kind = structure[0]
    if kind == "leaf":
        return next(leaves)
    if kind == "none":
        return None
    return rebuilt(structure, [_unflatten(child, leaves) for child in structure[-1]])


def rebuilt(structure: tuple, children: list) -> Any:
    """The outermost container of a structure around its children."""
    kind = structure[0]
    if kind is tuple:
        return tuple(children)
    if kind is list:
        return children
    if kind is dict or kind is OrderedDict:
        keys = structure[1]
        table = kind(zip(keys, children))
        return {key: table[key] for key in keys.order} if type(keys) is Keys else table
    if kind == "registered":
        return _registry[structure[1]][1](structure[2], children)
    if kind == "named":
        return structure[1](*children)
    instance = object.__new__(structure[1])  # dataclass: fields are set as they were, __post_init__ is not run again
    for name, child in zip(structure[2], children):
        object.__setattr__(instance, name, child)
    return instance


def leaves(tree) -> list:
    """The leaves in order."""
    return flatten(tree)[0]


def structure(tree) -> tuple:
    """The structure alone."""
    return flatten(tree)[1]


def map(function, tree, *rest):
    """The same container with `function` applied to each leaf (and the matching leaves of `rest`).

    >>> from jitnet import tree
    >>> tree.map(lambda x, y: x + y, (1, [2]), (10, [20]))
    (11, [22])
    """
    first, shape = flatten(tree)
    others = []
    for other in rest:
        more, other_shape = flatten(other)
        if other_shape != shape:
            raise ValueError(f"tree.map: containers differ: {describe(shape)} and {describe(other_shape)}")
        others.append(more)
    return unflatten(shape, [function(*xs) for xs in zip(first, *others)])


def size(structure: tuple) -> int:
    """How many leaves a structure has."""
    if structure[0] == "leaf":
        return 1
    return 0 if structure[0] == "none" else sum(size(child) for child in structure[-1])


def describe(structure: tuple) -> str:
    """A structure as people write it: `(*, {'w': *})`."""
    kind = structure[0]
    if kind == "leaf":
        return "*"
    if kind == "none":
        return "None"
    inner = [describe(child) for child in structure[-1]]
    if kind is tuple:
        return "(" + ", ".join(inner) + ("," if len(inner) == 1 else "") + ")"
    if kind is list:
        return "[" + ", ".join(inner) + "]"
    if kind is dict or kind is OrderedDict:
        return "{" + ", ".join(f"{key!r}: {child}" for key, child in zip(structure[1], inner)) + "}"
    return structure[1].__name__ + "(" + ", ".join(inner) + ")"


def paths(structure: tuple, path: str = "") -> list[str]:
    """How each leaf is reached: what Python writes after the name of the container, or with it.

    >>> from jitnet import tree
    >>> tree.paths(tree.structure({"w": [1, 2]}), "params")
    ["params['w'][0]", "params['w'][1]"]
    """
    kind = structure[0]
    if kind == "leaf":
        return [path]
    if kind == "none":
        return []
    children = structure[-1]
    if kind == "registered" and hasattr(structure[2], "paths"):
        return [path + inner for inner in structure[2].paths()]
    if isinstance(kind, type) and issubclass(kind, dict):
        keys = [f"[{key!r}]" for key in structure[1]]
    elif kind == "registered" and structure[1] is defaultdict:
        keys = [f"[{key!r}]" for key in structure[2][1:]]
    elif kind == "dataclass":
        keys = [f".{name}" for name in structure[2]]
    elif kind == "named":
        keys = [f".{name}" for name in structure[1]._fields]
    else:
        keys = [f"[{k}]" for k in range(len(children))]
    return [p for key, child in zip(keys, children, strict=True) for p in paths(child, path + key)]
