"""Executors: MXNet's numbers, arrays that are shared and kept, requests, states, randomness, errors that change nothing."""
import numpy as np
import pytest

import jitnet as mx
from jitnet.errors import DeviceError, MXNetError


def tiny():
    data = mx.sym.Variable("data")
    h = mx.sym.Activation(mx.sym.FullyConnected(data, name="fc1", num_hidden=3), act_type="relu")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(h, name="fc2", num_hidden=2), name="softmax")


def test_the_oracle_network():
    """Every argument is arange(size) / size - .3; the numbers are MXNet 1.9.1's."""
    ex = tiny().simple_bind(mx.cpu(), data=(2, 4))
    assert ex.outputs[0].shape == (2, 2)
    for array in ex.arg_dict.values():
        array[:] = np.arange(array.size).reshape(array.shape) / array.size - 0.3
    ex.arg_dict["softmax_label"][:] = [1, 0]
    out, = ex.forward(is_train=True)
    ex.backward()
    np.testing.assert_allclose(out.asnumpy(), [[0.353010, 0.646990], [0.221692, 0.778308]], atol=1e-6)
    grads = {name: g.asnumpy() for name, g in ex.grad_dict.items()}
    np.testing.assert_allclose(grads["fc2_bias"], [-0.425298, 0.425298], atol=1e-6)
    np.testing.assert_allclose(grads["fc1_bias"], [0, 0.212649, 0.212649], atol=1e-6)
    np.testing.assert_allclose(grads["fc1_weight"], [[0] * 4, *[[0.130782, 0.157363, 0.183945, 0.210526]] * 2], atol=1e-6)
    np.testing.assert_allclose(grads["fc2_weight"], [[0, -0.252489, -0.849333], [0, 0.252489, 0.849333]], atol=1e-6)
    assert (grads["softmax_label"] == 0).all()


def product(request="write", **arrays):
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    given = {"a": mx.nd.array([1.0, 2.0]), "b": mx.nd.array([3.0, 4.0])} | arrays
    grads = {name: mx.nd.zeros((2,)) for name in ("a", "b")}
    return given, grads, (a * b).bind(mx.cpu(), given, grads, request)


def test_arrays_are_shared_and_outputs_keep_their_memory():
    given, grads, ex = product()
    first = ex.forward(is_train=True)[0]
    assert first.asnumpy().tolist() == [3.0, 8.0]
    given["a"][:] = 10
    again = ex.forward()[0]
    assert again is first
    assert first.asnumpy().tolist() == [30.0, 40.0]
    ex.forward(is_train=True, a=np.array([5.0, 6.0], np.float32))
    assert given["a"].asnumpy().tolist() == [5.0, 6.0]
    ex.backward(mx.nd.array([1.0, 10.0]))
    assert grads["a"].asnumpy().tolist() == [3.0, 40.0]
    assert grads["b"].asnumpy().tolist() == [5.0, 60.0]


def test_requests():
    _, grads, ex = product({"a": "add"})
    assert ex.grad_dict["b"] is None
    for _ in range(3):
        ex.forward(is_train=True)
        ex.backward(mx.nd.ones((2,)))
    assert grads["a"].asnumpy().tolist() == [9.0, 12.0]
    _, _, ex = product("null")
    ex.forward(is_train=True)
    ex.backward()
    assert ex.grad_arrays == [None, None]


def test_backward_without_a_forward_in_training_runs_one():
    _, grads, ex = product()
    ex.forward()
    ex.backward([mx.nd.ones((2,))])
    assert grads["a"].asnumpy().tolist() == [3.0, 4.0]


def test_backward_takes_gradients_by_name():
    _, grads, ex = product()
    ex.forward(is_train=True)
    ex.backward({ex._symbol.list_outputs()[0]: mx.nd.ones((2,))})
    assert grads["b"].asnumpy().tolist() == [1.0, 2.0]


