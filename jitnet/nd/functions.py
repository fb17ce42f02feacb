"""`nd.name` for every operator: a function of NDArrays, made from the operator's record."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import OperatorError
from ..operators import OPERATORS, Operator, find
from . import ndarray
from .invoke import invoke
from .ndarray import NDArray
from .plan import Params

NUMPY_NAMES = {"lesser": "less", "lesser_equal": "less_equal", "modulo": "mod"}
_KEPT = 1024  # parsed parameters kept per operator


def function(op: Operator, name: str) -> Callable:
    """`nd.name`: inputs by position or name, then parameters by position or name, `out=` for the result."""
    parsed: dict[tuple, dict] = {}
    usual: dict[tuple, dict] = {}  # the same for calls with all arrays by position and all parameters by name
    defaults = Params(op.schema.defaults)
    required = len(op.input_names) - len(op.optional)
    plain = {count for count in range(1, len(op.input_names) + 1) if _takes(op, count)}

    def call(*args, out=None, name=None, **given):
        if not given and len(args) in plain and isinstance(args[-1], NDArray):
            return invoke(op, args, defaults, out)
        try:
            whole = len(args), *given.items()
            params = usual.get(whole)
        except TypeError:
            whole, params = None, None
        if params is not None:
            for x in args:
                if not isinstance(x, NDArray):
                    break
            else:
                return invoke(op, args, params, out)
        arrays, given = bind(op, args, given)
        try:
            key = tuple(given.items())
            params = parsed.get(key)
        except TypeError:
            key, params = None, None
        if params is None:
            params = Params(op.schema.parse(given))
            op.check_inputs(len(arrays), params)
            if key is not None:
                if len(parsed) >= _KEPT:
                    parsed.clear()
                parsed[key] = params
        elif len(arrays) != required:
            op.check_inputs(len(arrays), params)
        if whole is not None and len(whole) == 1 + len(given) and len(arrays) == len(args) and len(usual) < _KEPT:
            usual[whole] = params
        return invoke(op, arrays, params, out)

    made = _as_out(op, call) if op.random and not op.input_names else call
    made.__name__ = made.__qualname__ = name
    made.__module__, made.__doc__ = __package__, document(op)   # where pickle finds it again
    return made


def _as_out(op: Operator, call: Callable) -> Callable:
    """`call` of an operator that draws from numbers: shape and dtype are those of `out` unless they are given."""
    first = op.schema.names.index("shape")

    def drawn(*args, out=None, **given):
        if out is not None:
            if len(args) <= first:
                given.setdefault("shape", out.shape)
            given.setdefault("dtype", np.dtype(out.dtype).name)
        return call(*args, out=out, **given)
    return drawn


def _takes(op: Operator, count: int) -> bool:
    """Whether the operator takes so many arrays and no parameter."""
    if op.variadic is not None or op.schema.required:
        return False
    try:
        op.check_inputs(count, op.schema.defaults)
    except OperatorError:
        return False
    return True


def bind(op: Operator, args: tuple, given: dict) -> tuple[list, dict]:
    """(input arrays, given parameters) of a call."""
    given.pop("name", None)
    if given.get("ctx") is None or "ctx" not in op.schema.kinds:
        given.pop("ctx", None)
    if op.variadic is not None:
        if len(args) == 1 and isinstance(args[0], (list, tuple)):
            args = tuple(args[0])
        arrays = [a for a in args if isinstance(a, NDArray)]
        given = op.schema.bind(args[len(arrays):], given)
        given[op.variadic] = len(arrays)
        return arrays, given
    inputs = dict(zip(op.input_names, args))
    rest = args[len(op.input_names):]
    for place, (name, value) in enumerate(list(inputs.items())):
        if not isinstance(value, NDArray) and value is not None and name in op.optional:
            rest = args[place:]  # optional inputs were left out: parameters follow
            inputs = dict(zip(op.input_names[:place], args))
            break
    for name in op.input_names:
        if name in given:
            if name in inputs:
                raise OperatorError(f"{op.name}: input {name} is given twice", "once by position, once by name")
            inputs[name] = given.pop(name)
    arrays = [inputs[name] for name in op.input_names if inputs.get(name) is not None]
    return arrays, op.schema.bind(rest, given) if rest else given


def document(op: Operator) -> str:
    """The docstring of an operator's function: what it computes, inputs and parameters."""
    lines = [op.body.__doc__ or "", ""]
    if op.input_names:
        lines.append("Inputs: " + ", ".join(n + (" (optional)" if n in op.optional else "") for n in op.input_names) + ".")
    lines += [f"{name}: {kind.declaration()}." + (f" {kind.doc}" if kind.doc else "") for name, kind in op.schema.kinds.items()]
    return "\n".join(lines)


