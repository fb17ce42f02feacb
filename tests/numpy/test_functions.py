"""Every function of jitnet.numpy against NumPy: one line per call, traced and evaluated, values and dtypes compared."""
import numpy as np
import pytest

import jitnet
import jitnet.numpy as jnp
from jitnet.types import DTYPES

RNG = np.random.default_rng(5)
X = RNG.normal(size=(3, 4, 2))
M = RNG.normal(size=(4, 4)).astype(np.float32)
V = RNG.normal(size=6)
P = RNG.uniform(0.1, 2, size=(3, 4)).astype(np.float32)
N = np.where(RNG.random((3, 4)) < 0.3, np.nan, RNG.normal(size=(3, 4)))
I = RNG.integers(-9, 9, (3, 4))
B = RNG.random((3, 4)) < 0.5
SORTED = np.sort(V)
MASK = RNG.random((3, 4, 2)) < 0.6


def _written(x):
    y, z = x + 0, x[:, :3] * 1
    np.copyto(y, x * 2, where=x > 1)
    np.putmask(y, x < 0.3, 0.0)
    np.fill_diagonal(z, 9.0)
    return [y, z]


CALLS = {
    # elementwise
    "arithmetic": (lambda x, y: [x + y, x - y, x * y, x / y, x // y, x % y, x ** y, -x, +x, abs(x), divmod(x, y)[1], 2 - x,
                                 1 / x, 7 // y, 2.5 % y], P, P + 1),
    "integers": (lambda i: [i + 1, i // 3, i % 3, i * i, i / 2, i ** 2, i & 3, i | 8, i ^ 5, ~i, i << 2, i >> 1, abs(i), -i,
                            i == 2, i != 2], I),
    "bools": (lambda b: [b + b, b * b, b & ~b, b | b, b ^ b, b.sum(), b.mean(), b + 1, b * 2.0, b / b, b ** b, b // b, b % b,
                         b == b, np.maximum(b, b)], B),
    "power": (lambda x: [x ** 0, x ** 1, x ** 2, x ** 3, x ** 4, x ** 5, x ** 0.5, x ** -1, x ** -2, x ** 1.5, 2 ** x,
                         np.power(x, 2), np.float_power(x, 2)], P),
    "power of integers": (lambda i: [i ** 0, i ** 1, i ** 2, i ** 3, i ** 7, i ** 2.0, np.power(2, np.abs(i))], I),
    "roundings": (lambda x, i: [np.floor(x), np.ceil(i), np.trunc(x), np.rint(x), np.rint(i), np.fix(x), np.round(x, 1),
                                np.round(x), x.round(-1), np.round(i, -1)], X * 9, I),
    "tests": (lambda x, i: [np.isnan(x), np.isinf(x), np.isfinite(x), np.isnan(i), np.isfinite(i), np.signbit(x),
                            np.signbit(i)], N, I),
    "small": (lambda x: [np.square(x), np.reciprocal(x), np.sign(x), np.fabs(x), np.deg2rad(x), np.degrees(x), np.sinc(x - 1),
                         np.heaviside(x - 1, 0.5), np.logaddexp2(x, 1), np.spacing(x), np.spacing(-x * 1e-310),
                         *np.modf(x)], P),
    "small of integers": (lambda i: [np.square(i), np.reciprocal(i * 2 + 1), np.sign(i), np.fabs(i), np.radians(i), np.sinc(i),
                                     np.heaviside(i, 1), *np.modf(i), np.bitwise_count(i), np.ldexp(i, 2), np.gcd(i, 6),
                                     np.lcm(i, 4)], I),
    "where and clip": (lambda x, b: [np.where(b, x, 0), np.where(b, 1.0, x), np.clip(x, 0.5, 1), x.clip(max=1),
                                     np.clip(x, None, x.mean()), np.select([b, x > 1], [x, -x], 7)], P, B),
    "nan": (lambda x: [np.nan_to_num(x), np.nan_to_num(x, nan=3.0), np.isclose(x, x, equal_nan=True), np.isclose(x, 1),
                       np.fmax(x, 0), np.fmin(x, 0), np.maximum(x, 0)], N),
    "compare": (lambda x, y: [x < y, x <= y, x > y, x >= y, x == y, x != y, np.logical_and(x, y), np.logical_or(x, y),
                              np.logical_xor(x, y), np.logical_not(x)], X, X[0]),
    "hyperbolic": (lambda x: [np.arctan2(x, 2), np.hypot(x, 3), np.copysign(x, -1), np.nextafter(x, 0), np.arcsinh(x),
                              np.cbrt(x), np.exp2(x), np.log1p(x)], P),
    # reductions
    "sum": (lambda x: [x.sum(), x.sum(0), np.sum(x, axis=(0, -1)), np.sum(x, axis=1, keepdims=True),
                       np.sum(x, dtype=np.float32), np.sum(x, 1, where=MASK), np.sum(x, initial=3)], X),
    "prod": (lambda x: [x.prod(), np.prod(x, axis=1), np.prod(x, axis=0, keepdims=True, where=MASK), np.prod(x, initial=2)], X),
    "extremes": (lambda x: [x.max(), x.min(axis=1), np.max(x, axis=(1, 2), keepdims=True), np.amax(x, initial=0),
                            np.min(x, 0, where=MASK, initial=9), np.ptp(x, 1)], X),
    "positions": (lambda x: [x.argmax(), np.argmin(x, axis=1), np.argmax(x, axis=-1, keepdims=True),
                             np.argmax(x, keepdims=True)], X),
    "truth": (lambda b: [b.any(), b.all(axis=0), np.any(b, axis=1, keepdims=True), np.all(b, where=B), np.count_nonzero(b),
                         np.count_nonzero(b, axis=1)], B),
    "mean": (lambda x: [x.mean(), np.mean(x, axis=(0, 2)), np.mean(x, 1, keepdims=True), np.mean(x, axis=1, where=MASK),
                        np.mean(x, dtype=np.float32)], X),
    "mean of integers": (lambda i: [i.mean(), np.mean(i, axis=0), np.var(i), i.std(axis=1), np.sum(i), np.prod(i),
                                    np.average(i, axis=1)], I),
    "spread": (lambda x: [x.var(), np.var(x, axis=0, ddof=1), np.std(x, 1, keepdims=True), np.std(x, correction=1),
                          np.var(x, axis=1, where=MASK), np.var(x, 0, mean=np.mean(x, 0, keepdims=True))], X),
    "average": (lambda x: [np.average(x), np.average(x, 1, weights=[1, 2, 3, 4.0]),
                           *np.average(x, axis=0, weights=MASK + 1.0, returned=True), *np.average(x, 0, returned=True)], X),
    "nan reductions": (lambda x: [np.nansum(x), np.nansum(x, 0), np.nanprod(x, 1), np.nanmean(x), np.nanmean(x, axis=0),
                                  np.nanvar(x, 1), np.nanstd(x), np.nanmax(x, 0), np.nanmin(x, axis=1, keepdims=True),
                                  np.nanargmax(x, 1), np.nanargmin(x), np.nancumsum(x), np.nancumprod(x, axis=1)], N),
    "norms": (lambda x: [np.linalg.norm(x), np.linalg.norm(x, axis=1), np.linalg.norm(x, 1, axis=0),
                         np.linalg.norm(x, np.inf, 2), np.linalg.norm(x, 3, 1, keepdims=True), np.linalg.norm(x, axis=(0, 1)),
                         np.linalg.norm(x, 1, (0, 1)), np.linalg.norm(x, -np.inf, (1, 2), keepdims=True),
                         np.linalg.vector_norm(x, axis=(0, 2)), np.linalg.matrix_norm(x), np.linalg.norm(x, 0, 1)], X),
    "order statistics": (lambda x: [np.median(x), np.median(x, axis=1, keepdims=True), np.quantile(x, 0.3),
                                    np.quantile(x, [0.1, 0.9], axis=0), np.percentile(x, 25, axis=(0, 1)),
                                    np.quantile(x, 0.4, method="lower"), np.quantile(x, 0.4, axis=1, method="nearest"),
                                    np.quantile(x, 0.4, method="midpoint")], X),
    "dtypes of quantiles": (lambda x, i: [f(y, q, method=method) for y in (x, i) for method in ("linear", "lower", "midpoint")
                                          for f, q in ((np.quantile, 0.3), (np.quantile, np.float64(0.3)),
                                                       (np.quantile, [0.3]), (np.quantile, np.float32(0.3)),
                                                       (np.percentile, 30), (np.percentile, [30, 50]))],
                            X.astype(np.float32), I),
    "medians next to infinities": (lambda x: [np.median(x, axis=1), np.nanmedian(x, axis=1)],
                                   np.array([[np.inf] * 4, [-np.inf, -np.inf, 1, 2], [-np.inf, 1, 2, np.inf],
                                             [-np.inf, -np.inf, np.inf, np.inf], [3, np.inf, 1, np.inf]])),
    "quantiles next to infinities": (lambda x: np.quantile(x, 0.3, axis=1), np.array([[-np.inf, 1, 2], [-np.inf, 5, np.inf]])),
    "order of a number": (lambda x: [np.argsort(x), np.argsort(x, axis=0), x.argsort()], np.float64(3)),
    "median of nan": (lambda x: [np.median(x), np.median(x, axis=0)], N),
    "covariance": (lambda x: [np.cov(x), np.corrcoef(x), np.cov(x, rowvar=False), np.cov(x[0]), np.cov(x, ddof=0)], X[:, :, 0]),
    # shapes
    "shapes": (lambda x: [x.reshape(6, 4), x.reshape((2, -1)), x.ravel(), x.flatten(), x.T, x.mT, x.transpose(1, 0, 2),
                          x.transpose((2, 0, 1)), np.swapaxes(x, 0, 2), np.moveaxis(x, 0, -1), np.moveaxis(x, (0, 1), (1, 2)),
                          np.rollaxis(x, 2), np.expand_dims(x, (0, 3)), np.squeeze(x[:, :1]), x[:1].squeeze(0),
                          np.broadcast_to(x, (2, 3, 4, 2)), x.reshape(4, 6, order="F"), x.ravel("F"), np.matrix_transpose(x),
                          np.permute_dims(x, (1, 2, 0))], X),
    "at least": (lambda x, v: [np.atleast_1d(v[0]), np.atleast_2d(v), np.atleast_3d(v), np.atleast_3d(x[0]),
                               *np.broadcast_arrays(v[:2], x)], X, V),
    "joining": (lambda x, y: [np.concatenate([x, y]), np.concatenate((x, y), axis=1), np.concatenate([x, y], axis=None),
                              np.stack([x, y, x], axis=1), np.vstack([x, y[0]]), np.hstack([x, y]), np.dstack([x, y]),
                              np.column_stack([x[0], y[0]]), np.append(x, 1.0), np.append(x, y, axis=0),
                              np.concat([x, y], axis=-1), np.hstack([x[0], y[1]])], P, P + 1),
    "splitting": (lambda x: [*np.split(x, 2), *np.array_split(x, 3), *np.split(x, [1, 4]), *np.hsplit(x, 2),
                             *np.vsplit(x.reshape(2, 3), 2), *np.unstack(x.reshape(2, 3), axis=1)], V),
    "repeating": (lambda x: [np.tile(x, 2), np.tile(x, (2, 1, 3)), np.repeat(x, 2), x.repeat(3, axis=1),
                             np.repeat(x, [1, 0, 2], axis=0), np.flip(x), np.flip(x, 1), np.fliplr(x), np.flipud(x),
                             np.rot90(x), np.rot90(x, 2), np.rot90(x, 3), np.roll(x, 2), np.roll(x, -1, 1),
                             np.roll(x, (1, 2), (0, 1))], P),
    "padding": (lambda x: [np.pad(x, 1), np.pad(x, ((1, 2), (0, 3)), constant_values=7), np.pad(x, 2, mode="edge"),
                           np.pad(x, (1, 2), mode="reflect"), np.pad(x, 1, mode="symmetric"), np.pad(x, 3, mode="wrap"),
                           np.pad(x, ((1, 1), (2, 2)), constant_values=((1, 2), (3, 4)))], P),
    # taking
    "taking": (lambda x: [np.take(x, [0, -1, 2], axis=1), np.take(x, 3), x.take([[1, 2]], 0),
                          np.take(x, [5, -7], axis=1, mode="clip"), np.take(x, [5, -7], axis=1, mode="wrap"),
                          np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
                          np.take_along_axis(x, np.argmax(x, axis=0, keepdims=True), axis=0)], P),
    "choosing": (lambda i: [np.choose(np.abs(i) % 3, [i, i * 2, i * 3])], I),
    # products
    "products": (lambda x, m: [m @ m, np.matmul(m, x), np.matmul(m[0], m), m @ m[1], m[0] @ m[1], m[0] @ x, np.dot(m, m),
                               np.dot(m[0], m[1]), np.dot(m, 2), m.dot(m[0]), np.dot(x, m[:2]), np.vdot(m, m), np.inner(m, m),
                               np.inner(m, x[:, :, 0]), np.outer(m[0], m[1]), np.tensordot(m, m),
                               np.tensordot(x, m, ((1,), (0,))), np.tensordot(x, m, 0), np.kron(m, m[0]),
                               np.cross(m[:, :3], m[0, :3]), np.vecdot(m, m), np.matvec(m, m[0]), np.vecmat(m[0], m),
                               np.linalg.matrix_power(m, 3), np.linalg.multi_dot([m[0], m, m, m[1]])], X.astype(np.float32), M),
    "products of integers": (lambda i: [i @ i.T, np.dot(i, i.T), np.einsum("ij,kj->ik", i, i), np.trace(i), np.vecdot(i, i)],
                             I),
    "diagonals": (lambda x, m, v: [np.diagonal(m), np.diagonal(m, 1), np.diagonal(m[:2], -1), m.diagonal(3),
                                   np.diagonal(x, 0, 1, 2), m.trace(), np.trace(m, -1), np.diag(m), np.diag(v), np.diag(v, 2),
                                   np.diag(v, -1), np.diagflat(m[:2, :2], 1), np.tril(m), np.triu(m, 1), np.tril(x, -1),
                                   np.linalg.trace(x), np.linalg.diagonal(x)], X, M, V),
    # running
    "running": (lambda x: [np.cumsum(x), x.cumsum(1), np.cumprod(x, axis=0), np.cumulative_sum(x, axis=1),
                           np.cumulative_sum(x, axis=1, include_initial=True), np.cumulative_prod(x[0], include_initial=True),
                           np.maximum.accumulate(x, axis=1), np.minimum.accumulate(x), np.diff(x), np.diff(x, 2, axis=0),
                           np.diff(x, prepend=0, append=x[:, :1]), np.ediff1d(x, to_begin=1.0), *np.gradient(x),
                           np.gradient(x, 0.5, axis=1), np.trapezoid(x), np.trapezoid(x, dx=0.1, axis=0),
                           np.trapezoid(x, np.arange(4.0))], P.astype(float)),
    "running of integers": (lambda i, b: [np.cumsum(i), np.cumsum(b, axis=1), np.cumprod(i.astype(np.int16)), np.diff(b),
                                          np.diff(i)], I, B),
    "sorting": (lambda x: [np.sort(x), np.sort(x, axis=0), np.sort(x, axis=None), x.argsort(kind="stable"),
                           np.argsort(x, axis=0, kind="stable"), np.sort(x, kind="stable")], P),
    "searching": (lambda s, v: [np.searchsorted(s, v), np.searchsorted(s, v, side="right"), s.searchsorted(0.3),
                                np.digitize(v, s), np.digitize(v, s, right=True), np.interp(v * 2, s, v),
                                np.interp(v, s, v, left=-1, right=1), np.isin(v, s[:3]), np.isin(v, s[:3], invert=True)],
                  SORTED, V),
    "counting": (lambda i: [np.bincount(np.abs(i).ravel(), minlength=12), np.bincount((i > 1).ravel(), minlength=3)], I),
    "windows": (lambda x, v: [np.convolve(x, v[:3]), np.convolve(x, v[:3], "same"), np.convolve(x, v[:4], "same"),
                              np.convolve(v[:2], x, "valid"), np.correlate(x, v[:3]), np.correlate(v[:3], x, "full"),
                              np.correlate(x, v[:4], "same"), np.lib.stride_tricks.sliding_window_view(x, 3),
                              np.polyval(v, x)], np.concatenate([V, V]), V),
    "grids": (lambda v, w: [*np.meshgrid(v, w), *np.meshgrid(v, w, indexing="ij"), *np.meshgrid(v, w, sparse=True),
                            np.vander(v, 3), np.vander(v, 3, increasing=True)], V, P[0]),
    "like": (lambda x: [np.zeros_like(x), np.ones_like(x, dtype=np.int32), np.full_like(x, 7), np.zeros_like(x, shape=(2,)),
                        x.copy(), np.copy(x), x.astype(np.int64), np.astype(x, np.float64), x.astype(bool)], P),
    "extras": (lambda x: [np.isposinf(x), np.isneginf(x), np.isreal(x), np.array_equiv(x, x[:1]), np.delete(x, 1),
                          np.delete(x, [0, 2], axis=1),
                          np.insert(x, 1, 5.0, axis=0), np.insert(x[0], 2, [7.0, 8.0]), np.resize(x, (3, 7)),
                          np.block([[x, x], [x * 2, x]]),
                          np.block([x[0], 1.0]), np.piecewise(x, [x < 1, x > 1.5], [lambda v: v * 2, 3.0, -1]),
                          *np.dsplit(x[:, :, None], 1),
                          *np.unravel_index(np.argmax(x), x.shape), np.ravel_multi_index((x.argmax(0), x.argmax(0)), (3, 3)),
                          np.linspace(x[0], x[1], 4),
                          np.geomspace(x[0], x[1], 3), np.zeros(3, dtype=np.result_type(x, 1.0)), np.unwrap(x * 5, axis=1)], P),
    "writes by function": (lambda x: _written(x + 0), P),
    "histograms": (lambda x: [*np.histogram(x), *np.histogram(x, 4, (0.5, 1.5)),
                              *np.histogram(x, np.array([0.0, 0.5, 2.0]), density=True)], P),
    "nan quantiles": (lambda x: [np.nanmedian(x), np.nanmedian(x, axis=0), np.nanquantile(x, [0.2, 0.7], axis=1),
                                 np.nanpercentile(x, 30, axis=1, keepdims=True)], N),
    "asking": (lambda x: [np.array_equal(x, x), np.array_equal(x, x[0]), np.allclose(x, x + 1e-12), np.shape(x)[0] * x,
                          np.ndim(x) + x, np.size(x, 1) - x, np.real(x), np.imag(x), x.conj()], P),
}


@pytest.mark.parametrize("name", CALLS)
def test_against_numpy(name, same):
    function, *args = CALLS[name]
    same(function, *args, rtol=3e-5 if any(np.asarray(a).dtype == np.float32 for a in args) else 1e-7, atol=1e-6)


PUBLIC = sorted(n for n in vars(jnp) if not n.startswith("_") and callable(getattr(jnp, n))
                and not isinstance(getattr(jnp, n), type))


def test_public_functions_have_docstrings_that_say_what_comes_out():
    for name in PUBLIC:
        function = getattr(jnp, name)
        if (getattr(function, "__module__", "") or "").startswith("jitnet"):
            assert function.__doc__ and function.__doc__[0].strip(), name


def test_array_api_names_are_there():
    names = """
    abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh bitwise_and
    bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor bool broadcast_arrays broadcast_to can_cast
    ceil clip concat conj copysign cos cosh count_nonzero cumulative_prod cumulative_sum diff divide e empty empty_like
    equal exp expand_dims expm1 eye finfo flip float32 float64 floor floor_divide full full_like greater greater_equal hypot
    iinfo inf int16 int32 int64 int8 isdtype isfinite isinf isnan less less_equal linspace log log10 log1p log2 logaddexp
    logical_and logical_not logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min minimum moveaxis
    multiply nan negative newaxis nextafter nonzero not_equal ones ones_like permute_dims pi positive pow prod real
    reciprocal remainder repeat reshape result_type roll round searchsorted sign signbit sin sinh sort sqrt square squeeze
    stack std subtract sum take take_along_axis tan tanh tensordot tile tril triu trunc uint16 uint32 uint64 uint8
    unique_all unique_counts unique_inverse unique_values unstack var vecdot where zeros zeros_like
    """
    assert [n for n in names.split() if not hasattr(jnp, n)] == []


@pytest.mark.parametrize("dtype", [n for n in DTYPES if n != "bf16"])
def test_close_and_sinc_of_narrow_integers(dtype, same):
    """The difference of two integers is taken in floats: that of uint8 and int8 would wrap around."""
    high = 1 if dtype == "b1" else 100
    x, y = np.array([0, 1, high], DTYPES[dtype]), np.array([1, 0, high], DTYPES[dtype])
    same(lambda x, y: [np.isclose(x, y, atol=1), np.isclose(y, x, rtol=0.5), np.allclose(x, y), np.sinc(x)], x, y,
         atol=1e-3 if dtype == "f16" else 1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [n for n in DTYPES if n != "bf16"])
def test_dtypes_of_what_is_made_of_several_ops(dtype, same):
    """NumPy's ufuncs take bools for the smallest integers, and integers for the smallest floats that hold them."""
    x, y = np.array([1, 1, 1], DTYPES[dtype]), np.array([1, 0, 1], DTYPES[dtype])
    same(lambda x, y: [np.square(y), np.reciprocal(x), np.conjugate(y), x.conjugate(), np.round(y), np.vecdot(x, y),
                       np.fabs(y), np.signbit(y), np.heaviside(y, x), np.logaddexp.reduce(y), np.logaddexp2(x, y),
                       np.logaddexp2(x, 1), np.degrees(y), *np.modf(y), *np.divmod(y, x)],
         x, y, rtol=3e-3 if dtype in ("f16", "b1", "i8", "u8") else 1e-6)


def test_logaddexp2_mixes_floats_and_integers(same):
    same(lambda x, i: [np.logaddexp2(x, i), np.logaddexp2(i[:4], x), np.logaddexp2(x, -np.inf), np.logaddexp2(x, x)],
         P[0], I[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", [n for n in DTYPES if n != "bf16"])
def test_scalars_are_weak_and_sums_widen(dtype, same):
    x = np.array([1, 0, 1, 1], DTYPES[dtype])
    same(lambda x: [x + 1, x * 2, 1 + x, x + 1.5, x * True, x.sum(), x.mean(), x.max(), np.cumsum(x), np.where(x > 0, x, 0),
                    x == 1, np.prod(x)], x)
    if dtype != "b1":
        same(lambda x: [x - 1, 3 - x, x // 2, x % 2, x ** 2, x > 300, x == -70000, x < 10 ** 12], x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ldexp_of_any_exponent(dtype, same):
    x = np.array([0.0, -0.0, 1.5, -3.0, np.inf, np.nan, np.finfo(dtype).tiny, np.finfo(dtype).max], dtype)
    n = np.array([0, 1, -1, 30, -40, 500, -500, 1100, 3000, -3000, 2 ** 62])
    same(lambda x, n: np.ldexp(x[:, None], n), x, n, atol=0)
    same(lambda i, n: np.ldexp(i, n[:4]), np.array([0, 1, 3, 120], np.int8), n)
    for call in (lambda x, n: np.ldexp(n, x), lambda x, n: np.bitwise_count(x)):
        with pytest.raises(TypeError, match=r"are no integers|have no bits"):
            jitnet.jit(call)(x[:1], n[:1])


def test_eager_calls_give_numpy_arrays():
    out = jnp.sum(np.ones((2, 3), np.float32), axis=0)
    assert type(out) is np.ndarray and out.dtype == np.float32
    assert type(jnp.zeros(3)) is np.ndarray and type(jnp.concatenate([np.ones(1), np.ones(2)])) is np.ndarray
    np.testing.assert_allclose(jnp.logsumexp(np.array([[1.0, 2.0], [1000.0, 1000.0]]), axis=1),
                               [2.3132616875182226, 1000.6931471805599])


def test_logsumexp(same):
    from scipy.special import logsumexp

    x = np.array([[1.0, 2.0, -np.inf], [1000.0, 1001.0, 3.0], [-np.inf] * 3, [np.inf, 1.0, 2.0]])
    graph = same(lambda x: jnp.logsumexp(x, axis=1), x)
    np.testing.assert_allclose(graph(x)[0], logsumexp(x, axis=1))
    np.testing.assert_allclose(jnp.logsumexp(x[:2], axis=1, b=2.0), logsumexp(x[:2], axis=1, b=2.0))


@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:Mean of empty slice")
def test_order_statistics_of_integers_and_nothing(same):
    x = np.array([[3, -2, 7, 1], [0, 5, -4, 2]], np.int32)
    y = np.array([[np.nan, 2, 1], [np.nan, np.nan, np.nan], [4, 1, 3]], np.float32)
    for axis in (0, 1, None, (0, 1)):
        same(lambda x, axis=axis: [np.nanmedian(x, axis=axis), np.nanquantile(x, [[0.2], [0.7]], axis=axis),
                                   np.median(x, axis=axis),
                                   np.nanpercentile(x, 30, axis=axis, keepdims=True)], x)
        same(lambda y, axis=axis: [np.nanmedian(y, axis=axis), np.nanquantile(y, 0.3, axis=axis),
                                   np.nanquantile(y, [0.3], axis=axis)], y)
    for shape, axis in (((0, 3), 0), ((0, 3), 1), ((3, 0), 1), ((0,), None)):
        same(lambda e, axis=axis: [np.median(e, axis=axis), np.nanmedian(e, axis=axis)], np.zeros(shape, np.float32))
    with pytest.raises(IndexError, match="no elements along the axis"):
        jitnet.jit(lambda e: np.quantile(e, 0.5))(np.zeros(0))


def test_dtypes_of_covariances_and_powers(same):
    x = np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 0.5]], np.float32)
    same(lambda x: [np.cov(x), np.corrcoef(x), np.cov(x, dtype=np.float32), np.vander(x[0], 3), np.vander(x[0], 0)], x)
    same(lambda i: [np.vander(i), np.cov(i)], np.array([1, 2, 3], np.int32))


def test_integrals_and_interpolation_of_few_points(same):
    same(lambda e: [np.trapezoid(e), np.unwrap(e)], np.zeros(0))
    same(lambda e: np.trapezoid(e, axis=0), np.zeros((0, 3), np.int32))
    same(lambda x: [np.interp(x, np.array([2.0]), np.array([5.0])), np.interp(x, [2.0], [5.0], left=-1, right=9)],
         np.array([1.0, 2.0, 3.0]))
    for function in (lambda e: np.interp(1.5, e, e), lambda e: np.convolve(e, [1.0, 2.0]), lambda e: np.correlate([1.0], e)):
        with pytest.raises(ValueError, match=r"empty|no points"):
            jitnet.jit(function)(np.zeros(0))


def test_medians_of_odd_and_of_even_sizes_are_traced_for_two_sizes_each():
    f = jitnet.jit(lambda x: x - np.median(x, axis=0))
    for n in (5, 8, 9, 12, 33, 34, 7, 10):
        x = np.random.default_rng(n).normal(size=(n, 3))
        np.testing.assert_allclose(f(x), f.__wrapped__(x), rtol=1e-12, atol=1e-15)
    assert f.traces == 4
