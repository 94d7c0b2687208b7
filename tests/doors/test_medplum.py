"""Medplum's doors: $find by service and Schedules, $book and $hold of what it proposed, $confirm, $cancel."""

from __future__ import annotations

import httpx
import pytest

from tests.clinic import Json, appointment, at, room, schedule, service, slot
from tests.doors.asking import matches, outcomes, parameters, post, reference
from tests.operations.test_find_slots import find as find_slots
from tests.operations.test_find_slots import put, starts
from tests.outcomes import assert_outcome

ROOM = schedule("room-1", actor=[{"reference": "Location/room-1"}])
HOURS = [{"daysOfWeek": ["tue"], "openingTime": "10:00:00", "closingTime": "12:00:00"}]
ASKED = {
    "start": at("00:00"),
    "end": at("23:59"),
    "service-type-reference": "HealthcareService/consultation",
    "schedule": ["Schedule/smith-main", "Schedule/room-1"],
}


async def found(clinic: httpx.AsyncClient) -> list[Json]:
    await put(clinic, service(), room(hoursOfOperation=HOURS), ROOM)
    return matches((await clinic.get("/Appointment/$find", params=ASKED)).json())


def with_ann(proposal: Json) -> Json:
    ann = {"actor": {"reference": "Patient/ann"}, "status": "accepted"}
    return {**proposal, "participant": [*proposal["participant"], ann]}


async def test_proposals_hold_a_busy_slot_of_each_schedule(clinic: httpx.AsyncClient) -> None:
    proposals = await found(clinic)
    assert [one["start"][11:16] for one in proposals] == ["10:00", "10:30", "11:00", "11:30"]
    first = proposals[0]
    assert {slot["schedule"]["reference"] for slot in first["contained"]} == set(ASKED["schedule"])
    assert {slot["status"] for slot in first["contained"]} == {"busy"}
    assert {f"#{slot['id']}" for slot in first["contained"]} == {one["reference"] for one in first["slot"]}


async def test_a_proposal_is_booked_as_it_is_and_the_answer_is_a_transaction(clinic: httpx.AsyncClient) -> None:
    proposal = with_ann((await found(clinic))[0])
    response = await post(clinic, "/Appointment/$book", parameters(("appointment", proposal)))
    bundle = response.json()
    assert (response.status_code, bundle["type"]) == (201, "transaction-response")
    booked, *slots = [entry["resource"] for entry in bundle["entry"]]
    assert (booked["status"], "contained" in booked) == ("booked", False)
    assert {slot["status"] for slot in slots} == {"busy"}
    assert {f"Slot/{slot['id']}" for slot in slots} == {one["reference"] for one in booked["slot"]}
    assert {entry["response"]["status"] for entry in bundle["entry"]} == {"201 Created"}
    other = {**proposal, "id": "other", "participant": proposal["participant"][:-1]}
    other["participant"] = [*other["participant"], {"actor": {"reference": "Patient/bob"}, "status": "accepted"}]
    assert_outcome(await post(clinic, "/Appointment/$book", parameters(("appointment", other))), 409, "conflict")


async def test_a_proposal_is_held_and_confirmed_once(clinic: httpx.AsyncClient) -> None:
    proposal = with_ann((await found(clinic))[1])
    held = (await post(clinic, "/Appointment/$hold", parameters(("appointment", proposal)))).json()
    appointment_, *slots = [entry["resource"] for entry in held["entry"]]
    assert appointment_["status"] == "pending"
    assert {slot["status"] for slot in slots} == {"busy-tentative"}
    url = f"/Appointment/{appointment_['id']}/$confirm"
    confirmed = await clinic.post(url)
    assert (confirmed.status_code, confirmed.json()["status"]) == (200, "booked")
    assert_outcome(await clinic.post(url), 409, "conflict", "illegal-transition")
    assert_outcome(await clinic.post("/Appointment/none/$confirm"), 404, "not-found")


async def test_cancel_needs_no_body_but_says_that_there_was_no_reason(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    url = f"/Appointment/{booked['id']}/$cancel"
    without = parameters(("comment", {"valueString": "no reason"}))
    assert_outcome(await clinic.post(url, json=without), 400, "required")
    cancelled = (await clinic.post(url)).json()
    assert (cancelled["status"], cancelled["cancelationReason"]["coding"][0]["code"]) == ("cancelled", "not-given")
    assert starts(await find_slots(clinic))[0] == "09:00"
    other = (await clinic.post("/Appointment", json=appointment())).json()
    empty = await clinic.post(f"/Appointment/{other['id']}/$cancel", json={"resourceType": "Parameters"})
    assert empty.json()["cancelationReason"] == cancelled["cancelationReason"]


async def test_rescheduled_to_a_start_and_a_schedule(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    url = f"/Appointment/{booked['id']}/$reschedule"
    for on, time in (({"valueString": "Schedule/smith-main"}, "10:00"), (reference("Schedule/smith-main"), "11:00")):
        asked = parameters(("start", {"valueDateTime": at(time)}), ("schedule", on))
        moved = await post(clinic, url, asked)
        assert (moved.status_code, moved.json()["id"], moved.json()["start"]) == (200, booked["id"], at(time))
    taken = appointment(at("09:00"), actors=("Patient/bob", "Practitioner/smith"))
    assert (await clinic.post("/Appointment", json=taken)).status_code == 201
    back = await post(clinic, url, parameters(("start", {"valueDateTime": at("09:00")})))
    assert_outcome(back, 409, "conflict")
    assert (await clinic.get(f"/Appointment/{booked['id']}")).json()["start"] == at("11:00")


async def test_a_contained_slot_says_its_schedule_by_reference(clinic: httpx.AsyncClient) -> None:
    nowhere = {**slot("s", at("09:00"), at("09:30"), status="busy"), "schedule": {"display": "Dr Smith"}}
    wanted = appointment(status="proposed", contained=[nowhere], slot=[{"reference": "#s"}])
    assert_outcome(await post(clinic, "/Appointment/$book", parameters(("appointment", wanted))), 422, "value")


@pytest.mark.parametrize("call", ["$hold", "$book"])
async def test_a_cancelled_appointment_is_neither_held_nor_booked(clinic: httpx.AsyncClient, call: str) -> None:
    held = (await post(clinic, "/Appointment/$hold", appointment(status="proposed"))).json()
    for given in (appointment(at("10:00"), status="cancelled"), {**held, "status": "cancelled"}):
        refused = await post(clinic, f"/Appointment/{call}", parameters(("appointment", given)))
        assert_outcome(refused, 422, "business-rule", "illegal-transition")
    assert (await clinic.get(f"/Appointment/{held['id']}")).json()["status"] == "pending"


async def test_nothing_free_is_said_in_an_outcome(clinic: httpx.AsyncClient) -> None:
    await put(clinic, service(), room(hoursOfOperation=HOURS), ROOM)
    bundle = (await clinic.get("/Appointment/$find", params={**ASKED, "start": at("22:00")})).json()
    assert (bundle["total"], matches(bundle)) == (0, [])
    assert outcomes(bundle)
