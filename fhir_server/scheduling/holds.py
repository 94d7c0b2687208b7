"""Time that is held for a while: an Appointment that is pending until an instant, then as if it had been cancelled
(conformance/decisions/0017-holds.md).

`pending` without that instant is an unconfirmed booking, which keeps its time until it is changed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from fhir_server.outcome import CANONICAL, FhirError, Issue, Json
from fhir_server.plan import Claim
from fhir_server.scheduling import lifecycle
from fhir_server.scheduling.elements import instant, is_computed, say
from fhir_server.scheduling.parameters import extension_problems
from fhir_server.scheduling.policy import Change
from fhir_server.scheduling.slots import room_left

EXPIRES = f"{CANONICAL}/StructureDefinition/hold-expires"
SINCE = f"{CANONICAL}/StructureDefinition/hold-since"
OWNER = f"{CANONICAL}/StructureDefinition/hold-owner"
VALUES = {EXPIRES: "valueInstant", SINCE: "valueInstant", OWNER: "valueString"}

REASONS = f"{CANONICAL}/CodeSystem/cancelation-reason"
REASON_TEXTS = {
    "hold-expired": "The hold was over before the time was booked",
    "hold-released": "The hold was given up by whoever had it",
    "not-given": "Called off by a client whose request has no place for a reason",
    "replaced": "Another appointment was booked instead",
}


def reason(code: str) -> Json:
    """Appointment.cancelationReason with one of our codes."""
    return {"coding": [{"system": REASONS, "code": code, "display": REASON_TEXTS[code]}]}


SHORTEST = timedelta(minutes=1)
"""No hold is shorter, so that nobody has to look more often for those that are over."""

ANYBODY = "anybody"
"""Whose holds those are that name neither a client nor a patient."""


def hold_problems(resource: Json) -> Sequence[Issue]:
    """What is wrong with the extensions that say of an Appointment or a Slot how it is held."""
    return extension_problems(resource, VALUES)


def expires_of(resource: Json) -> datetime | None:
    """When the hold ends that an Appointment or a Slot is; None if it is none."""
    text = _said(resource, EXPIRES)
    return instant(text) if text else None


def is_expired(resource: Json, now: datetime) -> bool:
    """Whether the Appointment or Slot is a hold that is over."""
    expires = expires_of(resource)
    return expires is not None and expires <= now and resource["status"] in ("pending", "busy-tentative")


def was_expired(appointment: Json) -> bool:
    """Whether the Appointment is cancelled because its hold expired."""
    reason = appointment.get("cancelationReason", {})
    codings = [(coding.get("system"), coding.get("code")) for coding in reason.get("coding", ())]
    return appointment["status"] == "cancelled" and (REASONS, "hold-expired") in codings


def with_expiry(resource: Json, until: datetime | None) -> Json:
    """The Appointment or Slot as a hold until then; without an instant, as none."""
    bare = _without(resource, {EXPIRES})
    return _with(bare, EXPIRES, "valueInstant", say(until)) if until else bare


def without_expiry(resource: Json) -> Json:
    """The Appointment or Slot with nothing that says it is a hold."""
    return _without(resource, VALUES.keys())


def ask_for(appointment: Json, until: datetime) -> Json:
    """The Appointment as it asks to be held until then."""
    return with_expiry({**appointment, "status": "pending"}, until)


def slot_until(change: Change, before: Json | None, after: Json) -> datetime | None:
    """When the hold ends that a Slot becomes which its writer makes tentative; None if it is no hold.

    A Slot that turns from free, or from computed, to tentative is held for as long as a hold lasts, or until the
    instant that it names. An EHR's Slot that comes tentative stays so.
    """
    if after["status"] != "busy-tentative" or change.recording:
        return expires_of(after) if change.recording else None
    asked = expires_of(after)
    until = expires_of(before) if before and before["status"] == "busy-tentative" else None
    freed = before is None or before["status"] == "free"
    if asked == until and not freed:
        return until
    if asked is None and (before is None) and not is_computed(after):
        return None
    wanted = asked or change.now + timedelta(minutes=change.policy.hold_minutes)
    _refuse_bounds(change, wanted, change.now)
    return wanted


def put_away(resource: Json) -> Json:
    """What becomes of a hold that is over: a cancelled Appointment, a free Slot."""
    if resource["resourceType"] == "Slot":
        return with_expiry({**resource, "status": "free"}, None)
    return without_expiry({**resource, "status": "cancelled", "cancelationReason": reason("hold-expired")})


def on_slot(slot: Json, appointment: Json) -> Json:
    """The Slot that the Appointment stands on: of a hold it says when that ends, and not whose it is."""
    held = slot["status"] == "busy-tentative" and appointment["status"] == "pending"
    return with_expiry(slot, expires_of(appointment) if held else None)


def refuse_stranger(change: Change, before: Json | None) -> None:
    """Refuses (403) to change, move or delete a live hold without its owner's token, if it has one."""
    if before is None or before["status"] != "pending" or expires_of(before) is None or is_expired(before, change.now):
        return
    owner = _said(before, OWNER)
    if owner is None or owner == _digest(change.intent.token):
        return
    text = "The Appointment is held by another: give the token of the hold (parameter `token` or header X-Hold-Token)."
    raise FhirError("forbidden", text, "Appointment.extension", problem="not-the-holder", status=403)


