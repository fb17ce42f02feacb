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

PASSED = 32   # launches that a step may be moved before: every one is looked at for every step
ALONG_ONE_AXIS = ("flat", "rows", "columns", "squares")   # templates whose grids are


@dataclass(eq=False)
class Group:
    """Steps that may run at the same time, as uses of one kernel; launches: those of each, None where it must stay alone."""

    steps: list
    launches: list[Launch | None]

    @property
    def has_room(self) -> bool:
        """May one more use of the kernel be in the same launch?"""
        count = len(self.steps) + 1
        return count <= MOST_USES and count * (len(parameters(self.steps[0].kernel.source)) + 1) <= MOST_PARAMETERS


def grouped(steps: Sequence, properties: Properties) -> list[Group]:
    """The steps in groups, in an order in which they may run."""
    groups: list[Group] = []
    for step in steps:
        launch = launch_of(step, properties)
        home = None if launch is None else find_home(groups, step, launch)
        if home is None:
            groups.append(Group([step], [launch]))
        else:
            home.steps.append(step)
            home.launches.append(launch)
    return groups


def find_home(groups: list[Group], step, launch: Launch) -> Group | None:
    """The group that a step can join: no step in it or after it touches what the step writes, or writes what it reads."""
    for group in reversed(groups[-PASSED:]):
        if not all(apart(other, step) for other in group.steps):
            return None
        first, its = group.steps[0], group.launches[0]
        if its is not None and its.block == launch.block and first.kernel.source == step.kernel.source and group.has_room:
            return group
    return None


def launch_of(step, properties: Properties) -> Launch | None:
    """The launch of a step that can be a part of another one: of a kernel whose blocks, along one axis, know nothing but how
    many there are. None for others."""
    kernel = getattr(step, "kernel", None)
    if not (isinstance(kernel, GpuKernel) and isinstance(kernel.launch, Launcher) and step.spans) or kernel.by_pointer:
        return None
    return kernel.launch(properties) if kernel.launch.shape.template in ALONG_ONE_AXIS else None


def apart(before, step) -> bool:
    """Can two steps run in any order?"""
    if not isinstance(before, KernelStep):
        return False
    return (before.part and before.part == step.part) or independent(before, step)


def one_launch(group: Group) -> KernelStep:
    """The step of a group's launch: the blocks of one use, then those of the next."""
    steps, launches = group.steps, group.launches
    if len(steps) == 1:
        return steps[0]
    ends = tuple(itertools.accumulate(launch.grid[0] for launch in launches))
    whole = Launch((ends[-1], 1, 1), launches[0].block, max(launch.shared_bytes for launch in launches))
    kernel, sizes = steps[0].kernel, (*(n for step in steps for n in step.sizes), *ends)
    made = GpuKernel(together(kernel.source, len(steps)), kernel.name, sizes, lambda properties: whole)
    return KernelStep(made, tuple([slot for step in steps for slot in step.buffers]), sizes, 1)
