"""Operators' records: names, parameters from values and strings, inference, messages."""
import numpy as np
import pytest

import jitnet as mx
from jitnet import errors
from jitnet.operators import OPERATORS, find, order, run
from jitnet.operators.params import Enum, Int


def test_aliases_lead_to_one_record():
    assert find("_Plus") is find("elemwise_add") is OPERATORS["_plus"]
    assert find("reshape").name == "Reshape" and find("Reshape").hint == "reshape"
    with pytest.raises(errors.OperatorError, match="there is no operator 'brodcast_add'"):
        find("brodcast_add")


@pytest.mark.parametrize(("given", "expected"), [
    ({"shape": "(2, -1)"}, (2, -1)), ({"shape": [2, 3]}, (2, 3)), ({"shape": 6}, (6,)), ({"shape": "6"}, (6,)),
    ({"shape": np.array([3, 2])}, (3, 2))])
def test_shapes_are_read_from_values_and_strings(given, expected):
    assert find("Reshape").schema.parse(given)["shape"] == expected


def test_parameters_are_checked_when_they_are_given():
    schema = find("clip").schema
    with pytest.raises(errors.OperatorError, match="required parameter a_max \\(number\\) is missing"):
        schema.parse({"a_min": 0})
    with pytest.raises(errors.OperatorError) as error:
        schema.parse({"a_min": 0, "amax": 1})
    assert "there is no parameter 'amax'" in str(error.value)
    assert "valid parameters: a_min: number, required" in str(error.value)
    with pytest.raises(ValueError, match="exceeds the bounds"):
        Int(low=0).parse(-1)
    with pytest.raises(ValueError, match="valid values are 'relu', 'tanh'"):
        Enum(choices=("relu", "tanh")).parse("elu")


def test_parameters_are_written_as_mxnet_writes_them():
    schema = find("sum").schema
    assert schema.format({"axis": (0, 1), "keepdims": True}) == {"axis": "(0, 1)", "keepdims": "True"}
    assert schema.parse(schema.format({"axis": (0, 1), "keepdims": True})) == schema.parse({"axis": (0, 1), "keepdims": 1})
    assert find("_plus_scalar").schema.format({"scalar": 2.5}) == {"scalar": "2.5"}


def test_shapes_flow_both_ways():
    add = find("elemwise_add")
    assert add.infer_shape([(2, 0), None], {}, [(0, 3)]) == ([(2, 3), (2, 3)], [(2, 3)])
    assert add.infer_shape([None, None], {}) == ([None, None], [None])
    with pytest.raises(errors.MXNetError, match=r"Error in operator plus7: rhs: Shape inconsistent, Provided = \[3,3\], "
                                                r"inferred shape=\[2,3\]"):
        add.infer_shape([(2, 3), (3, 3)], {}, name="plus7")
    assert find("broadcast_add").infer_shape([(2, 1), (0, 3)], {})[1] == [(2, 3)]
    dot = find("dot")
    assert dot.infer_shape([(2, 3, 4), (4, 5, 6)], dot.schema.parse({}))[1] == [(2, 3, 5, 6)]


def test_dtypes_flow_both_ways():
    add = find("elemwise_add")
    assert add.infer_type([None, None], {}, ["float64"]) == ([np.dtype("f8")] * 2, [np.dtype("f8")])
    with pytest.raises(errors.MXNetError, match="input rhs: expected float32, got int32"):
        add.infer_type(["float32", "int32"], {})


@pytest.mark.parametrize("name", ["_plus_scalar", "_rdiv_scalar", "_power_scalar", "_greater_scalar", "_mod_scalar"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_small_and_large_arrays_agree(name, dtype, rng):
    """The NumPy body and the kernels compute the same, whatever the number, and no new number compiles anything."""
    op = find(name)
    x = rng.integers(1, 6, 20000).astype(dtype)
    for number in (2, 3.5):
        params = op.schema.parse({"scalar": number})
        large = run(op, [x], params)
        small = np.concatenate([run(op, [part], params) for part in np.split(x, 4)])
        assert large.dtype == small.dtype == x.dtype
        np.testing.assert_allclose(large, small, rtol=1e-6)
    assert op.program(params).traces <= 4 * 3


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "u1", "i8"])
@pytest.mark.parametrize("ascending", [True, False])
def test_order_is_stable_whatever_the_dtype(dtype, ascending, rng):
    x = rng.integers(0, 9, (5, 40)).astype(dtype)
    x[0, :4] = 200
    if x.dtype.kind == "f":
        x[1, 3:6], x[2, 7], x[2, 8] = np.nan, -0.0, 0.0
        x[3] -= 5
    expected = np.argsort(x, axis=1, kind="stable")
    if not ascending:
        expected = 39 - np.argsort(x[:, ::-1], axis=1, kind="stable")[:, ::-1]
    np.testing.assert_array_equal(order.order(x, 1, ascending), expected)
    np.testing.assert_array_equal(order.order(x.T.copy(), 0, ascending, 7), expected.T[:7])


