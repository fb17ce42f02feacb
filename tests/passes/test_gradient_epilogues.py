"""Products of training steps with the gradients around them: which are taken, what they mean, and what runs without them."""
import numpy as np
import pytest

import jitnet
from jitnet.codegen.epilogues import EPILOGUES, agrees, apply_epilogue, fits, probe, roles
from jitnet.errors import DeviceError
from jitnet.ir import check_graph, eval_graph
from jitnet.nn.functional import gelu, relu
from jitnet.passes.gradient_epilogues import gradient_epilogues
from jitnet.passes.pipeline import pipeline
from jitnet.runtime.cuda.products import is_sound
from jitnet.runtime.cuda.stream import open_gpu
from jitnet.testing_compiled import graph_of
from jitnet.testing_gpu import fake_gpus
from jitnet.testing_gpu_products import FakePlan

RNG = np.random.default_rng(7)
X, W, B, V, C = (RNG.standard_normal(s).astype(np.float32) for s in ((6, 12), (12, 8), 8, (8, 5), 5))
BATCH = RNG.standard_normal((2, 3, 12)).astype(np.float32)
ALL = frozenset(EPILOGUES) - {""}


def tanh_gelu(h):
    return gelu(h, approximate="tanh")


def net(activation, bias=True, turned=False):
    """The gradients of two layers."""
    def loss(x, w, b, v, c):
        p = x @ (w.T if turned else w)
        q = activation(p + b if bias else p) @ (v.T if turned else v)
        return np.sum((q + c if bias else q) ** 2)

    return lambda *arrays: jitnet.tree.leaves(jitnet.value_and_grad(loss, argnums=(1, 2, 3, 4))(*arrays))


