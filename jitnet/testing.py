"""Checks for functions and ops of one's own: derivatives against finite differences, to any order."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from . import tree
from .transforms import jvp, vjp
from .transforms.values import FLOAT0
from .types import is_float

__all__ = ["check_grads", "numerical_jvp"]


def _is_float(x) -> bool:
    return isinstance(x, float) or is_float(np.asarray(x).dtype)


def _random_like(container, rng: np.random.Generator):
    """Random directions for the float leaves of a container, float0 zeros for the others."""
    return tree.map(lambda x: rng.standard_normal(np.shape(x)).astype(np.asarray(x).dtype) if _is_float(x) else np.zeros(np.shape(x), FLOAT0),
                    container)


def _moved(container, direction, step: float):
    """container + step * direction, on the float leaves."""
    return tree.map(lambda x, t: np.asarray(x + step * t, np.asarray(x).dtype) if _is_float(x) else x, container, direction)


def _dot(a, b) -> float:
    """The inner product of two containers, over their float leaves."""
    return sum(float(np.sum(np.asarray(x, np.float64) * np.asarray(y, np.float64)))
               for x, y in zip(tree.leaves(a), tree.leaves(b)) if np.asarray(x).dtype != FLOAT0 and _is_float(x))


def numerical_jvp(function: Callable, args: Sequence, tangents: Sequence, step: float = 1e-5):
    """The derivative of function(*args) in the direction of the tangents, by central differences; nested like the output."""
    high, low = function(*_moved(tuple(args), tuple(tangents), step)), function(*_moved(tuple(args), tuple(tangents), -step))
    return tree.map(lambda h, l: (np.asarray(h, np.float64) - np.asarray(l, np.float64)) / (2 * step) if _is_float(h) else np.zeros(np.shape(h), FLOAT0),
                    high, low)


def check_grads(function: Callable, args: Sequence, order: int = 1, modes: Sequence[str] = ("forward", "reverse"), *, step: float = 1e-5,
                rtol: float = 1e-5, atol: float = 1e-5, seed: int = 0) -> None:
    """None when the derivatives of a function at float64 arguments agree with central differences; AssertionError that says which does not.

    args: the positional arguments, containers or arrays. order: 2 checks the derivatives of the derivatives too, and so on. Each mode is
    checked along one random direction: forward by `jvp`, reverse by `vjp` (its product with the direction).

    >>> import numpy as np
    >>> from jitnet.testing import check_grads
    >>> check_grads(np.sin, (np.array([0.5, 2.0]),), order=2)
    """
    rng = np.random.default_rng(seed)
    args = tuple(args)
    directions = _random_like(args, rng)
    expected = numerical_jvp(function, args, directions, step)
    name = getattr(function, "__name__", "function")
    if "forward" in modes:
        _, tangent = jvp(function, args, directions)
        for place, (a, b) in enumerate(zip(tree.leaves(tangent), tree.leaves(expected))):
            if np.asarray(a).dtype != FLOAT0:
                np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=f"forward derivative of `{name}`, output {place}")
        if order > 1:
            check_grads(_named(lambda *xs: jvp(function, xs, directions)[1], f"jvp of {name}"), args, order - 1, modes,
                        step=step, rtol=rtol, atol=atol, seed=seed + 1)
    if "reverse" in modes:
        out, pullback = vjp(function, *args)
        ct = _random_like(out, rng)
        found, wanted = _dot(directions, pullback(ct)), _dot(expected, ct)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol, err_msg=f"reverse derivative of `{name}`")
        if order > 1:
            check_grads(_named(lambda *xs: _floats(vjp(function, *xs)[1](ct)), f"vjp of {name}"), args, order - 1, modes,
                        step=step, rtol=rtol, atol=atol, seed=seed + 1)


def _floats(container) -> list:
    """The leaves that have a derivative."""
    return [x for x in tree.leaves(container) if getattr(x, "dtype", None) != FLOAT0]


def _named(function: Callable, name: str) -> Callable:
    function.__name__ = name
    return function
