"""What only a card shows: sizes at the edges of warps, blocks and 32-bit numbers, work that overlaps, memory that comes back,
the same bits in every run, and arrays of other libraries."""
import gc
import threading

import numpy as np
import pytest

import jitnet
import jitnet as mx
from jitnet.nn.functional import layer_norm, log_softmax, softmax
from jitnet.runtime.cuda.stream import open_gpu
from jitnet.runtime.device import Device
from jitnet.testing_compiled import check_compiled, graph_of
from jitnet.types import BF16, F16, F32, F64

CARD = Device("gpu", 0)
GB = 1 << 30


def there(x):
    return jitnet.asarray(x, device=CARD)


def check(function, *arrays, tolerance=None):
    check_compiled(graph_of(function, *arrays), arrays, tolerance, CARD)


# Sizes

EDGES = [1, 31, 32, 33, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 65_535, 65_537,
         (1 << 20) + 3]


@pytest.mark.parametrize("n", EDGES)
@pytest.mark.parametrize("dtype", [F16, F32, F64, np.dtype(np.int8)], ids=str)
def test_sizes_at_the_edges_of_blocks(n, dtype, rng):
    """As one axis, as the length of rows, as their number."""
    for shape in ((n,), (3, n), (n, 3)):
        x = rng.integers(-3, 4, shape).astype(dtype)
        check(lambda x: [x * 2 + x, np.max(x, axis=-1), np.sum(x, axis=0, dtype=np.float64), np.argmax(x, axis=-1)], x)
        check(lambda x: [np.sum(x, dtype=np.float64), np.any(x == 3), x[::-1] + x], x)


@pytest.mark.parametrize("n", [33, 257, 4097, 20_000])
@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64], ids=str)
@pytest.mark.parametrize("function", [softmax, log_softmax, layer_norm, lambda x: x.T + x.T * x.T,
                                      lambda x: np.var(x, axis=1), lambda x: np.cumsum(x, axis=1) * 0.25],
                         ids=["softmax", "log_softmax", "layer_norm", "transpose", "variance", "cumsum"])
def test_rows(function, n, dtype, rng):
    """The CPU's values, rounded to the dtype: sums are taken in another order, and those of halves in float32 on both."""
    x = rng.uniform(-1, 1, (5, n)).astype(dtype)
    got, want = (np.asarray(jitnet.jit(function)(x)).astype(float) for x in (there(x), x))
    tolerance = {F16: 2e-3, BF16: 1.6e-2, F32: 1e-5, F64: 1e-13}[dtype]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * max(1, np.max(np.abs(want))))


