"""Optimizer: learning rates, decays and update counts per parameter, and the fused step of those that name an operator."""
from __future__ import annotations

import logging
from typing import ClassVar

import numpy as np

from ..errors import OperatorError
from ..nd.creation import zeros
from ..nd.ndarray import NDArray
from . import fused

REGISTRY: dict[str, type] = {}  # lower-cased name -> class


class Optimizer:
    """The base of all optimizers: `update` writes a step into weights and states.

    A class of jitnet's own names an operator (`operator`), whose steps run fused over all parameters that `update` gets as
    lists. A class of the user's own defines `create_state(index, weight)` and `update(index, weight, grad, state)`.

    rescale_grad: what gradients are multiplied with, often 1 / batch size. wd: weight decay; parameters whose names end with
    neither _weight nor _gamma have none. clip_gradient: bound of each element. lr_scheduler: a function of the number of
    updates. param_idx2name: names by index, for `lr_mult` and `wd_mult`. sym: a Symbol, whose `__lr_mult__` and `__wd_mult__`
    attributes count. multi_precision: weights of float16 keep a copy of 32 bits, on which steps are computed.
    """

    operator: ClassVar[str] = ""
    opt_registry: ClassVar[dict[str, type]] = REGISTRY

    def __init__(self, rescale_grad=1.0, param_idx2name=None, wd=0.0, clip_gradient=None, learning_rate=None, lr_scheduler=None,
                 sym=None, begin_num_update=0, multi_precision=False, param_dict=None):
        self.rescale_grad, self.wd, self.clip_gradient = rescale_grad, wd, clip_gradient
        self.lr_scheduler, self.multi_precision = lr_scheduler, multi_precision
        self.lr = 0.01 if lr_scheduler is None and learning_rate is None else learning_rate
        if lr_scheduler is not None and learning_rate is not None and lr_scheduler.base_lr != learning_rate:
            logging.warning("learning rate %s of the scheduler is overwritten by learning_rate=%s of the optimizer",
                            lr_scheduler.base_lr, learning_rate)
            lr_scheduler.base_lr = learning_rate
        if param_idx2name is not None and not isinstance(param_idx2name, dict):
            raise TypeError(f"param_idx2name must be a dict of names by index, got {type(param_idx2name).__name__}")
        self.begin_num_update = self.num_update = begin_num_update
        self._counts: dict[int, dict] = {0: {}}  # by device: updates of each index
        self._index_update_count = self._counts[0]
        self.idx2name = dict(param_idx2name or {})
        self.sym_info = (sym.attr_dict(), sym.list_arguments()) if sym is not None else ()
        self.param_dict = param_dict or {}
        self.lr_mult: dict = {}
        self.wd_mult: dict = {}
        self.set_lr_mult({})
        self.set_wd_mult({})

    # Registry

    @staticmethod
    def register(klass: type) -> type:
        """Decorator: `create` finds the class by its name, in any case."""
        name = klass.__name__.lower()
        if REGISTRY.get(name, klass) is not klass:
            logging.warning("optimizer %s replaces another one of its name", klass.__name__)
        REGISTRY[name] = klass
        return klass

    @staticmethod
    def create_optimizer(name: str, **kwargs) -> Optimizer:
        """The optimizer of a registered name, made with these arguments; ValueError lists the names when there is none."""
        if isinstance(name, Optimizer):
            return name
        if name.lower() not in REGISTRY:
            raise ValueError(f"Cannot find optimizer {name}: known are {', '.join(sorted(REGISTRY))}")
        return REGISTRY[name.lower()](**kwargs)

    # Rates and decays

    @property
    def learning_rate(self) -> float:
        """The learning rate now."""
        return self.lr if self.lr_scheduler is None else self.lr_scheduler(self.num_update)

    def set_learning_rate(self, lr: float) -> None:
        """Sets the learning rate; UserWarning is raised when a scheduler sets it."""
        if self.lr_scheduler is not None:
            raise UserWarning("LRScheduler of the optimizer has already been defined: change its base_lr")
        self.lr = lr

    def set_lr_mult(self, args_lr_mult: dict) -> None:
        """Sets factors of the learning rate by name or index, on top of those of the Symbol's attributes."""
        self.lr_mult = {**self._attributes("__lr_mult__"), **args_lr_mult}

    def set_wd_mult(self, args_wd_mult: dict) -> None:
        """Sets factors of the weight decay by name or index, on top of those of the Symbol's attributes; they are 0 for
        parameters whose names end with neither _weight nor _gamma."""
        none = {name: 0.0 for name in self.idx2name.values() if not name.endswith(("_weight", "_gamma"))}
        self.wd_mult = {**none, **self._attributes("__wd_mult__"), **args_wd_mult}

    def _attributes(self, key: str) -> dict[str, float]:
        if not self.sym_info:
            return {}
        attributes, names = self.sym_info
        return {name: float(attributes[name][key]) for name in names if key in attributes.get(name, {})}

    def _factor(self, index, factors: dict, attribute: str) -> float:
        if index in self.param_dict:
            return getattr(self.param_dict[index], attribute)
        return factors[index] if index in factors else factors.get(self.idx2name.get(index), 1.0)

    def _get_lr(self, index) -> float:
        """Learning rate of the parameter of that index."""
        return self.learning_rate * self._factor(index, self.lr_mult, "lr_mult")

    def _get_wd(self, index) -> float:
        """Weight decay of the parameter of that index."""
        return self.wd * self._factor(index, self.wd_mult, "wd_mult")

    def _get_lrs(self, indices) -> list[float]:
        """Learning rates of parameters."""
        return [self._get_lr(index) for index in indices]

    def _get_wds(self, indices) -> list[float]:
        """Weight decays of parameters."""
        return [self._get_wd(index) for index in indices]

    def _set_current_context(self, device_id: int) -> None:
        self._index_update_count = self._counts.setdefault(device_id, {})

    def _update_count(self, index) -> None:
        for one in index if isinstance(index, (list, tuple)) else (index,):
            count = self._index_update_count.get(one, self.begin_num_update) + 1
            self._index_update_count[one] = count
            self.num_update = max(count, self.num_update)

    # States and steps

    def create_state(self, index, weight: NDArray):
        """The states of a new weight: None, an NDArray, or a tuple of them."""

    def create_state_multi_precision(self, index, weight: NDArray):
        """(copy of the weight in 32 bits, its states) of a weight of float16 under `multi_precision`, else `create_state`.

        SGD and NAG have (its states, copy of the weight), as in MXNet's files of states.
        """
        if weight.dtype == np.float16:
            if self.multi_precision:
                copy = weight.astype(np.float32)
                state = self.create_state(index, copy)
                return (state, copy) if self._copy_last else (copy, state)
            logging.warning("steps on float16 weights lose precision: pass multi_precision=True to the optimizer")
        return self.create_state(index, weight)

    def _static(self) -> tuple:
        """((parameter of the operator, value), ...), fixed while training."""
        return ()

    def _numbers(self, index) -> dict[str, float]:
        """The operator's numbers for the next step of one parameter, which may change from step to step."""
        return {"lr": self._get_lr(index), "wd": self._get_wd(index)}

    def _rule(self) -> str:
        return self.operator

    def update(self, index, weight, grad, state) -> None:
        """Writes one step into a weight and its states, or, given lists, into each, by one compiled program."""
        if not self._rule():
            raise TypeError(f"{type(self).__name__} defines no update(index, weight, grad, state)")
        if not isinstance(index, (list, tuple)):
            index, weight, grad, state = [index], [weight], [grad], [state]
        self._step(index, weight, grad, [_flat(s) for s in state])

    def update_multi_precision(self, index, weight, grad, state) -> None:
        """`update` with states of `create_state_multi_precision`."""
        if self._fused():
            many = isinstance(index, (list, tuple))
            weights, states = (weight, state) if many else ([weight], [state])
            flat = [[*_flat(s[1]), s[0]] if self._mixed(w) and not self._copy_last else _flat(s)
                    for w, s in zip(weights, states)]
            self._step(index if many else [index], weights, grad if many else [grad], flat)
        elif isinstance(index, (list, tuple)):
            for one in zip(index, weight, grad, state):
                self.update_multi_precision(*one)
        elif self._mixed(weight):
            own, copy = state if self._copy_last else state[::-1]
            self.update(index, copy, grad.astype(np.float32), own)
            copy.astype(np.float16).copyto(weight)
        else:
            self.update(index, weight, grad, state)

    def _mixed(self, weight) -> bool:
        return self.multi_precision and weight.dtype == np.float16

    def _fused(self) -> bool:
        """Whether `update` takes lists: it is not one that a user wrote."""
        return type(self).update is Optimizer.update and bool(self._rule())

    def _step(self, indices, weights, grads, states) -> None:
        for index, weight, grad in zip(indices, weights, grads, strict=True):
            if weight._data.shape != grad._data.shape or weight._data.dtype != grad._data.dtype:
                what = [f"{a._data.dtype}{list(a.shape)}" for a in (weight, grad)]
                raise OperatorError(f"{type(self).__name__}: parameter {self.idx2name.get(index, index)} is {what[0]}, its "
                                    f"gradient {what[1]}", "pass the gradient of this weight")
        self._update_count(indices)
        rows = [self._numbers(index) for index in indices]
        clip = () if self.clip_gradient is None else ((self._clip_name, float(self.clip_gradient)),)
        static = {**_defaults(self._rule(), *rows[0], "rescale_grad"), **dict(self._static()), **dict(clip)}
        fused.step(self._rule(), tuple(static.items()), tuple(rows[0]), weights, grads, states,
                   [[float(v) for v in row.values()] for row in rows], self.rescale_grad)

    _clip_name: ClassVar[str] = "clip_gradient"
    _copy_last: ClassVar[bool] = False


def _defaults(operator: str, *numbers: str) -> dict:
    """Values of the operator's parameters that no optimizer names."""
    from ..operators import find

    return {name: value for name, value in find(operator).schema.defaults.items() if name not in numbers}


def _flat(state) -> list[NDArray]:
    if state is None:
        return []
    return [state] if isinstance(state, NDArray) else [leaf for part in state for leaf in _flat(part)]


def zeros_like(weight: NDArray) -> NDArray:
    """A state of a weight: zeros of its shape and dtype, where it is."""
    return zeros(weight.shape, weight.context, weight.dtype)


register, create = Optimizer.register, Optimizer.create_optimizer
