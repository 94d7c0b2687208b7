"""What a write of an Appointment does: the one decision behind every door, with all reasons when it is no.

R4 leaves booking to the server (http://hl7.org/fhir/R4/appointment.html#statuses); the checks and their codes are in
docs/booking.md. Nothing here knows HTTP, the store or the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from fhir_server.outcome import CANONICAL, FhirError, Issue, Json
from fhir_server.plan import ById, Claim, Claimed, Decision, Event, Load, Matching, Newest, Plan, Stored, Write
from fhir_server.scheduling import encounters, lifecycle, slots
from fhir_server.scheduling.elements import claimed_as, instant, is_computed, kind, say, target, targets
from fhir_server.scheduling.finding import (
    PUBLISHED_REFUSALS,
    Bookable,
    by_actor,
    claims_on,
    codes,
    load_bookables,
    load_claims,
    places_left,
    slot_resource,
)
from fhir_server.scheduling.policy import Change, Policy

ALTERNATIVE = f"{CANONICAL}/StructureDefinition/alternative"

SERVED = frozenset({"Patient", "Practitioner", "PractitionerRole", "Location", "HealthcareService"})
"""Participants of these types must be stored here; others (Device, RelatedPerson) are taken at their word."""

TIME_TEXTS: Mapping[str, str] = {
    "schedule-inactive": "The Schedule is not active.",
    "outside-horizon": "The time is outside the Schedule's planningHorizon.",
    "outside-hours": "The time is outside the hours that the Schedule is open.",
    "blocked": "The time is blocked (notAvailable or a closing).",
    "off-grid": "The start is not one at which the Schedule's slots begin.",
    "in-the-past": "The time is past. To record a visit that took place, write it as fulfilled.",
    "too-soon": "The start is nearer than the Schedule's minimum notice.",
    "too-far": "The start is beyond the Schedule's booking window.",
}
"""What each refusal by the rules of time says."""

CONFLICT_TEXTS: Mapping[str, tuple[str, str]] = {
    "Patient": ("patient-busy", "The patient has another appointment at that time."),
    "Practitioner": ("practitioner-busy", "The practitioner is taken at that time, buffers included."),
    "Location": ("location-busy", "The room is taken at that time."),
    "Device": ("device-busy", "The device is taken at that time."),
    "Schedule": ("schedule-full", "No place is left on the Schedule at that time."),
    "#day": ("day-full", "The Schedule has its maximum of appointments on that day."),
}
"""By the type of what is taken: our code and what it says. Nothing says who took it."""


@dataclass(frozen=True, slots=True)
class Participant:
    """One participant that has not declined: its place in the Appointment and whom it is."""

    index: int
    reference: str | None
    required: str

    @property
    def expression(self) -> str:
        return f"Appointment.participant[{self.index}].actor"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A Schedule that the Appointment is on, and the Slot for it: stored, or computed and not stored yet."""

    bookable: Bookable
    slot_id: str | None
    stored: Stored | None
    published: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """What is asked for, read out of the Appointment once."""

    owner: str
    start: datetime
    end: datetime
    participants: tuple[Participant, ...]
    slots: tuple[str, ...]
    moved: bool
    resource: Json
    change: Change

    @property
    def patients(self) -> list[str]:
        return [one.reference for one in self.participants if one.reference and kind(one.reference) == "Patient"]

    @property
    def units(self) -> int:
        return max(1, len(self.patients))


def decide(change: Change) -> Plan[Decision]:
    """What creating, changing or deleting an Appointment writes. Refuses with every reason at once: 422 if a rule
    forbids it, 409 if only others stand in the way."""
    before = change.before.resource if change.before else None
    after = change.after
    version = change.before.version if change.before else 0
    owner = f"Appointment/{change.id}"
    if after is None:
        freed = yield from _free_slots(_slots_of(before, change.policy), change)
        return Decision((Write("Appointment", change.id, None, version), *freed), {owner: ()})
    _refuse_status(change, before, after)
    writes: tuple[Write, ...] = ()
    claims: Mapping[str, tuple[Claim, ...]] = {}
    if _takes_time(change, before, after):
        after, claims, writes = yield from _book(change, before, after)
    elif not _occupies(after):
        claims = {owner: ()}
        if before and _occupies(before):
            writes = yield from _free_slots(_slots_of(before, change.policy), change)
    elif before and before["status"] == "pending" and after["status"] != "pending":
        writes = yield from _confirm_slots(after, change)
    kept = yield from encounters.follow_appointment(change, before, after)
    event = _event(owner, before, after)
    return Decision((Write("Appointment", change.id, after, version), *writes, *kept), claims, (event,))


