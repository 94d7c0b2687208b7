"""Search in compartments: what belongs to a patient, a practitioner, a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server import compartments
from fhir_server.resources import ROWS
from fhir_server.search import parameters
from tests.clinic import (
    appointment,
    appointment_response,
    encounter,
    patient,
    practitioner,
    role,
    schedule,
    slot,
)
from tests.interactions.test_search_results import ask, links, names, walk, warnings
from tests.operations.test_find_slots import put
from tests.outcomes import assert_outcome
from tests.served import BASE

R4: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "r4-compartments.json").read_text())


def test_the_compartments_are_those_of_r4_for_the_types_that_are_served() -> None:
    assert {
        compartment: {type: tuple(codes) for type, codes in r4["resource"].items() if type in ROWS}
        for compartment, r4 in R4.items()
    } == compartments.COMPARTMENTS
    assert {one: compartments.definition(one) for one in R4} == {one: r4["url"] for one, r4 in R4.items()}


def test_every_compartment_is_made_of_reference_parameters_to_it() -> None:
    for compartment, members in compartments.COMPARTMENTS.items():
        for type, codes in members.items():
            known = {one.code: one for one in parameters(ROWS[type])}
            for code in codes:
                assert code == compartments.ITSELF or compartment in (known[code].target or [compartment])


@pytest.fixture
async def practice(client: httpx.AsyncClient) -> httpx.AsyncClient:
    def visit(id: str, *actors: str) -> dict[str, Any]:
        return {**appointment(status="proposed", actors=actors), "id": id}

    await put(
        client,
        practitioner("smith"),
        patient("ann", generalPractitioner=[{"reference": "Practitioner/smith"}]),
        patient("bob", link=[{"other": {"reference": "Patient/ann"}, "type": "seealso"}]),
        role("smith-main"),
        schedule("hers", actor=[{"reference": "Practitioner/smith"}]),
        schedule("room", actor=[{"reference": "Device/scanner"}]),
        slot("free", schedule={"reference": "Schedule/hers"}),
        visit("one", "Patient/ann", "Practitioner/smith"),
        visit("two", "Patient/ann", "Device/scanner"),
        visit("three", "Patient/bob", "RelatedPerson/mum"),
        encounter("visit", subject={"reference": "Patient/ann"}),
        encounter("ward", participant=[{"individual": {"reference": "Practitioner/smith"}}]),
        appointment_response("answer", appointment={"reference": "Appointment/one"}),
    )
    return client


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Patient/ann/Appointment", ["Appointment/one", "Appointment/two"]),
        ("Patient/ann/Appointment?practitioner=smith", ["Appointment/one"]),
        ("Patient/ann/Appointment?status=booked", []),
        ("Patient/ann/Appointment?_id=three", []),
        ("Patient/ann/Encounter", ["Encounter/visit"]),
        ("Patient/ann/Patient", ["Patient/bob"]),
        ("Patient/ann/Schedule", []),
        (
            "Patient/ann/*",
            ["Appointment/one", "Appointment/two", "Encounter/visit", "Patient/bob"],
        ),
        ("Patient/ann/*?_type=Encounter,Schedule", ["Encounter/visit"]),
        ("Patient/ann/*?_type=Patient&_id=ann", []),
        ("Patient/nobody/Appointment", []),
        ("Practitioner/smith/Appointment", ["Appointment/one"]),
        ("Practitioner/smith/AppointmentResponse", ["AppointmentResponse/answer"]),
        ("Practitioner/smith/Encounter", ["Encounter/ward"]),
        ("Practitioner/smith/Patient", ["Patient/ann"]),
        ("Practitioner/smith/Practitioner", ["Practitioner/smith"]),
        ("Practitioner/smith/PractitionerRole", ["PractitionerRole/smith-main"]),
        ("Practitioner/smith/Schedule", ["Schedule/hers"]),
        ("Device/scanner/Appointment", ["Appointment/two"]),
        ("Device/scanner/*", ["Appointment/two", "Schedule/room"]),
        ("RelatedPerson/mum/Appointment", ["Appointment/three"]),
        ("Encounter/visit/Encounter", ["Encounter/visit"]),
        ("Encounter/visit/*", ["Encounter/visit"]),
    ],
)
async def test_what_is_in_a_compartment_is_found(practice: httpx.AsyncClient, path: str, found: list[str]) -> None:
    bundle = await ask(practice, f"/{path}")
    assert sorted(names(bundle)) == found
    assert bundle["total"] == len(found)
    assert links(bundle)["self"].startswith(f"{BASE}{path.partition('?')[0]}?")
    posted, _, query = path.partition("?")
    data = dict(pair.split("=") for pair in query.split("&")) if query else {}
    assert (await practice.post(f"/{posted}/_search", data=data)).json() == bundle


async def test_a_compartment_is_paged_through_with_what_it_includes(practice: httpx.AsyncClient) -> None:
    forward, backward = await walk(practice, "/Patient/ann/*?_count=1&_sort=-_id")
    assert [name for page in forward for name in page] == [
        "Encounter/visit",
        "Appointment/two",
        "Appointment/one",
        "Patient/bob",
    ]
    assert backward == forward
    bundle = await ask(practice, "/Device/scanner/Appointment?_include=Appointment:patient")
    assert names(bundle, "include") == ["Patient/ann"]


async def test_a_cursor_belongs_to_its_compartment(practice: httpx.AsyncClient) -> None:
    cursor = httpx.URL(links(await ask(practice, "/Patient/ann/Appointment?_count=1"))["next"]).params["_cursor"]
    for path in ("Patient/bob/Appointment", "Appointment", "Patient/ann/*"):
        assert_outcome(await practice.get(f"/{path}?_count=1&_cursor={cursor}"), 400, "value")


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("Practitioner/smith/Slot", "PractitionerRole"),
        ("Patient/ann/Location", "Encounter"),
        ("Encounter/visit/Appointment", "Encounter"),
        ("Patient/ann/Observation", "Patient/ann/Observation"),
        ("Location/main/Appointment", "these types have one: Device, Encounter, Patient, Practitioner, RelatedPerson"),
        ("Location/main/*", "Location has no compartment"),
        ("Location/main/Observation", "Location/main/Observation"),
        ("Patient/ann/Appointment/one", "Patient/ann/Appointment/one"),
    ],
)
async def test_what_is_in_no_such_compartment_is_not_there(practice: httpx.AsyncClient, path: str, named: str) -> None:
    issue = assert_outcome(await practice.get(f"/{path}"), 404, "not-found")
    assert named in issue["diagnostics"]


async def test_a_type_that_is_not_in_the_compartment_cannot_be_chosen(practice: httpx.AsyncClient) -> None:
    assert_outcome(await practice.get("/Patient/ann/*?_type=Slot"), 400, "not-supported")
    bundle = await ask(practice, "/Patient/ann/Appointment?_type=Encounter")
    assert bundle["total"] == 2
    assert "_type" in warnings(bundle)[0]
