"""Every modifier with every kind of parameter, and what a parameter of R4 is refused for."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.outcome import FhirError
from tests.search.rows import ask, document, finds

TYPED = {
    "identifier": [
        {
            "type": {
                "coding": [{"system": "http://v2", "code": "MR", "display": "Mister"}],
                "text": "Medical Record Number",
            },
            "system": "urn:mrn",
            "value": "44|6",
        },
        {"value": "9"},
    ]
}
SHOWN = {
    "type": [
        {"coding": [{"system": "urn:s", "code": "A", "display": "Check-Up"}], "text": "Yearly visit"},
        {"coding": [{"code": "B", "display": "Vaccination"}]},
    ]
}
CANONICAL = {"url": "http://acme.example/fhir/ValueSet/123"}


@pytest.mark.parametrize(
    ("query", "resource", "found"),
    [
        ("type:text=check up", SHOWN, True),
        ("type:text=yearly", SHOWN, True),
        ("type:text=VACC", SHOWN, True),
        ("type:text=nothing,vacc", SHOWN, True),
        ("type:text=visit", SHOWN, False),
        ("type:text=A", SHOWN, False),
        ("identifier:text=medical", TYPED, True),
        ("identifier:text=44", TYPED, False),
        ("identifier:text=mister", TYPED, False),
        ("status:text=booked", {"status": "booked"}, False),
        ("type=text yearly visit", SHOWN, False),
        (r"identifier:of-type=http://v2|MR|44\|6", TYPED, True),
        (r"identifier:of-type=x|y|z,http://v2|MR|44\|6", TYPED, True),
        ("identifier:of-type=http://v2|MR|9", TYPED, False),
        (r"identifier:of-type=http://v2|XX|44\|6", TYPED, False),
        ("url:above=http://acme.example/fhir/ValueSet/123/_history/5", CANONICAL, True),
        ("url:above=http://acme.example/fhir/ValueSet/123", CANONICAL, True),
        ("url:above=http://acme.example/fhir/ValueSet/1234", CANONICAL, False),
        ("url:above=http://acme.example/fhir", CANONICAL, False),
        ("url:below=http://acme.example/fhir", CANONICAL, True),
        ("url:below=http://acme.example/fhir/ValueSet/123/_history/5", CANONICAL, False),
        ("start:missing=true", {}, True),
        ("start:missing=true", {"start": "2026-01-15T09:00:00Z"}, False),
        ("date:missing=false", {"period": {"start": "2026"}}, True),
        ("location-period:missing=false", {"location": [{"period": {"start": "2026"}}]}, True),
        ("probability:missing=true", {"probability": 1}, False),
        ("length:missing=false", {"length": {"value": 1}}, True),
        ("name:missing=false", {"alias": ["a"]}, True),
        ("phonetic:missing=false", {"name": "Smith"}, True),
        ("near:missing=true", {"position": {"latitude": 1}}, True),
        ("near:missing=false", {"position": {"latitude": 1, "longitude": 2}}, True),
        ("url:missing=false", CANONICAL, True),
        ("actor:missing=true", {}, True),
        ("_id:missing=false", {}, True),
        ("_tag:missing=true", {}, True),
        ("phonetic=Smyth", {"name": "Smith"}, True),
        ("phonetic=smyth,jones", {"name": "Jon Smith"}, True),
        ("phonetic=john smyth", {"name": "Jon Smith"}, True),
        ("phonetic=ann smyth", {"name": "Jon Smith"}, False),
        ("phonetic=Carreno", {"name": "Carreño"}, True),
        ("phonetic=2", {"name": "Ward 2"}, True),
        ("phonetic=3", {"name": "Ward 2"}, False),
    ],
)
def test_a_modifier_finds(query: str, resource: dict[str, Any], found: bool) -> None:
    assert finds(query, resource) is found


KINDS = {
    "type": ("token", {"missing", "not", "text", "of-type"}),
    "actor": ("reference", {"missing", "identifier"}),
    "start": ("date", {"missing"}),
    "name": ("string", {"missing", "exact", "contains"}),
    "probability": ("number", {"missing"}),
    "length": ("quantity", {"missing"}),
    "url": ("uri", {"missing", "below", "above"}),
    "phonetic": ("phonetic", {"missing"}),
    "near": ("near", {"missing"}),
    "actor-part-status": ("composite", set()),
    "_id": ("token", {"missing", "not"}),
}
MODIFIERS = (
    "missing", "exact", "contains", "text", "not", "in", "not-in", "above", "below", "identifier", "of-type",
    "iterate", "Exact", "x",
)  # fmt: skip


@pytest.mark.parametrize(
    ("code", "modifier"),
    [(code, modifier) for code, (_, works) in KINDS.items() for modifier in MODIFIERS if modifier not in works],
)
def test_a_modifier_that_a_kind_does_not_have_is_refused(code: str, modifier: str) -> None:
    with pytest.raises(FhirError) as refused:
        ask([(f"{code}:{modifier}", "1")])
    assert (refused.value.status, refused.value.issues[0].code) == (400, "not-supported")


@pytest.mark.parametrize("modifier", ["in", "not-in", "above", "below"])
def test_a_modifier_that_needs_a_terminology_says_so(modifier: str) -> None:
    with pytest.raises(FhirError) as refused:
        ask([(f"type:{modifier}", "http://hl7.org/fhir/ValueSet/x")])
    assert "neither value sets" in refused.value.issues[0].text


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("identifier:of-type=a|b", "value"),
        ("identifier:of-type=a|b|", "value"),
        ("type:of-type=a|b|c", "not-supported"),
        ("type:text=...", "value"),
        ("phonetic=...", "value"),
        ("near=1", "value"),
        ("near=1|2|3|parsecs", "value"),
        ("near=1|2|3|km|more", "value"),
        ("near=91|2", "value"),
        ("near=1|181", "value"),
        ("near=1|2|-3", "value"),
        ("near=north|2", "value"),
        ("near=ge1|2", "value"),
        ("near:missing=perhaps", "value"),
        ("actor-part-status=Patient/1", "value"),
        ("actor-part-status=Patient/1$", "value"),
        ("actor-part-status=Patient/1$accepted$more", "value"),
        ("actor-part-status=Patient/ 1$accepted", "value"),
    ],
)
def test_a_bad_value_is_refused(query: str, code: str) -> None:
    with pytest.raises(FhirError) as refused:
        ask([tuple(query.split("=", 1))])  # type: ignore[list-item]
    assert (refused.value.status, refused.value.issues[0].code) == (400, code)


BOTH = {
    "participant": [
        {"actor": {"reference": "Patient/ann"}, "status": "accepted"},
        {"actor": {"reference": "Practitioner/smith"}, "status": "declined"},
    ]
}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Practitioner/smith$declined", True),
        ("smith$declined", True),
        ("Practitioner/smith$accepted", False),
        ("Patient/ann$declined", False),
        ("Patient/ann$accepted", True),
        ("Patient/ann$declined,Practitioner/smith$declined", True),
        ("Patient/ann$declined,Practitioner/smith$accepted", False),
        (r"urn:a\$b$accepted", False),
    ],
)
def test_the_components_of_a_composite_hold_of_the_same_element(value: str, found: bool) -> None:
    assert finds([("actor-part-status", value)], BOTH) is found
    assert finds([("actor", "smith"), ("part-status", "accepted")], BOTH)


QUARTER = {"value": 15, "unit": "minutes", "system": "http://unitsofmeasure.org", "code": "min"}
LONG = {"value": 5, "comparator": ">", "system": "http://unitsofmeasure.org", "code": "h"}
SHORT = {"value": 5, "comparator": "<=", "unit": "mg"}


@pytest.mark.parametrize(
    ("value", "length", "found"),
    [
        ("15|http://unitsofmeasure.org|min", QUARTER, True),
        ("900|http://unitsofmeasure.org|s", QUARTER, True),
        ("901|http://unitsofmeasure.org|s", QUARTER, False),
        ("0.25|http://unitsofmeasure.org|h", QUARTER, True),
        ("900000|http://unitsofmeasure.org|ms", QUARTER, True),
        ("lt1|http://unitsofmeasure.org|d", QUARTER, True),
        ("gt1|http://unitsofmeasure.org|wk", QUARTER, False),
        ("ne15|http://unitsofmeasure.org|min", QUARTER, False),
        ("ne15|http://unitsofmeasure.org|h", QUARTER, True),
        ("900", QUARTER, False),
        ("15", QUARTER, True),
        ("15||min", QUARTER, True),
        ("900||s", QUARTER, False),
        ("15|urn:other|min", QUARTER, False),
        ("1|http://unitsofmeasure.org|mo", {**QUARTER, "value": 30.4375, "code": "d"}, True),
        ("1.00|http://unitsofmeasure.org|a", {**QUARTER, "value": 365.25, "code": "d"}, True),
        ("gt5|http://unitsofmeasure.org|h", LONG, True),
        ("gt100|http://unitsofmeasure.org|h", LONG, True),
        ("gt300|http://unitsofmeasure.org|min", LONG, True),
        ("sa5|http://unitsofmeasure.org|h", LONG, True),
        ("sa6|http://unitsofmeasure.org|h", LONG, False),
        ("5|http://unitsofmeasure.org|h", LONG, False),
        ("6|http://unitsofmeasure.org|h", LONG, False),
        ("ne5|http://unitsofmeasure.org|h", LONG, True),
        ("lt5|http://unitsofmeasure.org|h", LONG, False),
        ("le5|http://unitsofmeasure.org|h", LONG, False),
        ("lt6|http://unitsofmeasure.org|h", LONG, True),
        ("ap10|http://unitsofmeasure.org|h", LONG, True),
        ("le5||mg", SHORT, True),
        ("ge5||mg", SHORT, True),
        ("gt5||mg", SHORT, False),
        ("lt1||mg", SHORT, True),
        ("eb6||mg", SHORT, True),
        ("eb5||mg", SHORT, False),
        ("5||mg", SHORT, False),
    ],
)
def test_a_quantity_is_compared_with_its_unit_and_comparator(value: str, length: dict[str, Any], found: bool) -> None:
    assert finds([("length", value)], {"length": length}) is found


def test_times_are_sorted_by_how_long_they_are() -> None:
    hour = document({"length": {**QUARTER, "value": 1, "code": "h"}})
    assert hour["order"]["length"]["min"] > document({"length": QUARTER})["order"]["length"]["min"]
