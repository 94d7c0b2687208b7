"""Half-open intervals of time and the algebra on lists of them.

A list of intervals is *normal* when it is sorted, disjoint and not touching. Every function here that returns
a list returns a normal one when it was given normal ones, in one linear sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """[start, end): start included, end excluded, both aware and in UTC. Empty unless start < end.

    UTC is part of the contract: Python compares and subtracts two datetimes of one zone by their wall clocks.
    """

    start: datetime
    end: datetime


def overlaps(a: Interval, b: Interval) -> bool:
    """True if some instant is in both; touching intervals do not overlap.

    a [====)      b    [====)     overlap
    a [====)      b       [====)  do not
    """
    return a.start < b.end and b.start < a.end


def encloses(a: Interval, b: Interval) -> bool:
    """True if all of b is in a.

    a [========)   b   [====)
    """
    return a.start <= b.start and b.end <= a.end


def contains(a: Interval, instant: datetime) -> bool:
    """True if the instant is in a: its start is, its end is not."""
    return a.start <= instant < a.end


def normalize(intervals: Iterable[Interval]) -> list[Interval]:
    """The normal list that covers the same time as any intervals; empty ones are dropped.

    in   [===)  [=====)[==)
           [==)
    out  [====) [=========)
    """
    normal: list[Interval] = []
    for each in sorted(intervals):
        if not each.start < each.end:
            continue
        if not normal or normal[-1].end < each.start:
            normal.append(each)
        elif normal[-1].end < each.end:
            normal[-1] = Interval(normal[-1].start, each.end)
    return normal


def union(*lists: Iterable[Interval]) -> list[Interval]:
    """The time that is in any of the lists.

    a [====)   b   [====)   union [======)
    """
    return normalize(each for intervals in lists for each in intervals)


def intersect(a: Sequence[Interval], b: Sequence[Interval]) -> list[Interval]:
    """The time that is in both. Both normal.

    a [====)   b   [====)   intersect   [==)
    """
    common: list[Interval] = []
    i = j = 0
    while i < len(a) and j < len(b):
        start, end = max(a[i].start, b[j].start), min(a[i].end, b[j].end)
        if start < end:
            common.append(Interval(start, end))
        if a[i].end <= b[j].end:
            i += 1
        else:
            j += 1
    return common


def subtract(a: Sequence[Interval], b: Sequence[Interval]) -> list[Interval]:
    """The time of a that is not in b. Both normal.

    a [==========)   b    [===)   a-b [==)   [===)
    """
    left: list[Interval] = []
    j = 0
    for each in a:
        start = each.start
        while j < len(b) and b[j].end <= start:
            j += 1
        k = j
        while k < len(b) and b[k].start < each.end:
            if start < b[k].start:
                left.append(Interval(start, b[k].start))
            start = max(start, b[k].end)
            k += 1
        if start < each.end:
            left.append(Interval(start, each.end))
        j = max(j, k - 1)
    return left


def clip(intervals: Iterable[Interval], start: datetime, end: datetime) -> list[Interval]:
    """The time that is in [start, end); intervals that touch stay apart.

    in   [=====)   [==)[====)
    cut     |             |
    out     [==)   [==)[==)
    """
    return [
        Interval(max(each.start, start), min(each.end, end))
        for each in intervals
        if max(each.start, start) < min(each.end, end)
    ]
