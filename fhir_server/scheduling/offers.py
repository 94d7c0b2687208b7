"""Free Slots in order of time: all of a window, or the next ones from a moment on.

$find-slots, Slot search and the search for several at once look at the same offers (docs/find-slots.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby
from typing import Generic, Protocol, TypeAlias, TypeVar

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import Claim, Matching, Plan, Stored
from fhir_server.scheduling import slots
from fhir_server.scheduling.availability import Calendar, horizon, is_active
from fhir_server.scheduling.elements import instant, is_computed, target
from fhir_server.scheduling.finding import (
    OFFERING,
    PUBLISHED_REFUSALS,
    Ask,
    Bookable,
    by_actor,
    claims_on,
    is_wanted,
    load_bookables,
    load_claims,
    places_left,
    refuse_far,
    said_of,
    select_schedules,
    slot_resource,
)
from fhir_server.scheduling.intervals import Interval, encloses
from fhir_server.scheduling.policy import Policy

Key: TypeAlias = tuple[datetime, str, str]

DAY = timedelta(days=1)

OFFERS_MAX = 50_000
"""Free Slots that one search computes at most."""

LOOKS_MAX = 250_000
"""Times, free or taken, that one search looks at."""

NEXT_DAYS_MAX = 731
"""How far from its start a search for the next free Slots looks."""

FIRST_DAYS = 7
"""What is looked at first for the next free Slots; then four times as long each time, up to the longest window."""


class Timed(Protocol):
    """A time that is looked at: it is free while places are left, and its key is its place in the order."""

    @property
    def start(self) -> datetime: ...

    @property
    def key(self) -> Key: ...

    @property
    def left(self) -> int: ...


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True, slots=True)
class Offer:
    """A time that a Schedule offers as one Slot, free while places are left; `published` is the Slot if it is an
    EHR's own. Offers are ordered by start, Schedule, id."""

    start: datetime
    end: datetime
    bookable: Bookable
    id: str
    left: int
    published: Json | None = None

    @property
    def schedule(self) -> str:
        return self.bookable.reference

    @property
    def key(self) -> Key:
        return self.start, self.schedule, self.id

    @property
    def slot(self) -> Json:
        """The Slot as it is found: one that an EHR published with what is said of it beside what it says."""
        if self.published is None:
            return slot_resource(self.bookable, self.id, self.start, self.end, self.left)
        own = self.published.get("extension", [])
        urls = {one["url"] for one in own}
        more = [one for one in said_of(self.bookable.calendar, self.left) if one["url"] not in urls]
        return {**self.published, "extension": [*own, *more]} if more else self.published


