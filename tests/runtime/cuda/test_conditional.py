"""Loops and branches that the device decides, and those for which the host waits: values, waits, graphs."""
import gc
import importlib

import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.nn.functional import gelu, relu
from jitnet.runtime import cuda_compile
from jitnet.runtime.cuda import stream
from jitnet.runtime.cuda.capture import MOST_GRAPHS
from jitnet.runtime.cuda.conditional import PTX
from jitnet.testing_gpu import fake_gpus

ranking = importlib.import_module("jitnet.passes.ranking")   # the package has the pass under this name

X = np.arange(12, dtype=np.float32).reshape(3, 4)
W = np.linspace(-0.4, 0.5, 16, dtype=np.float32).reshape(4, 4)


def on_gpu(*arrays):
    return [jitnet.asarray(a, device="gpu") for a in arrays]


def waits(driver):
    return driver.calls["synchronize"] + driver.calls["wait_for"]


def halve(x, limit):
    return jitnet.while_loop(lambda s: np.max(s[0]) > limit, lambda s: (s[0] / 2, s[1] + 1), (x, 0))


def branches(k, x):
    return jitnet.switch(k, [lambda x: x + 1, lambda x: x * 2 @ W, lambda x: x[::-1]], x)


def nested(x, limit):
    """A loop and a branch in a loop."""
    def body(s):
        x, n = s
        x = jitnet.while_loop(lambda y: np.sum(y) > limit + n, lambda y: y * np.float32(0.7), x)
        return jitnet.cond(n % 2 == 0, lambda y: y + 1, lambda y: y @ W, x), n + 1

    return jitnet.while_loop(lambda s: s[1] < 5, body, (x, 0))


def in_scan(x, limit):
    def body(c, row):
        c = jitnet.while_loop(lambda y: np.sum(np.abs(y)) > limit, lambda y: y / 2, c + row)
        return c, np.sum(c)

    return jitnet.scan(body, x[0], x)


def in_branch(x, limit):
    k = (np.sum(x) > limit).astype(np.int32)
    out = jitnet.switch(k, [lambda x: x, lambda x: jitnet.while_loop(lambda y: y[0, 1] > 0.2, lambda y: y / 3, x)], x)
    return np.tanh(out) + np.sum(out, axis=0)


def counted(x, limit):
    return jitnet.fori_loop(0, np.sum(x > limit), lambda i, c: c * np.float32(0.5) + i, x)


def layers(x, limit):
    """Products with what the library does as it stores, some of them of halves, in a loop and in a branch of it."""
    def body(s):
        y = relu(s[0] @ W + W[0])
        y = jitnet.cond(s[1] % 2 == 0, lambda y: gelu(y @ W.T + W[1], "tanh"),
                        lambda y: (y.astype(np.float16) @ W.astype(np.float16)).astype(np.float32), y)
        return y + 1, s[1] + 1

    return jitnet.while_loop(lambda s: (np.sum(s[0]) < 10 * limit) & (s[1] < 6), body, (x, 0))


PROGRAMS = {f.__name__: f for f in (halve, nested, in_scan, in_branch, counted, layers)}
LIMITS = {"in_branch": (100.0, 3.0), "counted": (20.0, 4.0)}
TOLERANCES = {"layers": 1e-3}


