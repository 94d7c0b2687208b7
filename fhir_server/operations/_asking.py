"""The Appointment that $hold and $book ask for, by whichever of the names in use: as a resource, by reference to a
found, held or stored one, or made of found Slots (docs/doors.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from fhir_server.definitions import Parameter, Request
from fhir_server.interactions.create import replay_of
from fhir_server.interactions.intent import intent_of
from fhir_server.interactions.update import refuse_mismatch
from fhir_server.links import rewrite
from fhir_server.operations._enrolling import Newcomer, enroll, identified
from fhir_server.operations._intending import intending
from fhir_server.operations.arguments import Arguments, reference_text
from fhir_server.operations.series import recurs
from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Matching, Plan, Stored
from fhir_server.scheduling import holds, lifecycle, reasons, slots
from fhir_server.scheduling.elements import instant, is_computed, target
from fhir_server.scheduling.policy import Intent
from fhir_server.writing import Asked, Propose, Server, Unchanged, Written, fresh_id, write_all

BOOKABLE = ("proposed", "waitlist", "pending")
"""The statuses of an Appointment that can be held or booked; also one whose hold expired."""

ASKABLE = frozenset({"proposed", "pending", "booked", "waitlist"})
"""The statuses in which an Appointment that is to be held or booked can be given."""

CHANGEABLE = ("booked", "arrived", "checked-in")
"""The statuses of an Appointment that $book can change."""

CHANGING: Mapping[str, frozenset[str]] = {
    "appointment": frozenset({"proposed"}),
    "appointment-resource": frozenset({"booked", "cancelled"}),
    "appt-resource": frozenset({"proposed", "booked", "cancelled"}),
}
"""By the name of the parameter with which statuses an Appointment that is booked already can be given, to change it or
call it off. Any other is a mistake."""

REPLACES = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.replaces"
"""R5's Appointment.replaces."""

REFERENCES = ("appointment-reference", "appt-id")
PATIENTS = ("patient", "patient-reference", "patient-id")
COMMENTS = ("comment", "appointmentNote")
"""The names for one thing."""

TEXTS = ("uri", "string", "id")

ASKING = (
    Parameter(
        "appointment",
        "in",
        0,
        "1",
        "Appointment",
        "The Appointment, also alone as the body; its status is set. Or the identifier of a proposed one",
        also=("Identifier",),
    ),
    Parameter("appointment-resource", "in", 0, "1", "Appointment", "The same, as IHE names it"),
    Parameter("appt-resource", "in", 0, "1", "Appointment", "The same, as Argonaut and gematik name it"),
    Parameter("appointment-reference", "in", 0, "1", "Reference", "A proposed, held or stored Appointment", also=TEXTS),
    Parameter("appt-id", "in", 0, "1", "uri", "The same, as Argonaut names it", also=("Reference", *TEXTS[1:])),
    Parameter("slot", "in", 0, "*", "Reference", "The Slots, as found; used if no appointment is given"),
    Parameter(
        "schedule",
        "in",
        0,
        "1",
        "Reference",
        "The Schedule whose Slots at the Appointment's time are meant, if it names none",
    ),
    Parameter("patient", "in", 0, "*", "Reference", "Patients to add as participants", also=("Identifier",)),
    Parameter("patient-reference", "in", 0, "*", "Reference", "The same", also=("Identifier",)),
    Parameter("patient-id", "in", 0, "*", "uri", "The same, as Argonaut names it", also=("Reference", *TEXTS[1:])),
    Parameter(
        "patient-resource",
        "in",
        0,
        "*",
        "Patient",
        "Patients to add who may have no record: one is found by identifier, else by name, birth date and telecom, or "
        "else made",
    ),
    Parameter("comment", "in", 0, "1", "string", "Appointment.comment"),
    Parameter("appointmentNote", "in", 0, "1", "string", "The same, as Epic names it"),
    Parameter("token", "in", 0, "1", "string", "The token of the hold, if it has one; also as header X-Hold-Token"),
)
"""The parameters by which an Appointment is asked for."""


