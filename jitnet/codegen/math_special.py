"""erf, erfc, erfinv, lgamma and digamma as straight-line Scalar code."""
from jitnet.codegen.math_exp import (
    EXP2_F32,
    EXP2_F64,
    EXP_F64,
    INF,
    LN2_HI,
    LN2_LO,
    LOG2_E,
    NAN,
    log_from,
    pick,
    round_to_int,
    scale_by_power,
    split_bits,
    two_sum,
)
from jitnet.codegen.math_power import EXP2_SHORT
from jitnet.codegen.math_trig import reduce_fast, sin_from
from jitnet.codegen.rare import call_rare
from jitnet.codegen.scalar import F32, F64, call, define

# erf(x) = x + x p(x^2), |x| <= 1; 2^-29.4 and 2^-56
ERF_F32 = (7.8098019e-05, -0.00079984474, 0.00518720038, -0.0268533546, 0.112835787, -0.37612626, 0.128379166)
ERF_F64 = (1.4834916542225964e-10, -1.6734754455756935e-09, 1.607752705679979e-08, -1.6565822927977636e-07,
           1.6481793351767553e-06, -1.492692168053707e-05, 0.00012055387625460332, -0.0008548328568179222,
           0.005223977653131349, -0.026866170648062775, 0.11283791670971188, -0.376126389031841, 0.1283791670955126)
# log2(erfc(a)) = p(a), 0.92 <= a <= 3.93, and p(a - 1), 1 <= a <= 5.93; the error of erfc is 2^-28.8 and 2^-56.5
ERF_TAIL_F32 = (0.000280768407, -0.00437238673, 0.0319973417, -0.149803013, -0.919411838, -1.62680495, -0.000302613567)
ERF_TAIL_F64 = (-7.002350569768076e-12, 1.7180337091275225e-10, -1.8997620814774317e-09, 1.2271397724989876e-08,
                -4.810417011697607e-08, 8.351301403059683e-08, 2.958178755168101e-07, -3.0761989976199446e-06,
                1.395330904617252e-05, -3.9240162052105144e-05, 3.793776090257861e-05, 0.0003423751755071293,
                -0.002853508257901511, 0.014475749824192412, -0.059959990014417944, -1.2163466576872344, -3.807225345853586,
                -2.6684166967815997)
# erfc(a) exp(a^2) (1 + 2 a) = p((a - 4) / (a + 4)); 0 <= a <= 10.1: 2^-26.1, 0 <= a <= 27.3: 2^-54.6 (after M. Shepherd)
ERFC_F32 = (0.0008853192049769303, 0.007026178070446414, -0.01588883173720789, 0.03642354848704163, -0.06663837563521878,
            0.09381755688892028, -0.10099072146507419, 0.06809370827511255, 0.015377378945011295, -0.1396210730165757,
            1.2329951350766213)
ERFC_F64 = (-1.5432943665282036e-09, -1.31205425162682e-08, -8.558351663002694e-09, 1.1311904755942661e-07,
            6.343545566272858e-08, -8.314773509512566e-07, 3.015217437593165e-07, 5.71457367591712e-06,
            -1.122550419280891e-05, -2.4401367986752946e-05, 0.00015062278829760202, -0.0001992561229736814,
            -0.0007577735526863775, 0.0050319698880609675, -0.016197734012427287, 0.0371675155452863, -0.06633036581733771,
            0.09373283499803864, -0.10103906603598165, 0.0680970542546959, 0.015379652102611167, -0.1396211168405625,
            1.2329951186255526)


@define("erf", "f32", "f64")
def erf(x):
    """x + x p(x^2) near 0, beyond 1 one minus 2^p(|x|)."""
    a = x.abs()
    z = x * x
    near = x.fma(z.poly(*pick(x, ERF_F32, ERF_F64)), x)
    limit = pick(x, 3.93, 5.93)
    b = (a > limit).where(x.const(limit), a)
    t = b.poly(*ERF_TAIL_F32) if x.type == F32 else (b - 1).poly(*ERF_TAIL_F64)
    n, bits = round_to_int(t, 1.0)
    r = t - n
    magic_bits, bias, mantissa = pick(x, (0x4B400000, 127, 23), (0x4338000000000000, 1023, 52))
    power = ((bits - (magic_bits - bias)) << mantissa).from_bits()
    tail = r.fma(r.poly(*pick(x, EXP2_F32, EXP2_F64)), 1)
    far = (-tail).fma(power, 1)
    return x.ne(x).where(x, (a < 1).where(near, far.copysign(x)))


