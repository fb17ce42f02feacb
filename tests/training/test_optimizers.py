"""Steps of optimizers: the numbers of MXNet 1.9.1, per parameter rules, states, and one program for all parameters."""
import base64
import pickle

import numpy as np
import pytest

import jitnet as mx
from jitnet import optimizer
from jitnet.optimizer import fused

# (name, options, a weight after two steps from 1 with gradient 1): what MXNet 1.9.1 computes
TWO_STEPS = [
    ("sgd", {}, 0.8), ("sgd", {"wd": 0.1}, 0.7811), ("sgd", {"momentum": 0.9}, 0.71),
    ("nag", {"momentum": 0.9}, 0.539), ("adam", {}, 0.799999), ("rmsprop", {}, 0.454357), ("adagrad", {}, 0.829289),
    ("adadelta", {}, 0.979741), ("ftrl", {}, 0.408079)]
# three steps with gradients [1, 0.1] from [1, -2], wd 0.1, clip_gradient 0.3, rescale_grad 0.5
THREE_STEPS = {
    "SGD": [0.7775159, -1.9165685], "Adam": [0.6999983, -1.7009013], "AdaGrad": [0.7445505, -2.1663437],
    "RMSProp": [0.2622622, -1.3272501], "AdaDelta": [0.7012439, -1.4852200], "Ftrl": [0.1648141, -0.1072993],
    "Signum": [0.7, -1.7], "Adamax": [0.7, -1.7102761], "Nadam": [0.7427647, -1.7491940], "LAMB": [0.4441875, -2.4042184],
    "FTML": [0.7864797, -1.7913759]}


def run(optim, weight, gradient, steps):
    update, w = mx.optimizer.get_updater(optim), mx.nd.array(weight)
    for _ in range(steps):
        update(0, mx.nd.array(gradient), w)
    return w.asnumpy()


@pytest.mark.parametrize("name, options, expected", TWO_STEPS)
def test_two_steps_are_those_of_mxnet(name, options, expected):
    found = run(mx.optimizer.create(name, learning_rate=0.1, **options), [1.0], [1.0], 2)
    np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("name", THREE_STEPS)
def test_decay_clipping_and_rescaling_are_those_of_mxnet(name):
    optim = mx.optimizer.create(name, learning_rate=0.1, wd=0.1, clip_gradient=0.3, rescale_grad=0.5)
    if name == "SGD":
        optim.momentum = 0.9
    np.testing.assert_allclose(run(optim, [1.0, -2.0], [1.0, 0.1], 3), THREE_STEPS[name], rtol=1e-5)


def test_centered_rmsprop_and_bounds_of_weights():
    # n = 0.05 g^2, mean = 0.05 g: the step is lr g / sqrt(n - mean^2 + epsilon)
    found = run(mx.optimizer.create("rmsprop", learning_rate=0.1, gamma1=0.95, centered=True), [1.0], [2.0], 1)
    np.testing.assert_allclose(found, 1 - 0.1 * 2 / np.sqrt(0.05 * 4 - 0.1 ** 2 + 1e-8), rtol=1e-6)
    assert run(mx.optimizer.create("rmsprop", learning_rate=0.1, clip_weights=0.25), [1.0], [2.0], 1) == 0.25


def test_one_program_steps_all_parameters_and_new_rates_compile_nothing():
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (3,), (5, 3), (5,)]
    start = [rng.normal(size=s).astype(np.float32) for s in shapes]
    gradients = [mx.nd.array(rng.normal(size=s)) for s in shapes]
    together = [mx.nd.array(w) for w in start]
    schedule = mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=0.1)
    step = mx.optimizer.get_updater(mx.optimizer.create("adam", learning_rate=0.1, lr_scheduler=schedule, wd=0.01))
    step(range(4), gradients, together)
    for k, (g, w) in enumerate(zip(gradients, start)):
        alone = mx.nd.array(w)
        mx.optimizer.get_updater(mx.optimizer.create("adam", learning_rate=0.1, wd=0.01))(k, g, alone)
        np.testing.assert_array_equal(alone.asnumpy(), together[k].asnumpy())
    before = fused.program.cache_info().misses
    for rescale in (1.0, 0.5, 0.25):
        step.optimizer.rescale_grad = rescale
        step(range(4), gradients, together)
    assert fused.program.cache_info().misses == before and step.optimizer.learning_rate == 0.0125


