"""Every op compiled against its NumPy body: all dtypes it admits, the values where arithmetic goes wrong, and awkward shapes.

Many ops share a graph, hence a kernel: that keeps the number of kernels to compile small.
"""
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from jitnet import ops
from jitnet.compile import compile_graph
from jitnet.errors import TraceTypeError
from jitnet.ir import eval_graph
from jitnet.op import OPS
from jitnet.op_kinds import Elementwise
from jitnet.testing_compiled import assert_agree, check_compiled, gradient_graph, graph_of
from jitnet.testing_compiled import check_function as check
from jitnet.testing_compiled import random_array as random
from jitnet.testing_ulp import ulp_distance
from jitnet.tree import leaves
from jitnet.types import BF16, DTYPES, F16, F32, F64, finfo, is_float, type_of_array

ELEMENTWISE = [op for op in OPS.values() if isinstance(op, Elementwise) and op is not ops.cast]
NEAR = {"lgamma", "digamma"}   # right to 4 ULP except near their zeros
NEAR_TOLERANCE = {F16: 2e-3, BF16: 1.6e-2, F32: 1e-5, F64: 1e-13}
SPECIAL_FLOATS = (0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3, -3, np.inf, -np.inf, np.nan, 1e-3, 7.25, 100.0, 1e10, -1e10,
                  0.3)
SPECIAL_INTS = (0, 1, 2, 3, 5, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 127, -1, -2, -3, -7, -64, -100)


def special(dtype):
    """The values of a dtype where arithmetic goes wrong."""
    if dtype.kind == "b":
        return np.array([False, True])
    if is_float(dtype):
        limits = finfo(dtype)
        return np.array([*SPECIAL_FLOATS, limits.max, limits.min, limits.tiny, -limits.tiny, limits.smallest_subnormal], dtype)
    limits = np.iinfo(dtype)
    edges = (limits.max, limits.max - 1, limits.min, limits.min + 1, limits.max // 2, limits.max // 3)
    return np.array([v for v in (*SPECIAL_INTS, *edges) if limits.min <= v <= limits.max], dtype)


def combinations(dtypes):
    """Flat arrays that together hold every combination of special values (of a few of them for three operands)."""
    values = [special(d)[:26 if len(dtypes) < 3 else 12] for d in dtypes]
    return [np.ascontiguousarray(a.ravel()) for a in np.meshgrid(*values, indexing="ij")]


def admitted(arity, dtype):
    """The elementwise ops of so many operands that take this dtype."""
    found = []
    for op in ELEMENTWISE:
        dtypes = [dtype] * arity
        if op is ops.where:
            dtypes[0] = np.dtype(bool)
        if len(op.array_names) == arity:
            try:
                op.out_types([type_of_array(np.zeros(1, d)) for d in dtypes], {})
            except TraceTypeError:
                continue
            found.append((op, tuple(dtypes)))
    return found


# Elementwise

def assert_close(op, found, wanted):
    """Exactly equal, floats to 4 ULP; NaN where NaN, and the sign of zeros."""
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), op.name
    if not is_float(wanted.dtype):
        np.testing.assert_array_equal(found, wanted, err_msg=op.name)
        return
    good = ulp_distance(found, wanted) <= 4
    if op.name in NEAR:
        good |= np.isclose(found, wanted, rtol=NEAR_TOLERANCE[wanted.dtype])
        good[-1] = True   # SciPy overflows at the smallest subnormal
    assert good.all(), f"{op.name}: {found[~good][:5]}, should be {wanted[~good][:5]}"


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_elementwise_values(name):
    for arity in (1, 2, 3):
        table = admitted(arity, DTYPES[name])
        for dtypes in dict.fromkeys(d for _, d in table):
            group = [op for op, d in table if d == dtypes]
            arrays = combinations(dtypes)
            if name[0] == "i" and ops.power in group:
                group.remove(ops.power)   # NumPy raises for negative powers
            graph = graph_of(lambda *xs, group=group: [op(*xs) for op in group], *arrays)
            found = compile_graph(graph).run(arrays)
            for op, f, w in zip(group, found, eval_graph(graph, *arrays), strict=True):
                assert_close(op, f, w)


