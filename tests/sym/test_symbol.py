"""Symbols: names, attributes, composition, JSON, inference."""
import pickle

import pytest

import jitnet as mx
from jitnet.errors import MXNetError


def test_names_count_per_hint_and_prefixes_apply():
    with mx.name.NameManager():
        a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
        made = [a + b, a + 1, 1 - a, -a, a ** 2, a > b, mx.sym.dot(a, b), mx.sym.dot(a, b),
                mx.sym.Reshape(a, shape=(2, -1))]
        assert [s.name for s in made] == ["_plus0", "_plusscalar0", "_rminusscalar0", "_mulscalar0", "_powerscalar0",
                                          "_greater0",
                                          "dot0", "dot1", "reshape0"]
        with mx.name.Prefix("net_"):
            assert mx.sym.relu(a).list_outputs() == ["net_relu0_output"]
            assert mx.sym.relu(a, name="r").name == "net_r"


def test_arguments_are_in_the_order_of_a_depth_first_walk():
    a, b, c = map(mx.sym.Variable, "abc")
    s = mx.sym.dot(mx.sym.dot(c, a), b) + c
    assert s.list_arguments() == ["c", "a", "b"]
    assert mx.sym.Group([s, a]).list_outputs()[1] == "a"
    assert mx.sym.Group([s, a]).name is None


def test_functions_are_pickled_by_name():
    for f in (mx.nd.relu, mx.nd.maximum, mx.nd.linalg_gemm2, mx.sym.FullyConnected, mx.sym.maximum):
        assert pickle.loads(pickle.dumps(f)) is f


def test_json_and_pickle_keep_everything():
    a = mx.sym.Variable("a", shape=(2, 3), lr_mult=2.0)
    with mx.AttrScope(ctx_group="g"):
        s = mx.sym.sum(mx.sym.exp(a, name="e") * 3, axis=(0, 1), name="s")
    for other in (mx.sym.load_json(s.tojson()), pickle.loads(pickle.dumps(s))):
        assert other.tojson() == s.tojson()
        assert other.attr_dict() == s.attr_dict()
        assert other.attr("ctx_group") == "g"
        assert other.list_outputs() == ["s_output"]


def test_composition_puts_symbols_in_place_of_variables():
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    s = mx.sym.exp(a, name="e") + b
    t = s(a=mx.sym.relu(b, name="r"), name="top")
    assert t.list_arguments() == ["b"]
    assert t.name == "top"
    assert s.list_arguments() == ["a", "b"]
    assert t.get_internals().list_outputs() == ["b", "r_output", "e_output", "top_output"]
    with pytest.raises(MXNetError, match="there is no variable 'zz'"):
        s(zz=b)


def test_shapes_are_inferred_both_ways():
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    s = mx.sym.exp(a + b)
    assert s.infer_shape(b=(2, 3)) == ([(2, 3), (2, 3)], [(2, 3)], [])
    with pytest.warns(UserWarning, match="Cannot decide shape"):
        assert s.infer_shape() == (None, None, None)
    assert s.infer_shape_partial() == ([(), ()], [()], [])
    assert mx.sym.Variable("v", shape=(3, 4)).infer_shape() == ([(3, 4)], [(3, 4)], [])
    with pytest.raises(MXNetError, match=r"Error in operator .*: Shape inconsistent, Provided = \[1,3\]") as caught:
        s.infer_shape(a=(2, 3), b=(1, 3))
    assert "s = mx.sym.exp(a + b)" in str(caught.value)  # the line that made the node


def test_dtypes_are_inferred():
    import numpy as np

    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    assert (a + b).infer_type(b="float64") == ([np.float64, np.float64], [np.float64], [])
    assert (a + b).infer_type() == (None, None, None)


def test_attributes_that_mxnet_writes():
    import json

    text = mx.sym.BatchNorm(mx.sym.Variable("x"), name="bn").tojson()
    assert json.loads(text)["nodes"][-1]["inputs"] == [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 1], [4, 0, 1]]
    slope = mx.sym.LeakyReLU(mx.sym.Variable("x"), act_type="prelu", name="p")
    assert slope.attr_dict()["p_gamma"]["__init__"] == '["Constant", {"value": 0.25}]'
    cut = mx.sym.slice_axis(mx.sym.Variable("x"), axis=0, begin=1, end=None)
    assert cut.list_attr() == {"axis": "0", "begin": "1", "end": "None"}


def test_what_only_arrays_have_says_so():
    x = mx.sym.Variable("x")
    for call in (x.asnumpy, x.wait_to_read, lambda: bool(x)):
        with pytest.raises(mx.sym.NotImplementedForSymbol, match="is not implemented for Symbol and only available in NDArray"):
            call()


