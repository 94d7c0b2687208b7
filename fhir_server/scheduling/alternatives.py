"""What is in the way of a time that was refused, and the free times nearest to it, said in the OperationOutcome of the
refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from fhir_server.outcome import CANONICAL, FhirError, Issue, Json
from fhir_server.plan import ById, Claim, Plan, Stored
from fhir_server.scheduling import slots
from fhir_server.scheduling.checks import TIME_TEXTS, unfitting
from fhir_server.scheduling.elements import kind, say
from fhir_server.scheduling.finding import Bookable, by_actor, claims_together, load_claims, places_left
from fhir_server.scheduling.intervals import Interval
from fhir_server.scheduling.offers import beside
from fhir_server.scheduling.visit import Chosen, Visit, slots_of

ALTERNATIVE = f"{CANONICAL}/StructureDefinition/alternative"
BLOCKING = f"{CANONICAL}/StructureDefinition/blocking-slot"

LOOKS_MAX = 1_000
"""Times, the nearest first, of which one that is refused looks for free ones."""

BLOCKING_MAX = 10
"""The Slots in the way that are named."""


def refuse(visit: Visit, chosen: Sequence[Chosen], wanted: Sequence[Claim], problems: Sequence[Issue]) -> Plan[None]:
    """Raises what is wrong; if the time is what is wrong, with the free times nearest to it and the Slots in the
    way."""
    timely = {"conflict"} | set(TIME_TEXTS)
    status = 409 if all(issue.code in ("conflict", "duplicate") for issue in problems) else 422
    if not chosen or timely.isdisjoint({x for issue in problems for x in (issue.code, issue.problem or "")}):
        raise FhirError.of(problems, status=422)
    bookables = list({one.bookable.reference: one.bookable for one in chosen}.values())
    start = max(visit.start - timedelta(days=1), visit.change.now)
    end = max(visit.start, visit.change.now) + timedelta(days=14)
    load = load_claims(bookables, (claim.actor for claim in wanted), start, end)
    taken = by_actor((yield [load])[0])
    free = _nearest(visit, bookables, wanted, taken, Interval(start, end))
    blocking = yield from _blocking(visit, wanted, taken)
    raise FhirError.of([*problems, *_alternatives(free, bookables), *_blocked_by(blocking)], status=status)


def _blocking(visit: Visit, wanted: Sequence[Claim], taken: Mapping[str, Sequence[Claim]]) -> Plan[Sequence[str]]:
    """The Slots that take the time of those who are wanted; not where else a patient is, which is nobody's concern. One
    batch, none where nobody is in the way."""
    owners = {
        other.owner
        for claim in unfitting(wanted, taken)
        if kind(claim.actor) != "Patient" and "#" not in claim.actor
        for other in taken.get(claim.actor, ())
        if other.owner != visit.owner and other.start < claim.end and claim.start < other.end
    }
    appointments = frozenset(one for one in owners if kind(one) == "Appointment")
    found = (yield [ById(appointments)])[0] if appointments else ()
    booked = {slot for one in found if isinstance(one, Stored) for slot in slots_of(one.resource, visit.change.policy)}
    return sorted(booked | owners - appointments)[:BLOCKING_MAX]


def _blocked_by(blocking: Sequence[str]) -> Iterator[Issue]:
    if blocking:
        named = tuple({"url": BLOCKING, "valueReference": {"reference": one}} for one in blocking)
        text = f"Taken by {', '.join(blocking)}."
        yield Issue("informational", text, ("Appointment.start",), "blocking-slots", "information", named)


def _nearest(
    visit: Visit,
    bookables: Sequence[Bookable],
    wanted: Sequence[Claim],
    taken: Mapping[str, Sequence[Claim]],
    window: Interval,
) -> list[Interval]:
    """The bookable times nearest to the one asked for, on all its Schedules, all the same actors being free; ordered by
    time."""
    claimed = frozenset[str]().union(*(bookable.claimed for bookable in bookables))
    others = [claim for claim in wanted if claim.actor not in claimed and "#day" not in claim.actor]
    times = sorted(_in_common(visit, bookables, window), key=lambda each: (abs(each.start - visit.start), each.start))
    free: list[Interval] = []
    for each in times[:LOOKS_MAX]:
        if len(free) == visit.change.policy.alternatives_count:
            break
        claims = claims_together(bookables, each.start, each.end, visit.owner, visit.units)
        shifted = (_shifted(claim, each.start - visit.start) for claim in others)
        if places_left(taken, [*claims, *shifted]) >= visit.units:
            free.append(each)
    return sorted(free)


def _in_common(visit: Visit, bookables: Sequence[Bookable], window: Interval) -> set[Interval]:
    """The times as long as the visit that the rules of all the Schedules offer."""
    minutes = max(1, (visit.end - visit.start) // timedelta(minutes=1))
    offered = []
    now = visit.change.now
    steady = [one for one in bookables if one.calendar.parameters.alignment_minutes != 1] or bookables[:1]
    for bookable in steady:
        calendar = bookable.calendar
        first = max(window.start, slots.offered_from(calendar, now))
        until = slots.offered_until(calendar, now) or window.end
        found = slots.candidates(calendar, first, window.end, minutes)
        offered.append({each for each in found if each.start < until})
    others = [beside(one, window.start, window.end, now) for one in bookables if one not in steady]
    return {each for each in set.intersection(*offered) if all(one.takes(each) for one in others)}


def _shifted(claim: Claim, by: timedelta) -> Claim:
    return replace(
        claim,
        start=claim.start + by,
        end=claim.end + by,
        core_start=claim.core_start + by,
        core_end=claim.core_end + by,
    )


def _alternatives(free: Sequence[Interval], bookables: Sequence[Bookable]) -> Iterator[Issue]:
    if not free:
        return
    zone = bookables[0].calendar.zone
    said = ", ".join(say(each.start, zone) for each in free)
    yield Issue(
        "informational",
        f"The nearest free times: {said}.",
        ("Appointment.start",),
        "alternatives",
        "information",
        tuple(_alternative(each, bookables) for each in free),
    )


def _alternative(time: Interval, bookables: Sequence[Bookable]) -> Json:
    """The extension of one time, with the Slot of each Schedule."""
    zone = bookables[0].calendar.zone
    minutes = (time.end - time.start) // timedelta(minutes=1)
    ids = (slots.slot_id(bookable.reference.partition("/")[2], time.start, minutes) for bookable in bookables)
    named = [{"url": "slot", "valueReference": {"reference": f"Slot/{id}"}} for id in ids if id]
    period = {"url": "period", "valuePeriod": {"start": say(time.start, zone), "end": say(time.end, zone)}}
    return {"url": ALTERNATIVE, "extension": [*named, period]}
