"""LoopNest -> the Python source of one CPU kernel, for Numba.

    def kernel(buffers, sizes, start, stop)       works on the grid points (rows, strips, chunks, blocks) from start to stop

The text is the identity of a kernel: everything that differs from call to call (extents, strides, offsets, scalar constants)
stands in `sizes`, so one kernel serves every size, and equal structures share one kernel. Strides of 0, 1 and -1 are written
out: they decide how it vectorizes.
"""
from __future__ import annotations

from .cpu_map import MapWriter
from .cpu_reduce import ColumnsWriter, RowsWriter
from .cpu_tiles import TilesWriter
from .nest import LoopNest
from .writer import KernelSource

WRITERS = {"map": MapWriter, "rows": RowsWriter, "columns": ColumnsWriter}


def cpu_source(nest: LoopNest) -> KernelSource:
    """The kernel of a loop nest, and the numbers for this use of it."""
    writer = TilesWriter if nest.tile is not None else WRITERS[nest.form]
    return writer(nest).write()
