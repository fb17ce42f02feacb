"""Einstein summation: products of arrays with named axes, as matrix products."""
from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..errors import TraceValueError
from ..tracer import Tracer
from ..types import normalize_axis, promote
from .protocol import as_array, fresh, implements, into
from .shapes import contiguous, strides_of


def contract(x, xs, y, ys, out):
    """einsum of two operands without repeated names: sums over names in neither the other operand nor `out`, then one
    product."""
    x, xs = _sum_names(x, xs, [n for n in xs if n not in ys and n not in out])
    y, ys = _sum_names(y, ys, [n for n in ys if n not in xs and n not in out])
    size = dict(zip(xs + ys, x.shape + y.shape))
    for n, k in zip(xs, x.shape):
        size[n] = k if size[n] == 1 else size[n]
    batch = [n for n in xs if n in ys and n in out]
    inner = [n for n in xs if n in ys and n not in out]
    left, right = [n for n in xs if n not in ys], [n for n in ys if n not in xs]
    if not inner:  # no sum: a product of broadcast arrays
        return _ordered(x, xs, out) * _ordered(y, ys, out)

    def prepared(array, names, order):
        array = _order(array, names, [n for group in order for n in group])
        full = tuple(size[n] for group in order for n in group)
        array = array if array.shape == full else ops.broadcast_to(array, shape=full)
        return ops.reshape(array, shape=(*(size[n] for n in batch),
                                         *(math.prod(size[n] for n in group) for group in order[1:])))

    value = ops.matmul(prepared(x, xs, (batch, left, inner)), prepared(y, ys, (batch, inner, right)))
    value = ops.reshape(value, shape=tuple(size[n] for n in batch + left + right))
    return _order(value, batch + left + right, out)


def _sum_names(x, names, gone):
    """(x summed over the axes of some names, the names that are left)."""
    if not gone:
        return x, list(names)
    value = ops.sum(x, axis=tuple(k for k, n in enumerate(names) if n in gone))
    value = value if value.dtype == x.dtype else ops.cast(value, dtype=x.dtype)
    return value, [n for n in names if n not in gone]


def _order(x, names, order):
    """x with its axes in the order of other names."""
    axes = tuple(names.index(n) for n in order)
    return x if axes == tuple(range(len(names))) else ops.transpose(x, axes=axes)


def _ordered(x, names, out):
    """x with its axes in the order of `out`, and size 1 where it has no such axis."""
    x = _order(x, names, [n for n in out if n in names])
    sizes = iter(x.shape)
    return ops.reshape(x, shape=tuple(next(sizes) if n in names else 1 for n in out))


def _diagonals(x, names):
    """x with axes of one name made one: their diagonal."""
    names = list(names)
    while len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        i = names.index(twice)
        j = names.index(twice, i + 1)
        x = _diagonal(x, 0, i, j)
        names = [n for k, n in enumerate(names) if k not in (i, j)] + [twice]
    return x, names


def _subscripts(text: str, arrays):
    """([names per operand], names of the output): `...` spelled out, an implicit output made explicit."""
    text = text.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(arrays):
        raise TraceValueError(f"einsum: {text!r} names {len(terms)} operands, {len(arrays)} were given",
                              "separate the operands with commas")
    rank = max((a.ndim - len(t.replace("...", "")) for t, a in zip(terms, arrays) if "..." in t), default=0)
    dots = [f"<{k}>" for k in range(rank)]  # names that no letter can be
    names = []
    for term, a in zip(terms, arrays):
        before, has_dots, after = term.partition("...")
        extra = a.ndim - len(before) - len(after) if has_dots else 0
        term_names = [*before, *(dots[rank - extra:] if extra > 0 else []), *after]
        if len(term_names) != a.ndim or extra < 0:
            raise TraceValueError(f"einsum: {term!r} does not fit an operand of shape {a.shape}", "name each axis once")
        names.append(term_names)
    if arrow:
        before, has_dots, after = output.partition("...")
        if dots and not has_dots:
            raise TraceValueError(f"einsum: the output of {text!r} leaves out the axes of `...`",
                                  "write `...` in the output too, or name these axes")
        out = [*before, *(dots if has_dots else []), *after]
    else:
        every = [n for term_names in names for n in term_names]
        out = dots + sorted(n for n in set(every) if every.count(n) == 1 and n not in dots)
    _check_names(text, arrays, names, out, dots)
    return names, out


