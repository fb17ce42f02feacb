"""The native call: guards, scalars, outputs, reference counts, memory, errors, threads."""
import gc
import sys
import threading
import weakref

import numpy as np
import pytest

from jitnet.runtime import cache, entry, layout
from jitnet.runtime.entry import Entry
from jitnet.runtime.program import CallbackKernel, KernelStep, Program, Slot, StatusError

IN0, IN1, OUT0 = Slot("input", 0), Slot("input", 1), Slot("output", 0)


def fallback(*args, **kwargs):
    return ("fallback", args, kwargs)


@pytest.fixture(params=["native", "python"])
def make_entry(request, monkeypatch):
    """Entry, once in native code and once in Python: the same semantics."""
    if request.param == "native":
        assert entry.available()
    else:
        monkeypatch.setattr(entry, "available", lambda: False)
    return Entry


def test_single_output_and_tuple(make_entry, add_program):
    a, b = np.arange(8, dtype=np.float32).reshape(2, 4)
    single, several = make_entry(fallback), make_entry(fallback)
    single.add(add_program(), single_output=True)
    several.add(add_program())
    out = single.call(a, b)
    assert type(out) is np.ndarray and out.dtype == np.float32 and out.flags.owndata and out.flags.writeable
    np.testing.assert_array_equal(out, a + b)
    [out] = several.call(a, b)
    np.testing.assert_array_equal(out, a + b)


def test_results_are_independent_arrays(make_entry, add_program):
    a, b = np.ones((2, 4), np.float32)
    e = make_entry(fallback)
    e.add(add_program(), single_output=True)
    first, second = e.call(a, b), e.call(a, a + 5)
    assert first.tolist() == [2] * 4 and second.tolist() == [7] * 4
    first[:] = 0
    assert e.call(a, b).tolist() == [2] * 4


class SubArray(np.ndarray):
    pass


A = np.arange(4, dtype=np.float32)
MISSES = {
    "too few": (A,), "too many": (A, A, A), "none": (), "list": (A, [1, 2, 3, 4]), "subclass": (A, A.view(SubArray)),
    "dtype": (A, A.astype(np.float64)), "byte order": (A, A.astype(">f4")), "shape": (A, np.zeros(5, np.float32)),
    "ndim": (A, A.reshape(4, 1)), "ndim 0": (A, np.float32(3)), "strided": (A, np.arange(8, dtype=np.float32)[::2]),
    "unaligned": (A, np.frombuffer(bytes(17), np.uint8)[1:].view(np.float32)), "None": (None, A), "scalar": (A, 1.0)}


@pytest.mark.parametrize("case", MISSES)
def test_what_does_not_fit_goes_to_the_fallback(make_entry, add_program, case):
    e = make_entry(fallback)
    e.add(add_program(), single_output=True)
    kind, args, kwargs = e.call(*MISSES[case])
    assert kind == "fallback" and kwargs == {} and all(x is y for x, y in zip(args, MISSES[case], strict=True))


def test_keywords_go_to_the_fallback(make_entry, add_program):
    e = make_entry(fallback)
    e.add(add_program(), single_output=True)
    assert e.call(A, b=A)[2]["b"] is A
    assert e.call(A, A, flag=1)[2] == {"flag": 1}
    assert e.call(x=2) == ("fallback", (), {"x": 2})


def test_exception_of_the_fallback_reaches_the_caller(make_entry):
    def refuse(*args):
        raise ValueError("no such thing")
    with pytest.raises(ValueError, match="no such thing"):
        make_entry(refuse).call(1)


def test_scalar_outputs_become_numpy_scalars(make_entry, elementwise, array_type):
    t = array_type((4,))
    step = KernelStep(elementwise("a[i + 1] + a[i]", 1), (IN0, OUT0), (), 1)
    e = make_entry(fallback)
    e.add(Program([step], [t], [array_type(())]), single_output=True)
    out = e.call(A)
    assert type(out) is np.float32 and out == 1
    e.clear()
    e.add(Program([step], [t], [array_type(())]))
    assert type(e.call(A)[0]) is np.float32


