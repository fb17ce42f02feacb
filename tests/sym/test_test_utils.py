"""test_utils: its checks pass what is right and find what is planted."""
import numpy as np
import pytest

import jitnet as mx
from jitnet import test_utils as tu
from jitnet.operators import Operator
from jitnet.operators.gradients import with_gradient
from jitnet.operators.infer import elementwise
from jitnet.operators.params import Schema
from jitnet.sym.make import apply


def wrong(data):
    return with_gradient(lambda x: x * x, lambda arrays, out, ct: (ct * arrays[0] * arrays[0].dtype.type(2.02),))(data)


WRONG = Operator("_wrong_square", wrong, ("data",), Schema("_wrong_square", {}), shape_rule=elementwise)
POINT = np.array([[0.5, -1.0], [2.0, 0.25]])


def test_numeric_gradient_finds_a_planted_error():
    x = mx.sym.Variable("x")
    for dtype in (np.float32, np.float64):
        tu.check_numeric_gradient(x * x, [POINT], dtype=dtype)
        with pytest.raises(AssertionError, match="NUMERICAL_x and BACKWARD_x differ beyond"):
            tu.check_numeric_gradient(apply(WRONG, [x], {}), [POINT], dtype=dtype)


def test_numeric_gradient_checks_what_is_asked():
    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    net = apply(WRONG, [x], {}) * y
    tu.check_numeric_gradient(net, {"x": POINT, "y": POINT + 3}, grad_nodes=["y"])
    tu.check_numeric_gradient(net, {"x": POINT, "y": POINT + 3}, grad_nodes={"x": "null", "y": "add"})
    with pytest.raises(AssertionError, match="BACKWARD_x"):
        tu.check_numeric_gradient(net, {"x": POINT, "y": POINT + 3}, grad_nodes={"x": "add"})
    with pytest.raises(ValueError, match="the keys of location are x; the symbol's are x, y"):
        tu.check_numeric_gradient(net, {"x": POINT})


def test_numeric_gradient_starts_every_forward_from_the_same_states():
    net = mx.sym.BatchNorm(mx.sym.Variable("data"), fix_gamma=False, name="bn")
    rng = np.random.default_rng(0)
    location = {"data": rng.standard_normal((4, 3)), "bn_gamma": rng.random(3), "bn_beta": rng.random(3)}
    states = {"bn_moving_mean": np.zeros(3), "bn_moving_var": np.ones(3)}
    tu.check_numeric_gradient(net, location, states, dtype=np.float64, rtol=1e-4, atol=1e-6)
    tu.check_numeric_gradient(net, location, states, use_forward_train=True, rtol=2e-2, atol=2e-2)


def test_symbolic_forward():
    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    a, b = np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]])
    outputs = tu.check_symbolic_forward(mx.sym.dot(x, y), [a, b], [a @ b])
    assert outputs[0].asnumpy().tolist() == [[19, 22], [43, 50]]
    net = mx.sym.dot(x, y, name="d")
    tu.check_symbolic_forward(net, {"x": a, "y": b}, {"d_output": a @ b}, dtype=np.float64)
    with pytest.raises(AssertionError, match=r"EXPECTED_d_output and FORWARD_d_output differ .* in 1 of 4 elements"):
        tu.check_symbolic_forward(net, [a, b], [[[19, 22], [43, 51]]])


@pytest.mark.parametrize("request_", ["write", "add", "null"])
def test_symbolic_backward(request_):
    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    a, b, head = POINT, POINT + 1, np.array([[1.0, 2.0], [3.0, 4.0]])
    expected = [(head * b).astype(np.float32), (head * a).astype(np.float32)]
    grads = tu.check_symbolic_backward(x * y, [a, b], [head], expected, grad_req=request_)
    assert set(grads) == {"x", "y"}
    if request_ != "null":
        with pytest.raises(AssertionError, match="EXPECTED_y and BACKWARD_y"):
            tu.check_symbolic_backward(x * y, [a, b], [mx.nd.array(head)], [expected[0], expected[1] * 1.01], grad_req=request_)
    loss = mx.sym.make_loss(x * x)
    tu.check_symbolic_backward(loss, {"x": a}, None, {"x": 2 * a})


