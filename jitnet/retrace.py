"""Why a function was traced again: the difference between the key of the last trace and the nearest one before it."""
from __future__ import annotations

from dataclasses import dataclass

from . import tree
from .arguments import LeafNames, StaticValue
from .text import Text
from .types import ArrayType

KEPT = 256  # traces of a function that the last one is compared with


@dataclass(frozen=True, slots=True, eq=False)
class TraceKey:
    """What one trace was made for."""

    form: tuple
    statics: tuple[StaticValue, ...]
    structure: tuple
    scalars: tuple[int, ...]
    types: tuple
    names: LeafNames

    def changes(self, old: TraceKey) -> list[str]:
        """What differs from an older trace, one line per argument."""
        if self.form != old.form:
            return [f"called as {_form(old.form)} before, now as {_form(self.form)}"]
        lines = [f"static argument `{name}`: {before!r} became {after!r}"
                 for (_, name), before, after in zip(self.names.plan.statics, old.statics, self.statics) if before != after]
        if self.structure != old.structure:
            return lines + self._structure_changes(old)
        for k, (before, after) in enumerate(zip(old.types, self.types)):
            was, now = k in old.scalars, k in self.scalars
            if before != after or was != now:
                lines.append(f"argument `{self.names.paths()[k]}`: {_leaf_change(before, was, after, now)}")
        return lines

    def _structure_changes(self, old: TraceKey) -> list[str]:
        before, after = self.names.arguments(old.structure), self.names.arguments(self.structure)
        changed = [(name, before.get(name), s) for name, s in after.items() if before.get(name) != s]
        return [f"argument `{name}`: container {_container(was)} became {_container(now)}" for name, was, now in changed]


def _container(structure: tuple | None) -> str:
    if structure is None:
        return "(not passed)"
    return "an array or number" if structure == tree.LEAF else tree.describe(structure)


def _form(form: tuple) -> str:
    args, kwargs = form
    return "(" + ", ".join([name for name, _ in args] + [f"{name}=" for name, _ in kwargs]) + ")"


def _leaf_change(before: tuple, was_scalar: bool, after: tuple, is_scalar: bool) -> str:
    (shape, dtype, weak), (new_shape, new_dtype, new_weak) = before, after
    if weak is None and new_weak is None and was_scalar == is_scalar:
        old_text, new_text = ArrayType(shape, dtype), ArrayType(new_shape, new_dtype)
        what = "shape" if dtype == new_dtype else "dtype" if shape == new_shape else "type"
        return f"{what} changed, {old_text} became {new_text}"
    return f"{_kind(before, was_scalar)} became {_kind(after, is_scalar)}"


def _kind(leaf: tuple, scalar: bool) -> str:
    shape, dtype, weak = leaf
    if weak is not None:
        return f"a Python {weak.__name__}"
    return f"a NumPy scalar {ArrayType(shape, dtype)}" if scalar else f"an array {ArrayType(shape, dtype)}"


def retrace_text(name: str, traces: list[TraceKey]) -> Text:
    """Why the last trace happened, as text."""
    if not traces:
        return Text(f"`{name}` has not been traced yet")
    if len(traces) == 1:
        return Text(f"`{name}` was traced once: its first call")
    *earlier, last = traces
    nearest = min(reversed(earlier), key=lambda old: _distance(last, old))
    lines = last.changes(nearest) or ["its programs had been dropped"]
    return Text(f"`{name}` was traced {len(traces)} times, the last time because\n" + "\n".join(f"  {line}" for line in lines))


def _distance(last: TraceKey, old: TraceKey) -> tuple[bool, bool, int]:
    return last.form != old.form, last.structure != old.structure, len(last.changes(old))


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
    traces = getattr(function, "_traces", None)
    if traces is None:
        raise TypeError(f"explain_retrace: {function!r} is no compiled function; decorate it with `jitnet.jit`")
    return retrace_text(function._name, traces)
