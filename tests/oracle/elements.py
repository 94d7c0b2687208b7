"""Where the values of each search parameter stand: path and datatype, written down by hand from R4's definitions.

`code SYSTEM` is a code whose value set is of that system; `Reference(T)` and `ContactPoint(s)` take only the references
to T and the contacts of system s. A path with `|` joins two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

COMMON = {
    "_id": "id id",
    "_lastUpdated": "meta.lastUpdated instant",
    "_profile": "meta.profile canonical",
    "_security": "meta.security Coding",
    "_source": "meta.source uri",
    "_tag": "meta.tag Coding",
}
ADDRESS = {
    "address": "address Address",
    "address-city": "address.city string",
    "address-country": "address.country string",
    "address-postalcode": "address.postalCode string",
    "address-state": "address.state string",
    "address-use": "address.use code http://hl7.org/fhir/address-use",
}
CONTACT = {
    "email": "telecom ContactPoint(email)",
    "phone": "telecom ContactPoint(phone)",
    "telecom": "telecom ContactPoint",
}
PERSON = {
    **ADDRESS,
    **CONTACT,
    "active": "active boolean",
    "family": "name.family family",
    "gender": "gender code http://hl7.org/fhir/administrative-gender",
    "given": "name.given string",
    "identifier": "identifier Identifier",
    "name": "name HumanName",
}
SERVICE = {
    "service-category": "serviceCategory CodeableConcept",
    "service-type": "serviceType CodeableConcept",
    "specialty": "specialty CodeableConcept",
}

ELEMENTS: dict[str, dict[str, str]] = {
    "Appointment": {
        **SERVICE,
        "actor": "participant.actor Reference",
        "actor-part-status": "participant BackboneElement",
        "appointment-type": "appointmentType CodeableConcept",
        "based-on": "basedOn Reference",
        "cancelation-reason": "cancelationReason CodeableConcept",
        "date": "start instant",
        "identifier": "identifier Identifier",
        "location": "participant.actor Reference(Location)",
        "part-status": "participant.status code http://hl7.org/fhir/participationstatus",
        "patient": "participant.actor Reference(Patient)",
        "practitioner": "participant.actor Reference(Practitioner)",
        "priority": "priority number",
        "reason-code": "reasonCode CodeableConcept",
        "reason-reference": "reasonReference Reference",
        "requested-period": "requestedPeriod Period",
        "slot": "slot Reference",
        "status": "status code http://hl7.org/fhir/appointmentstatus",
        "supporting-info": "supportingInformation Reference",
    },
    "AppointmentResponse": {
        "actor": "actor Reference",
        "appointment": "appointment Reference",
        "identifier": "identifier Identifier",
        "location": "actor Reference(Location)",
        "part-status": "participantStatus code http://hl7.org/fhir/participationstatus",
        "patient": "actor Reference(Patient)",
        "practitioner": "actor Reference(Practitioner)",
    },
    "Device": {
        "device-name": "deviceName.name|type.coding.display|type.text string",
        "identifier": "identifier Identifier",
        "location": "location Reference",
        "manufacturer": "manufacturer string",
        "model": "modelNumber string",
        "organization": "owner Reference",
        "patient": "patient Reference",
        "status": "status code http://hl7.org/fhir/device-status",
        "type": "type CodeableConcept",
        "udi-carrier": "udiCarrier.carrierHRF string",
        "udi-di": "udiCarrier.deviceIdentifier string",
        "url": "url uri",
    },
    "Encounter": {
        "account": "account Reference",
        "appointment": "appointment Reference",
        "based-on": "basedOn Reference",
        "class": "class Coding",
        "date": "period Period",
        "diagnosis": "diagnosis.condition Reference",
        "episode-of-care": "episodeOfCare Reference",
        "identifier": "identifier Identifier",
        "length": "length Quantity",
        "location": "location.location Reference",
        "location-period": "location.period Period",
        "part-of": "partOf Reference",
        "participant": "participant.individual Reference",
        "participant-type": "participant.type CodeableConcept",
        "patient": "subject Reference(Patient)",
        "practitioner": "participant.individual Reference(Practitioner)",
        "reason-code": "reasonCode CodeableConcept",
        "reason-reference": "reasonReference Reference",
        "service-provider": "serviceProvider Reference",
        "special-arrangement": "hospitalization.specialArrangement CodeableConcept",
        "status": "status code http://hl7.org/fhir/encounter-status",
        "subject": "subject Reference",
        "type": "type CodeableConcept",
    },
    "HealthcareService": {
        "active": "active boolean",
        "characteristic": "characteristic CodeableConcept",
        "coverage-area": "coverageArea Reference",
        "endpoint": "endpoint Reference",
        "identifier": "identifier Identifier",
        "location": "location Reference",
        "name": "name string",
        "organization": "providedBy Reference",
        "program": "program CodeableConcept",
        "service-category": "category CodeableConcept",
        "service-type": "type CodeableConcept",
        "specialty": "specialty CodeableConcept",
    },
    "Location": {
        **ADDRESS,
        "endpoint": "endpoint Reference",
        "identifier": "identifier Identifier",
        "name": "name|alias string",
        "operational-status": "operationalStatus Coding",
        "organization": "managingOrganization Reference",
        "partof": "partOf Reference",
        "status": "status code http://hl7.org/fhir/location-status",
        "type": "type CodeableConcept",
    },
    "Organization": {
        **ADDRESS,
        "active": "active boolean",
        "endpoint": "endpoint Reference",
        "identifier": "identifier Identifier",
        "name": "name|alias string",
        "partof": "partOf Reference",
        "type": "type CodeableConcept",
    },
    "Patient": {
        **PERSON,
        "birthdate": "birthDate date",
        "death-date": "deceasedDateTime dateTime",
        "deceased": "deceased boolean",
        "general-practitioner": "generalPractitioner Reference",
        "language": "communication.language CodeableConcept",
        "link": "link.other Reference",
        "organization": "managingOrganization Reference",
    },
    "Practitioner": {**PERSON, "communication": "communication CodeableConcept"},
    "PractitionerRole": {
        **CONTACT,
        "active": "active boolean",
        "date": "period Period",
        "endpoint": "endpoint Reference",
        "identifier": "identifier Identifier",
        "location": "location Reference",
        "organization": "organization Reference",
        "practitioner": "practitioner Reference",
        "role": "code CodeableConcept",
        "service": "healthcareService Reference",
        "specialty": "specialty CodeableConcept",
    },
    "Provenance": {
        "agent": "agent.who Reference",
        "agent-role": "agent.role CodeableConcept",
        "agent-type": "agent.type CodeableConcept",
        "entity": "entity.what Reference",
        "location": "location Reference",
        "patient": "target Reference(Patient)",
        "recorded": "recorded instant",
        "signature-type": "signature.type Coding",
        "target": "target Reference",
        "when": "occurredDateTime dateTime",
    },
    "Questionnaire": {
        "code": "item.code Coding",
        "context": "useContext.valueCodeableConcept CodeableConcept",
        "context-type": "useContext.code Coding",
        "date": "date dateTime",
        "definition": "item.definition uri",
        "description": "description string",
        "effective": "effectivePeriod Period",
        "identifier": "identifier Identifier",
        "jurisdiction": "jurisdiction CodeableConcept",
        "name": "name string",
        "publisher": "publisher string",
        "status": "status code http://hl7.org/fhir/publication-status",
        "subject-type": "subjectType code http://hl7.org/fhir/resource-types",
        "title": "title string",
        "url": "url uri",
        "version": "version code",
    },
    "QuestionnaireResponse": {
        "author": "author Reference",
        "authored": "authored dateTime",
        "based-on": "basedOn Reference",
        "encounter": "encounter Reference",
        "identifier": "identifier Identifier",
        "part-of": "partOf Reference",
        "patient": "subject Reference(Patient)",
        "questionnaire": "questionnaire Reference",
        "source": "source Reference",
        "status": "status code http://hl7.org/fhir/questionnaire-answers-status",
        "subject": "subject Reference",
    },
    "Schedule": {
        **SERVICE,
        "active": "active boolean",
        "actor": "actor Reference",
        "date": "planningHorizon Period",
        "identifier": "identifier Identifier",
    },
    "Slot": {
        **SERVICE,
        "appointment-type": "appointmentType CodeableConcept",
        "end": "end instant",
        "identifier": "identifier Identifier",
        "schedule": "schedule Reference",
        "start": "start instant",
        "status": "status code http://hl7.org/fhir/slotstatus",
    },
}

ELSEWHERE = {
    *("context-quantity", "context-type-quantity", "context-type-value"),
    *("hold-expires", "near", "originating-appointment", "phonetic", "state", "waiting-since"),
}
"""What the oracle does not evaluate: a place and a sound, whose measure is the server's; what stands in an extension;
what the clock decides; what a form is meant for (tests/search/test_questionnaires.py)."""

for _codes in ELEMENTS.values():
    _codes.update(COMMON)


def values(resource: Json, code: str) -> tuple[str, list[Any]]:
    """The datatype and the values of a search parameter in a resource."""
    if code == "deceased":
        return "boolean", [resource.get("deceasedBoolean") is True or "deceasedDateTime" in resource]
    path, _, datatype = ELEMENTS[resource["resourceType"]][code].partition(" ")
    found = [value for one in path.split("|") for value in _walk(resource, one.split("."))]
    name, _, only = datatype.rstrip(")").partition("(")
    if name == "Reference":
        found = [{"reference": value} if isinstance(value, str) else value for value in found]
    return name, [value for value in found if not only or _is_of(value, name, only)]


def _walk(value: Any, steps: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _walk(one, steps)
    elif not steps:
        yield value
    elif steps[0] in value:
        yield from _walk(value[steps[0]], steps[1:])


def _is_of(value: Json, datatype: str, only: str) -> bool:
    """Whether a contact is of this system, or a reference to this type, by its URL or else by what it says itself."""
    if datatype == "ContactPoint":
        return bool(value.get("system") == only)
    steps = value.get("reference", "").partition("/_history/")[0].split("/")
    return steps[-2] == only if len(steps) > 1 else bool(value.get("type") == only)
