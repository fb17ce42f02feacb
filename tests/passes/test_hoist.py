"""hoist: loops lose what consts alone decide, products that no carry reaches, and sums of products."""
import sys

import numpy as np
import pytest

import jitnet
from jitnet import ops
from jitnet.ir import check_graph, eval_graph
from jitnet.passes import run_passes
from jitnet.passes.hoist import hoist

RNG = np.random.default_rng(11)


def arrays(*shapes, dtype=np.float32):
    return [(0.4 * RNG.normal(size=s)).astype(dtype) for s in shapes]


def hoisted(function, *args):
    """(graph, graph after the pass), checked to compute the same."""
    graph = jitnet.jit(function).graph(*args)
    result = check_graph(hoist(graph))
    flat = [np.asarray(a) for a in args]
    for x, y in zip(eval_graph(result, *flat), eval_graph(graph, *flat), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-5)
    assert hoist(result) is result  # once is enough
    return graph, result


def loops(graph):
    return [eqn for eqn in graph.eqns if eqn.op.name in ("scan", "while_loop")]


def body_ops(graph):
    """The ops in the body of the only loop."""
    (eqn,) = loops(graph)
    return [e.op.name for e in eqn.params["body"].eqns]


def names(graph):
    return [eqn.op.name for eqn in graph.eqns]


def cell(xs, h, w, u, b):
    return jitnet.scan(lambda h, x: (np.tanh(x @ w + h @ u + b), None), h, xs)[0]


def loss(w, u, b, xs, h):
    return np.sum(cell(xs, h, w, u, b) ** 2)


def rnn_arrays(steps=5, batch=3, hidden=4, dtype=np.float32):
    return arrays((steps, batch, hidden), (batch, hidden), (hidden, hidden), (hidden, hidden), (hidden,), dtype=dtype)


def compiled_agrees(function, *args, rtol=2e-4, atol=1e-5):
    """The compiled function gives what the traced graph means."""
    f = jitnet.jit(function)
    expected = eval_graph(f.graph(*args), *[np.asarray(a) for a in args])
    found = f(*args)
    found = found if isinstance(found, (tuple, list)) else [found]
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)
    again = f(*args)
    for x, y in zip(found, again if isinstance(again, (tuple, list)) else [again]):
        np.testing.assert_array_equal(x, y)


# in front of the loop

def test_a_product_of_xs_is_one_product():
    graph, result = hoisted(cell, *rnn_arrays())
    assert body_ops(graph).count("matmul") == 2 and body_ops(result).count("matmul") == 1
    product = next(eqn for eqn in result.eqns if eqn.op.name == "matmul")
    assert product.outputs[0].type.shape == (5, 3, 4)
    assert len(loops(result)[0].inputs) == 4  # u, b, h, the products: neither xs nor w


def test_what_a_product_of_xs_needs_goes_with_it():
    def f(xs, h, w):
        def step(h, x):
            t = np.exp(x)  # the product and the step read it
            return np.tanh(h * t + (t * 2) @ w), None
        return jitnet.scan(step, h, xs)[0]

    _, result = hoisted(f, *rnn_arrays()[:3])
    assert "matmul" not in body_ops(result) and "exp" not in body_ops(result)
    assert loops(result)[0].params["num_carry"] == 1 and len(loops(result)[0].inputs) == 3


def test_products_in_a_row():
    def f(xs, h, w, u):
        return jitnet.scan(lambda h, x: (h * 0.5 + np.tanh(x @ w) @ u, None), h, xs)[0]

    _, result = hoisted(f, *rnn_arrays()[:4])
    assert names(result).count("matmul") == 2 and body_ops(result) == ["multiply", "add"]


def test_elementwise_work_stays():
    def f(xs, h):
        return jitnet.scan(lambda h, x: (h * np.float32(0.5) + np.exp(x) * 3, None), h, xs)[0]

    graph = jitnet.jit(f).graph(*rnn_arrays()[:2])
    assert hoist(graph) is graph


def test_a_product_that_the_carry_reaches_stays():
    def f(xs, h, w):
        return jitnet.scan(lambda h, x: ((x + h) @ w, None), h, xs)[0]

    graph = jitnet.jit(f).graph(*rnn_arrays()[:3])
    assert hoist(graph) is graph


def test_stacks_have_a_bound(monkeypatch):
    for name in ("hoist", "sink"):
        monkeypatch.setattr(sys.modules[f"jitnet.passes.{name}"], "STACK_BYTES", 100)
    xs, h, w, u, b = rnn_arrays()
    graph = jitnet.jit(cell).graph(xs, h, w, u, b)
    assert hoist(graph) is graph
    _, result = hoisted(jitnet.grad(loss, argnums=(0, 1)), w, u, b, xs, h)
    assert loops(result)[1].params["num_carry"] == 3


