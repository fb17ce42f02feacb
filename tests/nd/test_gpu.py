"""NDArrays on a GPU, which here is made of host memory: where they are, what computes there, views, writes, ways to and fro."""
import numpy as np
import pytest

import jitnet as mx
from jitnet import autograd, nd
from jitnet.testing_gpu import fake_gpus

X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(autouse=True)
def gpus():
    with fake_gpus(2) as made:
        yield made


def on_gpu(x):
    return nd.array(x, ctx=mx.gpu(0))


def same(x, expected):
    assert x.context == mx.gpu(0) and type(x._data) is not np.ndarray
    np.testing.assert_allclose(x.asnumpy(), expected, rtol=1e-6)
    assert x.shape == np.shape(expected)


def test_creation_and_copies():
    with mx.gpu(0):
        same(nd.zeros((2, 3)), np.zeros((2, 3)))
    x = on_gpu(X)
    same(x, X)
    same(x.copy(), X)
    assert x.as_in_context(mx.gpu(0)) is x and x.as_in_context(mx.cpu()).context == mx.cpu()
    assert x.as_in_context(mx.gpu(1)).context == mx.gpu(1)
    host = nd.zeros((3, 4))
    x.copyto(host)
    np.testing.assert_array_equal(host.asnumpy(), X)
    host.copyto(x)
    assert repr(on_gpu([1])) == "\n[1.]\n<NDArray 1 @gpu(0)>" and float(on_gpu([2])) == 2
    nd.waitall()


def test_errors_that_come_late_are_those_of_the_line_they_are_from():
    """Also where an operator without kernels is what waits."""
    x = on_gpu(np.eye(3))
    nd.take(x, on_gpu([0, 7]), mode="raise")
    with pytest.raises(IndexError, match=r"test_gpu.py:\d+: nd.take\(x, "):
        nd.linalg.potrf(x)
    same(nd.linalg.potrf(x), np.eye(3))


DRAWN = {
    "uniform": lambda: nd.random.uniform(-1, 1, shape=(3, 4)), "normal": lambda: nd.random.normal(shape=3, dtype="float64"),
    "gamma": lambda: nd.random.gamma(2, 0.5, shape=5), "randint": lambda: nd.random.randint(0, 9, shape=7),
    "poisson": lambda: nd.random.poisson(3, shape=6),
    "per element": lambda: nd.random.uniform(nd.zeros(2), nd.ones(2), shape=3),
    "like": lambda: nd.random.normal_like(nd.zeros((2, 2))), "out": lambda: nd.random.uniform(1, 2, out=nd.zeros((2, 2))),
    "shuffle": lambda: nd.random.shuffle(nd.arange(9)), "an initializer": lambda: initialized(mx.init.Xavier()),
    "an orthogonal one": lambda: initialized(mx.init.Orthogonal()),
}


def initialized(initializer):
    weight = nd.zeros((4, 3))
    initializer("a_weight", weight)
    return weight


@pytest.mark.parametrize("name", DRAWN)
def test_samplers_draw_there_what_they_draw_on_the_host(name):
    found = []
    for ctx in (mx.gpu(0), mx.cpu(0)):
        mx.random.seed(7, ctx=ctx)
        with ctx:
            found.append(DRAWN[name]())
        assert found[-1].context == ctx
    there, here = (x.asnumpy() for x in found)
    assert there.dtype == here.dtype and len(np.unique(there)) > 1
    np.testing.assert_allclose(there, here, rtol=1e-6)


def test_operators_run_there():
    x = on_gpu(X)
    same(nd.tanh(x * 2 + 1), np.tanh(X * 2 + 1))
    same(x.sum(axis=1), X.sum(axis=1))
    same(x.sum(), [X.sum()])
    same(nd.dot(x, x, transpose_b=True), X @ X.T)
    same(nd.concat(x, x, dim=0), np.concatenate([X, X]))
    same(x > 5, X > 5)
    _, second = nd.split(x, 2)
    same(second, X[:, 2:])
    same(nd.topk(x, k=1), [[3], [3], [3]])
    with pytest.raises(mx.errors.DeviceError, match=r"different devices: gpu\(0\) and cpu\(0\)"):
        x + nd.ones((3, 4))
    with pytest.raises(mx.MXNetError, match="dot shape error"):
        nd.dot(x, x)


def test_sorts_of_short_rows_stay_there(gpus):
    x = np.random.default_rng(3).permutation(120).reshape(4, 30).astype(np.float32)
    there, waits = on_gpu(x), gpus.calls["synchronize"] + gpus.calls["wait_for"]
    def sorted_(x):
        both = nd.topk(x, k=3, ret_typ="both")
        return [nd.sort(x), nd.argsort(x, is_ascend=False), *both, nd.topk(x, k=3, ret_typ="mask")]
    found = sorted_(there)
    assert gpus.calls["synchronize"] + gpus.calls["wait_for"] == waits
    wanted = sorted_(nd.array(x))
    for a, b in zip(found, wanted, strict=True):
        same(a, b.asnumpy())


def test_views_and_writes():
    x = on_gpu(X)
    row, flat = x[1], x.reshape(12)
    x += 1
    same(row, X[1] + 1)
    row[:] = 7
    same(flat[4:8], [7, 7, 7, 7])
    flat[0] = -1
    same(x[0, 0], [-1])
    same(x[1:][0][2:], [7, 7])
    same(x[:, 1], [2, 7, 10])
    same(x[nd.array([2, 0], ctx=mx.gpu(0))], x.asnumpy()[[2, 0]])
    same(x[x > 8], [9, 10, 11, 12])
    x[0] = nd.array([1, 2, 3, 4])
    same(x[0], [1, 2, 3, 4])
    with pytest.raises(IndexError):
        x[5]


@pytest.mark.parametrize("request_", ["write", "add"])
def test_gradients_stay_there(request_):
    x, w = on_gpu(X), on_gpu(X[:, :2])
    x.attach_grad(request_)
    w.attach_grad(request_)
    with autograd.record():
        y = nd.tanh(nd.dot(x, w, transpose_a=True) * 0.01).sum() * 2
    y.backward()
    z = X.T @ X[:, :2] * 0.01
    same(x.grad, X[:, :2] @ (0.02 * (1 - np.tanh(z) ** 2)).T)
    x.grad[:] = 0
    with autograd.record():
        there = x.as_in_context(mx.cpu())
        y = (there * there).sum()
    y.backward()
    same(x.grad, 2 * X)


def test_second_derivatives_there():
    x = on_gpu(X)
    x.attach_grad()
    with autograd.record():
        g, = autograd.grad(x * x * x, x, create_graph=True)
    g.backward()
    same(x.grad, 6 * X)


def test_waiting_for_all_is_for_gpus_in_use_alone():
    """A GPU that was used, and is no longer there, is nothing to wait for."""
    x = on_gpu(X) + 1
    with fake_gpus() as other:
        nd.waitall()
        assert other.calls["synchronize"] == 0
    del x
    nd.waitall()


def test_updates_of_a_part_store_what_they_were_computed_in():
    """`w[:] += g` is `w[:] = (w[:] += g)`: a view of w goes back to where it lies."""
    found = []
    for ctx in (mx.cpu(), mx.gpu(0)):
        w, g = mx.nd.arange(12, ctx=ctx).reshape((3, 4)), mx.nd.ones((3, 4), ctx=ctx)
        w[:] += g
        w[1:] *= 2
        w[2] -= 1
        w[:2] = w[1:]
        w[:] = w
        found.append(w.asnumpy())
    np.testing.assert_array_equal(*found)
