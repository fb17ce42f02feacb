"""Sizes never seen: templates make their programs, without a trace, and these programs do what NumPy does."""
import gc
import math
import sys
import weakref

import numpy as np
import pytest

import jitnet
from jitnet import tree
from jitnet.families import LOST, MOST_FAILURES
from jitnet.runtime import layout, native

SIZES = (5, 7, 9, 12, 33)


@pytest.fixture(autouse=True)
def checked(monkeypatch):
    """What the compiler cannot do with open sizes is an error, not a reason to do without."""
    monkeypatch.setenv("JITNET_CHECK", "1")


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check(function, make, sizes=SIZES, meaning=None, tolerance=1e-5):
    """Runs the compiled function at every size against NumPy; returns it."""
    f = jitnet.jit(function)
    for n in sizes:
        args = make(n)
        expected = (meaning or function)(*[a.copy() for a in args])
        found, structure = tree.flatten(f(*args))
        expected, expected_structure = tree.flatten(expected)
        assert structure == expected_structure
        for x, y in zip(found, expected, strict=True):
            x, y = np.asarray(x), np.asarray(y)
            assert (x.shape, x.dtype) == (y.shape, y.dtype), n
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=f"size {n}")
    return f


def families(f):
    return [family for variant in f._programs.variants.values() for family in variant.families.values()]


def rows(n):
    return (normal(n, n, 6),)


def write(x):
    y = x * 1
    y[1:] = 0
    y[0] += x[-1]
    return y


def update(x):
    x[1:-1] = x[:-2] + x[2:]
    return x.sum()


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


