"""When a calendar is open and blocked: against a slow oracle that watches the clock, and one test per pitfall."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.outcome import CANONICAL, Json
from fhir_server.scheduling.availability import (
    EARLIEST,
    LATEST,
    Calendar,
    blocked,
    calendar,
    first_instant,
    horizon,
    last_instant,
    local_day,
    openings,
    wall_grid,
    windows,
)
from fhir_server.scheduling.intervals import Interval, clip, normalize

TIMEZONE = "http://hl7.org/fhir/StructureDefinition/timezone"
OVERRIDE = f"{CANONICAL}/StructureDefinition/availability-override"
NOT_AVAILABLE = f"{CANONICAL}/StructureDefinition/not-available"
EFFECTIVE = f"{CANONICAL}/StructureDefinition/effective-period"
CODES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

NEW_YORK, BERLIN, SAO_PAULO = "America/New_York", "Europe/Berlin", "America/Sao_Paulo"
CHANGES = [
    (BERLIN, date(2026, 3, 29)),
    (BERLIN, date(2026, 10, 25)),
    (NEW_YORK, date(2026, 3, 8)),
    (NEW_YORK, date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Asia/Kolkata", date(2026, 3, 8)),
    ("Asia/Kolkata", date(2026, 11, 1)),
    (SAO_PAULO, date(2017, 10, 15)),
    (SAO_PAULO, date(2018, 2, 18)),
    (SAO_PAULO, date(2018, 11, 4)),
    (SAO_PAULO, date(2019, 2, 17)),
]


# Builders


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(start: str, end: str) -> Interval:
    return Interval(utc(start), utc(end))


def zone(name: str) -> Json:
    return {"url": TIMEZONE, "valueCode": name}


def schedule(*extension: Json, actor: Sequence[str] = ("PractitionerRole/r",), **elements: Any) -> Json:
    actors = [{"reference": reference} for reference in actor]
    return {"resourceType": "Schedule", "id": "s", "actor": actors, "extension": list(extension), **elements}


def role(*hours: Json, id: str = "r", **elements: Any) -> Json:
    return {"resourceType": "PractitionerRole", "id": id, "availableTime": list(hours), **elements}


def service(*hours: Json, id: str = "h", **elements: Any) -> Json:
    return {"resourceType": "HealthcareService", "id": id, "availableTime": list(hours), **elements}


def location(*hours: Json, id: str = "l", **elements: Any) -> Json:
    found = {"resourceType": "Location", "id": id, **elements}
    return {**found, "hoursOfOperation": list(hours)} if hours else found


def organization(**elements: Any) -> Json:
    return {"resourceType": "Organization", "id": "o", **elements}


def at(*ids: str) -> list[Json]:
    return [{"reference": f"Location/{id}"} for id in ids]


def hours(start: str | None = None, end: str | None = None, *days: str, **elements: Any) -> Json:
    times = {"availableStartTime": start, "availableEndTime": end}
    return {
        **({"daysOfWeek": list(days)} if days else {}),
        **{k: f"{v}:00" for k, v in times.items() if v},
        **elements,
    }


def operating(start: str, end: str, *days: str) -> Json:
    return {
        **({"daysOfWeek": list(days)} if days else {}),
        "openingTime": f"{start}:00",
        "closingTime": f"{end}:00",
    }


def effective(start: str | None = None, end: str | None = None) -> Json:
    period = {key: value for key, value in (("start", start), ("end", end)) if value}
    return {"extension": [{"url": EFFECTIVE, "valuePeriod": period}]}


def override(day: str, *bounds: tuple[str, str]) -> Json:
    opened = [
        {
            "url": "window",
            "extension": [
                {"url": "start", "valueTime": f"{start}:00"},
                {"url": "end", "valueTime": f"{end}:00"},
            ],
        }
        for start, end in bounds
    ]
    return {"url": OVERRIDE, "extension": [{"url": "date", "valueDate": day}, *opened]}


def not_available(**period: str) -> Json:
    return {"url": NOT_AVAILABLE, "extension": [{"url": "during", "valuePeriod": period}]}


def made(
    schedule_: Json | None = None,
    *,
    roles: Sequence[Json] = (),
    services: Sequence[Json] = (),
    locations: Sequence[Json] = (),
    organizations: Sequence[Json] = (),
    default: str = "UTC",
) -> Calendar:
    return calendar(
        schedule_ or schedule(),
        roles=roles,
        services=services,
        locations=locations,
        organizations=organizations,
        default_zone=ZoneInfo(default),
    )


def on(day: str, calendar: Calendar) -> list[str]:
    """The windows that overlap a day of UTC, as text."""
    start = utc(f"{day}T00:00")
    return [
        f"{each.start:%dT%H:%M}-{each.end:%dT%H:%M}" for each in windows(calendar, start, start + timedelta(days=1))
    ]


def free_of(day: str, calendar: Calendar) -> list[str]:
    """What is blocked on a day of UTC, as text."""
    start = utc(f"{day}T00:00")
    return [
        f"{each.start:%dT%H:%M}-{each.end:%dT%H:%M}" for each in blocked(calendar, start, start + timedelta(days=1))
    ]


# The oracle: every five minutes it reads the clock


STEP = timedelta(minutes=5)


@cache
def watch(name: str, change: date) -> tuple[list[datetime], list[datetime], list[datetime]]:
    """Instants for a week around the change, and at each: the latest the clock has shown so far, and the earliest
    it will show from there on."""
    first = datetime.combine(change, time.min, UTC) - timedelta(days=5)
    instants = [first + number * STEP for number in range(10 * 24 * 12)]
    walls = [instant.astimezone(ZoneInfo(name)).replace(tzinfo=None) for instant in instants]
    shown = list(accumulate(walls, max))
    to_come = list(accumulate(reversed(walls), min))[::-1]
    return instants, shown, to_come


def watched(name: str, change: date, start: datetime, end: datetime) -> set[datetime]:
    """The instants from when the clock first shows `start` or more until it last shows less than `end`."""
    instants, shown, to_come = watch(name, change)
    return {
        instant
        for instant, latest, earliest in zip(instants, shown, to_come, strict=True)
        if latest >= start and earliest < end
    }


def instants_of(intervals: list[Interval], name: str, change: date, start: datetime, end: datetime) -> set[datetime]:
    starts = [each.start for each in intervals]
    found = set()
    for instant in watch(name, change)[0]:
        index = bisect_right(starts, instant) - 1
        if start <= instant < end and index >= 0 and instant < intervals[index].end:
            found.add(instant)
    return found


quarter = st.integers(0, 95).map(lambda n: f"{n // 4:02}:{n % 4 * 15:02}")
weekly = st.lists(st.tuples(quarter, quarter, st.sets(st.sampled_from(CODES))), min_size=1, max_size=3)
around = st.integers(-2, 2)


def wall(day: date, clock: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock))


def opened(day: date, start: str, end: str) -> tuple[datetime, datetime]:
    return wall(day, start), wall(day + timedelta(days=start >= end), end)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(CHANGES),
    weekly,
    st.dictionaries(around, st.lists(st.tuples(quarter, quarter), max_size=2), max_size=2),
    st.integers(-36, 36),
    st.integers(1, 40),
)
def test_windows_are_what_someone_who_watches_the_clock_would_say(
    where: tuple[str, date],
    entries: list[tuple[str, str, set[str]]],
    overridden: dict[int, list[tuple[str, str]]],
    from_hour: int,
    length_hours: int,
) -> None:
    name, change = where
    overrides = {change + timedelta(days=n): bounds for n, bounds in overridden.items()}
    expected: set[datetime] = set()
    for day in (change + timedelta(days=n) for n in range(-4, 5)):
        bounds = overrides.get(day)
        if bounds is None:
            bounds = [(s, e) for s, e, days in entries if not days or CODES[day.weekday()] in days]
        for opens, closes in bounds:
            expected |= watched(name, change, *opened(day, opens, closes))

    start = datetime.combine(change, time.min, UTC) + timedelta(hours=from_hour)
    end = start + timedelta(hours=length_hours)
    found = windows(
        made(
            schedule(zone(name), *(override(day.isoformat(), *b) for day, b in overrides.items())),
            roles=[role(*(hours(s, e, *days) for s, e, days in entries))],
        ),
        start,
        end,
    )
    assert found == normalize(found)
    assert instants_of(found, name, change, start, end) == {i for i in expected if start <= i < end}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), around, st.integers(0, 2))
def test_blocked_days_are_whole_local_days(where: tuple[str, date], offset: int, length: int) -> None:
    name, change = where
    first = change + timedelta(days=offset)
    last = first + timedelta(days=length)
    away = {"description": "away", "during": {"start": first.isoformat(), "end": last.isoformat()}}
    start = datetime.combine(change, time.min, UTC) - timedelta(days=3)
    end = start + timedelta(days=7)
    found = blocked(made(schedule(zone(name)), roles=[role(hours(), notAvailable=[away])]), start, end)
    expected = watched(name, change, wall(first, "00:00"), wall(last + timedelta(days=1), "00:00"))
    assert instants_of(found, name, change, start, end) == {i for i in expected if start <= i < end}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), st.integers(-30, 30), st.integers(1, 60))
def test_windows_do_not_depend_on_where_one_looks_from(
    where: tuple[str, date], from_hour: int, length_hours: int
) -> None:
    name, change = where
    found = made(schedule(zone(name)), roles=[role(hours("22:15", "03:30"), hours("02:00", "07:00", "sun", "mon"))])
    middle = datetime.combine(change, time.min, UTC)
    start = middle + timedelta(hours=from_hour)
    end = start + timedelta(hours=length_hours)
    wide = openings(found, middle - timedelta(days=9), middle + timedelta(days=9))
    assert openings(found, start, end) == [each for each in wide if each.start < end and start < each.end]


# Zones and clock changes


def test_a_bound_in_a_gap_moves_to_the_first_instant_after_it() -> None:
    found = made(schedule(zone(NEW_YORK)), roles=[role(hours("02:30", "05:00", "sun"))])
    assert on("2026-03-08", found) == ["08T07:00-08T09:00"]
    found = made(schedule(zone(NEW_YORK)), roles=[role(hours("00:00", "02:30", "sun"))])
    assert on("2026-03-08", found) == ["08T05:00-08T07:00"]


def test_hours_that_a_gap_swallows_are_none() -> None:
    found = made(schedule(zone(NEW_YORK)), roles=[role(hours("02:10", "02:50", "sun"))])
    assert on("2026-03-08", found) == []


def test_hours_in_a_fold_cover_both_times() -> None:
    found = made(schedule(zone(NEW_YORK)), roles=[role(hours("01:15", "01:45", "sun"))])
    assert on("2026-11-01", found) == ["01T05:15-01T06:45"]


def test_an_end_where_the_fold_begins_does_not_open_the_repeated_hour() -> None:
    found = made(schedule(zone(NEW_YORK)), roles=[role(hours("00:00", "01:00", "sun"))])
    assert on("2026-11-01", found) == ["01T04:00-01T05:00"]


@pytest.mark.parametrize(
    ("name", "day", "length_hours"),
    [
        (NEW_YORK, date(2026, 3, 8), 23),
        (NEW_YORK, date(2026, 11, 1), 25),
        (NEW_YORK, date(2026, 11, 2), 24),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        (SAO_PAULO, date(2017, 10, 15), 23),
        (SAO_PAULO, date(2018, 2, 17), 25),
        ("Pacific/Apia", date(2011, 12, 30), 0),
    ],
)
def test_a_whole_day_is_from_local_midnight_to_the_next(name: str, day: date, length_hours: float) -> None:
    midnight = datetime.combine(day, time.min)
    start = first_instant(midnight, ZoneInfo(name))
    end = last_instant(midnight + timedelta(days=1), ZoneInfo(name))
    assert end - start == timedelta(hours=length_hours)


def test_a_day_whose_midnight_does_not_exist_begins_at_one() -> None:
    found = made(schedule(zone(SAO_PAULO)), roles=[role(hours("00:00", "02:00", "sun"))])
    assert on("2017-10-15", found) == ["15T03:00-15T04:00"]


def test_hours_keep_their_wall_clock_time_across_a_change() -> None:
    found = made(schedule(zone(BERLIN)), roles=[role(hours("09:00", "10:00"))])
    assert on("2026-03-28", found) == ["28T08:00-28T09:00"]
    assert on("2026-03-29", found) == ["29T07:00-29T08:00"]


def test_the_day_of_the_week_is_that_of_the_schedules_zone() -> None:
    found = made(schedule(zone("Asia/Kolkata")), roles=[role(hours("00:00", "04:00", "mon"))])
    assert on("2026-03-08", found) == ["08T18:30-08T22:30"]
    assert on("2026-03-09", found) == []


def test_the_zone_is_that_of_the_schedule_else_of_a_location_else_the_default() -> None:
    here = location(extension=[zone(BERLIN)])
    assert made(schedule(zone(NEW_YORK)), locations=[here]).zone.key == NEW_YORK
    assert made(schedule(), locations=[location(id="x"), here]).zone.key == BERLIN
    assert made(schedule(), locations=[location()], default=SAO_PAULO).zone.key == SAO_PAULO


def test_medplums_zone_comes_before_that_of_a_location() -> None:
    extension = {
        "url": "https://medplum.com/fhir/StructureDefinition/SchedulingParameters",
        "extension": [{"url": "timezone", "valueCode": NEW_YORK}],
    }
    here = location(extension=[zone(BERLIN)])
    assert made(schedule(extension), locations=[here]).zone.key == NEW_YORK


def test_a_locations_hours_are_read_by_its_own_clock() -> None:
    found = made(
        schedule(zone(BERLIN)),
        roles=[role(hours("08:00", "23:00"), location=at("l"))],
        locations=[location(operating("09:00", "12:00"), extension=[zone(NEW_YORK)])],
    )
    assert on("2026-01-15", found) == ["15T14:00-15T17:00"]


@pytest.mark.parametrize("name", ["UTC", NEW_YORK, "Asia/Tokyo", "Pacific/Kiritimati"])
@pytest.mark.parametrize("edge", [EARLIEST, LATEST])
def test_the_first_and_the_last_year_do_not_raise(name: str, edge: datetime) -> None:
    away = {"description": "ever", "during": {"start": "0001-01-01", "end": "9999-12-31"}}
    ever = effective("0001", "9999")
    horizon_ = {"start": "0001", "end": "9999-12-31"}
    found = made(
        schedule(zone(name), override("0001-01-01"), override("9999-12-31"), planningHorizon=horizon_),
        roles=[role(hours("20:00", "04:00", **ever), notAvailable=[away])],
    )
    start = edge if edge == EARLIEST else LATEST - timedelta(days=1)
    end = start + timedelta(days=1)
    windows(found, start, end)
    assert blocked(found, start, end)
    assert horizon(found).start < horizon(found).end
    assert all(start <= each < end for each in wall_grid(start, end, ZoneInfo(name), 720, 0))
    assert local_day(edge, ZoneInfo(name)).year in (1, 9999)


# Weekly hours


def test_hours_across_midnight_belong_to_the_day_they_start_on() -> None:
    found = made(roles=[role(hours("22:00", "06:00", "mon"))])
    assert on("2026-03-09", found) == ["09T22:00-10T06:00"]


def test_a_search_after_midnight_sees_the_night_that_began_before_it() -> None:
    found = made(roles=[role(hours("22:00", "06:00", "mon"))])
    assert windows(found, utc("2026-03-10T01:00"), utc("2026-03-10T02:00")) == [
        span("2026-03-09T22:00", "2026-03-10T06:00")
    ]


@pytest.mark.parametrize("end", ["00:00:00", "23:59:59", "23:59:59.999", None])
def test_every_way_to_write_the_end_of_the_day_is_midnight(end: str | None) -> None:
    entry = {"availableStartTime": "20:00:00", **({"availableEndTime": end} if end else {})}
    assert on("2026-03-09", made(roles=[role({"daysOfWeek": ["mon"], **entry})])) == ["09T20:00-10T00:00"]


def test_all_day_wins_over_times() -> None:
    found = made(roles=[role(hours("09:00", "10:00", "mon", allDay=True))])
    assert on("2026-03-09", found) == ["09T00:00-10T00:00"]


def test_without_days_of_week_it_is_every_day() -> None:
    found = made(roles=[role(hours("09:00", "10:00"))])
    assert [bool(on(f"2026-03-{day:02}", found)) for day in range(9, 16)] == [True] * 7


def test_hours_that_cannot_be_read_open_nothing() -> None:
    assert on("2026-03-09", made(roles=[role(hours("09:00", "24:00"))])) == []


def test_hours_of_several_roles_are_united() -> None:
    found = made(roles=[role(hours("09:00", "12:00")), role(hours("11:00", "14:00"), id="q")])
    assert on("2026-03-09", found) == ["09T09:00-09T14:00"]


def test_hours_of_roles_come_before_those_of_services() -> None:
    offered = service(hours("08:00", "20:00"))
    assert on("2026-03-09", made(roles=[role(hours("09:00", "10:00"))], services=[offered])) == ["09T09:00-09T10:00"]
    assert on("2026-03-09", made(roles=[role()], services=[offered])) == ["09T08:00-09T20:00"]


def test_services_open_nothing_for_roles_that_are_inactive() -> None:
    offered = service(hours("08:00", "20:00"))
    assert on("2026-03-09", made(roles=[role(active=False)], services=[offered])) == []
    assert on("2026-03-09", made(roles=[role(hours("09:00", "10:00"), active=False)], services=[offered])) == []


def test_a2_leave_of_one_of_several_services_blocks_only_what_is_for_it() -> None:
    def closed(id: str, start: str, end: str) -> Json:
        during = {"start": f"2026-03-09T{start}:00Z", "end": f"2026-03-09T{end}:00Z"}
        kind = [{"coding": [{"system": "urn:types", "code": id}]}]
        return service(id=id, type=kind, notAvailable=[{"description": "x", "during": during}])

    services = [closed("mri", "09:00", "12:00"), closed("xray", "11:00", "14:00")]
    of_xray = schedule(serviceType=[{"coding": [{"system": "urn:types", "code": "xray"}]}])
    of_both = schedule(actor=("HealthcareService/mri", "HealthcareService/xray"))
    assert free_of("2026-03-09", made(roles=[role()], services=services)) == ["09T11:00-09T12:00"]
    assert free_of("2026-03-09", made(of_xray, roles=[role()], services=services)) == ["09T11:00-09T14:00"]
    assert free_of("2026-03-09", made(of_both, services=services)) == ["09T09:00-09T14:00"]
    assert free_of("2026-03-09", made(roles=[role()], services=services[:1])) == ["09T09:00-09T12:00"]


def test_a_service_that_is_inactive_opens_nothing() -> None:
    assert on("2026-03-09", made(services=[service(hours("08:00", "20:00"), active=False)])) == []


def test_locations_open_by_their_own_hours_where_there_is_nothing_else() -> None:
    room = location(operating("09:00", "17:00"))
    assert on("2026-03-09", made(schedule(actor=["Location/l"]), locations=[room])) == ["09T09:00-09T17:00"]
    assert on("2026-03-09", made(roles=[role(location=at("l"))], locations=[room])) == []


def test_nothing_anywhere_is_never_open() -> None:
    assert on("2026-03-09", made()) == []


def test_a_role_counts_only_within_its_period() -> None:
    found = made(roles=[role(hours("22:00", "23:00"), period={"start": "2026-03-09", "end": "2026-03-10"})])
    assert [bool(on(f"2026-03-{day:02}", found)) for day in (8, 9, 10, 11)] == [False, True, True, False]


def test_hours_are_valid_only_within_their_effective_dates() -> None:
    found = made(
        schedule(zone(NEW_YORK)),
        roles=[role(hours("22:00", "02:00", **effective("2026-03-09", "2026-03-10")))],
    )
    start, end = utc("2026-03-01T00:00"), utc("2026-03-20T00:00")
    assert windows(found, start, end) == [
        span("2026-03-10T02:00", "2026-03-10T06:00"),
        span("2026-03-11T02:00", "2026-03-11T06:00"),
    ]


def test_medplums_availability_replaces_the_hours_of_roles() -> None:
    extension = {
        "url": "https://medplum.com/fhir/StructureDefinition/SchedulingParameters",
        "extension": [
            {
                "url": "availability",
                "extension": [
                    {
                        "url": "availableTime",
                        "extension": [
                            {"url": "daysOfWeek", "valueCode": "mon"},
                            {"url": "availableStartTime", "valueTime": "14:00:00"},
                            {"url": "availableEndTime", "valueTime": "15:00:00"},
                        ],
                    }
                ],
            }
        ],
    }
    found = made(schedule(extension), roles=[role(hours("09:00", "10:00"))])
    assert on("2026-03-09", found) == ["09T14:00-09T15:00"]


# What limits them


def test_a_location_limits_the_hours_of_a_role() -> None:
    found = made(
        roles=[role(hours("08:00", "20:00"), location=at("l"))],
        locations=[location(operating("09:00", "17:00"))],
    )
    assert on("2026-03-09", found) == ["09T09:00-09T17:00"]


def test_a_location_without_hours_takes_those_of_what_it_is_part_of() -> None:
    room = location(partOf={"reference": "Location/clinic"})
    clinic = location(operating("09:00", "17:00"), id="clinic")
    found = made(roles=[role(hours("08:00", "20:00"), location=at("l"))], locations=[room, clinic])
    assert on("2026-03-09", found) == ["09T09:00-09T17:00"]
    found = made(roles=[role(hours("08:00", "20:00"), location=at("l"))], locations=[room])
    assert on("2026-03-09", found) == ["09T08:00-09T20:00"]


def test_locations_that_are_part_of_each_other_do_not_hang() -> None:
    a = location(id="a", partOf={"reference": "Location/b"})
    b = location(id="b", partOf={"reference": "Location/a"})
    found = made(roles=[role(hours("08:00", "09:00"), location=at("a"))], locations=[a, b])
    assert on("2026-03-09", found) == ["09T08:00-09T09:00"]


def test_a_role_at_several_locations_is_open_when_one_of_them_is() -> None:
    found = made(
        roles=[role(hours("08:00", "20:00"), location=at("l", "m"))],
        locations=[location(operating("09:00", "11:00")), location(operating("15:00", "17:00"), id="m")],
    )
    assert on("2026-03-09", found) == ["09T09:00-09T11:00", "09T15:00-09T17:00"]


def test_each_role_is_limited_by_its_own_location() -> None:
    found = made(
        roles=[
            role(hours("08:00", "12:00"), location=at("l")),
            role(hours("12:00", "18:00"), id="q", location=at("m")),
        ],
        locations=[location(operating("09:00", "18:00")), location(operating("08:00", "14:00"), id="m")],
    )
    assert on("2026-03-09", found) == ["09T09:00-09T14:00"]


def test_locations_that_are_actors_are_all_needed() -> None:
    found = made(
        schedule(actor=["PractitionerRole/r", "Location/l", "Location/m"]),
        roles=[role(hours("08:00", "20:00"))],
        locations=[location(operating("09:00", "15:00")), location(operating("11:00", "17:00"), id="m")],
    )
    assert on("2026-03-09", found) == ["09T11:00-09T15:00"]


def test_a_practitioners_role_at_another_clinic_opens_nothing_here() -> None:
    found = made(
        schedule(actor=["Practitioner/smith", "Location/main"]),
        roles=[
            role(hours("09:00", "10:00", "mon"), location=at("main")),
            role(hours("09:00", "10:00", "tue"), id="q", location=at("downtown")),
        ],
        locations=[location(id="main")],
    )
    assert on("2026-03-09", found) == ["09T09:00-09T10:00"]
    assert on("2026-03-10", found) == []


def test_a_location_open_past_midnight_limits_hours_past_midnight() -> None:
    found = made(
        roles=[role(hours("20:00", "06:00", "mon"), location=at("l"))],
        locations=[location(operating("18:00", "02:00", "mon"))],
    )
    assert on("2026-03-10", found) == ["09T20:00-10T02:00"]


# Overrides


def test_an_override_replaces_the_hours_of_its_day() -> None:
    found = made(schedule(override("2026-03-09", ("14:00", "16:00"))), roles=[role(hours("09:00", "12:00"))])
    assert on("2026-03-09", found) == ["09T14:00-09T16:00"]
    assert on("2026-03-10", found) == ["10T09:00-10T12:00"]


def test_an_override_opens_a_day_off() -> None:
    found = made(schedule(override("2026-03-14", ("10:00", "12:00"))), roles=[role(hours("09:00", "12:00", "mon"))])
    assert on("2026-03-14", found) == ["14T10:00-14T12:00"]


def test_an_override_without_windows_closes_only_what_starts_on_its_day() -> None:
    found = made(schedule(override("2026-03-10")), roles=[role(hours("22:00", "06:00"))])
    assert on("2026-03-10", found) == ["09T22:00-10T06:00"]
    assert on("2026-03-11", found) == ["11T22:00-12T06:00"]


def test_an_override_is_not_limited_by_its_location_but_by_blocks() -> None:
    found = made(
        schedule(override("2026-03-09", ("18:00", "20:00")), not_available(start="2026-03-09", end="2026-03-09")),
        roles=[role(hours("09:00", "12:00"), location=at("l"))],
        locations=[location(operating("09:00", "17:00"))],
    )
    assert on("2026-03-09", found) == ["09T18:00-09T20:00"]
    assert free_of("2026-03-09", found) == ["09T00:00-10T00:00"]


def test_what_a_night_has_opened_the_next_day_does_not_open_again() -> None:
    found = made(roles=[role(hours("20:00", "04:00", "mon"), hours("02:00", "12:00", "tue"))])
    assert openings(found, utc("2026-03-09T00:00"), utc("2026-03-11T00:00")) == [
        span("2026-03-09T20:00", "2026-03-10T04:00"),
        span("2026-03-10T04:00", "2026-03-10T12:00"),
    ]
    assert on("2026-03-10", found) == ["09T20:00-10T12:00"]


def test_windows_of_two_days_that_interlock_are_in_order() -> None:
    found = made(
        roles=[
            role(hours("22:00", "06:00", "mon"), location=at("l")),
            role(hours("01:00", "05:00", "tue"), id="q"),
        ],
        locations=[location(operating("02:00", "03:00", "tue"))],
    )
    assert openings(found, utc("2026-03-09T00:00"), utc("2026-03-11T00:00")) == [
        span("2026-03-10T01:00", "2026-03-10T02:00"),
        span("2026-03-10T02:00", "2026-03-10T03:00"),
        span("2026-03-10T03:00", "2026-03-10T05:00"),
    ]


# The Schedule itself


def test_a_schedule_that_is_inactive_is_never_open() -> None:
    assert on("2026-03-09", made(schedule(active=False), roles=[role(hours("09:00", "12:00"))])) == []


def test_the_planning_horizon_includes_its_last_day() -> None:
    period = {"start": "2026-03-09", "end": "2026-03-10"}
    found = made(schedule(zone(BERLIN), planningHorizon=period), roles=[role(hours("22:00", "23:59"))])
    assert [bool(on(f"2026-03-{day:02}", found)) for day in (8, 9, 10, 11)] == [False, True, True, False]


def test_the_planning_horizon_cuts_a_window_that_straddles_it() -> None:
    period = {"end": "2026-03-09T10:00:00+01:00"}
    found = made(schedule(planningHorizon=period), roles=[role(hours("08:00", "12:00"))])
    assert windows(found, utc("2026-03-09T00:00"), utc("2026-03-10T00:00")) == [
        span("2026-03-09T08:00", "2026-03-09T09:00:01")
    ]


def test_a_planning_horizon_to_the_last_second_of_a_day_holds_the_last_minute() -> None:
    found = made(schedule(planningHorizon={"end": "2026-03-09T23:59:59Z"}), roles=[role(hours("23:00", "00:00"))])
    assert on("2026-03-09", found) == ["09T23:00-10T00:00"]


# Blocks


def test_the_end_day_of_a_block_is_included_and_does_not_bleed_into_the_next() -> None:
    away = {"description": "leave", "during": {"start": "2026-03-09", "end": "2026-03-10"}}
    found = made(schedule(zone("UTC")), roles=[role(hours(), notAvailable=[away])])
    assert [free_of(f"2026-03-{day:02}", found) for day in (8, 11)] == [[], []]
    assert free_of("2026-03-10", found) == ["10T00:00-11T00:00"]


@pytest.mark.parametrize(
    ("period", "blocked_days"),
    [
        ({"start": "2026-03"}, (9, 31)),
        ({"end": "2026-03"}, (1, 9, 31)),
        ({"start": "2026-03", "end": "2026-03"}, (1, 9, 31)),
        ({"start": "2026", "end": "2026"}, (1, 9, 31)),
        ({"end": "2026-03-09"}, (1, 9)),
        ({"start": "2026-03-09"}, (9, 31)),
    ],
)
def test_a_missing_bound_is_open_and_a_partial_date_covers_its_precision(
    period: dict[str, str], blocked_days: tuple[int, ...]
) -> None:
    found = made(services=[service(hours(), notAvailable=[{"description": "x", "during": period}])])
    whole = [day for day in (1, 9, 31) if free_of(f"2026-03-{day:02}", found)]
    assert set(blocked_days) <= set(whole)
    assert bool(free_of("2026-04-01", found)) == ("end" not in period or period["end"] == "2026")


def test_a_block_with_times_is_exact() -> None:
    period = {"start": "2026-03-09T10:00:00+01:00", "end": "2026-03-09T12:30:00+01:00"}
    found = made(organizations=[organization(extension=[not_available(**period)])])
    assert free_of("2026-03-09", found) == ["09T09:00-09T11:30"]


def test_a_leap_second_is_the_next_second() -> None:
    period = {"start": "2016-12-31T23:59:60Z", "end": "2017-01-01T00:30:00Z"}
    assert free_of("2017-01-01", made(schedule(not_available(**period)))) == ["01T00:00-01T00:30"]
    assert free_of("2016-12-31", made(schedule(not_available(**period)))) == []


def test_not_available_without_a_period_blocks_nothing() -> None:
    found = made(roles=[role(hours(), notAvailable=[{"description": "public holidays"}])])
    assert free_of("2026-03-09", found) == []


def test_a_clinic_that_is_closed_closes_the_rooms_that_are_part_of_it() -> None:
    room = location(partOf={"reference": "Location/clinic"})
    clinic = location(id="clinic", extension=[not_available(start="2026-03-09", end="2026-03-09")])
    found = made(roles=[role(hours(), location=at("l"))], locations=[room, clinic])
    assert free_of("2026-03-09", found) == ["09T00:00-10T00:00"]


def test_one_closed_clinic_of_two_closes_only_the_role_that_works_there() -> None:
    closed = location(id="l", extension=[not_available(start="2026-03-09", end="2026-03-09")])
    found = made(
        roles=[
            role(hours("08:00", "12:00"), location=at("l")),
            role(hours("14:00", "18:00"), id="q", location=at("m")),
        ],
        locations=[closed, location(id="m")],
    )
    assert on("2026-03-09", found) == ["09T14:00-09T18:00"]
    assert free_of("2026-03-09", found) == []


def test_blocks_are_clipped_to_what_was_asked() -> None:
    found = made(schedule(not_available(start="2026")))
    asked = span("2026-03-09T10:00", "2026-03-09T11:00")
    assert blocked(found, asked.start, asked.end) == clip([asked], asked.start, asked.end)


# The grid


def test_a_grid_keeps_wall_clock_times_across_a_change() -> None:
    starts = wall_grid(utc("2026-03-07T05:00"), utc("2026-03-10T04:00"), ZoneInfo(NEW_YORK), 120, 60)
    nine = [s for s in starts if s.astimezone(ZoneInfo(NEW_YORK)).hour == 9]
    assert nine == [utc("2026-03-07T14:00"), utc("2026-03-08T13:00"), utc("2026-03-09T13:00")]


def test_a_grid_has_no_time_that_a_gap_skips() -> None:
    starts = wall_grid(utc("2026-03-08T06:00"), utc("2026-03-08T08:00"), ZoneInfo(NEW_YORK), 30, 0)
    assert [f"{s:%H:%M}" for s in starts] == ["06:00", "06:30", "07:00", "07:30"]


def test_a_grid_has_each_time_of_a_fold_once() -> None:
    starts = wall_grid(utc("2026-11-01T05:00"), utc("2026-11-01T08:00"), ZoneInfo(NEW_YORK), 30, 0)
    assert [f"{s:%H:%M}" for s in starts] == ["05:00", "05:30", "07:00", "07:30"]


def test_a_grid_is_anchored_at_local_midnight_in_a_zone_at_half_past() -> None:
    starts = wall_grid(utc("2026-03-08T18:00"), utc("2026-03-08T21:00"), ZoneInfo("Asia/Kolkata"), 60, 0)
    assert [f"{s:%H:%M}" for s in starts] == ["18:30", "19:30", "20:30"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), st.sampled_from((5, 15, 25, 60, 120, 1440)), st.integers(0, 1440 // 5))
def test_a_grid_is_what_the_clock_shows_on_its_minutes(where: tuple[str, date], step: int, fives: int) -> None:
    name, change = where
    offset = fives * 5 % step
    expected: dict[datetime, datetime] = {}
    instants = watch(name, change)[0]
    for instant in instants:
        shown = instant.astimezone(ZoneInfo(name)).replace(tzinfo=None)
        minute = shown.hour * 60 + shown.minute
        if minute >= offset and (minute - offset) % step == 0:
            expected.setdefault(shown, instant)
    assert list(wall_grid(instants[0], instants[-1], ZoneInfo(name), step, fives * 5)) == [
        each for each in sorted(expected.values()) if each < instants[-1]
    ]
