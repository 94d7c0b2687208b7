"""The client that keeps the Slots itself: whatever it writes first, the state is right and nobody is booked twice."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.clinic import REASON, Json, appointment, at, slot
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome, problems

COMPUTED, PUBLISHED = "smith-main.20260303T0900.30", "own"
TIMES = {COMPUTED: (at("09:00"), at("09:30")), PUBLISHED: (at("18:00"), at("18:30"))}

both = pytest.mark.parametrize("id", [COMPUTED, PUBLISHED])


@pytest.fixture
async def office(clinic: httpx.AsyncClient) -> httpx.AsyncClient:
    """The clinic with a Slot that an EHR published beside the computed ones."""
    await put(clinic, slot(PUBLISHED))
    return clinic


async def read(client: httpx.AsyncClient, id: str) -> Json:
    """The Slot as a client that is about to write it finds it."""
    return (await client.get(f"/Slot/{id}")).json()  # type: ignore[no-any-return]


def wanted(id: str, who: str = "ann", **more: Any) -> Json:
    on = [{"reference": f"Slot/{id}"}]
    return appointment(TIMES[id][0], actors=(f"Patient/{who}", "Practitioner/smith"), slot=on, **more)


def entry(method: str, url: str, resource: Json) -> Json:
    return {"resource": resource, "request": {"method": method, "url": url}}


async def transact(client: httpx.AsyncClient, id: str, who: str = "ann") -> httpx.Response:
    """One transaction that books the Appointment and makes its Slot busy."""
    busy = {**await read(client, id), "status": "busy"}
    entries = [entry("POST", "Appointment", wanted(id, who)), entry("PUT", f"Slot/{id}", busy)]
    return await client.post("/", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})


async def state(client: httpx.AsyncClient, id: str) -> tuple[str, list[str]]:
    """The status of the Slot, and the statuses of the Appointments on it that take time."""
    found = (await client.get(f"/Appointment?slot=Slot/{id}&status=booked,pending")).json()
    return (await read(client, id))["status"], [one["resource"]["status"] for one in found.get("entry", ())]


@both
async def test_one_transaction_with_the_appointment_and_its_busy_slot(office: httpx.AsyncClient, id: str) -> None:
    done = await transact(office, id)
    assert done.status_code == 200, done.text
    assert await state(office, id) == ("busy", ["booked"])
    assert (await transact(office, id, "bob")).status_code == 409
    assert await state(office, id) == ("busy", ["booked"])


@both
async def test_the_slot_is_made_busy_before_the_appointment_is_booked(office: httpx.AsyncClient, id: str) -> None:
    proposed = (await office.post("/Appointment", json=wanted(id, status="proposed"))).json()
    assert (await office.put(f"/Slot/{id}", json={**await read(office, id), "status": "busy"})).is_success
    without_slot = appointment(TIMES[id][0], actors=("Patient/bob", "Practitioner/smith"))
    assert "practitioner-busy" in problems(await office.post("/Appointment", json=without_slot))
    booked = await office.put(f"/Appointment/{proposed['id']}", json={**proposed, "status": "booked"})
    assert booked.status_code == 200, booked.text
    assert await state(office, id) == ("busy", ["booked"])
    assert_outcome(await office.post("/Appointment", json=wanted(id, "bob")), 409, "conflict")


@both
async def test_the_appointment_is_cancelled_and_then_its_slot_is_freed(office: httpx.AsyncClient, id: str) -> None:
    booked = (await office.post("/Appointment", json=wanted(id))).json()
    taken = await read(office, id)
    assert taken["status"] == "busy"
    assert_outcome(await office.put(f"/Slot/{id}", json={**taken, "status": "free"}), 409, "conflict", "slot-in-use")
    off = {**booked, "status": "cancelled", "cancelationReason": REASON}
    assert (await office.put(f"/Appointment/{booked['id']}", json=off)).status_code == 200
    assert (await office.put(f"/Slot/{id}", json={**taken, "status": "free"})).status_code == 200
    assert await state(office, id) == ("free", [])
    assert (await office.post("/Appointment", json=wanted(id, "bob"))).status_code == 201


@both
async def test_of_two_such_clients_at_once_one_wins(office: httpx.AsyncClient, id: str) -> None:
    answers = await asyncio.gather(*(transact(office, id, who) for who in ("ann", "bob")))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert await state(office, id) == ("busy", ["booked"])


@both
async def test_of_two_that_make_the_slot_busy_first_one_wins(office: httpx.AsyncClient, id: str) -> None:
    async def book(who: str) -> bool:
        proposed = (await office.post("/Appointment", json=wanted(id, who, status="proposed"))).json()
        busy = {**await read(office, id), "status": "busy"}
        await office.put(f"/Slot/{id}", json=busy)
        booked = await office.put(f"/Appointment/{proposed['id']}", json={**proposed, "status": "booked"})
        assert booked.status_code in (200, 409), booked.text
        return booked.is_success

    assert sorted(await asyncio.gather(book("ann"), book("bob"))) == [False, True]
    assert await state(office, id) == ("busy", ["booked"])
