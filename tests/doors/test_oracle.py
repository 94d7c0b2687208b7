"""Oracle's doors: a Slot patched to busy-tentative is a hold, an Appointment patched to another Slot is moved."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.scheduling import holds
from tests.clinic import REASON, appointment, at, slot
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome

PATCH = {"content-type": "application/json-patch+json"}
COMPUTED = ("Slot/smith-main.20260303T0900.30", "Slot/smith-main.20260303T1000.30")


async def patch(client: httpx.AsyncClient, reference: str, *operations: dict[str, Any], version: int = 0) -> Any:
    headers = PATCH | ({"if-match": f'W/"{version}"'} if version else {})
    return await client.patch(f"/{reference}", json=list(operations), headers=headers)


def replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


async def test_a_slot_patched_to_tentative_is_held_and_then_booked_on(clinic: httpx.AsyncClient) -> None:
    await put(clinic, slot("own"))
    stale = await patch(clinic, "Slot/own", replace("/status", "busy-tentative"), version=7)
    assert_outcome(stale, 412, "conflict")
    held = await patch(clinic, "Slot/own", replace("/status", "busy-tentative"), version=1)
    assert (held.status_code, held.json()["status"]) == (200, "busy-tentative")
    assert holds.expires_of(held.json())
    again = await patch(clinic, "Slot/own", replace("/status", "busy-tentative"), version=1)
    assert_outcome(again, 412, "conflict")
    wanted = appointment(at("18:00"), slot=[{"reference": "Slot/own"}])
    assert (await clinic.post("/Appointment", json=wanted)).status_code == 201
    assert (await clinic.get("/Slot/own")).json()["status"] == "busy"


async def test_a_computed_slot_is_held_without_a_version_and_given_back(clinic: httpx.AsyncClient) -> None:
    held = await patch(clinic, COMPUTED[0], replace("/status", "busy-tentative"))
    assert (held.status_code, held.json()["status"], held.headers["etag"]) == (200, "busy-tentative", 'W/"1"')
    other = appointment(actors=("Patient/bob", "Practitioner/smith"))
    assert_outcome(await clinic.post("/Appointment", json=other), 409, "conflict")
    free = await patch(clinic, COMPUTED[0], replace("/status", "free"), version=1)
    assert (free.status_code, holds.expires_of(free.json())) == (200, None)
    assert (await clinic.post("/Appointment", json=other)).status_code == 201


@pytest.mark.parametrize("slots", [COMPUTED, ("Slot/early", "Slot/late")])
async def test_another_slot_moves_the_appointment_and_the_time_follows(
    clinic: httpx.AsyncClient, slots: tuple[str, str]
) -> None:
    first, second = slots
    await put(clinic, slot("early"), slot("late", at("19:00"), at("19:30")))
    start = (await clinic.get(f"/{first}")).json()["start"]
    booked = (await clinic.post("/Appointment", json=appointment(start, slot=[{"reference": first}]))).json()
    name = f"Appointment/{booked['id']}"
    moved = await patch(clinic, name, replace("/slot", [{"reference": second}]), version=1)
    assert moved.status_code == 200, moved.text
    after = (await clinic.get(f"/{second}")).json()
    assert (moved.json()["start"], moved.json()["end"]) == (after["start"], after["end"])
    assert moved.json()["slot"] == [{"reference": second}]
    assert (after["status"], (await clinic.get(f"/{first}")).json()["status"]) == ("busy", "free")
    assert [one["status"] for one in moved.json()["participant"]] == ["needs-action", "needs-action"]


async def test_a_taken_slot_moves_nothing(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    await clinic.post("/Appointment", json=appointment(at("10:00"), actors=("Patient/bob", "Practitioner/smith")))
    name = f"Appointment/{booked['id']}"
    assert_outcome(await patch(clinic, name, replace("/slot", [{"reference": COMPUTED[1]}])), 409, "conflict")
    assert (await clinic.get(f"/{name}")).json()["start"] == at("09:00")


async def test_a_status_is_patched_with_its_reason(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    reason = {"op": "add", "path": "/cancelationReason", "value": REASON}
    off = await patch(clinic, f"Appointment/{booked['id']}", replace("/status", "cancelled"), reason, version=1)
    assert (off.status_code, off.json()["status"]) == (200, "cancelled")
    assert (await clinic.get(f"/{COMPUTED[0]}")).json()["status"] == "free"
