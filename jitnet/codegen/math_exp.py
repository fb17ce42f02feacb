"""exp, log and what follows from them, as straight-line Scalar code.

Polynomials are minimax fits by `tests/codegen/minimax.py`; the exponent of two in a comment is the error of the fit.
Schemes: Cody and Waite's argument reduction; Muller, "Elementary Functions" (3rd ed.), chapters 3 to 5; FDLIBM for f64 log.
"""
from jitnet.codegen.scalar import F32, define

INF = float("inf")
NAN = float("nan")
LN2_HI, LN2_LO = float.fromhex("0x1.62e42fefa39efp-1"), float.fromhex("0x1.abc9e3b39803fp-56")
LN2_HI_F32, LN2_LO_F32 = 0.6931471824645996, -1.904654299957768e-09
LOG2_E = 1.4426950408889634

# e^r = 1 + r + r^2 q(r) on |r| <= ln2 / 2; 2^-28.2 and 2^-63.9
EXP_F32 = (0.0013937857, 0.0083689848, 0.0416664332, 0.166665182, 0.5)
EXP_F64 = (2.0906779435731125e-09, 2.5113042795144365e-08, 2.755729568367822e-07, 2.7557231897128945e-06,
           2.480158730400723e-05, 0.0001984126989944071, 0.0013888888888892435, 0.008333333333315757,
           0.04166666666666666, 0.16666666666666685, 0.5)
# 2^r = 1 + r q(r) on |r| <= 1/2; 2^-28.2 and 2^-59.7
EXP2_F32 = (0.000154563939, 0.00133913569, 0.00961807743, 0.0555035882, 0.240226507, 0.693147182)
EXP2_F64 = (2.5526972712950652e-11, 4.4780882612107986e-10, 7.055060765254837e-09, 1.0177903793123545e-07,
            1.3215486310617469e-06, 1.5252734225022915e-05, 0.00015403530394072593, 0.001333355814598732,
            0.009618129107628036, 0.05550410866482349, 0.24022650695910072, 0.6931471805599453)


def pick(x, f32, f64):
    """`f32` or `f64`, whichever fits the type of x."""
    return f32 if x.type == F32 else f64


