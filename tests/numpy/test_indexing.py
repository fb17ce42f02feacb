"""Reading and writing through indices: every kind of key against NumPy, views that write through, random programs of both."""
import numpy as np
import pytest

import jitnet.numpy as jnp
from jitnet.errors import TraceIndexError, TraceTypeError, TraceValueError
from jitnet.tracer import trace
from jitnet.types import F64, I64, ArrayType

X = np.arange(60.0).reshape(3, 4, 5)
I = np.array([0, 2, -1])
J = np.array([[1, 0], [3, -2]])
B3 = np.array([True, False, True])

KEYS = {
    "int": 1, "negative": -1, "slice": np.s_[1:], "steps": np.s_[::2, 1:4:2], "reversed": np.s_[::-1, ::-2],
        "empty": np.s_[2:1],
    "ellipsis": np.s_[..., 0], "ellipsis between": np.s_[0, ..., 1:3], "newaxis": np.s_[:, None, 1],
        "newaxes": np.s_[None, ..., None],
    "scalar": np.s_[1, 2, 3], "0-d view": np.s_[1, 2, 3, ...], "beyond": np.s_[-9:9], "numpy int": np.int64(2),
        "0-d array": np.array(1),
    "list": [0, 2], "array": I, "array 2-d": J[:, :1] % 3, "second": np.s_[:, J], "third": np.s_[:, :, I], "two": np.s_[I, I],
    "two apart": np.s_[I, :, I], "two broadcast": np.s_[J % 3, I[:2]], "with slice": np.s_[1:, I], "with int": np.s_[0, I],
        "int after": np.s_[I, 1],
    "int apart": np.s_[I, :, 1], "int between": np.s_[:, 1, I], "new between": np.s_[I, None, I],
        "slice step": np.s_[::2, ::-1, I],
    "mask": B3, "mask second": np.s_[:, np.array([True, False, True, True])], "mask 2-d": X[:, :, 0] > 25, "mask full": X > 30,
    "mask and array": np.s_[B3, [0, 1]], "empty list": [], "uint": np.array([1, 2], np.uint8),
}


@pytest.mark.parametrize("name", KEYS)
def test_reading(name, same):
    key = KEYS[name]
    same(lambda x: [x[key], x[key] * 2], X)


@pytest.mark.parametrize("name", KEYS)
def test_writing(name, same):
    key = KEYS[name]
    shape = X[key].shape
    rng = np.random.default_rng(1)

    def write(x, v, s):
        y = x * 1.0
        y[key] = v
        z = x + 0
        z[key] = s
        w = x + 0
        w[key] = 7
        u = x + 0
        u[key] += 1.5
        return [y, z, w, u]

    same(write, X, rng.normal(size=shape), rng.normal())


def test_writing_casts_and_broadcasts(same):
    def write(i, x):
        i = i + 0
        i[0] = 2.9
        i[1:3] = x[0, :2]
        i[..., None][3] = x[1, 1:2]
        x = x + 0
        x[:] = x[0]
        x[:, 1] = np.array([[5.0, 6.0, 7.0]])
        x[1:] += i[:2, None]
        return [i, x]

    same(write, np.arange(5), np.linspace(0, 9, 9).reshape(3, 3))


def test_views_write_through(same):
    def write(x):
        y = x * 1.0
        y[0][1] = 5
        y[1:][:, 2] = 7
        y.T[3, 0] = -1
        y.reshape(-1)[-1] = 9
        y.ravel()[5:7] = 11
        y[::-1, ::2][0, 1] = 13
        np.transpose(y)[1] *= 2
        y.swapaxes(0, 1)[2, 1] = 17
        np.expand_dims(y, 0)[0, 0, 3] = 19
        y[:, None][2, 0, 0] = 23
        row = y[1]
        row += 100
        row[0] = 3
        y[1, 3] = 31          # the view sees it
        flat = y.T.reshape(-1)  # a copy in NumPy: the transpose is not contiguous
        flat[0] = 1000
        y[2, 1:3].reshape(2, 1)[0] = 37
        return [y, row, flat, y.diagonal(), y[0, 0, ...]]

    same(write, np.arange(12.0).reshape(3, 4))


