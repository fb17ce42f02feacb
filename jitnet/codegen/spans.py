"""Which bytes of its buffers a kernel touches: at a grid point, what joins it with the step before (runtime/joining.py), and in
all, what lets it run at the same time as another one (runtime/cuda/together.py)."""
from __future__ import annotations

from ..runtime.joining import Span
from ..sizes import computed
from .nest import Access, Buffer, LoopNest


def spans(nest: LoopNest) -> tuple[Span, ...]:
    """A Span per buffer, of one index of the outermost axis; () where data says what a grid point touches."""
    if nest.checks or any(access.dynamic for access in nest.accesses):
        return ()
    return tuple(span(nest, buffer) for buffer in nest.buffers)


def outermost(nest: LoopNest) -> list:
    """The axis that the grid counts first, in a list; none where there is a single row, or squares."""
    if nest.split:
        return [] if nest.rows else [nest.chunk]
    if nest.tile is not None or nest.form == "columns":
        return []
    return (nest.rows or (nest.inner if nest.form == "map" else []))[:1]


def period(nest: LoopNest, extent: int) -> int:
    """Grid points of one index of the outermost axis."""
    axes = outermost(nest)
    return computed(_period, extent, axes[0].extent) if axes else 1


def _period(extent: int, outer: int) -> int:
    return extent // max(outer, 1)


def span(nest: LoopNest, buffer: Buffer) -> Span:
    """The Span of one buffer."""
    itemsize = buffer.dtype.itemsize
    walks = [walk(access, nest) for access in nest.accesses if access.buffer is buffer]
    numbers = [n for numbers in walks for n in (len(numbers), *numbers)]
    return Span(computed(_nbytes, itemsize, *numbers), computed(_step, itemsize, *numbers), buffer.role != "input")


def reach(nest: LoopNest) -> tuple[Span, ...]:
    """A Span per buffer, of all that a kernel touches; () where data says what it writes."""
    if nest.checks or any(access.dynamic and access.buffer.role != "input" for access in nest.accesses):
        return ()
    return tuple(reached(nest, buffer) for buffer in nest.buffers)


def reached(nest: LoopNest, buffer: Buffer) -> Span:
    """The Span of one buffer."""
    accesses, itemsize = [access for access in nest.accesses if access.buffer is buffer], buffer.dtype.itemsize
    if any(access.dynamic for access in accesses):
        return Span(buffer.atom.type.nbytes, 0, False)
    walks = [[access.base, *(n for axis, stride in access.strides.items() for n in (axis.extent, stride))]
             for access in accesses]
    numbers = [n for numbers in walks for n in (len(numbers), *numbers)]
    return Span(computed(_end, itemsize, *numbers), 0, buffer.role != "input", computed(_start, itemsize, *numbers))


def _ends(numbers) -> list[tuple[int, int]]:
    """The first and the last element of each access."""
    found, at = [], 0
    while at < len(numbers):
        count, base, *axes = numbers[at:at + 1 + numbers[at]]
        ends = [(n - 1) * s for n, s in zip(axes[::2], axes[1::2])]
        found.append((base + sum(min(e, 0) for e in ends), base + sum(max(e, 0) for e in ends)))
        at += 1 + count
    return found


def _start(itemsize: int, *numbers: int) -> int:
    return itemsize * min((first for first, _ in _ends(numbers)), default=0)


def _end(itemsize: int, *numbers: int) -> int:
    return itemsize * (1 + max((last for _, last in _ends(numbers)), default=-1))


def walk(access: Access, nest: LoopNest) -> list[int]:
    """An access as numbers: base, extent and stride of the outermost axis, how much of it belongs to an index of the grid, then
    extents and strides of the others. A chunk of a reduction is so much of the outermost reduced axis."""
    outer, width = next(iter(outermost(nest)), None), 1
    if nest.split and outer not in access.strides:
        outer, width = nest.inner[0], nest.split
    numbers = [access.base, 1 if outer is None else outer.extent, access.strides.get(outer, 0), width]
    for axis, stride in access.strides.items():
        if axis is not outer:
            numbers += [axis.extent, stride]
    return numbers


def _walks(numbers) -> list[tuple[int, int, int, int]]:
    """Per access: stride of the grid's first index, and the first and the last element at its index 0, and in all."""
    found, at = [], 0
    while at < len(numbers):
        count, base, extent, stride, width, *others = numbers[at:at + 1 + numbers[at]]
        ends = [(n - 1) * s for n, s in zip(others[::2], others[1::2])]
        first, last = base + sum(min(e, 0) for e in ends), base + sum(max(e, 0) for e in ends)
        found.append((width * stride, first, last + max((width - 1) * stride, 0), last + max((extent - 1) * stride, 0)))
        at += 1 + count
    return found


def _nbytes(itemsize: int, *numbers: int) -> int:
    return itemsize * (1 + max((end for _, _, _, end in _walks(numbers)), default=-1))


def _step(itemsize: int, *numbers: int) -> int:
    walks = _walks(numbers)
    strides = {stride for stride, _, _, _ in walks}
    inside = all(first >= 0 and last < stride for stride, first, last, _ in walks)
    return itemsize * strides.pop() if len(strides) == 1 and inside else 0
