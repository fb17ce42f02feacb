"""vjp, jvp and linearize: products of vectors with the Jacobian, with JAX's signatures and containers."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..errors import DerivativeError, TraceTypeError
from ..ir import Graph
from ..tracebacks import cutting
from ..tracer import current_trace, inline
from ..types import ArrayType, is_float
from .jvp import jvp_graph, jvp_values
from .values import (
    FLOAT0,
    Staged,
    function_name,
    is_array,
    leaf_type,
    live,
    no_gradient,
    or_zeros,
    run_graph,
    staged,
    weak_class,
)
from .vjp import split_vjp, vjp_values


class _Primals:
    """The primals of vjp, jvp and linearize: only float leaves are traced, the others reach the function as they are."""

    def __init__(self, fun: Callable, primals: tuple, caller: str, has_aux: bool):
        self.leaves, self.structure = tree.flatten(primals)
        self.name, self.caller = function_name(fun), caller
        self.names = [f"{caller}: argument {n[1:n.index(']')]}{n[n.index(']') + 1:]} of `{self.name}`"
                      for n in tree.paths(self.structure)]
        self.types = [leaf_type(x, caller) if is_array(x) else None for x in self.leaves]
        self.places = [i for i, t in enumerate(self.types) if t is not None and is_float(t.dtype)]
        self.floats = tuple(self.leaves[i] for i in self.places)
        self.fun, self.has_aux = fun, has_aux

    def stage(self) -> Staged:
        def function(*floats):
            return self.fun(*tree.unflatten(self.structure, self.spread(floats, self.leaves)))

        n = len(self.places)
        return Staged(function, [self.types[i] for i in self.places], (tuple, (tree.LEAF,) * n), self.name,
                      weak=[weak_class(x) for x in self.floats], has_aux=self.has_aux, caller=self.caller, once=True)

    def spread(self, floats: Sequence, others: Sequence) -> list:
        """All leaves: `floats` at the places of float leaves, `others` elsewhere."""
        every = list(others)
        for i, x in zip(self.places, floats):
            every[i] = x
        return every

    def check_tangents(self, tangents) -> tuple:
        """The tangents of the float leaves."""
        leaves, structure = tree.flatten(tuple(tangents) if isinstance(tangents, list) else tangents)
        if structure != self.structure:
            raise DerivativeError(f"{self.caller}: the tangents are nested as {tree.describe(structure)}, the primals as "
                                  f"{tree.describe(self.structure)}", "give one tangent per primal, in the same containers")
        for x, t, name in zip(leaves, self.types, self.names):
            if t is None or not is_float(t.dtype):
                if getattr(x, "dtype", None) != FLOAT0:
                    kind = "no array" if t is None else str(t)
                    raise DerivativeError(f"{name} is {kind}, which has no tangent",
                                          "close over it: `jvp(lambda x: f(x, n), ...)`")
            else:
                check_derivative(x, t, name, "tangent")
        return tuple(leaves[i] for i in self.places)


def check_derivative(x, t: ArrayType, name: str, what: str) -> None:
    """DerivativeError when a (co)tangent has another shape or dtype than its value; Python numbers fit any 0-d float."""
    found = leaf_type(x, name)
    if found.shape != t.shape or (found.dtype != t.dtype and weak_class(x) is None):
        raise DerivativeError(f"{name} is {t}, and its {what} is {found}", f"a {what} has the shape and dtype of its value")


def _apply(graph: Graph, args: Sequence) -> list:
    """The outputs of a graph: written into the current trace, or run."""
    return run_graph(graph, args) if current_trace() is None else inline(graph, args)


def _out_derivatives(inner: Staged, values: Sequence) -> Any:
    """The container of the output with derivatives as leaves: zeros where they are None, float0 where there is none."""
    return tree.unflatten(inner.out_structure, [or_zeros(v, t) if is_float(t.dtype) else no_gradient(t.shape)
                                                for v, t in zip(values, inner.out_types)])


@cutting
def jvp(fun: Callable, primals: Sequence, tangents: Sequence, has_aux: bool = False) -> tuple:
    """(fun(*primals), its derivative in the direction of the tangents); with has_aux a third: the aux of fun.

    >>> import jitnet
    >>> out, tangent = jitnet.jvp(lambda x, y: x * y, (3.0, 4.0), (1.0, 0.0))
    >>> float(out), float(tangent)
    (12.0, 4.0)
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TraceTypeError("jvp: primals and tangents must be tuples or lists, one entry per argument",
                             "write `jvp(f, (x,), (t,))`")
    parts = _Primals(fun, tuple(primals), "jvp", has_aux)
    directions = parts.check_tangents(tangents)
    n = len(parts.floats)

    def compute(*values):
        parts.floats = values[:n]
        inner = parts.stage()
        outs, out_tangents = jvp_values(inner.graph, [*values[:n], *inner.captured],
                                        [*values[n:], *[None] * len(inner.captured)])
        result = inner.out(outs), _out_derivatives(inner, out_tangents[:inner.num_outs])
        return (*result, inner.aux(outs)) if has_aux else result

    return staged(compute, (*parts.floats, *directions), f"jvp of {parts.name}")


