"""What every document that a filter finds has at a path, as far as the filter alone says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from fhir_server.search.date import MOMENT
from fhir_server.search.filters import Filter

T = TypeVar("T")


def demanded(filter: Filter, path: str) -> frozenset[Any] | None:
    """Values of which the path must hold one; None if the filter does not list any. It may be more than are needed."""
    found = [
        *(listed for condition in _conditions(filter, path) if (listed := _listed(condition)) is not None),
        *(frozenset().union(*each) for each in _branches(filter, lambda part: demanded(part, path))),
    ]
    return min(found, key=len, default=None)


def within(filter: Filter, path: str) -> tuple[datetime | None, datetime | None]:
    """The instants between which the path must lie, start included and end excluded; None where it is open."""
    return _low(filter, path), _high(filter, path)


def _low(filter: Filter, path: str) -> datetime | None:
    lows = [each.get("$gte", each.get("$gt")) for each in _conditions(filter, path) if isinstance(each, dict)]
    lows += [min(each) for each in _branches(filter, lambda part: _low(part, path))]
    return max((low for low in lows if isinstance(low, datetime)), default=None)


def _high(filter: Filter, path: str) -> datetime | None:
    highs = []
    for each in _conditions(filter, path):
        if isinstance(each, dict):
            highs += [each.get("$lt"), each["$lte"] + MOMENT if "$lte" in each else None]
    highs += [max(each) for each in _branches(filter, lambda part: _high(part, path))]
    return min((high for high in highs if isinstance(high, datetime)), default=None)


def _conditions(filter: Filter, path: str) -> Iterator[Any]:
    """The conditions on the path that must hold."""
    if path in filter:
        yield filter[path]
    for part in filter.get("$and", ()):
        yield from _conditions(part, path)


def _branches(filter: Filter, read: Callable[[Filter], T | None]) -> Iterator[list[T]]:
    """What the alternatives say, where one of several must hold and each says something."""
    if "$or" in filter:
        said = [found for part in filter["$or"] if (found := read(part)) is not None]
        if len(said) == len(filter["$or"]):
            yield said
    for part in filter.get("$and", ()):
        yield from _branches(part, read)


def _listed(condition: Any) -> frozenset[Any] | None:
    if not isinstance(condition, dict):
        return frozenset({condition})
    return frozenset(condition["$in"]) if "$in" in condition else None
