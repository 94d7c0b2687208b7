"""The demo network: the same every time, valid, and consistent with its own hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import pytest

from fhir_server import validation
from fhir_server.demo import DAYS, PATIENT, PRACTITIONER, SCHEDULE, network
from fhir_server.outcome import CANONICAL, Json
from fhir_server.resources import ROWS
from fhir_server.scheduling.lifecycle import APPOINTMENT, OCCUPYING

MONDAY = date(2026, 3, 2)
WEEK = [MONDAY + timedelta(days=days) for days in range(7)]
DST_CHANGES = [date(2026, 3, 8), date(2026, 3, 29), date(2026, 11, 1)]


def by_reference(today: date) -> dict[str, Json]:
    return {f"{one['resourceType']}/{one['id']}": one for one in network(today)}


def appointments(today: date) -> list[Json]:
    return [one for one in network(today) if one["resourceType"] == "Appointment"]


def actor(appointment: Json, type: str) -> str:
    references = [one["actor"]["reference"] for one in appointment["participant"]]
    return next(one for one in references if one.startswith(f"{type}/"))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from references(one)


def test_the_same_day_gives_the_same_network() -> None:
    assert network(MONDAY) == network(MONDAY)


def test_every_resource_has_an_id_of_its_own() -> None:
    assert len(by_reference(MONDAY)) == len(network(MONDAY))


@pytest.mark.parametrize("today", [MONDAY, date(2026, 10, 25)])
def test_every_resource_is_valid(today: date) -> None:
    problems = {
        f"{one['resourceType']}/{one['id']}": found
        for one in network(today)
        if (found := validation.check(ROWS[one["resourceType"]], one))
    }
    assert not problems


def test_every_reference_leads_to_an_earlier_resource() -> None:
    seen: set[str] = set()
    for resource in network(MONDAY):
        assert set(references(resource)) <= seen
        seen.add(f"{resource['resourceType']}/{resource['id']}")


@pytest.mark.parametrize("today", WEEK)
def test_appointments_are_in_every_status_on_any_day_of_the_week(today: date) -> None:
    assert {one["status"] for one in appointments(today)} == set(APPOINTMENT)


@pytest.mark.parametrize("today", WEEK)
def test_patients_are_there_today(today: date) -> None:
    there = [one["start"] for one in appointments(today) if one["status"] in ("arrived", "checked-in")]
    assert there
    assert {datetime.fromisoformat(start).date() for start in there} == {today}


def test_there_are_two_zones_and_a_dozen_people_and_some_hundred_bookings() -> None:
    known = by_reference(MONDAY)
    zones = {
        extension["valueCode"]
        for one in known.values()
        for extension in one.get("extension", ())
        if "valueCode" in extension
    }
    kinds = [reference.partition("/")[0] for reference in known]
    assert zones == {"America/New_York", "Europe/Berlin"}
    assert kinds.count("Practitioner") == 12
    assert kinds.count("Patient") == 30
    assert 200 <= kinds.count("Appointment") <= 600


@pytest.mark.parametrize("today", WEEK)
def test_two_wait_for_booked_times_of_the_practitioner_whom_visitors_meet_first(today: date) -> None:
    waiting = [one for one in appointments(today) if one["status"] == "waitlist"]
    for_times = [one for one in waiting if any("Practitioner/" in each for each in references(one))]
    booked = {one["start"]: one for one in appointments(today) if one["id"].startswith(f"{SCHEDULE}-2")}
    assert len(for_times) == 2
    for one in for_times:
        wanted = one["requestedPeriod"][0]
        taken = booked[wanted["start"]]
        assert (taken["status"], taken["end"]) == ("booked", wanted["end"])
        assert actor(taken, "Practitioner") == actor(one, "Practitioner") == f"Practitioner/{PRACTITIONER}"
        assert actor(taken, "Patient") != actor(one, "Patient")
        assert datetime.fromisoformat(wanted["start"]).date() > today


@pytest.mark.parametrize("today", [MONDAY, *DST_CHANGES])
def test_nobody_is_booked_twice_at_a_time(today: date) -> None:
    busy: dict[str, set[tuple[datetime, datetime]]] = defaultdict(set)
    for one in appointments(today):
        if one["status"] in OCCUPYING:
            times = datetime.fromisoformat(one["start"]), datetime.fromisoformat(one["end"])
            for type in ("Patient", "Practitioner"):
                busy[actor(one, type)].add(times)
    for who, intervals in busy.items():
        for (_, end), (start, _) in pairwise(sorted(intervals)):
            assert end <= start, who


def test_a_group_session_has_several_patients_and_other_visits_one() -> None:
    sharing: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in appointments(MONDAY):
        if "start" in one:
            key = actor(one, "Practitioner"), one["start"]
            sharing[key].add(actor(one, "Patient"))
    groups = {who for (who, _), patients in sharing.items() if len(patients) > 1}
    assert groups == {"Practitioner/sofia-delgado", "Practitioner/noah-brandt"}
    assert max(len(patients) for patients in sharing.values()) <= 10


def hours_on(role: Json, schedule: Json, day: date) -> list[tuple[datetime, datetime]]:
    """The wall-clock windows that begin on a day, worked out the slow way."""
    for extension in schedule.get("extension", ()):
        parts = [(part["url"], part) for part in extension.get("extension", ())]
        if ("date", {"url": "date", "valueDate": day.isoformat()}) in parts:
            windows = [{p["url"]: p["valueTime"] for p in part["extension"]} for url, part in parts if url == "window"]
            return [window_on(day, one["start"], one["end"]) for one in windows]
    return [
        window_on(day, rule["availableStartTime"], rule["availableEndTime"])
        for rule in role["availableTime"]
        if DAYS[day.weekday()] in rule["daysOfWeek"]
    ]


def window_on(day: date, start: str, end: str) -> tuple[datetime, datetime]:
    opens, closes = (datetime.combine(day, time.fromisoformat(one)) for one in (start, end))
    return opens, closes if closes > opens else closes + timedelta(days=1)


def on_leave(role: Json, day: date) -> bool:
    spans = [one["during"] for one in role.get("notAvailable", ())]
    return any(span["start"] <= day.isoformat() <= span["end"] for span in spans)


@pytest.mark.parametrize("today", [MONDAY, *DST_CHANGES])
def test_bookings_lie_in_the_hours_of_their_schedule_and_not_in_leave(today: date) -> None:
    known = by_reference(today)
    for one in appointments(today):
        if "start" not in one:
            continue
        name = one["id"].partition(f"-{one['start'][:4]}")[0]
        role, schedule = known[f"PractitionerRole/{name}"], known[f"Schedule/{name}"]
        start, end = (datetime.fromisoformat(one[bound]).replace(tzinfo=None) for bound in ("start", "end"))
        days = (start.date(), start.date() - timedelta(days=1))
        windows = [window for day in days for window in hours_on(role, schedule, day)]
        assert any(opens <= start and end <= closes for opens, closes in windows), one["id"]
        assert not on_leave(role, start.date()), one["id"]


def test_someone_works_past_midnight() -> None:
    local = [datetime.fromisoformat(one["start"]) for one in appointments(MONDAY) if "lindqvist" in one["id"]]
    assert any(one.hour < 2 for one in local)
    assert any(one.hour >= 18 for one in local)


def test_what_has_happened_has_its_encounter() -> None:
    known = by_reference(MONDAY)
    visits = {
        one["appointment"][0]["reference"]: one["status"]
        for one in known.values()
        if one["resourceType"] == "Encounter"
    }
    expected = {"arrived": "arrived", "checked-in": "in-progress", "fulfilled": "finished"}
    for one in appointments(MONDAY):
        assert visits.get(f"Appointment/{one['id']}") == expected.get(one["status"])


def test_a_cancellation_says_why() -> None:
    for one in appointments(MONDAY):
        assert ("cancelationReason" in one) == (one["status"] == "cancelled")


def test_the_patients_to_try_with_have_no_appointments() -> None:
    known = by_reference(MONDAY)
    assert known[f"PractitionerRole/{SCHEDULE}"]["practitioner"]["reference"] == f"Practitioner/{PRACTITIONER}"
    to_try_with = {f"Patient/{id}" for id in (PATIENT, "ash-linden", "hazel-finch")}
    assert all(known[each]["active"] for each in to_try_with)
    assert not to_try_with & {actor(one, "Patient") for one in appointments(MONDAY)}


def test_a_promotion_has_a_price_and_ends() -> None:
    schedule = by_reference(MONDAY)["Schedule/dr-lena-hoffmann-skin-screening"]
    price = [one for one in schedule["extension"] if one["url"] == f"{CANONICAL}/StructureDefinition/price"]
    assert price[0]["valueMoney"] == {"value": 49, "currency": "EUR"}
    assert schedule["planningHorizon"]["end"] == "2026-04-13"
