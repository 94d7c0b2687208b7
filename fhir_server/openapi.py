"""tables → an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0): the same rows that are routed, for generic
clients and fuzzers. The schemas come from the shapes that validation walks by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from fhir_server import __version__, patching
from fhir_server.conformance import READ_ONLY
from fhir_server.conformance.readonly import SEARCH
from fhir_server.definitions import PROTOCOL, Interaction, Operation, Parameter, SearchParameter
from fhir_server.interactions import INTERACTIONS
from fhir_server.operations import OPERATIONS
from fhir_server.outcome import Json
from fhir_server.resources import ROWS
from fhir_server.routing import operation_paths
from fhir_server.search import COMMON, supported
from fhir_server.settings import Settings
from fhir_server.validation.shapes import Element, Shape, resource_shape, shape
from fhir_server.wire import FHIR_JSON, FHIR_XML, FORM, FORMATS

SYSTEM = "system"
"""The tag of what is asked of the whole server."""

STRING: Json = {"type": "string"}
ID: Json = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an interaction is sent and what it answers: the statuses of success with the type of the resource, "" for
    none; the headers it heeds; the statuses with which it refuses, beside those of every request. `{type}` stands for
    the type in the path."""

    answers: Mapping[str, str]
    sent: str = ""
    heeded: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


RESULTS = ("_count", "_sort", "_total", "_include", "_revinclude", "_summary", "_elements", "_filter")
VIEW = ("_summary", "_elements")
PAST = ("_count", "_since", "_at", "_total")
KNOWN = ("If-None-Match", "If-Modified-Since")
DECIDED = ("409", "412", "422", "503")
"""The refusals of a write that is decided on what is stored."""

_FOUND = Exchange({"200": "Bundle"}, heeded=("Prefer",), query=RESULTS, refusals=("404", "422"))
_HISTORY = Exchange({"200": "Bundle"}, heeded=("Prefer",), query=PAST)
_BUNDLE = Exchange(
    {"200": "Bundle"},
    sent="Bundle",
    heeded=("Prefer", "Idempotency-Key"),
    refusals=("404", "405", "410", *DECIDED),
)

EXCHANGES: Mapping[str, Exchange] = {
    "read": Exchange({"200": "{type}", "304": ""}, heeded=KNOWN, refusals=("410",), query=VIEW),
    "vread": Exchange({"200": "{type}", "304": ""}, heeded=KNOWN, refusals=("410",), query=VIEW),
    "create": Exchange(
        {"201": "{type}", "200": "{type}"},
        sent="{type}",
        heeded=("If-None-Exist", "Prefer", "Idempotency-Key"),
        refusals=DECIDED,
    ),
    "update": Exchange(
        {"200": "{type}", "201": "{type}"},
        sent="{type}",
        heeded=("If-Match", "If-None-Match", "Prefer"),
        refusals=("405", *DECIDED),
    ),
    "patch": Exchange(
        {"200": "{type}"}, heeded=("If-Match", "Prefer", "Idempotency-Key"), refusals=("404", "410", *DECIDED)
    ),
    "delete": Exchange({"204": "", "200": "OperationOutcome"}, heeded=("If-Match", "Prefer"), refusals=DECIDED),
    "search-type": _FOUND,
    "search-system": _FOUND,
    "search-compartment": _FOUND,
    "history-instance": _HISTORY,
    "history-type": _HISTORY,
    "history-system": _HISTORY,
    "transaction": _BUNDLE,
    "batch": _BUNDLE,
}
"""Every interaction by its code."""

READING = Exchange({"200": ""}, refusals=("404", "410", "422"))
CHANGING = Exchange(
    {"200": "", "201": "", "202": ""},
    heeded=("If-Match", "Prefer", "Idempotency-Key"),
    refusals=("404", "410", *DECIDED),
)
LABELLING = Exchange({"200": ""}, heeded=("If-Match", "Idempotency-Key"), refusals=("404", "410", *DECIDED))
"""What operations have in common that read, that write and answer with what was written, that write and answer with
something else."""

