"""Times at which several are free together: of each group one, the first that can, in order of preference.

What is found can be booked: the same Slots, with the room that a booking on all of them needs (docs/find-slots.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from heapq import merge
from itertools import groupby
from typing import Literal, TypeAlias

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Load, Matching, Plan, Stored
from fhir_server.scheduling.availability import local_day
from fhir_server.scheduling.elements import claimed_as, kind, target, targets
from fhir_server.scheduling.finding import (
    Ask,
    Bookable,
    claims_together,
    go_together,
    has_grid,
    in_company,
    load_bookables,
    places_left,
)
from fhir_server.scheduling.intervals import Interval
from fhir_server.scheduling.offers import (
    Following,
    Key,
    Offer,
    Taken,
    beside,
    collect,
    follow,
    load_taken,
    look_at,
    offer_at,
)
from fhir_server.scheduling.policy import Policy

Groups: TypeAlias = Sequence[Sequence[str]]
"""All of these are needed; of each any one, in order of preference: Schedules, or actors that have some, `Type/id`."""

Assign: TypeAlias = Literal["preference", "least-busy"]
"""Whom of a group a time is offered with: the first that is free, or the one with the least to do that day."""

GROUPS_MAX = 8
MEMBERS_MAX = 100
TRIES_MAX = 500_000
"""Choices that one search weighs."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A Schedule that can take a part; `actor` is whose part it is, `person` whose time that takes."""

    bookable: Bookable
    actor: str
    person: str


@dataclass(frozen=True, slots=True)
class Combination:
    """A time, and the free Slots that make it up, one of each Schedule; none if not all are free then."""

    start: datetime
    end: datetime
    offers: tuple[Offer, ...] = ()

    @property
    def left(self) -> int:
        return min((offer.left for offer in self.offers), default=0)

    @property
    def key(self) -> Key:
        return self.start, "*", ""


@dataclass(frozen=True, slots=True)
class Team:
    """Who can take each part, and those of the groups who have no Schedule here."""

    picks: Sequence[Sequence[Pick]]
    idle: Sequence[str]

    @property
    def bookables(self) -> list[Bookable]:
        found = {pick.bookable.reference: pick.bookable for group in self.picks for pick in group}
        return [found[reference] for reference in sorted(found)]


def find_joint(
    groups: Groups, ask: Ask, now: datetime, policy: Policy, assign: Assign = "preference"
) -> Plan[tuple[Team, Sequence[Combination]]]:
    """Every time in [ask.start, ask.end) at which of each group one is free, each time once, in order.

    Slots last `ask.duration_minutes`, else as long as those of the first Schedule. Places, services and specialties
    that are asked for must be those of every Schedule that has any. The round trips do not grow with the Schedules.
    """
    team = yield from load_team(groups, policy)
    taken = yield from load_taken(team.bookables, ask.start, ask.end, policy.base)
    return team, collect(combine(team, ask, now, taken, assign))


def find_next_joint(
    groups: Groups,
    ask: Ask,
    count: int,
    after: Key | None,
    now: datetime,
    policy: Policy,
    assign: Assign = "preference",
) -> Plan[tuple[Team, Following[Combination]]]:
    """The next `count` such times from `ask.start` on, behind `after`, however far."""
    team = yield from load_team(groups, policy)
    following = yield from follow(
        team.bookables,
        ask,
        count,
        after,
        now,
        policy,
        lambda within, taken: combine(team, within, now, taken, assign),
    )
    return team, following


# Who can take part


