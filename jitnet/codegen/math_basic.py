"""Rounding, signs, comparison, division with remainder, shifts: exact functions of floats and integers.

Integers follow NumPy: division by zero gives 0, a shift by the width or more gives 0 (or the sign), results wrap.
"""
from jitnet.codegen.cast import cast
from jitnet.codegen.math_exp import INF, NAN, pick, split_exponent
from jitnet.codegen.names import FLOATS, HALVES, SIGNED, UNSIGNED
from jitnet.codegen.rare import call_rare
from jitnet.codegen.scalar import CUDA, F64, call, define

for _name, _op in (("sqrt", "sqrt"), ("floor", "floor"), ("ceil", "ceil"), ("trunc", "trunc"), ("rint", "rint"),
                   ("fabs", "fabs"), ("abs", "fabs")):
    define(_name, *FLOATS)(lambda x, op="llvm." + _op: x.intrinsic(op))
define("floor", *SIGNED, *UNSIGNED)(lambda x: x)
define("ceil", *SIGNED, *UNSIGNED)(lambda x: x)
define("trunc", *SIGNED, *UNSIGNED)(lambda x: x)
define("rint", *SIGNED, *UNSIGNED)(lambda x: x)
define("abs", *UNSIGNED)(lambda x: x)
define("abs", *SIGNED)(lambda x: (x < 0).where(-x, x))
define("fma", *FLOATS)(lambda x, y, z: x.fma(y, z))
define("copysign", *FLOATS)(lambda x, y: x.copysign(y))
define("rsqrt", *FLOATS)(lambda x: 1 / x.sqrt())
define("isnan", *FLOATS, result="b1")(lambda x: x.ne(x))
define("isinf", *FLOATS, result="b1")(lambda x: x.abs().eq(INF))
define("isfinite", *FLOATS, result="b1")(lambda x: x.abs() < INF)
define("signbit", *FLOATS, result="b1")(lambda x: x.to_bits() < 0)
for _float, _int in (("f32", "i32"), ("f64", "i64")):
    define("to_bits", _float, result=_int)(lambda x: x.to_bits())
    define("from_bits", _int, result=_float)(lambda x: x.from_bits())
define("sign", *FLOATS)(lambda x: (x > 0).where(x.const(1), (x < 0).where(x.const(-1), zero_or_nan(x))))
define("sign", *SIGNED)(lambda x: (x > 0).where(x.const(1), (x < 0).where(x.const(-1), x.const(0))))
define("sign", *UNSIGNED)(lambda x: x.ne(0).where(x.const(1), x.const(0)))


def zero_or_nan(x):
    """0 for any zero, NaN for NaN: NumPy's sign of -0 is 0."""
    return x.eq(0).where(x.const(0), x)


@define("maximum", *FLOATS)
def maximum(x, y):
    """NaN if either is; of zeros of both signs the second, as NumPy's vector code. Three instructions."""
    return x.ne(x).where(x, (x > y).where(x, y))


@define("minimum", *FLOATS)
def minimum(x, y):
    return x.ne(x).where(x, (x < y).where(x, y))


@define("fmax", *FLOATS)
def fmax(x, y):
    """The other one where one is NaN."""
    return y.ne(y).where(x, (x > y).where(x, y))


@define("fmin", *FLOATS)
def fmin(x, y):
    return y.ne(y).where(x, (x < y).where(x, y))


for _name, _signed, _unsigned in (("max", "llvm.smax", "llvm.umax"), ("min", "llvm.smin", "llvm.umin")):
    for _alias in (_name + "imum", "f" + _name):
        define(_alias, *SIGNED)(lambda x, y, op=_signed: x.intrinsic(op, y))
        define(_alias, *UNSIGNED, "b1")(lambda x, y, op=_unsigned: x.intrinsic(op, y))


@define("nextafter", *FLOATS)
def nextafter(x, y):
    """The neighbour of x towards y: as signed integers, floats are ordered by magnitude."""
    bits = x.to_bits()
    away = (x < y).eq(x > 0)
    stepped = (bits + away.where(bits.const(1), -1)).from_bits()
    smallest = bits.const(1).from_bits().copysign(y)
    moved = x.eq(0).where(smallest, stepped)
    return x.eq(y).where(y, (x.ne(x) | y.ne(y)).where(x + y, moved))


for _half in HALVES:
    @define("nextafter", _half)
    def nextafter_half(bits, towards, dtype=_half):
        """The same for a half, on its bits: float32 has more neighbours."""
        x, y = cast(bits, dtype, "f32"), cast(towards, dtype, "f32")
        away = (x < y).eq(x > 0)
        stepped = bits + away.where(bits.const(1), -1)
        moved = x.eq(0).where(towards & 0x8000 | 1, stepped)
        return x.eq(y).where(towards, (x.ne(x) | y.ne(y)).where(bits.const(0x7fc0), moved))