@pytest.mark.parametrize("name", [n for n in DTYPES if n[0] == "i"])
def test_integer_powers(name):
    x, n = combinations([DTYPES[name]] * 2)
    check(ops.power, x, np.abs(n) & np.array(63, n.dtype))


@pytest.mark.parametrize("name", [n for n in DTYPES if n[0] in "iu"])
def test_integers_wrap_around_inside_a_kernel(name):
    """What overflows is never stored: its low bits count all the same."""
    def chain(a, b, c):
        s, p, m, n = a + b, a * b, a - b, -a
        odd = c | np.asarray(1, c.dtype)
        return [s > c, p > c, m > c, n > c, s // odd, p % odd, ops.abs(m), (a << 3) > c, s >> 1, p == c, ops.maximum(s, c),
                ops.sign(m), ops.sign(n), ops.abs(m) < 0, s / odd, ops.where(s > c, p, m), (~a) > c, (s * p - m) > c,
                ops.max(p),
                *(ops.cast(v, dtype=d) for v in (s, p, m, n, ~a, a << 5, ops.abs(a)) for d in (np.int64, np.float64)),
                ops.sum(s), ops.min(s + 1), ops.sum(p * m)]

    a, b, c = (random(70, DTYPES[name], seed) for seed in range(3))
    limits = np.iinfo(a.dtype)
    a[:4], b[:4] = [limits.min, limits.max, 0, limits.min], [limits.min, limits.max, limits.max, limits.max]
    check(chain, a, b, c)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", DTYPES)
def test_casts(name):
    x = special(DTYPES[name])
    if is_float(DTYPES[name]):   # what C leaves undefined is left out: out of range, and NaN
        exact = np.array([0.0, -0.0, 1.5, 2.5, 99.9, 127.0, -1.0, -2.7, -128.0], x.dtype)
        check(lambda x: [ops.cast(x, dtype=d) for d in DTYPES.values() if d.kind != "u"], exact)
        check(lambda x: [ops.cast(x, dtype=d) for d in DTYPES.values()], np.abs(exact))
        wide = np.array([v for v in (2.0 ** 31, 2.0 ** 32, 2.0 ** 40 + 3, 2.0 ** 62) if v <= finfo(x.dtype).max], x.dtype)
        check(lambda x: [ops.cast(x, dtype=d) for d in (np.int64, np.uint64)], wide)
        check(lambda x: [ops.cast(x, dtype=d) for d in (F32, F64, np.bool_)], x)
    else:
        check(lambda x: [ops.cast(x, dtype=d) for d in DTYPES.values()], x)


def test_comparisons_of_mixed_signs_and_bool_arithmetic():
    a = np.array([-1, 0, 2 ** 62, -2 ** 63, 5])
    b = np.array([2 ** 64 - 1, 0, 2 ** 62, 2 ** 63, 5], np.uint64)
    check(lambda a, b: [a < b, a > b, a == b, a >= b, a <= b, a != b], a, b)
    p, q = random((5, 7), "?"), random((5, 7), "?", 1)
    check(lambda a, b: [a + b, a * b, a ^ b, ~a, ops.sum(a), ops.any(a, axis=(0,)), ops.all(a, axis=(1,)), ops.min(a),
                        ops.max(a, axis=(1,)), ops.maximum(a, b), a < b, a == b, ops.prod(a, axis=(1,)),
                        ops.sum(a + b, axis=(1,))], p, q)


