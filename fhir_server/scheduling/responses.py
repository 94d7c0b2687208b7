"""What an AppointmentResponse does to its Appointment: who has agreed, and what follows when all have, or one has not.

http://hl7.org/fhir/R4/appointmentresponse.html; conformance/decisions/0022-answers-and-waiting.md says what R4 leaves
open.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Decision, Plan, Stored, Write
from fhir_server.scheduling import booking, holds, reasons, waiting
from fhir_server.scheduling.elements import instant, kind, target
from fhir_server.scheduling.finding import codes
from fhir_server.scheduling.policy import Change
from fhir_server.scheduling.visit import can_answer, is_a

ANSWERED = frozenset({"proposed", "waitlist", "pending", "booked"})
"""The statuses of an Appointment that those who take part can answer to."""

ANSWER = ("appointment", "actor", "participantType", "participantStatus", "start", "end")
"""The elements of a response that make it another answer."""

COUNTERING = frozenset({"declined", "tentative"})
"""The answers that propose another time, if they name one."""

CALLED_OFF: Json = {"coding": [{"system": reasons.HL7, "code": "pat", "display": "Patient"}]}


def decide(change: Change) -> Plan[Decision]:
    """The response, and in the same transaction the Appointment with the answer in it and all that follows.

    Refuses (422) an Appointment that does not exist or that nobody answers any more, and one in which whoever answers
    does not take part; 409 to accept a time that is not the Appointment's. To delete a response changes nothing else.
    """
    after = change.after
    version = change.before.version if change.before else 0
    write = Write("AppointmentResponse", change.id, after, version)
    reference = target(after["appointment"], change.policy.base) if after else None
    if after is None or reference is None or change.recording:
        return Decision((write,))
    found = (yield [ById(frozenset({reference}))])[0]
    stored = next((one for one in found if isinstance(one, Stored) and one.type == "Appointment"), None)
    if stored is None or stored.resource is None:
        text = f"{reference} is no Appointment here."
        raise FhirError("not-found", text, "AppointmentResponse.appointment", problem="appointment-unknown", status=422)
    if unanswerable := _unanswerable(stored.resource, change):
        if _is_same(change.before, after):
            return Decision((write,))
        text = f"{reference} {unanswerable}: nobody answers it any more."
        raise FhirError("business-rule", text, "AppointmentResponse.appointment", problem="not-answerable")
    places = yield from _places(stored.resource, after, change)
    answered = _answer(stored.resource, after, places, change)
    if answered == stored.resource:
        return Decision((write,))
    follows = yield from booking.decide(
        replace(change, type="Appointment", id=stored.id, before=stored, after=answered)
    )
    return replace(follows, writes=(write, *follows.writes))


def _unanswerable(appointment: Json, change: Change) -> str | None:
    if appointment["status"] not in ANSWERED:
        return f"is {appointment['status']}"
    if holds.is_expired(appointment, change.now):
        return "was held until it was too late"
    over = "end" in appointment and instant(appointment["end"]) <= change.now
    return "is over" if over and appointment["status"] in ("pending", "booked") else None


def _is_same(before: Stored | None, after: Json) -> bool:
    known = (before.resource if before else None) or {}
    return bool(known) and all(known.get(element) == after.get(element) for element in ANSWER)


# Who answers


def _places(appointment: Json, response: Json, change: Change) -> Plan[Sequence[int]]:
    """Where in the Appointment's participants those are who answer: by actor, a person also for their role, and by
    type. One that has a type but no actor yet is whoever comes with that type."""
    participants = appointment["participant"]
    actor = response.get("actor")
    fitting = [index for index, one in enumerate(participants) if _has_type(one, response)]
    if actor is None:
        return _only(fitting)
    if same := [index for index in fitting if _is_actor(participants[index], actor, change.policy.base)]:
        return same
    if roles := (yield from _in_roles(participants, fitting, actor, change.policy.base)):
        return roles
    if "participantType" not in response:
        return _only([])
    return _only([index for index in fitting if "actor" not in participants[index]])


def _only(places: Sequence[int]) -> Sequence[int]:
    if len(places) == 1:
        return places
    if places:
        text = "Several participants have this participantType: name the actor."
    else:
        text = "Nobody in the Appointment has this actor and participantType; both must be as the Appointment says."
    raise FhirError("business-rule", text, "AppointmentResponse.actor", problem="no-such-participant")


def _has_type(participant: Json, response: Json) -> bool:
    asked = response.get("participantType")
    return not asked or not codes(asked).isdisjoint(codes(participant.get("type", ())))


def _is_actor(participant: Json, actor: Json, base: str) -> bool:
    known = participant.get("actor", {})
    here = target(actor, base)
    if here:
        return target(known, base) == here
    return any(element in actor and known.get(element) == actor[element] for element in ("reference", "identifier"))


def _in_roles(participants: Sequence[Json], places: Sequence[int], actor: Json, base: str) -> Plan[Sequence[int]]:
    """Where a practitioner takes part in one of their roles; one batch, none for others."""
    person = target(actor, base)
    named = {index: target(participants[index].get("actor"), base) for index in places}
    roles = {index: ref for index, ref in named.items() if ref and kind(ref) == "PractitionerRole"}
    if person is None or kind(person) != "Practitioner" or not roles:
        return []
    found = (yield [ById(frozenset(roles.values()))])[0]
    own = {
        f"{one.type}/{one.id}"
        for one in found
        if isinstance(one, Stored) and target((one.resource or {}).get("practitioner"), base) == person
    }
    return [index for index, reference in roles.items() if reference in own]


# What follows


def _answer(appointment: Json, response: Json, places: Collection[int], change: Change) -> Json:
    """The Appointment with the answer in it, and in the status that follows."""
    status = response["participantStatus"]
    if _names_other_time(appointment, response):
        if status in COUNTERING:
            return {**appointment, "participant": [_asked_again(one) for one in appointment["participant"]]}
        text = "The Appointment has another time now. Read it again; to propose a time, decline or be tentative."
        raise FhirError("conflict", text, "AppointmentResponse.start", problem="stale-response")
    answered = [
        _answering(one, response) if index in places else one for index, one in enumerate(appointment["participant"])
    ]
    appointment = {**appointment, "participant": answered}
    declining = [answered[index] for index in places] if status == "declined" else []
    if any(_is_required(one) for one in declining):
        appointment = _declined(appointment, declining, change)
    if status in ("accepted", "declined") and _is_agreed(appointment, change):
        return {**appointment, "status": "booked"}
    return appointment


def _names_other_time(appointment: Json, response: Json) -> bool:
    return any(
        bound in response and bound in appointment and instant(response[bound]) != instant(appointment[bound])
        for bound in ("start", "end")
    )


def _answering(participant: Json, response: Json) -> Json:
    """The participant with the answer; one that had no actor yet gets the one who accepts."""
    status = response["participantStatus"]
    filled = {"actor": response["actor"]} if status == "accepted" and "actor" in response else {}
    return {**filled, **participant, "status": status}


def _asked_again(participant: Json) -> Json:
    if participant["status"] == "declined" or not can_answer(participant):
        return participant
    return {**participant, "status": "needs-action"}


def _is_required(participant: Json) -> bool:
    return bool(participant.get("required", "required") == "required")


def _is_agreed(appointment: Json, change: Change) -> bool:
    """Whether an unconfirmed Appointment has the yes of all who are required, or a time that the waiting list offers
    that of its patients: the others agree by offering it. Patients who declined leave those who still come.
    A hold of anybody else is its holder's to confirm."""
    if appointment["status"] != "pending":
        return False
    base = change.policy.base
    people = [one for one in appointment["participant"] if _comes(one) or not is_a(one, base, "Patient")]
    if holds.expires_of(appointment):
        patients = [one["status"] for one in people if is_a(one, base, "Patient")]
        return waiting.waits(appointment) and bool(patients) and set(patients) == {"accepted"}
    return all(one["status"] == "accepted" for one in people if _is_required(one) and can_answer(one))


def _declined(appointment: Json, declining: Sequence[Json], change: Change) -> Json:
    """What becomes of an Appointment without somebody whom it needs. Of several patients the others still come; an
    only one calls it off, or goes on waiting. Without another it is to be arranged anew."""
    base = change.policy.base
    waits = waiting.waits(appointment) and appointment["status"] == "pending"
    if all(is_a(one, base, "Patient") for one in declining):
        if any(is_a(one, base, "Patient") and _comes(one) for one in appointment["participant"]):
            return appointment
        if not waits:
            return {**appointment, "status": "cancelled", "cancelationReason": CALLED_OFF}
    if waits:
        return {**appointment, "status": "waitlist"}
    if appointment["status"] == "waitlist":
        return appointment
    return {**{name: value for name, value in appointment.items() if name != "slot"}, "status": "proposed"}


def _comes(participant: Json) -> bool:
    return participant["status"] != "declined" and participant.get("required") != "information-only"
