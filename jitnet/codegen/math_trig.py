"""Trigonometric functions and their inverses as straight-line Scalar code.

sin, cos and tan reduce with Cody and Waite's three constants and fma up to a limit, and beyond it in integers after Payne and
Hanek (`math_huge.py`), where the rare lane goes by itself. Kernels: FDLIBM's k_sin.c and k_cos.c with coefficients of our own.
"""
from jitnet.codegen.math_exp import INF, pick, round_to_int, two_sum
from jitnet.codegen.math_huge import reduce_huge
from jitnet.codegen.rare import call_rare
from jitnet.codegen.scalar import F32, F64, define

TWO_OVER_PI = 0.6366197723675814
PI_HI, PI_LO = float.fromhex("0x1.921fb54442d18p+1"), float.fromhex("0x1.1a62633145c07p-53")
# pi / 2 in three parts; f32: N. Juffa
HALF_PI_F32 = (1.57079601, 3.13916473e-07, 5.39030253e-15)
HALF_PI_F64 = (PI_HI / 2, PI_LO / 2, float.fromhex("-0x1.f1976b7ed8fbcp-110"))
# Up to here n has few enough bits for the reduction's error to stay far below the closest approach to n pi / 2.
FAST_LIMIT = 71476.0, 2.0 ** 24
# sin(r) = r + r z s(z), cos(r) = 1 - z / 2 + z^2 c(z), z = r^2, |r| <= pi / 4
SIN_F32 = (2.83747727e-06, -0.000198535097, 0.00833338033, -0.166666672)  # 2^-32.6
COS_F32 = (2.44306721e-05, -0.00138873013, 0.0416666456)  # 2^-33.1
SIN_F64 = (1.589681353847497e-10, -2.5050758613458926e-08, 2.7557313697139182e-06, -0.000198412698298331,
           0.008333333333322469, -0.16666666666666632)  # 2^-58
COS_F64 = (-1.1359923785646623e-11, 2.0875729082175073e-09, -2.755731439964273e-07, 2.48015872896674e-05,
           -0.001388888888887447, 0.0416666666666666)  # 2^-64
TAN_F32 = (0.00442765467, -1.96198762e-05, 0.0109267496, 0.0212447681, 0.0540677458, 0.133325875, 0.333333522)  # 2^-29


def reduce_fast(x):
    """(r, rest, bits): x = n pi/2 + r + rest, |r| <= pi/4, n in the low bits, for |x| up to the limit."""
    n, bits = round_to_int(x, TWO_OVER_PI)
    c1, c2, c3 = pick(x, HALF_PI_F32, HALF_PI_F64)
    m = -n
    if x.type == F32:
        return m.fma(c3, m.fma(c2, m.fma(c1, x))), None, bits
    p = m * c2
    high, low = two_sum(m.fma(c1, x), p)
    return high, low + m.fma(c3, m.fma(c2, -p)), bits


def sin_kernel(r, rest):
    z = r * r
    if r.type == F32:
        return (r * z).fma(z.poly(*SIN_F32), r)
    cube = z * r
    return r - ((z * (rest * 0.5 - cube * z.poly(*SIN_F64[:-1])) - rest) - cube * SIN_F64[-1])


def cos_kernel(r, rest):
    z = r * r
    if r.type == F32:
        return (z * z).fma(z.poly(*COS_F32), z.fma(-0.5, 1))
    half = z * 0.5
    w = 1 - half
    return w + (((1 - w) - half) + (z * z * z.poly(*COS_F64) - r * rest))


def sin_from(r, rest, bits, first):
    """sin(r + rest + (bits + first) pi / 2)."""
    quadrant = bits + first
    value = (quadrant & 1).ne(0).where(cos_kernel(r, rest), sin_kernel(r, rest))
    return (value.to_bits() ^ ((quadrant & 2) << (r.bits - 2))).from_bits()


