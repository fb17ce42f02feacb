"""NDArray: dtypes, views, writes, indexing, conversions, contexts, as MXNet 1.x has them."""
import numpy as np
import pytest

import jitnet as mx
from jitnet import nd


def same(x, expected, dtype=np.float32):
    assert x.dtype == dtype
    np.testing.assert_allclose(x.asnumpy(), expected, rtol=1e-6)
    assert x.shape == np.shape(expected)


def test_dtypes():
    assert nd.array(np.ones(2)).dtype is np.float32 and nd.array(np.ones(2, int)).dtype is np.float32
    assert nd.array(nd.ones(2, dtype="int32")).dtype is np.int32 and nd.array([1], dtype="float64").dtype is np.float64
    assert nd.zeros(3).shape == (3,) and nd.array(3).shape == () and nd.zeros((0, 2)).shape == (0, 2)
    ints = nd.array([1, 2, 3, -5], dtype="int32")
    same(ints * 1.5, [1, 2, 3, -5], np.int32)
    same(ints / 2, [0, 1, 1, -2], np.int32)
    same(ints > 1, [0, 1, 1, 0], np.int32)
    same(ints.mean(), [0], np.int32)
    with pytest.raises(mx.errors.MXNetError, match="expected float32, got int32"):
        nd.ones(4) + ints


def test_views_and_copies():
    def written(get):
        x = nd.array(np.arange(12).reshape(3, 4))
        get(x)[:] = -7
        return bool((x.asnumpy() == -7).any())

    views = [lambda x: x[1], lambda x: x[1:3], lambda x: x[1, 2], lambda x: x[0, 1:3], lambda x: x[:], lambda x: x[...],
             lambda x: x[None], lambda x: x[:, 0:4], lambda x: x.reshape((4, 3)), lambda x: x.reshape(-1), lambda x: x[0:2][0],
             lambda x: x[-1], lambda x: x[2:10], lambda x: x[0][1], lambda x: x.detach(),
             lambda x: x.astype("float32", copy=False),
             lambda x: x.as_in_context(mx.cpu(0))]
    copies = [lambda x: x[::2], lambda x: x[:, 1], lambda x: x[[0, 1]], lambda x: x.flatten(), lambda x: x.expand_dims(0),
              lambda x: x.T, lambda x: x.squeeze(), lambda x: x.astype("float32"), lambda x: x.copy(), lambda x: nd.array(x),
              lambda x: x.as_in_context(mx.cpu(1)), lambda x: nd.reshape(x, (4, 3)), lambda x: x.broadcast_to((3, 4)),
              lambda x: x.swapaxes(0, 1), lambda x: x[nd.array([0, 1])], lambda x: x.asnumpy()]
    assert all(map(written, views)) and not any(map(written, copies))


def test_in_place_operators_are_seen_through_aliases():
    a = nd.ones((2, 2))
    b, row = a, a[1]
    a += 1
    row *= 3
    same(b, [[2, 2], [6, 6]])
    a[:] = nd.array([5, 7])
    same(row, [5, 7])
    a[0, 1] = 9
    same(b, [[5, 9], [5, 7]])


def test_indexing():
    x = nd.array(np.arange(12).reshape(3, 4))
    same(x[x > 8], [9, 10, 11])
    same(x[np.array([True, False, True])], [[0, 1, 2, 3], [8, 9, 10, 11]])
    same(x[nd.array([2, 0]), nd.array([1, 3])], [9, 3])
    x[x > 8] = 0
    assert x.sum().asscalar() == 36
    for key in (3, -4, (0, 4)):
        with pytest.raises(IndexError, match="out of bounds"):
            x[key]


@pytest.mark.parametrize(("shape", "codes", "reverse", "expected"), [
    ((2, 3, 4), (4, 0, 2), False, (4, 3, 2)), ((2, 3, 4), (2, 0, 0), False, (2, 3, 4)),
    ((24,), (1, 2, 3, 4), False, (1, 2, 3, 4)), ((2, 3, 4), (6, 1, -1), False, (6, 1, 4)),
    ((2, 3, 4), (-2,), False, (2, 3, 4)), ((2, 3, 4), (2, -2), False, (2, 3, 4)), ((2, 3, 4), (-3, 4), False, (6, 4)),
    ((2, 3, 4, 5), (-3, -3), False, (6, 20)), ((2, 3, 4), (-4, 1, 2, -2), False, (1, 2, 3, 4)),
    ((2, 3, 4), (2, -4, -1, 3, -2), False, (2, 1, 3, 4)), ((10, 5, 4), (-1, 0), False, (40, 5)),
    ((10, 5, 4), (-1, 0), True, (50, 4)), ((8, 3, 4), (-4, 2, -1, 0, 0), True, (2, 4, 3, 4))])