def test_consistency_over_contexts_and_dtypes():
    net = mx.sym.Concat(mx.sym.Variable("a"), mx.sym.tanh(mx.sym.Variable("b")), name="concat")
    shapes = {"a": (2, 3), "b": (2, 3)}
    runs = [{"ctx": ctx, **shapes, "type_dict": {"a": dtype, "b": dtype}}
            for ctx, dtype in ((mx.cpu(0), np.float32), (mx.cpu(1), np.float64), (mx.cpu(0), np.float16))]
    truth = tu.check_consistency(net, runs)
    assert truth["concat_output"].dtype == np.float64
    tu.check_consistency(net, runs, grad_req="add", scale=0.5)
    other = mx.sym.Concat(mx.sym.Variable("a"), mx.sym.tanh(mx.sym.Variable("b")) * 1.5, name="concat")
    with pytest.raises(AssertionError, match="concat_output of run 1 and concat_output of run 0"):
        tu.check_consistency([net, other], [{"ctx": mx.cpu(), **shapes}] * 2)
    with pytest.raises(ValueError, match="two or more"):
        tu.check_consistency(net, runs[:1])


def test_numeric_grad_of_an_executor():
    x = mx.sym.Variable("x")
    ex = (x * x).bind(mx.cpu(), {"x": mx.nd.zeros((2, 2), dtype="float64")})
    grads = tu.numeric_grad(ex, {"x": POINT}, eps=1e-3, dtype=np.float64)
    np.testing.assert_allclose(grads["x"], 2 * POINT, rtol=1e-9)
    assert ex.arg_dict["x"].asnumpy().tolist() == POINT.tolist()


def test_simple_forward():
    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    assert tu.simple_forward(x + y, x=np.ones(2), y=np.ones(2)).tolist() == [2, 2]
    assert [v.tolist() for v in tu.simple_forward(mx.sym.Group([x * 2, y]), x=np.ones(1), y=np.ones(1))] == [[2], [1]]


def test_comparisons():
    assert tu.same(mx.nd.ones((2,)), np.ones(2)) and not tu.same(np.ones(2), np.ones(3))
    assert tu.almost_equal(np.ones(2), np.ones(2) + 1e-6) and not tu.almost_equal(np.ones(2), np.ones(2) + 1e-4)
    tu.assert_almost_equal(np.float16([1.0]), np.float64([1.005]))  # the tolerance is that of halves
    tu.assert_almost_equal(np.array([1, 2]), [1, 2])
    tu.assert_almost_equal(mx.nd.ones((2,)), np.ones(2, np.float32), rtol={np.dtype(np.float32): 1e-6})
    tu.assert_almost_equal(np.array([np.nan]), np.array([np.nan]), equal_nan=True)
    tu.assert_almost_equal_ignore_nan(np.array([np.nan, 1.0]), np.array([5.0, 1.0]))
    with pytest.raises(AssertionError) as error:
        tu.assert_almost_equal(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.5, 3.0]), rtol=0.1, atol=0, names=("x", "y"))
    assert str(error.value) == ("x and y differ beyond rtol=0.1, atol=0 in 2 of 3 elements of shape (3,):\n"
                                "  (2,): x=4, y=3, 3.33 times the tolerance\n  (1,): x=2, y=2.5, 2 times the tolerance")
    for a, b in ((np.array([np.nan]), np.ones(1)), (np.array([np.nan]), np.array([np.nan])), (np.ones(1), np.array([np.inf]))):
        with pytest.raises(AssertionError, match="1 of 1"):
            tu.assert_almost_equal(a, b)
    with pytest.raises(AssertionError, match="shapes differ"):
        tu.assert_almost_equal(np.ones((2, 1)), np.ones(2), use_broadcast=False)


def test_random_helpers():
    np.random.seed(0)
    assert tu.random_arrays((2, 3)).dtype == np.float32
    assert [a.shape for a in tu.random_arrays((2,), ())] == [(2,), ()]
    assert all(0 <= x < 1 for x in tu.random_uniform_arrays((50,))[0])
    shapes = [tu.rand_shape_nd(4, 3) for _ in range(50)] + [(*tu.rand_shape_2d(3, 2), *tu.rand_shape_2d()) for _ in range(50)]
    assert {n for s in shapes for n in s[:2]} == {1, 2, 3}
    assert 0 in {n for _ in range(50) for n in tu.rand_shape_3d(1, 1, 1, allow_zero_size=True)}
    x = tu.rand_ndarray((2, 3), ctx=mx.cpu(1), dtype="float64")
    assert (x.shape, x.dtype, x.context) == ((2, 3), np.float64, mx.cpu(1))
    with pytest.raises(ValueError, match="dense"):
        tu.rand_ndarray((2,), stype="csr")
    assert tu.random_sample("abcdef", 6) == list("abcdef")
    x = np.arange(24.0).reshape(2, 3, 4)
    assert tu.np_reduce(x, (0, 2), True, np.sum).tolist() == x.sum((0, 2), keepdims=True).tolist()
    assert tu.collapse_sum_like(x, (3, 1)).tolist() == x.sum(0).sum(-1, keepdims=True).tolist()