def _occupies(appointment: Json) -> bool:
    return appointment["status"] in lifecycle.OCCUPYING


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
    if not _occupies(after):
        return False
    over = instant(after["end"]) <= change.now
    if before and _occupies(before):
        moved = _time(before, change.policy) != _time(after, change.policy)
        joined = _people(before, change.policy) != _people(after, change.policy)
        return after["status"] != "fulfilled" and (moved or (joined and not over))
    return not over or (after["status"] in ("pending", "booked") and not change.recording)


def _time(appointment: Json, policy: Policy) -> tuple[object, ...]:
    """When an Appointment is, and on which Slots."""
    return instant(appointment["start"]), instant(appointment["end"]), frozenset(_slots_of(appointment, policy))


def _people(appointment: Json, policy: Policy) -> frozenset[tuple[str | None, str]]:
    """Who takes part in an Appointment."""
    return frozenset((one.reference, one.required) for one in _participants(appointment, policy.base))


def _participants(appointment: Json, base: str) -> tuple[Participant, ...]:
    return tuple(
        Participant(index, target(one.get("actor"), base), one.get("required", "required"))
        for index, one in enumerate(appointment["participant"])
        if one["status"] != "declined"
    )


def _slots_of(appointment: Json | None, policy: Policy) -> tuple[str, ...]:
    return tuple(targets((appointment or {}).get("slot", ()), policy.base, "Slot"))


def _book(
    change: Change, before: Json | None, after: Json
) -> Plan[tuple[Json, Mapping[str, tuple[Claim, ...]], tuple[Write, ...]]]:
    """The Appointment with its Slots filled in, its claims, and the Slots it takes and gives back."""
    visit = _visit(change, before, after)
    known, slots_found, schedules = yield from _load_named(visit)
    bookables = yield from load_bookables(schedules, change.policy, known)
    chosen, problems = _choose(visit, bookables, slots_found, known)
    wanted = _wanted_claims(visit, chosen, known)
    load = load_claims([one.bookable for one in chosen], (claim.actor for claim in wanted), visit.start, visit.end)
    found = yield [load, Newest(frozenset(f"Slot/{one.slot_id}" for one in chosen if one.slot_id))]
    taken = by_actor(found[0])
    chosen = _as_stored(chosen, found[1])
    problems += _people_problems(visit, chosen, known)
    problems += _time_problems(visit, chosen)
    problems += _slot_problems(visit, chosen, before)
    problems += _conflicts(visit, wanted, taken, known)
    if problems:
        yield from _refuse(visit, chosen, wanted, problems)
    writes = _take_slots(visit, chosen, taken)
    slot_references = [{"reference": f"Slot/{one.slot_id}"} for one in chosen if one.slot_id]
    given = set(visit.slots)
    added = [one for one in slot_references if one["reference"] not in given]
    left = [one for one in _slots_of(before, change.policy) if one not in {ref["reference"] for ref in slot_references}]
    freed = yield from _free_slots(left, change)
    kept = after.get("slot", ()) if visit.slots else ()
    booked = {**after, "slot": [*kept, *added]} if added else after
    return booked, {visit.owner: wanted}, (*writes, *freed)


def _visit(change: Change, before: Json | None, after: Json) -> Visit:
    """Refuses an Appointment longer than any may be. A move drops Slots that were of the former time."""
    start, end = instant(after["start"]), instant(after["end"])
    if end <= start:
        raise FhirError("business-rule", "`end` must be after `start`.", "Appointment.end", problem="empty-time")
    if end - start > change.policy.appointment_length_max:
        text = f"An Appointment lasts at most {change.policy.appointment_hours_max} hours."
        raise FhirError("business-rule", text, "Appointment.end", problem="too-long")
    participants = _participants(after, change.policy.base)
    named = _slots_of(after, change.policy)
    if before and "start" in before and named == _slots_of(before, change.policy):
        named = () if (start, end) != (instant(before["start"]), instant(before["end"])) else named
    moved = not (before and _occupies(before)) or _time(before, change.policy) != _time(after, change.policy)
    return Visit(f"Appointment/{change.id}", start, end, participants, named, moved, after, change)