def products(function, *arrays, known=ALL, has=lambda *_: True):
    """The epilogues of a function's products; the graph means what it meant."""
    graph = graph_of(function, *arrays)
    before = dict(pipeline(graph, gpu=True))["dead_code"]
    after = check_graph(gradient_epilogues(before, lambda: known, has))
    for got, want in zip(eval_graph(after, *arrays), eval_graph(before, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    return [eqn.params["epilogue"] for eqn in after.eqns if eqn.op.name == "product"]


CASES = {
    "relu": (net(relu), (X, W, B, V, C), ["relu_aux_bias", "bgrad_b", "drelu_bgrad"]),
    "gelu": (net(tanh_gelu), (X, W, B, V, C), ["gelu_aux_bias", "bgrad_b", "dgelu_bgrad"]),
    "relu without bias": (net(relu, bias=False), (X, W, B, V, C), ["relu_aux", "drelu"]),
    "gelu without bias": (net(tanh_gelu, bias=False), (X, W, B, V, C), ["gelu_aux", "dgelu"]),
    "relu of a batch": (net(relu), (BATCH, W, B, V, C), ["relu_aux_bias", "bgrad_b", "drelu_bgrad"]),
    "gelu of a batch": (net(tanh_gelu), (BATCH, W, B, V, C), ["gelu_aux_bias", "bgrad_b", "dgelu_bgrad"]),
    "turned": (net(relu, turned=True), (X, W.T.copy(), B, V.T.copy(), C), ["relu_aux_bias", "bgrad_a", "drelu_bgrad"]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_taken(name):
    function, arrays, want = CASES[name]
    assert sorted(products(function, *arrays)) == sorted(want)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("refused", ["none", "forward", "backward", "all"])
def test_programs(name, refused):
    """Also where the library has no algorithm for some of them, found out when they are planned: kernels do it then."""
    function, arrays, _ = CASES[name]
    f = jitnet.jit(function)
    with fake_gpus() as driver:
        on_gpu = [jitnet.asarray(a, device="gpu") for a in arrays]
        library = open_gpu(0).products
        allowed = library.has
        gone = {n for n in ALL if refused == {"_aux": "forward"}.get(n[4:8], "backward" if n[0] == "d" else "")}
        gone = ALL if refused == "all" else gone
        library.has = lambda product, alignments=None: allowed(product) and not (alignments and product.epilogue in gone)
        for got, want in zip(f(*on_gpu), f(*arrays), strict=True):
            np.testing.assert_allclose(got.numpy(), want, rtol=2e-5, atol=2e-5)
        assert driver.calls["product"] == 5
        assert ("it has no algorithm with" in f.explain(*on_gpu)) == (refused != "none")
        assert refused != "none" or driver.calls["launch"] == (3 if "without" in name else 1)   # zeros


def test_a_training_step_launches_fewer_kernels_than_products():
    f = jitnet.jit(net(relu))
    with fake_gpus() as driver:
        on_gpu = [jitnet.asarray(a, device="gpu") for a in (X, W, B, V, C)]
        f(*on_gpu)
        assert (driver.calls["product"], driver.calls["launch"]) == (5, 1)
        assert "then relu of the sum with bias, which keeps a bit per element" in f.explain(*on_gpu)
        assert "then the gradient of relu and that of its bias" in f.explain(*on_gpu)
        open_gpu(0).products.refused |= {"relu_aux_bias", "bgrad_b"}
        g = jitnet.jit(net(relu))
        g(*on_gpu)
        assert "gradient of relu" not in g.explain(*on_gpu)


def test_what_is_left():
    x, w, b, v, c = X, W, B, V, C
    assert products(net(relu), x, w, b, v, c, known=ALL - {"drelu_bgrad"}) == ["bgrad_b", "bgrad_b"]
    assert products(net(relu), x, w, b, v, c, has=lambda name, *_: name != "relu_aux_bias") == ["bgrad_b", "bgrad_b"]
    assert products(net(gelu), x, w, b, v, c) == ["bgrad_b", "bgrad_b"]              # the form with erf
    assert products(net(lambda h: np.maximum(h, 0)), x, w, b, v, c) == ["bgrad_b", "bgrad_b"]   # ties are shared
    assert products(lambda x, w: relu(x @ w), x, w) == []                            # no gradient
    assert products(net(relu), *(a.astype(np.float64) for a in (x, w, b, v, c))) == []

    def seen(x, w, v):   # what relu was given is a result, too
        p = x @ w
        return np.sum(relu(p) @ v), p

    graph = jitnet.value_and_grad(seen, argnums=1, has_aux=True)
    assert products(lambda *a: jitnet.tree.leaves(graph(*a)), x, w, v) == []


def test_rows_that_are_not_joined_are_left_to_kernels():
    """A batch in the second axis: known only where the operands' places are."""
    def loss(x, w, b, v):
        return np.sum((relu(x.transpose(1, 0, 2) @ w + b) @ v) ** 2)

    f, x = jitnet.jit(jitnet.grad(loss, argnums=2)), np.ascontiguousarray(BATCH.transpose(1, 0, 2))
    with fake_gpus():
        on_gpu = [jitnet.asarray(a, device="gpu") for a in (x, W, B, V)]
        np.testing.assert_allclose(f(*on_gpu).numpy(), f(x, W, B, V), rtol=2e-5, atol=2e-5)
        assert "it has no algorithm with relu_aux_bias for it" in f.explain(*on_gpu)


def test_a_sum_that_the_product_depends_on_stays():
    assert products(lambda x, w: (x / np.sum(w, axis=0)[0]) @ w, X, W) == []
    assert products(lambda x, w: (x @ w, np.tanh(np.sum(w, axis=0))), X, W) == ["bgrad_b"]


@pytest.mark.parametrize("other", [RNG.standard_normal((6, 8)), RNG.standard_normal((6, 1)), np.ones((1, 8))],
                         ids=["all", "rows", "kept"])
def test_what_is_added_and_is_no_bias_stays_with_kernels(other):
    """A bias is a vector: something of the product's own shape, of its rows, or with an axis more, is none."""
    taken = products(net(relu), X, W, other.astype(np.float32), V, C)
    assert not {name for name in taken if "aux_bias" in name}


def test_long_chains_are_not_spelled_out():
    def chain(x, w, v):
        h = np.tanh(np.float32(0.8) * (x @ w + (x @ w) ** 2))
        for _ in range(60):
            h = h * h
        return np.sum(h @ v)

    assert products(jitnet.grad(chain, argnums=1), X, W, V) == []


@pytest.mark.parametrize("value", [np.nan, 0.0, -0.0, np.inf])
def test_special_values(value):
    b = np.full(8, value, np.float32)
    with np.errstate(all="ignore"):
        products(net(relu), X * 0, W, b, V, C)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_library_is_believed_what_it_shows(name, monkeypatch):
    with fake_gpus():
        gpu = jitnet.gpu(0) and open_gpu(0)
        assert is_sound(gpu, gpu.products, name)
        run = FakePlan.run

        def forgets_nan(plan, a, b, out, bias, aux):
            run(plan, a, b, out, bias, aux)
            values = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_float * 128 ** 2).from_address(out))
            np.nan_to_num(values, copy=False)

        monkeypatch.setattr(FakePlan, "run", forgets_nan)
        assert not is_sound(gpu, gpu.products, name)


def test_an_epilogue_that_fails_is_not_used(monkeypatch):
    def fails(plan, *addresses):
        raise DeviceError("gpu(0): cublasLtMatmul failed with status 15", "")

    with fake_gpus():
        gpu = jitnet.gpu(0) and open_gpu(0)
        monkeypatch.setattr(FakePlan, "enqueue", fails)
        assert not is_sound(gpu, gpu.products, "drelu") and not gpu._before


@pytest.mark.parametrize("name", ["relu_aux", "drelu", "drelu_bgrad", "dgelu"])
def test_probes_tell_masks_that_differ_at_zero(name):
    arrays = probe(name)
    value = np.outer(arrays["a"][:, 0], arrays["b"][0])
    out, bias, aux = apply_epilogue(name, value, arrays["a"], arrays["b"], None, arrays.get("aux"))
    got = {"out": out, "bias": bias, "aux": aux}
    assert agrees(name, arrays, got)
    if name == "relu_aux":   # x >= 0 in the place of not x <= 0
        assert not agrees(name, arrays, got | {"aux": np.packbits(value >= 0, axis=1, bitorder="little")})
    elif name == "dgelu":
        assert not agrees(name, arrays, got | {"out": out * np.float32(1.001)})
    else:   # a product with the mask in the place of a choice
        bits = np.unpackbits(arrays["aux"], axis=1, bitorder="little")
        assert not agrees(name, arrays, got | {"out": value * bits})


def test_names_and_what_they_need():
    assert roles("drelu_bgrad") == (("aux",), ("bias",)) and roles("gelu_aux_bias") == (("bias",), ("aux",))
    assert fits("dgelu", 16) and not fits("gelu_aux_bias", 12) and fits("drelu", 13) and fits("gelu_bias", 13)
