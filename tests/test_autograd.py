"""autograd: gradients along the tape, to any order; requests, heads, Functions, errors; a loop compiles once, leaks nothing."""
import gc

import numpy as np
import pytest

import jitnet as mx
from jitnet import autograd, nd
from jitnet.errors import MXNetError


def marked(values, request="write"):
    x = nd.array(values)
    x.attach_grad(request)
    return x


def values(x):
    return x.asnumpy().tolist()


def test_gradient_of_a_chain():
    x = marked([1.0, 2.0, 3.0])
    with autograd.record():
        y = x * x * x
    y.backward()  # heads of any shape have ones as their gradient
    assert values(x.grad) == [3.0, 12.0, 27.0]


def test_head_gradients_and_several_heads():
    x = marked([1.0, 2.0])
    with autograd.record():
        y, z = x * 2, x * x
    autograd.backward([y, z], [nd.array([1.0, 10.0]), None])
    assert values(x.grad) == [2.0 + 2.0, 20.0 + 4.0]


def test_a_marked_array_may_be_a_head():
    x = marked([1.0, 2.0])
    x.backward(nd.array([3.0, 4.0]))
    assert values(x.grad) == [3.0, 4.0]
    with autograd.record():
        y = x * 2
    autograd.backward([x, y])
    assert values(x.grad) == [3.0, 3.0]


def test_requests():
    w, a, n = marked([1.0]), marked([1.0], "add"), marked([1.0], "null")
    for _ in range(3):
        with autograd.record():
            y = w * a * n
        y.backward()
    assert values(w.grad) == [1.0]
    assert values(a.grad) == [3.0]
    assert n.grad.asscalar() == 0   # as in MXNet


def test_gradients_keep_their_memory():
    x = marked([2.0])
    seen, shared = x.grad, np.asarray(x.grad)
    with autograd.record():
        y = x * x
    y.backward()
    assert x.grad is seen
    assert shared[0] == 4.0


def test_an_array_that_is_reached_without_a_gradient_gets_zeros():
    x = marked([1.0, 2.0])
    x.grad[:] = 7
    with autograd.record():
        y = (x > 1.5) + 0 * x.sign()
    y.backward()
    assert values(x.grad) == [0.0, 0.0]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_any_order(order):
    """d^n/dx^n of x^5 by create_graph; MXNet cannot differentiate its own gradient of a product."""
    x = marked([1.0, 2.0])
    with autograd.record():
        y = x * x * x * x * x
        for _ in range(order):
            y, = autograd.grad(y, x, create_graph=True)
    factor = np.prod([5 - k for k in range(order)])
    np.testing.assert_allclose(y.asnumpy(), factor * np.array([1.0, 2.0]) ** (5 - order))


def test_gradient_of_a_gradient_norm():
    """A gradient penalty: backward through a recorded gradient, mixed with the function itself."""
    x, w = marked([1.0, 2.0]), marked([3.0, 4.0])
    with autograd.record():
        y = (w * x * x).sum()
        g, = autograd.grad(y, x, create_graph=True)
        loss = y + (g * g).sum()
    loss.backward()
    # g = 2 w x; loss = w x^2 + 4 w^2 x^2
    np.testing.assert_allclose(w.grad.asnumpy(), [1 + 8 * 3, 4 + 8 * 4 * 4])
    np.testing.assert_allclose(x.grad.asnumpy(), [6 + 8 * 9, 16 + 8 * 16 * 2])


def test_what_was_detached_is_constant_in_every_derivative():
    """x and x.detach() hold the same memory; the gradient x.detach() of x * x.detach() does not depend on x."""
    x = marked([1.0, 2.0])
    with autograd.record():
        g, = autograd.grad(x * x.detach(), x, create_graph=True)
        y = g * x
    y.backward()
    assert values(x.grad) == [1.0, 2.0]


def test_grad_gives_a_list_for_one_variable_too():
    """MXNet's programs write `autograd.grad(y, x)[0]`, which must not be the first row."""
    x = marked([[1.0, 2.0], [3.0, 4.0]])
    with autograd.record():
        y = x * x
    g = autograd.grad(y, x)
    assert type(g) is list and len(g) == 1 and g[0].shape == (2, 2)


