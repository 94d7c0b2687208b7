"""Booking through every door: POST and PUT of an Appointment, $book by slot, by resource and on an instance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from fhir_server.scheduling.alternatives import ALTERNATIVE, BLOCKING
from tests.clinic import (
    MONDAY,
    REASON,
    TUESDAY,
    WEDNESDAY,
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
from tests.operations.test_find_slots import find, put, starts
from tests.outcomes import assert_outcome, problems
from tests.served import BASE

SLOT = "Slot/smith-main.20260303T0900.30"


async def book(client: httpx.AsyncClient, door: str, wanted: dict[str, Any]) -> httpx.Response:
    """Asks for the Appointment through one of the doors."""
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "appointment", "resource": wanted}]}
    match door:
        case "create":
            return await client.post("/Appointment", json=wanted)
        case "update":
            return await client.put("/Appointment/mine", json={**wanted, "id": "mine"})
        case "book":
            return await client.post("/Appointment/$book", json=parameters)
        case "book-bare":
            return await client.post("/Appointment/$book", json=wanted)
        case "confirm":
            proposed = await client.post("/Appointment", json={**wanted, "status": "proposed"})
            return await client.post(f"/Appointment/{proposed.json()['id']}/$book")
    raise AssertionError(door)


every_door = pytest.mark.parametrize("door", ["create", "update", "book", "book-bare", "confirm"])


@every_door
async def test_b1_a_free_time_can_be_booked(clinic: httpx.AsyncClient, door: str) -> None:
    response = await book(clinic, door, appointment())
    assert response.status_code in (200, 201), response.text
    booked = response.json()
    assert booked["status"] == "booked"
    assert booked["slot"] == [{"reference": SLOT}]
    assert (await clinic.get(f"/{SLOT}")).json()["status"] == "busy"


@every_door
async def test_b2_a_taken_time_is_a_conflict_with_the_nearest_free_times(clinic: httpx.AsyncClient, door: str) -> None:
    await clinic.post("/Appointment", json=appointment(at("10:00")))
    response = await book(clinic, door, appointment(at("10:00"), actors=("Patient/bob", "Practitioner/smith")))
    issue = assert_outcome(response, 409, "conflict", "practitioner-busy")
    assert issue["expression"] == ["Appointment.participant[1].actor"]
    nearest = assert_outcome(response, 409, "informational", "alternatives")
    assert {one["url"] for one in nearest["extension"]} == {ALTERNATIVE}
    parts = [{part["url"]: part for part in one["extension"]} for one in nearest["extension"]]
    assert [part["period"]["valuePeriod"]["start"][11:16] for part in parts] == ["09:00", "09:30", "10:30"]
    free = await clinic.get(f"/{parts[0]['slot']['valueReference']['reference']}")
    assert free.json()["status"] == "free"
    assert "ann" not in response.text
    assert "Ash" not in response.text


async def test_b2_a_refusal_names_the_slots_that_are_in_the_way(clinic: httpx.AsyncClient) -> None:
    buffered = schedule(parameters={"bufferAfter": 15, "alignmentInterval": 15})
    await put(clinic, buffered, slot("ill", at("10:00"), at("10:30"), status="busy-unavailable"))
    for start, who in (("09:00", "ann"), ("11:00", "bob")):
        made = appointment(at(start), actors=(f"Patient/{who}", "Practitioner/smith"))
        assert (await clinic.post("/Appointment", json=made)).status_code == 201
    wanted = appointment(at("09:30"), actors=("Patient/bob", "Practitioner/smith"))
    said = assert_outcome(await clinic.post("/Appointment", json=wanted), 409, "informational", "blocking-slots")
    named = [(one["url"], one["valueReference"]["reference"]) for one in said["extension"]]
    assert named == [(BLOCKING, "Slot/ill"), (BLOCKING, "Slot/smith-main.20260303T0900.30")]


async def test_b2_where_else_a_patient_is_stays_untold(clinic: httpx.AsyncClient) -> None:
    jones = {"reference": "Practitioner/jones"}
    await put(clinic, practitioner("jones"), role("jones-main", practitioner=jones))
    await put(clinic, schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]))
    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201
    elsewhere = await clinic.post("/Appointment", json=appointment(actors=("Patient/ann", "Practitioner/jones")))
    assert_outcome(elsewhere, 409, "conflict", "patient-busy")
    assert "Slot/smith-main" not in elsewhere.text


@every_door
@pytest.mark.parametrize(
    ("wanted", "status", "problem"),
    [
        (appointment(at("13:00")), 422, "outside-hours"),
        (appointment(at("09:10")), 422, "off-grid"),
        (appointment(at("07:00", MONDAY)), 422, "in-the-past"),
        (appointment(minutes=0), 422, "empty-time"),
        (appointment(minutes=60 * 25), 422, "too-long"),
        (appointment(actors=("Patient/nobody", "Practitioner/smith")), 422, "patient-unknown"),
        (appointment(actors=("Practitioner/smith",)), 422, "patient-required"),
        (appointment(actors=("Patient/ann", "Practitioner/nobody")), 422, "practitioner-unknown"),
        (appointment(actors=("Patient/ann", "Practitioner/smith", "Location/nowhere")), 422, "location-unknown"),
        (appointment(actors=("Patient/ann",)), 422, "no-schedule"),
        (appointment(slot=[{"reference": "Slot/none"}]), 422, "slot-unknown"),
        (appointment(at("10:00"), slot=[{"reference": SLOT}]), 422, "slot-mismatch"),
    ],
)
async def test_b1_what_the_rules_forbid_is_refused_with_its_code(
    clinic: httpx.AsyncClient, door: str, wanted: dict[str, Any], status: int, problem: str
) -> None:
    response = await book(clinic, door, wanted)
    assert response.status_code == status, response.text
    assert problem in problems(response)
    total = (await clinic.get("/Appointment?status=booked&_count=0")).json()["total"]
    assert total == 0


async def test_b1_every_failed_check_is_reported_at_once(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic, patient(active=False), practitioner("jones", active=False), room(), location("far", status="suspended")
    )
    actors = ("Patient/ann", "Practitioner/smith", "Practitioner/jones", "Location/far")
    response = await clinic.post("/Appointment", json=appointment(at("12:30"), actors=actors))
    assert response.status_code == 422
    found = problems(response)
    assert {
        "patient-inactive",
        "practitioner-inactive",
        "no-schedule",
        "outside-hours",
        "location-inactive",
        "not-at-location",
    } <= found


@pytest.mark.parametrize(
    ("place", "status"), [("north", 422), ("north-room", 422), ("main", 201), ("room-1", 201), ("campus", 201)]
)
async def test_b1_a_sister_clinic_is_not_the_clinic(clinic: httpx.AsyncClient, place: str, status: int) -> None:
    campus = {"reference": "Location/campus"}
    await put(clinic, location("campus"), location(partOf=campus), location("north", partOf=campus), room())
    await put(clinic, room("north-room") | {"partOf": {"reference": "Location/north"}})
    wanted = appointment(actors=("Patient/ann", "Practitioner/smith", f"Location/{place}"))
    response = await clinic.post("/Appointment", json=wanted)
    assert response.status_code == status, response.text
    if status == 422:
        assert problems(response) == {"not-at-location"}


async def test_b1_of_several_schedules_that_at_the_clinic_of_the_room_is_taken(clinic: httpx.AsyncClient) -> None:
    north = role("smith-north", location=[{"reference": "Location/north"}])
    await put(clinic, location("north"), room() | {"partOf": {"reference": "Location/north"}}, north)
    await put(clinic, schedule("smith-north", actor=[{"reference": "PractitionerRole/smith-north"}]))
    wanted = appointment(actors=("Patient/ann", "Practitioner/smith", "Location/room-1"))
    response = await clinic.post("/Appointment", json=wanted)
    assert response.status_code == 201, response.text
    assert response.json()["slot"] == [{"reference": "Slot/smith-north.20260303T0900.30"}]


async def test_b1_a_patient_of_another_organization_is_refused(clinic: httpx.AsyncClient) -> None:
    await put(clinic, organization("other"), patient(managingOrganization={"reference": "Organization/other"}))
    response = await clinic.post("/Appointment", json=appointment())
    assert_outcome(response, 422, "business-rule", "patient-other-organization")
    await put(clinic, patient(managingOrganization={"reference": "Organization/riverside"}))
    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201


async def test_b2_a_patient_cannot_be_at_two_places(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic,
        practitioner("jones"),
        role("jones-main", practitioner={"reference": "Practitioner/jones"}),
        schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]),
    )
    await clinic.post("/Appointment", json=appointment())
    response = await clinic.post("/Appointment", json=appointment(actors=("Patient/ann", "Practitioner/jones")))
    assert_outcome(response, 409, "conflict", "patient-busy")


async def test_b2_a_practitioner_cannot_be_at_two_clinics(clinic: httpx.AsyncClient) -> None:
    north = {"location": [{"reference": "Location/north"}]}
    await put(
        clinic,
        location("north"),
        role("smith-north", **north),
        schedule("smith-north", actor=[{"reference": "PractitionerRole/smith-north"}]),
    )
    actors = ("Patient/ann", "Practitioner/smith", "Location/main")
    assert (await clinic.post("/Appointment", json=appointment(actors=actors))).status_code == 201
    there = ("Patient/bob", "Practitioner/smith", "Location/north")
    response = await clinic.post("/Appointment", json=appointment(actors=there))
    assert_outcome(response, 409, "conflict", "practitioner-busy")
    assert "09:00" not in starts(await find(clinic, "/Schedule/smith-north"))


async def test_a_room_beside_the_schedule_is_taken_too(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic,
        room(),
        practitioner("jones"),
        role("jones-main", practitioner={"reference": "Practitioner/jones"}),
        schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]),
    )
    first = appointment(actors=("Patient/ann", "Practitioner/smith", "Location/room-1"))
    second = appointment(actors=("Patient/bob", "Practitioner/jones", "Location/room-1"))
    assert (await clinic.post("/Appointment", json=first)).status_code == 201
    assert_outcome(await clinic.post("/Appointment", json=second), 409, "conflict", "location-busy")


async def test_a_practitioner_who_declined_is_not_taken(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    booked["participant"][1]["status"] = "declined"
    assert (await clinic.put(f"/Appointment/{booked['id']}", json=booked)).status_code == 200
    assert "09:00" in starts(await find(clinic))
    other = appointment(actors=("Patient/bob", "Practitioner/smith"))
    assert (await clinic.post("/Appointment", json=other)).status_code == 201


async def test_a_visit_handed_to_a_colleague_frees_who_had_it(clinic: httpx.AsyncClient) -> None:
    await put(
        clinic,
        practitioner("jones"),
        role("jones-main", practitioner={"reference": "Practitioner/jones"}),
        schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]),
    )
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    booked["participant"][1]["actor"]["reference"] = "Practitioner/jones"
    response = await clinic.put(f"/Appointment/{booked['id']}", json=booked)
    assert response.status_code == 200, response.text
    assert response.json()["slot"] == [{"reference": "Slot/jones-main.20260303T0900.30"}]
    assert "09:00" in starts(await find(clinic))
    assert "09:00" not in starts(await find(clinic, "/Schedule/jones-main"))


async def test_booking_by_slot_and_patient_takes_the_schedules_actors_along(clinic: httpx.AsyncClient) -> None:
    found = (await find(clinic))[0]
    parameters = [
        {"name": "slot", "valueReference": {"reference": f"Slot/{found['id']}"}},
        {"name": "patient", "valueReference": {"reference": "Patient/ann"}},
        {"name": "comment", "valueString": "first visit"},
    ]
    response = await clinic.post("/Appointment/$book", json={"resourceType": "Parameters", "parameter": parameters})
    assert response.status_code == 201, response.text
    booked = response.json()
    assert booked["comment"] == "first visit"
    actors = {one["actor"]["reference"] for one in booked["participant"]}
    assert actors == {"PractitionerRole/smith-main", "Patient/ann"}
    assert (booked["start"], booked["end"]) == (found["start"], found["end"])
    assert response.headers["location"].endswith(f"/Appointment/{booked['id']}/_history/1")


async def test_a12_booking_a_published_slot_makes_it_busy_and_cancelling_frees_it(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("evening"))
    wanted = appointment(at("18:00"), slot=[{"reference": "Slot/evening"}])
    booked = await clinic.post("/Appointment", json=wanted)
    assert booked.status_code == 201, booked.text
    assert (await clinic.get("/Slot/evening")).json()["status"] == "busy"
    again = appointment(at("18:00"), slot=[{"reference": "Slot/evening"}], actors=("Patient/bob", "Practitioner/smith"))
    assert (await clinic.post("/Appointment", json=again)).status_code == 409
    assert_outcome(await clinic.put("/Slot/evening", json=slot("evening")), 409, "conflict", "slot-in-use")
    assert_outcome(await clinic.delete("/Slot/evening"), 409, "conflict", "slot-in-use")
    cancelled = {**booked.json(), "status": "cancelled", "cancelationReason": REASON}
    assert (await clinic.put(f"/Appointment/{booked.json()['id']}", json=cancelled)).status_code == 200
    assert (await clinic.get("/Slot/evening")).json()["status"] == "free"


async def test_a_busy_slot_of_the_ehr_cannot_be_booked(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("away", at("09:00"), at("09:30"), status="busy-unavailable"))
    refused = await clinic.post("/Appointment", json=appointment())
    assert_outcome(refused, 409, "conflict", "practitioner-busy")
    named = appointment(slot=[{"reference": "Slot/away"}])
    assert (await clinic.post("/Appointment", json=named)).status_code == 409


async def test_a_move_frees_the_old_time_and_takes_the_new_one(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    moved = {**booked, "start": at("11:00"), "end": at("11:30")}
    response = await clinic.put(f"/Appointment/{booked['id']}", json=moved)
    assert response.status_code == 200, response.text
    assert response.json()["slot"] == [{"reference": "Slot/smith-main.20260303T1100.30"}]
    assert starts(await find(clinic)) == ["09:00", "09:30", "10:00", "10:30", "11:30"]


async def test_a_move_to_a_taken_time_changes_nothing(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    await clinic.post("/Appointment", json=appointment(at("11:00"), actors=("Patient/bob", "Practitioner/smith")))
    moved = {**booked, "start": at("11:00"), "end": at("11:30")}
    assert_outcome(await clinic.put(f"/Appointment/{booked['id']}", json=moved), 409, "conflict", "practitioner-busy")
    assert (await clinic.get(f"/Appointment/{booked['id']}")).json() == booked
    assert starts(await find(clinic)) == ["09:30", "10:00", "10:30", "11:30"]


async def test_its_own_time_does_not_block_a_move(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    longer = {**booked, "end": at("10:00")}
    response = await clinic.put(f"/Appointment/{booked['id']}", json=longer)
    assert response.status_code == 200, response.text
    assert starts(await find(clinic)) == ["10:00", "10:30", "11:00", "11:30"]


async def test_a_note_on_a_booked_appointment_is_no_new_booking(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    await put(clinic, role(notAvailable=[{"description": "Leave", "during": {"start": TUESDAY, "end": TUESDAY}}]))
    response = await clinic.put(f"/Appointment/{booked['id']}", json={**booked, "comment": "parking asked for"})
    assert response.status_code == 200, response.text


async def test_deleting_an_appointment_frees_its_time(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    assert (await clinic.delete(f"/Appointment/{booked['id']}")).status_code == 204
    assert "09:00" in starts(await find(clinic))


async def test_l6_who_is_booked_in_the_future_cannot_be_deleted(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment())
    for reference in ("Schedule/smith-main", "Practitioner/smith", "Patient/ann"):
        assert_outcome(await clinic.delete(f"/{reference}"), 409, "conflict", "has-bookings")
    assert (await clinic.delete("/Patient/bob")).status_code == 204


async def test_pending_holds_the_time_tentatively(clinic: httpx.AsyncClient) -> None:
    pending = (await clinic.post("/Appointment", json=appointment(status="pending"))).json()
    assert (await clinic.get(f"/{SLOT}")).json()["status"] == "busy-tentative"
    assert (
        await clinic.post("/Appointment", json=appointment(actors=("Patient/bob", "Practitioner/smith")))
    ).status_code == 409
    assert (await clinic.put(f"/Appointment/{pending['id']}", json={**pending, "status": "booked"})).status_code == 200
    assert (await clinic.get(f"/{SLOT}")).json()["status"] == "busy"


async def test_a_proposal_and_a_waiting_patient_take_no_time(clinic: httpx.AsyncClient) -> None:
    for status in ("proposed", "waitlist"):
        assert (await clinic.post("/Appointment", json=appointment(status=status))).status_code == 201
    assert "09:00" in starts(await find(clinic))


async def test_the_same_idempotency_key_gets_the_same_answer(clinic: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "a1"}
    first = await clinic.post("/Appointment", json=appointment(), headers=headers)
    again = await clinic.post("/Appointment", json=appointment(), headers=headers)
    assert (again.status_code, again.json(), again.headers["location"]) == (
        201,
        first.json(),
        first.headers["location"],
    )
    other = await clinic.post("/Appointment", json=appointment(at("10:00")), headers=headers)
    assert other.status_code == 422
    assert (await clinic.get("/Appointment?_count=0")).json()["total"] == 1


async def test_repeated_requests_at_the_same_time_book_once(clinic: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "a2"}
    answers = await asyncio.gather(
        *(clinic.post("/Appointment", json=appointment(), headers=headers) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_b2_of_many_at_once_one_wins_and_the_others_are_told(clinic: httpx.AsyncClient) -> None:
    patients = [patient(f"p{number}") for number in range(16)]
    await put(clinic, *patients)
    wanted = [appointment(actors=(f"Patient/{one['id']}", "Practitioner/smith")) for one in patients]
    answers = await asyncio.gather(*(clinic.post("/Appointment", json=one) for one in wanted))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 15


async def test_b2_overlapping_but_different_times_do_not_both_win(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(parameters={"alignmentInterval": 5}), *(patient(f"p{number}") for number in range(6)))
    wanted = [
        appointment(at(f"10:{5 * number:02}"), actors=(f"Patient/p{number}", "Practitioner/smith"))
        for number in range(6)
    ]
    answers = await asyncio.gather(*(clinic.post("/Appointment", json=one) for one in wanted))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5


async def test_a7_a_group_fills_to_its_last_place_and_no_further(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(parameters={"capacity": 5}), *(patient(f"p{number}") for number in range(9)))
    wanted = [appointment(actors=(f"Patient/p{number}", "Practitioner/smith")) for number in range(9)]
    answers = await asyncio.gather(*(clinic.post("/Appointment", json=one) for one in wanted))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 4
    assert (await clinic.get(f"/{SLOT}")).json()["status"] == "busy"


async def test_bookings_that_do_not_clash_all_succeed(clinic: httpx.AsyncClient) -> None:
    hours = {"daysOfWeek": ["tue"], "allDay": True}
    numbers = range(48)
    await put(clinic, role(availableTime=[hours]), *(patient(f"p{number}") for number in numbers))
    wanted = [
        appointment(at(f"{number // 2:02}:{number % 2 * 30:02}"), actors=(f"Patient/p{number}", "Practitioner/smith"))
        for number in numbers
    ]
    answers = await asyncio.gather(*(clinic.post("/Appointment", json=one) for one in wanted))
    assert {answer.status_code for answer in answers} == {201}


async def test_a_slot_that_is_moved_under_nobody_is_fine(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("evening"), slot("evening", at("19:00", WEDNESDAY), at("19:30", WEDNESDAY)))
    assert (await clinic.get("/Slot/evening")).json()["start"] == at("19:00", WEDNESDAY)


async def test_a_slot_of_no_schedule_is_refused(clinic: httpx.AsyncClient) -> None:
    response = await clinic.put("/Slot/x", json=slot("x", schedule={"reference": "Schedule/none"}))
    assert_outcome(response, 422, "not-found", "schedule-unknown")


async def test_book_needs_a_slot_with_a_patient_or_an_appointment(clinic: httpx.AsyncClient) -> None:
    assert_outcome(await clinic.post("/Appointment/$book", json={"resourceType": "Parameters"}), 400, "required")
    assert_outcome(await clinic.post("/Appointment/none/$book"), 404, "not-found")
    wrong = {"resourceType": "Parameters", "parameter": [{"name": "colour", "valueString": "red"}]}
    assert_outcome(await clinic.post("/Appointment/$book", json=wrong), 400, "invalid")


async def test_a_time_whose_slot_was_deleted_can_be_booked_again(
    client_with: Callable[..., Awaitable[httpx.AsyncClient]],
) -> None:
    clinic = await client_with(clinic=True, delete_referenced=True)
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    await clinic.put(
        f"/Appointment/{booked['id']}", json={**booked, "status": "cancelled", "cancelationReason": REASON}
    )
    assert (await clinic.delete(f"/{SLOT}")).status_code == 204
    assert (await clinic.get(f"/{SLOT}")).json()["status"] == "free"
    again = await clinic.post("/Appointment", json=appointment())
    assert again.status_code == 201, again.text
    assert (await clinic.get(f"/{SLOT}")).headers["etag"] == 'W/"4"'


async def test_arriving_is_no_way_around_the_grid_for_a_later_time(clinic: httpx.AsyncClient) -> None:
    early = await clinic.post("/Appointment", json=appointment(at("09:10"), status="arrived"))
    assert_outcome(early, 422, "business-rule", "off-grid")
    walk_in = appointment(at("08:10", MONDAY), status="arrived")
    assert problems(await clinic.post("/Appointment", json=walk_in)) == {"outside-hours"}
    soon = appointment("2026-03-02T09:00:00Z", status="arrived")
    assert (await clinic.post("/Appointment", json=soon)).status_code == 201


async def test_book_heeds_if_match(clinic: httpx.AsyncClient) -> None:
    proposed = (await clinic.post("/Appointment", json=appointment(status="proposed"))).json()
    url = f"/Appointment/{proposed['id']}/$book"
    assert_outcome(await clinic.post(url, headers={"If-Match": 'W/"9"'}), 412, "conflict")
    assert (await clinic.post(url, headers={"If-Match": 'W/"1"'})).status_code == 200


async def test_a_role_with_bookings_cannot_be_deleted(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment())
    assert_outcome(await clinic.delete("/PractitionerRole/smith-main"), 409, "conflict", "has-bookings")


async def test_what_a_stranger_names_is_not_freed_with_it(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment())
    slot_of = [{"reference": SLOT}]
    stranger = appointment(status="proposed", actors=("Patient/bob", "Practitioner/smith"), slot=slot_of)
    proposed = (await clinic.post("/Appointment", json=stranger)).json()
    assert (await clinic.delete(f"/Appointment/{proposed['id']}")).status_code == 204
    past = {**appointment(at("07:00", MONDAY), status="arrived"), "slot": slot_of}
    record = (await clinic.post("/Appointment", json=past)).json()
    cancelled = {**record, "status": "cancelled", "cancelationReason": REASON}
    assert (await clinic.put(f"/Appointment/{record['id']}", json=cancelled)).status_code == 200
    assert (await clinic.get(f"/{SLOT}")).json()["status"] == "busy"


async def test_deleting_a_cancelled_appointment_leaves_the_next_ones_slot(clinic: httpx.AsyncClient) -> None:
    first = (await clinic.post("/Appointment", json=appointment())).json()
    await clinic.put(f"/Appointment/{first['id']}", json={**first, "status": "cancelled", "cancelationReason": REASON})
    await clinic.post("/Appointment", json=appointment(actors=("Patient/bob", "Practitioner/smith")))
    assert (await clinic.delete(f"/Appointment/{first['id']}")).status_code == 204
    assert (await clinic.get(f"/{SLOT}")).json()["status"] == "busy"


async def test_two_schedules_of_one_practitioner_do_not_share(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule("group", parameters={"capacity": 5}))
    both = [{"reference": SLOT}, {"reference": "Slot/group.20260303T0900.30"}]
    assert (await clinic.post("/Appointment", json=appointment(slot=both))).status_code == 201
    more = appointment(actors=("Patient/bob",), slot=both[1:])
    assert_outcome(await clinic.post("/Appointment", json=more), 409, "conflict", "practitioner-busy")


async def test_who_is_behind_a_booked_schedule_stays(clinic: httpx.AsyncClient) -> None:
    await put(clinic, practitioner("jones"))
    await clinic.post("/Appointment", json=appointment())
    other = role(practitioner={"reference": "Practitioner/jones"})
    assert_outcome(await clinic.put("/PractitionerRole/smith-main", json=other), 409, "conflict", "has-bookings")
    moved = schedule(actor=[{"reference": "Practitioner/jones"}])
    assert_outcome(await clinic.put("/Schedule/smith-main", json=moved), 409, "conflict", "has-bookings")
    assert (await clinic.put("/Schedule/smith-main", json=schedule(comment="same people"))).status_code == 200


async def test_a_patient_who_is_deleted_meanwhile_is_not_booked(clinic: httpx.AsyncClient) -> None:
    for number in range(12):
        await put(clinic, patient(f"p{number}"))
        wanted = appointment(at("09:00"), actors=(f"Patient/p{number}", "Practitioner/smith"))
        booked, deleted = await asyncio.gather(
            clinic.post("/Appointment", json=wanted), clinic.delete(f"/Patient/p{number}")
        )
        assert (booked.status_code == 201) != (deleted.status_code == 204), (booked.text, deleted.text)
        if booked.status_code == 201:
            assert (await clinic.delete(f"/Appointment/{booked.json()['id']}")).status_code == 204


async def test_a_patient_who_came_back_can_be_booked(clinic: httpx.AsyncClient) -> None:
    assert (await clinic.delete("/Patient/ann")).status_code == 204
    assert_outcome(await clinic.post("/Appointment", json=appointment()), 422, "not-found", "patient-unknown")
    await put(clinic, patient())
    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201


async def test_an_ehr_closes_what_is_left_of_a_group(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(parameters={"capacity": 3}))
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    closed = slot(SLOT.partition("/")[2], at("09:00"), at("09:30"), status="busy-unavailable")
    assert (await clinic.put(f"/{SLOT}", json=closed)).status_code in (200, 201)
    assert "09:00" not in starts(await find(clinic))
    other = appointment(actors=("Patient/bob", "Practitioner/smith"))
    assert (await clinic.post("/Appointment", json=other)).status_code == 409
    await clinic.put(
        f"/Appointment/{booked['id']}", json={**booked, "status": "cancelled", "cancelationReason": REASON}
    )
    assert (await clinic.get(f"/{SLOT}")).json()["status"] == "busy-unavailable"
    assert "09:00" not in starts(await find(clinic))


async def test_the_id_of_a_computed_slot_is_for_that_slot_alone(clinic: httpx.AsyncClient) -> None:
    squatter = slot(SLOT.partition("/")[2], at("20:00"), at("20:30"))
    assert_outcome(await clinic.put(f"/{SLOT}", json=squatter), 422, "business-rule", "slot-id-reserved")
    own = slot(SLOT.partition("/")[2], at("09:00"), at("09:30"), status="busy-tentative")
    assert (await clinic.put(f"/{SLOT}", json=own)).status_code == 201


async def test_book_is_not_for_what_is_booked_or_has_arrived(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    other = {**appointment(at("10:00"), actors=("Patient/bob", "Practitioner/smith")), "id": booked["id"]}
    assert_outcome(await clinic.post("/Appointment/$book", json=other), 422, "business-rule", "illegal-transition")
    await clinic.put(f"/Appointment/{booked['id']}", json={**booked, "status": "arrived"})
    response = await clinic.post(f"/Appointment/{booked['id']}/$book")
    assert_outcome(response, 422, "business-rule", "illegal-transition")


async def test_a_key_used_with_another_query_is_another_request(clinic: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "q"}
    first = await clinic.post("/Appointment/$book", params={"slot": SLOT, "patient": "Patient/ann"}, headers=headers)
    assert first.status_code == 201, first.text
    later = "Slot/smith-main.20260303T1000.30"
    other = await clinic.post("/Appointment/$book", params={"slot": later, "patient": "Patient/bob"}, headers=headers)
    assert_outcome(other, 422, "business-rule", "idempotency-key-reused")


@pytest.mark.parametrize(
    "actor",
    [
        {"reference": "http://other.example/fhir/Patient/x"},
        {"display": "Ann Ash"},
        {"type": "Patient", "identifier": {"value": "1"}},
    ],
)
async def test_a_booking_needs_a_patient_of_this_server(clinic: httpx.AsyncClient, actor: dict[str, Any]) -> None:
    wanted = appointment(actors=("Practitioner/smith",))
    wanted["participant"].append({"actor": actor, "status": "accepted"})
    assert_outcome(await clinic.post("/Appointment", json=wanted), 422, "business-rule", "patient-required")


async def test_a_patient_who_is_only_informed_does_not_make_a_booking(clinic: httpx.AsyncClient) -> None:
    wanted = appointment()
    wanted["participant"][0]["required"] = "information-only"
    assert_outcome(await clinic.post("/Appointment", json=wanted), 422, "business-rule", "patient-required")


@pytest.mark.parametrize("spelling", ["Patient/ann", f"{BASE}Patient/ann", "Patient/ann/_history/1"])
async def test_a_patient_who_is_named_twice_is_one(clinic: httpx.AsyncClient, spelling: str) -> None:
    wanted = appointment(actors=("Patient/ann", spelling, "Practitioner/smith"))
    assert (await clinic.post("/Appointment", json=wanted)).status_code == 201


async def test_a_patient_who_is_given_beside_an_appointment_that_names_her_takes_part_once(
    clinic: httpx.AsyncClient,
) -> None:
    wanted = {"name": "appointment", "resource": appointment(actors=(f"{BASE}Patient/ann", "Practitioner/smith"))}
    whose = {"name": "patient", "valueReference": {"reference": "Patient/ann"}}
    asked = {"resourceType": "Parameters", "parameter": [wanted, whose]}
    booked = (await clinic.post("/Appointment/$book", json=asked)).json()
    assert len(booked["participant"]) == 2


async def test_more_patients_than_places_are_told_so(clinic: httpx.AsyncClient) -> None:
    wanted = appointment(actors=("Patient/ann", "Patient/bob", "Practitioner/smith"))
    assert_outcome(await clinic.post("/Appointment", json=wanted), 422, "business-rule", "group-too-large")


async def test_a_slot_elsewhere_that_an_appointment_names_is_kept(clinic: httpx.AsyncClient) -> None:
    elsewhere = {"reference": "https://ehr.example/fhir/Slot/9"}
    booked = (await clinic.post("/Appointment", json=appointment(slot=[elsewhere]))).json()
    assert booked["slot"] == [elsewhere, {"reference": SLOT}]


async def test_booking_the_time_of_a_published_slot_takes_that_slot(clinic: httpx.AsyncClient) -> None:
    absolute = {"reference": "http://127.0.0.1:8000/fhir/Schedule/smith-main"}
    await put(clinic, slot("nine", at("09:00"), at("09:30"), schedule=absolute))
    assert [one["id"] for one in (await find(clinic))[:1]] == ["nine"]
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    assert booked["slot"] == [{"reference": "Slot/nine"}]
    assert (await clinic.get("/Slot/nine")).json()["status"] == "busy"


async def test_adjacent_slots_are_booked_together(clinic: httpx.AsyncClient) -> None:
    both = [{"reference": f"Slot/smith-main.20260303T{time}.30"} for time in ("1030", "1100")]
    assert (await clinic.post("/Appointment", json=appointment(at("10:30"), 60, slot=both))).status_code == 201


async def test_a_maximum_that_is_set_later_counts_who_is_there(clinic: httpx.AsyncClient) -> None:
    assert (await clinic.post("/Appointment", json=appointment())).status_code == 201
    await put(clinic, schedule(parameters={"maximumPerDay": 1}))
    refused = await clinic.post(
        "/Appointment", json=appointment(at("10:00"), actors=("Patient/bob", "Practitioner/smith"))
    )
    assert_outcome(refused, 409, "conflict", "day-full")


@pytest.mark.parametrize("time", ["0001-01-01T09:00:00Z", "9999-12-31T22:00:00Z"])
async def test_the_ends_of_time_cannot_be_booked(clinic: httpx.AsyncClient, time: str) -> None:
    refused = await clinic.post("/Appointment", json=appointment(time))
    assert_outcome(refused, 422, "value", "too-far-away")
    end = time.replace("T09", "T10").replace("T22", "T23")
    assert_outcome(await clinic.put("/Slot/x", json=slot("x", time, end, status="busy")), 422, "value", "too-far-away")


async def test_an_appointment_without_values_for_its_times_is_refused(clinic: httpx.AsyncClient) -> None:
    wanted = {key: value for key, value in appointment().items() if key not in ("start", "end")}
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    response = await clinic.post("/Appointment", json={**wanted, "_start": absent, "_end": absent})
    assert response.status_code in (400, 422), response.text
    assert response.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "change", [{"participant": 5}, {"id": {"$foo": 1}}, {"id": {"$regex": "^a"}}, {"id": "x" * 65}]
)
async def test_a_bare_body_is_checked_before_it_is_used(clinic: httpx.AsyncClient, change: dict[str, Any]) -> None:
    response = await clinic.post("/Appointment/$book", json={**appointment(), **change})
    assert response.status_code == 400, response.text