def _load_named(visit: Visit) -> Plan[tuple[dict[str, Json], dict[str, Stored], Sequence[Stored]]]:
    """What the Appointment names, its Slots as stored, and the Schedules it can be on; two batches."""
    references = {one.reference for one in visit.participants if one.reference}
    practitioners = frozenset(ref for ref in references if kind(ref) == "Practitioner")
    loads: list[Load] = [ById(frozenset({*references, *visit.slots}))]
    loads.append(Matching("PractitionerRole", {"practitioner": practitioners}))
    found = [one for batch in (yield loads) for one in batch if isinstance(one, Stored)]
    known = {f"{one.type}/{one.id}": one.resource for one in found if one.resource}
    slots_found = {f"Slot/{one.id}": one for one in found if one.type == "Slot"}
    interest = _interest(references, known)
    wanted = {_schedule_of_slot(ref, slots_found, visit.change.policy) for ref in visit.slots} - {None}
    schedules = yield [
        ById(frozenset(filter(None, wanted))),
        Matching("Schedule", {"actor": frozenset(interest)}),
    ]
    by_id = {one.id: one for batch in schedules for one in batch if isinstance(one, Stored)}
    return known, slots_found, [by_id[id] for id in sorted(by_id)]


def _interest(references: set[str], known: Mapping[str, Json]) -> set[str]:
    """The actors whose Schedules an Appointment with these participants may be on: people, rooms and devices; only
    if there are none, the sites and services."""
    roles = {ref for ref in known if kind(ref) == "PractitionerRole"}
    rooms = {ref for ref in references if claimed_as(ref, known, "") and kind(ref) != "Patient"}
    people = {ref for ref in references if kind(ref) == "Practitioner"}
    sites = {ref for ref in references if kind(ref) in ("Location", "HealthcareService")}
    return (roles | rooms | people) or sites


def _schedule_of_slot(reference: str, stored: Mapping[str, Stored], policy: Policy) -> str | None:
    slot = stored.get(reference)
    if slot and slot.resource:
        return target(slot.resource["schedule"], policy.base)
    parsed = slots.parse_slot_id(reference.partition("/")[2])
    return f"Schedule/{parsed[0]}" if parsed else None


def _choose(
    visit: Visit, bookables: Sequence[Bookable], stored: Mapping[str, Stored], known: Mapping[str, Json]
) -> tuple[list[Chosen], list[Issue]]:
    """The Schedules the Appointment is on: those of its Slots, then the best one of each participant not covered."""
    by_reference = {bookable.reference: bookable for bookable in bookables}
    chosen: list[Chosen] = []
    problems: list[Issue] = []
    for index, reference in enumerate(visit.slots):
        bookable = by_reference.get(_schedule_of_slot(reference, stored, visit.change.policy) or "")
        slot = stored.get(reference)
        if bookable is None:
            text = f"{reference} is neither stored nor a computed Slot of a Schedule here."
            problems.append(_problem("not-found", text, f"Appointment.slot[{index}]", "slot-unknown"))
        else:
            published = slot is not None and slot.resource is not None and not is_computed(slot.resource)
            chosen.append(Chosen(bookable, reference.partition("/")[2], slot, published))
    for participant in visit.participants:
        covered = {actor for one in chosen for actor in one.bookable.claimed}
        best = _best(visit, participant, bookables, covered, known)
        if best is not None:
            chosen.append(Chosen(best, _new_slot_id(best, visit), None))
        elif _lacks_schedule(participant, covered, known):
            text = "No Schedule here is for this participant, so there is no time to book."
            problems.append(_problem("business-rule", text, participant.expression, "no-schedule"))
    if not chosen and not problems:
        text = "No participant has a Schedule here: name a Slot, a practitioner, a room or a service that has one."
        problems.append(_problem("business-rule", text, "Appointment.participant", "no-schedule"))
    return chosen, problems


def _as_stored(chosen: Sequence[Chosen], found: Sequence[Stored] | Sequence[Claim]) -> list[Chosen]:
    """The choices with their Slots as they are stored: a computed one is, once it was taken."""
    by_id = {one.id: one for one in found if isinstance(one, Stored)}
    return [replace(one, stored=by_id.get(one.slot_id or "")) for one in chosen]


def _new_slot_id(bookable: Bookable, visit: Visit) -> str | None:
    minutes = (visit.end - visit.start) // timedelta(minutes=1)
    return slots.slot_id(bookable.reference.partition("/")[2], visit.start, minutes)


