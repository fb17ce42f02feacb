"""Callbacks for `Module.fit`: after a batch they get a BatchEndParam, after an epoch (epoch, symbol, parameters, states)."""
from __future__ import annotations

import logging
import math
import time

from .model import save_checkpoint


def module_checkpoint(mod, prefix: str, period: int = 1, save_optimizer_states: bool = False):
    """A callback that saves a checkpoint of the module after every `period` epochs."""
    period = max(1, int(period))

    def callback(epoch, sym=None, arg=None, aux=None):
        if (epoch + 1) % period == 0:
            mod.save_checkpoint(prefix, epoch + 1, save_optimizer_states)
    return callback


def do_checkpoint(prefix: str, period: int = 1):
    """A callback that saves symbol and parameters after every `period` epochs."""
    period = max(1, int(period))

    def callback(epoch, sym, arg, aux):
        if (epoch + 1) % period == 0:
            save_checkpoint(prefix, epoch + 1, sym, arg, aux)
    return callback


def log_train_metric(period: int, auto_reset: bool = False):
    """A callback that logs the metric after every `period` batches, and forgets it under `auto_reset`."""
    def callback(param):
        if param.nbatch % period == 0 and param.eval_metric is not None:
            for name, value in param.eval_metric.get_name_value():
                logging.info("Iter[%d] Batch[%d] Train-%s=%f", param.epoch, param.nbatch, name, value)
            if auto_reset:
                param.eval_metric.reset_local()
    return callback


class Speedometer:
    """Logs the speed and the metric after every `frequent` batches; under `auto_reset` the metric of these batches alone."""

    def __init__(self, batch_size: int, frequent: int = 50, auto_reset: bool = True):
        self.batch_size, self.frequent, self.auto_reset = batch_size, frequent, auto_reset
        self.init, self.tic, self.last_count = False, 0.0, 0

    def __call__(self, param) -> None:
        count = param.nbatch
        if self.last_count > count:
            self.init = False  # a new epoch
        self.last_count = count
        if not self.init:
            self.init, self.tic = True, time.perf_counter()
        elif count % self.frequent == 0:
            seconds = time.perf_counter() - self.tic
            self._log(param, self.frequent * self.batch_size / seconds if seconds else math.inf)
            self.tic = time.perf_counter()

    def _log(self, param, speed: float) -> None:
        if param.eval_metric is None:
            logging.info("Iter[%d] Batch [%d]\tSpeed: %.2f samples/sec", param.epoch, param.nbatch, speed)
            return
        values = param.eval_metric.get_name_value()
        if self.auto_reset:
            param.eval_metric.reset_local()
        first = param.nbatch - self.frequent if self.auto_reset else 0
        logging.info("Epoch[%d] Batch [%d-%d]\tSpeed: %.2f samples/sec" + "\t%s=%f" * len(values), param.epoch, first,
                     param.nbatch, speed, *[part for pair in values for part in pair])


class ProgressBar:
    """Logs a bar of the part of `total` batches that is done."""

    def __init__(self, total: int, length: int = 80):
        self.bar_len, self.total = length, total

    def __call__(self, param) -> None:
        filled = round(self.bar_len * param.nbatch / float(self.total))
        bar = "=" * filled + "-" * (self.bar_len - filled)
        logging.info("[%s] %s%s\r", bar, math.ceil(100.0 * param.nbatch / float(self.total)), "%")


class LogValidationMetricsCallback:
    """Logs the metric of an evaluation."""

    def __call__(self, param) -> None:
        if not param.eval_metric:
            return
        for name, value in param.eval_metric.get_name_value():
            logging.info("Epoch[%d] Validation-%s=%f", param.epoch, name, value)
