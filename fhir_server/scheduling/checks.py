"""Why an Appointment cannot be booked: every check, each problem with its code and where it is (docs/booking.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from fhir_server.outcome import Issue, Json
from fhir_server.plan import Claim
from fhir_server.scheduling import holds, lifecycle, slots
from fhir_server.scheduling.elements import claimed_as, instant, kind, say, target
from fhir_server.scheduling.finding import INACTIVE, PUBLISHED_REFUSALS, go_together, is_at, wholes_of
from fhir_server.scheduling.visit import Chosen, Participant, Visit, occupies, problem, slots_of, span

SERVED = frozenset({"Patient", "Practitioner", "PractitionerRole", "Location", "HealthcareService", "Device"})
"""Participants of these types must be stored here; others (RelatedPerson) are taken at their word."""

TIME_TEXTS: Mapping[str, str] = {
    "schedule-inactive": "The Schedule is not active.",
    "outside-horizon": "The time is outside the Schedule's planningHorizon.",
    "outside-hours": "The time is outside the hours that the Schedule is open.",
    "blocked": "The time is blocked (notAvailable or a closing).",
    "off-grid": "The start is not one at which the Schedule's slots begin.",
    "in-the-past": "The time is past. To record a visit that took place, write it as fulfilled.",
    "too-soon": "The start is nearer than the Schedule's minimum notice.",
    "too-far": "The start is beyond the Schedule's booking window.",
}
"""What each refusal by the rules of time says."""

CONFLICT_TEXTS: Mapping[str, tuple[str, str]] = {
    "Patient": ("patient-busy", "The patient has another appointment at that time."),
    "Practitioner": ("practitioner-busy", "The practitioner is taken at that time, buffers included."),
    "Location": ("location-busy", "The room is taken at that time."),
    "Device": ("device-busy", "The device is taken at that time."),
    "Schedule": ("schedule-full", "No place is left on the Schedule at that time."),
    "#day": ("day-full", "The Schedule has its maximum of appointments on that day."),
}
"""By the type of what is taken: our code and what it says. Nothing says who took it."""


def people_problems(visit: Visit, chosen: Sequence[Chosen], known: Mapping[str, Json]) -> list[Issue]:
    """Who takes part must exist, be active, and belong where the visit is. A time can be held before it is known for
    whom."""
    problems = []
    if not visit.patients and holds.expires_of(visit.resource) is None:
        text = "A booking needs a Patient of this server among its participants, by a literal reference."
        problems.append(problem("business-rule", text, "Appointment.participant", "patient-required"))
    for participant in visit.participants:
        reference = participant.reference
        if reference and kind(reference) in SERVED:
            problems += _participant_problems(visit, participant, reference, known.get(reference), chosen)
    return problems


_NOUNS = {
    "Patient": "patient",
    "Practitioner": "practitioner",
    "PractitionerRole": "practitioner",
    "Location": "location",
    "HealthcareService": "service",
    "Device": "device",
}


def _participant_problems(
    visit: Visit, participant: Participant, reference: str, resource: Json | None, chosen: Sequence[Chosen]
) -> Iterator[Issue]:
    noun = _NOUNS[kind(reference)]
    where = participant.expression
    if resource is None:
        yield problem("not-found", f"{reference} does not exist here.", where, f"{noun}-unknown")
        return
    if resource.get("active") is False or resource.get("status") in INACTIVE:
        yield problem("business-rule", f"{reference} is not active.", where, f"{noun}-inactive")
    base = visit.change.policy.base
    if noun == "patient" and (owner := target(resource.get("managingOrganization"), base)):
        organizations = {f"Organization/{one['id']}" for c in chosen for one in c.bookable.calendar.organizations}
        if organizations and owner not in organizations:
            text = "The patient is not registered with the organization of the Schedule."
            yield problem("business-rule", text, where, "patient-other-organization")
    if not _is_there(reference, resource, chosen):
        yield problem("business-rule", f"The Schedule is not at {reference}.", where, "not-at-location")


def _is_there(reference: str, resource: Json, chosen: Sequence[Chosen]) -> bool:
    """Whether a Location is one of every Schedule, and a Device where they all are; others can come."""
    bookables = [one.bookable for one in chosen]
    if kind(reference) == "Location":
        wholes = wholes_of(resource, bookables)
        return all(is_at(bookable, reference, wholes) for bookable in bookables)
    own = [bookable for bookable in bookables if kind(reference) == "Device" and reference in bookable.claimed]
    return all(go_together(one, other) for one in own for other in bookables)


def _is_over(one: Chosen, visit: Visit) -> bool:
    """Whether the Slot is held by a hold that is over."""
    slot = one.stored.resource if one.stored else None
    return slot is not None and holds.is_expired(slot, visit.change.now)


ARRIVING = frozenset({"in-the-past", "too-soon", "too-far", "off-grid"})
"""What does not refuse a patient who is already there, or an import."""

PASSED = ARRIVING - {"off-grid"}
"""What does not refuse to put somebody else on a visit, whose time was judged when it was booked."""

NONE: frozenset[str] = frozenset()

WALK_IN_MINUTES_MAX = 60
"""A patient who is there is seen within this time; for a later one an appointment is booked."""


def time_problems(visit: Visit, chosen: Sequence[Chosen]) -> list[Issue]:
    """Why the rules of the Schedules do not offer this time. A Schedule that it has been on at this time is not asked
    again; one that joins is, but not how long before."""
    problems: dict[str, Issue] = {}
    kept = _kept(visit)
    waived = ARRIVING if visit.change.recording or _walks_in(visit) else _undone(visit) | (PASSED if kept else NONE)
    for one in chosen:
        if stays(visit, one):
            continue
        start, end = span(one) if one.slot_id else (visit.start, visit.end)
        for code in slots.refusals(one.bookable.calendar, start, end, visit.change.now):
            if code not in waived and (not one.published or code in PUBLISHED_REFUSALS):
                text = f"{TIME_TEXTS[code]} ({one.bookable.reference})"
                problems.setdefault(code, problem("business-rule", text, "Appointment.start", code))
    return list(problems.values())


def stays(visit: Visit, one: Chosen) -> bool:
    """Whether the visit has been on that Schedule at this time."""
    return f"Slot/{one.slot_id}" in _kept(visit) or (one.slot_id is None and not visit.moved)


def _kept(visit: Visit) -> frozenset[str]:
    """The Slots that the visit is on already, if its time stays."""
    return frozenset(slots_of(visit.former, visit.change.policy)) if visit.keeps_time else NONE


UNDOING: Mapping[str, frozenset[str]] = {
    "cancelled": ARRIVING - {"in-the-past"},
    "noshow": ARRIVING,
}
"""What does not refuse to undo a mistake: the time was the visit's own, by the rules of when it was booked."""


