"""BucketingModule: one set of parameters for symbols of several sizes, such as lengths of sentences."""
from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

from ..name import NameManager
from .base import SMALL, BaseModule
from .module import Module


class BucketingModule(BaseModule):
    """A Module per bucket, made when a batch of its `bucket_key` first comes; all share parameters and optimizer.

    sym_gen: bucket key -> (symbol, data names, label names). Names that it leaves open are made up anew in each bucket, from 0.
    default_bucket_key: the bucket that is bound first, whose symbol has all parameters.
    """

    def __init__(self, sym_gen: Callable, default_bucket_key: Hashable = None, logger=logging, context=None,
                 work_load_list=None, fixed_param_names=None, state_names=None, group2ctxs=None, compression_params=None):
        super().__init__(logger)
        if default_bucket_key is None:
            raise ValueError("BucketingModule needs default_bucket_key")
        self._sym_gen, self._default_bucket_key = sym_gen, default_bucket_key
        self._options = {"logger": logger, "context": context, "work_load_list": work_load_list,
                         "fixed_param_names": fixed_param_names, "state_names": state_names, "group2ctxs": group2ctxs,
                         "compression_params": compression_params}
        self._grad_req, self._monitor = "write", None
        self._buckets: dict[Hashable, Module] = {}
        self._curr_module = self._made(default_bucket_key)
        self._curr_bucket_key = default_bucket_key

    def _made(self, key: Hashable) -> Module:
        with NameManager():  # names made up are the same in every bucket, and so the parameters are
            symbol, data_names, label_names = self._sym_gen(key)
        return Module(symbol, data_names, label_names, **self._options)

    data_names = property(lambda self: self._curr_module.data_names, doc="Names of the data of the current bucket.")
    label_names = property(lambda self: self._curr_module.label_names, doc="Names of the labels of the current bucket.")
    output_names = property(lambda self: self._curr_module.output_names, doc="Names of the outputs of the current bucket.")
    data_shapes = property(lambda self: self._curr_module.data_shapes, doc="Data of the current bucket.")
    label_shapes = property(lambda self: self._curr_module.label_shapes, doc="Labels of the current bucket.")
    output_shapes = property(lambda self: self._curr_module.output_shapes, doc="Outputs of the current bucket.")
    symbol = property(lambda self: self._curr_module.symbol, doc="The symbol of the current bucket.")

    def bind(self, data_shapes, label_shapes=None, for_training=True, inputs_need_grad=False, force_rebind=False,
             shared_module=None, grad_req="write") -> None:
        """Binds the default bucket."""
        if shared_module is not None:
            raise ValueError("a BucketingModule shares no module: pass parameters on by get_params and set_params")
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        kept = self.get_params() if self.params_initialized else None
        if self.binded:
            self._curr_module = self._made(self._default_bucket_key)
        self.for_training, self.inputs_need_grad, self._grad_req = for_training, inputs_need_grad, grad_req
        self._curr_module.bind(data_shapes, label_shapes, for_training, inputs_need_grad, grad_req=grad_req)
        self._curr_bucket_key, self.binded = self._default_bucket_key, True
        self._buckets = {self._default_bucket_key: self._curr_module}
        if kept is not None:
            self.set_params(*kept)

    def switch_bucket(self, bucket_key: Hashable, data_shapes, label_shapes=None) -> None:
        """Goes over to the module of a bucket, which is bound to these shapes when it is new."""
        if not self.binded:
            raise AssertionError("call bind before switching bucket")
        module = self._buckets.get(bucket_key)
        if module is None:
            module = self._made(bucket_key)
            module.bind(data_shapes, label_shapes, self.for_training, self.inputs_need_grad,
                        shared_module=self._buckets[self._default_bucket_key], grad_req=self._grad_req)
            if self._monitor is not None:
                module.install_monitor(self._monitor)
            self._buckets[bucket_key] = module
        module._params_dirty = module._params_dirty or self._curr_module._params_dirty
        if self.optimizer_initialized and not module.optimizer_initialized:
            module.borrow_optimizer(self._buckets[self._default_bucket_key])
        self._curr_module, self._curr_bucket_key = module, bucket_key

    def get_params(self):
        """(parameters, auxiliary states) by name."""
        self._check()
        default = self._buckets[self._default_bucket_key]
        default._params_dirty = default._params_dirty or self._curr_module._params_dirty
        self._curr_module._params_dirty = False
        return default.get_params()

    def init_params(self, initializer=SMALL, arg_params=None, aux_params=None, allow_missing=False, force_init=False,
                    allow_extra=False) -> None:
        """Sets parameters and states; see Module.init_params."""
        if self.params_initialized and not force_init:
            return
        if not self.binded:
            raise AssertionError("call bind before initializing the parameters")
        self._buckets[self._default_bucket_key].init_params(initializer, arg_params, aux_params, allow_missing, force_init,
                                                            allow_extra)
        for module in self._buckets.values():
            module._params_dirty = False
        self.params_initialized = True

    def init_optimizer(self, kvstore="local", optimizer="sgd", optimizer_params=(("learning_rate", 0.01),),
                       force_init=False) -> None:
        """Makes the optimizer of all buckets."""
        self._check()
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring.")
            return
        default = self._buckets[self._default_bucket_key]
        default.init_optimizer(kvstore, optimizer, optimizer_params, force_init)
        for module in self._buckets.values():
            if module is not default:
                module.borrow_optimizer(default)
        self.optimizer_initialized = True

    def prepare(self, data_batch, sparse_row_id_fn=None) -> None:
        """Binds the bucket of a batch, so that `forward` finds it ready; the current one stays."""
        self._check()
        before = self._curr_bucket_key
        self.switch_bucket(data_batch.bucket_key, data_batch.provide_data, data_batch.provide_label)
        self.switch_bucket(before, None)

    def forward(self, data_batch, is_train: bool | None = None) -> None:
        """Computes the outputs of a batch by the module of its bucket."""
        self._check()
        self.switch_bucket(data_batch.bucket_key, data_batch.provide_data, data_batch.provide_label)
        self._curr_module.forward(data_batch, is_train)

    def backward(self, out_grads=None) -> None:
        """Computes the gradients of the current bucket."""
        self._curr_module.backward(out_grads)

    def update(self) -> None:
        """A step of the optimizer."""
        self._check(optimizer=True)
        self._curr_module.update()

    def get_outputs(self, merge_multi_context: bool = True) -> list:
        """The outputs of the last forward."""
        return self._curr_module.get_outputs(merge_multi_context)

    def get_input_grads(self, merge_multi_context: bool = True) -> list:
        """Gradients of the data of the last backward."""
        return self._curr_module.get_input_grads(merge_multi_context)

    def update_metric(self, eval_metric, labels, pre_sliced: bool = False) -> None:
        """Adds the last outputs to a metric."""
        self._curr_module.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon) -> None:
        """Lets a Monitor watch all buckets, later ones too."""
        self._monitor = mon
        for module in self._buckets.values():
            module.install_monitor(mon)