def test_weights_and_states_are_written_where_they_lie():
    w, g, mom = mx.nd.ones((3,)), mx.nd.ones((3,)), mx.nd.zeros((3,))
    seen = w[0:2]
    out = mx.nd.sgd_mom_update(w, g, mom, out=w, lr=0.5, momentum=0.9)
    assert out is w
    np.testing.assert_array_equal(seen.asnumpy(), [0.5, 0.5])
    np.testing.assert_array_equal(mom.asnumpy(), [-0.5] * 3)


def test_large_weights_take_the_same_step_as_small_ones():
    rng = np.random.default_rng(1)
    w, g = rng.normal(size=(2, 40_000)).astype(np.float32)
    large, mom = mx.nd.array(w), mx.nd.zeros(w.shape)
    mx.nd.sgd_mom_update(large, mx.nd.array(g), mom, out=large, lr=0.5, momentum=0.9)
    mx.nd.sgd_mom_update(large, mx.nd.array(g), mom, out=large, lr=0.5, momentum=0.9)
    np.testing.assert_allclose(large.asnumpy(), w - 0.5 * g - 0.95 * g, rtol=1e-5, atol=1e-6)


def test_decay_is_0_for_biases_and_by_attributes():
    names = {0: "fc_weight", 1: "fc_bias", 2: "bn_gamma", 3: "bn_beta"}
    optim = mx.optimizer.create("sgd", learning_rate=0.1, wd=0.5, param_idx2name=names)
    assert optim.wd_mult == {"fc_bias": 0.0, "bn_beta": 0.0}
    assert optim._get_wds(range(4)) == [0.5, 0.0, 0.5, 0.0]
    net = mx.sym.Variable("fc_weight", lr_mult=2.0, wd_mult=3.0) * mx.sym.Variable("fc_bias", wd_mult=1.0)
    optim = mx.optimizer.create("sgd", learning_rate=0.1, wd=0.5, param_idx2name=names, sym=net)
    assert optim._get_lrs(range(2)) == [0.2, 0.1]
    assert optim._get_wds(range(3)) == [1.5, 0.5, 0.5]
    optim.set_lr_mult({1: 0.0})
    assert optim._get_lrs(range(2)) == [0.2, 0.0]


def test_float16_weights_keep_a_copy_of_32_bits():
    gradient = mx.nd.full((2,), 2.0 ** -12, dtype="float16")
    for name in ("sgd", "adam"):
        rough, fine = (mx.nd.ones((2,), dtype="float16") for _ in range(2))
        update = mx.optimizer.get_updater(mx.optimizer.create(name, learning_rate=2.0 ** -3 if name == "sgd" else 1e-4,
                                                              multi_precision=True))
        for _ in range(40):
            update(0, gradient, fine)
        copy = update.states[0][1 if name == "sgd" else 0]  # MXNet's SGD and NAG have the copy last, and so have its files
        assert copy.dtype == np.float32 and copy.asnumpy()[0] < 1
        np.testing.assert_array_equal(fine.asnumpy(), copy.asnumpy().astype(np.float16))
        mx.nd.sgd_update(rough, gradient, out=rough, lr=2.0 ** -3)
        assert rough.asnumpy()[0] == 1  # 16 bits alone lose such a step


def test_states_survive_saving():
    optim = mx.optimizer.create("adam", learning_rate=0.1)
    one, gradient = mx.optimizer.get_updater(optim), mx.nd.array([1.0, 2.0])
    w = mx.nd.ones((2,))
    one(0, gradient, w)
    two, v = mx.optimizer.Updater(mx.optimizer.create("sgd")), w.copy()
    two.set_states(one.get_states(dump_optimizer=True))
    assert isinstance(two.optimizer, mx.optimizer.Adam) and two.optimizer.num_update == 1
    one(0, gradient, w)
    two(0, gradient, v)
    np.testing.assert_array_equal(v.asnumpy(), w.asnumpy())
    assert pickle.loads(one.get_states())[0][0].shape == (2,)


def test_users_write_optimizers_of_their_own():
    @mx.optimizer.register
    class Halving(mx.optimizer.Optimizer):
        def create_state(self, index, weight):
            return mx.nd.zeros(weight.shape)

        def update(self, index, weight, grad, state):
            self._update_count(index)
            state[:] += 1
            weight[:] = weight / 2

    update = mx.optimizer.get_updater(mx.optimizer.create("halving"))
    weights = [mx.nd.ones((2,)), mx.nd.ones((3,))]
    update([0, 1], weights, weights)
    update([0, 1], weights, weights)
    assert weights[1].asnumpy().tolist() == [0.25] * 3 and update.states[0].asnumpy().tolist() == [2, 2]
    assert update.optimizer.num_update == 2
    del optimizer.optimizer.REGISTRY["halving"]


