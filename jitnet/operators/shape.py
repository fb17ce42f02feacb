"""Operators that keep the elements and change the axes."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import OperatorError
from . import infer
from .params import Bool, Int, Shape
from .registry import operator


def target_shape(shape: Sequence[int], codes: Sequence[int], reverse: bool = False) -> tuple[int, ...]:
    """The shape that reshape codes ask for.

    0 keeps the size at this place, -1 is what remains, -2 all remaining sizes, -3 the product of the next two, -4 splits a size
    into the two numbers that follow (one of them may be -1). `reverse`: sizes and codes are matched from the right.
    """
    given, wanted = list(shape), list(codes)
    if reverse:
        given, wanted = given[::-1], _reversed_codes(wanted)
    out = _expand(given, wanted, shape, codes)
    if reverse:
        out = out[::-1]
    size = math.prod(shape)
    if -1 in out:
        k = out.index(-1)
        rest = math.prod(n for i, n in enumerate(out) if i != k)
        if rest and size % rest == 0:
            out[k] = size // rest
        elif not rest:
            out[k] = 0
    if math.prod(out) != size or -1 in out:
        raise ValueError(f"Cannot reshape array of size {size} into shape {tuple(codes)}")
    return tuple(out)


def _reversed_codes(codes: list[int]) -> list[int]:
    """The codes from the right; the code -4 stays in front of its two numbers."""
    out, k = [], 0
    while k < len(codes):
        step = 3 if codes[k] == -4 else 1
        out[:0] = [-4, *codes[k + 1:k + 3][::-1]] if step == 3 else [codes[k]]
        k += step
    return out


def _expand(given: list[int], wanted: list[int], shape, codes) -> list[int]:
    def bad(why: str):
        return ValueError(f"Cannot reshape array of shape {tuple(shape)} with the codes {tuple(codes)}: {why}")

    out, source, k = [], 0, 0
    while k < len(wanted):
        code = wanted[k]
        k += 1
        if code == -2:
            out += given[source:]
            source = len(given)
            continue
        needed = {0: 1, -3: 2, -4: 1}.get(code, 0)
        if needed and source + needed > len(given):
            raise bad(f"{code} stands where there is no axis left")
        if code == 0:
            out.append(given[source])
        elif code == -3:
            out.append(given[source] * given[source + 1])
        elif code == -4:
            if k + 2 > len(wanted):
                raise bad("-4 needs two numbers after it")
            first, second = wanted[k:k + 2]
            k += 2
            total = given[source]
            first = total // second if first == -1 and second else first
            second = total // first if second == -1 and first else second
            if first * second != total:
                raise bad(f"{total} is not {first} times {second}")
            out += [first, second]
        elif code < -4:
            raise bad(f"there is no code {code}")
        else:
            out.append(code)
        source += needed or 1
    if out.count(-1) > 1:
        raise bad("-1 stands there twice")
    return out


def _infer_reshape(op, ins, outs, params):
    """The number of elements stays, from which one unknown size of the input follows."""
    ins, outs = infer.forward(op, ins, outs, params)
    data, out = ins[0], outs[0]
    if data is not None and infer.is_known(out) and data.count(0) == 1:
        known = math.prod(n for n in data if n)
        if math.prod(out) % known == 0:
            data = tuple(n or math.prod(out) // known for n in data)
    return [data], [out]


@operator("Reshape", params={"shape": Shape(()), "reverse": Bool(False), "target_shape": Shape(None),
                             "keep_highest": Bool(False)}, aliases=("reshape",), shape_rule=_infer_reshape)
def reshape(data, *, shape, reverse, target_shape, keep_highest):
    """The elements in another shape, in which codes 0 and below stand for sizes of the input (see `target_shape`)."""
    if target_shape is not None and not shape:
        shape = ((data.shape[0], *target_shape[1:]) if keep_highest else tuple(n or -1 for n in target_shape))
    return data.reshape(_target(data.shape, shape, reverse))


_target = target_shape


@operator("Flatten", aliases=("flatten",), method=True)
def flatten(data):
    """All axes but the first as one: (n, ...) becomes (n, rest)."""
    return data.reshape((data.shape[0], math.prod(data.shape[1:]))) if data.shape else data.reshape((1, 1))


@operator("reshape_like", params={"lhs_begin": Int(None), "lhs_end": Int(None), "rhs_begin": Int(None), "rhs_end": Int(None)},
          same_dtype=False, method=True)
def reshape_like(lhs, rhs, *, lhs_begin, lhs_end, rhs_begin, rhs_end):
    """`lhs` in the shape of `rhs`; with bounds, axes lhs_begin:lhs_end take the sizes of axes rhs_begin:rhs_end."""
    l0, l1, _ = slice(lhs_begin, lhs_end).indices(lhs.ndim)
    r0, r1, _ = slice(rhs_begin, rhs_end).indices(rhs.ndim)
    return lhs.reshape((*lhs.shape[:l0], *rhs.shape[r0:r1], *lhs.shape[l1:]))


@operator("transpose", params={"axes": Shape(())}, method=True)
def transpose(data, *, axes):
    """The axes in another order; reversed when none is given."""
    return np.transpose(data, axes or None)


@operator("expand_dims", params={"axis": Int()}, method=True)
def expand_dims(data, *, axis):
    """`data` with an axis of size 1 put in before `axis`."""
    return np.expand_dims(data, axis)


@operator("squeeze", params={"axis": Shape(None)}, method=True)
def squeeze(data, *, axis):
    """`data` without its axes of size 1, or without those named. One axis is left of an array of one element."""
    out = np.squeeze(data, axis)
    return out if out.ndim or not data.ndim else out.reshape((1,))


@operator("SwapAxis", params={"dim1": Int(0), "dim2": Int(0)}, aliases=("swapaxes",), method=True)
def swapaxes(data, *, dim1, dim2):
    """`data` with two axes exchanged."""
    return np.swapaxes(data, dim1, dim2)


@operator("broadcast_to", params={"shape": Shape(())}, growth=lambda arrays, p: math.prod(p["shape"]), method=True)
def broadcast_to(data, *, shape):
    """`data` repeated along axes of size 1 up to the sizes of `shape`, in which 0 keeps a size."""
    if len(shape) != data.ndim:
        raise OperatorError(f"shape {shape} has {len(shape)} axes for an array of {data.ndim}", "add axes with `reshape` first")
    return np.broadcast_to(data, tuple(n or m for n, m in zip(shape, data.shape)))


@operator("broadcast_axis", params={"axis": Shape(()), "size": Shape(())},
          growth=lambda arrays, p: arrays[0].size * math.prod(p["size"]), aliases=("broadcast_axes",), method=True)
def broadcast_axis(data, *, axis, size):
    """`data` repeated along axes of size 1, each up to its new size."""
    shape = list(data.shape)
    for k, n in zip(axis, size, strict=True):
        shape[k] = n
    return np.broadcast_to(data, tuple(shape))


@operator("broadcast_like", params={"lhs_axes": Shape(None), "rhs_axes": Shape(None)},
          same_dtype=False, method=True)
def broadcast_like(lhs, rhs, *, lhs_axes, rhs_axes):
    """`lhs` repeated along axes of size 1 up to the sizes of `rhs`, or along lhs_axes to the sizes of rhs_axes."""
    if lhs_axes is None or rhs_axes is None:
        return np.broadcast_to(lhs, rhs.shape)
    if not lhs_axes or len(lhs_axes) != len(rhs_axes):
        raise OperatorError(f"broadcast_like: lhs_axes {lhs_axes} and rhs_axes {rhs_axes} do not go together",
                            "give as many axes of lhs as of rhs, at least one")
    shape = list(lhs.shape)
    for k, n in zip(lhs_axes, rhs_axes, strict=True):
        shape[k] = rhs.shape[n]
    return np.broadcast_to(lhs, tuple(shape))
