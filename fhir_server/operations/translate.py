"""$translate: a code through a ConceptMap of ours (http://hl7.org/fhir/R4/conceptmap-operation-translate.html)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.outcome import CANONICAL, FhirError, Json
from fhir_server.vocabulary import concept_maps
from fhir_server.writing import Server

MAPS = {one["id"]: one for one in concept_maps(lambda id: {"id": id, "url": f"{CANONICAL}/ConceptMap/{id}"})}


async def translate(_: Server, request: Request) -> Response:
    """200 with Parameters: `result`, and a `match` for each target. 404 for a map that is not here."""
    arguments = read_arguments(OPERATION, request)
    system, code = _source(arguments)
    matches = [
        match
        for concept_map in _maps(request, arguments)
        for match in _matches(concept_map, system, code, next(iter(arguments["targetsystem"]), None))
    ]
    found = any(part["valueCode"] != "unmatched" for match in matches for part in match["part"][:1])
    parameters: list[Json] = [{"name": "result", "valueBoolean": found}]
    if not found:
        parameters.append({"name": "message", "valueString": f"No map here translates {code}."})
    return Response(200, {"resourceType": "Parameters", "parameter": [*parameters, *matches]})


def _source(arguments: Arguments) -> tuple[str | None, str]:
    """The system, if it was given, and the code to translate, however they were given."""
    concepts = [coding for concept in arguments["codeableConcept"] for coding in concept.get("coding", ())]
    for coding in [*arguments["coding"], *concepts]:
        return coding.get("system"), str(coding.get("code"))
    if not arguments["code"]:
        raise FhirError("required", "$translate needs code with system, coding or codeableConcept.", "Parameters")
    return next(iter(arguments["system"]), None), arguments["code"][0]


def _maps(request: Request, arguments: Arguments) -> list[Json]:
    if request.id:
        chosen = [one for id, one in MAPS.items() if id == request.id]
    else:
        url = next(iter(arguments["url"]), None)
        chosen = [one for one in MAPS.values() if url in (None, one["url"])]
    if not chosen:
        known = ", ".join(one["url"] for one in MAPS.values())
        raise FhirError("not-found", f"There is no such ConceptMap here; there are {known}.")
    return chosen


def _matches(concept_map: Json, system: str | None, code: str, target: str | None) -> Iterator[Json]:
    for group in concept_map["group"]:
        if system not in (None, group["source"]) or target not in (None, group["target"]):
            continue
        for element in group["element"]:
            if element["code"] == code:
                yield from (_match(concept_map["url"], group["target"], one) for one in element["target"])


def _match(url: str, system: str, target: Json) -> Json:
    concept: dict[str, Any] = {"system": system, "code": target["code"]}
    if "display" in target:
        concept["display"] = target["display"]
    return {
        "name": "match",
        "part": [
            {"name": "equivalence", "valueCode": target["equivalence"]},
            {"name": "concept", "valueCoding": concept},
            {"name": "source", "valueUri": url},
        ],
    }


OPERATION = Operation(
    code="translate",
    name="Translate",
    title="Translate a code",
    description="Translates between the status words of scheduling products and Appointment.status.",
    resource=("ConceptMap",),
    levels=("type", "instance"),
    affects_state=False,
    parameters=(
        Parameter("url", "in", 0, "1", "uri", "The ConceptMap's canonical URL; all of this server's if not given"),
        Parameter("code", "in", 0, "1", "code", "The code to translate"),
        Parameter("system", "in", 0, "1", "uri", "The system of the code"),
        Parameter("coding", "in", 0, "1", "Coding", "The code to translate, with its system"),
        Parameter("codeableConcept", "in", 0, "1", "CodeableConcept", "Its first coding is translated"),
        Parameter("targetsystem", "in", 0, "1", "uri", "Only translations into this system"),
        Parameter("result", "out", 1, "1", "boolean", "Whether there is a translation"),
        Parameter("message", "out", 0, "1", "string", "Why there is none"),
        Parameter("match", "out", 0, "*", "", "A translation: equivalence, concept, source"),
    ),
    run=translate,
)