def _best(
    visit: Visit,
    participant: Participant,
    bookables: Sequence[Bookable],
    covered: set[str],
    known: Mapping[str, Json],
) -> Bookable | None:
    """The Schedule for a participant that no chosen one covers: at the right place, with the asked service type,
    open at that time, in that order of weight."""
    reference = participant.reference
    if reference is None or participant.required == "information-only" or kind(reference) == "Patient":
        return None
    actor = claimed_as(reference, known, visit.change.policy.base)
    if actor in covered or (actor is None and covered):
        return None
    own = [one for one in bookables if actor in one.claimed or _names(one, reference, visit.change.policy)]
    places = {one.reference for one in visit.participants if one.reference and kind(one.reference) == "Location"}
    types = codes(visit.resource.get("serviceType", ()))

    def weigh(bookable: Bookable) -> tuple[bool, bool, int, str]:
        calendar = bookable.calendar
        offered = codes(calendar.schedule.get("serviceType", ()))
        elsewhere = bool(places) and bool(calendar.locations) and places.isdisjoint(_places(bookable))
        refused = slots.refusals(calendar, visit.start, visit.end, visit.change.now)
        return elsewhere, bool(types) and types.isdisjoint(offered), len(refused), bookable.reference

    return min(own, key=weigh, default=None)


def _names(bookable: Bookable, reference: str, policy: Policy) -> bool:
    return reference in set(targets(bookable.calendar.schedule["actor"], policy.base))


def _places(bookable: Bookable) -> set[str]:
    return {f"Location/{location['id']}" for location in bookable.calendar.locations}


def _lacks_schedule(participant: Participant, covered: set[str], known: Mapping[str, Json]) -> bool:
    reference = participant.reference
    if reference is None or reference not in known or participant.required == "information-only":
        return False
    return kind(reference) in ("Practitioner", "PractitionerRole") and claimed_as(reference, known, "") not in covered


def _wanted_claims(visit: Visit, chosen: Sequence[Chosen], known: Mapping[str, Json]) -> tuple[Claim, ...]:
    """Everything the Appointment takes: its Schedules with their actors, then the participants beside them."""
    wanted: dict[str, Claim] = {}
    for one in chosen:
        for claim in claims_on(one.bookable, visit.start, visit.end, visit.owner, visit.units):
            wanted.setdefault(claim.actor, claim)
    first = chosen[0].bookable if chosen else None
    for participant in visit.participants:
        if participant.reference is None or participant.required == "information-only":
            continue
        actor = claimed_as(participant.reference, known, visit.change.policy.base)
        if actor is None:
            continue
        times = visit.start, visit.end
        alone = Claim(actor, *times, visit.owner, *times)
        if first and kind(actor) != "Patient":
            alone = replace(alone, pool=first.reference, capacity=first.calendar.parameters.capacity, units=visit.units)
        wanted.setdefault(actor, alone)
    return tuple(wanted.values())


def _problem(code: str, text: str, expression: str, problem: str) -> Issue:
    return Issue(code, text, (expression,), problem)


def _people_problems(visit: Visit, chosen: Sequence[Chosen], known: Mapping[str, Json]) -> list[Issue]:
    """Who takes part must exist, be active, and belong where the visit is."""
    problems = []
    if not any(one.reference is None for one in visit.participants) and not visit.patients:
        text = "A booking needs a Patient among its participants."
        problems.append(_problem("business-rule", text, "Appointment.participant", "patient-required"))
    for participant in visit.participants:
        reference = participant.reference
        if reference and kind(reference) in SERVED:
            problems += _participant_problems(visit, participant, reference, known.get(reference), chosen)
    return problems


_NOUNS = {
    "Patient": "patient",
    "Practitioner": "practitioner",
    "PractitionerRole": "practitioner",
    "Location": "location",
    "HealthcareService": "service",
}