@dataclass(frozen=True, slots=True)
class Findings:
    """The free Slots in order, the ids of published ones that say free but cannot be booked, the Schedules that
    were looked at, and those asked for that there are not."""

    offers: Sequence[Offer]
    withheld: frozenset[str]
    schedules: frozenset[str]
    unknown: frozenset[str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What is in the way of bookings in a window: claims by actor; and by Schedule the Slots that EHRs published."""

    claims: Mapping[str, Sequence[Claim]]
    published: Mapping[str, Sequence[Json]]


def find(ask: Ask, now: datetime, policy: Policy) -> Plan[Findings]:
    """Every free Slot that lies in the window. Refuses too many; the window is its caller's to limit."""
    selection = yield from select_schedules(ask, policy)
    bookables = yield from load_bookables(selection.schedules, policy)
    taken = yield from load_taken(bookables, ask.start, ask.end, policy.base)
    offers = collect(look(bookables, ask, now, taken))
    offered = {offer.id for offer in offers}
    published = {slot["id"] for slots in taken.published.values() for slot in slots if slot["status"] == "free"}
    looked_at = frozenset(bookable.reference for bookable in bookables)
    return Findings(offers, frozenset(published - offered), looked_at, selection.unknown)


def collect(looks: Iterator[T]) -> list[T]:
    """The free ones. Refuses too many, rather than to cut."""
    offers: list[T] = []
    for number, offer in enumerate(looks):
        if offer.left > 0:
            offers.append(offer)
        if number >= LOOKS_MAX or len(offers) > OFFERS_MAX:
            most, what = (OFFERS_MAX, "are free") if len(offers) > OFFERS_MAX else (LOOKS_MAX, "are to be looked at")
            text = f"More than {most} slots {what}; ask for a shorter window or fewer schedules."
            raise FhirError("too-costly", text, "end")
    return offers


# The next ones


@dataclass(frozen=True, slots=True)
class Following(Generic[T]):
    """The next free times in order; `rest` is the key after which more may follow, None if none do before `until`."""

    found: Sequence[T]
    rest: Key | None
    until: datetime


def find_next(
    ask: Ask, count: int, after: Key | None, now: datetime, policy: Policy
) -> Plan[tuple[frozenset[str], Following[Offer]]]:
    """The Schedules asked for that there are not, and the next `count` free Slots from `ask.start` on, behind `after`,
    however far: `ask.end` does not count."""
    selection = yield from select_schedules(ask, policy)
    bookables = yield from load_bookables(selection.schedules, policy)
    following = yield from follow(
        bookables, ask, count, after, now, policy, lambda within, taken: look(bookables, within, now, taken)
    )
    return selection.unknown, following


def follow(
    bookables: Sequence[Bookable],
    ask: Ask,
    count: int,
    after: Key | None,
    now: datetime,
    policy: Policy,
    looks: Callable[[Ask, Taken], Iterator[T]],
) -> Plan[Following[T]]:
    """The next `count` free times that `looks` yields: one batch for each stretch of time, until there are enough or
    nothing can follow. A search that has looked at too much ends early, with the key to go on from."""
    start = max(ask.start, after[0]) if after else ask.start
    refuse_far(ask.start, start, "start")
    until = max(_last(bookables, ask, now), start)
    found: list[T] = []
    looked, days = 0, FIRST_DAYS
    while start < until:
        stretch = min(start + days * DAY, until)
        within = replace(ask, start=start, end=stretch + policy.appointment_length_max, before=stretch)
        taken = yield from load_taken(bookables, within.start, within.end, policy.base)
        for each in looks(within, taken):
            if looked >= LOOKS_MAX:
                return Following(found, (each.start, "", ""), until)
            looked += 1
            if each.left > 0 and (after is None or each.key > after):
                if len(found) == count:
                    return Following(found, found[-1].key, until)
                found.append(each)
        start, days = stretch, min(4 * days, policy.window_days_max)
    return Following(found, None, until)


def _last(bookables: Sequence[Bookable], ask: Ask, now: datetime) -> datetime:
    """When the last of the calendars ends, or is not yet to be booked; at most NEXT_DAYS_MAX from the start."""
    limit = ask.start + NEXT_DAYS_MAX * DAY
    ends = [_end(bookable.calendar, now, limit) for bookable in bookables if is_active(bookable.calendar)]
    return min(max(ends, default=ask.start), limit)


def _end(calendar: Calendar, now: datetime, limit: datetime) -> datetime:
    return min(horizon(calendar).end, slots.offered_until(calendar, now) or limit)


# What there is at each time


def load_taken(bookables: Sequence[Bookable], start: datetime, end: datetime, base: str) -> Plan[Taken]:
    """What is in the way of Slots in [start, end): one batch, or none for no Schedule."""
    if not bookables:
        return Taken({}, {})
    schedules = frozenset(bookable.reference for bookable in bookables)
    found = yield [
        load_claims(bookables, (), start, end),
        Matching("Slot", {"schedule": schedules, "status": OFFERING}, ("start", start, end)),
    ]
    published: dict[str, list[Json]] = {}
    for stored in found[1]:
        slot = stored.resource if isinstance(stored, Stored) else None
        if slot and not is_computed(slot):
            published.setdefault(target(slot["schedule"], base) or "", []).append(slot)
    return Taken(by_actor(found[0]), published)


def look(bookables: Sequence[Bookable], ask: Ask, now: datetime, taken: Taken) -> Iterator[Offer]:
    """Every time that the rules of the Schedules offer in the window, in order, with the places that are left; nothing
    is computed before it is asked for."""
    each = [look_at(bookable, ask, now, taken) for bookable in bookables]
    return merge(*each, key=lambda offer: offer.key)


def look_at(bookable: Bookable, ask: Ask, now: datetime, taken: Taken) -> Iterator[Offer]:
    """The same of one Schedule: the Slots that an EHR published, and the computed ones of other times."""
    if not is_wanted(bookable.calendar, ask):
        return iter(())
    published = _published(bookable, ask, now, taken)
    said = {
        (instant(slot["start"]), instant(slot["end"]))
        for slot in taken.published.get(bookable.reference, ())
        if slot["status"] != "free"
    }
    said |= {(offer.start, offer.end) for offer in published}
    computed = _computed(bookable, ask, now, taken)
    if not said:
        return computed
    return merge(
        published,
        (offer for offer in computed if (offer.start, offer.end) not in said),
        key=lambda offer: offer.key,
    )


@dataclass(frozen=True, slots=True)
class Beside:
    """A Schedule that takes any whole minute beside others (`finding.in_company`): what its hours and blocks leave, and
    before when a visit on it must start."""

    bookable: Bookable
    free: Sequence[Interval]
    before: datetime

    def takes(self, time: Interval) -> bool:
        """Whether its rules offer the time."""
        return time.start < self.before and any(encloses(each, time) for each in self.free)


def beside(bookable: Bookable, start: datetime, end: datetime, now: datetime) -> Beside:
    """The Schedule in [start, end), from when its notice allows."""
    calendar = bookable.calendar
    first = max(start, slots.offered_from(calendar, now))
    free = slots.stretches(calendar, first, end) if first < end else []
    return Beside(bookable, free, slots.offered_until(calendar, now) or end)


def offer_at(one: Beside, time: Interval, ask: Ask, now: datetime, taken: Taken) -> Offer | None:
    """What the Schedule offers at exactly this time: the Slot that an EHR published, or a computed one."""
    bookable = one.bookable
    if not is_wanted(bookable.calendar, ask):
        return None
    said = [
        slot
        for slot in taken.published.get(bookable.reference, ())
        if (instant(slot["start"]), instant(slot["end"])) == (time.start, time.end)
    ]
    minutes = (time.end - time.start) // slots.MINUTE
    if said:
        exactly = replace(ask, start=time.start, end=time.end, duration_minutes=minutes)
        return next(iter(_published(bookable, exactly, now, taken)), None)
    id = slots.slot_id(bookable.reference.partition("/")[2], time.start, minutes)
    if id is None or not one.takes(time):
        return None
    return Offer(time.start, time.end, bookable, id, _left(bookable, time, _near(bookable, [time], taken.claims)))


def _published(bookable: Bookable, ask: Ask, now: datetime, taken: Taken) -> list[Offer]:
    calendar = bookable.calendar
    found = []
    for slot in taken.published.get(bookable.reference, ()):
        times = Interval(instant(slot["start"]), instant(slot["end"]))
        minutes = (times.end - times.start) / timedelta(minutes=1)
        asked = ask.duration_minutes in (None, minutes) and ask.start <= times.start and times.end <= ask.end
        begins = ask.before is None or times.start < ask.before
        suits = asked and begins and ask.wishes.suit(times, calendar.zone)
        if suits and slot["status"] == "free" and is_current(calendar, times.start, times.end, now):
            left = places_left(taken.claims, claims_on(bookable, times.start, times.end, ""))
            found.append(Offer(times.start, times.end, bookable, slot["id"], left, slot))
    return sorted(found, key=lambda offer: offer.key)


def is_current(calendar: Calendar, start: datetime, end: datetime, now: datetime) -> bool:
    """Whether a Slot that an EHR published can be booked as far as rules go: its hours are its own."""
    return PUBLISHED_REFUSALS.isdisjoint(slots.refusals(calendar, start, end, now))


def _computed(bookable: Bookable, ask: Ask, now: datetime, taken: Taken) -> Iterator[Offer]:
    calendar = bookable.calendar
    start = max(ask.start, slots.offered_from(calendar, now))
    until = min(filter(None, (ask.before, slots.offered_until(calendar, now), ask.end)))
    minutes = ask.duration_minutes or calendar.parameters.duration_minutes
    schedule_id = bookable.reference.partition("/")[2]
    for _, intervals in groupby(slots.candidates(calendar, start, ask.end, minutes), key=_utc_day):
        suiting = [each for each in intervals if each.start < until and ask.wishes.suit(each, calendar.zone)]
        near = _near(bookable, suiting, taken.claims) if suiting else {}
        for each in suiting:
            left = _left(bookable, each, near)
            id = slots.slot_id(schedule_id, each.start, minutes)
            if id is not None:
                yield Offer(each.start, each.end, bookable, id, left)


def _utc_day(interval: Interval) -> object:
    return interval.start.date()


def _near(
    bookable: Bookable, intervals: Sequence[Interval], taken: Mapping[str, Sequence[Claim]]
) -> Mapping[str, Sequence[Claim]]:
    """The claims that can matter to visits at these times: with buffers, and all of the local day for its maximum."""
    start, end = intervals[0].start - DAY, intervals[-1].end + DAY
    actors = (*bookable.claimed, f"{bookable.reference}#day")
    near = {actor: [each for each in taken.get(actor, ()) if each.start < end and start < each.end] for actor in actors}
    return {actor: claims for actor, claims in near.items() if claims}


def _left(bookable: Bookable, interval: Interval, near: Mapping[str, Sequence[Claim]]) -> int:
    parameters = bookable.calendar.parameters
    opens = interval.start - timedelta(minutes=parameters.buffer_before_minutes)
    closes = interval.end + timedelta(minutes=parameters.buffer_after_minutes)
    if not any(each.start < closes and opens < each.end for claims in near.values() for each in claims):
        return min(parameters.capacity, parameters.per_day_max or parameters.capacity)
    return places_left(near, claims_on(bookable, interval.start, interval.end, ""))
