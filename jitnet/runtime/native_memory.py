"""Large blocks of memory, in the language of words.py: aligned, and kept for the next one of their size when freed.

A fresh 64 MB block costs as much in page faults as a simple kernel takes to fill it. Arenas and output arrays come from here;
NumPy frees the latter through the four memory_ functions.
"""
# ruff: noqa: F403, F405  (the numbers of table words come from layout.py, all of them)
from .layout import *
from .words import call1, call3, copy_bytes, load64, smaller, store64, store_atomic, swap_if, zero_bytes


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
    raw = call1(load64(api + 8 * MALLOC), size + 64 + HEADER)
    if raw == 0:
        return 0
    block = (raw + HEADER + 63) & -64
    store64(block - HEADER, raw)
    store64(block - HEADER + 8, size)
    if size >= HUGE_FROM and load64(api + 8 * MADVISE) != 0:
        page = (block + 4095) & -4096
        call3(load64(api + 8 * MADVISE), page, block + size - page, 14)  # MADV_HUGEPAGE
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
