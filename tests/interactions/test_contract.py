"""Every interaction on every resource type (http://hl7.org/fhir/R4/http.html), one test for each.

What `test_crud` shows of read, create, update, delete and history is not repeated. The server is one for all of them:
every test has ids and identifiers of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from lxml import etree
from motor.motor_asyncio import AsyncIOMotorClient

from fhir_server.resources import ROWS
from fhir_server.settings import Settings
from tests.clinic import BUILDERS, CLINIC, NOW
from tests.emitted import Emitted
from tests.outcomes import assert_outcome
from tests.patches import JSON_PATCH, XML_PATCH, json_patch, operation, parameters, xml_patch
from tests.served import BASE, opened

Json = dict[str, Any]

every_type = pytest.mark.parametrize("type", list(ROWS))

FHIR = "http://hl7.org/fhir"
SYSTEM = "http://example.org/contract"
JSON, XML = "application/fhir+json", "application/fhir+xml"


@pytest.fixture(scope="module")
async def base(mongodb_uri: str, emitted: Emitted) -> AsyncIterator[httpx.AsyncClient]:
    """A server with the test clinic in it, which these tests only add to."""
    settings = Settings(mongodb_uri=mongodb_uri, database=f"contract_{uuid.uuid4().hex}", log_level="error")
    async with AsyncExitStack() as stack:
        mongodb: AsyncIOMotorClient[Json] = AsyncIOMotorClient(mongodb_uri)
        stack.callback(mongodb.close)
        stack.push_async_callback(mongodb.drop_database, settings.database)
        client = await opened(stack, settings, lambda: NOW, emitted)
        for resource in CLINIC:
            (await client.put(url_of(resource), json=resource)).raise_for_status()
        yield client


def build(type: str, **more: Any) -> Json:
    """A resource that nobody else has made, with an identifier of its id."""
    id = uuid.uuid4().hex
    return {**BUILDERS[type](id), **mark(type, id), "language": "en", **more}


def mark(type: str, value: str) -> Json:
    """The element that nobody else has like this: an identifier, or where there is none, a place."""
    identifier = {"system": SYSTEM, "value": value}
    match type:
        case "Provenance":
            return {"location": {"reference": f"Location/{value}"}}
        case "QuestionnaireResponse":
            return {"identifier": identifier}
    return {"identifier": [identifier]}


def marked(type: str) -> str:
    """The name of that element."""
    return next(iter(mark(type, "")))


async def put(base: httpx.AsyncClient, type: str, **more: Any) -> Json:
    """A new resource as it is stored."""
    sent = build(type, **more)
    response = await base.put(f"/{type}/{sent['id']}", json=sent)
    assert response.status_code == 201, response.text
    return response.json()  # type: ignore[no-any-return]


def criteria(resource: Json) -> str:
    """The search that finds just the resources with this mark."""
    type = resource["resourceType"]
    value = resource[marked(type)]
    one = value[0] if isinstance(value, list) else value
    return "=".join(sought(type, one["value"] if "value" in one else one["reference"].partition("/")[2]))


def sought(type: str, value: str) -> tuple[str, str]:
    """The search parameter of the mark, and the value that finds it."""
    return ("location", f"Location/{value}") if type == "Provenance" else ("identifier", f"{SYSTEM}|{value}")


def url_of(resource: Json) -> str:
    return f"/{resource['resourceType']}/{resource['id']}"


def ids(bundle: Json) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]


def without_meta(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "meta"}


async def twins(base: httpx.AsyncClient, type: str) -> Json:
    """One of two resources with the same mark."""
    one = await put(base, type)
    await put(base, type, **{marked(type): one[marked(type)]})
    return one


# read


@every_type
async def test_vread_gives_the_version_as_it_was(base: httpx.AsyncClient, type: str) -> None:
    first = await put(base, type)
    await base.put(url_of(first), json={**first, "language": "de"})
    response = await base.get(f"{url_of(first)}/_history/1")
    assert response.status_code == 200
    assert response.json() == first
    assert response.headers["etag"] == 'W/"1"'


@every_type
async def test_a_conditional_read_of_what_is_known_has_no_body(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    read = await base.get(url_of(made))
    for header, name in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
        known = await base.get(url_of(made), headers={header: read.headers[name]})
        assert (known.status_code, known.content) == (304, b"")
    changed = await base.get(url_of(made), headers={"If-None-Match": 'W/"0"'})
    assert (changed.status_code, changed.json()) == (200, made)


@every_type
async def test_head_answers_as_get_without_a_body(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    for path in (url_of(made), f"{url_of(made)}/_history/1", f"{url_of(made)}/_history", f"/{type}"):
        got, head = await base.get(path), await base.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers.get("etag") == got.headers.get("etag")
        assert head.headers["content-type"] == got.headers["content-type"]
    assert (await base.head(f"/{type}/nobody")).status_code == 404


@every_type
async def test_options_says_what_a_path_allows(base: httpx.AsyncClient, type: str) -> None:
    for path, methods in (
        (f"/{type}", {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}),
        (f"/{type}/any", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        (f"/{type}/any/_history", {"GET", "HEAD"}),
        (f"/{type}/any/_history/1", {"GET", "HEAD"}),
        (f"/{type}/_history", {"GET", "HEAD"}),
        (f"/{type}/_search", {"POST"}),
    ):
        response = await base.options(path)
        assert response.status_code in (200, 204), path
        assert methods <= set(response.headers["allow"].split(", ")), path


@every_type
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/any"),
        ("POST", "/any/_history/1"),
        ("PUT", "/any/_history/1"),
        ("DELETE", "/any/_history"),
        ("PUT", "/_search"),
    ],
)
async def test_a_method_that_a_path_has_not_is_refused(
    base: httpx.AsyncClient, type: str, method: str, path: str
) -> None:
    response = await base.request(method, f"/{type}{path}", json=BUILDERS[type]("any"))
    assert_outcome(response, 405, "not-supported")
    assert method not in response.headers["allow"].split(", ")


# search


@every_type
async def test_search_finds_by_get_and_by_post(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    got = await base.get(f"/{type}?{criteria(made)}")
    posted = await base.post(f"/{type}/_search", data=dict([sought(type, made["id"])]))
    for response in (got, posted):
        assert response.status_code == 200, response.text
        bundle = response.json()
        assert (bundle["type"], bundle["total"], ids(bundle)) == ("searchset", 1, [made["id"]])
        assert bundle["entry"][0]["fullUrl"] == f"{BASE}{type}/{made['id']}"
        assert bundle["entry"][0]["resource"] == made


@every_type
async def test_search_by_id_finds_one_and_what_is_deleted_is_not_found(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    assert ids((await base.get(f"/{type}?_id={made['id']}")).json()) == [made["id"]]
    await base.delete(url_of(made))
    assert ids((await base.get(f"/{type}?_id={made['id']}")).json()) == []


@every_type
async def test_a_summary_is_a_part_and_says_so(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type, text={"status": "generated", "div": f'<div xmlns="{XHTML}">A text</div>'})
    for path in (url_of(made) + "?", f"{url_of(made)}/_history/1?", f"/{type}?_id={made['id']}&"):
        part = await one(base, f"{path}_summary=true")
        assert "text" not in part
        assert SUBSETTED in tags(part)
        assert part["id"] == made["id"]
        text = await one(base, f"{path}_summary=text")
        assert text["text"] == made["text"]
        assert marked(type) not in text
        data = await one(base, f"{path}_summary=data")
        assert data[marked(type)] == made[marked(type)]
        assert "text" not in data
        assert await one(base, f"{path}_summary=false") == made
    count = (await base.get(f"/{type}?_id={made['id']}&_summary=count")).json()
    assert (count["total"], "entry" in count) == (1, False)
    assert (await base.get(url_of(made))).json() == made


@every_type
async def test_elements_are_what_was_asked_for_and_what_is_mandatory(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    for path in (url_of(made) + "?", f"/{type}?_id={made['id']}&"):
        part = await one(base, f"{path}_elements={marked(type)}")
        assert part[marked(type)] == made[marked(type)]
        assert "language" not in part
        assert SUBSETTED in tags(part)
        assert MANDATORY.get(type, set()) <= set(part)


XHTML = "http://www.w3.org/1999/xhtml"
SUBSETTED = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "SUBSETTED")
MANDATORY = {
    "Appointment": {"status", "participant"},
    "AppointmentResponse": {"appointment", "participantStatus"},
    "Encounter": {"status", "class"},
    "Provenance": {"target", "recorded", "agent"},
    "Questionnaire": {"status"},
    "QuestionnaireResponse": {"status"},
    "Schedule": {"actor"},
    "Slot": {"schedule", "status", "start", "end"},
}
"""R4's elements of cardinality 1..; the other types have none."""


