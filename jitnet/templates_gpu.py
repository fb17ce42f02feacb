"""Templates of programs for a GPU: make(*sizes) gives a GpuProgram for sizes never seen, without a trace (templates.py)."""
from __future__ import annotations

from dataclasses import dataclass

from .codegen.cuda_launch import LaunchShape
from .runtime.cuda.module import GpuKernel
from .runtime.cuda.operations import Copy, HostOp
from .runtime.cuda.products import Product
from .runtime.cuda.program import GpuProgram
from .runtime.cuda.stream import Gpu
from .runtime.cuda.toolchain import Launcher
from .templates import PARTS, Plan, Writer, check_data


@dataclass(frozen=True)
class GpuPlan(Plan):
    """What a program for a GPU is made of, before its sizes are known. labels: id of a step -> (name, the user's line)."""

    gpu: Gpu
    name: str
    labels: dict


class GpuWriter(Writer):
    """A GpuPlan as the text of a Python function and the objects that the text names."""

    parts = (*PARTS, GpuKernel, LaunchShape, Launcher, Product, Copy, HostOp)

    def program(self, given: str) -> None:
        plan, gpu = self.plan, self.object(self.plan.gpu)
        same = {step: label for step, label in plan.labels.items() if step not in self.named}   # in a part that is not open
        made = [(self.named[step][1], label) for step, label in plan.labels.items() if step in self.named]
        labels = [f"**{self.object(same)}", *(f"id({name}): {self.object(label)}" for name, label in made)]
        self.lines.append(f"return {self.object(GpuProgram)}({gpu}, {plan.name!r}, {given}, {self.object(plan.checks)}, "
                          f"{{{', '.join(labels)}}}, {plan.in_place})")

    def text(self, value) -> str:
        if type(value) is HostOp:
            check_data(value.params)
        return super().text(value)
