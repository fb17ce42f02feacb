"""The real CUDA kernels, launched by the runtime, in Numba's simulator: a process of its own, for it replaces `numba.cuda`."""
import os
import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).with_name("simulate.py")
ROOT = SCRIPT.parents[3]


def test_programs_of_the_real_kernels():
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-W", "ignore", str(SCRIPT)], env=environment, capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("agrees") == 7
