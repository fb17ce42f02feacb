"""What the source of a GPU kernel may call besides the names of CPU kernels, and its parameters.

    def kernel(x0: "f32*", out0: "f32*", n0: "i64", c0: "f32"):     "f32*": a buffer's first element; else a number by value

    thread_x() thread_y()       number of this thread in its block          threads_x() threads_y()   threads of a block
    block_x() block_y()         number of this block in the grid            blocks_x() blocks_y()     blocks of the grid
    sync()                      waits until all threads of the block are here, and have written what they wrote
    div_(a, b)                  a // b of numbers that are not negative
    aligned_(x, at)             does x[at] lie at a multiple of 16 bytes?
    load_vector_(x, at, 4)      x[at], ..., x[at + 3] by one instruction; store_vector_(x, at, (a, b, c, d)) writes so
    shared_f32(1056, 0)         array 0 of this block's threads, of 1056 elements
    kept_f32(512)               the dynamic shared memory of the launch, from byte 512 on
    either_(keep, a, b)         a where the bool holds, else b: two pointers, or two numbers
    row_add_(value)             the values of all threads with this thread_y, combined; also mul, max, min
    column_add_(value)          the values of all threads with this thread_x, combined
    atomic_add_(x, at, value)   x[at] += value, in one step
    quotients_((a, b), d, inverse)   (a / d, b / d), with inverse = inverse_(d); inverse_f16_ and quotients_f16_, and of bf16,
                                     where all are halves in float32 and the quotients are rounded to halves
"""
from __future__ import annotations

import re

COORDINATES = {"thread_x": "tid.x", "thread_y": "tid.y", "threads_x": "ntid.x", "threads_y": "ntid.y",
               "block_x": "ctaid.x", "block_y": "ctaid.y", "blocks_x": "nctaid.x", "blocks_y": "nctaid.y"}
"""What a thread knows of its place, and the special register that holds it."""

COMBINATIONS = ("add", "mul", "max", "min")
INPUTS = ("x", "sizes")   # what the names of parameters begin with that a kernel only reads
LONG_ROW = 512      # threads of a block that reduces a single row
VECTOR_BYTES = 16   # the widest load of one thread
PARAMETER = re.compile(r'(\w+): "(\w+\*?)"')


def parameters(source: str) -> list[tuple[str, str]]:
    """(name, dtype) of every parameter of a kernel, from the first line of its source; `*` marks buffers."""
    return PARAMETER.findall(source.split("\n", 1)[0])
