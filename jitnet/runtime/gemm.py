"""Matrix products of small and middling size by blocks in registers: OpenBLAS takes 1.1 to 1.7 times as long, since it packs.

The kernels have the ABI and the sizes of those in blas_code.py, whose `matmul_step` chooses between the two by sizes alone.
"""
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import blas_code, cache, gemm_blocks, llvm

NAME = "gemm"  # what the keys of these kernels begin with
KINDS = {np.dtype(np.float32): ("f32", "float"), np.dtype(np.float64): ("f64", "double")}

SERIAL = 3 << 19  # operations (float64 counts twice): below this, 7 us, a product is one tile
STORING = 8  # steps along k that take as long as it does to begin and to store a block
PIECES = 4  # a product of middling size is cut into this many
TILE = 24 << 20  # and a tile has no more than this: its rows of A stay in the second cache
TURNED = 2  # times as much where B lies transposed: every tile turns its panels anew, an eighth of the time at 64 rows
VECTOR = 1 << 15  # multiplications of a matrix by a vector
# Width of vectors -> multiplications of the largest product, and its k: beyond, OpenBLAS gains by blocking for the caches.
LARGE, DEEP = {64: 140 << 20, 32: 64 << 20}, 1280
CONSTANTS = {"ONE": 0x3FF0 << 48, "COPY_ROWS": 28, "COPY_DISTANCE": 2048}

# A tile goes panel by panel: two vectors of columns, all rows. A panel of B that does not lie well (transposed, or with rows so
# far apart that they meet in the cache) is copied first, PANEL_K rows at a time. A transposed A goes block by block: while the
# first panel is multiplied its rows are packed, for the others; with less than three panels that costs more than it gains.
DRIVER = """
def turn_panel(b, line, columns, k, place):
    done = 0
    while done < k:
        turn(b + ITEM * done, line, smaller(columns, LANES), k - done, place + 2 * WIDTH * done, 2 * WIDTH)
        if columns > LANES:
            turn(b + LANES * line + ITEM * done, line, columns - LANES, k - done, place + 2 * WIDTH * done + WIDTH, 2 * WIDTH)
        done += LANES


def packed_rows(a, ca, b, rb, c, rc, rows, k, columns, beta, place):
    while rows > 0:
        done, scale = 0, beta
        while done < k:
            deep = smaller(BLOCK_K, k - done)
            at = 0
            while at < columns:
                wide = smaller(2 * LANES, columns - at)
                from_b, to = b + rb * done + ITEM * at, c + ITEM * at
                if at == 0:
                    packing_2(a + ca * done, place, ca, from_b, rb, to, rc, deep, wide, scale)
                elif wide > LANES:
                    packed_2(place, 0, 0, from_b, rb, to, rc, deep, wide, scale)
                else:
                    packed_1(place, 0, 0, from_b, rb, to, rc, deep, wide, scale)
                at += 2 * LANES
            done, scale = done + deep, ONE
        rows, a, c = rows - TALLEST, a + ITEM * TALLEST, c + TALLEST * rc


def kernel(buffers, sizes, start, stop):
    place = panel()
    m, n, k = load64(sizes + 8 * M), load64(sizes + 8 * N), load64(sizes + 8 * K)
    lda, ldb, rc = ITEM * load64(sizes + 8 * LDA), ITEM * load64(sizes + 8 * LDB), ITEM * load64(sizes + 8 * LDC)
    turn_a, turn_b = load64(sizes + 8 * TRANSPOSE_A), load64(sizes + 8 * TRANSPOSE_B)
    ra, ca = (ITEM if turn_a != 0 else lda), (lda if turn_a != 0 else ITEM)
    beta = load64(sizes + 8 * BETA)
    tile_m, tile_n = load64(sizes + 8 * TILE_M), load64(sizes + 8 * TILE_N)
    across, per_matrix = 1, 1
    if tile_m < m or tile_n < n:
        across = (n + tile_n - 1) // tile_n
        per_matrix = across * ((m + tile_m - 1) // tile_m)
    for tile in range(start, stop):
        index, row, column = tile, 0, 0
        if per_matrix > 1:
            index = tile // per_matrix
            within = tile % per_matrix
            row, column = within // across * tile_m, within % across * tile_n
        rows, end = smaller(tile_m, m - row), smaller(column + tile_n, n)
        a = load64(buffers) + ITEM * offset(sizes, index, 1) + row * ra
        b = load64(buffers + 8) + ITEM * offset(sizes, index, 2)
        c = load64(buffers + 16) + ITEM * offset(sizes, index, 3) + row * rc
        if turn_a != 0 and turn_b == 0 and ldb < COPY_DISTANCE and end - column > 4 * LANES and k > 0 and rows != 16:
            whole = rows // TALLEST * TALLEST
            packed_rows(a, ca, b + ITEM * column, ldb, c + ITEM * column, rc, whole, k, end - column, beta, place)
            rows, a, c = rows - whole, a + ITEM * whole, c + rc * whole
            if rows == 0:
                continue
        copied = turn_b != 0 or (rows >= COPY_ROWS and ldb >= COPY_DISTANCE)
        depth = larger(k, 1)
        if copied != 0:
            depth = NEAR if turn_a != 0 and turn_b != 0 else PANEL_K
        done, scale = 0, beta
        while done < k or done == 0:
            deep = smaller(depth, k - done)
            at = column
            while at < end:
                wide = smaller(2 * LANES, end - at)
                from_b, line = b + ldb * done + ITEM * at, ldb
                if copied != 0 and k > 0:
                    from_b, line = place, 2 * WIDTH
                    if turn_b != 0:
                        turn_panel(b + ldb * at + ITEM * done, ldb, wide, deep, place)
                    else:
                        copy(b + ldb * done + ITEM * at, ldb, deep, place, wide)
                to = c + ITEM * at
                if wide > LANES:
                    strip_2(a + ca * done, ra, ca, from_b, line, to, rc, rows, deep, wide, scale)
                else:
                    strip_1(a + ca * done, ra, ca, from_b, line, to, rc, rows, deep, wide, scale)
                at += 2 * LANES
            done, scale = done + depth, ONE
"""


