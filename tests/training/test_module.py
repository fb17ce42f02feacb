"""Module: training, scoring, predicting, shapes, parameters, checkpoints; several devices against one."""
import collections
import copy
import gc
import pickle
import tracemalloc

import numpy as np
import pytest

import jitnet as mx

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(70, 8)).astype(np.float32)
Y = (X.sum(1) > 4).astype(np.float32)


def network(batch_norm=False):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=16, name="fc1")
    if batch_norm:
        net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn")
    net = mx.sym.Activation(net, act_type="relu", name="relu1")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=2, name="fc2"), name="softmax")


def batches(size=16, **options):
    return mx.io.NDArrayIter(X, Y, batch_size=size, **options)


def bound(net=None, size=16, **options):
    module = mx.mod.Module(network() if net is None else net, **options)
    module.bind([("data", (size, 8))], [("softmax_label", (size,))])
    mx.random.seed(7)
    module.init_params(mx.init.Xavier())
    return module


def batch(rows=slice(0, 16)):
    return mx.io.DataBatch([mx.nd.array(X[rows])], [mx.nd.array(Y[rows])])


def values(module):
    return {name: a.asnumpy() for part in module.get_params() for name, a in part.items()}


def test_fit_learns_and_is_scored(caplog):
    caplog.set_level("INFO")
    mx.random.seed(1)
    np.random.seed(1)
    ended = []
    module = mx.mod.Module(network())
    module.fit(batches(shuffle=True), batches(), num_epoch=30, optimizer="adam", optimizer_params={"learning_rate": 0.02},
               initializer=mx.init.Xavier(), epoch_end_callback=lambda *a: ended.append(a[0]),
               batch_end_callback=[mx.callback.Speedometer(16, 2)])
    accuracy = dict(module.score(batches(), ["acc", "ce"]))["accuracy"]
    assert accuracy >= 0.95 and ended == list(range(30))
    assert any("Epoch[29] Train-accuracy=" in m for m in caplog.messages)
    assert any("Epoch[29] Validation-accuracy=" in m for m in caplog.messages)
    predicted = module.predict(batches())
    assert predicted.shape == (70, 2)  # without what filled up the last batch
    assert np.mean(predicted.asnumpy().argmax(1) == Y) >= 0.95
    assert [len(out[0]) for out, _, _ in module.iter_predict(batches())] == [16, 16, 16, 16, 6]
    assert len(module.predict(batches(), num_batch=2, merge_batches=False)) == 2
    np.testing.assert_allclose(module.predict(X[:5]).asnumpy(), predicted.asnumpy()[:5], rtol=1e-5)


