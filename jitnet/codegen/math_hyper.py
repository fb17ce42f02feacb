"""Hyperbolic functions, sigmoid, softplus and logaddexp as straight-line Scalar code."""
from jitnet.codegen.math_exp import EXP_F32, EXP_F64, exp_reduced, pick
from jitnet.codegen.scalar import F32, call, define

# tanh(x) = x + x z p(z), z = x^2, |x| <= 0.625; 2^-27.8
TANH_F32 = (-0.00571577856, 0.0206492878, -0.0537430346, 0.133314848, -0.333332837)
# tanh(x) = x + x z P(z) / Q(z), |x| <= 0.625 (Cephes, tanh.c)
TANH_P = (-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
TANH_Q = (1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)


def small_exp(x):
    """exp(x) for |x| so small that 2^n is a normal number."""
    r, bits = exp_reduced(x)
    magic_bits, bias, mantissa = pick(x, (0x4B400000, 127, 23), (0x4338000000000000, 1023, 52))
    power = ((bits - (magic_bits - bias)) << mantissa).from_bits()
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
        far = (1 - 2 / e1)
        return small.where(near, far.copysign(x))
    # one division serves both
    q = small.where(z * z.poly(*TANH_P), x.const(-2.0)) / small.where(z.poly(*TANH_Q), e1)
    base = small.where(a, x.const(1.0))
    return q.fma(base, base).copysign(x)


@define("sigmoid", "f32", "f64")
def sigmoid(x):
    """1 / (1 + exp(-x)), with exp(x) on top where x is negative, so that tiny results keep their bits."""
    e = call("exp", pick(x, "f32", "f64"), -x.abs())
    return (x < 0).where(e, 1.0) / (e + 1)


@define("softplus", "f32", "f64")
def softplus(x):
    """log(1 + exp(x))."""
    dtype = pick(x, "f32", "f64")
    tail = call("log1p", dtype, call("exp", dtype, -x.abs()))
    return (x > 0).where(x, 0.0) + tail


@define("logaddexp", "f32", "f64")
def logaddexp(x, y):
    """log(exp(x) + exp(y))."""
    dtype = pick(x, "f32", "f64")
    top = (x > y).where(x, y)
    gap = (x.eq(y)).where(x.const(0.0), x - y)  # inf - inf
    return top + call("log1p", dtype, call("exp", dtype, -gap.abs()))
