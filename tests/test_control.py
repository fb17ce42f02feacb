"""Control flow: values against Python loops, derivatives against differences, batching, carried types, what is kept for the
derivative.
"""
import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.ir import check_graph
from jitnet.testing import check_grads
from jitnet.tracer import trace
from jitnet.types import ArrayType

F64 = np.dtype(np.float64)
X = np.array([0.3, -0.4, 0.5])


def graph_of(f, *arrays):
    return check_graph(trace(lambda *xs: jitnet.tree.leaves(f(*xs)),
                             [ArrayType(np.shape(a), np.asarray(a).dtype) for a in arrays], "t").graph)


def equations(graph, name):
    return [eqn for eqn in graph.eqns if eqn.op.name == name]


# Branches

def test_cond_takes_one_branch():
    f = lambda x: jitnet.cond(x.sum() > 0, lambda x, y: {"a": x * y}, lambda x, y: {"a": x - y}, x, 2.0)
    np.testing.assert_array_equal(f(X)["a"], X * 2)
    np.testing.assert_array_equal(f(-X)["a"], -X - 2)
    np.testing.assert_array_equal(jitnet.jit(f)(-X)["a"], -X - 2)
    assert len(equations(graph_of(f, X), "switch")) == 1


def test_cond_on_a_python_bool_leaves_no_switch():
    graph = graph_of(lambda x: jitnet.cond(True, np.sin, np.cos, x), X)
    assert [eqn.op.name for eqn in graph.eqns] == ["sin"]
    assert jitnet.cond(np.bool_(False), lambda: 1.0, lambda: 2.0) == 2


def test_cond_predicates_that_are_numbers():
    f = jitnet.jit(lambda p, x: jitnet.cond(p, lambda x: x, lambda x: -x, x))
    assert f(np.float64(0.5), 3.0) == 3 and f(np.float64(0.0), 3.0) == -3 and f(np.int32(2), 3.0) == 3


def test_switch_clamps_its_index():
    branches = [lambda x: x, lambda x: x * x, lambda x: x * 0 + 7]
    f = jitnet.jit(lambda i, x: jitnet.switch(i, branches, x))
    for i in (-5, 0, 1, 2, 9):
        expected = branches[min(max(i, 0), 2)](3.0)
        assert f(np.int64(i), 3.0) == expected and jitnet.switch(i, branches, 3.0) == expected and f(np.int32(i),
                                                                                                     3.0) == expected


def test_python_numbers_take_the_dtype_of_the_other_branch():
    x = np.float32(2)
    out = jitnet.jit(lambda x: jitnet.cond(x > 0, lambda x: x, lambda x: 0, x))(x)
    assert out.dtype == np.float32
    assert jitnet.jit(lambda x: jitnet.cond(x > 3, lambda: 1, lambda: 0.5))(x) == 0.5


def test_closures_of_branches_become_operands():
    def f(x, y, z):
        return jitnet.cond(x.sum() > 0, lambda: x * y, lambda: x - z)

    (eqn,) = equations(graph_of(f, X, X, X), "switch")
    assert len(eqn.inputs) == 4 and all(len(g.inputs) == 3 for g in eqn.params["branches"])
    for sign in (1, -1):
        check_grads(lambda x, y, z, sign=sign: f(sign * x, y, z), (X, X + 1, X + 2), order=2)


def test_residuals_of_branches_share_their_slots():
    f = lambda x: jitnet.cond(x.sum() > 0, lambda x: np.exp(np.sin(np.exp(x))), lambda x: np.tanh(np.cos(x)), x).sum()
    first, _ = equations(graph_of(jitnet.grad(f), X), "switch")
    assert len(first.outputs) - 1 <= 3  # the output, and no more slots than one branch needs
    check_grads(f, (X,), order=2)
    check_grads(f, (-X,), order=2)


