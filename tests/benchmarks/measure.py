"""Best and typical seconds of a call, and the copy bandwidth that the machine has to give."""
import concurrent.futures
import ctypes
import functools
import gc
import os
import time
from itertools import repeat

import numpy as np

SHORTEST_SAMPLE = 100e-6  # calls shorter than this are timed many at a time


def calls_in(call, count):
    start = time.perf_counter()
    for _ in repeat(None, count):
        call()
    return (time.perf_counter() - start) / count


def time_call(call, seconds):
    """{best, median, slow, calls}: seconds per call over about `seconds` of calls; slow is the 90th percentile."""
    once = calls_in(call, 1)
    count = max(1, int(SHORTEST_SAMPLE / max(once, 1e-8)))
    if count > 1:
        count = max(1, int(SHORTEST_SAMPLE / calls_in(call, count)))
    collecting = gc.isenabled()
    gc.disable()
    try:
        samples, end = [], time.perf_counter() + seconds
        while len(samples) < 3 or time.perf_counter() < end:
            samples.append(calls_in(call, count))
    finally:
        if collecting:
            gc.enable()
    best, median, slow = (float(np.quantile(samples, q)) for q in (0, 0.5, 0.9))
    return {"best": best, "median": median, "slow": slow, "calls": count * len(samples)}


@functools.cache
def copy_buffers(size):
    return np.ones(size, np.uint8), np.ones(size, np.uint8)


def copy_bandwidth(size, seconds):
    """Bytes read plus bytes written per second by the best copy of `size` bytes: C's memmove on 1, 2, ... all cores."""
    source, target = copy_buffers(size)
    best, threads = 0.0, 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counts = [threads for threads in (1, 2, 4, 8, 16, 32, 64) if threads < cores] + [cores]
    for threads in counts:
        edges = [size * k // threads for k in range(threads + 1)]
        parts = [(target.ctypes.data + a, source.ctypes.data + a, b - a) for a, b in zip(edges, edges[1:])]
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:  # ctypes lets go of the interpreter lock
            def copy(pool=pool, parts=parts):
                if len(parts) == 1:
                    ctypes.memmove(*parts[0])
                else:
                    list(pool.map(ctypes.memmove, *zip(*parts)))
            best = max(best, 2 * size / time_call(copy, seconds / len(counts))["best"])
    return best
