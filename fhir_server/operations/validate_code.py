"""$validate-code: whether a value set or a code system has a code
(http://hl7.org/fhir/R4/valueset-operation-validate-code.html, http://hl7.org/fhir/R4/codesystem-operation-validate-code.html)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from fhir_server import terminology
from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.operations.coded import LANGUAGE, R4, by_id, code_system, codings, one, part, value_set
from fhir_server.outcome import FhirError, Json
from fhir_server.terminology import Concept
from fhir_server.writing import Server

Verdict: TypeAlias = tuple[str | None, Concept | None]
"""What is wrong with a coding, None if it is right; and the concept of its code, if there is one."""


async def in_value_set(_: Server, request: Request) -> Response:
    """200 with Parameters: `result`, the `message` if it is false, the `display`. 422 if it cannot be known here."""
    arguments = read_arguments(IN_VALUE_SET, request)
    url = value_set(request, arguments)["url"]
    given = codings(arguments, one(arguments, "system"))
    if not all(each.get("system") for each in given):
        raise FhirError("required", "A code needs its system.", "system")
    abstract = bool(one(arguments, "abstract"))

    def judge(coding: Json) -> Verdict:
        return _judge(coding, terminology.member(url, coding["system"], coding["code"]), url, abstract)

    return _answer(given, judge)


async def in_code_system(_: Server, request: Request) -> Response:
    """200 with Parameters: `result`, the `message` if it is false, the `display`. 404 for an unknown code system."""
    arguments = read_arguments(IN_CODE_SYSTEM, request)
    given = codings(arguments, None)
    url = code_system(_url(request, arguments, given), one(arguments, "version"))["url"]
    known = terminology.concepts(url) or {}
    abstract = bool(one(arguments, "abstract"))

    def judge(coding: Json) -> Verdict:
        ours = coding.get("system") in (None, url)
        return _judge(
            {**coding, "system": coding.get("system") or url},
            known.get(coding["code"]) if ours else None,
            url,
            abstract,
        )

    return _answer(given, judge)


def _url(request: Request, arguments: Arguments, given: Iterable[Json]) -> str:
    if request.id:
        return str(by_id("CodeSystem", terminology.code_systems(), request)["url"])
    named = [*arguments["url"], *(each["system"] for each in given if each.get("system"))]
    if not named:
        raise FhirError("required", "url is needed: the canonical URL of the CodeSystem.", "url")
    return str(named[0])


def _answer(given: Iterable[Json], judge: Callable[[Json], Verdict]) -> Response:
    """True if one of the codings is right, whatever the others; refused if none is and one cannot be judged."""
    verdicts: list[Verdict] = []
    refused: FhirError | None = None
    for coding in given:
        try:
            verdicts.append(judge(coding))
        except FhirError as error:
            refused = error
    right = next((verdict for verdict in verdicts if verdict[0] is None), None)
    if refused and not right:
        raise refused
    problem, concept = right or verdicts[0]
    said = [part("result", "boolean", problem is None)]
    if problem:
        said.append(part("message", "string", "; ".join(str(text) for text, _ in verdicts)))
    if concept and concept.display:
        said.append(part("display", "string", concept.display))
    return Response(200, {"resourceType": "Parameters", "parameter": said})


def _judge(coding: Json, concept: Concept | None, url: str, abstract: bool) -> Verdict:
    system, code = coding["system"], coding["code"]
    if problem := _other_version(system, coding.get("version")):
        return problem, None
    if concept is None:
        if terminology.concepts(system) is None:
            return f"{url} has no code {code} of {system}, a code system that is not here", None
        return f"{url} has no code {code} of {system}", None
    if concept.abstract and not abstract:
        return f"{code} only groups other codes; `abstract` true allows it", concept
    display = coding.get("display")
    if display and _plain(display) not in {_plain(text) for text in _displays(concept)}:
        return f"{code} is {concept.display}, not {display}", concept
    return None, concept


def _other_version(system: str, version: str | None) -> str | None:
    """That a code system is here, but not in the version that a coding says; None if it is, or is not here at all."""
    known = terminology.code_systems().get(system)
    if known is None or terminology.find({system: known}, system, version):
        return None
    here = f"in version {known['version']}" if "version" in known else "without a version"
    return f"{system} is here {here}, not in {version}"


def _displays(concept: Concept) -> list[str]:
    return [concept.display, *(one["value"] for one in concept.designation)]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


GIVEN = (
    Parameter("display", "in", 0, "1", "string", "The display of `code`, to be checked too; case does not matter"),
    Parameter("coding", "in", 0, "1", "Coding", "The code with its system, and a display to be checked too"),
    Parameter("codeableConcept", "in", 0, "1", "CodeableConcept", "Codings of which one must be right"),
    Parameter("abstract", "in", 0, "1", "boolean", "Whether a code that only groups others is right"),
    LANGUAGE,
    Parameter("result", "out", 1, "1", "boolean", "Whether the code is right"),
    Parameter("message", "out", 0, "1", "string", "What is wrong"),
    Parameter("display", "out", 0, "1", "string", "The display of the code"),
)

IN_CODE_SYSTEM = Operation(
    code="validate-code",
    name="ValidateCodeInCodeSystem",
    title="Whether a code system has a code",
    description="Whether a code, and its display if one is given, is of a code system.",
    resource=("CodeSystem",),
    levels=("type", "instance"),
    affects_state=False,
    url=f"{R4}/CodeSystem-validate-code",
    parameters=(
        Parameter("url", "in", 0, "1", "uri", "The code system, if neither the path nor the coding names it"),
        Parameter("version", "in", 0, "1", "string", "Its version"),
        Parameter("code", "in", 0, "1", "code", "The code to check"),
        *GIVEN,
    ),
    run=in_code_system,
)

IN_VALUE_SET = Operation(
    code="validate-code",
    name="ValidateCodeInValueSet",
    title="Whether a value set has a code",
    description="Whether a code, and its display if one is given, is in a value set.",
    resource=("ValueSet",),
    levels=("type", "instance"),
    affects_state=False,
    url=f"{R4}/ValueSet-validate-code",
    parameters=(
        Parameter("url", "in", 0, "1", "uri", "The value set's canonical URL, if the path does not name it"),
        Parameter("valueSetVersion", "in", 0, "1", "string", "Its version"),
        Parameter("code", "in", 0, "1", "code", "The code to check, together with `system`"),
        Parameter("system", "in", 0, "1", "uri", "The system of `code`"),
        *GIVEN,
    ),
    run=in_value_set,
)

OPERATIONS = (IN_CODE_SYSTEM, IN_VALUE_SET)