def check(f, driver, *arrays, expected_waits=0, rtol=2e-6):
    before = waits(driver)
    got = f(*on_gpu(*arrays))
    if expected_waits is not None:
        assert waits(driver) - before == expected_waits
    for a, b in zip(jitnet.tree.leaves(got), jitnet.tree.leaves(f(*arrays)), strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("version", [(13, 0), (12, 4)])
def test_loops(name, version):
    """No wait where the driver has conditional nodes; the same values where it has none."""
    f = jitnet.jit(PROGRAMS[name])
    with fake_gpus(version=version) as driver:
        for limit in LIMITS.get(name, (9.0, 3.0)):
            check(f, driver, X, np.float32(limit), expected_waits=0 if version == (13, 0) else None,
                  rtol=TOLERANCES.get(name, 2e-6))
        text = f.explain(*on_gpu(X, np.float32(3)))
        assert ("decided on the device" in text) == (version == (13, 0))
        assert ("the host waits for it: the driver, for CUDA 12.4, has no conditional nodes" in text) == (version == (12, 4))
        assert bool(driver.calls["add_conditional"]) == (version == (13, 0))


@pytest.mark.parametrize("version", [(13, 0), (12, 8), (12, 6)])
def test_branches(version):
    f = jitnet.jit(branches)
    with fake_gpus(version=version) as driver:
        for k in (0, 1, 2, 5, -3):
            check(f, driver, np.int32(k), X, expected_waits=int(version == (12, 6)))


def test_waits_of_the_host_are_counted():
    f = jitnet.jit(halve)
    with fake_gpus(version=(12, 2)) as driver:
        check(f, driver, X, np.float32(1), expected_waits=5)   # one for each look at the condition


def test_one_launch_runs_it_all(driver):
    f = jitnet.jit(in_branch)
    x, limit = on_gpu(X, np.float32(3))
    for k in range(8):
        out = f(x, limit)
        if k == 4:
            before = dict(driver.calls)
    assert {k: v - before.get(k, 0) for k, v in driver.calls.items() if v != before.get(k, 0)} == {"launch_graph": 3}
    np.testing.assert_allclose(out.numpy(), f(X, np.float32(3)), rtol=2e-6)


def test_what_runs_through_numpy_in_a_loop_keeps_the_host(driver, monkeypatch):
    monkeypatch.setattr(ranking, "LONGEST", 2)   # longer rows are sorted by NumPy
    f = jitnet.jit(lambda x: jitnet.while_loop(lambda y: np.max(y) > 1, lambda y: np.sort(y / 2, axis=1)[:, ::-1], x))
    check(f, driver, X, expected_waits=None)
    assert waits(driver) > 5 and not driver.calls["add_conditional"]
    assert "the host waits for it: something in it runs on the host" in f.explain(*on_gpu(X))
    g = jitnet.jit(lambda x: halve(np.sort(x, axis=1), np.float32(1))[0])   # beside a loop it does not matter
    before = waits(driver)
    check(g, driver, X, expected_waits=1)
    assert driver.calls["add_conditional"] == 1 and waits(driver) == before + 2


@pytest.mark.parametrize("call", ["new_graph", "begin_capture_to", "new_condition", "add_conditional", "instantiate", "launch"])
def test_a_graph_that_the_driver_refuses(call):
    f = jitnet.jit(halve)
    with fake_gpus() as driver:
        x, limit = on_gpu(X, np.float32(1))
        jitnet.jit(lambda x: x + 1)(x)
        driver.plant(call, 1, "NOT_SUPPORTED")
        for _ in range(3):
            got, rounds = f(x, limit)
        assert int(rounds) == 4 and not driver.capturing
        np.testing.assert_allclose(got.numpy(), X / 16)
        assert "the host waits for it: the driver refused its graph: not supported" in f.explain(x, limit)
        assert not any(isinstance(thing, list) and thing and isinstance(thing[0], list) and thing[0][3:] != [()]
                       for thing in driver.things.values())   # no graph with conditional nodes is left


@pytest.mark.parametrize("name", ["OUT_OF_MEMORY", "ILLEGAL_ADDRESS"])
def test_other_failures_are_told(name):
    f = jitnet.jit(halve)
    with fake_gpus() as driver:
        x, limit = on_gpu(X, np.float32(1))
        instantiate = driver.instantiate

        def failing(graph):
            driver.plant("instantiate", 1, name)
            return instantiate(graph)

        driver.instantiate = failing
        with pytest.raises(errors.DeviceError if name == "ILLEGAL_ADDRESS" else errors.DeviceMemoryError):
            f(x, limit)
        driver.instantiate = instantiate
        np.testing.assert_allclose(f(*on_gpu(X, np.float32(1)))[0].numpy(), X / 16)


def test_new_addresses_are_captured_anew(driver):
    f = jitnet.jit(halve)
    kept = [f(*on_gpu(X + k, np.float32(1))) for k in range(MOST_GRAPHS + 5)]
    assert driver.calls["instantiate"] == MOST_GRAPHS + 5 and driver.calls["free_executable"] == 5
    for k, (got, rounds) in enumerate(kept):
        want, count = f(X + k, np.float32(1))
        assert int(rounds) == count
        np.testing.assert_allclose(got.numpy(), want)
    del kept, got, rounds
    gc.collect()
    before = driver.calls["free_executable"]
    stream.open_gpu(0).give_back()
    assert driver.calls["free_executable"] == before + MOST_GRAPHS


def test_an_index_out_of_bounds_in_a_loop_is_told_at_the_next_wait(driver):
    f = jitnet.jit(lambda x, i: jitnet.while_loop(lambda s: s[1] < 3, lambda s: (s[0] + x[i + s[1]], s[1] + 1), (x[0], 0)))
    out, _ = f(*on_gpu(X, np.int64(1)))
    assert waits(driver) == 0
    with pytest.raises(errors.TraceIndexError, match="out of bounds"):
        out.numpy()
    np.testing.assert_allclose(f(*on_gpu(X, np.int64(0)))[0].numpy(), X[0] * 2 + X[1] + X[2])


def test_gradients_and_batches_of_branches(driver):
    def loss(x, w):
        return np.sum(jitnet.cond(np.sum(x) > 3, lambda x, w: np.tanh(x @ w), lambda x, w: x * 2, x, w) ** 2)

    check(jitnet.jit(jitnet.grad(loss, argnums=(0, 1))), driver, X, W)
    check(jitnet.jit(jitnet.vmap(lambda x: halve(x, np.float32(1.5)))), driver, X)


@pytest.mark.skipif(not cuda_compile.has_assembler(), reason="no assembler")
@pytest.mark.parametrize("cc", [(8, 0), (9, 0), (10, 0)])
def test_the_kernels_that_set_handles_assemble(cc):
    cubin = cuda_compile.assemble(PTX, cc)
    assert b"while_condition" in cubin and b"switch_index" in cubin and b"cudaGraphSetConditional" in cubin