@functools.cache
def _recipe(dtype: np.dtype) -> tuple[str, Callable[[], bytes]]:
    """(key, build) of the object with the kernel of one dtype."""
    short, kind = KINDS[dtype]
    folder = Path(__file__).parent
    texts = [(folder / name).read_text() for name in ("gemm.py", "gemm_blocks.py", "words.py", "blas_code.py")]
    return (cache.object_key("\n".join([kind, *texts])),
            functools.partial(image, kind, gemm_blocks.vector_bytes(), f"jitnet_{short}_"))


def announce(dtype: np.dtype) -> None:
    """Says that the kernel of this dtype will be needed; nothing where no product suits these kernels."""
    if gemm_blocks.vector_bytes():
        cache.announce(*_recipe(dtype))


@functools.cache
def kernel(dtype: np.dtype, text: str) -> cache.LazyKernel:
    """The kernel of one dtype, being compiled from now on; `text` is what it shows as its source."""
    short, (key, build) = KINDS[dtype][0], _recipe(dtype)
    symbol = f"jitnet_{short}_kernel"

    def find() -> cache.Kernel:
        loaded = cache.get_object(key, (symbol,), build)
        return cache.Kernel(text, key, loaded.address[symbol], loaded)

    announce(dtype)
    return cache.LazyKernel(text, f"{NAME}-{short}-{key}", find)


def image(kind: str, width: int, prefix: str) -> bytes:
    """The object file with the function <prefix>kernel: for "float" or "double", with vectors of `width` bytes."""
    from . import words
    blocks = gemm_blocks.Blocks(kind, width)
    names = {**vars(words), **vars(blas_code), **blocks.names(), **CONSTANTS}
    source = "\n".join([inspect.getsource(blas_code.offset), blocks.strips(), DRIVER])
    driver = blocks.declarations() + words.compile_words(source, names, prefix)
    return llvm.emit_object([driver], vectorize=False, finished=[blocks.text()])


def tiles(m: int, n: int, k: int, item: int, turn_b: bool, count: int = 1) -> tuple[int, int]:
    """(rows, columns) of a tile of an m x n product over k: whole blocks, and enough tiles for the cores to share evenly.

    count: of how many such products at once.
    """
    width = gemm_blocks.vector_bytes()
    tallest, panel = gemm_blocks.heights(width)[0], 2 * width // item
    rows, columns = max(m, 1), max(n, 1)
    total = operations(m, n, k, item)
    if total < SERIAL:
        return rows, columns
    target = min(max(count * total // PIECES, SERIAL // 2), TURNED * TILE if turn_b else TILE)
    least = (8 if turn_b else 2) * tallest  # a turned panel should serve many rows
    while operations(rows, columns, k, item) > 1.1 * target:
        if columns > panel and (columns >= rows or rows <= 8 * tallest):  # few rows are many leftovers
            columns = _half(columns, panel)
        elif rows > least:
            rows = _half(rows, tallest)
        else:
            break
    if rows < m:  # the same for all, and an even number of them: most machines have an even number of cores
        count = -(-m // rows)
        rows = 2 * -(-m // (2 * (count + count % 2)))
    return rows, columns


def operations(m: int, n: int, k: int, item: int) -> int:
    """How much work an m x n product over k is; vectors that are not full, and float64, count for what they cost."""
    lanes = gemm_blocks.vector_bytes() // item
    return 2 * m * -(-n // lanes) * lanes * (k + STORING) * item // 4


def _half(count: int, multiple: int) -> int:
    return -(-count // (2 * multiple)) * multiple


def suits(m: int, n: int, k: int, item: int, turn_a: bool, turn_b: bool) -> bool:
    """Whether these kernels compute the product faster than OpenBLAS does; `item`: bytes per element."""
    width = gemm_blocks.vector_bytes()
    if not width:
        return False
    if 1 in (m, n):  # a matrix by a vector waits for memory
        return not turn_b and m * k * max(n, width // item) <= VECTOR
    if turn_a and n * item <= width and m >= 32:  # OpenBLAS computes on vectors of rows, which lie side by side here
        return False
    return k <= DEEP and m * n * k * item // 4 <= LARGE[width]
