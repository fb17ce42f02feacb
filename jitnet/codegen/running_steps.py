"""Running sums, products, extremes and recurrences -> steps. The arrays are (rows, n, width); the operation runs along n.

    width > 1                            row after row of `width` elements; strips of columns, in NumPy's order, run in parallel
    width = 1, sums of floats, extremes  blocks of SEGMENTS segments, turned so that all of them go on together, turned back;
    and everything of integers           long rows in chunks that run in parallel
    width = 1, else                      one element after the other: a product of a part may overflow where the whole does not

A prefix is chunk + (segment + elements): each of the three is a prefix among its like, so sums of positive numbers never fall.
Chunks depend on sizes alone, and with them the bits.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..ir import Eqn
from ..runtime.cache import LazyKernel
from ..runtime.program import KernelStep, Slot
from ..sizes import computed, largest, smallest
from ..types import is_float, short_dtype
from .memory import EDGE
from .names import HALVES
from .steps import Builder, KernelInfo, grain, lowering
from .writer import scalar_bits, wrapping

SEGMENTS = 64   # of a block; LLVM takes short inner loops apart, and gathers along the outer one
STRIP = 256     # columns of a strip at most
CHUNK = 16384   # elements of a long row that are one piece of parallel work
MANY_ROWS = 16  # rows that are work enough for all threads as they are
OPERATIONS = {"cumsum": "{x} + {y}", "cumprod": "{x} * {y}", "cummax": "maximum_({x}, {y})", "cummin": "minimum_({x}, {y})"}

HEAD = """def kernel(buffers, sizes, start, stop):
{buffers}
    n = sizes[0]
"""
COLUMNS = HEAD + """    width = sizes[1]
    strips = sizes[2]
    piece = sizes[3]
    total = local_{dtype}(256)
    for g in range(start, stop):
        row = g // strips
        low = (g - row * strips) * piece
        high = min(low + piece, width)
        at = row * n * width
        for j in range(low, high):
            total[j - low] = {first}[at + j]
            out[at + j] = {first}[at + j]
        for k in range(1, n):
            here = at + k * width
            for j in range(low, high):
                last = total[j - low]
                place = here + j
                value = {step}
                total[j - low] = value
                out[place] = value
"""
SERIAL = HEAD + """    for row in range(start, stop):
        at = row * n
        last = {first}[at]
        out[at] = last
        for place in range(at + 1, at + n):
            last = {step}
            out[place] = last
"""
BLOCKS = HEAD + """    chunks = sizes[1]
    piece = sizes[2]
    part = local_{dtype}({block})
    before = local_{dtype}({segments})
    for g in range(start, stop):
        row = g // chunks
        chunk = g - row * chunks
        low = row * n + chunk * piece
        high = row * n + min(chunk * piece + piece, n)
        last = {identity}
        whole = low + (high - low) // {block} * {block}
        for i in range(low, whole, {block}):
            for s in range(0, {segments}, {edge}):
                transpose_{dtype}(x, i + s * {edge}, {edge}, part, s, {segments})
            for r in range(1, {edge}):
                for c in range({segments}):
                    part[r * {segments} + c] = {down}
            for c in range({segments}):
                before[c] = last
                last = {across}
{store_block}        for place in range(whole, high):
            last = {step}
{store_last}"""
STORE_BLOCK = """            for r in range({edge}):
                for c in range({segments}):
                    part[r * {segments} + c] = {value}
            for s in range(0, {segments}, {edge}):
                transpose_{dtype}(part, s, {segments}, out, i + s * {edge}, {edge})
"""
OFFSETS = HEAD + """    for row in range(start, stop):
        last = {identity}
        for place in range(row * n, row * n + n):
            value = x[place]
            x[place] = last
            last = {combined}
