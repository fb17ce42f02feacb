"""The passes that run before fusion, in order. Each takes a valid Graph and returns a valid Graph that means the same."""
from __future__ import annotations

from .. import config
from ..ir import Graph, check_graph
from .dead_code import dead_code
from .expand import expand, inline_recomputations

PASSES = (expand, inline_recomputations, dead_code)


def run_passes(graph: Graph) -> list[tuple[str, Graph]]:
    """(name, graph after it) for every pass; under JITNET_CHECK=1 every graph is checked."""
    check = config.switched_on("JITNET_CHECK")
    stages = []
    for transform in PASSES:
        graph = transform(graph)
        if check:
            check_graph(graph)
        stages.append((transform.__name__, graph))
    return stages
