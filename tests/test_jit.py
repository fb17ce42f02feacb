"""jit: results, containers, keys, threads, errors, and how a compiled function looks and is kept."""
import copy
import dataclasses
import gc
import importlib
import inspect
import pickle
import threading
import traceback
import weakref
from collections import namedtuple

import numpy as np
import pytest

import jitnet
from jitnet import errors

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def whole(error) -> str:
    """The message without the middle line, which names a line of this file."""
    lines = str(error.value).split("\n")
    return "\n".join(line for line in lines if "test_jit.py" not in line)


@jitnet.jit
def scale(x, factor=2.0, *, shift=0.0):
    """Scaled and shifted."""
    return x * factor + shift


def test_kind_that_went_in_comes_back():
    assert type(scale(X)) is np.ndarray
    assert type(scale(jitnet.asarray(X))) is jitnet.Array
    assert type(scale(X, jitnet.asarray(2.0))) is jitnet.Array
    assert type(scale(3.0)) is jitnet.Array
    total = jitnet.jit(lambda x: np.sum(x))
    assert type(total(X)) is np.float32
    assert type(total(jitnet.asarray(X))) is jitnet.Array
    assert type(scale(np.float32(3))) is np.float32


Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass
class Params:
    w: np.ndarray
    b: np.ndarray


def test_containers_go_in_and_come_out():
    @jitnet.jit
    def step(params, pair, table):
        new = Params(params.w + pair.left, params.b * 2)
        return {"params": new, "pair": pair, "rest": [table["k"][0], None, (table["z"],)]}

    args = Params(X, X[0]), Pair(X + 1, X), {"z": X, "k": (X * 3, 4)}
    for _ in range(3):
        out = step(*args)
        assert isinstance(out["params"], Params) and isinstance(out["pair"], Pair) and out["rest"][1] is None
        np.testing.assert_allclose(out["params"].w, 2 * X + 1)
        np.testing.assert_allclose(out["rest"][0], X * 3)
        assert isinstance(out["rest"], list) and isinstance(out["rest"][2], tuple)
    assert step.traces == 1


def test_results_of_every_form():
    for function in (lambda x: x, lambda x: (x,), lambda x: [x, x], lambda x: None, lambda x: (), lambda x: (x + 1, 2.0, x)):
        compiled = jitnet.jit(function)
        for _ in range(2):
            got, want = compiled(X), function(X)
            assert type(got) is type(want)
            for a, b in zip(jitnet.tree.leaves(got), jitnet.tree.leaves(want), strict=True):
                np.testing.assert_array_equal(a, b)


def test_results_are_fresh_arrays():
    x = X.copy()
    a, b = jitnet.jit(lambda x: (x, x))(x)
    a[0, 0] = 9
    assert x[0, 0] == 0 and b[0, 0] == 0


def test_structure_of_the_result_may_depend_on_shapes():
    rows = jitnet.jit(lambda x: [x[k] for k in range(x.shape[0])])
    for n in (1, 3, 1, 2, 3):
        out = rows(np.ones((n, 2)))
        assert len(out) == n and out[0].shape == (2,)


def test_a_failed_trace_leaves_everything_as_it_was():
    @jitnet.jit
    def f(x, y):
        x[0] = 7
        return x + y

    x = np.zeros(3)
    with pytest.raises(TypeError):
        f(x, np.zeros(2))
    assert f.traces == 0 and x[0] == 0 and jitnet.explain_retrace(f) == "`f` has not been traced yet"
    assert f(x, 1.0)[0] == 8 and x[0] == 7


def test_called_inside_another():
    inner = jitnet.jit(lambda x: np.tanh(x) + 1)
    outer = jitnet.jit(lambda x: inner(x) * inner(2 * x))
    np.testing.assert_allclose(outer(X), (np.tanh(X) + 1) * (np.tanh(2 * X) + 1), rtol=1e-6)
    assert inner.traces == 0
    names = [eqn.op.name for eqn in outer.graph(X).eqns]
    assert names.count("tanh") == 2


def test_a_closure_over_a_traced_value():
    @jitnet.jit
    def outer(x):
        inner = jitnet.jit(lambda y: y * x)
        return inner(np.float32(2))
    np.testing.assert_array_equal(outer(X), X * 2)


