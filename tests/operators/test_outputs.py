"""Heads of networks: predictions, and the gradients that MXNet defines for them."""
import re

import numpy as np
import pytest

import jitnet as mx
from jitnet.test_utils import check_numeric_gradient, check_symbolic_backward, check_symbolic_forward

nd, sym = mx.nd, mx.sym


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def gradient(f, x, *labels, head=None, dtype="float32"):
    """(f(x, labels), its gradient at x and at the labels) by autograd."""
    arrays = [nd.array(v, dtype=dtype) for v in (x, *labels)]
    for a in arrays:
        a.attach_grad()
    with mx.autograd.record():
        y = f(*arrays)
    y.backward(None if head is None else nd.array(head, dtype=dtype))
    return [y.asnumpy(), *(a.grad.asnumpy() for a in arrays)]


# SoftmaxOutput

@pytest.mark.parametrize("label, alpha, expected", [(2, 0, [0.0900, 0.2447, -0.3348]), (0, 0, [-0.9100, 0.2447, 0.6652]),
                                                    (2, 0.1, [0.04, 0.1947, -0.2348])])
def test_softmax_output_oracle(label, alpha, expected):
    _, grad, label_grad = gradient(lambda x, l: nd.SoftmaxOutput(x, l, smooth_alpha=alpha), [[1, 2, 3]], [label])
    np.testing.assert_allclose(grad[0], expected, atol=1e-4)
    assert label_grad.tolist() == [0]


X, LABEL = draw(4, 5), np.array([1, 0, -1, 4.0])
HOT = np.eye(6)[LABEL.astype(int)][:, :5]  # the row of -1 is empty
P = softmax(X)
COUNTS = (LABEL != -1)[:, None]


@pytest.mark.parametrize("params, expected", [
    ({}, P - HOT), ({"grad_scale": 3.0}, 3 * (P - HOT)), ({"use_ignore": True}, (P - HOT) * COUNTS),
    ({"use_ignore": True, "ignore_label": 4}, (P - HOT) * (LABEL != 4)[:, None]), ({"normalization": "batch"}, (P - HOT) / 4),
    ({"normalization": "valid"}, (P - HOT) / 3), ({"normalization": "valid", "use_ignore": True}, (P - HOT) * COUNTS / 3),
    ({"smooth_alpha": 0.2}, P - HOT * 0.8 - (1 - HOT) * 0.05)])
def test_softmax_output_options(params, expected):
    """The gradient that comes from behind is ignored."""
    net = sym.SoftmaxOutput(sym.Variable("data"), name="softmax", **params)
    location = {"data": X, "softmax_label": LABEL}
    check_symbolic_forward(net, location, [P], rtol=1e-5, atol=1e-6)
    for heads in (None, [np.full((4, 5), 7.0)]):
        check_symbolic_backward(net, location, heads, {"data": expected, "softmax_label": np.zeros(4)}, rtol=1e-5, atol=1e-6)


def test_softmax_output_with_a_head_gradient():
    head = draw(4, 5, seed=3)
    net = sym.SoftmaxOutput(sym.Variable("data"), out_grad=True, name="softmax")
    location = {"data": X, "softmax_label": LABEL}
    check_symbolic_backward(net, location, [head], {"data": (P - HOT) * head}, rtol=1e-5, atol=1e-6, grad_req={"data": "write"})
    with pytest.raises(mx.MXNetError, match="head_gradient"):
        check_symbolic_backward(net, location, None, {"data": P})


def test_softmax_output_of_probabilities():
    labels = softmax(draw(4, 5, seed=4))
    out, grad, _ = gradient(lambda x, l: nd.SoftmaxOutput(x, l, grad_scale=2), X, labels)
    np.testing.assert_allclose(out, P, rtol=1e-5)
    np.testing.assert_allclose(grad, 2 * (P - labels), rtol=1e-4, atol=1e-6)


def test_softmax_output_along_axis_1():
    x, label = draw(2, 3, 4), np.array([[0, 1, 2, 1], [2, 2, -1, 0]])
    p, hot = softmax(x, 1), np.moveaxis(np.eye(4)[label][..., :3], -1, 1)
    for shape in ((2, 4),):
        out, grad, _ = gradient(lambda x, l: nd.SoftmaxOutput(x, l, multi_output=True), x, label.reshape(shape))
        np.testing.assert_allclose(out, p, rtol=1e-5)
        np.testing.assert_allclose(grad, (p - hot) / 4, rtol=1e-4, atol=1e-6)  # MXNet divides by the positions of a sample
    def f(x, label):
        return nd.SoftmaxOutput(x, label, multi_output=True, use_ignore=True, normalization="valid")
    np.testing.assert_allclose(gradient(f, x, label)[1], (p - hot) * (label != -1)[:, None] / 7, rtol=1e-4, atol=1e-6)


