"""Steps of optimizers: the new weight, and the states' new values, from weight, gradient and states.

`nd.sgd_mom_update(weight, grad, mom, out=weight, lr=0.1)` takes one step at once, and writes the new momentum into `mom`;
`jitnet.optimizer` makes one program of the steps of all parameters from the same bodies. Every step multiplies the gradient by
`rescale_grad` and clips it to [-clip_gradient, clip_gradient] where that is not negative; `wd` is the weight decay.
"""
from __future__ import annotations

import numpy as np

from .. import numpy as jnp
from . import infer
from .params import Bool, Float, Scalar
from .registry import operator

RATE = {"lr": Scalar()}
COMMON = {"wd": Scalar(0.0), "rescale_grad": Scalar(1.0), "clip_gradient": Float(-1.0)}
LAZY = {"lazy_update": Bool(True)}  # of sparse gradients; all are dense here


def _clipped(grad, limit):
    return jnp.clip(grad, -limit, limit) if limit >= 0 else grad


def _decayed(weight, grad, wd, rescale_grad, clip_gradient):
    """The gradient with the decay's share, clipped together."""
    return _clipped(grad * rescale_grad + wd * weight, clip_gradient)


def _step(name: str, states=(), params=None, **fields):
    return operator(name, aux=states, shape_rule=infer.elementwise, step=True,
                    params={**RATE, **(params or {}), **COMMON}, **fields)


@_step("sgd_update", params=LAZY)
def sgd_update(weight, grad, *, lr, wd, rescale_grad, clip_gradient, lazy_update):
    """weight - lr * (grad + wd * weight)."""
    return weight - lr * (_clipped(grad * rescale_grad, clip_gradient) + wd * weight)


@_step("sgd_mom_update", ("mom",), {"momentum": Float(0.0), **LAZY})
def sgd_mom_update(weight, grad, mom, *, lr, momentum, wd, rescale_grad, clip_gradient, lazy_update):
    """Gradient descent with momentum: mom = momentum * mom - lr * (grad + wd * weight); weight + mom."""
    mom = momentum * mom - lr * (_clipped(grad * rescale_grad, clip_gradient) + wd * weight)
    return weight + mom, mom


@_step("nag_mom_update", ("mom",), {"momentum": Float(0.0)})
def nag_mom_update(weight, grad, mom, *, lr, momentum, wd, rescale_grad, clip_gradient):
    """Nesterov's accelerated gradient: the step looks ahead along the momentum. Nesterov 1983, Sutskever et al. 2013."""
    step = lr * (_clipped(grad * rescale_grad, clip_gradient) + wd * weight)
    mom = momentum * mom - step
    return weight + momentum * mom - step, mom


@_step("adam_update", ("mean", "var"), {"beta1": Float(0.9), "beta2": Float(0.999), "epsilon": Float(1e-8), **LAZY})
def adam_update(weight, grad, mean, var, *, lr, beta1, beta2, epsilon, wd, rescale_grad, clip_gradient, lazy_update):
    """Adam, without the correction of its start, which belongs into `lr`. Kingma and Ba 2014."""
    grad = _decayed(weight, grad, wd, rescale_grad, clip_gradient)
    mean = beta1 * mean + (1 - beta1) * grad
    var = beta2 * var + (1 - beta2) * (grad * grad)
    return weight - lr * mean / (jnp.sqrt(var) + epsilon), mean, var


@_step("adagrad_update", ("history",), {"epsilon": Float(1e-7)})
def adagrad_update(weight, grad, history, *, lr, epsilon, wd, rescale_grad, clip_gradient):
    """AdaGrad: steps shrink with the sum of squared gradients. Duchi, Hazan and Singer 2011."""
    grad = _clipped(grad * rescale_grad, clip_gradient)
    history = history + grad * grad
    return weight - lr * (grad / jnp.sqrt(history + epsilon) + wd * weight), history


RMSPROP = {"gamma1": Float(0.95), "epsilon": Float(1e-8), "clip_weights": Float(-1.0)}


@_step("rmsprop_update", ("n",), RMSPROP)
def rmsprop_update(weight, grad, n, *, lr, gamma1, epsilon, clip_weights, wd, rescale_grad, clip_gradient):
    """RMSProp: the gradient over the root of its mean square. Tieleman and Hinton 2012."""
    grad = _decayed(weight, grad, wd, rescale_grad, clip_gradient)
    n = gamma1 * n + (1 - gamma1) * (grad * grad)
    return _clipped(weight - lr * grad / jnp.sqrt(n + epsilon), clip_weights), n


@_step("rmspropalex_update", ("n", "g", "delta"), {**RMSPROP, "gamma2": Float(0.9)})
def rmspropalex_update(weight, grad, n, g, delta, *, lr, gamma1, epsilon, clip_weights, gamma2, wd, rescale_grad,
                       clip_gradient):
    """RMSProp by the centered variance, with momentum. Graves 2013, equations 38 to 45."""
    grad = _decayed(weight, grad, wd, rescale_grad, clip_gradient)
    n = gamma1 * n + (1 - gamma1) * (grad * grad)
    g = gamma1 * g + (1 - gamma1) * grad
    delta = gamma2 * delta - lr * grad / jnp.sqrt(n - g * g + epsilon)
    return _clipped(weight + delta, clip_weights), n, g, delta


