"""Checks for functions and ops, jitnet's and your own: derivatives against finite differences, rules of an op, index maps.

Each check returns nothing, and raises AssertionError with what differs.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from . import tree
from .codegen.affine import Affine, Axis
from .ir import check_graph, eval_graph
from .op import Op
from .op_kinds import Movement
from .tracer import trace
from .transforms import jvp, vjp
from .transforms.values import FLOAT0
from .types import is_float, type_of_array

__all__ = ["apply_affine", "canonical", "check_batch", "check_grads", "check_index_map", "check_rules", "check_values",
           "numerical_jvp", "op_graph"]


def _holds_floats(x) -> bool:
    return isinstance(x, float) or is_float(np.asarray(x).dtype)


def _random_like(container, rng: np.random.Generator):
    """Random directions for the float leaves of a container, float0 zeros for the others."""
    return tree.map(lambda x: rng.standard_normal(np.shape(x)).astype(np.asarray(x).dtype) if _holds_floats(x)
                    else np.zeros(np.shape(x), FLOAT0),
                    container)


def _moved(container, direction, step: float):
    """container + step * direction, on the float leaves."""
    return tree.map(lambda x, t: np.asarray(x + step * t, np.asarray(x).dtype) if _holds_floats(x) else x, container, direction)


def _dot(a, b) -> float:
    """The inner product of two containers, over their float leaves."""
    return sum(float(np.sum(np.asarray(x, np.float64) * np.asarray(y, np.float64)))
               for x, y in zip(tree.leaves(a), tree.leaves(b)) if np.asarray(x).dtype != FLOAT0 and _holds_floats(x))


def numerical_jvp(function: Callable, args: Sequence, tangents: Sequence, step: float = 1e-5):
    """The derivative of function(*args) in the direction of the tangents, by central differences; nested like the output."""
    high, low = function(*_moved(tuple(args), tuple(tangents), step)), function(*_moved(tuple(args), tuple(tangents), -step))
    return tree.map(lambda h, l: (np.asarray(h, np.float64) - np.asarray(l, np.float64)) / (2 * step) if _holds_floats(h)
                    else np.zeros(np.shape(h), FLOAT0),
                    high, low)


def check_grads(function: Callable, args: Sequence, order: int = 1, modes: Sequence[str] = ("forward", "reverse"), *,
                step: float = 1e-5,
                rtol: float = 1e-5, atol: float = 1e-5, seed: int = 0) -> None:
    """None when the derivatives of a function at float64 arguments agree with central differences; AssertionError that says
    which does not.

    args: the positional arguments, containers or arrays. order: 2 checks the derivatives of the derivatives too, and so on.
    Each mode is checked along one random direction: forward by `jvp`, reverse by `vjp` (its product with the direction).

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
                np.testing.assert_allclose(a, b, rtol=rtol, atol=atol,
                                           err_msg=f"forward derivative of `{name}`, output {place}")
        if order > 1:
            check_grads(_named(lambda *xs: _floats(jvp(function, xs, directions)[1]), f"jvp of {name}"), args, order - 1, modes,
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


# Rules of one op

def op_graph(op: Op, arrays: Sequence, params: dict):
    """The checked Graph of one call of an op on arrays of these types."""
    types = [type_of_array(np.asarray(a)) for a in arrays]
    return check_graph(trace(lambda *xs: _outputs(op, op(*xs, **params)), types, op.name).graph)


def _outputs(op: Op, out):
    return list(out) if op.multiple_outputs else [out]


def canonical(op: Op, arrays: Sequence, params: dict) -> dict:
    """The static parameters as equations hold them."""
    return dict(op.canonical([type_of_array(np.asarray(a)) for a in arrays], {**op.statics, **params}))


def check_values(op: Op, arrays: Sequence, params: dict, expected, *, rtol: float = 1e-6) -> None:
    """Asserts that the traced op has the values and the dtype that NumPy gives."""
    found = eval_graph(op_graph(op, arrays, params), *arrays)
    for f, e in zip(found, expected if op.multiple_outputs else [expected], strict=True):
        e = np.asarray(e)
        assert f.dtype == e.dtype, f"{op.name}: dtype {f.dtype}, NumPy has {e.dtype}"
        assert f.shape == e.shape, f"{op.name}: shape {f.shape}, NumPy has {e.shape}"
        np.testing.assert_allclose(f, e, rtol=rtol, err_msg=op.name)


def check_rules(op: Op, arrays: Sequence, params: dict, *, rtol: float = 1e-5, atol: float = 1e-6, seed: int = 0) -> None:
    """Asserts that an op's own jvp and vjp rules agree with finite differences, called directly on NumPy arrays in float64."""
    rng = np.random.default_rng(seed)
    params = canonical(op, arrays, params)
    arrays = [np.asarray(a, np.float64) if is_float(np.asarray(a).dtype) else np.asarray(a) for a in arrays]
    floats = [is_float(a.dtype) for a in arrays]
    outs = op.evaluate(arrays, params)
    if not any(floats) or any(not is_float(o.dtype) for o in outs):
        return
    tangents = [rng.standard_normal(a.shape) if f else None for a, f in zip(arrays, floats)]

    def moving(*xs):
        rest = iter(xs)
        return op.evaluate([next(rest) if f else a for a, f in zip(arrays, floats)], params)

    step = 1e-5
    expected = numerical_jvp(moving, [a for a, f in zip(arrays, floats) if f], [t for t in tangents if t is not None], step)
    found = [np.zeros(o.shape) if f is None else f for f, o in zip(op.jvp(tangents, outs, arrays, params), outs)]
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape, f"{op.name}: the jvp has shape {f.shape}, the output {e.shape}"
        np.testing.assert_allclose(f, e, rtol, atol, err_msg=f"{op.name}: jvp against finite differences")
    for k, t in enumerate(tangents):  # one tangent alone: the others are None
        if t is None:
            continue
        alone = [t if j == k else None for j in range(len(arrays))]
        part = [a if f else None for a, f in zip(arrays, floats)]
        expected_part = numerical_jvp(lambda x, k=k: op.evaluate([x if j == k else a for j, a in enumerate(arrays)], params),
                                      [part[k]], [t], step)
        found = [np.zeros(o.shape) if f is None else f for f, o in zip(op.jvp(alone, outs, arrays, params), outs)]
        for f, e in zip(found, expected_part, strict=True):
            np.testing.assert_allclose(f, e, rtol, atol, err_msg=f"{op.name}: jvp with respect to operand {k}")
        cts = [rng.standard_normal(o.shape) for o in outs]
        pulled = op.vjp(cts, outs, arrays, params, [j == k for j in range(len(arrays))])[k]
        pulled = np.zeros(arrays[k].shape) if pulled is None else pulled
        shape = arrays[k].shape
        assert pulled.shape == shape, f"{op.name}: the vjp of operand {k} has shape {pulled.shape}, the operand {shape}"
        np.testing.assert_allclose(np.vdot(pulled, t), sum(np.vdot(c, e) for c, e in zip(cts, expected_part)), rtol, atol * 10,
                                   err_msg=f"{op.name}: vjp of operand {k} against finite differences")


def check_batch(op: Op, arrays: Sequence, params: dict, *, size: int = 3, seed: int = 0, rtol: float = 1e-9) -> None:
    """Asserts that an op's batch rule equals a Python loop, for every choice of batched operands."""
    rng = np.random.default_rng(seed)
    params = canonical(op, arrays, params)
    arrays = [np.asarray(a) for a in arrays]
    stacks = [np.stack([a] + [_shuffled(a, rng) for _ in range(size - 1)]) for a in arrays]
    for batched in itertools.product((False, True), repeat=len(arrays)):
        if not any(batched):
            continue
        inputs = [s if b else a for s, a, b in zip(stacks, arrays, batched)]
        expected = [op.evaluate([s[k] if b else a for s, a, b in zip(stacks, arrays, batched)], params) for k in range(size)]
        types = [type_of_array(x) for x in inputs]
        found = eval_graph(check_graph(trace(lambda *xs, b=batched: op.batch(size, xs, b, params), types, op.name).graph),
                           *inputs)
        for k, f in enumerate(found):
            np.testing.assert_allclose(f, np.stack([e[k] for e in expected]), rtol=rtol,
                                       err_msg=f"{op.name}: batch rule, batched={batched}")


def _shuffled(a: np.ndarray, rng) -> np.ndarray:
    """The elements of a in another order: still valid arguments."""
    return rng.permutation(a.ravel()).reshape(a.shape)


# Index maps of movements

def apply_affine(index: Affine, values: dict[Axis, np.ndarray]) -> np.ndarray:
    """The value of an affine expression at given positions of its axes."""
    return index.const + sum((k * values[axis] for axis, k in index.terms), start=np.zeros((), np.int64))


def check_index_map(op: Movement, array: np.ndarray, params: dict) -> bool:
    """Asserts that a movement's index map picks the elements its NumPy body does; False where the map is not affine."""
    kind = type_of_array(array)
    params = canonical(op, [array], params)
    expected = op.evaluate([array], params)[0]
    axes = [Axis(n) for n in expected.shape]
    index = op.index_map([Affine.of(a) for a in axes], kind, params)
    if index is None:
        return False
    assert len(index) == array.ndim, f"{op.name}: the index map has {len(index)} axes, the array {array.ndim}"
    grid = np.meshgrid(*(np.arange(n) for n in expected.shape), indexing="ij") if expected.ndim else []
    values = dict(zip(axes, grid))
    found = array[tuple(np.broadcast_to(apply_affine(i, values), expected.shape)
                        for i in index)] if array.ndim else np.broadcast_to(array, expected.shape)
    np.testing.assert_array_equal(found, expected, err_msg=f"{op.name}: index map")
    return True
