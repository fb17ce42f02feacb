"""The passes in order: from a traced graph to a graph of kernels."""
from __future__ import annotations

import functools
from collections.abc import Callable

from ..ir import Graph
from . import run_passes
from .epilogue import relu
from .fuse import fuse
from .relu_masks import relu_masks
from .split import split_reductions
from .split_products import split_products
from .turn import turn_reductions


def pipeline(graph: Graph, gpu: bool = False,
             before: tuple[str, Callable[[Graph], Graph]] | None = None) -> list[tuple[str, Graph]]:
    """The graph after every pass, by name, from the traced one to the one of kernels, of a CPU or of a GPU.

    before: (name, pass) of what a target does before equations become kernels.
    """
    stages = [("trace", graph), *run_passes(graph, gpu)]
    ends = (("turn_reductions", turn_reductions), ("fuse", functools.partial(fuse, gpu=gpu)),
            ("split_reductions", functools.partial(split_reductions, gpu=gpu)))
    if not gpu:   # whose library cuts them itself
        ends = (("split_products", split_products), *ends)
    for name, transform in (before, *ends) if before else ends:
        stages.append((name, transform(stages[-1][1])))
    if not gpu:   # there it comes with the epilogues, once products of halves are what they will be
        stages.append(("relu_masks", relu_masks(stages[-1][1], relu)))
    return stages
