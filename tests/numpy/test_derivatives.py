"""Derivatives and batching of functions made of several ops: finite differences to second order, vmap against a loop."""
import numpy as np
import pytest

import jitnet
import jitnet.numpy as jnp
from jitnet.errors import TraceValueError
from jitnet.testing import check_grads

RNG = np.random.default_rng(3)
X = RNG.uniform(0.3, 2.0, (3, 4))
S = RNG.normal(size=(3, 4))
M = RNG.normal(size=(4, 4))
V = RNG.normal(size=5)

FUNCTIONS = {
    "power": (lambda x: [x ** 2, x ** 3, x ** 0.5, x ** -1, x ** 2.5, 2.0 ** x, x ** x, np.float_power(x, 3)], X),
    "small": (lambda x: [np.square(x), np.reciprocal(x), np.deg2rad(x), np.sinc(x), np.logaddexp2(x, 1.0), np.hypot(x, 2.0),
                         *np.modf(x), np.fabs(x)], X),
    "sinc at 0": (lambda x: np.sinc(x), np.array([0.0, 0.5])),
    "remainders": (lambda x: [x % 0.7, np.fmod(x, 0.7), np.divmod(x, 0.7)[1], x - x // 1], X),
    "choices": (lambda x: [np.where(x > 1, x * x, -x), np.clip(x, 0.5, 1.5), np.maximum(x, 1.1), np.fmin(x, 1.2),
                           np.select([x > 1.5, x > 1], [x, x * x], 0.0),
                           np.nan_to_num(x), np.abs(x - 1), np.heaviside(x - 1, 0.5)], X),
    "reductions": (lambda x: [x.sum(0), x.mean(1), x.var(), x.std(axis=0, ddof=1), x.prod(axis=1), x.prod(), x.max(0), x.min(),
                              np.ptp(x, 1), np.average(x, 0, X[:, 0])], S),
    "masked": (lambda x: [np.sum(x, where=X > 1), np.mean(x, axis=0, where=X > 0.6), np.var(x, 1, where=X > 0.6),
                          np.prod(x, axis=1, where=X > 1)], S),
    "products with zeros": (lambda x: [np.prod(x, axis=1), np.cumprod(x, axis=1)],
                            np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0]])),
    "norms": (lambda x: [np.linalg.norm(x), np.linalg.norm(x, axis=1), np.linalg.norm(x, 3, axis=0), np.linalg.norm(x, 1),
                         np.linalg.norm(x, np.inf, axis=1)], S),
    "logsumexp": (lambda x: [jnp.logsumexp(x, axis=1), jnp.logsumexp(x), np.logaddexp.reduce(x, axis=0), np.logaddexp(x, 0.3)],
                  S),
    "running": (lambda x: [np.cumsum(x, 1), np.cumprod(x, 0), np.maximum.accumulate(x, axis=1), np.diff(x),
                           np.gradient(x, axis=0), np.trapezoid(x)], S),
    "sorting": (lambda x: [np.sort(x, 1), np.median(x, axis=0), np.quantile(x, 0.3),
                           np.take_along_axis(x, np.argsort(x, axis=1), axis=1), np.nanquantile(x, 0.4, axis=0)], S),
    "shapes": (lambda x: [x.T, x.reshape(2, 6), x[::-1, 1:3], np.roll(x, 1, 0), np.tile(x, (2, 1)), np.repeat(x, 2, 1),
                          np.pad(x, 1), np.pad(x, 2, mode="edge"),
                          np.pad(x, 1, constant_values=x[0, 0]), np.flip(x), np.concatenate([x, x * 2]), np.stack([x, x]),
                          np.rot90(x), np.moveaxis(x, 0, 1)], S),
    "taking": (lambda x: [x[[0, 2, 0]], x[np.arange(3), [3, 0, 3]], np.take_along_axis(x, np.array([[1], [0], [3]]), 1),
                          x[:, [1, 1, 3]], x[[0, 1], [2, 2]], np.take(x, [1, 1], axis=0), x[0, ..., 1],
                          x[np.array([True, False, True])]], S),
    "writing": (lambda x: _written(x), S),
    "products": (lambda x, m: [x @ m, m @ m, x[0] @ m, m @ m[0], m[0] @ m[1], np.dot(x, m), np.outer(x[0], x[1]),
                               np.kron(x, m[:2, :2]), np.tensordot(x, m, ((1,), (0,))),
                               np.cross(m[:, :3], m[1, :3]), np.trace(m), np.diagonal(m, 1), np.diag(x[0]), np.tril(m),
                               np.inner(x, m), np.vdot(m, m)], S, M),
    "einsum": (lambda x, m: [np.einsum("ij,jk->ik", x, m), np.einsum("ij,jk,kl->", x, m, m), np.einsum("ii->i", m),
                             np.einsum("ij,ij->i", x, x),
                             np.einsum("...j,jk", x, m), np.einsum("ii", m), np.einsum("ij->j", x)], S, M),
    "windows": (lambda x: [np.convolve(x, [1.0, 2.0, -1.0]), np.correlate(x, x[:2], "full"), np.interp(0.3, np.arange(5.0), x),
                           np.polyval(x, 0.5),
                           np.lib.stride_tricks.sliding_window_view(x, 2)], V),
    "interp": (lambda x: np.interp(x, np.arange(4.0), np.array([0.0, 2.0, 1.0, 5.0])), X),
    "statistics": (lambda x: [np.cov(x), np.corrcoef(x), np.histogram(x, 3, (0, 1), weights=x * x)[0]], S),
    "special": (lambda x: [_special("erf")(x), _special("gammaln")(x), _special("digamma")(x), _special("expit")(x),
                           _special("erfinv")(x / 3), _special("xlogy")(x, x),
                           _special("entr")(x), _special("log_expit")(x), _special("logit")(x / 3), _special("ndtr")(x)], X),
    "trigamma below 0": (lambda x: _special("digamma")(x), np.array([-0.4, -1.3, -2.7])),
}


