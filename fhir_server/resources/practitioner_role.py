"""What a practitioner does for an organization at its locations over a period of time (http://hl7.org/fhir/R4/practitionerrole.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Issue, Json
from fhir_server.resources._shared import date, opening_hours, reference, telecom, token
from fhir_server.scheduling import booking, parameters


def _available_times_differ(resource: Json) -> Sequence[Issue]:
    return opening_hours(resource, "availableTime", "availableStartTime", "availableEndTime")


ROW = ResourceDefinition(
    type="PractitionerRole",
    description="What a practitioner does for an organization at its locations over a period of time.",
    search=(
        token("active", "PractitionerRole.active", "Whether the role is in active use"),
        date("date", "PractitionerRole.period", "When the practitioner may act in the role"),
        reference("endpoint", "PractitionerRole.endpoint", "A technical endpoint of the role", "Endpoint"),
        token("identifier", "PractitionerRole.identifier", "An identifier of the role"),
        reference("location", "PractitionerRole.location", "A location where care is provided", "Location"),
        reference(
            "organization",
            "PractitionerRole.organization",
            "The organization acted on behalf of",
            "Organization",
        ),
        reference(
            "practitioner",
            "PractitionerRole.practitioner",
            "The practitioner who acts in the role",
            "Practitioner",
        ),
        token("role", "PractitionerRole.code", "What the practitioner may do"),
        reference(
            "service",
            "PractitionerRole.healthcareService",
            "A service that is provided in the role",
            "HealthcareService",
        ),
        token("specialty", "PractitionerRole.specialty", "A specialty at the organization"),
        *telecom("PractitionerRole"),
    ),
    invariants=(_available_times_differ, parameters.problems),
    rules=booking.keep_booked,
)
