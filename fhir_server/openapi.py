"""tables → an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0): the same rows that are routed, for generic
clients and fuzzers. The schemas come from the shapes that validation walks by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from fhir_server import __version__, patching
from fhir_server.conformance import READ_ONLY
from fhir_server.conformance.readonly import SEARCH
from fhir_server.definitions import Interaction, Operation, Parameter, SearchParameter
from fhir_server.interactions import INTERACTIONS
from fhir_server.operations import OPERATIONS
from fhir_server.outcome import Json
from fhir_server.resources import ROWS
from fhir_server.routing import operation_paths
from fhir_server.search import COMMON, supported
from fhir_server.settings import Settings
from fhir_server.validation.shapes import Element, Shape, resource_shape, shape
from fhir_server.wire import FHIR_JSON, FHIR_XML, FORM

ID_PATTERN = r"^[A-Za-z0-9\-.]{1,64}$"

PATH: Mapping[str, Json] = {
    "id": {"type": "string", "pattern": ID_PATTERN},
    "version": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
    "target": {"type": "string", "pattern": "^[A-Z][A-Za-z]+$|^\\*$"},
}
"""The schemas of what a path says."""

ANSWER: Mapping[str, tuple[str, str]] = {
    "read": ("200", "{type}"),
    "vread": ("200", "{type}"),
    "update": ("200", "{type}"),
    "patch": ("200", "{type}"),
    "delete": ("204", ""),
    "history-instance": ("200", "Bundle"),
    "history-type": ("200", "Bundle"),
    "history-system": ("200", "Bundle"),
    "create": ("201", "{type}"),
    "search-type": ("200", "Bundle"),
    "search-system": ("200", "Bundle"),
    "search-compartment": ("200", "Bundle"),
    "transaction": ("200", "Bundle"),
    "batch": ("200", "Bundle"),
}
"""What each interaction answers when all is well: the status and the type of the resource."""

ALSO: Mapping[str, Mapping[str, str]] = {
    "read": {"304": "The client has this version already"},
    "vread": {"304": "The client has this version already"},
    "update": {"201": "The first version"},
    "create": {"200": "What meets If-None-Exist was there before"},
    "delete": {"200": "An OperationOutcome, if the client prefers one"},
}
"""What else may be the answer."""

SENT: Mapping[str, str] = {"create": "{type}", "update": "{type}", "transaction": "Bundle", "batch": "Bundle"}
"""The type of the resource in the body of a request."""

SEARCHES = frozenset({"search-type", "search-system", "search-compartment"})
HISTORIES = frozenset({"history-instance", "history-type", "history-system"})

RESULT: Mapping[str, Json] = {
    "_count": {"type": "integer", "minimum": 0},
    "_sort": {"type": "string"},
    "_total": {"enum": ["none", "estimate", "accurate"]},
    "_include": {"type": "string"},
    "_revinclude": {"type": "string"},
    "_summary": {"enum": ["true", "text", "data", "count", "false"]},
    "_elements": {"type": "string"},
    "_filter": {"type": "string"},
}
PAST: Mapping[str, Json] = {
    "_count": {"type": "integer", "minimum": 0},
    "_since": {"type": "string", "format": "date-time"},
    "_at": {"type": "string"},
    "_total": {"enum": ["none", "estimate", "accurate"]},
}
VIEW: Mapping[str, Json] = {"_summary": RESULT["_summary"], "_elements": RESULT["_elements"]}
HEADERS: Mapping[str, Mapping[str, str]] = {
    "create": {
        "If-None-Exist": "Create only if nothing meets this condition",
        "Idempotency-Key": "Answer a repetition alike",
    },
    "update": {"If-Match": "Only if this is the current version", "If-None-Match": "`*`: only if there is none"},
    "patch": {"If-Match": "Only if this is the current version"},
    "delete": {"If-Match": "Only if this is the current version"},
    "read": {"If-None-Match": "304 if this is the current version", "If-Modified-Since": "304 if nothing is newer"},
}

PRIMITIVES: Mapping[str, Json] = {
    "boolean": {"type": "boolean"},
    "decimal": {"type": "number"},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "positiveInt": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "unsignedInt": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "id": {"type": "string", "pattern": ID_PATTERN},
    "code": {"type": "string", "pattern": r"^[^\s]+( [^\s]+)*$"},
    "instant": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "pattern": r"^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$"},
    "dateTime": {
        "type": "string",
        "pattern": r"^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))?)?)?$",
    },
    "time": {"type": "string", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?$"},
}
"""The schemas of primitive types; the others are texts."""


def document(settings: Settings) -> Json:
    """The document of an installation with these settings; its server is the FHIR base."""
    paths: dict[str, Json] = {}
    for path, method, said in _all():
        paths.setdefault(path or "/", {}).setdefault(method, said)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FHIR scheduling server",
            "version": __version__,
            "description": "FHIR R4 (http://hl7.org/fhir/R4) for appointments. /metadata has its own words for it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": settings.base}],
        "tags": [{"name": type} for type in (*ROWS, *SEARCH, "system")],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {"schemas": _schemas()},
    }


def _all() -> Iterator[tuple[str, str, Json]]:
    yield (
        "/metadata",
        "get",
        _described("system", "capabilities", (), {"200": _answer("CapabilityStatement", "What it does")}),
    )
    for interaction in INTERACTIONS:
        for type in tuple(ROWS) if "{type}" in interaction.path else (_named(interaction.path),):
            path = interaction.path.replace("{type}", type)
            yield path.rstrip("/"), interaction.method.lower(), _interaction(interaction, type, path)
    for type in SEARCH:
        for interaction in INTERACTIONS:
            if interaction.code in READ_ONLY and not interaction.conditional:
                path = interaction.path.replace("{type}", type)
                yield path, interaction.method.lower(), _interaction(interaction, type, path)
    for operation in OPERATIONS:
        for template, type in operation_paths(operation):
            for named in tuple(ROWS) if type is None and "{type}" in template else (type or "system",):
                yield from _operation(operation, f"/{template.replace('{type}', named)}", named)


def _named(path: str) -> str:
    first = path.removeprefix("/").partition("/")[0]
    return first if first in ROWS else "system"


def _interaction(interaction: Interaction, type: str, path: str) -> Json:
    code = interaction.code
    status, answered = ANSWER[code]
    resource = answered.replace("{type}", type)
    parameters = [*_in_path(path), *_in_query(interaction, type), *_in_header(HEADERS.get(code, {}))]
    text = (interaction.run.__doc__ or code).strip()
    answers = {status: _answer(resource, f"{code}: as it should be")}
    for other, why in ALSO.get(code, {}).items():
        answers[other] = (
            {"description": why}
            if other == "304"
            else _answer("OperationOutcome" if code == "delete" else resource, why)
        )
    said = _described(type, code, parameters, answers, text)
    if interaction.method == "POST" and path.endswith("_search"):
        form = {"type": "object", "additionalProperties": {"type": "string"}}
        return said | {"requestBody": {"content": {FORM: {"schema": form}}}}
    if code == "patch":
        return said | {"requestBody": _patch_body()}
    if code in SENT:
        return said | {"requestBody": _body(_reference(SENT[code].replace("{type}", type)))}
    return said


def _described(type: str, code: str, parameters: Sequence[Json], answers: Mapping[str, Json], text: str = "") -> Json:
    said: Json = {
        "tags": [type],
        "summary": code,
        "responses": {**answers, "default": _answer("OperationOutcome", "Refused")},
    }
    if text:
        said["description"] = " ".join(text.split())
    return said | ({"parameters": list(parameters)} if parameters else {})


def _in_path(path: str) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, "schema": PATH[name]}


def _in_query(interaction: Interaction, type: str) -> Iterator[Json]:
    """The query of a search, a history, a read, or a condition. What more it takes (modifiers, chains) has no end."""
    code = interaction.code
    if code in SEARCHES and interaction.method == "GET":
        yield from map(_search_parameter, _searched(code, type))
        if code == "search-system":
            yield _query("_type", {"type": "string"})
        yield from (_query(name, schema) for name, schema in RESULT.items())
    elif code in HISTORIES:
        yield from (_query(name, schema) for name, schema in PAST.items())
    elif code == "read":
        yield from (_query(name, schema) for name, schema in VIEW.items())
    elif interaction.conditional:
        yield from map(_search_parameter, _searched(code, type))


def _searched(code: str, type: str) -> list[SearchParameter]:
    own = SEARCH[type] if type in SEARCH else ROWS[type].search if type in ROWS and code != "search-compartment" else ()
    return [parameter for parameter in {one.code: one for one in (*COMMON, *own)}.values() if supported(parameter)]


def _search_parameter(parameter: SearchParameter) -> Json:
    return _query(parameter.code, {"type": "string"}, parameter.description)


def _query(name: str, schema: Json, description: str = "") -> Json:
    return {"name": name, "in": "query", "schema": schema} | ({"description": description} if description else {})


def _in_header(headers: Mapping[str, str]) -> Iterator[Json]:
    for name, text in headers.items():
        yield {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}


def _operation(operation: Operation, path: str, type: str) -> Iterator[tuple[str, str, Json]]:
    given = [one for one in operation.parameters if one.use == "in"]
    text = operation.description
    in_path = list(_in_path(path))
    headers = list(_in_header({"Idempotency-Key": "Answer a repetition alike"})) if operation.affects_state else []
    answers = {
        status: _operation_answer(operation) for status in (("200", "201") if operation.affects_state else ("200",))
    }
    posted = _described(type, f"${operation.code}", [*in_path, *headers], answers, text)
    bodies = [_reference("Parameters"), *(_reference(one.type) for one in given if one.type in ROWS)]
    yield path, "post", posted | {"requestBody": _body({"anyOf": bodies} if len(bodies) > 1 else bodies[0])}
    if not operation.affects_state:
        simple = [_query(one.name, {"type": "string"}, one.documentation) for one in given if _is_simple(one)]
        yield path, "get", _described(type, f"${operation.code}", [*in_path, *simple], answers, text)


def _is_simple(parameter: Parameter) -> bool:
    return not parameter.parts and (parameter.type[:1].islower() or parameter.type == "Reference")


def _operation_answer(operation: Operation) -> Json:
    out = [one for one in operation.parameters if one.use == "out"]
    alone = len(out) == 1 and out[0].name == "return" and resource_shape(out[0].type)
    return _answer(out[0].type if alone else "Parameters", "The result")


def _answer(type: str, description: str) -> Json:
    if not type:
        return {"description": description}
    schema = {"anyOf": [_reference(type), _reference("OperationOutcome")]} if type in ROWS else _reference(type)
    content = {FHIR_JSON: {"schema": schema}, FHIR_XML: {"schema": {"type": "string"}}}
    return {"description": description, "content": content}


def _body(schema: Json) -> Json:
    return {"required": True, "content": {FHIR_JSON: {"schema": schema}}}


def _patch_body() -> Json:
    operations = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["op", "path"],
            "properties": {
                "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
                "path": {"type": "string"},
                "from": {"type": "string"},
                "value": {},
            },
        },
    }
    content = {patching.JSON_PATCH: {"schema": operations}, FHIR_JSON: {"schema": _reference("Parameters")}}
    return {"required": True, "content": content}


def _reference(type: str) -> Json:
    return {"$ref": f"#/components/schemas/{type}"}


@cache
def _schemas() -> Mapping[str, Json]:
    """The schema of every resource type that is sent or answered, and of all data types in them."""
    roots = [*ROWS, *SEARCH, "Bundle", "Parameters", "OperationOutcome", "TerminologyCapabilities"]
    waiting = [found for type in roots if (found := resource_shape(type))]
    schemas: dict[str, Json] = {"Resource": ANY_RESOURCE, "Extension": EXTENSION}
    while waiting:
        one = waiting.pop()
        if one.type not in schemas:
            schemas[one.type] = _schema(one)
            waiting += [shape(element.model) for element in one.elements.values() if element.model]
    return dict(sorted(schemas.items()))


ANY_RESOURCE: Json = {
    "type": "object",
    "required": ["resourceType"],
    "properties": {"resourceType": {"type": "string"}, "id": PRIMITIVES["id"]},
}
"""A resource of any type, where the type of another one does not say which."""


EXTENSION: Json = {
    "type": "object",
    "required": ["url"],
    "properties": {"url": {"type": "string", "minLength": 1}},
    "description": "With one value[x] of any data type, or with extensions of its own.",
}
"""Said loosely: the choice of 50 values, each with extensions, is beyond what generators of examples can do."""


def _schema(of: Shape) -> Json:
    properties: Json = {"resourceType": {"const": of.type}} if of.is_resource else {}
    for element in of.elements.values():
        properties |= _properties(element)
    required = ["resourceType"] if of.is_resource else []
    required += [element.name for element in of.required if element.model or element.many]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {"minProperties": 1})


def _properties(element: Element) -> Json:
    if element.type == "Resource":
        one: Json = _reference("Resource")
    elif element.model:
        one = _reference(shape(element.model).type)
    else:
        one = (
            {"enum": list(element.codes)}
            if element.codes
            else PRIMITIVES.get(element.type, {"type": "string", "minLength": 1})
        )
    if element.model or element.type == "Resource":
        return {element.name: {"type": "array", "minItems": 1, "items": one} if element.many else one}
    beside: Json = {"type": "object"}
    if element.many:
        texts = {"type": "array", "minItems": 1, "items": {"anyOf": [one, {"type": "null"}]}}
        return {
            element.name: texts,
            f"_{element.name}": {"type": "array", "items": {"anyOf": [beside, {"type": "null"}]}},
        }
    return {element.name: one, f"_{element.name}": beside}
