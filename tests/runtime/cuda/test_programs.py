"""Compiled functions on a GPU: where they run, what they enqueue, and that the host never waits unless it asks for a value."""
import importlib
import pathlib
import re

import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.codegen.gpu_steps import GpuBuilder
from jitnet.op import OPS
from jitnet.passes.running import RUNNING
from jitnet.runtime.cuda import memory
from jitnet.runtime.cuda.capture import MOST_GRAPHS
from jitnet.types import BF16, F16

ranking = importlib.import_module("jitnet.passes.ranking")   # the package has the pass under this name

X = np.arange(12, dtype=np.float32).reshape(3, 4)
W = np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)


def on_gpu(x, index=0):
    return jitnet.asarray(x, device=jitnet.gpu(index))


def layer(x, w):
    h = np.tanh(x @ w)
    return h / np.sum(h * h, axis=1, keepdims=True)


def close(got, want):
    np.testing.assert_allclose(np.asarray(got), want, rtol=2e-6, atol=1e-6)


def waits(driver):
    return driver.calls["synchronize"] + driver.calls["wait_for"]


def test_a_function_runs_where_its_arrays_are(driver):
    f = jitnet.jit(layer)
    out = f(on_gpu(X), on_gpu(W))
    assert type(out) is jitnet.Array and out.device == jitnet.gpu(0)
    close(out, layer(X, W))
    close(f(X, W), layer(X, W))
    assert type(f(X, W)) is np.ndarray
    assert f(jitnet.asarray(X), jitnet.asarray(W)).device == jitnet.cpu()
    mixed = f(on_gpu(X), W)   # NumPy arrays are copied to where the Arrays are
    assert mixed.device == jitnet.gpu(0)
    close(mixed, layer(X, W))


def test_arrays_on_several_devices_do_not_go_together(drivers):
    f = jitnet.jit(layer)
    with pytest.raises(errors.DeviceError) as error:
        f(on_gpu(X), on_gpu(W, 1))
    lines = str(error.value).split("\n")
    assert lines[0] == "layer: argument `w` is on gpu(1), which does not go together with `x` on gpu(0)"
    assert "f(on_gpu(X), on_gpu(W, 1))" in lines[1] and lines[2] == "  move it first: `x.to('gpu')`"
    with pytest.raises(errors.DeviceError, match=r"`x` is on cpu\(0\), which does not go together with jit\(device=gpu\(1\)\)"):
        jitnet.jit(layer, device="gpu:1")(jitnet.asarray(X), W)


def test_the_device_of_jit(drivers):
    f = jitnet.jit(layer, device=jitnet.gpu(1))
    out = f(X, W)
    assert type(out) is np.ndarray   # NumPy arrays in, NumPy arrays out
    close(out, layer(X, W))
    assert drivers.calls["open"] == 1 and f(on_gpu(X, 1), W).device == jitnet.gpu(1)


def test_the_default_device(driver):
    f = jitnet.jit(layer)
    close(f(X, W), layer(X, W))
    assert not driver.calls["launch"] and not driver.calls["launch_graph"]
    with jitnet.gpu(0):
        close(f(X, W), layer(X, W))
        assert driver.calls["launch_graph"] == 1
        g = jitnet.jit(lambda n: np.ones(3) * n)
        assert g(2.0).device == jitnet.gpu(0)
        with jitnet.cpu():
            f(X, W)
        assert f(jitnet.asarray(X, device="cpu"), jitnet.asarray(W, device="cpu")).device == jitnet.cpu()
        assert driver.calls["launch_graph"] == 1
    f(X, W)
    assert driver.calls["launch_graph"] == 1 and g(2.0).device == jitnet.cpu()


def test_another_thread_keeps_its_own_default_device(driver):
    import threading

    f, seen = jitnet.jit(layer), []
    f(X, W)
    with jitnet.gpu(0):
        thread = threading.Thread(target=lambda: seen.append((jitnet.asarray(1).device, type(f(X, W)))))
        thread.start()
        thread.join()
    assert seen == [(jitnet.cpu(), np.ndarray)] and not driver.calls["launch_graph"]


