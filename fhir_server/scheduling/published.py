"""What a write of a Slot does: an EHR's own Slots take or offer time beside the computed ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Claim, Claimed, Decision, Event, Matching, Plan, Stored, Write
from fhir_server.scheduling import holds, lifecycle, slots
from fhir_server.scheduling.elements import instant, is_computed, target
from fhir_server.scheduling.finding import by_actor, load_bookables, places_left, refuse_far
from fhir_server.scheduling.policy import Change
from fhir_server.scheduling.visit import occupies

TAKING = frozenset({"busy", "busy-tentative", "busy-unavailable"})

BOOKED = frozenset({"busy", "busy-tentative"})
"""What a booking makes of a Slot."""


def decide(change: Change) -> Plan[Decision]:
    """A busy Slot takes the time of its Schedule's actors as a block; a free one gives it back; one that turns from
    free to tentative holds it for a while, as $hold does. Refuses a Slot of no Schedule here, an illegal move, a hold
    of what is taken, and changing what a live Appointment stands on."""
    before = change.before.resource if change.before else None
    after = change.after
    version = change.before.version if change.before else 0
    owner = f"Slot/{change.id}"
    booked = yield from _live_appointments(change)
    if booked and not change.recording:
        _refuse_pulling(before, after, booked)
    if after is None:
        return Decision((Write("Slot", change.id, None, version),), {owner: ()}, freed=_freed(before, None))
    if before and (illegal := lifecycle.refuse_move("Slot", before["status"], after["status"])):
        raise FhirError.of([illegal])
    schedule = target(after["schedule"], change.policy.base)
    refuse_far(instant(after["start"]), instant(after["end"]), "Slot.start")
    _refuse_reserved(change, after, schedule)
    schedules = (yield [ById(frozenset({schedule} if schedule else ()))])[0]
    if not schedules:
        text = "The Slot's Schedule does not exist here."
        raise FhirError("not-found", text, "Slot.schedule", problem="schedule-unknown", status=422)
    claims: tuple[Claim, ...] = ()
    until = _held_until(change, before, after, booked)
    after = holds.with_expiry(after, until)
    if _blocks(before, after, booked):
        bookables = yield from load_bookables([one for one in schedules if isinstance(one, Stored)], change.policy)
        times = instant(after["start"]), instant(after["end"])
        capacity = 0 if until is None else 1
        actors = sorted(bookables[0].claimed)
        claims = tuple(Claim(actor, *times, owner, *times, capacity=capacity, expires=until) for actor in actors)
        allowed = holds.allowance(change, after)
        if until:
            yield from _refuse_taken(claims, allowed)
        claims = (*claims, *allowed)
    event = Event(owner, "update" if before else "create", before["status"] if before else None, after["status"])
    return Decision((Write("Slot", change.id, after, version),), {owner: claims}, (event,), freed=_freed(before, after))


def _held_until(change: Change, before: Json | None, after: Json, booked: Sequence[str]) -> datetime | None:
    """When the hold ends, None if it is none. Under an Appointment that is said by the Appointment alone."""
    if before is None or not booked or change.recording:
        return holds.slot_until(change, before, after)
    return holds.expires_of(before) if after["status"] in BOOKED else None


def _freed(before: Json | None, after: Json | None) -> tuple[tuple[datetime, datetime], ...]:
    """The time that the Slot gives back."""
    if before is None or before["status"] not in TAKING or (after and after["status"] in TAKING):
        return ()
    return ((instant(before["start"]), instant(before["end"])),)


def _refuse_taken(wanted: Sequence[Claim], allowed: Sequence[Claim]) -> Plan[None]:
    """Refuses to hold what others have, and too many holds."""
    first = wanted[0]
    loads = [Claimed(frozenset(one.actor for one in wanted), first.start, first.end)]
    found = yield [*loads, *(Claimed(frozenset({one.actor}), one.start, one.end) for one in allowed)]
    taken = by_actor([claim for each in found for claim in each if isinstance(claim, Claim)])
    holds.refuse_too_many(allowed, taken)
    if places_left(taken, wanted) < 1:
        raise FhirError("conflict", "The time of the Slot is taken.", "Slot.status", problem="slot-not-free")


def _blocks(before: Json | None, after: Json, booked: Sequence[str]) -> bool:
    """Whether the EHR takes the time itself. A Slot that a booking made busy is not taken once more."""
    by_booking = booked and before and before["status"] in BOOKED and after["status"] in BOOKED
    return after["status"] in TAKING and not by_booking


def _refuse_reserved(change: Change, after: Json, schedule: str | None) -> None:
    """Refuses an id that is a computed Slot's of another Schedule or time, and the tag of one on any other id."""
    parsed = slots.parse_slot_id(change.id)
    times = instant(after["start"]), instant(after["end"])
    own = parsed and (f"Schedule/{parsed[0]}", parsed[1], parsed[1] + timedelta(minutes=parsed[2])) == (
        schedule,
        *times,
    )
    if (parsed and not own) or (is_computed(after) and not own):
        text = "Ids of this form, and the tag `computed`, are for the Slot that the server computes at that time."
        raise FhirError("business-rule", text, "Slot.id", problem="slot-id-reserved")


def _live_appointments(change: Change) -> Plan[Sequence[str]]:
    """The Appointments that occupy this Slot now."""
    if change.before is None:
        return ()
    found = (yield [Matching("Appointment", {"slot": frozenset({f"Slot/{change.id}"})})])[0]
    return [
        f"Appointment/{one.id}"
        for one in found
        if isinstance(one, Stored)
        and one.resource
        and occupies(one.resource, change.now)
        and instant(one.resource["end"]) > change.now
    ]


def _refuse_pulling(before: Json | None, after: Json | None, booked: Sequence[str]) -> None:
    """Refuses to delete, move or free the Slot under a live Appointment."""
    kept = ("schedule", "start", "end")
    same = before and after and all(before.get(element) == after.get(element) for element in kept)
    freed = before and after and before["status"] in TAKING and after["status"] not in TAKING
    freed = freed or (after and after["status"] == "entered-in-error")
    if not same or freed:
        text = f"The Slot is booked ({len(booked)} appointment(s)): cancel or move the Appointment instead."
        raise FhirError("conflict", text, "Slot.status", problem="slot-in-use")
