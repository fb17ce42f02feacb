"""DeviceGroup: one executor of a symbol per device, each with its part of the batch."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..context import Context
from ..errors import MXNetError
from ..executor import Executor
from ..io import DataDesc
from ..nd import late, memory
from ..nd.creation import zeros
from ..nd.invoke import invoke
from ..nd.ndarray import NDArray
from ..operators import find
from ..sym.symbol import Symbol

_CONCAT = find("Concat")
_KEPT = 16  # batch sizes for which executors are kept


def split_batch(size: int, work_load: Sequence[float]) -> list[slice]:
    """The rows of each device, in proportion to its work load; ValueError when one would have none."""
    shares = [round(size * load / sum(work_load)) for load in work_load]
    shares[-1] += max(size - sum(shares), 0)
    slices, first = [], 0
    for share in shares:
        last = min(first + share, size)
        if last <= first:
            raise ValueError(f"Too many slices. Some splits are empty: {size} rows on {len(work_load)} devices")
        slices.append(slice(first, last))
        first = last
    return slices


def requests(names: Sequence[str], params: Sequence[str], data: Sequence[str], fixed: Sequence[str], inputs: bool,
             grad_req) -> dict[str, str]:
    """How each argument's gradient is written: parameters' as grad_req says, inputs' only under `inputs`, fixed ones' not."""
    if isinstance(grad_req, (list, tuple)):
        if len(grad_req) != len(names):
            raise ValueError(f"grad_req has {len(grad_req)} entries for {len(names)} arguments ({', '.join(names)})")
        return dict(zip(names, grad_req))
    if not isinstance(grad_req, (str, Mapping)):
        raise ValueError("grad_req must be one of str, list, tuple, or dict.")
    default, given = (grad_req, {}) if isinstance(grad_req, str) else ("write", dict(grad_req))
    wanted = {*(p for p in params if p not in fixed), *(data if inputs else ())}
    return {**{name: default if name in wanted else "null" for name in names}, **given}


class DeviceGroup:
    """Executors of a symbol on several contexts; parameters and gradients by name, in lists over the contexts."""

    def __init__(self, symbol: Symbol, contexts: Sequence[Context], work_load: Sequence[float], data: Sequence[DataDesc],
                 labels: Sequence[DataDesc], params: Sequence[str], grad_req: Mapping[str, str],
                 groups: Sequence[Mapping | None], shared: DeviceGroup | None = None):
        self.symbol, self.contexts, self.work_load, self.groups = symbol, list(contexts), list(work_load), groups
        self.param_names, self.grad_req = list(params), grad_req
        self.output_names = symbol.list_outputs()
        self.output_axes = [DataDesc.get_batch_axis(out.attr("__layout__")) for out in symbol]
        self.buffers: list[dict] = shared.buffers if shared is not None else [{} for _ in contexts]
        self._others: dict[tuple, list[Executor]] = {}
        self._take_shapes(data, labels)
        self.execs = [self._bound(k, shared) for k in range(len(contexts))]
        self._first, self._first_key = self.execs, self._key
        self._collect()

    # Shapes

    def _take_shapes(self, data: Sequence[DataDesc], labels: Sequence[DataDesc]) -> None:
        size = None
        for desc in (*data, *labels):
            axis = DataDesc.get_batch_axis(desc.layout) if desc.shape else -1
            if axis >= 0:
                if size is not None and desc.shape[axis] != size:
                    raise ValueError(f"all data must have the same batch size: {size}, but {desc.name} has shape {desc.shape}")
                size = desc.shape[axis]
        self.batch_size = size
        self.slices = split_batch(size, self.work_load) if size is not None else [slice(None)] * len(self.contexts)
        self.data, self.labels = list(data), list(labels)
        self._key = tuple([(d.name, d.shape) for d in (*data, *labels)])

    def _part(self, desc: DataDesc, k: int) -> tuple[int, ...]:
        """The shape of device k's part of an input."""
        axis = DataDesc.get_batch_axis(desc.layout) if desc.shape else -1
        if axis < 0:
            return desc.shape
        return (*desc.shape[:axis], self.slices[k].stop - self.slices[k].start, *desc.shape[axis + 1:])

    def _bound(self, k: int, shared: DeviceGroup | None) -> Executor:
        inputs = (*self.data, *self.labels)
        known = {id(a) for a in shared.execs[k].arg_arrays} if shared is not None else ()
        made = self.symbol.simple_bind(self.contexts[k], grad_req=dict(self.grad_req), group2ctx=self.groups[k],
                                       type_dict={d.name: d.dtype for d in inputs}, shared_buffer=self.buffers[k],
                                       shared_exec=shared.execs[k] if shared is not None else None,
                                       **{d.name: self._part(d, k) for d in inputs})
        for name, array in made.arg_dict.items():
            if name in {d.name for d in inputs} and id(array) not in known:
                late.hide(array)
        return made

    def reshape(self, data: Sequence[DataDesc], labels: Sequence[DataDesc]) -> None:
        """Goes over to executors for other shapes of inputs, which share parameters and gradients; those made are kept."""
        before = self.data, self.labels
        self._take_shapes(data, labels)
        execs = self._first if self._key == self._first_key else self._others.get(self._key)
        if execs is None:
            try:
                execs = [self._reshaped(k) for k in range(len(self.contexts))]
            except Exception:
                self._take_shapes(*before)
                raise
            if len(self._others) >= _KEPT:
                self._others.clear()
            self._others[self._key] = execs
        self.execs = execs
        self._collect()

    def _reshaped(self, k: int) -> Executor:
        shapes = {d.name: self._part(d, k) for d in (*self.data, *self.labels)}
        first = self._first[k]
        found = dict(zip(first._arg_names, self.symbol.infer_shape(**shapes)[0] or ()))
        for name in self.param_names:
            if name in found and found[name] != first.arg_dict[name].shape:
                raise MXNetError(f"reshape: with these inputs {name} would have the shape {found[name]}, it has "
                                 f"{first.arg_dict[name].shape}", "only sizes that no parameter depends on may change")
        return first.reshape(partial_shaping=True, allow_up_sizing=True, **shapes)

    def _collect(self) -> None:
        """Lists over the devices, by name and in order."""
        args = [ex.arg_dict for ex in self.execs]
        grads = [ex.grad_dict for ex in self.execs]
        self.param_arrays = [[arg[name] for arg in args] for name in self.param_names]
        self.grad_arrays = [[grad[name] for grad in grads] for name in self.param_names]
        self.input_grads = [[grad.get(d.name) for grad in grads] for d in self.data]
        self.aux_arrays = [list(arrays) for arrays in zip(*[ex.aux_arrays for ex in self.execs])]
        self._inputs = [self._targets(part, args) for part in (self.data, self.labels)]
        self.args = args

    def _targets(self, descs: Sequence[DataDesc], args: Sequence[Mapping]) -> list[tuple[int, list[NDArray]]]:
        return [(DataDesc.get_batch_axis(d.layout) if d.shape else -1, [arg[d.name] for arg in args]) for d in descs]

    # Running

    def load(self, values: Sequence, labels: bool = False) -> None:
        """Copies inputs into the executors, to each its rows; what one executor takes whole is copied when somebody looks."""
        for value, (axis, targets) in zip(values, self._inputs[labels]):
            if len(targets) == 1 and value.shape == targets[0].shape:
                if not late.put(targets[0], value):
                    targets[0][:] = value
                continue
            for rows, target in zip(self.slices, targets):
                target[:] = _rows(value, axis, rows)

    def forward(self, training: bool) -> None:
        """Computes the outputs on every device."""
        for ex in self.execs:
            ex.forward(is_train=training)

    def backward(self, out_grads: Sequence[NDArray] | None = None) -> None:
        """Computes the gradients on every device, each from its rows of the outputs' gradients."""
        for k, ex in enumerate(self.execs):
            own = None
            if out_grads:
                own = [NDArray(memory.placed(_rows(g, axis, self.slices[k]).copy(), self.contexts[k]), self.contexts[k])
                       for g, axis in zip(out_grads, self.output_axes)]
            ex.backward(own)

    def outputs(self, merged: bool = True) -> list:
        """Outputs of all devices put together, or a list over the devices for each output."""
        found = [list(parts) for parts in zip(*[ex.outputs for ex in self.execs])]
        return self._merged(found, self.output_axes) if merged else found

    def input_gradients(self, merged: bool = True) -> list:
        """Gradients of the data, put together or in lists over the devices."""
        return self._merged(self.input_grads, [axis for axis, _ in self._inputs[0]]) if merged else self.input_grads

    @staticmethod
    def _merged(parts: Sequence[Sequence[NDArray]], axes: Sequence[int]) -> list[NDArray]:
        return [one[0] if len(one) == 1 or axis < 0 else
                invoke(_CONCAT, [x.as_in_context(one[0].context) for x in one], {"dim": axis, "num_args": len(one)})
                for one, axis in zip(parts, axes)]

    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """[(name, shape), ...] of the outputs put together."""
        found = []
        for name, out, axis in zip(self.output_names, self.execs[0].outputs, self.output_axes):
            whole = axis >= 0 and out.ndim and len(self.execs) > 1
            found.append((name, (*out.shape[:axis], self.batch_size, *out.shape[axis + 1:]) if whole else out.shape))
        return found

    def update_metric(self, metric, labels: Sequence, sliced: bool = False) -> None:
        """Adds each device's outputs and labels to a metric."""
        for k, ex in enumerate(self.execs):
            if sliced:
                own = labels[k]
            elif len(self.execs) == 1:
                own = labels
            else:
                own = [NDArray(np.ascontiguousarray(_rows(label, axis, self.slices[k])), Context("cpu", 0))
                       for label, (axis, _) in zip(labels, self._inputs[True])]
            metric.update_dict({d.name: label for d, label in zip(self.labels, own or ())},
                               dict(zip(self.output_names, ex.outputs)))

    # Parameters

    def set_params(self, args: Mapping[str, NDArray], states: Mapping[str, NDArray], allow_extra: bool = False) -> None:
        """Copies parameters and states to every device."""
        for ex in self.execs:
            ex.copy_params_from(args, states, allow_extra_params=allow_extra)

    def copy_params_to(self, args: Mapping[str, NDArray], states: Mapping[str, NDArray]) -> None:
        """Copies parameters and states from the devices: their mean, where they differ."""
        names = (*self.param_names, *self.symbol.list_auxiliary_states())
        for name, arrays in zip(names, (*self.param_arrays, *self.aux_arrays)):
            target = args[name] if name in args else states[name]
            values = [memory.host(a._data) for a in arrays]
            if all((v is values[0]) or (v == values[0]).all() for v in values):
                target[:] = values[0]
            else:
                target[:] = sum(values[1:], values[0]) / len(values)

    def empty_params(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """(parameters, states): zeros of their shapes and dtypes on the first CPU."""
        made = lambda names, arrays: {n: zeros(a[0].shape, Context("cpu", 0), a[0].dtype) for n, a in zip(names, arrays)}
        return made(self.param_names, self.param_arrays), made(self.symbol.list_auxiliary_states(), self.aux_arrays)


def _rows(value, axis: int, rows: slice):
    """The values of an NDArray or NumPy array, or the part of them that belongs to one device."""
    data = memory.host(value._data) if isinstance(value, NDArray) else value
    return data if axis < 0 else data[(slice(None),) * axis + (rows,)]
