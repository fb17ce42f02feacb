"""Comparison, logic on bools, bits of integers, tests of floats, and choice."""
from __future__ import annotations

import numpy as np

from ..op_kinds import between, elementwise
from ..types import BOOL, promote


@elementwise("{x} > {y}", samples=between(-3, 3))
def greater(x, y):
    """Whether x > y."""
    return np.greater(x, y)


@elementwise("{x} >= {y}", samples=between(-3, 3))
def greater_equal(x, y):
    """Whether x >= y."""
    return np.greater_equal(x, y)


@elementwise("{x} < {y}", samples=between(-3, 3))
def less(x, y):
    """Whether x < y."""
    return np.less(x, y)


@elementwise("{x} <= {y}", samples=between(-3, 3))
def less_equal(x, y):
    """Whether x <= y."""
    return np.less_equal(x, y)


@elementwise("{x} == {y}", samples=between(-3, 3))
def equal(x, y):
    """Whether x equals y; NaN equals nothing."""
    return np.equal(x, y)


@elementwise("{x} != {y}", samples=between(-3, 3))
def not_equal(x, y):
    """Whether x differs from y; NaN differs from everything."""
    return np.not_equal(x, y)


@elementwise("{x} & {y}", dtypes="logical", samples=between(0, 1))
def logical_and(x, y):
    """Whether both hold; a number holds when it is not zero."""
    return np.logical_and(x, y)


@elementwise("{x} | {y}", dtypes="logical", samples=between(0, 1))
def logical_or(x, y):
    """Whether either holds."""
    return np.logical_or(x, y)


@elementwise("{x} ^ {y}", dtypes="logical", samples=between(0, 1))
def logical_xor(x, y):
    """Whether exactly one holds."""
    return np.logical_xor(x, y)


@elementwise("not {x}", dtypes="logical", samples=between(0, 1))
def logical_not(x):
    """Whether x does not hold."""
    return np.logical_not(x)


@elementwise("{x} & {y}", samples=between(-100, 100, integers=True))
def bitwise_and(x, y):
    """Bits set in both; of bools, their `and`."""
    return np.bitwise_and(x, y)


@elementwise("{x} | {y}", samples=between(-100, 100, integers=True))
def bitwise_or(x, y):
    """Bits set in either; of bools, their `or`."""
    return np.bitwise_or(x, y)


@elementwise("{x} ^ {y}", samples=between(-100, 100, integers=True))
def bitwise_xor(x, y):
    """Bits set in exactly one; of bools, whether they differ."""
    return np.bitwise_xor(x, y)


@elementwise("~{x}", bool_expr="not {x}", samples=between(-100, 100, integers=True))
def invert(x):
    """All bits flipped; of bools, `not`."""
    return np.invert(x)


@elementwise("left_shift_({x}, {y})", samples=between(-30, 30, (0, 40), integers=True))
def left_shift(x, y):
    """Bits moved up by y places; 0 when y is the width or more."""
    return np.left_shift(x, y)


@elementwise("right_shift_({x}, {y})", samples=between(-100, 100, (0, 40), integers=True))
def right_shift(x, y):
    """Bits moved down by y places, the sign coming in."""
    return np.right_shift(x, y)


@elementwise("isnan_({x})", dtypes="test", samples=between(-3, 3))
def isnan(x):
    """Whether x is NaN."""
    return np.isnan(x)


@elementwise("isinf_({x})", dtypes="test", samples=between(-3, 3))
def isinf(x):
    """Whether x is infinite."""
    return np.isinf(x)


@elementwise("isfinite_({x})", dtypes="test", samples=between(-3, 3))
def isfinite(x):
    """Whether x is neither infinite nor NaN."""
    return np.isfinite(x)


@elementwise("signbit_({x})", dtypes="test", samples=between(-3, 3))
def signbit(x):
    """Whether the sign bit is set: also of -0.0."""
    return np.signbit(x)


def _where_dtypes(dtypes):
    common = promote(*dtypes[1:])
    return [BOOL, common, common], common


def _where_x(t, out, condition, x, y):
    return where(condition, t, np.zeros((), t.dtype))


def _where_y(t, out, condition, x, y):
    return where(condition, np.zeros((), t.dtype), t)


@elementwise("select_({condition}, {x}, {y})", dtypes=_where_dtypes, widens=False, jvp=(None, _where_x, _where_y),
             samples=between(0, 1, (-3, 3), (-3, 3)))
def where(condition, x, y):
    """x where the condition holds, y elsewhere."""
    return np.where(condition, x, y)
