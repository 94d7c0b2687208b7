"""What a write of an Appointment does: the one decision behind every door, with all reasons when it is no.

R4 leaves booking to the server (http://hl7.org/fhir/R4/appointment.html#statuses); the checks and their codes are in
docs/booking.md. Nothing here knows HTTP, the store or the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Claim, Claimed, Decision, Event, Matching, Newest, Plan, Stored, Write
from fhir_server.scheduling import encounters, lifecycle
from fhir_server.scheduling.alternatives import refuse
from fhir_server.scheduling.checks import conflicts, people_problems, slot_problems, time_problems
from fhir_server.scheduling.choosing import as_stored, choose, load_named, wanted_claims
from fhir_server.scheduling.elements import instant, say, target
from fhir_server.scheduling.finding import by_actor, claims_on, load_bookables, load_claims, places_left, slot_resource
from fhir_server.scheduling.policy import Change
from fhir_server.scheduling.slots import room_left
from fhir_server.scheduling.visit import Chosen, Visit, occupies, people_of, read_visit, slots_of, span, time_of


def decide(change: Change) -> Plan[Decision]:
    """What creating, changing or deleting an Appointment writes. Refuses with every reason at once: 422 if a rule
    forbids it, 409 if only others stand in the way."""
    before = change.before.resource if change.before else None
    after = change.after
    version = change.before.version if change.before else 0
    owner = f"Appointment/{change.id}"
    if after is None:
        held = slots_of(before, change.policy) if before and occupies(before) else ()
        freed = yield from _free_slots(held, owner, change)
        ended = yield from encounters.follow_appointment(change, before, None)
        return Decision((Write("Appointment", change.id, None, version), *freed, *ended), {owner: ()})
    _refuse_status(change, before, after)
    writes: tuple[Write, ...] = ()
    claims: Mapping[str, tuple[Claim, ...]] = {}
    if _takes_time(change, before, after):
        after, claims, writes = yield from _book(change, before, after)
    elif not occupies(after):
        claims = {owner: ()}
        if before and occupies(before):
            writes = yield from _free_slots(slots_of(before, change.policy), owner, change)
    elif before and lifecycle.SLOT_STATUS.get(before["status"]) != lifecycle.SLOT_STATUS[after["status"]]:
        writes = yield from _restate_slots(after, change)
    kept = yield from encounters.follow_appointment(change, before, after)
    event = _event(owner, before, after)
    return Decision((Write("Appointment", change.id, after, version), *writes, *kept), claims, (event,))


def _event(owner: str, before: Json | None, after: Json) -> Event:
    cancelled = after["status"] == "cancelled" and (before or {}).get("status") != "cancelled"
    reason = after.get("cancelationReason", {})
    code = next((coding.get("code") for coding in reason.get("coding", ())), None)
    return Event(
        owner,
        "update" if before else "create",
        before["status"] if before else None,
        after["status"],
        code,
        "high" if cancelled else "normal",
    )


def _refuse_status(change: Change, before: Json | None, after: Json) -> None:
    """Refuses an illegal move, a cancellation without a reason, and what cannot have happened yet."""
    new = after["status"]
    if before and (illegal := lifecycle.refuse_move("Appointment", before["status"], new)):
        raise FhirError.of([illegal])
    if change.recording:
        return
    if new == "cancelled" and "cancelationReason" not in after:
        text = "A cancellation needs a reason: give Appointment.cancelationReason."
        raise FhirError("required", text, "Appointment.cancelationReason", problem="reason-required", status=422)
    if before and before["status"] == new:
        return
    planned = before if before and "start" in before else after
    start = instant(planned["start"]) if "start" in planned else None
    if new == "noshow" and start and change.policy.noshow_waits_for_join_window:
        closes = start + timedelta(minutes=change.policy.join_window_after_minutes)
        if change.now < closes:
            text = f"The patient can still come: a no-show can be recorded from {say(closes)}."
            raise FhirError("business-rule", text, "Appointment.status", problem="join-window-open")
    if new == "fulfilled" and before is None and start and start > change.now:
        text = "An appointment in the future cannot be fulfilled: book it first."
        raise FhirError("business-rule", text, "Appointment.status", problem="not-begun")


def _takes_time(change: Change, before: Json | None, after: Json) -> bool:
    """Whether the Appointment takes time that it does not have yet. A visit that is over takes none: writing it
    down is a record."""
    if not occupies(after):
        return False
    if "start" not in after or "end" not in after:
        text = f"An Appointment that is {after['status']} needs a start and an end."
        raise FhirError("required", text, "Appointment.start", status=422)
    over = instant(after["end"]) <= change.now
    if before and occupies(before):
        moved = time_of(before, change.policy) != time_of(after, change.policy)
        joined = people_of(before, change.policy) != people_of(after, change.policy)
        return (moved and not _is_shortened(before, after, change)) or (joined and not over)
    return not over or (after["status"] in ("pending", "booked") and not change.recording)


def _is_shortened(before: Json, after: Json, change: Change) -> bool:
    """Whether a visit that took place only ended earlier, or began later, than was planned."""
    if after["status"] != "fulfilled" or slots_of(before, change.policy) != slots_of(after, change.policy):
        return False
    return instant(before["start"]) <= instant(after["start"]) <= instant(after["end"]) <= instant(before["end"])


def _book(
    change: Change, before: Json | None, after: Json
) -> Plan[tuple[Json, Mapping[str, tuple[Claim, ...]], tuple[Write, ...]]]:
    """The Appointment with its Slots filled in, its claims, and the Slots it takes and gives back."""
    visit = read_visit(change, before, after)
    known, slots_found, schedules = yield from load_named(visit)
    bookables = yield from load_bookables(schedules, change.policy, known)
    chosen, problems = choose(visit, bookables, slots_found, known)
    wanted = wanted_claims(visit, chosen, known)
    load = load_claims([one.bookable for one in chosen], (claim.actor for claim in wanted), visit.start, visit.end)
    computed = frozenset(f"Slot/{one.slot_id}" for one in chosen if one.slot_id and not one.published)
    schedules_on = frozenset(one.bookable.reference for one in chosen)
    here = Matching(
        "Slot",
        {"schedule": schedules_on, "status": frozenset({"*|free"})},
        ("start", visit.start, visit.start + timedelta(milliseconds=1)),
    )
    found = yield [load, Newest(computed), here]
    taken = by_actor(found[0])
    chosen = as_stored(visit, chosen, [*found[1], *found[2]])
    problems += people_problems(visit, chosen, known)
    problems += time_problems(visit, chosen)
    problems += slot_problems(visit, chosen, before)
    problems += conflicts(visit, wanted, taken, known)
    if problems:
        yield from refuse(visit, chosen, wanted, problems)
    writes = _take_slots(visit, chosen, taken)
    on = [f"Slot/{one.slot_id}" for one in chosen if one.slot_id]
    held = slots_of(before, change.policy) if before and occupies(before) else ()
    left = [one for one in held if one not in on]
    freed = yield from _free_slots(left, visit.owner, change)
    return _on_slots(after, on, change), {visit.owner: wanted}, (*writes, *freed)


def _on_slots(appointment: Json, on: Sequence[str], change: Change) -> Json:
    """The Appointment with the Slots that it is on; what it says of Slots elsewhere stays as it is."""
    base = change.policy.base
    said = appointment.get("slot", ())
    kept = [one for one in said if (target(one, base) or "") in on or not (target(one, base) or "").startswith("Slot/")]
    known = {target(one, base) for one in kept}
    slots = [*kept, *({"reference": reference} for reference in on if reference not in known)]
    return {**appointment, "slot": slots} if slots else {k: v for k, v in appointment.items() if k != "slot"}


def _take_slots(visit: Visit, chosen: Sequence[Chosen], taken: Mapping[str, Sequence[Claim]]) -> tuple[Write, ...]:
    """The Slots as they are once the visit has its place: busy when no place is left."""
    writes = []
    for one in chosen:
        if one.slot_id is None:
            continue
        start, end = span(one)
        claims = claims_on(one.bookable, start, end, visit.owner, visit.units)
        left = places_left(taken, claims) - visit.units
        status = lifecycle.SLOT_STATUS[visit.resource["status"]] if left <= 0 else "free"
        stored = one.stored.resource if one.stored else None
        resource = (
            {**stored, "status": status}
            if stored and one.published
            else slot_resource(one.bookable, one.slot_id, start, end, max(left, 0), status)
        )
        writes.append(Write("Slot", one.slot_id, resource, one.stored.version if one.stored else 0))
    return tuple(writes)


def _free_slots(references: Iterable[str], owner: str, change: Change) -> Plan[tuple[Write, ...]]:
    """The Slots that the Appointment gives back: not those of a time that is over, nor those that others fill."""
    stored = yield from _load_slots(references)
    given = [
        one
        for one in stored
        if one.resource
        and one.resource["status"] in ("busy", "busy-tentative")
        and instant(one.resource["end"]) > change.now
    ]
    if not given:
        return ()
    times = [(instant(slot["start"]), instant(slot["end"])) for one in given if (slot := one.resource)]
    schedules = frozenset(_schedule_of(one, change) for one in given)
    earliest, latest = min(start for start, _ in times), max(end for _, end in times)
    taken = by_actor((yield [Claimed(schedules, earliest, latest)])[0])
    return tuple(
        Write("Slot", one.id, {**(one.resource or {}), "status": "free"}, one.version)
        for one, (start, end) in zip(given, times, strict=True)
        if _has_room(taken.get(_schedule_of(one, change), ()), _schedule_of(one, change), start, end, owner)
    )


def _schedule_of(slot: Stored, change: Change) -> str:
    return target((slot.resource or {}).get("schedule"), change.policy.base) or ""


def _has_room(taken: Sequence[Claim], schedule: str, start: datetime, end: datetime, owner: str) -> bool:
    """Whether one more fits beside the others that are on the Schedule then."""
    capacity = max((claim.capacity for claim in taken if claim.owner != owner), default=1)
    return room_left(taken, Claim(schedule, start, end, owner, start, end, schedule, capacity)) > 0


def _restate_slots(appointment: Json, change: Change) -> Plan[tuple[Write, ...]]:
    """The Slots of an Appointment that became sure, or tentative again."""
    stored = yield from _load_slots(slots_of(appointment, change.policy))
    status = lifecycle.SLOT_STATUS[appointment["status"]]
    return tuple(
        Write("Slot", one.id, {**one.resource, "status": status}, one.version)
        for one in stored
        if one.resource and one.resource["status"] in ("busy", "busy-tentative")
    )


def _load_slots(references: Iterable[str]) -> Plan[Sequence[Stored]]:
    wanted = frozenset(references)
    if not wanted:
        return ()
    return [one for one in (yield [ById(wanted)])[0] if isinstance(one, Stored)]


BINDING: Mapping[str, str] = {"Schedule": "actor", "PractitionerRole": "practitioner"}
"""The element that says whose time a booking takes: as long as there are bookings it stays."""


def keep_booked(change: Change) -> Plan[Decision]:
    """The write itself. Refused is to delete what is booked in the future, or to put somebody else behind it."""
    before = change.before.resource if change.before else None
    version = change.before.version if change.before else 0
    write = Write(change.type, change.id, change.after, version)
    reference = f"{change.type}/{change.id}"
    element = BINDING.get(change.type)
    rebound = bool(before and change.after and element and before.get(element) != change.after.get(element))
    if change.after is None or rebound:
        found = (yield [Matching("Schedule", {"actor": frozenset({reference})})])[0]
        schedules = {f"Schedule/{one.id}" for one in found if isinstance(one, Stored)}
        far = change.now + timedelta(days=36_500)
        if (yield [Claimed(frozenset({reference, *schedules}), change.now, far)])[0]:
            text = f"{reference} is booked in the future: cancel or move those appointments first."
            where = f"{change.type}.{element}" if rebound else change.type
            raise FhirError("conflict", text, where, problem="has-bookings")
    if change.after is None:
        return Decision((write,), closes=frozenset({reference}))
    back = change.before is not None and before is None
    return Decision((write,), opens=frozenset({reference}) if back else frozenset())
