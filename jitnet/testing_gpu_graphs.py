"""CUDA graphs of the GPU made of this machine's memory (testing_gpu.py): lists of calls, some of which decide."""
from __future__ import annotations

import ctypes
from collections.abc import Iterator

from .runtime.cuda.driver import DriverError


class FakeGraphs:
    """The methods of `runtime.cuda.driver.Driver` on graphs. A node is [function, arguments, may it be patched, its graphs]."""

    things: dict[int, object]       # handle -> graph, executable and all else
    capturing: dict[int, int]       # stream -> the graph that what is enqueued there goes to
    conditions: dict[int, int]      # handle of a conditional node -> its value
    _handles: Iterator[int]

    def begin_capture(self, stream: int) -> None:
        self._count("begin_capture")
        self._stream(stream)
        self.capturing[stream] = self._new([])

    def last_node(self, stream: int) -> int:
        return len(self.things[self.capturing[stream]])

    def end_capture(self, stream: int) -> int:
        self._count("end_capture")
        return self.capturing.pop(stream)

    def abandon_capture(self, stream: int, keep: bool = False) -> None:
        graph = self.capturing.pop(stream, 0)
        if graph and not keep:
            del self.things[graph]

    def new_graph(self) -> int:
        self._count("new_graph")
        return self._new([])

    def begin_capture_to(self, stream: int, graph: int, after) -> None:
        self._count("begin_capture_to")
        self._stream(stream)
        if list(after) != [len(self.things[graph])][:len(after)] or bool(after) != bool(self.things[graph]):
            raise DriverError("INVALID_VALUE", "not after the last node", "begin_capture_to")
        self.capturing[stream] = graph

    def last_nodes(self, stream: int) -> list[int]:
        nodes = self.things[self.capturing[stream]]
        return [len(nodes)] if nodes else []

    def new_condition(self, graph: int, context: int) -> int:
        self._count("new_condition")
        handle = next(self._handles)
        self.conditions[handle] = 0
        return handle

    def _set_condition(self, shape, words) -> None:
        """The kernels that set the handle of a conditional node: while_condition(place, handle), switch_index(..., last)."""
        address, handle, *last = words
        if last:
            index = ctypes.c_int64.from_address(address).value
            self.conditions[handle] = min(max(index, 0), last[0])
        else:
            self.conditions[handle] = ctypes.c_uint8.from_address(address).value

    def add_conditional(self, graph: int, after, handle: int, kind: str, count: int, context: int) -> tuple[int, list[int]]:
        self._count("add_conditional")
        bodies = [self._new([]) for _ in range(count)]
        graphs = [self.things[body] for body in bodies]

        def run():
            while kind == "while" and self.conditions[handle]:
                run_nodes(graphs[0])
            if kind == "switch" and self.conditions[handle] < count:
                run_nodes(graphs[self.conditions[handle]])

        self.things[graph].append([run, (), False, bodies])
        return len(self.things[graph]), bodies

    def instantiate(self, graph: int) -> int:
        self._count("instantiate")
        return self._new([list(node) for node in self.things[graph]])

    def update_graph(self, executable: int, graph: int) -> bool:
        self._count("update_graph")
        before, now = self.things[executable], self.things[graph]
        if len(before) != len(now) or any(a[2] != b[2] for a, b in zip(before, now)):
            return False
        before[:] = [list(node) for node in now]
        return True

    def launch_graph(self, executable: int, stream: int) -> None:
        self._count("launch_graph")
        self._stream(stream)
        for function, args, *_ in self.things[executable]:
            self._enqueue(stream, function, *args)

    def set_kernel_node(self, executable: int, node: int, function: int, grid, block, shared: int, parameters: int) -> None:
        self._count("set_kernel_node")
        target = self.things[executable][node - 1]
        if not target[2]:
            raise DriverError("INVALID_VALUE", "no kernel node", "set_kernel_node")
        target[0], *args = self._kernel(self._here(), function, (grid, block, shared), parameters)
        target[1] = tuple(args)

    def free_graph(self, graph: int) -> None:
        self._count("free_graph")
        for *_, bodies in self.things.pop(graph):
            for body in bodies:
                self.free_graph(body)

    def free_executable(self, executable: int) -> None:
        self._count("free_executable")
        del self.things[executable]


def run_nodes(nodes: list) -> None:
    """Runs the nodes of a graph that is part of another."""
    for function, args, *_ in nodes:
        function(*args)