def tan_from(r, rest, bits, first):
    """tan(r + rest + bits pi / 2)."""
    odd = (bits & 1).ne(0)
    if r.type == F32:
        z = r * r
        t = (r * z).fma(z.poly(*TAN_F32), r)
        # -1 / t, corrected by what t lost when it was rounded
        lost = (r * z).fma(z.poly(*TAN_F32), r - t)
        inverse = 1 / t
        error = inverse.fma(-t, 1) - inverse * lost
        return odd.where(-(inverse.fma(error, inverse)), t)
    s, s_low = sin_double(r, rest)
    c, c_low = cos_double(r, rest)
    top, top_low = odd.where(c, s), odd.where(c_low, s_low)
    bottom, bottom_low = odd.where(-s, c), odd.where(-s_low, c_low)
    inverse = 1 / bottom
    q = top * inverse
    error = (-q).fma(bottom, top) + (top_low - q * bottom_low)
    return error.fma(inverse, q)


def sin_double(r, rest):
    z = r * r
    tail = (z * r).fma(z.poly(*SIN_F64), z * rest * -0.5 + rest)
    high = r + tail
    return high, (r - high) + tail


def cos_double(r, rest):
    z = r * r
    half = z * 0.5
    w = 1 - half
    tail = ((1 - w) - half) - (r * 0.5).fma(r, -half) + (z * z * z.poly(*COS_F64) - r * rest)
    high = w + tail
    return high, (w - high) + tail


def huge(finish, first):
    """The slow path of one function: any finite x, in f64."""
    def slow(x):
        r, rest, quadrant = reduce_huge(x.to(F64))
        return finish(r, rest, quadrant, first).to(x.type)
    return slow


def periodic(name, finish, first):
    @define(name, "f32", "f64")
    def function(x):
        fast = finish(*reduce_fast(x), first)
        fast = x.eq(0).where(x, fast) if name != "cos" else fast
        return call_rare(name, x.abs(), pick(x, *FAST_LIMIT), fast, huge(finish, first), x)


periodic("sin", sin_from, 0)
periodic("cos", sin_from, 1)
periodic("tan", tan_from, 0)

# atan(t) = t + t z p(z), z = t^2, |t| <= tan(pi / 8); 2^-30.4 and 2^-59.4
ATAN_F32 = (-0.0609030537, 0.105993502, -0.142444223, 0.199985296, -0.333333164)
ATAN_F64 = (-0.017897333723365594, 0.03805619849155634, -0.05039002703063953, 0.05847828653279148, -0.0666309665075851,
            0.07692059654169014, -0.09090897731972175, 0.11111110782807006, -0.14285714280189885, 0.19999999999953616,
            -0.333333333333332)
# asin(t) = t + t z p(z), z = t^2, |t| <= 1/2; 2^-27.6 and 2^-55.8
ASIN_F32 = (0.0422238149, 0.0241459981, 0.0454769991, 0.0749524757, 0.166667536)
ASIN_F64 = (0.03198532267777505, -0.01633140799128189, 0.019596903885585507, 0.006502777891914684, 0.012175059546810307,
            0.013884342669231645, 0.01735979519989069, 0.02237175206348964, 0.03038195938572578, 0.0446428568223224,
            0.07500000000344277, 0.16666666666665378)


def atan_ratio(top, bottom):
    """atan(top / bottom) in [0, pi/2] for top, bottom >= 0, not both 0: a multiple of pi/4 plus a small atan; one division."""
    pi_hi, pi_lo = pick(top, (3.14159274, -8.74227766e-8), (PI_HI, PI_LO))
    low = top < bottom * 0.41421356
    high = bottom < top * 0.41421356
    numerator = low.where(top, high.where(-bottom, top - bottom))
    denominator = low.where(bottom, high.where(top, top + bottom))
    inverse = 1 / denominator
    t = numerator * inverse
    # what the division and the roundings of top - bottom and top + bottom lost
    middle = (low | high) ^ True
    lost = middle.where(two_sum(top, -bottom)[1] - t * two_sum(top, bottom)[1], 0.0)
    lost = ((-t).fma(denominator, numerator) + lost) * inverse
    z = t * t
    tail = (t * z).fma(z.poly(*pick(t, ATAN_F32, ATAN_F64)), lost)
    quarter = low.where(t.const(0), high.where(t.const(0.5), 0.25))
    return quarter.fma(pi_hi, t + quarter.fma(pi_lo, tail)) if t.type == F32 else add_angle(quarter, t, tail)


