"""Matrix products of float32 and float64 as steps of a program: SciPy's OpenBLAS, called by pointer, or blocks (gemm.py).

`matmul_step` cuts the output into tiles whose size depends on the sizes of the product alone; the thread pool runs the tiles
and OpenBLAS computes each of them with one thread, so the result is the same, bit for bit, on any number of threads.
"""
from __future__ import annotations

import ctypes
import functools
import glob
import importlib.util
import math
import os
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from . import blas_code, cache, gemm, llvm
from .joining import Span
from .program import KernelStep, Slot

SYMBOLS = ("jitnet_matmul_f32", "jitnet_matmul_f64", "jitnet_table")
SERIAL_FLOPS = 6 << 20  # below this (40 us) a product is one tile
TILE_FLOPS = 64 << 20  # a tile has no more than this, unless it is TILE x TILE already
TILE = 256  # smaller tiles repeat too much packing: 95% of the speed of a whole product at 256 x 256, 80% at 128 x 128
PIECES = 4  # a product of middling size is cut into this many
MANY = 16  # with so many tiles, they may be twice as large

SOURCE = """\
import numpy as np
from numpy.lib.stride_tricks import as_strided

# {who}; as Python it is:
def kernel(buffers, sizes, start, stop):
    m, n, k, lda, ldb, ldc, transpose_a, transpose_b, alpha, beta, tile_m, tile_n, axes = (int(s) for s in sizes[:13])
    alpha, beta = np.array([alpha, beta]).view(np.float64)
    shape, a_strides, b_strides, c_strides = np.reshape(sizes[13:13 + 4 * axes], (axes, 4)).T
    view = lambda p, shape, strides: as_strided(p, shape, [p.itemsize * int(s) for s in strides])
    a = view(buffers[0], (*shape, m, k), (*a_strides, *((1, lda) if transpose_a else (lda, 1))))
    b = view(buffers[1], (*shape, k, n), (*b_strides, *((1, ldb) if transpose_b else (ldb, 1))))
    c = view(buffers[2], (*shape, m, n), (*c_strides, ldc, 1))
    across = -(-n // tile_n)
    per_matrix = across * -(-m // tile_m)
    for tile in range(start, stop):
        batch = np.unravel_index(tile // per_matrix, tuple(shape)) if axes else ()
        i, j = (tile % per_matrix) // across * tile_m, (tile % per_matrix) % across * tile_n
        old = beta * c[batch][i:i + tile_m, j:j + tile_n] if beta else 0
        c[batch][i:i + tile_m, j:j + tile_n] = alpha * (a[batch][i:i + tile_m] @ b[batch][:, j:j + tile_n]) + old
"""


@functools.cache
def _recipe() -> tuple[str, Callable[[], bytes]]:
    """(key, build) of the object with the functions that call BLAS."""
    folder = Path(__file__).parent
    source = (folder / "blas_code.py").read_text()
    key = cache.object_key(source + (folder / "words.py").read_text())

    def build() -> bytes:
        from . import words
        return llvm.emit_object([words.compile_words(source, {**vars(words), **vars(blas_code)}, "jitnet_")], vectorize=False)

    return key, build


def announce() -> None:
    """Says that products by BLAS will be needed."""
    cache.announce(*_recipe())


@functools.cache
def _kernels() -> dict[np.dtype, cache.LazyKernel]:
    """Kernels by dtype, being compiled from now on."""
    (key, build), (name, functions) = _recipe(), _library()
    text = SOURCE.format(who=f"BLAS computes this, through {name}")

    @functools.cache
    def load() -> llvm.LoadedObject:
        loaded = cache.get_object(key, SYMBOLS, build)
        address = ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.address["jitnet_table"])()
        table = (ctypes.c_int64 * 16).from_address(address)
        for word, function in functions.items():
            table[word] = function
        if hasattr(os, "register_at_fork"):  # threads that were computing are not there in a child
            os.register_at_fork(after_in_child=functools.partial(_reset, table))
        return loaded

    def find(short: str) -> cache.Kernel:
        return cache.Kernel(text, key, load().address[f"jitnet_matmul_{short}"], load())

    announce()
    return {dtype: cache.LazyKernel(text, f"{key}-{short}", functools.partial(find, short))
            for dtype, short in ((np.dtype(np.float32), "f32"), (np.dtype(np.float64), "f64"))}


def _reset(table) -> None:
    if table[blas_code.RUNNING]:
        table[blas_code.RUNNING] = table[blas_code.LOCK] = 0
        if table[blas_code.SET_THREADS]:
            ctypes.CFUNCTYPE(None, ctypes.c_int)(table[blas_code.SET_THREADS])(table[blas_code.BEFORE])


def _library() -> tuple[str, dict[int, int]]:
    """(name, word of the table -> address): OpenBLAS from SciPy's wheel, else whatever scipy.linalg.cython_blas calls."""
    code = blas_code
    routines = {code.GEMM_F32: "sgemm", code.GEMM_F64: "dgemm", code.GEMV_F32: "sgemv", code.GEMV_F64: "dgemv"}
    for path in _openblas_files():
        try:
            library = ctypes.CDLL(path)  # 1.5 ms; importing scipy.linalg takes 250
            found = {word: getattr(library, f"scipy_{name}_") for word, name in routines.items()}
            found[code.SET_THREADS] = library.scipy_openblas_set_num_threads
            found[code.GET_THREADS] = library.scipy_openblas_get_num_threads
        except (OSError, AttributeError):
            continue
        return os.path.basename(path), {word: ctypes.cast(f, ctypes.c_void_p).value for word, f in found.items()}
    from scipy.linalg import cython_blas
    python = ctypes.pythonapi
    name_of, pointer_of = python.PyCapsule_GetName, python.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsules = {word: cython_blas.__pyx_capi__[name] for word, name in routines.items()}
    return "scipy.linalg.cython_blas", {word: pointer_of(c, name_of(c)) for word, c in capsules.items()}