def _participant_problems(
    visit: Visit, participant: Participant, reference: str, resource: Json | None, chosen: Sequence[Chosen]
) -> Iterator[Issue]:
    noun = _NOUNS[kind(reference)]
    where = participant.expression
    if resource is None:
        yield _problem("not-found", f"{reference} does not exist here.", where, f"{noun}-unknown")
        return
    if resource.get("active") is False or resource.get("status") in ("suspended", "inactive"):
        yield _problem("business-rule", f"{reference} is not active.", where, f"{noun}-inactive")
    base = visit.change.policy.base
    if noun == "patient" and (owner := target(resource.get("managingOrganization"), base)):
        organizations = {f"Organization/{one['id']}" for c in chosen for one in c.bookable.calendar.organizations}
        if organizations and owner not in organizations:
            text = "The patient is not registered with the organization of the Schedule."
            yield _problem("business-rule", text, where, "patient-other-organization")
    if noun == "location":
        part_of = target(resource.get("partOf"), base)
        if any(
            one.bookable.calendar.locations and _places(one.bookable).isdisjoint({reference, part_of}) for one in chosen
        ):
            text = f"The Schedule is not at {reference}."
            yield _problem("business-rule", text, where, "not-at-location")


ARRIVING = frozenset({"in-the-past", "too-soon", "too-far", "off-grid"})
"""What does not refuse a patient who is already there, or an import."""


def _time_problems(visit: Visit, chosen: Sequence[Chosen]) -> list[Issue]:
    """Why the rules of the Schedules do not offer this time; a time that it has already is not asked again."""
    problems: dict[str, Issue] = {}
    if not visit.moved:
        return []
    waived = ARRIVING if visit.change.recording or visit.resource["status"] in lifecycle.PRESENT else frozenset()
    for one in chosen:
        for code in slots.refusals(one.bookable.calendar, visit.start, visit.end, visit.change.now):
            if code not in waived and (not one.published or code in PUBLISHED_REFUSALS):
                text = f"{TIME_TEXTS[code]} ({one.bookable.reference})"
                problems.setdefault(code, _problem("business-rule", text, "Appointment.start", code))
    return list(problems.values())


def _slot_problems(visit: Visit, chosen: Sequence[Chosen], before: Json | None) -> list[Issue]:
    """A named Slot must be free or its own already, and the Slots of a Schedule must be exactly the visit's time."""
    problems = []
    own = set(_slots_of(before, visit.change.policy)) if before and _occupies(before) else set()
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for index, reference in enumerate(visit.slots):
        one = next((one for one in chosen if f"Slot/{one.slot_id}" == reference), None)
        if one is None:
            continue
        spans.setdefault(one.bookable.reference, []).append(_span(one))
        status = one.stored.resource["status"] if one.stored and one.stored.resource else "free"
        if one.published and status != "free" and reference not in own:
            text = f"{reference} is {status}."
            problems.append(_problem("conflict", text, f"Appointment.slot[{index}]", "slot-not-free"))
    for schedule, times in spans.items():
        times.sort()
        adjacent = all(first[1] == second[0] for first, second in pairwise(times))
        if not adjacent or (times[0][0], times[-1][1]) != (visit.start, visit.end):
            said = " and ".join(f"{say(start)} to {say(end)}" for start, end in times)
            text = f"The Slots of {schedule} are {said}: start and end must be theirs."
            problems.append(_problem("business-rule", text, "Appointment.slot", "slot-mismatch"))
    return problems


def _span(one: Chosen) -> tuple[datetime, datetime]:
    if one.stored and one.stored.resource:
        return instant(one.stored.resource["start"]), instant(one.stored.resource["end"])
    parsed = slots.parse_slot_id(one.slot_id or "")
    assert parsed is not None, "a chosen Slot is stored or has a computed id"
    _, start, minutes = parsed
    return start, start + timedelta(minutes=minutes)


def _conflicts(
    visit: Visit, wanted: Sequence[Claim], taken: Mapping[str, Sequence[Claim]], known: Mapping[str, Json]
) -> list[Issue]:
    """Whose time is taken already. That the Schedule is full is said only if nothing nearer explains it."""
    base = visit.change.policy.base
    named = {claimed_as(one.reference, known, base): one.expression for one in visit.participants if one.reference}
    full = [one for one in wanted if slots.room_left(taken.get(one.actor, ()), one) < one.units]
    people = [one for one in full if kind(one.actor) != "Schedule" or one.actor.endswith("#day")]
    problems = []
    for claim in people or full:
        code, text = CONFLICT_TEXTS["#day" if claim.actor.endswith("#day") else kind(claim.actor)]
        problems.append(_problem("conflict", text, named.get(claim.actor, "Appointment.start"), code))
    return problems


