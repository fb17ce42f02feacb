"""Array: NumPy's meaning, eagerly, and what other libraries and Python see of it."""
import copy
import operator
import pickle

import numpy as np
import pytest

import jitnet
from jitnet import errors, ops
from jitnet.runtime.array import Array

X = np.arange(6, dtype=np.float32).reshape(2, 3)
A = jitnet.asarray(X)


def same(got, want):
    """Checks that an Array has dtype, shape and values of what NumPy gives."""
    assert type(got) is Array, type(got)
    want = np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(np.asarray(got), want)


def test_what_it_is():
    assert (A.shape, A.dtype, A.ndim, A.size, A.itemsize, A.nbytes) == ((2, 3), np.float32, 2, 6, 4, 24)
    assert A.device == jitnet.cpu() and str(A.device) == "cpu(0)"
    with pytest.raises(errors.TraceTypeError, match="Array: it holds a NumPy array, not a list"):
        Array([1, 2, 3])
    same(A.T, X.T)
    same(A.mT, X.T)
    assert A.to("cpu") is A and A.to_device(jitnet.cpu(0)) is A and A.block_until_ready() is A
    assert A.numpy() is X or np.shares_memory(A.numpy(), X)


BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
          operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("other", [2, 2.5, X + 1, np.float64(2), np.arange(1, 4)], ids=["int", "float", "array", "f64", "ints"])
def test_operators(op, other):
    x, a = X + 1, jitnet.asarray(X + 1)
    same(op(a, other), op(x, other))
    same(op(other, a), op(other, x))
    same(op(a, jitnet.asarray(other)), op(x, np.asarray(other)))


def test_operators_of_integers_and_bools():
    i = np.array([5, 6, -7])
    a = jitnet.asarray(i)
    for op in (operator.and_, operator.or_, operator.xor, operator.lshift):
        same(op(a, 3), op(i, 3))
        same(op(3, abs(a) % 4), op(3, abs(i) % 4))
    same(~a, ~i)
    same(-a, -i)
    same(+a, i)
    same(~(a > 0), ~(i > 0))
    same(a @ a, i @ i)
    for got, want in zip(divmod(a, 4), divmod(i, 4), strict=True):
        same(got, want)


def test_operators_in_place():
    x, a = X.copy(), jitnet.asarray(X.copy())
    same_object = a
    a += 1
    a *= jitnet.asarray(X)
    a -= X
    a /= 2
    x += 1
    x *= X
    x -= X
    x /= 2
    assert a is same_object
    same(a, x)
    with pytest.raises(TypeError):
        i = jitnet.asarray([1, 2])
        i += 0.5


@pytest.mark.parametrize("call", [
    lambda a: a.sum(), lambda a: a.sum(axis=0), lambda a: a.mean(axis=1, keepdims=True), lambda a: a.std(ddof=1),
    lambda a: a.max(), lambda a: a.argmax(axis=1), lambda a: a.reshape(3, 2), lambda a: a.reshape(-1),
    lambda a: a.transpose(1, 0), lambda a: a.astype(int), lambda a: a.clip(1, 3), lambda a: a.cumsum(),
    lambda a: a.copy(), lambda a: a.flatten(), lambda a: a.ravel(), lambda a: a.round(), lambda a: a.repeat(2),
    lambda a: a.swapaxes(0, 1), lambda a: a.take([0, 2]), lambda a: a.any(), lambda a: a.all(axis=0),
    lambda a: a.squeeze(), lambda a: a.prod(), lambda a: a.var(), lambda a: a.dot(a.T), lambda a: a.trace(),
    lambda a: a.diagonal(), lambda a: np.tanh(a), lambda a: np.add.reduce(a), lambda a: np.concatenate([a, a]),
    lambda a: np.where(a > 1, a, 0), lambda a: np.einsum("ij,kj->ik", a, a), lambda a: np.stack((a, a)),
    lambda a: np.linalg.norm(a), lambda a: np.sort(a)[::-1], lambda a: a[0], lambda a: a[0, 1], lambda a: a[:, ::-1],
    lambda a: a[a > 2], lambda a: a[[1, 0]], lambda a: a[..., None], lambda a: ops.exp(a), lambda a: ops.add(a, 2.0),
    lambda a: ops.sum(a, axis=(1,)), lambda a: ops.where(a > 1, a, np.float32(0)),
])
def test_methods_and_functions(call):
    same(call(A), call(X))


def test_functions_that_give_several():
    for got, want in zip(np.split(A, 3, axis=1), np.split(X, 3, axis=1), strict=True):
        same(got, want)
    for got, want in zip(np.modf(A / 2), np.modf(X / 2), strict=True):
        same(got, want)