def test_vmap_of_branches():
    f = lambda p, x: jitnet.cond(p, lambda x: np.exp(x), lambda x: -x, x)
    p, x = np.array([True, False, True]), np.stack([X, X + 1, X + 2])
    expected = np.stack([np.exp(x[0]), -x[1], np.exp(x[2])])
    np.testing.assert_array_equal(jitnet.vmap(f)(p, x), expected)
    np.testing.assert_array_equal(jitnet.vmap(f, (0, None))(p, X), [np.exp(X), -X, np.exp(X)])
    np.testing.assert_array_equal(jitnet.vmap(f, (None, 0))(np.True_, x), np.exp(x))
    traced = jitnet.jit(lambda p, x: jitnet.vmap(f, (None, 0))(p, x))
    np.testing.assert_allclose(traced(np.False_, x), -x)
    index = np.array([-1, 1, 5])
    found = jitnet.vmap(lambda i, x: jitnet.switch(i, [lambda x: x, lambda x: x * 2, lambda x: 1.0], x))(index, np.ones(3) * 3)
    np.testing.assert_array_equal(found, [3, 6, 1])
    check_grads(lambda x: jitnet.vmap(f)(p, x), (x,), order=2)


# Scan

def test_scan_of_containers():
    def step(carry, x):
        h = np.tanh(carry["h"] * x["a"] + x["b"])
        return {"h": h, "n": carry["n"] + 1}, (h.sum(), {"x": x["b"] * 2})

    xs = {"a": np.linspace(0, 1, 4), "b": np.arange(12.0).reshape(4, 3)}
    carry, (sums, rest) = jitnet.scan(step, {"h": X, "n": 0}, xs)
    h, expected = X, []
    for a, b in zip(xs["a"], xs["b"]):
        h = np.tanh(h * a + b)
        expected.append(h.sum())
    np.testing.assert_allclose(carry["h"], h)
    np.testing.assert_allclose(sums, expected)
    np.testing.assert_array_equal(rest["x"], xs["b"] * 2)
    assert carry["n"] == 4 and carry["n"].dtype == np.int64
    inside = jitnet.jit(lambda h, xs: jitnet.scan(step, {"h": h, "n": 0}, xs))(X, xs)
    np.testing.assert_allclose(inside[0]["h"], h)
    np.testing.assert_allclose(inside[1][0], expected)


def test_scan_reversed_and_without_xs():
    carry, ys = jitnet.scan(lambda c, x: (c * 2 + x, c), 0.0, np.array([1.0, 2.0, 3.0]), reverse=True)
    assert carry == (3 * 2 + 2) * 2 + 1
    np.testing.assert_array_equal(ys, [8, 3, 0])
    carry, ys = jitnet.scan(lambda c, _: (c * 2, c), 1, None, length=5)
    assert carry == 32
    np.testing.assert_array_equal(ys, [1, 2, 4, 8, 16])
    carry, ys = jitnet.scan(lambda c, x: (c, x), 1.5, np.zeros((0, 3)))
    assert carry == 1.5 and ys.shape == (0, 3)


def recurrent(w, h, xs, reverse=False):
    def step(h, x):
        h = np.tanh(ops.reshape(ops.matmul(ops.reshape(h, shape=(1, 3)), np.exp(w) * 0.2), shape=(3,)) + x)
        return h, (h * h).sum()

    h, ys = jitnet.scan(step, h, xs, reverse=reverse)
    return h.sum() + (ys * ys).sum()


@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_of_a_recurrent_network(rng, reverse):
    w, xs = rng.normal(size=(3, 3)), rng.normal(size=(4, 3))
    f = lambda w, h, xs: recurrent(w, h, xs, reverse)
    check_grads(f, (w, X, xs), order=2)
    np.testing.assert_allclose(jitnet.jit(jitnet.grad(f))(w, X, xs), jitnet.grad(f)(w, X, xs), rtol=1e-10)
    batch = jitnet.vmap(jitnet.grad(f), (0, None, 0))(np.stack([w, -w]), X, np.stack([xs, 2 * xs]))
    np.testing.assert_allclose(batch, [jitnet.grad(f)(w, X, xs), jitnet.grad(f)(-w, X, 2 * xs)], rtol=1e-10)


