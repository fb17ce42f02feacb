"""CUDA_SCOPE: every name that the source of a GPU kernel may use, as Numba types it and LLVM compiles it for NVIDIA GPUs.

What CPU kernels call (`kernel_scope.py`) is there too, with the same meaning: scalar math is the same code on both targets.
Only `jitnet.runtime.cuda_compile` imports this module, and only when a kernel is compiled: it loads Numba.
"""
from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .builtin import from_storage, mark_alias, mark_load, storage, to_storage
from .cuda_names import COMBINATIONS, COORDINATES, LONG_ROW, VECTOR_BYTES
from .cuda_quotients import HALVES, inverse_, quotients_
from .kernel_scope import scalars
from .math import reduce_step
from .names import DTYPES
from .numba_scope import DTYPE_OF, NUMBA_SCOPE, NUMBA_TYPES, BufferType

I1, I8, I32, I64, VOID = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.VoidType()
WARP = 32
SHARED = 3     # LLVM's number of the address space of shared memory
MOST_THREADS = LONG_ROW   # of a block, whose columns combine through shared memory; of rows each warp's value goes there
WARPS = "jitnet.warps", MOST_THREADS // WARP
ALL_LANES = ir.Constant(I32, -1)


def special_register(builder, name: str):
    """A special register, such as tid.x, as an i64."""
    function = declared(builder.module, f"llvm.nvvm.read.ptx.sreg.{name}", I32, [])
    return builder.zext(builder.call(function, []), I64)


def declared(module, name: str, result, arguments):
    """The LLVM function of that name."""
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def barrier(builder) -> None:
    """All threads of the block wait for one another, and see what the others wrote."""
    builder.call(declared(builder.module, "llvm.nvvm.barrier0", VOID, []), [])


def shared_array(module, name: str, kind, count: int, align: int = VECTOR_BYTES):
    """Pointer to an array in shared memory that all uses of `name` share; count 0: the dynamic memory of the launch."""
    array = module.globals.get(name)
    if array is None:
        array = ir.GlobalVariable(module, ir.ArrayType(kind, count), name, addrspace=SHARED)
        array.align = align
        if count:
            array.linkage = "internal"
            array.initializer = ir.Constant(array.value_type, ir.Undefined)
    return array


def generic_pointer(builder, pointer, kind):
    """A pointer to shared memory as an ordinary one; LLVM finds the address space again."""
    return builder.addrspacecast(pointer, ir.PointerType(kind))


# Where a thread stands

def make_coordinate(name: str, register: str):
    def coordinate(typingctx):
        def codegen(context, builder, sig, args):
            return special_register(builder, register)
        return types.int64(), codegen
    coordinate.__name__ = name
    return intrinsic(coordinate)


@intrinsic
def sync(typingctx):
    def codegen(context, builder, sig, args):
        barrier(builder)
        return context.get_dummy_value()
    return types.none(), codegen


@intrinsic
def div_(typingctx, a, b):
    def codegen(context, builder, sig, args):
        return builder.udiv(*args)
    return types.int64(types.int64, types.int64), codegen


# Memory

@intrinsic
def aligned_(typingctx, buffer, at):
    def codegen(context, builder, sig, args):
        address = builder.ptrtoint(builder.gep(args[0], [args[1]]), I64)
        return builder.icmp_unsigned("==", builder.and_(address, I64(VECTOR_BYTES - 1)), I64(0))
    return types.boolean(buffer, types.int64), codegen


def read_vector(builder, args, kind: BufferType, count: int) -> list:
    """The elements of a vector, by one instruction."""
    vector = builder.load(vector_pointer(builder, args, kind.dtype, count), align=count * element(kind.dtype))
    mark_load(vector, kind.buffer)
    return [from_storage(builder, builder.extract_element(vector, I32(k)), DTYPE_OF[kind.dtype]) for k in range(count)]


def write_vector(builder, args, kind: BufferType, elements) -> None:
    """Writes elements, as they lie in memory, by one instruction."""
    vector = ir.Constant(ir.VectorType(storage(DTYPE_OF[kind.dtype]), len(elements)), ir.Undefined)
    for k, value in enumerate(elements):
        vector = builder.insert_element(vector, value, I32(k))
    target = vector_pointer(builder, args, kind.dtype, len(elements))
    mark_alias(builder.store(vector, target, align=len(elements) * element(kind.dtype)), kind.slot)


def stored_elements(context, builder, values, kinds, dtype) -> list:
    """The values of a tuple as elements in memory."""
    return [to_storage(builder, context.cast(builder, builder.extract_value(values, k), kind, dtype), DTYPE_OF[dtype])
            for k, kind in enumerate(kinds)]


@intrinsic(prefer_literal=True)
def load_vector_(typingctx, buffer, at, lanes):
    if not isinstance(lanes, types.IntegerLiteral):
        return None
    count = lanes.literal_value

    def codegen(context, builder, sig, args):
        return context.make_tuple(builder, sig.return_type, read_vector(builder, args, sig.args[0], count))
    # The literal stays in the signature: Numba keeps one implementation per signature.
    return types.UniTuple(buffer.dtype, count)(buffer, types.int64, lanes), codegen


