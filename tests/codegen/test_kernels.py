"""Fused kernels against what their graphs mean: every form of loop nest, on sizes around the edges of blocks and chunks."""
import numpy as np
import pytest

from jitnet import ops
from jitnet.codegen import nest
from jitnet.compile import compile_graph
from jitnet.control import fori_loop
from jitnet.ir import check_graph, eval_graph
from jitnet.jit import jit
from jitnet.runtime import cache
from jitnet.tracer import trace
from jitnet.types import F32, ArrayType


def keep(s, x, axis):
    return ops.reshape(s, shape=tuple(1 if i == axis else n for i, n in enumerate(x.shape)))


def chain(a, b):
    return [ops.tanh(a * b + 3.0) * a + a]


def bias(x, b):
    return [ops.maximum(x + b, 0.0)]


def softmax(x, axis=-1):
    axis %= x.ndim
    e = ops.exp(x - keep(ops.max(x, axis=(axis,)), x, axis))
    return [e / keep(ops.sum(e, axis=(axis,)), x, axis)]


def softmax_1(x):
    return softmax(x, 1)


def softmax_0(x):
    return softmax(x, 0)


def layer_norm(x, g, b):
    n, axis = float(x.shape[-1]), x.ndim - 1
    d = x - keep(ops.sum(x, axis=(axis,)), x, axis) / n
    return [d / ops.sqrt(keep(ops.sum(d * d, axis=(axis,)), x, axis) / n + 1e-5) * g + b]


def moments_0(x):
    n = float(max(1, x.shape[0]))
    d = x - ops.sum(x, axis=(0,)) / n
    return [ops.sum(x, axis=(0,)) / n, ops.sum(d * d, axis=(0,)) / n]


def total(x):
    return [ops.sum(x * x, axis=(0, 1)) / float(max(1, x.size))]


def column_sum(x):
    return [ops.sum(x * x, axis=(0,))]


def column_sum_root(x):
    return [ops.sqrt(ops.sum(x * x, axis=(0,))), x * 2.0]


def sum_middle(x):
    return [ops.sum(x, axis=(1,))]


def sum_outer_inner(x):
    return [ops.sum(x, axis=(0, 2))]


def several(x):
    return [ops.sum(x, axis=(0, 1)), ops.max(x, axis=(0, 1)), ops.exp(x)]


def both_axes(x):
    return [ops.sum(x, axis=(0,)), ops.sum(x, axis=(1,))]


def transposed(x):
    return [ops.transpose(x) * 2.0]


def transposed_sum(x, y):
    return [ops.transpose(x) + y]


def flattened(x):
    return [ops.reshape(ops.tanh(x) + 1.0, shape=(-1,)) * 2.0, ops.reshape(ops.transpose(x), shape=(-1,))]


def plain_outputs(x):
    return [ops.transpose(x), x, ops.reshape(x, shape=(-1,)), ops.reshape(ops.exp(x), shape=(-1,)), ops.exp(x), x]


def products(x, y):
    return [ops.matmul(ops.transpose(x), y), ops.matmul(ops.tanh(x), ops.transpose(ops.tanh(x)))]


def layer(x, w, b):
    h = ops.tanh(ops.matmul(x, w) + b)
    return [h, ops.sum(h, axis=(0,))]


def distances(x, y):
    d = ops.reshape(x, shape=(x.shape[0], 1, x.shape[1])) - ops.reshape(y, shape=(1, *y.shape))
    return [ops.sum(d * d, axis=(2,))]


def picked(x):
    first = ops.cast(ops.sum(x, axis=(0, 1)) * 0.0, dtype=np.int64)   # indices that are computed
    places = ops.broadcast_to(ops.reshape(first, shape=(1,)), shape=(7,)) + np.arange(7)
    return [ops.gather(x, places * 2, axes=(1,)) * 2.0]


def batch_transposed(x, b):
    return [ops.exp(ops.transpose(x, axes=(0, 2, 1))) + b]


def regions(x, y):
    return [ops.concatenate(x * 2.0, y, axis=1), ops.slice(x, start=(1, 2), size=(3, 4), step=(2, 3)),
            ops.pad(x, np.float32(3), low=(1, 2), high=(3, 4)), ops.update_slice(x, y, start=(0, 4), step=(1, 1))]


def reversed_sum(x):
    return [ops.slice(x, start=(x.shape[0] - 1, 0), size=x.shape, step=(-1, 1)) + x]


