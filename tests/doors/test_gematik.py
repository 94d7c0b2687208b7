"""gematik's $book: a bare proposed Appointment, its answer the Appointment; moved, replaced, found by Schedule."""

from __future__ import annotations

from typing import Any

import httpx

from fhir_server.operations._asking import REPLACES
from fhir_server.scheduling.parameters import PARAMETERS
from tests.clinic import Json, appointment, at, patient, schedule, slot
from tests.doors.asking import parameters, post, reference
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome, problems

CONFIRMING = {"url": PARAMETERS, "extension": [{"url": "confirmationRequired", "valueBoolean": True}]}


def proposed(time: str = "09:00", **more: Any) -> Json:
    return appointment(at(time), status="proposed", **more)


async def test_a_bare_proposed_appointment_is_booked(clinic: httpx.AsyncClient) -> None:
    response = await post(clinic, "/Appointment/$book", proposed())
    booked = response.json()
    assert (response.status_code, booked["resourceType"], booked["status"]) == (201, "Appointment", "booked")
    assert booked["slot"] == [{"reference": "Slot/smith-main.20260303T0900.30"}]
    assert response.headers["location"].endswith(f"/Appointment/{booked['id']}/_history/1")
    taken = await post(clinic, "/Appointment/$book", proposed(actors=("Patient/bob", "Practitioner/smith")))
    assert_outcome(taken, 409, "conflict")


async def test_what_is_wrong_with_the_patient_is_an_outcome(clinic: httpx.AsyncClient) -> None:
    await put(clinic, patient(active=False))
    refused = await post(clinic, "/Appointment/$book", parameters(("appt-resource", proposed())))
    assert_outcome(refused, 422, "business-rule", "patient-inactive")
    nobody = await post(clinic, "/Appointment/$book", proposed(actors=("Practitioner/smith",)))
    assert_outcome(nobody, 422, "business-rule", "patient-required")


async def test_a_known_id_moves_the_appointment_and_keeps_the_id(clinic: httpx.AsyncClient) -> None:
    booked = (await post(clinic, "/Appointment/$book", proposed())).json()
    moved = await post(clinic, "/Appointment/$book", {**proposed("10:00"), "id": booked["id"]})
    assert (moved.status_code, moved.json()["id"], moved.json()["start"]) == (200, booked["id"], at("10:00"))
    assert (await clinic.get("/Slot/smith-main.20260303T0900.30")).json()["status"] == "free"


async def test_the_replaced_appointment_is_cancelled_only_if_the_new_one_is_won(clinic: httpx.AsyncClient) -> None:
    old = (await post(clinic, "/Appointment/$book", proposed())).json()
    await clinic.post("/Appointment", json=appointment(at("10:00"), actors=("Patient/bob", "Practitioner/smith")))

    async def book(time: str, instead: str = old["id"]) -> httpx.Response:
        asked = parameters(("appt-resource", proposed(time)), ("cancelled-appt-id", {"valueUri": instead}))
        return await post(clinic, "/Appointment/$book", asked)

    assert_outcome(await book("10:00"), 409, "conflict")
    assert (await clinic.get(f"/Appointment/{old['id']}")).json()["status"] == "booked"
    assert_outcome(await book("11:00", "Appointment/none"), 422, "not-found")
    new = await book("09:00")
    assert new.status_code == 201, new.text
    said = [one["valueReference"]["reference"] for one in new.json()["extension"] if one["url"] == REPLACES]
    assert said == [f"Appointment/{old['id']}"]
    assert (await clinic.get(f"/Appointment/{old['id']}")).json()["status"] == "cancelled"
    assert (await clinic.get("/Slot/smith-main.20260303T0900.30")).json()["status"] == "busy"
    assert_outcome(await book("11:00"), 422, "business-rule", "illegal-transition")


async def test_the_slots_are_found_from_the_schedule_and_the_time(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("one", at("18:00"), at("18:30")), slot("two", at("18:30"), at("19:00")))
    on = ("schedule", reference("Schedule/smith-main"))
    only = {"actors": ("Patient/ann",)}
    computed = await post(clinic, "/Appointment/$book", parameters(("appt-resource", proposed("09:00", **only)), on))
    assert (computed.status_code, computed.json()["slot"]) == (
        201,
        [{"reference": "Slot/smith-main.20260303T0900.30"}],
    )
    wanted = {**proposed("18:00", **only), "end": at("19:00")}
    own = await post(clinic, "/Appointment/$book", parameters(("appt-resource", wanted), on))
    assert own.json()["slot"] == [{"reference": "Slot/one"}, {"reference": "Slot/two"}]
    nowhere = parameters(("appt-resource", proposed(**only)), ("schedule", reference("Schedule/none")))
    assert_outcome(await post(clinic, "/Appointment/$book", nowhere), 422, "not-found", "slot-unknown")


async def test_what_is_to_be_confirmed_is_202_and_pending_until_it_is(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(extension=[CONFIRMING]))
    response = await post(clinic, "/Appointment/$book", proposed())
    asked = response.json()
    assert (response.status_code, asked["status"]) == (202, "pending")
    taken = await post(clinic, "/Appointment/$book", proposed(actors=("Patient/bob", "Practitioner/smith")))
    assert "practitioner-busy" in problems(taken)
    again = await clinic.post(f"/Appointment/{asked['id']}/$book")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    confirmed = await clinic.post(f"/Appointment/{asked['id']}/$confirm")
    assert (confirmed.status_code, confirmed.json()["status"]) == (200, "booked")
    assert (await clinic.get("/Slot/smith-main.20260303T0900.30")).json()["status"] == "busy"


async def test_a_preference_for_a_later_answer_is_answered_at_once(clinic: httpx.AsyncClient) -> None:
    response = await clinic.post("/Appointment/$book", json=proposed(), headers={"prefer": "respond-async"})
    assert (response.status_code, response.json()["status"]) == (201, "booked")