async def one(base: httpx.AsyncClient, url: str) -> Json:
    """The resource that is answered, alone or as the only match of a search."""
    response = await base.get(url)
    assert response.status_code == 200, response.text
    body: Json = response.json()
    return body["entry"][0]["resource"] if body["resourceType"] == "Bundle" else body


def tags(resource: Json) -> set[tuple[str, str]]:
    return {(tag["system"], tag["code"]) for tag in resource["meta"].get("tag", ())}


# create


@every_type
async def test_a_conditional_create_creates_once(base: httpx.AsyncClient, type: str) -> None:
    new = build(type)
    headers = {"If-None-Exist": criteria(new)}
    created = await base.post(f"/{type}", json=new, headers=headers)
    assert created.status_code == 201, created.text
    found = await base.post(f"/{type}", json=new, headers=headers)
    assert found.status_code == 200, found.text
    assert found.headers["etag"] == 'W/"1"'
    assert found.headers["location"] == created.headers["location"]
    assert (await base.get(f"/{type}?{criteria(new)}")).json()["total"] == 1


@every_type
async def test_a_conditional_create_with_several_matches_is_refused(base: httpx.AsyncClient, type: str) -> None:
    twin = await twins(base, type)
    response = await base.post(f"/{type}", json=build(type), headers={"If-None-Exist": criteria(twin)})
    assert_outcome(response, 412, "multiple-matches")
    assert (await base.get(f"/{type}?{criteria(twin)}")).json()["total"] == 2