def test_looks_like_the_function():
    assert scale.__name__ == "scale" and scale.__doc__ == "Scaled and shifted." and scale.__module__ == __name__
    assert str(inspect.signature(scale)) == "(x, factor=2.0, *, shift=0.0)"
    assert repr(scale) == "<jit scale>" and callable(scale)
    assert repr(scale.lower(np.ones(3))) == "<compiled scale: kernels kernel_0>"


def test_completion_shows_the_public_names_alone():
    names = set(dir(jitnet))
    assert {"jit", "grad", "numpy", "nn", "tree", "testing", "errors", "config", "cache", "asarray", "map"} <= names
    assert not {"tracer", "ops", "text", "promotion", "transforms", "runtime"} & names
    for module, there, hidden in ((jitnet.numpy, {"linalg", "sin", "mean", "pi"}, {"creation", "protocol", "masked"}),
                                  (jitnet.nd, {"random", "contrib", "dot", "NDArray"}, {"tape", "base", "pending"}),
                                  (jitnet.sym, {"random", "linalg", "Variable"}, {"make", "node", "program"})):
        assert there <= set(dir(module)) and not hidden & set(dir(module))


def test_decorator_forms():
    assert isinstance(jitnet.jit(lambda x: x), jitnet.JitFunction)
    assert isinstance(jitnet.jit(static_argnames="x")(lambda x: x), jitnet.JitFunction)
    with pytest.raises(errors.TraceTypeError, match="jit: an int cannot be called"):
        jitnet.jit(3)


def test_new_shapes_compile_no_kernel():
    f = jitnet.jit(lambda x: np.tanh(x) * 3 + x)
    f(np.ones((7, 5)))
    before = jitnet.cache.info().compiles
    for n in (1, 6, 8, 31, 100):
        f(np.ones((n, 5)))
    assert f.traces == 3  # 7, 1, and 6 with the size left open
    assert jitnet.cache.info().compiles <= before + 1  # a single row may merge its axes in another way


def test_odd_and_even_rows_that_are_skipped_through_share_a_kernel():
    f = jitnet.jit(lambda x: np.tanh(x[1:2, ::2]) - x[1:2, 1::2][:, :1])
    f(np.ones((4, 8)))
    before = jitnet.cache.info().compiles
    for shape in ((4, 9), (3, 16), (5, 17), (4, 30)):
        x = np.random.default_rng(0).normal(size=shape)
        np.testing.assert_allclose(f(x), np.tanh(x[1:2, ::2]) - x[1:2, 1:2], rtol=1e-12)
    assert jitnet.cache.info().compiles == before


def test_many_shapes_and_a_bounded_number_of_programs(monkeypatch):
    f = jitnet.jit(lambda x, n: x * 2, static_argnames="n")
    for _ in range(40):
        for n in range(1, 13):
            assert f(np.ones(n), 0).shape == (n,)
    assert f.traces == 3 and sum(len(v.records) for v in f._programs.variants.values()) == 12
    monkeypatch.setattr(importlib.import_module("jitnet.making"), "MAX_RECORDS", 5)
    g = jitnet.jit(lambda x, n: x * 2, static_argnames="n")
    for k in range(20):
        g(np.ones(k % 7 + 1), k % 3)
    assert sum(len(v.records) for v in g._programs.variants.values()) == 5


def test_a_function_that_nobody_holds_goes():
    f = jitnet.jit(lambda x: x + 1)
    f(X)
    alive = weakref.ref(f)
    del f
    gc.collect()
    assert alive() is None


