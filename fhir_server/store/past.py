"""Histories of a resource, a type or everything, newest first (http://hl7.org/fhir/R4/http.html#history).

Versions are in the order of their time, latest first; of those at the same time by type, then by id and version
backwards, which an index over (updated, id, version) reads in reverse. Pages are cut by place in that order.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.search.filters import conjoin
from fhir_server.store.documents import stored
from fhir_server.store.schema import Database, history_name

CURSOR = re.compile(r"(\d{1,15})\.([A-Za-z]{1,64})\.(\d{1,9})\.([A-Za-z0-9\-.]{1,64})", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Past:
    """Which versions are asked for: of one `id` if it is given, made at `since` or later, current at some time in
    [at[0], at[1]), after the `cursor`. `total` says whether to count them."""

    types: Sequence[str]
    id: str | None = None
    count: int = 50
    cursor: str | None = None
    since: datetime | None = None
    at: tuple[datetime, datetime] | None = None
    total: bool = True


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions, newest first, deletions included; `next` is the cursor of what is older. `total` is of all pages, None
    where it was not asked for."""

    stored: Sequence[Stored]
    total: int | None
    next: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """A version's place in the order."""

    updated: datetime
    type: str
    version: int
    id: str


async def history(db: Database, past: Past) -> Versions:
    """A page of the versions that are asked for. Two round trips; each has a statement for each type."""
    page, total = await asyncio.gather(_page(db, past), _total(db, past))
    found = _in_order(page)
    shown = found[: past.count]
    return Versions(shown, total, _cursor(shown[-1]) if shown and len(found) > past.count else None)


async def _page(db: Database, past: Past) -> list[Stored]:
    place = _read_cursor(past)
    if past.count == 0:
        return []
    groups = await asyncio.gather(*(_versions(db, past, type, place) for type in past.types))
    return [each for group in groups for each in group]


async def _total(db: Database, past: Past) -> int | None:
    return sum(await asyncio.gather(*(_count(db, past, type) for type in past.types))) if past.total else None


async def _versions(db: Database, past: Past, type: str, place: _Place | None) -> list[Stored]:
    """The first of the type's versions after the place. The current ones are read first: versions go from there to the
    past, never back, so none is missed."""
    limit = past.count + 1
    order = [("updated", -1), ("id", -1), ("version", -1)]
    current = conjoin(_current(past), _after(place, type, "_id"))
    former = conjoin(_former(past), _after(place, type, "id"))
    here = db[type].find(current, sort=[("updated", -1), ("_id", -1)], limit=limit, batch_size=limit + 1)
    found = {(each["_id"], each["version"]): stored(type, each) for each in await here.to_list(None)}
    gone = db[history_name(type)].find(former, sort=order, limit=limit, batch_size=limit + 1)
    found |= {(each["id"], each["version"]): stored(type, each) for each in await gone.to_list(None)}
    return list(found.values())


async def _count(db: Database, past: Past, type: str) -> int:
    counts = await asyncio.gather(
        db[type].count_documents(_current(past)), db[history_name(type)].count_documents(_former(past))
    )
    return sum(counts)


def _current(past: Past) -> Json:
    """The filter of what is current. It was at the time if it was made before the end of that."""
    named = {} if past.id is None else {"_id": past.id}
    since = {"updated": {"$gte": past.since}} if past.since else {}
    at = {"updated": {"$lt": past.at[1]}} if past.at else {}
    return conjoin(named, since, at)


def _former(past: Past) -> Json:
    """The filter of what is past. A version was current until the next was made; a deletion counts if it was done in
    that time, since nothing was current after it."""
    named = {} if past.id is None else {"id": past.id}
    since = {"updated": {"$gte": past.since}} if past.since else {}
    if past.at is None:
        return conjoin(named, since)
    low, high = past.at
    lasted = {"until": {"$gt": low}, "resource": {"$ne": None}}
    deleted = {"resource": None, "updated": {"$gte": low}}
    return conjoin(named, since, {"updated": {"$lt": high}}, {"$or": [lasted, deleted]})


def _after(place: _Place | None, type: str, id: str) -> Json:
    """The filter of a type's versions after a place; `id` is the path of the id."""
    if place is None:
        return {}
    if type != place.type:
        return {"updated": {"$lte" if type > place.type else "$lt": place.updated}}
    same = {"updated": place.updated}
    others = [
        {"updated": {"$lt": place.updated}},
        {**same, id: {"$lt": place.id}},
        {**same, id: place.id, "version": {"$lt": place.version}},
    ]
    return {"updated": {"$lte": place.updated}, "$or": others}


def _in_order(versions: Iterable[Stored]) -> list[Stored]:
    latest_first = sorted(versions, key=lambda each: (each.id, each.version), reverse=True)
    return sorted(sorted(latest_first, key=lambda each: each.type), key=lambda each: each.updated, reverse=True)


def _cursor(last: Stored) -> str:
    return f"{(last.updated - EPOCH) // MILLISECOND}.{last.type}.{last.version}.{last.id}"


def _read_cursor(past: Past) -> _Place | None:
    if past.cursor is None:
        return None
    found = CURSOR.fullmatch(past.cursor)
    if found is None or found[2] not in past.types or past.id not in (None, found[4]):
        raise FhirError("value", "The cursor of the history is not one that was given.", "_cursor", status=400)
    try:
        updated = EPOCH + int(found[1]) * MILLISECOND
    except OverflowError:
        raise FhirError(
            "value", "The cursor of the history is not one that was given.", "_cursor", status=400
        ) from None
    return _Place(updated, found[2], int(found[3]), found[4])
