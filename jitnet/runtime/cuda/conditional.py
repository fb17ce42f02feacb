"""Loops and branches that a GPU decides by itself: conditional nodes of a CUDA graph, so that the host need not wait.

    item  ::=  Operation
            |  While (place of the condition, items before it, items of the body)
            |  Switch (place of the index, items per branch)

A kernel of one thread reads the condition and sets the node's handle; the driver then runs the body again, or the branch.
Drivers for CUDA 12.8 and newer can do it. Where one refuses a graph all the same, the host decides, as with older drivers.
"""
from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...errors import Source
from .capture import MOST_GRAPHS, Captured, Straight, instantiated
from .driver import DriverError
from .operations import Operation, Place
from .stream import Gpu

OLDEST = (12, 8)   # CUDA of the driver: `switch` nodes, and conditional nodes within one another
SETTER = """
.visible .entry {name} ({parameters})
{{
    .reg .b64 %address, %handle, %index, %last;
    .reg .b32 %value;
    ld.param.u64 %address, [place];
    ld.param.u64 %handle, [handle];
    cvta.to.global.u64 %address, %address;
    {read}
    {{
        .param .b64 first;
        .param .b32 second;
        st.param.b64 [first], %handle;
        st.param.b32 [second], %value;
        call.uni cudaGraphSetConditional, (first, second);
    }}
    ret;
}}
"""
INDEX = """ld.param.u64 %last, [last];
    ld.global.s64 %index, [%address];
    max.s64 %index, %index, 0;
    min.s64 %index, %index, %last;
    cvt.u32.u64 %value, %index;"""
PTX = """
.version 8.0
.target sm_80
.address_size 64

.extern .func cudaGraphSetConditional (.param .b64 handle, .param .b32 value);
""" + SETTER.format(name="while_condition", parameters=".param .u64 place, .param .u64 handle",
                    read="ld.global.u8 %value, [%address];") + SETTER.format(
    name="switch_index", parameters=".param .u64 place, .param .u64 handle, .param .u64 last", read=INDEX)
"""Assembled by the driver, which alone knows cudaGraphSetConditional: no library defines it."""


@dataclass(eq=False)
class While:
    """Rounds while a condition holds, which `before` computes. `name` and `source` are for errors."""

    place: Place
    before: list
    body: list
    name: str = "the condition of a loop"
    source: Source | None = None

    def inner(self) -> Iterator[list]:
        yield from (self.before, self.body)

    def add(self, builder: Builder, graph: int, after: list[int]) -> list[int]:
        """Adds the loop to a graph, after some of its nodes; returns the last ones."""
        handle = builder.driver.new_condition(graph, builder.gpu.context)
        setting = builder.setting("while_condition", self.place, handle)
        after = builder.segment(graph, builder.fill(graph, self.before, after), setting)
        node, (body,) = builder.driver.add_conditional(graph, after, handle, "while", 1, builder.gpu.context)
        ends = builder.fill(body, self.before, builder.fill(body, self.body, []))
        builder.segment(body, ends, setting)
        return [node]


@dataclass(eq=False)
class Switch:
    """The branch that an int64 says, clamped to the first and the last."""

    place: Place
    branches: list[list]
    name: str = "the index of a switch"
    source: Source | None = None

    def inner(self) -> Iterator[list]:
        yield from self.branches

    def add(self, builder: Builder, graph: int, after: list[int]) -> list[int]:
        """Adds the branches to a graph, after some of its nodes; returns the last ones."""
        count, driver = len(self.branches), builder.driver
        handle = driver.new_condition(graph, builder.gpu.context)
        after = builder.segment(graph, after, builder.setting("switch_index", self.place, handle, count - 1))
        node, bodies = driver.add_conditional(graph, after, handle, "switch", count, builder.gpu.context)
        for body, branch in zip(bodies, self.branches):
            builder.fill(body, branch, [])
        return [node]


