"""A container of slots of time that may be available for booking (http://hl7.org/fhir/R4/schedule.html)."""

from __future__ import annotations

from fhir_server.definitions import ResourceDefinition
from fhir_server.resources._shared import ACTORS, date, reference, token
from fhir_server.scheduling import booking, parameters

ROW = ResourceDefinition(
    type="Schedule",
    description="A container of slots of time that may be available for booking.",
    search=(
        token("active", "Schedule.active", "Whether the schedule is in active use"),
        reference("actor", "Schedule.actor", "Who or what is scheduled", *ACTORS),
        date("date", "Schedule.planningHorizon", "A date within the planning horizon"),
        token("identifier", "Schedule.identifier", "An identifier of the schedule"),
        token("service-category", "Schedule.serviceCategory", "The broad category of the service"),
        token("service-type", "Schedule.serviceType", "The type of appointments to be booked"),
        token("specialty", "Schedule.specialty", "The specialty that is needed"),
    ),
    invariants=(parameters.problems,),
    rules=booking.keep_booked,
)
