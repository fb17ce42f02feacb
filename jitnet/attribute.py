"""AttrScope: attributes that every symbol made inside a `with` block gets.

>>> import jitnet as mx
>>> with mx.AttrScope(ctx_group="stage1"):
...     mx.sym.Variable("x").attr("ctx_group")
'stage1'
"""
from __future__ import annotations

import threading
from collections.abc import Mapping

# attributes that MXNet itself reads: kept as __name__, so that they differ from the parameters of an operator
HIDDEN = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage", "profiler_scope")


class AttrScope:
    """Attributes for the symbols made in a `with` block; inner blocks add to outer ones."""

    def __init__(self, **attributes: str):
        for name, value in attributes.items():
            if not isinstance(value, str):
                raise ValueError(f"Attributes need to be a string, for multiple attributes use AttrScope(a='1', b='2'): {name} "
                                 f"is a {type(value).__name__}")
        self._attributes = dict(attributes)
        self._before: AttrScope | None = None
        self._all = self._attributes

    def get(self, attributes: Mapping[str, str] | None) -> dict[str, str]:
        """The attributes of the scope, with those given on top."""
        return {**self._all, **(attributes or {})}

    def __enter__(self) -> AttrScope:
        self._before = current()
        self._all = {**self._before._all, **self._attributes}
        _local.scope = self
        return self

    def __exit__(self, *_) -> None:
        _local.scope = self._before


_local = threading.local()


def current() -> AttrScope:
    """The innermost scope of this thread."""
    try:
        return _local.scope
    except AttributeError:
        _local.scope = AttrScope()
        return _local.scope


def stored(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as nodes hold them: the hidden ones between double underscores."""
    return {f"__{name}__" if name in HIDDEN else name: value for name, value in attributes.items()}


def shown(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as users see them: the hidden ones under both names."""
    out = {}
    for name, value in attributes.items():
        out[name] = value
        if name.startswith("__") and name[2:-2] in HIDDEN:
            out[name[2:-2]] = value
    return out
