"""Operators that pick elements by position."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import numpy as jnp
from ..errors import OperatorError
from ..numpy.protocol import astype
from ..types import normalize_axis
from . import infer
from .params import Bool, DType, Enum, Float, Int, Param, Shape
from .registry import operator


@dataclass(frozen=True)
class Key(Param):
    """What stands between the brackets of `x[...]`: slices, numbers, None, Ellipsis, and `Place(k)` for the k-th array."""

    type_name = "index"

    def convert(self, value):
        return value


@dataclass(frozen=True)
class Place:
    """Where the k-th index array stands in a key."""

    k: int


@dataclass(frozen=True)
class Span:
    """A slice that can be part of a key of a dictionary."""

    start: int | None
    stop: int | None
    step: int | None


def frozen_key(key: tuple) -> tuple:
    """The key with slices as Spans."""
    return tuple([Span(k.start, k.stop, k.step) if isinstance(k, slice) else k for k in key])


def _thawed(key: tuple, arrays) -> tuple:
    return tuple([slice(k.start, k.stop, k.step) if isinstance(k, Span) else arrays[k.k] if isinstance(k, Place) else k
                  for k in key])


@operator("_index", params={"key": Key()}, variadic="num_args", same_dtype=False, copies=True, type_rule=infer.forward_type)
def index(*data, key, num_args):
    """`data[key]` of the first input; the others are its index arrays. A single element has the shape (1,)."""
    out = data[0][_thawed(key, data[1:])]
    if type(data[0]) is np.ndarray:
        out = np.asarray(out)
    return out if out.ndim or not data[0].ndim else out.reshape((1,))


@operator("_index_set", params={"key": Key()}, variadic="num_args", same_dtype=False, copies=True, type_rule=infer.forward_type)
def index_set(*data, key, num_args):
    """The first input with the second written at `key`; the others are the index arrays of the key."""
    out = data[0].copy()
    out[_thawed(key, data[2:])] = data[1]
    return out


# Positions in arrays: MXNet's indices are floats as often as integers

def positions(indices, size: int, mode: str):
    """Indices as int64, brought into range: "clip" to the nearest, "wrap" around, "raise" leaves them as they are."""
    indices = astype(indices, np.int64)
    if mode == "clip":
        return np.minimum(np.maximum(indices, np.int64(0)), np.int64(max(size - 1, 0)))
    return np.remainder(indices, np.int64(size)) if mode == "wrap" else indices


def _first_type(op, ins, outs, params):
    out = next((d for d in (ins[0], outs[0]) if d is not None), None)
    return [out, *ins[1:]], [out] * len(outs)


@operator("take", params={"axis": Int(0), "mode": Enum("clip", choices=("clip", "raise", "wrap"))}, same_dtype=False,
          type_rule=_first_type, method=True)
def take(a, indices, *, axis, mode):
    """The slices of `a` at positions along an axis: a.shape with indices.shape in place of that axis."""
    axis = normalize_axis(axis, a.ndim, "take")
    return np.take(a, positions(indices, a.shape[axis], mode), axis=axis)


@operator("batch_take", same_dtype=False, type_rule=_first_type)
def batch_take(a, indices):
    """a[k, indices[k]] for every row k."""
    return jnp.take_along_axis(a, positions(indices, a.shape[1], "clip")[:, None], 1)[:, 0]


def _pick_shapes(op, ins, outs, params):
    """The shape of `data` says the others."""
    (data, index), outs = infer.forward(op, ins, outs, params)
    if data is not None and params["axis"] is not None:
        axis = normalize_axis(params["axis"], len(data), op.name)
        others = (*data[:axis], *data[axis + 1:]) or (1,)
        index = others if index is None else index
        outs = [infer.merge(outs[0], (*data[:axis], 1, *data[axis + 1:]) if params["keepdims"] else others, "output")]
    return [data, index], outs


@operator("pick", params={"axis": Int(-1, optional=True), "keepdims": Bool(False),
                          "mode": Enum("clip", choices=("clip", "wrap"))}, aliases=("choose_element_0index",),
          same_dtype=False, type_rule=_first_type, shape_rule=_pick_shapes, method=True)
def pick(data, index, *, axis, keepdims, mode):
    """One element per position of the other axes: the one that `index` names along `axis`."""
    if axis is None:
        data, axis = data.reshape((-1,)), 0
    axis = normalize_axis(axis, data.ndim, "pick")
    kept = (*data.shape[:axis], 1, *data.shape[axis + 1:])
    out = jnp.take_along_axis(data, positions(index, data.shape[axis], mode).reshape(kept), axis)
    out = out if keepdims else np.squeeze(out, axis)
    return out if out.ndim else out.reshape((1,))


@operator("one_hot", params={"depth": Int(), "on_value": Float(1.0), "off_value": Float(0.0), "dtype": DType("float32")},
          growth=lambda arrays, p: arrays[0].size * p["depth"], type_rule=infer.forward_type, method=True)
def one_hot(indices, *, depth, on_value, off_value, dtype):
    """on_value at the position that each index names along a new last axis, off_value elsewhere."""
    hit = astype(indices, np.int32)[..., None] == jnp.arange(depth, dtype=np.int32)
    return np.where(hit, np.asarray(on_value, dtype), np.asarray(off_value, dtype))


@operator("fill_element_0index", same_dtype=False, type_rule=_first_type)
def fill_element_0index(lhs, mhs, rhs):
    """`lhs` with mhs[k] written at the position rhs[k] of every row k."""
    hit = astype(rhs, np.int32)[:, None] == np.arange(lhs.shape[1], dtype=np.int32)
    return np.where(hit, mhs[:, None], lhs)


@operator("where", same_dtype=False, type_rule=lambda op, ins, outs, p: ([ins[0], ins[1] or ins[2], ins[2] or ins[1]],
                                                                       [ins[1] or ins[2] or outs[0]]))
def where(condition, x, y):
    """Elements of x where `condition` differs from 0, else of y; a vector as condition chooses whole rows."""
    if x.dtype != y.dtype:
        raise OperatorError(f"argument y: expected {x.dtype}, got {y.dtype}", "convert one: `y.astype(...)`")
    if condition.ndim == 1 and x.ndim > 1:
        condition = condition.reshape((-1, *[1] * (x.ndim - 1)))
    return np.where(np.not_equal(condition, 0), x, y)


@operator("gather_nd", same_dtype=False, type_rule=_first_type)
def gather_nd(data, indices):
    """data[indices[0], indices[1], ...]: the first axis of `indices` runs over axes of `data`."""
    picked = astype(indices, np.int64)
    out = data[tuple([picked[k] for k in range(indices.shape[0])])]
    return np.asarray(out) if type(data) is np.ndarray else out


@operator("scatter_nd", params={"shape": Shape()}, same_dtype=False, type_rule=_first_type)
def scatter_nd(data, indices, *, shape):
    """Zeros of a shape, with `data` written at the positions that gather_nd would read."""
    picked = astype(indices, np.int64)
    out = jnp.zeros(shape, data.dtype)
    out[tuple([picked[k] for k in range(indices.shape[0])])] = data
    return out


@operator("_ravel_multi_index", params={"shape": Shape()}, aliases=("ravel_multi_index",))
def ravel_multi_index(data, *, shape):
    """Positions in a flattened array of that shape; row k of `data` holds the indices along axis k."""
    strides = [math.prod(shape[k + 1:]) for k in range(len(shape))]
    return sum(data[k] * data.dtype.type(s) for k, s in enumerate(strides))


@operator("_unravel_index", params={"shape": Shape()}, aliases=("unravel_index",))
def unravel_index(data, *, shape):
    """Indices along each axis, one row per axis, of positions in a flattened array of that shape; its first size may be -1."""
    flat = astype(data, np.int64)
    rows = [flat // math.prod(shape[k + 1:]) for k in range(len(shape))]
    rows = [row if n == -1 and k == 0 else row % n for k, (row, n) in enumerate(zip(rows, shape))]
    return astype(np.stack(rows), data.dtype)


# Sequences: axis 0 or 1 is time, the other one the batch

def _within(data, lengths, axis: int):
    """Whether each element lies within its sequence, as a mask that broadcasts against `data`."""
    steps = np.arange(data.shape[axis])
    mask = steps[:, None] < lengths[None, :] if axis == 0 else steps[None, :] < lengths[:, None]
    return mask.reshape((*mask.shape, *[1] * (data.ndim - 2)))


def _sequence_inputs(params):
    return ("data", "sequence_length") if params["use_sequence_length"] else ("data",)


@operator("SequenceMask", params={"use_sequence_length": Bool(False), "value": Float(0.0), "axis": Int(0, low=0, high=1)},
          inputs=_sequence_inputs, same_dtype=False, type_rule=_first_type)
def sequence_mask(data, sequence_length=None, *, use_sequence_length, value, axis):
    """`data` with `value` wherever time is beyond the length of the sequence."""
    if sequence_length is None:
        return data.copy()
    return np.where(_within(data, sequence_length, axis), data, data.dtype.type(value))


@operator("SequenceLast", params={"use_sequence_length": Bool(False), "axis": Int(0, low=0, high=1)},
          inputs=_sequence_inputs, same_dtype=False, type_rule=_first_type)
def sequence_last(data, sequence_length=None, *, use_sequence_length, axis):
    """The last element of every sequence."""
    x = np.swapaxes(data, 0, 1) if axis == 0 else data
    if sequence_length is None:
        return x[:, -1]
    last = positions(sequence_length, x.shape[1] + 1, "clip") - 1
    return jnp.take_along_axis(x, last.reshape((-1, *[1] * (x.ndim - 1))), 1)[:, 0]


@operator("SequenceReverse", params={"use_sequence_length": Bool(False), "axis": Int(0, low=0, high=0)},
          inputs=_sequence_inputs, same_dtype=False, type_rule=_first_type)
def sequence_reverse(data, sequence_length=None, *, use_sequence_length, axis):
    """Every sequence in opposite order; what is beyond its length stays where it is."""
    if sequence_length is None:
        return np.flip(data, 0)
    steps, lengths = np.arange(data.shape[0])[:, None], astype(sequence_length, np.int64)[None, :]
    source = np.where(steps < lengths, lengths - 1 - steps, steps)
    return jnp.take_along_axis(data, source.reshape((*source.shape, *[1] * (data.ndim - 2))), 0)
