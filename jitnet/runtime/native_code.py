"""The native half of the runtime, in the language of words.py: every value is an int64, memory is reached by address.

Only its text is used: native.py compiles it and keeps the object file in the kernel cache.
The order: large blocks; a program's run; a call from Python.
"""
from .layout import *  # noqa: F403  (numbers of table words)
from .words import (call0, call1, call2, call3, call4, call8, copy_bytes, f64_bits, larger, load8, load32, load64, lower_half,
                    smaller, store8, store16, store32, store64, store_atomic, store_f32, swap_if, zero_bytes)

# Large blocks: aligned to 64 bytes, and kept for the next one of their size when freed. A fresh 64 MB block costs as much
# in page faults as a simple kernel takes to fill it.


def allocate(api, size):
    """Address of a block of `size` bytes, or 0."""
    if size >= POOLED_FROM:
        while swap_if(api + 8 * HELD_LOCK, 0, 1) == 0:
            pass
        count = load64(api + 8 * HELD_COUNT)
        best, best_capacity = -1, size + size // 4 + 1
        for i in range(count):
            capacity = load64(api + 8 * (HELD + 2 * i + 1))
            if size <= capacity and capacity < best_capacity:
                best, best_capacity = i, capacity
        found = 0
        if best >= 0:
            found = load64(api + 8 * (HELD + 2 * best))
            for i in range(best + 1, count):  # in order of age
                store64(api + 8 * (HELD + 2 * i - 2), load64(api + 8 * (HELD + 2 * i)))
                store64(api + 8 * (HELD + 2 * i - 1), load64(api + 8 * (HELD + 2 * i + 1)))
            store64(api + 8 * HELD_COUNT, count - 1)
            store64(api + 8 * HELD_BYTES, load64(api + 8 * HELD_BYTES) - best_capacity)
        store_atomic(api + 8 * HELD_LOCK, 0)
        if found != 0:
            return found
    align = HUGE_PAGE if size >= HUGE_FROM else 64
    raw = call1(load64(api + 8 * MALLOC), size + align + HEADER)
    if raw == 0:
        return 0
    block = (raw + HEADER + align - 1) & -align
    store64(block - HEADER, raw)
    store64(block - HEADER + 8, size)
    if size >= HUGE_FROM and load64(api + 8 * MADVISE) != 0:
        call3(load64(api + 8 * MADVISE), block, size & -HUGE_PAGE, 14)  # MADV_HUGEPAGE
    return block


def free(api, block):
    """Takes a block back: into the pool, or to malloc."""
    capacity = load64(block - HEADER + 8)
    bound = load64(api + 8 * HELD_BOUND)
    if capacity >= POOLED_FROM and capacity <= bound:
        oldest = 1
        while oldest != 0:
            oldest = 0
            while swap_if(api + 8 * HELD_LOCK, 0, 1) == 0:
                pass
            count = load64(api + 8 * HELD_COUNT)
            held = load64(api + 8 * HELD_BYTES)
            if count < HELD_MAX and held + capacity <= bound:
                store64(api + 8 * (HELD + 2 * count), block)
                store64(api + 8 * (HELD + 2 * count + 1), capacity)
                store64(api + 8 * HELD_COUNT, count + 1)
                store64(api + 8 * HELD_BYTES, held + capacity)
            else:
                oldest = load64(api + 8 * HELD)
                store64(api + 8 * HELD_BYTES, held - load64(api + 8 * (HELD + 1)))
                for i in range(1, count):
                    store64(api + 8 * (HELD + 2 * i - 2), load64(api + 8 * (HELD + 2 * i)))
                    store64(api + 8 * (HELD + 2 * i - 1), load64(api + 8 * (HELD + 2 * i + 1)))
                store64(api + 8 * HELD_COUNT, count - 1)
            store_atomic(api + 8 * HELD_LOCK, 0)
            if oldest != 0:
                call1(load64(api + 8 * FREE), load64(oldest - HEADER))
    else:
        call1(load64(api + 8 * FREE), load64(block - HEADER))
    return 0


