"""An individual who receives care (http://hl7.org/fhir/R4/patient.html)."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.definitions import ResourceDefinition
from fhir_server.outcome import Issue, Json
from fhir_server.resources._shared import address, date, each, exists, human_name, reference, telecom, token
from fhir_server.scheduling import booking


def _pat_1(resource: Json) -> Sequence[Issue]:
    return [
        Issue(
            "invariant",
            "pat-1: a contact must have a name, telecom, address or organization",
            (f"Patient.contact[{index}]",),
        )
        for index, contact in each(resource, "contact")
        if not exists(contact, "name", "telecom", "address", "organization")
    ]


ROW = ResourceDefinition(
    type="Patient",
    description="An individual who receives care.",
    search=(
        token("active", "Patient.active", "Whether the patient record is active"),
        *address("Patient", "individual"),
        date("birthdate", "Patient.birthDate", "The patient's date of birth", of="individual"),
        date("death-date", "(Patient.deceased as dateTime)", "The date of death"),
        token(
            "deceased",
            "Patient.deceased.exists() and Patient.deceased != false",
            "Whether the patient is deceased",
        ),
        *human_name("Patient"),
        token("gender", "Patient.gender", "The gender of the patient", of="individual", system="administrative-gender"),
        reference(
            "general-practitioner",
            "Patient.generalPractitioner",
            "The nominated general practitioner",
            "Practitioner",
            "Organization",
            "PractitionerRole",
        ),
        token("identifier", "Patient.identifier", "A patient identifier"),
        token("language", "Patient.communication.language", "A language of the patient (irrespective of use)"),
        reference("link", "Patient.link.other", "A record that is linked to the patient", "Patient", "RelatedPerson"),
        reference("organization", "Patient.managingOrganization", "The custodian of the record", "Organization"),
        *telecom("Patient"),
    ),
    invariants=(_pat_1,),
    rules=booking.keep_booked,
)
