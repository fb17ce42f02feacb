"""Exponentials and logarithms, and what is made of them."""
from __future__ import annotations

import numpy as np

from ..op import between, elementwise


@elementwise("exp_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t * out,), samples=between(-3, 3))
def exp(x):
    """e to the power x."""
    return np.exp(x)


@elementwise("log_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t / x,), samples=between(0.1, 9))
def log(x):
    """Natural logarithm; NaN below 0, -inf at 0."""
    return np.log(x)


@elementwise("tanh_({x})", dtypes="float", cheap=False, jvp=(lambda t, out, x: t * (1 - out * out),), samples=between(-3, 3))
def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(x)
