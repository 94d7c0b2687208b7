"""Appointment and Encounter kept in step (http://hl7.org/fhir/R4/appointment.html#statuses, workflow note).

Arrival begins the Encounter, finishing the Encounter fulfils the Appointment and the other way round; whichever was
written, the other follows in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Decision, Event, Matching, Plan, Stored, Write
from fhir_server.scheduling import lifecycle
from fhir_server.scheduling.elements import instant, kind, say, target, targets
from fhir_server.scheduling.policy import Change

CLASS = {
    "virtual": {
        "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "code": "VR",
        "display": "virtual",
    },
    "ambulatory": {
        "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "code": "AMB",
        "display": "ambulatory",
    },
}

OPEN = frozenset({"planned", "arrived", "triaged", "in-progress", "onleave", "unknown"})
"""Encounters that an Appointment's end still changes."""


def follow_appointment(change: Change, before: Json | None, after: Json | None) -> Plan[tuple[Write, ...]]:
    """The Encounters that a move of the Appointment's status, or its deletion, begins, ends or calls off."""
    old, new = (before or {}).get("status"), (after or {}).get("status")
    if old == new or new not in FOLLOWED or (before is None and (change.recording or new not in lifecycle.PRESENT)):
        return ()
    reference = f"Appointment/{change.id}"
    found = (yield [Matching("Encounter", {"appointment": frozenset({reference})})])[0]
    going = [one for one in found if isinstance(one, Stored) and one.resource and one.resource["status"] in OPEN]
    if after and new in lifecycle.PRESENT:
        if not going and change.policy.encounter_on_arrival:
            return (Write("Encounter", change.fresh_id, _begin(change, after, reference), 0),)
        return _moves([one for one in going if _status(one) == "planned"], "arrived", change)
    if new == "fulfilled":
        return _moves(going, "finished", change)
    if new == "booked":
        return _moves(
            [one for one in going if old in lifecycle.PRESENT and _status(one) != "planned"], "cancelled", change
        )
    return _moves(going, "cancelled", change)


FOLLOWED = frozenset({*lifecycle.PRESENT, *lifecycle.RELEASED, "fulfilled", "booked", None})
"""The statuses of an Appointment, None for its deletion, that Encounters follow."""


def _status(stored: Stored) -> str:
    return str((stored.resource or {})["status"])


def _moves(going: Sequence[Stored], status: str, change: Change) -> tuple[Write, ...]:
    """The Encounters in their new status; one that cannot move there legally stays as it is."""
    return tuple(
        _move(one, status, change) for one in going if not lifecycle.refuse_move("Encounter", _status(one), status)
    )


def _begin(change: Change, appointment: Json, reference: str) -> Json:
    """The Encounter of an arrival: patient, practitioners, place, type and reason handed over."""
    base = change.policy.base
    present = [one["actor"] for one in appointment["participant"] if "actor" in one and one["status"] != "declined"]
    moment = say(change.now)
    encounter: Json = {
        "resourceType": "Encounter",
        "status": "arrived",
        "class": CLASS["virtual" if _is_virtual(appointment) else "ambulatory"],
    }
    if "serviceType" in appointment:
        encounter["type"] = appointment["serviceType"]
        encounter["serviceType"] = appointment["serviceType"][0]
    patients = [actor for actor in present if _is(actor, base, "Patient")]
    if patients:
        encounter["subject"] = patients[0]
    encounter["appointment"] = [{"reference": reference}]
    people = [actor for actor in present if _is(actor, base, "Practitioner", "PractitionerRole")]
    places = [actor for actor in present if _is(actor, base, "Location")]
    encounter["period"] = {"start": moment}
    if people:
        encounter["participant"] = [{"individual": actor} for actor in people]
    for element in ("reasonCode", "reasonReference"):
        if element in appointment:
            encounter[element] = appointment[element]
    if places:
        encounter["location"] = [{"location": actor, "status": "active"} for actor in places]
    return encounter


def _is(actor: Json, base: str, *types: str) -> bool:
    found = target(actor, base)
    return found is not None and kind(found) in types


