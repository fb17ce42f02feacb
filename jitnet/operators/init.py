"""Operators that make arrays: of zeros, of ones, of numbers in steps."""
from __future__ import annotations

import numpy as np

from .. import numpy as jnp
from . import infer
from .params import Bool, DType, Float, Int, Shape, Str
from .registry import operator


def _given(op, ins, outs, params):
    return [], [np.dtype(params["dtype"])]


def _shape_given(op, ins, outs, params):
    return [], [infer.merge(outs[0], params["shape"] or None, "output")]


def shape_filled(params, shape):
    """The parameters with the inferred shape, where the one given has unknown sizes."""
    return {**params, "shape": shape} if 0 in params["shape"] or not params["shape"] else params


MADE = {"shape": Shape(()), "ctx": Str(""), "dtype": DType("float32")}


@operator("_zeros", params=MADE, type_rule=_given, shape_rule=_shape_given, sized=shape_filled)
def zeros(*, shape, ctx, dtype):
    """Zeros of a shape."""
    return jnp.zeros(shape, dtype)


@operator("_ones", params=MADE, type_rule=_given, shape_rule=_shape_given, sized=shape_filled)
def ones(*, shape, ctx, dtype):
    """Ones of a shape."""
    return jnp.ones(shape, dtype)


@operator("_full", params={**MADE, "value": Float()}, type_rule=_given, shape_rule=_shape_given, sized=shape_filled)
def full(*, shape, ctx, dtype, value):
    """One number everywhere."""
    return jnp.full(shape, np.asarray(value, dtype), dtype)


@operator("_eye", params={"N": Int(), "M": Int(0), "k": Int(0), "ctx": Str(""), "dtype": DType("float32")}, type_rule=_given)
def eye(*, N, M, k, ctx, dtype):
    """Ones on the diagonal number k of a matrix of N rows and M columns (0: N)."""
    return jnp.eye(N, M or N, k, dtype=dtype)


def _arange_shape(op, ins, outs, params):
    if params["infer_range"] and params["stop"] is None:
        return [], list(outs)
    first, last = (0.0, params["start"]) if params["stop"] is None else (params["start"], params["stop"])
    return [], [infer.merge(outs[0], (len(np.arange(first, last, params["step"])) * params["repeat"],), "output")]


def _arange_filled(params, shape):
    if not params["infer_range"] or params["stop"] is not None:
        return params
    rounds = -(-shape[0] // params["repeat"])
    # half a step short of the next number, so that rounding does not add one
    return {**params, "stop": params["start"] + params["step"] * (rounds - 0.5)}


@operator("_arange", shape_rule=_arange_shape, sized=_arange_filled, type_rule=_given, params={
    "start": Float(0.0), "stop": Float(None), "step": Float(1.0), "repeat": Int(1, low=1), "infer_range": Bool(False),
    "ctx": Str(""), "dtype": DType("float32")})
def arange(*, start, stop, step, repeat, infer_range, ctx, dtype):
    """Numbers from `start` up to `stop` (not included) in steps, each `repeat` times; of integers, as many, in whole steps."""
    first, last = (0.0, start) if stop is None else (start, stop)
    numbers = np.arange(first, last, step)
    if np.dtype(dtype).kind in "iu":  # as in NumPy and MXNet
        numbers = int(first) + int(step) * np.arange(len(numbers))
    return np.repeat(numbers, repeat).astype(dtype)


@operator("_linspace", params={"start": Float(0.0), "stop": Float(), "num": Int(), "endpoint": Bool(True), "ctx": Str(""),
                               "dtype": DType("float32")}, type_rule=_given)
def linspace(*, start, stop, num, endpoint, ctx, dtype):
    """`num` numbers at even distances from `start` to `stop`."""
    return np.linspace(start, stop, num, endpoint=endpoint).astype(dtype)


@operator("zeros_like", shape_rule=infer.elementwise, method=True)
def zeros_like(data):
    """Zeros in the shape and dtype of `data`."""
    return jnp.zeros(data.shape, data.dtype)


@operator("ones_like", shape_rule=infer.elementwise, method=True)
def ones_like(data):
    """Ones in the shape and dtype of `data`."""
    return jnp.ones(data.shape, data.dtype)