CASES = {
    chain: [[(5, 7), (5, 7)], [(300, 401), (300, 401)]],
    bias: [[(5, 7), (7,)], [(200, 1000), (1000,)], [(1, 7), (7,)], [(3, 40000), (40000,)]],
    softmax: [[(5, 70)], [(3, 5000)], [(3, 4, 5)]],
    softmax_1: [[(3, 4, 5)], [(3, 4, 5, 6)]],
    softmax_0: [[(50, 7)], [(50, 300)]],
    layer_norm: [[(5, 70), (70,), (70,)], [(3, 5, 70), (70,), (70,)]],
    moments_0: [[(100, 300)], [(1, 300)], [(100, 1)]],
    total: [[(50, 7)], [(500, 700)], [(1, 1)], [(0, 3)]],
    column_sum: [[(50, 7)], [(5000, 70)], [(999, 700)], [(3, 0)], [(0, 3)]],
    column_sum_root: [[(5000, 70)]],
    sum_middle: [[(5, 60, 7)], [(5, 61, 300)]],
    sum_outer_inner: [[(5, 6, 7)]],
    several: [[(300, 400)]],
    both_axes: [[(300, 400)]],
    transposed: [[(50, 70)], [(1, 70)], [(16, 16)], [(129, 65)]],
    transposed_sum: [[(70, 50), (50, 70)]],
    flattened: [[(30, 40)]],
    plain_outputs: [[(30, 40)]],
    products: [[(30, 40), (30, 20)]],
    layer: [[(5, 7), (7, 3), (3,)]],
    distances: [[(30, 4), (20, 4)]],
    picked: [[(30, 40)]],
    batch_transposed: [[(3, 4, 5), (4,)], [(3, 40, 50), (40,)]],
    regions: [[(10, 20), (10, 3)]],
    reversed_sum: [[(6, 5)], [(0, 5)]],
}


def case_name(v):
    return v.__name__ if callable(v) else "_".join("x".join(map(str, shape)) for shape in v)


@pytest.mark.parametrize(("function", "shapes"), [(f, shapes) for f, cases in CASES.items() for shapes in cases], ids=case_name)
def test_kernels_agree_with_numpy(function, shapes):
    rng = np.random.default_rng(0)
    types = [ArrayType(s, F32) for s in shapes]
    graph = trace(function, types, function.__name__).graph
    compiled = compile_graph(graph)
    for _, stage in compiled.stages:
        check_graph(stage)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    for got, want in zip(compiled.run(arrays), eval_graph(graph, *arrays), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("function", [bias, softmax, layer_norm, column_sum, transposed, moments_0])
def test_a_new_size_compiles_no_kernel(function):
    def run(rows, columns):
        shapes = [(rows, columns)] + [(columns,)] * {"bias": 1, "layer_norm": 2}.get(function.__name__, 0)
        compile_graph(trace(function, [ArrayType(s, F32) for s in shapes], "f").graph)

    run(8, 16)
    before = cache.info().misses
    for rows, columns in ((9, 16), (64, 17), (1000, 300), (3, 5000)):
        run(rows, columns)
    assert cache.info().misses == before


def test_fusion_makes_one_kernel_of_softmax_and_layer_norm():
    for function, shapes in ((softmax, [(8, 16)]), (layer_norm, [(8, 16), (16,), (16,)]), (chain, [(8, 16), (8, 16)])):
        compiled = compile_graph(trace(function, [ArrayType(s, F32) for s in shapes], "f").graph)
        assert len(compiled.kernels) == 1


def test_a_loop_that_writes_into_its_carry_copies_nothing():
    def step(i, carry):
        head = ops.slice(carry, start=(0,), size=(2,), step=(1,))
        return ops.update_slice(carry, ops.exp(head), start=(1,), step=(1,))

    x = np.linspace(0, 1, 1000, dtype=np.float32)
    graph = trace(lambda a: [fori_loop(0, 5, step, a)], [ArrayType((1000,), F32)], "fill").graph
    compiled = compile_graph(graph)
    np.testing.assert_allclose(compiled.run([x])[0], eval_graph(graph, x)[0], rtol=1e-6)
    copied = [k.reads for k in compiled.kernels if k.kind == "copy" and k.reads > 8]
    assert copied == [4000]   # the initial value alone


# Outputs written past the caches

def two_outputs(x, y):
    return [x + y, ops.cast(x > y, dtype=np.dtype(bool))]


def turned_twice(x, y):
    """Two loads along other axes than the output's last, one of them reversed and one read again."""
    z = ops.transpose(x, axes=(0, 2, 1))
    return [ops.slice(z, start=(2, 0, 0), size=z.shape, step=(-1, 1, 1)) - ops.transpose(y, axes=(2, 0, 1)) * z]


def normalized(x, axis):
    n = float(x.shape[axis])
    d = x - keep(ops.sum(x, axis=(axis,)), x, axis) / n
    return [d / ops.sqrt(keep(ops.sum(d * d, axis=(axis,)), x, axis) / n + 1e-5), ops.max(d, axis=(axis,))]


STREAMED = [(bias, (5000,), (5000,)), (bias, (37, 1000), (1000,)), (transposed, (150, 333)),
            (two_outputs, (20, 901), (20, 901)), (transposed_sum, (333, 150), (150, 333)),
            (turned_twice, (3, 260, 131), (131, 260, 3)),
            (lambda x: [ops.slice(x, start=(1, 1), size=(30, 700), step=(1, 1)) * 2.0], (33, 703))]
REDUCED = [(softmax, (7, 300)), (softmax, (2, 20000)), (softmax_0, (33, 301)), (softmax_1, (3, 17, 260)),
           (lambda x: normalized(x, 0), (21, 700)), (lambda x: normalized(x, 1), (7, 515)),
           (lambda x: normalized(x, 1), (4, 31, 140)), (layer_norm, (6, 513), (513,), (513,))]


@pytest.mark.parametrize("case", STREAMED, ids=range(len(STREAMED)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int16])
def test_outputs_written_past_the_caches(case, dtype, monkeypatch):
    f, *shapes = case
    types = [ArrayType(s, np.dtype(dtype)) for s in shapes]
    graph = trace(f, types, "f").graph
    xs = [np.random.default_rng(3).integers(-9, 9, s).astype(dtype) for s in shapes]
    plain = compile_graph(graph)
    monkeypatch.setattr(nest, "PAST_CACHES", 0)
    streamed = compile_graph(graph)
    assert "stream_" not in plain.kernels[0].source
    assert "stream_" in streamed.kernels[0].source
    for a, b, want in zip(plain.program.run(xs), streamed.program.run(xs), eval_graph(graph, *xs)):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(b, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.float16])
