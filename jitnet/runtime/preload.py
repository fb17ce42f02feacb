"""The compiler made ready while jitnet is imported, where the kernel cache shows that it will be needed.

Where nothing was ever compiled by this version on this machine, or nothing is kept, the first call of any compiled function
needs Numba, which takes 0.1 s to import and set up, and native functions of jitnet's own: Numba is loaded with jitnet then,
and a forked child compiles the native functions beside it. Where the cache holds them, none of this happens.
"""
from __future__ import annotations

import atexit
import contextlib

import numpy as np

from ..collector import count_as_old, without_garbage_collection
from . import blas, cache, gemm, native, parallel_compile


def preload() -> None:
    """Loads the compiler unless this version has compiled something on this machine before. Never raises.

    What goes wrong here goes wrong again in the first call that compiles, and is told there: whoever only imports jitnet may
    never need it.
    """
    with contextlib.suppress(Exception):
        if native.is_kept():
            return
        if parallel_compile.can_fork():
            native.announce()
            gemm.announce(np.dtype(np.float32))   # most programs that multiply matrices need these two
            blas.announce()
            cache.build_ahead()
            atexit.register(cache.give_up)
        with without_garbage_collection():
            from . import frontend
            frontend.prepare()
            count_as_old()
