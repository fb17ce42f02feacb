"""Arithmetic, element by element: sums, products, quotients, powers, roundings and extremes."""
from __future__ import annotations

import numpy as np

from ..op_kinds import between, elementwise
from .logical import equal, greater, greater_equal, isnan, where


def _t(t, out, *inputs):
    """The tangent itself: of a function whose derivative is one."""
    return t


def _minus_t(t, out, *inputs):
    return -t


@elementwise("{x} + {y}", bool_expr="{x} | {y}", jvp=(_t, _t), samples=between(-3, 3))
def add(x, y):
    """Sum of x and y; of bools, their `or`."""
    return np.add(x, y)


@elementwise("{x} - {y}", jvp=(_t, _minus_t), samples=between(-3, 3))
def subtract(x, y):
    """Difference x - y."""
    return np.subtract(x, y)


@elementwise("{x} * {y}", bool_expr="{x} & {y}", jvp=(lambda t, out, x, y: t * y, lambda t, out, x, y: x * t),
             samples=between(-3, 3))
def multiply(x, y):
    """Product of x and y; of bools, their `and`."""
    return np.multiply(x, y)


@elementwise("{x} / {y}", jvp=(lambda t, out, x, y: t / y, lambda t, out, x, y: -t * out / y), samples=between(-3, 3, (0.5, 3)))
def divide(x, y):
    """Quotient x / y, always a float; x / 0 is infinite or NaN."""
    return np.divide(x, y)


@elementwise("floor_divide_({x}, {y})", samples=between(-9, 9, (0.5, 4)))
def floor_divide(x, y):
    """Quotient rounded down; of integers by zero, 0. Its derivative is zero."""
    return np.floor_divide(x, y)


@elementwise("remainder_({x}, {y})", jvp=(_t, lambda t, out, x, y: -t * floor_divide(x, y)), samples=between(-9, 9, (1.1, 4)))
def remainder(x, y):
    """x - y * floor(x / y), with the sign of y (Python's %); of integers by zero, 0."""
    return np.remainder(x, y)


@elementwise("fmod_({x}, {y})", jvp=(_t, lambda t, out, x, y: -t * trunc(x / y)), samples=between(-9, 9, (1.1, 4)))
def fmod(x, y):
    """x - y * trunc(x / y), with the sign of x (C's %)."""
    return np.fmod(x, y)


@elementwise("pow_({x}, {y})", cheap=False, samples=between(0.2, 3, (-2, 3)), jvp=(
    lambda t, out, x, y: t * where(equal(y, 0), _number(0, y), y * power(x, where(equal(y, 0), _number(1, y), y - 1))),
    lambda t, out, x, y: t * where(equal(x, 0), where(greater_equal(y, 0), _number(0, x), -out),
                                   out * _log(where(equal(x, 0), _number(1, x), x)))))
def power(x, y):
    """x to the power y; integers stay integers (their power must not be negative). The derivative by x of x ** 0 is 0
    everywhere; that by y of 0 ** y is 0 from y = 0 on, and -inf below."""
    return np.power(x, y)


def _log(x):
    from .exponential import log

    return log(x)


def _number(value, like):
    """A 0-d NumPy array of the dtype of `like`: a number in rules that must not widen the result."""
    return np.asarray(value, like.dtype)


@elementwise("-{x}", jvp=(_minus_t,), samples=between(-3, 3))
def negative(x):
    """-x."""
    return np.negative(x)


@elementwise("abs_({x})", bool_expr="{x}", jvp=(lambda t, out, x: t * sign(x),), samples=between(-3, 3))
def abs(x):
    """Absolute value; its derivative at 0 is 0."""
    return np.abs(x)


@elementwise("sign_({x})", samples=between(-3, 3))
def sign(x):
    """-1, 0 or 1 as x is negative, zero or positive; NaN of NaN."""
    return np.sign(x)


@elementwise("sqrt_({x})", jvp=(lambda t, out, x: t * 0.5 / out,), samples=between(0.1, 9))
def sqrt(x):
    """Square root; NaN of negative numbers."""
    return np.sqrt(x)


