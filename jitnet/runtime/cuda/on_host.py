"""Eager calls that the host must run though their arrays are on a GPU: it waits for these, and sends results of arrays back.

The size of some results depends on values (`x[mask]`, nonzero, unique), and some calls are for people and files.
"""
from __future__ import annotations

import numpy as np

from ... import tree
from ...errors import TraceIndexError
from .buffer import DeviceBuffer
from .transfer import to_gpu

# Results of a size that depends on values.
SIZED = frozenset({np.argwhere, np.extract, np.flatnonzero, np.intersect1d, np.nonzero, np.setdiff1d, np.setxor1d,
                   np.trim_zeros, np.union1d, np.unique, np.unique_all, np.unique_counts, np.unique_inverse, np.unique_values})
# For people and files.
SHOWN = frozenset({np.array2string, np.array_repr, np.array_str, np.save, np.savetxt, np.savez, np.savez_compressed})


def must_run(function, args: tuple, kwargs: dict) -> bool:
    """Whether the host runs this NumPy function of these arguments."""
    if function in (np.compress, np.delete, np.repeat):   # by places, which must be known
        where = args[0] if function is np.compress and args else args[1] if len(args) > 1 else next(iter(kwargs.values()), None)
        return isinstance(where, DeviceBuffer)
    if function is np.bincount:
        return not (args[2] if len(args) > 2 else kwargs.get("minlength", 0))
    return function in SIZED or function in SHOWN or (function is np.where and len(args) + len(kwargs) == 1)


def run(function, args: tuple, kwargs: dict):
    """What NumPy's function gives for the values, its arrays on the device of the first buffer."""
    device = next(x.device for x in tree.leaves((args, kwargs)) if isinstance(x, DeviceBuffer))
    args, kwargs = tree.map(lambda x: x.host() if isinstance(x, DeviceBuffer) else x, (args, kwargs))
    return sent(function(*args, **kwargs), device)


def sent(result, device):
    """A result with its arrays on a device; whatever else it holds stays."""
    if isinstance(result, (np.ndarray, np.generic)):
        return to_gpu(np.asarray(result), device)
    if isinstance(result, tuple):
        parts = [sent(part, device) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return result


def without_masks(shape: tuple[int, ...], key):
    """A key for an array of that shape with the places where a mask holds instead of the mask; the same where there is none."""
    parts = key if isinstance(key, tuple) else (key,)
    if not any(_is_mask(k) for k in parts):
        return key
    found, axis = [], 0
    for n, part in enumerate(parts):
        if _is_mask(part):
            here = shape[axis:axis + part.ndim]
            if part.shape != here:
                raise TraceIndexError(f"a mask of shape {part.shape} does not fit axes of sizes {here}",
                                      "give the mask the shape of the axes that it picks from")
            found += np.nonzero(part.host() if isinstance(part, DeviceBuffer) else part)
        else:
            found.append(part)
        axis = len(shape) - sum(map(_axes, parts[n + 1:])) if part is Ellipsis else axis + _axes(part)
    return tuple(found)


def _is_mask(key) -> bool:
    return isinstance(key, (DeviceBuffer, np.ndarray)) and key.dtype == np.bool_ and key.ndim > 0


def _axes(key) -> int:
    """How many axes of an array a part of a key takes up."""
    return key.ndim if _is_mask(key) else 0 if key is None or key is Ellipsis else 1
