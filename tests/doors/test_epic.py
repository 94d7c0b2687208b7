"""Epic's names: $find with concepts and a Timing, $book by identifiers."""

from __future__ import annotations

import httpx

from tests.clinic import Json, at, patient, schedule
from tests.doors.asking import matches, outcomes, parameters, post
from tests.operations.test_find_slots import put

SPECIALTY = {"coding": [{"system": "http://snomed.info/sct", "code": "394814009"}]}
ANN = {"system": "urn:oid:1.2.3", "value": "E-1"}
TIMES = {"repeat": {"dayOfWeek": ["tue"], "timeOfDay": ["10:00:00"], "duration": 60, "durationUnit": "min"}}


async def find(clinic: httpx.AsyncClient, *more: tuple[str, Json]) -> Json:
    period = (("startTime", {"valueDateTime": at("00:00")}), ("endTime", {"valueDateTime": at("23:59")}))
    response = await post(clinic, "/Appointment/$find", parameters(*period, *more))
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


async def test_found_by_concepts_and_times_then_booked_by_identifiers(clinic: httpx.AsyncClient) -> None:
    await put(clinic, schedule(specialty=[SPECIALTY]), patient(identifier=[ANN]))
    bundle = await find(
        clinic,
        ("patient", patient(identifier=[ANN])),
        ("specialties", {"valueCodeableConcept": SPECIALTY}),
        ("indications", {"valueCodeableConcept": {"coding": [{"code": "cough"}]}}),
        ("time-of-day", {"valueTiming": TIMES}),
    )
    found = matches(bundle)
    assert [one["start"] for one in found] == [at("10:00"), at("10:30")]
    assert found[0]["reasonCode"] == [{"coding": [{"code": "cough"}]}]
    asked = parameters(
        ("patient", {"valueIdentifier": ANN}),
        ("appointment", {"valueIdentifier": {"value": found[0]["id"]}}),
        ("appointmentNote", {"valueString": "Coughs at night"}),
    )
    [booked] = matches((await post(clinic, "/Appointment/$book", asked)).json())
    assert (booked["status"], booked["start"], booked["comment"]) == ("booked", at("10:00"), "Coughs at night")
    assert "Patient/ann" in {one["actor"]["reference"] for one in booked["participant"]}


async def test_nothing_found_is_an_outcome_and_a_wrong_identifier_a_fatal_one(clinic: httpx.AsyncClient) -> None:
    bundle = await find(clinic, ("serviceType", {"valueCodeableConcept": {"coding": [{"code": "surgery"}]}}))
    assert (bundle["total"], matches(bundle), len(outcomes(bundle))) == (0, [], 1)
    refused = await post(
        clinic, "/Appointment/$book", parameters(("appointment", {"valueIdentifier": {"value": "59144"}}))
    )
    [outcome] = outcomes(refused.json())
    assert (refused.status_code, outcome["issue"][0]["severity"]) == (422, "fatal")
    assert outcome["issue"][0]["code"] == "not-found"
