"""`sym.name` for every operator: a function that adds a node, made from the operator's record."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import attribute
from .. import name as naming
from ..errors import OperatorError
from ..operators import OPERATORS, Operator, find
from .node import Entry, Node
from .symbol import Symbol

NUMBERS = (bool, int, float, np.number)
INIT = {("BatchNorm", "moving_mean"): '["zero", {}]', ("BatchNorm", "moving_var"): '["one", {}]',
        ("LeakyReLU", "gamma"): '["Constant", {"value": 0.25}]'}  # how some variables begin unless they say otherwise


def apply(op: Operator, inputs: Sequence[Symbol | None], given: Mapping[str, object], name: str | None = None,
          attr: Mapping[str, str] | None = None, hint: str = "") -> Symbol:
    """The operator applied to symbols; a None among the inputs in use becomes a variable named after the node.

    `given`: parameters as the user wrote them. The result has the outputs that a user sees.
    """
    given = {key: value for key, value in given.items() if value is not None or op.schema.takes_none(key)}
    texts = op.schema.format(given)
    params = op.schema.parse(given)
    attrs = attribute.stored(attribute.current().get(attr))
    name = naming.current().get(name, hint or op.hint)
    names = op.inputs(params)
    if len(inputs) > len(names):
        raise OperatorError(f"{op.name}({name}): expects {len(names)} inputs, but got {len(inputs)}",
                            f"its inputs are {', '.join(names)}")
    entries: list[Entry] = []
    for k, argument in enumerate(names):
        symbol = inputs[k] if k < len(inputs) else None
        if symbol is None:
            entries.append((Node(None, f"{name}_{argument}", attrs=attrs | texts), 0))
        elif len(symbol) == 1:
            entries.append(symbol._entries[0])
        else:
            raise OperatorError(f"{op.name}({name}): input {argument} is a group of {len(symbol)} outputs",
                                "index the one that is meant: `symbol[0]`")
        variable, init = entries[-1][0], INIT.get((op.name, argument))
        if init is not None and variable.op is None:
            variable.attrs.setdefault("__init__", init)
    node = Node(op, name, entries, texts, params, attrs)
    return Symbol([(node, k) for k in range(node.num_visible)])


def function(op: Operator, public: str) -> Callable:
    """`sym.public`: inputs by position or name, then parameters by position or name, `name=`, `attr=`."""
    hint = public.lower()

    def call(*args, name: str | None = None, attr: Mapping[str, str] | None = None, **given) -> Symbol:
        attributes = dict(attr or {})
        for key in [k for k in given if k in attribute.HIDDEN or (k.startswith("__") and k.endswith("__"))]:
            attributes[key] = str(given.pop(key))
        given.pop("out", None)
        given.pop("ctx", None)
        inputs, given = _inputs(op, args, given)
        return apply(op, inputs, given, name, attributes, hint)

    call.__name__ = call.__qualname__ = public
    call.__module__ = __package__   # where pickle finds it again
    from ..nd.functions import document

    call.__doc__ = document(op) + "\nname: the name of the node (made up without one). attr: attributes of the node."
    return call


def _inputs(op: Operator, args: tuple, given: dict) -> tuple[list[Symbol | None], dict]:
    """(symbols by the order of the inputs, the parameters) of a call."""
    if op.variadic is not None:
        if len(args) == 1 and isinstance(args[0], (list, tuple)):
            args = tuple(args[0])
        symbols = [a for a in args if isinstance(a, Symbol)]
        given = op.schema.bind(args[len(symbols):], given)
        given[op.variadic] = int(given.get(op.variadic) or len(symbols))
        named = [given.pop(key) for key in list(given) if isinstance(given[key], Symbol)]
        return symbols + named, given
    place = next((k for k, a in enumerate(args) if not isinstance(a, Symbol) and a is not None), len(args))
    place = min(place, len(op.input_names))
    if place < len(args) and place < len(op.input_names) - len(op.optional) and hasattr(args[place], "__len__"):
        raise TypeError(f"{op.name}: input {op.input_names[place]} must be a Symbol, got {type(args[place]).__name__}")
    inputs: dict[str, Symbol] = {n: a for n, a in zip(op.input_names, args[:place]) if a is not None}
    given = op.schema.bind(args[place:], given) if len(args) > place else given
    for name in op.input_names:
        if name in given:
            if name in inputs:
                raise OperatorError(f"{op.name}: input {name} is given twice", "once by position, once by name")
            value = given.pop(name)
            if value is not None and not isinstance(value, Symbol):
                raise TypeError(f"{op.name}: input {name} must be a Symbol, got {type(value).__name__}")
            if value is not None:
                inputs[name] = value
    wrong = next((key for key, value in given.items() if isinstance(value, Symbol)), None)
    if wrong is not None:
        raise OperatorError(f"{op.name}: there is no input {wrong!r}", f"its inputs are {', '.join(op.input_names)}")
    used = op.inputs(op.schema.parse(given))
    extra = [name for name in inputs if name not in used]
    if extra:
        raise OperatorError(f"{op.name}: input {extra[0]} is not used with these parameters",
                            f"its inputs are {', '.join(used)}")
    return [inputs.get(name) for name in used if name in inputs or name not in op.optional or op.input_rule is not None], given


def functions() -> dict[str, Callable]:
    """Name -> function, for every name of every operator."""
    return {name: function(op, name) for name, op in OPERATORS.items()}


# Operators of Python: arrays of one shape, or a number

def _binary(same: str, number: str, hint: str, number_hint: str, turned: str | None = None, turned_hint: str = ""):
    same_op, number_op, turned_op = find(same), find(number), find(turned or number)

    def method(self: Symbol, other):
        if isinstance(other, Symbol):
            return apply(same_op, (self, other), {}, hint=hint)
        if isinstance(other, NUMBERS):
            return apply(number_op, (self,), {"scalar": other}, hint=number_hint)
        if isinstance(other, np.ndarray) or hasattr(other, "asnumpy"):
            raise TypeError(f"type {type(other)} not supported: bind arrays to a Variable")
        return NotImplemented

    def reflected(self: Symbol, other):
        if isinstance(other, NUMBERS):
            return apply(turned_op, (self,), {"scalar": other}, hint=turned_hint or number_hint)
        return NotImplemented
    return method, reflected


_ARITHMETIC = (
    ("add", "elemwise_add", "_plus_scalar", "_plus", "_plusscalar", None, ""),
    ("sub", "elemwise_sub", "_minus_scalar", "_minus", "_minusscalar", "_rminus_scalar", "_rminusscalar"),
    ("mul", "elemwise_mul", "_mul_scalar", "_mul", "_mulscalar", None, ""),
    ("truediv", "elemwise_div", "_div_scalar", "_div", "_divscalar", "_rdiv_scalar", "_rdivscalar"),
    ("mod", "_mod", "_mod_scalar", "_mod", "_modscalar", "_rmod_scalar", "_rmodscalar"),
    ("pow", "_power", "_power_scalar", "_power", "_powerscalar", "_rpower_scalar", "_rpower_scalar"),
)
_COMPARISONS = (("eq", "_equal"), ("ne", "_not_equal"), ("gt", "_greater"), ("ge", "_greater_equal"), ("lt", "_lesser"),
                ("le", "_lesser_equal"))


def add_methods() -> None:
    """Gives Symbol the operators of Python and the operators whose record says that they are methods."""
    for name, *rest in _ARITHMETIC:
        method, reflected = _binary(*rest)
        setattr(Symbol, f"__{name}__", method)
        setattr(Symbol, f"__r{name}__", reflected)
    for name, op in _COMPARISONS:
        setattr(Symbol, f"__{name}__", _binary(op, f"{op}_scalar", op, f"{op}_scalar")[0])
    Symbol.__hash__ = object.__hash__
    multiply, absolute = find("_mul_scalar"), find("abs")
    Symbol.__neg__ = lambda self: apply(multiply, (self,), {"scalar": -1.0}, hint="_mulscalar")
    Symbol.__abs__ = lambda self: apply(absolute, (self,), {}, hint="abs")
    for name, op in OPERATORS.items():
        if op.method and not hasattr(Symbol, name):
            setattr(Symbol, name, function(op, name))
    cast, reshape = find("Cast"), function(find("Reshape"), "reshape")
    Symbol.astype = lambda self, dtype: apply(cast, (self,), {"dtype": dtype}, hint="cast")

    def reshape_method(self, *shape, **kwargs):
        if shape:
            kwargs["shape"] = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return reshape(self, **kwargs)

    Symbol.reshape = reshape_method


def arithmetic(name: str, same: str, number: str, turned: str | None, python: Callable) -> Callable:
    """`sym.name(x, y)` where either may be a number; of two numbers, Python's result."""
    same_op, number_op, turned_op = find(same), find(number), find(turned or number)

    def call(left, right):
        if isinstance(left, Symbol) and isinstance(right, Symbol):
            return apply(same_op, (left, right), {}, hint=same_op.hint)
        if isinstance(left, Symbol) and isinstance(right, NUMBERS):
            return apply(number_op, (left,), {"scalar": right}, hint=number_op.hint.replace("_scalar", "scalar"))
        if isinstance(right, Symbol) and isinstance(left, NUMBERS):
            return apply(turned_op, (right,), {"scalar": left}, hint=turned_op.hint.replace("_scalar", "scalar"))
        if isinstance(left, NUMBERS) and isinstance(right, NUMBERS):
            return python(left, right)
        raise TypeError(f"types ({type(left)}, {type(right)}) not supported")
    call.__name__ = call.__qualname__ = name
    call.__module__ = __package__
    call.__doc__ = f"{same_op.body.__doc__} Either argument may be a number."
    return call


PAIRS = {name: arithmetic(name, *rest) for name, *rest in (
    ("pow", "_power", "_power_scalar", "_rpower_scalar", lambda a, b: a ** b),
    ("power", "_power", "_power_scalar", "_rpower_scalar", lambda a, b: a ** b),
    ("maximum", "_maximum", "_maximum_scalar", None, max), ("minimum", "_minimum", "_minimum_scalar", None, min),
    ("hypot", "_hypot", "_hypot_scalar", None, lambda a, b: float(np.hypot(a, b))))}
