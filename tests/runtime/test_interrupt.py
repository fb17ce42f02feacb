"""Ctrl-C ends a native loop between two rounds, and what was compiled goes on working."""
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
    import resource
    import signal
    import numpy as np
    import jitnet

    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))   # a loop that nothing ends ends the program, and the test
    loop = jitnet.jit({loop})
    small = np.full({size}, 3.0)
    expected = np.full({size}, 3.0)
    loop(small)                         # ends at once: compiled, and found by the native call from now on
    endless = np.ones({size})
    signal.signal(signal.SIGVTALRM, signal.default_int_handler)   # a shell's background jobs ignore SIGINT
    for attempt in range(2):
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.2)   # of this process' own work: by then the loop runs
            loop(endless)
        except KeyboardInterrupt:
            print("interrupted")
    assert (endless == 1).all() and (loop(small) == expected).all()
    print("sound")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals are sent in another way there")
@pytest.mark.parametrize("size", [3, 300_000], ids=["with the GIL", "without the GIL"])
@pytest.mark.parametrize("loop", [
    "lambda x: jitnet.while_loop(lambda x: x[0] < 2, lambda x: x * 0.5, x)",
    "lambda x: jitnet.while_loop(lambda x: x[0] < 2, lambda x: jitnet.fori_loop(0, 5, lambda i, x: x * 0.5, x), x)",
    "lambda x: jitnet.fori_loop(0, np.where(x[0] < 2, 1 << 50, 0), lambda i, x: x * 0.5, x)",
], ids=["while_loop", "a loop in a loop", "fori_loop"])
def test_an_endless_loop_is_interrupted(loop, size):
    """The handler of Ctrl-C, called by a timer of the program's own: it works the same however busy the machine is."""
    code = textwrap.dedent(PROGRAM.format(loop=loop, size=size))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          timeout=600, env={**os.environ, "PYTHONPATH": str(ROOT)})   # or nothing ended the loop
    assert done.stdout == "interrupted\ninterrupted\nsound\n", done.stderr
