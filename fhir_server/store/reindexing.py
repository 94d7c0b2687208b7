"""Makes the search index anew after the rows, the base URL or the zone have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pymongo import UpdateOne

from fhir_server.outcome import Json
from fhir_server.store import documents
from fhir_server.store.schema import Database
from fhir_server.store.writes import Frame

BATCH = 200


async def reindex(db: Database, frame: Frame, type: str, progress: Callable[[int], None]) -> int:
    """How many documents of the type had another index than they should; they have the right one now.

    A document that is written meanwhile is left alone: its writer has indexed it.
    """
    done = changed = 0
    last = ""
    while batch := await _batch(db, type, last):
        changes = [change for document in batch if (change := _change(frame, type, document))]
        if changes:
            result = await db[type].bulk_write(changes, ordered=False)
            changed += result.modified_count
        done += len(batch)
        last = batch[-1]["_id"]
        progress(done)
        await asyncio.sleep(0)
    return changed


async def _batch(db: Database, type: str, last: str) -> list[Json]:
    found = db[type].find({"_id": {"$gt": last}}, sort=[("_id", 1)], limit=BATCH, batch_size=BATCH + 1)
    return await found.to_list(None)


def _change(frame: Frame, type: str, document: Json) -> UpdateOne | None:
    right = documents.indexed(frame.rows[type], document["resource"], zone=frame.zone, base=frame.base)
    if all(document.get(part) == value for part, value in right.items()):
        return None
    return UpdateOne({"_id": document["_id"], "version": document["version"]}, {"$set": right})
