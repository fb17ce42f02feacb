"""Functions that neural networks are made of. Each is a handful of ops, which fuse into one kernel."""
from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..half import in_float32
from ..numpy.protocol import as_array, astype
from ..numpy.reductions import max, mean, sum
from ..types import is_float, normalize_axes


def _float(x):
    x = as_array(x)
    return x if is_float(x.dtype) else astype(x, np.float64)


def relu(x):
    """x where it is above 0, else 0; the derivative at 0 is 0, NaN stays NaN.

    >>> import numpy as np
    >>> from jitnet.nn.functional import relu
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    x = as_array(x)
    zero = np.zeros((), x.dtype)
    return ops.where(ops.less_equal(x, zero), zero, x)


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(as_array(x))


@in_float32
def gelu(x, approximate: str = "none"):
    """x times the normal distribution function at x; approximate="tanh" is the usual formula with tanh (Hendrycks and Gimpel
    2016)."""
    x = _float(x)
    half = np.asarray(0.5, x.dtype)
    if approximate == "tanh":
        return half * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    return half * x * (1 + ops.erf(x * math.sqrt(0.5)))


def _shifted(x, axis):
    """(x less its largest element along axes, so that exp cannot overflow; the axes). No derivative is lost: it cancels."""
    axes = normalize_axes(axis, x.ndim, "softmax")
    return x - ops.stop_gradient(max(x, axes, keepdims=True)), axes


@in_float32
def softmax(x, axis=-1):
    """exp(x) divided by its sum along an axis: positive, and summing to 1.

    >>> import numpy as np
    >>> from jitnet.nn.functional import softmax
    >>> softmax(np.zeros(4))
    array([0.25, 0.25, 0.25, 0.25])
    """
    shifted, axes = _shifted(_float(x), axis)
    e = ops.exp(shifted)
    return e / sum(e, axes, keepdims=True)


@in_float32
def log_softmax(x, axis=-1):
    """The logarithm of softmax, precise where softmax is close to 0."""
    shifted, axes = _shifted(_float(x), axis)
    return shifted - ops.log(sum(ops.exp(shifted), axes, keepdims=True))


@in_float32
def layer_norm(x, weight=None, bias=None, *, axis=-1, eps: float = 1e-5):
    """x less its mean, divided by its standard deviation along `axis` (an int or several), times weight, plus bias.

    weight and bias broadcast against x (the shape of the normalized axes, as a rule); eps is added to the variance.
    """
    x = _float(x)
    d = x - mean(x, axis, keepdims=True)
    out = d / ops.sqrt(mean(d * d, axis, keepdims=True) + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias
