"""Programs of training give what they give in MXNet 1.9.1, in a Python of its own, which JITNET_MXNET_PYTHON names."""
import importlib.util
import json
import math
import os
import pathlib
import subprocess

import pytest

import jitnet

PYTHON = os.environ.get("JITNET_MXNET_PYTHON")
HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("training_programs", HERE / "training_programs.py")
programs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(programs)


@pytest.mark.skipif(PYTHON is None, reason="JITNET_MXNET_PYTHON names no Python with MXNet")
@pytest.mark.parametrize("group", programs.GROUPS)
def test_results_are_those_of_mxnet(group, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([PYTHON, str(HERE / "training_programs.py"), "mxnet", group, str(tmp_path / "out")], check=True,
                   env=environment, capture_output=True, cwd=tmp_path)
    expected = json.loads((tmp_path / "out").read_text())
    found = json.loads(json.dumps(programs.results(jitnet, group)))
    assert found.keys() == expected.keys()
    wrong = [f"{name}\n  jitnet {str(found[name])[:400]}\n  mxnet  {str(expected[name])[:400]}" for name in expected
             if not agree(found[name], expected[name])]
    assert not wrong, "\n".join(wrong)


def agree(x, y):
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(agree(x[k], y[k]) for k in x)
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(agree, x, y))
    if isinstance(x, float) and isinstance(y, float):
        return math.isclose(x, y, rel_tol=1e-4, abs_tol=2e-5) or (math.isnan(x) and math.isnan(y))
    return x == y
