"""rows → OperationDefinition, SearchParameter, StructureDefinition (http://hl7.org/fhir/R4/operationdefinition.html,
http://hl7.org/fhir/R4/searchparameter.html, http://hl7.org/fhir/R4/structuredefinition.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fhir_server.definitions import Operation, Parameter, SearchParameter
from fhir_server.extensions import Extension, Part
from fhir_server.outcome import CANONICAL, Json
from fhir_server.search import COMMON, modifiers, supported
from fhir_server.search.date import RANGES
from fhir_server.vocabulary import publish

R4_VERSION = "4.0.1"

COMPARED = frozenset({"date", "number", "quantity"})
"""The types of search parameters whose values can have a prefix."""

MODIFIERS = {"of-type": "ofType", "[type]": "type"}
"""What R4's list of modifiers calls those that a URL spells otherwise."""


def operation_id(operation: Operation) -> str:
    """The id of our definition of an operation."""
    return f"{operation.resource[0].lower()}-{operation.code}" if operation.resource else operation.code


def operation_url(operation: Operation) -> str:
    """The URL of our definition of an operation: if R4 has one, ours says what of that is supported."""
    return f"{CANONICAL}/OperationDefinition/{operation_id(operation)}"


def operation_definition(operation: Operation) -> Json:
    """The OperationDefinition of a row."""
    return publish("OperationDefinition", operation_id(operation)) | {
        "name": operation.name,
        "title": operation.title,
        "kind": "operation",
        "description": operation.description,
        "affectsState": operation.affects_state,
        "code": operation.code,
        **({"base": operation.url} if operation.url else {}),
        **({"resource": list(operation.resource)} if operation.resource else {}),
        "system": "system" in operation.levels,
        "type": "type" in operation.levels,
        "instance": "instance" in operation.levels,
        **({"parameter": [_parameter(one) for one in operation.parameters]} if operation.parameters else {}),
    }


ALLOWED_TYPE = "http://hl7.org/fhir/StructureDefinition/operationdefinition-allowed-type"


def _parameter(row: Parameter) -> Json:
    others = [{"url": ALLOWED_TYPE, "valueUri": type} for type in row.also]
    return {
        **({"extension": others} if others else {}),
        "name": row.name,
        "use": row.use,
        "min": row.min,
        "max": row.max,
        "documentation": row.documentation,
        **({"type": row.type} if row.type else {}),
        **({"searchType": row.search_type} if row.search_type else {}),
        **({"part": [_parameter(one) for one in row.parts]} if row.parts else {}),
    }


def search_parameters(searched: Mapping[str, Sequence[SearchParameter]]) -> Iterator[Json]:
    """A SearchParameter for each definition that the parameters of these types refer to, with those types as its base.

    R4 defines some for many types at once; those have one definition, at R4's URL.
    """
    every = {"Resource": COMMON, **searched}
    urls = {(type, one.code): one.url for type, rows in every.items() for one in rows}
    uses: dict[str, dict[str, SearchParameter]] = {}
    for type, rows in every.items():
        for one in filter(supported, rows):
            uses.setdefault(one.url, {})[type] = one
    for url, by_type in uses.items():
        yield _search_parameter(url, by_type, urls)


def _search_parameter(url: str, uses: Mapping[str, SearchParameter], urls: Mapping[tuple[str, str], str]) -> Json:
    type, first = next(iter(uses.items()))
    targets = {target for one in uses.values() for target in one.target}
    components = [{"definition": urls[type, code], "expression": path} for code, path in first.components]
    return publish("SearchParameter", url.rpartition("/")[2]) | {
        "url": url,
        **({} if url.startswith(CANONICAL) else {"version": R4_VERSION}),
        "name": first.code,
        "description": first.description,
        "code": first.code,
        "base": list(uses),
        "type": first.type,
        "expression": " | ".join(dict.fromkeys(one.expression for one in uses.values())),
        **({"target": sorted(targets)} if targets else {}),
        "multipleOr": True,
        "multipleAnd": True,
        **({"comparator": list(RANGES)} if first.type in COMPARED else {}),
        **({"modifier": named} if (named := _modifiers(first)) else {}),
        **({"component": components} if components else {}),
    }


def _modifiers(parameter: SearchParameter) -> list[str]:
    return [MODIFIERS.get(one, one) for one in modifiers(parameter)]


def structure_definition(extension: Extension) -> Json:
    """The StructureDefinition of an extension."""
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
    return publish("StructureDefinition", extension.id) | {
        "title": extension.title,
        "description": extension.description,
        "fhirVersion": R4_VERSION,
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