MEANINGS: Mapping[str, str] = {
    "200": "Done",
    "201": "Created, the first version",
    "202": "Asked for; somebody is to confirm it",
    "204": "Done; there is nothing to say",
    "304": "The client has this version already",
    "400": "The request is not as it should be",
    "404": "There is no such thing",
    "405": "Clients do not choose ids here, or the path has no such method",
    "406": "No format of ours is acceptable",
    "409": "It cannot be done as things are: somebody was first, or others refer to it",
    "410": "It was deleted",
    "412": "A condition is not met, or is met by too many",
    "413": "The body is too long",
    "414": "The URL is too long",
    "415": "The body is in no format of ours",
    "422": "The content is wrong, or against the rules",
    "431": "The headers are too long",
    "503": "Others were faster for too long; ask again",
}
"""What each status means."""

ALWAYS = ("400", "406", "414", "431")
WITH_BODY = ("413", "415")
"""The refusals of every request, and of those with a body. Where the path has a part to fill in there is 404, too."""

HEADERS: Mapping[str, str] = {
    "If-Match": "Only if this is the current version",
    "If-None-Match": '`W/"…"`: 304 if this is the current version; on a write `*`: only if there is none',
    "If-Modified-Since": "304 if nothing is newer",
    "If-None-Exist": "Create only if nothing meets this condition, written like a query",
    "Idempotency-Key": "A repeated request gets the first answer",
    "Prefer": "`return=minimal`, `return=representation` or `return=OperationOutcome`; "
    "`handling=strict` refuses unknown parameters",
}
"""The headers of requests."""

ANSWERED: Mapping[str, str] = {
    "Allow": "The methods that there are",
    "ETag": "The version of the resource",
    "Last-Modified": "When this version came to be",
    "Location": "The URL of the version",
    "Retry-After": "Seconds to wait",
}
"""The headers of answers."""

QUERY: Mapping[str, tuple[Json, str]] = {
    "_at": (STRING, "What was current at some time in this span"),
    "_count": ({"type": "integer", "minimum": 0}, "Entries on a page"),
    "_elements": (STRING, "The elements that are wanted"),
    "_filter": (STRING, "A filter expression (http://hl7.org/fhir/R4/search_filter.html)"),
    "_format": ({"enum": list(FORMATS)}, "The format of the answer, before Accept"),
    "_include": (STRING, "What matches refer to: `Type:parameter`"),
    "_pretty": ({"enum": ["true", "false"]}, "Whether the answer has line breaks"),
    "_revinclude": (STRING, "What refers to matches: `Type:parameter`"),
    "_since": ({"type": "string", "format": "date-time"}, "Versions from this instant on"),
    "_sort": (STRING, "Parameters to sort by, with `-` for descending"),
    "_summary": ({"enum": ["true", "text", "data", "count", "false"]}, "How much of each resource is wanted"),
    "_total": ({"enum": ["none", "estimate", "accurate"]}, "Whether the total is wanted"),
    "_type": (STRING, "The types to search"),
}
"""The query parameters about the answer."""

PATH: Mapping[str, Json] = {
    "id": ID,
    "version": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
    "target": {"enum": ["*", *ROWS]},
}
"""What a path says."""

PRIMITIVES: Mapping[str, Json] = {
    "boolean": {"type": "boolean"},
    "decimal": {"type": "number"},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "positiveInt": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "unsignedInt": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "id": ID,
    "code": {"type": "string", "pattern": r"^[^\s]+( [^\s]+)*$"},
    **{type: {"type": "string", "pattern": r"^[^\s]+$"} for type in ("uri", "url", "canonical")},
    "instant": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "pattern": r"^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$"},
    "dateTime": {
        "type": "string",
        "pattern": r"^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))?)?)?$",
    },
    "time": {"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?$"},
}
"""The schemas of primitive types."""

