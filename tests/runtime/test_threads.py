"""The pool under fork, other pools, and a core that someone else keeps busy. Each case in its own process."""
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jitnet import errors
from jitnet.runtime import threads

ROOT = Path(__file__).parents[2]

SETUP = """
import os, sys, threading, types
import numpy as np
from jitnet.runtime import cache, threads
from jitnet.runtime.program import KernelStep, Program, Slot
SOURCE = '''
def kernel(buffers, sizes, start, stop):
    a = buffer_f32(buffers, 0)
    out = buffer_f32(buffers, 1)
    for i in range(start, stop):
        out[i] = a[i] * f32(2)
'''
n = 300_000
t = types.SimpleNamespace(shape=(n,), dtype=np.dtype("f4"))
x = np.arange(n, dtype="f4")
program = Program([KernelStep(cache.get_kernel(SOURCE), (Slot("input", 0), Slot("output", 0)), (), n, 10_000)], [t], [t])
def right():
    return bool((program.run([x])[0] == 2 * x).all())
"""


def run(code, setup=SETUP, **environment):
    """What the code prints after SETUP, in a fresh process."""
    process = subprocess.run([sys.executable, "-c", setup + textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True,
                             timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.split()


CONCURRENT = """
wrong = []
def work():
    for _ in range(30):
        if not right():
            wrong.append(1)
workers = [threading.Thread(target=work) for _ in range(5)]
for w in workers: w.start()
for w in workers: w.join()
print(threads.backend(), right(), len(wrong))
"""


@pytest.mark.parametrize("pool", ["own", "tbb", "omp", "workqueue", "serial"])
def test_every_pool_gives_the_same_under_many_callers(pool):
    used, result, wrong = run(CONCURRENT, JITNET_THREADING=pool, JITNET_NUM_THREADS="4")
    assert used in (pool, "serial") and (result, wrong) == ("True", "0")


FORK = """
assert right()
before = threads.backend()
pid = os.fork()
if pid == 0:
    os._exit(0 if right() and right() else 3)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(before, code, right())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("pool", ["own", "tbb", "omp", "workqueue"])
def test_parent_and_child_go_on_after_fork(pool):
    _, code, parent = run(FORK, JITNET_THREADING=pool, JITNET_NUM_THREADS="2", PYTHONWARNINGS="ignore")
    assert (code, parent) == ("0", "True")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_from_another_thread():
    code = """
    right()
    codes = []
    def work():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if right() else 3)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    w = threading.Thread(target=work); w.start(); w.join()
    print(codes, right())
    """
    assert run(code, JITNET_NUM_THREADS="2", PYTHONWARNINGS="ignore") == ["[0]", "True"]


TRACING = """
import jitnet
inside, forked = threading.Event(), threading.Event()
def slow(x):
    inside.set()
    forked.wait({seconds})
    return x + 1
tracing = threading.Thread(target=lambda: jitnet.jit(slow)(np.ones(3)))
tracing.start(); inside.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    os._exit(0 if jitnet.jit(lambda x: x * 2 - 1)(np.ones(3)).sum() == 3 else 3)
forked.set(); tracing.join()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), jitnet.jit(lambda x: x - 1)(np.ones(3)).sum())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("seconds", "patience"), [(0.1, 60), (60, 0.05)])
def test_child_compiles_though_another_thread_was_compiling(seconds, patience):
    """The fork waits for the other thread, or where that waits for the fork, goes on without it."""
    setup = f"import numpy as np, os, signal, threading\nfrom jitnet.runtime import forks\nforks.PATIENCE = {patience}\n"
    assert run(TRACING.format(seconds=seconds), setup=setup, PYTHONWARNINGS="ignore") == ["0", "0.0"]


def test_number_of_threads_from_the_environment():
    assert run("print(threads.get_num_threads())", JITNET_NUM_THREADS="3") == ["3"]
    assert int(run("print(threads.get_num_threads())", JITNET_NUM_THREADS="")[0]) >= 1


@pytest.mark.parametrize("text", ["abc", "0", "-2", "1.5"])
def test_a_number_of_threads_that_is_none(monkeypatch, text):
    monkeypatch.setattr(threads, "_wanted", None)
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    monkeypatch.setenv("JITNET_NUM_THREADS", text)
    with pytest.raises(errors.TraceValueError) as error:
        threads.get_num_threads()
    assert (error.value.what, error.value.hint) == (f"JITNET_NUM_THREADS is '{text}', which is no whole number from 1 up",
                                                    "leave it out, or set it to one: JITNET_NUM_THREADS=8")


def test_a_pool_that_nobody_knows(monkeypatch):
    monkeypatch.setattr(threads, "_backend", None)
    monkeypatch.setenv("JITNET_THREADING", "fast")
    with pytest.raises(errors.TraceValueError) as error:
        threads.ensure_pool()
    assert (error.value.what, error.value.hint) == (
        "JITNET_THREADING is 'fast', which is none of own, tbb, omp, workqueue, serial",
        "leave it out, or set it to one of them: JITNET_THREADING=own")


def test_numba_with_its_own_threads_goes_along():
    code = """
    import numba
    @numba.njit(parallel=True)
    def total(x):
        s = 0.0
        for i in numba.prange(x.size):
            s += x[i]
        return s
    y = np.ones(1000)
    print(right(), total(y), right(), total(y))
    """
    assert run(code) == ["True", "1000.0", "True", "1000.0"]


def test_pool_starts_only_with_a_parallel_program():
    show = "print(threads.backend(), right())"
    assert run(show, setup=SETUP.replace("n = 300_000", "n = 100")) == ["none", "True"]
    assert run(show)[0] in ("own", "tbb", "omp", "workqueue", "serial")
