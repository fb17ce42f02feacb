"""Compiled graphs against what they mean, and graphs cut down to what still fails.

    check_compiled(graph, arrays)            AssertionError where compiled code and `eval_graph` differ
    gradient_graph(graph)                    the gradient of a scalar made of a graph's float outputs
    derived_graphs(graph)                    that, the tangents of a graph, and a graph over a batch
    shrink(graph, arrays, fails)             a smaller graph, and arrays for it, that still fails
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from . import ops
from .compile import Compiled, compile_graph
from .ir import Const, Graph, Var, check_graph, definitions, eval_graph, subgraphs
from .runtime.device import CPU, Device
from .tracer import inline, trace
from .transforms import grad, jvp, vmap
from .types import BF16, F16, F32, F64, ArrayType, is_float, type_of_array

HALF = {F16: 2e-3, BF16: 1.6e-2}   # two units in the last place of the largest element
TOLERANCE = {**HALF, F32: 2e-4, F64: 1e-9}
LOOSE = {**HALF, F32: 2e-4, F64: 2e-4}


def check_compiled(graph: Graph, arrays: Sequence[np.ndarray], tolerance: dict | None = None, device: Device = CPU) -> Compiled:
    """The compiled graph, for a device; AssertionError where its outputs are not those of `eval_graph`.

    They must be equal, floats to within a tolerance times the largest element of the array.
    """
    compiled = compile_graph(check_graph(graph), device=device)
    for name, stage in compiled.stages:
        try:
            check_graph(stage)
        except Exception as error:
            raise AssertionError(f"the graph is not valid after {name}: {error}") from error
    with np.errstate(all="ignore"):
        wanted = eval_graph(graph, *arrays)
    found = compiled.run([a.copy() for a in arrays])
    if device.kind == "gpu":
        found = [out.host() for out in found]
    assert_agree(found, wanted, tolerance or (LOOSE if has_f32(graph) else TOLERANCE))
    return compiled


def graph_of(function: Callable, *arrays: np.ndarray) -> Graph:
    """The Graph of a function that returns one array-like or several, at arrays of these types."""
    def flat(*xs):
        out = function(*xs)
        return list(out) if isinstance(out, (tuple, list)) else [out]

    return trace(flat, [type_of_array(a) for a in arrays], "f").graph


def check_function(function: Callable, *arrays, tolerance: dict | None = None) -> Compiled:
    """`check_compiled` of the graph of a function at these arrays or numbers."""
    given = [np.asarray(a) for a in arrays]
    return check_compiled(graph_of(function, *given), given, tolerance)


def random_array(shape, dtype, seed: int = 0) -> np.ndarray:
    """Random values of a dtype: normally distributed floats, integers over their whole range."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if is_float(dtype):
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def has_f32(graph: Graph) -> bool:
    """Is there a float32 anywhere? Then float64 values may be as inexact."""
    return any(v.type.dtype == F32 for eqn in graph.eqns for v in (*eqn.inputs, *eqn.outputs)) or any(
        has_f32(inner) for eqn in graph.eqns for _, inner in subgraphs(eqn))


def assert_agree(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray], tolerance: dict) -> None:
    """None when the arrays agree in type and value; AssertionError that says where they do not."""
    assert len(found) == len(wanted)
    for k, (f, w) in enumerate(zip(found, wanted)):
        assert (f.dtype, f.shape) == (w.dtype, w.shape), f"output {k} is {f.dtype}{f.shape}, should be {w.dtype}{w.shape}"
        if is_float(w.dtype):
            finite = np.isfinite(w)
            scale = max(1.0, float(np.max(np.abs(w[finite]), initial=0)))
            with np.errstate(all="ignore"):
                good = np.where(finite, np.abs(f - w) <= tolerance[w.dtype] * scale, (f == w) | (np.isnan(f) & np.isnan(w)))
        else:
            good = f == w
        if not np.all(good):
            place = tuple(int(i) for i in np.argwhere(~good)[0])
            raise AssertionError(f"output {k} ({w.dtype}{w.shape}) differs at {np.count_nonzero(~good)} of {w.size} places, "
                                 f"first at {place}: {f[place]!r}, should be {w[place]!r}")