def _check_names(text: str, arrays, names, out, dots) -> None:
    """TraceValueError unless every name is a letter, the output has each once, of an operand, and each has one size (or 1)."""
    size: dict[str, int] = {}
    for k, (array, own) in enumerate(zip(arrays, names)):
        for name, n in zip(own, array.shape):
            if name not in dots and not (name.isascii() and name.isalpha()):
                raise TraceValueError(f"einsum: {name!r} in {text!r} is no letter", "name the axes by letters from a to Z")
            first = array.shape[own.index(name)]
            if n != first:
                raise TraceValueError(f"einsum: {name!r} has the sizes {first} and {n} in operand {k}, whose diagonal it takes",
                                      "the axes of a diagonal are of one size: give them other names, or slice the operand")
            if n != 1 and size.setdefault(name, n) != n:
                what = f"an axis of `...` in {text!r}" if name in dots else f"{name!r} in {text!r}"
                raise TraceValueError(f"einsum: {what} has the sizes {size[name]} and {n}",
                                      "axes of one name have one size, or 1: check the order of the names")
    every = {n for own in names for n in own}
    wrong = next((n for n in out if n not in every or out.count(n) > 1), None)
    if wrong is not None:
        raise TraceValueError(f"einsum: the output of {text!r} names {wrong!r}"
                              + (" twice" if wrong in every else ", which no operand has"),
                              "name each axis of the result once, by a name that an operand has")


@implements(np.einsum)
def einsum(*operands, out=None, dtype=None, order="K", casting="safe", optimize=True):
    """Einstein summation: "ij,jk->ik". Several operands are contracted in pairs, in an order NumPy's `einsum_path` finds.

    >>> import numpy as np, jitnet.numpy as jnp
    >>> jnp.einsum("ij,j->i", np.ones((2, 3)), np.arange(3.0))
    array([3., 3.])
    """
    if not isinstance(operands[0], str):
        operands = _interleaved(operands)
    arrays = [as_array(a, dtype) for a in operands[1:]]
    common = promote(*(a.dtype for a in arrays))
    arrays = [as_array(a, common) for a in arrays]
    names, result = _subscripts(operands[0], arrays)
    terms = []
    for a, n in zip(arrays, names):
        terms.append(_diagonals(a, n))
    for step in _path(terms, result):
        picked = [terms.pop(k) for k in sorted(step, reverse=True)]
        x, xs = picked.pop()
        while picked:
            y, ys = picked.pop()
            later = [n for _, ns in terms + picked for n in ns] + result
            kept = [n for n in dict.fromkeys(xs + ys) if n in later]
            x, xs = contract(x, xs, y, ys, kept), kept
        terms.append((x, xs))
    (x, xs), = terms
    x, xs = _sum_names(x, xs, [n for n in xs if n not in result])
    return into(out, fresh(_order(x, xs, result)), "einsum")


def _path(terms, result):
    """Which operands to contract, step by step."""
    if len(terms) == 1:
        return []
    if len(terms) == 2:
        return [(0, 1)]
    letters = dict(zip(dict.fromkeys(n for _, ns in terms for n in ns), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    text = ",".join("".join(letters[n] for n in ns) for _, ns in terms) + "->" + "".join(letters[n] for n in result)
    dummies = [np.broadcast_to(np.zeros(()), x.shape) for x, _ in terms]
    return np.einsum_path(text, *dummies, optimize="greedy")[0][1:]


def _interleaved(operands):
    """The call form einsum(x, [0, 1], y, [1, 2], [0, 2]) as a string and arrays."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    spell = lambda names: "".join("..." if n is Ellipsis else letters[n] for n in names)
    pairs, last = list(zip(operands[::2], operands[1::2])), operands[-1] if len(operands) % 2 else None
    text = ",".join(spell(n) for _, n in pairs) + ("" if last is None else "->" + spell(last))
    return [text, *(a for a, _ in pairs)]


@implements(np.diagonal, method="diagonal")
def diagonal(a, offset=0, axis1=0, axis2=1):
    """The diagonal of two axes, as the last axis of the result: a slice with a step, no copy. It cannot be written into."""
    x = as_array(a)
    i, j = normalize_axis(axis1, x.ndim, "diagonal"), normalize_axis(axis2, x.ndim, "diagonal")
    if not isinstance(x, Tracer):
        return _diagonal(x, offset, i, j)
    steps = strides_of(x) or contiguous(x.shape)
    return x.alias(lambda base: _diagonal(base, offset, i, j), _no_write,
                   strides=(*(s for k, s in enumerate(steps) if k not in (i, j)), steps[i] + steps[j]))


def _no_write(base, new):
    raise TraceValueError("a diagonal is read-only, as NumPy's is", "use `np.fill_diagonal`, or write into a copy of it")


def _diagonal(x, offset: int, i: int, j: int):
    """The diagonal of axes i and j of an array."""
    rest = tuple(k for k in range(x.ndim) if k not in (i, j))
    x = ops.transpose(x, axes=(*rest, i, j))
    n, m = x.shape[-2:]
    size = max(0, min(n, m - offset) if offset >= 0 else min(n + offset, m))
    flat = ops.reshape(x, shape=(*x.shape[:-2], n * m))
    zero = (0,) * len(rest)
    start = (offset if offset >= 0 else -offset * m) if size else 0
    return ops.slice(flat, start=(*zero, start), size=(*flat.shape[:-1], size), step=(*(1,) * len(rest), m + 1))
