"""The search parameters of a type and which of them work
(http://hl7.org/fhir/R4/searchparameter-registry.html)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, TypeAlias

from fhir_server.definitions import ResourceDefinition, SearchParameter
from fhir_server.outcome import FhirError
from fhir_server.search.path import compile_path

Scalar: TypeAlias = Any
"""What a resource is sorted by: a text, a number or an instant; always one kind per parameter."""

COMMON: tuple[SearchParameter, ...] = (
    SearchParameter(
        "_id",
        "token",
        "Resource.id",
        "http://hl7.org/fhir/SearchParameter/Resource-id",
        "Logical id of this artifact",
    ),
    SearchParameter(
        "_lastUpdated",
        "date",
        "Resource.meta.lastUpdated",
        "http://hl7.org/fhir/SearchParameter/Resource-lastUpdated",
        "When the resource version last changed",
    ),
    SearchParameter(
        "_profile",
        "uri",
        "Resource.meta.profile",
        "http://hl7.org/fhir/SearchParameter/Resource-profile",
        "Profiles this resource claims to conform to",
    ),
    SearchParameter(
        "_security",
        "token",
        "Resource.meta.security",
        "http://hl7.org/fhir/SearchParameter/Resource-security",
        "Security Labels applied to this resource",
    ),
    SearchParameter(
        "_source",
        "uri",
        "Resource.meta.source",
        "http://hl7.org/fhir/SearchParameter/Resource-source",
        "Identifies where the resource comes from",
    ),
    SearchParameter(
        "_tag",
        "token",
        "Resource.meta.tag",
        "http://hl7.org/fhir/SearchParameter/Resource-tag",
        "Tags applied to this resource",
    ),
)
"""The parameters of every type; the rows do not repeat them."""

SUPPORTED_TYPES = frozenset({"token", "reference", "date", "string", "number", "quantity", "uri", "composite"})

BY_CODE = frozenset({"phonetic", "near", "state"})
"""Parameters that mean more than their type does."""


STORED = {"_id": "_id", "_lastUpdated": "updated"}
"""Parameters that the document holds outside its index, and where."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the meaning of a value depends on besides its row: the zone of dates that name none, and the base
    URL under which a reference is ours."""

    zone: tzinfo
    base: str


def parameters(row: ResourceDefinition) -> tuple[SearchParameter, ...]:
    """All parameters declared for the type, the common ones first."""
    return tuple({each.code: each for each in (*COMMON, *row.search)}.values())


def supported(parameter: SearchParameter) -> bool:
    """Whether the parameter can be searched by."""
    return parameter.type in SUPPORTED_TYPES or parameter.code in BY_CODE


def sortable(parameter: SearchParameter) -> bool:
    """Whether a supported parameter has one value to sort by."""
    return parameter.type not in ("composite", "special")


def known(row: ResourceDefinition) -> Mapping[str, SearchParameter]:
    """The parameters that the type can be searched by, by their code."""
    return {each.code: each for each in parameters(row) if supported(each)}


def check(row: ResourceDefinition) -> None:
    """Raise ValueError unless every supported parameter's expression can be evaluated, and those of its components."""
    for parameter in known(row).values():
        compile_path(parameter.expression)
        for code, path in parameter.components:
            if known(row)[code].type in ("composite", "special"):
                raise ValueError(f"'{code}' can be no component of '{parameter.code}'")
            compile_path(below(path))


def below(path: str) -> str:
    """The expression of what is at a path below any value, or at any of several with `|` between them."""
    return " | ".join(f"Element.{each}" for each in path.split(" | "))


def place(parameter: SearchParameter) -> str:
    """The path in the document that holds the parameter's values."""
    return STORED.get(parameter.code, f"index.{parameter.code}")


def bad_value(parameter: SearchParameter, value: str, right: str) -> FhirError:
    """The 400 that says what the value of a parameter should look like."""
    return FhirError("value", f"Search parameter '{parameter.code}': '{value}' is not {right}.", status=400)
