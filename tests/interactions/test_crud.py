"""read, vread, create, update, delete, history: the contract of every resource type (http://hl7.org/fhir/R4/http.html)."""

from __future__ import annotations

import httpx
import pytest

from fhir_server.resources import ROWS
from tests.clinic import BUILDERS, CLINIC
from tests.outcomes import assert_outcome

every_type = pytest.mark.parametrize("type", list(ROWS))

NEEDED = {"Slot", "Appointment"}
"""Types that can only be written where what they refer to is stored."""


@pytest.fixture
async def base(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The server with what any resource of the tests refers to."""
    for resource in CLINIC:
        (await client.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)).raise_for_status()
    return client


@every_type
async def test_what_is_created_is_read_back_as_it_was_sent(base: httpx.AsyncClient, type: str) -> None:
    sent = BUILDERS[type]("mine")
    created = await base.post(f"/{type}", json=sent)
    assert created.status_code == 201, created.text
    made = created.json()
    assert made["id"] != "mine"
    assert created.headers["location"] == f"{base.base_url}{type}/{made['id']}/_history/1"
    assert created.headers["etag"] == 'W/"1"'
    assert created.headers["content-type"] == "application/fhir+json; charset=utf-8"
    read = await base.get(f"/{type}/{made['id']}")
    assert read.status_code == 200
    assert read.headers["etag"] == created.headers["etag"]
    assert read.headers["last-modified"] == created.headers["last-modified"]
    got = read.json()
    assert got.pop("meta")["versionId"] == "1"
    assert {**got, "id": "mine"} == sent


@every_type
async def test_an_update_makes_a_new_version_and_keeps_the_old_one(base: httpx.AsyncClient, type: str) -> None:
    first = BUILDERS[type]("mine")
    assert (await base.put(f"/{type}/mine", json=first)).status_code == 201
    second = {**first, "language": "en"}
    updated = await base.put(f"/{type}/mine", json=second)
    assert updated.status_code == 200
    assert updated.headers["etag"] == 'W/"2"'
    old = await base.get(f"/{type}/mine/_history/1")
    assert old.status_code == 200
    assert "language" not in old.json()
    assert (await base.get(f"/{type}/mine/_history/2")).json()["language"] == "en"
    assert_outcome(await base.get(f"/{type}/mine/_history/3"), 404, "not-found")
    for version in ("x", "0", "01", "\u0661", "1" * 10):
        assert_outcome(await base.get(f"/{type}/mine/_history/{version}"), 404, "not-found")


@every_type
async def test_a_deleted_resource_is_gone_and_can_be_written_again(base: httpx.AsyncClient, type: str) -> None:
    resource = BUILDERS[type]("mine")
    await base.put(f"/{type}/mine", json=resource)
    assert (await base.delete(f"/{type}/mine")).status_code == 204
    assert_outcome(await base.get(f"/{type}/mine"), 410, "deleted")
    assert_outcome(await base.get(f"/{type}/mine/_history/2"), 410, "deleted")
    assert (await base.delete(f"/{type}/mine")).status_code == 204
    revived = await base.put(f"/{type}/mine", json=resource)
    assert revived.status_code == 201
    assert revived.headers["etag"] == 'W/"3"'


@every_type
async def test_history_lists_every_version_newest_first(base: httpx.AsyncClient, type: str) -> None:
    resource = BUILDERS[type]("mine")
    await base.put(f"/{type}/mine", json=resource)
    await base.put(f"/{type}/mine", json={**resource, "language": "en"})
    await base.delete(f"/{type}/mine")
    bundle = (await base.get(f"/{type}/mine/_history")).json()
    assert bundle["type"] == "history"
    assert bundle["total"] == 3
    assert [entry["request"]["method"] for entry in bundle["entry"]] == ["DELETE", "PUT", "PUT"]
    assert [entry["response"]["etag"] for entry in bundle["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert "resource" not in bundle["entry"][0]


async def test_history_is_paged(base: httpx.AsyncClient) -> None:
    for language in ("en", "de", "fr", "it", "es"):
        await base.put("/Patient/ann", json={**BUILDERS["Patient"]("ann"), "language": language})
    url: str | None = "/Patient/ann/_history?_count=2"
    versions = []
    while url:
        bundle = (await base.get(url)).json()
        assert len(bundle["entry"]) <= 2
        versions += [entry["response"]["etag"] for entry in bundle["entry"]]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert versions == [f'W/"{number}"' for number in range(6, 0, -1)]


@every_type
async def test_what_never_was_is_not_found(client: httpx.AsyncClient, type: str) -> None:
    assert_outcome(await client.get(f"/{type}/nobody"), 404, "not-found")
    assert_outcome(await client.get(f"/{type}/nobody/_history"), 404, "not-found")
    assert (await client.delete(f"/{type}/nobody")).status_code == 204


@every_type
async def test_if_match_guards_an_update_and_a_delete(base: httpx.AsyncClient, type: str) -> None:
    resource = BUILDERS[type]("mine")
    await base.put(f"/{type}/mine", json=resource)
    stale = {"If-Match": 'W/"7"'}
    assert_outcome(await base.put(f"/{type}/mine", json=resource, headers=stale), 412, "conflict")
    assert_outcome(await base.delete(f"/{type}/mine", headers=stale), 412, "conflict")
    right = {"If-Match": 'W/"1"'}
    assert (await base.put(f"/{type}/mine", json=resource, headers=right)).status_code == 200


async def test_if_none_match_star_only_creates(base: httpx.AsyncClient) -> None:
    headers = {"If-None-Match": "*"}
    resource = BUILDERS["Patient"]("new")
    assert (await base.put("/Patient/new", json=resource, headers=headers)).status_code == 201
    assert_outcome(await base.put("/Patient/new", json=resource, headers=headers), 412, "duplicate")


async def test_a_conditional_read_of_what_is_known_has_no_body(base: httpx.AsyncClient) -> None:
    read = await base.get("/Patient/ann")
    for header, name in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
        again = await base.get("/Patient/ann", headers={header: read.headers[name]})
        assert (again.status_code, again.content) == (304, b"")
    assert (await base.get("/Patient/ann", headers={"If-None-Match": 'W/"9"'})).status_code == 200


async def test_prefer_chooses_the_body_of_an_answer(base: httpx.AsyncClient) -> None:
    resource = BUILDERS["Patient"]("ann")
    minimal = await base.put("/Patient/ann", json=resource, headers={"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (200, b"")
    assert minimal.headers["etag"] == 'W/"2"'
    said = await base.post("/Patient", json=resource, headers={"Prefer": "return=OperationOutcome"})
    assert said.status_code == 201
    assert said.json()["resourceType"] == "OperationOutcome"
    whole = await base.put("/Patient/ann", json=resource, headers={"Prefer": "return=representation"})
    assert whole.json()["id"] == "ann"


async def test_an_update_needs_the_id_of_the_url(base: httpx.AsyncClient) -> None:
    assert_outcome(await base.put("/Patient/ann", json=BUILDERS["Patient"]("bob")), 400, "invalid")
    without = {key: value for key, value in BUILDERS["Patient"]("ann").items() if key != "id"}
    assert_outcome(await base.put("/Patient/ann", json=without), 400, "invalid")


async def test_a_body_of_another_type_is_refused(base: httpx.AsyncClient) -> None:
    assert_outcome(await base.post("/Patient", json=BUILDERS["Slot"]("x")), 400, "invalid")


async def test_creating_by_put_can_be_switched_off(client_with: object) -> None:
    client = await client_with(create_by_put=False)  # type: ignore[operator]
    for path in ("/Patient/new", "/Patient?_id=x"):
        refused = await client.put(path, json={"resourceType": "Patient", "id": "new"})
        assert_outcome(refused, 405, "not-supported")
        assert {*refused.headers["allow"].split(", ")} >= {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}
        assert "PUT" not in refused.headers["allow"]
    resource = client_statement_of(await client.get("/metadata"), "Patient")
    assert resource["updateCreate"] is False


def client_statement_of(response: httpx.Response, type: str) -> dict[str, object]:
    resources = response.json()["rest"][0]["resource"]
    return next(resource for resource in resources if resource["type"] == type)


async def test_decimals_keep_their_digits_and_instants_their_spelling(base: httpx.AsyncClient) -> None:
    body = (
        b'{"resourceType":"Location","position":{"longitude":-83.6945691000,"latitude":42.0},'
        b'"extension":[{"url":"http://example.org/at","valueInstant":"2026-03-02T08:00:00.100+01:00"}]}'
    )
    headers = {"content-type": "application/fhir+json"}
    created = await base.post("/Location", content=body, headers=headers)
    assert created.status_code == 201, created.text
    read = await base.get(f"/Location/{created.json()['id']}")
    assert b'"longitude":-83.6945691000' in read.content
    assert b'"latitude":42.0' in read.content
    assert b'"2026-03-02T08:00:00.100+01:00"' in read.content


async def test_meta_that_a_client_sends_is_kept_but_for_version_and_time(base: httpx.AsyncClient) -> None:
    tag = {"system": "http://example.org", "code": "vip"}
    sent = {
        **BUILDERS["Patient"]("ann"),
        "meta": {"versionId": "99", "lastUpdated": "1999-01-01T00:00:00Z", "tag": [tag]},
    }
    meta = (await base.put("/Patient/ann", json=sent)).json()["meta"]
    assert meta["tag"] == [tag]
    assert meta["versionId"] == "2"
    assert meta["lastUpdated"].startswith("2026-03-02T08:00")


@every_type
async def test_a_subset_of_a_resource_is_not_taken_for_the_resource(base: httpx.AsyncClient, type: str) -> None:
    await base.put(f"/{type}/mine", json=BUILDERS[type]("mine"))
    subset = (await base.get(f"/{type}/mine?_elements=language")).json()
    assert_outcome(await base.put(f"/{type}/mine", json=subset), 422, "business-rule")
    assert_outcome(await base.post(f"/{type}", json=subset), 422, "business-rule")
