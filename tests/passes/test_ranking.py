"""ranking: sorts and searches as reductions, equal to what NumPy's calls give, to the bit."""
import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.ir import check_graph, eval_graph
from jitnet.passes.ranking import LONGEST, RULES, ranking
from jitnet.runtime.device import Device
from jitnet.testing_compiled import check_compiled, graph_of, random_array
from jitnet.testing_kernels import interpreted_gpu
from jitnet.types import DTYPES, F32, is_float

SHAPES = [((7,), 0), ((1,), 0), ((3, 20), 1), ((20, 3), 0), ((2, 9, 3), 1)]


def same(graph, *arrays):
    found = check_graph(ranking(graph))
    assert not {e.op.name for e in found.eqns} & set(RULES)
    for a, b in zip(eval_graph(found, *arrays), eval_graph(graph, *arrays), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_values(shape, axis, dtype):
    x = np.round(random_array(shape, F32) * 2).astype(dtype)   # with equals
    if is_float(dtype):
        x.flat[::4], x.flat[1::7], x.flat[2::9] = np.nan, -np.inf, -0.0
    same(graph_of(lambda x: (ops.sort(x, axis=axis), ops.argsort(x, axis=axis)), x), x)
    (line,) = eval_graph(graph_of(lambda x: ops.sort(x, axis=0), x.reshape(-1)), x.reshape(-1))
    for side in ("left", "right"):
        same(graph_of(lambda x, v, side=side: ops.searchsorted(x, v, side=side), line, x), line, x)


def test_long_rows_are_left():
    graph = graph_of(lambda x: ops.sort(x, axis=0), np.ones(LONGEST + 1, np.float32))
    assert [e.op.name for e in ranking(graph).eqns] == ["sort"]


def test_on_a_gpu_the_host_does_nothing():
    x = random_array((3, 21), F32)

    def function(x):
        return np.sort(x, axis=1)[:, ::-1], np.argsort(x, axis=0), np.median(x, axis=1), np.searchsorted(np.sort(x[0]), x)

    with interpreted_gpu():
        compiled = check_compiled(graph_of(function, x), [x], device=Device("gpu", 0))
        assert {info.kind for info in compiled.kernels} <= {"kernel", "copy"}
        gradient = jitnet.grad(lambda x: np.sum(np.sort(x, axis=1) * np.arange(21, dtype=np.float32)))
        np.testing.assert_array_equal(jitnet.jit(gradient)(jitnet.asarray(x, device="gpu")).numpy(), gradient(x))
