"""pow, cbrt and hypot as straight-line Scalar code."""
from jitnet.codegen.math_exp import EXP2_F64, INF, NAN, pick, round_to_int, scale_by_power, split_exponent, two_sum
from jitnet.codegen.scalar import F32, F64, define

# log2((1 + s) / (1 - s)) = s (C0 + z (C1 + z q(z))), z = s^2, |s| <= 0.1716; 2^-73
C0_HI, C0_LO = 2.8853900817779268, 4.0710547481862066e-17
C1_HI, C1_LO = 0.9617966939259756, 5.0577616648125907e-17
LOG2_TAIL = (0.17281544736901944, 0.1684518035337569, 0.1924013045750328, 0.2219522709070992, 0.2623081986487246,
             0.32059889791286356, 0.41219858311134544, 0.5770780163555851)
# the same whole, for f32: 2^-45; and 2^r, |r| <= 1/2: 2^-34.5
LOG2_SHORT = (0.282900468391302, 0.3199057236108106, 0.41220925012522114, 0.5770779424052936, 0.9617966941131963,
              2.88539008177785)
EXP2_SHORT = (1.5204239853014012e-05, 0.00015469543719245324, 0.0013333915365684268, 0.009618026469040229, 0.055504103581233206,
              0.2402265120394286, 0.6931471807283239, 0.9999999999611089)
ROOT_HALF = 0.7071067811865476


def log2_double(x):
    """log2(x) as high + low to about 2^-66, for positive finite f64 x (a double-double atanh series)."""
    e, m = split_exponent(x, ROOT_HALF)
    f = m - 1
    d = f + 2
    d_low = f - (d - 2)
    inverse = 1 / d
    s = f * inverse
    s_low = ((-s).fma(d, f) - s * d_low) * inverse
    z = s * s
    z_low = s.fma(s, -z) + 2 * s * s_low
    # t = z (C1 + z q(z)) as a double-double: its first product needs more than 53 bits
    tail = z * z.poly(*LOG2_TAIL)
    c = tail + C1_HI
    c_low = (tail - (c - C1_HI)) + C1_LO
    t = c * z
    t_low = c.fma(z, -t) + (c * z_low + c_low * z)
    # u = C0 + t
    u = t + C0_HI
    u_low = (t - (u - C0_HI)) + (t_low + C0_LO)
    p = u * s
    p_low = u.fma(s, -p) + (u * s_low + u_low * s)
    high, low = two_sum(e, p)
    return high, low + p_low


def power_f64(x, y):
    """x^y for positive finite x, overflow to infinity and underflow through subnormals included."""
    log_high, log_low = log2_double(x)
    high = y * log_high
    low = y.fma(log_high, -high) + y * log_low
    far = high.abs() > 2000.0
    low = far.where(x.const(0), low)
    high = far.where(x.const(2000.0).copysign(high), high)
    n, bits = round_to_int(high.clamp(-1076.0, 1025.0), 1.0)
    r = (high.clamp(-1076.0, 1025.0) - n) + low
    return scale_by_power(r.fma(r.poly(*EXP2_F64), 1), bits)


def power_f32(x, y):
    """The same for f32, in f64, where a short series is enough and the last rounding deals with subnormals."""
    e, m = split_exponent(x, ROOT_HALF)
    f = (m - 1).to(F64)
    s = f / (f + 2)
    z = s * s
    t = s.fma(z.poly(*LOG2_SHORT), e.to(F64)) * y.to(F64)
    n, bits = round_to_int(t.clamp(-160.0, 130.0), 1.0)
    r = t.clamp(-160.0, 130.0) - n
    scale = ((bits - (0x4338000000000000 - 1023)) << 52).from_bits()
    return (r.poly(*EXP2_SHORT) * scale).to(F32)


