"""The collections and their indexes, made before anything is served: a transaction cannot wait for either."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import IndexModel
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhir_server import search
from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import FhirError, Json
from fhir_server.store.documents import CODEC

Client: TypeAlias = AsyncIOMotorClient[Json]
Database: TypeAlias = AsyncIOMotorDatabase[Json]

NAMESPACE_EXISTS = 48
NO_TRANSACTIONS = frozenset({20, 263})

WAIT_SECONDS_MAX = 2.0
DAY_SECONDS = 24 * 3600

MAJORITY = WriteConcern("majority", j=True)

OTHERS: Mapping[str, Sequence[IndexModel]] = {
    "claims": (
        IndexModel([("day", 1)]),
        IndexModel([("actor", 1), ("start", 1)]),
        IndexModel([("owner", 1)]),
    ),
    "guards": (),
    "outbox": (IndexModel([("at", 1), ("version", 1), ("_id", 1)]),),
    "events": (IndexModel([("source", 1)], unique=True),),
    "conditions": (IndexModel([("at", 1)], expireAfterSeconds=DAY_SECONDS),),
    "idempotency": (IndexModel([("at", 1)], expireAfterSeconds=DAY_SECONDS),),
    "proposals": (IndexModel([("at", 1)], expireAfterSeconds=DAY_SECONDS),),
    "health": (),
}
"""The collections that are no resource type, and their indexes. A guard is made again where one is missing."""

HISTORY = (
    IndexModel([("id", 1), ("version", -1)]),
    IndexModel([("updated", 1), ("id", 1), ("version", 1)]),
)

REFERRED = IndexModel([("refs", 1)])


def history_name(type: str) -> str:
    """The collection of the versions of a type that are not current."""
    return f"{type}_history"


def connect(uri: str, *, deadline_seconds: float | None, **options: Any) -> Client:
    """A client whose every wait ends about the deadline; without one a statement may take as long as it takes."""
    wait_seconds = min(WAIT_SECONDS_MAX, deadline_seconds or WAIT_SECONDS_MAX)
    return AsyncIOMotorClient(
        uri,
        appname="fhir-server",
        heartbeatFrequencyMS=500,
        serverSelectionTimeoutMS=int(wait_seconds * 1000),
        connectTimeoutMS=int(wait_seconds * 1000),
        waitQueueTimeoutMS=5_000,
        socketTimeoutMS=None if deadline_seconds is None else int((deadline_seconds + 1) * 1000),
        **options,
    )


async def disconnect(client: Client) -> None:
    """Closes the client, which says goodbye to the server, without holding up the event loop."""
    await asyncio.to_thread(client.close)


def database(client: Client, name: str) -> Database:
    """Writes wait for the journals of a majority, and reads give nothing that could be rolled back."""
    return client.get_database(name, codec_options=CODEC, write_concern=MAJORITY, read_concern=ReadConcern("majority"))


async def prepare(uri: str, name: str, rows: Mapping[str, ResourceDefinition]) -> None:
    """Makes what is missing of the collections and indexes; refuses a MongoDB without transactions."""
    client = connect(uri, deadline_seconds=None)
    try:
        db = database(client, name)
        wanted = {type: [*(IndexModel(keys) for keys in search.indexes(row)), REFERRED] for type, row in rows.items()}
        wanted |= {history_name(type): list(HISTORY) for type in rows}
        wanted |= {other: list(models) for other, models in OTHERS.items()}
        existing = set(await db.list_collection_names())
        for collection, models in wanted.items():
            if collection not in existing:
                await _create(db, collection)
            if models:
                await db[collection].create_indexes(models)
        await _refuse_without_transactions(client, db)
        await _end_abandoned(client)
    finally:
        await disconnect(client)


async def _create(db: Database, collection: str) -> None:
    try:
        await db.command("create", collection)
    except OperationFailure as error:
        if error.code != NAMESPACE_EXISTS:
            raise


async def _refuse_without_transactions(client: Client, db: Database) -> None:
    try:
        async with await client.start_session() as session, session.start_transaction():
            await db["health"].find_one({}, session=session)
    except OperationFailure as error:
        if error.has_error_label("TransientTransactionError"):
            return  # another server that opens the store ended it, which shows that there are transactions
        if error.code not in NO_TRANSACTIONS:
            raise
        text = "This MongoDB has no transactions. Start mongod with --replSet and initiate the replica set."
        raise FhirError("not-supported", text) from None


async def _end_abandoned(client: Client) -> None:
    """Ends transactions that a killed process left open in the embedded store, which keeps them for a minute.

    Only that store has transactions without being a replica set or a router. Others' transactions that are under
    way end too, and are tried again by those who run them.
    """
    hello = await client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        await client.admin.command("killAllSessions", [])
