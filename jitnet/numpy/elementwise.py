"""Functions of each element that are made of several ops, and ufuncs whose NumPy meaning depends on the dtype."""
from __future__ import annotations

import builtins
import math

import numpy as np

from .. import ops
from ..errors import TraceTypeError, TraceValueError
from ..promotion import float_rule, ufunc_rule
from ..tracer import Tracer, current_trace
from ..types import I64, finfo, is_float, promote
from .protocol import as_array, call_with_options, fresh, implements, implements_special, into


def _like(value, x):
    """A 0-d array of the dtype of x."""
    return np.asarray(value, x.dtype)


def _float(x):
    """x as an array of floats, as a ufunc of floats would convert it."""
    x = as_array(x)
    if is_float(x.dtype):
        return x
    return ops.cast(x, dtype=float_rule(x.dtype))


def converted(name: str, ufunc: np.ufunc, *operands):
    """The operands as arrays of the dtypes that a ufunc would convert them to; Python scalars are weak."""
    kinds = tuple(type(o) if type(o) in (bool, int, float) else getattr(o, "weak", None) or as_array(o).dtype for o in operands)
    return [as_array(o, d) for o, d in zip(operands, ufunc_rule(name, ufunc, kinds)[0])]


def _number(x):
    """x as an array of numbers: bools as the int8 that NumPy's ufuncs take them for."""
    x = as_array(x)
    return x if x.dtype != np.bool_ else ops.cast(x, dtype=np.int8)


def _no_bool(x, name: str):
    x = as_array(x)
    if x.dtype == np.bool_:
        raise TraceTypeError(f"{name}: NumPy has no {name} of b1", "convert the array first: `x.astype(...)`")
    return x


# Identities and roundings: integers come back as they are

@implements(np.positive)
def positive(x):
    """A copy of x: the operator +x."""
    return fresh(_no_bool(x, "positive"))


@implements(np.conjugate)
def conjugate(x):
    """A copy of x: all arrays of jitnet are real."""
    return fresh(_number(x))


def _rounding(ufunc, op):
    @implements(ufunc)
    def rounding(x):
        x = as_array(x)
        return op(x) if is_float(x.dtype) else fresh(x)
    rounding.__name__, rounding.__doc__ = op.name, op.__doc__
    return rounding


floor, ceil, trunc = _rounding(np.floor, ops.floor), _rounding(np.ceil, ops.ceil), _rounding(np.trunc, ops.trunc)


def _test(ufunc, op, answer):
    @implements(ufunc)
    def test(x):
        x = as_array(x)
        return op(x) if is_float(x.dtype) else ops.full(x.shape, answer, np.bool_)
    test.__name__, test.__doc__ = op.name, op.__doc__
    return test


isnan, isinf, isfinite = _test(np.isnan, ops.isnan, False), _test(np.isinf, ops.isinf,
                                                                  False), _test(np.isfinite, ops.isfinite, True)


@implements(np.fix)
def fix(x, out=None):
    """x rounded towards zero."""
    return into(out, trunc(x), "fix")


@implements(np.round, np.around, method="round")
def round(a, decimals=0, out=None):
    """x rounded to a number of decimals, ties to even."""
    x = as_array(a)
    if x.dtype == np.bool_:  # NumPy rounds them as its smallest floats, to whole numbers only
        if decimals != 0:
            raise TraceTypeError("round: bools have no decimals", "convert the array first: `x.astype(...)`")
        return into(out, ops.cast(x, dtype=np.float16), "round")
    if not is_float(x.dtype):
        if decimals >= 0:
            return into(out, fresh(x), "round")
        scale = 10 ** -decimals
        half, rest = scale // 2, ops.remainder(x, scale)
        down = x - rest
        odd = ops.equal(ops.remainder(ops.floor_divide(x, scale), 2), 1)
        up = ops.logical_or(ops.greater(rest, half), ops.logical_and(ops.equal(rest, half), odd))
        return into(out, down + ops.where(up, _like(scale, x), _like(0, x)), "round")
    if decimals == 0:
        return into(out, ops.rint(x), "round")
    scale = _like(10.0 ** abs(decimals), x)
    value = ops.rint(x * scale) / scale if decimals > 0 else ops.rint(x / scale) * scale
    return into(out, value, "round")


