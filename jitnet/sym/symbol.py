"""Symbol: outputs of a graph that is written down now and computed later, with arrays bound to its variables."""
from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import attribute
from ..errors import MXNetError, NotImplementedForSymbol, OperatorError
from . import infer, saving
from .node import Entry, Node, order, rebuilt, versions


class Symbol:
    """One or more outputs of a graph. Make one with `sym.Variable` and the operators of `sym`.

    >>> import jitnet as mx
    >>> x = mx.sym.Variable("x")
    >>> y = mx.sym.exp(x * 2, name="y")
    >>> y.list_arguments(), y.list_outputs()
    (['x'], ['y_output'])
    """

    __slots__ = ("__weakref__", "_entries")
    __array_priority__ = 1000.0
    if TYPE_CHECKING:  # what make.py adds to the class
        def __getattr__(self, name: str) -> Any: ...
        def _operator(self, other: Any = None) -> Symbol: ...
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __mod__ = _operator
        __rmod__ = __pow__ = __rpow__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __neg__ = __abs__ = _operator

    def __init__(self, entries: Sequence[Entry]):
        self._entries = tuple(entries)

    # What it is

    @property
    def name(self) -> str | None:
        """The name of its node; None of a group."""
        nodes = {id(node): node for node, _ in self._entries}
        return next(iter(nodes.values())).name if len(nodes) == 1 else None

    def __repr__(self) -> str:
        name = self.name
        if name is None:
            return f"<Symbol group [{', '.join(node.name for node, _ in self._entries)}]>"
        return f"<Symbol {name}>"

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        raise NotImplementedForSymbol(self.__bool__, "bool")

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __getitem__(self, index: int | str | slice) -> Symbol:
        """One output, by number or by the name it has in `list_outputs` (or the name of its node)."""
        if isinstance(index, slice):
            return Symbol(self._entries[index])
        if isinstance(index, str):
            names = self.list_outputs()
            found = [k for k, name in enumerate(names) if name == index] or \
                    [k for k, (node, _) in enumerate(self._entries) if node.name == index]
            if not found:
                raise ValueError(f'Cannot find output that matches name "{index}"; there are {", ".join(names)}')
            if len(found) > 1:
                raise ValueError(f'There are multiple outputs with name "{index}"')
            index = found[0]
        if not isinstance(index, (int, np.integer)):
            raise TypeError("Symbol only supports integer, string and slice indices")
        if not -len(self) <= index < len(self):
            raise IndexError(f"Index {index} out of range: there are {len(self)} outputs")
        return Symbol([self._entries[index]])

    @property
    def shape(self):
        """Not known of a symbol: see infer_shape."""
        raise AttributeError("a Symbol has no shape before arrays are bound: use infer_shape(...)")

    # Names

    def list_arguments(self) -> list[str]:
        """Names of the variables to bind, in the order of a depth-first walk."""
        return [node.name for node in self._arguments()]

    def list_auxiliary_states(self) -> list[str]:
        """Names of the variables that operators keep state in."""
        return [node.name for node in self._auxiliaries()]

    def list_inputs(self) -> list[str]:
        """Names of all variables, auxiliary states included."""
        return [node.name for node in order(self._entries) if node.op is None]

    def list_outputs(self) -> list[str]:
        """Names of the outputs."""
        return [node.output_name(k) for node, k in self._entries]

    def _auxiliaries(self) -> list[Node]:
        nodes = order(self._entries)
        states = {id(variable) for node in nodes for variable in node.auxiliary()}
        return [node for node in nodes if id(node) in states]

    def _arguments(self) -> list[Node]:
        nodes = order(self._entries)
        states = {id(variable) for node in nodes for variable in node.auxiliary()}
        return [node for node in nodes if node.op is None and id(node) not in states]

    # Attributes

    def attr(self, key: str) -> str | None:
        """An attribute or parameter of the symbol, None when it has none of that name."""
        return attribute.shown(self._single("attr").all_attrs()).get(key)

    def list_attr(self, recursive: bool = False) -> dict[str, str]:
        """All attributes of the symbol."""
        if recursive:
            raise DeprecationWarning("Symbol.list_attr with recursive=True has been deprecated. Please use attr_dict instead.")
        return attribute.shown(self._single("list_attr").all_attrs())

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """Name -> attributes, of every node that has some."""
        return {node.name: attribute.shown(node.all_attrs()) for node in order(self._entries) if node.all_attrs()}

    def _set_attr(self, **attributes: str) -> None:
        for name, value in attributes.items():
            if not isinstance(value, str):
                raise ValueError(f"Set Attr only accepts string values: {name} is a {type(value).__name__}")
        self._single("_set_attr").attrs.update(attribute.stored(attributes))

    def _single(self, what: str) -> Node:
        nodes = {id(node): node for node, _ in self._entries}
        if len(nodes) != 1:
            raise MXNetError(f"{what}: a group of symbols has no attributes of its own", "index one of them: `group[0]`")
        return next(iter(nodes.values()))

    # Parts and wholes

    def get_internals(self) -> Symbol:
        """A group of all outputs of all nodes, the inner ones too."""
        return Symbol([(node, k) for node in order(self._entries) for k in range(node.num_visible)])

    def get_children(self) -> Symbol | None:
        """A group of the inputs of the nodes; None of a variable."""
        entries: dict[tuple[int, int], Entry] = {}
        for node, _ in self._entries:
            entries.update({(id(n), k): (n, k) for n, k in node.inputs})
        return Symbol(list(entries.values())) if entries else None

    def __call__(self, *args: Symbol, name: str | None = None, **kwargs: Symbol) -> Symbol:
        """The graph with symbols in place of variables, named by keyword or in the order of `list_arguments`."""
        if args and kwargs:
            raise TypeError("compose only accept input Symbols either as positional or keyword arguments, not both")
        variables = [node for node in order(self._entries) if node.op is None]
        names = [node.name for node in variables]
        if len(args) > len(names):
            raise MXNetError(f"compose: {len(args)} symbols for {len(names)} variables",
                             f"the variables are {', '.join(names)}")
        given = dict(zip(names, args)) | kwargs
        for key, value in given.items():
            if not isinstance(value, Symbol):
                raise TypeError("Compose expect `Symbol` as arguments")
            if key not in names:
                raise MXNetError(f"compose: there is no variable {key!r}", f"the variables are {', '.join(names)}")
            if len(value) != 1:
                raise MXNetError(f"compose: {key} is a group of {len(value)} outputs", "index the one that is meant")
        head = self._entries[0][0]

        def change(node: Node, inputs: list[Entry]):
            if node.op is None:
                return given[node.name]._entries[0] if node.name in given else node
            return node.replaced(inputs, name if node is head and name else None)

        return Symbol(rebuilt(self._entries, change))

    def __copy__(self) -> Symbol:
        return self.__deepcopy__(None)

    def __deepcopy__(self, _) -> Symbol:
        def change(node: Node, inputs: list[Entry]):
            return node.replaced(inputs)
        return Symbol(rebuilt(self._entries, change))

    # Inference

    def infer_shape(self, *args, **kwargs):
        """(shapes of the arguments, of the outputs, of the auxiliary states), from those of some arguments by name or in order.

        Sizes of 0 are unknown. (None, None, None), with a warning that names them, when some cannot be inferred.
        """
        found = self._infer_shape(False, args, kwargs)
        if found is None:
            return None, None, None
        return found

    def infer_shape_partial(self, *args, **kwargs):
        """As `infer_shape`, with () for the shapes that cannot be inferred."""
        return self._infer_shape(True, args, kwargs)

    def _infer_shape(self, partial: bool, args: tuple, kwargs: Mapping[str, Any]):
        known = self._known("infer_shape", args, kwargs, lambda value: tuple(int(n) for n in value))
        found = infer.shapes(self._entries, known)
        arguments, states = self._arguments(), self._auxiliaries()

        def shape_of(node: Node, k: int = 0):
            return found.get((id(node), k))

        result = [[shape_of(n) for n in arguments], [shape_of(*e) for e in self._entries], [shape_of(n) for n in states]]
        unknown = [node.name for node in (*arguments, *states) if not infer.is_known(shape_of(node))]
        outputs_known = all(infer.is_known(s) for s in result[1])
        if not partial and (unknown or not outputs_known):
            shown = ", ".join(f"{n.name}: {shape_of(n)}" for n in arguments if n.name in unknown)
            warnings.warn("Cannot decide shape for the following arguments (0s in shape means unknown dimensions). "
                          f"Consider providing them as input: {shown}", stacklevel=3)
            return None
        return tuple([[() if s is None else s for s in part] for part in result])

    def infer_type(self, *args, **kwargs):
        """(dtypes of the arguments, of the outputs, of the auxiliary states), as NumPy's classes.

        (None, None, None) when nothing says them.
        """
        found = self.infer_type_partial(*args, **kwargs)
        return found if all(d is not None for part in found for d in part) else (None, None, None)

    def infer_type_partial(self, *args, **kwargs):
        """As `infer_type`, with None for the dtypes that cannot be inferred."""
        known = self._known("infer_type", args, kwargs, np.dtype)
        found = infer.dtypes(self._entries, known)

        def type_of(node: Node, k: int = 0):
            dtype = found.get((id(node), k))
            return None if dtype is None else dtype.type

        return ([type_of(n) for n in self._arguments()], [type_of(*e) for e in self._entries],
                [type_of(n) for n in self._auxiliaries()])

    def _known(self, what: str, args: tuple, kwargs: Mapping[str, Any], convert) -> dict[int, Any]:
        """Id of variable -> what is given of it, by position among the arguments or by name."""
        if args and kwargs:
            raise ValueError(f"Can only specify known argument {what.removeprefix('infer_')}s either by positional or "
                             "kwargs way.")
        arguments = self._arguments()
        if args:
            if len(args) > len(arguments):
                raise OperatorError(f"{what}: {len(args)} given for {len(arguments)} arguments",
                                    f"the arguments are {', '.join(n.name for n in arguments)}")
            return {id(n): convert(v) for n, v in zip(arguments, args) if v is not None}
        variables = [*arguments, *self._auxiliaries()]
        names = {node.name for node in variables}
        for name in kwargs:
            if name not in names:
                raise OperatorError(f"{what}: there is no argument {name!r}",
                                    f"the arguments are {', '.join(n.name for n in variables)}")
        return {id(n): convert(kwargs[n.name]) for n in variables if kwargs.get(n.name) is not None}

    # Text

    def tojson(self, remove_amp_cast: bool = True) -> str:
        """The graph as text, in the layout of MXNet 1.9.1."""
        return saving.to_json(list(self._entries), remove_amp_cast)

    def save(self, fname: str | os.PathLike, remove_amp_cast: bool = True) -> None:
        """Writes the graph into a file."""
        with open(fname, "w", encoding="utf-8") as file:
            file.write(self.tojson(remove_amp_cast))

    def __getstate__(self) -> dict:
        return {"handle": self.tojson()}

    def __setstate__(self, state: dict) -> None:
        self._entries = tuple(saving.from_json(state["handle"]))

    def debug_str(self) -> str:
        """The graph as lines that people read: outputs, then every node with its inputs and attributes."""
        lines = ["Symbol Outputs:"]
        lines += [f"\toutput[{k}]={node.name}({out})" for k, (node, out) in enumerate(self._entries)]
        nodes = order(self._entries)
        version = versions(nodes)
        for node in nodes:
            if node.op is None:
                lines.append(f"Variable:{node.name}")
                continue
            lines += ["--------------------", f"Op:{node.op.name}, Name={node.name}", "Inputs:"]
            lines += [f"\targ[{k}]={n.name}({out})" + f" version={v}" * (n.op is None)
                      for k, ((n, out), v) in enumerate(zip(node.inputs, version[id(node)]))]
            if node.all_attrs():
                lines += ["Attrs:", *(f"\t{key}={value}" for key, value in sorted(node.all_attrs().items()))]
        return "\n".join(lines) + "\n"


