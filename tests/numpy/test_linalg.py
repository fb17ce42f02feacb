"""numpy.linalg on traced values: NumPy's values, derivatives against finite differences, errors."""
import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.testing import check_grads

RNG = np.random.default_rng(5)
SQUARE, TALL, WIDE = RNG.standard_normal((2, 4, 4)), RNG.standard_normal((2, 5, 3)), RNG.standard_normal((3, 5))
POSITIVE = SQUARE @ np.swapaxes(SQUARE, 1, 2) + np.eye(4)
VECTOR = RNG.standard_normal(4)

FUNCTIONS = {
    "solve": (lambda a, b: [np.linalg.solve(a, b[:, None]), np.linalg.solve(a, b), np.linalg.solve(a[0], a)], SQUARE, VECTOR),
    "inv": (lambda a: np.linalg.inv(a), SQUARE),
    "det": (lambda a: [np.linalg.det(a), np.linalg.det(a[0])], SQUARE),
    "slogdet": (lambda a: [*np.linalg.slogdet(a)], SQUARE),
    "cholesky": (lambda a: [np.linalg.cholesky(a), np.linalg.cholesky(a, upper=True)], POSITIVE),
    "qr": (lambda a, w: [*np.linalg.qr(a), np.linalg.qr(a, mode="r"), *np.linalg.qr(a, "complete"), *np.linalg.qr(w)],
           TALL, WIDE),
    "svd": (lambda a, w: [*np.linalg.svd(a), *np.linalg.svd(a, full_matrices=False), np.linalg.svd(w, compute_uv=False),
                          np.linalg.svdvals(w)], TALL, WIDE),
    "eigh": (lambda a: [*np.linalg.eigh(a), *np.linalg.eigh(a[0], UPLO="U"), np.linalg.eigvalsh(a)], SQUARE),
    "pinv": (lambda a, w: [np.linalg.pinv(a), np.linalg.pinv(w), np.linalg.pinv(w, rtol=0.5)], TALL, WIDE),
    "rank": (lambda a, w: [np.linalg.matrix_rank(a), np.linalg.matrix_rank(w[:, :1] * w[0]), np.linalg.matrix_rank(w, tol=2.0)],
             TALL, WIDE),
    "cond": (lambda a: [np.linalg.cond(a), np.linalg.cond(a[0], -2), np.linalg.cond(a, 1), np.linalg.cond(a[1], "fro")],
             SQUARE),
    "norms": (lambda a: [np.linalg.norm(a, k, axis=(1, 2)) for k in (2, -2, "nuc")] + [
        np.linalg.norm(a, 2, axis=(0, 2), keepdims=True), np.linalg.matrix_norm(a, ord=2)], TALL),
    "lstsq": (lambda a, b, w: [*np.linalg.lstsq(a[0], b), *np.linalg.lstsq(w, w[:, :2]), np.linalg.lstsq(a[1], a[0])[0]],
              TALL, RNG.standard_normal(5), WIDE),
    "powers": (lambda a: [np.linalg.matrix_power(a, -2), np.linalg.matrix_power(a, 0)], SQUARE),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_numpy_does(name, same):
    function, *args = FUNCTIONS[name]
    same(function, *args, rtol=1e-9)
    same(function, *(a.astype(np.float32) for a in args), rtol=2e-3, atol=1e-3)


def test_integers_become_floats(same):
    same(lambda a: [np.linalg.inv(a), np.linalg.det(a), np.linalg.solve(a, a)], np.array([[2, 1], [1, 3]]))


@pytest.mark.parametrize("function", [np.linalg.qr, np.linalg.svd, np.linalg.eigh, np.linalg.slogdet])
def test_results_have_numpys_names(function):
    assert type(jitnet.jit(lambda a: function(a))(POSITIVE)) is type(function(POSITIVE))


def symmetric(x):
    return x + np.swapaxes(x, -1, -2)


def positive(x):
    return x @ np.swapaxes(x, -1, -2) + np.eye(x.shape[-1])


@pytest.mark.parametrize("function", [
    lambda x: np.linalg.cholesky(positive(x)),
    lambda x: np.sum(np.log(np.diagonal(np.linalg.cholesky(positive(x)), 0, -2, -1))),
    lambda x: np.linalg.eigh(symmetric(x))[0],
    lambda x: (lambda w, v: (v * np.exp(w)[..., None, :]) @ np.swapaxes(v, -1, -2))(*np.linalg.eigh(symmetric(x))),
    lambda x: np.linalg.slogdet(positive(x))[1] + np.linalg.det(x),
    lambda x: np.linalg.solve(positive(x), x),
    lambda x: np.linalg.norm(x, "nuc", axis=(-2, -1)),
], ids=["cholesky", "logarithm of det", "eigenvalues", "exponential", "det", "solve", "nuclear norm"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3)])
def test_derivatives(function, shape):
    check_grads(function, (np.random.default_rng(1).standard_normal(shape),), order=2, rtol=1e-4, atol=1e-4)


