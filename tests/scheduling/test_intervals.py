"""Intervals against an oracle of minute sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.scheduling.intervals import (
    Interval,
    clip,
    contains,
    encloses,
    intersect,
    normalize,
    overlaps,
    subtract,
    union,
)

ZERO = datetime(2026, 3, 8, tzinfo=UTC)


def at(minute: int) -> datetime:
    return ZERO + timedelta(minutes=minute)


def span(start: int, end: int) -> Interval:
    return Interval(at(start), at(end))


def minutes(intervals: list[Interval]) -> set[int]:
    return {
        minute
        for each in intervals
        for minute in range(int((each.start - ZERO).seconds / 60), int((each.end - ZERO).seconds / 60))
    }


def is_normal(intervals: list[Interval]) -> bool:
    return all(each.start < each.end for each in intervals) and all(a.end < b.start for a, b in pairwise(intervals))


raw = st.lists(st.builds(span, st.integers(0, 60), st.integers(0, 60)), max_size=8)
normal = raw.map(normalize)


@given(raw)
def test_normalizing_keeps_the_minutes(intervals: list[Interval]) -> None:
    assert is_normal(normalize(intervals))
    assert minutes(normalize(intervals)) == minutes(intervals)


@given(normal)
def test_normalizing_what_is_normal_changes_nothing(intervals: list[Interval]) -> None:
    assert normalize(intervals) == intervals


@given(normal, normal)
def test_the_algebra_is_that_of_minute_sets(a: list[Interval], b: list[Interval]) -> None:
    for found, expected in (
        (union(a, b), minutes(a) | minutes(b)),
        (intersect(a, b), minutes(a) & minutes(b)),
        (subtract(a, b), minutes(a) - minutes(b)),
    ):
        assert is_normal(found)
        assert minutes(found) == expected


@given(normal, st.integers(0, 60), st.integers(0, 60))
def test_clipping_keeps_what_is_between(intervals: list[Interval], start: int, end: int) -> None:
    found = clip(intervals, at(start), at(end))
    assert is_normal(found)
    assert minutes(found) == minutes(intervals) & set(range(start, end))


@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 9))
def test_predicates_agree_with_minute_sets(a: int, a_length: int, b: int, b_length: int) -> None:
    one, two = span(a, a + a_length), span(b, b + b_length)
    assert overlaps(one, two) == bool(minutes([one]) & minutes([two]))
    assert encloses(one, two) == (minutes([two]) <= minutes([one]))
    assert contains(one, two.start) == (b in minutes([one]))


def test_touching_intervals_become_one() -> None:
    assert normalize([span(10, 20), span(0, 10)]) == [span(0, 20)]


def test_touching_intervals_do_not_overlap() -> None:
    assert not overlaps(span(0, 10), span(10, 20))


def test_an_end_is_excluded() -> None:
    assert contains(span(0, 10), at(0))
    assert not contains(span(0, 10), at(10))


def test_one_block_that_spans_two_windows_is_cut_out_of_both() -> None:
    assert subtract([span(0, 10), span(20, 30)], [span(5, 25)]) == [span(0, 5), span(25, 30)]


def test_clipping_leaves_touching_windows_apart() -> None:
    assert clip([span(0, 10), span(10, 20)], at(5), at(15)) == [span(5, 10), span(10, 15)]
