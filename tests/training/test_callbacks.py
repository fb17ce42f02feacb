"""Callbacks, checkpoints, the monitor and pictures of symbols."""
import logging
import sys

import numpy as np
import pytest

import jitnet as mx
from jitnet.model import BatchEndParam


def network():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc1")
    net = mx.sym.Activation(mx.sym.BatchNorm(net, name="bn"), act_type="relu", name="relu1")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=2, name="fc2"), name="softmax")


def metric():
    found = mx.metric.create("acc")
    found.update([mx.nd.array([1, 0])], [mx.nd.array([1, 1])])
    return found


def test_speedometer_tells_speed_and_metric(caplog):
    caplog.set_level(logging.INFO)
    for reset, first in ((True, 2), (False, 0)):
        speed, values = mx.callback.Speedometer(10, frequent=2, auto_reset=reset), metric()
        for n in range(1, 5):
            speed(BatchEndParam(0, n, values, {}))
            if n == 2 and reset:
                assert values.num_inst == 0 and values.get_global()[1] == 0.5
                values = metric()
        assert f"Epoch[0] Batch [{first}-4]\tSpeed:" in caplog.messages[-1] and "accuracy=0.5" in caplog.messages[-1]
    speed(BatchEndParam(1, 1, None, {}))
    speed(BatchEndParam(1, 2, None, {}))
    assert "Iter[1] Batch [2]\tSpeed:" in caplog.messages[-1]


def test_other_logs(caplog):
    caplog.set_level(logging.INFO)
    mx.callback.ProgressBar(total=4, length=8)(BatchEndParam(0, 3, None, {}))
    assert caplog.messages[-1] == "[======--] 75%\r"
    values = metric()
    mx.callback.log_train_metric(2, auto_reset=True)(BatchEndParam(1, 4, values, {}))
    assert caplog.messages[-1] == "Iter[1] Batch[4] Train-accuracy=0.500000" and values.num_inst == 0
    mx.callback.LogValidationMetricsCallback()(BatchEndParam(3, 0, metric(), {}))
    assert caplog.messages[-1] == "Epoch[3] Validation-accuracy=0.500000"


def test_checkpoints(tmp_path):
    net, prefix = network(), str(tmp_path / "net")
    args, states = {"fc1_weight": mx.nd.ones((3, 4))}, {"bn_moving_mean": mx.nd.zeros(3)}
    save = mx.callback.do_checkpoint(prefix, period=2)
    save(0, net, args, states)
    assert not list(tmp_path.iterdir())
    save(1, net, args, states)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net-0002.params", "net-symbol.json"]
    again, found_args, found_states = mx.model.load_checkpoint(prefix, 2)
    assert again.tojson() == net.tojson() and found_states["bn_moving_mean"].shape == (3,)
    np.testing.assert_array_equal(found_args["fc1_weight"].asnumpy(), np.ones((3, 4)))
    mx.nd.save(f"{prefix}-0003.params", {"other": mx.nd.ones(1)})
    with pytest.raises(ValueError, match="Invalid param file"):
        mx.model.load_params(prefix, 3)


def test_monitor_sees_outputs_and_weights():
    ex = network().simple_bind(mx.cpu(), data=(2, 4))
    ex.arg_dict["fc1_weight"][:] = 2
    monitor = mx.mon.Monitor(2, pattern=".*(fc1|relu).*", sort=True)
    monitor.install(ex)
    gathered = []
    for _ in range(3):
        monitor.tic()
        ex.forward(is_train=False)
        gathered.append(monitor.toc())
    assert next(step for step, _, _ in gathered[0]) == 1 and gathered[1] == []
    names = [name for _, name, _ in gathered[2]]
    assert names == sorted(names) and {"fc1_weight", "fc1_bias", "fc1_output", "relu1_output"} <= set(names)
    assert {n: v for _, n, v in gathered[0]}["fc1_weight"] == "2.0\t"


SUMMARY = """
________________________________________________________________________________
Layer (type)                       Output Shape    Param # Previous Layer
================================================================================
data(null)                         4               0
________________________________________________________________________________
fc1(FullyConnected)                3               15      data
________________________________________________________________________________
bn(BatchNorm)                      3               6       fc1
________________________________________________________________________________
relu1(Activation)                  3               0       bn
________________________________________________________________________________
fc2(FullyConnected)                2               8       relu1
________________________________________________________________________________
softmax(SoftmaxOutput)             2               0       fc2
================================================================================
Total params: 29
________________________________________________________________________________
"""


def test_summary(capsys):
    mx.viz.print_summary(network(), {"data": (5, 4)}, line_length=80)
    printed = capsys.readouterr().out
    assert "\n".join(line.rstrip() for line in printed.splitlines()) == SUMMARY.strip()
    with pytest.warns(UserWarning, match="Cannot decide shape"), pytest.raises(ValueError, match="incomplete"):
        mx.viz.print_summary(network(), {})


def test_pictures(monkeypatch):
    class Digraph:
        def __init__(self, name, format):
            self.nodes, self.edges = {}, []

        def node(self, name, label, **attrs):
            self.nodes[name] = label

        def edge(self, tail_name, head_name, label, **attrs):
            self.edges.append((tail_name, head_name, label))
    monkeypatch.setitem(sys.modules, "graphviz", type(sys)("graphviz"))
    sys.modules["graphviz"].Digraph = Digraph
    dot = mx.viz.plot_network(network(), shape={"data": (5, 4)})
    assert set(dot.nodes) == {"data", "fc1", "bn", "relu1", "fc2", "softmax", "softmax_label"}
    assert dot.nodes["fc1"] == "FullyConnected\n3" and ("fc1", "data", "4") in dot.edges and ("bn", "fc1", "3") in dot.edges
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(mx.MXNetError, match="the package graphviz is not installed"):
        mx.viz.plot_network(network())


def test_monitors_look_inside_when_it_is_their_turn():
    ex = mx.sym.tanh(mx.sym.Variable("x"), name="t").simple_bind(mx.cpu(), x=(2,))
    monitor, shown = mx.mon.Monitor(3), []
    monitor.install(ex)
    for _ in range(7):
        monitor.tic()
        ex.forward()
        shown.append(ex._monitor is not None)
        monitor.toc()
    assert shown == [True, False, False, True, False, False, True] and ex._monitor is None
