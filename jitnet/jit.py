"""`jit`: a function of arrays that is traced and compiled when it is first called with arguments of new types.

A call goes the shortest way that knows it:

    native entry      all arguments by position, NumPy arrays and Python numbers of types seen before: no Python in between
    variant's entry   after binding names, splitting static values off and flattening containers in Python
    record            a program looked up by the types of the leaves, run from Python: copied arguments, changing results
    make              trace, passes, kernels: once per key (making.py)
"""
from __future__ import annotations

import copy
import functools
import sys
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar, overload

import numpy as np

from . import explain, tree
from .arguments import WEAK, Binder, Call, LeafNames, Plan, check_limits, placement
from .compile import Compiled, as_on_gpu, index_error
from .errors import TraceTypeError
from .ir import Graph
from .making import Programs, changing
from .methods import importable, unbound
from .records import Record, Variant
from .runtime.array import Array
from .runtime.cuda.buffer import DeviceBuffer
from .runtime.device import CPU, Device, follow, is_away, is_gpu, known_device
from .runtime.program import StatusError
from .text import Text, a_type
from .tracebacks import cut, cutting, leaving
from .tracer import current_trace
from .transforms.values import P, R
from .writes import check_writable, write_back

Q = ParamSpec("Q")  # parameters of a method without `self`
Instance = TypeVar("Instance")
ARRAYS_AND_NUMBERS, BUFFERS_AND_NUMBERS = {Array, *WEAK}, {DeviceBuffer, *WEAK}
MISS = object()  # what a native entry gives when none of its programs fits
LOOKING_INSIDE = ("graph", "lower", "steps", "source", "explain", "memory")
RECONNECT_AFTER = 16  # a native entry holds few programs: one that ran so often from Python comes back into it


