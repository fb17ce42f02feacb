"""running: what runs along an axis as reductions of parts, equal to what NumPy's calls give."""
import numpy as np
import pytest

from jitnet import ops
from jitnet.ir import check_graph, eval_graph
from jitnet.passes.running import PART, RUNNING, running
from jitnet.runtime.device import Device
from jitnet.testing_compiled import LOOSE, assert_agree, check_compiled, graph_of, random_array
from jitnet.testing_kernels import interpreted_gpu
from jitnet.types import BF16, DTYPES, F16, F32, F64

SHAPES = [((5,), 0), ((1,), 0), ((PART,), 0), ((PART + 1,), 0), ((3, 200), 1), ((200, 3), 0), ((2, 70, 3), 1), ((9000,), 0)]


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values(name, shape, axis):
    for dtype in (F64, F32, *(DTYPES[n] for n in ("i64", "i8", "u16", "b1"))):
        x = random_array(shape, dtype)
        x = x / 50 + 1 if name == "cumprod" and dtype in (F32, F64) else x
        graph = graph_of(lambda x: RUNNING_OPS[name](x, axis=axis), x.astype(dtype))
        found = check_graph(running(graph))
        assert name not in {e.op.name for e in found.eqns}
        assert_agree(eval_graph(found, x.astype(dtype)), eval_graph(graph, x.astype(dtype)), LOOSE)


RUNNING_OPS = {name: getattr(ops, name) for name in RUNNING}


def test_nan_and_infinities():
    x = np.array([1.0, -np.inf, 2, np.inf, 3, np.nan, 4])
    for op in RUNNING_OPS.values():
        graph = graph_of(lambda x, op=op: op(x, axis=0), x)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(eval_graph(running(graph), x)[0], eval_graph(graph, x)[0])


def test_halves_are_rounded_once():
    for dtype in (F16, BF16):
        x = random_array((300,), dtype)
        (found,) = eval_graph(running(graph_of(lambda x: ops.cumsum(x, axis=0), x)), x)
        np.testing.assert_array_equal(found, np.cumsum(x.astype(F64)).astype(F32).astype(dtype))


def test_on_a_gpu_the_host_does_nothing():
    x = random_array((3, 500), F32)
    with interpreted_gpu():
        compiled = check_compiled(graph_of(lambda x: np.cumsum(np.exp(x), axis=1) * 2, x), [x], device=Device("gpu", 0))
    assert {info.kind for info in compiled.kernels} == {"kernel"}
