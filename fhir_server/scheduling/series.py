"""The Appointments of a series: how each is made of the first, which of them a change is about, and where it puts them
(http://hl7.org/fhir/R5/appointment-definitions.html#Appointment.originatingAppointment, docs/series.md).

The first has the recurrenceTemplate; the others refer to it. All of them have a recurrenceId.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.plan import ById, Matching, Plan, Stored
from fhir_server.scheduling import holds, slots
from fhir_server.scheduling.availability import first_instant, local_wall
from fhir_server.scheduling.choosing import choose, load_named
from fhir_server.scheduling.elements import instant, say, target, targets
from fhir_server.scheduling.finding import load_bookables
from fhir_server.scheduling.parameters import extension_problems, extensions
from fhir_server.scheduling.policy import Change, Policy
from fhir_server.scheduling.recurrence import PARTS, R5, TEMPLATE, occurrences, read_template
from fhir_server.scheduling.visit import read_visit, slots_of

RECURRENCE_ID = f"{R5}.recurrenceId"
ORIGINATING = f"{R5}.originatingAppointment"
CHANGED = f"{R5}.occurrenceChanged"
OF_SERIES = frozenset({TEMPLATE, RECURRENCE_ID, ORIGINATING, CHANGED})

VALUES = {RECURRENCE_ID: "valuePositiveInt", ORIGINATING: "valueReference", CHANGED: "valueBoolean"}

OF_THE_FIRST = frozenset({"id", "identifier", "requestedPeriod", "slot", "text"})
"""Elements that are about the first Appointment alone."""

OPEN = frozenset({"proposed", "pending", "waitlist", "booked"})
"""Members in these statuses, in the future, go along with the others."""

MEMBERS_MAX = 1000
"""Appointments that refer to one as the first of their series and can be changed together."""

SCOPES = ("one", "following", "all")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One visit of a series."""

    number: int
    start: datetime
    end: datetime


# Made of the first


def series_problems(appointment: Json) -> Sequence[Issue]:
    """What is wrong with the extensions that say how an Appointment belongs to a series."""
    return extension_problems(appointment, VALUES, "not-recurring")


def zone_of(change: Change) -> Plan[ZoneInfo]:
    """By whose clock the Appointment recurs: the template's, else that of the first Schedule that it is on."""
    after = change.after or {}
    template = read_template(after)
    if template and template.zone:
        return template.zone
    visit = read_visit(change, None, after)
    known, found, schedules = yield from load_named(visit)
    bookables = yield from load_bookables(schedules, change.policy, known)
    chosen, _ = choose(visit, bookables, found, known)
    return chosen[0].bookable.calendar.zone if chosen else change.policy.zone


def expand(appointment: Json, zone: ZoneInfo, most: int) -> list[Occurrence]:
    """The visits that the template of an Appointment means, the first one as it is.

    The others start when the clock shows the same time: in a gap the first instant after it, in a fold the first of
    the two. All last equally long.
    """
    template = read_template(appointment)
    assert template is not None, "a series has a template"
    start, end = instant(appointment["start"]), instant(appointment["end"])
    wall = local_wall(start, zone)
    others = [
        (number, _at(day, wall.time(), zone)) for number, day in occurrences(template, wall.date(), most) if number > 1
    ]
    return [Occurrence(number, each, each + (end - start)) for number, each in ((1, start), *others)]


def _at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return first_instant(datetime.combine(day, clock), zone)


def as_first(appointment: Json, zone: ZoneInfo) -> Json:
    """The Appointment as the first of its series, which says by whose clock it recurs."""
    kept = [_in_zone(one, zone) if one.get("url") == TEMPLATE else one for one in appointment["extension"]]
    return with_extension({**appointment, "extension": kept}, RECURRENCE_ID, 1)


def _in_zone(template: Json, zone: ZoneInfo) -> Json:
    if extensions(template, "timezone"):
        return template
    concept = {"coding": [{"system": "https://www.iana.org/time-zones", "code": zone.key}]}
    return {**template, "extension": [{"url": "timezone", PARTS["timezone"].value: concept}, *template["extension"]]}


def as_other(first: Json, occurrence: Occurrence, origin: str, zone: ZoneInfo, policy: Policy) -> Json:
    """The Appointment of another occurrence than the first, which is the Appointment `origin`."""
    kept = {name: value for name, value in first.items() if name not in OF_THE_FIRST}
    bare = holds.without_expiry({**kept, "extension": [x for x in first["extension"] if x["url"] not in OF_SERIES]})
    numbered = with_extension(bare, RECURRENCE_ID, occurrence.number)
    referring = with_extension(numbered, ORIGINATING, {"reference": f"Appointment/{origin}"})
    times = {"start": say(occurrence.start, zone), "end": say(occurrence.end, zone)}
    on = _same_slots(first, occurrence, policy)
    return referring | times | ({"slot": [{"reference": one} for one in on]} if on else {})


