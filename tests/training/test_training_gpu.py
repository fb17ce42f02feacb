"""Training on GPUs, which here are made of host memory: steps, stores and modules stay there and agree with the CPU."""
import numpy as np
import pytest

import jitnet as mx
from jitnet.testing_gpu import fake_gpus

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(16, 8)).astype(np.float32)
Y = (X.sum(1) > 4).astype(np.float32)


@pytest.fixture(autouse=True)
def gpus():
    with fake_gpus(2) as made:
        yield made


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "ftrl"])
def test_steps_of_optimizers(name):
    found = []
    for ctx in (mx.cpu(), mx.gpu(0)):
        update = mx.optimizer.get_updater(mx.optimizer.create(name, learning_rate=0.1, wd=0.1))
        weights = [mx.nd.array([1.0, -2.0], ctx=ctx), mx.nd.ones((2, 3), ctx=ctx)]
        gradients = [mx.nd.array([0.5, 0.1], ctx=ctx), mx.nd.full((2, 3), 0.2, ctx=ctx)]
        for _ in range(3):
            update([0, 1], gradients, weights)
        assert all(w.context == ctx for w in weights)
        found.append([w.asnumpy() for w in weights])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_stores_sum_over_gpus():
    store = mx.kv.create("device")
    store.init("a", mx.nd.ones(2, ctx=mx.gpu(0)))
    store.push("a", [mx.nd.ones(2, ctx=mx.gpu(0)), mx.nd.ones(2, ctx=mx.gpu(1)) * 4])
    out = mx.nd.zeros(2, ctx=mx.gpu(1))
    store.pull("a", out=out)
    assert out.asnumpy().tolist() == [5, 5] and out.context == mx.gpu(1)


@pytest.mark.parametrize("count", [1, 2])
def test_modules_train_as_on_the_cpu(count):
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=6, name="fc1")
    net = mx.sym.FullyConnected(mx.sym.Activation(net, act_type="relu"), num_hidden=2, name="fc2")
    net = mx.sym.SoftmaxOutput(net, name="softmax")
    given, found = None, []
    for contexts in ([mx.cpu()], [mx.gpu(k) for k in range(count)]):
        module = mx.mod.Module(net, context=contexts)
        module.bind([("data", (16, 8))], [("softmax_label", (16,))])
        module.init_params(mx.init.Xavier(), arg_params=given)
        given = {name: value.copy() for name, value in module.get_params()[0].items()}
        module.init_optimizer(optimizer_params={"learning_rate": 0.5, "momentum": 0.9})
        for _ in range(3):
            module.forward_backward(mx.io.DataBatch([mx.nd.array(X)], [mx.nd.array(Y)]))
            module.update()
        metric = mx.metric.create("ce")
        module.update_metric(metric, [mx.nd.array(Y, ctx=contexts[0])])
        assert metric.num_inst == 16 and 0 < metric.get()[1] < 1
        found.append({**{k: v.asnumpy() for k, v in module.get_params()[0].items()}, "out": module.get_outputs()[0].asnumpy()})
        assert all(a.context == contexts[0] for a in module._exec_group.execs[0].arg_arrays)
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-4, atol=1e-5)
