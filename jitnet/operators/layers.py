"""Layers of neural networks: their weights are inputs, whose shapes follow from the data."""
from __future__ import annotations

import numpy as np

from .. import numpy as jnp
from ..nn import functional
from ..ops import stop_gradient
from ..random.stream import stream
from ..random.stream import uniform as uniform_of
from . import infer
from .gradients import count
from .linalg import work
from .params import Bool, DType, Enum, Float, Int, Shape
from .registry import operator

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
    if flatten and data.ndim != 2:
        data = data.reshape((data.shape[0], count(data.shape[1:])))
    out = data @ weight.T
    return out if bias is None else out + bias


# Activations

def softrelu(x):
    """log(1 + exp(x)), without overflow."""
    return jnp.logaddexp(x, x.dtype.type(0))


ACTIVATIONS = {"relu": functional.relu, "sigmoid": functional.sigmoid, "softrelu": softrelu, "tanh": np.tanh,
               "softsign": lambda x: x / (1 + np.abs(x))}


@operator("Activation", params={"act_type": Enum(choices=tuple(ACTIVATIONS))}, shape_rule=infer.elementwise)
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
def leaky_relu(data, gamma=None, *, act_type, slope, lower_bound, upper_bound, training, key):
    """x where it is positive; below, by `act_type`: slope * x (leaky), gamma * x (prelu), slope * expm1(x) (elu), x times a
    random slope in training and the mean of its bounds otherwise (rrelu). selu and gelu are their own."""
    kind = data.dtype.type
    if act_type == "gelu":
        return functional.gelu(data, approximate=False)
    if act_type == "elu":
        return np.where(data > 0, data, kind(slope) * np.expm1(np.minimum(data, kind(0))))
    if act_type == "selu":
        below = kind(SELU_ALPHA) * np.expm1(np.minimum(data, kind(0)))
        return kind(SELU_SCALE) * np.where(data > 0, data, below)
    factor = kind(slope)
    if act_type == "prelu":
        factor = gamma if gamma.ndim != 1 or data.ndim < 2 else gamma.reshape((1, -1) + (1,) * (data.ndim - 2))
    elif act_type == "rrelu":
        factor = kind((lower_bound + upper_bound) / 2)
        if key is not None:
            factor = kind(lower_bound) + kind(upper_bound - lower_bound) * _uniform(key, data.shape, data.dtype)
    return np.where(data > 0, data, factor * data)


def _uniform(key, shape, dtype):
    wide = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    return uniform_of(stream(key, shape, wide).word(), wide).astype(dtype)


@operator("SoftmaxActivation", params={"mode": Enum("instance", choices=("instance", "channel"))}, shape_rule=infer.elementwise)
def softmax_activation(data, *, mode):
    """Softmax over everything but the first axis (instance), or over axis 1 (channel)."""
    if mode == "channel":
        return functional.softmax(data, 1)
    return functional.softmax(data.reshape((data.shape[0], -1)), -1).reshape(data.shape)


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

def _channel_shapes(count_outputs: int, axis_of, states: int = 0):
    """Rule for data with one weight (or state) per channel."""
    def rule(op, ins, outs, params):
        data = infer.merge(ins[0], outs[0], "data")
        channel = None
        if data is not None:
            channel = (data[axis_of(params, len(data))],)
        names = op.inputs(params)
        rest = [infer.merge(shape, channel, name) for name, shape in zip(names[1:], ins[1:])]
        if data is not None and rest[0] is not None and rest[0][0]:
            axis = axis_of(params, len(data))
            data = infer.merge(data, (*data[:axis], rest[0][0], *data[axis + 1:]), "data")
        extra = [rest[0]] * (count_outputs - 1) if states else [None] * (count_outputs - 1)
        return [data, *rest], [data, *[infer.merge(o, e, "output") for o, e in zip(outs[1:], extra)]]
    return rule


def _axis(params, ndim):
    axis = params.get("axis", 1)
    return axis + ndim if axis < 0 else axis