TEXT: Json = {"type": "string", "minLength": 1}
"""The schema of all other primitive types."""

LOOSE: Mapping[str, Json] = {
    "Resource": {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": STRING, "id": ID},
        "description": "Of any type.",
    },
    "Extension": {
        "type": "object",
        "required": ["url"],
        "properties": {"url": TEXT},
        "description": "With one value[x] of any data type, or with extensions of its own.",
    },
    "Element": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "id": STRING,
            "extension": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Extension"}},
        },
        "description": "What stands beside a primitive, under its name with an underscore.",
    },
}
"""Schemas that no shape says: a choice of 50 values, each with extensions, is beyond what generators can do."""

PATCH: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["op", "path"],
        "properties": {
            "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": STRING,
            "from": STRING,
            "value": {},
        },
    },
}
"""The schema of a JSON Patch."""


def document(settings: Settings) -> Json:
    """The document of an installation with these settings; its server is the FHIR base."""
    paths: dict[str, Json] = {}
    for path, method, said in _all():
        known = paths.setdefault(path, {}).setdefault(method, said)
        if known is not said:
            known["summary"] += f", {said['summary']}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FHIR scheduling server",
            "version": __version__,
            "description": "FHIR R4 (http://hl7.org/fhir/R4) for appointments. /metadata says it in FHIR's words. "
            "HEAD is GET without the body. Searches take more than is listed: modifiers, chains and _has.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": settings.base}],
        "tags": [
            {"name": type} for type in sorted({said["tags"][0] for path in paths.values() for said in path.values()})
        ],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "schemas": _schemas(),
            "parameters": {name: _header(name) for name in HEADERS}
            | {name: _query(name, *QUERY[name]) for name in QUERY},
            "headers": {name: {"description": text, "schema": STRING} for name, text in ANSWERED.items()},
            "responses": {f"refused-{status}": _refusal(status) for status in MEANINGS if status >= "400"},
        },
    }


def _all() -> Iterator[tuple[str, str, Json]]:
    """Each path, method and what is said of it."""
    mode = _query("mode", {"enum": ["full", "normative", "terminology"]}, "What is wanted")
    answers = {"200": _answer("200", ("CapabilityStatement", "TerminologyCapabilities")), "304": _answer("304", ())}
    yield "/metadata", "get", _said(SYSTEM, "capabilities", "GET", "/metadata", [mode], answers, ())
    for interaction in INTERACTIONS:
        for type in _types(interaction):
            path = interaction.path.replace("{type}", type).rstrip("/") or "/"
            yield path, interaction.method.lower(), _interaction(interaction, type, path)
    for operation in OPERATIONS:
        for template, of in operation_paths(operation):
            for type in tuple(ROWS) if "{type}" in template else (of or SYSTEM,):
                path = f"/{template.replace('{type}', type)}"
                yield path, "post", _posted(operation, type, path)
                if not operation.affects_state:
                    yield path, "get", _got(operation, type, path)


def _types(interaction: Interaction) -> tuple[str, ...]:
    """The types that an interaction is said of."""
    if "{type}" not in interaction.path:
        first = interaction.path.split("/")[1] if "/" in interaction.path else ""
        return (first if first[:1].isupper() else SYSTEM,)
    return (*ROWS, *SEARCH) if interaction.code in READ_ONLY else tuple(ROWS)