def test_reshape_codes(shape, codes, reverse, expected):
    assert nd.zeros(shape).reshape(codes, reverse=reverse).shape == expected
    assert nd.reshape(nd.zeros(shape), shape=codes, reverse=reverse).shape == expected


def test_reshape_to_another_size():
    with pytest.raises(ValueError, match=r"Cannot reshape array of size 12 into shape \(2, 2\)"):
        nd.zeros(12).reshape((2, 2))


def test_dot():
    a, b = np.arange(24.0).reshape(2, 3, 4), np.arange(120.0).reshape(4, 5, 6)
    same(nd.dot(nd.array(a), nd.array(b)), np.tensordot(a, b, 1))
    same(nd.dot(nd.array([1, 2]), nd.array([3, 4])), [11])
    assert nd.dot(nd.ones((4, 2, 3)), nd.ones((4, 5)), transpose_a=True).shape == (2, 3, 5)
    assert nd.dot(nd.ones((2, 4)), nd.ones((5, 3, 4)), transpose_b=True).shape == (2, 5, 3)
    with pytest.raises(mx.errors.MXNetError, match=r"dot shape error: \[2,3,4\] X \[5,4,6\]"):
        nd.dot(nd.ones((2, 3, 4)), nd.ones((5, 4, 6)))


def test_reductions():
    x = np.arange(24.0).reshape(2, 3, 4)
    same(nd.array(x).sum(), [x.sum()])
    same(nd.array(x).sum(axis=1, exclude=True), x.sum(axis=(0, 2)))
    same(nd.max(nd.array(x), axis=(0, 2), keepdims=True), x.max(axis=(0, 2), keepdims=True))
    same(nd.norm(nd.array(x)), [np.sqrt((x * x).sum())])


def test_conversions():
    x = nd.array([[1.5]])
    assert float(x) == 1.5 and int(x) == 1 and bool(x) and x.asscalar() == np.float32(1.5)
    assert np.shares_memory(np.asarray(x), x._data) and not np.shares_memory(x.asnumpy(), x._data)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(nd.ones(2))
    assert repr(nd.ones((1, 2))) == "\n[[1. 1.]]\n<NDArray 1x2 @cpu(0)>"
    same(np.ones(2) + nd.ones(2), [2, 2])
    same(nd.ones((2, 3)) @ nd.ones((3, 1)), [[3], [3]])


def test_contexts():
    assert mx.cpu() == mx.cpu(0) == mx.Context("cpu", 0) != mx.cpu(1) and str(mx.cpu(1)) == "cpu(1)"
    with mx.Context(mx.cpu(1)):
        assert mx.current_context() == mx.cpu(1) and nd.zeros(1).context == mx.cpu(1)
    assert mx.current_context() == mx.cpu(0) and mx.cpu(2).device_typeid == 1
    x = nd.ones(2)
    assert x.as_in_context(mx.cpu()) is x and x.as_in_context("cpu:1").context == nd.zeros(1, ctx="cpu(1)").context == mx.cpu(1)
    with pytest.raises(mx.errors.DeviceError, match=r"different devices: cpu\(0\) and cpu\(3\)"):
        x + x.as_in_context(mx.cpu(3))
    with pytest.raises(mx.errors.MXNetError, match="no GPU"):
        nd.zeros(1, ctx=mx.gpu())


def test_a_loop_compiles_in_its_first_round_only():
    def traces():
        programs = [p for op in set(mx.operators.OPERATORS.values()) for p in op._programs.values()]
        return sum(p.traces for p in programs if isinstance(p, mx.JitFunction))

    x, counts = nd.ones((200, 200)), []
    for k in range(4):
        x = nd.tanh(x * (k + 0.5)) + x.sum(axis=0, keepdims=True)
        counts.append(traces())
    assert counts[0] > 0 and counts[1:] == [counts[0]] * 3


def test_large_arrays_are_updated_where_they_lie():
    a, row = nd.ones((200, 200)), nd.arange(200)
    memory = a._data.ctypes.data
    a += row
    a *= 2
    a -= a
    a += 1
    a[:] += row.reshape((1, 200))
    assert a._data.ctypes.data == memory
    same(a, np.broadcast_to(1 + np.arange(200), (200, 200)))
    with pytest.raises(mx.errors.MXNetError, match="out= has the shape"):
        row += a
    with pytest.raises(mx.errors.MXNetError, match="broadcast"):
        a += nd.ones(3)


