"""Objects compiled in forked children beside this process: LLVM works under one lock per process.

A child inherits what is loaded here, compiles, sends the objects through a pipe and ends. One that does not answer in time is
given up (a lock may have been held by a thread that the fork left behind), and this process compiles its share too: nothing
but time depends on it.
"""
from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import time
import warnings
from collections.abc import Callable, Sequence

Job = tuple[str, Callable[[], bytes]]
"""(key, build): the name of an object, and what makes it."""

LEAST = 40           # lines of kernels from which on a child pays: it costs about 20 ms, most of it for pages copied on writing
MOST = 64            # jobs in one queue: their numbers are bytes in a pipe
PATIENCE = 20.0      # seconds of silence after which a child is given up


def can_fork() -> bool:
    """Whether a child could help: there is fork, and a core for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return hasattr(os, "fork") and cores > 1 and os.environ.get("JITNET_COMPILE_PROCESSES", "2") != "1"


class Child:
    """A forked process that sends what `work` returns, a dict of objects by key."""

    def __init__(self, work: Callable[[], dict[str, bytes]]):
        reader, writer = os.pipe()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)   # Python's about threads: see above
                self.process = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if self.process:
            os.close(writer)
            self.pipe = reader
            return
        try:   # the child: no clean-up of the parent's things, whatever happens
            signal.signal(signal.SIGINT, signal.SIG_IGN)   # Ctrl-C is for the parent, which gives its children up
            gc.disable()   # what it leaves behind goes with it
            os.close(reader)
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(work(), stream)
        finally:
            os._exit(0)

    def collect(self) -> dict[str, bytes]:
        """What the child sends, waited for; nothing when it fails or is silent for too long."""
        parts, end = [], time.monotonic() + PATIENCE
        try:
            while select.select([self.pipe], [], [], max(0.0, end - time.monotonic()))[0]:
                part = os.read(self.pipe, 1 << 20)
                if not part:
                    return pickle.loads(b"".join(parts)) if parts else {}
                parts.append(part)
            return {}
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Ends the child, whatever it is at, and leaves nothing of it behind."""
        os.kill(self.process, signal.SIGKILL)   # one that has ended by itself waits for waitpid: it is still the same process
        os.close(self.pipe)
        os.waitpid(self.process, 0)


def start(jobs: Sequence[Job]) -> Child | None:
    """A child that builds the jobs, None where none can be had."""
    try:
        return Child(lambda: {key: build() for key, build in jobs})
    except OSError:
        return None


def build_together(jobs: Sequence[Job]) -> dict[str, bytes]:
    """Objects by key, built by this process and a child: each takes the next job when it is done with one.

    The heavier come first. What the child fails at is left out.
    """
    jobs = jobs[:MOST]
    queue, writer = os.pipe()
    os.write(writer, bytes(range(len(jobs))))
    os.close(writer)

    def work() -> dict[str, bytes]:
        built = {}
        while number := os.read(queue, 1):
            key, build = jobs[number[0]]
            built[key] = build()
        return built

    try:
        try:
            child = Child(work)
        except OSError:   # no more processes: all of it is done here
            return work()
        try:
            found = work()
        except BaseException:
            child.give_up()
            raise
        return found | child.collect()
    finally:
        os.close(queue)
