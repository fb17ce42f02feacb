"""MXNet's samplers: seeds, streams per context, shapes and dtypes, distributions, and that a tape keeps what was drawn."""
import numpy as np
import pytest
from scipy import stats

import jitnet as mx
from jitnet import autograd, nd
from jitnet.errors import DeviceError, MXNetError


def test_a_seed_starts_the_stream_again():
    mx.random.seed(42)
    first = [nd.random.uniform(shape=(3,)).asnumpy(), mx.random.normal(shape=(2,)).asnumpy()]
    mx.random.seed(42)
    np.testing.assert_array_equal(first[0], nd.random.uniform(shape=(3,)).asnumpy())
    np.testing.assert_array_equal(first[1], nd.random.normal(shape=(2,)).asnumpy())
    mx.random.seed(43)
    assert (nd.random.uniform(shape=(3,)).asnumpy() != first[0]).all()


def test_contexts_have_streams_of_their_own():
    mx.random.seed(1)
    a, b = nd.random.uniform(shape=4), nd.random.uniform(shape=4, ctx=mx.cpu(1))
    assert b.context == mx.cpu(1)
    assert (a.asnumpy() != b.asnumpy()).all()
    mx.random.seed(5, ctx=mx.cpu(1))
    c = nd.random.uniform(shape=4, ctx=mx.cpu(1))
    mx.random.seed(5, ctx=mx.cpu(1))
    with mx.cpu(1):
        np.testing.assert_array_equal(nd.random.uniform(shape=4).asnumpy(), c.asnumpy())


def test_shapes_and_dtypes():
    assert nd.random.uniform().shape == (1,)
    assert nd.random.normal(shape=3).dtype == np.float32
    assert nd.random.normal(shape=3, dtype="float64").dtype == np.float64
    assert nd.random.normal(shape=3, dtype=np.float16).dtype == np.float16
    low, high = nd.array([0, 10]), nd.array([1, 20])
    x = nd.random.uniform(low, high, shape=(3, 4))
    assert x.shape == (2, 3, 4)
    assert x[0].asnumpy().max() < 1
    assert x[1].asnumpy().min() >= 10
    assert nd.random.uniform(low, high).shape == (2,)
    assert nd.random.randn(2, 3).shape == (2, 3)
    assert nd.random.normal_like(nd.zeros((4, 5))).shape == (4, 5)
    out = nd.zeros((2, 2))
    assert nd.random.uniform(1, 2, shape=(2, 2), out=out) is out
    assert out.asnumpy().min() >= 1


@pytest.mark.parametrize(("draw", "law"), [
    (lambda n: nd.random.uniform(-1, 3, shape=n), stats.uniform(-1, 4)),
    (lambda n: nd.random.normal(1, 2, shape=n), stats.norm(1, 2)),
    (lambda n: nd.random.exponential(2.0, shape=n), stats.expon(0, 2)),
    (lambda n: nd.random.gamma(3, 0.5, shape=n), stats.gamma(3, 0, 0.5)),
    (lambda n: nd.random_exponential(lam=4.0, shape=n), stats.expon(0, 0.25)),
], ids=["uniform", "normal", "exponential", "gamma", "rate"])
def test_continuous_distributions(draw, law):
    mx.random.seed(0)
    assert stats.kstest(draw(20_000).asnumpy(), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("draw", "mean", "variance"), [
    (lambda n: nd.random.poisson(4.0, shape=n), 4, 4), (lambda n: nd.random.negative_binomial(3, 0.4, shape=n), 4.5, 11.25),
    (lambda n: nd.random.generalized_negative_binomial(2.0, 0.5, shape=n), 2, 4),
    (lambda n: nd.random.generalized_negative_binomial(2.0, 0.0, shape=n), 2, 2),
    (lambda n: nd.random.randint(0, 10, shape=n), 4.5, 8.25),
], ids=["poisson", "negative binomial", "generalized", "alpha 0", "randint"])
def test_counts(draw, mean, variance):
    mx.random.seed(0)
    x = draw(20_000).asnumpy().astype(float)
    assert (x == np.round(x)).all()
    np.testing.assert_allclose([x.mean(), x.var()], [mean, variance], rtol=0.06)


