"""An interaction between a patient and healthcare providers (http://hl7.org/fhir/R4/encounter.html)."""

from __future__ import annotations

from fhir_server.definitions import ResourceDefinition
from fhir_server.resources._shared import REASONS, date, quantity, reference, token
from fhir_server.scheduling import encounters

ROW = ResourceDefinition(
    type="Encounter",
    description="An interaction between a patient and healthcare providers.",
    search=(
        reference("account", "Encounter.account", "An account that may be used for billing", "Account"),
        reference("appointment", "Encounter.appointment", "The appointment that scheduled it", "Appointment"),
        reference("based-on", "Encounter.basedOn", "The request that initiated it", "ServiceRequest"),
        token("class", "Encounter.class", "The classification of the encounter"),
        date("date", "Encounter.period", "A date within the period", of="clinical"),
        reference(
            "diagnosis",
            "Encounter.diagnosis.condition",
            "A diagnosis or procedure relevant to it",
            "Condition",
            "Procedure",
        ),
        reference(
            "episode-of-care",
            "Encounter.episodeOfCare",
            "The episode of care that it is part of",
            "EpisodeOfCare",
        ),
        token("identifier", "Encounter.identifier", "An identifier of the encounter", of="clinical"),
        quantity("length", "Encounter.length", "The length of the encounter, in days"),
        reference("location", "Encounter.location.location", "A location of the encounter", "Location"),
        date(
            "location-period",
            "Encounter.location.period",
            "When the patient was present at a location",
            many=True,
        ),
        reference("part-of", "Encounter.partOf", "Another encounter that it is part of", "Encounter"),
        reference(
            "participant",
            "Encounter.participant.individual",
            "Who took part, other than the patient",
            "Practitioner",
            "PractitionerRole",
            "RelatedPerson",
        ),
        token("participant-type", "Encounter.participant.type", "The role of a participant in the encounter"),
        reference(
            "patient",
            "Encounter.subject.where(resolve() is Patient)",
            "The patient present at the encounter",
            "Patient",
            of="clinical",
        ),
        reference(
            "practitioner",
            "Encounter.participant.individual.where(resolve() is Practitioner)",
            "The practitioner who took part",
            "Practitioner",
        ),
        token("reason-code", "Encounter.reasonCode", "The coded reason of the encounter"),
        reference("reason-reference", "Encounter.reasonReference", "The reason of the encounter", *REASONS),
        reference("service-provider", "Encounter.serviceProvider", "The responsible organization", "Organization"),
        token(
            "special-arrangement",
            "Encounter.hospitalization.specialArrangement",
            "Wheelchair, translator, stretcher, …",
        ),
        token("status", "Encounter.status", "planned, arrived, in-progress, finished, …", system="encounter-status"),
        reference(
            "subject",
            "Encounter.subject",
            "The patient or group present at the encounter",
            "Group",
            "Patient",
        ),
        token("type", "Encounter.type", "The specific type of encounter", of="clinical"),
    ),
    rules=encounters.decide,
)