def _interaction(interaction: Interaction, type: str, path: str) -> Json:
    exchange = EXCHANGES[interaction.code]
    form = path.endswith("_search")
    parameters = [
        *_conditions(interaction, type),
        *(() if form else map(_shared, exchange.query)),
        *map(_shared, () if type in SEARCH and interaction.code == "read" else exchange.heeded),
    ]
    answers = {}
    for status, answered in exchange.answers.items():
        resource = answered.replace("{type}", type)
        named = (resource, "OperationOutcome") if exchange.sent or interaction.code == "patch" else (resource,)
        answers[status] = _answer(status, [one for one in named if resource], versioned=_versioned(interaction, type))
    said = _said(type, interaction.code, interaction.method, path, parameters, answers, exchange.refusals)
    said["description"] = " ".join((interaction.run.__doc__ or "").split())
    if form:
        fields: Json = {"type": "object", "additionalProperties": STRING}
        return said | {"requestBody": {"content": {FORM: {"schema": fields}}}}
    if interaction.code == "patch":
        fhir = {"schema": _reference("Parameters")}
        content = {patching.JSON_PATCH: {"schema": PATCH}, FHIR_JSON: fhir, FHIR_XML: {}, patching.XML_PATCH: {}}
        return said | {"requestBody": {"required": True, "content": content}}
    return said | (_body([exchange.sent.replace("{type}", type)]) if exchange.sent else {})


def _versioned(interaction: Interaction, type: str) -> bool:
    return type not in SEARCH and "{type}" in "".join(EXCHANGES[interaction.code].answers.values())


def _conditions(interaction: Interaction, type: str) -> Iterator[Json]:
    """The search parameters that the query of a search or of a condition can have."""
    asks = interaction.code.startswith("search-") and interaction.method == "GET"
    if not asks and not (interaction.conditional and interaction.method != "POST"):
        return
    own = SEARCH[type] if type in SEARCH else ROWS[type].search if "{type}" in interaction.path else ()
    for parameter in {one.code: one for one in (*COMMON, *own)}.values():
        if supported(parameter):
            yield _searched(parameter)
    if asks and "{type}" not in interaction.path:
        yield _shared("_type")


def _searched(parameter: SearchParameter) -> Json:
    return _query(parameter.code, STRING, parameter.description) | {"x-search-type": parameter.type}


def _posted(operation: Operation, type: str, path: str) -> Json:
    """An operation by POST: with Parameters, or a resource that is a parameter, in the body."""
    exchange = _exchange(operation)
    said = _said(type, _name(operation), "POST", path, map(_shared, exchange.heeded), *_results(operation, exchange))
    alone = [one.type for one in _given(operation) if one.type == "Resource" or resource_shape(one.type)]
    needed = any(one.min for one in _given(operation)) and "{id}" not in path
    bodies = ["Parameters", *dict.fromkeys(alone)]
    return said | {"description": operation.description} | _body(bodies, required=needed)


def _got(operation: Operation, type: str, path: str) -> Json:
    """An operation by GET: with those parameters in the query that can be texts."""
    simple = (_query(one.name, STRING, one.documentation) for one in _given(operation) if _is_simple(one))
    said = _said(type, _name(operation), "GET", path, simple, *_results(operation, READING))
    return said | {"description": operation.description}


def _exchange(operation: Operation) -> Exchange:
    if not operation.affects_state:
        return READING
    out = {one.type for one in operation.parameters if one.use == "out"}
    return CHANGING if out & {*ROWS, "Resource"} else LABELLING


def _name(operation: Operation) -> str:
    return f"${operation.code}"


def _given(operation: Operation) -> list[Parameter]:
    return [one for one in operation.parameters if one.use == "in"]


def _is_simple(parameter: Parameter) -> bool:
    types = (parameter.type, *parameter.also)
    return not parameter.parts and any(type[:1].islower() or type == "Reference" for type in types)


def _results(operation: Operation, exchange: Exchange) -> tuple[Mapping[str, Json], tuple[str, ...]]:
    out = [one for one in operation.parameters if one.use == "out"]
    alone = len(out) == 1 and out[0].name == "return" and resource_shape(out[0].type)
    types = [out[0].type if alone else "Parameters", *(("OperationOutcome",) if "Prefer" in exchange.heeded else ())]
    return {status: _answer(status, types) for status in exchange.answers}, exchange.refusals


