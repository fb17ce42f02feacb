"""Calls with Arrays on a GPU, and Python numbers: from arguments to buffers and from buffers to the result, as Python made for
one structure.

Flattening containers, looking a structure up and building the result take most of the time of such a call. Of a function called
with `([(w, b)], x)` before, `taker` makes

    def take(args):
        if len(args) != 2: return None
        n0, x2, = args
        if type(n0) is not list or len(n0) != 1: return None
        ...
        return (b0.kind, b1.kind, b2.kind), [b0, b1, b2]

and `builder` the like for the result. A number stands for its class among the kinds, and as an array among the buffers.
"""
from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from . import tree
from .arguments import WEAK
from .runtime.array import Array

MOST_LEAVES = 512   # beyond that the code takes long to compile
MOST_KEPT = 1024    # structures of results that code is kept for
_builders: dict[int, tuple[tuple, Callable]] = {}


class Code:
    """Lines of a function, and the objects that they name."""

    def __init__(self, first: str, **names):
        self.lines, self.names, self.leaves, self.nodes = [first], names, 0, 0

    def add(self, line: str) -> None:
        self.lines.append(f"    {line}")

    def named(self, value) -> str:
        """The name of an object."""
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name

    def leaf(self) -> str:
        """The name of the next leaf."""
        self.leaves += 1
        return f"x{self.leaves - 1}"

    def node(self) -> str:
        """The name of the next container."""
        self.nodes += 1
        return f"n{self.nodes - 1}"

    def function(self, name: str) -> Callable:
        """The function that the lines define."""
        exec("\n".join(self.lines), self.names)
        return self.names[name]


def taker(structure: tuple, numbers: Mapping[int, type]) -> Callable | None:
    """take(args): (kinds, buffers) of the Arrays in arguments of that structure, whose leaves at these places are numbers of
    these classes; None for others and for arrays of the CPU. None where it cannot be made: for classes that are not taken
    apart by their items."""
    if tree.size(structure) > MOST_LEAVES or not all(kind in (tuple, list, dict, OrderedDict, "leaf", "none", "named")
                                                     for kind in kinds(structure)):
        return None
    code = Code("def take(args):", Array=Array, OrderedDict=OrderedDict, number=number)
    names = _unpack(code, "args", structure[-1])
    classes = [code.named(numbers[k]) if k in numbers else "Array" for k in range(len(names))]
    if names:
        code.add(f"if {' or '.join(f'type({x}) is not {kind}' for x, kind in zip(names, classes))}: return None")
    code.add("try:")
    for k, name in enumerate(names):
        code.add(f"    b{k} = number({name})" if k in numbers else f"    b{k} = {name}._data")
    kinds_ = [kind if k in numbers else f"b{k}.kind" for k, kind in enumerate(classes)]
    code.add(f"    return ({''.join(f'{kind}, ' for kind in kinds_)}), [{', '.join(f'b{k}' for k in range(len(names)))}]")
    code.add("except (AttributeError, OverflowError):")   # a NumPy array; an integer of more than 64 bits
    code.add("    return None")
    return code.function("take")


def number(value) -> np.ndarray:
    """A Python number as an array."""
    return np.asarray(value, WEAK[type(value)])


def kinds(structure: tuple) -> Iterator:
    """What the parts of a structure are."""
    yield structure[0]
    if structure[0] not in ("leaf", "none"):
        for child in structure[-1]:
            yield from kinds(child)


def _unpack(code: Code, node: str, children: tuple) -> list[str]:
    """Names for the items of a container, and then for the leaves in all of them."""
    code.add(f"if len({node}) != {len(children)}: return None")
    items = [code.leaf() if child == tree.LEAF else code.node() for child in children]
    if items:
        code.add(f"{', '.join(items)}, = {node}")
    return [leaf for item, child in zip(items, children) for leaf in _leaves(code, item, child)]


def _leaves(code: Code, item: str, structure: tuple) -> list[str]:
    """The names of the leaves in an item, whose structure is looked at."""
    kind = structure[0]
    if kind == "leaf":
        return [item]
    if kind == "none":
        code.add(f"if {item} is not None: return None")
        return []
    if kind is dict or kind is OrderedDict:
        code.add(f"if type({item}) is not {code.named(kind)} or tuple({item}) != {code.named(structure[1])}: return None")
        return _unpack(code, f"{item}.values()", structure[-1])
    code.add(f"if type({item}) is not {code.named(structure[1] if kind == 'named' else kind)}: return None")
    return _unpack(code, item, structure[-1])


def builder(structure: tuple) -> Callable:
    """build(buffers): the container of that structure, with Arrays of the buffers.

    Made once for each structure object, such as that of a template: equal ones may have keys that print differently.
    """
    found = _builders.get(id(structure))
    if found is None:
        if len(_builders) >= MOST_KEPT:
            _builders.clear()
        found = _builders[id(structure)] = structure, _builder(structure)   # as long as it is here, no other has its id
    return found[1]


def _builder(structure: tuple) -> Callable:
    size = tree.size(structure)
    if size > MOST_LEAVES:
        return lambda buffers: tree.unflatten(structure, [Array(b) for b in buffers])
    code = Code("def build(buffers):", Array=Array, new=object.__new__)
    if size:
        code.add(f"{', '.join(f'b{k}' for k in range(size))}, = buffers")
    for k in range(size):   # without a call of __init__
        code.add(f"x{k} = new(Array)")
        code.add(f"x{k}._data = b{k}")
    code.add(f"return {_built(code, structure)}")
    return code.function("build")


def _built(code: Code, structure: tuple) -> str:
    """The expression that builds a container."""
    kind = structure[0]
    if kind == "leaf":
        return code.leaf()
    if kind == "none":
        return "None"
    children = [_built(code, child) for child in structure[-1]]
    if kind is tuple:
        return f"({''.join(f'{child}, ' for child in children)})"
    if kind is list:
        return f"[{', '.join(children)}]"
    return f"{code.named(functools.partial(tree.rebuilt, structure))}([{', '.join(children)}])"