@define("ldexp", *FLOATS)
def ldexp(x, n):
    """x * 2^n for a whole float n, rounded once: the exponents are added first."""
    limit, magic, mantissa, bias = pick(x, (400, 12582912.0, 23, 127), (4400, 6755399441055744.0, 52, 1023))
    e, m = split_exponent(x.abs(), 1.0)
    e = (e + n.clamp(-limit, limit)).clamp(-bias - mantissa - 2, bias + 2)
    half = (e * 0.5).rint()
    out = m
    for part in (half, e - half):
        out = out * ((part + (magic + bias)).to_bits() << mantissa).from_bits()
    keep = x.eq(0) | ((x.abs() < INF) ^ True)
    return keep.where(x, n.ne(n).where(n, out.copysign(x)))


# fmod and what follows from it


def fmod_rare(x, y):
    """fmod for quotients beyond the mantissa: long division, about 50 bits of the quotient at a time (a loop: scalar only)."""
    b = x.builder
    a, d = x.abs().to(F64), y.abs().to(F64)
    start, loop, done = b.block, b.append_basic_block("loop"), b.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    r = x.new(b.phi(F64))
    r.value.add_incoming(a.value, start)
    # d * 2^k with k such that the quotient stays below 2^50; both may be subnormal, so exponents come from scaled values
    ratio_bits = exponent(r) - exponent(d)
    k = ratio_bits - 50
    k = (k < 0).where(k.const(0), k)
    big = power_of_two(d, k)
    rest = (-(r / big).intrinsic("llvm.trunc")).fma(big, r)
    rest = (rest < 0).where(rest + big, rest)
    r.value.add_incoming(rest.value, loop)
    b.cbranch((rest >= d).value, loop, done)
    b.position_at_end(done)
    out = rest.to(x.type).copysign(x)
    bad = (x.abs() < INF) & y.ne(0) & y.eq(y)
    return bad.where(out, NAN)


def exponent(x):
    """The exponent of positive f64 x, as i64; of a subnormal too."""
    tiny = x < 2.0 ** -1022
    bits = tiny.where(x * 2.0 ** 54, x).to_bits() >> 52
    return bits - tiny.where(bits.const(54), 0)


def power_of_two(x, k):
    """x * 2^k for 0 <= k < 2100, in three steps, each a normal power of two."""
    first = k >> 2
    step = ((first + 1023) << 52).from_bits()
    last = ((k - first * 3 + 1023) << 52).from_bits()
    return x * step * step * step * last


@define("fmod", *FLOATS)
def fmod(x, y):
    """x - trunc(x / y) y, exactly. The quotient fits the mantissa, or the lane goes the long way."""
    quotient = x / y
    r = (-quotient.intrinsic("llvm.trunc")).fma(y, x)
    # the rounded quotient may be one too large: then r has the wrong sign
    wrong = ((r < 0) & (x > 0)) | ((r > 0) & (x < 0))
    r = wrong.where(r + y.abs().copysign(x), r).copysign(x)
    small = x.abs() < y.abs()
    r = small.where(x, r)
    return call_rare("fmod", quotient.abs(), pick(x, 2.0 ** 22, 2.0 ** 51), r, fmod_rare, x, y)


def divmod_float(x, y):
    """(floor_divide, remainder) as NumPy's npy_divmod computes them."""
    mod = call("fmod", pick(x, *FLOATS), x, y)
    div = (x - mod) / y
    opposite = mod.ne(0) & ((y < 0) ^ (mod < 0))
    div = opposite.where(div - 1, div)
    zero = mod.eq(0)
    remainder = zero.where(x.const(0).copysign(y), opposite.where(mod + y, mod))
    whole = div.floor()
    whole = (div - whole > 0.5).where(whole + 1, whole)
    whole = div.eq(0).where(x.const(0).copysign(x / y), whole)
    by_zero = y.eq(0)
    return by_zero.where(x / y, whole), by_zero.where(mod, remainder)


define("floor_divide", *FLOATS)(lambda x, y: divmod_float(x, y)[0])
define("remainder", *FLOATS)(lambda x, y: divmod_float(x, y)[1])


# integers