class Builder:
    """Writes items into a graph: captured piece by piece, as conditional nodes cannot be captured."""

    def __init__(self, gpu: Gpu, address: Callable[[Place], int]):
        self.gpu, self.driver, self.address = gpu, gpu.driver, address

    def fill(self, graph: int, items: Sequence, after: list[int]) -> list[int]:
        """Adds items to a graph, each after the one before it; returns the last nodes."""
        for plain, group in itertools.groupby(items, key=lambda item: isinstance(item, Operation)):
            if plain:
                after = self.segment(graph, after, *(self.enqueuing(op) for op in group))
            else:
                for item in group:
                    self.gpu.now(item.name, item.source)
                    after = item.add(self, graph, after)
        return after

    def segment(self, graph: int, after: list[int], *calls: Callable[[], None]) -> list[int]:
        """Adds what calls enqueue to a graph."""
        self.driver.begin_capture_to(self.gpu.stream, graph, after)
        try:
            for call in calls:
                call()
            ends = self.driver.last_nodes(self.gpu.stream)
        except BaseException:
            self.driver.abandon_capture(self.gpu.stream, keep=True)
            raise
        self.driver.end_capture(self.gpu.stream)
        return ends

    def enqueuing(self, op: Operation) -> Callable[[], None]:
        def call():
            self.gpu.now(op.name, op.source)
            op.enqueue(self.gpu, [self.address(place) for place in op.places])
        return call

    def setting(self, name: str, place: Place, handle: int, *more: int) -> Callable[[], None]:
        """What launches the kernel that sets a handle."""
        words = (ctypes.c_int64 * (2 + len(more)))(self.address(place), handle, *more)
        start = ctypes.addressof(words)
        parameters = (ctypes.c_void_p * len(words))(*[start + 8 * k for k in range(len(words))])
        function = condition_kernel(self.gpu, name)

        def call():
            self.driver.launch(function, (1, 1, 1), (1, 1, 1), 0, self.gpu.stream, ctypes.addressof(parameters))
            words[0]   # kept until the launch has read them
        return call


def condition_kernel(gpu: Gpu, name: str) -> int:
    """One of the kernels that set a handle, loaded once per device."""
    found = gpu.functions.get((PTX, name))
    if found is None:
        found = gpu.functions[PTX, name] = gpu.driver.function(gpu.driver.load_module(PTX.encode() + b"\0"), name), 0
    return found[0]


class Refused(Exception):
    """The driver does not take a graph with conditional nodes."""


class Decided(Straight):
    """Items that one graph runs, loops and branches too. `host`: the parts that do the same where the host decides."""

    def __init__(self, items: list, host: list):
        super().__init__()
        self.items, self.host, self.operations = items, host, list(operations(items))
        self.refused = ""   # what the driver said to such a graph

    def as_items(self) -> list:
        """What it is in a larger graph."""
        return self.items

    def run(self, run) -> None:
        if not self.refused:
            try:
                super().run(run)
                return
            except Refused as error:
                self.refused = str(error)
        run.parts(self.host)

    def prepare(self) -> None:
        self.pick_from([*(place for op in self.operations for place in op.places), *places(self.items)])
        self.captures = True

    def graph_for(self, gpu: Gpu, run) -> Captured:
        """A graph for these addresses: conditional nodes cannot be patched."""
        if len(self.graphs) >= MOST_GRAPHS:
            self.graphs.popitem(last=False)[1].free()
        try:
            graph = gpu.driver.new_graph()
            try:
                Builder(gpu, lambda place: place.address(run.bases, run.rounds)).fill(graph, self.items, [])
            except BaseException:
                gpu.driver.free_graph(graph)
                raise
            return instantiated(gpu, graph, [], [])
        except DriverError as error:
            if error.lost or error.out_of_memory:
                raise
            raise Refused(error.name.lower().replace("_", " ")) from error


def operations(items: list) -> Iterator[Operation]:
    """The operations among items, at any depth."""
    for item in items:
        if isinstance(item, Operation):
            yield item
        else:
            for inner in item.inner():
                yield from operations(inner)


def places(items: list) -> Iterator[Place]:
    """Where conditions and indices lie, at any depth."""
    for item in items:
        if not isinstance(item, Operation):
            yield item.place
            for inner in item.inner():
                yield from places(inner)
