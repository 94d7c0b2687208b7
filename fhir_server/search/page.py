"""Paging by opaque cursors (http://hl7.org/fhir/R4/http.html#paging).

Pages are cut by the values that the results are sorted by, not by position: what is added or removed
meanwhile makes no other result appear twice or not at all. A page backward is a page of the reversed order, reversed.

Results of several types are in one order: by the sort values, the last of which is the id, and then by type.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from fhir_server.outcome import FhirError
from fhir_server.search.filters import Filter, conjoin, disjoin
from fhir_server.search.parameters import STORED, Scalar
from fhir_server.search.query import Pairs, Query, Sort

CURSOR = "_cursor"
CURSOR_LENGTH_MAX = 6000

SCALARS = (str, int, float, datetime, NoneType)
KINDS = {"_id": (str,), "updated": (datetime,)}
"""The types of what is sorted by: of any path, and of those that every document has."""

NUMBER_MAX = 2**63 - 1
"""The greatest whole number that MongoDB stores."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: after the document of these sort values and this type, or `backward` before it."""

    values: tuple[Scalar, ...]
    type: str
    backward: bool


def at(query: Query, document: Mapping[str, Any], *, backward: bool) -> Cursor:
    """The cursor at this document (as stored, with the paths of the sort)."""
    return Cursor(tuple(value_at(document, path) for path, _ in query.sort), query.type, backward)


def seal(cursor: Cursor, binding: str) -> str:
    """The cursor as a text that is good for the search of this binding only."""
    said = [cursor.type, int(cursor.backward), *map(_plain, cursor.values)]
    text = json.dumps([_seal(binding, said), *said], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unseal(text: str, binding: str, sort: Sort, types: Collection[str]) -> Cursor:
    """The cursor in a text. 400 unless it is sealed for this search, of these types, and is of the shape of its
    cursors: anybody can compute a seal, so that a forged cursor may begin a page where no document is, no more."""
    try:
        if len(text) > CURSOR_LENGTH_MAX:
            raise ValueError("too long")
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        seal, *said = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if seal != _seal(binding, said):
            raise ValueError("not of this search")
        type, backward, *values = said
        if type not in types or backward not in (0, 1):
            raise ValueError("not of these types")
        read = (_rich(path, value) for (path, _), value in zip(sort, values, strict=True))
        return Cursor(tuple(read), type, bool(backward))
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        raise FhirError(
            "value",
            f"'{CURSOR}' does not belong to this search. Follow the links of a Bundle as they are, or search "
            f"again without '{CURSOR}'.",
            status=400,
        ) from None


def turn(query: Query, cursor: Cursor | None) -> Query:
    """The query of the page at the cursor. Backward its order is reversed, and the page is to be reversed again."""
    if cursor is None:
        return query
    step = -1 if cursor.backward else 1
    sort = tuple((path, direction * step) for path, direction in query.sort)
    types = (cursor.type, query.type) if sort[-1][1] > 0 else (query.type, cursor.type)
    return replace(query, sort=sort, cursor=cursor.values, including=types[0] < types[1])


def after(query: Query) -> Filter:
    """The filter of what comes after the query's cursor in its order; empty without a cursor.

    A missing value comes before all others, as in MongoDB: first where ascending, last where descending.
    """
    if query.cursor is None:
        return {}
    branches: list[Filter] = []
    same: Filter = {}
    for (path, direction), value in zip(query.sort, query.cursor, strict=True):
        included = query.including and path == "_id"
        beyond = [_bound(path, direction, value)] if included else _beyond(path, direction, value)
        branches += [{**same, **each} for each in beyond]
        same[path] = value
    if len(branches) == 1:
        return branches[0]
    return conjoin(_bound(*query.sort[0], query.cursor[0]), disjoin(branches))


def remaining(query: Query) -> Filter:
    """The filter of the query from its cursor on. The total is counted with `query.filter` alone."""
    return conjoin(query.filter, after(query))


def bind(type: str, sort: Sort, pairs: Pairs) -> str:
    """What makes a search the same search for a cursor: its type, its order and its conditions."""
    return hashlib.blake2s(json.dumps([type, sort, pairs]).encode()).hexdigest()


def bind_all(path: str, queries: Sequence[Query]) -> str:
    """What makes a search over several types, or within something, the same search for a cursor."""
    return hashlib.blake2s(json.dumps([path, *(query.binding for query in queries)]).encode()).hexdigest()


def value_at(document: Mapping[str, Any], path: str) -> Scalar:
    """The value at a path without arrays; None where there is none."""
    value: Any = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _seal(binding: str, values: list[Any]) -> str:
    return hashlib.blake2s(json.dumps([binding, values]).encode()).hexdigest()[:16]


def _plain(value: Scalar) -> Any:
    return {"t": value.isoformat()} if isinstance(value, datetime) else value


def _rich(path: str, value: Any) -> Scalar:
    """What is sorted by at a path, from what `_plain` made of it; raises for what never was there."""
    read = datetime.fromisoformat(value["t"]).astimezone(UTC) if isinstance(value, dict) else value
    if type(read) not in KINDS.get(path, SCALARS):
        raise ValueError("no value of this path")
    if isinstance(read, str):
        read.encode()
    elif isinstance(read, int | float) and not abs(read) <= NUMBER_MAX:
        raise ValueError("no number that is stored")
    return read


def _beyond(path: str, direction: int, value: Scalar) -> list[Filter]:
    if direction > 0:
        return [{path: {"$gt": value}} if value is not None else {path: {"$ne": None}}]
    if value is None:
        return []
    return [{path: {"$lt": value}}] + ([] if path in STORED.values() else [{path: None}])


def _bound(path: str, direction: int, value: Scalar) -> Filter:
    """A condition on the first sort path that follows from the others, to be read from an index."""
    if value is None or (direction < 0 and path not in STORED.values()):
        return {}
    return {path: {"$gte" if direction > 0 else "$lte": value}}