def int_divide(x, y, signed):
    """(quotient, rest, safe): truncated division where it is defined, with 1 in place of a divisor that is not."""
    b = x.builder
    bad = y.eq(0)
    if signed:  # the smallest number / -1 overflows
        bad = bad | (y.eq(-1) & x.eq(1 << (x.bits - 1)))
    safe = bad.where(y.const(1), y)
    divide, rest = (b.sdiv, b.srem) if signed else (b.udiv, b.urem)
    return x.new(divide(x.value, safe.value)), x.new(rest(x.value, safe.value)), y.ne(0)


def signed_floor_divide(x, y):
    quotient, rest, defined = int_divide(x, y, True)
    down = rest.ne(0) & ((rest ^ y) < 0)
    return defined.where(down.where(quotient - 1, quotient), 0)


def signed_remainder(x, y):
    _, rest, defined = int_divide(x, y, True)
    rest = y.eq(-1).where(x.const(0), rest)
    return defined.where((rest.ne(0) & ((rest ^ y) < 0)).where(rest + y, rest), 0)


def signed_fmod(x, y):
    _, rest, defined = int_divide(x, y, True)
    return (defined & y.ne(-1)).where(rest, 0)


define("floor_divide", *SIGNED)(signed_floor_divide)
define("remainder", *SIGNED)(signed_remainder)
define("fmod", *SIGNED)(signed_fmod)
for _name, _which in (("floor_divide", 0), ("remainder", 1), ("fmod", 1)):
    @define(_name, *UNSIGNED)
    def unsigned_divide(x, y, which=_which):
        parts = int_divide(x, y, False)
        return parts[2].where(parts[which], 0)


def in_two(x, n, shift):
    """A shift by half of n, then by the rest, with n at most the width: neither is too far.

    LLVM 22 takes a choice between one shift and 0 for the GPU's own shift, which gives 0 too, but looks at the low 32 bits of n
    alone: it shifts by 1 for an n of 2**32 + 1.
    """
    n = n.below(x.bits).where(n, x.bits)
    half = n >> 1
    return shift(shift(x, half), n - half)


@define("left_shift", *SIGNED, *UNSIGNED)
def left_shift(x, n):
    if x.target is CUDA:
        return in_two(x, n, lambda x, n: x << n)
    inside = n.below(x.bits)
    return inside.where(x << inside.where(n, 0), 0)


@define("right_shift", *UNSIGNED)
def right_shift(x, n):
    if x.target is CUDA:
        return in_two(x, n, lambda x, n: x >> n)
    inside = n.below(x.bits)
    return inside.where(x >> inside.where(n, 0), 0)


@define("right_shift", *SIGNED)
def arithmetic_right_shift(x, n):
    return x.sar(n.below(x.bits).where(n, x.bits - 1))


@define("pow", *UNSIGNED)
def unsigned_pow(x, n):
    """x^n by squaring, over all bits of n: wraps as NumPy's."""
    out = x.const(1)
    for bit in range(x.bits):
        out = (n & (1 << bit)).ne(0).where(out * x, out)
        x = x * x
    return out


@define("pow", *SIGNED)
def signed_pow(x, n):
    """x^n; for a negative n, where NumPy raises, the whole part: 0 but for the powers of 1 and -1, which the bits of n give."""
    power = unsigned_pow(x, n)
    return ((n < 0) & (x + 1).below(3).eq(0)).where(power.const(0), power)


def gcd_loop(x, y):
    """Euclid's algorithm on unsigned values (a loop: not vectorized)."""
    b = x.builder
    start, test, body, done = b.block, *(b.append_basic_block(n) for n in ("test", "body", "done"))
    b.branch(test)
    b.position_at_end(test)
    p, q = x.new(b.phi(x.type)), x.new(b.phi(x.type))
    b.cbranch(q.ne(0).value, body, done)
    b.position_at_end(body)
    rest = b.urem(p.value, q.value)
    for phi, first, again in ((p, x.value, q.value), (q, y.value, rest)):
        phi.value.add_incoming(first, start)
        phi.value.add_incoming(again, body)
    b.branch(test)
    b.position_at_end(done)
    return p


def magnitude(x, dtype):
    return (x < 0).where(-x, x) if dtype in SIGNED else x


for _dtype in SIGNED + UNSIGNED:
    @define("gcd", _dtype)
    def gcd(x, y, dtype=_dtype):
        return gcd_loop(magnitude(x, dtype), magnitude(y, dtype))

    @define("lcm", _dtype)
    def lcm(x, y, dtype=_dtype):
        x, y = magnitude(x, dtype), magnitude(y, dtype)
        divisor = call("gcd", dtype, x, y)
        divisor = divisor.eq(0).where(divisor.const(1), divisor)
        return x.new(x.builder.udiv(x.value, divisor.value)) * y
