"""Samplers: functions of a Stream and of parameters that broadcast to its shape. Each gives one value per element.

Differentiable in location and scale, since those are plain arithmetic on the sample (the reparametrization).
"""
from __future__ import annotations

import math

import numpy as np

from .. import numpy as jnp
from ..ops import lgamma
from ..transforms import stop_gradient
from .stream import Stream, normal, open_uniform, rejection, uniform

I64 = np.dtype(np.int64)
POISSON_MOST = 9.2e18  # counts beyond would not fit int64


def random(s: Stream):
    return uniform(s.word(), s.dtype)


def uniform_between(s: Stream, low, high):
    return low + (high - low) * random(s)


def standard_normal(s: Stream):
    return normal(s.word(), s.dtype)


def normal_at(s: Stream, loc, scale):
    return loc + scale * standard_normal(s)


def standard_exponential(s: Stream):
    return -jnp.log(open_uniform(s.word(), s.dtype))


def exponential(s: Stream, scale):
    return scale * standard_exponential(s)


def laplace(s: Stream, loc, scale):
    u = open_uniform(s.word(), s.dtype) - 0.5
    return loc - scale * jnp.sign(u) * jnp.log1p(-2 * jnp.abs(u))


def logistic(s: Stream, loc, scale):
    u = open_uniform(s.word(), s.dtype)
    return loc + scale * jnp.log(u / (1 - u))


def gumbel(s: Stream, loc, scale):
    return loc - scale * jnp.log(standard_exponential(s))


def lognormal(s: Stream, mean, sigma):
    return jnp.exp(normal_at(s, mean, sigma))


def rayleigh(s: Stream, scale):
    return scale * jnp.sqrt(2 * standard_exponential(s))


def weibull(s: Stream, a):
    return standard_exponential(s) ** (1 / a)


def pareto(s: Stream, a):
    return jnp.expm1(standard_exponential(s) / a)


def standard_cauchy(s: Stream):
    return jnp.tan(math.pi * (open_uniform(s.word(), s.dtype) - 0.5))


def standard_gamma(s: Stream, shape):
    """Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000); below 1 with their boost."""
    given = stop_gradient(jnp.asarray(shape, s.dtype))
    valid = (given >= 0) & (given < np.inf)  # for nothing else a try would ever succeed
    alpha = jnp.where(valid, given, s.dtype.type(1))
    small = alpha < 1
    d = jnp.where(small, alpha + 1, alpha) - s.dtype.type(1 / 3)
    c = 1 / jnp.sqrt(9 * d)

    def attempt(t: Stream):
        x, u = normal(t.child(0).word(), s.dtype), open_uniform(t.child(1).word(), s.dtype)
        v = (1 + c * x) ** 3
        positive = v > 0
        v = jnp.where(positive, v, s.dtype.type(1))
        return positive & (jnp.log(u) < 0.5 * x * x + d - d * v + d * jnp.log(v)), d * v

    none = jnp.zeros(s.shape, bool)
    value = rejection(s.child(0), attempt, none, jnp.zeros(none.shape, s.dtype))
    boost = open_uniform(s.child(1).word(), s.dtype) ** (1 / jnp.where(small, alpha, s.dtype.type(1)))
    return jnp.where(valid, jnp.where(small, value * boost, value), s.dtype.type(np.nan))


def gamma(s: Stream, shape, scale):
    return scale * standard_gamma(s, shape)


def chisquare(s: Stream, df):
    return 2 * standard_gamma(s, jnp.asarray(df, s.dtype) / 2)


def beta(s: Stream, a, b):
    x, y = standard_gamma(s.child(0), a), standard_gamma(s.child(1), b)
    return x / (x + y)


def standard_t(s: Stream, df):
    half = jnp.asarray(df, s.dtype) / 2
    return jnp.sqrt(half) * standard_normal(s.child(0)) / jnp.sqrt(standard_gamma(s.child(1), half))


def bernoulli(s: Stream, p):
    return random(s) < p


def geometric(s: Stream, p):
    tries = jnp.ceil(-standard_exponential(s) / jnp.log1p(-jnp.asarray(p, s.dtype)))
    return jnp.maximum(tries, 1).astype(I64)


# Counts: computed in float64, whole numbers at the end; -1 where the parameters are no distribution's

def _search(u, first, ratio, done):
    """The least k with first * (1 + ratio(1) + ratio(1) * ratio(2) + ...) above u: inversion by sequential search."""
    from ..control import while_loop

    def going_on(carry):
        return jnp.any(carry[0])

    def step(carry):
        searching, k, term, total = carry
        k = jnp.where(searching, k + 1, k)
        term = jnp.where(searching, term * ratio(k), term)
        more = total + term
        # rounding may leave the total just below u: the search ends where terms add nothing
        return searching & (u > more) & (more > total), k, term, more

    zero = jnp.zeros(u.shape)
    return while_loop(going_on, step, (jnp.logical_not(done) & (u > first), zero, first + zero, first + zero))[1]


