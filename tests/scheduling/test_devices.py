"""Devices that are booked: their hours, their place, and that nobody has them twice."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.outcome import CANONICAL
from tests.clinic import appointment, at, device, location, schedule
from tests.operations.test_find_slots import find, put, starts
from tests.outcomes import assert_outcome, problems

SCANNER = {"reference": "Device/scanner"}
HOURS = [{"daysOfWeek": ["tue"], "openingTime": "08:00:00", "closingTime": "10:00:00"}]


@pytest.fixture
async def scanning(clinic: httpx.AsyncClient) -> httpx.AsyncClient:
    """The clinic with a scanner that has a Schedule of its own."""
    await put(clinic, device(), schedule("scanner", actor=[SCANNER]))
    return clinic


async def times(client: httpx.AsyncClient, **more: Any) -> list[str]:
    return starts(await find(client, "/Schedule/scanner", start=at("07:00"), end=at("12:00"), **more))


async def test_a_device_without_a_place_is_always_open(scanning: httpx.AsyncClient) -> None:
    night = await find(scanning, "/Schedule/scanner", start=at("00:00"), end=at("03:00"))
    assert starts(night) == ["00:00", "00:30", "01:00", "01:30", "02:00", "02:30"]


async def test_a_device_is_open_when_its_place_is(scanning: httpx.AsyncClient) -> None:
    await put(scanning, location("annex", hoursOfOperation=HOURS), device(location={"reference": "Location/annex"}))
    assert await times(scanning) == ["08:00", "08:30", "09:00", "09:30"]
    closed = {"url": f"{CANONICAL}/StructureDefinition/not-available", "extension": [
        {"url": "during", "valuePeriod": {"start": at("08:00"), "end": at("09:00")}}
    ]}  # fmt: skip
    await put(scanning, location("annex", hoursOfOperation=HOURS, extension=[closed]))
    assert await times(scanning) == ["09:00", "09:30"]


@pytest.mark.parametrize("status", ["inactive", "entered-in-error"])
async def test_a_device_that_is_not_active_cannot_be_booked(scanning: httpx.AsyncClient, status: str) -> None:
    await put(scanning, device(status=status))
    assert await times(scanning) == []
    with_scanner = appointment(actors=("Patient/ann", "Practitioner/smith", "Device/scanner"))
    response = await scanning.post("/Appointment", json=with_scanner)
    assert response.status_code == 422
    assert "device-inactive" in problems(response)


async def test_a_device_that_does_not_exist_cannot_be_booked(clinic: httpx.AsyncClient) -> None:
    wanted = appointment(actors=("Patient/ann", "Practitioner/smith", "Device/nowhere"))
    issue = assert_outcome(await clinic.post("/Appointment", json=wanted), 422, "not-found", "device-unknown")
    assert issue["expression"] == ["Appointment.participant[2].actor"]


async def test_a_device_is_taken_by_one_visit_at_a_time(scanning: httpx.AsyncClient) -> None:
    wanted = appointment(actors=("Patient/ann", "Practitioner/smith", "Device/scanner"))
    booked = await scanning.post("/Appointment", json=wanted)
    assert booked.status_code == 201, booked.text
    assert {"reference": "Slot/scanner.20260303T0900.30"} in booked.json()["slot"]
    assert "09:00" not in await times(scanning)
    other = appointment(actors=("Patient/bob", "Device/scanner"))
    assert_outcome(await scanning.post("/Appointment", json=other), 409, "conflict", "device-busy")


async def test_a_device_that_is_booked_cannot_be_deleted(scanning: httpx.AsyncClient) -> None:
    await scanning.post("/Appointment", json=appointment(actors=("Patient/ann", "Device/scanner")))
    assert_outcome(await scanning.delete("/Device/scanner"), 409, "conflict", "has-bookings")


async def test_an_open_device_on_a_service_schedule_follows_the_service(scanning: httpx.AsyncClient) -> None:
    hours = [{"daysOfWeek": ["tue"], "availableStartTime": "10:00:00", "availableEndTime": "11:00:00"}]
    await put(
        scanning,
        {"resourceType": "HealthcareService", "id": "scan", "active": True, "availableTime": hours},
        schedule("scanner", actor=[SCANNER, {"reference": "HealthcareService/scan"}]),
    )
    assert await times(scanning) == ["10:00", "10:30"]
