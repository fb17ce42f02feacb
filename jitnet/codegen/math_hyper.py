"""Hyperbolic functions, sigmoid, softplus and logaddexp as straight-line Scalar code."""
from jitnet.codegen.math_exp import (
    EXP_F32,
    EXP_F64,
    INF,
    LN2_EXACT,
    LN2_HI,
    LN2_HI_F32,
    LN2_LO,
    LN2_LO_F32,
    LN2_REST,
    LOG2_E,
    NAN,
    exp_reduced,
    log1p_sum,
    pick,
    round_to_int,
    scale_by_power,
    two_sum,
)
from jitnet.codegen.scalar import F32, call, define

# tanh(x) = x + x z p(z), z = x^2, |x| <= 0.625; 2^-27.8
TANH_F32 = (-0.00571577856, 0.0206492878, -0.0537430346, 0.133314848, -0.333332837)
# tanh(x) = x + x z P(z) / Q(z), |x| <= 0.625 (Cephes, tanh.c)
TANH_P = (-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
TANH_Q = (1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)


def small_exp(x):
    """exp(x) for |x| so small that 2^n is a normal number."""
    bias, mantissa = pick(x, (127, 23), (1023, 52))
    r, bits = exp_reduced(x, bias)
    power = (bits << mantissa).from_bits()
    p = (r * r).fma(r.poly(*pick(x, EXP_F32, EXP_F64)), r)
    return p.fma(power, power)


@define("tanh", "f32", "f64")
def tanh(x):
    """1 - 2 / (exp(2|x|) + 1), and an odd approximation near 0 where that would cancel."""
    a = x.abs()
    z = x * x
    small = a < 0.625
    limit = pick(x, 9.2, 19.5)
    e1 = small_exp((a > limit).where(x.const(2 * limit), a + a)) + 1
    if x.type == F32:
        near = x.fma(z * z.poly(*TANH_F32), x)
        return small.where(near, 1 - x.const(2).over(e1)).copysign(x)
    # one division serves both
    q = small.where(z * z.poly(*TANH_P), x.const(-2.0)) / small.where(z.poly(*TANH_Q), e1)
    base = small.where(a, x.const(1.0))
    return q.fma(base, base).copysign(x)


@define("sigmoid", "f32", "f64")
def sigmoid(x):
    """1 / (1 + exp(-x)), with exp(x) on top where x is negative, so that tiny results keep their bits."""
    e = call("exp_nonpositive", pick(x, "f32", "f64"), -x.abs())
    return (x < 0).where(e, 1.0) / (e + 1)


@define("softplus", "f32", "f64")
def softplus(x):
    """log(1 + exp(x))."""
    dtype = pick(x, "f32", "f64")
    tail = call("log1p", dtype, call("exp_nonpositive", dtype, -x.abs()))
    return (x > 0).where(x, 0.0) + tail


@define("logaddexp", "f32", "f64")
def logaddexp(x, y):
    """log(exp(x) + exp(y))."""
    dtype = pick(x, "f32", "f64")
    top = (x > y).where(x, y)
    gap, low = two_sum(x, -y)
    gap = x.eq(y).where(x.const(0.0), gap)  # inf - inf
    low = (low.abs() < 1).where((gap < 0).where(-low, low), 0.0)
    tail = call("exp_nonpositive", dtype, -gap.abs())
    return top + call("log1p", dtype, (-low).fma(tail, tail))  # what the difference lost is more than the rest loses


# sinh(x) = x + x z p(z), z = x^2, |x| <= 1; 2^-31.6 and 2^-61.8
SINH_F32 = (2.78392531e-06, 0.000198426351, 0.00833331142, 0.166666672)
SINH_F64 = (7.775757508733009e-13, 1.6056685717448737e-10, 2.505213068504755e-08, 2.7557319108463495e-06,
            0.00019841269841589247, 0.008333333333332915, 0.16666666666666669)
# atanh(s) = s + s z p(z), z = s^2, |s| <= 0.21; 2^-34.4 and 2^-65.9
ATANH_F32 = (0.12122909, 0.142489702, 0.200005054, 0.333333313)
ATANH_F64 = (0.0670741019161289, 0.05716498667101257, 0.06676835843012054, 0.07691938515322878, 0.09090917258519807,
             0.1111111100276348, 0.14285714286523343, 0.19999999999997048, 0.33333333333333337)


def half_exp(a):
    """exp(a) / 2 for a >= 0 as high + low; overflows only where the hyperbolic functions do."""
    a = a.clamp(0.0, pick(a, 90.0, 711.0))
    n, bits = round_to_int(a, LOG2_E)
    ln2, rest = pick(a, (LN2_HI_F32, LN2_LO_F32), (LN2_HI, LN2_LO))
    start = (-n).fma(ln2, a)
    r = (-n).fma(rest, start)
    t = (r * r).fma(r.poly(*pick(a, EXP_F32, EXP_F64)), r)
    high = t + 1
    low = (t - (high - 1)) + (-n).fma(rest, start - r)
    return scale_by_power(high, bits - 1), scale_by_power(low, bits - 1)


@define("cosh", "f32", "f64")
def cosh(x):
    high, low = half_exp(x.abs())
    return high + (0.25 / high + low)


@define("sinh", "f32", "f64")
def sinh(x):
    a = x.abs()
    high, low = half_exp(a)
    far = high - (0.25 / high - low)
    far = (high < INF).where(far, high)
    z = x * x
    near = (a * z).fma(z.poly(*pick(x, SINH_F32, SINH_F64)), a)
    return (a < 1).where(near, far).copysign(x)


@define("asinh", "f32", "f64")
def asinh(x):
    """log1p(t), t = a + (sqrt(1 + a^2) - 1), t to twice the precision; log(a) + ln2 for large a."""
    a = x.abs()
    large = a > pick(x, 2.0 ** 12, 2.0 ** 27)
    b = large.where(a.const(1), a)
    square = b * b
    radicand, low = two_sum(b.const(1), square)
    root = radicand.sqrt()
    root_low = ((-root).fma(root, radicand) + (low + b.fma(b, -square))) / (root + root)
    t, low = two_sum(b, root - 1)
    small = a < pick(x, 2.0 ** -30, 2.0 ** -60)
    extra = large.where(a.const(0), (low + root_low) * (root - b))
    result = log1p_sum(large.where(a - 1, t), extra, large.where(a.const(1), 0.0))
    return (small | ((a < INF) ^ True)).where(x, result.copysign(x))


@define("acosh", "f32", "f64")
def acosh(x):
    """log1p(t), t = y + sqrt(y (y + 2)), y = x - 1; NaN below 1."""
    large = x > pick(x, 2.0 ** 12, 2.0 ** 27)
    b = large.where(x.const(2), x)
    y = b - 1
    two, two_low = two_sum(y, y.const(2))
    product = y * two
    root = product.sqrt()
    root_low = ((-root).fma(root, product) + y.fma(two, -product) + y * two_low) / (root + root)
    root_low = root.eq(0).where(y.const(0), root_low)
    t, low = two_sum(y, root)
    extra = large.where(x.const(0), (low + root_low) * (b - root))
    result = log1p_sum(large.where(x - 1, t), extra, large.where(x.const(1), 0.0))
    return (x < INF).where((x < 1).where(x.const(NAN), result), x)


@define("atanh", "f32", "f64")
def atanh(x):
    """e ln2 / 2 + atanh(s): (1 + x) / (1 - x) = 2^e (1 + s) / (1 - s) with e from the exponents and |s| <= 0.21."""
    a = x.abs()
    up, down = a + 1, 1 - a
    mantissa, one = pick(x, (23, 0x3F800000), (52, 0x3FF0000000000000))
    e_bits = (up.to_bits() - down.to_bits() + (1 << (mantissa - 1))) & pick(x, 0xFF800000, 0xFFF0000000000000)
    e_bits = down.eq(0).where(e_bits.const(0), e_bits)
    power = (e_bits + one).from_bits()
    up_low, down_low = a - (up - 1), (1 - down) - a
    same = e_bits.eq(0)  # and then s = a
    top = (-power).fma(down, up) + (up_low - power * down_low)
    bottom = power.fma(down, up)
    inverse = 1 / bottom
    s = same.where(a, top * inverse)
    lost = (-s).fma(bottom, top)
    lost = same.where(a.const(0), (lost - s * (((up - bottom) + power * down) + power.fma(down_low, up_low))) * inverse)
    z = s * s
    tail = (s * z).fma(z.poly(*pick(x, ATANH_F32, ATANH_F64)), lost)
    e = power_exponent(x, e_bits)
    half_ln2, rest = pick(x, (LN2_HI_F32 / 2, LN2_LO_F32 / 2), (LN2_EXACT / 2, LN2_REST / 2))
    total = e.fma(half_ln2, s)
    result = total + ((e.fma(half_ln2, -total) + s) + e.fma(rest, tail))
    out = down.eq(0).where(x.const(INF), (down < 0).where(x.const(NAN), result))
    return (a < 2.0 ** -60).where(x, out.copysign(x))


def power_exponent(x, e_bits):
    """The exponent e >= 0 as a float, from its bits in place."""
    if x.type == F32:
        return e_bits.to(F32) * 2.0 ** -23
    return ((e_bits >> 52) + 0x4330000000000000).from_bits() - 4503599627370496.0
