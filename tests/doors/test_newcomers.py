"""Booking for a patient who may have no record: matched, else recorded together with the booking, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from fhir_server.operations._enrolling import PATIENTS_MAX
from tests.clinic import Json, appointment, at, patient
from tests.doors.asking import matches, parameters, post, reference
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome

NINE = "Slot/smith-main.20260303T0900.30"
MRN = {"system": "http://example.org/mrn", "value": "7,7|8"}
DAN: Json = {
    "resourceType": "Patient",
    "name": [{"family": "Day", "given": ["Dan"]}],
    "birthDate": "1980-05-06",
    "telecom": [{"system": "phone", "value": "+44 20 7946 0001"}],
}


def asked(newcomer: Json, slot: str = NINE, *more: tuple[str, Any]) -> Json:
    return parameters(("slot", reference(slot)), ("patient-resource", newcomer), *more)


async def people(client: httpx.AsyncClient) -> list[str]:
    found = (await client.get("/Patient?family=Day")).json()
    return [entry["resource"]["id"] for entry in found.get("entry", ())]


def patients(booked: Json) -> list[str]:
    actors = [one["actor"]["reference"] for one in booked["participant"]]
    return [actor for actor in actors if actor.startswith("Patient/")]


async def test_b4_a_patient_without_a_record_gets_one_with_the_booking(clinic: httpx.AsyncClient) -> None:
    response = await post(clinic, "/Appointment/$book", asked(DAN))
    assert (response.status_code, response.json()["status"]) == (201, "booked")
    [id] = await people(clinic)
    assert patients(response.json()) == [f"Patient/{id}"]
    record = (await clinic.get(f"/Patient/{id}")).json()
    assert {name: record[name] for name in DAN} == DAN


async def test_b4_without_the_booking_there_is_no_record(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment())
    assert_outcome(await post(clinic, "/Appointment/$book", asked(DAN)), 409, "conflict")
    assert await people(clinic) == []


async def test_b4_a_contained_patient_is_recorded_and_no_longer_contained(clinic: httpx.AsyncClient) -> None:
    wanted = appointment(actors=("#dan", "Practitioner/smith"), contained=[{**DAN, "id": "dan"}])
    booked = (await post(clinic, "/Appointment/$book", wanted)).json()
    [id] = await people(clinic)
    assert (patients(booked), "contained" in booked) == ([f"Patient/{id}"], False)


async def test_b4_who_has_a_record_is_found_by_identifier_else_by_name_birth_date_and_telecom(
    clinic: httpx.AsyncClient,
) -> None:
    await put(clinic, patient("dan", **{name: DAN[name] for name in ("name", "birthDate", "telecom")}))
    await put(clinic, patient("eve", identifier=[MRN], name=DAN["name"]))
    by_number = {"resourceType": "Patient", "identifier": [MRN], "name": [{"family": "Other"}]}
    for newcomer, slot, id in ((by_number, NINE, "eve"), (DAN, NINE.replace("0900", "0930"), "dan")):
        booked = await post(clinic, "/Appointment/$book", asked(newcomer, slot))
        assert patients(booked.json()) == [f"Patient/{id}"]
    stranger = {**DAN, "birthDate": "1980-05-07"}
    booked = await post(clinic, "/Appointment/$book", asked(stranger, NINE.replace("0900", "1000")))
    assert patients(booked.json()) not in (["Patient/dan"], ["Patient/eve"])
    assert len(await people(clinic)) == 3


async def test_b4_none_is_chosen_among_several(clinic: httpx.AsyncClient) -> None:
    same = {name: DAN[name] for name in ("name", "birthDate", "telecom")}
    await put(clinic, patient("one", **same), patient("two", **same))
    assert_outcome(await post(clinic, "/Appointment/$book", asked(DAN)), 412, "multiple-matches")
    assert (await clinic.get(f"/{NINE}")).json()["status"] == "free"


async def test_b4_the_same_patient_twice_at_once_gets_one_record(clinic: httpx.AsyncClient) -> None:
    slots = [NINE.replace("0900", time) for time in ("0900", "1000")]
    answers = await asyncio.gather(*(post(clinic, "/Appointment/$book", asked(DAN, slot)) for slot in slots))
    assert [answer.status_code for answer in answers] == [201, 201]
    [id] = await people(clinic)
    assert [patients(answer.json()) for answer in answers] == [[f"Patient/{id}"]] * 2


async def test_b4_a_repeated_request_records_and_books_once(clinic: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "k"}
    first, again = [await clinic.post("/Appointment/$book", json=asked(DAN), headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert len(await people(clinic)) == 1


async def test_a_held_time_is_booked_for_a_newcomer(clinic: httpx.AsyncClient) -> None:
    found = await clinic.get("/Appointment/$find", params={"start": at("00:00"), "end": at("23:59")})
    name = f"Appointment/{matches(found.json())[0]['id']}"
    assert (await clinic.post(f"/{name}/$hold")).status_code == 201
    booked = await post(clinic, f"/{name}/$book", parameters(("patient-resource", DAN)))
    [id] = await people(clinic)
    assert (booked.json()["status"], patients(booked.json())) == ("booked", [f"Patient/{id}"])


async def test_more_newcomers_than_any_visit_has_are_refused(clinic: httpx.AsyncClient) -> None:
    many = [("patient-resource", DAN)] * (PATIENTS_MAX + 1)
    refused = await post(clinic, "/Appointment/$book", parameters(("slot", reference(NINE)), *many))
    assert_outcome(refused, 422, "too-costly")