@every_type
@pytest.mark.parametrize(
    ("preference", "expected"), [("minimal", None), ("representation", ""), ("OperationOutcome", "OperationOutcome")]
)
async def test_prefer_chooses_the_body_of_every_write(
    base: httpx.AsyncClient, type: str, preference: str, expected: str | None
) -> None:
    headers = {"Prefer": f"return={preference}"}
    created = await base.post(f"/{type}", json=build(type), headers=headers)
    assert created.status_code == 201
    path = created.headers["location"].partition("/_history")[0]
    resource = {**(await base.get(path)).json(), "language": "fr"}
    updated = await base.put(path, json=resource, headers=headers)
    patch = patches(type)["fhirpath"]
    patched = await base.patch(path, json=patch["json"], headers={**headers, **patch["headers"]})
    for response, version in ((created, 1), (updated, 2), (patched, 3)):
        assert response.headers["etag"] == f'W/"{version}"', response.text
        assert "last-modified" in response.headers
        assert (response.json()["resourceType"] if response.content else None) == (type if expected == "" else expected)


# update


@every_type
async def test_put_to_an_unknown_id_creates_with_that_id(base: httpx.AsyncClient, type: str) -> None:
    new = build(type)
    created = await base.put(f"/{type}/{new['id']}", json=new)
    assert created.status_code == 201
    assert created.headers["location"] == f"{BASE}{type}/{new['id']}/_history/1"
    assert without_meta(created.json()) == new


@every_type
async def test_a_conditional_update_creates_or_updates_the_only_match(base: httpx.AsyncClient, type: str) -> None:
    new = build(type)
    bare = {name: value for name, value in new.items() if name != "id"}
    created = await base.put(f"/{type}?{criteria(new)}", json=bare)
    assert created.status_code == 201, created.text
    updated = await base.put(f"/{type}?{criteria(new)}", json={**bare, "language": "de"})
    assert updated.status_code == 200, updated.text
    assert updated.headers["etag"] == 'W/"2"'
    assert updated.json()["id"] == created.json()["id"]
    assert updated.json()["language"] == "de"
    other = await base.put(f"/{type}?{criteria(new)}", json={**bare, "id": "another"})
    assert_outcome(other, 400, "invalid")


@every_type
async def test_a_conditional_update_with_several_matches_is_refused(base: httpx.AsyncClient, type: str) -> None:
    twin = await twins(base, type)
    bare = {name: value for name, value in twin.items() if name not in ("id", "meta")}
    assert_outcome(await base.put(f"/{type}?{criteria(twin)}", json=bare), 412, "multiple-matches")


# patch


def fhirpath_patch(type: str) -> Json:
    return parameters(operation("replace", f"{type}.language", value={"valueCode": "de"}))