@intrinsic
def store_vector_(typingctx, buffer, at, values):
    def codegen(context, builder, sig, args):
        write_vector(builder, args, sig.args[0], stored_elements(context, builder, args[2], values, buffer.dtype))
        return context.get_dummy_value()
    return types.none(buffer, types.int64, values), codegen


def element(dtype) -> int:
    """Bytes of an element in memory."""
    return storage(DTYPE_OF[dtype]).width // 8 if not isinstance(dtype, types.Float) else dtype.bitwidth // 8


def vector_pointer(builder, args, dtype, count: int):
    kind = ir.VectorType(storage(DTYPE_OF[dtype]), count)
    return builder.bitcast(builder.gep(args[0], [args[1]], inbounds=True), ir.PointerType(kind))


def make_shared(name: str):
    """shared_<dtype>(count, number): array `number` of the block, of that many elements."""
    def shared(typingctx, count, number):
        if not isinstance(count, types.IntegerLiteral) or not isinstance(number, types.IntegerLiteral):
            return None
        kind, symbol = storage(name), f"jitnet.shared.{number.literal_value}"

        def codegen(context, builder, sig, args):
            return generic_pointer(builder, shared_array(builder.module, symbol, kind, count.literal_value), kind)
        return BufferType(NUMBA_TYPES[name], None)(count, number), codegen
    shared.__name__ = f"shared_{name}"
    return intrinsic(prefer_literal=True)(shared)


def make_kept(name: str):
    """kept_<dtype>(offset): the dynamic shared memory of the launch, from a byte on."""
    def kept(typingctx, offset):
        kind = storage(name)

        def codegen(context, builder, sig, args):
            memory = generic_pointer(builder, shared_array(builder.module, "jitnet_kept", I8, 0), I8)
            return builder.bitcast(builder.gep(memory, [args[0]]), ir.PointerType(kind))
        return BufferType(NUMBA_TYPES[name], None)(types.int64), codegen
    kept.__name__ = f"kept_{name}"
    return intrinsic(kept)


@intrinsic
def either_(typingctx, condition, yes, no):
    def codegen(context, builder, sig, args):
        return builder.select(*args)
    if isinstance(yes, BufferType):
        return BufferType(yes.dtype, None)(types.boolean, yes, no), codegen
    kind = types.unliteral(no)
    return kind(types.boolean, kind, kind), codegen


@intrinsic
def atomic_add_(typingctx, buffer, at, value):
    dtype = buffer.dtype

    def codegen(context, builder, sig, args):
        pointer = builder.gep(args[0], [args[1]], inbounds=True)
        builder.atomic_rmw("fadd" if isinstance(dtype, types.Float) else "add", pointer, args[2], "monotonic")
        return context.get_dummy_value()
    return types.none(buffer, types.int64, dtype), codegen


# Combining across threads

def shuffle(builder, value, offset):
    """The value of the lane whose number differs from this one's in the bits of `offset`."""
    kind = value.type
    function = declared(builder.module, "llvm.nvvm.shfl.sync.bfly.i32", I32, [I32, I32, I32, I32])

    def exchange(word):
        return builder.call(function, [ALL_LANES, word, offset, I32(WARP - 1)])

    width = 32 if kind == ir.FloatType() else 64 if kind == ir.DoubleType() else kind.width
    if width == 64:
        halves = builder.bitcast(value, ir.VectorType(I32, 2))
        for k in range(2):
            halves = builder.insert_element(halves, exchange(builder.extract_element(halves, I32(k))), I32(k))
        return builder.bitcast(halves, kind)
    if width == 32:
        return builder.bitcast(exchange(builder.bitcast(value, I32)), kind)
    return builder.trunc(exchange(builder.zext(value, I32)), kind)


def combined(builder, name: str, dtype: str, a, b):
    """One step of a reduction."""
    return reduce_step(name, dtype, *scalars(builder, [a, b])).value


def combine_lanes(builder, name: str, dtype: str, value, width=None, most: int = WARP):
    """The value combined over groups of `width` lanes, a power of two up to `most` (None: that many); in every lane."""
    offset = most // 2
    while offset:
        step = combined(builder, name, dtype, value, shuffle(builder, value, I32(offset)))
        value = step if width is None else builder.select(builder.icmp_unsigned("<", I64(offset), width), step, value)
        offset //= 2
    return value


def combine_warp(builder, name: str, dtype: str, value, width):
    """The value combined over groups of `width` lanes, or whole warps where these are wider: without asking at every step."""
    with builder.if_else(builder.icmp_unsigned(">=", width, I64(WARP))) as (then, otherwise):
        with then:
            whole, end = combine_lanes(builder, name, dtype, value), builder.block
        with otherwise:
            part, other = combine_lanes(builder, name, dtype, value, width), builder.block
    result = builder.phi(value.type)
    result.add_incoming(whole, end)
    result.add_incoming(part, other)
    return result


