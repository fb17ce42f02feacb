"""jitnet: a tensor compiler for NumPy code. `@jitnet.jit` a function of arrays; `jitnet.grad` and its kin rewrite it."""
__version__ = "0.1.0"

from types import ModuleType as _ModuleType

from . import config as config, errors as errors, nn as nn, numpy as numpy, random as random, testing as testing
from . import tree as tree
from .control import cond as cond, fori_loop as fori_loop, map as map, scan as scan, switch as switch, while_loop as while_loop
from .jit import JitFunction as JitFunction, jit as jit
from .numpy import where as where
from .retrace import explain_retrace as explain_retrace
from .runtime import cache as cache
from .runtime.array import Array as Array, asarray as asarray, block_until_ready as block_until_ready, device_put as device_put
from .runtime.device import Device as Device
from .context import Context as Context, cpu as cpu, cpu_pinned as cpu_pinned, current_context as current_context, gpu as gpu
from .context import num_gpus as num_gpus
from .runtime.threads import get_num_threads as get_num_threads, set_num_threads as set_num_threads
from .transforms import checkpoint as checkpoint, custom_jvp as custom_jvp, custom_vjp as custom_vjp, grad as grad
from .transforms import hessian as hessian, jacfwd as jacfwd, jacrev as jacrev, jvp as jvp, linearize as linearize
from .transforms import stop_gradient as stop_gradient, value_and_grad as value_and_grad, vjp as vjp, vmap as vmap
from . import autograd as autograd, context as context, nd as nd, operators as operators
from . import errors as base, nd as ndarray  # as MXNet names them
from .errors import MXNetError as MXNetError
from . import attribute as attribute, name as name, sym as sym
from . import sym as symbol
from . import executor as executor
from . import binding as _binding
from .attribute import AttrScope as AttrScope
from . import callback as callback, initializer as initializer, io as io, kvstore as kvstore, lr_scheduler as lr_scheduler
from . import metric as metric, model as model, monitor as monitor, optimizer as optimizer, visualization as visualization
from . import initializer as init, kvstore as kv, module as module, monitor as mon, visualization as viz
from . import module as mod  # as MXNet abbreviates it, and those above
from . import test_utils as test_utils

_MODULES = {"attribute", "autograd", "cache", "config", "context", "errors", "executor", "name", "nd", "ndarray", "nn",
            "numpy", "operators", "random", "sym", "symbol", "testing", "tree"}
_MODULES |= {"test_utils"}
_MODULES |= {"callback", "init", "initializer", "io", "kv", "kvstore", "lr_scheduler", "metric", "mod", "model", "module",
             "mon", "monitor", "optimizer", "visualization", "viz"}


def __dir__() -> list[str]:
    """The names that are there to be used: completion does not show the modules that implement them."""
    return [name for name, value in globals().items() if name in _MODULES or not isinstance(value, _ModuleType)]
