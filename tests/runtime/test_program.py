"""Programs: steps, loops, switches, chunks, status, callbacks."""
import threading

import numpy as np
import pytest

from jitnet.runtime import cache, layout, native, threads
from jitnet.runtime.program import CallbackKernel, KernelStep, LoopStep, Program, Slot, StatusError, SwitchStep


def slot(kind, index=0, offset=0, strides=()):
    return Slot(kind, index, offset, strides)


def arena(offset, *strides):
    return Slot("arena", 0, offset, strides)


IN0, IN1, OUT0 = slot("input", 0), slot("input", 1), slot("output", 0)

COPY_I64 = """\
def kernel(buffers, sizes, start, stop):
    a = buffer_i64(buffers, 0)
    out = buffer_i64(buffers, 1)
    for i in range(start, stop):
        out[i] = a[i] + i64(sizes[0])
"""
LESS_I64 = """\
def kernel(buffers, sizes, start, stop):
    a = buffer_i64(buffers, 0)
    out = buffer_b1(buffers, 1)
    out[0] = a[0] < i64(sizes[0])
"""
SUM_CHUNKS = """\
def kernel(buffers, sizes, start, stop):
    a = buffer_f32(buffers, 0)
    out = buffer_f32(buffers, 1)
    total = f32(0)
    for i in range(start, stop):
        total = add_reduce_(total, a[i])
    out[start // sizes[0]] = total
"""
GATHER = """\
def kernel(buffers, sizes, start, stop):
    x = buffer_f32(buffers, 0)
    index = buffer_i64(buffers, 1)
    out = buffer_f32(buffers, 2)
    status = buffer_i64(buffers, 3)
    for i in range(start, stop):
        k = index[i]
        if (k < 0) | (k >= sizes[0]):
            status[1] = i64(i + 1)
            k = i64(0)
        out[i] = x[k]
"""


def test_two_kernels_through_the_arena(elementwise, array_type, rng):
    a, b = rng.standard_normal((2, 100), dtype=np.float32)
    t = array_type((100,))
    add, mul = elementwise("a[i] + b[i]"), elementwise("a[i] * b[i]")
    program = Program([KernelStep(add, (IN0, IN1, arena(64)), (), 100), KernelStep(mul, (arena(64), IN1, OUT0), (), 100)],
                      [t, t], [t], 464)
    for _ in range(3):
        [out] = program.run([a, b])
        np.testing.assert_array_equal(out, (a + b) * b)


def test_offsets_reach_into_inputs_outputs_and_constants(elementwise, array_type):
    x, c = np.arange(10, dtype=np.float32), np.full(4, 2, np.float32)
    add = elementwise("a[i] * b[i]")
    step = KernelStep(add, (slot("input", 0, 12), slot("const", 0, 4), slot("output", 1, 8)), (), 3)
    out = Program([step], [array_type((10,))], [array_type(()), array_type((5,))], 0, [c]).run([x])
    assert out[0].shape == () and out[1][2:].tolist() == [6, 8, 10]


def test_constants_may_be_strided_or_temporary(elementwise, array_type):
    base = np.arange(8, dtype=np.float32)
    step = KernelStep(elementwise("a[i]", 1), (slot("const", 0), OUT0), (), 4)
    program = Program([step], [], [array_type((4,))], 0, [base[::2]])
    del base
    assert program.run([])[0].tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("grain", [1, 7, 1000, 4096])
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_chunks_cover_the_range_once(elementwise, array_type, grain, count, rng):
    x = rng.standard_normal(count, dtype=np.float32)
    t = array_type((count,))
    [out] = Program([KernelStep(elementwise("a[i] + f32(1)", 1), (IN0, OUT0), (), count, grain)], [t], [t]).run([x])
    np.testing.assert_array_equal(out, x + 1)