def test_the_host_waits_for_values_alone(driver):
    f = jitnet.jit(layer)
    x, w = on_gpu(X), on_gpu(W)
    for _ in range(5):
        x = f(x, w)[:, :4] + 1
    assert waits(driver) == 0
    value = x.numpy()
    assert waits(driver) == 1
    want = X
    for _ in range(5):
        want = layer(want, W)[:, :4] + 1
    close(value, want)
    x.block_until_ready()
    assert waits(driver) == 2


def test_a_training_loop_becomes_one_graph_that_is_launched(driver):
    def loss(w, x, y):
        return np.mean((np.tanh(x @ w) - y) ** 2)

    @jitnet.jit
    def step(w, x, y):
        value, grad = jitnet.value_and_grad(loss)(w, x, y)
        return value, w - np.float32(0.1) * grad

    x, y, w, host = on_gpu(X), on_gpu(np.ones((3, 5), np.float32)), on_gpu(W), W
    for k in range(12):
        value, w = step(w, x, y)
        if k == 5:
            before = dict(driver.calls)
    assert waits(driver) == 0
    assert {k: v - before.get(k, 0) for k, v in driver.calls.items() if v != before.get(k, 0)} == {"launch_graph": 6}
    for _ in range(12):
        want, host = step(host, X, np.ones((3, 5), np.float32))
    close(value, want)
    close(w, host)


@pytest.mark.parametrize("kept, small", [(False, 1 << 16), (True, 1 << 16), (False, 0)])
def test_layers_of_equal_size_keep_their_addresses(driver, kept, small, monkeypatch):
    """Blocks of one size come back in any order; each result takes one that it had before."""
    monkeypatch.setattr(memory, "SMALL", small)
    def loss(layers, x):
        for w, b in layers:
            x = np.tanh(x @ w + b)
        return np.sum(x * x)

    @jitnet.jit
    def step(layers, x):
        value, gradients = jitnet.value_and_grad(loss)(layers, x)
        return [(w - np.float32(0.1) * dw, b - np.float32(0.1) * db) for (w, b), (dw, db) in zip(layers, gradients)], value

    rng, losses = np.random.default_rng(0), []
    layers = [(on_gpu(rng.standard_normal((4, 4), np.float32)), on_gpu(np.zeros(4, np.float32))) for _ in range(5)]
    for k in range(30):
        batch = on_gpu(rng.standard_normal((4, 4), np.float32))
        layers, value = step(layers, batch)
        if kept:
            losses.append(value)   # its address is another one in every round: one kernel of the graph is patched
        else:
            value * 2 + np.sum(layers[k % 5][1])   # others take blocks of the same size meanwhile
        if k == 15:
            before = dict(driver.calls)
    more = {k: v - before.get(k, 0) for k, v in driver.calls.items() if v != before.get(k, 0)}
    assert "instantiate" not in more and "product" not in more and more["launch_graph"] == 14, more
    assert more.get("set_kernel_node", 0) <= (14 if kept else 0), more
    assert waits(driver) == 0


def test_graphs_are_patched_for_new_addresses(driver):
    f = jitnet.jit(lambda x: (np.sum(x, axis=0) * 2, np.max(x, axis=1)))
    kept = [f(on_gpu(X + k)) for k in range(MOST_GRAPHS + 6)]
    assert driver.calls["instantiate"] == MOST_GRAPHS and driver.calls["set_kernel_node"] > 0
    assert driver.calls["launch_graph"] == MOST_GRAPHS + 6
    for k, (a, b) in enumerate(kept):
        close(a, np.sum(X + k, axis=0) * 2)
        close(b, np.max(X + k, axis=1))


