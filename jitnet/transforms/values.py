"""What the transforms share: flat functions as Graphs, zeros, live equations, and running a Graph outside any trace."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .. import tree
from ..errors import DerivativeError, TraceTypeError
from ..ir import Eqn, Graph, Var, eval_graph
from ..op_kinds import Control, Creation, Elementwise, Movement
from ..runtime.device import CPU
from ..symbols import SymFloat, SymInt
from ..text import a_type
from ..tracer import Trace, Tracer, check_output, current_trace, inline, trace
from ..types import ArrayType, is_float, promote, type_of_array

P = ParamSpec("P")  # for type checkers: a function's parameters
R = TypeVar("R")    # and what it returns
FLOAT0 = np.dtype([("float0", np.void, 0)])  # the dtype of "no gradient": an array of it has a shape and no data


def no_gradient(shape) -> np.ndarray:
    """An array of dtype float0: what stands for the derivative with respect to an integer or a bool."""
    return np.zeros(shape, FLOAT0)


def function_name(function) -> str:
    """The name a user knows the function by."""
    return getattr(function, "__name__", None) or type(function).__name__


# Leaves: arrays and numbers

def is_array(x) -> bool:
    """Whether a leaf is an array or a number, which a trace can hold."""
    return isinstance(x, (Tracer, bool, int, float, np.ndarray, np.generic)) or hasattr(x, "__jitnet_bind__")


def leaf_type(x, name: str) -> ArrayType:
    """The type of an array or number; TraceTypeError for anything else."""
    if isinstance(x, Tracer):
        return x.type
    if type(x) in (bool, int, float, SymInt, SymFloat):
        return ArrayType((), promote(x.__class__))
    if isinstance(x, (np.ndarray, np.generic)):
        return type_of_array(x, name)
    if hasattr(x, "__jitnet_bind__"):
        return ArrayType(tuple(x.shape), np.dtype(x.dtype))
    raise TraceTypeError(f"{name}: an argument is {a_type(x)}, not an array or a number",
                         "pass arrays, numbers, or tuples, lists, dicts and dataclasses of them")


def weak_class(x) -> type | None:
    """bool, int or float when the leaf is a Python scalar or a traced one, None for arrays."""
    if isinstance(x, Tracer):
        return x.weak
    return x.__class__ if type(x) in (bool, int, float, SymInt, SymFloat) else None


# Values of the current trace

def fresh(x, dtype=None) -> Tracer:
    """A strong Tracer of the current trace with the value of x."""
    here = current_trace()
    return Tracer(here, here.atom(x, dtype))


def fresh_all(xs: Sequence, types: Sequence[ArrayType]) -> list[Tracer]:
    """The values as strong tracers of these dtypes."""
    return [fresh(x, t.dtype) for x, t in zip(xs, types, strict=True)]


def zeros(type: ArrayType):
    """Zeros of a type."""
    from ..ops import full

    return full(type.shape, 0, type.dtype)


def or_zeros(x, type: ArrayType):
    """The value itself, or zeros of its type where a derivative is zero (None)."""
    return zeros(type) if x is None else x


def add_derivatives(a, b):
    """The sum of two derivatives, either of which may be zero (None)."""
    if a is None or b is None:
        return b if a is None else a
    from ..ops import add

    return add(a, b)


# Which equations have a derivative

def active_outputs(eqn: Eqn, active: Sequence[bool]) -> list[bool]:
    """Which outputs of an equation have a derivative with respect to the inputs marked active."""
    op = eqn.op
    if isinstance(op, Control):
        return op.active_outputs(active, eqn.params)
    if isinstance(op, Elementwise):
        differentiable = any(a and rule is not None for a, rule in zip(active, op.jvp_rule))
    else:
        differentiable = any(active) and (op.jvp_rule is not None or op.vjp_rule is not None)
    return [differentiable and is_float(v.type.dtype) for v in eqn.outputs]


def active_graph_outputs(graph: Graph, active: Sequence[bool]) -> list[bool]:
    """Which outputs of a graph depend differentiably on the inputs marked active."""
    known = {v for v, a in zip(graph.inputs, active, strict=True) if a}
    if known:
        for eqn in graph.eqns:
            flags = [a in known for a in eqn.inputs]
            if any(flags):
                known.update(v for v, a in zip(eqn.outputs, active_outputs(eqn, flags)) if a)
    return [a in known for a in graph.outputs]


def is_cheap(op) -> bool:
    """Whether computing an op again costs less than keeping its result: movements, creations and cheap elementwise ops."""
    return isinstance(op, (Movement, Creation)) or (isinstance(op, Elementwise) and op.cheap)


def live(graph: Graph) -> Graph:
    """The graph without the equations that no output needs."""
    needed = {a for a in graph.outputs if type(a) is Var}
    kept = []
    for eqn in reversed(graph.eqns):
        if any(v in needed for v in eqn.outputs):
            kept.append(eqn)
            needed.update(a for a in eqn.inputs if type(a) is Var)
    return graph.replace(eqns=tuple(reversed(kept)))


# Functions of containers as Graphs

def trace_flat(function: Callable[..., Sequence], types: Sequence[ArrayType], name: str) -> tuple[Graph, list[Tracer]]:
    """(Graph, captured tracers) of a function of values; without dead equations and what only they captured."""
    traced = trace(function, types, name)
    graph = live(traced.graph)
    used = {a for eqn in graph.eqns for a in eqn.inputs} | set(graph.outputs)
    n = len(types)
    kept = [(v, x) for v, x in zip(graph.inputs[n:], traced.captured) if v in used]
    return graph.replace(inputs=(*graph.inputs[:n], *(v for v, _ in kept))), [x for _, x in kept]


class Staged:
    """A user's function of containers as a Graph: `graph`, whose last inputs are `captured`, and the containers it returns."""

    def __init__(self, function: Callable, types: Sequence[ArrayType], structure: tuple, name: str, *,
                 weak: Sequence[type | None] = (), has_aux: bool = False, caller: str = "grad", own: bool = False,
                 once: bool = False):
        self.out_structure = self.aux_structure = None

        def flat(*tracers):
            if own:  # the function may write into its arguments: they are its own
                tracers = [Tracer(x.owner, x._atom, x.weak) for x in tracers]
            out = function(*tree.unflatten(structure, tracers))
            aux = []
            if has_aux:
                if not isinstance(out, tuple) or len(out) != 2:
                    raise TraceTypeError(f"{caller}: with has_aux=True, `{name}` must return a pair (output, aux), not "
                                         f"{a_type(out)}",
                                         "return `output, aux`, or leave has_aux out")
                out, aux_tree = out
                aux, self.aux_structure = tree.flatten(aux_tree)
            outs, self.out_structure = tree.flatten(out)
            self.num_outs = len(outs)
            self.weak = [weak_class(check_output(x, name)) for x in outs]
            return [*outs, *aux]

        traced = trace(flat, types, name, weak=weak, once=once)
        self.graph, self.captured = live(traced.graph), list(traced.captured)
        self.name = name

    @property
    def out_types(self) -> tuple[ArrayType, ...]:
        return self.graph.output_types[:self.num_outs]

    def out(self, values: Sequence):
        """The container that the function returns, with these leaves (the first ones)."""
        return tree.unflatten(self.out_structure, values[:self.num_outs])

    def aux(self, values: Sequence):
        """The auxiliary container (the last leaves)."""
        return tree.unflatten(self.aux_structure, values[self.num_outs:])


