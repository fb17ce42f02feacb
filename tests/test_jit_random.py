"""jit agrees with NumPy in kind, structure, dtype and value, for random containers of random kinds of arguments."""
import numpy as np
import pytest

import jitnet


def random_leaf(rng):
    """An argument of a random kind, and the same as NumPy has it."""
    shape = [(), (3,), (2, 3), (1, 1)][rng.integers(4)]
    x = rng.integers(0, 5, shape).astype(rng.choice([np.float32, np.float64, np.int32, np.int64, np.int8, np.bool_]))
    form = rng.integers(8)
    if form == 0:
        return (value := [2, 0.5, True][rng.integers(3)]), value
    if form == 1 and x.ndim == 0:
        return x[()], x[()]
    if form == 2:
        return jitnet.asarray(x), x
    if form == 3:
        return x.T.copy().T, x
    if form == 4:
        return x.astype(x.dtype.newbyteorder()), x
    return x, x


def random_container(rng, depth=2):
    """A random container of random leaves, and the same as NumPy has it."""
    form = rng.integers(6) if depth else 5
    if form >= 4:
        return random_leaf(rng)
    parts = [random_container(rng, depth - 1) for _ in range(rng.integers(0, 4))]
    first, second = [a for a, _ in parts], [b for _, b in parts]
    if form == 0:
        return first, second
    if form == 1:
        return tuple(first), tuple(second)
    keys = rng.permutation(["a", "b", "c", "d"]).tolist()
    return (dict(zip(keys, first)), dict(zip(keys, second))) if form == 2 else ([*first, None], [*second, None])


@jitnet.jit
def mixed(x, y=1, *, scale=2):
    leaves = jitnet.tree.leaves((x, y))
    total = sum(np.sum(np.multiply(leaf, scale)) for leaf in leaves)
    return jitnet.tree.map(lambda leaf: np.add(leaf, 1), x), total, np.multiply(scale, np.float32(1))


@pytest.mark.parametrize("seed", range(60))
def test_random_arguments_agree_with_numpy(seed):
    rng = np.random.default_rng(seed)
    args, plain = map(list, zip(*[random_container(rng) for _ in range(rng.integers(1, 3))]))
    kwargs = {"scale": rng.choice([1, 2])} if rng.integers(2) else {}
    want = mixed.__wrapped__(*plain, **kwargs)
    kinds = set(map(type, jitnet.tree.leaves((args, kwargs))))
    kind = jitnet.Array if jitnet.Array in kinds or kinds <= {int, float, bool} else (np.ndarray, np.generic)
    for _ in range(3):
        got = mixed(*args, **kwargs)
        assert jitnet.tree.flatten(got, ordered=True)[1] == jitnet.tree.flatten(want, ordered=True)[1]
        for a, b in zip(jitnet.tree.leaves(got), jitnet.tree.leaves(want), strict=True):
            assert isinstance(a, kind) and (np.asarray(a).dtype, np.shape(a)) == (np.asarray(b).dtype, np.shape(b))
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-6)
