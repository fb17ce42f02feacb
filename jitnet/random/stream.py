"""Streams of random words: every element of a draw has its own key and counter, so no element waits for another."""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import numpy as jnp
from ..control import while_loop
from ..ops import cast, iota, threefry
from ..types import broadcast_shapes

U64 = np.dtype(np.uint64)
F64 = np.dtype(np.float64)
GOLDEN = 0x9E3779B97F4A7C15  # odd, so that multiples differ
MASK = 2**64 - 1


class Stream:
    """The words of one draw: element i has threefry(key, counter + i), and more under keys that differ in a tweak.

    One cipher for each word, none on top of another: LLVM's loop strength reduction takes seconds over a chain of three.
    """

    def __init__(self, key, counter, dtype=F64, path: int = 0):
        self.key, self.counter, self.dtype, self.path = key, counter, np.dtype(dtype), path

    def word(self):
        """64 random bits for each element."""
        return threefry(self.key ^ np.uint64(_spread(self.path)) if self.path else self.key, self.counter)

    def child(self, number: int) -> Stream:
        """A stream of the same shape whose words have nothing to do with those of this one and of other children."""
        return Stream(self.key, self.counter, self.dtype, 16 * self.path + number + 1)

    def wide(self) -> Stream:
        """The stream in float64."""
        return Stream(self.key, self.counter, F64, self.path)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the draw."""
        return broadcast_shapes(np.shape(self.key), np.shape(self.counter))

    def later(self, j) -> Stream:
        """The stream at try number `j` (a traced uint64) of a sampler that tries until it accepts."""
        return Stream(self.key ^ j * np.uint64(GOLDEN), self.counter, self.dtype, self.path)


def _spread(path: int) -> int:
    """The path of a child as a number that looks random: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = path * GOLDEN & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def fold_in(key, number: int):
    """Another state made of a state (..., 2) and a number: draws from it have nothing to do with those from other numbers.

    For code that hands one state on to several places, each of which counts from there. A sum, since children of a stream
    are made by `^`: with that here too, child a of number b would be child b of number a.
    """
    return key + np.array([_spread(number + 1), 0], U64)


def stream(state, shape: tuple[int, ...], dtype=F64) -> Stream:
    """The next draw of that shape from a state (..., 2) of key and counter; a batch of states gives a batch of draws."""
    batch = state.shape[:-1]
    trailing = (1,) * len(shape)
    key, start = (jnp.reshape(state[..., i], batch + trailing) for i in (0, 1))
    place = jnp.reshape(iota(shape=(math.prod(shape),), axis=0, dtype=U64), shape) if shape else np.uint64(0)
    return Stream(key, start + place, dtype)


def _top(words, bits: int, dtype):
    """The highest bits of the low half of each word, as float32: by way of int32, whose conversion every processor has."""
    return cast(cast(cast(words, dtype=np.dtype(np.uint32)) >> (32 - bits), dtype=np.dtype(np.int32)), dtype=dtype)


def uniform(words, dtype):
    """Floats in [0, 1): multiples of 2^-24 (float32) or 2^-53 (float64), each as likely."""
    if dtype == np.float32:
        return _top(words, 24, dtype) * np.float32(2**-24)
    return cast(cast(words >> 11, dtype=np.dtype(np.int64)), dtype=F64) * 2.0**-53


def open_uniform(words, dtype):
    """Floats within (0, 1), never an end of it: odd multiples of 2^-25 (float32) or 2^-53 (float64)."""
    if dtype == np.float32:  # 23 bits, so that the sum is exact
        return _top(words, 23, dtype) * np.float32(2**-23) + np.float32(2**-24)
    return cast(cast(words >> 12, dtype=np.dtype(np.int64)), dtype=F64) * 2.0**-52 + 2.0**-53


def normal(words, dtype):
    """Standard normal numbers, one for each word.

    float32: Box and Muller (1958), the two halves of the word being the two uniform numbers. float64: sqrt(2) erfinv(u) of a
    uniform u in (-1, 1).
    """
    if dtype == np.float32:
        radius = jnp.sqrt(np.float32(-2) * jnp.log(open_uniform(words, dtype)))
        return radius * jnp.cos(np.float32(2 * math.pi) * uniform(words >> 32, dtype))
    from ..ops import erfinv

    odd = cast(words >> 12, dtype=np.dtype(np.int64)) * 2 + (1 - 2**52)
    return math.sqrt(2) * erfinv(cast(odd, dtype=F64) * 2.0**-52)


def rejection(stream: Stream, attempt: Callable, done, value):
    """`value` where `done`, elsewhere the first accepted value of attempt(stream of the try) -> (accepted, value).

    All elements try together, those that have a value keep it: the loop ends when each has one. An element's tries do not
    depend on the others, so neither does its value.
    """
    tries = stream.child(0)

    def going_on(carry):
        return jnp.logical_not(jnp.all(carry[1]))

    def step(carry):
        j, done, value = carry
        accepted, new = attempt(tries.later(j))
        return j + np.uint64(1), done | accepted, jnp.where(done, value, jnp.where(accepted, new, value))

    return while_loop(going_on, step, (np.uint64(0), done, value))[2]
