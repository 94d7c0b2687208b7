"""Until when patients may cancel or move what they have booked, and who did it: rules as data on their Schedules
(conformance/decisions/0024-who-changes-and-overrides.md).

Staff are not bound. Without logins a request says who acts, and for a cancellation its reason does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fhir_server.outcome import CANONICAL, FhirError, Issue, Json
from fhir_server.plan import Plan
from fhir_server.scheduling import holds, reasons
from fhir_server.scheduling.availability import Calendar
from fhir_server.scheduling.choosing import choose, load_named
from fhir_server.scheduling.elements import instant, say
from fhir_server.scheduling.finding import load_bookables
from fhir_server.scheduling.policy import Change
from fhir_server.scheduling.visit import read_visit

PATIENT, STAFF = ACTORS = ("patient", "staff")

CANCELLED_BY = f"{CANONICAL}/StructureDefinition/cancelled-by"
RESCHEDULED = f"{CANONICAL}/StructureDefinition/rescheduled"

BOUND = frozenset({"pending", "booked", "arrived", "checked-in"})
"""Appointments in these statuses can be called off too late; not those that are only held."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a patient may still do: cancel and move until then, None for always; move so often, None for any number;
    and whom to ask otherwise."""

    cancel_until: datetime | None = None
    move_until: datetime | None = None
    moves_max: int | None = None
    contact: str | None = None

    def refuse_cancel(self, now: datetime) -> Issue | None:
        """Why the patient cannot cancel now."""
        if self.cancel_until is None or now <= self.cancel_until:
            return None
        text = f"It could be cancelled until {say(self.cancel_until)}.{self._ask()}"
        return Issue("business-rule", text, ("Appointment.status",), "too-late-to-cancel")

    def refuse_move(self, moves: int, now: datetime) -> Issue | None:
        """Why the patient, who has moved it so often, cannot move it now."""
        if self.move_until is not None and now > self.move_until:
            text = f"It could be moved until {say(self.move_until)}.{self._ask()}"
            return Issue("business-rule", text, ("Appointment.start",), "too-late-to-reschedule")
        if self.moves_max is not None and moves >= self.moves_max:
            times = "once" if self.moves_max == 1 else f"{self.moves_max} times"
            text = f"It can be moved {times} and was.{self._ask()}"
            return Issue("business-rule", text, ("Appointment.start",), "too-many-reschedules")
        return None

    def _ask(self) -> str:
        return f" Call {self.contact}." if self.contact else " Ask the practice."


def load_terms(change: Change, appointment: Json) -> Plan[Terms]:
    """The terms of the Schedules that a stored Appointment is on, of several the strictest."""
    start = instant(appointment["start"])
    if not start < instant(appointment["end"]) <= start + change.policy.appointment_length_max:
        return Terms()
    visit = read_visit(replace(change, before=None, after=appointment), None, appointment)
    known, found, schedules = yield from load_named(visit)
    bookables = yield from load_bookables(schedules, change.policy, known)
    chosen, _ = choose(visit, bookables, found, known)
    return _strictest(start, [one.bookable.calendar for one in chosen])


def _strictest(start: datetime, calendars: Sequence[Calendar]) -> Terms:
    each = [calendar.parameters for calendar in calendars]
    cancel = [one.cancel_notice_minutes for one in each if one.cancel_notice_minutes is not None]
    move = [one.reschedule_notice_minutes for one in each if one.reschedule_notice_minutes is not None]
    return Terms(
        start - timedelta(minutes=max(cancel)) if cancel else None,
        start - timedelta(minutes=max(move)) if move else None,
        min((one.reschedules_max for one in each if one.reschedules_max is not None), default=None),
        next((phone for calendar in calendars if (phone := _phone(calendar))), None),
    )


def _phone(calendar: Calendar) -> str | None:
    """The first telephone number of the place, else of the organization."""
    points = (one for each in (*calendar.locations, *calendar.organizations) for one in each.get("telecom", ()))
    return next((one["value"] for one in points if one.get("system") == "phone" and "value" in one), None)


def refuse_late(change: Change, before: Json | None, after: Json) -> Plan[None]:
    """Refuses what a patient does after the cut-off, or more often than the Schedule allows."""
    if before is None or change.recording or not is_bound(before):
        return
    cancels = _cancels(before, after) and who_cancels(change, after) == PATIENT
    moves = _is_moved_by_patient(change, before, after)
    if not cancels and not moves:
        return
    terms = yield from load_terms(change, before)
    late = terms.refuse_cancel(change.now) if cancels else terms.refuse_move(moves_of(before), change.now)
    if late:
        raise FhirError.of([late])


def is_bound(before: Json) -> bool:
    """Whether a patient can be too late to cancel or move the Appointment."""
    return before["status"] in BOUND and holds.expires_of(before) is None and "start" in before


def _cancels(before: Json | None, after: Json) -> bool:
    return after["status"] == "cancelled" and (before or {}).get("status") != "cancelled"


def who_cancels(change: Change, after: Json) -> str | None:
    """Who calls it off: whom the request names, else whom the reason does. None if the server does it itself."""
    reason = after.get("cancelationReason", {})
    if change.intent.by is None and any(one.get("system") == holds.REASONS for one in reason.get("coding", ())):
        return None
    return change.intent.by or (PATIENT if reasons.is_of_the_patient(reason) else STAFF)


def _is_moved_by_patient(change: Change, before: Json, after: Json) -> bool:
    if change.intent.by != PATIENT or "start" not in after or after["status"] not in BOUND:
        return False
    return any(instant(before[bound]) != instant(after[bound]) for bound in ("start", "end"))


def moves_of(appointment: Json) -> int:
    """How often its patient has moved the Appointment."""
    return int(_said(appointment, RESCHEDULED, "valuePositiveInt") or 0)


def keep(change: Change, before: Json | None, after: Json) -> Json:
    """The Appointment with who cancelled it and how often its patient moved it, which no update says otherwise."""
    if change.recording:
        return after
    moves = moves_of(before or {})
    if before and is_bound(before) and _is_moved_by_patient(change, before, after):
        moves += 1
    by = who_cancels(change, after) if _cancels(before, after) else _said(before or {}, CANCELLED_BY, "valueCode")
    kept = _with(after, RESCHEDULED, "valuePositiveInt", moves or None)
    return _with(kept, CANCELLED_BY, "valueCode", by if after["status"] == "cancelled" else None)


def _said(appointment: Json, url: str, element: str) -> Any:
    found = (each for each in appointment.get("extension") or () if each.get("url") == url)
    return next((each.get(element) for each in found), None)


def _with(appointment: Json, url: str, element: str, value: object) -> Json:
    """The Appointment with this value of the extension, or without it."""
    if _said(appointment, url, element) == value:
        return appointment
    others = [each for each in appointment.get("extension") or () if each.get("url") != url]
    extensions = [*others, {"url": url, element: value}] if value else others
    bare = {name: known for name, known in appointment.items() if name != "extension"}
    return {**bare, "extension": extensions} if extensions else bare