def _said(
    type: str,
    summary: str,
    method: str,
    path: str,
    parameters: Iterable[Json],
    answers: Mapping[str, Json],
    refusals: Iterable[str],
) -> Json:
    """What the document says of a method of a path."""
    in_path = [_in_path(name) for name in re.findall(r"{(\w+)}", path)]
    refused = {*ALWAYS, *refusals, *(("404",) if in_path else ())}
    refused |= set(WITH_BODY if method in ("POST", "PUT", "PATCH") else ())
    return {
        "tags": [type],
        "operationId": re.sub(r"[^A-Za-z0-9_]+", "-", f"{method.lower()}{path}").rstrip("-"),
        "summary": summary,
        "parameters": [*in_path, *parameters, *map(_shared, PROTOCOL)],
        "responses": {**answers, **{one: {"$ref": f"#/components/responses/refused-{one}"} for one in sorted(refused)}},
    }


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": PATH[name]}


def _shared(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str) -> Json:
    return {"name": name, "in": "header", "description": HEADERS[name], "schema": STRING}


def _answer(status: str, types: Iterable[str], *, versioned: bool = False) -> Json:
    """An answer with a resource of one of the types, or without any."""
    names = ("ETag", "Last-Modified", *(("Location",) if status == "201" else ())) if versioned else ()
    said: Json = {"description": MEANINGS[status]}
    if names:
        said["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return said | ({"content": _content(types)} if any(types) else {})


def _refusal(status: str) -> Json:
    named = {"405": "Allow", "503": "Retry-After"}.get(status)
    headers = {"headers": {named: {"$ref": f"#/components/headers/{named}"}}} if named else {}
    return {"description": MEANINGS[status], "content": _content(["OperationOutcome"])} | headers


def _body(types: Iterable[str], *, required: bool = True) -> Json:
    return {"requestBody": {"required": required, "content": _content(types)}}


def _content(types: Iterable[str]) -> Json:
    schemas = [_reference(type) for type in types]
    return {FHIR_JSON: {"schema": {"anyOf": schemas} if len(schemas) > 1 else schemas[0]}, FHIR_XML: {}}


def _reference(type: str) -> Json:
    return {"$ref": f"#/components/schemas/{type}"}


@cache
def _schemas() -> Mapping[str, Json]:
    """The schema of every resource type that is sent or answered, and of all data types in them."""
    roots = [*ROWS, *SEARCH, "Bundle", "Parameters", "OperationOutcome", "TerminologyCapabilities"]
    waiting = [found for type in roots if (found := resource_shape(type))]
    schemas = dict(LOOSE)
    while waiting:
        one = waiting.pop()
        if one.type not in schemas:
            schemas[one.type] = _schema(one)
            waiting += [shape(element.model) for element in one.elements.values() if element.model]
    return dict(sorted(schemas.items()))


def _schema(of: Shape) -> Json:
    """A primitive that is required may be absent, if something stands beside it."""
    properties: Json = {"resourceType": {"const": of.type}} if of.is_resource else {}
    for element in of.elements.values():
        properties |= _properties(element)
    required = ["resourceType"] if of.is_resource else []
    required += [element.name for element in of.required if element.model]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {"minProperties": 1})


def _properties(element: Element) -> Json:
    if element.type == "Resource" or element.model:
        one = _reference(shape(element.model).type if element.model else "Resource")
        return {element.name: {"type": "array", "minItems": 1, "items": one} if element.many else one}
    value = {"enum": list(element.codes)} if element.codes else PRIMITIVES.get(element.type, TEXT)
    beside = _reference("Element")
    if element.many:
        value, beside = (
            {"type": "array", "minItems": 1, "items": {"anyOf": [one, {"type": "null"}]}} for one in (value, beside)
        )
    return {element.name: value, f"_{element.name}": beside}
