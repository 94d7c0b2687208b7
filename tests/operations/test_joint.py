"""$find-slots with participants: several who are needed together, any of a kind, pools; and that it all books."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.operations._free_time import POOLS_MAX
from fhir_server.outcome import CANONICAL
from fhir_server.scheduling.joint import GROUPS_MAX, MEMBERS_MAX
from fhir_server.store import counted
from tests.clinic import (
    MONDAY,
    WEDNESDAY,
    appointment,
    at,
    device,
    location,
    patient,
    practitioner,
    role,
    room,
    schedule,
)
from tests.operations.test_find_next import ask, next_of, notes_of, slots_of
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome, problems

Json = dict[str, Any]

JOINT = f"{CANONICAL}/StructureDefinition/joint-slot"
DAY = {"start": at("00:00"), "end": at("00:00", WEDNESDAY)}
NURSE = {"coding": [{"code": "nurse"}]}


def of(actor: str, id: str, **more: Any) -> Json:
    return schedule(id, actor=[{"reference": actor}], **more)


async def staff(client: httpx.AsyncClient, *ids: str, **more: Any) -> None:
    """Nurses at the Main Clinic, each with a Schedule of the same id, with Dr Smith's hours."""
    for id in ids:
        nurse = role(id, practitioner={"reference": f"Practitioner/{id}"}, code=[NURSE], **more)
        await put(client, practitioner(id, name=[{"family": id}]), nurse, of(f"PractitionerRole/{id}", id))


async def rooms(client: httpx.AsyncClient, *ids: str, hours: tuple[str, str] = ("08:00:00", "18:00:00")) -> None:
    """Rooms of the Main Clinic, each with a Schedule of the same id."""
    opened = [{"openingTime": hours[0], "closingTime": hours[1]}]
    for id in ids:
        await put(client, room(id, hoursOfOperation=opened), of(f"Location/{id}", id))


def times(bundle: Json) -> list[str]:
    return sorted({slot["start"][11:16] for slot in slots_of(bundle)})


def together(bundle: Json) -> list[tuple[str, ...]]:
    """The Schedules of each time, in order; each Slot must name exactly the others."""
    by_time: dict[str, list[Json]] = {}
    for slot in slots_of(bundle):
        by_time.setdefault(slot["start"], []).append(slot)
    for slots in by_time.values():
        for slot in slots:
            named = {one["valueReference"]["reference"] for one in slot.get("extension", ()) if one["url"] == JOINT}
            assert named == {f"Slot/{other['id']}" for other in slots if other is not slot}
    return [tuple(slot["schedule"]["reference"].partition("/")[2] for slot in slots) for slots in by_time.values()]


async def book(client: httpx.AsyncClient, slots: list[Json], who: str = "Patient/ann") -> httpx.Response:
    named = [{"name": "slot", "valueReference": {"reference": f"Slot/{slot['id']}"}} for slot in slots]
    body = {
        "resourceType": "Parameters",
        "parameter": [*named, {"name": "patient", "valueReference": {"reference": who}}],
    }
    return await client.post("/Appointment/$book", json=body)


async def test_a11_a_room_without_an_alignment_is_offered_at_the_times_of_whoever_needs_it(
    clinic: httpx.AsyncClient,
) -> None:
    long = {"duration": 45}
    await put(clinic, schedule(parameters=long))
    await rooms(clinic, "room-1", hours=("08:00:00", "11:00:00"))
    asked = {**DAY, "participant": ["Practitioner/smith", "Location/room-1"]}
    found = await ask(clinic, **asked)
    assert times(found) == ["09:00", "09:45"]
    slots = [slot for slot in slots_of(found) if "T09:45" in slot["start"]]
    for slot in slots:
        assert (await clinic.get(f"/Slot/{slot['id']}")).json()["status"] == "free"
    assert (await book(clinic, slots)).status_code == 201
    assert times(await ask(clinic, **asked)) == ["09:00"]
    nine = slots_of(found)[0]
    people = [{"actor": {"reference": one}, "status": "accepted"} for one in ("Patient/ann", "Location/room-1")]
    alone = {"resourceType": "Appointment", "status": "booked", "participant": people}
    alone |= {"start": nine["start"], "end": nine["end"]}
    assert problems(await clinic.post("/Appointment", json=alone)) == {"off-grid"}