# Powers and products

@implements(np.square)
def square(x):
    """x * x."""
    x = _number(x)
    return x * x


@implements(np.reciprocal)
def reciprocal(x):
    """1 / x; of integers the whole part of it, so 0 but for 1 and -1."""
    x = _number(x)
    if is_float(x.dtype):
        return ops.divide(_like(1, x), x)
    return ops.where(ops.equal(ops.abs(x), _like(1, x)), x, _like(0, x))


def _negative_power() -> TraceValueError:
    return TraceValueError("power: Integers to negative integer powers are not allowed.",
                           "convert the array first: `x.astype(float)`")


@implements(np.power, eager=np.power)
def power(x, y):
    """x to the power y. Whole Python exponents up to 4 become products, 0.5 a square root, -1 a reciprocal."""
    if isinstance(y, Tracer) or type(y) not in (int, float):
        if isinstance(y, (np.ndarray, np.integer)) and np.any(y < 0) and promote(as_array(x).dtype, y.dtype).kind in "iu":
            raise _negative_power()
        return ops.power(x, y)
    base = as_array(x)
    kind = "f" if is_float(base.dtype) else base.dtype.kind
    weak = getattr(base, "weak", None)
    if (kind in "iu" and type(y) is int and y < 0) or weak is not None:
        if weak is None:
            raise _negative_power()
        return ops.power(x, y)
    if kind == "f" or (kind in "iu" and type(y) is int):
        if y in (1, 2, 3, 4):
            two = base * base if y > 1 else None
            return fresh(base) if y == 1 else two if y == 2 else two * base if y == 3 else two * two
        if kind == "f" and y == 0.5:
            return ops.sqrt(base)
        if kind == "f" and y == -1:
            return ops.divide(1, base)
        if y == 0:
            return ops.full(base.shape, 1, base.dtype)
    return ops.power(x, y)


@implements(np.float_power)
def float_power(x, y):
    """x to the power y, in float64."""
    return ops.power(as_array(x, np.float64), as_array(y, np.float64))


@implements(np.divmod)
def divmod(x, y):
    """(x // y, x % y)."""
    return ops.floor_divide(x, y), ops.remainder(x, y)


@implements(np.modf)
def modf(x):
    """(fraction, whole part) of x, both with its sign."""
    x = _float(x)
    whole = ops.trunc(x)
    rest = ops.where(ops.isinf(x), _like(0, x), x - whole)
    return ops.copysign(rest, x), whole


@implements(np.ldexp)
def ldexp(x, n):
    """x * 2**n, n integers."""
    x, n = _float(x), as_array(n)
    if is_float(n.dtype):
        raise TraceTypeError("ldexp: the exponents are no integers", "convert them with `astype(np.int64)`")
    n = ops.minimum(ops.maximum(ops.cast(n, dtype=I64), -2200), 2200)  # beyond these every float64 is 0 or infinite
    third = ops.floor_divide(n, 3)  # in three factors, so that none overflows alone
    wide = ops.cast(x, dtype=np.float64)
    for part in (third, third, n - third - third):
        wide = wide * ops.exp2(ops.cast(part, dtype=np.float64))
    return ops.cast(wide, dtype=x.dtype)


# Exponentials, angles and steps

@implements(np.spacing)
def spacing(x):
    """The distance to the next float further from 0, with the sign of x (of float16 NumPy measures upwards)."""
    x = _float(x)
    size = ops.abs(x)
    step = ops.nextafter(size, _like(math.inf, x)) - size
    return ops.where(ops.equal(x, 0), step, ops.copysign(step, x))


@implements(np.logaddexp2)
def logaddexp2(x, y):
    """log2(2**x + 2**y) without overflow on the way."""
    x, y = converted("logaddexp2", np.logaddexp2, x, y)
    ln2 = _like(math.log(2), x)
    return ops.logaddexp(x * ln2, y * ln2) / ln2


@implements(np.degrees, np.rad2deg)
def degrees(x):
    """Radians as degrees."""
    x = _float(x)
    return x * _like(180 / math.pi, x)


@implements(np.radians, np.deg2rad)
def radians(x):
    """Degrees as radians."""
    x = _float(x)
    return x * _like(math.pi / 180, x)


