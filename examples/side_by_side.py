"""Shared by the examples: times a function as NumPy runs it and as jitnet compiles it, and compares the results."""
import time

import numpy as np


def best_time(call, repeats=5):
    """Seconds of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(title, plain, compiled, *inputs, repeats=5):
    """Prints both times and the largest difference between the results; returns jitnet's result and the difference."""
    start = time.perf_counter()
    ours = compiled(*inputs)
    first = time.perf_counter() - start
    theirs = plain(*inputs)
    difference = max(float(np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))))
                     for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (ours, theirs))))
    slow, fast = best_time(lambda: plain(*inputs), repeats), best_time(lambda: compiled(*inputs), repeats)
    print(f"{title}: NumPy {1e3 * slow:.2f} ms, jitnet {1e3 * fast:.2f} ms ({slow / fast:.1f} times faster; "
          f"first call {1e3 * first:.0f} ms), largest difference {difference:.1e}")
    return ours, difference
