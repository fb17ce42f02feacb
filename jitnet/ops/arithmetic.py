"""Arithmetic, comparison and choice, element by element."""
from __future__ import annotations

import numpy as np

from ..op import between, elementwise
from ..types import BOOL, promote


@elementwise("{x} + {y}", jvp=(lambda t, out, x, y: t, lambda t, out, x, y: t), samples=between(-3, 3))
def add(x, y):
    """Sum of x and y; of bools, their `or`."""
    return np.add(x, y)


@elementwise("{x} - {y}", dtypes="number", jvp=(lambda t, out, x, y: t, lambda t, out, x, y: -t), samples=between(-3, 3))
def subtract(x, y):
    """Difference x - y."""
    return np.subtract(x, y)


@elementwise("{x} * {y}", jvp=(lambda t, out, x, y: t * y, lambda t, out, x, y: x * t), samples=between(-3, 3))
def multiply(x, y):
    """Product of x and y; of bools, their `and`."""
    return np.multiply(x, y)


@elementwise("{x} / {y}", dtypes="float", jvp=(lambda t, out, x, y: t / y, lambda t, out, x, y: -t * out / y),
             samples=between(-3, 3, (0.5, 3)))
def divide(x, y):
    """Quotient x / y, always a float; x / 0 is infinite or NaN."""
    return np.divide(x, y)


@elementwise("-{x}", dtypes="number", jvp=(lambda t, out, x: -t,), samples=between(-3, 3))
def negative(x):
    """-x."""
    return np.negative(x)


@elementwise("maximum_({x}, {y})", jvp=(lambda t, out, x, y: t * _share(x, y), lambda t, out, x, y: t * _share(y, x)), samples=between(-3, 3))
def maximum(x, y):
    """The larger of x and y, NaN when either is; where they are equal the gradient is shared evenly."""
    return np.maximum(x, y)


def _share(x, y):
    """1 where x > y, 0 where x < y, one half where they are equal."""
    one, half, zero = (np.asarray(v, x.dtype) for v in (1, 0.5, 0))
    return where(greater(x, y), one, where(equal(x, y), half, zero))


@elementwise("{x} > {y}", dtypes="compare", samples=between(-3, 3))
def greater(x, y):
    """Whether x > y."""
    return np.greater(x, y)


@elementwise("{x} == {y}", dtypes="compare", samples=between(-3, 3))
def equal(x, y):
    """Whether x equals y; NaN equals nothing."""
    return np.equal(x, y)


def _where_dtypes(dtypes):
    common = promote(*dtypes[1:])
    return [BOOL, common, common], common


@elementwise("select_({condition}, {x}, {y})", dtypes=_where_dtypes,
             jvp=(None, lambda t, out, c, x, y: where(c, t, np.zeros((), t.dtype)), lambda t, out, c, x, y: where(c, np.zeros((), t.dtype), t)),
             samples=between(0, 1, (-3, 3), (-3, 3)))
def where(condition, x, y):
    """x where the condition holds, y elsewhere."""
    return np.where(condition, x, y)
