"""Every rule of simplify: the text before and after, and the same bits on NaN, infinities, both zeros and subnormal numbers."""
import numpy as np
import pytest

from jitnet.passes.dead_code import dead_code
from jitnet.passes.simplify import simplify
from jitnet.passes.simplify_elementwise import holds_all

X, XY = ("f32[6]", "x"), ("f32[6], f32[6]", "x, y")
I, IJ = ("i32[6]", "x"), ("i32[6], i32[6]", "x, y")
B, BC = ("b1[6]", "x"), ("b1[6], b1[6]", "x, y")
CXY, M = ("b1[6], f32[6], f32[6]", "c, x, y"), ("f32[4,6]", "x")


# (name of the rule, types and arguments, expression before, expression after; None: stays as it is)
RULES = [
    # products
    ("x * 1", X, "multiply(x, f32(1.0))", "x"),
    ("1 * x", X, "multiply(f32(1.0), x)", "x"),
    ("x * -1", X, "multiply(x, f32(-1.0))", "negative(x)"),
    ("x * 0 of floats", X, "multiply(x, f32(0.0))", None),
    ("x * 0 of integers", I, "multiply(x, i32(0))", "broadcast_to(i32(0), shape=(6,))"),
    ("x and True", B, "multiply(x, b1(True))", "x"),
    ("(-x) * (-y)", XY, "multiply(negative(x), negative(y))", "multiply(x, y)"),
    ("(-x) * c", X, "multiply(negative(x), f32(3.0))", "multiply(x, f32(-3.0))"),
    ("(-x) * y", XY, "multiply(negative(x), y)", None),
    ("(x * 3) * 5 of integers", I, "multiply(multiply(x, i32(3)), i32(5))", "multiply(x, i32(15))"),
    ("(x * 3) * 5 of integers wraps", ("i8[6]", "x"), "multiply(multiply(x, i8(100)), i8(3))", "multiply(x, i8(44))"),
    ("(x * 3) * 5 of floats", X, "multiply(multiply(x, f32(3.0)), f32(5.0))", None),
    # sums
    ("x + -0.0", X, "add(x, f32(-0.0))", "x"),
    ("x + 0.0", X, "add(x, f32(0.0))", None),
    ("x + 0 of integers", I, "add(x, i32(0))", "x"),
    ("x or False", B, "add(x, b1(False))", "x"),
    ("x or True", B, "add(x, b1(True))", "broadcast_to(b1(True), shape=(6,))"),
    ("x + (-y)", XY, "add(x, negative(y))", "subtract(x, y)"),
    ("(-x) + y", XY, "add(negative(x), y)", "subtract(y, x)"),
    ("(x + 3) + 5 of integers", I, "add(add(x, i32(3)), i32(5))", "add(x, i32(8))"),
    ("(x + 3) + 5 of floats", X, "add(add(x, f32(3.0)), f32(5.0))", None),
    ("x - 0.0", X, "subtract(x, f32(0.0))", "x"),
    ("x - -0.0", X, "subtract(x, f32(-0.0))", None),
    ("0.0 - x", X, "subtract(f32(0.0), x)", None),
    ("-0.0 - x", X, "subtract(f32(-0.0), x)", "negative(x)"),
    ("0 - x of integers", I, "subtract(i32(0), x)", "negative(x)"),
    ("0 - x of unsigned", ("u8[6]", "x"), "subtract(u8(0), x)", None),
    ("x - (-y)", XY, "subtract(x, negative(y))", "add(x, y)"),
    ("x - x", X, "subtract(x, x)", None),
    # quotients, signs
    ("x / 1", X, "divide(x, f32(1.0))", "x"),
    ("x / -1", X, "divide(x, f32(-1.0))", "negative(x)"),
    ("x / 64: a size", X, "divide(x, f32(64.0))", None),
    ("(-x) / (-y)", XY, "divide(negative(x), negative(y))", "divide(x, y)"),
    ("x / x", X, "divide(x, x)", None),
    ("--x", X, "negative(negative(x))", "x"),
    ("-(x * c)", X, "negative(multiply(x, f32(3.0)))", "multiply(x, f32(-3.0))"),
    ("-(x - y)", XY, "negative(subtract(x, y))", None),
    ("||x||", X, "abs(abs(x))", "abs(x)"),
    ("|-x|", X, "abs(negative(x))", "abs(x)"),
    ("|x| of unsigned", ("u8[6]", "x"), "abs(x)", "x"),
    ("floor(x) of integers", I, "floor(x)", "x"),
    ("floor(rint(x))", X, "floor(rint(x))", "rint(x)"),
    # powers
    ("x ** 0", X, "power(x, f32(0.0))", "broadcast_to(f32(1.0), shape=(6,))"),
    ("x ** 1", X, "power(x, f32(1.0))", "x"),
    ("x ** 2", X, "power(x, f32(2.0))", "multiply(x, x)"),
    ("x ** 2 of integers", I, "power(x, i32(2))", "multiply(x, x)"),
    ("x ** -1", X, "power(x, f32(-1.0))", "divide(f32(1.0), x)"),
    ("x ** 0.5", X, "power(x, f32(0.5))", "sqrt(x)"),
    ("x ** -0.5", X, "power(x, f32(-0.5))", None),
    # extremes
    ("max(x, x)", X, "maximum(x, x)", "x"),
    ("max(x, -inf)", X, "maximum(x, f32('-inf'))", "x"),
    ("min(x, inf)", X, "minimum(x, f32('inf'))", "x"),
    ("fmax(x, -inf): a number wins over NaN", X, "fmax(x, f32('-inf'))", None),
    ("max(x, smallest)", I, "maximum(x, i32(-2147483648))", "x"),
    # logic
    ("not not x", B, "logical_not(logical_not(x))", "x"),
    ("not not x of numbers", I, "logical_not(logical_not(x))", "cast(x, dtype=b1)"),
    ("~~x", I, "invert(invert(x))", "x"),
    ("not x == y", XY, "logical_not(equal(x, y))", "not_equal(x, y)"),
    ("not x != y", XY, "logical_not(not_equal(x, y))", "equal(x, y)"),
    ("not x < y: NaN", XY, "logical_not(less(x, y))", None),
    ("x and x", B, "logical_and(x, x)", "x"),
    ("x and True", B, "logical_and(x, b1(True))", "x"),
    ("x and False", B, "bitwise_and(x, b1(False))", "broadcast_to(b1(False), shape=(6,))"),
    ("x or True", B, "logical_or(b1(True), x)", "broadcast_to(b1(True), shape=(6,))"),
    ("x or False", B, "bitwise_or(x, b1(False))", "x"),
    ("x & x", I, "bitwise_and(x, x)", "x"),
    # choice
    ("where(True, x, y)", XY, "where(b1(True), x, y)", "x"),
    ("where(False, x, 1)", X, "where(b1(False), x, f32(1.0))", "broadcast_to(f32(1.0), shape=(6,))"),
    ("where(c, x, x)", CXY, "where(c, x, x)", "x"),
    ("where(not c, x, y)", CXY, "where(logical_not(c), x, y)", "where(c, y, x)"),
    ("where(c, where(c, x, 1), y)", CXY, "where(c, where(c, x, f32(1.0)), y)", "where(c, x, y)"),
    ("where(c, x, where(c, 1, y))", CXY, "where(c, x, where(c, f32(1.0), y))", "where(c, x, y)"),
    ("where(c, True, False)", B, "where(x, b1(True), b1(False))", "x"),
    ("where(c, False, True)", B, "where(x, b1(False), b1(True))", "logical_not(x)"),
    # dtypes
    ("cast to the same", X, "cast(x, dtype=f32)", "x"),
    ("f32 -> f64 -> f32", X, "cast(cast(x, dtype=f64), dtype=f32)", "x"),
    ("f64 -> f32 -> f64", ("f64[6]", "x"), "cast(cast(x, dtype=f32), dtype=f64)", None),
    ("i32 -> f64 -> f32", I, "cast(cast(x, dtype=f64), dtype=f32)", "cast(x, dtype=f32)"),
    ("i64 -> f64 -> f32", ("i64[6]", "x"), "cast(cast(x, dtype=f64), dtype=f32)", None),
    ("i32 -> f64 -> i64", I, "cast(cast(x, dtype=f64), dtype=i64)", "cast(x, dtype=i64)"),
    ("i32 -> f64 -> u8", ("i8[6]", "x"), "cast(cast(x, dtype=f64), dtype=u8)", None),
    ("i32 -> i64 -> i8", I, "cast(cast(x, dtype=i64), dtype=i8)", "cast(x, dtype=i8)"),
    ("i64 -> i32 -> i8", ("i64[6]", "x"), "cast(cast(x, dtype=i32), dtype=i8)", "cast(x, dtype=i8)"),
    ("i64 -> i32 -> i64", ("i64[6]", "x"), "cast(cast(x, dtype=i32), dtype=i64)", None),
    ("b1 -> f32 -> i64", B, "cast(cast(x, dtype=f32), dtype=i64)", "cast(x, dtype=i64)"),
    ("stop_gradient", X, "stop_gradient(x)", "x"),
    # movements
    ("reshape to the same", M, "reshape(x, shape=(4, 6))", "x"),
    ("reshape of reshape", M, "reshape(reshape(x, shape=(24,)), shape=(6, 4))", "reshape(x, shape=(6, 4))"),
    ("reshape there and back", M, "reshape(reshape(x, shape=(24,)), shape=(4, 6))", "x"),
    ("transpose that is none", M, "transpose(x, axes=(0, 1))", "x"),
    ("transpose of transpose", M, "transpose(transpose(x, axes=(1, 0)), axes=(1, 0))", "x"),
    ("transpose of transpose, three axes", ("f32[2,3,4]", "x"), "transpose(transpose(x, axes=(1, 2, 0)), axes=(1, 2, 0))",
     "transpose(x, axes=(2, 0, 1))"),
    ("broadcast to the same", M, "broadcast_to(x, shape=(4, 6))", "x"),
    ("broadcast of broadcast", X, "broadcast_to(broadcast_to(x, shape=(4, 6)), shape=(2, 4, 6))",
     "broadcast_to(x, shape=(2, 4, 6))"),
    ("reshape of a repeated value", ("f32[]", "x"), "reshape(broadcast_to(x, shape=(4, 6)), shape=(24,))",
     "broadcast_to(x, shape=(24,))"),
    ("transpose of a repeated value", ("f32[]", "x"), "transpose(broadcast_to(x, shape=(4, 6)), axes=(1, 0))",
     "broadcast_to(x, shape=(6, 4))"),
    ("slice of a repeated value", ("f32[]", "x"), "slice(broadcast_to(x, shape=(6,)), start=(1,), size=(3,), step=(2,))",
     "broadcast_to(x, shape=(3,))"),
    ("slice of all", M, "slice(x, start=(0, 0), size=(4, 6), step=(1, 1))", "x"),
    ("slice backwards", X, "slice(x, start=(5,), size=(6,), step=(-1,))", None),
    ("slice of slice", X, "slice(slice(x, start=(5,), size=(3,), step=(-2,)), start=(2,), size=(2,), step=(-1,))",
     "slice(x, start=(1,), size=(2,), step=(2,))"),
    ("backwards twice", X, "slice(slice(x, start=(5,), size=(6,), step=(-1,)), start=(5,), size=(6,), step=(-1,))", "x"),
    ("slice of pad", X, "slice(pad(x, f32(0.0), low=(2,), high=(1,)), start=(2,), size=(6,), step=(1,))", "x"),
    ("slice of pad, part", X, "slice(pad(x, f32(0.0), low=(2,), high=(1,)), start=(7,), size=(2,), step=(-3,))",
     "slice(x, start=(5,), size=(2,), step=(-3,))"),
    ("slice of pad, border too", X, "slice(pad(x, f32(0.0), low=(2,), high=(1,)), start=(1,), size=(3,), step=(1,))", None),
    ("slice of concatenate", XY, "slice(concatenate(x, y, axis=0), start=(6,), size=(6,), step=(1,))", "y"),
    ("slice of concatenate, part", XY, "slice(concatenate(x, y, axis=0), start=(9,), size=(2,), step=(-2,))",
     "slice(y, start=(3,), size=(2,), step=(-2,))"),
    ("slice of concatenate, of both", XY, "slice(concatenate(x, y, axis=0), start=(5,), size=(2,), step=(1,))", None),
    ("slice of update, the region", ("f32[6], f32[2]", "x, y"),
     "slice(update_slice(x, y, start=(1,), step=(3,)), start=(1,), size=(2,), step=(3,))", "y"),
    ("slice of update, outside", ("f32[6], f32[2]", "x, y"),
     "slice(update_slice(x, y, start=(1,), step=(1,)), start=(3,), size=(3,), step=(1,))",
     "slice(x, start=(3,), size=(3,), step=(1,))"),
    ("slice of update, within", ("f32[6], f32[4]", "x, y"),
     "slice(update_slice(x, y, start=(1,), step=(1,)), start=(2,), size=(2,), step=(1,))",
     "slice(y, start=(1,), size=(2,), step=(1,))"),
    ("slice of update, across", ("f32[6], f32[2]", "x, y"),
     "slice(update_slice(x, y, start=(1,), step=(1,)), start=(2,), size=(3,), step=(1,))", None),
    ("update of all", XY, "update_slice(x, y, start=(0,), step=(1,))", "y"),
    ("update twice", ("f32[6], f32[2], f32[2]", "x, y, z"),
     "update_slice(update_slice(x, y, start=(1,), step=(2,)), z, start=(1,), step=(2,))",
     "update_slice(x, z, start=(1,), step=(2,))"),
    ("update with what stands there", X, "update_slice(x, slice(x, start=(1,), size=(2,), step=(2,)), start=(1,), step=(2,))",
     "x"),
    ("update with nothing", ("f32[6], f32[0]", "x, y"), "update_slice(x, y, start=(2,), step=(1,))", "x"),
    ("product over nothing", ("f32[2,3,0], f32[0,4]", "x, y"), "matmul(x, y)", "broadcast_to(f32(0.0), shape=(2, 3, 4))"),
    ("pad by nothing", X, "pad(x, f32(0.0), low=(0,), high=(0,))", "x"),
    ("pad of pad", X, "pad(pad(x, f32(0.0), low=(1,), high=(2,)), f32(0.0), low=(3,), high=(0,))",
     "pad(x, f32(0.0), low=(4,), high=(2,))"),
    ("pad of pad, other zero", X, "pad(pad(x, f32(0.0), low=(1,), high=(2,)), f32(-0.0), low=(3,), high=(0,))", None),
    ("pad of a repeated value", ("f32[]", "x"), "pad(broadcast_to(x, shape=(6,)), x, low=(1,), high=(2,))",
     "broadcast_to(x, shape=(9,))"),
    ("slice of concatenate, behind both", XY, "slice(concatenate(x, y, axis=0), start=(12,), size=(0,), step=(1,))", None),
    ("concatenate nothing at all", ("f32[0], f32[0]", "x, y"), "concatenate(x, y, axis=0)", None),
    ("maximum of bools", ("b1[6]", "x"), "maximum(x, b1(False))", None),
    ("concatenate one", X, "concatenate(x, axis=0)", "x"),
    ("concatenate nothing too", ("f32[6], f32[0], f32[6]", "x, y, z"), "concatenate(x, y, z, axis=0)",
     "concatenate(x, z, axis=0)"),
    ("concatenate parts", X,
     "concatenate(slice(x, start=(1,), size=(2,), step=(1,)), slice(x, start=(3,), size=(3,), step=(1,)), axis=0)",
     "slice(x, start=(1,), size=(5,), step=(1,))"),
    ("concatenate other parts", X,
     "concatenate(slice(x, start=(1,), size=(2,), step=(1,)), slice(x, start=(4,), size=(2,), step=(1,)), axis=0)", None),
    ("concatenate a repeated value", ("f32[]", "x"),
     "concatenate(broadcast_to(x, shape=(2,)), broadcast_to(x, shape=(3,)), axis=0)",
     "broadcast_to(x, shape=(5,))"),
    # operands that are broadcast
    ("x + broadcast(y)", ("f32[4,6], f32[6]", "x, y"), "add(x, broadcast_to(y, shape=(4, 6)))", "add(x, y)"),
    ("x * broadcast(1)", M, "multiply(x, broadcast_to(f32(1.0), shape=(4, 6)))", "x"),
    ("sqrt(broadcast(x))", X, "sqrt(broadcast_to(x, shape=(4, 6)))", "broadcast_to(sqrt(x), shape=(4, 6))"),
    ("cast(broadcast(x))", X, "cast(broadcast_to(x, shape=(4, 6)), dtype=f64)",
     "broadcast_to(cast(x, dtype=f64), shape=(4, 6))"),
    ("column + row", ("f32[4,1], f32[6]", "x, y"), "add(broadcast_to(x, shape=(4, 6)), broadcast_to(y, shape=(4, 6)))",
     "add(x, y)"),
    ("broadcast(x) * 1", X, "multiply(broadcast_to(x, shape=(4, 6)), f32(1.0))", "broadcast_to(x, shape=(4, 6))"),
    ("an array of ones", X, "multiply(x, ones)", "x"),
    ("an array of both zeros", X, "add(x, zeros)", None),
    # reductions
    ("max over no axes", M, "max(x, axis=())", "x"),
    ("sum over no axes", M, "sum(x, axis=())", "add(x, f32(0.0))"),
    ("prod over no axes", M, "prod(x, axis=())", "x"),
    ("max of a repeated value", ("f32[]", "x"), "max(broadcast_to(x, shape=(4, 6)), axis=(0,))", "broadcast_to(x, shape=(6,))"),
    ("sum of a repeated value", ("f32[]", "x"), "sum(broadcast_to(x, shape=(4, 6)), axis=(0,))", None),
    ("sum over an axis of size 1", ("f32[4,1]", "x"), "sum(x, axis=(1,))", None),
]

