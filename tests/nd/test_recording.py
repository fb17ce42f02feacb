"""What one record() defers is written down as a plan meanwhile: a backward pass that needs just that runs it, others do not."""
import weakref

import numpy as np
import pytest

from jitnet import autograd, nd
from jitnet.errors import MXNetError


def marked(values):
    w = nd.array(values)
    w.attach_grad()
    return w


def refuses(*_):
    raise AssertionError("the backward pass went along the tape")


def test_a_backward_pass_runs_what_was_recorded_as_it_was_written_down(monkeypatch):
    x, w = nd.array([1.0, 2.0]), marked([0.5, 0.25])
    monkeypatch.setattr(autograd, "sweep", refuses)
    for k in range(3):
        with autograd.record():
            h = x * w
            y = nd.sin(h) + k
        autograd.backward([h, y])
        np.testing.assert_allclose(w.grad.asnumpy(), [1 + np.cos(0.5), 2 + 2 * np.cos(0.5)], rtol=1e-6)
        np.testing.assert_allclose(y.asnumpy(), np.sin([0.5, 0.5]) + k, rtol=1e-6)
        with pytest.raises(MXNetError, match="freed"):
            y.backward()


def left_over(w):
    with autograd.record():
        a = w * 3
    with autograd.record():
        b = a * w
    b.backward()
    return 6 * w.asnumpy()


def of_two_heads(w):
    with autograd.record():
        a, b = w * 3, w * w
    a.backward()
    assert w.grad.asnumpy().tolist() == [3.0, 3.0]
    b.backward()
    return 2 * w.asnumpy()


def read_between(w):
    with autograd.record():
        a = w * 3
        a.wait_to_read()
        b = a * w
    b.backward()
    return 6 * w.asnumpy()


def twice(w):
    with autograd.record():
        a = w * 3
    autograd.backward([a, a])
    return np.array([6, 6])


def two_outputs(w):
    with autograd.record():
        a, b = nd.split(nd.concat(w * 3, w * w, dim=0), num_outputs=2, axis=0)
    autograd.backward([a, b])
    return 3 + 2 * w.asnumpy()


def side_way(w):
    with autograd.record():
        a, side = w * 3, w * 5
    a.backward()
    assert side.asnumpy().tolist() == (5 * w.asnumpy()).tolist()
    return np.array([3, 3])


def paused_within(w):
    with autograd.record():
        a = w * 3
        with autograd.pause():
            c = nd.ones((2,))
            with autograd.record():
                d = w * 2
        b = a * c + d
    b.backward()
    return np.array([5, 5])


def marked_again(w):
    with autograd.record():
        a = w * 3
        a.attach_grad()
        b = a * a * w
    b.backward()
    assert a.grad.asnumpy().tolist() == (6 * w.asnumpy() ** 2).tolist()
    return 9 * w.asnumpy() ** 2


def a_gradient_that_is_read(w):
    w.grad[:] = 7
    with autograd.record():
        b = w * w.grad
    b.backward()
    return np.array([7, 7])


@pytest.mark.parametrize("program", [left_over, of_two_heads, read_between, twice, two_outputs, side_way, paused_within,
                                     marked_again, a_gradient_that_is_read])
def test_recordings_that_are_more_or_less_than_a_backward_pass(program):
    for _ in range(2):
        w = marked([1.0, 2.0])
        np.testing.assert_array_equal(program(w), w.grad.asnumpy())


def test_a_gradient_that_was_taken_away_is_not_written():
    w, v = marked([1.0, 2.0]), marked([3.0, 4.0])
    with autograd.record():
        y = w * v
    kept = w.grad
    w.drop_grad()
    y.backward()
    assert v.grad.asnumpy().tolist() == [1.0, 2.0]
    assert kept.asnumpy().tolist() == [0.0, 0.0]


def test_arrays_that_nobody_asks_for_are_let_go_with_the_next_recording():
    w = marked([1.0, 2.0])
    x = nd.array([3.0, 4.0])
    with autograd.record():
        y = x * w
    gone = weakref.ref(x._data)
    del x, y
    assert gone() is not None
    with autograd.record():
        pass
    assert gone() is None
