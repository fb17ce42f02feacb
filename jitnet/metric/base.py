"""EvalMetric, a number that is gathered batch by batch, and metrics made of others or of a function."""
from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import registry
from ..nd import memory
from ..nd.ndarray import NDArray
from ..runtime.cuda.buffer import DeviceBuffer

MOST_ON_THEIR_WAY = 32   # batches of a metric whose values are coming from a GPU


def check_label_shapes(labels, preds, wrap: bool = False, shape: bool = False):
    """(labels, preds), as lists under `wrap`; ValueError when they are not as many (or, with `shape`, not of one shape)."""
    if wrap:
        labels = [labels] if isinstance(labels, NDArray) else labels
        preds = [preds] if isinstance(preds, NDArray) else preds
    found = (labels.shape, preds.shape) if shape else (len(labels), len(preds))
    if found[0] != found[1]:
        raise ValueError(f"Shape of labels {found[0]} does not match shape of predictions {found[1]}")
    return labels, preds


def host(array) -> np.ndarray:
    """The values of an NDArray or NumPy array as a NumPy array, for reading."""
    return np.asarray(array.__jitnet_numpy__() if isinstance(array, NDArray) else array)


def late(update: Callable) -> Callable:
    """The method `update`, which does not wait for arrays on a GPU: their values come to the host while the device goes on, and
    are added when the metric is asked, or when many batches are on their way. What is wrong with them is told then.
    """
    @functools.wraps(update)
    def updated(self, labels, preds):
        counts = [len(a) if isinstance(a, (list, tuple)) else 1 for a in (labels, preds)]
        if counts[0] != counts[1] or not (_away(labels) or _away(preds)):
            self.settle()
            update(self, labels, preds)
            return
        self._on_their_way.append((update, _coming(labels), _coming(preds)))
        if len(self._on_their_way) > MOST_ON_THEIR_WAY:
            self.settle(MOST_ON_THEIR_WAY)
    return updated


def _away(arrays) -> bool:
    """Whether some of the arrays are on a GPU."""
    if isinstance(arrays, (list, tuple)):
        return any(map(_away, arrays))
    return isinstance(arrays, NDArray) and type(arrays._data) is not np.ndarray


def _coming(arrays) -> Callable:
    """A function that gives the arrays as they are now, as a list with NumPy arrays in the place of NDArrays."""
    if not isinstance(arrays, (list, tuple, NDArray)):
        return lambda: arrays
    data = [a._data if isinstance(a, NDArray) else a for a in ([arrays] if isinstance(arrays, NDArray) else arrays)]
    parts = [memory.coming(a) if isinstance(a, (np.ndarray, DeviceBuffer)) else lambda a=a: a for a in data]
    return lambda: [part() for part in parts]


def settled(method: Callable) -> Callable:
    """The method, once all batches were added."""
    @functools.wraps(method)
    def call(self, *args):
        self.settle()
        return method(self, *args)
    return call


class Gathered:
    """A figure that all batches have been added to when it is read."""

    def __set_name__(self, owner: type, name: str):
        self.name = f"_{name}"

    def __get__(self, metric, owner=None):
        if metric is None:
            return self
        metric.settle()
        return getattr(metric, self.name)

    def __set__(self, metric, value) -> None:
        setattr(metric, self.name, value)


class EvalMetric:
    """The base of metrics: `update` adds a batch to `sum_metric` and `num_inst`, `get` returns their quotient.

    `reset_local` forgets what was gathered since the last reset; `get_global` goes on over it. output_names, label_names: which
    outputs and labels of a network `update_dict` takes, by default all. jitnet's own metrics do not wait for arrays on a GPU in
    `update`, but where their figures are asked for.
    """

    sum_metric, num_inst, global_sum_metric, global_num_inst = Gathered(), Gathered(), Gathered(), Gathered()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in ("get", "get_global", "reset", "reset_local"):
            if name in vars(cls):
                setattr(cls, name, settled(vars(cls)[name]))

    def __init__(self, name: str, output_names: Sequence[str] | None = None, label_names: Sequence[str] | None = None,
                 **kwargs):
        self._on_their_way, self._settling = collections.deque(), False
        self.name, self.output_names, self.label_names = str(name), output_names, label_names
        self._has_global_stats = kwargs.pop("has_global_stats", False)
        self._kwargs = kwargs
        self.reset()

    def __str__(self) -> str:
        return f"EvalMetric: {dict(self.get_name_value())}"

    def get_config(self) -> dict:
        """Class, name and arguments, from which `create` makes the metric again."""
        return {**self._kwargs, "metric": type(self).__name__, "name": self.name, "output_names": self.output_names,
                "label_names": self.label_names}

    def update_dict(self, label: Mapping[str, NDArray], pred: Mapping[str, NDArray]) -> None:
        """`update` with labels and outputs by name."""
        preds = [pred[name] for name in self.output_names] if self.output_names is not None else list(pred.values())
        labels = [label[name] for name in self.label_names] if self.label_names is not None else list(label.values())
        self.update(labels, preds)

    def update(self, labels, preds) -> None:
        """Adds a batch: lists of labels and of predictions."""
        raise TypeError(f"{type(self).__name__} must define update(labels, preds)")

    def settle(self, left: int = 0) -> None:
        """Adds the batches whose values are on their way from a GPU, but for the last `left` ones."""
        batches = self.__dict__.get("_on_their_way")   # none yet in a subclass that has not called __init__
        if not batches or self._settling:
            return
        self._settling = True
        try:
            while len(batches) > left:
                update, labels, preds = batches.popleft()
                update(self, labels(), preds())
        finally:
            self._settling = False

    def __getstate__(self) -> dict:
        self.settle()
        return self.__dict__

    def add(self, total: float, count: int) -> None:
        """Adds a sum over `count` instances."""
        self.sum_metric += total
        self.global_sum_metric += total
        self.num_inst += count
        self.global_num_inst += count

    @settled
    def reset(self) -> None:
        """Forgets everything."""
        self.global_num_inst, self.global_sum_metric = 0, 0.0
        self.reset_local()

    @settled
    def reset_local(self) -> None:
        """Forgets what was gathered since the last reset; global figures stay."""
        self.num_inst, self.sum_metric = 0, 0.0

    def value(self, total: float, count: int) -> float:
        """The metric of a sum over `count` instances."""
        return total / count

    @settled
    def get(self) -> tuple:
        """(name, value), of everything since the last reset; NaN before the first batch."""
        return self.name, self.value(self.sum_metric, self.num_inst) if self.num_inst else math.nan

    @settled
    def get_global(self) -> tuple:
        """(name, value), over local resets."""
        if not self._has_global_stats:
            return self.get()
        return self.name, self.value(self.global_sum_metric, self.global_num_inst) if self.global_num_inst else math.nan

    def get_name_value(self) -> list[tuple[str, float]]:
        """[(name, value), ...]."""
        return _pairs(*self.get())

    def get_global_name_value(self) -> list[tuple[str, float]]:
        """[(name, value), ...], over local resets."""
        return _pairs(*self.get_global())


