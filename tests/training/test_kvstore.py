"""KVStore: sums over devices, replacing and updating, keys and errors."""
import numpy as np
import pytest

import jitnet as mx


def pulled(store, key, shape=(2,)):
    out = mx.nd.zeros(shape)
    store.pull(key, out=out)
    return out.asnumpy().tolist()


@pytest.mark.parametrize("kind", ["local", "device"])
def test_pushed_lists_are_summed_and_replace_the_value(kind):
    store = mx.kv.create(kind)
    assert (store.type, store.rank, store.num_workers) == (kind, 0, 1) and store.is_capable("optimizer")
    store.init("a", mx.nd.ones(2))
    store.push("a", [mx.nd.ones(2), mx.nd.ones(2, ctx=mx.cpu(1)) * 4])
    assert pulled(store, "a") == [5, 5]
    store.push("a", mx.nd.ones(2) * 7)
    assert pulled(store, "a") == [7, 7]
    outs = [mx.nd.zeros(2), mx.nd.zeros(2, ctx=mx.cpu(1))]
    store.pushpull("a", [mx.nd.ones(2)] * 2, out=outs)
    assert [o.asnumpy().tolist() for o in outs] == [[2, 2], [2, 2]] and outs[1].context == mx.cpu(1)


def test_lists_of_keys_and_broadcast():
    store, out = mx.kv.create(), [mx.nd.zeros(2), mx.nd.zeros(3)]
    store.init([3, 5], [mx.nd.ones(2), mx.nd.ones(3)])
    store.push([3, 5], [[mx.nd.ones(2)] * 2, mx.nd.ones(3) * 3])
    store.pull([3, 5], out=out)
    assert [o.asnumpy().tolist() for o in out] == [[2, 2], [3, 3, 3]]
    store.broadcast(7, mx.nd.ones(2) * 9, out=out[0])
    assert out[0].asnumpy().tolist() == [9, 9]


def test_values_are_the_stores_own():
    store, w = mx.kv.create(), mx.nd.ones(2)
    store.init("a", w)
    w[:] = 5
    assert pulled(store, "a") == [1, 1]


def test_updaters_and_optimizers(tmp_path):
    store = mx.kv.create()
    store.init(3, mx.nd.ones(2))
    seen = []

    def update(key, pushed, stored):
        seen.append(key)
        stored += pushed * 2
    store._set_updater(update)
    store.push(3, [mx.nd.ones(2), mx.nd.ones(2)])
    assert pulled(store, 3) == [5, 5] and seen == [3]
    store = mx.kv.create()
    store.init(["w", "v"], [mx.nd.ones(2), mx.nd.ones(2)])
    store.set_optimizer(mx.optimizer.create("sgd", learning_rate=0.1, momentum=0.5))
    for _ in range(2):
        store.push(["w", "v"], [[mx.nd.ones(2)] * 2, [mx.nd.ones(2)]])
    np.testing.assert_allclose(pulled(store, "w"), 1 - 0.2 - 0.3, rtol=1e-6)
    np.testing.assert_allclose(pulled(store, "v"), 1 - 0.1 - 0.15, rtol=1e-6)
    store.save_optimizer_states(str(tmp_path / "s"))
    other = mx.kv.create()
    other.set_optimizer(mx.optimizer.create("sgd", momentum=0.5))
    other.load_optimizer_states(str(tmp_path / "s"))
    np.testing.assert_allclose(other._updater.states["w"].asnumpy(), [-0.3, -0.3], rtol=1e-6)


def test_errors():
    store = mx.kv.create()
    store.init("a", mx.nd.ones(2))
    for call, message in ((lambda: store.init("a", mx.nd.ones(2)), "duplicate init of key a"),
                          (lambda: store.init(1, mx.nd.ones(2)), "Mixed key types"),
                          (lambda: store.push("b", mx.nd.ones(2)), "key b doesn't exist. Did you init"),
                          (lambda: store.push("a", mx.nd.ones(3)), r"the value of key a has the shape \(2,\)"),
                          (lambda: store.row_sparse_pull("a"), "row_sparse"),
                          (lambda: store.save_optimizer_states("x"), "no optimizer is set"),
                          (lambda: mx.kv.create("dist_sync"), "there is no type 'dist_sync'")):
        with pytest.raises(mx.MXNetError, match=message):
            call()
    with pytest.raises(ValueError, match="2 keys need a list of as many values"):
        store.push(["a", "b"], [mx.nd.ones(2)])
    assert pulled(store, "a") == [1, 1]
