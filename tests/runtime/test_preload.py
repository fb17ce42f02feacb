"""What `import jitnet` loads: the compiler where nothing was compiled on this machine before, and otherwise not."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOADED = "import sys, jitnet; print('numba' in sys.modules)"
CALL = "import jitnet, numpy as np; f = jitnet.jit(lambda x: x @ x + 1); print(f(np.ones((2, 2), np.float32)).sum())"


def python(code, **environment):
    """What a fresh process prints; it ends well and warns of nothing."""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120,
                         env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
    assert ran.returncode == 0 and ran.stderr == ""
    return ran.stdout.strip()


def test_with_an_empty_cache_the_compiler_is_loaded_and_with_a_filled_one_it_is_not(tmp_path):
    folder = str(tmp_path / "cache")
    assert python(LOADED, JITNET_CACHE_DIR=folder) == "True"
    assert python(CALL, JITNET_CACHE_DIR=folder) == "12.0"
    assert python(LOADED, JITNET_CACHE_DIR=folder) == "False"
    assert python(CALL + "; import sys; print('numba' in sys.modules)", JITNET_CACHE_DIR=folder).split() == ["12.0", "False"]


def test_python_without_docstrings_and_assertions():
    code = "import jitnet.nd, jitnet.sym, jitnet.testing; print(jitnet.numpy.nanargmax([1.0, 2.0]))"
    ran = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, timeout=120,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"})
    assert (ran.stdout.strip(), ran.stderr) == ("1", "")


def test_without_a_cache_the_compiler_is_loaded():
    assert python(LOADED, JITNET_CACHE="0") == "True"
    assert python(CALL, JITNET_CACHE="0") == "12.0"


def test_one_process_is_enough(tmp_path):
    """Without a child the native functions are built in the first call."""
    assert python(CALL, JITNET_CACHE_DIR=str(tmp_path), JITNET_COMPILE_PROCESSES="1") == "12.0"


@pytest.mark.parametrize("place", ["a file", "no folder at all"])
def test_a_place_that_holds_no_cache_is_an_empty_one(tmp_path, place):
    (tmp_path / "file").write_text("")
    home = tmp_path / ("file" if place == "a file" else "nothing")
    environment = {"HOME": str(home), "XDG_CACHE_HOME": "", "JITNET_CACHE_DIR": "", "LOCALAPPDATA": str(home)}
    assert python(LOADED, **environment) == "True"
    assert not (tmp_path / "nothing").exists()   # an import writes nothing


def test_an_import_never_fails_for_want_of_a_compiler(tmp_path):
    code = "import sys; sys.modules['numba'] = None; import jitnet; print(jitnet.get_num_threads())"
    assert python(code, JITNET_CACHE_DIR=str(tmp_path), JITNET_NUM_THREADS="1") == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_does_not_outlive_the_process_that_started_it(tmp_path):
    code = ("from jitnet.runtime import cache; import jitnet\n"
            "children = {child.process for child in cache._ahead.values()}\n"
            "print(*children)")
    for pid in map(int, python(code, JITNET_CACHE_DIR=str(tmp_path)).split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


FORKED = """
import jitnet, os, numpy as np
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    {}
"""
WAITED = """
import jitnet, os, numpy as np
try:
    while True:
        os.wait()
except ChildProcessError:
    {}
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("code", [FORKED, WAITED])
def test_the_first_call_after_what_users_do(tmp_path, code):
    """In a child of the user's, and where the user's code has waited for jitnet's child."""
    call = CALL.split("; ", 1)[1]
    assert python(code.format(call), JITNET_CACHE_DIR=str(tmp_path)) == "12.0"
