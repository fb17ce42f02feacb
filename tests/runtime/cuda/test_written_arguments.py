"""Arguments on a GPU that a compiled function writes into: in one launch, and with no copy where none is needed."""
import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.codegen.cuda import cuda_kernel
from jitnet.testing_gpu import fake_gpus
from jitnet.testing_kernels import interpreted_gpu
from tests.test_in_place import BODIES, function

ONCE_MORE = {
    "rows": "x -= y[:, :1]",
    "row and whole": "x *= y; y[:, 0] += 1",
    "moving mean": "m = y[0]; m *= 0.9; m += 0.1 * x.mean(axis=0)",
    "scaled by its first column": "x *= x[:, :1]",
    "one by one": "x[0, 0] += 1; x[-1, -1] = x[0, 0]",
    "picked": "x[np.array([2, 0, 2])] += y[:3]; x[np.array([1, 1])] = y[3:5]",
    "two axes": "x += np.outer(x[:, 0], x[0])",
}


def arrays(shape, rng):
    return rng.standard_normal((2, *shape))


def body(name):
    """The function of (x, y) of that name."""
    if name in BODIES:
        return function(name)
    scope = {"np": np}
    exec(f"def f(x, y): {ONCE_MORE[name]}", scope)
    return scope["f"]


def on_gpu(*values):
    return [jitnet.asarray(v, device="gpu") for v in values]


@pytest.fixture
def driver():
    with fake_gpus() as made:
        yield made


@pytest.mark.parametrize("name", [*BODIES, *ONCE_MORE])
@pytest.mark.parametrize("shape", [(9, 7), (6, 1), (40, 37)])
def test_as_numpy_does(name, shape, rng):
    """With the kernels that a GPU runs, thread by thread: no thread reads what another one writes."""
    plain, compiled = body(name), jitnet.jit(body(name))
    with interpreted_gpu():
        for _ in range(2):   # through Python, then by the short way
            x, y = arrays(shape, rng)
            want_x, want_y = x.copy(), y.copy()
            want = plain(want_x, want_y)
            x, y = on_gpu(x, y)
            got = compiled(x, y)
            np.testing.assert_allclose(x.numpy(), want_x, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(y.numpy(), want_y, rtol=1e-12, atol=1e-12)
            for g, w in zip(got if type(got) is tuple else [got], want if type(want) is tuple else [want], strict=True):
                if w is not None:
                    np.testing.assert_allclose(g.numpy(), w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name, most", [("sum", 0), ("square", 0), ("softmax", 0), ("centered", 0), ("stencil", 0), ("part", 0),
                                        ("several", 1), ("moving mean", 0), ("scaled by its first column", 1), ("turned", 1)])
def test_copies(name, most, driver, rng):
    """Nothing is copied that can be computed in place; a vector that each thread of a row reads, for instance, cannot."""
    x, y = on_gpu(*arrays((40, 30), rng))
    lowered = jitnet.jit(body(name)).lower(x, y)
    assert [info.kind for info in lowered.kernels].count("copy") <= most
    assert len(lowered.program.outputs) == (1 if name == "several" else 0)


def test_one_launch_a_step(driver, rng):
    """A step of an optimizer: one graph, the same memory, no wait, and the short way through Python."""
    @jitnet.jit
    def step(params, grads, momenta):
        for p, g, m in zip(params, grads, momenta, strict=True):
            m[...] = 0.9 * m + g
            p[...] -= 0.1 * m

    shapes = [(5, 4), (4,), (4, 3), (3,)]
    values = [[rng.standard_normal(s).astype(np.float32) for s in shapes] for _ in range(3)]
    params, grads, momenta = ([jitnet.asarray(v, device="gpu") for v in row] for row in values)
    where = [p._data.pointer for p in params]
    for k in range(4):
        before = {name: driver.calls[name] for name in ("launch_graph", "copy", "allocate", "synchronize")}
        step(params, grads, momenta)
        if k > 1:
            assert {name: driver.calls[name] - n for name, n in before.items()} == {
                "launch_graph": 1, "copy": 0, "allocate": 0, "synchronize": 0}
        for p, g, m in zip(*values, strict=True):
            m[...] = np.float32(0.9) * m + g
            p[...] -= np.float32(0.1) * m
    assert [p._data.pointer for p in params] == where
    for got, want in zip([*params, *momenta], [*values[0], *values[2]], strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)


def test_the_short_way_checks_as_the_long_one_does(driver):
    f = jitnet.jit(function("sum"))
    x, y = on_gpu(np.zeros((2, 3)), np.ones((2, 3)))
    for _ in range(3):
        f(x, y)
    whole = jitnet.asarray(np.zeros(6), device="gpu")
    for first, second in ((x, x), (whole.reshape(2, 3), whole.reshape(2, 3))):
        with pytest.raises(errors.TraceValueError, match="shares memory with"):
            f(first, second)
    np.testing.assert_array_equal(x.numpy(), 3)


def test_a_part_of_a_large_array(driver):
    """An assignment to an element moves that element, whatever the size of the array."""
    x = jitnet.asarray(np.zeros(1 << 20, np.float32), device="gpu")
    for k in range(10):
        x[k] = k
    assert driver.devices[0].used < x.nbytes + 100_000
    lowered = jitnet.jit(lambda x, v: x.__setitem__(3, v)).lower(x, np.float32(2))
    assert sum(info.writes for info in lowered.kernels) == 4
    np.testing.assert_array_equal(x.numpy()[:12], [*range(10), 0, 0])


def test_arrays_of_the_host_come_back(driver, rng):
    x, y = arrays((4, 5), rng)
    want = x + y
    f = jitnet.jit(function("sum"))
    with jitnet.gpu(0):
        for _ in range(2):
            given = x.copy()
            f(given, y)
            np.testing.assert_array_equal(given, want)
            strided = np.zeros((5, 4)).T
            strided[...] = x
            f(strided, y)
            np.testing.assert_array_equal(strided, want)


def test_new_sizes_without_a_trace(driver):
    f = jitnet.jit(function("sum"))
    for n in (3, 5, 8, 13, 21):
        x, y = on_gpu(np.zeros((n, 4)), np.ones((n, 4)))
        f(x, y)
        np.testing.assert_array_equal(x.numpy(), 1)
    assert f.traces <= 2


def test_what_is_shown_is_what_runs(rng):
    f = jitnet.jit(function("softmax"))
    x, y = (v.astype(np.float32) for v in arrays((4, 30), rng))
    text = f.source(x, y, device="cuda")
    with interpreted_gpu():
        (info,) = f.lower(*on_gpu(x, y)).kernels
    header = cuda_kernel(info.nest).source.split("\n")[0].partition("(")[2]
    assert header in text and "(flat(x, np.float32), " in text and "out_0 = " not in text


def test_an_elementwise_kernel_of_many_values_over_rows():
    """More values at a time than a thread has room for."""
    x, b = np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 15), np.ones(4, np.float32)
    mask = np.arange(60).reshape(4, 15) % 3 == 0

    def f(x, mask, b):
        y = x + b[:, None]
        for k in range(11):
            y = np.where(mask, y * np.float32(1 + k), y + x)
        return y
    with interpreted_gpu():
        got = jitnet.jit(f)(*on_gpu(x, mask, b)).numpy()
    np.testing.assert_allclose(got, f(x, mask, b), rtol=1e-6)
