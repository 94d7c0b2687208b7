"""The waiting list: time that comes free is held for the first who fits, until they book it or let it pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.offering import offer_due
from fhir_server.scheduling import holds, waiting
from fhir_server.scheduling.parameters import extensions
from fhir_server.scheduling.policy import Intent
from fhir_server.store import Store, counted
from fhir_server.writing import write
from tests.clinic import (
    NOW,
    REASON,
    SCHEDULING,
    appointment,
    appointment_response,
    at,
    patient,
    role,
    room,
    schedule,
    slot,
)
from tests.doors import test_page as page_of_doors
from tests.operations.test_find_slots import put
from tests.operations.test_joint import rooms, staff
from tests.outcomes import assert_outcome

SetClock = Callable[[datetime], None]
Json = dict[str, Any]

TUESDAY_MORNING = {"start": at("09:00"), "end": at("09:30")}
ELEVEN = {"start": at("11:00"), "end": at("11:30")}
HOUR = timedelta(hours=1)
PLACES = count(100)


def wish(patient: str, *others: str, period: Json | None = None, **more: Any) -> Json:
    """A patient who waits for Dr Smith, or for others, on Tuesday at nine or in another period."""
    named = others or ("Practitioner/smith",)
    return {
        "resourceType": "Appointment",
        "status": "waitlist",
        "requestedPeriod": [period or TUESDAY_MORNING],
        "participant": [{"actor": {"reference": one}, "status": "accepted"} for one in (f"Patient/{patient}", *named)],
        **more,
    }


async def join(client: httpx.AsyncClient, patient: str, *others: str, **more: Any) -> str:
    """The id of who waits. While the clock stands, ids tell who joined first."""
    id = f"waiting-{next(PLACES)}"
    response = await client.put(f"/Appointment/{id}", json={**wish(patient, *others, **more), "id": id})
    assert response.status_code == 201, response.text
    return id


async def book(client: httpx.AsyncClient, patient: str = "Patient/ann", start: str = at("09:00")) -> str:
    response = await client.post("/Appointment", json=appointment(start, actors=(patient, "Practitioner/smith")))
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def cancel(client: httpx.AsyncClient, id: str) -> None:
    given = {"name": "cancelationReason", "valueCodeableConcept": REASON}
    response = await client.post(
        f"/Appointment/{id}/$cancel", json={"resourceType": "Parameters", "parameter": [given]}
    )
    assert response.status_code == 200, response.text


async def read(client: httpx.AsyncClient, id: str) -> Json:
    return dict((await client.get(f"/Appointment/{id}")).json())


async def stored(store: Store, id: str) -> Json:
    """The Appointment without asking the server, which would settle first."""
    found = await store.read("Appointment", id)
    assert found and found.resource
    return found.resource


async def look(client: httpx.AsyncClient) -> None:
    """The look at everything that comes from time to time."""
    server = client.app.state.server  # type: ignore[attr-defined]
    server.freed.looked = None
    await offer_due(server)


async def with_patients(client: httpx.AsyncClient, *ids: str) -> None:
    await asyncio.gather(*(client.put(f"/Patient/{id}", json=patient(id)) for id in ids))


async def test_b10_a_cancelled_time_is_offered_to_the_first_who_fits(clinic: httpx.AsyncClient, store: Store) -> None:
    await with_patients(clinic, "cleo")
    booked = await book(clinic)
    elsewhen = await join(clinic, "cleo", period={"start": at("18:00"), "end": at("18:30")}, priority=1)
    first = await join(clinic, "bob")
    await store.follow(None, 100)
    await cancel(clinic, booked)
    offered = await stored(store, first)
    assert (offered["status"], offered["start"], offered["end"]) == ("pending", at("09:00"), at("09:30"))
    assert holds.expires_of(offered) == NOW + HOUR
    assert [one["status"] for one in offered["participant"]] == ["needs-action", "accepted"]
    assert (await stored(store, elsewhen))["status"] == "waitlist"
    slot = (await clinic.get(f"/{offered['slot'][0]['reference']}")).json()
    assert (slot["status"], holds.expires_of(slot)) == ("busy-tentative", NOW + HOUR)
    events, _ = await store.follow(None, 100)
    said = [(one.event.old_status, one.event.new_status) for one in events if one.event.resource.endswith(first)]
    assert said[-1] == ("waitlist", "pending")
    taken = await clinic.post("/Appointment", json=appointment(actors=("Patient/ann", "Practitioner/smith")))
    assert_outcome(taken, 409, "conflict")
    accepted = await clinic.post(f"/Appointment/{first}/$book")
    assert (accepted.status_code, accepted.json()["status"]) == (200, "booked")
    assert [one["status"] for one in accepted.json()["participant"]] == ["accepted", "accepted"]
    assert "extension" not in accepted.json()


async def test_b10_the_order_is_priority_then_who_waits_longest(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    await with_patients(clinic, "cleo", "dora", "eve")
    booked = await book(clinic)
    order = []
    for minute, (name, more) in enumerate(
        (("bob", {}), ("cleo", {}), ("dora", {"priority": 5}), ("eve", {"priority": 2}))
    ):
        set_clock(NOW + timedelta(minutes=minute))
        order.append(await join(clinic, name, **more))
    bob, cleo, dora, eve = order
    await clinic.put(f"/Appointment/{bob}", json={**(await read(clinic, bob)), "comment": "any chair", "extension": []})
    await cancel(clinic, booked)
    for id in (eve, dora, bob, cleo):
        assert (await read(clinic, id))["status"] == "pending"
        assert (await clinic.post(f"/Appointment/{id}/$release")).json()["status"] == "waitlist"
    listed = (await clinic.get("/Appointment?status=waitlist&_sort=waiting-since")).json()["entry"]
    assert [entry["resource"]["id"] for entry in listed] == order


async def test_b10_an_offer_that_is_let_pass_goes_on_to_the_next_and_does_not_come_back(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    await with_patients(clinic, "cleo", "dora")
    booked = await book(clinic)
    first, second, third = [await join(clinic, name) for name in ("bob", "cleo", "dora")]
    await cancel(clinic, booked)
    set_clock(NOW + HOUR)
    expired = await read(clinic, first)
    assert expired["status"] == "waitlist"
    assert not expired.keys() & {"start", "end", "slot", "cancelationReason"}
    assert [one["valuePeriod"] for one in extensions(expired, waiting.PASSED)] == [TUESDAY_MORNING]
    assert (await read(clinic, second))["status"] == "pending"
    declined = {
        "resourceType": "AppointmentResponse",
        "appointment": {"reference": f"Appointment/{second}"},
        "actor": {"reference": "Patient/cleo"},
        "participantStatus": "declined",
    }
    assert (await clinic.post("/AppointmentResponse", json=declined)).status_code == 201
    passed = await read(clinic, second)
    assert (passed["status"], passed["participant"][0]["status"]) == ("waitlist", "needs-action")
    accepted = {**declined, "appointment": {"reference": f"Appointment/{third}"}}
    accepted |= {"actor": {"reference": "Patient/dora"}, "participantStatus": "accepted"}
    assert (await read(clinic, third))["status"] == "pending"
    assert (await clinic.post("/AppointmentResponse", json=accepted)).status_code == 201
    assert (await read(clinic, third))["status"] == "booked"
    await cancel(clinic, third)
    await look(clinic)
    assert [(await read(clinic, id))["status"] for id in (first, second)] == ["waitlist", "waitlist"]


@pytest.mark.parametrize("way", ["delete", "cancel", "leave", "mistake"])
async def test_b10_whoever_leaves_with_an_offer_leaves_the_time_to_the_next(
    clinic: httpx.AsyncClient, store: Store, way: str
) -> None:
    await with_patients(clinic, "cleo")
    booked = await book(clinic)
    first, second = await join(clinic, "bob"), await join(clinic, "cleo")
    await cancel(clinic, booked)
    offered = await read(clinic, first)
    if way == "delete":
        assert (await clinic.delete(f"/Appointment/{first}")).status_code == 204
    elif way == "cancel":
        await cancel(clinic, first)
    else:
        status = "proposed" if way == "leave" else "entered-in-error"
        left = await clinic.put(f"/Appointment/{first}", json={**offered, "status": status})
        assert (left.status_code, left.json()["status"]) == (200, status)
        assert not extensions(left.json(), waiting.SINCE)
    assert (await stored(store, second))["status"] == "pending"


async def test_b10_staff_change_what_is_offered_and_book_who_waits(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    id = await join(clinic, "bob")
    await cancel(clinic, booked)
    offered = await read(clinic, id)
    later = {name: value for name, value in offered.items() if name != "slot"} | {
        "start": at("10:00"),
        "end": at("10:30"),
    }
    moved = (await clinic.put(f"/Appointment/{id}", json=later)).json()
    assert (moved["status"], holds.expires_of(moved)) == ("pending", holds.expires_of(offered))
    agreed = appointment_response(appointment={"reference": f"Appointment/{id}"}, actor={"reference": "Patient/bob"})
    assert (await clinic.post("/AppointmentResponse", json=agreed)).status_code == 201
    assert (await read(clinic, id))["status"] == "booked"
    other = await join(clinic, "ann", period={"start": at("08:00"), "end": at("08:30")})
    given = {**(await read(clinic, other)), "status": "booked", **ELEVEN}
    put_in = await clinic.put(f"/Appointment/{other}", json=given)
    assert (put_in.status_code, put_in.json()["status"]) == (200, "booked")
    assert not extensions(put_in.json(), waiting.SINCE)


async def test_b10_a_patient_who_asks_for_another_time_can_still_accept(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    id = await join(clinic, "bob")
    await cancel(clinic, booked)
    said = appointment_response(appointment={"reference": f"Appointment/{id}"}, actor={"reference": "Patient/bob"})
    asked = {**said, "participantStatus": "tentative", **ELEVEN}
    assert (await clinic.post("/AppointmentResponse", json=asked)).status_code == 201
    assert (await read(clinic, id))["start"] == at("09:00")
    assert (await clinic.post("/AppointmentResponse", json=said)).status_code == 201
    assert (await read(clinic, id))["status"] == "booked"


async def test_b10_whoever_declined_to_take_part_is_not_waited_for(clinic: httpx.AsyncClient) -> None:
    await with_patients(clinic, "cleo")
    booked = await book(clinic)
    id = await join(clinic, "bob", "Practitioner/smith", "Practitioner/jones")
    said = appointment_response(appointment={"reference": f"Appointment/{id}"})
    declined = {**said, "actor": {"reference": "Practitioner/jones"}, "participantStatus": "declined"}
    assert (await clinic.post("/AppointmentResponse", json=declined)).status_code == 201
    await cancel(clinic, booked)
    assert (await clinic.post("/AppointmentResponse", json={**said, "actor": {"reference": "Patient/bob"}})).is_success
    assert (await read(clinic, id))["status"] == "booked"


async def test_b10_what_can_become_of_an_offer_is_told(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    id = await join(clinic, "bob")

    async def moves() -> dict[str, bool]:
        said = (await clinic.get(f"/Appointment/{id}/$transitions")).json()["parameter"]
        parts = [{part["name"]: part for part in one["part"]} for one in said if one["name"] == "transition"]
        return {part["code"]["valueCode"]: part["allowed"]["valueBoolean"] for part in parts}

    waits = await moves()
    assert (waits["cancelled"], waits["booked"], waits["pending"]) == (True, False, False)
    await cancel(clinic, booked)
    assert {name: allowed for name, allowed in (await moves()).items() if not allowed} == {}
    assert (await read(clinic, id))["status"] == "pending"


async def test_b10_an_offer_can_be_neither_renewed_nor_taken_from_the_list(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    id = await join(clinic, "bob")
    await cancel(clinic, booked)
    offered = await read(clinic, id)
    longer = holds.with_expiry(offered, NOW + HOUR + timedelta(seconds=1))
    assert_outcome(await clinic.put(f"/Appointment/{id}", json=longer), 422, "business-rule", "hold-too-long")
    bare = {name: value for name, value in offered.items() if name != "extension"}
    kept = (await clinic.put(f"/Appointment/{id}", json={**bare, "comment": "by phone"})).json()
    assert kept["extension"] == offered["extension"]


@pytest.mark.parametrize("door", ["$book", "AppointmentResponse"])
async def test_b10_what_is_offered_is_agreed_also_where_bookings_are_to_be_confirmed(
    clinic: httpx.AsyncClient, door: str
) -> None:
    confirming = {"url": SCHEDULING, "extension": [{"url": "confirmationRequired", "valueBoolean": True}]}
    await put(clinic, schedule(extension=[confirming]))
    booked = await book(clinic)
    id = await join(clinic, "bob")
    await cancel(clinic, booked)
    if door == "$book":
        taken = await clinic.post(f"/Appointment/{id}/$book")
    else:
        said = {"appointment": {"reference": f"Appointment/{id}"}, "actor": {"reference": "Patient/bob"}}
        taken = await clinic.put("/AppointmentResponse/answer", json=appointment_response(**said))
    assert taken.status_code == (200 if door == "$book" else 201), taken.text
    assert (await read(clinic, id))["status"] == "booked"


async def test_b10_time_that_comes_free_in_any_way_is_offered(
    clinic: httpx.AsyncClient, store: Store, set_clock: SetClock
) -> None:
    await with_patients(clinic, "cleo", "dora", "eve", "finn")

    moved = await join(clinic, "bob")
    later = {**(await read(clinic, await book(clinic))), "start": at("10:00"), "end": at("10:30")}
    assert (await clinic.put(f"/Appointment/{later['id']}", json=later)).is_success
    assert (await stored(store, moved))["status"] == "pending"

    deleted = await join(clinic, "cleo", period={"start": at("10:00"), "end": at("10:30")})
    assert (await clinic.delete(f"/Appointment/{later['id']}")).status_code == 204
    assert (await stored(store, deleted))["status"] == "pending"

    put_back = await join(clinic, "dora", period={"start": at("11:30"), "end": at("12:00")})
    own = (await clinic.get("/Slot/smith-main.20260303T1130.30")).json()
    for status in ("busy", "free"):
        assert (await clinic.put(f"/Slot/{own['id']}", json={**own, "status": status})).is_success
    assert (await stored(store, put_back))["status"] == "pending"

    over = await join(clinic, "eve", period={"start": at("11:00"), "end": at("11:30")})
    held = holds.ask_for(appointment(at("11:00")), NOW + timedelta(minutes=5))
    assert (await clinic.post("/Appointment", json=held)).status_code == 201
    set_clock(NOW + timedelta(minutes=5))
    await clinic.get("/Slot?status=free")
    assert (await stored(store, over))["status"] == "pending"

    early = await join(clinic, "finn", period={"start": at("08:00"), "end": at("09:00")})
    hours = {"daysOfWeek": ["tue"], "availableStartTime": "08:00:00", "availableEndTime": "12:00:00"}
    await clinic.put("/PractitionerRole/smith-main", json=role(availableTime=[hours]))
    assert (await stored(store, early))["status"] == "waitlist"
    await look(clinic)
    assert (await stored(store, early))["start"] == at("08:00")


async def test_b10_a_place_of_a_group_that_comes_free_is_offered(clinic: httpx.AsyncClient, store: Store) -> None:
    await with_patients(clinic, "cleo", "dora", "eve")
    await put(clinic, schedule(parameters={"duration": 30, "capacity": 2}))
    booked = [await book(clinic, one) for one in ("Patient/ann", "Patient/bob")]
    both = await join(clinic, "cleo", "Patient/dora", "Practitioner/smith", priority=1)
    alone = await join(clinic, "eve")
    await cancel(clinic, booked[0])
    assert [(await stored(store, id))["status"] for id in (both, alone)] == ["waitlist", "pending"]
    assert (await clinic.post(f"/Appointment/{alone}/$release")).is_success
    await cancel(clinic, booked[1])
    offered = await stored(store, both)
    assert (offered["status"], [one["status"] for one in offered["participant"]]) == (
        "pending",
        ["needs-action", "needs-action", "accepted"],
    )


async def test_b10_a_slot_of_an_ehr_that_is_free_again_is_offered(clinic: httpx.AsyncClient, store: Store) -> None:
    await put(clinic, slot(status="busy"))
    id = await join(clinic, "bob", period={"start": at("18:00"), "end": at("18:30")})
    await put(clinic, slot())
    offered = await stored(store, id)
    assert (offered["status"], offered["slot"]) == ("pending", [{"reference": "Slot/published"}])


async def test_b10_who_waits_for_what_is_past_or_elsewhere_stands_in_nobodys_way(
    clinic: httpx.AsyncClient, store: Store, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.offering.LISTED_MAX", 2)
    await with_patients(clinic, "cleo", "dora", "eve", "finn")
    past = {"start": "2026-02-01", "end": "2026-02-02"}
    for name in ("ann", "bob"):
        await join(clinic, name, period=past)
    booked = await book(clinic)
    first = await join(clinic, "cleo", period={"start": "2026-03-03", "end": "2026-03-03"})
    await cancel(clinic, booked)
    assert (await stored(store, first))["status"] == "pending"
    for minute, name in enumerate(("dora", "eve"), 1):
        set_clock(NOW + timedelta(minutes=minute))
        await join(clinic, name, "Practitioner/nobody", period=ELEVEN)
    set_clock(NOW + timedelta(minutes=3))
    behind = await join(clinic, "finn", period=ELEVEN)
    looks = 0
    while (await stored(store, behind))["status"] == "waitlist" and looks < 4:
        await look(clinic)
        looks += 1
    assert (await stored(store, behind))["status"] == "pending"


async def test_b10_joining_the_list_needs_no_time_and_a_wanted_time_is_a_period(clinic: httpx.AsyncClient) -> None:
    asked = wish("bob")
    del asked["requestedPeriod"]
    joined = await clinic.post("/Appointment/$book", json=asked)
    assert (joined.status_code, joined.json()["status"]) == (201, "waitlist")
    pending = (await clinic.post("/Appointment", json=appointment(status="pending"))).json()
    waits = (await clinic.put(f"/Appointment/{pending['id']}", json={**pending, "status": "waitlist"})).json()
    assert waits["requestedPeriod"] == [TUESDAY_MORNING]
    many = wish("bob", requestedPeriod=[TUESDAY_MORNING] * waiting.PERIODS_MAX)
    assert (await clinic.post("/Appointment", json=many)).status_code == 201
    many["requestedPeriod"].append(TUESDAY_MORNING)
    assert_outcome(await clinic.post("/Appointment", json=many), 422, "business-rule", "too-many-periods")


async def test_b10_who_has_an_offer_gets_no_other_and_nobody_two_visits_at_a_time(
    clinic: httpx.AsyncClient, store: Store
) -> None:
    booked = await book(clinic)
    first, second = (
        await join(clinic, "bob"),
        await join(clinic, "bob", period={"start": at("10:00"), "end": at("12:00")}),
    )
    await cancel(clinic, booked)
    await look(clinic)
    assert [(await stored(store, id))["status"] for id in (first, second)] == ["pending", "waitlist"]
    assert (await clinic.post(f"/Appointment/{first}/$book")).is_success
    long = await join(clinic, "bob", period={"start": at("09:00"), "end": at("10:00")}, priority=1)
    await look(clinic)
    assert (await stored(store, long))["start"] == at("09:30")


async def test_b10_whoever_waits_for_a_place_or_a_length_gets_what_fits(
    clinic: httpx.AsyncClient, store: Store
) -> None:
    hour = {"start": at("09:00"), "end": at("11:00")}
    await book(clinic, start=at("09:30"))
    place = await join(clinic, "bob", "Location/main", period=hour, minutesDuration=60)
    nobody = (
        await clinic.post("/Appointment", json={**wish("ann"), "participant": wish("ann")["participant"][:1]})
    ).json()
    await look(clinic)
    offered = await stored(store, place)
    assert (offered["start"], offered["end"]) == (at("10:00"), at("11:00"))
    assert [one["actor"]["reference"] for one in offered["participant"]][2:] == ["PractitionerRole/smith-main"]
    assert (await stored(store, nobody["id"]))["status"] == "waitlist"
    released = (await clinic.post(f"/Appointment/{place}/$release")).json()
    assert [one["actor"]["reference"] for one in released["participant"]] == ["Patient/bob", "Location/main"]


@pytest.mark.parametrize("scheduled", [True, False])
async def test_b10_whoever_waits_for_a_practitioner_and_a_room_gets_both(
    clinic: httpx.AsyncClient, store: Store, scheduled: bool
) -> None:
    await with_patients(clinic, "cleo")
    await staff(clinic, "jones")
    await (rooms(clinic, "room-1") if scheduled else put(clinic, room()))
    for start in ("09:00", "09:30", "10:00", "10:30"):
        taken = appointment(at(start), actors=("Patient/cleo", "Practitioner/jones", "Location/room-1"))
        assert (await clinic.post("/Appointment", json=taken)).status_code == 201
    morning = {"start": at("09:00"), "end": at("12:00")}
    both = await join(clinic, "bob", "Practitioner/smith", "Location/room-1", period=morning)
    await look(clinic)
    offered = await stored(store, both)
    assert (offered["status"], offered["start"]) == ("pending", at("11:00"))
    assert len(offered["slot"]) == 1 + scheduled
    nobody = await clinic.post("/Appointment", json=appointment(at("11:00"), actors=("Patient/ann", "Location/room-1")))
    assert nobody.status_code in (409, 422)


async def test_b10_nobody_is_offered_a_room_alone_that_they_did_not_name(
    clinic: httpx.AsyncClient, store: Store
) -> None:
    await rooms(clinic, "room-1")
    early = {"start": at("08:00"), "end": at("09:00")}
    anybody = await join(clinic, "bob", "Location/main", period=early)
    named = await join(clinic, "ann", "Location/room-1", period=early)
    await look(clinic)
    assert [(await stored(store, id))["status"] for id in (anybody, named)] == ["waitlist", "pending"]


async def test_b10_what_is_past_or_about_to_begin_is_not_offered(
    clinic: httpx.AsyncClient, store: Store, set_clock: SetClock
) -> None:
    id = await join(clinic, "bob")
    set_clock(datetime.fromisoformat(at("09:00")) - timedelta(seconds=59))
    await look(clinic)
    assert (await stored(store, id))["status"] == "waitlist"
    set_clock(datetime.fromisoformat(at("08:59")))
    await look(clinic)
    offered = await stored(store, id)
    assert (offered["status"], holds.expires_of(offered)) == ("pending", datetime.fromisoformat(at("09:00")))


async def test_b10_two_servers_never_offer_a_time_twice(
    clinic: httpx.AsyncClient, client_with: Callable[..., Awaitable[httpx.AsyncClient]], store: Store
) -> None:
    other = await client_with(waitlist_offer_minutes=90)
    await with_patients(clinic, "cleo", "dora")
    ids = [await join(clinic, name) for name in ("bob", "cleo", "dora")]
    await asyncio.gather(look(clinic), look(other), look(other))
    found = [(await stored(store, id))["status"] for id in ids]
    assert sorted(found) == ["pending", "waitlist", "waitlist"]


async def test_b10_two_servers_never_offer_two_times_to_one_patient(
    clinic: httpx.AsyncClient, client_with: Callable[..., Awaitable[httpx.AsyncClient]], store: Store
) -> None:
    other = await client_with(waitlist_offer_minutes=90)
    early, late = await book(clinic), await book(clinic, start=at("11:00"))
    ids = await join(clinic, "bob"), await join(clinic, "bob", period=ELEVEN)
    for _ in range(3):
        await asyncio.gather(cancel(clinic, early), cancel(other, late))
        assert sorted([(await stored(store, id))["status"] for id in ids]) == ["pending", "waitlist"]
        early, late = await give_back(clinic, ids)


async def give_back(client: httpx.AsyncClient, ids: tuple[str, str]) -> tuple[str, str]:
    """Both leave the list and join it anew, and their times are booked again."""
    for id in ids:
        await client.delete(f"/Appointment/{id}")
    booked = await book(client), await book(client, start=at("11:00"))
    for id, period in zip(ids, (TUESDAY_MORNING, ELEVEN), strict=True):
        joined = await client.put(f"/Appointment/{id}", json={**wish("bob", period=period), "id": id})
        assert joined.status_code == 201
    return booked


async def test_b10_a_write_that_frees_nothing_does_not_read_the_list(clinic: httpx.AsyncClient) -> None:
    id = await book(clinic)
    known = await read(clinic, id)

    async def finds(**changed: Any) -> int:
        with counted() as commands:
            assert (await clinic.put(f"/Appointment/{id}", json={**known, **changed})).is_success
        return commands.count("find")

    nobody = await finds(comment="By the window")
    await join(clinic, "bob")
    assert await finds(comment="At the door") == nobody == 2
    looked = await finds(status="cancelled", cancelationReason=REASON)
    assert looked > nobody + 2


async def test_b10_an_offer_is_made_also_if_the_process_ended_right_after_the_cancellation(
    clinic: httpx.AsyncClient, client_with: Callable[..., Awaitable[httpx.AsyncClient]], store: Store
) -> None:
    id, booked = await join(clinic, "bob", period=ELEVEN), await book(clinic, start=at("11:00"))
    ended, now = clinic.app.state.server, await read(clinic, booked)  # type: ignore[attr-defined]
    await write(ended, "Appointment", booked, lambda _: {**now, "status": "cancelled", "cancelationReason": REASON})
    assert ended.freed.take() == ((datetime.fromisoformat(ELEVEN["start"]), datetime.fromisoformat(ELEVEN["end"])),)
    assert (await stored(store, id))["status"] == "waitlist"
    other = (await client_with(waitlist_round_seconds=60)).app.state.server  # type: ignore[attr-defined]
    await offer_due(other)
    assert (await stored(store, id))["status"] == "pending"
    assert other.freed.looked == NOW


async def test_b10_what_fails_while_offering_does_not_fail_the_cancellation(
    clinic: httpx.AsyncClient, store: Store
) -> None:
    id, booked = await join(clinic, "bob"), await book(clinic)
    await store.db["Appointment"].update_one({"_id": id}, {"$unset": {"resource.participant": ""}})
    await cancel(clinic, booked)
    assert (await stored(store, id))["status"] == "waitlist"


async def test_b10_who_came_on_the_list_by_an_import_has_a_place_too(clinic: httpx.AsyncClient, store: Store) -> None:
    server = clinic.app.state.server  # type: ignore[attr-defined]
    imported = {**wish("bob"), "id": "imported"}
    await write(server, "Appointment", "imported", lambda _: imported, intent=Intent(recording=True))
    await look(clinic)
    assert (await stored(store, "imported"))["status"] == "pending"
    assert (await clinic.post("/Appointment/imported/$release")).json()["status"] == "waitlist"


async def test_b10_a_patient_who_declines_before_anything_is_offered_leaves_the_list(clinic: httpx.AsyncClient) -> None:
    id = await join(clinic, "bob")
    said = appointment_response(appointment={"reference": f"Appointment/{id}"}, participantStatus="declined")
    await clinic.post("/AppointmentResponse", json=said)
    assert (await read(clinic, id))["status"] == "waitlist"
    await clinic.post("/AppointmentResponse", json={**said, "actor": {"reference": "Patient/bob"}})
    left = await read(clinic, id)
    assert left["status"] == "cancelled"
    assert not extensions(left, waiting.SINCE)


PAGES = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "heading"), [("waiting-list", "An example"), ("booking", "Who has agreed")])
async def test_b10_the_examples_of_the_pages_are_answered_as_they_say(
    clinic: httpx.AsyncClient, page: str, heading: str
) -> None:
    [section] = [
        each for each in (PAGES / f"{page}.md").read_text("utf-8").split("\n## ") if each.partition("\n")[0] == heading
    ]
    blocks = [page_of_doors.read(found) for found in page_of_doors.BLOCK.findall(section)]
    assert len(blocks) >= 6
    await page_of_doors.converse(clinic, blocks)


async def test_b10_the_times_that_are_remembered_as_let_pass_are_so_many(clinic: httpx.AsyncClient) -> None:
    passed = [
        {"url": waiting.PASSED, "valuePeriod": {"start": at("09:00"), "end": at(f"10:{minute:02}")}}
        for minute in range(waiting.PASSED_MAX + 1)
    ]
    joined = (await clinic.post("/Appointment", json=wish("bob", extension=passed))).json()
    assert extensions(joined, waiting.PASSED) == passed[1:]
