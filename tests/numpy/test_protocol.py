"""NumPy's own functions on traced values: ufunc options and methods, out=, SciPy's ufuncs, array methods, creation."""
import copy
import pickle

import numpy as np
import pytest
import scipy.special

import jitnet.numpy as jnp
from jitnet.errors import JitnetError
from jitnet.tracer import trace
from jitnet.types import F64, I64, ArrayType

X = np.linspace(0.2, 3, 12).reshape(3, 4)
F = X.astype(np.float32)


def test_ufunc_options(same):
    def f(x, y):
        out = x * 0
        np.add(x, y, out=out)
        np.multiply(x, 2, out=out, where=x > 1)
        np.sqrt(out, out=out)
        also = np.exp(x, np.zeros_like(x))
        return [out, also, np.add(x, y, dtype=np.float32), np.divide(x, 0.0, where=x > 100, out=x * 1),
                np.floor_divide(x, 2, dtype=np.float64),
                np.subtract(x, y, casting="same_kind"), *np.divmod(x, 2), *np.modf(x)]

    same(f, X, X[::-1].copy())


def test_results_of_numbers_and_smaller_shapes_fill_out(same):
    def f(x):
        numbers, row, tests = x * 1, x * 1, x * 1
        np.exp(2.0, numbers)
        np.add(x[0], 1, out=row)
        np.isfinite(x[:1], tests)
        return [numbers, row, tests, np.clip(x, 0.5, 1, dtype=np.float32), np.clip(x, 0.5, 1, where=x > 1, out=x * 1)]

    same(f, X)


def test_numbers_of_python(same):
    """round() gives a Python integer, which is weak, or with digits a number of the dtype of x; formats show the stand-in."""
    same(lambda x: [round(x[0, 1]) * x[1], round(x[1, 1], 1) * x[0], round(x[0].sum() * 10, -1)], F)
    shown = []
    trace(lambda x: [shown.append(f"loss {x[0, 0]:.3f}") or x], [A], "f")
    assert shown == ["loss Tracer<f64[]>"]


def test_copies(same):
    def f(x):
        y, z = copy.copy(x), copy.deepcopy({"a": [x]})["a"][0]
        y[0], z[1] = 7, 8
        return [x, y, z]

    same(f, X)
    with pytest.raises(JitnetError, match="no elements that could be pickled"):
        trace(lambda x: [pickle.loads(pickle.dumps(x))], [A], "f")


def test_sums_in_narrow_integers_wrap_around(same):
    x = np.array([[100, 100, 7], [-3, 90, 120]], np.int16)
    same(lambda x: [x.sum(dtype=np.int8), np.sum(x, 0, np.uint8), np.prod(x, axis=1, dtype=np.int8),
                    np.cumsum(x, dtype=np.int8), np.add.reduce(x, dtype=np.int8), np.add.accumulate(x, dtype=np.uint8),
                    np.trace(x, dtype=np.int8), x.cumprod(dtype=np.int16), np.sum(x, dtype=bool),
                    np.sum(x, dtype=np.int8, keepdims=True, initial=3), np.mean(x, dtype=np.float32),
                    np.nansum(x, dtype=np.int8)], x)


def test_squares_of_bools(same):
    """The operator and the ufunc differ in NumPy: the operator takes the square, which is int8."""
    same(lambda x: [b := x > 1, b ** 2, np.power(b, 2), b ** 3, b ** 2.0, np.square(b), (x[0] > 1)[0] ** 2], X)


def test_ufunc_methods(same):
    same(lambda x: [np.add.reduce(x), np.add.reduce(x, axis=None), np.multiply.reduce(x, axis=1, keepdims=True),
                    np.maximum.reduce(x, axis=(0, 1)),
                    np.minimum.reduce(x), np.logical_and.reduce(x > 1, axis=1), np.logical_or.reduce(x > 2),
                    np.logaddexp.reduce(x, axis=1),
                    np.add.reduce(x, initial=5.0), np.add.reduce(x, axis=1, dtype=np.float32),
                    np.bitwise_or.reduce(x > 2, axis=0),
                    np.add.accumulate(x), np.multiply.accumulate(x, axis=1), np.maximum.accumulate(x),
                    np.minimum.accumulate(x, axis=1),
                    np.multiply.outer(x[0], x[1]), np.subtract.outer(x, x[0]), np.less.outer(x[0], x[1])], X)


def test_mixed_operands(same):
    same(lambda x: [np.ones((3, 1)) * x, x * np.ones((3, 1)), np.float64(2) * x, np.float32(2) * x, x * np.float64(2),
                    np.array(3) * x,
                    [1, 2, 3, 4] * x, np.add(x, [1.0, 2.0, 3.0, 4.0]), np.int8(2) + x, True + x, np.add(2, x),
                    np.maximum(x, [[1], [2], [3]])], F)


