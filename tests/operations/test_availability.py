"""$availability and Location/$find-available: what is free, where, and why the rest is not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.outcome import CANONICAL, PROBLEMS
from fhir_server.store import counted
from tests.clinic import (
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    appointment,
    at,
    location,
    practitioner,
    role,
    room,
    schedule,
    service,
    slot,
)
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome, problems

Json = dict[str, Any]

DAY = {"start": at("00:00"), "end": at("00:00", WEDNESDAY)}


def part(parts: list[Json], name: str) -> Any:
    found = [one for one in parts if one["name"] == name]
    return next((value for one in found for key, value in one.items() if key != "name"), None)


async def intervals(
    client: httpx.AsyncClient, path: str = "/Schedule/smith-main", **query: Any
) -> list[tuple[str, str, set[str]]]:
    """(start, end, causes) of each interval, the times without their date."""
    response = await client.get(f"{path}/$availability", params=query)
    assert response.status_code == 200, response.text
    found = []
    for one in response.json().get("parameter", ()):
        period = part(one["part"], "period")
        assert part(one["part"], "free") == (part(one["part"], "reason") is None)
        found.append((period["start"][11:16], period["end"][11:16], codes(one, "CodeSystem/availability-cause")))
    return found


def codes(interval: Json, system: str) -> set[str]:
    concepts = [one["valueCodeableConcept"] for one in interval["part"] if one["name"] == "reason"]
    return {code["code"] for concept in concepts for code in concept["coding"] if code["system"].endswith(system)}


async def test_a9_free_time_is_told_as_intervals(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment(at("10:00")))
    await put(clinic, slot("evening"))
    assert await intervals(clinic, **DAY) == [
        ("09:00", "10:00", set()),
        ("10:30", "12:00", set()),
        ("18:00", "18:30", set()),
    ]


async def test_a9_with_explain_all_of_the_window_is_accounted_for(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment(at("10:00")))
    await put(clinic, schedule(parameters={"bufferBefore": 10}))
    assert await intervals(clinic, explain="true", **DAY) == [
        ("00:00", "09:00", {"no-rule"}),
        ("09:00", "10:00", set()),
        ("10:00", "10:30", {"booked"}),
        ("10:30", "10:40", {"buffer"}),
        ("10:40", "12:00", set()),
        ("12:00", "00:00", {"no-rule"}),
    ]
    await put(clinic, schedule(active=False))
    assert await intervals(clinic, **DAY) == []
    assert all("inactive" in causes for _, _, causes in await intervals(clinic, explain="true", **DAY))


async def test_a9_a_time_of_its_own_is_refused_with_the_reasons_that_explain_gives(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic,
        room(hoursOfOperation=[{"allDay": True}]),
        practitioner("jones"),
        role("jones", practitioner={"reference": "Practitioner/jones"}),
        role(notAvailable=[{"description": "Leave", "during": {"start": at("10:30"), "end": at("11:00")}}]),
        schedule("jones", actor=[{"reference": "PractitionerRole/jones"}, {"reference": "Location/room-1"}]),
        schedule(
            parameters={"bufferAfter": 10, "maximumPerDay": 3, "minimumNotice": 120, "bookingWindow": 2880},
            actor=[{"reference": "PractitionerRole/smith-main"}, {"reference": "Location/room-1"}],
            planningHorizon={"end": "2026-03-05"},
        ),
        slot("evening"),
    )
    for time, who in (("09:00", "jones"), ("09:40", "smith"), ("11:40", "smith")):
        visit = appointment(at(time), 20 if who == "smith" else 30, actors=("Patient/bob", f"Practitioner/{who}"))
        assert (await clinic.post("/Appointment", json=visit)).status_code == 201
    agreed = {}
    times = [
        *(
            at(f"{hour:02}:{minute}", day)
            for day in (MONDAY, TUESDAY)
            for hour in (8, 9, 10, 11, 18)
            for minute in ("00", "30")
        )
    ]
    for time in [
        *times,
        at("07:00", MONDAY),
        at("09:10"),
        at("09:00", WEDNESDAY),
        at("09:00", "2026-03-04"),
        at("09:00", "2026-03-06"),
    ]:
        answer = (await clinic.get("/Schedule/smith-main/$availability", params={"at": time, "duration": 30})).json()
        [interval] = answer["parameter"]
        explained = codes(interval, PROBLEMS.rpartition("/")[2])
        booked = await clinic.post("/Appointment", json=appointment(time, actors=("Patient/ann", "Practitioner/smith")))
        assert (booked.status_code == 201) == (explained == set()), (time, explained, booked.text)
        if booked.status_code == 201:
            gone = {**booked.json(), "status": "cancelled", "cancelationReason": {"text": "test"}}
            assert (await clinic.put(f"/Appointment/{gone['id']}", json=gone)).status_code == 200
        else:
            assert problems(booked) == explained, time
        agreed[time] = explained
    everything = set().union(*agreed.values())
    assert everything >= {
        "outside-hours",
        "too-soon",
        "too-far",
        "blocked",
        "off-grid",
        "in-the-past",
        "outside-horizon",
        "practitioner-busy",
        "location-busy",
    }
    assert agreed[at("18:00")] == set(), "an EHR's Slot can be booked outside the hours"
    assert (await clinic.post("/Appointment", json=appointment(at("18:00")))).status_code == 201
    full = (await clinic.get("/Schedule/smith-main/$availability", params={"at": at("11:00"), "duration": 30})).json()
    assert codes(full["parameter"][0], "availability-cause") == {"limit"}


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ({"start": at("00:00")}, "required", 400),
        ({"at": at("09:00"), "end": at("10:00")}, "invalid", 400),
        ({"start": at("10:00"), "end": at("09:00")}, "value", 400),
        ({"start": at("00:00"), "end": "2027-03-03T00:00:00Z"}, "too-costly", 422),
        ({**DAY, "schedule": "none"}, "not-found", 404),
        ({"at": at("09:00"), "duration": 1441}, "value", 400),
    ],
)
async def test_a9_what_cannot_be_asked_about_is_refused(
    clinic: httpx.AsyncClient, query: dict[str, Any], code: str, status: int
) -> None:
    assert_outcome(await clinic.get("/Schedule/$availability", params=query), status, code)


async def test_a9_no_more_intervals_than_the_limit(clinic: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await clinic.post("/Appointment", json=appointment(at("10:00")))
    monkeypatch.setattr("fhir_server.operations.availability.PIECES_MAX", 2)
    assert len(await intervals(clinic, **DAY)) == 2
    refused = await clinic.get("/Schedule/smith-main/$availability", params={**DAY, "explain": "true"})
    assert_outcome(refused, 422, "too-costly")


# Places that have room


async def places(client: httpx.AsyncClient, **query: Any) -> dict[str, tuple[int, str]]:
    response = await client.get("/Location/$find-available", params=query)
    assert response.status_code == 200, response.text
    found = [one["part"] for one in response.json().get("parameter", ())]
    return {part(one, "location")["id"]: (part(one, "free"), part(one, "first")["start"]) for one in found}


async def test_a10_which_clinics_have_room_on_a_date(clinic: httpx.AsyncClient) -> None:
    zone = {"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "Asia/Tokyo"}
    await put(
        clinic,
        location("tokyo", extension=[zone]),
        location("closed"),
        service(),
        practitioner("jones"),
        role(
            "jones",
            practitioner={"reference": "Practitioner/jones"},
            location=[{"reference": "Location/tokyo"}],
            healthcareService=[{"reference": "HealthcareService/consultation"}],
        ),
        schedule("jones", actor=[{"reference": "PractitionerRole/jones"}]),
        room(hoursOfOperation=[{"openingTime": "08:00:00", "closingTime": "09:00:00"}]),
        schedule("room-1", actor=[{"reference": "Location/room-1"}]),
    )
    await clinic.post("/Appointment", json=appointment(at("09:00")))
    tuesday = {"tokyo": (6, "2026-03-03T09:00:00+09:00"), "main": (7, at("08:00"))}
    found = await places(clinic, date=TUESDAY)
    assert found == tuesday
    assert list(found) == ["tokyo", "main"], "the first free Slot comes first"
    assert await places(clinic, date=TUESDAY, location="Location/room-1") == {"main": (2, at("08:00"))}
    assert set(await places(clinic, date=TUESDAY, **{"healthcare-service": "consultation"})) == {"tokyo"}
    assert await places(clinic, start=at("11:30"), end=at("12:00")) == {"main": (1, at("11:30"))}
    assert await places(clinic, date="2026-03-07") == {"main": (2, at("08:00", "2026-03-07"))}, "on a Saturday the room"


async def test_a10_a_night_far_from_greenwich_is_of_the_day_on_which_it_begins(clinic: httpx.AsyncClient) -> None:
    zone = {"url": "http://hl7.org/fhir/StructureDefinition/timezone", "valueCode": "Pacific/Honolulu"}
    night = {"daysOfWeek": ["tue"], "availableStartTime": "22:00:00", "availableEndTime": "08:00:00"}
    await put(clinic, location(extension=[zone]), role(availableTime=[night]), schedule(parameters={"duration": 600}))
    assert await places(clinic, date=TUESDAY) == {"main": (1, "2026-03-03T22:00:00-10:00")}
    assert await places(clinic, date=WEDNESDAY) == {}


async def test_a10_the_round_trips_do_not_grow_with_the_places(clinic: httpx.AsyncClient) -> None:
    async def count(*ids: str) -> int:
        for id in ids:
            own = {"practitioner": {"reference": f"Practitioner/{id}"}, "location": [{"reference": f"Location/{id}"}]}
            await put(clinic, location(id), practitioner(id), role(id, **own))
            await put(clinic, schedule(id, actor=[{"reference": f"PractitionerRole/{id}"}]))
        with counted() as commands:
            assert set(ids) < set(await places(clinic, date=TUESDAY))
        return len(commands)

    assert await count("a") == await count("b", "c", "d")


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ({}, "required", 400),
        ({"date": "2026-03"}, "value", 400),
        ({"date": "0001-01-01"}, "value", 422),
        ({"date": "9999-12-31"}, "value", 422),
        ({"date": TUESDAY, "end": at("10:00")}, "invalid", 400),
    ],
)
async def test_a10_what_cannot_be_asked_of_places_is_refused(
    clinic: httpx.AsyncClient, query: dict[str, Any], code: str, status: int
) -> None:
    assert_outcome(await clinic.get("/Location/$find-available", params=query), status, code)


def test_the_causes_are_a_code_system_of_ours() -> None:
    from fhir_server.vocabulary import code_systems

    assert f"{CANONICAL}/CodeSystem/availability-cause" in {one["url"] for one in code_systems()}
