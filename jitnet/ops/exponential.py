"""Exponentials and logarithms, and what is made of them."""
from __future__ import annotations

import math

import numpy as np

from ..op_kinds import between, elementwise
from ..types import is_float
from .arithmetic import subtract

LN2, LN10 = math.log(2), math.log(10)


@elementwise("exp_({x})", cheap=False, jvp=(lambda t, out, x: t * out,), samples=between(-3, 3))
def exp(x):
    """e to the power x."""
    return np.exp(x)


@elementwise("exp2_({x})", cheap=False, jvp=(lambda t, out, x: t * (out * LN2),), samples=between(-3, 3))
def exp2(x):
    """2 to the power x."""
    return np.exp2(x)


@elementwise("expm1_({x})", cheap=False, jvp=(lambda t, out, x: t * (out + 1),), samples=between(-3, 3))
def expm1(x):
    """exp(x) - 1, precise for small x."""
    return np.expm1(x)


@elementwise("log_({x})", cheap=False, jvp=(lambda t, out, x: t / x,), samples=between(0.1, 9))
def log(x):
    """Natural logarithm; NaN below 0, -inf at 0."""
    return np.log(x)


@elementwise("log2_({x})", cheap=False, jvp=(lambda t, out, x: t / (x * LN2),), samples=between(0.1, 9))
def log2(x):
    """Logarithm to base 2."""
    return np.log2(x)


@elementwise("log10_({x})", cheap=False, jvp=(lambda t, out, x: t / (x * LN10),), samples=between(0.1, 9))
def log10(x):
    """Logarithm to base 10."""
    return np.log10(x)


@elementwise("log1p_({x})", cheap=False, jvp=(lambda t, out, x: t / (x + 1),), samples=between(-0.8, 3))
def log1p(x):
    """log(1 + x), precise for small x."""
    return np.log1p(x)


def _weight(x, y):
    """exp(x) / (exp(x) + exp(y)), also where x and y are the same infinity (then one half)."""
    from .logical import equal, where

    return sigmoid(where(equal(x, y), np.zeros((), x.dtype), subtract(x, y)))


@elementwise("logaddexp_({x}, {y})", cheap=False, samples=between(-3, 3),
             jvp=(lambda t, out, x, y: t * _weight(x, y), lambda t, out, x, y: t * _weight(y, x)))
def logaddexp(x, y):
    """log(exp(x) + exp(y)) without overflow on the way."""
    return np.logaddexp(x, y)


@elementwise("sigmoid_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t * (out * (1 - out)),),
             samples=between(-3, 3))
def sigmoid(x):
    """1 / (1 + exp(-x)), which stays between 0 and 1."""
    x = np.asarray(x)
    x = x if is_float(x.dtype) else x.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(-np.logaddexp(x.dtype.type(0), -x))[()]
