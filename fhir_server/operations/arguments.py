"""The parameters of an operation, in and out, checked by its rows (http://hl7.org/fhir/R4/operations.html#request)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, TypeAlias

from fhir_server import validation
from fhir_server.definitions import (
    PROTOCOL,
    Operation,
    Parameter,
    Request,
    ResourceDefinition,
    SearchParameter,
    SearchType,
)
from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.resources import ROWS
from fhir_server.search import spell
from fhir_server.search.date import LAST
from fhir_server.search.kinds import KINDS
from fhir_server.search.parameters import Frame
from fhir_server.search.text import split
from fhir_server.validation.primitives import GRAMMAR
from fhir_server.validation.shapes import RESOURCE_TYPES
from fhir_server.writing import refuse_invalid

Arguments: TypeAlias = Mapping[str, Sequence[Any]]
"""By parameter name the values in order; a parameter that is not given has none. What has parts is Arguments again."""

PARAMETERS = ResourceDefinition("Parameters", "What an operation is given.", ())

CONTROL = frozenset({*PROTOCOL, "_summary", "_elements"})
"""Query parameters of the protocol, not of an operation."""

ANY_RESOURCE = "Resource"
"""The type of a parameter that takes any resource, which is then passed on as it came, unchecked."""

ANY_VALUE = "Element"
"""The type of a parameter that takes a value of any data type."""

ALIKE = (
    frozenset({"integer", "unsignedInt", "positiveInt"}),
    frozenset({"string", "code", "id", "markdown"}),
    frozenset({"uri", "url", "canonical", "oid", "uuid"}),
    frozenset({"date", "dateTime", "instant"}),
)
"""Types of which a client may send one for another; the value must still be one of the row's type."""


HINTS_MAX = 10
"""Unknown names for which those that are like them are looked for."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A parameter as it was given: `type` is FHIR's name of the value's type, "text" in a query, "parts" for parts."""

    name: str
    type: str
    value: Any
    where: str


@dataclass(frozen=True, slots=True)
class _Whose:
    """Whose parameters they are, and where they stand. `exact` takes no type for another."""

    name: str
    place: str
    exact: bool = False


def read_arguments(operation: Operation, request: Request) -> Arguments:
    """The values by name, from the query, a Parameters or a resource that stands alone as the body.

    All that is wrong is refused at once with 400: unknown names, wrong types, too few, too many, a complex value in a
    query. A resource among them is then checked like one that is to be stored.
    """
    rows = [row for row in operation.parameters if row.use == "in"]
    problems: list[Issue] = []
    given = [*_of_query(request), *_of_body(request.body, rows)]
    values = _bind(_Whose(f"${operation.code}", "Parameters.parameter"), rows, given, problems)
    if problems:
        raise FhirError.of(problems, status=400)
    types = {row.name: row.type for row in rows}
    for one in given:
        if one.type in RESOURCE_TYPES and types[one.name] != ANY_RESOURCE:
            _refuse_invalid(one)
    return values


def link(url: str, request: Request, pairs: Sequence[tuple[str, str]]) -> str:
    """The URL of an operation with these parameters, and with what the request says of the spelling of answers."""
    said = [*pairs, *((name, value) for name, value in request.query if name in PROTOCOL and value)]
    return f"{url}?{spell(said)}" if said else url


CURSOR = Parameter("_cursor", "in", 0, "1", "string", "Where the page begins, from a next link")


def cursor_behind(*key: object) -> tuple[str, str]:
    """The parameter that says behind what a page begins; its parts have no spaces in them."""
    text = " ".join(map(str, key))
    return CURSOR.name, base64.urlsafe_b64encode(text.encode()).decode()