@elementwise("cbrt_({x})", cheap=False, jvp=(lambda t, out, x: t / (3 * out * out),), samples=between(0.2, 9))
def cbrt(x):
    """Cube root, also of negative numbers."""
    return np.cbrt(x)


@elementwise("hypot_({x}, {y})", jvp=(lambda t, out, x, y: t * _ratio(x, out), lambda t, out, x, y: t * _ratio(y, out)),
             samples=between(0.2, 3))
def hypot(x, y):
    """sqrt(x*x + y*y) without overflow on the way; its derivative at (0, 0) is 0."""
    return np.hypot(x, y)


def _ratio(x, out):
    zero = equal(out, 0)
    return where(zero, _number(0, x), x / where(zero, _number(1, x), out))


@elementwise("copysign_({x}, {y})", jvp=(lambda t, out, x, y: t * sign(x) * copysign(_number(1, x), y),),
             samples=between(0.2, 3, (-3, 3)))
def copysign(x, y):
    """The size of x with the sign of y."""
    return np.copysign(x, y)


@elementwise("nextafter_({x}, {y})", widens=False, jvp=(_t,), samples=between(-3, 3))
def nextafter(x, y):
    """The float next to x in the direction of y."""
    return np.nextafter(x, y)


@elementwise("gcd_({x}, {y})", cheap=False, samples=between(-30, 30, integers=True))
def gcd(x, y):
    """Greatest common divisor of integers."""
    return np.gcd(x, y)


@elementwise("lcm_({x}, {y})", cheap=False, samples=between(-9, 9, integers=True))
def lcm(x, y):
    """Lowest common multiple of integers."""
    return np.lcm(x, y)


def _share(x, y):
    """1 where x > y, 0 where x < y, one half where they are equal."""
    return where(greater(x, y), _number(1, x), where(equal(x, y), _number(0.5, x), _number(0, x)))


def _share_number(x, y):
    """`_share`, all of it for x where y is NaN."""
    return where(isnan(y), _number(1, x), _share(x, y))


@elementwise("maximum_({x}, {y})", bool_expr="{x} | {y}", samples=between(-3, 3),
             jvp=(lambda t, out, x, y: t * _share(x, y), lambda t, out, x, y: t * _share(y, x)))
def maximum(x, y):
    """The larger of x and y, NaN when either is; where they are equal the gradient is shared evenly."""
    return np.maximum(x, y)


@elementwise("minimum_({x}, {y})", bool_expr="{x} & {y}", samples=between(-3, 3),
             jvp=(lambda t, out, x, y: t * _share(y, x), lambda t, out, x, y: t * _share(x, y)))
def minimum(x, y):
    """The smaller of x and y, NaN when either is; where they are equal the gradient is shared evenly."""
    return np.minimum(x, y)


@elementwise("fmax_({x}, {y})", bool_expr="{x} | {y}", samples=between(-3, 3),
             jvp=(lambda t, out, x, y: t * _share_number(x, y), lambda t, out, x, y: t * _share_number(y, x)))
def fmax(x, y):
    """The larger of x and y; a number wins over NaN."""
    return np.fmax(x, y)


@elementwise("fmin_({x}, {y})", bool_expr="{x} & {y}", samples=between(-3, 3),
             jvp=(lambda t, out, x, y: t * where(isnan(y), _number(1, x), _share(y, x)),
                  lambda t, out, x, y: t * where(isnan(x), _number(1, x), _share(x, y))))
def fmin(x, y):
    """The smaller of x and y; a number wins over NaN."""
    return np.fmin(x, y)


@elementwise("floor_({x})", bool_expr="{x}", samples=between(-3, 3))
def floor(x):
    """The largest whole number not above x."""
    return np.floor(x)


@elementwise("ceil_({x})", bool_expr="{x}", samples=between(-3, 3))
def ceil(x):
    """The smallest whole number not below x."""
    return np.ceil(x)


@elementwise("trunc_({x})", bool_expr="{x}", samples=between(-3, 3))
def trunc(x):
    """x without its fraction."""
    return np.trunc(x)


@elementwise("rint_({x})", samples=between(-3, 3))
def rint(x):
    """The nearest whole number, ties to even."""
    return np.rint(x)
