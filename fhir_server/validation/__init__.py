"""What is wrong with a resource, all of it at once (http://hl7.org/fhir/R4/validation.html).

One walk over the JSON, by shapes compiled from fhir.resources' models, checks structure, primitive values,
required bindings, reference targets and the invariants of data types; then come the invariants of the row;
where nothing was found, the model itself has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Issue, Json
from fhir_server.resources import ROWS
from fhir_server.validation.shapes import resource_shape
from fhir_server.validation.walk import ELEMENTS_MAX, ISSUES_MAX, TooManyElements, examine

_MALFORMED = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError)
"""How an invariant may fail on a resource whose structure is wrong, which the walk has said by then."""

_WIDER_IN_R4 = ("uuid", "url", "extra_forbidden")
"""Errors by which the models refuse what R4 allows: a UUID of another version than 4, a relative or odd URL,
`_value[x]` of an Extension. The walk has checked all three."""


def check(row: ResourceDefinition, resource: Json) -> list[Issue]:
    """Every problem of `resource` as a resource of `row`, each with its expression; none if it may be stored.

    Codes: structure, required, value, code-invalid, invariant; too-costly past `ELEMENTS_MAX`. No text
    repeats a value that was sent. Never raises; past `ISSUES_MAX` problems the last says that there are more.
    """
    shape = resource_shape(row.type)
    if shape is None or resource.get("resourceType") != row.type:
        return [Issue("structure", f"the resourceType must be {row.type}", (row.type,))]
    try:
        issues = examine(shape, resource).issues
    except TooManyElements:
        return [Issue("too-costly", f"more than {ELEMENTS_MAX} elements in one resource", (row.type,))]
    with suppress(*_MALFORMED) if issues else nullcontext():
        issues.extend(_broken_invariants(row, resource))
    issues = issues or list(_refused_by_model(row.type, resource))
    if len(issues) > ISSUES_MAX:
        more = Issue("informational", "there are more problems", severity="information")
        issues[ISSUES_MAX:] = [more]
    return issues


def _broken_invariants(row: ResourceDefinition, resource: Json) -> Iterator[Issue]:
    """Of the row, and of the rows of contained resources under their place in the whole."""
    for invariant in row.invariants:
        yield from invariant(resource)
    contained = resource.get("contained")
    for index, each in enumerate(contained if isinstance(contained, list) else ()):
        type = each.get("resourceType") if isinstance(each, dict) else None
        place = f"{row.type}.contained[{index}]"
        for invariant in ROWS[type].invariants if isinstance(type, str) and type in ROWS else ():
            for issue in invariant(each):
                moved = tuple(place + where.removeprefix(type or "") for where in issue.expression)
                yield replace(issue, expression=moved)


def _refused_by_model(type: str, resource: Json) -> Iterator[Issue]:
    try:
        get_fhir_model_class(type).model_validate(resource)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            if not fault["type"].startswith(_WIDER_IN_R4):
                where = _expression(type, fault["loc"])
                yield Issue("structure", f"refused by the model of R4B: {fault['type']}", (where,))
    except RecursionError:
        yield Issue("structure", "nested too deeply", (type,))


def _expression(type: str, location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return type + "".join(steps)