def test_out_of_functions(same):
    def f(x):
        out = np.zeros_like(x)
        np.cumsum(x, axis=0, out=out)
        row = np.zeros_like(x[0])
        np.sum(x, axis=0, out=row)
        x.mean(axis=0, out=out[1])
        np.matmul(x, x.T, out=(square := np.zeros_like(x @ x.T)))
        np.concatenate([x[:1], x[:2]], out=out[:3])
        np.clip(x, 0.5, 1, out=out[...])
        return [out, row, square]

    same(f, X)


def test_methods(same):
    same(lambda x: [x.sum(1), x.mean(), x.std(0), x.var(ddof=1), x.prod(), x.max(0), x.min(), x.argmax(1), x.argmin(), x.any(),
                    x.all(1), x.cumsum(1),
                    x.cumprod(0), x.clip(0.5, 2), x.round(1), x.astype(np.float32), x.reshape(4, 3), x.reshape(-1), x.ravel(),
                    x.flatten(), x.T, x.mT,
                    x.transpose(), x.swapaxes(0, 1), x.squeeze(), x.repeat(2, axis=0), x.take([0, 2], axis=1), x.dot(x.T),
                    x.diagonal(), x.trace(),
                    x.copy(), x.conj(), x.real, x.imag, x.view(), x.argsort(axis=1), x[0].searchsorted(1.0), np.array(x.shape),
                    x.flat[3:5]], X)


def test_methods_that_write(same):
    def f(x):
        y = x.copy()
        y.fill(3.0)
        z = x.copy()
        z.sort(axis=0)
        w = x.copy()
        w.put([0, 5], [10.0, 20.0])
        w.flat[3] = 7
        return [y, z, w]

    same(f, X[::-1].copy())


def test_attributes():
    def f(x):
        assert (x.shape, x.ndim, x.size, x.itemsize, x.nbytes, x.dtype, len(x)) == ((3, 4), 2, 12, 8, 96, np.float64, 3)
        assert [r.shape for r in x] == [(4,)] * 3 and x.T.shape == (4, 3) and repr(x) == "Tracer<f64[3,4]>"
        a, b, c = x
        return [a + b + c]

    trace(f, [ArrayType((3, 4), F64)], "f")


SCIPY = ["erf", "erfc", "gammaln", "digamma", "psi", "expit", "log_expit", "exp2", "expm1", "log1p", "cbrt", "ndtr", "entr"]


@pytest.mark.parametrize("name", SCIPY)
def test_scipy_ufuncs(name, same):
    same(getattr(scipy.special, name), X, rtol=1e-12)


def test_scipy_more(same):
    same(lambda x: [scipy.special.erfinv(x / 4), scipy.special.logit(x / 4), scipy.special.xlogy(x, x + 1),
                    scipy.special.xlogy(x * 0, 0)], X, rtol=1e-12)
    same(lambda x: [scipy.special.expit(x), scipy.special.erf(x, out=x * 0)], F)
    with pytest.raises(JitnetError, match="jv: jitnet cannot compile this ufunc"):
        trace(lambda x: [scipy.special.jv(0, x)], [ArrayType((3,), F64)], "f")


def test_creation_while_tracing(same):
    def f(x):
        return [x + 0, jnp.zeros((2, 3)), jnp.ones(4, np.int32), jnp.full((2, 2), 7), jnp.full(3, 2.5, np.float32),
                jnp.empty((2,)) * 0, jnp.arange(5),
                jnp.arange(2, 9, 3), jnp.arange(0.0, 1.0, 0.25), jnp.arange(5, 0, -2), jnp.arange(3, dtype=np.float32),
                jnp.arange(0), jnp.linspace(0, 1, 7),
                jnp.linspace(0, 1, 4, endpoint=False), jnp.linspace(0, 10, 5, dtype=np.int64),
                jnp.linspace(np.zeros(2), np.ones(2), 3), jnp.linspace(3, 5, 1),
                jnp.logspace(0, 2, 3), jnp.geomspace(1, 8, 4), jnp.eye(3), jnp.eye(2, 4, 1), jnp.eye(3, k=-1, dtype=np.int32),
                jnp.identity(2),
                jnp.tri(3, 4, 1), jnp.indices((2, 3)), jnp.asarray([1.0, 2.0]), jnp.array([[1, 2], [3, 4]]),
                *jnp.meshgrid(jnp.arange(2), jnp.arange(3)),
                jnp.array([1, 2], ndmin=2), jnp.arange(2.5), jnp.linspace(0, 1, 3, axis=0), jnp.zeros(())]

    same(f, X)


def test_creation_emits_no_large_constants():
    def f(x):
        return [x + jnp.zeros((100, 100)) + jnp.eye(100) + jnp.arange(100) + jnp.tri(100) + jnp.linspace(0, 1, 100)
                + np.tril(x)]

    graph = trace(f, [ArrayType((100, 100), F64)], "f").graph
    constants = [a for e in graph.eqns for a in e.inputs if hasattr(a, "value")]
    assert max(a.value.size for a in constants) == 1


