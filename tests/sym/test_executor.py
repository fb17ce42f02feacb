"""Executors: MXNet's numbers, arrays that are shared and kept, requests, states, randomness, errors that change nothing."""
import gc
import tracemalloc

import numpy as np
import pytest

import jitnet as mx
from jitnet.errors import DeviceError, MXNetError
from jitnet.testing_gpu import fake_gpus


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
    with pytest.raises(MXNetError, match="partial_shaping=True"):
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


def test_monitor_sees_the_gradient_of_every_input():
    """Of each input apart: x is read three times, and its own gradient is the sum of what the monitor sees."""
    x = mx.sym.Variable("x")
    dropped = mx.sym.Dropout(x, p=0.5, name="d")
    net = mx.sym.elemwise_mul(mx.sym.elemwise_add(dropped, x, name="s"), x, name="p")
    ex = net.simple_bind(mx.cpu(), x=(100,))
    seen = {}
    ex.set_monitor_callback(lambda name, array: seen.update({name: array.asnumpy()}))
    values = np.linspace(1, 2, 100, dtype=np.float32)
    ex.forward(is_train=True, x=values)
    ex.backward(mx.nd.arange(100))
    assert list(seen) == ["d_output", "s_output", "p_output", "p_backward_output0", "p_backward_output1", "s_backward_output0",
                          "s_backward_output1", "d_backward_output"]
    np.testing.assert_allclose(seen["p_backward_output1"], np.arange(100) * seen["s_output"], rtol=1e-6)
    np.testing.assert_allclose(seen["d_backward_output"], seen["s_backward_output0"] * seen["d_output"] / values, rtol=1e-5)
    total = seen["p_backward_output1"] + seen["s_backward_output1"] + seen["d_backward_output"]
    np.testing.assert_allclose(ex.grad_dict["x"].asnumpy(), total, rtol=1e-5)


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


def test_an_output_that_is_a_variable_is_the_bound_array():
    a = mx.sym.Variable("a")
    x, g = mx.nd.array([1.0, 2.0]), mx.nd.zeros((2,))
    ex = mx.sym.Group([a, a * 2, a]).bind(mx.cpu(), [x], [g])
    out = ex.forward(is_train=True)
    assert out[0] is x and out[2] is x and out[1].asnumpy().tolist() == [2.0, 4.0]
    ones = mx.nd.ones((2,))
    ex.backward([ones, ones * 10, ones * 100])
    assert g.asnumpy().tolist() == [121.0, 121.0]
    alone = a.bind(mx.cpu(), [x], [g])
    assert alone.forward(is_train=True)[0] is x
    alone.backward(ones * 3)
    assert g.asnumpy().tolist() == [3.0, 3.0]


def test_an_output_may_stand_twice():
    a = mx.sym.Variable("a")
    double = a * 2
    ex = mx.sym.Group([double, double]).simple_bind(mx.cpu(), a=(2,))
    ex.forward(is_train=True)
    ex.backward([mx.nd.ones((2,)), mx.nd.ones((2,)) * 10])
    assert ex.grad_dict["a"].asnumpy().tolist() == [22.0, 22.0]


def test_heads_that_no_gradient_depends_on_need_none():
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    ex = mx.sym.Group([mx.sym.BlockGrad(a * 2), mx.sym.make_loss(b), mx.sym.argmax(b, axis=0)]).simple_bind(
        mx.cpu(), a=(2,), b=(2,))
    ex.grad_dict["a"][:] = 5
    ex.forward(is_train=True)
    ex.backward()
    assert ex.grad_dict["a"].asnumpy().tolist() == [0.0, 0.0]
    assert ex.grad_dict["b"].asnumpy().tolist() == [1.0, 1.0]


def test_one_array_for_two_arguments_and_one_for_two_gradients():
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    x, g = mx.nd.array([1.0, 2.0]), mx.nd.zeros((2,))
    ex = (a * b).bind(mx.cpu(), [x, x], [g, g], "add")
    assert ex.forward(is_train=True)[0].asnumpy().tolist() == [1.0, 4.0]
    ex.backward(mx.nd.ones((2,)))
    assert g.asnumpy().tolist() == [2.0, 4.0]


def test_integers_and_arrays_without_elements():
    table = mx.sym.Embedding(mx.sym.Variable("i"), mx.sym.Variable("w"), input_dim=3, output_dim=2)
    ex = table.simple_bind(mx.cpu(), i=(2,), type_dict={"i": "int32", "w": "float32"})
    ex.grad_dict["i"][:] = 7
    ex.forward(is_train=True, i=np.array([2, 0], np.int32))
    ex.backward(mx.nd.ones((2, 2)))
    assert ex.grad_dict["i"].asnumpy().tolist() == [0, 0]
    assert ex.grad_dict["w"].asnumpy().tolist() == [[1, 1], [0, 0], [1, 1]]
    empty = mx.nd.zeros((0, 3))
    ex = (mx.sym.Variable("a") * 2).bind(mx.cpu(), [empty], [empty.copy()])
    assert ex.forward(is_train=True)[0].shape == (0, 3)
    ex.backward(empty.copy())


