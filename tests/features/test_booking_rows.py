"""Booking, clause by clause, where no other test of the rows B1 to B13 has it (docs/features.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.clinic import (
    MONDAY,
    NOW,
    appointment,
    at,
    encounter,
    location,
    organization,
    patient,
    practitioner,
    questionnaire_response,
    role,
    schedule,
    slot,
)
from tests.operations.test_find_slots import find, put, starts
from tests.operations.test_hold import hold
from tests.operations.test_join import PROVIDER, book, join
from tests.operations.test_reschedule import PATCH, ask, booked
from tests.outcomes import assert_outcome, problem_of, problems

Json = dict[str, Any]
SetClock = Callable[[datetime], None]
OpenClient = Callable[..., Awaitable[httpx.AsyncClient]]

SMITH = "Practitioner/smith"
BUFFERED = schedule(parameters={"bufferAfter": 15, "alignmentInterval": 15})
OTHERS = patient(managingOrganization={"reference": "Organization/other"})


@pytest.mark.parametrize(
    ("changed", "wanted", "problem", "where"),
    [
        ((), appointment(actors=("Patient/none", SMITH)), "patient-unknown", "participant[0].actor"),
        ((patient(active=False),), appointment(), "patient-inactive", "participant[0].actor"),
        ((organization("other"), OTHERS), appointment(), "patient-other-organization", "participant[0].actor"),
        ((), appointment(actors=("Patient/ann", "Practitioner/x")), "practitioner-unknown", "participant[1].actor"),
        ((practitioner(active=False),), appointment(), "practitioner-inactive", "participant[1].actor"),
        (
            (location("north"),),
            appointment(actors=("Patient/ann", SMITH, "Location/north")),
            "not-at-location",
            "participant[2].actor",
        ),
        ((), appointment(at("13:00")), "outside-hours", "start"),
        ((slot("away", at("09:00"), at("10:00"), status="busy"),), appointment(), "practitioner-busy", None),
        ((BUFFERED, slot("x", at("09:30"), at("10:00"), status="busy")), appointment(), "practitioner-busy", None),
    ],
)
async def test_b1_each_check_that_fails_says_which_it_is_and_on_which_element(
    clinic: httpx.AsyncClient, changed: tuple[Json, ...], wanted: Json, problem: str, where: str | None
) -> None:
    assert problems(await clinic.post("/Appointment/$validate-booking", json=appointment())) == set()
    await put(clinic, *changed)
    response = await clinic.post("/Appointment", json=wanted)
    [issue] = [one for one in response.json()["issue"] if problem_of(one) == problem]
    assert issue["expression"] == [f"Appointment.{where or 'participant[1].actor'}"]
    assert (response.status_code, response.json()["resourceType"]) == (
        409 if problem == "practitioner-busy" else 422,
        "OperationOutcome",
    )


async def test_b2_of_two_servers_one_books_the_time_and_the_other_offers_the_nearest(client_with: OpenClient) -> None:
    one = await client_with(clinic=True)
    two = await client_with(count_default=49)
    wanted = [appointment(), appointment(actors=("Patient/bob", SMITH))]
    answers = await asyncio.gather(
        *(client.post("/Appointment", json=each) for client, each in zip((one, two), wanted, strict=True))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    [refused] = [answer for answer in answers if answer.status_code == 409]
    nearest = assert_outcome(refused, 409, "informational", "alternatives")
    assert len(nearest["extension"]) == 3


async def test_b3_how_long_a_hold_lasts_is_set_and_the_time_is_free_again_when_it_is_over(
    client_with: OpenClient, set_clock: SetClock
) -> None:
    client = await client_with(clinic=True, hold_minutes=5)
    assert (await hold(client)).status_code == 201
    assert starts(await find(client))[0] == "09:30"
    set_clock(NOW + timedelta(minutes=5))
    assert starts(await find(client))[0] == "09:00"
    cancelled = (await client.get("/Appointment?state=expired")).json()["entry"][0]["resource"]
    assert (cancelled["status"], cancelled["cancelationReason"]["coding"][0]["code"]) == ("cancelled", "hold-expired")


async def test_b4_staff_find_a_patient_by_name_e_mail_or_phone(clinic: httpx.AsyncClient) -> None:
    reached = [{"system": "email", "value": "cleo@example.org"}, {"system": "phone", "value": "+1 555 0100"}]
    await put(clinic, patient("cleo", name=[{"family": "Moss", "given": ["Cleo"]}], telecom=reached))
    for query in (
        {"name": "mos"},
        {"given": "cleo", "family": "moss"},
        {"email": "cleo@example.org"},
        {"phone": "+1 555 0100"},
        {"telecom": "cleo@example.org"},
    ):
        found = (await clinic.get("/Patient", params=query)).json()
        assert [entry["resource"]["id"] for entry in found["entry"]] == ["cleo"], query


async def test_b4_a_transaction_adds_the_patient_only_if_there_is_none_and_books_at_once(
    clinic: httpx.AsyncClient,
) -> None:
    newcomer = {
        "resourceType": "Patient",
        "name": [{"family": "Moss"}],
        "telecom": [{"system": "email", "value": "cleo@example.org"}],
    }

    async def visit(start: str) -> str:
        wanted = appointment(start, actors=("urn:uuid:5f0b8a52-41d5-4f0e-9d0c-6a8a6a7b6d11", SMITH))
        create = {"method": "POST", "url": "Patient", "ifNoneExist": "email=cleo@example.org"}
        entries = [
            {"fullUrl": "urn:uuid:5f0b8a52-41d5-4f0e-9d0c-6a8a6a7b6d11", "resource": newcomer, "request": create},
            {"resource": wanted, "request": {"method": "POST", "url": "Appointment"}},
        ]
        response = await clinic.post("/", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert response.status_code == 200, response.text
        made = response.json()["entry"][1]["response"]["location"].partition("/_history")[0]
        return str((await clinic.get(made)).json()["participant"][0]["actor"]["reference"])

    assert await visit(at("09:00")) == await visit(at("09:30"))
    assert (await clinic.get("/Patient?family=moss&_count=0")).json()["total"] == 1


async def test_b6_an_exchanged_practitioner_stays_in_the_history(clinic: httpx.AsyncClient) -> None:
    jones = {"reference": "Practitioner/jones"}
    await put(clinic, practitioner("jones"), role("jones-main", practitioner=jones))
    await put(clinic, schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]))
    one = await booked(clinic)
    people = [one["participant"][0], {"actor": jones, "status": "accepted"}]
    changed = await clinic.put(f"/Appointment/{one['id']}", json={**one, "participant": people, "comment": "Moved"})
    assert changed.status_code == 200, changed.text
    history = (await clinic.get(f"/Appointment/{one['id']}/_history")).json()["entry"]
    doctors = [entry["resource"]["participant"][1]["actor"]["reference"] for entry in history]
    assert doctors == ["Practitioner/jones", SMITH]


async def test_b7_a_patient_the_practice_or_an_emergency_is_the_reason_and_the_time_is_free_at_once(
    clinic: httpx.AsyncClient,
) -> None:
    system = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
    reasons = ({"coding": [{"system": system, "code": "pat"}]}, {"coding": [{"system": system, "code": "prov"}]})
    for reason in (*reasons, {"text": "Emergency"}):
        one = await booked(clinic)
        assert "09:00" not in starts(await find(clinic))
        done = await ask(clinic, one["id"], "cancel", cancelationReason=reason)
        assert (done.status_code, done.json()["cancelationReason"]) == (200, reason)
        assert "09:00" in starts(await find(clinic))
    one = await booked(clinic)
    change: list[Json] = [{"op": "replace", "path": "/status", "value": "cancelled"}]
    url = f"/Appointment/{one['id']}"
    without = await clinic.patch(url, json=change, headers=PATCH)
    assert_outcome(without, 422, "required", "reason-required")
    change.append({"op": "add", "path": "/cancelationReason", "value": reasons[1]})
    done = await clinic.patch(url, json=change, headers=PATCH)
    assert (done.status_code, done.json()["status"]) == (200, "cancelled")


async def test_b12_a_room_is_open_for_nobody_once_the_visit_is_called_off(
    client_with: OpenClient, set_clock: SetClock
) -> None:
    client = await client_with(clinic=True, **PROVIDER)
    visit = await book(client)
    set_clock(datetime.fromisoformat(at("09:00")))
    assert (await join(client, visit))["url"].startswith("https://meet.example/v/")
    done = await ask(client, visit["id"], "cancel", cancelationReason={"text": "Ill"}, by="staff")
    assert done.status_code == 200, done.text
    assert_outcome(await client.get(f"/Appointment/{visit['id']}/$join"), 422, "business-rule", "not-booked")


async def test_b13_the_reviews_of_a_visit_are_found_by_it(clinic: httpx.AsyncClient) -> None:
    arrived = appointment(at("09:00", MONDAY), status="arrived")
    visit = (await clinic.post("/Appointment", json=arrived)).json()
    [entry] = (await clinic.get(f"/Encounter?appointment=Appointment/{visit['id']}")).json()["entry"]
    seen = entry["resource"]
    stars = {"linkId": "stars", "answer": [{"valueInteger": 1}]}
    words = {"linkId": "comment", "answer": [{"valueString": "Nobody was there"}]}
    review = questionnaire_response("review", item=[stars, words], encounter={"reference": f"Encounter/{seen['id']}"})
    await put(clinic, encounter("other"), review)
    found = (await clinic.get(f"/QuestionnaireResponse?encounter=Encounter/{seen['id']}")).json()
    assert [one["resource"]["item"] for one in found["entry"]] == [[stars, words]]
    assert (await clinic.get("/QuestionnaireResponse?encounter=Encounter/other&_count=0")).json()["total"] == 0
