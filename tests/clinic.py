"""Builders of resources for tests: small, valid, and changed by keyword."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_server.outcome import CANONICAL

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
"""A Monday morning, on which every test with a clock takes place."""

MONDAY, TUESDAY, WEDNESDAY = "2026-03-02", "2026-03-03", "2026-03-04"

SCHEDULING = f"{CANONICAL}/StructureDefinition/scheduling-parameters"
REASON = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "code": "pat"}]
}

Json = dict[str, Any]


def at(time: str, day: str = TUESDAY) -> str:
    """An instant of the test clinic, which is in UTC."""
    return f"{day}T{time}:00Z"


def organization(id: str = "riverside", **more: Any) -> Json:
    return {"resourceType": "Organization", "id": id, "active": True, "name": "Riverside Health", **more}


def location(id: str = "main", **more: Any) -> Json:
    return {
        "resourceType": "Location",
        "id": id,
        "status": "active",
        "name": "Main Clinic",
        "managingOrganization": {"reference": "Organization/riverside"},
        **more,
    }


def room(id: str = "room-1", **more: Any) -> Json:
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/location-physical-type", "code": "ro"}]}
    return location(id, name="Room 1", physicalType=kind, partOf={"reference": "Location/main"}, **more)


def practitioner(id: str = "smith", **more: Any) -> Json:
    return {"resourceType": "Practitioner", "id": id, "active": True, "name": [{"family": "Smith"}], **more}


def patient(id: str = "ann", **more: Any) -> Json:
    return {"resourceType": "Patient", "id": id, "active": True, "name": [{"family": "Ash", "given": ["Ann"]}], **more}


def role(id: str = "smith-main", **more: Any) -> Json:
    hours = {"daysOfWeek": ["mon", "tue", "wed", "thu", "fri"], "availableStartTime": "09:00:00"}
    return {
        "resourceType": "PractitionerRole",
        "id": id,
        "active": True,
        "practitioner": {"reference": "Practitioner/smith"},
        "organization": {"reference": "Organization/riverside"},
        "location": [{"reference": "Location/main"}],
        "availableTime": [{**hours, "availableEndTime": "12:00:00"}],
        **more,
    }


def schedule(id: str = "smith-main", *, parameters: Json | None = None, **more: Any) -> Json:
    built: Json = {
        "resourceType": "Schedule",
        "id": id,
        "active": True,
        "actor": [{"reference": "PractitionerRole/smith-main"}],
        **more,
    }
    if parameters:
        built["extension"] = [*built.get("extension", ()), scheduling(**parameters)]
    return built


def scheduling(**parts: int) -> Json:
    """The scheduling-parameters extension; durations in minutes, capacity and maximumPerDay as numbers."""

    def value(name: str, number: int) -> Json:
        if name in ("capacity", "maximumPerDay", "reschedulesMax"):
            return {"url": name, "valuePositiveInt": number}
        unit = {"system": "http://unitsofmeasure.org", "code": "min", "unit": "min"}
        return {"url": name, "valueDuration": {"value": number, **unit}}

    return {"url": SCHEDULING, "extension": [value(name, number) for name, number in parts.items()]}


def service(id: str = "consultation", **more: Any) -> Json:
    return {"resourceType": "HealthcareService", "id": id, "active": True, "name": "Consultation", **more}


def slot(id: str = "published", start: str = at("18:00"), end: str = at("18:30"), **more: Any) -> Json:
    reference = {"reference": "Schedule/smith-main"}
    return {
        "resourceType": "Slot",
        "id": id,
        "schedule": reference,
        "status": "free",
        "start": start,
        "end": end,
        **more,
    }


def appointment(
    start: str = at("09:00"),
    minutes: int = 30,
    *,
    status: str = "booked",
    actors: tuple[str, ...] = ("Patient/ann", "Practitioner/smith"),
    **more: Any,
) -> Json:
    end = datetime.fromisoformat(start) + timedelta(minutes=minutes)
    return {
        "resourceType": "Appointment",
        "status": status,
        "start": start,
        "end": end.isoformat().replace("+00:00", "Z"),
        "participant": [{"actor": {"reference": actor}, "status": "accepted"} for actor in actors],
        **more,
    }


def encounter(id: str = "visit", **more: Any) -> Json:
    code = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    return {"resourceType": "Encounter", "id": id, "status": "planned", "class": code, **more}


def appointment_response(id: str = "answer", **more: Any) -> Json:
    return {
        "resourceType": "AppointmentResponse",
        "id": id,
        "appointment": {"reference": "http://elsewhere.example/fhir/Appointment/1"},
        "actor": {"reference": "Practitioner/smith"},
        "participantStatus": "accepted",
        **more,
    }


def device(id: str = "scanner", **more: Any) -> Json:
    name = {"name": "Scanner", "type": "user-friendly-name"}
    return {"resourceType": "Device", "id": id, "status": "active", "deviceName": [name], **more}


FORM = "http://example.org/Questionnaire/intake"


def questionnaire(id: str = "intake", **more: Any) -> Json:
    item = {"linkId": "1", "text": "Do you take any medicine?", "type": "boolean"}
    return {"resourceType": "Questionnaire", "id": id, "url": FORM, "status": "active", "item": [item], **more}


def questionnaire_response(id: str = "filled-in", **more: Any) -> Json:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": id,
        "questionnaire": FORM,
        "status": "completed",
        "subject": {"reference": "Patient/ann"},
        "item": [{"linkId": "1", "answer": [{"valueBoolean": False}]}],
        **more,
    }


def provenance(id: str = "told", **more: Any) -> Json:
    return {
        "resourceType": "Provenance",
        "id": id,
        "target": [{"reference": "Patient/ann/_history/1"}],
        "recorded": "2026-03-02T08:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/smith"}}],
        **more,
    }


BUILDERS: dict[str, Callable[[str], Json]] = {
    "Appointment": lambda id: {**appointment(status="proposed"), "id": id},
    "AppointmentResponse": appointment_response,
    "Device": device,
    "Encounter": encounter,
    "HealthcareService": service,
    "Location": location,
    "Organization": organization,
    "Patient": patient,
    "Practitioner": practitioner,
    "PractitionerRole": role,
    "Provenance": provenance,
    "Questionnaire": questionnaire,
    "QuestionnaireResponse": questionnaire_response,
    "Schedule": schedule,
    "Slot": slot,
}
"""One valid resource of each type; a type that is served but missing here fails the tests."""

CLINIC = (organization(), location(), practitioner(), role(), schedule(), patient(), patient("bob"))
"""Dr Smith at the Main Clinic, weekdays 09:00-12:00 UTC in slots of 30 minutes, and two patients."""
