"""Random programs: the traced function is the function, forward and reverse mode agree with each other and with differences,
vmap is a loop.
"""
import numpy as np
import pytest

import jitnet
from jitnet.testing import check_grads
from jitnet.tracer import trace
from jitnet.types import ArrayType

UNARY = {
    "sin": np.sin, "tanh": np.tanh, "square": lambda x: x * x, "root": lambda x: np.sqrt(1 + x * x),
    "log": lambda x: np.log(1.5 + x * x),
    "exp": lambda x: np.exp(-x * x), "negative": lambda x: -x, "abs": lambda x: np.abs(x),
    "clip": lambda x: np.clip(x, -0.4, 0.7),
    "cumsum": lambda x: np.cumsum(x, axis=-1) / 2, "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
    "normalize": lambda x: (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 0.3),
    "flip": lambda x: x[..., ::-1], "first": lambda x: x[..., :1] * np.ones(x.shape[-1]),
    "roll": lambda x: np.concatenate([x[..., 1:], x[..., :1]], -1),
    "max": lambda x: x - np.max(x, axis=-1, keepdims=True),
    "transpose": lambda x: np.swapaxes(np.swapaxes(x, 0, -1) * 2, 0, -1),
    "sort": lambda x: np.sort(x, axis=-1), "write": lambda x: _written(x),
    "take": lambda x: np.take(x, np.array([2, 0, 1, 0]), axis=-1),
    "detour": lambda x: jitnet.checkpoint(np.cos)(x), "stop": lambda x: x * jitnet.stop_gradient(np.ones(4)),
    "scan": lambda x: jitnet.scan(lambda c, i: (np.sin(c) + 0.1 * i, None), x, np.arange(3.0))[0],
    "rows": lambda x: jitnet.map(lambda row: row * row[::-1], x),
    "cond": lambda x: jitnet.cond(x.sum() > 0, np.tanh, lambda x: x * 0.5, x),
    "loop": lambda x: jitnet.fori_loop(0, 2, lambda i, c: c * 0.5 + np.sin(c) * i, x),
    "vmap": lambda x: jitnet.vmap(lambda row: np.tanh(row).sum() * row)(x),
    "grad": lambda x: jitnet.grad(lambda x: (np.sin(x) * x).sum())(x),
    "jvp": lambda x: jitnet.jvp(np.sin, (x,), (x * x,))[1],
}
BINARY = {
    "add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y, "divide": lambda x,
    y: x / (2 + y * y),
    "where": lambda x, y: np.where(x > 0, x * y, y - x), "maximum": np.maximum, "minimum": lambda x, y: np.minimum(x, y * 0.7),
    "matmul": lambda x, y: np.matmul(x, np.swapaxes(y, -1, -2)) @ np.ones((3, 4)) / 4, "outer": lambda x,
    y: x[..., :1] * y + x.sum() * 0.1,
    "hypot": lambda x, y: np.sqrt(x * x + y * y + 0.1), "atan2": lambda x, y: np.arctan2(x, 2 + y * y), "row": lambda x,
    y: x + y[0],
}


def _written(x):
    x = x + 0
    x[0, 1:3] = np.sin(x[1, :2])
    x[:, -1] *= 2
    return x


def program(seed):
    """A function of two (3, 4) arrays, made of ten random steps, and the names of the steps."""
    rng = np.random.default_rng(seed)
    steps = []
    for k in range(10):
        table = BINARY if rng.random() < 0.4 else UNARY
        name = str(rng.choice(sorted(table)))
        steps.append((table[name], [int(rng.integers(max(0, k - 3), k + 2)) for _ in range(2 if table is BINARY else 1)], name))

    def f(x, y):
        values = [x, y]
        for step, operands, _ in steps:
            values.append(step(*(values[i] for i in operands)))
        return values[-1] * values[-2] + values[-3]

    f.__name__ = f"program_{seed}"
    return f, [name for _, _, name in steps]


def arguments(seed, *batch):
    rng = np.random.default_rng(seed + 1000)
    return [rng.uniform(-1, 1, (*batch, 3, 4)) for _ in range(2)]


@pytest.mark.parametrize("seed", range(60))
def test_random_program(seed):
    f, names = program(seed)
    x, y = arguments(seed)
    value = f(x.copy(), y.copy())
    np.testing.assert_allclose(trace(lambda *a: [f(*a)], [ArrayType((3, 4), x.dtype)] * 2, "t").graph(x, y)[0], value,
                               rtol=1e-12, err_msg=str(names))
    check_grads(f, (x, y), rtol=2e-4, atol=2e-5)

    t, ct = arguments(seed + 1)[0], arguments(seed + 2)[0]
    forward = (jitnet.jvp(f, (x, y), (t, -t))[1] * ct).sum()
    gx, gy = jitnet.vjp(f, x, y)[1](ct)
    np.testing.assert_allclose(forward, (gx * t).sum() - (gy * t).sum(), rtol=1e-9, atol=1e-11, err_msg=str(names))


@pytest.mark.parametrize("seed", range(60, 90))
def test_vmap_of_random_program_is_a_loop(seed):
    f, names = program(seed)
    xs, ys = arguments(seed, 3)
    np.testing.assert_allclose(jitnet.vmap(f)(xs, ys), [f(x.copy(), y.copy()) for x, y in zip(xs, ys)], rtol=1e-10, atol=1e-12,
                               err_msg=str(names))
    g = jitnet.grad(lambda x, y: (f(x, y) ** 2).sum())
    np.testing.assert_allclose(jitnet.vmap(g, (0, None))(xs, ys[0]), [g(x, ys[0]) for x in xs], rtol=1e-8, atol=1e-10,
                               err_msg=str(names))


@pytest.mark.parametrize("seed", range(90, 100))
def test_second_derivatives_of_random_program(seed):
    f, names = program(seed)
    x, y = arguments(seed)
    total = lambda x, y: f(x, y).sum()
    t = arguments(seed + 1)[0]
    forward_over_reverse = jitnet.jvp(lambda x: jitnet.grad(total)(x, y), (x,), (t,))[1]
    reverse_over_reverse = jitnet.grad(lambda x: (jitnet.grad(total)(x, y) * t).sum())(x)
    reverse_over_forward = jitnet.grad(lambda x: jitnet.jvp(lambda x: total(x, y), (x,), (t,))[1])(x)
    np.testing.assert_allclose(reverse_over_reverse, forward_over_reverse, rtol=1e-8, atol=1e-10, err_msg=str(names))
    np.testing.assert_allclose(reverse_over_forward, forward_over_reverse, rtol=1e-8, atol=1e-10, err_msg=str(names))


@pytest.mark.parametrize("seed", [2, 5, 7, 10, 11, 17])
def test_compiled_gradient_of_random_program(seed):
    f, names = program(seed)
    x, y = arguments(seed)
    g = jitnet.value_and_grad(lambda x, y: (f(x, y) ** 2).sum(), (0, 1))
    for found, expected in zip(jitnet.tree.leaves(jitnet.jit(g)(x, y)), jitnet.tree.leaves(g(x, y)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13, err_msg=str(names))
