"""The waiting list: Appointments that wait for a time, and which free time is offered to whom
(conformance/decisions/0022-answers-and-waiting.md).

Who waits is an Appointment with status `waitlist`. A time is offered by holding it for them: the same Appointment is
`pending` until they book it, or let it pass and wait again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from fhir_server.outcome import CANONICAL, FhirError, Json
from fhir_server.plan import ById, Claim, Claimed, Matching, Plan, Stored
from fhir_server.scheduling import holds, lifecycle
from fhir_server.scheduling.availability import span_of
from fhir_server.scheduling.elements import instant, is_room, kind, say, target, targets
from fhir_server.scheduling.finding import (
    Ask,
    Bookable,
    by_actor,
    codes,
    load_bookables,
    places_left,
    select_schedules,
)
from fhir_server.scheduling.intervals import Interval, encloses, intersect, normalize, overlaps
from fhir_server.scheduling.joint import Combination, Team, combine, load_team
from fhir_server.scheduling.offers import Taken, load_taken, look
from fhir_server.scheduling.parameters import extensions
from fhir_server.scheduling.policy import Change, Policy
from fhir_server.scheduling.visit import is_a, people_of, read_participants, time_of

SINCE = f"{CANONICAL}/StructureDefinition/waiting-since"
PASSED = f"{CANONICAL}/StructureDefinition/offer-passed"
OFFERED = f"{CANONICAL}/StructureDefinition/waiting-offer"
OF_WAITING = frozenset({SINCE, PASSED})

WAITING = frozenset({"waitlist", "pending"})
"""The statuses of who waits: without a time, or with one that is offered or arranged and not sure yet."""

PERIODS_MAX = 20
"""The periods that one can ask for."""

PASSED_MAX = 50
"""The times that are remembered as let pass; older ones are forgotten first."""

LOOKS_MAX = 2_000
"""The times of a day, free or taken, that are looked at for a wish."""

LAST = 10
"""The rank of who has no priority, behind 1, the highest, to 9."""


def waits(appointment: Json) -> bool:
    """Whether it is on the waiting list, also while a time is offered or arranged."""
    return appointment["status"] in WAITING and bool(extensions(appointment, SINCE))


def rank(appointment: Json) -> tuple[int, datetime, str]:
    """The place on the list: by priority, then by how long one waits."""
    return appointment.get("priority") or LAST, since_of(appointment) or UNKNOWN, appointment["id"]


def since_of(appointment: Json) -> datetime | None:
    """When it joined the list; None if nothing says it."""
    return next((instant(one["valueInstant"]) for one in extensions(appointment, SINCE)), None)


UNKNOWN = instant("9999-12-31T00:00:00Z")
"""Since when one waits of whom nothing says it: an import."""


# What is kept of who waits


def keep(change: Change, before: Json | None, after: Json) -> Json:
    """The Appointment with what the list knows of it, which no update takes away: since when it waits, and what it let
    pass. Whoever gives up an offered time goes back to their place, without it; booking it is to accept it.

    Refuses (422) more periods than one can ask for, and to hold an offered time for longer than it was offered.
    """
    known = before if before and (waits(before) or before["status"] == "waitlist") else None
    if change.recording:
        unmarked = after["status"] == "waitlist" and not waits(after)
        return _marked(change, known, after) if unmarked else after
    if after["status"] == "waitlist":
        if len(after.get("requestedPeriod", ())) > PERIODS_MAX:
            text = f"At most {PERIODS_MAX} periods can be asked for."
            raise FhirError("business-rule", text, "Appointment.requestedPeriod", problem="too-many-periods")
        return _marked(change, known, _without_offer(known, after))
    if known and after["status"] == "pending":
        _refuse_longer(known, after)
        return _marked(change, known, after)
    left = _with_extensions(after, [])
    return _accepted(left, change.policy.base) if known and after["status"] == "booked" else left


def _marked(change: Change, known: Json | None, after: Json) -> Json:
    """With since when it waits, and the times to come that it let pass."""
    since = next((one["valueInstant"] for one in extensions(known or {}, SINCE)), say(change.now))
    let_pass = {
        (period["start"], period["end"]): None
        for each in (known or {}, after)
        for one in extensions(each, PASSED)
        if (period := one.get("valuePeriod", {})).keys() >= {"start", "end"}
    }
    if known and known["status"] == "pending" and after["status"] == "waitlist":
        let_pass[known["start"], known["end"]] = None
    ahead = [period for period in let_pass if span_of(_period(*period), change.policy.zone).end > change.now]
    passed = [{"url": PASSED, "valuePeriod": _period(*period)} for period in ahead[-PASSED_MAX:]]
    return _with_extensions(after, [{"url": SINCE, "valueInstant": since}, *passed])


def _without_offer(known: Json | None, after: Json) -> Json:
    """Without the time that was offered and those who came with it; who had declined is asked again next time. A time
    that somebody wants who joins the list is a period they ask for."""
    if known and known["status"] == "pending":
        kept = [one for one in after["participant"] if not extensions(one, OFFERED)]
        asked = [{**one, "status": "needs-action"} if one["status"] == "declined" else one for one in kept]
        bare = {name: value for name, value in after.items() if name not in ("start", "end", "slot")}
        return {**bare, "participant": asked}
    if "start" in after and "requestedPeriod" not in after:
        return {**after, "requestedPeriod": [_period(after["start"], after["end"])]}
    return after


def _refuse_longer(known: Json, after: Json) -> None:
    until, wanted = holds.expires_of(known), holds.expires_of(after)
    if until and wanted and wanted > until:
        text = f"The waiting list offers this time until {say(until)}: book it or let it pass."
        raise FhirError("business-rule", text, "Appointment.extension", problem="hold-too-long")


def _accepted(appointment: Json, base: str) -> Json:
    """Booked: the patients accept, and those who came with the offer take part like everybody."""
    people = [
        {name: value for name, value in one.items() if name != "extension"} | _kept_extensions(one)
        for one in appointment["participant"]
    ]
    return {
        **appointment,
        "participant": [
            {**one, "status": "accepted"} if one["status"] == "needs-action" and is_a(one, base, "Patient") else one
            for one in people
        ],
    }


def _kept_extensions(participant: Json) -> Json:
    kept = [one for one in participant.get("extension", ()) if one.get("url") != OFFERED]
    return {"extension": kept} if kept else {}


def _with_extensions(appointment: Json, added: Sequence[Json]) -> Json:
    """With these extensions of the list and no others of it."""
    if not added and "extension" not in appointment:
        return appointment
    kept = [one for one in appointment.get("extension") or () if one.get("url") not in OF_WAITING]
    bare = {name: value for name, value in appointment.items() if name != "extension"}
    return {**bare, "extension": [*kept, *added]} if kept or added else bare


def _period(start: str, end: str) -> Json:
    return {"start": start, "end": end}


def put_away(held: Json) -> Json:
    """What becomes of a hold that is over: who waits goes on waiting, any other is put away."""
    if held["resourceType"] == "Appointment" and waits(held):
        return {**held, "status": "waitlist"}
    return holds.put_away(held)


def freed(before: Json | None, after: Json | None, policy: Policy) -> tuple[tuple[datetime, datetime], ...]:
    """The time that an Appointment gives back, all or of some: it is called off, moves, or somebody leaves."""
    if before is None or before["status"] not in lifecycle.OCCUPYING or "start" not in before:
        return ()
    if after and after["status"] in lifecycle.OCCUPYING and people_of(before, policy) <= people_of(after, policy):
        return () if time_of(before, policy) == time_of(after, policy) else _time_of(before)
    return _time_of(before)


def _time_of(appointment: Json) -> tuple[tuple[datetime, datetime], ...]:
    return ((instant(appointment["start"]), instant(appointment["end"])),)


# What they wait for


@dataclass(frozen=True, slots=True)
class Wish:
    """Whom and where somebody waits for: all of these people and devices, at one of these places, with this service;
    without people anybody of the places, services and types. The same wish is looked for once."""

    people: tuple[str, ...] = ()
    locations: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    service_types: frozenset[str] = frozenset()
    specialties: frozenset[str] = frozenset()
    minutes: int | None = None


def wish_of(appointment: Json, policy: Policy) -> Wish | None:
    """What the Appointment waits for; None if it names nobody, no place, no service and no type."""
    wanted: dict[str, list[str]] = {}
    for one in appointment["participant"]:
        reference = target(one.get("actor"), policy.base)
        if reference and one["status"] != "declined" and one.get("required", "required") == "required":
            wanted.setdefault(kind(reference), []).append(reference)
    people = [*wanted.get("Practitioner", ()), *wanted.get("PractitionerRole", ()), *wanted.get("Device", ())]
    places, minutes = frozenset(wanted.get("Location", ())), appointment.get("minutesDuration")
    if people:
        return Wish(tuple(dict.fromkeys(people)), places, minutes=minutes)
    wish = Wish(
        (),
        places,
        frozenset(wanted.get("HealthcareService", ())),
        _tokens(appointment.get("serviceType", ())),
        _tokens(appointment.get("specialty", ())),
        minutes,
    )
    return wish if any((wish.locations, wish.services, wish.service_types, wish.specialties)) else None


def _tokens(concepts: Sequence[Json]) -> frozenset[str]:
    return frozenset(f"{system}|{code}" if system else f"*|{code}" for system, code in codes(concepts))


def patients_of(appointment: Json, policy: Policy) -> frozenset[str]:
    """The patients who wait."""
    people = read_participants(appointment, policy.base)
    found = (one.reference for one in people if one.required != "information-only")
    return frozenset(reference for reference in found if reference and kind(reference) == "Patient")


@dataclass(frozen=True, slots=True)
class Sought:
    """Who can fulfil a wish: a team if all of several are wanted, else any of these Schedules. Those `beside` have no
    Schedule and only need to be free."""

    wish: Wish
    ask: Ask
    team: Team | None
    bookables: Sequence[Bookable]
    beside: tuple[str, ...] = ()


def seek(wish: Wish, reach: Interval, policy: Policy) -> Plan[Sought]:
    """The Schedules for the wish."""
    ask = Ask(
        reach.start,
        reach.end,
        locations=wish.locations,
        services=wish.services,
        service_types=wish.service_types,
        specialties=wish.specialties,
        duration_minutes=wish.minutes,
    )
    if wish.people:
        return (yield from _seek_team(wish, ask, policy))
    selection = yield from select_schedules(ask, policy)
    bookables = yield from load_bookables(selection.schedules, policy)
    return Sought(wish, ask, None, [one for one in bookables if _is_meant(one, wish, policy.base)])


def _is_meant(bookable: Bookable, wish: Wish, base: str) -> bool:
    """Whether it is more than a room or a device, which nobody waits for who does not name it."""
    actors = list(targets(bookable.calendar.schedule["actor"], base))
    return any(one in wish.locations or kind(one) not in ("Location", "Device") for one in actors)


def _seek_team(wish: Wish, ask: Ask, policy: Policy) -> Plan[Sought]:
    """The Schedules of all the people and devices, and of the rooms; of a room it is also clear where that is."""
    rooms = yield from _rooms_of(wish, policy)
    sites = wish.locations - rooms.keys() or frozenset(site for site in rooms.values() if site)
    ask = replace(ask, locations=sites)
    team = yield from load_team([[one] for one in (*wish.people, *rooms)], policy)
    parts = [picks for picks in team.picks if picks]
    if not parts or any(kind(one) not in ("Location", "Device") for one in team.idle):
        return Sought(wish, ask, None, ())
    return Sought(wish, ask, Team(parts, ()), team.bookables, tuple(team.idle))


def _rooms_of(wish: Wish, policy: Policy) -> Plan[Mapping[str, str | None]]:
    """The rooms among the places, each with what it is part of; one batch, none for no places."""
    if not wish.locations:
        return {}
    found = (yield [ById(wish.locations)])[0]
    places = {one.id: one.resource for one in found if isinstance(one, Stored) and one.resource}
    return {
        f"Location/{id}": target(place.get("partOf"), policy.base)
        for id, place in sorted(places.items())
        if is_room(place)
    }


def taken_of(sought: Sought, policy: Policy) -> Plan[Taken]:
    """What is in the way of it; one batch, another one for those beside."""
    taken = yield from load_taken(sought.bookables, sought.ask.start, sought.ask.end, policy.base)
    if not sought.beside:
        return taken
    claims = (yield [Claimed(frozenset(sought.beside), sought.ask.start, sought.ask.end)])[0]
    return replace(taken, claims={**taken.claims, **by_actor(claims)})


def load_patients(
    patients: frozenset[str], reach: Interval, policy: Policy
) -> Plan[tuple[Mapping[str, Sequence[Claim]], set[str]]]:
    """When the patients are taken, and those to whom a time is offered already; one batch."""
    if not patients:
        return {}, set()
    pending = Matching("Appointment", {"patient": patients, "status": frozenset({"*|pending"})})
    claims, others = yield [Claimed(patients, reach.start, reach.end), pending]
    offered = (one.resource for one in others if isinstance(one, Stored) and one.resource and waits(one.resource))
    return by_actor(claims), {patient for entry in offered for patient in patients_of(entry, policy)}


def fitting(
    appointment: Json,
    sought: Sought,
    taken: Taken,
    free_on: Callable[[date], Sequence[Combination]],
    busy: Mapping[str, Sequence[Claim]],
    policy: Policy,
) -> Iterator[Combination]:
    """Of the free times of each day those for who waits, the earliest first: in a period that they ask for, at which
    they are free themselves, and not over a time that they let pass."""
    patients = patients_of(appointment, policy)
    zone = sought.bookables[0].calendar.zone if sought.bookables else policy.zone
    passed = [span_of(one.get("valuePeriod", {}), zone) for one in extensions(appointment, PASSED)]
    theirs = [Interval(claim.start, claim.end) for one in patients for claim in busy.get(one, ())]
    out = (*passed, *theirs)
    asked: Sequence[Json] = appointment.get("requestedPeriod") or [{}]
    periods = normalize(span_of(period, zone) for period in asked)
    for window in intersect(periods, [Interval(sought.ask.start, sought.ask.end)]):
        for day in _days(window):
            for each in free_on(day):
                time = Interval(each.start, each.end)
                clear = encloses(window, time) and not any(overlaps(time, other) for other in out)
                if clear and _has_room(each, sought, taken, patients):
                    yield each


def _days(window: Interval) -> Iterator[date]:
    """The UTC days that the window touches."""
    first = window.start.date()
    count = ((window.end - RESOLUTION).date() - first).days + 1
    return (first + timedelta(days=number) for number in range(count))


RESOLUTION = timedelta(milliseconds=1)


def free_on(day: date, sought: Sought, taken: Taken, now: datetime, policy: Policy) -> list[Combination]:
    """The times that begin on a UTC day at which whoever is wanted is free, in order, of the first LOOKS_MAX that their
    rules offer."""
    opens = datetime(day.year, day.month, day.day, tzinfo=UTC)
    closes = opens + timedelta(days=1)
    start = max(opens, sought.ask.start, now + holds.SHORTEST)
    end = min(closes + policy.appointment_length_max, sought.ask.end)
    if not start < min(closes, end):
        return []
    ask = replace(sought.ask, start=start, end=end, before=closes)
    looks = (
        combine(sought.team, ask, now, taken)
        if sought.team
        else (Combination(one.start, one.end, (one,)) for one in look(sought.bookables, ask, now, taken))
    )
    return [each for each in islice(looks, LOOKS_MAX) if each.left > 0]


def _has_room(each: Combination, sought: Sought, taken: Taken, patients: Collection[str]) -> bool:
    """Whether there is a place for each of the patients, with those who have no Schedule too."""
    units = max(1, len(patients))
    if each.left < units:
        return False
    first = each.offers[0].bookable
    pool, capacity = first.reference, first.calendar.parameters.capacity
    times = each.start, each.end
    claims = [Claim(one, *times, "", *times, pool=pool, capacity=capacity, units=units) for one in sought.beside]
    return not claims or places_left(taken.claims, claims) >= units


def offered(appointment: Json, time: Combination, now: datetime, policy: Policy) -> Json:
    """The Appointment with the time held for it, until the offer ends or the time begins. The clinic's side agrees, the
    patients are asked; whose Schedule it is takes part if nobody like that was named."""
    base = policy.base
    participants = [
        one if one["status"] == "declined" else {**one, "status": _offered_status(one, base)}
        for one in appointment["participant"]
    ]
    actors = {
        str(actor.get("reference")): actor
        for offer in time.offers
        for actor in offer.bookable.calendar.schedule["actor"]
        if not any(is_a(one, base, *_alike(actor, base)) for one in participants)
    }
    mark = {"extension": [{"url": OFFERED, "valueBoolean": True}]}
    joining = [{**mark, "actor": actor, "status": "accepted"} for actor in actors.values()]
    until = min(now + timedelta(minutes=policy.waitlist_offer_minutes), time.start)
    zone = time.offers[0].bookable.calendar.zone
    held = {
        **appointment,
        "start": say(time.start, zone),
        "end": say(time.end, zone),
        "slot": [{"reference": f"Slot/{offer.id}"} for offer in time.offers],
        "participant": [*participants, *joining],
    }
    return holds.ask_for(held, until)


def _offered_status(participant: Json, base: str) -> str:
    return "needs-action" if is_a(participant, base, "Patient") else "accepted"


def _alike(actor: Json, base: str) -> tuple[str, ...]:
    """The types of whoever can stand for the actor of a Schedule."""
    people = ("Practitioner", "PractitionerRole")
    type = kind(target(actor, base) or "")
    return people if type in people else (type,)
