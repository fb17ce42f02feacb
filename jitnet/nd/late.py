"""Copies between NDArrays that are made when somebody looks, and mostly nobody does.

A batch goes from an iterator into a module's inputs, where only compiled programs read it: they read it where it lies. An
NDArray whose `_pending` is a Late is such a copy. It is made for whoever reads its `_data`, and before the memory that it would
copy is written. An array whose `_data` was read is from then on one as any other.
"""
from __future__ import annotations

import weakref

import numpy as np

from . import memory
from .base import Base, pending_array


class Late:
    """The values of an array that nobody has looked at. They lie in `source`, memory of another array, or else in `home`, which
    is this array's own (None: it is made when it is needed)."""

    __slots__ = ("__weakref__", "dtype", "home", "shape", "source")
    node = None  # nothing has to run for it: see tape.Value

    def __init__(self, home: np.ndarray | None, source: np.ndarray | None):
        self.home, self.source = home, source
        self.shape, self.dtype = self.current.shape, self.current.dtype
        key = id(self)
        known[key] = weakref.ref(self, lambda _: known.pop(key, None))

    @property
    def current(self) -> np.ndarray:
        """Where the values lie now."""
        source = self.source
        return self.home if source is None else source

    def settled(self) -> np.ndarray:
        """The values in the array's own memory."""
        source = self.source
        if source is not None:
            if self.home is None:
                self.home = source.copy()
            else:
                self.home[...] = source
            self.source = None
        return self.home


known: dict[int, weakref.ref] = {}  # id -> Late


def copy_of(array: Base, data: np.ndarray) -> Base | None:
    """A new NDArray with these values, a part of an array in one piece, not copied yet; None when they must be copied now."""
    return None if memory.is_exposed(data) else pending_array(type(array), Late(None, data), array._ctx)


def hide(array: Base) -> None:
    """Makes an array that nobody has seen yet one that takes copies late."""
    if type(array._data) is np.ndarray:
        array._pending = Late(array._data, None)
        del array._data


def put(target: Base, value) -> bool:
    """Whether `target[:] = value` was done by noting where the values lie: nobody has looked at the target, and the value is an
    array of its shape and dtype, of memory that others cannot write unseen."""
    late = target._pending
    if type(late) is not Late or late.home is None or not isinstance(value, Base):
        return False
    own = value._pending
    source = own.current if type(own) is Late else value._data
    if type(source) is not np.ndarray or source.shape != late.shape or source.dtype != late.dtype or memory.is_exposed(source):
        return False
    late.source = source
    return True


def before_write(arrays) -> None:
    """Makes the copies of what is about to be written."""
    waiting = [(late, source) for ref in list(known.values()) if (late := ref()) is not None
               and (source := late.source) is not None]
    if waiting:
        owners = memory.owners_of(arrays)
        for late, source in waiting:
            if id(memory.owner_of(source)) in owners:
                late.settled()
