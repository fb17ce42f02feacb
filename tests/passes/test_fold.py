"""fold: what is computed when a function is compiled, and what stays for the run."""
import warnings

import numpy as np
import pytest

from jitnet.passes.fold import MAX_SIZE, fold


def test_chain_of_scalars(graphs):
    graphs.rewrites(fold, "f32[3]", "x", """
        a = add(f32(1.5), f32(2.0))
        b = cast(sqrt(multiply(a, f32(2.0))), dtype=f64)
        return multiply(x, cast(b, dtype=f32))
    """, """
        a = multiply(x, f32(2.6457512))
        return a
    """)


def test_small_arrays(graphs):
    _, result = graphs.rewrites(fold, "f32[2]", "x", """
        return multiply(x, sum(transpose(table, axes=(1, 0)), axis=(0,)))
    """, """
        a = multiply(x, const_0)
        return a
    """, table=np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(result.eqns[0].inputs[1].value, [3, 12])


def test_output_may_be_a_constant(graphs):
    graph = graphs.from_text("f32[3]", "x", "return add(f32(1.0), f32(2.0)), x")
    result = fold(graph)
    assert not result.eqns
    graphs.same_meaning(graph, result)


@pytest.mark.parametrize("expression", [
    "iota(shape=(5,), axis=0, dtype=f32)", "broadcast_to(f32(1.0), shape=(5,))", "add(large, f32(1.0))",
    "pad(small, f32(0.0), low=(2000,), high=(0,))", "power(i32(2), i32(-1))", "gather(small, nine, axes=(0,), along=None)"])
def test_what_stays(graphs, expression):
    """Values made of a shape alone, large arrays, and what raises when it runs: then it is the run that has to raise."""
    large = np.arange(MAX_SIZE + 1, dtype=np.float32)
    graph = graphs.from_text("f32[3]", "x", f"return {expression}, x", large=large, small=large[:5], nine=np.array([9]))
    assert fold(graph) is graph


def test_no_warnings(graphs):
    graph = graphs.from_text("f32[3]", "x", """
        a, b = divide(f32(1.0), f32(0.0)), log(f32(-1.0))
        return a, b, multiply(f32(3e38), f32(10.0)), floor_divide(i32(1), i32(0))
    """)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fold(graph)
    assert not result.eqns
    values = [a.value[()] for a in result.outputs]
    assert values[0] == values[2] == np.inf
    assert np.isnan(values[1])
    assert values[3] == 0


def test_inner_graphs(graphs):
    inner = graphs.from_text("f32[3], f32[3]", "c, x", "return add(c, multiply(x, exp(f32(0.0))))")
    graph = graphs.scan("f32[3], f32[5,3]", "c, xs", inner)
    result = fold(graph)
    assert graphs.body(result.eqns[0].params["body"]) == "a = multiply(x, f32(1))\nb = add(c, a)\nreturn b"
    graphs.same_meaning(graph, result)
