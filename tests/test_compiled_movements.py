"""Compiled movements, gathers, products and control flow against what they mean; kernel texts run as Python."""
import contextlib

import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.codegen import intrinsics
from jitnet.compile import compile_graph
from jitnet.ir import eval_graph
from jitnet.runtime.device import Device
from jitnet.testing_compiled import assert_agree, check_compiled, graph_of
from jitnet.testing_compiled import check_function as check
from jitnet.testing_compiled import random_array as random
from jitnet.testing_kernels import interpreted_gpu
from jitnet.tree import leaves
from jitnet.types import DTYPES, F32, F64

# Movements, places that are data, products

def flipped(x):
    return ops.slice(x, start=tuple(n - 1 for n in x.shape), size=x.shape, step=(-1,) * len(x.shape))


@pytest.mark.parametrize("shape", [(130, 70), (129, 257), (16, 16), (15, 17), (1, 200), (200, 1), (300, 5)], ids=str)
def test_transposes_walked_in_squares(shape):
    swap = ops.transpose
    for name in ("f32", "f64", "i32", "b1", "u16"):
        x, y, z = random(shape, DTYPES[name]), random(shape[::-1], DTYPES[name], 1), random(shape, DTYPES[name], 2)
        check(lambda x, y, z: [swap(x) | y, swap(z) & swap(x), x ^ swap(y)] if x.dtype.kind == "b" else
              [swap(x) + y, swap(z) * swap(x) - y, x + swap(y)], x, y, z)
    x, c, i, f = random(shape, F32), random(shape, "?"), random(shape, np.int16), random(shape[::-1], F64)
    row = random(shape[0], F64)
    check(lambda x, c, i, f, r: [ops.where(swap(c), ops.cast(swap(x), dtype=F64), f) + swap(i), flipped(swap(x)) * 2,
                                 swap(flipped(x)) + ops.cast(f, dtype=F32), swap(x) + r], x, c, i, f, row)


def test_outputs_that_are_inputs_constants_duplicates_and_views():
    def views(x, y):
        turned = ops.transpose(x)
        part = ops.slice(x, start=(0, 1), size=(6, 3))
        return [x, x, turned, ops.reshape(x, shape=(-1,)), np.ones((2, 3)), np.float64(3), x + 1, ops.transpose(x + 1),
                ops.reshape(x + 1, shape=(-1,)), ops.reshape(turned, shape=(3, 10)), flipped(x), y, y > 0,
                ops.broadcast_to(np.float32(2), shape=(3,)), np.arange(6.0), ops.transpose(np.arange(6.0).reshape(2, 3)),
                ops.sum(x, axis=()), ops.reshape(part, shape=(9, 2)), ops.transpose(ops.reshape(turned, shape=(3, 10))),
                ops.transpose(ops.matmul(x, turned)), ops.reshape(ops.matmul(x, turned), shape=(4, 9))]

    check(views, random((6, 5), F64), np.int32(3))


def test_copies_of_regions():
    def regions(x):
        first = ops.slice(x, start=(0, 0), size=(2, 2))
        return [ops.pad(x, np.float64(2), low=(0, 3), high=(1, 0)), ops.concatenate(x, x * 2, flipped(x), axis=0),
                ops.concatenate(ops.transpose(x), ops.transpose(x) + 1, axis=1), ops.update_slice(x, first, start=(1, 0)),
                ops.update_slice(ops.transpose(x), first, start=(1, 1), step=(2, 2)),
                ops.pad(flipped(x), np.float64(0), low=(1, 1), high=(1, 1)) + 1]

    check(regions, random((6, 5), F64))
    check(lambda x: [ops.pad(x, np.float64(0), low=(), high=()), ops.reshape(x, shape=(1, 1)) * 2], np.float64(3))


