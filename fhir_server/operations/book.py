"""$book: an Appointment by a found Slot or as a resource, through the one door for writes (docs/booking.md)."""

from __future__ import annotations

from typing import Any

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling.elements import instant, target
from fhir_server.writing import Server, write


async def book(server: Server, request: Request) -> Response:
    """201 with the booked Appointment, 200 if it was stored before (a proposed or pending one); 409 with the nearest
    free times if others were first."""
    arguments = read_arguments(OPERATION, request)
    appointment: Json | None = next(iter(arguments["appointment"]), None)
    if arguments["slot"] and (appointment or request.id):
        raise FhirError("invalid", "Give slots or an appointment, not both.", "Parameters.parameter.where(name='slot')")
    wanted = await _wanted(server, arguments, appointment) if appointment or not request.id else None
    id = request.id or (appointment or {}).get("id")
    stored = await server.store.read("Appointment", id) if id else None

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        known = before.resource if before else None
        if request.id and known is None:
            raise FhirError("not-found", f"Appointment/{request.id} does not exist.")
        if known and known["status"] not in BOOKABLE:
            text = f"Appointment/{id} is {known['status']}; $book is for one that is {', '.join(BOOKABLE)}."
            raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")
        return {**_with_patients(wanted or known or {}, arguments), "status": "booked", **_comment(arguments)}

    written = await write(
        server,
        "Appointment",
        id if request.id or stored else None,
        propose,
        who=request.principal,
        replay=replay_of(request),
    )
    return Response(written.status, written.stored.resource, versioned=True)


BOOKABLE = ("proposed", "waitlist", "pending")


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
    appointment: Json = {"resourceType": "Appointment", "status": "booked"}
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


OPERATION = Operation(
    code="book",
    name="Book",
    title="Book an appointment",
    description="Books an Appointment: given as a resource (also alone as the body), by reference to a found Slot with "
    "a patient, or, on an instance, the proposed or pending Appointment itself.",
    resource=("Appointment",),
    levels=("type", "instance"),
    affects_state=True,
    parameters=(
        Parameter(
            "appointment",
            "in",
            0,
            "1",
            "Appointment",
            "The Appointment to book; its status is taken as booked",
        ),
        Parameter("slot", "in", 0, "*", "Reference", "Slots to book, as found; used if no appointment is given"),
        Parameter("patient", "in", 0, "*", "Reference", "Patients to add as participants"),
        Parameter("comment", "in", 0, "1", "string", "Appointment.comment"),
        Parameter("return", "out", 1, "1", "Appointment", "The booked Appointment"),
    ),
    run=book,
)
