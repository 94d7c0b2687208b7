"""What HTTP itself can get wrong: media types, paths, methods, bodies. Every refusal is an OperationOutcome."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.clinic import patient
from tests.outcomes import assert_outcome


async def test_unknown_paths_and_types_are_not_found(client: httpx.AsyncClient) -> None:
    for path in ("/Unicorn", "/Unicorn/1", "/Patient/1/2/3", "/$nothing", "/Patient/$nothing"):
        assert_outcome(await client.get(path), 404, "not-found")


async def test_a_method_that_a_path_does_not_have_names_the_ones_it_has(client: httpx.AsyncClient) -> None:
    response = await client.request("DELETE", "/Patient")
    assert_outcome(response, 405, "not-supported")
    assert set(response.headers["allow"].split(", ")) >= {"GET", "POST"}


async def test_other_formats_are_not_acceptable(client: httpx.AsyncClient) -> None:
    assert_outcome(await client.get("/metadata", headers={"Accept": "application/fhir+xml"}), 406, "not-supported")
    assert_outcome(await client.get("/metadata?_format=xml"), 406, "not-supported")
    assert_outcome(await client.get("/metadata", headers={"Accept": "application/json;q=0"}), 406, "not-supported")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/fhir+json; charset=utf-8", "text/html, */*;q=0.1"]
)
async def test_every_name_of_json_is_acceptable(client: httpx.AsyncClient, accept: str) -> None:
    assert (await client.get("/metadata", headers={"Accept": accept})).status_code == 200


async def test_format_goes_before_accept(client: httpx.AsyncClient) -> None:
    headers = {"Accept": "application/fhir+xml"}
    assert (await client.get("/metadata?_format=json", headers=headers)).status_code == 200
    assert (await client.get("/metadata?_format=application/fhir%2Bjson", headers=headers)).status_code == 200


async def test_pretty_is_the_same_with_line_breaks(client: httpx.AsyncClient) -> None:
    plain, pretty = await client.get("/metadata"), await client.get("/metadata?_pretty=true")
    assert plain.json() == pretty.json()
    assert b"\n" in pretty.content
    assert b"\n" not in plain.content


async def test_a_body_that_is_not_json_is_an_unsupported_media_type(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/fhir+xml"}
    assert_outcome(await client.post("/Patient", content=b"<Patient/>", headers=headers), 415, "not-supported")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'{"resourceType":"Patient","active":NaN}',
        b'{"resourceType":"Patient","active":true,"active":false}',
        b'{"resourceType":"Patient","name":[]}',
        b'{"resourceType":"Patient","gender":null}',
        b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
        b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 5000 + b"}",
        b'{"resourceType":"Patient","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        '{"resourceType":"Patient"}'.encode("utf-16"),
        b"\xff\xfe",
    ],
)
async def test_malformed_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/Patient", content=body, headers={"content-type": "application/fhir+json"})
    assert response.status_code == 400, response.text
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_an_empty_body_is_refused(client: httpx.AsyncClient) -> None:
    assert_outcome(await client.post("/Patient", headers={"content-type": "application/fhir+json"}), 400, "required")


async def test_a_body_that_is_too_long_is_refused(client: httpx.AsyncClient) -> None:
    body = patient(
        text={"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{"x" * 1_100_000}</div>'}
    )
    assert_outcome(await client.post("/Patient", json=body), 413, "too-long")


async def test_all_that_is_wrong_is_said_at_once(client: httpx.AsyncClient) -> None:
    wrong: dict[str, Any] = {
        "resourceType": "Appointment",
        "status": "banana",
        "start": "2026-03-02",
        "participant": [{"required": "maybe"}],
        "wings": 2,
    }
    response = await client.post("/Appointment", json=wrong)
    assert response.status_code == 400
    where = {expression for issue in response.json()["issue"] for expression in issue.get("expression", ())}
    assert {"Appointment.status", "Appointment.start", "Appointment.wings"} <= where
    assert any(expression.startswith("Appointment.participant[0]") for expression in where)
    assert "banana" not in response.text


async def test_a_head_is_a_get_without_a_body(client: httpx.AsyncClient) -> None:
    response = await client.head("/Patient")
    assert (response.status_code, response.content) == (200, b"")


async def test_people_and_orchestrators_find_their_pages(client: httpx.AsyncClient) -> None:
    root = str(client.base_url).removesuffix("/fhir/")
    assert (await client.get(f"{root}/health/live")).status_code == 200
    assert (await client.get(f"{root}/health/ready")).json() == {"status": "ready"}
    welcome = await client.get(f"{root}/")
    assert "text/html" in welcome.headers["content-type"]
    assert "/metadata" in welcome.text


async def test_other_encodings_and_forms_are_unsupported_media_types(client: httpx.AsyncClient) -> None:
    latin = {"content-type": "application/fhir+json; charset=latin-1"}
    assert_outcome(await client.post("/Patient", content=b"{}", headers=latin), 415, "not-supported")
    gzip = {"content-type": "application/fhir+json", "content-encoding": "gzip"}
    assert_outcome(await client.post("/Patient", content=b"{}", headers=gzip), 415, "not-supported")
    assert_outcome(await client.post("/Patient", data={"a": "b"}), 415, "not-supported")


async def test_a_conditional_create_is_refused_not_ignored(client: httpx.AsyncClient) -> None:
    headers = {"If-None-Exist": "identifier=x"}
    assert_outcome(await client.post("/Patient", json=patient(), headers=headers), 400, "not-supported")


async def test_a_slash_too_many_is_not_found(client: httpx.AsyncClient) -> None:
    assert_outcome(await client.get("/Patient/"), 404, "not-found")
