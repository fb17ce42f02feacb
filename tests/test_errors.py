"""Errors while tracing, whole messages: what is wrong, the user's own line, a way out."""
import copy
import os
import re
import traceback

import numpy as np
import pytest

import jitnet
import jitnet.numpy as jnp
from jitnet.errors import (
    LONGEST,
    JitnetError,
    LeakedTracerError,
    Source,
    TraceBranchError,
    TraceIndexError,
    TraceOverflowError,
    TraceTypeError,
    TraceValueError,
)
from jitnet.tracer import trace
from jitnet.types import F32, I64, ArrayType

M, V, I, Z = ArrayType((4, 3), F32), ArrayType((4,), F32), ArrayType((3,), I64), ArrayType((), F32)


def broadcast(h, bias, i, z):
    return h + bias


def matmul(h, bias, i, z):
    return h @ bias


def matmul_of_matrices(h, bias, i, z):
    return np.matmul(h, h)


def branch(h, bias, i, z):
    if z > 0:
        return h
    return -h


def loop(h, bias, i, z):
    while h.sum() > 1:
        h = h / 2
    return h


def conversion(h, bias, i, z):
    return h * float(z)


def size(h, bias, i, z):
    return sum(h[k] for k in range(i[0]))


def item(h, bias, i, z):
    return h * z.item()


def asarray(h, bias, i, z):
    return np.asarray([h, h])


def axis(h, bias, i, z):
    return h.sum(axis=2)


def axis_twice(h, bias, i, z):
    return np.max(h, axis=(0, -2))


def axis_kind(h, bias, i, z):
    return np.sum(h, axis="rows")


def axis_of_scalar(h, bias, i, z):
    return z.sum(axis=1)


def reshape(h, bias, i, z):
    return h.reshape(5, -1)


def transpose(h, bias, i, z):
    return h.transpose(0, 0)


def broadcast_to(h, bias, i, z):
    return np.broadcast_to(h, (4, 5))


def concatenate(h, bias, i, z):
    return np.concatenate([h, h[:, :2]])


def stack(h, bias, i, z):
    return np.stack([h, bias])


def index(h, bias, i, z):
    return h[4]


def float_index(h, bias, i, z):
    return h[bias]


def mask(h, bias, i, z):
    return h[h > 0]


def unknown_function(h, bias, i, z):
    return np.linalg.eig(h)


def dtype(h, bias, i, z):
    return h.astype(np.complex64)


def constant_dtype(h, bias, i, z):
    return h * np.ones(3, np.complex64)


def operand(h, bias, i, z):
    return np.add(h, None)


def bits(h, bias, i, z):
    return h | 1


def empty(h, bias, i, z):
    return h[:0].max()


def into_integers(h, bias, i, z):
    i += 0.5
    return i


def length(h, bias, i, z):
    return len(z)


def unpack(h, bias, i, z):
    a, b = z
    return a + b


def in_place_shape(h, bias, i, z):
    bias += h
    return bias


def add_at(h, bias, i, z):
    counts = np.zeros(4)
    np.add.at(counts, i, 1)
    return counts


def region(h, bias, i, z):
    h[0] = bias
    return h


ONE_NUMBER = "a 0-d array is one number: use it as it stands, or `reshape(-1)`"
NO_BRANCH = ("`if`, `while`, `and`, `or`, `not` or bool() needs the value of a traced b1[], which is known only when the "
             "compiled function runs")
KEEP = ("keep the array: `astype`, functions of NumPy in place of `math`, `jitnet.numpy.zeros` for an array that is written "
        "to, or mark the argument static with `static_argnames`")


