"""The server through fhirclient, the Python client of SMART Health IT, and its models,
which refuse what R4 does not have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models import (
    appointment,
    bundle,
    capabilitystatement,
    operationoutcome,
    organization,
    parameters,
    patient,
    practitionerrole,
    schedule,
)
from fhirclient.server import FHIRNotFoundException, FHIRServer
from requests import HTTPError

from tests.clinic import REASON, Json

SYSTEM = "https://clients.example/smart"


@pytest.fixture(scope="module")
def server(base: str) -> Iterator[FHIRServer]:
    client = FHIRClient(settings={"app_id": "tests", "api_base": base})
    yield client.server
    client.server.session.close()


def made(family: str, **more: Any) -> Any:
    """A Patient of the client's models."""
    name = [{"family": family}]
    return patient.Patient({"identifier": [{"system": SYSTEM, "value": family.lower()}], "name": name, **more})


def create(server: FHIRServer, resource: Any) -> Any:
    return type(resource)(resource.create(server))


def refused(status: int, error: HTTPError) -> operationoutcome.OperationOutcome:
    assert error.response.status_code == status
    return operationoutcome.OperationOutcome(error.response.json())


def test_the_capability_statement_fits_its_model(server: FHIRServer) -> None:
    statement = server.capabilityStatement
    assert isinstance(statement, capabilitystatement.CapabilityStatement)
    assert {"Schedule", "Slot", "Appointment", "Encounter"} <= {one.type for one in statement.rest[0].resource}


def test_creates_reads_and_deletes(server: FHIRServer) -> None:
    created = create(server, made("Vogel"))
    found = patient.Patient.read(created.id, server)
    assert found.as_json() == created.as_json()
    found.delete()
    with pytest.raises(HTTPError) as refusal:
        patient.Patient.read(created.id, server)
    assert refused(410, refusal.value).issue[0].code == "deleted"
    with pytest.raises(FHIRNotFoundException):
        patient.Patient.read("never-was", server)


def test_updates_and_reads_versions(server: FHIRServer) -> None:
    created = create(server, made("Amsel"))
    created.gender = "female"
    assert patient.Patient(created.update(server)).meta.versionId == "2"
    first = patient.Patient.read_from(f"Patient/{created.id}/_history/1", server)
    assert first.gender is None
    history = bundle.Bundle.read_from(f"Patient/{created.id}/_history", server)
    assert [entry.resource.meta.versionId for entry in history.entry] == ["2", "1"]


def test_updates_with_if_match_and_is_refused_a_stale_one(server: FHIRServer) -> None:
    created = create(server, made("Star"))
    server.session.headers["If-Match"] = 'W/"1"'
    try:
        created.update(server)
        with pytest.raises(HTTPError) as refusal:
            created.update(server)
    finally:
        del server.session.headers["If-Match"]
    refused(412, refusal.value)


def test_creates_conditionally(server: FHIRServer) -> None:
    server.session.headers["If-None-Exist"] = f"identifier={SYSTEM}|elster"
    try:
        first, second = (create(server, made("Elster")) for _ in range(2))
    finally:
        del server.session.headers["If-None-Exist"]
    assert first.id == second.id


def test_what_is_not_valid_is_refused_with_an_outcome(server: FHIRServer) -> None:
    with pytest.raises(HTTPError) as refusal:
        made("Bird", gender="bird").create(server)
    assert refused(422, refusal.value).issue[0].expression == ["Patient.gender"]


def test_searches_through_all_pages(server: FHIRServer) -> None:
    for family in ("Fink", "Meise", "Zeisig", "Gimpel", "Pirol"):
        create(server, made(family, active=False))
    search = patient.Patient.where({"identifier": f"{SYSTEM}|", "active": "false", "_count": "2", "_sort": "family"})
    pages = list(search.perform_iter(server))
    assert [len(page.entry) for page in pages] == [2, 2, 1]
    assert pages[0].total == 5
    families = [found.name[0].family for found in search.perform_resources_iter(server)]
    assert families == ["Fink", "Gimpel", "Meise", "Pirol", "Zeisig"]


def test_searches_by_its_constructs(server: FHIRServer) -> None:
    search = patient.Patient.where({"family": {"$exact": "Ash"}, "given": {"$or": ["ann", "ida"]}, "_count": "9"})
    assert sorted(one.id for one in search.perform_resources_iter(server)) == ["ann", "bob"]
    chained = practitionerrole.PractitionerRole.where({"practitioner": {"family": "smith"}})
    assert [one.id for one in chained.perform_resources_iter(server)] == ["smith-main"]


