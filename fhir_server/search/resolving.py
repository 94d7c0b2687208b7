"""The steps of a filter, resolved by a plan (conformance/decisions/0009-chains-are-steps.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from fhir_server.definitions import ResourceDefinition
from fhir_server.plan import Plan, Sought
from fhir_server.search.filters import conjoin
from fhir_server.search.query import Query
from fhir_server.search.scope import Scope
from fhir_server.search.step import Step, visit


def resolve(scope: Scope, query: Query) -> Plan[Query]:
    """The query with a filter that MongoDB understands. Nothing is loaded if there is nothing to resolve; else there
    is one batch for each step of the longest chain, which begins at its end."""
    filter = query.filter
    while True:
        steps: list[Step] = []
        visit(filter, lambda step, steps=steps: steps.append(step))  # type: ignore[misc]
        if not steps:
            return replace(query, filter=filter)
        found = iter((yield [_stored(scope.rows[one.type], one) for step in steps for one in step.sought]))
        answers = iter([step.answer([cast(Sequence[str], next(found)) for _ in step.sought]) for step in steps])
        filter = visit(filter, lambda _, answers=answers: next(answers))  # type: ignore[misc]


def _stored(row: ResourceDefinition, sought: Sought) -> Sought:
    """The same without the stored resources that stand for nothing."""
    if row.computed is None:
        return sought
    return replace(sought, filter=conjoin(sought.filter, {"$nor": [row.computed.hidden]}))