class JitFunction(Generic[P, R]):
    """A compiled function. Call it like the one it was made from; `graph`, `steps`, `source`, `explain`, `memory`
    and `lower` take the same arguments and show what happens to them."""

    if TYPE_CHECKING:
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    else:  # a slot of this name makes `f(x)` call what it holds, without a Python frame: the native entry, once there is one
        __slots__ = ("__call__", "__dict__", "__weakref__")

    def __init__(self, function: Callable[P, R], static_argnames=(), static_argnums=(), device=None):
        functools.update_wrapper(self, function, updated=("__dict__",) if isinstance(function, types.FunctionType) else ())
        self.device = None if device is None else known_device(device, "jit")
        self._binder = Binder(function, static_argnames, static_argnums)
        self._name = self._binder.name
        self._programs = Programs(self._name, function)
        self.clear()
        if device is None:
            follow(self)

    def follow(self, away: bool) -> None:
        """Takes the native entry, which knows the CPU alone, out of the way while another device may be the default."""
        entry = self._entry
        self.__call__ = self._call if away or entry is None else entry.call

    def clear(self) -> None:
        """Forgets all programs: the next call traces again. (Kernels stay in `jitnet.cache`.)"""
        with changing:
            self._programs.clear()
            self._away: tuple[Variant, ...] = ()   # those that may take the arguments of a call as they come
            self._entry = None
            self.__call__ = self._call

    @property
    def traces(self) -> int:
        """How often the function was traced to be compiled."""
        return sum(record.counts for v in list(self._programs.variants.values()) for record in list(v.records.values()))

    def __repr__(self) -> str:
        return f"<jit {self._name}>"

    def __reduce__(self):
        """The name for pickle; for cloudpickle, of a function that other processes cannot import, how to make it again."""
        if "cloudpickle" not in sys._getframe(1).f_globals.get("__name__", "") or importable(self):
            return self.__qualname__
        return _again, (self.__wrapped__, sorted(self._binder.static), self.device, self._binder.is_method)

    def __copy__(self) -> JitFunction:
        return self

    def __deepcopy__(self, memo) -> JitFunction:
        return self

    def __set_name__(self, owner: type, name: str):
        self._binder.is_method = True

    @overload
    def __get__(self, instance: None, owner=None) -> JitFunction[P, R]: ...
    @overload
    def __get__(self: JitFunction[Concatenate[Instance, Q], R], instance: Instance, owner=None) -> JitFunction[Q, R]: ...
    def __get__(self, instance, owner=None):
        return self if instance is None else BoundJit(self, instance)

    # Calling

    def _call(self, /, *args, **kwargs):
        """A call that the native entry knows no program for; inside a trace the function's equations join that trace."""
        try:
            if current_trace() is not None:
                return self.__wrapped__(*args, **kwargs)
            if not kwargs:
                for variant in self._away:
                    taken = variant.take(args)
                    record = None if taken is None else variant.away.get(taken[0])
                    if record is not None and record.is_free(taken[1]):
                        return record.run_away(taken[1])
            plan, statics, structure, leaves = self._binder.parse(args, kwargs)
            variant = self._programs.variants.get((plan.form, statics, structure))
            kinds = set(map(type, leaves))
            arrays = Array in kinds or kinds <= WEAK.keys()
            if variant is not None and variant.away and Array in kinds and kinds <= ARRAYS_AND_NUMBERS:
                record, buffers = variant.found_away(leaves)
                if record is not None and record.is_free(buffers):
                    return record.run_away(buffers)
            if (Array in kinds or is_away() or self.device is not None) and self._place(plan, structure, leaves) is not CPU:
                return self._call_away(plan, statics, structure, leaves, arrays)
            if variant is not None and variant.entry is not None:
                plain = [leaf._data if type(leaf) is Array else leaf for leaf in leaves] if Array in kinds else leaves
                if variant.written:
                    check_writable(variant.written, plain, LeafNames(self._name, plan, structure))
                outs = variant.entry.call(*plain)
                if outs is not MISS:
                    if variant.out_structure == tree.LEAF and not variant.copied:
                        return Array(np.asarray(outs)) if arrays else outs
                    return _result(write_back(variant.copied, plain, outs), variant.out_structure, arrays)
            call = Call(self._name, plan, statics, structure, leaves, CPU)
            record = self._record(call)
            check_writable(record.written, leaves, call.names)
            check_limits(record.limits, leaves, call.names)
            return _result(write_back(record.copied, leaves, record.run(call)), record.out_structure, arrays)
        except BaseException as error:
            try:
                raise leaving(error)
            except BaseException as left:
                cut(left)
                raise

    def _call_away(self, plan: Plan, statics: tuple, structure: tuple, leaves: list, arrays: bool):
        """A call whose program runs on a GPU. NumPy arrays come back only when the device has computed them."""
        call = self._taken_apart(plan, statics, structure, leaves)
        record = self._record(call)
        kinds = set(map(type, call.prepared))
        if not (record.copied or record.limits) and DeviceBuffer in kinds and kinds <= BUFFERS_AND_NUMBERS:
            with changing:
                variant = self._programs.variants.get(call.key)
                if variant is not None:   # nobody called `clear` meanwhile
                    self._away = variant.add_away(call, record, self._away, self._binder.is_method)
        check_writable(record.written, leaves, call.names)
        check_limits(record.limits, leaves, call.names)
        outs = write_back(record.copied, leaves, record.run(call))
        if arrays:
            return _result(outs, record.out_structure, True)
        host = [out.host() for out in outs]
        return _result([out if out.ndim else out[()] for out in host], record.out_structure, False)

    def _place(self, plan: Plan, structure: tuple, leaves: list) -> Device:
        """Where the program for these leaves runs."""
        return placement(self.device, leaves, LeafNames(self._name, plan, structure))

    def _taken_apart(self, plan: Plan, statics: tuple, structure: tuple, leaves: list) -> Call:
        return Call(self._name, plan, statics, structure, leaves, self._place(plan, structure, leaves))

    def _record(self, call: Call) -> Record:
        """The program for this call, compiled now if there is none yet."""
        variant, record = self._programs.find(call)
        if record is None:
            return self._programs.make(call, self._connect)
        record.runs += 1
        if record.runs % RECONNECT_AFTER == 0:
            with changing:
                if self._programs.find(call) == (variant, record):
                    self._connect(call, variant, record)
        return record

    def _connect(self, call: Call, variant: Variant, record: Record) -> None:
        """Makes the program reachable without Python, where the arguments and the result are of a kind that allows it."""
        from .runtime.entry import Entry

        if call.place is not CPU or record.limits:   # native code knows no limits
            return
        program, structure, written = record.compiled.program, record.out_structure, record.written
        shared = structure, written, record.copied
        if variant.entry is None:
            variant.out_structure, variant.written, variant.copied = shared
            variant.entry = Entry(_miss, self._failed)
        if (variant.out_structure, variant.written, variant.copied) != shared:
            return
        single = structure == tree.LEAF and not record.copied
        scalars = {k: scalar for k, (_, _, scalar) in enumerate(call.types) if scalar is not None}
        variant.entry.add(program, weak_scalars=scalars, written=record.compiled.in_place, single_output=single)
        guards = None if record.copied or call.numbers_only else call.guards()
        if structure == tree.NONE and not program.outputs:
            single = None
        if guards is not None and (single is not False or structure == (tuple, (tree.LEAF,) * len(program.outputs))):
            if self._entry is None:
                self._entry = Entry(self._call, self._failed, self._name)
            traced = [p for p in range(len(call.plan.args)) if p not in guards[1]]   # positions of the program's inputs
            self._entry.add(program, weak_scalars=guards[0], same=guards[1], single_output=single,
                            written=[traced[k] for k in record.compiled.in_place])
            self.follow(self.device is None and is_away())

    @cutting
    def _failed(self, program, error: BaseException):
        """What a native call does when its program failed."""
        if isinstance(error, StatusError):
            raise index_error(error) from None
        raise error

    # Looking inside

    def _look(self, args: tuple, kwargs: dict) -> Record:
        call = self._taken_apart(*self._binder.parse(args, kwargs))
        _, record = self._programs.find(call)
        return record if record is not None and record.traced is not None else self._programs.trace(call)

    def _whole(self, args: tuple, kwargs: dict):
        """The compiled object with everything that there is to see in it."""
        call = self._taken_apart(*self._binder.parse(args, kwargs))
        record = self._record(call)
        if record.compiled.graph is None:  # made by a template
            whole = self._programs.compiled(call)
            record.traced, record.compiled = whole.traced, whole.compiled
        return record.compiled

    @cutting
    def graph(self, /, *args, **kwargs) -> Graph:
        """The Graph of the function for these arguments, as it was traced; nothing is compiled or run."""
        return self._look(args, kwargs).traced.graph

    @cutting
    def lower(self, /, *args, **kwargs):
        """The compiled object for these arguments: `.run(arrays)`, `.program`, `.stages`, `.kernels`; nothing is run."""
        return self._whole(args, kwargs)

    @cutting
    def steps(self, /, *args, **kwargs) -> explain.Steps:
        """The Graph after every pass: a sequence of (pass, Graph) that prints as text."""
        return explain.steps(self.lower(*args, **kwargs))

    @cutting
    def source(self, /, *args, device: Device | str | None = None, **kwargs) -> Text:
        """The source of the kernels for these arguments: Python text that runs, a function of the flat arguments.

        Arrays of more than 4 kB that the function holds are its keywords, const_k = `f.lower(...).program.consts[k]`.
        device="cuda", or arrays on a GPU: that of GPU kernels, with or without a GPU; it runs in Numba's CUDA simulator.
        """
        compiled = self.lower(*args, **kwargs)
        gpu = compiled.on_gpu or is_gpu(device, "source")
        return explain.source(self._name, _as_on_gpu(compiled) if gpu else compiled, gpu)

    @cutting
    def explain(self, /, *args, device: Device | str | None = None, **kwargs) -> Text:
        """Which lines of the function became which kernel, what each moves, and what did not fuse and why.

        device="cuda": also how many threads of a GPU run each, with or without a GPU.
        """
        compiled = self.lower(*args, **kwargs)
        gpu = compiled.on_gpu or is_gpu(device, "explain")
        return explain.explain(self._name, _as_on_gpu(compiled) if gpu and not compiled.on_gpu else compiled, gpu)

    @cutting
    def memory(self, /, *args, **kwargs) -> Text:
        """The memory of one run: arguments, results, and the arena with the lifetimes of the buffers in it."""
        return explain.memory(self._name, self.lower(*args, **kwargs))


