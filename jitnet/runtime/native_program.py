"""A program's run, in the language of words.py: frames and the interpreter of the tables that program.py writes."""
# ruff: noqa: F403, F405  (the numbers of table words come from layout.py, all of them)
from .layout import *
from .native_memory import allocate, free
from .words import (
    call0,
    call1,
    call4,
    call8,
    larger,
    load8,
    load64,
    lower_half,
    smaller,
    store64,
    store_atomic,
    swap_if,
    zero_bytes,
)


def count_idle(api, block, sign):
    """Adds the arena of a program to the bytes that idle frames keep, or takes it off; 1 while these are not too many."""
    size = load64(block + 8 * B_ARENA_BYTES) + 64
    if size < IDLE_FROM:
        return 1
    held = load64(api + 8 * IDLE_BYTES)
    while swap_if(api + 8 * IDLE_BYTES, held, held + sign * size) == 0:
        held = load64(api + 8 * IDLE_BYTES)
    return 1 if held + sign * size <= load64(api + 8 * IDLE_BOUND) else 0


def take_frame(block):
    """A frame of this program that nobody uses: the last one given back, or a new one (0: no memory). Needs the GIL."""
    api = load64(block + 8 * B_API)
    frame = load64(block + 8 * B_FREE)
    if frame != 0:
        store64(block + 8 * B_FREE, load64(frame + 8 * F_NEXT))
        if load64(frame + 8 * F_OWNS_ARENA) != 0:
            count_idle(api, block, -1)
            return frame
    if frame == 0:
        words = load64(block + 8 * B_FRAME_WORDS)
        frame = allocate(api, 8 * words)
        if frame == 0:
            return 0
        zero_bytes(frame, 8 * words)
    arena = allocate(api, load64(block + 8 * B_ARENA_BYTES) + 64)
    if arena == 0:
        free(api, frame)
        return 0
    store64(frame + 8 * F_OWNS_ARENA, 1)
    if arena == load64(frame + 8 * F_ARENA):  # the one that it had before
        return frame
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
        if load64(frame + 8 * F_OWNS_ARENA) != 0:
            count_idle(api, block, -1)
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


def join(buffers, sizes, start, stop):
    """Steps joined by joining.py, a kernel like any other: all of them on one piece, then on the next.

    sizes: the number of steps, and for each its kernel, bytes from `buffers` to its own, sizes, points in a piece, extent.
    """
    for piece in range(start, stop):
        link = sizes + 8
        for _ in range(load64(sizes)):
            points, extent = load64(link + 24), load64(link + 32)
            first = piece * points
            call4(load64(link), buffers + load64(link + 8), load64(link + 16), first, smaller(first + points, extent))
            link += 40
    return 0


def interrupted(api, frame):
    """Whether the handler of a signal raised: Ctrl-C. Takes the GIL for the question where the run goes without."""
    thread = load64(frame + 8 * F_THREAD)
    if thread != 0:
        call1(load64(api + 8 * RESTORE_THREAD), thread)
    raised = lower_half(call0(load64(api + 8 * CHECK_SIGNALS)))
    if thread != 0:
        store64(frame + 8 * F_THREAD, call0(load64(api + 8 * SAVE_THREAD)))
    return raised


def run_released(frame, block, release_gil):
    """Runs a program, without the GIL if that is wanted. Needs the GIL."""
    api = load64(block + 8 * B_API)
    store64(frame + 8 * F_THREAD, 0)
    if release_gil == 0:
        return run(frame, block)
    store64(frame + 8 * F_THREAD, call0(load64(api + 8 * SAVE_THREAD)))
    result = run(frame, block)
    call1(load64(api + 8 * RESTORE_THREAD), load64(frame + 8 * F_THREAD))
    return result


