"""What kernels do with memory beyond buffers: arrays on the stack, scalars that travel as bits in `sizes`, blocks turned,
and large outputs written past the caches.

    local_f32(256)     an array of that many elements on the stack, one per kernel call, apart from all buffers
    f32_bits(word)     the float32 whose bits are the low half of an int64 (f64_bits: all of it; f16_bits, bf16_bits: 16 bits)
    transpose_f32(x, at, stride, tile, to, width)     a square block, turned: tile[to + r * width + c] = x[at + c * stride + r]
    ahead_f32(out, at)              how many elements lie between out[at] and the next cache line
    stream_f32(out, at, line, n)    out[at + i] = line[i] for n elements; STREAM of them go past the caches
    fence_()                        orders such stores before what this thread writes next

A plain store reads the cache line that it will overwrite. Where an output does not stay in the caches anyway, stores past them
save that third of the traffic: copies of 64 MB run at 28 instead of 16 GB/s.

The block has the edge of a cache line (EDGE: 16 float32, 8 float64; half a line of elements of 16 bits): lines of x are read
whole, and turned in registers.
"""
from __future__ import annotations

import numpy as np

from .names import DTYPES, HALVES

LANES = 64    # bytes: stack arrays are aligned for the widest vectors, and a cache line has as many
STREAM = 128  # elements that are written past the caches at a time: few, so that the loads of the next ones go on meanwhile
EDGE = {"f32": 16, "i32": 16, "u32": 16, "f64": 8, "i64": 8, "u64": 8,   # dtypes whose blocks can be turned, and their edge
        "f16": 16, "bf16": 16, "i16": 16, "u16": 16}                     # half a line: 32 whole ones would fill all registers


def python_scope(dtypes: dict[str, str]) -> dict[str, object]:
    """The names with their plain Python meaning; dtypes: short name -> NumPy name."""
    scope = {f"local_{name}": lambda n, kind=kind: np.zeros(n, kind) for name, kind in dtypes.items()}
    scope["f32_bits"] = lambda word: np.int64(word).astype(np.int32).view(np.float32)
    scope["f64_bits"] = lambda word: np.int64(word).view(np.float64)
    scope |= {f"{name}_bits": lambda word, kind=dtypes[name]: np.int64(word).astype(np.int16).view(kind) for name in HALVES}
    scope |= {f"transpose_{name}": python_transpose(edge) for name, edge in EDGE.items()}
    scope |= {f"ahead_{name}": python_ahead for name in dtypes}
    scope |= {f"stream_{name}": lambda out, at, line, n: out.__setitem__(slice(at, at + n), line[:n]) for name in dtypes}
    scope["fence_"] = lambda: None
    return scope


def python_ahead(out, at):
    """`ahead` in Python."""
    return -(out.ctypes.data + at * out.itemsize) % LANES // out.itemsize


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
        itemsize = 2 if name.endswith("16") else LANES // edge

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

    def make_ahead(name):
        def ahead(typingctx, out, at):
            def codegen(context, builder, sig, args):
                out, at = args
                address = builder.ptrtoint(builder.gep(out, [at]), at.type)
                return builder.udiv(builder.and_(builder.neg(address), at.type(LANES - 1)), at.type(item_bytes(name)))
            return types.int64(out, types.intp), codegen
        ahead.__name__ = f"ahead_{name}"
        return intrinsic(ahead)

    def make_stream(name):
        def stream(typingctx, out, at, line, n):
            def codegen(context, builder, sig, args):
                byte, word, size = ir.PointerType(ir.IntType(8)), ir.IntType(64), item_bytes(name)
                target, source = builder.bitcast(builder.gep(args[0], [args[1]]), byte), builder.bitcast(args[2], byte)
                apart = builder.or_(builder.and_(builder.ptrtoint(target, word), word(LANES - 1)),
                                    builder.xor(args[3], word(STREAM)))
                with builder.if_else(builder.icmp_unsigned("==", apart, word(0))) as (whole, part):
                    with whole:
                        copy_lines(builder, target, source, STREAM * size)
                    with part:
                        copy = builder.module.declare_intrinsic("llvm.memcpy", [byte, byte, word])
                        builder.call(copy, [target, source, builder.mul(args[3], word(size)), ir.IntType(1)(0)])
                return context.get_dummy_value()
            return types.none(out, types.intp, line, types.intp), codegen
        stream.__name__ = f"stream_{name}"
        return intrinsic(stream)

    @intrinsic
    def fence_(typingctx):
        def codegen(context, builder, sig, args):
            builder.fence("seq_cst")
            return context.get_dummy_value()
        return types.none(), codegen

    return {**{f"transpose_{name}": make_transpose(name, edge) for name, edge in EDGE.items()},
            **{f"ahead_{name}": make_ahead(name) for name in DTYPES},
            **{f"stream_{name}": make_stream(name) for name in DTYPES}, "fence_": fence_,
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


def item_bytes(name: str) -> int:
    """Bytes of one element in memory."""
    return 1 if name == "b1" else int(name[1:]) // 8


def copy_lines(builder, target, source, count: int) -> None:
    """Emits the copy of `count` bytes, whole cache lines, past the caches."""
    from llvmlite import ir

    vector = ir.PointerType(ir.VectorType(ir.IntType(32), LANES // 4))
    target, source = builder.bitcast(target, vector), builder.bitcast(source, vector)
    hint = builder.module.add_metadata([ir.IntType(32)(1)])
    for k in range(count // LANES):
        value = builder.load(builder.gep(source, [ir.IntType(64)(k)]), align=LANES)
        builder.store(value, builder.gep(target, [ir.IntType(64)(k)]), align=LANES).set_metadata("nontemporal", hint)
