"""The compiler of CPU kernels: the text means what it means in Python, and what is not in the language is named."""
import ctypes
import textwrap

import numpy as np
import pytest

from jitnet.codegen import intrinsics
from jitnet.codegen.kernel_compiler import compile_kernel
from jitnet.runtime import llvm

DTYPES = {name: np.dtype(full) for name, full in intrinsics.NUMPY_NAMES.items() if name != "bf16"}


def kernel(body: str, *dtypes: str) -> str:
    """A kernel over buffers `x0`, `x1`, ... of these dtypes."""
    lines = [f"x{k} = buffer_{dtype}(buffers, {k})" for k, dtype in enumerate(dtypes)]
    return ("def kernel(buffers, sizes, start, stop):\n"
            + textwrap.indent("\n".join([*lines, textwrap.dedent(body).strip()]), "    ") + "\n")


def compiled(source: str, arrays, sizes, start, stop):
    """Runs the kernel, compiled, on copies of the arrays, and returns them."""
    compiled.count += 1
    symbol = f"jitnet_test_{compiled.count}"
    loaded = llvm.LoadedObject(llvm.emit_object([compile_kernel(source, symbol)]), (symbol,))
    arrays = [a.copy() for a in arrays]
    buffers = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
    numbers = (ctypes.c_int64 * (len(sizes) + 1))(*sizes)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(loaded.address[symbol])
    call(ctypes.addressof(buffers), ctypes.addressof(numbers), start, stop)
    return arrays


compiled.count = 0


def interpreted(source: str, arrays, sizes, start, stop):
    """The same in Python."""
    scope = dict(intrinsics.PYTHON_SCOPE)
    exec(source, scope)
    arrays = [a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        scope["kernel"](arrays, [np.int64(n) for n in sizes], start, stop)
    return arrays


def check(source: str, arrays, sizes=(), start=0, stop=8):
    for got, want in zip(compiled(source, arrays, sizes, start, stop), interpreted(source, arrays, sizes, start, stop)):
        np.testing.assert_array_equal(got, want)


def numbers(dtype: str, seed: int = 0) -> np.ndarray:
    """Eight elements, the extremes of the dtype among them."""
    kind, rng = DTYPES[dtype], np.random.default_rng(seed)
    if kind.kind == "b":
        return rng.random(8) < 0.5
    if kind.kind == "f":
        return np.concatenate([rng.standard_normal(5), [np.nan, np.inf, -0.0]]).astype(kind)[rng.permutation(8)]
    info = np.iinfo(kind)
    return rng.permutation(np.array([0, 1, 2, 100, info.max, info.max - 1, info.min, info.min + 1], kind))


@pytest.mark.parametrize("dtype", ["f32", "f64", "i8", "u8", "i32", "u32", "u64"])
def test_arithmetic_is_numpys(dtype):
    operators = ["+", "-", "*"] + ["/"] * (dtype[0] == "f") + ["&", "|", "^"] * (dtype[0] != "f")
    for op in operators:
        check(kernel(f"for i in range(start, stop):\n    x2[i] = x0[i] {op} x1[i]", dtype, dtype, dtype),
              [numbers(dtype), numbers(dtype, 1), numbers(dtype)])
    check(kernel("for i in range(start, stop):\n    x1[i] = -x0[i]", dtype, dtype), [numbers(dtype), numbers(dtype)])


@pytest.mark.parametrize("left, right", [("f32", "f32"), ("i8", "i8"), ("i64", "u64"), ("u64", "i64"), ("i32", "u8"),
                                         ("u32", "i64"), ("i8", "u8"), ("b1", "b1"), ("f32", "f64")])
def test_comparisons_are_exact(left, right):
    for op in ("<", "<=", ">", ">=", "==", "!="):
        check(kernel(f"for i in range(start, stop):\n    x2[i] = x0[i] {op} x1[i]", left, right, "b1"),
              [numbers(left), numbers(right, 1), np.zeros(8, bool)])


def test_bools():
    body = "for i in range(start, stop):\n    x2[i] = (x0[i] & x1[i]) | (not x0[i]) ^ x1[i]"
    check(kernel(body, "b1", "b1", "b1"), [numbers("b1"), numbers("b1", 1), np.zeros(8, bool)])


def test_names_that_change_in_loops():
    check(kernel("""
        for i in range(start, stop):
            total = f64(0)
            first = 0
            last = min(2, sizes[0])
            while (first < sizes[0]) & (total < f64(20)):
                for k in range(first, last):
                    term = f64(x0[k]) * f64(x0[k])
                    total = total + term
                first = last
                last = min(first + 2, sizes[0])
            if first > 2:
                first = first + 100
            x1[i] = total + f64(first) + f64(k) + term
        for i in range(stop - 1, stop + 5, 3):
            x1[i - 7] = f64(i)
        """, "f32", "f64"), [np.arange(8, dtype=np.float32), np.zeros(8)], (7,))


def test_numbers_in_the_text_are_int64():
    check(kernel("""
        for i in range(start, stop):
            x1[i] = i32(i64(x0[i]) * 3 + 7 * i + (i + 5) // 3)
            x2[i] = u64(x0[i]) >> u64(3) << u64(1)
            x3[i] = ~x0[i] + sizes[1] - -5
        """, "u8", "i32", "u64", "i64"),
        [numbers("u8"), np.zeros(8, np.int32), np.zeros(8, np.uint64), np.zeros(8, np.int64)], (0, 1 << 40))


def test_every_builtin_has_a_python_meaning():
    from jitnet.codegen.kernel_scope import KERNEL_SCOPE
    assert set(KERNEL_SCOPE) - {"min", "max"} == set(intrinsics.PYTHON_SCOPE)


@pytest.mark.parametrize("line, why", [
    ("y = no_such(x0[0])", "line 3 of a kernel is not in its language: no_such(x0[0])"),
    ("y = x0[nothing]", "line 3 of a kernel is not in its language (no such name): nothing"),
    ("y = x0[x0[0]]", "line 3 of a kernel is not in its language (f32 as an index): x0[0]"),
    ("y = exp_(start)", "line 3 of a kernel is not in its language (i64): exp_(start)"),
    ("y = x0[0] + start", "line 3 of a kernel is not in its language (f32 and i64): x0[0] + start"),
    ("x0[0] = f64(1)", "line 3 of a kernel is not in its language (f64 as f32): x0[0] = f64(1)"),
    ("y = u64(start) + start", "line 3 of a kernel is not in its language (u64 and i64): u64(start) + start"),
    ("y = 'text'", "line 3 of a kernel is not in its language: 'text'"),
    ("for i in x0: y = i", "line 3 of a kernel is not in its language: for i in x0:"),
    ("import os", "line 3 of a kernel is not in its language: import os"),
])
def test_what_is_not_in_the_language_is_named(line, why):
    with pytest.raises(SyntaxError) as caught:
        compile_kernel(kernel(line, "f32"), "k")
    assert str(caught.value) == why
