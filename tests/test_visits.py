"""Appointment and Encounter in one transaction: who came, when, where she was, and what cannot be undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_server.loading import entries_of, load
from tests.clinic import MONDAY, NOW, REASON, appointment, at, encounter, patient, room, schedule
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome
from tests.test_statuses import encounters, move

SetClock = Callable[[datetime], None]
SOON = at("09:00", MONDAY)


async def book(client: httpx.AsyncClient, start: str = SOON, **more: Any) -> dict[str, Any]:
    response = await client.post("/Appointment", json=appointment(start, **more))
    assert response.status_code == 201, response.text
    return dict(response.json())


async def status_of(client: httpx.AsyncClient, resource: dict[str, Any]) -> str:
    return str((await client.get(f"/{resource['resourceType']}/{resource['id']}")).json()["status"])


@pytest.mark.parametrize("begun", ["triaged", "in-progress", "onleave"])
async def test_l4_a_visit_that_has_begun_cannot_be_called_off(clinic: httpx.AsyncClient, begun: str) -> None:
    booked = await book(clinic)
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    await move(clinic, visit, begun)
    for status in ("cancelled", "booked", "entered-in-error"):
        more = {"cancelationReason": REASON} if status == "cancelled" else {}
        issue = assert_outcome(await move(clinic, booked, status, **more), 422, "business-rule", "visit-begun")
        assert visit["id"] in issue["diagnostics"]
    assert (await status_of(clinic, booked), await status_of(clinic, visit)) == ("arrived", begun)
    await move(clinic, visit, "cancelled")
    assert (await move(clinic, booked, "cancelled", cancelationReason=REASON)).status_code == 200


async def test_l4_where_it_is_so_set_a_cancellation_takes_the_visit_along(client_with: Any) -> None:
    client = await client_with(clinic=True, cancel_after_start="cascade")
    booked = await book(client)
    await move(client, booked, "arrived")
    [visit] = await encounters(client, booked)
    await move(client, visit, "in-progress")
    assert (await move(client, booked, "cancelled", cancelationReason=REASON)).status_code == 200
    assert await status_of(client, visit) == "cancelled"


async def test_l3_a_no_show_makes_no_visit_and_calls_a_planned_one_off(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    booked = await book(clinic)
    await put(clinic, encounter(appointment=[{"reference": f"Appointment/{booked['id']}"}]))
    set_clock(NOW + timedelta(hours=2))
    assert (await move(clinic, booked, "noshow")).status_code == 200
    assert [visit["status"] for visit in await encounters(clinic, booked)] == ["cancelled"]


async def test_l3_nobody_is_a_no_show_whose_visit_is_under_way(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    pending = await book(clinic, status="pending")
    imported = encounter(status="in-progress", appointment=[{"reference": f"Appointment/{pending['id']}"}])
    async for loaded in load(clinic.app.state.server, entries_of([imported], "import")):  # type: ignore[attr-defined]
        assert loaded.result == "created", loaded.issues
    await move(clinic, pending, "booked")
    set_clock(NOW + timedelta(hours=2))
    assert_outcome(await move(clinic, pending, "noshow"), 422, "business-rule", "visit-begun")


async def test_l3_completion_needs_an_arrival(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    assert_outcome(await move(clinic, booked, "fulfilled"), 422, "business-rule", "illegal-transition")
    await move(clinic, booked, "arrived")
    assert (await move(clinic, booked, "fulfilled")).status_code == 200


async def test_l4_nobody_arrives_days_before_the_appointment(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    booked = await book(clinic, at("09:00", "2026-03-06"))
    for status in ("arrived", "checked-in"):
        issue = assert_outcome(await move(clinic, booked, status), 422, "business-rule", "too-early")
        assert "2026-03-04T21:00:00Z" in issue["diagnostics"]
    linked = [{"reference": f"Appointment/{booked['id']}"}]
    for status in ("in-progress", "finished"):
        sent = encounter(status=status, appointment=linked)
        assert_outcome(await clinic.put("/Encounter/visit", json=sent), 422, "business-rule", "too-early")
    assert await encounters(clinic, booked) == []
    set_clock(datetime.fromisoformat("2026-03-04T21:00:00Z"))
    assert (await move(clinic, booked, "arrived")).status_code == 200


async def test_l4_how_early_a_patient_can_arrive_is_set(client_with: Any, set_clock: SetClock) -> None:
    client = await client_with(clinic=True, arrival_minutes_max=30)
    booked = await book(client)
    set_clock(datetime.fromisoformat(at("08:29", MONDAY)))
    assert_outcome(await move(client, booked, "arrived"), 422, "business-rule", "too-early")
    set_clock(datetime.fromisoformat(at("08:30", MONDAY)))
    assert (await move(client, booked, "arrived")).status_code == 200


@pytest.fixture
async def group(clinic: httpx.AsyncClient) -> dict[str, Any]:
    """A booking of three patients together, of whom one has declined."""
    await put(clinic, schedule(parameters={"capacity": 4}), patient("eve"))
    wanted = appointment(SOON, actors=("Patient/ann", "Patient/bob", "Patient/eve", "Practitioner/smith"))
    wanted["participant"][2]["status"] = "declined"
    response = await clinic.post("/Appointment", json=wanted)
    assert response.status_code == 201, response.text
    return dict(response.json())


def subjects(visits: list[dict[str, Any]]) -> list[str]:
    return sorted(visit["subject"]["reference"] for visit in visits)


async def test_l4_a_group_has_an_encounter_for_each_who_comes(clinic: httpx.AsyncClient, group: dict[str, Any]) -> None:
    linked = [{"reference": f"Appointment/{group['id']}"}]
    await put(clinic, encounter(appointment=linked, subject={"reference": "Patient/bob"}))
    assert (await move(clinic, group, "arrived")).status_code == 200
    visits = await encounters(clinic, group)
    assert subjects(visits) == ["Patient/ann", "Patient/bob"]
    assert {visit["status"] for visit in visits} == {"arrived"}
    assert (await move(clinic, group, "checked-in")).status_code == 200
    assert len(await encounters(clinic, group)) == 2


async def test_l4_the_last_of_a_group_to_end_fulfils_the_appointment(
    clinic: httpx.AsyncClient, group: dict[str, Any]
) -> None:
    await move(clinic, group, "arrived")
    first, second = await encounters(clinic, group)
    assert (await move(clinic, first, "finished")).status_code == 200
    assert await status_of(clinic, group) == "arrived"
    assert (await move(clinic, second, "cancelled")).status_code == 200
    assert await status_of(clinic, group) == "fulfilled"


async def test_l4_a_visit_that_is_only_cancelled_fulfils_nothing(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    await move(clinic, visit, "cancelled")
    assert await status_of(clinic, booked) == "arrived"


async def test_l4_a_planned_encounter_of_the_client_is_the_one_that_begins(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    await put(clinic, encounter(appointment=[{"reference": f"Appointment/{booked['id']}"}]))
    await move(clinic, booked, "checked-in")
    [visit] = await encounters(clinic, booked)
    assert (visit["id"], visit["status"]) == ("visit", "arrived")
    assert visit["statusHistory"][0]["status"] == "planned"


async def test_l4_an_arrival_by_mistake_is_undone_and_made_again(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    await move(clinic, booked, "arrived")
    assert (await move(clinic, booked, "booked")).status_code == 200
    assert [visit["status"] for visit in await encounters(clinic, booked)] == ["cancelled"]
    assert (await move(clinic, booked, "arrived")).status_code == 200
    assert sorted(visit["status"] for visit in await encounters(clinic, booked)) == ["arrived", "cancelled"]


async def test_l4_every_move_of_a_visit_is_in_its_status_history(
    clinic: httpx.AsyncClient, set_clock: SetClock
) -> None:
    booked = await book(clinic)
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    for minutes, status in ((10, "triaged"), (20, "in-progress"), (30, "finished")):
        set_clock(NOW + timedelta(minutes=minutes))
        assert (await move(clinic, visit, status)).status_code == 200
    history = (await clinic.get(f"/Encounter/{visit['id']}")).json()["statusHistory"]
    assert [(one["status"], one["period"]["start"][11:16], one["period"]["end"][11:16]) for one in history] == [
        ("arrived", "08:00", "08:10"),
        ("triaged", "08:10", "08:20"),
        ("in-progress", "08:20", "08:30"),
    ]


async def test_l4_the_places_where_the_patient_was_are_kept(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    await put(clinic, room(), room("room-2"))
    booked = await book(clinic, actors=("Patient/ann", "Practitioner/smith", "Location/room-1"))
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    set_clock(NOW + timedelta(minutes=10))
    there = [{"location": {"reference": "Location/room-2"}}]
    moved = await clinic.put(f"/Encounter/{visit['id']}", json={**visit, "location": there})
    assert moved.status_code == 200, moved.text
    first = {"location": {"reference": "Location/room-1"}, "status": "completed"}
    second = {"location": {"reference": "Location/room-2"}, "status": "active"}
    assert moved.json()["location"] == [
        {**first, "period": {"start": at("08:00", MONDAY), "end": at("08:10", MONDAY)}},
        {**second, "period": {"start": at("08:10", MONDAY)}},
    ]
    set_clock(NOW + timedelta(minutes=20))
    back = [{"location": {"reference": "Location/room-1"}}]
    again = (await clinic.put(f"/Encounter/{visit['id']}", json={**visit, "location": back})).json()["location"]
    assert [one["status"] for one in again] == ["completed", "completed", "active"]
    assert again[2]["period"] == {"start": at("08:20", MONDAY)}
    set_clock(NOW + timedelta(minutes=30))
    assert (await move(clinic, booked, "fulfilled")).status_code == 200
    last = (await clinic.get(f"/Encounter/{visit['id']}")).json()["location"][2]
    assert (last["status"], last["period"]["end"]) == ("completed", at("08:30", MONDAY))


async def test_l4_a_planned_place_is_changed_without_a_trace(clinic: httpx.AsyncClient) -> None:
    planned = [{"location": {"reference": "Location/main"}, "status": "planned"}]
    await put(clinic, encounter(status="arrived", location=planned))
    other = [{"location": {"reference": "Location/other"}, "status": "planned"}]
    changed = await clinic.put("/Encounter/visit", json=encounter(status="arrived", location=other))
    assert changed.json()["location"] == other


@pytest.mark.parametrize("status", ["finished", "cancelled"])
async def test_l4_an_encounter_that_ends_itself_is_over_everywhere(
    clinic: httpx.AsyncClient, set_clock: SetClock, status: str
) -> None:
    await put(clinic, room())
    booked = await book(clinic, actors=("Patient/ann", "Practitioner/smith", "Location/room-1"))
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    set_clock(NOW + timedelta(minutes=10))
    ended = (await move(clinic, visit, status)).json()
    over = {"start": at("08:00", MONDAY), "end": at("08:10", MONDAY)}
    assert (ended["status"], ended["period"]) == (status, over)
    assert [(one["status"], one["period"]) for one in ended["location"]] == [("completed", over)]
    assert ended["statusHistory"] == [{"status": "arrived", "period": over}]


async def test_l4_what_an_encounter_says_of_its_own_end_stands(clinic: httpx.AsyncClient, set_clock: SetClock) -> None:
    booked = await book(clinic)
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    set_clock(NOW + timedelta(minutes=10))
    said = {"start": at("08:00", MONDAY), "end": at("08:05", MONDAY)}
    ended = (await clinic.put(f"/Encounter/{visit['id']}", json={**visit, "status": "finished", "period": said})).json()
    assert ended["period"] == said


async def test_l5_a_move_of_an_appointment_is_told_of_its_encounter_too(clinic: httpx.AsyncClient) -> None:
    store = clinic.app.state.server.store  # type: ignore[attr-defined]
    booked = await book(clinic)
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    await move(clinic, booked, "fulfilled")
    events, _ = await store.follow(None, 100)
    own = [one.event for one in events if one.event.resource == f"Encounter/{visit['id']}"]
    assert [(one.action, one.old_status, one.new_status) for one in own] == [
        ("create", None, "arrived"),
        ("update", "arrived", "finished"),
    ]


async def test_l4_an_arrival_told_by_both_at_once_is_written_by_both(clinic: httpx.AsyncClient) -> None:
    booked = await book(clinic)
    linked = [{"reference": f"Appointment/{booked['id']}"}]
    begun = encounter(status="arrived", appointment=linked, subject={"reference": "Patient/ann"})
    answers = await asyncio.gather(move(clinic, booked, "arrived"), clinic.put("/Encounter/visit", json=begun))
    assert [one.is_success for one in answers] == [True, True]
    assert await status_of(clinic, booked) == "arrived"


async def test_l4_who_walks_in_has_a_visit_at_once(clinic: httpx.AsyncClient) -> None:
    walk_in = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0276", "code": "WALKIN"}]}
    come = await book(clinic, SOON, status="arrived", appointmentType=walk_in)
    [visit] = await encounters(clinic, come)
    assert (visit["status"], visit["subject"]["reference"]) == ("arrived", "Patient/ann")
    assert visit["period"] == {"start": at("08:00", MONDAY)}
    assert (await move(clinic, visit, "finished")).status_code == 200
    assert await status_of(clinic, come) == "fulfilled"