async def test_a11_practitioner_and_room_are_offered_where_both_are_free(clinic: httpx.AsyncClient) -> None:
    await rooms(clinic, "room-1", hours=("10:00:00", "11:30:00"))
    query = {"participant": ["Practitioner/smith", "Location/room-1"], **DAY}
    found = await ask(clinic, "/Schedule", **query)
    assert times(found) == ["10:00", "10:30", "11:00"]
    assert set(together(found)) == {("smith-main", "room-1")}
    assert found["total"] == 6
    first = [slot for slot in slots_of(found) if slot["start"] == at("10:00")]
    booked = await book(clinic, first)
    assert booked.status_code == 201, booked.text
    assert {one["reference"] for one in booked.json()["slot"]} == {f"Slot/{slot['id']}" for slot in first}
    assert {one["actor"]["reference"] for one in booked.json()["participant"]} == {
        "Patient/ann",
        "PractitionerRole/smith-main",
        "Location/room-1",
    }
    assert times(await ask(clinic, "/Schedule", **query)) == ["10:30", "11:00"]
    assert times(await ask(clinic, "/Schedule/room-1", **DAY)) == ["10:30", "11:00"]
    assert_outcome(await book(clinic, first, "Patient/bob"), 409, "conflict", "location-busy")


async def test_a11_any_of_a_kind_comes_in_order_of_preference(clinic: httpx.AsyncClient) -> None:
    await rooms(clinic, "room-1", "room-2")
    query = {"participant": ["Practitioner/smith", "Location/room-2,Location/room-1"], **DAY}
    assert set(together(await ask(clinic, "/Schedule", **query))) == {("smith-main", "room-2")}
    await clinic.post("/Appointment", json=appointment(at("09:00"), 60, actors=("Patient/bob", "Location/room-2")))
    assert together(await ask(clinic, "/Schedule", **query))[:3] == [
        ("smith-main", "room-1"),
        ("smith-main", "room-1"),
        ("smith-main", "room-2"),
    ]


async def test_a11_a_pool_is_whoever_a_search_finds(clinic: httpx.AsyncClient) -> None:
    await staff(clinic, "nina", "nora")
    await staff(clinic, "olga", location=[{"reference": "Location/north"}], active=False)
    pool = "PractitionerRole?role=nurse,matron&location=Location/main"
    query = {"participant": ["Practitioner/smith", pool], **DAY}
    assert set(together(await ask(clinic, "/Schedule", **query))) == {("smith-main", "nina")}
    await clinic.post("/Appointment", json=appointment(at("09:00"), actors=("Patient/bob", "Practitioner/nina")))
    assert together(await ask(clinic, "/Schedule", **query))[:2] == [("smith-main", "nora"), ("smith-main", "nina")]
    chained = {"participant": ["PractitionerRole?practitioner.family=smith&active=true"], **DAY}
    assert set(together(await ask(clinic, "/Schedule", **chained))) == {("smith-main",)}
    unknown = await clinic.get("/Schedule/$find-slots", params={"participant": "PractitionerRole?colour=red", **DAY})
    assert_outcome(unknown, 400, "not-supported")


async def test_a11_round_robin_goes_by_the_load_of_the_day(clinic: httpx.AsyncClient) -> None:
    await staff(clinic, "nina", "nora")
    query = {"participant": "Practitioner/nina,Practitioner/nora", "assign": "least-busy", **DAY}

    async def offered(time: str) -> str:
        found = await ask(clinic, "/Schedule", **query)
        return next(slot["schedule"]["reference"] for slot in slots_of(found) if slot["start"] == at(time))

    assert await offered("11:00") == "Schedule/nina", "as listed where all have as much to do"
    await clinic.post("/Appointment", json=appointment(at("09:00"), actors=("Patient/bob", "Practitioner/nina")))
    assert await offered("11:00") == "Schedule/nora"
    await clinic.post("/Appointment", json=appointment(at("09:30"), actors=("Patient/ann", "Practitioner/nora")))
    assert await offered("11:00") == "Schedule/nina"
    longer = {**query, "start": at("00:00", MONDAY), "end": at("00:00", "2026-03-06")}
    await clinic.post(
        "/Appointment", json=appointment(at("09:30", MONDAY), actors=("Patient/ann", "Practitioner/nina"))
    )
    found = slots_of(await ask(clinic, "/Schedule", **longer))
    on_tuesday = next(slot for slot in found if slot["start"] == at("11:00"))
    assert on_tuesday["schedule"]["reference"] == "Schedule/nora", "the window counts where the day is the same"


