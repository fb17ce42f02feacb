"""What the text of a kernel computes with: types, buffers in memory, and Builtin, the record of a name that it may call.

    kind ::= dtype                                a scalar: "f32", "i64", "b1", ...
           | Buffer(dtype, slot, constant)        a pointer to elements
           | "buffers"                            the kernel's first parameter
           | int                                  a whole number that stands in the text; as a value it is an i64
           | None                                 no value

Nothing here knows Numba: numba_scope.py hands the records to it, for the kernels of both targets.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir

from .names import FLOATS, INTS, SIGNED
from .scalar import I8, TYPES

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
