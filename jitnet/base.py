"""MXNet's `base`: the errors that it raises, and the types that programs check their arguments against.

>>> import jitnet as mx
>>> isinstance(3.0, mx.base.numeric_types), mx.base.mx_real_t
(True, <class 'numpy.float32'>)
"""
import numpy as np

from .errors import MXNetError as MXNetError
from .errors import NotImplementedForSymbol as NotImplementedForSymbol

mx_real_t, mx_uint, mx_float = np.float32, int, float
numeric_types = (float, int, np.generic)
integer_types = (int, np.int32, np.int64)
string_types = (str,)


def py_str(text: bytes) -> str:
    """The text of bytes in UTF-8."""
    return text.decode("utf-8")
