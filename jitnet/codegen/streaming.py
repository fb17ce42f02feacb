"""Large outputs written past the caches: what the writers of CPU kernels share for it.

A plain store reads the cache line that it will overwrite. An output that does not stay in the caches anyway is put together on
the stack, some lines at a time, and goes to memory from there.
"""
from __future__ import annotations

from collections.abc import Callable

from ..types import short_dtype
from .affine import Axis
from .memory import STREAM
from .nest import Access, LoopNest, Stage, Store
from .writer import KernelWriter

LEAST_PIECE = 512   # bytes of a contiguous piece that are worth it


class StreamingWriter(KernelWriter):
    """Writes kernels of which one store at a time may go past the caches. Abstract."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.streamed: Store | None = None   # the store that goes to a line on the stack first
        self.streamed_axis = ""              # the name of the axis that the line lies along
        self.first = "first"                 # the name of the place that the line begins with
        self.line = STREAM                   # how many elements it can hold

    def large_store(self, stage: Stage, axis: Axis) -> Store | None:
        """The store of elements that are consecutive along an axis, of an output too large for the caches, in long pieces.

        None in place: what is read is in the caches anyway.
        """
        for store in stage.stores:
            access = store.access
            if (store.is_large and axis.extent * store.node.dtype.itemsize >= LEAST_PIECE
                    and access.strides.get(axis) == 1 and not store.add and not access.dynamic
                    and not any(node.access and node.access.buffer is access.buffer for node in stage.nodes)):
                return store
        return None

    def stream(self, store: Store, axis: Axis, depth: int, low: str, high: str, body: Callable[[int], None]) -> None:
        """Writes the loop over an axis in pieces, the body of each element, and what takes a piece past the caches."""
        name, dtype, out = self.axis_names[axis], *self.streamed_names(store)
        self.streamed, self.streamed_axis = store, name
        place = self.renamed(store.access, axis, self.first, depth)
        self.put(depth, f"first = {low}")
        self.put(depth, f"last = min(first + ahead_{dtype}({out}, {place}), {high})")
        self.put(depth, f"while first < {high}:")
        self.put(depth + 1, f"for {name} in range(first, last):")
        body(depth + 2)
        self.put(depth + 1, f"stream_{dtype}({out}, {place}, line, last - first)")
        self.put(depth + 1, "first = last")
        self.put(depth + 1, f"last = min(first + {STREAM}, {high})")
        self.streamed = None

    def streamed_names(self, store: Store) -> tuple[str, str]:
        """The dtype and the buffer's name of a store past the caches; a kernel with such a store has a line and a fence."""
        dtype = short_dtype(store.access.buffer.dtype)
        self.header.append(f"    line = local_{dtype}({self.line})")
        self.footer.append("    fence_()")
        return dtype, self.buffer_names[store.access.buffer]

    def store(self, store: Store, depth: int) -> None:
        if store is self.streamed:
            self.put(depth, f"line[{self.streamed_axis} - {self.first}] = {self.names[store.node]}")
        else:
            super().store(store, depth)

    def renamed(self, access: Access, axis: Axis, name: str, depth: int) -> str:
        """The address of an access with an axis under another name."""
        self.axis_names[axis], kept = name, self.axis_names[axis]
        text = self.address(access, depth)
        self.axis_names[axis] = kept
        return text


def computes(stage: Stage) -> bool:
    """Does a stage hold costly functions?"""
    return any(node.kind == "expr" and not node.eqn.op.cheap for node in stage.nodes if node not in stage.reloads)