"""


class Running:
    """One running operation on one dtype: the texts of its kernels."""

    def __init__(self, name: str, dtype: np.dtype):
        self.name, self.kind, self.dtype = name, dtype, short_dtype(dtype)
        self.edge = EDGE[self.dtype]
        self.arrays = ("a", "x", "out") if name == "linear_recurrence" else ("x", "out")

    def combine(self, x: str, y: str) -> str:
        """One step of the operation, as text."""
        expression, names = OPERATIONS[self.name], [x, y]
        if not is_float(self.kind) and "_(" not in expression:
            expression, names = wrapping(expression, names, self.dtype)
        return expression.format(x=names[0], y=names[1])

    def in_blocks(self) -> bool:
        """May parts of a row be combined before they meet what stands in front of them?"""
        return self.name != "linear_recurrence" and (self.name != "cumprod" or not is_float(self.kind))

    def identity(self) -> object:
        """What changes nothing: -0.0 for sums of floats, which keeps the sign of a zero."""
        if self.name in ("cummax", "cummin"):
            sign = -1 if self.name == "cummax" else 1
            return sign * np.inf if is_float(self.kind) else np.iinfo(self.kind).min if sign < 0 else np.iinfo(self.kind).max
        return -0.0 if is_float(self.kind) else int(self.name == "cumprod")

    def text(self, template: str, arrays: Sequence[str] | None = None, identity: int = 0, **parts: str) -> str:
        """The source of a kernel; identity: where in `sizes` the bits of the identity are."""
        buffers = "\n".join(f"    {name} = buffer_{self.dtype}(buffers, {k})" for k, name in enumerate(arrays or self.arrays))
        step = "x[place] + a[place] * last" if self.name == "linear_recurrence" else self.combine("last", "x[place]")
        start = f"{self.dtype}{'_bits' if is_float(self.kind) else ''}(sizes[{identity}])"
        return template.format(buffers=buffers, dtype=self.dtype, edge=self.edge, segments=SEGMENTS, block=SEGMENTS * self.edge,
                               first="x", step=step, identity=start, **parts)

    def blocks(self, arrays: Sequence[str], store: str) -> str:
        """The source of the kernel of blocks. store: "" totals alone, "last" prefixes of a row, "offsets" those of a chunk."""
        here, above = f"part[r * {SEGMENTS} + c]", f"part[r * {SEGMENTS} - {SEGMENTS} + c]"
        value, last = self.combine("before[c]", here), "last"
        if store == "offsets":
            value, last = self.combine("offsets[g]", f"({value})"), self.combine("offsets[g]", last)
        block = STORE_BLOCK.format(edge=self.edge, segments=SEGMENTS, dtype=self.dtype, value=value) if store else ""
        tail = f"            out[place] = {last}\n" if store else "        offsets[g] = last\n"
        across = self.combine("last", f"part[{SEGMENTS * (self.edge - 1)} + c]")
        return self.text(BLOCKS, arrays, 3, down=self.combine(above, here), across=across, store_block=block, store_last=tail)


def running(builder: Builder, eqn: Eqn) -> None:
    """The steps of one running operation."""
    (out,), axis, shape = eqn.outputs, eqn.params["axis"], eqn.outputs[0].type.shape
    dtype = out.type.dtype
    if short_dtype(dtype) in (*HALVES, "b1"):
        builder.callback(eqn)
        return
    if out.type.size == 0:
        return
    rows, n, width = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1:])
    operation, slots = Running(eqn.op.name, dtype), (*map(builder.stored, eqn.inputs), builder.slots[out])
    if width > 1:
        piece = smallest(STRIP, largest(64, -(-width // MANY_ROWS)))
        strips = -(-width // piece)
        step(builder, eqn, operation.text(COLUMNS), slots, (n, width, strips, piece), rows * strips, n * piece)
    elif not operation.in_blocks():
        step(builder, eqn, operation.text(SERIAL), slots, (n,), rows, n)
    else:
        blocks(builder, eqn, operation, slots, rows, n)


def blocks(builder: Builder, eqn: Eqn, operation: Running, slots: Sequence[Slot], rows: int, n: int) -> None:
    """The steps for rows that are contiguous: one, or three where there are few and long ones."""
    identity = scalar_bits(operation.identity(), operation.kind)
    if rows >= MANY_ROWS or n < 4 * CHUNK:
        step(builder, eqn, operation.blocks(("x", "out"), "last"), slots, (n, 1, n, identity), rows, n)
        return
    chunks = -(-n // CHUNK)
    nbytes = rows * chunks * operation.kind.itemsize
    offsets, sizes = Slot("arena", 0, builder.arena.allocate(nbytes)), (n, chunks, CHUNK, identity)
    builder.temporary.append((offsets.offset, nbytes))
    x, out = slots
    step(builder, eqn, operation.blocks(("x", "offsets"), ""), (x, offsets), sizes, rows * chunks, CHUNK, nbytes)
    text = operation.text(OFFSETS, ("x",), 1, combined=operation.combine("last", "value"))
    step(builder, eqn, text, (offsets,), (chunks, identity), rows, chunks, nbytes, nbytes)
    step(builder, eqn, operation.blocks(("x", "offsets", "out"), "offsets"), (x, offsets, out), sizes, rows * chunks, CHUNK)


def step(builder: Builder, eqn: Eqn, text: str, slots: Sequence[Slot], sizes: tuple, extent: int, points: int,
         writes: int | None = None, reads: int | None = None) -> None:
    """One kernel, over `extent` grid points of `points` elements each; writes, reads: bytes, if not those of the equation."""
    kernel = KernelStep(LazyKernel(text), tuple(slots), sizes, extent, computed(grain, extent, points, 1.0))
    reads = sum(a.type.nbytes for a in eqn.inputs) if reads is None else reads
    writes = eqn.outputs[0].type.nbytes if writes is None else writes
    builder.steps.append(kernel)
    builder.infos.append(KernelInfo(f"kernel_{len(builder.infos)}", "kernel", text, (eqn,), reads, writes, step=kernel))


for name in (*OPERATIONS, "linear_recurrence"):
    lowering(name)(running)
