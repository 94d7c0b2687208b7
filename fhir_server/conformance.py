"""tables → CapabilityStatement, OperationDefinitions, SearchParameters, StructureDefinitions, CodeSystems, ConceptMaps.

Folds over the rows (http://hl7.org/fhir/R4/capabilitystatement.html); nothing here is listed twice, and nothing
varies from run to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape

from fhir_server import RELEASED, __version__
from fhir_server.definitions import Operation, Request, ResourceDefinition, Response, SearchParameter
from fhir_server.extensions import EXTENSIONS, Extension, Part
from fhir_server.interactions import INTERACTIONS
from fhir_server.operations import OPERATIONS
from fhir_server.outcome import CANONICAL, PROBLEMS, FhirError, Json
from fhir_server.resources import ROWS
from fhir_server.scheduling.elements import COMPUTED_TAG
from fhir_server.scheduling.problems import PROBLEM_TEXTS
from fhir_server.search import COMMON, supported
from fhir_server.vocabulary import concept_maps, word_system
from fhir_server.writing import Server

STATEMENT = f"{CANONICAL}/CapabilityStatement/scheduling-server"

TYPES = ("CodeSystem", "ConceptMap", "OperationDefinition", "SearchParameter", "StructureDefinition")
"""Types of which the server has its own definitions to read; none can be written."""

DEFINITION_SEARCH = (
    ("_id", "token", "http://hl7.org/fhir/SearchParameter/Resource-id"),
    ("url", "uri", "http://hl7.org/fhir/SearchParameter/conformance-url"),
)


async def capabilities(server: Server, request: Request) -> Response:
    """200 with the CapabilityStatement of this installation."""
    mode = dict(request.query).get("mode", "full")
    if mode not in ("full", "normative"):
        raise FhirError("not-supported", f"mode={mode} is not supported; full is.", "mode")
    statement = capability_statement(update_create=server.settings.create_by_put)
    return Response(200, statement | {"implementation": {"description": "This server", "url": server.base}})


async def read(_: Server, request: Request) -> Response:
    """200 with a definition of ours, 404 if there is none of that id."""
    found = definitions().get(f"{request.type}-{request.id}.json")
    if found is None:
        raise FhirError("not-found", f"{request.type}/{request.id} does not exist.")
    return Response(200, found)


async def search(server: Server, request: Request) -> Response:
    """200 with the definitions of the type, all or those that `_id` and `url` name."""
    wanted = {name: set(value.split(",")) for name, value in request.query if name in ("_id", "url")}
    found = [
        one
        for one in definitions().values()
        if one["resourceType"] == request.type
        and all(one["id" if name == "_id" else name] in values for name, values in wanted.items())
    ]
    url = f"{server.base}/{request.type}"
    entries = [{"fullUrl": f"{url}/{one['id']}", "resource": one, "search": {"mode": "match"}} for one in found]
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found)}
    bundle["link"] = [{"relation": "self", "url": url}]
    return Response(200, bundle | ({"entry": entries} if entries else {}))


def definitions() -> Mapping[str, Json]:
    """Everything that is published, by file name, in order."""
    resources = [
        capability_statement(update_create=True),
        *(_operation_definition(operation) for operation in OPERATIONS),
        *(_search_parameter(row, one) for row in ROWS.values() for one in row.search if one.url.startswith(CANONICAL)),
        *(_structure_definition(extension) for extension in EXTENSIONS),
        _problem_system(),
        _tag_system(),
        word_system(_published("CodeSystem", "appointment-word")),
        *concept_maps(lambda id: _published("ConceptMap", id)),
    ]
    return dict(sorted((f"{one['resourceType']}-{one['id']}.json", one) for one in resources))


def _published(type: str, id: str) -> Json:
    """The elements that every definition begins with."""
    return {
        "resourceType": type,
        "id": id,
        "url": f"{CANONICAL}/{type}/{id}",
        "version": __version__,
        "name": "".join(part.capitalize() for part in id.replace(".", "-").split("-")),
        "status": "active",
        "experimental": False,
        "date": RELEASED,
        "publisher": "FHIR scheduling server",
    }


def capability_statement(*, update_create: bool) -> Json:
    """What the server does, exactly: no more is claimed than is routed, and no less."""
    published = _published("CapabilityStatement", "scheduling-server")
    return published | {
        "name": "SchedulingServer",
        "title": "FHIR scheduling server",
        "kind": "instance",
        "software": {"name": "FHIR scheduling server", "version": __version__, "releaseDate": RELEASED},
        "implementation": {"description": "FHIR scheduling server"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Appointment scheduling: computed availability, booking without double booking, "
                "enforced statuses. This server has no access control of its own yet.",
                "resource": sorted(
                    [
                        *(_rest_resource(row, update_create) for row in ROWS.values()),
                        *map(_rest_definition, TYPES),
                    ],
                    key=lambda one: str(one["type"]),
                ),
            }
        ],
    }


def _rest_resource(row: ResourceDefinition, update_create: bool) -> Json:
    codes = list(dict.fromkeys(interaction.code for interaction in INTERACTIONS))
    resource: Json = {
        "type": row.type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{row.type}",
        "documentation": row.description,
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": update_create,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "referencePolicy": ["literal", "logical"],
        "searchParam": [_rest_parameter(one) for one in (*COMMON, *row.search) if supported(one)],
    }
    return resource | _rest_operations(row.type)


def _rest_parameter(parameter: SearchParameter) -> Json:
    return {
        "name": parameter.code,
        "definition": parameter.url,
        "type": parameter.type,
        "documentation": parameter.description,
    }


def _rest_operations(type: str) -> Json:
    found = [one for one in OPERATIONS if type in one.resource]
    if not found:
        return {}
    return {"operation": [{"name": one.code, "definition": _operation_url(one)} for one in found]}


def _rest_definition(type: str) -> Json:
    resource: Json = {
        "type": type,
        "documentation": "The server's own definitions, read-only",
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": [{"name": name, "type": kind, "definition": url} for name, kind, url in DEFINITION_SEARCH],
    }
    return resource | _rest_operations(type)


def _operation_id(operation: Operation) -> str:
    return f"{operation.resource[0].lower()}-{operation.code}" if operation.resource else operation.code


def _operation_url(operation: Operation) -> str:
    return operation.url or f"{CANONICAL}/OperationDefinition/{_operation_id(operation)}"


def _operation_definition(operation: Operation) -> Json:
    return _published("OperationDefinition", _operation_id(operation)) | {
        "name": operation.name,
        "title": operation.title,
        "kind": "operation",
        "description": operation.description,
        "affectsState": operation.affects_state,
        "code": operation.code,
        "resource": list(operation.resource),
        "system": "system" in operation.levels,
        "type": "type" in operation.levels,
        "instance": "instance" in operation.levels,
        "parameter": [
            {
                "name": parameter.name,
                "use": parameter.use,
                "min": parameter.min,
                "max": parameter.max,
                "documentation": parameter.documentation,
                **({"type": parameter.type} if parameter.type else {}),
                **({"searchType": parameter.search_type} if parameter.search_type else {}),
            }
            for parameter in operation.parameters
        ],
    }


def _search_parameter(row: ResourceDefinition, parameter: SearchParameter) -> Json:
    return _published("SearchParameter", f"{row.type}-{parameter.code}") | {
        "url": parameter.url,
        "description": parameter.description,
        "code": parameter.code,
        "base": [row.type],
        "type": parameter.type,
        "expression": parameter.expression,
        **({"target": list(parameter.target)} if parameter.target else {}),
    }


def _structure_definition(extension: Extension) -> Json:
    elements = [
        {
            "id": "Extension",
            "path": "Extension",
            "short": extension.title,
            "definition": extension.description,
        },
        *_elements("Extension", extension.parts, extension.value),
    ]
    elements.append(_fixed_url("Extension", f"{CANONICAL}/StructureDefinition/{extension.id}"))
    return _published("StructureDefinition", extension.id) | {
        "title": extension.title,
        "description": extension.description,
        "fhirVersion": "4.0.1",
        "kind": "complex-type",
        "abstract": False,
        "context": [{"type": "element", "expression": one} for one in extension.context],
        "type": "Extension",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
        "derivation": "constraint",
        "differential": {"element": elements},
    }


def _elements(path: str, parts: Iterable[Part], value: tuple[str, ...]) -> Iterator[Json]:
    """The elements of an extension: its parts as slices, or its value."""
    slices = list(parts)
    if not slices:
        yield {"id": f"{path}.extension", "path": "Extension.extension", "max": "0"}
        types = [{"code": code} for code in value]
        yield {"id": f"{path}.value[x]", "path": "Extension.value[x]", "min": 1, "type": types}
        return
    for part in slices:
        where = f"{path}.extension:{part.name}"
        depth = ".extension" * where.count(":")
        yield {
            "id": where,
            "path": f"Extension{depth}",
            "sliceName": part.name,
            "short": part.documentation,
            "min": part.min,
            "max": part.max,
        }
        for element in _elements(where, part.parts, part.value):
            yield element | {"path": element["path"].replace("Extension", f"Extension{depth}", 1)}
        yield _fixed_url(where, part.name, f"Extension{depth}")
    yield {"id": f"{path}.value[x]", "path": "Extension.value[x]", "max": "0"}


def _fixed_url(id: str, url: str, path: str = "Extension") -> Json:
    return {"id": f"{id}.url", "path": f"{path}.url", "fixedUri": url}


def _problem_system() -> Json:
    return _published("CodeSystem", "problem") | {
        "url": PROBLEMS,
        "title": "Why a booking or a change was refused",
        "description": "The stable codes in OperationOutcome.issue.details.",
        "caseSensitive": True,
        "content": "complete",
        "count": len(PROBLEM_TEXTS),
        "concept": [{"code": code, "display": text} for code, text in sorted(PROBLEM_TEXTS.items())],
    }


def _tag_system() -> Json:
    return _published("CodeSystem", "tag") | {
        "url": COMPUTED_TAG["system"],
        "title": "Tags of this server",
        "caseSensitive": True,
        "content": "complete",
        "count": 1,
        "concept": [{"code": COMPUTED_TAG["code"], "display": "Computed from the Schedule's rules"}],
    }


def welcome(base: str) -> str:
    """A page that tells a person where they are."""
    links = "".join(
        f'<li><a href="{escape(base)}/{path}">{text}</a></li>'
        for path, text in (
            ("metadata?_pretty=true", "What this server can do (CapabilityStatement)"),
            ("Schedule?_pretty=true", "The Schedules"),
            ("Slot?_pretty=true", "The Slots that are stored"),
            ("Appointment?_sort=-date&amp;_pretty=true", "The Appointments"),
            ("ConceptMap?_pretty=true", "How other products' status words map onto FHIR's"),
            ("OperationDefinition?_pretty=true", "The operations"),
        )
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>FHIR scheduling server</title>'
        "<style>body{font:1rem/1.6 system-ui;max-width:42rem;margin:3rem auto;padding:0 1rem}code{background:#eee;"
        "padding:.1em .3em}</style>"
        f"<h1>FHIR scheduling server {__version__}</h1>"
        f"<p>A FHIR R4 server for appointments. Its base URL is <code>{escape(base)}</code>.</p><ul>{links}"
        '<li><a href="/health/ready">Whether the store answers</a></li></ul>'
    )
