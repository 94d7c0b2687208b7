"""How the terminology operations are told which code is meant and which definition
(http://hl7.org/fhir/R4/terminology-service.html)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhir_server import terminology
from fhir_server.definitions import Parameter, Request
from fhir_server.operations.arguments import Arguments
from fhir_server.outcome import FhirError, Json

R4 = "http://hl7.org/fhir/OperationDefinition"
"""Base of the URLs of R4's own operations."""

GIVEN_AS = ("code", "coding", "codeableConcept")


def one(arguments: Arguments, name: str, default: Any = None) -> Any:
    """The value of a parameter that can be given once."""
    return next(iter(arguments[name]), default)


def codings(arguments: Arguments, system: str | None) -> Sequence[Json]:
    """The codings that are asked about; a bare code is of this system. Refuses with 400 unless they were given in
    exactly one of the ways that there are."""
    ways = [name for name in GIVEN_AS if name in arguments]
    given = [name for name in ways if arguments[name]]
    if len(given) != 1:
        raise FhirError("required" if not given else "value", f"Give exactly one of {', '.join(ways)}.", "Parameters")
    if given == ["code"]:
        bare: Json = {"system": system, "code": arguments["code"][0]}
        display = next(iter(arguments.get("display", ())), None)
        return [bare | ({"display": display} if display else {})]
    value = one(arguments, given[0])
    found: Sequence[Json] = [value] if given == ["coding"] else value.get("coding", ())
    if not found or not all(each.get("code") for each in found):
        raise FhirError("required", f"{given[0]} needs a coding with a code.", given[0])
    return found


def by_id(type: str, definitions: Mapping[str, Json], request: Request) -> Json:
    """The definition that the path names; 404 if there is none."""
    found = terminology.of_id(definitions, str(request.id))
    if found is None:
        raise FhirError("not-found", f"{type}/{request.id} does not exist.")
    return found


def value_set(request: Request, arguments: Arguments) -> Json:
    """The ValueSet that the path or `url` names."""
    if request.id:
        return by_id("ValueSet", terminology.value_sets(), request)
    if not arguments["url"]:
        raise FhirError("required", "url is needed: the canonical URL of the ValueSet.", "url")
    return terminology.value_set(arguments["url"][0], one(arguments, "valueSetVersion"))


def code_system(url: str, version: str | None = None) -> Json:
    """The CodeSystem of a URL; 404 if it is not here."""
    found = terminology.find(terminology.code_systems(), url, version)
    if found is None:
        said = f"{url}|{version}" if version else url
        raise FhirError("not-found", f"There is no code system {said} here; see [base]/CodeSystem.", "system")
    return found


def part(name: str, type: str, value: Any) -> Json:
    """A parameter of the answer, or a part of one."""
    return {"name": name, f"value{type[0].upper()}{type[1:]}": value}


LANGUAGE = Parameter(
    "displayLanguage", "in", 0, "1", "code", "Taken, but displays are in the language they are here in"
)
"""The parameter that asks for a language."""
