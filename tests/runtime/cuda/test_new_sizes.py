"""Sizes never seen on a GPU: templates make their programs without a trace, with the real kernels' numbers and launches."""
import numpy as np
import pytest

import jitnet
from jitnet.errors import DeviceError, TraceIndexError
from jitnet.nn.functional import relu, softmax
from jitnet.testing_gpu import fake_gpus
from jitnet.testing_kernels import interpreted_gpu

SIZES = (5, 7, 9, 33)
W = np.linspace(-1, 1, 96, dtype=np.float32).reshape(6, 16)


@pytest.fixture(autouse=True)
def checked(monkeypatch):
    """What the compiler cannot do with open sizes is an error, not a reason to do without."""
    monkeypatch.setenv("JITNET_CHECK", "1")


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def step(w, x, y):
    """Products with epilogues, forwards and backwards."""
    return jitnet.value_and_grad(lambda w: np.mean((relu(x @ w)[:, :3] - y) ** 2))(w)


CASES = {
    "rows kept": (softmax, lambda n: (normal(n, 3, 40 * n),)),
    "columns": (lambda x: x - np.mean(x, axis=0), lambda n: (normal(n, n, 6),)),
    "one long row": (np.sum, lambda n: (normal(n, 3000 * n),)),
    "squares": (lambda x: x[:, :, None] + x.T, lambda n: (normal(n, n, n),)),
    "a size as a number": (lambda x: x / np.sqrt(x.shape[0]) * x.shape[0], lambda n: (normal(n, n, 4),)),
    "products": (step, lambda n: (W, normal(n, n, 6), normal(n + 1, n, 3))),
    "batches of products": (lambda x: np.swapaxes(x, 0, 1) @ x[0].T, lambda n: (normal(n, n, 3, 4),)),
    "places": (lambda x, i: x[i] + np.cumsum(x, axis=0), lambda n: (normal(n, n, 3), np.arange(n)[::-1].copy())),
    "a sort": (lambda x: np.sort(x, axis=0) * 2, lambda n: (normal(n, n, 3),)),
    "through NumPy": (lambda x: np.linalg.inv(x) * 2, lambda n: (normal(n, n, 3, 3),)),
    "a loop": (lambda x: jitnet.while_loop(lambda s: np.max(s) > 1, lambda s: s / 2, x), lambda n: (normal(n, n, 3),)),
}


def family(f):
    (variant,) = f._programs.variants.values()
    (found,) = variant.families.values()
    return found


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    function, make = CASES[name]
    f, on_cpu = jitnet.jit(function), jitnet.jit(function)
    with interpreted_gpu():
        for n in SIZES:
            got = f(*jitnet.device_put(make(n), jitnet.gpu(0)))
            for a, b in zip(jitnet.tree.leaves(got), jitnet.tree.leaves(on_cpu(*make(n))), strict=True):
                np.testing.assert_allclose(np.asarray(a), b, rtol=2e-5, atol=1e-5, err_msg=f"size {n}")
        assert (len(family(f).templates), len(family(f).seen), family(f).reason) == (1, 1, "")


def test_errors_name_the_line_and_the_kernel(driver):
    def pick(x, i):
        return x[i] * x.shape[0]

    f = jitnet.jit(pick)
    for n in SIZES:
        out = f(*jitnet.device_put((normal(n, n, 2), np.array([0, n - 1])), jitnet.gpu(0)))
        np.testing.assert_allclose(out.numpy(), pick(normal(n, n, 2), [0, n - 1]), rtol=1e-6)
    out = f(*jitnet.device_put((normal(1, 40, 2), np.array([0, 40])), jitnet.gpu(0)))
    with pytest.raises(TraceIndexError, match=r"return x\[i\] \* x.shape\[0\]"):
        out.numpy()
    assert len(family(f).seen) == 1
    driver.crash_in = 0
    with pytest.raises(DeviceError, match="run since the last wait: pick"):
        f(*jitnet.device_put((normal(1, 41, 2), np.array([0, 3])), jitnet.gpu(0))).numpy()
    out = f(*jitnet.device_put((normal(1, 42, 2), np.array([0, 3])), jitnet.gpu(0)))   # on the device opened anew
    np.testing.assert_allclose(out.numpy(), pick(normal(1, 42, 2), [0, 3]), rtol=1e-6)


def test_the_library_is_asked_again():
    """Whether it has an algorithm decides the program: for other sizes it may have none."""
    f = jitnet.jit(lambda x: relu(x @ W))
    with fake_gpus(2) as driver:
        made = driver.products
        driver.products = lambda gpu: few(made(gpu))
        for n in (*SIZES, 90, 91):
            for k in range(2):
                x = jitnet.asarray(normal(n, n, 6), device=jitnet.gpu(k))
                np.testing.assert_allclose(f(x).numpy(), relu(normal(n, n, 6) @ W), rtol=1e-5, atol=1e-5)
        assert "it has no algorithm with relu" in f.explain(x) and "kernel" in f.explain(x)


def few(products):
    """A library whose relu is for fewer than 20 rows."""
    products.has = lambda product, *_: product.m < 20 or not product.epilogue
    return products
