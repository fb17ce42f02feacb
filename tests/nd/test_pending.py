"""Operators under record() wait and run together: every reader gets the values, every writer comes after them."""
import gc
import pickle
import threading

import numpy as np
import pytest

import jitnet as mx
from jitnet import autograd, nd
from jitnet.errors import MXNetError
from jitnet.nd import pending
from jitnet.operators import dispatch

SMALL, LARGE = 3, 20_000  # the second is work for kernels, which run as one program


def marked(values):
    x = nd.array(values)
    x.attach_grad()
    return x


def doubled(size=SMALL):
    """(x, y): y = x * 2 + 1 has been recorded and waits."""
    x = marked(np.arange(size) % 100)
    with autograd.record():
        y = x * 2 + 1
    assert y._pending is not None
    return x, y


def expected(size=SMALL):
    return np.arange(size) % 100 * 2 + 1


def test_backward_computes_what_waits():
    x, y = doubled()
    with autograd.record():
        side = y.max()
    y.backward()
    assert y._pending is None
    assert side._pending is None
    np.testing.assert_array_equal(y.asnumpy(), expected())
    assert x.grad.asnumpy().tolist() == [2.0, 2.0, 2.0]
    assert side.asscalar() == 5


def test_what_an_array_is_needs_no_values():
    _, y = doubled()
    assert (y.shape, y.dtype, y.size, y.ndim, len(y), y.context) == ((3,), np.float32, 3, 1, 3, mx.cpu())
    assert isinstance(y, nd.NDArray)
    assert type(y) is nd.NDArray
    assert not hasattr(y, "no_such_thing")
    assert y.astype("float32", copy=False) is y
    y.attach_grad()
    assert y._pending is not None


def saved(y, folder):
    nd.save(str(folder / "y"), y)
    return nd.load(str(folder / "y"))[0].asnumpy()


def stored(y, folder):
    store, out = mx.kv.create("local"), nd.zeros(y.shape)
    store.init(3, nd.zeros(y.shape))
    store.push(3, y)
    store.pull(3, out=out)
    return out.asnumpy()


def waited(y, folder):
    nd.waitall()
    assert y._pending is None
    return y.asnumpy()


READERS = {
    "asnumpy": lambda y, _: y.asnumpy(), "np.asarray": lambda y, _: np.asarray(y), "tolist": lambda y, _: y.tolist(),
    "elements": lambda y, _: [float(v) for v in y], "outside": lambda y, _: (y * 1).asnumpy(),
    "copyto": lambda y, _: y.copyto(nd.zeros(y.shape)).asnumpy(), "slice": lambda y, _: y[0:].asnumpy(),
    "pickle": lambda y, _: pickle.loads(pickle.dumps(y)).asnumpy(), "detach": lambda y, _: y.detach().asnumpy(),
    "dlpack": lambda y, _: np.from_dlpack(y),
    "reshape": lambda y, _: y.reshape((-1,)).asnumpy(), "as_in_context": lambda y, _: y.as_in_context(mx.cpu(1)).asnumpy(),
    "array": lambda y, _: nd.array(y).asnumpy(), "out": lambda y, _: nd.identity(y, out=nd.zeros(y.shape)).asnumpy(),
    "written": lambda y, _: y.__iadd__(0).asnumpy(), "jit": lambda y, _: mx.jit(lambda v: v * 1.0)(np.asarray(y)),
    "save": saved, "kvstore": stored, "waitall": waited,
}


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("reader", READERS)
def test_readers(reader, size, tmp_path):
    if (reader, size) == ("elements", LARGE):
        size = 50
    _, y = doubled(size)
    np.testing.assert_array_equal(READERS[reader](y, tmp_path), expected(size))


def test_printing():
    _, y = doubled()
    assert str(y) == "\n[1. 3. 5.]\n<NDArray 3 @cpu(0)>"


def test_wait_to_read():
    _, y = doubled()
    y.wait_to_read()
    assert y._pending is None


def optimizer_step(x):
    mx.optimizer.get_updater(mx.optimizer.create("sgd", learning_rate=1.0))(0, nd.ones(x.shape), x)


def executor_step(x):
    a = mx.sym.Variable("a")
    (a * 0).bind(mx.cpu(), {"a": nd.ones(x.shape)}, args_grad={"a": x}).backward(nd.ones(x.shape))


