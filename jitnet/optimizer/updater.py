"""Updater: an optimizer with the states of all parameters, by index or name."""
from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Sequence

from ..errors import MXNetError
from ..nd.ndarray import NDArray
from ..nd.saving import LIST_MAGIC, load_frombuffer
from .optimizer import Optimizer


class Updater:
    """updater(index, grad, weight) takes a step of one parameter, or, given lists, of all at once; states are made when an
    index is first seen, and follow the weight to its context."""

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        self.states: dict = {}
        self.states_synced: dict = {}

    def __call__(self, index, grad, weight) -> None:
        if isinstance(weight, (list, tuple)):
            indices, grads, weights = list(index), list(grad), list(weight)
        else:
            indices, grads, weights = [index], [grad], [weight]
        if not weights:
            return
        self.optimizer._set_current_context(weights[0].context.device_id)
        states = [self._state(i, w) for i, w in zip(indices, weights, strict=True)]
        if self.optimizer._fused():
            self.optimizer.update_multi_precision(indices, weights, grads, states)
        else:
            for one in zip(indices, weights, grads, states):
                self.optimizer.update_multi_precision(*one)

    def _state(self, index, weight: NDArray):
        if index not in self.states:
            self.states[index] = self.optimizer.create_state_multi_precision(index, weight)
        elif not self.states_synced.get(index, False):
            self.states[index] = self.sync_state_context(self.states[index], weight.context)
        self.states_synced[index] = True
        return self.states[index]

    def sync_state_context(self, state, context):
        """The states on a context."""
        if isinstance(state, NDArray):
            return state.as_in_context(context)
        if isinstance(state, Sequence):
            return type(state)([self.sync_state_context(part, context) for part in state])
        return state

    def get_states(self, dump_optimizer: bool = False) -> bytes:
        """The states, with the optimizer where asked for, as bytes for `set_states`."""
        return pickle.dumps((self.states, self.optimizer) if dump_optimizer else self.states)

    def set_states(self, states: bytes) -> None:
        """Takes over what `get_states` returned, here or in MXNet 1.x. It is a pickle: load only what you trust."""
        states = _plain(_Unpickler(io.BytesIO(states)).load())
        if isinstance(states, tuple) and len(states) == 2:
            self.states, self.optimizer = states
        else:
            self.states = states
        self.states_synced = dict.fromkeys(self.states, False)


class _MXNetArray:
    """What a pickle of MXNet's has in the place of an NDArray: `handle`, the bytes of one array of a file of arrays."""

    def __init__(self, handle=None):
        self.handle = handle

    def __setstate__(self, state: dict) -> None:
        self.handle = bytes(state["handle"])


class _Unpickler(pickle.Unpickler):
    """Reads pickles of states, those of MXNet as well."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("mxnet.ndarray.ndarray", "NDArray"):
            return _MXNetArray
        if module.split(".")[0] == "mxnet":
            raise MXNetError(f"set_states: the states hold {module}.{name} of MXNet",
                             "save them there without dump_optimizer, and make the optimizer here")
        return super().find_class(module, name)


def _plain(state):
    """States with NDArrays in the place of MXNet's."""
    if isinstance(state, _MXNetArray):
        return load_frombuffer(struct.pack("<QQQ", LIST_MAGIC, 0, 1) + state.handle + struct.pack("<Q", 0))[0]
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return type(state)([_plain(part) for part in state]) if type(state) in (tuple, list) else state


def get_updater(optimizer: Optimizer) -> Updater:
    """An Updater of the optimizer."""
    return Updater(optimizer)
