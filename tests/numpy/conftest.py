"""What the tests of `jitnet.numpy` share: a function traced and evaluated against itself on NumPy arrays."""
import numpy as np
import pytest

from jitnet.ir import check_graph, eval_graph
from jitnet.tracer import trace
from jitnet.types import type_of_array


def leaves(out):
    return list(out) if isinstance(out, (tuple, list)) else [out]


def traced(function, *args):
    """The function's outputs through its Graph, and the Graph."""
    graph = check_graph(trace(lambda *xs: leaves(function(*xs)), [type_of_array(np.asarray(a)) for a in args], "f").graph)
    return eval_graph(graph, *args), graph


def same(function, *args, rtol=1e-6, atol=1e-9):
    """Asserts that the traced function has the values, dtypes and shapes that NumPy gives."""
    with np.errstate(all="ignore"):
        expected = leaves(function(*[np.array(a) for a in args]))
        found, graph = traced(function, *args)
    assert len(found) == len(expected)
    for f, e in zip(found, expected):
        e = np.asarray(e)
        assert f.dtype == e.dtype, f"dtype {f.dtype}, NumPy has {e.dtype}"
        assert f.shape == e.shape, f"shape {f.shape}, NumPy has {e.shape}"
        np.testing.assert_allclose(f, e, rtol=rtol, atol=atol)
    return graph


@pytest.fixture(name="same", scope="session")
def _same():
    return same


@pytest.fixture(name="traced", scope="session")
def _traced():
    return traced
