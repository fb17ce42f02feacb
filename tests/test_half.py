"""float16 and bfloat16: stored in 16 bits, computed with in float32, each op rounded once."""
import pickle

import numpy as np
import pytest

import jitnet
import jitnet.numpy as jnp
from jitnet import ops
from jitnet.compile import compile_graph
from jitnet.ir import eval_graph
from jitnet.nn import functional
from jitnet.op import OPS
from jitnet.passes.widen import widen
from jitnet.testing_compiled import check_compiled, check_function, gradient_graph, graph_of
from jitnet.testing_compiled import random_array as random
from jitnet.types import BF16, DTYPES, F16, F32, F64, HALVES, I8, I64, promote, same_kind

HALF = pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
EVERY = np.arange(1 << 16).astype(np.uint16)   # the bits of every half


def bits(x):
    """The bits of halves, one NaN for all."""
    return np.where(np.isnan(x), 0x7fff, x.view(np.uint16))


def run(function, *arrays):
    return compile_graph(graph_of(function, *arrays)).run(list(arrays))


# Conversions

@HALF
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_half_is_a_float32_and_comes_back(dtype):
    x = EVERY.view(dtype)
    wide, back = run(lambda x: [ops.cast(x, dtype=F32), ops.cast(ops.cast(x, dtype=F32) * np.float32(1), dtype=dtype)], x)
    np.testing.assert_array_equal(wide, x.astype(F32))
    np.testing.assert_array_equal(bits(back), bits(x))