def read_cursor(arguments: Arguments, *reads: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """What `cursor_behind` has said, each part read by its function; None without a cursor."""
    text = next(iter(arguments[CURSOR.name]), None)
    if text is None:
        return None
    try:
        parts = base64.urlsafe_b64decode(text).decode().split(" ")
        return tuple(read(part) for read, part in zip(reads, parts, strict=True))
    except (ValueError, OverflowError):
        raise FhirError("value", "`_cursor` is not one of a `next` link.", CURSOR.name) from None


def faults_of_answer(operation: Operation, answer: Json) -> list[Issue]:
    """What is wrong with an operation's answer by its out rows: none, if it is what the OperationDefinition promises.

    A single resource named `return` is the answer itself; anything else comes in a Parameters. For tests: nothing is
    checked so while serving.
    """
    rows = [row for row in operation.parameters if row.use == "out"]
    type = answer.get("resourceType")
    if len(rows) == 1 and rows[0].name == "return" and _is_resource(rows[0].type):
        if rows[0].type not in (type, ANY_RESOURCE):
            return [Issue("structure", f"the answer must be a {rows[0].type}, not {type}")]
        return validation.check(_row(str(type)), answer)
    problems = validation.check(PARAMETERS, answer)
    whose = _Whose(f"${operation.code}", "Parameters.parameter", exact=True)
    _bind(whose, rows, list(_of_parameters(answer.get("parameter", ()), whose.place)), problems)
    return problems


def _of_query(request: Request) -> Iterator[_Given]:
    for name, value in request.query:
        if name not in CONTROL and value != "":
            yield _Given(name, "text", value, name)


def _of_body(body: Json | None, rows: Sequence[Parameter]) -> Iterator[_Given]:
    if body is None:
        return
    type = body.get("resourceType")
    if type == PARAMETERS.type:
        refuse_invalid(PARAMETERS, _without_resources(body))
        yield from _of_parameters(body.get("parameter", ()), "Parameters.parameter")
        return
    fitting = next((row.name for row in rows if row.type in (type, ANY_RESOURCE)), None)
    if fitting is None:
        wrong = f", not {type}" if type else ": it has no resourceType"
        raise FhirError("invalid", f"The body must be Parameters{wrong}.", "resourceType")
    yield _Given(fitting, _resource_type(body), body, str(type))


def _without_resources(parameters: Json) -> Json:
    """The Parameters without the resources in it, which are checked by themselves."""
    return {
        name: [_without_resources(one) if isinstance(one, dict) else one for one in value]
        if name in ("parameter", "part") and isinstance(value, list)
        else value
        for name, value in parameters.items()
        if name != "resource"
    }


def _of_parameters(parameters: Sequence[Json], place: str) -> Iterator[_Given]:
    """The parameters or parts; their structure has been checked. Refuses what has not exactly one content (inv-1)."""
    for index, one in enumerate(parameters):
        where = f"{place}[{index}]"
        contents = [key for key in one if key.startswith("value") or key in ("resource", "part")]
        if len(contents) != 1:
            text = f"{one['name']}: a parameter has one of value[x], resource and part."
            raise FhirError("structure", text, where, status=400)
        key = contents[0]
        if key == "resource" and not isinstance(one[key], dict):
            raise FhirError("structure", f"{one['name']}: a resource is an object.", where, status=400)
        yield _Given(one["name"], _type_of(key, one[key]), one[key], where)


def _type_of(key: str, value: Any) -> str:
    if key == "part":
        return "parts"
    if key == "resource":
        return _resource_type(value)
    name = key.removeprefix("value")
    primitive = name[0].lower() + name[1:]
    return primitive if primitive in GRAMMAR else name


def _resource_type(resource: Json) -> str:
    type = resource.get("resourceType")
    return type if isinstance(type, str) and type in RESOURCE_TYPES else ANY_RESOURCE


def _bind(whose: _Whose, rows: Sequence[Parameter], given: Sequence[_Given], problems: list[Issue]) -> Arguments:
    """The values by name; what is wrong is added to the problems."""
    known = {row.name: row for row in rows}
    values: dict[str, list[Any]] = {name: [] for name in known}
    times = dict.fromkeys(known, 0)
    for one in given:
        row = known.get(one.name)
        if row is None:
            names = ", ".join(sorted(known)) or "none"
            like = _like(one.name[:64], sorted(known)) if len(problems) < HINTS_MAX else ()
            hint = f", but {' and '.join(like)}" if like else ""
            text = f"{whose.name} has no parameter {one.name}{hint}; it has {names}."
            problems.append(Issue("invalid", text, (one.where,)))
            continue
        times[row.name] += 1
        if row.max == "1" and times[row.name] == 2:
            problems.append(Issue("value", f"{row.name} can be given once.", (one.where,)))
        elif problem := _problem(row, one, whose.exact):
            problems.append(Issue("value", f"{row.name}: {problem}", (one.where,)))
        elif row.parts:
            inner = replace(whose, name=f"{whose.name} {row.name}", place=f"{one.where}.part")
            parts = list(_of_parameters(one.value, inner.place))
            values[row.name].append(_bind(inner, row.parts, parts, problems))
        else:
            values[row.name].append(_read(row, one))
    for row in rows:
        if times[row.name] < row.min:
            text = f"{whose.name} needs {row.name}: {row.documentation}."
            problems.append(Issue("required", text, (f"{whose.place}.where(name='{row.name}')",)))
    return values


def _like(name: str, known: Sequence[str]) -> list[str]:
    """Those that may have been meant."""
    longer = [one for one in known if name and (one.startswith(name) or name.startswith(one))]
    return longer or get_close_matches(name, known, 2)


def _problem(row: Parameter, one: _Given, exact: bool) -> str | None:
    """What is wrong with a value for a row."""
    if one.type in row.also:
        return None
    if one.type == "text":
        if row.type not in GRAMMAR and row.type != "Reference" and GRAMMAR.keys().isdisjoint(row.also):
            return f"{_said(row)} can only be given in the body of a POST, in a Parameters."
    elif not _fits(row, one.type, exact):
        return f"{_said(row)} is needed, not {'parts' if one.type == 'parts' else one.type}."
    if row.type in GRAMMAR and (problem := _primitive_problem(row, _value(row, one))):
        return problem
    if row.type == "Reference" and not (reference_text(one.value) or _logical(row, one.value)):
        return "a reference is needed, like Schedule/1."
    return None


def _fits(row: Parameter, type: str, exact: bool) -> bool:
    if row.parts:
        return type == "parts"
    if row.type == ANY_RESOURCE:
        return _is_resource(type)
    if row.type == ANY_VALUE:
        return type != "parts" and not _is_resource(type)
    return type == row.type or (not exact and any(type in alike and row.type in alike for alike in ALIKE))


def _said(row: Parameter) -> str:
    if row.parts:
        return f"its parts ({', '.join(part.name for part in row.parts)})"
    return f"a value of type {row.type}" if not _is_resource(row.type) else f"a resource, {row.type},"


def _is_resource(type: str) -> bool:
    return type == ANY_RESOURCE or type in RESOURCE_TYPES


def _primitive_problem(row: Parameter, value: Any) -> str | None:
    if row.type in ("dateTime", "instant"):
        needed = "a date and time with a zone is needed, like 2026-03-02T09:00:00Z."
        return None if isinstance(value, str) and _moment(value) else needed
    holds, right = GRAMMAR[row.type]
    if not holds(value):
        return f"this must be {right.removesuffix(', without quotes')}."
    if row.search_type:
        return _search_problem(row, row.search_type, value)
    return None


def _search_problem(row: Parameter, search_type: SearchType, value: str) -> str | None:
    """What is wrong with a text that is to be read like the value of a search parameter of this type."""
    parameter = SearchParameter(row.name, search_type, "Resource.id", "", "")
    try:
        KINDS[search_type].compile(parameter, "", split(value, ","), Frame(UTC, ""), LAST)
    except FhirError as refused:
        return refused.issues[0].text
    return None


def _value(row: Parameter, one: _Given) -> Any:
    """The value as a body would have it; what no text in a query can mean stays text."""
    spell = _SPELLINGS.get(row.type)
    if one.type != "text" or spell is None:
        return one.value
    try:
        return spell(one.value)
    except (KeyError, ValueError, InvalidOperation):
        return one.value


def _whole(text: str) -> int:
    if not text.removeprefix("-").isdecimal() or len(text) > 11:
        raise ValueError(text)
    return int(text)


_SPELLINGS: Mapping[str, Callable[[str], Any]] = {
    "boolean": {"true": True, "false": False}.__getitem__,
    "integer": _whole,
    "unsignedInt": _whole,
    "positiveInt": _whole,
    "decimal": Decimal,
}
"""How the text in a query spells a value that JSON does not spell as a text."""


def _read(row: Parameter, one: _Given) -> Any:
    value = _value(row, one)
    if row.type in ("dateTime", "instant"):
        return _moment(value)
    if row.type == "Reference" and one.type != "Identifier":
        return reference_text(value) or _logical(row, value)
    return value


def _logical(row: Parameter, value: Any) -> Json | None:
    """The Identifier of a logical reference, if the row takes one."""
    identifier = value.get("identifier") if isinstance(value, Mapping) and "Identifier" in row.also else None
    return identifier if isinstance(identifier, dict) else None


def reference_text(value: Any) -> str | None:
    """The literal reference in a Reference or in its text; None if it has none."""
    text = value.get("reference") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) and text else None


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


def _refuse_invalid(one: _Given) -> None:
    """Refuses a resource that was given, with all its problems at their places in the body."""
    try:
        refuse_invalid(_row(one.type), one.value)
    except FhirError as refused:
        place = one.where if one.where == one.type else f"{one.where}.resource"
        moved = [
            replace(issue, expression=tuple(place + where.removeprefix(one.type) for where in issue.expression))
            for issue in refused.issues
        ]
        raise FhirError.of(moved, status=refused.status) from None


def _row(type: str) -> ResourceDefinition:
    return ROWS.get(type) or ResourceDefinition(type, "A resource that is not stored here.", ())
