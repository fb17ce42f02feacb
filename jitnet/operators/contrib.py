"""Operators that MXNet keeps under `contrib`."""
from __future__ import annotations

import numpy as np

from .. import numpy as jnp
from . import infer
from .gradients import count, with_gradient
from .params import Float, Int, Shape
from .registry import operator


@operator("_contrib_arange_like", params={"start": Float(0.0), "step": Float(1.0), "repeat": Int(1, low=1), "axis": Int(None)})
def arange_like(data, *, start, step, repeat, axis):
    """Numbers in steps from `start`, each `repeat` times: as many as `data` has elements, or as one of its axes is long."""
    size = count(data.shape) if axis is None else data.shape[axis]
    numbers = (start + step * (np.arange(size) // repeat)).astype(data.dtype)
    return numbers.reshape(data.shape) if axis is None else numbers


@operator("_contrib_div_sqrt_dim", shape_rule=infer.elementwise)
def div_sqrt_dim(data):
    """`data` divided by the square root of the size of its last axis."""
    return data / np.asarray(data.shape[-1] ** 0.5, data.dtype)


@operator("_contrib_quadratic", params={"a": Float(0.0), "b": Float(0.0), "c": Float(0.0)}, shape_rule=infer.elementwise)
def quadratic(data, *, a, b, c):
    """a x^2 + b x + c of each element x."""
    a, b, c = (np.asarray(value, data.dtype) for value in (a, b, c))
    return (a * data + b) * data + c


@operator("_contrib_gradientmultiplier", params={"scalar": Float()}, shape_rule=infer.elementwise)
def gradientmultiplier(data, *, scalar):
    """`data`, whose gradient is multiplied by `scalar`; a negative one reverses it."""
    def backward(arrays, out, ct):
        return [ct * np.asarray(scalar, ct.dtype)]
    return with_gradient(lambda x: x + np.asarray(0, x.dtype), backward)(data)


@operator("_contrib_round_ste", shape_rule=infer.elementwise)
def round_ste(data):
    """The nearest whole numbers, halves away from 0; the gradient passes straight through."""
    return with_gradient(lambda x: jnp.trunc(x + jnp.copysign(np.asarray(0.5, x.dtype), x)), lambda arrays, out, ct: [ct])(data)


@operator("_contrib_sign_ste", shape_rule=infer.elementwise)
def sign_ste(data):
    """The sign of each element; the gradient passes straight through."""
    return with_gradient(jnp.sign, lambda arrays, out, ct: [ct])(data)


def _index_copy_types(op, ins, outs, params):
    known = next((d for d in (ins[0], ins[2], outs[0]) if d is not None), None)
    return [known, ins[1], known], [known]


@operator("_contrib_index_copy", same_dtype=False, type_rule=_index_copy_types)
def index_copy(old_tensor, index_vector, new_tensor):
    """`old_tensor`, with the rows of `new_tensor` in the places along the first axis that `index_vector` names."""
    out = jnp.array(old_tensor)
    out[index_vector.astype(np.int64)] = new_tensor
    return out


@operator("_contrib_index_array", params={"axes": Shape(None)}, same_dtype=False,
          type_rule=lambda op, ins, outs, params: (list(ins), [np.dtype(np.int64)]))
def index_array(data, *, axes):
    """The position of each element: its indices along all axes, or along those named, in a new last axis."""
    axes = range(len(data.shape)) if axes is None else axes
    return np.stack([np.indices(data.shape)[axis] for axis in axes], -1)
