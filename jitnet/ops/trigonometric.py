"""Trigonometric and hyperbolic functions and their inverses; angles in radians."""
from __future__ import annotations

import numpy as np

from ..op_kinds import between, elementwise
from .arithmetic import sqrt


@elementwise("sin_({x})", cheap=False, jvp=(lambda t, out, x: t * cos(x),), samples=between(-3, 3))
def sin(x):
    """Sine of x."""
    return np.sin(x)


@elementwise("cos_({x})", cheap=False, jvp=(lambda t, out, x: -t * sin(x),), samples=between(-3, 3))
def cos(x):
    """Cosine of x."""
    return np.cos(x)


@elementwise("tan_({x})", cheap=False, jvp=(lambda t, out, x: t * (1 + out * out),), samples=between(-1.2, 1.2))
def tan(x):
    """Tangent of x."""
    return np.tan(x)


@elementwise("asin_({x})", cheap=False, jvp=(lambda t, out, x: t / sqrt((1 - x) * (1 + x)),), samples=between(-0.9, 0.9))
def arcsin(x):
    """Angle in [-pi/2, pi/2] whose sine is x."""
    return np.arcsin(x)


@elementwise("acos_({x})", cheap=False, jvp=(lambda t, out, x: -t / sqrt((1 - x) * (1 + x)),), samples=between(-0.9, 0.9))
def arccos(x):
    """Angle in [0, pi] whose cosine is x."""
    return np.arccos(x)


@elementwise("atan_({x})", cheap=False, jvp=(lambda t, out, x: t / (1 + x * x),), samples=between(-3, 3))
def arctan(x):
    """Angle in [-pi/2, pi/2] whose tangent is x."""
    return np.arctan(x)


@elementwise("atan2_({y}, {x})", cheap=False, samples=between(0.3, 3, (-3, 3)),
             jvp=(lambda t, out, y, x: t * (x / (x * x + y * y)), lambda t, out, y, x: -t * (y / (x * x + y * y))))
def arctan2(y, x):
    """Angle in [-pi, pi] of the point (x, y)."""
    return np.arctan2(y, x)


@elementwise("sinh_({x})", cheap=False, jvp=(lambda t, out, x: t * cosh(x),), samples=between(-3, 3))
def sinh(x):
    """Hyperbolic sine."""
    return np.sinh(x)


@elementwise("cosh_({x})", cheap=False, jvp=(lambda t, out, x: t * sinh(x),), samples=between(-3, 3))
def cosh(x):
    """Hyperbolic cosine."""
    return np.cosh(x)


@elementwise("tanh_({x})", cheap=False, jvp=(lambda t, out, x: t * (1 - out * out),), samples=between(-3, 3))
def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(x)


@elementwise("asinh_({x})", cheap=False, jvp=(lambda t, out, x: t / sqrt(x * x + 1),), samples=between(-3, 3))
def arcsinh(x):
    """Inverse of sinh."""
    return np.arcsinh(x)


@elementwise("acosh_({x})", cheap=False, jvp=(lambda t, out, x: t / sqrt((x - 1) * (x + 1)),), samples=between(1.2, 4))
def arccosh(x):
    """Inverse of cosh for x >= 1; NaN below."""
    return np.arccosh(x)


@elementwise("atanh_({x})", cheap=False, jvp=(lambda t, out, x: t / ((1 - x) * (1 + x)),), samples=between(-0.9, 0.9))
def arctanh(x):
    """Inverse of tanh for x in [-1, 1]; NaN outside."""
    return np.arctanh(x)
