"""Several kernels compiled at once, in a forked child beside this process: LLVM works under one lock per process.

The child inherits Numba as it is loaded, compiles its share, sends the objects through a pipe and ends. A child that does not
answer in time is given up (a lock may have been held by a thread that the fork left behind), and this process compiles its
share too: nothing but time depends on it.
"""
from __future__ import annotations

import os
import pickle
import select
import signal
import time
import warnings
from collections.abc import Callable, Sequence

LEAST = 3            # kernels from which on a child pays: forking and loading its objects costs about 15 ms
PATIENCE = 20.0      # seconds of silence after which a child is given up


def can_fork() -> bool:
    """Whether a child could help: there is fork, and a core for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return hasattr(os, "fork") and cores > 1 and os.environ.get("JITNET_COMPILE_PROCESSES", "2") != "1"


def build_together(jobs: Sequence[tuple[str, Callable[[], bytes]]]) -> dict[str, bytes]:
    """Objects by key for (key, build) jobs, the heavier first; half built by a child. What it fails at is left out."""
    mine, others = list(jobs[0::2]), list(jobs[1::2])
    child, pipe = _start(others)
    found = {key: build() for key, build in mine}
    if child:
        found |= _collect(child, pipe)
    return found


def _start(jobs) -> tuple[int, int]:
    """(process, pipe) of a child that builds the jobs; (0, -1) where none can be had."""
    reader, writer = os.pipe()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)   # Python's about threads: see above
            child = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        return 0, -1
    if child:
        os.close(writer)
        return child, reader
    try:   # the child: no clean-up of the parent's things, whatever happens
        os.close(reader)
        with os.fdopen(writer, "wb") as stream:
            pickle.dump({key: build() for key, build in jobs}, stream)
    finally:
        os._exit(0)


def _collect(child: int, pipe: int) -> dict[str, bytes]:
    """What the child sends; nothing when it fails or is silent for too long."""
    parts, end = [], time.monotonic() + PATIENCE
    try:
        while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            part = os.read(pipe, 1 << 20)
            if not part:
                return pickle.loads(b"".join(parts)) if parts else {}
            parts.append(part)
        os.kill(child, signal.SIGKILL)
        return {}
    finally:
        os.close(pipe)
        os.waitpid(child, 0)