def test_what_is_a_copy_stays(same):
    def copies(x):
        y = x * 1.0
        kept = [y[0, 0], +y, y.copy(), y.flatten(), y[[0, 1]], y.astype(np.float64), np.concatenate([y]), np.array(0) + y[1],
                y.reshape(3, 4) + 0,
                np.round(y), y * 1]
        y[...] = -1
        return [*kept, y]

    same(copies, np.arange(12.0).reshape(3, 4))


def test_views_of_views_read_again(same):
    def f(x):
        y = x * 2.0
        a = y[1:]
        b = a[:, ::2]
        c = b.T
        before = c + 0
        y[2] = 50
        a[0, 0] = 60
        b[...] += 1
        return [before, a, b, c, y]

    same(f, np.arange(12.0).reshape(3, 4))


def test_swapping_reads_before_it_writes(same):
    def f(x):
        y = x + 0
        y[0], y[1] = y[1].copy(), y[0].copy()
        y[:, 0], y[:, 1] = y[:, 1] * 2, y[:, 0] * 3
        y[1:] = y[:-1]
        return [y]

    same(f, np.arange(12.0).reshape(4, 3))


def test_traced_indices(same):
    def f(x, i, j):
        y = x + 0.0
        k = i[0]
        row = y[k]
        row[1] = 5
        y[k, j[0]] += 1
        y[:, i] *= 2
        y[i, j] = -3
        y[y > 40] = 0
        y[i[0]] = j[0]
        np.add.at(y, i, 1.0)
        np.subtract.at(y, (i, j), [1.0, 2.0, 3.0])
        return [y, row, x[k], x[i[0], 1:], x[..., i[1]], x[i], x[:, i], x[i, j], x[j - 4, None], np.take(x, i, axis=1),
                x[1:, i[1]]]

    x = np.arange(16.0).reshape(4, 4) * 4
    same(f, x, np.array([1, 0, 1]), np.array([0, 3, 2]))


def test_put_along_axis(same):
    def f(x, i):
        y = x + 0
        np.put_along_axis(y, i, 9.0, axis=1)
        return [y, np.take_along_axis(y, i, 1)]

    same(f, np.arange(12.0).reshape(3, 4), np.array([[1], [0], [-1]]))


def test_traced_mask_writes(same):
    def f(x, v):
        y = x + 0.0
        y[y > 5] = -1
        y[v > 0] = v
        y[(v < 0)[:, None] & (y < 3)] = 2.5
        return [y]

    same(f, np.arange(9.0).reshape(3, 3), np.array([1.0, -1.0, 2.0])[:3])


def test_a_slice_written_in_place_is_written_once():
    def f(x):
        y = x + 1.0
        y[1:] += 2.0
        return [y]

    graph = trace(f, [ArrayType((4,), F64)], "f").graph
    assert [e.op.name for e in graph.eqns].count("update_slice") == 1


def test_random_reads_and_writes(same):
    """Random keys, views of views and writes: the traced program and NumPy agree element for element."""
    def key(rng, shape):
        parts = []
        for n in shape:
            kind = rng.integers(0, 6)
            if kind == 0 and n:
                parts.append(int(rng.integers(-n, n)))
                continue
            if kind == 1 and n:
                parts.append(rng.integers(-n, n, int(rng.integers(1, 4))))
                continue
            if kind == 2:
                parts.append(None)
            step = int(rng.choice([-2, -1, 1, 2, 3]))
            a, b = sorted(int(v) for v in rng.integers(0, n + 1, 2))
            parts.append(slice(a, b, step) if step > 0 else slice(b - 1 if b else None, a - 1 if a else None, step))
            if rng.random() < 0.15:
                break
        arrays = [k for k in parts if isinstance(k, np.ndarray)]
        parts = [k[:len(min(arrays, key=len))] if isinstance(k, np.ndarray) else k for k in parts]
        return tuple(parts)

    for seed in range(80):
        def program(x, seed=seed):
            rng = np.random.default_rng(seed)
            y = x + 0
            views, outs = [y], []
            for _ in range(5):
                base = views[int(rng.integers(len(views)))]
                k = key(rng, base.shape)
                part = base[k]
                outs.append(part * 1.0)
                if part.ndim and not any(isinstance(p, np.ndarray) for p in k):
                    views.append(part if rng.random() < 0.5 else part.T if rng.random() < 0.7 else part.reshape(-1))
                target = views[int(rng.integers(len(views)))]
                k = key(rng, target.shape)
                if rng.random() < 0.5:
                    target[k] = float(rng.integers(100))
                elif not any(isinstance(p, np.ndarray) for p in k):
                    target[k] *= 2.0
            return [*outs, *views]

        same(program, np.arange(24.0).reshape(4, 6) if seed % 2 else np.arange(24.0).reshape(2, 3, 4))