def test_copies_between_contexts_are_recorded():
    x = marked([1.0, 2.0])
    with autograd.record():
        there = x.as_in_context(mx.cpu(1))
        z = (there * there * 3).as_in_context(mx.cpu(0)) * x.copyto(mx.cpu(0))
    z.backward()
    assert (there.context, z.context, x.grad.context) == (mx.cpu(1), mx.cpu(0), mx.cpu(0))
    assert values(x.grad) == [9.0, 36.0]
    with autograd.record():
        target = nd.zeros((2,))
        (x * 2).copyto(target)
        g, = autograd.grad(target * target, x, create_graph=True)
    g.backward()
    assert values(x.grad) == [8.0, 8.0]


@pytest.mark.parametrize("request_", ["write", "add"])
def test_gradients_may_share_memory(request_):
    a, b, flat = nd.array([1.0, 2.0]), nd.array([3.0, 4.0]), nd.ones((4,))
    autograd.mark_variables([a, b], [flat[0:2], flat[2:4]], request_)
    with autograd.record():
        y = a * b * b
    y.backward()
    np.testing.assert_array_equal(flat.asnumpy(), np.array([9, 16, 6, 16]) + (request_ == "add"))
    g = nd.zeros((2,))
    autograd.mark_variables([a, b], [g, g], "add")
    with autograd.record():
        y = a * b * g  # which the backward pass also reads
    g[:] = 1
    y.backward()
    assert values(g) == [1 + 3 + 1, 1 + 4 + 2]


def test_grad_leaves_the_gradients_alone():
    x, y = marked([2.0]), marked([5.0])
    with autograd.record():
        z = x * x * y
    dx, dy = autograd.grad(z, [x, y])
    assert (values(dx), values(dy)) == ([20.0], [4.0])
    assert values(x.grad) == [0.0]


def test_grad_with_respect_to_what_was_computed():
    x = marked([1.0, 2.0])
    with autograd.record():
        u = x * 2
        z = (u * u * x).sum()
    du, dx = autograd.grad(z, [u, x])
    np.testing.assert_allclose(du.asnumpy(), 2 * np.array([2.0, 4.0]) * [1.0, 2.0])
    np.testing.assert_allclose(dx.asnumpy(), 12 * np.array([1.0, 4.0]))


def test_retain_graph():
    x = marked([3.0], "add")
    with autograd.record():
        y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert values(x.grad) == [12.0]
    with pytest.raises(MXNetError, match="retain_graph=True"):
        y.backward()


def test_modes_nest():
    assert (autograd.is_recording(), autograd.is_training()) == (False, False)
    with autograd.record():
        assert (autograd.is_recording(), autograd.is_training()) == (True, True)
        with autograd.pause():
            assert (autograd.is_recording(), autograd.is_training()) == (False, False)
            with autograd.train_mode():
                assert autograd.is_training()
        with autograd.predict_mode():
            assert (autograd.is_recording(), autograd.is_training()) == (True, False)
    with autograd.record(train_mode=False):
        assert not autograd.is_training()
    assert autograd.set_recording(True) is False
    assert autograd.set_recording(False) is True
    assert autograd.set_training(True) is False
    assert autograd.set_training(False) is True
    with pytest.raises(ZeroDivisionError), autograd.record():
        1 / 0  # noqa: B018
    assert not autograd.is_recording()


def test_what_is_paused_is_a_constant():
    x = marked([2.0])
    with autograd.record():
        with autograd.pause():
            c = x * x
        y = c * x
    y.backward()
    assert values(x.grad) == [4.0]


def test_detach_and_attach_grad_cut_the_tape():
    x = marked([2.0])
    with autograd.record():
        y = x * x
        z = y.detach() * x
    z.backward()
    assert values(x.grad) == [4.0]
    with autograd.record():
        y = x * x
        y.attach_grad()
        z = y * 3
    z.backward()
    assert values(y.grad) == [3.0]
    assert values(x.grad) == [4.0]


