"""Operations that follow one another, captured into a CUDA graph that later runs launch at once.

A graph holds addresses. Memory comes back to the same users in a steady program (memory.py, Seat), so a part keeps the
graphs of the last few combinations of addresses. For a new one it takes the graph in which the fewest kernels have other
addresses, and patches these; where in all graphs something else than a kernel moved, it captures anew and has the driver update
the graph used longest ago.
"""
from __future__ import annotations

import collections
import operator
from dataclasses import dataclass

from .operations import Operation, Place
from .stream import Gpu

MOST_GRAPHS = 8   # of one part: parameters that alternate and batches that three blocks take turns to hold need 6


@dataclass
class Captured:
    """A graph ready to be launched, with the node and the addresses of every operation."""

    gpu: Gpu
    graph: int
    executable: int
    nodes: list[int]
    addresses: list[tuple[int, ...]]

    def free(self) -> None:
        """Frees the graph; the device finishes it first if it runs."""
        executable, self.executable = self.executable, 0
        if executable:
            self.gpu.driver.free_executable(executable)
            self.gpu.driver.free_graph(self.graph)

    def __del__(self):   # its program died: it is freed when the device is next used, for here nothing may be called
        if self.executable and not self.gpu.lost:
            self.gpu.dead_graphs.append((self.executable, self.graph))


def instantiated(gpu: Gpu, graph: int, nodes: list[int], addresses: list[tuple[int, ...]]) -> Captured:
    """A graph made ready; it goes away when that fails."""
    try:
        return Captured(gpu, graph, gpu.with_memory(gpu.driver.instantiate, graph), nodes, addresses)
    except BaseException:
        gpu.driver.free_graph(graph)
        raise


class Straight:
    """Operations in order. One alone is enqueued, several become a graph."""

    def __init__(self):
        self.operations: list[Operation] = []
        self.graphs: collections.OrderedDict[tuple, Captured] = collections.OrderedDict()
        self.pick = None   # bases -> those that the operations use
        self.captures = False

    def as_items(self) -> list | None:
        """What it is in a larger graph; None where addresses move with the rounds of a loop that the host runs."""
        return None if any(op.moves for op in self.operations) else self.operations

    def run(self, run) -> None:
        """Enqueues the operations."""
        gpu = run.gpu
        if self.pick is None:
            self.prepare()
        if not self.captures:
            for op in self.operations:
                gpu.now(op.name, op.source)
                gpu.with_memory(op.enqueue, gpu, [place.address(run.bases, run.rounds) for place in op.places])
            return
        if not self.launched(gpu, run.bases):
            captured = self.graphs[self.pick(run.bases)] = self.graph_for(gpu, run)
            gpu.with_memory(gpu.driver.launch_graph, captured.executable, gpu.stream)   # the first launch brings it there

    def launched(self, gpu: Gpu, bases: list[int]) -> bool:
        """Whether a graph for these bases is known; it has been launched then."""
        if not self.captures:
            return False
        key = self.pick(bases)
        captured = self.graphs.get(key)
        if captured is None:
            return False
        self.graphs.move_to_end(key)
        gpu.driver.launch_graph(captured.executable, gpu.stream)
        return True

    def prepare(self) -> None:
        """Finds out which bases decide a graph, and whether there is to be one."""
        self.pick_from([place for op in self.operations for place in op.places])
        self.captures = len(self.operations) > 1 and not any(op.moves for op in self.operations)

    def pick_from(self, places: list[Place]) -> None:
        """Makes the bases of some places decide which graph is launched."""
        used = sorted({place.base for place in places})
        self.pick = operator.itemgetter(*used) if used else lambda bases: ()

    def graph_for(self, gpu: Gpu, run) -> Captured:
        """A graph for other addresses than the ones that are kept."""
        addresses = [tuple([place.address(run.bases, run.rounds) for place in op.places]) for op in self.operations]
        if len(self.graphs) < MOST_GRAPHS:
            return self.capture(gpu, addresses)
        found = [(len(changed), key, changed) for key, old in self.graphs.items()
                 if (changed := self.patches(old.addresses, addresses)) is not None]
        if not found:
            return self.updated(gpu, self.graphs.popitem(last=False)[1], addresses)
        _, key, changed = min(found, key=operator.itemgetter(0))
        old = self.graphs.pop(key)
        try:
            for k in changed:
                op = self.operations[k]
                gpu.now(op.name, op.source)
                op.patch(gpu, old.executable, old.nodes[k], addresses[k])
        except BaseException:
            old.free()   # some of its nodes have new addresses, some old ones
            raise
        old.addresses = addresses
        return old

    def patches(self, before: list[tuple[int, ...]], now: list[tuple[int, ...]]) -> list[int] | None:
        """The operations of a graph that have other addresses now; None when one of them cannot be given others."""
        changed = [k for k, (old, new) in enumerate(zip(before, now)) if old != new]
        return changed if all(self.operations[k].can_patch for k in changed) else None

    def updated(self, gpu: Gpu, old: Captured, addresses: list[tuple[int, ...]]) -> Captured:
        """A graph with other addresses in the place of an old one: captured anew, and made ready by a change of the old one
        where the driver can do that, which is faster than from nothing."""
        try:
            graph, nodes = self.captured(gpu, addresses)
            try:
                done = gpu.driver.update_graph(old.executable, graph)
            except BaseException:
                gpu.driver.free_graph(graph)
                raise
        except BaseException:
            old.free()
            raise
        if done:
            gpu.driver.free_graph(graph)
            old.addresses = addresses   # its nodes are still those of the graph that it was made of
            return old
        old.free()
        return instantiated(gpu, graph, nodes, addresses)

    def capture(self, gpu: Gpu, addresses: list[tuple[int, ...]]) -> Captured:
        """The operations as a graph that is ready."""
        return instantiated(gpu, *self.captured(gpu, addresses), addresses)

    def captured(self, gpu: Gpu, addresses: list[tuple[int, ...]]) -> tuple[int, list[int]]:
        """(graph, the node of each operation): nothing runs while they are enqueued."""
        nodes = []
        gpu.driver.begin_capture(gpu.stream)
        try:
            for op, where in zip(self.operations, addresses):
                gpu.now(op.name, op.source)
                op.enqueue(gpu, where)
                nodes.append(gpu.driver.last_node(gpu.stream))
        except BaseException:
            gpu.driver.abandon_capture(gpu.stream)
            raise
        return gpu.driver.end_capture(gpu.stream), nodes

    def forget(self) -> None:
        """Frees the graphs."""
        while self.graphs:
            self.graphs.popitem()[1].free()