def test_a_step_is_what_its_formula_says():
    module = bound()
    before = values(module)
    module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 0.5, "wd": 0.1})
    assert module._optimizer.rescale_grad == 1 / 16
    assert module._optimizer.wd_mult == {"fc1_bias": 0.0, "fc2_bias": 0.0}
    module.forward_backward(batch())
    p = module.get_outputs()[0].asnumpy()
    hidden = np.maximum(X[:16] @ before["fc1_weight"].T + before["fc1_bias"], 0)
    error = p - np.eye(2)[Y[:16].astype(int)]
    module.update()
    after = values(module)
    np.testing.assert_allclose(after["fc2_bias"], before["fc2_bias"] - 0.5 * error.mean(0), rtol=1e-5, atol=1e-7)
    gradient = error.T @ hidden / 16 + 0.1 * before["fc2_weight"]
    np.testing.assert_allclose(after["fc2_weight"], before["fc2_weight"] - 0.5 * gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kvstore", ["local", "device"])
@pytest.mark.parametrize("optimizer, load", [("sgd", None), ("adam", [1, 3])])
def test_two_devices_train_as_one(kvstore, optimizer, load):
    one = bound()
    two = bound(context=[mx.cpu(0), mx.cpu(1)], work_load_list=load)
    two.set_params(*one.get_params())
    for module in (one, two):
        module.init_optimizer(kvstore, optimizer, {"learning_rate": 0.1, "wd": 0.01})
    for step in range(5):
        rows = slice(step * 10, step * 10 + 16)
        for module in (one, two):
            module.forward_backward(batch(rows))
            module.update()
        np.testing.assert_allclose(two.get_outputs()[0].asnumpy(), one.get_outputs()[0].asnumpy(), rtol=1e-4, atol=1e-6)
    sizes = [part.shape[0] for part in two.get_outputs(merge_multi_context=False)[0]]
    assert sizes == ([8, 8] if load is None else [4, 12])
    for arrays in two._exec_group.param_arrays:
        np.testing.assert_array_equal(arrays[0].asnumpy(), arrays[1].asnumpy())
        assert arrays[1].context == mx.cpu(1)
    for name, value in values(one).items():
        np.testing.assert_allclose(values(two)[name], value, rtol=1e-4, atol=1e-5)
    metrics = [mx.metric.create("acc") for _ in range(2)]
    for metric, module in zip(metrics, (one, two)):
        module.update_metric(metric, [mx.nd.array(Y[40:56])])
    assert metrics[0].get() == metrics[1].get()
    assert two.output_shapes == one.output_shapes == [("softmax_output", (16, 2))]


def test_states_of_devices_become_their_mean():
    module = bound(network(batch_norm=True), context=[mx.cpu(0), mx.cpu(1)])
    module.init_optimizer(optimizer_params={"learning_rate": 0.1})
    module.forward_backward(batch())
    module.update()
    moving = [ex.aux_dict["bn_moving_mean"].asnumpy() for ex in module._exec_group.execs]
    assert not np.array_equal(*moving)
    np.testing.assert_allclose(values(module)["bn_moving_mean"], (moving[0] + moving[1]) / 2, rtol=1e-6)


def test_more_devices_than_rows():
    with pytest.raises(ValueError, match="Some splits are empty"):
        bound(size=1, context=[mx.cpu(0), mx.cpu(1)])


def test_batches_of_other_sizes():
    module = bound()
    module.init_optimizer(optimizer_params={"learning_rate": 0.1})
    full = {}
    for size in (16, 5, 16, 30, 5):
        module.forward_backward(batch(slice(0, size)))
        assert module.get_outputs()[0].shape == (size, 2) and module.data_shapes[0].shape == (size, 8)
        found = module.get_outputs()[0].asnumpy()
        np.testing.assert_allclose(full.setdefault(size, found), found, rtol=1e-6)  # no update in between
    module.update()
    module.reshape([("data", (3, 8))], [("softmax_label", (3,))])
    assert module.output_shapes == [("softmax_output", (3, 2))]
    before = values(module)
    with pytest.raises(mx.MXNetError, match="fc1_weight would have the shape"):
        module.reshape([("data", (3, 9))], [("softmax_label", (3,))])
    assert module.data_shapes[0].shape == (3, 8) and all(np.array_equal(v, before[k]) for k, v in values(module).items())
    module.forward(mx.io.DataBatch([mx.nd.array(X[:4])]), is_train=False)  # without labels
    assert module.get_outputs()[0].shape == (4, 2)


def test_gradients_of_inputs_and_of_outputs():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, no_bias=True, name="fc")
    for contexts in ([mx.cpu()], [mx.cpu(0), mx.cpu(1)]):
        module = mx.mod.Module(net, label_names=None, context=contexts)
        module.bind([("data", (4, 8))], inputs_need_grad=True)
        module.init_params(mx.init.One())
        module.forward(mx.io.DataBatch([mx.nd.array(X[:4])]), is_train=True)
        module.backward([mx.nd.array([[1, 0], [2, 0], [3, 0], [4, 0]])])
        np.testing.assert_allclose(module.get_input_grads()[0].asnumpy(), np.repeat([[1], [2], [3], [4]], 8, 1))