def add_angle(quarter, t, tail):
    base = quarter * PI_HI
    total = base + t
    return total + (((base - total) + t) + quarter.fma(PI_LO, tail))


@define("atan", "f32", "f64")
def atan(x):
    a = x.abs()
    infinite = a.eq(INF)
    out = atan_ratio(infinite.where(a.const(1), a), infinite.where(a.const(0), 1.0))
    return out.copysign(x)


@define("atan2", "f32", "f64")
def atan2(y, x):
    """The angle of (x, y), NumPy's arctan2, signed zeros and infinities included."""
    a, b = y.abs(), x.abs()
    both = a.eq(INF) & b.eq(INF)
    a, b = both.where(a.const(1), a), both.where(b.const(1), b)
    # out of the way of overflow in a sum, and of underflow in a ratio
    large, up, down = pick(x, (2.0 ** 100, 2.0 ** 24, 2.0 ** -24), (2.0 ** 1000, 2.0 ** 54, 2.0 ** -54))
    top = (a > b).where(a, b)
    scale = (top > large).where(top.const(down), (top < 1 / large).where(top.const(up), 1.0))
    a, b = a * scale, b * scale
    zero = a.eq(0) & b.eq(0)
    infinite = a.eq(INF) | b.eq(INF)
    a, b = (infinite.where(a.eq(INF).where(a.const(1), 0.0), a),
            zero.where(b.const(1), infinite.where(b.eq(INF).where(b.const(1), 0.0), b)))
    out = atan_ratio(a, b)
    pi_hi, pi_lo = pick(x, (3.14159274, -8.74227766e-8), (PI_HI, PI_LO))
    out = (x.to_bits() < 0).where((out.const(pi_hi) - (out - pi_lo)), out)
    out = out.copysign(y)
    return (x.ne(x) | y.ne(y)).where(x + y, out)


def asin_parts(x):
    """(t, tail, near): asin of |x| or of sqrt((1 - |x|) / 2) is t + tail; near where |x| <= 1/2. Out of range: NaN."""
    a = x.abs()
    near = a <= 0.5
    z = near.where(a * a, (1 - a) * 0.5)
    t = near.where(a, z.sqrt())
    tail = t * z * z.poly(*pick(x, ASIN_F32, ASIN_F64))
    # what the square root lost
    lost = near.where(t.const(0), (-t).fma(t, z) / (t + t))
    lost = t.eq(0).where(t.const(0), lost)
    return t, tail + lost, near


HALF_PI = (1.57079637, -4.37113883e-8), (PI_HI / 2, PI_LO / 2)


@define("asin", "f32", "f64")
def asin(x):
    t, tail, near = asin_parts(x)
    hi, lo = pick(x, *HALF_PI)
    base = x.const(hi) - (t + t)
    far = base + (((hi - base) - (t + t)) + (lo - (tail + tail)))
    return near.where(t + tail, far).copysign(x)


@define("acos", "f32", "f64")
def acos(x):
    """pi/2 - asin(x) near 0, 2 asin(sqrt((1 - x) / 2)) for x > 1/2, pi minus that of -x for x < -1/2."""
    t, tail, near = asin_parts(x)
    hi, lo = pick(x, *HALF_PI)
    negative = x < 0
    t, tail = negative.where(-t, t), negative.where(-tail, tail)
    start = near.where(x.const(hi), negative.where(x.const(2 * hi), 0.0))
    start_low = near.where(x.const(lo), negative.where(x.const(2 * lo), 0.0))
    factor = near.where(x.const(-1), 2.0)
    step = factor * t
    base = start + step
    # |start| >= |step| unless start is 0, and then the sum is exact
    error = (start - base) + step
    return base + (error + factor.fma(tail, start_low))
