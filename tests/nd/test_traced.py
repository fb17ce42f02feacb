"""Every operator, traced, means what its body computes at once: the calls of calls.py, each run both ways."""
import importlib.util
import pathlib

import numpy as np
import pytest

import jitnet as mx
from jitnet.ir import eval_graph
from jitnet.operators import dispatch
from jitnet.tracer import trace
from jitnet.types import ArrayType

spec = importlib.util.spec_from_file_location("calls", pathlib.Path(__file__).parent / "calls.py")
calls = importlib.util.module_from_spec(spec)
spec.loader.exec_module(calls)
LOOSE = {"gamma", "gammaln", "erfinv", "rsqrt", "rcbrt", "_linalg_gemm", "softmax", "log_softmax", "softmin", "norm"}


@pytest.mark.parametrize("group", [g for g in calls.GROUPS if g != "gradient"])  # that one compiles 130 programs
def test_traced_bodies(group, monkeypatch):
    at_once, wrong, seen = dispatch.run, [], set()

    def both(op, arrays, params, key=None):
        out = at_once(op, arrays, params, key)
        if key is None:
            seen.add(op.name)
            types = [ArrayType(a.shape, a.dtype) for a in arrays]
            try:
                with np.errstate(all="ignore"):
                    again = eval_graph(trace(op._flat(params, len(types)), types, op.name).graph, *arrays)
            except Exception as error:
                wrong.append(f"{op.name} {params}: {error}")
                return out
            for x, y in zip(out if isinstance(out, tuple) else (out,), again, strict=True):
                x = np.asarray(x)
                tolerance = 1e-5 if op.name in LOOSE else 1e-6
                if x.dtype != y.dtype or x.shape != y.shape or not np.allclose(x, y, tolerance, 1e-6, equal_nan=True):
                    wrong.append(f"{op.name} {params}: {x} against {y}")
        return out
    monkeypatch.setattr(dispatch, "run", both)
    for call in calls.GROUPS[group]:
        try:
            eval(call, calls.scope(mx, np))
        except (mx.MXNetError, IndexError, TypeError, ValueError, AttributeError):
            continue  # what must fail; test_against_mxnet.py says which calls these are
    assert not wrong, "\n".join(wrong)
    assert seen
