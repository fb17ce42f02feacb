"""grad and value_and_grad, with JAX's signatures and containers.

Only what is differentiated is traced; every other argument reaches the function as it is. Inside a trace the result is
written into it; outside, it is traced and its Graph run.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from .. import tree
from ..errors import DerivativeError, TraceTypeError, TraceValueError
from ..tracebacks import cutting
from ..types import is_float
from .values import P, R, Staged, check_float, function_name, is_array, leaf_type, or_zeros, staged, weak_class
from .vjp import vjp_values


class Chosen:
    """The arguments of a call that are differentiated (`leaves`, in the order of argnums), and the function of them alone."""

    def __init__(self, fun: Callable, argnums, args: tuple, kwargs: dict, caller: str):
        self.single = not isinstance(argnums, (tuple, list))
        self.name, self.caller = function_name(fun), caller
        self.nums = [_argnum(n, len(args), self.name, caller) for n in ([argnums] if self.single else argnums)]
        self.values = tuple(args[n] for n in self.nums)
        self.fun, self.args, self.kwargs = fun, args, kwargs

    def stage(self, values: tuple, has_aux: bool) -> tuple[list, Staged]:
        """(leaves of these values of the arguments, the function of them as a Graph)."""
        leaves, self.structure = tree.flatten(values)
        types = [leaf_type(x, self.caller) for x in leaves]
        paths = [path for n, v in zip(self.nums, values) for path in tree.paths(tree.structure(v), str(n))]
        check_float(types, [f"{path} of `{self.name}`" for path in paths], self.caller)

        def function(*chosen):
            every = list(self.args)
            for n, value in zip(self.nums, chosen):
                every[n] = value
            return self.fun(*every, **self.kwargs)

        return leaves, Staged(function, types, self.structure, self.name, weak=[weak_class(x) for x in leaves], has_aux=has_aux,
                              caller=self.caller, once=True)

    def container(self, leaves: Sequence) -> Any:
        """The derivatives nested as the arguments are: one tree for one argnum, a tuple for several."""
        out = tree.unflatten(self.structure, leaves)
        return out[0] if self.single else out


def _argnum(n, count: int, name: str, caller: str) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TraceTypeError(f"{caller}: argnums must be integers, not {n!r}",
                             "give the positions of the arguments, such as `argnums=(0, 1)`")
    if not -count <= n < count:
        raise TraceValueError(f"{caller}: argnums names argument {n}, and `{name}` was given {count} positional "
                              f"argument{'' if count == 1 else 's'}",
                              "count positional arguments from 0; arguments passed by keyword cannot be differentiated")
    return int(n) % count


# Gradients

def value_and_grad(fun: Callable[P, R], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[P, tuple[R, Any]]:
    """A function that returns (fun's value, its gradient) for a function with a real scalar output.

    argnums: which arguments to differentiate by, an int or a tuple; each may be any container of floats, and the gradient has
    its shape. has_aux: fun returns (output, aux), and the new function ((output, aux), gradient).

    >>> import jitnet
    >>> value, gradient = jitnet.value_and_grad(lambda x: x * x)(3.0)
    >>> float(value), float(gradient)
    (9.0, 6.0)
    """
    @cutting
    @wraps(fun, updated=())
    def function(*args, **kwargs):
        chosen = Chosen(fun, argnums, args, kwargs, "value_and_grad")
        return staged(lambda *values: _value_and_grad(chosen, values, has_aux), chosen.values,
                      f"value_and_grad of {chosen.name}")
    return function


def grad(fun: Callable[P, Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[P, Any]:
    """A function that returns the gradient of a function with a real scalar output.

    argnums: which arguments to differentiate by, an int or a tuple; each may be any container of floats, and the gradient has
    its shape. has_aux: fun returns (output, aux), and the new function (gradient, aux). DerivativeError for an output that is
    no real scalar and for arguments that are not floats.

    >>> import jitnet, numpy as np
    >>> jitnet.grad(lambda w: (w * w).sum())(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    @cutting
    @wraps(fun, updated=())
    def function(*args, **kwargs):
        chosen = Chosen(fun, argnums, args, kwargs, "grad")

        def compute(*values):
            out, gradient = _value_and_grad(chosen, values, has_aux)
            return (gradient, out[1]) if has_aux else gradient

        return staged(compute, chosen.values, f"grad of {chosen.name}")
    return function


def _value_and_grad(chosen: Chosen, values: tuple, has_aux: bool):
    leaves, inner = chosen.stage(values, has_aux)
    if inner.out_structure != tree.LEAF:
        raise DerivativeError(f"{chosen.caller}: `{chosen.name}` returns {tree.describe(inner.out_structure)}, and only a "
                              f"real scalar has a gradient",
                              "return one number; what else is of use can come as aux with `has_aux=True`")
    (out_type,) = inner.out_types
    if out_type.shape or not is_float(out_type.dtype):
        hint = "sum or average it, or use `jacrev`" if out_type.shape else "convert it with `astype(np.float64)`"
        raise DerivativeError(f"{chosen.caller}: `{chosen.name}` returns {out_type}, and only a real scalar has a gradient",
                              hint)
    outs, pullback = vjp_values(inner.graph, [*leaves, *inner.captured], [True] * len(leaves) + [False] * len(inner.captured))
    cts = pullback([np.ones((), out_type.dtype)] + [None] * (len(outs) - 1))
    gradient = chosen.container([or_zeros(ct, t) for ct, t in zip(cts, inner.graph.input_types[:len(leaves)])])
    return ((outs[0], inner.aux(outs)) if has_aux else outs[0]), gradient


def stop_gradient(x):
    """The same value (or container of values), through which no derivative passes."""
    from ..ops.control import stop_gradient as op

    return tree.map(lambda leaf: op(leaf) if is_array(leaf) and not isinstance(leaf, (bool, int, float)) else leaf, x)
