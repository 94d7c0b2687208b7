"""Slots: their names, what is offered and why not, and what room is left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.outcome import CANONICAL, Json
from fhir_server.plan import Claim
from fhir_server.scheduling.availability import LATEST, Calendar, calendar, wall_grid
from fhir_server.scheduling.slots import (
    candidates,
    offered_from,
    offered_until,
    parse_slot_id,
    refusals,
    room_left,
    slot_id,
)

CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Asia/Kolkata", date(2026, 3, 8)),
    ("America/Sao_Paulo", date(2017, 10, 15)),
    ("America/Sao_Paulo", date(2018, 2, 18)),
]
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


# Builders


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(start: str, end: str, *days: str) -> Json:
    found: Json = {"availableStartTime": f"{start}:00", "availableEndTime": f"{end}:00"}
    return {**found, "daysOfWeek": list(days)} if days else found


def parameters(**parts: int) -> Json:
    counts = ("capacity", "maximumPerDay")
    return {
        "url": f"{CANONICAL}/StructureDefinition/scheduling-parameters",
        "extension": [
            {"url": url, "valuePositiveInt": value}
            if url in counts
            else {"url": url, "valueDuration": {"value": value, "code": "min"}}
            for url, value in parts.items()
        ],
    }


def not_available(start: str, end: str) -> Json:
    period = {"start": f"{start}:00Z", "end": f"{end}:00Z"}
    return {
        "url": f"{CANONICAL}/StructureDefinition/not-available",
        "extension": [{"url": "during", "valuePeriod": period}],
    }


def made(
    opened: Sequence[Json], *extension: Json, zone: str = "UTC", blocks: Sequence[Json] = (), **elements: Any
) -> Calendar:
    return calendar(
        {"resourceType": "Schedule", "id": "s", "extension": [*extension, *blocks], **elements},
        roles=[{"resourceType": "PractitionerRole", "id": "r", "availableTime": list(opened)}],
        services=[],
        locations=[],
        organizations=[],
        default_zone=ZoneInfo(zone),
    )


def starts(calendar: Calendar, start: str, end: str, minutes: int) -> list[str]:
    return [f"{each.start:%H:%M}" for each in candidates(calendar, utc(start), utc(end), minutes)]


def day(calendar: Calendar, minutes: int) -> list[str]:
    """The starts on Monday, 2026-03-09, by the clock of UTC."""
    return starts(calendar, "2026-03-09T00:00", "2026-03-10T00:00", minutes)


def why(calendar: Calendar, start: str, end: str, now: datetime = LONG_AGO) -> list[str]:
    return refusals(calendar, utc(start), utc(end), now)


# Names


def test_a_slot_is_named_by_schedule_start_in_utc_and_minutes() -> None:
    start = datetime.fromisoformat("2026-03-09T09:30:00+02:00")
    assert slot_id("dr.smith-1", start, 30) == "dr.smith-1.20260309T0730.30"


def test_a_name_can_be_read_back() -> None:
    assert parse_slot_id("dr.smith-1.20260309T0730.30") == ("dr.smith-1", utc("2026-03-09T07:30"), 30)


@given(
    st.from_regex(r"[A-Za-z0-9.-]{1,44}", fullmatch=True),
    st.datetimes(timezones=st.just(UTC)).map(lambda t: t.replace(second=0, microsecond=0)),
    st.integers(1, 9999),
)
def test_every_name_is_an_id_that_reads_back_as_itself(id: str, start: datetime, minutes: int) -> None:
    name = slot_id(id, start, minutes)
    assert name is not None
    assert parse_slot_id(name) == (id, start, minutes)


def test_an_id_longer_than_64_cannot_be_named() -> None:
    assert slot_id("a" * 47, utc("2026-03-09T07:30"), 30) == f"{'a' * 47}.20260309T0730.30"
    assert slot_id("a" * 48, utc("2026-03-09T07:30"), 30) is None


def test_a_start_within_a_minute_cannot_be_named() -> None:
    assert slot_id("s", utc("2026-03-09T07:30:30"), 30) is None


@pytest.mark.parametrize(
    "id",
    [
        "",
        "s",
        "20260309T0730.30",
        ".20260309T0730.30",
        "s.20260309T0730.030",
        "s.20260309T0730.0",
        "s.20260230T0730.30",
        "s.20260309T2430.30",
        "s.20260309T0730",
        "s/x.20260309T0730.30",
        "s.20260309T0730.30\n",
        f"{'a' * 48}.20260309T0730.30",
        "s.२०२६०३०९T0730.30",
    ],
)
def test_what_is_no_name_of_a_slot_is_none(id: str) -> None:
    assert parse_slot_id(id) is None


# What is offered


def test_without_alignment_slots_follow_each_other_from_the_start_of_the_window() -> None:
    assert day(made([hours("09:10", "11:00")]), 30) == ["09:10", "09:40", "10:10"]


def test_a_block_does_not_move_the_slots_after_it() -> None:
    found = made([hours("09:00", "12:00")], blocks=[not_available("2026-03-09T09:40", "2026-03-09T09:50")])
    assert day(found, 30) == ["09:00", "10:00", "10:30", "11:00", "11:30"]


def test_with_alignment_slots_start_on_the_local_grid() -> None:
    found = made([hours("09:10", "12:00")], parameters(alignmentInterval=30, alignmentOffset=15))
    assert day(found, 60) == ["09:15", "09:45", "10:15", "10:45"]


def test_a_two_hour_grid_stays_at_its_local_times_when_the_clock_changes() -> None:
    found = made(
        [hours("09:00", "15:00")],
        parameters(alignmentInterval=120, alignmentOffset=60),
        zone="America/New_York",
    )
    assert starts(found, "2026-03-07T00:00", "2026-03-08T00:00", 60) == ["14:00", "16:00", "18:00"]
    assert starts(found, "2026-03-08T00:00", "2026-03-09T00:00", 60) == ["13:00", "15:00", "17:00"]


def test_medplums_alignment_zone_anchors_the_grid() -> None:
    extension = parameters(alignmentInterval=60)
    extension["url"] = "https://medplum.com/fhir/StructureDefinition/SchedulingParameters"
    extension["extension"].append({"url": "alignmentTimezone", "valueCode": "Etc/UTC"})
    found = made([hours("09:00", "12:00")], extension, zone="Asia/Kolkata")
    assert day(found, 60) == ["04:00", "05:00"]


def test_slots_start_on_whole_minutes() -> None:
    found = made([{"availableStartTime": "09:00:30", "availableEndTime": "10:30:00"}])
    assert day(found, 30) == ["09:01", "09:31"]


def test_slots_cross_midnight_inside_one_window() -> None:
    found = made([hours("22:00", "02:00", "sun")])
    assert starts(found, "2026-03-08T22:30", "2026-03-09T12:00", 45) == ["22:45", "23:30", "00:15", "01:00"]


def test_a_slot_ends_by_the_end_that_was_asked() -> None:
    found = made([hours("09:00", "17:00")])
    assert starts(found, "2026-03-09T10:00", "2026-03-09T11:20", 30) == ["10:00", "10:30"]
    assert starts(found, "2026-03-09T10:00", "2026-03-09T10:00", 30) == []


def test_slots_of_a_calendar_that_is_always_open_do_not_depend_on_where_one_looks_from() -> None:
    found = made([hours("00:00", "00:00")])
    late = starts(found, "2026-03-09T22:00", "2026-03-10T01:00", 50)
    assert late == ["22:30", "00:00"]
    assert set(late) <= set(starts(found, "2026-03-01T00:00", "2026-03-20T00:00", 50))


def test_buffers_need_not_lie_inside_the_hours() -> None:
    found = made([hours("09:00", "10:00")], parameters(bufferBefore=30, bufferAfter=30))
    assert day(found, 60) == ["09:00"]


def test_a_calendar_at_the_end_of_time_does_not_raise() -> None:
    found = made([hours("00:00", "00:00")], parameters(alignmentInterval=60))
    assert list(candidates(found, LATEST - timedelta(hours=3), LATEST, 60))
    assert list(candidates(made([hours("00:00", "00:00")]), LATEST - timedelta(hours=3), LATEST, 60))


# Why not


def test_a_slot_that_is_offered_has_no_refusals() -> None:
    assert why(made([hours("09:00", "12:00")]), "2026-03-09T09:30", "2026-03-09T10:00") == []


@pytest.mark.parametrize(
    ("start", "end", "codes"),
    [
        ("2026-03-09T08:30", "2026-03-09T09:00", ["outside-hours"]),
        ("2026-03-09T11:40", "2026-03-09T12:20", ["outside-hours"]),
        ("2026-03-09T09:20", "2026-03-09T09:50", ["off-grid"]),
        ("2026-03-09T11:00", "2026-03-09T11:30", ["blocked"]),
        ("2026-03-09T09:00", "2026-03-09T09:00", ["outside-hours", "off-grid"]),
        ("2026-03-31T09:00", "2026-03-31T09:30", ["outside-horizon"]),
        ("2026-03-31T08:50", "2026-03-31T09:30", ["outside-horizon", "outside-hours"]),
    ],
)
def test_a_refusal_says_the_rule(start: str, end: str, codes: list[str]) -> None:
    found = made(
        [hours("09:00", "12:00")],
        blocks=[not_available("2026-03-09T11:10", "2026-03-09T11:20")],
        planningHorizon={"end": "2026-03-30"},
    )
    assert why(found, start, end) == codes


def test_all_refusals_are_listed_in_a_stable_order() -> None:
    found = made(
        [hours("09:00", "12:00")],
        parameters(alignmentInterval=30),
        blocks=[not_available("2026-04-06T00:00", "2026-04-07T00:00")],
        planningHorizon={"end": "2026-03-30"},
        active=False,
    )
    assert why(found, "2026-04-06T08:10", "2026-04-06T08:40", utc("2026-04-07T00:00")) == [
        "schedule-inactive",
        "outside-horizon",
        "outside-hours",
        "blocked",
        "off-grid",
        "in-the-past",
    ]


def test_off_the_grid_is_judged_in_wall_clock_time() -> None:
    found = made(
        [hours("00:00", "00:00")],
        parameters(alignmentInterval=120, alignmentOffset=60),
        zone="America/New_York",
    )
    assert why(found, "2026-03-08T13:00", "2026-03-08T14:00") == []
    assert why(found, "2026-03-08T14:00", "2026-03-08T15:00") == ["off-grid"]


def test_a_slot_from_one_days_window_into_the_next_is_off_the_grid() -> None:
    found = made([hours("00:00", "00:00")])
    assert why(found, "2026-03-09T23:20", "2026-03-10T00:10") == ["off-grid"]


def test_minimum_notice_refuses_until_it_is_kept() -> None:
    found = made([hours("09:00", "12:00")], parameters(minimumNotice=60))
    asked = ("2026-03-09T10:00", "2026-03-09T10:30")
    assert why(found, *asked, utc("2026-03-09T09:00")) == []
    assert why(found, *asked, utc("2026-03-09T09:01")) == ["too-soon"]
    assert why(found, *asked, utc("2026-03-09T10:01")) == ["in-the-past"]


def test_now_is_not_in_the_past() -> None:
    found = made([hours("09:00", "12:00")])
    assert why(found, "2026-03-09T10:00", "2026-03-09T10:30", utc("2026-03-09T10:00")) == []


def test_the_booking_window_counts_local_days() -> None:
    found = made([hours("09:00", "12:00")], parameters(bookingWindow=2 * 1440), zone="America/New_York")
    now = utc("2026-03-07T15:00")
    assert offered_from(found, now) == now
    assert offered_until(found, now) == utc("2026-03-09T14:00")
    assert why(found, "2026-03-09T13:30", "2026-03-09T14:00", now) == []
    assert why(found, "2026-03-09T14:00", "2026-03-09T14:30", now) == ["too-far"]
    assert offered_until(made([]), now) is None


quarter = st.integers(0, 95).map(lambda n: f"{n // 4:02}:{n % 4 * 15:02}")


@st.composite
def calendars(draw: st.DrawFn) -> tuple[Calendar, datetime]:
    zone, change = draw(st.sampled_from(CHANGES))
    middle = datetime.combine(change, time.min, UTC)
    opened = draw(st.lists(st.builds(hours, quarter, quarter), min_size=1, max_size=2))
    parts = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "alignmentInterval": st.sampled_from((15, 30, 60, 120)),
                "alignmentOffset": st.sampled_from((5, 20)),
            },
        )
    )
    from_ = middle + timedelta(minutes=5 * draw(st.integers(-200, 200)))
    to = from_ + timedelta(minutes=5 * draw(st.integers(1, 60)))
    block = not_available(f"{from_:%Y-%m-%dT%H:%M}", f"{to:%Y-%m-%dT%H:%M}")
    until = {"end": change.isoformat()} if draw(st.booleans()) else {}
    return made(opened, parameters(**parts), zone=zone, blocks=[block], planningHorizon=until), middle


@settings(max_examples=80, deadline=None)
@given(calendars(), st.integers(-36, 12), st.integers(1, 30), st.sampled_from((15, 30, 50, 90)))
def test_a_slot_is_offered_if_and_only_if_there_is_no_refusal(
    made_: tuple[Calendar, datetime], from_hour: int, length_hours: int, minutes: int
) -> None:
    found, middle = made_
    start = middle + timedelta(hours=from_hour)
    end = start + timedelta(hours=length_hours)
    size = timedelta(minutes=minutes)
    asked = [start + timedelta(minutes=5 * n) for n in range(length_hours * 12)]
    asked = [each for each in asked if each + size <= end]
    offered = list(candidates(found, start, end, minutes))
    assert offered == sorted(set(offered))
    assert {slot.start for slot in offered} == {
        each for each in asked if not refusals(found, each, each + size, LONG_AGO)
    }


@settings(max_examples=60, deadline=None)
@given(calendars(), st.sampled_from((15, 30, 90)))
def test_slots_with_an_alignment_all_stand_on_the_grid(made_: tuple[Calendar, datetime], minutes: int) -> None:
    found, middle = made_
    step = found.parameters.alignment_minutes
    if step is None:
        return
    start, end = middle - timedelta(days=1), middle + timedelta(days=2)
    grid = set(wall_grid(start, end, found.zone, step, found.parameters.alignment_offset_minutes))
    assert {slot.start for slot in candidates(found, start, end, minutes)} <= grid


# Room


ZERO = datetime(2026, 3, 9, tzinfo=UTC)


def claim(
    start: int,
    end: int,
    owner: str = "Appointment/x",
    *,
    pool: str | None = None,
    capacity: int = 1,
    units: int = 1,
    before: int = 0,
    after: int = 0,
) -> Claim:
    """[start, end) in minutes is the core."""
    bounds = [ZERO + timedelta(minutes=minute) for minute in (start - before, end + after, start, end)]
    return Claim("Practitioner/p", bounds[0], bounds[1], owner, bounds[2], bounds[3], pool, capacity, units)


def group(start: int, end: int, owner: str, *, capacity: int = 3, **rest: int) -> Claim:
    return claim(start, end, owner, pool="Schedule/g", capacity=capacity, **rest)


def test_an_empty_time_has_room_for_all() -> None:
    assert room_left([], claim(60, 90)) == 1
    assert room_left([], group(60, 90, "Appointment/1", capacity=10)) == 10


def test_claims_that_only_touch_leave_all_room() -> None:
    assert room_left([claim(30, 60, "Appointment/1"), claim(90, 120, "Appointment/2")], claim(60, 90)) == 1


def test_an_overlapping_claim_without_a_pool_leaves_none() -> None:
    assert room_left([claim(80, 100, "Appointment/1")], claim(60, 90)) == 0


def test_a_claim_of_the_same_owner_does_not_count() -> None:
    assert room_left([claim(60, 90)], claim(75, 105)) == 1


def test_buffers_that_overlap_leave_no_room() -> None:
    assert room_left([claim(30, 60, "Appointment/1", after=10)], claim(60, 90)) == 0


def test_a_claim_of_another_pool_leaves_no_room() -> None:
    other = claim(60, 90, "Appointment/1", pool="Schedule/other", capacity=3)
    assert room_left([other], group(60, 90, "Appointment/2")) == 0


def test_a_block_leaves_no_room_even_in_the_same_pool() -> None:
    assert room_left([group(60, 90, "Slot/1", capacity=0)], group(60, 90, "Appointment/2")) == 0


def test_a_group_shares_its_time_until_it_is_full() -> None:
    session = [group(60, 90, f"Appointment/{n}", after=10) for n in range(3)]
    assert [room_left(session[:n], group(60, 90, "Appointment/w", after=10)) for n in range(4)] == [
        3,
        2,
        1,
        0,
    ]


def test_units_count_as_so_many() -> None:
    assert room_left([group(60, 90, "Appointment/1", units=2)], group(60, 90, "Appointment/2")) == 1


def test_room_is_never_negative() -> None:
    assert room_left([group(60, 90, "Appointment/1", units=5)], group(60, 90, "Appointment/2")) == 0


def test_sessions_of_one_pool_whose_buffers_collide_leave_no_room() -> None:
    before = group(30, 60, "Appointment/1", after=10)
    assert room_left([before], group(60, 90, "Appointment/2", before=5)) == 0


def test_a_session_whose_buffer_a_later_one_needs_leaves_no_room() -> None:
    later = group(90, 120, "Appointment/1", before=5)
    assert room_left([later], group(60, 90, "Appointment/2", after=10)) == 0


def test_claims_that_overlap_one_after_the_other_count_once() -> None:
    claims = [group(50, 70, "Appointment/1"), group(70, 90, "Appointment/2"), group(65, 95, "Appointment/3")]
    assert room_left(sorted(claims, key=lambda each: each.start), group(60, 90, "Appointment/4")) == 1


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 15), st.integers(1, 3)), max_size=6),
    st.integers(0, 30),
    st.integers(1, 15),
)
def test_room_is_what_the_fullest_minute_leaves(sessions: list[tuple[int, int, int]], start: int, length: int) -> None:
    claims = sorted(
        (
            group(begin, begin + lasts, f"Appointment/{n}", units=units)
            for n, (begin, lasts, units) in enumerate(sessions)
        ),
        key=lambda each: each.start,
    )
    fullest = max(
        sum(units for begin, lasts, units in sessions if begin <= minute < begin + lasts)
        for minute in range(start, start + length)
    )
    wanted = group(start, start + length, "Appointment/wanted", capacity=8)
    assert room_left(claims, wanted) == max(8 - fullest, 0)
