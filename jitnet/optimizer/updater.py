"""Updater: an optimizer with the states of all parameters, by index or name."""
from __future__ import annotations

import pickle
from collections.abc import Sequence

from ..nd.ndarray import NDArray
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
        """Takes over what `get_states` returned. It is a pickle: load only what you trust."""
        states = pickle.loads(states)
        if isinstance(states, tuple) and len(states) == 2:
            self.states, self.optimizer = states
        else:
            self.states = states
        self.states_synced = dict.fromkeys(self.states, False)


def get_updater(optimizer: Optimizer) -> Updater:
    """An Updater of the optimizer."""
    return Updater(optimizer)
