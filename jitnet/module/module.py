"""Module: a symbol with parameters and an optimizer, on one or several devices."""
from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence

from .. import kvstore as kv
from ..context import Context, known_context
from ..initializer import InitDesc
from ..io import DataBatch, DataDesc
from ..model import load_checkpoint
from ..nd.ndarray import NDArray
from ..optimizer import Optimizer, create, get_updater
from ..runtime.device import Device
from .base import SMALL, BaseModule, as_list, check_names
from .devices import DeviceGroup, requests

LARGE = 1 << 24  # elements of a parameter from which a local store only sums, and each device updates


def described(names: Sequence[str], shapes, what: str, needed: bool) -> list[DataDesc]:
    """Descriptions of inputs; ValueError (where they are needed; else a warning) when their names are not those expected."""
    found = [x if isinstance(x, DataDesc) else DataDesc(*x) for x in shapes or ()]
    if sorted(d.name for d in found) != sorted(names):
        text = (f"Data provided by {what}_shapes don't match names specified by {what}_names "
                f"({[d.name for d in found]} vs. {list(names)})")
        if needed:
            raise ValueError(text)
        if found:
            warnings.warn(text, stacklevel=4)
    return found


class Module(BaseModule):
    """A symbol to be trained and used. With several contexts each computes its part of a batch, in proportion to
    `work_load_list`; gradients are summed through a KVStore.

    data_names, label_names: arguments that batches fill, in their order; the others are parameters. fixed_param_names:
    parameters that are not trained. state_names: arguments that keep what `set_states` gives them.

    >>> import jitnet as mx
    >>> net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2)
    >>> module = mx.mod.Module(net, label_names=None)
    >>> module.bind([("data", (3, 4))], for_training=False)
    >>> module.init_params(mx.init.One())
    >>> module.predict(mx.nd.ones((3, 4))).shape
    (3, 2)
    """

    def __init__(self, symbol, data_names=("data",), label_names=("softmax_label",), logger=logging, context=None,
                 work_load_list=None, fixed_param_names=None, state_names=None, group2ctxs=None, compression_params=None):
        super().__init__(logger)
        context = known_context(None) if context is None else context
        self._contexts = [known_context(c) for c in ([context] if isinstance(context, Device) else context)]
        self._work_load = [1] * len(self._contexts) if work_load_list is None else list(work_load_list)
        if len(self._work_load) != len(self._contexts):
            raise ValueError(f"work_load_list has {len(self._work_load)} entries for {len(self._contexts)} contexts")
        self._symbol, self._compression_params = symbol, compression_params
        self._groups = _groups(group2ctxs, len(self._contexts))
        self._data_names, self._label_names = list(data_names or ()), list(label_names or ())
        self._state_names, self._fixed = list(state_names or ()), list(fixed_param_names or ())
        for names, kind, needed in ((self._data_names, "data", True), (self._label_names, "label", False),
                                    (self._state_names, "state", True), (self._fixed, "fixed_param", True)):
            check_names(symbol, names, kind, needed)
        inputs = {*self._data_names, *self._label_names, *self._state_names}
        self._arguments = symbol.list_arguments()
        self._param_names = [name for name in self._arguments if name not in inputs]
        self._aux_names, self._output_names = symbol.list_auxiliary_states(), symbol.list_outputs()
        self._arg_params: dict[str, NDArray] | None = None
        self._aux_params: dict[str, NDArray] | None = None
        self._params_dirty = False
        self._optimizer = self._kvstore = self._updater = self._exec_group = self._preload_opt_states = None
        self._update_on_kvstore = False
        self._data_shapes: list[DataDesc] = []
        self._label_shapes: list[DataDesc] = []

    @staticmethod
    def load(prefix: str, epoch: int, load_optimizer_states: bool = False, **kwargs) -> Module:
        """A module of the checkpoint of an epoch, to be bound; kwargs: those of Module."""
        symbol, args, states = load_checkpoint(prefix, epoch)
        module = Module(symbol, **kwargs)
        module._arg_params, module._aux_params, module.params_initialized = args, states, True
        if load_optimizer_states:
            module._preload_opt_states = f"{prefix}-{epoch:04d}.states"
        return module

    def save_checkpoint(self, prefix: str, epoch: int, save_optimizer_states: bool = False,
                        remove_amp_cast: bool = True) -> None:
        """Writes `prefix-symbol.json`, `prefix-0001.params` and, where asked for, `prefix-0001.states`."""
        self._symbol.save(f"{prefix}-symbol.json")
        self.save_params(f"{prefix}-{epoch:04d}.params")
        logging.info('Saved checkpoint to "%s-%04d.params"', prefix, epoch)
        if save_optimizer_states:
            self.save_optimizer_states(f"{prefix}-{epoch:04d}.states")
            logging.info('Saved optimizer state to "%s-%04d.states"', prefix, epoch)

    # Names and shapes

    data_names = property(lambda self: self._data_names, doc="Names of the data.")
    label_names = property(lambda self: self._label_names, doc="Names of the labels.")
    output_names = property(lambda self: self._output_names, doc="Names of the outputs.")

    @property
    def data_shapes(self) -> list[DataDesc]:
        """Descriptions of the data that is bound."""
        self._bound()
        return self._data_shapes

    @property
    def label_shapes(self) -> list[DataDesc]:
        """Descriptions of the labels that are bound."""
        self._bound()
        return self._label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """[(name, shape), ...] of the outputs."""
        return self._bound().output_shapes()

    def _bound(self) -> DeviceGroup:
        if not self.binded:
            raise AssertionError("the module is not bound: call bind(data_shapes, label_shapes) first")
        return self._exec_group

    # Binding

    def bind(self, data_shapes, label_shapes=None, for_training=True, inputs_need_grad=False, force_rebind=False,
             shared_module: Module | None = None, grad_req="write") -> None:
        """Makes executors for these shapes: [(name, shape), ...] or DataDescs.

        for_training: gradients are computed, of parameters and, under inputs_need_grad, of the data. shared_module: a module
        whose parameters (and optimizer) are used. force_rebind: binds again; parameters stay.
        """
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        if inputs_need_grad and not for_training:
            raise AssertionError("gradients of inputs need for_training=True")
        if shared_module is not None and not (shared_module.binded and shared_module.params_initialized):
            raise AssertionError("the shared module must be bound and its parameters initialized")
        if self.binded and self._params_dirty:
            self._sync_params()
        data = described(self._data_names, data_shapes, "data", True)
        labels = [d for d in described(self._label_names, label_shapes, "label", False) if d.name in self._arguments]
        wanted = requests(self._arguments, self._param_names, self._data_names, self._fixed, inputs_need_grad,
                          grad_req if for_training else "null")
        self._exec_group = DeviceGroup(self._symbol, self._contexts, self._work_load, data, labels, self._param_names, wanted,
                                       self._groups, None if shared_module is None else shared_module._exec_group)
        self._data_shapes, self._label_shapes = data, labels
        self.binded, self.for_training, self.inputs_need_grad = True, for_training, inputs_need_grad
        if shared_module is not None:
            self._arg_params, self._aux_params = shared_module._arg_params, shared_module._aux_params
            self.params_initialized = True
            if shared_module.optimizer_initialized:
                self.borrow_optimizer(shared_module)
        elif self.params_initialized:
            self._exec_group.set_params(self._arg_params, self._aux_params)
        else:
            self._arg_params, self._aux_params = self._exec_group.empty_params()

    def reshape(self, data_shapes, label_shapes=None) -> None:
        """Binds other shapes of inputs; parameters, gradients and optimizer stay."""
        group = self._bound()
        data = described(self._data_names, data_shapes, "data", True)
        labels = [d for d in described(self._label_names, label_shapes, "label", False) if d.name in self._arguments]
        group.reshape(data, labels)
        self._data_shapes, self._label_shapes = data, labels

    # Parameters

    def get_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """(parameters, auxiliary states) by name, on the first CPU."""
        self._check()
        if self._params_dirty:
            self._sync_params()
        return self._arg_params, self._aux_params

    def _sync_params(self) -> None:
        self._exec_group.copy_params_to(self._arg_params, self._aux_params)
        self._params_dirty = False

    def init_params(self, initializer=SMALL, arg_params=None, aux_params=None, allow_missing=False, force_init=False,
                    allow_extra=False) -> None:
        """Sets parameters and states, from the dicts where given, else by the initializer.

        allow_missing: the initializer sets what the dicts lack; else RuntimeError. allow_extra: they may hold more.
        """
        if self.params_initialized and not force_init:
            warnings.warn("Parameters already initialized and force_init=False. init_params call ignored.", stacklevel=2)
            return
        self._bound()
        attrs = self._symbol.attr_dict()
        parts = (("arguments", self._arg_params, arg_params), ("auxiliary states", self._aux_params, aux_params))
        for kind, known, given in parts:
            extra = [name for name in given or () if name not in known]
            missing = [name for name in known if given is not None and name not in given]
            if missing and not allow_missing:
                raise RuntimeError(f"{sorted(missing)[0]} is not presented")
            if extra and not allow_extra:
                raise ValueError(f'Find name "{extra[0]}" that is not in the {kind}')
            for name in known:
                if given and name in given and given[name].shape != known[name].shape:
                    raise ValueError(f"Shape not match! {name}, need: {known[name].shape}, received: {given[name].shape}")
        for _, known, given in parts:
            for name, target in sorted(known.items()):
                if given is not None and name in given:
                    if given[name] is not target:
                        target[:] = given[name].astype(target.dtype).as_in_context(target.context)
                elif initializer is not None:
                    initializer(InitDesc(name, attrs.get(name)), target)
        self.params_initialized, self._params_dirty = True, False
        self._exec_group.set_params(self._arg_params, self._aux_params)

    def set_params(self, arg_params, aux_params, allow_missing=False, force_init=True, allow_extra=False) -> None:
        """Sets parameters and states by name; with allow_missing those that are absent stay."""
        if not allow_missing:
            self.init_params(None, arg_params, aux_params, allow_missing, force_init, allow_extra)
            return
        if self.params_initialized and not force_init:
            warnings.warn("Parameters already initialized and force_init=False. set_params call ignored.", stacklevel=2)
            return
        self._bound().set_params(arg_params or {}, aux_params or {}, allow_extra)
        self._params_dirty = self.params_initialized = True

    # Optimizer

    def init_optimizer(self, kvstore="local", optimizer="sgd", optimizer_params=(("learning_rate", 0.01),),
                       force_init=False) -> None:
        """Makes the optimizer: a name with parameters, or an Optimizer. `rescale_grad` is 1 / batch size unless given.

        kvstore: through which several devices sum their gradients, a type or a KVStore; one device needs none.
        """
        self._check()
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring...")
            return
        if self._params_dirty:
            self._sync_params()
        self._kvstore, self._update_on_kvstore = self._made_kvstore(kvstore)
        count = len(self._contexts)
        rescale = 1.0 / (self._exec_group.batch_size or 1)
        names = self._param_names if self._update_on_kvstore else [n for n in self._param_names for _ in range(count)]
        if isinstance(optimizer, str):
            optimizer = create(optimizer, sym=self._symbol, param_idx2name=dict(enumerate(names)),
                               **{"rescale_grad": rescale, **dict(optimizer_params)})
        elif not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a name or an Optimizer, got {type(optimizer).__name__}")
        else:
            if optimizer.rescale_grad != rescale:
                warnings.warn("Optimizer created manually outside Module but rescale_grad is not normalized to 1.0/batch_size/"
                              f"num_workers ({optimizer.rescale_grad} vs. {rescale}). Is this intended?", stacklevel=2)
            if not optimizer.idx2name:
                optimizer.idx2name = dict(enumerate(names))
        self._optimizer = optimizer
        self._updater = None if self._update_on_kvstore else get_updater(optimizer)
        if self._kvstore is not None:
            if self._compression_params:
                self._kvstore.set_gradient_compression(self._compression_params)
            if self._update_on_kvstore:
                self._kvstore.set_optimizer(optimizer)
            for name, arrays in zip(self._param_names, self._exec_group.param_arrays):
                self._kvstore.broadcast(name, arrays[0], out=arrays)  # kept, and stepped, on the first device
        self.optimizer_initialized = True
        if self._preload_opt_states is not None:
            self.load_optimizer_states(self._preload_opt_states)
            self._preload_opt_states = None

    def _made_kvstore(self, kvstore) -> tuple[kv.KVStore | None, bool]:
        """(store or None, whether it runs the optimizer)."""
        if isinstance(kvstore, str):
            if len(self._contexts) == 1:
                return None, False
            largest = max((a.size for a in self._arg_params.values()), default=0)
            return kv.create(kvstore), not (kvstore == "local" and largest > LARGE)
        if kvstore is not None and not isinstance(kvstore, kv.KVStore):
            raise TypeError(f"kvstore must be KVStore, str or None, got {type(kvstore).__name__}")
        return kvstore, kvstore is not None

    def borrow_optimizer(self, shared_module: Module) -> None:
        """Uses the optimizer of another module, with its states."""
        if not shared_module.optimizer_initialized:
            raise AssertionError("the shared module has no optimizer: call init_optimizer() on it first")
        for name in ("_optimizer", "_kvstore", "_update_on_kvstore", "_updater"):
            setattr(self, name, getattr(shared_module, name))
        self.optimizer_initialized = True

    def update(self) -> None:
        """A step of the optimizer from the gradients of the last `backward`."""
        self._check(optimizer=True)
        self._params_dirty = True
        group, count = self._exec_group, len(self._contexts)
        trained = [k for k, grads in enumerate(group.grad_arrays) if grads[0] is not None]
        names = [self._param_names[k] for k in trained]
        weights, grads = [group.param_arrays[k] for k in trained], [group.grad_arrays[k] for k in trained]
        if self._update_on_kvstore:
            self._kvstore.pushpull(names, grads, out=weights)
            return
        if self._kvstore is not None:
            self._kvstore.pushpull(names, grads)
        for device in range(count):
            self._updater([k * count + device for k in trained], [g[device] for g in grads], [w[device] for w in weights])

    def save_optimizer_states(self, fname: str) -> None:
        """Writes the states of the optimizer to a file."""
        self._check(optimizer=True)
        if self._update_on_kvstore:
            self._kvstore.save_optimizer_states(fname)
            return
        with open(fname, "wb") as file:
            file.write(self._updater.get_states())

    def load_optimizer_states(self, fname: str) -> None:
        """Reads what `save_optimizer_states` wrote."""
        self._check(optimizer=True)
        if self._update_on_kvstore:
            self._kvstore.load_optimizer_states(fname)
            return
        with open(fname, "rb") as file:
            self._updater.set_states(file.read())

    # Running

    def forward(self, data_batch: DataBatch, is_train: bool | None = None) -> None:
        """Computes the outputs of a batch, of any batch size. is_train: by default whether the module is bound for training."""
        self._check()
        group = self._exec_group
        labels = getattr(data_batch, "label", None) if self._label_shapes else None  # a batch may be any object with `data`
        labels = labels or None
        if len(data_batch.data) != len(self._data_shapes):
            raise ValueError(f"the batch has {len(data_batch.data)} arrays of data, the module takes {len(self._data_shapes)}: "
                             f"{', '.join(self._data_names)}")
        if any(x.shape != d.shape for x, d in zip(data_batch.data, self._data_shapes)):
            self._follow(data_batch, labels)
        group.load(data_batch.data)
        if labels is not None:
            group.load(labels, labels=True)
        group.forward(self.for_training if is_train is None else is_train)

    def _follow(self, batch: DataBatch, labels) -> None:
        """Binds the shapes of a batch that differ from those bound."""
        data = getattr(batch, "provide_data", None) or [DataDesc(d.name, x.shape, d.dtype, d.layout)
                                                        for d, x in zip(self._data_shapes, batch.data)]
        if getattr(batch, "provide_label", None):
            found = batch.provide_label
        elif labels is not None:
            found = [DataDesc(d.name, x.shape, d.dtype, d.layout) for d, x in zip(self._label_shapes, labels)]
        else:  # labels that are not given have as many rows as the data
            axis = DataDesc.get_batch_axis(self._data_shapes[0].layout)
            rows = batch.data[0].shape[axis]
            found = [DataDesc(d.name, (rows, *d.shape[1:]), d.dtype, d.layout) for d in self._label_shapes]
        self.reshape(data, found)

    def backward(self, out_grads=None) -> None:
        """Computes the gradients; `out_grads`: of the outputs, where these are no losses."""
        self._check()
        if not self.for_training:
            raise AssertionError("re-bind with for_training=True to run backward")
        self._exec_group.backward(as_list(out_grads) or None)

    def get_outputs(self, merge_multi_context: bool = True) -> list:
        """The outputs of the last forward, of all devices together, or in lists over the devices."""
        self._check()
        return self._exec_group.outputs(merge_multi_context)

    def get_input_grads(self, merge_multi_context: bool = True) -> list:
        """Gradients of the data, of all devices together, or in lists over the devices."""
        self._check()
        if not self.inputs_need_grad:
            raise AssertionError("bind with inputs_need_grad=True to get gradients of inputs")
        return self._exec_group.input_gradients(merge_multi_context)

    def update_metric(self, eval_metric, labels, pre_sliced: bool = False) -> None:
        """Adds the last outputs to a metric; pre_sliced: labels are a list per device."""
        self._exec_group.update_metric(eval_metric, labels, pre_sliced)

    def get_states(self, merge_multi_context: bool = True) -> list:
        """Values of the arguments `state_names`, in lists over the devices."""
        self._check()
        return [[args[name] for args in self._exec_group.args] for name in self._state_names]

    def set_states(self, states=None, value=None) -> None:
        """Sets the arguments `state_names`: to arrays in lists over the devices, or all to one number."""
        self._check()
        if (states is None) == (value is None):
            raise ValueError("pass states or value, and not both")
        for k, targets in enumerate(self.get_states()):
            for target, new in zip(targets, states[k] if states is not None else [value] * len(targets)):
                target[:] = new

    def install_monitor(self, mon) -> None:
        """Lets a Monitor watch all executors."""
        for ex in self._bound().execs:
            mon.install(ex)


def _groups(group2ctxs, count: int) -> list[Mapping[str, Context] | None]:
    """For each device, the contexts of groups of nodes: from None, a dict per device, or a dict of a context or a list."""
    if group2ctxs is None:
        return [None] * count
    if isinstance(group2ctxs, Mapping):
        return [{name: c if isinstance(c, Device) else c[k if len(c) > 1 else 0] for name, c in group2ctxs.items()}
                for k in range(count)]
    if len(group2ctxs) != count:
        raise ValueError(f"group2ctxs has {len(group2ctxs)} entries for {count} contexts")
    return list(group2ctxs)