def public_functions() -> dict[str, Callable]:
    """Name -> function, for every name of every operator."""
    return {name: function(op, name) for name, op in OPERATORS.items()}


def add_methods() -> None:
    """Makes the operators that say so methods of NDArray."""
    for name, op in OPERATORS.items():
        if op.method and not hasattr(NDArray, name):
            setattr(NDArray, name, function(op, name))


def arithmetic(name: str, wide: str, number: str, turned: str | None = None) -> Callable:
    """`nd.name(x, y)` where either may be a number; of two numbers, the number that NumPy gives."""
    wide_op, number_op, turned_op = find(wide), find(number), find(turned or number)
    on_numbers = getattr(np, NUMPY_NAMES.get(name, name))

    def call(lhs, rhs):
        if isinstance(lhs, NDArray):
            other = ndarray.operand(lhs, rhs)
            if isinstance(other, NDArray):
                return invoke(wide_op, (lhs, other), {})
            if other is not None:
                return invoke(number_op, (lhs,), {"scalar": other})
        elif isinstance(rhs, NDArray):
            other = ndarray.operand(rhs, lhs)
            if isinstance(other, NDArray):
                return invoke(wide_op, (other, rhs), {})
            if other is not None:
                return invoke(turned_op, (rhs,), {"scalar": other})
        elif isinstance(lhs, (int, float, np.number)) and isinstance(rhs, (int, float, np.number)):
            found = on_numbers(lhs, rhs).item()
            return int(found) if isinstance(found, bool) else found
        raise TypeError(f"nd.{name}: types {type(lhs).__name__} and {type(rhs).__name__} do not go together")
    call.__name__ = call.__qualname__ = name
    call.__module__ = __package__
    call.__doc__ = f"{wide_op.body.__doc__} Either argument may be a number; arrays broadcast."
    return call


ARITHMETIC = {name: arithmetic(name, wide, number, turned) for name, wide, number, turned in (
    ("add", "broadcast_add", "_plus_scalar", None), ("subtract", "broadcast_sub", "_minus_scalar", "_rminus_scalar"),
    ("multiply", "broadcast_mul", "_mul_scalar", None), ("divide", "broadcast_div", "_div_scalar", "_rdiv_scalar"),
    ("true_divide", "broadcast_div", "_div_scalar", "_rdiv_scalar"), ("modulo", "broadcast_mod", "_mod_scalar", "_rmod_scalar"),
    ("power", "broadcast_power", "_power_scalar", "_rpower_scalar"), ("maximum", "broadcast_maximum", "_maximum_scalar", None),
    ("minimum", "broadcast_minimum", "_minimum_scalar", None), ("equal", "broadcast_equal", "_equal_scalar", None),
    ("not_equal", "broadcast_not_equal", "_not_equal_scalar", None),
    ("greater", "broadcast_greater", "_greater_scalar", "_lesser_scalar"),
    ("greater_equal", "broadcast_greater_equal", "_greater_equal_scalar", "_lesser_equal_scalar"),
    ("lesser", "broadcast_lesser", "_lesser_scalar", "_greater_scalar"),
    ("lesser_equal", "broadcast_lesser_equal", "_lesser_equal_scalar", "_greater_equal_scalar"),
    ("logical_and", "broadcast_logical_and", "_logical_and_scalar", None),
    ("logical_or", "broadcast_logical_or", "_logical_or_scalar", None),
    ("logical_xor", "broadcast_logical_xor", "_logical_xor_scalar", None))}