def _special(name):
    import scipy.special

    return getattr(scipy.special, name)


def _written(x):
    y = x * 1.0
    y[0] = x[1] * x[2]
    y[:, 1] *= 3.0
    y[[0, 2, 0], [3, 3, 3]] = x[0, :3]
    np.add.at(y, [0, 0, 1], x)
    y[y > 1] = 0.5
    y.T[2][1:] += x[0, 0]
    return [y, y[::2, ::-1]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_order(name):
    function, *args = FUNCTIONS[name]
    check_grads(function, tuple(args), order=2, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_equals_a_loop(name):
    function, *args = FUNCTIONS[name]
    rows = [np.stack([a, a * 0.9, a[::-1]]) for a in args]
    found, loop = jitnet.vmap(function)(*rows), [function(*(r[k] for r in rows)) for k in range(3)]
    if not isinstance(found, list):
        found, loop = [found], [[out] for out in loop]
    for k, batch in enumerate(found):
        np.testing.assert_allclose(batch, np.stack([out[k] for out in loop]), rtol=1e-9, atol=1e-12)


def test_random_einsums(same):
    """Random subscripts with repeated names, broadcast axes, sums and up to three operands."""
    rng = np.random.default_rng(0)
    sizes = dict(zip("abcdef", (2, 3, 4, 1, 2, 3)))
    for _ in range(60):
        terms = ["".join(rng.choice(list("abcdef"), int(rng.integers(1, 4)))) for _ in range(int(rng.integers(1, 4)))]
        names = sorted(set("".join(terms)))
        out = "".join(rng.permutation([n for n in names if rng.random() < 0.5]))
        text = ",".join(terms) + ("->" + out if rng.random() < 0.8 else "")
        same(lambda *xs, text=text: np.einsum(text, *xs), *(rng.normal(size=tuple(sizes[n] for n in t)) for t in terms))
    same(lambda x, y: [np.einsum("...ij,...jk->...ik", x, y), np.einsum(x, [0, 1, 2], y, [2, 3], [0, 3]),
                       np.einsum("i...->...", x)],
         rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 5)))


SIZES = "axes of one name have one size, or 1: check the order of the names"
ONCE = "name each axis of the result once, by a name that an operand has"


@pytest.mark.parametrize(("text", "shapes", "what", "hint"), [
    ("ij,jk", [(4, 3), (4, 3)], "'j' in 'ij,jk' has the sizes 3 and 4", SIZES),
    ("...i,...i", [(4, 3), (5, 3)], "an axis of `...` in '...i,...i' has the sizes 4 and 5", SIZES),
    ("ii", [(4, 3)], "'i' has the sizes 4 and 3 in operand 0, whose diagonal it takes",
     "the axes of a diagonal are of one size: give them other names, or slice the operand"),
    ("ij->k", [(4, 3)], "the output of 'ij->k' names 'k', which no operand has", ONCE),
    ("ij->ii", [(4, 3)], "the output of 'ij->ii' names 'i' twice", ONCE),
    ("i$", [(4, 3)], "'$' in 'i$' is no letter", "name the axes by letters from a to Z"),
])
def test_errors_of_einsum(text, shapes, what, hint):
    arrays = [np.ones(shape) for shape in shapes]
    with pytest.raises(ValueError):
        np.einsum(text, *arrays)
    with pytest.raises(TraceValueError) as info:
        jitnet.jit(lambda *xs: np.einsum(text, *xs))(*arrays)
    assert (info.value.what, info.value.hint) == (f"einsum: {what}", hint)