@define("erfc", "f64")
def erfc(x):
    """exp(-a^2) times a polynomial over 1 + 2 a, both to a little more than 53 bits; 2 minus that for negative x."""
    a = x.abs()
    a = (a > 27.3).where(x.const(27.3), a)
    square = a * a
    lost = a.fma(a, -square)
    n, bits = round_to_int(-square, LOG2_E)
    start = (-n).fma(LN2_HI, -square)
    r = (-n).fma(LN2_LO, start)
    tail = (r * r).fma(r.poly(*EXP_F64), (-n).fma(LN2_LO, start - r))
    e, e_low = two_sum(r, tail)
    e_high = e + 1
    e_low = e_low + (e - (e_high - 1)) - lost * e_high
    p = ((a - 4) / (a + 4)).poly(*ERFC_F64)
    d = a.fma(2, 1)
    d_low = 2 * a - (d - 1)
    inverse = 1 / d
    q = p * inverse
    q_low = ((-q).fma(d, p) - q * d_low) * inverse
    product = q * e_high
    low = q.fma(e_high, -product) + q.fma(e_low, q_low * e_high)
    # for x < 0 the result is 2 - y, y not yet rounded
    positive = scale_by_power(product + low, bits)
    y = scale_by_power(product, bits)
    negative = 2 - y
    negative = negative + (((2 - negative) - y) - scale_by_power(low, bits))
    # near 0: 1 - (x + x p(x^2))
    z = x * x
    high = 1 - x
    near = high + (((1 - high) - x) - x * z.poly(*ERF_F64))
    return x.ne(x).where(x, (x.abs() < 0.5).where(near, (x < 0).where(negative, positive)))


@define("erfc", "f32")
def erfc_f32(x):
    """The same in f64, where short polynomials are enough."""
    a = x.abs().to(F64)
    a = (a > 10.2).where(a.const(10.2), a)
    t = a * a * -LOG2_E
    n, bits = round_to_int(t, 1.0)
    scale = ((bits - (0x4338000000000000 - 1023)) << 52).from_bits()
    u = (a - 4) / (a + 4)
    y = u.poly(*ERFC_F32) / a.fma(2, 1) * ((t - n).poly(*EXP2_SHORT) * scale)
    return x.ne(x).where(x, (x < 0).where(2 - y, y).to(F32))


# erfinv(x) = x p(w - 2.5), w < 5, and x p(sqrt(w) - 3); 2^-24.6 and 2^-26.8
ERFINV_NEAR_F32 = (-8.12447354e-09, 2.7784175e-08, 4.5784131e-07, -3.51944595e-06, -4.93070866e-06, 0.000218565197,
                   -0.00125278323, -0.00417766068, 0.246640295, 1.50140941)
ERFINV_FAR_F32 = (0.000130712942, -0.00031644039, -8.26618925e-05, 0.00149275153, -0.00358154112, 0.00568474783, -0.00764114782,
                  0.00944534317, 1.00167525, 2.83297682)
# w < 6.25: p(w - 3.125); sqrt(w) = s < 4: p(s - 3.25); above: p(s - 5); 2^-56, 2^-55, 2^-53.9
ERFINV_MIDDLE_F64 = (-1.6196741699676875e-08, 5.100806102246528e-10, 1.3393366429247054e-07, -2.706910917844053e-07,
                     -3.019579857000364e-08, 1.4978072338828198e-06, -3.984176952902449e-06, 2.9263866806195114e-06,
                     1.246450033637587e-05, -4.731925842119182e-05, 6.828722384138333e-05, 2.4031324127968085e-05,
                     -0.0003550378256031642, 0.00095328935440696, -0.0016882755348389795, 0.0024914420976545797,
                     -0.0037512085082322287, 0.005370914553551439, 1.0052589676941652, 3.0838856104922208)
