"""Python's cycle collector kept away from work that makes many objects and little garbage."""
from __future__ import annotations

import contextlib
import gc


@contextlib.contextmanager
def without_garbage_collection():
    """Keeps the cycle collector off: compiling makes many small objects and no garbage worth 20 ms of looking for it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def count_as_old() -> None:
    """Counts everything that lives now as old, without a look at it.

    Otherwise the next collection of young objects looks at all that was made while there was none: 20 ms after the first call.
    For what happens a bounded number of times: garbage that has become old waits for a full collection.
    """
    if hasattr(gc, "freeze") and not gc.get_freeze_count():   # what the user has frozen stays frozen
        gc.freeze()
        gc.unfreeze()