async def test_a11_the_load_is_that_of_the_whole_day_whatever_the_window(clinic: httpx.AsyncClient) -> None:
    hours = {"daysOfWeek": ["tue"], "availableStartTime": "09:00:00", "availableEndTime": "17:00:00"}
    await staff(clinic, "nina", "nora", availableTime=[hours])
    for who, time in (("nina", "09:00"), ("nora", "14:00"), ("nora", "15:00")):
        visit = appointment(at(time), actors=("Patient/ann", f"PractitionerRole/{who}"))
        assert (await clinic.post("/Appointment", json=visit)).status_code == 201
    nurses = {"participant": "PractitionerRole/nora,PractitionerRole/nina", "assign": "least-busy"}
    for end in ("12:00", "17:00"):
        found = together(await ask(clinic, "/Schedule", start=at("10:00"), end=at(end), **nurses))
        assert set(found) == {("nina",)}


async def test_a11_nobody_takes_two_parts(clinic: httpx.AsyncClient) -> None:
    await staff(clinic, "nina", "nora")
    nurses = "PractitionerRole?role=nurse"
    two = {"participant": [nurses, nurses], **DAY}
    assert set(together(await ask(clinic, "/Schedule", **two))) == {("nina", "nora")}
    await clinic.post("/Appointment", json=appointment(at("09:00"), actors=("Patient/bob", "Practitioner/nora")))
    assert "09:00" not in times(await ask(clinic, "/Schedule", **two))
    assert slots_of(await ask(clinic, "/Schedule", **DAY, participant=[nurses] * 3)) == []


async def test_a11_a_person_with_two_schedules_takes_one_part(clinic: httpx.AsyncClient) -> None:
    north = role("smith-north", location=[{"reference": "Location/north"}])
    await put(clinic, location("north"), north, of("PractitionerRole/smith-north", "a-smith-north"))
    for twice in (
        ["Schedule/smith-main", "Schedule/a-smith-north"],
        ["PractitionerRole/smith-main", "PractitionerRole/smith-north"],
        ["Practitioner/smith", "PractitionerRole/smith-main"],
    ):
        assert slots_of(await ask(clinic, "/Schedule", participant=twice, **DAY)) == []
    same = await ask(clinic, participant="Practitioner/smith", **DAY)
    assert set(together(same)) == {("smith-main",)}, "who is there already is not called from elsewhere"


async def test_a11_a_device_at_another_clinic_is_not_offered_and_not_booked(clinic: httpx.AsyncClient) -> None:
    campus = {"reference": "Location/campus"}
    await put(clinic, location("campus"), location(partOf=campus), location("north", partOf=campus), room())
    for id, place in (("far", "north"), ("near", "room-1"), ("shared", "campus")):
        await put(clinic, device(id, location={"reference": f"Location/{place}"}), of(f"Device/{id}", id))
    await put(clinic, device("mobile"), of("Device/mobile", "mobile"))
    query = {"participant": ["Practitioner/smith", "Device/far,Device/near"], **DAY}
    assert set(together(await ask(clinic, "/Schedule", **query))) == {("smith-main", "near")}
    for id in ("shared", "mobile"):
        query = {"participant": ["Practitioner/smith", f"Device/{id}"], **DAY}
        assert set(together(await ask(clinic, "/Schedule", **query))) == {("smith-main", id)}
    apart = appointment(at("09:00"), actors=("Patient/ann", "Practitioner/smith", "Device/far"))
    assert "not-at-location" in problems(await clinic.post("/Appointment", json=apart))
    there = appointment(at("09:00"), actors=("Patient/ann", "Practitioner/smith", "Device/near"))
    assert (await clinic.post("/Appointment", json=there)).status_code == 201


async def test_a11_a_room_on_a_floor_goes_with_whoever_is_at_the_clinic(
    clinic: httpx.AsyncClient,
) -> None:
    await put(clinic, location("floor", partOf={"reference": "Location/main"}))
    await rooms(clinic, "room-1")
    await put(clinic, {**(await clinic.get("/Location/room-1")).json(), "partOf": {"reference": "Location/floor"}})
    found = await ask(clinic, participant=["Practitioner/smith", "Location/room-1"], **DAY)
    first = [slot for slot in slots_of(found) if slot["start"] == slots_of(found)[0]["start"]]
    assert len(first) == 2
    assert (await book(clinic, first)).status_code == 201


