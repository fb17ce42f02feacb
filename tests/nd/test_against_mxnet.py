"""Hundreds of calls, asked of jitnet and of MXNet 1.9.1 in a Python of its own, which JITNET_MXNET_PYTHON names.

    python -m venv mxnet && mxnet/bin/pip install mxnet==1.9.1 numpy==1.23.5
    JITNET_MXNET_PYTHON=mxnet/bin/python python -m pytest tests/nd/test_against_mxnet.py
"""
import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

PYTHON = os.environ.get("JITNET_MXNET_PYTHON")
HERE = pathlib.Path(__file__).parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


calls = load("calls")
ask = load("ask")


@pytest.mark.skipif(PYTHON is None, reason="JITNET_MXNET_PYTHON names no Python with MXNet")
@pytest.mark.parametrize("group", calls.GROUPS)
def test_results_are_those_of_mxnet(group, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([PYTHON, str(HERE / "ask.py"), "mxnet", group, str(tmp_path / "out.npz")], check=True, env=environment,
                   capture_output=True, cwd=tmp_path)
    expected, found = dict(np.load(tmp_path / "out.npz")), ask.results("jitnet", group)
    wrong = []
    for number, call in enumerate(calls.GROUPS[group]):
        ours, theirs = ({k: v for k, v in r.items() if k.startswith(f"{number}.")} for r in (found, expected))
        if ours.keys() != theirs.keys() or not all(agree(ours[k], theirs[k]) for k in ours):
            wrong.append(f"{call}\n  jitnet {summary(ours)}\n  mxnet  {summary(theirs)}")
    assert not wrong, "\n".join(wrong)


def agree(x, y):
    if x.dtype.kind in "US" or y.dtype.kind in "US":
        return str(x) == str(y)
    return x.dtype == y.dtype and x.shape == y.shape and np.allclose(x, y, rtol=4e-5, atol=2e-5, equal_nan=True)


def summary(parts):
    return [f"{v.dtype}{v.shape} {v.ravel()[:6]!s}" if v.dtype.kind not in "US" else str(v) for v in parts.values()]
