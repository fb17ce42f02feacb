"""The GPU kernels of reductions along rows.

The threads of one thread_y share a row, or an equal part of it (`cuda_reduce.py`). Where elements lie side by side a thread
takes vectors of 16 bytes, then single elements of what is left; where an address is not aligned, it takes the same elements one
by one, so the order of additions does not depend on addresses. What a pass leaves to later ones stays in shared memory
(`cuda_keep.py`).
"""
from __future__ import annotations

from ..sizes import computed
from .affine import Axis
from .cuda_keep import MOST_BYTES, Kept, kept_values, pointer, slot_sizes
from .cuda_launch import LONG_ROW, WARP, LaunchShape, ceil_div, row_block
from .cuda_names import VECTOR_BYTES
from .cuda_reduce import TeamWriter
from .cuda_writer import SHORT, most_lanes
from .nest import Access, LoopNest, Node, Stage, Store

MOST_WIDTH = 4     # elements of a vector: eight exponentials at once take more registers than there are
LEAST_VECTOR = 4   # bytes
SECTOR = 32        # bytes that a GPU's memory gives at once


def bytes_kept(row_bytes: int, count: int, elements: int, together: int) -> int:
    """Bytes of each of that many rows that is worth keeping in shared memory; 0 where rows of so many elements are too long."""
    _, rows = row_block(count, elements, together)
    return row_bytes if row_bytes * rows <= MOST_BYTES else 0


