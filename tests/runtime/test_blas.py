"""Matrix products: every layout against NumPy in float64, the same bits on any number of threads."""
import threading

import numpy as np
import pytest

from jitnet.runtime import blas, threads
from jitnet.runtime.program import KernelStep, Program, Slot

A, B, C = Slot("input", 0), Slot("input", 1), Slot("output", 0)


def product(array_type, a, b, m, n, k, batch=(), strides=(), **options):
    """(step, output) of the product of two arrays as they lie in memory."""
    step = blas.matmul_step(a.dtype, A, B, C, m, n, k, batch=batch, batch_strides=strides, **options)
    out = array_type((*batch, m, n), a.dtype)
    program = Program([step], [array_type(a.shape, a.dtype), array_type(b.shape, b.dtype)], [out])
    return step, program.run([a, b])[0]


def check(out, expected, k):
    eps = np.finfo(out.dtype).eps
    np.testing.assert_allclose(out, expected, rtol=0, atol=4 * eps * max(k, 1) ** 0.5 * (1 + np.abs(expected).max(initial=0)))


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


SIZES = [(1, 1, 1), (3, 5, 7), (64, 64, 128), (1, 300, 200), (300, 1, 200), (1, 1, 500), (200, 300, 1), (33, 257, 129),
         (300, 400, 500), (2000, 1, 1000), (1, 2000, 1000), (1, 32, 32), (8, 32, 32), (2, 40, 9), (15, 16, 10), (13, 47, 31),
         (100, 32, 300), (1000, 9, 33), (21, 20, 0)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m, n, k", SIZES)
@pytest.mark.parametrize("turn_a", [False, True])
@pytest.mark.parametrize("turn_b", [False, True])
def test_product(array_type, rng, dtype, m, n, k, turn_a, turn_b):
    a = draw(rng, (k, m) if turn_a else (m, k), dtype)
    b = draw(rng, (n, k) if turn_b else (k, n), dtype)
    _, out = product(array_type, a, b, m, n, k, transpose_a=turn_a, transpose_b=turn_b)
    check(out, (a.T if turn_a else a).astype(float) @ (b.T if turn_b else b).astype(float), k)


@pytest.mark.parametrize("m, n, k", [(4, 5, 0), (1, 5, 0), (5, 1, 0), (0, 3, 4), (3, 0, 4), (0, 0, 0), (1, 1, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_axes(array_type, dtype, m, n, k):
    fill = blas.matmul_step(dtype, A, B, C, m, n, k)
    program = Program([fill], [array_type((m, k), dtype), array_type((k, n), dtype)], [array_type((m, n), dtype)], 64)
    for _ in range(3):  # fresh memory may be zero by luck
        dirty = np.full((m, n), np.nan, dtype)
        program.run_into([np.empty((m, k), dtype).ctypes.data, np.empty((k, n), dtype).ctypes.data], [dirty.ctypes.data])
        np.testing.assert_array_equal(dirty, np.zeros((m, n), dtype))


@pytest.mark.parametrize("m, n", [(40, 30), (1, 30), (40, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alpha_and_beta(array_type, rng, m, n, dtype):
    a, b, c = draw(rng, (m, 20), dtype), draw(rng, (20, n), dtype), draw(rng, (m, n), dtype)
    for alpha, beta in ((1, 1), (0.5, -2), (2, 0)):
        step = blas.matmul_step(dtype, A, B, C, m, n, 20, alpha=alpha, beta=beta)
        program = Program([step], [array_type(a.shape, dtype), array_type(b.shape, dtype)], [array_type(c.shape, dtype)])
        out = c.copy() if beta else np.full_like(c, np.nan)
        program.run_into([a.ctypes.data, b.ctypes.data], [out.ctypes.data])
        check(out, alpha * (a.astype(float) @ b) + (beta * c if beta else 0), 20)


def test_rows_inside_of_larger_arrays(array_type, rng):
    a, b = draw(rng, (50, 80), np.float32), draw(rng, (40, 90), np.float32)
    step = blas.matmul_step(np.float32, Slot("input", 0, 4 * 7), Slot("input", 1, 4 * 11), Slot("output", 0, 4 * 3), 50, 20, 40,
                            lda=80, ldb=90, ldc=30)
    out = np.full((50, 30), -1, np.float32)
    Program([step], [array_type(a.shape), array_type(b.shape)], [array_type(out.shape)]).run_into(
        [a.ctypes.data, b.ctypes.data], [out.ctypes.data])
    check(out[:, 3:23], a[:, 7:47].astype(float) @ b[:, 11:31], 40)
    assert (out[:, :3] == -1).all() and (out[:, 23:] == -1).all()


@pytest.mark.parametrize("m, n, k", [(8, 9, 10), (1, 9, 10), (8, 1, 10), (128, 96, 300)])
def test_batches_with_broadcasting(array_type, rng, m, n, k):
    a, b = draw(rng, (3, 1, m, k), np.float32), draw(rng, (1, 4, k, n), np.float32)
    step, out = product(array_type, a, b, m, n, k, (3, 4), ((m * k, 0, 4 * m * n), (0, k * n, m * n)))
    assert step.extent % 12 == 0
    check(out, a.astype(float) @ b, k)


def test_the_number_of_threads_never_changes_a_bit(array_type, rng):
    cases = []
    for m, n, k, batch in ((500, 400, 300, ()), (1000, 1, 3000, ()), (64, 128, 784, ()), (32, 32, 32, (100,))):
        a, b = draw(rng, (*batch, m, k), np.float32), draw(rng, (*batch, k, n), np.float32)
        step = blas.matmul_step(np.float32, A, B, C, m, n, k, batch=batch, batch_strides=[(m * k, k * n, m * n)] * len(batch))
        assert step.extent > 1
        cases.append((Program([step], [array_type(a.shape), array_type(b.shape)], [array_type((*batch, m, n))]), a, b))
    before, results = threads.get_num_threads(), set()
    try:
        for count in (1, 2, 4, 2):
            threads.set_num_threads(count)
            results.add(b"".join(program.run([a, b])[0].tobytes() for program, a, b in cases))
    finally:
        threads.set_num_threads(before)
    assert len(results) == 1


def test_tiles_cover_and_are_worth_it():
    for m, n, k in [*SIZES, (64, 128, 784), (512, 512, 512), (2048, 2048, 2048), (10**6, 3, 3), (10**5, 1, 64), (1, 10**7, 2)]:
        rows, columns = blas.tiles(m, n, k)
        count = -(-m // rows) * -(-n // columns)
        assert 1 <= rows <= m and 1 <= columns <= n
        weight = 16 if 1 in (m, n) else 2
        assert count == 1 or weight * rows * columns * k > blas.SERIAL_FLOPS // 4, (m, n, k, rows, columns)
    assert blas.tiles(16, 16, 16) == (16, 16) and blas.tiles(64, 128, 784) == (64, 64)
    assert blas.tiles(512, 512, 512) == (256, 256) and blas.tiles(2048, 2048, 2048) == (512, 512)


def test_the_text_of_the_kernel_runs_as_python(array_type, rng):
    a, b = draw(rng, (3, 1, 70, 30), np.float32), draw(rng, (1, 2, 80, 30), np.float32)
    step, out = product(array_type, a, b, 70, 80, 30, (3, 2), ((2100, 0, 11200), (0, 2400, 5600)), transpose_b=True)
    scope, again = {}, np.full(out.size, np.nan, np.float32)
    exec(step.kernel.source, scope)
    scope["kernel"]([a.ravel(), b.ravel(), again], np.array(step.sizes), 0, step.extent)
    check(again.reshape(out.shape), out, 30)


def test_scipy_keeps_its_threads(array_type, rng):
    import ctypes
    library = ctypes.CDLL(blas._openblas_files()[0])
    library.scipy_openblas_set_num_threads(3)
    seen = []
    try:
        a, b = draw(rng, (300, 300), np.float32), draw(rng, (300, 300), np.float32)
        workers = [threading.Thread(target=lambda: seen.append(product(array_type, a, b, 300, 300, 300)[1])) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert library.scipy_openblas_get_num_threads() == 3
    finally:
        library.scipy_openblas_set_num_threads(threads.available_cores())
    assert len({x.tobytes() for x in seen}) == 1


def test_through_cython_blas_where_scipy_brings_no_openblas(monkeypatch):
    monkeypatch.setattr(blas, "_openblas_files", lambda: ["/no/such/library.so"])
    name, functions = blas._library()
    assert name == "scipy.linalg.cython_blas" and all(functions[word] for word in range(4))


def test_too_large_for_32_bits():
    with pytest.raises(ValueError, match="32 bits"):
        blas.matmul_step(np.float32, A, B, C, 1 << 31, 1, 1)


def test_product_in_a_loop_moves_its_operands(array_type, rng):
    from jitnet.runtime.program import LoopStep
    a, b = draw(rng, (5, 6, 7), np.float64), draw(rng, (7, 8), np.float64)
    step = blas.matmul_step(np.float64, Slot("input", 0, 0, ((0, 8 * 42),)), B, Slot("output", 0, 0, ((0, 8 * 48),)), 6, 8, 7)
    assert isinstance(step, KernelStep)
    program = Program([LoopStep(5, None, (), (step,), 0)], [array_type(a.shape, float), array_type(b.shape, float)],
                      [array_type((5, 6, 8), float)])
    check(program.run([a, b])[0], a @ b, 7)
