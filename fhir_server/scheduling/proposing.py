"""Found times as Appointments that are proposed: who would take part, on which Slots (docs/doors.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_server.outcome import Json
from fhir_server.plan import Claim
from fhir_server.scheduling.elements import instant, is_room, kind, say
from fhir_server.scheduling.finding import Bookable
from fhir_server.scheduling.offers import Offer
from fhir_server.scheduling.parameters import name_reference


@dataclass(frozen=True, slots=True)
class Occasion:
    """What the client said of the visit beside its time: for whom it is, in which period, and elements to pass on."""

    patients: Sequence[str]
    start: datetime
    end: datetime
    more: Mapping[str, object]


def propose(offers: Sequence[Offer], occasion: Occasion) -> Json:
    """The Appointment on these free Slots, which are at one time: all are still to be asked."""
    slots = [offer.slot for offer in offers]
    kept: Json = {name: slots[0][name] for name in ("serviceCategory", "serviceType", "specialty") if name in slots[0]}
    people = [*occasion.patients, *dict.fromkeys(actor for offer in offers for actor in _actors(offer.bookable))]
    return {
        "resourceType": "Appointment",
        "status": "proposed",
        **kept,
        **occasion.more,
        "start": slots[0]["start"],
        "end": slots[0]["end"],
        "minutesDuration": int((instant(slots[0]["end"]) - instant(slots[0]["start"])).total_seconds() // 60),
        "slot": [{"reference": f"Slot/{slot['id']}"} for slot in slots],
        "participant": [{"actor": {"reference": one}, "status": "needs-action"} for one in people],
        "requestedPeriod": [{"start": say(occasion.start), "end": say(occasion.end)}],
    }


def _actors(bookable: Bookable) -> Iterator[str]:
    """Who takes part: the actors of the Schedule, of a role the person, and the place where it is."""
    calendar = bookable.calendar
    actors = [name for actor in calendar.schedule.get("actor", ()) if (name := name_reference(actor))]
    people = {f"PractitionerRole/{role['id']}": name_reference(role.get("practitioner")) for role in calendar.roles}
    yield from (people.get(actor) or actor for actor in actors)
    if not any(kind(actor) == "Location" for actor in actors):
        yield from (f"Location/{place['id']}" for place in calendar.locations[:1] if not is_room(place))


def with_slots(proposal: Json, offers: Sequence[Offer]) -> Json:
    """The proposal with its Slots contained in it, as they are once it is booked."""
    slots = [offer.slot for offer in offers]
    contained = [{**_plain(slot), "id": f"slot-{number}", "status": "busy"} for number, slot in enumerate(slots)]
    return {**proposal, "contained": contained, "slot": [{"reference": f"#{slot['id']}"} for slot in contained]}


def _plain(slot: Json) -> Json:
    """A Slot without what only a resource that stands alone has."""
    return {name: value for name, value in slot.items() if name not in ("meta", "text", "extension")}


def is_free(claims: Sequence[Claim], start: datetime, end: datetime) -> bool:
    """Whether somebody with these claims has nothing else in [start, end)."""
    return not any(claim.start < end and start < claim.end for claim in claims)
