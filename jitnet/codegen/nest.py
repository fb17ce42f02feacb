"""LoopNest, the body of one kernel: which loops, which loads and stores, which scalars where. Knows no target.

    nest    ::=  rows { block_0; stage_0; block_1; stage_1; ... block_n }     for every row
    stage   ::=  inner loops { scalars; accumulations; stores }
    block   ::=  scalars; stores                                              once per row, between the stages

Three forms, by where the innermost axis of the domain lies:

    map       no reduction: one stage, the innermost axis is its loop
    rows      the innermost axis is reduced: every row has its accumulators, the reduced axes are the inner loops
    columns   an outer axis is reduced and the innermost is kept: a row is a strip of columns, each with its accumulator

Loads and stores are affine: base + sum(stride * axis), with strides that are numbers here and become run-time sizes (0, 1 and
-1 excepted) in the source of a target.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..ir import Atom, Eqn
from .affine import Affine, Axis

PAST_CACHES = 32 << 20   # bytes of an output that the caches will not keep: it is written past them, by a kernel of its own


@dataclass(eq=False, slots=True)
class Node:
    """One scalar. kind: load, const, index (of an axis), expr (of other scalars), reduction (its result)."""

    kind: str
    dtype: np.dtype
    operands: tuple[Node, ...] = ()
    axes: frozenset[Axis] = frozenset()   # that it changes along
    round: int = 0                        # reductions that follow one another on the way to it
    access: Access | None = None          # of a load
    value: object = None                  # of a const: the scalar; of an index: an Affine
    eqn: Eqn | None = None                # of an expr or a reduction

    @property
    def reads(self) -> list[Node]:
        """The scalars that it needs: its operands, and the indices of what a load picks."""
        return [*self.operands, *(n for n, _, _ in self.access.dynamic)] if self.access is not None else [*self.operands]


@dataclass(eq=False)
class Buffer:
    """A buffer of the kernel. role: input, output, scratch (an output that holds something else in between), status."""

    atom: Atom | None   # None: status
    dtype: np.dtype | None
    role: str


@dataclass(eq=False)
class Access:
    """Where a buffer is read or written: base + sum(strides[axis] * axis) + sum(dynamic node * stride), in elements."""

    buffer: Buffer
    strides: dict[Axis, int]
    base: int
    dynamic: Sequence[tuple[Node, int, int]] = ()   # (index node, stride, extent that the index is checked against)


@dataclass(eq=False)
class Store:
    """Writes a node; `add`: adds it to what is there."""

    access: Access
    node: Node
    add: bool = False

    @property
    def needs(self) -> list[Node]:
        """The nodes to be computed before."""
        return [self.node, *(n for n, _, _ in self.access.dynamic)]

    @property
    def is_large(self) -> bool:
        """Is the output too large to stay in the caches?"""
        return math.prod(axis.extent for axis in self.access.strides) * self.node.dtype.itemsize >= PAST_CACHES


@dataclass(eq=False)
class Stage:
    """Inner loops: the nodes computed in them in order, what is accumulated and what is stored."""

    nodes: list[Node]
    reductions: list[Node]
    stores: list[Store]
    reloads: dict[Node, Access] = field(default_factory=dict)   # where an earlier stage left a node's value


@dataclass(eq=False)
class Block:
    """What happens before a stage: nodes once per row, and once per column of the strip (columns form), then stores."""

    nodes: list[Node]
    strip: list[Node]
    stores: list[Store]


@dataclass(eq=False)
class LoopNest:
    """One kernel."""

    form: str
    rows: list[Axis]
    inner: list[Axis]            # axes of the stages, outermost first
    column: Axis | None          # columns form: the kept innermost axis
    stages: list[Stage]
    blocks: list[Block]
    buffers: list[Buffer]
    accesses: list[Access]
    checks: bool                 # does it check indices, and have a status buffer?
    chunk: Axis | None = None    # the chunk a grid point reduces, into an output with a leading axis of chunks
    split: int = 0               # iterations of the outermost reduced axis in a chunk; 0: no chunks
    tile: Axis | None = None     # map form: the row axis that is walked in squares with the inner one


def as_columns(nest: LoopNest) -> LoopNest:
    """The nest; where rows are read turned, as in the sum of x.T along its last axis, as one of columns.

    Neighbouring threads then read neighbouring elements. Nests are made for a CPU, which has other reasons.
    """
    if nest.form != "rows" or not nest.rows:
        return nest
    *rows, column = nest.rows
    strides = [a.strides for a in nest.accesses if a.buffer.role == "input"]
    along_rows = any(abs(s.get(axis, 0)) == 1 for s in strides for axis in nest.inner)
    along_columns = any(s.get(column, 0) == 1 for s in strides)
    return replace(nest, form="columns", rows=rows, column=column) if along_columns and not along_rows else nest


def is_out_of_bounds(nest: LoopNest) -> bool:
    """Whether a nest looks anything up along an axis without elements: any index is out of bounds, and has nothing to be
    clamped to."""
    return any(_is_zero(extent) and not any(_is_zero(a.extent) for a in (*node.axes, *access.strides))
               for access in nest.accesses for node, _, extent in access.dynamic)


def _is_zero(size) -> bool:
    return type(size) is int and size == 0   # open sizes are never 0: these have programs of their own


@dataclass(frozen=True)
class Region:
    """A strided part of a larger array, as the place of an output."""

    shape: tuple[int, ...]
    start: tuple[int, ...]
    step: tuple[int, ...]


@dataclass(frozen=True)
class Scatter:
    """Places in a larger array that index arrays give for some of its axes, as the place of an output."""

    shape: tuple[int, ...]
    indices: tuple[Atom, ...]
    axes: tuple[int, ...]
    add: bool


def row_major(shape: Sequence[int]) -> list[int]:
    """Strides of a contiguous array, in elements."""
    strides, step = [0] * len(shape), 1
    for k in range(len(shape) - 1, -1, -1):
        strides[k] = step
        step *= shape[k]
    return strides


def strided(shape: Sequence[int], index: Iterable[Affine]) -> tuple[dict[Axis, int], int]:
    """(stride per axis, offset) with which an index walks a contiguous array, in elements."""
    strides: dict[Axis, int] = {}
    offset = 0
    for stride, where in zip(row_major(shape), index, strict=True):
        offset += stride * where.const
        for axis, k in where.terms:
            strides[axis] = strides.get(axis, 0) + stride * k
    return strides, offset


def postorder(roots: Iterable[Node], known: Collection[Node],
              leaf: Callable[[Node], bool] = lambda node: False) -> Iterator[Node]:
    """The nodes to compute for `roots`, operands first, each once; reductions and `known` nodes have their values already.

    The operands of a `leaf` are not asked for. No recursion: expressions may be deep.
    """
    seen: set[Node] = set()
    stack = [(node, False) for node in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if node in seen or node in known or node.kind == "reduction":
            continue
        if ready or leaf(node):
            seen.add(node)
            yield node
        else:
            stack.append((node, True))
            stack += [(operand, False) for operand in reversed(node.operands)]