@pytest.mark.parametrize("name", ["f32", "f64", "i8", "i64", "u8", "b1"])
def test_products_of_views(name):
    """Operands that BLAS walks as they lie, and ones that it cannot."""
    T, cut, spread, shaped = ops.transpose, ops.slice, ops.broadcast_to, ops.reshape

    def products(x, y, z, r):
        pairs = [(x, y), (T(x), x), (x, T(x)), (T(y), T(x)), (z, y), (T(z, axes=(0, 2, 1)), shaped(x, shape=(3, 4, 10))),
                 (cut(x, start=(2, 1), size=(5, 7)), cut(y, start=(0, 2), size=(7, 5))),
                 (cut(x, start=(2, 1), size=(5, 7), step=(2, 1)), cut(y, start=(0, 2), size=(7, 5))), (flipped(x), flipped(y)),
                 (x, cut(y, start=(0, 0), size=(10, 6), step=(1, 2))), (spread(r, shape=(4, 10)), y),
                 (T(spread(r, shape=(4, 10))), spread(r, shape=(4, 10))), (shaped(T(x), shape=(12, 10)), y),
                 (T(z, axes=(1, 0, 2)), y), (spread(shaped(x, shape=(1, 12, 10)), shape=(3, 12, 10)), y), (flipped(z), y),
                 (shaped(r, shape=(10, 1)), shaped(r, shape=(1, 10))), (cut(x, start=(0, 0), size=(0, 10)), y),
                 (cut(x, start=(0, 0), size=(12, 0)), cut(y, start=(0, 0), size=(0, 12))),
                 (cut(x, start=(3, 0), size=(1, 10)), y), (x, cut(y, start=(0, 3), size=(10, 1))),
                 (shaped(x, shape=(2, 1, 6, 10)), spread(y, shape=(3, 10, 12))), (shaped(x, shape=(2, 1, 6, 10)), y),
                 (spread(shaped(x, shape=(2, 1, 6, 10)), shape=(2, 3, 6, 10)), y), (shaped(x, shape=(2, 6, 10)), y)]
        return [ops.matmul(a, b) for a, b in (pairs if x.dtype.kind == "f" else pairs[:8])]

    dtype = DTYPES[name]
    check(products, random((12, 10), dtype), random((10, 12), dtype, 1), random((3, 4, 10), dtype, 2), random(10, dtype, 3))


def test_gathers_and_scatters():
    x = random((50, 6, 7), F64)
    i, j = np.random.default_rng(0).integers(0, 50, (4, 30)), np.random.default_rng(1).integers(0, 6, (4, 30))

    def places(x, i, j):
        rows = ops.gather(x, i, axes=(0,))
        both = ops.gather(x, i, j, axes=(0, 1))
        top = ops.reshape(ops.max(rows, axis=(3,)), shape=(4, 30, 6, 1))
        flat = ops.reshape(x, shape=(300, 7))   # picked from and computed with
        return [rows, both, ops.gather(x, j, i, axes=(1, 0)), ops.gather(x, j, axes=(1,)), ops.sum(rows, axis=(1,)),
                ops.transpose(rows), ops.scatter_add(x, both, i, j, axes=(0, 1)), ops.exp(rows - top),
                ops.scatter_set(x, both * 0 + 1, i, j, axes=(0, 1)), ops.gather(flat, i * 3, axes=(0,)) + ops.sum(flat * 2.0)]

    check(places, x, i, j)


def test_a_part_without_elements_of_what_was_reshaped():
    """Found by random NumPy functions: no place could be computed along an axis of no elements."""
    x = random((1, 4), np.dtype("i8"))
    part = lambda x, step: ops.slice(x, start=(0,), size=(0,), step=(step,))
    check(lambda x: [part(ops.reshape(x, shape=(4,)) % 3, 1), part(ops.reshape(-x, shape=(4,)), -1),
                     ops.slice(ops.reshape(-x, shape=(2, 2)), start=(1, 0), size=(0, 2), step=(1, 1))], x)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_one_index_picks_along_several_axes(device):
    """x[i, i], each axis with its own stride and size: found by random NumPy functions, as wrong elements."""
    x, i = random((4, 3, 2, 5), F64), np.array([1, 0, 1])

    def places(x, i):
        both = ops.gather(x, i, i, axes=(0, 1))
        return [both, ops.gather(x, i, i, i, axes=(0, 2, 1)), ops.scatter_add(x, both, i, i, axes=(0, 1)),
                ops.scatter_set(x, ops.gather(x, i, i, axes=(1, 2)), i, i, axes=(1, 2))]

    with interpreted_gpu() if device == "gpu" else contextlib.nullcontext():
        check_compiled(graph_of(places, x, i), [x, i], device=Device(device, 0))
        for bad, axes in (([3], (0, 1)), ([2], (0, 2)), ([2], (2, 0))):   # in bounds of one axis, not of the other
            pick = compile_graph(graph_of(lambda x, i, a=axes: ops.gather(x, i, i, axes=a), x, np.array(bad)),
                                 device=Device(device, 0))
            with pytest.raises(IndexError):
                [np.asarray(out.host() if device == "gpu" else out) for out in pick.run([x, np.array(bad)])]


