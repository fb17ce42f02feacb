"""jacfwd, jacrev and hessian: whole Jacobians, by mapping a product with the Jacobian over unit vectors."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from .. import tree
from ..errors import DerivativeError
from ..tracebacks import cutting
from ..tracer import bind, inline, trace
from ..types import I64, ArrayType, is_float
from .gradient import Chosen
from .jvp import jvp_values
from .values import P, Staged, fresh, live, or_zeros, staged
from .vjp import vjp_values
from .vmap import batch_all, move_axis


def _basis(t: ArrayType):
    """The unit vectors of a type, stacked along a new first axis: written as equations, never as one large constant."""
    from ..ops import cast, equal, iota, reshape

    rows, columns = (bind(iota, [], {"shape": (t.size, t.size), "axis": axis, "dtype": I64}) for axis in (0, 1))
    return reshape(cast(equal(rows, columns), dtype=t.dtype), shape=(t.size, *t.shape))


def _check_outputs(inner: Staged, caller: str) -> None:
    for t, path in zip(inner.out_types, tree.paths(inner.out_structure)):
        if not is_float(t.dtype):
            raise DerivativeError(f"{caller}: output{path} of `{inner.name}` is {t}, and only floats have a derivative",
                                  "return it as aux with `has_aux=True`, or convert it with `astype(np.float64)`")


def _staged(caller: str, compute: Callable, fun: Callable, argnums: int | Sequence[int], has_aux: bool) -> Callable:
    """The function that compute(chosen arguments, their values, has_aux) is, in the trace under way or in one of its own."""
    @cutting
    @wraps(fun, updated=())
    def function(*args, **kwargs):
        chosen = Chosen(fun, argnums, args, kwargs, caller)
        return staged(lambda *values: compute(chosen, values, has_aux), chosen.values, f"{caller} of {chosen.name}")
    return function


def jacrev(fun: Callable[P, Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[P, Any]:
    """A function that returns the Jacobian, row by row (one pullback per element of the output: right for few outputs).

    The result is nested like the output, each leaf holding the containers of the arguments, with arrays of shape (*output,
    *argument).

    >>> import jitnet, numpy as np
    >>> jitnet.jacrev(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return _staged("jacrev", _jacrev, fun, argnums, has_aux)


def _jacrev(chosen: Chosen, values: tuple, has_aux: bool):
    from ..ops import reshape

    leaves, inner = chosen.stage(values, has_aux)
    _check_outputs(inner, chosen.caller)
    types = inner.graph.input_types[:len(leaves)]
    outs, pullback = vjp_values(inner.graph, [*leaves, *inner.captured], [True] * len(leaves) + [False] * len(inner.captured))
    jacobians = []
    for k, t in enumerate(inner.out_types):
        def row(ct, k=k):
            return [or_zeros(x, t) for x, t in zip(pullback([ct if i == k else None for i in range(len(outs))]), types)]

        rows = _map_linear(row, t, f"jacrev of {chosen.name}")
        jacobians.append(chosen.container([reshape(r, shape=(*t.shape, *a.shape)) for r, a in zip(rows, types)]))
    result = tree.unflatten(inner.out_structure, jacobians)
    return (result, inner.aux(outs)) if has_aux else result


def _map_linear(function: Callable, t: ArrayType, name: str) -> list:
    """The outputs of a function at every unit vector of a type, stacked along the first axis."""
    traced = trace(function, [t], name)
    return batch_all(live(traced.graph), [_basis(t), *traced.captured], [True] + [False] * len(traced.captured), t.size)


def jacfwd(fun: Callable[P, Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[P, Any]:
    """A function that returns the Jacobian, column by column (one tangent per element of the arguments: right for few inputs).

    The result is nested like the output, each leaf holding the containers of the arguments, with arrays of shape (*output,
    *argument).
    """
    return _staged("jacfwd", _jacfwd, fun, argnums, has_aux)


def _jacfwd(chosen: Chosen, values: tuple, has_aux: bool):
    from ..ops import reshape

    leaves, inner = chosen.stage(values, has_aux)
    _check_outputs(inner, chosen.caller)
    args = [fresh(x, t.dtype) for x, t in zip([*leaves, *inner.captured], inner.graph.input_types)]
    outs = inline(inner.graph, args)
    columns: list[list] = [[] for _ in inner.out_types]
    for k, t in enumerate(inner.graph.input_types[:len(leaves)]):
        def column(tangent, k=k):
            tangents = jvp_values(inner.graph, args, [tangent if i == k else None for i in range(len(args))])[1]
            return [or_zeros(x, a) for x, a in zip(tangents, inner.out_types)]

        for found, x, out in zip(columns, _map_linear(column, t, f"jacfwd of {chosen.name}"), inner.out_types):
            found.append(reshape(move_axis(x, 0, out.ndim), shape=(*out.shape, *t.shape)))
    result = tree.unflatten(inner.out_structure, [chosen.container(found) for found in columns])
    return (result, inner.aux(outs)) if has_aux else result


def hessian(fun: Callable[P, Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[P, Any]:
    """A function that returns the second derivatives: jacfwd of jacrev, nested like the output, then twice like the arguments.

    >>> import jitnet, numpy as np
    >>> jitnet.hessian(lambda x: (x * x * x).sum())(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return jacfwd(jacrev(fun, argnums, has_aux), argnums, has_aux)
