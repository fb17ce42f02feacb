"""custom_vjp, custom_jvp and checkpoint: the rules are used, in every order of transforms, and checked."""
import numpy as np
import pytest

import jitnet
from jitnet.ir import check_graph, subgraphs
from jitnet.testing import check_grads
from jitnet.tracer import trace
from jitnet.types import ArrayType

X = np.array([0.3, -0.4, 0.5])


def graph_of(f, *arrays):
    return check_graph(trace(lambda *xs: jitnet.tree.leaves(f(*xs)),
                             [ArrayType(np.shape(a), np.asarray(a).dtype) for a in arrays], "t").graph)


def message(call):
    with pytest.raises(jitnet.errors.DerivativeError) as caught:
        call()
    return caught.value.what, caught.value.hint


@jitnet.custom_vjp
def sine(x, y):
    """sin(x) * y, whose derivative is three times what it should be: so the rule is seen at work."""
    return np.sin(x) * y


def sine_fwd(x, y):
    return sine(x, y), {"cos": np.cos(x), "rest": (np.sin(x), y)}


def sine_bwd(residuals, ct):
    s, y = residuals["rest"]
    return 3 * ct * residuals["cos"] * y, ct * s


sine.defvjp(sine_fwd, sine_bwd)


@jitnet.custom_jvp
def softplus(x):
    return np.log(1 + np.exp(x))


@softplus.defjvp
def softplus_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return softplus(x), t / (1 + np.exp(-x))


# custom_vjp

def test_outside_a_trace_the_function_just_runs():
    assert sine(0.5, 2.0) == np.sin(0.5) * 2
    assert sine.__doc__.startswith("sin(x) * y") and sine.__name__ == "sine"


def test_the_rule_is_used():
    gx, gy = jitnet.grad(sine, (0, 1))(0.5, 2.0)
    np.testing.assert_allclose((gx, gy), (6 * np.cos(0.5), np.sin(0.5)))
    np.testing.assert_allclose(jitnet.jit(jitnet.grad(sine))(0.5, 2.0), 6 * np.cos(0.5))
    np.testing.assert_allclose(jitnet.grad(jitnet.jit(sine))(0.5, 2.0), 6 * np.cos(0.5))
    np.testing.assert_allclose(jitnet.grad(lambda x: sine(y=x, x=0.5))(2.0), np.sin(0.5))


def test_orders_of_transforms():
    second = -6 * np.sin(0.5)  # the forward rule saved cos(x): its derivative is the true one
    np.testing.assert_allclose(jitnet.grad(jitnet.grad(sine))(0.5, 2.0), second)
    np.testing.assert_allclose(jitnet.jacfwd(jitnet.grad(sine))(0.5, 2.0), second)
    xs = np.array([0.5, 0.7])
    np.testing.assert_allclose(jitnet.vmap(jitnet.grad(sine), (0, None))(xs, 2.0), 6 * np.cos(xs))
    gx, gy = jitnet.grad(lambda x, y: jitnet.vmap(sine, (0, None))(x, y).sum(), (0, 1))(xs, 2.0)
    np.testing.assert_allclose(gx, 6 * np.cos(xs))
    np.testing.assert_allclose(gy, np.sin(xs).sum())
    twice = jitnet.vmap(jitnet.vmap(sine, (0, None)), (None, 0))
    gx, gy = jitnet.grad(lambda x, y: twice(x, y).sum(), (0, 1))(xs, xs)
    np.testing.assert_allclose(gx, 3 * np.cos(xs) * xs.sum())
    np.testing.assert_allclose(gy, np.full(2, np.sin(xs).sum()))
    looped = lambda x: jitnet.scan(lambda c, y: (sine(c, y), None), x, np.array([1.5, 0.5]))[0]
    np.testing.assert_allclose(jitnet.grad(looped)(0.5), 9 * np.cos(0.5) * 1.5 * np.cos(1.5 * np.sin(0.5)) * 0.5)


def test_arguments_that_are_passed_on():
    @jitnet.custom_vjp
    def scaled(x, n, mode):
        return x * n if mode == "times" else x

    scaled.defvjp(lambda x, n, mode: (scaled(x, n, mode), n), lambda n, ct: (ct * n * 10, None, None))
    assert jitnet.grad(scaled)(2.0, 3, "times") == 30

    def apply(f, x):
        return f(x)

    custom = jitnet.custom_vjp(apply, nondiff_argnums=(0,))
    custom.defvjp(lambda f, x: (f(x), x), lambda f, x, ct: (ct * f(x) * 100,))
    np.testing.assert_allclose(jitnet.grad(lambda x: custom(np.exp, x))(0.5), 100 * np.exp(0.5))


