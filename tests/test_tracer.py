"""Tracing: what becomes an equation, constants, captured values, weak scalars, leaks, the user's line on every equation."""
import threading

import numpy as np
import pytest

import jitnet.numpy as jnp
from jitnet import ops
from jitnet.errors import LeakedTracerError, TraceOverflowError, TraceTypeError
from jitnet.ir import Const, check_graph, eval_graph
from jitnet.tracer import current_trace, inline, trace
from jitnet.types import BOOL, F32, F64, I32, I64, ArrayType

V = ArrayType((3,), F64)
S = ArrayType((), F64)


def names(graph):
    return [e.op.name for e in graph.eqns]


def test_equations_and_sources():
    def f(x, y):
        z = x * 2 + y
        return [np.tanh(z).sum()]

    graph = check_graph(trace(f, [V, V], "f").graph)
    assert names(graph) == ["multiply", "add", "tanh", "sum"]
    lines = {e.source.text for e in graph.eqns}
    assert lines == {"z = x * 2 + y", "return [np.tanh(z).sum()]"}
    assert {e.source.function for e in graph.eqns} == {"f"} and all(e.source.file == __file__ for e in graph.eqns)
    assert graph.provenance == ("trace",) and current_trace() is None


def test_scalars_become_typed_constants():
    graph = trace(lambda x: [x * 2 + 2.5], [ArrayType((3,), F32)], "f").graph
    consts = [a for e in graph.eqns for a in e.inputs if type(a) is Const]
    assert [(c.value.dtype, c.value[()]) for c in consts] == [(F32, 2), (F32, 2.5)]
    with pytest.raises(TraceOverflowError, match="Python integer 300 out of bounds for uint8"):
        trace(lambda x: [x + 300], [ArrayType((3,), np.dtype(np.uint8))], "f")


def test_zeros_of_both_signs_stay_apart():
    graph = trace(lambda x: [x * 0.0, x * -0.0, x + False], [V], "f").graph
    outs = eval_graph(graph, np.ones(3))
    assert list(np.signbit(outs[0])) == [False] * 3 and list(np.signbit(outs[1])) == [True] * 3


def test_array_constants_are_copies_and_shared():
    a = np.arange(3.0)

    def f(x):
        out = x + a + a
        a[0] = 100
        return [out]

    graph = trace(f, [V], "f").graph
    assert graph.eqns[0].inputs[1] is graph.eqns[1].inputs[1]
    np.testing.assert_array_equal(graph(np.zeros(3))[0], [0, 2, 4])


def test_array_constants_that_are_written_between_two_uses():
    """Each use has the values of its time: an array that the user fills in a loop is no constant by its identity."""
    a, signed = np.zeros(3), np.zeros(1)

    def f(x):
        out = []
        for k in range(3):
            a[k] = 1
            out.append((x * a).sum())
            a[k] = 0
        zero = x[:1] * signed
        np.negative(signed, out=signed)
        return [*out, zero, x[:1] * signed]

    *picked, plus, minus = trace(f, [V], "f").graph(np.array([4.0, 5, 6]))
    assert [float(v) for v in picked] == [4, 5, 6]
    assert not np.signbit(plus) and np.signbit(minus)