ERFINV_FAR_F64 = (4.0567272807130146e-11, -2.605949496575543e-11, -4.286269214286181e-10, 1.5025055714108024e-09,
                  -3.485256249576075e-09, 7.625919072763737e-09, -1.5243953278660534e-08, 2.913739581219483e-08,
                  -6.756098572243014e-08, 2.2901090836602022e-07, -9.9302831001677e-07, 4.526060657474058e-06,
                  -1.968177081058361e-05, 7.599527734619837e-05, -0.00021503011982383527, -0.00013871931835801216,
                  1.0103004648645453, 4.849906401408584)
ERFINV_NEAR_F64 = (-2.977881030843281e-22, 3.2589809420959996e-21, 1.6393849026325386e-20, -3.5106552747408447e-19,
                   6.996815418437841e-19, 1.5603538745033006e-17, -1.2351489117708528e-16, -4.0725349489809636e-17,
                   6.534065113835915e-15, -4.0008125834515095e-14, -8.079841903075003e-14, 2.6304566728817425e-12,
                   -1.2978474590843894e-11, -5.414276031639964e-11, 1.051222455522894e-09, -4.112661121054205e-09,
                   -2.907038961130753e-08, 4.2347881787569805e-07, -1.3654691777256067e-06, -1.3882523394856513e-05,
                   0.00018673420802095496, -0.0007407025341543018, -0.006033670871427174, 0.2401581824255883,
                   1.6536545626831027)


@define("erfinv", "f32", "f64")
def erfinv(x):
    """x p(w), w = -log(1 - x^2), or p(sqrt(w)) where w is large (M. Giles); NaN outside [-1, 1]."""
    e, m = split_bits((-x).fma(x, 1), pick(x, 2.0 / 3.0, 0.7071067811865476))
    w = -log_from(e, m - 1)
    limit = pick(x, 5.0, 6.25)
    near = (w - limit / 2).poly(*pick(x, ERFINV_NEAR_F32, ERFINV_NEAR_F64))
    s = w.sqrt()
    if x.type == F32:
        far = (s - 3).poly(*ERFINV_FAR_F32)
    else:
        far = (s < 4).where((s - 3.25).poly(*ERFINV_MIDDLE_F64), (s - 5).poly(*ERFINV_FAR_F64))
    a = x.abs()
    out = x * (w < limit).where(near, far)
    return (a < 1).where(out, a.eq(1).where(x * INF, x.const(NAN)))


# lgamma and digamma on [1, 2] about 1.5, and their asymptotic series beyond 8 and 10 in powers of 1 / x^2
LGAMMA = (-5.228021342281043e-06, 3.4393982150322207e-06, -1.1525850879567031e-05, 2.4109214912134837e-05,
          -2.5514971105511394e-05, 3.719610629562919e-05, -6.663785699041771e-05, 0.00010707994211991924,
          -0.0001688295892989487, 0.00027100519511791043, -0.00043800276096074895, 0.0007115532626288885,
          -0.0011644139398251723, 0.0019229140026935164, -0.0032120740981740393, 0.005446457928909572, -0.0094256224480647,
          0.01679709862949851, -0.03130848750101377, 0.06291140107457804, -0.14595989591430608, 0.4831289505409809)
DIGAMMA = (-0.00017777777178938387, 0.00026679267578199906, -0.00014545120509542513, 0.00021799579765193174,
           -0.0004855429685867261, 0.0007284611577900763, -0.0010366041027898539, 0.0015550388450578704, -0.002345462399447656,
           0.0035193082044400067, -0.005279941869924466, 0.007926908747875553, -0.011908219683567228, 0.017907255091483873,
           -0.02697579668380603, 0.040760833696501575, -0.06192213327469921, 0.09498872445763977, -0.14840492305389386,
           0.24054248424074762, -0.4236274212814605, 0.951055876031833)
STIRLING = (0.004459316631316247, -0.0018621884606777172, 0.0008409794968404176, -0.0005952326586480366, 0.000793650775587453,
            -0.0027777777777553193, 0.08333333333333333)
DIGAMMA_TAIL = (0.061671401123680164, -0.020670467894108337, 0.007571810432651718, -0.00416664817713106, 0.003968253927490147,
                -0.008333333333299596, 0.08333333333333333)