def test_indexing_and_writing_are_recorded():
    x = marked([[1.0, 2.0], [3.0, 4.0]])
    with autograd.record():
        y = x[0] * 2 + x[1:2].reshape((2,)) * x[:, 1]
    y.backward()
    assert values(x.grad) == [[2.0, 2.0 + 3.0], [2.0, 4.0 + 4.0]]
    with autograd.record():
        z = nd.zeros((3,))
        z[1:] = x[0]
        out = z * z
    out.backward()
    assert values(x.grad) == [[2.0, 4.0], [0.0, 0.0]]


def test_mark_variables():
    x, g = nd.array([1.0, 2.0]), nd.array([9.0, 9.0])
    autograd.mark_variables([x], [g], "add")
    with autograd.record():
        y = x * 3
    y.backward()
    assert values(g) == [12.0, 12.0]


class Sigmoid(autograd.Function):
    def forward(self, x):
        y = 1 / (1 + nd.exp(-x))
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved_tensors
        return dy * y * (1 - y)


def test_function_between_operators():
    x = marked([0.5, -1.0])
    with autograd.record():
        y = (Sigmoid()(x * 2) * x).sum()
    y.backward()
    found = values(x.grad)
    with autograd.record():
        y = (nd.sigmoid(x * 2) * x).sum()
    y.backward()
    np.testing.assert_allclose(found, values(x.grad), rtol=1e-6)


def test_function_with_several_inputs_and_outputs():
    class Both(autograd.Function):
        def forward(self, a, b):
            return a * b, a + b

        def backward(self, dproduct, dsum):
            return dproduct * 10 + dsum, dsum

    a, b = marked([2.0]), marked([3.0])
    with autograd.record():
        product, total = Both()(a, b)
        y = product + 5 * total
    y.backward()
    assert (values(a.grad), values(b.grad)) == ([15.0], [5.0])
    assert values(product) == [6.0]


def test_a_function_is_differentiated_twice():
    x = marked([0.3])
    with autograd.record():
        g, = autograd.grad(Sigmoid()(x), x, create_graph=True)
    g.backward()
    s = 1 / (1 + np.exp(-0.3))
    np.testing.assert_allclose(values(x.grad), [s * (1 - s) * (1 - 2 * s)], rtol=1e-5)


def network(rng):
    shapes = [(5, 8), (8,), (8, 3), (3,)]
    params = [marked(rng.normal(size=s)) for s in shapes]
    return nd.array(rng.normal(size=(16, 5))), nd.array(rng.integers(0, 3, 16)), params


def loss_of(x, label, params):
    w1, b1, w2, b2 = params
    h = nd.relu(nd.dot(x, w1) + b1)
    return -nd.pick(nd.log_softmax(nd.dot(h, w2) + b2), label).mean()


def test_gradients_agree_with_the_compiled_function():
    rng = np.random.default_rng(0)
    x, label, params = network(rng)
    with autograd.record():
        loss = loss_of(x, label, params)
    loss.backward()

    def same(w1, b1, w2, b2):
        h = mx.nn.functional.relu(x.asnumpy() @ w1 + b1)
        picked = mx.nn.functional.log_softmax(h @ w2 + b2)[np.arange(16), label.asnumpy().astype(int)]
        return -picked.mean()

    expected = mx.grad(same, argnums=(0, 1, 2, 3))(*[p.asnumpy() for p in params])
    for p, e in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.grad.asnumpy(), e, rtol=1e-4, atol=1e-6)


def test_a_loop_compiles_in_its_first_iteration_only_and_leaks_nothing():
    rng = np.random.default_rng(1)
    x, label, params = network(rng)
    losses, counts = [], []
    for iteration in range(60):
        with autograd.record():
            loss = loss_of(x, label, params)
        loss.backward()
        for p in params:
            p -= 0.1 * p.grad
        losses.append(float(loss))
        if iteration in (1, 59):
            gc.collect()
            counts.append((mx.cache.info().compiles, sum(isinstance(o, np.ndarray) for o in gc.get_objects())))
    assert losses[-1] < 0.5 * losses[0]
    assert counts[0][0] == counts[1][0]