def test_empty_arrays(make_entry, add_program):
    e = make_entry(fallback)
    e.add(add_program((0, 3)), single_output=True)
    x = np.zeros((0, 3), np.float32)
    assert e.call(x, x).shape == (0, 3)


@pytest.mark.parametrize("weak, dtype, short, good, bad", [
    (float, "f4", "f32", [1.5, 0.1, -0.0, float("inf")], [2, True, np.float32(1), "x", None]),
    (float, "f8", "f64", [0.1, 1e300], [2, True, np.float64(1)]),
    (int, "i8", "i64", [0, -5, 2**63 - 1, -2**63], [2**63, -2**64, 1.0, True, np.int64(3)]),
    (int, "i4", "i32", [7, 2**31 - 1, -2**31], [2**31, -2**31 - 1]),
    (int, "i2", "i16", [2**15 - 1], [2**15]),
    (int, "i1", "i8", [127, -128], [128, -129]),
    (int, "u1", "u8", [255, 0], [256, -1]),
    (int, "u4", "u32", [2**32 - 1], [2**32, -1]),
    (int, "u8", "u64", [2**62], [-1, 2**64]),
    (int, "f4", "f32", [3, -7, 2**40], [1.0, True]),
    (int, "f8", "f64", [2**53], [1.0]),
    (bool, "f4", "f32", [True, False], [1, 0.0, np.True_]),
    (bool, "i8", "i64", [True, False], [1, 0])])
def test_weak_scalars(make_entry, elementwise, array_type, weak, dtype, short, good, bad):
    t, scalar = array_type((3,), dtype), array_type((), dtype)
    step = KernelStep(elementwise("b[0]", 2, dtype=short, out=short), (IN0, IN1, OUT0), (), 3)
    e = make_entry(fallback)
    e.add(Program([step], [t, scalar], [t]), weak_scalars={1: weak}, single_output=True)
    x = np.zeros(3, dtype)
    for value in good:
        out = e.call(x, value)
        np.testing.assert_array_equal(out, np.full(3, value, dtype))
    for value in bad:
        assert e.call(x, value)[0] == "fallback", value


def test_weak_bool_for_a_bool_input(make_entry, elementwise, array_type):
    t = array_type((), bool)
    step = KernelStep(elementwise("a[i]", 1, dtype="b1", out="b1"), (IN0, OUT0), (), 1)
    e = make_entry(fallback)
    e.add(Program([step], [t], [t]), weak_scalars={0: bool}, single_output=True)
    assert e.call(True) == np.True_ and e.call(False) == np.False_ and e.call(1)[0] == "fallback"


@pytest.mark.parametrize("scalar", [np.float32(2.5), np.float64(-1.25), np.int64(7), np.int32(-3), np.uint8(200), np.True_])
def test_numpy_scalars(make_entry, elementwise, array_type, scalar):
    short = {"f4": "f32", "f8": "f64", "i8": "i64", "i4": "i32", "u1": "u8", "b1": "b1"}[scalar.dtype.str[1:]]
    t = array_type((), scalar.dtype)
    step = KernelStep(elementwise("a[i]", 1, dtype=short, out=short), (IN0, OUT0), (), 1)
    e = make_entry(fallback)
    e.add(Program([step], [t], [t]), weak_scalars={0: type(scalar)}, single_output=True)
    out = e.call(scalar)
    assert type(out) is type(scalar) and out == scalar
    assert e.call(scalar.item())[0] == "fallback" and e.call(np.asarray(scalar))[0] == "fallback"


