"""An executable check of IHE Scheduling, ITI-115 to ITI-118: each SHALL of its server, in JSON and in XML.

Each check names the section that it is of (https://profiles.ihe.net/ITI/Scheduling); those of ITI-116 and ITI-118 have
no numbers there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.clinic import NOW, appointment, at, device, patient, practitioner, role, schedule, service
from tests.doors.asking import FORMATS, Json, matches, outcomes, parameters, period, post, reference, said
from tests.operations.test_find_slots import put
from tests.recurring import recurring

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
    """2:3.115.5, 2:3.117.5: a CapabilityStatement says that the transactions are implemented, in both formats."""
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
    """2:3.115.4.2.2: a searchset Bundle of Appointments, as the profiles of both want them."""
    bundle = await find(clinic, ("patient-reference", reference("Patient/ann")), format=format)
    found = matches(bundle)
    assert (bundle["type"], bundle["total"], len(found)) == ("searchset", 6, 6)
    assert {each["status"] for each in found} == {"proposed"}
    for each in found:
        assert {"start", "end", "participant"} <= each.keys()
        assert each["requestedPeriod"] == [{"start": at("00:00"), "end": at("23:59")}]
        assert all("reference" in part["actor"] for part in each["participant"])
    first = found[0]
    assert (first["start"], first["end"]) == (at("09:00"), at("09:30"))
    actors = {part["actor"]["reference"] for part in first["participant"]}
    assert actors == {"Patient/ann", "Practitioner/smith", "Location/main"}
    assert (await clinic.get(f"/Appointment/{first['id']}")).status_code == 404
    assert (await clinic.get("/Appointment?_count=0")).json()["total"] == 0


@both
async def test_iti_115_honours_count_and_its_pages_are_all_of_it(clinic: httpx.AsyncClient, format: str) -> None:
    """2:3.115.4.2.3: `_count` is honoured, `total` is of all, pages may be used."""
    bundle = await find(clinic, ("_count", {"valuePositiveInt": 4}), format=format)
    assert (bundle["total"], len(matches(bundle))) == (6, 4)
    [following] = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
    rest = said(await clinic.get(following, headers={"accept": FORMATS[format]}))
    starts = [each["start"][11:16] for each in (*matches(bundle), *matches(rest))]
    assert starts == ["09:00", "09:30", "10:00", "10:30", "11:00", "11:30"]
    assert rest["total"] == 6
    assert [link["relation"] for link in rest["link"]] == ["self"]


async def test_iti_115_takes_count_in_the_url_and_none_at_all(clinic: httpx.AsyncClient) -> None:
    """2:3.115.4.2.3: `_count` in either place of a POST; 0 is only the total."""
    for count in (2, 0):
        bundle = (await post(clinic, f"/Appointment/$find?_count={count}", parameters(*DAY))).json()
        assert (bundle["total"], len(matches(bundle))) == (6, count)
        assert [link["relation"] for link in bundle["link"]] == (["self", "next"] if count else ["self"])


async def test_iti_115_takes_every_parameter_of_the_definition_at_once(clinic: httpx.AsyncClient) -> None:
    """2:3.115.4.1.2.1: the table of parameters, with the types that it gives."""
    kind = {"system": "http://example.org/kinds", "code": "consultation"}
    concept = {"coding": [kind]}
    await put(clinic, schedule(serviceType=[concept], specialty=[concept]))
    token = {"valueString": f"{kind['system']}|{kind['code']}"}
    bundle = await find(
        clinic,
        ("specialty", token),
        ("visit-type", token),
        ("practitioner", reference("Practitioner/smith")),
        ("organization", reference("Organization/riverside")),
        ("location-reference", reference("Location/main")),
        ("patient-reference", reference("Patient/ann")),
        ("reason", token),
        ("referral-identifier", {"valueIdentifier": {"system": "http://example.org/referrals", "value": "1"}}),
        ("timing", {"valueTiming": {"repeat": {"dayOfWeek": ["tue"], "timeOfDay": ["10:00:00"]}}}),
        ("insurance-reference", reference("InsurancePlan/1")),
    )
    assert [each["start"] for each in matches(bundle)] == [at("10:00")]
    for name in ("specialty", "visit-type"):
        assert (await find(clinic, (name, {"valueString": "http://example.org/kinds|other"})))["total"] == 0


@both
@pytest.mark.parametrize("wrong", [("banana", {"valueString": "1"}), ("practitioner", reference("Patient/ann"))])
async def test_iti_115_what_is_not_understood_is_400_with_an_outcome(
    clinic: httpx.AsyncClient, wrong: tuple[str, Any], format: str
) -> None:
    """2:3.115.4.2.4: 400, and what is wrong in an OperationOutcome."""
    refused = await post(clinic, "/Appointment/$find", parameters(*DAY, wrong), format)
    assert (refused.status_code, said(refused)["resourceType"]) == (400, "OperationOutcome")


async def test_iti_115_a_logical_reference_is_resolved_and_an_unknown_one_finds_nothing(
    clinic: httpx.AsyncClient,
) -> None:
    """2:3.115.4.1.2.1: the profile's own example. The Bundle has an entry even if nothing is found."""
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
    """2:3.115.4.1.2.1: of other types of participants all, of one type any in order of preference."""
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
    """2:3.115.4.1.2.1: several patients come together."""
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
    """2:3.115.4.2.3: no held appointments whose holding period has not expired."""
    proposal = matches(await find(clinic, format=format))[0]
    await ask(clinic, "$hold", ("appointment-reference", reference(_name(proposal))), format=format)
    assert (await find(clinic, format=format))["total"] == 5
    set_clock(NOW + timedelta(minutes=16))
    assert (await find(clinic, format=format))["total"] == 6


