"""Every transform around every other: values against what the transform means, derivatives against central differences."""
import itertools

import numpy as np
import pytest

import jitnet
from jitnet.testing import check_grads, numerical_jvp

X = np.array([0.3, -0.4, 0.5])
V = np.array([0.7, 0.2, -0.6])


def base(x):
    return np.sin(x) * x[0] + np.tanh(x * x)


# Each wrapper makes of f: R^3 -> R^3 another such function; its reference does the same with f called on NumPy arrays alone.

def with_grad(f):
    return jitnet.grad(lambda x: (f(x) * V).sum())


def reference_grad(f):
    return lambda x: np.array([(numerical_jvp(f, (x,), (e,)) * V).sum() for e in np.eye(3)])


def with_jvp(f):
    return lambda x: jitnet.jvp(f, (x,), (V,))[1]


def reference_jvp(f):
    return lambda x: numerical_jvp(f, (x,), (V,))


def with_vjp(f):
    return lambda x: jitnet.vjp(f, x)[1](V)[0]


def with_vmap(f):
    return lambda x: jitnet.vmap(lambda s, x: f(s * x), in_axes=(0, None))(np.array([0.5, 1.0]), x).sum(axis=0)


def reference_vmap(f):
    return lambda x: f(0.5 * x) + f(1.0 * x)


def with_checkpoint(f):
    return jitnet.checkpoint(f)


def with_scan(f):
    return lambda x: jitnet.scan(lambda c, s: (np.tanh(f(c)) * s, None), x, np.array([0.5, 0.8]))[0]


def reference_scan(f):
    return lambda x: np.tanh(f(np.tanh(f(x)) * 0.5)) * 0.8


def with_cond(f):
    return lambda x: jitnet.cond(x[0] > 0.2, f, lambda x: x * x, x)


def reference_cond(f):
    return lambda x: f(x) if x[0] > 0.2 else x * x


def with_fori(f):
    return lambda x: jitnet.fori_loop(0, 2, lambda i, c: f(c) * (i + 1) / 2, x)


def reference_fori(f):
    return lambda x: f(f(x) * 0.5)


def identity(f):
    return f


WRAPPERS = {
    "grad": (with_grad, reference_grad), "jvp": (with_jvp, reference_jvp), "vjp": (with_vjp, reference_grad),
    "vmap": (with_vmap, reference_vmap),
    "checkpoint": (with_checkpoint, identity), "scan": (with_scan, reference_scan), "cond": (with_cond, reference_cond),
    "fori": (with_fori, reference_fori),
}
PAIRS = list(itertools.product(WRAPPERS, repeat=2))
TRIPLES = [names for k, names in enumerate(itertools.product(WRAPPERS, repeat=3)) if k % 9 == 4]


def outermost_is_right(names):
    inner = base
    for name in reversed(names[1:]):
        inner = WRAPPERS[name][0](inner)
    wrapper, reference = WRAPPERS[names[0]]
    np.testing.assert_allclose(wrapper(inner)(X), reference(inner)(X), rtol=2e-6, atol=2e-7)
    return wrapper(inner)


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_pairs(names):
    check_grads(outermost_is_right(names), (X,))


@pytest.mark.parametrize("names", TRIPLES, ids="-".join)
def test_triples(names):
    outermost_is_right(names)


@pytest.mark.parametrize("name", WRAPPERS)
def test_second_order(name):
    check_grads(WRAPPERS[name][0](base), (X,), order=2)


def test_grad_four_times():
    fourth = jitnet.grad(jitnet.grad(jitnet.grad(jitnet.grad(lambda x: np.exp(2 * x)))))
    np.testing.assert_allclose(fourth(0.3), 16 * np.exp(0.6), rtol=1e-13)


def test_a_derivative_of_a_value_that_an_inner_derivative_closes_over():
    # d/dx (x * d/dy (x + y)) = 1, not 2: the classic confusion of perturbations
    assert jitnet.grad(lambda x: x * jitnet.grad(lambda y: x + y)(1.0))(3.0) == 1
    assert jitnet.jvp(lambda x: x * jitnet.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (3.0,), (1.0,))[1] == 1
    # d/dx (d/dy (x * y * y) at y = x) = d/dx 2 x x = 4 x
    assert jitnet.grad(lambda x: jitnet.grad(lambda y: x * y * y)(x))(3.0) == 12


def test_vmap_of_vmap_is_two_loops():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(8.0).reshape(4, 2)
    found = jitnet.vmap(jitnet.vmap(lambda x, y: (x * y).sum(), (None, 0)), (0, None))(a.T @ np.eye(2), b)
    np.testing.assert_array_equal(found, [[(x * y).sum() for y in b] for x in a.T])
