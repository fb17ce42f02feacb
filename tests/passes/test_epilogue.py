"""Products and what follows them as one equation: which kernels are taken, and that the graph means what it meant."""
import numpy as np
import pytest

import jitnet
from jitnet.ir import check_graph, eval_graph, uses
from jitnet.nn.functional import gelu, relu
from jitnet.passes.epilogue import epilogue
from jitnet.passes.pipeline import pipeline
from jitnet.testing_compiled import graph_of
from jitnet.testing_gpu import fake_gpus
from jitnet.types import BF16, F16

RNG = np.random.default_rng(5)
X, W, B = (RNG.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (4, 5), 5))
ALL = ("bias", "relu", "relu_bias", "gelu", "gelu_bias")

TAKEN = {
    "bias": lambda x, w, b: x @ w + b,
    "bias first": lambda x, w, b: b + x @ w,
    "relu": lambda x, w, b: relu(x @ w),
    "maximum": lambda x, w, b: np.maximum(0, x @ w),
    "relu_bias": lambda x, w, b: relu(x @ w + b),
    "gelu": lambda x, w, b: gelu(x @ w, approximate="tanh"),
    "gelu_bias": lambda x, w, b: gelu(b + x @ w, approximate="tanh"),
    "of a view": lambda x, w, b: relu(x[1:] @ w + b),
}
LEFT = {
    "another bias": lambda x, w, b: x @ w + b[:3, None],
    "another function": lambda x, w, b: np.tanh(x @ w + b),
    "gelu with erf": lambda x, w, b: gelu(x @ w + b),
    "another constant": lambda x, w, b: np.maximum(x @ w, 1),
    "read twice": lambda x, w, b: (x @ w + b, x @ w),
    "more results": lambda x, w, b: (relu(x @ w + b), x @ w + b),
    "a sum": lambda x, w, b: np.sum(x @ w + b, axis=1),
}


def passed(function, *arrays, known=ALL):
    graph = graph_of(function, *arrays)
    before = pipeline(graph, gpu=True)[-1][1]
    after = check_graph(epilogue(before, lambda: known))
    for got, want in zip(eval_graph(after, *arrays), eval_graph(before, *arrays), strict=True):
        np.testing.assert_array_equal(got, want)
    return [eqn.params["epilogue"] for eqn in after.eqns if eqn.op.name == "product"]


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(name):
    found = passed(TAKEN[name], X, W, B)
    assert len(found) == 1 and (name == found[0] or name not in ALL)


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left(name):
    assert passed(LEFT[name], X, W, B) == []


def test_other_dtypes_and_unknown_epilogues_are_left():
    assert passed(TAKEN["bias"], X.astype(np.float64), W.astype(np.float64), B.astype(np.float64)) == []
    assert passed(TAKEN["relu_bias"], X, W, B, known=("bias",)) == []


@pytest.mark.parametrize("name", TAKEN)
def test_programs_with_epilogues(name):
    f = jitnet.jit(TAKEN[name])
    with fake_gpus() as driver:
        arrays = [jitnet.asarray(a, device="gpu") for a in (X, W, B)]
        np.testing.assert_allclose(f(*arrays).numpy(), f(X, W, B), rtol=2e-6, atol=1e-6)
        assert driver.calls["product"] == 1 and driver.calls["launch"] == 0
        assert "cuBLASLt" in f.explain(*arrays)


def test_products_in_loops():
    f = jitnet.jit(lambda x, w, b: jitnet.fori_loop(0, 3, lambda i, h: relu(h @ w + b), x))
    w = W[:, :4]
    with fake_gpus() as driver:
        arrays = [jitnet.asarray(a, device="gpu") for a in (X, w, B[:4])]
        np.testing.assert_allclose(f(*arrays).numpy(), f(X, w, B[:4]), rtol=2e-6, atol=1e-6)
        assert driver.calls["product"] == 3


def loss(x, w, b):
    return np.sum(np.tanh(relu(x @ w + b) @ w.T))


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_products_of_halves_are_one_call_and_mean_the_same(dtype):
    """Half operands, sums in float32, rounded once: the bits of the CPU."""
    arrays = [a.astype(dtype) for a in (X, W, B)]
    f = jitnet.jit(jitnet.value_and_grad(loss, argnums=(1, 2)))
    with fake_gpus() as driver:
        on_gpu = [jitnet.asarray(a, device="gpu") for a in arrays]
        value, grads = f(*on_gpu)
        assert driver.calls["product"] == 5
        for got, want in zip((value, *grads), (lambda v, g: (v, *g))(*f(*arrays)), strict=True):
            np.testing.assert_array_equal(got.numpy().astype(np.float32), np.asarray(want).astype(np.float32))
        products = [info.eqns[0] for info in f.lower(*on_gpu).kernels if info.kind == "blas"]
        assert {a.type.dtype for eqn in products for a in (*eqn.inputs, *eqn.outputs)} == {dtype}