def test_batches_may_lie_along_another_axis_and_be_numpy_arrays():
    net = mx.sym.SoftmaxOutput(mx.sym.Variable("data"), multi_output=True, name="softmax")
    scores, labels = RNG.normal(size=(4, 3, 5)).astype(np.float32), RNG.integers(0, 3, (4, 5)).astype(np.float32)
    found = []
    for contexts in ([mx.cpu()], [mx.cpu(0), mx.cpu(1)]):
        module = mx.mod.Module(net, context=contexts)
        module.bind([mx.io.DataDesc("data", (4, 3, 5), layout="NCT")], [mx.io.DataDesc("softmax_label", (4, 5), layout="NT")])
        module.init_params()
        module.forward(mx.io.DataBatch([scores], [labels]), is_train=False)
        metric = mx.metric.create("acc")
        module.update_metric(metric, [labels])
        found.append((module.get_outputs()[0].asnumpy(), metric.get()[1]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1] == np.mean(scores.argmax(1) == labels)


def test_checkpoints_continue_training(tmp_path):
    prefix = str(tmp_path / "net")
    module = bound()
    module.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": 0.1})
    module.forward_backward(batch())
    module.update()
    module.save_checkpoint(prefix, 3, save_optimizer_states=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net-0003.params", "net-0003.states", "net-symbol.json"]
    again = mx.mod.Module.load(prefix, 3, load_optimizer_states=True)
    again.bind([("data", (16, 8))], [("softmax_label", (16,))])
    again.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": 0.1})
    again._optimizer._index_update_count.update(module._optimizer._index_update_count)
    for one in (module, again):
        one.forward_backward(batch(slice(16, 32)))
        one.update()
    for name, value in values(module).items():
        np.testing.assert_array_equal(values(again)[name], value)
    module.save_params(str(tmp_path / "p"))
    other = bound()
    other.load_params(str(tmp_path / "p"))
    assert all(np.array_equal(v, values(module)[k]) for k, v in values(other).items())


@pytest.mark.parametrize("context", [mx.cpu(), [mx.cpu(0), mx.cpu(1)]], ids=["one device", "two devices"])
def test_copies_and_pickles_go_on_as_the_module_itself_does(context):
    module = bound(network(batch_norm=True), context=context)
    module.init_optimizer(optimizer_params={"learning_rate": 0.1, "momentum": 0.9})

    def train(module):
        for _ in range(2):
            module.forward_backward(batch())
            module.update()
        return values(module)

    train(module)
    others = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    before, after = values(module), train(module)
    for other in others:
        for found, want in ((values(other), before), (train(other), after)):
            assert found.keys() == want.keys()
            for name, value in want.items():
                np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert any((before[name] != after[name]).any() for name in after)


def test_fixed_parameters_stay():
    module = bound(fixed_param_names=["fc1_weight"])
    before = values(module)
    module.init_optimizer(optimizer_params={"learning_rate": 0.5})
    module.forward_backward(batch())
    module.update()
    after = values(module)
    assert np.array_equal(after["fc1_weight"], before["fc1_weight"])
    assert not np.array_equal(after["fc2_weight"], before["fc2_weight"])


def test_modules_share_parameters_and_optimizer():
    module = bound()
    module.init_optimizer(optimizer_params={"learning_rate": 0.5, "momentum": 0.9})
    small = mx.mod.Module(network())
    small.bind([("data", (4, 8))], [("softmax_label", (4,))], shared_module=module)
    small.forward_backward(batch(slice(0, 4)))
    small.update()
    module.forward(batch(), is_train=False)
    small.forward(batch(slice(0, 4)), is_train=False)
    np.testing.assert_allclose(module.get_outputs()[0].asnumpy()[:4], small.get_outputs()[0].asnumpy(), rtol=1e-5)
    assert small._updater is module._updater


def test_parameters_by_name():
    module = bound()
    given = {"fc1_bias": mx.nd.ones(16)}
    with pytest.raises(RuntimeError, match="fc1_weight is not presented"):
        module.init_params(arg_params=given, force_init=True)
    module.init_params(mx.init.Constant(2.0), arg_params=given, allow_missing=True, force_init=True)
    found = values(module)
    assert np.all(found["fc1_bias"] == 1) and np.all(found["fc2_weight"] == 2) and np.all(found["fc2_bias"] == 0)
    with pytest.raises(ValueError, match='Find name "odd"'):
        module.set_params({**module.get_params()[0], "odd": mx.nd.ones(1)}, {})
    module.set_params({"fc1_bias": mx.nd.zeros(16)}, None, allow_missing=True)
    assert np.all(values(module)["fc1_bias"] == 0) and np.all(values(module)["fc2_weight"] == 2)
    with pytest.raises(ValueError, match="Shape not match! fc1_bias"):
        module.init_params(mx.init.One(), {"fc1_bias": mx.nd.ones(3)}, allow_missing=True, force_init=True)
    assert np.all(values(module)["fc2_weight"] == 2)


def test_what_is_not_ready_says_so():
    module = mx.mod.Module(network())
    with pytest.raises(AssertionError, match=r"call bind\(data_shapes"):
        module.init_params()
    module.bind([("data", (4, 8))], for_training=False)
    with pytest.raises(AssertionError, match=r"call init_params\(\) first"):
        module.forward(batch(slice(0, 4)))
    module.init_params()
    with pytest.raises(AssertionError, match="for_training=True"):
        module.backward()
    with pytest.raises(AssertionError, match=r"call init_optimizer\(\) first"):
        module.update()
    with pytest.raises(ValueError, match=r"input with name 'x' is not found .* Did you mean one of: data, softmax_label"):
        mx.mod.Module(network(), data_names=["x"])
    with pytest.raises(ValueError, match="Data provided by data_shapes don't match"):
        mx.mod.Module(network()).bind([("x", (4, 8))])
    with pytest.raises(ValueError, match="all data must have the same batch size: 4, but softmax_label"):
        mx.mod.Module(network()).bind([("data", (4, 8))], [("softmax_label", (5,))])


def test_later_steps_compile_nothing_and_keep_no_memory():
    module = bound()
    module.init_optimizer(optimizer="adam", optimizer_params={
        "lr_scheduler": mx.lr_scheduler.PolyScheduler(1000, base_lr=0.1), "learning_rate": 0.1})
    metric = mx.metric.create("acc")

    def step():
        module.forward_backward(batch())
        module.update()
        module.update_metric(metric, [mx.nd.array(Y[:16])])
    step()
    compiled = mx.cache.info().compiles
    step()
    tracemalloc.start()
    for _ in range(20):
        step()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(300):
        step()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert mx.cache.info().compiles == compiled and grown < 10_000


def test_monitors_see_training(caplog):
    caplog.set_level("INFO")
    module = mx.mod.Module(network())
    module.fit(batches(), num_epoch=1, monitor=mx.mon.Monitor(2, pattern="fc2.*"))
    lines = [m for m in caplog.messages if m.startswith("Batch:")]
    assert len(lines) == 18
    for name in ("fc2_output", "fc2_weight", "fc2_backward_output1"):
        assert any(name in m for m in lines)


def test_buckets_share_parameters():
    def generate(length):
        data = mx.sym.sum(mx.sym.Variable("data"), axis=1)
        net = mx.sym.FullyConnected(data, num_hidden=2, name="fc")
        return mx.sym.SoftmaxOutput(net, name="softmax"), ["data"], ["softmax_label"]

    def sentence(length):
        data = np.ones((4, length, 3), np.float32) / length
        return mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array([0, 1, 0, 1])], bucket_key=length,
                               provide_data=[("data", data.shape)], provide_label=[("softmax_label", (4,))])
    module = mx.mod.BucketingModule(generate, default_bucket_key=5)
    module.bind([("data", (4, 5, 3))], [("softmax_label", (4,))])
    module.init_params(mx.init.One())
    module.init_optimizer(optimizer_params={"learning_rate": 0.1})
    for length in (5, 3, 7, 3):
        module.prepare(sentence(length))
        module.forward_backward(sentence(length))
        module.update()
    first = module.get_params()[0]["fc_bias"].asnumpy()
    module.forward(sentence(5), is_train=False)
    outputs = module.get_outputs()[0].asnumpy()
    module.forward(sentence(3), is_train=False)
    np.testing.assert_allclose(module.get_outputs()[0].asnumpy(), outputs, rtol=1e-5)
    assert np.array_equal(module.get_params()[0]["fc_bias"].asnumpy(), first) and len(module._buckets) == 3


