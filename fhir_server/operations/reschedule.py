"""$reschedule: the same Appointment at another time, if it can be booked then (docs/changing.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.read import existing
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.operations._asking import TEXTS
from fhir_server.operations._free_time import read_reference
from fhir_server.operations._intending import BY, OVERRIDING, REASON, TOKEN, intending
from fhir_server.operations.arguments import Arguments, read_arguments
from fhir_server.operations.series import SCOPE, Edit, chosen_of, move_series
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Stored
from fhir_server.scheduling import moving, slots
from fhir_server.scheduling.elements import instant, kind, say, target
from fhir_server.scheduling.finding import refuse_far
from fhir_server.scheduling.series import SCOPES
from fhir_server.writing import Server, write

MOVABLE = ("pending", "booked")
"""The statuses of an Appointment that can be moved."""


async def reschedule(server: Server, request: Request) -> Response:
    """200 with the Appointment at its new time, or a Bundle of those of its series; 409 with the nearest free times, or
    422 with the rules that forbid it, and then nothing has changed."""
    arguments = read_arguments(OPERATION, request)
    _refuse_unclear(arguments)
    id = str(request.id)
    intent = intending(intent_of(request), arguments)
    scope = chosen_of(arguments["scope"], SCOPE, SCOPES)
    if scope != "one":
        start, end = await _new_time(server, id, arguments)
        return await move_series(server, request, scope, start, end, also=_also(server, arguments), intent=intent)

    def propose(before: Stored | None) -> Json:
        refuse_mismatch(request, before)
        known = existing("Appointment", id, before).resource or {}
        refuse_unmovable(id, known, MOVABLE)
        return _also(server, arguments)(_moved(server, known, arguments))

    written = await write(
        server, "Appointment", id, propose, who=request.principal, intent=intent, replay=replay_of(request)
    )
    return Response(written.status, written.stored.resource, versioned=True)


def refuse_unmovable(id: str, known: Json, statuses: Sequence[str]) -> None:
    """Refuses an Appointment in any other status, or without a time."""
    if known["status"] not in statuses:
        text = f"Appointment/{id} is {known['status']}; this is for one that is {' or '.join(statuses)}."
        raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")


def _refuse_unclear(arguments: Arguments) -> None:
    """Refuses what does not say one time, or says twice who is wanted."""
    if bool(arguments["start"]) == bool(arguments["slot"]):
        raise FhirError("required", "Give either start or slot.", "Parameters.parameter.where(name='start')")
    if arguments["end"] and arguments["minutes"]:
        raise FhirError("invalid", "Give end or minutes, not both.", "Parameters.parameter.where(name='end')")
    people = [name for name in COMING if arguments[name]]
    for name in ("slot", "schedule"):
        if arguments[name] and people:
            text = f"{name} says who is wanted: leave out {' and '.join(people)}."
            raise FhirError("invalid", text, f"Parameters.parameter.where(name='{people[0]}')")
    if arguments["slot"] and (also := [name for name in ("end", "minutes", "schedule") if arguments[name]]):
        text = f"slot says when and where: leave out {' and '.join(also)}."
        raise FhirError("invalid", text, f"Parameters.parameter.where(name='{also[0]}')")
    if arguments["scope"] not in ([], ["one"]) and (arguments["slot"] or arguments["schedule"]):
        text = "A series is moved to a start: leave out slot and schedule."
        raise FhirError("invalid", text, "Parameters.parameter.where(name='scope')")


def _times(known: Json, arguments: Arguments) -> tuple[datetime, datetime]:
    """The new start and end; as long as before, if nothing says how long."""
    start: datetime = arguments["start"][0]
    refuse_far(start, start, "start")
    if arguments["end"]:
        return start, arguments["end"][0]
    if arguments["minutes"]:
        return start, start + timedelta(minutes=arguments["minutes"][0])
    if "start" not in known or "end" not in known:
        text = "The Appointment has no time yet: give end or minutes."
        raise FhirError("required", text, "Parameters.parameter.where(name='end')")
    return start, start + (instant(known["end"]) - instant(known["start"]))


async def _new_time(server: Server, id: str, arguments: Arguments) -> tuple[datetime, datetime]:
    known = existing("Appointment", id, await server.store.read("Appointment", id)).resource or {}
    refuse_unmovable(id, known, MOVABLE)
    return _times(known, arguments)


def _moved(server: Server, known: Json, arguments: Arguments) -> Json:
    """The Appointment on other Slots, whose time and people it then has, or at another time."""
    if arguments["slot"]:
        return {**known, "slot": [{"reference": one} for one in arguments["slot"]]}
    start, end = _times(known, arguments)
    if arguments["schedule"]:
        return {**known, "slot": [{"reference": one} for one in _slots_on(server, arguments, start, end)]}
    return {**known, "start": say(start), "end": say(end)}


def _slots_on(server: Server, arguments: Arguments, start: datetime, end: datetime) -> list[str]:
    """The computed Slots of the Schedules that are wanted."""
    minutes = (end - start) // timedelta(minutes=1)
    found = []
    for literal in arguments["schedule"]:
        reference = target({"reference": literal if "/" in literal else f"Schedule/{literal}"}, server.base) or ""
        type, _, id = reference.partition("/")
        if type != "Schedule":
            text = f"{literal} is no Schedule here."
            raise FhirError("not-found", text, "schedule", problem="schedule-unknown", status=422)
        if (slot := slots.slot_id(id, start, minutes)) is None:
            text = "The Slots of a Schedule begin on whole minutes: give another start."
            raise FhirError("business-rule", text, "start", problem="off-grid")
        found.append(f"Slot/{slot}")
    return found


COMING: Mapping[str, tuple[str, ...]] = {
    "practitioner": ("Practitioner", "PractitionerRole"),
    "location": ("Location",),
}
"""The parameters that say who comes, and of what type that is."""


def _comer(server: Server, name: str, literal: str) -> str:
    comer = read_reference(literal, None, name, server.base)
    if kind(comer) not in COMING[name]:
        raise FhirError("value", f"{name}: {literal} is no {' or '.join(COMING[name])}.", name)
    return comer


def _also(server: Server, arguments: Arguments) -> Edit:
    """What else becomes of the Appointment: who is wanted, and what is said about it."""

    give = moving.reassign if arguments["scope"] in ([], ["one"]) else moving.reassign_too
    comers = [_comer(server, name, one) for name in COMING for one in arguments[name]]

    def edit(known: Json) -> Json:
        for comer in comers:
            known = give(known, None, comer, server.base)
        comment = next(iter(arguments["comment"]), None)
        return {**known, "comment": comment} if comment else known

    return edit


OPERATION = Operation(
    code="reschedule",
    name="Reschedule",
    title="Move an appointment",
    description="Moves a booked, pending or held Appointment: the new time is won under all the rules of a booking, "
    "and only then the old one is given back. The id and the history stay; who had agreed is asked again.",
    resource=("Appointment",),
    levels=("instance",),
    affects_state=True,
    parameters=(
        Parameter("start", "in", 0, "1", "dateTime", "The new start; or give slot"),
        Parameter("end", "in", 0, "1", "dateTime", "The new end; as long as before if it is not given"),
        Parameter("minutes", "in", 0, "1", "positiveInt", "How long, instead of end"),
        Parameter("slot", "in", 0, "*", "Reference", "The Slots, as found; their time and people are the new ones"),
        Parameter(
            "schedule",
            "in",
            0,
            "*",
            "Reference",
            "With start: the Schedules to be on, with their people",
            also=TEXTS,
        ),
        Parameter("practitioner", "in", 0, "1", "Reference", "With start: another Practitioner or PractitionerRole"),
        Parameter("location", "in", 0, "1", "Reference", "With start: another Location"),
        Parameter("comment", "in", 0, "1", "string", "Appointment.comment"),
        BY,
        REASON,
        TOKEN,
        *OVERRIDING,
        SCOPE,
        Parameter("return", "out", 1, "1", "Resource", "The moved Appointment; of a series a Bundle of them"),
    ),
    run=reschedule,
)
