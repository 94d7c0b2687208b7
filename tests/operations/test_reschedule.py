"""$reschedule, $reassign and the same by PUT and PATCH: one Appointment, another time or other people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_server.scheduling import holds
from tests.clinic import NOW, appointment, at, practitioner, role, room, schedule
from tests.clinic import slot as clinic_slot
from tests.operations.test_find_slots import put
from tests.operations.test_hold import hold
from tests.outcomes import assert_outcome, problems
from tests.recurring import recurring
from tests.served import BASE

Json = dict[str, Any]
SetClock = Callable[[datetime], None]

PATCH = {"content-type": "application/json-patch+json"}
NINE, TEN = "Slot/smith-main.20260303T0900.30", "Slot/smith-main.20260303T1000.30"
TYPES = {"start": "valueDateTime", "end": "valueDateTime", "minutes": "valuePositiveInt", "comment": "valueString"}
REFERENCES = ("slot", "schedule", "practitioner", "location", "to", "from")


def parameters(**given: Any) -> Json:
    """Parameters by name; a list is the parameter several times, `_` in a name is `-`."""
    listed: list[Json] = []
    for name, value in given.items():
        for one in value if isinstance(value, list) else [value]:
            if name in REFERENCES:
                listed.append({"name": name, "valueReference": {"reference": one}})
            elif name in ("reason", "cancelationReason", "override_reason"):
                listed.append({"name": name.replace("_r", "-r"), "valueCodeableConcept": one})
            else:
                listed.append({"name": name, TYPES.get(name, "valueCode"): one})
    return {"resourceType": "Parameters", "parameter": listed}


async def ask(client: httpx.AsyncClient, id: str, operation: str, **given: Any) -> httpx.Response:
    headers = given.pop("headers", {})
    return await client.post(f"/Appointment/{id}/${operation}", json=parameters(**given), headers=headers)


async def booked(client: httpx.AsyncClient, *given: Any, **more: Any) -> Json:
    response = await client.post("/Appointment", json=appointment(*given, **more))
    assert response.status_code == 201, response.text
    answer: Json = response.json()
    return answer


async def status_of(client: httpx.AsyncClient, slot: str) -> str:
    return str((await client.get(f"/{slot}")).json()["status"])


def actors(resource: Json) -> list[str]:
    return [one["actor"]["reference"] for one in resource["participant"]]


async def second_doctor(client: httpx.AsyncClient) -> None:
    """Dr Jones, who works at the Main Clinic like Dr Smith."""
    jones = {"reference": "Practitioner/jones"}
    await put(client, practitioner("jones"), role("jones-main", practitioner=jones))
    await put(client, schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]))


async def test_b5_the_old_time_is_given_back_and_the_new_one_taken_at_once(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    moved = await ask(clinic, one["id"], "reschedule", start=at("10:00"), comment="Later, please")
    assert moved.status_code == 200, moved.text
    after = moved.json()
    assert (after["id"], after["status"], after["comment"]) == (one["id"], "booked", "Later, please")
    assert (after["start"], after["end"]) == (at("10:00"), at("10:30"))
    assert after["slot"] == [{"reference": TEN}]
    assert [person["status"] for person in after["participant"]] == ["needs-action", "needs-action"]
    assert (await status_of(clinic, NINE), await status_of(clinic, TEN)) == ("free", "busy")
    history = (await clinic.get(f"/Appointment/{one['id']}/_history")).json()
    assert [entry["resource"]["start"] for entry in history["entry"]] == [at("10:00"), at("09:00")]


async def test_b5_its_own_time_does_not_block_it_and_its_length_may_change(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic, at("10:00"), 60)
    overlapping = await ask(clinic, one["id"], "reschedule", start=at("10:30"), minutes=30)
    assert (overlapping.status_code, overlapping.json()["end"]) == (200, at("11:00"))
    longer = await ask(clinic, one["id"], "reschedule", start=at("10:00"), end=at("11:00"))
    assert (longer.status_code, longer.json()["end"]) == (200, at("11:00"))


async def test_b5_a_taken_time_is_a_conflict_with_alternatives_and_nothing_changes(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    await booked(clinic, at("10:00"), actors=("Patient/bob", "Practitioner/smith"))
    refused = await ask(clinic, one["id"], "reschedule", start=at("10:00"))
    assert_outcome(refused, 409, "conflict", "practitioner-busy")
    assert_outcome(refused, 409, "informational", "alternatives")
    assert (await clinic.get(f"/Appointment/{one['id']}")).json() == one
    outside = await ask(clinic, one["id"], "reschedule", start=at("13:00"))
    assert_outcome(outside, 422, "business-rule", "outside-hours")
    assert await status_of(clinic, NINE) == "busy"


async def test_b5_it_moves_to_a_slot_or_schedule_with_its_people(clinic: httpx.AsyncClient) -> None:
    await second_doctor(clinic)
    one = await booked(clinic, actors=("Patient/ann", "PractitionerRole/smith-main"))
    free = "Slot/jones-main.20260303T1100.30"
    to_slot = await ask(clinic, one["id"], "reschedule", slot=free)
    assert to_slot.status_code == 200, to_slot.text
    assert (to_slot.json()["start"], to_slot.json()["slot"]) == (at("11:00"), [{"reference": free}])
    assert actors(to_slot.json()) == ["Patient/ann", "PractitionerRole/jones-main"]
    assert await status_of(clinic, NINE) == "free"
    back = await ask(clinic, one["id"], "reschedule", start=at("10:00"), schedule="Schedule/smith-main")
    assert actors(back.json()) == ["Patient/ann", "PractitionerRole/smith-main"]
    assert (back.json()["slot"], await status_of(clinic, free)) == ([{"reference": TEN}], "free")
    other = await ask(clinic, one["id"], "reschedule", start=at("09:00"), practitioner="Practitioner/jones")
    assert actors(other.json()) == ["Patient/ann", "Practitioner/jones"]
    assert other.json()["slot"] == [{"reference": "Slot/jones-main.20260303T0900.30"}]


async def test_b5_put_and_patch_of_times_or_slots_alone_move_it(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    url = f"/Appointment/{one['id']}"
    by_times = await clinic.put(url, json={**one, "start": at("10:00"), "end": at("10:30")})
    assert (by_times.status_code, by_times.json()["slot"]) == (200, [{"reference": TEN}])
    change = [{"op": "replace", "path": "/slot", "value": [{"reference": NINE}]}]
    by_slot = await clinic.patch(url, json=change, headers=PATCH)
    assert (by_slot.status_code, by_slot.json()["start"]) == (200, at("09:00"))
    assert (await status_of(clinic, NINE), await status_of(clinic, TEN)) == ("busy", "free")
    both = {**by_slot.json(), "slot": [{"reference": TEN}], "start": at("09:30"), "end": at("10:00")}
    assert_outcome(await clinic.put(url, json=both), 422, "business-rule", "slot-mismatch")


async def test_b5_what_is_held_moves_with_its_hold_and_what_is_over_does_not(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    held = (await hold(clinic, token="secret")).json()
    assert_outcome(await ask(clinic, held["id"], "reschedule", start=at("10:00")), 403, "forbidden")
    moved = await clinic.post(
        f"/Appointment/{held['id']}/$reschedule?start={at('10:00')}", headers={"X-Hold-Token": "secret"}
    )
    assert (moved.status_code, moved.json()["status"]) == (200, "pending")
    assert holds.expires_of(moved.json()) == holds.expires_of(held)
    assert (await status_of(clinic, NINE), await status_of(clinic, TEN)) == ("free", "busy-tentative")
    set_clock(NOW + timedelta(minutes=16))
    late = await ask(clinic, held["id"], "reschedule", start=at("11:00"))
    assert_outcome(late, 422, "business-rule", "illegal-transition")


async def test_b5_if_match_and_idempotency_key_are_heeded(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    stale = await ask(clinic, one["id"], "reschedule", start=at("10:00"), headers={"If-Match": 'W/"7"'})
    assert_outcome(stale, 412, "conflict")
    key = {"Idempotency-Key": "once"}
    first = await ask(clinic, one["id"], "reschedule", start=at("10:00"), headers=key)
    assert (
        first.headers["etag"]
        == (await ask(clinic, one["id"], "reschedule", start=at("10:00"), headers=key)).headers["etag"]
    )
    stale = await ask(clinic, one["id"], "reassign", to="Practitioner/x", headers={"If-Match": 'W/"1"'})
    assert_outcome(stale, 412, "conflict")


async def test_b5_it_is_said_clearly_what_the_parameters_should_be(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    start = at("10:00")
    for given in (
        {},
        {"start": start, "slot": TEN},
        {"start": start, "end": at("11:00"), "minutes": 30},
        {"start": start, "schedule": "Schedule/smith-main", "practitioner": "Practitioner/smith"},
        {"slot": TEN, "minutes": 30},
        {"start": start, "scope": "all", "schedule": "Schedule/smith-main"},
        {"start": start, "by": "nobody"},
    ):
        refused = await ask(clinic, one["id"], "reschedule", **given)
        assert refused.status_code == 400, given
    assert_outcome(await ask(clinic, one["id"], "reschedule", slot="Slot/none"), 422, "not-found", "slot-unknown")
    unknown = await ask(clinic, one["id"], "reschedule", start=start, schedule="Practitioner/smith")
    assert_outcome(unknown, 422, "not-found", "schedule-unknown")
    assert_outcome(await ask(clinic, "none", "reschedule", start=start), 404, "not-found")


async def test_b6_reassigning_keeps_the_time_and_the_history(clinic: httpx.AsyncClient) -> None:
    await second_doctor(clinic)
    one = await booked(clinic, actors=("Patient/ann", "PractitionerRole/smith-main"))
    given = await ask(clinic, one["id"], "reassign", to="Practitioner/jones", reason={"text": "Dr Smith is ill"})
    assert given.status_code == 200, given.text
    after = given.json()
    assert actors(after) == ["Patient/ann", "Practitioner/jones"]
    assert [person["status"] for person in after["participant"]] == ["accepted", "needs-action"]
    assert (after["start"], after["slot"]) == (one["start"], [{"reference": "Slot/jones-main.20260303T0900.30"}])
    assert await status_of(clinic, NINE) == "free"
    history = (await clinic.get(f"/Appointment/{one['id']}/_history")).json()
    assert actors(history["entry"][1]["resource"]) == ["Patient/ann", "PractitionerRole/smith-main"]
    told = (await clinic.get(f"/Provenance?target=Appointment/{one['id']}")).json()["entry"][0]["resource"]
    assert told["target"] == [{"reference": f"Appointment/{one['id']}/_history/2"}]
    assert (told["reason"], told["agent"][0]["who"]) == ([{"text": "Dr Smith is ill"}], {"display": "unknown"})


async def test_b6_of_a_pool_the_first_who_is_free_is_taken(clinic: httpx.AsyncClient) -> None:
    await second_doctor(clinic)
    await put(clinic, practitioner("green", active=False))
    one = await booked(clinic)
    await booked(clinic, actors=("Patient/bob", "Practitioner/jones"))
    nobody = await ask(clinic, one["id"], "reassign", to=["Practitioner/green", "Practitioner/jones"])
    assert_outcome(nobody, 409, "conflict", "practitioner-busy")
    assert {"practitioner-inactive", "practitioner-busy"} <= problems(nobody)
    await ask(clinic, one["id"], "reschedule", start=at("10:00"))
    taken = await ask(clinic, one["id"], "reassign", to=["Practitioner/green", "Practitioner/jones"])
    assert actors(taken.json()) == ["Patient/ann", "Practitioner/jones"]
    crowd = await ask(clinic, one["id"], "reassign", to=["Practitioner/jones"] * 21)
    assert_outcome(crowd, 422, "too-costly")


async def test_b6_a_room_is_exchanged_and_its_slot_given_back(clinic: httpx.AsyncClient) -> None:
    rooms = [room(), room("room-2")]
    calendars = [schedule(one["id"], actor=[{"reference": f"Location/{one['id']}"}]) for one in rooms]
    open_at = [{"daysOfWeek": ["tue"], "openingTime": "09:00:00", "closingTime": "12:00:00"}]
    await put(clinic, *({**one, "hoursOfOperation": open_at} for one in rooms), *calendars)
    one = await booked(clinic, actors=("Patient/ann", "Practitioner/smith", "Location/room-1"))
    assert await status_of(clinic, "Slot/room-1.20260303T0900.30") == "busy"
    given = await ask(clinic, one["id"], "reassign", to="Location/room-2")
    assert given.status_code == 200, given.text
    assert actors(given.json()) == ["Patient/ann", "Practitioner/smith", "Location/room-2"]
    assert await status_of(clinic, "Slot/room-1.20260303T0900.30") == "free"
    assert await status_of(clinic, "Slot/room-2.20260303T0900.30") == "busy"


async def test_b6_who_cannot_be_replaced_is_said(clinic: httpx.AsyncClient) -> None:
    await second_doctor(clinic)
    one = await booked(clinic)
    for given, problem in (
        ({"to": "Practitioner/smith"}, "takes-part-already"),
        ({"to": "Location/main"}, "nobody-to-replace"),
        ({"to": "Practitioner/jones", "from": "Practitioner/other"}, "nobody-to-replace"),
        ({"to": "Location/main", "from": "Practitioner/smith"}, "nobody-to-replace"),
        ({"to": "Practitioner/none"}, "practitioner-unknown"),
    ):
        refused = await ask(clinic, one["id"], "reassign", **given)
        assert refused.status_code == 422, refused.text
        assert problem in problems(refused)
    assert_outcome(
        await ask(clinic, one["id"], "reassign", to="https://elsewhere.example/Practitioner/1"), 400, "value"
    )


async def test_b6_put_of_other_participants_type_notes_and_length_does_the_same(clinic: httpx.AsyncClient) -> None:
    await second_doctor(clinic)
    one = await booked(clinic)
    checkup = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0276", "code": "CHECKUP"}]}
    people = [one["participant"][0], {"actor": {"reference": "Practitioner/jones"}, "status": "accepted"}]
    wanted = {**one, "participant": people, "comment": "Brings x-rays", "appointmentType": checkup}
    changed = await clinic.put(f"/Appointment/{one['id']}", json=wanted)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["comment"], changed.json()["appointmentType"]) == ("Brings x-rays", checkup)
    assert (await status_of(clinic, NINE), await status_of(clinic, "Slot/jones-main.20260303T0900.30")) == (
        "free",
        "busy",
    )
    longer = await clinic.put(f"/Appointment/{one['id']}", json={**changed.json(), "end": at("10:00")})
    assert longer.json()["slot"] == [{"reference": "Slot/jones-main.20260303T0900.60"}]
    assert (await clinic.get(f"/Appointment/{one['id']}/_history?_count=0")).json()["total"] == 3


async def test_b9_one_of_two_that_collide_is_put_elsewhere_with_its_history(clinic: httpx.AsyncClient) -> None:
    first = await booked(clinic)
    imported = {"coding": [{"system": "https://fhir-scheduling.example/CodeSystem/override-reason", "code": "import"}]}
    other = appointment(actors=("Patient/bob", "Practitioner/smith"))
    given = parameters(override="all", override_reason=imported)
    given["parameter"].append({"name": "appointment", "resource": other})
    second = (await clinic.post("/Appointment/$book", json=given)).json()
    assert second["status"] == "booked", second
    moved = await ask(clinic, second["id"], "reschedule", start=at("10:00"))
    assert (moved.status_code, moved.json()["id"]) == (200, second["id"])
    assert await status_of(clinic, NINE) == "busy"
    assert (await clinic.get(f"/Appointment/{first['id']}")).json() == first
    versions = (await clinic.get(f"/Appointment/{second['id']}/_history")).json()["entry"]
    assert [one["resource"]["start"] for one in versions] == [at("10:00"), at("09:00")]
    back = await ask(clinic, second["id"], "reschedule", start=at("09:00"))
    assert_outcome(back, 409, "conflict", "practitioner-busy")


@pytest.mark.parametrize("scope", ["one", "all"])
async def test_the_ends_of_time_are_no_new_time(clinic: httpx.AsyncClient, scope: str) -> None:
    series = recurring(at("09:00"), occurrenceCount=2)
    id = (await clinic.post("/Appointment/$book", json=series)).json()["entry"][0]["resource"]["id"]
    for given in (
        {"start": "9999-12-31T23:59:00Z"},
        {"start": "9000-01-01T00:00:00Z", "minutes": 2147483647},
        {"start": "0001-01-01T00:00:00Z"},
        {"start": at("10:00"), "minutes": 2147483647},
    ):
        refused = await ask(clinic, id, "reschedule", **given, scope=scope)
        assert_outcome(refused, 422, "value", "too-far-away")


async def test_the_slot_of_the_last_minute_of_all_is_none(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    last = "Slot/smith-main.99991231T2359.9999"
    assert_outcome(await ask(clinic, one["id"], "reschedule", slot=last), 422, "not-found", "slot-unknown")
    named = appointment(at("10:00"), slot=[{"reference": last}])
    assert_outcome(await clinic.post("/Appointment", json=named), 422, "not-found", "slot-unknown")
    assert (await clinic.put(f"/{last}", json=clinic_slot(last.partition("/")[2]))).status_code == 201


async def test_b6_only_who_is_of_the_kind_that_is_named_comes(clinic: httpx.AsyncClient) -> None:
    await second_doctor(clinic)
    one = await booked(clinic)
    for name, comer in (
        ("practitioner", "Patient/bob"),
        ("practitioner", "Location/main"),
        ("practitioner", "https://elsewhere.example/Practitioner/1"),
        ("location", "Practitioner/jones"),
    ):
        refused = await ask(clinic, one["id"], "reschedule", start=at("10:00"), **{name: comer})
        assert_outcome(refused, 400, "value")
    assert_outcome(
        await ask(clinic, one["id"], "reassign", to="Patient/bob"), 422, "business-rule", "nobody-to-replace"
    )
    jones = f"{BASE}Practitioner/jones"
    moved = await ask(clinic, one["id"], "reschedule", start=at("10:00"), practitioner=jones)
    assert actors(moved.json()) == ["Patient/ann", "Practitioner/jones"]


async def test_b5_who_had_agreed_is_asked_again_however_they_are_written(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic)
    people = [
        {**person, "actor": {"reference": f"{BASE}{person['actor']['reference']}", "display": "As written here"}}
        for person in one["participant"]
    ]
    later = {**one, "participant": people, "start": at("10:00"), "end": at("10:30")}
    moved = await clinic.put(f"/Appointment/{one['id']}", json=later)
    assert [person["status"] for person in moved.json()["participant"]] == ["needs-action", "needs-action"]


async def test_b5_how_long_it_is_said_to_last_follows_its_length(clinic: httpx.AsyncClient) -> None:
    one = await booked(clinic, minutesDuration=30)
    longer = await ask(clinic, one["id"], "reschedule", start=at("10:00"), minutes=60)
    assert longer.json()["minutesDuration"] == 60
    by_slot = await ask(clinic, one["id"], "reschedule", slot=NINE)
    assert by_slot.json()["minutesDuration"] == 30
    shorter = {**by_slot.json(), "minutesDuration": 20}
    assert (await clinic.put(f"/Appointment/{one['id']}", json=shorter)).json()["minutesDuration"] == 20
    moved = await ask(clinic, one["id"], "reschedule", start=at("10:00"))
    assert moved.json()["minutesDuration"] == 20
