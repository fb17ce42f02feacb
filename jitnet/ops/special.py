"""Special functions. Their NumPy meaning is SciPy's, which is imported when one is first called on arrays."""
from __future__ import annotations

import math

import numpy as np

from ..op_kinds import between, elementwise
from ..types import is_float
from .arithmetic import negative
from .exponential import exp

TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)


def _scipy(name: str, x):
    import scipy.special

    x = np.asarray(x)
    return getattr(scipy.special, name)(x if is_float(x.dtype) else x.astype(np.float64))


@elementwise("erf_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t * (TWO_OVER_SQRT_PI * exp(negative(x * x))),),
             samples=between(-2, 2))
def erf(x):
    """Error function: 2 / sqrt(pi) times the integral of exp(-s*s) from 0 to x."""
    return _scipy("erf", x)


@elementwise("erfc_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t * (-TWO_OVER_SQRT_PI * exp(negative(x * x))),
                                                             ), samples=between(-2, 2))
def erfc(x):
    """1 - erf(x), precise for large x."""
    return _scipy("erfc", x)


@elementwise("erfinv_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t * (exp(out * out) / TWO_OVER_SQRT_PI),),
             samples=between(-0.9, 0.9))
def erfinv(x):
    """Inverse of erf for x in [-1, 1]; NaN outside."""
    return _scipy("erfinv", x)


@elementwise("lgamma_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t * digamma(x),), samples=between(0.3, 5))
def lgamma(x):
    """Logarithm of the absolute value of the gamma function."""
    return _scipy("gammaln", x)


@elementwise("digamma_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t * trigamma(x),), samples=between(0.3, 5))
def digamma(x):
    """Derivative of lgamma."""
    return _scipy("digamma", x)


# B(2k) of the asymptotic series of trigamma, 1/x + 1/(2 x^2) + sum of B(2k) / x^(2k+1) (Abramowitz and Stegun 6.4.12)
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
SHIFT = 10


def trigamma(x):
    """Derivative of digamma, made of other ops: recurrence up to x + 10, then the asymptotic series; reflection below 0."""
    from .arithmetic import divide
    from .logical import less, where
    from .trigonometric import sin

    below = less(x, 0)
    y = where(below, 1 - x, x)
    total = 0
    for k in range(SHIFT):
        total = total + divide(1, (y + k) * (y + k))
    z = divide(1, y + SHIFT)
    w = z * z
    series = BERNOULLI[-1]
    for b in reversed(BERNOULLI[:-1]):
        series = series * w + b
    total = total + z * (1 + w * series) + w * 0.5
    s = divide(math.pi, sin(where(below, x, np.asarray(0.5, x.dtype)) * math.pi))
    return where(below, s * s - total, total)