def test_new_numbers_and_batch_sizes_are_the_same_plan():
    from jitnet.nd import plan

    x = marked([1.0, 2.0])
    known = None
    for k in range(1, 5):
        with autograd.record():
            y = (x * float(k)).sum()
        y.backward()
        assert values(x.grad) == [k, k]
        known = len(plan._plans) if known is None else known
    assert len(plan._plans) == known


def test_the_tape_frees_what_it_kept():
    x = marked(np.ones((100,)))
    with autograd.record():
        y = (x * x).sum()
    node = y._node[0]
    y.backward()
    assert node.freed
    assert not node.values


@pytest.mark.parametrize(("call", "message"), [
    (lambda x, y: nd.ones((2,)).backward(), "backward: cannot differentiate head 0: it is not in a recorded graph"),
    (lambda x, y: y.backward(nd.ones((3,))), r"backward: head 0 has the shape \(2,\), its gradient \(3,\)"),
    (lambda x, y: autograd.grad(y, nd.ones((2,))), "grad: cannot differentiate with respect to variable 0: it has no gradient"),
    (lambda x, y: autograd.backward([y], [None, None]), "backward: 1 heads and 2 head gradients"),
    (lambda x, y: x.attach_grad("sometimes"), "grad_req 'sometimes' is unknown"),
    (lambda x, y: autograd.mark_variables([x], [nd.ones((3,))]), r"a gradient of shape \(3,\) for a variable of shape \(2,\)"),
])
def test_errors(call, message):
    x = marked([1.0, 2.0])
    with autograd.record():
        y = x * 2
    with pytest.raises(MXNetError, match=message):
        call(x, y)
    y.backward()
    assert values(x.grad) == [2.0, 2.0]


@pytest.mark.parametrize("write", ["y += 1", "x *= 2", "y[:] = 0 * x", "y[0] = x[1]", "y[0] = 7", "x[:] = [1, 2]",
                                   "nd.ones((2,)).copyto(y)", "nd.exp(nd.ones((2,)), out=y)"])
def test_writes_in_place_are_refused_while_recording(write):
    x = marked([1.0, 2.0])
    with autograd.record():
        y = x * 2
        with pytest.raises(MXNetError, match="inplace operations"):
            exec(write, {"x": x, "y": y, "nd": nd})
    assert values(y) == [2.0, 4.0]
    assert values(x) == [1.0, 2.0]


def test_the_symbol_of_what_was_recorded():
    x, w = marked([[1.0, 2.0], [3.0, 4.0]]), nd.array([[0.5, 1], [2, -1], [1, 1]])
    with autograd.record():
        h = nd.FullyConnected(x, w, no_bias=True, num_hidden=3) * 0.37
        left, right = nd.split(h, num_outputs=2, axis=0)
        y = nd.softmax(left + right, axis=-1) ** 2
        slope, = autograd.grad(y, x, create_graph=True)
    symbol = autograd.get_symbol(y)
    assert symbol.list_arguments() == ["var0", "var1"]
    found, = symbol.eval(var0=nd.array(x.asnumpy()), var1=w)
    np.testing.assert_allclose(found.asnumpy(), y.asnumpy(), rtol=1e-5)
    assert autograd.get_symbol(x).list_arguments() == ["var0"]
    with pytest.raises(MXNetError, match="get_symbol: the array is not in a recorded graph"):
        autograd.get_symbol(w)
    with pytest.raises(MXNetError, match="a Function or a recorded gradient"):
        autograd.get_symbol(slope)


def test_gradients_are_dense():
    with pytest.raises(MXNetError, match="there is no storage type 'csr'"):
        nd.ones((2,)).attach_grad(stype="csr")


@pytest.mark.parametrize("n", [1, 9000])
def test_what_lets_no_gradient_pass_gives_no_nan(n):
    """0 * infinity is NaN: what lies before a BlockGrad has the gradient 0 whatever its derivative is."""
    for f in (nd.BlockGrad, nd.sign, nd.round, nd.ones_like, lambda v: v > 0):
        x = marked([-1.0, 2.0, 0.0] * n)
        with autograd.record():
            y = f(nd.log(x)) + 3 * x
        y.backward()
        assert values(x.grad) == [3.0, 3.0, 3.0] * n