DIGAMMA_ROOT, DIGAMMA_ROOT_LOW = 1.4616321449683622, 9.549995429965697e-17
PI = 3.141592653589793


def lgamma_positive(x):
    """log Gamma(x) for x >= 0: by (y - 1)(y - 2) p(y) with y in [1, 2] up to 8, by Stirling's series beyond."""
    below = x < 1
    y = below.where(x.const(1), x)
    product = x.const(1)
    for _ in range(6):
        down = y > 2
        less = y - 1
        product = down.where(product * less, product)
        y = down.where(less, y)
    # y - 1, y - 2 and y - 3/2, for y = x + 1 without forming it
    d = below.where(x, y - 1)
    near = d * (d - 1) * (d - 0.5).poly(*LGAMMA)
    large = x >= 8
    log = call("log", "f64", below.where(x, large.where(x, product)))
    near = near + below.where(-log, log)
    w = 1 / x
    series = w * (w * w).poly(*STIRLING)
    far = (x - 0.5).fma(log - 1, series + 0.4189385332046727)
    return (x < INF).where(large.where(far, near), x)


def sin_and_cos_pi(x):
    """(sin(pi x), cos(pi x)) for any finite f64 x."""
    r = x - 2 * (x * 0.5).rint()
    # |r| <= 1: near 1 both come from 1 - |r|, which is exact
    a = r.abs()
    folded = (a > 0.5).where(1 - a, a)
    reduced = reduce_fast(folded * PI)
    sine, cosine = sin_from(*reduced, 0), sin_from(*reduced, 1)
    return sine.copysign(r), (a > 0.5).where(-cosine, cosine)


def lgamma_negative(x):
    """By reflection: log(pi / (a |sin(pi a)|)) - lgamma(a), a = -x; infinite at whole numbers."""
    a = -x
    sine = sin_and_cos_pi(a)[0].abs()
    tiny = a < 1e-20  # then a |sin(pi a)| would vanish
    log = call("log", "f64", tiny.where(a, x.const(PI) / (a * sine)))
    out = tiny.where(-log, log - lgamma_positive(a))
    out = a.rint().eq(a).where(x.const(INF), out)
    return (a < INF).where(out, x)


@define("lgamma", "f64")
def lgamma(x):
    return call_rare("lgamma", -x, 0.0, lgamma_positive(x), lgamma_negative, x)


def digamma_positive(x):
    """psi(x), x >= 0: (y - root) p(y) with y in [1, 2] plus a sum of fractions up to 10, the asymptotic series beyond."""
    below = x < 1
    y = below.where(x.const(1), x)
    top, bottom = x.const(0), x.const(1)
    for _ in range(8):  # top / bottom + 1 / (y - 1)
        down = y > 2
        less = y - 1
        top = down.where(top.fma(less, bottom), top)
        bottom = down.where(bottom * less, bottom)
        y = down.where(less, y)
    d = below.where(x, y - 1)
    near = ((d - (DIGAMMA_ROOT - 1)) - DIGAMMA_ROOT_LOW) * (d - 0.5).poly(*DIGAMMA)
    large = x >= 10
    top = below.where(x.const(-1), large.where(x.const(-0.5), top))
    bottom = (below | large).where(x, bottom)
    extra = top / bottom
    w = 4 * extra * extra
    far = call("log", "f64", x) - w * w.poly(*DIGAMMA_TAIL)
    return (x < INF).where(large.where(far, near) + extra, x)


def digamma_negative(x):
    """psi(1 - x) - pi / tan(pi x), as psi(a) + 1 / a + pi cos(pi a) / sin(pi a) with a = -x; NaN at whole numbers."""
    a = -x
    sine, cosine = sin_and_cos_pi(a)
    out = digamma_positive(a) + (1 / a + PI * cosine / sine)
    return (a.rint().eq(a) | ((a < INF) ^ True)).where(x.const(NAN), out)


@define("digamma", "f64")
def digamma(x):
    return call_rare("digamma", -x, 0.0, digamma_positive(x), digamma_negative, x)


@define("lgamma", "f32")
def lgamma_f32(x):
    return call("lgamma", "f64", x.to(F64)).to(F32)


@define("digamma", "f32")
def digamma_f32(x):
    return call("digamma", "f64", x.to(F64)).to(F32)
