"""vjp, jvp, linearize, jacfwd, jacrev, hessian: containers, integers, aux."""
import numpy as np
import pytest

import jitnet
from jitnet.transforms.values import FLOAT0


def f(x, y):
    return {"product": x * y, "sum": (x + y).sum()}


X, Y = np.array([1.0, 2.0]), np.array([3.0, 5.0])


def test_vjp_of_containers():
    out, pullback = jitnet.vjp(f, X, Y)
    np.testing.assert_array_equal(out["product"], [3, 10])
    gx, gy = pullback({"product": np.array([1.0, 10.0]), "sum": 100.0})
    np.testing.assert_array_equal(gx, [103, 150])
    np.testing.assert_array_equal(gy, [101, 120])
    again, _ = pullback({"product": np.zeros(2), "sum": np.float64(1)})
    np.testing.assert_array_equal(again, [1, 1])


def test_a_pullback_does_not_see_later_writes():
    x = X.copy()
    out, pullback = jitnet.vjp(lambda x: x * x * 1.0, x)
    x[:] = 100
    out[:] = 100
    np.testing.assert_array_equal(pullback(np.ones(2))[0], 2 * X)


def test_a_pullback_inside_other_transforms():
    _, pullback = jitnet.vjp(np.sin, X)
    rows = jitnet.vmap(pullback)(np.eye(2))[0]
    np.testing.assert_allclose(rows, np.diag(np.cos(X)))
    np.testing.assert_allclose(jitnet.jit(lambda ct: pullback(ct)[0])(np.ones(2)), np.cos(X))

    def jacobian_product(x):
        _, pullback = jitnet.vjp(lambda x: np.sin(x) * x, x)
        return jitnet.vmap(lambda ct: pullback(ct)[0])(np.eye(2)).sum()

    np.testing.assert_allclose(jitnet.grad(jacobian_product)(X), -X * np.sin(X) + 2 * np.cos(X))


def test_jvp_of_containers():
    out, tangent = jitnet.jvp(f, (X, Y), (np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    np.testing.assert_array_equal(tangent["product"], [3, 2])
    assert tangent["sum"] == 2 and out["sum"] == 11
    assert jitnet.jvp(lambda x: (x * 2, {"aux": x}), [1.5], [1.0], has_aux=True) == (3, 2, {"aux": 1.5})
    value, pullback, aux = jitnet.vjp(lambda x: (x * 2, {"aux": x}), 1.5, has_aux=True)
    assert (value, pullback(1.0), aux) == (3, (2,), {"aux": 1.5})


def test_integers_have_float0_derivatives():
    x, n = np.array([1.5, 2.5]), np.array([2, 3])
    _, pullback = jitnet.vjp(lambda x, n: (x * n, n + 1), x, n)
    gx, gn = pullback((np.ones(2), np.zeros(2, FLOAT0)))
    np.testing.assert_array_equal(gx, [2, 3])
    assert gn.dtype == FLOAT0 and gn.shape == (2,)
    _, (tx, tn) = jitnet.jvp(lambda x, n: (x * n, n + 1), (x, n), (np.ones(2), np.zeros(2, FLOAT0)))
    np.testing.assert_array_equal(tx, [2, 3])
    assert tn.dtype == FLOAT0
    # a Python integer among the primals is a number of the function, not a traced value
    assert jitnet.vjp(lambda x, n: x * sum(range(n)), 2.0, 4)[1](1.0)[0] == 6


def test_linearize_computes_the_primal_part_once():
    calls = []

    def g(x):
        calls.append(x)
        return np.exp(x) * x

    out, tangent_of = jitnet.linearize(g, X)
    assert len(calls) == 1
    for t in np.eye(2):
        np.testing.assert_allclose(tangent_of(t), np.exp(X) * (1 + X) * t)
    np.testing.assert_allclose(out, np.exp(X) * X)
    np.testing.assert_allclose(jitnet.vmap(tangent_of)(np.eye(2)), np.diag(np.exp(X) * (1 + X)))
    assert len(calls) == 1


CONTROL = {"cond": lambda x: jitnet.cond(x[0] > 0, np.tanh, np.sin, x) * x,
           "scan": lambda x: jitnet.scan(lambda c, t: (np.sin(c * t), c), x, np.arange(3.0) + 1),
           "while": lambda x: np.exp(jitnet.while_loop(lambda c: c.sum() < 9, lambda c: c * 2, x)),
           "checkpoint": lambda x: np.sin(jitnet.checkpoint(np.exp)(x))}


@pytest.mark.parametrize("name", CONTROL)
def test_linearize_of_control_flow(name):
    """One equation of these computes values and tangents; the values are known before any tangent is."""
    f = CONTROL[name]
    out, tangent_of = jitnet.linearize(f, X)
    value, tangent = jitnet.jvp(f, (X,), (Y,))
    for a, b in zip(jitnet.tree.leaves((out, tangent_of(Y))), jitnet.tree.leaves((value, tangent)), strict=True):
        np.testing.assert_allclose(a, b)
    found = jitnet.jit(lambda x, t: jitnet.linearize(f, x)[1](t))(X, Y)
    for a, b in zip(jitnet.tree.leaves(found), jitnet.tree.leaves(tangent), strict=True):
        np.testing.assert_allclose(a, b)


def test_jacobians_of_containers():
    for jacobian in (jitnet.jacfwd, jitnet.jacrev):
        found = jacobian(f, (0, 1))(X, Y)
        np.testing.assert_array_equal(found["product"][0], np.diag(Y))
        np.testing.assert_array_equal(found["product"][1], np.diag(X))
        np.testing.assert_array_equal(found["sum"][1], [1, 1])
        assert jacobian(f)(X, Y)["product"].shape == (2, 2)
        nested = jacobian(lambda p: p["w"] @ np.ones(3) * p["s"])({"w": np.ones((2, 3)), "s": 2.0})
        assert nested["w"].shape == (2, 2, 3) and nested["s"].shape == (2,)
        np.testing.assert_array_equal(nested["w"][0], [[2, 2, 2], [0, 0, 0]])
        values, aux = jacobian(lambda x: (x * x, "name" and x), has_aux=True)(X)
        np.testing.assert_array_equal(values, np.diag(2 * X))
        np.testing.assert_array_equal(aux, X)
        assert jacobian(lambda x: x.sum())(np.ones((2, 2), np.float32)).dtype == np.float32


def test_hessian_of_containers():
    found = jitnet.hessian(lambda p: p["a"].sum() * p["b"] ** 2)({"a": X, "b": 3.0})
    np.testing.assert_array_equal(found["a"]["a"], np.zeros((2, 2)))
    np.testing.assert_array_equal(found["a"]["b"], [6, 6])
    np.testing.assert_array_equal(found["b"]["a"], [6, 6])
    assert found["b"]["b"] == 6


def test_hessian_of_rosenbrock():
    rosenbrock = lambda x: ((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum()
    x = np.array([0.5, -1.0, 2.0])
    expected = np.array([[2 - 400 * (x[1] - 3 * x[0] ** 2), -400 * x[0], 0],
                         [-400 * x[0], 202 - 400 * (x[2] - 3 * x[1] ** 2), -400 * x[1]], [0, -400 * x[1], 200]])
    for second in (jitnet.hessian, lambda g: jitnet.jacrev(jitnet.jacrev(g)), lambda g: jitnet.jacrev(jitnet.jacfwd(g))):
        np.testing.assert_allclose(second(rosenbrock)(x), expected, rtol=1e-12)
