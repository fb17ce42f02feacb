"""Compiled methods: attributes that hold arrays are arguments, all others and the class of a class method are static."""
import copy
import dataclasses
import inspect

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


class Network:
    """Layers in a list, one of them twice, which refer back to the network."""

    def __init__(self):
        self.layers = [Dense(1.0, self), Dense(2.0, self)]
        self.first, self.names = self.layers[0], np.array(["a", "b"])

    @jitnet.jit
    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x + self.first.w

    @jitnet.jit
    def step(self, ct):
        for layer in self.layers:
            layer.w -= ct
        return self.first.w * 1

    @jitnet.jit
    def wrong(self, x):
        self.layers[1].w = x
        return x


class Dense:
    def __init__(self, w, network):
        self.w, self.scale, self.network = np.full(2, w), 2, network

    def __call__(self, x):
        assert self.network.layers[0] is self.network.first
        return x * self.w * self.scale


def test_objects_in_attributes_are_taken_apart():
    net, x = Network(), np.ones(2)
    np.testing.assert_array_equal(net(x), [9, 9])
    net.layers[1].w = np.array([5.0, 6.0])
    np.testing.assert_array_equal(net(x), [21, 25])
    assert net.__class__.__call__.traces == 1
    net.first.scale = 1
    np.testing.assert_array_equal(net(x), [11, 13])
    assert str(jitnet.explain_retrace(Network.__call__)).endswith("\n  `self.first.scale`: 2 became 1")
    np.testing.assert_array_equal(net.step(x), [0, 0])
    np.testing.assert_array_equal(net.layers[1].w, [4, 5])
    with pytest.raises(errors.TraceTypeError, match=r"sets the attribute `self.layers\[1\].w`"):
        net.wrong(x)
    np.testing.assert_array_equal(net.layers[1].w, [4, 5])


def test_values_and_objects_of_libraries_in_attributes_are_static():
    class Mode:
        def __init__(self, n):
            self.n = n

        def __eq__(self, other):
            return isinstance(other, Mode) and self.n == other.n

        def __hash__(self):
            return hash(self.n)

    class Holder:
        def __init__(self):
            self.mode, self.pattern = Mode(2), inspect.signature(len)

        @jitnet.jit
        def __call__(self, x):
            return x * self.mode.n

    holder = Holder()
    for n in (2, 2, 3):
        holder.mode = Mode(n)
        np.testing.assert_array_equal(holder(np.ones(2)), [n, n])
    assert Holder.__call__.traces == 2


def test_bound_methods_and_objects_that_are_called():
    class Linear:
        def __init__(self):
            self.w, self.n = np.ones(3), 1

        def __call__(self, x, power=1):
            return x * self.w ** power * self.n

        def step(self, x):
            self.w -= x

    layer, x = Linear(), np.full(3, 2.0)
    for f in (jitnet.jit(layer, static_argnums=1), jitnet.jit(layer.__call__, static_argnames="power")):
        layer.w, layer.n = np.ones(3), 1
        np.testing.assert_array_equal(f(x, 2), x)
        layer.w = np.full(3, 3.0)
        np.testing.assert_array_equal(f(x, 2), 9 * x)
        assert f.traces == 1
        layer.n = 2
        np.testing.assert_array_equal(f(x), 6 * x)
        assert "self_w" in str(f.graph(x))
    jitnet.jit(layer.step)(x)
    np.testing.assert_array_equal(layer.w, 1)


@dataclasses.dataclass
class Activated:
    w: np.ndarray
    bias: float
    activation: str

    @jitnet.jit
    def __call__(self, x):
        return getattr(np, self.activation)(x * self.w + self.bias)


def test_a_copy_of_a_bound_method_is_bound_to_a_copy():
    layer = Layer(2)
    bound = copy.deepcopy(layer.update)
    bound(np.ones(3))
    assert layer.w.tolist() == [0, 1, 2] and bound.args[0].w.tolist() == [-1, 0, 1]
    copy.copy(layer.update)(np.ones(3))
    assert layer.w.tolist() == [-1, 0, 1]


def test_dataclasses_with_fields_that_are_no_arrays():
    x, layer = np.ones(2), Activated(np.ones(2), 0.5, "square")
    np.testing.assert_array_equal(layer(x), 2.25)
    layer.w, layer.bias = np.full(2, 2.0), 1.0
    np.testing.assert_array_equal(layer(x), 9)
    layer.activation = "negative"
    np.testing.assert_array_equal(layer(x), -3)
