"""Arrays on a GPU: where they are, what they do eagerly, how they come and go."""
import copy
import operator
import pickle

import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.compile import compile_graph

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def on_gpu(x, index=0):
    return jitnet.asarray(x, device=jitnet.gpu(index))


def same(got, want):
    """Checks that an Array is on the GPU and has dtype, shape and values of what NumPy gives."""
    assert type(got) is jitnet.Array and got.device == jitnet.gpu(0)
    want = np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)


def test_devices(drivers):
    assert jitnet.num_gpus() == 2 and str(jitnet.gpu(1)) == "gpu(1)"
    properties = jitnet.gpu(0).properties
    assert properties.compute_capability == (9, 0) and properties.name == "Fake GPU"
    free, total = jitnet.gpu(0).memory_info
    assert 0 < free <= total == properties.total_memory
    with pytest.raises(errors.DeviceError, match=r"gpu\(2\): this machine has gpu\(0\) to gpu\(1\)"):
        jitnet.gpu(2)
    with pytest.raises(errors.DeviceError, match="properties: the CPU has none"):
        _ = jitnet.cpu().properties


def test_what_it_is(driver):
    a = on_gpu(X)
    assert (a.shape, a.dtype, a.ndim, a.size, a.itemsize, a.nbytes, len(a)) == ((3, 4), np.float32, 2, 12, 4, 48, 3)
    assert repr(a).startswith("Array([[ 0.,") and repr(a).endswith("dtype=float32, device=gpu(0))")
    assert str(a) == str(X) and a.tolist() == X.tolist() and a[1, 1].item() == 5
    assert float(a[0, 1]) == 1 and bool(a[0, 1]) and int(a[2, 3]) == 11 and f"{a[0, 1]:.2f}" == "1.00" and 5 in a
    assert range(12)[jitnet.asarray(3, device="gpu")] == 3
    with pytest.raises(AttributeError):
        _ = a.__array_interface__
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        a._data.colour  # noqa: B018


def test_there_and_back(driver):
    for x in (X, X[:, ::2], X.T, np.float64(3), np.zeros((0, 3)), np.array([True, False]), np.arange(5)):
        a = on_gpu(x)
        same(a, x)
        assert a.to("cpu").device == jitnet.cpu() and a.to("gpu") is a
    x = X.copy()
    a = on_gpu(x)
    x[:] = 0   # the copy was taken when asked for
    same(a, X)


def test_empty_arrays_lie_nowhere(driver):
    """Not behind the block of those that they travel with: found by a random program."""
    x, empty = np.ones((16, 16), np.float32), np.zeros((2, 0, 3), np.float32)   # 1024 bytes: all of their block
    graph = jitnet.jit(lambda x, e: x + np.sum(e)).graph(x, empty)
    (out,) = compile_graph(graph, device=jitnet.gpu(0)).run([x, empty])
    np.testing.assert_array_equal(out.host(), x)


def test_large_arrays_go_in_pieces(driver, monkeypatch):
    monkeypatch.setattr("jitnet.runtime.cuda.transfer.CHUNK", 1024)
    monkeypatch.setattr("jitnet.runtime.cuda.memory.MOST_PINNED", 4096)
    x = np.arange(5000, dtype=np.int64)
    same(on_gpu(x), x)


def test_pickle_and_copies(driver):
    a = on_gpu(X)
    same(pickle.loads(pickle.dumps(a)), X)
    for other in (copy.copy(a), copy.deepcopy(a), a.copy(), jitnet.asarray(a, copy=True)):
        other += 1
        same(a, X)
        same(other, X + 1)
    assert jitnet.asarray(a)._data is a._data
    same(jitnet.asarray(a, np.float64), X.astype(np.float64))
    with pytest.raises(ValueError, match=r"f32\[3,4\] on gpu\(0\) is not float64 on gpu\(0\) without a copy"):
        jitnet.asarray(a, np.float64, copy=False)
    with pytest.raises(ValueError, match="without a copy"):
        jitnet.asarray(X, device="gpu", copy=False)


BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
          operator.lt, operator.ge, operator.eq]


@pytest.mark.parametrize("op", BINARY)
def test_operators(driver, op):
    a, x = on_gpu(X + 1), X + 1
    for other in (2, 2.5, x, np.float64(2), np.arange(1, 5)):
        same(op(a, other), op(x, other))
        same(op(other, a), op(other, x))
    same(op(a, a), op(x, x))


def test_functions_methods_and_indexing(driver):
    a = on_gpu(X)
    same(a @ a.T, X @ X.T)
    same(np.tanh(a), np.tanh(X))
    same(np.add.reduce(a, axis=0), X.sum(0))
    same(np.where(a > 3, a, 0), np.where(X > 3, X, 0))
    same(np.concatenate([a, a]), np.concatenate([X, X]))
    same(jitnet.numpy.mean(a, axis=1), X.mean(1))
    same(jitnet.nn.functional.softmax(a), np.exp(X) / np.exp(X).sum(-1, keepdims=True))
    for name in ("sum", "mean", "max", "argmin", "cumsum", "ravel", "copy", "transpose"):
        same(getattr(a, name)(), getattr(X, name)())
    same(a.reshape(4, 3), X.reshape(4, 3))
    same(a.reshape((2, -1)), X.reshape(2, -1))
    same(a.T, X.T)
    for key in (1, slice(1, 3), (slice(None), 2), (..., None), np.array([2, 0]), (slice(None, None, -1), [0, 3])):
        same(a[key], X[key])
    assert [row.tolist() for row in a] == X.tolist()
    with pytest.raises(ValueError, match="cannot reshape"):
        a.reshape(5, 2)


