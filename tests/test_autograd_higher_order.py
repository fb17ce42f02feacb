"""autograd to the second and third order: random chains of operators against finite differences of the order below."""
import numpy as np
import pytest

from jitnet import autograd, nd

UNARY = [nd.tanh, nd.sin, nd.exp, nd.sigmoid, nd.square, nd.arctan, nd.softsign, nd.erf, lambda a: nd.log(a * a + 1),
         lambda a: nd.sqrt(a * a + 0.5), lambda a: 1 / (a * a + 2), lambda a: a ** 3 * 0.2, lambda a: 2 ** a, nd.softmax,
         lambda a: nd.log_softmax(a, axis=0), lambda a: nd.LayerNorm(a, nd.ones((3,), dtype="float64"),
                                                                     nd.zeros((3,), dtype="float64"), eps=0.1),
         lambda a: nd.L2Normalization(a, eps=0.1), lambda a: nd.Activation(a, act_type="softrelu"),
         lambda a: nd.LeakyReLU(a, act_type="gelu")]
MIXED = [lambda a, b: a * b, lambda a, b: nd.dot(a, nd.dot(b, a, transpose_a=True)) * 0.3, lambda a, b: a + b * a,
         lambda a, b: a / (b * b + 1), lambda a, b: nd.broadcast_mul(a, b.sum(axis=1, keepdims=True)),
         lambda a, b: nd.broadcast_hypot(a, b + 3), lambda a, b: nd.where(a > b, a * b, b * b),
         lambda a, b: nd.concat(a[:1] * b[1:2], b[1:] * a[1:], dim=0),
         lambda a, b: nd.take(a, nd.array([2, 0, 2])) * b, lambda a, b: (a.T * b).reshape((3, 3)),
         lambda a, b: nd.stack(a[0] * b[1], b[2], a[1], axis=1), lambda a, b: a - b.mean(),
         lambda a, b: nd.elemwise_mul(nd.flip(a, axis=1), b), lambda a, b: nd.batch_dot(a.expand_dims(0), b.expand_dims(0))[0]]


def chain(seed):
    """A function of one 3x3 array, of five random operators."""
    rng = np.random.default_rng(seed)
    steps = [(UNARY[rng.integers(len(UNARY))], MIXED[rng.integers(len(MIXED))], rng.integers(2)) for _ in range(5)]

    def function(x):
        a, b = x, x
        for unary, mixed, kind in steps:
            a, b = (unary(a), a) if kind else (mixed(a, b), a)
        return (a * a).sum()
    return function


def derivative(function, order, x, directions):
    """The derivative of that order in these directions but the last one, as an array; by create_graph."""
    x = nd.array(x, dtype="float64")
    x.attach_grad()
    with autograd.record():
        y = function(x)
        for v in directions[:order - 1]:
            g, = autograd.grad(y, x, create_graph=True)
            y = (g * nd.array(v, dtype="float64")).sum()
    y.backward()
    return x.grad.asnumpy(), float(y)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_random_chains(seed, order):
    rng = np.random.default_rng(100 + seed)
    x, *directions = rng.uniform(-1, 1, (4, 3, 3))
    function, last = chain(seed), directions[order - 1]
    found = (derivative(function, order, x, directions)[0] * last).sum()
    h = 1e-4

    def at(t):
        return derivative(function, order, x + t * last, directions)[1]
    expected = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
