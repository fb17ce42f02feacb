"""The optimizers by name. Each says which operator takes its steps, what states it keeps and which numbers it passes."""
from __future__ import annotations

import math

from ..nd.ndarray import NDArray
from .optimizer import Optimizer, register, zeros_like


@register
class SGD(Optimizer):
    """Gradient descent, with momentum where that is not 0."""

    _copy_last = True

    def __init__(self, momentum=0.0, lazy_update=True, **kwargs):
        super().__init__(**kwargs)
        self.momentum, self.lazy_update = momentum, lazy_update

    def _rule(self) -> str:
        return "sgd_mom_update" if self.momentum else "sgd_update"

    def _static(self) -> tuple:
        return (("momentum", self.momentum),) if self.momentum else ()

    def create_state(self, index, weight: NDArray):
        return zeros_like(weight) if self.momentum else None


@register
class ccSGD(SGD):
    """SGD under its old name."""


@register
class NAG(SGD):
    """Nesterov's accelerated gradient."""

    def __init__(self, momentum=0.0, **kwargs):
        super().__init__(momentum, **kwargs)

    def _rule(self) -> str:
        return "nag_mom_update" if self.momentum else "sgd_update"


@register
class Signum(Optimizer):
    """Steps of one length, along the sign of the momentum. `wd_lh` decays the weights themselves."""

    def __init__(self, learning_rate=0.01, momentum=0.9, wd_lh=0.0, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum, self.wd_lh = momentum, wd_lh

    def _rule(self) -> str:
        return "signum_update" if self.momentum else "signsgd_update"

    def _static(self) -> tuple:
        return (("momentum", self.momentum), ("wd_lh", self.wd_lh)) if self.momentum else ()

    def create_state(self, index, weight: NDArray):
        return zeros_like(weight) if self.momentum else None


class _Pair(Optimizer):
    """An optimizer with two states per weight."""

    def create_state(self, index, weight: NDArray):
        return zeros_like(weight), zeros_like(weight)


@register
class Adam(_Pair):
    """Adam. Kingma and Ba 2014."""

    operator = "adam_update"

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, lazy_update=True, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1, self.beta2, self.epsilon, self.lazy_update = beta1, beta2, epsilon, lazy_update

    def _static(self) -> tuple:
        return ("beta1", self.beta1), ("beta2", self.beta2), ("epsilon", self.epsilon)

    def _numbers(self, index) -> dict[str, float]:
        t = self._index_update_count[index]
        correction = math.sqrt(1 - self.beta2 ** t) / (1 - self.beta1 ** t)
        return {"lr": self._get_lr(index) * correction, "wd": self._get_wd(index)}


@register
class Adamax(_Pair):
    """Adam by the largest gradient. Kingma and Ba 2014, section 7.1."""

    operator = "adamax_update"

    def __init__(self, learning_rate=0.002, beta1=0.9, beta2=0.999, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1, self.beta2 = beta1, beta2

    def _static(self) -> tuple:
        return ("beta1", self.beta1), ("beta2", self.beta2)

    def _numbers(self, index) -> dict[str, float]:
        correction = 1 - self.beta1 ** self._index_update_count[index]
        return {"lr": self._get_lr(index) / correction, "wd": self._get_wd(index)}


@register
class Nadam(_Pair):
    """Adam with Nesterov's momentum. Dozat 2016. The product of the momentum schedule is kept per parameter."""

    operator = "nadam_update"

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, schedule_decay=0.004, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1, self.beta2, self.epsilon, self.schedule_decay = beta1, beta2, epsilon, schedule_decay
        self.m_schedule: dict = {}

    def _static(self) -> tuple:
        return ("beta1", self.beta1), ("beta2", self.beta2), ("epsilon", self.epsilon)

    def _momentum(self, t: int) -> float:
        return self.beta1 * (1 - 0.5 * 0.96 ** (t * self.schedule_decay))

    def _numbers(self, index) -> dict[str, float]:
        t = self._index_update_count[index]
        self.m_schedule[index] = self.m_schedule.get(index, 1.0) * self._momentum(t)
        return {"lr": self._get_lr(index), "wd": self._get_wd(index), "momentum": self._momentum(t),
                "next_momentum": self._momentum(t + 1), "schedule": self.m_schedule[index], "t": t}


@register
class LAMB(_Pair):
    """Adam's directions, as long as lr times the norm of the weight. You et al. 2019."""

    operator = "lamb_update"

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-6, lower_bound=None, upper_bound=None,
                 bias_correction=True, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.lower_bound, self.upper_bound, self.bias_correction = lower_bound, upper_bound, bias_correction

    def _static(self) -> tuple:
        return (("beta1", self.beta1), ("beta2", self.beta2), ("epsilon", self.epsilon),
                ("lower_bound", self.lower_bound or -1.0), ("upper_bound", self.upper_bound or -1.0),
                ("bias_correction", self.bias_correction))

    def _numbers(self, index) -> dict[str, float]:
        return {**super()._numbers(index), "t": self._index_update_count[index]}


@register
class AdaGrad(Optimizer):
    """AdaGrad. Duchi, Hazan and Singer 2011."""

    operator = "adagrad_update"

    def __init__(self, eps=1e-7, **kwargs):
        super().__init__(**kwargs)
        self.float_stable_eps = eps

    def _static(self) -> tuple:
        return (("epsilon", self.float_stable_eps),)

    def create_state(self, index, weight: NDArray):
        return zeros_like(weight)


@register
class RMSProp(Optimizer):
    """RMSProp: plain, or by the centered variance with momentum gamma2."""

    def __init__(self, learning_rate=0.001, gamma1=0.9, gamma2=0.9, epsilon=1e-8, centered=False, clip_weights=None, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.gamma1, self.gamma2, self.epsilon = gamma1, gamma2, epsilon
        self.centered, self.clip_weights = centered, clip_weights

    def _rule(self) -> str:
        return "rmspropalex_update" if self.centered else "rmsprop_update"

    def _static(self) -> tuple:
        shared = ("gamma1", self.gamma1), ("epsilon", self.epsilon), ("clip_weights", self.clip_weights or -1.0)
        return (*shared, ("gamma2", self.gamma2)) if self.centered else shared

    def create_state(self, index, weight: NDArray):
        return tuple([zeros_like(weight) for _ in range(3 if self.centered else 1)])


@register
class AdaDelta(_Pair):
    """AdaDelta, which has no learning rate. Zeiler 2012."""

    operator = "adadelta_update"

    def __init__(self, rho=0.9, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.rho, self.epsilon = rho, epsilon

    def _static(self) -> tuple:
        return ("rho", self.rho), ("epsilon", self.epsilon)

    def _numbers(self, index) -> dict[str, float]:
        return {"wd": self._get_wd(index)}


@register
class Ftrl(_Pair):
    """Follow the regularized leader; lamda1 is the L1 regularization. McMahan et al. 2013."""

    operator = "ftrl_update"

    def __init__(self, lamda1=0.01, learning_rate=0.1, beta=1, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.lamda1, self.beta = lamda1, beta

    def _static(self) -> tuple:
        return ("lamda1", self.lamda1), ("beta", self.beta)


@register
class FTML(Optimizer):
    """Follow the moving leader. Zheng and Kwok 2017."""

    operator, _clip_name = "ftml_update", "clip_grad"

    def __init__(self, beta1=0.6, beta2=0.999, epsilon=1e-8, **kwargs):
        super().__init__(**kwargs)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def _static(self) -> tuple:
        return ("beta1", self.beta1), ("beta2", self.beta2), ("epsilon", self.epsilon)

    def _numbers(self, index) -> dict[str, float]:
        return {**super()._numbers(index), "t": self._index_update_count[index]}

    def create_state(self, index, weight: NDArray):
        return zeros_like(weight), zeros_like(weight), zeros_like(weight)


@register
class Test(Optimizer):
    """Adds the rescaled gradient; the state is a copy of the weight. For tests of what calls optimizers."""

    def create_state(self, index, weight: NDArray):
        return zeros_like(weight)

    def update(self, index, weight, grad, state) -> None:
        weight[:] += grad * self.rescale_grad
        state[:] = weight