def test_out_and_dtypes_that_jitnet_does_not_know():
    a = jitnet.asarray(np.zeros((2, 3), np.float32))
    assert np.add(A, 1, out=a) is a and a[0, 0] == 1
    b = jitnet.asarray(np.zeros(3, np.float32))
    assert np.sum(A, axis=0, out=b) is b
    same(b, X.sum(axis=0))
    assert type(np.fft.fft(A)) is np.ndarray


def test_indexing_gives_views_and_items_can_be_set():
    a = jitnet.asarray(X.copy())
    row = a[1]
    row[0] = 9
    a[0, jitnet.asarray([1, 2])] = jitnet.asarray([5.0, 6.0])
    np.testing.assert_array_equal(np.asarray(a), [[0, 5, 6], [9, 4, 5]])
    assert [float(v) for v in a[0]] == [0, 5, 6] and len(a) == 2 and 9 in a
    with pytest.raises(IndexError):
        a[2]


def test_what_python_sees():
    one = jitnet.asarray(3)
    assert (int(one), float(one), complex(one), bool(one), operator.index(one), one.item()) == (3, 3.0, 3 + 0j, True, 3, 3)
    assert round(jitnet.asarray(2.567)) == 3 and type(round(jitnet.asarray(2.567))) is int
    same(round(jitnet.asarray(2.567), 1), np.float64(2.6))
    assert list(range(5))[one] == 3 and f"{jitnet.asarray(0.5):.2f}" == "0.50" and one.tolist() == 3
    assert repr(A) == "Array([[0., 1., 2.],\n       [3., 4., 5.]], dtype=float32)" and str(A) == str(X)
    assert repr(jitnet.asarray(1.5)) == "Array(1.5)"
    with pytest.raises(ValueError):
        bool(A)
    with pytest.raises(TypeError):
        hash(A)
    with pytest.raises(TypeError):
        iter(one)


def test_what_other_libraries_see():
    assert np.shares_memory(np.asarray(A), X)
    assert np.array(A, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.from_dlpack(A), X)
    assert A.__dlpack_device__() == (1, 0) and A.__array_interface__["shape"] == (2, 3)
    assert A.__array_namespace__() is jitnet.numpy


def test_copies():
    for other in (copy.copy(A), copy.deepcopy(A), pickle.loads(pickle.dumps(A)), A.copy()):
        same(other, X)
        assert not np.shares_memory(np.asarray(other), X)


def test_asarray():
    same(jitnet.asarray([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]))
    same(jitnet.asarray([1, 2], dtype=np.float32), np.array([1, 2], np.float32))
    same(jitnet.asarray(X.astype(">f4")), X)
    same(jitnet.asarray(A), X)
    assert not np.shares_memory(np.asarray(jitnet.asarray(X, copy=True)), X)

    class Foreign:
        def __dlpack__(self, **options):
            return X.__dlpack__(**options)

        def __dlpack_device__(self):
            return X.__dlpack_device__()
    same(jitnet.asarray(Foreign()), X)
    with pytest.raises(errors.TraceTypeError) as error:
        jitnet.asarray("text")
    assert "asarray: a str of dtype <U4 is no array of numbers" in str(error.value)
    with pytest.raises(errors.TraceTypeError, match="jitnet does not compile the dtype complex128"):
        jitnet.asarray(1j)


def test_device_put_and_block_until_ready():
    tree = jitnet.device_put({"a": X, "b": [1.0, None]}, jitnet.cpu())
    same(tree["a"], X)
    same(tree["b"][0], 1.0)
    assert tree["b"][1] is None and jitnet.block_until_ready(tree) is tree


def test_devices():
    assert jitnet.num_gpus() == 0 and jitnet.cpu() == jitnet.cpu(0) and hash(jitnet.cpu()) == hash(jitnet.cpu(0))
    with pytest.raises(errors.DeviceError) as error:
        jitnet.gpu(0)
    first, where, hint = str(error.value).split("\n")
    assert first == "gpu(0): there is no GPU that jitnet can use" and "test_array.py" in where
    assert "CUDA driver" in hint and hint.endswith("use `jitnet.cpu()`")
    assert jitnet.cpu(1) != jitnet.cpu() and jitnet.asarray(1.0, device=jitnet.cpu(1)).device == jitnet.cpu()
    with pytest.raises(errors.DeviceError, match="'tpu' is no device"):
        A.to("tpu")
    with pytest.raises(errors.DeviceError):
        jitnet.jit(lambda x: x, device="gpu")


def test_a_constant_of_a_traced_function():
    f = jitnet.jit(lambda x: x * A + A[0] - np.sum(A))
    np.testing.assert_allclose(f(X), X * X + X[0] - X.sum())
    g = jitnet.jit(lambda i: A[:, i])
    np.testing.assert_array_equal(g(np.array([2, 0])), X[:, [2, 0]])
