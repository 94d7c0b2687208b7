"""$stats against a slow, obvious count of the same Appointments, and the pure parts at the edges of clocks."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from fhir_server.outcome import FhirError
from fhir_server.plan import Counted, Tally
from fhir_server.scheduling.statistics import step_minutes, summarize
from fhir_server.store import Store, counted
from tests.clinic import (
    REASON,
    appointment,
    at,
    location,
    organization,
    patient,
    practitioner,
    role,
    room,
    schedule,
    slot,
)
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome

Json = dict[str, Any]

FEBRUARY = {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"}
ROUTINE = {"system": "http://terminology.hl7.org/CodeSystem/v2-0276", "code": "ROUTINE"}
VIDEO = [{"coding": [{"code": "video"}, {"code": "other"}]}, {"coding": [{"code": "second"}]}]
EXPECTED = ("booked", "arrived", "checked-in", "fulfilled", "noshow")


async def stats(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    """The answer by name: what has parts as a list of (what, count) in order, `what` None for those without."""
    response = await client.get("/Appointment/$stats", params={**FEBRUARY, **query})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = {}
    for one in response.json()["parameter"]:
        if "part" in one:
            parts = {part["name"]: next(value for key, value in part.items() if key != "name") for part in one["part"]}
            found.setdefault(one["name"], []).append((_what(parts), parts["count"]))
        else:
            found[one["name"]] = next(value for key, value in one.items() if key != "name")
    return found


def _what(parts: Json) -> Any:
    named = [value for name, value in parts.items() if name != "count"]
    return (named[0]["code"] if isinstance(named[0], dict) else named[0]) if named else None


def past(id: int, random: Random) -> Json:
    """A visit of some day around February, whatever became of it."""
    start = datetime(2026, 1, 28, tzinfo=UTC) + timedelta(minutes=random.randrange(33 * 24 * 60))
    status = random.choice(["fulfilled", "fulfilled", "noshow", "cancelled", "entered-in-error", "arrived"])
    more: Json = {"id": f"v{id}"}
    if random.random() < 0.5:
        shown = random.choice(["Routine", "As planned"])
        more["appointmentType"] = {"coding": [{**ROUTINE, "display": shown}]}
    if random.random() < 0.5:
        more["serviceType"] = VIDEO
    if status == "cancelled":
        more["cancelationReason"] = random.choice([REASON, {"text": "Ann Ash is ill"}])
    return appointment(start.isoformat().replace("+00:00", "Z"), status=status, **more)


async def transaction(client: httpx.AsyncClient, resources: list[Json]) -> None:
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    response = await client.post("/", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert response.status_code == 200, response.text


async def test_v2_statistics_are_those_of_a_slow_count(clinic: httpx.AsyncClient) -> None:
    random = Random(4)
    everything = [past(id, random) for id in range(60)]
    await transaction(clinic, everything)
    for name in ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York"):
        zone = ZoneInfo(name)
        month = {"start": datetime(2026, 2, 1, tzinfo=zone), "end": datetime(2026, 3, 1, tzinfo=zone)}
        inside = [one for one in everything if month["start"] <= datetime.fromisoformat(one["start"]) < month["end"]]
        found = await stats(clinic, timezone=name, **{key: value.isoformat() for key, value in month.items()})
        statuses = Counter(one["status"] for one in inside)
        visits = [datetime.fromisoformat(one["start"]).astimezone(zone) for one in inside if one["status"] in EXPECTED]
        assert found["total"] == len(inside) > 20
        assert found["status"] == sorted(statuses.items(), key=lambda one: (-one[1], one[0]))
        assert dict(found["appointment-type"]) == Counter(
            "ROUTINE" if "appointmentType" in one else None for one in inside
        )
        assert dict(found["service-type"]) == Counter("video" if "serviceType" in one else None for one in inside)
        reasons = [one["cancelationReason"] for one in inside if one["status"] == "cancelled"]
        assert dict(found["cancelation-reason"]) == Counter("pat" if "coding" in one else None for one in reasons)
        assert found["visits"] == len(visits)
        assert dict(found["day"]) == Counter(visit.date().isoformat() for visit in visits)
        assert [day for day, _ in found["day"]] == sorted(dict(found["day"]))
        assert dict(found["hour"]) == Counter(f"{visit.hour:02}:00:00" for visit in visits)
        assert [count for _, count in found["hour"]] == sorted(dict(found["hour"]).values(), reverse=True)
        assert found["days"] == 28
        assert found["mean-per-day"] == round(len(visits) / 28, 4)
        came = statuses["fulfilled"] + statuses["arrived"] + statuses["checked-in"]
        assert found["no-show-rate"] == round(statuses["noshow"] / (statuses["noshow"] + came), 4)
        over = statuses["fulfilled"] + statuses["noshow"] + statuses["cancelled"]
        assert found["completion-rate"] == round(statuses["fulfilled"] / over, 4)


async def test_v2_nobody_is_named_and_nothing_counts_as_nothing(clinic: httpx.AsyncClient) -> None:
    empty = await stats(clinic)
    assert (empty["total"], empty["visits"], empty["mean-per-day"]) == (0, 0, 0)
    assert not {"no-show-rate", "completion-rate", "status", "day"} & set(empty)
    await transaction(clinic, [past(id, Random(id)) for id in range(8)])
    response = await clinic.get("/Appointment/$stats", params=FEBRUARY)
    assert not [name for name in ("Ann", "ann", "Ash", "smith") if name in response.text]


async def test_v2_statistics_of_a_practitioner_a_clinic_an_organization_a_patient(clinic: httpx.AsyncClient) -> None:
    other = {"location": [{"reference": "Location/north"}], "organization": {"reference": "Organization/northern"}}
    await put(
        clinic,
        organization("northern"),
        location("north", managingOrganization={"reference": "Organization/northern"}),
        location("campus"),
        location(partOf={"reference": "Location/campus"}),
        room(),
        practitioner("jones"),
        role("jones-north", practitioner={"reference": "Practitioner/jones"}, **other),
        schedule("jones-north", actor=[{"reference": "PractitionerRole/jones-north"}]),
        patient("cal"),
        slot("evening", "2026-02-03T18:00:00Z", "2026-02-03T18:30:00Z", status="busy-unavailable"),
    )

    def on(day: int, *actors: str, **more: Any) -> Json:
        return appointment(f"2026-02-{day:02}T09:00:00Z", status="fulfilled", actors=actors, id=f"on-{day}", **more)

    reference = "Slot/smith-main.20260204T0900.30"
    await transaction(
        clinic,
        [
            on(2, "Patient/ann", "Practitioner/smith"),
            on(3, "Patient/ann", slot=[{"reference": "Slot/evening"}]),
            on(4, "Patient/bob", slot=[{"reference": reference}]),
            on(5, "Patient/bob", "PractitionerRole/smith-main"),
            on(6, "Patient/cal", "Location/room-1"),
            on(9, "Patient/cal", "PractitionerRole/jones-north"),
        ],
    )

    async def days(**query: Any) -> list[int]:
        return [int(day[-2:]) for day, _ in (await stats(clinic, **query)).get("day", ())]

    assert await days() == [2, 3, 4, 5, 6, 9]
    assert await days(practitioner="Practitioner/smith") == [2, 3, 4, 5]
    assert await days(practitioner="jones") == [9]
    assert await days(practitioner=["smith", "jones"]) == [2, 3, 4, 5, 9]
    assert await days(location="main") == [3, 4, 5, 6]
    assert await days(location="campus") == [3, 4, 5, 6]
    assert await days(location="Location/north") == [9]
    assert await days(organization="northern") == [9]
    assert await days(patient="Patient/bob") == [4, 5]
    assert await days(practitioner="smith", patient="ann", location="main") == [3]
    assert await days(practitioner="nobody") == []


async def test_the_number_of_round_trips_does_not_depend_on_what_is_counted(clinic: httpx.AsyncClient) -> None:
    async def trips() -> int:
        with counted() as commands:
            await stats(clinic, practitioner="smith", location="main", organization="riverside")
        return len(commands)

    few = await trips()
    for number in range(4):
        name = f"more-{number}"
        await put(clinic, role(name), schedule(name, actor=[{"reference": f"PractitionerRole/{name}"}]))
    await transaction(clinic, [past(id, Random(id)) for id in range(8)])
    assert await trips() == few


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "required"),
        ({"start": at("09:00"), "end": at("09:00")}, 400, "value"),
        ({"start": "2025-01-01T00:00:00Z", "end": "2026-01-02T00:00:00.001Z"}, 422, "too-costly"),
        ({"start": "0001-01-01T00:00:00Z", "end": "0001-02-01T00:00:00Z"}, 422, "value"),
        ({**FEBRUARY, "timezone": "Mars/Olympus"}, 400, "value"),
        ({**FEBRUARY, "practitioner": "Patient/ann"}, 400, "value"),
        ({**FEBRUARY, "doctor": "smith"}, 400, "invalid"),
    ],
)
async def test_what_cannot_be_counted_is_refused(
    reader: httpx.AsyncClient, query: Json, status: int, code: str
) -> None:
    assert_outcome(await reader.get("/Appointment/$stats", params=query), status, code)


async def test_a_year_can_be_counted_at_once(reader: httpx.AsyncClient) -> None:
    year = {"start": "2025-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    assert (await stats(reader, **year))["days"] == 366


async def test_more_kinds_than_the_limit_are_refused_and_as_many_are_not(
    store: Store, clinic: httpx.AsyncClient
) -> None:
    await transaction(clinic, [past(id, Random(id)) for id in range(8)])
    kinds = (await store.load([Counted("Appointment", {}, ("status",))]))[0]
    assert len(kinds) > 1
    as_many = Counted("Appointment", {}, ("status",), limit=len(kinds))
    assert {one.codes: one.count for one in (await store.load([as_many]))[0]} == {one.codes: one.count for one in kinds}  # type: ignore[union-attr]
    with pytest.raises(FhirError, match="too much"):
        await store.load([Counted("Appointment", {}, ("status",), limit=len(kinds) - 1)])
    [everything] = (await store.load([Counted("Appointment", {})]))[0]
    assert everything == Tally(8)


def test_the_hour_that_a_clock_repeats_is_one_hour_and_the_step_fits_every_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start, end = datetime(2026, 10, 25, tzinfo=berlin), datetime(2026, 10, 26, tzinfo=berlin)
    twice = [Tally(1, at=datetime(2026, 10, 25, hour, tzinfo=UTC)) for hour in (0, 1, 2)]
    found = summarize([], twice, start, end, berlin)
    assert found.hours == {2: 2, 3: 1}
    assert found.days == {date(2026, 10, 25): 3}
    assert found.day_count == 1
    steps = {"UTC": 60, "Europe/Berlin": 60, "Asia/Kolkata": 30, "Asia/Kathmandu": 15, "Australia/Lord_Howe": 30}
    assert {name: step_minutes(start, end, ZoneInfo(name)) for name in steps} == steps | {"Australia/Lord_Howe": 60}
    island = ZoneInfo("Australia/Lord_Howe")
    assert step_minutes(datetime(2026, 3, 1, tzinfo=UTC), end, island) == 30
    day = datetime(2026, 4, 5, tzinfo=island), datetime(2026, 4, 6, tzinfo=island)
    assert step_minutes(*day, island) == 30, "the clock goes back by half an hour on that day"
