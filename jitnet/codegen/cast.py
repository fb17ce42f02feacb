"""Conversions between dtypes as NumPy's astype does them on x86-64, without branches."""
from llvmlite import ir

from jitnet.codegen.scalar import I32, I64, TYPES


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
