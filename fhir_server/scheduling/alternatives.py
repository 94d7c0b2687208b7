"""The free times nearest to one that was refused, said in the OperationOutcome of the refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fhir_server.outcome import CANONICAL, FhirError, Issue, Json
from fhir_server.plan import Claim, Plan
from fhir_server.scheduling import slots
from fhir_server.scheduling.checks import TIME_TEXTS
from fhir_server.scheduling.elements import say
from fhir_server.scheduling.finding import Bookable, by_actor, claims_on, load_claims, places_left
from fhir_server.scheduling.visit import Chosen, Visit

ALTERNATIVE = f"{CANONICAL}/StructureDefinition/alternative"


def refuse(visit: Visit, chosen: Sequence[Chosen], wanted: Sequence[Claim], problems: Sequence[Issue]) -> Plan[None]:
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
