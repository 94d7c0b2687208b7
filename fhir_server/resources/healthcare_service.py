"""A healthcare service available at a location (http://hl7.org/fhir/R4/healthcareservice.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Issue, Json
from fhir_server.resources._shared import opening_hours, reference, string, token
from fhir_server.scheduling import booking, parameters


def _available_times_differ(resource: Json) -> Sequence[Issue]:
    return opening_hours(resource, "availableTime", "availableStartTime", "availableEndTime")


ROW = ResourceDefinition(
    type="HealthcareService",
    description="A healthcare service available at a location.",
    search=(
        token("active", "HealthcareService.active", "Whether the service is active"),
        token("characteristic", "HealthcareService.characteristic", "A characteristic of the service"),
        reference("coverage-area", "HealthcareService.coverageArea", "A location it is intended for", "Location"),
        reference("endpoint", "HealthcareService.endpoint", "A technical endpoint of the service", "Endpoint"),
        token("identifier", "HealthcareService.identifier", "An external identifier of the service"),
        reference("location", "HealthcareService.location", "A location of the service", "Location"),
        string("name", "HealthcareService.name", "A portion of the name of the service"),
        reference("organization", "HealthcareService.providedBy", "The providing organization", "Organization"),
        token("program", "HealthcareService.program", "A program that supports the service"),
        token("service-category", "HealthcareService.category", "The category of the service"),
        token("service-type", "HealthcareService.type", "The type of the service"),
        token("specialty", "HealthcareService.specialty", "The specialty of the service"),
    ),
    invariants=(_available_times_differ, parameters.problems),
    rules=booking.keep_booked,
)
