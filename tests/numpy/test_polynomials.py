"""The `poly` functions against NumPy's."""
import numpy as np
import pytest

import jitnet

P, Q = np.array([1.0, -2.0, 0.5, 3.0]), np.array([2.0, 1.0])


def test_arithmetic_and_calculus(same):
    same(lambda p, q: [np.polyadd(p, q), np.polysub(q, p), np.polymul(p, q), np.polyval(p, q), np.polyadd(p, 1.0)], P, Q)
    same(lambda p: [np.polyder(p), np.polyder(p, 2), np.polyder(p, 9), np.polyder(p[:1]), np.polyint(p), np.polyint(p, 2),
                    np.polyint(p, 2, k=[1.0, 2.0]), np.polyint(p, k=3)], P)
    same(lambda i: [np.polyadd(i, i), np.polyder(i), np.polyint(i)], np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="1 constants for 2 integrations"):
        jitnet.jit(lambda p: np.polyint(p, 2, k=[1.0]))(P)


def test_fits(same):
    x = np.linspace(-1, 2, 12)
    y = np.random.default_rng(1).normal(size=(12, 2))
    same(lambda x, y: [np.polyfit(x, y[:, 0], 3), np.polyfit(x, y, 2), np.polyfit(x, y[:, 1], 1, w=x + 2), np.polyfit(x, y, 0)],
         x, y, rtol=1e-9)
    slope = jitnet.grad(lambda y: np.polyfit(x, y, 1)[0])(y[:, 0])
    np.testing.assert_allclose(slope, (x - x.mean()) / ((x - x.mean()) ** 2).sum(), rtol=1e-9)