def test_methods_and_containers():
    class Layer:
        @jitnet.custom_vjp
        def forward(self, p):
            return p["a"] * p["b"]

        forward.defvjp(lambda self, p: (p["a"] * p["b"], p), lambda p, ct: (None, {"a": ct * 7, "b": ct * p["a"]}))

    found = jitnet.grad(Layer().forward)({"a": 2.0, "b": 3.0})
    assert found == {"a": 7, "b": 2}


def test_errors_of_custom_vjp():
    assert message(lambda: jitnet.jvp(sine, (0.5, 1.0), (1.0, 0.0))) == (
        "custom_vjp: `sine` has no forward derivative", "use reverse mode (`grad`, `vjp`, `jacrev`), or custom_jvp")

    def make(fwd, bwd, f=lambda x: x * 2):
        f = jitnet.custom_vjp(f)
        f.defvjp(fwd, bwd)
        return lambda: jitnet.grad(lambda x: f(x))(1.0)

    assert message(lambda: jitnet.grad(lambda x: jitnet.custom_vjp(np.square)(x))(1.0)) == (
        "custom_vjp: `square` has no rules", "set them with `square.defvjp(fwd, bwd)`")
    assert message(make(lambda x: x, lambda r, ct: (ct,))) == (
        "custom_vjp: the forward rule of `<lambda>` must return a pair (output, residuals), not a Tracer",
        "return `output, residuals`")
    assert message(make(lambda x: ((x, x), None), lambda r, ct: (ct,))) == (
        "custom_vjp: the forward rule of `<lambda>` returns (*, *), the function *", "return the output of the function first")
    assert message(make(lambda x: (x, None), lambda r, ct: ct)) == (
        "custom_vjp: the backward rule of `<lambda>` must return a tuple of 1, one cotangent per argument, not a Tracer",
        "return None for an argument that has none")
    assert message(make(lambda x: (x, None), lambda r, ct: (np.ones(3) * ct,))) == (
        "custom_vjp: the backward rule of `<lambda>` gives f64[3] where f64[] is expected",
        "a derivative has the shape and dtype of its value")
    assert message(make(lambda x: (x, None), lambda r, ct: ({"x": ct},))) == (
        "custom_vjp: cotangent 0 of `<lambda>` is nested as {'x': *}, the argument as *", "nest it like the argument")

    def closes_over(c):
        f = jitnet.custom_vjp(lambda x: x * c)
        f.defvjp(lambda x: (x * c, c), lambda c, ct: (ct * c,))
        return f(2.0)

    assert message(lambda: jitnet.grad(closes_over)(1.0)) == (
        "custom_vjp: `<lambda>` closes over a value that is differentiated, which its rule does not know",
        "pass the value as an argument")


# custom_jvp

def test_custom_jvp_in_both_modes():
    sigmoid = 1 / (1 + np.exp(-X))
    np.testing.assert_allclose(jitnet.jvp(softplus, (X,), (np.ones(3),))[1], sigmoid)
    np.testing.assert_allclose(jitnet.grad(lambda x: softplus(x).sum())(X), sigmoid)
    assert jitnet.grad(softplus)(1000.0) == 1  # where the derivative of the formula is NaN
    check_grads(softplus, (X,), order=2)
    np.testing.assert_allclose(jitnet.grad(jitnet.grad(softplus))(0.0), 0.25)
    np.testing.assert_allclose(jitnet.vmap(jitnet.grad(softplus))(X), sigmoid)
    np.testing.assert_allclose(jitnet.grad(lambda x: jitnet.vmap(softplus)(x).sum())(X), sigmoid)
    np.testing.assert_allclose(jitnet.jit(jitnet.jacfwd(softplus))(X), np.diag(sigmoid))
    np.testing.assert_allclose(jitnet.jacrev(lambda x: jitnet.vmap(softplus)(x))(X), np.diag(sigmoid))
    np.testing.assert_allclose(jitnet.hessian(lambda x: jitnet.vmap(softplus)(x).sum())(X), np.diag(sigmoid * (1 - sigmoid)))