OPEN = {
    "softmax": softmax,
    "mean": lambda x: x - x.mean(),
    "variance": lambda x: (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5),
    "ddof": lambda x: x.std(axis=0, ddof=1),
    "flat": lambda x: x.reshape(-1) * 2,
    "division by a size": lambda x: x.sum() / x.shape[0] - x.shape[0] * 0.5,
    "root of a size": lambda x: x / np.sqrt(x.shape[0]),
    "float of a size": lambda x: x * (1.0 / x.shape[0]) + x.shape[0] ** 2,
    "neighbours": lambda x: x[1:-1] + x[2:] - x[:-2],
    "backwards": lambda x: x[::-1] + x,
    "every second": lambda x: x[::2].sum(axis=0),
    "half": lambda x: x[:x.shape[0] // 2] * 3,
    "transposed": lambda x: x.T + 1,
    "gram": lambda x: x.T @ x,
    "outer": lambda x: x[:, None, 0] * x[None, :, 1],
    "pairs": lambda x: np.sqrt(((x[:, None, :] - x[None, :, :]) ** 2).sum(-1)),
    "joined": lambda x: np.concatenate([x, x * 2], axis=0),
    "padded": lambda x: np.pad(x, ((1, 2), (0, 0))),
    "stacked": lambda x: np.stack([x, x + 1], axis=1),
    "tiled": lambda x: np.tile(x, (2, 1)),
    "rolled": lambda x: np.roll(x, 1, axis=0),
    "sorted": lambda x: np.sort(x, axis=0),
    "running": lambda x: np.cumsum(x, axis=0),
    "percentile": lambda x: np.percentile(x, 30, axis=0),
    "covariances": lambda x: np.cov(x.T),
    "argmax": lambda x: np.argmax(x, axis=0),
    "written": write,
    "one size twice": lambda x: x / x.shape[0] + x.max() / x.shape[0] + (1 / x.shape[0]) * x[::-1] + x * (1 / x.shape[0]),
    "two means": lambda x: x.mean() + (x * x).mean(),
    "one root twice": lambda x: x * np.sqrt(x.shape[0]) + x[::-1] * np.sqrt(x.shape[0]),
    "size as a result": lambda x: (x.shape[0], x[0]),
    "zeros": lambda x: np.zeros_like(x) + x,
}


@pytest.mark.parametrize("name", OPEN)
def test_no_trace_from_the_third_size_on(name):
    f = check(OPEN[name], rows)
    assert f.traces == 2, families(f)[0].reason


def test_arguments_that_are_written_into():
    f = jitnet.jit(update)
    for n in SIZES:
        x = normal(n, n, 6)
        y = x.copy()
        np.testing.assert_allclose(f(x), update(y), rtol=1e-5)
        np.testing.assert_allclose(x, y, rtol=1e-6)
    assert f.traces == 2


def test_sizes_of_0_and_1_have_programs_of_their_own():
    f = check(lambda x, y: x + y, lambda n: (normal(n, n, 4), normal(n, 3, 1, 4)), (5, 7, 1, 9, 0, 12))
    assert f.traces == 4  # 5; open at 7; 1; 0


def test_a_branch_on_a_size_is_guarded():
    f = check(lambda x: x * 2 if x.shape[0] > 8 else x * 3, rows, (5, 7, 9, 12, 6, 8, 33))
    assert f.traces == 4  # 5; open at 7; open at 9, beyond the guard; 12, its proof


@pytest.mark.parametrize("small", [3, 6, 9])
def test_a_size_that_is_looked_up(small):
    """A table asks for the hash of a size first: whatever it answers holds for this size alone."""
    f = jitnet.jit(lambda x: x * 2 if x.shape[0] in {3, 6, 9} else x * 3)
    for n in (5, 7, small, 12):
        np.testing.assert_array_equal(f(np.ones(n)), np.full(n, 2.0 if n in {3, 6, 9} else 3.0))


READS = {
    "int": int, "float": float, "hash": hash, "math": math.sqrt, "index": [9, 8, 7].index, "bits": lambda n: n & 1,
    "text": lambda n: int(f"{n}" + str(n)), "range": lambda n: sum(range(n)), "key": lambda n: {n: 5}.get(8, 0),
    "numpy": lambda n: int(np.arange(n).sum()), "list": lambda n: len([0] * n), "lookup": lambda n: {7: 3, 8: 4}.get(n, 5),
}


@pytest.mark.parametrize("name", READS)
def test_whatever_reads_a_size_holds_for_that_size_alone(name):
    check(lambda x: x * 2 + READS[name](x.shape[0]), lambda n: (np.full(n, 2.0),), (7, 8, 9, 8, 7))


def test_rounds_of_python_loops():
    f = check(lambda x: sum(x[i] * i for i in range(x.shape[0])), rows)
    assert f.traces == len(SIZES) and families(f)[0].failures == MOST_FAILURES
    line = test_rounds_of_python_loops.__code__.co_firstlineno + 1
    assert jitnet.explain_retrace(f) == (
        "`<lambda>` was traced 5 times, the last time because\n"
        "  argument `x`: shape changed, f32[12,6] became f32[33,6]\n"
        f"  every size needs a trace: Python code needs the size as a number at test_new_sizes.py:{line}")


def test_a_way_out_of_reading_a_size():
    f = check(lambda x: x.sum(axis=0) / len(x), rows)
    assert families(f)[0].reason.endswith("(`x.shape[0]` in place of `len(x)` does not)")
    assert check(lambda x: x.sum(axis=0) / x.shape[0], rows).traces == 2


def test_sizes_equal_by_coincidence():
    """A batch as large as a width: rows and columns must not be taken for one another, in any order of sizes."""
    def function(x, w):
        h = np.maximum(x @ w, 0)
        return h / h.shape[0], h.sum(axis=0), x.T

    for sizes in ((6, 4, 9, 12, 6, 4), (9, 6, 12, 4, 33), (4, 6, 5, 9)):
        check(function, lambda n: (normal(n, n, 6), normal(1, 6, 4)), sizes, tolerance=1e-4)


def test_two_sizes_equal_at_first():
    def make(n):
        return normal(n, n if n < 10 else n + 1, 3), normal(n, n, 3)

    f = check(lambda x, y: (x[:, None] * y[None]).sum(axis=-1), make, (5, 7, 9, 12, 15, 18), tolerance=1e-4)
    assert f.traces == 3


def test_errors_at_a_size_are_the_ordinary_ones():
    f = jitnet.jit(lambda x, y: x + y)
    f(np.ones(5), np.ones(5))
    f(np.ones(6), np.ones(6))
    with pytest.raises(jitnet.errors.TraceTypeError, match=r"shapes do not broadcast: f64\[7\] and f64\[8\]"):
        f(np.ones(7), np.ones(8))
    np.testing.assert_array_equal(f(np.ones(9), np.ones(9)), np.full(9, 2.0))


def test_errors_do_not_count_against_templates():
    f = jitnet.jit(lambda x, y: x @ y)
    f(normal(1, 5, 4), normal(2, 4, 3))
    for n in range(6, 18):
        with pytest.raises(jitnet.errors.TraceTypeError):
            f(normal(1, n, 4), normal(2, n, 3))
    for n in (6, 7, 8):
        f(normal(1, n, 4), normal(2, 4, 3))
    assert f.traces == 2 and families(f)[0].failures == 0


def test_index_errors_of_a_template():
    f = jitnet.jit(lambda x, i: x[i])
    for n in (5, 7):
        f(normal(n, n, 3), np.arange(4))
    with pytest.raises(IndexError, match="out of bounds"):
        f(normal(9, 9, 3), np.array([1, 2, 3, 9]))
    with pytest.raises(IndexError, match="out of bounds"):
        f(normal(9, 9, 3), np.array([1, 2, 3, 9]))
    assert f.traces == 2


def test_index_errors_of_a_program_that_made_room(monkeypatch):
    """A native entry may still hold a program whose record went."""
    monkeypatch.setattr(sys.modules["jitnet.making"], "MAX_RECORDS", 4)
    f = jitnet.jit(lambda x, i: x[i])
    for n in range(5, 20):
        f(normal(n, n, 3), np.arange(4))
        f(normal(5, 5, 3), np.arange(4))
    with pytest.raises(jitnet.errors.TraceIndexError, match="out of bounds"):
        f(normal(5, 5, 3), np.array([1, 2, 3, 9]))


def test_idle_programs_keep_little_memory():
    words = native.api().words
    f = jitnet.jit(lambda x: np.sort(x) + np.sort(-x)[::-1].sum())
    before, bound = int(words[layout.IDLE_BYTES]), int(words[layout.IDLE_BOUND])
    f(np.ones(20_000))
    kept = int(words[layout.IDLE_BYTES]) - before
    assert kept > 160_000
    try:
        words[layout.IDLE_BOUND] = before + 3 * kept
        for n in (*range(20_001, 20_031), *range(20_001, 20_031)):
            np.testing.assert_array_equal(f(np.ones(n)), np.full(n, 1.0 - n))
            assert words[layout.IDLE_BYTES] <= before + 3 * kept
    finally:
        words[layout.IDLE_BOUND] = bound
    f.clear()
    gc.collect()
    assert words[layout.IDLE_BYTES] <= before


@pytest.mark.parametrize("rounds", [(5, 7, 9, 12, 33, 10), (4, 8, 1, 0, 6, 3)])
def test_loops(rounds):
    def scan(h, xs):
        return jitnet.scan(lambda h, x: (np.tanh(x + h), h * 2), h, xs)

    def meaning(h, xs):
        ys = np.empty((len(xs), *h.shape), h.dtype)
        for k, x in enumerate(xs):
            ys[k] = h * 2
            h = np.tanh(x + h)
        return h, ys

    f = check(scan, lambda n: (normal(1, 4), normal(n, n, 4)), rounds, meaning)
    assert f.traces <= 5  # an even number of rounds and an odd one are two programs; 0 and 1 have their own
    check(lambda x: jitnet.fori_loop(0, x.shape[0], lambda i, c: c + x[i], x[0]), lambda n: (normal(n, n + 1, 4),), rounds,
          lambda x: x.sum(axis=0) + x[0], 1e-4)


def test_transforms():
    loss = lambda x: (np.tanh(x) ** 2).mean()
    f = check(jitnet.grad(loss), rows, meaning=lambda x: 2 * np.tanh(x) * (1 - np.tanh(x) ** 2) / np.float32(x.size))
    assert f.traces == 2
    f = check(jitnet.vmap(lambda x: np.exp(x) / np.exp(x).sum()), rows,
              meaning=lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))
    assert f.traces == 2