def test_graphs_with_products_are_captured_anew(driver):
    f = jitnet.jit(layer)
    inputs = [on_gpu(X + k) for k in range(MOST_GRAPHS + 3)]
    kept = [f(x, on_gpu(W)) for x in inputs]
    assert driver.calls["instantiate"] == MOST_GRAPHS and driver.calls["update_graph"] == 3
    assert driver.calls["free_graph"] == 3 and not driver.calls["free_executable"]
    driver.update_graph = lambda executable, graph: False   # where the driver cannot
    inputs += [on_gpu(X + k) for k in range(MOST_GRAPHS + 3, MOST_GRAPHS + 5)]
    kept += [f(x, on_gpu(W)) for x in inputs[-2:]]
    assert driver.calls["instantiate"] == MOST_GRAPHS + 2 and driver.calls["free_executable"] == 2
    for k, out in enumerate(kept):
        close(out, layer(X + k, W))


def test_in_place_arguments(driver):
    @jitnet.jit
    def f(x, y):
        x[0] = y[0] * 2
        x += 1
        return np.sum(x)

    a, x = on_gpu(X), X.copy()
    close(f(a, on_gpu(X)), f(x, X))
    close(a, x)
    with pytest.raises(errors.TraceValueError, match="shares memory with"):
        f(a, a)
    with jitnet.gpu(0):
        x = X.copy()
        f(x, X)
        close(x, a)


def test_loops_of_fixed_length_do_not_wait(driver):
    f = jitnet.jit(lambda x: jitnet.scan(lambda c, row: (np.tanh(c + row) * 0.5, c * 2), x[0], x))
    want = f(X)
    carry, ys = f(on_gpu(X))
    assert waits(driver) == 0 and driver.calls["launch_graph"] == 1
    close(carry, want[0])
    close(ys, want[1])


@pytest.mark.parametrize("length", [6, 7])
def test_long_loops_run_round_by_round(driver, monkeypatch, length):
    monkeypatch.setattr("jitnet.runtime.cuda.program.MOST_UNROLLED", 4)
    x = np.linspace(0, 1, 4 * length, dtype=np.float32).reshape(length, 4)
    f = jitnet.jit(lambda x: jitnet.scan(lambda c, row: (c[::-1] + row, np.cumsum(c)), x[0], x, reverse=True))
    g = jitnet.jit(lambda x: jitnet.scan(lambda c, row: (c[::-1] + row, c * 2), x[0], x))
    for function in (f, g):
        for got, want in zip(function(on_gpu(x)), function(x), strict=True):
            close(got, want)


def test_counts_that_are_arguments(driver):
    f = jitnet.jit(lambda n, x: jitnet.fori_loop(0, n, lambda i, c: c * 0.5 + i, x))
    close(f(on_gpu(np.int64(4)), on_gpu(X)), f(np.int64(4), X))


def test_ops_of_numpy_come_to_the_host(driver, monkeypatch):
    monkeypatch.setattr(ranking, "LONGEST", 2)   # longer rows are sorted by NumPy
    f = jitnet.jit(lambda x: np.argsort(x, axis=1) + 1)
    close(f(on_gpu(-X)), f(-X))
    assert waits(driver) == 2
    assert "argsort (NumPy, on the host: waits for its operands)" in f.explain(on_gpu(X))


def test_the_docs_name_what_runs_through_numpy():
    page = (pathlib.Path(__file__).parents[3] / "docs/how_it_works.md").read_text()
    (line,) = [line for line in page.split("\n") if line.startswith("| ops that run through NumPy on the host:")]
    without = {name for name, op in OPS.items() if op.kind == "call" and name not in GpuBuilder.lowerings} - set(RUNNING)
    assert f"{ranking.LONGEST:,} elements" in line
    assert set(re.findall(r"`(\w+)`", line)) == without


def test_products_of_every_kind(driver):
    rng = np.random.default_rng(1)
    for a, b in [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((4,), (4, 2)),
                 ((3, 4), (4,)), ((0, 3), (3, 2)), ((2, 3), (3, 0)), ((2, 5, 3, 4), (2, 5, 4, 3))]:
        x, y = rng.standard_normal(a), rng.standard_normal(b)
        f = jitnet.jit(lambda x, y: (x @ y) + 0.5)
        close(f(on_gpu(x), on_gpu(y)), x @ y + 0.5)
    x = rng.standard_normal((3, 6))
    close(jitnet.jit(lambda x: x[:, ::2] @ x[:, 1::2].T)(on_gpu(x)), x[:, ::2] @ x[:, 1::2].T)
    i = rng.integers(0, 9, (3, 4))
    close(jitnet.jit(lambda x: x @ x.T)(on_gpu(i)), i @ i.T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, F16, BF16])
