"""The command for a GPU, rehearsed where there is none: what it measures, what it survives, and what its page says."""
import pathlib
import sys
import time

import numpy as np
import pytest

import jitnet

HERE = pathlib.Path(__file__).resolve().parent / "benchmarks"
sys.path.insert(0, str(HERE))

import gpu  # noqa: E402
import gpu_cases  # noqa: E402
import gpu_page  # noqa: E402

CUPY = """
from numpy import *
from numpy import asarray as asnumpy
__version__ = "13 of memory"
class cuda:
    class runtime: getDeviceCount = staticmethod(lambda: 1)
    class Device: synchronize = lambda self: None
class get_default_memory_pool: free_all_blocks = lambda self: None
"""


def test_the_page_of_a_gpu(tmp_path, monkeypatch):
    """The one command: a test that fails is in the page, what follows is measured all the same, and so are peers."""
    (tmp_path / "cupy.py").write_text(CUPY)
    (tmp_path / "planted.py").write_text("import gpu_fake\ngpu_fake.driver.plant('copy', 1, 'NO')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(gpu, "PROCESSES", 0)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p planted -k 'test_card and (epilogues or there_and_back or several)'")
    gpu.main(["--rehearse", "--without", "torch", "--without", "torch.compile", "--without", "jax",
              "--output", str(tmp_path / "gpu.md")])
    text = (tmp_path / "gpu.md").read_text()
    assert "- Card: Fake GPU, compute capability 9.0" in text and "- jitnet 0.1.0, cupy 13 of memory.\n" in text
    assert "pytest tests/gpu`): 5 passed, 1 failed, 1 skipped, in " in text and "\n  - failed: `test_epilogues[" in text
    assert text.endswith("Not measured:\n\n- torch: left out\n- jax: left out\n- torch.compile: left out\n")
    assert "\n| MLP step, batch 8 |" in text and "\n- a call of a captured program in under 10 us: " in text


def test_measuring_on_a_gpu_goes_on(tmp_path, capfd):
    """What is wrong, too slow or dies is named in a line, and the next case finds a worker."""
    made = "        arrays, check = case.make()\n"
    (tmp_path / "gpu_worker.py").write_text((HERE / "gpu_worker.py").read_text().replace(made, made + """
        if case.name == "sum of all":
            check = lambda results: 0.5
        if case.name == "sum of columns":
            time.sleep(60)
        if case.name == "transpose":
            os._exit(3)
"""))

    class Peer(gpu.GpuPeer):
        def program(self):
            return "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(HERE)!r}]; import gpu_worker; " \
                         "gpu_worker.main('jitnet', 'rehearsed')"

    sizes = 1 << 14, 64, (8,)
    cases, found = {case.name: case for case in gpu_cases.cases(*sizes)}, {}
    with open(tmp_path / "log", "w+") as log, Peer("jitnet", sys.executable, log) as peer:
        for name in ("sum of all", "sum of columns", "transpose", "sum of rows"):
            until = time.monotonic() + (1 if name == "sum of columns" else 60)
            found[name] = gpu.measured(cases[name], sizes, {"jitnet": peer}, until, 1e-4, 1)["jitnet"]
        assert gpu.measured(cases["copy"], sizes, {"jitnet": peer}, time.monotonic(), 1e-4, 1) == {
            "jitnet": {"why": "no time left"}}
    assert found.pop("sum of rows")["seconds"] > 0
    assert found == {"sum of all": {"why": "ArithmeticError: wrong by 5.0e-01 of the largest value"},
                     "sum of columns": {"why": "not done after 1 s"}, "transpose": {"why": "its process ended with status 3"}}


def test_checks_of_what_a_gpu_computes():
    for case in gpu_cases.cases(1 << 14, 64, (8,)):
        if case.function is not None and case.name != "transpose":
            arrays, check = case.make()
            with np.errstate(all="raise"):
                right = np.asarray(case.function(np, *arrays))
            wrong, nan = right.copy(), right.copy()
            wrong.reshape(-1)[-1 if right.size < 4096 else -4096] += np.max(np.abs(right))
            nan.reshape(-1)[-1 if right.size < 4096 else -4096] = np.nan
            assert check([right]) <= case.tolerance, case.name
            assert check([wrong]) > 0.5 and not check([nan]) <= case.tolerance, case.name


