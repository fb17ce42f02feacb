"""Graphs written as text, their text after a pass, and values on which a rewrite must not change a bit."""
import numpy as np
import pytest

from jitnet.ir import check_graph, eval_graph
from jitnet.ops.control import call, stop_gradient, switch
from jitnet.ops.loops import scan, while_loop
from jitnet.printing import emitter, graph_of_types, print_graph, scope
from jitnet.tracer import trace

SPECIAL = {
    "f": [np.nan, np.inf, -np.inf, 0.0, -0.0, -0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.7, 1e-40, -1e-40, 5e-324, 3e38, -3e38,
          1e-20, 1e20],
    "i": [0, 1, -1, 2, -2, 3, 7, -8, 100, 127, -128, 2**15 - 1, 2**31 - 1, -2**31, 2**63 - 1, -2**63],
    "u": [0, 1, 2, 3, 7, 100, 127, 128, 255, 2**16 - 1, 2**32 - 1, 2**64 - 1],
    "b": [False, True],
}


def special_values(type_, rng):
    """An array of a type, drawn from the values where algebra goes wrong."""
    kind, dtype = type_.dtype.kind, type_.dtype
    if kind == "f":
        with np.errstate(over="ignore"):
            pool = np.array(SPECIAL["f"]).astype(dtype)
    elif kind == "b":
        pool = np.array(SPECIAL["b"])
    else:
        limits = np.iinfo(dtype)
        pool = np.array([v for v in SPECIAL[kind] if limits.min <= v <= limits.max], dtype)
    return rng.choice(pool, size=type_.shape).astype(dtype).reshape(type_.shape)


def assert_same_bits(found, expected):
    """Equal dtype, shape and bits; of NaN only that it is one."""
    assert len(found) == len(expected)
    for x, y in zip(found, expected):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        if x.dtype.kind == "f":
            nan = np.isnan(x)
            np.testing.assert_array_equal(nan, np.isnan(y))
            x, y = np.where(nan, 0, x).astype(x.dtype), np.where(nan, 0, y).astype(y.dtype)
            np.testing.assert_array_equal(np.signbit(x), np.signbit(y))
        np.testing.assert_array_equal(x, y)


def assert_same_meaning(before, after, draws=20, values=special_values):
    """Two graphs give the same bits on special values."""
    rng = np.random.default_rng(7)
    assert [v.type for v in before.inputs] == [v.type for v in after.inputs]
    for _ in range(draws):
        arrays = [values(v.type, rng) for v in before.inputs]
        with np.errstate(all="ignore"):
            assert_same_bits(eval_graph(after, *arrays), eval_graph(before, *arrays))


def build(types, function):
    """The Graph of a function of traced values, which returns one or several."""
    names = function.__code__.co_varnames[:function.__code__.co_argcount]

    def flat(*tracers):
        out = function(*tracers)
        return list(out) if isinstance(out, (tuple, list)) else [out]

    return trace(flat, [v.type for v in graph_of_types(types)(lambda *xs: xs).inputs], "f", names=names).graph


def from_text(types, arguments, text, **names):
    """The Graph of `def f(arguments): text`, where every op writes its equation; `names` are further names in scope."""
    empty = build("f32[]", lambda x: x)
    known = scope(empty) | {op.name: emitter(op) for op in (call, switch, scan, while_loop, stop_gradient)} | names
    lines = "".join(f"    {line.strip()}\n" for line in text.strip().splitlines())
    exec(f"def f({arguments}):\n{lines}", known)
    return build(types, known["f"])


def body_text(graph):
    """The lines of the printed graph without head and comments."""
    lines = print_graph(graph, sources=False).splitlines()
    return "\n".join(line.split("#")[0].strip() for line in lines if line.startswith("    "))


class Graphs:
    """What the tests of passes work with."""

    build, from_text, body = staticmethod(build), staticmethod(from_text), staticmethod(body_text)
    same_bits, same_meaning = staticmethod(assert_same_bits), staticmethod(assert_same_meaning)

    @staticmethod
    def rewrites(transform, types, arguments, before, after, draws=20, **names):
        """Applies a pass to a graph of that text; the result reads as it should, is valid and means the same."""
        graph = from_text(types, arguments, before, **names)
        result = check_graph(transform(graph))
        expected = "\n".join(line.strip() for line in after.strip().splitlines())
        assert body_text(result) == expected
        if draws:
            assert_same_meaning(graph, result, draws)
        return graph, result

    @staticmethod
    def scan(types, arguments, body, num_consts=0, num_carry=1, length=5, wanted=""):
        """The Graph of one scan of a body over the arguments; `wanted` picks outputs."""
        options = f"num_consts={num_consts}, num_carry={num_carry}, length={length}, reverse=False"
        return from_text(types, arguments, f"return scan({arguments}, body=body, {options}){wanted}", body=body)

    @staticmethod
    def ops(graph):
        """The names of the ops in order."""
        return [eqn.op.name for eqn in graph.eqns]


@pytest.fixture(scope="session")
def graphs():
    """Helpers to write graphs down and to compare them."""
    return Graphs