def test_rectangular_derivatives():
    for x in (TALL[0], WIDE):
        check_grads(lambda x: [*np.linalg.qr(x)], (x,), order=2, rtol=1e-4, atol=1e-4)
        check_grads(lambda x: (lambda u, s, vh: (u * np.tanh(s)) @ vh)(*np.linalg.svd(x, full_matrices=False)), (x,), order=2,
                    rtol=1e-4, atol=1e-4)
        check_grads(lambda x: np.linalg.pinv(x), (x,), rtol=1e-4, atol=1e-4)
    check_grads(lambda a, b: np.linalg.lstsq(a, b)[0], (TALL[0], TALL[1]), rtol=1e-4, atol=1e-4)


def test_a_gradient_of_a_symmetric_matrix_is_symmetric():
    gradient = jitnet.grad(lambda a: np.sum(np.log(np.diag(np.linalg.cholesky(a)))))(POSITIVE[0])
    np.testing.assert_allclose(gradient, np.linalg.inv(POSITIVE[0]) / 2, rtol=1e-9)


def test_equal_singular_values_have_no_nan():
    gradient = jitnet.grad(lambda a: np.sum(np.linalg.svd(a)[1]))(np.eye(3))
    np.testing.assert_allclose(gradient, np.eye(3), atol=1e-12)


def test_vmap():
    b = RNG.standard_normal((2, 4))
    np.testing.assert_allclose(jitnet.vmap(np.linalg.solve)(SQUARE, b), np.linalg.solve(SQUARE, b[..., None])[..., 0])
    np.testing.assert_allclose(jitnet.vmap(np.linalg.solve, in_axes=(0, None))(SQUARE, b[0]), np.linalg.solve(SQUARE, b[0]))
    np.testing.assert_allclose(jitnet.vmap(lambda a: np.linalg.svd(a, full_matrices=False)[1])(TALL), np.linalg.svdvals(TALL))


def test_compiled():
    f = jitnet.jit(lambda a, b: np.linalg.solve(a.T @ a + np.eye(3, dtype=a.dtype), a.T @ b))
    a, b = TALL[0], VECTOR[0] + TALL[1][:, 0]
    np.testing.assert_allclose(f(a, b), np.linalg.solve(a.T @ a + np.eye(3), a.T @ b))
    assert "solve runs through NumPy" in f.explain(a, b)


def test_singular_matrices_raise_numpys_error():
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        jitnet.jit(lambda a: np.linalg.inv(a))(np.zeros((2, 2)))
    x = np.ones((2, 2))
    with pytest.raises(np.linalg.LinAlgError):
        jitnet.jit(lambda a: a.__setitem__(..., np.linalg.cholesky(a * -1)))(x)
    np.testing.assert_array_equal(x, 1)


@pytest.mark.parametrize("call, what, hint", [
    (lambda a: np.linalg.inv(a), "inv: needs square matrices in the last two axes, not f64[3,5]",
     "line the axes up with `reshape`, or take `x[:, None]` of a vector"),
    (lambda a: np.linalg.svd(a[0]), "svd: needs matrices in the last two axes, not f64[5]",
     "line the axes up with `reshape`, or take `x[:, None]` of a vector"),
    (lambda a: np.linalg.solve(a[:, :3], a[:2]), "solve: shapes do not fit: f64[3,3] and f64[2,5]",
     "the right side has as many rows as the matrix"),
    (lambda a: np.linalg.lstsq(a, a[0]), "lstsq: shapes do not fit: (3, 5) and (5,)",
     "a is a matrix, b a vector or a matrix with as many rows"),
    (lambda a: np.linalg.qr(a, "raw"), "qr: there is no mode 'raw' here", "use 'reduced', 'complete' or 'r'"),
    (lambda a: jitnet.grad(lambda x: np.sum(np.linalg.svd(x)[0]))(a),
     "svd: vectors without a singular value have no derivative", "use full_matrices=False"),
    (lambda a: jitnet.grad(lambda x: np.sum(np.linalg.qr(x.T, "complete")[0]))(a),
     "qr: the columns of q beyond those of the matrix have no derivative", "use mode='reduced'"),
])
def test_errors(call, what, hint):
    with pytest.raises(errors.JitnetError) as error:
        jitnet.jit(call)(WIDE)
    assert (error.value.what, error.value.hint) == (what, hint)
