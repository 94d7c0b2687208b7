"""In which status an Appointment is given to $book, and what becomes of it: the table of docs/doors.md."""

from __future__ import annotations

import httpx
import pytest

from tests.clinic import REASON, Json, appointment, at
from tests.doors.asking import parameters

NAMES = ("appointment", "appt-resource", "appointment-resource")
OTHERS = ("arrived", "checked-in", "fulfilled", "noshow", "entered-in-error")

MOVING = {("appointment", "proposed"), ("appt-resource", "proposed")}
CHANGING = {("appt-resource", "booked"), ("appointment-resource", "booked")}


async def book(client: httpx.AsyncClient, name: str, given: Json) -> httpx.Response:
    headers = {"prefer": "reply=resource"}
    return await client.post("/Appointment/$book", json=parameters((name, given)), headers=headers)


@pytest.mark.parametrize("name", NAMES)
async def test_a_new_one_is_booked_or_refused(clinic: httpx.AsyncClient, name: str) -> None:
    for time, status in (("09:00", "proposed"), ("09:30", "pending"), ("10:00", "booked"), ("10:30", "waitlist")):
        booked = await book(clinic, name, appointment(at(time), status=status))
        assert (booked.status_code, booked.json()["status"]) == (201, "booked"), status
    waiting = {**appointment(status="waitlist"), "requestedPeriod": [{"start": at("00:00"), "end": at("23:59")}]}
    joined = await book(clinic, name, {key: value for key, value in waiting.items() if key not in ("start", "end")})
    assert (joined.status_code, joined.json()["status"]) == (201, "waitlist")
    for status in ("cancelled", *OTHERS):
        refused = await book(clinic, name, appointment(at("11:00"), status=status))
        assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (422, ["Appointment.status"]), status


@pytest.mark.parametrize("name", NAMES)
async def test_one_that_is_booked_is_changed_called_off_or_left(clinic: httpx.AsyncClient, name: str) -> None:
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    for status, time in (("proposed", "10:00"), ("pending", "10:30"), ("booked", "11:00"), ("waitlist", "11:30")):
        moved = await book(clinic, name, {**appointment(at(time), status=status), "id": booked["id"]})
        changes = (name, status) in MOVING | CHANGING
        assert moved.status_code == (200 if changes else 422), (status, moved.text)
        if changes:
            assert (moved.json()["status"], moved.json()["start"]) == ("booked", at(time))
    for status in OTHERS:
        assert (await book(clinic, name, {**booked, "status": status})).status_code == 422
    off = await book(clinic, name, {**booked, "status": "cancelled", "cancelationReason": REASON})
    assert off.status_code == (422 if name == "appointment" else 200)
    stands = (await clinic.get(f"/Appointment/{booked['id']}")).json()
    assert stands["status"] == ("booked" if name == "appointment" else "cancelled")
