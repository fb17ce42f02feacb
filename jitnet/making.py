"""The programs of a compiled function: found, or made when they are first asked for.

    trace      runs user code, under no lock: it may wait for another thread, and that one may call any compiled function
    compile    passes and kernels, of one function at a time, under `_compiling`
    tables     what a function keeps changes under `changing`, which nobody holds for long

Threads that ask for the same program take turns: one makes it, and the others find it. Who waits for a thread that traces, and
sees it stand still, traces too, for it may be waiting for who waits; of two that made the same program, the first wins.
"""
from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from . import config, explain, tree
from .arguments import WEAK, Call
from .compile import compile_graph, of_program
from .families import Family, Template
from .ir import check_graph
from .methods import attributes_stay, is_instance
from .printing import identifier
from .records import Record, Variant
from .retrace import KEPT, TraceKey
from .runtime import cache, native
from .runtime.array import Array
from .runtime.forks import waited_for
from .runtime.program import Program
from .tracer import trace
from .types import ArrayType, known_dtype

MAX_RECORDS = 4096  # programs kept per function; the oldest goes first
PATIENCE = 0.25     # seconds between two looks at a thread that traces, which may be waiting for the one that looks
LOOKS = 3           # that find it where it was before
# A fork takes both, the last one first, as who compiles does.
changing = waited_for(threading.RLock())
_compiling = waited_for(threading.RLock())


def _place(thread: int) -> tuple[int, int]:
    """Which instruction of Python a thread is at: another one at every look, unless it waits."""
    frame = sys._current_frames().get(thread)
    return id(frame), getattr(frame, "f_lasti", 0)


class Turn:
    """A thread that makes programs of some key."""

    __slots__ = ("compiles", "over", "overtaken", "thread")

    def __init__(self):
        self.thread, self.over = threading.get_ident(), threading.Lock()   # the thread holds it until its turn is over
        self.compiles = False    # otherwise user code may be running
        self.overtaken = False   # somebody has waited in vain
        self.over.acquire()

    def is_over(self) -> bool:
        """Waits for the end of it; False when that may never come."""
        if self.thread == threading.get_ident():
            return False
        before, still = None, 0
        while not self.overtaken:
            if self.over.acquire(timeout=PATIENCE):
                self.over.release()
                return True
            here = _place(self.thread)
            still = still + 1 if here == before and not self.compiles else 0
            before, self.overtaken = here, still >= LOOKS
        return False

    @contextlib.contextmanager
    def compiling(self) -> Iterator[None]:
        """Inside no other thread compiles; no user code runs."""
        self.compiles = True
        try:
            with _compiling:
                yield
        finally:
            self.compiles = False


_turns: dict[tuple, Turn] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_turns.clear)   # of threads that the child does not have


@contextlib.contextmanager
def turn(key: tuple) -> Iterator[Turn]:
    """This thread's turn at a key: it begins when that of another thread is over, or takes too long."""
    mine = Turn()
    while (other := _turns.setdefault(key, mine)) is not mine and other.is_over():
        pass
    try:
        yield mine
    finally:
        if _turns.get(key) is mine:
            del _turns[key]
        mine.over.release()


