"""Where the values of NDArrays lie: a NumPy array on the CPU, a DeviceBuffer on a GPU."""
from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np

from ..context import Context
from ..runtime.array import moved
from ..runtime.cuda.stream import wait_all
from ..runtime.cuda.transfer import Coming
from ..runtime.device import Device


def placed(data, ctx: Context):
    """The values where the context has them: themselves, or a copy on its device."""
    if ctx.kind != "gpu":
        return host(data)
    device = Device("gpu", ctx.index)
    return data if type(data) is not np.ndarray and data.device == device else moved(data, device)


def wait() -> None:
    """Returns once all GPUs that hold arrays have done what they were asked for; their errors come up here."""
    wait_all()


def host(data) -> np.ndarray:
    """The values as a NumPy array, which on the CPU is the one that holds them; waits for a GPU."""
    return data if type(data) is np.ndarray else data.host()


def coming(data) -> Callable[[], np.ndarray]:
    """A function that gives the values which the data has now, once; what waits for a GPU is its call."""
    if type(data) is np.ndarray:
        values = data.copy()
        return lambda: values
    return Coming(data).values


def slice_of(data, key: tuple):
    """data[key] with the same memory, where these elements lie in one piece; else None. The key holds no arrays."""
    if type(data) is np.ndarray:
        out = data[key]
        return out if type(out) is np.ndarray and out.flags.c_contiguous else None
    strides, step = [], data.itemsize
    for n in data.shape[::-1]:
        strides.append(step)
        step *= n
    outline = np.lib.stride_tricks.as_strided(np.empty(1, data.dtype), data.shape, strides[::-1], writeable=False)
    part = outline[key]  # nothing is read: it tells shape and place
    if type(part) is not np.ndarray or not part.flags.c_contiguous:
        return None
    offset = part.ctypes.data - outline.ctypes.data if part.size else 0
    return type(data)(data.gpu, data.block, part.shape, data.dtype, data.pointer - data.block.pointer + offset)


def owner_of(data):
    """The object whose memory this is: the same one for all views of an array."""
    if type(data) is not np.ndarray:
        return getattr(data, "block", data)
    while type(base := data.base) is np.ndarray:
        data = base
    return data


def owners_of(arrays) -> set[int]:
    """The ids of the owners of the memory of NDArrays."""
    data = [a._data for a in arrays]
    return {id(d if type(d) is np.ndarray and d.base is None else owner_of(d)) for d in data}


def fresh(result: np.ndarray, values) -> np.ndarray:
    """A result in memory of its own, in one piece: a copy where it is a view, or one of the values."""
    if result.base is not None or any(result is v for v in values):
        if not result.flags.c_contiguous:
            return np.ascontiguousarray(result)
        return result.copy() if any(np.may_share_memory(result, v) for v in values) else result
    return result if result.flags.c_contiguous else np.ascontiguousarray(result)


# Memory that others can write

exposed: dict[int, weakref.ref] = {}  # id of the owner of memory that NumPy or another library also has -> the owner


def expose(data) -> None:
    """Notes that the memory of an array was handed out or came from outside: it may be written without a word."""
    if type(data) is np.ndarray:
        owner = owner_of(data)
        key = id(owner)
        if key not in exposed:
            exposed[key] = weakref.ref(owner, lambda _: exposed.pop(key, None))


def is_exposed(data) -> bool:
    """Whether others can write the memory of an array."""
    return id(owner_of(data)) in exposed