@operator("BatchNorm", aux=("moving_mean", "moving_var"), mode=True, output_count=3, output_rule=("output", "mean", "var"),
          visible=lambda p: 3 if p["output_mean_var"] else 1, shape_rule=_channel_shapes(3, _axis, states=2),
          params={"eps": Float(1e-3), "momentum": Float(0.9), "fix_gamma": Bool(True), "use_global_stats": Bool(False),
                  "output_mean_var": Bool(False), "axis": Int(1), "cudnn_off": Bool(False, optional=True),
                  "min_calib_range": Float(None), "max_calib_range": Float(None)})
def batch_norm(data, gamma, beta, moving_mean, moving_var, *, eps, momentum, fix_gamma, use_global_stats, output_mean_var, axis,
               cudnn_off, min_calib_range, max_calib_range, training):
    """gamma * (data - mean) / sqrt(var + eps) + beta, by channel: mean and variance of the batch in training, which the moving
    ones follow, and the moving ones otherwise. Ioffe and Szegedy 2015. `fix_gamma` takes gamma as 1."""
    axis = axis + data.ndim if axis < 0 else axis
    others = tuple([k for k in range(data.ndim) if k != axis])
    wide = tuple([-1 if k == axis else 1 for k in range(data.ndim)])
    kind = data.dtype.type
    if training and not use_global_stats:
        mean = data.mean(axis=others)
        centered = data - mean.reshape(wide)
        var = (centered * centered).mean(axis=others)
        new_mean = moving_mean * moving_mean.dtype.type(momentum) + stop_gradient(mean) * kind(1 - momentum)
        new_var = moving_var * moving_var.dtype.type(momentum) + stop_gradient(var) * kind(1 - momentum)
    else:
        mean, var, new_mean, new_var = moving_mean, moving_var, moving_mean, moving_var
        centered = data - mean.reshape(wide)
    inverse = 1 / np.sqrt(var + kind(eps))
    scale = inverse if fix_gamma else inverse * gamma
    out = centered * scale.reshape(wide) + beta.reshape(wide)
    return out, mean, inverse, new_mean, new_var


@operator("LayerNorm", params={"axis": Int(-1), "eps": Float(1e-5), "output_mean_var": Bool(False)}, output_count=3,
          output_rule=("output", "mean", "std"), visible=lambda p: 3 if p["output_mean_var"] else 1,
          shape_rule=_channel_shapes(3, _axis))
def layer_norm(data, gamma, beta, *, axis, eps, output_mean_var):
    """gamma * (data - mean) / sqrt(var + eps) + beta, with mean and variance along one axis. Ba, Kiros and Hinton 2016."""
    axis = axis + data.ndim if axis < 0 else axis
    wide = tuple([-1 if k == axis else 1 for k in range(data.ndim)])
    mean = data.mean(axis=axis, keepdims=True)
    centered = data - mean
    std = np.sqrt((centered * centered).mean(axis=axis, keepdims=True) + data.dtype.type(eps))
    return centered / std * gamma.reshape(wide) + beta.reshape(wide), mean, std


@operator("InstanceNorm", params={"eps": Float(1e-3)}, shape_rule=_channel_shapes(1, _axis))
def instance_norm(data, gamma, beta, *, eps):
    """As BatchNorm, with mean and variance of each sample's channel. Ulyanov, Vedaldi and Lempitsky 2016."""
    others = tuple(range(2, data.ndim))
    wide = (1, -1) + (1,) * (data.ndim - 2)
    centered = data - data.mean(axis=others, keepdims=True)
    var = (centered * centered).mean(axis=others, keepdims=True)
    return centered / np.sqrt(var + data.dtype.type(eps)) * gamma.reshape(wide) + beta.reshape(wide)


@operator("L2Normalization", params={"eps": Float(1e-10), "mode": Enum("instance", choices=("instance", "channel", "spatial"))},
          shape_rule=infer.elementwise)
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
    return jnp.take(weight, data.astype(np.int64), axis=0, mode="clip")