def patches(type: str) -> dict[str, dict[str, Any]]:
    """What replaces the language by German in each format, as arguments of a request."""
    diff = xml_patch(f'<replace sel="{type}/language/@value">de</replace>')
    return {
        "json": {
            "content": json_patch({"op": "replace", "path": "/language", "value": "de"}),
            "headers": {"content-type": JSON_PATCH},
        },
        "fhirpath": {"json": fhirpath_patch(type), "headers": {"content-type": JSON}},
        "xml": {"content": diff, "headers": {"content-type": XML_PATCH}},
    }


every_format = pytest.mark.parametrize("format", ["json", "fhirpath", "xml"])


@every_type
@every_format
async def test_a_patch_changes_just_what_it_says(base: httpx.AsyncClient, type: str, format: str) -> None:
    made = await put(base, type)
    response = await base.patch(url_of(made), **patches(type)[format])
    assert response.status_code == 200, response.text
    assert response.headers["etag"] == 'W/"2"'
    assert without_meta(response.json()) == without_meta({**made, "language": "de"})
    assert (await base.get(url_of(made))).json() == response.json()


@every_type
async def test_a_patch_of_what_is_not_there_or_has_changed_is_refused(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    patch = patches(type)["json"]
    stale = {**patch["headers"], "If-Match": 'W/"7"'}
    assert_outcome(await base.patch(url_of(made), content=patch["content"], headers=stale), 412, "conflict")
    assert_outcome(await base.patch(f"/{type}/nobody", **patch), 404, "not-found")
    await base.delete(url_of(made))
    assert_outcome(await base.patch(url_of(made), **patch), 410, "deleted")


@every_type
async def test_a_conditional_patch_changes_the_only_match(base: httpx.AsyncClient, type: str) -> None:
    made, twin = await put(base, type), await twins(base, type)
    patch = patches(type)["json"]
    response = await base.patch(f"/{type}?{criteria(made)}", **patch)
    assert response.status_code == 200, response.text
    assert response.json()["language"] == "de"
    assert_outcome(await base.patch(f"/{type}?{criteria(twin)}", **patch), 412, "multiple-matches")
    assert_outcome(await base.patch(f"/{type}?{'='.join(sought(type, 'nobody'))}", **patch), 404, "not-found")


# delete


@every_type
async def test_a_conditional_delete_deletes_the_only_match(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    assert (await base.delete(f"/{type}?{criteria(made)}")).status_code in (200, 204)
    assert_outcome(await base.get(url_of(made)), 410, "deleted")
    assert (await base.delete(f"/{type}?{criteria(made)}")).status_code in (200, 204)


@every_type
async def test_a_conditional_delete_deletes_all_that_match(base: httpx.AsyncClient, type: str) -> None:
    twin, other = await twins(base, type), await put(base, type)
    assert (await base.delete(f"/{type}?{criteria(twin)}")).status_code in (200, 204)
    assert_outcome(await base.get(url_of(twin)), 410, "deleted")
    assert (await base.get(f"/{type}?{criteria(twin)}")).json()["total"] == 0
    assert (await base.get(url_of(other))).status_code == 200


# history


@every_type
async def test_the_history_of_a_type_has_every_version_of_all_its_resources(base: httpx.AsyncClient, type: str) -> None:
    first, second = await put(base, type), await put(base, type)
    await base.put(url_of(first), json={**first, "language": "de"})
    await base.delete(url_of(second))
    seen = []
    url: str | None = f"/{type}/_history?_count=7"
    while url:
        bundle = (await base.get(url)).json()
        assert bundle["type"] == "history"
        seen += [(entry["request"]["method"], entry["fullUrl"], entry["response"]["etag"]) for entry in bundle["entry"]]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    mine = [(full.rpartition("/")[2], method, etag) for method, full, etag in seen]
    assert next(each[1:] for each in mine if each[0] == first["id"]) == ("PUT", 'W/"2"')
    assert next(each[1:] for each in mine if each[0] == second["id"]) == ("DELETE", 'W/"2"')
    assert [each[2] for each in mine if each[0] in (first["id"], second["id"])].count('W/"1"') == 2
    assert len(seen) == len(set(seen))


# Bundles


@every_type
@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_a_bundle_does_each_interaction(base: httpx.AsyncClient, type: str, kind: str) -> None:
    kept, gone, changed = await put(base, type), await put(base, type), await put(base, type)
    new, named = build(type), build(type)
    entries = [
        entry("GET", f"{type}/{kept['id']}"),
        entry("PUT", f"{type}/{named['id']}", named),
        entry("POST", type, new),
        entry("DELETE", f"{type}/{gone['id']}"),
        entry("GET", f"{type}?{criteria(new)}"),
        entry("PATCH", f"{type}/{changed['id']}", fhirpath_patch(type)),
    ]
    response = await base.post("", json={"resourceType": "Bundle", "type": kind, "entry": entries})
    assert response.status_code == 200, response.text
    bundle = response.json()
    assert bundle["type"] == f"{kind}-response"
    statuses = [each["response"]["status"][:3] for each in bundle["entry"]]
    assert statuses[:3] == ["200", "201", "201"], bundle
    assert statuses[3] in ("200", "204")
    assert bundle["entry"][0]["resource"] == kept
    assert bundle["entry"][2]["response"]["etag"] == 'W/"1"'
    created = bundle["entry"][2]["response"]["location"].removeprefix(BASE).split("/")
    assert created[0] == type
    assert (await base.get(f"/{type}/{created[1]}")).json()[marked(type)] == new[marked(type)]
    assert (await base.get(f"/{type}/{named['id']}")).status_code == 200
    assert_outcome(await base.get(url_of(gone)), 410, "deleted")
    assert ids(bundle["entry"][4]["resource"]) == [created[1]]
    assert statuses[5] == "200"
    assert (await base.get(url_of(changed))).json()["language"] == "de"


def entry(method: str, url: str, resource: Json | None = None) -> Json:
    made: Json = {"request": {"method": method, "url": url}}
    return made if resource is None else {**made, "resource": resource}


@every_type
async def test_a_transaction_that_fails_has_done_nothing(base: httpx.AsyncClient, type: str) -> None:
    good, bad = build(type), build(type, wings=2)
    entries = [entry("PUT", url_of(each)[1:], each) for each in (good, bad)]
    response = await base.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert response.status_code == 400, response.text
    assert response.json()["resourceType"] == "OperationOutcome"
    assert_outcome(await base.get(url_of(good)), 404, "not-found")


@every_type
async def test_a_batch_does_what_it_can(base: httpx.AsyncClient, type: str) -> None:
    good, bad = build(type), build(type, wings=2)
    entries = [entry("PUT", url_of(each)[1:], each) for each in (bad, good)]
    response = await base.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert response.status_code == 200, response.text
    refused, done = (each["response"] for each in response.json()["entry"])
    assert refused["status"][:3] == "400"
    assert refused["outcome"]["resourceType"] == "OperationOutcome"
    assert done["status"][:3] == "201"


# XML


@every_type
async def test_xml_goes_in_and_out_and_is_the_same_as_json(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    response = await base.get(url_of(made), headers={"accept": XML})
    assert response.headers["content-type"] == f"{XML}; charset=utf-8"
    root = etree.fromstring(response.content)
    assert root.tag == f"{{{FHIR}}}{type}"
    assert root.find(f"{{{FHIR}}}id").get("value") == made["id"]  # type: ignore[union-attr]
    again = await base.put(url_of(made), content=response.content, headers={"content-type": XML})
    assert again.status_code == 200, again.text
    assert without_meta(again.json()) == without_meta(made)
    created = await base.post(f"/{type}", content=response.content, headers={"content-type": XML, "accept": XML})
    assert created.status_code == 201, created.text
    assert etree.fromstring(created.content).tag == root.tag


@every_type
async def test_a_search_and_a_refusal_are_answered_in_xml(base: httpx.AsyncClient, type: str) -> None:
    made = await put(base, type)
    bundle = etree.fromstring((await base.get(f"/{type}?_id={made['id']}&_format=xml")).content)
    found = bundle.findall(f"{{{FHIR}}}entry/{{{FHIR}}}resource/{{{FHIR}}}{type}/{{{FHIR}}}id")
    assert [each.get("value") for each in found] == [made["id"]]
    refused = await base.get(f"/{type}/nobody?_format=xml")
    assert refused.status_code == 404
    assert etree.fromstring(refused.content).tag == f"{{{FHIR}}}OperationOutcome"


def test_every_type_has_a_builder() -> None:
    assert set(BUILDERS) == set(ROWS)