@pytest.mark.parametrize("weak, dtype", [(float, np.int64), (str, np.float32), (np.float32, np.float64), (complex, np.float32)])
def test_scalars_that_cannot_be_are_refused(make_entry, array_type, weak, dtype):
    with pytest.raises(ValueError, match="is n"):
        make_entry(fallback).add(Program([], [array_type((), dtype)], []), weak_scalars={0: weak})
    with pytest.raises(ValueError, match="array of shape"):
        make_entry(fallback).add(Program([], [array_type((1,))], []), weak_scalars={0: weak})


def test_same_object(make_entry, add_program):
    mode, e = "fast", make_entry(fallback)
    e.add(add_program(), same={1: mode, 3: None}, single_output=True)
    assert e.call(A, mode, A, None).tolist() == (A + A).tolist()
    assert e.call(A, "slow", A, None)[0] == "fallback" and e.call(A, mode, A, 0)[0] == "fallback"


class Holder:
    """Like jitnet.Array: an array in a slot."""
    __slots__ = ("__weakref__", "_data", "other")

    def __init__(self, data):
        self._data = data


class OtherHolder(Holder):
    __slots__ = ()


def test_wrapped_arrays_in_and_out(make_entry, add_program):
    e = make_entry(fallback)
    e.add(add_program(), wrapped={0: Holder, 1: Holder}, single_output=True, wrap_outputs=Holder)
    e.add(add_program(), wrapped={1: Holder})
    out = e.call(Holder(A), Holder(A))
    assert type(out) is Holder and type(out._data) is np.ndarray and out._data.tolist() == (2 * A).tolist()
    assert not hasattr(out, "other") and weakref.ref(out)() is out and gc.is_tracked(out)
    [plain] = e.call(A, Holder(A))
    assert plain.tolist() == (2 * A).tolist()
    for bad in ((Holder(A), A), (Holder(A), Holder(A.astype(float))), (Holder(A), Holder(None)), (Holder(A), OtherHolder(A)),
                (Holder(A), Holder.__new__(Holder)), (Holder(Holder(A)), Holder(A)), (A, A)):
        assert e.call(*bad)[0] == "fallback"


def test_wrapped_outputs_without_axes_stay_arrays(make_entry, elementwise, array_type):
    step = KernelStep(elementwise("a[i + 1] + a[i]", 1), (IN0, OUT0), (), 1)
    e = make_entry(fallback)
    e.add(Program([step], [array_type((4,))], [array_type(())]), wrapped={0: Holder}, wrap_outputs=Holder)
    [out] = e.call(Holder(A))
    assert type(out._data) is np.ndarray and out._data.shape == () and out._data == 1


def test_wrapped_arrays_keep_their_reference_counts(add_program):
    class Own(Holder):  # nothing else refers to it
        __slots__ = ()

    e = Entry(fallback)
    e.add(add_program(), wrapped={0: Own, 1: Own}, single_output=True, wrap_outputs=Own)
    a, kept = Own(A.copy()), []
    watched = [a, a._data, Own, a._data.dtype]
    for _ in range(10):
        e.call(a, a)
    gc.collect()
    before = [sys.getrefcount(x) for x in watched]
    for _ in range(500):
        kept.append(e.call(a, a))
    during = [sys.getrefcount(x) for x in watched]
    assert [y - x for x, y in zip(before, during, strict=True)] == [0, 0, 500, during[3] - before[3]]
    of_output, of_fresh = sys.getrefcount(kept[0]._data), sys.getrefcount(Own(np.empty(3))._data)
    assert of_output == of_fresh + 1  # the wrapper is alive in one of the two
    kept.clear()
    gc.collect()
    assert [sys.getrefcount(x) for x in watched] == before


def test_written_arguments_have_to_be_writable(make_entry, elementwise, array_type):
    step = KernelStep(elementwise("a[i] + f32(1)", 1), (IN0, IN0), (), 4)
    e = make_entry(fallback)
    e.add(Program([step], [array_type((4,))], []), written=(0,))
    x = np.zeros(4, np.float32)
    assert e.call(x) == () and x.tolist() == [1] * 4
    x.flags.writeable = False
    assert e.call(x)[0] == "fallback" and x.tolist() == [1] * 4