def test_contexts_and_the_rest(monkeypatch):
    before = tu.default_context()
    tu.set_default_context(mx.cpu(3))
    try:
        assert mx.nd.zeros((1,)).context == mx.cpu(3) == tu.default_context()
    finally:
        tu.set_default_context(before)
    assert tu.list_gpus() == list(range(mx.num_gpus()))
    tu.assert_exception(mx.nd.dot, mx.MXNetError, mx.nd.ones((2, 3)), mx.nd.ones((2, 3)))
    with pytest.raises(AssertionError, match="len raised no IndexError"):
        tu.assert_exception(len, IndexError, [])
    monkeypatch.setenv("JITNET_TEST_A", "1")
    with tu.environment({"JITNET_TEST_A": None, "JITNET_TEST_B": "2"}):
        import os

        assert "JITNET_TEST_A" not in os.environ and os.environ["JITNET_TEST_B"] == "2"
    assert os.environ["JITNET_TEST_A"] == "1" and "JITNET_TEST_B" not in os.environ
    x = mx.nd.zeros((2, 2))
    assert tu.same_array(x, x[0:1]) and not tu.same_array(x, x.copy())
    tries = []

    @tu.retry(3)
    def luck():
        tries.append(1)
        assert len(tries) == 3
    luck()
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    assert tu.same_symbol_structure(mx.sym.tanh(a), mx.sym.tanh(b)) and not tu.same_symbol_structure(mx.sym.tanh(a), a)


def test_speed_is_a_time():
    x = mx.sym.Variable("x")
    for how in ("whole", "forward"):
        assert tu.check_speed(mx.sym.tanh(x), N=2, typ=how, x=(2, 2)) > 0
    assert tu.check_speed(mx.sym.tanh(x), {"x": np.ones((2, 2))}, N=1) > 0
    with pytest.raises(ValueError, match="whole"):
        tu.check_speed(x, typ="backward", x=(1,))


def test_generators_are_verified():
    rng = np.random.default_rng(0)
    buckets, probs = tu.gen_buckets_probs_with_ppf(lambda q: 2 * q - 1, 4)
    assert buckets == [(-1, -0.5), (-0.5, 0), (0, 0.5), (0.5, 1)] and probs == [0.25] * 4

    def right(n):
        return rng.uniform(-1, 1, n)

    def wrong(n):
        return rng.uniform(-1, 1, n) ** 3
    assert len(tu.verify_generator(right, buckets, probs, nsamples=5000, nrepeat=3)) == 3
    with pytest.raises(AssertionError, match=r"Generator test fails: 0 of 5 p-values exceed 0\.05"):
        tu.verify_generator(wrong, buckets, probs, nsamples=5000)
    p, counts, expected = tu.chi_square_check(lambda n: np.arange(n) % 3, [0, 1, 2], [1 / 3] * 3, nsamples=9)
    assert (p, counts.tolist(), expected.tolist()) == (1, [3, 3, 3], [3, 3, 3])
    assert tu.mean_check(right, 0, 3**-0.5, 10000) and not tu.mean_check(right, 0.1, 3**-0.5, 10000)
    assert tu.var_check(rng.standard_normal, 1, 10000) and not tu.var_check(rng.standard_normal, 1.1, 10000)


def test_p_value_is_that_of_scipy():
    from scipy import stats
    samples = np.repeat([0, 1, 2], [30, 40, 20])
    found = tu.chi_square_check(lambda n: samples, [0, 1, 2], [0.3, 0.3, 0.4])[0]
    assert found == pytest.approx(stats.chisquare([30, 40, 20], [27, 27, 36]).pvalue)


def test_optimizers_are_compared():
    np.random.seed(0)
    sgd = mx.optimizer.SGD
    tu.compare_optimizer(sgd(momentum=0.9), mx.optimizer.create("sgd", momentum=0.9), (3, 4), "float32")
    with pytest.raises(AssertionError, match="differ beyond"):
        tu.compare_optimizer(sgd(learning_rate=0.1), sgd(learning_rate=0.2), (3, 4), "float32")


def test_small_arrays():
    assert tu.create_2d_tensor(2, 3).asnumpy().tolist() == [[0, 0, 0], [1, 1, 1]]
    assert tu.create_vector(3).asnumpy().tolist() == [0, 1, 2]
    assert tu.assign_each(np.ones((2, 1)), lambda v: v + 1).tolist() == [[2], [2]]
    assert tu.assign_each2(np.ones(2), np.arange(2.0), lambda v, w: v + w).tolist() == [1, 2]
    assert (tu.get_rtol(), tu.get_atol(), tu.get_etol(0.1)) == (1e-5, 1e-20, 0.1)