@operator("adadelta_update", aux=("acc_g", "acc_delta"), shape_rule=infer.elementwise,
          params={"rho": Float(0.9), "epsilon": Float(1e-5), **COMMON})
def adadelta_update(weight, grad, acc_g, acc_delta, *, rho, epsilon, wd, rescale_grad, clip_gradient):
    """AdaDelta: steps in the units of the weight, without a learning rate. Zeiler 2012."""
    grad = _clipped(grad * rescale_grad, clip_gradient)
    acc_g = rho * acc_g + (1 - rho) * (grad * grad)
    delta = jnp.sqrt(acc_delta + epsilon) / jnp.sqrt(acc_g + epsilon) * grad
    acc_delta = rho * acc_delta + (1 - rho) * (delta * delta)
    return weight - (delta + wd * weight), acc_g, acc_delta


@_step("ftrl_update", ("z", "n"), {"lamda1": Float(0.01), "beta": Float(1.0)})
def ftrl_update(weight, grad, z, n, *, lr, lamda1, beta, wd, rescale_grad, clip_gradient):
    """Follow the regularized leader: weights of small sums of gradients are 0. McMahan et al. 2013."""
    grad = _clipped(grad * rescale_grad, clip_gradient)
    total = n + grad * grad
    z = z + grad - (jnp.sqrt(total) - jnp.sqrt(n)) * weight / lr
    leader = (jnp.sign(z) * lamda1 - z) / ((beta + jnp.sqrt(total)) / lr + wd)
    return jnp.where(jnp.abs(z) > lamda1, leader, jnp.zeros_like(leader)), z, total


@operator("ftml_update", aux=("d", "v", "z"), shape_rule=infer.elementwise,
          params={**RATE, "beta1": Float(0.6), "beta2": Float(0.999), "epsilon": Float(1e-8), "t": Scalar(), "wd": Scalar(0.0),
                  "rescale_grad": Scalar(1.0), "clip_grad": Float(-1.0)})
def ftml_update(weight, grad, d, v, z, *, lr, beta1, beta2, epsilon, t, wd, rescale_grad, clip_grad):
    """Follow the moving leader; `t` counts the steps from 1. Zheng and Kwok 2017."""
    grad = _decayed(weight, grad, wd, rescale_grad, clip_grad)
    v = beta2 * v + (1 - beta2) * (grad * grad)
    new = (1 - beta1 ** t) / lr * (jnp.sqrt(v / (1 - beta2 ** t)) + epsilon)
    z = beta1 * z + (1 - beta1) * grad - (new - beta1 * d) * weight
    return (-z / new).astype(weight.dtype), new.astype(d.dtype), v.astype(d.dtype), z.astype(d.dtype)


@_step("signsgd_update")
def signsgd_update(weight, grad, *, lr, wd, rescale_grad, clip_gradient):
    """Steps of one length: (1 - lr * wd) * weight - lr * sign(grad). Bernstein et al. 2018."""
    return (1 - lr * wd) * weight - lr * jnp.sign(grad * rescale_grad)


@_step("signum_update", ("mom",), {"momentum": Float(0.0), "wd_lh": Float(0.0)})
def signum_update(weight, grad, mom, *, lr, momentum, wd_lh, wd, rescale_grad, clip_gradient):
    """Steps of one length along the sign of the momentum; `wd_lh` decays the weight itself. Bernstein et al. 2018."""
    grad = _clipped(grad * rescale_grad, clip_gradient) + wd * weight
    mom = momentum * mom - (1 - momentum) * grad
    return (1 - lr * wd_lh) * weight + lr * jnp.sign(mom), mom


@_step("adamax_update", ("mean", "norm"), {"beta1": Float(0.9), "beta2": Float(0.999)})
def adamax_update(weight, grad, mean, norm, *, lr, beta1, beta2, wd, rescale_grad, clip_gradient):
    """Adam by the largest gradient in place of the root mean square. Kingma and Ba 2014, section 7.1."""
    grad = _decayed(weight, grad, wd, rescale_grad, clip_gradient)
    mean = beta1 * mean + (1 - beta1) * grad
    norm = jnp.maximum(beta2 * norm, jnp.abs(grad))
    return weight - lr * mean / norm, mean, norm


NADAM = {"beta1": Float(0.9), "beta2": Float(0.999), "epsilon": Float(1e-8), "momentum": Scalar(), "next_momentum": Scalar(),
         "schedule": Scalar(), "t": Scalar()}


@_step("nadam_update", ("mean", "var"), NADAM)
def nadam_update(weight, grad, mean, var, *, lr, beta1, beta2, epsilon, momentum, next_momentum, schedule, t, wd, rescale_grad,
                 clip_gradient):
    """Adam with Nesterov's momentum: `momentum` of this step and the next, `schedule` the product of all so far. Dozat 2016."""
    grad = _decayed(weight, grad, wd, rescale_grad, clip_gradient)
    mean = beta1 * mean + (1 - beta1) * grad
    var = beta2 * var + (1 - beta2) * (grad * grad)
    ahead = (1 - momentum) * (grad / (1 - schedule)) + next_momentum * (mean / (1 - schedule * next_momentum))
    return (weight - lr * ahead / (jnp.sqrt(var / (1 - beta2 ** t)) + epsilon)).astype(weight.dtype), mean, var


