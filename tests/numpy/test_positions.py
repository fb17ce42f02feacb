"""Positions in flattened arrays, of triangles, of grids and in sorted order."""
import numpy as np
import pytest

import jitnet

X = np.random.default_rng(3).normal(size=(4, 4))
I = np.array([7, 0, 5, 2])


@pytest.mark.parametrize("order", ["C", "F"])
def test_flat_positions(order, same):
    same(lambda i: [*np.unravel_index(i, (2, 4), order=order), np.ravel_multi_index((i // 4, i % 4), (2, 4), order=order),
                    np.ravel_multi_index((i, i), (2, 4), mode="clip", order=order),
                    np.ravel_multi_index((i, i - 9), (2, 4), mode=("clip", "wrap"), order=order)], I)


def test_triangles_diagonals_and_grids(same):
    same(lambda x, i: [x[np.tril_indices_from(x)], x[np.triu_indices_from(x[:, :3], 1)], x[np.diag_indices_from(x)],
                       x[np.ix_(i % 4, [1, 3])], x[np.ix_([True, False, True, False], i % 3)], np.tril(x[0]),
                       np.triu(x[0], 1), np.size(x, (0, 1)) * x], X, I)
    with pytest.raises(TypeError, match="values of a traced mask"):
        jitnet.jit(lambda x: x[np.ix_(x[0] > 0)])(X)
    with pytest.raises(TypeError, match="tril: a 0-d array has no triangle"):
        jitnet.jit(lambda x: np.tril(x[0, 0]))(X)


def test_sorting_by_several_keys(same):
    keys = np.array([[3, 1, 2, 1], [0, 1, 0, 1], [1, 1, 0, 1]])
    same(lambda k: [np.lexsort(k), np.lexsort((k[0], k[1])), np.lexsort(np.stack([k, k[::-1]]), axis=0)], keys)


def test_frequencies_in_the_middle(same):
    same(lambda x: [np.fft.fftshift(x), np.fft.ifftshift(x[:3], axes=0), np.fft.fftshift(x[0, :3]),
                    np.fft.ifftshift(np.fft.fftshift(x[:, :3], axes=(0, 1)))], X)


def test_places_known_while_tracing(same):
    same(lambda x, i: [np.delete(x, i[1], axis=0), np.delete(x, -1), np.delete(x[0], i[1] - 1),
                       np.compress([1, 0, 1], x, axis=0), x.compress([0, 1, 1]), np.extract(np.eye(4) > 0, x)], X, I)
    same(lambda x: [np.insert(x[0], [1, 3], [9.0, 8.0]), np.insert(x[0], -1, 5.0), np.insert(x, 1, x[0], axis=1),
                    np.insert(x, [1], x[:, :2], axis=1), np.insert(x, slice(0, 4, 2), 7.0, axis=0),
                    np.insert(x, 2, [[1.0] * 4, [2.0] * 4], axis=1), np.insert(x, 3, 0)], X)
    for call in (lambda x: np.delete(x, x[0] > 0, axis=0), lambda x: x.compress(x[0] > 0, axis=0)):
        with pytest.raises(TypeError, match="the size of the result depends on the values of a traced array"):
            jitnet.jit(call)(X)
    with pytest.raises(TypeError, match="insert: the place is a traced value"):
        jitnet.jit(lambda x, i: np.insert(x, i[0], 1.0))(X, I)


def test_choices_without_a_number(same):
    same(lambda i: [np.choose(i, [i, -i], mode="wrap"), np.choose(i - 3, [i, -i], mode="clip")], I)
    with pytest.raises(IndexError):
        jitnet.jit(lambda i: np.choose(i, [i, -i]))(I)
