"""Random NumPy functions, compiled, against NumPy, on both targets; derivatives and batches. JITNET_NIGHTLY=1 runs more."""
import os

import numpy as np
import pytest

import jitnet
from jitnet.errors import JitnetError
from jitnet.ir import eval_graph
from jitnet.numpy.protocol import NUMPY_FUNCTIONS
from jitnet.passes import plan
from jitnet.runtime.device import Device
from jitnet.testing_compiled import assert_agree, check_compiled, graph_of
from jitnet.testing_kernels import interpreted_gpu
from jitnet.types import F16, F32, F64
from tests.random_functions import random_function, random_inputs

NIGHTLY = os.environ.get("JITNET_NIGHTLY", "0") not in ("", "0")
ROUNDED = {F16: 3e-2, F32: 3e-2, F64: 3e-2}   # where there is a float16 anywhere
SINGLE = {F32: 3e-4, F64: 3e-4}


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch):
    """Freed memory is used again at once: a value that is read after its end would show."""
    for name in ("RESTING", "SMALL"):
        monkeypatch.setattr(plan, name, 0)


def seeds(ci, nightly):
    return pytest.mark.parametrize("seed", range(nightly if NIGHTLY else ci))


def tolerance(arrays):
    """How exact floats are where arrays of these dtypes are computed with."""
    dtypes = {np.dtype(a.dtype) for a in arrays}
    return ROUNDED if F16 in dtypes else SINGLE if F32 in dtypes else {F64: 1e-8}


def traced(seed, length, arrays):
    """NumPy's results, and the graph; AssertionError where the two took other steps."""
    log = []
    function = random_function(seed, length, log=log)
    wanted = [np.asarray(a) for a in function(*arrays)]
    graph = graph_of(function, *arrays)
    assert log[0] == log[1]
    return wanted, graph


@seeds(ci=40, nightly=4000)
def test_values(seed):
    arrays = random_inputs(seed)
    with np.errstate(all="ignore"):
        wanted, graph = traced(seed, 3 + seed % 10, arrays)
        assert_agree(eval_graph(graph, *arrays), wanted, tolerance([*wanted, *arrays]))
        found = jitnet.jit(random_function(seed, 3 + seed % 10))(*arrays)
    assert_agree([np.asarray(a) for a in found], wanted, tolerance([*wanted, *arrays]))


@seeds(ci=8, nightly=1500)
def test_values_on_a_gpu(seed):
    arrays = [np.array(a, order="C") for a in random_inputs(seed)]
    with np.errstate(all="ignore"), interpreted_gpu():
        wanted, graph = traced(seed, 2 + seed % 8, arrays)
        check_compiled(graph, arrays, tolerance([*wanted, *arrays]), device=Device("gpu", 0))


@seeds(ci=16, nightly=3000)
def test_derivatives(seed):
    """Products with the Jacobian agree with those with its transpose, and with central differences; batches with a loop."""
    whole, xs = random_function(seed, 2 + seed % 8, smooth=True), random_inputs(seed, smooth=True)
    outs = [np.asarray(out) for out in whole(*xs)]
    finite = [k for k, out in enumerate(outs) if np.isfinite(out).all()]   # means of nothing are not
    function, outs = lambda *a: [whole(*a)[k] for k in finite], [outs[k] for k in finite]
    rng = np.random.default_rng(seed)
    ts, cts = [rng.normal(size=a.shape) for a in xs], [rng.normal(size=a.shape) for a in outs]
    n = len(xs)
    forward = lambda *a: jitnet.jvp(function, a[:n], a[n:])[1]
    ahead = eval_graph(graph_of(forward, *xs, *ts), *xs, *ts)
    back = eval_graph(graph_of(lambda *a: list(jitnet.vjp(function, *a[:n])[1](list(a[n:]))), *xs, *cts), *xs, *cts)
    left, right = ([p * q for p, q in zip(a, b)] for a, b in ((ahead, cts), (back, ts)))
    total = lambda arrays: sum(float(np.sum(a)) for a in arrays)
    assert abs(total(left) - total(right)) <= 1e-9 * (1 + total(map(np.abs, left)) + total(map(np.abs, right)))

    def slope(h):
        ends = [[np.asarray(out) for out in function(*[x + s * t for x, t in zip(xs, ts)])] for s in (h, -h)]
        return [(p - q) / (2 * h) for p, q in zip(*ends)]

    for near, nearer, found in zip(slope(1e-5), slope(3e-6), ahead):
        smooth = np.abs(near - nearer) < 1e-4 * (1 + np.abs(near))   # no kink between the two
        assert np.all(np.abs(np.where(smooth, near - found, 0)) <= 1e-3 * (1 + np.max(np.abs(near), initial=0)))

    many = [np.stack([x, x / 2, x + t]) for x, t in zip(xs, ts)]
    batch = eval_graph(graph_of(jitnet.vmap(lambda *a: tuple(function(*a))), *many), *many)
    for row in range(3):
        alone = [np.asarray(out) for out in function(*[m[row] for m in many])]
        assert_agree([np.asarray(out[row]) for out in batch], alone, {F64: 1e-9})


def test_a_step_that_is_wrong_is_found(monkeypatch):
    """Rolled the other way round."""
    right = NUMPY_FUNCTIONS[np.roll]
    monkeypatch.setitem(NUMPY_FUNCTIONS, np.roll, lambda x, shift, axis: right(x, -shift, axis))
    for seed in range(200):
        arrays = random_inputs(seed)
        with np.errstate(all="ignore"):
            wanted, graph = traced(seed, 10, arrays)
            try:
                assert_agree(eval_graph(graph, *arrays), wanted, ROUNDED)
            except AssertionError:
                return
    pytest.fail("200 random functions found nothing")


def test_what_is_refused_is_refused_in_three_lines():
    seen = 0
    for seed in range(60):
        arrays, log = random_inputs(seed), []
        try:
            graph_of(random_function(seed, 8, log=log), *arrays)
        except JitnetError as error:
            raise AssertionError(f"an error that no step of NumPy's has: {error}") from error
        seen += sum(entry[1] == "refused" for entry in log[0])
    assert seen