class Programs:
    """The programs of one function, by what a call is like and the types of its arguments."""

    def __init__(self, name: str, function: Callable):
        self.name, self.function = name, function
        self.clear()

    def clear(self) -> None:
        """Forgets them all; what is being made now is not kept either."""
        self.variants: dict[tuple, Variant] = {}
        self.traces: list[TraceKey] = []

    def find(self, call: Call) -> tuple[Variant | None, Record | None]:
        """The variant and the program of a call, as far as there are any."""
        variant = self.variants.get(call.key)
        return variant, variant.records.get(call.place_and_types) if variant is not None else None

    def make(self, call: Call, connect: Callable[[Call, Variant, Record], None]) -> Record:
        """The program for a call that has none: by a template, from a trace that becomes one, or from a trace for its sizes
        alone. `connect` is told when it is kept."""
        record = self._by_template(call, connect)
        if record is not None:
            return record
        with turn((self, call.key, call.family)) as mine:
            record = self._by_template(call, connect)   # by what another thread has made meanwhile
            return record if record is not None else self._by_trace(call, connect, mine)

    def _by_template(self, call: Call, connect: Callable) -> Record | None:
        """The program of the call when it is there, or a template makes it."""
        with changing:
            variant, record = self.find(call)
            if record is not None or variant is None or call.family not in variant.families:
                return record
            found = variant.families[call.family].find(call.sizes)
            return self._keep(call, variant, _made(*found, False), connect) if found is not None else None

    def _by_trace(self, call: Call, connect: Callable, mine: Turn) -> Record:
        """The program of the call from a trace that becomes a template, or from one for its sizes alone."""
        variants = self.variants   # others when somebody says `clear()` meanwhile
        variant = variants.get(call.key) or Variant()
        family = variant.families.setdefault(call.family, Family())
        pattern, doubt, record = family.wanted(call.sizes), "", None
        if pattern is not None:
            traced = functools.partial(self.trace, call)
            template, doubt = family.open(call.types, pattern, traced, mine.compiling, call.place)
            if template is not None:
                with changing:
                    found = family.take(template, call.sizes)
                record = _made(*found, True) if found is not None else None
        if record is None:
            record = self.compiled(call, mine)
            with changing:
                record.why = family.why_traced
                family.compiled(call.sizes, record.compiled.program, doubt)
        with changing:
            return self._keep(call, variant, record, connect) if self.variants is variants else record

    def _keep(self, call: Call, variant: Variant, record: Record, connect: Callable) -> Record:
        """The record, kept from now on, or that of a thread that was faster."""
        _, known = self.find(call)
        if known is not None:
            return known
        self._make_room()
        variant = self.variants.setdefault(call.key, variant)
        variant.records[call.place_and_types] = record
        if record.counts:
            self.traces = [*self.traces[-KEPT:], TraceKey(*call.key, call.types, call.names, record.why)]
        connect(call, variant, record)
        return record

    def _make_room(self) -> None:
        """Drops the oldest program when there are too many."""
        if sum(len(v.records) for v in self.variants.values()) >= MAX_RECORDS:
            key, oldest = next(iter(self.variants.items()))
            del oldest.records[next(iter(oldest.records))]
            oldest.away.clear()
            if not oldest.records:
                del self.variants[key]

    def trace(self, call: Call, types: Sequence[ArrayType] | None = None) -> Record:
        """The function traced for the types of this call, or for the same with sizes left open."""
        structures: list[tuple] = []

        def flat(*tracers):
            args, kwargs = call.plan.rebuild(tree.unflatten(call.structure, tracers), call.statics)
            check = attributes_stay(self.name, args[0]) if is_instance(call.structure) else None
            leaves, structure = tree.flatten(self.function(*args, **kwargs), ordered=True)
            if check is not None:
                check()
            structures.append(structure)
            return leaves

        traced = trace(flat, types or [ArrayType(shape, known_dtype(dtype)) for shape, dtype, _ in call.types], self.name,
                       weak=[scalar if scalar in WEAK else None for _, _, scalar in call.types],
                       names=[identifier(path, "x") for path in call.names.paths()], allow_writes=True,
                       mutable=[isinstance(leaf, (np.ndarray, Array)) for leaf in call.leaves])
        if config.switched_on("JITNET_CHECK"):
            check_graph(traced.graph)
        return Record(traced, structures[0], traced.written, limits=traced.limits)

    def compiled(self, call: Call, mine: Turn | None = None) -> Record:
        """The function traced and compiled for this call, and for no other sizes."""
        start = time.perf_counter()
        native.prepare()
        record = self.trace(call)
        traced = time.perf_counter()
        arrays = {k for k, (_, _, scalar) in enumerate(call.types) if scalar is None}
        debug = config.debug_level()
        with (mine or Turn()).compiling():
            known = cache.info().compiles if debug else 0
            record.compiled = compile_graph(record.traced.graph, record.traced.written, arrays, call.place)
            new = cache.info().compiles - known if debug else 0
        if debug:
            explain.report(self.name, record, debug, 1e3 * (traced - start), 1e3 * (time.perf_counter() - traced), new)
        return record


def _made(template: Template, program: Program, counts: bool) -> Record:
    """The record of a program that a template made."""
    return Record(None, template.out_structure, template.written, of_program(program, template.in_place), counts,
                  template.limits)
