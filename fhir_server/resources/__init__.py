"""The resource types, one module each: this folder is the registry (http://hl7.org/fhir/R4/resourcelist.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from fhir_server.definitions import ResourceDefinition


def _rows() -> Iterator[ResourceDefinition]:
    for module in iter_modules(__path__):
        if not module.name.startswith("_"):
            yield import_module(f"{__name__}.{module.name}").ROW


REFERRED_FIRST = (
    "Organization",
    "Location",
    "HealthcareService",
    "Practitioner",
    "PractitionerRole",
    "Patient",
    "Device",
    "Questionnaire",
    "Schedule",
    "Slot",
    "Appointment",
    "AppointmentResponse",
    "Encounter",
    "QuestionnaireResponse",
    "Provenance",
)
"""What is referred to comes before what refers to it; types that are not named here come last."""

ROWS: Mapping[str, ResourceDefinition] = MappingProxyType(
    {row.type: row for row in sorted(_rows(), key=lambda row: row.type)}
)
"""Every resource type that is served, by its name, in order."""
