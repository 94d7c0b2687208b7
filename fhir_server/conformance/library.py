"""The read-only types: their rows, and the definitions that are their contents. Those are in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TypeAlias

from fhir_server import terminology
from fhir_server.conformance.published import operation_definition, search_parameters, structure_definition
from fhir_server.conformance.readonly import SEARCH, TYPES
from fhir_server.conformance.statement import capability_statement
from fhir_server.definitions import ResourceDefinition
from fhir_server.extensions import EXTENSIONS
from fhir_server.operations import OPERATIONS
from fhir_server.outcome import CANONICAL, Json
from fhir_server.resources import ROWS
from fhir_server.settings import Settings

Contents: TypeAlias = Callable[[], Sequence[Json]]


def library(settings: Settings) -> Mapping[str, ResourceDefinition]:
    """The rows of the read-only types, with the definitions as they are with these settings."""
    statement = (capability_statement(settings),)
    contents: Mapping[str, Contents] = {**CONTENTS, "CapabilityStatement": lambda: statement}
    return MappingProxyType({type: _row(type, contents[type]) for type in TYPES})


def _row(type: str, contents: Contents) -> ResourceDefinition:
    return ResourceDefinition(type, "The server's own definitions, read-only.", SEARCH[type], contents=contents)


@cache
def _search_parameters() -> Sequence[Json]:
    searched = {**{type: row.search for type, row in ROWS.items()}, **SEARCH}
    return tuple(sorted(search_parameters(searched), key=lambda one: str(one["id"])))


CONTENTS: Mapping[str, Contents] = {
    "CodeSystem": lambda: tuple(terminology.code_systems().values()),
    "ConceptMap": lambda: tuple(terminology.concept_maps().values()),
    "OperationDefinition": cache(lambda: tuple(map(operation_definition, OPERATIONS))),
    "SearchParameter": _search_parameters,
    "StructureDefinition": cache(lambda: tuple(map(structure_definition, EXTENSIONS))),
    "ValueSet": lambda: tuple(terminology.value_sets().values()),
}
"""What is in each type, whatever the settings."""


def definitions() -> Mapping[str, Json]:
    """What is ours of it, with the default settings, by file name, in order."""
    rows = library(Settings.model_construct()).values()
    ours = [one for row in rows if row.contents for one in row.contents() if one["url"].startswith(CANONICAL)]
    return dict(sorted((f"{one['resourceType']}-{one['id']}.json", one) for one in ours))
