"""KVStore: values by key, to which the gradients of several devices are pushed and from which weights are pulled.

>>> import jitnet as mx
>>> store = mx.kv.create("local")
>>> store.init("w", mx.nd.zeros(2))
>>> store.push("w", [mx.nd.ones(2, ctx=mx.cpu(0)), mx.nd.ones(2, ctx=mx.cpu(1)) * 4])
>>> out = mx.nd.empty(2)
>>> store.pull("w", out=out)
>>> out.asnumpy()
array([5., 5.], dtype=float32)
"""
from __future__ import annotations

from collections.abc import Callable

from .errors import MXNetError
from .nd import memory
from .nd.invoke import invoke
from .nd.ndarray import NDArray
from .operators import find
from .optimizer import Optimizer, Updater, get_updater

TYPES = ("local", "device", "local_update_cpu", "local_allreduce_cpu", "local_allreduce_device")
_SUM = find("add_n")


class KVStore:
    """Values by key within one process. `push` sums the arrays of several devices; the sum replaces the value, or updates it
    where an optimizer (or `_set_updater`) is set. Keys are all numbers or all texts; lists of keys take lists of values."""

    OPTIMIZER = "optimizer"

    def __init__(self, kind: str = "local"):
        self.type = kind
        self._values: dict[int | str, NDArray] = {}
        self._updater: Callable | None = None

    rank = property(lambda self: 0, doc="The number of this process among all: 0.")
    num_workers = property(lambda self: 1, doc="The number of processes: 1.")

    def is_capable(self, capability: str) -> bool:
        """Whether it can run optimizers ("optimizer"): yes."""
        if capability.lower() != self.OPTIMIZER:
            raise ValueError(f"Unknown capability: {capability}")
        return True

    # Values

    def init(self, key, value) -> None:
        """Sets the first value of a key, which must be new."""
        for one, values in self._pairs(key, value):
            if one in self._values:
                raise MXNetError(f"kvstore: duplicate init of key {one}", "each key is initialized once")
            if self._values and type(one) is not type(next(iter(self._values))):
                raise MXNetError(f"kvstore: Mixed key types are not allowed: {one!r} after {next(iter(self._values))!r}",
                                 "name all keys by numbers, or all by texts")
            self._values[one] = values[0].copy()

    def push(self, key, value, priority: int = 0) -> None:
        """Sums the arrays of each key, and replaces or updates its value."""
        pairs = self._pairs(key, value)
        stored = [self._value(one) for one, _ in pairs]
        totals = [self._total(one, values, target) for (one, values), target in zip(pairs, stored)]
        if isinstance(self._updater, Updater):
            self._updater([one for one, _ in pairs], totals, stored)
            return
        for (one, _), total, target in zip(pairs, totals, stored):
            if self._updater is not None:
                self._updater(one, total, target)
            else:
                total.copyto(target)

    def pull(self, key, out=None, priority: int = 0, ignore_sparse: bool = True) -> None:
        """Copies the value of each key into `out`, or into each array of a list."""
        if out is None:
            raise ValueError("kvstore: pull needs out=, where the value goes")
        for one, targets in self._pairs(key, out):
            value = self._value(one)
            for target in targets:
                value.copyto(target)

    def pushpull(self, key, value, out=None, priority: int = 0) -> None:
        """`push`, then `pull` into `out`, by default into the arrays that were pushed."""
        self.push(key, value, priority)
        self.pull(key, value if out is None else out, priority)

    def broadcast(self, key, value, out, priority: int = 0) -> None:
        """`init`, then `pull`."""
        self.init(key, value)
        self.pull(key, out, priority)

    def row_sparse_pull(self, key, out=None, priority: int = 0, row_ids=None) -> None:
        """MXNetError: all arrays are dense."""
        raise MXNetError("kvstore: row_sparse_pull needs arrays stored as row_sparse, and all are dense", "use `pull`")

    def set_gradient_compression(self, compression_params) -> None:
        """MXNetError: within one process there is nothing to compress."""
        raise MXNetError(f"kvstore: a store of type {self.type} sends nothing that could be compressed",
                         "leave compression_params out")

    @staticmethod
    def _pairs(key, value) -> list[tuple[int | str, list[NDArray]]]:
        """[(key, arrays), ...]."""
        if isinstance(key, (list, tuple)):
            if not isinstance(value, (list, tuple)) or len(value) != len(key):
                raise ValueError(f"kvstore: {len(key)} keys need a list of as many values")
            return [pair for one, part in zip(key, value) for pair in KVStore._pairs(one, part)]
        if not isinstance(key, (int, str)):
            raise TypeError(f"kvstore: unexpected type for keys: {type(key).__name__}")
        arrays = [value] if isinstance(value, NDArray) else list(value)
        for array in arrays:
            if not isinstance(array, NDArray):
                raise TypeError(f"kvstore: values of {key!r} must be NDArrays, got {type(array).__name__}")
        return [(key, arrays)]

    def _value(self, key) -> NDArray:
        if key not in self._values:
            raise MXNetError(f"kvstore: key {key} doesn't exist. Did you init?", f"initialized are {list(self._values)}")
        return self._values[key]

    @staticmethod
    def _total(key, values: list[NDArray], target: NDArray) -> NDArray:
        """The sum of the arrays, in their order, where the stored value is."""
        for value in values:
            if value.shape != target.shape:
                raise MXNetError(f"kvstore: the value of key {key} has the shape {target.shape}, pushed was {value.shape}",
                                 "push arrays of the shape that was initialized")
        ctx = target.context
        here = [NDArray(memory.placed(v._data, ctx), ctx) for v in values]  # logical CPUs share their memory
        return here[0] if len(here) == 1 else invoke(_SUM, here, {"num_args": len(here)})

    # Optimizer

    def set_optimizer(self, optimizer: Optimizer) -> None:
        """Lets `push` take a step of the optimizer, with the sum as gradient of the stored weight."""
        self._set_updater(get_updater(optimizer))

    def _set_updater(self, updater: Callable) -> None:
        """Lets `push` call updater(key, sum, stored value)."""
        self._updater = updater

    def save_optimizer_states(self, fname: str, dump_optimizer: bool = False) -> None:
        """Writes the states of the optimizer to a file."""
        states = self._own_updater().get_states(dump_optimizer)
        with open(fname, "wb") as file:
            file.write(states)

    def load_optimizer_states(self, fname: str) -> None:
        """Reads what `save_optimizer_states` wrote."""
        with open(fname, "rb") as file:
            self._own_updater().set_states(file.read())

    def _own_updater(self) -> Updater:
        if not isinstance(self._updater, Updater):
            raise MXNetError("kvstore: there are no states: no optimizer is set", "call `set_optimizer` first")
        return self._updater


def create(name: str = "local") -> KVStore:
    """A store of a type: "local" or "device", which are the same here. MXNetError for types of several machines."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {type(name).__name__}")
    if name.lower() not in TYPES:
        raise MXNetError(f"kvstore: there is no type {name!r}", f"the types are {', '.join(TYPES)}, all within one process")
    return KVStore(name.lower())
