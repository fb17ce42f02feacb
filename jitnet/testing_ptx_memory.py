"""What a thread may read and write on the GPU of testing_ptx_gpu.py: each address is looked up, and who was there before.

A read that is not after another thread's write gets garbage (NaN, -1), as on a GPU it may: threads beyond the last row read so,
and drop it, so this is no fault. A write that is not after another thread's write is one.
"""
from __future__ import annotations

import functools

SPACES = ("generic", "global", "shared", "local")
READ, READ_ONLY, WRITE, ATOMIC = range(4)     # what happens there; read only: for as long as the kernel runs
WORLD = ("parameters", "counts", "shared", "tables", "local", "garbage", "n_ranges", "epoch", "block", "steps",
         "fault", "line", "thread", "address", "nbytes", "other",
         "ntid.x", "ntid.y", "ntid.z", "nctaid.x", "nctaid.y", "nctaid.z", "ctaid.x", "ctaid.y", "ctaid.z")
"""The int64 that all threads see: addresses of memory, whose turn it is, the first fault, the special registers of a block."""
RANGE = ("start", "end", "space", "shadow", "kind")   # of a piece of memory; shadow: where its bytes begin among those noted
ORDINARY, CONSTANT, ANYONES = range(3)                # kinds; anyone's: where all write the same
FAULTS = ("", "in no memory that it may use", "is not aligned", "is in another address space", "is memory to be read alone",
          "is used again and again: threads go round for ever",
          "has been written by", "was written, and is read as what nobody writes, by")
OUTSIDE, MISALIGNED, OTHER_SPACE, CONSTANT_WRITTEN, FOR_EVER, WRITTEN_TWICE, STALE = range(1, 8)
ATOMICALLY = (1 << 12) - 1      # in the place of a thread: anybody's additions
MOST_STEPS = 20_000_000         # reads and writes from one meeting to the next


def _look_up(world, ranges, written, thread, address, nbytes, space, what, line):
    """The address to use on this machine; 0, and the fault noted in the world, where there is none."""
    fault, other, at, k = 0, 0, 0, 0
    world[STEPS] += 1
    if space == 2:
        address += world[SHARED]
    elif space == 3:
        address += world[LOCAL]
    n = world[RANGES]
    while k < n and not (ranges[5 * k] <= address and address + nbytes <= ranges[5 * k + 1]):
        k += 1
    if world[STEPS] > MOST_STEPS:
        fault = FOR_EVER
    elif k == n:
        fault = OUTSIDE
    elif address % nbytes:
        fault = MISALIGNED
    elif space != 0 and space != ranges[5 * k + 2]:
        fault = OTHER_SPACE
    elif ranges[5 * k + 4] == CONSTANT:
        fault = CONSTANT_WRITTEN if what >= WRITE else 0
    elif ranges[5 * k + 4] == ORDINARY:
        at = ranges[5 * k + 3] + address - ranges[5 * k]
        # (block, thread, epoch) in the bits of a number; an epoch ends where the block meets
        me = world[BLOCK] << 36 | thread << 24 | world[EPOCH]
        early = False
        for byte in range(at, at + nbytes):
            wrote, writer = written[byte], written[byte] >> 24 & ATOMICALLY
            after_write = wrote >> 36 == world[BLOCK] and (writer == thread or wrote & EPOCHS < world[EPOCH])
            if writer == ATOMICALLY and ranges[5 * k + 2] != 2:   # other blocks may add still
                after_write = False
            if what in (READ, READ_ONLY):
                early = early or (wrote and not after_write)
                if what == READ_ONLY and wrote:
                    fault, other = STALE, wrote
            else:
                if wrote and not after_write and not (what == ATOMIC and writer == ATOMICALLY):
                    fault, other = WRITTEN_TWICE, wrote
                written[byte] = me if what == WRITE else world[BLOCK] << 36 | ATOMICALLY << 24 | world[EPOCH]
        if early and not fault:
            return world[GARBAGE]
    if fault:
        if world[FAULT_] == 0:
            world[FAULT_], world[FAULT_ + 1], world[FAULT_ + 2] = fault, line, thread
            world[FAULT_ + 3], world[FAULT_ + 4], world[FAULT_ + 5] = address, nbytes, other
        return 0
    return address


SHARED, LOCAL, RANGES, EPOCH, BLOCK, STEPS, GARBAGE, FAULT_ = (
    WORLD.index(name) for name in ("shared", "local", "n_ranges", "epoch", "block", "steps", "garbage", "fault"))
EPOCHS = (1 << 24) - 1   # the bits of an epoch


@functools.cache
def access():
    """_look_up as a C function; its `address` is where it lies."""
    from numba import cfunc, types

    words = types.CPointer(types.int64)
    return cfunc(types.int64(*[words] * 3, *[types.int64] * 6))(_look_up)


def describe(world) -> str:
    """The first fault in words."""
    fault, _, thread, address, nbytes, other = (int(v) for v in world[FAULT_:FAULT_ + 6])
    text = f"address {address:#x}, {nbytes} bytes, {FAULTS[fault]}"
    if fault >= WRITTEN_TWICE:
        number = other >> 24 & ATOMICALLY
        text += f" {'additions' if number == ATOMICALLY else f'thread {number}'} of block {other >> 36}"
    return f"{text}: thread {thread} of block {int(world[BLOCK])}"