WRITERS = {
    "x[:]": lambda x: x.__setitem__(slice(None), 9), "x[0]": lambda x: x.__setitem__(0, 9), "+=": lambda x: x.__iadd__(1),
    "out=": lambda x: nd.exp(x, out=x), "view": lambda x: x[0:2].__setitem__(slice(None), 9),
    "reshape": lambda x: x.reshape((-1, 1)).__imul__(7), "detach": lambda x: x.detach().__setitem__(slice(None), 9),
    "copyto": lambda x: nd.ones(x.shape).copyto(x), "sgd_update": lambda x: nd.sgd_update(x, nd.ones(x.shape), out=x, lr=1.0),
    "optimizer": optimizer_step, "numpy": lambda x: np.asarray(x).__setitem__(slice(None), 9),
    "dlpack": lambda x: np.from_dlpack(x).__setitem__(slice(None), 9), "executor": executor_step,
    "random": lambda x: nd.random.uniform(5, 6, shape=x.shape, out=x),
}


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("writer", WRITERS)
def test_writers_come_after_what_waits(writer, size):
    w, x = marked([2.0]), nd.array(np.arange(size) % 100)
    with autograd.record():
        y = w * x + 1
    WRITERS[writer](x)
    assert not np.array_equal(x.asnumpy(), np.arange(size) % 100)
    np.testing.assert_array_equal(y.asnumpy(), expected(size))


@pytest.mark.parametrize("share", [np.asarray, np.from_dlpack, lambda x: np.asarray(x[0:2])])
def test_memory_that_was_handed_out_before(share):
    w, x = marked([2.0]), nd.array([0.0, 1.0, 2.0])
    other = share(x)
    with autograd.record():
        y = w * x + 1
    other[:] = 9
    assert y.asnumpy().tolist() == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("take", [nd.from_numpy, nd.from_dlpack])
def test_memory_that_came_from_outside(take):
    w, outside = marked([2.0]), np.arange(3, dtype=np.float32)
    x = take(outside)
    with autograd.record():
        y, z, picked = w * x + 1, w * outside + 1, w.reshape((1,))[np.zeros(2, int)]
    outside[:] = 9
    for found in (y, z):
        assert found.asnumpy().tolist() == [1.0, 3.0, 5.0]
    assert picked.asnumpy().tolist() == [2.0, 2.0]


def test_exposed_memory_is_forgotten_with_its_owner():
    before = len(mx.nd.memory.exposed)
    x = nd.ones((3,))
    np.asarray(x)
    assert len(mx.nd.memory.exposed) == before + 1
    del x
    gc.collect()
    assert len(mx.nd.memory.exposed) == before


def test_what_nobody_holds_is_not_computed(monkeypatch):
    ran = []
    monkeypatch.setattr(dispatch, "run", lambda op, *rest, run=dispatch.run: ran.append(op.name) or run(op, *rest))
    x = marked([1.0, 2.0])
    with autograd.record():
        nd.exp(x)
        y = nd.sin(nd.cos(x))
    y.wait_to_read()
    assert ran == ["cos", "sin"]


def test_shapes_that_do_not_fit_raise_at_once_and_leave_the_rest():
    x, y = doubled()
    with autograd.record(), pytest.raises(MXNetError) as caught:
        y + nd.ones((4,))  # the line that is named
    assert "the line that is named" in str(caught.value)
    with autograd.record(), pytest.raises(MXNetError, match=r"expected float32, got int32"):
        x + nd.ones((3,), dtype="int32")
    np.testing.assert_array_equal(y.asnumpy(), expected())
    y.backward()
    assert x.grad.asnumpy().tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_errors_that_only_values_show_name_the_line_of_the_operator(size):
    x, index = marked(np.ones(size)), nd.array([1, size + 1])
    with autograd.record():
        good = x * 2
        bad = nd.take(x, index, mode="raise")  # the line that is named
        worse = bad + 1
    for array in (bad, worse, bad):
        with pytest.raises((MXNetError, IndexError)) as caught:
            array.asnumpy()
        assert "the line that is named" in str(caught.value)
    assert good.asnumpy().sum() == 2 * size
    index[:] = 0
    with autograd.record():
        assert nd.take(x, index, mode="raise").asnumpy().tolist() == [1.0, 1.0]


def test_a_backward_pass_that_fails_leaves_the_gradients():
    x, index = marked(np.ones(4)), nd.array([1, 9])
    x.grad[:] = 7
    with autograd.record():
        y = nd.take(x * 2, index, mode="raise")  # the line that is named
    for _ in range(2):
        with pytest.raises((MXNetError, IndexError)) as caught:
            y.backward()
        assert "the line that is named" in str(caught.value)
    assert x.grad.asnumpy().tolist() == [7.0] * 4