def scratch_pointer(builder, kind, at, name: str = "jitnet.scratch", count: int = MOST_THREADS):
    """Element `at` of the scratch that threads exchange values through, as elements of at most 8 bytes."""
    memory = shared_array(builder.module, name, I64, count)
    place = builder.gep(memory, [I32(0), builder.trunc(at, I32)])
    return builder.bitcast(place, ir.PointerType(kind, SHARED))


def in_memory(builder, value):
    """A value that memory can hold: an i1 as a byte."""
    return builder.zext(value, I8) if value.type == I1 else value


def reload(builder, kind, at, *where):
    """The scratch's element, of an LLVM type."""
    value = builder.load(scratch_pointer(builder, I8 if kind == I1 else kind, at, *where))
    return builder.trunc(value, I1) if kind == I1 else value


def combine_row(builder, name: str, dtype: str, value):
    """The value combined over the threads with this thread_y: within warps by shuffles, then across them by shared memory."""
    x, y, width = (special_register(builder, r) for r in ("tid.x", "tid.y", "ntid.x"))
    value, start = combine_warp(builder, name, dtype, value, width), builder.block
    several = builder.icmp_unsigned(">", width, I64(WARP))
    with builder.if_then(several):
        warps = builder.udiv(width, I64(WARP))
        first = builder.mul(y, warps)
        with builder.if_then(builder.icmp_unsigned("==", builder.and_(x, I64(WARP - 1)), I64(0))):
            stored = in_memory(builder, value)
            place = builder.add(first, builder.udiv(x, I64(WARP)))
            builder.store(stored, scratch_pointer(builder, stored.type, place, *WARPS))
        barrier(builder)
        mine = builder.add(first, builder.and_(x, builder.sub(warps, I64(1))))
        across = combine_lanes(builder, name, dtype, reload(builder, value.type, mine, *WARPS), warps, MOST_THREADS // WARP)
        barrier(builder)
        end = builder.block
    result = builder.phi(value.type)
    result.add_incoming(value, start)
    result.add_incoming(across, end)
    return result


def combine_column(builder, name: str, dtype: str, value):
    """The value combined over the threads with this thread_x, halving them in shared memory: the order is fixed."""
    x, y, width, height = (special_register(builder, r) for r in ("tid.x", "tid.y", "ntid.x", "ntid.y"))
    at = builder.add(builder.mul(y, width), x)
    stored = in_memory(builder, value)
    builder.store(stored, scratch_pointer(builder, stored.type, at))
    barrier(builder)
    before = builder.block
    loop, body, done = (builder.append_basic_block(n) for n in ("halve", "half", "halved"))
    builder.branch(loop)
    builder.position_at_end(loop)
    whole = builder.phi(I64)
    whole.add_incoming(height, before)
    builder.cbranch(builder.icmp_unsigned(">", whole, I64(1)), body, done)
    builder.position_at_end(body)
    half = builder.lshr(whole, I64(1))
    with builder.if_then(builder.icmp_unsigned("<", y, half)):
        other = reload(builder, value.type, builder.add(at, builder.mul(half, width)))
        step = in_memory(builder, combined(builder, name, dtype, reload(builder, value.type, at), other))
        builder.store(step, scratch_pointer(builder, step.type, at))
    barrier(builder)
    whole.add_incoming(half, builder.block)
    builder.branch(loop)
    builder.position_at_end(done)
    result = reload(builder, value.type, x)
    barrier(builder)
    return result


def make_combination(name: str, kind: str, combine):
    """row_add_(value) and its like."""
    def across(typingctx, value):
        value = types.unliteral(value)
        if value not in DTYPE_OF:
            return None

        def codegen(context, builder, sig, args):
            return combine(builder, name, DTYPE_OF[value], args[0])
        return value(value), codegen
    across.__name__ = f"{kind}_{name}_"
    return intrinsic(across)


CUDA_SCOPE = {name: value for name, value in NUMBA_SCOPE.items() if not name.startswith(("buffer_", "transpose_"))}
CUDA_SCOPE |= {name: make_coordinate(name, register) for name, register in COORDINATES.items()}
CUDA_SCOPE |= {f.__name__: f for f in (sync, div_, aligned_, load_vector_, store_vector_, either_, atomic_add_, inverse_,
                                    quotients_, *HALVES)}
CUDA_SCOPE |= {f"shared_{dtype}": make_shared(dtype) for dtype in DTYPES}
CUDA_SCOPE |= {f"kept_{dtype}": make_kept(dtype) for dtype in DTYPES}
CUDA_SCOPE |= {f"{kind}_{name}_": make_combination(name, kind, combine)
               for kind, combine in (("row", combine_row), ("column", combine_column)) for name in COMBINATIONS}
