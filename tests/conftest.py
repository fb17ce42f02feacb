"""One kernel cache for all test workers, thrown away at the end; graphs are checked after every pass."""
import os
import shutil
import tempfile

import pytest

# Set when the file is read, which is before jitnet is imported and before pytest-xdist starts its workers: they inherit it.
os.environ.setdefault("JITNET_CHECK", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
_own_cache = None
if "JITNET_CACHE_DIR" not in os.environ:
    _own_cache = os.environ["JITNET_CACHE_DIR"] = tempfile.mkdtemp(prefix="jitnet-test-cache-")


def pytest_configure(config):
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("JITNET_ALL_KERNELS", "JITNET_NIGHTLY")):
        import importlib.util
        path = os.path.join(os.path.dirname(__file__), "every_kernel.py")
        spec = importlib.util.spec_from_file_location("every_kernel", path)
        plugin = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plugin)
        config.pluginmanager.register(plugin, "every_kernel")   # which runs its pytest_configure too


def pytest_terminal_summary(terminalreporter):
    """Says so where kernels were compiled as far as PTX alone."""
    from jitnet.runtime.cuda_compile import has_assembler
    if not has_assembler():
        text = "GPU kernels were compiled to PTX and not assembled: neither nvJitLink nor ptxas is installed"
        terminalreporter.write_line(f"{text} (pip install 'jitnet[test]')", yellow=True)


def pytest_unconfigure(config):
    if _own_cache is not None:
        shutil.rmtree(_own_cache, ignore_errors=True)


@pytest.fixture
def rng():
    """A seeded NumPy generator: the same numbers in every run."""
    import numpy as np
    return np.random.default_rng(20240229)
