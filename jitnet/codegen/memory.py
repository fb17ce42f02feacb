"""What kernels do with memory beyond buffers: arrays on the stack, scalars that travel as bits in `sizes`, blocks turned.

    local_f32(256)     an array of that many elements on the stack, one per kernel call, apart from all buffers
    f32_bits(word)     the float32 whose bits are the low half of an int64 (f64_bits: all of it; f16_bits, bf16_bits: 16 bits)
    transpose_f32(x, at, stride, tile, to, width)     a square block, turned: tile[to + r * width + c] = x[at + c * stride + r]

The block has the edge of a cache line (EDGE: 16 float32, 8 float64): every line of x is read once, whole, and turned in
registers.
"""
from __future__ import annotations

import numpy as np

from .names import DTYPES, HALVES

LANES = 64  # bytes: stack arrays are aligned for the widest vectors
EDGE = {"f32": 16, "i32": 16, "u32": 16, "f64": 8, "i64": 8, "u64": 8}  # dtypes whose blocks can be turned, and their edge


def python_scope(dtypes: dict[str, str]) -> dict[str, object]:
    """The names with their plain Python meaning; dtypes: short name -> NumPy name."""
    scope = {f"local_{name}": lambda n, kind=kind: np.zeros(n, kind) for name, kind in dtypes.items()}
    scope["f32_bits"] = lambda word: np.int64(word).astype(np.int32).view(np.float32)
    scope["f64_bits"] = lambda word: np.int64(word).view(np.float64)
    scope |= {f"{name}_bits": lambda word, kind=dtypes[name]: np.int64(word).astype(np.int16).view(kind) for name in HALVES}
    scope |= {f"transpose_{name}": python_transpose(edge) for name, edge in EDGE.items()}
    return scope


def python_transpose(edge: int):
    """`transpose` of blocks with that edge, in Python."""
    def transpose(x, at, stride, tile, to, width):
        for r in range(edge):
            for c in range(edge):
                tile[to + r * width + c] = x[at + c * stride + r]
    return transpose


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

    def make_transpose(name, edge):
        itemsize = LANES // edge

        def transpose(typingctx, x, at, stride, tile, to, width):
            def codegen(context, builder, sig, args):
                x, at, stride, tile, to, width = args
                vector = ir.VectorType(storage(name), edge)

                def pointer(base, start, step, k):
                    place = builder.add(start, builder.mul(step, ir.Constant(step.type, k)))
                    return builder.bitcast(builder.gep(base, [place]), ir.PointerType(vector))
                rows = [builder.load(pointer(x, at, stride, k), align=itemsize) for k in range(edge)]
                for k, row in enumerate(transposed(builder, rows)):
                    builder.store(row, pointer(tile, to, width, k), align=itemsize)
                return context.get_dummy_value()
            return types.none(x, types.intp, types.intp, tile, types.intp, types.intp), codegen
        transpose.__name__ = f"transpose_{name}"
        return intrinsic(transpose)

    return {**{f"transpose_{name}": make_transpose(name, edge) for name, edge in EDGE.items()},
            **{f"local_{name}": make_local(name) for name in DTYPES},
            **{f"{name}_bits": make_bits(name, 16) for name in HALVES},
            "f32_bits": make_bits("f32", 32), "f64_bits": make_bits("f64", 64)}


def transposed(builder, rows: list) -> list:
    """The columns of a square of vectors, by exchanging ever smaller halves of pairs of rows."""
    from llvmlite import ir

    n = len(rows)
    mask = ir.VectorType(ir.IntType(32), n)
    half = n // 2
    while half:
        low = ir.Constant(mask, [i if not i & half else n + i - half for i in range(n)])
        high = ir.Constant(mask, [i + half if not i & half else n + i for i in range(n)])
        rows = [builder.shuffle_vector(rows[i], rows[i + half], low) if not i & half
                else builder.shuffle_vector(rows[i - half], rows[i], high) for i in range(n)]
        half //= 2
    return rows
