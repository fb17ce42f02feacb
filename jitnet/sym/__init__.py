"""MXNet's `sym`: graphs written down first, bound to arrays later. Every operator of `jitnet.operators` is a function here.

>>> import jitnet as mx
>>> net = mx.sym.dot(mx.sym.Variable("x"), mx.sym.Variable("w"))
>>> net.infer_shape(x=(2, 3), w=(3, 4))[1]
[(2, 4)]
"""
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

from ..later import Names as _Namespace, module_dir as _module_dir, module_getattr as _module_getattr
from . import make as _make
from ..errors import NotImplementedForSymbol as NotImplementedForSymbol
from .symbol import Group as Group, Symbol as Symbol, Variable as Variable
from .symbol import load as load, load_json as load_json, var as var
from .creation import arange as arange, eye as eye, full as full, linspace as linspace, ones as ones, split_v2 as split_v2
from .creation import zeros as zeros
from . import random as random
from . import gradient as _gradient

if _TYPE_CHECKING:  # the operators, which are made of their records below
    def __getattr__(name: str) -> _Any: ...
else:
    __getattr__ = _module_getattr(__name__)
__dir__ = _module_dir(globals())

_made = _make.functions()
_internal = _Namespace(**{name: made for name, made in _made.items() if name.startswith("_")})
globals().update({name: made for name, made in _made.items() if not name.startswith("_") and name not in globals()})
globals().update(_make.PAIRS)
_make.add_methods()


def _family(prefix: str) -> _Namespace:
    return _Namespace(**{name.removeprefix(prefix): _make.function(op, name.removeprefix(prefix))
                         for name, op in _make.OPERATORS.items() if name.startswith(prefix)})


linalg, contrib = _family("linalg_"), _family("_contrib_")
op = _Namespace(**_made)

from .. import binding as _binding  # noqa: E402  bind, simple_bind and eval
