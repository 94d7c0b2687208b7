"""How many documents there are of each kind, counted by MongoDB."""

from __future__ import annotations

from typing import Any

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Counted, Tally
from fhir_server.store.schema import Database


async def count(db: Database, load: Counted, milliseconds: int) -> list[Tally]:
    """The kinds and how many there are of each, in one statement; their order is that of the store."""
    found = await db[load.type].aggregate(_pipeline(load), maxTimeMS=milliseconds).to_list(None)
    if len(found) > load.limit:
        raise FhirError("too-costly", "There is too much to count at once. Ask for a shorter period, or for fewer.")
    return [_tally(load, one) for one in found]


def _pipeline(load: Counted) -> list[Json]:
    """One projection for each step of a path through a list, since engines differ in paths through two."""
    codes = {f"c{place}": f"$resource.{name}" for place, name in enumerate(load.codes)}
    concepts = {f"d{place}": _first(f"$resource.{name}") for place, name in enumerate(load.concepts)}
    at: Json = {}
    if load.every:
        path, minutes = load.every
        at = {"at": {"$dateTrunc": {"date": f"${path}", "unit": "minute", "binSize": minutes}}}
    kept = dict.fromkeys((*codes, *at), 1)
    kind = {name: f"${name}" for name in kept}
    for name in concepts:
        kind |= {f"{name}_system": f"${name}.system", f"{name}_code": f"${name}.code"}
    return [
        {"$match": load.filter},
        {"$project": {"_id": 1, **codes, **concepts, **at}},
        {"$project": {"_id": 1, **kept, **{name: _first(f"${name}.coding") for name in concepts}}},
        {"$group": {"_id": kind or None, "count": {"$sum": 1}}},
        {"$limit": load.limit + 1},
    ]


def _first(path: str) -> Json:
    """The element at the path, the first one if it is a list."""
    return {"$cond": [{"$isArray": [path]}, {"$arrayElemAt": [path, 0]}, path]}


def _tally(load: Counted, found: Json) -> Tally:
    kind: dict[str, Any] = found["_id"] or {}
    return Tally(
        found["count"],
        tuple(kind.get(f"c{place}") for place, _ in enumerate(load.codes)),
        tuple((kind.get(f"d{place}_system"), kind.get(f"d{place}_code")) for place, _ in enumerate(load.concepts)),
        kind.get("at"),
    )