def test_multinomial():
    mx.random.seed(2)
    p = nd.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    x, log_p = nd.random.multinomial(p, shape=(4000,), get_prob=True)
    assert (x.shape, x.dtype) == ((2, 4000), np.int32)
    for row, expected in zip(x.asnumpy(), p.asnumpy()):
        np.testing.assert_allclose(np.bincount(row, minlength=3) / 4000, expected, atol=0.03)
    np.testing.assert_allclose(np.exp(log_p.asnumpy()), np.take_along_axis(p.asnumpy(), x.asnumpy(), 1), rtol=1e-6)
    assert nd.random.multinomial(nd.array([0.0, 1.0])).asnumpy().tolist() == [1]


def test_shuffle():
    mx.random.seed(3)
    x = nd.random.shuffle(nd.arange(20).reshape((10, 2))).asnumpy()
    assert sorted(x[:, 0]) == list(range(0, 20, 2))
    assert (x[:, 1] - x[:, 0] == 1).all()
    assert x[:, 0].tolist() != list(range(0, 20, 2))


def test_a_tape_keeps_what_was_drawn():
    mx.random.seed(4)
    x = nd.ones((5,))
    x.attach_grad()
    with autograd.record():
        noise = nd.random.uniform_like(x)
        y = x * noise
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), noise.asnumpy())


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: nd.random.uniform(nd.zeros((2,)), 1.0), ValueError, "uniform: low and high must be all numbers or all NDArrays"),
    (lambda: nd.random.randint(3, 3), MXNetError, "randint: low 3 is not below high 3"),
    (lambda: nd.random.normal(shape=2, dtype="int32"), MXNetError, "parameter dtype: invalid input 'int32'"),
    (lambda: nd.random.gamma(-1, 1, shape=2), MXNetError, "parameter alpha: value -1 exceeds the bounds"),
    (lambda: nd.random.normal(0, -1, shape=2), MXNetError, "parameter scale: value -1 exceeds the bounds"),
    (lambda: nd.random.poisson(float("nan"), shape=2), MXNetError, "parameter lam: value nan exceeds the bounds"),
    (lambda: nd.random.negative_binomial(3, 1.5, shape=2), MXNetError, "parameter p: value 1.5 exceeds the bounds"),
    (lambda: mx.random.seed("x"), ValueError, "seed_state must be an integer"),
    (lambda: nd.random.uniform(shape=2, ctx="tpu"), DeviceError, "'tpu' is no device"),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_parameters_in_arrays_that_no_distribution_has():
    """They are data: no error, and above all no endless search for a sample."""
    bad = nd.array([-1.0, np.nan, np.inf, 2.0])
    assert np.isnan(nd.random.gamma(bad, nd.ones((4,))).asnumpy()).tolist() == [True, True, True, False]
    assert nd.random.poisson(bad).asnumpy()[:3].tolist() == [-1, -1, -1]


def test_errors_name_the_line_of_the_caller():
    with pytest.raises(MXNetError, match=r"test_random\.py:\d+: .*scale=-1"):
        nd.random.normal(scale=-1)


@pytest.mark.parametrize("sampler", ["uniform", "normal", "gamma", "exponential", "poisson", "randn", "negative_binomial"])
def test_samples_fill_out(sampler):
    """As initializers write them: `mx.random.uniform(-1, 1, out=array)`."""
    for dtype in ("float32", "float64"):
        out = nd.full((30, 2), -7, dtype=dtype)
        assert getattr(mx.random, sampler)(out=out) is out
        assert out.shape == (30, 2) and np.dtype(out.dtype) == dtype and (out.asnumpy() != -7).all()
    whole = nd.zeros((3, 4), dtype="int64")
    mx.random.randint(5, 9, out=whole)
    assert set(whole.asnumpy().ravel()) <= {5, 6, 7, 8}
    with pytest.raises(MXNetError, match=r"out= has the shape \[3\], the result \[2\]"):
        mx.random.uniform(shape=2, out=nd.zeros(3))
