"""Several numbers divided by one: a row by its sum, by its norm, by its deviation.

    inverse = inverse_(d)                                 once per row
    q0, q1 = quotients_((x0, x1), d, inverse)             x0 / d, x1 / d

A GPU divides by some twenty instructions, of which most are about the divisor. With inverse = (h, l, least), h + l = 1 / d
to twice the precision, a quotient takes four and a comparison:

    q = x h + x l,   r = q d - x,   q' = q - r h

q is within (1/2 + 2^-23) ULP of x / d, so r is exact, and q' is the nearest float (Markstein 1990): where x / d is nearest to
halfway between two floats, 1 / 2D ULP for the divisor's mantissa D in [2^23, 2^24), r h errs by less, (1/2 + 1 / 2D) D / 2^48.
Quotient and remainder have to be far from the smallest floats: |q'| >= least says so, and is false for NaN, which infinite
quotients become here. What is neither so nor 0 is divided as it always is, as are rows whose divisor is below 0 or far from 1.

    q0, q1 = quotients_f16_((x0, x1), d, inverse_f16_(d))           also bf16: of halves in float32, to be rounded to halves

A quotient of 11 bits by 11 is no nearer to the middle between two normal halves than 2^-23 of itself, for the middle times the
divisor has 23 bits; between subnormal ones it may be the middle. With h = 1 / d rounded towards zero and l what it lacks, x h +
x l is within 2^-24 of x / d, and exact where that is a float: so it is on the same side. l is never 0, and has h's sign: so
infinities and the signs of zeros come out right too. Of 8 bits, x h says as much for h = 1 / d rounded to nearest: 2^-17 lie
between quotients and middles, and the middles between subnormal halves lie among float32's subnormals, where it is exact. Rows
whose divisor is far from 1 are divided as ever.
"""
from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from .kernel_scope import scalars
from .scalar import F32

RANGE = {True: 60, False: 500}        # float32?: divisors between 2^-60 and 2^60
REMAINDER = {True: 101, False: 965}   # quotient times divisor that leaves a normal remainder: 2^-101 and more
NORMAL = {True: 100, False: 960}      # quotients from 2^-100 on, whose x l is as precise as it need be


def inverse_of(d) -> list:
    """(h, l, least) of a divisor; least is NaN where it says nothing."""
    single = d.type == F32
    high = d.const(1) / d
    low = (-high).fma(d, 1) * high
    least = high.abs() * 2.0 ** -REMAINDER[single]
    least = (least > 2.0 ** -NORMAL[single]).where(least, 2.0 ** -NORMAL[single])
    known = (d >= 2.0 ** -RANGE[single]) & (d <= 2.0 ** RANGE[single])
    return [high, low, known.where(least, float("nan"))]


def quotient(x, d, high, low):
    """x / d, where it is moderate."""
    q = x.fma(high, x * low)
    return (-q.fma(d, -x)).fma(high, q)


def all_of(conditions: list):
    """Whether all conditions hold."""
    result = conditions[0]
    for condition in conditions[1:]:
        result = result & condition
    return result


def quotients_of(xs: list, d, high, low, least) -> list:
    """The quotients of all xs; the road for those that are not moderate is one for all."""
    builder = d.builder
    usual = [quotient(x, d, high, low) for x in xs]
    known, moderate, start = least.eq(least), [q.abs() >= least for q in usual], builder.block
    with builder.if_then((~all_of(moderate)).value, likely=False):
        zero = [x.eq(0) & known for x in xs]
        or_zero, middle = [z.where(x, q) for z, x, q in zip(zero, xs, usual)], builder.block
        with builder.if_then((~all_of([m | z for m, z in zip(moderate, zero)])).value, likely=False):
            divided, end = [x / d for x in xs], builder.block
        rare, last = [either(builder, q, middle, r, end) for q, r in zip(or_zero, divided)], builder.block
    return [either(builder, q, start, r, last).value for q, r in zip(usual, rare)]


def inverse_of_half(d, bits: int) -> list:
    """(h, l) of a divisor that is a half of that many bits; h is NaN where it says nothing, l is used for 11 bits alone."""
    high = d.const(1) / d
    if bits == 11:
        high = ((-high).fma(d, 1) < 0).where((high.to_bits() - 1).from_bits(), high)
    rest = (-high).fma(d, 1)
    low = rest.eq(0).where(high * 2.0 ** -RANGE[True], rest * high)
    known = (d.abs() >= 2.0 ** -RANGE[True]) & (d.abs() <= 2.0 ** RANGE[True])
    return [known.where(high, float("nan")), low]


def quotients_of_halves(xs: list, d, high, low, bits: int) -> list:
    """The quotients of all xs; the road for a divisor that is far from 1 is one for all."""
    builder = d.builder
    usual = [x.fma(high, x * low) if bits == 11 else x * high for x in xs]
    known, start = high.eq(high), builder.block
    with builder.if_then((~known).value, likely=False):
        divided, last = [x / d for x in xs], builder.block
    return [either(builder, q, start, r, last).value for q, r in zip(usual, divided)]


def either(builder, a, before, b, instead):
    """The one of two values whose block was the last one."""
    result = builder.phi(a.type)
    result.add_incoming(a.value, before)
    result.add_incoming(b.value, instead)
    return a.new(result)


@intrinsic
def inverse_(typingctx, d):
    def codegen(context, builder, sig, args):
        (divisor,) = scalars(builder, args)
        return context.make_tuple(builder, sig.return_type, [s.value for s in inverse_of(divisor)])
    return types.UniTuple(d, 3)(d), codegen


@intrinsic
def quotients_(typingctx, values, d, inverse):
    def codegen(context, builder, sig, args):
        given = [builder.extract_value(args[0], k) for k in range(len(values))]
        xs, (divisor,) = scalars(builder, given), scalars(builder, [args[1]])
        inverse = scalars(builder, [builder.extract_value(args[2], k) for k in range(3)])
        return context.make_tuple(builder, sig.return_type, quotients_of(xs, divisor, *inverse))
    return types.UniTuple(d, len(values))(types.UniTuple(d, len(values)), d, inverse), codegen


def of_halves(name: str, bits: int) -> list:
    """inverse_<name>_ and quotients_<name>_."""
    def inverse(typingctx, d):
        def codegen(context, builder, sig, args):
            (divisor,) = scalars(builder, args)
            return context.make_tuple(builder, sig.return_type, [s.value for s in inverse_of_half(divisor, bits)])
        return types.UniTuple(d, 2)(d), codegen

    def quotients(typingctx, values, d, inverse):
        def codegen(context, builder, sig, args):
            xs, inverse = (scalars(builder, [builder.extract_value(args[k], n) for n in range(count)])
                           for k, count in ((0, len(values)), (2, 2)))
            (divisor,) = scalars(builder, [args[1]])
            return context.make_tuple(builder, sig.return_type, quotients_of_halves(xs, divisor, *inverse, bits))
        return types.UniTuple(d, len(values))(types.UniTuple(d, len(values)), d, inverse), codegen

    inverse.__name__, quotients.__name__ = f"inverse_{name}_", f"quotients_{name}_"
    return [intrinsic(inverse), intrinsic(quotients)]


HALVES = [function for name, bits in (("f16", 11), ("bf16", 8)) for function in of_halves(name, bits)]