def test_the_program_used_longest_ago_goes(add_program):
    e = Entry(fallback)
    arrays = [np.full(n, n, np.float32) for n in range(1, layout.MAX_RECORDS + 2)]
    for x in arrays[:-1]:
        e.add(add_program(x.shape), single_output=True)
    for x in (arrays[0], arrays[2], arrays[0]):   # the oldest ones are used again
        e.call(x, x)
    e.add(add_program(arrays[-1].shape), single_output=True)
    assert e.call(arrays[1], arrays[1])[0] == "fallback"
    for x in (arrays[0], arrays[2], arrays[-1]):
        np.testing.assert_array_equal(e.call(x, x), 2 * x)


def test_several_programs_the_latest_sixty_four_stay(make_entry, add_program):
    e = make_entry(fallback)
    arrays = [np.full(n, n, np.float32) for n in range(1, layout.MAX_RECORDS + 3)]
    for x in arrays:
        e.add(add_program(x.shape), single_output=True)
    assert len(e) == layout.MAX_RECORDS
    for _ in range(2):
        for x in arrays[2:]:
            np.testing.assert_array_equal(e.call(x, x), 2 * x)
    for x in arrays[:2]:
        assert e.call(x, x)[0] == "fallback"
    for k in (40, 3, 3, 60, 40, 7):
        np.testing.assert_array_equal(e.call(arrays[k], arrays[k]), 2 * arrays[k])
    e.clear()
    assert len(e) == 0 and e.call(arrays[5], arrays[5])[0] == "fallback"


def gather(array_type):
    source = """\
def kernel(buffers, sizes, start, stop):
    index = buffer_i64(buffers, 0)
    out = buffer_i64(buffers, 1)
    status = buffer_i64(buffers, 2)
    for i in range(start, stop):
        out[i] = index[i]
        if index[i] > 9:
            status[0] = i64(i + 1)
"""
    t = array_type((3,), np.int64)
    status = Slot("arena", 0, 64)
    step = KernelStep(cache.get_kernel(source), (IN0, OUT0, status), (), 3)
    return Program([step], [t], [t], 128, status=status)


def test_status_raises_or_asks_on_error(make_entry, array_type):
    e = make_entry(fallback)
    e.add(gather(array_type), single_output=True)
    for _ in range(3):
        assert e.call(np.array([1, 2, 3])).tolist() == [1, 2, 3]
        with pytest.raises(StatusError) as caught:
            e.call(np.array([1, 2, 30]))
        assert caught.value.cells == (3,)
    program, seen = gather(array_type), []
    e = make_entry(fallback, lambda p, error: seen.append((p, error.cells)) or "instead")
    e.add(program, single_output=True)
    assert e.call(np.array([10, 2, 3])) == "instead" and seen == [(program, (1,))]


def test_exception_of_a_callback(make_entry, array_type):
    def fail(x):
        if x[0] < 0:
            raise ZeroDivisionError("below zero")
    t = array_type((2,), np.int64)
    e = make_entry(fallback)
    e.add(Program([KernelStep(CallbackKernel(fail, [((2,), "i8")]), (IN0,), (), 1)], [t], [t]), single_output=True)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="below zero"):
            e.call(np.array([-1, 0]))
        assert e.call(np.array([1, 0])).shape == (2,)


def test_reference_counts_stay(add_program):
    program = add_program((64,))
    e = Entry(fallback)
    e.add(program, single_output=True)
    pair = Entry(fallback)
    pair.add(add_program((64,)))
    a, b = np.ones((2, 64), np.float32)
    watched = [a, b, a.dtype, np.ndarray, program, e._records[0], fallback, e.call, None, True]
    def work():
        for _ in range(1000):
            e.call(a, b)
            pair.call(a, b)
            e.call(a, 1)
    work()
    before = [sys.getrefcount(x) for x in watched]
    work()
    after = [sys.getrefcount(x) for x in watched]
    assert [abs(y - x) < 20 for x, y in zip(before, after, strict=True)] == [True] * len(watched), (before, after)
    assert sys.getrefcount(e.call(a, b)) == 1 + (sys.version_info < (3, 14))


