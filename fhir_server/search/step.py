"""A condition on a path that needs other resources: a step of a chain, of `_has`, of `near`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.plan import Sought
from fhir_server.search.filters import Filter, one_of

JOINING = ("$and", "$or", "$nor")


@dataclass(frozen=True, slots=True)
class Step:
    """Stands in a filter where a condition on a path stands. `answer` makes that condition of the values that were
    found for each of `sought`, whose own filters may hold steps."""

    sought: tuple[Sought, ...]
    answer: Callable[[Sequence[Sequence[str]]], Any]


def ids_in(found: Sequence[Sequence[str]]) -> Any:
    """An answer: the ids of the references that were found."""
    return one_of([reference.partition("/")[2] for references in found for reference in references])


def visit(filter: Filter, replaced: Callable[[Step], Any]) -> Filter:
    """The filter with `replaced(step)` in place of each step that waits for no other, always in the same order."""
    return {key: _visited(key, condition, replaced) for key, condition in filter.items()}


def loads_in(filter: Filter) -> Iterator[Sought]:
    """Everything that must be sought to resolve the filter."""
    for key, condition in filter.items():
        if key in JOINING:
            for each in condition:
                yield from loads_in(each)
        elif isinstance(condition, Step):
            for sought in condition.sought:
                yield sought
                yield from loads_in(sought.filter)


def _visited(key: str, condition: Any, replaced: Callable[[Step], Any]) -> Any:
    if key in JOINING:
        return [visit(each, replaced) for each in condition]
    if not isinstance(condition, Step):
        return condition
    if not any(next(loads_in(sought.filter), None) for sought in condition.sought):
        return replaced(condition)
    return replace(
        condition,
        sought=tuple(replace(sought, filter=visit(sought.filter, replaced)) for sought in condition.sought),
    )