@pytest.mark.parametrize("name", DTYPES)
def test_constants(name):
    dtype = DTYPES[name]
    numbers = [np.asarray(v, dtype) for v in special(dtype)[-8:]]
    check(lambda c: [*(ops.where(c, v, numbers[0]) for v in numbers),
                     *(ops.broadcast_to(v, shape=(2, 3)) for v in numbers[:3])], random((4, 5), "?"))


PAIRS = [((), ()), ((), (3,)), ((5,), (1,)), ((1,), (5,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((4,), (2, 3, 4)),
         ((1, 1), (1,)), ((0,), (1,)), ((0, 3), (3,)), ((3, 0), (3, 1)), ((2, 1, 4), (1, 3, 1)), ((16,), (16,)),
         ((17, 65), (65,)), ((129, 255), (129, 1)), ((2, 1023), (2, 1)), ((1025,), ()), ((20000,), (1,)),
         ((3, 16385), (1, 16385))]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_broadcasting(pair):
    x, y = random(pair[0], F64), random(pair[1], F64, 1)
    check(lambda x, y: [ops.exp(x) * y + x, ops.maximum(x, y), x - 1.5], x, y)


# Reductions

REDUCED = [(1,), (7,), (0,), (1, 7), (7, 1), (1, 1), (5, 7), (16, 64), (17, 65), (130, 3), (3, 129), (1, 300), (300, 1), (0, 3),
           (3, 0), (1, 0, 1), (2, 3, 4), (1, 3, 4), (2, 1, 4), (2, 3, 1), (40, 1, 70), (5, 130, 7), (3, 4097), (1025, 3)]


@pytest.mark.parametrize("shape", REDUCED, ids=str)
def test_reductions_that_feed_broadcasts_that_feed_reductions(shape):
    x = random(shape, F64)
    for r in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), r):
            def kept(s, axes=axes):
                return ops.reshape(s, shape=tuple(1 if i in axes else n for i, n in enumerate(shape)))

            def function(x, axes=axes, kept=kept):
                t = ops.tanh(kept(ops.sum(x * x, axis=axes)) + 1.0)
                e = ops.exp(x - t)
                q = ops.sum(e, axis=axes)
                return [t, e / kept(q), ops.sqrt(q + 1.0), ops.sum(e * t, axis=axes), kept(ops.sum(x, axis=axes)) + x]

            check(function, x)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(5, 70), (300, 301)], ids=str)
def test_reductions_of_every_dtype(name, shape):
    dtype = DTYPES[name]
    x = random(shape, dtype)
    for axes in ((0,), (1,), (0, 1)):
        some = [ops.sum, ops.max, ops.min, ops.any, ops.all, ops.argmax, ops.argmin, *([] if is_float(dtype) else [ops.prod])]
        check(lambda x, axes=axes, some=some: [op(x, axis=axes) for op in some], x)


@pytest.mark.parametrize("name", [n for n in DTYPES if is_float(DTYPES[n])])
def test_products_of_floats(name):
    x = np.random.default_rng(2).uniform(0, 3, (5, 7)).astype(DTYPES[name])
    check(lambda x: [ops.prod(x, axis=axes) for axes in ((0,), (1,), (0, 1))], x)


def test_extremes_of_nan_and_infinities():
    x = random((40, 70), F64)
    x[3, 5], x[7], x[9], x[:, 2] = np.nan, np.inf, -np.inf, -np.inf
    every = (ops.max, ops.min, ops.argmax, ops.argmin)
    for values in (x, np.full((5, 6), -np.inf), np.full((5, 6), np.inf), np.full((5, 6), np.nan)):
        for axes in ((0,), (1,), (0, 1)):
            check(lambda x, axes=axes: [op(x, axis=axes) for op in every], values)