def gradient_graph(graph: Graph) -> Graph | None:
    """The gradient, with respect to the float inputs, of half the sum of squares of the float outputs; None without any."""
    places = [k for k, t in enumerate(graph.input_types) if is_float(t.dtype)]
    if not places or not any(is_float(t.dtype) for t in graph.output_types):
        return None

    def total(*xs):
        outs = [ops.cast(o, dtype=F64) for o in inline(graph, xs) if is_float(o.dtype)]
        sums = [ops.sum(o * o * np.asarray(0.5), axis=None) for o in outs]
        return sum(sums[1:], sums[0])

    return check_graph(trace(lambda *xs: list(grad(total, tuple(places))(*xs)), graph.input_types, "gradient").graph)


def derived_graphs(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """(name, graph) of what the transforms make of a graph: its gradient and its tangents if it has any, and three at once."""
    gradient = gradient_graph(graph)
    if gradient is not None:
        moving = [k for k, t in enumerate(graph.input_types) if is_float(t.dtype)]
        results = [k for k, t in enumerate(graph.output_types) if is_float(t.dtype)]

        def tangent(*xs):
            primals, directions = xs[:len(graph.inputs)], xs[len(graph.inputs):]

            def along(*ys):
                at = dict(zip(moving, ys))
                outs = inline(graph, [at.get(k, x) for k, x in enumerate(primals)])
                return [outs[k] for k in results]
            return list(jvp(along, [primals[k] for k in moving], list(directions))[1])

        yield "gradient", gradient
        types = [*graph.input_types, *(graph.input_types[k] for k in moving)]
        yield "tangent", check_graph(trace(tangent, types, "tangent").graph)
    if graph.inputs:
        types = [ArrayType((3, *t.shape), t.dtype) for t in graph.input_types]
        yield "batch", check_graph(trace(vmap(lambda *xs: list(inline(graph, xs))), types, "batch").graph)


def shrink(graph: Graph, arrays: Sequence[np.ndarray], fails: Callable[[Graph, Sequence[np.ndarray]], bool],
           ) -> tuple[Graph, list[np.ndarray]]:
    """A graph as small as can be found for which `fails` still holds, and arrays for it.

    Outputs are left out, equations are replaced by inputs that hold what they computed.
    """
    arrays = list(arrays)
    changed = True
    while changed:
        changed = False
        for k in range(len(graph.outputs)):
            if len(graph.outputs) > 1:
                less = graph.replace(outputs=graph.outputs[:k] + graph.outputs[k + 1:])
                if fails(*_live(less, arrays)):
                    graph, arrays, changed = *_live(less, arrays), True
                    break
        if changed:
            continue
        for eqn in reversed(graph.eqns):
            less, values = _live(*_without(graph, arrays, eqn))
            if less.eqns and len(less.eqns) < len(graph.eqns) and fails(less, values):
                graph, arrays, changed = less, values, True
                break
            inner = [v for v in eqn.inputs if type(v) is Var and v in definitions(graph)]
            if inner and any(o in graph.outputs for o in eqn.outputs):
                less, values = _live(graph.replace(outputs=tuple(inner)), arrays)
                if len(less.eqns) < len(graph.eqns) and fails(less, values):
                    graph, arrays, changed = less, values, True
                    break
    return graph, arrays


def _without(graph: Graph, arrays, eqn) -> tuple[Graph, list]:
    """The graph with the outputs of an equation among its inputs."""
    with np.errstate(all="ignore"):
        values = eval_graph(graph.replace(outputs=eqn.outputs), *arrays)
    eqns = tuple(e for e in graph.eqns if e is not eqn)
    return graph.replace(inputs=(*graph.inputs, *eqn.outputs), eqns=eqns), [*arrays, *values]


def _live(graph: Graph, arrays) -> tuple[Graph, list]:
    """The graph without what its outputs do not need."""
    needed, eqns = {a for a in graph.outputs if type(a) is not Const}, []
    for eqn in reversed(graph.eqns):
        if any(v in needed for v in eqn.outputs):
            eqns.append(eqn)
            needed.update(a for a in eqn.inputs if type(a) is Var)
    kept = [(v, a) for v, a in zip(graph.inputs, arrays) if v in needed]
    return graph.replace(inputs=tuple(v for v, _ in kept), eqns=tuple(reversed(eqns))), [a for _, a in kept]
