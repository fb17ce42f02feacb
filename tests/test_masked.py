"""x[mask] with a traced mask: what does not ask how many elements there are does as NumPy does, the rest is an error."""
import numpy as np
import pytest

import jitnet
from jitnet import errors

BODIES = {
    "add": "x[x > 0] += 1; return x",
    "by a scalar": "x[x > 0] *= v[0]; return x",
    "computed": "x[x > 0] = np.sqrt(x[x > 0]) * 2 + 1; return x",
    "two uses": "m = x < 0; x[m] -= x[m] * 0.5; x[~m] = 2 - x[~m]; return x",
    "rows": "x[x[:, 0] > 0] += v; return x",
    "rows of another": "m = x[:, 0] > 0; y = np.zeros_like(x); y[m] = np.exp(x[m]) * v; return y",
    "reductions": "m = x > 0.2; return x[m].sum(), np.mean(x[m]), x[m].prod(), (x[m] > 1).any(), np.all(x[m] < 1), "
                  "(x[m] ** 2).sum()",
    "sum of rows": "return x[v[:, None] > 0].sum() if False else x[x[:, 1] < 0].sum(), np.sum(x[x[:, 1] < 0] * v)",
    "integers": "i = np.floor(3 * x).astype(np.int64); i[i != 0] //= i[i != 0]; i[i < 0] += 2; return i",
    "from another array": "y = x * 2; y[x > 0] = x[x > 0]; return y",
    "not in place": "m = x > 0; a = x[m]; b = a + 1; x[m] = a * b; return x",
    "old values": "m = x > 0; a = x[m].copy(); x *= 3; x[m] = a; return x",
    "other dtype": "f = x.astype(np.float32); f[x > 0] = x[x > 0] + 1; return f, x[x > 0].astype(np.float32).sum()",
}


def function(name):
    scope = {"np": np}
    exec(f"def f(x, v): {BODIES[name]}", scope)
    return scope["f"]


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("shift", [0, -9])
def test_as_numpy_does(name, shift, rng):
    x, v = rng.standard_normal((6, 3)) + (shift if name not in ("reductions",) else 0), rng.standard_normal(3)
    mine = x.copy()
    want, got = function(name)(x, v), jitnet.jit(function(name))(mine, v)
    np.testing.assert_allclose(mine, x, rtol=1e-14)
    for g, w in zip(got if type(got) is tuple else [got], want if type(want) is tuple else [want], strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=1e-6 if g.dtype == np.float32 else 1e-13)


def test_one_kernel(rng):
    lowered = jitnet.jit(lambda x: x.__setitem__(x > 0, np.sqrt(x[x > 0]))).lower(rng.standard_normal((6, 3)))
    assert [info.kind for info in lowered.kernels] == ["kernel"]


def test_the_derivative_has_no_nan_where_the_mask_is_false(rng):
    def f(x):
        y = np.zeros_like(x)
        y[x > 0] = np.log(x[x > 0]) / x[x > 0]
        return np.sum(y) + np.sqrt(x[x > 0]).sum()

    x = np.array([-1.0, 2.0, 0.0, 0.5])
    want = np.where(x > 0, (1 - np.log(np.abs(x) + (x == 0))) / (x * x + (x == 0)) + 0.5 / np.sqrt(np.abs(x) + (x == 0)), 0)
    np.testing.assert_allclose(jitnet.grad(f)(x), want)


def test_under_vmap(rng):
    def f(x):
        y = x + 0
        y[y > 0] *= -1
        return y

    x = rng.standard_normal((3, 4))
    np.testing.assert_array_equal(jitnet.vmap(f)(x), -np.abs(x))


@pytest.mark.parametrize("call", [
    lambda x: x[x > 0], lambda x: len(x[x > 0]), lambda x: np.concatenate([x[x > 0], x[0]]), lambda x: x[x > 0].shape,
    lambda x: x[x > 0] + x[x < 0], lambda x: x.__setitem__(x > 0, x[x < 0]), lambda x: x + x[x > 0],
    lambda x: np.max(x[x > 0]), lambda x: x[x > 0] + np.ones(7), lambda x: list(x[x > 0]), lambda x: x[x > 0][0],
    lambda x: np.add.reduce(x[x > 0]), lambda x: x[x > 0].sum(axis=0), lambda x: jitnet.numpy.exp(x)[x > 0].reshape(-1),
    lambda x: np.where(x[x > 0] > 1, 1, 2)])
def test_what_asks_for_their_number_is_an_error(call):
    with pytest.raises(errors.TraceIndexError) as error:
        jitnet.jit(call)(np.ones((4, 3)))
    assert error.value.what == "a traced mask as an index: the size of the result depends on its values"
    assert error.value.source.file.endswith("test_masked.py")


def test_dtypes_that_do_not_fit():
    with pytest.raises(errors.TraceTypeError, match="a f64 result cannot be written into a i64 array"):
        jitnet.jit(lambda i: i.__setitem__(i > 0, i[i > 0].__iadd__(0.5)))(np.arange(3))
    with pytest.raises(errors.TraceIndexError, match=r"a mask of shape \(3,\) does not fit an array of shape \(2, 3\)"):
        jitnet.jit(lambda x: x[x[0] > 0])(np.ones((2, 3)))
