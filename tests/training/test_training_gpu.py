"""Training on GPUs, which here are made of host memory: steps, stores and modules stay there and agree with the CPU."""
import pickle

import numpy as np
import pytest

import jitnet as mx
from jitnet.runtime.cuda.stream import open_gpu
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


def waits(gpus):
    return gpus.calls["synchronize"] + gpus.calls["wait_for"]


METRICS = ["acc", "ce", "f1", "mcc", "mse", "mae", "rmse", "pearsonr", "loss", "pcc", "nll_loss"]


@pytest.mark.parametrize("name", METRICS)
def test_metrics_wait_where_they_are_asked(gpus, name):
    found = []
    for ctx in (mx.cpu(), mx.gpu(0)):
        metric, rng = mx.metric.create(name), np.random.default_rng(1)
        scores, before = mx.nd.zeros((16, 2), ctx=ctx), waits(gpus)
        for k in range(5):
            scores[:] = mx.nd.softmax(mx.nd.array(rng.standard_normal((16, 2)), ctx=ctx))   # the same memory each time
            labels = Y if name not in ("mse", "mae", "rmse", "pearsonr") else rng.uniform(size=16)
            metric.update([mx.nd.array(labels)], [scores[:, 0] if labels is not Y else scores])
            if k == 2:
                found.append(metric.num_inst)
                before = waits(gpus)
        assert waits(gpus) == before and (ctx == mx.cpu() or gpus.calls["copy"])
        found.append((metric.get()[1], metric.get_global()[1], metric.num_inst))
        metric.update(mx.nd.array(labels), scores[:, 0] if labels is not Y else scores)
        metric.reset()
        assert metric.num_inst == 0 and np.isnan(metric.get()[1])
    np.testing.assert_allclose(found[2:][0], found[:2][0])
    np.testing.assert_allclose(found[2:][1], found[:2][1], rtol=1e-5)


def test_metrics_on_their_way_are_few_and_can_be_dropped(gpus):
    metric, scores = mx.metric.create("acc"), mx.nd.array(np.eye(16, 2), ctx=mx.gpu(0))
    for _ in range(100):
        metric.update([mx.nd.array(Y, ctx=mx.gpu(0))], [scores])
    assert len(metric._on_their_way) <= 32 and pickle.loads(pickle.dumps(metric)).num_inst == 1600
    with pytest.raises(ValueError, match="Shape of labels 1"):
        metric.update([mx.nd.array(Y, ctx=mx.gpu(0))], [scores, scores])
    metric.update([scores], [scores])
    del metric
    gpu = open_gpu(0)
    gpu.wait()
    gpu.pinned.collect()
    assert not gpu.pinned.busy and gpu.pinned.allocated == sum(n * len(free) for n, free in gpu.pinned.free.items())


def test_optimizers_and_training_loops_do_not_wait(gpus):
    x, y = mx.nd.array(X, ctx=mx.gpu(0)), mx.nd.array(Y, ctx=mx.gpu(0))
    for name in ("sgd", "nag", "adam", "adamax", "nadam", "rmsprop", "adagrad", "adadelta", "ftrl", "ftml", "signum", "lamb"):
        update = mx.optimizer.get_updater(mx.optimizer.create(name, learning_rate=0.1))
        w, metric = mx.nd.zeros((2, 8), ctx=mx.gpu(0)), mx.metric.create("acc")
        w.attach_grad()
        before = waits(gpus)
        for _ in range(4):
            with mx.autograd.record():
                scores = mx.nd.dot(x, w, transpose_b=True)
                loss = -mx.nd.pick(mx.nd.log_softmax(scores), y).mean()
            loss.backward()
            update(0, w.grad, w)
            metric.update([y], [scores])
        assert waits(gpus) == before, name
        assert metric.get()[1] >= 0 and waits(gpus) > before


def test_fit_waits_for_what_it_is_asked(gpus):
    """A batch costs no wait; the metric of an epoch and the parameters at its end do."""
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc"), name="softmax")
    module, counts = mx.mod.Module(net, context=mx.gpu(0)), []
    module.fit(mx.io.NDArrayIter(X, Y, 2), num_epoch=2, eval_metric=["acc", "ce"],
               batch_end_callback=lambda param: counts.append((param.epoch, waits(gpus))))
    assert len(counts) == 16 and len(set(counts[:7])) == len(set(counts[8:15])) == 1   # the last batch asks the metric
