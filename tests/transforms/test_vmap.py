"""vmap against a Python loop: axes, containers, closures, constants."""
import numpy as np
import pytest

import jitnet
from jitnet import ops

A = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
def test_axes(axis, out_axis):
    f = lambda x: np.cumsum(x, axis=0) * x[0]
    expected = np.stack([f(np.take(A, i, axis)) for i in range(A.shape[axis])], out_axis)
    np.testing.assert_array_equal(jitnet.vmap(f, axis, out_axis)(A), expected)


def test_nested_axes_and_containers():
    def f(p, x, scale):
        return {"y": (p["w"] * x).sum() * scale, "w": p["w"]}

    p = {"w": A[0], "unused": np.ones((5, 3))}
    out = jitnet.vmap(f, in_axes=({"w": 0, "unused": 1}, 1, None), out_axes={"y": 0, "w": 1})(p, A[0].T, 2.0)
    np.testing.assert_array_equal(out["y"], [(w * x).sum() * 2 for w, x in zip(A[0], A[0])])
    np.testing.assert_array_equal(out["w"], A[0].T)


def test_constant_outputs_are_spread_unless_out_axes_is_none():
    a, b, c = jitnet.vmap(lambda x, y: (x, y * 2, 1.0), (0, None), (0, None, 0))(np.ones(3), 5.0)
    np.testing.assert_array_equal(a, np.ones(3))
    assert b == 10
    np.testing.assert_array_equal(c, np.ones(3))


def test_unmapped_arguments_are_not_traced_and_keywords_are_mapped():
    def f(x, n, *, bias):
        return x * sum(range(n)) + bias

    np.testing.assert_array_equal(jitnet.vmap(f, (0, None))(np.ones(2), 4, bias=np.array([1.0, 2.0])), [7, 8])


def test_closures():
    def outer(x, w):
        return jitnet.vmap(lambda row: (row * x).sum())(w)

    np.testing.assert_array_equal(jitnet.jit(outer)(A[0, 0], A[0]), A[0] @ A[0, 0])
    np.testing.assert_array_equal(jitnet.vmap(outer, (0, None))(A[0], A[1]), [A[1] @ x for x in A[0]])
    np.testing.assert_allclose(jitnet.jacrev(outer)(A[0, 0], A[0]), A[0])


def test_equations_without_batched_operands_stay_as_they_are():
    from jitnet.tracer import trace
    from jitnet.types import ArrayType

    f = lambda x, w: ops.matmul(np.reshape(x, (1, 3)), np.exp(w))
    graph = trace(lambda x, w: [jitnet.vmap(f, (0, None))(x, w)],
                  [ArrayType((5, 3), np.dtype(float)), ArrayType((3, 2), np.dtype(float))], "t").graph
    (exp,) = [eqn for eqn in graph.eqns if eqn.op.name == "exp"]
    assert exp.outputs[0].type.shape == (3, 2)


def test_per_example_gradients(rng):
    w, xs, ys = rng.normal(size=3), rng.normal(size=(5, 3)), rng.normal(size=5)
    loss = lambda w, x, y: (np.tanh((w * x).sum()) - y) ** 2
    found = jitnet.vmap(jitnet.grad(loss), (None, 0, 0))(w, xs, ys)
    np.testing.assert_allclose(found, [jitnet.grad(loss)(w, x, y) for x, y in zip(xs, ys)], rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), jitnet.grad(lambda w: jitnet.vmap(loss, (None, 0, 0))(w, xs, ys).sum())(w),
                               rtol=1e-12)


def test_matrix_products_batched_on_either_side(rng):
    a, b = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 3, 5))
    np.testing.assert_allclose(jitnet.vmap(np.matmul)(a, b), a @ b)
    np.testing.assert_allclose(jitnet.vmap(np.matmul, (0, None))(a, b[0]), a @ b[0])
    np.testing.assert_allclose(jitnet.vmap(np.matmul, (None, 0), 1)(a[0], b), np.stack([a[0] @ y for y in b], 1))
    np.testing.assert_allclose(jitnet.vmap(jitnet.vmap(np.matmul, (0, None)), (None, 0))(a, b),
                               np.stack([[x @ y for x in a] for y in b]))
