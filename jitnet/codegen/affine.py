"""Affine expressions over loop axes, with whole-number coefficients: what index maps are made of.

    affine  ::=  const + sum(coefficient * axis)          every axis a runs over range(extent of a)
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod


class Axis:
    """A loop axis and its extent; two axes are the same only when they are one object."""

    __slots__ = ("extent", "name")

    def __init__(self, extent: int, name: str = ""):
        self.extent, self.name = extent, name

    def __repr__(self) -> str:
        return f"{self.name or 'axis'}<{self.extent}>"


@dataclass(frozen=True)
class Affine:
    """const + sum of coefficient * axis; no coefficient in `terms` is zero, and no axis is there twice."""

    terms: tuple[tuple[Axis, int], ...] = ()
    const: int = 0

    @staticmethod
    def of(axis: Axis) -> Affine:
        """The axis itself."""
        return Affine(((axis, 1),))

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.const + other) if other else self
        if not other.terms:
            return Affine(self.terms, self.const + other.const)
        table = dict(self.terms)
        for axis, k in other.terms:
            table[axis] = table.get(axis, 0) + k
        return Affine(tuple((a, k) for a, k in table.items() if k), self.const + other.const)

    def __mul__(self, factor: int) -> Affine:
        if factor == 1:
            return self
        return Affine(tuple((a, k * factor) for a, k in self.terms), self.const * factor) if factor else Affine()

    def coefficient(self, axis: Axis) -> int:
        """What the axis is multiplied by; 0 when it does not occur."""
        return next((k for a, k in self.terms if a is axis), 0)

    @property
    def low(self) -> int:
        """The smallest value over the ranges of the axes; an axis of no elements counts as one of one."""
        return self.const + sum(min(0, k * (a.extent - 1)) for a, k in self.terms if k < 0)

    @property
    def high(self) -> int:
        """The largest value over the ranges of the axes; an axis of no elements counts as one of one."""
        return self.const + sum(max(0, k * (a.extent - 1)) for a, k in self.terms if k > 0)


def split(index: Affine, inner: int) -> tuple[Affine, Affine] | None:
    """(index // inner, index % inner) when both are affine; None otherwise."""
    quotient = Affine(tuple((a, k // inner) for a, k in index.terms if k % inner == 0), index.const // inner)
    rest = Affine(tuple((a, k) for a, k in index.terms if k % inner), index.const % inner)
    if rest.low < 0 or rest.high >= inner:
        return None
    return quotient, rest


def ravel(index: Sequence[Affine], shape: Sequence[int]) -> Affine:
    """The row-major position of the element at an index."""
    position = Affine()
    for where, n in zip(index, shape):
        position = position * n + where
    return position


def unravel(position: Affine, shape: Sequence[int]) -> list[Affine] | None:
    """The index of the element at a row-major position; None when it is not affine."""
    if not shape:
        return []
    index = []
    for n in reversed(shape[1:]):
        parts = (position, Affine()) if n == 1 else split(position, n)
        if parts is None:
            return None
        position, rest = parts
        index.append(rest)
    return [position, *reversed(index)]


def matching_axes(shape: Sequence[int], other: Sequence[int]) -> list[tuple[range, range]] | None:
    """The axes of two shapes in groups of equal size, as small as can be, from the left.

    (2, 3, 4) and (6, 4) have the groups (0, 1 | 0) and (2 | 1). None where sizes of 0 do not line up.
    """
    groups, i, j = [], 0, 0
    while i < len(shape) or j < len(other):
        start, other_start = i, j
        i, j = min(i + 1, len(shape)), min(j + 1, len(other))
        while (n := prod(shape[start:i])) != (m := prod(other[other_start:j])):
            if n < m and i < len(shape):
                i += 1
            elif m < n and j < len(other):
                j += 1
            else:
                return None
        groups.append((range(start, i), range(other_start, j)))
    return groups


def reshape_index(index: Sequence[Affine], out_shape: Sequence[int], in_shape: Sequence[int]) -> list[Affine] | None:
    """The index into the array before a reshape, from the index after it; None when it is not affine."""
    groups = matching_axes(in_shape, out_shape)
    if groups is None:
        return None
    result: list[Affine] = []
    for ins, outs in groups:
        if len(ins) == len(outs) == 1:
            result.append(index[outs[0]])   # an axis that stays needs no division, which may not be affine
            continue
        part = unravel(ravel([index[k] for k in outs], [out_shape[k] for k in outs]), [in_shape[k] for k in ins])
        if part is None:
            return None
        result += part
    return result
