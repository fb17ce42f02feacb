"""Operators that pick elements by position."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import infer
from .params import Param
from .registry import operator


@dataclass(frozen=True)
class Key(Param):
    """What stands between the brackets of `x[...]`: slices, numbers, None, Ellipsis, and `Place(k)` for the k-th array."""

    type_name = "index"

    def convert(self, value):
        return value


@dataclass(frozen=True)
class Place:
    """Where the k-th index array stands in a key."""

    k: int


@dataclass(frozen=True)
class Span:
    """A slice that can be part of a key of a dictionary."""

    start: int | None
    stop: int | None
    step: int | None


def frozen_key(key: tuple) -> tuple:
    """The key with slices as Spans."""
    return tuple([Span(k.start, k.stop, k.step) if isinstance(k, slice) else k for k in key])


def _thawed(key: tuple, arrays) -> tuple:
    return tuple([slice(k.start, k.stop, k.step) if isinstance(k, Span) else arrays[k.k] if isinstance(k, Place) else k
                  for k in key])


@operator("_index", params={"key": Key()}, variadic="num_args", same_dtype=False, type_rule=infer.forward_type)
def index(*data, key, num_args):
    """`data[key]` of the first input; the others are its index arrays. A single element has the shape (1,)."""
    out = data[0][_thawed(key, data[1:])]
    if type(data[0]) is np.ndarray:
        out = np.asarray(out)
    return out if out.ndim or not data[0].ndim else out.reshape((1,))


@operator("_index_set", params={"key": Key()}, variadic="num_args", same_dtype=False, type_rule=infer.forward_type)
def index_set(*data, key, num_args):
    """The first input with the second written at `key`; the others are the index arrays of the key."""
    out = data[0].copy()
    out[_thawed(key, data[2:])] = data[1]
    return out