@implements(np.sinc)
def sinc(x):
    """sin(pi x) / (pi x), 1 at 0; integers of every width as float64."""
    x = as_array(x)
    x = as_array(x, promote(x.dtype, float))
    zero = ops.equal(x, _like(0, x))
    y = ops.where(zero, _like(1, x), x) * _like(math.pi, x)
    smooth = 1 - (math.pi ** 2 / 6) * (x * x)  # its value and first two derivatives at 0
    return ops.where(zero, smooth, ops.sin(y) / y)


@implements(np.heaviside)
def heaviside(x, y):
    """0 below 0, y at 0, 1 above; NaN of NaN."""
    x, y = converted("heaviside", np.heaviside, x, y)
    dtype = x.dtype
    zero, one = np.zeros((), dtype), np.ones((), dtype)
    return ops.where(ops.isnan(x), x, ops.where(ops.less(x, 0), zero, ops.where(ops.greater(x, 0), one, y)))


@implements(np.fabs)
def fabs(x):
    """Absolute value, as a float."""
    return ops.abs(_float(x))


@implements(np.signbit)
def signbit(x):
    """Whether the sign bit is set."""
    x = as_array(x)
    return ops.signbit(x) if is_float(x.dtype) else ops.less(x, _like(0, x))


@implements(np.bitwise_count)
def bitwise_count(x):
    """How many bits are set in the absolute value of an integer, as uint8."""
    x = as_array(x)
    if is_float(x.dtype):
        raise TraceTypeError("bitwise_count: floats have no bits to count", "convert them with `astype(np.int64)`")
    width = 8 * x.dtype.itemsize
    bits = ops.cast(ops.abs(x), dtype=np.dtype(f"uint{width}"))
    total = ops.bitwise_and(bits, _like(1, bits))
    for k in range(1, width):
        total = total + ops.bitwise_and(ops.right_shift(bits, _like(k, bits)), _like(1, bits))
    return ops.cast(total, dtype=np.uint8)


@implements(np.angle)
def angle(z, deg=False):
    """The angle of real numbers as points of the plane: 0, and pi (or 180) for negative ones and -0."""
    x = _float(z)
    turned = ops.arctan2(_like(0, x), x)
    return turned * _like(180 / math.pi, x) if deg else turned


# Choice

@implements(np.where)
def where(condition, *choices):
    """x where the condition holds, y elsewhere."""
    if len(choices) != 2:
        if current_trace() is None and not choices:
            return np.where(condition)
        raise TraceTypeError("where: with a condition alone, the size of the result depends on its values",
                             "give both values, where(condition, x, y), or call it outside the compiled function")
    return ops.where(condition, *choices)


_MISSING = object()


def _bound(value, x):
    """A limit of `clip`: a Python integer beyond the range of integers x is at the end of it."""
    dtype = as_array(x).dtype
    if dtype.kind not in "iu" or (getattr(value, "weak", None) or type(value)) is not int:
        return value
    low, high = builtins.max(np.iinfo(dtype).min, -1 << 63), builtins.min(np.iinfo(dtype).max, (1 << 63) - 1)
    if type(value) is int:
        return builtins.min(builtins.max(value, low), np.iinfo(dtype).max)
    wide = ops.minimum(ops.maximum(as_array(value), np.asarray(low, I64)), np.asarray(high, I64))
    return ops.cast(wide, dtype=dtype)


def _kind(value):
    """What `promote` is told of a value: its dtype, or the type of a Python number."""
    return type(value) if type(value) in (int, float) else getattr(value, "weak", None) or as_array(value).dtype


@implements(np.clip, method="clip")
def clip(a, a_min=_MISSING, a_max=_MISSING, out=None, *, min=_MISSING, max=_MISSING, **options):
    """a limited to [a_min, a_max]; either may be None. At a limit the gradient is shared evenly with it.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> jnp.clip(np.array([-1.0, 0.5, 3.0]), 0, 1)
    array([0. , 0.5, 1. ])
    """
    low = min if a_min is _MISSING else a_min
    high = max if a_max is _MISSING else a_max
    def limited(value):
        strong = [k for k in (_kind(v) for v in (low, high) if v is not _MISSING and v is not None) if isinstance(k, np.dtype)]
        if strong and isinstance(_kind(value), np.dtype):   # or a bool between 0 and an int32 would be an int64
            value = as_array(value, promote(as_array(value).dtype, *strong))
        if low is not _MISSING and low is not None:
            value = ops.maximum(value, _bound(low, value))
        if high is not _MISSING and high is not None:
            value = ops.minimum(value, _bound(high, value))
        return fresh(as_array(a)) if value is a else value
    return call_with_options("clip", limited, (a,), out=out, **options)


