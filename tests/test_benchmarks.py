"""Every benchmark case gives NumPy's result through jitnet, on small inputs; the report holds what a run measured."""
import pathlib
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).resolve().parent / "benchmarks"
sys.path.insert(0, str(HERE))

import cases  # noqa: E402
import excerpt  # noqa: E402
import fresh_runs  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import targets  # noqa: E402
import worker  # noqa: E402
from frameworks import Jitnet, NumPy, leaves, map_tree  # noqa: E402

CASES = cases.all_cases()


@pytest.mark.parametrize("name", CASES)
def test_case_agrees_with_numpy(name):
    case = CASES[name]
    inputs = case.inputs(np.random.default_rng(7), *case.sizes[cases.TEST])
    expected = [np.asarray(x) for x in leaves(worker.Worker.reference(case, inputs))]
    results = [np.asarray(x) for x in leaves(Jitnet().function(case)(*map_tree(np.copy, inputs)))]
    for got, want in zip(results, expected, strict=True):
        assert worker.relative_error(np, got, want) <= case.tolerance


def test_relative_error():
    one = np.ones(3, np.float32)
    assert worker.relative_error(np, one, one) == 0
    assert worker.relative_error(np, one * 1.5, one) == 0.5
    assert worker.relative_error(np, np.ones(2), one) == np.inf
    assert worker.relative_error(np, one * np.nan, one) == np.inf


def test_time_call_counts_what_it_ran():
    ran = []
    figures = measure.time_call(lambda: ran.append(0), 0.01)
    assert 0 < figures["best"] <= figures["median"] <= figures["slow"]
    assert figures["calls"] <= len(ran)


def test_copy_bandwidth_is_plausible():
    assert 1e8 < measure.copy_bandwidth(1 << 16, 0.01) < 1e13


def test_names_that_the_fresh_runs_use():
    assert set(fresh_runs.FIRST) | set(fresh_runs.BUSY_CASES) | {fresh_runs.MEMORY_CASE} <= set(CASES)
    assert NumPy().function(CASES["a x + y"])(np.ones(2), np.ones(2)).tolist() == [3.5, 3.5]


def figures(ours):
    """A run's figures: two cases, in which jitnet takes `ours` seconds and its best peer one millisecond."""
    job = {"group": "fused kernels", "memory_bound": True, "copy_bandwidth": 2e9,
           "results": {"jitnet": {"best": ours, "bytes": 1e6}, "numpy": {"best": 2e-3}, "jax": {"best": 1e-3},
                       "torch": {"why": "RuntimeError: no"}}}
    call = {"case": "call", "group": "call overhead", "size": "small", "memory_bound": False, "copy_bandwidth": 0.0,
            "results": {"jitnet": {"best": 1e-6}, "numpy": {"best": 1e-6}}}
    return {"machine": {"cpu": "a cpu", "cores": 2, "system": "Linux", "load": 0.0},
            "python": "3.11", "date": "today", "command": "run.py",
            "versions": {"jitnet": "0.1", "numpy": "2", "jax": "1", "torch": "2"},
            "jobs": [{**job, "case": "sum", "size": "in cache"}, {**job, "case": "sum", "size": "out of cache"}, call],
            "probes": {"new batch size": {"jitnet": {"first": 1e-3, "best": 1e-3, "compiles": 0}},
                       "1,000-equation chain": {"jitnet": {"rows": [{"length": n, "lower": n * 1e-3, "cold": 4.0, "first": 1.0}
                                                                    for n in (500, 1000, 2000)]}}}}


@pytest.mark.parametrize("ours, met", [(0.5e-3, True), (2e-3, False)])
def test_verdicts(ours, met):
    rows = {row[0]: row for row in targets.verdicts(figures(ours))}
    assert rows["every fused kernel"][3] is met
    assert rows["memory-bound kernels out of cache"][2].endswith("100% (sum)" if met else "25% (sum)")
    assert rows["call overhead"][2:] == ("1.00 µs", True)
    assert rows["a batch size never seen"][2:] == ("0 compiles, 1.00 ms", True)
    assert rows["the same, growth per doubling"][2:] == ("1.00 × linear", True)
    assert rows["chain of 1,000 equations, trace to program"][2:] == ("1.00 s (4.00 s with its kernels compiled)", True)
    assert rows["import"][2:] == ("–", None)


def test_verdicts_of_the_first_call():
    row = {"cold": 0.2, "cold import": 0.25, "cold together": 0.45, "warm": 0.02, "warm import": 0.1, "warm together": 0.12,
           "cold compiles": 12}
    jax = {**row, "cold": 0.3, "cold together": 0.4, "cold compiles": None}
    run = figures(1e-3)
    run["probes"]["first call"] = {fresh_runs.MLP: {"jitnet": row, "jax": jax}}
    rows = {row[0]: row for row in targets.verdicts(run)}
    assert rows["first training step, empty disk cache"][2:] == ("200 ms (JAX 300)", True)
    assert rows["import and first training step, empty disk cache"][2:] == ("450 ms (JAX 400)", False)
    assert rows["import"][2:] == ("0.25 s with an empty disk cache, 0.10 s with a filled one", True)
    assert "| jitnet | 250 | 200 | 450 | 100 | 20.0 | 120 | 12 |" in report.markdown(run)


def test_report_of_a_disturbed_run_says_so():
    disturbed = figures(1e-3)
    assert "rough" not in report.markdown(disturbed)
    disturbed["machine"]["load"], disturbed["command"] = 3.25, "run.py --quick"
    text = report.markdown(disturbed)
    assert "rough: the turns were short (`--quick`) and other work ran on the machine (average load 3.25" in text


def test_report(tmp_path):
    text = report.markdown(figures(0.5e-3))
    assert "| sum | 500 | 2,000 | **1,000** | – | 2.00 |" in text
    assert "- sum, in cache: torch: RuntimeError: no" in text
    assert report.line(figures(0.5e-3)["jobs"][0]).endswith("us | ratio 2.00 | 100% of copy")
    report.picture(figures(0.5e-3), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_readme_shows_the_figures_of_the_page():
    readme, page = ((HERE.parents[1] / name).read_text() for name in ("README.md", "docs/performance.md"))
    assert excerpt.renewed(readme, page) == readme
    assert excerpt.renewed(readme.replace("| training step", "| other step"), page) == readme
