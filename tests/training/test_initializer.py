"""Initial values: patterns of names, attributes, distributions, and what JSON says of initializers."""
import numpy as np
import pytest

import jitnet as mx
from jitnet import init


def filled(initializer, name, shape=(4, 6), attrs=None):
    array = mx.nd.full(shape, 7.0)
    initializer(init.InitDesc(name, attrs), array)
    return array.asnumpy()


def test_names_decide():
    assert np.all(filled(init.One(), "fc_weight") == 1)
    for name, value in (("fc_bias", 0), ("bn_gamma", 1), ("bn_beta", 0), ("x_min", 0), ("x_max", 1)):
        assert np.all(filled(init.Constant(3), name) == value)
    with pytest.raises(ValueError, match="Unknown initialization pattern for foo"):
        filled(init.One(), "foo")
    moving = mx.nd.zeros(3)
    init.Uniform()("bn_moving_var", moving)  # a plain name: states are known by their names
    assert moving.asnumpy().tolist() == [1, 1, 1]


def test_attributes_decide_before_names():
    assert np.all(filled(init.One(), "foo", attrs={"__init__": init.Constant(5.0).dumps()}) == 5)
    assert np.all(filled(init.One(), "fc_weight", attrs={"__init__": '["zero", {}]'}) == 0)
    net = mx.sym.Variable("odd", init=init.Constant(2.0))
    assert np.all(filled(init.One(), "odd", attrs=net.attr_dict()["odd"]) == 2)


def test_distributions():
    mx.random.seed(3)
    x = filled(init.Uniform(0.5), "a_weight", (100, 100))
    assert abs(x).max() <= 0.5 and abs(x.std() - 0.5 / np.sqrt(3)) < 0.005
    x = filled(init.Normal(2.0), "a_weight", (100, 100))
    assert abs(x.std() - 2) < 0.05 and abs(x.mean()) < 0.1
    fan = {"in": 6 * 4, "out": 50 * 4, "avg": (6 + 50) * 2}
    for kind, n in fan.items():
        x = filled(init.Xavier("uniform", kind, 3), "a_weight", (50, 6, 2, 2))
        assert abs(x).max() <= np.sqrt(3 / n) and abs(x.std() * np.sqrt(n) - 1) < 0.07
        x = filled(init.Xavier("gaussian", kind, 2), "a_weight", (50, 6, 2, 2))
        assert abs(x.std() / np.sqrt(2 / n) - 1) < 0.1
    x = filled(init.MSRAPrelu(slope=0.5), "a_weight", (100, 300))
    assert abs(x.std() / np.sqrt(2 / 1.25 / 200) - 1) < 0.02


def test_dtypes_stay():
    for dtype in ("float16", "float64"):
        x = mx.nd.zeros((50, 50), dtype=dtype)
        init.Xavier()(init.InitDesc("a_weight"), x)
        assert x.dtype == np.dtype(dtype) and 0.1 < x.asnumpy().std() * np.sqrt(50) < 2


def test_seeds_repeat():
    mx.random.seed(5)
    first = filled(init.Xavier(), "a_weight")
    mx.random.seed(5)
    assert np.array_equal(first, filled(init.Xavier(), "a_weight"))
    assert not np.array_equal(first, filled(init.Xavier(), "a_weight"))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_orthogonal(kind):
    x = filled(init.Orthogonal(scale=2.0, rand_type=kind), "a_weight", (3, 2, 4)).reshape(3, 8)
    np.testing.assert_allclose(x @ x.T, 4 * np.eye(3), atol=1e-5)


def test_bilinear_and_lstm():
    x = filled(init.Bilinear(), "up_weight", (2, 1, 4, 4))
    line = np.array([0.25, 0.75, 0.75, 0.25], np.float32)
    np.testing.assert_allclose(x[1, 0], np.outer(line, line))
    x = filled(init.LSTMBias(2.0), "foo", (8,), attrs={"__init__": init.LSTMBias(2.0).dumps()})
    assert x.tolist() == [0, 0, 2, 2, 0, 0, 0, 0]


def test_load_and_mixed(tmp_path):
    stored = {"arg:a_weight": mx.nd.ones((2, 2)), "aux:m": mx.nd.zeros((2,))}
    mx.nd.save(str(tmp_path / "p"), stored)
    load = init.Load(str(tmp_path / "p"), default_init=init.Constant(4.0))
    assert np.all(filled(load, "a_weight", (2, 2)) == 1) and np.all(filled(load, "m", (2,)) == 0)
    assert np.all(filled(load, "b_weight") == 4)
    with pytest.raises(ValueError, match="Shape mismatch"):
        filled(load, "a_weight", (3, 2))
    with pytest.raises(ValueError, match="Cannot Initialize b_weight"):
        filled(init.Load(stored), "b_weight")
    mixed = init.Mixed(["fc1.*", ".*"], [init.Constant(1.0), init.Constant(2.0)])
    assert np.all(filled(mixed, "fc1_weight") == 1) and np.all(filled(mixed, "fc2_weight") == 2)
    with pytest.raises(ValueError, match="did not match any pattern"):
        filled(init.Mixed(["fc1.*"], [init.One()]), "b_weight")


def test_json_and_registry():
    for one in (init.Xavier(magnitude=2), init.MSRAPrelu(slope=0.5), init.Constant(np.ones(3)), init.Zero()):
        again = init.create(one.dumps())
        assert again == one and type(again) is type(one)
    assert init.create("xavier", magnitude=2.5).magnitude == 2.5 and init.Xavier().dumps() == (
        '["xavier", {"rnd_type": "uniform", "factor_type": "avg", "magnitude": 3}]')
    assert isinstance(init.create("zeros"), init.Zero)

    @init.register
    class Sevens(init.Initializer):
        def _init_weight(self, name, arr):
            arr[:] = 7
    assert np.all(filled(init.create("sevens"), "a_weight") == 7)
    with pytest.raises(ValueError, match="requires at least 2D"):
        filled(init.Xavier(), "a_weight", (3,))
