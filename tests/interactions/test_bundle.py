"""batch and transaction (http://hl7.org/fhir/R4/http.html#transaction)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from fhir_server.store.measure import counted
from tests.clinic import BUILDERS, CLINIC, REASON, appointment, at, encounter, location, organization, patient, slot
from tests.outcomes import assert_outcome

Json = dict[str, Any]

every_type = pytest.mark.parametrize("type", list(BUILDERS))

A, B, C = (f"urn:uuid:00000000-0000-4000-8000-00000000000{digit}" for digit in "abc")


def entry(method: str, url: str, resource: Json | None = None, full_url: str = "", **request: str) -> Json:
    said: Json = {"request": {"method": method, "url": url, **request}}
    if full_url:
        said["fullUrl"] = full_url
    return said | ({"resource": resource} if resource else {})


def bundle(*entries: Json, type: str = "transaction") -> Json:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def without_id(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "id"}


def statuses(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["response"]["status"].partition(" ")[0] for one in answer.json()["entry"]]


async def total(client: httpx.AsyncClient, type: str) -> int:
    return int((await client.get(f"/{type}?_count=0")).json()["total"])


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_an_empty_bundle_is_no_error(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("", json={"resourceType": "Bundle", "type": kind})
    assert (answer.status_code, answer.json()) == (200, {"resourceType": "Bundle", "type": f"{kind}-response"})


@every_type
@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_entries_create_update_and_delete_every_type(clinic: httpx.AsyncClient, kind: str, type: str) -> None:
    await clinic.put(f"/{type}/gone", json=BUILDERS[type]("gone"))
    answer = await clinic.post(
        "",
        json=bundle(
            entry("PUT", f"{type}/mine", BUILDERS[type]("mine")),
            entry("POST", type, without_id(BUILDERS[type]("x"))),
            entry("DELETE", f"{type}/gone"),
            type=kind,
        ),
    )
    assert statuses(answer) == ["201", "201", "204"]
    put, post, _ = answer.json()["entry"]
    assert put["response"]["location"].endswith(f"/fhir/{type}/mine/_history/1")
    assert post["response"]["etag"] == 'W/"1"'
    assert put["resource"] == (await clinic.get(f"/{type}/mine")).json()
    assert put["response"]["lastModified"] == put["resource"]["meta"]["lastUpdated"]
    assert (await clinic.get(f"/{type}/gone")).status_code == 410


async def test_a_batch_answers_each_entry_on_its_own(clinic: httpx.AsyncClient) -> None:
    answer = await clinic.post(
        "",
        json=bundle(
            entry("GET", "Patient/ann"),
            entry("GET", "Patient/nobody"),
            entry("PUT", "Patient/bad", patient("bad", gender="x")),
            entry("GET", "Patient?_id=ann"),
            entry("GET", "Nothing/1"),
            entry("DELETE", "Patient"),
            entry("GET", "http://elsewhere.example/Patient/1"),
            {"resource": patient("lost")},
            entry("POST", "Patient/$validate", patient()),
            entry("GET", "Patient/ann", ifNoneMatch='W/"1"'),
            entry("PUT", "Patient/bob", patient("bob"), ifMatch='W/"9"'),
            type="batch",
        ),
    )
    assert statuses(answer) == ["200", "404", "422", "200", "404", "400", "400", "400", "200", "304", "412"]
    entries = answer.json()["entry"]
    assert entries[0]["resource"]["id"] == "ann"
    assert entries[2]["response"]["outcome"]["issue"][0]["expression"] == ["Patient.gender"]
    assert entries[3]["resource"]["total"] == 1


async def test_a_bundle_gives_no_more_resources_than_it_may(client: httpx.AsyncClient) -> None:
    people = [entry("POST", "Patient", without_id(patient())) for _ in range(500)]
    await client.post("", json=bundle(*people), headers={"Prefer": "return=minimal"})
    searches = [entry("GET", "Patient?_count=500&_elements=id")] * 22
    for kind in ("batch", "transaction"):
        answer = await client.post("", json=bundle(*searches, type=kind))
        assert statuses(answer) == ["200"] * 20 + ["422"] * 2


async def test_a_batch_has_an_end(client_with: Callable[..., Awaitable[httpx.AsyncClient]]) -> None:
    client = await client_with(transaction_deadline_seconds=0.000001)
    answer = await client.post("", json=bundle(*[entry("GET", "Patient/x")] * 3, type="batch"))
    assert statuses(answer) == ["503"] * 3


async def test_a_transaction_writes_all_or_nothing_and_says_which_entry_was_refused(clinic: httpx.AsyncClient) -> None:
    answer = await clinic.post(
        "",
        json=bundle(
            entry("PUT", "Patient/new", patient("new")), entry("PUT", "Patient/bad", patient("bad", gender="x"))
        ),
    )
    issue = assert_outcome(answer, 422, "code-invalid")
    assert issue["expression"] == ["Bundle.entry[1].resource.gender"]
    assert (await clinic.get("/Patient/new")).status_code == 404


async def test_links_between_entries_become_references_that_last(clinic: httpx.AsyncClient) -> None:
    narrative = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{A}">the organization</a></div>'
    ward = location(
        "x",
        text={"status": "additional", "div": narrative},
        managingOrganization={"reference": A},
        contained=[{"resourceType": "Organization", "id": "in", "name": "Inside", "partOf": {"reference": A}}],
        partOf={"reference": B},
        identifier=[{"system": "urn:ietf:rfc:3986", "value": A}],
        extension=[
            {"url": "http://example.org/owner", "valueUri": A},
            {"url": "http://example.org/inside", "valueReference": {"reference": "#in"}},
        ],
    )
    answer = await clinic.post(
        "",
        json=bundle(
            entry("POST", "Location", without_id(ward), C),
            entry("POST", "Organization", without_id(organization()), A),
            entry("PUT", "Location/site", location("site"), B),
        ),
    )
    assert statuses(answer) == ["201", "201", "201"]
    made, owner = (one["resource"] for one in answer.json()["entry"][:2])
    reference = f"Organization/{owner['id']}"
    assert made["managingOrganization"]["reference"] == reference
    assert made["contained"][0]["partOf"]["reference"] == reference
    assert made["partOf"]["reference"] == "Location/site"
    assert made["extension"][0]["valueUri"] == reference
    assert f'href="{reference}"' in made["text"]["div"]
    assert made["identifier"][0]["value"] == A


async def test_links_beside_primitives_are_rewritten_too(clinic: httpx.AsyncClient) -> None:
    said = {"extension": [{"url": "http://example.org/from", "valueReference": {"reference": A}}]}
    person = patient("x", birthDate="1980-01-01", _birthDate=said)
    person["name"] = [{"given": ["Ann", "Bea"], "_given": [None, said]}]
    answer = await clinic.post(
        "", json=bundle(entry("PUT", "Patient/x", person), entry("POST", "Organization", organization(), A))
    )
    made, owner = (one["resource"] for one in answer.json()["entry"])
    for beside in (made["_birthDate"], made["name"][0]["_given"][1]):
        assert beside["extension"][0]["valueReference"]["reference"] == f"Organization/{owner['id']}"


async def test_a_free_slot_is_booked_by_a_condition(clinic: httpx.AsyncClient) -> None:
    condition = f"Slot?schedule=Schedule/smith-main&status=free&start={at('09:30')}"
    booking = appointment(at("09:30"), slot=[{"reference": condition}])
    answer = await clinic.post("", json=bundle(entry("POST", "Appointment", booking)))
    assert statuses(answer) == ["201"]
    (slot_,) = answer.json()["entry"][0]["resource"]["slot"]
    assert (await clinic.get(f"/{slot_['reference']}")).json()["start"] == at("09:30")
    assert_outcome(await clinic.post("", json=bundle(entry("POST", "Appointment", booking))), 412, "not-found")


async def test_a_transaction_is_done_while_others_write_one_of_its_resources(client: httpx.AsyncClient) -> None:
    organizations = [organization(f"o{number}") for number in range(60)]
    sent = bundle(*(entry("PUT", f"Organization/{one['id']}", one) for one in organizations))
    assert statuses(await client.post("", json=sent)) == ["201"] * 60
    done = asyncio.Event()

    async def write_on() -> None:
        while not done.is_set():
            (await client.put("/Organization/o5", json=organization("o5", alias=["Five"]))).raise_for_status()

    writers = [asyncio.create_task(write_on()) for _ in range(3)]
    try:
        assert statuses(await client.post("", json=sent)) == ["200"] * 60
    finally:
        done.set()
        await asyncio.gather(*writers)


async def test_relative_and_absolute_references_find_the_entry_that_they_mean(clinic: httpx.AsyncClient) -> None:
    base = "https://other.example/fhir"
    child = patient("child", managingOrganization={"reference": "Organization/7"})
    parent = {"other": {"reference": f"{base}/Patient/parent/_history/1"}, "type": "refer"}
    answer = await clinic.post(
        "",
        json=bundle(
            entry("POST", "Patient", {**child, "link": [parent]}, f"{base}/Patient/child"),
            entry("POST", "Organization", organization("7"), f"{base}/Organization/7"),
            entry("POST", "Patient", patient("parent"), f"{base}/Patient/parent"),
        ),
    )
    made, owner, elder = (one["resource"] for one in answer.json()["entry"])
    assert made["managingOrganization"]["reference"] == f"Organization/{owner['id']}"
    assert made["link"][0]["other"]["reference"] == f"Patient/{elder['id']}/_history/1"


async def test_a_urn_that_no_entry_has_is_refused(clinic: httpx.AsyncClient) -> None:
    lost = patient("x", managingOrganization={"reference": A})
    issue = assert_outcome(await clinic.post("", json=bundle(entry("PUT", "Patient/x", lost))), 400, "not-found")
    assert A in issue["diagnostics"]


async def test_a_conditional_reference_means_the_one_resource_that_meets_it(clinic: httpx.AsyncClient) -> None:
    await clinic.put("/Organization/known", json=organization("known", identifier=[{"system": "urn:o", "value": "1"}]))
    wanted = [
        patient("stored", managingOrganization={"reference": "Organization?identifier=urn:o|1"}),
        patient("coming", managingOrganization={"reference": "Organization?identifier=urn:o|2"}),
    ]
    coming = organization("coming", identifier=[{"system": "urn:o", "value": "2"}])
    answer = await clinic.post(
        "", json=bundle(*(entry("POST", "Patient", one) for one in wanted), entry("POST", "Organization", coming))
    )
    stored, made, owner = (one["resource"] for one in answer.json()["entry"])
    assert stored["managingOrganization"]["reference"] == "Organization/known"
    assert made["managingOrganization"]["reference"] == f"Organization/{owner['id']}"


@pytest.mark.parametrize(("count", "code"), [(0, "not-found"), (2, "multiple-matches")])
async def test_a_conditional_reference_that_not_exactly_one_resource_meets_is_refused(
    clinic: httpx.AsyncClient, count: int, code: str
) -> None:
    for number in range(count):
        same = organization(f"same-{number}", identifier=[{"system": "urn:o", "value": "1"}])
        await clinic.put(f"/Organization/same-{number}", json=same)
    wanted = patient("x", managingOrganization={"reference": "Organization?identifier=urn:o|1"})
    assert_outcome(await clinic.post("", json=bundle(entry("PUT", "Patient/x", wanted))), 412, code)
    assert (await clinic.get("/Patient/x")).status_code == 404


async def test_conditional_entries_find_or_create(clinic: httpx.AsyncClient) -> None:
    identifier = [{"system": "urn:mrn", "value": "1"}]
    sent = bundle(
        entry("POST", "Patient", without_id(patient(identifier=identifier)), A, ifNoneExist="identifier=urn:mrn|1"),
        entry(
            "PUT",
            "Location?identifier=urn:loc|1",
            without_id(location(identifier=[{"system": "urn:loc", "value": "1"}])),
            B,
        ),
        entry(
            "POST",
            "Encounter",
            without_id(encounter(subject={"reference": A}, location=[{"location": {"reference": B}}])),
        ),
    )
    first = await clinic.post("", json=sent)
    assert statuses(first) == ["201", "201", "201"]
    again = await clinic.post("", json=sent)
    assert statuses(again) == ["200", "200", "201"]
    (found, updated, visit), (made, *_) = again.json()["entry"], first.json()["entry"]
    assert found["resource"] == made["resource"]
    assert updated["response"]["etag"] == 'W/"2"'
    assert visit["resource"]["subject"]["reference"] == f"Patient/{made['resource']['id']}"
    gone = await clinic.post("", json=bundle(entry("DELETE", "Encounter?status=planned")))
    assert statuses(gone) == ["204"]
    assert await total(clinic, "Encounter") == 0


async def test_patches_in_a_transaction_change_what_is_there(clinic: httpx.AsyncClient) -> None:
    change = json.dumps([{"op": "add", "path": "/language", "value": "en"}]).encode()
    binary = {
        "resourceType": "Binary",
        "contentType": "application/json-patch+json",
        "data": base64.b64encode(change).decode(),
    }
    parts = [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "Patient"},
        {"name": "name", "valueString": "managingOrganization"},
        {"name": "value", "valueReference": {"reference": A}},
    ]
    fhirpath = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    answer = await clinic.post(
        "",
        json=bundle(
            entry("PATCH", "Patient/ann", binary, ifMatch='W/"1"'),
            entry("PATCH", "Patient/bob", fhirpath),
            entry("POST", "Organization", organization(), A),
        ),
    )
    assert statuses(answer) == ["200", "200", "201"]
    ann, bob, owner = (one["resource"] for one in answer.json()["entry"])
    assert ann["language"] == "en"
    assert bob["managingOrganization"]["reference"] == f"Organization/{owner['id']}"


async def test_conditional_references_in_patches_mean_what_meets_them(clinic: httpx.AsyncClient) -> None:
    await clinic.put("/Organization/known", json=organization("known", identifier=[{"system": "urn:o", "value": "1"}]))
    reference = {"reference": "Organization?identifier=urn:o|1"}
    change = json.dumps([{"op": "add", "path": "/managingOrganization", "value": reference}]).encode()
    binary = {
        "resourceType": "Binary",
        "contentType": "application/json-patch+json",
        "data": base64.b64encode(change).decode(),
    }
    parts = [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "Patient"},
        {"name": "name", "valueString": "managingOrganization"},
        {"name": "value", "valueReference": reference},
    ]
    fhirpath = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    answer = await clinic.post(
        "", json=bundle(entry("PATCH", "Patient/ann", binary), entry("PATCH", "Patient/bob", fhirpath))
    )
    assert statuses(answer) == ["200", "200"]
    found = [one["resource"]["managingOrganization"]["reference"] for one in answer.json()["entry"]]
    assert found == ["Organization/known"] * 2


async def test_several_entries_can_find_the_same_resource_by_a_condition(clinic: httpx.AsyncClient) -> None:
    same = entry("POST", "Patient", without_id(patient()), ifNoneExist="_id=ann")
    visits = [entry("POST", "Encounter", without_id(encounter(subject={"reference": url}))) for url in (A, B)]
    answer = await clinic.post("", json=bundle({**same, "fullUrl": A}, {**same, "fullUrl": B}, *visits))
    assert statuses(answer) == ["200", "200", "201", "201"]
    assert {one["resource"]["subject"]["reference"] for one in answer.json()["entry"][2:]} == {"Patient/ann"}


async def test_a_head_entry_has_no_resource_and_a_validation_has(clinic: httpx.AsyncClient) -> None:
    sent = bundle(entry("HEAD", "Patient/ann"), entry("POST", "Patient/$validate", patient()), type="batch")
    head, validated = (await clinic.post("", json=sent)).json()["entry"]
    assert ("resource" in head, head["response"]["etag"]) == (False, 'W/"1"')
    assert validated["resource"]["resourceType"] == "OperationOutcome"


async def test_a_batch_with_a_key_creates_once(clinic: httpx.AsyncClient) -> None:
    sent = bundle(*[entry("POST", "Patient", without_id(patient()))] * 2, type="batch")
    answers = [await clinic.post("", json=sent, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert await total(clinic, "Patient") == 4


async def test_reads_and_searches_see_what_the_transaction_wrote(clinic: httpx.AsyncClient) -> None:
    answer = await clinic.post(
        "",
        json=bundle(
            entry("GET", "Patient?_id=new"),
            entry("GET", "Patient/new"),
            entry("GET", "Patient/nobody"),
            entry("PUT", "Patient/new", patient("new")),
        ),
    )
    assert statuses(answer) == ["200", "200", "404", "201"]
    assert answer.json()["entry"][0]["resource"]["total"] == 1


async def test_deletions_come_first_and_what_others_depend_on_last_among_them(clinic: httpx.AsyncClient) -> None:
    order = [
        "Organization/riverside",
        "Practitioner/smith",
        "Location/main",
        "PractitionerRole/smith-main",
        "Schedule/smith-main",
    ]
    answer = await clinic.post("", json=bundle(*(entry("DELETE", one) for one in order)))
    assert statuses(answer) == ["204"] * 5
    assert (await clinic.get("/Organization/riverside")).status_code == 410


async def test_what_an_entry_refers_to_cannot_be_deleted_by_another(clinic: httpx.AsyncClient) -> None:
    moved = patient("ann", managingOrganization={"reference": "Organization/other"})
    await clinic.put("/Organization/other", json=organization("other"))
    refused = await clinic.post(
        "", json=bundle(entry("DELETE", "Organization/other"), entry("PUT", "Patient/ann", moved))
    )
    assert_outcome(refused, 409, "conflict", "referenced")
    assert (await clinic.get("/Organization/other")).status_code == 200


async def test_a_referrer_that_is_changed_in_the_same_transaction_stands_in_nobody_s_way(
    clinic: httpx.AsyncClient,
) -> None:
    await clinic.put("/Organization/other", json=organization("other"))
    await clinic.put("/Patient/ann", json=patient(managingOrganization={"reference": "Organization/other"}))
    answer = await clinic.post(
        "", json=bundle(entry("PUT", "Patient/ann", patient()), entry("DELETE", "Organization/other"))
    )
    assert statuses(answer) == ["200", "204"]


@pytest.mark.parametrize(
    "twice",
    [
        (entry("PUT", "Patient/x", patient("x")), entry("DELETE", "Patient/x")),
        (entry("PUT", "Patient/x", patient("x")), entry("PUT", "Patient/x", patient("x"))),
        (entry("PUT", "Patient/ann", patient()), entry("DELETE", "Patient?_id=ann")),
        (
            entry("POST", "Patient", patient(), ifNoneExist="identifier=urn:x|1"),
            entry("POST", "Patient", patient(), ifNoneExist="identifier=urn:x|1"),
        ),
        (entry("POST", "Patient", patient(), A), entry("POST", "Patient", patient(), A)),
    ],
)
async def test_two_entries_about_the_same_resource_are_refused(
    clinic: httpx.AsyncClient, twice: tuple[Json, Json]
) -> None:
    assert_outcome(await clinic.post("", json=bundle(*twice)), 400, "duplicate")
    assert await total(clinic, "Patient") == 2


async def test_if_match_counts_for_its_entry(clinic: httpx.AsyncClient) -> None:
    stale = bundle(entry("PUT", "Patient/new", patient("new")), entry("PUT", "Patient/ann", patient(), ifMatch='W/"5"'))
    issue = assert_outcome(await clinic.post("", json=stale), 412, "conflict")
    assert issue["expression"] == ["Bundle.entry[1]"]
    assert (await clinic.get("/Patient/new")).status_code == 404


@pytest.mark.parametrize(
    ("url", "method"),
    [("Patient/$validate", "POST"), ("Appointment/1/$cancel", "POST"), ("Patient/ann/_history/1", "PUT")],
)
async def test_an_operation_is_for_a_batch_not_for_a_transaction(
    clinic: httpx.AsyncClient, url: str, method: str
) -> None:
    assert_outcome(await clinic.post("", json=bundle(entry(method, url, patient()))), 400, "not-supported")


@pytest.mark.parametrize("kind", ["searchset", "collection", "history", "document"])
async def test_a_bundle_that_asks_for_nothing_is_refused(client: httpx.AsyncClient, kind: str) -> None:
    sent = {"resourceType": "Bundle", "type": kind, "entry": []}
    assert (await client.post("", json={**sent, "entry": [{"resource": patient()}]})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        patient(),
        {"resourceType": "Bundle"},
        {"resourceType": "Bundle", "type": "batch", "entry": {}},
        {"resourceType": "Bundle", "type": "batch", "entry": [1]},
        {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET"}}]},
        {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": 1}}]},
        {"resourceType": "Bundle", "type": "transaction", "banana": True},
    ],
)
async def test_a_malformed_bundle_is_refused(client: httpx.AsyncClient, body: Json) -> None:
    answer = await client.post("", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    "resource", [1, "x", {"resourceType": "Slot"}, {"resourceType": 1}, {"resourceType": "Patient", "id": 1}]
)
async def test_a_malformed_resource_of_an_entry_is_refused(client: httpx.AsyncClient, kind: str, resource: Any) -> None:
    said = {"request": {"method": "PUT", "url": "Patient/1"}, "resource": resource}
    answer = await client.post("", json=bundle(said, type=kind))
    assert (answer.status_code == 400) if kind == "transaction" else (statuses(answer) == ["400"]), answer.text


async def test_too_many_entries_are_refused(client_with: Callable[..., Awaitable[httpx.AsyncClient]]) -> None:
    client = await client_with(bundle_entries_max=2)
    three = [entry("GET", "Patient/1")] * 3
    assert_outcome(await client.post("", json=bundle(*three, type="batch")), 413, "too-costly")
    assert statuses(await client.post("", json=bundle(*three[:2], type="batch"))) == ["404", "404"]


async def test_a_thousand_entries_are_one_transaction(client: httpx.AsyncClient) -> None:
    people = [entry("POST", "Patient", without_id(patient(managingOrganization={"reference": A}))) for _ in range(999)]
    answer = await client.post("", json=bundle(*people, entry("POST", "Organization", organization(), A)))
    assert statuses(answer) == ["201"] * 1000
    owner = answer.json()["entry"][-1]["resource"]["id"]
    assert (await client.get(f"/Patient?organization={owner}&_count=0")).json()["total"] == 999
    refused = await client.post("", json=bundle(*people, entry("POST", "Organization", organization(x=1), A)))
    issue = assert_outcome(refused, 400, "structure")
    assert issue["expression"] == ["Bundle.entry[999].resource.x"]
    assert await total(client, "Patient") == 999


async def test_a_patient_and_the_booking_are_made_at_once(clinic: httpx.AsyncClient) -> None:
    booking = appointment(at("09:00"), actors=(A, "Practitioner/smith"))
    answer = await clinic.post(
        "", json=bundle(entry("POST", "Appointment", booking), entry("POST", "Patient", without_id(patient()), A))
    )
    assert statuses(answer) == ["201", "201"]
    booked, person = (one["resource"] for one in answer.json()["entry"])
    assert booked["status"] == "booked"
    assert booked["participant"][0]["actor"]["reference"] == f"Patient/{person['id']}"
    assert (await clinic.get(f"/{booked['slot'][0]['reference']}")).json()["status"] == "busy"


async def test_two_bookings_of_one_time_in_a_transaction_are_a_conflict(clinic: httpx.AsyncClient) -> None:
    both = (appointment(at("09:00"), actors=(f"Patient/{one}", "Practitioner/smith")) for one in ("ann", "bob"))
    answer = await clinic.post("", json=bundle(*(entry("POST", "Appointment", one) for one in both)))
    issue = assert_outcome(answer, 409, "conflict")
    assert issue["expression"][0].startswith("Bundle.entry[1]")
    assert await total(clinic, "Appointment") == 0


async def test_bookings_that_do_not_clash_are_made_in_one_transaction(clinic: httpx.AsyncClient) -> None:
    times = ("09:00", "09:30", "10:00", "10:30", "11:00", "11:30")
    sent = [
        appointment(at(time), actors=("Patient/ann" if index % 2 else "Patient/bob", "Practitioner/smith"))
        for index, time in enumerate(times)
    ]
    answer = await clinic.post("", json=bundle(*(entry("POST", "Appointment", one) for one in sent)))
    assert statuses(answer) == ["201"] * 6
    taken = await clinic.post(
        "/Appointment", json=appointment(at("10:00"), actors=("Patient/ann", "Practitioner/smith"))
    )
    assert taken.status_code == 409


async def test_a_time_that_is_cancelled_is_booked_again_in_the_same_transaction(clinic: httpx.AsyncClient) -> None:
    first = (await clinic.post("/Appointment", json=appointment(at("09:00")))).json()
    gone = {**first, "status": "entered-in-error"}
    again = appointment(at("09:00"), actors=("Patient/bob", "Practitioner/smith"))
    answer = await clinic.post(
        "",
        json=bundle(
            entry("PUT", f"Appointment/{first['id']}", gone),
            entry("PUT", "Appointment/again", {**again, "id": "again"}),
        ),
    )
    assert statuses(answer) == ["200", "201"]
    assert (await clinic.get("/Appointment/again")).json()["status"] == "booked"


both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["in order", "reversed"])


def moved(booked: Json, time: str) -> Json:
    """The Appointment at another time, its Slot to be found by the server."""
    there = appointment(at(time))
    return {name: value for name, value in booked.items() if name != "slot"} | {
        element: there[element] for element in ("start", "end")
    }


async def transact(client: httpx.AsyncClient, entries: list[Json], reverse: bool) -> httpx.Response:
    return await client.post("", json=bundle(*(reversed(entries) if reverse else entries)))


@both_ways
async def test_a_booking_takes_the_time_that_another_entry_gives_back(clinic: httpx.AsyncClient, reverse: bool) -> None:
    first = (await clinic.post("/Appointment", json=appointment(at("09:00")))).json()
    gone = {**first, "status": "cancelled", "cancelationReason": REASON}
    again = appointment(at("09:00"), actors=("Patient/bob", "Practitioner/smith"))
    entries = [entry("PUT", f"Appointment/{first['id']}", gone), entry("POST", "Appointment", again)]
    assert sorted(statuses(await transact(clinic, entries, reverse))) == ["200", "201"]
    assert (await clinic.get(f"/{first['slot'][0]['reference']}")).json()["status"] == "busy"


@both_ways
async def test_appointments_move_up_in_a_chain(clinic: httpx.AsyncClient, reverse: bool) -> None:
    times = ("09:00", "09:30", "10:00", "10:30", "11:00", "11:30")
    booked = [(await clinic.post("/Appointment", json=appointment(at(time)))).json() for time in times[:-1]]
    entries = [
        entry("PUT", f"Appointment/{one['id']}", moved(one, time)) for one, time in zip(booked, times[1:], strict=True)
    ]
    assert statuses(await transact(clinic, entries, reverse)) == ["200"] * 5
    found = (await clinic.get("/Appointment?_sort=date")).json()["entry"]
    assert [one["resource"]["id"] for one in found] == [one["id"] for one in booked]
    assert [one["resource"]["start"] for one in found] == [at(time) for time in times[1:]]
    free = (await clinic.get(f"/Schedule/smith-main/$find-slots?start={at('08:00')}&end={at('13:00')}")).json()
    assert [one["resource"]["start"] for one in free["entry"]] == [at("09:00")]


@both_ways
async def test_two_appointments_change_places(clinic: httpx.AsyncClient, reverse: bool) -> None:
    one, other = [(await clinic.post("/Appointment", json=appointment(at(time)))).json() for time in ("09:00", "10:00")]
    entries = [
        entry("PUT", f"Appointment/{one['id']}", moved(one, "10:00")),
        entry("PUT", f"Appointment/{other['id']}", moved(other, "09:00")),
    ]
    assert statuses(await transact(clinic, entries, reverse)) == ["200", "200"]
    for appointment_, time in ((one, "10:00"), (other, "09:00")):
        now = (await clinic.get(f"/Appointment/{appointment_['id']}")).json()
        assert now["start"] == at(time)
        assert (await clinic.get(f"/{now['slot'][0]['reference']}")).json()["status"] == "busy"
    third = await clinic.post(
        "/Appointment", json=appointment(at("10:00"), actors=("Patient/bob", "Practitioner/smith"))
    )
    assert third.status_code == 409


async def test_what_stays_where_it_is_keeps_its_time(clinic: httpx.AsyncClient) -> None:
    one, other = [(await clinic.post("/Appointment", json=appointment(at(time)))).json() for time in ("09:00", "10:00")]
    entries = [
        entry("PUT", f"Appointment/{one['id']}", {**one, "comment": "stays"}),
        entry("PUT", f"Appointment/{other['id']}", moved(other, "09:00")),
    ]
    for reverse in (False, True):
        assert_outcome(await transact(clinic, entries, reverse), 409, "conflict")


@both_ways
async def test_a_patient_goes_with_the_appointments_that_are_called_off(
    clinic: httpx.AsyncClient, reverse: bool
) -> None:
    booked = (await clinic.post("/Appointment", json=appointment(at("09:00")))).json()
    reassigned = {**booked, "participant": appointment(actors=("Patient/bob", "Practitioner/smith"))["participant"]}
    entries = [entry("DELETE", "Patient/ann"), entry("PUT", f"Appointment/{booked['id']}", reassigned)]
    assert sorted(statuses(await transact(clinic, entries, reverse))) == ["200", "204"]


async def test_hundreds_of_conditional_references_find_their_entries(client: httpx.AsyncClient) -> None:
    numbers = range(150)
    people = [
        entry("POST", "Patient", without_id(patient(identifier=[{"system": "urn:x", "value": f"{number}"}])))
        for number in numbers
    ]
    visits = [
        entry("POST", "Encounter", without_id(encounter(subject={"reference": f"Patient?identifier=urn:x|{number}"})))
        for number in numbers
    ]
    answer = await client.post("", json=bundle(*visits, *people))
    made = [one["resource"] for one in answer.json()["entry"]]
    assert [one["subject"]["reference"] for one in made[:150]] == [f"Patient/{one['id']}" for one in made[150:]]


async def test_a_conditional_reference_that_names_no_exact_value_is_not_looked_for_in_too_many_entries(
    client: httpx.AsyncClient,
) -> None:
    people = [entry("POST", "Patient", without_id(patient())) for _ in range(201)]
    visit = entry("POST", "Encounter", without_id(encounter(subject={"reference": "Patient?family:contains=s"})))
    assert_outcome(await client.post("", json=bundle(*people, visit)), 422, "too-costly")


async def test_a_clinic_with_its_schedule_and_a_booking_come_in_one_bundle_in_any_order(
    client: httpx.AsyncClient,
) -> None:
    entries = [entry("PUT", f"{one['resourceType']}/{one['id']}", one) for one in CLINIC]
    answer = await client.post(
        "", json=bundle(entry("POST", "Appointment", appointment(at("09:00"))), *reversed(entries))
    )
    assert statuses(answer) == ["201"] * (len(CLINIC) + 1)


async def test_a_client_that_keeps_slots_itself_books_with_a_slot_in_one_transaction(clinic: httpx.AsyncClient) -> None:
    await clinic.put("/Slot/own", json=slot("own", at("18:00"), at("18:30")))
    booking = appointment(at("18:00"), slot=[{"reference": "Slot/own"}])
    answer = await clinic.post(
        "",
        json=bundle(
            entry("PUT", "Slot/own", slot("own", at("18:00"), at("18:30"), status="busy")),
            entry("POST", "Appointment", booking),
        ),
    )
    assert statuses(answer) == ["200", "201"]
    assert (await clinic.get("/Slot/own")).json()["status"] == "busy"


@pytest.mark.parametrize(
    ("prefer", "element"), [("minimal", None), ("representation", "resource"), ("OperationOutcome", "outcome")]
)
async def test_prefer_says_what_the_entries_hold(client: httpx.AsyncClient, prefer: str, element: str | None) -> None:
    sent = bundle(entry("PUT", "Patient/x", patient("x")))
    answer = await client.post("", json=sent, headers={"Prefer": f"return={prefer}"})
    (said,) = answer.json()["entry"]
    assert ("resource" in said, "outcome" in said["response"]) == (element == "resource", element == "outcome")


async def test_a_repeated_key_gets_the_answer_of_the_first_time(clinic: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}
    sent = bundle(
        entry("POST", "Patient", without_id(patient())),
        entry("DELETE", "Patient/bob"),
        entry("DELETE", "Patient/nobody"),
        entry("POST", "Patient", without_id(patient()), ifNoneExist="_id=ann"),
    )
    first = await clinic.post("", json=sent, headers=headers)
    again = await clinic.post("", json=sent, headers=headers)
    assert statuses(first) == ["201", "204", "204", "200"]
    assert again.json() == first.json()
    assert await total(clinic, "Patient") == 2


async def test_one_version_is_made_of_a_slot_that_several_entries_touch(clinic: httpx.AsyncClient) -> None:
    booked = (await clinic.post("/Appointment", json=appointment(at("09:00")))).json()
    gone = {**booked, "status": "cancelled", "cancelationReason": REASON}
    again = appointment(at("09:00"), actors=("Patient/bob", "Practitioner/smith"))
    answer = await clinic.post(
        "", json=bundle(entry("PUT", f"Appointment/{booked['id']}", gone), entry("POST", "Appointment", again))
    )
    assert statuses(answer) == ["200", "201"]
    history = (await clinic.get(f"/{booked['slot'][0]['reference']}/_history")).json()["entry"]
    assert [(one["resource"]["status"], one["response"]["etag"]) for one in history] == [
        ("busy", 'W/"2"'),
        ("busy", 'W/"1"'),
    ]


async def test_a_transaction_of_which_nothing_is_possible_is_looked_at_once(clinic: httpx.AsyncClient) -> None:
    await clinic.post("/Appointment", json=appointment(minutes=180))
    taken = [
        appointment(at(time), actors=("Patient/bob", "Practitioner/smith")) for time in ("09:00", "10:00", "11:00")
    ]
    with counted() as alone:
        for each in taken:
            assert_outcome(await clinic.post("/Appointment", json=each), 409, "conflict", "practitioner-busy")
    with counted() as together:
        refused = await clinic.post("/", json=bundle(*(entry("POST", "Appointment", each) for each in taken)))
    assert_outcome(refused, 409, "conflict", "practitioner-busy")
    assert 0 < len(together) <= len(alone)