def test_invariants_leave_the_loop():
    def f(xs, h, w):
        return jitnet.scan(lambda h, x: (np.tanh(h @ (w * w).T) + x, None), h, xs)[0]

    _, result = hoisted(f, *rnn_arrays()[:3])
    assert body_ops(result) == ["matmul", "tanh", "add"]
    assert names(result) == ["multiply", "transpose", "scan"]


def test_cheap_invariants_melt_into_the_body():
    def f(xs, h, b):
        return jitnet.scan(lambda h, x: (np.tanh(h + b * 2 + x), None), h, xs)[0]

    xs, h, _, _, b = rnn_arrays()
    graph = jitnet.jit(f).graph(xs, h, b)
    assert hoist(graph) is graph


def test_carries_handed_on_are_consts():
    def f(xs, h, w):
        def step(state, x):
            h, w = state
            return (np.tanh(x @ w + h), w), None
        return jitnet.scan(step, (h, w), xs)[0]

    _, result = hoisted(f, *rnn_arrays()[:3])
    (eqn,) = loops(result)
    assert eqn.params["num_carry"] == 1 and "matmul" not in body_ops(result)
    assert result.outputs[1] is result.inputs[2]


def test_ys_that_are_xs_need_no_loop():
    def f(xs, h, w):
        return jitnet.scan(lambda h, x: (h, x @ w), h, xs)[1]

    _, result = hoisted(f, *rnn_arrays()[:3])
    assert not loops(result) and names(result)[-1] == "matmul"


def test_nested_scans_hand_their_work_outward():
    def f(xs, h, w, u):
        def outer(h, x):
            return jitnet.scan(lambda h, row: (np.tanh(h @ u + row[None] @ w), None), h, x)[0], None
        return jitnet.scan(outer, h, xs)[0]

    xs, h, w, u, _ = rnn_arrays()
    _, result = hoisted(f, xs, h[:1], w, u)
    (outer,) = loops(result)
    (inner,) = loops(outer.params["body"])
    assert names(inner.params["body"]).count("matmul") == 1
    assert "matmul" in names(result)  # of all rows of all rounds
    compiled_agrees(f, xs, h[:1], w, u)


def test_while_loop_invariants():
    def f(h, w):
        return jitnet.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, np.tanh(s[1] @ np.exp(w))), (0, h))[1]

    _, result = hoisted(f, *rnn_arrays()[1:3])
    assert body_ops(result).count("exp") == 0 and names(result)[0] == "exp"
    compiled_agrees(f, *rnn_arrays()[1:3])


def test_what_may_fail_stays_in_a_loop_that_may_not_run():
    def f(h, table, i, n):
        return jitnet.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] + np.take(table, i)), (0, h))[1]

    h, table = arrays((), (4,))
    out = jitnet.jit(f)(h, table, np.int64(9), np.int64(0))  # an index that is out of bounds, never used
    np.testing.assert_array_equal(out, h)


def test_while_carries_handed_on_are_consts():
    def f(h, w):
        def body(s):
            i, h, w = s
            return i + 1, h @ np.exp(w), w
        return jitnet.while_loop(lambda s: (s[0] < 3) & (s[2].sum() < 1e9), body, (0, h, w))[1:]

    _, result = hoisted(f, *rnn_arrays()[1:3])
    assert len(loops(result)[0].outputs) == 2 and result.outputs[1] is result.inputs[1]
    compiled_agrees(f, *rnn_arrays()[1:3])


def test_a_loop_of_no_rounds_is_left_alone():
    xs, h, w, u, b = rnn_arrays(steps=0)
    graph = jitnet.jit(cell).graph(xs, h, w, u, b)
    assert hoist(graph) is graph
    np.testing.assert_array_equal(jitnet.jit(cell)(xs, h, w, u, b), h)


# after the loop

