"""split_products: which products are cut into parts, and that they mean the same."""
import numpy as np
import pytest

import jitnet
from jitnet.ir import check_graph, eval_graph
from jitnet.passes.split_products import LEAST, PARTS, STORED, split_products

LONG = PARTS * LEAST


@pytest.fixture
def split(graphs):
    """(graph, graph after the pass, checked) of x.T @ y, or of another function."""
    def split(k, m, n, dtype="f32", function=lambda x, y: x.T @ y):
        graph = graphs.build(f"{dtype}[{k},{m}], {dtype}[{k},{n}]", function)
        return graph, check_graph(split_products(graph))
    return split


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_gradient_of_weights_is_a_sum_of_products(split, rng, dtype):
    graph, cut = split(LONG, 64, 32, dtype)
    (product,) = (eqn for eqn in cut.eqns if eqn.op.name == "matmul")
    assert product.outputs[0].type.shape == (PARTS, 64, 32)
    assert cut.eqns[-1].op.name == "sum"
    args = [rng.standard_normal(v.type.shape).astype(v.type.dtype) for v in graph.inputs]
    np.testing.assert_allclose(eval_graph(cut, *args)[0], eval_graph(graph, *args)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change", [
    {"k": LONG - PARTS}, {"k": LONG + 1},              # too short, and no equal parts
    {"n": STORED // (4 * PARTS * 64) + 1},             # parts that take too much room
    {"m": 4, "n": 4},                                  # too little work
    {"m": 1, "n": 4096}, {"m": 4096, "n": 1},          # a vector by a matrix
    {"dtype": "i32"},                                  # no product of BLAS
    {"function": lambda x, y: x @ y.T, "k": 64, "m": LONG, "n": LONG},   # over rows that lie side by side
])
def test_what_stays_whole(split, change):
    graph, cut = split(**{"k": LONG, "m": 64, "n": 32} | change)
    assert cut is graph


def test_a_compiled_one_and_sizes_never_seen(rng):
    f = jitnet.jit(lambda x, y: 2 * (x.T @ y))
    for k in (LONG, 2 * LONG, LONG + 1, 300, 3 * LONG, LONG + 4):
        x, y = (rng.standard_normal((k, n), dtype=np.float32) for n in (64, 32))
        found = f(x, y)
        np.testing.assert_allclose(found, 2 * (x.T @ y), rtol=1e-4, atol=1e-3)
        assert found.tobytes() == jitnet.jit(f.__wrapped__)(x, y).tobytes()
