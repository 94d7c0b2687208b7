"""One MongoDB for the whole run, and a database in it that every test finds empty."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase

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


@pytest.fixture(scope="session")
async def kept_database(mongodb_uri: str) -> AsyncIterator[AsyncIOMotorDatabase[dict[str, Any]]]:
    """The database of this run. It is emptied after each test, not dropped: indexes take longer to make than a test."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongodb_uri)
    try:
        name = f"test_{uuid.uuid4().hex}"
        yield client[name]
        await client.drop_database(name)
    finally:
        client.close()


@pytest.fixture
async def database(kept_database: AsyncIOMotorDatabase[dict[str, Any]]) -> AsyncIterator[str]:
    """The name of a database with nothing in it; whoever was killed while using it holds nothing in it afterwards."""
    yield kept_database.name
    await kept_database.client.admin.command("killAllSessions", [])
    collections = await kept_database.list_collection_names()
    await asyncio.gather(*(kept_database[collection].delete_many({}) for collection in collections))
