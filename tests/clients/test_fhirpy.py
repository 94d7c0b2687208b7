"""The server through fhirpy, a client for Python."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import BaseFHIRError, MultipleResourcesFound, OperationOutcome, ResourceNotFound

from tests.clinic import REASON, Json

SYSTEM = "https://clients.example/fhirpy"


@pytest.fixture(scope="module")
def client(base: str) -> SyncFHIRClient:
    return SyncFHIRClient(base)


def with_header(client: SyncFHIRClient, name: str, value: str) -> SyncFHIRClient:
    """The client as it is configured to send one more header."""
    return SyncFHIRClient(client.url, extra_headers={name: value})


def patient(client: SyncFHIRClient, family: str, **more: Any) -> Any:
    identifier = [{"system": SYSTEM, "value": family.lower()}]
    return client.resource("Patient", identifier=identifier, name=[{"family": family}], **more)


def outcome_of(error: BaseFHIRError) -> Json:
    """The OperationOutcome that an exception of fhirpy carries as its text."""
    found: Json = json.loads(str(error))
    assert found["resourceType"] == "OperationOutcome"
    return found


def test_creates_reads_refreshes_and_deletes(client: SyncFHIRClient) -> None:
    created = patient(client, "Vogel").create()
    assert created.meta.versionId == "1"
    found = client.reference("Patient", created.id).to_resource()
    assert found.name == created.name
    found.refresh()
    found.delete()
    with pytest.raises(ResourceNotFound) as refusal:
        found.refresh()
    assert outcome_of(refusal.value)["issue"][0]["code"] == "deleted"


def test_reads_a_version_and_history(client: SyncFHIRClient) -> None:
    created = patient(client, "Uhu").create()
    created["gender"] = "female"
    created.update()
    assert "gender" not in client.execute(f"Patient/{created.id}/_history/1", "get")
    history = client.execute(f"Patient/{created.id}/_history", "get")
    assert [entry.resource.meta.versionId for entry in history.entry] == ["2", "1"]


def test_updates_with_if_match_and_is_refused_a_stale_one(client: SyncFHIRClient) -> None:
    created = patient(client, "Amsel").create()
    body = created.serialize() | {"gender": "male"}
    first = with_header(client, "If-Match", 'W/"1"')
    assert first.execute(f"Patient/{created.id}", "put", body).meta.versionId == "2"
    with pytest.raises(MultipleResourcesFound) as refusal:
        first.execute(f"Patient/{created.id}", "put", body)
    assert outcome_of(refusal.value)["issue"][0]["code"] == "conflict"


def test_creates_conditionally(client: SyncFHIRClient) -> None:
    careful = with_header(client, "If-None-Exist", f"identifier={SYSTEM}|star")
    first, second = (careful.execute("Patient", "post", patient(client, "Star").serialize()) for _ in range(2))
    assert first.id == second.id


def test_updates_and_deletes_conditionally(client: SyncFHIRClient) -> None:
    wanted = client.resources("Patient").search(identifier=f"{SYSTEM}|elster")
    first, created = wanted.update(patient(client, "Elster"))
    assert created
    again, created = wanted.update(patient(client, "Elster", gender="other"))
    assert (again.id, again.gender, created) == (first.id, "other", False)
    _, status = wanted.delete()
    assert status in (200, 204)
    assert wanted.first() is None


def test_its_merge_patch_is_refused_plainly(client: SyncFHIRClient) -> None:
    created = patient(client, "Specht").create()
    with pytest.raises(OperationOutcome) as refusal:
        created.patch(gender="female")
    assert "application/json-patch+json" in outcome_of(refusal.value)["issue"][0]["diagnostics"]


def test_patches_with_a_fhirpath_patch(client: SyncFHIRClient) -> None:
    created = patient(client, "Kauz", gender="female").create()
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.gender"},
        {"name": "value", "valueCode": "other"},
    ]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    sender = with_header(client, "Content-Type", "application/fhir+json")
    assert sender.execute(f"Patient/{created.id}", "patch", patch).gender == "other"


def test_searches_through_all_pages(client: SyncFHIRClient) -> None:
    families = ["Fink", "Meise", "Zeisig", "Gimpel", "Pirol"]
    for family in families:
        patient(client, family, active=False).create()
    found = client.resources("Patient").search(identifier=f"{SYSTEM}|", active=False).sort("-family").limit(2)
    assert [one.name[0].family for one in found] == sorted(families, reverse=True)
    assert found.count() == 5
    assert found.first().name[0].family == "Zeisig"


def test_searches_by_its_operators(client: SyncFHIRClient) -> None:
    everyone = client.resources("Patient").search(_lastUpdated__ge=datetime(2020, 1, 1, tzinfo=UTC))
    assert everyone.count() > 0
    assert client.resources("Patient").search(family__exact="Ash", given__contains="nn").count() == 2
    assert client.resources("Patient").search(family__exact="ash").first() is None


def test_includes_and_asks_for_elements(client: SyncFHIRClient) -> None:
    roles = client.resources("PractitionerRole").search(_id="smith-main")
    bundle = roles.include("PractitionerRole", "practitioner").revinclude("Schedule", "actor").fetch_raw()
    assert {(entry.resource.resourceType, entry.search.mode) for entry in bundle.entry} == {
        ("PractitionerRole", "match"),
        ("Practitioner", "include"),
        ("Schedule", "include"),
    }
    (ann,) = client.resources("Patient").search(_id="ann").elements("active").fetch()
    assert ann.active
    assert "name" not in ann


def test_finds_what_has_a_referrer(client: SyncFHIRClient) -> None:
    found = client.resources("Practitioner").has("PractitionerRole", "practitioner", organization="riverside").fetch()
    assert [one.id for one in found] == ["smith"]


def test_sends_a_transaction(client: SyncFHIRClient) -> None:
    name = "urn:uuid:6d0f9a3e-0000-4000-8000-000000000001"
    member = patient(client, "Mandel", managingOrganization={"reference": name}).serialize()
    entries = [
        {"resource": member, "request": {"method": "POST", "url": "Patient"}},
        {
            "fullUrl": name,
            "resource": {"resourceType": "Organization", "name": "Voliere"},
            "request": {"method": "POST", "url": "Organization"},
        },
    ]
    answer = client.execute("", "post", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert [entry.response.status[:3] for entry in answer.entry] == ["201", "201"]
    found = client.resources("Patient").search(identifier=f"{SYSTEM}|mandel").get()
    assert found.managingOrganization.reference in answer.entry[1].response.location


def test_sends_a_batch(client: SyncFHIRClient) -> None:
    urls = ("Patient/ann", "Patient/nobody-at-all")
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    answer = client.execute("", "post", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert [entry.response.status[:3] for entry in answer.entry] == ["200", "404"]
    assert answer.entry[0].resource.id == "ann"


def test_finds_books_and_cancels(client: SyncFHIRClient) -> None:
    start = datetime.now(UTC) + timedelta(days=1)
    window = {"start": start.isoformat(), "end": (start + timedelta(days=14)).isoformat()}
    free = client.execute("Schedule/$find-slots", "get", params=window)
    parameter = [
        {"name": "slot", "valueReference": {"reference": f"Slot/{free.entry[0].resource.id}"}},
        {"name": "patient", "valueReference": {"reference": "Patient/bob"}},
    ]
    asked = {"resourceType": "Parameters", "parameter": parameter}
    booked = client.execute("Appointment/$book", "post", asked)
    assert booked.status == "booked"
    with pytest.raises(OperationOutcome):
        client.execute("Appointment/$book", "post", asked)
    reason = {"name": "cancelationReason", "valueCodeableConcept": REASON}
    appointment = client.resource("Appointment", **booked)
    cancelled = appointment.execute("$cancel", "post", {"resourceType": "Parameters", "parameter": [reason]})
    assert cancelled.status == "cancelled"


def test_validates(client: SyncFHIRClient) -> None:
    assert patient(client, "Good").is_valid()
    assert not patient(client, "Bird", gender="bird").is_valid()


def test_asks_for_everything(client: SyncFHIRClient) -> None:
    found = client.execute("Patient/ann/$everything", "get")
    assert "Patient" in {entry.resource.resourceType for entry in found.entry}
