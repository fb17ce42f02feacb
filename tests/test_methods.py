"""Compiled methods: attributes that hold arrays are arguments, all others and the class of a class method are static."""
import numpy as np
import pytest

import jitnet
from jitnet import errors


class Layer:
    def __init__(self, n):
        self.w, self.n, self.parts = np.arange(3.0), n, [np.ones(3)]

    @jitnet.jit
    def __call__(self, x):
        return x * self.w * self.n + self.parts[0]

    @jitnet.jit
    def update(self, x):
        self.w -= x

    @property
    @jitnet.jit
    def doubled(self):
        return self.w * 2

    @staticmethod
    @jitnet.jit
    def tripled(x):
        return x * 3

    @jitnet.jit
    def wrong(self, x):
        self.last = x
        return x


def test_methods():
    one, two = Layer(1), Layer(2)
    x = np.ones(3)
    np.testing.assert_array_equal(one(x), [1, 2, 3])
    np.testing.assert_array_equal(two(x), [1, 3, 5])
    two.w = two.w + 1
    np.testing.assert_array_equal(two(x), [3, 5, 7])
    two.n = 0
    np.testing.assert_array_equal(two(x), [1, 1, 1])
    one.update(x)
    np.testing.assert_array_equal(one.w, [-1, 0, 1])
    assert "self_w" in str(one.update.graph(x))
    np.testing.assert_array_equal(one.doubled, [-2, 0, 2])
    np.testing.assert_array_equal(Layer.tripled(x), one.tripled(x))
    with pytest.raises(errors.TraceTypeError) as error:
        one.wrong(x)
    assert (error.value.what, error.value.hint) == (
        "wrong: the compiled method sets the attribute `self.last`, which would hold a traced value",
        "return the new value, and set the attribute outside; or write into the array: `self.x[:] = ...`")
    assert not hasattr(one, "last")


class Scale:
    factor = 2.0

    @classmethod
    @jitnet.jit
    def apply(cls, x):
        return x * cls.factor


class Triple(Scale):
    factor = 3.0


def test_class_methods():
    x = np.ones(3)
    for cls in (Scale, Triple, Scale):
        np.testing.assert_array_equal(cls.apply(x), x * cls.factor)
        np.testing.assert_array_equal(cls().apply(x=x), x * cls.factor)
