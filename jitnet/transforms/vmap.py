"""Batching: a Graph replayed with a leading batch axis on some values. Equations that none of them reaches stay as they are."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

from .. import tree
from ..errors import TraceTypeError, TraceValueError
from ..ir import Graph, Var
from ..op_kinds import Control
from ..tracebacks import cutting
from ..tracer import Tracer, current_trace, trace
from ..types import normalize_axis
from .values import P, R, Staged, fresh, function_name, leaf_type, live, staged


def batch_values(graph: Graph, args: Sequence, batched: Sequence[bool], size: int) -> tuple[list, list[bool]]:
    """(outputs, which of them are batched) of a graph applied to traced values; batched ones have the batch axis in front."""
    here = current_trace()
    outer = here.source
    env: dict[Var, Tracer] = dict(zip(graph.inputs, [fresh(x, v.type.dtype) for x, v in zip(args, graph.inputs)]))
    known = {v for v, b in zip(graph.inputs, batched, strict=True) if b}
    try:
        for eqn in graph.eqns:
            values = [env[a] if type(a) is Var else Tracer(here, a) for a in eqn.inputs]
            flags = [a in known for a in eqn.inputs]
            if True not in flags:
                outs = here.emit(eqn.op, [v._atom for v in values], eqn.params, eqn.source)
            else:
                here.source = eqn.source
                if isinstance(eqn.op, Control):
                    outs, out_flags = eqn.op.batch_some(size, values, flags, eqn.params)
                else:
                    outs = eqn.op.batch(size, values, flags, eqn.params)
                    out_flags = [True] * len(outs)
                known.update(v for v, b in zip(eqn.outputs, out_flags) if b)
                for out, var, b in zip(outs, eqn.outputs, out_flags, strict=True):
                    expected = (size, *var.type.shape) if b else var.type.shape
                    if out.shape != expected or out.dtype != var.type.dtype:
                        raise TraceTypeError(f"{eqn.op.name}: its batch rule gives {out.type} for an output of type "
                                             f"{var.type}, batch size {size}",
                                             "the rule must give every output with the batch axis in front")
            env.update(zip(eqn.outputs, outs))
    finally:
        here.source = outer
    outs = [env[a] if type(a) is Var else Tracer(here, a) for a in graph.outputs]
    return outs, [a in known for a in graph.outputs]


def spread(x, size: int):
    """x with a new leading batch axis along which it repeats."""
    from ..ops import broadcast_to

    return broadcast_to(x, shape=(size, *x.shape))


def move_axis(x, source: int, target: int):
    """x with one axis moved to another place."""
    from ..ops import transpose

    if source == target:
        return x
    axes = [i for i in range(x.ndim) if i != source]
    axes.insert(target, source)
    return transpose(x, axes=tuple(axes))


def batch_all(graph: Graph, args: Sequence, batched: Sequence[bool], size: int, wanted: Sequence[bool] | None = None) -> list:
    """The outputs of `batch_values`, those that are `wanted` batched (default: all) given a batch axis where they have none."""
    outs, flags = batch_values(graph, args, batched, size)
    wanted = [True] * len(outs) if wanted is None else wanted
    return [spread(x, size) if w and not b else x for x, b, w in zip(outs, flags, wanted)]


def batched_type(type, size: int):
    """The type of an array with a leading batch axis."""
    return type.with_shape((size, *type.shape))


def vmap_graph(graph: Graph, batched: Sequence[bool], size: int, wanted: Sequence[bool] | None = None) -> Graph:
    """The Graph on inputs with a leading batch axis where `batched` says so; the outputs `wanted` (default: all) have one."""
    types = [batched_type(t, size) if b else t for t, b in zip(graph.input_types, batched)]
    traced = trace(lambda *values: batch_all(graph, values, batched, size, wanted), types, f"vmap of {graph.name}")
    return live(traced.graph).replace(provenance=(*graph.provenance, "vmap"))


def batched_outputs(graph: Graph, batched: Sequence[bool], size: int) -> list[bool]:
    """Which outputs of a graph are batched when these inputs are."""
    flags: list[bool] = []

    def run(*values):
        outs, flags[:] = batch_values(graph, values, batched, size)
        return outs

    trace(run, [batched_type(t, size) if b else t for t, b in zip(graph.input_types, batched)], graph.name)
    return flags


# The function of the user

def vmap(fun: Callable[P, R], in_axes=0, out_axes=0) -> Callable[P, R]:
    """A function that applies `fun` to every slice of its arguments along an axis, and stacks the results.

    in_axes: the axis of each argument that is mapped over (None: the argument is the same for all); one for all arguments, a
    tuple with one per argument, or nested like the arguments. out_axes: where the new axis stands in each result. Keyword
    arguments are mapped over axis 0.

    >>> import numpy as np, jitnet
    >>> jitnet.vmap(lambda x, y: x @ y)(np.ones((3, 2)), np.ones((3, 2)))
    array([2., 2., 2.])
    """
    name = function_name(fun)
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)

    @cutting
    @wraps(fun, updated=())
    def mapped(*args, **kwargs):
        leaves, structure = tree.flatten((args, kwargs))
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise TraceValueError(f"vmap: in_axes has {len(in_axes)} entries, and `{name}` was given {len(args)} argument"
                                  f"{'' if len(args) == 1 else 's'}",
                                  "give in_axes one entry per argument, or one number for all")
        axes = spread_axes(in_axes, tree.structure(args), "in_axes") + [0] * tree.size(tree.structure(kwargs))
        places = [i for i, a in enumerate(axes) if a is not None]
        labels = [f"argument {n}" for part in (args, kwargs) for n in tree.paths(tree.structure(part))]
        axes, size = _batch_size(leaves, axes, labels, name)

        def compute(*arrays):
            every = list(leaves)
            for place, x in zip(places, arrays):
                every[place] = x
            return _map_leaves(fun, every, structure, axes, size, name, out_axes)

        return staged(compute, tuple(leaves[i] for i in places), f"vmap of {name}")
    return mapped


def _batch_size(leaves, axes, labels, name: str) -> tuple[list, int]:
    """The axes counted from the front, and the size that all mapped axes have."""
    sizes, counted = {}, []
    for x, axis, label in zip(leaves, axes, labels):
        if axis is not None:
            t = leaf_type(x, "vmap")
            if not t.ndim:
                raise TraceValueError(f"vmap: {label} of `{name}` is {t}, which has no axis to map over",
                                      "pass an array with a batch axis, or None in in_axes for this argument")
            axis = normalize_axis(axis, t.ndim, f"vmap: {label}")
            sizes.setdefault(t.shape[axis], label)
        counted.append(axis)
    if len(sizes) != 1:
        if not sizes:
            raise TraceValueError(f"vmap: no argument of `{name}` is mapped over",
                                  "give at least one argument an axis in in_axes")
        (n, a), (m, b) = list(sizes.items())[:2]
        raise TraceValueError(f"vmap: the mapped axes of `{name}` differ in size: {a} has {n}, {b} has {m}",
                              "map over axes of equal size, or pass None in in_axes for what is the same for all")
    return counted, next(iter(sizes))


def _map_leaves(fun, leaves, structure, axes, size: int, name: str, out_axes):
    """The results of mapping a function over some of its leaves, in the current trace."""
    places = [i for i, a in enumerate(axes) if a is not None]
    fronts = [move_axis(fresh(leaves[i]), axes[i], 0) for i in places]

    def one(*slices):
        every = list(leaves)
        for place, x in zip(places, slices):
            every[place] = x
        args, kwargs = tree.unflatten(structure, every)
        return fun(*args, **kwargs)

    inner = Staged(one, [x.type.with_shape(x.shape[1:]) for x in fronts], (tuple, (tree.LEAF,) * len(fronts)), name)
    values, batched = batch_values(inner.graph, [*fronts, *inner.captured],
                                   [True] * len(fronts) + [False] * len(inner.captured), size)
    results = []
    labels = tree.paths(inner.out_structure)
    for x, flag, axis, label in zip(values, batched, spread_axes(out_axes, inner.out_structure, "out_axes"), labels):
        if axis is None:
            if flag:
                place = f"output{label}" if label else "the output"
                raise TraceValueError(f"vmap: {place} of `{name}` depends on mapped arguments, and out_axes says None",
                                  "give this output an axis in out_axes")
            results.append(x)
        else:
            x = x if flag else spread(x, size)
            results.append(move_axis(x, 0, normalize_axis(axis, x.ndim, "vmap: out_axes")))
    return inner.out(results)


def spread_axes(axes, structure: tuple, what: str) -> list:
    """One axis (or None) per leaf of a structure, from axes nested like a prefix of it."""
    if axes is None or (isinstance(axes, int) and not isinstance(axes, bool)):
        return [axes] * tree.size(structure)
    kind = structure[0]
    if kind in ("leaf", "none"):
        if kind == "none":
            return []
        raise TraceTypeError(f"vmap: {what} holds {axes!r} where there is one array",
                             "use an int, None, or containers like the argument's")
    children = structure[-1]
    keys: Sequence = range(len(children))
    if kind in (tuple, list):
        fits = isinstance(axes, (tuple, list))
        parts = list(axes) if fits else []
    elif kind == "named" or kind == "dataclass":
        fits = type(axes) is structure[1]
        keys = structure[1]._fields if kind == "named" else structure[2]
        parts = [getattr(axes, k) for k in keys] if fits else []
    elif kind == "registered":
        fits = type(axes) is structure[1]
        parts = list(tree.registered_children(axes)) if fits else []
    else:
        fits = isinstance(axes, dict) and set(axes) == set(structure[1])
        parts = [axes[k] for k in structure[1]] if fits else []
    if not fits or len(parts) != len(children):
        raise TraceTypeError(f"vmap: {what} {axes!r} does not fit the container {tree.describe(structure)}",
                             "nest the axes like the container, or give one axis for all of it")
    return [axis for part, child in zip(parts, children) for axis in spread_axes(part, child, what)]