def test_a_loop_leaves_memory_flat():
    import tracemalloc

    x, w = nd.ones((4, 8)), nd.ones((8, 4))

    def rounds(n):
        nonlocal w
        for k in range(n):
            y = nd.tanh(nd.dot(x, w) * (k % 7 + 0.5)) - nd.one_hot(nd.array([0, 1, 2, 3]), 4)
            w -= 0.001 * nd.dot(x, y, transpose_a=True)
            w[1:3] *= 0.5
    rounds(50)
    tracemalloc.start()
    rounds(100)
    before = tracemalloc.get_traced_memory()[0]
    rounds(300)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


def test_out_is_checked_before_anything_is_written():
    x, a, b = nd.array([[1, 2], [3, 4]]), nd.zeros((2, 1)), nd.zeros((2, 3))
    with pytest.raises(mx.MXNetError, match=r"out= has the shape \[2, 3\], the result \[2, 1\]"):
        nd.split(x, 2, out=[a, b])
    same(a, [[0], [0]])
    with pytest.raises(mx.MXNetError, match="out= expected float32, got int32"):
        nd.tanh(x, out=nd.zeros((2, 2), dtype="int32"))
    with pytest.raises(mx.MXNetError, match="out= has 1 arrays for 2 outputs"):
        nd.split(x, 2, out=a)
    assert nd.dot(x, x, out=x) is x
    same(x, [[7, 10], [15, 22]])


def test_flat_views():
    x = nd.array(np.arange(6).reshape(1, 2, 3))
    views = [x.flatten(inplace=True), x.squeeze(inplace=True), x.squeeze(0, inplace=True), x.expand_dims(1, inplace=True)]
    copies = [x.flatten(), x.squeeze(), x.expand_dims(1)]
    x[:] = -1
    assert [v.shape for v in views] == [(1, 6), (2, 3), (2, 3), (1, 1, 2, 3)]
    assert all((v.asnumpy() == -1).all() for v in views) and all((c.asnumpy() >= 0).all() for c in copies)


def test_new_values_may_go_where_out_says():
    out = nd.zeros((2, 2))
    for make, expected in ((nd.ones, 1), (nd.zeros, 0), (lambda shape, out: nd.full(shape, 3, out=out), 3)):
        assert make((2, 2), out=out) is out
        same(out, np.full((2, 2), expected))
    assert nd.eye(2, out=out) is out and out.asnumpy().tolist() == [[1, 0], [0, 1]]
    with pytest.raises(mx.MXNetError, match=r"out has the shape \[2, 2\], the values \[3, 2\]"):
        nd.ones((3, 2), out=out)
    with pytest.raises(mx.MXNetError, match="no storage type 'csr'"):
        nd.zeros((2, 2), stype="csr")
    with pytest.raises(TypeError, match="unexpected keyword argument 'shpae'"):
        nd.zeros((2, 2), shpae=3)


def test_what_is_empty_is_false():
    assert not nd.array([]) and not nd.zeros((1,)) and nd.ones((1,))
    with pytest.raises(ValueError, match="multiple elements is ambiguous"):
        bool(nd.ones((2,)))


def test_dlpack_capsules_share_memory():
    x = nd.array([1, 2, 3])
    a, b = nd.from_dlpack(x.to_dlpack_for_read()), nd.from_dlpack(nd.to_dlpack_for_write(x))
    b[1] = 7
    assert a.asnumpy().tolist() == x.asnumpy().tolist() == [1, 7, 3]


def test_tests_of_floats():
    x = nd.array([1, np.inf, -np.inf, np.nan], dtype="float64")
    found = [getattr(nd.contrib, name)(x) for name in ("isinf", "isfinite", "isnan")]
    assert [f.asnumpy().tolist() for f in found] == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert {f.dtype for f in found} == {np.float64}


@pytest.mark.parametrize("axes, message", [((3, 0), "axis 3 is out of bounds for 3 axes"), ((0, -4), "axis -4 is out of"),
                                           (([0, -3], [0, 1]), "repeated axis"), ((0, [0, 1]), "same number of elements")])
def test_axes_that_cannot_move(axes, message):
    with pytest.raises(ValueError, match=message):
        nd.moveaxis(nd.ones((1, 2, 3)), *axes)


def test_broadcast_like_needs_as_many_axes_of_both():
    for axes in (((), ()), ((0,), (0, 1))):
        with pytest.raises(mx.MXNetError, match="do not go together"):
            nd.broadcast_like(nd.ones((1, 2)), nd.ones((3, 2)), lhs_axes=axes[0], rhs_axes=axes[1])
