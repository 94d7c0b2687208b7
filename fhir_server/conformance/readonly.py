"""The read-only types and what they are searched by (http://hl7.org/fhir/R4/searchparameter-registry.html)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fhir_server.definitions import SearchParameter, SearchType

R4 = "http://hl7.org/fhir/SearchParameter"

Own = tuple[str, SearchType, str, str, str]
"""Code, type, path below the resource, code system of the element if it is a code, description."""

OF_ALL: Sequence[Own] = (
    ("date", "date", "date", "", "When the definition was last changed"),
    ("description", "string", "description", "", "What the definition says of itself"),
    ("name", "string", "name", "", "The name for programs"),
    ("publisher", "string", "publisher", "", "Who published the definition"),
    ("status", "token", "status", "publication-status", "Whether the definition is in use"),
    ("title", "string", "title", "", "The name for people"),
    ("url", "uri", "url", "", "The canonical URL"),
    ("version", "token", "version", "", "The version of the definition"),
)
"""Search parameters that R4 defines for all of these types at once, as `conformance-…`."""

UNTITLED = frozenset({"SearchParameter"})
"""Types without a title."""

IDENTIFIED: Own = ("identifier", "token", "identifier", "", "Another identifier of the definition")

OF_TYPE: Mapping[str, Sequence[Own]] = {
    "CapabilityStatement": (
        ("format", "token", "format", "", "A format that is supported"),
        ("mode", "token", "rest.mode", "restful-capability-mode", "Whether it is a server or a client"),
        ("resource", "token", "rest.resource.type", "resource-types", "A resource type that is supported"),
        ("software", "string", "software.name", "", "The name of the software"),
    ),
    "CodeSystem": (
        ("code", "token", "concept.code", "", "A code at the top of the code system"),
        ("content-mode", "token", "content", "codesystem-content-mode", "How much of the code system is there"),
        ("system", "uri", "url", "", "The system of its codes, which is its URL"),
    ),
    "ConceptMap": (
        ("source-code", "token", "group.element.code", "", "A code that is mapped"),
        ("source-system", "uri", "group.source", "", "The system of the codes that are mapped"),
        ("target-code", "token", "group.element.target.code", "", "A code that is mapped to"),
        ("target-system", "uri", "group.target", "", "The system of the codes that are mapped to"),
    ),
    "OperationDefinition": (
        ("code", "token", "code", "", "The name in the URL, without the $"),
        ("instance", "token", "instance", "", "Whether it is called on an instance"),
        ("kind", "token", "kind", "operation-kind", "Whether it is an operation or a query"),
        ("system", "token", "system", "", "Whether it is called on the whole server"),
        ("type", "token", "type", "", "Whether it is called on a type"),
    ),
    "SearchParameter": (
        ("base", "token", "base", "resource-types", "A resource type that is searched by it"),
        ("code", "token", "code", "", "The name in the URL"),
        ("target", "token", "target", "resource-types", "A resource type that a reference may point to"),
        ("type", "token", "type", "search-param-type", "The type of the parameter"),
    ),
    "StructureDefinition": (
        ("abstract", "token", "abstract", "", "Whether the structure is abstract"),
        ("derivation", "token", "derivation", "type-derivation-rule", "How it was derived"),
        ("ext-context", "token", "context.type", "extension-context-type", "What kind of context it stands in"),
        ("kind", "token", "kind", "structure-definition-kind", "The kind of structure"),
        ("type", "uri", "type", "", "The type that is constrained"),
    ),
    "ValueSet": (
        ("code", "token", "compose.include.concept.code", "", "A code that the value set lists one by one"),
        ("reference", "uri", "compose.include.system", "", "A code system that the value set has codes of"),
    ),
}
"""Search parameters that R4 defines for one of these types."""

TYPES = tuple(OF_TYPE)
"""The read-only types."""

READ_ONLY = ("read", "search-type")
"""The interactions on them."""


def _search(type: str) -> tuple[SearchParameter, ...]:
    shared = [one for one in OF_ALL if not (one[0] == "title" and type in UNTITLED)]
    if type in ("CodeSystem", "ConceptMap", "ValueSet"):
        shared.append(IDENTIFIED)
    rows = [_parameter(type, "conformance", one) for one in shared]
    rows += [_parameter(type, type, one) for one in OF_TYPE[type]]
    return tuple(sorted(rows, key=lambda row: row.code))


def _parameter(type: str, of: str, own: Own) -> SearchParameter:
    code, kind, path, system, description = own
    system = f"http://hl7.org/fhir/{system}" if system else ""
    return SearchParameter(code, kind, f"{type}.{path}", f"{R4}/{of}-{code}", description, system=system)


SEARCH: Mapping[str, tuple[SearchParameter, ...]] = {type: _search(type) for type in TYPES}