def test_the_number_of_threads_never_changes_a_bit(array_type, rng):
    n, grain = 100_003, 1000
    x = rng.standard_normal(n, dtype=np.float32)
    chunks = -(-n // grain)
    program = Program([KernelStep(cache.get_kernel(SUM_CHUNKS), (IN0, OUT0), (grain,), n, grain)],
                      [array_type((n,))], [array_type((chunks,))])
    before, results = threads.get_num_threads(), []
    try:
        for count in (1, 2, 4, 1):
            threads.set_num_threads(count)
            assert threads.get_num_threads() == count
            results += [program.run([x])[0].tobytes() for _ in range(5)]
    finally:
        threads.set_num_threads(before)
    assert len(set(results)) == 1


def counting_loop(array_type, count, level=0):
    """Adds 3 to each round's 8 bytes of the input into the output."""
    moving = ((level, 8),)
    step = KernelStep(cache.get_kernel(COPY_I64), (slot("input", 0, 0, moving), slot("output", 0, 0, moving)), (3,), 1)
    return LoopStep(count, None, (), (step,), level)


@pytest.mark.parametrize("count", [0, 1, 6])
def test_loop_moves_its_slots_and_puts_them_back(array_type, count):
    t = array_type((6,), np.int64)
    # Twice the same loop: the second one finds its buffers where the first one found them.
    program = Program([counting_loop(array_type, count), counting_loop(array_type, count)], [t], [t])
    x = np.arange(6) * 10
    for _ in range(2):
        assert program.run([x])[0][:count].tolist() == (x + 3)[:count].tolist()


def test_loop_count_from_a_slot(array_type):
    n, t = array_type((), np.int64), array_type((6,), np.int64)
    program = Program([counting_loop(array_type, slot("input", 1))], [t, n], [t])
    x = np.arange(6)
    for count in (0, 4, 6):
        assert program.run([x, np.array(count)])[0][:count].tolist() == (x + 3)[:count].tolist()


def test_nested_loops(array_type):
    t = array_type((3, 4), np.int64)
    moving = ((0, 32), (1, 8))
    step = KernelStep(cache.get_kernel(COPY_I64), (slot("input", 0, 0, moving), slot("output", 0, 0, moving)), (100,), 1)
    program = Program([LoopStep(3, None, (), (LoopStep(4, None, (), (step,), 1),), 0)], [t], [t])
    x = np.arange(12).reshape(3, 4)
    for _ in range(2):
        np.testing.assert_array_equal(program.run([x])[0], x + 100)


def while_loop(limit, body_level=0):
    """x = x + 5 while x < limit, in the arena at 0; the condition lies at 8."""
    add = KernelStep(cache.get_kernel(COPY_I64), (arena(0), arena(0)), (5,), 1)
    test = KernelStep(cache.get_kernel(LESS_I64), (arena(0), arena(8)), (limit,), 1)
    return LoopStep(None, arena(8), (test,), (add,), body_level)


@pytest.mark.parametrize("start, limit", [(0, 12), (100, 12), (-3, 1000)])
def test_while_loop(array_type, start, limit):
    t = array_type((), np.int64)
    copy = cache.get_kernel(COPY_I64)
    enter, leave = KernelStep(copy, (IN0, arena(0)), (0,), 1), KernelStep(copy, (arena(0), OUT0), (0,), 1)
    program = Program([enter, while_loop(limit), leave], [t], [t], 64)
    expected = start
    while expected < limit:
        expected += 5
    assert program.run([np.array(start)])[0] == expected


def test_while_loop_inside_a_counted_loop(array_type):
    t = array_type((4,), np.int64)
    copy = cache.get_kernel(COPY_I64)
    body = (KernelStep(copy, (slot("input", 0, 0, ((0, 8),)), arena(0)), (0,), 1), while_loop(20, 1),
            KernelStep(copy, (arena(0), slot("output", 0, 0, ((0, 8),))), (0,), 1))
    program = Program([LoopStep(4, None, (), body, 0)], [t], [t], 64)
    assert program.run([np.array([1, 18, 50, 20])])[0].tolist() == [21, 23, 50, 20]


def test_a_loop_may_have_both_a_count_and_a_condition(array_type):
    t = array_type((), np.int64)
    copy = cache.get_kernel(COPY_I64)
    loop = while_loop(1000)
    program = Program([KernelStep(copy, (IN0, arena(0)), (0,), 1), LoopStep(3, loop.cond, loop.before, loop.body, 0),
                       KernelStep(copy, (arena(0), OUT0), (0,), 1)], [t], [t], 64)
    assert program.run([np.array(1)])[0] == 16


@pytest.mark.parametrize("index, taken", [(-5, 0), (0, 0), (1, 1), (2, 2), (9, 2)])
def test_switch_takes_one_branch_and_clamps(array_type, index, taken):
    t = array_type((), np.int64)
    copy = cache.get_kernel(COPY_I64)
    branches = tuple((KernelStep(copy, (IN1, arena(0)), (10 ** b,), 1), KernelStep(copy, (arena(0), OUT0), (0,), 1))
                     for b in range(3))
    program = Program([SwitchStep(IN0, branches)], [t, t], [t], 64)
    assert program.run([np.array(index), np.array(7)])[0] == 7 + 10 ** taken


def test_switch_with_an_empty_branch_inside_a_loop(array_type):
    t = array_type((4,), np.int64)
    moving = ((0, 8),)
    copy = cache.get_kernel(COPY_I64)
    moved = slot("input", 0, 0, moving)
    switch = SwitchStep(moved, ((), (KernelStep(copy, (moved, arena(0)), (1,), 1),)))
    out = KernelStep(copy, (arena(0), slot("output", 0, 0, moving)), (0,), 1)
    clear = KernelStep(copy, (slot("const", 0), arena(0)), (0,), 1)
    program = Program([LoopStep(4, None, (), (clear, switch, out), 0)], [t], [t], 64, [np.array(-1)])
    assert program.run([np.array([0, 1, 0, 1])])[0].tolist() == [-1, 2, -1, 2]


def gather_program(array_type):
    x, i = array_type((4,)), array_type((3,), np.int64)
    step = KernelStep(cache.get_kernel(GATHER), (IN0, IN1, OUT0, arena(128)), (4,), 3)
    return Program([step], [x, i], [array_type((3,))], 192, status=arena(128), status_size=2)


def test_status_raises_and_the_next_call_starts_clean(array_type):
    program = gather_program(array_type)
    x = np.arange(4, dtype=np.float32)
    assert program.run([x, np.array([3, 0, 1])])[0].tolist() == [3, 0, 1]
    with pytest.raises(StatusError) as caught:
        program.run([x, np.array([3, 4, 1])])
    assert caught.value.cells == (0, 2) and isinstance(caught.value, IndexError)
    assert program.run([x, np.array([2, 2, 2])])[0].tolist() == [2, 2, 2]


def test_callback_gets_arrays_between_kernels(elementwise, array_type):
    t = array_type((2, 2))
    twice = elementwise("a[i] * f32(2)", 1)
    solve = CallbackKernel(lambda a, out: np.copyto(out, np.linalg.inv(a)), [((2, 2), "f4")] * 2)
    program = Program([KernelStep(twice, (IN0, arena(0)), (), 4), KernelStep(solve, (arena(0), arena(64)), (), 1),
                       KernelStep(twice, (arena(64), OUT0), (), 4)], [t], [t], 128)
    np.testing.assert_allclose(program.run([np.array([[2, 0], [0, 4]], np.float32)])[0], [[0.5, 0], [0, 0.25]])


def test_callback_with_raw_pointers(array_type):
    seen = []
    step = KernelStep(CallbackKernel(lambda buffers, sizes, start, stop: seen.append((buffers[0], sizes[1], start, stop))),
                      (IN0,), (5, 6), 9)
    x = np.zeros(3, np.float32)
    Program([step], [array_type((3,))], []).run([x])
    assert seen == [(x.ctypes.data, 6, 0, 9)]


def test_exception_in_a_callback_ends_the_program_at_once(array_type):
    calls = []

    def fail_late(x):
        calls.append(x[0])
        if len(calls) == 3:
            raise KeyError("third")
    moving = ((0, 8),)
    step = KernelStep(CallbackKernel(fail_late, [((1,), "i8")]), (slot("input", 0, 0, moving),), (), 1)
    program = Program([LoopStep(6, None, (), (step,), 0)], [array_type((6,), np.int64)], [])
    with pytest.raises(KeyError, match="third"):
        program.run([np.arange(6)])
    assert calls == [0, 1, 2]
    program.run([np.arange(6)])  # its slots start at the front again
    assert calls == [0, 1, 2, 0, 1, 2, 3, 4, 5]


def test_callback_may_run_the_same_program(array_type):
    t = array_type((), np.int64)
    depth = []

    def recurse(x, out):
        depth.append(int(x))
        out[()] = 1 if x == 0 else x * program.run([np.array(x - 1)])[0]
    program = Program([KernelStep(CallbackKernel(recurse, [((), "i8")] * 2), (IN0, OUT0), (), 1)], [t], [t], 64)
    assert program.run([np.array(5)])[0] == 120 and depth == [5, 4, 3, 2, 1, 0]


def test_many_threads_at_once_get_their_own_arenas(elementwise, array_type):
    n = 200_000  # large enough that the GIL is given up
    t = array_type((n,))
    steps = [KernelStep(elementwise("a[i] + f32(1)", 1), (IN0, arena(0)), (), n, 10_000),
             *[KernelStep(elementwise("a[i] + f32(1)", 1), (arena(0), arena(0)), (), n, 10_000) for _ in range(8)],
             KernelStep(elementwise("a[i]", 1), (arena(0), OUT0), (), n)]
    program = Program(steps, [t], [t], 4 * n)
    wrong = []

    def work(value):
        x = np.full(n, value, np.float32)
        for _ in range(10):
            if not (program.run([x])[0] == value + 9).all():
                wrong.append(value)
    workers = [threading.Thread(target=work, args=(100 * i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@pytest.mark.parametrize("bad, message", [
    ([], "takes 1 arrays, not 0"),
    ([np.zeros(3, np.float64)], r"argument 0 of the program is a contiguous float32\[4\], not float64\[3\]"),
    ([np.zeros(8, np.float32)[::2]], r"contiguous float32\[4\], not float32\[4\] with strides \(8,\)")])
def test_wrong_inputs_are_refused(elementwise, array_type, bad, message):
    t = array_type((4,))
    program = Program([KernelStep(elementwise("a[i]", 1), (IN0, OUT0), (), 4)], [t], [t])
    with pytest.raises(ValueError, match=message):
        program.run(bad)


@pytest.mark.parametrize("wrong", [slot("input", 1), slot("output", 3), slot("const"), arena(64), slot("heap"),
                                   slot("input", 0, 0, ((0, 8),))])
def test_slots_that_lead_nowhere_are_refused(elementwise, array_type, wrong):
    t = array_type((4,))
    with pytest.raises(ValueError):
        Program([KernelStep(elementwise("a[i]", 1), (wrong, OUT0), (), 4)], [t], [t], 64)


def test_status_outside_of_the_arena_is_refused(array_type):
    with pytest.raises(ValueError, match="status cells"):
        Program([], [], [], 64, status=arena(64))


def test_empty_program(array_type):
    assert Program([], [], []).run([]) == []


def test_large_arenas_go_back_after_each_run_small_ones_with_the_program(elementwise, array_type):
    native.release_memory()
    t = array_type((4,))
    step = KernelStep(elementwise("a[i]", 1), (IN0, OUT0), (), 4)
    programs = [Program([step], [t], [t], 3 << 20) for _ in range(20)]
    for program in programs * 2:
        program.run([np.zeros(4, np.float32)])
        assert native.held_bytes() == (3 << 20) + 64  # the same block again and again
    native.release_memory()
    assert native.held_bytes() == 0 and native.api().words[layout.HELD_COUNT] == 0


def test_buffers_follow_the_arena_when_it_comes_back_elsewhere(elementwise, array_type):
    t = array_type((4,))
    add = elementwise("a[i] + f32(1)", 1)
    program = Program([KernelStep(add, (IN0, arena(64)), (), 4), KernelStep(add, (arena(64), OUT0), (), 4)], [t], [t], 2 << 20)
    allocate, free = native.function("jitnet_allocate"), native.function("jitnet_free")
    x, taken = np.zeros(4, np.float32), []
    for _ in range(4):
        assert program.run([x])[0].tolist() == [2] * 4
        taken.append(allocate(native.api().address, 2 << 20))  # takes the arena away
        np.ctypeslib.as_array((np.ctypeslib.ctypes.c_float * 100).from_address(taken[-1]))[:] = np.nan
    assert len(set(taken)) == 4
    for block in taken:
        free(native.api().address, block)
    native.release_memory()


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "2"])
def test_bad_number_of_threads(count):
    with pytest.raises(ValueError, match="from 1 up"):
        threads.set_num_threads(count)
