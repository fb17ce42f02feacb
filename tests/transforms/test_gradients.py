"""grad and value_and_grad: closed forms, containers, what is traced and what is not."""
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.ir import check_graph
from jitnet.testing import check_grads
from jitnet.tracer import trace
from jitnet.types import ArrayType

Layer = namedtuple("Layer", "w b")


@dataclass
class Model:
    layers: list
    scale: float


def test_closed_forms(rng):
    x = rng.normal(size=4)
    a = rng.normal(size=(4, 4))
    np.testing.assert_allclose(jitnet.grad(lambda x: (x * x).sum())(x), 2 * x)
    np.testing.assert_allclose(jitnet.grad(lambda x: np.sum(np.exp(x) / x))(x), np.exp(x) * (x - 1) / x**2)
    quadratic = lambda x: np.sum(ops.matmul(np.reshape(x, (1, 4)), a) * x)
    np.testing.assert_allclose(jitnet.grad(quadratic)(x), (a + a.T) @ x)
    np.testing.assert_allclose(jitnet.hessian(quadratic)(x), a + a.T)
    np.testing.assert_allclose(jitnet.grad(lambda x: np.log(np.sum(np.exp(x))))(x), np.exp(x) / np.exp(x).sum())


def test_softmax_cross_entropy_of_a_network(rng):
    params = [Layer(rng.normal(size=(4, 5)), rng.normal(size=5)), Layer(rng.normal(size=(5, 3)), rng.normal(size=3))]
    x, labels = rng.normal(size=(6, 4)), np.eye(3)[rng.integers(0, 3, 6)]

    def loss(params, x):
        for w, b in params[:-1]:
            x = np.tanh(np.matmul(x, w) + b)
        z = np.matmul(x, params[-1].w) + params[-1].b
        z = z - np.max(z, axis=1, keepdims=True)
        return -np.mean(np.sum((z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))) * labels, axis=1))

    value, gradient = jitnet.value_and_grad(loss)(params, x)
    assert isinstance(gradient, list) and isinstance(gradient[0], Layer)
    np.testing.assert_allclose(value, loss(params, x), rtol=1e-14)
    z = np.tanh(x @ params[0].w + params[0].b) @ params[1].w + params[1].b
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient[1].b, (p - labels).mean(axis=0), rtol=1e-10)
    check_grads(loss, (params, x), order=2)


def test_the_gradient_is_nested_like_the_argument():
    model = Model([np.ones(2), {"b": np.ones(3)}], 2.0)

    def loss(m):
        return (m.layers[0].sum() + (m.layers[1]["b"] ** 2).sum()) * m.scale

    found = jitnet.grad(loss)(model)
    assert isinstance(found, Model)
    np.testing.assert_array_equal(found.layers[0], [2, 2])
    np.testing.assert_array_equal(found.layers[1]["b"], [4, 4, 4])
    assert found.scale == 5


def test_argnums_has_aux_and_keywords():
    def f(x, y, *, power=2):
        return (x * y) ** power, {"product": x * y}

    assert jitnet.grad(f, has_aux=True)(2.0, 3.0) == (36, {"product": 6})
    assert jitnet.grad(f, (1, 0), has_aux=True)(2.0, 3.0, power=1) == ((2, 3), {"product": 6})
    assert jitnet.grad(f, [0], has_aux=True)(2.0, 3.0)[0] == (36,)
    assert jitnet.value_and_grad(f, -1, has_aux=True)(2.0, 3.0) == ((36, {"product": 6}), 24)


def test_only_what_is_differentiated_is_traced():
    def f(x, n, mode, data):
        assert isinstance(data, np.ndarray)
        for _ in range(n):
            x = x * x if mode == "square" else x
        return (x * data.max()).sum() if data[0] > 0 else x.sum()

    np.testing.assert_array_equal(jitnet.grad(f)(np.array([1.0, 2.0]), 2, "square", np.array([3, 1])), [12, 96])


def test_dtypes_are_kept():
    for dtype in (np.float32, np.float64):
        x = np.ones(3, dtype)
        value, gradient = jitnet.value_and_grad(lambda x: (x * 0.1 + np.tanh(x)).sum())(x)
        assert value.dtype == dtype and gradient.dtype == dtype
    mixed = jitnet.grad(lambda x: (x * np.ones(3)).sum())(np.ones(3, np.float32))
    assert mixed.dtype == np.float32
    assert isinstance(jitnet.grad(lambda x: x * x)(3.0), np.float64)
    assert isinstance(jitnet.grad(lambda x: x * x)(np.float32(3.0)), np.float32)


