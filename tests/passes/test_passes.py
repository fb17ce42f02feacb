"""All passes together: gradients keep their values, and the work grows with the number of equations alone."""
import sys

import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.errors import GraphError
from jitnet.ir import Eqn, eval_graph
from jitnet.passes import PASSES, run_passes
from jitnet.passes.dead_code import dead_code


def test_stages_and_provenance(graphs):
    graph = graphs.from_text("f32[3]", "x", "return multiply(add(x, x), f32(1.0)), argmax(x, axis=(0,))")
    stages = run_passes(graph)
    assert [name for name, _ in stages] == [p.__name__ for p in PASSES]
    assert stages[-1][1].provenance == ("trace", "expand", "simplify", "dead_code")[:len(stages[-1][1].provenance)]


def test_a_graph_with_nothing_to_do_is_not_copied(graphs):
    graph = graphs.from_text("f32[3], f32[3]", "x, y", "return tanh(add(x, y))")
    assert all(after is graph for _, after in run_passes(graph))


def test_broken_graphs_are_found(graphs, monkeypatch):
    """A pass that leaves an equation with a wrong type fails under JITNET_CHECK=1."""
    def broken(graph):
        (eqn,) = graph.eqns
        return graph.replace(eqns=(Eqn(ops.greater, eqn.inputs, {}, eqn.outputs),))

    graph = graphs.from_text("f32[3], f32[3]", "x, y", "return add(x, y)")
    monkeypatch.setattr("jitnet.passes.PASSES", (broken,))
    monkeypatch.setenv("JITNET_CHECK", "1")
    with pytest.raises(GraphError, match="greater: outputs are"):
        run_passes(graph)


def layers(n):
    """n layers of a network with everything that the rules look for."""
    def f(x, w):
        one = ops.broadcast_to(np.float32(1), shape=x.shape)
        for _ in range(n):
            h = ops.tanh(ops.matmul(x, w) * one)
            x = ops.negative(ops.negative(h)) + x ** 2 + ops.reshape(ops.reshape(x, shape=(64,)), shape=(8, 8))
            x = ops.where(ops.greater(x, 0), x, ops.exp(ops.matmul(h, w)))
        return x
    return f


def chain(n):
    """A chain in which every equation reads the one before twice: twice as many paths with every step."""
    def f(x, w):
        for k in range(n):
            x = ops.negative(x + x) if k % 2 else ops.slice(ops.concatenate(x, x, axis=0), start=(0, 0), size=(8, 8))
        return x + w
    return f


def calls(run, *args):
    """How many Python functions a call runs: work that does not depend on the machine."""
    count = 0

    def profile(frame, event, _):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        run(*args)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("program", [layers, chain])
def test_work_is_linear_in_the_equations(graphs, program):
    small, large = (graphs.build("f32[8,8], f32[8,8]", program(n)) for n in (50, 200))
    for transform in PASSES:
        transform(small)  # tables that are filled once
        work = [calls(transform, g) for g in (small, large)]
        assert work[1] <= 4.2 * work[0] + 100, transform.__name__
        small, large = transform(small), transform(large)


def test_depth_needs_no_stack(graphs):
    graph = graphs.build("f32[8,8], f32[8,8]", chain(3000))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        result = run_passes(graph)[-1][1]
    finally:
        sys.setrecursionlimit(limit)
    assert len(result.eqns) < len(graph.eqns)


def test_gradient_of_a_network(graphs, rng):
    def loss(w, v, x, y):
        h = np.tanh(x @ w)
        return ((h @ v - y) ** 2).mean()

    types = "f64[5,7], f64[7,3], f64[4,5], f64[4,3]"
    graph = graphs.build(types, lambda w, v, x, y: jitnet.grad(loss, argnums=(0, 1))(w, v, x, y))
    result = run_passes(graph)[-1][1]
    assert len(result.eqns) < len(graph.eqns)
    arrays = [rng.normal(size=v.type.shape) for v in graph.inputs]
    for found, expected in zip(eval_graph(result, *arrays), eval_graph(graph, *arrays)):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_checkpoint_computes_twice_and_gives_the_same(graphs, rng):
    def f(x):
        return np.exp(np.tanh(x)).sum()

    plain, twice = (graphs.build("f64[6]", lambda x, g=g: jitnet.grad(g)(x)) for g in (f, jitnet.checkpoint(f)))
    plain, twice = (dead_code(run_passes(g)[-1][1]) for g in (plain, twice))
    assert graphs.ops(plain).count("tanh") == 1
    x = rng.normal(size=6)
    np.testing.assert_array_equal(eval_graph(plain, x)[0], eval_graph(twice, x)[0])
    both = graphs.build("f64[6]", lambda x: jitnet.value_and_grad(jitnet.checkpoint(f))(x))
    final = run_passes(both)[-1][1]
    inner = [eqn.params["graph"] for eqn in final.eqns if eqn.op.name == "call"]
    assert graphs.ops(final).count("tanh") == 1 and sum(graphs.ops(g).count("tanh") for g in inner) == 1


def test_checkpoint_keeps_fewer_values_alive():
    def segment(h):
        return np.tanh(np.sin(np.tanh(np.sin(h) @ w) @ w) @ w)

    def loss(wrapped):
        def run(h):
            for _ in range(6):
                h = wrapped(segment)(h)
            return (h * h).sum()
        return jitnet.jit(jitnet.grad(run))

    w, h = np.eye(16), np.ones((500, 16))
    plain, saved = (loss(wrap).lower(h).program.arena_bytes for wrap in (lambda f: f, jitnet.checkpoint))
    assert saved < 0.7 * plain