def test_what_is_kept_for_the_derivative(rng):
    w, xs = rng.normal(size=(3, 3)), rng.normal(size=(4, 3))
    graph = graph_of(jitnet.grad(recurrent), w, X, xs)
    forward, _ = equations(graph, "scan")
    stacked = [v.type.size for v in forward.outputs[forward.params["num_carry"]:]]
    # y, the h that goes in and the h that comes out: neither exp(w), which the loop does not change, nor x, which is there
    assert sorted(stacked) == [4, 12, 12]
    assert not equations(forward.params["body"], "exp") and len(equations(graph, "exp")) == 1


def test_expensive_invariants_leave_the_loop():
    graph = graph_of(lambda w, x: jitnet.scan(lambda c, _: (c * np.exp(w).sum() + w, None), x, None, 3)[0], X, X)
    assert [eqn.op.name for eqn in graph.eqns] == ["exp", "sum", "scan"]


def test_scan_with_parts_that_carry_no_gradient():
    def f(x):
        def step(carry, k):
            x, n, frozen = carry
            return (x * frozen + k, n + 1, np.floor(frozen)), x * n

        (x, n, _), ys = jitnet.scan(step, (x, 0, 2.5), np.arange(3.0))
        return x * n + ys.sum()

    check_grads(f, (0.7,), order=2)


def test_vmap_of_scan_batches_only_what_it_must():
    f = lambda c, x: jitnet.scan(lambda c, x: ((c[0] + x, c[1] * 2), c[1]), (c, 1.0), x)
    graph = graph_of(jitnet.vmap(f, (0, None)), np.ones(5), np.ones(4))
    (scan,) = equations(graph, "scan")
    assert [v.type.shape for v in scan.outputs] == [(5,), (), (4,)]
    (total, _), ys = jitnet.vmap(f, (0, None))(np.arange(5.0), np.ones(4))
    np.testing.assert_array_equal(total, np.arange(5.0) + 4)
    np.testing.assert_array_equal(ys, np.tile([1, 2, 4, 8], (5, 1)))


def test_nested_scans():
    def f(x):
        def outer(c, row):
            c, ys = jitnet.scan(lambda c, e: (np.sin(c) + e * x, c * e), c, row)
            return c, ys.sum()
        return jitnet.scan(outer, x, np.arange(6.0).reshape(2, 3) / 5)

    check_grads(f, (0.4,), order=2)
    np.testing.assert_allclose(jitnet.vmap(jitnet.grad(lambda x: f(x)[0]))(np.array([0.4, 0.5])),
                               [jitnet.grad(lambda x: f(x)[0])(v) for v in (0.4, 0.5)])


def test_carries_may_be_written_to():
    def squares(x):
        def body(i, out):
            out[i] = x[i] ** 2
            return out
        return jitnet.fori_loop(0, 3, body, np.zeros(3))

    np.testing.assert_array_equal(jitnet.jit(squares)(X), X**2)
    check_grads(jitnet.jit(squares), (X,), order=2)


def test_weak_initial_values_take_the_dtype_that_comes_out():
    xs = np.ones(3, np.float32)
    total, _ = jitnet.scan(lambda c, x: (c + x, None), 0, xs)
    assert total.dtype == np.float32 and total == 3
    kept, _ = jitnet.scan(lambda c, x: (0.5, None), np.float32(1), xs)
    assert kept.dtype == np.float32
    assert jitnet.fori_loop(0, 3, lambda i, c: c * i + np.float32(1), 1.0).dtype == np.float32


def test_map():
    np.testing.assert_array_equal(jitnet.map(lambda x: x["a"] * 2, {"a": np.arange(3.0)}), [0, 2, 4])
    check_grads(lambda x: jitnet.map(np.sin, x), (X,), order=2)


