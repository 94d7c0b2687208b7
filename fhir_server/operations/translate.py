"""$translate: a code through a ConceptMap of ours (http://hl7.org/fhir/R4/conceptmap-operation-translate.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fhir_server import terminology
from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.operations.coded import R4, by_id, codings, one, part
from fhir_server.outcome import FhirError, Json
from fhir_server.writing import Server

NO_TRANSLATION = frozenset({"unmatched", "disjoint"})
"""Equivalences that say that there is no translation."""

THE_OTHER_WAY: Mapping[str, str] = {
    "wider": "narrower",
    "narrower": "wider",
    "subsumes": "specializes",
    "specializes": "subsumes",
}
"""Equivalences that are not the same when read from target to source."""


async def translate(_: Server, request: Request) -> Response:
    """200 with Parameters: `result`, and a `match` for each target. 404 for a map that is not here."""
    arguments = read_arguments(OPERATION, request)
    given = codings(arguments, one(arguments, "system"))
    backwards = bool(one(arguments, "reverse"))
    matches = [
        match
        for concept_map in _maps(request, arguments)
        for coding in given
        for match in _matches(concept_map, coding, one(arguments, "targetsystem"), backwards)
    ]
    found = any(match["part"][0]["valueCode"] not in NO_TRANSLATION for match in matches)
    said = [part("result", "boolean", found)]
    if not found:
        codes = ", ".join(str(coding["code"]) for coding in given)
        said.append(part("message", "string", f"No map here translates {codes}."))
    return Response(200, {"resourceType": "Parameters", "parameter": [*said, *matches]})


def _maps(request: Request, arguments: Arguments) -> Sequence[Json]:
    """The maps that are asked for: by the path, by URL and version, by the value sets on either side, which
    `reverse` reads the other way round."""
    maps = terminology.concept_maps()
    if request.id:
        chosen = [by_id("ConceptMap", maps, request)]
    elif arguments["url"]:
        found = terminology.find(maps, arguments["url"][0], one(arguments, "conceptMapVersion"))
        if found is None:
            raise FhirError("not-found", f"There is no such ConceptMap here; there are {', '.join(maps)}.", "url")
        chosen = [found]
    else:
        chosen = list(maps.values())
    sides = {"sourceCanonical": one(arguments, "source"), "targetCanonical": one(arguments, "target")}
    return [each for each in chosen if all(url is None or _is(url, each.get(side, "")) for side, url in sides.items())]


def _is(canonical: str, known: str) -> bool:
    """Whether two canonical URLs may name the same: their versions count only if both say one."""
    (url, _, version), (known_url, _, known_version) = canonical.partition("|"), known.partition("|")
    return url == known_url and (not version or known_version in ("", version))


def _matches(concept_map: Json, coding: Json, target: str | None, backwards: bool) -> Iterator[Json]:
    for group in concept_map["group"]:
        source_system, target_system = group["source"], group["target"]
        if backwards:
            source_system, target_system = target_system, source_system
        if coding.get("system") not in (None, source_system) or target not in (None, target_system):
            continue
        for code, concept, equivalence in _pairs(group, backwards):
            if code == coding["code"]:
                yield _match(concept_map["url"], {"system": target_system, **concept}, equivalence)


def _pairs(group: Json, backwards: bool) -> Iterator[tuple[str, Json, str]]:
    """From which code to which concept, and how the concept stands to the code."""
    for element in group["element"]:
        for target in element["target"]:
            if backwards:
                equivalence = target["equivalence"]
                yield target["code"], _concept(element), THE_OTHER_WAY.get(equivalence, equivalence)
            else:
                yield element["code"], _concept(target), target["equivalence"]


def _concept(element: Json) -> Json:
    return {name: element[name] for name in ("code", "display") if name in element}


def _match(url: str, concept: Json, equivalence: str) -> Json:
    parts = [part("equivalence", "code", equivalence), part("concept", "Coding", concept), part("source", "uri", url)]
    return {"name": "match", "part": parts}


OPERATION = Operation(
    code="translate",
    name="Translate",
    title="Translate a code",
    description="Translates between the status words of scheduling products and Appointment.status.",
    resource=("ConceptMap",),
    levels=("type", "instance"),
    affects_state=False,
    url=f"{R4}/ConceptMap-translate",
    parameters=(
        Parameter("url", "in", 0, "1", "uri", "The ConceptMap's canonical URL; all of this server's if not given"),
        Parameter("conceptMapVersion", "in", 0, "1", "string", "Its version"),
        Parameter("code", "in", 0, "1", "code", "The code to translate"),
        Parameter("system", "in", 0, "1", "uri", "The system of the code; any if not given"),
        Parameter("source", "in", 0, "1", "uri", "The value set that the map goes from, with `reverse` too"),
        Parameter("coding", "in", 0, "1", "Coding", "The code to translate, with its system"),
        Parameter("codeableConcept", "in", 0, "1", "CodeableConcept", "Each of its codings is translated"),
        Parameter("target", "in", 0, "1", "uri", "The value set that the map goes to, with `reverse` too"),
        Parameter("targetsystem", "in", 0, "1", "uri", "Only translations into this system"),
        Parameter("reverse", "in", 0, "1", "boolean", "Whether to read the maps from target to source"),
        Parameter("result", "out", 1, "1", "boolean", "Whether there is a translation"),
        Parameter("message", "out", 0, "1", "string", "Why there is none"),
        Parameter(
            "match",
            "out",
            0,
            "*",
            "",
            "A translation",
            parts=(
                Parameter("equivalence", "out", 0, "1", "code", "How the translation stands to the code"),
                Parameter("concept", "out", 0, "1", "Coding", "The translation"),
                Parameter("source", "out", 0, "1", "uri", "The map it is from"),
            ),
        ),
    ),
    run=translate,
)
