"""What a write of an Appointment does: the one decision behind every door, with all reasons when it is no.

R4 leaves booking to the server (http://hl7.org/fhir/R4/appointment.html#statuses); the checks and their codes are in
docs/booking.md. Nothing here knows HTTP, the store or the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Claim, Claimed, Decision, Event, Matching, Newest, Plan, Stored, Write
from fhir_server.scheduling import (
    encounters,
    forms,
    holds,
    lifecycle,
    moving,
    overrides,
    policies,
    provenance,
    reasons,
    telehealth,
    waiting,
)
from fhir_server.scheduling.alternatives import refuse
from fhir_server.scheduling.checks import (
    conflicts,
    crowded,
    people_problems,
    slot_problems,
    time_problems,
)
from fhir_server.scheduling.choosing import as_stored, at_slots, choose, handing_over, load_named, wanted_claims
from fhir_server.scheduling.elements import instant, is_computed, kind, say, target
from fhir_server.scheduling.finding import by_actor, claims_on, load_bookables, load_claims, places_left, slot_resource
from fhir_server.scheduling.policy import Change
from fhir_server.scheduling.series import mark_changed
from fhir_server.scheduling.slots import refusals, room_left
from fhir_server.scheduling.visit import (
    Chosen,
    Visit,
    can_answer,
    is_a,
    occupies,
    people_of,
    read_visit,
    slots_of,
    span,
    time_of,
)


def decide(change: Change) -> Plan[Decision]:
    """What creating, changing or deleting an Appointment writes. Refuses with every reason at once: 422 if a rule
    forbids it, 409 if only others stand in the way."""
    before = change.before.resource if change.before else None
    after = change.after
    version = change.before.version if change.before else 0
    owner = f"Appointment/{change.id}"
    holds.refuse_stranger(change, before)
    if after is None:
        freed = yield from _free_slots(_slots_held(before, change), owner, change)
        ended = yield from encounters.follow_appointment(change, before, None)
        given = waiting.freed(before, None, change.policy)
        return Decision((Write("Appointment", change.id, None, version), *freed, *ended), {owner: ()}, freed=given)
    overrides.refuse(change.intent, change.policy)
    after = reasons.complete(after)
    _refuse_status(change, before, after)
    after = moving.follow_length(change, before, (yield from moving.follow_slots(change, before, after)))
    yield from policies.refuse_late(change, before, after)
    after = policies.keep(change, before, after)
    after = mark_changed(change, before, waiting.keep(change, before, holds.keep(change, before, after)))
    writes: tuple[Write, ...] = ()
    claims: Mapping[str, tuple[Claim, ...]] = {}
    if _takes_time(change, before, after):
        after, claims, writes = yield from _book(change, before, after)
    elif not occupies(after, change.now):
        claims = {owner: ()}
        writes = yield from _free_slots(_slots_held(before, change), owner, change)
    elif before and lifecycle.SLOT_STATUS.get(before["status"]) != lifecycle.SLOT_STATUS[after["status"]]:
        writes = yield from _restate_slots(after, change)
    kept = yield from encounters.follow_appointment(change, before, after)
    event = _event(owner, before, after)
    given = waiting.freed(before, after, change.policy)
    return Decision((Write("Appointment", change.id, after, version), *writes, *kept), claims, (event,), freed=given)


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
    if not occupies(after, change.now):
        return False
    if "start" not in after or "end" not in after:
        text = f"An Appointment that is {after['status']} needs a start and an end."
        raise FhirError("required", text, "Appointment.start", status=422)
    over = instant(after["end"]) <= change.now
    if before and occupies(before, change.now):
        moved = time_of(before, change.policy) != time_of(after, change.policy)
        joined = people_of(before, change.policy) != people_of(after, change.policy)
        held = holds.expires_of(before) != holds.expires_of(after)
        asked = change.intent.asking and before["status"] != after["status"]
        return (moved and not _is_shortened(before, after, change)) or held or ((joined or asked) and not over)
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
    visit = read_visit(change, before, at_slots(visit, slots_found))
    bookables = yield from load_bookables(schedules, change.policy, known)
    chosen, problems = choose(visit, bookables, slots_found, known)
    wanted = wanted_claims(visit, chosen, known)
    allowed = holds.allowance(change, after, visit.patients)
    chosen, taken, handed_over = yield from _look(visit, chosen, [*wanted, *allowed])
    holds.refuse_too_many(allowed, taken)
    problems += people_problems(visit, chosen, known)
    problems += time_problems(visit, chosen)
    problems += slot_problems(visit, chosen, before, handed_over)
    unheld = [claim for claim in wanted if not any(map(claim.renews, taken.get(claim.actor, ())))]
    problems += conflicts(visit, unheld, taken, known)
    problems += yield from forms.problems(visit, chosen)
    standing = overrides.standing(problems, change.intent)
    if standing:
        yield from refuse(visit, chosen, wanted, standing)
    told = provenance.record(change, problems)
    visit = _unconfirmed(visit, chosen)
    wanted = overrides.force(wanted, crowded(unheld, taken), taken)
    writes = _take_slots(visit, chosen, taken)
    on = [f"Slot/{one.slot_id}" for one in chosen if one.slot_id]
    left = [one for one in _slots_held(before, change) if one not in on]
    freed = yield from _free_slots(left, visit.owner, change)
    claims = {visit.owner: (*_until(wanted, visit.resource), *allowed), **dict.fromkeys(handed_over, ())}
    booked = telehealth.with_link(_on_slots(_ask_again(visit), on, change), visit, chosen)
    return booked, claims, (*writes, *freed, *told)


def _unconfirmed(visit: Visit, chosen: Sequence[Chosen]) -> Visit:
    """The visit, pending if it is only asked for and one of its Schedules wants to confirm it: its people are asked.
    What the waiting list offers they have agreed to."""
    agreed = visit.former is not None and (visit.former["status"] != "pending" or waiting.waits(visit.former))
    confirmed = agreed and not visit.moved
    wants = any(one.bookable.calendar.parameters.confirmation_required for one in chosen)
    if not visit.change.intent.asking or confirmed or not wants:
        return visit
    base = visit.change.policy.base
    people = [
        {**one, "status": "needs-action"}
        if one["status"] == "accepted" and is_a(one, base, "Practitioner", "PractitionerRole")
        else one
        for one in visit.resource["participant"]
    ]
    return replace(visit, resource={**visit.resource, "status": "pending", "participant": people})


def _until(wanted: Iterable[Claim], appointment: Json) -> Iterator[Claim]:
    """The claims, of a hold as long as it lasts."""
    expires = holds.expires_of(appointment) if appointment["status"] == "pending" else None
    return (replace(claim, expires=expires) for claim in wanted)


def _look(
    visit: Visit, chosen: Sequence[Chosen], wanted: Sequence[Claim]
) -> Plan[tuple[list[Chosen], dict[str, list[Claim]], frozenset[str]]]:
    """The choices as they are stored, what is taken by others, and the Slots that hand over to the visit what their
    writer took for it; one batch."""
    load = load_claims([one.bookable for one in chosen], (claim.actor for claim in wanted), visit.start, visit.end)
    computed = frozenset(f"Slot/{one.slot_id}" for one in chosen if one.slot_id and not one.published)
    here = Matching(
        "Slot",
        {"schedule": frozenset(one.bookable.reference for one in chosen), "status": frozenset({"*|free"})},
        ("start", visit.start, visit.start + timedelta(milliseconds=1)),
    )
    apart = [Claimed(frozenset({one.actor}), one.start, one.end) for one in wanted if kind(one.actor) == "Client"]
    claimed, *found = yield [load, Newest(computed), here, *apart]
    stored = as_stored(visit, chosen, [*found[0], *found[1]])
    handed_over = handing_over(visit, stored, frozenset(one.owner for one in claimed if isinstance(one, Claim)))
    claims = [one for each in (claimed, *found[2:]) for one in each if isinstance(one, Claim)]
    return stored, by_actor([one for one in claims if one.owner not in handed_over]), handed_over


def _slots_held(appointment: Json | None, change: Change) -> tuple[str, ...]:
    """The Slots that the Appointment stands on, also those of a hold that is over and was not put away yet."""
    status = (appointment or {}).get("status")
    return slots_of(appointment, change.policy) if status in lifecycle.OCCUPYING else ()


def _ask_again(visit: Visit) -> Json:
    """The Appointment; after a change of its time those who had agreed to the former one are asked again, unless the
    change says what they answer (http://hl7.org/fhir/R4/appointment.html#notes)."""
    former = visit.former
    if former is None or former["status"] not in ASKING_AGAIN:
        return visit.resource
    if visit.keeps_time:
        return visit.resource
    base = visit.change.policy.base
    agreed = [_answer(one, base) for one in former["participant"] if one["status"] in AGREED and can_answer(one)]
    asked = [
        {**one, "status": "needs-action"} if _answer(one, base) in agreed else one
        for one in visit.resource["participant"]
    ]
    return {**visit.resource, "participant": asked}


def _answer(participant: Json, base: str) -> tuple[object, ...]:
    """Who answers what, however it is written."""
    actor = participant.get("actor")
    return target(actor, base) or actor, participant.get("type"), participant["status"]


AGREED = frozenset({"accepted", "tentative"})


ASKING_AGAIN = frozenset({"pending", "booked"})


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
        resource = holds.on_slot(resource, visit.resource)
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
    shut = yield from _closed_since(given, change)
    return tuple(
        Write("Slot", one.id, _given_back(one.resource or {}, one.id in shut), one.version)
        for one, (start, end) in zip(given, times, strict=True)
        if _has_room(taken.get(_schedule_of(one, change), ()), _schedule_of(one, change), start, end, owner)
    )


def _given_back(slot: Json, closed: bool) -> Json:
    return holds.with_expiry({**slot, "status": "busy-unavailable" if closed else "free"}, None)


CLOSED = frozenset({"schedule-inactive", "blocked"})
"""What keeps an EHR's own Slot from being offered again when its booking is called off."""


def _closed_since(given: Sequence[Stored], change: Change) -> Plan[frozenset[str]]:
    """The ids of those Slots that an EHR published and whose Schedule is no longer open then. Computed ones say so
    whenever they are read."""
    own = [one for one in given if one.resource and not is_computed(one.resource)]
    if not own:
        return frozenset()
    found = (yield [ById(frozenset(_schedule_of(one, change) for one in own))])[0]
    bookables = yield from load_bookables([one for one in found if isinstance(one, Stored)], change.policy)
    calendars = {one.reference: one.calendar for one in bookables}
    return frozenset(
        one.id
        for one in own
        if (slot := one.resource)
        and (calendar := calendars.get(_schedule_of(one, change)))
        and not CLOSED.isdisjoint(refusals(calendar, instant(slot["start"]), instant(slot["end"]), change.now))
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
        Write("Slot", one.id, holds.on_slot({**one.resource, "status": status}, appointment), one.version)
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
