"""A printed Graph is Python: it runs, gives the same values, and traced again it prints the same text."""
import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.compile import pipeline
from jitnet.ir import Const, Eqn, Graph, Var, check_graph, eval_graph
from jitnet.printing import parse_types, print_graph, rebuild, scalar_text, scope
from jitnet.tracer import trace
from jitnet.types import ArrayType


def softmax(x, scale=0.5):
    e = np.exp(x * scale - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def names_of_ops(sum, max, lambda_=1):
    return np.tanh(sum) + max, {"k": -sum}


def constants(x):
    steps = np.arange(3, dtype=np.float32)
    return [np.where(x > np.float32(0.1), x * steps, np.float32(np.nan)), x + steps, 2.5]


def movements(x):
    return np.reshape(x.transpose(), (3, 2))[::2, None] + 1


def creations(x):
    return ops.iota(shape=x.shape, axis=1, dtype=np.float32) + x, np.zeros(x.shape, np.float32)


CASES = [(softmax, 1), (names_of_ops, 2), (constants, 1), (movements, 1), (creations, 1)]


@pytest.mark.parametrize("function, count", CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_text_runs_and_traces_to_itself(function, count, rng):
    arrays = [rng.standard_normal((2, 3)).astype(np.float32) for _ in range(count)]
    compiled = jitnet.jit(function)
    graphs = [g for _, g in pipeline(compiled.graph(*arrays))]
    for graph in graphs:
        again = check_graph(rebuild(graph))
        assert print_graph(again, sources=False) == print_graph(graph, sources=False)
        names = scope(graph)
        exec(print_graph(graph), names)
        head = [line for line in print_graph(graph).split("\n") if line.startswith("def ")][-1]
        out = names[head[4:].split("(")[0]](*arrays)
        out = list(out) if isinstance(out, tuple) else [out]
        for got, same, want in zip(out, eval_graph(again, *arrays), eval_graph(graph, *arrays), strict=True):
            np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(same, want)


def test_text():
    def model(x, w):
        h = np.tanh(x * w)
        return h + 1, h

    line = model.__code__.co_firstlineno
    graph = jitnet.jit(model).graph(np.ones((2, 3), np.float32), np.ones(3, np.float32))
    assert str(graph) == f"""\
def model(x, w):        # f32[2,3], f32[3]
    a = multiply(x, w)  # f32[2,3]   test_printing.py:{line + 1}
    b = tanh(a)         # f32[2,3]   test_printing.py:{line + 1}
    c = add(b, f32(1))  # f32[2,3]   test_printing.py:{line + 2}
    return c, b"""
    assert "test_printing" not in print_graph(graph, sources=False)


def test_names_never_hide_an_op():
    text = str(jitnet.jit(names_of_ops).graph(np.ones(2), np.ones(2)))
    assert text.startswith("def names_of_ops(sum_, max_):")
    assert "tanh(sum_)" in text

    def tanh(x):
        return np.tanh(x)
    assert str(jitnet.jit(tanh).graph(1.0)).startswith("def tanh_(x):")
    assert str(jitnet.jit(lambda x: x).graph(1.0)).startswith("def lambda_(x):")


def test_inner_graphs_stand_before_the_function_that_uses_them():
    x = np.ones((2, 3), np.float32)
    stages = dict(pipeline(jitnet.jit(softmax).graph(x)))
    text = print_graph(stages["fuse"])
    assert text.startswith('@graph("f32[2,3]")\ndef kernel_0(x):\n')
    assert "body=kernel_0" in text


@pytest.mark.parametrize("value, text", [
    (np.float32(0.1), "f32(0.1)"), (np.float64(0.1), "f64(0.1)"), (np.float32(2), "f32(2)"), (np.float64(-0.0), "f64(-0.0)"),
    (np.float32(1e20), "f32(1e+20)"), (np.float32("nan"), "f32('nan')"), (np.float64("-inf"), "f64('-inf')"),
    (np.bool_(True), "b1(True)"), (np.int8(-3), "i8(-3)"), (np.uint64(2**64 - 1), "u64(18446744073709551615)"),
])
def test_scalars(value, text):
    assert scalar_text(np.asarray(value)) == text


def test_scalars_keep_their_bits(rng):
    names = scope(Graph((), (), ()))
    for dtype, bits in ((np.float32, np.uint32), (np.float64, np.uint64)):
        values = rng.integers(0, np.iinfo(bits).max, 300, dtype=bits, endpoint=True).view(dtype)
        for value in values[np.isfinite(values)]:
            assert eval(scalar_text(np.asarray(value)), names).view(bits) == value.view(bits)


def test_types_are_read_back():
    types = (ArrayType((3, 4), np.dtype(np.float32)), ArrayType((), np.dtype(np.int64)), ArrayType((2,), np.dtype(np.bool_)))
    assert parse_types(", ".join(map(str, types))) == types


def test_thousand_variables_have_different_names():
    graph = trace(lambda x: [chain(x, 1000)], [ArrayType((), np.dtype(np.float64))], "chain", names=["a"]).graph
    left = [line.split(" = ")[0].strip() for line in print_graph(graph).split("\n") if " = " in line]
    assert len(set(left)) == 1000 and "a" not in left and "if" not in left and "is" not in left


def chain(x, n):
    for _ in range(n):
        x = x + 1
    return x


def test_one_output_of_many_and_no_output():
    graph = Graph((Var(ArrayType((2,), np.dtype(np.int64)), "x"),), (), (), "nothing")
    assert str(graph) == "def nothing(x):  # i64[2]\n    return ()"
    assert rebuild(graph).outputs == ()


def test_array_constants_are_bound_by_name():
    value = np.arange(3)
    const = Const(value)
    x, y = (Var(ArrayType((3,), np.dtype(np.int64)), n) for n in ("x", ""))
    graph = Graph((x,), (Eqn(ops.add, (x, const), {}, (y,)),), (y, const), "f")
    assert "a = add(x, const_0)" in str(graph) and "return a, const_0" in str(graph)
    assert scope(graph)["const_0"] is value
