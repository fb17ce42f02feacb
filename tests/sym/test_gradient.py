"""Gradients as symbols: their values, names, states and text, again differentiated."""
import numpy as np
import pytest

import jitnet as mx
from jitnet.errors import MXNetError


def network():
    h = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc1"), act_type="tanh")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(h, num_hidden=2, name="fc2"), name="softmax")


def filled(ex):
    for array in ex.arg_dict.values():
        array[:] = np.arange(array.size).reshape(array.shape) / array.size - 0.3
    if "softmax_label" in ex.arg_dict:
        ex.arg_dict["softmax_label"][:] = [1, 0]
    return ex


def test_they_are_those_of_backward():
    ex = filled(network().simple_bind(mx.cpu(), data=(2, 4)))
    ex.forward(is_train=True)
    ex.backward()
    grads = network().gradient(["fc2_weight", "data"], name="g")
    assert grads.list_outputs() == ["g_fc2_weight", "g_data"]
    assert grads.list_arguments() == network().list_arguments()
    assert grads.infer_shape(data=(2, 4))[1] == [(2, 3), (2, 4)]
    for symbol in (grads, mx.sym.load_json(grads.tojson())):
        found = filled(symbol.simple_bind(mx.cpu(), data=(2, 4), grad_req="null")).forward()
        np.testing.assert_allclose(found[0].asnumpy(), ex.grad_dict["fc2_weight"].asnumpy(), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found[1].asnumpy(), ex.grad_dict["data"].asnumpy(), rtol=1e-5, atol=1e-7)


def test_they_can_be_differentiated_again_and_used_in_other_symbols():
    x, w = mx.sym.Variable("x"), mx.sym.Variable("w")
    penalty = mx.sym.sum(mx.sym.square(mx.sym.sum(mx.sym.sin(x * w)).gradient("x")))
    ex = penalty.simple_bind(mx.cpu(), x=(3,), w=(3,))
    a, b = np.float32([0.1, 0.5, 2]), np.float32([1, 2, 3])
    ex.forward(is_train=True, x=a, w=b)
    ex.backward(mx.nd.ones((1,)))
    np.testing.assert_allclose(ex.outputs[0].asnumpy(), [np.sum((b * np.cos(a * b)) ** 2)], rtol=1e-5)
    np.testing.assert_allclose(ex.grad_dict["x"].asnumpy(), -2 * b ** 3 * np.cos(a * b) * np.sin(a * b), rtol=1e-4)
    third = (x ** 3).gradient("x").gradient("x").gradient("x")
    assert third.eval(x=mx.nd.array([5.0]))[0].asnumpy().tolist() == [6.0]


def test_states_and_draws():
    net = mx.sym.BatchNorm(mx.sym.Variable("x"), fix_gamma=False, name="bn")
    grad = net.gradient("x")
    assert grad.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    ex = grad.simple_bind(mx.cpu(), x=(4, 3))
    ex.aux_dict["bn_moving_var"][:] = 3
    ex.arg_dict["bn_gamma"][:] = 1
    np.testing.assert_allclose(ex.forward()[0].asnumpy(), 1 / np.sqrt(3.001), rtol=1e-4)
    ex = mx.sym.Dropout(mx.sym.Variable("x"), p=0.5).gradient("x").simple_bind(mx.cpu(), x=(100,))
    assert set(ex.forward(is_train=True)[0].asnumpy()) == {0.0, 2.0}
    assert set(ex.forward()[0].asnumpy()) == {1.0}


def test_errors_name_the_arguments():
    with pytest.raises(MXNetError, match=r"there is no argument 'z'\n.*\n  the arguments are data, fc1_weight"):
        network().gradient("z")
