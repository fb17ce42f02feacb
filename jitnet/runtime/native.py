"""The native functions of the runtime (native_*.py), loaded, and the table of addresses that they work from.

They are compiled once per machine and kept in the kernel cache; loading them takes a millisecond.
"""
from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import config
from . import cache, forks, layout, llvm, threads

SYMBOLS = {"jitnet_allocate": 2, "jitnet_free": 2, "jitnet_memory_malloc": 2, "jitnet_memory_calloc": 3,
           "jitnet_memory_realloc": 3, "jitnet_memory_free": 3, "jitnet_take_frame": 1, "jitnet_free_frames": 1,
           "jitnet_chunks": 4, "jitnet_join": 4, "jitnet_run": 2, "jitnet_finish": 3, "jitnet_run_arrays": 4, "jitnet_match": 3,
           "jitnet_fresh_array": 2, "jitnet_call": 4, "jitnet_pool_attach": 1, "jitnet_pool_worker": 1, "jitnet_pool_for": 8}
"""Symbol -> number of int64 arguments; each is the function of that name, without the prefix, in one of FILES."""

FILES = ("native_memory.py", "native_pool.py", "native_program.py", "native_call.py")

MOST_HELD_BYTES = 512 << 20


def _default_held_bytes() -> int:
    """Half a gigabyte, or a sixteenth of a smaller machine's memory."""
    if not hasattr(os, "sysconf"):
        return MOST_HELD_BYTES
    return min(MOST_HELD_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 16)


@functools.cache
def _recipe() -> tuple[str, Callable[[], bytes]]:
    """(key, build) of the object with all native functions."""
    folder = Path(__file__).parent
    source = "\n".join((folder / name).read_text() for name in FILES)
    key = cache.object_key("".join([source, *((folder / name).read_text() for name in ("layout.py", "words.py"))]))

    def build() -> bytes:
        from . import words
        return llvm.emit_object([words.compile_words(source, {**vars(layout), **vars(words)}, "jitnet_")], vectorize=False)

    return key, build


@functools.cache
def _loaded() -> llvm.LoadedObject:
    key, build = _recipe()
    return cache.get_object(key, tuple(SYMBOLS), build)


def is_kept() -> bool:
    """Whether the kernel cache on disk holds the native functions: whatever this version compiled here, these are among it."""
    return cache.is_kept(_recipe()[0])


def announce() -> None:
    """Says that the native functions will be needed."""
    cache.announce(*_recipe())


def prepare() -> None:
    """Has the native functions built beside this process, once per machine, while it traces and compiles kernels."""
    if not _loaded.cache_info().currsize:
        announce()
        cache.build_ahead()


def address(symbol: str) -> int:
    """Address of one of the native functions."""
    return _loaded().address[symbol]


@functools.cache
def function(symbol: str):
    """A native function as a Python callable on ints; it keeps the GIL."""
    return ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * SYMBOLS[symbol])(address(symbol))