def _as_on_gpu(compiled: Compiled) -> Compiled:
    return as_on_gpu(compiled.graph, compiled.written, compiled.arrays)


def _miss(*_):
    return MISS


class BoundJit(functools.partial):
    """A compiled method of one object."""

    def __getattr__(self, name: str):
        value = getattr(self.func, name)
        return functools.partial(value, *self.args) if name in LOOKING_INSIDE else value

    def __repr__(self) -> str:
        return f"<bound jit {self.func._name} of {self.args[0]!r}>"

    def __deepcopy__(self, memo) -> BoundJit:
        return BoundJit(self.func, copy.deepcopy(self.args[0], memo))


def _again(function: Callable, static: Sequence[str], device: Device | None, is_method: bool) -> JitFunction:
    """The compiled function that was pickled with these."""
    made = JitFunction(function, static, device=device)
    made._binder.is_method = is_method
    return made


def _result(outs, structure: tuple, arrays: bool):
    """The function's result from its flat outputs: jitnet Arrays, or NumPy's arrays and scalars."""
    if arrays:
        outs = [Array(out if type(out) is DeviceBuffer else np.asarray(out)) for out in outs]
    return outs[0] if structure == tree.LEAF else tree.unflatten(structure, outs)


@overload
def jit(function: Callable[P, R], *, static_argnames: str | Sequence[str] = (), static_argnums: int | Sequence[int] = (),
        device: Device | str | None = None) -> JitFunction[P, R]: ...