def test_weak_scalars():
    """A Python number given as an argument takes the dtype of the array it meets."""
    def f(x, s, k):
        return [x * s, x + k, s * 2, s + k, s > k, np.exp(s), (s * k) * x, k // 2 + x, -s * x, abs(s) * x]

    graph = check_graph(trace(f, [ArrayType((3,), F32), S, ArrayType((), I64)], "f", weak=[None, float, int]).graph)
    assert [t.dtype for t in graph.output_types] == [F32, F32, F64, F64, BOOL, F64, F32, F32, F32, F32]


def test_nested_traces_capture():
    seen = {}

    def outer(x, y):
        def inner(z):
            return [z * x[1:] + y.sum()]

        seen["inner"] = trace(inner, [ArrayType((2,), F64)], "inner")
        captured = seen["inner"].captured
        return inline(seen["inner"].graph, [x[:2], *captured])

    graph = check_graph(trace(outer, [V, V], "outer").graph)
    inner = check_graph(seen["inner"].graph)
    assert len(seen["inner"].captured) == 2 and len(inner.inputs) == 3
    x, y = np.array([1.0, 2, 3]), np.array([4.0, 5, 6])
    np.testing.assert_array_equal(graph(x, y)[0], x[:2] * x[1:] + y.sum())


def test_a_view_of_a_written_outer_array_is_read_again_outside():
    def outer(x):
        y = x + 0
        row = y[1:]
        y[2] = 10.0
        inner = trace(lambda z: [z + row], [ArrayType((2,), F64)], "inner")
        check_graph(inner.graph)
        return inline(inner.graph, [x[:2], *inner.captured])

    graph = check_graph(trace(outer, [V], "outer").graph)
    np.testing.assert_array_equal(graph(np.array([1.0, 2, 3]))[0], [3, 12])


def test_written_arguments_are_outputs():
    def f(x, y):
        x[0] = y[1]
        y += 1
        return [x.sum()]

    traced = trace(f, [V, V], "f", allow_writes=True)
    assert traced.written == (0, 1) and len(traced.graph.outputs) == 3
    total, x, y = traced.graph(np.zeros(3), np.arange(3.0))
    assert total == 1 and list(x) == [1, 0, 0] and list(y) == [1, 2, 3]
    with pytest.raises(TraceTypeError, match="`f` writes into its argument 0"):
        trace(f, [V, V], "f")


def test_leaks():
    kept = []
    trace(lambda x: kept.append(x) or [x], [V], "first")
    for use in (lambda: kept[0] + 1, lambda: np.sin(kept[0]), lambda: kept[0][0], lambda: kept[0].sum()):
        with pytest.raises(LeakedTracerError,
                           match=r"a traced value of `first` \(f64\[3\]\) is used after its trace has ended"):
            use()
    with pytest.raises(LeakedTracerError, match="a traced value of `first`"):
        trace(lambda x: [x + kept[0]], [V], "second")
    with pytest.raises(LeakedTracerError):
        kept[0][0] = 1
    assert current_trace() is None


def test_writing_an_outer_array_inside():
    def outer(x):
        y = x + 0

        def inner(z):
            y[0] = z[0]
            return [z]

        trace(inner, [V], "inner")
        return [y]

    with pytest.raises(LeakedTracerError, match=r"an array of `outer` \(f64\[3\]\) is written inside `inner`"):
        trace(outer, [V], "outer")


def test_writing_a_view_of_an_outer_array_inside():
    def outer(x):
        def inner(z):
            x[1:][0] = z[0]
            return [z]

        trace(inner, [V], "inner")
        return [x]

    with pytest.raises(LeakedTracerError, match=r"is written inside `inner`"):
        trace(outer, [V], "outer")


def test_another_thread():
    errors = []

    def f(x):
        def other():
            try:
                trace(lambda y: [x + y], [V], "other")
            except LeakedTracerError as error:
                errors.append(error.what)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return [x]

    trace(f, [V], "f")
    assert errors == ["a traced value of `f` (f64[3]) is used in another thread"]


def test_values_are_not_known():
    for call in (lambda x: 1 if x[0] > 0 else 2, lambda x: range(x[0]), lambda x: float(x[0]), lambda x: int(x[0]),
                 lambda x: np.asarray(x),
                 lambda x: x.item(), lambda x: [] if x.any() else [x], lambda x: 2 in x):
        with pytest.raises(TraceTypeError, match="known only when the compiled function runs"):
            trace(lambda x, call=call: [call(x)], [ArrayType((3,), I32)], "f")


def test_in_place_operators_follow_the_dtype():
    with pytest.raises(TraceTypeError, match="a f64 result cannot be written into a i64 array"):
        trace(lambda i: [i.__iadd__(1.5)], [ArrayType((3,), I64)], "f")
    with pytest.raises(TraceTypeError, match=r"a result of type f64\[3,3\] does not fit into f64\[3\]"):
        trace(lambda x: [x.__imul__(np.ones((3, 3)))], [V], "f")


def test_operators_with_other_objects():
    class Other:
        def __radd__(self, x):
            return "other"

    seen = []
    trace(lambda x: seen.append(x + Other()) or [x], [V], "f")
    assert seen == ["other"]
    with pytest.raises(TypeError):
        trace(lambda x: [x + "a"], [V], "f")


def test_outputs():
    with pytest.raises(TraceTypeError, match="`f` returns a str, which is no array"):
        trace(lambda x: ["a"], [V], "f")
    graph = trace(lambda x: [x, 3, 2.5, True, np.ones(2)], [V], "f").graph
    assert [t.dtype for t in graph.output_types] == [F64, I64, F64, BOOL, F64]


def test_aliases_in_one_program():
    """Two names of one array see the same writes; a copy does not."""
    def f(x):
        y = x * 1
        z = y
        w = y.copy()
        z += 1
        y[0] = 9
        return [y, z, w]

    y, z, w = trace(f, [V], "f").graph(np.zeros(3))
    assert list(y) == list(z) == [9, 1, 1] and list(w) == [0, 0, 0]


def test_tracing_is_cheap():
    import time

    def f(x):
        for _ in range(250):
            x = np.tanh(x * 0.5 + 1.0) - x
        return [x]

    best = min(_timed(time.perf_counter, f) for _ in range(7))
    assert best / 1000 < 60e-6, f"{1e6 * best / 1000:.1f} us per equation"  # 4 to 6 us on a quiet machine


def _timed(clock, f):
    start = clock()
    graph = trace(f, [V], "f").graph
    assert len(graph.eqns) == 1000
    return clock() - start


def test_functions_of_numpy_arrays_stay_numpy_while_tracing():
    seen = {}

    def f(x):
        seen["table"] = jnp.sum(np.ones((4, 4)), axis=0)
        return [x + seen["table"][0]]

    graph = trace(f, [V], "f").graph
    assert type(seen["table"]) is np.ndarray and names(graph) == ["add"]
    assert ops.add(1, 2) == 3