def keep(change: Change, before: Json | None, after: Json) -> Json:
    """The Appointment with what is to be said of its hold: nothing if it is not pending, else when the hold began, when
    it ends and whose it is, which no update takes away.

    Refuses a hold that has ended already, one that is longer than the policy allows, and to make one of what is booked,
    or waits to be confirmed: that would end by itself.
    """
    live = before if before and before["status"] == "pending" and expires_of(before) else None
    if change.recording:
        return after
    if after["status"] != "pending":
        return without_expiry(after)
    until = expires_of(after) or (expires_of(live) if live else None)
    if until is None:
        return without_expiry(after)
    if before and live is None and before["status"] in lifecycle.OCCUPYING:
        text = "The Appointment has its time for good and cannot become a hold: leave out the extension hold-expires."
        raise FhirError("business-rule", text, "Appointment.status", problem="illegal-transition")
    if live and until == expires_of(live) and not is_expired(live, change.now):
        return _as_held(after, until, _said(live, SINCE) or say(change.now), _said(live, OWNER))
    renewed = live if live and not is_expired(live, change.now) else None
    since = _said(renewed, SINCE) if renewed else None
    if not change.intent.offering:
        _refuse_bounds(change, until, instant(since) if since else change.now)
    owner = _said(renewed, OWNER) if renewed else _digest(change.intent.token)
    return _as_held(after, until, since or say(change.now), owner)


def allowance(change: Change, held: Json, patients: Sequence[str] = ()) -> tuple[Claim, ...]:
    """What a hold takes of the number that its client may have at a time: as a claim like any other it holds for all
    processes, and ends by itself. What the waiting list offers takes the one offer that each of its patients may have.
    None if the Appointment or Slot is no hold."""
    until = expires_of(held) if held["status"] in ("pending", "busy-tentative") else None
    if until is None or until <= change.now:
        return ()
    if change.intent.offering:
        return tuple(_offer(change, until, patient) for patient in dict.fromkeys(patients))
    client = change.intent.client or next(iter(patients), ANYBODY)
    most = change.policy.holds_anonymous_max if client == ANYBODY else change.policy.holds_per_client_max
    since = instant(_said(held, SINCE) or say(change.now))
    owner, actor = f"{change.type}/{change.id}", f"Client/{client}#holds"
    return (Claim(actor, since, until, owner, since, until, actor, most, expires=until),)


def _offer(change: Change, until: datetime, patient: str) -> Claim:
    """That a patient has what the waiting list offers: one thing at a time."""
    actor = f"Client/{patient}#offers"
    return Claim(actor, change.now, until, f"{change.type}/{change.id}", change.now, until, actor, expires=until)


def refuse_too_many(allowed: Sequence[Claim], taken: Mapping[str, Sequence[Claim]]) -> None:
    """Refuses a hold (429) whose client has as many as it may have, and says when the first of them ends."""
    for claim in allowed:
        others = [one for one in taken.get(claim.actor, ()) if one.owner != claim.owner]
        if room_left(others, claim) < 1:
            first = min(one.end for one in others)
            seconds = max(1, math.ceil((first - claim.core_start).total_seconds()))
            text = f"There are {claim.capacity} holds already: release or book one, or try again at {say(first)}."
            headers = {"Retry-After": str(seconds)}
            where = claim.owner.partition("/")[0]
            raise FhirError("throttled", text, where, problem="too-many-holds", headers=headers)


def _as_held(appointment: Json, until: datetime, since: str, owner: str | None) -> Json:
    held = _with(_without(appointment, VALUES.keys()), EXPIRES, "valueInstant", say(until))
    held = _with(held, SINCE, "valueInstant", since)
    return _with(held, OWNER, "valueString", owner) if owner else held


def _refuse_bounds(change: Change, until: datetime, since: datetime) -> None:
    now, policy = change.now, change.policy
    longest = now + timedelta(minutes=policy.hold_minutes_max, seconds=1)
    last = since + timedelta(minutes=policy.hold_total_minutes_max)
    where = f"{change.type}.extension"
    if until < now + SHORTEST:
        text = f"A hold lasts a minute at least: until {say(now + SHORTEST)}."
        raise FhirError("business-rule", text, where, problem="hold-too-short")
    if until > longest:
        text = f"A hold lasts at most {policy.hold_minutes_max} minutes: until {say(longest)} at the latest."
        raise FhirError("business-rule", text, where, problem="hold-too-long")
    if until > last:
        text = f"A hold can be renewed for {policy.hold_total_minutes_max} minutes in all: until {say(last)}. Book now."
        raise FhirError("business-rule", text, where, problem="hold-too-long")


def _digest(token: str | None) -> str | None:
    return hashlib.sha256(token.encode()).hexdigest() if token else None


def _said(resource: Json, url: str) -> str | None:
    found = (each for each in resource.get("extension") or () if each.get("url") == url)
    value = next((each.get("valueInstant", each.get("valueString")) for each in found), None)
    return value if isinstance(value, str) else None


def _with(resource: Json, url: str, element: str, value: str) -> Json:
    return {**resource, "extension": [*resource.get("extension", ()), {"url": url, element: value}]}


def _without(resource: Json, urls: Collection[str]) -> Json:
    kept = [each for each in resource.get("extension") or () if each.get("url") not in urls]
    bare = {name: value for name, value in resource.items() if name != "extension"}
    return {**bare, "extension": kept} if kept else bare
