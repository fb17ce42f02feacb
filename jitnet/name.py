"""Names of symbols: who makes them up where the user gives none.

>>> import jitnet as mx
>>> with mx.name.Prefix("net_"):
...     mx.sym.relu(mx.sym.Variable("x"), name="act").list_outputs()
['net_act_output']
"""
from __future__ import annotations

import threading


class NameManager:
    """Numbers the symbols without a name: relu0, relu1, ...; as a `with` block, from 0 again."""

    def __init__(self):
        self._counter: dict[str, int] = {}
        self._before: NameManager | None = None

    def get(self, name: str | None, hint: str) -> str:
        """The name itself, or one made from the hint when there is none."""
        if name:
            return name
        number = self._counter.get(hint, 0)
        self._counter[hint] = number + 1
        return f"{hint}{number}"

    def __enter__(self) -> NameManager:
        self._before, _local.manager = current(), self
        return self

    def __exit__(self, *_) -> None:
        _local.manager = self._before


class Prefix(NameManager):
    """Puts a prefix before every name, given or made up."""

    def __init__(self, prefix: str):
        super().__init__()
        self._prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        return self._prefix + super().get(name, hint)


_local = threading.local()


def current() -> NameManager:
    """The manager of the innermost `with` in this thread."""
    try:
        return _local.manager
    except AttributeError:
        _local.manager = NameManager()
        return _local.manager
