"""Locks under fork: a child has none of its parent's other threads, and what these held nobody would ever release."""
from __future__ import annotations

import contextlib
import os
import threading

PATIENCE = 5.0   # seconds that a fork waits: who holds a lock may itself wait for the thread that forks


_here = threading.local()   # of a thread: `at_once`, whether its forks wait


@contextlib.contextmanager
def at_once():
    """Forks in here wait for no lock: the child needs nothing that another thread may be at."""
    _here.at_once = True
    try:
        yield
    finally:
        _here.at_once = False


def waited_for(lock):
    """The lock, an RLock, which a fork waits for: what it guards is whole in the child, and Numba's locks and LLVM's are free.

    After PATIENCE the fork goes on, and the lock is free in the child all the same.
    """
    mine = threading.local()

    def before() -> None:
        mine.taken = not getattr(_here, "at_once", False) and lock.acquire(timeout=PATIENCE)

    def in_parent() -> None:
        if mine.taken:
            lock.release()

    def in_child() -> None:
        if mine.taken:
            lock.release()
        else:
            lock._at_fork_reinit()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
    return lock


def renewed(lock):
    """The lock, which is free in a child: for what no thread holds for long."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)
    return lock
