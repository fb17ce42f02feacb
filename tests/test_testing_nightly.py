"""jitnet.testing_nightly: kernels and results that have changed are told, times are compared with those of earlier nights."""
import json

import numpy as np
import pytest

import jitnet
from jitnet import testing_nightly
from jitnet.errors import TraceTypeError
from jitnet.jit import jit
from jitnet.testing_nightly import check_kernels, check_time, times
from jitnet.types import BF16

X = np.linspace(-1, 2, 12).astype(np.float32).reshape(3, 4)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.delenv("JITNET_KEEP", raising=False)
    return tmp_path / "kept" / "f.py"


def keep(function, *args, file, **options):
    with pytest.raises(AssertionError, match=r"nothing was kept in .*It is now"):
        check_kernels(function, *args, file=file, **options)
    check_kernels(function, *args, file=file, **options)


def test_what_is_kept_is_found_again_and_runs(file):
    def f(x, y):
        return np.tanh(x) @ y, {"rows": x.sum(axis=1)}

    keep(jit(f), X, X.T.copy(), file=file)
    program = {}
    exec(file.read_text(), program)
    np.testing.assert_allclose(program["f"](X, X.T)[1], X.sum(axis=1), rtol=1e-6)


def test_the_users_lines_are_no_difference(file):
    keep(jit(lambda x: np.exp(x)), X, file=file)
    check_kernels(jit(lambda x: np.exp(x) * 1), X, file=file)
    assert "# test_testing_nightly.py: keep(jit(lambda x: np.exp(x)), X, file=file)\n" in file.read_text()


def test_changes_are_told_apart(file, monkeypatch):
    keep(jit(lambda x: x * 2 + 1), X, file=file)
    with pytest.raises(AssertionError) as error:
        check_kernels(jit(lambda x: x + x + 1), X, file=file)
    lines = str(error.value).splitlines()
    assert lines[0] == "<lambda>: its kernels have changed; its results are those that are kept"
    assert lines[1] == f"kept by jitnet {jitnet.__version__}, NumPy {np.__version__}; this is {lines[1].split('this is ')[1]}"
    assert any(line.startswith("-    ") and " * " in line for line in lines)
    assert any(line.startswith("+    ") and "t0 + t0" in line for line in lines)
    assert lines[-1] == "if the change is meant, keep it: run with JITNET_KEEP=1"
    with pytest.raises(AssertionError) as error:
        check_kernels(jit(lambda x: x * 3 + 1), X, file=file)
    assert str(error.value).startswith("<lambda>: its kernels have changed; output_0: (float32(3, 4)) differs at 12 of 12 ")
    monkeypatch.setenv("JITNET_KEEP", "1")
    check_kernels(jit(lambda x: x + x + 1), X, file=file)
    monkeypatch.setenv("JITNET_KEEP", "0")
    check_kernels(jit(lambda x: x + x + 1), X, file=file)


def test_results_alone(file):
    """Kernels that are the same with other results: here, of other arguments."""
    keep(jit(lambda x: np.exp(x)), X, file=file)
    near = X.copy()
    near[0, 0] *= np.float32(1.00001)
    check_kernels(jit(lambda x: np.exp(x)), near, file=file)
    with pytest.raises(AssertionError, match=r"its kernels are those that are kept; output_0: .* differs at 1 of 12 places"):
        check_kernels(jit(lambda x: np.exp(x)), near, file=file, tolerance={np.dtype(np.float32): 0.0})
    with pytest.raises(AssertionError, match="its results are output_0, output_1; kept are output_0"):
        check_kernels(jit(lambda x: (np.exp(x), x)), X, file=file)


def test_written_arguments_and_every_dtype(file):
    @jit
    def step(x, n, h):
        x += 1
        return n > 2, n << 1, h * 2, h.astype(np.float16)

    x, n = X.copy(), np.arange(6)
    keep(step, x, n, X.astype(BF16), file=file)
    np.testing.assert_array_equal(x, X)
    with np.load(file.with_suffix(".npz")) as kept:
        np.testing.assert_array_equal(kept["argument_0"], X + 1)


def test_kernels_of_a_gpu_and_functions_that_are_not_compiled(file):
    keep(jit(lambda x: x * 2 + 1), X, file=file, device="cuda")
    assert "cuda_simulator" in file.read_text()
    with pytest.raises(TraceTypeError, match="check_kernels: `sin` is not a compiled function"):
        check_kernels(np.sin, X, file=file)


def test_times_are_compared_with_the_best_of_such_a_machine(tmp_path, monkeypatch):
    f, file, measured = jit(lambda x: x * 2), tmp_path / "kept" / "times.jsonl", []

    def night(*seconds, threads=2, **options):
        measured[:] = seconds
        monkeypatch.setattr(testing_nightly, "_best_seconds", lambda *_: measured.pop(0))
        monkeypatch.setattr(testing_nightly, "get_num_threads", lambda: threads)
        return check_time(f, X, file=file, name="double", **options)

    assert night(2e-6) == pytest.approx(2e-6)
    night(2.9e-6)
    night(3.1e-6, 2.4e-6)                   # measured again
    night(9e-6, threads=4)                  # another machine
    with pytest.raises(AssertionError, match=r"^double: 3.1 us, 1.6 times what it took on \S+ \(2 us with jitnet") as error:
        night(3.2e-6, 3.3e-6, 3.1e-6)
    assert str(error.value).endswith("2 threads")
    night(3.3e-6, slower=2)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["us"] for line in lines] == [2, 2.9, 2.4, 9, 3.1, 3.3]
    table = [line.split() for line in times(file).splitlines()]
    assert [row[:5] for row in table[1:]] == [["double", "5", "2", "3.3", "1.65"], ["double", "1", "9", "9", "1.00"]]


def test_a_call_is_measured(tmp_path):
    calls = []
    f = jit(lambda x, n: x * n, static_argnames="n")

    def counted(*args, **kwargs):
        calls.append(kwargs)
        return f(*args, **kwargs)

    assert 0 < testing_nightly._best_seconds(counted, (X,), {"n": 3}, 0.001) < 1
    assert len(calls) > 3 and calls[0] == {"n": 3}
