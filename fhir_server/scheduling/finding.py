"""From Schedules to what is free: load their calendars in a fixed number of batches, then compute.

$find-slots, Slot search and read, and booking share these plans, so what is found and what can be booked agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fhir_server.outcome import CANONICAL, FhirError, Json
from fhir_server.plan import ById, Claim, Claimed, Found, Load, Loaded, Matching, Plan, Stored
from fhir_server.scheduling import availability, slots
from fhir_server.scheduling.availability import Calendar
from fhir_server.scheduling.elements import (
    COMPUTED_TAG,
    claimed_as,
    kind,
    say,
    target,
    targets,
)
from fhir_server.scheduling.intervals import Interval
from fhir_server.scheduling.parameters import name_reference
from fhir_server.scheduling.policy import Policy
from fhir_server.scheduling.preferences import Wishes
from fhir_server.scheduling.terms import terms_of

REMAINING = f"{CANONICAL}/StructureDefinition/remaining-places"
ANY = Wishes()
SLOT_CAPACITY = "http://fhir-registry.smarthealthit.org/StructureDefinition/slot-capacity"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is looked for in [start, end). Sets of one kind are alternatives, kinds are all required; empty means
    any. References are `Type/id`, tokens are index values (`*|code`, `system|code`). Slots start before `before`, if it
    is given, and are as `wishes` say."""

    start: datetime
    end: datetime
    schedules: frozenset[str] = frozenset()
    actors: frozenset[str] = frozenset()
    practitioners: frozenset[str] = frozenset()
    locations: frozenset[str] = frozenset()
    organizations: frozenset[str] = frozenset()
    service_types: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    specialties: frozenset[str] = frozenset()
    duration_minutes: int | None = None
    before: datetime | None = None
    wishes: Wishes = ANY


@dataclass(frozen=True, slots=True)
class Bookable:
    """A Schedule with its calendar and whose time a booking on it takes."""

    reference: str
    calendar: Calendar
    claimed: frozenset[str]


YEARS = range(1900, 3000)
"""What can be asked for and booked: a day more or less is then never out of reach."""


def refuse_far(start: datetime, end: datetime, where: str) -> None:
    """Refuses times that are beyond what anybody schedules, where arithmetic with days ends."""
    if start.year not in YEARS or end.year not in YEARS:
        text = f"Times must be in the years {YEARS[0]} to {YEARS[-1]}."
        raise FhirError("value", text, where, problem="too-far-away", status=422)


def refuse_window(start: datetime, end: datetime, policy: Policy) -> None:
    """Refuses an empty, reversed, too long or too far window."""
    refuse_far(start, end, "start")
    if end <= start:
        raise FhirError("value", "The end of the window must be after its start.", "end", status=400)
    if end - start > timedelta(days=policy.window_days_max):
        text = f"The window is limited to {policy.window_days_max} days; ask for a shorter one."
        raise FhirError("too-costly", text, "end")


@dataclass(frozen=True, slots=True)
class Selection:
    """The Schedules that are looked at, ordered by id, and those asked for by reference that there are not."""

    schedules: Sequence[Stored]
    unknown: frozenset[str] = frozenset()


def select_schedules(ask: Ask, policy: Policy) -> Plan[Selection]:
    """The Schedules that the references of `ask` allow, or its tokens if it has no references."""
    groups = yield from _actor_groups(ask, policy.base)
    loads: list[Load] = [_by_actor(actors, policy) for actors in groups]
    if ask.schedules:
        if len(ask.schedules) > policy.schedules_max:
            raise FhirError("too-costly", f"At most {policy.schedules_max} Schedules can be named at once.", "schedule")
        found = yield [*loads, ById(ask.schedules)]
        known = {_reference(one) for one in found[-1] if isinstance(one, Stored)}
        return Selection(_in_all(found), ask.schedules - known)
    if loads:
        return Selection(_in_all((yield loads)))
    by_token = [
        Matching("Schedule", {code: values}, limit=policy.schedules_max)
        for code, values in (("service-type", ask.service_types), ("specialty", ask.specialties))
        if values
    ]
    if not by_token:
        return Selection(_in_all((yield [Matching("Schedule", {}, limit=policy.schedules_max)])))
    actors = yield from _actors_of_tokens(ask, policy.base)
    return Selection(_in_any((yield [*by_token, _by_actor(actors, policy)])))


