"""Matrix products over tiles, in the language of words.py: BLAS by function pointer, with the ABI of every kernel.

sizes: see the numbers below. BLAS thinks in columns: a row-major C = A B is a column-major C' = B' A', so the operands change
places. A tile is rows x columns of one matrix of the batch; which tile a chunk gets depends on the sizes alone.

While a tile is computed OpenBLAS has one thread: our own pool runs the tiles. The number that the user's SciPy had comes back
when the last tile is done.
"""
from .words import (
    call0,
    call1,
    gemm_f32,
    gemm_f64,
    gemv_f32,
    gemv_f64,
    library,
    load64,
    smaller,
    store64,
    store_atomic,
    swap_if,
)

# sizes
(M, N, K, LDA, LDB, LDC, TRANSPOSE_A, TRANSPOSE_B, ALPHA, BETA, TILE_M, TILE_N, BATCH_AXES, BATCH) = range(14)
BATCH_WORDS = 4  # per axis of the batch: extent, strides of A, B and C in elements
# library
(GEMM_F32, GEMM_F64, GEMV_F32, GEMV_F64, SET_THREADS, GET_THREADS, LOCK, RUNNING, BEFORE) = range(9)


def enter(table):
    """One thread in OpenBLAS from here on."""
    while swap_if(table + 8 * LOCK, 0, 1) == 0:
        pass
    running = load64(table + 8 * RUNNING)
    if running == 0 and load64(table + 8 * SET_THREADS) != 0:
        before = call0(load64(table + 8 * GET_THREADS)) & 0xffff
        store64(table + 8 * BEFORE, before)
        if before != 1:
            call1(load64(table + 8 * SET_THREADS), 1)
    store64(table + 8 * RUNNING, running + 1)
    store_atomic(table + 8 * LOCK, 0)
    return 0


def leave(table):
    """As many threads in OpenBLAS as before, once nobody computes."""
    while swap_if(table + 8 * LOCK, 0, 1) == 0:
        pass
    running = load64(table + 8 * RUNNING) - 1
    store64(table + 8 * RUNNING, running)
    if running == 0 and load64(table + 8 * SET_THREADS) != 0:
        before = load64(table + 8 * BEFORE)
        if before != 1:
            call1(load64(table + 8 * SET_THREADS), before)
    store_atomic(table + 8 * LOCK, 0)
    return 0


def offset(sizes, index, operand):
    """Elements from the first matrix of an operand (1, 2, 3: A, B, C) to that of a number in the batch."""
    elements = 0
    axis = load64(sizes + 8 * BATCH_AXES) - 1
    while axis >= 0:
        at = sizes + 8 * (BATCH + BATCH_WORDS * axis)
        extent = load64(at)
        elements += index % extent * load64(at + 8 * operand)
        index = index // extent
        axis -= 1
    return elements


def products(buffers, sizes, start, stop, item):
    """Tiles start to stop; item: bytes per element."""
    table = library()
    m, n, k = load64(sizes + 8 * M), load64(sizes + 8 * N), load64(sizes + 8 * K)
    lda, ldb, ldc = load64(sizes + 8 * LDA), load64(sizes + 8 * LDB), load64(sizes + 8 * LDC)
    turn_a, turn_b = load64(sizes + 8 * TRANSPOSE_A), load64(sizes + 8 * TRANSPOSE_B)
    alpha, beta = load64(sizes + 8 * ALPHA), load64(sizes + 8 * BETA)
    tile_m, tile_n = load64(sizes + 8 * TILE_M), load64(sizes + 8 * TILE_N)
    across = (n + tile_n - 1) // tile_n
    per_matrix = across * ((m + tile_m - 1) // tile_m)
    enter(table)
    for tile in range(start, stop):
        index = tile // per_matrix
        a = load64(buffers) + item * offset(sizes, index, 1)
        b = load64(buffers + 8) + item * offset(sizes, index, 2)
        c = load64(buffers + 16) + item * offset(sizes, index, 3)
        within = tile % per_matrix
        row = within // across * tile_m
        column = within % across * tile_n
        rows, columns = smaller(tile_m, m - row), smaller(tile_n, n - column)
        a += item * row * (1 if turn_a != 0 else lda)
        b += item * column * (ldb if turn_b != 0 else 1)
        c += item * (row * ldc + column)
        if n == 1 and k > 0:  # a matrix by a vector
            step = 1 if turn_b != 0 else ldb
            high, wide = (rows if turn_a != 0 else k), (k if turn_a != 0 else rows)
            if item == 4:
                gemv_f32(load64(table + 8 * GEMV_F32), 1 - turn_a, high, wide, alpha, a, lda, b, step, beta, c, ldc)
            else:
                gemv_f64(load64(table + 8 * GEMV_F64), 1 - turn_a, high, wide, alpha, a, lda, b, step, beta, c, ldc)
        elif m == 1 and k > 0:  # a vector by a matrix
            step = lda if turn_a != 0 else 1
            high, wide = (k if turn_b != 0 else columns), (columns if turn_b != 0 else k)
            if item == 4:
                gemv_f32(load64(table + 8 * GEMV_F32), turn_b, high, wide, alpha, b, ldb, a, step, beta, c, 1)
            else:
                gemv_f64(load64(table + 8 * GEMV_F64), turn_b, high, wide, alpha, b, ldb, a, step, beta, c, 1)
        elif item == 4:
            gemm_f32(load64(table + 8 * GEMM_F32), turn_b, turn_a, columns, rows, k, alpha, b, ldb, a, lda, beta, c, ldc)
        else:
            gemm_f64(load64(table + 8 * GEMM_F64), turn_b, turn_a, columns, rows, k, alpha, b, ldb, a, lda, beta, c, ldc)
    leave(table)
    return 0


def matmul_f32(buffers, sizes, start, stop):
    return products(buffers, sizes, start, stop, 4)


def matmul_f64(buffers, sizes, start, stop):
    return products(buffers, sizes, start, stop, 8)


def table():
    """Address of the library's function pointers."""
    return library()