@pytest.mark.parametrize("m, k, n", [(2, 0, 3), (0, 2, 3), (2, 3, 0), (0, 0, 0), (1, 1, 1)])
def test_products_of_nothing_do_not_go_to_the_library(driver, dtype, m, k, n):
    """It takes none with a side of 0; what follows one, and its gradients, are there all the same."""
    def layer(x, w, b):
        return np.maximum(x @ w + b, 0)
    x, w, b = (np.ones(shape, dtype) for shape in ((m, k), (k, n), (n,)))
    gradients = jitnet.grad(lambda *operands: layer(*operands).sum(), argnums=(0, 1, 2))
    for f in (layer, gradients):
        found = jitnet.jit(f)(*(jitnet.asarray(a, device="gpu") for a in (x, w, b)))
        for there, here in zip(jitnet.tree.leaves(found), jitnet.tree.leaves(jitnet.jit(f)(x, w, b)), strict=True):
            np.testing.assert_array_equal(there.numpy(), here, strict=True)


def test_scatter_gather_and_constants(driver):
    table = jitnet.asarray(np.arange(20.0).reshape(5, 4))

    @jitnet.jit
    def f(i, v):
        out = jitnet.numpy.zeros(6)
        out[i] = v
        np.add.at(out, i, v)
        return table[i], out

    i, v = np.array([1, 3, 4]), np.array([1.0, 2.0, 3.0])
    for got, want in zip(f(on_gpu(i), on_gpu(v)), f(i, v), strict=True):
        close(got, want)


def test_transforms_outside_jit(driver):
    def loss(w):
        return np.sum(np.tanh(X @ w) ** 2)

    value, grad = jitnet.value_and_grad(loss)(on_gpu(W))
    assert grad.device == jitnet.gpu(0) and driver.calls["launch"] + driver.calls["launch_graph"] > 0
    want, want_grad = jitnet.value_and_grad(loss)(W)
    close(value, want)
    np.testing.assert_allclose(grad.numpy(), want_grad, rtol=1e-3, atol=1e-5)   # 1 - tanh ** 2 cancels where tanh is 1


def test_what_can_be_looked_at(driver):
    f = jitnet.jit(layer)
    assert "cuBLASLt: 3 x 4 x 5 of f32" in f.explain(on_gpu(X), on_gpu(W))
    assert "def kernel" in f.lower(on_gpu(X), on_gpu(W)).kernels[-1].source
    assert "rows: " in f.explain(on_gpu(X), on_gpu(W)) and "threads" in f.explain(on_gpu(X), on_gpu(W))
    assert "@simulated" in f.source(on_gpu(X), on_gpu(W)) and "in the arena" in f.memory(on_gpu(X), on_gpu(W))
    more = {name for name, _ in f.steps(on_gpu(X), on_gpu(W))} - {name for name, _ in f.steps(X, W)}
    assert more == {"widen_all_but_products", "running", "ranking", "gradient_epilogues", "epilogue"}
    assert f.traces == 2   # for the GPU and for the CPU


def test_one_sum_has_the_same_bits_again(driver):
    x = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    f = jitnet.jit(lambda x: np.sum(x * x))
    a = on_gpu(x)
    assert float(f(a)) == float(f(a)) == float(f(on_gpu(x)))


def test_threads_share_a_device(driver):
    from concurrent.futures import ThreadPoolExecutor

    f = jitnet.jit(layer)
    g = jitnet.jit(lambda x, i: np.sum(x[i], axis=1))
    x, w = on_gpu(X), on_gpu(W)

    def work(k):
        for n in range(20):
            out = f(x + k, w)
            picked = g(x + n, on_gpu(np.array([n % 3, k % 3])))
            close(out.numpy(), layer(X + k, W))
            close(picked.numpy(), np.sum((X + n)[[n % 3, k % 3]], axis=1))
        return k

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [0, 1, 2, 3]