class Api:
    """The process-wide table of addresses; `words` is the table, its address goes into every block and entry."""

    def __init__(self):
        self.words = np.zeros(layout.API_WORDS + 8, np.int64)
        shift = -self.words.ctypes.data % 64 // 8  # own cache lines: the pool lock is in here
        self.words = self.words[shift:shift + layout.API_WORDS]
        self.address = self.words.ctypes.data
        python = ctypes.pythonapi
        for word, name in [(layout.INCREF, "Py_IncRef"), (layout.DECREF, "Py_DecRef"), (layout.TUPLE_NEW, "PyTuple_New"),
                           (layout.TUPLE_SET, "PyTuple_SetItem"), (layout.NEW_OBJECT, "PyType_GenericAlloc"),
                           (layout.VECTORCALL, "PyObject_Vectorcall"), (layout.SAVE_THREAD, "PyEval_SaveThread"),
                           (layout.RESTORE_THREAD, "PyEval_RestoreThread"), (layout.MALLOC, "PyMem_RawMalloc"),
                           (layout.LONG_AS_LONG, "PyLong_AsLongLongAndOverflow"), (layout.FREE, "PyMem_RawFree"),
                           (layout.LONG_FROM_LONG, "PyLong_FromLongLong"), (layout.CHECK_SIGNALS, "PyErr_CheckSignals")]:
            self.words[word] = ctypes.cast(getattr(python, name), ctypes.c_void_p).value
        if sys.platform == "linux":
            self.words[layout.MADVISE] = ctypes.cast(ctypes.CDLL(None).madvise, ctypes.c_void_p).value
        array_api = _array_api()
        self.words[layout.ARRAY_TYPE] = id(np.ndarray)
        self.words[layout.NEW_ARRAY] = array_api[94]
        self.words[layout.ARRAY_RETURN] = array_api[76]
        self.words[layout.FLOAT_TYPE], self.words[layout.LONG_TYPE] = id(float), id(int)
        self.words[layout.TRUE], self.words[layout.FALSE] = id(True), id(False)
        self.words[layout.CHUNKS] = address("jitnet_chunks")
        self.words[layout.HELD_BOUND] = config.number("JITNET_POOL_BYTES", _default_held_bytes())
        self.words[layout.ALIGNED_FROM], self.words[layout.IDLE_BOUND] = 4096, layout.IDLE_MOST
        self._handler = _MemoryHandler(self)
        self.words[layout.MEMORY_HANDLER] = id(self._handler.capsule)
        threads.attach(self.words)
        # Arrays may be freed through this table when the interpreter has taken the modules apart already.
        self._code = llvm.everything(), _loaded()


def _array_api():
    """NumPy's table of C functions."""
    python = ctypes.pythonapi
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    from numpy._core import _multiarray_umath
    table = python.PyCapsule_GetPointer(_multiarray_umath._ARRAY_API, None)
    return (ctypes.c_void_p * 310).from_address(table)


def numpy_handler() -> int:
    """Address of the capsule with the allocator that new arrays of this thread get."""
    get = ctypes.PYFUNCTYPE(ctypes.py_object)(_array_api()[305])
    return id(get())


class _MemoryHandler:
    """A PyDataMem_Handler: how NumPy frees the memory that we gave to an output array."""

    class _Struct(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("context", ctypes.c_void_p),
                    ("malloc", ctypes.c_void_p), ("calloc", ctypes.c_void_p), ("realloc", ctypes.c_void_p),
                    ("free", ctypes.c_void_p)]

    def __init__(self, api: Api):
        self.struct = self._Struct(b"jitnet", 1, api.address, address("jitnet_memory_malloc"), address("jitnet_memory_calloc"),
                                   address("jitnet_memory_realloc"), address("jitnet_memory_free"))
        self.name = ctypes.c_char_p(b"mem_handler")
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self.capsule = new(ctypes.addressof(self.struct), self.name, None)


_api: Api | None = None
_api_lock = forks.renewed(threading.Lock())


def api() -> Api:
    """The process-wide table, made on first use and never freed: arrays that outlive everything free through it."""
    global _api
    if _api is None:
        with _api_lock:
            if _api is None:
                made = Api()
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=_renew_memory)
                _api = made
    return _api


def _renew_memory() -> None:
    """In a child: blocks that another thread was just taking or bringing back are left alone."""
    words = _api.words
    if words[layout.HELD_LOCK]:
        words[layout.HELD_COUNT] = words[layout.HELD_BYTES] = words[layout.HELD_LOCK] = 0


def release_memory() -> None:
    """Gives the large blocks that wait for reuse back to the system."""
    if _api is None:
        return
    words = _api.words
    bound, words[layout.HELD_BOUND] = int(words[layout.HELD_BOUND]), 0
    allocate, free = function("jitnet_allocate"), function("jitnet_free")
    try:
        # With a bound of 0 a freed block goes to malloc at once, so taking every held block and freeing it empties the pool.
        for capacity in [int(words[layout.HELD + 2 * i + 1]) for i in range(int(words[layout.HELD_COUNT]))]:
            free(_api.address, allocate(_api.address, capacity))
    finally:
        words[layout.HELD_BOUND] = bound


def held_bytes() -> int:
    """Bytes of freed blocks that wait for reuse."""
    return 0 if _api is None else int(_api.words[layout.HELD_BYTES])
