"""Schedules of the learning rate: functions of the number of updates so far.

>>> import jitnet as mx
>>> rate = mx.lr_scheduler.FactorScheduler(step=100, factor=0.5, base_lr=0.4)
>>> [rate(1), rate(101), rate(250)]
[0.4, 0.2, 0.1]
"""
from __future__ import annotations

import logging
import math


class LRScheduler:
    """The base of schedules. The first `warmup_steps` updates lead from `warmup_begin_lr` to `base_lr` ("linear"), or stay at
    `warmup_begin_lr` ("constant")."""

    def __init__(self, base_lr=0.01, warmup_steps=0, warmup_begin_lr=0, warmup_mode="linear"):
        if warmup_begin_lr > base_lr:
            raise ValueError(f"Base lr {base_lr} has to be higher than warmup_begin_lr {warmup_begin_lr}")
        if warmup_steps < 0:
            raise ValueError(f"Warmup steps has to be positive or 0, got {warmup_steps}")
        if warmup_mode not in ("linear", "constant"):
            raise ValueError(f"Supports only linear and constant modes of warmup, got {warmup_mode!r}")
        self.base_lr = self.warmup_final_lr = base_lr
        self.warmup_steps, self.warmup_begin_lr, self.warmup_mode = warmup_steps, warmup_begin_lr, warmup_mode

    def get_warmup_lr(self, num_update: int) -> float:
        """The rate of an update before `warmup_steps`."""
        if self.warmup_mode == "constant":
            return self.warmup_begin_lr
        return self.warmup_begin_lr + (self.warmup_final_lr - self.warmup_begin_lr) * num_update / self.warmup_steps

    def scheduled(self, num_update: int) -> float:
        """The rate after the warm-up."""
        raise TypeError(f"{type(self).__name__} must define __call__(num_update)")

    def __call__(self, num_update: int) -> float:
        return self.get_warmup_lr(num_update) if num_update < self.warmup_steps else self.scheduled(num_update)


def _check_factor(factor: float) -> None:
    if factor > 1:
        raise ValueError(f"Factor must be no more than 1 to make lr reduce, got {factor}")


class FactorScheduler(LRScheduler):
    """The rate times `factor` after every `step` updates, down to `stop_factor_lr`."""

    def __init__(self, step, factor=1, stop_factor_lr=1e-8, base_lr=0.01, warmup_steps=0, warmup_begin_lr=0,
                 warmup_mode="linear"):
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if step < 1:
            raise ValueError(f"Schedule step must be greater or equal than 1 round, got {step}")
        _check_factor(factor)
        self.step, self.factor, self.stop_factor_lr, self.count = step, factor, stop_factor_lr, 0

    def scheduled(self, num_update: int) -> float:
        while num_update > self.count + self.step:  # several steps at once where training goes on from a checkpoint
            self.count += self.step
            self.base_lr = max(self.base_lr * self.factor, self.stop_factor_lr)
            logging.info("Update[%d]: Change learning rate to %0.5e", num_update, self.base_lr)
        return self.base_lr


class MultiFactorScheduler(LRScheduler):
    """The rate times `factor` after each of the numbers of updates in the list `step`."""

    def __init__(self, step, factor=1, base_lr=0.01, warmup_steps=0, warmup_begin_lr=0, warmup_mode="linear"):
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if not isinstance(step, list) or not step:
            raise ValueError(f"step must be a list of numbers of updates, got {step!r}")
        if step[0] < 1:
            raise ValueError(f"Schedule step must be greater or equal than 1 round, got {step[0]}")
        if any(b <= a for a, b in zip(step, step[1:])):
            raise ValueError(f"Schedule step must be an increasing integer list, got {step}")
        _check_factor(factor)
        self.step, self.factor, self.cur_step_ind, self.count = step, factor, 0, 0

    def scheduled(self, num_update: int) -> float:
        while self.cur_step_ind < len(self.step) and num_update > self.step[self.cur_step_ind]:
            self.count = self.step[self.cur_step_ind]
            self.cur_step_ind += 1
            self.base_lr *= self.factor
            logging.info("Update[%d]: Change learning rate to %0.5e", num_update, self.base_lr)
        return self.base_lr


class _Falling(LRScheduler):
    """A rate that falls from `base_lr` to `final_lr` over `max_update` updates, along `shape` of the part that is done."""

    def __init__(self, max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode):
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if not isinstance(max_update, int) or max_update < 1:
            raise ValueError(f"maximum number of updates must be strictly positive, got {max_update!r}")
        self.base_lr_orig, self.max_update, self.final_lr = base_lr, max_update, final_lr
        self.max_steps = max_update - warmup_steps

    def shape(self, done: float) -> float:
        """From 1 to 0 as `done` goes from 0 to 1."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def scheduled(self, num_update: int) -> float:
        if num_update <= self.max_update:
            done = (num_update - self.warmup_steps) / self.max_steps
            self.base_lr = self.final_lr + (self.base_lr_orig - self.final_lr) * self.shape(done)
        return self.base_lr


class PolyScheduler(_Falling):
    """A rate that falls as the power `pwr` of what remains of `max_update` updates."""

    def __init__(self, max_update, base_lr=0.01, pwr=2, final_lr=0, warmup_steps=0, warmup_begin_lr=0, warmup_mode="linear"):
        super().__init__(max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        self.power = pwr

    def shape(self, done: float) -> float:
        return (1 - done) ** self.power


class CosineScheduler(_Falling):
    """A rate that falls along half a cosine over `max_update` updates."""

    def __init__(self, max_update, base_lr=0.01, final_lr=0, warmup_steps=0, warmup_begin_lr=0, warmup_mode="linear"):
        super().__init__(max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode)

    def shape(self, done: float) -> float:
        return (1 + math.cos(math.pi * done)) / 2