def test_more_elements_than_32_bits_count():
    if CARD.memory_info[0] < 8 * GB:
        pytest.skip("it takes 8 GB of memory on the card")
    n = (1 << 31) + 12_345
    made = jitnet.jit(lambda: (jitnet.numpy.arange(n) % 7).astype(np.int8), device=CARD)()
    total, last = jitnet.jit(lambda x: (np.sum(x, dtype=np.int64), x[-3:] + 1))(made)
    assert int(total) == (n // 7) * 21 + sum(range(n % 7)) and last.tolist() == [k % 7 + 1 for k in range(n - 3, n)]
    assert int(np.sum(made[::-1][:10], dtype=np.int64)) == sum(k % 7 for k in range(n - 10, n))


# The same bits

def test_the_same_bits_in_every_run(rng):
    x, i = rng.standard_normal((70_000, 5)).astype(np.float32), rng.integers(0, 300, 70_000)

    def function(x, i):
        return np.sum(x), np.sum(x, axis=0), jitnet.numpy.zeros((300, 5), np.float32), np.exp(x).mean(axis=1)

    def added(x, i):
        out = jitnet.numpy.zeros((300, 5), np.float32)
        np.add.at(out, i, x)
        return out

    for f in (jitnet.jit(function), jitnet.jit(added)):
        runs = [[a.numpy() for a in jitnet.tree.leaves(f(there(x), there(i)))] for _ in range(5)]
        for run in runs[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(run, runs[0]))
    np.testing.assert_allclose(runs[0][0], added(x, i), atol=1e-3)


def test_random_numbers_are_those_of_the_cpu():
    def draw(key):
        g = jitnet.random.Generator(7)
        return g.random((1000,), dtype=np.float32), g.integers(0, 1000, 1000) + key

    for got, want in zip(jitnet.jit(draw)(there(np.int64(3))), jitnet.jit(draw)(np.int64(3)), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)


# Overlapping work, and its memory

def test_results_that_nobody_waited_for():
    """Thousands of calls deep, with blocks of memory that are used again while earlier calls are still to run."""
    step = jitnet.jit(lambda x, k: x * 0.5 + k)
    x, want, kept = there(np.zeros(100_003, np.float32)), np.float32(0), []
    for k in range(3000):
        x, want = step(x, np.float32(k)), want * np.float32(0.5) + np.float32(k)
        if k % 500 == 0:
            kept.append((x, want))
    for got, value in (*kept, (x, want)):
        np.testing.assert_allclose(got.numpy(), value, rtol=1e-6)


def test_threads_with_functions_of_their_own():
    found, x = {}, np.arange(5000.0)

    def work(k):
        f, a = jitnet.jit(lambda x: np.sin(x) * k + np.sum(x)), there(x)
        for _ in range(50):
            out = f(a)
        found[k] = out.numpy()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        np.testing.assert_allclose(found[k], np.sin(x) * k + x.sum(), rtol=1e-12)


def test_memory_comes_back():
    pool = open_gpu(0).pool   # the card's own figures are also those of other processes
    before, x, double = pool.allocated, there(np.ones(1 << 22, np.float32)), jitnet.jit(lambda x: x * 2)
    for _ in range(100):
        out = double(x)
    CARD.synchronize()
    assert pool.allocated <= before + 4 * x.nbytes
    del out, x
    gc.collect()
    CARD.release_memory()
    assert pool.allocated <= before + 4096


def test_numbers_that_the_host_asks_for(rng):
    """Masks, places and sizes, and what Python does with values."""
    x = rng.standard_normal((40, 50))
    a = there(x)
    assert np.array_equal(a[a > 0].numpy(), x[x > 0]) and np.array_equal(a[:, there(x[0] > 0)].numpy(), x[:, x[0] > 0])
    assert all(np.array_equal(g.numpy(), w) for g, w in zip(np.nonzero(a > 1), np.nonzero(x > 1)))
    a[a < 0] = 0
    assert float(a.sum()) == pytest.approx(x[x > 0].sum()) and bool((a >= 0).all())
    assert [float(row[0]) for row in a[:3]] == np.maximum(x[:3, 0], 0).tolist()


# MXNet's styles

@pytest.mark.parametrize("count", [1, 2])
def test_a_module_trains_as_on_the_cpu(count, rng):
    if count > jitnet.num_gpus():
        pytest.skip("one card")
    x = rng.standard_normal((160, 10)).astype(np.float32)
    y = (x[:, 0] > x[:, 1]).astype(np.float32)

    def trained(contexts):
        h = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=16, name="a"), act_type="tanh")
        module = mx.mod.Module(mx.sym.SoftmaxOutput(mx.sym.FullyConnected(h, num_hidden=2, name="b"), name="softmax"),
                               context=contexts)
        mx.random.seed(1)
        module.fit(mx.io.NDArrayIter(x, y, batch_size=40), num_epoch=2, kvstore="device", initializer=mx.init.Xavier(),
                   optimizer="sgd", optimizer_params={"learning_rate": 0.1})
        return {name: value.asnumpy() for name, value in module.get_params()[0].items()}

    found, wanted = trained([mx.gpu(k) for k in range(count)]), trained(mx.cpu())
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


# Other libraries

@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_arrays_of_other_libraries_between_their_work_and_ours(library):
    """Each sees what the other has enqueued before, on whatever stream; parts of arrays come without a copy, too."""
    module = pytest.importorskip(library)
    if library == "torch" and not module.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    f, n = jitnet.jit(lambda x: np.cumsum(x, axis=1) + 1), 3000
    stream = module.cuda.Stream()
    with module.cuda.stream(stream) if library == "torch" else stream:
        theirs = module.ones((n, n), dtype=module.float32, **({"device": "cuda"} if library == "torch" else {}))
        for _ in range(20):
            theirs = theirs * 1.5 - 0.5   # stays 1, and takes a while
        back = module.from_dlpack(f(jitnet.asarray(theirs))) * 2
        assert float(back[-1, -1]) == 2 * (n + 1)
        part = jitnet.asarray(theirs[::2, 1:4])
        assert part.shape == (n // 2, 3) and float(part.sum()) == 3 * (n // 2)