def _by_actor(actors: Iterable[str], policy: Policy) -> Matching:
    return Matching("Schedule", {"actor": frozenset(actors)}, limit=policy.schedules_max)


def _actor_groups(ask: Ask, base: str) -> Plan[list[set[str]]]:
    """For each kind of reference asked for, the actors of which a Schedule must have one: the people, roles, rooms and
    services that belong to it."""
    places = yield from _places_in(ask.locations)
    loads: dict[str, list[Load]] = {}
    if ask.practitioners:
        loads["practitioner"] = [Matching("PractitionerRole", {"practitioner": ask.practitioners})]
    if places:
        loads["location"] = [
            Matching(type, {"location": places}) for type in ("PractitionerRole", "HealthcareService", "Device")
        ]
    if ask.organizations:
        loads["organization"] = [
            Matching(type, {"organization": ask.organizations})
            for type in ("PractitionerRole", "Location", "HealthcareService", "Device")
        ]
    if ask.services:
        loads["service"] = [Matching("PractitionerRole", {"service": ask.services})]
    batch = [load for each in loads.values() for load in each]
    found = iter((yield batch) if batch else ())
    groups = [set(ask.actors)] if ask.actors else []
    given = {
        "practitioner": ask.practitioners,
        "location": places,
        "organization": ask.organizations,
        "service": ask.services,
    }
    for name, each in loads.items():
        groups.append(set(given[name]).union(*(_references(next(found), base) for _ in each)))
    return groups


PARTS_DEEP = 2
"""How many levels of Locations inside Locations are looked at."""


def _places_in(locations: frozenset[str]) -> Plan[frozenset[str]]:
    """The Locations with what is inside them, in a batch for each level."""
    places = locations
    for _ in range(PARTS_DEEP if locations else 0):
        parts = (yield [Matching("Location", {"partof": places})])[0]
        places |= {_reference(one) for one in parts if isinstance(one, Stored)}
    return places


def _actors_of_tokens(ask: Ask, base: str) -> Plan[set[str]]:
    """The actors that offer a service type or have a specialty of `ask`, in two batches."""
    found = yield [
        Matching("HealthcareService", {"service-type": ask.service_types}),
        Matching("PractitionerRole", {"specialty": ask.specialties}),
    ]
    services, roles = (_references(stored, base) for stored in found)
    more = yield [Matching("PractitionerRole", {"service": frozenset(services)})]
    return services | roles | _references(more[0], base)


def _references(found: Loaded, base: str) -> set[str]:
    """What was found, and of roles the people too, since a Schedule may name either."""
    stored = [one for one in found if isinstance(one, Stored)]
    people = targets((one.resource.get("practitioner", {}) for one in stored if one.resource), base)
    return {_reference(one) for one in stored} | set(people)


def _in_all(found: Found) -> Sequence[Stored]:
    shared = set.intersection(*({one.id for one in _distinct(schedules)} for schedules in found))
    return [schedule for schedule in _distinct(found[0]) if schedule.id in shared]


def _in_any(found: Found) -> Sequence[Stored]:
    return _distinct(schedule for schedules in found for schedule in schedules)


def _distinct(schedules: Iterable[object]) -> Sequence[Stored]:
    by_id = {schedule.id: schedule for schedule in schedules if isinstance(schedule, Stored)}
    return [by_id[id] for id in sorted(by_id)]


def _reference(stored: Stored) -> str:
    return f"{stored.type}/{stored.id}"


