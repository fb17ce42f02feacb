"""Affine expressions over loop axes, with whole-number coefficients: what index maps are made of.

    affine  ::=  const + sum(coefficient * axis)          every axis a runs over range(extent of a)
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class Axis:
    """A loop axis and its extent."""

    __slots__ = ("extent", "name")

    def __init__(self, extent: int, name: str = ""):
        self.extent, self.name = extent, name

    def __repr__(self) -> str:
        return f"{self.name or 'axis'}<{self.extent}>"


@dataclass(frozen=True)
class Affine:
    """const + sum of coefficient * axis; terms holds no zero coefficient, in a fixed order."""

    terms: tuple[tuple[Axis, int], ...] = ()
    const: int = 0

    @staticmethod
    def of(axis: Axis) -> Affine:
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
        return next((k for a, k in self.terms if a is axis), 0)

    @property
    def low(self) -> int:
        """The smallest value over the ranges of the axes."""
        return self.const + sum(min(0, k * (a.extent - 1)) for a, k in self.terms)

    @property
    def high(self) -> int:
        """The largest value over the ranges of the axes."""
        return self.const + sum(max(0, k * (a.extent - 1)) for a, k in self.terms)


def split(index: Affine, inner: int) -> tuple[Affine, Affine] | None:
    """(index // inner, index % inner) when both are affine; None otherwise."""
    quotient = Affine(tuple((a, k // inner) for a, k in index.terms if k % inner == 0), index.const // inner)
    rest = Affine(tuple((a, k) for a, k in index.terms if k % inner), index.const % inner)
    if rest.low < 0 or rest.high >= inner:
        return None
    return quotient, rest


def reshape_index(index: Sequence[Affine], out_shape: Sequence[int], in_shape: Sequence[int]) -> list[Affine] | None:
    """The index into the array before a reshape, from the index after it; None when it is not affine.

    Axes are matched in groups of equal size from the left: (2, 3, 4) -> (6, 4) has the groups (2, 3 | 6) and (4 | 4).
    """
    result: list[Affine] = []
    i = j = 0
    while i < len(in_shape) or j < len(out_shape):
        ins, outs, n_in, n_out = [], [], 1, 1
        if i < len(in_shape):
            ins, n_in, i = [i], in_shape[i], i + 1
        if j < len(out_shape):
            outs, n_out, j = [j], out_shape[j], j + 1
        while n_in != n_out:
            if n_in < n_out and i < len(in_shape):
                n_in, i = n_in * in_shape[i], i + 1
                ins.append(i - 1)
            elif n_out < n_in and j < len(out_shape):
                n_out, j = n_out * out_shape[j], j + 1
                outs.append(j - 1)
            else:
                return None
        if len(ins) == 1 and len(outs) == 1:
            result.append(index[outs[0]])
            continue
        linear = Affine()
        for k in outs:
            linear = linear * out_shape[k] + index[k]
        group: list[Affine] = []
        for k in reversed(ins[1:]):
            if in_shape[k] == 1:
                group.append(Affine())
                continue
            parts = split(linear, in_shape[k])
            if parts is None:
                return None
            linear, rest = parts
            group.append(rest)
        if ins:
            group.append(linear)
        result += reversed(group)
    return result