def test_large_tiles_cut_at_cache_lines(dtype, monkeypatch):
    """Arrays and rows of the output that begin anywhere in a line, outputs of smaller elements than what is turned."""
    monkeypatch.setattr(nest, "PAST_CACHES", 0)
    functions = [lambda x, y: x.T, lambda x, y: x + y.T, lambda x, y: x.T * y - x.T, lambda x, y: x < y.T,
                 lambda x, y: x.T[1:, 2:] + x.T[:-1, :-2] * y[1:, 2:]]
    compiled = [jit(f) for f in functions]
    rng = np.random.default_rng(8)
    for (n, m), start in (((515, 520), 0), ((515, 517), 3), ((130, 1000), 1), ((1001, 128), 4)):
        x, y = (rng.integers(-9, 9, n * m + start).astype(dtype)[start:].reshape(shape) for shape in ((n, m), (m, n)))
        for f, compiled_f in zip(functions, compiled, strict=True):
            np.testing.assert_array_equal(compiled_f(x, y), f(x, y))
            assert start or "stream_" in compiled_f.source(x, y)


@pytest.mark.parametrize("case", REDUCED, ids=range(len(REDUCED)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_passes_after_reductions_written_past_the_caches(case, dtype, monkeypatch):
    """What waits between two passes lies on the stack then, or is computed again."""
    f, *shapes = case
    graph = trace(f, [ArrayType(s, np.dtype(dtype)) for s in shapes], "f").graph
    xs = [np.random.default_rng(3).standard_normal(s).astype(dtype) for s in shapes]
    plain = compile_graph(graph)
    monkeypatch.setattr(nest, "PAST_CACHES", 0)
    streamed = compile_graph(graph)
    assert "stream_" not in plain.kernels[0].source
    assert "stream_" in streamed.kernels[0].source
    for a, b, want in zip(plain.program.run(xs), streamed.program.run(xs), eval_graph(graph, *xs)):
        np.testing.assert_allclose(b, a, rtol=1e-6 if dtype == np.float32 else 1e-14)
        np.testing.assert_allclose(b, want, rtol=2e-5, atol=2e-5)


def test_what_is_the_same_for_all_rows_of_a_column_is_computed_once():
    def f(x, w):
        scale = np.exp(w) / np.sqrt(x.var(axis=0) + 1)
        return (x - x.mean(axis=0)) * scale, scale, w

    x, w = np.random.default_rng(0).standard_normal((2, 40, 300)).astype(np.float32)
    compiled = jit(f)
    for got, want in zip(compiled(x, w[0]), f(x, w[0]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert compiled.source(x, w[0]).count("sqrt_(") == 2   # in front of the loop over rows, and for `scale` itself


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float16, np.int64, np.uint16])
def test_loads_along_another_axis(dtype):
    """Tiles of every width of element, at the edges of arrays and around the blocks that registers turn."""
    rng = np.random.default_rng(5)
    for n, m in ((16, 16), (33, 129), (1, 300), (127, 31), (64, 3)):
        x, y, z = (rng.integers(0, 3, s).astype(dtype) for s in ((n, m), (m, n), (m, n)))
        turned = jit(lambda x, y, z: (x.T.copy(), np.where(x > 0, y.T, z[::-1].T)))
        for got, want in zip(turned(x, y, z), (x.T, np.where(x > 0, y.T, z[::-1].T)), strict=True):
            np.testing.assert_array_equal(got, want)
    assert "transpose_" in turned.source(x, y, z)


@pytest.mark.parametrize("n", [1, 5, 256, 257, 700])
@pytest.mark.parametrize("op", [np.argmax, np.argmin])
def test_first_place_of_the_extreme(op, n):
    """Ties, zeros of both signs and NaN, on rows around the size of the block that is searched at a time."""
    rng = np.random.default_rng(n)
    few = rng.integers(-2, 3, (6, n)).astype(np.float32)
    few[few == 0] *= rng.choice([-1, 1])
    late = np.where(np.arange(n) < n - 1, 0, rng.choice([-1, 1], (6, 1))).astype(np.float32)
    nans = np.where(rng.random((6, n)) < 3 / n, np.float32(np.nan), few)
    for x in (few, late, nans, few.astype(np.int32)):
        function = jit(lambda x: op(x, axis=1))
        np.testing.assert_array_equal(function(x), op(x, axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 10, 63, 64, 65, 200, 4096 + 70])
def test_rows_that_end_in_a_masked_vector(dtype, n):
    """Elements beyond the end of a row are neither read nor written nor counted."""
    def f(x):
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        return e, np.sum(e, axis=1), np.max(np.tanh(x), axis=1)

    def light(x):
        return np.sum(x * x, axis=1)

    whole = np.full((5, n + 1), np.nan, dtype)
    x = whole.reshape(-1)[:5 * n].reshape(5, n)   # NaN right behind it
    x[:] = np.random.default_rng(n).standard_normal((5, n))
    for got, want in zip(jit(f)(x), f(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5 if dtype == np.float32 else 1e-13)
    assert n == 1 or "masked_()" in jit(f).source(x)
    assert "masked_()" not in jit(light).source(x)


@pytest.mark.parametrize("shape", [(4097,), (40_000,), (3, 9000), (9000, 3)])
def test_infinite_sums_of_many_blocks(shape):
    """The compensated total of float64 has no error once it is infinite: inf - inf is NaN."""
    x = np.ones((3, *shape))
    x[0].flat[5], x[1].flat[5], x[1].flat[-5], x[2] = np.inf, -np.inf, np.inf, np.finfo(float).max / 100
    for axis in range(len(shape)):
        f = jit(lambda x, axis=axis: (x.sum(axis=axis), x.mean(axis=axis), (x * x).sum(axis=axis)))
        for part in x:
            with np.errstate(all="ignore"):
                wanted = f.__wrapped__(part)
            for a, b in zip(f(part), wanted):
                np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "large"), [("f4", 2.0 ** 24), ("f8", 2.0 ** 53)])
def test_sums_keep_what_is_small_beside_a_large_block(dtype, large):
    """The total over blocks is kept in double for float32, and compensated for float64: each one would vanish by itself."""
    x = np.zeros((2, 64 * 4096), dtype)
    x[:, 0], x[:, 4096::4096] = large, 1   # 63 ones, each in a block of its own
    for total in (*jit(lambda x: x.sum(axis=1))(x), jit(lambda x: x.sum())(x[0])):
        assert abs(float(total) - large - 63) <= 1