def load_bookables(
    schedules: Sequence[Stored], policy: Policy, named: Mapping[str, Json] | None = None
) -> Plan[Sequence[Bookable]]:
    """The Schedules with their calendars, in four batches: actors, what actors name, and twice what those are part of.

    What is in `named` already, by reference, is not loaded again.
    """
    if not schedules:
        return ()
    known = dict(named or {})
    base = policy.base
    actors = {ref for one in schedules for ref in targets((one.resource or {}).get("actor", ()), base)}
    practitioners = frozenset(ref for ref in actors if kind(ref) == "Practitioner")
    loads: list[Load] = [ById(frozenset(actors - known.keys()))]
    if practitioners:
        loads.append(Matching("PractitionerRole", {"practitioner": practitioners}))
    _learn(known, (yield loads))
    for _ in range(1 + PARTS_DEEP):
        _learn(known, (yield [ById(frozenset(_named(known.values(), base) - known.keys()))]))
    return tuple(_bookable(one, known, policy) for one in schedules)


def _learn(known: dict[str, Json], found: Found) -> None:
    stored = (one for each in found for one in each if isinstance(one, Stored))
    for one in stored:
        if one.resource:
            known.setdefault(_reference(one), one.resource)


_NAMES: Mapping[str, tuple[str, ...]] = {
    "Device": ("owner", "location"),
    "PractitionerRole": ("practitioner", "organization", "location", "healthcareService"),
    "Location": ("managingOrganization", "partOf"),
    "HealthcareService": ("providedBy", "location"),
    "Organization": ("partOf",),
}
"""The elements that lead from a Schedule's actors to what decides when it is open."""


def _named(resources: Iterable[Json], base: str) -> set[str]:
    named = (one.get(element) for one in resources for element in _NAMES.get(one["resourceType"], ()))
    flat = (ref for value in named if value for ref in (value if isinstance(value, list) else [value]))
    return set(targets(flat, base))


def _bookable(schedule: Stored, known: Mapping[str, Json], policy: Policy) -> Bookable:
    """A Schedule whose practitioner or place is not active is as if it were not active itself."""
    resource = schedule.resource or {}
    base = policy.base
    actors = list(targets(resource.get("actor", ()), base))
    places = [ref for ref in actors if kind(ref) == "Location"]
    roles = [known[ref] for ref in known if ref in actors and kind(ref) == "PractitionerRole"]
    roles += [
        role
        for ref, role in known.items()
        if kind(ref) == "PractitionerRole"
        and ref not in actors
        and target(role.get("practitioner"), base) in actors
        and _works_at(role, places, base)
    ]
    roles = [role if _has_person(role, known, base) else {**role, "active": False} for role in roles]
    services = [ref for ref in actors if kind(ref) == "HealthcareService"]
    services = services or [ref for role in roles for ref in targets(role.get("healthcareService", ()), base)]
    devices = [known[ref] for ref in actors if kind(ref) == "Device" and ref in known]
    places = places or [ref for role in roles for ref in targets(role.get("location", ()), base)]
    places = places or [ref for one in devices for ref in targets([one.get("location", {})], base)]
    if not roles:
        places = places or [ref for one in services for ref in targets(known.get(one, {}).get("location", ()), base)]
    locations = _with_parents(places, known, base)
    owners = [role.get("organization") for role in roles] + [device.get("owner") for device in devices]
    owners += [location.get("managingOrganization") for location in locations]
    owners += [known[ref].get("providedBy") for ref in services if ref in known]
    organizations = _with_parents(targets(filter(None, owners), base), known, base)
    closed = (
        any(not _is_active(known.get(ref, {})) for ref in actors)
        or (bool(roles) and not any(_is_active(role) for role in roles))
        or (bool(places) and not any(_is_active(location) for location in locations))
    )
    calendar = availability.calendar(
        {**resource, "active": False} if closed else resource,
        roles=tuple(roles),
        services=tuple(known[ref] for ref in dict.fromkeys(services) if ref in known),
        locations=tuple(location for location in locations if _is_active(location)),
        organizations=tuple(organizations),
        default_zone=policy.zone,
    )
    reference = _reference(schedule)
    claimed = {claimed_as(ref, known, base) for ref in actors} | {reference}
    return Bookable(reference, calendar, frozenset(filter(None, claimed)))


