"""$lookup: what a code system says of a code (http://hl7.org/fhir/R4/codesystem-operation-lookup.html)."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server import terminology
from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations.arguments import read_arguments
from fhir_server.operations.coded import LANGUAGE, R4, code_system, codings, one, part
from fhir_server.outcome import FhirError, Json
from fhir_server.terminology import Concept, value_of
from fhir_server.writing import Server

OF_EVERY_CODE = {
    "definition": "What the code means",
    "inactive": "Whether it is retired",
    "parent": "A code right above it",
    "child": "A code right below it",
}
"""The properties that every code can have, and what they say."""


async def lookup(_: Server, request: Request) -> Response:
    """200 with Parameters about the code; 404 if its system is not here or has no such code."""
    arguments = read_arguments(OPERATION, request)
    coding = codings(arguments, one(arguments, "system"))[0]
    if not coding.get("system"):
        raise FhirError("required", "A code needs its system.", "system")
    definition = code_system(coding["system"], one(arguments, "version", coding.get("version")))
    concept = (terminology.concepts(definition["url"]) or {}).get(coding["code"])
    if concept is None:
        raise FhirError("not-found", f"{definition['url']} has no code {coding['code']}.", "code")
    wanted = frozenset(arguments["property"])
    said = [
        part("name", "string", definition["name"]),
        *([part("version", "string", definition["version"])] if "version" in definition else []),
        part("display", "string", concept.display or concept.code),
        *(_designation(each) for each in concept.designation),
        *(each for each in _properties(definition, concept) if not wanted or each["part"][0]["valueCode"] in wanted),
    ]
    return Response(200, {"resourceType": "Parameters", "parameter": said})


def _designation(designation: Json) -> Json:
    kinds = (("language", "code"), ("use", "Coding"), ("value", "string"))
    parts = [part(name, type, designation[name]) for name, type in kinds if name in designation]
    return {"name": "designation", "part": parts}


def _properties(definition: Json, concept: Concept) -> Iterator[Json]:
    if concept.definition:
        yield _property("definition", "string", concept.definition, OF_EVERY_CODE["definition"])
    yield _property("inactive", "boolean", concept.inactive, OF_EVERY_CODE["inactive"])
    for code in concept.parents:
        yield _property("parent", "code", code, OF_EVERY_CODE["parent"])
    for code in concept.children:
        yield _property("child", "code", code, OF_EVERY_CODE["child"])
    described = {each["code"]: each for each in definition.get("property", ())}
    for each in concept.properties:
        row = described[each["code"]]
        yield _property(each["code"], row["type"], value_of(each), row.get("description", ""))


def _property(code: str, type: str, value: object, description: str) -> Json:
    parts = [part("code", "code", code), part("value", type, value)]
    return {
        "name": "property",
        "part": [*parts, *([part("description", "string", description)] if description else [])],
    }


OPERATION = Operation(
    code="lookup",
    name="Lookup",
    title="Look up a code",
    description="What a code system says of a code: its display, its definition, its place among the others.",
    resource=("CodeSystem",),
    levels=("type",),
    affects_state=False,
    url=f"{R4}/CodeSystem-lookup",
    parameters=(
        Parameter("code", "in", 0, "1", "code", "The code to look up, together with `system`"),
        Parameter("system", "in", 0, "1", "uri", "The system of `code`"),
        Parameter("version", "in", 0, "1", "string", "The version of the system"),
        Parameter("coding", "in", 0, "1", "Coding", "The code with its system"),
        LANGUAGE,
        Parameter("property", "in", 0, "*", "code", f"Properties to give, if not all: {', '.join(OF_EVERY_CODE)}, …"),
        Parameter("name", "out", 1, "1", "string", "The name of the code system"),
        Parameter("version", "out", 0, "1", "string", "Its version"),
        Parameter("display", "out", 1, "1", "string", "The display of the code, or the code itself if it has none"),
        Parameter(
            "designation",
            "out",
            0,
            "*",
            "",
            "Another display",
            parts=(
                Parameter("language", "out", 0, "1", "code", "Its language"),
                Parameter("use", "out", 0, "1", "Coding", "What it is used for"),
                Parameter("value", "out", 1, "1", "string", "The display"),
            ),
        ),
        Parameter(
            "property",
            "out",
            0,
            "*",
            "",
            "What else is said of the code",
            parts=(
                Parameter("code", "out", 1, "1", "code", "The property"),
                Parameter("value", "out", 0, "1", "Element", "Its value: a code, a string, a boolean or a dateTime"),
                Parameter("description", "out", 0, "1", "string", "What the property says"),
            ),
        ),
    ),
    run=lookup,
)