def test_batch_norm_moves_its_states_in_training_alone():
    ex = mx.sym.BatchNorm(mx.sym.Variable("x"), name="bn").simple_bind(mx.cpu(), x=(4, 3))
    ex.aux_dict["bn_moving_var"][:] = 1
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f")
    ex.forward(is_train=False, x=x)
    assert (ex.aux_dict["bn_moving_mean"].asnumpy() == 0).all()
    out = ex.forward(is_train=True)[0].asnumpy()
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(ex.aux_dict["bn_moving_mean"].asnumpy(), 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(ex.aux_dict["bn_moving_var"].asnumpy(), 0.9 + 0.1 * x.var(0), rtol=1e-5)


def test_dropout_draws_anew_and_its_gradient_is_that_of_the_draw():
    ex = mx.sym.Dropout(mx.sym.Variable("x"), p=0.5).simple_bind(mx.cpu(), x=(1000,))
    x = np.ones(1000, np.float32)
    mx.random.seed(0)
    first = ex.forward(is_train=True, x=x)[0].asnumpy()
    ex.backward(mx.nd.ones((1000,)))
    np.testing.assert_array_equal(ex.grad_dict["x"].asnumpy(), first)
    assert set(first) == {0.0, 2.0}
    assert 400 < (first == 0).sum() < 600
    assert (ex.forward(is_train=True)[0].asnumpy() != first).any()
    mx.random.seed(0)
    np.testing.assert_array_equal(ex.forward(is_train=True)[0].asnumpy(), first)
    assert (ex.forward()[0].asnumpy() == 1).all()


def test_two_dropouts_of_one_symbol_draw_differently():
    x = mx.sym.Variable("x")
    ex = mx.sym.Group([mx.sym.Dropout(x, p=0.5), mx.sym.Dropout(x, p=0.5)]).simple_bind(mx.cpu(), x=(100,))
    a, b = ex.forward(is_train=True, x=np.ones(100, "f"))
    assert (a.asnumpy() != b.asnumpy()).any()


def test_reshape_shares_parameters():
    ex = tiny().simple_bind(mx.cpu(), data=(4, 5))
    ex.arg_dict["fc1_weight"][:] = 1
    small = ex.reshape(data=(2, 5), softmax_label=(2,))
    assert small.arg_dict["fc1_weight"] is ex.arg_dict["fc1_weight"]
    assert small.outputs[0].shape == (2, 2)
    small.arg_dict["data"][:] = 7
    assert (ex.arg_dict["data"].asnumpy()[:2] == 7).all()
    with pytest.raises(AssertionError, match="partial_shaping=True"):
        ex.reshape(data=(2, 5))
    with pytest.raises(AssertionError, match="allow_up_sizing=True"):
        ex.reshape(data=(8, 5), partial_shaping=True)
    assert ex.reshape(data=(8, 5), partial_shaping=True, allow_up_sizing=True).outputs[0].shape == (8, 2)


def test_executors_of_one_symbol_share_their_programs():
    a, b = (tiny().simple_bind(mx.cpu(), data=(2, 4)) for _ in range(2))
    assert a._programs is b._programs
    a.forward(is_train=True)
    a.backward()
    before = mx.cache.info().compiles
    b.forward(is_train=True)
    b.backward()
    assert mx.cache.info().compiles == before


def test_monitor_sees_inner_outputs():
    ex = tiny().simple_bind(mx.cpu(), data=(2, 4))
    seen = []
    ex.set_monitor_callback(lambda name, array: seen.append((name, array.shape)))
    ex.forward()
    assert seen == [("fc1_output", (2, 3)), (seen[1][0], (2, 3)), ("fc2_output", (2, 2)), ("softmax_output", (2, 2))]


def test_eval_and_looking_inside():
    a = mx.sym.Variable("a")
    assert (a * 2).eval(a=mx.nd.array([1.0, 2.0]))[0].asnumpy().tolist() == [2.0, 4.0]
    ex = tiny().simple_bind(mx.cpu(), data=(2, 4))
    assert "matrix product" in str(ex.explain())
    assert "def kernel" in str(ex.source())


def test_float64_throughout():
    ex = tiny().simple_bind(mx.cpu(), data=(2, 4), type_dict={"data": "float64"})
    assert {np.dtype(a.dtype) for a in ex.arg_dict.values()} == {np.dtype("float64")}
    assert ex.forward()[0].dtype == np.float64


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda s, x: s.bind(mx.cpu(), {"a": x}), ValueError, "key `b` is missing in `args`"),
    (lambda s, x: s.bind(mx.cpu(), [x]), ValueError, "Length of args does not match the number of arguments: 1 for 2"),
    (lambda s, x: s.bind(mx.cpu(), [x, mx.nd.ones((3,))]), MXNetError, r"Shape inconsistent, Provided = \[3\]"),
    (lambda s, x: s.bind(mx.cpu(1), [x, x]), DeviceError, r"a is on cpu\(0\), the executor on cpu\(1\)"),
    (lambda s, x: s.bind(mx.cpu(), [x, x], grad_req="maybe"), ValueError, "grad_req must be in write, add, null"),
    (lambda s, x: s.simple_bind(mx.cpu()), RuntimeError, "cannot decide the shapes of a: None, b: None"),
    (lambda s, x: s.bind(mx.cpu(), [x, x]).forward(zz=x), TypeError, "Unknown argument zz"),
    (lambda s, x: s.bind(mx.cpu(), [x, x]).forward(a=mx.nd.ones((3,))), ValueError,
     r"Shape not match! Argument a, need: \(2,\), received: \(3,\)"),
    (lambda s, x: s.bind(mx.cpu(), [x, x], [x.copy(), x.copy()]).backward(), MXNetError,
     "head_gradient of output .* is required"),
])
def test_errors_leave_arrays_alone(call, error, message):
    x = mx.nd.array([1.0, 2.0])
    with pytest.raises(error, match=message):
        call(mx.sym.Variable("a") * mx.sym.Variable("b"), x)
    assert x.asnumpy().tolist() == [1.0, 2.0]
