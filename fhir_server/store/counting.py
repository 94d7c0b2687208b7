"""How many documents there are of each kind, counted by MongoDB."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeAlias

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Counted, Tally
from fhir_server.store.schema import Database

Kind: TypeAlias = tuple[tuple[str | None, ...], tuple[tuple[str | None, str | None], ...], Any]


async def count(db: Database, load: Counted, milliseconds: int) -> list[Tally]:
    """The kinds and how many there are of each, in one statement; their order is that of the store."""
    found = await db[load.type].aggregate(_pipeline(load), maxTimeMS=milliseconds).to_list(None)
    if len(found) > load.limit:
        raise FhirError("too-costly", "There is too much to count at once. Ask for a shorter period, or for fewer.")
    counts: Counter[Kind] = Counter()
    for one in found:
        counts[_kind(load, one["_id"] or {})] += one["count"]
    return [Tally(count, *kind) for kind, count in counts.items()]


def _pipeline(load: Counted) -> list[Json]:
    """A group for each kind; there can be several, where the displays of a code differ."""
    kind: Json = {f"code{place}": f"$resource.{name}" for place, name in enumerate(load.codes)}
    kind |= {f"concept{place}": _coding(f"$resource.{name}") for place, name in enumerate(load.concepts)}
    if load.every:
        path, minutes = load.every
        kind["at"] = {"$dateTrunc": {"date": f"${path}", "unit": "minute", "binSize": minutes}}
    return [
        {"$match": load.filter},
        {"$group": {"_id": kind or None, "count": {"$sum": 1}}},
        {"$limit": load.limit + 1},
    ]


def _coding(path: str) -> Json:
    """The first Coding of the concept at the path, or of the first if it is a list. Engines differ in paths through two
    lists, so it is taken step by step."""
    first = {"$cond": [{"$isArray": [path]}, {"$arrayElemAt": [path, 0]}, path]}
    return {"$let": {"vars": {"concept": first}, "in": {"$arrayElemAt": ["$$concept.coding", 0]}}}


def _kind(load: Counted, found: Json) -> Kind:
    codings = (found.get(f"concept{place}") or {} for place, _ in enumerate(load.concepts))
    return (
        tuple(found.get(f"code{place}") for place, _ in enumerate(load.codes)),
        tuple((coding.get("system"), coding.get("code")) for coding in codings),
        found.get("at"),
    )