@dataclass(frozen=True, slots=True)
class Bid:
    """What is asked for: the id that it is or will be stored under, and from what is stored the Appointment, its status
    not set yet, unless it `calls_off` the stored one. `new` if nothing can be stored under the id. The newcomers are
    patients without a reference. `recurs` says that it is the first of a series."""

    id: str
    new: bool
    appointment: Callable[[Stored | None], Json]
    newcomers: Sequence[Newcomer] = ()
    recurs: bool = False
    calls_off: bool = False


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The Appointment that is wanted; None if it is the one that is stored. `change` is the status that the client gave
    it if that can change a booked one, `proposed` that the server had proposed it; `people` are patients to add, `more`
    are elements to set."""

    appointment: Json | None
    change: str | None = None
    proposed: bool = False
    newcomers: Sequence[Newcomer] = ()
    people: Sequence[str] = ()
    more: Mapping[str, str] = field(default_factory=dict)


async def read_bid(server: Server, request: Request, arguments: Arguments, *, booking: bool) -> Bid:
    """What the arguments and the URL ask for. Refuses an Appointment that is named twice, what is unknown, and later an
    Appointment that can no longer be booked."""
    given: Json | None = _one_of(arguments, tuple(CHANGING))
    named = await _named(server, request, arguments, (given or {}).get("id"))
    if arguments["slot"] and (given or named):
        raise FhirError("invalid", "Give slots or an appointment, not both.", "Parameters.parameter.where(name='slot')")
    id = named or (given or {}).get("id")
    stored = await server.store.read("Appointment", id) if id else None
    proposal = await recall(server, id) if id and stored is None else None
    if named and not request.id and stored is None and proposal is None:
        minutes = server.settings.proposal_minutes
        text = f"There is no Appointment/{named}. What $find proposed can be asked for by its id for {minutes} minutes."
        raise FhirError("not-found", text, "Appointment", problem="appointment-unknown")
    wanted = await _read_wanted(server, arguments, given or proposal, named=bool(stored or request.id))
    status = (given or {}).get("status")
    change = status if booking and any(arguments[name] and status in CHANGING[name] for name in CHANGING) else None
    if given:
        _refuse_status(given, change, known=stored is not None and stored.resource is not None)
    wanted = replace(wanted, change=change, proposed=proposal is not None)
    at_present = wanted.appointment or (stored.resource if stored else None)
    return Bid(
        id if id and (named or stored or proposal) else fresh_id(),
        not (named or stored or proposal),
        lambda before: _ask_for(server, request, before, wanted, "accepted" if booking else "tentative"),
        wanted.newcomers,
        recurs(at_present) and not _changes(stored, change),
        change == "cancelled",
    )


def _changes(stored: Stored | None, change: str | None) -> bool:
    """Whether the stored Appointment is changed or called off, instead of booked."""
    known = stored.resource if stored else None
    return change == "cancelled" or bool(change and known and known["status"] in CHANGEABLE)


def _refuse_status(given: Json, change: str | None, *, known: bool) -> None:
    """Refuses an Appointment that is given in a status in which there is nothing to be had, and to call off one that is
    not stored: nothing of that kind may end as a booking."""
    status = given["status"]
    if status in ASKABLE or (change == "cancelled" and known):
        return
    if change == "cancelled" and "id" in given:
        text = f"There is no Appointment/{given['id']} to call off."
        raise FhirError("not-found", text, "Appointment.id", problem="appointment-unknown")
    text = f"The Appointment is given as {status}; to be had it is given as {', '.join(sorted(ASKABLE))}."
    raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")


def _one_of(arguments: Arguments, names: Sequence[str]) -> Any:
    """The value of whichever of the names is given; an Identifier is none. Refuses two."""
    values = [(name, one) for name in names for one in arguments[name] if not _is_identifier(one)]
    if len(values) > 1:
        text = f"{values[0][0]} and {values[1][0]} mean the same: give one."
        raise FhirError("invalid", text, f"Parameters.parameter.where(name='{values[1][0]}')")
    return values[0][1] if values else None


def _is_identifier(value: object) -> bool:
    return isinstance(value, dict) and not {"resourceType", "reference"} & value.keys()


async def _named(server: Server, request: Request, arguments: Arguments, own: str | None) -> str | None:
    """The id of the Appointment that the URL or a parameter names. Refuses two, of which one may be that of the
    Appointment itself that is given."""
    reference = reference_text(_one_of(arguments, REFERENCES))
    identifier = next((one for one in arguments["appointment"] if _is_identifier(one)), None)
    names = [
        request.id,
        local_id(server, reference, "Appointment") if reference else None,
        await _identified(server, identifier) if identifier else None,
    ]
    named = next((one for one in names if one), None)
    if named and (others := {one for one in (*names, own) if one} - {named}):
        text = f"Appointment/{named} and Appointment/{min(others)} are named: name one."
        raise FhirError("invalid", text, "Parameters", status=400)
    return named


async def _identified(server: Server, identifier: Json) -> str:
    """The id that an Identifier names: the value is one, or is an identifier of the Appointment."""
    value = str(identifier.get("value", ""))
    if await server.store.read("Appointment", value) or await recall(server, value):
        return value
    return (await identified(server, identifier, "Appointment")).partition("/")[2]


def local_id(server: Server, text: str, type: str) -> str:
    """The id of a reference or of a bare id; refuses what cannot be of this server and type."""
    found = target({"reference": text if "/" in text else f"{type}/{text}"}, server.base)
    if found is None or not found.startswith(f"{type}/"):
        raise FhirError("value", f"{text} is no {type} of this server.", type, status=422)
    return found.partition("/")[2]


async def recall(server: Server, id: str) -> Json | None:
    """The Appointment that was proposed under that id lately."""
    return await server.store.recall_proposal(id, timedelta(minutes=server.settings.proposal_minutes))


# What is wanted


async def _read_wanted(server: Server, arguments: Arguments, appointment: Json | None, *, named: bool) -> _Wanted:
    """The Appointment that is given or was proposed, else made of the Slots; none if it is the one that is named."""
    people = [await _patient(server, one) for name in PATIENTS for one in arguments[name]]
    newcomers = [Newcomer(one) for one in arguments["patient-resource"]]
    wanted = _Wanted(None, newcomers=newcomers, people=people, more=_comment(arguments))
    if appointment is None and arguments["slot"] and (people or newcomers):
        return replace(wanted, appointment=await _of_slots(server, list(arguments["slot"])))
    if appointment is None:
        if not named:
            raise FhirError("required", "Give an appointment, or at least one slot and one patient.", "Parameters")
        return wanted
    appointment, contained = _unpack(appointment)
    appointment = await _on_slots(server, appointment, arguments)
    return replace(wanted, appointment=appointment, newcomers=[*newcomers, *contained])


async def _patient(server: Server, given: Any) -> str:
    if _is_identifier(given):
        return await identified(server, given, "Patient")
    return str(reference_text(given)) if "/" in str(reference_text(given)) else f"Patient/{reference_text(given)}"


def _comment(arguments: Arguments) -> Json:
    comment = _one_of(arguments, COMMENTS)
    return {"comment": comment} if comment else {}


def with_patients(appointment: Json, references: Sequence[str], base: str) -> Json:
    """The Appointment with the patients that do not take part yet."""
    present = appointment.get("participant", [])
    there = {target(one.get("actor"), base) for one in present}
    added = {target({"reference": one}, base) or one: one for one in references}
    people = [{"actor": {"reference": one}, "status": "accepted"} for who, one in added.items() if who not in there]
    return {**appointment, "participant": [*present, *people]}


def _unpack(appointment: Json) -> tuple[Json, list[Newcomer]]:
    """The Appointment without the Patients contained in it, and those of them who take part."""
    contained = appointment.get("contained") or ()
    patients = {f"#{one['id']}": one for one in contained if one["resourceType"] == "Patient" and "id" in one}
    actors = [one.get("actor", {}).get("reference") for one in appointment.get("participant", ())]
    newcomers = [Newcomer(patients[actor], actor) for actor in dict.fromkeys(actors) if actor in patients]
    taken = [newcomer.resource for newcomer in newcomers]
    return _with(appointment, "contained", [one for one in contained if one not in taken]), newcomers


def _with(resource: Json, element: str, values: Sequence[Json]) -> Json:
    rest = {name: value for name, value in resource.items() if name != element}
    return {**rest, element: list(values)} if values else rest


async def _on_slots(server: Server, appointment: Json, arguments: Arguments) -> Json:
    """The Appointment on Slots of this server: for those contained in it, or a Schedule that is given, the Slots at
    that time."""
    schedule = next(iter(arguments["schedule"]), None)
    contained = {f"#{one.get('id')}": one for one in appointment.get("contained", ()) if one["resourceType"] == "Slot"}
    if not contained and (schedule is None or "slot" in appointment):
        return appointment
    references: list[str] = []
    for slot in [contained[name] for one in appointment.get("slot", ()) if (name := one.get("reference")) in contained]:
        references += await _slots_at(server, _schedule_of(slot), slot["start"], slot["end"])
    if not contained:
        if "start" not in appointment or "end" not in appointment:
            text = "With a schedule the Appointment needs a start and an end."
            raise FhirError("required", text, "Appointment.start", status=422)
        references += await _slots_at(server, str(schedule), appointment["start"], appointment["end"])
    kept = [one for one in appointment.get("slot", ()) if one.get("reference") not in contained]
    others = [one for one in appointment.get("contained", ()) if one["resourceType"] != "Slot"]
    placed = _with(appointment, "slot", [*kept, *({"reference": one} for one in dict.fromkeys(references))])
    return _with(placed, "contained", others)


def _schedule_of(contained: Json) -> str:
    reference = contained["schedule"].get("reference")
    if not isinstance(reference, str):
        raise FhirError("value", "A contained Slot needs Slot.schedule.reference.", "Appointment.contained", status=422)
    return reference


async def _slots_at(server: Server, schedule: str, start: str, end: str) -> list[str]:
    id = local_id(server, schedule, "Schedule")
    opens, closes = instant(start), instant(end)
    published = await server.store.run(_published_between(f"Schedule/{id}", start, end))
    if published:
        return published
    minutes = (closes - opens) // timedelta(minutes=1)
    computed = slots.slot_id(id, opens, minutes) if opens < closes else None
    if computed is None:
        text = f"Schedule/{id} has no Slot from {start} to {end}."
        raise FhirError("not-found", text, "Appointment.start", problem="slot-unknown", status=422)
    return [f"Slot/{computed}"]


def _published_between(schedule: str, start: str, end: str) -> Plan[list[str]]:
    """The free Slots that an EHR published, one after the other from the start to the end; none if they leave gaps."""
    where = {"schedule": frozenset({schedule}), "status": frozenset({"*|free"})}
    [found] = yield [Matching("Slot", where, ("start", instant(start), instant(end)))]
    own = [one.resource for one in found if isinstance(one, Stored) and one.resource and not is_computed(one.resource)]
    after = {instant(one["start"]): one for one in own if instant(one["end"]) <= instant(end)}
    chain, at = [], instant(start)
    while at in after:
        chain.append(f"Slot/{after[at]['id']}")
        at = instant(after[at]["end"])
    return chain if at == instant(end) else []


async def _of_slots(server: Server, references: list[str]) -> Json:
    """An Appointment at the time of the Slots, with their Schedules' actors taking part."""
    found = [await _read(server, reference, "Slot") for reference in references]
    actors: dict[str, Any] = {}
    for slot in found:
        schedule = await _read(server, slot["schedule"]["reference"], "Schedule")
        actors |= {str(actor.get("reference")): actor for actor in schedule["actor"]}
    appointment: Json = {"resourceType": "Appointment", "status": "proposed"}
    for element in ("serviceCategory", "serviceType", "specialty"):
        if element in found[0]:
            appointment[element] = found[0][element]
    return appointment | {
        "start": min((slot["start"] for slot in found), key=instant),
        "end": max((slot["end"] for slot in found), key=instant),
        "slot": [{"reference": f"Slot/{slot['id']}"} for slot in found],
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


# What is asked of what is stored


def _ask_for(server: Server, request: Request, before: Stored | None, wanted: _Wanted, answer: str) -> Json:
    """The Appointment that is asked for, on what is stored at present; `answer` is that of who was found free."""
    refuse_mismatch(request, before)
    known = before.resource if before else None
    nothing = wanted.appointment is None or wanted.change == "cancelled" or (request.id and not wanted.proposed)
    if known is None and nothing:
        raise FhirError(
            "not-found", f"Appointment/{request.id or (wanted.appointment or {}).get('id')} does not exist."
        )
    if known and wanted.change == "cancelled":
        return _called_off(known, wanted.appointment or {})
    if (
        known
        and not _changes(before, wanted.change)
        and known["status"] not in BOOKABLE
        and not holds.was_expired(known)
    ):
        text = f"Appointment/{known['id']} is {known['status']}; this is for one that is {', '.join(BOOKABLE)}."
        raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")
    asked = {**with_patients(wanted.appointment or known or {}, wanted.people, server.base), **wanted.more}
    found = wanted.proposed or (known is not None and (bool(holds.expires_of(known)) or holds.was_expired(known)))
    asked = _answered(asked, answer, wanted.proposed) if found else asked
    return {name: value for name, value in asked.items() if name != "cancelationReason"}


def _called_off(known: Json, given: Json) -> Json:
    """The stored Appointment cancelled, with the reason that the given one has in whichever place."""
    if known["status"] == "cancelled":
        text = f"Appointment/{known['id']} is cancelled already."
        raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")
    said: Json = {name: given[name] for name in ("cancelationReason", "comment", "extension") if name in given}
    cancelled = reasons.complete({**known, **said, "status": "cancelled"})
    return {"cancelationReason": holds.reason("not-given"), **cancelled}


def _answered(appointment: Json, status: str, proposed: bool) -> Json:
    """Those who were found free take part: tentatively while the time is held, then for sure."""
    waiting = {"needs-action", "tentative"} if proposed else {"tentative"}
    people = [
        {**one, "status": status} if one["status"] in waiting else one for one in appointment.get("participant", ())
    ]
    return {**appointment, "participant": people}


def intent(request: Request, arguments: Arguments) -> Intent:
    """What the request says beside the Appointment."""
    return intending(intent_of(request), arguments)


async def write_bid(
    server: Server, request: Request, bid: Bid, propose: Propose, intent: Intent, replaced: str | None = None
) -> Written:
    """Writes what is asked for, with the records of its newcomers; in the same transaction, so all or nothing, the
    Appointment that it replaces is cancelled."""

    async def ask() -> Sequence[Asked]:
        return await ask_bid(server, bid, propose, replaced)

    named = None if bid.new else f"Appointment/{bid.id}"
    written = await write_all(server, ask, named=named, who=request.principal, intent=intent, replay=replay_of(request))
    return written[-1]


async def ask_bid(server: Server, bid: Bid, propose: Propose, replaced: str | None) -> Sequence[Asked]:
    """The writes that a bid asks for at present, the last one that of the Appointment."""
    references, records = await enroll(server, bid.newcomers)

    def with_newcomers(before: Stored | None) -> Json | Unchanged | None:
        wanted = propose(before)
        return _join(wanted, bid.newcomers, references, server.base) if isinstance(wanted, dict) else wanted

    gone = [Asked("Appointment", replaced, _give_way)] if replaced else []
    return [*records, *gone, Asked("Appointment", bid.id, with_newcomers, "POST" if bid.new else "PUT", bid.new)]


def _join(appointment: Json, newcomers: Sequence[Newcomer], references: Sequence[str], base: str) -> Json:
    """The Appointment with the newcomers under their references, in what is contained in it too."""
    local = {one.local: reference for one, reference in zip(newcomers, references, strict=True) if one.local}
    others = [reference for one, reference in zip(newcomers, references, strict=True) if not one.local]
    joined = rewrite(appointment, lambda link, is_reference: local.get(link, link) if is_reference else link)
    return with_patients(joined, others, base)


def _give_way(before: Stored | None) -> Json:
    """The Appointment that another one is booked instead of."""
    known = before.resource if before else None
    if known is None:
        raise FhirError("not-found", "There is no such Appointment to cancel.", "cancelled-appt-id", status=422)
    if known["status"] not in (*lifecycle.OCCUPYING - {"fulfilled"}, *BOOKABLE):
        text = f"Appointment/{known['id']} is {known['status']} and cannot be replaced."
        raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")
    return {**known, "status": "cancelled", "cancelationReason": holds.reason("replaced")}


def replacing(appointment: Json, replaced: str | None) -> Json:
    """The Appointment that says which one it replaces."""
    if replaced is None or any(one.get("url") == REPLACES for one in appointment.get("extension", ())):
        return appointment
    said = {"url": REPLACES, "valueReference": {"reference": f"Appointment/{replaced}"}}
    return {**appointment, "extension": [*appointment.get("extension", ()), said]}