async def test_a11_a_service_without_a_schedule_is_told_by_whom_it_is_offered(clinic: httpx.AsyncClient) -> None:
    await put(clinic, {"resourceType": "HealthcareService", "id": "checkup", "active": True})
    bundle = await ask(clinic, "/Schedule", participant="HealthcareService/checkup")
    told, nothing = (note["diagnostics"] for note in notes_of(bundle))
    assert "PractitionerRole?service=HealthcareService/checkup" in told
    assert nothing == "Nothing is free for what was asked: there is no Schedule that could be."


async def test_a11_places_that_are_apart_do_not_go_together(clinic: httpx.AsyncClient) -> None:
    await put(clinic, location("north"))
    await put(
        clinic, room("room-9") | {"partOf": {"reference": "Location/north"}, "hoursOfOperation": [{"allDay": True}]}
    )
    await put(clinic, of("Location/room-9", "room-9"))
    await rooms(clinic, "room-1")
    query = {"participant": ["Practitioner/smith", "Location/room-9,Location/room-1"], **DAY}
    found = await ask(clinic, "/Schedule", **query)
    assert set(together(found)) == {("smith-main", "room-1")}
    assert (await book(clinic, slots_of(found)[:2])).status_code == 201


async def test_a11_a_room_that_two_schedules_share_is_room_for_one(clinic: httpx.AsyncClient) -> None:
    await rooms(clinic, "room-1")
    shared = [{"reference": "PractitionerRole/smith-main"}, {"reference": "Location/room-1"}]
    await put(clinic, schedule(actor=shared))
    query = {"participant": ["Practitioner/smith", "Location/room-1"], **DAY}
    found = await ask(clinic, "/Schedule", **query)
    assert set(together(found)) == {("smith-main", "room-1")}
    assert (await book(clinic, slots_of(found)[:2])).status_code == 201
    assert times(await ask(clinic, "/Schedule", **query)) == ["09:30", "10:00", "10:30", "11:00", "11:30"]


async def test_a11_on_a_schedule_of_its_own_the_others_are_added(clinic: httpx.AsyncClient) -> None:
    await rooms(clinic, "room-1")
    bundle = await ask(clinic, participant="Location/room-1", _count=2)
    assert together(bundle) == [("smith-main", "room-1"), ("smith-main", "room-1")]
    following = (await clinic.get(next_of(bundle) or "")).json()
    assert times(following) == ["10:00", "10:30"]
    none = await clinic.get("/Schedule/none/$find-slots", params={"participant": "Location/room-1"})
    assert_outcome(none, 404, "not-found")


async def test_a11_slots_of_an_ehr_take_part(clinic: httpx.AsyncClient) -> None:
    await rooms(clinic, "room-1")
    slot = {"resourceType": "Slot", "id": "late", "schedule": {"reference": "Schedule/smith-main"}, "status": "free"}
    await put(clinic, {**slot, "start": at("16:00"), "end": at("16:30")})
    found = await ask(clinic, "/Schedule", participant=["Practitioner/smith", "Location/room-1"], **DAY)
    last = slots_of(found)[-2:]
    assert {one["id"] for one in last} == {"late", "room-1.20260303T1600.30"}
    assert (await book(clinic, last)).status_code == 201


async def test_a11_who_has_no_schedule_is_named(clinic: httpx.AsyncClient) -> None:
    await rooms(clinic, "room-1")
    bundle = await ask(clinic, "/Schedule", participant="Location/room-1,Location/nowhere", **DAY)
    assert slots_of(bundle)
    assert [note["diagnostics"] for note in notes_of(bundle)] == ["Location/nowhere has no Schedule here."]


