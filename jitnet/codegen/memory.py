"""Kernel memory that is no buffer: arrays on the stack, and scalars that travel as bits in `sizes`.

    local_f32(256)     an array of that many elements on the stack, one per kernel call, apart from all buffers
    f32_bits(word)     the float32 whose bits are the low half of an int64 (f64_bits: all of it)
"""
from __future__ import annotations

import numpy as np

from .names import DTYPES

LANES = 64  # bytes: stack arrays are aligned for the widest vectors


def python_scope(dtypes: dict[str, str]) -> dict[str, object]:
    """The names with their plain Python meaning; dtypes: short name -> NumPy name."""
    scope = {f"local_{name}": lambda n, kind=kind: np.zeros(n, kind) for name, kind in dtypes.items()}
    scope["f32_bits"] = lambda word: np.int64(word).astype(np.int32).view(np.float32)
    scope["f64_bits"] = lambda word: np.int64(word).view(np.float64)
    return scope


def numba_scope(buffer_type, storage, numba_types) -> dict[str, object]:
    """The names for Numba. buffer_type(dtype, slot) is the type of a pointer, storage(name) its element in memory."""
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    def make_local(name):
        def local(typingctx, n):
            if not isinstance(n, types.IntegerLiteral):
                return None
            kind, count = buffer_type(numba_types[name], None), n.literal_value

            def codegen(context, builder, sig, args):
                with builder.goto_entry_block():
                    array = builder.alloca(ir.ArrayType(storage(name), count))
                    array.align = LANES
                return builder.bitcast(array, context.get_value_type(kind))
            return kind(n), codegen
        local.__name__ = f"local_{name}"
        return intrinsic(prefer_literal=True)(local)

    def make_bits(name, bits):
        def from_bits(typingctx, word):
            def codegen(context, builder, sig, args):
                value = args[0] if bits == 64 else builder.trunc(args[0], ir.IntType(bits))
                return builder.bitcast(value, storage(name))
            return numba_types[name](types.int64), codegen
        from_bits.__name__ = f"{name}_bits"
        return intrinsic(from_bits)

    return {f"local_{name}": make_local(name) for name in DTYPES} | {"f32_bits": make_bits("f32", 32), "f64_bits": make_bits("f64", 64)}