# Loops

def test_fori_loop_with_fixed_and_traced_bounds():
    power = lambda n, x: jitnet.fori_loop(0, n, lambda i, c: c * x, 1.0)
    assert power(5, 2.0) == 32 and power(0, 2.0) == 1 and power(-3, 2.0) == 1
    traced = jitnet.jit(power)
    assert traced(np.int64(5), 2.0) == 32 and traced(np.int64(0), 2.0) == 1
    assert jitnet.grad(power, 1)(5, 2.0) == 80
    assert jitnet.jit(lambda n, x: jitnet.jvp(lambda x: power(n, x), (x,), (1.0,))[1])(np.int64(5), 2.0) == 80
    np.testing.assert_array_equal(jitnet.vmap(power)(np.array([0, 1, 3]), np.array([2.0, 3.0, 4.0])), [1, 3, 64])
    assert jitnet.fori_loop(2, np.int32(5), lambda i, c: c + i, 0) == 9


def test_the_counter_is_weak():
    out = jitnet.fori_loop(0, 3, lambda i, c: c * i, np.ones(2, np.float32))
    assert out.dtype == np.float32


def collatz(n):
    def body(state):
        n, steps = state
        return jitnet.cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n), steps + 1
    return jitnet.while_loop(lambda s: s[0] != 1, body, (n, 0))[1]


def test_while_loop():
    assert collatz(6) == 8 and collatz(1) == 0 and collatz(27) == 111
    assert jitnet.jit(collatz)(np.int64(27)) == 111
    np.testing.assert_array_equal(jitnet.vmap(collatz)(np.array([1, 6, 27])), [0, 8, 111])


def newton(a):
    return jitnet.while_loop(lambda x: np.abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)


def test_forward_derivative_of_while_loop():
    np.testing.assert_allclose(jitnet.jvp(newton, (2.0,), (1.0,))[1], 0.5 / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(jitnet.jacfwd(newton)(2.0), 0.5 / np.sqrt(2), rtol=1e-6)
    check_grads(newton, (2.0,), order=2, modes=("forward",))
    np.testing.assert_allclose(jitnet.vmap(jitnet.jacfwd(newton))(np.array([0.25, 4.0, 9.0])), [1.0, 0.25, 1 / 6], rtol=1e-6)


def test_a_while_loop_that_no_gradient_passes_is_no_obstacle():
    def f(x):
        steps = jitnet.while_loop(lambda s: s[0] < 10, lambda s: (s[0] * 2, s[1] + 1), (jitnet.stop_gradient(x), 0))[1]
        return x * steps

    assert jitnet.grad(f)(3.0) == 2
    assert jitnet.grad(lambda x: (newton(x), x * x)[1])(3.0) == 6


def test_vmap_of_while_with_one_condition_for_all():
    f = lambda x: jitnet.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * x), (0, x))[1]
    (loop,) = equations(graph_of(jitnet.vmap(f), X), "while_loop")
    assert [v.type.shape for v in loop.outputs] == [(), (3,)]
    np.testing.assert_allclose(jitnet.vmap(f)(X), X**4)


# Errors, in full

def message(call):
    with pytest.raises(jitnet.errors.JitnetError) as caught:
        call()
    return caught.value.what, caught.value.hint


def body(carry, x):
    return carry + x, None


