"""expand: calls inlined, argmax and argmin of all dtypes, integer matrix products; what protects recomputation goes last."""
import numpy as np
import pytest

from jitnet import ops
from jitnet.ir import Graph, check_graph, eval_graph
from jitnet.ops.control import call, switch
from jitnet.passes import run_passes
from jitnet.passes.expand import expand, inline_calls
from jitnet.tracer import bind


def test_argmax_becomes_comparisons(graphs):
    graphs.rewrites(expand, "f32[3,4]", "x", "return argmax(x, axis=(1,))", """
        a = max(x, axis=(1,))
        b = reshape(a, shape=(3, 1))
        c = equal(x, b)
        d = not_equal(x, x)
        e = logical_or(c, d)
        g = iota(shape=(1, 4), axis=1, dtype=i32)
        h = where(e, g, i32(2147483647))
        i = min(h, axis=(1,))
        j = cast(i, dtype=i64)
        return j
    """)


@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64", "u8", "b1"])
@pytest.mark.parametrize(("shape", "axis"), [("7", 0), ("5,1", 1), ("3,4,2", 1), ("3,4,2", 0), ("0,3", 1)])
def test_first_extreme_of_ties_and_nan(graphs, op, dtype, shape, axis):
    graph = graphs.from_text(f"{dtype}[{shape}]", "x", f"return {op}(x, axis=({axis},))")
    result = check_graph(expand(graph))
    assert op not in graphs.ops(result)
    assert ("not_equal" in graphs.ops(result)) == dtype.startswith("f")  # only floats have a NaN
    graphs.same_meaning(graph, result)


def test_argmax_over_several_axes_is_a_row_major_position(graphs, rng):
    graph = graphs.from_text("f64[3,4,5]", "x", "return argmax(x, axis=(0, 2))")
    x = rng.integers(0, 5, (3, 4, 5)).astype(float)
    x[1, 2, 3] = np.nan
    (found,) = eval_graph(expand(graph), x)
    np.testing.assert_array_equal(found, np.argmax(x.transpose(1, 0, 2).reshape(4, 15), axis=1))


def test_argmax_does_not_depend_on_the_size(graphs):
    small, large = (graphs.body(expand(graphs.from_text(f"f32[{n},3]", "x", "return argmax(x, axis=(0,))"))) for n in (64, 65))
    assert small.replace("(64, 1)", "(65, 1)") == large


@pytest.mark.parametrize("dtype", ["b1", "i8", "u8", "i16", "i32", "u32", "i64", "u64"])
@pytest.mark.parametrize(("x", "y"), [("3,4", "4,5"), ("2,3,4", "4,5"), ("2,1,3,4", "5,4,2"), ("3,0", "0,2")])
def test_integer_matmul_wraps_as_numpy_does(graphs, dtype, x, y):
    graph = graphs.from_text(f"{dtype}[{x}], {dtype}[{y}]", "x, y", "return matmul(x, y)")
    result = check_graph(expand(graph))
    assert "matmul" not in graphs.ops(result)
    assert graphs.ops(result).count("cast") == (3 if dtype in ("i8", "u8", "i16") else 0)   # narrow ones alone are widened
    graphs.same_meaning(graph, result, draws=5)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_float_matmul_stays(graphs, dtype):
    graph = graphs.from_text(f"{dtype}[3,4], {dtype}[4,5]", "x, y", "return matmul(x, y)")
    assert expand(graph) is graph


def called(graph, kind, *operands):
    """The outputs of a call of a graph."""
    return bind(call, operands, {"graph": graph, "kind": kind, "rule": None})


def calling(graphs, kind):
    """A graph with two calls of one graph, one of which is inside the other one's Graph."""
    inner = graphs.from_text("f32[3], f32[3]", "a, b", "return add(a, b), multiply(a, b)")

    def middle(a, b):
        s, p = called(inner, "checkpoint", a, b)
        return called(inner, kind, s, p)[0]

    outer = graphs.build("f32[3], f32[3]", middle)
    return graphs.build("f32[3], f32[3]", lambda x, y: called(outer, "checkpoint", x, y)[0] * x)


