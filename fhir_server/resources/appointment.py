"""A booking of patients, practitioners, rooms or devices for a specific date and time (http://hl7.org/fhir/R4/appointment.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import ResourceDefinition, SearchParameter
from fhir_server.outcome import CANONICAL, Issue, Json
from fhir_server.resources._shared import (
    ACTORS,
    REASONS,
    date,
    each,
    exists,
    hold_expires,
    out_of_order,
    reference,
    token,
)
from fhir_server.scheduling import booking
from fhir_server.scheduling.holds import hold_problems
from fhir_server.scheduling.recurrence import template_problems
from fhir_server.scheduling.series import ORIGINATING, series_problems
from fhir_server.scheduling.waiting import SINCE

WITHOUT_TIME = ("proposed", "cancelled", "waitlist")
"""The statuses in which an appointment need not have a time (app-3)."""

UNATTENDED = ("cancelled", "noshow")
"""The statuses that a cancelationReason explains (app-4; its published text misspells noshow)."""


def _app_1(resource: Json) -> Sequence[Issue]:
    return [
        Issue(
            "invariant",
            "app-1: a participant must have a type or an actor",
            (f"Appointment.participant[{index}]",),
        )
        for index, participant in each(resource, "participant")
        if not exists(participant, "type", "actor")
    ]


def _app_2(resource: Json) -> Sequence[Issue]:
    if exists(resource, "start") == exists(resource, "end"):
        return ()
    return (
        Issue(
            "invariant",
            "app-2: start and end must be given both or neither",
            ("Appointment.start", "Appointment.end"),
        ),
    )


def _app_3(resource: Json) -> Sequence[Issue]:
    if resource.get("status") in WITHOUT_TIME or (exists(resource, "start") and exists(resource, "end")):
        return ()
    text = f"app-3: start and end may only be missing with status {', '.join(WITHOUT_TIME)}"
    return (Issue("invariant", text, ("Appointment.start", "Appointment.end")),)


def _app_4(resource: Json) -> Sequence[Issue]:
    if resource.get("status") in UNATTENDED or not exists(resource, "cancelationReason"):
        return ()
    text = f"app-4: cancelationReason is only for status {' or '.join(UNATTENDED)}"
    return (Issue("invariant", text, ("Appointment.cancelationReason",)),)


def _start_not_after_end(resource: Json) -> Sequence[Issue]:
    return out_of_order(resource, strictly=False)


ACTOR_PART_STATUS = SearchParameter(
    "actor-part-status",
    "composite",
    "Appointment.participant",
    f"{CANONICAL}/SearchParameter/Appointment-actor-part-status",
    "A participant together with that participant's own acceptance status",
    components=(("actor", "actor"), ("part-status", "status")),
)
"""Ours: with `actor` and `part-status` apart, one participant may be the actor and another one have the status."""

CANCELATION_REASON = SearchParameter(
    "cancelation-reason",
    "token",
    "Appointment.cancelationReason",
    f"{CANONICAL}/SearchParameter/Appointment-cancelation-reason",
    "The coded reason why the appointment was cancelled or missed",
)
"""Ours: R4 has none."""

STATE = SearchParameter(
    "state",
    "token",
    "Appointment.status",
    f"{CANONICAL}/SearchParameter/Appointment-state",
    "The status of the appointment in FHIR's codes or in the words of scheduling products (held, upcoming, ...), "
    "as it is at the time of the search",
)
"""Ours: what the words mean beyond the status is in docs/views.md."""

ORIGINATING_APPOINTMENT = SearchParameter(
    "originating-appointment",
    "reference",
    f"Appointment.extension.where(url='{ORIGINATING}').value",
    f"{CANONICAL}/SearchParameter/Appointment-originating-appointment",
    "The first appointment of the series",
    ("Appointment",),
)
"""Ours: R4 has the element in an extension only."""

PRIORITY = SearchParameter(
    "priority",
    "number",
    "Appointment.priority",
    f"{CANONICAL}/SearchParameter/Appointment-priority",
    "How urgent the appointment is: 1 is the highest priority, 9 the lowest, 0 none",
)
"""Ours: R4 has none."""

WAITING_SINCE = SearchParameter(
    "waiting-since",
    "date",
    f"Appointment.extension.where(url='{SINCE}').value",
    f"{CANONICAL}/SearchParameter/Appointment-waiting-since",
    "When the patient joined the waiting list",
)
"""Ours: the place on the waiting list is by priority, then by this."""

REQUESTED_PERIOD = SearchParameter(
    "requested-period",
    "date",
    "Appointment.requestedPeriod",
    f"{CANONICAL}/SearchParameter/Appointment-requested-period",
    "When the appointment is wanted",
    many=True,
)
"""Ours: R4 has none, R5 has one of this name."""

ROW = ResourceDefinition(
    type="Appointment",
    description="A booking of patients, practitioners, rooms or devices for a specific date and time.",
    search=(
        reference("actor", "Appointment.participant.actor", "Any one of the participants", *ACTORS),
        ACTOR_PART_STATUS,
        token("appointment-type", "Appointment.appointmentType", "The style of appointment that is booked"),
        reference("based-on", "Appointment.basedOn", "The request that it is to assess", "ServiceRequest"),
        CANCELATION_REASON,
        date("date", "Appointment.start", "When the appointment starts"),
        hold_expires("Appointment"),
        token("identifier", "Appointment.identifier", "An identifier of the appointment"),
        reference(
            "location",
            "Appointment.participant.actor.where(resolve() is Location)",
            "A participating location",
            "Location",
        ),
        ORIGINATING_APPOINTMENT,
        token(
            "part-status",
            "Appointment.participant.status",
            "The acceptance status of a participant",
            system="participationstatus",
        ),
        reference(
            "patient",
            "Appointment.participant.actor.where(resolve() is Patient)",
            "A participating patient",
            "Patient",
        ),
        reference(
            "practitioner",
            "Appointment.participant.actor.where(resolve() is Practitioner)",
            "A participating practitioner",
            "Practitioner",
        ),
        PRIORITY,
        token("reason-code", "Appointment.reasonCode", "The coded reason of the appointment"),
        reference("reason-reference", "Appointment.reasonReference", "The reason of the appointment", *REASONS),
        REQUESTED_PERIOD,
        token("service-category", "Appointment.serviceCategory", "The broad category of the service"),
        token("service-type", "Appointment.serviceType", "The specific service to be performed"),
        reference("slot", "Appointment.slot", "A slot that the appointment fills", "Slot"),
        token("specialty", "Appointment.specialty", "The specialty that the service requires"),
        STATE,
        token("status", "Appointment.status", "The overall status of the appointment", system="appointmentstatus"),
        reference("supporting-info", "Appointment.supportingInformation", "Information to support the appointment"),
        WAITING_SINCE,
    ),
    invariants=(
        _app_1,
        _app_2,
        _app_3,
        _app_4,
        _start_not_after_end,
        hold_problems,
        template_problems,
        series_problems,
    ),
    rules=booking.decide,
)
