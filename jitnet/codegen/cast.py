"""Conversions between dtypes as NumPy's astype does them on x86-64, without branches."""
from llvmlite import ir

from jitnet.codegen.names import HALVES
from jitnet.codegen.scalar import CUDA, F32, F64, I16, I32, I64, TYPES


def freeze(x):
    """x, or some fixed value where x is poison: a float out of an integer's range may give any integer, nothing worse."""
    instruction = ir.instructions.Instruction(x.builder.block, x.type, "freeze", [x.value])
    x.builder._insert(instruction)
    return x.new(instruction)


def cast(x, source, target):
    """Scalar x of dtype `source` as dtype `target`."""
    kind, b = TYPES[target], x.builder
    if source == target:
        return x
    if source in HALVES:
        return cast(half_to_f32(x, source), "f32", target)
    if target in HALVES:
        return f32_to_half(f64_to_odd(x) if (source, target) == ("f64", "f16") else cast(x, source, "f32"), target)
    if target == "b1":
        return x.ne(0)
    if source == "b1":
        return x.new(b.uitofp(x.value, kind)) if target[0] == "f" else x.zext(kind)
    if source[0] == "f":
        return x.to(kind) if target[0] == "f" else float_to_int(x, target)
    if target[0] == "f":
        return x.new(b.uitofp(x.value, kind)) if source[0] == "u" else x.to(kind)
    if kind.width > x.type.width:
        return x.zext(kind) if source[0] == "u" else x.to(kind)
    return x if kind == x.type else x.to(kind)


def float_to_int(x, target):
    """As C does it: through i32 for narrow types, through i64 for u32, so that negative numbers wrap as in NumPy."""
    kind, b = TYPES[target], x.builder
    if target == "u64":
        wide = freeze(x.new(b.fptosi(x.value, I64)))
        high = freeze(x.new(b.fptosi((x - 2.0 ** 63).value, I64))) ^ (1 << 63)
        return (x >= 2.0 ** 63).where(high, wide)
    wide = I64 if target in ("i64", "u32") else I32
    whole = freeze(x.new(b.fptosi(x.value, wide)))
    return whole if whole.type == kind else whole.to(kind)


# Halves: scalars of type i16 that hold their bits

class BfloatType(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self):
        return "bfloat"


BFLOAT = BfloatType()


def half_to_f32(x, source):
    """The float32 of the same value."""
    if source == "bf16":
        return (x.zext(I32) << 16).from_bits()
    return x.new(x.builder.fpext(x.builder.bitcast(x.value, ir.HalfType()), F32))


def f32_to_half(x, target):
    """The nearest half, ties to even; NaN stays NaN."""
    if target == "f16":
        return x.new(x.builder.bitcast(x.builder.fptrunc(x.value, ir.HalfType()), I16))
    if x.target is CUDA:   # one instruction there; those of CPUs take subnormal numbers for 0
        return x.new(x.builder.bitcast(x.builder.fptrunc(x.value, BFLOAT), I16))
    bits = x.to_bits()
    nearest = bits + ((bits >> 16 & 1) + 0x7fff)  # may carry into the exponent, up to infinity
    return ((x.ne(x)).where(bits | 0x400000, nearest) >> 16).to(I16)


def f64_to_odd(x):
    """A float32 that rounds to the same float16 as this float64: where it is inexact, its last bit says so (a double conversion
    would round twice)."""
    narrow = x.to(F32)
    back = narrow.to(F64)
    bits = narrow.to_bits()
    bits = (back.abs() > x.abs()).where(bits - 1, bits)
    return (back.ne(x) & x.eq(x)).where(bits | 1, bits).from_bits()
