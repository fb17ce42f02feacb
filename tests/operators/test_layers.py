"""Layers: values against formulas, gradients against finite differences, inference both ways, fusion, halves, bad input."""
import math
import re

import numpy as np
import pytest

import jitnet as mx
from jitnet.test_utils import check_numeric_gradient

nd, sym = mx.nd, mx.sym
BF16 = mx.numpy.bfloat16


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def made(op, *shapes, states=(), **params):
    """(symbol, random values of its arguments, values of its states) for an operator on variables of these shapes."""
    net = getattr(sym, op)(*[sym.Variable(f"a{k}") for k in range(len(shapes))], name="n", **params)
    values = [draw(*shape, seed=k) for k, shape in enumerate(shapes)]
    return net, dict(zip(net.list_arguments(), values)), dict(zip(net.list_auxiliary_states(), states)) or None


SPREAD = np.array([[-2.0, -0.5, 0.25], [0.75, 1.5, 3.0]])  # away from the kinks
NORMS = [("BatchNorm", ((5, 3), (3,), (3,)), {"fix_gamma": False}), ("BatchNorm", ((4, 3, 2), (3,), (3,)), {}),
         ("BatchNorm", ((4, 2, 3), (3,), (3,)), {"fix_gamma": False, "axis": -1, "eps": 0.1}),
         ("BatchNorm", ((5, 3), (3,), (3,)), {"fix_gamma": False, "use_global_stats": True}),
         ("LayerNorm", ((4, 5), (5,), (5,)), {}), ("LayerNorm", ((2, 5, 3), (5,), (5,)), {"axis": 1, "eps": 0.1}),
         ("InstanceNorm", ((2, 3, 4), (3,), (3,)), {}), ("GroupNorm", ((2, 4, 3), (2,), (2,)), {"num_groups": 2})]
GRADIENTS = [
    ("FullyConnected", ((2, 3, 4), (5, 12), (5,)), {"num_hidden": 5}),
    ("FullyConnected", ((2, 3, 4), (5, 4), (5,)), {"num_hidden": 5, "flatten": False}),
    ("FullyConnected", ((3, 4), (5, 4)), {"num_hidden": 5, "no_bias": True}),
    *[("Activation", ((2, 3),), {"act_type": act}) for act in ("relu", "sigmoid", "tanh", "softrelu", "softsign")],
    *[("LeakyReLU", ((2, 3),), {"act_type": act}) for act in ("leaky", "elu", "selu", "gelu")],
    ("LeakyReLU", ((2, 3), (3,)), {"act_type": "prelu"}), ("LeakyReLU", ((2, 3, 2), (3,)), {"act_type": "prelu"}),
    ("SoftmaxActivation", ((2, 3),), {}), ("SoftmaxActivation", ((2, 3, 2),), {"mode": "channel"}),
    *[("L2Normalization", ((2, 3, 2),), {"mode": mode}) for mode in ("instance", "channel", "spatial")],
    ("smooth_l1", ((2, 3),), {"scalar": 1.5}), ("Flatten", ((2, 3, 2),), {}), ("SwapAxis", ((2, 3),), {"dim1": 0, "dim2": 1}),
    ("Concat", ((2, 3), (2, 1)), {"dim": 1}), *NORMS]


def label(case):
    return case[0] + "-" + "-".join(map(str, case[2].values()))


@pytest.mark.parametrize("op, shapes, params", GRADIENTS, ids=map(label, GRADIENTS))
def test_gradients(op, shapes, params):
    states = (np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.0, 1.5])) if op == "BatchNorm" else ()
    net, values, states = made(op, *shapes, states=states, **params)
    if shapes[0] == (2, 3):
        values["a0"] = SPREAD.copy()
    names = [n for n in values if not (n.startswith("a1") and op == "BatchNorm" and params.get("fix_gamma") is not False)]
    check_numeric_gradient(net, values, states, grad_nodes=names, dtype=np.float64, rtol=1e-5, atol=1e-7, numeric_eps=1e-4)


