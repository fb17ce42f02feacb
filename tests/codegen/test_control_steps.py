"""Loops as steps: carries in place, or in two places that take turns; the printed program does the same."""
import numpy as np
import pytest

import jitnet
from jitnet import tree
from jitnet.ir import eval_graph
from jitnet.nn.functional import relu
from jitnet.runtime.program import LoopStep

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 8)).astype(np.float32)
W = (0.3 * RNG.normal(size=(8, 8))).astype(np.float32)


def rows(n, *shape):
    return (0.5 * RNG.normal(size=(n, *shape))).astype(np.float32)


def agrees(function, *args):
    """The compiled function, and the program that its source is, give what the graph means."""
    f = jitnet.jit(function)
    expected = eval_graph(f.graph(*args), *[np.asarray(a) for a in args])
    for _ in range(2):
        for x, y in zip(tree.flatten(f(*args))[0], expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    scope: dict = {}
    exec(f.source(*args), scope)
    printed = [v for k, v in scope.items() if callable(v) and getattr(v, "__module__", None) is None
               and not k.startswith(("kernel", "copy", "matmul", "flat", "shaped"))][-1]
    found = printed(*args)
    for x, y in zip(found if isinstance(found, tuple) else [found], expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    return f


def loops(steps):
    found = [s for s in steps if isinstance(s, LoopStep)]
    return found + [inner for s in found for inner in loops(s.body)]


def program_of(f, *args):
    return f.lower(*args).program


def blur(u, x):
    """Reads its neighbours: cannot happen in place."""
    return 0.5 * u + 0.25 * u[:, ::-1] + x


@pytest.mark.parametrize("n", [0, 1, 2, 3, 6, 7])
@pytest.mark.parametrize("reverse", [False, True])
def test_places_take_turns(n, reverse):
    def f(u, xs):
        return jitnet.scan(lambda u, x: (blur(u, x), u.sum()), u, xs, reverse=reverse)

    f = agrees(f, X, rows(n, 8))
    (loop,) = loops(program_of(f, X, rows(n, 8)).steps)
    assert len(loop.turns) == 1 and loop.count == n


@pytest.mark.parametrize("n", [1, 4, 5])
def test_carries_that_change_places(n):
    agrees(lambda a, b, xs: jitnet.scan(lambda c, x: ((c[1], blur(c[0], x)), c[0]), (a, b), xs), X, 2 * X, rows(n, 8))


@pytest.mark.parametrize("n", [4, 5])
def test_a_carry_is_written_in_place_once_nobody_reads_the_old_one(n):
    def f(h, xs):
        return jitnet.scan(lambda h, x: (np.tanh(h @ W + x), h), h, xs)

    f = agrees(f, X, rows(n, 8))
    (loop,) = loops(program_of(f, X, rows(n, 8)).steps)
    assert not loop.turns and len(loop.body) == 3  # the old carry to its y, the product, tanh


def test_views_of_the_old_carry_are_read_before_it_is_overwritten():
    agrees(lambda h, xs: jitnet.scan(lambda h, x: (np.tanh(h @ W + x), h.reshape(8, 6)), h, xs), X, rows(5, 8))
    agrees(lambda h, xs: jitnet.scan(lambda h, x: (np.tanh(h @ W + x), h.T), h, xs), X, rows(5, 8))
    agrees(lambda h, xs: jitnet.scan(lambda h, x: (np.tanh(h @ W) + h.T.reshape(6, 8), x), h, xs), X, rows(5, 8))


def test_lstm_cell():
    w = rows(8, 32)

    def cell(state, x):
        h, c = state
        i, f, g, o = np.split(h @ w + x, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        return (h, c), h

    for n in (4, 5):
        agrees(lambda h, c, xs: jitnet.scan(cell, (h, c), xs), X, 0 * X, rows(n, 6, 32))


@pytest.mark.parametrize("inner, outer", [(3, 2), (2, 3), (1, 1), (4, 5)])
def test_nested_loops(inner, outer):
    def f(u, xs):
        def step(u, x):
            u, ys = jitnet.scan(blur_and_y, u, x)
            return u + 1, ys
        return jitnet.scan(step, u, xs)

    def blur_and_y(u, x):
        return blur(u, x), u[0]

    f = agrees(f, X, rows(outer, inner, 8))
    found = loops(program_of(f, X, rows(outer, inner, 8)).steps)
    assert [bool(loop.turns) for loop in found] == [False, True]  # the inner body stands twice in the program, not four times


def test_a_callback_in_a_loop_whose_places_take_turns():
    agrees(lambda u, xs: jitnet.scan(lambda u, x: (np.sort(blur(u, x), axis=1), None), u, xs)[0], X, rows(5, 8))


def test_branches_in_a_loop_whose_places_take_turns():
    def f(u, xs):
        return jitnet.scan(lambda u, x: (jitnet.cond(x[0] > 0, lambda: blur(u, x), lambda: u[::-1] - x), None), u, xs)[0]

    agrees(f, X, rows(7, 8))


def test_a_loop_until_a_condition_copies_its_carry():
    def f(u):
        return jitnet.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, blur(s[1], 0.1)), (0, u))[1]

    f = agrees(f, X)
    (loop,) = loops(program_of(f, X).steps)
    assert not loop.turns


def test_bodies_go_through_every_pass():
    """The last one too: the kernel of relu's gradient reads what relu gave, in a loop as outside of it."""
    x, bias = rows(3, 6, 8), RNG.normal(size=8).astype(np.float32)

    def gradient(x, w, b):
        return jitnet.grad(lambda w: np.sum(np.tanh(relu(x @ w + b) @ W.T)))(w)

    def of_the_bias(function, *args):
        kernels = [k for k in jitnet.jit(function).lower(*args).kernels if k.kind == "kernel"]
        return sum(any(slot.kind == "input" for slot in k.step.buffers) for k in kernels)

    def scanned(w, b, xs):
        return jitnet.scan(lambda w, x: (w - gradient(x, w, b), None), w, xs)[0]

    def chosen(w, b, xs):
        return jitnet.cond(b[0] > 0, lambda: gradient(xs[0], w, b), lambda: w)

    assert of_the_bias(gradient, x[0], W, bias) == 1
    for function, count in ((scanned, 1), (chosen, 2)):   # of the second, the predicate too
        assert of_the_bias(function, W, bias, x) == count
        agrees(function, W, bias, x)