@overload
def jit(function: None = None, *, static_argnames: str | Sequence[str] = (), static_argnums: int | Sequence[int] = (),
        device: Device | str | None = None) -> Callable[[Callable[P, R]], JitFunction[P, R]]: ...
@cutting
def jit(function=None, *, static_argnames=(), static_argnums=(), device=None):
    """The function, compiled: traced at the first call with arguments of new types, then run by one native call.

    Arguments are NumPy arrays, jitnet Arrays, numbers and containers of them; those named in `static_argnames` (or numbered in
    `static_argnums`) are anything hashable, and each of their values has its own program. NumPy arrays in, NumPy arrays out;
    jitnet Arrays come back when one went in, or when no argument was an array. `device`: where the program runs; without it
    where its Arrays are, else on the default device (`with jitnet.gpu(0):`). NumPy arrays are copied to wherever that is.

    >>> import numpy as np, jitnet
    >>> @jitnet.jit
    ... def norm(x):
    ...     return np.sqrt(np.sum(x * x))
    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    if function is None:
        return functools.partial(jit, static_argnames=static_argnames, static_argnums=static_argnums, device=device)
    if isinstance(function, staticmethod | classmethod):
        raise TraceTypeError(f"jit: {a_type(function)} is what a class makes of a function",
                             f"decorate the function itself: `@jit` below `@{type(function).__name__}`")
    if not callable(function):
        raise TraceTypeError(f"jit: {a_type(function)} cannot be called",
                             "pass a function: `jit(f)`, or decorate it with `@jit`")
    method = unbound(function)
    if method is None:
        return JitFunction(function, static_argnames, static_argnums, device)
    numbers = (static_argnums,) if isinstance(static_argnums, int) else static_argnums or ()
    compiled = JitFunction(method[0], static_argnames, tuple(n + (n >= 0) for n in numbers), device)
    compiled.__set_name__(type(method[1]), compiled.__name__)
    return BoundJit(compiled, method[1])
