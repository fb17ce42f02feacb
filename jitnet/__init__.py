"""jitnet: a tensor compiler for NumPy code. `@jitnet.jit` a function of arrays; `jitnet.grad` and its kin rewrite it."""
__version__ = "0.1.0"

import importlib as _importlib
import threading as _threading
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import config as config, errors as errors, nn as nn, numpy as numpy, random as random, testing as testing
from . import tree as tree
from .control import cond as cond, fori_loop as fori_loop, map as map, scan as scan, switch as switch, while_loop as while_loop
from .jit import JitFunction as JitFunction, jit as jit
from .numpy import where as where
from .retrace import explain_retrace as explain_retrace
from .runtime import cache as cache
from .runtime.array import Array as Array, asarray as asarray, block_until_ready as block_until_ready, device_put as device_put
from .runtime.device import Device as Device, devices as devices
from .runtime.preload import preload
from .context import Context as Context, cpu as cpu, cpu_pinned as cpu_pinned, current_context as current_context, gpu as gpu
from .context import num_gpus as num_gpus
from .runtime.threads import get_num_threads as get_num_threads, set_num_threads as set_num_threads
from .transforms import checkpoint as checkpoint, custom_jvp as custom_jvp, custom_vjp as custom_vjp, grad as grad
from .transforms import hessian as hessian, jacfwd as jacfwd, jacrev as jacrev, jvp as jvp, linearize as linearize
from .transforms import stop_gradient as stop_gradient, value_and_grad as value_and_grad, vjp as vjp, vmap as vmap
from . import base as base, context as context
from .errors import MXNetError as MXNetError
from .later import missing as _missing

# The two styles of MXNet, under its names: public name -> module. Loaded when first asked for: not everybody needs them.
_STYLES = {name: name for name in (
    "attribute", "autograd", "callback", "executor", "initializer", "io", "kvstore", "lr_scheduler", "metric", "model",
    "module", "monitor", "name", "nd", "operators", "optimizer", "sym", "test_utils", "visualization")}
_STYLES |= {"init": "initializer", "kv": "kvstore", "mod": "module", "mon": "monitor", "ndarray": "nd", "rnd": "random",
            "symbol": "sym", "viz": "visualization"}
_MODULES = {"cache", "config", "context", "errors", "nn", "numpy", "random", "testing", "tree", *_STYLES} - {"operators"}
if _TYPE_CHECKING:  # what __getattr__ loads below
    from . import attribute as attribute, autograd as autograd, callback as callback, executor as executor, io as io
    from . import initializer as init, initializer as initializer, kvstore as kv, kvstore as kvstore, metric as metric
    from . import lr_scheduler as lr_scheduler, model as model, module as mod, module as module, monitor as mon
    from . import monitor as monitor, name as name, nd as nd, nd as ndarray, optimizer as optimizer, random as rnd
    from . import sym as sym, sym as symbol, test_utils as test_utils, visualization as visualization, visualization as viz
    from .attribute import AttrScope as AttrScope
_loading: set[int] = set()  # threads that load the styles: what they import from here is loaded the ordinary way


def __dir__() -> list[str]:
    """The names that are there to be used: completion does not show the modules that implement them."""
    here = [name for name, value in globals().items() if name in _MODULES or not isinstance(value, _ModuleType)]
    return sorted({*here, *_MODULES, "AttrScope"})


def __getattr__(name: str):
    thread = _threading.get_ident()
    if thread in _loading or (name not in _STYLES and name != "AttrScope"):
        raise _missing(f"module {__name__!r}", name)
    _loading.add(thread)
    try:
        module = _importlib.import_module(f"{__name__}.{_STYLES.get(name, 'attribute')}")
    finally:
        _loading.discard(thread)
    found = globals()[name] = module.AttrScope if name == "AttrScope" else module
    return found


preload()
del preload