@cutting
def vjp(fun: Callable, *primals, has_aux: bool = False) -> tuple:
    """(fun(*primals), a function from a cotangent of the output to the cotangents of the primals); with has_aux also the aux.

    Integer leaves get arrays of dtype float0. The function may be called any number of times.

    >>> import jitnet
    >>> out, pullback = jitnet.vjp(lambda x, y: x * y, 3.0, 4.0)
    >>> [float(ct) for ct in pullback(1.0)]
    [4.0, 3.0]
    """
    parts = _Primals(fun, primals, "vjp", has_aux)
    if current_trace() is not None:
        inner = parts.stage()
        n = len(parts.floats)
        outs, pull = vjp_values(inner.graph, [*parts.floats, *inner.captured], [True] * n + [False] * len(inner.captured))
        return _vjp_result(parts, inner, outs,
                           lambda cts: [or_zeros(ct, t) for ct, t in zip(pull(cts), inner.graph.input_types[:n])])
    inner = parts.stage()
    n = len(inner.graph.outputs)
    places = [k for k, t in enumerate(inner.out_types) if is_float(t.dtype)]
    # Nothing that the user holds serves as a residual: it may be written to before the pullback is called.
    split = split_vjp(inner.graph, [True] * len(parts.floats), [k in places for k in range(n)],
                      free_inputs=[False] * len(parts.floats), free_outputs=[False] * n)
    values = run_graph(split.forward, parts.floats)
    outs, residuals = values[:n], split.residuals((), (), values[n:])
    return _vjp_result(parts, inner, outs, lambda cts: _apply(split.backward, [
        *(np.zeros(a.shape, a.dtype) if ct is None else ct for a, ct in ((inner.out_types[k], cts[k]) for k in places)),
        *residuals]))


def vjp_of_traced(fun: Callable, *primals) -> tuple[list, Callable]:
    """(the outputs of fun, in a tuple, on traced arrays of floats; a function from a list of their cotangents to those of the
    primals), where None stands for a cotangent that is zero: what follows it is not computed, and gives no NaN."""
    parts = _Primals(fun, primals, "vjp", False)
    inner = parts.stage()
    n = len(parts.floats)
    outs, pull = vjp_values(inner.graph, [*parts.floats, *inner.captured], [True] * n + [False] * len(inner.captured))
    return outs, lambda cts: pull(cts)[:n]


def _vjp_result(parts: _Primals, inner: Staged, outs: list, apply: Callable) -> tuple:
    names = [f"vjp: output{n} of `{parts.name}`".replace("output of", "the output of") for n in tree.paths(inner.out_structure)]

    @cutting
    def pullback(ct):
        """The cotangents of the primals, a tuple, from the cotangent of the output."""
        leaves, structure = tree.flatten(ct)
        if structure != inner.out_structure:
            raise DerivativeError(f"vjp: the cotangent is nested as {tree.describe(structure)}, the output of `{parts.name}` "
                                  f"as {tree.describe(inner.out_structure)}",
                                  "give one cotangent per output, in the same containers")
        cts: list = []
        for x, t, name in zip(leaves, inner.out_types, names):
            if is_float(t.dtype):
                check_derivative(x, t, name, "cotangent")
                cts.append(np.asarray(x, t.dtype) if isinstance(x, (bool, int, float)) else x)
            else:
                cts.append(None)
        found = apply(cts + [None] * (len(outs) - inner.num_outs))
        others = [None if t is None else no_gradient(t.shape) for t in parts.types]
        return tree.unflatten(parts.structure, parts.spread(found, others))

    result = inner.out(outs), pullback
    return (*result, inner.aux(outs)) if parts.has_aux else result


@cutting
def linearize(fun: Callable, *primals) -> tuple:
    """(fun(*primals), a function from tangents of the primals to the tangent of the output): the first is computed only once.

    >>> import jitnet
    >>> out, tangent_of = jitnet.linearize(lambda x: x * x, 3.0)
    >>> float(out), float(tangent_of(1.0)), float(tangent_of(0.5))
    (9.0, 6.0, 3.0)
    """
    parts = _Primals(fun, primals, "linearize", False)
    inner = parts.stage()
    n, m = len(parts.floats), len(inner.captured)
    both = jvp_graph(inner.graph, [True] * n + [False] * m, apart=True)
    known, linear, kept = split_graph(both, n + m, len(inner.out_types))
    values = _apply(known, [*parts.floats, *inner.captured])
    outs, residuals = values[:len(values) - kept], values[len(values) - kept:]

    @cutting
    def tangent_of(*tangents):
        """The tangent of the output, from tangents of the primals."""
        found = iter(_apply(linear, [*parts.check_tangents(tangents), *residuals]))
        return _out_derivatives(inner, [next(found) if is_float(t.dtype) else None for t in inner.out_types])

    return inner.out(outs), tangent_of


def split_graph(graph: Graph, num_known: int, num_outs: int) -> tuple[Graph, Graph, int]:
    """(the part that the first inputs suffice for, the rest, how many values pass from one to the other): a graph of num_known
    inputs and others, whose first num_outs outputs depend on the first inputs alone. The passed values are the last outputs of
    the one and the last inputs of the other."""
    later = set(graph.inputs[num_known:])
    first, second = [], []
    for eqn in graph.eqns:
        if any(a in later for a in eqn.inputs):
            second.append(eqn)
            later.update(eqn.outputs)
        else:
            first.append(eqn)
    known = {v for eqn in first for v in eqn.outputs} | set(graph.inputs[:num_known])
    linear = live(Graph(graph.inputs[num_known:], tuple(second), graph.outputs[num_outs:]))
    passed = tuple(dict.fromkeys(a for a in [*(a for eqn in linear.eqns for a in eqn.inputs), *linear.outputs] if a in known))
    start = Graph(graph.inputs[:num_known], tuple(first), (*graph.outputs[:num_outs], *passed), f"primal part of {graph.name}")
    return live(start), linear.replace(inputs=(*linear.inputs, *passed), name=f"tangent part of {graph.name}"), len(passed)
