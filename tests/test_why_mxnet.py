"""The snippets of "Why MXNet?" compute what the page says they do."""
import numpy as np
import pytest

why_mxnet = pytest.importorskip("why_mxnet")


def test_imperative():
    d, total = why_mxnet.imperative()
    assert d.tolist() == [3] * 10 and total.tolist() == [9] * 10 and d.dtype == np.float32


def test_symbolic():
    shapes, d = why_mxnet.symbolic()
    assert shapes == [(10,), (10,)] and d.tolist() == [3] * 10


def test_device_placement():
    context, x = why_mxnet.device_placement()
    assert context == "cpu(1)" and x.tolist() == [[2] * 3] * 2


def test_gradients():
    gradient, z = why_mxnet.gradients()
    x = np.array([1.0, 2.0, 3.0])
    scale = 2.0
    while np.linalg.norm(scale * x) < 100:
        scale *= 2
    assert gradient.tolist() == (2 * scale ** 2 * x).tolist() and z == np.sum((scale * x) ** 2)


def test_symbolic_gradients():
    a, b = why_mxnet.symbolic_gradients()
    assert a.tolist() == [2] * 10 and b.tolist() == [1] * 10


def test_layers_name_and_shape_their_weights():
    net = why_mxnet.network()
    assert net.list_arguments() == ["data", "fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias", "fc3_weight", "fc3_bias",
                                    "softmax_label"]
    shapes, outs, _ = net.infer_shape(data=(100, 784))
    assert shapes == [(100, 784), (128, 784), (128,), (64, 128), (64,), (10, 64), (10,), (100,)] and outs == [(100, 10)]


def test_several_devices_train_as_one():
    accuracies, difference = why_mxnet.several_devices()
    assert min(accuracies) >= 0.99 and difference < 1e-4


def test_both_styles_in_one_program():
    assert why_mxnet.mixed_styles() >= 0.99


def test_it_prints(capsys, monkeypatch):
    monkeypatch.setattr(why_mxnet, "several_devices", lambda: ((1.0, 1.0), 0.0))
    monkeypatch.setattr(why_mxnet, "mixed_styles", lambda: 1.0)
    why_mxnet.main()
    assert len(capsys.readouterr().out.splitlines()) == 8
