"""Matrix products of small and middling size by our own blocks: what OpenBLAS computes at 60 to 70% of the speed, since it packs.

The kernels have the ABI and the sizes of those in blas_code.py, whose `matmul_step` chooses between the two by sizes alone.
"""
from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from . import blas_code, cache, gemm_blocks, llvm

KINDS = {np.dtype(np.float32): ("f32", "float"), np.dtype(np.float64): ("f64", "double")}

# A tile goes panel by panel: two vectors of columns, all rows. A panel of B that does not lie well (transposed, or with rows so
# far apart that they meet in the cache) is copied first, PANEL_K rows at a time.
DRIVER = """
def offset(sizes, index, operand):
    elements = 0
    axis = load64(sizes + 8 * BATCH_AXES) - 1
    while axis >= 0:
        at = sizes + 8 * (BATCH + BATCH_WORDS * axis)
        extent = load64(at)
        elements += index % extent * load64(at + 8 * operand)
        index = index // extent
        axis -= 1
    return elements


def strip(a, ra, ca, b, rb, c, rc, rows, k, columns, alpha, beta):
    if columns > LANES:
        strip_2(a, ra, ca, b, rb, c, rc, rows, k, columns, alpha, beta)
    else:
        strip_1(a, ra, ca, b, rb, c, rc, rows, k, columns, alpha, beta)


def turn_panel(b, line, columns, k, place):
    done = 0
    while done < k:
        turn(b + ITEM * done, line, smaller(columns, LANES), k - done, place + 2 * WIDTH * done, 2 * WIDTH)
        if columns > LANES:
            turn(b + LANES * line + ITEM * done, line, columns - LANES, k - done, place + 2 * WIDTH * done + WIDTH, 2 * WIDTH)
        done += LANES


def kernel(buffers, sizes, start, stop):
    place = panel()
    m, n, k = load64(sizes + 8 * M), load64(sizes + 8 * N), load64(sizes + 8 * K)
    lda, ldb, rc = ITEM * load64(sizes + 8 * LDA), ITEM * load64(sizes + 8 * LDB), ITEM * load64(sizes + 8 * LDC)
    turn_a, turn_b = load64(sizes + 8 * TRANSPOSE_A), load64(sizes + 8 * TRANSPOSE_B)
    ra, ca = (ITEM if turn_a != 0 else lda), (lda if turn_a != 0 else ITEM)
    alpha, beta = load64(sizes + 8 * ALPHA), load64(sizes + 8 * BETA)
    tile_m, tile_n = load64(sizes + 8 * TILE_M), load64(sizes + 8 * TILE_N)
    across = (n + tile_n - 1) // tile_n
    per_matrix = across * ((m + tile_m - 1) // tile_m)
    for tile in range(start, stop):
        index = tile // per_matrix
        within = tile % per_matrix
        row = within // across * tile_m
        column = within % across * tile_n
        rows, end = smaller(tile_m, m - row), smaller(column + tile_n, n)
        a = load64(buffers) + ITEM * offset(sizes, index, 1) + row * ra
        b = load64(buffers + 8) + ITEM * offset(sizes, index, 2)
        c = load64(buffers + 16) + ITEM * offset(sizes, index, 3) + row * rc
        copied = turn_b != 0 or (rows >= COPY_ROWS and (ldb >= COPY_DISTANCE or ldb % 1024 == 0))
        while column < end:
            wide = smaller(2 * LANES, end - column)
            from_b = b + column * (ldb if turn_b != 0 else ITEM)
            to = c + ITEM * column
            if copied == 0 or k == 0:
                strip(a, ra, ca, from_b, ldb, to, rc, rows, k, wide, alpha, beta)
            done, scale = 0, beta
            while copied != 0 and done < k:
                deep = smaller(PANEL_K, k - done)
                if turn_b != 0:
                    turn_panel(from_b + ITEM * done, ldb, wide, deep, place)
                else:
                    copy(from_b + ldb * done, ldb, deep, place, wide)
                strip(a + ca * done, ra, ca, place, 2 * WIDTH, to, rc, rows, deep, wide, alpha, scale)
                done, scale = done + deep, ONE
            column += 2 * LANES
"""


@functools.cache
def kernel(dtype: np.dtype) -> cache.Kernel:
    """The kernel of one dtype, ready to run."""
    short, kind = KINDS[dtype]
    folder = Path(__file__).parent
    texts = [(folder / name).read_text() for name in ("gemm.py", "gemm_blocks.py", "words.py", "blas_code.py")]
    key = cache.object_key("\n".join([kind, *texts]))
    symbol = f"jitnet_{short}_kernel"

    def build() -> bytes:
        from . import words
        blocks = gemm_blocks.Blocks(kind, gemm_blocks.vector_bytes())
        names = {**vars(words), **vars(blas_code), **blocks.names(), "COPY_ROWS": 28, "COPY_DISTANCE": 2048, "ONE": 0x3FF0 << 48}
        return llvm.emit_object([words.compile_words(blocks.strips() + DRIVER, names, f"jitnet_{short}_") + blocks.text()], vectorize=False)

    loaded = cache.get_object(key, (symbol,), build)
    return cache.Kernel("", f"{key}-{short}", loaded.address[symbol], loaded)
