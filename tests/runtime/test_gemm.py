"""Matrix products by blocks in registers: every shape and layout against float64, the same bits on any number of threads."""
import ctypes

import numpy as np
import pytest

from jitnet.runtime import blas, blas_code, gemm, gemm_blocks, llvm, threads
from jitnet.runtime.cache import Kernel
from jitnet.runtime.program import KernelStep, Program, Slot

A, B, C = Slot("input", 0), Slot("input", 1), Slot("output", 0)
pytestmark = pytest.mark.skipif(gemm_blocks.vector_bytes() == 0, reason="no such vectors here: OpenBLAS computes everything")
LAYOUTS = [(False, False), (True, False), (False, True), (True, True)]


def step_of(dtype, m, n, k, turn_a=False, turn_b=False, tile=None, beta=0.0, **options):
    """The step with this kernel, whatever suits the sizes best; tile: other tiles than it would have."""
    step = blas.matmul_step(dtype, A, B, C, m, n, k, transpose_a=turn_a, transpose_b=turn_b, beta=beta, **options)
    rows, columns = tile or gemm.tiles(m, n, k, np.dtype(dtype).itemsize, turn_b)
    count = -(-m // rows) * -(-n // columns) * (step.extent and int(np.prod(options.get("batch", ()), dtype=int)))
    sizes = (*step.sizes[:blas_code.TILE_M], rows, columns, *step.sizes[blas_code.BATCH_AXES:])
    return KernelStep(gemm.kernel(np.dtype(dtype), ""), (A, B, C), sizes, count, 1 if count > 1 else 0)


def run(array_type, step, a, b, out):
    """`out` after the step, on operands that may lie anywhere."""
    program = Program([step], [array_type(a.shape, a.dtype), array_type(b.shape, b.dtype)], [array_type(out.shape, out.dtype)])
    program.run_into([a.ctypes.data, b.ctypes.data], [out.ctypes.data])
    return out


def draw(rng, rows, columns, turned, dtype):
    return rng.standard_normal((columns, rows) if turned else (rows, columns)).astype(dtype)


def check(out, a, b, k):
    """Each element within k eps of the sum of the magnitudes that it adds up."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    error = np.abs(out.astype(np.longdouble) - a.astype(np.longdouble) @ b.astype(np.longdouble))
    assert (error <= max(k, 1) * np.finfo(out.dtype).eps * (np.abs(a) @ np.abs(b))).all()


def product(array_type, rng, dtype, m, n, k, turn_a, turn_b, tile=None):
    a, b = draw(rng, m, k, turn_a, dtype), draw(rng, k, n, turn_b, dtype)
    out = run(array_type, step_of(dtype, m, n, k, turn_a, turn_b, tile), a, b, np.full((m, n), np.nan, dtype))
    check(out, a.T if turn_a else a, b.T if turn_b else b, k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turn_a, turn_b", LAYOUTS)
def test_every_number_of_rows_and_of_columns(array_type, rng, dtype, turn_a, turn_b):
    for m in range(1, 41):
        product(array_type, rng, dtype, m, int(rng.integers(1, 41)), int(rng.integers(1, 41)), turn_a, turn_b)
    for n in range(1, 41):
        product(array_type, rng, dtype, int(rng.integers(1, 41)), n, int(rng.integers(1, 41)), turn_a, turn_b)
    for k in (1, 2, 3, 7, 8, 9, 15, 16, 17, 33):
        product(array_type, rng, dtype, int(rng.integers(1, 41)), int(rng.integers(1, 41)), k, turn_a, turn_b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turn_a, turn_b", LAYOUTS)
@pytest.mark.parametrize("m, n, k, tile", [
    (64, 128, 784, None), (30, 600, 20, None), (33, 50, 255, None), (29, 33, 256, None), (29, 33, 257, None),
    (29, 2100, 17, None), (5, 70, 513, None), (70, 100, 40, (28, 32)), (9, 40, 300, (4, 16)),
    (45, 130, 515, None), (16, 70, 9, None), (60, 115, 1030, (30, 96))])
def test_panels_and_tiles(array_type, rng, dtype, turn_a, turn_b, m, n, k, tile):
    product(array_type, rng, dtype, m, n, k, turn_a, turn_b, tile)


@pytest.mark.parametrize("turn_b", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_terms_the_sum_is_zero(array_type, dtype, turn_b):
    for beta, expected in ((0.0, 0), (2.0, 6)):
        step = step_of(dtype, 17, 35, 0, turn_b=turn_b, beta=beta)
        out = np.full((17, 35), 3 if beta else np.nan, dtype)
        assert (run(array_type, step, np.empty((17, 0), dtype), np.empty((0, 35), dtype), out) == expected).all()


@pytest.mark.parametrize("turn_b", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_beta(array_type, rng, dtype, turn_b):
    for m, n, k, turn_a in ((13, 30, 20, False), (31, 45, 600, False), (1, 9, 7, False), (31, 75, 600, True)):
        a, b, c = draw(rng, m, k, turn_a, dtype), draw(rng, k, n, turn_b, dtype), draw(rng, m, n, False, dtype)
        for beta in (1.0, -0.5):
            out = run(array_type, step_of(dtype, m, n, k, turn_a, turn_b, beta=beta), a, b, c.copy())
            expected = (a.T if turn_a else a).astype(float) @ (b.T if turn_b else b) + beta * c
            np.testing.assert_allclose(out, expected, rtol=0, atol=4 * k * np.finfo(dtype).eps * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turn_a, turn_b", LAYOUTS)
def test_nothing_outside_of_the_matrices_is_used(array_type, rng, dtype, turn_a, turn_b):
    m, n, k = 31, 69, 37
    a, b = np.full((60, 70), np.nan, dtype), np.full((80, 80), np.nan, dtype)
    out = np.full((40, 80), -1, dtype)
    x, y = draw(rng, m, k, turn_a, dtype), draw(rng, k, n, turn_b, dtype)
    a[3:3 + x.shape[0], 7:7 + x.shape[1]] = x
    b[5:5 + y.shape[0], 2:2 + y.shape[1]] = y
    step = step_of(dtype, m, n, k, turn_a, turn_b, lda=70, ldb=80, ldc=80)
    item = out.itemsize
    slots = (Slot("input", 0, item * (3 * 70 + 7)), Slot("input", 1, item * (5 * 80 + 2)), Slot("output", 0, item * (80 + 4)))
    run(array_type, KernelStep(step.kernel, slots, step.sizes, step.extent, step.grain), a, b, out)
    check(out[1:1 + m, 4:4 + n], x.T if turn_a else x, y.T if turn_b else y, k)
    out[1:1 + m, 4:4 + n] = -1
    assert (out == -1).all()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mprotect"), reason="needs pages that cannot be read")
@pytest.mark.parametrize("turn_a, turn_b", LAYOUTS)
def test_memory_behind_the_operands_may_be_missing(array_type, rng, turn_a, turn_b):
    import mmap
    for m, n, k in ((15, 18, 17), (3, 5, 2), (14, 32, 16), (14, 70, 5), (30, 516, 3)):
        arrays, maps = [], []
        for shape in ((k, m) if turn_a else (m, k), (n, k) if turn_b else (k, n), (m, n)):
            count = int(np.prod(shape))
            size = -(-4 * count // mmap.PAGESIZE) * mmap.PAGESIZE
            memory = mmap.mmap(-1, size + mmap.PAGESIZE)
            start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + size), mmap.PAGESIZE, 0) == 0
            arrays.append(np.frombuffer(memory, np.float32, count, size - 4 * count).reshape(shape))
            maps.append(memory)
        a, b, out = arrays
        a[:], b[:] = rng.standard_normal(a.shape), rng.standard_normal(b.shape)
        run(array_type, step_of(np.float32, m, n, k, turn_a, turn_b), a, b, out)
        check(out, a.T if turn_a else a, b.T if turn_b else b, k)


@pytest.mark.parametrize("turn_b", [False, True])
def test_batches_with_broadcasting(array_type, rng, turn_b):
    for m, n, k, tile in ((8, 9, 10, None), (33, 70, 20, (14, 32))):
        a = rng.standard_normal((3, 1, m, k)).astype(np.float32)
        b = rng.standard_normal((1, 4, n, k) if turn_b else (1, 4, k, n)).astype(np.float32)
        step = step_of(np.float32, m, n, k, False, turn_b, tile, batch=(3, 4),
                       batch_strides=((m * k, 0, 4 * m * n), (0, k * n, m * n)))
        out = run(array_type, step, a, b, np.full((3, 4, m, n), np.nan, np.float32))
        check(out, a, np.swapaxes(b, 2, 3) if turn_b else b, k)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("turn_b", [False, True])
def test_what_is_not_finite_stays_in_its_row_and_its_column(array_type, rng, special, turn_b):
    m, n, k = 30, 37, 19
    a, b = draw(rng, m, k, False, np.float32), draw(rng, k, n, turn_b, np.float32)
    a[4, 18] = special
    (b.T if turn_b else b)[3, 36] = special
    out = run(array_type, step_of(np.float32, m, n, k, False, turn_b), a, b, np.zeros((m, n), np.float32))
    finite = np.isfinite(out)
    assert not finite[4].any() and not finite[:, 36].any() and finite[np.arange(m) != 4, :36].all()
    with np.errstate(invalid="ignore"):
        expected = a.astype(float) @ (b.T if turn_b else b)
    np.testing.assert_array_equal(out[~finite], expected[~finite])


def test_the_number_of_threads_never_changes_a_bit(array_type, rng):
    cases = []
    for m, n, k, turn_a, turn_b in ((64, 128, 784, False, False), (784, 128, 64, True, False), (64, 784, 128, False, True),
                                    (300, 200, 300, True, True)):
        a, b = draw(rng, m, k, turn_a, np.float32), draw(rng, k, n, turn_b, np.float32)
        step = blas.matmul_step(np.float32, A, B, C, m, n, k, transpose_a=turn_a, transpose_b=turn_b)
        assert step.extent > 1 and step.grain and blas.is_direct(step)
        cases.append((step, a, b, (m, n)))
    before, results = threads.get_num_threads(), set()
    try:
        for count in (1, 2, 4, 2):
            threads.set_num_threads(count)
            results.add(b"".join(run(array_type, step, a, b, np.empty(shape, np.float32)).tobytes()
                                 for step, a, b, shape in cases))
    finally:
        threads.set_num_threads(before)
    assert len(results) == 1


def test_tiles_are_whole_panels_and_enough_of_them():
    panel = 2 * gemm_blocks.vector_bytes() // 4
    for m, n, k in ((64, 128, 784), (784, 128, 64), (1024, 128, 784), (512, 512, 512), (64, 784, 128), (16, 3000, 500),
                    (3000, 16, 500)):
        for turn_b in (False, True):
            rows, columns = gemm.tiles(m, n, k, 4, turn_b)
            assert 1 <= rows <= m and 1 <= columns <= n
            assert (rows == m or rows % 2 == 0) and (columns == n or columns % panel == 0)
            assert -(-m // rows) * -(-n // columns) >= 2
    assert gemm.tiles(1024, 128, 784, 4, True)[0] > gemm.tiles(1024, 128, 784, 4, False)[0]  # a turned panel serves more rows
    assert gemm.tiles(64, 64, 128, 4, False) == (64, 64) and gemm.tiles(0, 0, 0, 4, False) == (1, 1)


def test_what_goes_to_openblas():
    def name(m, n, k, dtype=np.float32, **options):
        return "blocks" if blas.is_direct(blas.matmul_step(dtype, A, B, C, m, n, k, **options)) else "OpenBLAS"
    assert name(64, 128, 784) == name(64, 784, 128, transpose_b=True) == "blocks"
    assert name(784, 128, 64, np.float64, transpose_a=True) == name(4096, 8, 8) == "blocks"
    assert name(1, 32, 32) == name(8, 32, 32, beta=1.0) == "blocks"
    assert name(4096, 4096, 4096) == name(1, 1000, 1000) == name(64, 64, 64, alpha=2.0) == "OpenBLAS"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_narrower_vectors(array_type, rng, monkeypatch, dtype):
    """The code of a machine with vectors of 256 bits, where this one has more."""
    if gemm_blocks.vector_bytes() == 32:
        pytest.skip("that is this machine")
    short, kind = gemm.KINDS[np.dtype(dtype)]
    loaded = llvm.LoadedObject(gemm.image(kind, 32, "narrow_"), ("narrow_kernel",))
    kernel = Kernel("", f"narrow-{short}", loaded.address["narrow_kernel"], loaded)
    monkeypatch.setattr(gemm, "kernel", lambda dtype, text: kernel)
    for turn_a, turn_b in LAYOUTS:
        for m, n, k in ((1, 1, 1), (13, 17, 9), (6, 16, 300), (40, 21, 33), (29, 600, 5), (25, 75, 1100)):
            product(array_type, rng, dtype, m, n, k, turn_a, turn_b)
