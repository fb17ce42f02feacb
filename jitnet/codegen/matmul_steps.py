"""Matrix products -> steps of BLAS, on operands as they lie: views are not copied where BLAS can walk them."""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..ir import Atom, Eqn
from ..runtime.blas import is_direct, matmul_step
from ..runtime.program import Slot
from ..sizes import Deferred, deferred, largest
from ..types import is_float
from .nest import row_major
from .steps import Builder, KernelInfo, lowering


@dataclass(frozen=True)
class Matrix:
    """An operand for BLAS: where it lies, whether as its transpose, elements between rows and between matrices."""

    slot: Slot
    transposed: bool
    leading: int
    batch: tuple[int, ...]


def matrix(builder: Builder, atom: Atom) -> Matrix:
    """The operand as BLAS takes it; copied into the arena when no axis of its matrices is contiguous."""
    rows, columns = atom.type.shape[-2:]
    base, strides, offset = builder.strided(atom)
    slot = builder.slot(base)
    slot = replace(slot, offset=slot.offset + offset * atom.type.dtype.itemsize)
    between, along = strides[-2:]
    if (along == 1 or columns == 1) and (between >= columns or rows == 1):
        return Matrix(slot, False, largest(between, columns, 1), tuple(strides[:-2]))
    if (between == 1 or rows == 1) and (along >= rows or columns == 1):
        return Matrix(slot, True, largest(along, rows, 1), tuple(strides[:-2]))
    return Matrix(builder.stored(atom), False, largest(columns, 1), tuple(row_major(atom.type.shape)[:-2]))


def aligned(strides: tuple[int, ...], shape, batch: tuple[int, ...]) -> list[int]:
    """Batch strides of an operand lined up with the batch axes of the product; 0 where it is broadcast."""
    extra = len(batch) - len(strides)
    return [0] * extra + [0 if n == 1 else s for s, n in zip(strides, shape)]


def joined_rows(a: Matrix, b: Matrix, shape, batch: list[int]) -> tuple[int, Matrix] | None:
    """(rows, first operand) of the one product that a batch of products is; None where it is not one.

    It is one when the second operand is always the same, and the rows of the first ones lie at equal distances.
    """
    if not batch or a.transposed or any(b.batch) or list(shape[:-2]) != batch:
        return None
    axes = [(n, stride) for n, stride in zip(shape[:-1], (*a.batch, a.leading)) if n != 1]
    for (_, outer), (n, inner) in zip(axes, axes[1:]):
        if outer != n * inner:
            return None
    leading = axes[-1][1] if axes else a.leading
    return (math.prod(shape[:-1]), Matrix(a.slot, False, leading, ())) if leading >= shape[-1] else None


@dataclass(frozen=True)
class Layout:
    """A product as BLAS takes it: operands, sizes m x k x n, batch axes, elements between matrices of a, b and the output."""

    a: Matrix
    b: Matrix
    m: int
    n: int
    k: int
    batch: list[int]
    strides: list[tuple[int, int, int]]


def layout(builder: Builder, x: Atom, y: Atom, out: Atom) -> Layout:
    """How BLAS computes x @ y; rows of a batch are joined where they lie evenly apart."""
    a, b = matrix(builder, x), matrix(builder, y)
    *batch, m, n = out.type.shape
    b = replace(b, batch=tuple(0 if n == 1 else s for s, n in zip(b.batch, y.type.shape)))
    rows = joined_rows(a, b, x.type.shape, batch)
    if rows is not None:
        batch, m, a = [], *rows
    strides = list(zip(aligned(a.batch, x.type.shape, batch), aligned(b.batch, y.type.shape, batch),
                       row_major(out.type.shape)[:-2]))
    return Layout(a, b, m, n, x.type.shape[-1], batch, strides)


@lowering("matmul")
def matmul(builder: Builder, eqn: Eqn) -> None:
    """A product of float32 or float64; other dtypes were expanded into loops by a pass, or run through NumPy."""
    x, y = eqn.inputs
    (out,) = eqn.outputs
    if not is_float(out.type.dtype):
        builder.callback(eqn)
        return
    if out.type.size == 0:
        return
    p = layout(builder, x, y, out)
    step = deferred(matmul_step, out.type.dtype, p.a.slot, p.b.slot, builder.slots[out], p.m, p.n, p.k,
                    transpose_a=p.a.transposed, transpose_b=p.b.transposed, lda=p.a.leading, ldb=p.b.leading, batch=p.batch,
                    batch_strides=p.strides)
    builder.steps.append(step)
    if type(step) is Deferred:
        return
    who = "blocks in registers" if is_direct(step) else "BLAS"
    note = f"{who}: {p.m} x {p.k} x {p.n}" + (f", {len(p.batch)} batch axes" if p.batch else "")
    builder.infos.append(KernelInfo("matmul", "blas", step.kernel.source, (eqn,), x.type.nbytes + y.type.nbytes,
                                    out.type.nbytes, note=note, step=step))
