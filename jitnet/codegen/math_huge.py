"""Payne and Hanek's reduction of any finite x modulo pi / 2, in integers of 128 bits."""
from llvmlite import ir

from jitnet.codegen.scalar import F64, I64

# 2 / pi, 64 bits a word, after 64 zero bits
TWO_OVER_PI_WORDS = (
    0x0000000000000000, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0,
    0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4, 0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA,
    0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB, 0xF0CFBC209AF4361D)
HALF_PI_HI, HALF_PI_LO = float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54")
I128 = ir.IntType(128)


def table(module):
    """The words as a constant of the module."""
    name = "jitnet.two_over_pi"
    found = module.globals.get(name)
    if found is None:
        kind = ir.ArrayType(I64, len(TWO_OVER_PI_WORDS))
        found = ir.GlobalVariable(module, kind, name)
        found.initializer = ir.Constant(kind, [w - (1 << 64) if w >> 63 else w for w in TWO_OVER_PI_WORDS])
        found.global_constant, found.linkage = True, "internal"
    return found


def wide_product(m, word):
    """The i128 product of two unsigned i64."""
    return m.zext(I128) * word.zext(I128)


def reduce_huge(x):
    """(r, rest, quadrant): |x| = n pi/2 + r + rest with x's sign on r and rest, n mod 4 in quadrant; f64 |x| >= 2^10.

    With x = m 2^e, the bits of 2/pi above weight 2^(2 - e) give multiples of 4 and are skipped; the next 192 times m hold
    two bits of quadrant and 190 of fraction, of which 126 are kept and at most 62 cancel.
    """
    b = x.builder
    bits = x.to_bits()
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    start = ((bits >> 52) & 0x7FF) - (1075 + 2 - 64)  # first bit of the window, counted in the table
    start = (start < 0).where(start.const(0), start)
    words = table(b.module)
    loaded = [x.new(b.load(b.gep(words, [I64(0), ((start >> 6) + k).value]))) for k in range(4)]
    fshl = b.module.declare_intrinsic("llvm.fshl", [I64], ir.FunctionType(I64, [I64] * 3))
    high, middle, low = (x.new(b.call(fshl, [loaded[k].value, loaded[k + 1].value, (start & 63).value])) for k in range(3))
    # m times the window modulo 2^192, without its lowest word
    product = wide_product(m, middle) + (wide_product(m, low) >> 64) + ((m * high).zext(I128) << 64)
    quadrant = ((product + (1 << 125)) >> 126).to(I64)
    fraction = product << 2  # signed, in units of 2^-128 of a quarter turn
    negative = fraction < 0
    fraction = negative.where(-fraction, fraction)
    shift = x.new(b.ctlz(fraction.value, ir.IntType(1)(0)))
    top = fraction << shift
    high = (top >> (128 - 53)).to(I64).to(F64)
    low = ((top >> (128 - 106)).to(I64) & ((1 << 53) - 1)).to(F64) * 2.0 ** -53
    scale = ((1023 - 53 - shift.to(I64)) << 52).from_bits()
    scale = (negative ^ (bits < 0)).where(-scale, scale)
    high, low = high * scale, low * scale
    r = high * HALF_PI_HI
    rest = high.fma(HALF_PI_HI, -r) + high.fma(HALF_PI_LO, low * HALF_PI_HI)
    quadrant = (bits < 0).where(-quadrant, quadrant)
    finite = x.abs() < float("inf")
    return finite.where(r, x - x), rest, quadrant