@define("pow", "f32", "f64")
def power(x, y):
    """x^y with IEEE 754's special cases (C99 F.10.4.4)."""
    a = x.abs()
    # `a < INF` would become a test of the class of bits, with a constant of all ones that LLVM makes anew in each round of the
    # loop, from a register that the round before wrote: twice the time.
    regular = (a > 0) & (a <= pick(x, 3.4028234663852886e38, 1.7976931348623157e308))
    out = pick(x, power_f32, power_f64)(regular.where(a, 1.0), (y.abs() < INF).where(y, 0.0))
    # |x| is 0 or infinity, or |y| infinity: 0, 1 or infinity
    grows = (a > 1) ^ (y < 0)
    extreme = grows.where(x.const(INF), 0.0)
    out = (regular & (y.abs() < INF)).where(out, extreme)
    whole = y.rint().eq(y)
    half = y * 0.5
    odd = whole & half.rint().ne(half)
    negative = x.to_bits() < 0
    out = (negative & odd).where(-out, out)
    out = ((x < 0) & (x > -INF) & (whole ^ True)).where(x.const(NAN), out)
    out = (x.ne(x) | y.ne(y)).where(x + y, out)
    one = x.eq(1) | y.eq(0) | (x.eq(-1) & y.abs().eq(INF))
    return one.where(x.const(1), out)


@define("cbrt", "f32", "f64")
def cbrt(x):
    """x y^2 with y = x^(-1/3) from the exponent and two steps of Householder's iteration; a last Newton step with fma."""
    a = x.abs()
    tiny_limit, up, down = pick(x, (2.0 ** -126, 2.0 ** 24, 2.0 ** -8), (2.0 ** -1022, 2.0 ** 54, 2.0 ** -18))
    tiny = a < tiny_limit
    a = tiny.where(a * up, a)
    bits = a.to_bits()
    if x.type == F32:
        y = (0x548C2B4B - (bits.to(F32) * (1.0 / 3.0)).to(bits.type)).from_bits()
    else:  # on the upper half of the bits, through the low bits of 2^52
        upper = ((bits >> 32) | 0x4330000000000000).from_bits() - 4503599627370496.0
        third = upper.fma(1.0 / 3.0, 6755399441055744.0).to_bits()
        y = ((0x553EF0FF - third) << 32).from_bits()
    h = (-a * y).fma(y * y, 1)
    y = (y * h).fma(h.poly(14.0 / 81.0, 2.0 / 9.0, 1.0 / 3.0), y)
    h = (-a * y).fma(y * y, 1)
    y = (y * h).fma(h.poly(*pick(x, (2.0 / 9.0, 1.0 / 3.0), (14.0 / 81.0, 2.0 / 9.0, 1.0 / 3.0))), y)
    square = y * y
    c = a * square
    c2 = c * c
    error = c2.fma(c, -a) + c.fma(c, -c2) * c
    c = (-error).fma(square * (1.0 / 3.0), c)
    c = tiny.where(c * down, c).copysign(x)
    return ((a > 0) & (a < INF)).where(c, x)


@define("hypot", "f32", "f64")
def hypot(x, y):
    """sqrt(x^2 + y^2) from exact squares; infinite if either is, even beside NaN."""
    a, b = x.abs(), y.abs()
    p, q = (a > b).where(a, b), (a > b).where(b, a)
    large, down, up = pick(x, (2.0 ** 60, 2.0 ** -70, 2.0 ** 70), (2.0 ** 500, 2.0 ** -600, 2.0 ** 600))
    is_large, is_small = p > large, p < 1 / large
    scale = is_large.where(p.const(down), is_small.where(p.const(up), 1.0))
    back = is_large.where(p.const(up), is_small.where(p.const(down), 1.0))
    p, q = p * scale, q * scale
    p2, q2 = p * p, q * q
    total = p2 + q2
    low = ((p2 - total) + q2) + (p.fma(p, -p2) + q.fma(q, -q2))
    root = total.sqrt()
    root = ((-root).fma(root, total) + low) / (root + root) + root
    root = total.eq(0).where(p.const(0), root) * back
    infinite = a.eq(INF) | b.eq(INF)
    return infinite.where(x.const(INF), (x.ne(x) | y.ne(y)).where(x + y, root))