ARRAYS = {"ones": np.ones(6, np.float32), "zeros": np.array([-0.0, 0.0, -0.0, -0.0, 0.0, -0.0], np.float32)}


@pytest.mark.parametrize(("types", "before", "after"), [r[1:] for r in RULES], ids=[r[0] for r in RULES])
def test_rule(graphs, types, before, after):
    graph = graphs.from_text(*types, f"return {before}", **ARRAYS)
    result = dead_code(simplify(graph))
    if after is None:
        assert graphs.body(result) == graphs.body(graph)
        assert simplify(graph) is graph
        return
    expected = graphs.from_text(*types, f"return {after}", **ARRAYS)
    assert graphs.body(result) == graphs.body(expected)
    assert result.output_types == graph.output_types
    graphs.same_meaning(graph, result)


@pytest.mark.parametrize(("before", "wrong"), [
    ("add(x, f32(0.0))", "x"), ("subtract(x, f32(-0.0))", "x"), ("subtract(f32(0.0), x)", "negative(x)"),
    ("subtract(x, x)", "multiply(x, f32(0.0))"), ("fmax(x, f32('-inf'))", "x"),
    ("multiply(x, f32(0.0))", "multiply(abs(x), f32(0.0))"), ("maximum(x, f32(0.0))", "fmax(x, f32(0.0))")])