def load_team(groups: Groups, policy: Policy) -> Plan[Team]:
    """The Schedules of each member of each group; five batches. Refuses too many groups, members or Schedules."""
    refuse_many(groups)
    members = frozenset(member for group in groups for member in group)
    people = frozenset(member for member in members if kind(member) == "Practitioner")
    named = frozenset(member for member in members if kind(member) != "Schedule")
    loads: list[Load] = [ById(named), Matching("PractitionerRole", {"practitioner": people})]
    found = [one for each in (yield loads) for one in each if isinstance(one, Stored)]
    known = {f"{one.type}/{one.id}": one.resource for one in found if one.resource}
    actors = {member: _actors(member, known, policy.base) for member in members}
    schedules = yield [
        ById(members - named),
        Matching("Schedule", {"actor": frozenset().union(*actors.values())}, limit=policy.schedules_max),
    ]
    by_id = {one.id: one for each in schedules for one in each if isinstance(one, Stored)}
    bookables = yield from load_bookables([by_id[id] for id in sorted(by_id)], policy, known)
    picks = [
        [
            pick
            for member in dict.fromkeys(group)
            for pick in _picks(member, actors[member], bookables, known, policy.base)
        ]
        for group in groups
    ]
    busy = {pick.actor for group in picks for pick in group}
    return Team(picks, sorted(members - busy))


def refuse_many(groups: Groups) -> None:
    """Refuses too many groups, or members of one."""
    for what, count, most in (
        ("groups", len(groups), GROUPS_MAX),
        ("members of a group", max((len(group) for group in groups), default=0), MEMBERS_MAX),
    ):
        if count > most:
            raise FhirError("too-costly", f"At most {most} {what} can be asked for, not {count}.", "participant")


def _actors(member: str, known: Mapping[str, Json], base: str) -> set[str]:
    """The actors of which a Schedule of the member has one: a person is one in each role."""
    if kind(member) == "Schedule":
        return set()
    if kind(member) != "Practitioner":
        return {member}
    roles = (
        ref
        for ref, one in known.items()
        if kind(ref) == "PractitionerRole" and target(one.get("practitioner"), base) == member
    )
    return {member, *roles}


def _picks(
    member: str, actors: set[str], bookables: Sequence[Bookable], known: Mapping[str, Json], base: str
) -> Iterator[Pick]:
    person = claimed_as(member, known, base) or member
    for bookable in bookables:
        own = set(targets(bookable.calendar.schedule.get("actor", ()), base))
        if bookable.reference == member or not own.isdisjoint(actors):
            yield Pick(bookable, member, person)


# When they are free together


def combine(team: Team, ask: Ask, now: datetime, taken: Taken, assign: Assign = "preference") -> Iterator[Combination]:
    """Every time that a Schedule of each group offers, in order, with the best choice that is free, if there is one."""
    if not all(team.picks):
        return
    own = team.picks[0][0].bookable.calendar.parameters.duration_minutes
    timed = replace(ask, duration_minutes=ask.duration_minutes or own)
    leading = [one for one in team.bookables if has_grid(one)] or team.bookables
    following = [
        beside(one, ask.start, ask.end, now) for one in in_company(team.bookables) if one not in team.bookables
    ]
    looks = [look_at(bookable, _asked_of(bookable, timed), now, taken) for bookable in leading]
    choosing = _Choosing(team, taken, _Loads(taken, ask) if assign == "least-busy" else None)
    for (start, end), each in groupby(merge(*looks, key=lambda offer: offer.key), key=lambda o: (o.start, o.end)):
        offers: dict[str, Offer] = {}
        for offer in each:
            if offer.left > 0:
                offers.setdefault(offer.schedule, offer)
        if offers:
            time = Interval(start, end)
            joining = (offer_at(one, time, _asked_of(one.bookable, timed), now, taken) for one in following)
            offers |= {offer.schedule: offer for offer in joining if offer and offer.left > 0}
        yield Combination(start, end, choosing.choose(offers))


def _asked_of(bookable: Bookable, ask: Ask) -> Ask:
    """What is asked of this Schedule: one of a room or a device has no service and no specialty."""
    if bookable.calendar.roles or bookable.calendar.services:
        return ask
    return replace(ask, services=frozenset(), service_types=frozenset(), specialties=frozenset())


