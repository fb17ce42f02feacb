"""DLPack of arrays on the CPU: NumPy's own, and bfloat16, which NumPy lacks, as integers of 16 bits under another code."""
from __future__ import annotations

import ctypes

import numpy as np

from ..types import BF16

UINT, BFLOAT = 1, 4                                       # DLDataTypeCode
CODE = {b"dltensor": 20, b"dltensor_versioned": 52}       # name of a capsule -> where in what it holds the dtype begins
SHORTS = np.dtype(np.uint16)

_python = ctypes.pythonapi
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", _python))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))


def _dtype_of(capsule) -> ctypes.Array:
    """The bytes (code, bits) of a capsule's dtype, to be read or written."""
    name = next(n for n in CODE if _is_valid(capsule, n))
    return (ctypes.c_uint8 * 2).from_address(_pointer(capsule, name) + CODE[name])


def export(data: np.ndarray, **options):
    """A DLPack capsule of an array."""
    if data.dtype != BF16:
        return data.__dlpack__(**options)
    capsule = data.view(SHORTS).__dlpack__(**options)
    _dtype_of(capsule)[0] = BFLOAT
    return capsule


class _Shorts:
    """Another library's array; a bfloat16 one shows as integers, and `is_bfloat16` says so once it has been taken."""

    def __init__(self, value):
        self.value, self.is_bfloat16 = value, False

    def __dlpack_device__(self):
        return self.value.__dlpack_device__()

    def __dlpack__(self, **options):
        capsule = self.value.__dlpack__(**options)
        dtype = _dtype_of(capsule)
        if tuple(dtype) == (BFLOAT, 16):
            dtype[0], self.is_bfloat16 = UINT, True
        return capsule


def take_in(value) -> np.ndarray:
    """Another library's array on the CPU as a NumPy array, without a copy."""
    shown = _Shorts(value)
    data = np.from_dlpack(shown)
    return data.view(BF16) if shown.is_bfloat16 else data