LAMB = {"beta1": Float(0.9), "beta2": Float(0.999), "epsilon": Float(1e-6), "t": Scalar(), "bias_correction": Bool(True),
        "wd": Scalar(), "rescale_grad": Scalar(1.0), "clip_gradient": Float(-1.0)}


@operator("lamb_update_phase1", aux=("mean", "var"), shape_rule=infer.elementwise, params=LAMB)
def lamb_update_phase1(weight, grad, mean, var, *, beta1, beta2, epsilon, t, bias_correction, wd, rescale_grad, clip_gradient):
    """Direction of a step of LAMB, which phase 2 gives its length; `t` counts the steps from 1. You et al. 2019."""
    grad = _clipped(grad * rescale_grad, clip_gradient)
    mean = beta1 * mean + (1 - beta1) * grad
    var = beta2 * var + (1 - beta2) * (grad * grad)
    first, second = (mean / (1 - beta1 ** t), var / (1 - beta2 ** t)) if bias_correction else (mean, var)
    return (first / (jnp.sqrt(second) + epsilon) + wd * weight).astype(weight.dtype), mean, var


def _weight_shape(op, ins, outs, params):
    shape = infer.merge(infer.merge(ins[0], ins[1], "g"), outs[0], "output")
    return [shape, shape, ins[2] or (1,), ins[3] or (1,)], [shape]


@operator("lamb_update_phase2", shape_rule=_weight_shape,
          params={**RATE, "lower_bound": Float(-1.0), "upper_bound": Float(-1.0)})
def lamb_update_phase2(weight, g, r1, r2, *, lr, lower_bound, upper_bound):
    """A step along `g`, of norm r2, scaled to the weight's norm r1, which is kept within the bounds that are not negative."""
    bounded = r1 if lower_bound < 0 else jnp.maximum(r1, lower_bound)
    bounded = bounded if upper_bound < 0 else jnp.minimum(bounded, upper_bound)
    ratio = jnp.where((bounded == 0) | (r2 == 0), jnp.ones_like(r1), bounded / r2)
    return weight - lr * ratio * g


LAMB_STEP = {**RATE, **LAMB, "lower_bound": Float(-1.0), "upper_bound": Float(-1.0)}


@operator("lamb_update", aux=("mean", "var"), shape_rule=infer.elementwise, params=LAMB_STEP)
def lamb_update(weight, grad, mean, var, *, lr, lower_bound, upper_bound, **options):
    """Both phases of a step of LAMB: Adam's direction, as long as lr times the weight's norm. You et al. 2019."""
    g, mean, var = lamb_update_phase1.body(weight, grad, mean, var, **options)
    norm = lambda x: jnp.sqrt(jnp.sum(x * x))
    out = lamb_update_phase2.body(weight, g, norm(weight), norm(g), lr=lr, lower_bound=lower_bound, upper_bound=upper_bound)
    return out, mean, var


# Weights of 16 bits whose step is computed on a copy of 32 bits, kept as the last state

def _mixed_types(op, ins, outs, params):
    kinds = [np.dtype(np.float32)] * len(ins)
    kinds[:2] = [ins[0] or outs[0] or np.dtype(np.float16)] * 2
    return kinds, [kinds[0]]


def in_32_bits(body):
    """The step on weights of 16 bits: computed on their copy `weight32`, the last state."""
    def step(weight, grad, *states, **options):
        *states, weight32 = states
        out = body(weight32, grad.astype(np.float32), *states, **options)
        out, *states = out if isinstance(out, tuple) else (out,)
        return out.astype(weight.dtype), *states, out
    return step


MIXED = {"type_rule": _mixed_types, "same_dtype": False}


@_step("mp_sgd_update", ("weight32",), LAZY, **MIXED)
def mp_sgd_update(weight, grad, weight32, **options):
    """`sgd_update` of a weight of 16 bits, computed on its copy of 32 bits."""
    return in_32_bits(sgd_update.body)(weight, grad, weight32, **options)


@_step("mp_sgd_mom_update", ("mom", "weight32"), {"momentum": Float(0.0), **LAZY}, **MIXED)
def mp_sgd_mom_update(weight, grad, mom, weight32, **options):
    """`sgd_mom_update` of a weight of 16 bits, computed on its copy of 32 bits."""
    return in_32_bits(sgd_mom_update.body)(weight, grad, mom, weight32, **options)


@_step("mp_nag_mom_update", ("mom", "weight32"), {"momentum": Float(0.0)}, **MIXED)
def mp_nag_mom_update(weight, grad, mom, weight32, **options):
    """`nag_mom_update` of a weight of 16 bits, computed on its copy of 32 bits."""
    return in_32_bits(nag_mom_update.body)(weight, grad, mom, weight32, **options)