def test_gradients_that_do_not_fit_change_nothing():
    update = mx.optimizer.get_updater(mx.optimizer.create("adam", param_idx2name={0: "fc_weight"}))
    w = mx.nd.ones(3)
    for gradient, shown in ((mx.nd.ones(2), r"float32\[2\]"), (mx.nd.ones(3, dtype="float64"), r"float64\[3\]")):
        with pytest.raises(mx.MXNetError, match=rf"Adam: parameter fc_weight is float32\[3\], its gradient {shown}"):
            update(0, gradient, w)
    assert w.asnumpy().tolist() == [1, 1, 1] and update.optimizer.num_update == 0


def test_rates():
    optim = mx.optimizer.create("sgd", learning_rate=0.5)
    optim.set_learning_rate(0.25)
    assert optim.learning_rate == 0.25
    optim = mx.optimizer.create("sgd", lr_scheduler=mx.lr_scheduler.FactorScheduler(2, 0.5, base_lr=1.0), begin_num_update=3)
    assert optim.num_update == 3
    with pytest.raises(UserWarning, match="LRScheduler"):
        optim.set_learning_rate(1)
    with pytest.raises(ValueError, match=r"Cannot find optimizer nothing: known are .*adam"):
        mx.optimizer.create("nothing")
    with pytest.raises(TypeError, match="defines no update"):
        mx.optimizer.Optimizer().update(0, mx.nd.ones(1), mx.nd.ones(1), None)


def test_steps_on_copies_of_32_bits_by_classes_of_users():
    class Halved(mx.optimizer.SGD):
        def update(self, index, weight, grad, state):
            assert weight.dtype == np.float32 and state.dtype == np.float32
            weight -= 0.5 * grad

    optim, weight = Halved(momentum=0.9, multi_precision=True), mx.nd.ones((2,), dtype="float16")
    state = optim.create_state_multi_precision(0, weight)
    optim.update_multi_precision(0, weight, mx.nd.ones((2,), dtype="float16"), state)
    assert weight.asnumpy().tolist() == state[1].asnumpy().tolist() == [0.5, 0.5]


STATES_OF_MXNET = (  # of SGD with momentum 0.9 and multi_precision, after a step: 0 has float16 weights, "b" float32
    b"gASVAQEAAAAAAAB9lChLAIwVbXhuZXQubmRhcnJheS5uZGFycmF5lIwHTkRBcnJheZSTlE6FlFKUfZSMBmhhbmRsZZSMCGJ1aWx0aW5zlIwJYnl0ZWFycmF5"
    b"lJOUQyjJ+pP5AAAAAAEAAAACAAAAAAAAAAEAAAAAAAAAAAAAAM3MzL3NzMy9lIWUUpRzYmgDaARSlH2UaAdoCkMoyfqT+QAAAAABAAAAAgAAAAAAAAABAAAA"
    b"AAAAAAAAAABmZmY/ZmZmP5SFlFKUc2KGlIwBYpRoA2gEUpR9lGgHaApDJMn6k/kAAAAAAQAAAAEAAAAAAAAAAQAAAAAAAAAAAAAAzczMvZSFlFKUc2J1Lg==")


def test_states_of_mxnet_are_read():
    update = mx.optimizer.get_updater(mx.optimizer.create("sgd", momentum=0.9, learning_rate=0.1, multi_precision=True))
    update.set_states(base64.b64decode(STATES_OF_MXNET))
    half, whole = mx.nd.full((2,), 0.9, dtype="float16"), mx.nd.full((1,), 0.9)
    update(0, mx.nd.ones((2,), dtype="float16"), half)
    update("b", mx.nd.ones((1,)), whole)
    np.testing.assert_allclose(np.concatenate([half.asnumpy(), whole.asnumpy()]), 0.71, rtol=1e-3)
    assert [a.dtype for a in update.states[0]] == [np.float32, np.float32]
    with pytest.raises(mx.MXNetError, match=r"the states hold mxnet.optimizer.optimizer.SGD of MXNet"):
        update.set_states(b"cmxnet.optimizer.optimizer\nSGD\n.")