def test_gradients_are_those_of_the_last_forward():
    ex = mx.sym.Dropout(mx.sym.Variable("x"), p=0.5).simple_bind(mx.cpu(), x=(100,))
    ex.forward(x=np.ones(100, "f"))
    ex.backward(mx.nd.ones((100,)))
    assert (ex.grad_dict["x"].asnumpy() == 1).all() and (ex.outputs[0].asnumpy() == 1).all()
    ex = mx.sym.BatchNorm(mx.sym.Variable("x"), fix_gamma=False, name="bn").simple_bind(mx.cpu(), x=(4, 3))
    ex.aux_dict["bn_moving_var"][:] = 3
    ex.arg_dict["bn_gamma"][:] = 1
    ex.forward()
    ex.backward(mx.nd.ones((4, 3)))
    np.testing.assert_allclose(ex.grad_dict["x"].asnumpy(), 1 / np.sqrt(3.001), rtol=1e-4)
    assert (ex.aux_dict["bn_moving_var"].asnumpy() == 3).all()


def test_a_failed_forward_leaves_arrays_as_they_were():
    ex = (mx.sym.linalg.potrf(mx.sym.Variable("a")) + 1).simple_bind(mx.cpu(), a=(2, 2))
    before = ex.forward(a=np.eye(2, dtype="f"))[0].asnumpy().copy()
    with pytest.raises(MXNetError, match="not positive definite"):
        ex.forward(a=-np.eye(2, dtype="f"))
    np.testing.assert_array_equal(ex.arg_dict["a"].asnumpy(), np.eye(2))
    np.testing.assert_array_equal(ex.outputs[0].asnumpy(), before)


def test_the_monitor_sees_the_draw_of_the_forward_itself():
    ex = mx.sym.sum(mx.sym.Dropout(mx.sym.Variable("x"), p=0.5, name="d"), name="s").simple_bind(mx.cpu(), x=(1000,))
    seen = {}
    ex.set_monitor_callback(lambda name, array: seen.update({name: array.asnumpy()}), monitor_all=True)
    out, = ex.forward(is_train=True, x=np.ones(1000, "f"))
    assert list(seen) == ["x", "d_data", "d_output", "s_data", "s_output"]
    np.testing.assert_allclose(out.asnumpy(), seen["d_output"].sum(keepdims=True), rtol=1e-6)


def test_groups_of_contexts():
    with mx.AttrScope(ctx_group="first"):
        a = mx.sym.Variable("a") * 2
    with mx.AttrScope(ctx_group="second"):
        b = a + mx.sym.Variable("b")
    ex = b.simple_bind(mx.cpu(), group2ctx={"first": mx.cpu(1), "second": mx.cpu(2)}, a=(2,), b=(2,))
    assert [x.context for x in (*ex.arg_arrays, *ex.outputs)] == [mx.cpu(1), mx.cpu(2), mx.cpu(2)]
    assert ex.forward(a=np.ones(2, "f"), b=np.ones(2, "f"))[0].asnumpy().tolist() == [3.0, 3.0]


def test_explain_names_the_lines_of_the_nodes():
    h = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3)
    net = mx.sym.SoftmaxOutput(h, name="softmax")
    ex = net.simple_bind(mx.cpu(), data=(2, 4))
    text = str(ex.explain())
    assert "h = mx.sym.FullyConnected(" in text
    assert "net = mx.sym.SoftmaxOutput(" in text


@pytest.fixture
def gpus():
    with fake_gpus(1):
        yield


@pytest.mark.usefixtures("gpus")
def test_on_a_gpu():
    host, ex = tiny().simple_bind(mx.cpu(), data=(2, 4)), tiny().simple_bind(mx.gpu(0), data=(2, 4))
    for name, array in host.arg_dict.items():
        array[:] = np.arange(array.size).reshape(array.shape) / array.size - 0.3
        array.copyto(ex.arg_dict[name])
    for each in (host, ex):
        each.forward(is_train=True)
        each.backward()
    assert ex.outputs[0].context == mx.gpu(0)
    np.testing.assert_allclose(ex.outputs[0].asnumpy(), host.outputs[0].asnumpy(), atol=1e-6)
    for name, grad in host.grad_dict.items():
        np.testing.assert_allclose(ex.grad_dict[name].asnumpy(), grad.asnumpy(), atol=1e-6)
    small = ex.reshape(data=(1, 4), softmax_label=(1,))
    small.arg_dict["data"][:] = 7
    assert (ex.arg_dict["data"].asnumpy()[0] == 7).all() and small.forward()[0].shape == (1, 2)
    with pytest.raises(DeviceError, match=r"x is on cpu\(0\), the executor on gpu\(0\)"):
        mx.sym.Variable("x").bind(mx.gpu(0), [mx.nd.ones((2,))])


def test_memory_stays_flat():
    ex = tiny().simple_bind(mx.cpu(), data=(2, 4))

    def step():
        ex.forward(is_train=True, data=np.ones((2, 4), np.float32))
        ex.backward()

    step()
    gc.collect()
    objects, compiled = len(gc.get_objects()), mx.cache.info().compiles
    tracemalloc.start()
    try:
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            step()
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()
    gc.collect()
    assert len(gc.get_objects()) - objects < 100 and mx.cache.info().compiles == compiled


def test_simple_bind_passes_over_unknown_names():
    x = mx.sym.Variable("x")
    assert list((x * 2).simple_bind(mx.cpu(), x=(2,), softmax_label=(2,)).arg_dict) == ["x"]
    with pytest.raises(RuntimeError, match=r"cannot decide the shapes of x: None; given are X: \(2,\)"):
        (x * 2).simple_bind(mx.cpu(), X=(2,))
