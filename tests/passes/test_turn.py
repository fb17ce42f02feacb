"""turn_reductions: pairwise reductions run along the second last axis, on operands stored transposed; others stay."""
import numpy as np
import pytest

from jitnet import ops
from jitnet.ir import check_graph, eval_graph
from jitnet.passes.turn import turn_reductions


def pair(x, y):
    """x[:, None, :], y[None, :, :]"""
    return ops.reshape(x, shape=(x.shape[0], 1, x.shape[1])), ops.reshape(y, shape=(1, *y.shape))


def squared_distances(x, y):
    a, b = pair(x, y)
    return ops.sum((a - b) * (a - b), axis=(2,))


def reductions(graph):
    """(name, axes) of the reductions in order."""
    return [(eqn.op.name, eqn.params["axis"]) for eqn in graph.eqns if eqn.op.kind == "reduction"]


def turned(graphs, types, function):
    graph = graphs.build(types, function)
    return graph, check_graph(turn_reductions(graph))


def assert_same(graph, result, rng):
    arrays = [rng.integers(-3, 4, v.type.shape).astype(v.type.dtype) for v in graph.inputs]   # sums without rounding
    for found, expected in zip(eval_graph(result, *arrays), eval_graph(graph, *arrays), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_distances_are_turned(graphs, rng):
    graph, result = turned(graphs, "f32[6,4], f32[5,4]", squared_distances)
    assert reductions(graph) == [("sum", (2,))]
    assert reductions(result) == [("sum", (1,))]
    assert_same(graph, result, rng)


def test_one_operand_is_stored_transposed(graphs):
    """The one whose rows the pairs run through: every row of the other uses it again."""
    _, result = turned(graphs, "f32[6,4], f32[5,4]", squared_distances)
    (eqn,) = (eqn for eqn in result.eqns if eqn.op.name == "stored")
    assert eqn.outputs[0].type.shape == (4, 5)


@pytest.mark.parametrize("reduce", [ops.max, ops.min, ops.prod], ids=lambda op: op.name)
def test_other_combinations_are_turned(graphs, rng, reduce):
    def function(x, y):
        a, b = pair(x, y)
        return reduce(ops.abs(a - b), axis=(2,))

    graph, result = turned(graphs, "f64[6,4], f64[5,4]", function)
    assert reductions(result) == [(reduce.name, (1,))]
    assert_same(graph, result, rng)


def test_what_else_reads_the_differences_keeps_them(graphs, rng):
    def function(x, y):
        a, b = pair(x, y)
        return [ops.sum(ops.abs(a - b), axis=(2,)), a - b]

    graph, result = turned(graphs, "f64[6,4], f64[5,4]", function)
    assert reductions(result) == [("sum", (1,))]
    assert_same(graph, result, rng)


def test_batches_of_pairs(graphs, rng):
    def function(x, y):
        a, b = ops.reshape(x, shape=(2, 6, 1, 4)), ops.reshape(y, shape=(1, 1, 5, 4))
        return ops.sum(ops.abs(a - b), axis=(3,))

    graph, result = turned(graphs, "f64[2,6,4], f64[5,4]", function)
    assert reductions(result) == [("sum", (2,))]
    assert_same(graph, result, rng)


@pytest.mark.parametrize(("types", "function"), [
    ("f32[6,4]", lambda x: ops.sum(x, axis=(1,))),                                                  # no pairs
    ("f32[6,5,4]", lambda x: ops.sum(ops.abs(x), axis=(2,))),                                       # nothing is used again
    ("f32[6,5,4], f32[5,4]", lambda x, y: ops.sum(x * y, axis=(2,))),                               # x has every axis
    ("f32[6,4], f32[5,4]", lambda x, y: ops.sum(ops.subtract(*pair(x, y)), axis=(1,))),             # not the last axis
    ("f32[6,4], f32[5,4]", lambda x, y: ops.sum(ops.subtract(*pair(x, y)), axis=(1, 2))),
    ("f32[6], f32[5,4]", lambda x, y: ops.sum(ops.reshape(x, shape=(6, 1, 1)) * y, axis=(2,))),     # x has no part in the sum
], ids=["rows", "elements", "all_axes", "middle", "two_axes", "scale"])
def test_what_stays(graphs, types, function):
    graph, result = turned(graphs, types, function)
    assert result is graph
