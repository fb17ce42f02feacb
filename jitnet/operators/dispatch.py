"""`run`: an operator applied to NumPy arrays at once. Small arrays go through its NumPy body, large ones through its kernels.

A compiled body is kept per operator and parameters, its programs per shape, so a loop compiles in its first iteration only; the
memory of large results is reused.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import JitnetError, MXNetError, OperatorError, OperatorIndexError
from ..runtime.array import Array, asarray
from ..runtime.cuda.buffer import DeviceBuffer
from ..runtime.device import Device
from ..types import SHORT_NAMES, broadcast_shapes
from . import infer
from .registry import Operator

ELEMENTWISE = (infer.elementwise, infer.broadcast)
COMPILE_FROM = 16384  # elements of the largest array: below, NumPy's calls cost less than the trace of a new shape would


def run(op: Operator, arrays: Sequence[np.ndarray], params: Mapping[str, Any], key=None):
    """The output of the operator, a NumPy array or a tuple of them; MXNetError when the arrays do not fit.

    `params` are those of `op.schema.parse`, with `training` where the operator has a mode. `key`: what a random one draws from.
    """
    try:
        if key is not None:  # the NumPy body of the cipher is slower than any kernel
            return run_compiled(op, arrays, params, key)
        if op.random:
            params = {**params, "key": None}
        for array in arrays:
            if (array.size >= COMPILE_FROM or array.dtype.kind == "V") and compilable(op, arrays):  # NumPy has no bfloat16
                return run_compiled(op, arrays, params, key)
        if op.growth is not None and op.growth(arrays, params) >= COMPILE_FROM and compilable(op, arrays):
            return run_compiled(op, arrays, params, key)
        with np.errstate(all="ignore"):
            return op.body(*arrays, **params)
    except MXNetError as error:
        if error.what.startswith(f"{op.name}:"):
            raise
        raise failure(op, arrays, error.what, error.hint) from None
    except JitnetError as error:
        raise failure(op, arrays, error.what, error.hint, OperatorIndexError if isinstance(error, IndexError)
                      else OperatorError) from None
    except (ValueError, TypeError, OverflowError) as error:
        raise failure(op, arrays, str(error), "") from None
    except IndexError as error:
        raise OperatorIndexError(f"{op.name}: {error}", "look at the indices") from None


def run_on(device: Device, op: Operator, arrays: Sequence, params: Mapping[str, Any], key=None):
    """`run` on a GPU: the output as a buffer there, or a tuple of them. An operator without kernels gets its arrays copied to
    the host, and its output comes from there."""
    on_host = not (op.kernels or op.on_gpu)
    if on_host:   # to copy is to wait, and what went wrong before is no error of this operator
        arrays = [a if isinstance(a, np.ndarray) else a.host() for a in arrays]
    try:
        if on_host:
            return op.body(*arrays, **params)
        with device:
            out = run_compiled(op, [Array(a) for a in arrays], params, key if key is None else asarray(key))
    except (JitnetError, ValueError, TypeError) as error:
        raise failure(op, arrays, *((error.what, error.hint) if isinstance(error, JitnetError) else (str(error), ""))) from None
    return tuple([x._data for x in out]) if isinstance(out, tuple) else out._data


def run_in_place(op: Operator, arrays: Sequence, params: Mapping[str, Any]) -> bool:
    """Writes the output of an elementwise operator into its first array (and new states into theirs), when that is large
    enough for kernels, has the shape of the output and shares no memory with the others; else does nothing and returns False.
    Steps of optimizers always have kernels, for their arrays are the same ones again and again, and so has a GPU."""
    target, others, shape = arrays[0], arrays[1:], arrays[0].shape
    on_gpu = type(target) is DeviceBuffer
    if op.shape_rule not in ELEMENTWISE or not op.same_dtype or op.random:
        return False
    if target.size < COMPILE_FROM and not op.step and not on_gpu:
        return False
    if op.num_outputs(params) != 1 or not compilable(op, arrays):
        return False
    if (target.dtype.kind not in "fV") if op.step else op.aux_names:
        return False
    written = (target, *others[len(others) - len(op.aux_names):]) if op.aux_names else (target,)
    if any(_overlap(a, b) for a in written for b in arrays if a is not b) or len({id(a) for a in arrays}) < len(arrays):
        return False
    if any(a.shape != shape for a in others) and broadcast_shapes(*[a.shape for a in arrays]) != shape:
        return False
    scalars = [params[name] for name in op.schema.scalars]
    op.program(params, in_place=True)(*(map(Array, arrays) if on_gpu else arrays), *scalars)
    return True


def _overlap(a, b) -> bool:
    """Whether two arrays may share memory; those of the host that own theirs do not."""
    if type(a) is DeviceBuffer:
        return a.overlaps(b)
    return (a.base is not None or b.base is not None) and np.may_share_memory(a, b)


def compilable(op: Operator, arrays: Sequence[np.ndarray]) -> bool:
    """Whether kernels are there for the operator and the dtypes, and worth it."""
    return op.kernels and not op.copies and all(array.dtype in SHORT_NAMES for array in arrays)


def run_compiled(op: Operator, arrays: Sequence[np.ndarray], params: Mapping[str, Any], key=None):
    """The output computed by the operator's kernels."""
    function = op.program(params)
    scalars = [params[name] for name in op.schema.scalars]
    return function(*arrays, *scalars) if key is None else function(*arrays, *scalars, key)


def failure(op: Operator, arrays: Sequence[np.ndarray], what: str, hint: str, kind: type = OperatorError) -> MXNetError:
    """The error of an operator that cannot take these arrays: operator, reason, every argument with its shape."""
    names = op.input_names if op.variadic is None else [f"arg{k}" for k in range(len(arrays))]
    shown = ", ".join(f"{name} {a.dtype}{list(a.shape)}" for name, a in zip(names, arrays))
    return kind(f"{op.name}: {what.removeprefix(op.name + ': ')}" + (f" ({shown})" if shown else ""),
                hint or "look at the shapes and parameters of the call")