def test_softmax_output_of_more_axes():
    x = draw(2, 3, 4)
    out = gradient(lambda x, l: nd.SoftmaxOutput(x, l, preserve_shape=True), x, np.array([[0, 1, 2], [3, 0, 0]]))
    hot = np.eye(4)[np.array([[0, 1, 2], [3, 0, 0]])]
    np.testing.assert_allclose(out[0], softmax(x), rtol=1e-5)
    np.testing.assert_allclose(out[1], softmax(x) - hot, rtol=1e-4, atol=1e-6)
    whole = nd.SoftmaxOutput(nd.array(x), nd.zeros((2, 3))).asnumpy()  # a sample is one row of classes
    np.testing.assert_allclose(whole.sum((1, 2)), 1, rtol=1e-5)
    with pytest.raises(mx.MXNetError, match=r"label: Shape inconsistent, Provided = \[2\], inferred shape=\[2,3\]"):
        nd.SoftmaxOutput(nd.array(x), nd.zeros((2,)))


def test_softmax_output_of_halves_counts_in_float32():
    """100,000 labels: float16 ends at 65,504."""
    x, label = draw(100000, 2), np.zeros(100000)
    _, grad, _ = gradient(lambda x, l: nd.SoftmaxOutput(x, l, normalization="batch", grad_scale=1e5), x, label, dtype="float16")
    np.testing.assert_allclose(grad, softmax(x) - [1, 0], atol=5e-3)


# Regression

OUTPUTS = {"LinearRegressionOutput": (lambda x: x, lambda d: d), "MAERegressionOutput": (lambda x: x, np.sign),
           "LogisticRegressionOutput": (lambda x: 1 / (1 + np.exp(-x)), lambda d: d)}


@pytest.mark.parametrize("op", OUTPUTS)
@pytest.mark.parametrize("shape, labels", [((4, 5), (4, 5)), ((4, 1), (4,)), ((4,), (4,)), ((2, 3, 4), (2, 3, 4))])
def test_regression(op, shape, labels):
    forward, slope = OUTPUTS[op]
    x, label = draw(*shape), draw(*labels, seed=1)
    out = forward(x)
    expected = slope(out - label.reshape(shape)) * 2 / (x.size / shape[0])
    net = getattr(sym, op)(sym.Variable("data"), grad_scale=2.0, name="n")
    location = {"data": x, "n_label": label}
    check_symbolic_forward(net, location, [out], rtol=1e-5, atol=1e-6)
    check_symbolic_backward(net, location, None, {"data": expected, "n_label": np.zeros(labels)}, rtol=1e-5, atol=1e-6)


def test_svm_output():
    for params, expected in (({}, [4, 0, 8]), ({"use_linear": True}, [1, 0, 1]), ({"margin": 3.0}, [8, -2, 12]),
                             ({"regularization_coefficient": 0.5}, [2, 0, 4])):
        out, grad, _ = gradient(lambda x, l, p=params: nd.SVMOutput(x, l, **p), [[1, 2, 3]], [1])
        assert out.tolist() == [[1, 2, 3]]
        assert grad.tolist() == [expected]


# Losses of the user

def test_make_loss():
    for params, expected in (({}, 1), ({"grad_scale": 3.0}, 3), ({"normalization": "batch"}, 1 / 4),
                             ({"normalization": "valid", "valid_thresh": 0.1}, 1 / (X > 0.1).sum())):
        out, grad = gradient(lambda x, p=params: nd.MakeLoss(x, **p), X, head=draw(4, 5))
        np.testing.assert_allclose(out, X, rtol=1e-6)
        np.testing.assert_allclose(grad, np.full((4, 5), expected), rtol=1e-6)
    whole = gradient(lambda x: nd.MakeLoss(x, normalization="batch"), draw(2, 3, 4))[1]
    np.testing.assert_allclose(whole, 1 / 6, rtol=1e-6)  # the batch of MXNet: all axes but the last
    assert (gradient(nd.make_loss, X, head=draw(4, 5))[1] == 1).all()
    x = sym.Variable("x")
    ex = sym.make_loss(x * x).bind(mx.cpu(), {"x": nd.array(X)}, {"x": nd.zeros((4, 5))})
    ex.forward(is_train=True)
    ex.backward()
    np.testing.assert_allclose(ex.grad_dict["x"].asnumpy(), 2 * X, rtol=1e-5)