def test_arrays_of_traced_values(same):
    def f(x):
        return [jnp.array([x[0], x[1] * 2]), jnp.asarray([x[0, 0], 1.5, 2]), jnp.array([[x[0, 0], 1], [2, x[1, 1]]]),
                jnp.full((2, 4), x[0])]

    def plain(x):
        return [np.array([x[0], x[1] * 2]), np.asarray([x[0, 0], 1.5, 2]), np.array([[x[0, 0], 1], [2, x[1, 1]]]),
                np.full((2, 4), x[0])]

    same(lambda x: f(x) if not isinstance(x, np.ndarray) else plain(x), X)


def test_array_written_to(same):
    def f(x):
        xp = jnp if not isinstance(x, np.ndarray) else np
        out = xp.zeros((3, 4))
        for i in range(3):
            out[i] = x[i] * i
        total = xp.zeros(())
        for row in x:
            total = total + row.sum()
        return [out, total]

    same(f, X)


def what(call, *types):
    with pytest.raises(JitnetError) as info:
        trace(lambda *xs: [call(*xs)], types, "f")
    return str(info.value).split("\n")[0], info.value.hint


A, N = ArrayType((3, 4), F64), ArrayType((3,), I64)


@pytest.mark.parametrize("call, message, hint", [
    (lambda x, n: np.add(x, 1, out=np.zeros((3, 4))), "add: out= is a NumPy array, which cannot hold a traced value",
     "make it inside the function with `jitnet.numpy.zeros`, or use the returned value: `total = total + x` instead of "
     "`total += x`"),
    (lambda x, n: np.add(n, 1.5, out=n * 1), "add: a f64 result cannot be written into a i64 array",
     "convert the array first: `x = x.astype(...)`"),
    (lambda x, n: np.linalg.eig(x), "numpy.linalg.eig: jitnet cannot compile this function of a traced value (f64[3,4])",
     "write it with functions that `jitnet.numpy` has, or call it outside the compiled function"),
    (lambda x, n: np.maximum.at(x, 0, 1), "maximum.at: jitnet compiles add.at and subtract.at only",
     "for indices without repetition write `x[i] = f(x[i], v)`"),
    (lambda x, n: np.add.reduceat(x, [0, 1]), "add.reduceat: jitnet cannot compile this method of a ufunc",
     "use reduce, accumulate, outer or at"),
    (lambda x, n: np.where(x > 0), "where: with a condition alone, the size of the result depends on its values",
     "give both values, where(condition, x, y), or call it outside the compiled function"),
    (lambda x, n: jnp.arange(n[0]), "arange: the size of the result depends on a traced value",
     "mark the size static with `static_argnames`"),
    (lambda x, n: jnp.zeros((2, n[0])), "a shape must be known when the function is traced, not a traced value",
     "mark the size static with `static_argnames`"),
    (lambda x, n: np.repeat(x, n, axis=0), "repeat: the size of the result depends on a traced `repeats`",
     "pass numbers known when the function is traced"),
    (lambda x, n: np.bincount(n), "bincount: the size of the result depends on the values of a traced array",
     "pass minlength=, larger than every element"),
    (lambda x, n: n ** -1, "power: Integers to negative integer powers are not allowed.",
     "convert the array first: `x.astype(float)`"),
    (lambda x, n: x & 1, "bitwise_and: NumPy has no bitwise_and of f64 and a Python int",
     "convert the array first: `x.astype(...)`"),
    (lambda x, n: (x > 0) - (x > 1), "subtract: NumPy has no subtract of b1 and b1", "of bools, `x ^ y` is the difference"),
    (lambda x, n: -(x > 0), "negative: NumPy has no negative of b1", "of bools, `~x` is the negation"),
    (lambda x, n: x.nonsense, "a traced array has no attribute 'nonsense'",
     "it has the attributes and methods of NumPy's arrays"),
    (lambda x, n: x.strides, "a traced array has no attribute 'strides'",
     "it stands for values, not for memory: use a function of NumPy, or call this outside the compiled function"),
    (lambda x, n: x * 1j, "multiply: an operand is a complex number, which jitnet does not compile",
     "compute with real and imaginary parts apart"),
    (lambda x, n: None + x, "add: an operand is a NoneType, not an array or a number",
     "pass NumPy arrays, jitnet arrays or Python numbers"),
    (lambda x, n: round(x), "round() of a traced f64[3,4]", "use `np.round`"),
    (lambda x, n: x.nonzero(), "nonzero: the size of the result depends on the values of a traced array",
     "use `jitnet.where` with a value for every element, or call it outside the compiled function"),
])
def test_errors(call, message, hint):
    assert what(call, A, N) == (message, hint)


def test_attributes_that_libraries_probe_for_are_plainly_absent():
    def f(x):
        assert not hasattr(x, "__cuda_array_interface__") and not hasattr(x, "flags")
        return [x]

    trace(f, [A], "f")
