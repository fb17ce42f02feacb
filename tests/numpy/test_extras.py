"""Writes by function, functions applied along axes, slopes on uneven grids, and questions with one answer for real numbers."""
import numpy as np
import pytest

import jitnet

X = np.random.default_rng(4).normal(size=(3, 4))


def _written(x):
    a, b, c, d = (x * 1 for _ in range(4))
    np.put(a, [0, -1, 5], [7.0, 8.0])
    a.put([20, -20], 1.0, mode="wrap")
    np.put(a, [30, 2], x[0, :2], mode="clip")
    np.place(b, b > 0, [1.0, 2.0, 3.0])
    np.putmask(c, c > 0, np.array([4.0, 5.0]))
    np.putmask(d, d > 0, d * 2)
    return [a, b, c, d]


def test_writes(same):
    same(_written, X)


def test_functions_along_axes(same):
    def rows(r, power=1):
        return (r / np.sqrt(np.sum(r * r))) ** power

    same(lambda x: [np.apply_along_axis(rows, 1, x), np.apply_along_axis(rows, 0, x, 2), np.apply_along_axis(np.sum, -1, x),
                    np.apply_along_axis(np.outer, 0, x, [1.0, 2.0]), np.apply_along_axis(rows, 0, x[0], power=3),
                    np.apply_over_axes(np.sum, x, (0, 1)), np.apply_over_axes(np.max, x, -1)], X)
    np.testing.assert_allclose(jitnet.grad(lambda x: np.apply_along_axis(np.sum, 0, x * x).sum())(X), 2 * X)


@pytest.mark.parametrize("order", [1, 2])
def test_slopes(order, same):
    same(lambda x, t: [*np.gradient(x, edge_order=order), np.gradient(x[0], t, edge_order=order),
                       *np.gradient(x, 0.5, t, edge_order=order), np.gradient(x, t[:3], axis=0, edge_order=order)],
         X, np.array([0.0, 0.5, 2.0, 2.5]))
    with pytest.raises(ValueError, match="gradient: an axis of 1 is too short"):
        jitnet.jit(np.gradient)(X[:1])


def test_periods_and_vectors(same):
    same(lambda x: [np.interp(x, [0.5, 3.0, 1.0], [1.0, 2.0, 3.0], period=2.0), np.convolve(2.0, x[0]),
                    np.linalg.cross(x[:, :3], x[0, :3]), np.array_equiv(x, x[:2]), np.linalg.matrix_rank(x, [0.1, 5.0])], X)
    same(lambda x: [np.linalg.tensorsolve((x + np.eye(4)).reshape(2, 2, 4), x[:2, :2]),
                    np.linalg.tensorinv((x + np.eye(4)).reshape(4, 2, 2), 1)], np.random.default_rng(0).normal(size=(4, 4)))
    with pytest.raises(ValueError, match="convolve: takes 1-d arrays, not 2-d and 1-d"):
        jitnet.jit(lambda x: np.convolve(x, x[0]))(X)


def test_real_numbers(same):
    same(lambda x: [np.angle(x), np.angle(x, deg=True), np.angle(np.array([0.0, -0.0, 2.0]) * x[0, :1] ** 2), np.iscomplex(x),
                    np.real_if_close(x), np.isposinf(x, x * 1), np.isneginf(x)], X)


def test_dtypes_of_bools_and_weak_limits(same):
    bools, small = np.array([True, False]), np.array([1, 200], np.uint8)
    same(lambda b, i: [np.max(b, initial=1), np.clip(b, 0, i), np.select([b, b], [b, b], 1), np.logaddexp.reduce(b)],
         bools, np.int32(3))
    same(lambda u, i: [np.clip(u, -1, i), np.clip(u, -1, 300), np.sum(u, initial=2.5), np.min(u, initial=2.5),
                       np.logaddexp.reduce(u.astype(np.uint16)), np.unwrap(u)], small, np.int16(3))
    same(lambda x, y: [np.max(x, initial=y), np.clip(x, y, 3), np.prod(x, initial=y)], np.float32([1, 5]), np.float64(2))


def test_no_axes_and_no_elements(same):
    same(lambda x: [np.max(x, axis=0), np.argmin(x, -1), np.minimum.reduce(x), np.logical_or.reduce(x), np.sum(x, axis=-1)],
         3.0)
    same(lambda x: np.resize(x, (2, 3)), np.zeros(0, np.float32))
    with pytest.raises(TypeError, match="there is no axis 1"):
        jitnet.jit(lambda x: np.max(x, axis=1))(3.0)


def test_masks_without_axes(same):
    def masked(x, c):
        x[c > 0] *= 3
        x[c > 4] = 7
        x[:, 0][c > 2] = -1
        return [x, np.sum(x[c < 0])]

    for c in (-1.0, 1.0, 3.0, 5.0):
        same(lambda x, c: masked(x * 1, c), X, c)


def _views(x):
    diagonal, above, itself = np.diagonal(x), np.diag(x, 1), x.conj()
    x += 1
    itself[0] = 5
    return [diagonal + 0, above.reshape(-1), np.conj(x)]


def test_diagonals_and_conj_are_views(same):
    same(lambda x: _views(x * 1), X)
    same(lambda x: _views((x * 1).T), X)
    with pytest.raises(ValueError, match="a diagonal is read-only, as NumPy's is"):
        jitnet.jit(lambda x: np.diagonal(x).fill(0))(X)