def memory_malloc(api, size):
    """NumPy's data allocator: the four functions of a PyDataMem_Handler."""
    return allocate(api, size)


def memory_calloc(api, count, size):
    block = allocate(api, count * size)
    if block != 0:
        zero_bytes(block, count * size)
    return block


def memory_realloc(api, block, size):
    if block == 0:
        return allocate(api, size)
    fresh = allocate(api, size)
    if fresh != 0:
        copy_bytes(fresh, block, smaller(size, load64(block - HEADER + 8)))
        free(api, block)
    return fresh


def memory_free(api, block, size):
    if block != 0:
        free(api, block)
    return 0


# A program's run


def take_frame(block):
    """A frame of this program that nobody uses: the last one given back, or a new one (0: no memory). Needs the GIL."""
    frame = load64(block + 8 * B_FREE)
    if frame != 0:
        store64(block + 8 * B_FREE, load64(frame + 8 * F_NEXT))
        return frame
    api = load64(block + 8 * B_API)
    words = load64(block + 8 * B_FRAME_WORDS)
    frame = allocate(api, 8 * words)
    if frame == 0:
        return 0
    arena = allocate(api, load64(block + 8 * B_ARENA_BYTES) + 64)
    if arena == 0:
        free(api, frame)
        return 0
    zero_bytes(frame, 8 * words)
    store64(frame + 8 * F_BLOCK, block)
    store64(frame + 8 * F_ARENA, arena)
    static = load64(block + 8 * B_STATIC)
    for i in range(load64(block + 8 * B_STATIC_COUNT)):  # buffers of constants and of the arena never move
        word = load64(static + 24 * i)
        base = arena if load64(static + 24 * i + 8) != 0 else 0
        store64(frame + 8 * word, base + load64(static + 24 * i + 16))
    return frame


def free_frames(block):
    """Gives all idle frames of a program back. Needs the GIL."""
    api = load64(block + 8 * B_API)
    frame = load64(block + 8 * B_FREE)
    store64(block + 8 * B_FREE, 0)
    while frame != 0:
        following = load64(frame + 8 * F_NEXT)
        free(api, load64(frame + 8 * F_ARENA))
        free(api, frame)
        frame = following
    return 0


def chunks(args, dims, steps, frame):
    """A thread's share of a parallel kernel: dims[0] chunks from the one numbered args[0]."""
    kernel = load64(frame + 8 * F_KERNEL)
    buffers = load64(frame + 8 * F_BUFFERS)
    sizes = load64(frame + 8 * F_SIZES)
    extent = load64(frame + 8 * F_EXTENT)
    grain = load64(frame + 8 * F_GRAIN)
    start = load64(args) * grain
    for _ in range(load64(dims)):
        call4(kernel, buffers, sizes, start, smaller(start + grain, extent))
        start += grain
    return 0


