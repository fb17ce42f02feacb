"""LoopNest -> the Python source of one GPU kernel, for Numba.

    def kernel(x0: "f32*", x1: "f32*", out0: "f32*", n0: "i64", c0: "f32"):

Parameters are the buffers, as bare pointers and in the order of the nest's, then numbers by value: extents, strides, offsets
and scalar constants, so one kernel serves every size. Its symbol is `kernel`; how it is launched is plain data
(`cuda_launch.py`); what its text calls stands in `cuda_names.py`. A status buffer is one int64 that becomes 1 when an index is
out of bounds.
"""
from __future__ import annotations

from .. import config
from .cuda_map import map_writer
from .cuda_reduce import ColumnsWriter
from .cuda_rows import RowsWriter
from .cuda_scatter import scatter_writer, scatters
from .cuda_writer import CudaKernel
from .nest import LoopNest, as_columns

WRITERS = {"map": map_writer, "rows": RowsWriter, "columns": ColumnsWriter}


def cuda_kernel(nest: LoopNest, atomics: bool | None = None) -> CudaKernel:
    """The kernel of a loop nest, and the numbers and the launch for this use of it.

    atomics: whether scattered sums of floats may be taken in any order; None: as JITNET_GPU_ATOMICS says.
    """
    if nest.form == "map" and scatters(nest):
        allowed = config.switched_on("JITNET_GPU_ATOMICS") if atomics is None else atomics
        return scatter_writer(nest, allowed).cuda_kernel()
    nest = as_columns(nest)
    return WRITERS[nest.form](nest).cuda_kernel()
