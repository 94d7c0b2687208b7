"""An executable check of IHE Scheduling, ITI-115 to ITI-118: each SHALL of its server, in JSON and in XML."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.clinic import NOW, appointment, at, patient, practitioner, role, schedule
from tests.doors.asking import FORMATS, Json, matches, outcomes, parameters, period, post, reference, said
from tests.operations.test_find_slots import put

both = pytest.mark.parametrize("format", list(FORMATS))
DAY = period(at("00:00"), at("23:59"))
SMITH = {"system": "urn:oid:1.3.6.1.4.1.19376.1.2.999", "value": "PR23143"}
DAN = {
    "resourceType": "Patient",
    "identifier": [{"system": "http://example.org/mrn", "value": "77"}],
    "name": [{"family": "Day", "given": ["Dan"]}],
    "birthDate": "1980-05-06",
    "telecom": [{"system": "phone", "value": "+44 20 7946 0001"}],
}


async def find(client: httpx.AsyncClient, *more: tuple[str, Any], format: str = "json") -> Json:
    response = await post(client, "/Appointment/$find", parameters(*DAY, *more), format)
    assert response.status_code == 200, response.text
    return said(response)


async def ask(client: httpx.AsyncClient, call: str, *given: tuple[str, Any], format: str = "json") -> tuple[int, Json]:
    response = await post(client, f"/Appointment/{call}", parameters(*given), format)
    return response.status_code, said(response)


def one(answer: tuple[int, Json]) -> Json:
    """The single Appointment of a successful answer."""
    status, bundle = answer
    assert (status, bundle["resourceType"], bundle["type"], bundle["total"]) == (200, "Bundle", "searchset", 1), bundle
    [found] = matches(bundle)
    return found


def refusal(answer: tuple[int, Json]) -> list[Json]:
    """The issues of a refusal: an OperationOutcome and nothing else, in a Bundle."""
    status, bundle = answer
    assert status >= 400
    assert (bundle["resourceType"], bundle["type"], bundle["total"]) == ("Bundle", "searchset", 0)
    [entry] = bundle["entry"]
    assert entry["resource"]["resourceType"] == "OperationOutcome"
    assert any(issue["severity"] == "fatal" for issue in entry["resource"]["issue"])
    return list(entry["resource"]["issue"])


async def test_the_server_claims_the_transactions(clinic: httpx.AsyncClient) -> None:
    statement = (await clinic.get("/metadata")).json()
    assert {"application/fhir+json", "application/fhir+xml"} <= set(statement["format"])
    [rest] = statement["rest"]
    claimed = next(each for each in rest["resource"] if each["type"] == "Appointment")
    assert {"find", "hold", "book"} <= {each["name"] for each in claimed["operation"]}
    assert {"read", "search-type"} <= {each["code"] for each in claimed["interaction"]}
    wanted = {"patient", "date", "practitioner", "specialty", "appointment-type", "identifier", "location", "status"}
    assert wanted <= {each["name"] for each in claimed["searchParam"]}
    assert "search-system" in {each["code"] for each in rest["interaction"]}


@both
async def test_iti_115_finds_potential_appointments(clinic: httpx.AsyncClient, format: str) -> None:
    bundle = await find(clinic, ("patient-reference", reference("Patient/ann")), format=format)
    found = matches(bundle)
    assert (bundle["type"], bundle["total"], len(found)) == ("searchset", 6, 6)
    assert {each["status"] for each in found} == {"proposed"}
    first = found[0]
    assert (first["start"], first["end"]) == (at("09:00"), at("09:30"))
    assert first["requestedPeriod"] == [{"start": at("00:00"), "end": at("23:59")}]
    actors = {part["actor"]["reference"] for part in first["participant"]}
    assert actors == {"Patient/ann", "Practitioner/smith", "Location/main"}
    assert (await clinic.get(f"/Appointment/{first['id']}")).status_code == 404
    assert (await clinic.get("/Appointment?_count=0")).json()["total"] == 0


@both
async def test_iti_115_honours_count_and_its_pages_are_all_of_it(clinic: httpx.AsyncClient, format: str) -> None:
    bundle = await find(clinic, ("_count", {"valuePositiveInt": 4}), format=format)
    assert (bundle["total"], len(matches(bundle))) == (6, 4)
    [following] = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
    rest = said(await clinic.get(following, headers={"accept": FORMATS[format]}))
    starts = [each["start"][11:16] for each in (*matches(bundle), *matches(rest))]
    assert starts == ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30"]
    assert rest["total"] == 6
    assert [link["relation"] for link in rest["link"]] == ["self"]


async def test_iti_115_a_logical_reference_is_resolved_and_an_unknown_one_finds_nothing(
    clinic: httpx.AsyncClient,
) -> None:
    await put(clinic, practitioner(identifier=[SMITH]))
    asked = {"identifier": SMITH, "display": "Dr. Pro Vider"}
    assert (await find(clinic, ("practitioner", {"valueReference": asked})))["total"] == 6
    nobody = {"identifier": {**SMITH, "value": "PR0"}}
    bundle = await find(clinic, ("practitioner", {"valueReference": nobody}))
    assert (bundle["total"], len(bundle["entry"])) == (0, 1)
    assert outcomes(bundle)


async def test_iti_115_types_of_participants_are_all_needed_and_repeats_are_preferred_in_order(
    clinic: httpx.AsyncClient,
) -> None:
    jones = {"reference": "Practitioner/jones"}
    await put(
        clinic,
        practitioner("jones"),
        role("jones-main", practitioner=jones),
        schedule("jones-main", actor=[{"reference": "PractitionerRole/jones-main"}]),
    )
    smith, other = ("practitioner", reference("Practitioner/smith")), ("practitioner", {"valueReference": jones})

    async def doctors(*more: tuple[str, Any]) -> list[str]:
        found = matches(await find(clinic, *more))
        return [
            part["actor"]["reference"]
            for each in found
            for part in each["participant"]
            if part["actor"]["reference"].startswith("Practitioner/")
        ]

    assert await doctors(smith) == ["Practitioner/smith"] * 6
    assert (await doctors(smith, other))[:4] == ["Practitioner/smith", "Practitioner/jones"] * 2
    assert (await doctors(other, smith))[:2] == ["Practitioner/jones", "Practitioner/smith"]
    assert len(await doctors(smith, ("location-reference", reference("Location/main")))) == 6
    assert await doctors(smith, ("location-reference", reference("Location/elsewhere"))) == []


async def test_iti_115_several_patients_are_a_group(clinic: httpx.AsyncClient) -> None:
    both_of_them = [("patient-reference", reference(f"Patient/{id}")) for id in ("ann", "bob")]
    assert (await find(clinic, *both_of_them))["total"] == 0
    await put(clinic, schedule(parameters={"capacity": 2}))
    bundle = await find(clinic, *both_of_them)
    assert bundle["total"] == 6
    booked = one(await ask(clinic, "$book", ("appointment-reference", reference(_name(matches(bundle)[0])))))
    assert {part["actor"]["reference"] for part in booked["participant"]} >= {"Patient/ann", "Patient/bob"}


def _name(proposal: Json) -> str:
    return f"Appointment/{proposal['id']}"


@both
async def test_iti_115_held_times_are_not_found_until_the_hold_is_over(
    clinic: httpx.AsyncClient, set_clock: Callable[[datetime], None], format: str
) -> None:
    proposal = matches(await find(clinic, format=format))[0]
    await ask(clinic, "$hold", ("appointment-reference", reference(_name(proposal))), format=format)
    assert (await find(clinic, format=format))["total"] == 5
    set_clock(NOW + timedelta(minutes=16))
    assert (await find(clinic, format=format))["total"] == 6


@both
async def test_iti_116_holds_what_was_found(clinic: httpx.AsyncClient, format: str) -> None:
    first, again = [matches(await find(clinic, format=format))[0] for _ in range(2)]
    wanted = ("appointment-reference", reference(_name(first)))
    held = one(await ask(clinic, "$hold", wanted, format=format))
    assert (held["status"], held["start"]) == ("pending", first["start"])
    assert (await clinic.get(f"/Appointment/{held['id']}")).json()["status"] == "pending"
    assert (await clinic.get(f"/{first['slot'][0]['reference']}")).json()["status"] == "busy-tentative"
    taken = refusal(await ask(clinic, "$hold", ("appointment-reference", reference(_name(again))), format=format))
    assert ("fatal", "not-found") in {(issue["severity"], issue["code"]) for issue in taken}
    renewed = one(await ask(clinic, "$hold", wanted, format=format))
    assert renewed["id"] == held["id"]


@both
async def test_iti_117_books_what_was_found_or_held(clinic: httpx.AsyncClient, format: str) -> None:
    ann = ("patient-reference", reference("Patient/ann"))
    found = matches(await find(clinic, ann, format=format))
    booked = one(await ask(clinic, "$book", ("appointment-reference", reference(_name(found[0]))), format=format))
    assert (booked["status"], booked["start"]) == ("booked", at("09:00"))
    assert {part["status"] for part in booked["participant"]} == {"accepted"}
    held = one(await ask(clinic, "$hold", ("appointment-reference", reference(_name(found[1]))), format=format))
    assert {part["status"] for part in held["participant"]} == {"tentative"}
    comment = ("comment", {"valueString": "By the stairs, please"})
    asked = ("appointment-reference", reference(_name(held)))
    booked = one(await ask(clinic, "$book", asked, comment, format=format))
    assert (booked["id"], booked["status"], booked["comment"]) == (held["id"], "booked", "By the stairs, please")
    assert {part["status"] for part in booked["participant"]} == {"accepted"}


@both
async def test_iti_117_books_a_resource_that_is_pending_and_modifies_and_cancels(
    clinic: httpx.AsyncClient, format: str
) -> None:
    wanted = appointment(at("10:00"), status="pending")
    booked = one(await ask(clinic, "$book", ("appointment-resource", wanted), format=format))
    assert (booked["status"], booked["start"]) == ("booked", at("10:00"))
    moved = {**booked, "start": at("11:00"), "end": at("11:30")}
    modified = one(await ask(clinic, "$book", ("appointment-resource", moved), format=format))
    assert (modified["id"], modified["status"], modified["start"]) == (booked["id"], "booked", at("11:00"))
    assert (await find(clinic))["total"] == 5
    why = {
        "coding": [{"system": "https://profiles.ihe.net/ITI/Scheduling/CodeSystem/status-reason", "code": "weather"}]
    }
    url = "https://profiles.ihe.net/ITI/Scheduling/StructureDefinition/extension-status-reason"
    off = {**modified, "status": "cancelled", "extension": [{"url": url, "valueCodeableConcept": why}]}
    cancelled = one(await ask(clinic, "$book", ("appointment-resource", off), format=format))
    assert (cancelled["id"], cancelled["status"]) == (booked["id"], "cancelled")
    assert cancelled["cancelationReason"]["coding"][0]["code"] == "weather"
    assert (await find(clinic))["total"] == 6


async def test_iti_117_a_held_appointment_is_cancelled_without_a_reason(clinic: httpx.AsyncClient) -> None:
    proposal = matches(await find(clinic))[0]
    held = one(await ask(clinic, "$hold", ("appointment-reference", reference(_name(proposal)))))
    off = one(await ask(clinic, "$book", ("appointment-resource", {**held, "status": "cancelled"})))
    assert (off["status"], off["cancelationReason"]["coding"][0]["code"]) == ("cancelled", "not-given")
    assert (await find(clinic))["total"] == 6


@both
async def test_iti_117_a_refusal_is_only_an_outcome_in_a_bundle(clinic: httpx.AsyncClient, format: str) -> None:
    await clinic.post("/Appointment", json=appointment())
    taken = appointment(status="pending", actors=("Patient/bob", "Practitioner/smith"))
    issues = refusal(await ask(clinic, "$book", ("appointment-resource", taken), format=format))
    assert "conflict" in {issue["code"] for issue in issues}
    nothing = refusal(await ask(clinic, "$book", ("appointment-reference", reference("Appointment/no")), format=format))
    assert [issue["code"] for issue in nothing] == ["not-found"]


@both
async def test_iti_117_b4_a_patient_without_a_record_gets_one_with_the_booking(
    clinic: httpx.AsyncClient, format: str
) -> None:
    newcomer = ("patient-resource", DAN)
    bundle = await find(clinic, newcomer, format=format)
    assert (await clinic.get("/Patient?family=Day")).json()["total"] == 0
    booked = one(
        await ask(
            clinic, "$book", ("appointment-reference", reference(_name(matches(bundle)[0]))), newcomer, format=format
        )
    )
    [record] = [entry["resource"] for entry in (await clinic.get("/Patient?family=Day")).json()["entry"]]
    assert f"Patient/{record['id']}" in {part["actor"]["reference"] for part in booked["participant"]}
    again = matches(await find(clinic, newcomer, format=format))[0]
    assert f"Patient/{record['id']}" in {part["actor"]["reference"] for part in again["participant"]}


@both
async def test_iti_118_finds_existing_appointments(clinic: httpx.AsyncClient, format: str) -> None:
    await put(clinic, patient(identifier=[{"system": "http://example.org/mrn", "value": "1"}]))
    for time in ("09:00", "10:00"):
        await clinic.post("/Appointment", json=appointment(at(time)))
    headers = {"accept": FORMATS[format]}
    asked = {"patient.identifier": "http://example.org/mrn|1", "date": "ge2026-03-03", "_count": "1"}
    asked |= {"_include": "Appointment:actor"}
    got = said(await clinic.get("/Appointment", params=asked, headers=headers))
    posted = said(await clinic.post("/Appointment/_search", data=asked, headers=headers))
    for bundle in (got, posted):
        assert (bundle["type"], bundle["total"], len(matches(bundle))) == ("searchset", 2, 1)
        included = {each["resource"]["resourceType"] for each in bundle["entry"] if each["search"]["mode"] == "include"}
        assert {"Patient", "Practitioner"} <= included
    for prefix, total in (("eq2026-03-03", 2), (f"gt{at('09:30')}", 1), (f"lt{at('09:00')}", 0)):
        found = said(await clinic.get("/Appointment", params={"patient": "ann", "date": prefix}, headers=headers))
        assert found["total"] == total
    unknown = {"patient.identifier": "http://example.org/other|1"}
    nobody = said(await clinic.get("/Appointment", params=unknown, headers=headers))
    assert (nobody["total"], matches(nobody)) == (0, [])