def test_gradient_of_a_random_layer():
    """The mask is the same in both passes: where the output is 0, so is the gradient."""
    for op, params in (("Dropout", {"p": 0.5}), ("Dropout", {"p": 0.3, "axes": (1,)}), ("LeakyReLU", {"act_type": "rrelu"})):
        x = sym.Variable("x")
        ex = getattr(sym, op)(x, **params).simple_bind(mx.cpu(), x=(40, 50))
        ex.arg_dict["x"][:] = draw(40, 50)
        y = ex.forward(is_train=True)[0].asnumpy()
        ex.backward(nd.ones((40, 50)))
        np.testing.assert_allclose(ex.grad_dict["x"].asnumpy() * ex.arg_dict["x"].asnumpy(), y, rtol=1e-5)


# Values

def test_fully_connected_by_hand():
    x, w, b = draw(2, 3, 4), draw(5, 12, seed=1), draw(5, seed=2)
    found = nd.FullyConnected(*map(nd.array, (x, w, b)), num_hidden=5).asnumpy()
    np.testing.assert_allclose(found, x.reshape(2, 12) @ w.T + b, rtol=1e-4, atol=1e-6)
    found = nd.FullyConnected(*map(nd.array, (x, w[:, :4], b)), num_hidden=5, flatten=False).asnumpy()
    np.testing.assert_allclose(found, x @ w[:, :4].T + b, rtol=1e-4, atol=1e-6)


def test_activations_by_hand():
    x = nd.array(SPREAD)
    erf = np.vectorize(math.erf)
    expected = {"relu": np.maximum(SPREAD, 0), "sigmoid": 1 / (1 + np.exp(-SPREAD)), "softrelu": np.log1p(np.exp(SPREAD)),
                "tanh": np.tanh(SPREAD), "softsign": SPREAD / (1 + abs(SPREAD))}
    for act, value in expected.items():
        np.testing.assert_allclose(nd.Activation(x, act_type=act).asnumpy(), value, rtol=2e-6)
    below = {"leaky": 0.25 * SPREAD, "elu": 0.25 * np.expm1(SPREAD), "rrelu": SPREAD * (0.125 + 0.334) / 2,
             "gelu": SPREAD * (1 + erf(SPREAD / 2**0.5)) / 2}
    for act, value in below.items():
        value = np.where((SPREAD > 0) & (act != "gelu"), SPREAD, value)
        np.testing.assert_allclose(nd.LeakyReLU(x, act_type=act).asnumpy(), value, rtol=1e-5)
    selu = 1.0507009873554805 * np.where(SPREAD > 0, SPREAD, 1.6732632423543772 * np.expm1(SPREAD))
    np.testing.assert_allclose(nd.LeakyReLU(x, act_type="selu").asnumpy(), selu, rtol=1e-6)
    slopes = nd.LeakyReLU(x, nd.array([0.1, 0.2, 0.3]), act_type="prelu")
    np.testing.assert_allclose(slopes.asnumpy(), np.where(SPREAD > 0, SPREAD, SPREAD * [0.1, 0.2, 0.3]), rtol=1e-6)
    assert np.isfinite(nd.Activation(nd.array([-1e4, 1e4]), act_type="softrelu").asnumpy()).all()


@pytest.mark.parametrize("f, at, expected", [
    (lambda x: nd.Activation(x, act_type="relu"), [0.0, -1, 2], [0, 0, 1]), (nd.relu, [0.0], [0]),
    (lambda x: nd.LeakyReLU(x, act_type="elu"), [0.0, 1], [0.25, 1]), (lambda x: nd.LeakyReLU(x), [0.0, 1], [0.25, 1]),
    (nd.abs, [0.0, -2], [0, -1]),
    (nd.sign, [0.0, 3], [0, 0]), (lambda x: nd.clip(x, 0, 2), [0.0, 2, 3, 1, -1], [1, 1, 0, 1, 0]), (nd.sqrt, [0.0], [np.inf]),
    (nd.max, [1.0, 3, 3], [0, 1, 1]), (nd.min, [1.0, 1, 3], [1, 1, 0]),
    (lambda x: nd.broadcast_maximum(x, nd.array([1.0, 2, 3])), [1.0, 1, 4], [1, 0, 1]),
    (lambda x: nd.broadcast_maximum(nd.array([1.0, 2, 3]), x), [1.0, 1, 4], [0, 0, 1])])
