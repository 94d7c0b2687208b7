"""A small clinic in minutes, as obvious as can be: what is there, and what can be booked. The oracle of `machine`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

DAY = 24 * 60
DAYS = 2
OCCUPYING = frozenset({"pending", "booked", "arrived", "checked-in", "fulfilled"})

Window = tuple[int, int]
"""From a minute to another, the end excluded."""


@dataclass(frozen=True)
class Calendar:
    """A Schedule: whose time it is, the minutes of each day when it is open, and how it is cut. Without a `step` slots
    follow each other from the start of the window."""

    id: str
    actor: str
    duration: int
    windows: tuple[Window, ...]
    step: int = 0
    after: int = 0
    capacity: int = 1
    leave: tuple[Window, ...] = ()

    @cached_property
    def minutes(self) -> frozenset[int]:
        """All that it is open."""
        opened = {day * DAY + each for day in range(DAYS) for start, end in self.windows for each in range(start, end)}
        return frozenset(opened.difference(*(range(start, end) for start, end in self.leave)))

    def is_open(self, start: int, end: int) -> bool:
        return self.minutes.issuperset(range(start, end))

    def is_on_grid(self, start: int, end: int) -> bool:
        if self.step:
            return start % self.step == 0
        opened = [start // DAY * DAY + first for first, last in self.windows if first <= start % DAY < last]
        return all((start - first) % (end - start) == 0 for first in opened)


@dataclass(frozen=True)
class Visit:
    """An Appointment: from `start` to `end` with `who` and in the room. A hold began at `since` and ends at `expires`.
    `on` is the Slot of the EHR that it stands on, `series` the number of the series that it is in, and `number` its
    place there."""

    status: str
    start: int
    end: int
    patient: str
    who: str
    room: bool = False
    since: int = 0
    expires: int | None = None
    on: str | None = None
    waits: bool = False
    series: int = 0
    number: int = 0

    def is_live(self, now: int) -> bool:
        return self.status in OCCUPYING and not self.is_over_held(now)

    def is_over_held(self, now: int) -> bool:
        return self.status == "pending" and self.expires is not None and self.expires <= now


@dataclass(frozen=True)
class Published:
    """A Slot that the EHR wrote: free, busy by the EHR, or taken by a visit."""

    calendar: str
    start: int
    end: int
    status: str


@dataclass
class Model:
    """All there is. `now` is a minute, like every time here; minute 0 is the first midnight."""

    calendars: dict[str, Calendar]
    now: int
    visits: dict[str, Visit] = field(default_factory=dict)
    published: dict[str, Published] = field(default_factory=dict)

    def calendars_of(self, visit: Visit) -> list[Calendar]:
        return [self.calendars[visit.who], *([self.calendars["room"]] if visit.room else [])]

    def live(self) -> dict[str, Visit]:
        return {id: visit for id, visit in self.visits.items() if visit.is_live(self.now)}

    def taken_by_ehr(self) -> Iterator[tuple[str, Published]]:
        """The Slots with which the EHR blocks time."""
        for id, slot in self.published.items():
            if slot.status == "busy" and not any(visit.on == id for visit in self.live().values()):
                yield id, slot

    def free_slot(self, calendar: Calendar, start: int, end: int) -> str | None:
        """The free Slot that the EHR offers at exactly that time."""
        for id, slot in self.published.items():
            if (slot.calendar, slot.start, slot.end, slot.status) == (calendar.id, start, end, "free"):
                return id
        return None

    def rules(self, calendar: Calendar, start: int, end: int, on: str | None = None) -> set[str]:
        """Why the rules of a calendar do not offer a time; those of a Slot of the EHR are the EHR's."""
        found = {"in-the-past"} if start < self.now else set()
        if on is not None:
            return found
        if not calendar.is_open(start, end):
            found.add("closed")
        return found if calendar.is_on_grid(start, end) else found | {"off-grid"}

    def conflicts(self, visit: Visit, own: Collection[str] = (), handed: str | None = None) -> set[str]:
        """Who of a visit is taken by others than `own`; a Slot that is handed over to it takes nothing."""
        others = [one for id, one in self.live().items() if id not in own]
        found = set()
        if any(one.patient == visit.patient and _overlap(one, visit) for one in others):
            found.add("patient")
        for calendar in self.calendars_of(visit):
            blocks = [one for id, one in self.taken_by_ehr() if id != handed and one.calendar == calendar.id]
            sharing = [one for one in others if calendar in self.calendars_of(one)]
            if any(_overlap(one, visit, 0, calendar.after) for one in blocks):
                found.add(calendar.id)
            if self.places_left(calendar, visit, sharing) < 1:
                found.add(calendar.id)
        return found

    def places_left(self, calendar: Calendar, visit: Visit, sharing: Collection[Visit]) -> int:
        """How many more can be there with these: one at a time with its buffer around, or a group at the same time."""
        if calendar.capacity == 1:
            return 0 if any(_overlap(one, visit, calendar.after, calendar.after) for one in sharing) else 1
        most = max(sum(one.start <= minute < one.end for one in sharing) for minute in range(visit.start, visit.end))
        return calendar.capacity - most

    def refused(
        self,
        visit: Visit,
        own: Collection[str] = (),
        *,
        asked: Collection[str] | None = None,
        waived: Collection[str] = (),
    ) -> int:
        """The status of the refusal of a visit, 0 if it can be booked. Only the calendars that are `asked` count, all
        if None is given: the others are its own already. A Slot that it is `on` is handed over to it."""
        calendars = [one for one in self.calendars_of(visit) if asked is None or one.id in asked]
        on = {visit.who: visit.on}
        against = {rule for one in calendars for rule in self.rules(one, visit.start, visit.end, on.get(one.id))}
        if against - set(waived):
            return 422
        taken = self.conflicts(visit, own, visit.on)
        return 409 if taken and (asked is None or taken & set(asked)) else 0

    def offered(self, calendar: Calendar) -> dict[Window, int]:
        """Every time that can be booked as it is found, with the places that are left, minute by minute."""
        spans = {(start, start + calendar.duration) for start in calendar.minutes}
        spans |= {(one.start, one.end) for one in self.published.values() if one.calendar == calendar.id}
        found = {}
        for start, end in sorted(spans):
            probe = Visit("booked", start, end, "nobody", calendar.id)
            on = self.free_slot(calendar, start, end)
            if not self.rules(calendar, start, end, on) and not self.conflicts(probe):
                sharing = [one for one in self.live().values() if calendar in self.calendars_of(one)]
                found[start, end] = self.places_left(calendar, probe, sharing)
        return found

    def stranded(self, calendar: str) -> set[str]:
        """The visits to come on a calendar that it would not offer any more."""
        found = set()
        for id, visit in self.live().items():
            own = self.calendars_of(visit)
            if visit.end <= self.now or calendar not in {one.id for one in own}:
                continue
            shut = [one for one in own if not one.is_open(visit.start, visit.end)]
            if (shut and visit.on is None) or self.conflicts(visit, (id,)):
                found.add(id)
        return found

    def over_capacity(self) -> set[tuple[str, int]]:
        """The actors that have too many at a minute, and when: as the visits say, buffers aside."""
        found = set()
        for minute in range(DAYS * DAY):
            there = [one for one in self.live().values() if one.start <= minute < one.end]
            for calendar in self.calendars.values():
                if sum(calendar in self.calendars_of(one) for one in there) > calendar.capacity:
                    found.add((calendar.actor, minute))
            patients = [one.patient for one in there]
            found |= {(one, minute) for one in patients if patients.count(one) > 1}
        return found

    def change(self, id: str, **changed: object) -> None:
        self.visits[id] = replace(self.visits[id], **changed)  # type: ignore[arg-type]

    def pass_to(self, now: int) -> None:
        """Time goes by: holds that are over are cancelled, and their Slots free."""
        self.now = now
        for id, visit in self.visits.items():
            if visit.is_over_held(now):
                self.give_back(id)
                self.change(id, status="cancelled")

    def give_back(self, id: str) -> None:
        """What a visit stood on is free again, unless its time is over."""
        slot = self.visits[id].on
        if slot and self.published[slot].end > self.now:
            self.published[slot] = replace(self.published[slot], status="free")


def claims(model: Model) -> Mapping[str, set[tuple[str, int, int]]]:
    """By owner what must be claimed of the time to come: actor, start and end, buffers included."""
    found: dict[str, set[tuple[str, int, int]]] = {}
    for id, visit in model.live().items():
        if visit.end > model.now:
            own = model.calendars_of(visit)
            taken = {(one.actor, visit.start, visit.end + one.after) for one in own}
            found[f"Appointment/{id}"] = taken | {(f"Patient/{visit.patient}", visit.start, visit.end)}
    for id, slot in model.taken_by_ehr():
        if slot.end > model.now:
            found[f"Slot/{id}"] = {(model.calendars[slot.calendar].actor, slot.start, slot.end)}
    return found


def _overlap(one: Visit | Published, other: Visit, after: int = 0, others_after: int = 0) -> bool:
    return one.start < other.end + others_after and other.start < one.end + after
