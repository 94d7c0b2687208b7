"""Token and reference parameters."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.outcome import FhirError
from tests.search.rows import BASE, ask, document, finds

CODED = {"type": [{"coding": [{"system": "urn:s", "code": "A"}, {"code": "b"}]}, {"text": "only a text"}]}
KNOWN = {"identifier": [{"system": "urn:mrn", "value": "Ab,1|2"}, {"value": "x"}]}
TALKS = {"telecom": [{"system": "email", "value": "Ana@Example.org"}, {"system": "phone", "value": "+1 55"}]}


@pytest.mark.parametrize(
    ("query", "resource", "found"),
    [
        ("type=A", CODED, True),
        ("type=a", CODED, False),
        ("type=urn:s|A", CODED, True),
        ("type=urn:s|b", CODED, False),
        ("type=urn:s|", CODED, True),
        ("type=urn:other|", CODED, False),
        ("type=|b", CODED, True),
        ("type=|A", CODED, False),
        ("type=x,A", CODED, True),
        ("type=x,y", CODED, False),
        ("type=A&type=b", CODED, True),
        ("type=A&type=c", CODED, False),
        ("type:not=c", CODED, True),
        ("type:not=A", CODED, False),
        ("type:not=c,b", CODED, False),
        ("type:not=A", {}, True),
        ("type:not=A&type:not=c", {}, True),
        ("type:missing=true", {}, True),
        ("type:missing=true", CODED, False),
        ("type:missing=false", CODED, True),
        ("type:missing=true", {"type": [{"extension": [{"url": "urn:x", "valueString": "y"}]}]}, True),
        (r"identifier=urn:mrn|Ab\,1\|2", KNOWN, True),
        (r"identifier=Ab\,1\|2", KNOWN, True),
        ("identifier=Ab", KNOWN, False),
        ("identifier=|x", KNOWN, True),
        ("status=booked", {"status": "booked"}, True),
        ("status=Booked", {"status": "booked"}, False),
        ("active=true", {"active": True}, True),
        ("active=TRUE", {"active": True}, True),
        ("active=false", {"active": True}, False),
        ("active=true", {}, False),
        ("telecom=ana@example.org", TALKS, True),
        ("telecom=ANA@example.org", TALKS, True),
        ("email=ANA@example.org", TALKS, True),
        ("email=%2B1 55", TALKS, False),
        ("telecom=%2B1 55", TALKS, True),
        ("deceased=false", {}, True),
        ("deceased=true", {"deceasedDateTime": "2015-02-07"}, True),
        ("_id=1", {}, True),
        ("_id=2,1", {}, True),
        ("_id=|1", {}, True),
        ("_id=urn:s|1", {}, False),
        ("_id:not=1", {}, False),
        ("_tag=urn:t|demo", {"meta": {"tag": [{"system": "urn:t", "code": "demo"}]}}, True),
    ],
)
def test_a_token_finds(query: str, resource: dict[str, Any], found: bool) -> None:
    assert finds(query, resource) is found


SEEN = {
    "participant": [
        {"actor": {"reference": "Patient/p1"}},
        {"actor": {"reference": "Practitioner/d1/_history/3"}},
    ]
}
LOGICAL = {"about": {"identifier": {"system": "urn:mrn", "value": "7"}}}


@pytest.mark.parametrize(
    ("query", "resource", "found"),
    [
        ("actor=Patient/p1", SEEN, True),
        ("actor=p1", SEEN, True),
        ("actor=d1", SEEN, True),
        ("actor=Patient/d1", SEEN, False),
        ("actor:Practitioner=d1", SEEN, True),
        ("actor:Practitioner=Practitioner/d1", SEEN, True),
        ("actor:Patient=d1", SEEN, False),
        ("actor=Practitioner/d1/_history/9", SEEN, True),
        (f"actor={BASE}/Patient/p1", SEEN, True),
        ("actor=https://else.example/Patient/p1", SEEN, False),
        ("actor=Patient/p1&actor=Practitioner/d1", SEEN, True),
        ("actor=Patient/p2,Practitioner/d1", SEEN, True),
        ("patient=p1", SEEN, True),
        ("patient=d1", SEEN, False),
        ("about=Patient/1", {"about": {"reference": f"{BASE}/Patient/1"}}, True),
        ("about=1", {"about": {"reference": "https://else.example/Patient/1"}}, False),
        (
            "about=https://else.example/Patient/1",
            {"about": {"reference": "https://else.example/Patient/1"}},
            True,
        ),
        ("about=urn:uuid:1", {"about": {"reference": "urn:uuid:1"}}, True),
        ("about:missing=true", {"about": {"reference": "#contained"}}, False),
        ("about:missing=false", {"about": {"display": "Somebody"}}, True),
        ("about:missing=true", {}, True),
        ("about:identifier=urn:mrn|7", LOGICAL, True),
        ("about:identifier=7", LOGICAL, True),
        ("about:identifier=urn:other|7", LOGICAL, False),
        ("about=7", LOGICAL, False),
    ],
)
def test_a_reference_finds(query: str, resource: dict[str, Any], found: bool) -> None:
    assert finds(query, resource) is found


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("type=|", "value"),
        ("type=a|b|c", "value"),
        ("type:exact=a", "not-supported"),
        ("type:missing=maybe", "value"),
        ("actor=Patient/", "value"),
        ("actor=a b", "value"),
        ("actor:Location=1", "not-supported"),
        ("actor:Patient=Practitioner/1", "value"),
        ("actor:above=1", "not-supported"),
    ],
)
def test_a_bad_token_or_reference_is_refused(query: str, code: str) -> None:
    with pytest.raises(FhirError) as refused:
        ask(query)
    assert (refused.value.status, refused.value.issues[0].code) == (400, code)


def test_a_reference_is_kept_relative_and_without_version() -> None:
    kept = document({"about": {"reference": f"{BASE}/Patient/1/_history/2"}})
    assert kept["index"]["about"] == ["Patient/1", "*/1"]


def test_one_value_is_an_equality_that_an_index_answers() -> None:
    assert ask("status=booked&actor=Patient/1").filter == {
        "index.status": "*|booked",
        "index.actor": "Patient/1",
    }