def test_gradients_at_kinks_are_those_of_mxnet(f, at, expected):
    x = nd.array(at)
    x.attach_grad()
    with mx.autograd.record():
        y = f(x)
    y.backward()
    assert x.grad.asnumpy().tolist() == expected


def test_rrelu_and_dropout_draw():
    x = nd.array(-np.ones((100, 100)))
    with mx.autograd.train_mode():
        slopes = -nd.LeakyReLU(x, act_type="rrelu", lower_bound=0.2, upper_bound=0.4).asnumpy()
        kept = -nd.Dropout(x, p=0.25).asnumpy()
        rows = -nd.Dropout(x, p=0.25, axes=(1,)).asnumpy()
        assert (nd.Dropout(x, p=1.0).asnumpy() == 0).all() and (nd.Dropout(x, p=0.0).asnumpy() == -1).all()
    assert 0.2 <= slopes.min() < 0.21 and 0.39 < slopes.max() <= 0.4
    assert set(np.unique(kept)) == {0, np.float32(1 / 0.75)} == set(np.unique(rows))
    assert abs(kept.mean() - 1) < 0.03  # 5 standard deviations of the mean
    assert (rows == rows[:, :1]).all() and len(np.unique(rows[:, 0])) == 2
    assert (nd.Dropout(x).asnumpy() == -1).all()
    assert len(np.unique(nd.Dropout(x, mode="always").asnumpy())) == 2
    with mx.autograd.train_mode():
        mx.random.seed(3)
        first = nd.Dropout(x).asnumpy()
        assert (nd.Dropout(x).asnumpy() != first).any()
        mx.random.seed(3)
        assert (nd.Dropout(x).asnumpy() == first).all()


def batch_norm(x, gamma, beta, mean, var, axis=1, eps=1e-3):
    wide = [-1 if k == axis % x.ndim else 1 for k in range(x.ndim)]
    gamma, beta, mean, var = (v.reshape(wide) for v in (gamma, beta, mean, var))
    return (x - mean) / np.sqrt(var + eps) * gamma + beta


@pytest.mark.parametrize("shape, axis", [((6, 3), 1), ((4, 3, 2, 2), 1), ((4, 2, 3), -1)])
def test_batch_norm_by_hand(shape, axis):
    x, gamma, beta, mean, var = draw(*shape) * 2 + 1, draw(3, seed=1), draw(3, seed=2), draw(3, seed=3), draw(3, seed=4) ** 2
    arrays = [nd.array(v) for v in (x, gamma, beta, mean, var)]
    out = nd.BatchNorm(*arrays, fix_gamma=False, axis=axis)
    np.testing.assert_allclose(out.asnumpy(), batch_norm(x, gamma, beta, mean, var, axis), rtol=1e-4, atol=1e-5)
    assert (arrays[3].asnumpy() == mean.astype("f4")).all()
    others = tuple(k for k in range(x.ndim) if k != axis % x.ndim)
    with mx.autograd.train_mode():
        out = nd.BatchNorm(*arrays, momentum=0.8, axis=axis)
    np.testing.assert_allclose(out.asnumpy(), batch_norm(x, np.ones(3), beta, x.mean(others), x.var(others), axis), rtol=1e-4,
                               atol=1e-5)
    np.testing.assert_allclose(arrays[3].asnumpy(), 0.8 * mean + 0.2 * x.mean(others), rtol=1e-5)
    np.testing.assert_allclose(arrays[4].asnumpy(), 0.8 * var + 0.2 * x.var(others), rtol=1e-5)


