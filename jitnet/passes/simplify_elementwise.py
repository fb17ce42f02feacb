"""The rules of `simplify` for arithmetic, choice, logic and casts. Constants are 0-d: broadcasts have been read through."""
from __future__ import annotations

import numpy as np

from .. import ops
from ..ir import Atom, Const, Eqn
from ..ops.control import stop_gradient
from ..types import BOOL, broadcast_shapes, finfo, is_float
from .rewrite import scalar


def _value(atom: Atom):
    """The NumPy scalar of a 0-d constant, or None."""
    return atom.value[()] if type(atom) is Const and not atom.type.shape else None


def _split(eqn: Eqn):
    """(operand, constant value) of a commutative equation with one constant operand; (None, None) otherwise."""
    x, y = eqn.inputs
    v = _value(y)
    if v is not None:
        return x, v
    v = _value(x)
    return (y, v) if v is not None else (None, None)


def _negated(v) -> Const:
    """-v as a constant; of integers modulo their width, as everywhere."""
    with np.errstate(over="ignore"):
        return Const(np.negative(v))


def _wrapped(op, a, b) -> Const:
    """op(a, b) of two integers, modulo their width."""
    with np.errstate(over="ignore"):
        return Const(op.body(np.asarray(a), np.asarray(b)))


def _signed(eqn: Eqn) -> bool:
    return is_float(eqn.outputs[0].type.dtype) or eqn.outputs[0].type.dtype.kind == "i"


def _multiply(s, eqn):
    kind = eqn.outputs[0].type.dtype.kind
    x, v = _split(eqn)
    if x is None:
        a, b = (s.operand_of(ops.negative, x) for x in eqn.inputs)
        return s.becomes(eqn, ops.multiply, a, b) if a is not None and b is not None else None  # (-a) * (-b) -> a * b
    if v == 1:
        return s.shaped(eqn, x)  # x * 1 -> x; of bools, x and True -> x
    if kind in "iub" and v == 0:
        return s.shaped(eqn, scalar(0, eqn.outputs[0].type.dtype))  # x * 0 -> 0, of integers: NaN * 0 is NaN, -1.0 * 0 is -0.0
    if kind in "if":
        if v == -1:
            return s.becomes(eqn, ops.negative, x)  # x * -1 -> -x
        u = s.operand_of(ops.negative, x)
        if u is not None:
            return s.becomes(eqn, ops.multiply, u, _negated(v))  # (-u) * c -> u * (-c)
    if kind in "iu":
        inner = s.made_by(ops.multiply, x)
        u, w = _split(inner) if inner else (None, None)
        if u is not None:
            return s.becomes(eqn, ops.multiply, u, _wrapped(ops.multiply, v, w))  # (u * c) * d -> u * (c * d), of integers
    return None


def _add(s, eqn):
    x, y = eqn.inputs
    kind = eqn.outputs[0].type.dtype.kind
    other, v = _split(eqn)
    if other is not None:
        if v == 0 and (kind != "f" or np.signbit(v)):
            return s.shaped(eqn, other)  # x + (-0.0) -> x; of integers x + 0 -> x. Not x + 0.0: -0.0 + 0.0 is 0.0
        if kind == "b" and v:
            return s.shaped(eqn, scalar(True, BOOL))  # x or True -> True
        inner = s.made_by(ops.add, other) if kind in "iu" else None
        u, w = _split(inner) if inner else (None, None)
        if u is not None:
            return s.becomes(eqn, ops.add, u, _wrapped(ops.add, v, w))  # (u + c) + d -> u + (c + d), of integers
    u = s.operand_of(ops.negative, y)
    if u is not None:
        return s.becomes(eqn, ops.subtract, x, u)  # x + (-u) -> x - u
    u = s.operand_of(ops.negative, x)
    return s.becomes(eqn, ops.subtract, y, u) if u is not None else None  # (-u) + y -> y - u


def _subtract(s, eqn):
    x, y = eqn.inputs
    signed_zeros = is_float(eqn.outputs[0].type.dtype)
    v = _value(y)
    if v is not None and v == 0 and not (signed_zeros and np.signbit(v)):
        return s.shaped(eqn, x)  # x - 0 -> x. Not x - (-0.0): -0.0 - (-0.0) is 0.0
    v = _value(x)
    if v is not None and v == 0 and _signed(eqn) and (not signed_zeros or np.signbit(v)):
        return s.becomes(eqn, ops.negative, y)  # -0.0 - y -> -y; of integers 0 - y -> -y. Not 0.0 - y: 0.0 - 0.0 is 0.0
    u = s.operand_of(ops.negative, y)
    return s.becomes(eqn, ops.add, x, u) if u is not None else None  # x - (-u) -> x + u


