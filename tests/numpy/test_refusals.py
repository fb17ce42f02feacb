"""What NumPy refuses of its functions' arguments, jitnet refuses too, in three lines; found by random bad programs."""
import numpy as np
import pytest

import jitnet
from jitnet.errors import JitnetError

X, V, CUBE, I, MASK = (np.arange(12.0).reshape(3, 4), np.arange(4.0), np.ones((2, 3, 4)), np.array([0, 2, 1]),
                       np.arange(12).reshape(3, 4) % 2 == 0)
REFUSED = {
    "a size that is a str": lambda: (lambda x: x.reshape("a"), X),
    "half a size": lambda: (lambda x: x.reshape(2.5), X),
    "too few axes": lambda: (lambda x: x.transpose(1, 0), CUBE),
    "one axis twice": lambda: (lambda x: np.transpose(x, (0, 0)), X),
    "floats as positions": lambda: (lambda x: np.take_along_axis(x, x, axis=0), X),
    "floats as positions to write at": lambda: (lambda x: np.put_along_axis(x, x, 1, axis=0), X),
    "positions with too few axes": lambda: (lambda x, i: np.take_along_axis(x, i, axis=0), X, I),
    "floats as places": lambda: (lambda x: np.unravel_index(x, (3, 4)), X),
    "a mode": lambda: (lambda x: np.take(x, 0, mode="nonsense"), X),
    "an order of a norm": lambda: (lambda x: np.linalg.norm(x, ord="nonsense"), V),
    "a layout of a grid": lambda: (lambda x: np.meshgrid(x, x, indexing="q"), V),
    "no parts": lambda: (lambda x: np.array_split(x, 0), X),
    "a negative size": lambda: (lambda x: np.resize(x, (-1, 2)), X),
    "a negative size of ones": lambda: (lambda x: np.ones_like(x, shape=(-1,)), X),
    "more choices than conditions": lambda: (lambda x: np.select([x > 1], [x, x]), X),
    "a difference of negative order": lambda: (lambda x: np.diff(x, n=-1), X),
    "150 percent": lambda: (lambda x: np.percentile(x, 150), X),
    "points without an axis": lambda: (lambda x, y: np.interp(x, y, y), X, np.asarray(1.0)),
    "edges without an axis": lambda: (lambda x, y: np.digitize(x, y), X, np.asarray(1.0)),
    "keys of two shapes": lambda: (lambda x, y: np.lexsort((x, y)), V, I),
    "floats that select": lambda: (lambda x: np.sum(x, where=x), X),
    "floats that select bools": lambda: (lambda x, m: np.any(m, where=x), X, MASK),
    "a start out of range": lambda: (lambda i: np.min(i.astype("u1"), initial=-1), I),
    "floats into bools": lambda: (lambda m, x: np.copyto(m, x), MASK, X),
    "sums of floats as bools": lambda: (lambda x: np.add(x, x, dtype=bool), X),
    "a mask of another size": lambda: (lambda x: x[[True, False]], X),
    "a mask of another size, behind dots": lambda: (lambda x: x[..., [True, False]], X),
    "axes of ... that the output leaves out": lambda: (lambda x: np.einsum("i...->i", x), X),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_numpy_refuses(case):
    function, *args = REFUSED[case]()
    with pytest.raises((TypeError, ValueError, IndexError, OverflowError)):
        function(*[a.copy() for a in args])
    with pytest.raises(JitnetError) as error:
        jitnet.jit(function)(*[a.copy() for a in args])
    what, line, hint = str(error.value).split("\n")
    assert what and hint.strip() and line.startswith("  test_refusals.py:")


def test_what_numpy_gives(same):
    """Found beside it: results that were other ones."""
    x = np.array([[1.5, -np.inf, np.nan], [np.inf, 2, -3]], np.float32)
    same(lambda x: [np.nan_to_num(x, posinf=2, neginf=-2), np.nan_to_num(x, nan=7), np.nan_to_num(x.astype("f2"), posinf=9)], x)
    same(lambda x: [np.equal(x, x + 0.25, dtype=bool), np.less(x, x + 0.25, dtype=bool)], np.array([1.5, 2.5]))
    total = np.logaddexp.reduce
    same(lambda x: [total(x, axis=0), total(x, axis=1), total(x, axis=0, keepdims=True)], np.zeros((0, 4)))
    same(lambda x: [x[[True, False, True]], x[:, [True, False, False, True]], x[None, ..., [False, True, True, True]]], X)
