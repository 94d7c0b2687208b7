"""What $find proposes: for how long it can be asked for, its limits, and what is refused."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from fhir_server.operations._naming import NAMED_MAX
from fhir_server.operations.find import PLACES_MAX
from tests.clinic import (
    NOW,
    TUESDAY,
    appointment,
    at,
    organization,
    patient,
    practitioner,
    role,
    room,
    schedule,
    service,
)
from tests.doors.asking import matches, outcomes, parameters, period, post, reference
from tests.operations.test_find_slots import find as find_slots
from tests.operations.test_find_slots import put, starts
from tests.outcomes import assert_outcome

DAY = {"start": at("00:00"), "end": at("23:59")}
ENDLESS, NESTED = (
    base64.urlsafe_b64encode(text.encode()).decode() for text in ('["x", Infinity, 1, "id"]', "[" * 3_000)
)


async def found(clinic: httpx.AsyncClient, **more: Any) -> list[dict[str, Any]]:
    response = await clinic.get("/Appointment/$find", params={**DAY, **more})
    assert response.status_code == 200, response.text
    return matches(response.json())


async def test_a_proposal_can_be_asked_for_as_long_as_the_answer_says(
    clinic: httpx.AsyncClient, set_clock: Callable[[datetime], None]
) -> None:
    response = await clinic.get("/Appointment/$find", params=DAY)
    until = parsedate_to_datetime(response.headers["expires"])
    assert until == NOW + timedelta(minutes=60)
    first, second, *_ = [f"/Appointment/{one['id']}/$hold" for one in matches(response.json())]
    set_clock(until - timedelta(seconds=1))
    assert (await clinic.post(first)).status_code == 201
    set_clock(until)
    assert_outcome(await clinic.post(second), 404, "not-found")


async def test_every_door_finds_the_same_times(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment(at("09:30")))
    times = [one["start"][11:16] for one in await found(clinic)]
    assert times == starts(await find_slots(clinic))
    slots = matches((await clinic.get("/Slot/$prefetch", params=DAY)).json())
    assert [slot["start"][11:16] for slot in slots] == times
    searched = (await clinic.get(f"/Slot?schedule=Schedule/smith-main&status=free&start={TUESDAY}")).json()
    assert [slot["start"][11:16] for slot in matches(searched)] == times


async def test_every_proposal_can_be_booked(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment(at("09:30"), actors=("Patient/bob", "Practitioner/smith")))
    proposals = await found(clinic, **{"patient-reference": "Patient/ann"})
    assert len(proposals) == 5
    for proposal in proposals:
        booked = await clinic.post(f"/Appointment/{proposal['id']}/$book")
        assert (booked.status_code, booked.json()["start"]) == (201, proposal["start"])
    assert await found(clinic) == []


async def test_of_all_doors_at_once_one_wins(clinic: httpx.AsyncClient) -> None:
    await put(clinic, *(patient(f"p{number}") for number in range(6)))
    proposals = [(await found(clinic, **{"patient-reference": f"Patient/p{number}"}))[0] for number in range(3)]
    own = [appointment(status="proposed", actors=(f"Patient/p{number}", "Practitioner/smith")) for number in (3, 4, 5)]
    asked = [
        ("$book", parameters(("appointment-reference", reference(f"Appointment/{proposals[0]['id']}")))),
        ("$hold", parameters(("appt-id", {"valueUri": proposals[1]["id"]}))),
        (f"{proposals[2]['id']}/$book", {"resourceType": "Parameters"}),
        ("$book", own[0]),
        ("$book", parameters(("appointment-resource", {**own[1], "status": "pending"}))),
        ("", {**own[2], "status": "booked"}),
    ]
    answers = await asyncio.gather(*(post(clinic, f"/Appointment/{call}".rstrip("/"), body) for call, body in asked))
    assert sorted(answer.status_code for answer in answers if not answer.is_success) == [409] * 5
    assert (await clinic.get("/Appointment?status=booked,pending")).json()["total"] == 1


async def test_a_time_at_which_the_patient_is_elsewhere_is_not_proposed(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(parameters={"capacity": 2}))
    await clinic.post("/Appointment", json=appointment(at("09:30")))
    assert at("09:30") in [one["start"] for one in await found(clinic, **{"patient-reference": "Patient/bob"})]
    assert at("09:30") not in [one["start"] for one in await found(clinic, **{"patient-reference": "Patient/ann"})]


async def test_a_room_that_is_asked_for_is_found_and_booked_with_the_practitioner(clinic: httpx.AsyncClient) -> None:
    hours = [{"daysOfWeek": ["tue"], "openingTime": "10:00:00", "closingTime": "11:00:00"}]
    on = [{"reference": "Location/room-1"}]
    await put(clinic, room(hoursOfOperation=hours), schedule("room-1", actor=on))
    asked = {"practitioner": "Practitioner/smith", "location-reference": "Location/room-1"}
    proposals = await found(clinic, **asked, **{"patient-reference": "Patient/ann"})
    assert [one["start"][11:16] for one in proposals] == ["10:00", "10:30"]
    booked = await clinic.post(f"/Appointment/{proposals[0]['id']}/$book")
    assert booked.status_code == 201, booked.text
    assert len(booked.json()["slot"]) == 2
    assert {one["actor"]["reference"] for one in booked.json()["participant"]} >= {"Location/room-1", "Patient/ann"}
    elsewhere = {**asked, "organization": "Organization/other"}
    await put(clinic, organization("other"))
    assert await found(clinic, **elsewhere) == []


async def test_schedules_practitioners_and_rooms_are_all_needed(clinic: httpx.AsyncClient) -> None:
    hours = [{"daysOfWeek": ["tue"], "openingTime": "10:00:00", "closingTime": "11:00:00"}]
    await put(clinic, room(hoursOfOperation=hours), schedule("room-1", actor=[{"reference": "Location/room-1"}]))
    await put(clinic, practitioner("jones"))
    own = {"schedule": "Schedule/smith-main"}
    for needed in (
        {**own, "location-reference": "Location/room-1"},
        {"schedule": ["Schedule/smith-main", "Schedule/room-1"], "practitioner": "Practitioner/smith"},
    ):
        proposals = await found(clinic, **needed)
        assert [one["start"][11:16] for one in proposals] == ["10:00", "10:30"]
        people = {one["actor"]["reference"] for one in proposals[0]["participant"]}
        assert {"Practitioner/smith", "Location/room-1"} <= people
        assert await found(clinic, **{**needed, "practitioner": "Practitioner/jones"}) == []


async def test_a_schedule_that_is_for_other_services_is_not_meant(clinic: httpx.AsyncClient) -> None:
    own = [{"reference": "HealthcareService/consultation"}]
    await put(clinic, service(), service("surgery"), role(healthcareService=own))
    asked = {"schedule": "Schedule/smith-main"}
    assert len(await found(clinic, **asked, **{"service-type-reference": "HealthcareService/consultation"})) == 6
    assert await found(clinic, **asked, **{"service-type-reference": "HealthcareService/surgery"}) == []


@pytest.mark.parametrize(
    ("asked", "total"),
    [
        ({"schedule": "Schedule/none"}, 0),
        ({"schedule": ["Schedule/smith-main", "Schedule/none"]}, 0),
        ({"patient-reference": "Patient/none"}, 0),
        ({"patient-reference": ["Patient/ann", "Patient?identifier=urn:x|1"], "places": 1}, 0),
        ({"patient-reference": "Patient/gone"}, 0),
        ({"practitioner": "Practitioner/none"}, 0),
        ({"location-string": "Atlantis"}, 0),
        ({"location-string": "Atlantis", "location-reference": "Location/main"}, 6),
        ({"practitioner": ["Practitioner/none", "Practitioner/smith"]}, 6),
    ],
)
async def test_what_is_not_here_is_said_and_proposed_is_only_what_can_be_booked(
    clinic: httpx.AsyncClient, asked: dict[str, Any], total: int
) -> None:
    await put(clinic, patient("gone", active=False), schedule(parameters={"capacity": 2}))
    bundle = (await clinic.get("/Appointment/$find", params={**DAY, **asked})).json()
    assert bundle["total"] == total
    [outcome] = outcomes(bundle)
    assert (outcome["issue"][0]["code"], outcome["issue"][0]["expression"]) == ("not-found", [next(iter(asked))])


async def test_what_is_said_of_the_visit_is_passed_on(clinic: httpx.AsyncClient) -> None:
    referral = {"valueIdentifier": {"system": "http://example.org/referrals", "value": "R1"}}
    asked = parameters(
        *period(DAY["start"], DAY["end"]),
        ("referral-identifier", referral),
        ("reason", {"valueString": "http://snomed.info/sct|49727002"}),
        ("_count", {"valuePositiveInt": 1}),
    )
    bundle = (await post(clinic, "/Appointment/$find", asked)).json()
    following = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
    for proposal in (*matches(bundle), *matches((await clinic.get(following)).json())):
        assert proposal["basedOn"] == [{"type": "ServiceRequest", "identifier": referral["valueIdentifier"]}]
        assert proposal["reasonCode"] == [{"coding": [{"system": "http://snomed.info/sct", "code": "49727002"}]}]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({}, 400, "required"),
        ({"start": at("09:00")}, 400, "required"),
        ({**DAY, "startTime": at("09:00")}, 400, "required"),
        ({"start": at("10:00"), "end": at("09:00")}, 400, "value"),
        ({"start": at("00:00"), "end": "2026-06-03T00:00:00Z"}, 422, "too-costly"),
        ({**DAY, "_cursor": "bm8="}, 400, "value"),
        ({**DAY, "_cursor": "eyJhIjoxfQ=="}, 400, "value"),
        ({**DAY, "_cursor": ENDLESS}, 400, "value"),
        ({**DAY, "_cursor": NESTED}, 400, "value"),
        ({**DAY, "practitioner": "Patient/ann/x"}, 400, "value"),
        ({**DAY, "practitioner": "Banana?x=1"}, 400, "value"),
        ({**DAY, "practitioner": "Practitioner?"}, 400, "value"),
        ({**DAY, "practitioner": "Practitioner?identifier="}, 400, "value"),
        ({**DAY, "location-string": " "}, 400, "value"),
        ({**DAY, "places": str(PLACES_MAX + 1)}, 400, "too-costly"),
        ({**DAY, "banana": "1"}, 400, "invalid"),
        ({**DAY, "patient-resource": "x"}, 400, "value"),
        ({**DAY, "patient-reference": "Practitioner/smith"}, 400, "value"),
        ({**DAY, "patient-reference": "Practitioner?identifier=1"}, 400, "value"),
        ({**DAY, "schedule": "Location/main"}, 400, "value"),
        ({**DAY, "practitioner": [f"p{number}" for number in range(NAMED_MAX + 1)]}, 400, "too-costly"),
        ({**DAY, "location-string": [f"l{number}" for number in range(NAMED_MAX + 1)]}, 400, "too-costly"),
        ({**DAY, "patient-reference": [f"p{number}" for number in range(PLACES_MAX + 1)]}, 400, "too-costly"),
    ],
)
async def test_what_is_not_a_question_is_refused(
    reader: httpx.AsyncClient, asked: dict[str, Any], status: int, code: str
) -> None:
    assert_outcome(await reader.get("/Appointment/$find", params=asked), status, code)


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ([("comment", {"valueString": "a"})], 400, "required"),
        ([("appt-id", {"valueUri": "a"}), ("appointment-reference", reference("Appointment/b"))], 400, "invalid"),
        ([("comment", {"valueString": "a"}), ("appointmentNote", {"valueString": "b"})], 400, "invalid"),
        ([("appt-id", {"valueUri": "Patient/ann"})], 422, "value"),
        ([("patient", {"valueIdentifier": {"value": "none"}}), ("slot", reference("Slot/a"))], 422, "not-found"),
        ([("appointment-reference", {"valueReference": {"display": "that one"}})], 400, "value"),
        (
            [
                ("appt-resource", {**appointment(status="proposed"), "id": "x"}),
                ("cancelled-appt-id", {"valueUri": "http://elsewhere.example/Appointment/1"}),
            ],
            422,
            "value",
        ),
    ],
)
async def test_what_asks_for_nothing_or_twice_is_refused(
    clinic: httpx.AsyncClient, given: list[tuple[str, Any]], status: int, code: str
) -> None:
    headers = {"prefer": "reply=resource"}
    refused = await clinic.post("/Appointment/$book", json=parameters(*given), headers=headers)
    assert_outcome(refused, status, code)
    if given and status != 400:
        bundled = await clinic.post(
            "/Appointment/$book", json=parameters(*given), headers={"prefer": "reply=searchset"}
        )
        assert (bundled.status_code, len(outcomes(bundled.json()))) == (status, 1)


@pytest.mark.parametrize("call", ["$hold", "$book"])
async def test_two_appointments_that_are_named_at_once_are_refused(clinic: httpx.AsyncClient, call: str) -> None:
    first, second, *_ = [one["id"] for one in await found(clinic, **{"patient-reference": "Patient/ann"})]
    other = {**appointment(status="proposed"), "id": second}
    for path, given in (
        (f"{first}/{call}", ("appt-id", {"valueUri": second})),
        (f"{first}/{call}", ("appointment", other)),
        (f"{first}/{call}", ("appointment", {"valueIdentifier": {"value": second}})),
    ):
        headers = {"prefer": "reply=resource"}
        refused = await clinic.post(f"/Appointment/{path}", json=parameters(given), headers=headers)
        assert_outcome(refused, 400, "invalid")
    assert (await clinic.get("/Appointment?status=booked,pending")).json()["total"] == 0


async def test_an_address_at_which_there_are_too_many_is_refused(client: httpx.AsyncClient) -> None:
    entries = [
        {
            "resource": {"resourceType": "Location", "id": f"l{number}", "address": {"city": "Riverside"}},
            "request": {"method": "PUT", "url": f"Location/l{number}"},
        }
        for number in range(NAMED_MAX + 1)
    ]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    assert (await client.post("/", json=bundle)).status_code == 200
    asked = {**DAY, "location-string": "Riverside"}
    assert_outcome(await client.get("/Appointment/$find", params=asked), 400, "too-costly")


async def test_an_unknown_parameter_is_refused_with_those_that_are_like_it(reader: httpx.AsyncClient) -> None:
    for unknown, known in (
        ("location", "location-reference and location-string"),
        ("service-type", "service-type-reference"),
        ("startDate", "start"),
        ("speciality", "specialty and specialties"),
        ("occurrence-count", ""),
    ):
        issue = assert_outcome(await reader.get("/Appointment/$find", params={**DAY, unknown: "x"}), 400, "invalid")
        hint = f", but {known}" if known else ""
        assert f"no parameter {unknown}{hint}; it has " in issue["diagnostics"]
