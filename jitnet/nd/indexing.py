"""x[key] and x[key] = value of NDArrays: what lies in one piece is a view, masks select, arrays of positions gather."""
from __future__ import annotations

import numpy as np

from ..errors import MXNetError
from ..operators import find
from ..operators.indexing import Place, frozen_key
from . import memory
from .base import Base
from .invoke import invoke, state
from .pending import before_write
from .tape import source_of


def read(x, key):
    """x[key]: a view where the elements lie in one piece, else a copy."""
    key, positions = plain_key(x, key)
    if state.recorder is not None:
        return _recorded(find("_index"), x, (), key, positions, None)
    data = x._data
    if type(data) is not np.ndarray:
        return type(x)(_read_on_device(data, key, positions), x._ctx)
    out = data[key]
    if type(out) is not np.ndarray:  # one element: the shape (1,), and a view of it
        out = data[_span(key)].reshape((1,)) if data.ndim else np.asarray(out)
    elif not out.flags.c_contiguous:
        out = np.ascontiguousarray(out)
    return type(x)(out, x._ctx)


def _span(key: tuple) -> tuple:
    """A key of numbers as slices of size 1."""
    return tuple([slice(k, k + 1) if (k := int(n)) != -1 else slice(-1, None) for n in key if n is not Ellipsis])


def _read_on_device(data, key: tuple, positions: bool):
    if not positions:
        numbers = [k for k in key if type(k) is int]
        if numbers and len(numbers) == data.ndim and len([k for k in key if k is not Ellipsis]) == data.ndim:
            memory.slice_of(data, key)  # an IndexError for a number out of bounds
            return memory.slice_of(data, _span(key)).reshape((1,))
        view = memory.slice_of(data, key)
        if view is not None:
            return view
    return data[key]


def write(x, key, value) -> None:
    """x[key] = value; the value is an NDArray, an array, a list or a number, and broadcasts."""
    key, positions = plain_key(x, key)
    if state.recorder is not None and (isinstance(value, Base) or source_of(x) is not None):
        if not isinstance(value, Base):  # which the recorder refuses
            value = type(x)(memory.placed(np.asarray(value, x._data.dtype), x._ctx), x._ctx)
        _recorded(find("_index_set"), x, (value,), key, positions, x)
        return
    data = value._data if isinstance(value, Base) else np.asarray(value)
    before_write(x)
    if type(x._data) is not np.ndarray or type(data) is not np.ndarray:
        x._data[key] = memory.placed(data, x._ctx)
        return
    try:
        x._data[key] = data
    except ValueError as error:
        target = x._data[key].shape
        if data.size != int(np.prod(target)):
            raise ValueError(f"could not write an array of shape {data.shape} into x[...] of shape {target}") from error
        x._data[key] = data.reshape(target)


def plain_key(x, key) -> tuple[tuple, bool]:
    """(the key as NumPy takes it, whether it holds arrays of positions)."""
    parts = key if isinstance(key, tuple) else (key,)
    out, positions = [], False
    for part in parts:
        kind = type(part)
        if kind is slice:
            part = slice(*[None if b is None else int(b) for b in (part.start, part.stop, part.step)])
        elif kind is int or part is None or part is Ellipsis:
            out.append(part)
            continue
        elif isinstance(part, np.integer):
            part = int(part)
        elif isinstance(part, (Base, np.ndarray, list, tuple, bool, np.bool_)):
            positions = True
            out += _positions(part)
            continue
        else:
            raise MXNetError(f"x[...]: a {kind.__name__} is no index", "use integers, slices, masks or arrays of integers")
        out.append(part)
    return tuple(out), positions


def _positions(part) -> list:
    """Index arrays for a mask or for an array of positions (floats too: they are MXNet's default dtype)."""
    if isinstance(part, Base):
        data = memory.host(part._data)
        data = data != 0 if part._mask else data
    else:
        data = np.asarray([np.asarray(p) for p in part]) if isinstance(part, (list, tuple)) else np.asarray(part)
    if data.dtype.kind == "b":
        return list(np.nonzero(data)) if data.ndim else [data]
    return [data.astype(np.int64) if data.dtype.kind == "f" or not data.size else data]


def _recorded(op, x, values: tuple, key: tuple, positions: bool, out):
    """The read or write as an operator call, with index arrays among its inputs."""
    arrays, parts = [], []
    for part in key:
        if isinstance(part, np.ndarray):
            parts.append(Place(len(arrays)))
            arrays.append(type(x)(np.array(part, order="C"), x._ctx))  # a copy: it may be read later than now
        else:
            parts.append(part)
    inputs = (x, *values, *arrays)
    return invoke(op, inputs, {"key": frozen_key(tuple(parts)), "num_args": len(inputs)}, out)
