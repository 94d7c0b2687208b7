"""$find-slots: the free Slots of Schedules, computed from rules, blocks and bookings (docs/find-slots.md)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fhir_server.definitions import Operation, Parameter, Request, Response
from fhir_server.operations.arguments import Arguments, link, read_arguments
from fhir_server.outcome import FhirError, Issue, Json, operation_outcome
from fhir_server.scheduling.elements import instant, say, target
from fhir_server.scheduling.finding import Ask, Offer, find, refuse_window
from fhir_server.writing import Server


async def find_slots(server: Server, request: Request) -> Response:
    """200 with a searchset Bundle of free Slots, ordered by time then Schedule; `total` counts all of the window."""
    arguments = read_arguments(OPERATION, request)
    zone = _zone(arguments)
    longest = server.policy.appointment_hours_max * 60
    if any(minutes > longest for minutes in arguments["duration"]):
        raise FhirError("value", f"duration: no appointment lasts longer than {longest} minutes.", "duration")
    ask = _ask(server, request, arguments)
    refuse_window(ask.start, ask.end, server.policy)
    found = await server.store.run(find(ask, server.now(), server.policy))
    if request.id and f"Schedule/{request.id}" not in found.schedules:
        raise FhirError("not-found", f"Schedule/{request.id} does not exist.")
    offers = found.offers
    count = min((arguments["_count"] or [server.settings.count_default])[0], server.settings.count_max)
    after = _after(arguments)
    rest = [offer for offer in offers if after is None or _key(offer) > after]
    page = rest[:count]
    links = [{"relation": "self", "url": _url(server, request, arguments, None)}]
    if len(rest) > count and page:
        links.append({"relation": "next", "url": _url(server, request, arguments, page[-1])})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(offers), "link": links}
    entries = [_entry(server.base, offer, zone) for offer in page]
    if not offers:
        entries.append(_nothing())
    if entries:
        bundle["entry"] = entries
    return Response(200, bundle)


def _zone(arguments: Arguments) -> ZoneInfo | None:
    name = next(iter(arguments["timezone"]), None)
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FhirError("value", f"timezone: {name} is no IANA zone; one is Europe/Berlin.", "timezone") from None


def _ask(server: Server, request: Request, arguments: Arguments) -> Ask:
    def references(name: str, type: str | None = None) -> frozenset[str]:
        return frozenset(_reference(text, type, name, server.base) for text in arguments[name])

    schedules = references("schedule", "Schedule")
    return Ask(
        start=arguments["start"][0],
        end=arguments["end"][0],
        schedules=schedules | {f"Schedule/{request.id}"} if request.id else schedules,
        actors=references("actor"),
        practitioners=references("practitioner", "Practitioner"),
        locations=references("location", "Location"),
        organizations=references("organization", "Organization"),
        service_types=frozenset(token(text) for text in arguments["service-type"]),
        specialties=frozenset(token(text) for text in arguments["specialty"]),
        duration_minutes=next(iter(arguments["duration"]), None),
    )


def _reference(text: str, type: str | None, name: str, base: str) -> str:
    """`Type/id` from a reference, or from an id where the type is known."""
    literal = f"{type}/{text}" if type and "/" not in text else text
    found = target({"reference": literal}, base)
    if found is None or (type and not found.startswith(f"{type}/")):
        raise FhirError("value", f"{name}: {text} is no reference to a {type or 'resource'} here.", name)
    return found


def token(text: str) -> str:
    """The index value of a token: `*|code` for a bare code, `system|code` as it is."""
    return text if "|" in text else f"*|{text}"


def _key(offer: Offer) -> tuple[datetime, str, str]:
    return offer.start, offer.schedule, offer.slot["id"]


def _after(arguments: Arguments) -> tuple[datetime, str, str] | None:
    """The last offer of the page before, from the cursor."""
    text = next(iter(arguments["_cursor"]), None)
    if text is None:
        return None
    try:
        start, schedule, id = base64.urlsafe_b64decode(text).decode().split(" ")
        return instant(start), schedule, id
    except (ValueError, OverflowError, binascii.Error):
        raise FhirError("value", "`_cursor` is not one of a `next` link.", "_cursor") from None


def _url(server: Server, request: Request, arguments: Arguments, last: Offer | None) -> str:
    """The request as a GET with what was used, for the page after `last`."""
    path = f"{server.base}/Schedule/{request.id}" if request.id else f"{server.base}/Schedule"
    pairs = [(name, _said(value)) for name, values in arguments.items() if name != "_cursor" for value in values]
    if last:
        text = f"{say(last.start)} {last.schedule} {last.slot['id']}"
        pairs.append(("_cursor", base64.urlsafe_b64encode(text.encode()).decode()))
    return link(f"{path}/$find-slots", request, pairs)


def _said(value: object) -> str:
    return say(value) if isinstance(value, datetime) else str(value)


def _entry(base: str, offer: Offer, zone: ZoneInfo | None) -> Json:
    slot = offer.slot
    if zone:
        times = {element: say(instant(slot[element]), zone) for element in ("start", "end")}
        slot = {**slot, **times}
    return {"fullUrl": f"{base}/Slot/{slot['id']}", "resource": slot, "search": {"mode": "match"}}


def _nothing() -> Json:
    text = "Nothing is free in this window for what was asked."
    issue = Issue("informational", text, severity="information")
    return {"resource": operation_outcome([issue]), "search": {"mode": "outcome"}}


def _rows() -> Sequence[Parameter]:
    many = [
        ("schedule", "Reference", "Only these Schedules"),
        ("actor", "Reference", "Only Schedules with one of these actors"),
        ("practitioner", "Reference", "Only Schedules of these Practitioners, in whichever role"),
        ("location", "Reference", "Only Schedules at these Locations"),
        ("organization", "Reference", "Only Schedules of these Organizations"),
        ("service-type", "string", "Only Schedules for one of these service types, as code or system|code"),
        ("specialty", "string", "Only Schedules with one of these specialties, as code or system|code"),
    ]
    return [
        Parameter("start", "in", 1, "1", "dateTime", "Start of the window, with a time zone"),
        Parameter("end", "in", 1, "1", "dateTime", "End of the window, with a time zone; Slots end by then"),
        *(
            Parameter(name, "in", 0, "*", type, text, "token" if type == "string" else None)
            for name, type, text in many
        ),
        Parameter(
            "duration",
            "in",
            0,
            "1",
            "positiveInt",
            "Length of the Slots in minutes, if not the Schedule's own",
        ),
        Parameter(
            "timezone",
            "in",
            0,
            "1",
            "string",
            "IANA time zone to spell the times in, if not the Schedule's own",
        ),
        Parameter("_count", "in", 0, "1", "positiveInt", "Slots on a page"),
        Parameter("_cursor", "in", 0, "1", "string", "Where the page begins, from a next link"),
        Parameter("return", "out", 1, "1", "Bundle", "Searchset of free Slots in time order, with total and next"),
    ]


OPERATION = Operation(
    code="find-slots",
    name="FindSlots",
    title="Find free slots",
    description="The free Slots of Schedules in a window, computed from opening rules, blocks and bookings; each "
    "can be read, and booked by reference.",
    resource=("Schedule",),
    levels=("type", "instance"),
    affects_state=False,
    parameters=tuple(_rows()),
    run=find_slots,
)
