"""What every writer of GPU kernels shares: parameters, the loop of a thread over its work, several elements at a time.

Addresses, scalars and statements are those of CPU kernels (`writer.py`); what differs is who does which part of the loops.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..sizes import computed, integer
from ..types import DTYPES, is_float, short_dtype
from .affine import Axis
from .cuda_launch import LaunchShape
from .nest import Access, LoopNest, Node, Stage, Store
from .writer import PREFIXES, Dimension, KernelWriter, scalar_bits, total

MOST_PARAMETERS = 60   # numbers passed by value; more come in one array
SHORT = 2 ** 30        # elements of a row whose positions are numbers of 32 bits, also a step beyond its end
MOST_STATEMENTS = 128  # statements of the body of a loop that works on several elements at a time


@dataclass(frozen=True)
class CudaKernel:
    """A GPU kernel and one use of it.

    source: Python text whose parameters are the buffers, in the order of the nest, then the numbers `sizes`. name: its symbol.
    sizes: one 64-bit word per number, whose low bytes hold a parameter of a narrower type. by_pointer: the numbers come as one
    array of such words in the GPU's memory instead, the last parameter. launch: what the number of threads depends on.
    """

    source: str
    name: str
    sizes: tuple[int, ...]
    launch: LaunchShape
    by_pointer: bool = False


class CudaWriter(KernelWriter):
    """Writes the source of one nest for a GPU. Abstract: each template has a writer."""

    def __init__(self, nest: LoopNest):
        super().__init__(nest)
        self.numbers: list[tuple[str, str]] = []   # (name, dtype) of the parameters after the buffers
        self.base_depth = 1
        self.short = False                         # do 32 bits suffice for positions in a row? More take twice the instructions
        self.settled: set[Access] = set()          # accesses whose indices that are data are in their base

    # Parameters

    def size(self, key: tuple, value: int, prefix: str) -> str:
        if key not in self.size_names:
            name = self.size_names[key] = self.fresh(prefix)
            self.numbers.append((name, "i64"))
            self.sizes.append(integer(value))
        return self.size_names[key]

    def scalar(self, key: tuple, value, dtype: np.dtype, prefix: str) -> str:
        if dtype.kind == "b":   # Numba's bools are bytes as parameters and bits elsewhere
            return f"b1({self.scalar((*key, 'byte'), value, np.dtype(np.uint8), prefix)})"
        if key not in self.size_names:
            name = self.size_names[key] = self.fresh(prefix)
            self.numbers.append((name, short_dtype(dtype)))
            self.sizes.append(computed(scalar_bits, value, dtype))
        return self.size_names[key]

    def launch(self) -> LaunchShape:
        """What the number of threads depends on."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def lines_of(self) -> None:
        """Writes all lines of the kernel."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def cuda_kernel(self) -> CudaKernel:
        """The kernel."""
        nest, buffers = self.nest, []
        for buffer in nest.buffers:
            name = "status" if buffer.role == "status" else self.fresh(PREFIXES[buffer.role])
            self.buffer_names[buffer] = name
            buffers.append((name, "i64*" if buffer.role == "status" else f"{short_dtype(buffer.dtype)}*"))
        self.lines_of()
        by_pointer = len(self.numbers) > MOST_PARAMETERS
        header = [f"    {name} = {unpacked(dtype, k)}" for k, (name, dtype) in enumerate(self.numbers)] if by_pointer else []
        given = [*buffers, *([("sizes", "i64*")] if by_pointer else self.numbers)]
        lines = ["def kernel(" + ", ".join(f'{name}: "{dtype}"' for name, dtype in given) + "):"]
        lines += [*header, *self.header, *(["    bad = b1(0)"] if nest.checks else []), *self.lines]
        lines += ["    if bad:", "        status[0] = i64(1)"] if nest.checks else []
        return CudaKernel("\n".join(lines) + "\n", "kernel", tuple(self.sizes), self.launch(), by_pointer)

    # Addresses

    def base(self, access: Access) -> str:
        """As for CPU kernels, with indices that are data where they are known before the loop, as in a gather of rows."""
        if access not in self.bases and access.dynamic and all(node in self.names for node, _, _ in access.dynamic):
            fixed, picks = super().base(access), self.picks(access, self.base_depth)
            self.bases[access] = name = self.fresh("at")
            self.put(self.base_depth, f"{name} = {total([fixed, *picks] if fixed else picks)}")
            self.settled.add(access)
        return super().base(access)

    def picks(self, access: Access, depth: int) -> list[str]:
        return [] if access in self.settled else super().picks(access, depth)

    def contiguous(self, access: Access, axis: Axis) -> bool:
        """Do the elements along an axis lie side by side?"""
        return access.strides.get(axis) == 1 and all(axis not in node.axes for node, _, _ in access.dynamic)

    # Work

    def take_apart(self, left: str, dims: list[Dimension], depth: int) -> None:
        """Writes the parts of a number of a grid point."""
        for k, (name, count, _) in reversed(list(enumerate(dims))):
            if k > 0:
                self.put(depth, f"g{k} = div_({left}, {count})")
                self.put(depth, f"{name} = {left} - g{k} * {count}")
                left = f"g{k}"
            elif name != left:
                self.put(depth, f"{name} = {left}")
            if name in self.pieces:
                width, end = self.pieces[name]
                self.put(depth, f"{name}_start = {name} * {width}")
                self.put(depth, f"{name}_stop = min({name}_start + {width}, {end})")

    @staticmethod
    def points(dims: list[Dimension]) -> int:
        """How many points a grid has."""
        points = 1
        for dim in dims:
            points *= dim.extent
        return points

    def count(self, dims: list[Dimension]) -> str:
        """The number of points of a grid, by name."""
        return dims[0].count if len(dims) == 1 else self.size(("points", tuple(d.name for d in dims)), self.points(dims), "n")

    def position(self, text: str) -> str:
        """A position along a row, of 32 bits where all of them have as many."""
        return f"i32({text})" if self.short else text

    # Several elements at a time

    def lane_stores(self, stores: list[Store], lanes: list[dict[Node, str]], places: list[str], axis, depth: int) -> None:
        """Writes these stores at several places."""
        known = self.names
        for store in stores:
            for lane, place in zip(lanes, places):
                self.names, self.axis_names[axis] = lane, place
                self.store(store, depth)
        self.names = known


def unpacked(dtype: str, k: int) -> str:
    """Number k of the array `sizes`, as a value of that dtype."""
    return f"sizes[{k}]" if dtype == "i64" else f"{dtype}{'_bits' if is_float(DTYPES[dtype]) else ''}(sizes[{k}])"


def most_lanes(stage: Stage, wanted: int) -> int:
    """How many elements a thread works on at a time: as wanted, fewer where the text would grow too long."""
    lanes = wanted
    while lanes > 1 and lanes * (len(stage.nodes) + len(stage.stores)) > MOST_STATEMENTS:
        lanes //= 2
    return lanes