@both
async def test_iti_116_holds_what_was_found(clinic: httpx.AsyncClient, format: str) -> None:
    """ITI-116, Hold Appointment Response: pending; what is not available is fatal and not-found."""
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


async def test_iti_116_nothing_else_takes_what_is_held(clinic: httpx.AsyncClient) -> None:
    """ITI-116, Hold Appointment Response, Expected Actions: any attempt on the time or the resources is refused."""
    proposal = matches(await find(clinic, ("patient-reference", reference("Patient/ann"))))[0]
    await put(clinic, practitioner("jones"))
    one(await ask(clinic, "$hold", ("appointment-reference", reference(_name(proposal)))))
    for actors in (("Patient/bob", "Practitioner/smith"), ("Patient/ann", "Practitioner/jones")):
        attempt = appointment(at("09:00"), status="pending", actors=actors)
        for call in ("$hold", "$book"):
            assert "conflict" in {
                issue["code"] for issue in refusal(await ask(clinic, call, ("appointment-resource", attempt)))
            }


async def test_iti_116_what_was_taken_meanwhile_is_refused_with_an_outcome(clinic: httpx.AsyncClient) -> None:
    """ITI-116, Hold Appointment Request, Expected Actions: it was found, and is no longer available."""
    proposal = matches(await find(clinic))[0]
    await clinic.post("/Appointment", json=appointment(at("09:00")))
    for name in (_name(proposal), "Appointment/never"):
        issues = refusal(await ask(clinic, "$hold", ("appointment-reference", reference(name))))
        assert ("fatal", "not-found") in {(issue["severity"], issue["code"]) for issue in issues}


@both
async def test_iti_117_books_what_was_found_or_held(clinic: httpx.AsyncClient, format: str) -> None:
    """2:3.117.4.2.2: a single Appointment in the Bundle."""
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
    """2:3.117.4.1.1: what books, what modifies and what cancels."""
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
    """2:3.117.4.1.1: a held appointment is cancelled, too."""
    proposal = matches(await find(clinic))[0]
    held = one(await ask(clinic, "$hold", ("appointment-reference", reference(_name(proposal)))))
    off = one(await ask(clinic, "$book", ("appointment-resource", {**held, "status": "cancelled"})))
    assert (off["status"], off["cancelationReason"]["coding"][0]["code"]) == ("cancelled", "not-given")
    assert (await find(clinic))["total"] == 6