@pytest.mark.parametrize("bad", [[0, 5], [-1, 0], [2 ** 40, 1], [-2 ** 63, 0], [2 ** 63 - 1, 1]], ids=str)
def test_an_index_out_of_bounds_raises_wherever_it_is(bad):
    pick = lambda x, i: ops.gather(x, i, axes=(0,))
    functions = [
        pick, lambda x, i: pick(x, i) * 2, lambda x, i: ops.sum(pick(x, i)), lambda x, i: ops.sum(pick(x, i), axis=(0,)),
        lambda x, i: ops.sum(pick(x, i), axis=(1,)), lambda x, i: pick(x, pick(i, np.array([1, 0, 0]))),
        lambda x, i: ops.scatter_set(x, x[:2] * 2, i, axes=(0,)), lambda x, i: ops.scatter_add(x, x[:2] * 2, i, axes=(0,)),
        lambda x, i: jitnet.scan(lambda c, k: (c + ops.sum(pick(x, ops.reshape(k, shape=(1,)))), None), 0.0, i)[0]]
    for function in functions:
        x, i = random((5, 7), F64), np.array(bad)
        compiled = compile_graph(graph_of(function, x, i))
        for _ in range(2):
            with pytest.raises(IndexError):
                compiled.run([x, i])
        good = np.array([4, 1])
        assert_agree(compiled.run([x, good]), eval_graph(compiled.graph, x, good), {F32: 1e-5, F64: 1e-12})
    with pytest.raises(IndexError):
        compile_graph(graph_of(pick, np.zeros((0, 3)), np.array([0]))).run([np.zeros((0, 3)), np.array([0])])


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("width", [3, 1 << 20])
def test_nothing_can_be_picked_from_an_axis_without_elements(device, width):
    """Not even a clamped index: a kernel would read, or write, memory that is not the array's."""
    pick, one = lambda x, i: ops.gather(x, i, axes=(0,)), np.ones((1, width), np.float32)
    functions = [pick, lambda x, i: ops.sum(pick(x, i), axis=(1,)), lambda x, i: ops.sum(pick(x, i), axis=(0,)),
                 lambda x, i: ops.transpose(pick(x, i)) + 1, lambda x, i: ops.scatter_add(x, one, i, axes=(0,)),
                 lambda x, i: ops.scatter_set(x, one, i, axes=(0,))]
    x, i = np.zeros((0, width), np.float32), np.array([0])
    with interpreted_gpu() if device == "gpu" else contextlib.nullcontext():
        for function in functions:
            with pytest.raises(IndexError):
                compiled = compile_graph(graph_of(function, x, i), device=Device(device, 0))
                for out in compiled.run([x, i]):
                    out.host()
        for function in functions[:4]:   # and nothing is picked by no index
            check_compiled(graph_of(function, x, i[:0]), [x, i[:0]], device=Device(device, 0))


def test_running_operations_and_sorting():
    x, k = random((5, 6), F64), random((5, 6), np.int8)
    table = (ops.cumsum, ops.cummax, ops.cummin, ops.sort, ops.argsort)
    check(lambda x, k: [*(op(v, axis=a) for v in (x, k) for a in (0, 1) for op in table), ops.cumprod(x, axis=1),
                        ops.linear_recurrence(x, x * 2, axis=0), ops.searchsorted(np.arange(-2.0, 2.0), x)], x, k)


# Control flow

SCANS = {
    "swapped": lambda c, x: ((c[1], c[0]), c[0]), "swapped and changed": lambda c, x: ((c[1], c[0] + x), (c[0], x)),
    "views": lambda c, x: ((c[0][::-1], c[1][:, ::-1]), (ops.transpose(c[0]), x[::-1], c[1])),
    "constant ys": lambda c, x: (c, (np.arange(3.0), x)), "same": lambda c, x: ((c[0], c[0]), c[1]),
    "carry and y": lambda c, x: ((c[0] * 0.5 + x, c[1]), (c[0], c[1], c[0] * 0.5 + x)),
}


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("reverse", [False, True])
def test_scans(name, reverse):
    a, b, xs = random((4, 3), F64), random((4, 3), F64, 1), random((6, 3), F64, 2)
    for rows in (6, 5, 1, 0):
        check(lambda a, b, xs: [a, *leaves(jitnet.scan(SCANS[name], (a, b), xs, reverse=reverse)), a + 1], a, b, xs[:rows])
    check(lambda a, xs: leaves(jitnet.scan(SCANS[name], (a, a), xs[::-2], reverse=reverse)), a, xs)


