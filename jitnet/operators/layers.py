"""Layers of neural networks: their weights are inputs, whose shapes follow from the data."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import numpy as jnp
from ..errors import OperatorError
from ..half import in_float32
from ..nn import functional
from ..ops import stop_gradient
from ..random.stream import stream
from ..random.stream import uniform as uniform_of
from ..types import F32, HALVES
from . import infer
from .gradients import count
from .linalg import work
from .params import Bool, DType, Enum, Float, Int, Shape
from .registry import operator
from .softmax import softmax_along
from .unary import relu

# FullyConnected

def _dense_inputs(params):
    return ("data", "weight") if params["no_bias"] else ("data", "weight", "bias")


def _dense_shapes(op, ins, outs, params):
    data, weight, hidden, flatten = ins[0], ins[1], params["num_hidden"], params["flatten"]
    out = outs[0]
    features = 0
    if data is not None:
        rest = data[1:] if flatten else data[-1:]
        features = 0 if 0 in rest else count(rest)
    weight = infer.merge(weight, (hidden, features), "weight")
    if data is not None and weight[1] and (not flatten or len(data) == 2):
        data = infer.merge(data, (*data[:-1], weight[1]), "data")
    if data is not None:
        out = infer.merge(out, (data[0], hidden) if flatten else (*data[:-1], hidden), "output")
        lead = (out[0], *data[1:]) if flatten else (*out[:-1], data[-1])
        data = infer.merge(data, lead, "data")
    result = [data, weight]
    if not params["no_bias"]:
        result.append(infer.merge(ins[2] if len(ins) > 2 else None, (hidden,), "bias"))
    return result, [out]


@operator("FullyConnected", params={"num_hidden": Int(low=1), "no_bias": Bool(False), "flatten": Bool(True)},
          inputs=_dense_inputs, shape_rule=_dense_shapes, growth=lambda arrays, p: work(arrays[0].size * p["num_hidden"]))
def fully_connected(data, weight, bias=None, *, num_hidden, no_bias, flatten):
    """data @ weight.T + bias. The weight is (num_hidden, features); `flatten` makes all axes but the first one of features."""
    if bias is None and not no_bias:
        raise OperatorError("expects 3 inputs, but got 2", "pass the bias, or no_bias=True")
    arrays = (data, weight) if bias is None else (data, weight, bias)
    infer.check(fully_connected, arrays, num_hidden=num_hidden, no_bias=no_bias, flatten=flatten)
    if flatten and data.ndim != 2:
        data = data.reshape((data.shape[0], count(data.shape[1:])))
    out = data @ weight.T
    return out if bias is None else out + bias


# Activations

def softrelu(x):
    """log(1 + exp(x)), without overflow."""
    return jnp.logaddexp(x, x.dtype.type(0))


ACTIVATIONS = {"relu": relu, "sigmoid": functional.sigmoid, "softrelu": softrelu, "tanh": np.tanh,
               "softsign": lambda x: x / (1 + np.abs(x))}


@operator("Activation", params={"act_type": Enum(choices=tuple(ACTIVATIONS))}, shape_rule=infer.elementwise)
@in_float32
def activation(data, *, act_type):
    """relu, sigmoid, tanh, softrelu (log(1 + exp(x))) or softsign (x / (1 + |x|)) of each element."""
    return ACTIVATIONS[act_type](data)


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # Klambauer et al. 2017


def _leaky_inputs(params):
    return ("data", "gamma") if params["act_type"] == "prelu" else ("data",)


def _leaky_shapes(op, ins, outs, params):
    data = infer.merge(ins[0], outs[0], "data")
    if len(ins) == 1:
        return [data], [data]
    gamma = ins[1]
    if gamma is None and data is not None:
        gamma = (data[1],) if len(data) > 1 else (1,)
    return [data, gamma], [data]


@operator("LeakyReLU", inputs=_leaky_inputs, shape_rule=_leaky_shapes, mode=True,
          random=lambda p: p["act_type"] == "rrelu" and bool(p.get("training")),
          params={"act_type": Enum("leaky", choices=("leaky", "prelu", "elu", "selu", "gelu", "rrelu")), "slope": Float(0.25),
                  "lower_bound": Float(0.125), "upper_bound": Float(0.334)})
@in_float32
def leaky_relu(data, gamma=None, *, act_type, slope, lower_bound, upper_bound, training, key):
    """x where it is positive; below, by `act_type`: slope * x (leaky), gamma * x (prelu), slope * expm1(x) (elu), x times a
    random slope in training and the mean of its bounds otherwise (rrelu). selu and gelu are their own."""
    if act_type == "prelu" and gamma is None:
        raise OperatorError("expects 2 inputs, but got 1", "pass gamma, the slopes")
    kind = data.dtype.type
    if act_type == "gelu":
        return functional.gelu(data, approximate=False)
    if act_type == "elu":
        return np.where(data > 0, data, kind(slope) * _expm1_below(data))
    if act_type == "selu":
        return kind(SELU_SCALE) * np.where(data > 0, data, kind(SELU_ALPHA) * _expm1_below(data))
    factor = kind(slope)
    if act_type == "prelu":
        factor = gamma if gamma.ndim != 1 or data.ndim < 2 else gamma.reshape((1, -1) + (1,) * (data.ndim - 2))
    elif act_type == "rrelu":
        factor = kind((lower_bound + upper_bound) / 2)
        if key is not None:
            factor = kind(lower_bound) + kind(upper_bound - lower_bound) * _uniform(key, data.shape, data.dtype)
    return np.where(data > 0, data, factor * data)


def _expm1_below(x):
    """expm1 where x is not positive, without overflow elsewhere; minimum(x, 0) would halve the derivative at 0."""
    return np.expm1(np.where(x > 0, x.dtype.type(0), x))


def _uniform(key, shape, dtype):
    wide = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    return uniform_of(stream(key, shape, wide).word(), wide).astype(dtype)


@operator("SoftmaxActivation", params={"mode": Enum("instance", choices=("instance", "channel"))}, shape_rule=infer.elementwise)
def softmax_activation(data, *, mode):
    """Softmax along the last axis (instance), or along axis 1 (channel)."""
    return softmax_along(data, 1 if mode == "channel" else -1)


# Dropout

@operator("Dropout", params={"p": Float(0.5, low=0, high=1), "mode": Enum("training", choices=("training", "always")),
                             "axes": Shape(()), "cudnn_off": Bool(False, optional=True)},
          mode=True, random=lambda p: p["p"] > 0 and (p["mode"] == "always" or bool(p.get("training"))),
          output_count=2, visible=1, output_rule=("output", "mask"), shape_rule=infer.elementwise)
def dropout(data, *, p, mode, axes, cudnn_off, training, key):
    """In training, each element is 0 with probability p and divided by 1 - p otherwise; along `axes` all share their fate."""
    if key is None:
        return data, jnp.ones(data.shape, data.dtype)
    shape = tuple([1 if k in axes else n for k, n in enumerate(data.shape)])
    keep = _uniform(key, shape, np.dtype(np.float32)) >= np.float32(p)
    mask = keep.astype(data.dtype) * data.dtype.type(1 / (1 - p) if p < 1 else 0)
    mask = jnp.broadcast_to(mask, data.shape)
    return data * mask, mask


# Normalizations

def _channel_shapes(count_outputs: int, axis_of: Callable, moments: Callable | None = None):
    """Rule for data with one weight (or state) per channel; moments: (shape of the data, axis) -> that of the outputs after
    the first."""
    def rule(op, ins, outs, params):
        data = infer.merge(ins[0], outs[0], "data")
        axis = None if data is None else axis_of(params, len(data))
        channel = None if data is None else (data[axis],)
        for name, shape in zip(op.input_names[1:], ins[1:]):
            channel = infer.merge(shape, channel, name)
        rest = [channel] * (len(ins) - 1)
        extra = [None] * (count_outputs - 1)
        if data is not None:
            data = infer.merge(data, (*data[:axis], *channel, *data[axis + 1:]), "data")
            if moments is not None:
                extra = [moments(data, axis)] * (count_outputs - 1)
        return [data, *rest], [data, *[infer.merge(o, e, "output") for o, e in zip(outs[1:], extra)]]
    return rule


def _axis(params, ndim: int) -> int:
    axis = params.get("axis", 1)
    if not -ndim <= axis < ndim:
        raise OperatorError(f"{infer.where()}axis {axis} is out of bounds for data with {ndim} axes",
                            "pass the axis of the channels")
    return axis % ndim


def _wide_weights(op, ins, outs, params):
    """Rule for dtypes: the weights and states of halves are float32, of other data the data's."""
    data = ins[0] or outs[0]
    weight = data and (F32 if data in HALVES else np.dtype(data))
    for name, dtype in zip(op.input_names[1:], ins[1:]):
        if weight is not None and dtype is not None and dtype != weight:
            raise OperatorError(f"{infer.where()}{name}: expected {weight}, got {dtype}", "convert it: `x.astype(...)`")
        weight = weight or dtype
    data = data or (weight if weight != F32 else None)  # float32 weights may be those of halves
    return [data, *[weight] * (len(ins) - 1)], [data, *[weight] * (len(outs) - 1)]