def two_sum(a, b):
    """(s, t) with s + t = a + b exactly (Knuth)."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def round_to_int(x, factor, more=0):
    """(n, bits) with n = rint(x * factor) as a float and bits - magic bits = n + more as an integer, without a conversion.

    Adding 1.5 * 2^23 (2^52) leaves the integer in the low bits: AVX2 has no conversion from f64 to i64.
    """
    magic = pick(x, 12582912.0, 6755399441055744.0) + more
    shifted = x.fma(factor, magic)
    return shifted - magic, shifted.to_bits()


def scale_by_power(p, bits):
    """p * 2^n for the bits of `round_to_int`, -1022*2 < n < 1023*2: two exact factors, so only the result is rounded."""
    magic_bits, bias, mantissa = pick(p, (0x4B400000, 127, 23), (0x4338000000000000, 1023, 52))
    total = bits - (magic_bits - 2 * bias)
    half = total >> 1
    return p * (half << mantissa).from_bits() * ((total - half) << mantissa).from_bits()


def exp_reduced(x, more=0):
    """(r, bits): x = n ln2 + r, |r| <= ln2 / 2; bits have n + more in their low part."""
    n, bits = round_to_int(x, LOG2_E, more)
    high, low = pick(x, (LN2_HI_F32, LN2_LO_F32), (LN2_HI, LN2_LO))
    return (-n).fma(low, (-n).fma(high, x)), bits


def exp_of_rest(r):
    """e^r on |r| <= ln2 / 2."""
    return (r * r).fma(r.poly(*pick(r, EXP_F32, EXP_F64)), r) + 1


@define("exp", "f32", "f64")
def exp(x):
    x = x.clamp(*pick(x, (-104.5, 89.0), (-746.0, 710.0)))
    bias, mantissa = pick(x, (127, 23), (1023, 52))
    r, bits = exp_reduced(x, 2 * bias)   # two factors as in scale_by_power; what is above an exponent is shifted out
    half = bits >> 1
    return exp_of_rest(r) * (half << mantissa).from_bits() * ((bits - half) << mantissa).from_bits()


@define("exp_nonpositive", "f32", "f64")
def exp_nonpositive(x):
    """exp where x <= 0 or NaN, bit for bit: 2^(n + up) is one factor, with n + up + bias as its exponent."""
    least, up, bias, mantissa = pick(x, (-104.5, 32, 127, 23), (-746.0, 64, 1023, 52))
    x = (least > x).where(least, x)
    r, bits = exp_reduced(x, up + bias)
    return exp_of_rest(r) * (bits << mantissa).from_bits() * 2.0 ** -up


@define("exp2", "f32", "f64")
def exp2(x):
    x = x.clamp(*pick(x, (-151.0, 129.0), (-1076.0, 1025.0)))
    n, bits = round_to_int(x, 1.0)
    r = x - n
    return scale_by_power(r.fma(r.poly(*pick(x, EXP2_F32, EXP2_F64)), 1), bits)


def split_exponent(x, low):
    """(e, m) as floats: x = 2^e m with m in [low, 2 low); x positive and finite, subnormal allowed."""
    tiny_limit, up, shift = pick(x, (2.0 ** -126, 2.0 ** 25, 25.0), (2.0 ** -1022, 2.0 ** 54, 54.0))
    tiny = x < tiny_limit
    e, m = split_bits(tiny.where(x * up, x), low)
    return e - tiny.where(x.const(shift), 0.0), m


def split_bits(x, low):
    """As `split_exponent`, for normal x."""
    bits = x.to_bits()
    above = bits - x.const(low).to_bits()
    if x.type == F32:
        shifted = above & 0xFF800000
        return shifted.to(F32) * 2.0 ** -23, (bits - shifted).from_bits()
    # e + 2048 > 0 enters the low bits of 1.5 * 2^52: AVX2 has no conversion from i64 to f64
    e = (((above ^ (1 << 63)) >> 52) + 0x4338000000000000).from_bits() - (6755399441055744.0 + 2048.0)
    return e, (bits - (above & 0xFFF0000000000000)).from_bits()


# log(1 + f) = f + f^2 q(f) on 2/3 <= 1 + f <= 4/3; 2^-27.7
LOG_F32 = (-0.128804296, 0.139867201, -0.121870495, 0.140053272, -0.166802511, 0.20010446, -0.249998048, 0.333332151, -0.5)
# log((1 + s) / (1 - s)) = 2 s + s z P(z), z = s^2, |s| <= 0.1716; 2^-66.6
ATANH_F64 = (0.13235200762559332, 0.13252100197688238, 0.15386991027402525, 0.1818177830491603, 0.22222222607590353,
             0.2857142856940737, 0.4000000000000493, 0.6666666666666666)
LN2_EXACT, LN2_REST = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # 33 bits: k * LN2_EXACT is exact (FDLIBM)
LOG_LOW = 2.0 / 3.0, 0.7071067811865476


def log1p_parts(f):
    """(high, low) with log(1 + f) = f - high + low for 1 + f in [sqrt(1/2), sqrt(2)], f64 (FDLIBM's e_log.c)."""
    s = f / (f + 2)
    z = s * s
    half_square = f * f * 0.5
    return half_square, s * (z.fma(z.poly(*ATANH_F64), half_square))


def log_from(e, f, extra=0.0):
    """e ln2 + log(1 + f) + extra, for an extra that is small beside f."""
    if f.type == F32:
        tail = f * f * f.poly(*LOG_F32) + extra
        total = e.fma(LN2_HI_F32, f)
        return total + ((e.fma(LN2_HI_F32, -total) + f) + tail)
    high, low = log1p_parts(f)
    return e * LN2_EXACT - ((high - e.fma(LN2_REST, low + extra)) - f)


def log_specials(x, result):
    """`result` where x is positive and finite; log's own values at 0, negative x, infinity and NaN."""
    special = x.eq(0).where(x.const(-INF), (x < 0).where(x.const(NAN), x))
    return ((x > 0) & (x < INF)).where(result, special)


@define("log", "f32", "f64")
def log(x):
    e, m = split_exponent(x, pick(x, *LOG_LOW))
    return log_specials(x, log_from(e, m - 1))


def log_double(f):
    """log(1 + f) as an unevaluated sum high + low, f64."""
    square, low = log1p_parts(f)
    low = low - (f * 0.5).fma(f, -square)
    high = f - square
    return high, ((f - high) - square) + low


def scaled_log(x, inv_hi, inv_lo, unit_hi, unit_lo):
    """log(x) * (inv_hi + inv_lo) where the base's log of 2 is unit_hi + unit_lo, unit_hi with few bits; f64."""
    e, m = split_exponent(x, LOG_LOW[1])
    high, low = log_double(m - 1)
    product = high * inv_hi
    rest = high.fma(inv_hi, -product) + high.fma(inv_lo, low * inv_hi)
    base = e * unit_hi
    total = base + product
    return log_specials(x, total + (((base - total) + product) + e.fma(unit_lo, rest)))


# log2(1 + f) = f (high + low + f q(f)) and the same for log10; on 2/3 <= 1 + f <= 4/3
@define("log2", "f64")
def log2(x):
    return scaled_log(x, LOG2_E, 2.0355273740931033e-17, 1.0, 0.0)


@define("log10", "f64")
def log10(x):
    return scaled_log(x, 0.4342944819032518, 1.098319650216765e-17, 0.301029995663611771306, 3.69423907715893078616e-13)


def scaled_log_f32(x, inv_hi, inv_lo, unit_hi, unit_lo):
    """log(x) * (inv_hi + inv_lo), f32: the polynomial of log, with its leading term kept apart."""
    e, m = split_exponent(x, LOG_LOW[0])
    f = m - 1
    tail = f * f * f.poly(*LOG_F32)
    low = f.fma(inv_lo, tail * inv_hi)
    if unit_lo:
        low = e.fma(unit_lo, low)
    return log_specials(x, e.fma(unit_hi, f.fma(inv_hi, low)))


@define("log2", "f32")
def log2_f32(x):
    return scaled_log_f32(x, 1.44269502, 1.92596303e-8, 1.0, 0.0)


@define("log10", "f32")
def log10_f32(x):
    return scaled_log_f32(x, 0.434294492, -1.01030500e-8, 0.30103001, -1.43209889e-8)


def log1p_sum(x, extra=0.0, shift=0.0):
    """log(1 + x) + extra + shift ln2 for x > -1 that is finite.

    1 + x = 2^e (1 + f) with f = x 2^-e + (2^-e - 1): no bits of x are lost (N. Juffa).
    """
    u = x + 1
    low = u.const(pick(x, *LOG_LOW)).to_bits()
    shifted = (u.to_bits() - low) & pick(x, 0xFF800000, 0xFFF0000000000000)
    four = (x.const(4.0).to_bits() - shifted).from_bits()
    scaled, offset = (x.to_bits() - shifted).from_bits(), four.fma(0.25, -1)
    f = scaled + offset
    lost = (offset - f) + scaled
    extra = (1 - f).fma(lost, extra)  # 1 / (1 + f) is near 1 - f
    if x.type == F32:
        e = shifted.to(F32) * 2.0 ** -23
    else:
        e = (((shifted ^ (1 << 63)) >> 52) + 0x4338000000000000).from_bits() - (6755399441055744.0 + 2048.0)
    return log_from(e + shift, f, extra)


@define("log1p", "f32", "f64")
def log1p(x):
    special = x.eq(-1).where(x.const(-INF), (x < -1).where(x.const(NAN), x))
    good = (x > -1) & (x < INF) & (x.abs() > pick(x, 2.0 ** -60, 2.0 ** -120))
    return good.where(log1p_sum(x), special)


def expm1_core(x):
    """expm1(x) for clamped x; wrong only where |x| is so small that it is the answer itself."""
    n, bits = round_to_int(x, LOG2_E)
    high, low = pick(x, (LN2_HI_F32, LN2_LO_F32), (LN2_HI, LN2_LO))
    start = (-n).fma(high, x)
    r = (-n).fma(low, start)
    r_low = (-n).fma(low, start - r)
    tail = (r * r).fma(r.poly(*pick(x, EXP_F32, EXP_F64)), r_low)
    magic_bits, bias, mantissa = pick(x, (0x4B400000, 127, 23), (0x4338000000000000, 1023, 52))
    half = ((bits - (magic_bits - bias + 1)) << mantissa).from_bits()  # 2^(n - 1): n reaches 128 (1024)
    # half (1 + r + tail) - 1/2, with the sum of its two large terms kept to twice the precision
    total, rest = two_sum(half - 0.5, r * half)
    return (total + tail.fma(half, rest)) * 2


@define("expm1", "f32", "f64")
def expm1(x):
    result = expm1_core(x.clamp(*pick(x, (-18.0, 89.0), (-39.0, 710.0))))
    return (x.abs() < pick(x, 2.0 ** -40, 2.0 ** -80)).where(x, result)