def test_a_batch_is_any_object_with_data():
    Batch = collections.namedtuple("Batch", ["data"])
    module = mx.mod.Module(mx.sym.Variable("data") * 2, label_names=None)
    module.bind([("data", (1, 10))])
    module.init_params()
    for shape in ((1, 10), (3, 5)):
        module.forward(Batch([mx.nd.ones(shape)]))
        assert module.get_outputs()[0].asnumpy().tolist() == np.full(shape, 2.0).tolist()


def test_missing_parameters_are_told_before_those_that_are_too_many():
    module, wrong = bound(), {"other": mx.nd.ones((1,))}
    with pytest.raises(RuntimeError, match="fc1_bias is not presented"):
        module.set_params(wrong, {})
    with pytest.raises(ValueError, match="other"):
        module.set_params(wrong, {}, allow_missing=True)


def test_learning_rates_of_layers():
    bias = mx.sym.Variable("fc1_bias", lr_mult=1.0)
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), bias=bias, num_hidden=4, name="fc1", lr_mult=0)
    net = mx.sym.FullyConnected(net, num_hidden=2, name="fc2", wd_mult=0.5)
    assert net.attr_dict()["fc1_weight"] == {"num_hidden": "4", "__lr_mult__": "0", "lr_mult": "0"}
    module = mx.mod.Module(net, label_names=None)
    module.bind([("data", (5, 8))])
    module.init_params(mx.init.Uniform(1.0))
    module.init_optimizer(optimizer_params={"learning_rate": 1.0})
    before = values(module)
    module.forward(mx.io.DataBatch([mx.nd.array(X[:5])]), is_train=True)
    module.backward(module.get_outputs())
    module.update()
    after = values(module)
    assert module._optimizer.lr_mult == {"fc1_bias": 1.0, "fc1_weight": 0.0}
    assert module._optimizer.wd_mult == {"fc2_bias": 0.5, "fc2_weight": 0.5, "fc1_bias": 0.0}
    assert [name for name in sorted(after) if (before[name] == after[name]).all()] == ["fc1_weight"]


def test_names_made_up_are_the_same_in_every_bucket():
    def generate(length):
        net = mx.sym.FullyConnected(mx.sym.sum(mx.sym.Variable("data"), axis=1), num_hidden=3)
        net = mx.sym.FullyConnected(mx.sym.tanh(net) + 1, num_hidden=2)
        return mx.sym.SoftmaxOutput(net, name="softmax"), ["data"], ["softmax_label"]
    module = mx.mod.BucketingModule(generate, default_bucket_key=5)
    module.bind([("data", (4, 5, 3))], [("softmax_label", (4,))])
    module.init_params()
    names = ["fullyconnected0_bias", "fullyconnected0_weight", "fullyconnected1_bias", "fullyconnected1_weight"]
    assert sorted(module.get_params()[0]) == names
    module.switch_bucket(3, [("data", (4, 3, 3))], [("softmax_label", (4,))])
    assert sorted(module.get_params()[0]) == names
    for name in names:  # one array in both buckets
        one, two = (m._exec_group.execs[0].arg_dict[name] for m in module._buckets.values())
        assert np.shares_memory(np.asarray(one), np.asarray(two))
