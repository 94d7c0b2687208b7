"""$hold, $release and what becomes of holds: the time is nobody else's until it is booked, given up or over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import structlog

from fhir_server.scheduling import holds
from fhir_server.settling import settle, watch
from fhir_server.store import Store
from tests.clinic import MONDAY, NOW, SCHEDULING, appointment, at, schedule, slot
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome, problems

SetClock = Callable[[datetime], None]
Json = dict[str, Any]

PATCH = {"content-type": "application/json-patch+json"}
NINE = "Slot/smith-main.20260303T0900.30"
LATER = NOW + timedelta(minutes=16)


def asked(slot: str = NINE, patient: str = "Patient/ann", **more: str | int) -> Json:
    given: list[Json] = [
        {"name": "slot", "valueReference": {"reference": slot}},
        {"name": "patient", "valueReference": {"reference": patient}},
    ]
    for name, value in more.items():
        given.append({"name": name, "valuePositiveInt" if isinstance(value, int) else "valueString": value})
    return {"resourceType": "Parameters", "parameter": given}


async def hold(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await client.post("/Appointment/$hold", json=asked(**more))


async def free_nine(client: httpx.AsyncClient) -> bool:
    window = f"start={at('09:00')}&end={at('09:30')}"
    return bool((await client.get(f"/Schedule/smith-main/$find-slots?{window}")).json()["total"])


async def test_b3_a_hold_takes_the_time_and_says_when_it_ends(clinic: httpx.AsyncClient) -> None:
    response = await hold(clinic)
    assert response.status_code == 201
    held, until = response.json(), NOW + timedelta(minutes=15)
    assert held["status"] == "pending"
    assert holds.expires_of(held) == until
    assert parsedate_to_datetime(response.headers["expires"]) == until
    slot = (await clinic.get(NINE)).json()
    assert (slot["status"], holds.expires_of(slot)) == ("busy-tentative", until)
    assert "Patient" not in str(slot)
    assert not await free_nine(clinic)
    taken = await clinic.post("/Appointment/$book", json=asked(patient="Patient/bob"))
    assert_outcome(taken, 409, "conflict")


async def test_b3_booking_confirms_the_hold(clinic: httpx.AsyncClient, store: Store, set_clock: SetClock) -> None:
    held = (await hold(clinic)).json()
    booked = await clinic.post(f"/Appointment/{held['id']}/$book")
    assert (booked.status_code, booked.json()["status"]) == (200, "booked")
    assert holds.expires_of(booked.json()) is None
    slot = (await clinic.get(NINE)).json()
    assert (slot["status"], holds.expires_of(slot)) == ("busy", None)
    set_clock(LATER)
    assert not await free_nine(clinic)
    assert [claim["claim"]["expires"] async for claim in store.db["claims"].find()] == [None] * 4


async def test_b3_a_hold_that_is_over_holds_nothing_even_if_nobody_put_it_away(
    clinic: httpx.AsyncClient, store: Store, set_clock: SetClock
) -> None:
    held = (await hold(clinic)).json()
    set_clock(LATER)
    document = await store.db["Appointment"].find_one({"_id": held["id"]})
    assert document and document["resource"]["status"] == "pending"
    clinic.app.state.server.settled.since = NOW  # type: ignore[attr-defined]
    clinic.app.state.server.settled.until = LATER + timedelta(hours=1)  # type: ignore[attr-defined]
    assert await free_nine(clinic)
    assert (await clinic.post("/Appointment/$book", json=asked(patient="Patient/bob"))).status_code == 201
    claims = await store.db["claims"].find({"actor": "Practitioner/smith"}).to_list(None)
    assert f"Appointment/{held['id']}" not in {claim["owner"] for claim in claims}
    clinic.app.state.server.settled.until = None  # type: ignore[attr-defined]
    assert (await clinic.get(f"/Appointment/{held['id']}")).json()["status"] == "cancelled"
    assert (await clinic.get(NINE)).json()["status"] == "busy"


async def test_b3_whoever_looks_finds_a_hold_that_is_over_cancelled_and_its_slot_free(
    clinic: httpx.AsyncClient, store: Store, set_clock: SetClock
) -> None:
    held = (await hold(clinic)).json()
    await store.follow(None, 100)
    set_clock(LATER)
    found = (await clinic.get("/Appointment?status=cancelled")).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == [held["id"]]
    cancelled = found["entry"][0]["resource"]
    assert cancelled["cancelationReason"] == holds.reason("hold-expired")
    assert "extension" not in cancelled
    assert (await clinic.get(NINE)).json()["status"] == "free"
    events, _ = await store.follow(None, 100)
    last = next(one.event for one in reversed(events) if one.event.resource == f"Appointment/{held['id']}")
    assert (last.old_status, last.new_status, last.reason) == ("pending", "cancelled", "hold-expired")


async def test_b3_an_ehrs_own_slot_is_free_again_after_the_hold(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    own = {
        "resourceType": "Slot",
        "id": "own",
        "schedule": {"reference": "Schedule/smith-main"},
        "status": "free",
        "start": at("18:00"),
        "end": at("18:30"),
    }
    await clinic.put("/Slot/own", json=own)
    assert (await hold(clinic, slot="Slot/own")).status_code == 201
    assert (await clinic.get("/Slot/own")).json()["status"] == "busy-tentative"
    set_clock(LATER)
    found = (await clinic.get(f"/Slot?status=free&schedule=Schedule/smith-main&start={at('18:00')}")).json()
    assert [entry["resource"]["id"] for entry in found["entry"] if "id" in entry["resource"]] == ["own"]
    assert "extension" not in found["entry"][0]["resource"]


async def test_b3_a_late_booking_of_an_expired_hold_succeeds_if_the_time_is_still_free(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    first, second = (await hold(clinic)).json(), (await hold(clinic, slot=NINE.replace("0900", "0930"))).json()
    set_clock(LATER)
    late = await clinic.post(f"/Appointment/{first['id']}/$book")
    assert (late.status_code, late.json()["status"]) == (200, "booked")
    assert "cancelationReason" not in late.json()
    other = asked(slot=NINE.replace("0900", "0930"), patient="Patient/bob")
    assert (await clinic.post("/Appointment/$book", json=other)).status_code == 201
    lost = await clinic.post(f"/Appointment/{second['id']}/$book")
    assert_outcome(lost, 409, "conflict")
    assert "The nearest free times" in lost.text


async def test_b3_a_hold_is_renewed_and_ends_for_good(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    held = (await hold(clinic)).json()
    moment = NOW
    for _ in range(10):
        moment += timedelta(minutes=10)
        set_clock(moment)
        renewed = await clinic.post(f"/Appointment/{held['id']}/$hold")
        assert renewed.status_code == 200, renewed.text
        assert holds.expires_of(renewed.json()) == moment + timedelta(minutes=15)
    set_clock(moment + timedelta(minutes=10))
    assert_outcome(await clinic.post(f"/Appointment/{held['id']}/$hold"), 422, "business-rule")
    assert (await clinic.post(f"/Appointment/{held['id']}/$book")).status_code == 200


async def test_b3_a_hold_is_given_up(clinic: httpx.AsyncClient) -> None:
    held = (await hold(clinic)).json()
    released = await clinic.post(f"/Appointment/{held['id']}/$release")
    assert (released.status_code, released.json()["status"]) == (200, "cancelled")
    assert released.json()["cancelationReason"] == holds.reason("hold-released")
    assert await free_nine(clinic)
    assert_outcome(await clinic.post(f"/Appointment/{held['id']}/$release"), 422, "business-rule")


async def test_a_hold_with_a_token_is_changed_by_its_owner_only(clinic: httpx.AsyncClient) -> None:
    held = (await hold(clinic, token="secret")).json()
    assert "secret" not in str(held)
    one = f"/Appointment/{held['id']}"
    refusals = [
        await clinic.post(f"{one}/$book"),
        await clinic.post(f"{one}/$release", json={"resourceType": "Parameters"}),
        await clinic.post(f"{one}/$hold", headers={"X-Hold-Token": "other"}),
        await clinic.put(one, json={**held, "status": "booked"}),
        await clinic.patch(one, json=[{"op": "remove", "path": "/extension"}], headers=PATCH),
    ]
    for refused in refusals:
        assert_outcome(refused, 403, "forbidden")
    assert problems(refusals[0]) == {"not-the-holder"}
    kept = (await clinic.get(one)).json()
    assert kept == held
    assert (await clinic.put(one, json={**held, "status": "booked"}, headers={"X-Hold-Token": "secret"})).is_success


async def test_an_update_does_not_take_the_end_of_a_hold_away(clinic: httpx.AsyncClient) -> None:
    held = (await hold(clinic)).json()
    bare = {name: value for name, value in held.items() if name != "extension"}
    updated = await clinic.put(f"/Appointment/{held['id']}", json={**bare, "comment": "Prefers the window"})
    assert holds.expires_of(updated.json()) == holds.expires_of(held)


async def test_a_hold_is_as_long_as_a_hold_may_be(clinic: httpx.AsyncClient) -> None:
    assert holds.expires_of((await hold(clinic, minutes=60)).json()) == NOW + timedelta(minutes=60)
    assert_outcome(await hold(clinic, slot=NINE.replace("0900", "0930"), minutes=61), 422, "value")
    for seconds, code in ((59, "hold-too-short"), (61 * 60, "hold-too-long")):
        wanted = holds.ask_for(appointment(at("10:00")), NOW + timedelta(seconds=seconds))
        refused = await clinic.post("/Appointment", json=wanted)
        assert_outcome(refused, 422, "business-rule")
        assert problems(refused) == {code}


async def test_a_client_has_so_many_holds_at_a_time(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    slots = [f"Slot/smith-main.2026030{day}T{time}.30" for day in (3, 4) for time in TIMES]
    held = [await hold(clinic, slot=slot) for slot in slots[:10]]
    assert [response.status_code for response in held] == [201] * 10
    refused = await hold(clinic, slot=slots[10])
    assert_outcome(refused, 429, "throttled")
    assert (problems(refused), refused.headers["retry-after"]) == ({"too-many-holds"}, "900")
    assert (await hold(clinic, slot=slots[10], patient="Patient/bob")).status_code == 201
    await clinic.post(f"/Appointment/{held[0].json()['id']}/$book")
    assert (await hold(clinic, slot=slots[11])).status_code == 201
    set_clock(LATER)
    assert (await hold(clinic, slot=slots[9])).status_code == 201


TIMES = ("0900", "0930", "1000", "1030", "1100", "1130")


async def test_a_slot_made_tentative_is_a_hold_that_an_appointment_takes_over(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    tentative = [{"op": "replace", "path": "/status", "value": "busy-tentative"}]
    patched = await clinic.patch(f"/{NINE}", json=tentative, headers=PATCH)
    assert (patched.status_code, holds.expires_of(patched.json())) == (200, NOW + timedelta(minutes=15))
    assert not await free_nine(clinic)
    assert_outcome(await clinic.post("/Appointment", json=appointment()), 409, "conflict")
    named = appointment(slot=[{"reference": NINE}])
    assert (await clinic.post("/Appointment", json=named)).status_code == 201
    assert (await clinic.get(NINE)).json()["status"] == "busy"
    other = NINE.replace("0900", "0930")
    await clinic.patch(f"/{other}", json=tentative, headers=PATCH)
    set_clock(LATER)
    assert (await clinic.get(other)).json()["status"] == "free"


async def test_what_is_taken_cannot_be_held(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment())
    tentative = [{"op": "replace", "path": "/status", "value": "busy-tentative"}]
    overlapping = "Slot/smith-main.20260303T0900.60"
    refused = await clinic.patch(f"/{overlapping}", json=tentative, headers=PATCH)
    assert_outcome(refused, 409, "conflict", "slot-not-free")
    refused = await hold(clinic, patient="Patient/bob")
    assert_outcome(refused, 409, "conflict", "practitioner-busy")
    assert_outcome(refused, 409, "informational", "alternatives")


async def test_b3_a_fault_does_not_end_the_watch_over_holds(
    clinic: httpx.AsyncClient, store: Store, set_clock: SetClock
) -> None:
    held = (await hold(clinic)).json()
    appointments, where = store.db["Appointment"], "resource.extension.0.valueInstant"
    right = next(one["valueInstant"] for one in held["extension"] if one["url"] == holds.EXPIRES)
    await appointments.update_one({"_id": held["id"]}, {"$set": {where: "never"}})
    set_clock(LATER)

    async def status() -> str:
        stored = await store.read("Appointment", held["id"])
        return str(stored and stored.resource and stored.resource["status"])

    with structlog.testing.capture_logs() as lines:
        watching = asyncio.create_task(watch(clinic.app.state.server, 0))  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            while not lines and not watching.done():
                assert await status() == "pending"
            await appointments.update_one({"_id": held["id"]}, {"$set": {where: right}})
            while await status() == "pending" and not watching.done():
                pass
        watching.cancel()
    assert await status() == "cancelled"
    assert lines[0] == {"log_level": "error", "event": "settling", "error": "ValueError"}


async def test_holds_are_looked_at_once_until_one_can_be_over(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    server = clinic.app.state.server  # type: ignore[attr-defined]
    server.settled.until = None
    await settle(server)
    assert server.settled.until == NOW + holds.SHORTEST
    await hold(clinic, minutes=2)
    assert server.settled.until == NOW + holds.SHORTEST
    set_clock(NOW + holds.SHORTEST)
    await settle(server)
    assert server.settled.until == NOW + timedelta(minutes=2)


async def test_a_mistaken_cancellation_or_no_show_is_undone_where_the_time_is_free(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    one = f"/Appointment/{booked['id']}"
    cancel = {"name": "cancelationReason", "valueCodeableConcept": {"text": "Ill"}}
    await clinic.post(f"{one}/$cancel", json={"resourceType": "Parameters", "parameter": [cancel]})
    undone = await clinic.put(one, json=booked)
    assert (undone.status_code, undone.json()["status"]) == (200, "booked")
    assert not await free_nine(clinic)
    set_clock(datetime.fromisoformat(at("10:30")))
    await clinic.put(one, json={**booked, "status": "noshow"})
    arrived = await clinic.put(one, json={**booked, "status": "arrived"})
    assert (arrived.status_code, arrived.json()["status"]) == (200, "arrived")


async def test_a_time_that_a_visit_has_already_is_not_asked_again(clinic: httpx.AsyncClient) -> None:
    held = (await hold(clinic)).json()
    block = {
        "resourceType": "Slot",
        "id": "block",
        "schedule": {"reference": "Schedule/smith-main"},
        "status": "busy-unavailable",
        "start": at("08:30"),
        "end": at("10:30"),
    }
    assert (await clinic.put("/Slot/block", json=block)).status_code == 201
    renewed = await clinic.post(f"/Appointment/{held['id']}/$hold")
    assert renewed.status_code == 200, renewed.text
    assert (await clinic.post(f"/Appointment/{held['id']}/$book")).status_code == 200
    assert_outcome(await hold(clinic, slot=NINE.replace("0900", "0930")), 409, "conflict", "practitioner-busy")


async def test_a_hold_with_a_token_is_deleted_by_its_owner_alone(clinic: httpx.AsyncClient) -> None:
    one = f"/Appointment/{(await hold(clinic, token='secret')).json()['id']}"
    assert_outcome(await clinic.delete(one), 403, "forbidden", "not-the-holder")
    assert not await free_nine(clinic)
    assert (await clinic.delete(one, headers={"X-Hold-Token": "secret"})).status_code == 204
    assert await free_nine(clinic)


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_the_token_of_a_bundle_counts_for_its_entries(clinic: httpx.AsyncClient, kind: str) -> None:
    held = (await hold(clinic, token="secret")).json()
    entry = {"resource": {**held, "status": "booked"}, "request": {"method": "PUT", "url": f"Appointment/{held['id']}"}}
    bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
    assert "not-the-holder" in (await clinic.post("/", json=bundle)).text
    done = await clinic.post("/", json=bundle, headers={"X-Hold-Token": "secret"})
    assert done.json()["entry"][0]["response"]["status"] == "200 OK", done.text


@pytest.mark.parametrize("wrong", [{"valueString": "abc"}, {"valueDateTime": at("08:20", MONDAY)}])
async def test_what_says_when_a_hold_ends_is_one_instant(clinic: httpx.AsyncClient, wrong: Json) -> None:
    right = {"url": holds.EXPIRES, "valueInstant": at("08:20", MONDAY)}
    for said in ([{"url": holds.EXPIRES, **wrong}], [right, right]):
        held = appointment(status="pending", extension=said)
        issue = assert_outcome(await clinic.post("/Appointment", json=held), 422, "extension")
        assert issue["expression"] == ["Appointment.extension[0]"]
        tentative = slot(NINE.partition("/")[2], at("09:00"), at("09:30"), status="busy-tentative", extension=said)
        assert_outcome(await clinic.put(f"/{NINE}", json=tentative), 422, "extension")


async def test_nobody_says_otherwise_on_the_slot_of_a_hold(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    held = (await hold(clinic)).json()
    stored = (await clinic.get(f"/{NINE}")).json()
    for until in (at("08:00", "2020-01-01"), at("08:50", MONDAY), None):
        said = holds.with_expiry(stored, until and datetime.fromisoformat(until))
        changed = await clinic.put(f"/{NINE}", json={**said, "comment": "Room 2"})
        assert (changed.status_code, changed.json()["comment"]) == (200, "Room 2")
        assert holds.expires_of(changed.json()) == holds.expires_of(held)
    set_clock(LATER)
    assert (await clinic.get(f"/Appointment/{held['id']}")).json()["status"] == "cancelled"
    assert (await clinic.get(f"/{NINE}")).json()["status"] == "free"


async def test_what_is_booked_never_becomes_a_hold(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    asks = {"url": SCHEDULING, "extension": [{"url": "confirmationRequired", "valueBoolean": True}]}
    await put(clinic, schedule(extension=[asks]))
    one = f"/Appointment/{(await hold(clinic)).json()['id']}"
    waits = await clinic.post(f"{one}/$book")
    assert (waits.status_code, waits.json()["status"]) == (202, "pending")
    assert_outcome(await clinic.post(f"{one}/$hold"), 422, "business-rule", "illegal-transition")
    booked = await clinic.put(one, json={**waits.json(), "status": "booked"})
    assert booked.status_code == 200, booked.text
    until = NOW + timedelta(minutes=20)
    assert_outcome(
        await clinic.put(one, json=holds.ask_for(booked.json(), until)), 422, "business-rule", "illegal-transition"
    )
    set_clock(until)
    assert (await clinic.get(one)).json()["status"] == "booked"


async def test_a_hold_that_outlasts_its_time_is_booked_for_good(
    clinic: httpx.AsyncClient, store: Store, set_clock: SetClock
) -> None:
    set_clock(datetime.fromisoformat(at("08:50")))
    held = (await hold(clinic, minutes=60)).json()
    set_clock(datetime.fromisoformat(at("09:40")))
    assert (await clinic.post(f"/Appointment/{held['id']}/$book")).json()["status"] == "booked"
    assert {claim["claim"]["expires"] async for claim in store.db["claims"].find()} == {None}
