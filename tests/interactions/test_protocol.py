"""What HTTP itself can get wrong: media types, paths, methods, bodies. Every refusal is an OperationOutcome."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any, TypeAlias
from urllib.parse import urljoin

import httpx
import pytest
import structlog
from pydantic import ValidationError

from fhir_server import patching, routing
from fhir_server.definitions import Request, Response
from fhir_server.outcome import FhirError
from fhir_server.settings import Settings
from fhir_server.writing import Server
from tests.outcomes import assert_outcome

Opening: TypeAlias = Callable[..., Awaitable[httpx.AsyncClient]]


async def test_unknown_paths_and_types_are_not_found(client: httpx.AsyncClient) -> None:
    for path in ("/Unicorn", "/Unicorn/1", "/Patient/1/2/3", "/$nothing", "/Patient/$nothing"):
        assert_outcome(await client.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("/Appointment/$reschedule", "Appointment/[id]/$reschedule"),
        ("/Schedule/1/$findslots", "Schedule/$find-slots, Schedule/[id]/$find-slots"),
        ("/$book", "Appointment/$book, Appointment/[id]/$book"),
    ],
)
async def test_an_operation_that_is_elsewhere_or_misspelt_is_shown(
    reader: httpx.AsyncClient, asked: str, meant: str
) -> None:
    issue = assert_outcome(await reader.get(asked), 404, "not-found")
    assert issue["diagnostics"].startswith(f"There is nothing at {asked}, but at {meant}; ")


async def test_a_json_patch_that_comes_as_a_resource_is_told_its_media_type(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/fhir+json"}
    response = await client.patch("/Patient/1", content=b"[]", headers=headers)
    assert "application/json-patch+json" in assert_outcome(response, 400, "structure")["diagnostics"]


async def test_a_method_that_a_path_does_not_have_names_the_ones_it_has(client: httpx.AsyncClient) -> None:
    response = await client.request("DELETE", "/Patient/1/_history/1")
    assert_outcome(response, 405, "not-supported")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


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


async def test_a_body_that_is_too_long_is_refused(client_with: Opening) -> None:
    client = await client_with(body_bytes_max=1000)
    fitting = b'{"resourceType":"Patient"}'.ljust(1000)
    headers = {"content-type": "application/fhir+json"}
    assert (await client.post("/Patient", content=fitting, headers=headers)).status_code == 201
    assert_outcome(await client.post("/Patient", content=fitting + b" ", headers=headers), 413, "too-long")


async def test_a_url_that_is_too_long_is_refused(client_with: Opening) -> None:
    client = await client_with(url_bytes_max=200)
    path = "/fhir/Patient?"
    query = f"_id={'x' * (200 - len(path) - len('_id=') + len('?'))}"
    assert (await client.get(f"/Patient?{query}")).status_code == 200
    assert "_search" in assert_outcome(await client.get(f"/Patient?{query}x"), 414, "too-long")["diagnostics"]
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await client.post("/Patient/_search", content=f"{query}x", headers=form)).status_code == 200


async def test_headers_that_are_too_many_or_too_long_are_refused(client_with: Opening) -> None:
    client = await client_with(headers_max=10, header_bytes_max=1000)
    given = len(client.build_request("GET", "/metadata").headers)
    many = {f"x-{n}": "1" for n in range(10 - given)}
    assert (await client.get("/metadata", headers=many)).status_code == 200
    assert_outcome(await client.get("/metadata", headers={**many, "x-more": "1"}), 431, "too-long")
    assert (await client.get("/metadata", headers={"x-long": "x" * 700})).status_code == 200
    assert_outcome(await client.get("/metadata", headers={"x-long": "x" * 1000}), 431, "too-long")


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
    links = re.findall(r'href="([^"]+)"', welcome.text)
    assert {"metadata", "Appointment"} <= {re.split(r"[/?]", link.rpartition("/fhir/")[2])[0] for link in links}
    for link in links:
        assert (await client.get(urljoin(f"{root}/", unescape(link)))).status_code == 200, link


async def test_bodies_that_are_no_resource_are_unsupported_media_types(client: httpx.AsyncClient) -> None:
    assert_outcome(await client.post("/Patient", data={"a": "b"}), 415, "not-supported")
    assert_outcome(await client.post("/Patient", content=b"{}"), 415, "not-supported")
    text = assert_outcome(
        await client.post("/Patient", content=b"[]", headers={"content-type": "application/json-patch+json"}),
        415,
        "not-supported",
    )["diagnostics"]
    assert "application/fhir+json" in text
    assert "application/fhir+xml" in text


async def test_a_search_is_posted_as_a_form(client: httpx.AsyncClient) -> None:
    assert (await client.post("/Patient/_search", data={"_id": "1"})).json()["type"] == "searchset"
    assert (await client.post("/Patient/_search")).json()["type"] == "searchset"
    assert_outcome(await client.post("/Patient/_search", json={"_id": "1"}), 415, "not-supported")


async def test_a_header_that_is_sent_twice_is_one_list(client: httpx.AsyncClient) -> None:
    twice = [("Prefer", "handling=strict"), ("Prefer", "return=minimal"), ("If-None-Match", 'W/"7"')]
    created = await client.put("/Patient/p", json={"resourceType": "Patient", "id": "p"}, headers=twice)
    assert (created.status_code, created.content) == (201, b"")
    known = [("If-None-Match", 'W/"1"'), ("If-None-Match", 'W/"2"')]
    assert (await client.get("/Patient/p", headers=known)).status_code == 304


async def test_parameters_that_are_not_utf_8_are_refused(client: httpx.AsyncClient) -> None:
    assert_outcome(await client.get("/Patient?name=%ff"), 400, "invalid")
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"name=%ff", b"name=\xff"):
        assert_outcome(await client.post("/Patient/_search", content=body, headers=form), 400, "invalid")
    written = await client.post("/Patient/_search", content="name=Jürgen".encode(), headers=form)
    assert written.status_code == 200


async def test_a_slash_too_many_is_not_found(client: httpx.AsyncClient) -> None:
    assert_outcome(await client.get("/Patient/"), 404, "not-found")
    assert_outcome(await client.get(f"{client.base_url}/Patient"), 404, "not-found")


async def test_the_base_with_and_without_a_slash_is_the_same(client: httpx.AsyncClient) -> None:
    root = str(client.base_url).removesuffix("/")
    for url in (root, f"{root}/"):
        page = await client.get(url, headers={"accept": "text/html"})
        assert "text/html" in page.headers["content-type"]
        assert set((await client.options(url)).headers["allow"].split(", ")) >= {"OPTIONS"}


async def test_options_say_what_a_path_allows(client: httpx.AsyncClient) -> None:
    for path, methods in (
        ("/metadata", {"GET", "HEAD", "OPTIONS"}),
        ("/Patient", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/Patient/1", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
        ("/Patient/1/_history/1", {"GET", "HEAD", "OPTIONS"}),
        ("/Appointment/$book", {"POST", "OPTIONS"}),
    ):
        response = await client.options(path)
        assert (response.status_code, response.content) == (204, b"")
        assert set(response.headers["allow"].split(", ")) >= methods
        assert ("accept-patch" in response.headers) is ("PATCH" in response.headers["allow"])
    assert (await client.options("/Patient")).headers["accept-patch"].split(", ") == [*patching.MEDIA]
    assert_outcome(await client.options("/Unicorn"), 404, "not-found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "BREW"])
async def test_a_method_that_there_is_not_is_refused_with_those_there_are(
    client: httpx.AsyncClient, method: str
) -> None:
    response = await client.request(method, "/metadata")
    assert_outcome(response, 405, "not-supported")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
    assert_outcome(await client.request(method, "/Unicorn"), 404, "not-found")
    page = await client.request(method, str(client.base_url.join("/openapi.json")))
    assert_outcome(page, 405, "not-supported")
    assert page.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("method", ["TRACE", "BREW"])
async def test_a_method_that_no_path_has_is_refused_at_the_base_too(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/")
    assert_outcome(response, 405, "not-supported")
    assert response.headers["allow"] == "POST, GET, HEAD, OPTIONS"


async def test_a_page_of_any_origin_may_use_the_server(client: httpx.AsyncClient) -> None:
    origin = {"Origin": "https://app.example"}
    preflight = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "if-match, authorization"}
    asked = await client.options("/Patient/1", headers={**origin, **preflight})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    assert {"PUT", "DELETE"} <= set(asked.headers["access-control-allow-methods"].split(", "))
    assert asked.headers["access-control-allow-headers"] == "if-match, authorization"
    for path, status in (("/metadata", 200), ("/Unicorn", 404)):
        response = await client.get(path, headers=origin)
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == "*"
        exposed = set(response.headers["access-control-expose-headers"].lower().split(", "))
        assert {"etag", "location", "last-modified", "x-request-id"} <= exposed
    assert "access-control-allow-origin" not in (await client.get("/metadata")).headers


async def test_only_the_origins_that_the_operator_names_may_use_the_server(client_with: Opening) -> None:
    client = await client_with(cors_origins="https://one.example http://localhost:3000")
    allowed = await client.get("/metadata", headers={"Origin": "http://localhost:3000"})
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "Origin" in allowed.headers["vary"]
    for origin in ("https://other.example", "http://localhost", "null"):
        refused = await client.get("/metadata", headers={"Origin": origin})
        assert "access-control-allow-origin" not in refused.headers
    closed = await client_with(cors_origins="none")
    assert "access-control-allow-origin" not in (await closed.get("/metadata", headers={"Origin": "none"})).headers


@pytest.mark.parametrize("origins", ["app.example", "https://app.example/path", "* x"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Settings(cors_origins=origins)


async def test_ids_of_requests_come_back(client: httpx.AsyncClient) -> None:
    ids = {"X-Request-Id": "abc-1", "X-Correlation-Id": "flow/7"}
    response = await client.get("/Unicorn", headers=ids)
    assert (response.headers["x-request-id"], response.headers["x-correlation-id"]) == ("abc-1", "flow/7")
    plain = await client.get("/metadata")
    assert len(plain.headers["x-request-id"]) >= 16
    assert "x-correlation-id" not in plain.headers
    assert plain.headers["x-request-id"] != (await client.get("/metadata")).headers["x-request-id"]


@pytest.mark.parametrize("id", ["", "a b", "x" * 129, "tab\there", "caf\u00e9"])
async def test_an_id_that_is_not_well_formed_is_not_repeated(client: httpx.AsyncClient, id: str) -> None:
    ids = {"X-Request-Id": id.encode("latin-1"), "X-Correlation-Id": id.encode("latin-1")}
    response = await client.get("/metadata", headers=ids)
    assert response.status_code == 200
    assert response.headers["x-request-id"] != id
    assert "x-correlation-id" not in response.headers
    longest = await client.get("/metadata", headers={"X-Request-Id": "x" * 128})
    assert longest.headers["x-request-id"] == "x" * 128


async def test_each_request_is_logged_with_its_ids_and_without_what_it_said(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs() as lines:
        await client.get("/Patient/secret?name=hidden", headers={"X-Request-Id": "r1", "X-Correlation-Id": "c1"})
    line = next(line for line in lines if line["event"] == "request")
    assert line["request_id"] == "r1"
    assert line["correlation_id"] == "c1"
    assert (line["method"], line["run"], line["type"], line["status"]) == ("GET", "read", "Patient", 404)
    assert "secret" not in str(lines)
    assert "hidden" not in str(lines)


async def test_a_fault_of_the_server_says_the_id_of_the_request_and_nothing_else(client: httpx.AsyncClient) -> None:
    async def fail(_: Server, __: Request) -> Response:
        raise RuntimeError("a secret of Smith")

    route = next(route for route in routing.ROUTES if route.path == "{type}/{id}" and route.method == "GET")
    with structlog.testing.capture_logs() as lines, changed(route, "run", fail):
        response = await client.get("/Patient/1", headers={"X-Request-Id": "r2", "X-Correlation-Id": "c2"})
    issue = assert_outcome(response, 500, "exception")
    assert "r2" in issue["diagnostics"]
    assert "Smith" not in response.text
    fault = next(line for line in lines if line["event"] == "fault")
    assert (fault["request_id"], fault["correlation_id"], fault["error"]) == ("r2", "c2", "RuntimeError")
    assert "Smith" not in str(lines)


@contextmanager
def changed(row: object, name: str, value: object) -> Iterator[None]:
    """A row of a table, which is frozen, with another value for a while."""
    before = getattr(row, name)
    object.__setattr__(row, name, value)
    try:
        yield
    finally:
        object.__setattr__(row, name, before)


async def test_the_statement_has_a_tag_and_is_not_sent_twice(client_with: Opening) -> None:
    client = await client_with()
    first = await client.get("/metadata")
    again = await client.get("/metadata", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await client_with(create_by_put=False)
    changed = await other.get("/metadata", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_the_answer_to_a_write_says_where_the_version_is(client: httpx.AsyncClient) -> None:
    body = {"resourceType": "Patient", "id": "p"}
    created = await client.put("/Patient/p", json=body)
    assert created.headers["location"] == f"{client.base_url}Patient/p/_history/1"
    assert "content-location" not in created.headers
    for prefer in ("representation", "minimal"):
        headers = {"Prefer": f"return={prefer}"}
        updated = await client.put("/Patient/p", json={**body, "language": prefer}, headers=headers)
        version = updated.headers["etag"].split('"')[1]
        assert updated.headers["content-location"] == f"{client.base_url}Patient/p/_history/{version}"
        assert "location" not in updated.headers
    assert "content-location" not in (await client.get("/Patient/p")).headers


async def test_a_request_that_comes_inside_another_is_answered_as_over_http(client: httpx.AsyncClient) -> None:
    dispatch = client.app.state.server.dispatch  # type: ignore[attr-defined]
    body = {"resourceType": "Patient", "id": "p"}
    put = await dispatch(Request("PUT", "", "Patient/p", body=body, headers={"prefer": "return=minimal"}))
    assert (put.status, put.resource, put.headers["ETag"]) == (201, None, 'W/"1"')
    assert put.headers["Location"] == f"{client.base_url}Patient/p/_history/1"
    assert (await dispatch(Request("GET", "", "/Patient/p"))).resource["id"] == "p"
    known = await dispatch(Request("GET", "", "Patient/p", headers={"if-none-match": 'W/"1"'}))
    assert (known.status, known.resource) == (304, None)
    for method, path, status in (("GET", "Unicorn/1", 404), ("PUT", "metadata", 405)):
        with pytest.raises(FhirError) as refused:
            await dispatch(Request(method, "", path))
        assert refused.value.status == status