def test_a_sum_of_halves_is_rounded_once():
    """2048 + 1 is 2048 in float16: only sums in float32 see all the ones."""
    x, w = np.ones((1, 4097), np.float16), np.ones((4097, 1), np.float16)
    x[0, 0] = 2048
    with fake_gpus():
        got = jitnet.jit(np.matmul)(jitnet.asarray(x, device="gpu"), w)
        assert got.numpy() == np.float16(2048 + 4096) == jitnet.jit(np.matmul)(x, w)


def training(x, w, b, v):
    return np.sum((relu(x @ w + b) @ v) ** 2)


def gradients(function, argnums):
    return lambda *arrays: jitnet.tree.leaves(jitnet.value_and_grad(function, argnums=argnums)(*arrays))


def test_a_dense_layer_in_training_is_one_product():
    """Its gradient looks at the result of relu: the product without bias and relu is needed nowhere."""
    v = RNG.standard_normal((5, 2)).astype(np.float32)
    assert passed(gradients(training, (1, 2, 3)), X, W, B, v) == ["relu_bias"]
    assert passed(gradients(lambda x, w, v: np.sum((relu(x @ w) @ v) ** 2), (1, 2)), X, W, v) == ["relu"]
    assert passed(gradients(training, (1, 2, 3)), X, W, B, v, known=("bias", "relu")) == []
    f = jitnet.jit(jitnet.value_and_grad(training, argnums=(0, 1, 2, 3)))
    with fake_gpus() as driver:
        value, grads = f(*[jitnet.asarray(a, device="gpu") for a in (X, W, B, v)])
        assert driver.calls["product"] == 6
        want, want_grads = f(X, W, B, v)
        for got, expected in zip((value, *grads), (want, *want_grads), strict=True):
            np.testing.assert_allclose(got.numpy(), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-45])
def test_a_cpu_has_the_masks_too(value):
    """The kernel of the gradient reads neither the product nor the bias, and its bits are those of the graph as written."""
    b = np.array([value, 1, -1, -value, 0.5], np.float32)
    f = jitnet.jit(gradients(lambda x, w, b: np.sum(np.tanh(relu(x @ w + b) @ W.T)), (1, 2)))
    before, after = [dict(f.steps(X, W, b))[name] for name in ("split_reductions", "relu_masks")]
    product = next(eqn.outputs[0] for eqn in after.eqns if eqn.op.name == "matmul")
    assert (len(uses(before)[product]), len(uses(after)[product])) == (2, 1)
    for w in (W, W * 0):
        with np.errstate(invalid="ignore"):
            expected = eval_graph(f.graph(X, w, b), X, w, b)
        for got, want in zip(f(X, w, b), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, 0.0, -0.0, np.inf, -np.inf])
def test_masks_of_special_values(value):
    x, w, b = X * 0, W * 0, np.full(5, value, np.float32)
    passed(gradients(lambda x, w, b: np.sum(relu(x @ w + b)), (1, 2)), x, w, b)


@pytest.mark.parametrize("function", [
    lambda x, w, b: (relu(x @ w + b), np.sum(np.maximum(x @ w + b, 0.5))),     # more than the sign
    lambda x, w, b: (relu(x @ w + b), np.sum(np.where(x @ w + 2 * b <= 0, 1, x[:, :1]))),   # of another sum
    lambda x, w, b: (relu(x @ w + b), np.sum(np.where(x @ w + b <= 1, 1, x[:, :1]))),
    lambda x, w, b: (relu(x @ w + b), np.sum(np.where((x @ w).T + b[:, None] <= 0, 1, w[0, 0]))),
], ids=["value", "other bias", "other bound", "transposed"])
def test_readers_that_need_the_product_keep_it(function):
    passed(function, X, W, B)


