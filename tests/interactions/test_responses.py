"""AppointmentResponse: who has agreed, what follows when all have, and when somebody who is needed has not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from fhir_server.scheduling import holds
from fhir_server.store import Store
from tests.clinic import (
    NOW,
    SCHEDULING,
    appointment,
    appointment_response,
    at,
    patient,
    practitioner,
    role,
    schedule,
    scheduling,
)
from tests.outcomes import assert_outcome, problems

SetClock = Callable[[datetime], None]
Json = dict[str, Any]

NINE = "Slot/smith-main.20260303T0900.30"


def people(**statuses: str) -> list[Json]:
    """Ann, Dr Smith and Dr Jones, each with a status; `information-only` and `optional` are said behind a blank."""
    found = []
    for name, said in statuses.items():
        status, _, required = said.partition(" ")
        type = "Patient" if name in ("ann", "bob") else "Practitioner"
        one: Json = {"actor": {"reference": f"{type}/{name}"}, "status": status}
        found.append({**one, "required": required} if required else one)
    return found


async def ask(client: httpx.AsyncClient, status: str = "pending", **statuses: str) -> str:
    """The id of an Appointment whose people have yet to answer."""
    asked = {**appointment(status=status), "participant": people(**statuses)}
    response = await client.post("/Appointment", json=asked)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def answer(client: httpx.AsyncClient, id: str, actor: str | None, status: str, **more: Any) -> httpx.Response:
    said = appointment_response(appointment={"reference": f"Appointment/{id}"}, participantStatus=status, **more)
    said = {**said, "actor": {"reference": actor}} if actor else {k: v for k, v in said.items() if k != "actor"}
    return await client.post("/AppointmentResponse", json=said)


async def read(client: httpx.AsyncClient, reference: str) -> Json:
    return dict((await client.get(f"/{reference}")).json())


def statuses(resource: Json) -> list[str]:
    return [one["status"] for one in resource["participant"]]


@pytest.fixture
async def jones(clinic: httpx.AsyncClient) -> httpx.AsyncClient:
    """The clinic with a second practitioner, at the same hours."""
    await clinic.put("/Practitioner/jones", json=practitioner("jones"))
    other = role("jones-main", practitioner={"reference": "Practitioner/jones"})
    await clinic.put("/PractitionerRole/jones-main", json=other)
    actor = [{"reference": "PractitionerRole/jones-main"}]
    await clinic.put("/Schedule/jones-main", json=schedule("jones-main", actor=actor))
    return clinic


async def test_responses_of_all_who_are_required_book_the_appointment(jones: httpx.AsyncClient) -> None:
    id = await ask(jones, ann="needs-action", smith="needs-action", jones="needs-action optional")
    assert (await read(jones, NINE))["status"] == "busy-tentative"
    assert (await answer(jones, id, "Patient/ann", "accepted")).status_code == 201
    waiting = await read(jones, f"Appointment/{id}")
    assert (waiting["status"], statuses(waiting)) == ("pending", ["accepted", "needs-action", "needs-action"])
    await answer(jones, id, "Practitioner/smith", "tentative")
    assert (await read(jones, f"Appointment/{id}"))["status"] == "pending"
    await answer(jones, id, "Practitioner/smith", "accepted", start=at("09:00"), end=at("09:30"))
    booked = await read(jones, f"Appointment/{id}")
    assert (booked["status"], statuses(booked)) == ("booked", ["accepted", "accepted", "needs-action"])
    assert (await read(jones, NINE))["status"] == "busy"


async def test_responses_of_two_at_once_both_count(clinic: httpx.AsyncClient) -> None:
    id = await ask(clinic, ann="needs-action", smith="needs-action")
    both = [answer(clinic, id, actor, "accepted") for actor in ("Patient/ann", "Practitioner/smith")]
    assert [one.status_code for one in await asyncio.gather(*both)] == [201, 201]
    assert (await read(clinic, f"Appointment/{id}"))["status"] == "booked"


@pytest.mark.parametrize("status", ["pending", "booked"])
async def test_responses_a_practitioner_who_declines_frees_the_time(clinic: httpx.AsyncClient, status: str) -> None:
    id = await ask(clinic, status, ann="accepted", smith="needs-action")
    assert (await answer(clinic, id, "Practitioner/smith", "declined")).status_code == 201
    open_again = await read(clinic, f"Appointment/{id}")
    assert (open_again["status"], statuses(open_again)) == ("proposed", ["accepted", "declined"])
    assert "slot" not in open_again
    assert (await read(clinic, NINE))["status"] == "free"
    assert (
        await clinic.post("/Appointment", json=appointment(actors=("Patient/bob", "Practitioner/smith")))
    ).is_success


async def test_responses_a_patient_who_declines_calls_it_off(clinic: httpx.AsyncClient, store: Store) -> None:
    id = await ask(clinic, "booked", ann="needs-action", smith="accepted")
    await answer(clinic, id, "Patient/ann", "declined")
    cancelled = await read(clinic, f"Appointment/{id}")
    assert (cancelled["status"], cancelled["cancelationReason"]["coding"][0]["code"]) == ("cancelled", "pat")
    assert (await read(clinic, NINE))["status"] == "free"
    events, _ = await store.follow(None, 100)
    last = [one.event for one in events if one.event.resource == f"Appointment/{id}"][-1]
    assert (last.old_status, last.new_status, last.reason) == ("booked", "cancelled", "pat")


async def test_responses_an_optional_one_who_declines_is_free_and_the_rest_stays(jones: httpx.AsyncClient) -> None:
    id = await ask(jones, "booked", ann="accepted", smith="accepted", jones="needs-action optional")
    await answer(jones, id, "Practitioner/jones", "declined")
    assert (await read(jones, f"Appointment/{id}"))["status"] == "booked"
    assert (await jones.post("/Appointment", json=appointment(actors=("Patient/bob", "Practitioner/jones")))).is_success
    refused = await jones.post("/Appointment", json=appointment(actors=("Patient/bob", "Practitioner/smith")))
    assert_outcome(refused, 409, "conflict")
    back = await answer(jones, id, "Practitioner/jones", "accepted")
    assert_outcome(back, 409, "conflict", "practitioner-busy")


async def test_responses_one_of_a_group_who_declines_leaves_a_place(clinic: httpx.AsyncClient) -> None:
    group = {**schedule(), "extension": [scheduling(duration=30, capacity=2)]}
    await clinic.put("/Schedule/smith-main", json=group)
    id = await ask(clinic, "booked", ann="accepted", bob="needs-action", smith="accepted")
    await answer(clinic, id, "Patient/bob", "declined")
    assert (await read(clinic, f"Appointment/{id}"))["status"] == "booked"
    await clinic.put("/Patient/cleo", json=patient("cleo"))
    assert (
        await clinic.post("/Appointment", json=appointment(actors=("Patient/cleo", "Practitioner/smith")))
    ).is_success


async def test_responses_that_propose_another_time_ask_everybody_again(clinic: httpx.AsyncClient) -> None:
    id = await ask(clinic, "booked", ann="accepted", smith="accepted")
    proposal = await answer(clinic, id, "Practitioner/smith", "tentative", start=at("10:00"), end=at("10:30"))
    assert proposal.status_code == 201
    asked = await read(clinic, f"Appointment/{id}")
    assert (asked["status"], asked["start"], statuses(asked)) == ("booked", at("09:00"), ["needs-action"] * 2)
    found = (await clinic.get(f"/AppointmentResponse?appointment=Appointment/{id}&part-status=tentative")).json()
    assert [entry["resource"]["start"] for entry in found["entry"]] == [at("10:00")]
    stale = await answer(clinic, id, "Patient/ann", "accepted", start=at("10:00"), end=at("10:30"))
    assert_outcome(stale, 409, "conflict", "stale-response")


async def test_responses_name_who_takes_part_by_actor_role_or_type(clinic: httpx.AsyncClient) -> None:
    types = {code: [{"coding": [{"system": "http://example.org/part", "code": code}]}] for code in ("lead", "helper")}
    asked = appointment(status="proposed", actors=("Patient/ann", "PractitionerRole/smith-main"))
    asked["participant"][1]["type"] = types["lead"]
    asked["participant"].append({"type": types["helper"], "status": "needs-action"})
    id = (await clinic.post("/Appointment", json=asked)).json()["id"]
    assert (await answer(clinic, id, "Practitioner/smith", "tentative", participantType=types["lead"])).is_success
    assert (await answer(clinic, id, None, "declined", participantType=types["lead"])).is_success
    assert (await answer(clinic, id, "Practitioner/jones", "accepted", participantType=types["helper"])).is_success
    known = await read(clinic, f"Appointment/{id}")
    assert statuses(known) == ["accepted", "declined", "accepted"]
    assert known["participant"][2]["actor"] == {"reference": "Practitioner/jones"}
    for actor, type in (("Patient/bob", None), ("Practitioner/smith", "helper"), (None, "other")):
        other = {"participantType": types.get(type, [{"text": "x"}])} if type else {}
        refused = await answer(clinic, id, actor, "accepted", **other)
        assert_outcome(refused, 422, "business-rule", "no-such-participant")


async def test_responses_to_what_is_over_or_unknown_are_refused(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    id = await ask(clinic, "booked", ann="needs-action", smith="accepted")
    said = (await answer(clinic, id, "Patient/ann", "accepted")).json()
    set_clock(datetime.fromisoformat(at("09:30")))
    late = await answer(clinic, id, "Patient/ann", "declined")
    assert_outcome(late, 422, "business-rule", "not-answerable")
    assert (await clinic.put(f"/AppointmentResponse/{said['id']}", json={**said, "comment": "By bus"})).is_success
    unknown = await answer(clinic, "nowhere", "Patient/ann", "accepted")
    assert_outcome(unknown, 422, "not-found", "appointment-unknown")
    assert (await clinic.delete(f"/AppointmentResponse/{said['id']}")).status_code == 204
    assert (await read(clinic, f"Appointment/{id}"))["status"] == "booked"


async def test_responses_do_not_confirm_what_somebody_else_holds(clinic: httpx.AsyncClient) -> None:
    held = holds.ask_for(appointment(), NOW.replace(hour=9))
    id = (await clinic.post("/Appointment", json=held, headers={"X-Hold-Token": "secret"})).json()["id"]
    assert problems(await answer(clinic, id, "Practitioner/smith", "tentative")) == {"not-the-holder"}
    id = (await clinic.post("/Appointment", json=holds.ask_for(appointment(at("10:00")), NOW.replace(hour=9)))).json()[
        "id"
    ]
    await answer(clinic, id, "Practitioner/smith", "tentative")
    await answer(clinic, id, "Practitioner/smith", "accepted")
    assert (await read(clinic, f"Appointment/{id}"))["status"] == "pending"


@pytest.mark.parametrize("said", [("accepted", "declined"), ("declined", "accepted")])
async def test_responses_of_those_who_still_come_are_enough(clinic: httpx.AsyncClient, said: tuple[str, str]) -> None:
    group = {**schedule(), "extension": [scheduling(duration=30, capacity=2)]}
    await clinic.put("/Schedule/smith-main", json=group)
    id = await ask(clinic, ann="needs-action", bob="needs-action", smith="accepted")
    await answer(clinic, id, "Patient/ann", said[0])
    assert (await read(clinic, f"Appointment/{id}"))["status"] == "pending"
    await answer(clinic, id, "Patient/bob", said[1])
    assert (await read(clinic, f"Appointment/{id}"))["status"] == "booked"


async def test_responses_of_a_patient_confirm_nothing_that_the_clinic_wants_to_confirm(
    clinic: httpx.AsyncClient,
) -> None:
    wanted = {"url": SCHEDULING, "extension": [{"url": "confirmationRequired", "valueBoolean": True}]}
    await clinic.put("/Schedule/smith-main", json={**schedule(), "extension": [wanted]})
    pending = (await clinic.post("/Appointment/$book", json=appointment())).json()
    assert (pending["status"], statuses(pending)) == ("pending", ["accepted", "needs-action"])
    await answer(clinic, pending["id"], "Patient/ann", "accepted")
    assert (await read(clinic, f"Appointment/{pending['id']}"))["status"] == "pending"
    await answer(clinic, pending["id"], "Practitioner/smith", "accepted")
    assert (await read(clinic, f"Appointment/{pending['id']}"))["status"] == "booked"
