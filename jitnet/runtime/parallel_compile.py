"""Objects compiled in forked children beside this process: LLVM works under one lock per process.

A child inherits what is loaded here, compiles, sends each object through a pipe when it is done, and ends. One that does
not answer in time is given up (a lock may have been held by a thread that the fork left behind), and this process compiles its
share too: nothing but time depends on it.
"""
from __future__ import annotations

import contextlib
import gc
import os
import pickle
import select
import signal
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

from . import forks

Job = tuple[str, Callable[[], bytes]]
"""(key, build): the name of an object, and what makes it."""

LEAST = 40           # lines of kernels from which on a child pays: it costs about 20 ms, most of it for pages copied on writing
MOST = 64            # jobs in one queue: their numbers are bytes in a pipe
PATIENCE = 20.0      # seconds of silence after which a child is given up


def can_fork() -> bool:
    """Whether a child could help: there is fork, and a core for it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return hasattr(os, "fork") and cores > 1 and os.environ.get("JITNET_COMPILE_PROCESSES", "2") != "1"


LENGTH = struct.Struct("<Q")   # what precedes every object in the pipe


class Child:
    """A forked process that sends what `work` gives, objects with their keys; `ended` once no more will come."""

    def __init__(self, work: Callable[[], Iterable[tuple[str, bytes]]]):
        self.ended, self.rest = False, b""   # the rest: an object that has not come whole
        reader, writer = os.pipe()
        try:
            with warnings.catch_warnings(), forks.at_once():
                for kind in (DeprecationWarning, RuntimeWarning):   # Python's and JAX's about threads: see above
                    warnings.simplefilter("ignore", kind)
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
                for pair in work():
                    sent = pickle.dumps(pair)
                    stream.write(LENGTH.pack(len(sent)) + sent)
                    stream.flush()
        finally:
            os._exit(0)

    def collect(self, key: str | None = None) -> dict[str, bytes]:
        """The objects that have come, waited for until that of `key` is among them, or all; fewer when the child fails."""
        found = {}
        try:
            while key not in found and not self.ended:
                part = os.read(self.pipe, 1 << 20) if select.select([self.pipe], [], [], PATIENCE)[0] else b""
                self.rest += part
                found.update(self._whole())
                if not part:
                    self.give_up()
        except BaseException:
            self.give_up()
            raise
        return found

    def _whole(self) -> Iterator[tuple[str, bytes]]:
        """Takes the objects that are whole out of the rest."""
        start = LENGTH.size
        while len(self.rest) >= start and len(self.rest) >= (end := start + LENGTH.unpack_from(self.rest)[0]):
            yield pickle.loads(self.rest[start:end])
            self.rest = self.rest[end:]

    def give_up(self) -> None:
        """Ends the child, whatever it is at, and leaves nothing of it behind."""
        if self.ended:
            return
        self.ended = True
        os.close(self.pipe)
        with contextlib.suppress(ChildProcessError):   # the user's code may wait for any child: then it is no more
            if os.waitpid(self.process, os.WNOHANG) == (0, 0):
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)


def start(jobs: Sequence[Job]) -> Child | None:
    """A child that builds the jobs, None where none can be had."""
    try:
        return Child(lambda: ((key, build()) for key, build in jobs))
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

    def work() -> Iterator[tuple[str, bytes]]:
        while number := os.read(queue, 1):
            key, build = jobs[number[0]]
            yield key, build()

    try:
        try:
            child = Child(work)
        except OSError:   # no more processes: all of it is done here
            return dict(work())
        try:
            found = dict(work())
        except BaseException:
            child.give_up()
            raise
        return found | child.collect()
    finally:
        os.close(queue)