def _is_active(resource: Json) -> bool:
    return resource.get("active") is not False and resource.get("status") not in INACTIVE


INACTIVE = frozenset({"suspended", "inactive", "entered-in-error"})
"""The statuses in which a Location or a Device cannot be booked."""


def _has_person(role: Json, known: Mapping[str, Json], base: str) -> bool:
    return _is_active(known.get(target(role.get("practitioner"), base) or "", {}))


def _works_at(role: Json, places: Sequence[str], base: str) -> bool:
    own = set(targets(role.get("location", ()), base))
    return not own or not places or not own.isdisjoint(places)


def _with_parents(references: Iterable[str], known: Mapping[str, Json], base: str) -> list[Json]:
    """The resources, each followed by those it is part of, without repetition."""
    found: dict[str, Json] = {}
    queue = list(references)
    while queue:
        reference = queue.pop(0)
        if reference in known and reference not in found:
            found[reference] = known[reference]
            queue[:0] = targets([known[reference].get("partOf", {})], base)
    return list(found.values())


UNLIMITED = 1_000_000
"""Places in a day of a Schedule without a maximum: who is there is counted all the same, should it get one."""


def claims_on(bookable: Bookable, start: datetime, end: datetime, owner: str, units: int = 1) -> tuple[Claim, ...]:
    """What a visit of [start, end) takes of a Schedule: its actors' time with buffers, and a place in its day."""
    parameters = bookable.calendar.parameters
    before = timedelta(minutes=parameters.buffer_before_minutes)
    after = timedelta(minutes=parameters.buffer_after_minutes)
    pool, capacity = bookable.reference, parameters.capacity
    claims = [
        Claim(actor, start - before, end + after, owner, start, end, pool, capacity, units)
        for actor in sorted(bookable.claimed)
    ]
    day = local_day(bookable.calendar, start)
    limit = parameters.per_day_max or UNLIMITED
    claims.append(Claim(f"{pool}#day", day.start, day.end, owner, day.start, day.end, pool, limit))
    return tuple(claims)


def claims_together(
    bookables: Sequence[Bookable], start: datetime, end: datetime, owner: str, units: int = 1
) -> tuple[Claim, ...]:
    """What one visit on several Schedules takes of all of them: one claim for an actor that they share."""
    wanted: dict[str, Claim] = {}
    for bookable in bookables:
        for claim in claims_on(bookable, start, end, owner, units):
            wanted[claim.actor] = _joined(wanted[claim.actor], claim) if claim.actor in wanted else claim
    return tuple(wanted.values())


def _joined(one: Claim, other: Claim) -> Claim:
    """One claim for an actor of two Schedules: the longer buffers, and shared with nobody if the pools differ."""
    shared = one.pool == other.pool
    return replace(
        one,
        start=min(one.start, other.start),
        end=max(one.end, other.end),
        pool=one.pool if shared else None,
        capacity=one.capacity if shared else 1,
        units=one.units if shared else 1,
    )


def local_day(calendar: Calendar, moment: datetime) -> Interval:
    """The whole local day of the moment, from midnight to midnight."""
    return _midnights(availability.local_day(moment, calendar.zone), calendar.zone)


@lru_cache(maxsize=1024)
def _midnights(day: date, zone: ZoneInfo) -> Interval:
    midnight = datetime.combine(day, time.min)
    bounds = (availability.first_instant(wall, zone) for wall in (midnight, midnight + timedelta(days=1)))
    return Interval(*bounds)