def _undone(visit: Visit) -> frozenset[str]:
    """What is waived for a visit that is put back to the very time that it had."""
    before = (visit.change.before.resource if visit.change.before else None) or {}
    if "start" not in before or holds.was_expired(before):
        return frozenset()
    same = (instant(before["start"]), instant(before["end"])) == (visit.start, visit.end)
    return UNDOING.get(before["status"], frozenset()) if same else frozenset()


def _walks_in(visit: Visit) -> bool:
    soon = visit.change.now + timedelta(minutes=WALK_IN_MINUTES_MAX)
    return visit.resource["status"] in lifecycle.PRESENT and visit.start <= soon


def slot_problems(
    visit: Visit, chosen: Sequence[Chosen], before: Json | None, handed_over: frozenset[str]
) -> list[Issue]:
    """A named Slot must be free, the visit's already or handed over to it, and the Slots of a Schedule must be exactly
    its time."""
    problems = []
    own = set(slots_of(before, visit.change.policy)) if before and occupies(before, visit.change.now) else set()
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for index, reference in enumerate(visit.slots):
        one = next((one for one in chosen if f"Slot/{one.slot_id}" == reference), None)
        if one is None:
            continue
        spans.setdefault(one.bookable.reference, []).append(span(one))
        status = one.stored.resource["status"] if one.stored and one.stored.resource else "free"
        if one.published and status != "free" and reference not in own | handed_over and not _is_over(one, visit):
            text = f"{reference} is {status}."
            problems.append(problem("conflict", text, f"Appointment.slot[{index}]", "slot-not-free"))
    for schedule, times in spans.items():
        times.sort()
        adjacent = all(first[1] == second[0] for first, second in pairwise(times))
        if not adjacent or (times[0][0], times[-1][1]) != (visit.start, visit.end):
            said = " and ".join(f"{say(start)} to {say(end)}" for start, end in times)
            text = f"The Slots of {schedule} are {said}: start and end must be theirs."
            problems.append(problem("business-rule", text, "Appointment.slot", "slot-mismatch"))
    return problems


def unfitting(wanted: Sequence[Claim], taken: Mapping[str, Sequence[Claim]]) -> list[Claim]:
    """The claims for which there is no room; those of a Schedule itself only if nothing nearer explains it."""
    full = crowded(wanted, taken)
    return [one for one in full if _conflict(one) != "Schedule"] or full


def crowded(wanted: Sequence[Claim], taken: Mapping[str, Sequence[Claim]]) -> list[Claim]:
    """All the claims for which there is no room."""
    return [one for one in wanted if slots.room_left(taken.get(one.actor, ()), one) < one.units]


def conflict_code(claim: Claim) -> str:
    """Our code for a claim that does not fit."""
    return CONFLICT_TEXTS[_conflict(claim)][0]


def _conflict(claim: Claim) -> str:
    return "#day" if claim.actor.endswith("#day") else kind(claim.actor)


def conflicts(
    visit: Visit, wanted: Sequence[Claim], taken: Mapping[str, Sequence[Claim]], known: Mapping[str, Json]
) -> list[Issue]:
    """Whose time is taken already."""
    base = visit.change.policy.base
    named = {claimed_as(one.reference, known, base): one.expression for one in visit.participants if one.reference}
    large = [one for one in wanted if one.units > one.capacity]
    if large:
        text = f"The Schedule takes {large[0].capacity} at a time, and {visit.units} patients take part."
        return [problem("business-rule", text, "Appointment.participant", "group-too-large")]
    problems = []
    for claim in unfitting(wanted, taken):
        code, text = CONFLICT_TEXTS[_conflict(claim)]
        problems.append(problem("conflict", text, named.get(claim.actor, "Appointment.start"), code))
    return problems