def test_threads_share_one_function():
    f = jitnet.jit(lambda x, y: np.tanh(x) @ y)
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for k in range(40):
            n = 1 + (seed + k) % 5
            x, y = rng.standard_normal((n, 4)), rng.standard_normal((4, 3))
            if not np.allclose(f(x, y), np.tanh(x) @ y):
                failures.append((seed, k))

    threads = [threading.Thread(target=work, args=(s,)) for s in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures and f.traces <= 5


def _filled(x):
    out = np.zeros(3)
    out[0] = x[0]
    return out


TRANSFORMED = {"numpy": lambda: jitnet.jit(_filled)(X), "grad": lambda: jitnet.grad(lambda x: x @ np.ones(7))(X),
               "vmap": lambda: jitnet.vmap(lambda x: x)(1.0), "jvp": lambda: jitnet.jvp(np.sin, (X,), (X[:1],)),
               "hessian": lambda: jitnet.hessian(lambda x: x)(np.arange(3)), "scan": lambda: jitnet.scan(lambda c, x: c, X, X),
               "jit": lambda: jitnet.jit(3), "pullback": lambda: jitnet.vjp(np.sin, X)[1](X[:1])}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_frames_are_cut_where_no_compiled_function_is_called(name):
    with pytest.raises(errors.JitnetError) as error:
        TRANSFORMED[name]()
    assert {frame.filename for frame in traceback.extract_tb(error.value.__traceback__)} == {__file__}
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_frames_of_jitnet_are_cut_from_tracebacks(monkeypatch):
    def inner(x):
        return x / {}["missing"]

    f = jitnet.jit(lambda x: jitnet.jit(inner)(x + 1))
    with pytest.raises(KeyError) as error:
        f(X)
    assert [frame.name for frame in traceback.extract_tb(error.value.__traceback__)] == [
        "test_frames_of_jitnet_are_cut_from_tracebacks", "<lambda>", "inner"]
    monkeypatch.setenv("JITNET_FULL_TRACEBACK", "1")
    with pytest.raises(KeyError) as error:
        f(X)
    assert len(traceback.extract_tb(error.value.__traceback__)) > 6


def test_an_index_out_of_bounds_raises_and_the_next_call_works():
    f = jitnet.jit(lambda x, i: x[i] * 2)
    for _ in range(2):
        assert f(X, np.array([1]))[0, 0] == 6
        with pytest.raises(errors.TraceIndexError, match="an index is out of bounds"):
            f(X, np.array([2]))


def test_output_that_is_no_array():
    with pytest.raises(errors.TraceTypeError) as error:
        jitnet.jit(lambda x: (x, "text"))(X)
    assert whole(error) == ("`<lambda>` returns a str, which is no array\n"
                            "  return arrays, numbers, or tuples, lists, dicts and dataclasses of them")


def test_pickle_by_name():
    assert pickle.loads(pickle.dumps(scale)) is scale


def test_compiled_objects_are_of_this_process_alone():
    compiled = scale.lower(X)
    assert copy.deepcopy(compiled) is copy.copy(compiled) is compiled
    assert copy.copy(compiled.program) is copy.deepcopy(compiled.program) is compiled.program   # its memory is freed once
    with pytest.raises(errors.TraceTypeError) as error:
        pickle.dumps(compiled)
    assert whole(error) == ("<compiled scale: kernels kernel_0> cannot be pickled: it is native code of this process\n"
                            "  pickle the function, or `f.graph(...)`; the kernels are found in the cache again")
    assert pickle.loads(pickle.dumps(scale.graph(X))).input_types == scale.graph(X).input_types


def test_cloudpickle_takes_what_other_processes_cannot_import():
    """joblib, dask and their like send what a script or a notebook holds to processes that have no such module."""
    cloudpickle = pytest.importorskip("cloudpickle")

    class Model:
        def __init__(self):
            self.w = X + 1

        @jitnet.jit
        def __call__(self, x):
            return x * self.w

        @jitnet.jit
        def up(self, x):
            self.w += x

    f = jitnet.jit(lambda x, n: x * n if n > 0 else f(x, -n), static_argnames="n")
    again, model, up = pickle.loads(cloudpickle.dumps((f, Model(), Model().up)))
    assert again is not f and again(X, 3).tolist() == again(X, -3).tolist() == (X * 3).tolist()
    assert model(X).tolist() == (X * (X + 1)).tolist()
    up(X)
    assert up.args[0].w.tolist() == (X * 2 + 1).tolist()
    assert pickle.loads(cloudpickle.dumps(scale)) is scale   # of a module: by its name


def test_clear_forgets_programs():
    f = jitnet.jit(lambda x: x + 1)
    f(X), f(X)
    f.clear()
    assert f.traces == 0
    np.testing.assert_array_equal(f(X), X + 1)