CASES = [
    (broadcast, TraceTypeError, "add: shapes do not broadcast: f32[4,3] and f32[4]", "return h + bias",
     "line the axes up with `reshape`, or add one with `bias[:, None]`"),
    (matmul, TraceTypeError, "matmul: shapes do not fit: f32[4,3] and f32[4]", "return h @ bias",
     "the last axis of the first must equal the second-last (or only) of the second"),
    (matmul_of_matrices, TraceTypeError, "matmul: shapes do not fit: f32[4,3] and f32[4,3]", "return np.matmul(h, h)",
     "the last axis of the first must equal the second-last of the second"),
    (branch, TraceBranchError, NO_BRANCH, "if z > 0:",
     "use `jitnet.where`, `jitnet.cond` or `jitnet.while_loop`, or mark the argument static with `static_argnames`"),
    (loop, TraceBranchError, NO_BRANCH, "while h.sum() > 1:",
     "use `jitnet.where`, `jitnet.cond` or `jitnet.while_loop`, or mark the argument static with `static_argnames`"),
    (conversion, TraceBranchError,
     "float() needs the value of a traced f32[], which is known only when the compiled function runs",
     "return h * float(z)",
     KEEP),
    (size, TraceBranchError, "an index, a size or range() needs the value of a traced i64[], which is known only when the "
                             "compiled function runs",
     "return sum(h[k] for k in range(i[0]))",
     "use `jitnet.fori_loop` for a loop, `jitnet.numpy.take` to pick from a list, or mark the argument static with "
     "`static_argnames`"),
    (item, TraceBranchError, "item() needs the value of a traced f32[], which is known only when the compiled function runs",
     "return h * z.item()",
     KEEP),
    (asarray, TraceBranchError, "a NumPy function needs the values of a traced f32[4,3], which are known only when the "
                                "compiled function runs",
     "return np.asarray([h, h])",
     "use the function of `jitnet.numpy` of that name (`stack` for `np.array([...])`, `zeros` for an array that is written "
     "to)"),
    (add_at, TraceTypeError, "add.at: a NumPy array cannot hold a traced value", "np.add.at(counts, i, 1)",
     "make it inside the function with `jitnet.numpy.zeros`"),
    (axis, TraceTypeError, "sum: there is no axis 2 in an array of 2 dimensions", "return h.sum(axis=2)",
     "axes go from -2 to 1"),
    (axis_twice, TraceTypeError, "max: an axis is named twice in (0, -2)", "return np.max(h, axis=(0, -2))",
     "name each axis once"),
    (axis_kind, TraceTypeError, "sum: axis must be an integer, not 'rows'", 'return np.sum(h, axis="rows")',
     "pass an int such as `axis=0`"),
    (axis_of_scalar, TraceTypeError, "sum: there is no axis 1 in an array of 0 dimensions", "return z.sum(axis=1)",
     "a 0-d array has no axes"),
    (reshape, TraceTypeError, "reshape: f32[4,3] does not fit into shape (5, -1)", "return h.reshape(5, -1)",
     "it has 12 elements: give sizes whose product is that"),
    (transpose, TraceTypeError, "transpose: (0, 0) is no order of the axes of f32[4,3]", "return h.transpose(0, 0)",
     "name each of 0 to 1 once"),
    (broadcast_to, TraceTypeError, "broadcast_to: f32[4,3] does not broadcast to shape (4, 5)",
     "return np.broadcast_to(h, (4, 5))",
     "sizes must be equal, or 1 in the array"),
    (concatenate, TraceTypeError, "concatenate: shapes do not fit: f32[4,3] and f32[4,2]",
     "return np.concatenate([h, h[:, :2]])",
     "all axes but axis 0 must be equal"),
    (stack, TraceValueError, "stack: arrays have several shapes: (4, 3) and (4,)", "return np.stack([h, bias])",
     "broadcast them first"),
    (index, TraceIndexError, "index 4 is out of bounds for axis 0 with size 4", "return h[4]", "indices go from -4 to 3"),
    (float_index, TraceIndexError, "an array of float32 cannot index", "return h[bias]",
     "convert it with `astype(np.int64)`; for a mask use a bool array"),
    (mask, TraceIndexError, "a traced mask as an index: the size of the result depends on its values", "return h[h > 0]",
     "use `jitnet.where(mask, x, other)`; what is computed from `x[mask]` element by element can be summed, or assigned to "
     "`x[mask]`"),
    (unknown_function, TraceTypeError, "numpy.linalg.eig: jitnet cannot compile this function of a traced value (f32[4,3])",
     "return np.linalg.eig(h)",
     "write it with functions that `jitnet.numpy` has, or call it outside the compiled function"),
    (dtype, TraceTypeError, "astype: jitnet does not compile the dtype complex64", "return h.astype(np.complex64)",
     "compute with real and imaginary parts apart"),
    (constant_dtype, TraceTypeError, "multiply: jitnet does not compile the dtype complex64",
     "return h * np.ones(3, np.complex64)",
     "compute with real and imaginary parts apart"),
    (operand, TraceTypeError, "add: an operand is a NoneType, not an array or a number", "return np.add(h, None)",
     "pass NumPy arrays, jitnet arrays or Python numbers"),
    (bits, TraceTypeError, "bitwise_or: NumPy has no bitwise_or of f32 and a Python int", "return h | 1",
     "convert the array first: `x.astype(...)`"),
    (empty, TraceTypeError, "max: an empty axis has no max: f32[0,3]", "return h[:0].max()", "check the size before reducing"),
    (into_integers, TraceTypeError, "add: a f64 result cannot be written into a i64 array", "i += 0.5",
     "convert the array first: `x = x.astype(...)`"),
    (length, TraceTypeError, "len() of a 0-d array", "return len(z)", ONE_NUMBER),
    (unpack, TraceTypeError, "iteration over a 0-d array", "a, b = z", ONE_NUMBER),
    (in_place_shape, TraceTypeError, "add: shapes do not broadcast: f32[4] and f32[4,3]", "bias += h",
     "line the axes up with `reshape`, or add one with `x[:, None]`"),
    (region, TraceValueError, "could not broadcast a value of shape (4,) into a region of shape (3,)", "h[0] = bias",
     "give the value the shape of the region"),
]


