"""Polynomials as NumPy's `poly` functions have them: 1-d arrays of coefficients, the highest power first."""
from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import TraceValueError
from ..types import is_float, promote
from .creation import vander
from .joining import concatenate
from .linalg import lstsq
from .protocol import as_array, astype, implements
from .running import convolve
from .shapes import grown


@implements(np.polyval)
def polyval(p, x):
    """A polynomial with coefficients p at x."""
    p, x = as_array(p), as_array(x)
    total = np.zeros((), promote(p.dtype, x.dtype))
    for k in range(p.shape[0]):
        total = total * x + p[k]
    return total


def _aligned(a, b):
    """Two polynomials of one length, zeros in front of the shorter."""
    a, b = (grown(as_array(p), 1) for p in (a, b))
    n = max(a.shape[0], b.shape[0])
    return [ops.pad(p, np.zeros((), p.dtype), low=(n - p.shape[0],), high=(0,)) for p in (a, b)]


@implements(np.polyadd)
def polyadd(a1, a2):
    """The sum of two polynomials."""
    a, b = _aligned(a1, a2)
    return a + b


@implements(np.polysub)
def polysub(a1, a2):
    """The difference of two polynomials."""
    a, b = _aligned(a1, a2)
    return a - b


@implements(np.polymul)
def polymul(a1, a2):
    """The product of two polynomials."""
    return convolve(a1, a2)


@implements(np.polyder)
def polyder(p, m=1):
    """The m-th derivative."""
    p = as_array(p)
    for _ in range(m):
        n = p.shape[0] - 1
        p = p[:max(n, 0)] * np.arange(n, 0, -1)
    return p


@implements(np.polyint)
def polyint(p, m=1, k=None):
    """The m-th integral; k: the constants of integration, zeros by default."""
    p = as_array(p)
    constants = [0.0] * m if k is None else [k] * m if np.ndim(k) == 0 else list(k)
    if len(constants) != m:
        raise TraceValueError(f"polyint: {len(constants)} constants for {m} integrations", "pass one for each")
    for constant in constants:
        n = p.shape[0]
        p = concatenate([p / np.arange(n, 0, -1), grown(as_array(constant, np.float64), 1)])
    return p


@implements(np.polyfit)
def polyfit(x, y, deg, rcond=None, full=False, w=None, cov=False):
    """The coefficients of the polynomial of a degree that is closest to points (x, y), by least squares; w weighs residuals.

    y may have several columns. The covariance and the diagnostics of `full=True` are not compiled.
    """
    if full or cov:
        raise TraceValueError("polyfit: full= and cov= are not compiled", "take the coefficients alone")
    x, y = as_array(x), as_array(y)
    x, y = (v if is_float(v.dtype) else astype(v, np.float64) for v in (x + 0.0, y + 0.0))
    columns = vander(x, deg + 1)
    if w is not None:
        w = as_array(w)
        columns = columns * ops.reshape(w, shape=(-1, 1))
        y = y * (w if y.ndim == 1 else ops.reshape(w, shape=(-1, 1)))
    rcond = x.shape[0] * np.finfo(x.dtype).eps if rcond is None else rcond
    scale = ops.sqrt(ops.sum(columns * columns, axis=(0,)))
    c = lstsq(columns / scale, y, rcond)[0]
    return c / (scale if c.ndim == 1 else ops.reshape(scale, shape=(-1, 1)))