def message(call, *types):
    with pytest.raises((TraceIndexError, TraceTypeError, TraceValueError)) as info:
        trace(lambda *xs: [call(*xs)], types, "f")
    return info.value.what, info.value.hint


A, V = ArrayType((3, 4), F64), ArrayType((5,), I64)


@pytest.mark.parametrize("call, what, hint", [
    (lambda x, v: x[3], "index 3 is out of bounds for axis 0 with size 3", "indices go from -3 to 2"),
    (lambda x, v: x[:, [0, 7]], "index 7 is out of bounds for axis 1 with size 4", "indices go from -4 to 3"),
    (lambda x, v: x[0, 0, 0], "too many indices: 3 for an array of 2 dimensions", "give 2 at most"),
    (lambda x, v: x["a"], "a str cannot index an array", "use integers, slices, None, ..., integer arrays or masks"),
    (lambda x, v: x[..., ...], "an index can only have a single ellipsis ('...')", "leave one of them out"),
    (lambda x, v: x[x > 0], "a traced mask as an index: the size of the result depends on its values",
     "use `jitnet.where(mask, x, other)`; what is computed from `x[mask]` element by element can be summed, or assigned to "
     "`x[mask]`"),
    (lambda x, v: x[x], "an array of float64 cannot index", "convert it with `astype(np.int64)`; for a mask use a bool array"),
    (lambda x, v: x[v[0]:], "a slice needs integers known while tracing",
     "use `jitnet.numpy.take` with an index array, or `x[i + jitnet.numpy.arange(n)]` for n elements from a traced i"),
    (lambda x, v: x[v[:2], v[:3]], "index arrays do not broadcast: (2,) and (3,)", "give them shapes that broadcast"),
    (lambda x, v: np.nonzero(x), "nonzero: the size of the result depends on the values of a traced array",
     "use `jitnet.where` with a value for every element, or call it outside the compiled function"),
    (lambda x, v: x.__setitem__((0,), np.zeros(3)), "could not broadcast a value of shape (3,) into a region of shape (4,)",
     "give the value the shape of the region"),
    (lambda x, v: np.broadcast_to(x, (2, 3, 4)).__setitem__(0, 1), "a broadcast array is read-only, as in NumPy",
     "copy it first: `x.copy()`"),
])
def test_errors(call, what, hint):
    assert message(call, A, V) == (what, hint)


def test_index_out_of_bounds_when_run(traced):
    with pytest.raises(IndexError, match="index 9 is out of bounds for axis 0 with size 3"):
        traced(lambda x, i: [x[i]], np.zeros(3), np.array([9]))
    with pytest.raises(IndexError, match="index -1 is out of bounds for axis 0 with size 3"):
        traced(lambda x, i: [x[i]], np.zeros(3), np.array([-4]))  # -4 + 3


def test_out_of_bounds_modes(same):
    same(lambda x: [jnp.take(x, np.array([7, -9]), mode="clip"), jnp.take(x, np.array([7, -9]), mode="wrap")], np.arange(4.0))


@pytest.mark.parametrize("rows", [np.arange(4), None], ids=["NumPy's arange", "traced arange"])
def test_one_element_per_row_needs_no_scatter(rows):
    """The usual way to pick the log-probability of each label: its derivative compares positions, which fuses."""
    from jitnet.transforms import grad

    def loss(x, y):
        return x[jnp.arange(4) if rows is None else rows, y].sum()

    x, y = np.arange(12.0).reshape(4, 3), np.array([0, 2, -1, 1])
    graph = trace(lambda x, y: [grad(loss)(x, y)], [ArrayType((4, 3), F64), ArrayType((4,), I64)], "f").graph
    assert "scatter_add" not in {e.op.name for e in graph.eqns}
    expected = np.zeros((4, 3))
    expected[np.arange(4), y] = 1
    np.testing.assert_array_equal(graph(x, y)[0], expected)
