"""The Appointment that an operation asks for: given as a resource, made of found Slots, or stored already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.definitions import Parameter, Request
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.operations.arguments import Arguments
from fhir_server.operations.series import recurs
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling import holds
from fhir_server.scheduling.elements import instant, target
from fhir_server.scheduling.policy import Intent
from fhir_server.writing import Server

BOOKABLE = ("proposed", "waitlist", "pending")
"""The statuses of an Appointment that can be held or booked; also one whose hold expired."""

ASKING = (
    Parameter(
        "appointment",
        "in",
        0,
        "1",
        "Appointment",
        "The Appointment, also alone as the body; its status is set",
    ),
    Parameter("slot", "in", 0, "*", "Reference", "The Slots, as found; used if no appointment is given"),
    Parameter("patient", "in", 0, "*", "Reference", "Patients to add as participants"),
    Parameter("comment", "in", 0, "1", "string", "Appointment.comment"),
    Parameter("token", "in", 0, "1", "string", "The token of the hold, if it has one; also as header X-Hold-Token"),
)
"""The parameters by which an Appointment is asked for."""


@dataclass(frozen=True, slots=True)
class Bid:
    """What is asked for: the id that it is stored under (None if it is new), and from what is stored the Appointment,
    its status not set yet. `recurs` says that it is the first of a series."""

    id: str | None
    appointment: Callable[[Stored | None], Json]
    recurs: bool = False


async def read_bid(server: Server, request: Request, arguments: Arguments) -> Bid:
    """What the arguments and the URL ask for. Refuses Slots beside an Appointment, what is unknown, and later an
    Appointment that can no longer be booked."""
    given: Json | None = next(iter(arguments["appointment"]), None)
    if arguments["slot"] and (given or request.id):
        raise FhirError("invalid", "Give slots or an appointment, not both.", "Parameters.parameter.where(name='slot')")
    wanted = await _wanted(server, arguments, given) if given or not request.id else None
    id = request.id or (given or {}).get("id")
    stored = await server.store.read("Appointment", id) if id else None

    def appointment(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        known = before.resource if before else None
        if request.id and known is None:
            raise FhirError("not-found", f"Appointment/{request.id} does not exist.")
        if known and known["status"] not in BOOKABLE and not holds.was_expired(known):
            text = f"Appointment/{id} is {known['status']}; this is for one that is {', '.join(BOOKABLE)}."
            raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")
        asked = {**_with_patients(wanted or known or {}, arguments), **_comment(arguments)}
        return {name: value for name, value in asked.items() if name != "cancelationReason"}

    at_present = wanted or (stored.resource if stored else None)
    return Bid(id if request.id or stored else None, appointment, recurs(at_present))


def intent(request: Request, arguments: Arguments) -> Intent:
    """What the request says beside the Appointment."""
    said = intent_of(request)
    return replace(said, token=next(iter(arguments["token"]), said.token))


def _comment(arguments: Arguments) -> Json:
    comment = next(iter(arguments["comment"]), None)
    return {"comment": comment} if comment else {}


async def _wanted(server: Server, arguments: Arguments, appointment: Json | None) -> Json:
    """The Appointment that is asked for: the one given, else made of the Slots and the patients."""
    if appointment is not None:
        return appointment
    if not arguments["slot"] or not arguments["patient"]:
        raise FhirError("required", "Give an appointment, or at least one slot and one patient.", "Parameters")
    return await _of_slots(server, list(arguments["slot"]))


def _with_patients(appointment: Json, arguments: Arguments) -> Json:
    """The Appointment with the patients that were given and do not take part yet."""
    present = appointment.get("participant", [])
    there = {one.get("actor", {}).get("reference") for one in present}
    added = [patient for patient in dict.fromkeys(arguments["patient"]) if patient not in there]
    people = [{"actor": {"reference": patient}, "status": "accepted"} for patient in added]
    return {**appointment, "participant": [*present, *people]}


async def _of_slots(server: Server, references: list[str]) -> Json:
    """An Appointment at the time of the Slots, with their Schedules' actors taking part."""
    slots = [await _read(server, reference, "Slot") for reference in references]
    actors: dict[str, Any] = {}
    for slot in slots:
        schedule = await _read(server, slot["schedule"]["reference"], "Schedule")
        actors |= {str(actor.get("reference")): actor for actor in schedule["actor"]}
    appointment: Json = {"resourceType": "Appointment", "status": "proposed"}
    for element in ("serviceCategory", "serviceType", "specialty"):
        if element in slots[0]:
            appointment[element] = slots[0][element]
    return appointment | {
        "start": min((slot["start"] for slot in slots), key=instant),
        "end": max((slot["end"] for slot in slots), key=instant),
        "slot": [{"reference": f"Slot/{slot['id']}"} for slot in slots],
        "participant": [{"actor": actor, "status": "accepted"} for actor in actors.values()],
    }


async def _read(server: Server, reference: str, type: str) -> Json:
    """What a parameter names, stored or computed; 422 if there is none."""
    literal = reference if "/" in reference else f"{type}/{reference}"
    found = target({"reference": literal}, server.base)
    id = found.partition("/")[2] if found and found.startswith(f"{type}/") else None
    stored = await server.store.read(type, id) if id else None
    if stored and stored.resource:
        return stored.resource
    computed = server.rows[type].computed
    plan = computed.read(id, server.now(), server.policy) if computed and id else None
    resource: Json | None = await server.store.run(plan) if plan else None
    if resource is None:
        text = f"{reference} is no {type} here."
        raise FhirError("not-found", text, type, problem=f"{type.lower()}-unknown", status=422)
    return resource