# Outside a trace

def run_graph(graph: Graph, arrays: Sequence) -> list:
    """The outputs of a graph on arrays, as fresh arrays that share no memory with the inputs; 0-d ones as NumPy scalars."""
    kinds = [type(a) for a in arrays if hasattr(a, "__jitnet_numpy__")]
    if kinds and any(getattr(a, "device", CPU) != CPU for a in arrays if hasattr(a, "__jitnet_numpy__")):
        from ..jit import jit

        return list(jit(lambda *xs: inline(graph, xs))(*arrays))   # on a GPU there are programs only
    plain = [a.__jitnet_numpy__() if hasattr(a, "__jitnet_numpy__") else np.asarray(a, v.type.dtype)
             for a, v in zip(arrays, graph.inputs)]
    outs = [np.array(out) if out.ndim else out[()] for out in eval_graph(live(graph), *plain)]
    if kinds:
        from ..runtime.array import asarray

        return [asarray(out) for out in outs]
    return outs


def staged(function: Callable, args: tuple, name: str) -> Any:
    """function(*args): written into the trace under way, or else traced and run on the arrays among the leaves of args."""
    if current_trace() is not None:
        return function(*args)
    leaves, structure = tree.flatten(args)
    places = [i for i, x in enumerate(leaves) if is_array(x)]
    out_structure, passed = None, {}
    with Trace(name, once=True) as t:
        traced = list(leaves)
        for i in places:
            traced[i] = t.input(leaf_type(leaves[i], name), weak=weak_class(leaves[i]))
        outs, out_structure = tree.flatten(function(*tree.unflatten(structure, traced)))
        passed = {i: x for i, x in enumerate(outs) if getattr(x, "dtype", None) == FLOAT0}
        atoms = [t.atom(check_output(x, name)) for i, x in enumerate(outs) if i not in passed]
        graph = t.graph(atoms)
    results = iter(run_graph(graph, [leaves[i] for i in places]))
    return tree.unflatten(out_structure, [passed[i] if i in passed else next(results) for i in range(len(outs))])


def check_float(types: Sequence[ArrayType], names: Sequence[str], caller: str) -> None:
    """DerivativeError for the first type that has no derivative."""
    for t, name in zip(types, names):
        if not is_float(t.dtype):
            raise DerivativeError(f"{caller}: argument {name} is {t}, and only floats have a derivative",
                                  "convert it with `astype(np.float64)`, or differentiate with respect to other arguments")
