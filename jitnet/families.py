"""The programs of one structure of arguments, by sizes: some compiled the ordinary way, the others made by templates.

    pattern   ::=  sizes that are what they were, sizes that are open
    template  ::=  pattern, make          for sizes of the pattern, unless a guard of its trace fails

When sizes come that were others before, the function is traced with these left open. What comes of it is taken into use only
when, at sizes that were compiled the ordinary way, it gives the very same program.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import config
from .compile import open_plan, open_plan_for_gpu
from .runtime.device import CPU, Device
from .runtime.program import Program
from .scope import Scope
from .symbols import LEAST, open_size
from .templates import ALONE, NoTemplate, Writer, same_program
from .types import ArrayType, known_dtype

MOST_ATTEMPTS = 8   # of one structure: beyond, its guards cut the sizes into too many pieces
MOST_FAILURES = 2   # attempts that gave no template
KEPT = 8            # compiled programs that a family compares with
LOST = "programs of different sizes differ by more than sizes"


@dataclass(frozen=True)
class Pattern:
    """Which sizes of a call are what they were, and which are open: those of one group are equal."""

    fixed: tuple[tuple[int, int], ...]       # (position among all sizes, size)
    groups: tuple[tuple[int, ...], ...]      # positions

    def match(self, dims: tuple[int, ...]) -> list[int] | None:
        """The open sizes, one per group; None when the call is another."""
        if any(dims[k] != n for k, n in self.fixed):
            return None
        sizes = [dims[group[0]] for group in self.groups]
        if any(n < LEAST for n in sizes) or any(dims[k] != n for group, n in zip(self.groups, sizes) for k in group):
            return None
        return sizes


@dataclass(frozen=True, eq=False)
class Template:
    """What makes programs, and what the function returns: its structure and the arguments that it writes into."""

    pattern: Pattern
    make: Callable[..., Program | str | None]
    out_structure: tuple
    written: tuple[int, ...]
    in_place: tuple[int, ...]
    limits: tuple = ()  # arguments that are Python integers, and dtypes that they must fit into

    def program(self, dims: tuple[int, ...]) -> Program | str | None:
        """The program for these sizes; None or ALONE when they are not of its kind."""
        sizes = self.pattern.match(dims)
        if sizes is None:
            return None
        try:
            with np.errstate(all="ignore"):
                return self.make(*sizes)
        except ArithmeticError:   # a division whose guard is still to come
            return None


@dataclass(eq=False)
class Family:
    """The programs of one structure: ranks, dtypes and static values."""

    seen: list[tuple[tuple[int, ...], Program | None]] = field(default_factory=list)   # sizes, program; the last ones
    templates: list[Template] = field(default_factory=list)
    pending: list[tuple[tuple[int, ...], Template]] = field(default_factory=list)   # not proven yet: sizes of the trace
    attempts: int = 0
    failures: int = 0
    reason: str = ""    # why there was no template

    @property
    def why_traced(self) -> str:
        """Why every size of it needs a trace; empty when templates may still come."""
        return self.reason if self.failures >= MOST_FAILURES else ""

    def find(self, dims: tuple[int, ...]) -> tuple[Template, Program] | None:
        """A template and its program for these sizes."""
        for template in self.templates:
            program = template.program(dims)
            if is_program(program):
                return template, program
        return None

    def wanted(self, dims: tuple[int, ...]) -> Pattern | None:
        """What should be open for these sizes: where they were others before; None when nothing is, or it was in vain."""
        if not self.seen or self.failures >= MOST_FAILURES or self.attempts >= MOST_ATTEMPTS:
            return None
        if any(template.program(dims) is ALONE for template in self.templates):
            return None
        if any(is_program(template.program(dims)) for _, template in self.pending):
            return None   # what is compiled now will be its proof
        histories = list(zip(*(d for d, _ in self.seen), dims))
        groups: dict[tuple[int, ...], list[int]] = {}
        for k, history in enumerate(histories):
            if len(set(history)) > 1 and dims[k] >= LEAST:
                groups.setdefault(history, []).append(k)
        taken = {k for group in groups.values() for k in group}
        fixed = tuple((k, n) for k, n in enumerate(dims) if k not in taken)
        return Pattern(fixed, tuple(map(tuple, groups.values()))) if groups else None

    def compiled(self, dims: tuple[int, ...], program: Program, doubt: str = "") -> None:
        """Notes what was compiled the ordinary way, after an open trace had ended in `doubt`."""
        self.seen = [*self.seen[-KEPT:], (dims, program)]
        if doubt:
            self.failed(doubt)
        for own, template in list(self.pending):
            # at the sizes of its own trace, a number in the place of a formula would not show
            if own != dims and is_program(made := template.program(dims)):
                self.pending.remove((own, template))
                if same_program(made, program):
                    self.templates.append(template)
                else:
                    self.failed(LOST)

    def failed(self, reason: str) -> None:
        self.failures, self.reason = self.failures + 1, reason

    def open(self, leaves: Sequence[tuple], pattern: Pattern, trace: Callable, compiling: Callable,
             place: Device = CPU) -> tuple[Template | None, str]:
        """(template, doubt) of a trace whose sizes are left open: the template is yet to be proven, None where there is none;
        doubt says what the trace ended in, as it may at the sizes of this call.

        leaves: (shape, dtype, scalar) each; trace(types) gives the Record of the function traced, and runs user code; what
        compiles runs in the context compiling(). place: the device.
        """
        types, scope, sizes = open_types(leaves, pattern)
        arrays = {k for k, (_, _, scalar) in enumerate(leaves) if scalar is None}
        graph = None
        try:
            record = trace(types)
            graph = record.traced.graph
            if scope.pins:
                raise NoTemplate(f"Python code needs the size as a number at {scope.pins[0].where}")
            with compiling():
                if place is CPU:
                    plan, writer = open_plan(graph, record.written, arrays, scope, sizes), Writer
                else:
                    from .templates_gpu import GpuWriter as writer
                    plan = open_plan_for_gpu(graph, record.written, arrays, place, scope, sizes)
                scope.open = False
                make = writer(plan).function()
            return Template(pattern, make, record.out_structure, record.written, plan.in_place, record.limits), ""
        except Exception as error:  # whatever is wrong with the function shows in the ordinary way, in the terms of this call
            if graph is not None and type(error) is not NoTemplate and config.switched_on("JITNET_CHECK"):
                raise
            if graph is None and type(error) is not NoTemplate:
                return None, f"with its sizes open, it ends in a {type(error).__name__}"
            self.failed(str(error) or type(error).__name__)
            return None, ""
        finally:
            scope.open = False

    def take(self, template: Template, dims: tuple[int, ...]) -> tuple[Template, Program] | None:
        """(template, its program for these sizes) once the template is proven; None when it is not, or not yet."""
        self.attempts += 1
        program = template.program(dims)
        if not is_program(program):
            self.failed("a size decides otherwise when it is looked at again")
            return None
        proofs = [same_program(made, known) for seen, known in self.seen if is_program(made := template.program(seen))]
        if not proofs:   # its guards shut out all that was compiled so far
            self.pending.append((dims, template))
            return None
        if not all(proofs):
            self.failed(LOST)
            return None
        self.templates.append(template)
        return template, program


def is_program(made) -> bool:
    """Whether a template gave a program."""
    return made is not None and made is not ALONE


def open_types(leaves: Sequence[tuple], pattern: Pattern) -> tuple[list[ArrayType], Scope, list]:
    """(types, scope, sizes): the types of leaves (shape, dtype, scalar) with the sizes of a pattern left open."""
    scope, table, sizes, k, types = Scope(), {}, [], 0, []
    dims = [n for shape, _, _ in leaves for n in shape]
    for group in pattern.groups:
        sizes.append(open_size(scope, dims[group[0]]))
        table.update(dict.fromkeys(group, sizes[-1]))
    for shape, dtype, _ in leaves:
        types.append(ArrayType(tuple([table.get(k + i, n) for i, n in enumerate(shape)]), known_dtype(dtype)))
        k += len(shape)
    return types, scope, sizes
