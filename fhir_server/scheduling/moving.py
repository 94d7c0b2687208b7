"""Who takes part in an Appointment that is put on other Slots, or given to somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from fhir_server.outcome import FhirError, Json
from fhir_server.plan import ById, Plan, Stored
from fhir_server.scheduling.choosing import schedule_of_slot
from fhir_server.scheduling.elements import claimed_as, instant, kind, say, target, targets
from fhir_server.scheduling.finding import Bookable, load_bookables
from fhir_server.scheduling.policy import Change
from fhir_server.scheduling.visit import occupies, people_of, slots_of, time_of_slot

ALIKE: Mapping[str, str] = {"PractitionerRole": "Practitioner"}
"""Types of participants that stand for another type: whoever comes takes the place of one of their kind who leaves."""

REPLACEABLE = frozenset({"Practitioner", "Location", "Device", "HealthcareService"})
"""Whose place others of their kind can take; another patient is another appointment."""


def follow_slots(change: Change, before: Json | None, after: Json) -> Plan[Json]:
    """The Appointment; if it was put on other Slots and says nothing else that is new, at their time and with the
    people of their Schedules: so to change `slot` alone is to move it."""
    named = slots_of(after, change.policy)
    if before is None or not named or not _is_put_elsewhere(change, before, after):
        return after
    former = slots_of(before, change.policy)
    stored = {f"Slot/{one.id}": one for one in _stored((yield [ById(frozenset({*named, *former}))])[0])}
    times = [time_of_slot(reference, stored.get(reference)) for reference in named]
    known_times = [each for each in times if each]
    if len(known_times) < len(times):
        return after
    schedules = [_schedules(each, stored, change) for each in (former, named)]
    found = _stored((yield [ById(frozenset().union(*schedules))])[0])
    bookables = yield from load_bookables(found, change.policy)
    was, new = ([one for one in bookables if one.reference in each] for each in schedules)
    if not new:
        return after
    zone = new[0].calendar.zone
    start, end = min(each[0] for each in known_times), max(each[1] for each in known_times)
    if (start, end) != (instant(after["start"]), instant(after["end"])):
        after = {**after, "start": say(start, zone), "end": say(end, zone)}
    return (yield from _exchange(after, was, new, change.policy.base))


def follow_length(change: Change, before: Json | None, after: Json) -> Json:
    """The Appointment; a minutesDuration that was its whole length and stays as it was is its length still."""
    said, length = after.get("minutesDuration"), _minutes(after)
    if before is None or said is None or length is None or change.recording:
        return after
    return {**after, "minutesDuration": length} if said == before.get("minutesDuration") == _minutes(before) else after


def _minutes(appointment: Json) -> int | None:
    if "start" not in appointment or "end" not in appointment:
        return None
    return (instant(appointment["end"]) - instant(appointment["start"])) // timedelta(minutes=1)


def _is_put_elsewhere(change: Change, before: Json, after: Json) -> bool:
    if not occupies(before, change.now) or not occupies(after, change.now):
        return False
    policy = change.policy
    same_time = all(bound in after and instant(before[bound]) == instant(after[bound]) for bound in ("start", "end"))
    same = same_time and people_of(before, policy) == people_of(after, policy)
    return same and set(slots_of(before, policy)) != set(slots_of(after, policy))


def _stored(found: Iterable[object]) -> list[Stored]:
    return [one for one in found if isinstance(one, Stored)]


def _schedules(named: Sequence[str], stored: Mapping[str, Stored], change: Change) -> frozenset[str]:
    found = (schedule_of_slot(reference, stored, change.policy) for reference in named)
    return frozenset(one for one in found if one)


def _exchange(appointment: Json, former: Sequence[Bookable], new: Sequence[Bookable], base: str) -> Plan[Json]:
    """The Appointment with the actors of the new Schedules instead of those of the former ones."""
    coming = [actor for one in new for actor in targets(one.calendar.schedule["actor"], base)]
    leaving = {actor for one in former for actor in targets(one.calendar.schedule["actor"], base)} - set(coming)
    taking = {actor for one in new for actor in one.claimed}
    taken = {actor for one in former for actor in one.claimed} - taking
    present = [target(one.get("actor"), base) for one in appointment["participant"]]
    wanted = frozenset({*coming, *(one for one in present if one)})
    known = {f"{one.type}/{one.id}": one.resource or {} for one in _stored((yield [ById(wanted)])[0])}
    leavers = [one for one in present if one and (one in leaving or claimed_as(one, known, base) in taken)]
    stay = {one for one in present if one} - set(leavers)
    covered = stay | {claimed_as(one, known, base) for one in stay}
    added = [one for one in dict.fromkeys(coming) if {one, claimed_as(one, known, base)}.isdisjoint(covered)]
    return _replaced(appointment, leavers, added, base)


def _replaced(appointment: Json, leavers: Sequence[str], added: Sequence[str], base: str) -> Json:
    """The Appointment without those who leave; who comes takes the place of one of the same kind."""
    waiting = list(added)
    people: list[Json] = []
    for one in appointment["participant"]:
        reference = target(one.get("actor"), base)
        if reference is None or reference not in leavers:
            people.append(one)
            continue
        heir = next((each for each in waiting if _sort(each) == _sort(reference)), None)
        if heir:
            waiting.remove(heir)
            kept = {name: one[name] for name in ("type", "required") if name in one}
            people.append({**kept, **_participant(heir)})
    return {**appointment, "participant": [*people, *map(_participant, waiting)]}


def _participant(reference: str) -> Json:
    """Somebody who comes: a person is asked, a room or a device is there."""
    status = "needs-action" if _sort(reference) in ("Practitioner", "RelatedPerson") else "accepted"
    return {"actor": {"reference": reference}, "status": status}


def _sort(reference: str) -> str:
    return ALIKE.get(kind(reference), kind(reference))


def reassign(appointment: Json, leaver: str | None, comer: str, base: str) -> Json:
    """The Appointment with `comer` in the place of `leaver`, or of the only one of that kind if none is named. Who has
    declined has left already. Refuses (422) if that is nobody or several, or `comer` takes part already."""
    present = _present(appointment, base)
    if _sort(comer) not in REPLACEABLE:
        text = f"{comer} takes nobody's place: that is for {', '.join(sorted(REPLACEABLE))}."
        raise FhirError("business-rule", text, "to", problem="nobody-to-replace")
    if comer in present:
        text = f"{comer} takes part already."
        raise FhirError("business-rule", text, "Appointment.participant", problem="takes-part-already")
    candidates = [one for one in present if one == leaver or (leaver is None and _sort(one) == _sort(comer))]
    if len(candidates) != 1:
        whom = leaver or f"a {_sort(comer)}"
        text = f"{whom} does not take part." if not candidates else f"Say `from`: {', '.join(candidates)} take part."
        raise FhirError("business-rule", text, "from", problem="nobody-to-replace")
    if _sort(candidates[0]) != _sort(comer):
        text = f"{comer} cannot take the place of {candidates[0]}: name one of the same kind."
        raise FhirError("business-rule", text, "to", problem="nobody-to-replace")
    return _replaced(appointment, candidates, [comer], base)


def reassign_too(appointment: Json, leaver: str | None, comer: str, base: str) -> Json:
    """As `reassign`, with others of its series: in which `comer` takes part already stays as it is."""
    return appointment if comer in _present(appointment, base) else reassign(appointment, leaver, comer, base)


def _present(appointment: Json, base: str) -> list[str]:
    """Who takes part and has not declined."""
    people = (one for one in appointment["participant"] if one["status"] != "declined")
    return [found for one in people if (found := target(one.get("actor"), base))]
