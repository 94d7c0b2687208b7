"""The status machines of Appointment, Slot and Encounter, and other products' words for them.

R4 lists the codes (http://hl7.org/fhir/R4/valueset-appointmentstatus.html, -slotstatus, -encounter-status) and
leaves the moves open; conformance/decisions/0003-status-machines.md says why these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fhir_server.outcome import CANONICAL, Issue

Table: TypeAlias = Mapping[str, tuple[str, ...]]
"""From each status to the ones it may move to; staying is always allowed."""

APPOINTMENT: Table = {
    "proposed": ("pending", "booked", "waitlist", "cancelled", "entered-in-error"),
    "waitlist": ("proposed", "pending", "booked", "cancelled", "entered-in-error"),
    "pending": ("proposed", "booked", "waitlist", "cancelled", "entered-in-error"),
    "booked": ("proposed", "pending", "arrived", "checked-in", "noshow", "cancelled", "entered-in-error"),
    "arrived": ("booked", "checked-in", "fulfilled", "cancelled", "entered-in-error"),
    "checked-in": ("arrived", "fulfilled", "cancelled", "entered-in-error"),
    "fulfilled": ("entered-in-error",),
    "cancelled": ("pending", "booked", "entered-in-error"),
    "noshow": ("booked", "arrived", "checked-in", "entered-in-error"),
    "entered-in-error": (),
}
"""Back from `cancelled` and `noshow` is to undo a mistake: the time must still be there, by all rules of a booking."""

SLOT: Table = {
    "free": ("busy", "busy-tentative", "busy-unavailable", "entered-in-error"),
    "busy-tentative": ("free", "busy", "busy-unavailable", "entered-in-error"),
    "busy": ("free", "busy-tentative", "busy-unavailable", "entered-in-error"),
    "busy-unavailable": ("free", "busy", "busy-tentative", "entered-in-error"),
    "entered-in-error": (),
}

ENCOUNTER: Table = {
    "planned": ("arrived", "triaged", "in-progress", "cancelled", "entered-in-error", "unknown"),
    "arrived": ("triaged", "in-progress", "onleave", "finished", "cancelled", "entered-in-error", "unknown"),
    "triaged": ("in-progress", "onleave", "finished", "cancelled", "entered-in-error", "unknown"),
    "in-progress": ("onleave", "finished", "cancelled", "entered-in-error", "unknown"),
    "onleave": ("in-progress", "finished", "cancelled", "entered-in-error", "unknown"),
    "finished": ("entered-in-error",),
    "cancelled": ("entered-in-error",),
    "entered-in-error": (),
    "unknown": (
        "planned",
        "arrived",
        "triaged",
        "in-progress",
        "onleave",
        "finished",
        "cancelled",
        "entered-in-error",
    ),
}

TABLES: Mapping[str, Table] = {"Appointment": APPOINTMENT, "Slot": SLOT, "Encounter": ENCOUNTER}

OCCUPYING = frozenset({"pending", "booked", "arrived", "checked-in", "fulfilled"})
"""Appointments in these statuses take up the time of their participants."""

PRESENT = frozenset({"arrived", "checked-in"})
"""The patient is there: an Encounter goes with it."""

RELEASED = frozenset({"cancelled", "noshow", "entered-in-error"})
"""Appointments in these statuses have given their time back."""

UNDER_WAY = frozenset({"arrived", "triaged", "in-progress", "onleave"})
"""Encounters in these statuses show that the patient has come."""

SLOT_STATUS: Mapping[str, str] = {
    "pending": "busy-tentative",
    "booked": "busy",
    "arrived": "busy",
    "checked-in": "busy",
    "fulfilled": "busy",
}
"""What an Appointment's status makes of its full Slot."""


def refuse_move(type: str, old: str, new: str) -> Issue | None:
    """The problem with moving a resource of `type` from `old` to `new`, naming the legal moves; None if legal."""
    legal = TABLES[type][old]
    if new == old or new in legal:
        return None
    moves = f"it may become {', '.join(legal)}" if legal else "nothing follows it"
    return Issue(
        "business-rule",
        f"{type}.status cannot move from {old} to {new}: {moves}.",
        (f"{type}.status",),
        "illegal-transition",
    )


@dataclass(frozen=True, slots=True)
class Word:
    """A status word of another product, the Appointment.status it is, and what else tells it apart."""

    code: str
    display: str
    status: str
    also: tuple[tuple[str, str], ...] = ()
    exact: bool = True


STATUS_SYSTEM = "http://hl7.org/fhir/appointmentstatus"
WORD_SYSTEM = f"{CANONICAL}/CodeSystem/appointment-word"

WORDS: tuple[Word, ...] = (
    Word("requested", "Requested", "proposed"),
    Word("pending", "Pending", "pending"),
    Word("held", "Held", "pending", (("Slot.status", "busy-tentative"),), exact=False),
    Word(
        "expired",
        "Expired (hold)",
        "cancelled",
        (("Appointment.cancelationReason", "hold-expired"),),
        exact=False,
    ),
    Word("booked", "Booked", "booked", (("Slot.status", "busy"),)),
    Word("scheduled", "Scheduled", "booked", (("Slot.status", "busy"),)),
    Word("upcoming", "Upcoming", "booked", (("Appointment.start", "in the future"),), exact=False),
    Word("confirmed", "Confirmed by the clinic", "booked", exact=False),
    Word(
        "patient-confirmed",
        "Confirmed by the patient",
        "booked",
        (("Appointment.participant.status", "accepted"),),
        exact=False,
    ),
    Word("arrived", "Arrived", "arrived", (("Encounter.status", "arrived"),)),
    Word("checked-in", "Checked in", "checked-in", (("Encounter.status", "arrived"),)),
    Word("in-progress", "In progress", "checked-in", (("Encounter.status", "in-progress"),), exact=False),
    Word("fulfilled", "Fulfilled", "fulfilled", (("Encounter.status", "finished"),)),
    Word("completed", "Completed", "fulfilled", (("Encounter.status", "finished"),)),
    Word("done", "Done", "fulfilled", (("Encounter.status", "finished"),)),
    Word("cancelled", "Cancelled", "cancelled"),
    Word("no-show", "No-show", "noshow"),
    Word("waiting-list", "Waiting list", "waitlist"),
    Word("booked-by-mistake", "Booked by mistake", "entered-in-error"),
)
"""The words of five scheduling products, as published in the ConceptMaps. A word that is not `exact` is narrower
than its status: `also` says what the difference is."""