@dataclass(slots=True)
class _Choosing:
    """Chooses of each group the first member that goes with those chosen before; counts what it weighs."""

    team: Team
    taken: Taken
    loads: _Loads | None
    tries: int = 0
    fitting: dict[tuple[str, str], bool] = field(default_factory=dict)

    def choose(self, offers: Mapping[str, Offer]) -> tuple[Offer, ...]:
        """The Slots of the choice, one of each Schedule; none if there is none."""
        groups = []
        for group in self.team.picks:
            free = [pick for pick in group if pick.bookable.reference in offers]
            if not free:
                return ()
            groups.append(self.loads.order(free, offers) if self.loads else free)
        chosen = self._extend(groups, (), offers)
        return tuple(offers[reference] for reference in dict.fromkeys(pick.bookable.reference for pick in chosen))

    def _extend(
        self, groups: Sequence[Sequence[Pick]], chosen: tuple[Pick, ...], offers: Mapping[str, Offer]
    ) -> tuple[Pick, ...]:
        if len(chosen) == len(groups):
            return chosen
        for pick in groups[len(chosen)]:
            self.tries += 1
            if self.tries > TRIES_MAX:
                text = "There are too many ways to choose; ask for fewer participants or a shorter window."
                raise FhirError("too-costly", text, "participant")
            if self._goes_with(pick, chosen, offers) and (full := self._extend(groups, (*chosen, pick), offers)):
                return full
        return ()

    def _goes_with(self, pick: Pick, chosen: Sequence[Pick], offers: Mapping[str, Offer]) -> bool:
        """Whether nobody takes two parts, all meet at one place, and those who share a room fit together."""
        if any(pick.person == other.person for other in chosen):
            return False
        others = {other.bookable.reference: other.bookable for other in chosen}
        if pick.bookable.reference in others:
            return True
        if not all(self._fit(pick.bookable, other) for other in others.values()):
            return False
        if all(pick.bookable.claimed.isdisjoint(other.claimed) for other in others.values()):
            return True
        offer = offers[pick.bookable.reference]
        together = claims_together([*others.values(), pick.bookable], offer.start, offer.end, "")
        return places_left(self.taken.claims, together) > 0

    def _fit(self, one: Bookable, other: Bookable) -> bool:
        """Whether two Schedules can be of one visit: they go together, and no person is on both."""
        pair = one.reference, other.reference
        if pair not in self.fitting:
            shared = any(kind(actor) == "Practitioner" for actor in one.claimed & other.claimed)
            self.fitting[pair] = not shared and go_together(one, other)
        return self.fitting[pair]


# Who has the least to do


@dataclass(slots=True)
class _Loads:
    """How many minutes each person is booked, by local day and in the window."""

    taken: Taken
    ask: Ask
    known: dict[str, tuple[Mapping[date, float], float]] = field(default_factory=dict)

    def order(self, picks: Sequence[Pick], offers: Mapping[str, Offer]) -> list[Pick]:
        """The picks, who has the least to do that day first, then in the window; as listed where that is the same."""

        def weigh(pick: Pick) -> tuple[float, float]:
            by_day, in_window = self._minutes(pick)
            day = local_day(offers[pick.bookable.reference].start, pick.bookable.calendar.zone)
            return by_day.get(day, 0.0), in_window

        return sorted(picks, key=weigh)

    def _minutes(self, pick: Pick) -> tuple[Mapping[date, float], float]:
        actor = pick.person if pick.person in pick.bookable.claimed else pick.bookable.reference
        if actor not in self.known:
            by_day: dict[date, float] = {}
            in_window = 0.0
            for claim in self.taken.claims.get(actor, ()):
                minutes = (claim.core_end - claim.core_start).total_seconds() / 60 if claim.capacity else 0.0
                day = local_day(claim.core_start, pick.bookable.calendar.zone)
                by_day[day] = by_day.get(day, 0.0) + minutes
                in_window += minutes if self.ask.start <= claim.core_start < self.ask.end else 0.0
            self.known[actor] = by_day, in_window
        return self.known[actor]