def load_claims(bookables: Sequence[Bookable], more: Iterable[str], start: datetime, end: datetime) -> Claimed:
    """The load of all claims that can matter to a visit in [start, end): buffers included, and whole local days where
    a day has a maximum."""
    actors = {actor for bookable in bookables for actor in bookable.claimed}
    actors |= {f"{bookable.reference}#day" for bookable in bookables if bookable.calendar.parameters.per_day_max}
    return Claimed(frozenset(actors | set(more)), start - timedelta(days=1), end + timedelta(days=1))


def by_actor(claims: Loaded) -> dict[str, list[Claim]]:
    """The claims of each actor, in the order they came."""
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        if isinstance(claim, Claim):
            found.setdefault(claim.actor, []).append(claim)
    return found


def places_left(taken: Mapping[str, Sequence[Claim]], wanted: Iterable[Claim]) -> int:
    """How many units fit where all the wanted claims are made together."""
    return min(slots.room_left(taken.get(claim.actor, ()), claim) for claim in wanted)


OFFERING = frozenset({"*|free", "*|entered-in-error"})
"""Published Slots that say something of an offer: that it is one, or that this id is none."""

PUBLISHED_REFUSALS = frozenset({"schedule-inactive", "outside-horizon", "in-the-past", "too-soon", "too-far"})
"""What can refuse a Slot that an EHR published: its hours are its own."""


def is_wanted(calendar: Calendar, ask: Ask) -> bool:
    """Whether the calendar is at an asked place, has an asked service, service type and specialty, and takes such a
    patient."""
    schedule = calendar.schedule
    places = {f"Location/{location['id']}" for location in calendar.locations}
    services = {f"HealthcareService/{service['id']}" for service in calendar.services}
    types = schedule.get("serviceType") or [one for service in calendar.services for one in service.get("type", ())]
    specialties = schedule.get("specialty") or [
        one for role in (*calendar.roles, *calendar.services) for one in role.get("specialty", ())
    ]
    return (
        (not ask.locations or not places.isdisjoint(ask.locations))
        and (not ask.services or not services.isdisjoint(ask.services))
        and (not ask.service_types or not _tokens(types).isdisjoint(ask.service_types))
        and (not ask.specialties or not _tokens(specialties).isdisjoint(ask.specialties))
        and ask.wishes.taken_by(calendar)
    )


def places_of(bookable: Bookable) -> set[str]:
    """The Locations where the Schedule is, and those that they are part of."""
    return {f"Location/{location['id']}" for location in bookable.calendar.locations}


def wholes_of(place: Json, bookables: Iterable[Bookable]) -> set[str]:
    """What a Location is part of, as far up as the Schedules know their places."""
    places = {f"Location/{one['id']}": one for bookable in bookables for one in bookable.calendar.locations}
    found: set[str] = set()
    whole = name_reference(place.get("partOf"))
    while whole and whole not in found:
        found.add(whole)
        whole = name_reference(places.get(whole, {}).get("partOf"))
    return found


def is_at(bookable: Bookable, place: str, wholes: Collection[str]) -> bool:
    """Whether a visit on the Schedule can be at a Location that is part of `wholes`: it is a place of the Schedule, is
    inside one, or has one inside it. A Schedule without places can be anywhere."""
    own = {f"Location/{site['id']}" for site in availability.sites(bookable.calendar)}
    return not own or place in places_of(bookable) or not own.isdisjoint(wholes)


def go_together(one: Bookable, other: Bookable) -> bool:
    """Whether a visit on both Schedules can be where the rooms and devices of each are."""
    return _reaches(one, other) and _reaches(other, one)


def _reaches(one: Bookable, other: Bookable) -> bool:
    """Whether the places that the first Schedule cannot leave, being one of rooms or devices, are of the other too."""
    actors = {name_reference(actor) for actor in one.calendar.schedule.get("actor", ())}
    moves = bool(one.calendar.roles or one.calendar.services)
    bound = [site for site in availability.sites(one.calendar) if f"Location/{site['id']}" in actors or not moves]
    return all(is_at(other, f"Location/{site['id']}", wholes_of(site, [one])) for site in bound)


