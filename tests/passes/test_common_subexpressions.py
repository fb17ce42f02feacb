"""common_subexpressions: what counts as the same equation, and what does not."""
import numpy as np
import pytest

from jitnet.passes.common_subexpressions import _Keys, common_subexpressions

ONES, AGAIN, OTHER = np.ones(4, np.float32), np.ones(4, np.float32), np.array([1, 1, 1, 2], np.float32)

# (name, first expression, second expression, are they the same)
PAIRS = [
    ("equal", "exp(x)", "exp(x)", True),
    ("another operand", "exp(x)", "exp(y)", False),
    ("another op", "exp(x)", "expm1(x)", False),
    ("a sum in another order", "add(x, y)", "add(y, x)", True),
    ("a product in another order", "multiply(x, y)", "multiply(y, x)", True),
    ("a difference in another order", "subtract(x, y)", "subtract(y, x)", False),
    ("equality in another order", "equal(x, y)", "equal(y, x)", True),
    ("max of floats in another order", "maximum(x, y)", "maximum(y, x)", False),
    ("max of integers in another order", "maximum(i, j)", "maximum(j, i)", True),
    ("same parameters", "sum(x, axis=(0,))", "sum(x, axis=(0,))", True),
    ("other parameters", "broadcast_to(x, shape=(2, 4))", "broadcast_to(x, shape=(3, 4))", False),
    ("same constant", "add(x, f32(1.0))", "add(f32(1.0), x)", True),
    ("zeros of two signs", "add(x, f32(0.0))", "add(x, f32(-0.0))", False),
    ("constants of two dtypes", "cast(f32(1.0), dtype=f64)", "cast(f64(1.0), dtype=f64)", False),
    ("NaN", "add(x, f32('nan'))", "add(x, f32('nan'))", True),
    ("arrays of equal bits", "add(x, ones)", "add(x, again)", True),
    ("arrays of other bits", "add(x, ones)", "add(x, other)", False),
    ("positions", "iota(shape=(4,), axis=0, dtype=f32)", "iota(shape=(4,), axis=0, dtype=f32)", True),
    ("chains", "exp(negative(tanh(x)))", "exp(negative(tanh(x)))", True),
]


@pytest.mark.parametrize(("first", "second", "same"), [p[1:] for p in PAIRS], ids=[p[0] for p in PAIRS])
def test_pair(graphs, first, second, same):
    types, arrays = "f32[4], f32[4], i32[4], i32[4]", {"ones": ONES, "again": AGAIN, "other": OTHER}
    graph = graphs.from_text(types, "x, y, i, j", f"return {first}, {second}", **arrays)
    result = common_subexpressions(graph)
    assert (result.outputs[0] is result.outputs[1]) is same
    assert len(result.eqns) == len(graph.eqns) // (2 if same else 1)
    if not same and len({id(a) for e in graph.eqns for a in e.inputs}) > 1:
        assert result is graph
    graphs.same_meaning(graph, result)


def test_equal_arrays_become_one(graphs):
    graph = graphs.from_text("f32[4]", "x", "return add(x, ones), multiply(x, again)", ones=ONES, again=AGAIN)
    result = common_subexpressions(graph)
    assert result.eqns[0].inputs[1] is result.eqns[1].inputs[1]
    graphs.same_meaning(graph, result)


def scans(graphs, first, second):
    """Two scans over the same operands with bodies of these texts."""
    one, two = (graphs.from_text("f32[3], f32[3]", "c, x", f"return {text}") for text in (first, second))
    options = "num_consts=0, num_carry=1, length=5, reverse=False"
    return graphs.from_text("f32[3], f32[5,3]", "c, xs", f"""
        a, = scan(c, xs, body=one, {options})
        b, = scan(c, xs, body=two, {options})
        return a, b
    """, one=one, two=two)


def test_loops_of_equal_structure_are_one(graphs):
    graph = scans(graphs, "add(multiply(c, x), f32(0.5))", "add(f32(0.5), multiply(c, x))")
    assert len(common_subexpressions(graph).eqns) == 2  # inside a Graph the order of operands counts
    graph = scans(graphs, "add(multiply(c, x), f32(0.5))", "add(multiply(c, x), f32(0.5))")
    result = common_subexpressions(graph)
    assert len(result.eqns) == 1
    graphs.same_meaning(graph, result)


@pytest.mark.parametrize("other", [
    "add(multiply(c, x), f32(0.25))", "add(multiply(x, x), f32(0.5))", "multiply(add(c, x), f32(0.5))"])
def test_loops_of_other_structure_are_two(graphs, other):
    graph = scans(graphs, "add(multiply(c, x), f32(0.5))", other)
    assert common_subexpressions(graph) is graph


def test_inside_loops(graphs):
    body = graphs.from_text("f32[3], f32[3]", "c, x", "return multiply(add(c, x), exp(add(c, x)))")
    graph = graphs.scan("f32[3], f32[5,3]", "c, xs", body)
    result = common_subexpressions(graph)
    assert graphs.body(result.eqns[0].params["body"]) == "a = add(c, x)\nb = exp(a)\nd = multiply(a, b)\nreturn d"
    graphs.same_meaning(graph, result)


def test_recomputations_are_kept_apart(graphs):
    body = graphs.from_text("f32[3]", "a", "return exp(a)")
    graph = graphs.from_text("f32[3]", "x", """
        a, = call(x, graph=body, kind='recompute', rule=None)
        b, = call(x, graph=body, kind='recompute', rule=None)
        return a, b
    """, body=body)
    assert common_subexpressions(graph) is graph


def test_static_numbers_are_told_apart_by_their_bits():
    keys = _Keys()
    for one, other in [(0.0, -0.0), (1, True), (1.0, 1), (np.float32(1), 1.0)]:
        assert keys.params({"p": one}) != keys.params({"p": other})
    assert keys.params({"p": float("nan")}) == keys.params({"p": float("nan")})