def test_errors_of_carries():
    assert message(lambda: jitnet.scan(body, np.zeros(3, np.float32), np.ones((2, 3)))) == (
        "scan: the carry of `body` goes in as f32[3] and comes out as f64[3]",
        "start from the type that comes out, or convert with `astype`")
    assert message(lambda: jitnet.scan(lambda c, x: ({"h": c["h"] + x}, None), {"h": np.zeros(3)}, np.ones((2, 4, 3)))) == (
        "scan: the carry['h'] of `<lambda>` goes in as f64[3] and comes out as f64[4,3]",
        "a carry keeps its shape: collect growing results as ys, or start from the full shape")
    assert message(lambda: jitnet.while_loop(lambda c: True, lambda c: [c], 1.0)) == (
        "while_loop: the carry of `<lambda>` goes in as * and comes out as [*]",
        "return the carry in the containers it came in")
    assert message(lambda: jitnet.fori_loop(0, 3, lambda i, c: c[:2], (1.0, 2.0, 3.0))) == (
        "fori_loop: the carry of `<lambda>` goes in as (*, *, *) and comes out as (*, *)",
        "return the carry in the containers it came in")
    assert message(lambda: jitnet.fori_loop(0, 3, lambda i, c: (c[0] > 1, c[1]), (np.float32(1), 2))) == (
        "fori_loop: the carry[0] of `<lambda>` goes in as f32[] and comes out as b1[]",
        "start from the type that comes out, or convert with `astype`")


def test_errors_of_scan():
    assert message(lambda: jitnet.scan(lambda c, x: c, 0.0, np.ones(3))) == (
        "scan: `<lambda>` must return a pair (carry, y), not a Tracer", "return `carry, None` without a y")
    assert message(lambda: jitnet.scan(body, 0.0)) == ("scan: the number of rounds of `body` is not known",
                                                       "pass xs, or `length`")
    assert message(lambda: jitnet.scan(body, 0.0, {"a": np.ones(3), "b": np.ones(4)})) == (
        "scan: xs['b'] of `body` has 4 rows, where 3 are expected",
        "all of xs must have the same first axis, equal to `length` where that is given")
    assert message(lambda: jitnet.scan(body, 0.0, 1.0)) == (
        "scan: xs of `body` is f64[], which has no axis to go along", "close over what is the same for all rounds")


def test_errors_of_branches_and_conditions():
    f = jitnet.jit(lambda x: jitnet.cond(x.sum() > 0, lambda x: x, lambda x: (x, x), x))
    assert message(lambda: f(X)) == ("cond: `<lambda>` returns *, `<lambda>` returns (*, *)",
                                     "return the same containers from all branches")
    g = jitnet.jit(lambda x: jitnet.cond(x.sum() > 0, lambda x: {"y": x}, lambda x: {"y": x.astype(np.float32)}, x))
    assert message(lambda: g(X)) == ("cond: output['y'] is f64[3] in `<lambda>` and f32[3] in `<lambda>`",
                                     "return the same shape and dtype from all branches: `reshape` or `astype` one of them")
    assert message(lambda: jitnet.cond(X > 0, np.sin, np.cos, X)) == (
        "cond: the predicate is b1[3], not a scalar",
        "choose element by element with `where`, or make it one value with `all()` or `any()`")
    assert message(lambda: jitnet.switch(1.5, [np.sin], X)) == ("switch: the index is f64[], not an integer",
                                                                "convert it with `astype(np.int64)`")
    assert message(lambda: jitnet.switch(0, [], X)) == ("switch: there are no branches", "give at least one function")
    assert message(lambda: jitnet.while_loop(lambda x: x, np.sin, 1.0)) == (
        "while_loop: the condition `<lambda>` returns f64[], not a bool", "compare, or use `all()` or `any()`")
    assert message(lambda: jitnet.fori_loop(0, 2.5, lambda i, c: c, 1.0)) == ("fori_loop: a bound is f64[], not an integer",
                                                                              "use integers")


def test_the_error_of_a_reverse_derivative_of_while_names_its_line():
    with pytest.raises(jitnet.errors.DerivativeError) as caught:
        jitnet.grad(newton)(2.0)
    what, where, hint = str(caught.value).split("\n")
    assert what == "while_loop: it has no reverse derivative, as the number of its rounds is not known"
    assert "return jitnet.while_loop(lambda x: np.abs(x * x - a)" in where
    assert hint.strip() == "use `fori_loop` with fixed bounds or `scan`, or forward mode: `jvp`, `jacfwd`"