def test_gradients_of_weights_are_sums_over_all_rounds():
    gradient = jitnet.grad(loss, argnums=(0, 1, 2))
    xs, h, w, u, b = rnn_arrays()
    _, result = hoisted(gradient, w, u, b, xs, h)
    forward, backward = loops(result)
    assert names(forward.params["body"]).count("matmul") == names(backward.params["body"]).count("matmul") == 1
    assert backward.params["num_carry"] == 1
    products = [eqn for eqn in result.eqns if eqn.op.name == "matmul"]
    assert [eqn.inputs[0].type.shape for eqn in products] == [(5, 3, 4), (4, 15), (4, 15)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_by_finite_differences(reverse, dtype):
    def f(w, u, b, xs, h):
        last, ys = jitnet.scan(lambda h, x: ((new := np.tanh(x @ w + h @ u + b)), new.sum()), h, xs, reverse=reverse)
        return np.sum(last ** 2) + np.sum(ys ** 2)

    xs, h, w, u, b = rnn_arrays(dtype=dtype)
    args = w, u, b, xs, h
    found = jitnet.jit(jitnet.grad(f, argnums=(0, 1, 2, 3, 4)))(*args)
    wide = [a.astype(np.float64) for a in args]
    for k, g in enumerate(found):
        step = np.random.default_rng(k).normal(size=wide[k].shape)
        ahead, behind = ([*wide[:k], wide[k] + s * 1e-6 * step, *wide[k + 1:]] for s in (1, -1))
        slope = (f(*ahead) - f(*behind)) / 2e-6
        np.testing.assert_allclose(np.sum(g * step), slope, rtol=1e-4 if dtype == np.float64 else 2e-3)


def sums(step, *more):
    """A scan of (c, h) whose c sums what `step(h, x, *more)` gives."""
    def f(c, xs, h, w, *rest):
        def body(state, x):
            c, h = state
            return (c + step(h, x, *rest), np.tanh(h @ w + x)), None
        return jitnet.scan(body, (c, h), xs)[0]
    return f


TERMS = {
    "product": (lambda h, x: h.T @ x, (4, 4)),
    "neither transposed": (lambda h, x: h[:, :3] @ x, (3, 4)),
    "second transposed": (lambda h, x: h @ x.T, (3, 3)),
    "of a product transposed": (lambda h, x: (h.T @ x).T, (4, 4)),
    "two products": (lambda h, x: h.T @ x + np.sin(h).T @ x, (4, 4)),
    "a sum": (lambda h, x: np.sum(h * x, axis=0), (4,)),
    "a sum of all": (lambda h, x: np.sum(h * x), ()),
    "batched": (lambda h, x: h.reshape(3, 2, 2) @ x.reshape(3, 2, 2), (3, 2, 2)),
    "batched and summed": (lambda h, x: np.sum(h.reshape(3, 2, 2) @ x.reshape(3, 2, 2), axis=0), (2, 2)),
    "broadcast": (lambda h, x: h[0].reshape(2, 2) @ x.reshape(3, 2, 2), (3, 2, 2)),
    "vectors": (lambda h, x: h[0][:, None] * x[0][None, :], (4, 4)),
}


@pytest.mark.parametrize("name", TERMS)
def test_sums_that_are_carried(name):
    step, shape = TERMS[name]
    c, xs, h, w = arrays(shape, (5, 3, 4), (3, 4), (4, 4))
    _, result = hoisted(sums(step), c, xs, h, w)
    (eqn,) = loops(result)
    assert eqn.params["num_carry"] == (2 if name == "vectors" else 1)  # no product: elementwise work stays
    compiled_agrees(sums(step), c, xs, h, w)


def test_sums_keep_the_terms_that_are_no_products():
    step = lambda h, x: h.T @ x + np.outer(h[0], h[1])
    c, xs, h, w = arrays((4, 4), (5, 3, 4), (3, 4), (4, 4))
    _, result = hoisted(sums(step), c, xs, h, w)
    (eqn,) = loops(result)
    assert eqn.params["num_carry"] == 2 and names(eqn.params["body"]).count("matmul") == 1
    compiled_agrees(sums(step), c, xs, h, w)


def test_a_sum_that_the_body_reads_stays():
    def f(c, xs):
        return jitnet.scan(lambda c, x: (c + x.T @ x, np.max(c)), c, xs)

    c, xs = arrays((4, 4), (5, 3, 4))
    _, result = hoisted(f, c, xs)
    assert loops(result)[0].params["num_carry"] == 1


def test_a_sum_of_xs_alone_needs_no_loop():
    def f(c, xs):
        return jitnet.scan(lambda c, x: (c + x.T @ x, None), c, xs)[0]

    c, xs = arrays((4, 4), (5, 3, 4))
    _, result = hoisted(f, c, xs)
    assert not loops(result) and names(result).count("matmul") == 1


def test_integers_are_left_alone():
    c, xs = np.zeros(4, np.int64), np.arange(60).reshape(5, 3, 4)
    f = lambda c, xs: jitnet.scan(lambda c, x: (c + np.sum(x * c, axis=0), None), c, xs)[0]
    compiled_agrees(f, c, xs)


@pytest.mark.parametrize("batch", [1, 3])
def test_compiled_recurrence_and_its_gradient(batch):
    xs, h, w, u, b = rnn_arrays(steps=7, batch=batch)
    compiled_agrees(cell, xs, h, w, u, b)
    compiled_agrees(jitnet.grad(loss, argnums=(0, 1, 2, 3, 4)), w, u, b, xs, h, atol=1e-4)


def test_second_derivatives():
    xs, h, w, u, b = rnn_arrays(steps=3, batch=2, hidden=2, dtype=np.float64)
    f = jitnet.grad(lambda u: np.sum(jitnet.grad(loss, argnums=1)(w, u, b, xs, h) ** 2))
    compiled_agrees(f, u, rtol=1e-9, atol=1e-11)


def test_checkpointed_bodies():
    def f(w, u, b, xs, h):
        step = jitnet.checkpoint(lambda h, x: np.tanh(x @ w + h @ u + b))
        return np.sum(jitnet.scan(lambda h, x: (step(h, x), None), h, xs)[0] ** 2)

    xs, h, w, u, b = rnn_arrays()
    compiled_agrees(jitnet.grad(f, argnums=(0, 1, 2)), w, u, b, xs, h, atol=1e-4)


def test_passes_keep_loops_fast():
    """After all passes the body of a recurrent network holds one product and elementwise work."""
    graph = run_passes(jitnet.jit(cell).graph(*rnn_arrays()))[-1][1]
    assert body_ops(graph).count("matmul") == 1 and ops.matmul.name in names(graph)


def test_a_sum_loses_terms_of_both_kinds_and_keeps_others():
    step = lambda h, x: h.T @ x + x + np.outer(h[0], h[1])
    c, xs, h, w = arrays((4, 4), (5, 4, 4), (4, 4), (4, 4))
    _, result = hoisted(sums(step), c, xs, h, w)
    (eqn,) = loops(result)
    assert eqn.params["num_carry"] == 2 and names(result).count("sum") == names(result).count("matmul") == 1
    compiled_agrees(sums(step), c, xs, h, w)


STEPS = (  # of a random body, on 4 x 4 values
    lambda a, b: a @ b, lambda a, b: a.T @ b, lambda a, b: a @ b.T * 0.5, lambda a, b: np.tanh(a), lambda a, b: a + b,
    lambda a, b: a * b, lambda a, b: np.sum(a, axis=0)[None, :] * np.ones((4, 4)) * 0.3, lambda a, b: np.where(a > 0, a, b),
    lambda a, b: a.reshape(2, 2, 4).transpose(1, 0, 2).reshape(4, 4),
    lambda a, b: np.sum(a.reshape(2, 2, 4) @ b[:, :2], axis=0).repeat(2, 1).repeat(2, 0),
)
CARRIES = (  # the next of a carry c, from what the body computes
    lambda c, pick: c, lambda c, pick: np.tanh(pick()), lambda c, pick: c + pick() @ pick(),
    lambda c, pick: c + pick().T @ pick(), lambda c, pick: c + pick().T @ np.tanh(pick()) + pick(),
)


def random_loop(seed):
    """A scan, or a scan in a scan, of two consts, three carries (sums among them) and two xs, and arrays for it."""
    rng = np.random.default_rng(seed)
    reverse, nested, length = bool(rng.integers(2)), rng.integers(4) == 0, int(rng.integers(1, 5))

    def f(*args):
        w, carry, xs = args[:2], list(args[2:5]), list(args[5:])

        def body(c, x):
            draw = np.random.default_rng(seed)
            values = [*w, *c, *x]
            pick = lambda: values[int(draw.integers(len(values)))]
            for _ in range(int(draw.integers(2, 7))):
                values.append(STEPS[int(draw.integers(len(STEPS)))](pick(), pick()))
            new = [CARRIES[int(draw.integers(len(CARRIES)))](old, pick) for old in c]
            return new, [pick(), pick()]

        if nested:
            return jitnet.scan(lambda c, _: jitnet.scan(body, c, xs, reverse=reverse), carry, None, length=2)
        return jitnet.scan(body, carry, xs, reverse=reverse)

    return f, [0.5 * rng.normal(size=s) for s in [(4, 4)] * 5 + [(length, 4, 4)] * 2]


@pytest.mark.parametrize("seed", range(24))
def test_random_loops(seed):
    f, args = random_loop(seed)

    def loss(*args):
        return sum(np.sum(np.tanh(x)) for x in jitnet.tree.flatten(f(*args))[0])

    for function in (f, jitnet.grad(loss, argnums=tuple(range(7)))):
        graph = jitnet.jit(function).graph(*args)
        result = check_graph(hoist(graph))
        for x, y in zip(eval_graph(result, *args), eval_graph(graph, *args), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-9)
    if seed < 4:
        compiled_agrees(function, *args, rtol=1e-8, atol=1e-9)