def _pairs(name, value) -> list:
    return list(zip(name if isinstance(name, list) else [name], value if isinstance(value, list) else [value]))


register = registry.get_register_func(EvalMetric, "metric")
alias = registry.get_alias_func(EvalMetric, "metric")
_create = registry.get_create_func(EvalMetric, "metric")


def create(metric, *args, **kwargs) -> EvalMetric:
    """The metric of a name, of a function of (label, prediction) as NumPy arrays, or of a list of these, together.

    >>> import jitnet as mx
    >>> mx.metric.create(["acc", "ce"]).get_name_value()
    [('accuracy', nan), ('cross-entropy', nan)]
    """
    if callable(metric):
        return CustomMetric(metric, *args, **kwargs)
    if isinstance(metric, (list, tuple)):
        return CompositeEvalMetric([create(one, *args, **kwargs) for one in metric])
    return _create(metric, *args, **kwargs)


@register
@alias("composite")
class CompositeEvalMetric(EvalMetric):
    """Several metrics of one batch."""

    def __init__(self, metrics=None, name="composite", output_names=None, label_names=None):
        self.metrics: list[EvalMetric] = []
        super().__init__(name, output_names, label_names, has_global_stats=True)
        self.metrics = [create(metric) for metric in metrics or ()]

    def add(self, metric) -> None:
        """Adds a metric, or what `create` makes one of."""
        self.metrics.append(create(metric))

    def get_metric(self, index: int) -> EvalMetric:
        """The metric number `index`; IndexError when there is none."""
        if not 0 <= index < len(self.metrics):
            raise IndexError(f"Metric index {index} is out of range 0 and {len(self.metrics)}")
        return self.metrics[index]

    def update_dict(self, label, pred) -> None:
        if self.label_names is not None:
            label = {name: value for name, value in label.items() if name in self.label_names}
        if self.output_names is not None:
            pred = {name: value for name, value in pred.items() if name in self.output_names}
        for metric in self.metrics:
            metric.update_dict(label, pred)

    def update(self, labels, preds) -> None:
        for metric in self.metrics:
            metric.update(labels, preds)

    def reset(self) -> None:
        for metric in self.metrics:
            metric.reset()

    def reset_local(self) -> None:
        for metric in self.metrics:
            metric.reset_local()

    def get(self) -> tuple[list, list]:
        return self._gathered("get_name_value")

    def get_global(self) -> tuple[list, list]:
        return self._gathered("get_global_name_value")

    def _gathered(self, method: str) -> tuple[list, list]:
        pairs = [pair for metric in self.metrics for pair in getattr(metric, method)()]
        return [name for name, _ in pairs], [value for _, value in pairs]

    def get_config(self) -> dict:
        return {**super().get_config(), "metrics": [metric.get_config() for metric in self.metrics]}


@register
class CustomMetric(EvalMetric):
    """The mean of a function of (label, prediction), NumPy arrays, which returns a number or (sum, count)."""

    def __init__(self, feval: Callable, name=None, allow_extra_outputs=False, output_names=None, label_names=None):
        if name is None:
            name = feval.__name__
            name = f"custom({name})" if "<" in name else name
        super().__init__(name, output_names, label_names, feval=feval, allow_extra_outputs=allow_extra_outputs,
                         has_global_stats=True)
        self._feval, self._allow_extra_outputs = feval, allow_extra_outputs

    def update(self, labels, preds) -> None:
        if not self._allow_extra_outputs:
            labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds):
            found = self._feval(host(label), host(pred))
            self.add(*(found if isinstance(found, tuple) else (found, 1)))

    def get_config(self) -> dict:
        raise TypeError("CustomMetric cannot be serialized: it holds a function")


def from_numpy(numpy_feval: Callable, name=None, allow_extra_outputs=False) -> CustomMetric:
    """A metric of a function of (label, prediction) as NumPy arrays. Public as `metric.np`."""
    return CustomMetric(numpy_feval, name, allow_extra_outputs)