def test_loops_in_branches_in_loops():
    def nested(a, xs):
        def inner(c, x):
            return np.sin(c) + x, (c[0], x)

        def outer(c, x):
            d, ys = jitnet.scan(inner, c, xs)
            again = lambda d: jitnet.scan(lambda c, x: (c * 0.5 + x, c), d, xs)[0]
            e = jitnet.cond(np.sum(x) > 0, again, lambda d: d[::-1] * 2 + a, d)
            return e, (ys, e, c)

        return leaves(jitnet.scan(outer, a, xs))

    check(nested, random((4, 3), F64), random((3, 3), F64, 1))


def test_branches_and_counted_loops():
    a, b = random((3, 3), F64), random((3, 3), F64, 1)
    for pred in (True, False):
        check(lambda p, a, b: leaves(jitnet.cond(p, lambda a, b: (b, a, a), lambda a, b: (a, b, a[::-1]), ops.transpose(a), b)),
              pred, a, b)
    for index in (-5, 0, 1, 2, 9):
        check(lambda i, a: jitnet.switch(i, [lambda a: a, lambda a: ops.transpose(a) * 2, lambda a: a[::-1]], a),
              np.int32(index), a)
    for n in (0, 1, 4, 5):
        check(lambda a, n: leaves(jitnet.fori_loop(0, n, lambda i, c: (c[1], c[0] * 0.5 + i), (a, a))), a, np.int64(n))
    for limit in (-100.0, 100.0):
        check(lambda a, m: leaves(jitnet.while_loop(lambda c: np.sum(c[0]) < m, lambda c: (c[1] + 1.0, c[0] * 1.5),
                                                    (abs(a), abs(a)))), a, np.float64(limit))
    check(lambda a: leaves(jitnet.scan(lambda c, x: (c * 31 + x, c ^ x), a[0], a)), random(9, np.int8))


# The text of kernels

TEXTS = {
    "map": lambda x, y: [ops.exp(x) * y + 2.0, x > y, ops.transpose(x) + 1.0],
    "rows": lambda x, y: [ops.sum(x * y, axis=(1,)), x - ops.max(x)],
    "softmax": lambda x, y: np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True),
    "columns": lambda x, y: [ops.sum(x, axis=(0,)), ops.max(y, axis=(0,))],
    "integers": lambda x, y: [ops.cast(x * 9, dtype=np.int8) * np.int8(77) + np.int8(99), ops.argmax(x, axis=(1,))],
    "picked": lambda x, y: ops.gather(x, np.array([2, 0, 1]), axes=(1,)) * 2.0,
    "turned": lambda x, y: ops.transpose(x) * ops.transpose(y),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_text_of_a_kernel_runs_as_python(name):
    """Each kernel, run in Python on what the compiled ones before it left, leaves what the compiled one does."""
    arrays = [random((3, 5), F64), random((3, 5), F64, 1)]
    compiled = check(TEXTS[name], *arrays)
    found = compiled.run(arrays)
    arena = np.zeros(1 << 16, np.uint8)
    outputs = [np.zeros(t.shape, t.dtype) for t in compiled.graph.output_types]
    consts = compiled.program.consts
    for info in compiled.kernels:
        memory = {kind: [np.asarray(a).reshape(-1).view(np.uint8) for a in group]
                  for kind, group in (("input", arrays), ("output", outputs), ("const", consts), ("arena", [arena]))}
        scope = dict(intrinsics.PYTHON_SCOPE)
        exec(info.source, scope)
        names = [line.split("buffer_")[1].split("(")[0] for line in info.source.splitlines() if "= buffer_" in line]
        buffers = []
        for slot, dtype in zip(info.step.buffers, names, strict=True):
            raw = memory[slot.kind][slot.index][slot.offset:]
            size = DTYPES[dtype].itemsize
            buffers.append(raw[:len(raw) // size * size].view(DTYPES[dtype]))
        scope["kernel"](buffers, info.step.sizes, 0, info.step.extent)
    assert_agree(outputs, found, {F32: 1e-6, F64: 1e-13})
