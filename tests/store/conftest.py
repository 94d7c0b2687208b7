"""A store with the real rows for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fhir_server.resources import ROWS
from fhir_server.store import Store

BASE = "http://localhost/fhir"


@pytest.fixture
async def store(mongodb_uri: str, database: str) -> AsyncIterator[Store]:
    store = await Store.open(mongodb_uri, database, ROWS, base=BASE)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def neighbour(mongodb_uri: str, store: Store) -> AsyncIterator[Store]:
    """The same database as another process sees it: nothing is shared but MongoDB."""
    other = await Store.open(mongodb_uri, store.db.name, ROWS, base=BASE)
    try:
        yield other
    finally:
        await other.close()