def _divide(s, eqn):
    x, y = eqn.inputs
    v = _value(y)
    if v is not None and v == 1:
        return s.shaped(eqn, x)  # x / 1 -> x
    if v is not None and v == -1:
        return s.becomes(eqn, ops.negative, x)  # x / -1 -> -x
    a, b = (s.operand_of(ops.negative, x) for x in eqn.inputs)
    return s.becomes(eqn, ops.divide, a, b) if a is not None and b is not None else None  # (-a) / (-b) -> a / b


def _negative(s, eqn):
    (x,) = eqn.inputs
    inner = s.definition.get(x)
    if inner is None:
        return None
    if inner.op is ops.negative:
        return inner.inputs[0]  # -(-u) -> u
    if inner.op is ops.multiply:
        u, v = _split(inner)
        if u is not None and _signed(eqn):
            return s.becomes(eqn, ops.multiply, u, _negated(v))  # -(u * c) -> u * (-c)
    return None


def _power(s, eqn):
    x, y = eqn.inputs
    v = _value(y)
    if v is None or x.type.shape != eqn.outputs[0].type.shape:
        return None
    dtype = x.type.dtype
    if v == 0:
        return s.shaped(eqn, scalar(1, dtype))  # x ** 0 -> 1, also of NaN
    if v == 1:
        return x  # x ** 1 -> x
    if v == 2:
        return s.becomes(eqn, ops.multiply, x, x)  # x ** 2 -> x * x
    if v == 3:
        return s.becomes(eqn, ops.multiply, s.emit(ops.multiply, [x, x]), x)  # x ** 3 -> x * x * x, but for the last place
    if is_float(dtype):
        if v == -1:
            return s.becomes(eqn, ops.divide, scalar(1, dtype), x)  # x ** -1 -> 1 / x
        if v == 0.5:
            return s.becomes(eqn, ops.sqrt, x)  # x ** 0.5 -> sqrt(x), which is what NumPy computes, also for -0.0 and -inf
    return None


def _abs(s, eqn):
    (x,) = eqn.inputs
    if x.type.dtype.kind in "bu" or s.made_by(ops.abs, x):
        return x  # |x| -> x of what has no sign; ||u|| -> |u|
    u = s.operand_of(ops.negative, x)
    return s.becomes(eqn, ops.abs, u) if u is not None else None  # |-u| -> |u|


def _round(s, eqn):
    """floor, ceil, trunc: of integers, and of what is whole already."""
    (x,) = eqn.inputs
    inner = s.definition.get(x)
    whole = not is_float(x.type.dtype) or (inner is not None and inner.op in (ops.floor, ops.ceil, ops.trunc, ops.rint))
    return x if whole and x.type.dtype == eqn.outputs[0].type.dtype else None  # floor(rint(u)) -> rint(u)


def _extreme(s, eqn):
    x, y = eqn.inputs
    if x is y:
        return x  # max(x, x) -> x
    other, v = _split(eqn)
    if other is None or eqn.op not in (ops.maximum, ops.minimum):
        return None
    dtype = other.type.dtype
    if is_float(dtype):
        neutral = -np.inf if eqn.op is ops.maximum else np.inf
    elif dtype.kind in "iu":
        neutral = np.iinfo(dtype).min if eqn.op is ops.maximum else np.iinfo(dtype).max
    else:
        return None
    return s.shaped(eqn, other) if v == neutral else None  # max(x, -inf) -> x, also of NaN; the same with the smallest integer


def _and_or(s, eqn):
    """Of bools alone: numbers come out as bools."""
    x, y = eqn.inputs
    if x.type.dtype != BOOL:
        return s.shaped(eqn, x) if x is y and eqn.op not in (ops.logical_and, ops.logical_or) else None  # x & x -> x
    if x is y:
        return x  # x & x -> x
    other, v = _split(eqn)
    if other is None:
        return None
    absorbs = eqn.op in (ops.logical_or, ops.bitwise_or)
    return s.shaped(eqn, scalar(absorbs, BOOL) if bool(v) == absorbs else other)  # x | True -> True, x | False -> x