@pytest.mark.parametrize("shape", [(2, 200, 3), (40, 71), (7, 1001)], ids=str)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_an_extreme_equals_its_element_however_often_it_is_computed(shape, dtype):
    """A product fused into a sum in one loop and not in the other would make them differ, and the gradient vanish."""
    x = random(shape, dtype)

    def chain(x):
        c = ops.log(x * x + 1.0)
        return ops.arctan2(c, c * c + 1.0)

    for axis in range(len(shape)):
        def largest(x, axis=axis):
            kept = tuple(1 if a == axis else n for a, n in enumerate(shape))
            return chain(x) + ops.reshape(ops.max(chain(x), axis=(axis,)), shape=kept)

        check_compiled(gradient_graph(graph_of(largest, x)), [x])
        place, value = compile_graph(graph_of(lambda x, axis=axis: [ops.argmax(chain(x), axis=(axis,)), chain(x)], x)).run([x])
        np.testing.assert_array_equal(place, np.argmax(value, axis=axis))


def test_sums_and_products_are_rounded_one_by_one():
    x, y, z = (random(4099, F32, seed) for seed in range(3))
    found = compile_graph(graph_of(lambda x, y, z: [x * y + z, (x * y - z) / y, x * y * z + x * y], x, y, z)).run([x, y, z])
    for f, w in zip(found, [x * y + z, (x * y - z) / y, x * y * z + x * y], strict=True):
        np.testing.assert_array_equal(f, w)


@pytest.mark.parametrize("shape", [(500, 70), (33000, 1), (1, 66000), (3, 40000), (70000, 3)], ids=str)
def test_reductions_cut_into_chunks(shape):
    """Several results, and what follows from them."""
    x = random(shape, F64)
    check(lambda x: [ops.sum(x), ops.max(x), ops.sqrt(ops.sum(x * x) + 1.0), ops.exp(x), ops.any(x > 4.0),
                     x - ops.sum(x) / x.size, ops.argmax(x, axis=(0, 1)), ops.reshape(ops.sum(x), shape=(1, 1)) * 2.0], x)
    check(lambda x: [ops.sum(x, axis=(0,)), ops.max(x, axis=(0,)) * 2.0, ops.prod(1 + x * 1e-4, axis=(0,)), ops.tanh(x),
                     ops.sum(x, axis=(0,)) + ops.max(x, axis=(0,)), ops.reshape(ops.sum(x, axis=(0,)), shape=(1, -1)) * 3.0], x)


# Gradients and jitnet.numpy

@pytest.mark.parametrize("arity", [1, 2, 3])
def test_gradients_of_elementwise_ops(arity):
    rng = np.random.default_rng(3)
    group = [(op, d) for op, d in admitted(arity, F64) if op.samples and not op.samples.integers
             and op.out_types([type_of_array(np.zeros(1, k)) for k in d], {})[0].dtype == F64]
    arrays, places = [], []
    for op, dtypes in group:
        ranges = (*op.samples.ranges, *[op.samples.ranges[-1]] * arity)
        places.append(len(arrays))
        arrays += [rng.uniform(*r, 5).round(2).astype(d) for r, d in zip(ranges, dtypes)]
    graph = graph_of(lambda *xs: [op(*xs[k:k + arity]) for (op, _), k in zip(group, places)], *arrays)
    gradient = gradient_graph(graph)
    floats = {F32: 1e-4, F64: 1e-10}
    check_compiled(gradient, arrays, floats)


def numpy_calls():
    """The calls of tests/numpy/test_functions.py: name -> (function, arguments)."""
    path = Path(__file__).parent / "numpy" / "test_functions.py"
    spec = importlib.util.spec_from_file_location("numpy_functions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CALLS


@pytest.mark.parametrize("name", numpy_calls())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numpy_functions_compiled(name):
    function, *arguments = numpy_calls()[name]
    arrays = [np.ascontiguousarray(a).reshape(np.shape(a)) for a in arguments]
    graph = graph_of(function, *arrays)
    with np.errstate(all="ignore"):
        wanted = [np.asarray(w) for w in leaves(function(*[a.copy() for a in arrays]))]
    assert_agree(compile_graph(graph).run(arrays), wanted, {F32: 1e-5, F64: 1e-10})
