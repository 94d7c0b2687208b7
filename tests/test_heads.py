"""What a real client sees through uvicorn: limits on what stands before a body, and what only a server adds."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn

from fhir_server.app import create
from fhir_server.heads import HEAD_BYTES_MAX, BoundedProtocol
from fhir_server.settings import Settings
from tests.emitted import Emitted
from tests.outcomes import assert_outcome
from tests.served import listen


@pytest.fixture
async def address(mongodb_uri: str, database: str) -> AsyncIterator[tuple[str, int]]:
    """Where the application is served, as `fhir-server serve` does it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create(Settings(mongodb_uri=mongodb_uri, database=database))
        server = uvicorn.Server(uvicorn.Config(app, http=BoundedProtocol, log_config=None, access_log=False))
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()
        server.should_exit = True
        await serving


@pytest.fixture
async def client(address: tuple[str, int], emitted: Emitted) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{address[1]}/fhir") as client:
        listen(client, emitted)
        yield client


async def exchange(address: tuple[str, int], *pieces: bytes) -> tuple[int, dict[str, object]]:
    """The status and the body of the answer to bytes that are sent in these pieces."""
    reader, writer = await asyncio.open_connection(*address)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    assert b"application/fhir+json" in head
    return int(head.split()[1]), json.loads(body)


async def test_answers_have_a_date(client: httpx.AsyncClient) -> None:
    assert (await client.get("/metadata")).headers["date"].endswith("GMT")


async def test_a_head_has_the_length_of_the_get_and_no_body(client: httpx.AsyncClient) -> None:
    plain = {"Accept-Encoding": "identity"}
    head = await client.head("/metadata", headers=plain)
    assert head.content == b""
    assert int(head.headers["content-length"]) == len((await client.get("/metadata", headers=plain)).content)


@pytest.mark.parametrize("length", [8_001, 50_000, 64_000, 70_000, 90_000])
async def test_a_long_url_is_refused_by_the_application(address: tuple[str, int], length: int) -> None:
    url = f"/fhir/Patient?_id={'x' * length}".encode()
    status, outcome = await exchange(address, b"GET " + url + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (status, outcome["resourceType"]) == (414, "OperationOutcome")


@pytest.mark.parametrize("length", [32_001, 90_000])
async def test_long_headers_are_refused_by_the_application(client: httpx.AsyncClient, length: int) -> None:
    assert_outcome(await client.get("/metadata", headers={"X-Long": "x" * length}), 431, "too-long")


async def test_many_headers_are_refused_by_the_application(client: httpx.AsyncClient) -> None:
    assert_outcome(await client.get("/metadata", headers={f"X-{n}": "1" for n in range(100)}), 431, "too-long")


async def test_a_head_without_end_is_cut_off(address: tuple[str, int]) -> None:
    line = b"x-more: " + b"x" * 1000 + b"\r\n"
    status, outcome = await exchange(
        address, b"GET /fhir/metadata HTTP/1.1\r\nhost: x\r\n", *[line] * (HEAD_BYTES_MAX // len(line) + 1)
    )
    assert (status, outcome["resourceType"]) == (431, "OperationOutcome")


async def test_one_header_without_end_is_cut_off(address: tuple[str, int]) -> None:
    status, outcome = await exchange(
        address, b"GET /fhir/metadata HTTP/1.1\r\nhost: x\r\nx-long: ", *[b"x" * 1000] * (HEAD_BYTES_MAX // 1000 + 1)
    )
    assert (status, outcome["resourceType"]) == (431, "OperationOutcome")


async def test_a_url_without_end_is_cut_off(address: tuple[str, int]) -> None:
    status, _ = await exchange(address, b"GET /fhir/", *[b"x" * 1000] * (HEAD_BYTES_MAX // 1000 + 1))
    assert status == 431


async def test_what_is_no_http_is_refused_with_an_outcome(address: tuple[str, int]) -> None:
    status, outcome = await exchange(address, b"HELLO\r\n\r\n")
    assert (status, outcome["resourceType"]) == (400, "OperationOutcome")


async def test_a_connection_serves_one_request_after_another(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        long = {"X-Long": "x" * 30_000}
        assert (await client.get("/metadata", headers=long)).status_code == 200
        body = b'{"resourceType":"Patient"}'.ljust(300_000)
        posted = await client.post("/Patient", content=body, headers={**long, "Content-Type": "application/fhir+json"})
        assert posted.status_code == 201
