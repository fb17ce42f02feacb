"""Kernels that do the same to other arrays: one launch, the same results."""
import numpy as np
import pytest

import jitnet
from jitnet.codegen.cuda_together import MOST_USES, together
from jitnet.testing_kernels import interpreted_gpu
from jitnet.testing_ptx_gpu import ptx_gpu


def on_gpu(value):
    return jitnet.tree.map(lambda v: jitnet.asarray(v, device="gpu"), value)


def count(function, *arrays):
    """How many operations the program of a call has."""
    program = function.lower(*arrays).program
    return sum(len(part.operations) for part in program.all_parts(program.parts))


SHAPES = [(5, 4), (4,), (4, 3), (3,), (1,), (70, 9), (2, 2, 2)]


@pytest.fixture(params=[interpreted_gpu, ptx_gpu])
def gpu(request):
    with request.param() as driver:
        yield driver


def values(rng, shapes=SHAPES, dtype=np.float32):
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16"])
def test_an_update_of_many_parameters(gpu, rng, dtype):
    """Sizes, alignments and vector tails of their own, numbers of their own, one launch."""
    params, grads = values(rng, dtype=dtype), values(rng, dtype=dtype)
    rates = [dtype_of(dtype)(k) for k in range(len(params))]
    f = jitnet.jit(lambda params, grads: [p - r * g for p, g, r in zip(params, grads, rates, strict=True)])
    given = on_gpu(params), on_gpu(grads)
    for got, p, g, r in zip(f(*given), params, grads, rates, strict=True):
        np.testing.assert_array_equal(got.numpy(), (p - r * g).astype(dtype))
    assert count(f, *given) < len(params) / 2


def dtype_of(name):
    return np.dtype(name).type


def test_in_place(gpu, rng):
    params, grads, momenta = values(rng), values(rng), values(rng)

    def step(params, grads, momenta):
        for p, g, m in zip(params, grads, momenta, strict=True):
            m *= np.float32(0.5)
            m += g
            p -= m * np.float32(0.25)
    f = jitnet.jit(step)
    given = on_gpu((params, grads, momenta))
    for _ in range(3):
        f(*given)
        step(params, grads, momenta)
    for got, want in zip([*given[0], *given[2]], [*params, *momenta], strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    assert count(f, *given) == 1


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("many", [3, 20])
def test_a_stack(gpu, rng, axis, many):
    rows = values(rng, [(6, 5)] * many)
    f = jitnet.jit(lambda *rows: np.stack(rows, axis=axis))
    given = on_gpu(rows)
    np.testing.assert_array_equal(f(*given).numpy(), np.stack(rows, axis=axis))


def test_what_depends_on_each_other_stays_in_order(gpu, rng):
    x, y, z = values(rng, [(7,)] * 3)

    def f(x, y, z):
        x += np.float32(1)        # the same kernel four times, each reads what another one writes
        y[1:] = x[:-1]
        x[2:5] += np.float32(1)
        z[:3] = x[2:5]
        y[2:5] += np.float32(1)
        return np.concatenate([x, y, z]), np.concatenate([z[1:], y, x[:2]])
    given = on_gpu([x, y, z])
    got = jitnet.jit(f)(*given)
    want = f(x, y, z)
    for g, w in zip([*given, *got], [x, y, z, *want], strict=True):
        np.testing.assert_array_equal(g.numpy(), w)


def test_in_a_loop(gpu, rng):
    xs = values(rng, [(3, 4)] * 3)
    def body(i, xs):
        return [x * np.float32(0.5) + i.astype(np.float32) for x in xs]
    f = jitnet.jit(lambda xs: jitnet.fori_loop(0, 5, body, xs))
    for got, want in zip(f(on_gpu(xs)), f(xs), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)


def test_more_than_a_launch_takes(rng):
    params = values(rng, [(k + 1,) for k in range(2 * MOST_USES + 3)])
    with interpreted_gpu():
        f = jitnet.jit(lambda params: [p * np.float32(2) for p in params])
        given = on_gpu(params)
        for got, p in zip(f(given), params, strict=True):
            np.testing.assert_array_equal(got.numpy(), p * 2)
        assert count(f, given) == 3


def test_new_sizes(rng):
    with interpreted_gpu():
        f = jitnet.jit(lambda x, y: (x * np.float32(2), y * np.float32(2)))
        for n in (3, 5, 9, 17, 40):
            x, y = values(rng, [(n,), (2 * n, n)])
            for got, want in zip(f(*on_gpu([x, y])), (x * 2, y * 2), strict=True):
                np.testing.assert_array_equal(got.numpy(), want)
            assert count(f, *on_gpu([x, y])) == 1
        assert f.traces <= 2


def test_it_is_explained(rng):
    with interpreted_gpu():
        f = jitnet.jit(lambda x, y: (x * np.float32(2), y * np.float32(2)))
        text = f.explain(*on_gpu(values(rng, [(5,), (9,)])))
    assert text.count("in the launch of kernel_0") == 1


def test_the_text():
    assert together('def kernel(x0: "f32*", out0: "f32*", n0: "i64"):\n    out0[block_x()] = x0[blocks_x()] + n0\n', 2) == (
        'def kernel(x0_0: "f32*", out0_0: "f32*", x0_1: "f32*", out0_1: "f32*", n0_0: "i64", n0_1: "i64", until_0: "i64", '
        'until_1: "i64"):\n'
        "    block = block_x()\n"
        "    x0 = either_(block < until_0, x0_0, x0_1)\n"
        "    out0 = either_(block < until_0, out0_0, out0_1)\n"
        "    n0 = either_(block < until_0, n0_0, n0_1)\n"
        "    since = either_(block < until_0, 0, until_0)\n"
        "    blocks = either_(block < until_0, until_0, until_1) - since\n"
        "    block -= since\n"
        "    out0[block] = x0[blocks] + n0\n")


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


FORMS = {
    "sums": lambda *xs: [np.sum(x, axis=1) for x in xs],
    "sums of columns": lambda *xs: [np.sum(x, axis=0) for x in xs],
    "softmax": lambda *xs: [softmax(x) for x in xs],
    "norms": lambda *xs: [np.sqrt(np.sum(x * x)) for x in xs],
    "turned": lambda *xs: [x.T + 1 for x in xs],
    "places": lambda *xs: [np.argmax(x, axis=1) for x in xs],
}


@pytest.mark.parametrize("form", FORMS)
def test_other_kernels_than_elementwise_ones(gpu, rng, form):
    """Reductions and transposes share a launch where their blocks have one shape."""
    arrays = values(rng, [(40, 50), (40, 50), (41, 50), (39, 49), (40, 50), (3, 5)])
    f = jitnet.jit(FORMS[form])
    given = on_gpu(arrays)
    for got, want in zip(f(*given), FORMS[form](*arrays), strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=2e-5, atol=1e-6)
    assert count(f, *given) <= 3
    alone = jitnet.jit(lambda x: FORMS[form](x)[0])
    for got, x in zip(f(*given), given, strict=True):
        np.testing.assert_array_equal(got.numpy(), alone(x).numpy())
