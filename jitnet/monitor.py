"""Monitor: figures of the outputs, weights and gradients of executors, every few batches."""
from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable

from .nd.ndarray import NDArray


def _norm(x: NDArray) -> NDArray:
    return x.norm() / math.sqrt(x.size)


class Monitor:
    """Gathers `stat_func` of every array whose name matches `pattern`, each `interval` batches, between `tic` and `toc`.

    stat_func: an NDArray to an NDArray or a list of them, by default the norm over the root of the size. sort: by name.
    monitor_all: inputs of operators too.
    """

    def __init__(self, interval: int, stat_func: Callable | None = None, pattern: str = ".*", sort: bool = False,
                 monitor_all: bool = False):
        self.interval, self.stat_func, self.sort, self.monitor_all = interval, stat_func or _norm, sort, monitor_all
        self.re_prog, self.activated, self.step = re.compile(pattern), False, 0
        self.queue: list[tuple[int, str, object]] = []
        self.exes: list = []

    def stat_helper(self, name: str, array: NDArray) -> None:
        """What executors call with their inner outputs."""
        if self.activated and self.re_prog.match(name):
            self.queue.append((self.step, name, self.stat_func(array)))

    def install(self, exe) -> None:
        """Watches an executor. It shows what is inside, which costs time, in the batches whose turn it is."""
        self.exes.append(exe)
        if self.activated:
            exe.set_monitor_callback(self.stat_helper, self.monitor_all)

    def tic(self) -> None:
        """Starts gathering, when this batch's turn has come. Before a forward."""
        if self.step % self.interval == 0:
            self.queue, self.activated = [], True
            for exe in self.exes:
                exe.set_monitor_callback(self.stat_helper, self.monitor_all)
        self.step += 1

    def toc(self) -> list[tuple[int, str, str]]:
        """Ends gathering: [(batch, name, figures as text), ...]."""
        if not self.activated:
            return []
        for exe in self.exes:
            for name, array in (*exe.arg_dict.items(), *exe.aux_dict.items()):
                self.stat_helper(name, array)
            exe.set_monitor_callback(None)
        self.activated = False
        found = sorted(self.queue, key=lambda x: x[1]) if self.sort else self.queue
        self.queue = []
        return [(step, name, _text(value)) for step, name, value in found]

    def toc_print(self) -> None:
        """`toc`, logged."""
        for step, name, value in self.toc():
            logging.info(f"Batch: {step:7d} {name:30s} {value}")


def _text(value) -> str:
    values = [value] if isinstance(value, NDArray) else list(value)
    return "".join(f"{v.asscalar() if v.size == 1 else v.asnumpy()}\t" for v in values)
