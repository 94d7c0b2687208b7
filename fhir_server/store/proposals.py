"""Appointments that were proposed to a client: kept for a while, so that it can ask for one of them by its id
(conformance/decisions/0023-doors.md). They are no resources: nobody reads or searches them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fhir_server.outcome import Json
from fhir_server.store.schema import Database


async def keep(db: Database, key: str, proposals: Sequence[Json], now: datetime) -> None:
    """Keeps what one search proposed, under the part that its ids share."""
    await db["proposals"].insert_one({"_id": key, "proposals": list(proposals), "at": now})


async def recall(db: Database, id: str, now: datetime, lasting: timedelta) -> Json | None:
    """The proposal of that id, None if there is none, or none any more."""
    kept = await db["proposals"].find_one({"_id": id.rpartition("-")[0]})
    if kept is None or not kept["at"] <= now < kept["at"] + lasting:
        return None
    return next((one for one in kept["proposals"] if one["id"] == id), None)