@pytest.mark.parametrize("function, kind, what, line, hint", CASES, ids=[c[0].__name__ for c in CASES])
def test_whole_message(function, kind, what, line, hint):
    with pytest.raises(JitnetError) as info:
        trace(lambda *xs: [function(*xs)], [M, V, I, Z], "f", allow_writes=True)
    assert type(info.value) is kind
    message = re.sub(r"test_errors\.py:\d+:", "test_errors.py:N:", str(info.value))
    assert message == f"{what}\n  test_errors.py:N: {line}\n  {hint}"
    source, start = info.value.source, function.__code__.co_firstlineno
    assert start < source.line < start + 5 and source.function in (function.__name__, "<genexpr>")


def test_leaked_value():
    kept = []
    trace(lambda x: kept.append(x) or [x], [V], "first")
    with pytest.raises(LeakedTracerError) as info:
        kept[0] + 1
    assert re.sub(r":\d+:", ":N:", str(info.value)) == (
        "add: a traced value of `first` (f32[4]) is used after its trace has ended\n  test_errors.py:N: kept[0] + 1\n"
        "  return it from the function instead of keeping it in a global, an attribute or a list")


LEAKED = {
    "operator": lambda x: 1 + x, "ufunc": lambda x: np.sin(x), "function": lambda x: np.concatenate([x, x]),
    "method": lambda x: x.sum(axis=0), "index": lambda x: x[0], "write": lambda x: x.fill(0), "rows": lambda x: list(x),
    "in place": lambda x: x.__iadd__(1), "turned": lambda x: x.T, "copy": lambda x: copy.copy(x),
    "deepcopy": lambda x: copy.deepcopy([x]), "method copy": lambda x: x.copy(), "product": lambda x: x @ x}


@pytest.mark.parametrize("use", LEAKED)
def test_leaked_value_shows_the_users_frames_alone(use):
    kept = []
    trace(lambda x: kept.append(x) or [x], [V], "first")
    with pytest.raises(LeakedTracerError, match="after its trace has ended") as info:
        LEAKED[use](kept[0])
    files = [frame.filename for frame in traceback.extract_tb(info.value.__traceback__)]
    assert not [file for file in files if os.path.dirname(jitnet.__file__) in file]


def test_kinds_are_builtin_kinds():
    assert issubclass(TraceTypeError, TypeError) and issubclass(TraceValueError,
                                                                ValueError) and issubclass(TraceIndexError, IndexError)
    assert issubclass(TraceBranchError, TypeError) and issubclass(LeakedTracerError, TypeError)


def test_a_failed_trace_leaves_nothing_behind():
    from jitnet.tracer import current_trace

    with pytest.raises(TraceTypeError):
        trace(lambda x: [x + np.ones(7)], [V], "f")
    assert current_trace() is None
    assert trace(lambda x: [x + 1], [V], "f").graph(np.zeros(4, np.float32))[0].tolist() == [1, 1, 1, 1]


def test_sources_of_nested_calls():
    """The innermost line that is neither jitnet's nor NumPy's counts; each line is read once."""
    def helper(x):
        return jnp.mean(x, axis=5)

    with pytest.raises(JitnetError) as info:
        trace(lambda x: [helper(x)], [V], "f")
    assert info.value.source.text == "return jnp.mean(x, axis=5)" and info.value.source.function == "helper"
    assert str(Source("/nowhere/model.py", 3)) == "model.py:3"


