"""BaseModule: training, scoring and predicting, over what a module of any kind defines."""
from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence

import numpy as np

from .. import metric as metrics
from ..initializer import Uniform
from ..io import DataBatch, DataIter
from ..model import BatchEndParam, load_param_file, save_params
from ..nd.creation import array
from ..nd.ndarray import NDArray
from ..nd.utilities import concatenate

SMALL = Uniform(0.01)  # how parameters start unless an initializer is given


def as_list(one) -> list:
    """A list as it is, None as an empty one, anything else as a list of one."""
    return list(one) if isinstance(one, (list, tuple)) else [] if one is None else [one]


class BaseModule:
    """The base of modules: a class defines `bind`, `init_params`, `init_optimizer`, `forward`, `backward`, `update` and kin."""

    logger = logging   # of the class: a module of Python's is not copied and not pickled

    def __init__(self, logger=logging):
        if logger is not logging:
            self.logger = logger
        self.binded = self.for_training = self.inputs_need_grad = False
        self.params_initialized = self.optimizer_initialized = False
        self._symbol = None

    @property
    def symbol(self):
        """The symbol that is run."""
        return self._symbol

    def _check(self, optimizer: bool = False) -> None:
        """AssertionError when the module is not ready."""
        if not self.binded:
            raise AssertionError("the module is not bound: call bind(data_shapes, label_shapes) first")
        if not self.params_initialized:
            raise AssertionError("the parameters are not initialized: call init_params() first")
        if optimizer and not self.optimizer_initialized:
            raise AssertionError("there is no optimizer: call init_optimizer() first")

    # Training and evaluation

    def forward_backward(self, data_batch) -> None:
        """Outputs and gradients of a batch."""
        self.forward(data_batch, is_train=True)
        self.backward()

    def prepare(self, data_batch, sparse_row_id_fn=None) -> None:
        """Gets ready for a batch; nothing to do unless a module says so."""
        if sparse_row_id_fn is not None:
            warnings.warn("sparse_row_id_fn is not called: all arrays are dense", stacklevel=2)

    def score(self, eval_data, eval_metric, num_batch=None, batch_end_callback=None, score_end_callback=None, reset=True,
              epoch=0, sparse_row_id_fn=None) -> list[tuple[str, float]]:
        """[(name, value), ...] of a metric over an iterator, or its first `num_batch` batches."""
        self._check()
        eval_metric = metrics.create(eval_metric)
        eval_metric.reset()
        count = 0
        for nbatch, batch in self._batches(eval_data, num_batch, reset):
            count += 1
            self.forward(batch, is_train=False)
            self.update_metric(eval_metric, batch.label)
            _call(batch_end_callback, BatchEndParam(epoch, nbatch, eval_metric, locals()))
        _call(score_end_callback, BatchEndParam(epoch, count, eval_metric, locals()))
        return eval_metric.get_name_value()

    def _batches(self, data, num_batch, reset):
        if reset:
            data.reset()
        for nbatch, batch in enumerate(data):
            if nbatch == num_batch:
                return
            self.prepare(batch)
            yield nbatch, batch

    def iter_predict(self, eval_data, num_batch=None, reset=True, sparse_row_id_fn=None):
        """Iterates over (outputs without padding, number of the batch, batch)."""
        self._check()
        for nbatch, batch in self._batches(eval_data, num_batch, reset):
            self.forward(batch, is_train=False)
            yield [out[0:out.shape[0] - (batch.pad or 0)] for out in self.get_outputs()], nbatch, batch

    def predict(self, eval_data, num_batch=None, merge_batches=True, reset=True, always_output_list=False,
                sparse_row_id_fn=None):
        """Outputs for an iterator, without padding, all batches together (or, without merge_batches, a list per batch); or for
        one NDArray or NumPy array."""
        self._check()
        if isinstance(eval_data, (NDArray, np.ndarray)):
            self.forward(DataBatch([eval_data if isinstance(eval_data, NDArray) else array(eval_data)]), is_train=False)
            return self.get_outputs()[0]
        if not isinstance(eval_data, DataIter):
            raise ValueError(f"eval_data must be of type NDArray or DataIter, got {type(eval_data).__name__}")
        found = [[out.copy() for out in outs] for outs, _, _ in self.iter_predict(eval_data, num_batch, reset)]
        if not found or not merge_batches:
            return found
        if len({len(outs) for outs in found}) > 1:
            raise ValueError("Cannot merge batches, as num of outputs is not the same in mini-batches")
        merged = [concatenate(list(parts)) for parts in zip(*found)]
        return merged[0] if len(merged) == 1 and not always_output_list else merged

    def fit(self, train_data, eval_data=None, eval_metric="acc", epoch_end_callback=None, batch_end_callback=None,
            kvstore="local", optimizer="sgd", optimizer_params=(("learning_rate", 0.01),), eval_end_callback=None,
            eval_batch_end_callback=None, initializer=None, arg_params=None, aux_params=None, allow_missing=False,
            force_rebind=False, force_init=False, begin_epoch=0, num_epoch=None, validation_metric=None, monitor=None,
            sparse_row_id_fn=None) -> None:
        """Trains on an iterator for the epochs from `begin_epoch` up to `num_epoch`.

        Binds the module, initializes parameters (by default Uniform(0.01)) and optimizer where that was not done. After every
        batch and epoch the callbacks run; `eval_data` is scored after every epoch. Metrics are logged.
        """
        if num_epoch is None:
            raise AssertionError("please specify number of epochs: num_epoch")
        if force_rebind or not self.binded:
            self.bind(train_data.provide_data, train_data.provide_label, for_training=True, force_rebind=force_rebind)
        if monitor is not None:
            self.install_monitor(monitor)
        if force_init or not self.params_initialized or arg_params is not None:
            self.init_params(initializer or SMALL, arg_params, aux_params, allow_missing, force_init)
        if not self.optimizer_initialized:
            self.init_optimizer(kvstore, optimizer, optimizer_params)
        eval_metric = metrics.create(eval_metric)
        validation_metric = eval_metric if validation_metric is None else metrics.create(validation_metric)
        for epoch in range(begin_epoch, num_epoch):
            tic = time.perf_counter()
            for name, value in self._train_epoch(epoch, train_data, eval_metric, batch_end_callback, monitor):
                self.logger.info("Epoch[%d] Train-%s=%f", epoch, name, value)
            self.logger.info("Epoch[%d] Time cost=%.3f", epoch, time.perf_counter() - tic)
            args, states = self.get_params()
            self.set_params(args, states)  # states of several devices become their mean
            for callback in as_list(epoch_end_callback):
                callback(epoch, self.symbol, args, states)
            if eval_data is not None:
                for name, value in self.score(eval_data, validation_metric, score_end_callback=eval_end_callback,
                                              batch_end_callback=eval_batch_end_callback, epoch=epoch):
                    self.logger.info("Epoch[%d] Validation-%s=%f", epoch, name, value)
            train_data.reset()

    def _train_epoch(self, epoch: int, train_data, eval_metric, batch_end_callback, monitor) -> list[tuple[str, float]]:
        """One pass over the data; the metric of all of it, local resets notwithstanding."""
        eval_metric.reset()
        batches = iter(train_data)
        batch, nbatch, found = next(batches, None), 0, []
        while batch is not None:
            if monitor is not None:
                monitor.tic()
            self.forward_backward(batch)
            self.update()
            self.update_metric(eval_metric, batch.label)
            following = next(batches, None)
            if following is not None:
                self.prepare(following)
            else:
                found = eval_metric.get_global_name_value()  # before a callback resets it
            if monitor is not None:
                monitor.toc_print()
            _call(batch_end_callback, BatchEndParam(epoch, nbatch, eval_metric, locals()))
            batch, nbatch = following, nbatch + 1
        return found

    # Parameters

    def set_params(self, arg_params, aux_params, allow_missing=False, force_init=True, allow_extra=False) -> None:
        """Sets parameters and states by name."""
        self.init_params(None, arg_params, aux_params, allow_missing, force_init, allow_extra)

    def save_params(self, fname: str) -> None:
        """Writes parameters and states to a file."""
        save_params(fname, *self.get_params())

    def load_params(self, fname: str) -> None:
        """Reads what `save_params` wrote."""
        self.set_params(*load_param_file(fname))

    def get_states(self, merge_multi_context: bool = True) -> list:
        """States between batches: none, unless a module has some."""
        return []


def _call(callbacks, param) -> None:
    for callback in as_list(callbacks):
        callback(param)


def check_names(symbol, names: Sequence[str], kind: str, needed: bool) -> None:
    """ValueError (where they are needed; else a warning) when the symbol has no arguments of these names."""
    arguments = symbol.list_arguments()
    for name in names:
        if name not in arguments:
            near = [a for a in arguments if not a.endswith(("_weight", "_bias", "_gamma", "_beta"))]
            text = (f"You created Module with Module(..., {kind}_names={list(names)}) but input with name '{name}' is not "
                    f"found in symbol.list_arguments(). Did you mean one of: {', '.join(near)}")
            if needed:
                raise ValueError(text)
            warnings.warn(text, stacklevel=4)
