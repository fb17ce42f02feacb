"""What the text of a kernel computes with: types, buffers in memory, and Builtin, the record of a name that it may call.

    kind ::= dtype                                a scalar: "f32", "i64", "b1", ...
           | Buffer(dtype, slot, constant)        a pointer to elements
           | "buffers"                            the kernel's first parameter
           | int                                  a whole number that stands in the text; as a value it is an i64
           | None                                 no value

kernel_compiler.py lowers CPU kernels with these; numba_scope.py hands the same records to Numba, for GPU kernels.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir

from .names import FLOATS, INTS, SIGNED
from .scalar import I1, I8, I64, TYPES

ALIAS_BITS = 8   # buffers of a kernel are told apart by so many bits of their numbers
ALL_BUFFERS = "buffers"


class Buffer(NamedTuple):
    """Pointer to the elements of buffer `slot`; buffers of different slots never overlap.

    constant: nothing writes into it while the kernel runs. slot None: anything may be there.
    """

    dtype: str
    slot: int | None
    constant: bool = False


Kind = str | Buffer | int | None


class Builtin(NamedTuple):
    """A name that kernels may call.

    sign(*kinds) is (kind of the result, kinds that the arguments are converted to), None where it does not take such
    arguments. build(builder, kinds, *values) writes the instructions and returns the LLVM value of the result; `kinds`
    are those that sign gave. literal: does it look at whole numbers in the text?
    """

    name: str
    arity: int
    sign: Callable[..., tuple[Kind, tuple[Kind, ...]] | None]
    build: Callable
    literal: bool = False


def plain(kind: Kind) -> Kind:
    """The kind of the value: a number in the text is an i64."""
    return "i64" if isinstance(kind, int) else kind


def is_number(kind: Kind) -> bool:
    return kind in TYPES if isinstance(kind, str) else isinstance(kind, int)


def unified(*kinds: Kind) -> str | None:
    """The one dtype that scalars of these kinds convert to; None where that would lose something."""
    dtypes = {plain(kind) for kind in kinds}
    if len(dtypes) == 1:
        return dtypes.pop() if is_number(kinds[0]) else None
    if dtypes <= set(FLOATS):
        return "f64"
    if dtypes <= {*INTS, "b1"}:
        widest = max(dtypes, key=lambda dtype: TYPES[dtype].width)
        same_sign = len({dtype in SIGNED for dtype in dtypes - {"b1"}}) == 1
        if same_sign or (widest in SIGNED and TYPES[widest].width > max(TYPES[d].width for d in dtypes if d not in SIGNED)):
            return widest
    return None


def widened(builder, value, source: str, target: str):
    """A scalar of one dtype as one that holds all of its values; integers may become f64."""
    kind = TYPES[target]
    if value.type == kind:
        return value
    if source in FLOATS:
        return builder.fpext(value, kind)
    if target in FLOATS:
        return builder.sitofp(value, kind) if source in SIGNED else builder.uitofp(value, kind)
    return builder.sext(value, kind) if source in SIGNED else builder.zext(value, kind)


# Memory

def storage(dtype: str):
    """The LLVM type of an element in memory: bools are bytes."""
    return I8 if dtype == "b1" else TYPES[dtype]


def llvm_type(kind: Kind):
    """The LLVM type of a value of that kind."""
    if isinstance(kind, Buffer):
        return ir.PointerType(storage(kind.dtype))
    if kind == ALL_BUFFERS:
        return ir.PointerType(ir.PointerType(I8))
    return TYPES[plain(kind)]


def from_storage(builder, value, dtype: str):
    """An element as it lies in memory, as a scalar."""
    return builder.icmp_unsigned("!=", value, value.type(0)) if dtype == "b1" else value


def to_storage(builder, value, dtype: str):
    """A scalar as it lies in memory."""
    return builder.zext(value, I8) if dtype == "b1" else value


def load_element(builder, buffer: Buffer, pointer, index):
    """buffer[index] as a scalar."""
    value = builder.load(builder.gep(pointer, [index], inbounds=True))
    mark_load(value, buffer)
    return from_storage(builder, value, buffer.dtype)


def store_element(builder, buffer: Buffer, pointer, index, value) -> None:
    """buffer[index] = value, a scalar of its dtype."""
    value = to_storage(builder, value, buffer.dtype)
    mark_alias(builder.store(value, builder.gep(pointer, [index], inbounds=True)), buffer.slot)


def mark_load(instruction, buffer: Buffer) -> None:
    """Tells LLVM what is known of a load from a buffer."""
    mark_alias(instruction, buffer.slot)
    if buffer.constant:
        instruction.set_metadata("invariant.load", instruction.module.add_metadata([]))


def mark_alias(instruction, slot: int | None) -> None:
    """Tells LLVM that accesses to different slots never overlap.

    One alias domain per bit of the slot number, two scopes in each: an access lies in the scope of its bit and is `noalias`
    with the other one, so two slots are apart in some domain, and no list of all slots is needed.
    """
    if slot is None:
        return
    module = instruction.module
    known = module.__dict__.setdefault("jitnet_scopes", {})
    if slot not in known:
        scopes = [[module.add_metadata([f"jitnet.{bit}.{value}", module.add_metadata([f"jitnet.{bit}"])]) for value in (0, 1)]
                  for bit in range(getattr(module, "jitnet_alias_bits", ALIAS_BITS))]
        known[slot] = [module.add_metadata([pair[(slot >> bit & 1) ^ other] for bit, pair in enumerate(scopes)])
                       for other in (0, 1)]
    inside, outside = known[slot]
    instruction.set_metadata("alias.scope", inside)
    instruction.set_metadata("noalias", outside)


# Operators on scalars: NumPy's, but whole numbers in the text are int64

FLOAT_INSTRUCTIONS = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
INT_INSTRUCTIONS = {"+": "add", "-": "sub", "*": "mul", "//": "udiv", "<<": "shl", "&": "and_", "|": "or_", "^": "xor"}
BOOL_OPERATORS = ("&", "|", "^")


def binary_dtype(op: str | None, left: Kind, right: Kind) -> str | None:
    """The dtype in which an operator computes; None where it does not take such operands."""
    dtype = unified(left, right)
    known = FLOAT_INSTRUCTIONS if dtype in FLOATS else BOOL_OPERATORS if dtype == "b1" else (*INT_INSTRUCTIONS, ">>")
    return dtype if op in known and dtype in (*FLOATS, *INTS, "b1") else None


def binary(builder, op: str, dtype: str, left, right):
    """left op right, both of `dtype`, one that `binary_dtype` gives.

    Products of floats may be fused into an addition that allows it too: those of reductions do. Others must not: where a value
    is computed twice, in two loops or two kernels, LLVM would fuse in one and not in the other. `//` is for numbers that are
    not negative. An int64 does not overflow, for the index that it is; narrower integers wrap around.
    """
    if dtype in FLOATS:
        return getattr(builder, FLOAT_INSTRUCTIONS[op])(left, right, flags=("contract",) if op == "*" else ())
    if op == ">>":
        return builder.ashr(left, right) if dtype in SIGNED else builder.lshr(left, right)
    exact = dtype == "i64" and op in ("+", "-", "*")
    return getattr(builder, INT_INSTRUCTIONS[op])(left, right, **({"flags": ("nsw",)} if exact else {}))


def comparison(builder, op: str, left, left_dtype: str, right, right_dtype: str):
    """left op right as a b1, exact for any two integers: all but != are false for NaN. None for other mixtures."""
    dtype = unified(left_dtype, right_dtype)
    if dtype is None:
        if not {left_dtype, right_dtype} <= set(INTS):
            return None
        left, right = widened(builder, left, left_dtype, "i64"), widened(builder, right, right_dtype, "i64")
        signed, answer = (left, op in ("<", "<=", "!=")) if left_dtype in SIGNED else (right, op in (">", ">=", "!="))
        below = builder.icmp_signed("<", signed, I64(0))   # less than any number of the other one
        return builder.select(below, I1(answer), builder.icmp_unsigned(op, left, right))
    left, right = widened(builder, left, left_dtype, dtype), widened(builder, right, right_dtype, dtype)
    if dtype in FLOATS:
        return (builder.fcmp_unordered if op == "!=" else builder.fcmp_ordered)(op, left, right)
    return (builder.icmp_signed if dtype in SIGNED else builder.icmp_unsigned)(op, left, right)


def truth(builder, dtype: str, value):
    """Is the scalar something else than 0? As a b1."""
    return value if dtype == "b1" else comparison(builder, "!=", value, dtype, ir.Constant(value.type, 0), dtype)


def narrowed(builder, value, source: str, target: str):
    """An integer as one of another width, as memory holds it: what does not fit wraps around."""
    kind = TYPES[target]
    return builder.trunc(value, kind) if kind.width < value.type.width else widened(builder, value, source, target)


def negative(builder, dtype: str, value):
    """-value."""
    return builder.fneg(value) if dtype in FLOATS else builder.neg(value)




def inverse(builder, dtype: str, value):
    """~value."""
    return builder.not_(value)