@HALF
@pytest.mark.parametrize("source", [F32, F64], ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_floats_round_to_the_nearest_half_ties_to_even(source, dtype):
    """At every midpoint between halves, and next to it."""
    halves = np.sort(EVERY.view(dtype).astype(F64)[np.isfinite(EVERY.view(dtype))])
    middle = (halves[1:] + halves[:-1]) / 2
    x = np.concatenate([middle * factor for factor in (1, 1 + 2.0 ** -22, 1 - 2.0 ** -22, 1 + 2.0 ** -50, 1 - 2.0 ** -50)])
    x = np.concatenate([x, [np.inf, -np.inf, np.nan, 1e30, -1e300, 65519.99, 65520]]).astype(source)
    (found,) = run(lambda x: [ops.cast(x, dtype=dtype)], x)
    np.testing.assert_array_equal(bits(found), bits(x.astype(dtype)))


@HALF
@pytest.mark.parametrize("name", [n for n in DTYPES if n[0] in "iub"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_integers_to_and_from_halves(name, dtype):
    x = np.array([0, 1, -1, 5, 100, -100, 127, 255, 257, 32769, -70000, 2 ** 31 + 2 ** 23 + 1, 2 ** 62 + 1])
    x = x.astype(DTYPES[name])
    (found,) = run(lambda x: [ops.cast(x, dtype=dtype)], x)
    np.testing.assert_array_equal(bits(found), bits(x.astype(dtype)))
    y = np.array([0, -0.0, 1.5, 2.5, 99.5, 1e-7], dtype)
    (found,) = run(lambda y: [ops.cast(y, dtype=DTYPES[name])], y)
    np.testing.assert_array_equal(found, y.astype(DTYPES[name]))


# Meaning

@HALF
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_arithmetic_has_the_bits_of_numpy(dtype):
    """Rounded after each op, in whichever kernel: also where one op feeds the next."""
    x, y = (EVERY.view(dtype)[k::7][:9000].copy() for k in (1, 3))
    functions = [lambda x, y: x + y, lambda x, y: x * y - x, lambda x, y: (x - y) / y, lambda x, y: np.sqrt(np.abs(x)) * y,
                 lambda x, y: np.nextafter(x, y), lambda x, y: np.maximum(x, y), lambda x, y: np.floor(x) - x]
    for function in functions:
        (found,) = run(lambda x, y, function=function: [function(x, y)], x, y)
        np.testing.assert_array_equal(bits(found), bits(function(x, y)))


def test_float16_functions_agree_with_numpy():
    x = random((40, 50), F16)
    for function in (np.exp, np.tanh, np.sin, lambda x: np.log(np.abs(x)), lambda x: np.mean(x, axis=0), np.var, np.std,
                     lambda x: np.max(x, axis=1), lambda x: np.sum(x, axis=1), lambda x: x @ x.T,
                     lambda x: np.argmax(x, axis=1), lambda x: np.clip(x, -1, 0.5), lambda x: np.where(x > 0, x, 2),
                     lambda x: x ** 2, lambda x: (np.abs(x) + np.float16(0.1)) ** -1.5):
        found, wanted = jitnet.jit(function)(x), function(x)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found.astype(F64), wanted.astype(F64), rtol=3e-3, atol=3e-3)


@HALF
def test_sums_means_and_products_accumulate_in_float32(dtype):
    ones = np.ones((3000, 33), dtype)
    total, mean, spread, product, running = run(
        lambda x: [ops.sum(x, axis=(0,)), np.mean(x * 40), np.var(x * 300), ops.matmul(ops.transpose(x, axes=(1, 0)), x),
                   ops.cumsum(x, axis=0)], ones)
    limit = np.asarray(3000, dtype)   # in bfloat16 3000 is 3008
    assert (total == limit).all() and (product == limit).all() and (running[-1] == limit).all()
    assert mean == 40 and spread == 0   # though the sums are beyond the range of float16
    assert mean.dtype == spread.dtype == dtype


def test_a_value_has_the_same_bits_in_every_kernel():
    """A maximum equals the element it came from though it is computed twice, in loops that are fused differently."""
    x = random((5, 4100), F16)

    def chain(x):
        return np.exp(x * 0.3) * x + 0.1

    place, value = run(lambda x: [ops.argmax(chain(x), axis=(1,)), chain(x)], x)
    np.testing.assert_array_equal(place, np.argmax(value, axis=1))
    kept, alone = run(lambda x: [chain(x), ops.max(chain(x), axis=(1,))], x)
    np.testing.assert_array_equal(alone, kept.max(axis=1))


@HALF
def test_stable_functions_are_rounded_once(dtype):
    x = (random((6, 90), F32) * 3).astype(dtype)
    wide = x.astype(F32)
    for function in (functional.softmax, functional.log_softmax, functional.layer_norm, functional.gelu,
                     lambda x: jnp.logsumexp(x, axis=1)):
        found = jitnet.jit(function)(x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.astype(F64), function(wide), rtol=5e-3 if dtype == BF16 else 7e-4, atol=1e-6)


# Types

def test_promotion_of_bfloat16():
    assert promote(BF16, F16) == F32 and promote(BF16, F32) == F32 and promote(F64, BF16) == F64
    assert promote(BF16, float) == promote(BF16, int) == promote(I64, BF16) == promote(BF16, np.dtype(bool)) == BF16
    assert same_kind(F32, BF16) and same_kind(BF16, F16) and not same_kind(BF16, I64)
    x = np.array([1.5, -2, 300], BF16)
    i = np.array([1, 2, 3])
    outs = jitnet.jit(lambda x, i: [x + 1.5, 2 * x, x * i, x ** 2, x > i, np.arctan2(x, i), x / 3, -x, x.mean(),
                                    np.where(x > 0, x, 0), x * np.float16(1), x + np.float32(1), np.exp(x)])(x, i)
    assert [o.dtype for o in outs] == [BF16] * 4 + [np.dtype(bool)] + [BF16] * 5 + [F32] * 2 + [BF16]


def test_functions_of_bytes_are_float16_as_in_numpy():
    x = np.arange(-4, 5).astype(np.int8)
    found = jitnet.jit(lambda x: [np.exp(x), np.arctan2(x, x), x / x, np.sqrt(x > 0)])(x)
    with np.errstate(all="ignore"):
        wanted = [np.exp(x), np.arctan2(x, x), x / x, np.sqrt(x > 0)]
    for f, w in zip(found, wanted):
        assert f.dtype == w.dtype
        np.testing.assert_allclose(f, w, rtol=1e-3)


def test_errors_name_bfloat16():
    with pytest.raises(jitnet.errors.TraceTypeError, match="bitwise_and: NumPy has no bitwise_and of bf16 and a Python int"):
        jitnet.jit(lambda x: x & 1)(np.ones(2, BF16))


# Through the house

@HALF
def test_every_op_that_computes_is_widened(dtype):
    x = random((4, 6), dtype)
    graph = widen(graph_of(lambda x: [ops.exp(x) + 1, ops.sum(x), ops.where(x > 0, x, x * 2), ops.sort(x, axis=0)], x))
    for eqn in graph.eqns:
        assert not eqn.op.widens or HALVES.isdisjoint(a.type.dtype for a in (*eqn.inputs, *eqn.outputs))
    assert {op.name for op in OPS.values() if not op.widens and op.kind == "elementwise"} == {
        "cast", "nextafter", "where", "stop_gradient"}


@HALF
def test_movements_gathers_loops_and_scatters(dtype):
    x, i = random((6, 8), dtype), np.array([5, 0, 3, 0])
    check_function(lambda x, i: [x[::-1, 1:5], x.T.reshape(-1), np.pad(x, 2), np.concatenate([x, x], 1), x[i],
                                 np.take(x, i, axis=1), ops.scatter_add(x, x[:4] * 1, i, axes=(0,)),
                                 ops.scatter_set(x, x[:4], i, axes=(0,)),
                                 np.sort(x, axis=0), np.cumsum(x, axis=1), jnp.arange(7, dtype=dtype) + x[0, 0]], x, i)
    check_function(lambda x: jitnet.scan(lambda c, r: (c * 0.5 + r, c), x[0], x), x)
    big = random((300, 310), dtype)
    check_function(lambda x: [x.T * 2, ops.transpose(x, axes=(1, 0))], big)


@HALF
def test_gradients(dtype):
    x, w = random((7, 5), dtype), random((5, 3), dtype, 1)
    wide = [a.astype(F64) for a in (x, w)]

    def function(x, w):
        return [np.tanh(x @ w), np.max(x, axis=1)]

    gradient = gradient_graph(graph_of(function, x, w))
    check_compiled(gradient, [x, w])
    wanted = eval_graph(gradient_graph(graph_of(function, *wide)), *wide)
    for f, g in zip(eval_graph(gradient, x, w), wanted):
        assert f.dtype == dtype
        np.testing.assert_allclose(f.astype(F64), g, atol=0.1 if dtype == BF16 else 0.01)


@HALF
def test_calls_and_arrays(dtype):
    """Arguments of every sort, results of the kind that went in, and the text that runs."""
    @jitnet.jit
    def double(x, y):
        return x * 2 + y, np.sum(x)

    x = random((3, 4), dtype)
    for _ in range(2):
        out, total = double(x, dtype.type(1))
        assert out.dtype == dtype and type(out) is np.ndarray and total.dtype == dtype and isinstance(total, np.generic)
    assert double(x[:, ::2], 1.0)[0].shape == (3, 2)
    array = jitnet.asarray(x)
    out, total = double(array, 0.5)
    assert type(out) is type(total) is jitnet.Array and out.dtype == dtype
    again = pickle.loads(pickle.dumps(array))
    assert again.dtype == dtype and double(again, 0.5)[0].dtype == dtype
    np.testing.assert_array_equal(again.numpy(), x)
    program = {}
    exec(double.source(x, dtype.type(1)), program)
    np.testing.assert_array_equal(program["double"](x, np.asarray(1, dtype))[0], double(x, dtype.type(1))[0])
    printed = str(double.graph(x, 0.1))
    assert f"{'bf16' if dtype == BF16 else 'f16'}[3,4]" in printed


EAGER = [
    lambda x: x * 1.5, lambda x: 2 - x, lambda x: x + np.arange(4), lambda x: x.sum(axis=0), lambda x: x ** 2,
    lambda x: np.mean(x, axis=1, keepdims=True), lambda x: np.add.reduce(x), lambda x: x @ x.T, lambda x: np.exp(x),
    lambda x: np.where(x > 0, x, 0.5), lambda x: -abs(x), lambda x: np.einsum("ij,kj->ik", x, x), lambda x: x.std(),
    lambda x: x.T[::2], lambda x: x.astype(np.float32)]


@pytest.mark.parametrize("function", EAGER)
def test_eager_bfloat16_is_what_compiled_code_gives(function):
    x = jitnet.asarray(random((3, 4), BF16))
    eager, compiled = function(x), jitnet.jit(function)(x)
    assert type(eager) is type(compiled) is jitnet.Array and eager.dtype == compiled.dtype
    np.testing.assert_allclose(eager.numpy().astype(F64), compiled.numpy().astype(F64), rtol=8e-3)


def test_eager_bfloat16_in_place():
    x = jitnet.asarray(np.ones(3, BF16))
    y = x
    x += 0.5
    x *= np.float32(3)
    assert x is y and x.dtype == BF16 and x.tolist() == [4.5] * 3


@HALF
def test_dlpack_out_and_in(dtype):
    """A taker sees DLPack's own code of bfloat16, and NumPy's lack of one is no obstacle."""
    x = jitnet.asarray(random((3, 4), dtype))

    class Elsewhere:
        def __dlpack__(self, **options):
            return x.__dlpack__(**options)

        def __dlpack_device__(self):
            return x.__dlpack_device__()

    y = jitnet.asarray(Elsewhere())
    assert y.dtype == dtype and np.shares_memory(x.numpy(), y.numpy())
    np.testing.assert_array_equal(x.numpy(), y.numpy())


@HALF
def test_in_place_writes(dtype):
    @jitnet.jit
    def step(x):
        x += np.float32(0.25)
        x[1] = 0.3
        return x.sum()

    x = np.ones((3, 2), dtype)
    step(x)
    np.testing.assert_array_equal(x, np.array([[1.25] * 2, [0.3] * 2, [1.25] * 2]).astype(dtype))


def test_vmap_and_int8_weak():
    x = random((4, 5), BF16)
    found = jitnet.vmap(lambda r: np.sum(r * r) / 3)(x)
    np.testing.assert_array_equal(np.asarray(found), [np.asarray(jitnet.jit(lambda r: np.sum(r * r) / 3)(r)) for r in x])
    assert promote(BF16, I8) == BF16
