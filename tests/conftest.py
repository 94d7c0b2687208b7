"""One MongoDB for the whole run, and a database of its own for each test."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from motor.motor_asyncio import AsyncIOMotorClient

from fhir_server.store.embedded import running

pytest_plugins = ("tests.emitted", "tests.served")

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A run that was started in the background may ignore SIGINT, and so would the processes that tests start."""

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def mongodb_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MONGODB_URI, or a store started for this run."""
    given = os.environ.get("MONGODB_URI")
    if given:
        yield given
        return
    with running(tmp_path_factory.mktemp("data")) as uri:
        yield uri


@pytest.fixture
async def database(mongodb_uri: str) -> AsyncIterator[str]:
    """The name of a database that nobody else uses; it is dropped afterwards, whoever was killed while using it."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongodb_uri)
    try:
        await client.admin.command("killAllSessions", [])
        await client.drop_database(name)
    finally:
        client.close()
