"""What kernels do with memory beyond buffers: arrays on the stack, scalars that travel as bits in `sizes`, blocks turned,
and large outputs written past the caches.

    local_f32(256)     an array of that many elements on the stack, one per kernel call, apart from all buffers
    f32_bits(word)     the float32 whose bits are the low half of an int64 (f64_bits: all of it; f16_bits, bf16_bits: 16 bits)
    transpose_f32(x, at, stride, tile, to, width)     a square block, turned: tile[to + r * width + c] = x[at + c * stride + r]
    ahead_f32(out, at)              how many elements lie between out[at] and the next cache line
    lines_f32(x, at, i, n)          the first place from i on, n at most, at which a cache line of x[at:] begins; 0 for 0
    apart_f32(x, at, step)          how many elements a cache line has; 0 if each of x[at], x[at + step], ... begins one
    stream_f32(out, at, line, n)    out[at + i] = line[i] for n elements; whole cache lines go past the caches
    fence_()                        orders such stores before what this thread writes next
    prefetch_f32(x, at, step, n)    asks for x[at], x[at + step], ... n elements, wherever they lie: soon they are in the caches

A plain store reads the cache line that it will overwrite. Where an output does not stay in the caches anyway, stores past them
save that third of the traffic: copies of 64 MB run at 28 instead of 16 GB/s.

The block has the edge of a cache line (EDGE: 16 float32, 8 float64; half a line of elements of 16 bits): lines of x are read
whole, and turned in registers.
"""
from __future__ import annotations

import numpy as np
from llvmlite import ir

from .builtin import Buffer, Builtin, llvm_type, storage
from .names import DTYPES, HALVES

LANES = 64    # bytes: stack arrays are aligned for the widest vectors, and a cache line has as many
STREAM = 128  # elements that are written past the caches at a time: few, so that the loads of the next ones go on meanwhile
EDGE = {"f32": 16, "i32": 16, "u32": 16, "f64": 8, "i64": 8, "u64": 8,   # dtypes whose blocks can be turned, and their edge
        "f16": 16, "bf16": 16, "i16": 16, "u16": 16,                     # half a line: 32 whole ones would fill all registers
        "i8": 16, "u8": 16, "b1": 16}                                    # a quarter