def test_calls_in_calls_are_inlined(graphs):
    graph = calling(graphs, "checkpoint")
    result = check_graph(expand(graph))
    assert graphs.ops(result) == ["add", "multiply", "add", "multiply", "multiply"]
    graphs.same_meaning(graph, result)


def test_inlined_equations_keep_their_lines(graphs):
    """One that has none gets the line of the call."""
    body = graphs.build("f32[3]", lambda a: ops.exp(a) * a)
    first, second = body.eqns
    body = body.replace(eqns=(first, second.replace(source=None)))
    graph = graphs.build("f32[3]", lambda x: called(body, "checkpoint", x)[0])
    call_line = graph.eqns[0].source
    assert call_line != first.source
    assert [eqn.source for eqn in expand(graph).eqns] == [first.source, call_line]


def test_recomputation_stays_a_call(graphs):
    graph = calling(graphs, "recompute")
    result = check_graph(inline_calls(expand(graph)))
    assert graphs.ops(result) == ["add", "multiply", "call", "multiply"]
    graphs.same_meaning(graph, result)


def test_recomputed_equations_are_not_merged_with_the_first_ones(graphs):
    body = graphs.from_text("f32[3]", "a", "return exp(a)")
    graph = graphs.build("f32[3]", lambda x: [ops.exp(x), called(body, "recompute", x)[0]])
    result = run_passes(graph)[-1][1]
    assert graphs.ops(result) == ["exp", "call"]
    twice = graphs.build("f32[3]", lambda x: [ops.exp(x), called(body, "checkpoint", x)[0]])
    assert graphs.ops(run_passes(twice)[-1][1]) == ["exp"]


@pytest.mark.parametrize(("index", "taken"), [(0, "negative"), (1, "exp"), (-5, "negative"), (9, "exp")])
def test_branch_of_a_constant_index(graphs, index, taken):
    branches = tuple(graphs.from_text("f32[3]", "a", f"return {name}(a)") for name in ("negative", "exp"))
    graph = graphs.build("f32[3]", lambda x: bind(switch, [np.int64(index), x], {"branches": branches})[0])
    result = check_graph(expand(graph))
    assert graphs.ops(result) == [taken]
    graphs.same_meaning(graph, result)


def test_branch_of_an_index_that_folding_finds(graphs):
    branches = tuple(graphs.from_text("f32[3]", "a", f"return {name}(a)") for name in ("negative", "exp"))
    text = "a, = switch(cast(b1(True), dtype=i64), x, branches=branches)\nreturn a"
    graph = graphs.from_text("f32[3]", "x", text, branches=branches)
    assert graphs.ops(run_passes(graph)[-1][1]) == ["exp"]


def test_graphs_inside_loops_are_expanded_once_each(graphs):
    body = graphs.from_text("i64[], f32[4]", "c, x", "return add(c, argmin(x, axis=(0,)))")
    graph = graphs.from_text("i64[], f32[5,4]", "c, xs", """
        a, = scan(c, xs, body=body, num_consts=0, num_carry=1, length=5, reverse=False)
        b, = scan(a, xs, body=body, num_consts=0, num_carry=1, length=5, reverse=True)
        return b
    """, body=body)
    result = check_graph(expand(graph))
    first, second = (eqn.params["body"] for eqn in result.eqns)
    assert isinstance(first, Graph)
    assert first is second
    assert "argmin" not in graphs.ops(first)
    graphs.same_meaning(graph, result)


def test_sources_are_those_of_the_equation_expanded(graphs):
    graph = graphs.build("f32[3,4]", lambda x: ops.argmax(x, axis=1))
    lines = {eqn.source.text for eqn in expand(graph).eqns}
    assert lines == {graph.eqns[0].source.text}
