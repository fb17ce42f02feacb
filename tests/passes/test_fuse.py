"""fuse: which equations become which kernel, on small graphs; every fused graph means what the graph meant."""
import numpy as np
import pytest

from jitnet import ops
from jitnet.ir import check_graph, eval_graph
from jitnet.passes.fuse import INLINE_COST, MAX_EQNS, MAX_PARTS, fuse
from jitnet.passes.kernel import kernel_op


def random_values(graph, rng):
    return [rng.integers(0, 3, v.type.shape).astype(v.type.dtype) if v.type.dtype.kind in "iu" else
            rng.uniform(0.5, 2, v.type.shape).astype(v.type.dtype) for v in graph.inputs]


@pytest.fixture
def fused(graphs, rng):
    """The fused graph of a function of traced values, checked and evaluated."""
    def fused(types, function):
        graph = graphs.build(types, function)
        result = check_graph(fuse(graph))
        arrays = random_values(graph, rng)
        graphs.same_bits(eval_graph(result, *arrays), eval_graph(graph, *arrays))
        return result
    return fused


def kernels(graph):
    """The names of the ops of each equation: in a list for a kernel, alone for any other."""
    return [[e.op.name for e in eqn.params["body"].eqns] if eqn.op is kernel_op else eqn.op.name for eqn in graph.eqns]


def column(x):
    return ops.reshape(x, shape=(*x.shape, 1))


def softmax(x):
    e = ops.exp(x - column(ops.max(x, axis=(1,))))
    return e / column(ops.sum(e, axis=(1,)))


def layer_norm(x, g, b):
    n = float(x.shape[1])
    d = x - column(ops.sum(x, axis=(1,))) / n
    return d / ops.sqrt(column(ops.sum(d * d, axis=(1,))) / n + 1e-5) * g + b


# One kernel

def test_a_chain_is_one_kernel(fused):
    assert kernels(fused("f32[4,5]", lambda x: ops.tanh(x * 2.0) + x)) == [["multiply", "tanh", "add"]]


def test_softmax_is_one_kernel(fused):
    graph = fused("f32[4,5]", softmax)
    assert kernels(graph) == [["max", "reshape", "subtract", "exp", "sum", "reshape", "divide"]]
    assert (graph.eqns[0].params["domain"], graph.eqns[0].params["reduce"]) == ((4, 5), (1,))


def test_layer_norm_is_one_kernel(fused):
    graph = fused("f32[4,5], f32[5], f32[5]", layer_norm)
    (ops_of_it,) = kernels(graph)
    assert ops_of_it.count("sum") == 2
    assert set(graph.eqns[0].inputs) == set(graph.inputs)


def test_movements_melt_into_loads(fused):
    graph = fused("f32[4,5], f32[5]", lambda x, y: ops.transpose(x + y)[::-1] * 2.0)
    assert kernels(graph) == [["add", "transpose", "slice", "multiply"]]


def test_siblings_that_read_the_same_array_are_one_kernel(fused):
    graph = fused("f32[4,5]", lambda x: [ops.exp(x), ops.sin(x)])
    assert [sorted(names) for names in kernels(graph)] == [["exp", "sin"]]
    assert len(graph.eqns[0].outputs) == 2


def test_a_diamond_is_one_kernel_that_computes_its_top_once(fused):
    def diamond(x):
        top = ops.exp(x)
        return ops.sin(top) + ops.cos(top)

    assert kernels(fused("f32[4,5]", diamond)) == [["exp", "sin", "cos", "add"]]


def test_the_sum_of_rows_and_what_follows_it(fused):
    """An epilogue over the rows alone, with and without a last axis of size 1, joins the reduction."""
    assert kernels(fused("f32[4,5]", lambda x: ops.sqrt(ops.sum(x, axis=(1,))))) == [["sum", "sqrt"]]
    assert kernels(fused("f32[4,5]", lambda x: ops.sqrt(column(ops.sum(x, axis=(1,)))))) == [["sum", "reshape", "sqrt"]]


# Several kernels

def test_unrelated_values_are_kernels_of_their_own(fused):
    graph = fused("f32[4], f32[6]", lambda x, y: [ops.exp(x), ops.exp(y)])
    assert kernels(graph) == [["exp"], ["exp"]]


def test_reductions_over_different_axes_are_kernels_of_their_own(fused):
    graph = fused("f32[4,5]", lambda x: [ops.sum(x, axis=(0,)), ops.sum(x, axis=(1,))])
    assert kernels(graph) == [["sum"], ["sum"]]


def test_elements_wait_for_the_result_of_a_whole_reduction(fused):
    """x / sum(x): one row would do all the work alone, so the sum and the quotients are two kernels."""
    graph = fused("f32[4,5]", lambda x: x / ops.sum(x, axis=(0, 1)))
    assert kernels(graph) == [["sum"], ["divide"]]


def test_neighbours_are_read_from_memory(fused):
    """A value that is read at another place than the loops' is stored first when it is costly."""
    def steps(x):
        y = ops.exp(x)
        return y[1:] - y[:-1]

    assert kernels(fused("f32[9]", steps)) == [["exp"], ["slice", "slice", "subtract"]]


def test_a_join_that_would_close_a_cycle_is_refused(fused):
    """exp(x) feeds a product, whose result is added to cos(x): the kernel of exp(x) cannot hold the sum as well."""
    def function(x):
        e = ops.exp(x)
        return [ops.matmul(e, e) + ops.cos(x) * e]

    graph = fused("f32[4,4]", function)
    first, product, last = kernels(graph)
    assert product == "matmul"
    assert "exp" in first and "add" in last and "add" not in first


