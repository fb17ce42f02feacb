"""Trigonometric functions and their inverses as straight-line Scalar code."""
from jitnet.codegen.math_exp import pick, round_to_int
from jitnet.codegen.scalar import F32, define

TWO_OVER_PI = 0.6366197723675814
# pi / 2 in three parts; f32: N. Juffa
HALF_PI_F32 = (1.57079601, 3.13916473e-07, 5.39030253e-15)
HALF_PI_F64 = tuple(map(float.fromhex, ("0x1.921fb54442d18p+0", "0x1.1a62633145c07p-54", "-0x1.f1976b7ed8fbcp-110")))
# sin(r) = r + r z s(z), cos(r) = 1 - z / 2 + z^2 c(z), z = r^2, |r| <= pi / 4
SIN_F32 = (2.83747727e-06, -0.000198535097, 0.00833338033, -0.166666672)  # 2^-32.6
COS_F32 = (2.44306721e-05, -0.00138873013, 0.0416666456)  # 2^-33.1
SIN_F64 = (1.589681353847497e-10, -2.5050758613458926e-08, 2.7557313697139182e-06, -0.000198412698298331,
           0.008333333333322469, -0.16666666666666632)  # 2^-58
COS_F64 = (-1.1359923785646623e-11, 2.0875729082175073e-09, -2.755731439964273e-07, 2.48015872896674e-05,
           -0.001388888888887447, 0.0416666666666666)  # 2^-64


def reduce_fast(x):
    """(r, rest, quadrant bits): x = n pi/2 + r + rest, |r| <= pi/4, for |x| that is not huge."""
    n, bits = round_to_int(x, TWO_OVER_PI)
    c1, c2, c3 = pick(x, HALF_PI_F32, HALF_PI_F64)
    m = -n
    if x.type == F32:
        return m.fma(c3, m.fma(c2, m.fma(c1, x))), None, bits
    r = m.fma(c1, x)
    # r + m c2 as a double-double: the product is split with fma, the sum by Knuth's two-sum
    p = m * c2
    p_low = m.fma(c2, -p)
    high = r + p
    t = high - r
    low = (r - (high - t)) + (p - t)
    return high, low + m.fma(c3, p_low), bits


def sin_kernel(r, rest):
    z = r * r
    if r.type == F32:
        return (r * z).fma(z.poly(*SIN_F32), r)
    tail = z.poly(*SIN_F64[:-1])
    cube = z * r
    return r - ((z * (rest * 0.5 - cube * tail) - rest) - cube * SIN_F64[-1])


def cos_kernel(r, rest):
    z = r * r
    if r.type == F32:
        return (z * z).fma(z.poly(*COS_F32), z.fma(-0.5, 1))
    half = z * 0.5
    w = 1 - half
    return w + (((1 - w) - half) + (z * z * z.poly(*COS_F64) - r * rest))


def sin_or_cos(x, first):
    """sin of x + first * pi / 2."""
    r, rest, bits = reduce_fast(x)
    quadrant = bits + first
    value = (quadrant & 1).ne(0).where(cos_kernel(r, rest), sin_kernel(r, rest))
    sign = (quadrant & 2) << (x.bits - 2)
    return (value.to_bits() ^ sign).from_bits()


@define("sin", "f32", "f64")
def sin(x):
    return sin_or_cos(x, 0)


@define("cos", "f32", "f64")
def cos(x):
    return sin_or_cos(x, 1)
