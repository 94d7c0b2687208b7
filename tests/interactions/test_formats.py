"""How requests and answers are spelled: JSON and XML, chosen by the client; plain or gzip; pretty or not."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request as Asked

from fhir_server import document, markup
from fhir_server.wire import PARSERS, PRINTERS, negotiate
from tests.clinic import BUILDERS, patient
from tests.outcomes import assert_outcome

Opening: TypeAlias = Callable[..., Awaitable[httpx.AsyncClient]]

EXAMPLES = Path(__file__).parents[1] / "data" / "r4-examples"
JSON, XML = "application/fhir+json", "application/fhir+xml"
XML_BOTH_WAYS = {"Accept": XML, "Content-Type": XML}


def media(response: httpx.Response) -> str:
    """The Content-Type without its charset, which is always the same."""
    type, charset = response.headers["content-type"].split("; ")
    assert charset == "charset=utf-8"
    return type


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("*/*", JSON),
        ("", JSON),
        ("application/*", JSON),
        ("application/fhir+json", JSON),
        ("Application/FHIR+JSON; charset=utf-8", JSON),
        ("application/json", "application/json"),
        ("text/json", "text/json"),
        ("application/json+fhir", "application/json+fhir"),
        ("application/fhir+xml", XML),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("text/*", "text/json"),
        ("application/fhir+xml, application/fhir+json", JSON),
        ("application/fhir+xml, application/fhir+json;q=0.9", XML),
        ("application/fhir+xml;q=0.8, application/fhir+json;q=0.9", JSON),
        ("application/fhir+xml, */*;q=0.1", XML),
        ("application/fhir+json;q=0, */*", "application/json"),
        ("image/png, application/fhir+xml;q=0.1", XML),
        ("application/fhir+json;q=nonsense", JSON),
        ("application/fhir+json; fhirVersion=4.0", JSON),
        ("application/fhir+json; fhirVersion=5.0, application/fhir+xml; fhirVersion=4.0;q=0.2", XML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
    ],
)
async def test_the_client_chooses_the_format_by_accept(client: httpx.AsyncClient, accept: str, answer: str) -> None:
    for path in ("/metadata", "/Patient/nobody"):
        assert media(await client.get(path, headers={"Accept": accept})) == answer


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "application/fhir+json;q=0",
        "application/fhir+json;q=0.0, image/*",
        "application/fhir+turtle",
        "application/fhir+json; fhirVersion=3.0",
    ],
)
async def test_a_format_that_there_is_not_is_not_acceptable(client: httpx.AsyncClient, accept: str) -> None:
    text = assert_outcome(await client.get("/metadata", headers={"Accept": accept}), 406, "not-supported")
    assert JSON in text["diagnostics"]
    assert XML in text["diagnostics"]


@pytest.mark.parametrize(
    ("format", "answer"),
    [
        ("json", JSON),
        ("xml", XML),
        ("XML", XML),
        ("application/fhir+json", JSON),
        ("application/fhir%2Bxml", XML),
        ("application/json", JSON),
        ("application/xml", XML),
        ("text/xml", XML),
        ("application/fhir%2Bxml;charset=utf-8", XML),
        ("application/fhir%2Bxml;fhirVersion=4.0", XML),
    ],
)
async def test_format_goes_before_accept(client: httpx.AsyncClient, format: str, answer: str) -> None:
    for accept in (JSON, XML, "image/png"):
        assert media(await client.get(f"/metadata?_format={format}", headers={"Accept": accept})) == answer


@given(
    st.text(st.characters(max_codepoint=255), max_size=30)
    | st.from_regex(r"[a-z*]+/[a-z*+]+(;q=[0-9.]+)?", fullmatch=True)
)
def test_whatever_is_asked_for_is_a_format_of_ours_or_none(text: str) -> None:
    for headers, query in (([(b"accept", text.encode("latin-1"))], ""), ([], urlencode({"_format": text}))):
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": query.encode()}
        assert negotiate(Asked(scope)) in {None, *PRINTERS}


async def test_caches_ask_each_time(client: httpx.AsyncClient) -> None:
    for path in ("/metadata", "/Patient", "/Patient/nobody"):
        assert "no-cache" in (await client.get(path)).headers["cache-control"]


async def test_a_form_says_its_format_too(client: httpx.AsyncClient) -> None:
    found = await client.post("/Patient/_search", data={"_format": "xml", "_pretty": "true"})
    assert media(found) == XML
    assert found.content.count(b"\n") > 2
    assert_outcome(await client.post("/Patient/_search", data={"_format": "ttl"}), 406, "not-supported")


@pytest.mark.parametrize("format", ["ttl", "html", "application/fhir%2Bjson;fhirVersion=5.0"])
async def test_a_format_of_another_name_is_not_acceptable(client: httpx.AsyncClient, format: str) -> None:
    assert_outcome(await client.get(f"/metadata?_format={format}"), 406, "not-supported")


@pytest.mark.parametrize(
    ("type", "status"),
    [
        (JSON, 201),
        ("application/json", 201),
        ("text/json", 201),
        ("application/fhir+json; charset=UTF-8", 201),
        ('application/fhir+json; charset="utf-8"; fhirVersion=4.0', 201),
        ("application/fhir+json; charset=latin-1", 415),
        ("application/fhir+json; charset=utf-16", 415),
        ("application/fhir+json; fhirVersion=3.0", 415),
        ("text/plain", 415),
        ("application/fhir+turtle", 415),
        ("", 415),
    ],
)
async def test_a_body_is_what_its_content_type_says(client: httpx.AsyncClient, type: str, status: int) -> None:
    response = await client.post("/Patient", content=b'{"resourceType":"Patient"}', headers={"Content-Type": type})
    assert response.status_code == status, response.text
    if status != 201:
        assert_outcome(response, 415, "not-supported")


@pytest.mark.parametrize("type", ["application/fhir+xml", "application/xml", "text/xml; charset=utf-8"])
async def test_a_body_can_be_xml(client: httpx.AsyncClient, type: str) -> None:
    body = b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>'
    created = await client.post("/Patient", content=body, headers={"Content-Type": type})
    assert created.status_code == 201
    assert media(created) == JSON
    assert created.json()["active"] is True


@pytest.mark.parametrize("type", sorted(BUILDERS))
async def test_every_type_can_be_written_and_read_as_xml(clinic: httpx.AsyncClient, type: str) -> None:
    sent = BUILDERS[type]("as-xml")
    put = await clinic.put(f"/{type}/as-xml", content=markup.print(sent), headers=XML_BOTH_WAYS)
    assert put.status_code == 201, put.text
    assert (media(put), put.headers["etag"]) == (XML, 'W/"1"')
    assert put.headers["location"].endswith(f"/{type}/as-xml/_history/1")
    xml = await clinic.get(f"/{type}/as-xml", headers=XML_BOTH_WAYS)
    assert markup.parse(xml.content) == markup.parse(put.content) == await as_json(clinic, f"/{type}/as-xml")


async def as_json(client: httpx.AsyncClient, path: str) -> Any:
    return document.parse((await client.get(path)).content)


@pytest.mark.parametrize(
    "name", ["Patient-example", "Practitioner-f001", "Organization-f001", "Location-1", "Patient-glossy"]
)
async def test_an_official_example_is_the_same_in_both_formats(client: httpx.AsyncClient, name: str) -> None:
    sent = markup.parse((EXAMPLES / f"{name}.xml").read_bytes())
    alone = {key: value for key, value in sent.items() if key not in ("managingOrganization", "link", "partOf")}
    created = await client.post(
        f"/{sent['resourceType']}", content=markup.print(alone), headers={"Content-Type": XML, "Accept": XML}
    )
    assert created.status_code == 201, created.text
    kept = await as_json(client, f"/{sent['resourceType']}/{markup.parse(created.content)['id']}")
    assert without_server_elements(kept) == without_server_elements(alone)


def without_server_elements(resource: Any) -> Any:
    meta = {key: value for key, value in resource.get("meta", {}).items() if key not in ("versionId", "lastUpdated")}
    kept = {key: value for key, value in resource.items() if key not in ("id", "meta")}
    return kept | ({"meta": meta} if meta else {})


async def test_decimals_keep_their_digits_from_one_format_to_the_other(client: httpx.AsyncClient) -> None:
    position = {"longitude": Decimal("-83.6945690"), "latitude": Decimal("42.25475478"), "altitude": Decimal("0.10")}
    sent = markup.print({"resourceType": "Location", "id": "l", "position": position})
    await client.put("/Location/l", content=sent, headers=XML_BOTH_WAYS)
    assert b'"longitude":-83.6945690' in (await client.get("/Location/l")).content
    assert b'<longitude value="-83.6945690"/>' in (await client.get("/Location/l?_format=xml")).content
    assert b'"altitude":0.10' in (await client.get("/Location/l")).content


async def test_bundles_statements_and_outcomes_are_xml_too(clinic: httpx.AsyncClient) -> None:
    paths = ("/Patient", "/Schedule?_count=2", "/metadata", "/Patient/nobody", "/Unicorn", "/OperationDefinition")
    for path in paths:
        xml, json = await clinic.get(path, headers={"Accept": XML}), await clinic.get(path)
        assert media(xml) == XML
        assert xml.status_code == json.status_code
        read = markup.parse(xml.content)
        assert read["resourceType"] == json.json()["resourceType"]
        assert read == document.parse(json.content) or path.startswith("/Unicorn")


async def test_an_operation_takes_its_parameters_as_xml(clinic: httpx.AsyncClient) -> None:
    window = {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"}
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": name, "valueDateTime": value} for name, value in window.items()],
    }
    schedule = (await clinic.get("/Schedule")).json()["entry"][0]["resource"]["id"]
    found = await clinic.post(
        f"/Schedule/{schedule}/$find-slots", content=markup.print(parameters), headers=XML_BOTH_WAYS
    )
    assert found.status_code == 200, found.text
    assert markup.parse(found.content)["resourceType"] == "Bundle"


async def test_a_refusal_is_said_in_the_format_of_the_answer(client: httpx.AsyncClient) -> None:
    body = b'<Patient xmlns="http://hl7.org/fhir"><wings value="2"/></Patient>'
    refused = await client.post("/Patient", content=body, headers=XML_BOTH_WAYS)
    assert (refused.status_code, media(refused)) == (400, XML)
    issue = markup.parse(refused.content)["issue"][0]
    assert (issue["code"], issue["expression"]) == ("structure", ["Patient.wings"])


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE Patient [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        b'<Patient xmlns="http://hl7.org/fhir"><language value="&a;"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/>',
        b'{"resourceType":"Patient"}',
    ],
)
async def test_malformed_xml_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/Patient", content=body, headers={"Content-Type": XML})
    assert_outcome(response, 400, "structure")
    assert "root:" not in response.text


async def test_pretty_is_the_same_with_line_breaks(client: httpx.AsyncClient) -> None:
    for path, parse in (("/metadata?_format=json", document.parse), ("/metadata?_format=xml", markup.parse)):
        plain, pretty = await client.get(path), await client.get(f"{path}&_pretty=true")
        assert parse(plain.content) == parse(pretty.content)
        assert plain.content.count(b"\n") < 2 < pretty.content.count(b"\n")
        assert (await client.get(f"{path}&_pretty=false")).content == plain.content
    assert (await client.get("/Unicorn?_pretty=true")).content.count(b"\n") > 2


async def test_a_browser_gets_json_for_people(client: httpx.AsyncClient) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
    shown = await client.get("/metadata?_count=1", headers={"Accept": accept})
    assert media(shown) == "application/json"
    assert b"\n" in shown.content


async def test_a_page_is_for_who_prefers_it_to_all_else(client: httpx.AsyncClient) -> None:
    for accept, page in (
        ("text/html", True),
        ("text/html, */*;q=0.8", True),
        ("application/fhir+json;q=0.1, text/html;q=0.2", True),
        ("application/fhir+json, text/html;q=0.1", False),
        ("application/fhir+json, text/html;q=0", False),
        ("*/*", False),
    ):
        answer = await client.get("/", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("text/html") is page, accept
    plain = await client.get("/metadata", headers={"Accept": "application/fhir+json, text/html;q=0.1"})
    assert plain.content.count(b"\n") < 2


async def test_links_keep_the_format(clinic: httpx.AsyncClient) -> None:
    window = "start=2026-03-02T00:00:00Z&end=2026-03-06T00:00:00Z"
    for path in ("Patient?", "Patient/ann/$everything?", f"Schedule/smith-main/$find-slots?{window}&"):
        asked = await clinic.get(f"/{path}_count=1&_format=xml", headers={"Accept": JSON})
        assert asked.status_code == 200, asked.text
        links = markup.parse(asked.content)["link"]
        assert all("_format=xml" in link["url"] for link in links)


async def test_preferences_hold_for_every_format(client: httpx.AsyncClient) -> None:
    body = markup.print(patient(id="p"))
    minimal = await client.put("/Patient/p", content=body, headers={**XML_BOTH_WAYS, "Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (201, b"")
    outcome = await client.put(
        "/Patient/p", content=body, headers={**XML_BOTH_WAYS, "Prefer": "return=OperationOutcome"}
    )
    assert markup.parse(outcome.content)["resourceType"] == "OperationOutcome"


async def test_long_answers_are_compressed_for_clients_that_take_it(client: httpx.AsyncClient) -> None:
    plain = await client.get("/metadata", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip", "deflate, gzip;q=0.5", "*"):
        packed = await client.get("/metadata", headers={"Accept-Encoding": accepted})
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < len(plain.content) / 2
        assert packed.content == plain.content
        assert "Accept-Encoding" in packed.headers["vary"]
    for refused in ("gzip;q=0", "gzip;q=0, *", "br", ""):
        assert "content-encoding" not in (await client.get("/metadata", headers={"Accept-Encoding": refused})).headers
    short = await client.get("/Patient/nobody", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in short.headers


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZIP"])
async def test_a_body_can_be_compressed(client: httpx.AsyncClient, name: str) -> None:
    body = gzip.compress(document.print(patient(id="p")))
    headers = {"Content-Type": JSON, "Content-Encoding": name}
    assert (await client.put("/Patient/p", content=body, headers=headers)).status_code in (200, 201)

    async def chunks() -> Any:
        for byte in body:
            yield bytes([byte])

    assert (await client.put("/Patient/p", content=chunks(), headers=headers)).status_code == 200


async def test_a_compressed_body_is_bound_by_its_expanded_size(client_with: Opening) -> None:
    client = await client_with(body_bytes_max=1000)
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    fitting = b'{"resourceType":"Patient"}'.ljust(1000)
    assert (await client.post("/Patient", content=gzip.compress(fitting), headers=headers)).status_code == 201
    packed = gzip.compress(fitting + b" ")
    assert len(packed) < 1000
    assert_outcome(await client.post("/Patient", content=packed, headers=headers), 413, "too-long")


async def test_a_bomb_is_not_expanded(client_with: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    expanded = 0
    original = zlib.decompressobj

    class Counting:
        def __init__(self, wbits: int) -> None:
            self.inner = original(wbits=wbits)

        def decompress(self, data: bytes, length: int) -> bytes:
            nonlocal expanded
            found = self.inner.decompress(data, length)
            expanded += len(found)
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    client = await client_with(body_bytes_max=10_000)
    bomb = gzip.compress(bytes(50_000_000))
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    assert_outcome(await client.post("/Patient", content=bomb, headers=headers), 413, "too-long")
    assert expanded == 10_001


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        gzip.compress(b'{"resourceType":"Patient"}')[:-9],
        gzip.compress(b'{"resourceType":"Patient"}') + b"more",
        random.Random(1).randbytes(100),
    ],
    ids=["plain", "half", "more", "noise"],
)
async def test_what_is_not_gzip_as_it_says_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    assert_outcome(await client.post("/Patient", content=body, headers=headers), 400, "structure")


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip"])
async def test_other_encodings_are_unsupported(client: httpx.AsyncClient, encoding: str) -> None:
    headers = {"Content-Type": JSON, "Content-Encoding": encoding}
    response = await client.post("/Patient", content=b"{}", headers=headers)
    assert_outcome(response, 415, "not-supported")
    assert response.headers["accept-encoding"] == "gzip"


def test_what_can_be_sent_can_be_received() -> None:
    assert PARSERS.keys() == PRINTERS.keys()
