"""Date parameters: all prefixes and precisions, against the formulas of the standard."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.outcome import FhirError
from fhir_server.search.date import Span, parse_span
from tests.search.rows import ask, document, finds

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2026", "2025-12-31T23:00Z", "2026-12-31T23:00Z"),
        ("2026-12", "2026-11-30T23:00Z", "2026-12-31T23:00Z"),
        ("2026-03-29", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("2026-10-25", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        ("2026-01-15T09:30", "2026-01-15T08:30Z", "2026-01-15T08:31Z"),
        ("2026-01-15T09:30Z", "2026-01-15T09:30Z", "2026-01-15T09:31Z"),
        ("2026-01-15T09:30:05+05:30", "2026-01-15T04:00:05Z", "2026-01-15T04:00:06Z"),
        ("2026-01-15T09:30:05 05:30", "2026-01-15T04:00:05Z", "2026-01-15T04:00:06Z"),
        ("2026-01-15T09:30:05.5Z", "2026-01-15T09:30:05.500Z", "2026-01-15T09:30:05.600Z"),
        ("2026-01-15T09:30:05.1234567Z", "2026-01-15T09:30:05.123Z", "2026-01-15T09:30:05.124Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"),
    ],
)
def test_a_date_spans_its_precision(text: str, low: str, high: str) -> None:
    span = parse_span(text, BERLIN)
    assert span is not None
    assert (span.low, span.high) == (moment(low), moment(high))


@pytest.mark.parametrize(
    "text",
    [
        "0001", "0001-01-01", "0001-01-01T00:00:00+14:00", "9999", "9999-12", "9999-12-31",
        "9999-12-31T23:59:59-14:00",
    ],
)  # fmt: skip
def test_the_first_and_last_years_do_not_overflow(text: str) -> None:
    span = parse_span(text, ZoneInfo("Pacific/Kiritimati"))
    assert span is not None
    assert span.low <= span.high
    ask([("date", f"ap{text}")])


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-29", "2026-13", "26", "2026-1-5", "2026-01-15T24:00", "2026-01-15T09", "2026-01-15T09:60",
        "2026-01-15T09:30:61Z", "2026-01-15T09:30+15:00", "0000", "tomorrow", "ge", "xx2026",
        "２０２６", "2026Z",
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(value: str) -> None:
    with pytest.raises(FhirError) as refused:
        ask([("date", value)])
    assert (refused.value.status, refused.value.issues[0].code) == (400, "value")


START = {"start": "2026-01-15T09:00:00Z"}
MIDNIGHT = {"start": "2026-01-16T00:00:00Z"}
STAY = {"period": {"start": "2026-01-10", "end": "2026-01-20"}}
OPEN = {"period": {"start": "2026-01-10"}}
BORN = {"birthDate": "2026-01-15"}
MOVED = {
    "location": [
        {"period": {"start": "2026-01-01", "end": "2026-01-02"}},
        {"period": {"start": "2026-03-01", "end": "2026-03-02"}},
    ]
}


@pytest.mark.parametrize(
    ("query", "resource", "found"),
    [
        ("start=2026-01-15", START, True),
        ("start=2026-01-15", MIDNIGHT, False),
        ("start=gt2026-01-15", MIDNIGHT, True),
        ("start=gt2026-01-15", START, False),
        ("start=ge2026-01-15&start=lt2026-01-16", START, True),
        ("start=ge2026-01-15&start=lt2026-01-16", MIDNIGHT, False),
        ("start=2026-01-15T10:00:00%2B01:00", START, True),
        ("start=2026-01-15T10:00:00+01:00", START, True),
        ("start=le2026-01-15T09:00:00Z", START, True),
        ("start=lt2026-01-15T09:00:00Z", START, False),
        ("start=ne2026-01-15", START, False),
        ("start=ne2026-01-16", START, True),
        ("start=ne2026-01-16", {}, False),
        ("start=2026-01-14,2026-01-15", START, True),
        ("start=sa2026-01-14", START, True),
        ("start=eb2026-01-16", START, True),
        ("birthdate=2026-01-15", BORN, True),
        ("birthdate=2026-01", BORN, True),
        ("birthdate=2026-01-15T09:00", BORN, False),
        ("birthdate=gt2026-01-15T09:00Z", BORN, True),
        ("date=2026-01", STAY, True),
        ("date=2026-01-15", STAY, False),
        ("date=ap2026-01-15", STAY, True),
        ("date=ge2026-01-15", STAY, True),
        ("date=le2026-01-15", STAY, True),
        ("date=gt2026-01-20", STAY, False),
        ("date=sa2026-01-09", STAY, True),
        ("date=eb2026-01-21", STAY, True),
        ("date=eb2026-01-20", STAY, False),
        ("date=gt2500", OPEN, True),
        ("date=eb2500", OPEN, False),
        ("date=lt1900", {"period": {"end": "2026-01-20"}}, True),
        ("date:missing=true", {"period": {"extension": [{"url": "urn:x"}]}}, True),
        ("location-period=2026-03", MOVED, True),
        ("location-period=2026-02", MOVED, False),
        ("location-period=ap2026-02-01", MOVED, False),
        ("location-period=ne2026-03", MOVED, True),
        ("_lastUpdated=2026-01-15", {}, True),
        ("_lastUpdated=ge2026-01-15T12:00:00Z", {}, True),
        ("_lastUpdated=gt2026-01-15T12:00:00Z", {}, False),
        ("_lastUpdated=ne2026-01-15,2026-01-16", {}, False),
        ("death-date=2015", {"deceasedDateTime": "2015-02-07T12:00:00+01:00"}, True),
        ("death-date:missing=true", {"deceasedBoolean": True}, True),
    ],
)
def test_a_date_finds(query: str, resource: dict[str, Any], found: bool) -> None:
    assert finds(query, resource) is found


def test_a_date_without_zone_is_in_the_servers_zone() -> None:
    late = {"start": "2026-01-15T23:30:00Z"}
    assert finds("start=2026-01-16", late, BERLIN)
    assert not finds("start=2026-01-16", late)


def test_a_window_of_instants_is_one_range_of_an_index() -> None:
    assert ask("start=ge2026-01-15&start=lt2026-01-16&start=ge2026-01-14").filter == {
        "index.start.l": {"$gte": moment("2026-01-15T00:00Z"), "$lt": moment("2026-01-16T00:00Z")}
    }


FORMULAS: dict[str, Callable[[Span, Span], bool]] = {
    "eq": lambda s, t: s.low <= t.low and t.high <= s.high,
    "ne": lambda s, t: not (s.low <= t.low and t.high <= s.high),
    "gt": lambda s, t: t.high > s.high,
    "lt": lambda s, t: t.low < s.low,
    "ge": lambda s, t: t.high > s.high or (s.low <= t.low and t.high <= s.high),
    "le": lambda s, t: t.low < s.low or (s.low <= t.low and t.high <= s.high),
    "sa": lambda s, t: t.low >= s.high,
    "eb": lambda s, t: t.high <= s.low,
}

days = st.integers(0, 12).map(lambda day: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day))
precisions = st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"])


@given(st.sampled_from(sorted(FORMULAS)), days, precisions, days, precisions, st.integers(0, 5))
def test_periods_compare_by_the_formulas(
    prefix: str, asked: datetime, precision: str, start: datetime, end_precision: str, length: int
) -> None:
    value, first = asked.strftime(precision), start.strftime("%Y-%m-%d")
    last = (start + timedelta(days=length)).strftime(end_precision)
    search, low, high = (parse_span(text, UTC) for text in (value, first, last))
    assert search and low and high
    expected = FORMULAS[prefix](search, Span(low.low, high.high))
    assert finds([("date", prefix + value)], {"period": {"start": first, "end": last}}) is expected


@given(st.sampled_from(sorted(FORMULAS)), days, precisions, days, st.sampled_from([-1, 0, 1]))
def test_instants_compare_as_intervals_of_a_millisecond(
    prefix: str, asked: datetime, precision: str, at: datetime, shift: int
) -> None:
    value, at = asked.strftime(precision), at + timedelta(milliseconds=shift)
    search = parse_span(value, UTC)
    assert search
    expected = FORMULAS[prefix](search, Span(at, at + timedelta(milliseconds=1)))
    resource = {"start": at.isoformat(timespec="milliseconds")}
    assert finds([("start", prefix + value)], resource) is expected


def test_a_period_without_bounds_reaches_as_far_as_there_is() -> None:
    kept = document(OPEN)["index"]["date"]
    assert kept == {"l": moment("2026-01-10T00:00Z"), "h": datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)}
