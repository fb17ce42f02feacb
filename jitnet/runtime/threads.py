"""The thread pool that parallel kernels run on: jitnet's own, else Intel TBB, OpenMP or Numba's workqueue, else the caller.

jitnet's own pool (native_pool.py) needs Linux; the others are the small C libraries inside Numba, loaded without importing
Numba. A kernel's range is cut into chunks before a pool sees it, so the number of threads never changes a result.
`JITNET_NUM_THREADS` sets the number to start with, `JITNET_THREADING` asks for one pool: own, tbb, omp, workqueue or serial.

TBB comes before OpenMP because its threads do not wait for one another: with another process keeping one of two cores busy,
the slowest tenth of its calls take 1.1 times what one thread takes, OpenMP's four times. Those of the own pool do not either,
and where TBB's sleep between two calls, they stay awake for some microseconds.
"""
from __future__ import annotations

import ctypes
import glob
import importlib.machinery
import importlib.util
import os
import sys
import threading

import numpy as np

from .. import config
from . import layout
from .forks import renewed

POOLS = ("own", "tbb", "omp", "workqueue")
MODULES = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}

_lock = renewed(threading.Lock())
_words: np.ndarray | None = None  # the table that native code reads
_wanted: int | None = None
_backend: str | None = None
_module = None  # kept: TBB shuts down when its module goes
_own: np.ndarray | None = None  # the table of jitnet's own pool


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_num_threads() -> int:
    """The number of threads that parallel kernels use; TraceValueError where JITNET_NUM_THREADS is no such number."""
    global _wanted
    if _wanted is None:
        _wanted = config.number("JITNET_NUM_THREADS", available_cores(), least=1)
    return _wanted


def set_num_threads(count: int) -> None:
    """Sets the number of threads from the next kernel on; results do not depend on it. ValueError below 1."""
    global _wanted
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"the number of threads is a whole number from 1 up, not {count!r}")
    _wanted = count
    if _words is not None:
        _words[layout.NUM_THREADS] = count


def backend() -> str:
    """The pool in use: "own", "tbb", "omp", "workqueue", "serial", or "none" before the first parallel program."""
    return _backend or "none"


def attach(words: np.ndarray) -> None:
    """Makes `words` the table that native code reads; the pool itself starts with the first parallel program."""
    global _words
    _words = words
    words[layout.NUM_THREADS] = get_num_threads()


def ensure_pool() -> None:
    """Starts the pool if no pool runs. Programs with a parallel step call this when they are built."""
    global _backend, _module
    if _backend is not None:
        return
    with _lock:
        if _backend is not None:
            return
        wanted = config.choice("JITNET_THREADING", (*POOLS, "serial"))
        if wanted in ("", "own") and _start_own():
            _backend = "own"
            return
        for name in [wanted] if wanted in POOLS else POOLS[1:] if wanted != "serial" else ():
            _module = _load(name)
            if _module is not None:
                break
        else:
            _backend = "serial"
            return
        # More workers than cores only when asked for: they would take turns.
        ctypes.CFUNCTYPE(None, ctypes.c_int)(_module.launch_threads)(max(available_cores(), get_num_threads()))
        _words[layout.POOL_EXCLUSIVE] = name == "workqueue"  # not reentrant: a second caller runs its chunks alone
        _words[layout.PARALLEL_FOR] = _module.parallel_for
        if name != "tbb" and hasattr(os, "register_at_fork"):
            # A child has none of these threads, and GNU OpenMP ends a child that tries to make new ones.
            os.register_at_fork(after_in_child=_go_serial)
        _backend = name


def _start_own() -> bool:
    """Fills in the table of jitnet's own pool, whose threads start with the first parallel kernel; False without POSIX."""
    global _own
    if sys.platform != "linux":
        return False
    from . import native
    process = ctypes.CDLL(None)
    own = np.zeros(layout.P_WORDS + layout.P_LINE, np.int64)
    shift = -own.ctypes.data % 64 // 8
    own = own[shift:shift + layout.P_WORDS]
    for word, name in [(layout.P_CREATE, "pthread_create"), (layout.P_SIGMASK, "pthread_sigmask"),
                       (layout.P_YIELD, "sched_yield"), (layout.P_SEM_INIT, "sem_init"),
                       (layout.P_SEM_WAIT, "sem_wait"), (layout.P_SEM_POST, "sem_post")]:
        own[word] = ctypes.cast(getattr(process, name), ctypes.c_void_p).value
    own[layout.P_WORKER] = native.address("jitnet_pool_worker")
    own[layout.P_WANTED] = min(max(available_cores(), get_num_threads()), layout.P_MOST) - 1
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(own))  # workers live on when the interpreter takes the modules apart
    native.function("jitnet_pool_attach")(own.ctypes.data)
    _words[layout.POOL_EXCLUSIVE] = 1
    _words[layout.PARALLEL_FOR] = native.address("jitnet_pool_for")
    if _own is None and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_workers)
    _own = own
    return True


def _forget_workers() -> None:
    """A child has none of these threads; its first parallel kernel starts new ones."""
    _own[:layout.P_WANTED] = 0
    _own[layout.P_SHARES:] = 0
    _words[layout.POOL_BUSY] = 0


def _go_serial() -> None:
    global _backend
    _words[layout.PARALLEL_FOR] = _words[layout.POOL_BUSY] = 0
    _backend = "serial"


def _load(name: str):
    """Numba's C module of this pool, or None where it cannot be loaded."""
    numba = importlib.util.find_spec("numba")
    stem = os.path.join(os.path.dirname(numba.origin), "np", "ufunc", MODULES[name])
    path = next((stem + s for s in importlib.machinery.EXTENSION_SUFFIXES if os.path.exists(stem + s)), None)
    if path is None or (name == "tbb" and not _load_tbb()):
        return None
    loader = importlib.machinery.ExtensionFileLoader(MODULES[name], path)
    try:
        return importlib.util.module_from_spec(importlib.util.spec_from_file_location(MODULES[name], path, loader=loader))
    except ImportError:  # a library that it links to is missing
        return None


def _load_tbb() -> bool:
    """Loads the `tbb` wheel's library, which no loader path leads to; False where there is none or it is too old."""
    names = {"linux": ["lib/libtbb.so.12"], "darwin": ["lib/libtbb.12.dylib"], "win32": ["Library/bin/tbb12.dll"]}
    found = []
    for prefix in dict.fromkeys((sys.prefix, sys.base_prefix, os.path.expanduser("~/.local"))):
        for name in names.get(sys.platform, []):
            found += glob.glob(os.path.join(prefix, name))
    for path in [*found, *(os.path.basename(name) for name in names.get(sys.platform, []))]:
        try:
            library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return library.TBB_runtime_interface_version() >= 12060
    return False
