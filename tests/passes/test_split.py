"""split_reductions: partial reductions and what combines them; the size of a chunk depends on the shape alone."""
import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.ir import check_graph, eval_graph
from jitnet.op import OPS
from jitnet.passes import split as split_module
from jitnet.passes.fuse import fuse
from jitnet.passes.kernel import kernel_op
from jitnet.passes.pipeline import pipeline
from jitnet.passes.split import CHUNK, COLUMN_CHUNK, LEAST_ROWS, chunk_count, partial, split_reductions
from jitnet.testing_kernels import interpreted_gpu
from jitnet.types import F32, ArrayType


@pytest.fixture
def split(graphs):
    """(fused graph, graph after the pass, checked) of a function of traced values."""
    def split(types, function):
        fused = fuse(graphs.build(types, function))
        return fused, check_graph(split_reductions(fused))
    return split


def kernels(graph):
    return [[e.op.name for e in eqn.params["body"].eqns] for eqn in graph.eqns]


def chunk(graph):
    """The elements per chunk of the only reduction that was cut."""
    (found,) = {e.params["chunk"] for eqn in graph.eqns for e in eqn.params["body"].eqns if "chunk" in e.params}
    return found


# Partial reductions

@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize(("shape", "axis"), [((7,), (0,)), ((4, 5), (0, 1)), ((4, 5), (0,)), ((3, 4, 5), (0, 1)),
                                             ((3, 4, 5), (0, 2))])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_partial_results_combine_to_the_whole(rng, name, shape, axis, size):
    op, x = OPS[name], rng.integers(1, 4, shape).astype(np.float64)
    params = {"axis": axis, "chunk": size}
    (parts,) = partial(op).evaluate([x], params)
    (expected,) = partial(op).out_types([ArrayType(shape, x.dtype)], params)
    assert (parts.shape, parts.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(op.body(parts, axis=(0,)), op.body(x, axis=axis))


def test_chunks_are_consecutive_elements():
    x = np.arange(24.0).reshape(2, 3, 4)
    (parts,) = partial(OPS["sum"]).evaluate([x], {"axis": (0, 1), "chunk": 4})
    rows = x.reshape(6, 4)
    np.testing.assert_array_equal(parts, [rows[:4].sum(0), rows[4:].sum(0)])


def test_an_empty_reduction_has_one_chunk():
    assert chunk_count(0, 5) == 1
    (parts,) = partial(OPS["sum"]).evaluate([np.zeros((0, 3))], {"axis": (0,), "chunk": 5})
    np.testing.assert_array_equal(parts, np.zeros((1, 3)))


# Kernels cut in two

def test_a_full_sum_is_cut(split, graphs):
    fused, result = split("f32[100,1000]", lambda x: ops.sqrt(ops.sum(x * x, axis=(0, 1))))
    assert kernels(fused) == [["multiply", "sum", "sqrt"]]
    assert kernels(result) == [["multiply", "partial_sum"], ["sum", "sqrt"]]
    first, second = result.eqns
    assert first.outputs[0].type == ArrayType((chunk_count(100_000, CHUNK),), F32)
    assert second.inputs == first.outputs


def test_what_precedes_the_reduction_is_stored_by_the_first_kernel(split):
    _, result = split("f32[100,70]", lambda x: [ops.exp(x), ops.sum(ops.exp(x), axis=(0,))])
    first, second = result.eqns
    assert [v.type.shape for v in first.outputs] == [(100, 70), *(v.type.shape for v in second.inputs)]
    assert kernels(result)[1] == ["sum"]


def test_the_second_kernel_reads_what_the_end_needs(split):
    _, result = split("f32[100,70], f32[70]", lambda x, y: ops.sum(x, axis=(0,)) + y)
    first, second = result.eqns
    assert first.inputs == result.inputs[:1]
    assert result.inputs[1] in second.inputs


@pytest.mark.parametrize(("types", "function"), [
    ("f32[3,5]", lambda x: ops.sum(x, axis=(0, 1))),
    ("f64[9,3,2]", lambda x: [ops.sum(x, axis=(0,)), ops.max(x, axis=(0,)) * 2.0]),
    ("i64[40,3]", lambda x: [ops.sum(x, axis=(0,)) + 1, x * 2]),
    ("f64[0,3]", lambda x: ops.sum(x, axis=(0,))),
    ("f64[40,3]", lambda x: ops.reshape(ops.sum(x, axis=(0,)), shape=(1, 3)) * 0.5),
], ids=["full", "two", "elements", "empty", "keepdims"])
def test_the_meaning_stays(split, rng, types, function):
    fused, result = split(types, function)
    assert len(result.eqns) == len(fused.eqns) + 1
    arrays = [rng.integers(-3, 4, v.type.shape).astype(v.type.dtype) for v in fused.inputs]
    for found, expected in zip(eval_graph(result, *arrays), eval_graph(fused, *arrays), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("function", [
    lambda x: ops.sum(x, axis=(1,)),                                      # rows run in parallel
    lambda x: ops.exp(x),
    lambda x: x - ops.sum(x, axis=(0,)),                                  # elements wait for the sum of their column
], ids=["rows", "map", "two_passes"])
def test_what_is_not_cut(split, function):
    fused, result = split("f32[100,70]", function)
    assert kernels(result) == kernels(fused)


# Sizes of chunks

def test_a_chunk_of_a_full_reduction(split):
    assert chunk(split("f32[1000000]", lambda x: ops.sum(x, axis=(0,)))[1]) == CHUNK


@pytest.mark.parametrize(("columns", "rows"), [(16, COLUMN_CHUNK // 16), (256, 2 * COLUMN_CHUNK // 256), (10**6, LEAST_ROWS)])
def test_a_chunk_of_columns_has_so_many_rows(split, columns, rows):
    for length in (10_000, 20_000):   # however many rows there are
        assert chunk(split(f"f32[{length},{columns}]", lambda x: ops.sum(x, axis=(0,)))[1]) == rows


# On a GPU

@pytest.fixture
def gpu_parts(graphs):
    """The chunk of the only reduction that is cut, and how many kernels there are, of a sum over some axes of an array."""
    def parts(shape, axis):
        fused = fuse(graphs.build(f"f32[{','.join(map(str, shape))}]", lambda x: ops.sum(x, axis=axis)))
        graph = check_graph(split_reductions(fused, gpu=True))
        return (chunk(graph) if len(graph.eqns) > 1 else None), len(graph.eqns)
    return parts


@pytest.mark.parametrize(("shape", "axis", "size"), [
    ((3, 20000), (1,), 4096), ((4, 1 << 26), (1,), 1 << 18), ((1 << 28,), (0,), 1 << 18), ((100_000,), (0,), 4096),
    ((600, 20000), (1,), None), ((3, 4000), (1,), None), ((4096,), (0,), None), ((3, 20000), (0,), None),
    ((1 << 20, 8), (0,), 1024), ((65536, 4096), (0,), 8192), ((64, 128), (0,), None)])
def test_chunks_that_fill_a_gpu(gpu_parts, shape, axis, size):
    assert gpu_parts(shape, axis) == (size, 1 if size is None else 2)


def test_a_few_long_rows_on_a_gpu(rng, graphs):
    x = rng.standard_normal((2, 9000)).astype(np.float32)
    fused = fuse(graphs.build("f32[2,9000]", lambda x: ops.sqrt(ops.sum(x * x, axis=(1,))) + 1.0))
    graph = check_graph(split_reductions(fused, gpu=True))
    assert kernels(graph) == [["multiply", "partial_sum"], ["sum", "sqrt", "add"]]
    np.testing.assert_allclose(eval_graph(graph, x)[0], np.linalg.norm(x, axis=1) + 1, rtol=1e-6)


LEVELS = {   # function -> kernels of two long rows on a GPU
    "softmax": (lambda x: (e := np.exp(x - x.max(axis=1, keepdims=True))) / e.sum(axis=1, keepdims=True), 5),
    "argmax": (lambda x: np.argmax(x, axis=1), 4),
    "variance": (lambda x: np.var(x, axis=1), 4),
    "normalized columns": (lambda x: (y := x.reshape(-1, 2)) / np.sqrt(np.sum((y - y.mean(axis=0)) ** 2, axis=0)), 5),
    "several results": (lambda x: (x - x.max(axis=1, keepdims=True), x.max(axis=1), np.std(x, axis=1, keepdims=True)), None),
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_of_reductions_on_a_gpu(rng, name):
    function, count = LEVELS[name]
    x = rng.standard_normal((2, 70_000)).astype(np.float32)
    graph = check_graph(pipeline(jitnet.jit(function).graph(x), gpu=True)[-1][1])
    assert count in (None, sum(eqn.op is kernel_op for eqn in graph.eqns))
    for found, wanted in zip(eval_graph(graph, x), jitnet.tree.leaves(function(x)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    for rows in ((2, 30_000), (64, 70_000)):   # short ones, and enough of them
        few = pipeline(jitnet.jit(function).graph(np.ones(rows, np.float32)), gpu=True)[-1][1]
        assert name == "normalized columns" or sum(eqn.op is kernel_op for eqn in few.eqns) <= 2


@pytest.mark.parametrize("name", LEVELS)
def test_kernels_of_levels(monkeypatch, rng, name):
    """The kernels of a GPU, on rows that are long for a small one."""
    monkeypatch.setattr(split_module, "GPU_LONG", 64)
    monkeypatch.setattr(split_module, "GPU_CHUNK", 32)
    x, f = rng.standard_normal((2, 150)).astype(np.float32), jitnet.jit(LEVELS[name][0])
    with interpreted_gpu():
        found = f(jitnet.asarray(x, device="gpu"))
        for a, b in zip(jitnet.tree.leaves(found), jitnet.tree.leaves(f(x)), strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-5, atol=1e-6)
