"""Payne and Hanek's reduction of any finite x modulo pi / 2, in integers as wide as it takes."""
from llvmlite import ir

from jitnet.codegen.scalar import F64, I64

# 2 / pi, 64 bits a word, after 64 zero bits
TWO_OVER_PI_WORDS = (
    0x0000000000000000, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0,
    0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4, 0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA,
    0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB, 0xF0CFBC209AF4361D)
HALF_PI_HI, HALF_PI_LO = float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54")
I192, I256 = ir.IntType(192), ir.IntType(256)


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


def reduce_huge(x):
    """(r, rest, quadrant): |x| = n pi/2 + r + rest with x's sign on r and rest, n mod 4 in quadrant; f64 |x| >= 2^10.

    With x = m 2^e, the bits of 2/pi above weight 2^(2 - e) give multiples of 4 and are skipped; the next 192 times m hold
    two bits of quadrant and 190 of fraction, of which at most 62 cancel.
    """
    b = x.builder
    bits = x.to_bits()
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    start = ((bits >> 52) & 0x7FF) - (1075 + 2 - 64)  # first bit of the window, counted in the table
    start = (start < 0).where(start.const(0), start)
    words = table(b.module)
    window = x.new(ir.Constant(I256, 0))
    for k in range(4):
        pointer = b.gep(words, [I64(0), ((start >> 6) + k).value])
        window = (window << 64) | x.new(b.load(pointer)).zext(I256)
    window = x.new(b.trunc(((window << (start & 63).zext(I256)) >> 64).value, I192))
    product = window * m.zext(I192)
    quadrant = x.new(b.trunc(((product + (1 << 189)) >> 190).value, I64))
    fraction = product << 2  # signed, in units of 2^-192 of a quarter turn
    negative = fraction < 0
    fraction = negative.where(-fraction, fraction)
    shift = x.new(b.ctlz(fraction.value, ir.IntType(1)(0)))
    top = fraction << shift
    high = x.new(b.trunc((top >> (192 - 53)).value, I64)).to(F64)
    low = x.new(b.trunc(((top >> (192 - 106)) & ((1 << 53) - 1)).value, I64)).to(F64) * 2.0 ** -53
    exponent = x.new(b.trunc(shift.value, I64))
    scale = ((1023 - 53 - exponent) << 52).from_bits()
    scale = (negative ^ (bits < 0)).where(-scale, scale)
    high, low = high * scale, low * scale
    r = high * HALF_PI_HI
    rest = high.fma(HALF_PI_HI, -r) + high.fma(HALF_PI_LO, low * HALF_PI_HI)
    quadrant = (bits < 0).where(-quadrant, quadrant)
    finite = x.abs() < float("inf")
    return finite.where(r, x - x), rest, quadrant
