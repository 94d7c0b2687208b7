"""The in parameters of an operation, from the query, a Parameters or a bare resource, checked by its rows
(http://hl7.org/fhir/R4/operations.html#request)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from fhir_server.definitions import Operation, Parameter, Request, ResourceDefinition
from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.resources import ROWS
from fhir_server.writing import refuse_invalid

Arguments: TypeAlias = Mapping[str, Sequence[Any]]
"""By parameter name the values in order; a parameter that is not given has none."""

PARAMETERS = ResourceDefinition("Parameters", "What an operation is given.", ())

CONTROL = frozenset({"_format", "_pretty"})
"""Query parameters of the protocol, not of an operation."""


def read_arguments(operation: Operation, request: Request) -> Arguments:
    """The values by name. All that is wrong is refused at once: unknown names, wrong types, too few, too many."""
    rows = {row.name: row for row in operation.parameters if row.use == "in"}
    values: dict[str, list[Any]] = {name: [] for name in rows}
    issues: list[Issue] = []
    if request.body is not None and request.body.get("resourceType") == PARAMETERS.type:
        refuse_invalid(PARAMETERS, request.body)
    for name, value, where in _given(request, rows):
        row = rows.get(name)
        if row is None:
            known = ", ".join(sorted(rows)) or "none"
            issues.append(Issue("invalid", f"${operation.code} has no parameter {name}; it has {known}.", (where,)))
            continue
        if problem := _problem(row, value):
            issues.append(Issue("value", f"{name}: {problem}", (where,)))
        else:
            values[name].append(_read(row, value))
    for row in rows.values():
        if not issues and len(values[row.name]) < row.min:
            issues.append(
                Issue("required", f"${operation.code} needs {row.name}: {row.documentation}", ("Parameters",))
            )
        if row.max == "1" and len(values[row.name]) > 1:
            issues.append(Issue("value", f"{row.name} can be given once.", ("Parameters",)))
    if issues:
        raise FhirError.of(issues, status=400)
    return values


def _given(request: Request, rows: Mapping[str, Parameter]) -> Iterator[tuple[str, Any, str]]:
    for name, value in request.query:
        if name not in CONTROL and value != "":
            yield name, value, name
    body = request.body
    if body is None:
        return
    if body.get("resourceType") != "Parameters":
        yield from _bare(body, rows)
        return
    for index, parameter in enumerate(body.get("parameter", ())):
        where = f"Parameters.parameter[{index}]"
        given = next((parameter[key] for key in parameter if key.startswith("value") or key == "resource"), None)
        if given is None:
            raise FhirError("structure", "A parameter needs a value or a resource here.", where)
        yield parameter["name"], given, where


def _bare(body: Json, rows: Mapping[str, Parameter]) -> Iterator[tuple[str, Any, str]]:
    """A resource that stands alone as the body is the one parameter of its type."""
    type = body.get("resourceType")
    fitting = [row.name for row in rows.values() if row.type == type and type in ROWS]
    if len(fitting) != 1:
        raise FhirError("invalid", f"The body must be Parameters, not {type}.", "resourceType")
    refuse_invalid(ROWS[str(type)], body)
    yield fitting[0], body, body["resourceType"]


def _problem(row: Parameter, value: Any) -> str | None:
    """What is wrong with a value for a row; numbers and references may come as text in a query."""
    text = reference_text(value)
    match row.type:
        case "dateTime" | "instant":
            return (
                None
                if isinstance(value, str) and _moment(value)
                else "a date and time with a zone is needed, like 2026-03-02T09:00:00Z."
            )
        case "integer" | "positiveInt":
            low = 1 if row.type == "positiveInt" else 0
            whole = isinstance(value, int) or (isinstance(value, str) and value.isdecimal() and len(value) < 10)
            return (
                None
                if whole and not isinstance(value, bool) and int(value) >= low
                else f"a whole number from {low} is needed."
            )
        case "Reference":
            return None if text else "a reference is needed, like Schedule/1."
        case "string" | "code" | "uri":
            return None if isinstance(value, str) or (row.search_type and text) else f"a {row.type} is needed."
        case "boolean":
            return None if value in (True, False, "true", "false") else "true or false is needed."
        case "CodeableConcept" | "Coding":
            return None if isinstance(value, Mapping) else f"a {row.type} is needed."
    return (
        None
        if isinstance(value, Mapping) and value.get("resourceType", row.type) == row.type
        else f"a {row.type} is needed."
    )


def reference_text(value: Any) -> str | None:
    """The literal reference in a Reference or in its text; None if it has none."""
    text = value.get("reference") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) and text else None


def _read(row: Parameter, value: Any) -> Any:
    if row.type in ("dateTime", "instant"):
        return _moment(value)
    if row.type in ("integer", "positiveInt"):
        return int(value)
    if row.type == "boolean":
        return value in (True, "true")
    if row.type == "Reference" or (row.search_type and not isinstance(value, str)):
        return reference_text(value)
    return value


def _moment(text: str) -> datetime | None:
    """An instant of a dateTime with a zone; a `+` that a query turned into a blank is taken back."""
    try:
        moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else None
    except OverflowError:
        return None