def test_batch_norm_as_a_symbol():
    net = sym.BatchNorm(sym.Variable("data"), fix_gamma=False, momentum=0.5, name="bn")
    assert net.list_arguments() == ["data", "bn_gamma", "bn_beta"] and net.list_outputs() == ["bn_output"]
    assert net.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    ex = net.simple_bind(mx.cpu(), data=(8, 3))
    x = draw(8, 3) + 2
    ex.arg_dict["data"][:], ex.arg_dict["bn_gamma"][:], ex.aux_dict["bn_moving_var"][:] = x, 1, 1
    before = ex.forward(is_train=False)[0].asnumpy()
    np.testing.assert_allclose(before, x / np.sqrt(1.001), rtol=1e-5)
    out = ex.forward(is_train=True)[0].asnumpy()
    np.testing.assert_allclose(out, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ex.aux_dict["bn_moving_mean"].asnumpy(), x.mean(0) / 2, rtol=1e-5)
    ex.backward(nd.ones((8, 3)))
    np.testing.assert_allclose(ex.grad_dict["bn_beta"].asnumpy(), 8)
    assert abs(ex.grad_dict["data"].asnumpy()).max() < 1e-5  # a shift of all samples changes nothing
    three = sym.BatchNorm(sym.Variable("data"), output_mean_var=True, name="bn")
    assert three.list_outputs() == ["bn_output", "bn_mean", "bn_var"]
    assert three.infer_shape(data=(8, 3))[1] == [(8, 3), (3,), (3,)]


