"""Array types: shape, dtype and device; their short names; NumPy 2 promotion and broadcasting.

    type  ::=  dtype[shape]          f32[3,4]   i64[]   b1[2]
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import ml_dtypes
import numpy as np

from .errors import TraceTypeError

# dtype -> short name: every dtype that jitnet compiles
SHORT_NAMES = {
    np.dtype(np.bool_): "b1",
    np.dtype(np.int8): "i8", np.dtype(np.int16): "i16", np.dtype(np.int32): "i32", np.dtype(np.int64): "i64",
    np.dtype(np.uint8): "u8", np.dtype(np.uint16): "u16", np.dtype(np.uint32): "u32", np.dtype(np.uint64): "u64",
    np.dtype(np.float16): "f16", np.dtype(ml_dtypes.bfloat16): "bf16", np.dtype(np.float32): "f32", np.dtype(np.float64): "f64",
}
DTYPES = {name: dtype for dtype, name in SHORT_NAMES.items()}
BOOL, I8, I32, I64, F16, BF16, F32, F64 = (DTYPES[n] for n in ("b1", "i8", "i32", "i64", "f16", "bf16", "f32", "f64"))
NUMPY_CHARS = frozenset("?bhilqBHILQefd")  # NumPy's characters of those that are its own
HALVES = frozenset((F16, BF16))  # floats that are stored in 16 bits and computed with in float32


def short_dtype(dtype) -> str:
    """`f32` for float32; the NumPy name for a dtype that jitnet does not know."""
    return SHORT_NAMES.get(dtype) or str(dtype)


def finfo(dtype):
    """Limits of a float dtype, as `np.finfo` gives them."""
    return ml_dtypes.finfo(dtype) if dtype == BF16 else np.finfo(dtype)


@dataclass(frozen=True, slots=True)
class ArrayType:
    """Shape and dtype of an array, and the device it lives on (None: wherever the program runs)."""

    shape: tuple[int, ...]
    dtype: np.dtype
    device: object = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{short_dtype(self.dtype)}[{','.join(map(str, self.shape))}]"

    def with_shape(self, shape) -> ArrayType:
        return ArrayType(tuple(shape), self.dtype, self.device)

    def with_dtype(self, dtype) -> ArrayType:
        return ArrayType(self.shape, dtype, self.device)


def known_dtype(dtype, name: str = "array") -> np.dtype:
    """The dtype as NumPy's own object when jitnet compiles it; TraceTypeError otherwise."""
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise TraceTypeError(f"{name}: {dtype!r} is not a dtype", f"use one of {', '.join(DTYPES)}") from None
    dtype = dtype.newbyteorder("=") if not dtype.isnative and dtype.kind in "iufb" else dtype
    if dtype not in SHORT_NAMES:
        raise TraceTypeError(f"{name}: jitnet does not compile the dtype {dtype}",
                             "compute with real and imaginary parts apart" if dtype.kind == "c" else
                             f"convert it with `astype` to one of {', '.join(DTYPES)}")
    return DTYPES[SHORT_NAMES[dtype]]


def type_of_array(array, name: str = "array") -> ArrayType:
    """The type of a NumPy array or scalar; TraceTypeError when jitnet does not know its dtype."""
    return ArrayType(array.shape, known_dtype(array.dtype, name))


def is_float(dtype) -> bool:
    """Whether the elements are floats; of bfloat16 NumPy itself says they are void."""
    return dtype.kind == "f" or dtype == BF16


WEAK_SAMPLES = {bool: False, int: 0, float: 0.0}


@lru_cache(maxsize=4096)
def promote(*dtypes) -> np.dtype:
    """NumPy 2's common dtype. A Python scalar type (bool, int, float) counts as weak.

    NumPy has no rules for bfloat16. These are JAX's: it stays with integers and Python scalars, and is a float32 with float16.
    """
    if BF16 in dtypes:
        others = [F32 if d == F16 else d for d in dtypes if d not in WEAK_SAMPLES and is_float(d) and d != BF16]
        return np.result_type(*others) if others else BF16
    if all(d in WEAK_SAMPLES for d in dtypes):
        return np.result_type(*(np.min_scalar_type(False) if d is bool else np.dtype(d) for d in dtypes))
    return np.result_type(*(WEAK_SAMPLES.get(d, d) for d in dtypes))


def same_kind(source: np.dtype, target: np.dtype) -> bool:
    """Whether NumPy lets a result of one dtype be written into an array of the other; bfloat16 counts as float16 does."""
    return np.can_cast(*(F16 if d == BF16 else d for d in (source, target)), "same_kind")


def broadcast_shapes(*shapes) -> tuple[int, ...] | None:
    """The common shape under NumPy's rules, or None when there is none."""
    ndim = max(map(len, shapes), default=0)
    out = [1] * ndim
    for shape in shapes:
        for i, n in enumerate(shape, ndim - len(shape)):
            if out[i] != n:
                if out[i] == 1:
                    out[i] = n
                elif n != 1:
                    return None
    return tuple(out)


def normalize_axis(axis, ndim: int, name: str) -> int:
    """The axis counted from the front; TraceTypeError when the array has no such axis."""
    try:
        position = axis.__index__()
    except AttributeError:
        raise TraceTypeError(f"{name}: axis must be an integer, not {axis!r}", "pass an int such as `axis=0`") from None
    if not -ndim <= position < ndim:
        raise TraceTypeError(f"{name}: there is no axis {position} in an array of {ndim} dimensions",
                             f"axes go from {-ndim} to {ndim - 1}" if ndim else "a 0-d array has no axes")
    return position % ndim


def normalize_axes(axis, ndim: int, name: str) -> tuple[int, ...]:
    """The axes sorted and counted from the front; None means all; repeated ones are an error."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(sorted(normalize_axis(a, ndim, name) for a in axes))
    if len(set(axes)) != len(axes):
        raise TraceTypeError(f"{name}: an axis is named twice in {axis}", "name each axis once")
    return axes