def test_failing_calls_do_not_leak(array_type):
    e = Entry(fallback)
    e.add(gather(array_type), single_output=True)
    bad, record = np.array([1, 2, 30]), e._records[0]

    def work(n):
        for _ in range(n):
            with pytest.raises(StatusError):
                e.call(bad)
        gc.collect()
    work(5)
    before = sys.getrefcount(record), sys.getrefcount(bad), sys.getrefcount(bad.dtype)
    work(200)
    after = sys.getrefcount(record), sys.getrefcount(bad), sys.getrefcount(bad.dtype)
    assert max(abs(y - x) for x, y in zip(before, after, strict=True)) < 5


def resident_bytes():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays(add_program):
    e = Entry(fallback)
    arrays = [np.ones(n, np.float32) for n in (8, 5_000, 600_000)]
    for x in arrays:
        e.add(add_program(x.shape), single_output=True)

    def work(n):
        for _ in range(n):
            for x in arrays:
                e.call(x, x)
    work(50)
    before = resident_bytes()
    work(500)
    assert resident_bytes() - before < 4 << 20


def test_everything_dies_with_the_entry(add_program):
    def called(*args):
        return None
    e = Entry(called)
    e.add(add_program(), single_output=True)
    call = e.call
    watched = [weakref.ref(called), weakref.ref(e._records[0].program)]
    del e
    assert call(A, A).tolist() == (A + A).tolist()  # the function object is complete in itself
    assert watched[1]() is not None
    del called, call
    gc.collect()
    assert [w() for w in watched] == [None, None]


def test_cycle_through_the_fallback_is_collected():
    class Holder:
        def fall(self, *args):
            return self.entry
    holder = Holder()
    holder.entry = Entry(holder.fall)
    assert holder.entry.call() is holder.entry
    watched = weakref.ref(holder)
    del holder
    gc.collect()
    assert watched() is None


def test_entry_may_be_cleared_while_its_program_runs(array_type):
    t = array_type((2,), np.int64)
    e = Entry(fallback)

    def clear(x, out):
        e.clear()
        gc.collect()
        out[:] = x * 2
    e.add(Program([KernelStep(CallbackKernel(clear, [((2,), "i8")] * 2), (IN0, OUT0), (), 1)], [t], [t]), single_output=True)
    assert e.call(np.array([1, 2])).tolist() == [2, 4]
    assert e.call(np.array([1, 2]))[0] == "fallback"


def test_fallback_may_add_the_program(add_program):
    seen = []

    def compile_it(a, b):
        seen.append(a.shape)
        e.add(add_program(a.shape), single_output=True)
        return e.call(a, b)
    e = Entry(compile_it)
    for n in (3, 5, 3, 5):
        x = np.ones(n, np.float32)
        assert e.call(x, x).tolist() == [2] * n
    assert seen == [(3,), (5,)]


def test_threads_call_add_and_clear_at_once(add_program):
    programs = {n: add_program((n,)) for n in (4, 70_000)}  # the second one gives the GIL up
    e, wrong, stop = Entry(lambda a, b: a + b), [], threading.Event()

    def call(n, value):
        x = np.full(n, value, np.float32)
        while not stop.is_set():
            if not (e.call(x, x) == 2 * value).all():
                wrong.append((n, value))
    workers = [threading.Thread(target=call, args=(n, v)) for n in programs for v in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for _ in range(150):
        for program in programs.values():
            e.add(program, single_output=True)
        e.clear()
    stop.set()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_layout_check_sees_a_wrong_layout(monkeypatch):
    monkeypatch.setattr(layout, "ARRAY_DATA", 3)
    assert not entry.available.__wrapped__()
