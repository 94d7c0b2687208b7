"""MongoDB filters as plain data: joining them in shapes that an index can answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Filter: TypeAlias = dict[str, Any]

TIGHTER: Mapping[str, Callable[[Any, Any], Any]] = {"$gt": max, "$gte": max, "$lt": min, "$lte": min}
"""Of two bounds on one path the one that counts; bare bounds are only ever set on paths without arrays."""

LAST = "\U0010ffff"
"""Sorts after every text that continues a prefix."""


def conjoin(*filters: Mapping[str, Any]) -> Filter:
    """The filter that holds where all of them hold. Conditions on one path are merged into one where that is
    possible, because a range is only read from an index as a whole; the rest goes under `$and`."""
    joined: Filter = {}
    others: list[Filter] = []
    for each in filters:
        for path, condition in each.items():
            if path == "$and":
                others.extend(condition)
            elif path not in joined:
                joined[path] = condition
            elif _mergeable(joined[path], condition):
                joined[path] = _merge(joined[path], condition)
            elif joined[path] != condition:
                others.append({path: condition})
    return {**joined, "$and": others} if others else joined


def disjoin(filters: Sequence[Filter]) -> Filter:
    """The filter that holds where one of them holds; there must be at least one."""
    return filters[0] if len(filters) == 1 else {"$or": list(filters)}


def any_of(path: str, values: Sequence[Any]) -> Filter:
    """The filter that `path` holds one of the values."""
    return {path: one_of(values)}


def none_of(path: str, values: Sequence[Any]) -> Filter:
    """The filter that `path` has a value, and none of these."""
    return {path: {"$nin": list(dict.fromkeys(values)), "$exists": True}}


def exists(path: str, truth: bool) -> Filter:
    """The filter that `path` has a value, or that it has none."""
    return {path: {"$exists": truth}}


def one_of(values: Sequence[Any]) -> Any:
    """The condition on a path that it holds one of the values: an equality if there is only one."""
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else {"$in": distinct}


def starting_with(path: str, prefix: str) -> Filter:
    """The filter that one text of the list at `path` starts with the prefix."""
    return {path: {"$elemMatch": {"$gte": prefix, "$lt": prefix + LAST}}}


def some_element(path: str, conditions: Sequence[Filter]) -> Filter:
    """The filter that an element of the array at `path` satisfies one of the conditions. An alternative gets an
    `$elemMatch` of its own, since not every engine takes a bare `$or` inside one."""
    return disjoin([{path: {"$elemMatch": each}} for condition in conditions for each in alternatives(condition)])


def alternatives(condition: Filter) -> list[Filter]:
    """Conditions without `$or` of which one holds where the condition does."""
    rest = {path: each for path, each in condition.items() if path != "$or"}
    return [conjoin(rest, each) for each in condition["$or"]] if "$or" in condition else [rest]


def beneath(path: str, condition: Mapping[str, Any]) -> Filter:
    """The same condition with every path moved below `path`."""
    moved: Filter = {}
    for key, value in condition.items():
        if key == "$or":
            moved[key] = [beneath(path, each) for each in value]
        else:
            moved[f"{path}.{key}"] = value
    return moved


def _mergeable(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict) and (one.keys() & other.keys()) <= TIGHTER.keys()


def _merge(one: Filter, other: Filter) -> Filter:
    both = {operator: TIGHTER[operator](one[operator], other[operator]) for operator in one.keys() & other.keys()}
    return {**one, **other, **both}