def _openblas_files() -> list[str]:
    scipy = importlib.util.find_spec("scipy")
    if scipy is None or scipy.origin is None:
        return []
    package = os.path.dirname(scipy.origin)
    folders = {"darwin": os.path.join(package, ".dylibs")}
    return sorted(glob.glob(os.path.join(folders.get(sys.platform, package + ".libs"), "*scipy_openblas*")))


def tiles(m: int, n: int, k: int) -> tuple[int, int]:
    """(rows, columns) of a tile of an m x n product over k; they depend on nothing else."""
    rows, columns = max(m, 1), max(n, 1)
    # A matrix by a vector waits for memory: eight times the time per operation.
    weight = 16 * k if 1 in (m, n) else 2 * k
    total = weight * m * n
    if total < SERIAL_FLOPS:
        return rows, columns
    target = min(max(total // PIECES, SERIAL_FLOPS), TILE_FLOPS)
    while weight * rows * columns > 1.1 * target and max(rows, columns) > 32:
        count = -(-m // rows) * -(-n // columns)
        if (count >= PIECES and max(rows, columns) <= TILE) or (count >= MANY and max(rows, columns) <= 2 * TILE):
            break
        if rows >= columns:
            rows = _half(rows)
        else:
            columns = _half(columns)
    return rows, columns


def _half(count: int) -> int:
    """About half of it, a multiple of 16: what OpenBLAS' inner kernels take at once."""
    return -(-count // 32) * 16


def is_direct(step: KernelStep) -> bool:
    """Whether blocks in registers (gemm.py) compute this product, and not OpenBLAS."""
    return step.kernel.key.startswith(gemm.NAME)


def matmul_step(dtype, a: Slot, b: Slot, c: Slot, m: int, n: int, k: int, *,
                transpose_a: bool = False, transpose_b: bool = False,
                lda: int | None = None, ldb: int | None = None, ldc: int | None = None, batch: Sequence[int] = (),
                batch_strides: Sequence[tuple[int, int, int]] = (), alpha: float = 1.0, beta: float = 0.0) -> KernelStep:
    """The step C = alpha op(A) op(B) + beta C on row-major matrices, op(A) m x k, op(B) k x n, C m x n.

    A transposed operand lies in memory as k x m (n x k). lda, ldb, ldc: elements from one row in memory to the next, by
    default the row's length. batch: extents of the axes in front, batch_strides: elements from one matrix to the next for
    (A, B, C) along each of them, 0 to use a matrix again. C is not read where beta is 0, and all zeros where k is 0 too.
    """
    lda = lda or max(1, m if transpose_a else k)
    ldb = ldb or max(1, k if transpose_b else n)
    ldc = ldc or max(1, n)
    if max(m, n, k, lda, ldb, ldc) >= 1 << 31:
        raise ValueError(f"BLAS counts in 32 bits: a product {m} x {k} x {n} with rows of {lda}, {ldb}, {ldc} is too large")
    dtype = np.dtype(dtype)
    direct = alpha == 1 and gemm.suits(m, n, k, dtype.itemsize, transpose_a, transpose_b)
    if direct:
        kernel = gemm.kernel(dtype, SOURCE.format(who="Blocks in registers compute this, faster than BLAS at these sizes"))
        tile_m, tile_n = gemm.tiles(m, n, k, dtype.itemsize, transpose_b, math.prod(batch))
    else:
        kernel, (tile_m, tile_n) = _kernels()[dtype], tiles(m, n, k)
    across = -(-m // tile_m) * -(-n // tile_n)
    count = math.prod(batch) * across if m and n else 0
    sizes = (m, n, k, lda, ldb, ldc, int(transpose_a), int(transpose_b), *struct.unpack("qq", struct.pack("dd", alpha, beta)),
             tile_m, tile_n, len(batch))
    for extent, strides in zip(batch, batch_strides, strict=True):
        sizes += (extent, *strides)
    if direct:
        grain = gemm.SERIAL // 2 // gemm.operations(tile_m, tile_n, k, dtype.itemsize)
    else:
        grain = SERIAL_FLOPS // (2 * tile_m * tile_n * max(k, 1))
    grain = max(1, grain)  # several small matrices to a chunk
    reach = [(rows - 1) * line + columns for rows, columns, line in (
        (k, m, lda) if transpose_a else (m, k, lda), (n, k, ldb) if transpose_b else (k, n, ldb), (m, n, ldc))]
    if not batch:
        rows = tile_n >= n  # a tile is rows
        steps = (tile_m * lda if rows and not transpose_a else 0, 0, tile_m * ldc if rows else 0)
        spans = [(elements, step) for elements, step in zip(reach, steps)]
    elif len(batch) == 1 and min(batch_strides[0]) >= 0:  # matrices side by side
        spans = [((batch[0] - 1) * step + elements, step if elements <= step else 0)
                 for elements, step in zip(reach, batch_strides[0])]
    else:
        spans = []
    spans = tuple(Span(dtype.itemsize * max(elements, 0), dtype.itemsize * step, buffer == 2)
                  for buffer, (elements, step) in enumerate(spans))
    return KernelStep(kernel, (a, b, c), sizes, count, grain if count > grain else 0, spans, max(across, 1) if batch else 1)
