"""Faults at every call of the driver, over whole programs: a clear error or none, and everything else goes on.

Which call fails, when and how is drawn from a seed; JITNET_NIGHTLY=1 tries many more.
"""
import collections
import gc
import importlib
import os
import threading

import numpy as np
import pytest

import jitnet
from jitnet import errors
from jitnet.nn.functional import relu
from jitnet.runtime.cuda import stream
from jitnet.runtime.cuda.driver import DriverError
from jitnet.testing_gpu import FakeDriver, fake_gpus

ranking = importlib.import_module("jitnet.passes.ranking")   # the package has the pass under this name

RNG = np.random.default_rng(0)
ARRAYS = [RNG.standard_normal(s).astype(np.float32) for s in ((6, 8), (8, 5), 5)]
ERRORS = ("OUT_OF_MEMORY", "INVALID_VALUE", "LAUNCH_FAILED")
NOT_CALLS = {"plant", "version", "device_count", "products"}
CASES = 12 if os.environ.get("JITNET_NIGHTLY", "0") in ("", "0") else 300


def training(x, w, b):
    return jitnet.value_and_grad(lambda w, b: np.sum((relu(x @ w + b) @ w.T) ** 2), argnums=(0, 1))(w, b)


@pytest.fixture(autouse=True)
def sorted_by_numpy(monkeypatch):
    """What comes to the host and goes back can fail on its way, too."""
    monkeypatch.setattr(ranking, "LONGEST", 2)


def deciding(x, w, b):
    halved = jitnet.while_loop(lambda s: np.max(s) > 0.1, lambda s: s / 2, x)
    return halved, jitnet.cond(np.sum(x) > 0, lambda x: x + 1, lambda x: x * 2, x)


def picking(x, w, b):
    y = x[(np.abs(x[:, 0]) * 3).astype(np.int64) % 6] * 2
    return y, np.sort(x, axis=1) + 1, np.sum(y, axis=0)


def writing(x, w, b):
    x[0] = x[1] * 2
    x += 1
    return np.sum(x)


def scanning(x, w, b):
    return jitnet.scan(lambda c, row: (np.tanh(c + row) * 0.5, c * 2), x[0], x)


class Faults:
    """Counts the calls of a driver's methods, and makes one of them fail."""

    def __init__(self, driver, name="", nth=0, error=""):
        self.driver, self.fault, self.error = driver, (name, nth), error
        self.counts = collections.Counter()
        for method in dir(FakeDriver):
            if not method.startswith("_") and method not in NOT_CALLS and callable(getattr(driver, method)):
                setattr(driver, method, self.counting(method, getattr(driver, method)))

    def counting(self, name, method):
        def call(*args, **options):
            self.counts[name] += 1
            if (name, self.counts[name]) != self.fault:
                return method(*args, **options)
            if self.error == "LAUNCH_FAILED":
                self.driver.devices[0].lost = self.error
            if name == "end_capture":   # one that fails ends the capture all the same
                FakeDriver.abandon_capture(self.driver, *args, keep=self.counts["begin_capture_to"] > 0)
            raise DriverError(self.error, self.error.lower(), name)
        return call


def run(f):
    """What two calls give, and what they wrote into."""
    arrays = [jitnet.asarray(a, device="gpu") for a in ARRAYS]
    f(*arrays)
    return [a.numpy() for a in jitnet.tree.leaves((f(*arrays), arrays[0]))]


def expected(function):
    f, arrays = jitnet.jit(function), [a.copy() for a in ARRAYS]
    f(*arrays)
    return jitnet.tree.leaves((f(*arrays), arrays[0]))


def check(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", [training, deciding, picking, writing, scanning])
def test_faults(function):
    wanted = expected(function)
    with fake_gpus() as driver:
        counts = Faults(driver).counts
        check(run(jitnet.jit(function)), wanted)
    calls = [(name, nth) for name, total in sorted(counts.items()) for nth in sorted({1, 2, (total + 1) // 2, total})]
    for k in np.random.default_rng(1).permutation(len(calls) * len(ERRORS))[:CASES]:
        fault(function, wanted, *calls[k // len(ERRORS)], ERRORS[k % len(ERRORS)])


def fault(function, wanted, name, nth, error):
    with fake_gpus(2) as driver:
        faults = Faults(driver, name, nth, error)
        f = jitnet.jit(function)
        try:
            check(run(f), wanted)   # not every fault has consequences
        except errors.DeviceError as failure:
            assert len(str(failure).split("\n")) >= 2 and "gpu(0)" in str(failure)
        faults.fault = "", 0
        assert not driver.capturing
        np.testing.assert_array_equal((jitnet.asarray(ARRAYS[0], device="gpu:1") + 1).numpy(), ARRAYS[0] + 1)
        check(run(f), wanted)       # on the device again, opened anew if it was lost
        gpu, free = stream.open_gpu(0), []
        thread = threading.Thread(target=lambda: free.append(gpu.lock.acquire(timeout=1)) or gpu.lock.release())
        thread.start()
        thread.join()
        assert free == [True] and not gpu._before, "a lock or a context was left behind"
        del f, thread
        jitnet.jit(lambda x: x)(1)   # the fast path refers to the last arguments
        gc.collect()
        gpu.give_back()
        graphs = [t for t in driver.things.values() if isinstance(t, list) and (not t or isinstance(t[0], list))]
        assert error == "LAUNCH_FAILED" or not graphs
        assert gpu.pool.waiting == 0 and driver.devices[0].used <= 4096
        assert sum(map(len, driver.pinned.values())) <= 4096 or error == "LAUNCH_FAILED"


def test_graphs_of_programs_that_died_are_freed(driver):
    x = jitnet.asarray(ARRAYS[0], device="gpu")
    for _ in range(5):
        f = jitnet.jit(lambda x: (np.sum(x, axis=0), np.max(x, axis=1)))
        f(x)[0].numpy()
    assert driver.calls["instantiate"] == 5
    del f
    jitnet.jit(lambda x: x)(1)
    gc.collect()
    x.block_until_ready()
    assert driver.calls["free_executable"] == driver.calls["free_graph"] == 5
