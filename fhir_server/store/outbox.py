"""Follows what happened, from a cursor, without missing anything (conformance/decisions/0002-document-shape.md).

Transactions commit in another order than they take the time, so no order of time can be followed safely. Events are
therefore written without a number (`outbox`, in the transaction) and get one afterwards (`events`): the next one,
which a unique `_id` gives to one event and a unique `source` to each event once. Whoever follows does that first.

    outbox  b  c        events  1:a                 b and c have happened, nobody has followed yet
    outbox  c           events  1:a  2:b            any follower, or several at once, moves them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pymongo.errors import PyMongoError

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Event
from fhir_server.store.failures import is_duplicate
from fhir_server.store.schema import Database

BATCH = 500


@dataclass(frozen=True, slots=True)
class Happened:
    """An event with its number; `version` of the resource is None if the resource itself was not written."""

    number: int
    at: datetime
    who: str | None
    version: int | None
    event: Event


async def follow(db: Database, cursor: str | None, limit: int) -> tuple[Sequence[Happened], str]:
    """At most `limit` events after the cursor (None: from the first one on), oldest first, and the next cursor.

    Every event comes exactly once to whoever keeps the cursor, whenever its transaction was committed; the events
    of one resource come in the order of its versions. A cursor of another kind is refused with 400.
    """
    after = _read(cursor)
    await _number(db)
    found = db["events"].find({"_id": {"$gt": after}}, sort=[("_id", 1)], limit=limit, batch_size=limit + 1)
    events = [_happened(document) for document in await found.to_list(None)]
    return events, str(events[-1].number if events else after)


def _read(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise FhirError("value", "The cursor of the events is not one that was given.", status=400)
    return int(cursor)


async def _number(db: Database) -> None:
    """Gives all events that are without a number the next ones."""
    while waiting := await _oldest(db):
        last = await db["events"].find_one({}, {"_id": 1}, sort=[("_id", -1)])
        first = last["_id"] + 1 if last else 1
        numbered = [{**event, "_id": first + place, "source": event["_id"]} for place, event in enumerate(waiting)]
        try:
            await db["events"].insert_many(numbered, ordered=True)
        except PyMongoError as error:
            if not is_duplicate(error):
                raise
            await _forget_numbered(db, waiting)
        else:
            await _forget(db, [event["_id"] for event in waiting])


async def _oldest(db: Database) -> list[Json]:
    found = db["outbox"].find({}, sort=[("at", 1), ("version", 1), ("_id", 1)], limit=BATCH, batch_size=BATCH + 1)
    return await found.to_list(None)


async def _forget_numbered(db: Database, waiting: Sequence[Json]) -> None:
    """Another follower came first, or one was stopped half-way: what has a number needs no other."""
    ids = [event["_id"] for event in waiting]
    known = await db["events"].find({"source": {"$in": ids}}, {"source": 1}).to_list(None)
    await _forget(db, [each["source"] for each in known])


async def _forget(db: Database, ids: Sequence[str]) -> None:
    if ids:
        await db["outbox"].delete_many({"_id": {"$in": list(ids)}})


def _happened(document: Json) -> Happened:
    event = Event(
        document["resource"],
        document["action"],
        document["old_status"],
        document["new_status"],
        document["reason"],
        document["priority"],
    )
    return Happened(document["_id"], document["at"], document["who"], document["version"], event)
