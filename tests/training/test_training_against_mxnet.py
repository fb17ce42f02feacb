"""Programs of training give what they give in MXNet 1.9.1, in a Python of its own, which JITNET_MXNET_PYTHON names."""
import importlib.util
import json
import math
import os
import pathlib
import subprocess

import numpy as np
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


READ_AND_WRITE = """
import numpy as np
np.bool = bool
import mxnet as mx
module = mx.mod.Module.load("ours", 2)
batches = mx.io.NDArrayIter(np.load("x.npy"), np.zeros(70), 16)
module.bind(batches.provide_data, batches.provide_label, for_training=False)
np.save("predicted.npy", module.predict(batches).asnumpy())
module.save_checkpoint("theirs", 7)
"""


@pytest.mark.skipif(PYTHON is None, reason="JITNET_MXNET_PYTHON names no Python with MXNet")
def test_checkpoints_go_both_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batches = jitnet.io.NDArrayIter(programs.X, programs.Y, batch_size=16)
    module = jitnet.mod.Module(programs.network(jitnet, batch_norm=True))
    module.fit(batches, num_epoch=2)
    module.save_checkpoint("ours", 2)
    np.save("x.npy", programs.X)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([PYTHON, "-c", READ_AND_WRITE], check=True, env=environment, capture_output=True, cwd=tmp_path)
    predicted = module.predict(batches).asnumpy()
    np.testing.assert_allclose(np.load("predicted.npy"), predicted, rtol=1e-5)
    again = jitnet.mod.Module.load("theirs", 7)
    again.bind(batches.provide_data, batches.provide_label, for_training=False)
    np.testing.assert_array_equal(again.predict(batches).asnumpy(), predicted)


def agree(x, y):
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(agree(x[k], y[k]) for k in x)
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(agree, x, y))
    if isinstance(x, float) and isinstance(y, float):
        return math.isclose(x, y, rel_tol=1e-4, abs_tol=2e-5) or (math.isnan(x) and math.isnan(y))
    return x == y
