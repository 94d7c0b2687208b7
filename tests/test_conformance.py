"""What is published is what works: /metadata, the definitions, the committed files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fhir.resources.R4B import get_fhir_model_class

from fhir_server import conformance, validation
from fhir_server.compartments import COMPARTMENTS
from fhir_server.definitions import ResourceDefinition
from fhir_server.document import print as print_json
from fhir_server.operations import OPERATIONS
from fhir_server.outcome import CANONICAL, Json
from fhir_server.resources import ROWS
from fhir_server.scheduling import lifecycle
from fhir_server.scheduling.problems import PROBLEM_TEXTS
from fhir_server.settings import Settings
from tests import hl7
from tests.clinic import BUILDERS
from tests.outcomes import assert_outcome

ROOT = Path(__file__).parents[1]

DEFAULT = Settings.model_construct()
STATEMENT = conformance.capability_statement(DEFAULT)
REST = STATEMENT["rest"][0]
CLAIMED: dict[str, Json] = {one["type"]: one for one in REST["resource"]}
LIBRARY = conformance.library(DEFAULT)

every_stored_type = pytest.mark.parametrize("type", list(ROWS))
every_read_only_type = pytest.mark.parametrize("type", conformance.TYPES)

STRICT = {"Prefer": "handling=strict"}


def published() -> Iterator[Json]:
    for row in LIBRARY.values():
        assert row.contents
        yield from row.contents()
    yield conformance.terminology_capabilities(DEFAULT)


def test_the_committed_definitions_are_those_of_the_rows() -> None:
    folder = ROOT / "conformance" / "definitions"
    committed = {path.name: json.loads(path.read_bytes()) for path in folder.glob("*.json")}
    assert committed == {name: json.loads(print_json(one)) for name, one in conformance.definitions().items()}


@pytest.mark.parametrize(
    "resource", [pytest.param(one, id=f"{one['resourceType']}-{one['id']}") for one in published()]
)
def test_every_definition_is_a_valid_resource(resource: Json) -> None:
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    assert not validation.check(ResourceDefinition(resource["resourceType"], "", ()), resource)


def test_every_definition_has_an_id_and_a_url_of_its_own() -> None:
    for row in LIBRARY.values():
        assert row.contents
        contents = row.contents()
        for element in ("id", "url"):
            assert len({one[element] for one in contents}) == len(contents), (row.type, element)
        assert all(re.fullmatch(r"[A-Za-z0-9.-]{1,64}", one["id"]) for one in contents)


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


async def test_metadata_is_the_statement_of_this_installation(reader: httpx.AsyncClient) -> None:
    statement = (await reader.get("/metadata")).json()
    assert statement["fhirVersion"] == "4.0.1"
    assert {one["type"] for one in statement["rest"][0]["resource"]} == {*ROWS, *conformance.TYPES}
    published = (await reader.get("/CapabilityStatement/scheduling-server")).json()
    assert {name: value for name, value in published.items() if name != "meta"} == statement
    assert (await reader.get("/metadata", params={"mode": "normative"})).json() == statement
    for format in statement["format"]:
        assert (await reader.get("/metadata", params={"_format": format})).status_code == 200


async def test_metadata_tells_what_terminology_there_is(reader: httpx.AsyncClient) -> None:
    told = (await reader.get("/metadata", params={"mode": "terminology"})).json()
    assert told["resourceType"] == "TerminologyCapabilities"
    systems = [one["resource"] async for one in _all(reader, "/CodeSystem")]
    assert [one["uri"] for one in told["codeSystem"]] == sorted(one["url"] for one in systems)
    assert_outcome(await reader.get("/metadata", params={"mode": "banana"}), 400, "not-supported")


async def _all(reader: httpx.AsyncClient, url: str, **query: str) -> Any:
    """The entries of all the pages of a search."""
    page = (await reader.get(url, params=query)).json()
    while True:
        for entry in page.get("entry", ()):
            yield entry
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            return
        page = (await reader.get(following[0])).json()


async def test_the_statement_follows_the_settings(client_with: Any) -> None:
    client = await client_with(create_by_put=False, conditional_delete_max=1, cors_origins="none")
    rest = (await client.get("/metadata")).json()["rest"][0]
    stored = [one for one in rest["resource"] if one["type"] in ROWS]
    assert {one["updateCreate"] for one in stored} == {False}
    assert {one["conditionalDelete"] for one in stored} == {"single"}
    assert rest["security"]["cors"] is False
    assert {CLAIMED[type]["updateCreate"] for type in ROWS} == {True}
    assert {CLAIMED[type]["conditionalDelete"] for type in ROWS} == {"multiple"}
    assert REST["security"]["cors"] is True


# interactions


INTERACTIONS: dict[str, tuple[str, str, set[int]]] = {
    "read": ("GET", "/{type}/{id}", {200}),
    "vread": ("GET", "/{type}/{id}/_history/1", {200}),
    "update": ("PUT", "/{type}/{id}", {200, 201}),
    "patch": ("PATCH", "/{type}/{id}", {200}),
    "history-instance": ("GET", "/{type}/{id}/_history", {200}),
    "history-type": ("GET", "/{type}/_history", {200}),
    "create": ("POST", "/{type}", {201}),
    "search-type": ("GET", "/{type}", {200}),
    "delete": ("DELETE", "/{type}/{id}", {200, 204}),
}
"""How each interaction of R4 on a type is asked for, in an order in which it can be, and what says that it was done."""


@every_stored_type
async def test_every_interaction_that_is_claimed_works(clinic: httpx.AsyncClient, type: str) -> None:
    assert {one["code"] for one in CLAIMED[type]["interaction"]} == set(INTERACTIONS)
    resource = BUILDERS[type]("claimed")
    (await clinic.put(f"/{type}/claimed", json=resource)).raise_for_status()
    for code, (method, path, done) in INTERACTIONS.items():
        response = await clinic.request(method, path.format(type=type, id="claimed"), **_body(code, resource))
        assert response.status_code in done, (code, response.text)


def _body(code: str, resource: Json) -> dict[str, Any]:
    if code == "patch":
        patch = [{"op": "add", "path": "/language", "value": "en"}]
        return {"json": patch, "headers": {"content-type": "application/json-patch+json"}}
    if code == "create":
        return {"json": {name: value for name, value in resource.items() if name != "id"}}
    return {"json": resource} if code == "update" else {}


@every_read_only_type
async def test_what_is_not_claimed_of_a_read_only_type_is_refused(reader: httpx.AsyncClient, type: str) -> None:
    contents = LIBRARY[type].contents
    assert contents
    id = contents()[0]["id"]
    claimed = {one["code"] for one in CLAIMED[type]["interaction"]}
    assert claimed == {"read", "search-type"}
    for code, (method, path, done) in INTERACTIONS.items():
        response = await reader.request(method, path.format(type=type, id=id), **_body(code, contents()[0]))
        if code in claimed:
            assert response.status_code in done
        elif path.endswith("{id}") or path == "/{type}":
            assert_outcome(response, 405, "not-supported")
            assert "GET" in response.headers["allow"]
        else:
            assert_outcome(response, 404, "not-found")


@every_stored_type
async def test_every_condition_that_is_claimed_works(clinic: httpx.AsyncClient, type: str) -> None:
    claimed = CLAIMED[type]
    assert claimed["conditionalCreate"] is claimed["conditionalUpdate"] is claimed["readHistory"] is True
    none = {"_id": "nobody"}
    resource = {name: value for name, value in BUILDERS[type]("claimed").items() if name != "id"}
    headers = {"If-None-Exist": "_id=nobody"}
    assert (await clinic.post(f"/{type}", json=resource, headers=headers)).status_code == 201
    assert (await clinic.put(f"/{type}", params=none, json=resource)).status_code == 201
    assert (await clinic.delete(f"/{type}", params=none)).status_code in (200, 204)
    read = await clinic.put(f"/{type}/claimed", json={**resource, "id": "claimed"})
    known = {"If-None-Match": read.headers["etag"]}
    assert claimed["conditionalRead"] == "full-support"
    assert (await clinic.get(f"/{type}/claimed", headers=known)).status_code == 304


async def test_every_interaction_with_the_whole_system_that_is_claimed_works(clinic: httpx.AsyncClient) -> None:
    codes = [one["code"] for one in REST["interaction"]]
    assert codes == ["transaction", "batch", "search-system", "history-system"]
    for code in codes[:2]:
        bundle = {"resourceType": "Bundle", "type": code, "entry": [{"request": {"method": "GET", "url": "Patient"}}]}
        assert (await clinic.post("/", json=bundle)).json()["type"] == f"{code}-response"
    assert (await clinic.get("/", params={"_type": "Patient"})).json()["type"] == "searchset"
    assert (await clinic.get("/_history")).json()["type"] == "history"


async def test_every_compartment_that_is_claimed_is_searched(clinic: httpx.AsyncClient) -> None:
    types = {url.rpartition("/")[2].lower() for url in REST["compartment"]}
    assert types == {type.lower() for type in COMPARTMENTS}
    for type in COMPARTMENTS:
        assert (await clinic.get(f"/{type}/ann/*")).status_code == 200
    assert_outcome(await clinic.get("/Location/main/*"), 404, "not-found")


# search


VALUES = {
    "date": "2026-03-02",
    "quantity": "5",
    "number": "5",
    "near": "47.1|8.2",
    "composite": "x$2026-03-02",
    "context-type-quantity": "x$5",
}
"""Values for parameters that do not take any text, by code or by type."""


@pytest.mark.parametrize("type", list(CLAIMED))
async def test_every_search_parameter_that_is_claimed_works(reader: httpx.AsyncClient, type: str) -> None:
    for parameter in CLAIMED[type]["searchParam"]:
        name = parameter["name"]
        query = {name: VALUES.get(name, VALUES.get(parameter["type"], "x"))}
        if parameter["type"] not in ("special", "composite"):
            query["_sort"] = name
        response = await reader.get(f"/{type}", params=query, headers=STRICT)
        assert response.status_code == 200, (parameter, response.text)
        assert f"{name}=" in response.json()["link"][0]["url"]
    assert_outcome(await reader.get(f"/{type}", params={"banana": "x"}, headers=STRICT), 400, "not-supported")


FINDS: dict[str, dict[str, str]] = {
    "CapabilityStatement": {
        "format": "application/fhir+xml", "mode": "server", "name": "SchedulingServer", "resource": "Slot",
        "software": "fhir", "title": "fhir", "url:below": f"{CANONICAL}/CapabilityStatement",
    },
    "CodeSystem": {
        "code": "postal", "content-mode": "complete", "description": "the", "name": "AddressUse", "title": "AddressUse",
        "identifier": "urn:ietf:rfc:3986|", "system": "http://hl7.org/fhir/slotstatus",
        "url": "http://hl7.org/fhir/slotstatus",
    },
    "ConceptMap": {
        "name": "AppointmentWordToStatus", "source-code": "noshow", "target-code": "noshow", "title": "Appointment",
        "source-system": "http://hl7.org/fhir/appointmentstatus",
        "url": f"{CANONICAL}/ConceptMap/appointment-word-to-status",
        "target-system": "http://hl7.org/fhir/appointmentstatus",
    },
    "OperationDefinition": {
        "code": "book", "description": "books", "instance": "true", "kind": "operation", "name": "Book",
        "system": "true", "title": "Book", "type": "true", "url": f"{CANONICAL}/OperationDefinition/appointment-book",
    },
    "SearchParameter": {
        "base": "Slot", "code": "schedule", "description": "any", "name": "actor", "target": "Schedule",
        "type": "reference", "url": "http://hl7.org/fhir/SearchParameter/Slot-schedule",
    },
    "StructureDefinition": {
        "abstract": "false", "derivation": "constraint", "description": "a", "ext-context": "element", "name": "Price",
        "kind": "complex-type", "title": "a", "type": "Extension", "url": f"{CANONICAL}/StructureDefinition/price",
    },
    "ValueSet": {
        "code": "de-CH", "description": "the", "identifier": "urn:ietf:rfc:3986|", "name": "AddressUse",
        "reference": "http://hl7.org/fhir/slotstatus", "title": "AddressUse",
        "url": "http://hl7.org/fhir/ValueSet/slotstatus",
    },
}  # fmt: skip
"""What finds a definition, by type and search parameter."""

FINDS_ANY = {
    "_lastUpdated": "ge2000",
    "date": "ge2000",
    "publisher": "fhir,hl7",
    "status": "active",
    "version": "4.0.1,0.1.0",
}
"""What finds one of every type."""

IN_NONE = {("CapabilityStatement", "description"), ("ConceptMap", "description"), ("ConceptMap", "identifier")}
META = {"_profile", "_security", "_source", "_tag"}
"""What no definition of the type, or of any, has a value for."""


@every_read_only_type
async def test_a_definition_has_the_version_and_the_time_that_it_is_found_by(
    reader: httpx.AsyncClient, type: str
) -> None:
    contents = LIBRARY[type].contents
    assert contents
    url = f"/{type}/{contents()[0]['id']}"
    read = await reader.get(url)
    meta = read.json()["meta"]
    assert read.headers["etag"] == f'W/"{meta["versionId"]}"'
    found = await reader.get(f"/{type}", params={"_id": contents()[0]["id"], "_lastUpdated": meta["lastUpdated"]})
    assert [entry["resource"]["meta"] for entry in found.json()["entry"]] == [meta]
    for header, name in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
        assert (await reader.get(url, headers={header: read.headers[name]})).status_code == 304


@every_read_only_type
async def test_every_search_parameter_of_a_read_only_type_finds_what_has_a_value(
    reader: httpx.AsyncClient, type: str
) -> None:
    contents = LIBRARY[type].contents
    assert contents
    asked = {"_id": contents()[0]["id"], **FINDS_ANY, **FINDS[type]}
    empty = META | {code for of, code in IN_NONE if of == type}
    claimed = {one["name"] for one in CLAIMED[type]["searchParam"]}
    assert {code.partition(":")[0] for code in asked} | empty == claimed
    for code, value in asked.items():
        found = (await reader.get(f"/{type}", params={code: value}, headers=STRICT)).json()
        assert found.get("total"), (code, found)
    for code in empty:
        there = await reader.get(f"/{type}", params={f"{code}:missing": "false"}, headers=STRICT)
        assert there.json()["total"] == 0, f"{code} has a value now: say it in FINDS"


async def test_every_search_parameter_of_the_whole_system_that_is_claimed_works(reader: httpx.AsyncClient) -> None:
    for parameter in REST["searchParam"]:
        query = {"_type": "Patient,Slot", parameter["name"]: VALUES.get(parameter["type"], "x")}
        assert (await reader.get("/", params=query, headers=STRICT)).status_code == 200, parameter


@every_stored_type
async def test_every_include_that_is_claimed_works(reader: httpx.AsyncClient, type: str) -> None:
    claimed = CLAIMED[type]
    for name, key in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
        for value in claimed.get(key, ()):
            response = await reader.get(f"/{type}", params={name: value}, headers=STRICT)
            assert response.status_code == 200, (value, response.text)
        for value in (f"{type}:banana", "Observation:subject"):
            assert_outcome(await reader.get(f"/{type}", params={name: value}, headers=STRICT), 400, "not-supported")


@pytest.mark.parametrize("type", list(CLAIMED))
async def test_the_search_parameters_of_a_type_are_found_by_it(reader: httpx.AsyncClient, type: str) -> None:
    found = [one["resource"] async for one in _all(reader, "/SearchParameter", base=f"{type},Resource")]
    listed = {(one["code"], one["url"], one["type"]) for one in found}
    claimed = {(one["name"], one["definition"], one["type"]) for one in CLAIMED[type]["searchParam"]}
    assert listed == claimed


def test_a_parameter_that_r4_defines_for_several_types_has_one_definition() -> None:
    contents = LIBRARY["SearchParameter"].contents
    assert contents
    by_url = {one["url"]: one for one in contents()}
    birthdate = by_url["http://hl7.org/fhir/SearchParameter/individual-email"]
    assert birthdate["base"] == ["Patient", "Practitioner", "PractitionerRole"]
    assert birthdate["expression"].count(" | ") == 2
    ours = by_url[f"{CANONICAL}/SearchParameter/Slot-end"]
    assert (ours["base"], ours["comparator"][0], ours["modifier"]) == (["Slot"], "eq", ["missing"])
    assert "type" in by_url["http://hl7.org/fhir/SearchParameter/Slot-schedule"]["modifier"]


@hl7.needed
def test_the_search_parameters_of_r4_are_those_of_r4() -> None:
    entries = json.loads((hl7.FOLDER / "search-parameters.json").read_bytes())["entry"]
    official = {entry["resource"]["url"]: entry["resource"] for entry in entries}
    contents = LIBRARY["SearchParameter"].contents
    assert contents
    for ours in contents():
        if not ours["url"].startswith(CANONICAL):
            theirs = official[ours["url"]]
            assert all(ours[element] == theirs[element] for element in ("id", "code", "type")), ours["url"]
            assert set(ours["base"]) <= set(theirs["base"]), ours["url"]
            assert set(ours.get("target", ())) <= set(theirs.get("target", ())), ours["url"]
            assert all(path in theirs["expression"] for path in ours["expression"].split(" | ")), ours["url"]


# definitions


@every_read_only_type
async def test_the_definitions_are_read_and_found_at_their_urls(reader: httpx.AsyncClient, type: str) -> None:
    found = [entry["resource"] async for entry in _all(reader, f"/{type}")]
    contents = LIBRARY[type].contents
    assert contents
    assert {one["id"] for one in found} == {one["id"] for one in contents()}
    for resource in found:
        assert (await reader.get(f"/{type}/{resource['id']}")).json() == resource
        by_url = (await reader.get(f"/{type}", params={"url": resource["url"]})).json()
        assert [one["resource"]["id"] for one in by_url["entry"]] == [resource["id"]]
    assert_outcome(await reader.get(f"/{type}/none"), 404, "not-found")
    assert_outcome(await reader.post(f"/{type}", json={"resourceType": type}), 405, "not-supported")


async def test_definitions_are_searched_by_what_they_say(reader: httpx.AsyncClient) -> None:
    async def found(of: str, **query: str) -> set[str]:
        return {entry["resource"]["id"] async for entry in _all(reader, f"/{of}", **query)}

    assert await found("CodeSystem", code="arrived") >= {"appointmentstatus", "appointment-word"}
    assert await found("CodeSystem", system="http://hl7.org/fhir/slotstatus") == {"slotstatus"}
    assert await found("CodeSystem", **{"title:contains": "status words"}) == {"appointment-word"}
    assert await found("ValueSet", reference="http://hl7.org/fhir/slotstatus") == {"slotstatus"}
    assert await found("ValueSet", code="de-CH") == {"languages"}
    assert "appointment-book" in await found("OperationDefinition", code="book", kind="operation")
    assert await found("ConceptMap", **{"target-system": "http://hl7.org/fhir/appointmentstatus"}) == {
        "appointment-word-to-status"
    }
    assert await found("StructureDefinition", type="http://hl7.org/fhir/Extension") == set()
    assert "price" in await found("StructureDefinition", type="Extension", derivation="constraint")
    assert await found("CapabilityStatement", resource="Slot", mode="server") == {"scheduling-server"}
    assert await found("SearchParameter", base="Slot", target="Schedule") == {"Slot-schedule"}


async def test_every_url_of_ours_in_the_statement_leads_to_its_definition(reader: httpx.AsyncClient) -> None:
    urls = set(re.findall(rf'"({re.escape(CANONICAL)}/[^"]+)"', json.dumps(STATEMENT)))
    assert len(urls) > len(OPERATIONS) / 2
    for url in urls:
        type = url.removeprefix(f"{CANONICAL}/").partition("/")[0]
        found = (await reader.get(f"/{type}", params={"url": url})).json()
        assert [entry["resource"]["url"] for entry in found["entry"]] == [url]


# operations


def _claimed_operations() -> Iterator[tuple[str | None, str, Json]]:
    contents = LIBRARY["OperationDefinition"].contents
    assert contents
    definitions = {one["url"]: one for one in contents()}
    for place in (REST, *CLAIMED.values()):
        for one in place.get("operation", ()):
            yield place.get("type"), one["name"], definitions[one["definition"]]


def test_the_operations_that_are_claimed_are_those_of_the_rows() -> None:
    claimed = {(type, code) for type, code, _ in _claimed_operations()}
    rows = {(type, one.code) for one in OPERATIONS for type in one.resource}
    everywhere = {code for type, code in rows if type == "Resource"}
    expected = {(type, code) for type, code in rows if type != "Resource"}
    expected |= {(type, code) for type in ROWS for code in everywhere}
    expected |= {(None, one.code) for one in OPERATIONS if "system" in one.levels}
    assert claimed == expected


async def test_every_operation_that_is_claimed_is_there_and_no_other_is(reader: httpx.AsyncClient) -> None:
    for type, code, definition in _claimed_operations():
        assert (definition["code"], definition["kind"]) == (code, "operation")
        for level, path in (("system", ""), ("type", f"/{type}"), ("instance", f"/{type}/any")):
            if (type is None) != (level == "system"):
                continue
            options = await reader.options(f"{path}/${code}")
            if definition[level]:
                methods = {"POST"} if definition["affectsState"] else {"GET", "HEAD", "POST"}
                assert set(options.headers["allow"].split(", ")) == {*methods, "OPTIONS"}, (path, code)
            else:
                assert options.status_code == 404, (path, code)
    for path in ("", "/Patient", "/Patient/any", "/ValueSet", "/ValueSet/any"):
        assert_outcome(await reader.post(f"{path}/$banana"), 404, "not-found")


def test_what_r4_defines_is_named_as_the_base_of_our_definition() -> None:
    definitions = {definition["id"]: definition for _, _, definition in _claimed_operations()}
    assert definitions["valueset-expand"]["base"] == "http://hl7.org/fhir/OperationDefinition/ValueSet-expand"
    assert "base" not in definitions["appointment-book"]
    match = next(one for one in definitions["conceptmap-translate"]["parameter"] if one["name"] == "match")
    assert [one["name"] for one in match["part"]] == ["equivalence", "concept", "source"]
    assert "type" not in match


def test_every_status_of_every_machine_is_a_code_of_r4() -> None:
    for type, table in lifecycle.TABLES.items():
        codes = set(get_fhir_model_class(type).model_fields["status"].json_schema_extra["enum_values"])
        assert {*table} == codes if type != "Encounter" else codes >= {"+"} or {*table} == codes
        assert all(set(moves) <= set(table) for moves in table.values())
