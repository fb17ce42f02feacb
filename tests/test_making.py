"""Programs are made while other threads call: user code is traced under no lock, and one thread makes what many ask for.

What may hang runs in threads of its own, which nobody waits for without an end.
"""
import os
import threading

import numpy as np
import pytest

import jitnet
from jitnet import making

X = np.arange(6, dtype=np.float32)
LONG = 60.0   # seconds after which a thread is taken to hang


def in_thread(function, *args):
    """What the function gives in another thread; an error when it gives nothing."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*args)), daemon=True)
    thread.start()
    thread.join(LONG)
    assert found, "the other thread hangs, or failed"
    return found[0]


def test_a_function_that_is_traced_may_wait_for_a_thread_that_calls_another():
    inner = jitnet.jit(lambda x: np.tanh(x) - 1)

    @jitnet.jit
    def outer(x):
        return x * in_thread(inner, X)

    np.testing.assert_allclose(in_thread(outer, X), X * (np.tanh(X) - 1), rtol=1e-6)


def test_a_function_that_is_traced_may_wait_for_a_thread_that_calls_it_with_the_same_types(monkeypatch):
    monkeypatch.setattr(making, "PATIENCE", 0.01)
    depth = [0]

    @jitnet.jit
    def f(x):
        depth[0] += 1
        return x + (in_thread(f, X) if depth[0] == 1 else 1)

    np.testing.assert_array_equal(in_thread(f, X), X + 1)   # the program that was made first
    assert f.traces == 1 and depth == [2]
    np.testing.assert_array_equal(f(X), X + 1)


def test_two_functions_whose_traces_wait_for_each_other():
    met = threading.Barrier(2, timeout=LONG)

    def meeting(factor):
        def function(x):
            met.wait()
            return x * factor
        return jitnet.jit(function)

    twice, thrice = meeting(2), meeting(3)
    results = []
    other = threading.Thread(target=lambda: results.append(twice(X)), daemon=True)
    other.start()
    np.testing.assert_array_equal(in_thread(thrice, X), X * 3)
    other.join(LONG)
    np.testing.assert_array_equal(results[0], X * 2)


def test_a_function_that_is_traced_for_open_sizes_may_wait_too(monkeypatch):
    monkeypatch.setattr(making, "PATIENCE", 0.01)
    inner = jitnet.jit(lambda x: x - 1)
    calls = []

    @jitnet.jit
    def outer(x):
        calls.append(in_thread(inner, np.ones(20 + len(calls))).size)   # sizes that are new there
        return x + 1

    for n in (5, 6, 7, 8):
        np.testing.assert_array_equal(in_thread(outer, np.ones(n)), np.full(n, 2.0))
    assert calls == [20, 21] and outer.traces == 2


def test_threads_that_ask_for_one_program_trace_it_once():
    traced, start = [], threading.Barrier(8, timeout=LONG)

    @jitnet.jit
    def f(x):
        traced.append(threading.get_ident())
        return np.exp(x) * 3

    results = []

    def work():
        start.wait()
        results.append(f(X))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(LONG)
    assert len(results) == 8 and len(traced) == 1 and f.traces == 1
    for result in results:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("moves", [True, False])
def test_who_waits_overtakes_a_thread_that_stands_still_and_no_other(moves, monkeypatch):
    monkeypatch.setattr(making, "PATIENCE", 0.001)
    looks = []

    def place(thread):
        looks.append(thread)
        if len(looks) == 20:
            turn.over.release()
        return len(looks) if moves else 0

    monkeypatch.setattr(making, "_place", place)
    turn = making.Turn()
    assert in_thread(lambda: [turn.is_over()]) == [moves]
    assert len(looks) == (20 if moves else making.LOOKS + 1) and turn.overtaken is not moves


def test_many_functions_and_sizes_in_many_threads():
    functions = [jitnet.jit(lambda x, y, k=k: np.sum(np.tanh(x) * k + y, axis=-1)) for k in range(1, 7)]
    nested = jitnet.jit(lambda x, y: functions[0](x, y) + functions[1](y, x))
    failures, start = [], threading.Barrier(8, timeout=LONG)

    def work(seed):
        rng = np.random.default_rng(seed)
        start.wait()
        for turn in range(30):
            n, k = int(rng.integers(1, 9)), (seed + turn) % 6
            x, y = rng.standard_normal((2, n, 5))
            want = np.sum(np.tanh(x) * (k + 1) + y, axis=-1)
            both = np.sum(np.tanh(x) + y, axis=-1) + np.sum(np.tanh(y) * 2 + x, axis=-1)
            if not np.allclose(functions[k](x, y), want) or not np.allclose(nested(x, y), both):
                failures.append((seed, turn))
            if turn % 10 == 9:
                functions[k].clear()

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(LONG)
    assert not any(t.is_alive() for t in threads) and not failures
    assert not making._turns


def test_an_error_while_tracing_lets_the_next_thread_have_its_turn():
    attempts, entered, go_on = [], threading.Event(), threading.Event()

    @jitnet.jit
    def f(x):
        attempts.append(1)
        if len(attempts) == 1:
            entered.set()
            go_on.wait(LONG)
            raise KeyboardInterrupt
        return x + 1

    raised, results = [], []

    def first():
        try:
            f(X)
        except KeyboardInterrupt as error:
            raised.append(error)

    interrupted = threading.Thread(target=first, daemon=True)
    interrupted.start()
    assert entered.wait(LONG)
    second = threading.Thread(target=lambda: results.append(f(X)), daemon=True)
    second.start()
    go_on.set()
    interrupted.join(LONG), second.join(LONG)
    assert len(raised) == 1 and len(attempts) == 2 and f.traces == 1 and not making._turns
    np.testing.assert_array_equal(results[0], X + 1)


def test_what_was_traced_before_clear_is_not_kept():
    factor, entered, go_on = [2], threading.Event(), threading.Event()

    @jitnet.jit
    def f(x):
        used = factor[0]
        entered.set()
        go_on.wait(LONG)
        return x * used

    results = []
    thread = threading.Thread(target=lambda: results.append(f(X)), daemon=True)
    thread.start()
    assert entered.wait(LONG)
    factor[0] = 3
    f.clear()
    go_on.set()
    thread.join(LONG)
    np.testing.assert_array_equal(results[0], X * 2)
    assert f.traces == 0
    np.testing.assert_array_equal(f(X), X * 3)


def test_a_call_of_itself_outside_of_its_trace_does_not_wait():
    """As from a finalizer that runs while the function is being compiled."""
    f = jitnet.jit(lambda x: x + 1)
    with making.turn("key") as outer, making.turn("key") as inner:
        assert outer is not inner and not outer.is_over()
    assert not making._turns and not outer.over.locked() and not inner.over.locked()
    np.testing.assert_array_equal(f(X), X + 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_waits_for_no_thread_of_its_parent():
    entered, go_on = threading.Event(), threading.Event()

    @jitnet.jit
    def f(x):
        if threading.current_thread() is not threading.main_thread():
            entered.set()
            go_on.wait(LONG)
        return x * 2 - 1

    thread = threading.Thread(target=f, args=(X,), daemon=True)
    thread.start()
    assert entered.wait(LONG)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if not making._turns and f(X)[1] == 1 else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    go_on.set()
    thread.join(LONG)
    assert f.traces == 1