def _is_virtual(appointment: Json) -> bool:
    codings = [coding for one in appointment.get("serviceType", ()) for coding in one.get("coding", ())]
    extensions = appointment.get("extension", ())
    return any(coding.get("code") in ("VR", "telehealth") for coding in codings) or any(
        "virtualService" in one.get("url", "") for one in extensions
    )


def _move(stored: Stored, status: str, change: Change) -> Write:
    resource = stored.resource or {}
    return Write("Encounter", stored.id, with_status(resource, status, change), stored.version)


def with_status(encounter: Json, status: str, change: Change) -> Json:
    """The Encounter in its new status, the former one added to statusHistory and, at its end, the period closed."""
    history = list(encounter.get("statusHistory", ()))
    period = encounter.get("period", {})
    begun = history[-1]["period"].get("end") if history else period.get("start")
    past = {"start": _not_after(begun, change.now), "end": say(change.now)} if begun else {"end": say(change.now)}
    moved = {
        **encounter,
        "status": status,
        "statusHistory": [*history, {"status": encounter["status"], "period": past}],
    }
    if status in ("finished", "cancelled") and "end" not in period:
        start = {"start": _not_after(period["start"], change.now)} if "start" in period else {}
        moved["period"] = {**period, **start, "end": say(change.now)}
    return moved


def _not_after(moment: str, now: datetime) -> str:
    """The dateTime, or now if it is later: what has ended has begun before."""
    return say(now) if "T" in moment and instant(moment) > now else moment


def decide(change: Change) -> Plan[Decision]:
    """What a write of an Encounter does: refuses an illegal move, and takes its Appointments along."""
    before = change.before.resource if change.before else None
    after = change.after
    version = change.before.version if change.before else 0
    if after is None:
        return Decision((Write("Encounter", change.id, None, version),))
    if before and (illegal := lifecycle.refuse_move("Encounter", before["status"], after["status"])):
        raise FhirError.of([illegal])
    event = Event(
        f"Encounter/{change.id}",
        "update" if before else "create",
        before["status"] if before else None,
        after["status"],
    )
    write = Write("Encounter", change.id, after, version)
    named = tuple(targets(after.get("appointment", ()), change.policy.base, "Appointment"))
    same = before and before["status"] == after["status"] and before.get("appointment") == after.get("appointment")
    if not named or same:
        return Decision((write,), events=(event,))
    stored = [one for one in (yield [ById(frozenset(named))])[0] if isinstance(one, Stored)]
    if missing := set(named) - {f"Appointment/{one.id}" for one in stored}:
        text = f"{', '.join(sorted(missing))} does not exist here."
        raise FhirError("not-found", text, "Encounter.appointment", problem="appointment-unknown", status=422)
    moves = [move for one in stored for move in _follow_encounter(one, after["status"], change)]
    events = tuple(move[1] for move in moves)
    return Decision((write, *(move[0] for move in moves)), events=(event, *events))


def _follow_encounter(stored: Stored, status: str, change: Change) -> Iterator[tuple[Write, Event]]:
    """The Appointment's move that the Encounter's status shows to have happened."""
    appointment = stored.resource or {}
    old = appointment["status"]
    if status in lifecycle.UNDER_WAY | {"finished"} and old in lifecycle.RELEASED and not change.recording:
        text = f"Appointment/{stored.id} is {old}: no Encounter can take place for it."
        raise FhirError("business-rule", text, "Encounter.appointment", problem="appointment-released")
    if (
        status in lifecycle.UNDER_WAY | {"finished"}
        and old in ("proposed", "pending", "waitlist")
        and not change.recording
    ):
        text = f"Appointment/{stored.id} is {old}: book it before its Encounter begins."
        raise FhirError("business-rule", text, "Encounter.appointment", problem="not-booked")
    new = None
    if status in lifecycle.UNDER_WAY and old == "booked":
        new = "arrived"
    if status == "finished" and old in ("booked", "arrived", "checked-in"):
        new = "fulfilled"
    if new:
        write = Write("Appointment", stored.id, {**appointment, "status": new}, stored.version)
        yield write, Event(f"Appointment/{stored.id}", "update", old, new)