def test_random_operators_draw_in_the_order_of_the_program():
    def draws(at_once):
        mx.random.seed(5)
        x, found = marked(np.ones(20)), []
        with autograd.record():
            for _ in range(3):
                found.append(nd.Dropout(x, p=0.5))
                if at_once:
                    found[-1].wait_to_read()
                found.append(nd.random.uniform(shape=(4,)))
        return [y.asnumpy().tolist() for y in reversed(found)]

    assert draws(True) == draws(False)


def test_heads_one_after_the_other_and_retained():
    x = marked([1.0, 2.0])
    with autograd.record():
        y, z = nd.exp(x * 2), nd.sin(x)
    z.backward()
    np.testing.assert_allclose(x.grad.asnumpy(), np.cos([1, 2]), rtol=1e-6)
    y.backward(retain_graph=True)
    first = x.grad.asnumpy()
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), first)
    np.testing.assert_allclose(first, 2 * np.exp([2.0, 4.0]), rtol=1e-6)


def test_a_detached_array_shares_memory_with_the_one_that_waits():
    _, y = doubled()
    d = y.detach()
    assert d._pending is not None
    y.wait_to_read()
    d[:] = 4
    assert y.asnumpy().tolist() == [4.0] * 3


def test_memory_stays_flat_without_a_backward_pass():
    x, kept = marked([1.0, 2.0]), []
    queue = pending.own_queue()
    for k in range(10_000):
        with autograd.record():
            y = nd.tanh(x * 2) + 1
        if k % 2500 == 0:
            gc.collect()
            kept.append(len(gc.get_objects()))
        assert len(queue.arrays) <= pending.LONGEST + 3
    assert kept[-1] - kept[1] < 5000
    np.testing.assert_allclose(y.asnumpy(), np.tanh([2.0, 4.0]) + 1, rtol=1e-6)


def test_a_long_chain_runs_in_pieces():
    y = x = marked([1.0])
    with autograd.record():
        for _ in range(2 * pending.LONGEST + 10):
            y = y + 1
    assert y._node[0].values[0].node is not None
    assert y.asscalar() == 2 * pending.LONGEST + 11
    assert x.shape == (1,)


def test_reads_between_forward_and_backward_compile_in_the_first_iteration_only():
    x, w = nd.array(np.ones((200, 100))), marked(np.full((100, 100), 0.01))
    counts = []
    for _ in range(4):
        with autograd.record():
            h = nd.relu(nd.dot(x, w))
            loss = (h * h).mean()
        assert loss.asscalar() > 0
        loss.backward()
        w -= 0.1 * w.grad
        counts.append(mx.cache.info().compiles)
    assert counts[0] == counts[-1]


def test_another_thread_reads_writes_and_goes_backwards():
    x, y = doubled()
    found = []

    def other(work):
        thread = threading.Thread(target=lambda: found.append(work()))
        thread.start()
        thread.join()
        return found.pop()

    assert other(lambda: y.asnumpy().tolist()) == [1.0, 3.0, 5.0]
    w, v = marked([2.0]), nd.array([0.0, 1.0])
    with autograd.record():
        y = w * v
    other(lambda: v.__setitem__(slice(None), 9))
    assert y.asnumpy().tolist() == [0.0, 2.0]
    x, y = doubled()
    other(y.backward)
    assert x.grad.asnumpy().tolist() == [2.0, 2.0, 2.0]
    assert y.asnumpy().tolist() == [1.0, 3.0, 5.0]


def test_threads_record_apart():
    wrong = []

    def work(number):
        x = marked(np.full(50, number))
        for _ in range(40):
            with autograd.record():
                y = (x * x).sum()
            y.backward()
            if set(x.grad.asnumpy()) != {2.0 * number} or y.asscalar() != 50 * number * number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_class_of_ones_own_is_kept():
    class Named(nd.NDArray):
        pass

    x = Named(np.ones(3, np.float32), mx.cpu())
    x.attach_grad()
    with autograd.record():
        y = x * 2
    assert type(y) is Named
    y.backward()
    assert x.grad.asnumpy().tolist() == [2.0] * 3


def test_a_program_that_fails_though_its_operators_do_not_is_no_secret(monkeypatch):
    _, y = doubled(LARGE)
    monkeypatch.setattr("jitnet.nd.plan.Plan.compiled", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.asnumpy()
    np.testing.assert_array_equal(y.asnumpy(), expected(LARGE))
