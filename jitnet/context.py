"""Context: MXNet's name for a device, and the stack of `with` that says where new arrays go.

`cpu(0)`, `cpu(1)`, ... are logical devices over the same cores, so that code for several devices runs on any machine.
"""
from __future__ import annotations

import threading

from .errors import DeviceError
from .runtime import device as devices
from .runtime.device import CPU, Device

TYPE_IDS = {"cpu": 1, "gpu": 2, "cpu_pinned": 3, "cpu_shared": 5}
TYPE_NAMES = {number: name for name, number in TYPE_IDS.items()}


class Context(Device):
    """A device by kind and number, equal to the Device of these; as a `with` block, where new arrays go.

    >>> import jitnet as mx
    >>> with mx.cpu(1):
    ...     print(mx.current_context())
    cpu(1)
    """

    __slots__ = ()
    devtype2str, devstr2type = TYPE_NAMES, TYPE_IDS

    def __init__(self, device_type: str | Device = "cpu", device_id: int = 0):
        if isinstance(device_type, Device):
            device_type, device_id = device_type.kind, device_type.index
        if device_type not in TYPE_IDS:
            raise DeviceError(f"Context: {device_type!r} is no device", f"use one of {', '.join(TYPE_IDS)}")
        object.__setattr__(self, "kind", device_type)
        object.__setattr__(self, "index", int(device_id))

    @property
    def device_type(self) -> str:
        """The kind: "cpu" or "gpu" (or "cpu_pinned", "cpu_shared")."""
        return self.kind

    @property
    def device_id(self) -> int:
        """The number among devices of its kind."""
        return self.index

    @property
    def device_typeid(self) -> int:
        """MXNet's number of the kind."""
        return TYPE_IDS[self.kind]

    @property
    def device(self) -> Device:
        """The device that does the work: one CPU for all logical ones. DeviceError when it is absent."""
        return devices.gpu(self.index) if self.kind == "gpu" else CPU

    def __eq__(self, other) -> bool:
        return isinstance(other, Device) and (self.kind, self.index) == (other.kind, other.index)

    def __hash__(self) -> int:
        return hash((self.kind, self.index))

    def __enter__(self) -> Context:
        _stack.entered.append(self)
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        _stack.entered.pop()

    def __reduce__(self):
        return Context, (self.kind, self.index)

    def empty_cache(self) -> None:
        """Nothing to do: pools are bounded, and give memory back by themselves."""


class _Stack(threading.local):
    def __init__(self):
        self.entered = [_DEFAULT]


_DEFAULT = Context("cpu", 0)
_stack = _Stack()


def current_context() -> Context:
    """The context of the innermost `with`, by default cpu(0)."""
    return _stack.entered[-1]


def set_default(ctx: Context) -> None:
    """Makes `ctx` this thread's context wherever no `with` says another."""
    _stack.entered[0] = known_context(ctx)


def cpu(device_id: int = 0) -> Context:
    """Logical CPU device number `device_id`; all of them are the same cores.

    >>> import jitnet
    >>> jitnet.cpu() == jitnet.cpu(0)
    True
    """
    return _DEFAULT if device_id == 0 else Context("cpu", device_id)


def gpu(device_id: int = 0) -> Context:
    """GPU number `device_id`; DeviceError, which says what was found, when there is none that jitnet can use."""
    devices.gpu(device_id)
    return Context("gpu", device_id)


def cpu_pinned(device_id: int = 0) -> Context:
    """Memory of the CPU from which copies to a GPU are fast."""
    return Context("cpu_pinned", device_id)


def num_gpus() -> int:
    """How many GPUs jitnet can use."""
    return devices.num_gpus()


def gpu_memory_info(device_id: int = 0) -> tuple[int, int]:
    """(free, total) bytes of a GPU's memory."""
    return devices.gpu(device_id).memory_info


def known_context(ctx) -> Context:
    """The Context that an argument `ctx=` names; None: the current one."""
    if ctx is None:
        return _stack.entered[-1]
    if type(ctx) is Context:
        return ctx
    if isinstance(ctx, str):
        return context_named(ctx.replace(":", "(") + ")" * (":" in ctx))
    return Context(devices.known_device(ctx, "ctx"))


def context_named(text: str | None) -> Context:
    """The Context that prints as this text, such as "cpu(1)"; the current one for an empty text."""
    if not text:
        return _stack.entered[-1]
    kind, _, number = text.rstrip(")").partition("(")
    if not (number or "0").isdigit():
        raise DeviceError(f"{text!r} is no context", "write it as it prints: cpu(0), gpu(1)")
    return Context(kind, int(number or 0))