async def test_a11_every_time_that_is_found_books_and_no_other_does(clinic: httpx.AsyncClient) -> None:
    await staff(clinic, "nina", "nora")
    await rooms(clinic, "room-1")
    await put(clinic, of("PractitionerRole/nina", "nina", parameters={"bufferAfter": 20, "alignmentInterval": 10}))
    for number, (time, minutes, who) in enumerate(
        [("09:00", 60, "Practitioner/nora"), ("10:00", 30, "Practitioner/nina"), ("11:00", 30, "Location/room-1")]
    ):
        await put(clinic, patient(f"p{number}"))
        visit = appointment(at(time), minutes, actors=(f"Patient/p{number}", who))
        assert (await clinic.post("/Appointment", json=visit)).status_code == 201
    query = {"participant": ["Location/room-1", "Practitioner/smith", "PractitionerRole?role=nurse"], **DAY}
    found = await ask(clinic, "/Schedule", **query)
    offered: dict[str, list[Json]] = {}
    for slot in slots_of(found):
        offered.setdefault(slot["start"][11:16], []).append(slot)
    assert together(found) == [
        ("room-1", "smith-main", "nina"),
        ("room-1", "smith-main", "nora"),
        ("room-1", "smith-main", "nora"),
        ("room-1", "smith-main", "nina"),
    ]
    for time in ("09:00", "09:30", "10:00", "10:30", "11:00", "11:30"):
        if time in offered:
            booked = await book(clinic, offered[time])
            assert booked.status_code == 201, time
            cancelled = {**booked.json(), "status": "cancelled", "cancelationReason": {"text": "ill"}}
            assert (await clinic.put(f"/Appointment/{cancelled['id']}", json=cancelled)).status_code == 200
            continue
        for nurse in ("nina", "nora"):
            actors = ("Patient/ann", "Practitioner/smith", f"Practitioner/{nurse}", "Location/room-1")
            refused = await clinic.post("/Appointment", json=appointment(at(time), actors=actors))
            assert_outcome(refused, 409, "conflict")
    assert set(offered) == {"09:00", "10:00", "10:30", "11:30"}


async def test_b2_the_alternatives_suit_everybody_who_takes_part(clinic: httpx.AsyncClient) -> None:
    await staff(clinic, "nina", availableTime=[{"daysOfWeek": ["tue"], "availableStartTime": "10:00:00"}])
    await rooms(clinic, "room-1")
    visit = appointment(at("10:00"), actors=("Patient/bob", "Location/room-1"))
    assert (await clinic.post("/Appointment", json=visit)).status_code == 201
    actors = ("Patient/ann", "Practitioner/smith", "Practitioner/nina", "Location/room-1")
    refused = await clinic.post("/Appointment", json=appointment(at("10:00"), actors=actors))
    issue = assert_outcome(refused, 409, "informational", "alternatives")
    offered = [{part["url"]: part for part in one["extension"]} for one in issue["extension"]]
    assert [one["period"]["valuePeriod"]["start"] for one in offered] == [at("10:30"), at("11:00"), at("11:30")]
    named = [
        part["valueReference"]["reference"] for part in issue["extension"][0]["extension"] if part["url"] == "slot"
    ]
    assert len(named) == 3
    assert (await book(clinic, [{"id": one.partition("/")[2]} for one in named])).status_code == 201


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ({"participant": "Patient/ann"}, "value", 400),
        ({"participant": "smith"}, "value", 400),
        ({"participant": "Patient?name=Ann"}, "value", 400),
        ({"participant": "Location/main", "practitioner": "smith"}, "invalid", 400),
        ({"participant": "Location/main", "assign": "random"}, "value", 400),
        ({"participant": ["Location/main"] * (GROUPS_MAX + 1)}, "too-costly", 422),
        ({"participant": ",".join(f"Location/{number}" for number in range(MEMBERS_MAX + 1))}, "too-costly", 422),
    ],
)
async def test_a11_what_cannot_be_asked_is_refused(
    clinic: httpx.AsyncClient, query: Json, code: str, status: int
) -> None:
    assert_outcome(await clinic.get("/Schedule/$find-slots", params={**DAY, **query}), status, code)


async def test_a11_too_many_pools_are_refused_before_one_is_searched(clinic: httpx.AsyncClient) -> None:
    pool = "PractitionerRole?role=nurse"
    await staff(clinic, "nina", "nora")
    at_most = [",".join([pool] * (POOLS_MAX // 2))] * 2
    assert (await ask(clinic, "/Schedule", participant=at_most, **DAY))["total"]
    for many in ([pool] * (GROUPS_MAX + 1), [",".join([pool] * (POOLS_MAX + 1))]):
        with counted() as commands:
            refused = await clinic.get("/Schedule/$find-slots", params={"participant": many, **DAY})
        assert_outcome(refused, 422, "too-costly")
        assert not commands


async def test_a11_the_round_trips_do_not_grow_with_the_schedules(clinic: httpx.AsyncClient) -> None:
    await rooms(clinic, "room-1")
    query = {"participant": ["PractitionerRole?role=nurse", "Location?partof=Location/main"], "_count": 1000, **DAY}

    async def count(*more: str) -> int:
        await staff(clinic, *more)
        await rooms(clinic, *(f"room-{id}" for id in more))
        with counted() as commands:
            assert len(slots_of(await ask(clinic, "/Schedule", **query))) == 12
        return len(commands)

    assert await count("n1") == await count("n2", "n3", "n4", "n5")
