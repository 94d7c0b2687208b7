"""What is free of a Schedule, and why the rest is not: the same rules and the same room as when somebody books.

A time of its own (`reasons_at`) is judged exactly as a booking is. A window (`pieces`) is judged instant by instant:
a visit can be where it lies in free time only, and the grid and the maximum length of a stretch allow it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from fhir_server.outcome import CANONICAL
from fhir_server.plan import Claim
from fhir_server.scheduling import slots
from fhir_server.scheduling.availability import blocked, horizon, hours, is_active
from fhir_server.scheduling.checks import conflict_code, unfitting
from fhir_server.scheduling.elements import instant, kind
from fhir_server.scheduling.finding import PUBLISHED_REFUSALS, Bookable, claims_on, local_day
from fhir_server.scheduling.intervals import Interval, clip, normalize, subtract, union
from fhir_server.scheduling.offers import Taken, is_current

AVAILABILITY_CAUSES = f"{CANONICAL}/CodeSystem/availability-cause"

CAUSES: Mapping[str, str] = {
    "inactive": "The Schedule, its place or its practitioner is not active",
    "no-rule": "Nothing says that it is open then",
    "blocked": "Leave, a closing or another block",
    "booked": "Somebody has booked it, or an EHR has taken it",
    "held": "Somebody holds it for a while",
    "buffer": "It is kept free before or after a visit",
    "notice": "It is past, or nearer than the minimum notice",
    "horizon": "It is outside the planning horizon or beyond the booking window",
    "limit": "The Schedule has its maximum of appointments on that day",
    "capacity": "All the places of a group are taken",
    "grid": "No slot begins then",
}
"""Why a time is not free, in the words of people who look at a calendar."""

CAUSE_OF: Mapping[str, str] = {
    "schedule-inactive": "inactive",
    "outside-hours": "no-rule",
    "blocked": "blocked",
    "outside-horizon": "horizon",
    "too-far": "horizon",
    "in-the-past": "notice",
    "too-soon": "notice",
    "off-grid": "grid",
}
"""The cause of each refusal by rules; that of a conflict depends on what is in the way."""


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """Why a booking would be refused: its code, and the cause."""

    code: str
    cause: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a window in which the same holds; it is free without reasons."""

    start: datetime
    end: datetime
    reasons: tuple[Reason, ...]


# One time


def reasons_at(bookable: Bookable, start: datetime, end: datetime, now: datetime, taken: Taken) -> list[Reason]:
    """Why a booking of exactly [start, end) would be refused, none if it would not be."""
    by_rules = slots.refusals(bookable.calendar, start, end, now)
    if _is_published(bookable, start, end, taken):
        by_rules = [code for code in by_rules if code in PUBLISHED_REFUSALS]
    in_the_way = [
        Reason(conflict_code(claim), cause)
        for claim in unfitting(claims_on(bookable, start, end, ""), taken.claims)
        for cause in _causes(claim, taken.claims.get(claim.actor, ()))
    ]
    return [*(Reason(code, CAUSE_OF[code]) for code in by_rules), *dict.fromkeys(in_the_way)]


def _is_published(bookable: Bookable, start: datetime, end: datetime, taken: Taken) -> bool:
    return any(
        slot["status"] == "free" and (instant(slot["start"]), instant(slot["end"])) == (start, end)
        for slot in taken.published.get(bookable.reference, ())
    )


def _causes(wanted: Claim, claims: Iterable[Claim]) -> list[str]:
    """What is in the way of a claim that does not fit."""
    if wanted.actor.endswith("#day"):
        return ["limit"]
    near = [each for each in claims if each.start < wanted.end and wanted.start < each.end]
    found = {_cause(each, wanted) for each in near if _excludes(each, wanted)}
    return sorted(found) or ["capacity"]


def _excludes(claim: Claim, wanted: Claim) -> bool:
    """Whether the two cannot be there together, whatever room there is."""
    apart = not (claim.core_start < wanted.core_end and wanted.core_start < claim.core_end)
    return claim.pool is None or claim.pool != wanted.pool or claim.capacity < 1 or wanted.capacity < 2 or apart


def _cause(claim: Claim, wanted: Claim) -> str:
    if not (claim.core_start < wanted.core_end and wanted.core_start < claim.core_end):
        return "buffer"
    return "held" if claim.expires else "booked"


# A window


def pieces(bookable: Bookable, start: datetime, end: datetime, now: datetime, taken: Taken) -> list[Piece]:
    """[start, end) cut where something changes, in order and without gaps."""
    changes: dict[datetime, list[tuple[Reason, int]]] = {start: [], end: []}
    for reason, spans in _layers(bookable, Interval(start, end), now, taken):
        for span in clip(spans, start, end):
            changes.setdefault(span.start, []).append((reason, 1))
            changes.setdefault(span.end, []).append((reason, -1))
    found: list[Piece] = []
    holding: Counter[Reason] = Counter()
    for opens, closes in pairwise(sorted(changes)):
        for reason, change in changes[opens]:
            holding[reason] += change
        reasons = tuple(sorted(reason for reason, count in holding.items() if count))
        if found and found[-1].reasons == reasons:
            opens = found.pop().start
        found.append(Piece(opens, closes, reasons))
    return found