def test_files_of_old_versions_are_read():
    import json

    whole = json.loads(mx.sym.BatchNorm(mx.sym.Variable("x"), eps=0.1, name="bn").tojson())
    node = whole["nodes"][-1]
    old = {"op": "BatchNorm", "name": "bn", "param": node["attrs"], "attr": {"mood": "calm"},
           "inputs": [[0, 0], [1, 0], [2, 0]]}
    text = json.dumps({"nodes": [*whole["nodes"][:3], old], "arg_nodes": [0, 1, 2], "heads": [[3, 0]]})
    net = mx.sym.load_json(text)
    assert net.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    assert net.attr("eps") == "0.1" and net.attr("mood") == "calm"
    whole["nodes"][-1]["inputs"] = [[0, 0, 0]]
    with pytest.raises(MXNetError, match="node 'bn' has 1 inputs, BatchNorm takes 5"):
        mx.sym.load_json(json.dumps(whole))


def test_attributes_of_old_versions_are_hidden_ones():
    import json

    rows = [{"op": "null", "name": name, "inputs": []} for name in ("data", "fc_weight", "fc_bias")]
    rows[1]["attr"] = {"ctx_group": "stage1"}
    rows.append({"op": "FullyConnected", "name": "fc", "param": {"num_hidden": "3"}, "attr": {"weight_lr_mult": "2"},
                 "inputs": [[0, 0], [1, 0], [2, 0]]})
    net = mx.sym.load_json(json.dumps({"nodes": rows, "arg_nodes": [0, 1, 2], "heads": [[3, 0]]}))
    weight = net.attr_dict()["fc_weight"]
    assert weight == {"__ctx_group__": "stage1", "ctx_group": "stage1", "__lr_mult__": "2", "lr_mult": "2"}
    assert net.attr_dict()["fc"] == {"num_hidden": "3"}


def test_what_is_no_symbol_is_named():
    x = mx.sym.Variable("x")
    with pytest.raises(TypeError, match="FullyConnected: input data must be a Symbol, got NDArray"):
        mx.sym.FullyConnected(mx.nd.ones((2, 2)), num_hidden=2)
    with pytest.raises(ValueError, match="Set Attr only accepts string values: a is a int"):
        mx.sym.Variable("x", attr={"a": 3})
    assert mx.sym.make_loss(x, name="l").list_outputs() == ["l_loss"]
    assert mx.sym.sort(x, name="s").list_outputs() == ["s_output0"]


def test_shapes_and_dtypes_that_are_given_count_more_than_the_declared_ones():
    c = mx.sym.Variable("a", shape=(2, 3), dtype="float64") + mx.sym.Variable("b")
    assert c.infer_shape() == ([(2, 3)] * 2, [(2, 3)], [])
    assert c.infer_shape(a=(5, 6)) == ([(5, 6)] * 2, [(5, 6)], [])
    assert c.infer_type(a="float32")[1] == [mx.base.mx_real_t]
    assert mx.sym.Variable("w", shape=3).infer_shape()[0] == [(3,)]


def test_the_whole_follows_from_an_equal_part():
    whole, part = mx.sym.Variable("a", shape=(0, 10)), mx.sym.Variable("c", shape=(5,))
    s = mx.sym.SliceChannel(whole, num_outputs=10, axis=1, squeeze_axis=True)[1] + part
    assert dict(zip(s.list_arguments(), s.infer_shape()[0])) == {"a": (5, 10), "c": (5,)}
    whole, part = mx.sym.Variable("a", shape=(0, 15, 0)), mx.sym.Variable("c", shape=(3, 5, 2))
    s = mx.sym.SliceChannel(whole, num_outputs=3)[2] + part
    assert dict(zip(s.list_arguments(), s.infer_shape()[0]))["a"] == (3, 15, 2)


@pytest.mark.parametrize("codes, given, whole, out", [
    ((0, -1), (2, 0, 5), (2, 3, 5), (2, 15)), ((-3, -1), (0, 3, 4), (2, 3, 4), (6, 4)), ((-2,), (2, 0), (2, 3), (2, 3)),
    ((6, 1, -2), (0, 3, 5, 6), (2, 3, 5, 6), (6, 1, 5, 6)), ((-4, 16, -1), (0,), (64,), (16, 4))])
def test_reshape_infers_a_size_of_its_input(codes, given, whole, out):
    s = mx.sym.reshape(mx.sym.Variable("x"), shape=codes) + mx.sym.ones(shape=out)
    assert s.infer_shape(x=given) == ([whole], [out], [])


def test_one_shape_says_those_of_pick_and_stack():
    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    assert mx.sym.pick(x, y, axis=1).infer_shape(x=(4, 3, 2)) == ([(4, 3, 2), (4, 2)], [(4, 2)], [])
    assert mx.sym.pick(x, y, keepdims=True).infer_shape(x=(4, 3)) == ([(4, 3), (4,)], [(4, 1)], [])
    assert mx.sym.pick(x, y).infer_shape_partial(x=(0, 3)) == ([(0, 3), (0,)], [(0,)], [])
    assert mx.sym.stack(x, y, axis=-1).infer_shape(y=(4, 3)) == ([(4, 3), (4, 3)], [(4, 3, 2)], [])
