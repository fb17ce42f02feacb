"""Steps that run together piece by piece: which are joined, which must not be, and the same bits as apart."""
import dataclasses

import numpy as np
import pytest

import jitnet
from jitnet.runtime import joining, program, threads
from jitnet.runtime.joining import Joined, Span, join
from jitnet.runtime.program import KernelStep, Program, Slot

N, GRAIN = 1000, 100
IN, MIDDLE, OUT = Slot("input", 0), Slot("arena", 0, 0), Slot("output", 0)


def step(kernel, source, target, grain=GRAIN, extent=N, period=1, item=4, reads=True):
    """A kernel that reads element i, if at all, where it writes element i."""
    spans = (Span(4 * N, item if reads else 0, False), Span(4 * N, item, True))
    return KernelStep(kernel, (source, target), (), extent, grain, spans, period)


@pytest.fixture
def steps(elementwise):
    add, double = elementwise("a[i] + f32(1)", 1), elementwise("a[i] * f32(2)", 1)
    return step(add, IN, MIDDLE), step(double, MIDDLE, OUT)


def test_what_one_writes_the_next_reads(steps, array_type, rng):
    (both,) = join(steps)
    assert both == Joined(((steps[0], GRAIN), (steps[1], GRAIN)), N // GRAIN)
    x, t = rng.standard_normal(N, dtype=np.float32), array_type((N,))
    results = set()
    for count in (1, 2, 3):
        before = threads.get_num_threads()
        threads.set_num_threads(count)
        try:
            results.add(Program(steps, [t], [t], 4 * N).run([x])[0].tobytes())
        finally:
            threads.set_num_threads(before)
    assert results == {((x + 1) * 2).tobytes()}


def test_three_steps_and_a_last_piece_that_is_shorter(steps, array_type, rng):
    first, second = (dataclasses.replace(s, grain=300) for s in steps)
    third = dataclasses.replace(second, buffers=(OUT, OUT))
    (both,) = join([first, second, third])
    assert len(both.links) == 3 and both.pieces == 4
    x, t = rng.standard_normal(N, dtype=np.float32), array_type((N,))
    assert Program([first, second, third], [t], [t], 4 * N).run([x])[0].tobytes() == ((x + 1) * 4).tobytes()


def test_a_write_into_an_argument_is_joined_like_any_other(steps):
    """Every call makes sure that its memory is no other argument's."""
    first, second = steps
    into, after = (dataclasses.replace(s, buffers=b) for s, b in ((first, (MIDDLE, IN)), (second, (IN, OUT))))
    assert join([into, after]) == [Joined(((into, GRAIN), (after, GRAIN)), N // GRAIN)]
    shifted = dataclasses.replace(after, buffers=(dataclasses.replace(IN, offset=4), OUT))
    assert join([into, shifted]) == [into, shifted]


def test_layers_that_write_into_arguments(rng, monkeypatch):
    def function(x, w, v, out, total):
        out[...] = np.maximum(x @ w, 0)
        total[...] = (out @ v).sum(axis=0)

    x, w, v = (rng.standard_normal(shape, dtype=np.float32) for shape in ((1024, 96), (96, 128), (128, 64)))

    def run():
        f, out, total = jitnet.jit(function), np.zeros((1024, 128), np.float32), np.zeros(64, np.float32)
        f(x, w, v, out, total)
        return [out.tobytes(), total.tobytes()], f.lower(x, w, v, out, total).program.steps

    found, steps = run()
    first = join(steps)[0]
    assert type(first) is Joined and first.links[1][0].buffers[1].kind == "input"   # the relu writes into `out`
    monkeypatch.setattr(program, "join", list)
    assert run()[0] == found


@pytest.mark.parametrize("change", [
    {"buffers": (Slot("arena", 0, 4), OUT)},           # one element further on
    {"buffers": (Slot("arena", 0, 8 * N), OUT)},       # something else
    {"spans": ()},
    {"spans": (Span(4 * N, 0, False), Span(4 * N, 4, True))},   # reads elements of other pieces
    {"extent": 2 * N},
    {"period": 7}])
def test_steps_that_stay_apart(steps, change):
    assert len(join([steps[0], dataclasses.replace(steps[1], **change)])) == 2


def test_a_step_that_would_overwrite_what_other_pieces_read(steps):
    read = Span(4 * N, 0, False), steps[0].spans[1]
    first = dataclasses.replace(steps[0], buffers=(Slot("arena", 0, 4096), MIDDLE), spans=read)
    assert len(join([first, dataclasses.replace(steps[1], buffers=(MIDDLE, Slot("arena", 0, 6000)))])) == 2
    assert len(join([first, dataclasses.replace(steps[1], buffers=(MIDDLE, Slot("arena", 0, 16000)))])) == 1


def test_a_step_passes_others_that_do_not_mind(steps, array_type, rng):
    first, second = steps
    other = dataclasses.replace(first, buffers=(IN, Slot("arena", 0, 8 * N)))
    (both, between) = join([first, other, second])
    assert [link for link, _ in both.links] == [first, second] and between == other
    x, t = rng.standard_normal(N, dtype=np.float32), array_type((N,))
    assert Program([first, other, second], [t], [t], 16 * N).run([x])[0].tobytes() == ((x + 1) * 2).tobytes()


@pytest.mark.parametrize("change", [
    {"buffers": (OUT, Slot("arena", 0, 8 * N))},      # reads what the step writes
    {"buffers": (IN, OUT)},                           # writes what the step writes
    {"buffers": (IN, Slot("arena", 0, 4 * N - 4))},   # writes an element of what the step reads
    {"spans": ()}])
def test_a_step_does_not_pass_what_minds(steps, change):
    first, second = steps
    other = dataclasses.replace(first, grain=0, buffers=(IN, Slot("arena", 0, 8 * N)))
    assert len(join([first, other, second])) == 2
    assert len(join([first, dataclasses.replace(other, **change), second])) == 3


def test_a_step_passes_a_few_others_at_most(steps):
    first, second = steps
    place = lambda i: Slot("arena", 0, 4 * N * (i + 2))
    others = [dataclasses.replace(first, grain=0, buffers=(IN, place(i))) for i in range(joining.PASSED)]
    assert len(join([first, *others[:-1], second])) == joining.PASSED
    assert len(join([first, *others, second])) == joining.PASSED + 2


def test_a_serial_step_begins_nothing(steps):
    assert len(join([dataclasses.replace(steps[0], grain=0), steps[1]])) == 2


def test_buffers_that_move_differently_count_as_the_same():
    a, b = Slot("arena", 0, 0, ((0, 8),)), Slot("arena", 0, 64)
    assert joining.overlap(a, Span(8, 8, True), b, Span(8, 8, True))
    assert not joining.overlap(a, Span(8, 8, True), Slot("arena", 0, 64, ((0, 8),)), Span(8, 8, True))


# Whole functions

def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def masked_and_sum(ct, h):
    masked = np.where(h > 0, ct, 0)
    return masked, masked.sum(axis=0)


LAYERS = {
    "relu": lambda x, w, b: np.maximum(x @ w + b, 0),
    "softmax": lambda x, w, b: softmax(x @ w + b),
    "both": lambda x, w, b: (np.tanh(x @ w), (x @ w) * b),
    "kept": lambda x, w, b: (np.maximum(x @ w, 0), x @ w),
    "sum": lambda x, w, b: (x @ w + b).sum(axis=0),
    "turned": lambda x, w, b: np.maximum(x @ w, 0).T * 2,
    "shifted": lambda x, w, b: (x @ w)[1:] + (x @ w)[:-1],
    "deeper": lambda x, w, b: np.tanh(np.maximum(x @ w + b, 0) @ w[:, :9].copy()[:80] * 2) @ w[:9],
    "gradients": lambda x, w, b: masked_and_sum((x @ w) * b, x @ w),
    "descent": lambda x, w, b: w - 0.1 * (x.T @ np.maximum(x @ w, 0)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rows", [400, 1023])
def test_layers_joined_and_apart(name, rows, rng, monkeypatch):
    x, w = rng.standard_normal((rows, 96), dtype=np.float32), rng.standard_normal((96, 80), dtype=np.float32)
    b = rng.standard_normal(80, dtype=np.float32)
    joined, apart = jitnet.jit(LAYERS[name]), jitnet.jit(LAYERS[name])
    found = joined(x, w, b)
    monkeypatch.setattr(program, "join", list)
    expected, meant = apart(x, w, b), LAYERS[name](x, w, b)
    for a, e, m in zip(*((v if isinstance(v, tuple) else (v,)) for v in (found, expected, meant)), strict=True):
        assert a.tobytes() == e.tobytes()
        np.testing.assert_allclose(a, m, rtol=2e-4, atol=2e-3)


def test_layers_and_column_sums_are_one_step_each_piece(rng):
    x, w = rng.standard_normal((1024, 96), dtype=np.float32), rng.standard_normal((96, 64), dtype=np.float32)
    v, y = rng.standard_normal((64, 10), dtype=np.float32), rng.standard_normal((1024, 10), dtype=np.float32)
    f = jitnet.jit(lambda x, w, v, y: softmax(np.maximum(x @ w, 0) @ v) - y)
    f(x, w, v, y)
    assert [len(step.links) for step in join(f.lower(x, w, v, y).program.steps)] == [4]
    g = jitnet.jit(lambda y, v, h: masked_and_sum(y @ v.T, h))
    h = rng.standard_normal((1024, 64), dtype=np.float32)
    for a, b in zip(g(y, v, h), masked_and_sum(y @ v.T, h)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    assert len(join(g.lower(y, v, h).program.steps)[0].links) == 2


def dense_gradients(x, w, v, dy):
    """Of two layers: the gradients of both weights, and of what goes in."""
    h = np.maximum(x @ w, 0)
    dh = np.where(h > 0, dy @ v.T, 0)
    return h.T @ dy, x.T @ dh, dh @ w.T, dh.sum(axis=0)


@pytest.mark.parametrize("rows", [1024, 1000])
def test_gradients_of_weights_run_beside_the_rows_they_are_made_of(rows, rng, monkeypatch):
    shapes = ((rows, 96), (96, 128), (128, 64), (rows, 64))
    args = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    f, apart = jitnet.jit(dense_gradients), jitnet.jit(dense_gradients)
    found = {}
    for count in (1, 2, 3):
        before = threads.get_num_threads()
        threads.set_num_threads(count)
        try:
            found[count] = f(*args)
        finally:
            threads.set_num_threads(before)
    if rows == 1024:   # product, relu, product, gradient of relu, product in parts
        assert max(len(step.links) for step in join(f.lower(*args).program.steps) if type(step) is Joined) == 5
    monkeypatch.setattr(program, "join", list)
    for *others, expected in zip(*found.values(), apart(*args), strict=True):
        assert {a.tobytes() for a in others} == {expected.tobytes()}
    for a, e in zip(found[1], dense_gradients(*args), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=2e-2)


@pytest.mark.parametrize("shape", [((6, 40, 30), (6, 30, 20)), ((6, 40, 30), (30, 20)), ((6, 1, 300), (6, 300, 200))])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_batch_of_products_and_what_follows(shape, flipped, rng, monkeypatch):
    def function(x, y):
        return np.tanh((x[::-1] if flipped else x) @ y).sum(axis=-1)

    x, y = (rng.standard_normal(s, dtype=np.float32) for s in shape)
    found = jitnet.jit(function)(x, y)
    monkeypatch.setattr(program, "join", list)
    assert jitnet.jit(function)(x, y).tobytes() == found.tobytes()
    np.testing.assert_allclose(found, function(x, y), rtol=1e-4, atol=1e-4)


def test_explain_names_them(rng):
    x, w = rng.standard_normal((1024, 96), dtype=np.float32), rng.standard_normal((96, 80), dtype=np.float32)
    f = jitnet.jit(LAYERS["relu"])
    f(x, w, w[0])
    assert str(f.explain(x, w, w[0])).count("joined with the step before") == 1
    (both,) = join(f.lower(x, w, w[0]).program.steps)
    assert len(both.links) == 2
    assert f.lower(x, w, w[0]).program.arena_bytes < 4 * 1024 * 80   # the product lies where the result will


def test_sizes_never_seen(rng):
    f = jitnet.jit(LAYERS["relu"])
    w = rng.standard_normal((96, 80), dtype=np.float32)
    for rows in (300, 700, 1024, 50, 2000, 1):
        x = rng.standard_normal((rows, 96), dtype=np.float32)
        np.testing.assert_allclose(f(x, w, w[0]), LAYERS["relu"](x, w, w[0]), rtol=2e-4, atol=2e-4)
