"""The passes that run before fusion, in order. Each takes a valid Graph and returns a valid Graph that means the same."""
from __future__ import annotations

from .. import config
from ..ir import Graph, check_graph
from .common_subexpressions import common_subexpressions
from .dead_code import dead_code
from .expand import expand, inline_calls
from .fold import fold
from .hoist import hoist
from .ranking import ranking
from .running import running
from .simplify import simplify
from .widen import widen, widen_all_but_products

# Halves become float32 first: no other pass computes with them.
# Simple equations before equal ones are looked for: x * 1 and x are then the same. What protects recomputations from being
# merged goes right after that, and the second round finds what folding, merging and inlining have brought together. Work
# leaves loops while those recomputations are still calls: they stay where they are.
PASSES = (widen, expand, simplify, fold, common_subexpressions, hoist, inline_calls, simplify, fold, dead_code)
# cuBLASLt multiplies halves, in tensor cores; what runs through NumPy would go to the host and back.
GPU_PASSES = (widen_all_but_products, expand, running, ranking, *PASSES[2:])


def run_passes(graph: Graph, gpu: bool = False) -> list[tuple[str, Graph]]:
    """(name, graph after it) for every pass; under JITNET_CHECK=1 every graph is checked."""
    check = config.switched_on("JITNET_CHECK")
    stages = []
    for transform in GPU_PASSES if gpu else PASSES:
        graph = transform(graph)
        if check:
            check_graph(graph)
        stages.append((transform.__name__, graph))
    return stages