def test_values_find_a_wrong_rule(graphs, before, wrong):
    """The special values tell these expressions apart, which are equal on ordinary numbers."""
    before, wrong = (graphs.from_text(*X, f"return {text}") for text in (before, wrong))
    with pytest.raises(AssertionError):
        graphs.same_meaning(before, wrong)


def test_a_transposed_product_is_made_in_place(graphs, rng):
    """That is the gradient of w in x @ w.T. The order of its sums is not NumPy's, as for every product."""
    types = "f32[8,4], f32[8,6]", "x, ct"
    graph = graphs.from_text(*types, "return transpose(matmul(transpose(x, axes=(1, 0)), ct), axes=(1, 0))")
    result = dead_code(simplify(graph))
    expected = graphs.from_text(*types, "return matmul(transpose(ct, axes=(1, 0)), x)")
    assert graphs.body(result) == graphs.body(expected)
    x, ct = rng.normal(size=(8, 4)).astype("f4"), rng.normal(size=(8, 6)).astype("f4")
    np.testing.assert_allclose(result(x, ct)[0], graph(x, ct)[0], rtol=1e-5, atol=1e-6)
    stacks = graphs.from_text("f32[2,4,5], f32[5,6]", "x, y", "return transpose(matmul(x, y), axes=(0, 2, 1))")
    assert graphs.ops(dead_code(simplify(stacks))) == ["transpose", "transpose", "matmul"]
    x, y = rng.normal(size=(2, 4, 5)).astype("f4"), rng.normal(size=(5, 6)).astype("f4")
    np.testing.assert_allclose(simplify(stacks)(x, y)[0], stacks(x, y)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("body", ["p = matmul(x, y)\n    return p, transpose(p, axes=(1, 0))",
                                  "p = matmul(x, y)\n    return add(p, p), transpose(p, axes=(1, 0))"])
def test_a_product_that_others_read_is_computed_once(graphs, body):
    graph = graphs.from_text("f32[4,5], f32[5,6]", "x, y", body)
    assert graphs.ops(dead_code(simplify(graph))).count("matmul") == 1


def test_cube_is_within_one_unit_in_the_last_place(graphs, rng):
    graph = graphs.from_text("f64[1000]", "x", "return power(x, f64(3.0))")
    result = simplify(graph)
    assert graphs.ops(result) == ["multiply", "multiply"]
    x = rng.normal(size=1000)
    np.testing.assert_array_max_ulp(result(x)[0], graph(x)[0], maxulp=1)


def test_several_rules_meet_in_one_equation(graphs):
    graphs.rewrites(lambda g: dead_code(simplify(g)), "f32[4,6], f32[6]", "x, w", """
        one = broadcast_to(f32(1.0), shape=(4, 6))
        a = multiply(negative(x), one)
        b = negative(broadcast_to(w, shape=(4, 6)))
        c = multiply(a, b)
        return add(c, negative(reshape(reshape(x, shape=(24,)), shape=(4, 6))))
    """, """
        a = multiply(x, w)
        b = subtract(a, x)
        return b
    """)


def test_inner_graphs_are_simplified(graphs):
    inner = graphs.from_text("f32[3], f32[3]", "c, x", "return add(multiply(c, f32(1.0)), negative(x))")
    graph = graphs.scan("f32[3], f32[5,3]", "c, xs", inner)
    result = simplify(graph)
    (eqn,) = result.eqns
    assert graphs.body(eqn.params["body"]) == "a = negative(x)\nb = subtract(c, x)\nreturn b"
    graphs.same_meaning(graph, result)


def test_sources_stay(graphs):
    graph = graphs.build("f32[3]", lambda x: (x * 1.0) ** 2)
    (eqn,) = simplify(graph).eqns
    assert eqn.source.text == graph.eqns[-1].source.text
    assert "(x * 1.0) ** 2" in eqn.source.text


def test_the_equations_do_not_depend_on_the_batch_size(graphs):
    """A batch of 64 or 65 rows has the same equations, sizes aside."""
    def rows(n):
        def f(x, w):
            y = (x - x.sum(axis=0) / n) * w
            return (y[1:] * y[:-1]).sum(axis=1)
        return graphs.build(f"f32[{n},8], f32[8]", f)

    a, b = (dead_code(simplify(rows(n))) for n in (64, 65))
    assert graphs.ops(a) == graphs.ops(b)
    assert [len(e.inputs) for e in a.eqns] == [len(e.inputs) for e in b.eqns]


@pytest.mark.parametrize(("wide", "narrow", "holds"), [
    ("f8", "i4", True), ("f8", "i8", False), ("f4", "i2", True), ("f4", "u2", True), ("f4", "i4", False), ("i8", "u4", True),
    ("u8", "i4", False), ("f8", "f4", True), ("f4", "f8", False), ("i4", "?", True), ("?", "i4", False), ("i4", "f4", False),
    ("i4", "i4", True)])
def test_which_dtype_holds_another(wide, narrow, holds):
    wide, narrow = np.dtype(wide), np.dtype(narrow)
    assert holds_all(wide, narrow) is holds
    if narrow.kind in "iu":  # the extremes and their neighbours survive exactly where it says so
        limits = np.iinfo(narrow)
        values = np.array([limits.min, limits.min + 1, limits.max - 1, limits.max], narrow)
        if wide != np.bool_:
            with np.errstate(all="ignore"):
                survives = [int(v.astype(wide)) == int(v) for v in values]
            assert all(survives) is holds


@pytest.mark.parametrize("ones", [np.ones(1), np.ones((1, 1)), np.ones(6)], ids=["one", "one twice", "all"])
def test_arrays_of_one_value_are_that_value(graphs, ones):
    graph = graphs.build("f32[1,6]", lambda x: x * ones.astype(np.float32))
    result = simplify(graph)
    assert result.outputs == result.inputs and graphs.ops(result) == []
