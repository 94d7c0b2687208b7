"""Filters evaluated without a database, so that what is computed is searched like what is stored.

Only the operators that are compiled here are known. Arrays count as in MongoDB: a condition holds for an
array if it holds for one of its elements, and a negated one if it holds for none.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar

from fhir_server.outcome import Json
from fhir_server.search.filters import Filter
from fhir_server.search.page import remaining, value_at
from fhir_server.search.query import Query, Sort

T = TypeVar("T", bound=Mapping[str, Any])


def matches(filter: Filter, document: Mapping[str, Any]) -> bool:
    """Whether the document, as it would be stored, satisfies the filter."""
    return all(_holds(key, condition, document) for key, condition in filter.items())


def in_order(sort: Sort, documents: Iterable[T]) -> list[T]:
    """The documents in the order that MongoDB would give them; a missing value sorts before all others."""
    ordered = list(documents)
    for path, direction in reversed(sort):
        ordered.sort(key=lambda document: _rank(value_at(document, path)), reverse=direction < 0)
    return ordered


def merge(query: Query, stored: Sequence[Json], computed: Iterable[Json]) -> list[Json]:
    """The page of the query, and one more if there is more, from what the store found and what is computed.

    `stored` is in order, from the cursor on, and one longer than the page if it can be. A computed document
    with the id of a stored one is left out.
    """
    wanted = remaining(query)
    known = {document["_id"] for document in stored}
    added = [each for each in computed if each["_id"] not in known and matches(wanted, each)]
    return in_order(query.sort, [*stored, *added])[: query.count + 1]


def weave(pages: Sequence[tuple[Query, Iterable[T]]]) -> list[tuple[str, T]]:
    """The documents of several types in one order, each with its type: by their sort values, then by type.

    All the queries sort by the same keys in the same directions.
    """
    found = [
        (query.type, document, [_rank(value_at(document, path)) for path, _ in query.sort])
        for query, documents in pages
        for document in documents
    ]
    sort = pages[0][0].sort
    found.sort(key=itemgetter(0), reverse=sort[-1][1] < 0)
    for position, (_, direction) in reversed(list(enumerate(sort))):
        found.sort(key=lambda one, at=position: one[2][at], reverse=direction < 0)  # type: ignore[misc]
    return [(type, document) for type, document, _ in found]


def _holds(key: str, condition: Any, document: Mapping[str, Any]) -> bool:
    if key == "$and":
        return all(matches(each, document) for each in condition)
    if key == "$or":
        return any(matches(each, document) for each in condition)
    if key == "$nor":
        return not any(matches(each, document) for each in condition)
    found = list(_values(document, key.split(".")))
    if not isinstance(condition, dict):
        return _equal(found, condition)
    return all(OPERATORS[name](found, operand) for name, operand in condition.items())


def _values(value: Any, names: Sequence[str]) -> Iterator[Any]:
    if not names:
        yield value
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, Mapping):
                yield from _values(each, names)
    elif isinstance(value, Mapping) and names[0] in value:
        yield from _values(value[names[0]], names[1:])


def _candidates(found: Iterable[Any]) -> Iterator[Any]:
    for value in found:
        yield value
        if isinstance(value, list):
            yield from value


def _equal(found: Sequence[Any], operand: Any) -> bool:
    if operand is None and not found:
        return True
    return any(candidate == operand for candidate in _candidates(found))


def _compare(holds: Callable[[Any, Any], bool]) -> Callable[[Sequence[Any], Any], bool]:
    return lambda found, operand: any(
        _kind(candidate) == _kind(operand) and holds(candidate, operand) for candidate in _candidates(found)
    )


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "other"
    return next((kind.__name__ for kind in (str, datetime) if isinstance(value, kind)), "number")


def _element_matches(found: Sequence[Any], operand: Filter) -> bool:
    elements = [each for value in found if isinstance(value, list) for each in value]
    if operand.keys() <= OPERATORS.keys():
        return any(all(OPERATORS[name]([each], of) for name, of in operand.items()) for each in elements)
    return any(isinstance(each, Mapping) and matches(operand, each) for each in elements)


def _rank(value: Any) -> tuple[bool, Any]:
    return (value is not None, value)


OPERATORS: Mapping[str, Callable[[Sequence[Any], Any], bool]] = {
    "$gt": _compare(operator.gt),
    "$gte": _compare(operator.ge),
    "$lt": _compare(operator.lt),
    "$lte": _compare(operator.le),
    "$ne": lambda found, operand: not _equal(found, operand),
    "$in": lambda found, operand: any(_equal(found, each) for each in operand),
    "$nin": lambda found, operand: not any(_equal(found, each) for each in operand),
    "$exists": lambda found, operand: bool(found) == operand,
    "$regex": lambda found, operand: any(
        isinstance(each, str) and re.search(operand, each) is not None for each in _candidates(found)
    ),
    "$elemMatch": _element_matches,
}
