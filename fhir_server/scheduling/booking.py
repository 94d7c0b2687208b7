"""What a write of an Appointment does: the one decision behind every door, with all reasons when it is no.

R4 leaves booking to the server (http://hl7.org/fhir/R4/appointment.html#statuses); the checks and their codes are in
docs/booking.md. Nothing here knows HTTP, the store or the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Claim, Claimed, Decision, Event, Matching, Newest, Plan, Stored, Write
from fhir_server.scheduling import encounters, lifecycle
from fhir_server.scheduling.alternatives import refuse
from fhir_server.scheduling.checks import conflicts, people_problems, slot_problems, time_problems
from fhir_server.scheduling.choosing import as_stored, choose, load_named, wanted_claims
from fhir_server.scheduling.elements import instant, say
from fhir_server.scheduling.finding import by_actor, claims_on, load_bookables, load_claims, places_left, slot_resource
from fhir_server.scheduling.policy import Change
from fhir_server.scheduling.visit import Chosen, Visit, occupies, people_of, read_visit, slots_of, span, time_of


def decide(change: Change) -> Plan[Decision]:
    """What creating, changing or deleting an Appointment writes. Refuses with every reason at once: 422 if a rule
    forbids it, 409 if only others stand in the way."""
    before = change.before.resource if change.before else None
    after = change.after
    version = change.before.version if change.before else 0
    owner = f"Appointment/{change.id}"
    if after is None:
        freed = yield from _free_slots(slots_of(before, change.policy), change)
        return Decision((Write("Appointment", change.id, None, version), *freed), {owner: ()})
    _refuse_status(change, before, after)
    writes: tuple[Write, ...] = ()
    claims: Mapping[str, tuple[Claim, ...]] = {}
    if _takes_time(change, before, after):
        after, claims, writes = yield from _book(change, before, after)
    elif not occupies(after):
        claims = {owner: ()}
        if before and occupies(before):
            writes = yield from _free_slots(slots_of(before, change.policy), change)
    elif before and before["status"] == "pending" and after["status"] != "pending":
        writes = yield from _confirm_slots(after, change)
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
    if change.recording or (before and before["status"] == new):
        return
    if new == "cancelled" and "cancelationReason" not in after:
        text = "A cancellation needs a reason: give Appointment.cancelationReason."
        raise FhirError("required", text, "Appointment.cancelationReason", problem="reason-required", status=422)
    start = instant(after["start"]) if "start" in after else None
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
    over = instant(after["end"]) <= change.now
    if before and occupies(before):
        moved = time_of(before, change.policy) != time_of(after, change.policy)
        joined = people_of(before, change.policy) != people_of(after, change.policy)
        return after["status"] != "fulfilled" and (moved or (joined and not over))
    return not over or (after["status"] in ("pending", "booked") and not change.recording)


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
    found = yield [load, Newest(computed)]
    taken = by_actor(found[0])
    chosen = as_stored(chosen, found[1])
    problems += people_problems(visit, chosen, known)
    problems += time_problems(visit, chosen)
    problems += slot_problems(visit, chosen, before)
    problems += conflicts(visit, wanted, taken, known)
    if problems:
        yield from refuse(visit, chosen, wanted, problems)
    writes = _take_slots(visit, chosen, taken)
    slot_references = [{"reference": f"Slot/{one.slot_id}"} for one in chosen if one.slot_id]
    given = set(visit.slots)
    added = [one for one in slot_references if one["reference"] not in given]
    left = [one for one in slots_of(before, change.policy) if one not in {ref["reference"] for ref in slot_references}]
    freed = yield from _free_slots(left, change)
    kept = after.get("slot", ()) if visit.slots else ()
    booked = {**after, "slot": [*kept, *added]} if added else after
    return booked, {visit.owner: wanted}, (*writes, *freed)


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


def _free_slots(references: Iterable[str], change: Change) -> Plan[tuple[Write, ...]]:
    """The Slots that the Appointment gives back. Those of a time that is over stay as they are."""
    stored = yield from _load_slots(references)
    return tuple(
        Write("Slot", one.id, {**one.resource, "status": "free"}, one.version)
        for one in stored
        if one.resource
        and one.resource["status"] in ("busy", "busy-tentative")
        and instant(one.resource["end"]) > change.now
    )


def _confirm_slots(appointment: Json, change: Change) -> Plan[tuple[Write, ...]]:
    """The Slots that were held for a pending Appointment and are now taken."""
    stored = yield from _load_slots(slots_of(appointment, change.policy))
    return tuple(
        Write("Slot", one.id, {**one.resource, "status": "busy"}, one.version)
        for one in stored
        if one.resource and one.resource["status"] == "busy-tentative"
    )


def _load_slots(references: Iterable[str]) -> Plan[Sequence[Stored]]:
    wanted = frozenset(references)
    if not wanted:
        return ()
    return [one for one in (yield [ById(wanted)])[0] if isinstance(one, Stored)]


def keep_booked(change: Change) -> Plan[Decision]:
    """The write itself, but for a delete of someone or something that is booked in the future: that is refused."""
    reference = f"{change.type}/{change.id}"
    if change.after is None:
        found = (yield [Matching("Schedule", {"actor": frozenset({reference})})])[0]
        schedules = {f"Schedule/{one.id}" for one in found if isinstance(one, Stored)}
        far = change.now + timedelta(days=36_500)
        if (yield [Claimed(frozenset({reference, *schedules}), change.now, far)])[0]:
            text = f"{reference} is booked in the future: cancel or move those appointments first."
            raise FhirError("conflict", text, change.type, problem="has-bookings")
    version = change.before.version if change.before else 0
    return Decision((Write(change.type, change.id, change.after, version),))