def test_a_kernel_has_a_limited_size(fused):
    def many(*xs):
        total = [ops.exp(x) for x in xs]
        return [sum(total[k:], total[k]) for k in range(len(xs))]

    graph = fused(", ".join(["f32[3]"] * 20), many)
    assert len(kernels(graph)) > 1
    assert max(map(len, kernels(graph))) <= MAX_EQNS


# What is stored

def test_cheap_values_are_computed_again(fused):
    """A product read by two kernels over different domains is no kernel of its own."""
    def function(x, y):
        p = x * y
        return [ops.sum(p, axis=(0,)), ops.sum(p, axis=(1,))]

    assert kernels(fused("f32[4,5], f32[4,5]", function)) == [["multiply", "sum"], ["multiply", "sum"]]


def test_costly_values_are_stored_for_several_readers(fused):
    def function(x, steps):
        p = x
        for _ in range(steps):
            p = p * x
        return [ops.sum(p, axis=(0,)), ops.sum(p, axis=(1,))]

    cheap, costly = (fused("f32[4,5]", lambda x, steps=steps: function(x, steps)) for steps in (INLINE_COST, INLINE_COST + 1))
    assert sum(names.count("multiply") for names in kernels(cheap)) == 2 * INLINE_COST
    assert sum(names.count("multiply") for names in kernels(costly)) == INLINE_COST + 1


def test_costly_values_are_stored_before_a_broadcast(fused):
    graph = fused("f32[4,5], f32[5]", lambda x, y: x * ops.exp(y))
    assert kernels(graph) == [["exp"], ["multiply"]]
    assert kernels(fused("f32[1,5], f32[5]", lambda x, y: x * ops.exp(y))) == [["exp", "multiply"]]


def test_what_a_gather_picks_from_is_stored(fused):
    """The picked elements melt into the kernel that reads them; the array, at unknown places, cannot."""
    graph = fused("f32[9], i64[4]", lambda x, i: ops.gather(x + 1.0, i, axes=(0,)) * 2.0)
    assert kernels(graph) == [["add"], ["gather", "multiply"]]


def test_operands_of_products_may_be_strided_views(fused):
    graph = fused("f32[4,5]", lambda x: ops.matmul(ops.transpose(ops.exp(x)), x))
    assert kernels(graph) == [["exp"], "transpose", "matmul"]


def test_a_view_that_a_gather_picks_from_may_be_computed_as_well(fused):
    def function(x, i):
        v = ops.reshape(x, shape=(6,))
        return ops.gather(v, i, axes=(0,)) + v

    assert fused("f32[2,3], i64[6]", function)


def test_outputs_that_are_inputs_need_no_kernel(fused):
    graph = fused("f32[4]", lambda x: [x, x])
    assert graph.eqns == ()


# Sizes

@pytest.mark.parametrize(("function", "types"), [
    (softmax, "f32[{n},{m}]"), (layer_norm, "f32[{n},{m}], f32[{m}], f32[{m}]"),
    (lambda x, y: [ops.sum(x * ops.exp(y), axis=(0,)), x + y], "f32[{n},{m}], f32[{m}]"),
], ids=["softmax", "layer_norm", "broadcast"])
def test_a_new_size_has_the_same_kernels(graphs, function, types):
    sizes = ((2, 3), (3, 2), (50, 70), (9, 4000))
    found = [kernels(fuse(graphs.build(types.format(n=n, m=m), function))) for n, m in sizes]
    assert all(names == found[0] for names in found)


def test_long_chains_stay_linear(fused):
    """Thousands of equations: cut into kernels of bounded size, in an order in which each reads what is there."""
    def long(x):
        for k in range(2000):
            x = x * 1.01 + np.float32(k % 3)
        return x

    graph = fused("f32[3]", long)
    assert 4000 // MAX_EQNS <= len(graph.eqns) < 200


# Arrays put together, on a GPU

def both(x, y):
    return ops.concatenate(ops.exp(x), y * 2.0, axis=0)


def joined(graphs, rng, types, function):
    """The kernels that a GPU has for a function, checked and evaluated."""
    graph = graphs.build(types, function)
    result, arrays = check_graph(fuse(graph, gpu=True)), random_values(graph, rng)
    graphs.same_bits(eval_graph(result, *arrays), eval_graph(graph, *arrays))
    return kernels(result)


def test_a_gpu_computes_arrays_of_one_shape_where_they_are_put_together(graphs, rng, fused):
    assert joined(graphs, rng, "f32[4,5], f32[4,5]", both) == [["exp", "multiply", "concatenate"]]
    assert "concatenate" in kernels(fused("f32[4,5], f32[4,5]", both))   # a CPU has a kernel for each
    assert "concatenate" in joined(graphs, rng, "f32[4,5], f32[3,5]", both)


def test_what_reads_arrays_put_together_is_another_kernel(graphs, rng):
    def function(x, y):
        c = both(x, y)
        return [c, ops.slice(c, start=(0, 0), size=(4, 5), step=(1, 1)) + x, ops.sum(x, axis=(1,))]

    assert joined(graphs, rng, "f32[4,5], f32[4,5]", function) == [["exp", "multiply", "concatenate"], ["slice", "add", "sum"]]


def test_arrays_put_together_are_only_so_many(graphs, rng):
    def function(*xs):
        return ops.concatenate(*(x + 1.0 for x in xs), axis=0)

    types = [", ".join(["f32[4]"] * n) for n in (MAX_PARTS, MAX_PARTS + 1)]
    assert len(joined(graphs, rng, types[0], function)) == 1
    assert joined(graphs, rng, types[1], function)[-1] == "concatenate"