def test_writes(driver):
    a, x = on_gpu(X), X.copy()
    same_memory = a.reshape(-1)
    for key, value in ((1, 7), ((0, slice(None)), np.arange(4)), ((2, 3), 0.5), (np.array([0, 2]), 1)):
        a[key] = value
        x[key] = value
        same(a, x)
    a += 2
    x += 2
    np.multiply(a, 3, out=a)
    x *= 3
    np.sum(a, axis=0, out=a[0])   # into a copy: slices on a GPU are new arrays
    same(a, x)
    same(same_memory, x.reshape(-1))
    a.fill(1)
    same(a, np.ones_like(X))
    b, y = on_gpu(X[0, ::-1]), X[0, ::-1].copy()
    b.sort()
    y.sort()
    same(b, y)
    b.put([0, 2], 9)
    y.put([0, 2], 9)
    same(b, y)
    assert round(b[0], 1) == 9
    with pytest.raises(errors.TraceTypeError, match=r"a result of shape \[3, 4\] does not fit into out= of shape \[4\]"):
        np.add(a, 1, out=on_gpu(np.zeros(4)))


def test_numbers_are_arguments_of_one_program(driver):
    a = on_gpu(X)
    same(a * 0.25, X * np.float32(0.25))
    modules = driver.calls["load_module"]
    for k in range(5):
        same(a * (k + 0.5), X * np.float32(k + 0.5))
    assert driver.calls["load_module"] == modules


def test_two_devices(drivers):
    a = on_gpu(X)
    b = a.to("gpu:1")
    assert b.device == jitnet.gpu(1)
    np.testing.assert_array_equal((b + b).numpy(), X + X)
    same(b.to(jitnet.gpu(0)), X)
    with pytest.raises(errors.DeviceError) as error:
        a + b
    assert str(error.value).split("\n")[0] == ("add: argument `operands[1]` is on gpu(1), which does not go together with "
                                               "`operands[0]` on gpu(0)")
    tree = jitnet.device_put({"a": X, "b": [a, 2.0]}, jitnet.gpu(1))
    assert {leaf.device for leaf in jitnet.tree.leaves(tree)} == {jitnet.gpu(1)}
    assert jitnet.block_until_ready(tree) is tree


def test_the_default_device(driver):
    with jitnet.gpu(0):
        assert jitnet.asarray([1, 2]).device == jitnet.gpu(0)
        with jitnet.cpu():
            assert jitnet.asarray([1, 2]).device == jitnet.cpu()
        assert jitnet.asarray(jitnet.asarray(X, device="cpu")).device == jitnet.cpu()
    assert jitnet.asarray([1, 2]).device == jitnet.cpu()


def test_arrays_that_a_traced_function_computes_with_on_its_own(driver):
    a, f = on_gpu(X), jitnet.jit(lambda x: x + 1)
    f(a)
    got = jitnet.jit(lambda x: x * (a + 1) + a[0] + a.sum() + f(a))(a)
    np.testing.assert_array_equal(got.numpy(), X * (X + 1) + X[0] + X.sum() + X + 1)


def test_devices_and_their_names(drivers):
    assert [str(d) for d in jitnet.devices()] == ["cpu(0)", "gpu(0)", "gpu(1)"]
    x = jitnet.asarray([1.0], device="cuda:1")
    assert x.device == jitnet.gpu(1) and x.to("cuda").device == x.to("gpu:0").device == jitnet.gpu(0)
    assert jitnet.jit(lambda x: x + 1, device="cuda")(np.ones(2)).tolist() == [2, 2]
    assert jitnet.context.gpu_memory_info(1) == jitnet.gpu(1).memory_info
    with pytest.raises(errors.DeviceError, match="this machine has gpu"):
        x.to("cuda:2")


@pytest.mark.parametrize("make, wanted", [
    (lambda np, **on: np.zeros(3, **on), [0, 0, 0]), (lambda np, **on: np.ones((2,), **on), [1, 1]),
    (lambda np, **on: np.arange(3, **on), [0, 1, 2]), (lambda np, **on: np.full(2, 7.0, **on), [7, 7]),
    (lambda np, **on: np.linspace(0, 1, 3, **on), [0, 0.5, 1]), (lambda np, **on: np.array([4, 5], **on), [4, 5]),
    (lambda np, **on: np.asarray([4, 5], **on), [4, 5]), (lambda np, **on: np.eye(1, **on), [[1]])])