def test_other_norms_by_hand():
    x, gamma, beta = draw(2, 4, 3) * 3, draw(4, seed=1), draw(4, seed=2)
    arrays = [nd.array(v) for v in (x, gamma, beta)]
    wide = (1, 4, 1)
    found, mean, std = nd.LayerNorm(*arrays, axis=1, output_mean_var=True)
    np.testing.assert_allclose(found.asnumpy(), (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
                               * gamma.reshape(wide) + beta.reshape(wide), rtol=1e-4, atol=1e-5)
    assert mean.shape == std.shape == (2, 1, 3)
    np.testing.assert_allclose(std.asnumpy(), np.sqrt(x.var(1, keepdims=True) + 1e-5), rtol=1e-5)
    np.testing.assert_allclose(nd.InstanceNorm(*arrays).asnumpy(), (x - x.mean(2, keepdims=True)) /
                               np.sqrt(x.var(2, keepdims=True) + 1e-3) * gamma.reshape(wide) + beta.reshape(wide), rtol=1e-4,
                               atol=1e-5)
    groups = x.reshape(2, 2, 6)
    expected = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    expected = (expected * gamma[:2].reshape(1, 2, 1) + beta[:2].reshape(1, 2, 1)).reshape(x.shape)
    found = nd.GroupNorm(arrays[0], arrays[1][:2], arrays[2][:2], num_groups=2).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(nd.L2Normalization(arrays[0], mode="channel").asnumpy(),
                               x / np.sqrt((x * x).sum(1, keepdims=True)), rtol=1e-5)


def test_embedding():
    w = nd.array(draw(4, 3))
    w.attach_grad()
    index = nd.array([[0, 2], [2, 9], [-1, 3]])
    with mx.autograd.record():
        y = nd.Embedding(index, w, input_dim=4, output_dim=3)
    rows = np.array([[0, 2], [2, 3], [0, 3]])  # beyond the ends: the ends
    assert (y.asnumpy() == w.asnumpy()[rows]).all()
    y.backward()
    assert w.grad.asnumpy().tolist() == [[2.0] * 3, [0.0] * 3, [2.0] * 3, [2.0] * 3]
    again = nd.Embedding(index.astype("int32"), w, input_dim=4, output_dim=3)
    assert (again.asnumpy() == y.asnumpy()).all()


# Inference

@pytest.mark.parametrize("op, params, known, arguments, outputs", [
    ("FullyConnected", {"num_hidden": 5}, {"a": (2, 3, 4)}, [(2, 3, 4), (5, 12), (5,)], [(2, 5)]),
    ("FullyConnected", {"num_hidden": 5, "flatten": False}, {"a": (2, 3, 4)}, [(2, 3, 4), (5, 4), (5,)], [(2, 3, 5)]),
    ("FullyConnected", {"num_hidden": 5, "no_bias": True}, {"a": (2, 0), "n_weight": (5, 7)}, [(2, 7), (5, 7)], [(2, 5)]),
    ("LeakyReLU", {"act_type": "prelu"}, {"a": (2, 3)}, [(2, 3), (3,)], [(2, 3)]),
    ("BatchNorm", {}, {"a": (2, 3, 4)}, [(2, 3, 4), (3,), (3,)], [(2, 3, 4)]),
    ("BatchNorm", {"axis": -1}, {"a": (2, 0), "n_gamma": (4,)}, [(2, 4), (4,), (4,)], [(2, 4)]),
    ("LayerNorm", {}, {"a": (2, 0), "n_beta": (4,)}, [(2, 4), (4,), (4,)], [(2, 4)]),
    ("GroupNorm", {"num_groups": 2}, {"a": (2, 4)}, [(2, 4), (2,), (2,)], [(2, 4)]),
    ("Embedding", {"input_dim": 9, "output_dim": 4}, {"a": (2, 3)}, [(2, 3), (9, 4)], [(2, 3, 4)]),
    ("Dropout", {}, {"a": (2, 3)}, [(2, 3)], [(2, 3)])])
def test_shapes_follow(op, params, known, arguments, outputs):
    net = getattr(sym, op)(sym.Variable("a"), name="n", **params)
    found = net.infer_shape(**known)
    assert found[0] == arguments and found[1] == outputs


def test_types_follow():
    net = sym.FullyConnected(sym.Variable("a"), num_hidden=2, name="n")
    assert net.infer_type(a="float64")[0] == [np.float64] * 3 == net.infer_type(n_bias="float64")[0]
    net = sym.BatchNorm(sym.Variable("a"), name="n")
    assert net.infer_type(a="float16") == ([np.float16, np.float32, np.float32], [np.float16], [np.float32] * 2)
    assert net.infer_type(n_gamma="float64")[0] == [np.float64] * 3
    with pytest.raises(mx.MXNetError, match="Error in operator n: gamma: expected float32, got float16"):
        net.infer_type(a="float16", n_gamma="float16")
    net = sym.Embedding(sym.Variable("a"), input_dim=2, output_dim=2, name="n")
    assert net.infer_type(a="int32")[:2] == ([np.int32, np.float32], [np.float32])


# Halves

@pytest.mark.parametrize("dtype", [np.float16, BF16])
def test_statistics_of_halves_are_float32(dtype):
    x = draw(64, 3) * 300 + 1000  # the squares overflow in float16
    tolerance = 0.02 if dtype is np.float16 else 0.15
    data = nd.array(x, dtype=dtype)
    x = data.asnumpy().astype("f8")
    states = [nd.zeros((3,)), nd.ones((3,))]
    with mx.autograd.train_mode():
        out = nd.BatchNorm(data, nd.ones((3,)), nd.zeros((3,)), *states, momentum=0)
    assert out.dtype == dtype and states[0].dtype == np.float32
    np.testing.assert_allclose(out.asnumpy().astype("f8"), (x - x.mean(0)) / x.std(0), atol=tolerance)
    np.testing.assert_allclose(states[1].asnumpy(), x.var(0), rtol=1e-4)
    one, zero = nd.ones((3,), dtype=dtype), nd.zeros((3,), dtype=dtype)
    found = nd.LayerNorm(data, one, zero).asnumpy().astype("f8")
    np.testing.assert_allclose(found, (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True), atol=tolerance)
    found = nd.L2Normalization(data).asnumpy().astype("f8")
    np.testing.assert_allclose(found, x / np.sqrt((x * x).sum(1, keepdims=True)), atol=tolerance)


# Fusion

def kernels(net, train=True, grad_req="write", **shapes):
    ex = net.simple_bind(mx.cpu(), grad_req=grad_req, **shapes)
    return [sum(map(int, re.findall(r"(\d+) kernel", line))) for line in str(ex.explain(is_train=train)).splitlines()
            if re.search(r"\d equations? became ", line)]


def test_layers_fuse():
    x = sym.Variable("x")
    assert kernels(sym.BatchNorm(x, fix_gamma=False), x=(64, 32)) == [1, 1]
    assert kernels(sym.BatchNorm(x, fix_gamma=False), x=(8, 4, 5, 5)) == [1, 1]
    assert kernels(sym.BatchNorm(x, fix_gamma=False), train=False, x=(8, 4, 5, 5)) == [1]
    assert kernels(sym.Activation(sym.FullyConnected(x, num_hidden=16), act_type="tanh"), train=False, x=(64, 32)) == [1]
    assert kernels(sym.LayerNorm(x), train=False, x=(64, 32)) == [1]
    assert kernels(sym.Dropout(x), x=(64, 32)) == [1, 1]
    assert kernels(sym.Embedding(x, input_dim=50, output_dim=8), train=False, x=(64,)) == [1]


# Bad input

@pytest.mark.parametrize("call, message", [
    (lambda x: nd.FullyConnected(x, nd.ones((5, 4)), num_hidden=5), "FullyConnected: expects 3 inputs, but got 2"),
    (lambda x: nd.FullyConnected(x, nd.ones((5, 3)), nd.ones((5,)), num_hidden=5),
     r"weight: Shape inconsistent, Provided = \[5,3\], inferred shape=\[5,4\]"),
    (lambda x: nd.FullyConnected(x, nd.ones((5, 4)), nd.ones((1,)), num_hidden=5), r"bias: Shape inconsistent"),
    (lambda x: nd.FullyConnected(x, nd.ones((5, 4)), nd.ones((5,))), "num_hidden"),
    (lambda x: nd.Activation(x, act_type="rely"), "'relu', 'sigmoid'"),
    (lambda x: nd.LeakyReLU(x, act_type="prelu"), "expects 2 inputs, but got 1"),
    (lambda x: nd.Dropout(x, p=1.5), "exceeds the bounds"),
    (lambda x: nd.BatchNorm(x, *[nd.ones((1,))] * 4), r"gamma: Shape inconsistent, Provided = \[1\], inferred shape=\[4\]"),
    (lambda x: nd.BatchNorm(x, *[nd.ones((4,))] * 4, axis=2), "axis 2 is out of bounds for data with 2 axes"),
    (lambda x: nd.BatchNorm(x, *[nd.ones((4,), dtype="float64")] * 4), "gamma: expected float32, got float64"),
    (lambda x: nd.LayerNorm(x, nd.ones((1,)), nd.ones((4,))), "gamma: Shape inconsistent"),
    (lambda x: nd.GroupNorm(x, nd.ones((3,)), nd.ones((3,)), num_groups=3), "axis 1 that divides into 3 groups"),
    (lambda x: nd.Embedding(x, nd.ones((3, 2)), input_dim=4, output_dim=2), "weight: Shape inconsistent")])
def test_bad_input(call, message):
    with pytest.raises(mx.MXNetError, match=message):
        call(nd.ones((2, 4)))


def test_empty_batches():
    x = nd.zeros((0, 4))
    assert nd.FullyConnected(x, nd.ones((5, 4)), nd.ones((5,)), num_hidden=5).shape == (0, 5)
    assert nd.LayerNorm(x, nd.ones((4,)), nd.ones((4,))).shape == (0, 4)
    assert nd.Activation(x, act_type="tanh").shape == nd.Dropout(x, mode="always").shape == (0, 4)
    assert nd.BatchNorm(x, *[nd.ones((4,))] * 4).shape == (0, 4)
