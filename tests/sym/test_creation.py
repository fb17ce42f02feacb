"""Symbols that make arrays or draw them, operators of `contrib`, and the text they are saved as."""
import json

import numpy as np
import pytest

import jitnet as mx
from jitnet.errors import MXNetError


def attrs(symbol):
    return json.loads(symbol.tojson())["nodes"][-1]["attrs"]


def value(symbol, **arrays):
    out, = symbol.eval(**{name: mx.nd.array(a) for name, a in arrays.items()})
    return out.asnumpy()


def test_arrays_are_made():
    assert value(mx.sym.zeros((2, 3))).shape == (2, 3)
    assert value(mx.sym.ones(2, dtype="int32")).tolist() == [1, 1]
    assert value(mx.sym.full((2,), 3)).tolist() == [3, 3]
    assert value(mx.sym.eye(2, 3, 1)).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert value(mx.sym.arange(1, 3, 0.5, repeat=2)).tolist() == [1, 1, 1.5, 1.5, 2, 2, 2.5, 2.5]
    assert value(mx.sym.arange(3)).tolist() == [0, 1, 2]
    assert value(mx.sym.linspace(0, 1, 5)).tolist() == [0, 0.25, 0.5, 0.75, 1]
    _, b = mx.sym.split_v2(mx.sym.Variable("x"), (1,), axis=0)
    assert value(b, x=[1, 2, 3]).tolist() == [2, 3]
    with pytest.raises(MXNetError, match="step is 0"):
        mx.sym.arange(0, 3, 0)


def test_parameters_are_saved_as_mxnet_writes_them():
    assert attrs(mx.sym.zeros(3)) == {"dtype": "float32", "shape": "3"}
    assert attrs(mx.sym.arange(3)) == {"dtype": "float32", "infer_range": "False", "repeat": "1", "start": "3", "step": "1.0",
                                       "stop": "None"}
    assert attrs(mx.sym.full((2,), 3)) == {"dtype": "float32", "shape": "(2,)", "value": "3.0"}
    assert attrs(mx.sym.random.uniform(shape=(2,))) == {"high": "1", "low": "0", "shape": "(2,)"}
    assert attrs(mx.sym.split_v2(mx.sym.Variable("a"), (1, 2))) == {"axis": "0", "indices": "[0, 1, 2]", "sections": "0",
                                                                    "squeeze_axis": "False"}


def test_open_sizes_follow_from_where_they_are_used():
    x = mx.sym.Variable("x")
    net = mx.sym.zeros((0, 3)) + x
    assert net.infer_shape(x=(2, 3)) == ([(2, 3)], [(2, 3)], [])
    assert value(net, x=np.ones((2, 3))).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert value(mx.sym.arange(2, step=2, infer_range=True) + x, x=[1, 1, 1]).tolist() == [3, 5, 7]
    with pytest.raises(MXNetError, match="nothing says what shape it has"):
        value(mx.sym.arange(0, infer_range=True))


def test_random_symbols_draw_anew_from_the_seed():
    net = mx.sym.Group([mx.sym.random.normal(shape=(100,)), mx.sym.random.uniform(5, 6, shape=(100,))])
    ex = net.bind(mx.cpu(), {})
    mx.random.seed(1)
    first = [x.asnumpy() for x in ex.forward()]
    second = [x.asnumpy() for x in ex.forward()]
    mx.random.seed(1)
    again = [x.asnumpy() for x in ex.forward()]
    assert all((a == b).all() for a, b in zip(first, again)) and (first[0] != second[0]).any()
    assert 5 <= first[1].min() <= first[1].max() < 6
    assert value(mx.sym.random.randint(0, 5, shape=(3,))).dtype == np.int32
    rows = mx.sym.random.normal(mx.sym.Variable("a"), mx.sym.Variable("b"), shape=(3,))
    assert value(rows, a=[0, 10], b=[1, 1]).shape == (2, 3)
    assert len(mx.sym.random.multinomial(mx.sym.Variable("p"))) == 2
    with pytest.raises(TypeError, match="must be all numbers or all Symbols"):
        mx.sym.random.normal(mx.sym.Variable("a"), 1)


def test_contrib():
    x = mx.nd.array([[1, 2, 3], [4, 5, 6]])
    assert mx.nd.contrib.arange_like(x, repeat=2).asnumpy().tolist() == [[0, 0, 1], [1, 2, 2]]
    assert mx.nd.contrib.arange_like(x, axis=1, start=2, step=0.5).asnumpy().tolist() == [2, 2.5, 3]
    assert mx.nd.contrib.index_array(x, axes=(1,)).asnumpy()[1].tolist() == [[0], [1], [2]]
    copied = mx.nd.contrib.index_copy(mx.nd.zeros((4, 3)), mx.nd.array([1, 3]), x)
    assert copied.asnumpy().tolist() == [[0, 0, 0], [1, 2, 3], [0, 0, 0], [4, 5, 6]]
    assert value(mx.sym.contrib.quadratic(mx.sym.Variable("x"), a=1, b=2, c=3), x=[1, 2]).tolist() == [6, 11]


@pytest.mark.parametrize(("name", "options", "expected"), [
    ("gradientmultiplier", {"scalar": -2}, [-2, -2]), ("round_ste", {}, [1, 1]), ("sign_ste", {}, [1, 1]),
    ("div_sqrt_dim", {}, [0.5 ** 0.5, 0.5 ** 0.5])])
def test_gradients_of_contrib(name, options, expected):
    ex = getattr(mx.sym.contrib, name)(mx.sym.Variable("x"), **options).simple_bind(mx.cpu(), x=(2,))
    ex.forward(is_train=True, x=np.array([0.5, -2.5], np.float32))
    ex.backward(mx.nd.ones((2,)))
    np.testing.assert_allclose(ex.grad_dict["x"].asnumpy(), expected, rtol=1e-6)


def test_json_is_laid_out_as_mxnet_does():
    a = mx.sym.Variable("a")
    with mx.name.NameManager():
        net = mx.sym.Group([mx.sym.sum(a * 2, axis=1, keepdims=True, name="s"), a])
    assert net.tojson() == """{
  "nodes": [
    {
      "op": "null",
      "name": "a",
      "inputs": []
    },
    {
      "op": "_mul_scalar",
      "name": "_mulscalar0",
      "attrs": {"scalar": "2"},
      "inputs": [[0, 0, 0]]
    },
    {
      "op": "sum",
      "name": "s",
      "attrs": {
        "axis": "1",
        "keepdims": "True"
      },
      "inputs": [[1, 0, 0]]
    }
  ],
  "arg_nodes": [0],
  "node_row_ptr": [0, 1, 2, 3],
  "heads": [[2, 0, 0], [0, 0, 0]],
  "attrs": {"mxnet_version": ["int", 10901]}
}""".replace(",\n", ", \n")
    many = mx.sym.add_n(*[mx.sym.Variable(f"v{k}") for k in range(11)], name="n")
    assert '"inputs": [\n        [0, 0, 0], \n        [1, 0, 0], ' in many.tojson()
    assert mx.sym.load_json(many.tojson()).tojson() == many.tojson()