def test_eigenvectors_rebuild_the_matrix(rng):
    a = rng.standard_normal((2, 3, 3))
    a = a + np.swapaxes(a, -1, -2)
    u, values = run(find("_linalg_syevd"), [a], {})
    np.testing.assert_allclose(np.swapaxes(u, -1, -2) @ (values[..., None] * u), a, atol=1e-12)


@pytest.mark.parametrize(("name", "given", "ins", "expected"), [
    ("transpose", {"axes": (1, 0, 2)}, [(0, 3, 4)], (3, 0, 4)), ("Flatten", {}, [(0, 3, 4)], (0, 12)),
    ("sum", {"axis": 1}, [(0, 3, 4)], (0, 4)), ("Reshape", {"shape": (0, -1)}, [(0, 3, 4)], (0, 12)),
    ("slice_axis", {"axis": 0, "begin": 0, "end": 5}, [(0, 3)], (0, 3)), ("dot", {}, [(0, 3), (3, 4)], (0, 4)),
    ("expand_dims", {"axis": 0}, [(3, 0)], (1, 3, 0)), ("Concat", {"dim": 1, "num_args": 2}, [(0, 3), (5, 4)], (5, 7)),
    ("SliceChannel", {"num_outputs": 2, "axis": 1}, [(0, 4)], (0, 2)), ("softmax", {}, [(0, 4)], (0, 4)),
    ("take", {"axis": 0}, [(9, 4), (0, 2)], (0, 2, 4)), ("squeeze", {}, [(0, 1, 4)], (0, 4))])
def test_shapes_that_are_known_in_part(name, given, ins, expected):
    op = find(name)
    assert op.infer_shape(ins, op.schema.parse(given))[1][0] == expected


def test_a_missing_size_follows_from_the_others():
    concat = find("Concat")
    assert concat.infer_shape([(2, 3), (2, 0)], {"dim": 1, "num_args": 2}, [(2, 7)]) == ([(2, 3), (2, 4)], [(2, 7)])
    with pytest.raises(errors.MXNetError, match="Error in operator cat: "):
        concat.infer_shape([(2, 3), (3, 3)], {"dim": 1, "num_args": 2}, name="cat")


def test_cutting_at_many_places_compiles_nothing():
    cut, x = find("slice_axis"), np.arange(40000, dtype=np.float32)
    before = len(cut._programs)
    for k in range(0, 40000, 500):
        np.testing.assert_array_equal(run(cut, [x], {"axis": 0, "begin": k, "end": k + 500}), x[k:k + 500])
    assert len(cut._programs) == before


def test_programs_of_an_operator_are_bounded(monkeypatch):
    monkeypatch.setattr("jitnet.operators.registry.MOST_KEPT", 3)
    op = find("expand_dims")
    for axis in range(-6, 6):
        op.program({"axis": axis})
    assert ("program", 5) in op._programs and ("program", -6) not in op._programs


def test_products_of_middling_size_run_as_kernels():
    """NumPy's BLAS would wake threads of its own for them, which wait for one another when the machine is busy."""
    from jitnet.operators import find
    from jitnet.operators.dispatch import COMPILE_FROM

    a, w = np.ones((64, 128), np.float32), np.ones((64, 128), np.float32)
    dense = find("FullyConnected")
    assert dense.growth([a, w], dense.schema.parse({"num_hidden": 64})) >= COMPILE_FROM
    for name, turned in (("dot", True), ("dot", False), ("batch_dot", True)):
        op = find(name)
        x, y = (a, w) if name == "dot" else (a[None], w[None])
        y = y if turned else y.T
        assert op.growth([x, y], {"transpose_a": False, "transpose_b": turned}) == 64 * 64 * 128 // 16
        assert op.growth([x[..., :4, :], y], {"transpose_a": False, "transpose_b": turned}) < COMPILE_FROM


def test_positions_outside_are_errors_of_both_kinds():
    x = mx.nd.arange(12).reshape((3, 4))
    for call in (lambda: mx.nd.take(x, mx.nd.array([7]), mode="raise"), lambda: mx.nd.gather_nd(x, mx.nd.array([[7], [0]]))):
        for kind in (IndexError, errors.MXNetError):
            with pytest.raises(kind, match="out of bounds"):
                call()
    with pytest.raises(errors.MXNetError, match=r"topk: parameter k: 5 of the 4 elements(.|\n)*0 takes all of them"):
        mx.nd.topk(x, k=5)
    assert mx.nd.topk(x, k=0, ret_typ="value").shape == (3, 4)


def test_upper_triangular_factors():
    a = np.array([[4, 1, 0.5], [1, 3, 0.2], [0.5, 0.2, 2]], np.float32)
    upper = mx.nd.linalg.potrf(mx.nd.array(a), lower=False)
    np.testing.assert_allclose(upper.asnumpy(), np.linalg.cholesky(a).T, rtol=1e-6)
    np.testing.assert_allclose(mx.nd.linalg.potri(upper, lower=False).asnumpy(), np.linalg.inv(a), rtol=1e-5)


