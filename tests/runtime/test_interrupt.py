"""Ctrl-C ends a native loop between two rounds, and what was compiled goes on working."""
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
    import numpy as np
    import jitnet

    loop = jitnet.jit({loop})
    small = np.full({size}, 3.0)
    expected = np.full({size}, 3.0)
    loop(small)                         # ends at once: compiled, and found by the native call from now on
    endless = np.ones({size})
    for attempt in range(2):
        try:
            print("ready", flush=True)
            loop(endless)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    assert (endless == 1).all() and (loop(small) == expected).all()
    print("sound")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")
@pytest.mark.parametrize("size", [3, 300_000], ids=["with the GIL", "without the GIL"])
@pytest.mark.parametrize("loop", [
    "lambda x: jitnet.while_loop(lambda x: x[0] < 2, lambda x: x * 0.5, x)",
    "lambda x: jitnet.while_loop(lambda x: x[0] < 2, lambda x: jitnet.fori_loop(0, 5, lambda i, x: x * 0.5, x), x)",
    "lambda x: jitnet.fori_loop(0, np.where(x[0] < 2, 1 << 50, 0), lambda i, x: x * 0.5, x)",
], ids=["while_loop", "a loop in a loop", "fori_loop"])
def test_an_endless_loop_is_interrupted(loop, size):
    code = textwrap.dedent(PROGRAM.format(loop=loop, size=size))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env={**os.environ, "PYTHONPATH": str(ROOT)})
    rescue = threading.Timer(120, child.kill)   # or a loop that nothing ends would keep the test waiting
    rescue.start()
    try:
        for _ in range(2):
            assert child.stdout.readline() == "ready\n", child.stderr.read()
            time.sleep(0.2)   # by now the loop runs, most likely; a signal before it is as good
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
        assert child.stdout.read() == "sound\n", child.stderr.read()
    finally:
        rescue.cancel()
        child.kill()
        child.communicate()