def test_unused_arguments_get_zeros_of_their_own():
    x = np.ones(3)
    gx, gy = jitnet.grad(lambda x, y: x.sum(), (0, 1))(x, np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(gy, np.zeros((2, 2), np.float32), strict=True)
    gx[0] = 7  # the results can be written to, and are not the arguments
    same = jitnet.grad(lambda x: (x * x).sum() / 2)(x)
    assert same is not x and not np.shares_memory(same, x)


def test_values_through_integers_have_no_gradient():
    assert jitnet.grad(lambda x: x * x.astype(np.int64))(2.5) == 2
    assert jitnet.grad(lambda x: jitnet.stop_gradient(x) * x)(2.5) == 2.5
    assert jitnet.grad(lambda x: jitnet.stop_gradient({"a": x, "n": 2})["a"] * x)(2.5) == 2.5
    assert jitnet.grad(lambda x: np.floor(x) * x)(2.5) == 2


def test_inside_jit_as_outside(rng):
    x = rng.normal(size=5)
    f = lambda x: np.sum(np.sin(x) * x)
    for transform in (jitnet.grad, jitnet.hessian, jitnet.jacfwd, jitnet.jacrev):
        np.testing.assert_allclose(transform(f)(x), jitnet.jit(transform(f))(x), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(jitnet.grad(jitnet.jit(f))(x), np.cos(x) * x + np.sin(x), rtol=1e-12)


def test_arrays_of_jitnet_come_back_as_such():
    x = jitnet.asarray(np.array([1.0, 2.0]))
    found = jitnet.grad(lambda x: (x * x).sum())(x)
    assert isinstance(found, jitnet.Array)
    np.testing.assert_array_equal(np.asarray(found), [2, 4])


def test_derivative_equations_point_at_the_line_they_come_from():
    def f(x):
        return np.tanh(x).sum()  # the line

    traced = trace(lambda x: [jitnet.grad(f)(x)], [ArrayType((3,), np.dtype(np.float64))], "t")
    assert {eqn.source.text for eqn in check_graph(traced.graph).eqns} == {"return np.tanh(x).sum()  # the line"}


def test_a_long_chain_grows_linearly():
    def chain(n):
        def f(x):
            for i in range(n):
                x = np.tanh(x) if i % 2 else x * 1.01
            return x.sum()
        return f

    def count(n):
        return len(trace(lambda x: [jitnet.grad(chain(n))(x)], [ArrayType((3,), np.dtype(np.float64))], "t").graph.eqns)

    assert count(1000) < 4 * 1000
    assert count(3000) - count(2000) == count(2000) - count(1000)


def test_ties_share_the_gradient():
    np.testing.assert_array_equal(jitnet.grad(lambda x: np.max(x))(np.array([1.0, 3.0, 3.0])), [0, 0.5, 0.5])
    assert jitnet.grad(lambda x: np.maximum(x, 1.0))(1.0) == 0.5


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("f", [
    lambda x: np.sqrt(x) * np.log(x), lambda x: x ** 3 + 2.0 ** x, lambda x: np.where(x > 1, x * x, np.exp(-x)),
    lambda x: np.cumsum(x) * x, lambda x: x[::-1] * x[0] - x[1:2], lambda x: np.concatenate([x, x * x]).reshape(2, 3).T,
    lambda x: np.prod(x) + np.var(x), lambda x: np.sort(x) * np.arange(3), lambda x: np.arctan2(x, x[0]) + np.hypot(x, 1.0),
    lambda x: x / (1 + np.abs(x)), lambda x: np.sqrt((x * x).sum()) * x,
], ids=lambda f: "f" if callable(f) else str(f))
def test_programs_against_differences(f, order):
    check_grads(f, (np.array([0.7, 1.9, 2.6]),), order)


@pytest.mark.parametrize("lead", [(), (1,)])
def test_the_gradient_of_weights_is_one_product_for_the_whole_batch(lead):
    """Products of the batch's elements would be as large as the weights, each of them."""
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((5, 3, 4)), rng.standard_normal((*lead, 4, 2))
    gradient = jitnet.grad(lambda x, w: np.sum(np.tanh(x @ w)), argnums=(0, 1))
    ct = 1 - np.tanh(x @ w) ** 2
    dx, dw = gradient(x, w)
    np.testing.assert_allclose(dx, ct @ np.swapaxes(w, -1, -2), rtol=1e-12)
    np.testing.assert_allclose(dw, np.einsum("bmk,bmn->kn", x, ct).reshape(w.shape), rtol=1e-12)
    graph = jitnet.jit(gradient).graph(x, w)
    assert max(eqn.outputs[0].type.size for eqn in graph.eqns if eqn.op.name == "matmul") == x.size
    check_grads(lambda w: np.sum(np.tanh(x @ w)), (w,), order=2)
    assert gradient(x[:0], w)[1].tolist() == np.zeros_like(w).tolist()
