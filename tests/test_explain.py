"""What a compiled function lets you see: explain, source, memory, steps, retraces, JITNET_DEBUG."""
import re

import numpy as np
import pytest

import jitnet
from jitnet.ir import check_graph, eval_graph
from jitnet.text import columns, size_text

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@jitnet.jit
def layer(x, w):
    h = np.tanh(x @ w)
    e = np.exp(h - np.max(h, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def stripped(text: str) -> str:
    """The text without what may change with the planner, this file and the machine: sizes, line numbers, who multiplies."""
    text = text.replace("BLAS: ", "blocks in registers: ")
    return re.sub(r"test_explain\.py:\d+", "here", re.sub(r"[\d.]+ k?B\b", "N B", text))


def test_explain_names_lines_kernels_and_what_was_stored():
    text = layer.explain(X, X.T.copy())
    assert repr(text) == str(text)
    assert stripped(text) == """\
layer(f32[3,4], f32[4,3]): 9 equations became 1 matrix product and 1 kernel; N B of scratch memory

- matmul: reads N B, writes N B, blocks in registers: 3 x 4 x 3
    here  matmul  h = np.tanh(x @ w)
- kernel_1: reads N B, writes N B
    here  tanh                         h = np.tanh(x @ w)
    here  max, reshape, subtract, exp  e = np.exp(h - np.max(h, axis=1, keepdims=True))
    here  sum, reshape, divide         return e / np.sum(e, axis=1, keepdims=True)

stored between steps, not fused:
  f32[3,3]  matmul at here  matmul is a step of its own, its result lies in memory"""


def test_explain_names_what_stands_between():
    def f(x):
        e = np.exp(x)
        return np.sort(e, axis=1) / (e + 1)

    line = f.__code__.co_firstlineno + 2
    text = jitnet.jit(f).explain(X)
    assert re.search(rf"exp at test_explain.py:{line - 1} +sort is a step of its own, its operands lie in memory", text)

    def g(x):
        total = np.sum(x, axis=0)
        return np.sort(total + 1) * np.sum(x, axis=0)

    assert "sort is a step of its own" in jitnet.jit(g).explain(X)


def test_explain_says_what_a_reduction_is_cut_into():
    f = jitnet.jit(lambda x: np.sum(np.exp(x)))
    short, long = f.explain(np.ones(5)), f.explain(np.ones(100_000))
    assert "a reduction of few rows, cut into chunks where it is long (here there is one): the next step combines them" in short
    assert "one long reduction, cut into chunks that run in parallel: the next step combines them" in long


def test_explain_says_when_numpy_runs():
    f = jitnet.jit(lambda x: np.sort(x + 1, axis=1) * 2)
    text = f.explain(X)
    assert "sort (NumPy, called back from the native program)" in text and "sort runs through NumPy" in text
    assert "sort is a step of its own" in text


def test_explain_shows_loops():
    f = jitnet.jit(lambda x: jitnet.scan(lambda c, v: (c * 0.5 + v, c), x[0], x))
    text = f.explain(X)
    assert "- native loop, 3 rounds\n    - " in text and "    - kernel" in text
    g = jitnet.jit(lambda x: jitnet.while_loop(lambda v: np.sum(v) < 100, lambda v: v * 2 + 1, x))
    assert "- native loop, rounds while a condition holds" in g.explain(X)


def loops(x):
    total, rows = jitnet.scan(lambda c, v: (np.tanh(c) + v, c * 2), x[0], x)
    doubled = jitnet.while_loop(lambda v: np.sum(v) < 50, lambda v: v * 2 + 1, x)
    return total, rows, doubled, jitnet.cond(x[0, 0] > 0, np.sin, np.cos, x)


def gathers(x):
    picked, ordered = x[np.array([2, 0, 2])] * 2, np.sort(x, axis=0)
    return picked, ordered, np.sum(x.T @ x, axis=0), x.T.reshape(-1)[::3], np.concatenate([x, x + 1])


def gradient(x):
    return jitnet.value_and_grad(lambda v: np.sum(np.tanh(v @ v.T) ** 2))(x)


@pytest.mark.parametrize("function", [layer.__wrapped__, loops, gathers, gradient], ids=lambda f: f.__name__)
def test_source_runs_and_gives_the_same_values(function):
    compiled = jitnet.jit(function)
    args = (X, X.T.copy()) if function is layer.__wrapped__ else (X,)
    text = compiled.source(*args)
    assert text.startswith("from jitnet.codegen.intrinsics import *\n")
    scope = {}
    exec(text, scope)
    out = scope[function.__name__](*args)
    want = jitnet.tree.leaves(compiled(*args))
    for got, expected in zip(out if isinstance(out, tuple) else (out,), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)


def test_source_takes_the_device():
    assert "def kernel" in layer.source(X, X.T.copy(), device="cpu")
    with pytest.raises(jitnet.errors.DeviceError):
        layer.source(X, X.T.copy(), device="tpu")


def test_steps_hold_the_graph_after_every_pass():
    steps = layer.steps(X, X.T.copy())
    assert steps[0][0] == "trace" and "fuse" in dict(steps)
    for _, graph in steps:
        np.testing.assert_allclose(eval_graph(check_graph(graph), X, X.T.copy())[0], layer(X, X.T.copy()), rtol=1e-5)
    text = str(steps)
    assert text.startswith("# trace: 9 equations\ndef layer(x, w):") and repr(steps) == text
    assert "kernel(" in text and ": no change" in text


def test_memory():
    text = layer.memory(X, X.T.copy())
    assert text.startswith("layer: memory of one run\n")
    assert re.search(r"arguments +96 B  f32\[3,4\], f32\[4,3\]\n", text) and re.search(r"results +36 B  f32\[3,3\]\n", text)
    assert re.search(r"in the arena, over 2 steps:\n +offset +size +from first write to last read\n +\d+ +36 B +##$", text)


def test_lower_compiles_and_runs_nothing():
    calls = []

    @jitnet.jit
    def f(x):
        calls.append(1)
        return x + 1
    lowered = f.lower(X)
    np.testing.assert_array_equal(lowered.run([X])[0], X + 1)
    assert calls == [1] and f.traces == 1
    f(X)
    f.graph(X)
    assert calls == [1]


def test_graph_traces_without_compiling():
    f = jitnet.jit(lambda x: x * 3)
    before = jitnet.cache.info()
    assert len(f.graph(X).eqns) == 1 and f.traces == 0
    assert jitnet.cache.info().misses == before.misses


@pytest.mark.parametrize("first, then, reason", [
    ((X,), (X[:2].copy(),), "  argument `x`: shape changed, f32[3,4] became f32[2,4]"),
    ((X,), (X.astype(float),), "  argument `x`: dtype changed, f32[3,4] became f64[3,4]"),
    ((X,), (X.astype(int)[0],), "  argument `x`: type changed, f32[3,4] became i64[4]"),
    ((X,), (2.0,), "  argument `x`: an array f32[3,4] became a Python float"),
    ((2,), (2.0,), "  argument `x`: a Python int became a Python float"),
    ((2,), (np.int8(2),), "  argument `x`: a Python int became a NumPy int8"),
    ((X,), ((X, X),), "  argument `x`: container an array or number became (*, *)"),
    (({"a": X},), ({"a": X, "b": X},), "  argument `x`: container {'a': *} became {'a': *, 'b': *}"),
    (({"a": [X]},), ({"a": [X[0]]},), "  argument `x['a'][0]`: shape changed, f32[3,4] became f32[4]"),
    ((X,), (X, X), "  called as (x) before, now as (x, y)"),
    ((X, X, 1), (X, X, 2), "  static argument `n`: 1 became 2"),
    ((X, X, 1), (X[0], X[0], 2), "  static argument `n`: 1 became 2\n  argument `x`: shape changed, f32[3,4] became f32[4]\n"
                                 "  argument `y`: shape changed, f32[3,4] became f32[4]"),
])
def test_explain_retrace(first, then, reason):
    @jitnet.jit(static_argnames="n")
    def f(x, y=None, n=0):
        return jitnet.tree.map(lambda v: v + n, x)

    assert jitnet.explain_retrace(f) == "`f` has not been traced yet"
    f(*first)
    assert jitnet.explain_retrace(f) == "`f` was traced once: its first call"
    f(*first)
    f(*then)
    assert jitnet.explain_retrace(f) == f"`f` was traced 2 times, the last time because\n{reason}"


def test_explain_retrace_compares_with_the_nearest():
    f = jitnet.jit(lambda x, y: x + y)
    for args in [(X, X), (X[0], X[0]), (X, X[0])]:
        f(*args)
    assert jitnet.explain_retrace(f).endswith("because\n  argument `x`: shape changed, f32[4] became f32[3,4]")
    with pytest.raises(TypeError, match="is no compiled function"):
        jitnet.explain_retrace(np.sin)


def test_debug_levels(monkeypatch, capfd):
    texts = {}
    for level in range(5):
        monkeypatch.setenv("JITNET_DEBUG", str(level))
        f = jitnet.jit(lambda x: np.tanh(x) * 2)
        f(X)
        f(X)
        texts[level] = capfd.readouterr().err
    assert texts[0] == ""
    assert re.fullmatch(r"jitnet: <lambda>\(f32\[3,4\]\): traced in [\d.]+ ms, compiled in [\d.]+ ms: "
                        r"2 equations, 1 step, \d new kernels?\n", texts[1])
    assert "became 1 kernel" in texts[2] and "def kernel_0" not in texts[2]
    assert "def kernel_0(buffers, sizes, start, stop):" in texts[3] and "# fuse" not in texts[3]
    assert "# fuse: 1 equation" in texts[4]


def test_text_helpers():
    sizes = [size_text(n) for n in (0, 999, 1000, 1536, 999_999, 64_000_000, 5e15)]
    assert sizes == ["0 B", "999 B", "1.0 kB", "1.5 kB", "1.0 MB", "64.0 MB", "5000.0 TB"]
    assert columns([("a", "10"), ("bbb", "2")], right=(1,)) == ["a    10", "bbb   2"] and columns([]) == []


def test_source_takes_long_constants_as_keywords():
    short, long = np.arange(5.0), np.linspace(0, 1, 40 * 15).reshape(40, 15)
    f = jitnet.jit(lambda x: (x * short).sum() + x[:, 0] @ long)
    x, namespace = np.ones((40, 5)), {}
    exec(f.source(x), namespace)
    consts = {f"const_{k}": c for k, c in enumerate(f.lower(x).program.consts) if c.nbytes > 4096}
    assert [c.shape for c in consts.values()] == [(40, 15)]
    np.testing.assert_allclose(namespace["lambda_"](x, **consts), f(x), rtol=1e-12)
    with pytest.raises(TypeError, match="const_"):
        namespace["lambda_"](x)


def test_source_of_a_lambda_is_python():
    f = jitnet.jit(jitnet.grad(lambda w: (w * w).sum()))
    compile(f.source(X), "source", "exec")