@operator("BatchNorm", aux=("moving_mean", "moving_var"), mode=True, output_count=3, output_rule=("output", "mean", "var"),
          visible=lambda p: 3 if p["output_mean_var"] else 1, same_dtype=False, type_rule=_wide_weights,
          shape_rule=_channel_shapes(3, _axis, lambda data, axis: (data[axis],)),
          params={"eps": Float(1e-3), "momentum": Float(0.9), "fix_gamma": Bool(True), "use_global_stats": Bool(False),
                  "output_mean_var": Bool(False), "axis": Int(1), "cudnn_off": Bool(False, optional=True),
                  "min_calib_range": Float(None), "max_calib_range": Float(None)})
def batch_norm(data, gamma, beta, moving_mean, moving_var, *, eps, momentum, fix_gamma, use_global_stats, output_mean_var, axis,
               cudnn_off, min_calib_range, max_calib_range, training):
    """gamma * (data - mean) / sqrt(var + eps) + beta, by channel: mean and variance of the batch in training, which the moving
    ones follow, and the moving ones otherwise. Ioffe and Szegedy 2015. `fix_gamma` takes gamma as 1. Of halves everything but
    the data is float32."""
    infer.check(batch_norm, (data, gamma, beta, moving_mean, moving_var), axis=axis)
    others = tuple([k for k in range(data.ndim) if k != axis % data.ndim])
    wide = (-1,) + (1,) * (data.ndim - 1 - axis % data.ndim)  # lines channels up with their axis; leading axes broadcast
    x = data.astype(F32) if data.dtype in HALVES else data
    kind = x.dtype.type
    if training and not use_global_stats:
        mean = x.mean(axis=others)
        centered = x - mean.reshape(wide)
        var = (centered * centered).mean(axis=others)
        new_mean = moving_mean * kind(momentum) + stop_gradient(mean) * kind(1 - momentum)
        new_var = moving_var * kind(momentum) + stop_gradient(var) * kind(1 - momentum)
    else:
        mean, var, new_mean, new_var = moving_mean, moving_var, moving_mean, moving_var
        centered = x - mean.reshape(wide)
    inverse = 1 / np.sqrt(var + kind(eps))
    out = centered * inverse.reshape(wide)
    out = (out if fix_gamma else out * gamma.reshape(wide)) + beta.reshape(wide)  # inverse * gamma would be a kernel of its own
    return out if data is x else out.astype(data.dtype), mean, inverse, new_mean, new_var