def test_several_arguments_and_outputs():
    @jitnet.custom_jvp
    def f(p, n):
        return p["x"] * p["y"], p["x"] + n

    @f.defjvp
    def rule(primals, tangents):
        (p, n), (t, _) = primals, tangents
        return f(p, n), (t["x"] * p["y"] + p["x"] * t["y"] * 2, t["x"])

    np.testing.assert_array_equal(jitnet.grad(lambda p: f(p, 3)[0])({"x": 2.0, "y": 5.0})["y"], 4)
    out, tangent = jitnet.jvp(lambda y: f({"x": 2.0, "y": y}, 3), (5.0,), (1.0,))
    assert out == (10, 5) and tangent == (4, 0)


def test_defjvps():
    @jitnet.custom_jvp
    def f(x, y):
        return x * y

    f.defjvps(lambda t, out, x, y: t * y, None)
    assert jitnet.grad(f, (0, 1))(2.0, 3.0) == (3, 0)


def test_errors_of_custom_jvp():
    f = jitnet.custom_jvp(lambda x: x * 2)
    assert message(lambda: jitnet.grad(f)(1.0)) == ("custom_jvp: `<lambda>` has no rule", "set it with `<lambda>.defjvp(rule)`")
    f.defjvp(lambda p, t: p[0])
    assert message(lambda: jitnet.grad(f)(1.0)) == (
        "custom_jvp: the rule of `<lambda>` must return a pair (output, tangent), not a Tracer", "return `output, tangent`")
    f.defjvp(lambda p, t: (p[0], (t[0], t[0])))
    assert message(lambda: jitnet.grad(f)(1.0)) == (
        "custom_jvp: the rule of `<lambda>` returns (*, *), the function *",
        "nest output and tangent like the output of the function")
    f.defjvp(lambda p, t: (p[0], np.ones(2)))
    assert message(lambda: jitnet.grad(f)(1.0)) == (
        "custom_jvp: the rule of `<lambda>` gives f64[2] where f64[] is expected",
        "a derivative has the shape and dtype of its value")


# checkpoint

def deep(x):
    for _ in range(4):
        x = np.sin(x * 2)
    return x


def names(graph):
    return [eqn.op.name for eqn in graph.eqns] + [n for eqn in graph.eqns for _, g in subgraphs(eqn) for n in names(g)]


def test_checkpoint_computes_again_what_it_does_not_keep():
    f = jitnet.checkpoint(deep)
    np.testing.assert_array_equal(f(X), deep(X))
    graph = graph_of(jitnet.grad(lambda x: f(x).sum()), X)
    calls = [eqn for eqn in graph.eqns if eqn.op.name == "call"]
    assert [c.params["kind"] for c in calls] == ["checkpoint", "recompute"]
    assert len(calls[0].outputs) == 1 and names(calls[1].params["graph"]).count("sin") == 3  # the last one is the output
    check_grads(f, (X,), order=2)
    np.testing.assert_allclose(jitnet.jit(jitnet.grad(lambda x: f(x).sum()))(X), jitnet.grad(lambda x: deep(x).sum())(X),
                               rtol=1e-12)


def test_checkpoint_of_a_scan_body_keeps_the_carry_alone():
    f = lambda x, wrap: jitnet.scan(lambda c, _: (wrap(deep)(c), None), x, None, 3)[0].sum()
    stacks = {}
    for name, wrap in (("plain", lambda g: g), ("checkpoint", jitnet.checkpoint)):
        forward = next(eqn for eqn in graph_of(jitnet.grad(lambda x, wrap=wrap: f(x, wrap)), X).eqns if eqn.op.name == "scan")
        stacks[name] = len(forward.outputs) - forward.params["num_carry"]
    assert stacks["checkpoint"] == 1 < stacks["plain"]
    check_grads(lambda x: f(x, jitnet.checkpoint), (X,), order=2)


def test_checkpoint_arguments_closures_and_containers():
    def f(x, n, mode):
        g = jitnet.checkpoint(lambda p, n, *, mode: {"y": p["x"] ** n * x if mode == "power" else p["x"]}, static_argnums=1)
        return g({"x": x}, n, mode=mode)["y"].sum()

    np.testing.assert_allclose(jitnet.grad(f)(X, 2, "power"), 3 * X**2)
    np.testing.assert_allclose(jitnet.vmap(jitnet.grad(f), (0, None, None))(np.stack([X, X]), 2, "power"), [3 * X**2] * 2)
    assert jitnet.jvp(lambda x: f(x, 3, "power"), (X,), (np.ones(3),))[1] == pytest.approx((4 * X**3).sum())