# what a later kernel asks for (p: the product that relu is given, with the bias b or without; h: the relu), and when it reads h
LATER = {
    "the sum": (lambda p, b, h: p + b <= 0, "bias"), "the product": (lambda p, b, h: p <= 0, "no bias"),
    "greater": (lambda p, b, h: p > 0, "no bias"), "beside relu": (lambda p, b, h: (p + b <= 0) & (h < 1), "bias"),
    "beside the bias": (lambda p, b, h: (p + b <= 0) * b, "bias"), "greater or equal": (lambda p, b, h: p >= 0, ""),
    "less": (lambda p, b, h: p < 0, ""), "a value": (lambda p, b, h: p, ""), "a power": (lambda p, b, h: (p + b) ** 3, ""),
    "other bound": (lambda p, b, h: p + b <= 1, ""), "other bias": (lambda p, b, h: p + 2 * b <= 0, ""),
    "other sum": (lambda p, b, h: p + 1 <= 0, ""), "difference": (lambda p, b, h: p - b <= 0, ""),
    "two bounds": (lambda p, b, h: (p <= 0) & (p < 1), ""), "two sums": (lambda p, b, h: (p + b <= 0) | (p <= 0), ""),
    "another product": (lambda p, b, h: p @ (W.T @ W), "")}


@pytest.mark.parametrize("given", ["bias", "no bias"])
@pytest.mark.parametrize("name", LATER)
def test_masks_of_later_kernels(name, given):
    """Only the sign of what relu was given is known from what it gave. A product lies between: the kernels are two."""
    mask, reads = LATER[name]

    def function(x, w, b):
        p = x @ w
        h = relu(p + b) if given == "bias" else relu(p)
        return np.tanh(h @ W.T) @ W * mask(p, b, h)

    f = jitnet.jit(function)
    for x in (X, X * 0):
        b = np.array([0, 1, -1, -0.0, 0.5], np.float32)
        before, after = [check_graph(dict(f.steps(x, W, b))[name]) for name in ("split_reductions", "relu_masks")]
        assert (after.eqns != before.eqns) == (given == reads)
        assert all(len(set(eqn.inputs)) == len(eqn.inputs) for eqn in after.eqns if eqn.op.name == "kernel")
        np.testing.assert_allclose(f(x, W, b), eval_graph(f.graph(x, W, b), x, W, b)[0], rtol=1e-5, atol=1e-5)


def test_long_kernels_are_not_spelled_out():
    def squares(x, w):
        h = x @ w
        for _ in range(40):
            h = h * h
        return h

    assert passed(squares, X * 0, W) == []


def test_products_of_halves_in_float32_read_halves():
    x, w = X.astype(np.float16), W.astype(np.float16)

    def mixed(x, w, b):
        return relu(x.astype(np.float32) @ w.astype(np.float32) + b)

    assert passed(mixed, x, w, B) == ["relu_bias"]
    assert passed(lambda x, w: x.astype(np.float32) @ w.astype(np.float32), x, w) == [""]
    assert passed(lambda x, w: x.astype(np.float32) @ w.astype(np.float32), x, W.astype(BF16)) == []   # two dtypes
    f, batched = jitnet.jit(mixed), jitnet.jit(lambda x, w: np.matmul(x, w, dtype=np.float32))
    with fake_gpus() as driver:
        arrays = [jitnet.asarray(a, device="gpu") for a in (x, w, B)]
        np.testing.assert_allclose(f(*arrays).numpy(), f(x, w, B), rtol=2e-6, atol=1e-6)
        assert driver.calls["product"] == 1 and driver.calls["launch"] == 0
        assert "3 x 4 x 5 of f16 to f32, then relu of the sum with bias" in f.explain(*arrays)
        many = np.stack([w, -w, 2 * w])
        found = batched(*[jitnet.asarray(a, device="gpu") for a in (x[None], many)])
        np.testing.assert_allclose(found.numpy(), np.matmul(x, many, dtype=np.float32), rtol=2e-6, atol=1e-6)


def test_a_library_whose_relu_loses_nan_still_frees_the_product():
    """The gradient looks at the result of relu; what relu was given is read once."""
    v = RNG.standard_normal((5, 2)).astype(np.float32)
    graph = graph_of(gradients(training, (1, 2, 3)), X, W, B, v)
    after = check_graph(epilogue(pipeline(graph)[-1][1], lambda: ("bias",)))
    first = next(eqn for eqn in after.eqns if eqn.op.name == "matmul")
    assert len(uses(after)[first.outputs[0]]) == 1
    for got, want in zip(eval_graph(after, X, W, B, v), eval_graph(graph, X, W, B, v), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-5)