@operator("LayerNorm", params={"axis": Int(-1), "eps": Float(1e-5), "output_mean_var": Bool(False)}, output_count=3,
          output_rule=("output", "mean", "std"), visible=lambda p: 3 if p["output_mean_var"] else 1,
          shape_rule=_channel_shapes(3, _axis, lambda data, axis: (*data[:axis], 1, *data[axis + 1:])))
@in_float32
def layer_norm(data, gamma, beta, *, axis, eps, output_mean_var):
    """gamma * (data - mean) / sqrt(var + eps) + beta, with mean and variance along one axis. Ba, Kiros and Hinton 2016."""
    infer.check(layer_norm, (data, gamma, beta), axis=axis)
    wide = tuple([-1 if k == axis % data.ndim else 1 for k in range(data.ndim)])
    mean = data.mean(axis=axis, keepdims=True)
    centered = data - mean
    std = np.sqrt((centered * centered).mean(axis=axis, keepdims=True) + data.dtype.type(eps))
    return centered / std * gamma.reshape(wide) + beta.reshape(wide), mean, std


@operator("InstanceNorm", params={"eps": Float(1e-3)}, shape_rule=_channel_shapes(1, _axis))
@in_float32
def instance_norm(data, gamma, beta, *, eps):
    """As BatchNorm, with mean and variance of each sample's channel. Ulyanov, Vedaldi and Lempitsky 2016."""
    infer.check(instance_norm, (data, gamma, beta))
    others = tuple(range(2, data.ndim))
    wide = (1, -1) + (1,) * (data.ndim - 2)
    centered = data - data.mean(axis=others, keepdims=True)
    var = (centered * centered).mean(axis=others, keepdims=True)
    return centered / np.sqrt(var + data.dtype.type(eps)) * gamma.reshape(wide) + beta.reshape(wide)


