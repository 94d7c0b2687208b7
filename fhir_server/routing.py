"""One table of everything that can be asked below the FHIR base, and what a method and a path mean by it
(http://hl7.org/fhir/R4/http.html#summary)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from fhir_server import conformance
from fhir_server.compartments import COMPARTMENTS
from fhir_server.definitions import Handler, Operation
from fhir_server.interactions import INTERACTIONS
from fhir_server.operations import OPERATIONS
from fhir_server.outcome import FhirError
from fhir_server.resources import ROWS

ANY_TYPE = "Resource"
"""An operation on this is on every type of stored resources."""

Parameters: TypeAlias = Mapping[str, str]
"""What the path says, by name: type, id, version, target."""


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is a template below the base, without a slash before it: `{type}/{id}`. `type` is the one that the
    path names where it has no `{type}`."""

    method: str
    path: str
    run: Handler
    type: str | None = None


def match(method: str, path: str) -> tuple[Handler, Parameters]:
    """The function for a method and a path below the base (with or without a slash before it), and what the path
    says. HEAD is GET. Refuses with 404 what is nowhere in the table, with 405 and Allow a method that it has not there.
    """
    found = _found(path)
    wanted = "GET" if method == "HEAD" else method
    for route, parameters in found:
        if route.method == wanted:
            return route.run, parameters
    allow = ", ".join(_methods(route for route, _ in found))
    text = f"{method} is not for {path or 'the base'}; {allow} are."
    raise FhirError("not-supported", text, status=405, headers={"Allow": allow})


def allowed(path: str) -> tuple[str, ...]:
    """The methods that a path below the base has, OPTIONS included. 404 for a path that is not in the table."""
    return tuple(_methods(route for route, _ in _found(path)))


def _methods(routes: Iterable[Route]) -> list[str]:
    named = dict.fromkeys(route.method for route in routes)
    return [method for one in named for method in ((one, "HEAD") if one == "GET" else (one,))] + ["OPTIONS"]


def _found(path: str) -> list[tuple[Route, Parameters]]:
    """The routes that the path fits, the most literal one first."""
    segments = path.removeprefix("/").split("/")
    found = [
        (route, parameters)
        for route, templates in _BY_LENGTH.get(len(segments), ())
        if (parameters := _parameters(route, templates, segments)) is not None
    ]
    if not found:
        raise FhirError("not-found", _text_of_missing(path, segments))
    return found


def _parameters(route: Route, templates: Sequence[str], segments: Sequence[str]) -> Parameters | None:
    """What the segments say by the route's templates; None if they do not fit."""
    said = {"type": route.type} if route.type else {}
    for template, segment in zip(templates, segments, strict=True):
        if not template.startswith("{"):
            if segment != template:
                return None
        elif _is_value(template[1:-1], segment):
            said[template[1:-1]] = segment
        else:
            return None
    return said


def _is_value(name: str, segment: str) -> bool:
    """Whether a segment can stand for a parameter: types are those that are stored, `*` means any target."""
    if name == "type":
        return segment in STORED
    if name == "target":
        return segment == "*" or segment in STORED
    return bool(segment) and segment[0] not in "_$"


def _text_of_missing(path: str, segments: Sequence[str]) -> str:
    first, last = segments[0], segments[-1]
    if first in STORED and first not in COMPARTMENTS and len(segments) == 3 and _is_value("target", last):
        return f"{first} has no compartment to search {last} in; these types have one: {', '.join(COMPARTMENTS)}."
    if first and first[0].isupper() and first not in STORED and first not in conformance.TYPES:
        return f"{first} is not a resource type of this server; see [base]/metadata."
    there = _places(last[1:]) if last.startswith("$") else []
    elsewhere = f", but at {', '.join(there)}" if there else ""
    return f"There is nothing at {path}{elsewhere}; see [base]/metadata for what there is."


def _places(code: str) -> list[str]:
    """Where the operation of that code, or the one that is spelled most like it, is called."""
    close = get_close_matches(code[:64], [operation.code for operation in OPERATIONS], 1)
    called = (operation for operation in OPERATIONS if operation.code in close)
    paths = (path for operation in called for path, _ in operation_paths(operation))
    return [path.replace("{", "[").replace("}", "]") for path in paths]


def operation_paths(operation: Operation) -> Iterator[tuple[str, str | None]]:
    """The templates of the paths below the base at which an operation is called, and the type that each names."""
    call = f"${operation.code}"
    if "system" in operation.levels:
        yield call, None
    for type in operation.resource:
        place, named = ("{type}", None) if type == ANY_TYPE else (type, type)
        if "type" in operation.levels:
            yield f"{place}/{call}", named
        if "instance" in operation.levels:
            yield f"{place}/{{id}}/{call}", named


def _routes() -> Iterator[Route]:
    yield Route("GET", "metadata", conformance.capabilities)
    for operation in OPERATIONS:
        for path, type in operation_paths(operation):
            for method in ("POST",) if operation.affects_state else ("GET", "POST"):
                yield Route(method, path, operation.run, type)
    for interaction in INTERACTIONS:
        path = interaction.path.removeprefix("/")
        for type in conformance.TYPES if interaction.code in conformance.READ_ONLY else ():
            yield Route(interaction.method, path.replace("{type}", type), interaction.run, type)
        yield Route(interaction.method, path, interaction.run, path.partition("/")[0] if path[:1].isupper() else None)


def _templates_last(route: Route) -> tuple[bool, ...]:
    return tuple(segment.startswith("{") for segment in route.path.split("/"))


STORED = frozenset(type for type, row in ROWS.items() if row.contents is None)
"""The types that `{type}` in a path can be; the others have routes of their own."""

ROUTES: tuple[Route, ...] = tuple(sorted(_routes(), key=_templates_last))
"""Every route, literal segments before templates."""

_BY_LENGTH: dict[int, list[tuple[Route, Sequence[str]]]] = {}
for _route in ROUTES:
    _segments = _route.path.split("/")
    _BY_LENGTH.setdefault(len(_segments), []).append((_route, _segments))
