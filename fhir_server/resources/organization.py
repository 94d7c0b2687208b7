"""A group of people or organizations with a common purpose (http://hl7.org/fhir/R4/organization.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Issue, Json
from fhir_server.resources._shared import address, each, exists, reference, string, token
from fhir_server.scheduling import parameters


def _org_1(resource: Json) -> Sequence[Issue]:
    if exists(resource, "identifier", "name"):
        return ()
    text = "org-1: an organization must have an identifier or a name"
    return (Issue("invariant", text, ("Organization",)),)


def _org_2(resource: Json) -> Sequence[Issue]:
    return _at_home(resource, "address", "org-2")


def _org_3(resource: Json) -> Sequence[Issue]:
    return _at_home(resource, "telecom", "org-3")


def _at_home(resource: Json, element: str, key: str) -> Sequence[Issue]:
    return [
        Issue(
            "invariant",
            f"{key}: {element} of an organization must not have the use home",
            (f"Organization.{element}[{index}].use",),
        )
        for index, value in each(resource, element)
        if value.get("use") == "home"
    ]


ROW = ResourceDefinition(
    type="Organization",
    description="A group of people or organizations with a common purpose.",
    search=(
        token("active", "Organization.active", "Whether the organization's record is active"),
        *address("Organization", "Organization"),
        reference("endpoint", "Organization.endpoint", "A technical endpoint of the organization", "Endpoint"),
        token("identifier", "Organization.identifier", "Any identifier of the organization"),
        string("name", "Organization.name | Organization.alias", "A portion of its name or alias"),
        reference("partof", "Organization.partOf", "The organization that it is a part of", "Organization"),
        string("phonetic", "Organization.name", "A portion of the organization's name, by its sound"),
        token("type", "Organization.type", "A code for the type of organization"),
    ),
    invariants=(_org_1, _org_2, _org_3, parameters.problems),
)