def run(frame, block):
    """Runs a program whose inputs and outputs stand in the frame."""
    api = load64(block + 8 * B_API)
    io = load64(block + 8 * B_IO)
    for i in range(load64(block + 8 * B_IO_COUNT)):
        store64(frame + 8 * load64(io + 24 * i), load64(frame + 8 * load64(io + 24 * i + 8)) + load64(io + 24 * i + 16))
    status = load64(frame + 8 * F_ARENA) + load64(block + 8 * B_STATUS)
    cells = load64(block + 8 * B_STATUS_COUNT)
    for i in range(cells):
        store64(status + 8 * i, 0)
    code = load64(block + 8 * B_CODE)
    pc = code
    while True:
        op = load64(pc)
        a, b, c = load64(pc + 8), load64(pc + 16), load64(pc + 24)
        d, e = load64(pc + 32), load64(pc + 40)
        pc += 8 * INSTRUCTION_WORDS
        if op == OP_SERIAL:  # kernel, buffers, sizes, extent
            call4(a, frame + 8 * b, c, 0, d)
        elif op == OP_PARALLEL:  # kernel, buffers, sizes, extent, grain
            count = (d + e - 1) // e
            threads = smaller(load64(api + 8 * NUM_THREADS), count)
            alone = threads < 2 or load64(api + 8 * PARALLEL_FOR) == 0
            exclusive = load64(api + 8 * POOL_EXCLUSIVE) != 0
            if not alone and exclusive:
                alone = swap_if(api + 8 * POOL_BUSY, 0, 1) == 0
            if alone:  # in the same chunks, so that the result is the same
                start = 0
                while start < d:
                    call4(a, frame + 8 * b, c, start, smaller(start + e, d))
                    start += e
            else:
                store64(frame + 8 * F_KERNEL, a)
                store64(frame + 8 * F_BUFFERS, frame + 8 * b)
                store64(frame + 8 * F_SIZES, c)
                store64(frame + 8 * F_EXTENT, d)
                store64(frame + 8 * F_GRAIN, e)
                store64(frame + 8 * F_POOL_ARGS, 0)
                store64(frame + 8 * F_POOL_DIMS, count)
                store64(frame + 8 * F_POOL_STEPS, 1)
                call8(load64(api + 8 * PARALLEL_FOR), load64(api + 8 * CHUNKS), frame + 8 * F_POOL_ARGS,
                      frame + 8 * F_POOL_DIMS, frame + 8 * F_POOL_STEPS, frame, 0, 1, threads)
                if exclusive:
                    store_atomic(api + 8 * POOL_BUSY, 0)
        elif op == OP_NEXT:  # loop state, moves, number of moves, target
            for i in range(c):
                word = frame + 8 * load64(b + 16 * i)
                store64(word, load64(word) + load64(b + 16 * i + 8))
            state = frame + 8 * a
            store64(state, load64(state) + 1)
            pc = code + d
        elif op == OP_TEST_COUNT:  # loop state, exit
            if load64(frame + 8 * a) >= load64(frame + 8 * a + 8):
                pc = code + b
        elif op == OP_TEST_CONDITION:  # buffer, exit
            if load8(load64(frame + 8 * a)) == 0:
                pc = code + b
        elif op == OP_LOOP:  # loop state, kind of count, count or buffer
            store64(frame + 8 * a, 0)
            count = c
            if b == COUNT_SLOT:
                count = load64(load64(frame + 8 * c))
            store64(frame + 8 * a + 8, count)
        elif op == OP_EXIT:  # loop state, moves, number of moves: back to where they were
            trips = load64(frame + 8 * a)
            for i in range(c):
                word = frame + 8 * load64(b + 16 * i)
                store64(word, load64(word) - trips * load64(b + 16 * i + 8))
        elif op == OP_SWITCH:  # buffer, number of branches, targets
            branch = load64(load64(frame + 8 * a))
            branch = smaller(larger(branch, 0), b - 1)
            pc = code + load64(c + 8 * branch)
        elif op == OP_JUMP:  # target
            pc = code + a
        elif op == OP_CALLBACK:  # like OP_SERIAL, returning whether it failed
            if lower_half(call4(a, frame + 8 * b, c, 0, d)) != 0:
                return CALLBACK_FAILED
        else:
            break
    for i in range(cells):
        if load64(status + 8 * i) != 0:
            return STATUS_SET
    return DONE


def finish(block, frame, result):
    """Gives the frame back. After a callback's exception its buffers may have moved: then it is freed. Needs the GIL."""
    if result == CALLBACK_FAILED:
        api = load64(block + 8 * B_API)
        free(api, load64(frame + 8 * F_ARENA))
        free(api, frame)
    else:
        store64(frame + 8 * F_NEXT, load64(block + 8 * B_FREE))
        store64(block + 8 * B_FREE, frame)
    return 0


def run_arrays(block, buffers, cells, release_gil):
    """Runs a program on addresses (inputs, then outputs) and copies its status cells out."""
    api = load64(block + 8 * B_API)
    frame = take_frame(block)
    if frame == 0:
        return NO_MEMORY
    for i in range(load64(block + 8 * B_INPUTS) + load64(block + 8 * B_OUTPUTS)):
        store64(frame + 8 * (F_IO + i), load64(buffers + 8 * i))
    if release_gil != 0:
        thread = call0(load64(api + 8 * SAVE_THREAD))
        result = run(frame, block)
        call1(load64(api + 8 * RESTORE_THREAD), thread)
    else:
        result = run(frame, block)
    status = load64(frame + 8 * F_ARENA) + load64(block + 8 * B_STATUS)
    for i in range(load64(block + 8 * B_STATUS_COUNT)):
        store64(cells + 8 * i, load64(status + 8 * i))
    finish(block, frame, result)
    return result