def test_functions_of_two_numbers_give_a_number():
    assert [mx.nd.add(1, 2), mx.nd.maximum(1, 2.5), mx.nd.lesser(1, 2), mx.nd.modulo(7, 4)] == [3, 2.5, 1, 3]
    assert mx.nd.multi_sum_sq(mx.nd.ones(3), mx.nd.ones((2, 2)) * 2, num_arrays=2).asnumpy().tolist() == [3, 16]


@pytest.mark.parametrize("place, name, says", [
    ("nd", "Convolution", "come later"), ("sym", "RNN", "BucketingModule"), ("", "gluon", "autograd"),
    ("nd.contrib", "foreach", "scan"), ("mod", "SequentialModule", "one Module"), ("io", "ImageRecordIter", "CSVIter"),
    ("model", "FeedForward", "Module"), ("optimizer", "LARS", "sgd")])
def test_names_that_are_not_here_say_what_is(place, name, says):
    holder = mx
    for part in place.split(".") if place else ():
        holder = getattr(holder, part)
    assert not hasattr(holder, name)
    with pytest.raises(AttributeError, match=rf"has no attribute '{name}'\n  .*test_operators.py(.|\n)*{says}"):
        getattr(holder, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'$"):
        holder.nonsense  # noqa: B018


@pytest.mark.parametrize("statement", ["from jitnet import gluon", "import jitnet.gluon", "from jitnet.gluon import nn"])
def test_imports_of_what_is_not_here_say_what_is(statement):
    with pytest.raises(errors.MissingError) as error:
        exec(compile(statement, "train.py", "exec"), {})
    assert isinstance(error.value, ImportError)
    assert str(error.value) == ("cannot import 'gluon' from 'jitnet'\n  train.py:1\n"
                                "  gluon comes later; `mod.Module`, and `autograd` with `optimizer`, are there")
    with pytest.raises(errors.MissingError, match=r"(?s)cannot import 'RNN' from 'jitnet\.sym'.*recurrent layers come later"):
        from jitnet.sym import RNN  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        from jitnet import nonsense  # noqa: F401


def test_integers_come_in_whole_steps():
    cases = ((1.3, 6.6, 1.3), [1, 2, 3, 4, 5]), ((5, 20.5, 4.7), [5, 9, 13, 17]), ((10, 0, -2.5), [10, 8, 6, 4])
    for numbers, expected in cases:
        assert mx.nd.arange(*numbers, dtype="int32").asnumpy().tolist() == expected
        assert mx.sym.arange(*numbers, dtype="int64").eval()[0].asnumpy().tolist() == expected


def test_the_first_size_of_unravel_index_may_be_open():
    assert mx.nd.unravel_index(mx.nd.array([22, 41, 37]), shape=(-1, 6)).asnumpy().tolist() == [[3, 6, 6], [4, 5, 1]]


def test_signs_of_eigenvectors():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 4, 4))
    for matrices in (a + a.transpose(0, 2, 1), np.array([[1.0, 2], [2, 4]])):
        x = mx.nd.array(matrices, dtype="float64")
        x.attach_grad()
        with mx.autograd.record():
            u, values = mx.nd.linalg.syevd(x)
            y = (u * u * u).sum() + values.sum()
        y.backward()
        largest = np.take_along_axis(u.asnumpy(), abs(u.asnumpy()).argmax(-1)[..., None], -1)
        assert (largest > 0).all() and np.isfinite(x.grad.asnumpy()).all()
        rebuilt = u.asnumpy().swapaxes(-1, -2) @ (values.asnumpy()[..., None] * u.asnumpy())
        np.testing.assert_allclose(rebuilt, matrices, atol=1e-9)


def test_positions_outside_are_errors_of_one_kind_wherever_they_are_found():
    def small(x, i):
        return mx.nd.take(x, i, mode="raise").asnumpy()

    def executed(x, i):
        return mx.sym.take(mx.sym.Variable("x"), mx.sym.Variable("i"), mode="raise").eval(x=x, i=i)[0].asnumpy()
    for n in (3, 200):
        for call in (small, executed):
            with pytest.raises(mx.MXNetError, match="out of bounds") as caught:
                call(mx.nd.ones((n, 200)), mx.nd.array([1, 700]))
            assert isinstance(caught.value, IndexError)


def test_gamma_has_no_value_at_its_poles():
    for n in (1, 9000):
        assert np.isnan(mx.nd.gamma(mx.nd.array([-1, -2, -30] * n)).asnumpy()).all()
    np.testing.assert_allclose(mx.nd.gamma(mx.nd.array([-1.5, 4, 0])).asnumpy(), [2.3632717, 6, np.inf], rtol=1e-5)
