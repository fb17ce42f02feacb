"""Steps that run the same kernel on other arrays, in one launch: what a launch costs is most of the time of small ones.

    p -= rate * g, for each of 100 parameters      7 launches instead of 100
    np.stack(rows)                                 one for 16 rows

A step is moved to the place of an earlier one if nothing between the two reads or writes what it does. What stands in one
launch never depends on anything else in it, and every use of the kernel does what it does alone: so the results are the same.
"""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ...codegen.cuda_launch import Launch
from ...codegen.cuda_names import parameters
from ...codegen.cuda_together import MOST_PARAMETERS, MOST_USES, together
from ..joining import independent
from ..program import KernelStep
from .driver import Properties
from .module import GpuKernel
from .toolchain import Launcher

PASSED = 32   # steps that one may run before: every one is looked at for every step


def grouped(steps: Sequence) -> list[list]:
    """The steps in an order in which they may run; those of one list may run at the same time, and are uses of one kernel."""
    groups: list[list] = []
    for step in steps:
        place = home(groups, step)
        if place is None:
            groups.append([step])
        else:
            groups[place].append(step)
    return groups


def home(groups: list[list], step) -> int | None:
    """The group that a step can join: no step in it or after it touches what the step writes, or writes what it reads."""
    if not joins(step):
        return None
    for place in range(len(groups) - 1, max(len(groups) - 1 - PASSED, -1), -1):
        group = groups[place]
        if not all(apart(other, step) for other in group):
            return None
        if joins(group[0]) and group[0].kernel.source == step.kernel.source and has_room(group):
            return place
    return None


def joins(step) -> bool:
    """Can a step be a part of a launch? Kernels of elementwise work without rows can, whose blocks know of nothing but each
    other."""
    kernel = getattr(step, "kernel", None)
    return (isinstance(kernel, GpuKernel) and isinstance(kernel.launch, Launcher) and kernel.launch.shape.template == "flat"
            and not kernel.by_pointer and bool(step.spans))


def has_room(group: list) -> bool:
    """May one more use of the kernel be in the same launch?"""
    count = len(group) + 1
    return count <= MOST_USES and count * (len(parameters(group[0].kernel.source)) + 1) <= MOST_PARAMETERS


def apart(before, step) -> bool:
    """Can two steps run in any order?"""
    if not isinstance(before, KernelStep):
        return False
    return (before.part and before.part == step.part) or independent(before, step)


@dataclass(frozen=True)
class OneAfterTheOther:
    """The launch of several uses of a kernel, each with blocks of its own; `ends`: of which the next ones begin."""

    ends: tuple[int, ...]
    block: tuple[int, int, int]

    def __call__(self, properties: Properties) -> Launch:
        return Launch((self.ends[-1], 1, 1), self.block)


def one_launch(group: Sequence[KernelStep], properties: Properties) -> KernelStep:
    """The step of a group's launch."""
    if len(group) == 1:
        return group[0]
    launches = [step.kernel.launch(properties) for step in group]
    ends = tuple(itertools.accumulate(launch.grid[0] for launch in launches))
    kernel, sizes = group[0].kernel, tuple([n for step in group for n in step.sizes])
    launch = OneAfterTheOther(ends, launches[0].block)
    made = GpuKernel(together(kernel.source, len(group)), kernel.name, (*sizes, *ends), launch)
    return KernelStep(made, tuple([slot for step in group for slot in step.buffers]), made.sizes, 1)
