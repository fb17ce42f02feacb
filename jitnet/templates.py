"""A trace with open sizes -> make(*sizes), a Python function that gives the Program for sizes never seen, without a trace.

    make  ::=  guards; the plan of the arena; the steps with their numbers         generated text, run by Python

It gives None where a guard fails, and ALONE where a size happens to be one that others are compared with: a batch of 128 where
128 is a width too.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from .op import Op
from .passes.plan import Arena
from .runtime.cache import Kernel, LazyKernel
from .runtime.joining import Span
from .runtime.program import CallbackKernel, KernelStep, LoopStep, Program, Slot, SwitchStep
from .scope import Guard, Scope
from .sizes import Deferred, is_open
from .symbols import SYMBOLS, SymInt, integer_atom, plain
from .types import ArrayType

PARTS = (Slot, Span, KernelStep, LoopStep, SwitchStep, ArrayType)   # what is made again for other sizes
DATA = (int, float, str, np.dtype, np.generic, np.ndarray, Op, Slot, type(None))
ALONE = "alone"   # a program for this size alone is wanted


class NoTemplate(Exception):
    """A trace cannot be a template; says why."""


class OpenArena(Arena):
    """An arena whose blocks have sizes that are open: it notes what is asked of it, to plan again for other sizes."""

    def __init__(self, scope: Scope, rests: bool = False):
        super().__init__(rests)
        self.scope, self.log = scope, []   # (atom of the block, bytes, is it given back?)

    def allocate(self, nbytes):
        block = integer_atom(self.scope, "block", (), super().allocate(plain(nbytes)), 0)
        ((number,),) = block.terms
        self.log.append((number, nbytes, False))
        return block

    def free(self, offset, nbytes) -> None:
        super().free(plain(offset), plain(nbytes))
        ((number,),) = offset.terms
        self.log.append((number, nbytes, True))


@dataclass(frozen=True)
class Plan:
    """What a program is made of, before its sizes are known."""

    scope: Scope
    sizes: tuple[SymInt, ...]
    arena: OpenArena
    steps: Sequence
    inputs: Sequence[ArrayType]
    outputs: Sequence[ArrayType]
    consts: Sequence
    status: Slot | None
    checks: tuple
    in_place: tuple[int, ...]   # the inputs that it writes into


class Writer:
    """A Plan as the text of a Python function and the objects that the text names."""

    parts: tuple[type, ...] = PARTS

    def __init__(self, plan: Plan):
        self.plan, self.scope = plan, plan.scope
        self.lines: list[str] = []
        self.objects: dict[str, object] = {"ALONE": ALONE} | {kind.__name__: kind for kind in (Arena, *self.parts)}
        self.named: dict[int, tuple[object, str]] = {}   # id of an object -> the object, its name
        self.atoms: dict[int, str] = {n: f"n{k}" for k, s in enumerate(plan.sizes) for (n,) in s.terms}
        self.parameters = ", ".join(self.atoms.values())

    def function(self) -> Callable:
        """make(*sizes) -> Program or None."""
        plan = self.plan
        early, late = [], []
        own = {number for number, _, _ in plan.arena.log}
        for guard in self.scope.guards.values():
            blocks = self.blocks(guard.left) | self.blocks(guard.right)
            if blocks <= own:   # others were asked of a plan that was given up
                (late if blocks else early).append(guard)
        for guard in early:
            self.guard(guard)
        self.lines.append(f"arena = Arena({plan.arena.rests})")
        for number, nbytes, back in plan.arena.log:
            size = self.number(nbytes)
            if back:
                self.lines.append(f"arena.free({self.atoms[number]}, {size})")
            else:
                self.atoms[number] = f"o{number}"
                self.lines.append(f"o{number} = arena.allocate({size})")
        for guard in late:
            self.guard(guard)
        parts = [self.text(tuple(part)) for part in (plan.steps, plan.inputs, plan.outputs)]
        consts = f"({''.join(self.text(c) + ', ' for c in plan.consts)})"
        self.program(", ".join([*parts, "arena.size", consts, self.text(plan.status)]))
        source = f"def make({self.parameters}):\n" + "".join(f"    {line}\n" for line in self.lines)
        exec(compile(source, "<template>", "exec"), self.objects)
        return self.objects["make"]

    def program(self, given: str) -> None:
        """Writes the line that makes the program of steps, inputs, outputs, bytes of the arena, constants and status."""
        self.lines.append(f"return {self.object(Program)}({given}, status_size={max(1, len(self.plan.checks))}, "
                          f"checks={self.object(self.plan.checks)})")

    def guard(self, guard) -> None:
        test = f"{self.text(guard.left)} {guard.op} {self.text(guard.right)}"
        alone = is_one_size(guard) and not guard.outcome
        self.lines.append(f"if {'not ' if guard.outcome else ''}({test}): return {'ALONE' if alone else 'None'}")

    def blocks(self, value) -> set[int]:
        """The blocks of an arena whose places a value depends on."""
        if type(value) is SymInt:
            numbers = [number for product in value.terms for number in product]
        else:
            numbers = [value.number] if type(value) in SYMBOLS else []
        atoms = [(number, self.scope.atoms[number]) for number in numbers]
        return set().union(*({number} if atom.op == "block" else set().union(*map(self.blocks, atom.args))
                             for number, atom in atoms))

    # Values

    def text(self, value) -> str:
        """The expression that gives a value."""
        if type(value) is SymInt:
            return self.number(value)
        if type(value) in SYMBOLS:
            return self.atom(value.number)
        kind = type(value)
        if kind is int or kind is bool or value is None:
            return f"({value})" if kind is int and value < 0 else repr(value)   # -1 ** n is -(1 ** n)
        if not is_open(value):
            if kind is KernelStep and type(value.kernel) is CallbackKernel:
                check_data(value.kernel.function.params)
            return self.object(value)
        if kind is tuple:
            return f"({''.join(self.text(v) + ', ' for v in value)})"
        if kind is list:
            return f"[{', '.join(map(self.text, value))}]"
        if kind is dict:
            return f"{{{', '.join(f'{self.text(k)}: {self.text(v)}' for k, v in value.items())}}}"
        if kind is Deferred:
            return self.call(value)
        if kind is KernelStep and type(value.kernel) is CallbackKernel:
            check_data(value.kernel.function.params)
        if kind in self.parts:
            parts = ", ".join(self.text(getattr(value, f.name)) for f in fields(kind))
            return self.named_once(value, f"{kind.__name__}({parts})")
        raise NoTemplate(f"a {kind.__name__} holds sizes")

    def call(self, value: Deferred) -> str:
        check_data((value.args, value.kwargs))
        args = [self.text(a) for a in value.args] + [f"{k}={self.text(v)}" for k, v in value.kwargs.items()]
        return f"{self.object(value.function)}({', '.join(args)})"

    def named_once(self, value, text: str) -> str:
        """The name of a part that may be asked for again."""
        if id(value) not in self.named:
            name = f"v{len(self.named)}"
            self.lines.append(f"{name} = {text}")
            self.named[id(value)] = value, name
        return self.named[id(value)][1]

    def object(self, value) -> str:
        """The name of an object that is the same for all sizes."""
        if id(value) not in self.named:
            name = f"c{len(self.named)}"
            self.objects[name] = value
            self.named[id(value)] = value, name
        return self.named[id(value)][1]

    def number(self, value) -> str:
        """The expression of an integer."""
        if type(value) is not SymInt:
            return repr(value)
        terms = []
        for product, k in value.terms.items():
            factors = [self.atom(number) for number in product]
            terms.append(" * ".join(factors if k == 1 and factors else [repr(k), *factors]))
        return f"({' + '.join(terms)})" if len(terms) > 1 or "*" in terms[0] else terms[0]

    def atom(self, number: int) -> str:
        """The name of an atom, which is computed where it is first asked for."""
        name = self.atoms.get(number)
        if name is None:
            op, args, _ = self.scope.atoms[number]
            if op == "call":
                text = f"{self.object(args[0])}({', '.join(self.text(a) for a in args[1:])})"
            else:
                a, b = map(self.text, args)
                text = f"{a} if {a} {'<' if op == 'min' else '>'} {b} else {b}" if op in ("min", "max") else f"{a} {op} {b}"
            name = self.atoms[number] = f"a{number}"
            self.lines.append(f"{name} = {text}")
        return name


def is_one_size(guard: Guard) -> bool:
    """Does a guard compare what depends on one size with a number?"""
    if guard.op != "==" or type(guard.left) is not SymInt or type(guard.right) is not int:
        return False
    return len([product for product in guard.left.terms if product]) == 1


def check_data(value) -> None:
    """NoTemplate unless a value is numbers and containers of them: a function or a Graph may hold sizes that nobody sees."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for part in value:
            check_data(part)
    elif type(value) not in SYMBOLS and not isinstance(value, DATA):
        raise NoTemplate(f"a {type(value).__name__} may hold sizes")


# Comparing

def same_program(p: Program, q: Program) -> bool:
    """Whether two programs do the very same."""
    return (all(getattr(p, name) == getattr(q, name) for name in ("inputs", "outputs", "arena_bytes", "status", "checks"))
            and len(p.consts) == len(q.consts) and all(map(_same_array, p.consts, q.consts))
            and _described(p.steps) == _described(q.steps))


def _same_array(x: np.ndarray, y: np.ndarray) -> bool:
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def _described(value):
    """Steps as tuples that are equal when the steps do the same."""
    if isinstance(value, tuple):
        return tuple(map(_described, value))
    if isinstance(value, (KernelStep, LoopStep, SwitchStep)):
        return type(value).__name__, *(_described(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, (Kernel, LazyKernel)):
        return value.source
    if isinstance(value, CallbackKernel):
        return value.source, value.arguments, repr(getattr(value.function, "params", None))
    if isinstance(value, dict):
        return repr(value)
    if hasattr(type(value), "__dataclass_fields__"):   # kernels of a GPU, and what runs in their places
        return type(value).__name__, *(_described(getattr(value, f.name)) for f in fields(value))
    return value
