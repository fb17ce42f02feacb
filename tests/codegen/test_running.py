"""Running operations as kernels: NumPy's values in every layout, at the edges of blocks and chunks, without NumPy."""
import numpy as np
import pytest

from jitnet import ops
from jitnet.jit import jit

RUNNING = {"cumsum": (np.cumsum, ops.cumsum), "cumprod": (np.cumprod, ops.cumprod),
           "cummax": (np.maximum.accumulate, ops.cummax), "cummin": (np.minimum.accumulate, ops.cummin)}
LAYOUTS = [((1,), 0), ((63,), 0), ((1024,), 0), ((1025,), 0), ((70001,), 0), ((3, 66000), 1), ((20, 1500), 1), ((5, 1), 1),
           ((1, 5), 0), ((40, 30), 0), ((3, 50, 300), 1), ((9, 1100), 0), ((4, 5, 6), 2), ((0, 3), 0), ((3, 0), 1)]


def values(shape, dtype, name):
    rng = np.random.default_rng(1)
    if dtype.kind != "f":
        return rng.integers(0, 120, shape).astype(dtype)
    x = rng.standard_normal(shape).astype(dtype)
    return 1 + x / 50 if name == "cumprod" else x


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8])
def test_values(name, dtype):
    in_numpy, op = RUNNING[name]
    for shape, axis in LAYOUTS:
        x = values(shape, np.dtype(dtype), name)
        compiled = jit(lambda x, axis=axis: op(x, axis=axis))
        options = {"dtype": dtype} if name.startswith("cum") and name[3:] in ("sum", "prod") else {}
        with np.errstate(all="ignore"):
            want = in_numpy(x, axis=axis, **options)
        got = compiled(x)
        if x.dtype.kind == "f" and name == "cumsum":
            exact = np.cumsum(x, axis=axis, dtype=np.longdouble)
            scale = np.cumsum(np.abs(x), axis=axis, dtype=np.float64) + 1e-30
            roundings = 20 if axis == x.ndim - 1 else x.shape[axis]
            assert np.max(np.abs(got - exact) / scale, initial=0) <= np.finfo(dtype).eps * roundings
        else:
            np.testing.assert_array_equal(got, want)
        assert "callback" not in compiled.source(x) and "NumPy" not in compiled.explain(x)


def test_the_order_down_the_columns_is_that_of_numpy():
    x = np.random.default_rng(0).standard_normal((300, 77)).astype(np.float32)
    np.testing.assert_array_equal(jit(lambda x: np.cumsum(x, axis=0))(x), np.cumsum(x, axis=0))


@pytest.mark.parametrize("n", [1000, 5000, 80000])
def test_sums_of_positive_numbers_never_fall(n):
    x = np.random.default_rng(n).random(n, np.float32) * np.float32(1e-3)
    assert np.all(np.diff(jit(np.cumsum)(x)) >= 0)


def test_special_values():
    x = np.array([-0.0, -0.0, 1, np.inf, 2, -np.inf, 3] + [1.0] * 2000, np.float32)
    for in_numpy, op in RUNNING.values():
        with np.errstate(all="ignore"):
            want = in_numpy(x)
        got = jit(lambda x, op=op: op(x, axis=0))(x)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(want[:2]))
    zero_first = np.r_[np.zeros(1), np.full(3000, 1e30)].astype(np.float32)   # a product of a part alone would overflow
    np.testing.assert_array_equal(jit(np.cumprod)(zero_first), np.zeros(3001))


@pytest.mark.parametrize("axis", [0, 1])
def test_recurrence(axis):
    a, b = np.random.default_rng(2).uniform(-1, 1, (2, 30, 40))
    got = jit(lambda a, b: ops.linear_recurrence(a, b, axis=axis))(a, b)
    np.testing.assert_array_equal(got, ops.linear_recurrence(a, b, axis=axis))


def test_the_text_runs():
    x = np.arange(70000, dtype=np.float64)[::-1] % 7
    for f in (lambda x: np.cumsum(x[:1200]), lambda x: np.cumprod(x[:30] / 3),
              lambda x: np.cumsum(x[:60].reshape(20, 3), axis=0)):
        compiled, scope = jit(f), {}
        want = compiled(x)
        source = compiled.source(x)
        exec(source, scope)
        function = next(v for k, v in reversed(scope.items()) if callable(v) and source.rfind(f"def {k}(") >= 0)
        np.testing.assert_array_equal(function(x), want)
