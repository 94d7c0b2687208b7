"""Visits by video: which are, in which room those who take part meet, and when it is open.

R4 has no element for it; the extension is R5's Appointment.virtualService
(http://hl7.org/fhir/R5/appointment-definitions.html#Appointment.virtualService). The room is not written down: it is
made of a secret when somebody joins (conformance/decisions/0021-states-and-statistics.md).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_server.outcome import CANONICAL, FhirError, Json
from fhir_server.plan import Plan
from fhir_server.scheduling.choosing import choose, load_named
from fhir_server.scheduling.elements import claimed_as, kind, say
from fhir_server.scheduling.finding import load_bookables
from fhir_server.scheduling.lifecycle import PRESENT
from fhir_server.scheduling.policy import Change, Policy
from fhir_server.scheduling.visit import Chosen, Visit, read_visit

VIRTUAL_SERVICE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.virtualService"
TELEHEALTH = f"{CANONICAL}/StructureDefinition/telehealth"

CODES = frozenset({"VR", "telehealth"})
"""Codes of Appointment.serviceType that say a visit is by video, in whatever system."""

JOINABLE = PRESENT | {"booked"}

ROOM_LENGTH = 32
"""Hexadecimal digits: 128 bits, which nobody guesses."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where a visit takes place and when it can be joined; `room` is None if somebody else made the link."""

    url: str
    room: str | None
    opens: datetime
    closes: datetime


def is_virtual(appointment: Json) -> bool:
    """Whether the Appointment itself says that it is by video."""
    codings = (coding for one in appointment.get("serviceType", ()) for coding in one.get("coding", ()))
    return any(coding.get("code") in CODES for coding in codings) or any(
        one.get("url") == VIRTUAL_SERVICE for one in appointment.get("extension", ())
    )


def with_link(appointment: Json, visit: Visit, chosen: Sequence[Chosen]) -> Json:
    """The Appointment as it is booked: if it is by video, or on a Schedule or for a service that is, with the address
    at which the link to its room is to be had. What its client wrote about that stays."""
    link = f"{visit.change.policy.base}/{visit.owner}/$join"
    extensions = [one for one in appointment.get("extension", ()) if not _leads_to(one, link)]
    bare = {name: value for name, value in appointment.items() if name != "extension"}
    bare |= {"extension": extensions} if extensions else {}
    told = any(one.get("url") == VIRTUAL_SERVICE for one in extensions)
    if told or not (is_virtual(bare) or any(map(_is_offered, chosen))):
        return bare
    parts = [
        {"url": "_datatype", "valueString": "VirtualServiceDetail"},
        {"url": "additionalInfo", "valueUrl": link},
    ]
    return {**bare, "extension": [*extensions, {"url": VIRTUAL_SERVICE, "extension": parts}]}


def join(id: str, appointment: Json, now: datetime, policy: Policy) -> Plan[Meeting]:
    """Where to go now. Refuses (422) an Appointment that is not booked or not by video, and says when the room opens or
    that it has closed."""
    if appointment["status"] not in JOINABLE:
        text = (
            f"Appointment/{id} is {appointment['status']}: one can be joined while it is {', '.join(sorted(JOINABLE))}."
        )
        raise FhirError("business-rule", text, "Appointment.status", problem="not-booked")
    change = Change("Appointment", id, None, appointment, now, policy, "")
    visit = read_visit(change, None, appointment)
    known, slots, schedules = yield from load_named(visit)
    bookables = yield from load_bookables(schedules, policy, known)
    chosen, _ = choose(visit, bookables, slots, known)
    if not (is_virtual(appointment) or any(map(_is_offered, chosen))):
        text = f"Appointment/{id} is no visit by video."
        raise FhirError("business-rule", text, "Appointment.serviceType", problem="not-virtual")
    link = _own_link(appointment)
    if link is None and policy.meeting_url_template is None:
        text = "This server makes no links to meetings (setting meeting-url-template), and the Appointment has none."
        raise FhirError("business-rule", text, "Appointment.extension", problem="no-meeting")
    opens, closes = window(visit, policy)
    if now < opens:
        text = f"The visit can be joined from {say(opens)}."
        raise FhirError("business-rule", text, "Appointment.start", problem="join-too-early")
    if now >= closes:
        text = f"The visit could be joined until {say(closes)}."
        raise FhirError("business-rule", text, "Appointment.start", problem="join-closed")
    if link:
        return Meeting(link, None, opens, closes)
    room = name_room(visit, chosen, known)
    return Meeting((policy.meeting_url_template or "").replace("{room}", room), room, opens, closes)


def window(visit: Visit, policy: Policy) -> tuple[datetime, datetime]:
    """From when until when a visit can be joined. One that is still going on can be, however long it lasts."""
    opens = visit.start - timedelta(minutes=policy.join_window_before_minutes)
    closes = visit.start + timedelta(minutes=policy.join_window_after_minutes)
    return opens, max(closes, visit.end)


def name_room(visit: Visit, chosen: Sequence[Chosen], known: Mapping[str, Json]) -> str:
    """The name of the room: one for the same patients, practitioners and local day; one for a group at its time.
    Without the secret it can be neither guessed nor read."""
    policy = visit.change.policy
    zone = chosen[0].bookable.calendar.zone if chosen else policy.zone
    groups = sorted(one.bookable.reference for one in chosen if one.bookable.calendar.parameters.capacity > 1)
    if groups:
        told = ["group", say(visit.start), *groups]
    else:
        day = visit.start.astimezone(zone).date().isoformat()
        told = ["visit", day, *sorted(visit.patients), *sorted(set(_people(visit, chosen, known)))]
    secret = policy.meeting_secret.encode()
    return hmac.new(secret, "\n".join(told).encode(), hashlib.sha256).hexdigest()[:ROOM_LENGTH]


def _people(visit: Visit, chosen: Sequence[Chosen], known: Mapping[str, Json]) -> Iterator[str]:
    """Whose time is taken beside the patients': those of the Schedules, and those who take part."""
    base = visit.change.policy.base
    taken: Iterable[str | None] = (
        *(actor for one in chosen for actor in one.bookable.claimed),
        *(claimed_as(one.reference, known, base) for one in visit.participants if one.reference),
    )
    return (one for one in taken if one and kind(one) in ("Practitioner", "PractitionerRole"))


def _is_offered(chosen: Chosen) -> bool:
    """Whether the Schedule, or the service that it is for, is by video."""
    calendar = chosen.bookable.calendar
    extensions = (one for each in (calendar.schedule, *calendar.services) for one in each.get("extension", ()))
    return any(one.get("url") == TELEHEALTH and one.get("valueBoolean") is True for one in extensions)


def _leads_to(extension: Json, link: str) -> bool:
    parts = extension.get("extension", ()) if extension.get("url") == VIRTUAL_SERVICE else ()
    return any(part.get("url") == "additionalInfo" and part.get("valueUrl") == link for part in parts)


def _own_link(appointment: Json) -> str | None:
    """The address that the client gave: that of a meeting made elsewhere."""
    services = (one for one in appointment.get("extension", ()) if one.get("url") == VIRTUAL_SERVICE)
    parts = (
        part for one in services for part in one.get("extension", ()) if part.get("url") in ("address", "addressUrl")
    )
    links = (part.get("valueUrl", part.get("valueString")) for part in parts)
    return next((link for link in links if isinstance(link, str) and link.startswith(("https://", "http://"))), None)