def test_a_long_line_is_cut_short(tmp_path):
    path = tmp_path / "long.py"
    path.write_text("x = " + "1 + " * 60 + "1\n")
    assert str(Source(str(path), 1)) == "long.py:1: x = " + ("1 + " * 60)[:LONGEST - 7] + "..."


def test_numpy_errors_that_a_traced_value_caused_come_in_own_words():
    import jitnet
    from jitnet import errors

    @jitnet.jit
    def write(x):
        out = np.zeros(3)
        out[0] = x[0]
        return out

    @jitnet.jit
    def size(x, n):
        return x + np.zeros(n)

    with pytest.raises(errors.TraceBranchError) as caught:
        write(np.ones(3))
    what, line, hint = str(caught.value).split("\n")
    assert what == "an array that is written to is not traced, and cannot hold a traced f64[]"
    assert line.endswith("out[0] = x[0]") and hint.strip().startswith("make it inside the function with `jitnet.numpy.zeros`")
    with pytest.raises(errors.TraceBranchError) as caught:
        size(np.ones(3), 3)
    what, line, hint = str(caught.value).split("\n")
    assert what.startswith("a traced value where NumPy needs a number that is known now: ")
    assert line.endswith("return x + np.zeros(n)")
    assert "static_argnames" in hint


def assigned(u, n):
    u = u.copy()
    u[0] = n
    return u


@pytest.mark.parametrize("function", [
    lambda u, n: u + n, lambda u, n: n - u, lambda u, n: np.maximum(u, n), lambda u, n: np.full_like(u, n), assigned],
    ids=["add", "reflected", "maximum", "full", "assigned"])
def test_python_integers_that_do_not_fit_raise_as_in_numpy(function):
    compiled = jitnet.jit(function)
    for dtype, good, bad in ((np.uint8, 255, 256), (np.uint8, 0, -1), (np.int32, -2 ** 31, 2 ** 31), (np.uint64, 1, -1)):
        u = np.array([1, 2], dtype)
        for _ in range(2):
            with np.errstate(over="ignore"):
                np.testing.assert_array_equal(compiled(u, good), function(u, good))
        for call in (function, compiled):
            with pytest.raises(OverflowError, match=f"Python integer {bad} out of bounds for {np.dtype(dtype).name}"):
                call(u, bad)


def test_a_python_integer_that_does_not_fit():
    def shift(u, n):
        return u + n

    with pytest.raises(TraceOverflowError) as error:
        jitnet.jit(shift)(np.zeros(2, np.uint8), 300)
    assert str(error.value).splitlines()[0] == "shift: argument `n`: Python integer 300 out of bounds for uint8"
    assert str(error.value).splitlines()[2].strip() == "pass an array for it: `np.int64(300)`"


def test_integers_that_do_not_fit_and_do_no_harm():
    u = np.array([1, 50, 255], np.uint8)
    for function in (lambda u, n: np.where(u > 1, u, n), lambda u, n: u < n, lambda u, n: np.clip(u, -n, n), lambda u, n: u / n,
                     lambda u, n: np.clip(u, 2, 300)):
        try:
            expected = function(u, 300)
        except OverflowError:  # newer versions of NumPy refuse it in where
            continue
        np.testing.assert_array_equal(jitnet.jit(function)(u, 300), expected)


def test_negative_powers_of_integers():
    with pytest.raises(OverflowError, match="assignment: Python integer 300 out of bounds for uint8"):
        jitnet.jit(lambda u: assigned(u, 300))(np.arange(3, dtype=np.uint8))
    for exponent in (-1, np.int64(-1), np.array([-1, 2, 3])):
        with pytest.raises(ValueError, match="Integers to negative integer powers are not allowed"):
            jitnet.jit(lambda x, n=exponent: x ** n)(np.arange(1, 4))


def test_a_folder_of_the_user_with_the_name_of_a_library(tmp_path):
    """Also a file whose name ends like one of the standard library."""
    for name in ("numpy/model.py", "scipy/fit.py", "my_functools.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("def add(x, y):\n    return x + y\n")
        scope = {}
        exec(compile(path.read_text(), str(path), "exec"), scope)
        with pytest.raises(TraceTypeError) as error:
            jitnet.jit(scope["add"])(np.ones(3), np.ones(4))
        assert str(error.value).splitlines()[1] == f"  {path.name}:2: return x + y"