def test_new_arrays(driver, make, wanted):
    """Where `device=` says, or the `with` block; without either they are NumPy's."""
    numpy = jitnet.numpy
    there = make(numpy, device="gpu")
    with jitnet.gpu(0):
        here, back = make(numpy), make(numpy, device="cpu")
    assert there.device == here.device == jitnet.gpu(0) and there.tolist() == here.tolist() == wanted
    assert type(make(numpy)) is type(back) is np.ndarray and back.tolist() == wanted


def test_arrays_like_others(driver):
    numpy, x = jitnet.numpy, jitnet.asarray(np.ones((2, 3), np.float32), device="gpu")
    for made, value in ((numpy.zeros_like(x), 0), (numpy.full_like(x, 5), 5), (numpy.ones_like(x), 1)):
        assert (made.device, made.dtype) == (x.device, x.dtype) and made.tolist() == [[value] * 3] * 2
    assert numpy.zeros_like(np.ones(2), device="gpu").device == x.device
    assert type(numpy.zeros_like(np.ones(2))) is np.ndarray


MASKED = np.arange(24.0).reshape(2, 3, 4)
MASK = MASKED % 5 > 1


@pytest.mark.parametrize("key", [MASK, MASK[:, :, 0], (slice(None), MASK[0]), (..., MASK[0, 0]), (0, MASK[1, 0, :3]),
                                 (None, MASK[:, 0, 0]), (slice(1), ..., MASK[0]), (MASK[:, 0, 0], MASK[0, :2, 0].nonzero()[0]),
                                 [True, False]], ids=lambda key: str(key)[:30])
@pytest.mark.parametrize("where", ["host", "device"])
def test_masks_as_indices(driver, key, where):
    x = jitnet.asarray(MASKED, device="gpu")
    there = key if where == "host" or isinstance(key, list) else jitnet.tree.map(
        lambda k: jitnet.asarray(k, device="gpu") if isinstance(k, np.ndarray) else k, key)
    got = x[there]
    assert got.device == x.device and got.tolist() == MASKED[key].tolist()


def test_a_mask_that_does_not_fit(driver):
    x = jitnet.asarray(MASKED, device="gpu")
    with pytest.raises(errors.TraceIndexError, match=r"a mask of shape \(2, 2\) does not fit axes of sizes \(2, 3\)"):
        x[MASK[:, :2, 0]]
    with pytest.raises(errors.TraceIndexError, match=r"a mask of shape \(3,\) does not fit axes of sizes \(4,\)"):
        x[..., MASK[0, :, 0]]


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("namespace", [np, jitnet.numpy], ids=["numpy", "jitnet"])
def test_results_whose_size_depends_on_values(driver, device, namespace, tmp_path):
    x = jitnet.asarray(MASKED, device=device)
    for function in (lambda np, x: np.nonzero(x), lambda np, x: np.argwhere(x > 20), lambda np, x: np.unique(x % 3),
                     lambda np, x: np.unique_counts(x % 3), lambda np, x: np.flatnonzero(x), lambda np, x: np.where(x > 3),
                     lambda np, x: np.compress(x[0, 0] > 1, x, axis=2), lambda np, x: np.extract(x > 3, x),
                     lambda np, x: x.nonzero(), lambda np, x: np.bincount(x.ravel().astype(int) % 3)):
        for got, want in zip(*(jitnet.tree.leaves(f) for f in (function(namespace, x), function(np, MASKED))), strict=True):
            assert got.device == x.device and got.tolist() == want.tolist()
    np.save(tmp_path / "x.npy", x)
    assert np.load(tmp_path / "x.npy").tolist() == MASKED.tolist() and np.array2string(x[0, 0]) == "[0. 1. 2. 3.]"


def test_what_only_the_host_can(driver):
    """The error speaks of the GPU, for nothing is compiled that the user knows of."""
    x = jitnet.asarray(np.ones(3), device="gpu")
    with pytest.raises(errors.TraceTypeError) as found:
        np.fft.fft(x)
    assert found.value.what == "numpy.fft.fft: jitnet cannot compile this function of an array on a GPU (f64[3])"
    assert found.value.hint == "write it with functions that `jitnet.numpy` has, or compute it on the host: `x.numpy()`"


def test_additions_at_places(driver):
    x = jitnet.asarray(np.zeros(3), device="gpu")
    np.add.at(x, np.array([0, 2, 2]), 1.5)
    assert x.tolist() == [1.5, 0, 3]


@pytest.mark.parametrize("write", [lambda i: operator.iadd(i, 0.5), lambda i: operator.itruediv(i, 2),
                                   lambda i: operator.imul(i, np.float32(2)), lambda i: np.sqrt(i, out=i)])
def test_floats_are_not_written_into_integers(driver, write):
    """NumPy refuses: found by the tests of arrays run on a GPU, where `i /= 2` cut its results off."""
    i = on_gpu(np.array([1, 2]))
    with pytest.raises(TypeError, match="a f64 result cannot be written into a i64 array"):
        write(i)
    np.testing.assert_array_equal(i.numpy(), [1, 2])
    i += True
    i //= 2
    x = on_gpu(np.ones(2, np.float32))
    x += np.ones(2)
    np.testing.assert_array_equal((i + x).numpy(), [3, 3])
