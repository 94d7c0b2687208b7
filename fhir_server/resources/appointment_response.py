"""A reply to an appointment request, such as a confirmation or rejection (http://hl7.org/fhir/R4/appointmentresponse.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Issue, Json
from fhir_server.resources._shared import ACTORS, exists, out_of_order, reference, token
from fhir_server.scheduling import responses


def _apr_1(resource: Json) -> Sequence[Issue]:
    if exists(resource, "participantType", "actor"):
        return ()
    text = "apr-1: a response must have a participantType or an actor"
    return (Issue("invariant", text, ("AppointmentResponse",)),)


def _start_not_after_end(resource: Json) -> Sequence[Issue]:
    return out_of_order(resource, strictly=False)


ROW = ResourceDefinition(
    type="AppointmentResponse",
    description="A reply to an appointment request, such as a confirmation or rejection.",
    search=(
        reference("actor", "AppointmentResponse.actor", "Whom or what the response is for", *ACTORS),
        reference(
            "appointment",
            "AppointmentResponse.appointment",
            "The appointment that is answered",
            "Appointment",
        ),
        token("identifier", "AppointmentResponse.identifier", "An identifier of the response"),
        reference(
            "location",
            "AppointmentResponse.actor.where(resolve() is Location)",
            "The answering location",
            "Location",
        ),
        token(
            "part-status",
            "AppointmentResponse.participantStatus",
            "The participant's acceptance status",
            system="participationstatus",
        ),
        reference(
            "patient",
            "AppointmentResponse.actor.where(resolve() is Patient)",
            "The answering patient",
            "Patient",
        ),
        reference(
            "practitioner",
            "AppointmentResponse.actor.where(resolve() is Practitioner)",
            "The answering practitioner",
            "Practitioner",
        ),
    ),
    invariants=(_apr_1, _start_not_after_end),
    rules=responses.decide,
)
