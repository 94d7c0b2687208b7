"""An Appointment that asks for time, read once: when, who, on which Slots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_server.outcome import FhirError, Issue, Json
from fhir_server.plan import Stored
from fhir_server.scheduling import holds, lifecycle, slots
from fhir_server.scheduling.elements import instant, kind, target, targets
from fhir_server.scheduling.finding import Bookable, refuse_far
from fhir_server.scheduling.policy import Change, Policy


@dataclass(frozen=True, slots=True)
class Participant:
    """One participant that has not declined: its place in the Appointment and whom it is."""

    index: int
    reference: str | None
    required: str

    @property
    def expression(self) -> str:
        return f"Appointment.participant[{self.index}].actor"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A Schedule that the Appointment is on, and the Slot for it: stored, or computed and not stored yet."""

    bookable: Bookable
    slot_id: str | None
    stored: Stored | None
    published: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """What is asked for, read out of the Appointment once."""

    owner: str
    start: datetime
    end: datetime
    participants: tuple[Participant, ...]
    slots: tuple[str, ...]
    moved: bool
    former: Json | None
    resource: Json
    change: Change

    @property
    def patients(self) -> list[str]:
        """The patients who come; one who is only informed does not."""
        coming = (one.reference for one in self.participants if one.reference and one.required != "information-only")
        return list(dict.fromkeys(one for one in coming if kind(one) == "Patient"))

    @property
    def units(self) -> int:
        return max(1, len(self.patients))

    @property
    def keeps_time(self) -> bool:
        """Whether it took time before, from the same start to the same end."""
        former = self.former
        return former is not None and (instant(former["start"]), instant(former["end"])) == (self.start, self.end)


def read_visit(change: Change, before: Json | None, after: Json) -> Visit:
    """Refuses an Appointment longer than any may be. A move drops Slots that were of the former time."""
    start, end = instant(after["start"]), instant(after["end"])
    refuse_far(start, end, "Appointment.start")
    if end <= start:
        raise FhirError("business-rule", "`end` must be after `start`.", "Appointment.end", problem="empty-time")
    if end - start > change.policy.appointment_length_max:
        text = f"An Appointment lasts at most {change.policy.appointment_hours_max} hours."
        raise FhirError("business-rule", text, "Appointment.end", problem="too-long")
    participants = read_participants(after, change.policy.base)
    named = slots_of(after, change.policy)
    if before and "start" in before and named == slots_of(before, change.policy):
        named = () if (start, end) != (instant(before["start"]), instant(before["end"])) else named
    former = before if before and occupies(before, change.now) else None
    moved = former is None or time_of(former, change.policy) != time_of(after, change.policy)
    return Visit(f"Appointment/{change.id}", start, end, participants, named, moved, former, after, change)


def span(one: Chosen) -> tuple[datetime, datetime]:
    """The time of the Slot."""
    found = time_of_slot(f"Slot/{one.slot_id}", one.stored)
    assert found is not None, "a chosen Slot is stored or has a computed id"
    return found


def time_of_slot(reference: str, stored: Stored | None) -> tuple[datetime, datetime] | None:
    """The time of a Slot, as it is stored or as its id says; None if it is no Slot here."""
    if stored and stored.resource:
        return instant(stored.resource["start"]), instant(stored.resource["end"])
    parsed = slots.parse_slot_id(reference.partition("/")[2])
    return (parsed[1], parsed[1] + timedelta(minutes=parsed[2])) if parsed else None


def occupies(appointment: Json, now: datetime) -> bool:
    """Whether the Appointment takes up the time of those who take part: its status does, and it is no hold that is
    over."""
    return appointment["status"] in lifecycle.OCCUPYING and not holds.is_expired(appointment, now)


def time_of(appointment: Json, policy: Policy) -> tuple[object, ...]:
    """When an Appointment is, and on which Slots."""
    return instant(appointment["start"]), instant(appointment["end"]), frozenset(slots_of(appointment, policy))


def people_of(appointment: Json, policy: Policy) -> frozenset[tuple[str | None, str]]:
    """Who takes part in an Appointment."""
    return frozenset((one.reference, one.required) for one in read_participants(appointment, policy.base))


def read_participants(appointment: Json, base: str) -> tuple[Participant, ...]:
    """The participants that have not declined."""
    return tuple(
        Participant(index, target(one.get("actor"), base), one.get("required", "required"))
        for index, one in enumerate(appointment["participant"])
        if one["status"] != "declined"
    )


def is_a(participant: Json, base: str, *types: str) -> bool:
    """Whether the actor is of one of these types, on this server."""
    return kind(target(participant.get("actor"), base) or "") in types


def can_answer(participant: Json) -> bool:
    """Whether it is somebody who can agree: rooms, devices and services are there when their time is free."""
    text = str(participant.get("actor", {}).get("reference", ""))
    return not any(f"{type}/" in text for type in ("Location", "Device", "HealthcareService"))


def slots_of(appointment: Json | None, policy: Policy) -> tuple[str, ...]:
    """The Slots that the Appointment names."""
    return tuple(targets((appointment or {}).get("slot", ()), policy.base, "Slot"))


def problem(code: str, text: str, expression: str, problem: str) -> Issue:
    """An Issue with a code of ours at one element."""
    return Issue(code, text, (expression,), problem)
