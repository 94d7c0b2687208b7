"""$expand: the codes of a value set (http://hl7.org/fhir/R4/valueset-operation-expand.html)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from fhir_server import terminology
from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.operations.coded import LANGUAGE, R4, one, part, value_set
from fhir_server.outcome import Json
from fhir_server.scheduling.elements import say
from fhir_server.terminology import Concept
from fhir_server.writing import Server

ECHOED = {"string": "string", "unsignedInt": "integer", "boolean": "boolean"}
"""The types of parameters that the expansion repeats, and as what."""


async def expand(server: Server, request: Request) -> Response:
    """200 with the ValueSet and its expansion, a flat list; 404 if it is not here, 422 if its codes are not."""
    arguments = read_arguments(OPERATION, request)
    definition = value_set(request, arguments)
    found = [each for each in terminology.expand(definition["url"]) if _wanted(each, arguments)]
    offset = one(arguments, "offset", 0)
    count = one(arguments, "count", len(found))
    contains = [_entry(each, arguments) for each in found[offset : offset + count]]
    expansion: Json = {
        "identifier": uuid.uuid5(uuid.NAMESPACE_URL, f"{definition['url']} {sorted(arguments.items())}").urn,
        "timestamp": say(server.now()),
        "total": len(found),
        "offset": offset,
    }
    lists = {"parameter": list(_said(arguments, found)), "contains": contains}
    expansion |= {name: value for name, value in lists.items() if value}
    kept = {
        name: value for name, value in definition.items() if name != "compose" or _is(arguments, "includeDefinition")
    }
    return Response(200, kept | {"expansion": expansion})


def _is(arguments: Arguments, name: str) -> bool:
    return bool(one(arguments, name))


def _wanted(concept: Concept, arguments: Arguments) -> bool:
    """Whether each word of `filter` is in the code or its display, and the concept is of the kind asked for."""
    text = f"{concept.code} {concept.display}".casefold()
    return (
        all(word in text for word in one(arguments, "filter", "").casefold().split())
        and not (concept.inactive and _is(arguments, "activeOnly"))
        and not (concept.abstract and _is(arguments, "excludeNotForUI"))
    )


def _entry(concept: Concept, arguments: Arguments) -> Json:
    said: Json = {"system": concept.system}
    if concept.abstract:
        said["abstract"] = True
    if concept.inactive:
        said["inactive"] = True
    said["code"] = concept.code
    if concept.display:
        said["display"] = concept.display
    if concept.designation and _is(arguments, "includeDesignations"):
        said["designation"] = list(concept.designation)
    return said


def _said(arguments: Arguments, found: Sequence[Concept]) -> Iterator[Json]:
    """What the expansion depends on: what was asked for, and the versions of the code systems."""
    for row in OPERATION.parameters:
        if row.use == "in" and row.type in ECHOED:
            yield from (part(row.name, ECHOED[row.type], value) for value in arguments[row.name])
    for system in dict.fromkeys(concept.system for concept in found):
        version = terminology.code_systems().get(system, {}).get("version")
        if version:
            yield part("version", "uri", f"{system}|{version}")


OPERATION = Operation(
    code="expand",
    name="Expand",
    title="Expand a value set",
    description="The codes of a value set that the served types are bound to, or of one of ours.",
    resource=("ValueSet",),
    levels=("type", "instance"),
    affects_state=False,
    url=f"{R4}/ValueSet-expand",
    parameters=(
        Parameter("url", "in", 0, "1", "uri", "The value set's canonical URL, if the path does not name it"),
        Parameter("valueSetVersion", "in", 0, "1", "string", "Its version"),
        Parameter("filter", "in", 0, "1", "string", "Words that must be in the code or its display, in any case"),
        Parameter("offset", "in", 0, "1", "unsignedInt", "How many codes to leave out at the beginning"),
        Parameter("count", "in", 0, "1", "unsignedInt", "How many codes to give at most"),
        Parameter("includeDesignations", "in", 0, "1", "boolean", "Whether to give other displays too"),
        Parameter("includeDefinition", "in", 0, "1", "boolean", "Whether to give what the value set is made of"),
        Parameter("activeOnly", "in", 0, "1", "boolean", "Whether to leave out codes that are retired"),
        Parameter("excludeNested", "in", 0, "1", "boolean", "Taken, but the codes are a flat list always"),
        Parameter("excludeNotForUI", "in", 0, "1", "boolean", "Whether to leave out codes that only group others"),
        LANGUAGE,
        Parameter("return", "out", 1, "1", "ValueSet", "The value set with its expansion"),
    ),
    run=expand,
)
