"""torch under NumPy's names, for the cases that are written once for all: `max` and `var` are the two that differ."""
# A module, not an object: torch.compile sees through it.
from torch import abs, amax, arange, argmax, cos, exp, log, log1p, mean, sin, sqrt, sum, tanh, where
from torch import maximum as _maximum
from torch import var as _var

__all__ = ["abs", "amax", "arange", "argmax", "cos", "exp", "log", "log1p", "max", "maximum", "mean", "sin", "sqrt", "sum",
           "tanh", "var", "where"]


def max(x, axis=None, keepdims=False):
    return amax(x, () if axis is None else axis, keepdims)


def var(x, axis=None):
    return _var(x, axis, correction=0)


def maximum(x, y):
    return x.clamp_min(y) if isinstance(y, float | int) else _maximum(x, y)