def gpu_figures(case, **results):
    cases = gpu_cases.cases(1 << 28, 4096, (64,))
    return {"command": "c", "date": "d", "minutes": 1.0, "rehearsed": False, "driver": "580.65.06",
            "clocks": [(1980, 2619), (1755, 2619)],
            "card": {"name": "Card", "capability": [9, 0], "multiprocessors": 132, "l2": 50 << 20, "cuda": [13, 0]},
            "versions": {"jitnet": "1"}, "tests": ["- Tests."], "absent": {"cupy": "not installed"}, "bytes": 1 << 30,
            "cases": [c for c in cases if c.name in ("copy", case)],
            "results": {"copy": {"jitnet": {"seconds": 1e-3}, "torch": {"seconds": 0.5e-3}}, case: results}}


@pytest.mark.parametrize("ours, share, verdict", [(0.55e-3, "91%", "reached: elementwise chain 91%"),
                                                  (1e-3, "50%", "**missed** by elementwise chain (50%)")])
def test_what_the_page_of_a_gpu_says(ours, share, verdict):
    text = gpu_page.page(gpu_figures("elementwise chain", jitnet={"seconds": ours, "first": 0.2}, torch={"seconds": 2e-3},
                                     jax={"why": "RuntimeError: no"}, **{"torch.compile": {"seconds": 1e-3}}))
    assert f"| elementwise chain | {1e6 * ours:,.1f} | 2,000.0 | - | 1,000.0 | {share} | {1e-3 / ours:.2f} |" in text
    assert f"at least 85% of copy bandwidth, elementwise work and reductions of rows of 1.1 GB: {verdict}\n" in text
    assert f"kernels and products: reached: elementwise chain {1e-3 / ours:.2f}\n" in text
    assert "- no slower than torch.compile with CUDA graphs, training steps: not measured\n" in text
    assert "Ceiling of memory, measured in the same run: 4.29 TB/s (by torch)." in text and "rehearsal" not in text
    assert "multiprocessors 1755 to 1980 MHz, memory 2619 to 2619 MHz" in text and "driver 580.65.06 for CUDA 13.0" in text
    assert text.endswith("Not measured:\n\n- elementwise chain, jax: RuntimeError: no\n- cupy: not installed\n")


def test_what_the_page_of_a_gpu_says_of_calls_and_steps():
    found = list(gpu_page.verdicts(gpu_figures("call of two small layers", jitnet={"seconds": 2e-5, "host": 4e-6})))
    assert found[-1][1] == {"call of two small layers": (True, "4.0 us")}
    times = {"jitnet": {"seconds": 2e-5}, "torch.compile": {"seconds": 1e-5}}
    found = list(gpu_page.verdicts(gpu_figures("MLP step, batch 64", **times)))
    assert found[2][1] == {"MLP step, batch 64": (False, "0.50")} and gpu_page.verdict_text({}) == "not measured"


def test_the_tests_of_a_gpu_that_end_early(monkeypatch):
    assert gpu.tested(0.0)[0].endswith("none ran, in 0 s; cut off then, for the time that they may take was over.")
    assert gpu.tests_text({"test_a": "passed"}, 7, False, -11, "Fatal") == [
        "- Tests on the card (`python -m pytest tests/gpu`): 1 passed, in 7 s; ended with status -11: Fatal."]
    assert gpu.fitting(1 << 28, 80 << 30) == 1 << 28 and gpu.fitting(1 << 28, 16 << 30) == 1 << 27


def test_a_machine_without_a_gpu(tmp_path):
    """The command says what was looked for, and leaves the page alone."""
    if jitnet.num_gpus():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit, match=r"^jitnet cannot be measured: DeviceError: gpu\(0\): there is no GPU"):
        gpu.main(["--output", str(tmp_path / "gpu.md")])
    assert not (tmp_path / "gpu.md").exists()


def test_the_page_that_is_there_was_measured_or_says_that_it_was_not():
    text = (HERE.parents[1] / "docs" / "gpu.md").read_text()
    assert text == "# GPU\n\nnot measured\n" or "Written by `python tests/benchmarks/gpu.py`" in text
