"""Classes found by name: what `register`, `alias` and `create` of initializers and metrics are made of.

>>> from jitnet import registry
>>> class Shape: pass
>>> register, create = registry.get_register_func(Shape, "shape"), registry.get_create_func(Shape, "shape")
>>> @register
... class Square(Shape): pass
>>> type(create("square")).__name__
'Square'
"""
from __future__ import annotations

import json
import logging
from collections.abc import Callable

_REGISTRY: dict[type, dict[str, type]] = {}


def get_registry(base_class: type) -> dict[str, type]:
    """A copy of lower-cased name -> class."""
    return dict(_REGISTRY.get(base_class, {}))


def get_register_func(base_class: type, nickname: str) -> Callable:
    """`register(klass, name=None)`: makes a subclass known under its name, in any case."""
    known = _REGISTRY.setdefault(base_class, {})

    def register(klass: type, name: str | None = None) -> type:
        if not issubclass(klass, base_class):
            raise TypeError(f"Can only register subclass of {base_class.__name__}, got {klass.__name__}")
        name = (name or klass.__name__).lower()
        if known.get(name, klass) is not klass:
            logging.warning("%s %s replaces another one of its name", nickname, name)
        known[name] = klass
        return klass
    register.__doc__ = f"Decorator: `create` finds the {nickname} by its class name, in any case."
    return register


def get_alias_func(base_class: type, nickname: str) -> Callable:
    """`alias(*names)`: a decorator that makes a class known under further names."""
    register = get_register_func(base_class, nickname)

    def alias(*names: str) -> Callable:
        def decorate(klass: type) -> type:
            for name in names:
                register(klass, name)
            return klass
        return decorate
    alias.__doc__ = f"Decorator: `create` finds the {nickname} under these names too."
    return alias


def get_create_func(base_class: type, nickname: str) -> Callable:
    """`create(name, *args, **kwargs)`: an instance of the class of that name, or of what JSON says: '["name", {...}]'."""
    known = _REGISTRY.setdefault(base_class, {})

    def create(*args, **kwargs):
        name, args = (args[0], args[1:]) if args else (kwargs.pop(nickname), ())
        if isinstance(name, base_class):
            if args or kwargs:
                raise ValueError(f"{nickname} is already an instance: it takes no further arguments")
            return name
        if isinstance(name, dict):
            return create(**name)
        if not isinstance(name, str):
            raise TypeError(f"{nickname} must be a name or an instance of {base_class.__name__}, got {type(name).__name__}")
        if name.startswith("[") and not args and not kwargs:
            name, kwargs = json.loads(name)
            return create(name, **kwargs)
        if name.startswith("{") and not args and not kwargs:
            return create(**json.loads(name))
        if name.lower() not in known:
            raise ValueError(f"{name} is not registered: the {nickname}s are {', '.join(sorted(known))}")
        return known[name.lower()](*args, **kwargs)
    create.__doc__ = f"The {nickname} of that name, made with these arguments; an instance is returned as it is."
    return create
