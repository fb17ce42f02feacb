"""Kernels compiled by a forked child: the same objects, and a child that fails costs nothing but time."""
import os
import time

import numpy as np
import pytest

from jitnet.runtime import cache, parallel_compile

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def test_every_job_is_built_once():
    jobs = [(f"key{k}", lambda k=k: b"object %d" % k) for k in range(5)]
    assert parallel_compile.build_together(jobs) == {f"key{k}": b"object %d" % k for k in range(5)}


def test_large_objects_come_whole():
    jobs = [("small", lambda: b"x"), ("large", lambda: bytes(5 << 20))]
    assert parallel_compile.build_together(jobs)["large"] == bytes(5 << 20)


PARENT = os.getpid()


def test_a_child_that_fails_leaves_its_jobs_out():
    def fail():
        raise RuntimeError("planted")

    assert parallel_compile.start([("a", fail)]).collect() == {}


def test_what_a_child_fails_at_is_left_out():
    taken, release = os.pipe()

    def build(name):
        if os.getpid() != PARENT:
            os.write(release, b"x")
            raise RuntimeError("planted")
        os.read(taken, 1)   # the child has taken the other job
        return name

    found = parallel_compile.build_together([("a", lambda: build(b"a")), ("b", lambda: build(b"b"))])
    assert found in ({"a": b"a"}, {"b": b"b"})


def test_a_failure_here_ends_the_child(monkeypatch):
    forked, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: forked.append(fork()) or forked[-1])

    def fail():
        if os.getpid() == PARENT:
            raise RuntimeError("planted")
        time.sleep(60)

    with pytest.raises(RuntimeError, match="planted"):
        parallel_compile.build_together([("a", fail), ("b", fail)])
    with pytest.raises(ChildProcessError):   # nothing is left of it; children of others may run
        os.waitpid(forked[0], 0)


def test_a_silent_child_is_given_up(monkeypatch):
    monkeypatch.setattr(parallel_compile, "PATIENCE", 0.2)
    assert parallel_compile.start([("a", lambda: time.sleep(60))]).collect() == {}


def test_objects_announced_are_built_by_one_child(tmp_path, monkeypatch):
    monkeypatch.setenv("JITNET_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(parallel_compile, "can_fork", lambda: True)
    monkeypatch.setattr(cache, "_pending", {})
    who = [cache.object_key(f"announced {k}") for k in range(2)]
    for key in who:
        cache.announce(key, lambda: b"%d" % os.getpid())
    cache.build_ahead()
    built = {cache._take(key) for key in who}
    assert len(built) == 1 and not built & {b"%d" % PARENT, None}
    assert cache._take(who[0]) is None


def test_kernels_of_a_child_run(tmp_path, monkeypatch):
    monkeypatch.setenv("JITNET_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(parallel_compile, "can_fork", lambda: True)
    monkeypatch.setattr(parallel_compile, "LEAST", 1)
    sources = [f"""def kernel(buffers, sizes, start, stop):
    x = buffer_f64(buffers, 0)
    out = buffer_f64(buffers, 1)
    for i in range(start, stop):
        out[i] = x[i] * f64({k}.5)
""" for k in (101, 102, 103, 104)]
    before = cache.info().compiles
    kernels = cache.get_kernels(sources)
    assert cache.info().compiles == before + 4
    import ctypes

    for kernel, factor in zip(kernels, (101.5, 102.5, 103.5, 104.5)):
        x, out = np.arange(7.0), np.empty(7)
        buffers = np.array([x.ctypes.data, out.ctypes.data])
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        signature(kernel.address)(buffers.ctypes.data, None, 0, 7)
        np.testing.assert_array_equal(out, x * factor)
