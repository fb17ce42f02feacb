"""MXNet's `nd`: arrays computed with at once. Every operator of `jitnet.operators` is a function here.

>>> import jitnet as mx
>>> (mx.nd.ones((2, 3)) * 2 + 1).sum().asscalar()
np.float32(18.0)
"""
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

from ..later import Names as _Namespace, module_dir as _module_dir, module_getattr as _module_getattr
from . import functions as _functions
from .invoke import execute as execute, invoke as invoke, state as state
from .ndarray import NDArray as NDArray
from .creation import arange as arange, array as array, empty as empty, eye as eye, from_dlpack as from_dlpack
from .saving import load as load, load_frombuffer as load_frombuffer, save as save
from .utilities import concatenate as concatenate, histogram as histogram, moveaxis as moveaxis
from .utilities import onehot_encode as onehot_encode, split_v2 as split_v2, waitall as waitall
from . import random as random, utilities as _utilities
from .creation import from_numpy as from_numpy, full as full, linspace as linspace, ones as ones, zeros as zeros
from .creation import to_dlpack_for_read as to_dlpack_for_read, to_dlpack_for_write as to_dlpack_for_write

if _TYPE_CHECKING:  # the operators, which are made of their records below
    def __getattr__(name: str) -> _Any: ...
else:
    __getattr__ = _module_getattr(__name__)
__dir__ = _module_dir(globals())

_made = _functions.public_functions()
_internal = _Namespace(**{name: made for name, made in _made.items() if name.startswith("_")})
globals().update({name: made for name, made in _made.items() if not name.startswith("_") and name not in globals()})
globals().update(_functions.ARITHMETIC)
_functions.add_methods()
linalg = _Namespace(**{name.removeprefix("linalg_"): made for name, made in _made.items() if name.startswith("linalg_")})
contrib = _Namespace(boolean_mask=_utilities.boolean_mask, isnan=_utilities.isnan,
                     isinf=_utilities.isinf, isfinite=_utilities.isfinite, **{
    name.removeprefix("_contrib_"): made for name, made in _made.items() if name.startswith("_contrib_")})
op = _Namespace(**_made)
utils = _Namespace(save=save, load=load, zeros=zeros, empty=empty, array=array)

from .. import autograd as _autograd  # noqa: E402  the gradients of arrays