def _same_slots(first: Json, occurrence: Occurrence, policy: Policy) -> list[str]:
    """The computed Slots of the same Schedules at the time of the occurrence; none if the first is on any other."""
    later = occurrence.start - instant(first["start"])
    parsed = [slots.parse_slot_id(one.partition("/")[2]) for one in slots_of(first, policy)]
    ids = [slots.slot_id(one[0], one[1] + later, one[2]) if one else None for one in parsed]
    return [f"Slot/{id}" for id in ids if id] if all(ids) else []


def with_extension(appointment: Json, url: str, value: object) -> Json:
    """The Appointment with this value of one of the extensions in `VALUES`."""
    others = [one for one in appointment.get("extension") or () if one.get("url") != url]
    return {**appointment, "extension": [*others, {"url": url, VALUES[url]: value}]}


# Which of them


def origin_of(appointment: Json, base: str) -> str | None:
    """The `Appointment/id` of the first of the series; None if the Appointment is in no series."""
    referred = targets((one["valueReference"] for one in extensions(appointment, ORIGINATING)), base, "Appointment")
    own = f"Appointment/{appointment['id']}" if extensions(appointment, TEMPLATE) and "id" in appointment else None
    return next(referred, own)


def load_members(appointment: Json, scope: str, policy: Policy) -> Plan[Sequence[Stored]]:
    """The Appointments of the series that `scope` is about, in order: `one`, this and the `following`, or `all`.

    Refuses another scope than `one` if there is no series.
    """
    reference = f"Appointment/{appointment['id']}"
    origin = origin_of(appointment, policy.base)
    if scope == "one" or origin is None:
        if scope != "one":
            text = f"{reference} is in no series: leave out scope, or say one."
            raise FhirError("business-rule", text, "Appointment.extension", problem="not-recurring")
        return _stored((yield [ById(frozenset({reference}))])[0])
    first = ById(frozenset({origin}))
    others = Matching("Appointment", {"originating-appointment": frozenset({origin})}, limit=MEMBERS_MAX)
    found = yield [first, others]
    members = sorted({one.id: one for each in found for one in _stored(each)}.values(), key=_place)
    if scope == "all":
        return members
    here = next((_place(one) for one in members if one.id == appointment["id"]), (0, ""))
    return [one for one in members if _place(one) >= here]


def _stored(found: Sequence[object]) -> list[Stored]:
    return [one for one in found if isinstance(one, Stored)]


def _place(member: Stored) -> tuple[int, str]:
    """The place in the series: by recurrenceId, the first one's being 1 if it does not say, then by time."""
    resource = member.resource or {}
    number = next((one.get("valuePositiveInt", 1) for one in extensions(resource, RECURRENCE_ID)), 1)
    return number, say(instant(resource["start"])) if "start" in resource else ""


def goes_along(member: Json, now: datetime) -> bool:
    """Whether a member changes with the others: it is neither past nor over, and nobody has come yet."""
    ahead = "start" not in member or instant(member["start"]) > now
    return ahead and member["status"] in OPEN and not holds.is_expired(member, now)


# Where to


@dataclass(frozen=True, slots=True)
class Shift:
    """A move of a series: so many days, to a time of the clock, for so long."""

    days: int
    clock: time
    length: timedelta
    zone: ZoneInfo


def shift_to(appointment: Json, start: datetime, end: datetime, zone: ZoneInfo) -> Shift:
    """The move that puts this Appointment there."""
    former, new = local_wall(instant(appointment["start"]), zone), local_wall(start.astimezone(UTC), zone)
    return Shift((new.date() - former.date()).days, new.time(), end - start, zone)


def shifted(member: Json, shift: Shift) -> Json:
    """The member on its own date so many days on, at that time of the clock, for so long. On another date than the
    template says it is a changed one."""
    day = local_wall(instant(member["start"]), shift.zone).date() + timedelta(days=shift.days)
    start = _at(day, shift.clock, shift.zone)
    moved = {**member, "start": say(start, shift.zone), "end": say(start + shift.length, shift.zone)}
    return with_extension(moved, CHANGED, True) if shift.days else moved


def mark_changed(change: Change, before: Json | None, after: Json) -> Json:
    """The Appointment, with occurrenceChanged if it is one of a series and is changed alone: another time, or others
    who take part."""
    base = change.policy.base
    if before is None or change.recording or change.intent.series or origin_of(after, base) is None:
        return after
    return after if _plan_of(before, base) == _plan_of(after, base) else with_extension(after, CHANGED, True)


def _plan_of(appointment: Json, base: str) -> tuple[object, ...]:
    """When an Appointment is and with whom."""
    times = (instant(appointment[bound]) if bound in appointment else None for bound in ("start", "end"))
    return *times, frozenset(target(one.get("actor"), base) for one in appointment["participant"])
