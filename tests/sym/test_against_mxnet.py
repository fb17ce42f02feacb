"""Symbols, asked of jitnet and of MXNet 1.9.1, each about those that the other one saved. See tests/nd for how to set it up."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

PYTHON = os.environ.get("JITNET_MXNET_PYTHON")
HERE = pathlib.Path(__file__).parent


@pytest.mark.skipif(PYTHON is None, reason="JITNET_MXNET_PYTHON names no Python with MXNet")
def test_symbols_are_those_of_mxnet(tmp_path):
    ours, theirs = tmp_path / "jitnet", tmp_path / "mxnet"
    ours.mkdir()
    theirs.mkdir()
    ask(sys.executable, "jitnet", ours, ours, tmp_path / "0.npz")
    ask(PYTHON, "mxnet", theirs, ours, tmp_path / "1.npz")
    ask(sys.executable, "jitnet", ours, theirs, tmp_path / "2.npz")
    names = list(load_graphs())
    wrong = [f"{name}: saved otherwise" for k, name in enumerate(names)
             if (ours / f"{k}.json").read_text() != (theirs / f"{k}.json").read_text()]
    expected, found = dict(np.load(tmp_path / "1.npz")), dict(np.load(tmp_path / "2.npz"))
    assert expected.keys() == found.keys()
    for key, theirs_said in expected.items():
        number, what = key.split(".", 1)
        if not agree(found[key], theirs_said):
            wrong.append(f"{names[int(number)]}, {what}\n  jitnet {found[key]}\n  mxnet  {theirs_said}")
    assert not wrong, "\n".join(wrong)


def load_graphs():
    scope = {}
    exec((HERE / "graphs.py").read_text(), scope)
    return scope["GRAPHS"]


def ask(python, library, own, other, output):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" or library == "jitnet"}
    subprocess.run([python, str(HERE / "ask.py"), library, str(own), str(other), str(output)], check=True, env=environment,
                   capture_output=True, text=True)


def agree(x, y):
    if x.dtype.kind == "U":
        return str(x) == str(y)
    return x.dtype == y.dtype and x.shape == y.shape and np.allclose(x, y, rtol=4e-5, atol=2e-5, equal_nan=True)
