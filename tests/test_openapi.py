"""The OpenAPI document: of the same rows as the routes, valid, and true of what the server answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema_rs
import pytest
import schemathesis
from openapi_spec_validator import validate

from fhir_server import conformance, openapi, routing
from fhir_server.outcome import Json
from fhir_server.resources import ROWS
from fhir_server.settings import Settings
from tests.clinic import BUILDERS

ROOT = Path(__file__).parents[1]
FUZZ_SECONDS_MAX = 120
DOCUMENT = openapi.document(Settings.model_construct())
METHODS = {(method.upper(), path) for path, said in DOCUMENT["paths"].items() for method in said}


def routed() -> Iterator[tuple[str, str]]:
    for route in routing.ROUTES:
        for type in sorted(routing.STORED) if "{type}" in route.path else ("",):
            yield route.method, f"/{route.path.replace('{type}', type)}"


def test_every_route_is_in_the_document_and_nothing_else_is() -> None:
    assert set(routed()) == METHODS


def test_the_document_is_valid_and_a_generic_tool_loads_all_of_it() -> None:
    validate(DOCUMENT)
    found = list(schemathesis.openapi.from_dict(DOCUMENT).get_all_operations())
    assert len([one.ok() for one in found]) == len(METHODS)


def test_every_operation_has_an_id_of_its_own_and_a_tag_that_is_listed() -> None:
    said = [one for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in said}) == len(said)
    assert {tag for one in said for tag in one["tags"]} == {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag["name"] for tag in DOCUMENT["tags"]} >= {*ROWS, *conformance.TYPES}


async def test_it_is_served_beside_the_base_and_named_on_the_page(reader: httpx.AsyncClient) -> None:
    served = await reader.get("http://127.0.0.1:8000/openapi.json")
    assert served.headers["content-type"] == "application/json"
    assert served.json() == json.loads(json.dumps(DOCUMENT))
    assert 'href="/openapi.json"' in (await reader.get("/", headers={"accept": "text/html"})).text


async def test_it_is_sent_like_an_answer_of_the_api(reader: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://app.example", "Accept-Encoding": "gzip"}
    url = "http://127.0.0.1:8000/openapi.json"
    served = await reader.get(url, headers=asked)
    assert served.headers["access-control-allow-origin"] == "*"
    assert served.headers["content-encoding"] == "gzip"
    assert served.headers["x-content-type-options"] == "nosniff"
    again = await reader.get(url, headers={**asked, "If-None-Match": served.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["access-control-allow-origin"] == "*"
    plain = await reader.get(url, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == served.json()


def test_what_writes_says_its_version_and_where_it_is() -> None:
    def headers(method: str, path: str, status: str) -> set[str]:
        return set(DOCUMENT["paths"][path][method]["responses"][status].get("headers", ()))

    assert headers("post", "/Patient", "201") == {"ETag", "Last-Modified", "Location"}
    assert headers("put", "/Patient/{id}", "200") == {"ETag", "Last-Modified"}
    assert headers("get", "/Patient/{id}", "200") == {"ETag", "Last-Modified"}
    assert headers("get", "/ValueSet/{id}", "200") == set()


def _claiming(header: str) -> list[tuple[str, str]]:
    """The methods and paths of Patient of which the document says that they heed a header."""
    reference = {"$ref": f"#/components/parameters/{header}"}
    return [
        (method, path)
        for path, said in DOCUMENT["paths"].items()
        for method, one in said.items()
        if path.startswith("/Patient") and reference in one["parameters"]
    ]


def _body(method: str, path: str, value: str) -> Json:
    if method == "patch":
        content = json.dumps([{"op": "add", "path": "/language", "value": value}])
        return {"content": content, "headers": {"content-type": "application/json-patch+json"}}
    if "$" in path:
        meta = {"name": "meta", "valueMeta": {"tag": [{"code": value}]}}
        return {"json": {"resourceType": "Parameters", "parameter": [meta]}}
    id = {"id": "ann"} if "{id}" in path else {}
    return {"json": {"resourceType": "Patient", **id, "language": value}} if method in ("put", "post") else {}


async def _sent(
    client: httpx.AsyncClient, method: str, path: str, value: str, header: dict[str, str]
) -> httpx.Response:
    body = _body(method, path, value)
    body["headers"] = {**body.get("headers", {}), **header}
    query = {} if "{id}" in path or method == "post" else {"params": {"_id": "ann"}}
    return await client.request(method, path.replace("{id}", "ann"), **body, **query)


async def test_whatever_claims_if_match_refuses_another_version(clinic: httpx.AsyncClient) -> None:
    claiming = _claiming("If-Match")
    assert {("put", "/Patient/{id}"), ("post", "/Patient/{id}/$meta-add")} <= set(claiming)
    for method, path in claiming:
        refused = await _sent(clinic, method, path, "en", {"If-Match": 'W/"99"'})
        assert refused.status_code == 412, (method, path, refused.text)


async def test_whatever_claims_an_idempotency_key_refuses_it_with_another_body(clinic: httpx.AsyncClient) -> None:
    claiming = _claiming("Idempotency-Key")
    assert ("post", "/Patient") in claiming
    for method, path in claiming:
        key = {"Idempotency-Key": f"{method}-{path}"}
        assert (await _sent(clinic, method, path, "en", key)).is_success, (method, path)
        refused = await _sent(clinic, method, path, "de", key)
        assert refused.status_code == 422, (method, path, refused.text)


@pytest.mark.parametrize("type", BUILDERS)
async def test_the_schema_of_a_type_accepts_its_resources_and_nothing_else(
    clinic: httpx.AsyncClient, type: str
) -> None:
    (await clinic.put(f"/{type}/one", json=BUILDERS[type]("one"))).raise_for_status()
    resource: Json = (await clinic.get(f"/{type}/one")).json()
    schemas = {"components": DOCUMENT["components"], "$ref": f"#/components/schemas/{type}"}
    validator = jsonschema_rs.Draft202012Validator(schemas)
    assert validator.is_valid(resource)
    assert not validator.is_valid({**resource, "banana": 1})
    assert not validator.is_valid({**resource, "resourceType": "Banana"})


def test_fuzzing_finds_no_answer_that_the_document_does_not_name() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--requests", "150", "--processes", "1", "--seed", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=FUZZ_SECONDS_MAX, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^150 requests with seed 1: 0 failures; .*200: ", ran.stdout, re.MULTILINE)
