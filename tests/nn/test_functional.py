"""Functions of neural networks against SciPy and formulas, values and derivatives."""
import numpy as np
import pytest
import scipy.special

from jitnet.errors import JitnetError
from jitnet.ir import check_graph, eval_graph
from jitnet.nn import functional as F
from jitnet.testing import check_grads
from jitnet.tracer import trace
from jitnet.types import F32, ArrayType

X = np.random.default_rng(0).normal(size=(3, 5)) * 2

FUNCTIONS = {
    "relu": (F.relu, lambda x: np.maximum(x, 0)),
    "sigmoid": (F.sigmoid, scipy.special.expit),
    "gelu": (F.gelu, lambda x: x * scipy.special.ndtr(x)),
    "gelu tanh": (lambda x: F.gelu(x, "tanh"), lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))),
    "softmax": (F.softmax, lambda x: scipy.special.softmax(x, axis=-1)),
    "softmax of columns": (lambda x: F.softmax(x, 0), lambda x: scipy.special.softmax(x, axis=0)),
    "log_softmax": (F.log_softmax, lambda x: scipy.special.log_softmax(x, axis=-1)),
    "layer_norm": (F.layer_norm, lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)),
    "layer_norm of all": (lambda x: F.layer_norm(x, axis=(0, 1)), lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-5)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives(name):
    function, formula = FUNCTIONS[name]
    np.testing.assert_allclose(function(X), formula(X), rtol=1e-9, atol=1e-12)
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        graph = check_graph(trace(lambda x: [function(x)], [ArrayType(x.shape, x.dtype)], "f").graph)
        (out,) = eval_graph(graph, x)
        assert out.dtype == dtype
        np.testing.assert_allclose(out, formula(X), rtol=1e-3 if dtype == np.float32 else 1e-9,
                                   atol=1e-5 if dtype == np.float32 else 1e-12)
    check_grads(function, (X,), order=2)


def test_layer_norm_with_weight_and_bias():
    w, b = np.linspace(1, 2, 5), np.linspace(-1, 1, 5)
    np.testing.assert_allclose(F.layer_norm(X, w, b), F.layer_norm(X) * w + b)
    check_grads(F.layer_norm, (X, w, b))


def test_extreme_inputs():
    x = np.array([[1000.0, 0.0, -np.inf], [-1000.0, -1000.0, -1000.0]])
    np.testing.assert_allclose(F.softmax(x), [[1, 0, 0], [1 / 3] * 3])
    np.testing.assert_allclose(F.log_softmax(x)[1], [-np.log(3)] * 3)
    assert np.isnan(F.softmax(np.array([np.nan, 1.0]))).all() and np.isnan(F.relu(np.array([np.nan]))).all()


def test_relu_has_slope_zero_at_zero():
    from jitnet.transforms import grad

    np.testing.assert_array_equal(grad(lambda x: F.relu(x).sum())(np.array([-1.0, 0.0, 2.0])), [0, 0, 1])


def test_softmax_is_few_equations():
    graph = trace(lambda x: [F.softmax(x)], [ArrayType((4, 8), F32)], "f").graph
    assert len(graph.eqns) == 8
    with pytest.raises(JitnetError, match="there is no axis 2"):
        trace(lambda x: [F.softmax(x, 2)], [ArrayType((4, 8), F32)], "f")
