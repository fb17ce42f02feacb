"""Arguments that a compiled function writes into: whether it may, and how the new values get there."""
from __future__ import annotations

import collections

import numpy as np

from .arguments import LeafNames
from .errors import TraceValueError
from .runtime.array import Array
from .runtime.cuda.buffer import DeviceBuffer
from .runtime.cuda.memory import Foreign


def check_writable(written: tuple[int, ...], leaves: list, names: LeafNames) -> None:
    """TraceValueError when an argument that will be written is read-only, or shares memory with another or with itself."""
    arrays = [leaf._data if type(leaf) is Array else leaf for leaf in leaves]
    shared = lodgers(arrays)
    for k in written:
        if not isinstance(arrays[k], (np.ndarray, DeviceBuffer)):  # a scalar: what is written stays inside the function
            continue
        if not (arrays[k].flags.writeable if isinstance(arrays[k], np.ndarray) else arrays[k].writeable):
            raise TraceValueError(f"{names[k]} is read-only, and the function writes into it", "pass a copy: `x.copy()`")
        if isinstance(arrays[k], np.ndarray) and _lies_in_one_place(arrays[k]):
            raise TraceValueError(f"{names[k]} has elements in one place, and the function writes into it",
                                  "pass a copy: `x.copy()`")
        for other in range(len(arrays)) if k in shared else shared:
            if other != k and type(arrays[other]) is type(arrays[k]) and _overlap(arrays[k], arrays[other]):
                what = f"shares memory with `{names.paths()[other]}`, and the function writes into it"
                raise TraceValueError(f"{names[k]} {what}", "pass a copy of one of them: `x.copy()`")


def lodgers(arrays: list) -> list[int]:
    """The places of arrays that may not have their memory for themselves. Two of which neither is here share none."""
    homes = [array.block if type(array) is DeviceBuffer else array for array in arrays]
    known = collections.Counter(map(id, homes))
    return [k for k, home in enumerate(homes) if known[id(home)] > 1 or type(home) is Foreign
            or (isinstance(home, np.ndarray) and not home.flags.owndata)]


def _lies_in_one_place(x: np.ndarray) -> bool:
    """Whether elements of an axis are one and the same, as those of a broadcast array are."""
    return x.size > 0 and any(n > 1 and step == 0 for n, step in zip(x.shape, x.strides))


def _overlap(x, y) -> bool:
    if isinstance(x, DeviceBuffer):
        return x.overlaps(y)
    try:
        return np.may_share_memory(x, y) and np.shares_memory(x, y, max_work=10_000)
    except np.exceptions.TooHardError:
        return True


def write_back(written: tuple[int, ...], leaves: list, outs) -> list:
    """The results among the outputs; the others, the last ones, go into the arguments that the function wrote into."""
    if not written:
        return outs
    results = len(outs) - len(written)
    for k, new in zip(written, outs[results:], strict=True):
        target = leaves[k]
        data = target._data if type(target) is Array else target
        if isinstance(data, DeviceBuffer):
            data.assign(new)
        elif isinstance(data, np.ndarray):
            np.copyto(data, new.host() if isinstance(new, DeviceBuffer) else new)
    return outs[:results]