def rows_together(nest: LoopNest) -> int:
    """How many rows have elements in a sector of an operand that is read turned, such as y of x + y.T; 1 where none is."""
    turned = [a for a in nest.accesses if a.buffer.role == "input" and nest.rows and a.strides.get(nest.rows[-1], 0) == 1]
    return max((SECTOR // a.buffer.dtype.itemsize for a in turned if nest.inner[-1] in a.strides), default=1)


class RowsWriter(TeamWriter):
    """Writes nests of the form "rows"."""

    across, member, members, store_if = "row", "thread_x()", "threads_x()", "live & (thread_x() == 0)"

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.kept = kept_values(nest)
        self.memory = {value: f"kept{k}" for k, value in enumerate(self.kept)}
        self.width = self.vector_width()
        self.short = len(nest.inner) == 1 and not nest.split and nest.inner[0].extent < SHORT
        self.length = self.kept_length()
        self.row_bytes = self.length * sum(slot_sizes(self.kept))
        self.together = min(rows_together(nest), LONG_ROW // WARP)
        count = self.points(self.dims)
        self.kept_bytes = computed(bytes_kept, self.row_bytes, count, self.reduced_elements(), self.together)

    def launch(self) -> LaunchShape:
        return LaunchShape("rows", outer=self.points(self.dims), inner=self.reduced_elements(),
                           kept_bytes=self.kept_bytes, together=self.together)

    def lines_of(self) -> None:
        self.base_depth = 2
        if self.kept:
            length = self.size(("kept",), self.length, "n")
            self.header.append(f"    keep = {self.size(('keep',), self.kept_bytes, 'k')} != 0")
            for value, name in self.memory.items():
                buffer = self.buffer_names[value.access.buffer]
                self.header.append(f"    {name} = {pointer(value, slot_sizes(self.kept), length, buffer)}")
        if self.dims:
            rows = self.count(self.dims)
            self.put(1, "first = block_x() * threads_y()")
            self.put(1, f"while first < {rows}:")
            self.put(2, "row = first + thread_y()")
            self.put(2, f"live = row < {rows}")
            self.put(2, f"row = min(row, {rows} - 1)")
            self.take_apart("row", self.dims, 2)
        else:   # one row alone
            self.put(1, "first = block_x()")
            self.put(1, "while first < 1:")
            self.put(2, "live = thread_y() == 0")
        for value, name in self.memory.items():
            base = self.base(value.access) or "0"
            self.put(2, f"{name}_at = thread_y() * {length} if keep else {base}")
        self.parts()
        self.put(2, "first += blocks_x() * threads_y()")

    def kept_length(self) -> int:
        """Elements from row to row in shared memory: all rows that hold a vector begin aligned."""
        length = self.reduced_elements()
        part = VECTOR_BYTES // min((v.itemsize for v in self.kept), default=VECTOR_BYTES)
        return length if length < self.width else ceil_div(length, part) * part

    # Vectors

    def vector_width(self) -> int:
        """Elements of a vector: of all passes the same, for a thread keeps what it alone reads again."""
        if len(self.nest.inner) != 1:
            return 1
        stages = [stage for stage in self.nest.stages if stage.stores or stage.reductions]
        sizes = [a.buffer.dtype.itemsize for stage in stages for a in self.contiguous_accesses(stage)]
        width = min(MOST_WIDTH, VECTOR_BYTES // max(sizes, default=VECTOR_BYTES))
        width = min((most_lanes(stage, width) for stage in stages), default=1)
        return width if width * min(sizes, default=0) >= LEAST_VECTOR else 1

    def contiguous_accesses(self, stage: Stage) -> list[Access]:
        """What a pass reads and writes side by side."""
        accesses = [stage.reloads.get(n, n.access) for n in stage.nodes] + [s.access for s in stage.stores]
        return [a for a in dict.fromkeys(accesses) if a is not None and self.contiguous(a, self.nest.inner[0])]

    def alignment(self, stage: Stage) -> str:
        low, _ = self.bounds(self.nest.inner[0])
        more = "" if low == "0" else f" + {low}"
        sources = [self.vector_source(node, stage) for node in stage.nodes] + [self.target(store) for store in stage.stores]
        checks = [f"aligned_({source[0]}, {(source[1] or '0 + ')[:-3]}{more})" for source in sources if source is not None]
        return " & ".join(dict.fromkeys(checks)) or "True"

    def source(self, access: Access, value: Kept | None) -> tuple[str, str]:
        """(buffer, what positions in a row are added to), where an access lies or what is kept of it."""
        if value is not None:
            return self.memory[value], f"{self.memory[value]}_at + "
        base = self.base(access)
        return self.buffer_names[access.buffer], f"{base} + " if base else ""

    def vector_source(self, node: Node, stage: Stage) -> tuple[str, str] | None:
        access = stage.reloads.get(node, node.access)
        if self.width == 1 or access is None or not self.contiguous(access, self.nest.inner[0]):
            return None
        return self.source(access, next((v for v in self.kept if v.node is node and v.first < self.number), None))

    def target(self, store: Store) -> tuple[str, str] | None:
        """(buffer, what its positions are added to) of a store of vectors; None for others."""
        if self.width == 1 or store.add or not self.contiguous(store.access, self.nest.inner[0]):
            return None
        return self.source(store.access, next((v for v in self.kept if v.store is store), None))

    def store_all(self, store: Store, lanes: list[dict], places: list[dict], depth: int) -> None:
        target = self.target(store)
        if target is None:
            super().store_all(store, lanes, places, depth)
        else:
            self.store_vectors(*target, store.node, lanes, places, depth)

    def store_vectors(self, buffer: str, base: str, node: Node, lanes: list[dict], places: list[dict], depth: int) -> None:
        """Writes the stores of a node, a vector at a time."""
        for k in range(0, len(lanes), self.width):
            (place,) = places[k].values()
            values = ", ".join(lane[node] for lane in lanes[k:k + self.width])
            self.put(depth, f"store_vector_({buffer}, {base}{place}, ({values}))")

    # What is kept

    def kept_element(self, node: Node) -> str:
        value = next((v for v in self.kept if v.node is node and v.first < self.number), None)
        return self.kept_place(value) if value else ""

    def kept_place(self, value: Kept) -> str:
        name = self.memory[value]
        return f"{name}[{name}_at + {self.axis_names[self.nest.inner[0]]}]"

    def keep(self, lanes: list[dict[Node, str]], places: list[dict[Axis, str]], depth: int) -> None:
        loaded = [v for v in self.kept if v.first == self.number and v.store is None]
        if loaded:
            self.put(depth, "if keep:")
        for value in loaded:
            if self.width > 1:
                self.store_vectors(*self.source(value.access, value), value.node, lanes, places, depth + 1)
                continue
            for self.names, place in zip(lanes, places):
                self.axis_names.update(place)
                self.put(depth + 1, f"{self.kept_place(value)} = {self.names[value.node]}")

    def store(self, store: Store, depth: int) -> None:
        value = next((v for v in self.kept if v.store is store), None)
        if value is None:
            super().store(store, depth)
        else:
            self.put(depth, f"{self.kept_place(value)} = {self.names[store.node]}")
