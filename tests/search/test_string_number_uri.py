"""String, number, quantity and URI parameters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.outcome import FhirError
from fhir_server.search.string import fold
from tests.search.rows import ask, finds

ANA = {
    "name": [{"family": "Carreño Quiñones", "given": ["Ana"], "use": "official"}],
    "alias": ["The  Main Clinic"],
}
ONEIL = {"name": [{"family": "O'Neil"}]}
LONG = {"length": {"value": 90, "unit": "minutes", "system": "http://unitsofmeasure.org", "code": "min"}}


@pytest.mark.parametrize(
    ("query", "resource", "found"),
    [
        ("name=carreno", ANA, True),
        ("name=CARREÑO qui", ANA, True),
        ("name=Quinones", ANA, True),
        ("family=quiñ", ANA, True),
        ("name=ana", ANA, True),
        ("name=official", ANA, False),
        ("name=ones", ANA, False),
        ("name:contains=ones", ANA, True),
        ("name:contains=c.*o", ANA, False),
        ("name:exact=Carreño Quiñones", ANA, True),
        ("name:exact=Carreno Quinones", ANA, False),
        ("name:exact=Ana", ANA, True),
        ("name:exact=An", ANA, False),
        ("name=the main", ANA, True),
        ("name=oneil", ONEIL, True),
        ("name=O’Neil", ONEIL, True),
        ("name=x,o'n", ONEIL, True),
        ("name=b", {"alias": ["Adam", "Zoe"]}, False),
        ("name=main", {"alias": ["The Main Clinic"]}, False),
        ("address-city=st john", {"address": [{"city": "St. John's"}]}, True),
        ("address-city=saint", {"address": [{"city": "St. John's"}]}, False),
        ("name:missing=true", {}, True),
        (r"name=a\,b", {"alias": ["a, b"]}, True),
        ("probability=100", {"probability": 99.5}, True),
        ("probability=100", {"probability": 100.5}, False),
        ("probability=1e2", {"probability": 149}, True),
        ("probability=0.80", {"probability": 0.8}, True),
        ("probability=0.80", {"probability": 0.81}, False),
        ("probability=gt0.8", {"probability": 0.8}, False),
        ("probability=ge0.8", {"probability": 0.8}, True),
        ("probability=lt0.81", {"probability": 0.8}, True),
        ("probability=le0.7", {"probability": 0.8}, False),
        ("probability=ne0.8", {"probability": 0.9}, True),
        ("probability=ne0.8", {}, False),
        ("probability=ap100", {"probability": 109}, True),
        ("probability=ap100", {"probability": 111}, False),
        ("probability=sa1,eb1", {"probability": 1}, False),
        ("probability=-5", {"probability": -5}, True),
        ("length=90", LONG, True),
        ("length=gt60|http://unitsofmeasure.org|min", LONG, True),
        ("length=gt60|http://unitsofmeasure.org|h", LONG, False),
        ("length=90||min", LONG, True),
        ("length=90||minutes", LONG, True),
        ("length=90||hours", LONG, False),
        ("length=ne90||min", LONG, False),
        ("length=ne80||min", LONG, True),
        ("length:missing=true", {"length": {"unit": "minutes"}}, True),
        ("url=http://a.example/x", {"url": "http://a.example/x"}, True),
        ("url=http://a.example/X", {"url": "http://a.example/x"}, False),
        ("url:below=http://a.example/", {"url": "http://a.example/x"}, True),
        ("url:below=http://b.example/", {"url": "http://a.example/x"}, False),
        ("_profile=http://a.example/p", {"meta": {"profile": ["http://a.example/p|1.0"]}}, True),
        ("_profile=http://a.example/p|1.0", {"meta": {"profile": ["http://a.example/p|1.0"]}}, True),
        ("_source=urn:x", {"meta": {"source": "urn:x"}}, True),
    ],
)
def test_a_value_finds(query: str, resource: dict[str, Any], found: bool) -> None:
    assert finds(query, resource) is found


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("name=...", "value"),
        ("name:contains=" + "a" * 101, "too-costly"),
        ("name:text=a", "not-supported"),
        ("probability=lots", "value"),
        ("probability=1e999", "value"),
        ("probability=NaN", "value"),
        ("length=5|mg", "value"),
        ("length=5|a|b|c", "value"),
    ],
)
def test_a_bad_value_is_refused(query: str, code: str) -> None:
    with pytest.raises(FhirError) as refused:
        ask(query)
    assert (refused.value.status, refused.value.issues[0].code) == (400, code)


texts = st.text(max_size=12)


@given(texts)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(texts, st.text("ab.*+?()[]{}^$|\\# -é", min_size=1, max_size=8))
def test_contains_means_a_part_of_the_folded_text(text: str, part: str) -> None:
    if fold(part):
        found = finds([("name:contains", part.replace("\\", "\\\\").replace(",", "\\,"))], {"alias": [text, part]})
        assert found
        alone = finds([("name:contains", part.replace("\\", "\\\\"))], {"alias": [text]})
        assert alone is (fold(part) in fold(text))


@given(texts, texts)
def test_starting_with_means_a_start_of_the_folded_text(text: str, start: str) -> None:
    if fold(start) and start.strip(", "):
        escaped = start.replace("\\", "\\\\").replace(",", "\\,")
        assert finds([("name", escaped)], {"alias": [text]}) is fold(text).startswith(fold(start))
