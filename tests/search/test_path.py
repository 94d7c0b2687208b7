"""The subset of FHIRPath of search expressions."""

from __future__ import annotations

import pytest

from fhir_server.search import check
from fhir_server.search.path import compile_path
from tests.search.rows import ANY

LINKED = [
    {"reference": "Patient/2"},
    {"reference": "https://else.example/fhir/RelatedPerson/3/_history/1"},
    {"type": "Patient", "identifier": {"value": "x"}},
    {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
]

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"family": "Carreno", "given": ["Ana", "Luz"]}, {"given": ["Nena"]}],
    "telecom": [
        {"system": "phone", "value": "1"},
        {"system": "email", "value": "a@b.example"},
        {"value": "2"},
    ],
    "alias": ["A"],
    "link": [{"other": other} for other in LINKED],
}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("Resource.id", ["p1"]),
        ("Patient.name.given", ["Ana", "Luz", "Nena"]),
        ("Patient.name.family | Patient.alias", ["Carreno", "A"]),
        ("Patient.telecom.where(system='email')", [{"system": "email", "value": "a@b.example"}]),
        ("Patient.telecom.where(system = 'fax')", []),
        ("Patient.link.other.where(resolve() is Patient)", [LINKED[0], LINKED[2]]),
        ("Patient.link.other.where(resolve() is RelatedPerson)", [LINKED[1]]),
        ("Patient.name.exists()", [True]),
        ("Patient.photo.exists()", [False]),
        ("Patient.photo != false", []),
        ("Patient.photo.title", []),
    ],
)  # fmt: skip
def test_an_expression_selects_its_values(expression: str, values: list[object]) -> None:
    assert compile_path(expression)(PATIENT) == values


@pytest.mark.parametrize("expression", ["(Patient.deceased as dateTime)", "Patient.deceased.as(dateTime)"])
def test_a_choice_of_types_is_narrowed_to_one(expression: str) -> None:
    select = compile_path(expression)
    assert select({"deceasedDateTime": "2015-02-07"}) == ["2015-02-07"]
    assert select({"deceasedBoolean": True}) == []


@pytest.mark.parametrize(
    ("resource", "deceased"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2015-02-07"}, True),
    ],
)
def test_deceased_is_whatever_exists_and_is_not_false(resource: dict[str, object], deceased: bool) -> None:
    evaluate = compile_path("Patient.deceased.exists() and Patient.deceased != false")
    assert evaluate(resource) == [deceased]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "name",
        "Patient.",
        "Patient.name[0]",
        "Patient.name.first()",
        "Patient.name.where(use='official' and family='x')",
        "Patient.link.other.where(resolve() is Patient",
        "Patient.name or Patient.alias",
        "Patient.value > 3",
        "Patient.name Patient.alias",
        "Patient.deceased != 5",
    ],
)
def test_what_is_outside_the_subset_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="Search expression"):
        compile_path(expression)


def test_every_supported_parameter_of_a_row_is_checked() -> None:
    check(ANY)