def _refuse(visit: Visit, chosen: Sequence[Chosen], wanted: Sequence[Claim], problems: Sequence[Issue]) -> Plan[None]:
    """Raises what is wrong; if the time is what is wrong, with the free times nearest to it."""
    timely = {"conflict"} | set(TIME_TEXTS)
    status = 409 if all(issue.code in ("conflict", "duplicate") for issue in problems) else 422
    if not chosen or timely.isdisjoint({x for issue in problems for x in (issue.code, issue.problem or "")}):
        raise FhirError.of(problems, status=422)
    start = max(visit.start - timedelta(days=1), visit.change.now)
    end = max(visit.start, visit.change.now) + timedelta(days=14)
    load = load_claims([one.bookable for one in chosen], (claim.actor for claim in wanted), start, end)
    taken = by_actor((yield [load])[0])
    free = _nearest(visit, chosen[0].bookable, wanted, taken, start, end)
    raise FhirError.of([*problems, *_alternatives(free, chosen[0].bookable)], status=status)


def _nearest(
    visit: Visit,
    bookable: Bookable,
    wanted: Sequence[Claim],
    taken: Mapping[str, Sequence[Claim]],
    start: datetime,
    end: datetime,
) -> list[tuple[datetime, datetime]]:
    """The bookable times nearest to the one asked for, all the same actors being free; ordered by time."""
    minutes = max(1, (visit.end - visit.start) // timedelta(minutes=1))
    calendar = bookable.calendar
    first = max(start, slots.offered_from(calendar, visit.change.now))
    until = slots.offered_until(calendar, visit.change.now) or end
    others = [claim for claim in wanted if claim.actor not in bookable.claimed and "#day" not in claim.actor]
    free: list[tuple[timedelta, datetime, datetime]] = []
    for interval in slots.candidates(calendar, first, end, minutes):
        distance = abs(interval.start - visit.start)
        if len(free) == visit.change.policy.alternatives_count and distance >= free[-1][0]:
            if interval.start > visit.start:
                break
            continue
        shift = interval.start - visit.start
        claims = [
            *claims_on(bookable, interval.start, interval.end, visit.owner, visit.units),
            *map(lambda c: _shifted(c, shift), others),
        ]
        if interval.start < until and places_left(taken, claims) >= visit.units:
            free = sorted([*free, (distance, interval.start, interval.end)])[: visit.change.policy.alternatives_count]
    return sorted((opens, closes) for _, opens, closes in free)


def _shifted(claim: Claim, by: timedelta) -> Claim:
    return replace(
        claim,
        start=claim.start + by,
        end=claim.end + by,
        core_start=claim.core_start + by,
        core_end=claim.core_end + by,
    )


def _alternatives(free: Sequence[tuple[datetime, datetime]], bookable: Bookable) -> Iterator[Issue]:
    if not free:
        return
    zone = bookable.calendar.zone
    said = ", ".join(say(start, zone) for start, _ in free)
    yield Issue(
        "informational",
        f"The nearest free times: {said}.",
        ("Appointment.start",),
        "alternatives",
        "information",
        tuple(_alternative(start, end, bookable) for start, end in free),
    )


def _alternative(start: datetime, end: datetime, bookable: Bookable) -> Json:
    zone = bookable.calendar.zone
    id = slots.slot_id(bookable.reference.partition("/")[2], start, (end - start) // timedelta(minutes=1))
    slot = [{"url": "slot", "valueReference": {"reference": f"Slot/{id}"}}] if id else []
    period = {"url": "period", "valuePeriod": {"start": say(start, zone), "end": say(end, zone)}}
    return {"url": ALTERNATIVE, "extension": [*slot, period]}


def _take_slots(visit: Visit, chosen: Sequence[Chosen], taken: Mapping[str, Sequence[Claim]]) -> tuple[Write, ...]:
    """The Slots as they are once the visit has its place: busy when no place is left."""
    writes = []
    for one in chosen:
        if one.slot_id is None:
            continue
        start, end = _span(one)
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
    stored = yield from _load_slots(_slots_of(appointment, change.policy))
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
        far = change.now + timedelta(days=36_500)
        claims = (yield [Claimed(frozenset({reference}), change.now, far)])[0]
        if claims:
            text = f"{reference} is booked in the future: cancel or move those appointments first."
            raise FhirError("conflict", text, change.type, problem="has-bookings")
    version = change.before.version if change.before else 0
    return Decision((Write(change.type, change.id, change.after, version),))
