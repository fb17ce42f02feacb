"""Executors on a GPU, which here is made of host memory: they run there, on arrays there, with the results of the CPU."""
import numpy as np
import pytest

import jitnet as mx
from jitnet.errors import DeviceError
from jitnet.testing_gpu import fake_gpus

RNG = np.random.default_rng(3)
ARRAYS = {"x": RNG.standard_normal((5, 4)), "fc_weight": RNG.standard_normal((3, 4)), "fc_bias": RNG.standard_normal(3),
          "bn_gamma": np.ones(3), "bn_beta": np.zeros(3)}


def network():
    x = mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=3, name="fc")
    return mx.sym.Activation(mx.sym.BatchNorm(x, name="bn", fix_gamma=False), act_type="relu")


def trained(ctx, grad_req="write"):
    """Output, gradients and states after two steps."""
    ex = network().simple_bind(ctx, x=(5, 4), grad_req=grad_req)
    for name, value in ARRAYS.items():
        ex.arg_dict[name][:] = value.astype(np.float32)
    for _ in range(2):
        ex.forward(is_train=True)
        ex.backward(mx.nd.ones((5, 3), ctx=ctx))
    assert all(a.context == ctx for a in (*ex.outputs, *ex.arg_arrays, *ex.grad_arrays, *ex.aux_arrays))
    return ex, [a.asnumpy() for a in (*ex.outputs, *ex.grad_arrays, *ex.aux_arrays)]


@pytest.mark.parametrize("grad_req", ["write", "add"])
def test_training_there(grad_req):
    _, want = trained(mx.cpu(), grad_req)
    with fake_gpus() as driver:
        ex, found = trained(mx.gpu(0), grad_req)
        for got, expected in zip(found, want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        assert driver.calls["product"] >= 3   # the layer, and the gradients of its input and weight, captured at least once
        assert "cuBLASLt" in ex.explain()
        np.testing.assert_allclose(ex.forward()[0].asnumpy(), ex.outputs[0].asnumpy())


def test_bound_arrays_stay_where_they_are():
    """Nothing is copied: what is written into a bound array is seen by the next forward."""
    with fake_gpus():
        x, w = mx.nd.ones((2, 4), ctx=mx.gpu(0)), mx.nd.ones((3, 4), ctx=mx.gpu(0))
        s = mx.sym.FullyConnected(mx.sym.Variable("x"), mx.sym.Variable("w"), num_hidden=3, no_bias=True)
        ex = s.bind(mx.gpu(0), {"x": x, "w": w})
        assert (ex.forward()[0].asnumpy() == 4).all()
        x[:] = 2
        assert (ex.forward()[0].asnumpy() == 8).all()
        assert (ex.forward(x=np.full((2, 4), 3, np.float32))[0].asnumpy() == 12).all() and (x.asnumpy() == 3).all()
        smaller = ex.reshape(x=(1, 4))
        assert (smaller.forward()[0].asnumpy() == 12).all() and smaller.arg_dict["w"] is w
        assert smaller.arg_dict["x"]._data.block is x._data.block


def test_random_numbers_there():
    with fake_gpus():
        ex = mx.sym.Dropout(mx.sym.Variable("x"), p=0.5).simple_bind(mx.gpu(0), x=(64,))
        ex.arg_dict["x"][:] = 1
        found = ex.forward(is_train=True)[0].asnumpy()
        assert set(found) == {0, 2}


def test_arrays_elsewhere_are_an_error():
    with fake_gpus():
        x = mx.sym.Variable("x")
        there, here = mx.nd.ones(2, ctx=mx.gpu(0)), mx.nd.ones(2)
        for ctx, array, grad in ((mx.gpu(0), here, there), (mx.cpu(), there, here), (mx.gpu(0), there, here)):
            with pytest.raises(DeviceError, match=r"bind: x is on .pu\(0\), the executor on .pu\(0\)\n"):
                (x * 2).bind(ctx, {"x": array}, args_grad={"x": grad})
