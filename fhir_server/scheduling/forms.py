"""The forms that a Schedule or a service asks for, and whether they were filled in
(http://hl7.org/fhir/R4/questionnaireresponse.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fhir_server.outcome import Issue, Json
from fhir_server.plan import ById, Matching, Plan, Stored
from fhir_server.scheduling import holds
from fhir_server.scheduling.availability import Calendar
from fhir_server.scheduling.checks import stays
from fhir_server.scheduling.elements import target, targets
from fhir_server.scheduling.finding import codes
from fhir_server.scheduling.parameters import BEFORE_BOOKING, BEFORE_VISIT, REQUIRED_FORM, extensions
from fhir_server.scheduling.visit import Chosen, Visit, people_of, problem

FILLED_IN = ("completed", "amended")
"""The statuses of a QuestionnaireResponse that is whole."""


@dataclass(frozen=True, slots=True)
class Form:
    """A Questionnaire by its canonical URL, with a version or without, and when it is to be filled in."""

    questionnaire: str
    when: str


def required(resource: Json) -> Iterator[Form]:
    """The forms that a Schedule or HealthcareService asks for."""
    for extension in extensions(resource, REQUIRED_FORM):
        parts = {part.get("url"): part for part in extension.get("extension", ())}
        questionnaire = parts.get("questionnaire", {}).get("valueCanonical")
        if questionnaire:
            yield Form(str(questionnaire), str(parts.get("when", {}).get("valueCode", BEFORE_VISIT)))


def asked_by(calendar: Calendar, visit: Visit) -> Iterator[Form]:
    """The forms of a calendar for a visit: those of its Schedule, and of the service that the visit is for."""
    yield from required(calendar.schedule)
    base = visit.change.policy.base
    named = {*targets(calendar.schedule["actor"], base), *(one.reference for one in visit.participants)}
    types = codes(visit.resource.get("serviceType", ()))
    for service in calendar.services:
        meant = f"HealthcareService/{service['id']}" in named or not types.isdisjoint(codes(service.get("type", ())))
        if meant or len(calendar.services) == 1:
            yield from required(service)


def problems(visit: Visit, chosen: Sequence[Chosen]) -> Plan[list[Issue]]:
    """The forms that must be filled in before this is booked and are not, for each patient who comes. A hold needs
    none: it is there to fill them in. What is booked is not asked again until it is moved. Without forms nothing is
    loaded."""
    wanted = {
        (form.questionnaire, patient): one.bookable.reference
        for one in chosen
        for form in asked_by(one.bookable.calendar, visit)
        if form.when == BEFORE_BOOKING
        for patient in _asked(visit, one)
    }
    if not wanted or visit.change.recording or _is_hold(visit.resource):
        return []
    base = visit.change.policy.base
    named = frozenset(targets(visit.resource.get("supportingInformation", ()), base, "QuestionnaireResponse"))
    kept = Matching(
        "QuestionnaireResponse",
        {
            "subject": frozenset(patient for _, patient in wanted),
            "questionnaire": frozenset(url.partition("|")[0] for url, _ in wanted),
            "status": frozenset(f"*|{status}" for status in FILLED_IN),
        },
    )
    found = yield [kept, ById(named)]
    responses = [one.resource for group in found for one in group if isinstance(one, Stored) and one.resource]
    responses += [one for one in visit.resource.get("contained", ()) if one["resourceType"] == "QuestionnaireResponse"]
    return list(_missing(visit, wanted, responses))


def _asked(visit: Visit, one: Chosen) -> Sequence[str]:
    """The patients whom a Schedule asks: those who come, but for those who have been booked on it at this time."""
    if visit.former is None or _is_hold(visit.former) or not stays(visit, one):
        return visit.patients
    booked = {reference for reference, _ in people_of(visit.former, visit.change.policy)}
    return [patient for patient in visit.patients if patient not in booked]


def _is_hold(appointment: Json) -> bool:
    return appointment["status"] == "pending" and holds.expires_of(appointment) is not None


def _missing(visit: Visit, wanted: Mapping[tuple[str, str], str], responses: Sequence[Json]) -> Iterator[Issue]:
    for (questionnaire, patient), schedule in wanted.items():
        if not any(_answers(one, questionnaire, patient, visit.change.policy.base) for one in responses):
            text = (
                f"{schedule} asks for a form before booking: send a completed QuestionnaireResponse with "
                f"questionnaire {questionnaire} and subject {patient}, then book again."
            )
            yield problem("business-rule", text, "Appointment.supportingInformation", "form-required")


def _answers(response: Json, questionnaire: str, patient: str, base: str) -> bool:
    """Whether the response is one to this form, in any version if none is asked for, and about the patient or, being
    given with the Appointment, about nobody."""
    url, _, version = questionnaire.partition("|")
    answered, _, filled = str(response.get("questionnaire", "")).partition("|")
    return (
        response.get("status") in FILLED_IN
        and answered == url
        and (not version or filled == version)
        and ("subject" not in response or target(response["subject"], base) == patient)
    )
