"""What is kept beside a resource to find and sort it by, and the MongoDB indexes over that, from the rows."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any, TypeAlias

from fhir_server.definitions import ResourceDefinition, SearchParameter
from fhir_server.outcome import Json
from fhir_server.search import composite
from fhir_server.search.date import is_instant
from fhir_server.search.kinds import kind_of
from fhir_server.search.parameters import BY_CODE, STORED, Frame, Scalar, known, place
from fhir_server.search.path import compile_path

IndexKeys: TypeAlias = list[tuple[str, int]]

FOUND_BY = frozenset({"identifier", "name", "family", "phonetic", "phone", "email"})
"""Tokens and strings by which somebody is looked up; the others only narrow a search."""

ORDER_LENGTH_MAX = 100
"""Characters that texts are sorted by; it keeps cursors short. What is equal so far is in the order of ids."""


def index(row: ResourceDefinition, resource: Json, *, zone: tzinfo = UTC, base: str = "") -> Json:
    """{"index": {code: …}, "order": {code: {min, max}}} for the resource; codes without a value are left out.

    It holds for this zone and base URL: when either changes, everything must be indexed again.
    """
    frame = Frame(zone, base)
    found: Json = {}
    order: Json = {}
    searched = known(row)
    for parameter in searched.values():
        if parameter.code in STORED:
            continue
        values = compile_path(parameter.expression)(resource)
        entry: Any
        scalars: list[Scalar] = []
        if parameter.components:
            entry = composite.extract(parameter, values, frame, searched)
        else:
            entry, scalars = kind_of(parameter).extract(parameter, values, frame)
        if entry:
            found[parameter.code] = entry
        if scalars and not _is_one_date(parameter):
            order[parameter.code] = {"min": _cut(min(scalars)), "max": _cut(max(scalars))}
    return {"index": found, "order": order}


def sort_path(parameter: SearchParameter, direction: int) -> str:
    """The path of the value that comes first in this direction (1 or -1); never an array."""
    if parameter.code in STORED:
        return place(parameter)
    if _is_one_date(parameter):
        return f"index.{parameter.code}.l"
    return f"order.{parameter.code}.{'min' if direction > 0 else 'max'}"


def indexes(row: ResourceDefinition) -> list[IndexKeys]:
    """The keys of the MongoDB indexes that the type's collection needs besides `_id`.

    Each reference is followed by the type's first date, since what belongs to someone is asked for by time;
    `_id` ends what is paged through.
    """
    rows = [each for each in known(row).values() if each.code not in STORED]
    dates = [each for each in rows if each.type == "date"]
    first = next((sort_path(each, 1) for each in dates if not each.many), None)
    keys: list[IndexKeys] = [[("updated", 1), ("_id", 1)]]
    keys += [_keys(f"{place(each)}.l", "_id" if is_instant(each) else f"{place(each)}.h") for each in dates]
    keys += [_keys(place(each), *([first] if first else []), "_id") for each in rows if each.type == "reference"]
    keys += [
        _keys(f"{place(each)}.n" if each.type == "string" and each.code not in BY_CODE else place(each))
        for each in rows
        if each.code in FOUND_BY and each.type in ("token", "string")
    ]
    keys += [_keys(f"{place(each)}.{each.components[0][0]}") for each in rows if each.components]
    keys += [_keys(f"{place(each)}.y") for each in rows if each.type == "special"]
    return keys


def _keys(*paths: str) -> IndexKeys:
    return [(path, 1) for path in paths]


def _cut(scalar: Scalar) -> Scalar:
    return scalar[:ORDER_LENGTH_MAX] if isinstance(scalar, str) else scalar


def _is_one_date(parameter: SearchParameter) -> bool:
    return parameter.type == "date" and not parameter.many