@implements(np.nan_to_num)
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """x with NaN and the infinities replaced by numbers (by default 0 and the largest floats)."""
    x = as_array(x)
    if not is_float(x.dtype):
        return fresh(x)
    info = finfo(x.dtype)
    high, low = (info.max if posinf is None else posinf), (info.min if neginf is None else neginf)
    nan, high, low = (as_array(v, x.dtype) for v in (nan, high, low))
    value = ops.where(ops.isnan(x), nan, ops.where(ops.isinf(x), ops.where(ops.greater(x, 0), high, low), x))
    return value if copy else into(x, value, "nan_to_num")


@implements(np.isclose)
def isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether |a - b| <= atol + rtol * |b|; equal infinities are close."""
    a, b = as_array(a), as_array(b)
    b = as_array(b, promote(b.dtype, float))  # NumPy's own step: the difference of integers is one of floats
    near = ops.less_equal(ops.abs(a - b), atol + rtol * ops.abs(b))
    close = ops.logical_or(ops.logical_and(near, isfinite(b)), ops.equal(a, b))
    return ops.logical_or(close, ops.logical_and(isnan(a), isnan(b))) if equal_nan else close


@implements(np.select)
def select(condlist, choicelist, default=0):
    """For each element the choice of the first condition that holds there."""
    if len(condlist) != len(choicelist):
        raise TraceValueError(f"select: {len(condlist)} conditions, {len(choicelist)} choices", "give one choice per condition")
    out = default
    dtype = promote(*map(_kind, choicelist), _kind(default))
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        out = ops.where(condition, as_array(choice, dtype), as_array(out, dtype))
    return out


@implements(np.real, eager=np.real)
def real(x):
    """x itself: all arrays of jitnet are real."""
    return x


@implements(np.imag, eager=np.imag)
def imag(x):
    """Zeros."""
    return ops.zeros_like(as_array(x))


# scipy.special

SCIPY = {"erf": ops.erf, "erfc": ops.erfc, "erfinv": ops.erfinv, "gammaln": ops.lgamma, "psi": ops.digamma,
         "digamma": ops.digamma, "expit": ops.sigmoid, "exp2": ops.exp2, "expm1": ops.expm1, "log1p": ops.log1p,
         "cbrt": ops.cbrt}
for _name, _op in SCIPY.items():
    implements_special(_name)(_op)


@implements_special("logit")
def logit(x):
    """log(x / (1 - x)), the inverse of the sigmoid."""
    x = _float(x)
    return ops.log(x) - ops.log1p(-x)


@implements_special("log_expit")
def log_sigmoid(x):
    """log(sigmoid(x)), precise where it is close to 0."""
    x = _float(x)
    return -ops.logaddexp(_like(0, x), -x)


@implements_special("xlogy")
def xlogy(x, y):
    """x * log(y), 0 where x is 0."""
    x, y = _float(x), _float(y)
    zero = ops.equal(x, _like(0, x))
    return ops.where(zero, _like(0, x), x * ops.log(ops.where(zero, _like(1, y), y)))


@implements_special("entr")
def entr(x):
    """-x * log(x): 0 at 0, -inf below."""
    x = _float(x)
    safe = ops.where(ops.greater(x, _like(0, x)), x, _like(1, x))
    return ops.where(ops.less(x, _like(0, x)), _like(-np.inf, x), -xlogy(ops.where(ops.equal(x, _like(0, x)), _like(0, x),
                                                                                   safe), safe))


@implements_special("ndtr")
def ndtr(x):
    """The standard normal distribution function."""
    x = _float(x)
    return 0.5 * ops.erfc(-x * math.sqrt(0.5))

