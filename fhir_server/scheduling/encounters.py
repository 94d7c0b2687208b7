"""Appointment and Encounter kept in step (http://hl7.org/fhir/R4/appointment.html#statuses, workflow note).

Arrival begins the Encounter, finishing the Encounter fulfils the Appointment and the other way round; whichever was
written, the other follows in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Decision, Event, Matching, Plan, Stored, Write
from fhir_server.scheduling import lifecycle, telehealth
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


STARTED = frozenset({"triaged", "in-progress", "onleave"})
"""Encounters in these statuses show that the patient is being seen: more than that she has come."""


def follow_appointment(change: Change, before: Json | None, after: Json | None) -> Plan[tuple[Write, ...]]:
    """The Encounters that a move of the Appointment's status, or its deletion, begins, ends or calls off. Refuses an
    arrival days before, and to call off a visit that has begun."""
    old, new = (before or {}).get("status"), (after or {}).get("status")
    if old == new or new not in FOLLOWED or (before is None and (change.recording or new not in lifecycle.PRESENT)):
        return ()
    reference = f"Appointment/{change.id}"
    if after and new in lifecycle.PRESENT:
        refuse_early(change, after, "Appointment.status")
    found = (yield [Matching("Encounter", {"appointment": frozenset({reference})})])[0]
    going = [one for one in found if isinstance(one, Stored) and one.resource and one.resource["status"] in OPEN]
    if after and new in lifecycle.PRESENT:
        begun = _begin_missing(change, after, reference, going) if change.policy.encounter_on_arrival else ()
        return (*begun, *_moves([one for one in going if _status(one) == "planned"], "arrived", change))
    if new == "fulfilled":
        return _moves(going, "finished", change)
    if new == "booked":
        going = [one for one in going if old in lifecycle.PRESENT and _status(one) != "planned"]
    _refuse_begun(change, new, going)
    return _moves(going, "cancelled", change)


def refuse_early(change: Change, appointment: Json, where: str) -> None:
    """Refuses that somebody has come longer before the start than the policy allows: that is another day's visit."""
    least = timedelta(minutes=change.policy.arrival_minutes_max)
    if change.recording or "start" not in appointment or instant(appointment["start"]) - change.now <= least:
        return
    text = (
        f"The appointment begins at {appointment['start']}: nobody arrives for it before "
        f"{say(instant(appointment['start']) - least)}. Move it first if the patient is there."
    )
    raise FhirError("business-rule", text, where, problem="too-early")


def _refuse_begun(change: Change, status: str | None, going: Iterable[Stored]) -> None:
    """Refuses to call off a visit that the patient has come to, as a no-show, or that is under way, as anything; the
    policy can let the latter go with its Encounter."""
    if change.recording or (status != "noshow" and change.policy.cancel_after_start == "cascade"):
        return
    begun = lifecycle.UNDER_WAY if status == "noshow" else STARTED
    for one in going:
        if _status(one) in begun:
            text = f"The visit has begun: Encounter/{one.id} is {_status(one)}. Finish it, or cancel it first."
            raise FhirError("business-rule", text, "Appointment.status", problem="visit-begun")


def _begin_missing(change: Change, appointment: Json, reference: str, going: Sequence[Stored]) -> tuple[Write, ...]:
    """An Encounter for each patient that comes and has none: a group's visit is one for each."""
    base = change.policy.base
    subjects = [target((one.resource or {}).get("subject"), base) for one in going]
    patients = [
        one["actor"]
        for one in appointment["participant"]
        if _is(one.get("actor", {}), base, "Patient")
        and one["status"] != "declined"
        and one.get("required") != "information-only"
    ]
    if len(patients) < 2 or None in subjects:
        wanted = [] if going else patients[:1] or [None]
    else:
        wanted = [patient for patient in patients if target(patient, base) not in subjects]
    ids = (change.fresh_id, *(f"{change.fresh_id}-{number}" for number in range(2, len(wanted) + 1)))
    return tuple(
        Write("Encounter", id, _begin(change, appointment, reference, patient), 0)
        for id, patient in zip(ids, wanted, strict=False)
    )


FOLLOWED = frozenset({*lifecycle.PRESENT, *lifecycle.RELEASED, "fulfilled", "booked", None})
"""The statuses of an Appointment, None for its deletion, that Encounters follow."""


def _status(stored: Stored) -> str:
    return str((stored.resource or {})["status"])


def _moves(going: Sequence[Stored], status: str, change: Change) -> tuple[Write, ...]:
    """The Encounters in their new status; one that cannot move there legally stays as it is."""
    return tuple(
        _move(one, status, change) for one in going if not lifecycle.refuse_move("Encounter", _status(one), status)
    )


def _begin(change: Change, appointment: Json, reference: str, patient: Json | None) -> Json:
    """The Encounter of a patient's arrival: practitioners, place, type and reason handed over."""
    base = change.policy.base
    present = [one["actor"] for one in appointment["participant"] if "actor" in one and one["status"] != "declined"]
    moment = say(change.now)
    encounter: Json = {
        "resourceType": "Encounter",
        "status": "arrived",
        "class": CLASS["virtual" if telehealth.is_virtual(appointment) else "ambulatory"],
    }
    if "serviceType" in appointment:
        encounter["type"] = appointment["serviceType"]
        encounter["serviceType"] = appointment["serviceType"][0]
    if patient:
        encounter["subject"] = patient
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
        there = {"status": "active", "period": {"start": moment}}
        encounter["location"] = [{"location": actor, **there} for actor in places]
    return encounter


