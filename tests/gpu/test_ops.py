"""The tests of compiled ops, with the card in the place of the CPU: every op of the table with its derivatives and batches, all
dtypes, the values where arithmetic goes wrong, awkward shapes, movements, loops, jitnet.numpy."""
import contextlib
import functools
import importlib.util
import pathlib

import numpy as np
import pytest

from jitnet.compile import compile_graph
from jitnet.runtime.device import Device
from jitnet.testing_compiled import LOOSE, check_compiled, graph_of

CARD = Device("gpu", 0)
TESTS = pathlib.Path(__file__).resolve().parents[1]
ELSEWHERE = {"test_the_text_of_a_kernel_runs_as_python"}   # which looks at the text of CPU kernels


class OnCard:
    """A compiled graph whose runs give arrays on the host."""

    def __init__(self, graph, device=CARD):
        self.graph, self.compiled = graph, compile_graph(graph, device=CARD)

    def run(self, arrays):
        return [out.host() for out in self.compiled.run([np.array(a) for a in arrays])]


def check(function, *arrays, tolerance=None):
    given = [np.asarray(a) for a in arrays]
    return check_compiled(graph_of(function, *given), given, tolerance, CARD)


def loaded(path):
    """A module of tests, whose checks are made on the card."""
    spec = importlib.util.spec_from_file_location(f"on_card_{pathlib.Path(path).stem}", TESTS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.check, module.compile_graph, module.interpreted_gpu = check, OnCard, contextlib.nullcontext
    module.check_compiled = functools.partial(check_compiled, device=CARD)
    return module


TABLE = loaded("codegen/test_cuda_ops.py")


@pytest.mark.parametrize("k", range(len(TABLE.CASES)), ids=TABLE.IDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_op_with_its_derivatives_and_batches(k):
    for _, graph, arrays in TABLE.graphs(k):
        check_compiled(graph, arrays, LOOSE, device=CARD)


for _path in ("test_compiled_ops.py", "test_compiled_movements.py"):
    globals().update({name: test for name, test in vars(loaded(_path)).items() if name.startswith("test_") and
                      name not in ELSEWHERE})