def has_grid(bookable: Bookable) -> bool:
    """Whether the times at which its slots begin are its own: all but those of rooms and devices without an
    alignment."""
    actors = (name_reference(actor) for actor in bookable.calendar.schedule.get("actor", ()))
    moves = any(kind(actor) not in ("Location", "Device") for actor in actors if actor)
    return moves or bookable.calendar.parameters.alignment_minutes is not None


def in_company(bookables: Sequence[Bookable]) -> list[Bookable]:
    """The Schedules as they are for one visit on all of them: beside one that has a grid, those that have none take
    any whole minute."""
    if not any(has_grid(one) for one in bookables):
        return list(bookables)
    return [one if has_grid(one) else _at_any_minute(one) for one in bookables]


def _at_any_minute(bookable: Bookable) -> Bookable:
    parameters = replace(bookable.calendar.parameters, alignment_minutes=1, alignment_offset_minutes=0)
    return replace(bookable, calendar=replace(bookable.calendar, parameters=parameters))


def codes(concepts: Iterable[Json]) -> set[tuple[str | None, str]]:
    """The systems and codes of CodeableConcepts."""
    codings = (coding for concept in concepts for coding in concept.get("coding", ()))
    return {(coding.get("system"), coding["code"]) for coding in codings if "code" in coding}


def _tokens(concepts: Iterable[Json]) -> set[str]:
    """What a token search finds CodeableConcepts by: `system|code`, `*|code` and `system|`."""
    found = codes(concepts)
    exact = {f"{system or ''}|{code}" for system, code in found}
    return exact | {f"*|{code}" for _, code in found} | {f"{system}|" for system, _ in found if system}


def slot_resource(bookable: Bookable, id: str, start: datetime, end: datetime, left: int, status: str = "free") -> Json:
    """A computed Slot. Its times are spelled in the Schedule's own zone; it never says who holds it."""
    calendar = bookable.calendar
    slot: Json = {"resourceType": "Slot", "id": id, "meta": {"tag": [COMPUTED_TAG]}}
    if said := said_of(calendar, left):
        slot["extension"] = said
    for element in ("serviceCategory", "serviceType", "specialty"):
        if element in calendar.schedule:
            slot[element] = calendar.schedule[element]
    return {
        **slot,
        "schedule": {"reference": bookable.reference},
        "status": status,
        "start": say(start, calendar.zone),
        "end": say(end, calendar.zone),
    }


def said_of(calendar: Calendar, left: int) -> list[Json]:
    """The extensions that tell the places of a Slot of a group, and the terms of its Schedule."""
    capacity = calendar.parameters.capacity
    places = [{"url": SLOT_CAPACITY, "valueInteger": capacity}, {"url": REMAINING, "valueUnsignedInt": left}]
    return [*(places if capacity > 1 else ()), *filter(None, [terms_of(calendar)])]


def read_slot(id: str, now: datetime, policy: Policy) -> Plan[Json | None]:
    """The computed Slot of this id with its status now; None if the id is not one of a current Schedule's, or its
    time is past."""
    parsed = slots.parse_slot_id(id)
    if parsed is None:
        return None
    schedule_id, start, minutes = parsed
    if minutes > policy.appointment_hours_max * 60 or start.year not in YEARS:
        return None
    end = start + timedelta(minutes=minutes)
    schedules = (yield [ById(frozenset({f"Schedule/{schedule_id}"}))])[0]
    bookables = yield from load_bookables([one for one in schedules if isinstance(one, Stored)], policy)
    if not bookables or end <= now:
        return None
    bookable = bookables[0]
    taken = by_actor((yield [load_claims(bookables, (), start, end)])[0])
    left = places_left(taken, claims_on(bookable, start, end, ""))
    offering = bookable if has_grid(bookable) else _at_any_minute(bookable)
    refused = slots.refusals(offering.calendar, start, end, now)
    status = "busy" if left == 0 else "busy-unavailable" if refused else "free"
    return slot_resource(bookable, id, start, end, left, status)
