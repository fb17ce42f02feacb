"""What type checkers see of the public names: pytest runs these lines, `mypy` checks them."""
from typing import Any, assert_type

import numpy as np

import jitnet as mx
from jitnet import Array, JitFunction

ONES = np.ones(3)


@mx.jit
def scaled(x: np.ndarray, factor: float = 2.0) -> np.ndarray:
    return np.tanh(x) * factor


@mx.jit(static_argnames="power")
def raised(x: np.ndarray, power: int) -> np.ndarray:
    return x ** power


@mx.custom_vjp
def identity(x: np.ndarray) -> np.ndarray:
    return x


class Model:
    @mx.jit
    def step(self, x: np.ndarray) -> np.ndarray:
        return x + 1


def test_compiled_functions_keep_their_signatures():
    assert_type(scaled(ONES), np.ndarray)
    assert_type(scaled(x=ONES, factor=3.0), np.ndarray)
    assert_type(raised(ONES, power=2), np.ndarray)
    assert_type(Model().step(ONES), np.ndarray)
    assert_type(identity(ONES), np.ndarray)
    text: str = scaled.source(ONES) + Model().step.explain(ONES)
    assert text and isinstance(scaled, JitFunction)


def test_transforms_keep_parameters():
    def loss(x: np.ndarray, y: float) -> float:
        return (x * y).sum()

    value, gradient = mx.value_and_grad(loss)(ONES, 2.0)
    assert_type(value, float)
    assert_type(mx.grad(loss)(ONES, y=2.0), Any)
    assert_type(mx.vmap(scaled)(ONES), np.ndarray)
    assert_type(mx.checkpoint(scaled)(ONES), np.ndarray)
    assert np.array_equal(gradient, ONES * 2)


def test_wrong_calls_are_found():
    """mypy reports an ignored error that is none."""
    for call in (
        lambda: scaled("a", "b", "c"),  # type: ignore[call-arg, arg-type]
        lambda: mx.jit(scaled, static_argname="x"),  # type: ignore[call-overload]
        lambda: mx.grad(scaled, argnum=0),  # type: ignore[call-arg]
    ):
        try:
            call()
        except TypeError:
            continue
        raise AssertionError("a wrong call is an error")


def test_arrays_have_operators_and_methods():
    x = mx.asarray(ONES)
    assert_type(2 * x + 1, Array)
    assert_type(-x, Array)
    assert_type(x @ x, Array)
    assert_type(x[0], Array)
    assert_type(x.shape, tuple[int, ...])
    x += 1
    assert float(x.sum()) == 6
    rng = mx.random.Generator(1)
    assert rng.normal(0.0, 1.0, size=3).shape == (3,)


def test_arrays_and_symbols_of_mxnet():
    a = mx.nd.ones((2,))
    assert_type(a * 2 + a, mx.nd.NDArray)
    assert_type(-(a > 1), mx.nd.NDArray)
    s = mx.sym.Variable("x")
    assert_type(2 / s, mx.sym.Symbol)
    assert mx.nd.relu(a).shape == a.relu().shape == (2,) and mx.sym.relu(s).list_arguments() == ["x"]