# A call from Python


def match(record, args, frame):
    """1 if the arguments are what the record wants; their addresses then stand in the frame."""
    api = load64(load64(record + 8 * R_BLOCK) + 8 * B_API)
    want = record + 8 * R_ARGUMENTS
    for i in range(load64(record + 8 * R_ARGUMENT_COUNT)):
        argument = load64(args + 8 * i)
        kind = load64(want)
        word = frame + 8 * load64(want + 8)
        cls = load64(argument + 8 * OBJECT_TYPE)
        first = load64(want + 16)
        second = load64(want + 24)
        if kind == KIND_ARRAY:
            ndim = load64(want + 32)
            if (cls != load64(api + 8 * ARRAY_TYPE) or load64(argument + 8 * ARRAY_DESCR) != first
                    or load32(argument + 8 * ARRAY_NDIM) != ndim
                    or (load32(argument + 8 * ARRAY_FLAGS) & second) != second):
                return 0
            shape = load64(argument + 8 * ARRAY_SHAPE)
            want += 8 * ARRAY_WORDS
            for axis in range(ndim):
                if load64(shape + 8 * axis) != load64(want + 8 * axis):
                    return 0
            want += 8 * ndim
            store64(word, load64(argument + 8 * ARRAY_DATA))
            continue
        want += 8 * SCALAR_WORDS
        if kind == KIND_NUMPY_SCALAR:
            if cls != first:
                return 0
            store64(word, argument + 8 * OBJECT_VALUE)
            continue
        if kind == KIND_SAME:
            if argument != first:
                return 0
            continue
        cell = frame + 8 * second
        store64(word, cell)
        if kind == KIND_FLOAT:
            if cls != load64(api + 8 * FLOAT_TYPE):
                return 0
            bits = load64(argument + 8 * OBJECT_VALUE)
            if first == 0:
                store_f32(cell, bits)
            else:
                store64(cell, bits)
            continue
        if kind == KIND_BOOL:
            value = 1 if argument == load64(api + 8 * TRUE) else 0
            if value == 0 and argument != load64(api + 8 * FALSE):
                return 0
        else:
            if cls != load64(api + 8 * LONG_TYPE):
                return 0
            overflow = frame + 8 * F_KERNEL  # free until the run
            value = call2(load64(api + 8 * LONG_AS_LONG), argument, overflow)
            if load32(overflow) != 0:
                return 0
        if first == 0:
            store_f32(cell, f64_bits(value))
        elif first == 1:
            store64(cell, f64_bits(value))
        elif first == 5:
            store64(cell, value)
        elif first == 10:
            store8(cell, 1 if value != 0 else 0)
        else:
            bits = 8 << ((first - 2) & 3)  # i1 i2 i4 i8 u1 u2 u4 u8
            low = -(1 << (bits - 1)) if first < 6 else 0
            high = (1 << (bits - 1)) - 1
            if first >= 6:
                high = (1 << bits) - 1 if bits < 64 else 0x7fffffffffffffff
            if value < low or value > high:
                return 0
            if bits == 8:
                store8(cell, value)
            elif bits == 16:
                store16(cell, value)
            elif bits == 32:
                store32(cell, value)
            else:
                store64(cell, value)
    return 1


