"""A physical place where services are provided and participants may be found (http://hl7.org/fhir/R4/location.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Issue, Json
from fhir_server.resources._shared import address, opening_hours, reference, special, string, token
from fhir_server.scheduling import booking, parameters


def _hours_of_operation_differ(resource: Json) -> Sequence[Issue]:
    return opening_hours(resource, "hoursOfOperation", "openingTime", "closingTime")


ROW = ResourceDefinition(
    type="Location",
    description="A physical place where services are provided and participants may be found.",
    search=(
        *address("Location", "Location"),
        reference("endpoint", "Location.endpoint", "A technical endpoint of the location", "Endpoint"),
        token("identifier", "Location.identifier", "An identifier for the location"),
        string("name", "Location.name | Location.alias", "A portion of its name or alias"),
        special("near", "Location.position", "Near to latitude|longitude|distance|units"),
        token("operational-status", "Location.operationalStatus", "The status of a bed or room"),
        reference("organization", "Location.managingOrganization", "The managing organization", "Organization"),
        reference("partof", "Location.partOf", "A location of which this location is a part", "Location"),
        token("status", "Location.status", "active, suspended or inactive", system="location-status"),
        token("type", "Location.type", "The type of the location"),
    ),
    invariants=(_hours_of_operation_differ, parameters.problems),
    rules=booking.keep_booked,
)
