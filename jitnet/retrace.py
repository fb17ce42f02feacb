"""Why a function was traced again: the difference between the key of the last trace and the nearest one before it."""
from __future__ import annotations

from dataclasses import dataclass

from . import tree
from .arguments import WEAK, Form, LeafNames
from .methods import InstanceKind
from .static_values import StaticValue
from .text import Text
from .types import ArrayType

KEPT = 256  # traces of a function that the last one is compared with


@dataclass(frozen=True, slots=True, eq=False)
class TraceKey:
    """What one trace was made for."""

    form: Form
    statics: tuple[StaticValue, ...]
    structure: tuple
    types: tuple
    names: LeafNames
    why: str = ""  # why a change of sizes alone needs a trace

    def changes(self, old: TraceKey) -> list[str]:
        """What differs from an older trace, one line per argument."""
        if self.form is not old.form:
            return [f"called as {old.form} before, now as {self.form}"]
        lines = [f"static argument `{name}`: {before!r} became {after!r}"
                 for (_, name), before, after in zip(self.names.plan.statics, old.statics, self.statics) if before != after]
        if self.structure != old.structure:
            return lines + self._structure_changes(old)
        for k, (before, after) in enumerate(zip(old.types, self.types)):
            if before != after:
                lines.append(f"argument `{self.names.paths()[k]}`: {_leaf_change(before, after)}")
        return lines

    def reasons(self, old: TraceKey) -> list[str]:
        """What differs, and why that needs a trace when it is sizes alone."""
        without_sizes = [[(len(shape), *rest) for shape, *rest in key.types] for key in (old, self)]
        lines = self.changes(old)
        if self.why and (self.form, self.structure) == (old.form, old.structure) and without_sizes[0] == without_sizes[1]:
            lines.append(f"every size needs a trace: {self.why}")
        return lines

    def _structure_changes(self, old: TraceKey) -> list[str]:
        before, after = self.names.arguments(old.structure), self.names.arguments(self.structure)
        changed = [(name, before.get(name), s) for name, s in after.items() if before.get(name) != s]
        lines = []
        for name, was, now in changed:
            if _is_instance(was) and _is_instance(now):
                lines += now[2].changes(was[2], name)
            else:
                lines.append(f"argument `{name}`: container {_container(was)} became {_container(now)}")
        return lines


def _is_instance(structure: tuple | None) -> bool:
    return structure is not None and structure[0] == "registered" and isinstance(structure[2], InstanceKind)


def _container(structure: tuple | None) -> str:
    if structure is None:
        return "(not passed)"
    return "an array or number" if structure == tree.LEAF else tree.describe(structure)


def _leaf_change(before: tuple, after: tuple) -> str:
    (shape, dtype, scalar), (new_shape, new_dtype, new_scalar) = before, after
    if scalar is None and new_scalar is None:
        what = "shape" if dtype == new_dtype else "dtype" if shape == new_shape else "type"
        return f"{what} changed, {ArrayType(shape, dtype)} became {ArrayType(new_shape, new_dtype)}"
    return f"{_kind(before)} became {_kind(after)}"


def _kind(leaf: tuple) -> str:
    shape, dtype, scalar = leaf
    if scalar is None:
        return f"an array {ArrayType(shape, dtype)}"
    return f"a Python {scalar.__name__}" if scalar in WEAK else f"a NumPy {scalar.__name__}"


def retrace_text(name: str, traces: list[TraceKey]) -> Text:
    """Why the last trace happened, as text."""
    if not traces:
        return Text(f"`{name}` has not been traced yet")
    if len(traces) == 1:
        return Text(f"`{name}` was traced once: its first call")
    *earlier, last = traces
    nearest = min(reversed(earlier), key=lambda old: _distance(last, old))
    lines = last.reasons(nearest) or ["its programs had been dropped"]
    return Text(f"`{name}` was traced {len(traces)} times, the last time because\n" + "\n".join(f"  {line}" for line in lines))


def _distance(last: TraceKey, old: TraceKey) -> tuple[bool, bool, int]:
    return last.form is not old.form, last.structure != old.structure, len(last.changes(old))


def explain_retrace(function) -> Text:
    """Why the last trace of a compiled function happened: which argument changed, from what to what.

    >>> import numpy as np, jitnet
    >>> f = jitnet.jit(lambda x: x + 1)
    >>> _ = f(np.zeros(3)), f(np.zeros(4))
    >>> jitnet.explain_retrace(f)
    `<lambda>` was traced 2 times, the last time because
      argument `x`: shape changed, f64[3] became f64[4]
    """
    function = getattr(function, "func", function)
    programs = getattr(function, "_programs", None)
    if programs is None:
        raise TypeError(f"explain_retrace: {function!r} is no compiled function; decorate it with `jitnet.jit`")
    return retrace_text(function._name, programs.traces)