def _layers(
    bookable: Bookable, window: Interval, now: datetime, taken: Taken
) -> Iterator[tuple[Reason, list[Interval]]]:
    """Each reason with the times at which it holds, each list normal."""
    calendar, start, end = bookable.calendar, window.start, window.end
    published = _published(bookable, now, taken)
    until = slots.offered_until(calendar, now)
    soonest = slots.offered_from(calendar, now)
    open_hours = union(normalize(hours(calendar, start, end)), published)
    rules: Mapping[str, list[Interval]] = {
        "schedule-inactive": [] if is_active(calendar) else [window],
        "outside-hours": subtract([window], open_hours),
        "blocked": subtract(blocked(calendar, start, end), published),
        "outside-horizon": subtract([window], normalize([horizon(calendar)])),
        "in-the-past": [Interval(start, min(now, end))] if start < now else [],
        "too-soon": normalize([Interval(max(now, start), soonest)]),
        "too-far": normalize([Interval(max(until, start), end)]) if until else [],
    }
    for code, spans in rules.items():
        yield Reason(code, CAUSE_OF[code]), spans
    full_days = _full_days(bookable, window, taken.claims)
    yield Reason("day-full", "limit"), full_days
    yield from _taken_layers(bookable, window, taken.claims, full_days)


def _published(bookable: Bookable, now: datetime, taken: Taken) -> list[Interval]:
    """The times of the free Slots that an EHR published."""
    times = [
        Interval(instant(slot["start"]), instant(slot["end"]))
        for slot in taken.published.get(bookable.reference, ())
        if slot["status"] == "free"
    ]
    return normalize(each for each in times if is_current(bookable.calendar, each.start, each.end, now))


def _taken_layers(
    bookable: Bookable, window: Interval, taken: Mapping[str, Sequence[Claim]], nearer: list[Interval]
) -> Iterator[tuple[Reason, list[Interval]]]:
    """What claims take, our own buffers included: where the core of a visit cannot be. That the Schedule itself is full
    is said only where nothing nearer explains it."""
    for probe in sorted(claims_on(bookable, window.start, window.end, "")[:-1], key=_is_schedule):
        claims = taken.get(probe.actor, ())
        spans: dict[str, list[Interval]] = {"capacity": _full_times(claims, probe)}
        for claim in claims:
            for cause, span in _spans(claim, probe, bookable):
                spans.setdefault(cause, []).append(span)
        for cause, each in spans.items():
            yield Reason(conflict_code(probe), cause), subtract(normalize(each), nearer if _is_schedule(probe) else [])
        nearer = union(nearer, *spans.values())


def _is_schedule(claim: Claim) -> bool:
    return kind(claim.actor) == "Schedule"


def _spans(claim: Claim, probe: Claim, bookable: Bookable) -> Iterator[tuple[str, Interval]]:
    """The core of a claim that shares nothing, and the time beside it that buffers keep free."""
    parameters = bookable.calendar.parameters
    before = timedelta(minutes=parameters.buffer_before_minutes)
    after = timedelta(minutes=parameters.buffer_after_minutes)
    core = Interval(claim.core_start, claim.core_end)
    if _excludes(claim, replace(probe, core_start=core.start, core_end=core.end)):
        yield ("held" if claim.expires else "booked"), core
    yield "buffer", Interval(claim.start - after, claim.core_start)
    yield "buffer", Interval(claim.core_end, claim.end + before)


def _full_times(claims: Sequence[Claim], probe: Claim) -> list[Interval]:
    """Where all the places of a group are taken."""
    shared = [each for each in claims if probe.capacity > 1 and each.pool == probe.pool and each.capacity > 0]
    edges = sorted({edge for each in shared for edge in (each.core_start, each.core_end)})
    return normalize(
        Interval(a, b)
        for a, b in pairwise(edges)
        if sum(each.units for each in shared if each.core_start <= a < each.core_end) >= probe.capacity
    )


def _full_days(bookable: Bookable, window: Interval, taken: Mapping[str, Sequence[Claim]]) -> list[Interval]:
    found = []
    day = local_day(bookable.calendar, window.start)
    while day.start < window.end:
        place = claims_on(bookable, day.start, day.start + timedelta(minutes=1), "")[-1]
        if slots.room_left(taken.get(place.actor, ()), place) < 1:
            found.append(day)
        day = local_day(bookable.calendar, day.end)
    return normalize(found)
