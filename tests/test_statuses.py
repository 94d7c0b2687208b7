"""The status machines through HTTP: legal and illegal moves, cancellation, no-show, and the Encounter in step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from fhir_server.scheduling import lifecycle
from tests.clinic import MONDAY, NOW, REASON, appointment, at, encounter, slot
from tests.operations.test_find_slots import find, put, starts
from tests.outcomes import assert_outcome

SetClock = Callable[[datetime], None]


async def move(client: httpx.AsyncClient, resource: dict[str, Any], status: str, **more: Any) -> httpx.Response:
    url = f"/{resource['resourceType']}/{resource['id']}"
    current = (await client.get(url)).json()
    current.pop("cancelationReason", None)
    return await client.put(url, json={**current, "status": status, **more})


async def encounters(client: httpx.AsyncClient, resource: dict[str, Any]) -> list[dict[str, Any]]:
    bundle = (await client.get("/Encounter", params={"appointment": f"Appointment/{resource['id']}"})).json()
    return [entry["resource"] for entry in bundle.get("entry", ())]


@pytest.fixture
async def booked(clinic: httpx.AsyncClient) -> dict[str, Any]:
    wanted = appointment(serviceType=[{"coding": [{"code": "checkup"}]}], reasonCode=[{"text": "cough"}])
    response = await clinic.post("/Appointment", json=wanted)
    assert response.status_code == 201, response.text
    return dict(response.json())


ROUTES = {
    "proposed": (),
    "waitlist": (),
    "pending": (),
    "booked": (),
    "arrived": ("booked",),
    "checked-in": ("booked", "arrived"),
    "fulfilled": ("booked", "arrived"),
    "cancelled": ("booked",),
    "noshow": ("booked",),
    "entered-in-error": ("booked",),
}
"""How an Appointment comes to each status."""

FROM, TO = zip(*((old, new) for old in lifecycle.APPOINTMENT for new in lifecycle.APPOINTMENT), strict=True)


@pytest.mark.parametrize(("old", "new"), list(zip(FROM, TO, strict=True)))
async def test_l2_only_the_moves_of_the_table_are_possible(
    clinic: httpx.AsyncClient, set_clock: SetClock, old: str, new: str
) -> None:
    steps = (*ROUTES[old], old)
    start = (await clinic.post("/Appointment", json=appointment(status=steps[0]))).json()
    for step in steps[1:]:
        more = {"cancelationReason": REASON} if step == "cancelled" else {}
        if step == "noshow":
            set_clock(datetime.fromisoformat(at("10:00")))
        assert (await move(clinic, start, step, **more)).status_code == 200
    if new == "noshow":
        set_clock(datetime.fromisoformat(at("10:00")))
    more = {"cancelationReason": REASON} if new == "cancelled" else {}
    response = await move(clinic, start, new, **more)
    if new == old or new in lifecycle.APPOINTMENT[old]:
        assert response.status_code == 200, response.text
        assert response.json()["status"] == new
    else:
        issue = assert_outcome(response, 422, "business-rule", "illegal-transition")
        assert all(legal in issue["diagnostics"] for legal in lifecycle.APPOINTMENT[old])


@pytest.mark.parametrize("old", list(lifecycle.SLOT))
@pytest.mark.parametrize("new", list(lifecycle.SLOT))
async def test_l2_only_the_moves_of_a_slot_are_possible(clinic: httpx.AsyncClient, old: str, new: str) -> None:
    await put(clinic, slot(status=old))
    response = await clinic.put("/Slot/published", json=slot(status=new))
    legal = new == old or new in lifecycle.SLOT[old]
    assert response.status_code == (200 if legal else 422), response.text


@pytest.mark.parametrize("old", list(lifecycle.ENCOUNTER))
@pytest.mark.parametrize("new", list(lifecycle.ENCOUNTER))
async def test_l2_only_the_moves_of_an_encounter_are_possible(clinic: httpx.AsyncClient, old: str, new: str) -> None:
    await put(clinic, encounter(status=old))
    response = await clinic.put("/Encounter/visit", json=encounter(status=new))
    legal = new == old or new in lifecycle.ENCOUNTER[old]
    assert response.status_code == (200 if legal else 422), response.text


async def test_b7_a_cancellation_needs_a_reason(clinic: httpx.AsyncClient, booked: dict[str, Any]) -> None:
    assert_outcome(await move(clinic, booked, "cancelled"), 422, "required", "reason-required")
    comment = {"resourceType": "Parameters", "parameter": [{"name": "comment", "valueString": "By phone"}]}
    without = await clinic.post(f"/Appointment/{booked['id']}/$cancel", json=comment)
    assert_outcome(without, 400, "required")
    assert (await move(clinic, booked, "cancelled", cancelationReason=REASON)).status_code == 200
    assert "09:00" in starts(await find(clinic))


async def test_l3_a_no_show_waits_until_the_patient_cannot_come_any_more(
    clinic: httpx.AsyncClient, booked: dict[str, Any], set_clock: SetClock
) -> None:
    set_clock(datetime.fromisoformat(at("09:59")))
    issue = assert_outcome(await move(clinic, booked, "noshow"), 422, "business-rule", "join-window-open")
    assert "10:00" in issue["diagnostics"]
    set_clock(datetime.fromisoformat(at("10:00")))
    assert (await move(clinic, booked, "noshow", cancelationReason=REASON)).status_code == 200
    assert await encounters(clinic, booked) == []


async def test_l4_arrival_begins_the_encounter_with_what_is_known(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    assert (await move(clinic, booked, "arrived")).status_code == 200
    [visit] = await encounters(clinic, booked)
    assert visit["status"] == "arrived"
    assert visit["class"]["code"] == "AMB"
    assert visit["subject"]["reference"] == "Patient/ann"
    assert [one["individual"]["reference"] for one in visit["participant"]] == ["Practitioner/smith"]
    assert visit["appointment"] == [{"reference": f"Appointment/{booked['id']}"}]
    assert visit["type"] == booked["serviceType"]
    assert visit["reasonCode"] == booked["reasonCode"]
    assert datetime.fromisoformat(visit["period"]["start"]) == NOW
    assert (await move(clinic, booked, "checked-in")).status_code == 200
    assert len(await encounters(clinic, booked)) == 1


async def test_arrival_creates_no_encounter_where_that_is_switched_off(client_with: Any) -> None:
    client = await client_with(clinic=True, encounter_on_arrival=False)
    booked = (await client.post("/Appointment", json=appointment())).json()
    assert (await move(client, booked, "arrived")).status_code == 200
    assert await encounters(client, booked) == []


async def test_l4_finishing_the_encounter_fulfils_the_appointment(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    assert (await move(clinic, visit, "in-progress")).status_code == 200
    assert (await clinic.get(f"/Appointment/{booked['id']}")).json()["status"] == "arrived"
    assert (await move(clinic, visit, "finished")).status_code == 200
    assert (await clinic.get(f"/Appointment/{booked['id']}")).json()["status"] == "fulfilled"


async def test_l4_fulfilling_the_appointment_finishes_the_encounter(
    clinic: httpx.AsyncClient, booked: dict[str, Any], set_clock: SetClock
) -> None:
    await move(clinic, booked, "arrived")
    set_clock(datetime.fromisoformat(at("09:30")))
    assert (await move(clinic, booked, "fulfilled")).status_code == 200
    [visit] = await encounters(clinic, booked)
    assert visit["status"] == "finished"
    assert visit["statusHistory"][0]["status"] == "arrived"
    assert visit["period"]["end"] == at("09:30")


async def test_cancelling_after_arrival_cancels_the_encounter(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    await move(clinic, booked, "arrived")
    assert (await move(clinic, booked, "cancelled", cancelationReason=REASON)).status_code == 200
    [visit] = await encounters(clinic, booked)
    assert visit["status"] == "cancelled"


async def test_l4_an_encounter_of_the_ehr_takes_its_appointment_along(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    reference = [{"reference": f"Appointment/{booked['id']}"}]
    assert (await clinic.put("/Encounter/visit", json=encounter(appointment=reference))).status_code == 201
    assert (await clinic.get(f"/Appointment/{booked['id']}")).json()["status"] == "booked"
    assert (await move(clinic, encounter(), "in-progress")).status_code == 200
    assert (await clinic.get(f"/Appointment/{booked['id']}")).json()["status"] == "arrived"
    assert (await move(clinic, booked, "fulfilled")).status_code == 200
    assert (await clinic.get("/Encounter/visit")).json()["status"] == "finished"


async def test_no_encounter_takes_place_for_a_cancelled_appointment(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    await move(clinic, booked, "cancelled", cancelationReason=REASON)
    reference = [{"reference": f"Appointment/{booked['id']}"}]
    refused = await clinic.put("/Encounter/visit", json=encounter(status="arrived", appointment=reference))
    assert_outcome(refused, 422, "business-rule", "appointment-released")
    missing = await clinic.put("/Encounter/visit", json=encounter(appointment=[{"reference": "Appointment/none"}]))
    assert_outcome(missing, 422, "not-found", "appointment-unknown")


async def test_what_took_place_can_be_recorded_but_the_past_cannot_be_booked(clinic: httpx.AsyncClient) -> None:
    past = at("07:00", MONDAY)
    assert (await clinic.post("/Appointment", json=appointment(past, status="fulfilled"))).status_code == 201
    refused = await clinic.post("/Appointment", json=appointment(past))
    assert_outcome(refused, 422, "business-rule", "in-the-past")
    early = await clinic.post("/Appointment", json=appointment(status="fulfilled"))
    assert_outcome(early, 422, "business-rule", "not-begun")


async def test_l5_the_outbox_tells_each_change_in_order(
    clinic: httpx.AsyncClient, booked: dict[str, Any], store: Any
) -> None:
    await move(clinic, booked, "arrived")
    await move(clinic, booked, "cancelled", cancelationReason=REASON)
    events, cursor = [], None
    while True:
        batch, cursor = await store.follow(cursor, 100)
        events += batch
        if not batch:
            break
    reference = f"Appointment/{booked['id']}"
    mine = [
        (one.event.action, one.event.old_status, one.event.new_status, one.event.reason, one.event.priority)
        for one in events
        if one.event.resource == reference
    ]
    slots = [(one.event.old_status, one.event.new_status) for one in events if one.event.resource.startswith("Slot/")]
    assert slots == [(None, "busy"), ("busy", "free")]
    visits = [one.event.new_status for one in events if one.event.resource.startswith("Encounter/")]
    assert visits == ["arrived", "cancelled"]
    assert mine == [
        ("create", None, "booked", None, "normal"),
        ("update", "booked", "arrived", None, "normal"),
        ("update", "arrived", "cancelled", "pat", "high"),
    ]
    assert {one.event.resource.partition("/")[0] for one in events} >= {"Appointment", "Slot", "Encounter", "Patient"}


async def test_an_encounter_linked_later_counts_like_one_that_was_linked_at_once(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    await put(clinic, encounter(status="in-progress"))
    linked = encounter(status="in-progress", appointment=[{"reference": f"Appointment/{booked['id']}"}])
    assert (await clinic.put("/Encounter/visit", json=linked)).status_code == 200
    assert (await clinic.get(f"/Appointment/{booked['id']}")).json()["status"] == "arrived"
    nowhere = encounter(status="in-progress", appointment=[{"reference": "Appointment/none"}])
    assert_outcome(await clinic.put("/Encounter/visit", json=nowhere), 422, "not-found", "appointment-unknown")


async def test_an_encounter_does_not_begin_before_its_appointment_is_booked(clinic: httpx.AsyncClient) -> None:
    pending = (await clinic.post("/Appointment", json=appointment(status="pending"))).json()
    reference = [{"reference": f"Appointment/{pending['id']}"}]
    refused = await clinic.put("/Encounter/visit", json=encounter(status="in-progress", appointment=reference))
    assert_outcome(refused, 422, "business-rule", "not-booked")


async def test_a_planned_encounter_is_called_off_with_its_appointment(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    await put(
        clinic, encounter(appointment=[{"reference": f"Appointment/{booked['id']}"}], period={"start": at("09:00")})
    )
    assert (await move(clinic, booked, "cancelled", cancelationReason=REASON)).status_code == 200
    visit = (await clinic.get("/Encounter/visit")).json()
    assert visit["status"] == "cancelled"
    assert (await clinic.put("/Encounter/visit", json=visit)).status_code == 200


async def test_deleting_an_arrived_appointment_calls_its_encounter_off(client_with: Any) -> None:
    clinic = await client_with(clinic=True, delete_referenced=True)
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    await move(clinic, booked, "arrived")
    [visit] = await encounters(clinic, booked)
    assert (await clinic.delete(f"/Appointment/{booked['id']}")).status_code == 204
    assert (await clinic.get(f"/Encounter/{visit['id']}")).json()["status"] == "cancelled"


async def test_a_no_show_is_judged_by_the_time_that_was_booked(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    yesterday = {"start": at("09:00", "2026-03-01"), "end": at("09:30", "2026-03-01")}
    assert_outcome(await move(clinic, booked, "noshow", **yesterday), 422, "business-rule", "join-window-open")


async def test_fulfilling_is_no_way_to_take_another_time(clinic: httpx.AsyncClient, booked: dict[str, Any]) -> None:
    other = appointment(at("11:00"), actors=("Patient/bob", "Practitioner/smith"))
    assert (await clinic.post("/Appointment", json=other)).status_code == 201
    await move(clinic, booked, "arrived")
    taken = await move(clinic, booked, "fulfilled", start=at("11:00"), end=at("11:30"))
    assert_outcome(taken, 409, "conflict", "practitioner-busy")
    assert (await move(clinic, booked, "fulfilled", end=at("09:20"))).status_code == 200


async def test_a_cancelled_appointment_keeps_its_reason(clinic: httpx.AsyncClient, booked: dict[str, Any]) -> None:
    await move(clinic, booked, "cancelled", cancelationReason=REASON)
    assert_outcome(await move(clinic, booked, "cancelled"), 422, "required", "reason-required")


async def test_an_appointment_that_is_not_sure_any_more_makes_its_slot_tentative(
    clinic: httpx.AsyncClient, booked: dict[str, Any]
) -> None:
    assert (await move(clinic, booked, "pending")).status_code == 200
    assert (await clinic.get(f"/{booked['slot'][0]['reference']}")).json()["status"] == "busy-tentative"
