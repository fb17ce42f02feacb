"""Steps that run together: what a thread has written is still in its cache when the next step reads it.

    x @ w; then + bias and relu of every row      a thread adds the bias to the rows that it has just computed

A Span says of each buffer of a step which bytes lie in step with its work: points [i * period, (i + 1) * period) touch bytes
[i * step, (i + 1) * step) alone. Steps one after the other are joined where a piece of the first, cut as it would be anyway,
writes just what a piece of the next reads, and no piece writes what another one of them touches. An argument that a program
writes into shares no memory with another one, which every call makes sure of (writes.py). The pieces depend on sizes alone, and
every kernel is what it is by itself: so are the results.
"""
from __future__ import annotations

from dataclasses import dataclass

PASSED = 6   # steps that one may run before, to be joined: every one is looked at for every step


@dataclass(frozen=True)
class Span:
    """Of one buffer of a step: bytes that it touches, counted from the slot on; `step` as above, or 0; is it written?

    start: how many of those bytes come before the first that is touched, where that is known.
    """

    nbytes: int
    step: int
    written: bool
    start: int = 0


@dataclass(frozen=True)
class Joined:
    """Steps that run piece by piece. links: (step, points in a piece) in order."""

    links: tuple
    pieces: int


def join(steps) -> list:
    """The steps, some of them as Joined: a step with the last that it can be joined with, if those between do not mind."""
    found: list = []
    for step in steps:
        for place in range(len(found) - 1, max(len(found) - 1 - PASSED, -1), -1):
            both = joined(found[place], step)
            if both is not None:
                found[place] = both
                break
            if not independent(found[place], step):
                found.append(step)
                break
        else:
            found.append(step)
    return found


def independent(before, step) -> bool:
    """May a step run before another one that comes before it?"""
    links = [link for link, _ in before.links] if type(before) is Joined else [before]
    if any(not getattr(s, "spans", ()) for s in (*links, step)):
        return False
    return not any((span.written or its.written) and overlap(slot, span, other, its)
                   for link in links for slot, span in places(link) for other, its in places(step))


def joined(before, step) -> Joined | None:
    """Two steps in one; None where they cannot be."""
    if not getattr(step, "spans", ()):
        return None
    if type(before) is not Joined:
        if not getattr(before, "spans", ()) or not 0 < before.grain < before.extent or before.grain % before.period:
            return None
        before = Joined(((before, before.grain),), -(-before.extent // before.grain))
    points = points_in_piece(before, step)
    if not points or -(-step.extent // points) != before.pieces:
        return None
    return Joined((*before.links, (step, points)), before.pieces)


def points_in_piece(before: Joined, step) -> int:
    """How much of a step belongs to a piece of those before it; 0 where it reads or writes beyond the piece."""
    found = 0
    for link, points in before.links:
        for slot, span in places(link):
            for other, its in places(step):
                if not (span.written or its.written) or not overlap(slot, span, other, its):
                    continue
                nbytes = span.step * (points // link.period)
                if slot != other or not nbytes or not its.step or nbytes % its.step:
                    return 0
                wanted = nbytes // its.step * step.period
                if found not in (0, wanted):
                    return 0
                found = wanted
    return found


def places(step) -> zip:
    """The slots of a step with their Spans."""
    return zip(step.buffers, step.spans, strict=True)


def overlap(slot, span: Span, other, its: Span) -> bool:
    """Could two buffers share bytes? Those that move in a loop count as if they did unless they move together."""
    if (slot.kind, slot.index) != (other.kind, other.index):
        return False
    if slot.strides != other.strides:
        return True
    return (slot.offset + span.start < other.offset + its.nbytes
            and other.offset + its.start < slot.offset + span.nbytes)
