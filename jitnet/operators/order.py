"""Operators that sort and search. Positions are numbers of the dtype `dtype`, by default float32, as MXNet has them."""
from __future__ import annotations

import numpy as np

from .. import numpy as jnp
from ..errors import OperatorError
from ..numpy.protocol import astype
from ..types import normalize_axis
from .params import Bool, DType, Enum, Int
from .registry import operator

BLOCK = 32768  # elements


def _flat(data, axis: int | None):
    """(data, axis), or the flattened data and 0 when no axis is given."""
    return (data.reshape((-1,)), 0) if axis is None else (data, normalize_axis(axis, data.ndim, "axis"))


def order(data, axis: int, ascending: bool, count: int | None = None):
    """Positions of the elements in order (the first `count` of them); equal ones stay in the order in which they lie."""
    if type(data) is np.ndarray and data.itemsize <= 4 and data.size and data.shape[axis] < 2**32:
        return np.swapaxes(_packed_order(np.swapaxes(data, axis, -1), ascending, count), axis, -1)
    out = _stable_order(data, axis, ascending)
    return out if count is None else out[(slice(None),) * axis + (slice(0, count),)]


def _packed_order(data: np.ndarray, ascending: bool, count: int | None) -> np.ndarray:
    """`order` along the last axis: of one number for each element, its value in the upper half and its position in the lower
    one. NumPy sorts and partitions such numbers several times as fast as it finds positions."""
    n = data.shape[-1]
    count = n if count is None else min(count, n)
    rows = data.reshape((-1, n))
    out = np.empty((len(rows), count), np.int64)
    step = max(1, BLOCK // n)  # blocks of rows whose numbers stay in cache
    for start in range(0, len(rows), step):
        packed = _packed(rows[start:start + step], ascending)
        if count < n:
            packed = np.partition(packed, count - 1, axis=-1)[:, :count]
        packed.sort(axis=-1)
        np.bitwise_and(packed, 0xFFFFFFFF, out=out[start:start + step])
    return out.reshape((*data.shape[:-1], count))


def _packed(rows: np.ndarray, ascending: bool) -> np.ndarray:
    """One int64 per element, which sorts by value, then by position in its row; NaN comes after all other values."""
    bits = rows
    if rows.dtype.kind == "f":
        value = rows.astype(np.float32) + np.float32(0)  # -0 equals 0
        bits = value.view(np.int32)
        bits = bits ^ (bits >> 31 & np.int32(0x7FFFFFFF))
        if np.isnan(value.min()):
            bits[np.isnan(value)] = 2**31 - 1
    number = bits.astype(np.int64)
    if not ascending:
        np.invert(number, out=number)
    number <<= 32
    number |= np.arange(rows.shape[-1])
    return number


def _stable_order(data, axis: int, ascending: bool):
    if ascending:
        return np.argsort(data, axis=axis, kind="stable")
    last = data.shape[axis] - 1
    return last - np.flip(np.argsort(np.flip(data, axis), axis=axis, kind="stable"), axis)


def _typed(op, ins, outs, params):
    return list(ins), [np.dtype(params["dtype"])] * len(outs)


@operator("sort", params={"axis": Int(-1, optional=True), "is_ascend": Bool(True)}, kernels=False, on_gpu=True, method=True,
          output_rule=("output0",))
def sort(data, *, axis, is_ascend):
    """The elements in order along an axis (None: all of them, flattened)."""
    data, axis = _flat(data, axis)
    out = np.sort(data, axis=axis)
    return out if is_ascend else np.flip(out, axis)


@operator("argsort", params={"axis": Int(-1, optional=True), "is_ascend": Bool(True), "dtype": DType("float32")},
          type_rule=_typed, kernels=False, on_gpu=True, method=True)
def argsort(data, *, axis, is_ascend, dtype):
    """Positions of the elements in order along an axis."""
    data, axis = _flat(data, axis)
    return astype(order(data, axis, is_ascend), dtype)


def _topk_types(op, ins, outs, params):
    found = {"value": [ins[0]], "mask": [ins[0]], "indices": [np.dtype(params["dtype"])],
             "both": [ins[0], np.dtype(params["dtype"])]}
    return list(ins), found[params["ret_typ"]]


@operator("topk", params={"axis": Int(-1, optional=True), "k": Int(1), "is_ascend": Bool(False), "dtype": DType("float32"),
                          "ret_typ": Enum("indices", choices=("both", "indices", "mask", "value"))},
          output_count=lambda p: 2 if p["ret_typ"] == "both" else 1, type_rule=_topk_types, kernels=False, on_gpu=True,
          method=True)
def topk(data, *, axis, k, ret_typ, is_ascend, dtype):
    """The k largest elements along an axis (smallest with `is_ascend`): values, positions, both, or a mask of 0 and 1."""
    shape = data.shape
    data, axis = _flat(data, axis)
    if k > data.shape[axis]:
        raise OperatorError(f"parameter k: {k} of the {data.shape[axis]} elements along the axis", "0 takes all of them")
    k = k if k > 0 else data.shape[axis]
    places = order(data, axis, is_ascend, k)
    if ret_typ == "indices":
        return astype(places, dtype)
    if ret_typ == "mask":
        rank = np.argsort(order(data, axis, is_ascend), axis=axis, kind="stable")
        return (rank < k).astype(data.dtype).reshape(shape)
    values = jnp.take_along_axis(data, places, axis)
    return values if ret_typ == "value" else (values, astype(places, dtype))


def _position(name: str, function) -> None:
    def body(data, *, axis, keepdims):
        shape = data.shape
        places = function(data.reshape((-1,)) if axis is None else data, axis=0 if axis is None else axis)
        places = np.asarray(places) if type(data) is np.ndarray else places
        if keepdims:
            places = places.reshape([1] * len(shape)) if axis is None else np.expand_dims(places, axis)
        places = astype(places, data.dtype)
        return places if places.ndim else places.reshape((1,))
    body.__doc__ = f"Position of the {name[3:]}imum along an axis (None: in the flattened array), the first one of equal ones."
    operator(name, params={"axis": Int(None), "keepdims": Bool(False)}, method=True)(body)


_position("argmax", np.argmax)
_position("argmin", np.argmin)


@operator("argmax_channel", method=True)
def argmax_channel(data):
    """Position of the maximum along axis 1."""
    return astype(np.argmax(data, axis=1), data.dtype)