def _run_chunks(api, frame, kernel, buffers, sizes, extent, grain):
    """Runs a parallel kernel: its chunks on the threads of the pool, or one after the other where there is none to be had."""
    count = (extent + grain - 1) // grain
    threads = smaller(load64(api + 8 * NUM_THREADS), count)
    alone = threads < 2 or load64(api + 8 * PARALLEL_FOR) == 0
    exclusive = load64(api + 8 * POOL_EXCLUSIVE) != 0
    if not alone and exclusive:
        alone = swap_if(api + 8 * POOL_BUSY, 0, 1) == 0
    if alone:  # in the same chunks, so that the result is the same
        start = 0
        while start < extent:
            call4(kernel, buffers, sizes, start, smaller(start + grain, extent))
            start += grain
        return 0
    store64(frame + 8 * F_KERNEL, kernel)
    store64(frame + 8 * F_BUFFERS, buffers)
    store64(frame + 8 * F_SIZES, sizes)
    store64(frame + 8 * F_EXTENT, extent)
    store64(frame + 8 * F_GRAIN, grain)
    store64(frame + 8 * F_POOL_ARGS, 0)
    store64(frame + 8 * F_POOL_DIMS, count)
    store64(frame + 8 * F_POOL_STEPS, 1)
    call8(load64(api + 8 * PARALLEL_FOR), load64(api + 8 * CHUNKS), frame + 8 * F_POOL_ARGS,
          frame + 8 * F_POOL_DIMS, frame + 8 * F_POOL_STEPS, frame, 0, 1, threads)
    if exclusive:
        store_atomic(api + 8 * POOL_BUSY, 0)
    return 0


def _advance(frame, moves, count, rounds):
    """Moves buffers of a loop by so many rounds: each has a word of the frame and a stride in bytes."""
    for i in range(count):
        word = frame + 8 * load64(moves + 16 * i)
        store64(word, load64(word) + rounds * load64(moves + 16 * i + 8))
    return 0


def run(frame, block):
    """Runs a program whose inputs and outputs stand in the frame. (Cut into functions it takes 2 ns longer, of 130 a call.)"""
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
            _run_chunks(api, frame, a, frame + 8 * b, c, d, e)
        elif op == OP_NEXT:  # loop state, moves, number of moves, target, rounds between two looks for signals, less one
            _advance(frame, b, c, 1)
            state = frame + 8 * a
            turns = load64(state) + 1
            store64(state, turns)
            pc = code + d
            if turns & e == 0 and interrupted(api, frame) != 0:
                return INTERRUPTED
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
            _advance(frame, b, c, -load64(frame + 8 * a))
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
    """Gives the frame back. After an exception inside a loop its buffers may have moved: then it is freed. Needs the GIL.

    A large arena goes to the pool, and others back to malloc once all idle ones are too much together: a thousand programs
    that ran once, for a thousand sizes, do not hold a thousand arenas.
    """
    api = load64(block + 8 * B_API)
    if result == CALLBACK_FAILED or result == INTERRUPTED:  # noqa: SIM109  (the language has no `in`)
        free(api, load64(frame + 8 * F_ARENA))
        free(api, frame)
    else:
        kept = 0
        if load64(block + 8 * B_ARENA_BYTES) + 64 < POOLED_FROM:
            kept = count_idle(api, block, 1)
            if kept == 0:
                count_idle(api, block, -1)
        if kept == 0:
            free(api, load64(frame + 8 * F_ARENA))
            store64(frame + 8 * F_OWNS_ARENA, 0)
        store64(frame + 8 * F_NEXT, load64(block + 8 * B_FREE))
        store64(block + 8 * B_FREE, frame)
    return 0


def run_arrays(block, buffers, cells, release_gil):
    """Runs a program on addresses (inputs, then outputs) and copies its status cells out."""
    frame = take_frame(block)
    if frame == 0:
        return NO_MEMORY
    for i in range(load64(block + 8 * B_INPUTS) + load64(block + 8 * B_OUTPUTS)):
        store64(frame + 8 * (F_IO + i), load64(buffers + 8 * i))
    result = run_released(frame, block, release_gil)
    status = load64(frame + 8 * F_ARENA) + load64(block + 8 * B_STATUS)
    for i in range(load64(block + 8 * B_STATUS_COUNT)):
        store64(cells + 8 * i, load64(status + 8 * i))
    finish(block, frame, result)
    return result
