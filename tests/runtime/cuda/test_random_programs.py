"""Random programs on a GPU made of host memory: its steps, their memory and their graphs give what a graph means."""
import numpy as np
import pytest

from jitnet.runtime.device import Device
from jitnet.testing_compiled import assert_agree, check_compiled, gradient_graph
from jitnet.testing_gpu import fake_gpus
from jitnet.testing_programs import Recorder, random_arguments, random_graph
from jitnet.types import F32, F64

SIZES = (7, 17, 1, 33, 64)


def program(seed):
    return random_graph(Recorder(seed), SIZES[seed % 5], length=4 + seed % 13, floats=(F32,) if seed % 2 else (F64,),
                        reverse=seed % 3 == 0)


@pytest.mark.parametrize("seed", range(1000, 1030))
def test_values(seed):
    graph = program(seed)
    arrays = random_arguments(graph, seed)
    with fake_gpus():
        compiled = check_compiled(graph, arrays, device=Device("gpu", 0))
        first = [out.host() for out in compiled.run(arrays)]
        again = [compiled.run(arrays) for _ in range(3)][-1]   # other addresses, the same graphs
        assert_agree([out.host() for out in again], first, {F32: 0, F64: 0})


@pytest.mark.parametrize("seed", range(1002, 1020, 3))
def test_gradients(seed):
    graph = gradient_graph(program(seed))
    if graph is not None:
        with fake_gpus():
            check_compiled(graph, random_arguments(graph, seed), device=Device("gpu", 0))


@pytest.mark.parametrize("seed", range(1100, 1106))
def test_loops_that_the_host_runs(seed, monkeypatch):
    """The same programs when no loop is unrolled."""
    monkeypatch.setattr("jitnet.runtime.cuda.program.MOST_UNROLLED", 0)
    graph = program(seed)
    with fake_gpus(), np.errstate(all="ignore"):
        check_compiled(graph, random_arguments(graph, seed), device=Device("gpu", 0))
