"""Heads of a network: what they return is the prediction, what they send back is the gradient of a loss.

The gradient that comes from behind them is ignored, as MXNet defines it (but for SoftmaxOutput's `out_grad`).
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import numpy as jnp
from ..half import in_float32
from ..nn import functional
from ..ops import stop_gradient
from . import infer
from .gradients import count, one_hot, with_gradient
from .params import Bool, Enum, Float
from .registry import operator
from .softmax import softmax_along

NORMALIZATION = Enum("null", choices=("null", "batch", "valid"))

# SoftmaxOutput

def _softmax_shapes(op, ins, outs, params):
    data = infer.merge(ins[0], outs[0], "data")
    label = ins[1] if len(ins) > 1 else None
    if data is not None and (label is None or label != data):
        if params["multi_output"]:
            expected = (data[0], *data[2:])
            if label is not None and len(label) == 2 and infer.is_known(label) and infer.is_known(data) and \
                    label == (data[0], count(data[2:])):
                expected = label
        else:
            expected = data[:-1]
        label = infer.merge(label, expected, "label")
    return [data, label], [data]


def _softmax(data, multi_output: bool, preserve_shape: bool):
    if multi_output:
        return softmax_along(data, 1)
    if preserve_shape or data.ndim == 2:
        return softmax_along(data, -1)
    return softmax_along(data.reshape((data.shape[0], -1)), -1).reshape(data.shape)


@operator("SoftmaxOutput", aliases=("Softmax",), loss=True, shape_rule=_softmax_shapes, params={
    "grad_scale": Float(1.0), "ignore_label": Float(-1.0), "multi_output": Bool(False), "use_ignore": Bool(False),
    "preserve_shape": Bool(False), "normalization": NORMALIZATION, "out_grad": Bool(False),
    "smooth_alpha": Float(0.0, low=0, high=1)})
def softmax_output(data, label, *, grad_scale, ignore_label, multi_output, use_ignore, preserve_shape, normalization, out_grad,
                   smooth_alpha):
    """Softmax of `data`; its gradient is that of the cross-entropy with `label`, (softmax - one_hot(label)) * grad_scale.

    Rows are classified along the last axis, with `multi_output` along axis 1. A label of the shape of `data` holds
    probabilities. Rows whose label is `ignore_label` have no gradient under `use_ignore`. `normalization` divides by the size
    of the batch or by the number of labels that count. `smooth_alpha` moves that much from the right class to the others.
    """
    if data.ndim > 1:
        infer.check(softmax_output, (data, label), multi_output=multi_output)

    def forward(data, label):
        return _softmax(data, multi_output, preserve_shape)

    def backward(arrays, p, ct):
        label = arrays[1]
        kind = p.dtype.type
        if label.shape == p.shape:
            grad = (p - label) * kind(grad_scale)
            return grad * ct if out_grad else grad, None
        flat = label.reshape((-1,))
        if multi_output:
            rows = jnp.moveaxis(p, 1, -1).reshape((-1, p.shape[1]))
        elif preserve_shape or p.ndim == 2:
            rows = p.reshape((-1, p.shape[-1]))
        else:  # MXNet takes a sample for one row, and the first labels of the batch for its labels
            rows, flat = p.reshape((p.shape[0], -1)), flat[:p.shape[0]]
        target = one_hot(flat, rows.shape[-1], p.dtype)
        if smooth_alpha and not multi_output:
            others = kind(smooth_alpha / (rows.shape[-1] - 1))
            target = target * kind(1 - smooth_alpha) + (1 - target) * others
        grad = rows - target
        valid = (flat != kind(ignore_label)).astype(p.dtype)
        if use_ignore:
            grad = grad * valid[:, None]
        grad = grad * kind(grad_scale)
        if normalization == "valid":
            grad = grad / np.maximum(valid.sum(), kind(1))
        elif normalization == "batch":
            grad = grad / kind(flat.size)
        elif multi_output:
            grad = grad / kind(flat.size // p.shape[0])
        if multi_output:
            grad = jnp.moveaxis(grad.reshape((p.shape[0], *p.shape[2:], p.shape[1])), -1, 1)
        grad = grad.reshape(p.shape)
        return grad * ct if out_grad else grad, None

    return with_gradient(forward, backward)(data, label)


# Regression

def _regression_shapes(op, ins, outs, params):
    data = infer.merge(ins[0], outs[0], "data")
    label = ins[1] if len(ins) > 1 else None
    if data is not None and label is None:
        label = (data[0],) if len(data) == 2 and data[1] == 1 else data
    elif data is not None and infer.is_known(label) and infer.is_known(data) and count(label) != count(data):
        raise infer.contradiction("label", label, data)
    elif data is None and label is not None and len(label) > 1:
        data = label
    return [data, label], [data]


def _regression(name: str, forward: Callable, slope: Callable, doc: str) -> None:
    """Registers an output whose gradient is slope(prediction - label) * grad_scale / (outputs per sample)."""
    def body(data, label, *, grad_scale):
        infer.check(record, (data, label))

        def backward(arrays, out, ct):
            label = arrays[1].reshape(out.shape)
            per_sample = max(count(out.shape) // max(out.shape[0], 1), 1)
            return slope(out - label) * out.dtype.type(grad_scale / per_sample), None
        return with_gradient(lambda data, label: forward(data), backward)(data, label)
    body.__doc__ = doc
    record = operator(name, params={"grad_scale": Float(1.0)}, loss=True, shape_rule=_regression_shapes)(body)


_regression("LinearRegressionOutput", lambda x: x + x.dtype.type(0), lambda d: d,
            "`data`; its gradient is that of half the squared error, divided by the outputs per sample.")
_regression("LogisticRegressionOutput", functional.sigmoid, lambda d: d,
            "Sigmoid of `data`; its gradient is that of the cross-entropy, divided by the outputs per sample.")
_regression("MAERegressionOutput", lambda x: x + x.dtype.type(0), np.sign,
            "`data`; its gradient is that of the absolute error, divided by the outputs per sample.")


def _svm_shapes(op, ins, outs, params):
    data = infer.merge(ins[0], outs[0], "data")
    label = None if data is None else data[:-1]
    return [data, infer.merge(ins[1] if len(ins) > 1 else None, label, "label")], [data]


@operator("SVMOutput", params={"margin": Float(1.0), "regularization_coefficient": Float(1.0), "use_linear": Bool(False)},
          loss=True, shape_rule=_svm_shapes)
def svm_output(data, label, *, margin, regularization_coefficient, use_linear):
    """`data`; its gradient is that of the hinge loss of each class against all others, squared unless `use_linear`."""
    infer.check(svm_output, (data, label))

    def backward(arrays, out, ct):
        kind = out.dtype.type
        right = one_hot(arrays[1], out.shape[-1], out.dtype)
        side = kind(2) * right - kind(1)  # +1 at the right class, -1 at the others
        slack = kind(margin) - side * out
        inside = (slack > 0).astype(out.dtype)
        grad = -side * inside * (kind(1) if use_linear else kind(2) * slack)
        return grad * kind(regularization_coefficient), None
    return with_gradient(lambda data, label: data + data.dtype.type(0), backward)(data, label)


# Losses computed by the user

@operator("MakeLoss", params={"grad_scale": Float(1.0), "valid_thresh": Float(0.0), "normalization": NORMALIZATION},
          loss=True, shape_rule=infer.elementwise)
def make_loss_layer(data, *, grad_scale, valid_thresh, normalization):
    """`data`, taken as a loss: its gradient is grad_scale everywhere, divided as `normalization` says."""
    def backward(arrays, out, ct):
        kind = out.dtype.type
        grad = jnp.full(out.shape, kind(grad_scale), out.dtype)
        if normalization == "batch":
            grad = grad / kind(max(count(out.shape[:-1]), 1))  # MXNet counts all axes but the last as the batch
        elif normalization == "valid":
            grad = grad / np.maximum((out > kind(valid_thresh)).astype(out.dtype).sum(), kind(1))
        return (grad,)
    return with_gradient(lambda data: data + data.dtype.type(0), backward)(data)


@operator("make_loss", loss=True, shape_rule=infer.elementwise, output_rule=("loss",))
def make_loss(data):
    """`data`, taken as a loss: its gradient is 1 everywhere."""
    return with_gradient(lambda data: data + data.dtype.type(0), lambda arrays, out, ct: (jnp.ones_like(out),))(data)


@operator("BlockGrad", aliases=("stop_gradient",), loss=True, shape_rule=infer.elementwise)
def block_grad(data):
    """`data`, through which no gradient passes."""
    return stop_gradient(data) if type(data) is not np.ndarray else data.copy()


@operator("smooth_l1", params={"scalar": Float(1.0)}, shape_rule=infer.elementwise)
@in_float32
def smooth_l1(data, *, scalar):
    """(scalar x)^2 / 2 where |x| < 1 / scalar^2, |x| - 1 / (2 scalar^2) elsewhere. Girshick 2015."""
    kind, square = data.dtype.type, scalar * scalar
    size = np.abs(data)
    return np.where(size < kind(1 / square), kind(0.5 * square) * data * data, size - kind(0.5 / square))


def _loss_shapes(op, ins, outs, params):
    data, label = ins
    return [data, infer.merge(label, None if data is None else data[:-1], "label")], [(1,)]


@operator("softmax_cross_entropy", shape_rule=_loss_shapes)
@in_float32
def softmax_cross_entropy(data, label):
    """The sum over the rows of -log softmax(data) at the label, in an array of one element."""
    infer.check(softmax_cross_entropy, (data, label))
    picked = functional.log_softmax(data, -1) * one_hot(label, data.shape[-1], data.dtype)
    return -picked.sum().reshape((1,))