def _is(actor: Json, base: str, *types: str) -> bool:
    found = target(actor, base)
    return found is not None and kind(found) in types


def _move(stored: Stored, status: str, change: Change) -> Write:
    resource = stored.resource or {}
    return Write("Encounter", stored.id, with_status(resource, status, change), stored.version)


def with_status(encounter: Json, status: str, change: Change) -> Json:
    """The Encounter in its new status, the former one added to statusHistory and, at its end, the period closed and
    every place left."""
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
    if status in ("finished", "cancelled") and "location" in moved:
        moved["location"] = [_left(one, change.now) if _is_there(one) else one for one in moved["location"]]
    return moved


def _is_there(place: Json) -> bool:
    """Whether the patient is at a place of the Encounter, as far as it says."""
    return place.get("status", "active") == "active" and "end" not in place.get("period", {})


def _left(place: Json, now: datetime) -> Json:
    """The place as one that the patient has left by now."""
    period = place.get("period", {})
    start = {"start": _not_after(period["start"], now)} if "start" in period else {}
    return {**place, "status": "completed", "period": {**period, **start, "end": period.get("end", say(now))}}


KEPT = frozenset({"statusHistory", "period", "location"})
"""The elements of an Encounter that tell its history."""


def keep_history(before: Json, after: Json, change: Change) -> Json:
    """What is wanted, with what it leaves out of the history: the former status, and the places where the patient was,
    which are completed; a place that is new is where she is from now on. At its end, that of the period and of the
    places. What the request says itself stays."""
    kept = after
    if before["status"] != after["status"]:
        moved = with_status(before, after["status"], change)
        left_out = {one for one in KEPT if one in moved and before.get(one) == after.get(one)}
        kept = {**after, **{one: moved[one] for one in sorted(left_out)}}
    if before.get("location") != after.get("location") and after["status"] in lifecycle.UNDER_WAY:
        places = list(_places(before, after, change))
        kept = {**kept, "location": places} if places else kept
    return kept


def _places(before: Json, after: Json, change: Change) -> Iterator[Json]:
    """The places that the request leaves out, as left; then those that it names."""
    base = change.policy.base
    wanted = after.get("location", ())
    for place in before.get("location", ()):
        at = target(place["location"], base)
        named = [one for one in wanted if target(one["location"], base) == at]
        if not any(_continues(place, one) for one in named) and place.get("status") not in ("planned", "reserved"):
            yield _left(place, change.now) if _is_there(place) else place
    former = before.get("location", ())
    for place in wanted:
        at = target(place["location"], base)
        known = any(target(one["location"], base) == at and _continues(one, place) for one in former)
        new = not known and "period" not in place and _is_there(place)
        yield {**place, "status": "active", "period": {"start": say(change.now)}} if new else place


def _continues(former: Json, place: Json) -> bool:
    """Whether an entry for the same place is the former one, changed or not: one that was left is not come back to."""
    return _is_there(former) or not _is_there(place)


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
    if before and not change.recording:
        after = keep_history(before, after, change)
    write = Write("Encounter", change.id, after, version)
    named = tuple(targets(after.get("appointment", ()), change.policy.base, "Appointment"))
    same = before and before["status"] == after["status"] and before.get("appointment") == after.get("appointment")
    if not named or same:
        return Decision((write,), events=(event,))
    references = frozenset(named)
    found = yield [ById(references), Matching("Encounter", {"appointment": references})]
    stored, visits = ([one for one in each if isinstance(one, Stored)] for each in found)
    if missing := set(named) - {f"Appointment/{one.id}" for one in stored}:
        text = f"{', '.join(sorted(missing))} does not exist here."
        raise FhirError("not-found", text, "Encounter.appointment", problem="appointment-unknown", status=422)
    others = [one for one in visits if one.id != change.id]
    moves = [move for one in stored for move in _follow_encounter(one, after["status"], change, others)]
    events = tuple(move[1] for move in moves)
    return Decision((write, *(move[0] for move in moves)), events=(event, *events))


def _follow_encounter(
    stored: Stored, status: str, change: Change, others: Sequence[Stored]
) -> Iterator[tuple[Write, Event]]:
    """The Appointment's move that the Encounter's status shows to have happened. Of several Encounters the last one to
    end fulfils it, if any was finished."""
    appointment = stored.resource or {}
    old = appointment["status"]
    base = change.policy.base
    reference = f"Appointment/{stored.id}"
    beside = [_status(one) for one in others if reference in targets((one.resource or {}).get("appointment", ()), base)]
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
    ended = status in ("finished", "cancelled") and "finished" in (status, *beside)
    if ended and lifecycle.UNDER_WAY.isdisjoint(beside) and old in ("booked", "arrived", "checked-in"):
        new = "fulfilled"
    if new:
        refuse_early(change, appointment, "Encounter.status")
        write = Write("Appointment", stored.id, {**appointment, "status": new}, stored.version)
        yield write, Event(f"Appointment/{stored.id}", "update", old, new)
