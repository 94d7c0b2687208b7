"""Which dates and instants a recurrenceTemplate means: against a slow oracle that looks at every day, and one test per
pitfall."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import count, islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.outcome import FhirError
from fhir_server.scheduling.recurrence import WEEKDAYS, WEEKS, occurrences, read_template, template_problems
from fhir_server.scheduling.series import expand, shift_to, shifted
from tests.clinic import appointment
from tests.recurring import part, recurring, template

DAY = timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")

Belongs = Callable[[date], bool]


def months(day: date) -> int:
    return day.year * 12 + day.month


def monday(day: date) -> date:
    return day - day.weekday() * DAY


@st.composite
def patterns(draw: st.DrawFn) -> tuple[date, dict[str, Any], Belongs]:
    """A first date, a template that it fits, and whether another day belongs to it."""
    first = draw(st.dates(date(2024, 1, 1), date(2027, 12, 31)))
    interval = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["daily", "weekly", "month day", "month week", "yearly"]))
    if kind == "daily":
        return first, {"recurrenceType": "d"}, lambda _: True
    if kind == "weekly":
        days = draw(st.sets(st.integers(0, 6))) | {first.weekday()}
        weekly = {WEEKDAYS[day]: True for day in days} | {"weekInterval": interval}
        return (
            first,
            {"recurrenceType": "wk", "weeklyTemplate": weekly},
            lambda day: day.weekday() in days and (monday(day) - monday(first)).days // 7 % interval == 0,
        )
    if kind == "month day":
        return (
            first,
            {"recurrenceType": "mo", "monthlyTemplate": {"dayOfMonth": first.day, "monthInterval": interval}},
            lambda day: day.day == first.day and (months(day) - months(first)) % interval == 0,
        )
    if kind == "month week":
        last = monthrange(first.year, first.month)[1] - first.day < 7
        fourth = (first.day - 1) // 7 < 4
        week = "last" if last and (not fourth or draw(st.booleans())) else list(WEEKS)[(first.day - 1) // 7]
        return (
            first,
            {
                "recurrenceType": "mo",
                "monthlyTemplate": {
                    "nthWeekOfMonth": week,
                    "dayOfWeek": WEEKDAYS[first.weekday()][:3],
                    "monthInterval": interval,
                },
            },
            lambda day: (
                day.weekday() == first.weekday()
                and (months(day) - months(first)) % interval == 0
                and (
                    monthrange(day.year, day.month)[1] - day.day < 7
                    if week == "last"
                    else (day.day - 1) // 7 + 1 == WEEKS[week]
                )
            ),
        )
    return (
        first,
        {"recurrenceType": "a", "yearlyTemplate": {"yearInterval": interval}},
        lambda day: (day.month, day.day) == (first.month, first.day) and (day.year - first.year) % interval == 0,
    )


@given(patterns(), st.integers(1, 6), st.sets(st.integers(2, 8)), st.sets(st.integers(1, 60)))
@settings(max_examples=60)
def test_b11_the_dates_of_every_pattern_are_those_that_a_look_at_each_day_finds(
    pattern: tuple[date, dict[str, Any], Belongs], number: int, without: set[int], days_off: set[int]
) -> None:
    first, parts, belongs = pattern
    closed = [first + days * DAY for days in days_off]
    excluded = {"excludingDate": [str(day) for day in closed], "excludingRecurrenceId": list(without)}
    read = read_template(recurring("2026-03-03T09:00:00Z", **parts, occurrenceCount=number, **excluded))
    assert read is not None
    every = (day for day in (first + days * DAY for days in count()) if belongs(day))
    wanted = [
        (place, day) for place, day in enumerate(islice(every, number), 1) if place not in without and day not in closed
    ]
    assert occurrences(read, first, 100) == wanted


@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo"]),
    st.datetimes(datetime(2017, 1, 1), datetime(2018, 12, 31)),  # noqa: DTZ001 - a wall clock has no zone
    st.integers(10, 600),
)
@settings(max_examples=40)
def test_b11_the_time_of_the_clock_stays_whatever_the_clock_does(name: str, wall: datetime, minutes: int) -> None:
    zone = ZoneInfo(name)
    start = wall.replace(second=0, microsecond=0, tzinfo=zone).astimezone(UTC)
    clock = start.astimezone(zone)
    series = expand(
        recurring(start.isoformat(), "d", {"minutes": minutes}, occurrenceCount=60, timezone=name), zone, 100
    )
    assert [one.number for one in series] == list(range(1, 61))
    assert all(one.end - one.start == timedelta(minutes=minutes) for one in series)
    for days, one in enumerate(series):
        shown = one.start.astimezone(zone)
        wanted = (clock + days * DAY).replace(tzinfo=None)
        exists = wanted == wanted.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None)
        if exists:
            assert shown.replace(tzinfo=None) == wanted
        else:
            before = (one.start - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
            assert before < wanted < shown.replace(tzinfo=None)


def test_b11_nine_o_clock_in_berlin_is_nine_o_clock_after_both_changes_of_the_clock() -> None:
    weekly = {"weekInterval": 4}
    wanted = recurring("2026-03-10T09:00:00+01:00", weeklyTemplate=weekly, occurrenceCount=10)
    starts = [one.start.astimezone(BERLIN) for one in expand(wanted, BERLIN, 100)]
    assert {start.strftime("%a %H:%M") for start in starts} == {"Tue 09:00"}
    assert [f"{start:%m-%d%z}" for start in starts] == [
        *("03-10+0100", "04-07+0200", "05-05+0200", "06-02+0200", "06-30+0200", "07-28+0200"),
        *("08-25+0200", "09-22+0200", "10-20+0200", "11-17+0100"),
    ]


def test_b11_a_time_that_the_clock_skips_is_the_first_instant_after_it_and_one_shown_twice_the_first() -> None:
    skipped = recurring("2026-03-28T02:30:00+01:00", "d", occurrenceCount=3)
    assert [one.start.isoformat()[:16] for one in expand(skipped, BERLIN, 100)] == [
        *("2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"),
    ]
    twice = recurring("2026-10-24T02:30:00+02:00", "d", occurrenceCount=3)
    assert [one.start.isoformat()[:16] for one in expand(twice, BERLIN, 100)] == [
        *("2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"),
    ]


@pytest.mark.parametrize(
    ("parts", "first", "dates"),
    [
        ({"recurrenceType": "wk", "occurrenceCount": 3}, "2026-03-03", ["03-03", "03-10", "03-17"]),
        ({"recurrenceType": "wk", "lastOccurrenceDate": "2026-03-10"}, "2026-03-03", ["03-03", "03-10"]),
        (
            {"recurrenceType": "wk", "lastOccurrenceDate": "2026-03-31", "occurrenceCount": 2},
            "2026-03-03",
            ["03-03", "03-10"],
        ),
        ({"recurrenceType": "mo", "occurrenceCount": 3}, "2026-01-31", ["01-31", "03-31", "05-31"]),
        (
            {"recurrenceType": "wk", "occurrenceDate": ["2026-03-20", "2026-03-11", "2026-03-11"]},
            "2026-03-03",
            ["03-03", "03-11", "03-20"],
        ),
        (
            {"recurrenceType": "d", "occurrenceCount": 4, "excludingDate": "2026-03-04", "excludingRecurrenceId": 3},
            "2026-03-03",
            ["03-03", "03-06"],
        ),
    ],
)
def test_b11_the_ways_to_say_when_a_series_is(parts: dict[str, Any], first: str, dates: list[str]) -> None:
    read = read_template(recurring("2026-03-03T09:00:00Z", **parts))
    assert read is not None
    assert [str(day)[5:] for _, day in occurrences(read, date.fromisoformat(first), 100)] == dates


PLACE = "Appointment.extension[0]"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({}, ""),
        ({"recurrenceType": "h", "occurrenceCount": 2}, ".extension[0]"),
        ({"occurrenceCount": 2, "timezone": "Europe/Nowhere"}, ".extension[2]"),
        ({"lastOccurrenceDate": "2026-05"}, ".extension[1]"),
        ({"occurrenceCount": [2, 3]}, ".extension[2]"),
        ({"occurrenceCount": 2, "everySecond": True}, ".extension[2]"),
        ({"occurrenceCount": 2, "monthlyTemplate": {"monthInterval": 1}}, ".extension[2]"),
        ({"occurrenceCount": 2, "occurrenceDate": "2026-03-10"}, ".extension[1]"),
        ({"occurrenceCount": 2, "weeklyTemplate": {"someday": True}}, ".extension[2].extension[0]"),
        (
            {"recurrenceType": "a", "occurrenceCount": 2, "yearlyTemplate": {"yearInterval": True}},
            ".extension[2].extension[0]",
        ),
        *(
            ({"recurrenceType": "mo", "occurrenceCount": 2, "monthlyTemplate": monthly}, f".extension[2]{inner}")
            for monthly, inner in (
                ({"dayOfMonth": 3}, ""),
                ({"dayOfMonth": 32, "monthInterval": 1}, ".extension[0]"),
                ({"nthWeekOfMonth": "first", "monthInterval": 1}, ""),
                ({"nthWeekOfMonth": "fifth", "dayOfWeek": "tue", "monthInterval": 1}, ".extension[0]"),
                ({"nthWeekOfMonth": "first", "dayOfWeek": "tue", "dayOfMonth": 3, "monthInterval": 1}, ""),
            )
        ),
    ],
)
def test_b11_a_template_that_is_not_right_is_refused_at_its_place(wrong: dict[str, Any], where: str) -> None:
    problems = template_problems(recurring("2026-03-03T09:00:00Z", **wrong))
    assert f"{PLACE}{where}" in [place for issue in problems for place in issue.expression], problems
    assert {issue.problem for issue in problems} == {"not-recurring"}


def test_b11_an_appointment_has_one_template() -> None:
    twice = appointment(extension=[template(occurrenceCount=2), template(occurrenceCount=3)])
    assert [issue.expression for issue in template_problems(twice)] == [("Appointment.extension[1]",)]
    no_value = {**template(occurrenceCount=2)}
    no_value["extension"] = [*no_value["extension"], {**part("timezone", "UTC"), "valueCodeableConcept": None}]
    assert [issue.expression for issue in template_problems(appointment(extension=[no_value]))] == [
        ("Appointment.extension[0].extension[2]",)
    ]


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"recurrenceType": "d", "occurrenceCount": 101}, "series-too-long"),
        ({"recurrenceType": "d", "lastOccurrenceDate": "2026-06-11"}, "series-too-long"),
        ({"occurrenceDate": [str(date(2026, 3, 4) + days * DAY) for days in range(100)]}, "series-too-long"),
        ({"recurrenceType": "a", "occurrenceCount": 5, "yearlyTemplate": {"yearInterval": 400}}, "too-far-away"),
        ({"occurrenceDate": "9999-12-31"}, "too-far-away"),
        ({"occurrenceCount": 2, "weeklyTemplate": {"monday": True}}, "not-recurring"),
        ({"occurrenceCount": 2, "excludingRecurrenceId": 1}, "not-recurring"),
        ({"occurrenceDate": "2026-03-02"}, "not-recurring"),
        ({"lastOccurrenceDate": "2026-03-02"}, "not-recurring"),
    ],
)
def test_b11_a_series_that_is_too_long_or_does_not_begin_with_its_first_is_refused(
    parts: dict[str, Any], problem: str
) -> None:
    read = read_template(recurring("2026-03-03T09:00:00Z", **parts))
    assert read is not None
    with pytest.raises(FhirError) as refused:
        occurrences(read, date(2026, 3, 3), 100)
    assert (refused.value.status, refused.value.issues[0].problem) == (422, problem)
    assert refused.value.issues[0].expression == (PLACE,)


def test_b11_a_hundred_occurrences_are_a_series() -> None:
    read = read_template(recurring("2026-03-03T09:00:00Z", "d", lastOccurrenceDate="2026-06-10"))
    assert read is not None
    assert len(occurrences(read, date(2026, 3, 3), 100)) == 100


def test_b11_a_shift_keeps_each_date_and_gives_the_new_time_of_the_clock() -> None:
    before, after = appointment("2026-03-24T09:00:00+01:00"), appointment("2026-03-31T09:00:00+02:00")
    to = [datetime.fromisoformat(f"2026-03-25T{time}:00+01:00") for time in ("10:15", "11:00")]
    shift = shift_to(before, *to, BERLIN)
    moved = shifted(after, shift)
    assert (moved["start"], moved["end"]) == ("2026-04-01T10:15:00+02:00", "2026-04-01T11:00:00+02:00")