LOSSES = {
    "likelihood": lambda w, x: -np.mean(np.sum((x @ w) * x[:, :3], axis=1)),
    "sum by a size": lambda w, x: -0.5 * np.sum((x @ w) ** 2) / x.shape[0],
    "root of a size": lambda w, x: np.sum(x @ w) / x.shape[0] ** 0.5,
    "log of a sum": lambda w, x: -np.mean(np.log(np.sum(np.exp(x @ w), axis=1))),
    "deviations of columns": lambda w, x: 3 - np.mean(np.std(x @ w, axis=0)),
    "centred": lambda w, x: -np.mean(((x @ w) - np.mean(x @ w, axis=0)) ** 2),
    "maxima": lambda w, x: -np.mean(np.max(x @ w, axis=1)) + 0.01 * np.sum(w * w),
    "steps": lambda w, x: -np.mean((x @ w)[1:] - (x @ w)[:-1]),
    "padded twice": lambda w, x: np.mean(np.pad(x @ w, ((1, 2), (0, 0)))[1:, :] * 2 - np.pad(x @ w, ((0, 2), (0, 0)))),
    "joined": lambda w, x: -np.mean(np.concatenate([x @ w, x @ w * 2], axis=1)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_losses_need_no_trace_from_the_third_size_on(name):
    loss, w = LOSSES[name], normal(1, 6, 3)
    f = check(jitnet.value_and_grad(loss), lambda n: (w, normal(n, n, 6)), sizes=(33, 41, 50, 67), tolerance=1e-4,
              meaning=lambda w, x: (np.float32(loss(w, x)), by_differences(loss, w.astype(np.float64), x.astype(np.float64))))
    assert f.traces == 2, families(f)[0].reason


def by_differences(loss, w, x, step=1e-6):
    """The gradient with respect to w, by central differences in float64."""
    gradient = np.empty(w.shape)
    for at in np.ndindex(w.shape):
        up, down = w.copy(), w.copy()
        up[at] += step
        down[at] -= step
        gradient[at] = (loss(up, x) - loss(down, x)) / (2 * step)
    return gradient.astype(np.float32)


def test_static_arguments_have_templates_of_their_own():
    f = jitnet.jit(lambda x, axis: x.sum(axis=axis), static_argnames="axis")
    for n in SIZES:
        for axis in (0, 1):
            np.testing.assert_allclose(f(normal(n, n, 6), axis), normal(n, n, 6).sum(axis=axis), rtol=1e-4, atol=1e-5)
    assert f.traces == 4


def test_containers_and_arrays():
    f = jitnet.jit(lambda p: {"y": p["x"] * p["s"], "m": p["x"].mean()})
    for n in SIZES:
        out = f({"x": jitnet.asarray(normal(n, n)), "s": 2.0})
        assert isinstance(out["y"], jitnet.Array)
        np.testing.assert_allclose(np.asarray(out["y"]), normal(n, n) * 2)
    assert f.traces == 2


def test_random_numbers():
    """The state is written when all is done, as NumPy's sort may fail: the program is planned twice."""
    def draw(g, x):
        return x + g.normal(size=x.shape), g.integers(0, 10, size=x.shape[0]), g.uniform(size=3), g.permutation(x)

    f = jitnet.jit(draw)
    for n in SIZES:
        g, same = jitnet.random.Generator(n), jitnet.random.Generator(n)
        for found, expected in zip(f(g, np.ones(n)), draw(same, np.ones(n)), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert g.random() == same.random()
    assert f.traces == 2


def test_large_sizes_cross_every_threshold():
    sizes = (9, 1000, 5000, 40_000, 130_000, 700_001, 33)
    check(lambda x: (x - x.mean(0)) / x.std(0), lambda n: (normal(n, n, 4),), sizes, tolerance=1e-3)
    check(lambda x: (x.T * 2, x.sum()), lambda n: (normal(n, n, 3),), sizes[:5], tolerance=2e-2)
    check(lambda x: x.sum(axis=0), lambda n: (normal(n, 3, n),), sizes, tolerance=1e-3)


def test_looking_inside_what_a_template_made():
    f = jitnet.jit(lambda x: np.exp(x).sum(axis=1))
    for n in (5, 7, 9):
        f(normal(n, n, 6))
    x = normal(9, 9, 6)
    assert f.traces == 2
    assert str(f.graph(x).inputs[0].type) == "f32[9,6]"
    assert "reads 216 B" in f.explain(x) and "def kernel" in f.source(x) and f.memory(x)
    assert f.lower(x).kernels and f.traces == 2
    assert "f32[5,6] became f32[7,6]" in jitnet.explain_retrace(f)


POWERS = {
    "of a negative number": lambda x: x * (-1) ** x.shape[0],
    "int or float": lambda x: x * 2 ** (x.shape[0] - 8),
}


@pytest.mark.parametrize("name", POWERS)
def test_powers_of_sizes(name):
    for sizes in ((5, 7, 8, 9, 6, 12), (9, 11, 12, 7, 10, 5)):
        check(POWERS[name], lambda n: (np.arange(n, dtype=np.int32),), sizes)


def test_what_leaks_out_of_a_trace_is_a_plain_number():
    kept = []
    f = jitnet.jit(lambda x: (kept.append(x.shape[0]), x * 2)[1])
    for n in (5, 7):
        f(np.ones(n))
    assert kept[-1] + 1 == 8 and list(range(kept[-1])) == list(range(7)) and f"{kept[-1]}" == "7"
    np.testing.assert_array_equal(f(np.ones(9)), np.full(9, 2.0))


def test_user_arrays_are_not_kept_alive():
    f = jitnet.jit(lambda x: x * 2)
    arrays = [np.ones(n) for n in SIZES]
    alive = [weakref.ref(a) for a in arrays]
    for a in arrays:
        f(a)
    del arrays, a
    gc.collect()
    assert not any(ref() is not None for ref in alive)


# Random programs

def steps_of(rng):
    """A random program on an (n, 4) array, as a list of functions of arrays of any number of rows."""
    pool = [
        lambda x: x * 0.5 + 1, lambda x: np.tanh(x), lambda x: x - x.mean(axis=0), lambda x: x / (1 + np.abs(x).max()),
        lambda x: x[1:] * x[:-1], lambda x: x[::-1], lambda x: np.concatenate([x, -x]), lambda x: x[:x.shape[0] // 2 + 1],
        lambda x: x.reshape(-1, 4), lambda x: (x.T * 2).T, lambda x: x + np.arange(4, dtype=np.float32),
        lambda x: np.where(x > 0, x, 0.1 * x), lambda x: x @ np.full((4, 4), 0.25, np.float32), lambda x: x / x.shape[0],
        lambda x: np.pad(x, ((1, 0), (0, 0))), lambda x: x - x.sum(axis=1, keepdims=True), lambda x: np.sort(x, axis=0),
        lambda x: x[::2], lambda x: np.cumsum(x, axis=0) / x.shape[0], lambda x: x * 2 if x.shape[0] > 6 else x * 3,
        lambda x: (x[:, None] - x[None, :3]).sum(axis=1), lambda x: np.tile(x, (2, 1)),
        lambda x: np.swapaxes(x.reshape(x.shape[0], 2, 2), 1, 2).reshape(-1, 4), lambda x: x + x[x.argmax(axis=0)[0]],
    ]
    return [pool[k] for k in rng.integers(0, len(pool), rng.integers(1, 7))]


@pytest.mark.parametrize("seed", range(24))
def test_random_programs(seed):
    rng = np.random.default_rng(seed)
    steps = steps_of(rng)

    def program(x):
        for step in steps:
            x = step(x)
        return x, x.sum(axis=0) / (x.size + 1)

    primes = [13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61]   # no number of the program by coincidence
    f = check(program, lambda n: (normal(n, n, 4),), [int(n) for n in rng.choice(primes, 5)], tolerance=1e-4)
    assert all(family.reason != LOST for family in families(f))
    check(program, lambda n: (normal(n, n, 4),), [2, 5, 4, 8, 3, 6, 16], tolerance=1e-4)


def test_a_size_kept_from_an_earlier_trace():
    kept = {}

    def function(x):
        first = kept.setdefault("rows", x.shape[0])
        return x * 2 if x.shape[0] == first else x * (3 + x.shape[0] - first + first * 0)

    for sizes in ((5, 7, 9, 7, 12), (7, 7, 9, 12, 5)):
        kept.clear()
        f = jitnet.jit(function)
        for n in sizes:
            scale = 2 if n == sizes[0] else 3 + n - sizes[0]
            np.testing.assert_array_equal(f(np.ones(n)), np.full(n, float(scale)), err_msg=f"{n} of {sizes}")


def test_a_size_kept_from_the_open_trace():
    kept = []

    def function(x):
        kept.append(x.shape[0])
        return x * (x.shape[0] - kept[min(len(kept) - 1, 1)])

    f = jitnet.jit(function)
    for n in (5, 7):
        f(np.ones(n))
    np.testing.assert_array_equal(f(np.ones((9,), np.float32)), np.full(9, 2.0))   # another dtype: traced for itself