async def test_iti_117_an_appointment_of_a_series_is_modified_and_cancelled_alone(clinic: httpx.AsyncClient) -> None:
    """2:3.117.4.1.1: it still has its recurrenceTemplate, and asks for no other series."""
    series = await clinic.post("/Appointment/$book", json=recurring(at("09:00"), occurrenceCount=3))
    first = series.json()["entry"][0]["resource"]
    for change in ({"comment": "By the stairs"}, {"status": "cancelled"}):
        changed = one(await ask(clinic, "$book", ("appointment-resource", {**first, **change})))
        assert changed.items() >= {"id": first["id"], **change}.items()
    assert (await clinic.get("/Appointment?status=booked")).json()["total"] == 2


@both
async def test_iti_117_a_refusal_is_only_an_outcome_in_a_bundle(clinic: httpx.AsyncClient, format: str) -> None:
    """2:3.117.4.2.2: only an OperationOutcome within the Bundle."""
    await clinic.post("/Appointment", json=appointment())
    taken = appointment(status="pending", actors=("Patient/bob", "Practitioner/smith"))
    issues = refusal(await ask(clinic, "$book", ("appointment-resource", taken), format=format))
    assert "conflict" in {issue["code"] for issue in issues}
    nothing = refusal(await ask(clinic, "$book", ("appointment-reference", reference("Appointment/no")), format=format))
    assert [issue["code"] for issue in nothing] == ["not-found"]


@both
@pytest.mark.parametrize(
    ("status", "id", "code"),
    [
        ("cancelled", "never", "not-found"),
        ("cancelled", None, "business-rule"),
        ("fulfilled", None, "business-rule"),
        ("arrived", None, "business-rule"),
        ("noshow", None, "business-rule"),
        ("entered-in-error", None, "business-rule"),
    ],
)
async def test_iti_117_a_resource_in_any_other_status_books_nothing(
    clinic: httpx.AsyncClient, status: str, id: str | None, code: str, format: str
) -> None:
    """2:3.117.4.1.2: pending books, booked modifies, cancelled cancels, and that is all."""
    given = appointment(status=status) | ({"id": id} if id else {})
    issues = refusal(await ask(clinic, "$book", ("appointment-resource", given), format=format))
    assert [issue["code"] for issue in issues] == [code]
    assert (await find(clinic))["total"] == 6


async def test_iti_117_what_was_cancelled_or_deleted_is_not_cancelled_again(clinic: httpx.AsyncClient) -> None:
    """2:3.117.4.2.2: nor does it become a booking."""
    booked = (await clinic.post("/Appointment", json=appointment())).json()
    off = ("appointment-resource", {**booked, "status": "cancelled"})
    one(await ask(clinic, "$book", off))
    assert [issue["code"] for issue in refusal(await ask(clinic, "$book", off))] == ["business-rule"]
    assert (await clinic.delete(f"/Appointment/{booked['id']}")).is_success
    assert [issue["code"] for issue in refusal(await ask(clinic, "$book", off))] == ["not-found"]
    assert (await find(clinic))["total"] == 6


async def test_iti_117_an_expired_hold_that_is_cancelled_is_not_booked(
    clinic: httpx.AsyncClient, set_clock: Callable[[datetime], None]
) -> None:
    """2:3.117.4.1.1: to cancel is never to book, even if the hold is over."""
    proposal = matches(await find(clinic, ("patient-reference", reference("Patient/ann"))))[0]
    held = one(await ask(clinic, "$hold", ("appointment-reference", reference(_name(proposal)))))
    set_clock(NOW + timedelta(minutes=16))
    await ask(clinic, "$book", ("appointment-resource", {**held, "status": "cancelled"}))
    assert (await clinic.get(f"/Appointment/{held['id']}")).json()["status"] == "cancelled"
    assert (await find(clinic))["total"] == 6