def _not(s, eqn):
    (x,) = eqn.inputs
    inner = s.definition.get(x)
    if inner is None:
        return None
    if inner.op is eqn.op and (x.type.dtype == BOOL == inner.inputs[0].type.dtype or eqn.op is ops.invert):
        return inner.inputs[0]  # not not u -> u, ~~u -> u
    if x.type.dtype == BOOL and inner.op in (ops.equal, ops.not_equal):
        opposite = ops.not_equal if inner.op is ops.equal else ops.equal
        return s.becomes(eqn, opposite, *inner.inputs)  # not (a == b) -> a != b. Not so for a < b: NaN
    return None


def _where(s, eqn):
    c, x, y = eqn.inputs
    v = _value(c)
    if v is not None:
        return s.shaped(eqn, x if v else y)  # where(True, x, y) -> x
    if x is y:
        return s.shaped(eqn, x)  # where(c, x, x) -> x
    inner = s.definition.get(c)
    if inner is not None and inner.op in (ops.logical_not, ops.invert) and inner.inputs[0].type.dtype == BOOL:
        return s.becomes(eqn, ops.where, inner.inputs[0], y, x)  # where(not c, x, y) -> where(c, y, x)
    if x.type.dtype == BOOL and c.type.shape == eqn.outputs[0].type.shape:
        values = _value(x), _value(y)
        if values == (True, False):
            return c  # where(c, True, False) -> c
        if values == (False, True):
            return s.becomes(eqn, ops.logical_not, c)  # where(c, False, True) -> not c
    for k in (1, 2):
        inner = s.made_by(ops.where, eqn.inputs[k])
        if inner is not None and inner.inputs[0] is c:
            kept = inner.inputs[k]
            rest = (kept, y) if k == 1 else (x, kept)
            if broadcast_shapes(c.type.shape, *[a.type.shape for a in rest]) == eqn.outputs[0].type.shape:
                return s.becomes(eqn, ops.where, c, *rest)  # where(c, where(c, x, z), y) -> where(c, x, y)
    return None


def holds_all(wide: np.dtype, narrow: np.dtype) -> bool:
    """Whether every value of one dtype is exactly one of the other (np.can_cast calls int64 -> float64 safe: it is not)."""
    if narrow in (BOOL, wide):
        return True
    if is_float(wide):
        if is_float(narrow):
            return wide.itemsize > narrow.itemsize
        return narrow.itemsize * 8 - (narrow.kind == "i") <= finfo(wide).nmant + 1
    return narrow.kind in "iu" and wide.kind in "iu" and np.can_cast(narrow, wide)


def _cast(s, eqn):
    (x,) = eqn.inputs
    target = eqn.params["dtype"]
    if x.type.dtype == target:
        return x  # cast(x, its dtype) -> x
    u = s.operand_of(ops.cast, x)
    if u is None:
        return None
    source, between = u.type.dtype, x.type.dtype
    integers = all(d.kind in "iu" for d in (source, between, target))
    if integers and target.itemsize <= between.itemsize:
        exact = True  # each keeps the low bits
    elif not holds_all(between, source):
        exact = False
    elif is_float(between) and target.kind in "iu":
        exact = holds_all(target, source)  # a float outside the integer's range has no one meaning
    else:
        exact = True
    return s.becomes(eqn, ops.cast, u, dtype=target) if exact else None  # cast(cast(u, wide), d) -> cast(u, d)


def _identity(s, eqn):
    return eqn.inputs[0]  # stop_gradient(x) -> x: derivatives have been taken


RULES = {
    ops.multiply: _multiply, ops.add: _add, ops.subtract: _subtract, ops.divide: _divide,
    ops.negative: _negative, ops.power: _power, ops.abs: _abs, ops.floor: _round, ops.ceil: _round, ops.trunc: _round,
    ops.maximum: _extreme, ops.minimum: _extreme, ops.fmax: _extreme, ops.fmin: _extreme,
    ops.logical_and: _and_or, ops.logical_or: _and_or, ops.bitwise_and: _and_or, ops.bitwise_or: _and_or,
    ops.logical_not: _not, ops.invert: _not, ops.where: _where, ops.cast: _cast, stop_gradient: _identity,
}
