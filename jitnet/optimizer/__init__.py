"""Optimizers: `create("sgd", learning_rate=0.1)`; `get_updater` keeps their states. All parameters step in one program.

>>> import jitnet as mx
>>> weight = mx.nd.array([1.0])
>>> step = mx.optimizer.get_updater(mx.optimizer.create("sgd", learning_rate=0.1))
>>> step(0, mx.nd.array([2.0]), weight)
>>> weight.asscalar()
np.float32(0.8)
"""
from typing import TYPE_CHECKING as _TYPE_CHECKING

from .optimizer import Optimizer as Optimizer, create as create, register as register
from .methods import FTML as FTML, LAMB as LAMB, NAG as NAG, SGD as SGD, AdaDelta as AdaDelta, AdaGrad as AdaGrad, Adam as Adam
from .methods import Adamax as Adamax, Ftrl as Ftrl, Nadam as Nadam, RMSProp as RMSProp, Signum as Signum, Test as Test
from .methods import ccSGD as ccSGD
from .updater import Updater as Updater, get_updater as get_updater
from . import fused as fused
from ..later import module_getattr as _module_getattr

if not _TYPE_CHECKING:
    __getattr__ = _module_getattr(__name__)
