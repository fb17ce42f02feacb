"""Text for people: a str that shows itself as it reads, and columns that line up."""
from __future__ import annotations

from collections.abc import Sequence


class Text(str):
    """A str whose repr is the text itself, so that it reads well at the prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def a_type(value) -> str:
    """`a list`, `an int`: the type of a value with its article."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' or name.lower().startswith('nd') else 'a'} {name}"


def short_number(value: int) -> str:
    """An integer in decimal digits, or in words where these are too many to read."""
    return str(value) if value.bit_length() <= 128 else f"an integer of {value.bit_length()} bits"


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = (), gap: str = "  ") -> list[str]:
    """The rows as lines with their columns lined up, those numbered in `right` at their right ends."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = [f"{cell:>{width}}" if k in right else f"{cell:<{width}}" for k, (cell, width) in enumerate(zip(row, widths))]
        lines.append(gap.join(cells).rstrip())
    return lines


def size_text(nbytes: int) -> str:
    """`640 B`, `1.5 kB`, `64.0 MB`"""
    if nbytes < 1000:
        return f"{nbytes} B"
    value = float(nbytes)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"
