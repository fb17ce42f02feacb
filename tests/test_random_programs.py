"""Random programs, compiled, against what they mean: values, gradients, threads, sizes never seen. JITNET_NIGHTLY=1 runs more.

`python -m tests.test_random_programs 0 1000` runs the programs of these seeds and shrinks what fails.
"""
import os
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitnet.codegen import steps, writer
from jitnet.compile import compile_graph
from jitnet.passes import fuse, plan
from jitnet.runtime import cache, threads
from jitnet.testing_compiled import check_compiled, gradient_graph, shrink
from jitnet.testing_programs import Recorder, random_arguments, random_graph, same_structure
from jitnet.types import BF16, F16, F32, F64

NIGHTLY = os.environ.get("JITNET_NIGHTLY", "0") not in ("", "0")
SIZES = (7, 17, 1, 33, 130, 64, 257)


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch):
    """Freed memory is used again at once: a value that is read after its end would show."""
    for name in ("RESTING", "SMALL"):
        monkeypatch.setattr(plan, name, 0)


def programs(ci, nightly):
    """Hypothesis runs the test on so many seeds: always the same ones, but at night."""
    def decorate(test):
        options = {"max_examples": nightly if NIGHTLY else ci, "derandomize": not NIGHTLY, "deadline": None, "database": None}
        return settings(suppress_health_check=list(HealthCheck), **options)(given(st.integers(0, 10 ** 6))(test))
    return decorate


def program(seed):
    """A random graph, of float64 or float32 or both; it may hold a while loop, which has no gradient, if the seed is odd."""
    floats = ((F64,), (F32,), (F64,), (F32, F64))[seed // 2 % 4]
    return random_graph(Recorder(seed), SIZES[seed % 7], length=4 + seed % 13, floats=floats, reverse=seed % 2 == 0)


@programs(ci=60, nightly=1500)
def test_values(seed):
    graph = program(seed)
    check_compiled(graph, random_arguments(graph, seed))


def test_a_gather_at_an_index_that_a_reduction_over_columns_need_not_compute_again():
    test_values.hypothesis.inner_test(370972)   # found at night: the load was in the loop, its index before it


ROUNDED = {F16: 3e-2, BF16: 2e-1, F32: 2e-2, F64: 2e-2}   # a rounding that falls the other way may be magnified some times


@programs(ci=16, nightly=600)
def test_halves(seed):
    """Values and gradients of programs that compute in float16, bfloat16, and these with wider floats."""
    floats = ((F16,), (BF16,), (F16, F32), (BF16, F64), (F16, BF16))[seed // 2 % 5]
    graph = random_graph(Recorder(seed), SIZES[seed % 7], length=4 + seed % 9, floats=floats, reverse=seed % 2 == 0)
    check_compiled(graph, random_arguments(graph, seed), ROUNDED)
    gradient = gradient_graph(graph) if seed % 4 == 0 else None
    if gradient is not None:
        check_compiled(gradient, random_arguments(gradient, seed), ROUNDED)


@programs(ci=40, nightly=1500)
def test_gradients(seed):
    graph = gradient_graph(program(seed - seed % 2))
    if graph is not None:
        check_compiled(graph, random_arguments(graph, seed))


@programs(ci=8, nightly=200)
def test_any_number_of_threads_gives_the_same_bits(seed):
    n, floats = (5000, 9973, 20000)[seed % 3], (F64,) if seed % 2 else (F32,)
    graph = random_graph(Recorder(seed), n, length=4 + seed % 8, floats=floats)
    arrays = random_arguments(graph, seed)
    compiled = check_compiled(graph, arrays)
    before = threads.get_num_threads()
    try:
        runs = []
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            runs.append([out.tobytes() for out in compiled.run(arrays)])
    finally:
        threads.set_num_threads(before)
    assert runs[0] == runs[1] == runs[2]


@programs(ci=10, nightly=300)
def test_a_new_size_compiles_no_kernel(seed):
    choices = Recorder(seed)
    floats, length = ((F64,), (F32,))[seed % 2], 4 + seed % 12
    first = random_graph(choices, 17, length=length, floats=floats)
    graphs = [first] + [random_graph(Recorder(seed, choices.made), n, length=length, floats=floats) for n in (64, 65, 1000)]
    for build in (lambda g: g, gradient_graph):
        known = build(first)
        if known is None:
            return
        compile_graph(known)
        for other in map(build, graphs[1:]):
            if other is not None and same_structure(known, other):   # a size may decide what a program is, and its gradient
                before = cache.info().misses
                compile_graph(other)
                assert cache.info().misses == before


def test_a_size_may_decide_whether_there_is_a_gradient():
    test_a_new_size_compiles_no_kernel.hypothesis.inner_test(245)   # found at night: some sizes have no float output


right = fuse.relation


def own_place(where, place, u):
    """A wrong relation: whatever has the shape of the loops is read at their place."""
    of_loops = where is not None and list(u.type.shape) == [p.terms[0][0].extent for p in place]
    return right(place if of_loops else where, place, u)


WRONG = {   # what is made wrong, and the steps and the shapes that show it
    "reads": ((fuse, "relation", own_place), ("unary", "binary", "reduction", "normalized", "movement"), [("n", "n")]),
    "integers": ((writer, "wrapping", lambda expr, names, dtype: (f"{dtype}(i8({expr}))", names)),
                 ("integers", "cast"), [("n",), (3, "n")]),
    "lifetimes": ((steps, "last_uses", lambda graph: {k: list(e.outputs) for k, e in enumerate(graph.eqns)}),
                  ("unary", "binary", "matmul", "running"), [("n", "n")])}


@pytest.mark.parametrize("name", WRONG)
def test_random_programs_find_what_is_wrong(monkeypatch, name):
    patch, kinds, shapes = WRONG[name]
    monkeypatch.setattr(*patch)
    monkeypatch.setattr(plan, "RESTING", 0)   # bytes are used again at once, so a value that is freed too early shows
    for seed in range(60):
        graph = random_graph(Recorder(seed), 6, floats=(F64,), steps=kinds, shapes=shapes)
        try:
            check_compiled(graph, random_arguments(graph, seed))
        except AssertionError:
            return
    pytest.fail("60 random programs found nothing")


def main(first, last):
    """Runs programs by hand, and prints a shrunk graph for each that fails."""
    def fails(graph, arrays):
        try:
            check_compiled(graph, arrays)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    for seed in range(first, last):
        for build in (lambda g: g, gradient_graph):
            graph = build(program(seed - seed % 2 if build is gradient_graph else seed))
            if graph is None:
                continue
            arrays = random_arguments(graph, seed)
            reason = fails(graph, arrays)
            if reason:
                small, values = shrink(graph, arrays, lambda g, a, start=reason[:20]: fails(g, a)[:20] == start)
                print(f"seed {seed}: {reason}\n{small}\n{fails(small, values)}\n", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