def test_block_grad():
    assert (gradient(lambda x: nd.BlockGrad(x) * x, X)[1] == X.astype("f4")).all()
    x, y = sym.Variable("x"), sym.Variable("y")
    check_symbolic_backward(sym.BlockGrad(x) * y, [X, X], [np.ones((4, 5))], [np.zeros((4, 5)), X])
    assert sym.stop_gradient(x, name="s").list_outputs() == ["s_output"]


def test_losses_by_calculus():
    x = sym.Variable("x")
    at = np.array([[-2.0, -0.3], [0.1, 1.7]])
    check_numeric_gradient(sym.smooth_l1(x, scalar=1.5), [at], dtype=np.float64, rtol=1e-6, atol=1e-8)
    big = abs(at) >= 1 / 2.25
    check_symbolic_forward(sym.smooth_l1(x, scalar=1.5), [at], [np.where(big, abs(at) - 0.5 / 2.25, 1.125 * at * at)])
    net = sym.softmax_cross_entropy(x, sym.Variable("y"))
    label = np.array([1.0, 0, 2, 4])
    check_symbolic_forward(net, [X, label], [[-np.log(P[range(4), label.astype(int)]).sum()]], rtol=1e-5)
    check_numeric_gradient(net, [X, label], grad_nodes=["x"], dtype=np.float64, rtol=1e-5, atol=1e-7, numeric_eps=1e-4)


# Inference

@pytest.mark.parametrize("op, params, data, label", [
    ("SoftmaxOutput", {}, (4, 5), (4,)), ("SoftmaxOutput", {}, (2, 3, 4), (2, 3)),
    ("SoftmaxOutput", {"multi_output": True}, (2, 3, 4), (2, 4)),
    ("SoftmaxOutput", {"preserve_shape": True}, (2, 3, 4), (2, 3)),
    ("SVMOutput", {}, (4, 5), (4,)), ("LinearRegressionOutput", {}, (4, 5), (4, 5)), ("MAERegressionOutput", {}, (4, 1), (4,))])
def test_labels_follow_from_data(op, params, data, label):
    net = getattr(sym, op)(sym.Variable("data"), name="n", **params)
    assert net.list_arguments() == ["data", "n_label"]
    assert net.infer_shape(data=data)[0] == [data, label]
    assert net.infer_type(data="float64")[0] == [np.float64] * 2
    with pytest.raises(mx.MXNetError, match="Error in operator n: label: Shape inconsistent"):
        net.infer_shape(data=data, n_label=(7,))


@pytest.mark.parametrize("call", [
    lambda x: nd.SoftmaxOutput(x, nd.zeros((3,))), lambda x: nd.SVMOutput(x, nd.zeros((3,))),
    lambda x: nd.LinearRegressionOutput(x, nd.zeros((4, 4))), lambda x: nd.softmax_cross_entropy(x, nd.zeros((1,))),
    lambda x: nd.SoftmaxOutput(x, nd.zeros((4,), dtype="int32"))])
def test_labels_that_do_not_fit(call):
    with pytest.raises(mx.MXNetError, match=r"Shape inconsistent|expected float32, got int32"):
        call(nd.ones((4, 5)))


def test_softmax_output_is_one_kernel_each_way():
    ex = sym.SoftmaxOutput(sym.Variable("x"), name="s").simple_bind(mx.cpu(), grad_req={"x": "write"}, x=(64, 10))
    lines = [line for line in str(ex.explain()).splitlines() if re.search(r"\d equations? became ", line)]
    assert ["became 1 kernel;" in line for line in lines] == [True, True]


def test_empty_batches():
    for f in (nd.SoftmaxOutput, nd.SVMOutput, lambda x, l: nd.SoftmaxOutput(x, l, normalization="batch")):
        assert gradient(f, np.zeros((0, 3)), np.zeros(0))[1].shape == (0, 3)
    assert gradient(nd.LinearRegressionOutput, np.zeros((0, 3)), np.zeros((0, 3)))[1].shape == (0, 3)
