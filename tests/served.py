"""The server under test: the whole application on a database of its own, with a clock that the test sets."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from motor.motor_asyncio import AsyncIOMotorDatabase

from fhir_server.app import create
from fhir_server.settings import Settings
from fhir_server.store import Store
from tests.answers import check_answer
from tests.clinic import CLINIC, NOW
from tests.emitted import Emitted

BASE = "http://127.0.0.1:8000/fhir/"

Clock = list[datetime]


@pytest.fixture(scope="session")
async def usual(
    mongodb_uri: str, kept_database: AsyncIOMotorDatabase[dict[str, Any]]
) -> AsyncIterator[tuple[FastAPI, Clock]]:
    """The application with the usual settings on the database that every test finds empty, and its clock. It is opened
    once: that costs more than most tests."""
    clock = [NOW]
    app = create(Settings(mongodb_uri=mongodb_uri, database=kept_database.name, sweep_seconds=0), lambda: clock[0])
    async with app.router.lifespan_context(app):
        yield app, clock


@pytest.fixture
def clock(usual: tuple[FastAPI, Clock]) -> Clock:
    """The clock of every server of the test; it stands until the test sets it."""
    _, clock = usual
    clock[0] = NOW
    return clock


@pytest.fixture
def set_clock(clock: Clock) -> Callable[[datetime], None]:
    def set_to(moment: datetime) -> None:
        clock[0] = moment

    return set_to


@pytest.fixture
async def client_with(
    mongodb_uri: str, database: str, usual: tuple[FastAPI, Clock], clock: Clock, emitted: Emitted
) -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """Opens a server on the test's database with these settings; with `clinic=True` the test clinic is in it."""
    async with AsyncExitStack() as stack:

        async def open_client(*, clinic: bool = False, **chosen: Any) -> httpx.AsyncClient:
            settings = Settings(mongodb_uri=mongodb_uri, database=database, **{"sweep_seconds": 0, **chosen})
            if chosen:
                client = await opened(stack, settings, lambda: clock[0], emitted)
            else:
                client = await stack.enter_async_context(_client_of(usual[0], emitted, BASE))
                client.app.state.server.store.guards.known.clear()  # type: ignore[attr-defined]
                client.app.state.server.settled.until = None  # type: ignore[attr-defined]
            await asyncio.gather(*(_put(client, resource) for resource in CLINIC if clinic))
            return client

        yield open_client


async def _put(client: httpx.AsyncClient, resource: dict[str, Any]) -> None:
    url = f"/{resource['resourceType']}/{resource['id']}"
    (await client.put(url, json=resource)).raise_for_status()


async def opened(
    stack: AsyncExitStack, settings: Settings, now: Callable[[], datetime], emitted: Emitted | None, base: str = BASE
) -> httpx.AsyncClient:
    """A client of a server of its own, open as long as the stack."""
    app = create(settings, now)
    await stack.enter_async_context(app.router.lifespan_context(app))
    return await stack.enter_async_context(_client_of(app, emitted, base))


def _client_of(app: FastAPI, emitted: Emitted | None, base: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url=base)
    client.headers["accept"] = "application/fhir+json"
    if emitted:
        listen(client, emitted)
    client.app = app  # type: ignore[attr-defined]
    return client


def listen(client: httpx.AsyncClient, emitted: Emitted) -> None:
    """Checks every answer that the client gets and keeps what it says."""
    client.event_hooks["response"] += [check_answer, emitted.note]


@pytest.fixture(scope="session")
async def reader(mongodb_uri: str, emitted: Emitted) -> AsyncIterator[httpx.AsyncClient]:
    """A server with nothing stored in it, the same for all tests that only read."""
    settings = Settings(mongodb_uri=mongodb_uri, database=f"reader_{uuid.uuid4().hex}")
    async with AsyncExitStack() as stack:
        client = await opened(stack, settings, lambda: NOW, emitted)
        yield client
        store = client.app.state.server.store  # type: ignore[attr-defined]
        await store.db.client.drop_database(store.db.name)


@pytest.fixture
async def client(client_with: Callable[..., Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    """A server with nothing in it."""
    return await client_with()


@pytest.fixture
async def clinic(client_with: Callable[..., Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    """A server with the test clinic in it."""
    return await client_with(clinic=True)


@pytest.fixture
def store(clinic: httpx.AsyncClient) -> Store:
    """The store of the test clinic's server."""
    return clinic.app.state.server.store  # type: ignore[attr-defined, no-any-return]
