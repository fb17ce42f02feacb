"""Affine expressions: their arithmetic, ranges and quotients, and the index maps of reshapes, against NumPy on every index."""
import itertools
import math

import numpy as np
import pytest

from jitnet.codegen.affine import Affine, Axis, matching_axes, ravel, reshape_index, split, unravel


def value(index, point):
    """An affine expression at a point: {axis: number}."""
    return index.const + sum(k * point[axis] for axis, k in index.terms)


def points(axes):
    """Every point that the axes run through."""
    return [dict(zip(axes, numbers)) for numbers in itertools.product(*(range(axis.extent) for axis in axes))]


def random_affine(rng, axes, largest=6):
    total = Affine() + int(rng.integers(-largest, largest + 1))
    for axis in axes:
        total = total + Affine.of(axis) * int(rng.integers(-largest, largest + 1))
    return total


@pytest.fixture
def axes(rng):
    return [Axis(int(n), f"i{k}") for k, n in enumerate(rng.integers(1, 5, 3))]


def test_sums_and_multiples_mean_what_they_say(rng, axes):
    for _ in range(50):
        a, b, factor, offset = random_affine(rng, axes), random_affine(rng, axes), *map(int, rng.integers(-3, 4, 2))
        for point in points(axes):
            assert value(a + b, point) == value(a, point) + value(b, point)
            assert value(a + offset, point) == value(a, point) + offset
            assert value(a * factor, point) == value(a, point) * factor


def test_equal_expressions_are_equal():
    i, j = Axis(3), Axis(3)
    assert Affine.of(i) + Affine.of(i) == Affine.of(i) * 2
    assert Affine.of(i) + Affine.of(j) * 0 == Affine.of(i)
    assert Affine.of(i) + Affine.of(i) * -1 == Affine() == Affine.of(i) * 0
    assert Affine.of(i) != Affine.of(j)   # equal extents do not make axes equal


def test_coefficients(axes):
    index = Affine.of(axes[0]) * 3 + Affine.of(axes[1]) * -1
    assert [index.coefficient(axis) for axis in axes] == [3, -1, 0]


def test_low_and_high_are_the_extremes(rng, axes):
    for _ in range(50):
        index = random_affine(rng, axes)
        values = [value(index, point) for point in points(axes)]
        assert (index.low, index.high) == (min(values), max(values))


def test_split_is_division_with_remainder(rng, axes):
    found = 0
    for _ in range(400):
        index, inner = random_affine(rng, axes, 12), int(rng.integers(1, 8))
        parts = split(index, inner)
        if parts is not None:
            found += 1
            for point in points(axes):
                assert tuple(value(part, point) for part in parts) == divmod(value(index, point), inner)
    assert 50 < found < 400


def test_split_refuses_what_carries():
    i = Axis(4)
    assert split(Affine.of(i), 4) == (Affine(), Affine.of(i))
    assert split(Affine.of(i), 3) is None          # 3 // 3 is 1, 2 // 3 is 0
    assert split(Affine.of(i) + 1, 4) is None      # the last of them carries
    assert split(Affine.of(i) * -1 + 3, 4) == (Affine(), Affine.of(i) * -1 + 3)


def test_ravel_and_unravel_are_numpys(rng):
    for _ in range(30):
        shape = tuple(map(int, rng.integers(1, 5, rng.integers(0, 4))))
        axes = [Axis(n) for n in shape]
        position = ravel([Affine.of(axis) for axis in axes], shape)
        back = unravel(position, shape)
        for point in points(axes):
            at = tuple(point[axis] for axis in axes)
            assert value(position, point) == (np.ravel_multi_index(at, shape) if shape else 0)
            assert tuple(value(where, point) for where in back) == at


@pytest.mark.parametrize(("shape", "other", "groups"), [
    ((2, 3, 4), (6, 4), [((0, 1), (0,)), ((2,), (1,))]),
    ((6, 4), (2, 3, 4), [((0,), (0, 1)), ((1,), (2,))]),
    ((4, 6), (3, 8), [((0, 1), (0, 1))]),
    ((5,), (1, 5, 1), [((0,), (0, 1)), ((), (2,))]),
    ((), (1, 1), [((), (0,)), ((), (1,))]),
    ((0, 3), (0, 3), [((0,), (0,)), ((1,), (1,))]),
    ((2, 0), (0, 2), None),
])
def test_matching_axes(shape, other, groups):
    found = matching_axes(shape, other)
    assert (found and [(tuple(a), tuple(b)) for a, b in found]) == groups


def factored(rng, size):
    """A random shape of that size."""
    shape = []
    while size > 1:
        shape.append(int(rng.choice([d for d in range(2, size + 1) if size % d == 0])))
        size //= shape[-1]
    for _ in range(rng.integers(0, 3)):
        shape.insert(int(rng.integers(0, len(shape) + 1)), 1)
    return tuple(shape)


def test_reshapes_read_numpys_elements(rng):
    """On random pairs of shapes: the elements of NumPy's reshape, wherever an affine index exists."""
    found = 0
    for _ in range(300):
        size = int(rng.choice([1, 4, 12, 24, 30]))
        before, after = factored(rng, size), factored(rng, size)
        x = np.arange(size).reshape(before)
        axes = [Axis(n) for n in after]
        index = reshape_index([Affine.of(axis) for axis in axes], after, before)
        if index is not None:
            found += 1
            read = [x[tuple(value(where, point) for where in index)] for point in points(axes)]
            np.testing.assert_array_equal(read, x.reshape(after).reshape(-1))
        else:
            assert len(before) > 1   # a position is always affine in the new axes
    assert found > 150


def test_a_reshape_back_and_forth_is_no_reshape(rng):
    """Axes that were joined come apart again, also behind a reversal of an axis that stays."""
    for _ in range(50):
        shape = tuple(map(int, rng.integers(1, 5, 3)))
        axes = [Axis(n) for n in shape]
        index = [Affine.of(axes[0]) * -1 + (shape[0] - 1), Affine.of(axes[1]), Affine.of(axes[2])]
        joined = reshape_index(index, shape, (shape[0], math.prod(shape[1:])))
        assert len(joined) == 2
        back = reshape_index(joined, (shape[0], math.prod(shape[1:])), shape)
        for point in points(axes):
            assert [value(where, point) for where in back] == [value(where, point) for where in index]


def test_no_affine_index_where_a_reshape_cuts_across():
    i, j = Axis(3), Axis(4)
    assert reshape_index([Affine.of(i), Affine.of(j)], (3, 4), (4, 3)) is None
    assert reshape_index([Affine.of(Axis(12))], (12,), (3, 4)) is None
