"""What is published is what works: /metadata, the definitions, the committed files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fhir.resources.R4B import get_fhir_model_class

from fhir_server import conformance
from fhir_server.document import print as print_json
from fhir_server.interactions import INTERACTIONS
from fhir_server.operations import OPERATIONS
from fhir_server.resources import ROWS
from fhir_server.scheduling import lifecycle
from fhir_server.scheduling.problems import PROBLEM_TEXTS
from tests.clinic import BUILDERS
from tests.outcomes import assert_outcome

ROOT = Path(__file__).parents[1]


def test_the_committed_definitions_are_those_of_the_rows() -> None:
    folder = ROOT / "conformance" / "definitions"
    committed = {path.name: json.loads(path.read_bytes()) for path in folder.glob("*.json")}
    assert committed == {name: json.loads(print_json(one)) for name, one in conformance.definitions().items()}


@pytest.mark.parametrize("name", list(conformance.definitions()))
def test_every_definition_is_a_valid_resource(name: str) -> None:
    resource = conformance.definitions()[name]
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def test_every_type_has_a_builder() -> None:
    assert set(BUILDERS) == set(ROWS)


def test_every_problem_code_in_the_source_is_published_and_used() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "fhir_server").rglob("*.py") if path.name != "problems.py")
    unused = {code for code in PROBLEM_TEXTS if f'"{code}"' not in source and code.rpartition("-")[2] not in _SUFFIXES}
    assert not unused
    used = set(re.findall(r'problem="([a-z-]+)"', source)) | set(
        re.findall(r'_problem\([^)]*?"([a-z]+-[a-z-]+)"\)', source)
    )
    assert used - {"not-found", "business-rule"} <= set(PROBLEM_TEXTS)


_SUFFIXES = {"unknown", "inactive"}


async def test_metadata_claims_what_is_routed(client: httpx.AsyncClient) -> None:
    response = await client.get("/metadata")
    statement = response.json()
    assert statement["fhirVersion"] == "4.0.1"
    resources = {one["type"]: one for one in statement["rest"][0]["resource"]}
    assert set(resources) == {*ROWS, *conformance.TYPES}
    codes = {interaction.code for interaction in INTERACTIONS}
    assert all({one["code"] for one in resources[type]["interaction"]} == codes for type in ROWS)
    claimed = {(type, one["name"]) for type in resources for one in resources[type].get("operation", ())}
    assert claimed == {(type, operation.code) for operation in OPERATIONS for type in operation.resource}


@pytest.mark.parametrize("type", list(ROWS))
async def test_every_search_parameter_that_is_claimed_works(client: httpx.AsyncClient, type: str) -> None:
    statement = (await client.get("/metadata")).json()
    resource = next(one for one in statement["rest"][0]["resource"] if one["type"] == type)
    values = {"date": "2026-03-02", "quantity": "5", "number": "5"}
    for parameter in resource["searchParam"]:
        query = {parameter["name"]: values.get(parameter["type"], "x"), "_sort": parameter["name"]}
        response = await client.get(f"/{type}", params=query, headers={"Prefer": "handling=strict"})
        assert response.status_code == 200, (parameter, response.text)
        assert parameter["name"] in response.json()["link"][0]["url"]


@pytest.mark.parametrize("type", conformance.TYPES)
async def test_the_definitions_are_read_and_found_at_their_urls(client: httpx.AsyncClient, type: str) -> None:
    bundle = (await client.get(f"/{type}")).json()
    assert bundle["total"] == len(bundle["entry"]) > 0
    for entry in bundle["entry"]:
        resource = entry["resource"]
        assert (await client.get(f"/{type}/{resource['id']}")).json() == resource
        found = (await client.get(f"/{type}", params={"url": resource["url"]})).json()
        assert [one["resource"]["id"] for one in found["entry"]] == [resource["id"]]
    assert_outcome(await client.get(f"/{type}/none"), 404, "not-found")
    assert_outcome(await client.post(f"/{type}", json={"resourceType": type}), 405, "not-supported")


def _translated(body: dict[str, Any]) -> list[tuple[str, str]]:
    parts = [{part["name"]: part for part in one["part"]} for one in body["parameter"] if one["name"] == "match"]
    return [(one["concept"]["valueCoding"]["code"], one["equivalence"]["valueCode"]) for one in parts]


@pytest.mark.parametrize("word", lifecycle.WORDS, ids=lambda word: word.code)
async def test_each_word_of_the_products_translates_to_a_status_and_back(
    client: httpx.AsyncClient, word: lifecycle.Word
) -> None:
    forth = (await client.get("/ConceptMap/appointment-word-to-status/$translate", params={"code": word.code})).json()
    assert _translated(forth) == [(word.status, "equivalent" if word.exact else "wider")]
    back = (await client.get("/ConceptMap/appointment-status-to-word/$translate", params={"code": word.status})).json()
    assert word.code in {code for code, _ in _translated(back)}


async def test_translate_takes_a_coding_in_parameters(client: httpx.AsyncClient) -> None:
    coding = {"system": "http://hl7.org/fhir/appointmentstatus", "code": "noshow"}
    body = {"resourceType": "Parameters", "parameter": [{"name": "coding", "valueCoding": coding}]}
    assert _translated((await client.post("/ConceptMap/$translate", json=body)).json()) == [("no-show", "equivalent")]
    unknown = (await client.get("/ConceptMap/$translate", params={"code": "banana"})).json()
    assert unknown["parameter"][0] == {"name": "result", "valueBoolean": False}
    assert_outcome(await client.get("/ConceptMap/none/$translate", params={"code": "x"}), 404, "not-found")


def test_every_status_of_every_machine_is_a_code_of_r4() -> None:
    for type, table in lifecycle.TABLES.items():
        codes = set(get_fhir_model_class(type).model_fields["status"].json_schema_extra["enum_values"])
        assert {*table} == codes if type != "Encounter" else codes >= {"+"} or {*table} == codes
        assert all(set(moves) <= set(table) for moves in table.values())
