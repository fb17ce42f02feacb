"""Programs on a card give what they give on the CPU: every op, random programs, gradients, products, loops, errors."""
import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.errors import DeviceError, TraceIndexError, TraceTypeError
from jitnet.nn.functional import gelu, layer_norm, relu, softmax
from jitnet.op import OPS
from jitnet.op_kinds import Elementwise
from jitnet.runtime.device import Device
from jitnet.testing import op_graph
from jitnet.testing_compiled import check_compiled, gradient_graph
from jitnet.testing_programs import Recorder, random_arguments, random_graph
from jitnet.types import BF16, DTYPES, F16, F32, F64

CARD = Device("gpu", 0)
RNG = np.random.default_rng(11)
X, W, B = (RNG.standard_normal(shape).astype(np.float32) for shape in ((70, 40), (40, 50), 50))


def on_card(function, *arrays):
    out = jitnet.jit(function)(*[jitnet.asarray(a, device=CARD) for a in arrays])
    return jitnet.tree.map(lambda a: a.numpy(), out)


def close(found, wanted, tolerance=2e-5):
    for f, w in zip(jitnet.tree.leaves(found), jitnet.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(f, w, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", DTYPES)
def test_every_elementwise_op(name):
    dtype, chosen = DTYPES[name], []
    for op in OPS.values():
        if isinstance(op, Elementwise) and op.samples and op is not ops.cast:
            args = [sample(op, k, dtype) for k in range(len(op.array_names))]
            try:
                op_graph(op, args, {})
            except TraceTypeError:
                continue
            chosen.append((op, args))

    def everything(*xs):
        rest = iter(xs)
        return [op(*[next(rest) for _ in args]) for op, args in chosen]

    flat = [a for _, args in chosen for a in args]
    with np.errstate(all="ignore"):
        for (op, _), found, wanted in zip(chosen, on_card(everything, *flat), jitnet.jit(everything)(*flat), strict=True):
            rtol = {F16: 2e-3, BF16: 1.6e-2}.get(dtype, 1e-5)
            np.testing.assert_allclose(found.astype(float), np.asarray(wanted).astype(float), rtol=rtol, atol=rtol,
                                       err_msg=f"{op.name} of {name}")


def sample(op, k, dtype):
    low, high = (op.samples.ranges + (op.samples.ranges[-1],) * 3)[k]
    if dtype.kind == "b" or (op is ops.where and k == 0):
        return RNG.integers(0, 2, 333).astype(bool)
    values = RNG.uniform(low, high, 333)
    if dtype.kind in "iu":
        values = np.abs(values) if dtype.kind == "u" or op.name in ("power", "left_shift", "right_shift") else values
    return values.astype(dtype)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed):
    n, floats = (7, 33, 130, 1000)[seed % 4], (F32,) if seed % 2 else (F64,)
    graph = random_graph(Recorder(seed), n, length=4 + seed % 13, floats=floats)
    check_compiled(graph, random_arguments(graph, seed), device=CARD)


@pytest.mark.parametrize("seed", range(0, 60, 2))
def test_gradients_of_random_programs(seed):
    graph = gradient_graph(random_graph(Recorder(seed), 33, length=4 + seed % 8, floats=(F32,)))
    if graph is not None:
        check_compiled(graph, random_arguments(graph, seed), device=CARD)


@pytest.mark.parametrize("shape", [(3, 5), (1000, 7), (7, 10_000), (1, 300_000), (513, 513)])
def test_reductions_and_normalizations(shape):
    x = RNG.standard_normal(shape).astype(np.float32)
    for function in (lambda x: np.sum(x, axis=0), lambda x: np.sum(x, axis=1), np.sum, np.max, lambda x: np.argmax(x, axis=1),
                     softmax, layer_norm, lambda x: x.T + 1):
        close(on_card(function, x), jitnet.jit(function)(x), 1e-4)


@pytest.mark.parametrize("a,b", [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((64, 784), (784, 128)),
                                 ((5, 512, 64), (5, 64, 512))])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_products(a, b, dtype):
    x, y = RNG.standard_normal(a).astype(dtype), RNG.standard_normal(b).astype(dtype)
    close(on_card(lambda x, y: x @ y, x, y), x @ y, 1e-4)
    swapped = np.swapaxes(y, -1, -2).copy()
    close(on_card(lambda x, y: x @ np.swapaxes(y, -1, -2), x, swapped), x @ y, 1e-4)


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("a,b", [((3, 4), (4, 5)), ((64, 784), (784, 128)), ((5, 51, 64), (5, 64, 52)), ((7, 4097), (4097, 9))])
def test_products_of_halves(a, b, dtype):
    """Sums in float32, rounded once: at most one step of the dtype beside the CPU's, and what cancels."""
    x, y = RNG.standard_normal(a).astype(dtype), RNG.standard_normal(b).astype(dtype)
    got, want = (v.astype(np.float32) for v in (on_card(np.matmul, x, y), jitnet.jit(np.matmul)(x, y)))
    np.testing.assert_allclose(got, want, rtol=2.0 ** (-10 if dtype == F16 else -7), atol=1e-4)
    close(on_card(lambda x, y: np.matmul(x, y, dtype=np.float32), x, y), np.matmul(x, y, dtype=np.float32), 1e-4)


@pytest.mark.parametrize("function", [lambda x, w, b: x @ w + b, lambda x, w, b: relu(x @ w + b), lambda x, w, b: relu(x @ w),
                                      lambda x, w, b: gelu(x @ w + b, "tanh"), lambda x, w, b: gelu(x @ w, "tanh")],
                         ids=["bias", "relu_bias", "relu", "gelu_bias", "gelu"])
def test_epilogues(function):
    close(on_card(function, X, W, B), jitnet.jit(function)(X, W, B), 1e-4)
    x = X.copy()
    x[3] = np.nan
    assert np.isnan(on_card(function, x, W, B)[3]).all()


@pytest.mark.parametrize("activation", [relu, lambda h: gelu(h, "tanh")], ids=["relu", "gelu"])
@pytest.mark.parametrize("width", [64, 50])
def test_gradients_of_layers(activation, width):
    """Through whatever epilogues this card's library has for them, with NaN and zeros where masks decide."""
    def loss(x, w, b, v):
        return np.sum((activation(x @ w + b) @ v) ** 2)

    def gradients(x, w, b, v):
        return jitnet.tree.leaves(jitnet.value_and_grad(loss, argnums=(1, 2, 3))(x, w, b, v))

    x, w, v = (RNG.standard_normal(s).astype(np.float32) for s in ((96, 40), (40, width), (width, 16)))
    x[5], b = 0, np.zeros(width, np.float32)
    for got, want in zip(on_card(gradients, x, w, b, v), jitnet.jit(gradients)(x, w, b, v), strict=True):
        close(got, want, 1e-3)


def test_a_training_loop_on_the_card_and_on_the_cpu():
    def loss(params, x, y):
        (w1, b1), (w2, b2) = params
        return np.mean((np.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2)

    @jitnet.jit
    def step(params, x, y):
        value, grads = jitnet.value_and_grad(loss)(params, x, y)
        return value, jitnet.tree.map(lambda p, g: p - np.float32(0.1) * g, params, grads)

    params = [(W, B), (RNG.standard_normal((50, 3)).astype(np.float32), np.zeros(3, np.float32))]
    there, y = jitnet.device_put((params, X, X[:, :3].copy()), CARD), X[:, :3].copy()
    on_gpu, x_gpu, y_gpu = there
    for _ in range(20):
        value, params = step(params, X, y)
        value_gpu, on_gpu = step(on_gpu, x_gpu, y_gpu)
    close(float(value_gpu), float(value), 1e-3)


def test_loops_and_branches():
    close(on_card(lambda x: jitnet.scan(lambda c, r: (np.tanh(c + r), c), x[0], x), X), jitnet.jit(
        lambda x: jitnet.scan(lambda c, r: (np.tanh(c + r), c), x[0], x))(X))
    halve = lambda x: jitnet.while_loop(lambda s: np.max(s) > 1e-3, lambda s: s / 2, x)
    close(on_card(halve, X), jitnet.jit(halve)(X))
    for k in range(3):
        choose = lambda k, x: jitnet.switch(k, [lambda x: x + 1, lambda x: x * 2, np.exp], x)
        close(on_card(choose, np.int64(k), X), jitnet.jit(choose)(np.int64(k), X))


def test_an_index_out_of_bounds():
    f = jitnet.jit(lambda x, i: x[i])
    x = jitnet.asarray(X, device=CARD)
    out = f(x, jitnet.asarray(np.array([0, 700]), device=CARD))
    with pytest.raises(TraceIndexError):
        out.numpy()
    close(f(x, jitnet.asarray(np.array([0, 7]), device=CARD)).numpy(), X[[0, 7]])


def test_too_much_memory():
    x = jitnet.asarray(np.ones(3), device=CARD)
    with pytest.raises(DeviceError, match="out of memory"):
        jitnet.jit(lambda x: np.broadcast_to(x, (1 << 38, 3)) + 1)(x)
    assert float((x + 1).sum()) == 6


def test_large_arrays_there_and_back():
    x = RNG.standard_normal(20_000_003).astype(np.float32)
    np.testing.assert_array_equal(jitnet.asarray(x, device=CARD).numpy(), x)


@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_other_libraries(library):
    module = pytest.importorskip(library)
    if library == "torch" and not module.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    theirs = module.arange(12, device="cuda").reshape(3, 4) if library == "torch" else module.arange(12).reshape(3, 4)
    ours = jitnet.asarray(theirs)
    assert ours.device == CARD
    ours += 1
    assert theirs.tolist() == (np.arange(12).reshape(3, 4) + 1).tolist()
    back = module.from_dlpack(ours * 2)
    assert back.tolist() == (2 * (np.arange(12).reshape(3, 4) + 1)).tolist()


def test_several_cards():
    if jitnet.num_gpus() < 2:
        pytest.skip("one card")
    x = jitnet.asarray(X, device=CARD).to(jitnet.gpu(1))
    close((x * 2).numpy(), X * 2)
    with pytest.raises(DeviceError):
        x + jitnet.asarray(X, device=CARD)