def poisson(s: Stream, lam):
    """Below 10 by inversion; from 10 on PTRS of Hoermann, "The transformed rejection method for generating Poisson random
    variables", Insurance: Mathematics and Economics 12 (1993)."""
    s = s.wide()
    shape = s.shape
    lam = jnp.broadcast_to(jnp.asarray(lam, np.float64), shape)
    valid = (lam >= 0) & (lam <= POISSON_MOST)
    lam = jnp.where(valid, lam, 0.0)
    small = lam < 10
    rate = jnp.where(small, lam, 0.0)
    searched = _search(uniform(s.child(0).word(), s.dtype), jnp.exp(-rate), lambda k: rate / jnp.maximum(k, 1), ~small)
    big = jnp.where(small, 10.0, lam)
    b = 0.931 + 2.53 * jnp.sqrt(big)
    a = -0.059 + 0.02483 * b
    inverse_alpha, vr = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)

    def attempt(t: Stream):
        u, v = uniform(t.child(0).word(), s.dtype) - 0.5, open_uniform(t.child(1).word(), s.dtype)
        us = 0.5 - jnp.abs(u)
        k = jnp.floor((2 * a / us + b) * u + big + 0.43)
        known = jnp.maximum(k, 0)
        close = jnp.log(v * inverse_alpha / (a / (us * us) + b)) <= known * jnp.log(big) - big - lgamma(known + 1)
        return (us >= 0.07) & (v <= vr) | (k >= 0) & ((us >= 0.013) | (v <= us)) & close, k

    count = jnp.where(small, searched, rejection(s.child(1), attempt, small, jnp.zeros(shape)))
    return jnp.where(valid, count, -1.0).astype(I64)


def binomial(s: Stream, n, p):
    """Below a mean of 10 by inversion; from 10 on BTRS of Hoermann, "The generation of binomial random variates", Journal of
    Statistical Computation and Simulation 46 (1993)."""
    s = s.wide()
    shape = s.shape
    n, p = (jnp.broadcast_to(jnp.asarray(x, np.float64), shape) for x in (n, p))
    valid = (n >= 0) & (n <= POISSON_MOST) & (p >= 0) & (p <= 1)
    n, p = jnp.where(valid, n, 0.0), jnp.where(valid, p, 0.0)
    flipped = p > 0.5
    p = jnp.where(flipped, 1 - p, p)
    small = n * p < 10
    m, q = jnp.where(small, n, 0.0), jnp.where(small, p, 0.0)
    odds = q / (1 - q)
    searched = _search(uniform(s.child(0).word(), s.dtype), jnp.exp(m * jnp.log1p(-q)),
                       lambda k: odds * (m - k + 1) / jnp.maximum(k, 1), ~small)
    n_big, p_big = jnp.where(small, 40.0, n), jnp.where(small, 0.5, p)
    spread = jnp.sqrt(n_big * p_big * (1 - p_big))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p_big
    center, vr, alpha = n_big * p_big + 0.5, 0.92 - 4.2 / b, (2.83 + 5.1 / b) * spread
    mode = jnp.floor((n_big + 1) * p_big)
    log_odds = jnp.log(p_big / (1 - p_big))
    height = lgamma(mode + 1) + lgamma(n_big - mode + 1)

    def attempt(t: Stream):
        u, v = uniform(t.child(0).word(), s.dtype) - 0.5, open_uniform(t.child(1).word(), s.dtype)
        us = 0.5 - jnp.abs(u)
        k = jnp.floor((2 * a / us + b) * u + center)
        known = jnp.clip(k, 0, n_big)
        close = jnp.log(v * alpha / (a / (us * us) + b)) <= (height - lgamma(known + 1) - lgamma(n_big - known + 1)
                                                             + (known - mode) * log_odds)
        return (k == known) & ((us >= 0.07) & (v <= vr) | close), k

    count = jnp.where(small, jnp.minimum(searched, n), rejection(s.child(1), attempt, small, jnp.zeros(shape)))
    return jnp.where(valid, jnp.where(flipped, n - count, count), -1.0).astype(I64)


def negative_binomial(s: Stream, n, p):
    """Failures before the n-th success: Poisson with a gamma-distributed mean, so n may be any positive number."""
    p = jnp.asarray(p, np.float64)
    wide = s.wide()
    return poisson(wide.child(1), standard_gamma(wide.child(0), jnp.asarray(n, np.float64)) * (1 - p) / p)


def integers(s: Stream, low, span):
    """low + a whole number below `span` (uint64; 0 means 2^64), each exactly as likely.

    Lemire, "Fast random integer generation in an interval", ACM TOMACS 29 (2019), in the form with a remainder: words from
    the last incomplete run of `span` values are drawn again.
    """
    span = jnp.asarray(span, np.uint64)
    whole = span == 0
    divisor = jnp.where(whole, np.uint64(1), span)
    left = (np.uint64(2**64 - 1) % divisor + np.uint64(1)) % divisor  # 2^64 modulo the span

    def attempt(t: Stream):
        word = t.word()
        return (word <= np.uint64(2**64 - 1) - left), word

    first = s.word()
    word = rejection(s.child(1), attempt, first <= np.uint64(2**64 - 1) - left, first)
    return low + jnp.where(whole, word, word % divisor).astype(I64)


def small_integers(s: Stream, low, span):
    """As `integers`, for a `span` of at most 2^32: a product in place of the remainder, which vectorizes."""
    span = jnp.asarray(span, np.uint64)
    unfair = np.uint64(2**32) % span
    mask = np.uint64(2**32 - 1)

    def attempt(t: Stream):
        product = (t.word() & mask) * span
        return (product & mask) >= unfair, product

    first = (s.word() & mask) * span
    product = rejection(s.child(1), attempt, (first & mask) >= unfair, first)
    return low + (product >> np.uint64(32)).astype(I64)
