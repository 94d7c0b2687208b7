"""What is read of the store: versions, pages of searches, and the loads that a rule asks for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhir_server import search
from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import (
    ById,
    Claim,
    Claimed,
    Counted,
    Found,
    Load,
    Loaded,
    Matching,
    Newest,
    Referring,
    Sought,
    Stored,
)
from fhir_server.search import Query
from fhir_server.search.filters import any_of
from fhir_server.store.counting import count
from fhir_server.store.documents import DAY, claims_of, day_key, days, stored
from fhir_server.store.schema import Database, history_name

CLAIMS_MAX = 100_000
DAYS_BY_KEY_MAX = 64
"""So many days of actors are asked for one by one; beyond it, by actor and a range of time."""


@dataclass(frozen=True, slots=True)
class Page:
    """Documents as they are stored, in the order of the search. `beyond` is the one after the page, if there is
    one; `total` is None where it was not asked for."""

    documents: Sequence[Json]
    beyond: Sequence[Json]
    total: int | None

    @property
    def more(self) -> bool:
        return bool(self.beyond)


async def read(db: Database, type: str, id: str) -> Stored | None:
    """The newest version, which may be the one that deleted it; None if there never was one."""
    if current := await db[type].find_one({"_id": id}):
        return stored(type, current)
    newest = await db[history_name(type)].find_one({"id": id}, sort=[("version", -1)])
    return stored(type, newest) if newest else None


async def vread(db: Database, type: str, id: str, version: int) -> Stored | None:
    """That version. The current one is looked for first: versions go from there to the history, never back."""
    if current := await db[type].find_one({"_id": id, "version": version}):
        return stored(type, current)
    past = await db[history_name(type)].find_one({"_id": f"{id}/{version}"})
    return stored(type, past) if past else None


async def find(db: Database, query: Query, limit: int, seconds_max: float) -> Page:
    """One page of the search, and the total if it asks for one: at most two statements, at the same time."""
    milliseconds = max(1, int(seconds_max * 1000))
    page, total = await asyncio.gather(
        _page(db, query, limit, milliseconds),
        _total(db, query, milliseconds),
    )
    return Page(page[:limit], page[limit:], total)


async def _page(db: Database, query: Query, limit: int, milliseconds: int) -> list[Json]:
    if limit == 0:
        return []
    found = db[query.type].find(
        search.remaining(query),
        sort=list(query.sort),
        limit=limit + 1,
        batch_size=limit + 2,
        max_time_ms=milliseconds,
    )
    return await found.to_list(None)


async def _total(db: Database, query: Query, milliseconds: int) -> int | None:
    if query.total == "none":
        return None
    return await db[query.type].count_documents(query.filter, maxTimeMS=milliseconds)


async def load(
    db: Database,
    rows: Mapping[str, ResourceDefinition],
    loads: Sequence[Load],
    now: datetime,
    seconds_max: float,
) -> Found:
    """What each load names, in the order of the loads, all of it at the same time: one statement for each type that
    is loaded by id, and one for each other load. What has expired by `now` is not there."""
    milliseconds = max(1, int(seconds_max * 1000))
    references = frozenset().union(*(each.references for each in loads if isinstance(each, ById)))
    others = [each for each in loads if not isinstance(each, ById)]
    named, found = await asyncio.gather(
        _by_id(db, rows, references, milliseconds),
        asyncio.gather(*(_other(db, rows, each, now, milliseconds) for each in others)),
    )
    results = iter(found)
    return [_named(named, each) if isinstance(each, ById) else next(results) for each in loads]


def _named(found: Mapping[str, Stored], load: ById) -> list[Stored]:
    return [found[reference] for reference in sorted(load.references) if reference in found]


async def _by_id(
    db: Database, rows: Mapping[str, ResourceDefinition], references: Iterable[str], milliseconds: int
) -> dict[str, Stored]:
    ids = _ids_by_type(rows, references)
    found = await asyncio.gather(*(_documents(db, type, any_of("_id", ids[type]), milliseconds) for type in ids))
    return {
        f"{type}/{document['_id']}": stored(type, document)
        for type, each in zip(ids, found, strict=True)
        for document in each
    }


def _ids_by_type(rows: Mapping[str, ResourceDefinition], references: Iterable[str]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for reference in sorted(references):
        type, _, id = reference.partition("/")
        if type in rows and id:
            ids[type].append(id)
    return ids


async def _other(
    db: Database,
    rows: Mapping[str, ResourceDefinition],
    load: Newest | Matching | Referring | Sought | Claimed | Counted,
    now: datetime,
    milliseconds: int,
) -> Loaded:
    if isinstance(load, Claimed):
        return await _claimed(db, load, now, milliseconds)
    if isinstance(load, Sought):
        return await _sought(db, load, milliseconds)
    if isinstance(load, Counted):
        return await count(db, load, milliseconds)
    if isinstance(load, Newest):
        return await _newest(db, rows, load, milliseconds)
    if isinstance(load, Referring):
        return await _referring(db, rows, load, milliseconds)
    return await _matching(db, rows[load.type], load, milliseconds)


async def _newest(
    db: Database, rows: Mapping[str, ResourceDefinition], load: Newest, milliseconds: int
) -> list[Stored]:
    """The current versions; for what has none, the last deletion."""
    current, deleted = await asyncio.gather(
        _by_id(db, rows, load.references, milliseconds),
        asyncio.gather(
            *(
                _documents(db, history_name(type), {**any_of("id", ids), "resource": None}, milliseconds)
                for type, ids in _ids_by_type(rows, load.references).items()
            )
        ),
    )
    found = dict(current)
    for type, documents in zip(_ids_by_type(rows, load.references), deleted, strict=True):
        for each in sorted((stored(type, document) for document in documents), key=lambda each: each.version):
            if f"{type}/{each.id}" not in current:
                found[f"{type}/{each.id}"] = each
    return [found[reference] for reference in sorted(found)]


async def _matching(db: Database, row: ResourceDefinition, load: Matching, milliseconds: int) -> list[Stored]:
    found = await _documents(db, load.type, search.filter_of(row, load), milliseconds, load.limit)
    return sorted((stored(load.type, document) for document in found), key=lambda each: each.id)


async def _referring(
    db: Database, rows: Mapping[str, ResourceDefinition], load: Referring, milliseconds: int
) -> list[Stored]:
    """Those that refer to one of the references; `limit` of each type at most, since more are not needed to refuse."""
    if not load.references:
        return []
    wanted = any_of("refs", sorted(load.references))

    async def of(type: str) -> list[Stored]:
        found = db[type].find(wanted, limit=load.limit, batch_size=load.limit + 1, max_time_ms=milliseconds)
        return [stored(type, document) for document in await found.to_list(None)]

    return [each for group in await asyncio.gather(*map(of, sorted(rows))) for each in group]


async def _sought(db: Database, load: Sought, milliseconds: int) -> list[str]:
    """The texts alone: what they stand in is not read."""
    if load.path == "_id":
        limit = load.limit + 1
        found = db[load.type].find(load.filter, {"_id": 1}, limit=limit, batch_size=limit + 1, max_time_ms=milliseconds)
        texts = [document["_id"] for document in await found.to_list(None)]
    else:
        texts = await db[load.type].distinct(load.path, load.filter, maxTimeMS=milliseconds)
        texts = [text for text in texts if text.startswith(load.beginning)]
    if len(texts) > load.limit:
        text = f"A condition on other resources finds more than {load.limit} of {load.type}. Ask for fewer."
        raise FhirError("too-costly", text, status=400)
    return sorted(texts)


async def _claimed(db: Database, load: Claimed, now: datetime, milliseconds: int) -> list[Claim]:
    """Pieces are at most a day long, so one that reaches into the time began less than a day before it."""
    overlap = {"start": {"$lt": load.end}, "end": {"$gt": load.start}}
    count = len(load.actors) * ((load.end - load.start) // DAY + 2)
    if count <= DAYS_BY_KEY_MAX:
        keys = [day_key(actor, day) for actor in sorted(load.actors) for day in days(load.start, load.end)]
        condition: Json = {**any_of("day", keys), **overlap} if keys else {"_id": None}
    else:
        reach = {"start": {"$gt": _earlier(load), "$lt": load.end}, "end": {"$gt": load.start}}
        condition = {**any_of("actor", sorted(load.actors)), **reach}
    return claims_of(await _documents(db, "claims", condition, milliseconds, CLAIMS_MAX), now)


def _earlier(load: Claimed) -> Any:
    return load.start - min(DAY, load.start - load.start.min.replace(tzinfo=load.start.tzinfo))


async def _documents(
    db: Database, collection: str, condition: Json, milliseconds: int, limit: int | None = None
) -> list[Json]:
    """All that meet the condition, in one reply where they fit; more than `limit` are refused, never cut."""
    reply = (limit or 10_000) + 1
    found = db[collection].find(condition, limit=reply if limit else 0, batch_size=reply + 1, max_time_ms=milliseconds)
    documents = await found.to_list(None)
    if limit is not None and len(documents) > limit:
        text = f"This needs more than {limit} entries of {collection} at once. Ask for less: a shorter period, fewer."
        raise FhirError("too-costly", text)
    return documents