def fresh_array(api, want):
    """A new array as the output descriptor says, or 0 with NumPy's exception set. From a page up we bring the memory."""
    size = load64(want + 24)
    data, flags = 0, 0
    if size >= load64(api + 8 * ALIGNED_FROM):
        data = allocate(api, size)
        if data != 0:
            flags = C_CONTIGUOUS | ALIGNED | WRITEABLE
    descr = load64(want)
    call1(load64(api + 8 * INCREF), descr)  # the next call takes it over
    array = call8(load64(api + 8 * NEW_ARRAY), load64(api + 8 * ARRAY_TYPE), descr, load64(want + 8), load64(want + 16),
                  0, data, flags, 0)
    if data != 0:
        if array == 0:
            free(api, data)
        else:
            handler = load64(api + 8 * MEMORY_HANDLER)
            call1(load64(api + 8 * INCREF), handler)
            store64(array + 8 * ARRAY_HANDLER, handler)
            flags_at = array + 8 * ARRAY_FLAGS
            store32(flags_at, load32(flags_at) | OWNDATA)
    return array


def call(self, args, count, names):
    """The PyCFunction (METH_FASTCALL | METH_KEYWORDS) behind an entry."""
    table = load64(self + 8 * ARRAY_DATA)
    api = load64(table + 8 * T_API)
    record, frame, block = 0, 0, 0
    if names == 0:
        known = load64(table + 8 * T_COUNT)
        for i in range(known):
            record = load64(table + 8 * (T_RECORDS + i))
            if load64(record + 8 * R_ARGUMENT_COUNT) == count:
                block = load64(record + 8 * R_BLOCK)
                frame = take_frame(block)
                if frame != 0:
                    if match(record, args, frame) != 0:
                        for k in range(i):  # the next call will look here first
                            store64(table + 8 * (T_RECORDS + i - k), load64(table + 8 * (T_RECORDS + i - k - 1)))
                        store64(table + 8 * T_RECORDS, record)
                        break
                    finish(block, frame, DONE)
                    frame = 0
    if frame == 0:
        return call4(load64(api + 8 * VECTORCALL), load64(table + 8 * T_FALLBACK), args, count, names)

    decref = load64(api + 8 * DECREF)
    owner = load64(record + 8 * R_OWNER)
    call1(load64(api + 8 * INCREF), owner)  # keeps the program while it runs, whatever happens to the entry
    inputs = load64(block + 8 * B_INPUTS)
    outputs = load64(record + 8 * R_OUTPUT_COUNT)
    arrays = frame + 8 * (F_IO + inputs + outputs + inputs)  # where they wait: behind the scalar cells
    made = 0
    while made < outputs:
        array = fresh_array(api, load64(record + 8 * R_OUTPUTS) + 8 * OUTPUT_WORDS * made)
        if array == 0:
            break
        store64(arrays + 8 * made, array)
        store64(frame + 8 * (F_IO + inputs + made), load64(array + 8 * ARRAY_DATA))
        made += 1
    result = 0
    code = NO_MEMORY
    if made == outputs:
        if load64(record + 8 * R_RELEASE) != 0:
            thread = call0(load64(api + 8 * SAVE_THREAD))
            code = run(frame, block)
            call1(load64(api + 8 * RESTORE_THREAD), thread)
        else:
            code = run(frame, block)
    if code == DONE:
        if load64(record + 8 * R_SINGLE) != 0:
            result = call1(load64(api + 8 * ARRAY_RETURN), load64(arrays))
        else:
            result = call1(load64(api + 8 * TUPLE_NEW), outputs)
            for i in range(outputs):
                item = call1(load64(api + 8 * ARRAY_RETURN), load64(arrays + 8 * i))
                store64(result + 8 * (TUPLE_ITEMS + i), item)
    else:
        for i in range(made):
            call1(decref, load64(arrays + 8 * i))
        if code != NO_MEMORY:  # on_error(owner, code, address of the status cells) raises, or gives another result
            own = frame + 8 * F_POOL_ARGS
            store64(own, owner)
            store64(own + 8, call1(load64(api + 8 * LONG_FROM_LONG), code))
            status = load64(frame + 8 * F_ARENA) + load64(block + 8 * B_STATUS)
            store64(own + 16, call1(load64(api + 8 * LONG_FROM_LONG), status))
            result = call4(load64(api + 8 * VECTORCALL), load64(table + 8 * T_ON_ERROR), own, 3, 0)
            call1(decref, load64(own + 8))
            call1(decref, load64(own + 16))
    finish(block, frame, code)
    call1(decref, owner)
    return result