def python_scope(dtypes: dict[str, str]) -> dict[str, object]:
    """The names with their plain Python meaning; dtypes: short name -> NumPy name."""
    scope = {f"local_{name}": lambda n, kind=kind: np.zeros(n, kind) for name, kind in dtypes.items()}
    scope["f32_bits"] = lambda word: np.int64(word).astype(np.int32).view(np.float32)
    scope["f64_bits"] = lambda word: np.int64(word).view(np.float64)
    scope |= {f"{name}_bits": lambda word, kind=dtypes[name]: np.int64(word).astype(np.int16).view(kind) for name in HALVES}
    scope |= {f"transpose_{name}": python_transpose(edge) for name, edge in EDGE.items()}
    scope |= {f"ahead_{name}": python_ahead for name in dtypes}
    scope |= {f"lines_{name}": lambda x, at, i, n: min(i and i + python_ahead(x, at + i), n) for name in dtypes}
    scope |= {f"apart_{name}": lambda x, at, step: LANES // x.itemsize for name in dtypes}
    scope |= {f"stream_{name}": lambda out, at, line, n: out.__setitem__(slice(at, at + n), line[:n]) for name in dtypes}
    scope |= {f"prefetch_{name}": lambda x, at, step, n: None for name in dtypes}
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


def builtins() -> dict[str, Builtin]:
    """The names with how they are typed and built."""
    found = [*map(make_bits, ("f32", "f64", *HALVES)), *map(make_transpose, EDGE), fence()]
    for make in (make_local, make_ahead, make_lines, make_apart, make_stream, make_prefetch):
        found += map(make, DTYPES)
    return {builtin.name: builtin for builtin in found}


def make_local(name: str) -> Builtin:
    kind = Buffer(name, None)

    def sign(count):
        return (kind, (count,)) if isinstance(count, int) else None

    def build(builder, kinds, count):
        with builder.goto_entry_block():
            array = builder.alloca(ir.ArrayType(storage(name), kinds[0]))
            array.align = LANES
        return builder.bitcast(array, llvm_type(kind))
    return Builtin(f"local_{name}", 1, sign, build, literal=True)


def make_bits(name: str) -> Builtin:
    bits = 8 * item_bytes(name)

    def build(builder, kinds, word):
        return builder.bitcast(word if bits == 64 else builder.trunc(word, ir.IntType(bits)), storage(name))
    return Builtin(f"{name}_bits", 1, lambda word: (name, ("i64",)), build)


def make_transpose(name: str) -> Builtin:
    edge, vector = EDGE[name], ir.VectorType(storage(name), EDGE[name])
    align = item_bytes(name)

    def build(builder, kinds, x, at, stride, tile, to, width):
        def pointer(base, start, step, k):
            place = builder.add(start, builder.mul(step, ir.Constant(step.type, k)))
            return builder.bitcast(builder.gep(base, [place]), ir.PointerType(vector))
        rows = [builder.load(pointer(x, at, stride, k), align=align) for k in range(edge)]
        for k, row in enumerate(transposed(builder, rows)):
            builder.store(row, pointer(tile, to, width, k), align=align)
    return Builtin(f"transpose_{name}", 6, lambda x, at, stride, tile, to, width: (None, (x, "i64", "i64", tile, "i64", "i64")),
                   build)


def bytes_ahead(builder, x, at):
    """Emits how many bytes lie between x[at] and the next cache line."""
    address = builder.ptrtoint(builder.gep(x, [at]), at.type)
    return builder.and_(builder.neg(address), at.type(LANES - 1))


def make_ahead(name: str) -> Builtin:
    def build(builder, kinds, out, at):
        return builder.udiv(bytes_ahead(builder, out, at), at.type(item_bytes(name)))
    return Builtin(f"ahead_{name}", 2, lambda out, at: ("i64", (out, "i64")), build)


def make_lines(name: str) -> Builtin:
    def build(builder, kinds, x, at, i, n):
        ahead = builder.udiv(bytes_ahead(builder, x, builder.add(at, i)), at.type(item_bytes(name)))
        place = builder.select(builder.icmp_signed("==", i, i.type(0)), i, builder.add(i, ahead))
        return builder.select(builder.icmp_signed("<", place, n), place, n)
    return Builtin(f"lines_{name}", 4, lambda x, at, i, n: ("i64", (x, "i64", "i64", "i64")), build)


def make_apart(name: str) -> Builtin:
    def build(builder, kinds, x, at, step):
        apart = builder.or_(bytes_ahead(builder, x, at), bytes_ahead(builder, x, builder.add(at, step)))
        return builder.select(builder.icmp_unsigned("==", apart, at.type(0)), at.type(0), at.type(LANES // item_bytes(name)))
    return Builtin(f"apart_{name}", 3, lambda x, at, step: ("i64", (x, "i64", "i64")), build)


def make_stream(name: str) -> Builtin:
    size, byte, word = item_bytes(name), ir.PointerType(ir.IntType(8)), ir.IntType(64)

    def build(builder, kinds, out, at, line, n):
        target, source = builder.bitcast(builder.gep(out, [at]), byte), builder.bitcast(line, byte)
        before = builder.and_(builder.ptrtoint(target, word), word(LANES - 1))
        apart = builder.or_(before, builder.xor(n, word(STREAM)))
        with builder.if_else(builder.icmp_unsigned("==", apart, word(0))) as (usual, other):
            with usual:
                for k in range(0, STREAM * size, LANES):
                    copy_line(builder, *(builder.gep(base, [word(k)]) for base in (target, source)), LANES)
            with other:
                copy_lines(builder, target, source, builder.mul(n, word(size)), size)
    return Builtin(f"stream_{name}", 4, lambda out, at, line, n: (None, (out, "i64", line, "i64")), build)


def make_prefetch(name: str) -> Builtin:
    def sign(x, at, step, count):
        return (None, (x, "i64", "i64", count)) if isinstance(count, int) else None

    def build(builder, kinds, x, at, step, count):
        byte, word = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        for k in range(kinds[3]):
            place = builder.gep(x, [builder.add(at, builder.mul(step, step.type(k)))])
            builder.call(function, [builder.bitcast(place, byte), word(0), word(2), word(1)])   # to read, in the second cache
    return Builtin(f"prefetch_{name}", 4, sign, build, literal=True)


def fence() -> Builtin:
    def build(builder, kinds):
        builder.fence("seq_cst")
    return Builtin("fence_", 0, lambda: (None, ()), build)


def transposed(builder, rows: list) -> list:
    """The columns of a square of vectors, by exchanging ever smaller halves of pairs of rows."""
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
    return 1 if name == "b1" else int(name.lstrip("bfiu")) // 8


def copy_line(builder, target, source, aligned: int) -> None:
    """Emits the copy of a cache line past the caches; the source's address is a multiple of `aligned`."""
    vector = ir.PointerType(ir.VectorType(ir.IntType(32), LANES // 4))
    value = builder.load(builder.bitcast(source, vector), align=aligned)
    stored = builder.store(value, builder.bitcast(target, vector), align=LANES)
    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


def copy_lines(builder, target, source, count, size: int) -> None:
    """Emits the copy of `count` bytes in elements of `size`: whole cache lines of the target go past the caches."""
    word, start = count.type, builder.block
    test, body, whole, part, end = map(builder.append_basic_block, ("test", "body", "whole", "part", "end"))
    builder.branch(test)
    builder.position_at_end(test)
    place = builder.phi(word)
    place.add_incoming(word(0), start)
    builder.cbranch(builder.icmp_unsigned("<", place, count), body, end)
    builder.position_at_end(body)
    to, of, left = builder.gep(target, [place]), builder.gep(source, [place]), builder.sub(count, place)
    ahead = builder.add(builder.and_(builder.not_(builder.ptrtoint(to, word)), word(LANES - 1)), word(1))   # to the next line
    piece = builder.select(builder.icmp_unsigned("<", left, ahead), left, ahead)
    builder.cbranch(builder.icmp_unsigned("==", piece, word(LANES)), whole, part)
    builder.position_at_end(whole)
    copy_line(builder, to, of, size)
    place.add_incoming(builder.add(place, word(LANES)), builder.block)
    builder.branch(test)
    builder.position_at_end(part)
    copy_part(builder, to, of, piece, size)
    place.add_incoming(builder.add(place, piece), builder.block)
    builder.branch(test)
    builder.position_at_end(end)


def copy_part(builder, target, source, count, size: int) -> None:
    """Emits the copy of less than a cache line, `count` bytes in elements of `size`: half a line, a quarter, and so on."""
    word, place = count.type, count.type(0)
    piece = LANES // 2
    while piece >= size:
        vector = ir.PointerType(ir.VectorType(ir.IntType(8), piece))
        part = builder.and_(count, word(piece))
        with builder.if_then(builder.icmp_unsigned("!=", part, word(0))):
            value = builder.load(builder.bitcast(builder.gep(source, [place]), vector), align=size)
            builder.store(value, builder.bitcast(builder.gep(target, [place]), vector), align=size)
        place = builder.add(place, part)
        piece //= 2