def test_includes_and_includes_in_reverse(server: FHIRServer) -> None:
    roles = practitionerrole.PractitionerRole
    search = roles.where({"_id": "smith-main"}).include("practitioner")
    assert modes(next(search.perform_iter(server))) == {("PractitionerRole", "match"), ("Practitioner", "include")}
    search = organization.Organization.where({"_id": "riverside"}).include("organization", roles, reverse=True)
    assert modes(next(search.perform_iter(server))) == {("Organization", "match"), ("PractitionerRole", "include")}


def modes(found: bundle.Bundle) -> set[tuple[str, str]]:
    return {(entry.resource.resource_type, entry.search.mode) for entry in found.entry}


def test_asks_for_a_summary(server: FHIRServer) -> None:
    (found,) = patient.Patient.where({"_id": "ann", "_summary": "true"}).perform_resources_iter(server)
    assert found.meta.tag[0].code == "SUBSETTED"
    count = next(schedule.Schedule.where({"_id": "smith-main", "_summary": "count"}).perform_iter(server))
    assert (count.total, count.entry) == (1, None)


def test_sends_a_transaction_and_a_batch(server: FHIRServer) -> None:
    name = "urn:uuid:6d0f9a3e-0000-4000-8000-000000000002"
    entries = [
        entry_of(made("Mandel", managingOrganization={"reference": name}), "Patient"),
        entry_of(organization.Organization({"name": "Voliere"}), "Organization") | {"fullUrl": name},
    ]
    answer = create(server, bundle.Bundle({"type": "transaction", "entry": entries}))
    assert [entry.response.status[:3] for entry in answer.entry] == ["201", "201"]
    (member,) = patient.Patient.where({"identifier": f"{SYSTEM}|mandel"}).perform_resources_iter(server)
    assert member.managingOrganization.reference in answer.entry[1].response.location
    reads = [{"request": {"method": "GET", "url": url}} for url in ("Patient/ann", "Patient/nobody-at-all")]
    answer = create(server, bundle.Bundle({"type": "batch", "entry": reads}))
    assert [entry.response.status[:3] for entry in answer.entry] == ["200", "404"]
    assert answer.entry[1].response.outcome.issue[0].code == "not-found"


def entry_of(resource: Any, type: str) -> Json:
    return {"resource": resource.as_json(), "request": {"method": "POST", "url": type}}


def test_finds_books_and_cancels(server: FHIRServer) -> None:
    start = datetime.now(UTC) + timedelta(days=1)
    window = f"start={start:%Y-%m-%dT%H:%M:%SZ}&end={start + timedelta(days=14):%Y-%m-%dT%H:%M:%SZ}"
    free = bundle.Bundle.read_from(f"Schedule/$find-slots?{window}", server)
    asked = arguments(
        {"name": "slot", "valueReference": {"reference": f"Slot/{free.entry[0].resource.id}"}},
        {"name": "patient", "valueReference": {"reference": "Patient/ann"}},
    )
    booked = appointment.Appointment(server.post_json("Appointment/$book", asked).json())
    assert booked.status == "booked"
    with pytest.raises(HTTPError) as refusal:
        server.post_json("Appointment/$book", asked)
    refused(409, refusal.value)
    reason = arguments({"name": "cancelationReason", "valueCodeableConcept": REASON})
    cancelled = server.post_json(f"Appointment/{booked.id}/$cancel", reason).json()
    assert appointment.Appointment(cancelled).status == "cancelled"


def arguments(*parameter: Json) -> Json:
    found: Json = parameters.Parameters({"parameter": list(parameter)}).as_json()
    return found


def test_validates(server: FHIRServer) -> None:
    asked = arguments({"name": "resource", "resource": made("Bird", gender="bird").as_json()})
    outcome = operationoutcome.OperationOutcome(server.post_json("Patient/$validate", asked).json())
    assert "Patient.gender" in {place for issue in outcome.issue for place in issue.expression or ()}


def test_asks_for_everything(server: FHIRServer) -> None:
    found = bundle.Bundle.read_from("Patient/ann/$everything", server)
    assert "Patient" in {entry.resource.resource_type for entry in found.entry}