@both
@pytest.mark.parametrize(
    "wrong",
    [
        ("appointment-resource", {"resourceType": "Appointment", "status": "pending"}),
        ("appointment-reference", {"valueReference": {"display": "that one"}}),
    ],
)
@pytest.mark.parametrize("call", ["$hold", "$book"])
async def test_iti_117_what_is_malformed_is_an_outcome_in_a_bundle_too(
    clinic: httpx.AsyncClient, call: str, wrong: tuple[str, Any], format: str
) -> None:
    """2:3.117.4.2.2: only an OperationOutcome within the Bundle."""
    answer = await ask(clinic, call, wrong, format=format)
    assert (answer[0], bool(refusal(answer))) == (400, True)


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
    """ITI-118, Message Semantics and Expected Actions: GET and POST, patient and date, `_count`, `_include`, `total`;
    an identifier of an unknown system finds nothing."""
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


async def test_iti_118_all_identifiers_of_a_patient_are_evaluated(clinic: httpx.AsyncClient) -> None:
    """ITI-118, Patient Identifiers: several find the patient who has them."""
    two = [{"system": f"http://example.org/{system}", "value": "1"} for system in ("mrn", "card")]
    await put(clinic, patient(identifier=two))
    await clinic.post("/Appointment", json=appointment())

    async def total(*identifiers: str) -> int:
        asked = {"patient.identifier": list(identifiers)}
        return int((await clinic.get("/Appointment", params=asked)).json()["total"])

    mrn, card, other = (f"http://example.org/{system}|1" for system in ("mrn", "card", "other"))
    assert [await total(mrn, card), await total(f"{other},{card}"), await total(mrn, other)] == [1, 1, 0]


async def test_iti_118_includes_each_kind_of_actor_and_searches_by_each_parameter(clinic: httpx.AsyncClient) -> None:
    """ITI-118, Search Parameters and Expected Actions: the table, and `_include` of those who take part."""
    await put(clinic, service(), device(), practitioner(identifier=[SMITH]))
    kind = {"coding": [{"system": "http://example.org/kinds", "code": "consultation"}]}
    names = ("PractitionerRole/smith-main", "Location/main", "HealthcareService/consultation", "Device/scanner")
    wanted = appointment(actors=("Patient/ann", "Practitioner/smith", *names), specialty=[kind])
    booked = await clinic.post("/Appointment", json=wanted)
    assert booked.status_code == 201, booked.text
    for asked in (
        {"patient": "Patient/ann"},
        {"date": "2026-03-03"},
        {"practitioner": "Practitioner/smith"},
        {"practitioner.identifier": f"{SMITH['system']}|{SMITH['value']}"},
        {"location": "Location/main"},
        {"specialty": "http://example.org/kinds|consultation"},
        {"status": "booked"},
    ):
        answer = await clinic.get("/Appointment", params={**asked, "_include": "Appointment:actor"})
        bundle = answer.json()
        assert [each["id"] for each in matches(bundle)] == [booked.json()["id"]], asked
        included = {each["resource"]["resourceType"] for each in bundle["entry"] if each["search"]["mode"] == "include"}
        assert included == {name.partition("/")[0] for name in (*names, "Patient/ann", "Practitioner/smith")}
        assert matches(bundle)[0].items() >= {**wanted, "status": "booked"}.items()


@pytest.mark.parametrize(
    ("date", "total"),
    [
        (at("09:00"), 1),
        (f"ne{at('09:00')}", 1),
        (f"gt{at('09:00')}", 1),
        (f"ge{at('09:00')}", 2),
        (f"lt{at('10:00')}", 1),
        (f"le{at('10:00')}", 2),
        (f"sa{at('10:00')}", 0),
        (f"eb{at('10:00')}", 1),
        ("ap2026-03-03", 2),
    ],
)
async def test_iti_118_a_date_takes_every_prefix(clinic: httpx.AsyncClient, date: str, total: int) -> None:
    """ITI-118, Search Parameters: the normal prefixes of dates."""
    for time in ("09:00", "10:00"):
        await clinic.post("/Appointment", json=appointment(at(time)))
    assert (await clinic.get("/Appointment", params={"date": date})).json()["total"] == total
