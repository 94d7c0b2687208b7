"""Appointments to come that the present rules would not offer any more: what a change of availability strands.

They stay as they are, and are listed (docs/find-slots.md). All checks are those of a booking.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_server.outcome import Issue, Json
from fhir_server.plan import ById, Claim, Claimed, Loaded, Matching, Plan, Stored
from fhir_server.scheduling.availability import EARLIEST
from fhir_server.scheduling.checks import ARRIVING, conflicts, people_problems, time_problems
from fhir_server.scheduling.choosing import choose, schedule_of_slot, wanted_claims
from fhir_server.scheduling.elements import instant, kind, target
from fhir_server.scheduling.finding import Ask, Bookable, by_actor, load_bookables, load_claims, select_schedules
from fhir_server.scheduling.policy import Change, Policy
from fhir_server.scheduling.visit import Visit, occupies, read_visit

ABOUT = ("Schedule", "PractitionerRole", "Practitioner", "HealthcareService", "Location", "Organization")
"""What has rules that can strand an Appointment."""

PASSING = ARRIVING | {"patient-required"}
"""What does not strand: that time goes by, and that slots begin at other times now."""


@dataclass(frozen=True, slots=True)
class Stranded:
    """An Appointment, and why its time would not be offered today."""

    appointment: Stored
    issues: tuple[Issue, ...]

    @property
    def key(self) -> tuple[datetime, str]:
        """Its place in the order: by time."""
        return instant((self.appointment.resource or {})["start"]), self.appointment.id


def find_stranded(
    about: str,
    start: datetime,
    end: datetime,
    now: datetime,
    policy: Policy,
    proposed: Mapping[str, Json] | None = None,
) -> Plan[Sequence[Stranded]]:
    """The Appointments in [start, end) on the Schedules of `about` (`Type/id`) that the rules no longer offer, ordered
    by time. `proposed` are resources as they are to become, by reference.

    What staff booked against the rules is not stranded by them, and strands nobody. The number of batches does not
    depend on how many Schedules or Appointments there are.
    """
    bookables = yield from _bookables_of(about, policy, proposed or {})
    if not bookables:
        return ()
    on = (yield [Claimed(frozenset(one.reference for one in bookables), start, end)])[0]
    owners = {one.owner for one in on if isinstance(one, Claim) and not one.forced}
    found = (yield [ById(frozenset(owner for owner in owners if kind(owner) == "Appointment"))])[0]
    visits = {one.id: _visit(one, now, policy) for one in _stored(found) if _is_to_come(one, start, end, now)}
    references = {one.reference for visit in visits.values() for one in visit.participants if one.reference}
    slots = {slot for visit in visits.values() for slot in visit.slots}
    named = _stored((yield [ById(frozenset({*references, *slots}))])[0])
    known = {f"{one.type}/{one.id}": one.resource for one in named if one.resource} | dict(proposed or {})
    by_slot = {f"Slot/{one.id}": one for one in named if one.type == "Slot"}
    bookables = yield from _with_others(bookables, visits.values(), by_slot, known, policy)
    load = load_claims(bookables, _people(visits.values(), known), start, end)
    taken = by_actor([one for one in (yield [load])[0] if isinstance(one, Claim) and not one.forced])
    stranded = [
        Stranded(one, issues)
        for one in _stored(found)
        if one.id in visits and (issues := _reasons(visits[one.id], bookables, by_slot, known, taken))
    ]
    return sorted(stranded, key=lambda one: one.key)


def _bookables_of(about: str, policy: Policy, proposed: Mapping[str, Json]) -> Plan[Sequence[Bookable]]:
    schedules = yield from _schedules_of(about, policy)
    bookables = yield from load_bookables(schedules, policy, proposed)
    if kind(about) != "PractitionerRole":
        return bookables
    id = about.partition("/")[2]
    return [one for one in bookables if id in {role["id"] for role in one.calendar.roles}]


def _schedules_of(about: str, policy: Policy) -> Plan[Sequence[Stored]]:
    """The Schedules whose rules may come from it."""
    only, ever = frozenset({about}), EARLIEST
    match kind(about):
        case "PractitionerRole":
            roles = _stored((yield [ById(only)])[0])
            people = {target((one.resource or {}).get("practitioner"), policy.base) for one in roles}
            ask = Ask(ever, ever, actors=only | frozenset(filter(None, people)))
        case "Organization":
            parts = _stored((yield [Matching("Organization", {"partof": only})])[0])
            ask = Ask(ever, ever, organizations=only | {f"Organization/{one.id}" for one in parts})
        case "Location":
            ask = Ask(ever, ever, locations=only)
        case "HealthcareService":
            ask = Ask(ever, ever, services=only)
        case "Practitioner":
            ask = Ask(ever, ever, practitioners=only)
        case _:
            ask = Ask(ever, ever, schedules=only)
    return (yield from select_schedules(ask, policy)).schedules


def _visit(stored: Stored, now: datetime, policy: Policy) -> Visit:
    """The Appointment as if it were asked for now."""
    appointment = stored.resource or {}
    return read_visit(Change("Appointment", stored.id, None, appointment, now, policy, ""), None, appointment)


def _is_to_come(stored: Stored, start: datetime, end: datetime, now: datetime) -> bool:
    appointment = stored.resource or {}
    return (
        occupies(appointment, now)
        and max(start, now) < instant(appointment["end"])
        and (instant(appointment["start"]) < end)
    )


def _with_others(
    bookables: Sequence[Bookable],
    visits: Collection[Visit],
    by_slot: Mapping[str, Stored],
    known: Mapping[str, Json],
    policy: Policy,
) -> Plan[Sequence[Bookable]]:
    """The Schedules, and the others that the visits are on too."""
    here = {one.reference for one in bookables}
    named = {schedule_of_slot(slot, by_slot, policy) for visit in visits for slot in visit.slots}
    others = _stored((yield [ById(frozenset(filter(None, named - here)))])[0])
    return [*bookables, *(yield from load_bookables(others, policy, known))]


def _people(visits: Collection[Visit], known: Mapping[str, Json]) -> set[str]:
    return {claim.actor for visit in visits for claim in wanted_claims(visit, (), known)}


def _reasons(
    visit: Visit,
    bookables: Sequence[Bookable],
    by_slot: Mapping[str, Stored],
    known: Mapping[str, Json],
    taken: Mapping[str, Sequence[Claim]],
) -> tuple[Issue, ...]:
    chosen, _ = choose(visit, bookables, by_slot, known)
    problems = people_problems(visit, chosen, known) + time_problems(visit, chosen)
    problems += conflicts(visit, wanted_claims(visit, chosen, known), taken, known)
    return tuple(one for one in problems if one.problem not in PASSING)


def _stored(found: Loaded) -> list[Stored]:
    return [one for one in found if isinstance(one, Stored)]
