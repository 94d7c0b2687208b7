"""A person who is directly or indirectly involved in the provisioning of healthcare (http://hl7.org/fhir/R4/practitioner.html)."""

from __future__ import annotations

from fhir_server.definitions import ResourceDefinition
from fhir_server.resources._shared import address, human_name, telecom, token
from fhir_server.scheduling import booking

ROW = ResourceDefinition(
    type="Practitioner",
    description="A person who is directly or indirectly involved in the provisioning of healthcare.",
    search=(
        token("active", "Practitioner.active", "Whether the practitioner record is active"),
        *address("Practitioner", "individual"),
        token("communication", "Practitioner.communication", "A language the practitioner can communicate in"),
        *human_name("Practitioner"),
        token(
            "gender",
            "Practitioner.gender",
            "The gender of the practitioner",
            of="individual",
            system="administrative-gender",
        ),
        token("identifier", "Practitioner.identifier", "A practitioner's Identifier"),
        *telecom("Practitioner"),
    ),
    rules=booking.keep_booked,
)
