"""The steps of a filter, resolved by a plan (conformance/decisions/0009-chains-are-steps.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from fhir_server.definitions import ResourceDefinition
from fhir_server.plan import Loaded, Plan, Sought
from fhir_server.search.filters import Filter, conjoin
from fhir_server.search.query import Query
from fhir_server.search.scope import Scope
from fhir_server.search.step import Step, visit


def resolve(scope: Scope, query: Query) -> Plan[Query]:
    """The query with a filter that MongoDB understands."""
    return replace(query, filter=(yield from resolve_filter(scope, query.filter)))


def resolve_filter(scope: Scope, filter: Filter) -> Plan[Filter]:
    """The filter without steps. Nothing is loaded if there is nothing to resolve; else there is one batch for each step
    of the longest chain, which begins at its end."""
    while steps := _waiting_for_none(filter):
        found = yield [_stored(scope.rows[one.type], one) for step in steps for one in step.sought]
        filter = _answered(filter, steps, iter(found))
    return filter


def _waiting_for_none(filter: Filter) -> list[Step]:
    steps: list[Step] = []
    visit(filter, steps.append)
    return steps


def _answered(filter: Filter, steps: Sequence[Step], found: Iterator[Loaded]) -> Filter:
    """The filter with the conditions that what was found makes of the steps."""
    answers = iter([step.answer([cast(Sequence[str], next(found)) for _ in step.sought]) for step in steps])
    return visit(filter, lambda _: next(answers))


def _stored(row: ResourceDefinition, sought: Sought) -> Sought:
    """The same without the stored resources that stand for nothing."""
    if row.computed is None:
        return sought
    return replace(sought, filter=conjoin(sought.filter, {"$nor": [row.computed.hidden]}))
