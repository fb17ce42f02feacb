"""Arguments written in place: a compiled function leaves in them what NumPy leaves, without a copy where that can be."""
import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.runtime import entry

BODIES = {
    "sum": "x += y",
    "square": "x *= x",
    "reversed": "x += x[::-1]",
    "transposed": "k = min(x.shape); x[:k, :k] += x[:k, :k].T",
    "down": "x[1:] = x[:-1]",
    "up": "x[:-1] = x[1:]",
    "turned": "x[:] = x[::-1]",
    "even": "x[:8:2] += x[1:8:2]",
    "part": "x[1:-1] = y[1:-1]",
    "stencil": "x[1:-1] = 0.5 * (x[:-2] + x[2:]) + y[1:-1]",
    "total": "x += np.sum(x)",
    "sorted": "x[:] = np.sort(x, axis=0)",
    "chosen": "x[...] = np.where(y > 0, x, -x)",
    "centered": "x -= np.mean(x, axis=1, keepdims=True)",
    "softmax": "e = np.exp(x - np.max(x, axis=1, keepdims=True)); x[:] = e / np.sum(e, axis=1, keepdims=True)",
    "columns": "x -= np.max(x, axis=0)",
    "several": "x -= 0.1 * y; y *= 0.9; x[0] = 1; x[1:, 0] = y[1:, 0]; return x",
    "swapped": "old = x.copy(); x[:] = y; y[:] = old",
    "crossed": "x += y; y += x; return x * 2",
    "old and new": "old = x.copy(); x += 1; return old, x + 0, x[1:] + 0",
    "the same": "z = np.tanh(x + y); x[:] = z; y[:] = z; return z",
    "rotated": "first = x[0].copy(); x[:-1] = x[1:]; x[-1] = first",
    "product": "n = x.shape[1]; x += x @ y[:n, :n]",
    "twice": "x[:, 0] = 1; x[:, 1:] = x[:, :-1] * 2; x += x[::-1]",
    "first a part": "x[:3] = y[-3:]; x *= y; x[2:4] = x[1:3]",
    "reshaped": "v = x.reshape(-1); v += 1; v[1:] = v[:-1]",
}


def function(name):
    """The function of (x, y) with that body."""
    scope = {"np": np}
    exec(f"def f(x, y): {BODIES[name]}", scope)
    return scope["f"]


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("shape", [(9, 7), (8, 1), (310, 170)])
def test_as_numpy_does(name, shape, rng):
    plain, compiled = function(name), jitnet.jit(function(name))
    for _ in range(3):   # through Python, then through the native entry
        x, y = rng.standard_normal((2, *shape))
        want_x, want_y = x.copy(), y.copy()
        want, got = plain(want_x, want_y), compiled(x, y)
        np.testing.assert_allclose(x, want_x, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(y, want_y, rtol=1e-12, atol=1e-12)
        assert type(got) is type(want)
        for g, w in zip(got if type(got) is tuple else [got], want if type(want) is tuple else [want], strict=True):
            if w is not None:
                np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12)
                assert not np.shares_memory(g, x)


def test_a_loop(rng):
    @jitnet.jit
    def f(x, y):
        x[:] = jitnet.fori_loop(0, 3, lambda i, v: v * y + 1, x)

    x, y = rng.standard_normal((2, 5))
    want = ((x * y + 1) * y + 1) * y + 1
    f(x, y)
    np.testing.assert_allclose(x, want)


@pytest.mark.parametrize("name", ["sum", "square", "centered", "softmax", "columns", "stencil", "part"])
def test_no_copy_where_none_is_needed(name):
    lowered = jitnet.jit(function(name)).lower(np.ones((40, 30)), np.ones((40, 30)))
    assert "copy" not in [info.kind for info in lowered.kernels] and not lowered.program.outputs


@pytest.mark.parametrize("name", ["reversed", "down", "up", "turned", "rotated", "transposed", "even"])
def test_what_is_read_later_is_computed_beside(name):
    lowered = jitnet.jit(function(name)).lower(np.ones((40, 30)), np.ones((40, 30)))
    first = lowered.kernels[0].step
    assert len(lowered.kernels) > 1 and first.buffers[-1].kind == "arena"


def test_only_the_slice_is_written():
    lowered = jitnet.jit(lambda x, v: x.__setitem__(slice(1, 3), v)).lower(np.zeros(1000), np.zeros(2))
    assert sum(info.writes for info in lowered.kernels) == 16


def test_a_failing_call_leaves_its_arguments(rng):
    @jitnet.jit
    def f(x, i):
        x += 1
        x[i] = 5

    x = np.zeros(4)
    for _ in range(2):
        with pytest.raises(errors.TraceIndexError):
            f(x, np.array([1, 9]))
        np.testing.assert_array_equal(x, 0)
    f(x, np.array([1, 2]))
    np.testing.assert_array_equal(x, [1, 5, 5, 1])


def test_numpy_scalars_stay_as_they_are():
    @jitnet.jit
    def f(x, y):
        x += y
        return x

    three = np.float64(3)
    for _ in range(3):
        assert f(three, 1.0) == 4 and three == 3
    zero_d = np.array(3.0)
    assert f(zero_d, 1.0) == 4 and zero_d == 4


@pytest.fixture(params=["native", "python"])
def interpreter(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(entry, "available", lambda: False)


def test_overlapping_arguments(interpreter):
    @jitnet.jit
    def f(x, y):
        x += y

    memory = np.zeros(10)
    for _ in range(2):
        assert f(memory[:4], memory[4:8]) is None   # beside each other
        for x, y in ((memory[:4], memory[:4]), (memory[:4], memory[3:7]), (memory[3:7], memory[:4])):
            with pytest.raises(errors.TraceValueError, match="shares memory"):
                f(x, y)
    np.testing.assert_array_equal(memory, 0)
    fixed = memory[:4].view()
    fixed.flags.writeable = False
    with pytest.raises(errors.TraceValueError, match="read-only"):
        f(fixed, memory[4:8])
    f(memory[4:8], fixed)


def test_strided_and_misaligned_arguments(interpreter):
    @jitnet.jit
    def f(x):
        x *= 2

    whole = np.arange(12.0)
    f(whole[::3])
    np.testing.assert_array_equal(whole, [0, 1, 2, 6, 4, 5, 12, 7, 8, 18, 10, 11])
    odd = np.zeros(33, np.uint8)[1:].view(np.float64)
    odd[:] = 1
    f(odd)
    np.testing.assert_array_equal(odd, 2)
    array = jitnet.asarray([1.0, 2.0])
    f(array)
    np.testing.assert_array_equal(np.asarray(array), [2, 4])
