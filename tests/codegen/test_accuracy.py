"""Every function within its budget of ULP against mpmath, and within NumPy's tolerance on NumPy's own validation data."""
import importlib.util
import os
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

from jitnet.testing_ulp import (
    CASES,
    DTYPES,
    HALVES,
    accuracy_table,
    compiled,
    measure,
    measure_all,
    measure_half,
    samples,
    ulp_distance,
    ulp_error,
    ulp_errors,
)

# JITNET_ULP_SAMPLES=100000 for a night's run; JITNET_ULP_EXHAUSTIVE=1 adds every float32
COUNT = int(os.environ.get("JITNET_ULP_SAMPLES", "900"))
VALIDATION = sorted((Path(np.__file__).parent / "_core/tests/data").glob("umath-validation-set-*.csv"))
OUR_NAMES = {"arccos": "acos", "arcsin": "asin", "arctan": "atan", "arccosh": "acosh", "arcsinh": "asinh", "arctanh": "atanh"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_within_budget(name, dtype):
    found = measure(name, dtype, COUNT)
    assert found.points > COUNT / 3
    assert found.worst <= CASES[name].budget, found


def validation_rows(path):
    """{dtype: (inputs, exact outputs rounded, tolerances)} of one file of NumPy's."""
    rows = [line.strip().split(",") for line in path.read_text().splitlines() if line.startswith("np.float")]
    out = {}
    for dtype, kind in DTYPES.items():
        mine = [row for row in rows if row[0] == f"np.{np.dtype(kind).name}"]
        bits = np.array([[int(row[1], 16), int(row[2], 16)] for row in mine], f"u{np.dtype(kind).itemsize}").reshape(-1, 2)
        out[dtype] = bits[:, 0].copy().view(kind), bits[:, 1].copy().view(kind), np.array([int(row[3]) for row in mine])
    return out


@pytest.mark.parametrize("path", VALIDATION, ids=lambda path: path.stem.rsplit("-", 1)[1])
def test_numpy_validation_set(path):
    name = path.stem.rsplit("-", 1)[1]
    for dtype, (x, expected, tolerance) in validation_rows(path).items():
        distance = ulp_distance(compiled(OUR_NAMES.get(name, name), dtype)(x), expected)
        bad = distance > tolerance
        assert not bad.any(), [(float(v), d) for v, d in zip(x[bad], distance[bad], strict=True)][:5]


def test_the_validation_set_is_whole():
    if not VALIDATION:
        pytest.skip("this NumPy ships no validation data")
    assert sum(len(x) for path in VALIDATION for x, _, _ in validation_rows(path).values()) == 26610


@pytest.mark.parametrize("name", ["exp", "log", "sin", "tanh", "sigmoid", "erf"])
def test_every_nth_chunk_of_float32(name):
    """Whole chunks of neighbouring floats; with JITNET_ULP_EXHAUSTIVE=1 all 2**32 of them."""
    everything = os.environ.get("JITNET_ULP_EXHAUSTIVE") == "1"
    assert measure_all(name, 1 << 26 if everything else 1 << 14, 1 if everything else 701) <= CASES[name].budget


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_half(dtype):
    """Conversions are exact or correctly rounded, and float32 has bits to spare."""
    for name in ("exp", "log", "sqrt", "sin", "tanh", "erf"):
        assert measure_half(name, dtype) <= 0.501, name


def test_the_measure_sees_errors():
    one = np.float32(1)
    assert ulp_error(one, mpmath.mpf(1), "f32") == 0
    assert ulp_error(np.nextafter(one, np.float32(2)), mpmath.mpf(1), "f32") == 1
    assert ulp_error(np.float64(5e-324), mpmath.mpf("2.5e-324"), "f64") == pytest.approx(0.494, abs=1e-3)
    assert ulp_error(np.inf, mpmath.mpf(2) ** 1024, "f64") == 0 and ulp_error(np.inf, mpmath.mpf(1), "f64") == np.inf
    values = np.array([1, 2, np.inf, np.nan, 0], np.float32)
    assert list(ulp_errors(values, np.array([1 + 2.0 ** -24, 2, 1e39, np.nan, 0]))) == [0.5, 0, 0, 0, 0]
    assert list(ulp_distance(np.array([1.0, -0.0, np.nan]), np.array([np.nextafter(1, 2), 0.0, np.nan]))) == [1, 0, 0]


@pytest.mark.filterwarnings("ignore")
def test_a_planted_error_is_found(monkeypatch):
    """A function that is off by three ULP somewhere in the middle does not pass."""
    import jitnet.testing_ulp as ulp

    def off(name, dtype):
        def call(x):
            y = np.exp(x.astype(np.float64)).astype(x.dtype)
            for _ in range(3):
                y = np.where(np.abs(x - 1) < 0.1, np.nextafter(y, np.float32(np.inf)), y)
            return y
        return call
    monkeypatch.setattr(ulp, "compiled", off)
    assert 2.5 < ulp.measure("exp", "f32", 900).worst < 3.6


def test_samples_reach_everywhere():
    for dtype, kind in DTYPES.items():
        x, = samples("sin", dtype, 900)
        info = np.finfo(kind)
        assert (np.abs(x[x != 0]) < info.smallest_normal).any() and (np.abs(x) > info.max / 4).any()
        assert np.isin(np.float64(kind(355 * np.pi / 2)), x)


def test_the_table_of_the_docs_is_what_the_command_writes():
    page = (Path(__file__).parents[2] / "docs/accuracy.md").read_text()
    sampled, every = page.split("--exhaustive")
    every, halves = every.split("--halves")
    rows = [line.split("|") for line in sampled.splitlines() if line.startswith("| `")]
    assert [row[1].strip(" `") for row in rows] == list(CASES)
    for row, case in zip(rows, CASES.values(), strict=True):
        assert float(row[3]) <= case.budget and float(row[5]) <= case.budget and row[8].strip() == "same bits"
    for row in (line.split("|") for line in every.splitlines() if line.startswith("| `")):
        assert float(row[3]) <= CASES[row[1].strip(" `")].budget
    for row in (line.split("|") for line in halves.splitlines() if line.startswith("| `")):
        assert float(row[2]) <= 0.501 and float(row[3]) <= 0.5001
    table = accuracy_table(60, ["sqrt"])
    assert "| `sqrt` | 0.5 | 0.500 |" in table and table.endswith(" | same bits |\n")


def minimax():
    """The module beside this one that fits the polynomials."""
    spec = importlib.util.spec_from_file_location("minimax", Path(__file__).with_name("minimax.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["minimax"] = module
    spec.loader.exec_module(module)
    return module


def test_polynomials_are_the_ones_that_were_fitted():
    """A digit lost in copying shows here at once, and only as an ULP or two elsewhere."""
    fits = minimax()
    for name in fits.FITS:
        assert fits.error(name, 40) < (-23.9 if "F32" in name or "SHORT" in name else -53.5), name
    assert fits.fit("COS_F32") == pytest.approx(fits.coefficients("COS_F32"), rel=1e-8)