def _arrays_only(name: str):
    def method(self, *args, **kwargs):
        raise NotImplementedForSymbol(method)
    method.__name__ = method.__qualname__ = name
    method.__doc__ = "Not there for symbols: bind, and look at the outputs."
    return method


for _name in ("as_in_context", "asnumpy", "asscalar", "backward", "copy", "detach", "wait_to_read"):
    setattr(Symbol, _name, _arrays_only(_name))


def load_json(json_str: str) -> Symbol:
    """The symbol of a text that `tojson` wrote."""
    if not isinstance(json_str, str):
        raise TypeError("fname required to be string")
    return Symbol(saving.from_json(json_str))


def load(fname: str | os.PathLike) -> Symbol:
    """The symbol of a file that `save` wrote, here or in MXNet 1.x."""
    with open(fname, encoding="utf-8") as file:
        return load_json(file.read())


def var(name: str, attr: Mapping[str, str] | None = None, shape=None, lr_mult: float | None = None,
        wd_mult: float | None = None, dtype=None, init=None, stype: str | None = None, **kwargs: str) -> Symbol:
    """A variable: what an array is bound to. Its attributes travel with it, for those who make and update that array.

    shape, dtype: where they are known (0 is an unknown size). lr_mult, wd_mult: for optimizers. init: its Initializer. Further
    attributes are given as `__name__`.
    """
    if not isinstance(name, str):
        raise TypeError("Expect a string for variable `name`")
    wrong = next((key for key, value in (attr or {}).items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise ValueError(f"Set Attr only accepts string values: {wrong} is a {type(attr[wrong]).__name__}")
    attrs = attribute.stored(attribute.current().get(attr))
    for key, value in (("shape", shape), ("lr_mult", lr_mult), ("wd_mult", wd_mult)):
        if value is not None:
            attrs[f"__{key}__"] = str(value if key != "shape" else (value,) if isinstance(value, int) else tuple(value))
    if dtype is not None:
        numbers = {np.dtype(kind): number for number, kind in infer.DTYPE_NUMBERS.items()}
        attrs["__dtype__"] = str(numbers[np.dtype(dtype)])
    if init is not None:
        attrs["__init__"] = init if isinstance(init, str) else init.dumps()
    if stype is not None and stype != "default":
        raise MXNetError(f"var: arrays are dense, there is no storage type {stype!r}", "leave stype out")
    for key, value in kwargs.items():
        if not (key.startswith("__") and key.endswith("__")):
            raise ValueError(f"Attribute name={key} is not supported. Additional attributes must start and end with double "
                             "underscores, e.g, __yourattr__")
        attrs[key] = str(value)
    return Symbol([(Node(None, name, attrs=attrs), 0)])


Variable = var


def Group(symbols: Sequence[Symbol]) -> Symbol:
    """One symbol with the outputs of all of them."""
    if not symbols or any(not isinstance(s, Symbol) for s in symbols):
        raise TypeError("Expected a list of symbols as input")
    return Symbol([entry for s in symbols for entry in s._entries])


