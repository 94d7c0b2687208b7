"""Which Schedules an Appointment is on: those of the Slots it names, and the best one of each other participant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from fhir_server.outcome import Issue, Json
from fhir_server.plan import ById, Claim, Load, Matching, Plan, Stored
from fhir_server.scheduling import holds, slots
from fhir_server.scheduling.elements import claimed_as, instant, is_computed, kind, say, target, targets
from fhir_server.scheduling.finding import Bookable, claims_together, codes, in_company, is_at, wholes_of
from fhir_server.scheduling.policy import Policy
from fhir_server.scheduling.visit import Chosen, Participant, Visit, problem, read_participants, slots_of, time_of_slot


def load_named(visit: Visit) -> Plan[tuple[dict[str, Json], dict[str, Stored], Sequence[Stored]]]:
    """What the Appointment names or named, its Slots as stored, and the Schedules it can be on; two batches."""
    references = {one.reference for one in visit.participants if one.reference}
    gone = _former(visit) - references
    practitioners = frozenset(ref for ref in references if kind(ref) == "Practitioner")
    loads: list[Load] = [ById(frozenset({*references, *gone, *visit.slots}))]
    loads.append(Matching("PractitionerRole", {"practitioner": practitioners}))
    found = [one for batch in (yield loads) for one in batch if isinstance(one, Stored)]
    known = {f"{one.type}/{one.id}": one.resource for one in found if one.resource}
    slots_found = {f"Slot/{one.id}": one for one in found if one.type == "Slot"}
    interest = _interest(references, {ref: known[ref] for ref in known.keys() - gone}, visit.change.policy.base)
    wanted = {schedule_of_slot(ref, slots_found, visit.change.policy) for ref in visit.slots} - {None}
    schedules = yield [
        ById(frozenset(filter(None, wanted))),
        Matching("Schedule", {"actor": frozenset(interest)}),
    ]
    by_id = {one.id: one for batch in schedules for one in batch if isinstance(one, Stored)}
    return known, slots_found, [by_id[id] for id in sorted(by_id)]


def _former(visit: Visit) -> set[str]:
    """Who has taken part until now."""
    participants = read_participants(visit.former, visit.change.policy.base) if visit.former else ()
    return {one.reference for one in participants if one.reference}


def _interest(references: set[str], known: Mapping[str, Json], base: str) -> set[str]:
    """The actors whose Schedules an Appointment with these participants may be on: people, rooms and devices; only
    if there are none, the sites and services."""
    roles = {ref for ref in known if kind(ref) == "PractitionerRole"}
    taken = {claimed_as(ref, known, base) for ref in references if kind(ref) != "Patient"} - {None}
    rooms = {ref for ref in taken if ref}
    people = {ref for ref in references if kind(ref) == "Practitioner"}
    sites = {ref for ref in references if kind(ref) in ("Location", "HealthcareService")}
    return (roles | rooms | people) or sites


def schedule_of_slot(reference: str, stored: Mapping[str, Stored], policy: Policy) -> str | None:
    slot = stored.get(reference)
    if slot and slot.resource:
        return target(slot.resource["schedule"], policy.base)
    parsed = slots.parse_slot_id(reference.partition("/")[2])
    return f"Schedule/{parsed[0]}" if parsed else None


def at_slots(visit: Visit, stored: Mapping[str, Stored]) -> Json:
    """The Appointment at the time of its Slots, if it was put on other ones and its start and end stayed as they were
    (docs/doors.md); else as it is."""
    former, policy = visit.former, visit.change.policy
    if former is None or not visit.slots or set(visit.slots) == set(slots_of(former, policy)):
        return visit.resource
    if not visit.keeps_time:
        return visit.resource
    spans = [time_of_slot(reference, stored.get(reference)) for reference in visit.slots]
    if any(span is None for span in spans):
        return visit.resource
    start, end = min(span[0] for span in spans if span), max(span[1] for span in spans if span)
    if (start, end) == (visit.start, visit.end):
        return visit.resource
    return {**visit.resource, "start": say(start), "end": say(end)}


def choose(
    visit: Visit, bookables: Sequence[Bookable], stored: Mapping[str, Stored], known: Mapping[str, Json]
) -> tuple[list[Chosen], list[Issue]]:
    """The Schedules the Appointment is on: those of its Slots, then the best one of each participant not covered."""
    by_reference = {bookable.reference: bookable for bookable in bookables}
    chosen: list[Chosen] = []
    problems: list[Issue] = []
    for index, reference in enumerate(visit.slots):
        bookable = by_reference.get(schedule_of_slot(reference, stored, visit.change.policy) or "")
        slot = stored.get(reference)
        if bookable is None:
            text = f"{reference} is neither stored nor a computed Slot of a Schedule here."
            problems.append(problem("not-found", text, f"Appointment.slot[{index}]", "slot-unknown"))
        else:
            published = slot is not None and slot.resource is not None and not is_computed(slot.resource)
            if not _is_left(visit, reference, bookable, known):
                chosen.append(Chosen(bookable, reference.partition("/")[2], slot, published))
    for participant in visit.participants:
        covered = {actor for one in chosen for actor in one.bookable.claimed}
        best = _best(visit, participant, bookables, covered, known)
        if best is not None:
            chosen.append(Chosen(best, _new_slot_id(best, visit), None))
        elif _lacks_schedule(participant, covered, known, visit.change.policy.base):
            text = "No Schedule here is for this participant, so there is no time to book."
            problems.append(problem("business-rule", text, participant.expression, "no-schedule"))
    if not chosen and not problems and visit.moved:
        text = "No participant has a Schedule here: name a Slot, a practitioner, a room or a service that has one."
        problems.append(problem("business-rule", text, "Appointment.participant", "no-schedule"))
    together = in_company([one.bookable for one in chosen])
    return [replace(one, bookable=bookable) for one, bookable in zip(chosen, together, strict=True)], problems


def _is_left(visit: Visit, slot: str, bookable: Bookable, known: Mapping[str, Json]) -> bool:
    """Whether the Slot was of people, or else of rooms and devices, that have taken part until now and do no longer."""
    policy = visit.change.policy
    if visit.former is None or slot not in slots_of(visit.former, policy):
        return False
    actors = {claimed_as(one.reference, known, policy.base) for one in visit.participants if one.reference}
    former = {claimed_as(reference, known, policy.base) for reference in _former(visit)}
    people = {actor for actor in bookable.claimed if kind(actor) == "Practitioner"}
    owners = people or bookable.claimed - {bookable.reference}
    return bool(owners & former) and owners.isdisjoint(actors)


def as_stored(visit: Visit, chosen: Sequence[Chosen], found: Sequence[Stored | Claim]) -> list[Chosen]:
    """The choices with their computed Slots as they are stored, which they are once they were taken; or, if none was
    named, on the Slot that an EHR published for exactly this time."""
    by_id = {f"{one.type}/{one.id}": one for one in found if isinstance(one, Stored)}
    published = [one for one in by_id.values() if one.resource and not is_computed(one.resource)]
    return [one if one.published else _as_stored(one, visit, by_id, published) for one in chosen]


def _as_stored(one: Chosen, visit: Visit, by_id: Mapping[str, Stored], published: Sequence[Stored]) -> Chosen:
    if f"Slot/{one.slot_id}" not in visit.slots:
        for stored in published:
            slot = stored.resource or {}
            times = instant(slot["start"]), instant(slot["end"])
            same = target(slot["schedule"], visit.change.policy.base) == one.bookable.reference
            if same and slot["status"] == "free" and times == (visit.start, visit.end):
                return Chosen(one.bookable, stored.id, stored, published=True)
    return replace(one, stored=by_id.get(f"Slot/{one.slot_id}"))


def handing_over(visit: Visit, chosen: Sequence[Chosen], owners: frozenset[str]) -> frozenset[str]:
    """Of the named Slots that took their time themselves (`owners` of claims) those whose writer took it for a visit
    that names them: a client may make a Slot busy first and then book the Appointment on it.

    Tentative ones that are held; busy ones that are computed and were free a moment ago, or that the Appointment named
    before it was booked. An EHR's own busy Slot is somebody else's (docs/doors.md).
    """
    change = visit.change
    named_before = slots_of(change.before.resource if change.before else None, change.policy)
    found = set()
    for one in chosen:
        reference, slot = f"Slot/{one.slot_id}", one.stored.resource if one.stored else None
        if reference not in owners or reference not in visit.slots or one.stored is None or slot is None:
            continue
        held = slot["status"] == "busy-tentative" and holds.expires_of(slot) is not None
        recent = one.stored.updated + timedelta(minutes=change.policy.hold_minutes) > change.now
        taken = slot["status"] == "busy" and ((is_computed(slot) and recent) or reference in named_before)
        if held or taken:
            found.add(reference)
    return frozenset(found)


def _new_slot_id(bookable: Bookable, visit: Visit) -> str | None:
    minutes = (visit.end - visit.start) // timedelta(minutes=1)
    return slots.slot_id(bookable.reference.partition("/")[2], visit.start, minutes)


def _best(
    visit: Visit,
    participant: Participant,
    bookables: Sequence[Bookable],
    covered: set[str],
    known: Mapping[str, Json],
) -> Bookable | None:
    """The Schedule for a participant that no chosen one covers: at the right place, with the asked service type,
    open at that time, in that order of weight."""
    reference = participant.reference
    if reference is None or participant.required == "information-only" or kind(reference) == "Patient":
        return None
    base = visit.change.policy.base
    actor = claimed_as(reference, known, base)
    if actor in covered or (actor is None and covered):
        return None
    own = [one for one in bookables if actor in one.claimed or _names(one, reference, visit.change.policy)]
    places = {one.reference for one in visit.participants if one.reference and kind(one.reference) == "Location"}
    wholes = {place: wholes_of(known.get(place, {}), bookables) for place in places}
    types = codes(visit.resource.get("serviceType", ()))

    def weigh(bookable: Bookable) -> tuple[bool, bool, int, str]:
        calendar = bookable.calendar
        offered = codes(calendar.schedule.get("serviceType", ()))
        elsewhere = not all(is_at(bookable, place, above) for place, above in wholes.items())
        refused = slots.refusals(calendar, visit.start, visit.end, visit.change.now)
        return elsewhere, bool(types) and types.isdisjoint(offered), len(refused), bookable.reference

    return min(own, key=weigh, default=None)


def _names(bookable: Bookable, reference: str, policy: Policy) -> bool:
    return reference in set(targets(bookable.calendar.schedule["actor"], policy.base))


def _lacks_schedule(participant: Participant, covered: set[str], known: Mapping[str, Json], base: str) -> bool:
    reference = participant.reference
    if reference is None or reference not in known or participant.required == "information-only":
        return False
    return kind(reference) in ("Practitioner", "PractitionerRole") and claimed_as(reference, known, base) not in covered


def wanted_claims(visit: Visit, chosen: Sequence[Chosen], known: Mapping[str, Json]) -> tuple[Claim, ...]:
    """Everything the Appointment takes: its Schedules with their actors, then the participants beside them."""
    bookables = [one.bookable for one in chosen]
    together = claims_together(bookables, visit.start, visit.end, visit.owner, visit.units)
    wanted = {claim.actor: claim for claim in together}
    first = chosen[0].bookable if chosen else None
    for participant in visit.participants:
        if participant.reference is None or participant.required == "information-only":
            continue
        actor = claimed_as(participant.reference, known, visit.change.policy.base)
        if actor is None:
            continue
        times = visit.start, visit.end
        alone = Claim(actor, *times, visit.owner, *times)
        if first and kind(actor) != "Patient":
            alone = replace(alone, pool=first.reference, capacity=first.calendar.parameters.capacity, units=visit.units)
        wanted.setdefault(actor, alone)
    return tuple(wanted.values())