def _group_shapes(op, ins, outs, params):
    data, groups = infer.merge(ins[0], outs[0], "data"), params["num_groups"]
    if data is not None and (len(data) < 2 or data[1] % groups):
        raise OperatorError(f"{infer.where()}data {infer.show(data)} has no axis 1 that divides into {groups} groups",
                            "num_groups must divide the number of channels")
    rest = [infer.merge(shape, (groups,), name) for name, shape in zip(op.input_names[1:], ins[1:])]
    extra = None if data is None else (data[0], groups)
    return [data, *rest], [data, *[infer.merge(o, extra, "output") for o in outs[1:]]]


@operator("GroupNorm", params={"num_groups": Int(1, low=1), "eps": Float(1e-5), "output_mean_var": Bool(False)}, output_count=3,
          output_rule=("output", "mean", "std"), visible=lambda p: 3 if p["output_mean_var"] else 1, shape_rule=_group_shapes)
@in_float32
def group_norm(data, gamma, beta, *, num_groups, eps, output_mean_var):
    """gamma * (data - mean) / sqrt(var + eps) + beta, with mean and variance of each sample's groups of channels; gamma and
    beta have one element per group. Wu and He 2018."""
    infer.check(group_norm, (data, gamma, beta), num_groups=num_groups)
    groups = data.reshape((data.shape[0], num_groups, count(data.shape[1:]) // num_groups))
    mean = groups.mean(axis=2, keepdims=True)
    centered = groups - mean
    std = np.sqrt((centered * centered).mean(axis=2, keepdims=True) + data.dtype.type(eps))
    out = centered / std * gamma.reshape((1, -1, 1)) + beta.reshape((1, -1, 1))
    return out.reshape(data.shape), mean.reshape(mean.shape[:2]), std.reshape(mean.shape[:2])


@operator("L2Normalization", params={"eps": Float(1e-10), "mode": Enum("instance", choices=("instance", "channel", "spatial"))},
          shape_rule=infer.elementwise)
@in_float32
def l2_normalization(data, *, eps, mode):
    """data / sqrt(sum of squares + eps), over each sample (instance), axis 1 (channel) or the axes after it (spatial)."""
    axes = {"instance": tuple(range(1, data.ndim)), "channel": (1,), "spatial": tuple(range(2, data.ndim))}[mode]
    return data / np.sqrt((data * data).sum(axis=axes, keepdims=True) + data.dtype.type(eps))


# Embedding

def _embedding_shapes(op, ins, outs, params):
    weight = infer.merge(ins[1], (params["input_dim"], params["output_dim"]), "weight")
    data, out = ins[0], outs[0]
    if data is None and out is not None:
        data = out[:-1]
    if data is not None:
        out = infer.merge(out, (*data, params["output_dim"]), "output")
        data = infer.merge(data, out[:-1], "data")
    return [data, weight], [out]


def _embedding_types(op, ins, outs, params):
    weight = ins[1] or outs[0] or np.dtype(params["dtype"])
    return [ins[0], weight], [weight]


@operator("Embedding", params={"input_dim": Int(low=1), "output_dim": Int(low=1), "dtype": DType("float32"),
                               "sparse_grad": Bool(False)},
          same_dtype=False, shape_rule=_embedding_shapes, type_rule=_embedding_types)
def embedding(data, weight, *, input_dim, output_dim, dtype, sparse_grad):
    """The rows of `weight` (input_dim, output_dim) that `data` numbers; positions beyond the ends are the rows at the ends."""
    infer.check(embedding, (data, weight), input_dim=input_dim, output_dim=output_dim, dtype=dtype)
    return jnp.take(weight, data.astype(np.int64), axis=0, mode="clip")
